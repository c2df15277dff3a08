//! One instance: which targets for which event, and the verdict.
//!
//! Inputs: events, a [`Config`]. Outputs: a report of every target. Must never call an event handled while one target that
//! had to be saved is not proved to be.

use crate::clock::Clock;
use crate::config::Config;
use crate::plan::{Goal, goals};
use crate::seal::Sealer;
use crate::target::{Ending, Told, deal_with};
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{
    Call, Cancel, Code, Error, Event, Host, Instance, Outcome, Plugin, Purpose, Subscription, Verification, abi, c_str,
};
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Kept back for the report, at most.
const RESERVE: Duration = Duration::from_millis(100);
/// How often the host's flag is passed on to the threads that do the work.
const FLAG_PASS: Duration = Duration::from_millis(10);
/// A report that is longer loses its lists of processes and files: the host takes 64 KiB.
const REPORT_BYTES: usize = 60_000;

/// The plugin.
pub struct SignalCheckpointer {
    host: Host,
    goals: Vec<Goal>,
    at_once: bool,
    sealer: Sealer,
    /// The event that was handled last, and what became of it.
    last: Mutex<Option<(String, Vec<Told>)>>,
}

impl Plugin for SignalCheckpointer {
    const ID: &'static CStr = c"io.cloudsnooze.signal-checkpointer";
    const NAME: &'static CStr = c"signal-checkpointer";
    const VERSION: &'static CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static CStr = c"Has a process save itself by a signal, and waits for the proof";
    const CAPS: u64 = abi::SNOOZE_CAP_DRILL;
    type Config = Config;

    fn new(host: Host, config: Config, _: Instance) -> Result<Self, Error> {
        let at_once = config.at_once;
        Ok(Self { host, goals: goals(config)?, at_once, sealer: Sealer::default(), last: Mutex::default() })
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let budget = Duration::from_secs(60);
        vec![Subscription::on(&["cloud.*", "system.shutdown", "custom.*"]).priority(75).budget(budget)]
    }

    fn activate(&self) -> Result<(), Error> {
        // Nothing can be held ready: the process of today is not that of the event. But a mistake shows today.
        for goal in self.goals.iter().filter(|goal| !goal.is_optional) {
            match goal.seek.find() {
                Ok(found) if found.is_empty() => {
                    self.host.warn(format_args!("{}: no process is found by {} now", goal.name, goal.seek.shown()));
                }
                Ok(_) => {}
                Err(error) => self.host.warn(format_args!("{}: {error}", goal.name)),
            }
        }
        Ok(())
    }

    fn on_event(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        if call.cancelled().is_some() {
            return Err(Error::new("cancelled").code(Code::Cancelled));
        }
        if event.purpose() == Purpose::Undo {
            return Ok(Outcome::declined("the notice was withdrawn; what was saved does no harm, what ended stays so"));
        }
        let may_stay = event.purpose() == Purpose::Ahead;
        *self.last() = None;
        let told = self.deal(may_stay, call);
        let report = report(&told, self.at_once);
        if told.iter().all(|one| matches!(one.ending, Ending::Nothing(_))) {
            let reasons: Vec<String> = told.iter().filter_map(reason).collect();
            return Ok(Outcome::declined(reasons.join("; ")));
        }
        let failures: Vec<String> = told.iter().filter(|one| failure(one).is_some()).filter_map(reason).collect();
        if let Some(first) = told.iter().find_map(failure) {
            return Err(Error::new(failures.join("; ")).code(first.kind()).with_result(report));
        }
        *self.last() = Some((event.id().to_owned(), told));
        Ok(Outcome::handled(report))
    }

    fn verify(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Verification, Error> {
        let last = self.last();
        // After a restart nobody knows any more what was there.
        let Some((_, told)) = last.as_ref().filter(|(id, _)| id == event.id()) else {
            return Ok(Verification::Unknown);
        };
        let looked = attended(call, |clock| {
            let again = self.goals.iter().zip(told).map(|(goal, one)| one.look_again(goal, &self.sealer, clock));
            again.collect::<Result<Vec<_>, _>>()
        });
        if call.cancelled().is_some() {
            return Err(Error::new("cancelled").code(Code::Cancelled));
        }
        let looked = looked?;
        let is_all = told.iter().zip(&looked).all(|(one, l)| l.is_some() || matches!(one.ending, Ending::Nothing(_)));
        let evidence: Vec<Value> = looked.into_iter().flatten().collect();
        let is_known = is_all && !evidence.is_empty();
        Ok(if is_known { Verification::Verified(json!({ "targets": evidence })) } else { Verification::Unknown })
    }

    fn on_cancel(&self, _: &Call<'_>, _: Cancel) {}

    fn deactivate(&self) {
        self.sealer.join();
    }
}

impl SignalCheckpointer {
    fn last(&self) -> MutexGuard<'_, Option<(String, Vec<Told>)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deals with all targets, in order or at once.
    fn deal(&self, may_stay: bool, call: &Call<'_>) -> Vec<Told> {
        let deal_with = |goal, clock: &Clock| deal_with(goal, may_stay, &self.sealer, clock);
        if !self.at_once {
            return attended(call, |clock| self.goals.iter().map(|goal| deal_with(goal, clock)).collect());
        }
        attended(call, |clock| {
            thread::scope(|scope| {
                let spawn = |goal| {
                    let thread = thread::Builder::new().name("signal-target".to_owned());
                    (goal, thread.spawn_scoped(scope, move || deal_with(goal, clock)))
                };
                let threads: Vec<_> = self.goals.iter().map(spawn).collect();
                let told = threads.into_iter().map(|(goal, thread)| match thread.map(|thread| thread.join()) {
                    Ok(Ok(told)) => told,
                    // No thread could be had for it.
                    _ => deal_with(goal, clock),
                });
                told.collect()
            })
        })
    }
}

/// Has the work done on a thread of normal priority, and passes the host's cancellation on to it.
fn attended<T: Send>(call: &Call<'_>, work: impl Fn(&Clock) -> T + Sync) -> T {
    let stop = Arc::new(AtomicBool::new(false));
    let clock = Clock::new(left(call), Arc::clone(&stop));
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("signal-work".to_owned()).spawn_scoped(scope, || work(&clock));
        // Without a thread it is done here: deaf to the host, but in time.
        let Ok(thread) = thread else { return work(&clock) };
        while !thread.is_finished() {
            if call.cancelled().is_some() {
                stop.store(true, Ordering::Release);
            }
            thread::sleep(FLAG_PASS);
        }
        thread.join().unwrap_or_else(|_| work(&clock))
    })
}

/// Time that may still be spent.
fn left(call: &Call<'_>) -> Duration {
    let left = call.left();
    left.saturating_sub(RESERVE.min(left / 10))
}

fn failure(told: &Told) -> Option<&Error> {
    match &told.ending {
        Ending::Failed(error) => Some(error),
        _ => None,
    }
}

fn reason(told: &Told) -> Option<String> {
    match &told.ending {
        Ending::Done => None,
        Ending::Nothing(reason) => Some(format!("{}: {reason}", told.name)),
        Ending::Failed(error) => Some(format!("{}: {error}", told.name)),
    }
}

fn report(told: &[Told], at_once: bool) -> Value {
    let all: Vec<Option<bool>> =
        told.iter().filter(|one| !matches!(one.ending, Ending::Nothing(_))).map(Told::is_durable).collect();
    let durable = if all.contains(&Some(false)) {
        "no"
    } else if !all.is_empty() && all.iter().all(|one| *one == Some(true)) {
        "yes"
    } else {
        "unknown"
    };
    let report = |is_brief: bool| {
        json!({
            "action": "checkpoint", "order": if at_once { "at-once" } else { "in-order" },
            "targets": told.iter().map(|one| one.report(is_brief)).collect::<Vec<_>>(), "durable": durable,
        })
    };
    let whole = report(false);
    if whole.to_string().len() > REPORT_BYTES { report(true) } else { whole }
}
