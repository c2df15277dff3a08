//! The clocks: the only place that reads them.
//! Inputs: the kernel. Outputs: `Moment`s and boot-time nanoseconds. Must never block or allocate.

use crate::event::Moment;
use nix::time::{ClockId, clock_gettime};

/// CLOCK_BOOTTIME in nanoseconds: monotonic, and goes on while the machine is suspended
/// (clock_gettime(2)). A read costs about 20 ns, without a system call.
pub fn boot_ns() -> i64 {
    read_ns(ClockId::CLOCK_BOOTTIME)
}

/// CLOCK_MONOTONIC in nanoseconds: as [`boot_ns`], but it stands still while the machine is suspended.
pub fn monotonic_ns() -> i64 {
    read_ns(ClockId::CLOCK_MONOTONIC)
}

/// Wall clock, nanoseconds since 1970-01-01 UTC.
pub fn wall_ns() -> i64 {
    read_ns(ClockId::CLOCK_REALTIME)
}

/// Both clocks, now.
pub fn now() -> Moment {
    Moment { boot_ns: boot_ns(), wall_ns: wall_ns() }
}

fn read_ns(clock: ClockId) -> i64 {
    // All of them exist on every kernel since 2.6.39, and the call fails for no other reason.
    clock_gettime(clock).map_or(0, |t| t.tv_sec() * 1_000_000_000 + t.tv_nsec())
}
