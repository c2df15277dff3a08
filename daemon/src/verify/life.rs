//! The tests of the life cycle: instances made, opened, closed and freed, without an event.
//!
//! Inputs: a case. Outputs: findings. Must never deliver an event, except where a test says so.

use super::case::Case;
use super::drive::Driven;
use super::stage::Stage;
use super::{Body, Finding, Group, Test, drive};
use crate::host::{load, schema};
use crate::sys::clock;
use crate::sys::surroundings::{self, Surroundings};

/// create may take this long without a word, and this long at all, milliseconds.
const SLOW_MS: i64 = 100;
const TOO_SLOW_MS: i64 = 1_000;
/// Rounds of the tests that look for growth, and the time they may take.
const ROUNDS: u32 = 100;
const ROUNDS_MS: i64 = 4_000;
/// Memory that a round may keep, bytes, and all rounds together before it counts.
const KEPT_BYTES_A_ROUND: usize = 64;
const KEPT_BYTES: usize = 16 * 1024;

const LIFE: Test = Test::of(Group::Life, 15, "life-create");

/// The tests of this group.
pub const TESTS: &[Test] = &[
    Test {
        name: "life-create",
        expected: "create takes the configuration and makes an instance at once: nothing is opened yet",
        advice: "open connections and files in activate, which may take seconds; say why create fails with report_error",
        needs: "load-class",
        body: Body::Dynamic(create),
        ..LIFE
    },
    Test {
        name: "life-refuses",
        expected: "create survives every configuration, and one that fails says why and leaves *out alone",
        advice: "check the configuration before anything else; write *out only on the way to SNOOZE_OK",
        body: Body::Dynamic(refuses),
        ..LIFE
    },
    Test {
        name: "life-unused",
        expected: "destroy follows create directly",
        advice: "destroy must free what create made, whether or not activate was called",
        body: Body::Dynamic(unused),
        ..LIFE
    },
    Test {
        name: "life-activate",
        expected: "it opens, warms up, closes and is freed",
        advice: "activate must not fail because a server is down now: on_event finds out; give settings with --config-file",
        body: Body::Dynamic(activate),
        ..LIFE
    },
    Test {
        name: "life-again",
        expected: "a hundred rounds of activate and deactivate, without growth of memory, threads or descriptors",
        advice: "deactivate must close and free all that activate opened, so that activate can follow",
        needs: "life-activate",
        body: Body::Dynamic(again),
        ..LIFE
    },
    Test {
        name: "life-anew",
        expected: "a hundred rounds from create to destroy, without growth of memory, threads or descriptors",
        advice: "destroy must free all that create made; a failed activate is followed by destroy too",
        needs: "life-activate",
        body: Body::Dynamic(anew),
        ..LIFE
    },
    Test {
        name: "life-surroundings",
        expected: "from create to destroy nothing changes that the whole process shares",
        advice: "leave signal handlers, masks, umask, working directory, locale, environment and limits alone",
        needs: "life-activate",
        body: Body::Dynamic(shared),
        ..LIFE
    },
    Test {
        name: "life-extension",
        expected: "an extension that nobody knows is answered with NULL",
        advice: "compare the id in get_extension, and return NULL for all others; or leave the member out",
        body: Body::Dynamic(extension),
        ..LIFE
    },
];

fn create(case: &Case) -> Result<Finding, Finding> {
    let class = case.class()?;
    if let Some(text) = load::config_schema(class) {
        schema::check(&text, &case.config)
            .map_err(|wrong| Finding::Bad(format!("the configuration does not fit its schema: {wrong}")))?;
    }
    let begun_ns = clock::boot_ns();
    case.create()?;
    let took_ms = (clock::boot_ns() - begun_ns) / 1_000_000;
    let text = format!("made in {took_ms} ms");
    Ok(match (took_ms > SLOW_MS, took_ms > TOO_SLOW_MS) {
        (false, _) => Finding::Good(text),
        (true, false) => Finding::Doubtful(text),
        (true, true) => Finding::Bad(text),
    })
}

fn refuses(case: &Case) -> Result<Finding, Finding> {
    let class = case.class()?;
    let large = format!("{{\"large\":\"{}\"}}", "x".repeat(1 << 20));
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let configs: [(&str, &[u8]); 9] = [
        ("an empty object", b"{}"),
        ("no text at all", b""),
        ("an unknown member", b"{\"verify.unknown\":[1,2,{\"a\":null}]}"),
        ("a list", b"[1,2,3]"),
        ("half an object", b"{\"a\":"),
        ("no UTF-8", b"{\"a\":\"\xff\xfe\x80\"}"),
        ("a megabyte", large.as_bytes()),
        ("ten thousand brackets", deep.as_bytes()),
        ("NUL bytes", b"{\"a\":\"\0\0\"}\0"),
    ];
    let (mut refused, mut silent) = (0, Vec::new());
    for (what, config) in configs {
        drive::note(&format!("create with {what}"));
        match Driven::create(class, Stage::leak(false), config, &case.state_dir) {
            Ok(driven) => driven.destroy(),
            Err(not) if not.wrote => {
                return Ok(Finding::Bad(format!("with {what} it failed and wrote *out all the same")));
            }
            Err(not) => {
                refused += 1;
                if not.text.is_none_or(|text| text.trim().is_empty()) {
                    silent.push(what);
                }
            }
        }
    }
    let count = configs.len();
    if !silent.is_empty() {
        return Ok(Finding::Bad(format!("it refused without a reason: {}", silent.join(", "))));
    }
    Ok(Finding::Good(format!("{count} strange ones: {refused} refused, each with a reason")))
}

fn unused(case: &Case) -> Result<Finding, Finding> {
    case.create()?.destroy();
    Ok(Finding::Good("destroy right after create works".into()))
}

fn activate(case: &Case) -> Result<Finding, Finding> {
    let begun_ns = clock::boot_ns();
    let driven = case.active()?;
    let opened_ms = (clock::boot_ns() - begun_ns) / 1_000_000;
    driven.deactivate();
    driven.destroy();
    Ok(Finding::Good(format!("open after {opened_ms} ms")))
}

/// What can grow.
struct Held {
    heap: usize,
    resident: usize,
    threads: usize,
    descriptors: usize,
}

impl Held {
    fn now(threads_expected: usize) -> Self {
        Self {
            threads: surroundings::settled_threads(threads_expected),
            heap: surroundings::heap_bytes(),
            resident: surroundings::resident_bytes(),
            descriptors: surroundings::descriptors().len(),
        }
    }
}

/// Looks for growth over many rounds. What has grown once may be the allocator's, which keeps an arena that a thread of a busy
/// machine had it make; a leak goes on growing.
fn growth(mut round: impl FnMut() -> Result<(), Finding>) -> Result<Finding, Finding> {
    match grows(&mut round)? {
        Finding::Bad(_) => grows(&mut round),
        finding => Ok(finding),
    }
}

/// Whether it grows over many rounds; the first tenth may fill caches.
fn grows(round: &mut impl FnMut() -> Result<(), Finding>) -> Result<Finding, Finding> {
    let begun_ns = clock::boot_ns();
    for _ in 0..ROUNDS / 10 {
        round()?;
    }
    let before = Held::now(1);
    let mut rounds = 0usize;
    while rounds < ROUNDS as usize && clock::boot_ns() - begun_ns < ROUNDS_MS * 1_000_000 {
        round()?;
        rounds += 1;
    }
    if rounds < 3 {
        return Ok(Finding::Skipped(format!("a round takes so long that there were only {rounds}")));
    }
    let after = Held::now(before.threads);
    let mut grown = Vec::new();
    let kept = after.heap.saturating_sub(before.heap);
    if kept > KEPT_BYTES.max(rounds * KEPT_BYTES_A_ROUND) {
        grown.push(format!("{kept} bytes of memory"));
    } else if after.resident.saturating_sub(before.resident) > 8 << 20 {
        grown.push(format!("{} MiB of memory", (after.resident - before.resident) >> 20));
    }
    for (what, before, after) in
        [("threads", before.threads, after.threads), ("descriptors", before.descriptors, after.descriptors)]
    {
        // One that is opened late and kept is no leak; one a round is.
        if after.saturating_sub(before) > rounds / 4 {
            grown.push(format!("{} {what}", after - before));
        }
    }
    Ok(if grown.is_empty() {
        Finding::Good(format!("{rounds} rounds"))
    } else {
        Finding::Bad(format!("after {rounds} rounds it holds {} more", grown.join(" and ")))
    })
}

fn again(case: &Case) -> Result<Finding, Finding> {
    let driven = case.create()?;
    growth(|| {
        driven.activate().map_err(|text| Finding::Bad(format!("activate failed when it was not the first: {text}")))?;
        driven.deactivate();
        Ok(())
    })
}

fn anew(case: &Case) -> Result<Finding, Finding> {
    let stage = Stage::leak(false);
    growth(|| {
        let driven = case.create_on(stage)?;
        driven.activate().map_err(|text| Finding::Bad(format!("activate failed when it was not the first: {text}")))?;
        driven.warm_up();
        driven.deactivate();
        driven.destroy();
        stage.forget();
        Ok(())
    })
}

fn shared(case: &Case) -> Result<Finding, Finding> {
    case.class()?;
    let before = Surroundings::now();
    let driven = case.active()?;
    let active = Surroundings::now().changes_since(&before);
    driven.deactivate();
    driven.destroy();
    let mut changes: Vec<String> = active.into_iter().map(|change| format!("{change} (while it was active)")).collect();
    let after = Surroundings::now().changes_since(&before);
    changes.extend(after.into_iter().map(|change| format!("{change} (after it was destroyed)")));
    Ok(if changes.is_empty() { Finding::Good("nothing changed".into()) } else { Finding::Bad(changes.join("; ")) })
}

fn extension(case: &Case) -> Result<Finding, Finding> {
    let driven = case.create()?;
    let offered = [c"org.example.nobody-knows-this/1", c"", c"cloudsnooze./"].into_iter().find(|id| driven.offers(id));
    driven.destroy();
    Ok(match offered {
        Some(id) => Finding::Bad(format!("it offers '{}'", id.to_string_lossy())),
        None => Finding::Good("an unknown extension is answered with NULL".into()),
    })
}
