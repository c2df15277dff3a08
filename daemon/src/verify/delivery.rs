//! The tests of delivery: events of every kind and size, and what the handler answers.
//!
//! Inputs: a case. Outputs: findings. Must never find fault with a handler that fails: a database that is not there is
//! no defect of its plugin. How it fails is looked at.

use super::case::Case;
use super::drive::{self, Delivered, Driven};
use super::events::{self, Fill, GRANTED_MS};
use super::scene::{Afterwards, CallAt, EventAt, scene};
use super::stage::Stage;
use super::{Body, Finding, Group, Test};
use crate::event::EventType;
use cloudsnooze_abi as abi;
use std::time::Duration;

/// How long a plugin that uses an event after its time is waited for.
const LATER: Duration = Duration::from_millis(400);

/// What the tests of this group have in common.
pub const DELIVERY: Test = Test::of(Group::Delivery, 20, "delivery-kinds");

/// The tests of this group.
pub const TESTS: &[Test] = &[
    Test {
        name: "delivery-kinds",
        expected: "on_event comes back for every kind it subscribed to, with a status that means something",
        advice: "run this test with --in-process under a debugger; catch exceptions and panics at the border (plugin.hpp, the \
                 Rust SDK), claim SNOOZE_CAP_ASYNC for SNOOZE_ASYNC, and wait with poll() on cancel_fd rather than for ever",
        needs: "life-activate",
        body: Body::Dynamic(kinds),
        ..DELIVERY
    },
    Test {
        name: "delivery-errors",
        expected: "every failure comes with words",
        advice: "return snooze_failf(host, SNOOZE_E_..., \"what failed, and why\"): it is all that an operator will read",
        body: Body::Dynamic(errors),
        ..DELIVERY
    },
    Test {
        name: "delivery-bare",
        expected: "an event without any field that may be absent is handled",
        advice: "an accessor that answers SNOOZE_E_NOT_FOUND leaves its result alone: give it a value of your own",
        body: Body::Dynamic(|case| usual(case, Fill::Bare)),
        ..DELIVERY
    },
    Test {
        name: "delivery-largest",
        expected: "texts of the greatest length and a document of 256 KiB are handled",
        advice: "never copy a text into a buffer of fixed size without looking at its len; texts are not NUL-terminated",
        body: Body::Dynamic(|case| usual(case, Fill::Largest)),
        ..DELIVERY
    },
    Test {
        name: "delivery-twice",
        expected: "the same delivery can come again, as after a crash of the daemon",
        advice: "make the work idempotent: call->idempotency_key stays the same",
        body: Body::Dynamic(twice),
        ..DELIVERY
    },
    Test {
        name: "delivery-two",
        expected: "two instances work beside each other, and one goes on when the other is gone",
        advice: "hang all state on ctx; globals are shared by every instance that the configuration names",
        body: Body::Dynamic(two),
        ..DELIVERY
    },
    Test {
        name: "delivery-future",
        expected: "it works with a newer host: larger tables, unknown kinds and flags",
        advice: "read a member only when struct_size holds it and you know its name (SNOOZE_HAS); treat unknown kinds as \
                 SNOOZE_KIND_OTHER and ignore unknown flags",
        body: Body::Dynamic(future),
        ..DELIVERY
    },
    Test {
        name: "delivery-late",
        expected: "a call whose deadline is past when it begins comes back within the grace",
        advice: "ask snooze_left_ms before each step; it is 0 when the time is over, so never divide by it or wait for it",
        body: Body::Dynamic(late),
        ..DELIVERY
    },
    Test {
        name: "delivery-after-return",
        expected: "event and call are not used once on_event has returned",
        advice: "copy what you keep, or call event_retain before you return and event_release afterwards",
        body: Body::Dynamic(after_return),
        ..DELIVERY
    },
    Test {
        name: "delivery-results",
        expected: "results are JSON objects of at most 64 KiB, every text is UTF-8, every pointer is one that was given",
        advice: "build results with the helpers of json.h, and cut or escape what comes from elsewhere",
        body: Body::Dynamic(results),
        ..DELIVERY
    },
    Test {
        name: "delivery-async",
        expected: "a call that answers SNOOZE_ASYNC is completed exactly once, within its time",
        advice: "complete on every path, also on errors and cancellation, and never again after that",
        needs: "life-activate",
        body: Body::Dynamic(asynchronous),
        ..DELIVERY
    },
    Test {
        name: "delivery-together",
        expected: "a class that claims SNOOZE_CAP_REENTRANT handles several events at the same time",
        advice: "guard what calls share, or take the claim away: then the host makes one call at a time",
        body: Body::Dynamic(together),
        ..DELIVERY
    },
];

/// An event and a call, or the finding that there is no memory.
pub fn pair(driven: &Driven, kind: EventType, fill: Fill, granted_ms: i64) -> Result<(EventAt, CallAt), Finding> {
    events::pair(driven, kind, fill, granted_ms).ok_or(Finding::Skipped("there is no memory for an event".into()))
}

/// Delivers one event; a handler that does not come back is a finding.
pub fn deliver(driven: &Driven, event: EventAt, call: CallAt, phase: &str) -> Result<Delivered, Finding> {
    drive::note(phase);
    let delivered = driven.deliver(event, call).map_err(|lost| Finding::from(lost).during(phase))?;
    drive::note("between calls");
    Ok(delivered)
}

/// Puts the instance away.
pub fn put_away(driven: &Driven) {
    driven.deactivate();
    driven.destroy();
}

/// What is wrong with a status, if anything.
fn nonsense(driven: &Driven, delivered: &Delivered) -> Option<String> {
    let text = delivered.error.as_deref().unwrap_or("no text");
    match delivered.status {
        abi::SNOOZE_E_PANIC => Some(format!("it {text}")),
        _ if delivered.is_asynchronous && !driven.claims(abi::SNOOZE_CAP_ASYNC) => {
            Some("it answered SNOOZE_ASYNC without claiming SNOOZE_CAP_ASYNC".into())
        }
        abi::SNOOZE_ASYNC if delivered.is_asynchronous => Some("it completed with SNOOZE_ASYNC".into()),
        status if status > abi::SNOOZE_SKIPPED => Some(format!("it answered {status}, which means nothing")),
        status if status < abi::SNOOZE_E_RETRY => Some(format!("it answered {status}, which is no code of this ABI")),
        _ => None,
    }
}

fn word(status: abi::snooze_status) -> &'static str {
    match status {
        abi::SNOOZE_OK => "handled",
        abi::SNOOZE_SKIPPED => "declined",
        _ => "failed",
    }
}

fn kinds(case: &Case) -> Result<Finding, Finding> {
    let driven = case.active()?;
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    let mut why = None;
    for kind in events::kinds(&driven) {
        let (event, call) = pair(&driven, kind.clone(), Fill::Usual, GRANTED_MS)?;
        let delivered = deliver(&driven, event, call, &format!("on_event of {kind}"))?;
        if let Some(wrong) = nonsense(&driven, &delivered) {
            return Ok(Finding::Bad(format!("{kind}: {wrong}")));
        }
        if delivered.status == abi::SNOOZE_OK
            && let Some((status, text)) = driven.verify(event, call)
            && (status > abi::SNOOZE_SKIPPED || status == abi::SNOOZE_E_PANIC)
        {
            let text = text.unwrap_or_else(|| format!("answered {status}, which means nothing"));
            return Ok(Finding::Bad(format!("{kind}: verify {text}")));
        }
        drive::close(event, call);
        *counts.entry(word(delivered.status)).or_default() += 1;
        why = why.or(delivered.error);
    }
    put_away(&driven);
    let counted: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    let why = why.map_or_else(String::new, |text| format!(" ({text})"));
    Ok(Finding::Good(format!("{}{why}", counted.join(", "))))
}

fn errors(case: &Case) -> Result<Finding, Finding> {
    let driven = case.active()?;
    let mut failures = 0;
    for kind in events::kinds(&driven) {
        for (fill, granted_ms) in [(Fill::Usual, GRANTED_MS), (Fill::Bare, GRANTED_MS), (Fill::Usual, -1)] {
            let (event, call) = pair(&driven, kind.clone(), fill, granted_ms)?;
            if granted_ms < 0 {
                call.cancel(abi::SNOOZE_CANCEL_DEADLINE);
            }
            let delivered = deliver(&driven, event, call, &format!("on_event of {kind}"))?;
            drive::close(event, call);
            // Cancelled is a reason in itself.
            if delivered.status < 0 && delivered.status != abi::SNOOZE_E_CANCELLED {
                failures += 1;
                if delivered.error.is_none_or(|text| text.trim().is_empty()) {
                    return Ok(Finding::Bad(format!("{kind}: it failed with {} and said nothing", delivered.status)));
                }
            }
        }
    }
    put_away(&driven);
    Ok(Finding::Good(if failures == 0 {
        "nothing failed".into()
    } else {
        format!("{failures} failures, each with words")
    }))
}

fn usual(case: &Case, fill: Fill) -> Result<Finding, Finding> {
    let driven = case.active()?;
    let kind = events::first_kind(&driven);
    let (event, call) = pair(&driven, kind.clone(), fill, GRANTED_MS)?;
    let delivered = deliver(&driven, event, call, &format!("on_event of {kind}"))?;
    drive::close(event, call);
    put_away(&driven);
    Ok(match nonsense(&driven, &delivered) {
        Some(wrong) => Finding::Bad(wrong),
        None => Finding::Good(word(delivered.status).into()),
    })
}

fn twice(case: &Case) -> Result<Finding, Finding> {
    let driven = case.active()?;
    let event = events::event(events::first_kind(&driven), Fill::Usual);
    let mut answers = Vec::new();
    for attempt in [1, 2, 1] {
        let key = *event.id.0.as_bytes();
        let pair = (EventAt::new(&event, false, Afterwards::Keep), CallAt::new(key, attempt, GRANTED_MS, 0, false));
        let (Some(event), Some(call)) = pair else { return Ok(Finding::Skipped("no memory".into())) };
        let delivered = deliver(&driven, event, call, &format!("on_event, attempt {attempt} of one delivery"))?;
        drive::close(event, call);
        if let Some(wrong) = nonsense(&driven, &delivered) {
            return Ok(Finding::Bad(wrong));
        }
        answers.push(word(delivered.status));
    }
    put_away(&driven);
    Ok(Finding::Good(answers.join(", then ")))
}

fn late(case: &Case) -> Result<Finding, Finding> {
    let driven = case.active()?;
    let kind = events::first_kind(&driven);
    let (event, call) = pair(&driven, kind, Fill::Usual, -5_000)?;
    let delivered = deliver(&driven, event, call, "on_event with its deadline past")?;
    drive::close(event, call);
    put_away(&driven);
    Ok(Finding::Good(format!("{} after {} ms", word(delivered.status), delivered.took_ms)))
}

fn after_return(case: &Case) -> Result<Finding, Finding> {
    let driven = case.active()?;
    for kind in events::kinds(&driven).into_iter().take(2) {
        let pair = events::pair_that(&driven, kind.clone(), Fill::Usual, GRANTED_MS, Afterwards::TakeAway);
        let (event, call) = pair.ok_or(Finding::Skipped("no memory".into()))?;
        deliver(&driven, event, call, &format!("on_event of {kind}"))?;
        drive::close(event, call);
        drive::note("nothing: on_event had returned and its event's memory was taken away");
        std::thread::sleep(LATER);
    }
    put_away(&driven);
    let faults = scene().take_faults();
    Ok(if faults.is_empty() {
        Finding::Good("nothing was used after its time".into())
    } else {
        Finding::Bad(faults.join("; "))
    })
}

fn results(case: &Case) -> Result<Finding, Finding> {
    let driven = case.active()?;
    scene().take_faults();
    for kind in events::kinds(&driven) {
        for fill in [Fill::Usual, Fill::Largest] {
            let (event, call) = pair(&driven, kind.clone(), fill, GRANTED_MS)?;
            let delivered = deliver(&driven, event, call, &format!("on_event of {kind}"))?;
            if delivered.status == abi::SNOOZE_OK {
                driven.verify(event, call);
            }
            drive::close(event, call);
        }
    }
    put_away(&driven);
    let faults = scene().take_faults();
    Ok(if faults.is_empty() {
        Finding::Good("results, texts and pointers are as they should be".into())
    } else {
        Finding::Bad(faults.join("; "))
    })
}

fn asynchronous(case: &Case) -> Result<Finding, Finding> {
    let driven = case.active()?;
    if !driven.claims(abi::SNOOZE_CAP_ASYNC) {
        return Ok(Finding::Skipped("it does not claim SNOOZE_CAP_ASYNC".into()));
    }
    let mut count = 0;
    for kind in events::kinds(&driven) {
        let (event, call) = pair(&driven, kind.clone(), Fill::Usual, GRANTED_MS)?;
        let delivered = deliver(&driven, event, call, &format!("on_event of {kind}"))?;
        // A second completion may take a moment.
        std::thread::sleep(LATER / 8);
        let completions = call.completions();
        drive::close(event, call);
        if completions > 1 {
            return Ok(Finding::Bad(format!("{kind}: it completed the call {completions} times")));
        }
        if !delivered.is_asynchronous && completions > 0 {
            return Ok(Finding::Bad(format!("{kind}: it completed a call that it had answered already")));
        }
        count += usize::from(delivered.is_asynchronous);
    }
    put_away(&driven);
    Ok(Finding::Good(format!("{count} calls were asynchronous")))
}

fn together(case: &Case) -> Result<Finding, Finding> {
    let driven = case.active()?;
    if !driven.claims(abi::SNOOZE_CAP_REENTRANT) {
        return Ok(Finding::Skipped("it does not claim SNOOZE_CAP_REENTRANT".into()));
    }
    drive::note("four on_event calls at the same time");
    let kind = events::first_kind(&driven);
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let kind = kind.clone();
            drive::on_worker(move || {
                for _ in 0..25 {
                    let (event, call) = pair(&driven, kind.clone(), Fill::Usual, GRANTED_MS)?;
                    driven.on_event(event, call);
                    drive::close(event, call);
                }
                Ok::<(), Finding>(())
            })
        })
        .collect();
    for worker in workers {
        let done = worker.recv_timeout(Duration::from_secs(10));
        done.unwrap_or_else(|_| Err(Finding::Late("a hundred calls had not returned after 10 s".into())))?;
    }
    put_away(&driven);
    Ok(Finding::Good("a hundred, four at a time".into()))
}

/// One usual event.
pub fn one(driven: &Driven) -> Result<Delivered, Finding> {
    let kind = events::first_kind(driven);
    let (event, call) = pair(driven, kind.clone(), Fill::Usual, GRANTED_MS)?;
    let delivered = deliver(driven, event, call, &format!("on_event of {kind}"))?;
    drive::close(event, call);
    Ok(delivered)
}

fn two(case: &Case) -> Result<Finding, Finding> {
    let (first, second) = (case.active()?, case.active()?);
    one(&first)?;
    one(&second)?;
    first.deactivate();
    first.destroy();
    drive::note("on_event of the second instance, after the first was destroyed");
    one(&second)?;
    second.deactivate();
    second.destroy();
    Ok(Finding::Good("one goes on when the other is gone".into()))
}

fn future(case: &Case) -> Result<Finding, Finding> {
    let driven = case.create_on(Stage::leak(true))?;
    driven.activate().map_err(|text| Finding::Bad(format!("activate failed: {text}")))?;
    driven.warm_up();
    let event = events::event(events::first_kind(&driven), Fill::Usual);
    let pair = (EventAt::new(&event, true, Afterwards::Keep), CallAt::new([7; 16], 1, events::GRANTED_MS, 0, true));
    let (Some(event), Some(call)) = pair else { return Ok(Finding::Skipped("no memory".into())) };
    drive::note("on_event with records of a newer host");
    let delivered = driven.deliver(event, call).map_err(Finding::from)?;
    drive::close(event, call);
    driven.deactivate();
    driven.destroy();
    let faults = scene().take_faults();
    Ok(if faults.is_empty() { Finding::Good(word(delivered.status).into()) } else { Finding::Bad(faults.join("; ")) })
}
