//! One instance: what is done for which event, and the verdict.
//!
//! Inputs: events, a [`Config`]. Outputs: a report of every database. Must never call an event handled while one that had to
//! be flushed is not on the disk.

use crate::attend::{Attendant, Clock};
use crate::backup::{self, Copied, NoCopy};
use crate::check::{Soundness, quick_check};
use crate::config::Config;
use crate::files::is_open_here;
use crate::find::{Found, find};
use crate::flush::{Fault, Flushed, flush, open};
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{
    Call, Cancel, Code, Error, Event, Host, Instance, Outcome, Plugin, Purpose, Subscription, Verification, abi, c_str,
};
use cloudsnooze_plugin_commands::Stragglers;
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Kept back for the report, and for fsync to be given up, at most.
const RESERVE: Duration = Duration::from_millis(400);

/// The plugin.
pub struct SqliteFlusher {
    host: Host,
    config: Config,
    attendant: Attendant,
    stragglers: Arc<Stragglers>,
    /// The event that was handled last, and what became of it.
    last: Mutex<Option<(String, Vec<Told>)>>,
}

/// One database's part.
#[derive(Clone)]
struct Told {
    path: PathBuf,
    flushed: Result<Flushed, String>,
    copied: Option<Copied>,
    skipped: Vec<Value>,
    /// What is wrong with it, beyond what `flushed` says.
    trouble: Option<String>,
}

impl Told {
    fn is_durable(&self) -> bool {
        self.flushed.as_ref().is_ok_and(|flushed| flushed.synced.is_ok())
    }

    fn skip(&mut self, step: &str, reason: &str) {
        self.skipped.push(json!({ "path": self.path.to_string_lossy(), "step": step, "reason": reason }));
    }

    fn failure(&self) -> Option<String> {
        let text = match (&self.flushed, &self.trouble) {
            (Err(text), _) | (Ok(Flushed { synced: Err(text), .. }), _) | (_, Some(text)) => text,
            _ => return None,
        };
        Some(format!("{}: {text}", self.path.display()))
    }

    fn report(&self) -> Value {
        let mut report = match &self.flushed {
            Ok(flushed) => flushed.report(),
            Err(text) => json!({ "path": self.path.to_string_lossy(), "reason": text }),
        };
        if let Some(copied) = &self.copied {
            report["backup"] = copied.report();
        }
        report
    }
}

impl Plugin for SqliteFlusher {
    const ID: &'static CStr = c"io.cloudsnooze.sqlite-flusher";
    const NAME: &'static CStr = c"sqlite-flusher";
    const VERSION: &'static CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static CStr = c"Makes SQLite databases durable, and copies them";
    const CAPS: u64 = abi::SNOOZE_CAP_DRILL;
    type Config = Config;

    fn new(host: Host, config: Config, _: Instance) -> Result<Self, Error> {
        config.check()?;
        let (attendant, stragglers, last) = (Attendant::default(), Arc::default(), Mutex::default());
        Ok(Self { host, config, attendant, stragglers, last })
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let budget = Duration::from_secs(30);
        vec![Subscription::on(&["cloud.*", "system.shutdown", "custom.*"]).priority(85).budget(budget)]
    }

    fn activate(&self) -> Result<(), Error> {
        // Nothing is held open between events: a connection of this process would keep locks, and the log from being
        // emptied. But a mistake shows today.
        for path in find(&self.config.paths).missing {
            self.host.warn(format_args!("{} is not there now", path.display()));
        }
        Ok(())
    }

    fn on_event(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        if call.cancelled().is_some() {
            return Err(Error::new("cancelled").code(Code::Cancelled));
        }
        if event.purpose() == Purpose::Undo {
            return Ok(Outcome::declined("the notice was withdrawn; what was flushed does no harm"));
        }
        if self.attendant.is_busy() {
            return Err(Error::retry("a disk has not come back from the call before"));
        }
        self.stragglers.reap();
        *self.last() = None;
        let left = call.left();
        let ends = Instant::now() + left.saturating_sub(RESERVE.min(left / 2));
        let work =
            Work { config: self.config.clone(), is_drill: event.is_drill(), stragglers: Arc::clone(&self.stragglers) };
        let told = self.attendant.attend(call, ends, move |clock| work.carry_out(clock));
        let Some(told) = told else {
            let code = if call.cancelled().is_some() { Code::Cancelled } else { Code::Deadline };
            return Err(Error::new("a disk does not come back; what was flushed is not known").code(code));
        };
        if told.is_empty() {
            return Ok(Outcome::declined("no database is there"));
        }
        let report = report(&told);
        let failures: Vec<String> = told.iter().filter_map(Told::failure).collect();
        if !failures.is_empty() {
            let code = match () {
                () if call.cancelled().is_some() => Code::Cancelled,
                () if Instant::now() >= ends => Code::Deadline,
                () => Code::Io,
            };
            return Err(Error::new(failures.join("; ")).code(code).with_result(report));
        }
        *self.last() = Some((event.id().to_owned(), told));
        Ok(Outcome::handled(report))
    }

    fn verify(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Verification, Error> {
        let last = self.last().clone();
        let Some((_, told)) = last.filter(|(id, _)| id == event.id()) else {
            return Ok(Verification::Unknown);
        };
        if self.attendant.is_busy() {
            return Ok(Verification::Unknown);
        }
        let left = call.left();
        let ends = Instant::now() + left.saturating_sub(RESERVE.min(left / 2));
        let reads = self.config.quick_check;
        let looked = self.attendant.attend(call, ends, move |clock| look(&told, reads, clock));
        if call.cancelled().is_some() {
            return Err(Error::new("cancelled").code(Code::Cancelled));
        }
        let Some(looked) = looked else { return Ok(Verification::Unknown) };
        let (evidence, is_all) = looked.map_err(|text| Error::new(text).code(Code::State))?;
        Ok(if is_all { Verification::Verified(json!({ "databases": evidence })) } else { Verification::Unknown })
    }

    fn on_cancel(&self, _: &Call<'_>, _: Cancel) {}

    fn deactivate(&self) {
        self.attendant.join();
        self.stragglers.reap();
    }
}

impl SqliteFlusher {
    fn last(&self) -> MutexGuard<'_, Option<(String, Vec<Told>)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All that the thread needs.
struct Work {
    config: Config,
    is_drill: bool,
    stragglers: Arc<Stragglers>,
}

impl Work {
    /// All databases first; copies with the time that is left then.
    fn carry_out(&self, clock: &Clock) -> Vec<Told> {
        let findings = find(&self.config.paths);
        let count = findings.databases.len();
        let mut all: Vec<Told> = Vec::new();
        for (at, found) in findings.databases.iter().enumerate() {
            // What one does not use the others have.
            let share = clock.left() / u32::try_from(count - at).unwrap_or(u32::MAX).max(1);
            all.extend(self.flush(found, share, clock));
        }
        let missing = |path: PathBuf| Told {
            path,
            flushed: Err("it is not there".to_owned()),
            copied: None,
            skipped: Vec::new(),
            trouble: None,
        };
        all.extend(findings.missing.into_iter().map(missing));
        if let Some(directory) = &self.config.backup_directory {
            all.iter_mut().for_each(|told| self.copy(told, directory, clock));
        }
        all
    }

    /// None: it is no database, and nobody said it were.
    fn flush(&self, found: &Found, share: Duration, clock: &Clock) -> Option<Told> {
        let busy = Duration::from_millis(self.config.busy_ms);
        let flushed = match clock.is_over() {
            true => Err(Fault::Failed("no time was left for it".to_owned())),
            false => flush(&found.path, share, busy, clock, &self.stragglers),
        };
        let flushed = match flushed {
            Err(Fault::NotOne(_)) if !found.is_named => return None,
            Err(Fault::NotOne(text) | Fault::Failed(text)) => Err(text),
            Ok(flushed) => Ok(flushed),
        };
        let mut told = Told { path: found.path.clone(), flushed, copied: None, skipped: Vec::new(), trouble: None };
        if let Some(remark) = told.flushed.as_ref().ok().and_then(|flushed| flushed.remark.clone()) {
            told.skip("checkpoint", &format!("{remark}; database and log were written to the disk instead"));
        }
        Some(told)
    }

    fn copy(&self, told: &mut Told, directory: &Path, clock: &Clock) {
        let Ok(flushed) = &told.flushed else { return };
        if self.is_drill {
            return told.skip("backup", "this is a drill, and the copy before it would be lost");
        }
        match backup::copy(&told.path, flushed.bytes, directory, clock) {
            Ok(copied) => told.copied = Some(copied),
            // The database itself is on the disk: that is what is left to hold on to.
            Err(NoCopy::Refused(reason) | NoCopy::Late(reason)) => told.skip("backup", &reason),
            Err(NoCopy::Failed(reason)) => {
                told.skip("backup", &reason);
                told.trouble = Some(format!("backup: {reason}"));
            }
        }
    }
}

fn report(told: &[Told]) -> Value {
    let skipped: Vec<&Value> = told.iter().flat_map(|one| &one.skipped).collect();
    let is_copied = told.iter().any(|one| one.copied.is_some());
    json!({
        "action": if is_copied { "checkpoint-and-backup" } else { "checkpoint" },
        "evidence": { "databases": told.iter().map(Told::report).collect::<Vec<_>>() },
        "durable": if told.iter().all(Told::is_durable) { "yes" } else { "no" },
        "skipped": skipped,
    })
}

/// Looks again; false when not all could be looked at.
///
/// # Errors
/// What is not as it was, or broken.
fn look(told: &[Told], reads: bool, clock: &Clock) -> Result<(Vec<Value>, bool), String> {
    let (mut evidence, mut is_all) = (Vec::new(), true);
    let mut say = |opened, what: &str| match quick_check(opened, clock) {
        Soundness::Sound => Ok("ok".to_owned()),
        Soundness::Broken(said) => Err(format!("{what}: {said}")),
        Soundness::Unknown(why) => {
            is_all = false;
            Ok(format!("not done: {why}"))
        }
    };
    for one in told {
        let shown = one.path.display();
        if !one.path.exists() {
            return Err(format!("{shown} is gone"));
        }
        let mut seen = json!({ "path": one.path.to_string_lossy() });
        // Closing it here would take the locks of whoever has it open in this process.
        if reads && !is_open_here(&one.path) {
            seen["quick_check"] = json!(say(open(&one.path), &shown.to_string())?);
        }
        if let Some(copied) = &one.copied {
            let shown = copied.path.display();
            if !backup::is_still_there(copied) {
                return Err(format!("the copy {shown} is gone or another one"));
            }
            seen["backup"] = json!({ "path": copied.path.to_string_lossy() });
            if reads {
                seen["backup"]["quick_check"] = json!(say(backup::open_alone(&copied.path), &shown.to_string())?);
            }
        }
        evidence.push(seen);
    }
    Ok((evidence, is_all))
}
