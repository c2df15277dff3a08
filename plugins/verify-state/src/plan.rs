//! The configuration, checked.
//! Inputs: a [`Config`]. Outputs: [`Check`]s that make sense, in people's words too. Must never leave a setting without effect:
//! a check that looks at less than was meant is a false proof.

use crate::config::{self, Config};
use cloudsnooze_plugin::{Code, Error};
use std::ffi::CString;
use std::net::SocketAddr;
use std::path::PathBuf;

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    File { path: PathBuf, is_newer: bool, min_bytes: u64 },
    UnitInactive(String),
    ProcessGone(PathBuf),
    PortClosed(SocketAddr),
    Command { words: Vec<CString>, program: String, exit: i32 },
}

/// Checks what the schema cannot.
///
/// # Errors
/// What is wrong, with its place.
pub(crate) fn checks(config: Config) -> Result<Vec<Check>, Error> {
    let refuse = |text: String| Error::new(text).code(Code::Config);
    if config.checks.is_empty() {
        return Err(refuse("checks is empty".to_owned()));
    }
    let numbered = config.checks.into_iter().enumerate();
    numbered.map(|(at, check)| one(check).map_err(|text| refuse(format!("checks[{at}]: {text}")))).collect()
}

fn one(check: config::Check) -> Result<Check, String> {
    let config::Check {
        file,
        newer_than_event,
        min_bytes,
        unit_inactive,
        process_gone,
        port_closed,
        command,
        expect_exit,
    } = check;
    if file.is_none() && (newer_than_event.is_some() || min_bytes.is_some()) {
        return Err("newer_than_event and min_bytes belong to file".to_owned());
    }
    if command.is_none() && expect_exit.is_some() {
        return Err("expect_exit belongs to command".to_owned());
    }
    let absolute = |path: PathBuf, key: &str| {
        if path.is_absolute() { Ok(path) } else { Err(format!("{key} is not an absolute path")) }
    };
    match (file, unit_inactive, process_gone, port_closed, command) {
        (Some(path), None, None, None, None) => Ok(Check::File {
            path: absolute(path, "file")?,
            is_newer: newer_than_event.unwrap_or(false),
            min_bytes: min_bytes.unwrap_or(1),
        }),
        (None, Some(name), None, None, None) => {
            if name.rsplit_once('.').is_none_or(|(stem, _)| stem.is_empty()) || name.contains(['*', '?', '/', ' ']) {
                return Err(format!("unit_inactive: {name:?} is not the name of one unit, such as \"web.service\""));
            }
            Ok(Check::UnitInactive(name))
        }
        (None, None, Some(path), None, None) => Ok(Check::ProcessGone(absolute(path, "process_gone")?)),
        (None, None, None, Some(address), None) => {
            let parsed = address.parse();
            Ok(Check::PortClosed(parsed.map_err(|_| {
                format!("port_closed: {address:?} is not an address with a port, such as \"127.0.0.1:5432\"")
            })?))
        }
        (None, None, None, None, Some(argv)) => {
            let program = argv.first().filter(|word| !word.is_empty()).ok_or("command names no program")?.clone();
            let words = argv.into_iter().map(CString::new).collect::<Result<_, _>>();
            let words = words.map_err(|_| "a word of the command holds a zero byte")?;
            Ok(Check::Command { words, program, exit: i32::from(expect_exit.unwrap_or(0)) })
        }
        _ => Err("give exactly one of file, unit_inactive, process_gone, port_closed and command".to_owned()),
    }
}

impl Check {
    /// What it looks at, for people.
    pub(crate) fn subject(&self) -> String {
        match self {
            Self::File { path, .. } => format!("file {}", path.display()),
            Self::UnitInactive(name) => format!("unit {name}"),
            Self::ProcessGone(path) => format!("process of {}", path.display()),
            Self::PortClosed(address) => format!("port {address}"),
            // The arguments may hold what is nobody's business; the program does not.
            Self::Command { program, .. } => format!("command {program}"),
        }
    }

    /// What has to be found.
    pub(crate) fn expected(&self) -> String {
        match self {
            Self::File { is_newer, min_bytes, .. } => {
                let newer = if *is_newer { ", newer than the event" } else { "" };
                format!("at least {min_bytes} bytes{newer}")
            }
            Self::UnitInactive(_) => "inactive".to_owned(),
            Self::ProcessGone(_) => "gone".to_owned(),
            Self::PortClosed(_) => "refused".to_owned(),
            Self::Command { exit, .. } => format!("exit code {exit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told(check: Value) -> String {
        let config = serde_json::from_value(json!({ "checks": [{"file": "/a"}, check] })).unwrap();
        checks(config).err().map(|error| error.message().to_owned()).unwrap_or_default()
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let one = "give exactly one of file, unit_inactive, process_gone, port_closed and command";
        for (check, said) in [
            (json!({}), one),
            (json!({"file": "/a", "port_closed": "127.0.0.1:1"}), one),
            (json!({"file": "a"}), "file is not an absolute path"),
            (json!({"unit_inactive": "a.service", "min_bytes": 1}), "newer_than_event and min_bytes belong to file"),
            (json!({"port_closed": "127.0.0.1:1", "expect_exit": 1}), "expect_exit belongs to command"),
            (json!({"port_closed": "localhost:1"}), "\"localhost:1\" is not an address with a port"),
            (json!({"unit_inactive": "web"}), "\"web\" is not the name of one unit"),
            (json!({"unit_inactive": "worker@*.service"}), "is not the name of one unit"),
            (json!({"process_gone": "run/a.pid"}), "process_gone is not an absolute path"),
            (json!({"command": []}), "command names no program"),
            (json!({"command": ["a\0"]}), "zero byte"),
        ] {
            let error = told(check.clone());
            assert!(error.starts_with("checks[1]: ") && error.contains(said), "{check}: {error}");
        }
        assert_eq!(told(json!({"command": ["true"], "expect_exit": 3})), "");
    }
}
