//! Units of systemd that fail.
//!
//! Responsibilities: how a unit is (pure), and following those that are set. Inputs: the system bus (org.freedesktop.systemd1(5)).
//! Outputs: findings. Runs on the control runtime, as all of D-Bus. Must never take a unit that is just being started again for
//! one that has recovered.

use super::alarms::{Alarm, Finding, Subject};
use crate::event::{EventType, Severity};
use futures_util::StreamExt;
use futures_util::stream::SelectAll;
use serde_json::{Map, json};
use std::collections::HashMap;
use std::time::Duration;
use zbus::{Connection, OwnedObjectPath, OwnedVariant, Proxy};

/// Source of its events.
pub const SOURCE: &str = "system.units";
const SYSTEMD: &str = "org.freedesktop.systemd1";
/// What cannot be had of a bus within this is taken for absent.
const ANSWER: Duration = Duration::from_secs(5);

/// How a unit is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitState {
    /// Its full name.
    pub name: String,
    /// `active`, `failed`, `activating` and so on.
    pub active_state: String,
    /// Of its type, such as `auto-restart`.
    pub sub_state: String,
    /// Why it failed, such as `exit-code`; empty: nobody says.
    pub result: String,
}

impl UnitState {
    /// What its alarm is about.
    pub fn subject(&self) -> Subject {
        Subject::new(SOURCE, "unit", self.name.as_str())
    }

    /// Whether it has failed, given whether it had. On its way somewhere it is what it was.
    pub fn judge(&self, was_failed: bool) -> Finding {
        let members = [
            ("unit", &self.name),
            ("activeState", &self.active_state),
            ("subState", &self.sub_state),
            ("result", &self.result),
        ];
        let members = members.into_iter().filter(|(_, text)| !text.is_empty());
        let data: Map<_, _> = members.map(|(key, text)| (key.to_owned(), json!(text))).collect();
        let has_failed = match self.active_state.as_str() {
            "failed" => true,
            "activating" | "deactivating" => was_failed,
            _ => false,
        };
        let (event_type, severity) = (EventType::UNIT_FAILED, Severity::Warning);
        match has_failed {
            true => Finding::Wrong(Alarm { event_type, severity, effective: None, data }),
            false => Finding::Well(data),
        }
    }
}

async fn within<T>(what: impl Future<Output = zbus::Result<T>>) -> Result<T, String> {
    let answer = tokio::time::timeout(ANSWER, what).await.map_err(|_| "the system bus does not answer".to_owned())?;
    answer.map_err(|error| error.to_string())
}

/// Units that are followed.
pub struct Units {
    properties: HashMap<String, (String, Proxy<'static>)>,
    signals: SelectAll<zbus::proxy::SignalStream<'static>>,
}

impl Units {
    /// Follows these. Gives how they are now, too.
    ///
    /// # Errors
    /// In words: there is no system bus, no systemd, or it refuses.
    pub async fn follow(names: &[String]) -> Result<(Self, Vec<UnitState>), String> {
        let connection = within(Connection::system()).await?;
        let interface = "org.freedesktop.systemd1.Manager";
        let manager = within(Proxy::new(&connection, SYSTEMD, "/org/freedesktop/systemd1", interface)).await?;
        // Without it systemd tells nobody of changes.
        within(manager.call::<_, _, ()>("Subscribe", &())).await?;
        let mut units = Self { properties: HashMap::new(), signals: SelectAll::new() };
        for name in names {
            let path: OwnedObjectPath = within(manager.call("LoadUnit", &(name.as_str(),))).await?;
            let key = path.to_string();
            let interface = "org.freedesktop.DBus.Properties";
            let properties: Proxy<'static> = within(Proxy::new(&connection, SYSTEMD, path, interface)).await?;
            units.signals.push(within(properties.receive_signal("PropertiesChanged")).await?);
            units.properties.insert(key, (name.clone(), properties));
        }
        let mut states = Vec::new();
        for (name, properties) in units.properties.values() {
            states.push(state(name, properties).await?);
        }
        Ok((units, states))
    }

    /// Waits until one has changed. None: the bus is gone.
    pub async fn next(&mut self) -> Option<UnitState> {
        loop {
            let message = self.signals.next().await?;
            let path = message.header().path().map(ToString::to_string).unwrap_or_default();
            let Some((name, properties)) = self.properties.get(&path) else { continue };
            return state(name, properties).await.ok();
        }
    }
}

async fn state(name: &str, properties: &Proxy<'static>) -> Result<UnitState, String> {
    let unit: HashMap<String, OwnedVariant> =
        within(properties.call("GetAll", &("org.freedesktop.systemd1.Unit",))).await?;
    let text = |key: &str| unit.get(key).and_then(|value| value.downcast_ref::<String>().ok()).unwrap_or_default();
    // Every type that can fail of itself has one, under an interface of its own name.
    let result = match name.rsplit_once('.').map(|(_, kind)| kind) {
        Some("service") => Some("org.freedesktop.systemd1.Service"),
        Some("mount") => Some("org.freedesktop.systemd1.Mount"),
        Some("timer") => Some("org.freedesktop.systemd1.Timer"),
        Some("socket") => Some("org.freedesktop.systemd1.Socket"),
        _ => None,
    };
    let result = match result {
        Some(interface) => within(properties.call::<_, _, OwnedVariant>("Get", &(interface, "Result"))).await.ok(),
        None => None,
    };
    Ok(UnitState {
        name: name.to_owned(),
        active_state: text("ActiveState"),
        sub_state: text("SubState"),
        result: result.and_then(|value| value.downcast_ref::<String>().ok()).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_has_failed_until_it_is_something_else_and_on_its_way_is_what_it_was() {
        let failed = |active_state: &str, was| {
            let state =
                UnitState { name: "a.service".into(), active_state: active_state.into(), ..UnitState::default() };
            matches!(state.judge(was), Finding::Wrong(_))
        };
        assert!(failed("failed", false) && failed("failed", true));
        assert!(failed("activating", true) && !failed("activating", false));
        assert!(!failed("active", true) && !failed("inactive", true));
    }

    #[test]
    fn what_is_known_of_it_is_said() {
        let state = UnitState { result: "exit-code".into(), name: "a.service".into(), ..UnitState::default() };
        let Finding::Well(data) = state.judge(false) else { panic!("not failed") };
        assert_eq!(json!(data), json!({"unit": "a.service", "result": "exit-code"}));
    }
}
