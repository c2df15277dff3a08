//! The checked configuration: what is to be done with each machine.
//!
//! Inputs: a [`Config`]. Outputs: [`Goal`]s, or the mistake by its place. Pure. Must never accept what would let two machines
//! write to the same place.

use crate::config::{After, Config, Fallback, Vm};
use cloudsnooze_plugin::{Code, Error};
use std::path::{Path, PathBuf};

/// Where libvirt's system daemon keeps saved domains.
const MANAGED: &str = "/var/lib/libvirt/qemu/save";
/// The connection that virsh is told when none is configured.
const SYSTEM: &str = "qemu:///system";

/// How a machine is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    File { qmp: PathBuf, to: PathBuf },
    Snapshot { qmp: PathBuf, tag: String },
    Managed { domain: String, uri: String, directory: PathBuf },
}

/// One machine.
#[derive(Clone, Debug)]
pub(crate) struct Goal {
    pub(crate) name: String,
    pub(crate) keep: Keep,
    pub(crate) after: After,
    pub(crate) fallback: Fallback,
    pub(crate) restore: Option<Vec<String>>,
    pub(crate) is_optional: bool,
    pub(crate) bandwidth: Option<u64>,
    pub(crate) max_bandwidth: Option<u64>,
    pub(crate) sha256: bool,
}

/// Checks what the schema cannot.
///
/// # Errors
/// The first mistake, by its place.
pub(crate) fn goals(config: Config) -> Result<Vec<Goal>, Error> {
    let mut goals: Vec<Goal> = Vec::new();
    let refuse = |at: usize, text: String| Err(Error::new(format!("vms[{at}]: {text}")).code(Code::Config));
    if config.vms.is_empty() {
        return Err(Error::new("vms: there is no machine").code(Code::Config));
    }
    for (at, vm) in config.vms.into_iter().enumerate() {
        let goal = match goal(vm) {
            Ok(goal) => goal,
            Err(text) => return refuse(at, text),
        };
        if let Some(other) = goals.iter().position(|other| other.name == goal.name) {
            return refuse(at, format!("vms[{other}] is called '{}' too; give it a name", goal.name));
        }
        if let Some(other) = goals.iter().position(|other| clashes(&other.keep, &goal.keep)) {
            return refuse(at, format!("it has the same place or the same monitor as vms[{other}]"));
        }
        goals.push(goal);
    }
    Ok(goals)
}

fn goal(vm: Vm) -> Result<Goal, String> {
    let keep = keep(&vm)?;
    let is_file = matches!(keep, Keep::File { .. });
    for (key, is_given) in [("max_bandwidth", vm.max_bandwidth.is_some()), ("sha256", vm.sha256)] {
        if is_given && !is_file {
            return Err(format!("{key} is only for a machine that is saved to a file"));
        }
    }
    if let Keep::Managed { .. } = keep
        && vm.after == After::KeepPaused
    {
        return Err("libvirt ends a domain that it saves; after cannot be keep-paused".to_owned());
    }
    if vm.restore.as_ref().is_some_and(|words| words.first().is_none_or(String::is_empty)) {
        return Err("restore names no program".to_owned());
    }
    if vm.restore.iter().flatten().any(|word| word.contains('\0')) {
        return Err("a word of restore holds a zero byte".to_owned());
    }
    let name = vm.name.filter(|name| !name.is_empty()).unwrap_or_else(|| default_name(&keep));
    Ok(Goal {
        name,
        keep,
        after: vm.after,
        fallback: vm.fallback,
        restore: vm.restore,
        is_optional: vm.optional,
        bandwidth: vm.bandwidth,
        max_bandwidth: vm.max_bandwidth,
        sha256: vm.sha256,
    })
}

fn keep(vm: &Vm) -> Result<Keep, String> {
    let absolute = |key: &str, path: &Path| {
        let is_good = path.is_absolute() && path.file_name().is_some();
        if is_good { Ok(path.to_owned()) } else { Err(format!("{key} {} is not an absolute path", path.display())) }
    };
    if vm.libvirt.is_none() && (vm.uri.is_some() || vm.save_directory.is_some()) {
        return Err("uri and save_directory are only for libvirt".to_owned());
    }
    match (&vm.qmp, &vm.to, &vm.savevm, &vm.libvirt) {
        (Some(qmp), Some(to), None, None) => Ok(Keep::File { qmp: absolute("qmp", qmp)?, to: absolute("to", to)? }),
        (Some(qmp), None, Some(tag), None) => {
            // QEMU takes a tag of digits for a number, and restoring by hand puts the tag on a command line.
            let is_good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            let begins = tag.chars().next().is_some_and(|first| first.is_ascii_alphabetic());
            if !begins || !tag.chars().all(is_good) || tag.len() > 64 {
                return Err("savevm must begin with a letter, and hold only letters, digits, dot, _ and -".to_owned());
            }
            Ok(Keep::Snapshot { qmp: absolute("qmp", qmp)?, tag: tag.clone() })
        }
        (None, None, None, Some(domain)) => {
            if domain.is_empty() || domain.starts_with('-') || domain.contains('\0') {
                return Err("libvirt names no domain".to_owned());
            }
            let uri = vm.uri.clone().unwrap_or_else(|| SYSTEM.to_owned());
            if uri.is_empty() || uri.starts_with('-') || uri.contains('\0') {
                return Err("uri is no connection of libvirt".to_owned());
            }
            let directory = vm.save_directory.clone().unwrap_or_else(|| PathBuf::from(MANAGED));
            Ok(Keep::Managed { domain: domain.clone(), uri, directory: absolute("save_directory", &directory)? })
        }
        _ => Err("give qmp with to, qmp with savevm, or libvirt".to_owned()),
    }
}

fn default_name(keep: &Keep) -> String {
    match keep {
        Keep::File { qmp, .. } | Keep::Snapshot { qmp, .. } => {
            qmp.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        }
        Keep::Managed { domain, .. } => domain.clone(),
    }
}

fn clashes(one: &Keep, other: &Keep) -> bool {
    let monitor = |keep: &Keep| match keep {
        Keep::File { qmp, .. } | Keep::Snapshot { qmp, .. } => Some(qmp.clone()),
        Keep::Managed { .. } => None,
    };
    let place = |keep: &Keep| match keep {
        Keep::File { to, .. } => Some(to.clone()),
        _ => None,
    };
    let is_same = |a: Option<PathBuf>, b: Option<PathBuf>| a.is_some() && a == b;
    let is_same_domain = match (one, other) {
        (Keep::Managed { domain: a, uri: b, .. }, Keep::Managed { domain: c, uri: d, .. }) => a == c && b == d,
        _ => false,
    };
    is_same(monitor(one), monitor(other)) || is_same(place(one), place(other)) || is_same_domain
}

impl Goal {
    /// The command that starts it from what was saved, its words filled in.
    pub(crate) fn restore_words(&self) -> Option<Vec<String>> {
        let (qmp, to, tag) = match &self.keep {
            Keep::File { qmp, to } => (qmp.to_string_lossy(), to.to_string_lossy(), ""),
            Keep::Snapshot { qmp, tag } => (qmp.to_string_lossy(), "".into(), tag.as_str()),
            Keep::Managed { .. } => ("".into(), "".into(), ""),
        };
        let values = [("{qmp}", &*qmp), ("{to}", &*to), ("{tag}", tag), ("{name}", self.name.as_str())];
        let filled = |word: &String| values.iter().fold(word.clone(), |word, (mark, value)| word.replace(mark, value));
        self.restore.as_ref().map(|words| words.iter().map(filled).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told(vms: Value) -> Result<Vec<Goal>, String> {
        let config = serde_json::from_value(json!({"vms": vms})).unwrap();
        goals(config).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn each_way_to_save_is_told_apart_and_named() {
        let goals = told(json!([
            {"qmp": "/run/a.qmp", "to": "/s/a.state"}, {"qmp": "/run/b.qmp", "savevm": "snooze"},
            {"libvirt": "web", "name": "the web"},
        ]));
        let goals = goals.unwrap();
        let names: Vec<&str> = goals.iter().map(|goal| goal.name.as_str()).collect();
        assert_eq!(names, ["a.qmp", "b.qmp", "the web"]);
        let Keep::Managed { uri, directory, .. } = &goals[2].keep else { panic!("{goals:?}") };
        assert_eq!((uri.as_str(), directory.as_path()), (SYSTEM, Path::new(MANAGED)));
    }

    #[test]
    fn mistakes_are_told_by_their_place() {
        let good = json!({"qmp": "/run/a.qmp", "to": "/s/a"});
        for (vms, said) in [
            (json!([]), "vms: there is no machine"),
            (json!([{}]), "vms[0]: give qmp with to"),
            (json!([{"qmp": "/q", "to": "/t", "savevm": "x"}]), "vms[0]: give qmp with to"),
            (json!([{"qmp": "/q", "libvirt": "x"}]), "vms[0]: give qmp with to"),
            (json!([{"qmp": "q", "to": "/t"}]), "vms[0]: qmp q is not an absolute path"),
            (json!([{"qmp": "/q", "to": "/"}]), "vms[0]: to / is not an absolute path"),
            (json!([{"qmp": "/q", "savevm": "1"}]), "vms[0]: savevm must begin with a letter"),
            (json!([{"qmp": "/q", "savevm": "a b"}]), "vms[0]: savevm must begin with a letter"),
            (json!([{"qmp": "/q", "savevm": "a", "sha256": true}]), "sha256 is only for"),
            (json!([{"qmp": "/q", "savevm": "a", "max_bandwidth": 1}]), "max_bandwidth is only for"),
            (json!([{"qmp": "/q", "to": "/t", "uri": "x"}]), "uri and save_directory are only for libvirt"),
            (json!([{"libvirt": "--all"}]), "libvirt names no domain"),
            (json!([{"libvirt": "a", "uri": "-c"}]), "uri is no connection"),
            (json!([{"libvirt": "a", "after": "keep-paused"}]), "after cannot be keep-paused"),
            (json!([{"qmp": "/q", "to": "/t", "restore": []}]), "restore names no program"),
            (json!([good, {"qmp": "/run/b.qmp", "to": "/s/a"}]), "vms[1]: it has the same place"),
            (json!([good, {"qmp": "/run/a.qmp", "to": "/s/b", "name": "b"}]), "vms[1]: it has the same place"),
            (json!([good, {"qmp": "/other/a.qmp", "to": "/s/b"}]), "vms[0] is called 'a.qmp' too"),
            (json!([{"libvirt": "a"}, {"libvirt": "a", "name": "b"}]), "vms[1]: it has the same place"),
        ] {
            let error = told(vms.clone()).err().unwrap_or_default();
            assert!(error.contains(said), "{vms}: {error}");
        }
    }

    #[test]
    fn the_restore_command_gets_what_is_configured_and_keeps_other_braces() {
        let words = json!(["start", "-incoming", "exec:cat {to}", "{\"a\": 1}", "{qmp}", "{name}"]);
        let goals = told(json!([{"qmp": "/q", "to": "/t", "name": "n", "restore": words}])).unwrap();
        let expected = ["start", "-incoming", "exec:cat /t", "{\"a\": 1}", "/q", "n"].map(str::to_owned);
        assert_eq!(goals[0].restore_words(), Some(expected.to_vec()));
    }
}
