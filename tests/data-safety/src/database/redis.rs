//! Redis without an append-only file and without save points: everything is in its memory only.
//!
//! Inputs: nothing. Outputs: a [`Database`]. Must never leave a dump of an earlier round for the next start to load.

use super::{Answer, Client, Database, payload};
use ::redis::{Connection, FromRedisValue, RedisError};
use harness::redis::{MEMORY_ONLY, Redis};
use serde_json::{Value, json};

/// The rights that the plugin's README names.
const PLUGIN: &str = "ACL SETUSER snooze on >secret resetchannels -@all +info +ping +client|pause +client|unpause +bgsave \
    +config|get +config|set +set ~cloudsnooze:*";
/// Keys that are read back with one command.
const CHUNK: usize = 1_000;

/// What a loss is made of.
pub const AT_RISK: &str = "no append-only file, no save points: everything, it is in memory only";

/// The server.
pub struct Memory {
    server: Redis,
}

/// Starts the server.
///
/// # Errors
/// When it does not start.
pub fn start() -> Result<Box<dyn Database>, String> {
    Ok(Box::new(Memory { server: Redis::start(&MEMORY_ONLY)? }))
}

impl Memory {
    fn connect(&self) -> Result<Connection, RedisError> {
        ::redis::Client::open(format!("unix://{}", self.server.socket().display()))?.get_connection()
    }

    fn ask<T: FromRedisValue>(&self, words: &[&str]) -> Result<T, String> {
        let mut command = ::redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        self.connect().and_then(|mut connection| command.query(&mut connection)).map_err(|error| error.to_string())
    }
}

impl Database for Memory {
    fn version(&self) -> Result<String, String> {
        let info: ::redis::InfoDict = self.ask(&["INFO", "server"])?;
        Ok(format!("Redis {}", info.get::<String>("redis_version").unwrap_or_default()))
    }

    fn handler(&self) -> Value {
        let to = format!("redis://snooze:secret@127.0.0.1:{}", self.server.port());
        json!({ "name": "redis-flusher", "priority": 100, "timeout_seconds": 60, "config": { "connection_string": to } })
    }

    fn prepare(&mut self) -> Result<(), String> {
        // Accounts are in memory too.
        let words: Vec<&str> = PLUGIN.split_whitespace().collect();
        self.ask::<String>(&words)?;
        self.ask::<String>(&["FLUSHALL"])?;
        match std::fs::remove_file(self.server.directory().join("dump.rdb")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!("dump.rdb: {error}")),
            _ => Ok(()),
        }
    }

    fn client(&self, round: u64, connection: usize) -> Result<Box<dyn Client>, String> {
        let connected = self.connect().map_err(|error| format!("a writer cannot connect: {error}"))?;
        Ok(Box::new(Writer { connected, round, connection }))
    }

    fn kill(&mut self) -> Result<(), String> {
        self.server.kill9();
        Ok(())
    }

    fn restart(&mut self) -> Result<(), String> {
        self.server.restart()
    }

    fn there(&self, round: u64) -> Result<Vec<(usize, u64)>, String> {
        let keys: Vec<String> = self.ask(&["KEYS", &format!("{round}/*")])?;
        let mut there = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(CHUNK) {
            let words: Vec<&str> = std::iter::once("MGET").chain(chunk.iter().map(String::as_str)).collect();
            let values: Vec<String> = self.ask(&words)?;
            for (key, value) in chunk.iter().zip(values) {
                let mut parts = key.split('/').skip(1);
                let mut part = || parts.next().and_then(|part| part.parse::<u64>().ok());
                let (connection, number) =
                    part().zip(part()).ok_or_else(|| format!("a key that nobody wrote: {key}"))?;
                let connection = usize::try_from(connection).map_err(|error| error.to_string())?;
                there.push(super::as_written(round, (connection, number, value))?);
            }
        }
        Ok(there)
    }
}

struct Writer {
    connected: Connection,
    round: u64,
    connection: usize,
}

impl Client for Writer {
    fn write(&mut self, number: u64) -> Answer {
        let Self { round, connection, .. } = *self;
        let mut command = ::redis::cmd("SET");
        command.arg(format!("{round}/{connection}/{number}")).arg(payload(round, connection, number));
        match command.query::<String>(&mut self.connected) {
            Ok(_) => Answer::Acknowledged,
            Err(error) if error.is_io_error() || error.is_connection_dropped() => Answer::Gone,
            Err(_) => Answer::Refused,
        }
    }
}
