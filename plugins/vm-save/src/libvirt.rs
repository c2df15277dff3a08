//! A domain of libvirt, by virsh.
//!
//! Inputs: a domain's name. Outputs: what [`Machine`] promises. By the program rather than by libvirt's library, which would
//! have to be on every machine that builds this project. Must never start a domain: what is saved is started by whoever
//! wants it back.

use crate::clock::{Clock, Stop};
use crate::command;
use crate::estimate::Margin;
use crate::machine::{Kept, Machine, Survey, Watch};
use crate::process::Process;
use cloudsnooze_plugin::{Code, Error};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// One question to libvirt, whose daemon may be slow where a machine is busy.
const QUESTION: Duration = Duration::from_secs(30);
/// Breaking a save off after the call itself was; the thread goes on for it.
const ABORT: Duration = Duration::from_secs(1);
/// Kept for breaking a save off.
const RESERVE: Duration = Duration::from_secs(2);

/// One domain.
pub(crate) struct Domain {
    name: String,
    uri: String,
    directory: PathBuf,
}

impl Domain {
    /// Looks for it; None when it does not run.
    ///
    /// # Errors
    /// libvirt cannot be asked, or does not know it.
    pub(crate) fn open(name: &str, uri: &str, directory: &Path, clock: &Clock) -> Result<Option<Self>, Error> {
        let mut domain = Self { name: name.to_owned(), uri: uri.to_owned(), directory: directory.to_owned() };
        let status = domain.status(clock)?;
        Ok((status != "shut off").then_some(domain))
    }

    fn virsh(&self, action: &str, more: &[&str], clock: &Clock) -> Result<String, Error> {
        let mut words = vec!["virsh", "--quiet", "--connect", &self.uri, action, &self.name];
        words.extend(more);
        let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        command::run(&words, clock)?.success(&format!("virsh {action}"))
    }

    fn ask(&self, action: &str, clock: &Clock) -> Result<String, Error> {
        self.virsh(action, &[], &clock.within(QUESTION))
    }

    fn wait_for(&mut self, wanted: &str, clock: &Clock) -> Result<(), Error> {
        while self.status(clock)? != wanted {
            clock.go_on("its end")?;
            std::thread::sleep(Duration::from_millis(200).min(clock.left()));
        }
        Ok(())
    }
}

impl Machine for Domain {
    fn survey(&mut self, clock: &Clock) -> Result<Survey, Error> {
        let status = self.status(clock)?;
        let info = self.ask("dominfo", clock)?;
        let kib = |value: Option<&str>| value.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        let ram = kib(value(&info, "Used memory")).or(kib(value(&info, "Max memory"))).unwrap_or(0) * 1024;
        // A machine without a balloon, or one that has just ended, has no such numbers.
        let statistics = self.ask("dommemstat", clock).unwrap_or_default();
        let held = statistics.lines().find_map(|line| kib(line.strip_prefix("rss "))).map(|kib| kib * 1024);
        let (used, used_from) = match held {
            Some(held) if held < ram => (held, "process"),
            _ => (ram, "memory size"),
        };
        Ok(Survey {
            is_running: status == "running",
            status,
            ram,
            used,
            used_from,
            blocked: Vec::new(),
            directory: Some(self.directory.clone()),
            margin: Margin::Stoppable,
        })
    }

    fn status(&mut self, clock: &Clock) -> Result<String, Error> {
        Ok(self.ask("domstate", clock)?.trim().to_owned())
    }

    fn save(&mut self, watch: &Watch<'_>, clock: &Clock) -> Result<Kept, Error> {
        let begun = Instant::now();
        let limit = clock.left().saturating_sub(RESERVE.min(clock.left() / 4));
        if let Err(error) = self.virsh("managedsave", &[], &clock.within(limit)) {
            // libvirt goes on with it when virsh is gone.
            let clock = match clock.stopped() {
                Some(Stop::Time | Stop::Recalled) => Clock::apart(ABORT),
                None => clock.within(QUESTION),
            };
            let aborted = self.virsh("domjobabort", &[], &clock).err();
            let said = aborted.map_or_else(String::new, |error| format!("; {error}"));
            return Err(Error::new(format!("{error}{said}")).code(error.kind()));
        }
        let info = self.ask("dominfo", clock)?;
        if value(&info, "Managed save") != Some("yes") {
            return Err(Error::new("libvirt says it is done, and has no saved state of it").code(Code::State));
        }
        let path = self.directory.join(format!("{}.save", self.name));
        let file = File::open(&path).ok();
        let bytes = file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |metadata| metadata.len());
        let synced = file.and_then(|file| file.sync_all().ok()).map(|()| true);
        let took = begun.elapsed();
        watch.disks.learn(watch.load.device, bytes, took);
        Ok(Kept {
            how: "managed".to_owned(),
            path: (bytes > 0).then_some(path),
            bytes,
            seconds: took.as_secs_f64(),
            synced,
            end: Some("libvirt has a managed save".to_owned()),
            ..Kept::default()
        })
    }

    fn pause(&mut self, clock: &Clock) -> Result<(), Error> {
        self.ask("suspend", clock).map(drop)
    }

    fn resume(&mut self, clock: &Clock) -> Result<(), Error> {
        self.ask("resume", clock).map(drop)
    }

    fn power_down(&mut self, clock: &Clock) -> Result<(), Error> {
        self.ask("shutdown", clock)?;
        self.wait_for("shut off", clock)
    }

    fn dismiss(&mut self, clock: &Clock) -> Result<(), Error> {
        // A managed save has ended it.
        self.wait_for("shut off", clock)
    }

    fn process(&self) -> Option<Process> {
        None
    }
}

/// Whether libvirt has a saved state of it, and it does not run.
///
/// # Errors
/// It has none, or it runs.
pub(crate) fn is_kept(name: &str, uri: &str, directory: &Path, clock: &Clock) -> Result<(), Error> {
    if Domain::open(name, uri, directory, clock)?.is_some() {
        return Err(Error::new("it runs again").code(Code::State));
    }
    let domain = Domain { name: name.to_owned(), uri: uri.to_owned(), directory: directory.to_owned() };
    let info = domain.ask("dominfo", clock)?;
    if value(&info, "Managed save") == Some("yes") {
        return Ok(());
    }
    Err(Error::new("libvirt has no saved state of it").code(Code::State))
}

/// `yes` of `Managed save:   yes`.
fn value<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virshs_tables_are_read_by_name() {
        let info = "Name:           web\nUsed memory:    2097152 KiB\nManaged save:   no\n";
        assert_eq!((value(info, "Used memory"), value(info, "Managed save")), (Some("2097152 KiB"), Some("no")));
        assert_eq!(value(info, "Max memory"), None);
    }
}
