//! The configuration of one instance, as the operator writes it.
//! Inputs: the JSON object under `config`. Outputs: [`Config`] with its schema. Must never hold a secret: there is none in it.

use cloudsnooze_plugin::schemars;
use schemars::JsonSchema;
use serde::Deserialize;

/// What an operator can set.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is to become of the machine. Everything but none begins with a sync of all file systems.
    pub action: Action,
    /// What to do when the login manager says that the action is not possible, or not allowed.
    #[serde(default = "poweroff")]
    pub fallback: Action,
    /// Seconds between the end of this handler and the end of the machine: the report of the event is written in them.
    #[serde(default = "delay_seconds")]
    #[schemars(range(min = 0, max = 600))]
    pub delay_seconds: u64,
    /// Whether Azure is told afterwards that it may begin at once. Everything before this handler must be done by then: it
    /// has to be the last one.
    #[serde(default)]
    pub approve: Approve,
    /// Address of Azure's metadata service, for approvals.
    #[serde(default = "metadata_endpoint")]
    pub metadata_endpoint: String,
}

/// Whether an event is approved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Approve {
    /// No.
    #[default]
    Never,
    /// Only when it names no machine but this one: an approval counts for all that it names.
    Alone,
    /// When the group of machines has ended its operation and all that it names are done; by the member that led it. The handler stands
    /// under `fleet.operation.completed` then.
    Group,
    /// Always, also for the other machines that it names, whether they are ready or not.
    Always,
}

/// What can become of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Nothing.
    None,
    /// All file systems are written out, and it goes on.
    Sync,
    /// It is switched off.
    Poweroff,
    /// Its memory is written to its disk, and it is switched off.
    Hibernate,
    /// It starts again.
    Reboot,
    /// It stops, with its power on.
    Halt,
}

impl Action {
    /// As it is written in the configuration, and as the login manager calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Sync => "sync",
            Self::Poweroff => "poweroff",
            Self::Hibernate => "hibernate",
            Self::Reboot => "reboot",
            Self::Halt => "halt",
        }
    }
}

fn poweroff() -> Action {
    Action::Poweroff
}

fn metadata_endpoint() -> String {
    "http://169.254.169.254".to_owned()
}

fn delay_seconds() -> u64 {
    2
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_action_has_to_be_named_and_the_rest_has_defaults() {
        let config: Config = serde_json::from_value(json!({"action": "hibernate"})).unwrap();
        assert_eq!((config.action, config.fallback, config.delay_seconds), (Action::Hibernate, Action::Poweroff, 2));
        assert_eq!((config.approve, config.metadata_endpoint.as_str()), (Approve::Never, "http://169.254.169.254"));
        for wrong in [json!({}), json!({"action": "explode"}), json!({"action": "none", "delay_ms": 1})] {
            assert!(serde_json::from_value::<Config>(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_action_has_its_own_name_and_every_key_is_described() {
        for name in ["none", "sync", "poweroff", "hibernate", "reboot", "halt"] {
            assert_eq!(serde_json::from_value::<Action>(json!(name)).unwrap().name(), name);
        }
        let schema = schemars::schema_for!(Config).to_value();
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!(properties.len(), 5);
        for (key, property) in properties {
            assert!(property["description"].as_str().is_some_and(|text| text.len() > 20), "{key}");
        }
    }
}
