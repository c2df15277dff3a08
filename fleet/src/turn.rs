//! How long a member waits for its turn.
//!
//! Responsibilities: the latest start of local work, and the most that is waited for a leader; pure. Inputs: a notice's times, how long the
//! own work takes, what is known of the group. Outputs: a moment to look again, or the reason to act alone.
//! It must never wait beyond the latest start: coordination never costs the data.

use std::time::Duration;

use crate::clock::Boot;

/// The most that is waited for a leader.
const MOST_WAIT: Duration = Duration::from_secs(10);

/// What is known of a notice that waits for its turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    /// When the owner told of it.
    pub(crate) told: Boot,
    /// The time there was then.
    pub(crate) notice: Duration,
    /// When the work has to be over.
    pub(crate) deadline: Boot,
    /// How long the work takes.
    pub(crate) work: Duration,
}

/// Whether the group has taken the notice up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// No plan has it.
    Silent,
    /// The plan has it. Until then the leader is one, as far as was heard.
    Planned(Boot),
    /// The plan goes on without this member.
    WithoutUs,
}

/// What a member that waits does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Waits, and looks again then.
    Wait(Boot),
    /// Acts alone, for this reason.
    Alone(String),
}

/// The moment at which work that takes so long has to begin, with half of it again in reserve.
pub(crate) fn latest_start(deadline: Boot, work: Duration) -> Boot {
    deadline.before(work.saturating_mul(3) / 2)
}

/// The most that is waited for a leader after a notice of this length.
pub(crate) fn most_wait(notice: Duration) -> Duration {
    (notice / 5).min(MOST_WAIT)
}

/// Waits or acts alone.
pub(crate) fn verdict(now: Boot, waiting: &Waiting, group: Group) -> Verdict {
    let latest = latest_start(waiting.deadline, waiting.work);
    if latest <= now {
        let needs = waiting.work.as_secs_f64() * 1.5;
        return Verdict::Alone(format!("the latest start has come: {needs:.1} s are needed and no more are left"));
    }
    let most = most_wait(waiting.notice);
    let (until, why) = match group {
        Group::WithoutUs => {
            return Verdict::Alone("the group goes on without this member, which it believes to be lost".to_owned());
        }
        Group::Silent => (waiting.told.after(most), "no leader has taken the notice up"),
        Group::Planned(leader_until) => {
            (leader_until.max(waiting.told).after(most), "the leader has been silent, and no other came")
        }
    };
    if until <= now {
        return Verdict::Alone(format!("{why} in {:.1} s", most.as_secs_f64()));
    }
    Verdict::Wait(until.min(latest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn waiting(notice: u64, work: u64) -> Waiting {
        Waiting {
            told: Boot(SECOND),
            notice: Duration::from_secs(notice),
            deadline: Boot((1 + notice) * SECOND),
            work: Duration::from_secs(work),
        }
    }

    #[test]
    fn a_leader_is_waited_for_ten_seconds_of_two_minutes_and_six_of_thirty() {
        for (notice, wait) in [(120, 10), (30, 6)] {
            let waiting = waiting(notice, 1);
            let end = Boot((1 + wait) * SECOND);
            assert_eq!(verdict(Boot(SECOND), &waiting, Group::Silent), Verdict::Wait(end));
            assert!(matches!(verdict(end, &waiting, Group::Silent), Verdict::Alone(why) if why.contains("no leader")));
        }
    }

    #[test]
    fn with_a_plan_and_a_leader_the_latest_start_counts_only() {
        let waiting = waiting(120, 10);
        let now = Boot(60 * SECOND);
        assert_eq!(verdict(now, &waiting, Group::Planned(now)), Verdict::Wait(Boot(70 * SECOND)));
        assert_eq!(verdict(now, &waiting, Group::Planned(Boot::NEVER)), Verdict::Wait(Boot(106 * SECOND)));
        assert!(matches!(verdict(Boot(106 * SECOND), &waiting, Group::Planned(Boot::NEVER)), Verdict::Alone(_)));
        assert!(matches!(verdict(now, &waiting, Group::Planned(Boot(40 * SECOND))), Verdict::Alone(_)));
        assert!(matches!(verdict(now, &waiting, Group::WithoutUs), Verdict::Alone(_)));
    }

    proptest! {
        #[test]
        fn nobody_waits_beyond_the_latest_start_nor_longer_than_the_cap_for_a_leader(
            notice in 0_u64..100_000, work in 0_u64..100_000, at in 0_u64..200_000, leader in 0_u64..200_000, planned in any::<bool>(),
        ) {
            let ms = |value: u64| Boot(value * 1_000_000);
            let waiting = Waiting {
                told: ms(0), notice: Duration::from_millis(notice), deadline: ms(notice), work: Duration::from_millis(work),
            };
            let (now, latest) = (ms(at), latest_start(ms(notice), Duration::from_millis(work)));
            let group = if planned { Group::Planned(ms(leader)) } else { Group::Silent };
            let end = if planned { ms(leader) } else { ms(0) }.after(Duration::from_millis(notice / 5).min(MOST_WAIT));
            match verdict(now, &waiting, group) {
                Verdict::Wait(until) => prop_assert!(now < until && until <= latest && until <= end.after(Duration::from_millis(1))),
                Verdict::Alone(_) => prop_assert!(now >= latest || now >= end),
            }
        }
    }
}
