//! One instance: what is done for which event, and the verdict.
//!
//! Inputs: events, a [`Config`]. Outputs: a report of every file system. Must never freeze in a drill, nor without looking
//! again whether it may.

use crate::config::{Config, Plan};
use crate::hold::{Held, OVERHEAD, Task, hold};
use crate::mark::Mark;
use crate::safety::{Target, has_capability, targets};
use crate::tool::{Bench, Done, must_be_there};
use crate::worker::Worker;
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{
    Call, Cancel, Code, Error, Event, Host, Instance, Outcome, Plugin, Purpose, Subscription, Verification, abi, c_str,
};
use cloudsnooze_plugin_commands::environment;
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Kept back for the report, at most.
const RESERVE: Duration = Duration::from_millis(200);
/// How often the host's flag is passed on to the thread that does the work.
const FLAG_PASS: Duration = Duration::from_millis(10);
/// From the time when the answer must be there to giving up on the thread.
const LATE: Duration = Duration::from_millis(500);
/// Longest time for thawing what was left frozen, and for a look whether it is.
const SHORT: Duration = Duration::from_secs(2);

/// The plugin.
pub struct FsFreeze {
    host: Host,
    plan: Plan,
    state_dir: PathBuf,
    mark: Mark,
    bench: Arc<Bench>,
    worker: Worker,
    /// The event whose snapshot was taken last.
    last: Mutex<Option<String>>,
}

impl Plugin for FsFreeze {
    const ID: &'static CStr = c"io.cloudsnooze.fs-freeze";
    const NAME: &'static CStr = c"fs-freeze";
    const VERSION: &'static CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static CStr = c"Holds file systems still for a snapshot";
    const CAPS: u64 = abi::SNOOZE_CAP_UNDO | abi::SNOOZE_CAP_DRILL;
    type Config = Config;

    fn new(host: Host, config: Config, instance: Instance) -> Result<Self, Error> {
        let plan = Plan::new(config)?;
        // What is not mounted yet may be at the event; what may never be frozen is a mistake already.
        if let Err(error) = targets(&plan.mount_points, &instance.state_dir)
            && error.kind() == Code::Config
        {
            return Err(error.context("mount_points"));
        }
        Ok(Self {
            host,
            plan,
            mark: Mark::new(&instance.state_dir),
            state_dir: instance.state_dir,
            bench: Arc::default(),
            worker: Worker::default(),
            last: Mutex::default(),
        })
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let budget = Duration::from_secs(30);
        vec![Subscription::on(&["cloud.*", "system.shutdown", "custom.*"]).priority(75).budget(budget)]
    }

    fn activate(&self) -> Result<(), Error> {
        if let Err(error) = self.check() {
            self.host.warn(format_args!("{error}"));
        }
        for path in self.mark.read() {
            let was_frozen = self.bench.thaw(&path, SHORT) == Done::Yes;
            let how = if was_frozen { "it was thawed now" } else { "it is thawed" };
            self.host.warn(format_args!("the daemon ended while {} was frozen; {how}", path.display()));
        }
        self.clear_mark();
        self.worker.start().map_err(|error| Error::from(error).context("start the thread that does the work"))
    }

    fn on_event(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        if call.cancelled().is_some() {
            return Err(Error::new("cancelled").code(Code::Cancelled));
        }
        self.bench.stragglers.reap();
        if event.purpose() == Purpose::Undo {
            return self.undo(call);
        }
        *self.last() = None;
        let targets = self.check()?;
        if event.is_drill() {
            return Ok(Outcome::handled(checked(&targets)));
        }
        let held = self.hold(targets, event, call)?;
        let report = held.report(self.plan.then.is_some());
        if let Some((code, text)) = held.failure {
            return Err(Error::new(text).code(code).with_result(report));
        }
        *self.last() = Some(event.id().to_owned());
        Ok(Outcome::handled(report))
    }

    fn verify(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Verification, Error> {
        if self.last().as_deref() != Some(event.id()) || event.purpose() == Purpose::Undo {
            return Ok(Verification::Unknown);
        }
        let mut file_systems = Vec::new();
        for path in &self.plan.mount_points {
            let limit = SHORT.min(call.left() / 2);
            if limit.is_zero() || call.cancelled().is_some() {
                return Ok(Verification::Unknown);
            }
            let said = match self.bench.touch(path, limit) {
                Done::Yes => {
                    file_systems.push(json!({ "mount_point": path.to_string_lossy(), "takes_writes": true }));
                    continue;
                }
                Done::Refused(said) => format!("takes no writes: {said}"),
                Done::Late(said) => format!("takes no writes, as if it were frozen: {said}"),
            };
            return Err(Error::new(format!("{} {said}", path.display())).code(Code::State));
        }
        Ok(Verification::Verified(json!({ "file_systems": file_systems })))
    }

    fn on_cancel(&self, _: &Call<'_>, _: Cancel) {}

    fn deactivate(&self) {
        self.worker.stop();
        self.bench.stragglers.reap();
    }
}

impl FsFreeze {
    fn last(&self) -> MutexGuard<'_, Option<String>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it could be done now.
    fn check(&self) -> Result<Vec<Target>, Error> {
        let targets = targets(&self.plan.mount_points, &self.state_dir)?;
        if !has_capability() {
            return Err(Error::new("freezing needs CAP_SYS_ADMIN, which the daemon lacks").code(Code::Denied));
        }
        let then = self.plan.then.as_ref().map_or(Ok(()), |words| words.must_be_startable(Path::new("/"), None));
        must_be_there().and(then).map_err(|text| Error::new(text).code(Code::Io))?;
        Ok(targets)
    }

    /// Has it done by the thread, and passes the host's cancellation on to it.
    fn hold(&self, targets: Vec<Target>, event: &Event<'_>, call: &Call<'_>) -> Result<Held, Error> {
        let left = call.left();
        let ends = Instant::now() + left.saturating_sub(RESERVE.min(left / 10));
        let stop = Arc::new(AtomicBool::new(false));
        let seconds = self.plan.hold.as_secs_f64();
        let env = environment("then", event, call, seconds, &self.state_dir, &BTreeMap::new());
        let task = Task {
            plan: self.plan.clone(),
            targets,
            mark: self.mark.clone(),
            bench: Arc::clone(&self.bench),
            ends,
            stop: Arc::clone(&stop),
            env,
            input: event.json().as_bytes().to_vec(),
        };
        let gone = || Error::new("the thread that does the work is not there").code(Code::Internal);
        let answer = self.worker.give(move || hold(&task)).ok_or_else(gone)?;
        loop {
            match answer.recv_timeout(FLAG_PASS) {
                Ok(held) => return Ok(held),
                Err(RecvTimeoutError::Disconnected) => return Err(gone()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if call.cancelled().is_some() {
                stop.store(true, Ordering::Release);
            }
            if Instant::now() >= ends + OVERHEAD + LATE {
                // What it has not begun it must not begin now.
                stop.store(true, Ordering::Release);
                return Err(Error::new("the thread that does the work does not answer").code(Code::Deadline));
            }
        }
    }

    /// Thaws what is still frozen by this instance.
    fn undo(&self, call: &Call<'_>) -> Result<Outcome, Error> {
        let marked = self.mark.read();
        if marked.is_empty() {
            return Ok(Outcome::declined("nothing that this instance has frozen is frozen still"));
        }
        let (mut file_systems, mut troubles) = (Vec::new(), Vec::new());
        for path in &marked {
            let done = self.bench.thaw(path, SHORT.min(call.left()));
            let shown = path.to_string_lossy();
            file_systems.push(json!({ "mount_point": shown, "was_frozen": done == Done::Yes }));
            if let Done::Late(said) = done {
                troubles.push(format!("{shown}: thawing it: {said}"));
            }
        }
        let report = json!({
            "action": "thaw", "evidence": { "file_systems": file_systems }, "durable": "unknown", "skipped": [],
        });
        if !troubles.is_empty() {
            return Err(Error::new(troubles.join("; ")).code(Code::Deadline).with_result(report));
        }
        self.clear_mark();
        Ok(Outcome::handled(report))
    }

    fn clear_mark(&self) {
        if let Err(error) = self.mark.clear() {
            self.host.warn(format_args!("the mark of what was frozen: {error}"));
        }
    }
}

/// The report of a drill.
fn checked(targets: &[Target]) -> Value {
    let file_systems = targets.iter().map(|target| {
        let mount = &target.mount;
        json!({
            "mount_point": mount.mount_point.to_string_lossy(), "device": mount.device,
            "file_system": mount.file_system, "can_be_frozen": true,
        })
    });
    json!({
        "action": "check", "evidence": { "file_systems": file_systems.collect::<Vec<_>>() }, "durable": "unknown",
        "skipped": [{ "step": "freeze", "reason": "this is a drill" }],
    })
}
