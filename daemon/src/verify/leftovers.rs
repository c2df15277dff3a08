//! The tests of what handling events leaves behind: memory, threads, descriptors, processes, output, changes to what
//! the whole process shares.
//!
//! Inputs: a case. Outputs: findings. Must never take what the first event opens and keeps for a leak.

use super::case::Case;
use super::delivery::{DELIVERY, deliver, one, pair, put_away};
use super::drive;
use super::events::{self, Fill, GRANTED_MS};
use super::{Body, Finding, Test};
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
/// Growth of a round that says nothing, bytes: what threads that free each other's memory leave in the allocator's caches comes to
/// 15 KiB with a client of several threads, in two rounds one after the other, and to nothing in the next run. Among the few events of
/// a slow handler that would pass for a leak; a smaller leak of such a handler is not found.
const CACHED_BYTES: usize = 32 * 1024;
/// Memory that does not come from malloc and that an event may keep, bytes; and growth of a round in it that says nothing: code
/// and tables of the plugin's libraries are read in when they are first used, a megabyte for a dozen events of a large client.
const RESIDENT_BYTES_AN_EVENT: usize = 8 * 1024;
const TOUCHED_BYTES: usize = 2 * 1024 * 1024;

/// More tests of the group `delivery`.
pub const TESTS: &[Test] = &[
    Test {
        name: "delivery-threads",
        expected: "no thread is left once an instance that had an event is destroyed",
        advice: "stop and join every thread in deactivate, before it returns; a detached thread cannot be joined",
        body: Body::Dynamic(threads),
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

fn threads(case: &Case) -> Result<Finding, Finding> {
    case.class()?;
    let before = surroundings::threads();
    let driven = case.active()?;
    let lost = one(&driven);
    driven.deactivate();
    driven.destroy();
    if let Err(lost) = lost {
        return Ok(lost);
    }
    let left = surroundings::settled_threads(before).saturating_sub(before);
    Ok(if left == 0 {
        Finding::Good("none is left".into())
    } else {
        Finding::Bad(format!("{left} threads were left behind"))
    })
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
        return Ok(Finding::Late("three rounds of events had not ended after 15 s".into()));
    };
    drive::close(event, call);
    put_away(&driven);
    let [first, second, third] = rounds.as_slice() else { return Ok(Finding::Skipped("no rounds".into())) };
    if third.0 < 8 {
        return Ok(Finding::Skipped(format!("an event takes so long that there were only {} in a round", third.0)));
    }
    let kept = |of: fn(&(usize, usize, usize)) -> usize, says_nothing: usize| {
        let grown = |one, next: &(usize, usize, usize)| {
            let grown = of(next).saturating_sub(of(one));
            if grown > says_nothing { grown / next.0 } else { 0 }
        };
        grown(first, second).min(grown(second, third))
    };
    let an_event = kept(|round| round.1, CACHED_BYTES);
    let resident = kept(|round| round.2, TOUCHED_BYTES);
    Ok(if an_event > KEPT_BYTES_AN_EVENT {
        Finding::Bad(format!("each event keeps about {an_event} bytes"))
    } else if resident > RESIDENT_BYTES_AN_EVENT {
        Finding::Bad(format!("each event keeps about {resident} bytes, which do not come from malloc"))
    } else {
        Finding::Good(format!("no growth over {} events", second.0 + third.0))
    })
}

fn descriptors(case: &Case) -> Result<Finding, Finding> {
    // What the plugin opens itself is its own to close, at any time: another attempt to connect may end just now.
    let hosts = surroundings::descriptors();
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
    let closed: Vec<String> = hosts
        .iter()
        .filter(|(number, target)| after.get(number) != Some(target))
        .map(|(number, target)| format!("{number} ({})", target.display()))
        .collect();
    let is_ours_open = after.contains_key(&ours.as_fd().as_raw_fd());
    // It may be closed already, and closing it again may hit another; the process ends soon anyway.
    std::mem::forget(ours);
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

fn processes(case: &Case) -> Result<Finding, Finding> {
    let driven = case.active()?;
    one(&driven)?;
    let has_left = surroundings::has_children();
    put_away(&driven);
    Ok(if has_left {
        Finding::Bad("a child process was left that nobody waits for".into())
    } else {
        Finding::Good("no child process is left".into())
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
        Finding::Good("nothing was written".into())
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
    let late = || Err(Finding::Late("the events had not been handled after 15 s".into()));
    let mut changes = changes.recv_timeout(Duration::from_secs(15)).unwrap_or_else(|_| late())?;
    put_away(&driven);
    for change in Surroundings::now().changes_since(&before) {
        if !changes.contains(&change) {
            changes.push(change);
        }
    }
    Ok(if changes.is_empty() { Finding::Good("nothing changed".into()) } else { Finding::Bad(changes.join("; ")) })
}
