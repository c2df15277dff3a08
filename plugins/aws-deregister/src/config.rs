//! The configuration of one instance.
//!
//! Inputs: the JSON object under `config`. Outputs: [`Config`] with its schema. Must never be printed as a whole: `aws` may
//! hold a secret.

use cloudsnooze_plugin::schemars;
use cloudsnooze_plugin::{Code, Error};
use cloudsnooze_plugin_aws::Access;
use schemars::JsonSchema;
use serde::Deserialize;

/// What an operator can set.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// ARNs of the target groups to be left.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub target_groups: Vec<String>,
    /// What the machine is called in them: by default its instance id; its address in groups of type ip.
    #[serde(default)]
    pub target_id: Option<String>,
    /// What to wait for once it is deregistered.
    #[serde(default)]
    pub wait_for: WaitFor,
    /// How long to wait for that, at most.
    #[serde(default = "thirty")]
    #[schemars(range(min = 1, max = 3600))]
    pub wait_seconds: u64,
    /// The ECS cluster that the machine is in, if any.
    #[serde(default)]
    pub ecs: Option<Ecs>,
    /// How to reach AWS.
    #[serde(default)]
    pub aws: Access,
}

/// What ends the wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WaitFor {
    /// It gets no new requests.
    #[default]
    Draining,
    /// Those that were on are over too, or their time is.
    Drained,
}

/// Where the machine is a container instance.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ecs {
    /// Name or ARN of the cluster.
    pub cluster: String,
    /// ARN of the container instance; by default found by the instance id.
    #[serde(default)]
    pub container_instance: Option<String>,
}

fn thirty() -> u64 {
    30
}

impl Config {
    /// Checks what the schema cannot.
    ///
    /// # Errors
    /// What cannot work.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |text: String| Err(Error::new(text).code(Code::Config));
        if self.target_groups.is_empty() && self.ecs.is_none() {
            return wrong("target_groups, ecs: one of them is needed".to_owned());
        }
        for (at, group) in self.target_groups.iter().enumerate() {
            if !(group.starts_with("arn:") && group.contains(":targetgroup/")) {
                return wrong(format!("target_groups[{at}]: {group:?} is not the ARN of a target group"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudsnooze_plugin::serde_json::{Value, json};

    fn check(config: Value) -> Result<(), String> {
        let config: Config = serde_json::from_value(config).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())
    }

    #[test]
    fn something_must_be_left_and_groups_are_arns() {
        assert!(check(json!({})).unwrap_err().contains("one of them is needed"));
        assert!(check(json!({ "target_groups": ["web"] })).unwrap_err().contains("target_groups[0]"));
        assert!(check(json!({ "ecs": {} })).is_err());
        check(json!({ "ecs": { "cluster": "c" } })).unwrap();
        let arn = "arn:aws:elasticloadbalancing:eu-central-1:1:targetgroup/web/0";
        check(json!({ "target_groups": [arn], "wait_for": "drained" })).unwrap();
    }
}
