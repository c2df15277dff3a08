//! Waiting for others to have the log: replicas, and the archive.
//!
//! Inputs: a [`Work`], for whom and how long. Outputs: what the server says about them at the end, as evidence, and whether
//! they have it. Must never take a statement that went through for an answer of theirs.

use crate::link::{Fault, Row};
use crate::steps::Work;
use cloudsnooze_plugin::serde_json::{Value, json};
use std::time::Duration;

/// How often the server is asked how far they are.
const POLL: Duration = Duration::from_millis(20);

const REPLICAS: &str = "SELECT application_name AS name, state, (flush_lsn - '0/0'::pg_lsn)::text AS flushed \
    FROM pg_stat_replication ORDER BY application_name";

const ARCHIVER: &str = "SELECT last_archived_wal AS archived, failed_count::text AS failed, last_failed_wal AS last_failed \
    FROM pg_stat_archiver";

/// One row on a replica, none elsewhere.
const RECOVERY: &str = "SELECT true AS replica WHERE pg_is_in_recovery()";

/// What was found at the end of a wait.
pub struct Waited {
    /// For the report.
    pub evidence: Value,
    /// Whether what was waited for has come.
    pub has_come: bool,
}

impl Work<'_> {
    /// Waits until all replicas named, and `count` of any, have the log on their disks up to `goal`.
    ///
    /// # Errors
    /// The lost connection, or the end of the time.
    pub fn wait_for_replicas(
        &mut self,
        names: &[String],
        count: u32,
        goal: u64,
        limit: Duration,
    ) -> Result<Waited, Fault> {
        let step = "wait_for_replicas";
        let watch = self.watch.at_most(limit);
        loop {
            let rows = self.link.rows(REPLICAS, &self.watch)?;
            let missing = missing(&rows, names, count, goal);
            let is_over = !missing.is_empty() && !watch.pause(POLL);
            if !missing.is_empty() && !is_over {
                continue;
            }
            let has_come = missing.is_empty();
            if !has_come {
                let hint = if rows.iter().any(|row| row.contains_key("flushed")) || rows.is_empty() {
                    ""
                } else {
                    "; no position can be read: it may need GRANT pg_monitor TO this account"
                };
                self.skip(step, format!("{}{hint}", missing.join("; ")));
            }
            self.finish(step, has_come);
            return Ok(Waited { evidence: json!({ "goal_lsn": goal, "replicas": rows }), has_come });
        }
    }

    /// Closes the current segment and waits until the archiver has it.
    ///
    /// # Errors
    /// The lost connection, or the end of the time.
    pub fn archive_wal(&mut self, limit: Duration) -> Result<Waited, Fault> {
        let step = "archive_wal";
        let nothing = Waited { evidence: Value::Null, has_come: false };
        let mode = self.link.row("SELECT current_setting('archive_mode') AS mode", &self.watch)?;
        if mode.get("mode").is_none_or(|mode| mode == "off") {
            self.skip(step, "the server's archive_mode is off: set archive_wal to false, or switch it on".to_owned());
            return Ok(nothing);
        }
        let before = self.link.row(ARCHIVER, &self.watch)?;
        if mode.get("mode").is_some_and(|mode| mode == "on")
            && self.link.row(RECOVERY, &self.watch)?.contains_key("replica")
        {
            self.skip(step, "this is a replica: its primary archives".to_owned());
            return Ok(Waited { has_come: true, ..nothing });
        }
        let outcome = self.link.row("SELECT pg_walfile_name(pg_switch_wal()) AS segment", &self.watch);
        let Some(row) = self.note(step, "EXECUTE ON FUNCTION pg_switch_wal() TO", outcome)? else { return Ok(nothing) };
        let segment = row.get("segment").cloned().unwrap_or_default();
        let watch = self.watch.at_most(limit);
        let (now, has_come) = loop {
            let now = self.link.row(ARCHIVER, &self.watch)?;
            let has_come = now.get("archived").is_some_and(|archived| includes(archived, &segment));
            if has_come || !watch.pause(POLL) {
                break (now, has_come);
            }
        };
        if !has_come {
            let what = if now.get("failed") == before.get("failed") {
                "was not archived in time"
            } else {
                "was not archived: the server's archive_command failed, its log says why"
            };
            self.skip(step, format!("{segment} {what}"));
        }
        self.finish(step, has_come);
        Ok(Waited { evidence: json!({ "segment": segment, "before": before, "after": now }), has_come })
    }
}

/// What is missing, one sentence each.
fn missing(rows: &[Row], names: &[String], count: u32, goal: u64) -> Vec<String> {
    let flushed = |row: &Row| row.get("flushed").and_then(|value| value.parse::<u64>().ok());
    let mut missing = Vec::new();
    for name in names {
        let theirs = rows.iter().filter(|row| row.get("name") == Some(name)).filter_map(flushed).max();
        match theirs {
            Some(at) if at >= goal => {}
            Some(at) => missing.push(format!("replica {name} is {} bytes behind", goal.saturating_sub(at))),
            None => missing.push(format!("replica {name} is not connected")),
        }
    }
    let have = rows.iter().filter_map(flushed).filter(|at| *at >= goal).count();
    if u32::try_from(have).unwrap_or(u32::MAX) < count {
        missing.push(format!("{have} of {count} replicas have everything on their disks"));
    }
    missing
}

/// Whether the archive, whose last file this is, has the segment. Names are timeline, then position: 8 and 16 hexadecimal
/// digits. Files with an ending (`.history`, `.backup`) are archived too.
fn includes(archived: &str, segment: &str) -> bool {
    match (archived.get(8..24), segment.get(8..24)) {
        (Some(last), Some(wanted)) => last >= wanted,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Row, includes, missing};

    fn replica(name: &str, flushed: Option<&str>) -> Row {
        let columns = [("name", Some(name)), ("flushed", flushed)];
        columns.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))).collect()
    }

    #[test]
    fn who_is_missing_and_how_far_behind_is_said() {
        let rows = [replica("a", Some("100")), replica("b", Some("60")), replica("c", None)];
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(missing(&rows, &names(&["a"]), 1, 100).is_empty());
        assert_eq!(missing(&rows, &names(&["b"]), 0, 100), ["replica b is 40 bytes behind"]);
        assert_eq!(missing(&rows, &names(&["c"]), 0, 100), ["replica c is not connected"]);
        assert_eq!(missing(&rows, &[], 2, 100), ["1 of 2 replicas have everything on their disks"]);
        assert!(missing(&rows, &[], 2, 60).is_empty());
    }

    #[test]
    fn a_later_segment_and_one_of_another_timeline_include_an_earlier_one() {
        let segment = "000000010000000A000000FE";
        assert!(includes(segment, segment));
        assert!(includes("000000010000000A000000FF", segment));
        assert!(includes("000000020000000B00000000", segment));
        assert!(includes("000000010000000A000000FE.00000028.backup", segment));
        assert!(!includes("000000010000000A000000FD", segment));
        assert!(!includes("00000002.history", segment) && !includes("", segment));
    }
}
