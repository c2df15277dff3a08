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
    /// Normal scheduling at this nice value.
    Nice(i8),
    /// Nothing but the default.
    Normal,
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fifo(priority) => write!(f, "real-time (SCHED_FIFO {priority})"),
            Self::Nice(nice) => write!(f, "nice {nice}"),
            Self::Normal => f.write_str("normal priority"),
        }
    }
}

/// Asks for real-time scheduling for the calling thread, degrading step by step. Children of the
/// process start as normal tasks (SCHED_RESET_ON_FORK, sched(7)).
pub fn raise_current_thread(priority: u8) -> Grant {
    if set_fifo(0, priority) {
        return Grant::Fifo(priority);
    }
    match renice(0) {
        Some(nice) => Grant::Nice(nice),
        None => Grant::Normal,
    }
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

/// The kernel's id of the calling thread.
pub fn thread_id() -> i32 {
    nix::unistd::gettid().as_raw()
}

/// CPU time used by a thread of this process so far, nanoseconds; None when the thread is gone.
pub fn thread_cpu_ns(tid: i32) -> Option<i64> {
    // The kernel's encoding of a per-thread CPU clock (CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED,
    // linux/posix-timers.h): pthread_getcpuclockid(3) computes the same from a pthread_t.
    let clock = (!tid << 3) | 6;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable; an unknown clock only makes the call fail.
    let done = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (done == 0).then_some(time.tv_sec * 1_000_000_000 + time.tv_nsec)
}

/// Blocks every signal in the calling thread, so that handlers of plugins never run on it and the
/// signal thread gets them all.
pub fn block_all_signals() {
    let all = nix::sys::signal::SigSet::all();
    // Fails only for an invalid `how`, which it is not.
    let _ = all.thread_block();
}

fn set_fifo(tid: i32, priority: u8) -> bool {
    let parameter = libc::sched_param { sched_priority: i32::from(priority) };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: plain system call; the parameter lives until it returns.
    unsafe { libc::sched_setscheduler(tid, policy, &raw const parameter) == 0 }
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
    fn raising_reports_what_the_kernel_says_was_granted() {
        let (grant, policy) = std::thread::spawn(|| {
            let grant = raise_current_thread(11);
            // SAFETY: plain system call on the calling thread.
            (grant, unsafe { libc::sched_getscheduler(0) })
        })
        .join()
        .expect("thread");
        match grant {
            Grant::Fifo(priority) => assert_eq!((priority, policy & 0xF), (11, libc::SCHED_FIFO)),
            Grant::Nice(_) | Grant::Normal => assert_eq!(policy & 0xF, libc::SCHED_OTHER),
        }
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
