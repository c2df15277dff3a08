//! The configuration of one instance.
//! Inputs: the JSON object under `config`. Outputs: [`Config`] with its schema. Must never be printed
//! as a whole: the connection string holds a password.

use cloudsnooze_plugin::schemars;
use schemars::JsonSchema;
use serde::Deserialize;

/// What an operator can set.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How to reach the server: `user:pass@tcp(localhost:3306)/db`, `user:pass@unix(/run/mysqld/mysqld.sock)/`
    /// or `mysql://user:pass@host/db?socket=/path`. A secret.
    #[schemars(extend("writeOnly" = true))]
    pub connection_string: String,
    /// Stop intake first: `super_read_only` on MySQL, `read_only` on MariaDB. Undone when the notice is withdrawn.
    #[serde(default = "yes")]
    pub read_only: bool,
    /// Make the redo log and the binary log durable: commit and binary log synchronisation set to 1, then flushed.
    #[serde(default = "yes")]
    pub flush_logs: bool,
    /// Write out the dirty pages of the buffer pool, so that the next start needs no long recovery.
    #[serde(default = "yes")]
    pub flush_dirty_pages: bool,
    /// I/O operations per second (`innodb_io_capacity`) the server may use while it writes out dirty pages.
    #[serde(default = "io_capacity")]
    #[schemars(range(min = 100))]
    pub flush_io_capacity: u32,
    /// Save the list of the buffer pool's pages, so that the next start can warm up.
    #[serde(default = "yes")]
    pub dump_buffer_pool: bool,
    /// Shut the server down in an orderly way at the end, if time allows.
    #[serde(default)]
    pub shutdown: bool,
    /// Longest time to wait for a connection, in milliseconds; without it the connection string's `timeout`, else 2000.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub connect_timeout_ms: Option<u64>,
}

fn yes() -> bool {
    true
}

fn io_capacity() -> u32 {
    20_000
}

#[cfg(test)]
mod tests {
    use super::Config;

    #[test]
    fn only_the_connection_string_is_needed_and_shutdown_must_be_asked_for() {
        let config: Config = serde_json::from_str(r#"{"connection_string":"root@tcp(db)/"}"#).unwrap();
        assert!(config.read_only && config.flush_logs && config.flush_dirty_pages && config.dump_buffer_pool);
        assert!(!config.shutdown);
    }

    #[test]
    fn the_schema_marks_the_connection_string_as_a_secret() {
        let schema = cloudsnooze_plugin::schemars::schema_for!(Config);
        let text = serde_json::to_value(schema).unwrap();
        assert_eq!(text["properties"]["connection_string"]["writeOnly"], true);
    }
}
