//! Whether the daemon lives: what the service manager's watchdog is fed by.
//!
//! Responsibilities: from signs of life to "feed it" or "let it starve", and to what people are told. Inputs:
//! how long each part has owed a sign, whether an event is in progress. Outputs: a verdict. Pure: must never
//! read a clock, ask a part or notify anybody. A blind source that still asks is alive: a restart would not
//! make it see.

use crate::dispatch::pool::Sign as PoolSign;
use std::collections::BTreeSet;

const SECOND_NS: i64 = 1_000_000_000;

/// How long what events go through may owe a sign: a thread of normal priority on a machine that swaps may take
/// seconds.
const WAY_MAX_NS: i64 = 15 * SECOND_NS;
/// The same for threads that write and tidy up: a disk, or a plugin that comes to rest, may take longer.
const BOOKS_MAX_NS: i64 = 60 * SECOND_NS;
/// The same for both while an event is in progress: its handlers, which the watchdog would kill, are worth more
/// than what is stuck beside them, and the timer, which is never spared, ends them.
const SPARED_MAX_NS: i64 = 300 * SECOND_NS;

/// Which limit holds for a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Runs the handlers: without it no event ends.
    Runs,
    /// Brings events, or orders.
    Brings,
    /// Writes or tidies up.
    Books,
}

/// One part of the daemon, and for how long it has owed a sign of life.
#[derive(Clone, Debug)]
pub(super) struct Sign {
    pub(super) what: String,
    pub(super) kind: Kind,
    /// Nanoseconds; 0: it owes none.
    pub(super) owed_ns: i64,
}

impl Sign {
    pub(super) fn new(what: impl Into<String>, kind: Kind, owed_ns: i64) -> Self {
        Self { what: what.into(), kind, owed_ns }
    }

    /// A part of the pool.
    pub(super) fn of_pool(sign: &PoolSign) -> Self {
        match *sign {
            PoolSign::Clerk(ns) => Self::new("the thread snooze-clerk takes no orders", Kind::Brings, ns),
            PoolSign::Timer(ns) => Self::new("the thread snooze-timer keeps no deadlines", Kind::Runs, ns),
            PoolSign::Queue(ns) => Self::new("an event waits in the queue although there is room", Kind::Runs, ns),
            PoolSign::Worker(number, ns) => {
                Self::new(format!("the idle thread snooze-work-{number} does not wake"), Kind::Runs, ns)
            }
        }
    }

    fn limit_ns(&self, is_busy: bool) -> i64 {
        match self.kind {
            Kind::Runs => WAY_MAX_NS,
            Kind::Brings | Kind::Books if is_busy => SPARED_MAX_NS,
            Kind::Brings => WAY_MAX_NS,
            Kind::Books => BOOKS_MAX_NS,
        }
    }
}

/// What was found at the last look.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    late: BTreeSet<String>,
    stuck: BTreeSet<String>,
}

/// What one look found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// What is stuck, for status: the watchdog is fed when it is empty.
    pub(super) stuck: Vec<String>,
    /// What was not stuck at the look before.
    pub(super) newly: Vec<String>,
    /// What was, and is not any more.
    pub(super) again: Vec<String>,
}

impl Pulse {
    /// Judges the signs of one look; `is_busy`: an event is in progress. Stuck is what is late at two looks in a row: after
    /// the whole process has stood still (a suspended machine), everything is late at the first.
    pub(super) fn look(&mut self, signs: &[Sign], is_busy: bool) -> Verdict {
        let is_late = |sign: &&Sign| sign.owed_ns > sign.limit_ns(is_busy);
        let late: BTreeSet<String> = signs.iter().filter(is_late).map(|sign| sign.what.clone()).collect();
        let stuck: BTreeSet<String> = late.intersection(&self.late).cloned().collect();
        let told = signs.iter().filter(|sign| stuck.contains(&sign.what));
        let verdict = Verdict {
            stuck: told.map(|sign| format!("{}, for {} s", sign.what, sign.owed_ns / SECOND_NS)).collect(),
            newly: stuck.difference(&self.stuck).cloned().collect(),
            again: self.stuck.difference(&stuck).cloned().collect(),
        };
        (self.late, self.stuck) = (late, stuck);
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 3] = [Kind::Runs, Kind::Brings, Kind::Books];

    fn sign(kind: Kind, seconds: i64) -> Sign {
        Sign::new("it", kind, seconds * SECOND_NS)
    }

    /// Whether a part that owes a sign for so long is stuck when it is looked at twice.
    fn is_stuck(kind: Kind, seconds: i64, is_busy: bool) -> bool {
        let mut pulse = Pulse::default();
        pulse.look(&[sign(kind, seconds)], is_busy);
        !pulse.look(&[sign(kind, seconds)], is_busy).stuck.is_empty()
    }

    #[test]
    fn who_owes_nothing_or_not_for_long_is_not_stuck() {
        for kind in KINDS {
            assert!(!is_stuck(kind, 0, false) && !is_stuck(kind, 14, false) && !is_stuck(kind, 14, true), "{kind:?}");
            assert!(is_stuck(kind, 61, false), "{kind:?}");
        }
        assert!(is_stuck(Kind::Brings, 16, false) && !is_stuck(Kind::Books, 59, false));
    }

    #[test]
    fn handlers_at_work_are_worth_more_than_what_is_stuck_beside_them_but_not_for_ever() {
        for kind in [Kind::Brings, Kind::Books] {
            assert!(!is_stuck(kind, 299, true) && is_stuck(kind, 301, true), "{kind:?}");
        }
        assert!(is_stuck(Kind::Runs, 16, true), "without the timer the handlers would never end");
    }

    #[test]
    fn a_process_that_stood_still_is_not_stuck_when_it_goes_on() {
        let mut pulse = Pulse::default();
        assert_eq!(pulse.look(&[sign(Kind::Runs, 3_600)], false), Verdict::default());
        assert_eq!(pulse.look(&[sign(Kind::Runs, 0)], false), Verdict::default());
    }

    #[test]
    fn what_is_stuck_is_told_once_shown_as_long_as_it_lasts_and_told_when_it_is_over() {
        let mut pulse = Pulse::default();
        let of = |seconds| [sign(Kind::Runs, 1), Sign::new("the other", Kind::Brings, seconds * SECOND_NS)];
        assert_eq!(pulse.look(&of(16), false), Verdict::default());
        let second = pulse.look(&of(18), false);
        assert_eq!(
            (&second.stuck[..], &second.newly[..]),
            (&["the other, for 18 s".into()][..], &["the other".into()][..])
        );
        let third = pulse.look(&of(20), false);
        assert_eq!((third.stuck.len(), third.newly.len(), third.again.len()), (1, 0, 0));
        let last = pulse.look(&of(0), false);
        assert_eq!(last, Verdict { again: vec!["the other".into()], ..Verdict::default() });
    }
}
