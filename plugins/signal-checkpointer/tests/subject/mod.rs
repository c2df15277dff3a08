//! Real processes to be saved, each in a directory and a process group of its own.
//!
//! Responsibilities: start, wait until they are ready, kill. Inputs: scripts. Outputs: a [`Subject`] whose `Drop` leaves no
//! process behind, also after a panic. Must never touch a process it did not start.
#![allow(dead_code, reason = "each test file uses its own part")]

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{Delivered, TestInstance, spot_interrupt};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use signal_checkpointer::SignalCheckpointer;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long something that is bound to happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Time granted where it does not matter.
pub const PLENTY: Duration = Duration::from_secs(30);

/// A process and those it has started.
pub struct Subject {
    child: Child,
    pub dir: PathBuf,
}

impl Subject {
    /// Starts a program in this directory.
    pub fn start(dir: &Path, program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(args).current_dir(dir).process_group(0).stdin(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
        Self { child, dir: dir.to_owned() }
    }

    /// A shell that runs `traps`, says that it is ready, and waits for signals. Its number is in the file `pid`.
    pub fn shell(dir: &Path, traps: &str) -> Self {
        let ready = dir.join("ready");
        let _none_there = fs::remove_file(&ready);
        let script = format!("{traps}\n: > ready\nwhile :; do sleep 0.02; done");
        // A shell cannot trap what was ignored when it began, as SIGHUP is below nohup. The directory in its command line tells it
        // from every other shell.
        let args = ["--default-signal=HUP", "/bin/sh", "-c", &script, &dir.to_string_lossy()];
        let subject = Self::start(dir, "env", &args);
        wait_for("the shell to be ready", || ready.exists());
        fs::write(dir.join("pid"), format!("{}\n", subject.pid())).unwrap();
        subject
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Kills it as a loss of the machine would, and waits for it.
    pub fn kill(&mut self) {
        // It may be gone already.
        let _sent = killpg(self.pid(), Signal::SIGKILL);
        let _waited = self.child.wait();
    }

    pub fn wait_for_end(&mut self) {
        wait_for("the end of the process", || self.child.try_wait().unwrap().is_some());
    }

    /// Text of a file in its directory; empty when there is none.
    pub fn read(&self, name: &str) -> String {
        read(&self.dir, name)
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).unwrap_or_default().trim().to_owned()
}

pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// The Python programs of the tests; None, told loudly, where there is no Python.
pub fn python(what: &str, program: &str) -> Option<(String, String)> {
    let works = |name: &str| Command::new(name).arg("-c").arg("").status().is_ok_and(|status| status.success());
    let Some(python) = ["/usr/bin/python3", "python3"].into_iter().find(|name| works(name)) else {
        missing(&format!("{what}: there is no python3"));
        return None;
    };
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(program);
    Some((python.to_owned(), program.to_string_lossy().into_owned()))
}

/// Says loudly what did not run; fails where nothing may be missing.
pub fn missing(what: &str) {
    harness::require::missing_means_skip(what);
}

pub fn plugin(config: &Value) -> TestInstance<SignalCheckpointer> {
    TestInstance::new(config).unwrap()
}

/// One target: the process of the file `pid` in `dir`.
pub fn one(dir: &Path, more: Value) -> Value {
    let mut target = json!({ "process": { "pid_file": dir.join("pid") } });
    target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "targets": [target] })
}

/// SIGUSR1 until there is a new file that this pattern matches.
pub fn save_file(dir: &Path, pattern: &str) -> Value {
    json!({ "signal": "USR1", "until": { "file": { "path": dir.join(pattern), "stable_ms": 60 } } })
}

/// SIGTERM until it has ended.
pub fn end() -> Value {
    json!({ "signal": "TERM", "until": "exit" })
}

pub fn event(kind: &str) -> Value {
    let mut event = spot_interrupt();
    event["type"] = json!(kind);
    event
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
