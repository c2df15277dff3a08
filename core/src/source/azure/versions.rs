//! Which version of Scheduled Events is asked for.
//!
//! Responsibilities: the newest version that the service knows, found without a burst of requests and not lost to an
//! accident. Inputs: what became of a request, the time. Outputs: the versions to try, in order. Pure. Must never settle for
//! an old version while a better one is served: the old ones do not know every type of event.

/// Newest first. 2024-07-09 adds SpotRebalanceRecommendation and is served in some places only; the versions before
/// 2020-07-01 lack fields, those before 2019-01-01 also Terminate, the last one Preempt ("Scheduled Events for Linux VMs",
/// "Version and Region Availability"). The preview of 2017-03-01 is left out: it has other rules.
pub(super) const NAMES: [&str; 7] =
    ["2024-07-09", "2020-07-01", "2019-08-01", "2019-04-01", "2019-01-01", "2017-11-01", "2017-08-01"];

/// The newest that is served everywhere.
const USUAL: usize = 1;

/// Most requests that one look makes to find a version: the service allows five requests a second to the whole machine.
pub(super) const TRIES_MAX: usize = 3;

/// After so long the newest version is asked for again: it may have come to this place meanwhile.
const AGAIN_NS: i64 = 6 * 3_600 * 1_000_000_000;

/// The same while the version in use is older than the usual one, which can only be an accident.
const AGAIN_SOON_NS: i64 = 60 * 1_000_000_000;

/// What is known of the versions, as numbers in [`NAMES`].
#[derive(Debug)]
pub(super) struct Versions {
    /// The one that was answered last.
    good: Option<usize>,
    /// When the newest is asked for again, CLOCK_BOOTTIME nanoseconds.
    again_boot_ns: i64,
    /// The old one that comes next when nothing better is answered.
    cursor: usize,
}

impl Versions {
    pub(super) const fn new() -> Self {
        Self { good: None, again_boot_ns: 0, cursor: USUAL + 1 }
    }

    /// The versions to try in this look, in order; each may be given twice, which changes nothing. A service that refuses
    /// everything for a while, as during the start of a machine, is asked for the good ones each time, and for one old one.
    pub(super) fn to_try(&self, now_boot_ns: i64) -> [usize; TRIES_MAX] {
        let old = self.good.filter(|good| *good > USUAL).unwrap_or(self.cursor);
        match self.good {
            Some(good) if now_boot_ns < self.again_boot_ns => [good, USUAL, self.cursor],
            _ => [0, USUAL, old],
        }
    }

    /// A version was answered.
    pub(super) fn answered(&mut self, version: usize, now_boot_ns: i64) {
        if self.good != Some(version) || now_boot_ns >= self.again_boot_ns {
            let wait_ns = if version > USUAL { AGAIN_SOON_NS } else { AGAIN_NS };
            self.again_boot_ns = now_boot_ns.saturating_add(wait_ns);
        }
        self.good = Some(version);
    }

    /// None of those to try is known to the service.
    pub(super) fn refused(&mut self) {
        // One in use that is old and gone is worth no further try.
        self.good = self.good.filter(|good| *good <= USUAL);
        self.cursor = if self.cursor + 1 < NAMES.len() { self.cursor + 1 } else { USUAL + 1 };
    }

    /// The version for a request that is made once and waited for.
    pub(super) fn best(&self) -> usize {
        self.good.unwrap_or(USUAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;

    /// One look a second at a service that knows what `serves` says; gives the version found, and the requests made.
    fn look(versions: &mut Versions, at: i64, serves: impl Fn(usize) -> bool) -> (Option<usize>, usize) {
        let mut tried = Vec::new();
        for version in versions.to_try(at * SECOND_NS) {
            if tried.contains(&version) {
                continue;
            }
            tried.push(version);
            if serves(version) {
                versions.answered(version, at * SECOND_NS);
                return (Some(version), tried.len());
            }
        }
        versions.refused();
        (None, tried.len())
    }

    #[test]
    fn the_newest_version_that_is_served_is_found_and_remembered() {
        let mut versions = Versions::new();
        assert_eq!(look(&mut versions, 0, |v| v >= 1), (Some(1), 2));
        assert!((1..100).all(|at| look(&mut versions, at, |v| v >= 1) == (Some(1), 1)));
        // After six hours the newest is tried once.
        assert_eq!(look(&mut versions, 6 * 3_600, |v| v >= 1), (Some(1), 2));
        assert_eq!(look(&mut versions, 6 * 3_600 + 1, |v| v >= 1), (Some(1), 1));
        assert_eq!(look(&mut versions, 13 * 3_600, |_| true), (Some(0), 1));
    }

    #[test]
    fn every_version_is_reached_with_at_most_three_requests_a_look() {
        for only in 0..NAMES.len() {
            let mut versions = Versions::new();
            let looks: Vec<_> = (0..8).map(|at| look(&mut versions, at, |v| v == only)).collect();
            assert!(looks.iter().any(|(found, _)| *found == Some(only)), "{only}: {looks:?}");
            assert!(looks.iter().all(|(_, requests)| *requests <= TRIES_MAX), "{only}: {looks:?}");
        }
    }

    #[test]
    fn a_service_that_refuses_everything_for_a_while_costs_no_version() {
        for outage in 1..20 {
            let mut versions = Versions::new();
            (0..outage).for_each(|at| assert_eq!(look(&mut versions, at, |_| false).0, None));
            assert_eq!(look(&mut versions, outage, |v| v >= 1).0, Some(1), "after {outage} s");
            (0..outage).for_each(|at| assert_eq!(look(&mut versions, 100 + at, |_| false).0, None));
            assert_eq!(look(&mut versions, 200, |v| v >= 1), (Some(1), 1), "a second time, after {outage} s");
        }
    }

    #[test]
    fn a_machine_that_moves_to_where_its_version_is_not_served_takes_the_next() {
        let mut versions = Versions::new();
        assert_eq!(look(&mut versions, 0, |_| true), (Some(0), 1));
        assert_eq!(look(&mut versions, 1, |v| v >= 1), (Some(1), 2));
        let mut old = Versions::new();
        (0..4).for_each(|at| {
            look(&mut old, at, |v| v == 3);
        });
        assert_eq!(look(&mut old, 10, |v| v == 3), (Some(3), 1));
        assert_eq!(look(&mut old, 120, |v| v >= 1), (Some(1), 2), "a better one is looked for soon");
    }
}
