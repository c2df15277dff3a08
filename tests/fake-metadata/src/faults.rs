//! What can go wrong with a metadata service, and when.
//!
//! Responsibilities: say what a fault does, decide for each request which faults strike it. Inputs: [`Fault`]s, the
//! method and path of a request. Outputs: a plan of what to do to the answer. Everything here is pure, seeded chance
//! included; it must never touch a socket (`server` carries plans out).

use std::fmt;
use std::time::Duration;

use jiff::SignedDuration;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// The items that tell when the machine ends: those a drifting time moves in.
const TIMES: [&str; 5] = [
    "spot/instance-action",
    "spot/termination-time",
    "instance/spot/termination-time",
    "scheduledevents",
    "instance/upcoming-maintenance",
];

/// The parts of a URL path that a fault's pattern may name: all of it, what follows its first part, and what follows
/// `meta-data/` or GCP's `v1/`.
fn names_of(path: &str) -> Vec<&str> {
    let mut names = vec![path];
    if let Some((_, after_version)) = path.trim_start_matches('/').split_once('/') {
        names.push(after_version);
        names.extend(after_version.strip_prefix("meta-data/").or_else(|| after_version.strip_prefix("v1/")));
    }
    names
}

/// The garbage of [`Effect::Garbage`] when none is given: neither UTF-8 nor JSON, with a NUL.
pub const GARBAGE: &[u8] = b"\x00\xff\xfe<<neither text nor JSON>>\x80";

/// What a fault does to the requests it strikes.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The answer comes this much later.
    Delay(Duration),
    /// This status and its error page come instead, such as 500, 503, 429 or 403.
    Status(u16),
    /// Each token is refused with 401 and forgotten as it is used. Requests without a token pass.
    TokenStorm,
    /// 200 with these bytes as the body.
    Garbage(Vec<u8>),
    /// `Content-Length` promises the whole body, half of it comes, the connection closes.
    Truncated,
    /// The connection is reset (SO_LINGER 0) once the request has been read.
    Reset,
    /// The head comes at once, then the body one byte at a time, this far apart.
    Drip(Duration),
    /// The body is followed by spaces, this many bytes in all, with no `Content-Length` to warn of it.
    Oversized(u64),
    /// 302 to this location.
    Redirect(String),
    /// The right body under this `Content-Type`.
    ContentType(String),
    /// The time in a notice is this much later at each poll than at the one before, as with Amazon's own mock.
    Drift(SignedDuration),
    /// `PUT /latest/api/token` is read and never answered, as when the reply's hop limit is too small for a container;
    /// everything else works.
    HopLimit,
    /// The request is read and never answered.
    Hang,
    /// The connection closes after each reply.
    Close,
}

impl Effect {
    /// The name scripts and control requests use.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Delay(_) => "delay",
            Self::Status(_) => "status",
            Self::TokenStorm => "token_storm",
            Self::Garbage(_) => "garbage",
            Self::Truncated => "truncated",
            Self::Reset => "reset",
            Self::Drip(_) => "drip",
            Self::Oversized(_) => "oversized",
            Self::Redirect(_) => "redirect",
            Self::ContentType(_) => "content_type",
            Self::Drift(_) => "drift",
            Self::HopLimit => "hop_limit",
            Self::Hang => "hang",
            Self::Close => "close",
        }
    }

    /// Whether this effect can mean anything for that request at all.
    fn concerns(&self, method: &str, names: &[&str]) -> bool {
        let reads = matches!(method, "GET" | "HEAD");
        match self {
            Self::TokenStorm => reads && !names.contains(&"api/token"),
            Self::HopLimit => method == "PUT" && names.contains(&"api/token"),
            Self::Drift(_) => reads && names.iter().any(|name| TIMES.contains(name)),
            _ => true,
        }
    }
}

/// The number of a fault, to clear it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultId(pub(crate) u64);

impl fmt::Display for FaultId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// An effect with the requests it strikes: all of them until it is cleared, unless narrowed.
#[derive(Clone, Debug)]
pub struct Fault {
    effect: Effect,
    paths: Vec<String>,
    remaining: Option<u32>,
    /// Strikes each so-manyth, and how many it has let pass since the last.
    every: Option<(u32, u32)>,
    chance: Option<(f64, Xoshiro256PlusPlus)>,
    struck: u32,
}

impl Fault {
    /// Strikes every request it concerns, until cleared.
    pub fn new(effect: Effect) -> Self {
        Self { effect, paths: Vec::new(), remaining: None, every: None, chance: None, struck: 0 }
    }

    /// Only requests whose path matches one of these patterns. `*` stands for any text; a pattern is tried against the
    /// whole path, against what follows its first part, and against what follows `meta-data/` or GCP's `v1/`, so that
    /// `spot/*`, `api/token`, `scheduledevents`, `instance/preempted` and `/latest/*` all work.
    #[must_use]
    pub fn paths<Pattern: Into<String>>(mut self, patterns: impl IntoIterator<Item = Pattern>) -> Self {
        self.paths = patterns.into_iter().map(Into::into).collect();
        self
    }

    /// Only the next so many of the requests it would strike.
    #[must_use]
    pub fn count(mut self, count: u32) -> Self {
        self.remaining = Some(count);
        self
    }

    /// Only each `nth` of the requests it would strike: 3 lets two pass and strikes the third. 0 is taken as 1.
    #[must_use]
    pub fn every(mut self, nth: u32) -> Self {
        self.every = Some((nth.max(1), 0));
        self
    }

    /// Only this share (0 to 1) of the requests it would strike, chosen by a generator started from `seed`, so that two
    /// runs with the same requests agree. A share outside 0 to 1 is taken as the nearer end.
    #[must_use]
    pub fn probability(mut self, share: f64, seed: u64) -> Self {
        let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
        self.chance = Some((share, Xoshiro256PlusPlus::seed_from_u64(seed)));
        self
    }

    /// What it does.
    pub fn effect(&self) -> &Effect {
        &self.effect
    }

    /// Whether it strikes this request; counts it when so.
    fn strikes(&mut self, method: &str, names: &[&str]) -> bool {
        let named = self.paths.is_empty()
            || self.paths.iter().any(|pattern| names.iter().any(|name| matches_pattern(pattern, name)));
        if !named || self.remaining == Some(0) || !self.effect.concerns(method, names) {
            return false;
        }
        if let Some((nth, passed)) = &mut self.every {
            *passed += 1;
            if *passed < *nth {
                return false;
            }
            *passed = 0;
        }
        if let Some((share, generator)) = &mut self.chance
            && !generator.random_bool(*share)
        {
            return false;
        }
        if let Some(remaining) = &mut self.remaining {
            *remaining -= 1;
        }
        self.struck += 1;
        true
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any text, slashes included.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(head) else { return false };
    rest.char_indices().map(|(index, _)| index).chain([rest.len()]).any(|index| matches_pattern(tail, &rest[index..]))
}

/// What to do to one answer: all the faults that struck it, together. Of two that exclude each other, the later set wins.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) delay: Duration,
    pub(crate) hang: bool,
    pub(crate) reset: bool,
    pub(crate) status: Option<u16>,
    pub(crate) redirect: Option<String>,
    pub(crate) token_storm: bool,
    pub(crate) drift: SignedDuration,
    pub(crate) garbage: Option<Vec<u8>>,
    pub(crate) content_type: Option<String>,
    pub(crate) truncated: bool,
    pub(crate) drip: Option<Duration>,
    pub(crate) oversized: Option<u64>,
    pub(crate) close: bool,
    /// The names of the faults that struck, for the log.
    pub(crate) faults: Vec<&'static str>,
}

impl Plan {
    fn add(&mut self, effect: &Effect, struck_before: u32) {
        self.faults.push(effect.name());
        match effect {
            Effect::Delay(delay) => self.delay += *delay,
            Effect::Status(status) => self.status = Some(*status),
            Effect::TokenStorm => self.token_storm = true,
            Effect::Garbage(bytes) => self.garbage = Some(bytes.clone()),
            Effect::Truncated => self.truncated = true,
            Effect::Reset => self.reset = true,
            Effect::Drip(interval) => self.drip = Some(*interval),
            Effect::Oversized(bytes) => self.oversized = Some(*bytes),
            Effect::Redirect(location) => self.redirect = Some(location.clone()),
            Effect::ContentType(value) => self.content_type = Some(value.clone()),
            // The first poll sees the true time, each later one a step more.
            Effect::Drift(step) => {
                let steps = i32::try_from(struck_before).unwrap_or(i32::MAX);
                self.drift = self.drift.saturating_add(step.saturating_mul(steps));
            }
            Effect::HopLimit | Effect::Hang => self.hang = true,
            Effect::Close => self.close = true,
        }
    }
}

/// The faults in force.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    made: u64,
    active: Vec<(FaultId, Fault)>,
}

impl Faults {
    pub(crate) fn set(&mut self, fault: Fault) -> FaultId {
        self.made += 1;
        let id = FaultId(self.made);
        self.active.push((id, fault));
        id
    }

    /// Ends one fault; false when it had ended already.
    pub(crate) fn clear(&mut self, id: FaultId) -> bool {
        let before = self.active.len();
        self.active.retain(|(have, _)| *have != id);
        self.active.len() < before
    }

    pub(crate) fn clear_all(&mut self) {
        self.active.clear();
    }

    /// What strikes this request.
    pub(crate) fn plan(&mut self, method: &str, path: &str) -> Plan {
        let names = names_of(path);
        let mut plan = Plan::default();
        for (_, fault) in &mut self.active {
            let struck_before = fault.struck;
            if fault.strikes(method, &names) {
                plan.add(&fault.effect, struck_before);
            }
        }
        self.active.retain(|(_, fault)| fault.remaining != Some(0));
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTICE: &str = "/latest/meta-data/spot/instance-action";

    #[test]
    fn patterns_match_any_of_the_names_of_a_path() {
        for pattern in ["spot/*", "*", "spot/instance-action", "meta-data/spot/*", "/latest/*", "*action", "s*t/*-*"] {
            let mut fault = Fault::new(Effect::Reset).paths([pattern]);
            assert!(fault.strikes("GET", &names_of(NOTICE)), "{pattern} missed");
        }
        for pattern in ["spot", "spot/", "/spot/*", "api/token", "instance-action", ""] {
            let mut fault = Fault::new(Effect::Reset).paths([pattern]);
            assert!(!fault.strikes("GET", &names_of(NOTICE)), "{pattern} struck");
        }
    }

    #[test]
    fn a_counted_fault_strikes_exactly_that_often_and_only_what_matches() {
        let mut faults = Faults::default();
        faults.set(Fault::new(Effect::Status(500)).paths(["spot/*"]).count(2));
        assert_eq!(faults.plan("GET", "/latest/meta-data/instance-id").status, None);
        assert_eq!(faults.plan("GET", NOTICE).status, Some(500));
        assert_eq!(faults.plan("GET", NOTICE).status, Some(500));
        assert_eq!(faults.plan("GET", NOTICE), Plan::default());
        assert!(faults.active.is_empty());
    }

    #[test]
    fn every_third_request_is_struck_and_others_do_not_count() {
        let mut faults = Faults::default();
        faults.set(Fault::new(Effect::Status(500)).paths(["instance/preempted"]).every(3));
        let mut struck = Vec::new();
        for _ in 0..6 {
            assert_eq!(faults.plan("GET", NOTICE).status, None);
            struck.push(faults.plan("GET", "/computeMetadata/v1/instance/preempted").status.is_some());
        }
        assert_eq!(struck, [false, false, true, false, false, true]);
    }

    #[test]
    fn chance_repeats_with_its_seed_and_differs_with_another() {
        let run = |seed: u64| {
            let mut faults = Faults::default();
            faults.set(Fault::new(Effect::Reset).probability(0.5, seed));
            (0..64).map(|_| faults.plan("GET", NOTICE).reset).collect::<Vec<bool>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let struck = run(7).iter().filter(|reset| **reset).count();
        assert!((16..=48).contains(&struck), "{struck} of 64");
    }

    #[test]
    fn shares_of_none_and_all_are_exact() {
        for (share, expected) in [(0.0, 0), (-3.0, 0), (f64::NAN, 0), (1.0, 32), (7.0, 32)] {
            let mut faults = Faults::default();
            faults.set(Fault::new(Effect::Reset).probability(share, 1));
            assert_eq!((0..32).filter(|_| faults.plan("GET", NOTICE).reset).count(), expected, "{share}");
        }
    }

    #[test]
    fn drift_grows_by_a_step_a_poll_and_ignores_other_paths() {
        let mut faults = Faults::default();
        faults.set(Fault::new(Effect::Drift(SignedDuration::from_secs(3))));
        assert_eq!(faults.plan("GET", "/latest/meta-data/instance-id"), Plan::default());
        for expected in [0, 3, 6] {
            assert_eq!(faults.plan("GET", NOTICE).drift, SignedDuration::from_secs(expected));
        }
    }

    #[test]
    fn the_hop_limit_holds_back_only_the_token_reply() {
        let mut faults = Faults::default();
        faults.set(Fault::new(Effect::HopLimit));
        assert!(faults.plan("PUT", "/latest/api/token").hang);
        assert!(!faults.plan("GET", NOTICE).hang);
        assert!(!faults.plan("GET", "/latest/api/token").hang);
    }

    #[test]
    fn faults_combine_and_are_cleared_apart() {
        let mut faults = Faults::default();
        let slow = faults.set(Fault::new(Effect::Delay(Duration::from_millis(5))));
        faults.set(Fault::new(Effect::Status(503)));
        let plan = faults.plan("GET", NOTICE);
        assert_eq!((plan.delay, plan.status), (Duration::from_millis(5), Some(503)));
        assert_eq!(plan.faults, ["delay", "status"]);
        assert!(faults.clear(slow));
        assert!(!faults.clear(slow));
        assert_eq!(faults.plan("GET", NOTICE).faults, ["status"]);
        faults.clear_all();
        assert_eq!(faults.plan("GET", NOTICE), Plan::default());
    }
}
