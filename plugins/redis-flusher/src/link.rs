//! One connection to the server.
//!
//! Inputs: a [`Target`], commands, a [`Watch`] that says how long they may take. Outputs: answers, and [`Fault`]s that tell a
//! refused command from a lost connection. Must never wait longer than it was told to, and must never show the password.

use crate::config::Target;
use cloudsnooze_plugin::Call;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use redis::{Client, Connection, ConnectionAddr, ConnectionLike, ErrorKind, FromRedisValue, RedisError};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Longest wait for one answer. Every command used here is answered at once; a server that is busy for longer with something
/// else is as good as lost, and a call that is cancelled must not hang on it.
const ANSWER: Duration = Duration::from_secs(5);
/// A timeout of zero means none to the kernel.
const SHORTEST: Duration = Duration::from_millis(1);

/// What went wrong between us and the server.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// No usable connection.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// Where to.
        address: String,
        /// Why, in words of the system or of the server.
        reason: String,
    },
    /// The connection ended or stayed silent.
    #[error("lost the connection to the server: {0}")]
    Lost(String),
    /// The server answered, with a refusal.
    #[error("{0}")]
    Refused(String),
    /// The same for want of a right, or of a right password.
    #[error("{0}")]
    Denied(String),
    /// The time for it was over.
    #[error("the server did not answer in time")]
    Late,
    /// The call was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl Fault {
    /// Whether nothing more can be asked on the connection, or need be: unlike a refusal, it ends the work.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Refused(_) | Self::Denied(_))
    }
}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        let code = error.code().unwrap_or_default();
        let is_denial =
            error.kind() == ErrorKind::AuthenticationFailed || ["NOPERM", "NOAUTH", "WRONGPASS"].contains(&code);
        let text = || [code, error.detail().unwrap_or_default()].join(" ").trim().to_owned();
        match error.kind() {
            ErrorKind::AuthenticationFailed => Self::Denied("the user name or the password is wrong".to_owned()),
            _ if is_denial => Self::Denied(text()),
            _ if error.is_timeout() => Self::Lost("the server did not answer in time".to_owned()),
            ErrorKind::Server(_) | ErrorKind::Extension => Self::Refused(text()),
            _ => Self::Lost(error.to_string()),
        }
    }
}

/// How long something may take. Cheap to copy.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    ends: Instant,
    call: Option<&'a Call<'a>>,
}

impl<'a> Watch<'a> {
    /// Until `ends`, or until the call is cancelled.
    pub fn of_call(call: &'a Call<'a>, ends: Instant) -> Self {
        Self { ends, call: Some(call) }
    }

    /// So long, with nobody to cancel it.
    pub fn lasting(patience: Duration) -> Watch<'static> {
        Watch { ends: Instant::now() + patience, call: None }
    }

    /// The same, but so long at most.
    #[must_use]
    pub fn at_most(self, limit: Duration) -> Self {
        Self { ends: self.ends.min(Instant::now() + limit), ..self }
    }

    /// Time left.
    pub fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// Why there is an end to it, if there is.
    pub fn over(&self) -> Option<Fault> {
        if self.call.is_some_and(|call| call.cancelled().is_some()) {
            return Some(Fault::Cancelled);
        }
        self.left().is_zero().then_some(Fault::Late)
    }

    /// Pauses for `pause` at most; false when it is over.
    pub fn pause(&self, pause: Duration) -> bool {
        std::thread::sleep(pause.min(self.left()));
        self.over().is_none()
    }
}

/// An open, authenticated connection.
pub struct Link {
    connection: Connection,
    is_sound: bool,
}

impl Link {
    /// Connects and logs in.
    ///
    /// # Errors
    /// Why there is no connection.
    pub fn open(target: &Target, watch: &Watch<'_>) -> Result<Self, Fault> {
        let fault = |reason: String| Fault::Connect { address: target.address(), reason };
        if let Some(over) = watch.over() {
            return Err(over);
        }
        if let ConnectionAddr::Unix(path) = target.login.addr() {
            takes_connections(path).map_err(|e| fault(e.to_string()))?;
        }
        let opened = Client::open(target.login.clone())
            .and_then(|client| client.get_connection_with_timeout(watch.left().max(SHORTEST)));
        match opened {
            Ok(connection) => Ok(Self { connection, is_sound: true }),
            Err(error) if error.is_timeout() => Err(fault("the server did not answer in time".to_owned())),
            Err(error) => Err(match Fault::from(error) {
                Fault::Lost(reason) => fault(reason),
                refused => refused,
            }),
        }
    }

    /// Runs a command.
    ///
    /// # Errors
    /// The refusal, the lost connection, or that the watch was over.
    pub fn ask<T: FromRedisValue>(&mut self, words: &[&str], watch: &Watch<'_>) -> Result<T, Fault> {
        if let Some(over) = watch.over() {
            return Err(over);
        }
        let patience = Some(watch.left().clamp(SHORTEST, ANSWER));
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        let connection = &mut self.connection;
        let asked = connection
            .set_read_timeout(patience)
            .and_then(|()| connection.set_write_timeout(patience))
            .and_then(|()| command.query(connection));
        asked.map_err(|error: RedisError| {
            let fault = Fault::from(error);
            self.is_sound &= !fault.is_final();
            // Not the server was too slow, but all time is over.
            if fault.is_final() { watch.over().unwrap_or(fault) } else { fault }
        })
    }

    /// Whether it can be used further.
    pub fn is_sound(&self) -> bool {
        self.is_sound && self.connection.is_open()
    }
}

/// Connecting to a unix socket has no timeout: with a full queue of a frozen server it would block for good. A connect that
/// does not block is refused instead (connect(2): EAGAIN).
fn takes_connections(path: &Path) -> nix::Result<()> {
    let made = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)?;
    connect(made.as_raw_fd(), &UnixAddr::new(path)?)
}
