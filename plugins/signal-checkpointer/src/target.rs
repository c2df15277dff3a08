//! One target: found, signalled in steps, and what of it can be looked at again.
//!
//! Inputs: a [`Goal`], how long there is. Outputs: [`Told`], its part of the report. Must never go on to a step whose
//! forerunner is not proved: what follows may end the process in the middle of its save.

use crate::clock::Clock;
use crate::config::Include;
use crate::find::companions;
use crate::pinned::{Pinned, Stat};
use crate::plan::{Goal, Proof};
use crate::proof::{Done, Seen, carry_out, send};
use crate::seal::{Sealer, Wish};
use cloudsnooze_plugin::{Code, Error};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Processes that are listed in the report; all of them are counted.
const PROCESSES_SHOWN: usize = 10;

/// How a target ended.
pub(crate) enum Ending {
    /// Saved, or brought to its fallback.
    Done,
    /// There was nothing to do, and why.
    Nothing(String),
    Failed(Error),
}

/// What became of a target.
pub(crate) struct Told {
    pub(crate) name: String,
    pub(crate) ending: Ending,
    /// `save` or `fallback`.
    action: &'static str,
    processes: Vec<Value>,
    process_count: usize,
    pub(crate) steps: Vec<Done>,
    skipped: Vec<Value>,
    /// Those who got a signal whose proof was their end: number and start.
    pub(crate) gone: Vec<(i32, u64)>,
}

impl Told {
    /// Whether what was saved is on the disk: None when that cannot be told.
    pub(crate) fn is_durable(&self) -> Option<bool> {
        match self.ending {
            Ending::Failed(_) => Some(false),
            _ => self.steps.first().is_some_and(Done::is_durable).then_some(true),
        }
    }

    /// `is_brief`: the counts without the lists.
    pub(crate) fn report(&self, is_brief: bool) -> Value {
        let steps: Vec<Value> = self.steps.iter().map(|done| done.report(is_brief)).collect();
        let mut evidence = json!({ "process_count": self.process_count, "steps": steps });
        if !is_brief {
            evidence["processes"] = json!(self.processes);
        }
        let mut report =
            json!({ "name": self.name, "action": self.action, "evidence": evidence, "skipped": self.skipped });
        report["outcome"] = match &self.ending {
            Ending::Done => json!("done"),
            Ending::Nothing(_) => json!("declined"),
            Ending::Failed(_) => json!("failed"),
        };
        match &self.ending {
            Ending::Done => {}
            Ending::Nothing(reason) => report["reason"] = json!(reason),
            Ending::Failed(error) => report["reason"] = json!(error.message()),
        }
        report
    }
}

/// Deals with a target. `may_stay` says that the machine may stay: then nothing is done that ends the process.
pub(crate) fn deal_with(goal: &Goal, may_stay: bool, sealer: &Sealer, clock: &Clock) -> Told {
    let mut told = Told {
        name: goal.name.clone(),
        ending: Ending::Done,
        action: "save",
        processes: Vec::new(),
        process_count: 0,
        steps: Vec::new(),
        skipped: Vec::new(),
        gone: Vec::new(),
    };
    let clock = clock.within(goal.timeout);
    told.ending = work(goal, may_stay, sealer, &clock, &mut told).unwrap_or_else(Ending::Failed);
    told
}

fn work(goal: &Goal, may_stay: bool, sealer: &Sealer, clock: &Clock, told: &mut Told) -> Result<Ending, Error> {
    if may_stay && matches!(goal.save.proof, Proof::Exit) {
        return Ok(Ending::Nothing("the machine may stay, and saving would end the process".to_owned()));
    }
    clock.go_on("its turn")?;
    let mut processes = goal.seek.find()?;
    if processes.is_empty() {
        let text = format!("no process was found by {}", goal.seek.shown());
        return if goal.is_optional { Ok(Ending::Nothing(text)) } else { Err(Error::new(text).code(Code::State)) };
    }
    if goal.include != Include::Process {
        let more = companions(&processes, goal.include)?;
        processes.extend(more);
    }
    let result = steps(goal, may_stay, &processes, sealer, clock, told);
    told.process_count = processes.len();
    told.processes = processes.iter().take(PROCESSES_SHOWN).map(Pinned::report).collect();
    result.map(|()| Ending::Done)
}

fn steps(
    goal: &Goal,
    may_stay: bool,
    processes: &[Pinned],
    sealer: &Sealer,
    clock: &Clock,
    told: &mut Told,
) -> Result<(), Error> {
    let fit = goal.cannot_fit(clock.left());
    let (step, act) = match (&fit, &goal.fallback) {
        (None, _) => ("save", &goal.save),
        (Some(reason), Some(fallback)) if !may_stay => {
            told.action = "fallback";
            told.skipped.push(json!({ "step": "save", "reason": reason }));
            ("fallback", fallback)
        }
        (Some(reason), _) => {
            let text = format!("not begun: {reason}");
            return Err(Error::new(text).code(Code::Deadline));
        }
    };
    if goal.continue_first {
        send(Signal::CONT, "SIGCONT", processes)?;
    }
    told.note(carry_out(step, act, processes, sealer, clock)?, processes);
    match &goal.then {
        None => Ok(()),
        Some(_) if step == "fallback" => Ok(()),
        Some(_) if may_stay => {
            told.skipped.push(json!({ "step": "then", "reason": "the machine may stay" }));
            Ok(())
        }
        Some(then) => {
            let done = carry_out("then", then, processes, sealer, clock).map_err(|error| error.context("then"))?;
            told.note(done, processes);
            Ok(())
        }
    }
}

impl Told {
    fn note(&mut self, done: Done, processes: &[Pinned]) {
        if matches!(done.seen, Seen::Exit) {
            self.gone = processes.iter().map(|process| (process.pid, process.stat.started)).collect();
        }
        self.steps.push(done);
    }

    /// Looks again: are the files as they were, and the processes gone? Gives the evidence; None when there is nothing
    /// that could be looked at.
    ///
    /// # Errors
    /// What is not as it was.
    pub(crate) fn look_again(&self, goal: &Goal, sealer: &Sealer, clock: &Clock) -> Result<Option<Value>, Error> {
        if !matches!(self.ending, Ending::Done) {
            return Ok(None);
        }
        let lost = |text: String| Error::new(format!("{}: {text}", self.name)).code(Code::State);
        let (mut files, mut hashes, mut ended) = (0, 0, 0);
        for (path, stamp, sealed) in self.steps.iter().flat_map(|done| match &done.seen {
            Seen::Files(files) => files.as_slice(),
            _ => &[],
        }) {
            match crate::file::Stamp::of(path) {
                None => return Err(lost(format!("{} is gone", path.display()))),
                Some(now) if now != *stamp => {
                    return Err(lost(format!("{} was changed after it was saved", path.display())));
                }
                Some(_) => files += 1,
            }
            if let Some(hash) = &sealed.sha256 {
                match hash_of(path.clone(), sealer, clock) {
                    Some(now) if now != *hash => {
                        return Err(lost(format!("{} has another content than when it was saved", path.display())));
                    }
                    Some(_) => hashes += 1,
                    // No time for it: size and times are as they were.
                    None => {}
                }
            }
        }
        for (pid, started) in &self.gone {
            let is_there = Stat::of(*pid).is_some_and(|stat| stat.started == *started && stat.state != 'Z');
            if is_there {
                return Err(lost(format!("process {pid} is there again")));
            }
            ended += 1;
        }
        if ended > 0 {
            match goal.seek.find() {
                Ok(again) if again.is_empty() => {}
                Ok(again) => {
                    let shown = again.first().map(Pinned::shown).unwrap_or_default();
                    return Err(lost(format!("it was started again as {shown}")));
                }
                // The pid file was left behind, and its number is somebody else's by now.
                Err(_) if goal.seek.pid_file.is_some() => {}
                Err(error) => return Err(lost(format!("it was started again: {error}"))),
            }
        }
        let evidence =
            json!({ "name": self.name, "files_unchanged": files, "hashes_compared": hashes, "processes_gone": ended });
        Ok((files + ended > 0).then_some(evidence))
    }
}

fn hash_of(path: PathBuf, sealer: &Sealer, clock: &Clock) -> Option<String> {
    let wish = Wish { sync: false, sha256: true };
    sealer.seal(vec![path], wish, clock).pop().and_then(|sealed| sealed.sha256)
}
