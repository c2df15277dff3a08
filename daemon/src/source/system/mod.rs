//! The machine itself as a source: disks, memory, network, clock, hardware, units.
//!
//! Responsibilities: one file a concern, each with its judgement apart from its reading; `alarms` makes events of findings,
//! `hysteresis` and `projection` keep them from wavering, `watcher` is the loop. Inputs: the kernel, systemd, settings. Outputs:
//! events of the types [`EventType::OF_THE_MACHINE`](crate::event::EventType::OF_THE_MACHINE), health. Must never hurry: it runs
//! at normal priority and hands events on by orders, and nothing of it is on the way from a notice to a handler.

pub mod alarms;
mod clock_jumps;
mod disk;
mod hardware;
mod hysteresis;
mod memory;
mod mounts;
mod names;
mod netlink;
mod network;
mod pressure;
mod projection;
pub mod units;
mod watcher;
mod witness;

pub use watcher::{Desk, Round, Watched, nanoseconds};

use super::{Control, Health};
use crate::config::SystemSource;
use crate::event::Event;
use alarms::{Alarms, Limit};
use std::path::Path;
use std::sync::Arc;
use watcher::Watcher;

/// The source in status.
pub const SOURCE: &str = "system";

/// Seconds that nothing may be looked at where no disk is.
const SELDOM_SECONDS: f64 = 60.0;

/// What is open of these settings and of the events of before a restart, in the order of their making.
pub fn alarms<'e>(settings: &SystemSource, seen: impl IntoIterator<Item = &'e Event>) -> Alarms {
    let window_ns = nanoseconds(settings.events_window_seconds);
    let mut alarms = Alarms::new(Limit { events_max: settings.events_max, window_ns });
    seen.into_iter().for_each(|event| alarms.remember(event));
    alarms
}

/// Everything that the settings want watched on the thread of the source; None: nothing.
pub fn round(settings: &SystemSource, alarms: Alarms, control: Arc<Control<()>>) -> Option<Round> {
    let watched = Arc::new(Watched::default());
    let mut watchers: Vec<Box<dyn Watcher>> = Vec::new();
    let mut add =
        |concern: &'static str, is_wanted: bool, make: &dyn Fn() -> Result<Box<dyn Watcher>, String>| match is_wanted
            .then(make)
        {
            Some(Ok(watcher)) => watchers.push(watcher),
            Some(Err(error)) => {
                tracing::warn!(error, "the machine's {concern} is not watched");
                watched.note(concern, format!("not watched: {error}"));
            }
            None => watched.note(concern, "off".into()),
        };
    add("disk", settings.disk.enabled, &|| Ok(Box::new(disk::Disks::new(&settings.disk)?)));
    add("memory", settings.memory.enabled, &|| Ok(Box::new(memory::Memory::new(&settings.memory))));
    add("network", settings.network.enabled, &|| Ok(Box::new(network::Network::new(&settings.network)?)));
    add("clock", settings.clock.enabled, &|| Ok(Box::new(clock_jumps::ClockJumps::new(&settings.clock)?)));
    let hardware = || hardware::Hardware::new(&settings.hardware, Path::new("/sys"));
    add("hardware", settings.hardware.enabled, &|| Ok(Box::new(hardware())));
    let names: Vec<&'static str> = watchers.iter().map(|watcher| watcher.name()).collect();
    let health = Arc::new(Health::new(SOURCE, &names));
    let seconds = if settings.disk.enabled { settings.disk.interval_seconds } else { SELDOM_SECONDS };
    health.set_interval_seconds(seconds);
    (!watchers.is_empty()).then(|| Round { watchers, alarms, control, health, watched })
}
