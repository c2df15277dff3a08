//! The tests of robustness: legal calls in no particular order, a host that cannot help, a signal in the middle.
//!
//! Inputs: a case with a seed. Outputs: findings. Must never make a call that the life cycle forbids.

use super::case::Case;
use super::delivery::{deliver, pair, put_away};
use super::drive::{self, Driven};
use super::events::{self, Fill};
use super::scene::{CallAt, EventAt, scene};
use super::stage::{self, Stage};
use super::{Body, Finding, Group, Test};
use crate::sys::clock;
use cloudsnooze_abi as abi;
use nix::sys::signal::Signal;

/// Steps of the random walk, and the time it may take.
const STEPS: usize = 400;
const STEPS_MS: i64 = 4_000;
/// Time granted to each of its calls, milliseconds.
const STEP_GRANTED_MS: i64 = 200;
/// Most instances at the same time.
const INSTANCES: usize = 3;

const ROBUSTNESS: Test = Test::of(Group::Robustness, 20, "delivery-kinds");

/// The tests of this group.
pub const TESTS: &[Test] = &[
    Test {
        name: "robust-order",
        expected: "four hundred legal calls in a random order are survived",
        advice: "run it again with the same --seed; the phase names the last call before the crash",
        body: Body::Dynamic(order),
        ..ROBUSTNESS
    },
    Test {
        name: "robust-host-errors",
        expected: "a host whose services fail is survived",
        advice: "look at the status of every service; an accessor that fails leaves its result untouched, cancel_fd gives -1",
        body: Body::Dynamic(host_errors),
        ..ROBUSTNESS
    },
    Test {
        name: "robust-sigterm",
        expected: "SIGTERM reaches the host while an instance is active and after an event",
        advice: "install no signal handler and block no signal; start threads with every signal blocked",
        body: Body::Dynamic(sigterm),
        ..ROBUSTNESS
    },
];

/// Numbers that look random and follow from the seed (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap_or(0)
    }
}

/// An instance of the walk.
struct Walker {
    driven: Driven,
    is_active: bool,
    /// Its last event and call, still open for verify and a late on_cancel.
    last: Option<(EventAt, CallAt)>,
}

impl Walker {
    fn close(&mut self) {
        if let Some((event, call)) = self.last.take() {
            drive::close(event, call);
        }
    }
}

fn order(case: &Case) -> Result<Finding, Finding> {
    let mut chance = Chance(case.seed);
    let mut walkers: Vec<Walker> = Vec::new();
    let begun_ns = clock::boot_ns();
    let mut steps = 0;
    while steps < STEPS && clock::boot_ns() - begun_ns < STEPS_MS * 1_000_000 {
        steps += 1;
        if walkers.is_empty() || (walkers.len() < INSTANCES && chance.below(12) == 0) {
            walkers.push(Walker { driven: case.create_on(Stage::leak(false))?, is_active: false, last: None });
            continue;
        }
        let at = chance.below(walkers.len());
        let done = step(case, &mut walkers[at], &mut chance, steps)?;
        if done {
            walkers.swap_remove(at);
        }
    }
    for mut walker in walkers {
        walker.close();
        if walker.is_active {
            walker.driven.deactivate();
        }
        walker.driven.destroy();
    }
    Ok(Finding::Good(format!("{steps} calls, seed {}", case.seed)))
}

/// One legal call; true when the instance is gone afterwards.
fn step(case: &Case, walker: &mut Walker, chance: &mut Chance, number: usize) -> Result<bool, Finding> {
    let driven = walker.driven;
    match (walker.is_active, chance.below(12)) {
        (false, 0..=1) => {
            driven.destroy();
            return Ok(true);
        }
        (_, 2) => {
            driven.offers(c"org.example.nobody-knows-this/1");
        }
        (false, _) => {
            driven.activate().map_err(|text| Finding::Bad(format!("step {number}: activate failed: {text}")))?;
            walker.is_active = true;
        }
        (true, 0) => {
            walker.close();
            driven.deactivate();
            walker.is_active = false;
        }
        (true, 1) => driven.warm_up(),
        (true, 3) => {
            driven.reconfigure(case.config_text().as_bytes());
        }
        (true, 4) => {
            if let Some((event, call)) = walker.last {
                driven.verify(event, call);
            }
        }
        (true, 5) => {
            if let Some((_, call)) = walker.last {
                drive::note("on_cancel");
                driven.on_cancel(call, abi::SNOOZE_CANCEL_SHUTDOWN);
            }
        }
        (true, _) => {
            walker.close();
            let kinds = events::kinds(&driven);
            let kind = kinds.get(chance.below(kinds.len().max(1))).cloned().unwrap_or(events::first_kind(&driven));
            let fill = [Fill::Usual, Fill::Bare, Fill::Largest][chance.below(3)];
            let granted_ms = [STEP_GRANTED_MS, STEP_GRANTED_MS, 5, -100][chance.below(4)];
            let (event, call) = pair(&driven, kind.clone(), fill, granted_ms)?;
            if chance.below(6) == 0 {
                call.cancel(abi::SNOOZE_CANCEL_WITHDRAWN);
            }
            deliver(&driven, event, call, &format!("step {number}: on_event of {kind}"))?;
            walker.last = Some((event, call));
        }
    }
    Ok(false)
}

fn host_errors(case: &Case) -> Result<Finding, Finding> {
    // First a host that fails from the beginning, then one that begins to.
    stage::fail_services(true);
    let early = match case.create_on(Stage::leak(false)) {
        Ok(driven) => {
            let opened = driven.activate();
            if opened.is_ok() {
                all_kinds(&driven)?;
                driven.deactivate();
            }
            driven.destroy();
            if opened.is_ok() { "it works without them" } else { "activate gives up" }
        }
        Err(_) => "create gives up",
    };
    stage::fail_services(false);
    let driven = case.active()?;
    stage::fail_services(true);
    all_kinds(&driven)?;
    stage::fail_services(false);
    put_away(&driven);
    scene().take_faults();
    Ok(Finding::Good(format!("from the beginning: {early}; later: it goes on")))
}

fn all_kinds(driven: &Driven) -> Result<(), Finding> {
    for kind in events::kinds(driven) {
        let (event, call) = pair(driven, kind.clone(), Fill::Usual, events::GRANTED_MS)?;
        deliver(driven, event, call, &format!("on_event of {kind}, with services that fail"))?;
        drive::close(event, call);
    }
    Ok(())
}

fn sigterm(case: &Case) -> Result<Finding, Finding> {
    case.class()?;
    let heard = crate::sys::surroundings::Listener::begin(Signal::SIGTERM)
        .map_err(|error| Finding::Skipped(format!("no signal can be listened for: {error}")))?;
    let driven = case.active()?;
    let mut missed = Vec::new();
    let mut ask = |when: &str| {
        drive::note(&format!("SIGTERM {when}"));
        if !heard.hears_one() {
            missed.push(when.to_owned());
        }
    };
    ask("while it was active");
    for kind in events::kinds(&driven) {
        let (event, call) = pair(&driven, kind.clone(), Fill::Usual, events::GRANTED_MS)?;
        deliver(&driven, event, call, &format!("on_event of {kind}"))?;
        drive::close(event, call);
    }
    ask("after events");
    put_away(&driven);
    ask("after it was destroyed");
    Ok(if missed.is_empty() {
        Finding::Good("SIGTERM was heard each time".into())
    } else {
        Finding::Bad(format!("SIGTERM was not heard {}", missed.join(", ")))
    })
}
