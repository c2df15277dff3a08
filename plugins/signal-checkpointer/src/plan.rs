//! The configuration, checked and compiled: names to signals, patterns to automata.
//!
//! Inputs: a [`Config`]. Outputs: [`Goal`]s that can only fail because of the world. Must never let a mistake of the
//! operator wait for the event to show.

use crate::config::{Config, Find, Include, NewFile, NewLine, Pick, Step, Target, Until};
use cloudsnooze_plugin::{Code, Error};
use nix::unistd::User;
use regex::Regex;
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Of the time left, the part that a save may be planned to take: the other fifth is for what no estimate knows.
const USABLE: f64 = 0.8;

/// Bytes of a process's name that the kernel keeps (comm, proc_pid_comm(5)).
const NAME_BYTES: usize = 15;

/// A target that is known to make sense.
pub(crate) struct Goal {
    pub(crate) name: String,
    pub(crate) seek: Seek,
    pub(crate) include: Include,
    pub(crate) is_optional: bool,
    pub(crate) continue_first: bool,
    pub(crate) save: Act,
    pub(crate) then: Option<Act>,
    pub(crate) fallback: Option<Act>,
    /// Bytes to come, and bytes a second.
    pub(crate) estimate: Option<(u64, u64)>,
    pub(crate) timeout: Option<Duration>,
}

/// How a process is found.
pub(crate) struct Seek {
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) cgroup: Option<PathBuf>,
    pub(crate) name: Option<String>,
    pub(crate) user: Option<(String, u32)>,
    pub(crate) command_line: Option<Regex>,
    pub(crate) pick: Pick,
}

/// A signal and its proof.
pub(crate) struct Act {
    pub(crate) signal: Signal,
    /// SIGUSR1 and the like.
    pub(crate) signal_name: &'static str,
    pub(crate) proof: Proof,
}

/// What is waited for.
pub(crate) enum Proof {
    Exit,
    File(NewFile),
    Line(PathBuf, Regex),
}

/// Checks what the schema cannot.
///
/// # Errors
/// What is wrong, by target and key.
pub(crate) fn goals(config: Config) -> Result<Vec<Goal>, Error> {
    let refuse = |text: String| Error::new(text).code(Code::Config);
    if config.targets.is_empty() {
        return Err(refuse("targets is empty: name at least one process".to_owned()));
    }
    let numbered = config.targets.into_iter().enumerate();
    numbered.map(|(at, target)| goal(target).map_err(|text| refuse(format!("targets[{at}]: {text}")))).collect()
}

impl Goal {
    /// Why a save cannot fit into this time, when it is known that it cannot.
    pub(crate) fn cannot_fit(&self, left: Duration) -> Option<String> {
        let (bytes, bandwidth) = self.estimate?;
        let fits = bandwidth as f64 * left.as_secs_f64() * USABLE;
        (bytes as f64 > fits).then(|| {
            format!("{bytes} bytes are expected, and {:.0} fit into the {:.1} s left", fits, left.as_secs_f64())
        })
    }
}

fn goal(target: Target) -> Result<Goal, String> {
    let estimate = match (target.expected_bytes, target.bandwidth) {
        (Some(bytes), Some(bandwidth)) if bandwidth > 0 => Some((bytes, bandwidth)),
        (None, None) => None,
        _ => return Err("expected_bytes and bandwidth are of use only together".to_owned()),
    };
    if target.fallback.is_some() && estimate.is_none() {
        return Err("fallback needs expected_bytes and bandwidth, which decide about it".to_owned());
    }
    let save = act("save", target.save)?;
    if save.signal == Signal::KILL {
        return Err("save.signal: no process can save itself on SIGKILL".to_owned());
    }
    if target.then.is_some() && matches!(save.proof, Proof::Exit) {
        return Err("then: save waits for the end of the process, so nobody is left for another signal".to_owned());
    }
    let seek = seek(target.process)?;
    Ok(Goal {
        name: target.name.unwrap_or_else(|| seek.shown()),
        seek,
        include: target.include,
        is_optional: target.optional,
        continue_first: target.continue_first,
        save,
        then: target.then.map(|step| act("then", step)).transpose()?,
        fallback: target.fallback.map(|step| act("fallback", step)).transpose()?,
        estimate,
        timeout: target.timeout_ms.map(Duration::from_millis),
    })
}

fn seek(find: Find) -> Result<Seek, String> {
    let Find { pid_file, cgroup, name, user, command_line, pick } = find;
    if pid_file.is_none() && cgroup.is_none() && name.is_none() && command_line.is_none() {
        return Err("process: give at least one of pid_file, cgroup, name, command_line".to_owned());
    }
    if pid_file.is_some() && cgroup.is_some() {
        return Err("process: pid_file and cgroup exclude each other".to_owned());
    }
    for (key, path) in [("pid_file", &pid_file), ("cgroup", &cgroup)] {
        if path.as_ref().is_some_and(|path| !path.is_absolute()) {
            return Err(format!("process.{key} is not an absolute path"));
        }
    }
    Ok(Seek {
        user: user.map(|user| uid(&user).map(|uid| (user, uid))).transpose()?,
        command_line: command_line.map(|text| regex("process.command_line", &text)).transpose()?,
        name: name.map(|name| name.get(..name.floor_char_boundary(NAME_BYTES)).unwrap_or_default().to_owned()),
        pid_file,
        cgroup,
        pick,
    })
}

impl Seek {
    /// What it is found by, for people.
    pub(crate) fn shown(&self) -> String {
        let path = |what: &str, path: &Option<PathBuf>| path.as_ref().map(|p| format!("{what} {}", p.display()));
        let parts = [
            path("pid file", &self.pid_file),
            path("control group", &self.cgroup),
            self.name.clone(),
            self.command_line.as_ref().map(|regex| format!("command line /{regex}/")),
            self.user.as_ref().map(|(name, _)| format!("user {name}")),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

fn uid(user: &str) -> Result<u32, String> {
    if let Ok(number) = user.parse() {
        return Ok(number);
    }
    match User::from_name(user) {
        Ok(Some(found)) => Ok(found.uid.as_raw()),
        Ok(None) => Err(format!("process.user: there is no user '{user}' on this machine")),
        Err(error) => Err(format!("process.user: '{user}' cannot be looked up: {error}")),
    }
}

fn act(key: &str, step: Step) -> Result<Act, String> {
    let name = step.signal.to_ascii_uppercase();
    let name = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    let known = nix::sys::signal::Signal::from_str(&name).ok();
    let known = known.and_then(|known| Some((Signal::from_named_raw(known as i32)?, known.as_str())));
    let (signal, signal_name) =
        known.ok_or_else(|| format!("{key}.signal: there is no signal '{}'; examples: USR1, TERM", step.signal))?;
    if [Signal::STOP, Signal::TSTP, Signal::TTIN, Signal::TTOU, Signal::CONT].contains(&signal) {
        return Err(format!("{key}.signal: {signal_name} stops or continues a process, it saves nothing"));
    }
    let proof = match step.until {
        Until::Exit => Proof::Exit,
        Until::File(file) => {
            must_be_absolute(&format!("{key}.until.file.path"), Path::new(&file.path))?;
            glob::Pattern::new(&file.path).map_err(|error| format!("{key}.until.file.path: {error}"))?;
            if file.count == 0 || file.min_bytes == 0 {
                return Err(format!("{key}.until.file: count and min_bytes are at least 1"));
            }
            Proof::File(file)
        }
        Until::Line(NewLine { path, regex: text }) => {
            must_be_absolute(&format!("{key}.until.line.path"), &path)?;
            Proof::Line(path, regex(&format!("{key}.until.line.regex"), &text)?)
        }
    };
    Ok(Act { signal, signal_name, proof })
}

fn must_be_absolute(key: &str, path: &Path) -> Result<(), String> {
    if path.is_absolute() { Ok(()) } else { Err(format!("{key} is not an absolute path")) }
}

fn regex(key: &str, text: &str) -> Result<Regex, String> {
    // The library's own text spans lines and draws arrows; its last line says what is wrong.
    Regex::new(text).map_err(|error| {
        let said = error.to_string();
        let last = said.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("{key}: {last} in '{text}'")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn with(pointer: &str, value: Value) -> Result<Vec<Goal>, Error> {
        let mut config = json!({"targets": [{"process": {"name": "t"}, "save": {"signal": "TERM", "until": "exit"}}]});
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        config.pointer_mut(parent).unwrap()[key] = value;
        goals(serde_json::from_value(config).unwrap())
    }

    #[test]
    fn mistakes_are_told_by_their_key_in_a_sentence() {
        let file = |path: &str| json!({"file": {"path": path}});
        for (pointer, value, said) in [
            ("/targets", json!([]), "targets is empty"),
            ("/targets/0/process", json!({}), "targets[0]: process: give at least one of"),
            ("/targets/0/process", json!({"user": "root"}), "process: give at least one of"),
            ("/targets/0/process", json!({"pid_file": "t.pid"}), "process.pid_file is not an absolute path"),
            ("/targets/0/process", json!({"pid_file": "/a", "cgroup": "/b"}), "exclude each other"),
            ("/targets/0/process/user", json!("nobody-here"), "no user 'nobody-here'"),
            ("/targets/0/process/command_line", json!("a("), "process.command_line: unclosed group in 'a('"),
            ("/targets/0/save/signal", json!("USR3"), "save.signal: there is no signal 'USR3'"),
            ("/targets/0/save/signal", json!("kill"), "no process can save itself on SIGKILL"),
            ("/targets/0/save/signal", json!("SIGSTOP"), "save.signal: SIGSTOP stops or continues"),
            ("/targets/0/save/until", file("ckpt"), "save.until.file.path is not an absolute path"),
            ("/targets/0/save/until", file("/a/***"), "save.until.file.path: "),
            ("/targets/0/save/until", json!({"line": {"path": "/a", "regex": "["}}), "save.until.line.regex: "),
            ("/targets/0/then", json!({"signal": "KILL", "until": "exit"}), "then: save waits for the end"),
            ("/targets/0/expected_bytes", json!(7), "only together"),
            ("/targets/0/fallback", json!({"signal": "KILL", "until": "exit"}), "fallback needs expected_bytes"),
        ] {
            let error = with(pointer, value.clone()).err().map(|e| e.message().to_owned()).unwrap_or_default();
            assert!(error.contains(said) && !error.contains('\n'), "{pointer} {value}: {error}");
        }
    }

    #[test]
    fn signals_are_known_by_both_forms_of_their_names() {
        for name in ["USR1", "SIGUSR1", "usr1", "sigusr1"] {
            let goals = with("/targets/0/save/signal", json!(name)).unwrap();
            assert_eq!((goals[0].save.signal, goals[0].save.signal_name), (Signal::USR1, "SIGUSR1"));
        }
    }

    #[test]
    fn a_fifth_of_the_time_is_kept_for_what_no_estimate_knows() {
        let mut goals = with("/targets/0/name", json!("t")).unwrap();
        let goal = goals.first_mut().unwrap();
        assert_eq!(goal.cannot_fit(Duration::ZERO), None, "nothing is known about it");
        goal.estimate = Some((8_000, 1_000));
        assert_eq!(goal.cannot_fit(Duration::from_secs(10)), None);
        let said = goal.cannot_fit(Duration::from_secs(9)).unwrap();
        assert_eq!(said, "8000 bytes are expected, and 7200 fit into the 9.0 s left");
    }

    #[test]
    fn names_are_cut_as_the_kernel_cuts_them() {
        let goals = with("/targets/0/process/name", json!("a-very-long-name-of-a-program")).unwrap();
        assert_eq!(goals[0].seek.name.as_deref(), Some("a-very-long-nam"));
    }
}
