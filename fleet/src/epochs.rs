//! What a member must not forget over a crash: the highest epoch it has seen, and what it has begun and ended.
//!
//! Responsibilities: the record in memory, its form on the disk, whole at every moment. Inputs: epochs, begun and ended actions.
//! Outputs: what was begun before, bytes to save; a file. Saving blocks: it must never be called on the runtime's thread.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::told::Outcome;

/// The file in the state directory.
const FILE: &str = "fleet.json";
/// The most actions that are remembered: those of the newest operations.
const MAX_ACTIONS: usize = 256;
/// The most bytes of a file that is read.
const MAX_FILE: u64 = 4 << 20;

/// One thing that this member did, or does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Action {
    /// What the owner ends it with.
    pub(crate) event: Uuid,
    /// The operation and its pass; `None` where it was begun alone and no plan gave it a turn since.
    pub(crate) turn: Option<(Uuid, usize)>,
    /// The epoch of the leader; 0 where it was begun alone.
    pub(crate) epoch: u64,
    /// Begun without a directive.
    pub(crate) alone: bool,
    /// How it ended.
    pub(crate) outcome: Option<Outcome>,
    /// Whether the servers have the acknowledgement.
    pub(crate) acknowledged: bool,
}

/// The record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Another group's epochs say nothing.
    pub(crate) group: String,
    /// The highest epoch seen.
    pub(crate) highest: u64,
    /// The last event of the servers' store that was read.
    pub(crate) sequence: Option<u64>,
    /// How long the own work took when it was last measured, in seconds.
    pub(crate) work_seconds: Option<f64>,
    /// The last operation that was seen to be over.
    pub(crate) completed: Option<Uuid>,
    /// The oldest first.
    pub(crate) actions: Vec<Action>,
}

impl Record {
    /// What was begun for a notice.
    pub(crate) fn of_event(&self, event: Uuid) -> Option<&Action> {
        self.actions.iter().rev().find(|action| action.event == event)
    }

    /// What was begun in a pass.
    pub(crate) fn of_turn(&self, operation: Uuid, pass: usize) -> Option<&Action> {
        self.actions.iter().rev().find(|action| action.turn == Some((operation, pass)))
    }

    /// The turn that was begun last, while its work goes on.
    pub(crate) fn acts(&self) -> Option<(Uuid, usize)> {
        self.actions.iter().rev().filter(|action| action.outcome.is_none()).find_map(|action| action.turn)
    }

    /// Forgets what was written down, and not begun after all.
    pub(crate) fn forget(&mut self, event: Uuid) {
        self.actions.retain(|action| action.event != event);
    }

    /// Begins an action; false when the notice was begun before, which changes nothing.
    pub(crate) fn begin(&mut self, event: Uuid, turn: Option<(Uuid, usize)>, epoch: u64) -> bool {
        if self.of_event(event).is_some() {
            return false;
        }
        // What is not over, or not acknowledged, is what must not be forgotten.
        if self.actions.len() >= MAX_ACTIONS {
            let oldest = self.actions.iter().position(|action| action.acknowledged || action.alone).unwrap_or(0);
            self.actions.remove(oldest);
        }
        self.actions.push(Action { event, turn, epoch, alone: turn.is_none(), outcome: None, acknowledged: false });
        true
    }

    /// A plan gives a turn to what was begun before. Says whether that is new.
    pub(crate) fn attach(&mut self, event: Uuid, operation: Uuid, pass: usize) -> bool {
        match self.of_event_mut(event) {
            Some(action) if action.turn != Some((operation, pass)) => {
                action.turn = Some((operation, pass));
                action.acknowledged = false;
                true
            }
            _ => false,
        }
    }

    /// Ends an action. False when it was not begun, or has ended: the first end counts.
    pub(crate) fn finish(&mut self, event: Uuid, outcome: Outcome) -> bool {
        match self.of_event_mut(event).filter(|action| action.outcome.is_none()) {
            Some(action) => {
                action.outcome = Some(outcome);
                true
            }
            None => false,
        }
    }

    /// The servers have the acknowledgement of this pass, or nobody waits for it any more.
    pub(crate) fn acknowledged(&mut self, operation: Uuid, pass: usize, is: bool) {
        for action in self.actions.iter_mut().filter(|action| action.turn == Some((operation, pass))) {
            action.acknowledged = is;
        }
    }

    /// The ends that the servers do not have: of actions that a plan gave a turn.
    pub(crate) fn unacknowledged(&self) -> impl Iterator<Item = (&Action, Uuid, usize)> {
        self.actions
            .iter()
            .filter(|action| action.outcome.is_some() && !action.acknowledged)
            .filter_map(|action| action.turn.map(|(operation, pass)| (action, operation, pass)))
    }

    /// As it is saved.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn of_event_mut(&mut self, event: Uuid) -> Option<&mut Action> {
        self.actions.iter_mut().rev().find(|action| action.event == event)
    }
}

/// Reads the record of this group, or an empty one where there is none; with it what was wrong, in a sentence. A file that cannot be
/// understood is put aside as `fleet.json.broken`. Blocks.
pub(crate) fn load(directory: &Path, group: &str) -> (Record, Option<String>) {
    let fresh = || Record { group: group.to_owned(), ..Record::default() };
    let path = directory.join(FILE);
    let length = match fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return (fresh(), None),
        Err(error) => return (fresh(), Some(format!("{} cannot be read: {error}; epochs begin anew", path.display()))),
    };
    let read = if length > MAX_FILE {
        Err(format!("it has {length} bytes, {MAX_FILE} are allowed"))
    } else {
        fs::read(&path)
            .map_err(|error| error.to_string())
            .and_then(|bytes| serde_json::from_slice::<Record>(&bytes).map_err(|error| error.to_string()))
    };
    match read {
        Ok(record) if record.group == group => (record, None),
        Ok(record) => {
            let why = format!("{} is of the group `{}`; that of `{group}` begins anew", path.display(), record.group);
            (fresh(), Some(why))
        }
        Err(error) => {
            let aside = directory.join(format!("{FILE}.broken"));
            let moved = fs::rename(&path, &aside).map_or_else(
                |error| format!("could not be moved: {error}"),
                |()| format!("was moved to {}", aside.display()),
            );
            let why =
                format!("{} is broken ({error}) and {moved}; a leader of the past may be obeyed once", path.display());
            (fresh(), Some(why))
        }
    }
}

/// Saves a record: it is on the disk, whole, when this returns. Blocks.
///
/// # Errors
/// A sentence with the path.
pub(crate) fn save(directory: &Path, bytes: &[u8]) -> Result<(), String> {
    let path = directory.join(FILE);
    let failed = |error: std::io::Error| format!("{} cannot be written: {error}", path.display());
    let mut file = tempfile::Builder::new().prefix(".fleet-").tempfile_in(directory).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&path).map_err(|error| failed(error.error))?;
    // The name is on the disk when the directory is (fsync(2)).
    fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(ok: bool) -> Outcome {
        Outcome { ok, seconds: 0.5, error: None }
    }

    #[test]
    fn nothing_is_begun_twice_and_the_first_end_counts() {
        let mut record = Record::default();
        let (event, operation) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert!(!record.finish(event, outcome(true)));
        assert!(record.begin(event, Some((operation, 0)), 7) && !record.begin(event, None, 0));
        assert!(record.finish(event, outcome(true)) && !record.finish(event, outcome(false)));
        assert_eq!(record.of_turn(operation, 0).map(|action| action.epoch), Some(7));
        assert_eq!(record.unacknowledged().count(), 1);
        record.acknowledged(operation, 0, true);
        assert_eq!(record.unacknowledged().count(), 0);
    }

    #[test]
    fn what_was_begun_alone_is_acknowledged_when_its_turn_comes() {
        let mut record = Record::default();
        let (event, operation) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert!(record.begin(event, None, 0) && record.finish(event, outcome(true)));
        assert_eq!(record.unacknowledged().count(), 0);
        assert!(record.attach(event, operation, 1) && !record.attach(event, operation, 1));
        let (action, found, pass) = record.unacknowledged().next().expect("one");
        assert_eq!((action.alone, found, pass), (true, operation, 1));
    }

    #[test]
    fn old_actions_go_first_and_those_that_are_not_acknowledged_last() {
        let mut record = Record::default();
        for index in 0..=u128::try_from(MAX_ACTIONS).expect("small") {
            let operation = Uuid::from_u128(1000 + index);
            record.begin(Uuid::from_u128(index), Some((operation, 0)), 1);
            record.acknowledged(operation, 0, index != 0);
        }
        assert_eq!(record.actions.len(), MAX_ACTIONS);
        assert!(record.of_event(Uuid::from_u128(0)).is_some() && record.of_event(Uuid::from_u128(1)).is_none());
    }

    #[test]
    fn a_record_comes_back_from_the_disk() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(load(directory.path(), "g"), (Record { group: "g".to_owned(), ..Record::default() }, None));
        let mut record = Record { group: "g".to_owned(), highest: 9, ..Record::default() };
        record.begin(Uuid::from_u128(1), Some((Uuid::from_u128(2), 3)), 9);
        save(directory.path(), &record.to_bytes()).expect("saved");
        assert_eq!(load(directory.path(), "g"), (record, None));
        let (other, why) = load(directory.path(), "h");
        assert!(other.highest == 0 && why.is_some_and(|why| why.contains("`g`")));
        assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_broken_file_is_put_aside_and_a_full_disk_is_told() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join(FILE), "{\"group\":").expect("written");
        let (record, why) = load(directory.path(), "g");
        assert!(record.highest == 0 && why.is_some_and(|why| why.contains("is broken")));
        assert!(directory.path().join("fleet.json.broken").exists());
        let gone = directory.path().join("gone");
        assert!(save(&gone, b"{}").expect_err("no directory").contains("fleet.json"));
    }
}
