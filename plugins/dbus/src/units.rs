//! What systemd's manager says of units, and what it is asked to do with them.
//!
//! Inputs: names and patterns of units. Outputs: their state; properties as the manager has them. Must never decide anything:
//! which unit is stopped or started is the caller's.

use crate::{Bus, Fault, Limit, Place};
use std::collections::HashMap;
use zbus::{OwnedObjectPath, OwnedVariant};

const SERVICE: &str = "org.freedesktop.systemd1";
const MANAGER: Place<'static> =
    Place { service: SERVICE, path: "/org/freedesktop/systemd1", interface: "org.freedesktop.systemd1.Manager" };
/// Give way to no job that is queued: what was asked last is what is wanted.
const MODE: &str = "replace";
/// Every process of the unit.
const EVERYBODY: &str = "all";

/// Properties of a unit by name.
pub type Properties = HashMap<String, OwnedVariant>;

/// A row as the manager lists units: name, description, load state, active state, substate, followed unit, object, job, its
/// type and its object.
type Row = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// A unit, as of the moment when it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its primary name: an alias is resolved.
    pub name: String,
    /// LoadState: loaded, not-found, masked, ...
    pub load: String,
    /// ActiveState: active, inactive, failed, deactivating, ...
    pub active: String,
    /// SubState: running, dead, stop-sigterm, ...
    pub sub: String,
    /// Number of the job that is queued for it or running; 0 for none.
    pub job: u32,
    path: OwnedObjectPath,
}

impl Unit {
    /// Whether nothing of it runs.
    pub fn is_inactive(&self) -> bool {
        matches!(self.active.as_str(), "inactive" | "failed")
    }

    /// Whether it is up.
    pub fn is_active(&self) -> bool {
        matches!(self.active.as_str(), "active" | "reloading" | "refreshing")
    }

    /// For people: `active (running)`.
    pub fn shown(&self) -> String {
        format!("{} ({})", self.active, self.sub)
    }
}

impl From<Row> for Unit {
    fn from((name, _, load, active, sub, _, path, job, _, _): Row) -> Self {
        Self { name, load, active, sub, job, path }
    }
}

impl Bus {
    /// The units of these names, in order. One that is not loaded is loaded; one that does not exist has the load state
    /// `not-found`.
    ///
    /// # Errors
    /// Why they cannot be told.
    pub fn units<S: AsRef<str>>(&self, names: &[S], limit: &Limit<'_>) -> Result<Vec<Unit>, Fault> {
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        let rows: Vec<Row> = self.call(MANAGER, "ListUnitsByNames", &(names,), limit)?;
        Ok(rows.into_iter().map(Unit::from).collect())
    }

    /// The loaded units whose names match a pattern (`worker@*.service`), by name.
    ///
    /// # Errors
    /// Why they cannot be told.
    pub fn units_like(&self, pattern: &str, limit: &Limit<'_>) -> Result<Vec<Unit>, Fault> {
        let (every_state, patterns): ([&str; 0], [&str; 1]) = ([], [pattern]);
        let body = (every_state.as_slice(), patterns.as_slice());
        let rows: Vec<Row> = self.call(MANAGER, "ListUnitsByPatterns", &body, limit)?;
        let mut units: Vec<Unit> = rows.into_iter().map(Unit::from).collect();
        units.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(units)
    }

    /// All properties of a unit, those of its type too.
    ///
    /// # Errors
    /// Why they cannot be told.
    pub fn properties(&self, unit: &Unit, limit: &Limit<'_>) -> Result<Properties, Fault> {
        let place = Place { service: SERVICE, path: unit.path.as_str(), interface: "org.freedesktop.DBus.Properties" };
        // The manager answers for every interface when none is named.
        self.call(place, "GetAll", &("",), limit)
    }

    /// Keeps a unit loaded while this connection lives, so that how it ended can be read afterwards.
    ///
    /// # Errors
    /// The manager's refusal.
    pub fn hold(&self, name: &str, limit: &Limit<'_>) -> Result<(), Fault> {
        self.call(MANAGER, "RefUnit", &(name,), limit)
    }

    /// Has a unit stopped. Comes back when the job is queued.
    ///
    /// # Errors
    /// The manager's refusal.
    pub fn stop_unit(&self, name: &str, limit: &Limit<'_>) -> Result<(), Fault> {
        let _job: OwnedObjectPath = self.call(MANAGER, "StopUnit", &(name, MODE), limit)?;
        Ok(())
    }

    /// Has a unit started. Comes back when the job is queued.
    ///
    /// # Errors
    /// The manager's refusal.
    pub fn start_unit(&self, name: &str, limit: &Limit<'_>) -> Result<(), Fault> {
        let _job: OwnedObjectPath = self.call(MANAGER, "StartUnit", &(name, MODE), limit)?;
        Ok(())
    }

    /// Sends a signal to every process of a unit.
    ///
    /// # Errors
    /// The manager's refusal.
    pub fn kill_unit(&self, name: &str, signal: i32, limit: &Limit<'_>) -> Result<(), Fault> {
        self.call(MANAGER, "KillUnit", &(name, EVERYBODY, signal), limit)
    }

    /// Name of the unit that a process belongs to.
    ///
    /// # Errors
    /// It belongs to none, or that cannot be told.
    pub fn unit_of(&self, pid: u32, limit: &Limit<'_>) -> Result<String, Fault> {
        let path: OwnedObjectPath = self.call(MANAGER, "GetUnitByPID", &(pid,), limit)?;
        let place = Place { service: SERVICE, path: path.as_str(), interface: "org.freedesktop.DBus.Properties" };
        let id: OwnedVariant = self.call(place, "Get", &("org.freedesktop.systemd1.Unit", "Id"), limit)?;
        String::try_from(id).map_err(|error| Fault::Broken(error.to_string()))
    }
}

/// A property that is a text.
pub fn text(properties: &Properties, name: &str) -> Option<String> {
    properties.get(name).and_then(|value| <&str>::try_from(value).ok()).map(str::to_owned)
}

/// A property that is a number.
pub fn number(properties: &Properties, name: &str) -> Option<i32> {
    properties.get(name).and_then(|value| i32::try_from(value).ok())
}

/// A property that is true or false.
pub fn switch(properties: &Properties, name: &str) -> Option<bool> {
    properties.get(name).and_then(|value| bool::try_from(value).ok())
}

/// A property that is a list of texts; empty when there is none.
pub fn texts(properties: &Properties, name: &str) -> Vec<String> {
    let value = properties.get(name).and_then(|value| value.try_clone().ok());
    value.and_then(|value| Vec::<String>::try_from(value).ok()).unwrap_or_default()
}
