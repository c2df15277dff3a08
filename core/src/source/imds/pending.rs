//! A question that is put once and not waited for: the answer is looked for now and then, and may take minutes.
//!
//! Inputs: a path, headers. Outputs: the answer, when it is there. Must never wait. A client that has put such a question is
//! used for nothing else until it was answered.

use super::super::reply::{self, Parsed};
use super::{CONNECT_TIMEOUT_NS, FetchError, Found, Header, MetadataClient, broken};
use crate::sys::bell::{For, Woken};
use crate::sys::clock;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;

impl MetadataClient {
    /// Asks for `path` on a new connection, and does not wait for the answer: see [`Self::hear`].
    ///
    /// # Errors
    /// The question could not be sent.
    pub fn begin(&mut self, path: &str, headers: &[Header<'_>]) -> Result<(), FetchError> {
        self.write_down("GET", path, headers)?;
        let until_boot_ns = clock::boot_ns().saturating_add(CONNECT_TIMEOUT_NS);
        let mut connection = self.connect(until_boot_ns)?;
        self.send(&mut connection, until_boot_ns)?;
        self.answer.clear();
        self.connection = Some(connection);
        Ok(())
    }

    /// The answer is not wanted any more.
    pub fn give_up(&mut self) {
        self.connection = None;
    }

    /// The answer to [`Self::begin`]; None while it is not all there.
    ///
    /// # Errors
    /// Anything but a complete 200. The question is then over.
    pub fn hear(&mut self) -> Result<Option<Found>, FetchError> {
        let mut connection = self.connection.take().ok_or(FetchError::Closed)?;
        let mut chunk = [0u8; 4096];
        loop {
            match self.bell.wait_for(connection.as_fd(), For::Reading, clock::boot_ns()) {
                Woken::Ready => {}
                Woken::Stopped => return Err(FetchError::Stopped),
                Woken::Rung | Woken::Time => {
                    self.connection = Some(connection);
                    return Ok(None);
                }
            }
            let length = match connection.read(&mut chunk) {
                Ok(length) => length,
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => continue,
                Err(error) => return Err(broken(&error)),
            };
            self.answer.extend_from_slice(&chunk[..length]);
            match reply::parse(&self.answer, length == 0)? {
                Parsed::Whole { found, .. } if found.status == 200 => return Ok(Some(found)),
                Parsed::Whole { found, .. } => return Err(FetchError::Status(found.status)),
                Parsed::Part if length == 0 => return Err(FetchError::Closed),
                Parsed::Part => {}
            }
        }
    }
}
