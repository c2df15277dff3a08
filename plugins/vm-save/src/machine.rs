//! What can be done with a machine, whoever runs it.
//!
//! Inputs: a [`Goal`]. Outputs: a [`Machine`] that runs now, what it looks like, what was kept of it. Must never take a
//! machine that is being loaded, or whose state belongs to somebody else by now, for one to be saved.

use crate::clock::Clock;
use crate::disk::{Disks, Speed};
use crate::estimate::Margin;
use crate::libvirt::Domain;
use crate::plan::{Goal, Keep};
use crate::process::Process;
use crate::qemu::Qemu;
use crate::queue::{Load, Queue};
use crate::seal::Sealer;
use cloudsnooze_plugin::Error;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a machine looks like before anything is done.
#[derive(Clone, Debug)]
pub(crate) struct Survey {
    /// In the words of QEMU or libvirt.
    pub(crate) status: String,
    pub(crate) is_running: bool,
    /// Bytes of memory that it has.
    pub(crate) ram: u64,
    /// Bytes of it that it has touched, at most: what there is to write.
    pub(crate) used: u64,
    /// How that is known.
    pub(crate) used_from: &'static str,
    /// Why QEMU would not save it.
    pub(crate) blocked: Vec<String>,
    /// Where it will be written; None: not known.
    pub(crate) directory: Option<PathBuf>,
    pub(crate) margin: Margin,
}

/// What is in the way of saving a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// There is nothing to save.
    Nothing(String),
    /// Nobody may touch it now.
    Hands(String),
    /// It cannot be saved; the fallback can be tried.
    Cannot(String),
}

impl Survey {
    /// What is in the way. `is_ours` says that this plugin has stopped it.
    pub(crate) fn obstacle(&self, is_ours: bool) -> Option<Obstacle> {
        match self.status.as_str() {
            "prelaunch" => return Some(Obstacle::Nothing("it was never started".to_owned())),
            "shutdown" | "shut off" => return Some(Obstacle::Nothing("it has shut down".to_owned())),
            "inmigrate" => return Some(Obstacle::Hands("its state is being loaded".to_owned())),
            "postmigrate" | "finish-migrate" if !is_ours => {
                return Some(Obstacle::Hands("its state was handed over to somebody else".to_owned()));
            }
            _ => {}
        }
        self.blocked.first().map(|reason| Obstacle::Cannot(format!("QEMU would not save it: {reason}")))
    }
}

/// What was kept of a machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// `file`, `snapshot` or `managed`.
    pub(crate) how: String,
    /// The file, or the disk that holds the snapshot; None: not known.
    pub(crate) path: Option<PathBuf>,
    pub(crate) tag: Option<String>,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    /// Whether it is on the disk; None: cannot be told.
    pub(crate) synced: Option<bool>,
    pub(crate) sha256: Option<String>,
    /// How its end was recognised.
    pub(crate) end: Option<String>,
}

/// What a save is watched with.
pub(crate) struct Watch<'a> {
    pub(crate) queue: &'a Queue,
    pub(crate) disks: &'a Disks,
    pub(crate) sealer: &'a Sealer,
    pub(crate) at: usize,
    pub(crate) load: Load,
    pub(crate) speed: Speed,
    pub(crate) max_bandwidth: Option<u64>,
    /// Whether it is to be stopped first.
    pub(crate) is_running: bool,
}

/// A machine that runs, or could.
pub(crate) trait Machine {
    /// What it looks like; changes nothing.
    ///
    /// # Errors
    /// It does not answer.
    fn survey(&mut self, clock: &Clock) -> Result<Survey, Error>;

    /// Its status, in the words of whoever runs it.
    ///
    /// # Errors
    /// It does not answer.
    fn status(&mut self, clock: &Clock) -> Result<String, Error>;

    /// Stops it and saves it. After a failure it is left stopped.
    ///
    /// # Errors
    /// It is not saved.
    fn save(&mut self, watch: &Watch<'_>, clock: &Clock) -> Result<Kept, Error>;

    /// Stops it where it is.
    ///
    /// # Errors
    /// It does not answer.
    fn pause(&mut self, clock: &Clock) -> Result<(), Error>;

    /// Lets it run on.
    ///
    /// # Errors
    /// It does not answer, or cannot.
    fn resume(&mut self, clock: &Clock) -> Result<(), Error>;

    /// Presses its power button, and waits until it has ended.
    ///
    /// # Errors
    /// It has not ended in time.
    fn power_down(&mut self, clock: &Clock) -> Result<(), Error>;

    /// Ends it, saved as it is.
    ///
    /// # Errors
    /// It has not ended in time.
    fn dismiss(&mut self, clock: &Clock) -> Result<(), Error>;

    /// Its process, where that is known.
    fn process(&self) -> Option<Process>;
}

/// The machine; None when it does not run.
///
/// # Errors
/// It cannot be told, and why.
pub(crate) fn open(goal: &Goal, clock: &Clock) -> Result<Option<Box<dyn Machine>>, Error> {
    Ok(match &goal.keep {
        Keep::File { qmp, .. } | Keep::Snapshot { qmp, .. } => {
            Qemu::open(qmp, &goal.keep, clock)?.map(|qemu| Box::new(qemu) as Box<dyn Machine>)
        }
        Keep::Managed { domain, uri, directory } => {
            Domain::open(domain, uri, directory, clock)?.map(|domain| Box::new(domain) as Box<dyn Machine>)
        }
    })
}

/// Whether a machine of this status is there and does not run.
pub(crate) fn is_stopped(status: &str) -> bool {
    matches!(status, "paused" | "postmigrate" | "finish-migrate" | "save-vm")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn obstacle(status: &str, is_ours: bool, blocked: &[&str]) -> Option<Obstacle> {
        let survey = Survey {
            status: status.to_owned(),
            is_running: status == "running",
            ram: 1,
            used: 1,
            used_from: "process",
            blocked: blocked.iter().map(|reason| (*reason).to_owned()).collect(),
            directory: None,
            margin: Margin::Stoppable,
        };
        survey.obstacle(is_ours)
    }

    #[test]
    fn what_is_loaded_moved_or_blocked_is_not_saved() {
        assert_eq!(obstacle("running", false, &[]), None);
        assert_eq!(obstacle("paused", false, &[]), None);
        assert_eq!(obstacle("postmigrate", true, &[]), None, "an attempt before has stopped it");
        assert!(matches!(obstacle("postmigrate", false, &[]), Some(Obstacle::Hands(_))));
        assert!(matches!(obstacle("inmigrate", true, &[]), Some(Obstacle::Hands(_))));
        assert!(matches!(obstacle("prelaunch", false, &[]), Some(Obstacle::Nothing(_))));
        let Some(Obstacle::Cannot(text)) = obstacle("running", false, &["vfio"]) else { panic!() };
        assert!(text.ends_with("vfio"), "{text}");
    }
}
