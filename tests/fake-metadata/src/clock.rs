//! The two clocks of the fake service, with one knob to move them.
//!
//! Responsibilities: read CLOCK_BOOTTIME (for token lifetimes and latency stamps) and the wall clock (for the times that
//! bodies show), shifted by what a test asked for. Inputs: the kernel's clocks and [`Clock::advance`]. Outputs:
//! nanoseconds since boot, and [`Timestamp`]s. It must never sleep and never set a system clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// The clocks of one fake service. Moving them makes tokens expire and notices come near without waiting.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    shift_ns: AtomicU64,
}

impl Clock {
    /// Moves this service's idea of the time forward. It cannot be moved back, as real time cannot.
    pub(crate) fn advance(&self, by: Duration) {
        let by_ns = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.shift_ns.fetch_add(by_ns, Ordering::Relaxed);
    }

    /// Nanoseconds since boot, shifted: what token lifetimes are measured with.
    pub(crate) fn shifted_boot_ns(&self) -> u64 {
        boot_ns().saturating_add(self.shift_ns.load(Ordering::Relaxed))
    }

    /// The wall clock, shifted: what bodies and `Date` headers show.
    pub(crate) fn now(&self) -> Timestamp {
        let shift = Duration::from_nanos(self.shift_ns.load(Ordering::Relaxed));
        let (seconds, nanoseconds) = read(ClockId::CLOCK_REALTIME);
        // A nanosecond part outside 0..1e9 cannot come from the kernel, so the fallback is never seen.
        let real = Timestamp::new(seconds, nanoseconds).unwrap_or_default();
        real.saturating_add(shift).unwrap_or(Timestamp::MAX)
    }
}

/// Nanoseconds since boot on CLOCK_BOOTTIME (clock_gettime(2)), never shifted, so that stamps can be compared with those
/// another process took.
pub(crate) fn boot_ns() -> u64 {
    nanoseconds_on(ClockId::CLOCK_BOOTTIME)
}

/// The same on CLOCK_MONOTONIC, which stands still while the machine is suspended.
pub(crate) fn monotonic_ns() -> u64 {
    nanoseconds_on(ClockId::CLOCK_MONOTONIC)
}

fn nanoseconds_on(clock: ClockId) -> u64 {
    let (seconds, nanoseconds) = read(clock);
    let seconds = u64::try_from(seconds).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::from(nanoseconds.unsigned_abs()))
}

/// Both clocks exist on every Linux this builds for, so a failure (which clock_gettime(2) gives only for an unknown clock)
/// reads as zero rather than burdening every caller.
fn read(clock: ClockId) -> (i64, i32) {
    clock_gettime(clock).map_or((0, 0), |time| (time.tv_sec(), i32::try_from(time.tv_nsec()).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advancing_moves_both_clocks_and_not_the_stamps() {
        let clock = Clock::default();
        let (boot_before, wall_before, stamp_before) = (clock.shifted_boot_ns(), clock.now(), boot_ns());
        clock.advance(Duration::from_secs(3600));
        assert!(clock.shifted_boot_ns() - boot_before >= 3_600_000_000_000);
        assert!(clock.now().as_second() - wall_before.as_second() >= 3600);
        assert!(boot_ns() - stamp_before < 3_600_000_000_000);
    }

    #[test]
    fn the_wall_clock_is_in_this_century() {
        assert!(Clock::default().now() > Timestamp::from_second(1_700_000_000).expect("a valid second"));
    }
}
