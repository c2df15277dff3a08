//! A participant as the orchestrator sees it: a running program that answers requests.
//!
//! Inputs: a design, the parts. Outputs: nanoseconds. Must never wait for ever: a participant that does not answer in time
//! is killed and said to have failed.

use crate::designs::{Design, Program};
use latency::protocol::{self, Command, Ready, Request};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// How long a participant may take to start.
const START: Duration = Duration::from_secs(30);
/// How long an event may take beyond its pause, on average over a slice, before the participant counts as stuck.
const EVENT: Duration = Duration::from_millis(300);
/// The same for what a slice takes beyond its events.
const SLICE: Duration = Duration::from_secs(60);

/// A started participant; killed when dropped.
pub(crate) struct Participant {
    /// Its design.
    pub(crate) design: &'static Design,
    /// What it said at its start.
    pub(crate) ready: Ready,
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Participant {
    /// Starts the design's program and waits until it is ready.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) fn start(design: &'static Design, parts: &Path) -> Result<Self, String> {
        let program = match design.program {
            Program::Cargo(name) => beside(name)?,
            Program::Part(name) => parts.join(name),
        };
        let mut command = std::process::Command::new(&program);
        command.arg(parts).args(design.args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("no pipes".into());
        };
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let ready = Ready { name: String::new(), granted: String::new(), note: String::new() };
        let mut participant = Self { design, ready, child, input, lines };
        participant.ready = Ready::parse(&participant.line(START)?)?;
        if participant.ready.name != design.name {
            return Err(format!("{} calls itself {}", design.name, participant.ready.name));
        }
        Ok(participant)
    }

    /// Has it do one slice.
    ///
    /// # Errors
    /// It ended, took too long or answered something else.
    pub(crate) fn run(&mut self, request: Request) -> Result<Vec<i64>, String> {
        let line = Command::Run(request).line();
        self.input.write_all(line.as_bytes()).map_err(|error| format!("it does not listen: {error}"))?;
        let count = u32::try_from(request.count).unwrap_or(u32::MAX);
        let event = Duration::from_micros(request.gap_us * 2) + EVENT;
        let answer = self.line(SLICE + event * count)?;
        protocol::parse_answer(&answer, request.count)
    }

    fn line(&self, patience: Duration) -> Result<String, String> {
        self.lines.recv_timeout(patience).map_err(|error| format!("no answer: {error}"))
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        let asked = self.input.write_all(Command::Quit.line().as_bytes());
        // Who does not listen, or does not end when asked, is killed.
        for _ in 0..50 {
            match self.child.try_wait() {
                Ok(None) if asked.is_ok() => thread::sleep(Duration::from_millis(20)),
                _ => break,
            }
        }
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// A program that cargo built beside this one.
fn beside(name: &str) -> Result<PathBuf, String> {
    let this = std::env::current_exe().map_err(|error| format!("cannot tell where this program is: {error}"))?;
    let path = this.with_file_name(name);
    if path.is_file() { Ok(path) } else { Err(format!("{} is not built: run `make bench`", path.display())) }
}
