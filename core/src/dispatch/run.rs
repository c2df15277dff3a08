//! One delivery on one worker: the attempts, the pauses between them, the verification.
//!
//! Inputs: a job. Outputs: what became of it. Runs on a pool thread, where waiting is allowed. Must
//! never take longer than the job's deadline by its own doing: a plugin may, and the engine sees to it.

use super::engine::Job;
use super::report::{Ended, Finished, Verified};
use crate::event::EventId;
use crate::host::{Answer, CallCell, Delivery, Instance, Status};
use crate::sys::clock;
use cloudsnooze_abi as abi;
use std::sync::Arc;
use std::time::Duration;

/// First pause before another attempt; doubles.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// An attempt with less than this left is not worth making. Nanoseconds.
const ATTEMPT_MIN_NS: i64 = 20_000_000;

/// Where the timer finds the call to cancel.
pub trait Desk {
    /// Says which call cell the job uses from now on: another attempt began.
    fn call_is(&self, job: &Job<Arc<Instance>>, cell: &Arc<CallCell>);
}

/// Runs the job to its end, `cell` being the call of the first attempt.
#[cfg_attr(target_os = "linux", allow(unsafe_code), unsafe(link_section = "snooze_hot"))]
pub fn run(job: &Job<Arc<Instance>>, mut cell: Arc<CallCell>, desk: &impl Desk, grace: Duration) -> Finished {
    let instance = &job.handler.instance;
    let delivery = Delivery::new(Arc::clone(&job.event), job.seq, job.granted);
    // The last thing before the plugin's own code: what is measured as its start must not flatter us.
    let started_boot_ns = clock::boot_ns();
    let mut answer = instance.handle(&delivery, &cell, grace);
    let mut made = 1;
    let mut failures = u32::from(is_failure(answer.status));
    while worth_another(&answer, failures, job, &cell) {
        let pause = (RETRY_PAUSE * 2u32.saturating_pow(made - 1)).min(RETRY_PAUSE_MAX);
        let pause_ns = i64::try_from(pause.as_nanos()).unwrap_or(i64::MAX);
        // A pause that leaves no time for an attempt would only take that time from the handlers behind.
        if cell.left_ns() < pause_ns.saturating_add(ATTEMPT_MIN_NS) {
            break;
        }
        cell.pause(pause);
        if cell.cancel_reason() != abi::SNOOZE_CANCEL_NONE || cell.left_ns() < ATTEMPT_MIN_NS {
            break;
        }
        made += 1;
        cell = open(job, made);
        desk.call_is(job, &cell);
        // A fresh delivery: the time remaining is another one.
        let again = Delivery::new(Arc::clone(&job.event), job.seq, clock::now());
        answer = instance.handle(&again, &cell, grace);
        failures += u32::from(is_failure(answer.status));
    }
    let (verified, evidence, doubt) = verify(job, &delivery, &cell, &answer);
    Finished {
        ended: ended(answer.status),
        attempts: job.attempts_before + made,
        started_boot_ns,
        ended_boot_ns: clock::boot_ns(),
        error: answer.error.or(doubt),
        result: answer.result,
        verified,
        evidence,
    }
}

/// What a worker reports when its own code panicked: a fault of ours, told like one of the plugin's.
pub fn broken(job: &Job<Arc<Instance>>, started_boot_ns: i64) -> Finished {
    Finished {
        ended: Ended::Failed,
        attempts: job.attempts_before + 1,
        started_boot_ns,
        ended_boot_ns: clock::boot_ns(),
        error: Some("the daemon's own code panicked around this call; please report it".into()),
        result: None,
        verified: Verified::NotAsked,
        evidence: None,
    }
}

/// The call of an attempt: the first of this process is 1, and what an earlier one began is counted on. The timer is
/// told of the first one when the job is handed over.
#[cfg_attr(target_os = "linux", allow(unsafe_code), unsafe(link_section = "snooze_hot"))]
pub fn open(job: &Job<Arc<Instance>>, made: u32) -> Arc<CallCell> {
    let attempt = job.attempts_before + made;
    let key = idempotency_key(&job.event.id, job.handler.key);
    CallCell::new(job.call, attempt, key, job.deadline_boot_ns, job.handler.token)
}

/// The same for every attempt, and after a crash: the event's id and the instance's key, both of them random
/// bits as far as the other is concerned, marked as a UUID of version 8 (RFC 9562, 5.8).
fn idempotency_key(event: &EventId, instance: [u8; 16]) -> [u8; 16] {
    let mixed = std::array::from_fn(|n| event.0.as_bytes()[n] ^ instance[n]);
    *uuid::Builder::from_custom_bytes(mixed).as_uuid().as_bytes()
}

fn worth_another(answer: &Answer, failures: u32, job: &Job<Arc<Instance>>, cell: &CallCell) -> bool {
    let again = may_repeat(answer.status, failures, job.handler.retries);
    again && cell.cancel_reason() == abi::SNOOZE_CANCEL_NONE && cell.left_ns() >= ATTEMPT_MIN_NS
}

/// What the configured number of retries counts: the plugin did not ask for another attempt itself.
const fn is_failure(status: Status) -> bool {
    matches!(status, Status::Failed | Status::Crashed)
}

/// Whether another attempt is allowed after this many failures. A plugin that asks for one gets it as long
/// as time lasts.
const fn may_repeat(status: Status, failures: u32, retries: u32) -> bool {
    matches!(status, Status::Retry) || (is_failure(status) && failures <= retries)
}

type Verdict = (Verified, Option<serde_json::Map<String, serde_json::Value>>, Option<String>);

fn verify(job: &Job<Arc<Instance>>, delivery: &Delivery, cell: &CallCell, answer: &Answer) -> Verdict {
    let asked = job.handler.verify
        && answer.status == Status::Handled
        && cell.cancel_reason() == abi::SNOOZE_CANCEL_NONE
        && cell.left_ns() > 0;
    if !asked {
        return (Verified::NotAsked, None, None);
    }
    match job.handler.instance.verify(delivery, cell, answer.result.as_ref()) {
        None => (Verified::Unknown, None, None),
        Some(said) if said.status == Status::Handled => (Verified::Yes, said.result, None),
        Some(said) if said.status == Status::Declined => (Verified::Unknown, said.result, None),
        Some(said) => {
            let doubt = said.error.unwrap_or_else(|| "the plugin gave no reason".into());
            (Verified::No, said.result, Some(format!("not verified: {doubt}")))
        }
    }
}

fn ended(status: Status) -> Ended {
    match status {
        Status::Handled => Ended::Handled,
        Status::Declined => Ended::Declined,
        // Still failing when time or attempts ran out.
        Status::Failed | Status::Retry => Ended::Failed,
        Status::Panicked => Ended::Panicked,
        Status::Crashed => Ended::Crashed,
        Status::Cancelled => Ended::Cancelled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_and_crashes_alike_are_repeated_as_often_as_configured_and_no_more() {
        for status in [Status::Failed, Status::Crashed] {
            assert!(!may_repeat(status, 1, 0), "not at all by default");
            let attempts = (1..).take_while(|failures| may_repeat(status, *failures, 3)).count();
            assert_eq!(attempts, 3, "{status:?}");
        }
    }

    #[test]
    fn an_idempotency_key_differs_by_event_and_by_instance_and_is_a_uuid() {
        let (one, two) = (EventId::at(1), EventId::at(2));
        let keys = [(&one, [1; 16]), (&one, [2; 16]), (&two, [1; 16])].map(|(e, i)| idempotency_key(e, i));
        assert!(keys[0] != keys[1] && keys[0] != keys[2] && keys[0] == idempotency_key(&one, [1; 16]));
        assert!(keys.iter().all(|key| uuid::Uuid::from_bytes(*key).get_version_num() == 8));
    }

    #[test]
    fn only_a_plugin_that_asks_is_repeated_without_end() {
        assert!(may_repeat(Status::Retry, u32::MAX, 0));
        for status in [Status::Handled, Status::Declined, Status::Panicked, Status::Cancelled] {
            assert!(!may_repeat(status, 0, 10), "{status:?}");
        }
    }
}
