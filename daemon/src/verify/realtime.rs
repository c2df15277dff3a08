//! The tests of the claim SNOOZE_CAP_REALTIME: on_event neither blocks, allocates nor does I/O.
//!
//! Inputs: a case whose class makes the claim. Outputs: findings with the figures behind them. Must never judge a class
//! that does not claim it: a handler may block on a thread of its own.

use super::case::Case;
use super::delivery::put_away;
use super::drive::{self, Driven};
use super::events::{self, Fill};
use super::scene::{CallAt, EventAt};
use super::{Body, Finding, Group, Test};
use crate::sys::conduct::{self, Witness};
use crate::sys::sched::{self, Class};
use crate::sys::{clock, memory};
use cloudsnooze_abi as abi;
use hdrhistogram::Histogram;
use nix::sys::resource::{Usage, UsageWho, getrusage};
use std::collections::BTreeMap;
use std::time::Duration;

/// Events before anything is measured.
const WARM_UP: usize = 1_000;
/// Events that are measured, and the time that may take.
const EVENTS: usize = 100_000;
const EVENTS_MS: i64 = 4_000;
/// Longest stretch without a pause: the kernel takes the CPU away from real-time threads that never rest.
const STRETCH_NS: i64 = 20_000_000;
const PAUSE: Duration = Duration::from_millis(2);
/// Events that are watched call by call.
const WATCHED: usize = 200;
/// Time that an event may take when the subscription names none: beyond it the host moves the handler to a thread of
/// its own (`dispatch::pool::inline`), microseconds.
const BUDGET_US: u64 = 1_000;
/// Priority while measuring: above all normal work, below the kernel's own threads.
const PRIORITY: u8 = 10;
/// Time granted, milliseconds: long enough for all of it.
const GRANTED_MS: i64 = 60_000;

const REALTIME: Test = Test::of(Group::Realtime, 20, "delivery-kinds");

/// The tests of this group.
pub const TESTS: &[Test] = &[
    Test {
        name: "realtime-time",
        expected: "of a hundred thousand events, 99.9 % are handled within the budget",
        advice: "do less in on_event, name the time it needs as budget_us of the subscription, or take the claim away",
        body: Body::Dynamic(time),
        ..REALTIME
    },
    Test {
        name: "realtime-waits",
        expected: "on_event never waits: no voluntary switch to another thread, no page fault once it is warm",
        advice: "replace locks by atomics, touch memory in warm_up, and hand slow work to a thread of your own (SNOOZE_ASYNC)",
        body: Body::Dynamic(waits),
        ..REALTIME
    },
    Test {
        name: "realtime-allocations",
        expected: "on_event neither allocates nor frees",
        advice: "allocate in create or activate; beware of std::string, format!, printf and containers that grow",
        body: Body::Dynamic(allocations),
        ..REALTIME
    },
    Test {
        name: "realtime-system-calls",
        expected: "on_event makes no system call",
        advice: "no file, socket, sleep or lock that others hold; log, progress and the clock through the host are free of them",
        body: Body::Dynamic(system_calls),
        ..REALTIME
    },
];

/// An active instance that claims it, with an event and a call.
fn claiming(case: &Case) -> Result<(Driven, EventAt, CallAt), Finding> {
    let class = case.class()?;
    if class.caps & abi::SNOOZE_CAP_REALTIME == 0 {
        return Err(Finding::Skipped("it does not claim SNOOZE_CAP_REALTIME".into()));
    }
    let driven = case.active()?;
    let kind = events::first_kind(&driven);
    let pair = events::pair(&driven, kind, Fill::Usual, GRANTED_MS).ok_or(Finding::Skipped("no memory".into()))?;
    Ok((driven, pair.0, pair.1))
}

/// Many events on a real-time thread.
struct Measured {
    times_ns: Histogram<u64>,
    voluntary_switches: i64,
    page_faults: i64,
    grant: sched::Grant,
}

fn usage() -> (i64, i64) {
    let read =
        |usage: Usage| (usage.voluntary_context_switches(), usage.minor_page_faults() + usage.major_page_faults());
    getrusage(UsageWho::RUSAGE_THREAD).map_or((0, 0), read)
}

fn measure(driven: Driven, event: EventAt, call: CallAt) -> Option<Measured> {
    drive::note("on_event, a hundred thousand times on a real-time thread");
    let measured = drive::on_worker(move || {
        let grant = sched::raise_current_thread(Class::Fifo, PRIORITY);
        memory::touch_stack();
        driven.warm_up();
        let end_ns = clock::boot_ns() + EVENTS_MS * 1_000_000;
        for _ in 0..WARM_UP {
            driven.on_event_alone(event, call);
            if clock::boot_ns() > end_ns {
                break;
            }
        }
        let mut measured = Measured { times_ns: Histogram::new(3).ok()?, voluntary_switches: 0, page_faults: 0, grant };
        measured.times_ns.auto(true);
        let _ = measured.times_ns.record(10_000_000_000);
        measured.times_ns.reset();
        let mut count = 0;
        while count < EVENTS && clock::boot_ns() < end_ns {
            let stretch_ns = clock::boot_ns();
            let before = usage();
            let mut now_ns = stretch_ns;
            while count < EVENTS && now_ns - stretch_ns < STRETCH_NS {
                driven.on_event_alone(event, call);
                let then_ns = clock::boot_ns();
                let _ = measured.times_ns.record(u64::try_from(then_ns - now_ns).unwrap_or(0));
                now_ns = then_ns;
                count += 1;
            }
            let after = usage();
            measured.voluntary_switches += after.0 - before.0;
            measured.page_faults += after.1 - before.1;
            std::thread::sleep(PAUSE);
        }
        Some(measured)
    });
    measured.recv_timeout(Duration::from_secs(15)).ok().flatten()
}

fn late() -> Finding {
    Finding::Late("the events had not been handled after 15 s".into())
}

fn us(ns: u64) -> String {
    format!("{}.{} us", ns / 1_000, ns % 1_000 / 100)
}

fn time(case: &Case) -> Result<Finding, Finding> {
    let (driven, event, call) = claiming(case)?;
    let budget_us = driven.stage().wanted().iter().map(|w| w.budget_us).filter(|us| *us > 0).min().unwrap_or(BUDGET_US);
    let measured = measure(driven, event, call).ok_or_else(late)?;
    drive::close(event, call);
    put_away(&driven);
    let times = &measured.times_ns;
    let (usual, high, max) = (times.value_at_quantile(0.5), times.value_at_quantile(0.999), times.max());
    let (count, grant) = (times.len(), measured.grant);
    let text = format!(
        "{count} events: half within {}, 99.9 % within {}, longest {}; budget {budget_us} us; {grant}",
        us(usual),
        us(high),
        us(max)
    );
    let budget_ns = budget_us * 1_000;
    // Without real-time scheduling the machine's other work is in the few longest; it is not in half of them.
    let is_bad = usual > budget_ns || (high > budget_ns && grant.is_real_time());
    Ok(match (is_bad, max > budget_ns) {
        (true, _) => Finding::Bad(text),
        (false, true) => Finding::Doubtful(text),
        (false, false) => Finding::Good(text),
    })
}

fn waits(case: &Case) -> Result<Finding, Finding> {
    let (driven, event, call) = claiming(case)?;
    let measured = measure(driven, event, call).ok_or_else(late)?;
    drive::close(event, call);
    put_away(&driven);
    let (count, switches, faults) = (measured.times_ns.len(), measured.voluntary_switches, measured.page_faults);
    let text = format!("{count} events: {switches} voluntary switches, {faults} page faults");
    let per_thousand = |events: i64| u64::try_from(events).unwrap_or(0) * 1_000 / count.max(1);
    Ok(match (per_thousand(switches), per_thousand(faults)) {
        (0, 0) if switches == 0 && faults == 0 => Finding::Good(text),
        (0, 0) => Finding::Doubtful(text),
        _ => Finding::Bad(text),
    })
}

fn allocations(case: &Case) -> Result<Finding, Finding> {
    let (driven, event, call) = claiming(case)?;
    let places = conduct::count_allocations();
    if places == 0 {
        return Ok(Finding::Skipped("no library calls malloc in a way that can be counted".into()));
    }
    drive::note("on_event, allocations counted");
    let counted = drive::on_worker(move || {
        driven.warm_up();
        for _ in 0..WATCHED {
            driven.on_event_alone(event, call);
        }
        let before = conduct::allocations();
        for _ in 0..WATCHED {
            conduct::watched(|| driven.on_event_alone(event, call));
        }
        conduct::allocations() - before
    });
    let counted = counted.recv_timeout(Duration::from_secs(15)).map_err(|_| late())?;
    drive::close(event, call);
    put_away(&driven);
    Ok(if counted == 0 {
        Finding::Good(format!("none in {WATCHED} events"))
    } else {
        Finding::Bad(format!("{counted} calls of malloc, free and their kin in {WATCHED} events"))
    })
}

fn system_calls(case: &Case) -> Result<Finding, Finding> {
    let (driven, event, call) = claiming(case)?;
    drive::note("on_event, system calls counted");
    let seen = drive::on_worker(move || {
        driven.warm_up();
        for _ in 0..WATCHED {
            driven.on_event_alone(event, call);
        }
        let witness = Witness::begin()?;
        for _ in 0..WATCHED {
            conduct::watched(|| driven.on_event_alone(event, call));
        }
        Ok::<_, std::io::Error>(witness.calls())
    });
    let seen = seen.recv_timeout(Duration::from_secs(15)).map_err(|_| late())?;
    let calls = match seen {
        Ok(calls) => calls,
        Err(error) => return Ok(Finding::Skipped(format!("the kernel gives no seccomp listener: {error}"))),
    };
    drive::close(event, call);
    put_away(&driven);
    let mut counts = BTreeMap::<i64, usize>::new();
    for number in &calls {
        *counts.entry(*number).or_default() += 1;
    }
    let named: Vec<String> =
        counts.iter().map(|(number, count)| format!("{count} {}", conduct::system_call_name(*number))).collect();
    Ok(if named.is_empty() {
        Finding::Good(format!("none in {WATCHED} events"))
    } else {
        Finding::Bad(format!("in {WATCHED} events: {}", named.join(", ")))
    })
}
