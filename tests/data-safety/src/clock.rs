//! From one clock of this machine to the other.
//!
//! Inputs: the kernel's clocks. Outputs: nanoseconds. Writers read CLOCK_BOOTTIME, which nobody sets; the daemon's report says
//! wall times. Must never pass over a wall clock that was set in between: the comparison would be of no worth.

pub use harness::clock::boot_ns;
use harness::clock::wall_ns;
use std::thread;
use std::time::Duration;

/// More than two readings right after one another, or the kernel's slewing within a round, can differ by.
const SET_NS: i64 = 5_000_000;

/// How far the wall clock is ahead of CLOCK_BOOTTIME.
#[derive(Clone, Copy, Debug)]
pub struct Offset(i64);

impl Offset {
    /// As of now.
    pub fn now() -> Self {
        Self(wall_ns() - boot_ns())
    }

    /// CLOCK_BOOTTIME at this wall time.
    ///
    /// # Errors
    /// The wall clock was set since.
    pub fn boot_of(self, wall_ns: i64) -> Result<i64, String> {
        let moved = (Self::now().0 - self.0).abs();
        if moved > SET_NS {
            return Err(format!("the wall clock was set by {} ms in the middle of a round", moved / 1_000_000));
        }
        Ok(wall_ns - self.0)
    }
}

/// Waits until the wall clock says so.
pub fn sleep_until(wall: i64) {
    loop {
        let left = u64::try_from(wall - wall_ns()).unwrap_or(0);
        if left == 0 {
            return;
        }
        thread::sleep(Duration::from_nanos(left));
    }
}
