//! The configuration of one instance, as the operator writes it.
//! Inputs: the JSON object under `config`. Outputs: [`Config`] with its schema, checked. Must never let a text through that Slurm's
//! commands would read as something else.

use cloudsnooze_plugin::schemars;
use cloudsnooze_plugin::{Code, Error};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// What an operator can set.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The node's name in Slurm; by default the machine's name up to the first dot.
    #[serde(default)]
    pub node: Option<String>,
    /// Reason of the drain, which `sinfo -R` shows.
    #[serde(default = "reason")]
    pub reason: String,
    /// Signal at which jobs save themselves, as `scancel` knows it; null for none.
    #[serde(default = "signal")]
    pub signal: Option<String>,
    /// Which processes of a job get it.
    #[serde(default)]
    pub signal_to: SignalTo,
    /// Seconds that jobs have for that, when there is time.
    #[serde(default = "save_seconds")]
    #[schemars(range(min = 1, max = 3600))]
    pub save_seconds: u32,
    /// File that a job writes when it has saved itself; `%j` stands for the job's number (12 or 12_3), `%u` for its user. With it,
    /// each job is requeued as soon as it has; without, when the time for saving is over.
    #[serde(default)]
    pub marker: Option<String>,
    /// Seconds kept back to requeue the jobs and see them wait: they get SIGTERM, and SIGKILL after Slurm's KillWait.
    #[serde(default = "requeue_seconds")]
    #[schemars(range(min = 1, max = 3600))]
    pub requeue_seconds: u32,
    /// The cluster's slurm.conf, where it is not in its usual place.
    #[serde(default)]
    pub slurm_conf: Option<PathBuf>,
    /// Directory of scontrol, squeue and scancel; by default they are looked for in the usual places.
    #[serde(default)]
    pub bin_directory: Option<PathBuf>,
}

/// Which processes of a job get the signal.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum SignalTo {
    /// The shell of the batch script.
    #[default]
    Batch,
    /// The steps, which `srun` started, without the batch script.
    Steps,
    /// All of them.
    Full,
}

impl SignalTo {
    /// The option of `scancel`.
    pub(crate) fn option(self) -> Option<&'static str> {
        match self {
            Self::Batch => Some("--batch"),
            Self::Full => Some("--full"),
            Self::Steps => None,
        }
    }
}

fn reason() -> String {
    "CloudSnooze: the machine is about to go away".to_owned()
}

#[allow(clippy::unnecessary_wraps, reason = "the default of an optional key")]
fn signal() -> Option<String> {
    Some("USR1".to_owned())
}

fn save_seconds() -> u32 {
    20
}

fn requeue_seconds() -> u32 {
    15
}

impl Config {
    /// Checks what the schema cannot.
    ///
    /// # Errors
    /// What is wrong, by key.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |text: String| Err(Error::new(text).code(Code::Config));
        if let Some(node) = &self.node
            && !is_word(node, "._-")
        {
            return refuse(format!("node: {node:?} is not the name of one node"));
        }
        let is_plain = |c: char| !c.is_control() && !"[]\"'".contains(c);
        if self.reason.trim().is_empty() || !self.reason.chars().all(is_plain) {
            return refuse("reason must be a line without quotes and brackets".to_owned());
        }
        if let Some(signal) = &self.signal
            && !is_word(signal, "")
        {
            return refuse(format!("signal: {signal:?} is not a signal"));
        }
        if let Some(marker) = &self.marker {
            if self.signal.is_none() {
                return refuse("marker waits for what a signal brings about, and there is no signal".to_owned());
            }
            if !marker.starts_with('/') || !marker.contains("%j") {
                return refuse("marker must be an absolute path with %j in it".to_owned());
            }
        }
        if self.bin_directory.as_ref().is_some_and(|directory| !directory.is_absolute()) {
            return refuse("bin_directory is not an absolute path".to_owned());
        }
        if self.slurm_conf.as_ref().is_some_and(|file| !file.is_absolute()) {
            return refuse("slurm_conf is not an absolute path".to_owned());
        }
        Ok(())
    }
}

fn is_word(text: &str, also: &str) -> bool {
    !text.is_empty() && !text.starts_with('-') && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn config(value: Value) -> Config {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn nothing_is_needed_and_what_nobody_knows_is_refused() {
        let least = config(json!({}));
        least.check().unwrap();
        assert_eq!((least.signal.as_deref(), least.signal_to), (Some("USR1"), SignalTo::Batch));
        assert_eq!(config(json!({ "signal": null })).signal, None);
        assert!(serde_json::from_value::<Config>(json!({ "nodes": ["a"] })).is_err());
    }

    #[test]
    fn what_cannot_work_is_named_by_its_key() {
        let cases = [
            (json!({ "node": "n[1-3]" }), "node: "),
            (json!({ "node": "-x" }), "node: "),
            (json!({ "reason": "a\nb" }), "reason must be"),
            (json!({ "signal": "USR1 --user=x" }), "signal: "),
            (json!({ "marker": "/x" }), "marker must be"),
            (json!({ "marker": "%j" }), "marker must be"),
            (json!({ "marker": "/x/%j", "signal": null }), "marker waits for"),
            (json!({ "bin_directory": "bin" }), "bin_directory"),
            (json!({ "slurm_conf": "slurm.conf" }), "slurm_conf"),
        ];
        for (value, words) in cases {
            let error = config(value).check().unwrap_err();
            assert!(error.message().starts_with(words), "{error}");
        }
    }

    #[test]
    fn the_schema_describes_every_key_and_knows_no_others() {
        let schema = schemars::schema_for!(Config).to_value();
        assert_eq!(schema["additionalProperties"], false);
        for (key, property) in schema["properties"].as_object().unwrap() {
            assert!(property["description"].as_str().is_some_and(|text| text.len() > 20), "{key}: {property}");
        }
    }
}
