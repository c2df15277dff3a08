//! The first words between the daemon and the process of an isolated plugin: what it is to do, and whether it can.
//!
//! Inputs: a message each way over a socket, descriptors with the first. Outputs: the same, parsed. The daemon takes at
//! most [`REPLY_BYTES_MAX`] bytes in at most the time it names; nothing of it is believed before it is checked. Must never
//! be used while events are handled: that is `exchange`'s.

use crate::event::Pattern;
use crate::host::instance::{Abilities, Subscription};
use crate::host::refusal::Refusal;
use crate::sys::clock;
use crate::sys::confine::Account;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// Longest reply, bytes: every subscription that there can be fits.
const REPLY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Longest order: a configuration has at most 1 MiB a file.
const ORDER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most subscriptions, and most types in one: what `services` takes.
const SUBSCRIPTIONS_MAX: usize = 64;

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Depth {
    /// Load, and check the configuration.
    Check,
    /// Make an instance, ask what it subscribes to, free it.
    Rehearse,
    /// Make an instance, open it, and take calls.
    Run,
}

/// What the process is told. It is the daemon's word.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// Version of the daemon: both ends are to be of one build.
    pub version: String,
    /// How far to go.
    pub depth: Depth,
    /// Name of the plugin.
    pub plugin: String,
    /// "EVENT_TYPE/PLUGIN".
    pub instance: String,
    /// The configuration with its secrets resolved.
    pub config: Value,
    /// Directory of the instance's own.
    pub state_dir: PathBuf,
    /// Where the library lies; its descriptor comes along.
    pub path: PathBuf,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Device, inode, size, time, as `trust` gives them.
    pub identity: (u64, u64, u64, i64),
    /// Lines up to this level are kept.
    pub log_level: u32,
    /// Who to become.
    pub account: Option<Account>,
    /// The only places to write to.
    pub writable: Option<Vec<PathBuf>>,
    /// Whether to keep its memory from being swapped out.
    pub lock_memory: bool,
}

/// What it says when it is up, or when a check went well.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Started {
    /// Version of the plugin.
    pub version: String,
    /// What it subscribed to: types, priority, time wanted in microseconds.
    pub subscriptions: Vec<(Vec<String>, u32, u64)>,
    /// Whether it offers to verify.
    pub verify: bool,
    /// What it can do beyond handling an event.
    pub abilities: Abilities,
    /// What the kernel enforces.
    pub confinement: Vec<String>,
}

impl Started {
    /// What it subscribed to, checked again on this side. The token is the subscription's number, from 1: the plugin's
    /// own pointer stays in its process.
    pub fn subscriptions(&self) -> Vec<Subscription> {
        let all = self.subscriptions.iter().take(SUBSCRIPTIONS_MAX).enumerate();
        let checked = all.filter(|(_, (kinds, priority, _))| {
            *priority <= 999 && !kinds.is_empty() && kinds.iter().all(|kind| Pattern::parse(kind).is_ok())
        });
        checked
            .map(|(n, (kinds, priority, budget_us))| Subscription {
                kinds: kinds.iter().take(SUBSCRIPTIONS_MAX).cloned().collect(),
                priority: *priority,
                budget_us: *budget_us,
                token: n + 1,
            })
            .collect()
    }
}

/// The process's answer.
pub type Reply = Result<Started, Refusal>;

/// Sends a message: its length, then JSON.
///
/// # Errors
/// What the system says; a reader that takes too long included.
pub fn send(mut socket: &UnixStream, message: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    socket.write_all(&length.to_le_bytes())?;
    socket.write_all(&text)
}

/// The daemon's order. For the plugin's process, which has nothing to do before it comes.
///
/// # Errors
/// What the system says.
pub fn receive_order(socket: &UnixStream) -> io::Result<Order> {
    receive(socket, ORDER_BYTES_MAX, i64::MAX)
}

/// The process's reply, at the latest at `until_ns` (CLOCK_BOOTTIME).
///
/// # Errors
/// It ended, took too long, or wrote something else.
pub fn receive_reply(socket: &UnixStream, until_ns: i64) -> io::Result<Reply> {
    receive(socket, REPLY_BYTES_MAX, until_ns)
}

fn receive<T: DeserializeOwned>(socket: &UnixStream, max: usize, until_ns: i64) -> io::Result<T> {
    let mut length = [0; 4];
    fill(socket, &mut length, until_ns)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > max {
        return Err(io::Error::other(format!("a message of {length} bytes, at most {max} are taken")));
    }
    let mut text = vec![0; length];
    fill(socket, &mut text, until_ns)?;
    Ok(serde_json::from_slice(&text)?)
}

fn fill(mut socket: &UnixStream, mut rest: &mut [u8], until_ns: i64) -> io::Result<()> {
    while !rest.is_empty() {
        if until_ns != i64::MAX {
            let left = u64::try_from(until_ns.saturating_sub(clock::boot_ns())).unwrap_or(0);
            if left == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            // In slices: the clock goes on during suspend, and a slow writer must not gain time with each byte.
            socket.set_read_timeout(Some(Duration::from_nanos(left).min(Duration::from_millis(500))))?;
        }
        match socket.read(rest) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => rest = &mut rest[count..],
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_comes_through_and_what_is_none_is_refused_in_time() {
        let (mut theirs, ours) = UnixStream::pair().expect("a pair");
        let soon = || clock::boot_ns() + 20_000_000;
        send(&theirs, &Reply::Err(Refusal::Create("no".into()))).expect("sent");
        let reply = receive_reply(&ours, soon()).expect("received");
        assert_eq!(reply.err(), Some(Refusal::Create("no".into())));
        for bytes in [&[255, 255, 255, 255][..], &[2, 0, 0, 0, b'{', b'['], &[9, 0, 0, 0, b'{']] {
            theirs.write_all(bytes).expect("written");
            let error = receive_reply(&ours, soon()).expect_err("refused");
            assert_ne!(error.to_string(), "", "{bytes:?}");
        }
        drop(theirs);
        let error = receive_reply(&ours, i64::MAX - 1).expect_err("the end");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn subscriptions_that_make_no_sense_are_left_out_and_keep_their_numbers() {
        let one = |kind: &str, priority| (vec![kind.to_owned()], priority, 5);
        let subscriptions = vec![one("a.b", 1), one("not a type", 1), (vec![], 1, 0), one("c", 1000), one("*", 999)];
        let started = Started { subscriptions, ..Started::default() };
        let checked: Vec<_> = started.subscriptions().into_iter().map(|s| (s.kinds, s.priority, s.token)).collect();
        assert_eq!(checked, [(vec!["a.b".to_owned()], 1, 1), (vec!["*".to_owned()], 999, 5)]);
        let many = Started { subscriptions: vec![one("a", 1); 1000], ..Started::default() };
        assert_eq!(many.subscriptions().len(), SUBSCRIPTIONS_MAX);
    }
}
