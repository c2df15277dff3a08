//! The thread that starts commands and sees to it that they end.
//!
//! Inputs: an [`Order`]. Outputs: [`Ran`]. The thread is started when the instance is activated, so commands have the
//! daemon's CPUs and a normal priority, where a pool thread has neither, and a flood of output costs no real-time thread
//! anything. Must never come back while a process of the command's group is alive, unless the kernel cannot end it.

use crate::group::{self, Ended};
use crate::spawn::{self, Started};
use crate::tail::Tail;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rustix::process::{getpriority_process, setpriority_process};
use std::ffi::CString;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder, JoinHandle};
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
    /// The program and its arguments.
    pub words: Vec<CString>,
    /// Its environment, `NAME=VALUE`.
    pub env: Vec<CString>,
    /// Where it runs.
    pub directory: PathBuf,
    /// What it finds on standard input.
    pub input: Vec<u8>,
    /// When it gets SIGTERM.
    pub term_at: Instant,
    /// How much later SIGKILL.
    pub grace: Duration,
    /// Bytes that are kept of each of its streams.
    pub output_bytes: usize,
    /// Set by the caller when the call is cancelled.
    pub stop: AtomicBool,
}

/// Why a command was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Its time was over.
    Time,
    /// The caller wanted no more of it.
    Cancelled,
}

/// What became of it.
pub struct Ran {
    /// Its process, which has ended.
    pub leader: Pid,
    /// How.
    pub ended: Ended,
    /// Why it was ended, unless it ended by itself.
    pub cut: Option<Cut>,
    /// Whether SIGTERM was not enough.
    pub was_killed: bool,
    /// Processes that it had left behind when it ended by itself; they were killed.
    pub left_behind: Vec<String>,
    /// From its start to its end.
    pub took: Duration,
    /// The end of what it wrote to standard output.
    pub stdout: Tail,
    /// The same of standard error.
    pub stderr: Tail,
}

/// What became of an order, or why it could not be begun.
pub type Answer = Result<Ran, String>;

/// The thread. One command at a time, as the host makes one call at a time.
pub struct Runner {
    /// Name of the thread.
    name: &'static str,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Where orders and answers are handed over.
#[derive(Default)]
struct Shared {
    desk: Mutex<Desk>,
    changed: Condvar,
}

#[derive(Default)]
struct Desk {
    is_open: bool,
    order: Option<Arc<Order>>,
    answer: Option<Answer>,
}

impl Runner {
    /// None yet; the thread will have this name, of 15 bytes at most.
    pub fn new(name: &'static str) -> Self {
        Self { name, shared: Arc::default(), thread: Mutex::default() }
    }

    /// Starts it.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn start(&self) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        *self.shared.desk() = Desk { is_open: true, ..Desk::default() };
        let spawned = Builder::new().name(self.name.to_owned()).spawn(move || shared.serve());
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(spawned?);
        Ok(())
    }

    /// Has a command run; false when there is no thread, or when it is still at the one before.
    pub fn order(&self, order: &Arc<Order>) -> bool {
        let mut desk = self.shared.desk();
        if !desk.is_open || desk.order.is_some() {
            return false;
        }
        // An answer that nobody waited for any more may lie there.
        (desk.order, desk.answer) = (Some(Arc::clone(order)), None);
        self.shared.changed.notify_all();
        true
    }

    /// Waits for the answer; None when there is none in this time.
    pub fn answer(&self, limit: Duration) -> Option<Answer> {
        let desk = self.shared.desk();
        let waited = self.shared.changed.wait_timeout_while(desk, limit, |desk| desk.answer.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.answer.take()
    }

    /// Ends it and joins it.
    pub fn stop(&self) {
        self.shared.desk().is_open = false;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It can only have panicked in a way that the panic hook has told.
            let _ended = thread.join();
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        // A daemon that was refused real-time scheduling runs at a negative nice value, which is handed down.
        if getpriority_process(None).is_ok_and(|nice| nice < 0) {
            let _set = setpriority_process(None, 0);
        }
        // Those that did not end; nobody else waits for them.
        let mut stuck: Vec<Pid> = Vec::new();
        while let Some(order) = self.next() {
            stuck.retain(|pid| group::reap(*pid) == Ended::Stuck);
            let ran = run(&order);
            stuck.extend(ran.as_ref().ok().filter(|ran| ran.ended == Ended::Stuck).map(|ran| ran.leader));
            // Before the answer: so it is freed by the thread that made it. Freed here, its pieces would pile up in this
            // thread's store of free memory.
            drop(order);
            let mut desk = self.desk();
            (desk.order, desk.answer) = (None, Some(ran));
            self.changed.notify_all();
        }
        stuck.retain(|pid| group::reap(*pid) == Ended::Stuck);
    }

    /// Waits for an order; None when it is time to end.
    fn next(&self) -> Option<Arc<Order>> {
        let desk = self.desk();
        let waited = self.changed.wait_while(desk, |desk| desk.is_open && desk.order.is_none());
        let desk = waited.unwrap_or_else(PoisonError::into_inner);
        if desk.is_open { desk.order.clone() } else { None }
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

fn run(order: &Order) -> Answer {
    let begun = Instant::now();
    let started = spawn::start(&order.words, &order.env, &order.directory, &order.input);
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
