//! The configuration of one instance, as the operator writes it.
//! Inputs: the JSON object under `config`. Outputs: [`Config`] with its schema; `plan` checks what the schema cannot. Must
//! never hold a secret: there is none in it.

use cloudsnooze_plugin::schemars;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// What an operator can set.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is to be saved, in this order.
    #[schemars(length(min = 1, max = 64))]
    pub targets: Vec<Target>,
    /// Save all targets at once, rather than one after the other.
    #[serde(default)]
    pub at_once: bool,
}

/// One process, or several that are one to the operator.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Name in the report; by default what it is found by.
    #[serde(default)]
    pub name: Option<String>,
    /// How to find it.
    pub process: Find,
    /// Who else gets the signals.
    #[serde(default)]
    pub include: Include,
    /// It may be that it does not run: then there is nothing to save, which is no failure.
    #[serde(default)]
    pub optional: bool,
    /// Send SIGCONT first, for a process that may be stopped.
    #[serde(default)]
    pub continue_first: bool,
    /// The signal that makes it save itself, and what proves that it has.
    pub save: Step,
    /// Another signal once that is proved, such as TERM.
    #[serde(default)]
    pub then: Option<Step>,
    /// Bytes that it will write. With bandwidth, a save that cannot fit into the time left is not begun.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub expected_bytes: Option<u64>,
    /// Bytes a second that its storage takes.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub bandwidth: Option<u64>,
    /// What to send in place of save when that cannot fit.
    #[serde(default)]
    pub fallback: Option<Step>,
    /// Longest time for this target, in milliseconds; by default all that is left.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub timeout_ms: Option<u64>,
}

/// How to find a process. What is given must all be true of it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Find {
    /// File that holds its number.
    #[serde(default)]
    pub pid_file: Option<PathBuf>,
    /// Directory of its control group, such as /sys/fs/cgroup/system.slice/trainer.service; groups below it count too.
    #[serde(default)]
    pub cgroup: Option<PathBuf>,
    /// Its name as the kernel has it (ps -o comm); of a longer one the first 15 bytes count.
    #[serde(default)]
    pub name: Option<String>,
    /// The user it runs as: name or number.
    #[serde(default)]
    pub user: Option<String>,
    /// Regular expression that its command line must match somewhere; arguments are joined by blanks.
    #[serde(default)]
    pub command_line: Option<String>,
    /// Which to take when several match.
    #[serde(default)]
    pub pick: Pick,
}

/// Which of several matching processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pick {
    /// None: that several match is a mistake.
    #[default]
    Only,
    /// The one that was started first.
    Oldest,
    /// All of them.
    All,
}

/// Who gets the signals besides the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Include {
    /// Nobody.
    #[default]
    Process,
    /// Its children, and theirs.
    Children,
    /// Its process group.
    Group,
}

/// A signal, and the proof that it had its effect.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Name of the signal, such as USR1 or SIGTERM.
    pub signal: String,
    /// What ends the wait.
    pub until: Until,
}

/// What ends a wait.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Until {
    /// Every process that got the signal has ended.
    Exit,
    /// A file newer than the signal is complete.
    File(NewFile),
    /// A line was appended to a log.
    Line(NewLine),
}

/// A file that the process writes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFile {
    /// Its path; *, ? and [] stand for what may vary, ** for any folders.
    pub path: String,
    /// How many such files there must be at least.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub count: usize,
    /// Bytes that each must have at least.
    #[serde(default = "one_byte")]
    #[schemars(range(min = 1))]
    pub min_bytes: u64,
    /// How long they must not change before they count as complete, in milliseconds.
    #[serde(default = "stable_ms")]
    #[schemars(range(min = 0, max = 60_000))]
    pub stable_ms: u64,
    /// Have them written to the disk (fsync) before they count as durable.
    #[serde(default = "yes")]
    pub sync: bool,
    /// Put their SHA-256 into the report, and compare it when the host asks for verification.
    #[serde(default)]
    pub sha256: bool,
}

/// A line that the process logs.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLine {
    /// The log file.
    pub path: PathBuf,
    /// Regular expression that the line must match somewhere.
    pub regex: String,
}

fn one() -> usize {
    1
}

fn one_byte() -> u64 {
    1
}

fn stable_ms() -> u64 {
    300
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_short_form_takes_the_only_process_and_wants_one_complete_durable_file() {
        let config = json!({"targets": [{"process": {"pid_file": "/run/t.pid"},
            "save": {"signal": "USR1", "until": {"file": {"path": "/data/*.ckpt"}}}}]});
        let config: Config = serde_json::from_value(config).unwrap();
        let target = &config.targets[0];
        assert_eq!((target.process.pick, target.include, target.optional), (Pick::Only, Include::Process, false));
        let Until::File(file) = &target.save.until else { panic!("{target:?}") };
        assert_eq!((file.count, file.min_bytes, file.stable_ms, file.sync, file.sha256), (1, 1, 300, true, false));
        assert!(!config.at_once);
    }

    #[test]
    fn what_nobody_knows_is_refused_at_every_depth() {
        for (path, key) in [("", "a"), ("/targets/0", "b"), ("/targets/0/process", "c"), ("/targets/0/save", "d")] {
            let mut config =
                json!({"targets": [{"process": {"name": "x"}, "save": {"signal": "TERM", "until": "exit"}}]});
            assert!(serde_json::from_value::<Config>(config.clone()).is_ok());
            config.pointer_mut(path).unwrap()[key] = json!(1);
            assert!(serde_json::from_value::<Config>(config).is_err(), "{path}");
        }
    }

    #[test]
    fn every_key_is_described() {
        let schema = schemars::schema_for!(Config).to_value();
        let mut count = 0;
        for object in schema["$defs"].as_object().unwrap().values().chain([&schema]) {
            for (key, property) in object["properties"].as_object().into_iter().flatten() {
                let said = property["description"].as_str().unwrap_or_default();
                assert!(said.len() > 12, "{key}: {property}");
                count += 1;
            }
        }
        assert!(count >= 28, "{count}");
    }
}
