//! The configuration of one instance.
//!
//! Inputs: the JSON object under `config`. Outputs: [`Config`] with its schema. Must never be printed as a whole: `aws` may
//! hold a secret.

use cloudsnooze_plugin::schemars;
use cloudsnooze_plugin_aws::Access;
use schemars::JsonSchema;
use serde::Deserialize;

/// What an operator can set.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What to do.
    pub mode: Mode,
    /// What to answer, with `complete`.
    #[serde(default)]
    pub result: Answer,
    /// Name of the Auto Scaling group; by default that of the machine.
    #[serde(default)]
    pub group: Option<String>,
    /// Name of the lifecycle hook; by default all of the group for terminating machines.
    #[serde(default)]
    pub hook: Option<String>,
    /// How to reach AWS.
    #[serde(default)]
    pub aws: Access,
}

/// What a handler does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Asks once for the hook's time anew: for a handler of high priority.
    Heartbeat,
    /// Lets the machine go: for the handler of the lowest priority.
    Complete,
}

/// What to tell Auto Scaling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Answer {
    /// Other hooks at which the machine waits are waited for.
    #[default]
    Continue,
    /// They are not.
    Abandon,
}

impl Answer {
    /// As AWS writes it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Continue => "CONTINUE",
            Self::Abandon => "ABANDON",
        }
    }
}
