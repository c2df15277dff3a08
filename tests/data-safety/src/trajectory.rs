//! Whether a training that was interrupted again and again is the one that never was.
//!
//! Inputs: the losses that every process of it wrote, step by step, to the last bit. Outputs: a [`Trajectory`]. One resumption with a
//! mistake (the optimizer's moments left out) must differ: a comparison that cannot fail proves nothing. Must never compare
//! fewer steps than were done.

use crate::resumptions::Kind;
use harness::program;
use serde::Serialize;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Steps of the resumption with a mistake.
const MISTAKEN: u64 = 50;
/// For the whole training without an interruption: a step takes about a millisecond.
const LIMIT: Duration = Duration::from_secs(3_600);

/// What the comparison came to.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Trajectory {
    /// Losses that were compared, those of steps that were done twice included.
    pub steps_compared: u64,
    /// Of those, how many were another.
    pub differing: u64,
    /// Whether the resumption with a mistake was found out.
    pub mistake_found: bool,
}

impl Trajectory {
    /// Whether it is the same training, and would have been seen not to be.
    pub fn holds(self) -> bool {
        self.steps_compared > 0 && self.differing == 0 && self.mistake_found
    }
}

/// Compares all that was trained in `directory` with one training of as many steps.
///
/// # Errors
/// When the training cannot be done again.
pub fn compare(kind: &Kind, directory: &Path) -> Result<Trajectory, String> {
    let trained = losses(directory)?;
    let (saved, checkpoint) = newest(directory).ok_or("there is no checkpoint to resume from")?;
    let mistaken = kind.directory()?;
    let copy = mistaken.path().join(checkpoint.file_name().unwrap_or_default());
    fs::copy(&checkpoint, copy).map_err(|error| format!("{}: {error}", checkpoint.display()))?;
    train(kind, mistaken.path(), &[&(saved + MISTAKEN).to_string(), "--without-optimizer"])?;
    let mistaken = losses(mistaken.path())?;

    let steps = trained.iter().chain(&mistaken).map(|(step, _)| *step).max().unwrap_or(0);
    let whole = kind.directory()?;
    train(kind, whole.path(), &[&steps.to_string()])?;
    let whole: HashMap<u64, String> = losses(whole.path())?.into_iter().collect();
    let differs = |(step, loss): &(u64, String)| whole.get(step) != Some(loss);
    Ok(Trajectory {
        steps_compared: trained.len() as u64,
        differing: trained.iter().filter(|one| differs(one)).count() as u64,
        mistake_found: mistaken.iter().any(differs),
    })
}

fn train(kind: &Kind, directory: &Path, arguments: &[&str]) -> Result<(), String> {
    program::run(kind.command(directory).args(arguments), LIMIT)?.success("the training").map(drop)
}

/// Step and loss of every line that a process in this directory wrote.
fn losses(directory: &Path) -> Result<Vec<(u64, String)>, String> {
    let mut all = Vec::new();
    for path in files(directory, "losses-") {
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        for line in text.lines() {
            let read = line.split_once(' ').and_then(|(step, loss)| Some((step.parse().ok()?, loss.to_owned())));
            all.push(read.ok_or_else(|| format!("{}: '{line}'", path.display()))?);
        }
    }
    Ok(all)
}

/// Step and file of the newest checkpoint.
pub fn newest(directory: &Path) -> Option<(u64, PathBuf)> {
    let step = |path: PathBuf| Some((path.file_stem()?.to_str()?.strip_prefix("step-")?.parse().ok()?, path));
    files(directory, "step-").into_iter().filter_map(step).max()
}

fn files(directory: &Path, begin: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(begin)).map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_of_all_processes_and_the_newest_checkpoint_are_found() {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in [
            ("losses-7", "1 0x1p-1\n2 0x1p-2\n"),
            ("losses-8", "2 0x1p-2\n"),
            ("step-0000000002.pt", ""),
            ("step-9.pt", ""),
        ] {
            fs::write(directory.path().join(name), text).expect("written");
        }
        let mut found = losses(directory.path()).expect("losses");
        found.sort();
        let wanted = [(1, "0x1p-1"), (2, "0x1p-2"), (2, "0x1p-2")].map(|(step, loss)| (step, loss.to_owned()));
        assert_eq!(found, wanted);
        assert_eq!(newest(directory.path()).map(|(step, _)| step), Some(9));
        fs::write(directory.path().join("losses-9"), "3").expect("written");
        assert!(losses(directory.path()).is_err(), "half a line is not passed over");
    }
}
