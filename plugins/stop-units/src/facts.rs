//! What is told of a unit: the evidence.
//!
//! Inputs: a unit and its properties. Outputs: its state as JSON. Must never hold more than the manager says.

use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin_dbus::{Bus, Fault, Limit, Properties, Unit, number, text};

/// A unit's state at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    active: String,
    sub: String,
    /// How it ended last; only some types of units have it.
    result: Option<String>,
    /// Exit status of a service's main process.
    status: Option<i32>,
}

impl Facts {
    pub(crate) fn new(unit: &Unit, properties: &Properties) -> Self {
        Self {
            active: text(properties, "ActiveState").unwrap_or_else(|| unit.active.clone()),
            sub: text(properties, "SubState").unwrap_or_else(|| unit.sub.clone()),
            result: text(properties, "Result"),
            status: number(properties, "ExecMainStatus"),
        }
    }

    /// Asks for them.
    ///
    /// # Errors
    /// Why they cannot be told.
    pub(crate) fn of(bus: &Bus, unit: &Unit, limit: &Limit<'_>) -> Result<Self, Fault> {
        Ok(Self::new(unit, &bus.properties(unit, limit)?))
    }

    /// For people: `failed (exit-code)`.
    pub(crate) fn shown(&self) -> String {
        let reason = self.result.as_deref().filter(|result| *result != "success").unwrap_or(&self.sub);
        format!("{} ({reason})", self.active)
    }

    /// For the report.
    pub(crate) fn json(&self) -> Value {
        json!({
            "active_state": self.active, "sub_state": self.sub, "result": self.result, "exec_main_status": self.status,
        })
    }
}
