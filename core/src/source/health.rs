//! Health: whether a source can see.
//!
//! Responsibilities: what came of each path's polls, and the honest sum of it. Inputs: successes and
//! errors from the source's thread. Outputs: a `Report` for status, in JSON or in one sentence. Must
//! never make the source's thread wait while all is well: a success touches atomics only, and a lock is
//! taken only to keep the text of an error.

use crate::event::Machine;
use crate::normalise::deadline::SECOND_NS;
use crate::sys::beat::Beat;
use serde::Serialize;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Errors in a row after which a path counts as blind. One lost answer is an accident, two are a state.
pub const BLIND_AFTER_ERRORS: u32 = 2;

/// How long nothing may be polled, beyond three intervals, before the source counts as hanging, seconds:
/// longer than time-outs together.
const SILENCE_SECONDS: f64 = 60.0;

/// Whether something can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing was answered yet.
    Starting,
    /// The last polls were answered, if only with "nothing there".
    Seeing,
    /// Some paths are seen, others not.
    Partial,
    /// Nothing is seen: a notice would be missed.
    Blind,
}

impl State {
    /// The name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Seeing => "seeing",
            Self::Partial => "partial",
            Self::Blind => "blind",
        }
    }
}

/// The health of one source, shared by its thread and those who ask.
#[derive(Debug)]
pub struct Health {
    name: &'static str,
    paths: Box<[PathHealth]>,
    polls: AtomicU64,
    errors: AtomicU64,
    remark: OnceLock<String>,
    /// By which detour the service is asked.
    detour: Mutex<Option<&'static str>>,
    machine: OnceLock<Arc<Machine>>,
    is_on_demand: AtomicBool,
    /// Seconds, as the bits of a float.
    interval_seconds: AtomicU64,
    /// CLOCK_BOOTTIME of the last poll, whatever came of it; 0 is "never".
    polled_boot_ns: AtomicI64,
    beat: Beat,
}

#[derive(Debug)]
struct PathHealth {
    name: &'static str,
    /// CLOCK_BOOTTIME of the last answer; 0 is "never".
    answered_boot_ns: AtomicI64,
    /// CLOCK_BOOTTIME of the first of the present errors.
    failing_since_boot_ns: AtomicI64,
    consecutive_errors: AtomicU32,
    last_error: Mutex<String>,
}

/// What a path's poll changed, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing worth a line.
    None,
    /// The path has just become blind.
    BecameBlind,
    /// The path sees again.
    SeesAgain,
}

impl Health {
    /// The health of the source `name`, which polls `paths`, the most important first.
    pub fn new(name: &'static str, paths: &[&'static str]) -> Self {
        let path = |name: &&'static str| PathHealth {
            name,
            answered_boot_ns: AtomicI64::new(0),
            failing_since_boot_ns: AtomicI64::new(0),
            consecutive_errors: AtomicU32::new(0),
            last_error: Mutex::new(String::new()),
        };
        Self {
            name,
            paths: paths.iter().map(path).collect(),
            polls: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            remark: OnceLock::new(),
            detour: Mutex::new(None),
            machine: OnceLock::new(),
            is_on_demand: AtomicBool::new(false),
            interval_seconds: AtomicU64::new(0),
            polled_boot_ns: AtomicI64::new(0),
            beat: Beat::default(),
        }
    }

    /// The path with this index got an answer at `now_boot_ns`.
    pub fn success(&self, path: usize, now_boot_ns: i64) -> Change {
        self.polls.fetch_add(1, Relaxed);
        self.polled_boot_ns.store(now_boot_ns, Relaxed);
        let Some(path) = self.paths.get(path) else { return Change::None };
        path.answered_boot_ns.store(now_boot_ns, Relaxed);
        let errors = path.consecutive_errors.swap(0, Relaxed);
        if errors >= BLIND_AFTER_ERRORS { Change::SeesAgain } else { Change::None }
    }

    /// The poll of the path with this index failed at `now_boot_ns`.
    pub fn error(&self, path: usize, now_boot_ns: i64, error: String) -> Change {
        self.polls.fetch_add(1, Relaxed);
        self.errors.fetch_add(1, Relaxed);
        self.polled_boot_ns.store(now_boot_ns, Relaxed);
        let Some(path) = self.paths.get(path) else { return Change::None };
        let before = path.consecutive_errors.load(Relaxed);
        if before == 0 {
            path.failing_since_boot_ns.store(now_boot_ns, Relaxed);
        }
        path.consecutive_errors.store(before.saturating_add(1), Relaxed);
        // Who reads the status holds this for a moment: then the text of the last error stays.
        if let Ok(mut last_error) = path.last_error.try_lock() {
            *last_error = error;
        }
        if before.saturating_add(1) == BLIND_AFTER_ERRORS { Change::BecameBlind } else { Change::None }
    }

    /// Says which machine the source found itself on; the first word counts.
    pub fn found_machine(&self, machine: &Arc<Machine>) {
        let _ = self.machine.set(Arc::clone(machine));
    }

    /// The machine, once it is known.
    pub fn machine(&self) -> Option<&Arc<Machine>> {
        self.machine.get()
    }

    /// Says that the machine was bought at the full price: nobody takes it back for its capacity.
    pub fn found_on_demand(&self) {
        self.is_on_demand.store(true, Relaxed);
    }

    /// Whether the machine is known to have been bought at the full price.
    pub fn is_on_demand(&self) -> bool {
        self.is_on_demand.load(Relaxed)
    }

    /// Says how often the most important path is polled now, seconds.
    pub fn set_interval_seconds(&self, seconds: f64) {
        self.interval_seconds.store(seconds.to_bits(), Relaxed);
    }

    /// How often the most important path is polled now, seconds.
    pub fn interval_seconds(&self) -> f64 {
        f64::from_bits(self.interval_seconds.load(Relaxed))
    }

    /// The source's thread lives, and shows it again by `boot_ns` (CLOCK_BOOTTIME): it sleeps until then, or no request that
    /// it makes can take longer.
    pub fn lives_until(&self, boot_ns: i64) {
        self.beat.give_and_promise(boot_ns);
    }

    /// A question is with the service, which holds its answer back: nothing was polled meanwhile, and nothing hangs.
    pub fn still_asks(&self, now_boot_ns: i64) {
        if self.polled_boot_ns.load(Relaxed) != 0 {
            self.polled_boot_ns.store(now_boot_ns, Relaxed);
        }
    }

    /// For how long the source's thread has owed a sign of life, whatever it sees, nanoseconds; 0: it owes none.
    pub fn owed_ns(&self, now_boot_ns: i64) -> i64 {
        self.beat.owed_ns(now_boot_ns)
    }

    /// A lasting fact that whoever reads the status should know. Only the first is kept.
    pub fn remark(&self, text: String) {
        let _ = self.remark.set(text);
    }

    /// By which detour the service is asked from now on, in words; None: directly.
    pub fn set_detour(&self, detour: Option<&'static str>) {
        *self.detour.lock().unwrap_or_else(PoisonError::into_inner) = detour;
    }

    /// What whoever reads the status should know.
    fn remarks(&self) -> Option<String> {
        let detour = *self.detour.lock().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<&str> = detour.into_iter().chain(self.remark.get().map(String::as_str)).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// The health as of `now_boot_ns` (CLOCK_BOOTTIME). For any thread.
    pub fn report(&self, now_boot_ns: i64) -> Report {
        let silence = self.silence(now_boot_ns);
        let paths: Vec<PathReport> = self.paths.iter().map(|p| p.report(now_boot_ns, silence.as_deref())).collect();
        let all = |state| paths.iter().all(|p| p.state == state);
        let any = |state| paths.iter().any(|p| p.state == state);
        let state = match () {
            () if all(State::Blind) => State::Blind,
            () if any(State::Blind) && any(State::Seeing) => State::Partial,
            () if any(State::Blind) => State::Blind,
            () if any(State::Seeing) => State::Seeing,
            () => State::Starting,
        };
        Report {
            name: self.name,
            state,
            polls: self.polls.load(Relaxed),
            errors: self.errors.load(Relaxed),
            remark: self.remarks(),
            paths,
        }
    }
}

impl Health {
    /// That nothing was polled for far longer than it should be: the source's thread hangs.
    fn silence(&self, now_boot_ns: i64) -> Option<String> {
        let polled = Some(self.polled_boot_ns.load(Relaxed)).filter(|ns| *ns != 0)?;
        let seconds = seconds_between(polled, now_boot_ns);
        #[allow(clippy::cast_precision_loss, reason = "seconds")]
        let is_silent = seconds as f64 > 3.0 * self.interval_seconds() + SILENCE_SECONDS;
        is_silent.then(|| format!("its thread has not polled for {seconds} s"))
    }
}

impl PathHealth {
    fn last_error(&self) -> MutexGuard<'_, String> {
        // A panic of another holder leaves a text that is still a text.
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, now_boot_ns: i64, silence: Option<&str>) -> PathReport {
        let answered = Some(self.answered_boot_ns.load(Relaxed)).filter(|ns| *ns != 0);
        let consecutive_errors = self.consecutive_errors.load(Relaxed);
        let state = match answered {
            _ if consecutive_errors >= BLIND_AFTER_ERRORS || silence.is_some() => State::Blind,
            Some(_) => State::Seeing,
            None => State::Starting,
        };
        let is_failing = consecutive_errors > 0 || silence.is_some();
        let failing_since = is_failing.then(|| answered.unwrap_or_else(|| self.failing_since_boot_ns.load(Relaxed)));
        PathReport {
            path: self.name,
            state,
            answered_seconds_ago: answered.map(|ns| seconds_between(ns, now_boot_ns)),
            unseen_for_seconds: failing_since.map(|ns| seconds_between(ns, now_boot_ns)),
            consecutive_errors,
            last_error: silence
                .map(str::to_owned)
                .or_else(|| Some(self.last_error().clone()).filter(|text| is_failing && !text.is_empty())),
        }
    }
}

fn seconds_between(from_boot_ns: i64, to_boot_ns: i64) -> i64 {
    to_boot_ns.saturating_sub(from_boot_ns).max(0) / SECOND_NS
}

/// The health of a source at one moment. Its `Display` is one sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The source.
    pub name: &'static str,
    /// The sum of its paths.
    pub state: State,
    /// Polls made since the start.
    pub polls: u64,
    /// How many of them failed.
    pub errors: u64,
    /// A lasting fact, such as that the machine is no spot instance, and the detour by which the service is asked.
    pub remark: Option<String>,
    /// Each path, the most important first.
    pub paths: Vec<PathReport>,
}

/// The health of one path at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PathReport {
    /// The path.
    pub path: &'static str,
    /// Whether it can be seen; never `Partial`.
    pub state: State,
    /// Age of the last answer; None if there was none.
    pub answered_seconds_ago: Option<i64>,
    /// Since when a notice would have been missed: the last answer, or the first error if there was none.
    pub unseen_for_seconds: Option<i64>,
    /// Errors since the last answer.
    pub consecutive_errors: u32,
    /// The last of them.
    pub last_error: Option<String>,
}

impl Report {
    /// What cannot be seen, each reason once with the paths it holds for. While starting, the first error
    /// counts already: nothing else is known.
    fn troubles(&self) -> Vec<(&str, Vec<&PathReport>)> {
        let mut troubles: Vec<(&str, Vec<&PathReport>)> = Vec::new();
        let is_starting = self.state == State::Starting;
        for path in &self.paths {
            let error = path.last_error.as_deref();
            if path.state != State::Blind && !(is_starting && error.is_some()) {
                continue;
            }
            let error = error.unwrap_or("no answer");
            match troubles.iter_mut().find(|(known, _)| *known == error) {
                Some((_, paths)) => paths.push(path),
                None => troubles.push((error, vec![path])),
            }
        }
        troubles
    }

    /// [`Self::troubles`] in words.
    fn unseen(&self) -> impl Iterator<Item = String> {
        self.troubles().into_iter().map(|(error, paths)| {
            let seconds = paths.iter().filter_map(|p| p.unseen_for_seconds).max().unwrap_or_default();
            let names: Vec<&str> = paths.iter().map(|p| p.path).collect();
            format!("{} not seen for {seconds} s: {error}", names.join(", "))
        })
    }

    /// What is seen and what is not, to stand beside the name, the state and how often it was polled: nothing of these is said again.
    pub fn sees(&self) -> String {
        let seen: Vec<&str> = self.paths.iter().filter(|p| p.state == State::Seeing).map(|p| p.path).collect();
        let seen = match seen.as_slice() {
            [] => None,
            [only] => Some((*only).to_owned()),
            all if all.len() == self.paths.len() => Some(format!("all {} paths answer", all.len())),
            some => Some(format!("{} paths answer", some.len())),
        };
        let parts: Vec<String> = seen.into_iter().chain(self.unseen()).chain(self.remark.clone()).collect();
        if parts.is_empty() { "no answer yet".into() } else { parts.join("; ") }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.state.as_str())?;
        if let Some(remark) = &self.remark {
            write!(f, " ({remark})")?;
        }
        self.unseen().try_for_each(|trouble| write!(f, "; {trouble}"))?;
        write!(f, "; {} polls, {} failed", self.polls, self.errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health() -> Health {
        Health::new("aws", &["spot", "maintenance"])
    }

    #[test]
    fn a_source_that_was_never_answered_is_not_seeing() {
        let health = health();
        assert_eq!(health.report(0).state, State::Starting);
        health.error(0, SECOND_NS, "no route".into());
        assert_eq!(health.report(0).state, State::Starting);
        assert_eq!(health.error(0, 2 * SECOND_NS, "no route".into()), Change::BecameBlind);
        let report = health.report(9 * SECOND_NS);
        assert_eq!(report.state, State::Blind);
        assert_eq!(report.to_string(), "aws: blind; spot not seen for 8 s: no route; 2 polls, 2 failed");
        for _ in 0..2 {
            health.error(1, SECOND_NS, "no route".into());
        }
        let told = health.report(9 * SECOND_NS).to_string();
        assert_eq!(told, "aws: blind; spot, maintenance not seen for 8 s: no route; 4 polls, 4 failed");
    }

    #[test]
    fn what_stands_beside_the_name_and_the_counts_does_not_say_them_again() {
        let health = health();
        let sees = || health.report(9 * SECOND_NS).sees();
        assert_eq!(sees(), "no answer yet");
        health.success(0, SECOND_NS);
        assert_eq!(sees(), "spot");
        health.success(1, SECOND_NS);
        assert_eq!(sees(), "all 2 paths answer");
        health.remark("no spot instance".into());
        (0..2).for_each(|_| _ = health.error(1, SECOND_NS, "no route".into()));
        assert_eq!(sees(), "spot; maintenance not seen for 8 s: no route; no spot instance");
    }

    #[test]
    fn one_path_that_answers_does_not_hide_another_that_does_not() {
        let health = health();
        health.success(1, SECOND_NS);
        assert_eq!(health.report(0).state, State::Seeing);
        health.error(0, SECOND_NS, "HTTP status 500".into());
        health.error(0, SECOND_NS, "HTTP status 500".into());
        let report = health.report(SECOND_NS);
        assert_eq!((report.state, report.paths[1].state), (State::Partial, State::Seeing));
        assert!(report.to_string().contains("spot not seen for 0 s: HTTP status 500"), "{report}");
    }

    #[test]
    fn a_source_whose_thread_hangs_sees_nothing() {
        let health = health();
        health.set_interval_seconds(5.0);
        health.success(0, SECOND_NS);
        health.success(1, SECOND_NS);
        assert_eq!(health.report(76 * SECOND_NS).state, State::Seeing);
        let report = health.report(78 * SECOND_NS);
        assert_eq!(report.state, State::Blind);
        assert!(report.to_string().contains("not seen for 77 s: its thread has not polled for 77 s"), "{report}");
    }

    #[test]
    fn a_question_that_is_held_for_long_is_no_silence() {
        let health = health();
        health.set_interval_seconds(1.0);
        health.still_asks(SECOND_NS);
        assert_eq!(health.report(900 * SECOND_NS).state, State::Starting, "there was no answer yet");
        health.success(0, SECOND_NS);
        (2..900).for_each(|second| health.still_asks(second * SECOND_NS));
        assert_eq!(health.report(900 * SECOND_NS).state, State::Seeing);
        assert_eq!(health.report(970 * SECOND_NS).state, State::Blind);
    }

    #[test]
    fn a_blind_source_that_still_asks_lives_and_a_seeing_one_that_does_not_come_back_does_not() {
        let health = health();
        assert_eq!(health.owed_ns(i64::MAX), 0, "it has not begun");
        health.lives_until(20 * SECOND_NS);
        for n in 0..9 {
            health.error(n % 2, 10 * SECOND_NS, "no route".into());
        }
        assert_eq!((health.report(20 * SECOND_NS).state, health.owed_ns(20 * SECOND_NS)), (State::Blind, 0));
        health.success(0, 20 * SECOND_NS);
        health.success(1, 20 * SECOND_NS);
        assert_eq!(
            (health.report(25 * SECOND_NS).state, health.owed_ns(25 * SECOND_NS)),
            (State::Seeing, 5 * SECOND_NS)
        );
    }

    #[test]
    fn blindness_counts_from_the_last_answer_and_ends_with_the_next() {
        let health = health();
        health.success(0, 10 * SECOND_NS);
        health.error(0, 15 * SECOND_NS, "late".into());
        assert_eq!(health.report(15 * SECOND_NS).paths[0].state, State::Seeing, "one lost answer is an accident");
        health.error(0, 20 * SECOND_NS, "late".into());
        assert_eq!(health.report(30 * SECOND_NS).paths[0].unseen_for_seconds, Some(20));
        assert_eq!(health.success(0, 31 * SECOND_NS), Change::SeesAgain);
        let path = health.report(32 * SECOND_NS).paths.remove(0);
        assert_eq!((path.state, path.unseen_for_seconds, path.last_error), (State::Seeing, None, None));
    }
}
