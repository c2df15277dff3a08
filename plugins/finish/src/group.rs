//! What the end of a group's operation says of the machines that it was for.
//!
//! Inputs: an event `fleet.operation.completed`. Outputs: Azure's events among what was announced to them, and whether all whom one
//! of those names are done. Pure. Must never count a machine as done that the group has not heard of.

use cloudsnooze_plugin::serde_json::{self, Value};
use serde::Deserialize;
use std::collections::BTreeSet;

/// The event that ends an operation of the group.
pub(crate) const COMPLETED: &str = "fleet.operation.completed";

/// What its `data` say.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Over {
    /// This machine led the operation.
    led: bool,
    /// Who did not answer or succeed.
    missing: Vec<Value>,
    departed: Vec<Departed>,
}

/// A machine that the operation was for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Departed {
    provider: String,
    /// As Azure calls it.
    machine: String,
    /// Azure's id of what was announced to it.
    cloud_event: String,
    /// It only played that it goes: its work is not done.
    drill: bool,
}

impl Over {
    /// What the event says; nothing where it is not understood.
    pub(crate) fn of(event: &str) -> Self {
        let event: Value = serde_json::from_str(event).unwrap_or_default();
        let data = event.get("data").cloned().unwrap_or_default();
        serde_json::from_value(data).unwrap_or_default()
    }

    /// Why nothing is to be approved at all.
    pub(crate) fn against_all(&self) -> Option<String> {
        if !self.led {
            return Some("another member led the operation, and approves".to_owned());
        }
        if !self.missing.is_empty() {
            let number = self.missing.len();
            return Some(format!("not everybody has done its part ({number} did not): the event waits for its time"));
        }
        self.events().is_empty().then(|| "the operation was for no event of Azure".to_owned())
    }

    /// Azure's events, each once.
    pub(crate) fn events(&self) -> BTreeSet<&str> {
        let goes = |one: &&Departed| one.provider == "azure" && !one.cloud_event.is_empty() && !one.drill;
        let azure = self.departed.iter().filter(goes);
        azure.map(|one| one.cloud_event.as_str()).collect()
    }

    /// Why an event that names these machines is not approved: one of them was not part of the operation for it.
    pub(crate) fn against(&self, event_id: &str, names: &[String]) -> Option<String> {
        let is_done = |name: &String| {
            let mut departed = self.departed.iter().filter(|one| one.cloud_event.eq_ignore_ascii_case(event_id));
            departed.any(|one| one.machine.eq_ignore_ascii_case(name) && !one.drill)
        };
        let others: Vec<&str> = names.iter().filter(|name| !is_done(name)).map(String::as_str).collect();
        let named = others.join(", ");
        (!others.is_empty()).then(|| format!("an approval would be for machines too that were no part of it: {named}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudsnooze_plugin::serde_json::json;

    fn over(led: bool, missing: &[&str]) -> Over {
        let departed = |machine: &str, id: &str| json!({ "provider": "azure", "machine": machine, "cloudEvent": id });
        let departed = [departed("vm-1", "A"), departed("vm-2", "A"), departed("vm-3", "B"), json!({ "machine": "x" })];
        Over::of(&json!({ "data": { "led": led, "missing": missing, "departed": departed } }).to_string())
    }

    #[test]
    fn who_only_played_that_it_goes_is_not_done() {
        let departed = |vm: &str, id: &str, drill: bool| {
            let azure = "azure";
            json!({ "provider": azure, "machine": vm, "cloudEvent": id, "drill": drill })
        };
        let all = [departed("vm-1", "A", false), departed("vm-2", "A", true), departed("vm-3", "B", true)];
        let over = Over::of(&json!({ "data": { "led": true, "missing": [], "departed": all } }).to_string());
        assert_eq!((over.against_all(), over.events()), (None, BTreeSet::from(["A"])));
        assert_eq!(over.against("A", &["vm-1".to_owned()]), None);
        let reason = over.against("A", &["vm-1".to_owned(), "vm-2".to_owned()]).expect("the second has not gone");
        assert!(reason.ends_with("no part of it: vm-2"), "{reason}");
    }

    #[test]
    fn only_who_led_approves_and_only_where_all_that_are_named_are_done() {
        let led = over(true, &[]);
        assert_eq!((led.against_all(), led.events()), (None, BTreeSet::from(["A", "B"])));
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(led.against("a", &names(&["VM-1", "vm-2"])), None);
        let reason = led.against("A", &names(&["vm-1", "vm-3", "vm-9"])).expect("two are not of this event");
        assert!(reason.contains("vm-3, vm-9"), "{reason}");
        assert!(over(false, &[]).against_all().expect("a reason").contains("another member led"));
        assert!(over(true, &["db-2 did not answer"]).against_all().expect("a reason").contains("1 did not"));
        for nothing in ["", "{}", r#"{"data":{"led":7}}"#] {
            assert!(Over::of(nothing).against_all().is_some(), "{nothing}");
        }
    }
}
