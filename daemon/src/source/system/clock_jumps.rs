//! Jumps of the wall clock, and time that the machine slept.
//!
//! Responsibilities: how far the clocks moved against each other (`Clocks`, pure), and the timer by which the kernel tells at
//! once. Inputs: clocks. Outputs: events that do not last. Must never take the slow steering of NTP for a jump.
//!
//! Facts: timerfd_create(2) (a timer of CLOCK_REALTIME with TFD_TIMER_CANCEL_ON_SET is ready, and its read fails with ECANCELED, when
//! that clock is set; since Linux 5.13 after a suspend, too), clock_gettime(2) (CLOCK_BOOTTIME counts on during suspend,
//! CLOCK_MONOTONIC does not, and neither is ever set).

use super::alarms::{Alarm, Subject, seconds};
use super::watcher::{Desk, Watcher, nanoseconds};
use crate::config::ClockWatch;
use crate::event::{EventType, Moment, Severity, rfc3339};
use crate::sys::clock;
use nix::poll::PollFlags;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use serde_json::{Map, json};
use std::os::fd::{AsFd, BorrowedFd};

/// Source of its events.
pub const SOURCE: &str = "system.clock";
/// How often the steering of the clock is taken in. Far more often than it could add up to a second at the most that the kernel
/// steers (500 parts in a million; adjtimex(2)).
const LOOK_NS: i64 = 60 * 1_000_000_000;
/// More than the clock is steered between two looks.
const STEERED_MAX_NS: i64 = 100_000_000;
/// The shortest sleep that is told of.
const SLEPT_MIN_NS: i64 = 1_000_000_000;

/// How the clocks stand to each other, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Clocks {
    /// Wall clock less time since the start.
    wall_less_boot_ns: i64,
    /// Time since the start less time awake: how long the machine slept.
    slept_ns: i64,
}

impl Clocks {
    fn at(now: Moment, monotonic_ns: i64) -> Self {
        Self {
            wall_less_boot_ns: now.wall_ns.saturating_sub(now.boot_ns),
            slept_ns: now.boot_ns.saturating_sub(monotonic_ns),
        }
    }

    /// By how much the wall clock was set since `before`, and how long the machine slept, where that is to be told.
    fn moved(self, before: Self, jump_min_ns: i64) -> (Option<i64>, Option<i64>) {
        let jump = self.wall_less_boot_ns.saturating_sub(before.wall_less_boot_ns);
        let slept = self.slept_ns.saturating_sub(before.slept_ns);
        (Some(jump).filter(|jump| jump.saturating_abs() >= jump_min_ns), Some(slept).filter(|ns| *ns >= SLEPT_MIN_NS))
    }
}

/// Looks at the clock.
pub struct ClockJumps {
    jump_min_ns: i64,
    timer: TimerFd,
    before: Clocks,
    next_boot_ns: i64,
}

impl ClockJumps {
    /// Armed.
    ///
    /// # Errors
    /// No timer is to be had.
    pub fn new(settings: &ClockWatch) -> Result<Self, String> {
        let failed = |error: nix::errno::Errno| format!("no timer of the wall clock: {}", error.desc());
        let timer = TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK);
        let timer = timer.map_err(failed)?;
        let before = Clocks::at(clock::now(), clock::monotonic_ns());
        let jump_min_ns = nanoseconds(settings.jump_min_seconds);
        // For a time that never comes: only its being cancelled counts.
        let never = Expiration::OneShot(TimeSpec::new(i64::MAX / 1_000_000_000, 0));
        let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        timer.set(never, flags).map_err(failed)?;
        Ok(Self { jump_min_ns, timer, before, next_boot_ns: i64::MIN })
    }
}

fn happened(event_type: EventType, data: Map<String, serde_json::Value>) -> Alarm {
    Alarm { event_type, severity: Severity::Info, effective: None, data }
}

impl Watcher for ClockJumps {
    fn name(&self) -> &'static str {
        "clock"
    }

    fn descriptors(&self) -> Vec<(BorrowedFd<'_>, PollFlags)> {
        vec![(self.timer.as_fd(), PollFlags::POLLIN)]
    }

    fn next_boot_ns(&self) -> i64 {
        self.next_boot_ns
    }

    fn look(&mut self, ready: &[bool], now: Moment, desk: &mut Desk) -> Result<(), String> {
        let was_set = ready.contains(&true);
        if was_set {
            // Its read says ECANCELED and takes its readiness away; it stays armed (fs/timerfd.c).
            let _cancelled = self.timer.wait();
        }
        self.next_boot_ns = now.boot_ns.saturating_add(LOOK_NS);
        let clocks = Clocks::at(now, clock::monotonic_ns());
        let (jump, slept) = clocks.moved(self.before, self.jump_min_ns);
        self.before = clocks;
        if let Some(ns) = slept {
            let data = Map::from_iter([("sleptSeconds".to_owned(), seconds(ns))]);
            desk.tell(&Subject::new(SOURCE, "suspend", "machine"), happened(EventType::RESUMED, data), now);
        }
        // Set between the kernel's word and this look: too far for having been steered.
        if let Some(ns) = jump.filter(|ns| was_set || ns.saturating_abs() > STEERED_MAX_NS) {
            #[allow(clippy::cast_precision_loss, reason = "seconds for people")]
            let jumped = (ns as f64) / 1e9;
            let data = Map::from_iter([
                ("jumpSeconds".to_owned(), json!(jumped)),
                ("wouldBe".to_owned(), json!(rfc3339(now.wall_ns.saturating_sub(ns)))),
            ]);
            desk.tell(&Subject::new(SOURCE, "jump", "machine"), happened(EventType::CLOCK_JUMPED, data), now);
        }
        Ok(())
    }

    fn watched(&self) -> String {
        "jumps and suspend".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;

    fn clocks(wall_seconds: i64, boot_seconds: i64, awake_seconds: i64) -> Clocks {
        let now = Moment { wall_ns: wall_seconds * SECOND_NS, boot_ns: boot_seconds * SECOND_NS };
        Clocks::at(now, awake_seconds * SECOND_NS)
    }

    #[test]
    fn a_jump_is_what_the_wall_clock_moved_more_or_less_than_time_went_on() {
        let before = clocks(1_000, 100, 90);
        let moved = |wall, boot, awake| clocks(wall, boot, awake).moved(before, SECOND_NS);
        assert_eq!(moved(1_050, 150, 140), (None, None), "time goes on");
        assert_eq!(moved(4_650, 150, 140), (Some(3_600 * SECOND_NS), None));
        assert_eq!(moved(1_048, 150, 140), (Some(-2 * SECOND_NS), None));
    }

    #[test]
    fn a_sleep_is_no_jump_where_the_wall_clock_went_on_meanwhile() {
        let before = clocks(1_000, 100, 90);
        let after = clocks(1_600, 700, 95);
        assert_eq!(after.moved(before, SECOND_NS), (None, Some(595 * SECOND_NS)));
    }

    #[test]
    fn the_timer_is_not_ready_while_nobody_sets_the_clock() {
        let clocks = ClockJumps::new(&ClockWatch::default()).expect("a timer");
        let mut fds = [nix::poll::PollFd::new(clocks.timer.as_fd(), PollFlags::POLLIN)];
        assert_eq!(nix::poll::poll(&mut fds, 0_u8), Ok(0));
    }
}
