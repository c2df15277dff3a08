//! The configuration of one instance.
//! Inputs: the JSON object under `config`. Outputs: [`Config`] with its schema, [`Target`]. Must never be printed as a
//! whole, nor put any part of the connection string into an error: whatever is misplaced in it may be the password.

use cloudsnooze_plugin::schemars;
use redis::{ConnectionInfo, IntoConnectionInfo};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;
use thiserror::Error;

/// What an operator can set.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How to reach the server: `redis://user:pass@127.0.0.1:6379` or `unix:///run/redis/redis.sock?user=NAME&pass=PASSWORD`.
    /// A secret.
    #[schemars(extend("writeOnly" = true))]
    pub connection_string: String,
    /// Stop intake first: writers wait until the machine is gone, or the notice withdrawn.
    #[serde(default = "yes")]
    pub pause_writes: bool,
    /// Where there is no append-only file, save the data set with BGSAVE.
    #[serde(default = "yes")]
    pub save: bool,
    /// Megabytes of the server's memory a second that a save can be counted on to write; one that would take longer than there
    /// is time is not begun.
    #[serde(default = "save_rate")]
    #[schemars(range(min = 1))]
    pub save_mb_per_second: u32,
    /// Where there is an append-only file, bring it to the disk: `appendfsync always`, then one write that waits for it.
    #[serde(default = "yes")]
    pub sync_append_only_file: bool,
    /// The key of that write; it goes away by itself after a minute.
    #[serde(default = "fence_key")]
    pub fence_key: String,
    /// How many replicas must have everything.
    #[serde(default)]
    pub wait_for_replica_count: u32,
    /// Shut the server down at the end, if time allows.
    #[serde(default)]
    pub shutdown: bool,
    /// Longest time to wait for a connection, in milliseconds.
    #[serde(default = "patience")]
    #[schemars(range(min = 1))]
    pub connect_timeout_ms: u64,
}

fn yes() -> bool {
    true
}

fn save_rate() -> u32 {
    100
}

fn fence_key() -> String {
    "cloudsnooze:fence".to_owned()
}

fn patience() -> u64 {
    2000
}

/// A server, how to log in to it, and how patient to be.
pub struct Target {
    /// For the driver; holds the password.
    pub login: ConnectionInfo,
    /// How long connecting may take, log-in included.
    pub patience: Duration,
}

/// Why a configuration cannot be used.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Not a URL of Redis.
    #[error(
        "connection_string is not valid: write redis://NAME:PASSWORD@127.0.0.1:6379, \
         or unix:///run/redis/redis.sock?user=NAME&pass=PASSWORD"
    )]
    Form,
    /// This build has no TLS.
    #[error("connection_string asks for TLS, which this plugin does not have: use the unix socket or 127.0.0.1")]
    Tls,
    /// Nothing would ever fit.
    #[error("save_mb_per_second must be at least 1")]
    Rate,
    /// There would be nothing to write.
    #[error("fence_key must not be empty")]
    Fence,
}

impl Config {
    /// Reads the connection string and checks the rest.
    ///
    /// # Errors
    /// What is wrong, without any part of the connection string.
    pub fn target(&self) -> Result<Target, ConfigError> {
        if self.save_mb_per_second == 0 {
            return Err(ConfigError::Rate);
        }
        if self.fence_key.is_empty() {
            return Err(ConfigError::Fence);
        }
        let text = self.connection_string.trim();
        let is_of = |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        if is_of("rediss:") || is_of("valkeys:") {
            return Err(ConfigError::Tls);
        }
        let login = text.into_connection_info().map_err(|_| ConfigError::Form)?;
        // What is done concerns all databases, and naming the library would need one more right.
        let settings = login.redis_settings().clone().set_db(0).set_skip_set_lib_name();
        Ok(Target {
            login: login.set_redis_settings(settings),
            patience: Duration::from_millis(self.connect_timeout_ms),
        })
    }
}

impl Target {
    /// Where it listens, for people.
    pub fn address(&self) -> String {
        self.login.addr().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, ConfigError};

    fn config(text: &str) -> Config {
        serde_json::from_value(serde_json::json!({ "connection_string": text })).unwrap()
    }

    #[test]
    fn only_the_connection_string_is_needed_and_shutdown_must_be_asked_for() {
        let config = config("redis://127.0.0.1");
        assert!(config.pause_writes && config.save && config.sync_append_only_file);
        assert!(!config.shutdown && config.wait_for_replica_count == 0);
    }

    #[test]
    fn the_schema_marks_the_connection_string_as_a_secret_and_knows_no_other_keys() {
        let schema = cloudsnooze_plugin::schemars::schema_for!(Config);
        let text = serde_json::to_value(schema).unwrap();
        assert_eq!(text["properties"]["connection_string"]["writeOnly"], true);
        assert_eq!(text["additionalProperties"], false);
    }

    #[test]
    fn both_forms_are_understood_and_the_address_is_for_people() {
        let address = |text: &str| config(text).target().unwrap().address();
        assert_eq!(address("redis://u:p@127.0.0.1:6380/3"), "127.0.0.1:6380");
        assert_eq!(address("unix:///run/redis/redis.sock?user=u&pass=p"), "/run/redis/redis.sock");
    }

    #[test]
    fn what_cannot_work_is_named_without_a_part_of_the_string() {
        let cases = [
            ("", ConfigError::Form),
            ("Zq9", ConfigError::Form),
            ("http://u:Zq9@h", ConfigError::Form),
            ("redis://u:Zq9@h:port", ConfigError::Form),
            ("rediss://u:Zq9@h", ConfigError::Tls),
        ];
        for (text, error) in cases {
            assert_eq!(config(text).target().map(|target| target.address()), Err(error), "{text}");
            assert!(!error.to_string().contains("Zq9"));
        }
    }
}
