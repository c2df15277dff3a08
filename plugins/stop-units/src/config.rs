//! The configuration of one instance, as the operator writes it.
//! Inputs: the JSON object under `config`. Outputs: [`Config`] with its schema; `plan` checks what the schema cannot. Must
//! never hold a secret: there is none in it.

use cloudsnooze_plugin::schemars;
use schemars::JsonSchema;
use serde::Deserialize;

/// What an operator can set.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Units to stop, in this order; those of an inner list are stopped together. `*`, `?` and `[]` stand for what may vary in
    /// the name of a loaded unit.
    #[schemars(length(min = 1, max = 64))]
    pub units: Vec<Item>,
    /// What decides who is stopped first.
    #[serde(default)]
    pub order: Order,
    /// Milliseconds after which every process of a unit that has not stopped gets SIGKILL; earlier when there is less time. By
    /// default only systemd itself kills, after the unit's own TimeoutStopSec.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub kill_after_ms: Option<u64>,
}

/// One place in the order.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Item {
    /// A unit or a pattern.
    One(String),
    /// Several that are stopped together.
    Together(#[schemars(length(min = 1, max = 64))] Vec<String>),
}

/// What decides who is stopped first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The place in the list.
    #[default]
    Configured,
    /// Before= and After= between the units: what was started after another is stopped before it.
    Dependencies,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_and_lists_of_names_are_units_and_nothing_unknown_is() {
        let config = json!({"units": ["web.service", ["a@1.service", "a@2.service"]]});
        let config: Config = serde_json::from_value(config).unwrap();
        assert!(matches!(config.units.as_slice(), [Item::One(_), Item::Together(two)] if two.len() == 2));
        assert_eq!((config.order, config.kill_after_ms), (Order::Configured, None));
        for wrong in [json!({}), json!({"units": [7]}), json!({"units": ["a.service"], "sequence": "configured"})] {
            assert!(serde_json::from_value::<Config>(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_schema_describes_every_key() {
        let schema = schemars::schema_for!(Config).to_value();
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!(properties.len(), 3);
        for (key, property) in properties {
            assert!(property["description"].as_str().is_some_and(|text| text.len() > 20), "{key}");
        }
    }
}
