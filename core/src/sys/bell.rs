//! A thread that waits for a socket or for a time, and can be called away from both.
//!
//! Inputs: descriptors, CLOCK_BOOTTIME times, rings from other threads. Outputs: which came first. Must
//! never lose a ring, nor need a lock: the ringing side makes one system call.

use super::clock;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The descriptor is ready, or broken: the next call on it says.
    Ready,
    /// Somebody rang.
    Rung,
    /// Somebody said stop, now or earlier.
    Stopped,
    /// The time came.
    Time,
}

/// What the descriptor is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// Bytes to read.
    Reading,
    /// Room to write; a connection that is being made.
    Writing,
}

/// The bell. One thread waits, any thread rings.
#[derive(Debug)]
pub struct Bell {
    fd: EventFd,
    stopped: AtomicBool,
    /// Rung while the thread waited for a descriptor.
    missed: AtomicBool,
}

impl Bell {
    /// A bell that nobody has rung.
    ///
    /// # Errors
    /// No descriptor is to be had.
    pub fn new() -> std::io::Result<Self> {
        let fd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { fd, stopped: AtomicBool::new(false), missed: AtomicBool::new(false) })
    }

    /// Calls the waiting thread, now or when it next waits.
    pub fn ring(&self) {
        // Fails only when the counter is full: it is rung then.
        let _ = self.fd.write(1);
    }

    /// Ends this wait and all that follow.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.ring();
    }

    /// Whether somebody said stop.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// What turns readable when somebody rings, for a `poll` of others. Never to be read.
    pub fn descriptor(&self) -> RawFd {
        self.fd.as_fd().as_raw_fd()
    }

    /// Waits until `until_boot_ns`.
    pub fn wait(&self, until_boot_ns: i64) -> Woken {
        if !self.is_stopped() && self.missed.swap(false, Ordering::AcqRel) {
            return Woken::Rung;
        }
        self.poll(None, until_boot_ns)
    }

    /// Waits for a descriptor, at most until `until_boot_ns`. A mere ring does not end it, and ends the next
    /// [`Bell::wait`].
    pub fn wait_for(&self, fd: BorrowedFd<'_>, what: For, until_boot_ns: i64) -> Woken {
        loop {
            match self.poll(Some((fd, what)), until_boot_ns) {
                Woken::Rung => self.missed.store(true, Ordering::Release),
                woken => return woken,
            }
        }
    }

    /// Waits for any of these descriptors, for what is asked of each, at most until `until_boot_ns`. Says which are ready, or
    /// broken. A ring ends it.
    pub fn wait_any(&self, fds: &[(BorrowedFd<'_>, PollFlags)], until_boot_ns: i64) -> (Woken, Vec<bool>) {
        if self.is_stopped() {
            return (Woken::Stopped, vec![false; fds.len()]);
        }
        let bell = PollFd::new(self.fd.as_fd(), PollFlags::POLLIN);
        let others = fds.iter().map(|(fd, flags)| PollFd::new(*fd, *flags));
        let mut watched: Vec<PollFd<'_>> = std::iter::once(bell).chain(others).collect();
        let left = u64::try_from(until_boot_ns.saturating_sub(clock::boot_ns())).unwrap_or(0);
        let polled = ppoll(&mut watched, Some(TimeSpec::from_duration(Duration::from_nanos(left))), None);
        let ready: Vec<bool> = watched.iter().skip(1).map(|fd| polled.is_ok() && fd.any().unwrap_or(true)).collect();
        let is_rung = polled.is_ok() && watched.first().and_then(PollFd::any).unwrap_or(false);
        if is_rung {
            let _ = self.fd.read();
        }
        let woken = match polled {
            _ if self.is_stopped() => Woken::Stopped,
            Ok(0) => Woken::Time,
            Ok(_) if ready.contains(&true) => Woken::Ready,
            Ok(_) | Err(Errno::EINTR) => Woken::Rung,
            Err(_) => Woken::Time,
        };
        (woken, ready)
    }

    /// Waits for a descriptor, at most until `until_boot_ns`, or until somebody rings.
    pub fn wait_for_or_ring(&self, fd: BorrowedFd<'_>, what: For, until_boot_ns: i64) -> Woken {
        if !self.is_stopped() && self.missed.swap(false, Ordering::AcqRel) {
            return Woken::Rung;
        }
        self.poll(Some((fd, what)), until_boot_ns)
    }

    fn poll(&self, fd: Option<(BorrowedFd<'_>, For)>, until_boot_ns: i64) -> Woken {
        if self.is_stopped() {
            return Woken::Stopped;
        }
        let flags = match fd {
            Some((_, For::Writing)) => PollFlags::POLLOUT,
            _ => PollFlags::POLLIN,
        };
        let bell = PollFd::new(self.fd.as_fd(), PollFlags::POLLIN);
        let mut fds = [bell, PollFd::new(fd.map_or(self.fd.as_fd(), |(fd, _)| fd), flags)];
        let watched = if fd.is_some() { &mut fds[..] } else { &mut fds[..1] };
        let left = u64::try_from(until_boot_ns.saturating_sub(clock::boot_ns())).unwrap_or(0);
        let is_ready = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
        match ppoll(watched, Some(TimeSpec::from_duration(Duration::from_nanos(left))), None) {
            Ok(0) => Woken::Time,
            // What came on the descriptor is worth more than a ring, which stays rung.
            Ok(_) if fd.is_some() && is_ready(&fds[1]) => Woken::Ready,
            Ok(_) => {
                let _ = self.fd.read();
                if self.is_stopped() { Woken::Stopped } else { Woken::Rung }
            }
            // A signal; sources block them all, tests may not.
            Err(Errno::EINTR) => Woken::Rung,
            // No memory for a poll of two descriptors: looking again later is all there is to do.
            Err(_) => Woken::Time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    const FAR: i64 = i64::MAX / 2;

    #[test]
    fn a_ring_before_the_wait_is_not_lost_and_rings_once() {
        let bell = Bell::new().expect("a descriptor");
        bell.ring();
        bell.ring();
        assert_eq!(bell.wait(FAR), Woken::Rung);
        assert_eq!(bell.wait(clock::boot_ns() + 1_000_000), Woken::Time);
    }

    #[test]
    fn a_ring_does_not_end_a_wait_for_a_descriptor_but_a_stop_does() {
        let bell = Arc::new(Bell::new().expect("a descriptor"));
        let (mut one, two) = UnixStream::pair().expect("a pair");
        bell.ring();
        assert_eq!(bell.wait_for(two.as_fd(), For::Reading, clock::boot_ns() + 1_000_000), Woken::Time);
        assert_eq!(bell.wait(FAR), Woken::Rung);
        one.write_all(b"x").expect("written");
        assert_eq!(bell.wait_for(two.as_fd(), For::Reading, FAR), Woken::Ready);
        assert_eq!(bell.wait_for(one.as_fd(), For::Writing, FAR), Woken::Ready);
        bell.ring();
        assert_eq!(bell.wait_for_or_ring(two.as_fd(), For::Reading, FAR), Woken::Ready, "bytes count before a ring");
        assert_eq!(bell.wait(FAR), Woken::Rung);
        let (_still, quiet) = UnixStream::pair().expect("a pair");
        bell.ring();
        assert_eq!(bell.wait_for_or_ring(quiet.as_fd(), For::Reading, FAR), Woken::Rung);
        let soon = clock::boot_ns() + 1_000_000;
        assert_eq!(bell.wait_for_or_ring(quiet.as_fd(), For::Reading, soon), Woken::Time);
        let (_silent, waits) = UnixStream::pair().expect("a pair");
        let other = Arc::clone(&bell);
        let thread = std::thread::spawn(move || other.wait_for(waits.as_fd(), For::Reading, FAR));
        bell.stop();
        assert_eq!(thread.join().expect("no panic"), Woken::Stopped);
        assert_eq!(bell.wait(FAR), Woken::Stopped);
    }

    #[test]
    fn of_several_descriptors_those_that_are_ready_are_named() {
        let bell = Bell::new().expect("a descriptor");
        let ((mut one, two), (_silent, waits)) =
            (UnixStream::pair().expect("a pair"), UnixStream::pair().expect("a pair"));
        let both = [(waits.as_fd(), PollFlags::POLLIN), (two.as_fd(), PollFlags::POLLIN)];
        assert_eq!(bell.wait_any(&both, clock::boot_ns() + 1_000_000), (Woken::Time, vec![false, false]));
        one.write_all(b"x").expect("written");
        assert_eq!(bell.wait_any(&both, FAR), (Woken::Ready, vec![false, true]));
        bell.ring();
        assert_eq!(bell.wait_any(&both[..1], FAR), (Woken::Rung, vec![false]));
        bell.stop();
        assert_eq!(bell.wait_any(&both, FAR), (Woken::Stopped, vec![false, false]));
    }
}
