//! One mail server: where it is, how it is greeted, and a connection to it that is ready before the event.
//!
//! Inputs: the checked settings. Outputs: connections, greeted, encrypted and logged in. Must never send the password over a
//! connection that is not encrypted, unless the operator said so, nor send any mail by itself.

use crate::dialog::{Dialog, Patience, SLICE, Tls};
use crate::fault::Fault;
use cloudsnooze_plugin::Error;
use cloudsnooze_plugin::keeper::{Connector, Health};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::extension::ClientId;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Longest time to open a connection ahead of need. Some servers let strangers wait some seconds, on purpose.
const OPEN_LIMIT: Duration = Duration::from_secs(15);
/// Longest time to check one.
const CHECK_LIMIT: Duration = Duration::from_secs(3);

/// How the connection is protected.
pub(crate) enum Protection {
    /// Not at all.
    None,
    /// Encrypted after the greeting.
    StartTls(Tls),
    /// From the first byte.
    Tls(Tls),
}

/// A server.
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) protection: Protection,
    /// Without encryption only to this machine.
    pub(crate) loopback_only: bool,
    /// What must not be shown when the server repeats it.
    password: Option<String>,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) hello: ClientId,
    /// Addresses of the name, as they were looked up last.
    known: Mutex<Vec<SocketAddr>>,
    /// The instance is ending: whatever the keeper waits for is not needed any more.
    is_stopping: AtomicBool,
}

impl Server {
    pub(crate) fn new(
        host: String,
        port: u16,
        protection: Protection,
        loopback_only: bool,
        password: Option<String>,
        credentials: Option<Credentials>,
        hello: ClientId,
    ) -> Self {
        let (known, is_stopping) = (Mutex::default(), AtomicBool::new(false));
        Self { host, port, protection, loopback_only, password, credentials, hello, known, is_stopping }
    }

    /// A text that may repeat the password, without it. One of less than four characters hides nothing.
    pub(crate) fn shown(&self, text: &str) -> String {
        match &self.password {
            Some(password) if password.len() >= 4 => text.replace(password.as_str(), "[secret]"),
            _ => text.to_owned(),
        }
    }

    /// The error for the host.
    pub(crate) fn error(&self, fault: Fault) -> Error {
        let error = fault.into_error(&self.address());
        Error::new(self.shown(error.message())).code(error.kind())
    }

    /// For texts.
    pub(crate) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Ends what the keeper waits for, or lets it wait again.
    pub(crate) fn set_stopping(&self, is_stopping: bool) {
        self.is_stopping.store(is_stopping, Ordering::Release);
    }

    /// A connection, ready for mail. With addresses known from before, no name server is asked.
    pub(crate) fn connect(&self, patience: Patience<'_>) -> Result<Dialog, Fault> {
        let known = self.known().clone();
        if !known.is_empty() {
            match self.dialog(&known, patience) {
                // They may be outdated.
                Err(Fault::Unreachable(_)) if self.host.parse::<IpAddr>().is_err() => {}
                result => return result,
            }
        }
        let found = self.look_up(patience)?;
        *self.known() = found.clone();
        self.dialog(&found, patience)
    }

    fn dialog(&self, addresses: &[SocketAddr], patience: Patience<'_>) -> Result<Dialog, Fault> {
        if self.loopback_only && addresses.iter().any(|address| !address.ip().is_loopback()) {
            return Err(Fault::Unfit(
                "without encryption mail goes only to this machine; set security, or insecure to true".to_owned(),
            ));
        }
        let at_once = if let Protection::Tls(tls) = &self.protection { Some(tls) } else { None };
        let mut dialog = Dialog::connect(addresses, at_once, patience)?;
        dialog.hello(&self.hello, patience)?;
        if let Protection::StartTls(tls) = &self.protection {
            dialog.start_tls(tls, &self.hello, patience)?;
        }
        if let Some(credentials) = &self.credentials {
            dialog.log_in(credentials, patience)?;
        }
        Ok(dialog)
    }

    /// Asks the system, on a thread of its own: it has no limit that one could set. The thread ends with its answer.
    fn look_up(&self, patience: Patience<'_>) -> Result<Vec<SocketAddr>, Fault> {
        if let Ok(ip) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, self.port)]);
        }
        let (answer, answered) = mpsc::channel();
        let asked = (self.host.clone(), self.port);
        let look_up = move || {
            // Nobody waits any more when that took too long.
            let _told = answer.send(asked.to_socket_addrs().map(Iterator::collect));
        };
        let spawned = thread::Builder::new().name("smtp-name".to_owned()).spawn(look_up);
        spawned.map_err(|error| Fault::Unreachable(format!("no thread to look the name up: {error}")))?;
        loop {
            patience.left()?;
            match answered.recv_timeout(SLICE) {
                Ok(Ok(addresses)) => return Ok(addresses),
                Ok(Err(error)) => return Err(Fault::Unreachable(error.to_string())),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Fault::Unreachable("the name was not looked up".to_owned()));
                }
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connector for Server {
    type Connection = Dialog;

    fn open(&self) -> Result<Dialog, Error> {
        let is_cancelled = || self.is_stopping.load(Ordering::Acquire);
        let patience = Patience { until: Instant::now() + OPEN_LIMIT, is_cancelled: &is_cancelled };
        // Looked up afresh: addresses change, and here there is time.
        let opened = self.look_up(patience).and_then(|found| {
            *self.known() = found.clone();
            self.dialog(&found, patience)
        });
        opened.map_err(|fault| self.error(fault))
    }

    fn check(&self, connection: &mut Dialog) -> Health {
        let is_cancelled = || self.is_stopping.load(Ordering::Acquire);
        let patience = Patience { until: Instant::now() + CHECK_LIMIT, is_cancelled: &is_cancelled };
        if connection.is_alive(patience) { Health::Alive } else { Health::Dead }
    }
}
