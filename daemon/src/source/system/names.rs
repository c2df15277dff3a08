//! Whether a name is found, asked for on a thread of its own.
//!
//! Inputs: a name, the time. Outputs: answers. Must never hold up who asks, nor have more than one question open: a resolver that
//! does not answer takes half a minute.

use super::watcher::nanoseconds;
use crate::config::NameCheck;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::net::ToSocketAddrs;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;

/// Room for glibc's resolver and the modules that it loads, which are other people's.
const STACK_BYTES: usize = 512 << 10;

/// Asks for one name now and then.
pub struct Names {
    check: NameCheck,
    open: Option<Receiver<Result<(), String>>>,
    /// Rung when there is an answer.
    bell: Arc<EventFd>,
    next_boot_ns: i64,
}

impl Names {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// No descriptor is to be had.
    pub fn new(check: &NameCheck) -> Result<Self, String> {
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let bell = Arc::new(bell.map_err(|error| error.desc().to_owned())?);
        Ok(Self { check: check.clone(), open: None, bell, next_boot_ns: i64::MIN })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.check.name
    }

    /// Ready when there is an answer.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// When it wants to be looked at, CLOCK_BOOTTIME nanoseconds.
    pub fn next_boot_ns(&self) -> i64 {
        if self.open.is_some() { i64::MAX } else { self.next_boot_ns }
    }

    /// Takes an answer that has come, and asks when it is time. Why the name was not found is in words.
    pub fn look(&mut self, now_boot_ns: i64) -> Option<Result<(), String>> {
        let _ = self.bell.read();
        let answer = match self.open.as_ref().map(Receiver::try_recv) {
            Some(Ok(answer)) => Some(answer),
            Some(Err(TryRecvError::Empty)) => return None,
            // Its thread ended without a word.
            Some(Err(TryRecvError::Disconnected)) | None => None,
        };
        if self.open.take().is_some() {
            self.next_boot_ns = now_boot_ns.saturating_add(nanoseconds(self.check.interval_seconds));
        }
        if now_boot_ns >= self.next_boot_ns {
            self.ask(now_boot_ns);
        }
        answer
    }

    fn ask(&mut self, now_boot_ns: i64) {
        let (sender, receiver) = mpsc::channel();
        let (name, bell) = (self.check.name.clone(), Arc::clone(&self.bell));
        let body = move || {
            let found = (name.as_str(), 0).to_socket_addrs().map(drop).map_err(|error| error.to_string());
            let _ = sender.send(found);
            let _ = bell.write(1);
        };
        let thread = thread::Builder::new().name("snooze-name".into()).stack_size(STACK_BYTES);
        match thread.spawn(body) {
            Ok(_) => self.open = Some(receiver),
            Err(_) => self.next_boot_ns = now_boot_ns.saturating_add(nanoseconds(self.check.interval_seconds)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    fn answer(name: &str) -> Result<(), String> {
        let check = NameCheck { name: name.into(), interval_seconds: 60.0 };
        let mut names = Names::new(&check).expect("a descriptor");
        assert_eq!(names.look(0), None, "it is asked now");
        assert_eq!(names.next_boot_ns(), i64::MAX, "the answer rings");
        poll(&mut [PollFd::new(names.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).expect("it rings");
        let answer = names.look(1).expect("an answer");
        assert_eq!(names.next_boot_ns(), 60_000_000_001);
        answer
    }

    #[test]
    fn a_name_that_is_known_is_found_and_one_that_cannot_be_is_not() {
        assert_eq!(answer("localhost"), Ok(()));
        assert!(answer("no such name").is_err());
    }
}
