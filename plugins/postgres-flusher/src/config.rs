//! The configuration of one instance.
//! Inputs: the JSON object under `config`. Outputs: [`Config`] with its schema, [`Target`]. Must never be printed as a
//! whole, nor put any part of the connection string into an error: whatever is misplaced in it may be the password.

use cloudsnooze_plugin::schemars;
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;
use thiserror::Error;
use tokio_postgres::config::{Host, SslMode};

/// What an operator can set.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How to reach the server: `host=/run/postgresql user=snooze dbname=postgres` or
    /// `postgresql://user:pass@127.0.0.1:5432/postgres`. A secret.
    #[schemars(extend("writeOnly" = true))]
    pub connection_string: String,
    /// Write everything out with CHECKPOINT, so that the next start needs no long recovery.
    #[serde(default = "yes")]
    pub checkpoint: bool,
    /// Megabytes a second that the disk can be counted on to write; a CHECKPOINT that would take longer than there is time is
    /// not begun.
    #[serde(default = "checkpoint_rate")]
    #[schemars(range(min = 1))]
    pub checkpoint_mb_per_second: u32,
    /// Where the server's own setting lets commits not wait for the disk, make them wait (`synchronous_commit`, `fsync`). Undone
    /// when the notice is withdrawn.
    #[serde(default = "yes")]
    pub make_commits_wait: bool,
    /// Stop the intake of clients that keep to it: `default_transaction_read_only`. Undone when the notice is withdrawn.
    #[serde(default)]
    pub read_only: bool,
    /// End all other clients' sessions first.
    #[serde(default)]
    pub terminate_sessions: bool,
    /// Replicas, by `application_name`, that must have everything on their disks.
    #[serde(default)]
    pub wait_for_replicas: Vec<String>,
    /// How many replicas, whichever, must have everything on their disks.
    #[serde(default)]
    pub wait_for_replica_count: u32,
    /// Close the current WAL segment and wait until it is archived.
    #[serde(default)]
    pub archive_wal: bool,
    /// Shut the server down in an orderly way at the end, if time allows.
    #[serde(default)]
    pub shutdown: bool,
    /// Longest time to wait for a connection, in milliseconds; without it the connection string's `connect_timeout`, else 2000.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub connect_timeout_ms: Option<u64>,
}

fn yes() -> bool {
    true
}

fn checkpoint_rate() -> u32 {
    50
}

/// How long connecting may take when nothing says otherwise.
const PATIENCE: Duration = Duration::from_secs(2);

/// A server, how to log in to it, and how patient to be.
pub struct Target {
    /// For the driver; holds the password.
    pub login: tokio_postgres::Config,
    /// Where it listens, for people.
    pub address: String,
    /// How long connecting may take, log-in included.
    pub patience: Duration,
}

/// Why a configuration cannot be used.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Neither form.
    #[error(
        "connection_string is not valid: write host=/run/postgresql user=NAME dbname=postgres, \
         or postgresql://NAME:PASSWORD@127.0.0.1:5432/postgres"
    )]
    Form,
    /// No address.
    #[error("connection_string names no host: add host=/run/postgresql (a unix socket's directory) or host=127.0.0.1")]
    Host,
    /// More than one address: the one that answers may be the one that stays.
    #[error("connection_string names several hosts: name the one server on this machine")]
    Hosts,
    /// This build has no TLS.
    #[error("connection_string asks for TLS, which this plugin does not have: use the unix socket or 127.0.0.1")]
    Tls,
    /// Nothing would ever fit.
    #[error("checkpoint_mb_per_second must be at least 1")]
    Rate,
}

impl Config {
    /// Reads the connection string and checks the rest.
    ///
    /// # Errors
    /// What is wrong, without any part of the connection string.
    pub fn target(&self) -> Result<Target, ConfigError> {
        if self.checkpoint_mb_per_second == 0 {
            return Err(ConfigError::Rate);
        }
        let mut login: tokio_postgres::Config = self.connection_string.trim().parse().map_err(|_| ConfigError::Form)?;
        let places = login.get_hosts().len().max(login.get_hostaddrs().len());
        if places > 1 {
            return Err(ConfigError::Hosts);
        }
        let port = login.get_ports().first().copied().unwrap_or(5432);
        let address = match (login.get_hosts().first(), login.get_hostaddrs().first()) {
            (_, Some(address)) => format!("{address} port {port}"),
            (Some(Host::Tcp(host)), None) if !host.is_empty() => format!("{host} port {port}"),
            (Some(Host::Unix(directory)), None) => format!("{}/.s.PGSQL.{port}", directory.display()),
            _ => return Err(ConfigError::Host),
        };
        if login.get_ssl_mode() == SslMode::Require {
            return Err(ConfigError::Tls);
        }
        let given = login.get_connect_timeout().copied();
        let patience = self.connect_timeout_ms.map(Duration::from_millis).or(given).unwrap_or(PATIENCE);
        // Asking the server whether it has TLS would be one more round trip.
        login.ssl_mode(SslMode::Disable).connect_timeout(patience);
        if login.get_application_name().is_none() {
            login.application_name("cloudsnooze");
        }
        Ok(Target { login, address, patience })
    }

    /// Whether replicas are to be waited for.
    pub fn waits_for_replicas(&self) -> bool {
        self.wait_for_replica_count > 0 || !self.wait_for_replicas.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, ConfigError};
    use std::time::Duration;

    fn config(text: &str) -> Config {
        serde_json::from_value(serde_json::json!({ "connection_string": text })).unwrap()
    }

    #[test]
    fn only_the_connection_string_is_needed_and_what_disturbs_clients_must_be_asked_for() {
        let config = config("host=db");
        assert!(config.checkpoint && config.make_commits_wait);
        assert!(!config.read_only && !config.terminate_sessions && !config.shutdown && !config.archive_wal);
        assert!(!config.waits_for_replicas());
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
        let target = |text: &str| config(text).target().unwrap();
        assert_eq!(target("host=/run/postgresql user=snooze").address, "/run/postgresql/.s.PGSQL.5432");
        assert_eq!(target("postgresql://u:p@127.0.0.1:5433/postgres").address, "127.0.0.1 port 5433");
        assert_eq!(target("postgresql://u@%2Frun%2Fpostgresql/postgres").address, "/run/postgresql/.s.PGSQL.5432");
        assert_eq!(target("host=db connect_timeout=7").patience, Duration::from_secs(7));
        assert_eq!(target("host=db").patience, Duration::from_secs(2));
    }

    #[test]
    fn what_cannot_work_is_named_without_a_part_of_the_string() {
        let cases = [
            ("", ConfigError::Host),
            ("user=u password=Zq9", ConfigError::Host),
            ("Zq9", ConfigError::Form),
            ("host=a Zq9=1", ConfigError::Form),
            ("host=a port=Zq9", ConfigError::Form),
            ("host=a,b password=Zq9", ConfigError::Hosts),
            ("host=a sslmode=require password=Zq9", ConfigError::Tls),
        ];
        for (text, error) in cases {
            let found = config(text).target().map(|target| target.address);
            assert_eq!(found, Err(error), "{text}");
            assert!(!error.to_string().contains("Zq9"));
        }
    }
}
