//! A QEMU, by its monitor.
//!
//! Inputs: a QMP socket. Outputs: what [`Machine`] promises. Must never end a QEMU whose save has not been proved: callers
//! ask for that by name only.

use crate::clock::Clock;
use crate::estimate::Margin;
use crate::machine::{Kept, Machine, Survey, Watch};
use crate::monitor::Monitor;
use crate::plan::Keep;
use crate::process::Process;
use crate::{file, snapshot};
use cloudsnooze_plugin::{Code, Error};
use serde_json::Value;
use std::path::Path;

/// One QEMU and how it is kept.
pub(crate) struct Qemu {
    monitor: Monitor,
    keep: Keep,
}

impl Qemu {
    /// Connects to it; None when it does not run.
    ///
    /// # Errors
    /// Somebody listens, who does not answer as a QEMU would.
    pub(crate) fn open(qmp: &Path, keep: &Keep, clock: &Clock) -> Result<Option<Self>, Error> {
        let monitor = Monitor::connect(qmp, clock)?;
        Ok(monitor.map(|monitor| Self { monitor, keep: keep.clone() }))
    }

    /// Waits until it has ended: its process, where that is known, else its monitor.
    fn wait_for_end(&mut self, clock: &Clock) -> Result<(), Error> {
        loop {
            let has_hung_up = match self.status(clock) {
                Ok(status) if status == "shutdown" => return Ok(()),
                Ok(_) => false,
                Err(error) if error.kind() == Code::Io => true,
                Err(error) => return Err(error),
            };
            match self.monitor.process {
                Some(process) if process.has_ended() => return Ok(()),
                None if has_hung_up => return Ok(()),
                _ => {}
            }
            clock.go_on("its end")?;
            clock.pause();
        }
    }
}

impl Machine for Qemu {
    fn survey(&mut self, clock: &Clock) -> Result<Survey, Error> {
        let status = self.status(clock)?;
        let sizes = self.monitor.execute("query-memory-size-summary", &Value::Null, clock)?;
        let size = |name: &str| sizes[name].as_u64().unwrap_or(0);
        let ram = size("base-memory") + size("plugged-memory");
        let held = self.monitor.process.and_then(Process::memory);
        let (used, used_from) = match held {
            // What the process holds besides the machine's memory is no more than a few dozen MiB.
            Some(held) if held < ram => (held, "process"),
            _ => (ram, "memory size"),
        };
        let migration = self.monitor.execute("query-migrate", &Value::Null, clock)?;
        let reasons = migration["blocked-reasons"].as_array().into_iter().flatten();
        let blocked = reasons.filter_map(|reason| reason.as_str().map(str::to_owned)).collect();
        let (directory, margin) = match &self.keep {
            Keep::File { to, .. } => (to.parent().map(Path::to_owned), Margin::Stoppable),
            _ => (snapshot::place(&mut self.monitor, clock)?, Margin::Unstoppable),
        };
        let is_running = status == "running";
        Ok(Survey { status, is_running, ram, used, used_from, blocked, directory, margin })
    }

    fn status(&mut self, clock: &Clock) -> Result<String, Error> {
        let status = self.monitor.execute("query-status", &Value::Null, clock)?;
        Ok(status["status"].as_str().unwrap_or("unknown").to_owned())
    }

    fn save(&mut self, watch: &Watch<'_>, clock: &Clock) -> Result<Kept, Error> {
        match &self.keep {
            Keep::File { to, .. } => file::save(&mut self.monitor, to, watch, clock),
            Keep::Snapshot { tag, .. } => snapshot::save(&mut self.monitor, tag, watch, clock),
            Keep::Managed { .. } => Err(Error::new("libvirt saves its domains itself").code(Code::State)),
        }
    }

    fn pause(&mut self, clock: &Clock) -> Result<(), Error> {
        self.monitor.execute("stop", &Value::Null, clock).map(drop)
    }

    fn resume(&mut self, clock: &Clock) -> Result<(), Error> {
        self.monitor.execute("cont", &Value::Null, clock)?;
        let status = self.status(clock)?;
        if status == "running" {
            return Ok(());
        }
        Err(Error::new(format!("cont: it is {status}")).code(Code::State))
    }

    fn power_down(&mut self, clock: &Clock) -> Result<(), Error> {
        self.monitor.execute("system_powerdown", &Value::Null, clock)?;
        self.wait_for_end(clock)
    }

    fn dismiss(&mut self, clock: &Clock) -> Result<(), Error> {
        match self.monitor.execute("quit", &Value::Null, clock) {
            Ok(_) => {}
            // It may be faster than its answer.
            Err(error) if error.kind() == Code::Io => {}
            Err(error) => return Err(error),
        }
        self.wait_for_end(clock)
    }

    fn process(&self) -> Option<Process> {
        self.monitor.process
    }
}
