//! How long this machine has lived: the exposure without which interruptions have no rate.
//!
//! Responsibilities: decide whether a start of the daemon continues a life that is known or begins another, how long it has lasted,
//! and what an event says of its end. Inputs: what is known, both clocks, events. Outputs: what is to be written down. Pure. Must
//! never give a length below zero, whatever the wall clock does: it says when a life began, CLOCK_BOOTTIME how long it goes on.

use crate::event::{Event, EventType, Machine, Moment, rfc3339};
use cloudsnooze_insight::Pool;

/// It was there when it was last seen.
pub const RUNNING: &str = "running";
/// The provider took it back.
pub const INTERRUPTED: &str = "interrupted";
/// Somebody stopped it, or it was gone for so long that it must have been.
pub const STOPPED: &str = "stopped";

/// Bought as spare capacity, which the provider may take back.
pub const SPOT: &str = "spot";
/// Bought at the full price: its hours say nothing of interruptions.
pub const ON_DEMAND: &str = "on-demand";
/// The provider's service does not say.
pub const UNKNOWN: &str = "unknown";

/// A machine that was away for longer has been stopped in between, nanoseconds. A restart takes minutes, on bare metal up to half an
/// hour.
const AWAY_MAX_NS: i64 = 1_800 * 1_000_000_000;
/// A machine that is seen so long after its end has not ended, nanoseconds.
const OUTLIVED_NS: i64 = 600 * 1_000_000_000;
/// Pause between two notes that it is still there, nanoseconds. Each is a commit.
pub const SEEN_EVERY_NS: i64 = 600 * 1_000_000_000;
/// 2024-01-01T00:00:00Z: a wall clock that reads less has not been set yet.
const CLOCK_SET_WALL_NS: i64 = 1_704_067_200 * 1_000_000_000;

/// One life of one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Identity, the same wherever histories are brought together: the instance's and when it was launched.
    pub id: String,
    /// The provider's identifier of the machine.
    pub instance_id: String,
    /// Where it runs.
    pub pool: Pool,
    /// [`SPOT`], [`ON_DEMAND`] or [`UNKNOWN`].
    pub market: String,
    /// Its start, nanoseconds since 1970, UTC.
    pub launched_wall_ns: i64,
    /// When it was last seen; never before the start.
    pub last_seen_wall_ns: i64,
    /// When the provider ends it, or ended it.
    pub ended_wall_ns: Option<i64>,
    /// [`RUNNING`], [`INTERRUPTED`] or [`STOPPED`].
    pub outcome: String,
}

/// The machine that the daemon is on, as a source knows it.
#[derive(Clone, Debug)]
pub struct Here {
    /// Where it runs.
    pub pool: Pool,
    /// The provider's identifier; not empty.
    pub instance_id: String,
    /// As in [`Life`].
    pub market: &'static str,
}

impl Here {
    /// None where the provider's identifier is not known: lives could not be told apart.
    pub fn new(provider: &str, machine: &Machine, is_on_demand: bool) -> Option<Self> {
        let pool = Pool {
            provider: provider.to_owned(),
            region: machine.region.clone(),
            zone: machine.zone.clone(),
            instance_type: machine.instance_type.clone(),
        };
        let market = if is_on_demand { ON_DEMAND } else { UNKNOWN };
        let is_known = !machine.instance_id.is_empty();
        is_known.then(|| Self { pool, instance_id: machine.instance_id.clone(), market })
    }
}

/// This machine's life as it goes on.
#[derive(Debug)]
pub struct OwnLife {
    life: Life,
    /// CLOCK_BOOTTIME up to which `last_seen_wall_ns` counts.
    counted_boot_ns: i64,
}

impl OwnLife {
    /// The life that goes on now, and what is to be written of the one before, where that has ended unseen. `known` is the latest
    /// that the history has of this machine. None while the wall clock has not been set.
    pub fn begin(here: &Here, known: Option<Life>, now: Moment) -> Option<(Self, Option<Life>)> {
        if now.wall_ns < CLOCK_SET_WALL_NS {
            return None;
        }
        let boot_wall_ns = now.wall_ns.saturating_sub(now.boot_ns.max(0));
        let own = |life| Self { life, counted_boot_ns: now.boot_ns };
        let (before, goes_on) = match known {
            Some(known) if known.pool == here.pool && !has_ended_before(&known, boot_wall_ns) => (None, Some(known)),
            known => (known, None),
        };
        if let Some(mut life) = goes_on {
            // Both clocks bound it: the wall clock may have leapt since.
            let away_ns = now.wall_ns.saturating_sub(life.last_seen_wall_ns).clamp(0, now.boot_ns.max(0) + AWAY_MAX_NS);
            life.last_seen_wall_ns = life.last_seen_wall_ns.saturating_add(away_ns);
            if life.market == UNKNOWN {
                life.market = here.market.to_owned();
            }
            return Some((own(life), None));
        }
        let before = before.filter(|life| life.outcome == RUNNING).map(|life| Life {
            ended_wall_ns: Some(life.last_seen_wall_ns),
            outcome: STOPPED.to_owned(),
            ..life
        });
        let life = Life {
            id: format!("{}@{}", here.instance_id, rfc3339(boot_wall_ns / 1_000_000_000 * 1_000_000_000)),
            instance_id: here.instance_id.clone(),
            pool: here.pool.clone(),
            market: here.market.to_owned(),
            launched_wall_ns: boot_wall_ns,
            last_seen_wall_ns: now.wall_ns,
            ended_wall_ns: None,
            outcome: RUNNING.to_owned(),
        };
        Some((own(life), before))
    }

    /// The life as of now. Seen well after its end, it goes on.
    pub fn seen(&mut self, now_boot_ns: i64) -> &Life {
        let since_ns = now_boot_ns.saturating_sub(self.counted_boot_ns).max(0);
        self.counted_boot_ns = self.counted_boot_ns.max(now_boot_ns);
        self.life.last_seen_wall_ns = self.life.last_seen_wall_ns.saturating_add(since_ns);
        let outlived = |ended: i64| self.life.last_seen_wall_ns > ended.saturating_add(OUTLIVED_NS);
        if self.life.ended_wall_ns.is_some_and(outlived) {
            self.goes_on();
        }
        &self.life
    }

    /// What an event says of its end; None: nothing.
    pub fn told(&mut self, event: &Event, now_boot_ns: i64) -> Option<&Life> {
        let id = &event.machine.instance_id;
        if event.simulated || !(id.is_empty() || *id == self.life.instance_id) {
            return None;
        }
        let withdrawn = event.event_type.withdrawn();
        let outcome = outcome_of(withdrawn.as_ref().unwrap_or(&event.event_type))?;
        // What was taken back is not what somebody stopped, although its machine is deleted afterwards.
        if self.life.outcome == INTERRUPTED && outcome == STOPPED {
            return None;
        }
        self.seen(now_boot_ns);
        if withdrawn.is_some() {
            self.goes_on();
        } else {
            let left_ns = event.effective.map_or(0, |at| at.boot_ns.saturating_sub(now_boot_ns).max(0));
            self.life.ended_wall_ns = Some(self.life.last_seen_wall_ns.saturating_add(left_ns));
            self.life.outcome = outcome.to_owned();
        }
        if outcome == INTERRUPTED {
            self.life.market = SPOT.to_owned();
        }
        Some(&self.life)
    }

    fn goes_on(&mut self) {
        self.life.ended_wall_ns = None;
        self.life.outcome = RUNNING.to_owned();
    }
}

/// Whether a life was over before the machine was started at this wall time.
fn has_ended_before(life: &Life, boot_wall_ns: i64) -> bool {
    match life.ended_wall_ns {
        Some(ended) if life.outcome != RUNNING => boot_wall_ns > ended,
        _ => boot_wall_ns > life.last_seen_wall_ns.saturating_add(AWAY_MAX_NS),
    }
}

/// How a life ends of which such an event tells.
fn outcome_of(event_type: &EventType) -> Option<&'static str> {
    let stops = [EventType::INSTANCE_TERMINATE, EventType::AUTOSCALING_TERMINATE];
    match event_type {
        spot if *spot == EventType::SPOT_INTERRUPT => Some(INTERRUPTED),
        other if stops.contains(other) => Some(STOPPED),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const HOUR_NS: i64 = 3_600 * 1_000_000_000;
    const T0: i64 = CLOCK_SET_WALL_NS + 1_000 * HOUR_NS;

    fn here(instance_type: &str) -> Here {
        let [instance_id, zone, region] = ["i-1", "us-east-1a", "us-east-1"].map(str::to_owned);
        let machine = Machine { instance_id, instance_type: instance_type.to_owned(), zone, region };
        Here::new("aws", &machine, false).expect("it has an identifier")
    }

    fn at(wall_ns: i64, boot_ns: i64) -> Moment {
        Moment { boot_ns, wall_ns }
    }

    /// Three hours after boot.
    fn begun() -> OwnLife {
        OwnLife::begin(&here("m5.large"), None, at(T0, 3 * HOUR_NS)).expect("the clock is set").0
    }

    fn event(event_type: &str, instance_id: &str, deadline_boot_ns: Option<i64>) -> Event {
        let json = json!({ "id": crate::event::EventId::at(1).to_string(), "type": event_type, "severity": "urgent",
            "time": "2026-01-02T03:04:05Z",
            "data": { "action": "terminate", "noticeKind": "deadline", "instanceID": instance_id } });
        let mut event = Event::from_json(&json, at(T0, 3 * HOUR_NS)).expect("an event");
        event.effective = deadline_boot_ns.map(|boot_ns| at(0, boot_ns));
        event
    }

    #[test]
    fn a_life_begins_with_the_machine_and_is_as_long_as_the_clock_since_its_boot_says() {
        let mut own = begun();
        let life = own.seen(5 * HOUR_NS).clone();
        assert_eq!((life.launched_wall_ns, life.last_seen_wall_ns), (T0 - 3 * HOUR_NS, T0 + 2 * HOUR_NS));
        assert_eq!((life.outcome.as_str(), life.ended_wall_ns), (RUNNING, None));
        assert_eq!(own.seen(4 * HOUR_NS).last_seen_wall_ns, T0 + 2 * HOUR_NS, "time does not go back");
    }

    #[test]
    fn a_restart_of_the_daemon_or_of_the_machine_goes_on_with_the_same_life() {
        let life = begun().seen(4 * HOUR_NS).clone();
        for (boot_ns, what) in [(5 * HOUR_NS, "the daemon"), (HOUR_NS - 1, "the machine, a moment after it was seen")] {
            let (mut own, before) =
                OwnLife::begin(&here("m5.large"), Some(life.clone()), at(T0 + 2 * HOUR_NS, boot_ns))
                    .expect("the clock is set");
            assert_eq!(before, None, "{what}");
            assert_eq!(own.seen(boot_ns).id, life.id, "{what}");
            assert_eq!(own.seen(boot_ns).last_seen_wall_ns, T0 + 2 * HOUR_NS, "{what}");
        }
    }

    #[test]
    fn a_machine_that_was_away_or_is_another_type_begins_a_new_life_and_the_old_one_was_stopped() {
        let life = begun().seen(4 * HOUR_NS).clone();
        for (kind, now) in [("m5.large", at(T0 + 30 * HOUR_NS, HOUR_NS)), ("m5.xlarge", at(T0 + 2 * HOUR_NS, HOUR_NS))]
        {
            let (mut own, before) = OwnLife::begin(&here(kind), Some(life.clone()), now).expect("the clock is set");
            let before = before.expect("it ended unseen");
            assert_eq!((before.outcome.as_str(), before.ended_wall_ns), (STOPPED, Some(life.last_seen_wall_ns)));
            assert_ne!(own.seen(now.boot_ns).id, life.id);
        }
    }

    #[test]
    fn a_machine_that_comes_back_after_its_interruption_lives_again_and_the_interruption_stays() {
        let mut own = begun();
        let life = own
            .told(&event("cloud.spot.interrupt", "i-1", Some(4 * HOUR_NS)), 4 * HOUR_NS - 120)
            .expect("told")
            .clone();
        assert_eq!((life.outcome.as_str(), life.market.as_str()), (INTERRUPTED, SPOT));
        assert_eq!(life.ended_wall_ns, Some(T0 + HOUR_NS));
        let (_, before) =
            OwnLife::begin(&here("m5.large"), Some(life.clone()), at(T0 + 3 * HOUR_NS, HOUR_NS)).expect("set");
        assert_eq!(before, None, "its end is known");
        let (mut same, _) = OwnLife::begin(&here("m5.large"), Some(life), at(T0 + HOUR_NS, 4 * HOUR_NS)).expect("set");
        assert_eq!(same.seen(4 * HOUR_NS).outcome, INTERRUPTED, "a daemon that is started again during the notice");
    }

    #[test]
    fn an_end_that_is_withdrawn_or_outlived_was_none() {
        let mut own = begun();
        own.told(&event("cloud.spot.interrupt", "", Some(4 * HOUR_NS)), 4 * HOUR_NS).expect("told");
        assert!(own.told(&event("cloud.instance.terminate", "i-1", None), 4 * HOUR_NS).is_none(), "it was taken back");
        let life = own.told(&event("cloud.spot.interrupt.cancelled", "i-1", None), 4 * HOUR_NS).expect("told");
        assert_eq!((life.outcome.as_str(), life.ended_wall_ns), (RUNNING, None));
        own.told(&event("cloud.autoscaling.terminate", "i-1", None), 4 * HOUR_NS).expect("told");
        assert_eq!(own.seen(4 * HOUR_NS + OUTLIVED_NS).outcome, STOPPED);
        assert_eq!(own.seen(4 * HOUR_NS + OUTLIVED_NS + 1).outcome, RUNNING);
    }

    #[test]
    fn drills_other_machines_and_other_events_end_no_life() {
        let mut own = begun();
        let mut drill = event("cloud.spot.interrupt", "i-1", None);
        drill.simulated = true;
        let others = [event("cloud.spot.interrupt", "i-2", None), event("cloud.spot.rebalance", "i-1", None), drill];
        assert!(others.iter().all(|event| own.told(event, 4 * HOUR_NS).is_none()));
    }

    #[test]
    fn a_clock_that_is_not_set_begins_no_life() {
        assert!(OwnLife::begin(&here("m5.large"), None, at(HOUR_NS, HOUR_NS)).is_none());
    }

    proptest! {
        #[test]
        fn no_leap_of_a_clock_makes_a_length_below_zero(
            starts in prop::collection::vec((CLOCK_SET_WALL_NS..T0 * 2, 0..10_000 * HOUR_NS, 0..100 * HOUR_NS), 1..8)
        ) {
            let mut known = None;
            for (wall_ns, boot_ns, lived_ns) in starts {
                let (mut own, before) = OwnLife::begin(&here("m5.large"), known.take(), at(wall_ns, boot_ns)).expect("set");
                let life = own.seen(boot_ns + lived_ns).clone();
                for life in before.iter().chain([&life]) {
                    prop_assert!(life.ended_wall_ns.unwrap_or(life.last_seen_wall_ns) >= life.launched_wall_ns, "{life:?}");
                }
                known = Some(life);
            }
        }
    }
}
