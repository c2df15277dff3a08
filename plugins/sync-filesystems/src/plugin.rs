//! One instance: what is done for which event, and the verdict.
//!
//! Inputs: events, a [`Config`]. Outputs: a report of every file system. Must never call an event handled while one that had to
//! be synced is not.

use crate::choice::{Choice, choose};
use crate::config::Config;
use crate::kernel::{self, Unwritten};
use crate::sync::{Ending, Synced, carry_out, must_be_there, order};
use cloudsnooze_plugin::mounts::{self, Mount};
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{
    Call, Cancel, Code, Error, Event, Host, Instance, Outcome, Plugin, Purpose, Subscription, Verification, abi, c_str,
};
use cloudsnooze_plugin_commands::{Order, Stragglers};
use std::ffi::CStr;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder};
use std::time::Duration;

/// Kept back, at most: for the report, and for seeing that a process cannot be ended.
const RESERVE: Duration = Duration::from_millis(400);
/// How often the host's flag is passed on to the threads that wait.
const FLAG_PASS: Duration = Duration::from_millis(10);

/// The plugin.
pub struct SyncFilesystems {
    host: Host,
    config: Config,
    /// The event that was handled last, and what became of it.
    last: Mutex<Option<(String, Vec<Synced>)>>,
    stragglers: Stragglers,
}

impl Plugin for SyncFilesystems {
    const ID: &'static CStr = c"io.cloudsnooze.sync-filesystems";
    const NAME: &'static CStr = c"sync-filesystems";
    const VERSION: &'static CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static CStr = c"Writes file systems out to their disks";
    const CAPS: u64 = abi::SNOOZE_CAP_DRILL;
    type Config = Config;

    fn new(host: Host, config: Config, _: Instance) -> Result<Self, Error> {
        config.check()?;
        Ok(Self { host, config, last: Mutex::default(), stragglers: Stragglers::default() })
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let budget = Duration::from_secs(20);
        vec![Subscription::on(&["cloud.*", "system.shutdown", "custom.*"]).priority(20).budget(budget)]
    }

    fn activate(&self) -> Result<(), Error> {
        if let Err(error) = must_be_there() {
            self.host.warn(format_args!("{error}"));
        }
        match self.chosen() {
            Ok(choice) => {
                for path in &choice.missing {
                    self.host.warn(format_args!("nothing is mounted on {} now", path.display()));
                }
            }
            Err(error) => self.host.warn(format_args!("{error}")),
        }
        Ok(())
    }

    fn on_event(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        if call.cancelled().is_some() {
            return Err(Error::new("cancelled").code(Code::Cancelled));
        }
        if event.purpose() == Purpose::Undo {
            return Ok(Outcome::declined("the notice was withdrawn; what was written does no harm"));
        }
        self.stragglers.reap();
        *locked(&self.last) = None;
        // Also in a drill: it changes nothing that anybody could want back.
        let choice = self.chosen()?;
        if choice == Choice::default() {
            return Ok(Outcome::declined("no writable file system of a disk of this machine is mounted"));
        }
        let before = Unwritten::now();
        let mut all = self.sync(&choice.mounts, call);
        all.extend(choice.missing.into_iter().map(Synced::missing));
        all.iter().filter_map(|synced| synced.stuck).for_each(|pid| self.stragglers.add(pid));
        let report = report(&all, before, Unwritten::now());
        if let Some(error) = failure(&all) {
            return Err(error.with_result(report));
        }
        *locked(&self.last) = Some((event.id().to_owned(), all));
        Ok(Outcome::handled(report))
    }

    fn verify(&self, event: &Event<'_>, _: &Call<'_>) -> Result<Verification, Error> {
        let last = locked(&self.last);
        let Some((_, all)) = last.as_ref().filter(|(id, _)| id == event.id()) else {
            return Ok(Verification::Unknown);
        };
        let mounted = mounts::mounted()?;
        let looked = all.iter().map(|synced| still_good(synced, &mounted)).collect::<Result<Vec<_>, _>>();
        let looked = looked.map_err(|text| Error::new(text).code(Code::State))?;
        Ok(Verification::Verified(json!({ "file_systems": looked, "memory": Unwritten::now() })))
    }

    fn on_cancel(&self, _: &Call<'_>, _: Cancel) {}

    fn deactivate(&self) {
        self.stragglers.reap();
    }
}

impl SyncFilesystems {
    fn chosen(&self) -> Result<Choice, Error> {
        let mounted =
            mounts::mounted().map_err(|error| Error::from(error).context("read what is mounted").code(Code::Io))?;
        Ok(choose(&self.config, &mounted))
    }

    /// Syncs all of them at once, each with a thread that waits for it.
    fn sync(&self, mounts: &[Mount], call: &Call<'_>) -> Vec<Synced> {
        let left = call.left();
        let usable = left.saturating_sub(RESERVE.min(left / 2));
        let limit = self.config.timeout_ms.map_or(usable, |limit| usable.min(Duration::from_millis(limit)));
        let orders: Vec<Order> = mounts.iter().map(|mount| order(&mount.mount_point, limit)).collect();
        thread::scope(|scope| {
            let spawn = |(mount, order)| {
                let thread = Builder::new().name("sync-wait".to_owned());
                (mount, order, thread.spawn_scoped(scope, move || carry_out(mount, order)))
            };
            let threads: Vec<_> = mounts.iter().zip(&orders).map(spawn).collect();
            while threads.iter().any(|(_, _, thread)| thread.as_ref().is_ok_and(|thread| !thread.is_finished())) {
                if call.cancelled().is_some() {
                    orders.iter().for_each(|order| order.stop.store(true, Ordering::Release));
                }
                thread::sleep(FLAG_PASS);
            }
            let ended = threads.into_iter().map(|(mount, order, thread)| match thread.map(|thread| thread.join()) {
                Ok(Ok(synced)) => synced,
                // No thread could be had for it.
                _ => carry_out(mount, order),
            });
            ended.collect()
        })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn report(all: &[Synced], before: Option<Unwritten>, after: Option<Unwritten>) -> Value {
    let is_durable = all.iter().all(|synced| synced.ending == Ending::Synced);
    json!({
        "action": "sync",
        "evidence": {
            "file_systems": all.iter().map(Synced::report).collect::<Vec<_>>(),
            "memory": { "before": before, "after": after },
        },
        "durable": if is_durable { "yes" } else { "no" },
    })
}

/// What went wrong, the worst of it as the code.
fn failure(all: &[Synced]) -> Option<Error> {
    let bad: Vec<&Synced> = all.iter().filter(|synced| synced.ending != Ending::Synced).collect();
    let worst = |ending: Ending| bad.iter().any(|synced| synced.ending == ending);
    let code = match () {
        () if bad.is_empty() => return None,
        () if worst(Ending::Cancelled) => Code::Cancelled,
        () if worst(Ending::Failed) => Code::Io,
        () if worst(Ending::Late) || worst(Ending::Stuck) => Code::Deadline,
        () => Code::State,
    };
    let text = |synced: &&Synced| format!("{}: {}", synced.mount_point.display(), synced.reason);
    Some(Error::new(bad.iter().map(text).collect::<Vec<_>>().join("; ")).code(code))
}

/// An error after the sync shows in what the kernel does then: it takes the file system's writability away, or counts it.
fn still_good(synced: &Synced, mounted: &[Mount]) -> Result<Value, String> {
    let Some(then) = &synced.mount else { return Err("it was not mounted".to_owned()) };
    let shown = synced.mount_point.display();
    let now = mounted.iter().find(|mount| mount.mount_point == synced.mount_point && mount.device == then.device);
    let errors = kernel::errors(&then.device);
    match now {
        None => return Err(format!("{shown} is not mounted any more")),
        Some(now) if then.is_writable && !now.is_writable => {
            return Err(format!("{shown} has become read-only since"));
        }
        Some(_) if errors > synced.errors => {
            return Err(format!("{shown} has met errors since"));
        }
        Some(_) => {}
    }
    Ok(
        json!({ "mount_point": synced.mount_point.to_string_lossy(), "is_writable": then.is_writable, "errors": errors }),
    )
}
