//! The tests of cancellation: stopping in time is what everything else depends on.
//!
//! Inputs: a case. Outputs: findings. Must never take a handler that was done before it was cancelled for a slow one.

use super::case::Case;
use super::delivery::{pair, put_away};
use super::drive::{self, Delivered, GRACE_MS};
use super::events::{self, Fill, GRANTED_MS};
use super::{Body, Finding, Group, Test};
use crate::sys::clock;
use cloudsnooze_abi as abi;

/// When a handler is cancelled in the middle, milliseconds after it began.
const MIDDLE_MS: i64 = 50;
/// Time granted to it then.
const LONG_MS: i64 = 30_000;

const CANCEL: Test = Test::of(Group::Cancel, 10, "delivery-kinds");

/// The tests of this group.
pub const TESTS: &[Test] = &[
    Test {
        name: "cancel-before",
        expected: "a call that is cancelled before it begins comes back within 250 ms",
        advice: "ask snooze_cancelled(call) first",
        needs: "life-activate",
        body: Body::Dynamic(before),
        ..CANCEL
    },
    Test {
        name: "cancel-during",
        expected: "a call that is cancelled while it runs comes back within 250 ms",
        advice: "ask snooze_cancelled(call) between steps, and wait with poll() on cancel_fd beside your own descriptors; \
                 give every wait of a library a timeout shorter than the grace",
        needs: "life-activate",
        body: Body::Dynamic(during),
        ..CANCEL
    },
    Test {
        name: "cancel-after",
        expected: "an on_cancel that comes when on_event has just returned does no harm",
        advice: "on_cancel runs on another thread and may come late: touch only what lives as long as the instance",
        body: Body::Dynamic(after),
        ..CANCEL
    },
    Test {
        name: "cancel-reasons",
        expected: "every reason stops it, also one of a newer host",
        advice: "anything that is not SNOOZE_CANCEL_NONE means stop",
        body: Body::Dynamic(reasons),
        ..CANCEL
    },
];

fn told(delivered: &Delivered) -> Finding {
    match delivered.after_cancel_ms {
        None => Finding::Good(format!("it was done after {} ms, before it was cancelled", delivered.took_ms)),
        Some(late) if late > GRACE_MS => Finding::Doubtful(format!(
            "it came back after {late} ms; the grace is {GRACE_MS} ms, this machine may be busy"
        )),
        Some(late) => Finding::Good(format!("it came back {late} ms after it was cancelled")),
    }
}

fn before(case: &Case) -> Result<Finding, Finding> {
    let driven = case.active()?;
    let (event, call) = pair(&driven, events::first_kind(&driven), Fill::Usual, LONG_MS)?;
    call.cancel(abi::SNOOZE_CANCEL_SHUTDOWN);
    drive::note("on_event, cancelled before it began");
    let now_ns = clock::boot_ns();
    let delivered = driven.deliver_until(event, call, now_ns, abi::SNOOZE_CANCEL_SHUTDOWN);
    let delivered = delivered.map_err(Finding::from)?;
    drive::close(event, call);
    put_away(&driven);
    Ok(told(&delivered))
}

fn during(case: &Case) -> Result<Finding, Finding> {
    let driven = case.active()?;
    let mut worst = None;
    for kind in events::kinds(&driven) {
        let (event, call) = pair(&driven, kind.clone(), Fill::Usual, LONG_MS)?;
        drive::note(&format!("on_event of {kind}, cancelled in the middle"));
        let cancel_at_ns = clock::boot_ns() + MIDDLE_MS * 1_000_000;
        let delivered = driven.deliver_until(event, call, cancel_at_ns, abi::SNOOZE_CANCEL_WITHDRAWN);
        let delivered = delivered.map_err(|lost| Finding::from(lost).during(kind.as_str()))?;
        drive::close(event, call);
        let rank = |delivered: &Delivered| (delivered.after_cancel_ms, delivered.took_ms);
        worst = Some(match worst {
            Some(worst) if rank(&worst) >= rank(&delivered) => worst,
            _ => delivered,
        });
    }
    put_away(&driven);
    Ok(worst.map_or_else(|| Finding::Skipped("there is no kind that it takes".into()), |worst| told(&worst)))
}

fn after(case: &Case) -> Result<Finding, Finding> {
    let driven = case.active()?;
    let (event, call) = pair(&driven, events::first_kind(&driven), Fill::Usual, GRANTED_MS)?;
    drive::note("on_event");
    driven.deliver(event, call).map_err(Finding::from)?;
    drive::note("on_cancel after on_event had returned");
    call.cancel(abi::SNOOZE_CANCEL_SHUTDOWN);
    driven.on_cancel(call, abi::SNOOZE_CANCEL_SHUTDOWN);
    drive::close(event, call);
    put_away(&driven);
    Ok(Finding::Good("a late on_cancel did no harm".into()))
}

fn reasons(case: &Case) -> Result<Finding, Finding> {
    let driven = case.active()?;
    for reason in [1, 2, 3, 4, 77] {
        let (event, call) = pair(&driven, events::first_kind(&driven), Fill::Usual, LONG_MS)?;
        drive::note(&format!("on_event, cancelled for reason {reason}"));
        let delivered = driven.deliver_until(event, call, clock::boot_ns() + 10_000_000, reason);
        delivered.map_err(|lost| Finding::from(lost).during(&format!("reason {reason}")))?;
        drive::close(event, call);
    }
    put_away(&driven);
    Ok(Finding::Good("it came back for each of five reasons".into()))
}
