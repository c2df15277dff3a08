//! PostgreSQL whose commits do not wait for the disk, and whose WAL writer is stopped.
//!
//! Inputs: a directory of templates. Outputs: a [`Database`]. The WAL writer hands full pages to the kernel within moments, where a
//! SIGKILL leaves them; stopped, what was acknowledged since the last flush stands in the server's own WAL buffers, as
//! what the kernel has not written is gone with a machine. Must never stop more of the server than that.

use super::{Answer, Client, Database, payload};
use harness::postgres::Postgres;
use serde_json::{Value, json};
use std::path::Path;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{NoTls, Statement};

/// Commits wait for nothing, and nobody but the WAL writer brings the log to the disk by itself.
const LAZY: &str = "synchronous_commit = off\nwal_writer_delay = 10s\nwal_buffers = 16MB\nautovacuum = off\n\
    checkpoint_timeout = 1h\nbgwriter_lru_maxpages = 0\n";
/// The table, the writers' account, and the rights that the plugin's README names.
const SETUP: &str = "CREATE TABLE ledger (round bigint, connection int, number bigint, payload text, \
    PRIMARY KEY (round, connection, number));
CREATE ROLE writer LOGIN; GRANT ALL ON ledger TO writer;
CREATE ROLE snooze LOGIN PASSWORD 'secret'; GRANT pg_checkpoint, pg_monitor TO snooze;
GRANT ALTER SYSTEM ON PARAMETER synchronous_commit, fsync TO snooze;
GRANT EXECUTE ON FUNCTION pg_reload_conf() TO snooze;";

/// What a loss is made of.
pub const AT_RISK: &str =
    "synchronous_commit=off, wal_writer_delay=10s, the WAL writer stopped: what stands in the WAL buffers";

/// The server.
pub struct Post {
    server: Postgres,
}

/// Starts the server and makes accounts and table.
///
/// # Errors
/// When it does not start or refuses.
pub fn start(templates: &Path) -> Result<Box<dyn Database>, String> {
    let server = Postgres::start(LAZY, templates)?;
    server.query(SETUP)?;
    server.query("CHECKPOINT")?;
    Ok(Box::new(Post { server }))
}

impl Database for Post {
    fn version(&self) -> Result<String, String> {
        Ok(format!("PostgreSQL {}", self.server.query("SHOW server_version")?))
    }

    fn handler(&self) -> Value {
        let to = format!("postgresql://snooze:secret@127.0.0.1:{}/postgres", self.server.port());
        json!({
            "name": "postgres-flusher", "priority": 100, "timeout_seconds": 60, "config": { "connection_string": to },
        })
    }

    fn prepare(&mut self) -> Result<(), String> {
        self.server.query("TRUNCATE ledger; CHECKPOINT")?;
        self.server.freeze_only("walwriter")
    }

    fn client(&self, round: u64, connection: usize) -> Result<Box<dyn Client>, String> {
        let failed = |error: &dyn std::fmt::Display| format!("a writer cannot connect: {error}");
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))?;
        let login = self.server.login("writer");
        let connected = runtime.block_on(async {
            let (client, driver) = tokio_postgres::connect(&login, NoTls).await?;
            tokio::spawn(driver);
            let insert = client.prepare("INSERT INTO ledger VALUES ($1, $2, $3, $4)").await?;
            Ok::<_, tokio_postgres::Error>((client, insert))
        });
        let (client, insert) = connected.map_err(|error| failed(&error))?;
        Ok(Box::new(Writer { client, insert, runtime, round, connection }))
    }

    fn kill(&mut self) -> Result<(), String> {
        self.server.kill9()
    }

    fn restart(&mut self) -> Result<(), String> {
        self.server.restart()
    }

    fn there(&self, round: u64) -> Result<Vec<(usize, u64)>, String> {
        let sql = format!("SELECT connection, number, payload FROM ledger WHERE round = {round}");
        let rows = self.server.query(&sql)?;
        let row = |line: &str| {
            let mut columns = line.splitn(3, '|');
            let mut column = || columns.next().ok_or_else(|| format!("cannot read back '{line}'"));
            let number = |text: &str| text.parse::<u64>().map_err(|error| format!("'{text}': {error}"));
            let connection = usize::try_from(number(column()?)?).map_err(|error| error.to_string())?;
            super::as_written(round, (connection, number(column()?)?, column()?.to_owned()))
        };
        rows.lines().map(row).collect()
    }
}

struct Writer {
    client: tokio_postgres::Client,
    insert: Statement,
    /// Drives the connection while a write waits for its answer.
    runtime: Runtime,
    round: u64,
    connection: usize,
}

impl Client for Writer {
    fn write(&mut self, number: u64) -> Answer {
        let text = payload(self.round, self.connection, number);
        let (Ok(round), Ok(connection), Ok(number)) =
            (i64::try_from(self.round), i32::try_from(self.connection), i64::try_from(number))
        else {
            return Answer::Gone;
        };
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] = [&round, &connection, &number, &text];
        match self.runtime.block_on(self.client.execute(&self.insert, &values)) {
            Ok(_) => Answer::Acknowledged,
            Err(error) if error.as_db_error().is_some() && !self.client.is_closed() => Answer::Refused,
            Err(_) => Answer::Gone,
        }
    }
}
