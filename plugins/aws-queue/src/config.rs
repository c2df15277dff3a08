//! The configuration of one source.
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
    /// Address of the queue, such as https://sqs.eu-central-1.amazonaws.com/123456789012/notices.
    pub queue_url: String,
    /// The machine whose notices are meant, i-...; by default the one that this runs on, as the metadata service says.
    #[serde(default)]
    pub instance_id: Option<String>,
    /// What becomes of notices for other machines.
    #[serde(default)]
    pub foreign: Foreign,
    /// Queue for messages that nobody understands; by default they stay where they are and are not looked at again.
    #[serde(default)]
    pub dead_letter_queue_url: Option<String>,
    /// Deliveries after which a message that is not understood is set aside.
    #[serde(default = "receives_max")]
    #[schemars(range(min = 1, max = 1000))]
    pub receives_max: u32,
    /// Seconds for which a message that was received is hidden from others; prolonged while its work runs.
    #[serde(default = "visibility_seconds")]
    #[schemars(range(min = 5, max = 600))]
    pub visibility_seconds: u32,
    /// Seconds that one request waits for messages.
    #[serde(default = "wait_seconds")]
    #[schemars(range(min = 1, max = 20))]
    pub wait_seconds: u32,
    /// How to reach AWS.
    #[serde(default)]
    pub aws: Access,
}

/// What becomes of notices for other machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Foreign {
    /// Their messages are given back at once: they are for who runs there.
    #[default]
    Leave,
    /// They are told as events about those machines: for one machine that works for a whole fleet.
    Take,
}

fn receives_max() -> u32 {
    5
}

fn visibility_seconds() -> u32 {
    60
}

/// The longest that SQS allows (Amazon SQS developer guide, "Amazon SQS short and long polling").
fn wait_seconds() -> u32 {
    20
}

/// The region in the address of a queue of AWS's own.
pub(crate) fn region_of(queue_url: &str) -> Option<String> {
    let host = queue_url.strip_prefix("https://")?.split('/').next()?;
    let region = host.strip_prefix("sqs.")?.split('.').next()?;
    host.contains(".amazonaws.com").then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_that_of_the_queue_where_the_queue_is_aws_own() {
        let of = |url: &str| region_of(url);
        assert_eq!(of("https://sqs.eu-central-1.amazonaws.com/1/q").as_deref(), Some("eu-central-1"));
        assert_eq!(of("https://sqs.cn-north-1.amazonaws.com.cn/1/q").as_deref(), Some("cn-north-1"));
        assert_eq!((of("http://127.0.0.1:5000/1/q"), of("https://sqs.example.org/q")), (None, None));
    }
}
