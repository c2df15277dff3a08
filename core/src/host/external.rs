//! A plugin that is a process of its own, spoken to in JSON-RPC over its standard input and output.
//!
//! Inputs: a manifest, a configuration, deliveries. Outputs: answers, log lines. Threads: start, tend and
//! stop on normal threads (a process inherits their scheduling); handle and verify on the pool; cancel and
//! kill from the timer; one thread of its own beside each process, which reads and reaps.
//!
//! A process leads a group of its own, and its end is the end of that group. If the daemon itself is
//! killed, the plugin reads the end of its standard input and should exit; one that does not is left to
//! the service manager, which ends all processes of the unit. Must never let a plugin block a thread of
//! the daemon beyond a call's time.

mod conversation;
pub mod lines;
mod manifest;
pub(super) mod process;
mod reader;
#[cfg(test)]
mod tests;
pub mod wire;

pub use manifest::Manifest;

use super::delivery::{Answer, CallCell, Delivery, Status};
use super::instance::Abilities;
use super::refusal::Refusal;
use crate::log_ring::LogRing;
use crate::sys::clock;
use cloudsnooze_abi as abi;
use conversation::{Cause, Conversation};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::Signal;
use process::{NotSent, Spawned, Writer};
use reader::Reader;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use wire::{Initialized, Reply};

/// How long each step of stopping may take: the plugin's own end, SIGTERM, SIGKILL.
const STOP_STEP: Duration = Duration::from_secs(1);
/// The reader's stack, bytes: it may be locked in memory, and JSON's depth is bounded.
const STACK_BYTES: usize = 512 * 1024;

/// One instance of an external plugin.
pub struct External {
    manifest: Manifest,
    instance: String,
    config: Value,
    state_dir: PathBuf,
    initialized: Initialized,
    conversation: Arc<Conversation>,
    reader: Mutex<Option<JoinHandle<()>>>,
}

impl External {
    /// What it can do beyond handling an event.
    pub fn abilities(&self) -> Abilities {
        self.manifest.abilities()
    }

    /// Starts the process and has it initialise, at most for the manifest's `startup_timeout_seconds`.
    /// The instance's name is kept for as long as the daemon runs, since log lines refer to it.
    ///
    /// # Errors
    /// CONFIG with the plugin's own words when it refuses its configuration, else PROCESS.
    pub fn start(
        manifest: Manifest,
        instance: &str,
        config: &Value,
        state_dir: &Path,
        log: Arc<LogRing>,
    ) -> Result<Self, Refusal> {
        let name: &'static str = Box::leak(instance.to_owned().into_boxed_str());
        let mut external = Self {
            manifest,
            instance: instance.to_owned(),
            config: config.clone(),
            state_dir: state_dir.to_owned(),
            initialized: Initialized { subscriptions: Vec::new(), verify: false },
            conversation: Arc::new(Conversation::new(log, name)),
            reader: Mutex::default(),
        };
        let until_ns = external.launch();
        match external.conversation.wait_started(until_ns) {
            Ok(initialized) => {
                external.initialized = initialized;
                Ok(external)
            }
            Err(cause) => {
                external.join_reader();
                Err(cause.into_refusal())
            }
        }
    }

    /// Starts a process and its reader. Returns until when it has to be up, CLOCK_BOOTTIME nanoseconds.
    fn launch(&self) -> i64 {
        let conversation = &self.conversation;
        let timeout = Duration::from_secs_f64(self.manifest.startup_timeout_seconds);
        let until_ns = clock::boot_ns().saturating_add(i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX));
        let stop = match EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK) {
            Ok(stop) => Arc::new(stop),
            Err(error) => {
                conversation.not_started(&format!("eventfd: {error}"));
                return until_ns;
            }
        };
        let Spawned { child, stdin, stdout, stderr } = match process::spawn(&self.manifest, &self.state_dir) {
            Ok(spawned) => spawned,
            Err(error) => {
                conversation.not_started(&format!("{}: {error}", self.manifest.program().display()));
                return until_ns;
            }
        };
        let writer = Arc::new(Writer::new(stdin, Arc::clone(&stop)));
        let pid = process::number(&child);
        let id = conversation.started(child, Arc::clone(&writer), Arc::clone(&stop), until_ns);
        let state_dir = self.state_dir.to_string_lossy();
        let line = wire::initialize(id, &self.manifest.name, &self.instance, &self.config, &state_dir);
        let reader = Reader::new(Arc::clone(conversation), pid, (stdout, stderr), stop);
        // A long configuration may fill the pipe, which must not hold up the caller. When it does not get
        // through, the answer does not come, and that is noticed.
        let run = move || {
            let _ = writer.send(&line, until_ns);
            drop((line, writer));
            reader.run();
        };
        let thread = std::thread::Builder::new().name("plugin-reader".into()).stack_size(STACK_BYTES);
        match thread.spawn(run) {
            Ok(thread) => *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread),
            Err(error) => conversation.abandon(&format!("no thread could be started for it: {error}")),
        }
        until_ns
    }

    /// Hands an event over and waits for the answer. A process that is down is waited for while the
    /// call's time lasts. One that does not answer in it may clean up until the timer calls [`Self::kill`].
    pub fn handle(&self, event: &Delivery, call: &CallCell) -> Answer {
        match self.ask(call, |id| wire::handle_event(id, event, call, &self.instance)) {
            Ok(reply) => wire::handled(reply),
            Err(answer) => answer,
        }
    }

    /// Asks whether the effect of the handled event holds; None when the plugin offers no answer.
    pub fn verify(&self, event: &Delivery, call: &CallCell, result: Option<&Map<String, Value>>) -> Option<Answer> {
        if !self.initialized.verify {
            return None;
        }
        match self.ask(call, |id| wire::verify(id, event, call, &self.instance, result)) {
            Ok(reply) => wire::verified(reply),
            Err(answer) => Some(answer),
        }
    }

    fn ask(&self, call: &CallCell, request: impl FnOnce(u64) -> String) -> Result<Reply, Answer> {
        let (id, writer) = self.conversation.open(call)?;
        let line = request(id);
        if line.len() > wire::LINE_BYTES_MAX {
            self.conversation.forget(id);
            let text = format!("the event is {} bytes long, at most {} can be sent", line.len(), wire::LINE_BYTES_MAX);
            return Err(Answer::new(Status::Failed, text));
        }
        match writer.send(&line, call.deadline_boot_ns()) {
            Ok(()) => {}
            Err(NotSent::Late) => self.conversation.end(Cause::late()),
            Err(NotSent::Broken) => self.conversation.hung_up(),
        }
        self.conversation.wait_reply(id, call)
    }

    /// Tells the plugin that a call is no longer wanted (`SNOOZE_CANCEL_*`), if that needs no waiting.
    pub fn cancel(&self, call: &CallCell, reason: u32) {
        if let Some(writer) = self.conversation.writer() {
            writer.send_at_once(&wire::cancel(call, reason));
        }
        self.conversation.wake();
    }

    /// Kills the whole process group. Never blocks; calls in progress return.
    pub fn kill(&self) {
        self.conversation.end(Cause::late());
    }

    /// Starts a process that ended again, after a pause that doubles from 100 ms to 30 s, and at once
    /// when an event waits for it. To be called about every 100 ms from a thread of normal priority.
    pub fn tend(&self) {
        self.conversation.tend();
        if self.conversation.claim_restart() {
            self.conversation.say(abi::SNOOZE_LOG_INFO, "the process is started again");
            self.launch();
        }
    }

    /// Ends the process: asks, then SIGTERM, then SIGKILL to its group, a second each.
    pub fn stop(&self) {
        let Some(writer) = self.conversation.stop() else { return self.join_reader() };
        writer.send_at_once(&wire::shutdown(self.conversation.next_id()));
        writer.close();
        if !self.conversation.wait_gone(STOP_STEP) {
            self.conversation.signal(Signal::SIGTERM);
            if !self.conversation.wait_gone(STOP_STEP) {
                self.conversation.end(Cause::new(Status::Cancelled, "was stopped"));
                if !self.conversation.wait_gone(STOP_STEP) {
                    self.conversation.say(abi::SNOOZE_LOG_ERROR, "the process cannot be killed; it is left behind");
                    return;
                }
            }
        }
        self.join_reader();
    }

    /// Waits for the reader of a process that is reaped; it has only descriptors left to close.
    fn join_reader(&self) {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A reader that panicked has said so already.
        let _ = reader.map(JoinHandle::join);
    }

    /// The types and patterns the plugin says it handles; empty means whatever the configuration says.
    pub fn subscriptions(&self) -> Vec<String> {
        self.initialized.subscriptions.clone()
    }

    /// Number of the process, while there is one.
    pub fn pid(&self) -> Option<i32> {
        self.conversation.pid()
    }

    /// How often the process was started after the first time.
    pub fn restarts(&self) -> u32 {
        self.conversation.restarts()
    }

    /// Whether the process is up and initialised.
    pub fn is_running(&self) -> bool {
        self.conversation.is_running()
    }
}

impl Drop for External {
    /// Leaves no process behind; its reader reaps it.
    fn drop(&mut self) {
        self.conversation.stop();
        self.conversation.end(Cause::new(Status::Cancelled, "was stopped"));
    }
}
