//! The tests of delivery: events of every kind and size, what the handler answers, what it leaves behind.
//!
//! Inputs: a case. Outputs: findings. Must never find fault with a handler that fails: a database that is not there is
//! no defect of its plugin. How it fails is looked at.

use super::case::Case;
use super::drive::{self, Delivered, Driven};
use super::events::{self, Fill, GRANTED_MS};
use super::scene::{Afterwards, CallAt, EventAt, scene};
use super::{Body, Finding, Group, Test};
use crate::event::EventType;
use crate::sys::clock;
use crate::sys::surroundings::{self, Surroundings};
use cloudsnooze_abi as abi;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Events of each of the three rounds that look for a leak, and the time a round may take.
const LEAK_EVENTS: usize = 300;
const LEAK_ROUND_MS: i64 = 1_000;
/// Memory that an event may keep, bytes.
const KEPT_BYTES_AN_EVENT: usize = 24;
/// How long a plugin that uses an event after its time is waited for.
const LATER: Duration = Duration::from_millis(400);

const DELIVERY: Test = Test {
    name: "",
    group: Group::Delivery,
    expected: "",
    advice: "",
    limit_seconds: 20,
    needs: "delivery-kinds",
    body: Body::Dynamic(|_| Ok(Finding::Skipped(String::new()))),
};

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
    Test {
        name: "delivery-memory",
        expected: "memory does not grow with the number of events",
        advice: "free on every way out of on_event; run it under valgrind or -fsanitize=address to find the place",
        body: Body::Dynamic(memory),
        ..DELIVERY
    },
    Test {
        name: "delivery-descriptors",
        expected: "every descriptor that it opens is closed again, and none of the host's is",
        advice: "close on every way out; close only what you opened, once: its number may be somebody else's by then",
        body: Body::Dynamic(descriptors),
        ..DELIVERY
    },
    Test {
        name: "delivery-processes",
        expected: "no child process is left when on_event returns",
        advice: "run commands with posix_spawn, and wait for them; kill them when the call is cancelled",
        body: Body::Dynamic(processes),
        ..DELIVERY
    },
    Test {
        name: "delivery-output",
        expected: "nothing is written to standard output",
        advice: "log with snooze_logf: the daemon's standard output may be a closed pipe",
        body: Body::Dynamic(output),
        ..DELIVERY
    },
    Test {
        name: "delivery-surroundings",
        expected: "handling an event changes nothing that the whole process shares",
        advice: "leave signal handlers, masks, umask, working directory, locale, environment and limits alone; there are \
                 functions that take what is meant as an argument (uselocale, openat, posix_spawn)",
        body: Body::Dynamic(shared),
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
    let delivered = driven.deliver(event, call).map_err(|lost| Finding::Bad(format!("{phase}: {lost}")))?;
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
    Ok(if faults.is_empty() { Finding::Good("they are not".into()) } else { Finding::Bad(faults.join("; ")) })
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
    Ok(if faults.is_empty() { Finding::Good("they are".into()) } else { Finding::Bad(faults.join("; ")) })
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
        done.unwrap_or_else(|_| Err(Finding::Bad("a hundred calls had not returned after 10 s".into())))?;
    }
    put_away(&driven);
    Ok(Finding::Good("a hundred, four at a time".into()))
}

fn memory(case: &Case) -> Result<Finding, Finding> {
    let driven = case.active()?;
    let kind = events::first_kind(&driven);
    let (event, call) = pair(&driven, kind, Fill::Usual, GRANTED_MS)?;
    drive::note("on_event, many times");
    let rounds = drive::on_worker(move || {
        let mut rounds = Vec::new();
        for _ in 0..3 {
            let begun_ns = clock::boot_ns();
            let mut count = 0usize;
            while count < LEAK_EVENTS && clock::boot_ns() - begun_ns < LEAK_ROUND_MS * 1_000_000 {
                call.reset();
                call.renew(GRANTED_MS);
                if driven.on_event(event, call).0 == abi::SNOOZE_ASYNC {
                    call.wait_completed(GRANTED_MS);
                }
                count += 1;
            }
            rounds.push((count, surroundings::heap_bytes(), surroundings::resident_bytes()));
        }
        rounds
    });
    let Ok(rounds) = rounds.recv_timeout(Duration::from_secs(15)) else {
        return Ok(Finding::Bad("three rounds of events had not ended after 15 s".into()));
    };
    drive::close(event, call);
    put_away(&driven);
    let [first, second, third] = rounds.as_slice() else { return Ok(Finding::Skipped("no rounds".into())) };
    if third.0 < 8 {
        return Ok(Finding::Skipped(format!("an event takes so long that there were only {} in a round", third.0)));
    }
    let kept = |one: &(usize, usize, usize), next: &(usize, usize, usize)| next.1.saturating_sub(one.1) / next.0;
    let an_event = kept(first, second).min(kept(second, third));
    let resident = third.2.saturating_sub(first.2) / (second.0 + third.0);
    Ok(if an_event > KEPT_BYTES_AN_EVENT {
        Finding::Bad(format!("each event keeps about {an_event} bytes"))
    } else if resident > 8192 {
        Finding::Bad(format!("each event keeps about {resident} bytes, which do not come from malloc"))
    } else {
        Finding::Good(format!("it does not, over {} events", second.0 + third.0))
    })
}

fn descriptors(case: &Case) -> Result<Finding, Finding> {
    let driven = case.active()?;
    let ours = std::fs::File::open("/proc/self/exe").map_err(|e| Finding::Skipped(e.to_string()))?;
    // The first event may open what is then kept.
    one(&driven)?;
    let before = surroundings::descriptors();
    let mut events = 0;
    for _ in 0..8 {
        one(&driven)?;
        events += 1;
    }
    let after = surroundings::descriptors();
    let closed: Vec<String> = before
        .iter()
        .filter(|(number, target)| after.get(number) != Some(target))
        .filter(|(_, target)| !target.to_string_lossy().starts_with("socket:"))
        .map(|(number, target)| format!("{number} ({})", target.display()))
        .collect();
    let is_ours_open = after.get(&ours.as_fd().as_raw_fd()).is_some();
    let opened = after.len().saturating_sub(before.len());
    if !is_ours_open || !closed.is_empty() {
        return Ok(Finding::Bad(format!("descriptors of the host were closed: {}", closed.join(", "))));
    }
    put_away(&driven);
    Ok(if opened >= events {
        Finding::Bad(format!("{events} events left {opened} descriptors open"))
    } else {
        Finding::Good(format!("{} open before, {} after", before.len(), after.len()))
    })
}

/// One usual event.
fn one(driven: &Driven) -> Result<Delivered, Finding> {
    let kind = events::first_kind(driven);
    let (event, call) = pair(driven, kind.clone(), Fill::Usual, GRANTED_MS)?;
    let delivered = deliver(driven, event, call, &format!("on_event of {kind}"))?;
    drive::close(event, call);
    Ok(delivered)
}

fn processes(case: &Case) -> Result<Finding, Finding> {
    let driven = case.active()?;
    one(&driven)?;
    let has_left = surroundings::has_children();
    put_away(&driven);
    Ok(if has_left {
        Finding::Bad("a child process was left that nobody waits for".into())
    } else {
        Finding::Good("none".into())
    })
}

fn output(case: &Case) -> Result<Finding, Finding> {
    let unable = |error: std::io::Error| Finding::Skipped(format!("standard output cannot be watched: {error}"));
    let written = crate::sys::surroundings::OutputWatch::begin().map_err(unable)?;
    let driven = case.active()?;
    for kind in events::kinds(&driven) {
        let (event, call) = pair(&driven, kind.clone(), Fill::Usual, GRANTED_MS)?;
        deliver(&driven, event, call, &format!("on_event of {kind}"))?;
        drive::close(event, call);
    }
    put_away(&driven);
    let text = written.end().map_err(unable)?;
    Ok(if text.is_empty() {
        Finding::Good("nothing".into())
    } else {
        let shown: String = String::from_utf8_lossy(&text).chars().take(60).collect();
        Finding::Bad(format!("{} bytes: {shown:?}", text.len()))
    })
}

fn shared(case: &Case) -> Result<Finding, Finding> {
    let driven = case.active()?;
    let before = Surroundings::now();
    // On the same thread: its mask and floating-point mode count too.
    let changes = drive::on_worker(move || {
        let before = Surroundings::now();
        for kind in events::kinds(&driven) {
            let (event, call) = pair(&driven, kind.clone(), Fill::Usual, GRANTED_MS)?;
            drive::note(&format!("on_event of {kind}"));
            if driven.on_event(event, call).0 == abi::SNOOZE_ASYNC {
                call.wait_completed(GRANTED_MS);
            }
            drive::close(event, call);
        }
        Ok(Surroundings::now().changes_since(&before))
    });
    let late = || Err(Finding::Bad("the events had not been handled after 15 s".into()));
    let mut changes = changes.recv_timeout(Duration::from_secs(15)).unwrap_or_else(|_| late())?;
    put_away(&driven);
    for change in Surroundings::now().changes_since(&before) {
        if !changes.contains(&change) {
            changes.push(change);
        }
    }
    Ok(if changes.is_empty() { Finding::Good("nothing changed".into()) } else { Finding::Bad(changes.join("; ")) })
}
