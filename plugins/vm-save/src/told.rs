//! What became of each machine, for the report.
//!
//! Inputs: what was seen and done. Outputs: JSON, and the verdict of the whole. Pure. Must never call a machine safe that was
//! only stopped.

use crate::disk::Speed;
use crate::machine::{Kept, Survey};
use crate::process::Process;
use cloudsnooze_plugin::{Code, Error};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// How it ended for a machine.
pub(crate) enum Ending {
    /// It is saved; whether it is on the disk, where that can be told.
    Saved(Option<bool>),
    /// It has shut down in place of being saved.
    Down,
    /// It runs again, as before the notice.
    Resumed,
    /// Everything that a save needs is there.
    Checked,
    /// There was nothing to do, and why.
    Nothing(String),
    Failed(Error),
}

/// One machine's part of the report.
pub(crate) struct Told {
    pub(crate) name: String,
    pub(crate) ending: Ending,
    before: Value,
    after: Map<String, Value>,
    estimate: Value,
    kept: Value,
    skipped: Vec<Value>,
}

impl Told {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ending: Ending::Nothing(String::new()),
            before: Value::Null,
            after: Map::new(),
            estimate: Value::Null,
            kept: Value::Null,
            skipped: Vec::new(),
        }
    }

    pub(crate) fn before(&mut self, survey: &Survey, process: Option<Process>) {
        self.before = json!({
            "status": survey.status, "ram_bytes": survey.ram, "used_bytes": survey.used, "used_from": survey.used_from,
            "pid": process.map(|process| process.pid),
        });
    }

    pub(crate) fn was(&mut self, status: &str) {
        self.before = json!({ "status": status });
    }

    pub(crate) fn estimated(&mut self, bytes: u64, ahead: u64, speed: Speed, seconds: f64, left: Duration) {
        self.estimate = json!({
            "bytes": bytes, "bytes_ahead": ahead, "bandwidth": speed.bytes_a_second, "bandwidth_from": speed.from,
            "seconds": rounded(seconds), "seconds_left": rounded(left.as_secs_f64()),
        });
    }

    pub(crate) fn kept(&mut self, kept: &Kept) {
        self.kept = json!({
            "how": kept.how, "where": kept.path, "bytes": kept.bytes, "seconds": rounded(kept.seconds),
            "synced": kept.synced, "recognised_by": kept.end,
        });
        for (key, value) in [("tag", &kept.tag), ("sha256", &kept.sha256)] {
            if let Some(value) = value {
                self.kept[key] = json!(value);
            }
        }
    }

    pub(crate) fn after(&mut self, key: &str, value: Value) {
        self.after.insert(key.to_owned(), value);
    }

    pub(crate) fn skip(&mut self, step: &str, reason: &str) {
        self.skipped.push(json!({ "step": step, "reason": reason }));
    }

    fn report(&self) -> Value {
        let mut evidence = json!({ "before": self.before, "after": self.after });
        for (key, value) in [("estimate", &self.estimate), ("kept", &self.kept)] {
            if !value.is_null() {
                evidence[key] = value.clone();
            }
        }
        let (outcome, reason) = match &self.ending {
            Ending::Saved(_) => ("saved", None),
            Ending::Down => ("shut down", None),
            Ending::Resumed => ("resumed", None),
            Ending::Checked => ("checked", None),
            Ending::Nothing(reason) => ("nothing", Some(reason.as_str())),
            Ending::Failed(error) => ("failed", Some(error.message())),
        };
        let mut report =
            json!({ "name": self.name, "outcome": outcome, "evidence": evidence, "skipped": self.skipped });
        if let Some(reason) = reason {
            report["reason"] = json!(reason);
        }
        report
    }
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// The verdict of the whole: the report, why nothing was to be done, or the failures with the report.
///
/// # Errors
/// At least one machine failed.
pub(crate) fn verdict(action: &str, all: &[Told]) -> Result<Result<Value, String>, Error> {
    let report = json!({
        "action": action, "machines": all.iter().map(Told::report).collect::<Vec<_>>(), "durable": durable(all),
    });
    let line = |told: &Told| match &told.ending {
        Ending::Nothing(text) => Some(format!("{}: {text}", told.name)),
        Ending::Failed(error) => Some(format!("{}: {error}", told.name)),
        _ => None,
    };
    let failed = |told: &&Told| matches!(told.ending, Ending::Failed(_));
    if let Some(Told { ending: Ending::Failed(first), .. }) = all.iter().find(failed) {
        let lines: Vec<String> = all.iter().filter(failed).filter_map(line).collect();
        return Err(Error::new(lines.join("; ")).code(first.kind()).with_result(report));
    }
    if all.iter().all(|told| matches!(told.ending, Ending::Nothing(_))) {
        let lines: Vec<String> = all.iter().filter_map(line).collect();
        return Ok(Err(lines.join("; ")));
    }
    Ok(Ok(report))
}

fn durable(all: &[Told]) -> &'static str {
    let is_no = |told: &Told| matches!(told.ending, Ending::Failed(_) | Ending::Saved(Some(false)));
    let is_yes = |told: &Told| matches!(told.ending, Ending::Saved(Some(true)) | Ending::Nothing(_));
    let is_saved = |told: &Told| matches!(told.ending, Ending::Saved(_));
    if all.iter().any(is_no) {
        "no"
    } else if all.iter().all(is_yes) && all.iter().any(is_saved) {
        "yes"
    } else {
        "unknown"
    }
}

/// A failure of a machine that has to be given up for lack of time.
pub(crate) fn too_late(text: String) -> Error {
    Error::new(text).code(Code::Deadline)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, ending: Ending) -> Told {
        Told { ending, ..Told::new(name) }
    }

    #[test]
    fn one_that_is_not_saved_fails_the_whole_and_all_are_in_the_report() {
        let all = [
            told("a", Ending::Saved(Some(true))),
            told("b", Ending::Failed(too_late("no time; paused".to_owned()))),
            told("c", Ending::Nothing("it does not run".to_owned())),
        ];
        let error = verdict("save", &all).unwrap_err();
        assert_eq!((error.message(), error.kind()), ("b: no time; paused", Code::Deadline));
        assert_eq!((durable(&all[..1]), durable(&all), durable(&all[2..])), ("yes", "no", "unknown"));
    }

    #[test]
    fn what_is_durable_is_only_said_of_what_is_on_the_disk() {
        let whole = |endings: Vec<Ending>| {
            let all: Vec<Told> = endings.into_iter().map(|ending| told("x", ending)).collect();
            verdict("save", &all).unwrap().unwrap()["durable"].as_str().unwrap().to_owned()
        };
        assert_eq!(whole(vec![Ending::Saved(Some(true)), Ending::Nothing(String::new())]), "yes");
        assert_eq!(whole(vec![Ending::Saved(None), Ending::Saved(Some(true))]), "unknown");
        assert_eq!(whole(vec![Ending::Saved(Some(true)), Ending::Down]), "unknown");
        assert_eq!(whole(vec![Ending::Checked]), "unknown");
        let all = [told("a", Ending::Nothing("one".to_owned())), told("b", Ending::Nothing("two".to_owned()))];
        assert_eq!(verdict("save", &all).unwrap(), Err("a: one; b: two".to_owned()));
    }
}
