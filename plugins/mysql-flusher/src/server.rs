//! What the server says about itself: which product it is, and the state that counts for durability.
//!
//! Inputs: a [`Link`]. Outputs: [`Flavor`], [`Snapshot`]. Reads only. Sources: MariaDB's "InnoDB Status
//! Variables" (`Innodb_lsn_*`, 10.5 on), MySQL's "Server Status Variables" (`Innodb_redo_log_*`, 8.0.30
//! on), and SHOW ENGINE INNODB STATUS for everything older.

use crate::link::{Fault, Link};
use serde::Serialize;
use std::collections::HashMap;

/// Which product it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Flavor {
    /// MariaDB.
    MariaDb,
    /// MySQL and what is built from it (Percona Server).
    MySql,
}

impl Flavor {
    /// Tells the products apart by `@@version` and `@@version_comment`.
    pub fn of(version: &str, comment: &str) -> Self {
        let is_mariadb = [version, comment].iter().any(|t| t.to_lowercase().contains("mariadb"));
        if is_mariadb { Self::MariaDb } else { Self::MySql }
    }

    /// The variable that keeps even administrators' applications from writing; on MariaDB `read_only` is all there is.
    pub fn has_super_read_only(self) -> bool {
        self == Self::MySql
    }

    /// Privilege needed for `SET GLOBAL variable`. MariaDB split SUPER in 10.5 and took READ_ONLY ADMIN
    /// out of it in 10.11, but kept it for InnoDB's variables.
    pub fn privilege_to_set(self, variable: &str) -> &'static str {
        match (self, variable) {
            (Self::MySql, _) => "SYSTEM_VARIABLES_ADMIN",
            (Self::MariaDb, "read_only") => "READ_ONLY ADMIN",
            (Self::MariaDb, "sync_binlog") => "BINLOG ADMIN",
            (Self::MariaDb, _) => "SUPER",
        }
    }
}

/// A server, identified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// Which product.
    pub product: Flavor,
    /// Its `@@version`.
    pub version: String,
}

/// Asks which product it is.
///
/// # Errors
/// The refusal, or the lost connection.
pub fn identify(link: &mut Link) -> Result<Identity, Fault> {
    let mut row = link.first_row("SELECT @@version AS version, @@version_comment AS comment")?;
    let version = row.remove("version").unwrap_or_default();
    Ok(Identity { product: Flavor::of(&version, row.get("comment").map_or("", String::as_str)), version })
}

/// The state that counts, as of one moment. What could not be read is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// `Innodb_buffer_pool_pages_dirty`.
    pub dirty_pages: Option<u64>,
    /// Log sequence number written by transactions so far.
    pub lsn: Option<u64>,
    /// Up to where the redo log is durable.
    pub log_flushed_lsn: Option<u64>,
    /// Up to where the data files need no log.
    pub checkpoint_lsn: Option<u64>,
    /// File synchronisations that are under way.
    pub pending_fsyncs: Option<u64>,
    /// Whether ordinary accounts are refused to write.
    pub read_only: Option<bool>,
    /// Whether everyone is (MySQL only).
    pub super_read_only: Option<bool>,
    /// 1: every commit is durable before it is acknowledged.
    pub flush_log_at_trx_commit: Option<u64>,
    /// 1: the binary log is durable with every commit.
    pub sync_binlog: Option<u64>,
    /// Whether there is a binary log.
    pub log_bin: Option<bool>,
    /// The binary log's current file; None when there is none or it may not be read.
    pub binlog_file: Option<String>,
    /// Position in it, bytes.
    pub binlog_position: Option<u64>,
}

const STATUS: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Innodb_buffer_pool_pages_dirty','Innodb_lsn_current',\
    'Innodb_lsn_flushed','Innodb_lsn_last_checkpoint','Innodb_redo_log_current_lsn',\
    'Innodb_redo_log_flushed_to_disk_lsn','Innodb_redo_log_checkpoint_lsn','Innodb_data_pending_fsyncs',\
    'Innodb_os_log_pending_fsyncs')";

const VARIABLES: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('read_only','super_read_only',\
    'innodb_flush_log_at_trx_commit','sync_binlog','log_bin')";

impl Snapshot {
    /// Reads it. A statement that the account may not run leaves its fields empty.
    ///
    /// # Errors
    /// The lost connection, or a refusal of what every account may read.
    pub fn take(link: &mut Link, product: Flavor) -> Result<Self, Fault> {
        let status = link.pairs(STATUS)?;
        let variables = link.pairs(VARIABLES)?;
        let number = |name: &str| status.get(name).and_then(|v| v.parse().ok());
        let mut snapshot = Self {
            dirty_pages: number("innodb_buffer_pool_pages_dirty"),
            lsn: number("innodb_lsn_current").or_else(|| number("innodb_redo_log_current_lsn")),
            log_flushed_lsn: number("innodb_lsn_flushed").or_else(|| number("innodb_redo_log_flushed_to_disk_lsn")),
            checkpoint_lsn: number("innodb_lsn_last_checkpoint").or_else(|| number("innodb_redo_log_checkpoint_lsn")),
            pending_fsyncs: ["innodb_data_pending_fsyncs", "innodb_os_log_pending_fsyncs"]
                .iter()
                .filter_map(|name| number(name))
                .reduce(u64::saturating_add),
            read_only: variables.get("read_only").map(|v| is_on(v)),
            super_read_only: variables.get("super_read_only").map(|v| is_on(v)),
            flush_log_at_trx_commit: whole(&variables, "innodb_flush_log_at_trx_commit"),
            sync_binlog: whole(&variables, "sync_binlog"),
            log_bin: variables.get("log_bin").map(|v| is_on(v)),
            ..Self::default()
        };
        if snapshot.lsn.is_none() || snapshot.log_flushed_lsn.is_none() {
            let report = readable(link.first_row("SHOW ENGINE INNODB STATUS"))?;
            snapshot.read_engine_status(report.get("status").map_or("", String::as_str));
        }
        if snapshot.log_bin == Some(true) {
            let master = match (product, readable(link.first_row("SHOW MASTER STATUS"))?) {
                // MySQL 8.4 knows only the new name.
                (Flavor::MySql, row) if row.is_empty() => readable(link.first_row("SHOW BINARY LOG STATUS"))?,
                (_, row) => row,
            };
            snapshot.binlog_file = master.get("file").cloned();
            snapshot.binlog_position = whole(&master, "position");
        }
        Ok(snapshot)
    }

    /// Takes the numbers from the LOG section of SHOW ENGINE INNODB STATUS.
    fn read_engine_status(&mut self, report: &str) {
        let number = |label: &str| {
            let line = report.lines().find(|line| line.trim_start().starts_with(label))?;
            line.rsplit(' ').next()?.parse().ok()
        };
        self.lsn = self.lsn.or_else(|| number("Log sequence number"));
        self.log_flushed_lsn = self.log_flushed_lsn.or_else(|| number("Log flushed up to"));
        self.checkpoint_lsn = self.checkpoint_lsn.or_else(|| number("Last checkpoint at"));
    }
}

/// A row that the account may not read counts as an empty one; only a lost connection is an error.
fn readable(row: Result<HashMap<String, String>, Fault>) -> Result<HashMap<String, String>, Fault> {
    match row {
        Err(Fault::Refused { .. }) => Ok(HashMap::new()),
        other => other,
    }
}

fn whole(values: &HashMap<String, String>, name: &str) -> Option<u64> {
    values.get(name)?.parse().ok()
}

/// Reads a switch. MariaDB 12 gives `read_only` more values than ON, all of which refuse writers.
fn is_on(value: &str) -> bool {
    !(value == "0" || value.eq_ignore_ascii_case("OFF"))
}

/// Whether what was acknowledged before a flush is on the disk after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Durable {
    /// The log is durable beyond what had been written when the flush started, and stays so commit by commit.
    Yes,
    /// It is not.
    No,
    /// The server did not tell.
    Unknown,
}

impl Durable {
    /// Judges by the snapshots before and after the flush.
    pub fn judge(before: &Snapshot, after: &Snapshot) -> Self {
        match (before.lsn, after.log_flushed_lsn, after.flush_log_at_trx_commit) {
            (Some(start), Some(flushed), Some(at_commit)) if flushed >= start && at_commit == 1 => Self::Yes,
            (Some(_), Some(_), Some(_)) => Self::No,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Durable, Flavor, Snapshot, is_on};

    #[test]
    fn products_are_told_apart() {
        assert_eq!(Flavor::of("10.11.19-MariaDB-0+deb12u1-log", "Debian 12"), Flavor::MariaDb);
        assert_eq!(Flavor::of("11.4.2", "mariadb.org binary distribution"), Flavor::MariaDb);
        assert_eq!(Flavor::of("8.4.3", "MySQL Community Server - GPL"), Flavor::MySql);
        assert_eq!(Flavor::of("8.0.36-28", "Percona Server (GPL), Release 28"), Flavor::MySql);
    }

    #[test]
    fn the_log_section_of_an_old_server_is_read() {
        let mut snapshot = Snapshot::default();
        snapshot.read_engine_status(
            "---\nLOG\n---\nLog sequence number          20262343\nLog buffer assigned up to    20262343\n\
             Log flushed up to            20262300\nPages flushed up to          20262343\nLast checkpoint at           20262001\n",
        );
        assert_eq!(snapshot.lsn, Some(20_262_343));
        assert_eq!(snapshot.log_flushed_lsn, Some(20_262_300));
        assert_eq!(snapshot.checkpoint_lsn, Some(20_262_001));
    }

    #[test]
    fn durable_needs_the_log_past_the_start_and_commits_that_wait_for_it() {
        let before = Snapshot { lsn: Some(100), ..Snapshot::default() };
        let after = |flushed, at_commit| Snapshot {
            log_flushed_lsn: Some(flushed),
            flush_log_at_trx_commit: Some(at_commit),
            ..Snapshot::default()
        };
        assert_eq!(Durable::judge(&before, &after(100, 1)), Durable::Yes);
        assert_eq!(Durable::judge(&before, &after(99, 1)), Durable::No);
        assert_eq!(Durable::judge(&before, &after(100, 2)), Durable::No);
        assert_eq!(Durable::judge(&before, &Snapshot::default()), Durable::Unknown);
        assert_eq!(Durable::judge(&Snapshot::default(), &after(100, 1)), Durable::Unknown);
    }

    #[test]
    fn every_value_of_read_only_but_off_refuses_writers() {
        assert!(is_on("ON") && is_on("1") && is_on("NO_LOCK_NO_ADMIN"));
        assert!(!is_on("OFF") && !is_on("0"));
    }
}
