//! One command from its start to its end.
//!
//! Inputs: an [`Order`]. Outputs: [`Ran`]. Must never come back while a process of the command's group is alive, unless the
//! kernel cannot end it, nor wait longer than a moment for what it cannot end.

use crate::group::{self, Ended};
use crate::spawn::{self, Started};
use crate::tail::Tail;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::ffi::CString;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often everything is looked at.
const SLICE_MS: u16 = 10;
/// Reads at most from one pipe in one round, so that a flood does not keep the thread from the clock.
const READS: usize = 64;
/// From SIGKILL to giving up on a process that does not end.
const STUCK_AFTER: Duration = Duration::from_millis(200);
/// From a cancellation to SIGKILL, at most: the host waits for a quarter of a second.
const CANCEL_GRACE: Duration = Duration::from_millis(100);

/// A command to run.
pub struct Order {
    /// Program and arguments.
    pub words: Vec<CString>,
    /// `NAME=VALUE`, all there is.
    pub env: Vec<CString>,
    /// Where it runs.
    pub directory: PathBuf,
    /// What it finds on standard input.
    pub input: Vec<u8>,
    /// When it gets SIGTERM.
    pub term_at: Instant,
    /// How much later SIGKILL.
    pub grace: Duration,
    /// Bytes at the end of each of its streams that are kept.
    pub output_bytes: usize,
    /// Set by the caller when the call is cancelled.
    pub stop: Arc<AtomicBool>,
}

/// Why a command was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It was out of time.
    Time,
    /// The call was cancelled.
    Cancelled,
}

/// What became of it.
pub struct Ran {
    /// Its number, which is free again unless it is stuck.
    pub leader: Pid,
    /// How it ended.
    pub ended: Ended,
    /// Whether it had to be ended.
    pub cut: Option<Cut>,
    /// Whether SIGTERM was not enough.
    pub was_killed: bool,
    /// Processes that it had left behind when it ended by itself; they were killed.
    pub left_behind: Vec<String>,
    /// From its start to its end.
    pub took: Duration,
    /// The end of its standard output.
    pub stdout: Tail,
    /// The end of its standard error.
    pub stderr: Tail,
}

/// Processes that could not be ended. Nobody else waits for them.
#[derive(Debug, Default)]
pub struct Stragglers(Mutex<Vec<Pid>>);

impl Stragglers {
    /// Takes one over.
    pub fn add(&self, pid: Pid) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(pid);
    }

    /// Takes it over if it is one.
    pub fn note(&self, ran: &Ran) {
        if ran.ended == Ended::Stuck {
            self.add(ran.leader);
        }
    }

    /// Collects those that have ended since, without waiting.
    pub fn reap(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|pid| group::reap(*pid) == Ended::Stuck);
    }
}

/// A pipe that is read until its end.
struct Stream {
    pipe: Option<File>,
    tail: Tail,
}

impl Stream {
    fn new(pipe: File, limit: usize) -> Self {
        Self { pipe: Some(pipe), tail: Tail::new(limit) }
    }

    /// Reads what is there.
    fn drain(&mut self) {
        let mut piece = [0; 8192];
        for _ in 0..READS {
            let Some(pipe) = &mut self.pipe else { return };
            match pipe.read(&mut piece) {
                Ok(0) => self.pipe = None,
                Ok(count) => self.tail.push(piece.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
        }
    }
}

/// One command from start to end.
struct Run<'a> {
    order: &'a Order,
    leader: Pid,
    cut: Option<Cut>,
    kill_at: Option<Instant>,
    killed_at: Option<Instant>,
    left_behind: Vec<String>,
}

/// Runs a command to its end, and waits for it: a little longer than its time and grace at most, also when the kernel cannot
/// end it ([`Ended::Stuck`]; whoever asked has to wait for it some day, as with [`Stragglers`]).
///
/// # Errors
/// Why it could not be started.
pub fn run(order: &Order) -> Result<Ran, String> {
    let begun = Instant::now();
    let stdin = spawn::memory(&order.input);
    let started = stdin.and_then(|stdin| spawn::start(&order.words, &order.env, &order.directory, stdin));
    let Started { leader, stdout, stderr } = started.map_err(|error| format!("cannot be started: {error}"))?;
    let mut streams = [Stream::new(stdout, order.output_bytes), Stream::new(stderr, order.output_bytes)];
    let mut run = Run { order, leader, cut: None, kill_at: None, killed_at: None, left_behind: Vec::new() };
    loop {
        wait(&streams);
        streams.iter_mut().for_each(Stream::drain);
        if run.is_over() {
            break;
        }
    }
    // What was still in the pipes when the last process ended.
    streams.iter_mut().for_each(Stream::drain);
    let [stdout, stderr] = streams.map(|stream| stream.tail);
    let ended = group::reap(leader);
    let Run { cut, killed_at, left_behind, .. } = run;
    let was_killed = killed_at.is_some() && left_behind.is_empty();
    Ok(Ran { leader, ended, cut, was_killed, left_behind, took: begun.elapsed(), stdout, stderr })
}

impl Run<'_> {
    /// Looks at clock, flag and processes, and does what is due.
    fn is_over(&mut self) -> bool {
        let now = Instant::now();
        let leader_has_ended = group::has_ended(self.leader);
        let others = if leader_has_ended { group::others(self.leader) } else { Vec::new() };
        if leader_has_ended && others.is_empty() {
            return true;
        }
        let is_cancelled = self.order.stop.load(Ordering::Acquire);
        if leader_has_ended && self.cut.is_none() && self.killed_at.is_none() {
            // It is done, and these are not part of what is waited for.
            self.left_behind = others;
            self.kill(now);
        } else if is_cancelled && self.cut != Some(Cut::Cancelled) {
            let soon = now + self.order.grace.min(CANCEL_GRACE);
            self.kill_at = Some(self.kill_at.map_or(soon, |at| at.min(soon)));
            self.terminate(Cut::Cancelled);
        } else if self.cut.is_none() && now >= self.order.term_at {
            self.kill_at = Some(now + self.order.grace);
            self.terminate(Cut::Time);
        }
        if self.killed_at.is_none() && self.kill_at.is_some_and(|at| now >= at) {
            self.kill(now);
        }
        self.killed_at.is_some_and(|at| now >= at + STUCK_AFTER)
    }

    fn terminate(&mut self, cut: Cut) {
        self.cut = Some(cut);
        group::signal(self.leader, Signal::SIGTERM);
    }

    fn kill(&mut self, now: Instant) {
        self.killed_at = Some(now);
        group::signal(self.leader, Signal::SIGKILL);
    }
}

/// Waits until there is something to read, at most a slice.
fn wait(streams: &[Stream; 2]) {
    let mut fds: Vec<PollFd<'_>> =
        streams.iter().filter_map(|s| s.pipe.as_ref()).map(|p| PollFd::new(p.as_fd(), PollFlags::POLLIN)).collect();
    if fds.is_empty() || poll(&mut fds, PollTimeout::from(SLICE_MS)).is_err() {
        thread::sleep(Duration::from_millis(u64::from(SLICE_MS)));
    }
}
