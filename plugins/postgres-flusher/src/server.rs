//! What the server says about itself: which version it is, and the state that counts for durability.
//!
//! Inputs: a [`Link`]. Outputs: [`Identity`], [`Snapshot`], the verdict on both. Reads only. Positions in the write-ahead log
//! are given in bytes since its beginning. Sources: PostgreSQL's manual, "System Administration Functions" and "Monitoring
//! Database Activity".

use crate::link::{Fault, Link, Row, Watch};
use serde::Serialize;

/// A server, identified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// Its `server_version`.
    pub version: String,
    /// When its postmaster started: another one is another server.
    pub started: String,
    /// Where its data are; None when the account may not know (`pg_read_all_settings`, part of `pg_monitor`).
    pub data_directory: Option<String>,
}

impl Identity {
    /// Asks for it.
    ///
    /// # Errors
    /// The refusal, or the lost connection.
    pub fn ask(link: &mut Link, watch: &Watch<'_>) -> Result<Self, Fault> {
        let mut row = link.row(
            "SELECT current_setting('server_version') AS version, pg_postmaster_start_time()::text AS started, \
             (SELECT setting FROM pg_settings WHERE name = 'data_directory') AS data_directory",
            watch,
        )?;
        Ok(Self {
            version: row.remove("version").unwrap_or_default(),
            started: row.remove("started").unwrap_or_default(),
            data_directory: row.remove("data_directory"),
        })
    }
}

/// The state that counts, as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Whether it is a replica, which writes no log of its own.
    pub in_recovery: bool,
    /// Up to where the log is written by transactions; on a replica, received.
    pub wal_inserted: Option<u64>,
    /// Up to where it is on the disk.
    pub wal_flushed: Option<u64>,
    /// From where the next start would have to read it.
    pub redo_from: Option<u64>,
    /// How much that would be, bytes.
    pub redo_distance_bytes: Option<u64>,
    /// `off`: commits are acknowledged before they are on the disk. Sessions may set another value.
    pub synchronous_commit: Option<String>,
    /// `off`: nothing is ever brought to the disk, only to the kernel.
    pub fsync: Option<String>,
    /// Whether new transactions are read-only unless they ask to write.
    pub default_transaction_read_only: Option<String>,
    /// Sessions of other clients.
    pub client_sessions: Option<u64>,
    /// `shared_buffers`, bytes: the most that CHECKPOINT can have to write.
    pub shared_buffers_bytes: Option<u64>,
}

/// `reset_val` is the server's own value, whatever this session has set for itself.
const STATE: &str = "WITH r AS (SELECT pg_is_in_recovery() AS r), \
    l AS (SELECT CASE WHEN r THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_insert_lsn() END AS inserted, \
                 CASE WHEN r THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_flush_lsn() END AS flushed, r FROM r), \
    s AS (SELECT name, reset_val, setting FROM pg_settings) \
    SELECT r AS in_recovery, (inserted - '0/0'::pg_lsn)::text AS inserted, (flushed - '0/0'::pg_lsn)::text AS flushed, \
    (redo_lsn - '0/0'::pg_lsn)::text AS redo, \
    (SELECT reset_val FROM s WHERE name = 'synchronous_commit') AS synchronous_commit, \
    (SELECT reset_val FROM s WHERE name = 'fsync') AS fsync, \
    (SELECT reset_val FROM s WHERE name = 'default_transaction_read_only') AS read_only, \
    (SELECT (setting::bigint * current_setting('block_size')::bigint)::text FROM s WHERE name = 'shared_buffers') AS buffers, \
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()) AS sessions \
    FROM l, pg_control_checkpoint()";

impl Snapshot {
    /// Reads it.
    ///
    /// # Errors
    /// The refusal, or the lost connection.
    pub fn take(link: &mut Link, watch: &Watch<'_>) -> Result<Self, Fault> {
        Ok(Self::of(&link.row(STATE, watch)?))
    }

    fn of(row: &Row) -> Self {
        let number = |name: &str| row.get(name).and_then(|value| value.parse().ok());
        let (wal_inserted, redo_from) = (number("inserted"), number("redo"));
        Self {
            in_recovery: row.get("in_recovery").is_some_and(|value| value == "t"),
            wal_inserted,
            wal_flushed: number("flushed"),
            redo_from,
            redo_distance_bytes: wal_inserted.zip(redo_from).map(|(end, start): (u64, u64)| end.saturating_sub(start)),
            synchronous_commit: row.get("synchronous_commit").cloned(),
            fsync: row.get("fsync").cloned(),
            default_transaction_read_only: row.get("read_only").cloned(),
            client_sessions: number("sessions"),
            shared_buffers_bytes: number("buffers"),
        }
    }

    /// The most that CHECKPOINT can have to write. Pages that were changed since the last one are in the log as a whole, so
    /// that the log since then is no smaller than they are.
    pub fn bytes_to_write(&self) -> Option<u64> {
        Some(self.redo_distance_bytes?.min(self.shared_buffers_bytes.unwrap_or(u64::MAX)))
    }

    /// Whether the server brings what it writes to the disk at all.
    pub fn syncs(&self) -> bool {
        self.fsync.as_deref() == Some("on")
    }
}

/// Whether what was acknowledged before a moment is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Durable {
    /// The log is on the disk up to that moment.
    Yes,
    /// It is not, or only in the kernel's memory.
    No,
    /// The server did not tell.
    Unknown,
}

impl Durable {
    /// Judges by the log's end as of the moment (`goal`) and the state later. `was_synced` says that files which the server wrote
    /// without bringing them to the disk were brought there by other means.
    pub fn judge(goal: Option<u64>, after: &Snapshot, was_synced: bool) -> Self {
        match (goal, after.wal_flushed) {
            // A replica that has received nothing has acknowledged nothing.
            (None, _) if after.in_recovery => Self::Yes,
            (Some(goal), Some(flushed)) if flushed >= goal && after.syncs() && was_synced => Self::Yes,
            (Some(_), Some(_)) => Self::No,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Durable, Row, Snapshot};

    fn row(pairs: &[(&str, &str)]) -> Row {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_servers_answer_becomes_numbers() {
        let answer =
            [("in_recovery", "f"), ("inserted", "5000"), ("flushed", "4000"), ("redo", "1000"), ("fsync", "on")];
        let snapshot = Snapshot::of(&row(&answer));
        assert_eq!((snapshot.wal_inserted, snapshot.wal_flushed), (Some(5000), Some(4000)));
        assert_eq!(snapshot.redo_distance_bytes, Some(4000));
        assert!(!snapshot.in_recovery && snapshot.syncs());
        assert_eq!(Snapshot::of(&row(&[])).bytes_to_write(), None);
    }

    #[test]
    fn a_checkpoint_writes_no_more_than_the_log_since_the_last_one_and_than_the_buffers() {
        let written = |redo, buffers| {
            let snapshot = Snapshot { redo_distance_bytes: redo, shared_buffers_bytes: buffers, ..Snapshot::default() };
            snapshot.bytes_to_write()
        };
        assert_eq!(written(Some(10), Some(20)), Some(10));
        assert_eq!(written(Some(30), Some(20)), Some(20));
        assert_eq!(written(Some(30), None), Some(30));
    }

    #[test]
    fn durable_needs_the_log_at_the_goal_and_a_server_that_syncs() {
        let after = |flushed, fsync: &str| Snapshot {
            wal_flushed: Some(flushed),
            fsync: Some(fsync.to_owned()),
            ..Snapshot::default()
        };
        assert_eq!(Durable::judge(Some(100), &after(100, "on"), true), Durable::Yes);
        assert_eq!(Durable::judge(Some(100), &after(99, "on"), true), Durable::No);
        assert_eq!(Durable::judge(Some(100), &after(100, "off"), true), Durable::No);
        assert_eq!(Durable::judge(Some(100), &after(100, "on"), false), Durable::No);
        assert_eq!(Durable::judge(None, &after(100, "on"), true), Durable::Unknown);
        assert_eq!(Durable::judge(Some(100), &Snapshot::default(), true), Durable::Unknown);
        let replica = Snapshot { in_recovery: true, ..Snapshot::default() };
        assert_eq!(Durable::judge(None, &replica, true), Durable::Yes);
    }
}
