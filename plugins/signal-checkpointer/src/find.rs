//! From a description to the processes that it means, pinned.
//!
//! Inputs: a [`Seek`], `/proc`. Outputs: [`Pinned`] processes that were recognised after they had been pinned. Must never
//! give this process itself, init, or a process whose number was merely left behind in a file.

use crate::config::{Include, Pick};
use crate::pinned::{Pinned, Stat};
use crate::plan::Seek;
use cloudsnooze_plugin::{Code, Error};
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A pid file may be this much older than its process: start times are told in ticks after a start of the machine that is
/// told in whole seconds.
const AGE_SLACK: Duration = Duration::from_secs(2);
/// Rounds in which children or members of a group that were just made are looked for.
const ROUNDS: usize = 3;

impl Seek {
    /// The processes that are meant; empty when there is none.
    ///
    /// # Errors
    /// Several match and one was meant, the pid file is left over from another process, or something cannot be read.
    pub(crate) fn find(&self) -> Result<Vec<Pinned>, Error> {
        let mut found = Vec::new();
        for pid in self.candidates()? {
            if pid <= 1 || is_own(pid) {
                continue;
            }
            let pinned = Pinned::open(pid).map_err(|error| Error::from(error).context("pin a process"))?;
            let Some(pinned) = pinned.filter(|pinned| self.matches(pinned)) else { continue };
            self.must_be_fresh(&pinned)?;
            // Alive now: so all that was read was about it.
            if !pinned.has_ended() {
                found.push(pinned);
            }
        }
        found.sort_by_key(|pinned| (pinned.stat.started, pinned.pid));
        match self.pick {
            Pick::All => {}
            Pick::Oldest => found.truncate(1),
            Pick::Only if found.len() > 1 => {
                let shown: Vec<String> = found.iter().take(5).map(Pinned::shown).collect();
                let more = if found.len() > shown.len() { ", ..." } else { "" };
                let text = format!(
                    "{} processes match {}: {}{more}; say more about the one that is meant, or set pick",
                    found.len(),
                    self.shown(),
                    shown.join(", ")
                );
                return Err(Error::new(text).code(Code::State));
            }
            Pick::Only => {}
        }
        Ok(found)
    }

    fn candidates(&self) -> Result<Vec<i32>, Error> {
        if let Some(file) = &self.pid_file {
            let text = match fs::read_to_string(file) {
                Ok(text) => text,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(Error::from(error).context(format_args!("read {}", file.display()))),
            };
            // Some programs write more lines; the number is the first.
            let first = text.split_whitespace().next().unwrap_or_default();
            return match first.parse() {
                Ok(pid) => Ok(vec![pid]),
                Err(_) => Err(Error::new(format!("{} does not begin with a number", file.display())).code(Code::State)),
            };
        }
        match &self.cgroup {
            Some(directory) => {
                let mut pids = BTreeSet::new();
                members(directory, &mut pids);
                Ok(pids.into_iter().collect())
            }
            None => Ok(all_pids()),
        }
    }

    fn matches(&self, pinned: &Pinned) -> bool {
        let pid = pinned.pid;
        self.name.as_ref().is_none_or(|name| *name == pinned.stat.name)
            && self.user.as_ref().is_none_or(|(_, uid)| uid_of(pid) == Some(*uid))
            && self.command_line.as_ref().is_none_or(|regex| regex.is_match(&command_line(pid)))
    }

    /// A number that was reused belongs to a process that was started after the file was written.
    fn must_be_fresh(&self, pinned: &Pinned) -> Result<(), Error> {
        // What is known of the process itself tells more than the age of a file.
        let Some(file) = self.pid_file.as_ref().filter(|_| self.name.is_none() && self.command_line.is_none()) else {
            return Ok(());
        };
        let written = fs::metadata(file).and_then(|metadata| metadata.modified()).ok();
        let (Some(written), Some(booted)) = (written, booted()) else { return Ok(()) };
        let started = booted + Duration::from_secs_f64(pinned.stat.started_s());
        if started > written + AGE_SLACK {
            let text = format!(
                "{} is older than {}, which now has the number in it: it was left behind by another process",
                file.display(),
                pinned.shown()
            );
            return Err(Error::new(text).code(Code::State));
        }
        Ok(())
    }
}

/// Those who are to be signalled besides the ones found.
///
/// # Errors
/// There are no descriptors left.
pub(crate) fn companions(found: &[Pinned], include: Include) -> Result<Vec<Pinned>, Error> {
    let mut more: Vec<Pinned> = Vec::new();
    if include == Include::Process {
        return Ok(more);
    }
    let groups: BTreeSet<i32> = found.iter().map(|pinned| pinned.stat.group).collect();
    let mut known: BTreeSet<i32> = found.iter().map(|pinned| pinned.pid).collect();
    for _ in 0..ROUNDS {
        let before = known.len();
        // Parents have smaller numbers than their children, but for the overflow; that is what the rounds are for.
        for pid in all_pids() {
            let is_meant = |stat: &Stat| match include {
                Include::Process => false,
                Include::Children => known.contains(&stat.parent),
                Include::Group => groups.contains(&stat.group),
            };
            if pid <= 1 || is_own(pid) || known.contains(&pid) || !Stat::of(pid).as_ref().is_some_and(is_meant) {
                continue;
            }
            let pinned = Pinned::open(pid).map_err(|error| Error::from(error).context("pin a process"))?;
            // Looked at again now that it is pinned.
            let Some(pinned) = pinned.filter(|pinned| is_meant(&pinned.stat)) else { continue };
            known.insert(pid);
            more.push(pinned);
        }
        if known.len() == before {
            break;
        }
    }
    Ok(more)
}

fn is_own(pid: i32) -> bool {
    u32::try_from(pid).is_ok_and(|pid| pid == std::process::id())
}

fn all_pids() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<i32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids
}

/// The processes of a control group and of those below it.
fn members(directory: &Path, pids: &mut BTreeSet<i32>) {
    let listed = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    pids.extend(listed.lines().filter_map(|line| line.trim().parse::<i32>().ok()));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            members(&entry.path(), pids);
        }
    }
}

/// The real user.
fn uid_of(pid: i32) -> Option<u32> {
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').replace('\0', " ")
}

/// When the machine was started, by today's clock.
fn booted() -> Option<SystemTime> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(seconds))
}
