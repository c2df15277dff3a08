//! What the server says about itself: which one it is, and the state that counts for durability.
//!
//! Inputs: a [`Link`]. Outputs: [`Snapshot`]. Reads only. Source: the manual of the command INFO.

use crate::link::{Fault, Link, Watch};
use redis::InfoDict;
use serde::Serialize;
use std::fs;
use std::time::Duration;

/// A replica, as its primary knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Replica {
    /// Its address and port.
    pub address: String,
    /// `online` when it has the data set and follows.
    pub state: String,
    /// Up to where it has said to have the stream of changes.
    pub offset: u64,
}

/// The state that counts, as of one moment. What the server does not tell is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// `redis_version`; Valkey tells the version of Redis it is compatible with.
    pub version: String,
    /// Of this run of the server: another one is another run.
    pub run_id: String,
    /// Of its process.
    pub process_id: Option<u32>,
    /// `master` or `slave`.
    pub role: String,
    /// Whether there is an append-only file, which is what the next start reads then.
    pub append_only_file: bool,
    /// Whether the last write to it went well.
    pub aof_last_write_ok: Option<bool>,
    /// Bytes that wait to be written to it.
    pub aof_buffer_length: Option<u64>,
    /// Changes that the last save does not have.
    pub changes_since_last_save: Option<u64>,
    /// Whether a save is under way.
    pub save_in_progress: bool,
    /// Whether the last one went well.
    pub last_save_ok: Option<bool>,
    /// When that ended, seconds since 1970.
    pub last_save_time: Option<u64>,
    /// Saves since the start; servers before 7.0 do not count them.
    pub saves: Option<u64>,
    /// How long the last one took, seconds; None when there was none.
    pub last_save_seconds: Option<u64>,
    /// `used_memory`, bytes.
    pub used_memory: Option<u64>,
    /// Where the stream of changes to replicas ends.
    pub replication_offset: Option<u64>,
    /// Its replicas.
    pub replicas: Vec<Replica>,
}

impl Snapshot {
    /// Reads it.
    ///
    /// # Errors
    /// The refusal, or the lost connection.
    pub fn take(link: &mut Link, watch: &Watch<'_>) -> Result<Self, Fault> {
        Ok(Self::of(&link.ask::<InfoDict>(&["INFO"], watch)?))
    }

    fn of(info: &InfoDict) -> Self {
        let text = |key: &str| info.get::<String>(key).unwrap_or_default();
        // Some numbers are -1 when there is none.
        let number = |key: &str| info.get::<u64>(key);
        let is_ok = |key: &str| info.get::<String>(key).map(|value| value == "ok");
        Self {
            version: text("redis_version"),
            run_id: text("run_id"),
            process_id: info.get("process_id"),
            role: text("role"),
            append_only_file: text("aof_enabled") == "1",
            aof_last_write_ok: is_ok("aof_last_write_status"),
            aof_buffer_length: number("aof_buffer_length"),
            changes_since_last_save: number("rdb_changes_since_last_save"),
            save_in_progress: text("rdb_bgsave_in_progress") == "1",
            last_save_ok: is_ok("rdb_last_bgsave_status"),
            last_save_time: number("rdb_last_save_time"),
            saves: number("rdb_saves"),
            last_save_seconds: number("rdb_last_bgsave_time_sec"),
            used_memory: number("used_memory"),
            replication_offset: number("master_repl_offset"),
            replicas: (0..)
                .map_while(|n| info.get::<String>(&format!("slave{n}")))
                .map(|line| replica(&line))
                .collect(),
        }
    }

    /// Whether a save has ended well since `before`.
    pub fn has_saved_since(&self, before: &Self) -> bool {
        let is_newer = match (before.saves, self.saves) {
            (Some(before), Some(now)) => now > before,
            _ => self.last_save_time > before.last_save_time,
        };
        is_newer && !self.save_in_progress && self.last_save_ok == Some(true)
    }

    /// How long a save may take: as long as the last one and a half, and no less than the memory needs at this rate.
    pub fn time_to_save(&self, mb_per_second: u32) -> Duration {
        // Whole seconds: 0 may have been almost one.
        let last =
            self.last_save_seconds.map_or(0.0, |seconds| if seconds == 0 { 0.0 } else { (seconds as f64 + 1.0) * 1.3 });
        let by_size = self.used_memory.unwrap_or(0) as f64 / (f64::from(mb_per_second.max(1)) * 1e6);
        Duration::from_secs_f64(last.max(by_size))
    }

    /// How many replicas have everything up to `goal`.
    pub fn replicas_with(&self, goal: u64) -> usize {
        self.replicas.iter().filter(|replica| replica.state == "online" && replica.offset >= goal).count()
    }

    /// What its process is called; None when it cannot be seen from here.
    pub fn process_name(&self) -> Option<String> {
        let name = fs::read_to_string(format!("/proc/{}/comm", self.process_id?)).ok()?;
        // A number of another pid namespace would name some other process, or none.
        (name.contains("redis") || name.contains("valkey")).then(|| name.trim().to_owned())
    }
}

/// `ip=10.0.0.2,port=6379,state=online,offset=42,lag=0`.
fn replica(line: &str) -> Replica {
    let field =
        |name: &str| line.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default();
    Replica {
        address: format!("{} port {}", field("ip"), field("port")),
        state: field("state").to_owned(),
        offset: field("offset").parse().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::Snapshot;
    use redis::InfoDict;
    use std::time::Duration;

    const INFO: &str = "# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\nprocess_id:42\r\n# Persistence\r\n\
        rdb_changes_since_last_save:7\r\nrdb_bgsave_in_progress:0\r\nrdb_last_save_time:100\r\n\
        rdb_last_bgsave_status:ok\r\nrdb_last_bgsave_time_sec:-1\r\nrdb_saves:3\r\naof_enabled:0\r\n# Replication\r\n\
        role:master\r\nslave0:ip=10.0.0.2,port=6379,state=online,offset=42,lag=0\r\n\
        slave1:ip=10.0.0.3,port=6379,state=wait_bgsave,offset=99,lag=0\r\nmaster_repl_offset:50\r\n\
        used_memory:200000000\r\n";

    #[test]
    fn an_answer_to_info_becomes_numbers() {
        let snapshot = Snapshot::of(&InfoDict::new(INFO));
        assert_eq!((snapshot.changes_since_last_save, snapshot.saves), (Some(7), Some(3)));
        assert_eq!(snapshot.last_save_seconds, None, "-1 means none");
        assert_eq!(snapshot.replicas.len(), 2);
        assert_eq!((snapshot.replicas_with(42), snapshot.replicas_with(43)), (1, 0), "one is not online");
        assert_eq!(snapshot.time_to_save(100), Duration::from_secs(2));
        let measured = Snapshot { last_save_seconds: Some(9), ..snapshot };
        assert_eq!(measured.time_to_save(100), Duration::from_secs(13));
    }

    #[test]
    fn a_save_counts_only_when_it_is_newer_over_and_well() {
        let before = Snapshot::of(&InfoDict::new(INFO));
        assert!(!before.has_saved_since(&before));
        let saved = Snapshot { saves: Some(4), ..before.clone() };
        assert!(saved.has_saved_since(&before));
        assert!(!Snapshot { save_in_progress: true, ..saved.clone() }.has_saved_since(&before));
        assert!(!Snapshot { last_save_ok: Some(false), ..saved }.has_saved_since(&before));
        let old = Snapshot { saves: None, last_save_time: Some(101), ..before.clone() };
        assert!(old.has_saved_since(&Snapshot { saves: None, ..before }));
    }
}
