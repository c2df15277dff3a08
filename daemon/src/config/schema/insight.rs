//! Foresight, as types.
//!
//! Inputs: none. Outputs: the types. Must never decide anything.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How likely the provider is to take this machine back soon, estimated from the history in a process of its own. When the risk
/// reaches the threshold, the event `insight.preemption.risk` is told, so that handlers can save before there is a notice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Insight {
    /// Whether the risk is estimated. Absent: where a handler takes `insight.preemption.risk`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Probability of an interruption within the horizon from which on the risk is told. It is withdrawn below two thirds of it.
    #[schemars(range(min = 0.001, max = 1.0))]
    pub risk_threshold: f64,
    /// How far is looked ahead, hours.
    #[schemars(range(min = 0.1, max = 24.0))]
    pub horizon_hours: f64,
    /// Seconds from one estimate to the next.
    #[schemars(range(min = 1.0, max = 86_400.0))]
    pub interval_seconds: f64,
}

impl Default for Insight {
    /// One in five within an hour is some five times the mean of the public lives (3.7 % of their hours, docs/insight.md).
    fn default() -> Self {
        Self { enabled: None, risk_threshold: 0.2, horizon_hours: 1.0, interval_seconds: 600.0 }
    }
}
