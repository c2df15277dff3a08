//! MariaDB that writes its log neither at commit nor in the background.
//!
//! Inputs: a directory. Outputs: a [`Database`]. With these settings what was acknowledged since the last flush stands in the
//! server's own log buffer. Must never give the writers' account a right by which `read_only` does not hold for it.

use super::{Answer, Client, Database, payload};
use harness::mariadb::MariaDb;
use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder, Row};
use serde_json::{Value, json};
use tempfile::TempDir;

/// No flush at commit, none in the background, none because of dirty pages.
const LAZY: [&str; 3] =
    ["--innodb-flush-log-at-trx-commit=0", "--innodb-flush-log-at-timeout=2700", "--innodb-max-dirty-pages-pct=90"];
/// The writers' account and their database.
const WRITER: (&str, &str, &str) = ("writer", "word", "shop");
/// The rights that the plugin's README names.
const PLUGIN: &str = "CREATE USER snooze@'%' IDENTIFIED BY 'secret'; \
    GRANT READ_ONLY ADMIN, BINLOG ADMIN, BINLOG MONITOR, SUPER, RELOAD ON *.* TO snooze@'%'";
const TABLE: &str = "CREATE TABLE shop.ledger (round BIGINT, connection INT, number BIGINT, payload VARCHAR(200), \
    PRIMARY KEY (round, connection, number)) ENGINE=InnoDB";

/// What a loss is made of.
pub const AT_RISK: &str =
    "innodb_flush_log_at_trx_commit=0, innodb_flush_log_at_timeout=2700: what stands in the log buffer";

/// The server.
pub struct Maria {
    server: MariaDb,
    /// Removed when the server is gone.
    _directory: TempDir,
}

/// Starts the server and makes accounts and table.
///
/// # Errors
/// When it does not start or refuses.
pub fn start() -> Result<Box<dyn Database>, String> {
    let directory = tempfile::Builder::new().prefix("mariadb-").tempdir().map_err(|error| error.to_string())?;
    let server = MariaDb::start_with(directory.path(), &LAZY)?;
    server.create_user(WRITER.0, WRITER.1, WRITER.2)?;
    server.query(PLUGIN)?;
    // Accounts stand in tables that InnoDB's log does not cover; those must survive the first kill too.
    server.query(&format!("{TABLE}; FLUSH TABLES"))?;
    Ok(Box::new(Maria { server, _directory: directory }))
}

impl Database for Maria {
    fn version(&self) -> Result<String, String> {
        Ok(format!("MariaDB {}", self.server.query("SELECT VERSION()")?.trim()))
    }

    fn handler(&self) -> Value {
        let to = self.server.connection_string("snooze", "secret", "");
        json!({ "name": "mysql-flusher", "priority": 100, "timeout_seconds": 60, "config": { "connection_string": to } })
    }

    fn prepare(&mut self) -> Result<(), String> {
        self.server.query("TRUNCATE shop.ledger").map(drop)
    }

    fn client(&self, round: u64, connection: usize) -> Result<Box<dyn Client>, String> {
        let options = OptsBuilder::new().ip_or_hostname(Some("127.0.0.1")).tcp_port(self.server.port());
        let options = options.prefer_socket(false).user(Some(WRITER.0)).pass(Some(WRITER.1)).db_name(Some(WRITER.2));
        let connected = Conn::new(options).map_err(|error| format!("a writer cannot connect: {error}"))?;
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
        let failed = |error: mysql::Error| format!("cannot read back: {error}");
        let options = OptsBuilder::new().socket(Some(self.server.socket().to_string_lossy())).user(Some("root"));
        let mut root = Conn::new(options).map_err(failed)?;
        let sql = format!("SELECT connection, number, payload FROM shop.ledger WHERE round = {round}");
        let rows: Vec<(usize, u64, String)> = root.query(sql).map_err(failed)?;
        rows.into_iter().map(|row| super::as_written(round, row)).collect()
    }
}

struct Writer {
    connected: Conn,
    round: u64,
    connection: usize,
}

impl Client for Writer {
    fn write(&mut self, number: u64) -> Answer {
        let values = (self.round, self.connection, number, payload(self.round, self.connection, number));
        match self.connected.exec_first::<Row, _, _>("INSERT INTO ledger VALUES (?, ?, ?, ?)", values) {
            Ok(_) => Answer::Acknowledged,
            Err(mysql::Error::MySqlError(_)) => Answer::Refused,
            Err(_) => Answer::Gone,
        }
    }
}
