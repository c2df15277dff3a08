//! The client of the daemon's control socket: HTTP/1.1 over a unix socket.
//!
//! Inputs: a path of the interface, JSON. Outputs: replies, or errors that say what to do. Must never
//! use a proxy or the network, nor wait without a bound except on a stream.

use super::fault::Fault;
use crate::control::wire::{Failure, Needs};
use crate::sys::clock;
use nix::unistd::{Gid, Group};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for a plain reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// What to do when no daemon answers.
const HINT: &str = "(start it: systemctl start cloudsnooze; other socket: --socket)";
/// Longest line of a stream that is kept, bytes.
const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The daemon, as seen from the command line. Blocks the calling thread.
pub struct Daemon {
    runtime: Runtime,
    client: Client,
    socket: PathBuf,
}

impl Daemon {
    /// The daemon that listens at `socket`. Does not connect yet.
    ///
    /// # Errors
    /// The process lacks what a client needs (file descriptors, say).
    pub fn at(socket: &Path) -> Result<Self, Fault> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let client = Client::builder().unix_socket(socket).no_proxy().connect_timeout(CONNECT_TIMEOUT).build();
        match (runtime, client) {
            (Ok(runtime), Ok(client)) => Ok(Self { runtime, client, socket: socket.to_owned() }),
            (Err(error), _) => Err(Fault::InputOutput(format!("cannot start the client: {error}"))),
            (_, Err(error)) => Err(Fault::InputOutput(format!("cannot start the client: {}", chain(&error)))),
        }
    }

    /// The text of a reply to GET.
    ///
    /// # Errors
    /// The daemon cannot be reached, or refuses.
    pub fn get(&self, path: &str) -> Result<String, Fault> {
        self.text(self.request(Method::GET, path))
    }

    /// The text of a reply to POST.
    ///
    /// # Errors
    /// The daemon cannot be reached, or refuses.
    pub fn post(&self, path: &str, body: &impl Serialize) -> Result<String, Fault> {
        let body = serde_json::to_vec(body).map_err(|e| Fault::Broken(format!("cannot write the request: {e}")))?;
        self.text(self.request(Method::POST, path).header(header::CONTENT_TYPE, "application/json").body(body))
    }

    /// A reply to GET that goes on, line by line.
    ///
    /// # Errors
    /// The daemon cannot be reached, or refuses.
    pub fn stream(&self, path: &str) -> Result<Lines<'_>, Fault> {
        let request = self.request(Method::GET, path);
        let response = self.runtime.block_on(async {
            // The reply's head comes at once; only its lines may take forever.
            let reply = tokio::time::timeout(REPLY_TIMEOUT, request.send()).await;
            let reply = reply.map_err(|_| Fault::Unreachable(self.silent()))?;
            self.accepted(reply.map_err(|e| self.fault(&e))?).await
        })?;
        Ok(Lines { daemon: self, response, buffer: Vec::new(), searched: 0 })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        // The host is not looked up: the connection is the socket.
        self.client.request(method, format!("http://snoozed{path}"))
    }

    fn text(&self, request: RequestBuilder) -> Result<String, Fault> {
        self.runtime.block_on(async {
            let reply = request.timeout(REPLY_TIMEOUT).send().await.map_err(|e| self.fault(&e))?;
            self.accepted(reply).await?.text().await.map_err(|e| self.fault(&e))
        })
    }

    async fn accepted(&self, reply: Response) -> Result<Response, Fault> {
        let status = reply.status();
        if status.is_success() {
            return Ok(reply);
        }
        let text = reply.text().await.map_err(|e| self.fault(&e))?;
        Err(match serde_json::from_str::<Failure>(&text) {
            Ok(Failure { error, needs: Some(needs), .. }) => Fault::Forbidden(refused(&error, &needs)),
            Ok(failure) => Fault::Refused { status: status.as_u16(), message: failure.error, details: failure.details },
            Err(_) if status == StatusCode::NOT_FOUND => {
                Fault::Broken("the daemon does not know this request (is it older than this command?)".into())
            }
            Err(_) => Fault::Broken(format!("the daemon answered {status} without a reason")),
        })
    }

    fn fault(&self, error: &reqwest::Error) -> Fault {
        let path = self.socket.display();
        match io_kind(error) {
            Some(io::ErrorKind::NotFound) => {
                Fault::Unreachable(format!("snoozed is not running, or listens elsewhere: no socket at {path} {HINT}"))
            }
            Some(io::ErrorKind::ConnectionRefused) => {
                Fault::Unreachable(format!("snoozed is not running: nobody listens at {path} {HINT}"))
            }
            Some(io::ErrorKind::PermissionDenied) => Fault::Forbidden(forbidden(&self.socket)),
            _ if error.is_timeout() => Fault::Unreachable(self.silent()),
            _ => Fault::Unreachable(format!("the connection to snoozed at {path} broke: {}", chain(error))),
        }
    }

    fn silent(&self) -> String {
        let waited = REPLY_TIMEOUT.as_secs();
        format!(
            "snoozed at {} gave no answer within {waited} s (see: journalctl -u cloudsnooze)",
            self.socket.display()
        )
    }
}

/// Reads a reply.
///
/// # Errors
/// It is not of the form expected.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| {
        Fault::Broken(format!(
            "the daemon's answer is not understood: {error} (are snoozed and snooze of one version?)"
        ))
    })
}

/// What waiting for a line brought.
#[derive(Debug)]
pub enum Waited {
    /// A line.
    Line(String),
    /// The daemon has ended the stream.
    Ended,
    /// The time was over first.
    TimeOver,
}

/// The lines of a reply that goes on.
pub struct Lines<'d> {
    daemon: &'d Daemon,
    response: Response,
    buffer: Vec<u8>,
    /// Bytes of `buffer` known to hold no line break.
    searched: usize,
}

impl Lines<'_> {
    /// Waits for the next line; None when the daemon ends the stream.
    ///
    /// # Errors
    /// The connection broke, or a line is longer than 8 MiB.
    pub fn next_line(&mut self) -> Result<Option<String>, Fault> {
        match self.next_line_until(None)? {
            Waited::Line(text) => Ok(Some(text)),
            Waited::Ended | Waited::TimeOver => Ok(None),
        }
    }

    /// The same, at most until a time.
    ///
    /// # Errors
    /// As for [`Self::next_line`].
    pub fn next_line_until(&mut self, until_boot_ns: Option<i64>) -> Result<Waited, Fault> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=self.searched + at).collect();
                self.searched = 0;
                let text = String::from_utf8_lossy(&line).trim().to_owned();
                if text.is_empty() {
                    continue;
                }
                return Ok(Waited::Line(text));
            }
            self.searched = self.buffer.len();
            if self.searched > LINE_BYTES_MAX {
                return Err(Fault::Broken("the daemon sent a line of more than 8 MiB".into()));
            }
            let left = until_boot_ns.map(|until| u64::try_from(until.saturating_sub(clock::boot_ns())).unwrap_or(0));
            let chunk = self.response.chunk();
            let chunk = self.daemon.runtime.block_on(async {
                match left {
                    Some(left_ns) => tokio::time::timeout(Duration::from_nanos(left_ns), chunk).await.ok(),
                    None => Some(chunk.await),
                }
            });
            let Some(chunk) = chunk else { return Ok(Waited::TimeOver) };
            match chunk.map_err(|e| self.daemon.fault(&e))? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => return Ok(Waited::Ended),
            }
        }
    }
}

/// The system's reason inside an error of the client.
fn io_kind(error: &reqwest::Error) -> Option<io::ErrorKind> {
    causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind)
}

/// The innermost words: the outer ones only say that a request failed.
fn chain(error: &reqwest::Error) -> String {
    causes(error).last().map_or_else(|| error.to_string(), ToString::to_string)
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause: &&(dyn Error + 'static)| (*cause).source())
}

/// The daemon's own words, and what to do about them.
fn refused(error: &str, needs: &Needs) -> String {
    match &needs.group {
        Some(group) => format!("{error} (use sudo, or join: sudo usermod -aG {group} $USER, and log in again)"),
        None => format!("{error} (use sudo, or name a group in the setting control.{}_group)", needs.right),
    }
}

fn forbidden(socket: &Path) -> String {
    // The directory may be closed as well; then its group is the one that counts.
    let owner = socket.ancestors().find_map(|path| path.metadata().ok());
    let group = owner.map(|found| Gid::from_raw(found.gid())).filter(|gid| gid.as_raw() != 0);
    let name = group.and_then(|gid| Group::from_gid(gid).ok().flatten()).map(|group| group.name);
    let path = socket.display();
    match name {
        Some(name) => format!(
            "may not use {path}: it is for root and the group '{name}' (use sudo, or join: sudo usermod -aG {name} $USER, and log in again)"
        ),
        None => format!("may not use {path}: it is for root (use sudo, or name a group in the setting control.group)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_use_the_socket_learns_which_group_may() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("s");
        std::fs::write(&socket, "").expect("written");
        let own = nix::unistd::getegid();
        // Only root may give a file to a group that it is not in; all others have one that is not root's.
        let gid = if own.as_raw() == 0 { Gid::from_raw(1) } else { own };
        nix::unistd::chown(&socket, None, Some(gid)).expect("given to the group");
        let group = Group::from_gid(gid).expect("readable").expect("known");
        let told = forbidden(&socket);
        assert!(told.contains(&format!("the group '{}'", group.name)), "{told}");
    }
}
