//! systemd-imdsd: the metadata service by way of systemd, where direct access to it is prohibited.
//!
//! Responsibilities: questions over one kept connection of systemd's socket, with limits of time and size; what is to be
//! remembered between them. Inputs: the socket, paths. Outputs: answers or a `FetchError`. Must never log or quote an answer,
//! wait without a bound, take an answer that was kept for one of now, or ask for more than a source reads.
//!
//! Since version 261 systemd may give a machine of a cloud a `prohibit` route to its metadata service, so that connect(2) fails
//! with EACCES for everybody but systemd-imdsd(8), which asks on behalf of those whom polkit lets (action `io.systemd.imds.get`).
//! It speaks Varlink and runs a process for each connection, so one connection is kept: the process, and the service's token
//! in it, live as long. What differs from asking directly: no headers (no time of the service, no `ETag`), few statuses, no
//! requests but GET; docs/clouds/systemd-imdsd.md has what that means for each cloud.
//!
//! # Absence
//!
//! A 404 with a body, as AWS sends for "no notice", looks like any other status that is not told (`wire`). An error must not be
//! taken for absence: so where an item gets such an answer, the directories above it are read, and only a list that lacks it
//! says that it is not there. Where that does not help, the process behind the connection may hold a token that the service no
//! longer takes, which it does not notice for the same reason: it is left for another.
//!
//! The protocol is JSON that ends with a zero byte. The libraries for it were looked at: `varlink` (13.0) reads until the zero
//! byte without a limit of size or time and cannot be called away; `zlink` (0.8) needs an asynchronous runtime, which the thread
//! of a source must not have (`imds`). So serde reads and writes the JSON, and this file the bytes.

mod wire;

use super::imds::{FetchError, Found, Meanwhile, wait};
use crate::sys::bell::{Bell, For, Woken};
use crate::sys::clock;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use wire::{Refusal, Vendor};

/// The remark in the status of a source that asks this way.
pub const REMARK: &str = "through systemd-imdsd, because direct access is locked";

/// How long a list is good for saying that an item is not there that has just not been given, nanoseconds. Each question takes
/// systemd-imdsd a quarter of a second (measured with 262.1), and the items of AWS stand below the same directories.
const LIST_NS: i64 = 2_000_000_000;

/// A directory of the service.
#[derive(Debug)]
struct List {
    path: String,
    body: Vec<u8>,
    read_boot_ns: i64,
}

/// A client of systemd-imdsd. Used by one thread; [`Bell::stop`] ends its waiting from any other.
#[derive(Debug)]
pub(super) struct Imdsd {
    socket: PathBuf,
    bell: Arc<Bell>,
    connection: Option<UnixStream>,
    /// What the process behind the connection asks.
    vendor: Option<Vendor>,
    /// The number of the network interface on which the service was found.
    interface: Option<i64>,
    /// The process behind the connection has got an answer of the service: it has a token, where one is needed.
    has_answered: bool,
    lists: Vec<List>,
    /// The question as it is sent, and the answer as it comes: kept, so that little is allocated for them.
    call: Vec<u8>,
    answer: Vec<u8>,
}

impl Imdsd {
    /// A client of the socket at this path. Does nothing yet.
    pub(super) fn new(socket: &Path, bell: Arc<Bell>) -> Self {
        Self {
            socket: socket.to_owned(),
            bell,
            connection: None,
            vendor: None,
            interface: None,
            has_answered: false,
            lists: Vec::new(),
            call: Vec::new(),
            answer: Vec::new(),
        }
    }

    /// Whether there is a socket.
    pub(super) fn is_there(&self) -> bool {
        std::fs::metadata(&self.socket).is_ok_and(|found| found.file_type().is_socket())
    }

    /// Asks which service it is that systemd-imdsd asks. Everybody may.
    ///
    /// # Errors
    /// There is no usable answer until `until_boot_ns`.
    pub(super) fn vendor(&mut self, until_boot_ns: i64) -> Result<Vendor, FetchError> {
        if let Some(known) = &self.vendor {
            return Ok(known.clone());
        }
        wire::write_vendor(&mut self.call);
        let told = self.exchange(until_boot_ns, None);
        let told = told.and_then(|()| wire::parameters(&self.answer)).and_then(|told| wire::vendor(&told));
        let told = self.sorted(told)?;
        Ok(self.vendor.insert(told).clone())
    }

    /// Asks for what the service at `host` has at `path` now. 404 and 403 are answers like 200, with an empty body.
    ///
    /// # Errors
    /// There is no usable answer until `until_boot_ns`. `Closed`: the connection has died, or should; asking again helps.
    pub(super) fn get(
        &mut self,
        host: &str,
        path: &str,
        until_boot_ns: i64,
        meanwhile: Option<Meanwhile<'_>>,
    ) -> Result<Found, FetchError> {
        let vendor = self.vendor(until_boot_ns)?;
        let key = vendor.key(host, path)?;
        let untold = Refusal::Untold.into();
        match self.ask(&key, until_boot_ns, meanwhile) {
            Ok(found) => {
                self.lists.clear();
                Ok(found)
            }
            Err(FetchError::Status(status)) => Ok(Found { status, ..Found::default() }),
            // Azure has neither directories nor tokens.
            Err(error) if error == untold && !vendor.has_suffix => match self.is_absent(&key, until_boot_ns) {
                Ok(true) => Ok(Found { status: 404, ..Found::default() }),
                Err(error) if error == untold && self.has_answered => {
                    self.forget();
                    Err(FetchError::Closed)
                }
                Ok(false) => Err(untold),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Whether a directory above the key lacks it, or what it is in.
    fn is_absent(&mut self, key: &str, until_boot_ns: i64) -> Result<bool, FetchError> {
        for (path, name) in wire::directories(key) {
            let now_boot_ns = clock::boot_ns();
            self.lists.retain(|list| now_boot_ns.saturating_sub(list.read_boot_ns) < LIST_NS);
            let known = self.lists.iter().find(|list| list.path == path).map(|list| wire::lists(&list.body, &name));
            let has_it = if let Some(known) = known {
                known
            } else {
                let body = self.ask(&path, until_boot_ns, None)?.body;
                let has_it = wire::lists(&body, &name);
                self.lists.push(List { path, body, read_boot_ns: now_boot_ns });
                has_it
            };
            match has_it {
                Some(false) => return Ok(true),
                Some(true) => {}
                None => return Ok(false),
            }
        }
        Ok(false)
    }

    fn ask(&mut self, key: &str, until_boot_ns: i64, meanwhile: Option<Meanwhile<'_>>) -> Result<Found, FetchError> {
        wire::write_get(&mut self.call, key, self.interface);
        let told = self.exchange(until_boot_ns, meanwhile);
        let told = told.and_then(|()| wire::parameters(&self.answer)).and_then(|told| wire::found(&told));
        let (found, interface) = self.sorted(told)?;
        self.interface = interface.or(self.interface);
        self.has_answered = true;
        Ok(found)
    }

    /// After anything that may be the fault of the process behind the connection, or of the interface, both are chosen anew.
    /// A question that was given up must not have its answer taken for that of the next, and a process that has refused a
    /// key once refuses it for ever (`async_polkit_query_check_action`).
    fn sorted<T>(&mut self, told: Result<T, FetchError>) -> Result<T, FetchError> {
        match &told {
            Ok(_) | Err(FetchError::Status(_) | FetchError::Imdsd(Refusal::Untold)) => {}
            Err(_) => self.forget(),
        }
        told
    }

    fn forget(&mut self) {
        (self.connection, self.vendor, self.interface, self.has_answered) = (None, None, None, false);
        self.lists.clear();
    }

    fn exchange(&mut self, until_boot_ns: i64, meanwhile: Option<Meanwhile<'_>>) -> Result<(), FetchError> {
        let mut connection = match self.connection.take() {
            Some(kept) => kept,
            None => self.connect(until_boot_ns)?,
        };
        self.send(&mut connection, until_boot_ns)?;
        let can_be_kept = self.receive(&mut connection, until_boot_ns, meanwhile)?;
        self.connection = can_be_kept.then_some(connection);
        Ok(())
    }

    fn connect(&self, until_boot_ns: i64) -> Result<UnixStream, FetchError> {
        let connection = mio::net::UnixStream::connect(&self.socket).map_err(|error| unreachable(&error))?;
        let connection = UnixStream::from(connection);
        self.wait_for(&connection, For::Writing, until_boot_ns)?;
        match connection.take_error() {
            Ok(None) => Ok(connection),
            Ok(Some(error)) | Err(error) => Err(unreachable(&error)),
        }
    }

    fn wait_for(&self, connection: &UnixStream, what: For, until_boot_ns: i64) -> Result<(), FetchError> {
        match self.bell.wait_for(connection.as_fd(), what, until_boot_ns) {
            Woken::Ready => Ok(()),
            Woken::Stopped => Err(FetchError::Stopped),
            Woken::Rung | Woken::Time => Err(FetchError::Timeout),
        }
    }

    fn send(&self, connection: &mut UnixStream, until_boot_ns: i64) -> Result<(), FetchError> {
        let mut rest = &self.call[..];
        while !rest.is_empty() {
            match connection.write(rest) {
                Ok(0) => return Err(FetchError::Closed),
                Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                Err(error) if is_passing(&error) => self.wait_for(connection, For::Writing, until_boot_ns)?,
                Err(_) => return Err(FetchError::Closed),
            }
        }
        Ok(())
    }

    /// Reads one answer, without its zero byte. Gives whether the connection is good for another question.
    fn receive(
        &mut self,
        connection: &mut UnixStream,
        until_boot_ns: i64,
        mut meanwhile: Option<Meanwhile<'_>>,
    ) -> Result<bool, FetchError> {
        self.answer.clear();
        let mut chunk = [0u8; 4096];
        loop {
            match &mut meanwhile {
                Some(meanwhile) => wait(&self.bell, connection.as_fd(), until_boot_ns, meanwhile)?,
                None => self.wait_for(connection, For::Reading, until_boot_ns)?,
            }
            let read = match connection.read(&mut chunk) {
                Ok(0) => return Err(FetchError::Closed),
                Ok(length) => chunk.get(..length).unwrap_or_default(),
                Err(error) if is_passing(&error) => continue,
                Err(_) => return Err(FetchError::Closed),
            };
            let end = read.iter().position(|byte| *byte == 0);
            self.answer.extend_from_slice(end.map_or(read, |end| read.get(..end).unwrap_or_default()));
            if self.answer.len() > wire::ANSWER_BYTES_MAX {
                return Err(FetchError::TooLarge);
            }
            match end {
                // Bytes behind the answer belong to nothing that was asked.
                Some(end) => return Ok(end + 1 == read.len()),
                // A drop at a time is no answer.
                None if clock::boot_ns() >= until_boot_ns => return Err(FetchError::Timeout),
                None => {}
            }
        }
    }
}

/// Whether the call is to be made again when the descriptor is ready.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// What an error means while no connection is there yet (unix(7), connect(2)).
fn unreachable(error: &io::Error) -> FetchError {
    match error.kind() {
        ErrorKind::PermissionDenied => Refusal::NotAllowed.into(),
        // Nobody takes the connections that wait.
        ErrorKind::WouldBlock => FetchError::Timeout,
        _ => Refusal::NoSocket.into(),
    }
}
