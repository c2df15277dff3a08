//! The plugin against a real PostgreSQL server.
//!
//! Responsibilities: start a private server, or say loudly that it cannot be; make the table and the accounts of the tests.
//! Inputs: lines for its configuration. Outputs: a [`Postgres`] whose `Drop` leaves no process and no file behind, also
//! after a panic.
#![allow(dead_code, reason = "each test file uses its own part")]

use cloudsnooze_plugin::testing::TestInstance;
use harness::postgres;
use harness::require::missing_means_skip;
use postgres_flusher::PostgresFlusher;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How long a start, or an end, may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Time for a call that is in no hurry.
pub const PLENTY: Duration = Duration::from_secs(40);

/// Under these the server brings nothing to the disk by itself while its WAL writer is frozen.
pub const LAZY: &str = "synchronous_commit = off\nautovacuum = off\ncheckpoint_timeout = 1h\n";

/// A server. Dropping it kills it and removes its files.
pub struct Postgres(postgres::Postgres);

impl Postgres {
    /// A replica of this server, streaming from it under this name.
    pub fn replica(&self, name: &str) -> Self {
        Self(self.0.replica(name).unwrap())
    }

    /// Starts it again, on the same data and the same addresses, after it ended.
    pub fn start_again(&mut self) {
        self.0.restart().unwrap();
    }

    /// Kills it as a loss of the machine would, except that the kernel's cache survives.
    pub fn kill(&mut self) {
        self.0.kill9().unwrap();
    }

    /// Whether its postmaster has ended.
    pub fn has_ended(&mut self) -> bool {
        self.0.has_ended()
    }

    /// Stops all of it in its tracks; its sockets stay open.
    pub fn freeze(&self) {
        self.0.freeze().unwrap();
    }

    /// Stops only the processes whose title has these words.
    pub fn freeze_only(&self, title: &str) {
        self.0.freeze_only(title).unwrap();
    }

    /// Lets all of it go on.
    pub fn thaw(&self) {
        self.0.thaw();
    }

    /// Its TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.0.port()
    }

    /// The rows as text, columns separated by `|`, asked by the superuser.
    pub fn ask(&self, sql: &str) -> String {
        self.0.query(sql).unwrap()
    }

    /// Runs SQL as this account over the socket, in one session, each statement a transaction; gives what was told for each.
    pub fn run_as(&self, user: &str, sql: &str) -> Result<String, String> {
        self.0.query_as(user, sql)
    }

    /// The client as this account over the socket, waiting for input.
    pub fn psql(&self, user: &str) -> Command {
        self.0.client(user).unwrap()
    }

    /// A number, asked by the superuser.
    pub fn number(&self, sql: &str) -> u64 {
        self.ask(&format!("SELECT ({sql})::bigint")).parse().unwrap()
    }

    /// Where the log ends, and up to where it is on the disk.
    pub fn wal(&self) -> (u64, u64) {
        (self.number("pg_current_wal_insert_lsn() - '0/0'"), self.number("pg_current_wal_flush_lsn() - '0/0'"))
    }

    /// How much log a start would have to read now, bytes.
    pub fn redo_distance(&self) -> u64 {
        self.number("SELECT pg_current_wal_insert_lsn() - redo_lsn FROM pg_control_checkpoint()")
    }

    /// Makes a table, an ordinary account that may write to it, and the plugin's with the rights its README names.
    pub fn make_shop(&self) {
        self.ask(
            "CREATE TABLE orders (id int PRIMARY KEY, text text); CREATE ROLE app LOGIN; GRANT ALL ON orders TO app; \
             CREATE ROLE snooze LOGIN PASSWORD 'secret-word'; GRANT pg_checkpoint, pg_monitor TO snooze;",
        );
    }

    /// Inserts rows as the ordinary account, each a transaction of its own; gives how many were acknowledged.
    pub fn order(&self, first: usize, count: usize) -> usize {
        let rows = (first..first + count).map(|id| format!("INSERT INTO orders VALUES ({id}, repeat('x', 200));\n"));
        let told = self.run_as("app", &rows.collect::<String>()).unwrap();
        told.lines().filter(|line| *line == "INSERT 0 1").count()
    }

    /// Inserts many rows in one transaction, about 15 MB of log for 40,000.
    pub fn order_many(&self, first: usize, count: usize) {
        let last = first + count - 1;
        self.ask(&format!("INSERT INTO orders SELECT i, repeat('x', 200) FROM generate_series({first}, {last}) i"));
    }

    /// Rows in the table.
    pub fn rows(&self) -> usize {
        self.ask("SELECT count(*) FROM orders").parse().unwrap()
    }

    /// The settings that ALTER SYSTEM has left on the disk.
    pub fn auto_file(&self) -> String {
        let text = fs::read_to_string(self.0.directory().join("data/postgresql.auto.conf")).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).collect()
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.0.log()
    }

    /// A plugin that reaches it over the socket as the superuser, with more configuration.
    pub fn plugin(&self, more: &Value) -> TestInstance<PostgresFlusher> {
        plugin(&self.0.login("postgres"), more)
    }

    /// A plugin that reaches it over TCP with a password, and with the rights that the README names.
    pub fn modest_plugin(&self, more: &Value) -> TestInstance<PostgresFlusher> {
        plugin(&format!("postgresql://snooze:secret-word@127.0.0.1:{}/postgres", self.port()), more)
    }
}

/// A started server, or None and a loud word about it.
pub fn start_or_say(lines: &str) -> Option<Postgres> {
    if let Some(package) = postgres::missing() {
        missing_means_skip(&format!("a test against PostgreSQL: install {package}"));
        return None;
    }
    Some(Postgres(postgres::Postgres::start(lines, Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap()))
}

/// A plugin instance with this connection string and more configuration.
pub fn plugin(connection_string: &str, more: &Value) -> TestInstance<PostgresFlusher> {
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
