//! What is watched of the machine itself, as types.
//!
//! Inputs: none. Outputs: the types. Defaults must never make an event on a machine that is merely busy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The machine itself: its shutdown, which is the event `system.shutdown`, and what else happens to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SystemSource {
    /// Whether logind is asked to hold a shutdown up while the handlers run, for `InhibitDelayMaxSec=` of logind.conf(5) at
    /// most (5 s unless it says otherwise).
    pub enabled: bool,
    /// Whether SIGTERM is the system's shutdown, when logind has not announced one.
    pub on_terminate: OnTerminate,
    /// Seconds that the event then has; the unit's TimeoutStopSec= must leave room for it.
    #[schemars(range(min = 1, max = 600))]
    pub terminate_seconds: f64,
    /// Most events of one type, within `events_window_seconds`, of those that tell of the machine's state. What is beyond
    /// waits, and is told later if it still holds. What is recovered is always told.
    #[schemars(range(min = 1, max = 1_000))]
    pub events_max: u32,
    /// Seconds that `events_max` counts for.
    #[schemars(range(min = 1, max = 86_400))]
    pub events_window_seconds: f64,
    /// File systems: `system.disk.pressure`, `.failure`, `.recovered`.
    pub disk: DiskWatch,
    /// Memory: `system.memory.pressure`, `.failure`, `.recovered`.
    pub memory: MemoryWatch,
    /// Interfaces, addresses, default routes, gateways, names: `system.network.failure`, `.recovered`.
    pub network: NetworkWatch,
    /// The wall clock and suspend: `system.clock.jumped`, `system.resumed`.
    pub clock: ClockWatch,
    /// Units of systemd: `system.unit.failed`, `.recovered`.
    pub units: UnitWatch,
    /// Temperatures and memory errors: `system.hardware.pressure`, `.failure`, `.recovered`.
    pub hardware: HardwareWatch,
}

impl Default for SystemSource {
    fn default() -> Self {
        Self {
            enabled: true,
            on_terminate: OnTerminate::default(),
            terminate_seconds: 25.0,
            events_max: 6,
            events_window_seconds: 600.0,
            disk: DiskWatch::default(),
            memory: MemoryWatch::default(),
            network: NetworkWatch::default(),
            clock: ClockWatch::default(),
            units: UnitWatch::default(),
            hardware: HardwareWatch::default(),
        }
    }
}

/// When SIGTERM is the system's shutdown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnTerminate {
    /// While the service manager stops everything; not when only this service is stopped.
    #[default]
    WhenSystemStops,
    /// Always: for a container, whose end looks the same.
    Always,
    /// Never.
    Never,
}

/// Which file systems are watched, and when one is nearly full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DiskWatch {
    /// Whether file systems are watched.
    pub enabled: bool,
    /// Absolute mount points of those that are; absent: every one on a block device that can be written when it is first
    /// seen. A server's that does not answer holds up everything that is watched of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount_points: Option<Vec<PathBuf>>,
    /// Seconds between two looks at what is free, and at counts of errors.
    #[schemars(range(min = 1, max = 3_600))]
    pub interval_seconds: f64,
    /// Nearly full is what has less than this part free, per cent of what ordinary users may use...
    #[schemars(range(min = 0, max = 100))]
    pub pressure_free_percent: f64,
    /// ...and less than this many bytes.
    pub pressure_free_bytes: u64,
    /// Nearly without inodes is what has less than this part of them free, per cent.
    #[schemars(range(min = 0, max = 100))]
    pub pressure_free_inodes_percent: f64,
    /// It has recovered with this many times as much free as makes it nearly full.
    #[schemars(range(min = 1.05, max = 10.0))]
    pub recovered_ratio: f64,
    /// Nearly full is, too, what will be full within so many seconds if it goes on as it did; 0: that is not asked.
    #[schemars(range(min = 0, max = 86_400))]
    pub full_within_seconds: f64,
    /// Seconds of the past from which that is foretold.
    #[schemars(range(min = 10, max = 86_400))]
    pub prediction_window_seconds: f64,
    /// Seconds without a further error after which errors are over.
    #[schemars(range(min = 1, max = 86_400))]
    pub recovered_after_seconds: f64,
}

impl Default for DiskWatch {
    /// One in twenty is what file systems keep back for root; of a large disk that would be far too early.
    fn default() -> Self {
        Self {
            enabled: true,
            mount_points: None,
            interval_seconds: 10.0,
            pressure_free_percent: 5.0,
            pressure_free_bytes: 5 << 30,
            pressure_free_inodes_percent: 2.0,
            recovered_ratio: 1.25,
            full_within_seconds: 300.0,
            prediction_window_seconds: 300.0,
            recovered_after_seconds: 600.0,
        }
    }
}

/// When memory is short. The kernel measures it (PSI) and says so itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryWatch {
    /// Whether memory is watched.
    pub enabled: bool,
    /// Memory is short while some task waits for it for this part of the window, per cent.
    #[schemars(range(min = 1, max = 100))]
    pub stall_percent: f64,
    /// Seconds of the window; without CAP_SYS_RESOURCE the kernel takes only even numbers.
    #[schemars(range(min = 1, max = 10))]
    pub window_seconds: u32,
    /// Seconds without such a window after which memory is no longer short.
    #[schemars(range(min = 1, max = 3_600))]
    pub recovered_after_seconds: f64,
    /// Absolute directories of control groups (version 2) that are watched besides the daemon's own and the topmost ones.
    pub control_groups: Vec<PathBuf>,
    /// Seconds after the last process was killed for its memory until that is over.
    #[schemars(range(min = 1, max = 86_400))]
    pub failure_recovered_after_seconds: f64,
}

impl Default for MemoryWatch {
    /// Three seconds of ten: builds and starts of services that make tasks wait for a moment are none.
    fn default() -> Self {
        Self {
            enabled: true,
            stall_percent: 30.0,
            window_seconds: 10,
            recovered_after_seconds: 30.0,
            control_groups: Vec::new(),
            failure_recovered_after_seconds: 300.0,
        }
    }
}

/// What is watched of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkWatch {
    /// Whether the network is watched.
    pub enabled: bool,
    /// Names of interfaces that must be up with an address; absent: those that have had a default route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interfaces: Option<Vec<String>>,
    /// Seconds that something must be so before it is told, failed or recovered.
    #[schemars(range(min = 0, max = 300))]
    pub settle_seconds: f64,
    /// A name that must be found. Absent: none is asked for, because it makes traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "NameCheck")]
    pub name_check: Option<NameCheck>,
}

impl Default for NetworkWatch {
    fn default() -> Self {
        Self { enabled: true, interfaces: None, settle_seconds: 2.0, name_check: None }
    }
}

/// A name that must be found, by whatever this machine finds names with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NameCheck {
    /// The name.
    pub name: String,
    /// Seconds between two questions.
    #[serde(default = "a_minute")]
    #[schemars(range(min = 5, max = 3_600))]
    pub interval_seconds: f64,
}

fn a_minute() -> f64 {
    60.0
}

/// When the wall clock has jumped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClockWatch {
    /// Whether the clock is watched.
    pub enabled: bool,
    /// Seconds that it must be set by, forwards or back; 0: told whenever it is set.
    #[schemars(range(min = 0, max = 86_400))]
    pub jump_min_seconds: f64,
}

impl Default for ClockWatch {
    fn default() -> Self {
        Self { enabled: true, jump_min_seconds: 1.0 }
    }
}

/// Which units of systemd are watched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UnitWatch {
    /// Whether units are watched.
    pub enabled: bool,
    /// Their full names, such as `nginx.service`.
    pub names: Vec<String>,
}

impl Default for UnitWatch {
    fn default() -> Self {
        Self { enabled: true, names: Vec::new() }
    }
}

/// What is watched of the hardware, where there is anything to see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HardwareWatch {
    /// Whether the hardware is watched.
    pub enabled: bool,
    /// Corrected memory errors within an hour that are too many.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub corrected_errors_per_hour_max: u32,
    /// Degrees Celsius below a threshold of the hardware at which it is no longer too hot.
    #[schemars(range(min = 1, max = 50))]
    pub cooled_by_celsius: f64,
}

impl Default for HardwareWatch {
    fn default() -> Self {
        Self { enabled: true, corrected_errors_per_hour_max: 100, cooled_by_celsius: 5.0 }
    }
}
