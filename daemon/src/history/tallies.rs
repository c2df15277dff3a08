//! What came of calls and events since the start: counts, and how often which time was taken.
//!
//! Inputs: reports, as the recorder has them anyway. Outputs: counts by instance and in all. Pure. Must never grow with the number
//! of events, nor be touched by a thread of the pool.

use crate::dispatch::report::{Ended, EventReport, HandlerReport, Verified};
use std::collections::BTreeMap;

/// Most instances that are counted: more than any configuration has. Those of earlier configurations stay.
const INSTANCES_MAX: usize = 4096;
/// Upper bounds of the time that a call takes, seconds: from what is done in memory to a whole notice.
const TOOK_BOUNDS: [f64; 13] = [0.0001, 0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];
/// Upper bounds of the time left at the end of an event, seconds: 0 is too late, 120 a whole notice of EC2.
const LEFT_BOUNDS: [f64; 10] = [0.0, 1.0, 5.0, 10.0, 20.0, 30.0, 60.0, 90.0, 120.0, 300.0];

/// How often a time lay between which bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// Upper bounds, seconds, ascending.
    pub bounds: &'static [f64],
    /// Up to each bound and above the one before; at the end, above all.
    pub counts: Vec<u64>,
    /// Seconds in all.
    pub sum: f64,
}

impl Spread {
    fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    fn add(&mut self, seconds: f64) {
        let at = self.bounds.iter().position(|bound| seconds <= *bound).unwrap_or(self.bounds.len());
        self.counts[at] += 1;
        self.sum += seconds;
    }
}

/// What came of an instance's calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    /// How many ended how.
    pub results: BTreeMap<&'static str, u64>,
    /// Of those, where the effect was seen not to hold.
    pub unverified: u64,
    /// How long those took that began.
    pub took: Spread,
}

impl Default for Tally {
    fn default() -> Self {
        Self { results: BTreeMap::new(), unverified: 0, took: Spread::new(&TOOK_BOUNDS) }
    }
}

/// The counts.
#[derive(Debug)]
pub struct Tallies {
    instances: BTreeMap<String, Tally>,
    deadlines_missed: u64,
    left: Spread,
}

impl Default for Tallies {
    fn default() -> Self {
        Self { instances: BTreeMap::new(), deadlines_missed: 0, left: Spread::new(&LEFT_BOUNDS) }
    }
}

impl Tallies {
    /// A call ended.
    pub fn ended(&mut self, report: &HandlerReport) {
        if self.instances.len() >= INSTANCES_MAX && !self.instances.contains_key(&report.instance) {
            return;
        }
        let tally = self.instances.entry(report.instance.clone()).or_default();
        *tally.results.entry(report.status.as_str()).or_default() += 1;
        tally.unverified += u64::from(report.verified == Verified::No);
        if report.status != Ended::NotRun {
            tally.took.add(report.duration_ms.max(0.0) / 1e3);
        }
    }

    /// An event is over. Only where the notice named a time can one be missed.
    pub fn over(&mut self, report: &EventReport) {
        if report.deadline.is_some() {
            self.deadlines_missed += u64::from(report.left_seconds <= 0.0);
            self.left.add(report.left_seconds.max(0.0));
        }
    }

    /// Those of an instance; one that was never called has none yet.
    pub fn of(&self, instance: &str) -> Tally {
        self.instances.get(instance).cloned().unwrap_or_default()
    }

    /// Events that were not over when the cloud was to act, and the time that was left of all.
    pub fn deadlines(&self) -> (u64, Spread) {
        (self.deadlines_missed, self.left.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn call(instance: &str, status: &str, duration_ms: f64, verified: &str) -> HandlerReport {
        let report = json!({"handler": "h", "instance": instance, "priority": 1, "tier": 0, "start": "in-order", "status": status,
            "attempts": 1, "start_ms": 0.0, "duration_ms": duration_ms, "budget_ms": 1.0, "left_seconds": 1.0,
            "verified": verified, "error": null, "result": null, "evidence": null});
        serde_json::from_value(report).expect("a report")
    }

    fn event(deadline: Option<&str>, left_seconds: f64) -> EventReport {
        let report = json!({"event_id": "e", "type": "custom.x", "state": "completed", "detected": "", "deadline": deadline,
            "first_start_us": null, "duration_ms": 1.0, "left_seconds": left_seconds, "handlers": [], "event": {}});
        serde_json::from_value(report).expect("a report")
    }

    #[test]
    fn calls_are_counted_by_instance_and_how_they_ended_and_timed_when_they_began() {
        let mut tallies = Tallies::default();
        for (instance, status, ms, verified) in [
            ("a", "handled", 10.0, "yes"),
            ("a", "handled", 10.001, "no"),
            ("a", "timed-out", 500_000.0, "not-asked"),
            ("a", "not-run", 0.0, "not-asked"),
            ("b", "declined", 0.0, "not-asked"),
        ] {
            tallies.ended(&call(instance, status, ms, verified));
        }
        let a = tallies.of("a");
        assert_eq!(a.results, BTreeMap::from([("handled", 2), ("not-run", 1), ("timed-out", 1)]));
        assert_eq!((a.unverified, a.took.counts.iter().sum::<u64>()), (1, 3));
        assert_eq!(
            (a.took.counts[2], a.took.counts[3], a.took.counts[13]),
            (1, 1, 1),
            "a bound belongs to what is below it"
        );
        assert!((a.took.sum - 500.020_001).abs() < 1e-9);
        assert_eq!(tallies.of("b").took.counts[0], 1);
        assert_eq!(tallies.of("c"), Tally::default());
    }

    #[test]
    fn a_deadline_is_missed_only_where_there_was_one() {
        let mut tallies = Tallies::default();
        for (deadline, left) in
            [(Some("2026-01-01T00:00:00Z"), 0.0), (Some("2026-01-01T00:00:00Z"), 101.0), (None, 0.0)]
        {
            tallies.over(&event(deadline, left));
        }
        let (missed, left) = tallies.deadlines();
        assert_eq!((missed, left.counts[0], left.counts[8], left.counts.iter().sum::<u64>()), (1, 1, 1, 2));
    }

    #[test]
    fn however_many_instances_come_and_go_few_are_kept() {
        let mut tallies = Tallies::default();
        (0..INSTANCES_MAX + 10).for_each(|n| tallies.ended(&call(&n.to_string(), "handled", 1.0, "yes")));
        assert_eq!(tallies.instances.len(), INSTANCES_MAX);
        tallies.ended(&call("0", "handled", 1.0, "yes"));
        assert_eq!(tallies.of("0").results["handled"], 2);
    }
}
