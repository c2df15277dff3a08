//! The plugin against a real Redis server.
//!
//! Responsibilities: start a private server, or say loudly that it cannot be; ask it things and write to it. Inputs: options of
//! the server. Outputs: a [`Redis`] whose `Drop` leaves no process and no file behind, also after a panic.
#![allow(dead_code, reason = "each test file uses its own part")]

use cloudsnooze_plugin::testing::TestInstance;
use harness::require::missing_means_skip;
use redis::{Connection, FromRedisValue, InfoDict, RedisResult};
use redis_flusher::RedisFlusher;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

pub use harness::redis::MEMORY_ONLY;

/// How long a start, or an end, may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Time for a call that is in no hurry.
pub const PLENTY: Duration = Duration::from_secs(40);

/// The rights that the README names.
const RIGHTS: &str = "on >secret-word resetchannels -@all ~cloudsnooze:* +info +ping +set +client|pause +client|unpause \
    +config|get +config|set +bgsave +shutdown";

/// A server. Dropping it kills it and removes its files.
pub struct Redis(harness::redis::Redis);

impl Redis {
    /// Starts it again, on the same data and the same addresses, after it ended.
    pub fn start_again(&mut self) {
        self.0.restart().unwrap();
    }

    /// Kills it as a loss of the machine would, except that the kernel's cache survives.
    pub fn kill(&mut self) {
        self.0.kill9();
    }

    /// Whether its process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.0.has_ended()
    }

    /// Stops it in its tracks; its sockets stay open.
    pub fn freeze(&self) {
        self.0.freeze().unwrap();
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.0.thaw();
    }

    /// Everything of it: data, socket, log.
    pub fn directory(&self) -> &Path {
        self.0.directory()
    }

    /// Its TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.0.port()
    }

    /// A connection over the socket with every right.
    pub fn connect(&self) -> RedisResult<Connection> {
        redis::Client::open(self.socket_url())?.get_connection_with_timeout(PATIENCE)
    }

    /// The answer to a command, asked with every right.
    pub fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query(&mut self.connect().unwrap()).unwrap()
    }

    /// A number of INFO.
    pub fn info(&self, name: &str) -> i64 {
        self.ask::<InfoDict>(&["INFO"]).get(name).unwrap_or_else(|| panic!("no {name}"))
    }

    /// A setting.
    pub fn setting(&self, name: &str) -> String {
        self.ask::<Vec<String>>(&["CONFIG", "GET", name]).remove(1)
    }

    /// Sets that many keys, each acknowledged before the next.
    pub fn write(&self, first: usize, count: usize) {
        let mut connection = self.connect().unwrap();
        for id in first..first + count {
            let told: String =
                redis::cmd("SET").arg(format!("key:{id}")).arg("x".repeat(100)).query(&mut connection).unwrap();
            assert_eq!(told, "OK");
        }
    }

    /// What becomes of one more write: its answer, or that there was none within half a second.
    pub fn try_to_write(&self, key: &str) -> RedisResult<String> {
        let mut connection = self.connect()?;
        connection.set_read_timeout(Some(Duration::from_millis(500)))?;
        redis::cmd("SET").arg(key).arg("x").query(&mut connection)
    }

    /// Keys there are, but for the plugin's own.
    pub fn keys(&self) -> usize {
        self.ask::<Vec<String>>(&["KEYS", "key:*"]).len()
    }

    /// Makes an account with the rights that the README names.
    pub fn make_account(&self) {
        let words: Vec<&str> = ["ACL", "SETUSER", "snooze"].into_iter().chain(RIGHTS.split_whitespace()).collect();
        self.ask::<String>(&words);
    }

    /// How to reach it over the socket with every right.
    pub fn socket_url(&self) -> String {
        format!("unix://{}", self.0.socket().display())
    }

    /// A plugin that reaches it over the socket with every right, with more configuration.
    pub fn plugin(&self, more: &Value) -> TestInstance<RedisFlusher> {
        plugin(&self.socket_url(), more)
    }

    /// A plugin that reaches it over TCP with the rights that the README names.
    pub fn modest_plugin(&self, more: &Value) -> TestInstance<RedisFlusher> {
        plugin(&format!("redis://snooze:secret-word@127.0.0.1:{}", self.port()), more)
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.0.log()
    }
}

/// A started server, or None and a loud word about it.
pub fn start_or_say(options: &[&str]) -> Option<Redis> {
    if let Some(package) = harness::redis::missing() {
        missing_means_skip(&format!("a test against Redis: install {package}"));
        return None;
    }
    Some(Redis(harness::redis::Redis::start(options).unwrap()))
}

/// A plugin instance with this connection string and more configuration.
pub fn plugin(connection_string: &str, more: &Value) -> TestInstance<RedisFlusher> {
    let mut config = json!({ "connection_string": connection_string });
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    TestInstance::new(&config).unwrap()
}

/// An event of this type.
pub fn event(kind: &str) -> Value {
    let mut event = cloudsnooze_plugin::testing::spot_interrupt();
    event["type"] = json!(kind);
    event
}
