//! The clocks of this machine.
//!
//! Inputs: the kernel's clocks. Outputs: nanoseconds. Everything that is compared is CLOCK_BOOTTIME, which all processes of the machine
//! share and nobody sets. Must never be used to wait.

use nix::time::{ClockId, clock_gettime};

/// CLOCK_BOOTTIME now, nanoseconds.
pub fn boot_ns() -> i64 {
    read(ClockId::CLOCK_BOOTTIME)
}

/// CLOCK_REALTIME now, nanoseconds since 1970.
pub fn wall_ns() -> i64 {
    read(ClockId::CLOCK_REALTIME)
}

fn read(clock: ClockId) -> i64 {
    // Both clocks are in every kernel that the daemon runs on.
    clock_gettime(clock).map_or(0, |now| now.tv_sec() * 1_000_000_000 + now.tv_nsec())
}
