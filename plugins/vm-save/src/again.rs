//! Looks again at what was done.
//!
//! Inputs: notes. Outputs: evidence that a saved machine is still whole and does not run. Must never take what it cannot look
//! at for proved.

use crate::clock::Clock;
use crate::image;
use crate::libvirt;
use crate::machine::{Kept, is_stopped, open};
use crate::notes::{Note, Stage};
use crate::plan::{Goal, Keep};
use crate::snapshot;
use cloudsnooze_plugin::{Code, Error};
use serde_json::{Value, json};
use std::fs;

/// Looks at one machine. None: there is nothing that could be looked at.
///
/// # Errors
/// What is not as it should be.
pub(crate) fn look_again(goal: &Goal, note: &Note, clock: &Clock) -> Result<Option<Value>, Error> {
    let lost = |text: String| Error::new(format!("{}: {text}", goal.name)).code(Code::State);
    let found = match (&note.kept, note.stage) {
        (Some(kept), Stage::Kept | Stage::Ended) => {
            let kept = whole(goal, kept, clock).map_err(lost)?;
            let is = quiet(goal, note, clock).map_err(lost)?;
            Some(json!({ "name": goal.name, "kept": kept, "machine": is }))
        }
        (None, Stage::Down) => {
            if !has_gone(goal, note, clock)? {
                return Err(lost("it has not shut down".to_owned()));
            }
            Some(json!({ "name": goal.name, "machine": "ended" }))
        }
        _ => None,
    };
    Ok(found)
}

/// Whether a machine has ended: its process, where that is known.
///
/// # Errors
/// It cannot be told.
pub(crate) fn has_gone(goal: &Goal, note: &Note, clock: &Clock) -> Result<bool, Error> {
    match note.process {
        Some(process) => Ok(process.has_ended()),
        None => open(goal, clock).map(|machine| machine.is_none()),
    }
}

/// Whether what was kept is there and whole.
fn whole(goal: &Goal, kept: &Kept, clock: &Clock) -> Result<Value, String> {
    match (&goal.keep, &kept.path) {
        (Keep::File { .. }, Some(path)) => {
            let bytes = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?.len();
            if bytes != kept.bytes {
                return Err(format!("{} has {bytes} bytes, and had {}", path.display(), kept.bytes));
            }
            let end = image::state_file(path)?;
            if kept.end.as_deref() != Some(end) {
                return Err(format!("{} does not end as it did when it was saved", path.display()));
            }
            let mut found = json!({ "where": path, "bytes": bytes, "recognised_by": end });
            if let Some(hash) = &kept.sha256 {
                match image::sha256(path, clock).map_err(|error| format!("{}: {error}", path.display()))? {
                    Some(now) if now != *hash => {
                        return Err(format!("{} has another content than when it was saved", path.display()));
                    }
                    // Without time for it, size and both ends are as they were.
                    compared => found["hash_compared"] = json!(compared.is_some()),
                }
            }
            Ok(found)
        }
        (Keep::Snapshot { tag, .. }, Some(path)) => {
            let bytes = snapshot::is_in_image(path, tag)?;
            Ok(json!({ "where": path, "tag": tag, "bytes": bytes, "recognised_by": "the image's own table" }))
        }
        (Keep::Managed { domain, uri, directory }, _) => {
            libvirt::is_kept(domain, uri, directory, clock).map_err(|error| error.message().to_owned())?;
            Ok(json!({ "where": kept.path, "recognised_by": "libvirt has a managed save" }))
        }
        _ => Err("where it was kept is not known".to_owned()),
    }
}

/// Whether the machine has ended, or stands still.
fn quiet(goal: &Goal, note: &Note, clock: &Clock) -> Result<String, String> {
    if note.process.is_some_and(|process| note.stage == Stage::Ended && !process.has_ended()) {
        return Err("its process is still there".to_owned());
    }
    match open(goal, clock).map_err(|error| error.message().to_owned())? {
        None if note.stage == Stage::Ended => Ok("ended".to_owned()),
        None => Ok("ended by somebody else".to_owned()),
        Some(mut machine) => {
            let status = machine.status(clock).map_err(|error| error.message().to_owned())?;
            if note.stage == Stage::Kept && is_stopped(&status) {
                return Ok(status);
            }
            Err(format!("it was started again, and is {status}: what was saved no longer fits its disks"))
        }
    }
}
