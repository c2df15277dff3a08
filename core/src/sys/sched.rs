//! Scheduling of threads: real-time where the system grants it, the next best where it does not.
//!
//! Inputs: a wanted priority. Outputs: what was really granted. Must never fail: a daemon without
//! real-time permission still saves the database.
#![allow(unsafe_code)]

use serde::Serialize;
use std::fmt;

/// Nice value tried when real-time scheduling is refused.
const FALLBACK_NICE: i32 = -15;

/// What a thread got, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grant {
    /// SCHED_FIFO at this priority, reset on fork.
    Fifo(u8),
    /// SCHED_RR at this priority, reset on fork: threads of one priority on one CPU take turns.
    RoundRobin(u8),
    /// Normal scheduling at this nice value.
    Nice(i8),
    /// Nothing but the default.
    Normal,
}

impl Grant {
    /// Whether it is real-time scheduling.
    pub const fn is_real_time(self) -> bool {
        matches!(self, Self::Fifo(_) | Self::RoundRobin(_))
    }
}

/// Which real-time class a thread asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Runs until it waits.
    Fifo,
    /// Runs until it waits, or its turn (`sched_rr_timeslice_ms`, 100 ms) is over while another of its
    /// priority wants the CPU: for threads that run foreign code.
    RoundRobin,
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fifo(priority) => write!(f, "real-time (SCHED_FIFO {priority})"),
            Self::RoundRobin(priority) => write!(f, "real-time (SCHED_RR {priority})"),
            Self::Nice(nice) => write!(f, "nice {nice}"),
            Self::Normal => f.write_str("normal priority"),
        }
    }
}

/// Asks for real-time scheduling for the calling thread, degrading step by step. Children of the
/// process start as normal tasks (SCHED_RESET_ON_FORK, sched(7)).
pub fn raise_current_thread(class: Class, priority: u8) -> Grant {
    let policy = match class {
        Class::Fifo => libc::SCHED_FIFO,
        Class::RoundRobin => libc::SCHED_RR,
    };
    if set_policy(policy, priority) {
        return match class {
            Class::Fifo => Grant::Fifo(priority),
            Class::RoundRobin => Grant::RoundRobin(priority),
        };
    }
    match renice(0) {
        Some(nice) => Grant::Nice(nice),
        None => Grant::Normal,
    }
}

/// The CPUs that the calling thread may run on, ascending.
pub fn allowed_cpus() -> Vec<u32> {
    let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap_or_default();
    let is_set = |cpu: &usize| set.is_set(*cpu).unwrap_or(false);
    (0..nix::sched::CpuSet::count()).filter(is_set).filter_map(|cpu| u32::try_from(cpu).ok()).collect()
}

/// Lets a thread of this process run on these CPUs only; `tid` 0 is the calling one. Returns whether it worked.
pub fn place(tid: i32, cpus: &[u32]) -> bool {
    let mut set = nix::sched::CpuSet::new();
    let known = cpus.iter().all(|cpu| set.set(*cpu as usize).is_ok());
    known && nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(tid), &set).is_ok()
}

/// Lets other threads of the same priority on the same CPU go first, once.
pub fn give_way() {
    let _ = nix::sched::sched_yield();
}

/// Takes real-time scheduling away from a thread that burns CPU, so that it cannot starve the machine.
/// `tid` is the kernel's thread id. Returns whether it worked.
pub fn demote(tid: i32) -> bool {
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: plain system call on a thread of this process; the parameter lives until it returns.
    let done =
        unsafe { libc::sched_setscheduler(tid, libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK, &raw const parameter) };
    renice(tid);
    done == 0
}

/// Makes the calling thread, and those that it starts from now on, one that runs when nobody else wants the CPU (SCHED_IDLE, and nice 19
/// where that is refused), and its process one like any other when memory is short: a daemon that is spared passes that on to its
/// children. A process may always lower itself so (sched(7), proc_pid_oom_score_adj(5)).
pub fn stand_back() {
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: plain system calls on the calling thread; the parameter lives until they return.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 19);
        libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameter);
    }
    let _ = std::fs::write("/proc/self/oom_score_adj", "0");
}

/// Where a thread runs and how: what a thread of another process is to be given too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    policy: i32,
    priority: u8,
    cpus: Vec<u32>,
}

impl Placement {
    /// That of the calling thread; None when it is not real-time: a normal thread has no place of its own.
    pub fn of_current_thread() -> Option<Self> {
        let mut parameter = libc::sched_param { sched_priority: 0 };
        // SAFETY: plain system calls; the parameter is writable until they return.
        let policy = unsafe {
            if libc::sched_getparam(0, &raw mut parameter) != 0 {
                return None;
            }
            libc::sched_getscheduler(0) & !libc::SCHED_RESET_ON_FORK
        };
        let is_real_time = policy == libc::SCHED_FIFO || policy == libc::SCHED_RR;
        let priority = u8::try_from(parameter.sched_priority).ok().filter(|_| is_real_time)?;
        Some(Self { policy, priority, cpus: allowed_cpus() })
    }

    /// Gives it to another thread, by the kernel's id. Returns whether all of it was granted.
    pub fn give(&self, tid: i32) -> bool {
        let parameter = libc::sched_param { sched_priority: i32::from(self.priority) };
        let policy = self.policy | libc::SCHED_RESET_ON_FORK;
        // SAFETY: plain system call; the parameter lives until it returns.
        let raised = unsafe { libc::sched_setscheduler(tid, policy, &raw const parameter) == 0 };
        // Without real-time priority it must be free to leave a busy CPU.
        raised && place(tid, &self.cpus)
    }

    /// Whether it names one CPU: who wakes somebody there must give way, not spin.
    pub fn is_one_cpu(&self) -> bool {
        self.cpus.len() == 1
    }
}

/// The kernel's id of the calling thread.
pub fn thread_id() -> i32 {
    nix::unistd::gettid().as_raw()
}

/// CPU time used by a thread of this process so far, nanoseconds; None when the thread is gone.
pub fn thread_cpu_ns(tid: i32) -> Option<i64> {
    // The kernel's encoding of a per-thread CPU clock (CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED,
    // linux/posix-timers.h): pthread_getcpuclockid(3) computes the same from a pthread_t.
    clock_ns((!tid << 3) | 6)
}

/// CPU time used by all threads of another process so far, nanoseconds; None when it is gone.
pub fn process_cpu_ns(pid: i32) -> Option<i64> {
    // As in `thread_cpu_ns`, without CPUCLOCK_PERTHREAD: that one is refused for threads of other processes.
    clock_ns((!pid << 3) | 2)
}

fn clock_ns(clock: libc::clockid_t) -> Option<i64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable; an unknown clock only makes the call fail.
    let done = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (done == 0).then_some(time.tv_sec * 1_000_000_000 + time.tv_nsec)
}

/// Blocks every signal in the calling thread, so that handlers of plugins never run on it and the
/// signal thread gets them all. Not those of the thread's own faults: blocked, they end the process without a word
/// (sigprocmask(2)).
pub fn block_all_signals() {
    use nix::sys::signal::Signal;
    let mut all = nix::sys::signal::SigSet::all();
    for fault in [
        Signal::SIGSEGV,
        Signal::SIGBUS,
        Signal::SIGILL,
        Signal::SIGFPE,
        Signal::SIGABRT,
        Signal::SIGSYS,
        Signal::SIGTRAP,
    ] {
        all.remove(fault);
    }
    // Fails only for an invalid `how`, which it is not.
    let _ = all.thread_block();
}

fn set_policy(policy: i32, priority: u8) -> bool {
    let parameter = libc::sched_param { sched_priority: i32::from(priority) };
    // SAFETY: plain system call; the parameter lives until it returns.
    unsafe { libc::sched_setscheduler(0, policy | libc::SCHED_RESET_ON_FORK, &raw const parameter) == 0 }
}

fn renice(tid: i32) -> Option<i8> {
    // SAFETY: plain system call. On Linux PRIO_PROCESS takes a thread id (setpriority(2), "C library
    // differences"); 0 is the calling thread.
    let done = unsafe { libc::setpriority(libc::PRIO_PROCESS, tid.cast_unsigned(), FALLBACK_NICE) };
    (done == 0).then_some(FALLBACK_NICE as i8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stands_back_runs_when_nobody_else_wants_to_and_is_not_spared() {
        let policy = std::thread::spawn(|| {
            stand_back();
            // SAFETY: a plain system call on the calling thread.
            unsafe { libc::sched_getscheduler(0) }
        });
        assert_eq!(policy.join().expect("it ends"), libc::SCHED_IDLE);
        let spared = std::fs::read_to_string("/proc/self/oom_score_adj").expect("readable");
        assert!(spared.trim().parse::<i32>().is_ok_and(|spared| spared >= 0), "{spared}");
    }

    #[test]
    fn raising_reports_what_the_kernel_says_was_granted() {
        let (grant, policy) = std::thread::spawn(|| {
            let grant = raise_current_thread(Class::Fifo, 11);
            // SAFETY: plain system call on the calling thread.
            (grant, unsafe { libc::sched_getscheduler(0) })
        })
        .join()
        .expect("thread");
        match grant {
            Grant::Fifo(priority) => assert_eq!((priority, policy & 0xF), (11, libc::SCHED_FIFO)),
            Grant::RoundRobin(_) => panic!("asked for another class"),
            Grant::Nice(_) | Grant::Normal => assert_eq!(policy & 0xF, libc::SCHED_OTHER),
        }
    }

    #[test]
    fn a_thread_runs_where_it_is_placed_and_nowhere_it_may_not() {
        std::thread::spawn(|| {
            let all = allowed_cpus();
            let last = *all.last().expect("at least one CPU");
            assert!(place(0, &[last]));
            assert_eq!(allowed_cpus(), [last]);
            assert!(place(0, &all));
            assert_eq!(allowed_cpus(), all);
            assert!(!place(0, &[1_000_000]) && !place(0, &[]));
        })
        .join()
        .expect("thread");
    }

    #[test]
    fn a_placement_is_that_of_a_real_time_thread_and_can_be_given() {
        let taken = std::thread::spawn(|| {
            assert_eq!(Placement::of_current_thread(), None, "a normal thread has none");
            let grant = raise_current_thread(Class::RoundRobin, 7);
            let placement = Placement::of_current_thread();
            assert_eq!(placement.is_some(), grant.is_real_time());
            placement.is_none_or(|mine| mine.give(thread_id()) && Placement::of_current_thread() == Some(mine))
        });
        assert!(taken.join().expect("thread"));
        let own = std::process::id().cast_signed();
        assert!(process_cpu_ns(own) > Some(0) && process_cpu_ns(i32::MAX >> 4).is_none());
    }

    #[test]
    fn cpu_time_of_a_thread_grows_while_it_works() {
        let tid = thread_id();
        let before = thread_cpu_ns(tid).expect("alive");
        let mut x = 1u64;
        while thread_cpu_ns(tid).expect("alive") < before + 2_000_000 {
            x = x.wrapping_mul(31);
        }
        assert_ne!(x, 0);
        assert_eq!(thread_cpu_ns(i32::MAX >> 4), None);
    }
}
