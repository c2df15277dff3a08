//! Types of the events that tell of the machine itself.
//! Inputs: none. Outputs: the types. They are of the kind `SNOOZE_KIND_OTHER` in the C ABI: a plugin tells them by their name.

use super::EventType;
use cloudsnooze_abi::SNOOZE_KIND_OTHER;

impl EventType {
    /// `system.disk.pressure`: a file system is nearly full, or will be soon.
    pub const DISK_PRESSURE: Self = Self::known("system.disk.pressure", SNOOZE_KIND_OTHER);
    /// `system.disk.failure`: a file system became read-only, or there are errors of it or its disk.
    pub const DISK_FAILURE: Self = Self::known("system.disk.failure", SNOOZE_KIND_OTHER);
    /// `system.disk.recovered`: either is over.
    pub const DISK_RECOVERED: Self = Self::known("system.disk.recovered", SNOOZE_KIND_OTHER);
    /// `system.memory.pressure`: tasks wait for memory.
    pub const MEMORY_PRESSURE: Self = Self::known("system.memory.pressure", SNOOZE_KIND_OTHER);
    /// `system.memory.failure`: the kernel killed a process for its memory.
    pub const MEMORY_FAILURE: Self = Self::known("system.memory.failure", SNOOZE_KIND_OTHER);
    /// `system.memory.recovered`: either is over.
    pub const MEMORY_RECOVERED: Self = Self::known("system.memory.recovered", SNOOZE_KIND_OTHER);
    /// `system.network.failure`: an interface, its addresses, the default route or its gateway is gone, or no name is found.
    pub const NETWORK_FAILURE: Self = Self::known("system.network.failure", SNOOZE_KIND_OTHER);
    /// `system.network.recovered`: that is over.
    pub const NETWORK_RECOVERED: Self = Self::known("system.network.recovered", SNOOZE_KIND_OTHER);
    /// `system.clock.jumped`: the wall clock was set.
    pub const CLOCK_JUMPED: Self = Self::known("system.clock.jumped", SNOOZE_KIND_OTHER);
    /// `system.resumed`: the machine was suspended, and goes on.
    pub const RESUMED: Self = Self::known("system.resumed", SNOOZE_KIND_OTHER);
    /// `system.unit.failed`: a unit of systemd failed.
    pub const UNIT_FAILED: Self = Self::known("system.unit.failed", SNOOZE_KIND_OTHER);
    /// `system.unit.recovered`: it has not failed any more.
    pub const UNIT_RECOVERED: Self = Self::known("system.unit.recovered", SNOOZE_KIND_OTHER);
    /// `system.hardware.pressure`: too hot, or many memory errors that were corrected.
    pub const HARDWARE_PRESSURE: Self = Self::known("system.hardware.pressure", SNOOZE_KIND_OTHER);
    /// `system.hardware.failure`: a memory error that could not be corrected.
    pub const HARDWARE_FAILURE: Self = Self::known("system.hardware.failure", SNOOZE_KIND_OTHER);
    /// `system.hardware.recovered`: either is over.
    pub const HARDWARE_RECOVERED: Self = Self::known("system.hardware.recovered", SNOOZE_KIND_OTHER);

    /// All of them. Not among [`Self::KNOWN`]: a plan for each would lie in locked memory for events that are in no hurry.
    pub const OF_THE_MACHINE: [Self; 15] = [
        Self::DISK_PRESSURE,
        Self::DISK_FAILURE,
        Self::DISK_RECOVERED,
        Self::MEMORY_PRESSURE,
        Self::MEMORY_FAILURE,
        Self::MEMORY_RECOVERED,
        Self::NETWORK_FAILURE,
        Self::NETWORK_RECOVERED,
        Self::CLOCK_JUMPED,
        Self::RESUMED,
        Self::UNIT_FAILED,
        Self::UNIT_RECOVERED,
        Self::HARDWARE_PRESSURE,
        Self::HARDWARE_FAILURE,
        Self::HARDWARE_RECOVERED,
    ];
}
