//! One process of an isolated plugin, as the daemon has it: started, asked, heard, killed, reaped.
//!
//! Inputs: what it is started with, calls. Outputs: answers, log lines, how it ended. Threads: made, heard and reaped by
//! its watcher, asked on the pool, killed and curbed from the timer. It leads a group of its own, and its end is the end of
//! that group. Must never wait for it without a limit, nor signal a number that was reaped.

use super::exchange::{Exchange, Kind, Nonsense, Sent};
use super::greeting::{self, Order, Reply};
use super::lines::Said;
use crate::host::delivery::{Answer, CallCell, Relay, Status};
use crate::host::external::process::{ending, number, wait_ready};
use crate::log_ring::LogRing;
use crate::sys::clock;
use crate::sys::process::{pidfd, send_descriptors};
use crate::sys::sched::{self, Placement};
use arc_swap::ArcSwapOption;
use cloudsnooze_abi as abi;
use nix::poll::PollFlags;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// The only directories that programs are found in, as for external plugins.
const PROGRAM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long after its deadline a call is waited for: beyond the longest grace that can be configured. It is the timer that
/// kills when the configured one is over.
const LATE_MAX_NS: i64 = 61_000_000_000;
/// Longest sleep before the clock is looked at again: it goes on during suspend.
const LOOK: Duration = Duration::from_millis(500);
/// How long a process that closed its socket has to end by itself, milliseconds.
const LAST_WORDS_MS: u16 = 1000;
/// How long an answer is looked for before sleeping, nanoseconds, where the process has a CPU of its own.
const SPIN_NS: i64 = 20_000;
/// How long the process may wait for the home CPU before it is let go to the others, nanoseconds: as for workers.
const CROWD_NS: i64 = 1_000_000;

/// What a process is started from.
pub struct Program<'p> {
    /// `snooze-plugin-host`, open.
    pub host: &'p File,
    /// The library, open.
    pub library: &'p File,
    /// What it is to do.
    pub order: &'p Order,
}

/// How a process ended, for the call that waited for it.
#[derive(Clone, Debug)]
pub struct End {
    status: Status,
    /// The sentence's end.
    pub text: String,
}

impl End {
    /// A call that got no answer in its time.
    pub fn late() -> Self {
        Self::new(Status::Cancelled, "gave no answer in its time; its process group was killed")
    }

    /// An end with this status for the call in progress.
    pub fn new(status: Status, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    fn answer(&self) -> Answer {
        Answer::new(self.status, self.text.clone())
    }
}

/// A process that is up, or was.
pub struct Process {
    /// Its number, and that of its group.
    pub pid: Pid,
    exchange: Exchange,
    /// Turns readable when it has said something.
    words: EventFd,
    /// Calls its attention to a cancellation.
    bell: EventFd,
    ended: OwnedFd,
    /// Its end means the end of the process.
    socket: UnixStream,
    /// None: reaped.
    child: Mutex<Option<Child>>,
    end: OnceLock<End>,
    taken: Mutex<u64>,
    busy: AtomicBool,
    turn: AtomicU32,
    call_id: AtomicU64,
    call: ArcSwapOption<CallCell>,
    /// When the present call was handed over, CLOCK_BOOTTIME nanoseconds; 0 = there is none.
    asked_ns: AtomicI64,
    cpu_before_ns: AtomicI64,
    /// Lost its place or its priority in the present call.
    curbed: AtomicBool,
    demoted: AtomicBool,
}

impl Process {
    /// Starts the process and tells it what to do; [`Self::reply`] is its answer. Call it from a thread of normal priority
    /// that lives as long as the process: the kernel kills the process when that thread ends.
    ///
    /// # Errors
    /// What the system said.
    pub fn start(program: &Program<'_>) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let exchange = Exchange::new()?;
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let (words, bell) = (EventFd::from_flags(flags)?, EventFd::from_flags(flags)?);
        // Opened once: after an upgrade of the package this daemon still starts the program it belongs to.
        let mut command = Command::new(format!("/proc/self/fd/{}", program.host.as_raw_fd()));
        command.arg0("snooze-plugin-host").arg(&program.order.instance).env_clear();
        command.env("PATH", PROGRAM_PATH).env("LANG", "C.UTF-8").env("HOME", &program.order.state_dir);
        command.current_dir("/").process_group(0).stdin(Stdio::from(OwnedFd::from(theirs)));
        let mut child = command.spawn()?;
        drop(command);
        let pid = number(&child);
        let told = pidfd(pid).and_then(|ended| {
            socket.set_write_timeout(Some(LOOK))?;
            let library = program.library.as_fd();
            send_descriptors(&socket, [exchange.memory.fd(), words.as_fd(), bell.as_fd(), library])?;
            greeting::send(&socket, program.order).map(|()| ended)
        });
        match told {
            Ok(ended) => Ok(Self {
                pid,
                exchange,
                words,
                bell,
                ended,
                socket,
                child: Mutex::new(Some(child)),
                end: OnceLock::new(),
                taken: Mutex::new(0),
                busy: AtomicBool::new(false),
                turn: AtomicU32::new(0),
                call_id: AtomicU64::new(u64::MAX),
                call: ArcSwapOption::empty(),
                asked_ns: AtomicI64::new(0),
                cpu_before_ns: AtomicI64::new(0),
                curbed: AtomicBool::new(false),
                demoted: AtomicBool::new(false),
            }),
            Err(error) => {
                let _ = killpg(pid, Signal::SIGKILL);
                let how = ending(child.wait());
                Err(io::Error::other(format!("{error}; it {how}")))
            }
        }
    }

    /// Its answer to what it was told, at the latest at `until_ns`.
    ///
    /// # Errors
    /// It ended, took too long, or wrote something else.
    pub fn reply(&self, until_ns: i64) -> io::Result<Reply> {
        let reply = greeting::receive_reply(&self.socket, until_ns);
        self.cpu_before_ns.store(sched::process_cpu_ns(self.pid.as_raw()).unwrap_or(0), Ordering::Relaxed);
        reply
    }

    /// Listens until it ends; lines go to the log as those of `name`.
    pub fn listen(&self, log: &LogRing, name: &'static str) {
        loop {
            let [ended, words] = wait_ready(
                [(Some(self.ended.as_fd()), PollFlags::POLLIN), (Some(self.words.as_fd()), PollFlags::POLLIN)],
                u16::MAX,
            );
            if words {
                let _ = self.words.read();
                self.hear(log, name);
            }
            if ended {
                return;
            }
        }
    }

    /// Passes on what it has said. Skipped while another thread does the same.
    fn hear(&self, log: &LogRing, name: &'static str) {
        let Ok(mut taken) = self.taken.try_lock() else { return };
        let dropped = self.exchange.hear(&mut taken, |said| match said {
            Said::Line(level, text) => log.push(name, level, &text),
            Said::Progress(call, permille, text) => {
                if let Some(cell) = &*self.call.load()
                    && cell.id() == call
                {
                    cell.set_progress(permille, &text);
                }
            }
        });
        if dropped > 0 {
            log.push(
                name,
                abi::SNOOZE_LOG_WARNING,
                &format!("{dropped} lines were dropped: the process wrote too many"),
            );
        }
    }

    /// Reaps it when it has ended, with what is left of its group. Says how it ended. Calls in progress return.
    pub fn reap(&self, log: &LogRing, name: &'static str) -> End {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let how = child.take().map(|mut child| {
            // The last moment at which the number is surely that of this group.
            let _ = killpg(self.pid, Signal::SIGKILL);
            ending(child.wait())
        });
        drop(child);
        self.hear(log, name);
        let end = self.end.get_or_init(|| End::new(Status::Crashed, how.unwrap_or_default())).clone();
        self.exchange.end_wait();
        end
    }

    /// Reaps one that broke off the conversation, killed if it does not end by itself at once. Says how it ended.
    pub fn reap_broken(&self, error: &io::Error, log: &LogRing, name: &'static str) -> String {
        let closed = matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset);
        if closed {
            wait_ready([(Some(self.ended.as_fd()), PollFlags::POLLIN)], LAST_WORDS_MS);
        }
        let how = self.reap(log, name).text;
        match error.kind() {
            _ if closed => how,
            io::ErrorKind::TimedOut => "it was not up in its time, and was killed".to_owned(),
            _ => format!("its first words make no sense ({error}); it was killed"),
        }
    }

    /// Kills the process group; calls in progress return with this end. Never blocks.
    pub fn kill(&self, end: End) {
        let _ = self.end.set(end);
        if self.child.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            // Not reaped, so the number is still its own.
            let _ = killpg(self.pid, Signal::SIGKILL);
        }
        self.exchange.end_wait();
    }

    /// Wakes it for nothing, so that it sleeps less deeply when there is something. Does not wait.
    pub fn nudge(&self) {
        self.exchange.nudge();
    }

    /// Whether it takes no calls any more.
    pub fn is_over(&self) -> bool {
        self.end.get().is_some()
    }

    /// Asks, and waits for the answer; None: the plugin cannot tell. `holder` gets progress.
    ///
    /// # Errors
    /// Why there is none.
    pub fn ask(
        self: &Arc<Self>,
        kind: Kind,
        sent: &Sent<'_>,
        (call, holder): (&CallCell, Option<&Arc<CallCell>>),
        grace: Duration,
        place: Option<&Placement>,
    ) -> Result<Option<Answer>, Answer> {
        self.put(kind, sent, call, grace)?;
        self.take(call, holder, place)
    }

    /// Puts a call down; `begin` tells the process, `take` waits for the answer. Does not wait.
    ///
    /// # Errors
    /// It is busy, or the event is too long.
    pub fn put(self: &Arc<Self>, kind: Kind, sent: &Sent<'_>, call: &CallCell, grace: Duration) -> Result<(), Answer> {
        if self.busy.swap(true, Ordering::AcqRel) {
            return Err(Answer::new(Status::Failed, "its process is busy with another call"));
        }
        self.call_id.store(call.id(), Ordering::Release);
        if !self.exchange.ask(kind, Some(sent), Some((call, grace))) {
            self.call_id.store(u64::MAX, Ordering::Release);
            self.busy.store(false, Ordering::Release);
            let max = super::exchange::EVENT_BYTES_MAX;
            return Err(Answer::new(
                Status::Failed,
                format!("the event is longer than {max} bytes, which is all that fits"),
            ));
        }
        call.relay_to(Arc::clone(self) as Arc<dyn Relay>);
        self.asked_ns.store(clock::boot_ns(), Ordering::Release);
        self.turn.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Waits for the answer to the call that was put down.
    fn take(
        &self,
        call: &CallCell,
        holder: Option<&Arc<CallCell>>,
        place: Option<&Placement>,
    ) -> Result<Option<Answer>, Answer> {
        let turn = self.turn.load(Ordering::Acquire);
        if !self.exchange.has_begun(turn) {
            // Who put it down may not have come to it yet; being told twice does no harm.
            self.begin(call);
        }
        self.call.store(holder.cloned());
        let answer = self.wait(turn, call, place.is_some_and(Placement::is_one_cpu));
        self.settle_down(place);
        self.busy.store(false, Ordering::Release);
        answer
    }

    fn wait(&self, turn: u32, call: &CallCell, is_neighbour: bool) -> Result<Option<Answer>, Answer> {
        let until_ns = call.deadline_boot_ns().saturating_add(LATE_MAX_NS);
        // On the same CPU looking for the answer would only keep it from being made.
        let spin_until_ns = if is_neighbour { 0 } else { clock::boot_ns() + SPIN_NS };
        while let Err(seen) = self.exchange.is_answered(turn) {
            if let Some(end) = self.end.get() {
                return Err(end.answer());
            }
            let now_ns = clock::boot_ns();
            let Ok(left_ns @ 1..) = u64::try_from(until_ns.saturating_sub(now_ns)) else {
                self.kill(End::late());
                return Err(End::late().answer());
            };
            if now_ns < spin_until_ns {
                std::hint::spin_loop();
            } else {
                self.exchange.wait_answer(seen, Duration::from_nanos(left_ns).min(LOOK));
            }
        }
        self.exchange.take_answer().map_err(|Nonsense(what)| {
            let end = End::new(Status::Failed, format!("its process answered with {what}, and was killed"));
            self.kill(end.clone());
            end.answer()
        })
    }

    /// After a call: gives back what it lost in it.
    fn settle_down(&self, place: Option<&Placement>) {
        self.asked_ns.store(0, Ordering::Release);
        self.call_id.store(u64::MAX, Ordering::Release);
        self.call.store(None);
        if self.curbed.swap(false, Ordering::AcqRel)
            && let Some(place) = place
        {
            place.give(self.pid.as_raw());
        }
        self.demoted.store(false, Ordering::Release);
        self.cpu_before_ns.store(sched::process_cpu_ns(self.pid.as_raw()).unwrap_or(0), Ordering::Relaxed);
    }

    /// Keeps its present call from starving the machine, as workers are kept: one that waits for the home CPU may go to
    /// the others, and one that burnt its budget loses its real-time priority. Returns whether it just lost that.
    pub fn curb(&self, budget_ns: i64, everywhere: &[u32]) -> bool {
        let (asked_ns, pid) = (self.asked_ns.load(Ordering::Acquire), self.pid.as_raw());
        if asked_ns == 0 || self.demoted.load(Ordering::Acquire) || self.is_over() {
            return false;
        }
        let turn = self.turn.load(Ordering::Acquire);
        let waits = !self.exchange.has_begun(turn) && clock::boot_ns() - asked_ns >= CROWD_NS;
        let used = || sched::process_cpu_ns(pid).map(|ns| ns - self.cpu_before_ns.load(Ordering::Relaxed));
        // Whatever it says of having begun: what it has used the kernel knows.
        let burnt = used().is_some_and(|ns| ns > budget_ns);
        if burnt {
            self.demoted.store(true, Ordering::Release);
            sched::demote(pid);
        }
        if waits || burnt {
            self.curbed.store(true, Ordering::Release);
            sched::place(pid, everywhere);
        }
        burnt
    }

    /// Asks it to deactivate and to end; false when it is in a call.
    pub fn ask_to_stop(&self) -> bool {
        if self.busy.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.exchange.ask(Kind::Stop, None, None);
        self.exchange.begin(self.turn.fetch_add(1, Ordering::AcqRel).wrapping_add(1));
        true
    }
}

impl Relay for Process {
    fn cancelled(&self, call: u64, reason: u32) {
        if self.call_id.load(Ordering::Acquire) == call {
            self.exchange.cancel(call, reason);
            // Full only when it is rung already.
            let _ = self.bell.write(1);
        }
    }

    fn has(&self, call: u64) -> bool {
        self.call_id.load(Ordering::Acquire) == call
    }

    fn begin(&self, call: &CallCell) {
        self.exchange.begin(self.turn.load(Ordering::Acquire));
        // One that came since the request was put down.
        if call.cancel_reason() != abi::SNOOZE_CANCEL_NONE {
            self.cancelled(call.id(), call.cancel_reason());
        }
    }

    fn finish(&self, call: &Arc<CallCell>, place: Option<&Placement>) -> Result<Option<Answer>, Answer> {
        self.take(call, Some(call), place)
    }
}
