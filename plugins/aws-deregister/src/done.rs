//! What was done and has to be undone when the notice is withdrawn.
//!
//! Inputs: targets, a container instance. Outputs: a file in the instance's state directory, written ahead of each change, so
//! that it outlives the daemon. Must never keep the machine from being taken out because the disk cannot be written.

use crate::balancer::Target;
use cloudsnooze_plugin::Host;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Changes {
    pub(crate) targets: Vec<Target>,
    /// ARN of the container instance that was active.
    pub(crate) drained: Option<String>,
}

/// The record of one instance.
pub(crate) struct Done {
    host: Host,
    /// None: kept in memory only.
    file: Option<PathBuf>,
    changes: Mutex<Changes>,
}

impl Done {
    /// What an earlier process left behind.
    pub(crate) fn load(host: Host, state_dir: &Path) -> Self {
        let file = (!state_dir.as_os_str().is_empty()).then(|| state_dir.join("deregistered.json"));
        let read = file.as_ref().map_or(Ok(Changes::default()), |file| match fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Changes::default()),
            Err(error) => Err(error),
        });
        let changes = read.unwrap_or_else(|error| {
            host.warn(format_args!("what an earlier process did will not be undone: {error}"));
            Changes::default()
        });
        Self { host, file, changes: Mutex::new(changes) }
    }

    pub(crate) fn changes(&self) -> Changes {
        self.lock().clone()
    }

    /// Before the change.
    pub(crate) fn add_target(&self, target: &Target) {
        let mut changes = self.lock();
        if !changes.targets.contains(target) {
            changes.targets.push(target.clone());
        }
        self.save(&changes);
    }

    /// Before the change.
    pub(crate) fn add_drained(&self, arn: &str) {
        let mut changes = self.lock();
        changes.drained = Some(arn.to_owned());
        self.save(&changes);
    }

    /// After it was undone.
    pub(crate) fn remove_target(&self, target: &Target) {
        let mut changes = self.lock();
        changes.targets.retain(|known| known != target);
        self.save(&changes);
    }

    /// After it was undone.
    pub(crate) fn remove_drained(&self) {
        let mut changes = self.lock();
        changes.drained = None;
        self.save(&changes);
    }

    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self, changes: &Changes) {
        let Some(file) = &self.file else { return };
        let write = || {
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder)?;
            }
            let fresh = file.with_extension("new");
            fs::write(&fresh, serde_json::to_vec(changes)?)?;
            fs::rename(&fresh, file)
        };
        if let Err(error) = write() {
            self.host.warn(format_args!("what is done now may not be undone after a restart: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_outlive_the_instance_until_they_are_undone() {
        let dir = tempfile::tempdir().unwrap();
        let (host, state) = (cloudsnooze_plugin::testing::host(), dir.path().join("not/there/yet"));
        let target = Target { group: "g".to_owned(), id: "i".to_owned(), port: Some(80), zone: None };
        let done = Done::load(host, &state);
        done.add_target(&target);
        done.add_target(&target);
        done.add_drained("a");
        let again = Done::load(host, &state);
        assert_eq!(again.changes(), Changes { targets: vec![target.clone()], drained: Some("a".to_owned()) });
        again.remove_target(&target);
        again.remove_drained();
        assert_eq!(Done::load(host, &state).changes(), Changes::default());
    }
}
