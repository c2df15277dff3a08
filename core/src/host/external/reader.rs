//! The thread beside each process: reads what it writes, and reaps it.
//!
//! Inputs: the process's standard output and error, the order to end. Outputs: messages and log lines to
//! the [`Conversation`], then how the process ended. It is the only place that reaps, so that nobody can
//! signal a number that has gone to another process. Must never trust a line, or leave anyone of the
//! process's group alive.

use super::conversation::{Cause, Conversation};
use super::lines::{Line, Lines};
use super::process::{self, wait_ready};
use super::wire::{self, LINE_BYTES_MAX};
use crate::host::delivery::Status;
use crate::sys::{clock, sched};
use nix::poll::PollFlags;
use nix::sys::eventfd::EventFd;
use nix::unistd::Pid;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::process::{ChildStderr, ChildStdout};
use std::sync::Arc;
use std::time::Duration;

/// Longest line of standard error kept, bytes.
const WORDS_BYTES_MAX: usize = 4096;
/// Bytes read at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// How long a process may live on after it closed its standard output.
const EXIT_WAIT: Duration = Duration::from_secs(1);
/// Longest pause between two looks at whether a process ended.
const LOOK_MS_MAX: u16 = 50;
/// Most chunks read after the end: a stranger may hold the pipe and go on writing.
const LAST_CHUNKS_MAX: usize = 64;

/// What the thread owns.
pub struct Reader {
    conversation: Arc<Conversation>,
    pid: Pid,
    stdout: ChildStdout,
    stderr: Option<ChildStderr>,
    stop: Arc<EventFd>,
    messages: Lines,
    words: Lines,
    chunk: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Got {
    Bytes,
    Nothing,
    End,
}

impl Reader {
    /// A reader of a process that was just started; `stop` turns readable when it is to end.
    pub fn new(
        conversation: Arc<Conversation>,
        pid: Pid,
        (stdout, stderr): (ChildStdout, ChildStderr),
        stop: Arc<EventFd>,
    ) -> Self {
        Self {
            conversation,
            pid,
            stdout,
            stderr: Some(stderr),
            stop,
            messages: Lines::new(LINE_BYTES_MAX),
            words: Lines::new(WORDS_BYTES_MAX),
            chunk: vec![0; CHUNK_BYTES],
        }
    }

    /// Reads until the process ends or is to end, and reaps it.
    pub fn run(mut self) {
        sched::block_all_signals();
        let told = self.listen();
        self.await_end(if told { Duration::ZERO } else { EXIT_WAIT });
        let how = self.conversation.reap();
        self.read_leftovers();
        self.conversation.ended(&how);
    }

    /// Returns whether the process was told to end; otherwise it closed its output by itself.
    fn listen(&mut self) -> bool {
        loop {
            let stderr = self.stderr.as_ref().map(AsFd::as_fd);
            let [told, words, messages] = wait_ready(
                [
                    (Some(self.stop.as_fd()), PollFlags::POLLIN),
                    (stderr, PollFlags::POLLIN),
                    (Some(self.stdout.as_fd()), PollFlags::POLLIN),
                ],
                u16::MAX,
            );
            if told {
                return true;
            }
            if words {
                self.read_words();
            }
            if messages && self.read_messages() == Got::End {
                return false;
            }
        }
    }

    /// Waits for the end, at most `limit` before the group is killed.
    fn await_end(&mut self, limit: Duration) {
        let mut until_ns = clock::boot_ns() + i64::try_from(limit.as_nanos()).unwrap_or(0);
        let (mut pause_ms, mut told, mut killed) = (1, false, false);
        while !process::has_ended(self.pid) {
            if !killed && clock::boot_ns() >= until_ns {
                self.conversation.kill_group();
                killed = true;
            }
            let stop = (!told).then(|| self.stop.as_fd());
            let stderr = self.stderr.as_ref().map(AsFd::as_fd);
            let [now_told, words] = wait_ready([(stop, PollFlags::POLLIN), (stderr, PollFlags::POLLIN)], pause_ms);
            if now_told {
                (told, until_ns) = (true, 0);
            }
            if words {
                self.read_words();
            }
            pause_ms = (pause_ms * 2).min(LOOK_MS_MAX);
        }
    }

    /// What was written just before the end still counts.
    fn read_leftovers(&mut self) {
        for _ in 0..LAST_CHUNKS_MAX {
            if self.read_messages() != Got::Bytes {
                break;
            }
        }
        let rest = self.messages.take_rest();
        if wire::parse(&rest).is_ok() {
            let _ = self.conversation.accept(&rest);
        }
        for _ in 0..LAST_CHUNKS_MAX {
            if self.read_words() != Got::Bytes {
                break;
            }
        }
        self.conversation.hear(&self.words.take_rest());
    }

    fn read_messages(&mut self) -> Got {
        let (got, count) = read(&mut self.stdout, &mut self.chunk);
        let conversation = &self.conversation;
        let taken = self.messages.push(&self.chunk[..count], |line| match line {
            Line::Whole(line) => conversation.accept(line),
            Line::Cut(_) => {
                let text = format!("wrote a line longer than {LINE_BYTES_MAX} bytes");
                Err(Cause::new(Status::Failed, text))
            }
        });
        match taken {
            Ok(()) => got,
            Err(cause) => {
                conversation.end(cause);
                // `end` made `stop` readable, so that `listen` returns; here nothing more is read.
                Got::Nothing
            }
        }
    }

    fn read_words(&mut self) -> Got {
        let Some(stderr) = self.stderr.as_mut() else { return Got::End };
        let (got, count) = read(stderr, &mut self.chunk);
        if got == Got::End {
            self.stderr = None;
        }
        let conversation = &self.conversation;
        let Ok(()) = self.words.push::<std::convert::Infallible>(&self.chunk[..count], |line| {
            let (Line::Whole(text) | Line::Cut(text)) = line;
            conversation.hear(text);
            Ok(())
        });
        got
    }
}

/// One read of a pipe that does not block: what came, and how many bytes.
fn read(pipe: &mut impl Read, chunk: &mut [u8]) -> (Got, usize) {
    match pipe.read(chunk) {
        Ok(0) => (Got::End, 0),
        Ok(count) => (Got::Bytes, count),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => (Got::Nothing, 0),
        Err(_) => (Got::End, 0),
    }
}
