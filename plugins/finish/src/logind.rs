//! What the login manager is asked.
//!
//! Inputs: an action. Outputs: its answers as they are. Must never ask for the machine's end without its caller having checked
//! that this is no drill: nothing here knows.

use crate::config::Action;
use cloudsnooze_plugin_dbus::zbus::OwnedVariant;
use cloudsnooze_plugin_dbus::{Bus, Fault, Limit, Place};
use std::time::{SystemTime, UNIX_EPOCH};

const SERVICE: &str = "org.freedesktop.login1";
const PATH: &str = "/org/freedesktop/login1";
const INTERFACE: &str = "org.freedesktop.login1.Manager";
const MANAGER: Place<'static> = Place { service: SERVICE, path: PATH, interface: INTERFACE };
const PROPERTIES: Place<'static> = Place { service: SERVICE, path: PATH, interface: "org.freedesktop.DBus.Properties" };
/// Nobody is asked for a password: nobody is there.
const NOT_INTERACTIVE: bool = false;

/// A shutdown that is scheduled: its type, and when, in microseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scheduled {
    pub(crate) kind: String,
    pub(crate) at_us: u64,
}

/// Whether an action is possible and allowed: `yes`, `no`, `na` (not possible), `challenge` (with a password only). None for
/// one that needs nobody's leave.
///
/// # Errors
/// The login manager does not answer.
pub(crate) fn can(action: Action, bus: &Bus, limit: &Limit<'_>) -> Result<Option<String>, Fault> {
    let method = match action {
        Action::None | Action::Sync => return Ok(None),
        Action::Poweroff => "CanPowerOff",
        Action::Hibernate => "CanHibernate",
        Action::Reboot => "CanReboot",
        Action::Halt => "CanHalt",
    };
    bus.call(MANAGER, method, &(), limit).map(Some)
}

/// What is scheduled now.
///
/// # Errors
/// The login manager does not answer.
pub(crate) fn scheduled(bus: &Bus, limit: &Limit<'_>) -> Result<Option<Scheduled>, Fault> {
    let value: OwnedVariant = bus.call(PROPERTIES, "Get", &(INTERFACE, "ScheduledShutdown"), limit)?;
    let (kind, at_us) = <(String, u64)>::try_from(value).map_err(|error| Fault::Broken(error.to_string()))?;
    Ok((!kind.is_empty()).then_some(Scheduled { kind, at_us }))
}

/// Schedules a shutdown. It replaces one that was scheduled.
///
/// # Errors
/// The login manager's refusal.
pub(crate) fn schedule(wanted: &Scheduled, bus: &Bus, limit: &Limit<'_>) -> Result<(), Fault> {
    bus.call(MANAGER, "ScheduleShutdown", &(wanted.kind.as_str(), wanted.at_us), limit)
}

/// Takes back what is scheduled; says whether there was something.
///
/// # Errors
/// The login manager's refusal.
pub(crate) fn cancel(bus: &Bus, limit: &Limit<'_>) -> Result<bool, Fault> {
    bus.call(MANAGER, "CancelScheduledShutdown", &(), limit)
}

/// Hibernates now.
///
/// # Errors
/// The login manager's refusal.
pub(crate) fn hibernate(bus: &Bus, limit: &Limit<'_>) -> Result<(), Fault> {
    bus.call(MANAGER, "Hibernate", &(NOT_INTERACTIVE,), limit)
}

/// The wall clock, by which the login manager schedules.
pub(crate) fn wall_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
