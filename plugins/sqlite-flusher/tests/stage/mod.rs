//! Applications that keep their data in SQLite, disks that forget, and what was delivered.
//!
//! Responsibilities: a writer and a reader in processes of their own, what a power failure leaves, events, answers. Inputs:
//! configurations. Outputs: results. Must never open a database in the test's process while a plugin is at it.
#![allow(dead_code, reason = "each test file uses its own part")]

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{Delivered, TestInstance, spot_interrupt};
use harness::disk::Disk;
use harness::{program, require, wait};
use serde_json::{Value, json};
use sqlite_flusher::SqliteFlusher;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Time granted where it does not matter.
pub const PLENTY: Duration = Duration::from_secs(60);
/// How long something that is bound to happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const NOTICE: &str = "cloud.spot.interrupt";
/// Debian's own, which has the module.
const PYTHON: &str = "/usr/bin/python3";

pub fn plugin(config: &Value) -> TestInstance<SqliteFlusher> {
    TestInstance::new(config).unwrap()
}

pub fn event(kind: &str) -> Value {
    let mut event = spot_interrupt();
    event["type"] = json!(kind);
    event
}

/// A file system that writes nothing out by itself for minutes; with the programs that tests need.
pub fn disk(test: &str) -> Option<Disk> {
    told(test, must_have_python().and_then(|()| Disk::new("ext4", 128, "commit=300")))
}

pub fn told<T>(test: &str, made: Result<T, String>) -> Option<T> {
    made.map_err(|error| require::missing_means_skip(&format!("{test}: {error}"))).ok()
}

pub fn must_have_python() -> Result<(), String> {
    let output = program::run(Command::new(PYTHON).args(["-c", "import sqlite3"]), PATIENCE)?;
    output.success("python3 with its module sqlite3").map(drop)
}

pub fn handled(delivered: Delivered) -> Value {
    assert_eq!((delivered.status, &delivered.error), (abi::SNOOZE_OK, &None), "{delivered:?}");
    delivered.result.unwrap()
}

/// The text of a failure of this code.
pub fn failed(delivered: &Delivered, code: abi::snooze_status) -> String {
    assert_eq!(delivered.status, code, "{delivered:?}");
    delivered.error.clone().unwrap()
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stage").join(name)
}

/// An application that writes. It syncs as it was told, and never brings its log into the database itself.
pub struct Writer {
    child: Child,
    noted: PathBuf,
}

/// How an application uses its database.
#[derive(Clone, Copy)]
pub struct Habits {
    pub synchronous: &'static str,
    pub journal: &'static str,
    pub locking: &'static str,
    /// Seconds between two rows.
    pub pause: &'static str,
}

pub const CARELESS: Habits = Habits { synchronous: "OFF", journal: "WAL", locking: "NORMAL", pause: "0.001" };
pub const USUAL: Habits = Habits { synchronous: "NORMAL", journal: "WAL", locking: "NORMAL", pause: "0.001" };

impl Writer {
    /// Starts it; what it has committed is noted in a file of the directory `notes`.
    pub fn start(database: &Path, notes: &Path, habits: Habits) -> Self {
        let noted = notes.join("noted");
        let mut command = Command::new(PYTHON);
        command.arg(script("writer.py")).arg(database).arg(&noted);
        command.args([habits.synchronous, habits.journal, habits.locking, habits.pause]).stdin(Stdio::null());
        let writer = Self { child: command.spawn().unwrap(), noted };
        writer.has_written(200);
        writer
    }

    /// The last number that was committed.
    pub fn last(&self) -> u64 {
        fs::read_to_string(&self.noted).ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default()
    }

    /// Waits until it has committed so many more.
    pub fn has_written(&self, more: u64) {
        let wanted = self.last() + more;
        wait::until("the writer", PATIENCE, || (self.last() >= wanted).then_some(())).unwrap();
    }

    /// SIGKILL; gives the last number that was committed.
    pub fn kill(mut self) -> u64 {
        program::kill_and_reap(&mut self.child);
        self.last()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        program::kill_and_reap(&mut self.child);
    }
}

/// One that keeps a snapshot.
pub struct Reader(Child);

impl Reader {
    pub fn start(database: &Path) -> Self {
        let mut command = Command::new(PYTHON);
        command.arg(script("reader.py")).arg(database).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut seen = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut seen).unwrap();
        assert!(seen.trim().parse::<u64>().is_ok(), "{seen}");
        Self(child)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        program::kill_and_reap(&mut self.0);
    }
}

/// How many rows a database has, if they are those from 1 on and it is sound; None when it cannot be used.
pub fn rows(database: &Path) -> Option<u64> {
    if !database.exists() {
        return None;
    }
    let script = "import sqlite3, sys\n\
        database = sqlite3.connect(sys.argv[1])\n\
        assert database.execute('PRAGMA integrity_check').fetchone()[0] == 'ok'\n\
        count, last = database.execute('SELECT count(*), coalesce(max(n), 0) FROM t').fetchone()\n\
        assert count == last, (count, last)\n\
        print(count)";
    let output = program::run(Command::new(PYTHON).args(["-c", script]).arg(database), PATIENCE).unwrap();
    (output.code == Some(0)).then(|| output.stdout.trim().parse().unwrap())
}

/// How many rows are found by a machine that a disk is attached to after a power failure now.
pub fn rows_after_power_failure(disk: &Disk, name: &str) -> Option<u64> {
    let copy = disk.as_after_power_failure("copy").unwrap();
    let restored = Disk::restored(&copy, "").unwrap();
    rows(&restored.join(name))
}
