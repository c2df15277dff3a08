//! The client of metadata services: one GET or PUT at a time, on one kept connection, over a plain socket.
//!
//! Responsibilities: how to ask so that nothing stands between the machine and its service (no proxy, no
//! redirect), limits of time and size, and what went wrong in terms that tell an operator what to mend. Where the
//! machine itself prohibits asking, the question goes to `imdsd`, if that was named.
//! Inputs: an endpoint, paths, headers. Outputs: bodies or a `FetchError`. Must never log or quote a body,
//! or wait without a bound.
//!
//! No runtime and no general client: between the last byte of a notice and the handler every wake-up
//! counts, and a poll costs a third of one through such a client (docs/LATENCY.md). Heads are parsed by
//! `reply`, with a library.

mod pending;

use super::imdsd::{Imdsd, Refusal, Vendor};
use super::reply::{self, Parsed};
use crate::sys::bell::{Bell, For, Woken};
use crate::sys::clock;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use url::Url;

pub use reply::{BODY_BYTES_MAX, Found};

/// Longest that making a connection may take, nanoseconds: the service is on the same host.
pub const CONNECT_TIMEOUT_NS: i64 = 1_000_000_000;

/// Longest that the kernel waits for bytes before the thread looks whether it was told to stop.
const PIECE_MAX: Duration = Duration::from_millis(500);

/// Longest that a request whose answer is held back waits without saying that it goes on, nanoseconds.
const TELL_NS: i64 = 1_000_000_000;

/// What is to be done while an answer is held back, at least once a second and whenever the bell is rung; `Break`: the
/// answer is not waited for any longer.
pub type Meanwhile<'a> = &'a mut dyn FnMut() -> ControlFlow<()>;

/// A header of a request: name and value, without line breaks.
pub type Header<'a> = (&'a str, &'a str);

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FetchError {
    /// The machine has no route to the service.
    #[error("no route to the metadata service")]
    NoRoute,
    /// Nothing listens there.
    #[error("the metadata service refuses connections")]
    Refused,
    /// This machine prohibits the connection: EACCES or EPERM, as from a `prohibit` route (ip-route(8)).
    #[error("direct access to the metadata service is locked on this machine")]
    Locked,
    /// So it does, and systemd-imdsd, which was asked instead, has no answer.
    #[error("direct access to the metadata service is locked on this machine, and {0}")]
    Imdsd(#[from] Refusal),
    /// No complete answer in time.
    #[error("no answer within the time limit")]
    Timeout,
    /// The connection broke before the answer was complete.
    #[error("the connection was closed before the answer was complete")]
    Closed,
    /// An answer that is neither 200 nor 404.
    #[error("HTTP status {0}")]
    Status(u16),
    /// A redirect, which no metadata service sends; it is not followed.
    #[error("HTTP status {0}, a redirect, which is not followed")]
    Redirect(u16),
    /// More than [`BODY_BYTES_MAX`].
    #[error("the answer is longer than {BODY_BYTES_MAX} bytes")]
    TooLarge,
    /// Not HTTP, or not what was promised.
    #[error("not a valid HTTP answer")]
    Malformed,
    /// The answer lacks the header by which the service makes itself known: something else answers at its address.
    #[error("the answer lacks the header {0}: it is not from the metadata service")]
    Stranger(&'static str),
    /// The source was told to stop.
    #[error("stopped")]
    Stopped,
    /// The source was called to something else while the answer was held back.
    #[error("called away")]
    CalledAway,
}

/// What cannot be used as an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// Not a URL of plain HTTP with a host and nothing after it. It is not quoted: it may hold a password.
    #[error("the metadata endpoint must have the form http://ADDRESS or http://ADDRESS:PORT")]
    Form,
}

/// A client of one metadata service. Used by one thread; [`Bell::stop`] ends its waiting from any other.
#[derive(Debug)]
pub struct MetadataClient {
    host: String,
    port: u16,
    /// What the header `Host` says.
    authority: String,
    request_timeout_ns: i64,
    bell: Arc<Bell>,
    connection: Option<TcpStream>,
    /// Where a name led the last time: a notice must not wait for a name server, nor be missed for want of one.
    known: Option<SocketAddr>,
    /// The request as it is sent, and the answer as it comes: kept, so that nothing is allocated for them.
    request: Vec<u8>,
    answer: Vec<u8>,
    /// Asked where direct access is locked; None: nobody is.
    imdsd: Option<Imdsd>,
    /// Direct access is locked.
    is_locked: bool,
    /// The path of the request: what `imdsd` is asked for.
    path: String,
    is_get: bool,
}

impl MetadataClient {
    /// A client of the service at `endpoint`, such as `http://169.254.169.254` or
    /// `http://[fd00:ec2::254]`. A request takes at most `request_timeout_ms` from first to last byte.
    ///
    /// # Errors
    /// The endpoint is not of that form.
    pub fn new(endpoint: &str, request_timeout_ms: u64, bell: Arc<Bell>) -> Result<Self, EndpointError> {
        let url = Url::parse(endpoint).ok().filter(|url| {
            let is_bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
            url.scheme() == "http" && url.has_host() && is_bare && url.username().is_empty() && url.password().is_none()
        });
        let url = url.ok_or(EndpointError::Form)?;
        let name = url.host_str().ok_or(EndpointError::Form)?;
        Ok(Self {
            host: name.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(80),
            authority: url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}")),
            request_timeout_ns: i64::try_from(request_timeout_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000),
            bell,
            connection: None,
            known: None,
            request: Vec::with_capacity(1024),
            answer: Vec::with_capacity(8 * 1024),
            imdsd: None,
            is_locked: false,
            path: String::new(),
            is_get: false,
        })
    }

    /// Has systemd-imdsd asked, whose socket is at this path, where direct access is locked.
    pub fn imdsd_at(&mut self, socket: &Path) {
        self.imdsd = Some(Imdsd::new(socket, Arc::clone(&self.bell)));
    }

    /// Whether direct access was found to be locked, and not to be open since.
    pub fn is_locked(&self) -> bool {
        self.is_locked
    }

    /// Whether systemd-imdsd is asked. It keeps the service's tokens, and asks with all headers that the service wants.
    pub fn is_through_imdsd(&self) -> bool {
        self.is_locked && self.imdsd.is_some()
    }

    /// Asks systemd-imdsd which service it asks, locked or not.
    ///
    /// # Errors
    /// It is not there, or has no usable answer.
    pub fn vendor(&mut self) -> Result<Vendor, FetchError> {
        let until_boot_ns = clock::boot_ns().saturating_add(self.request_timeout_ns);
        self.imdsd.as_mut().ok_or(Refusal::NoSocket)?.vendor(until_boot_ns)
    }

    /// Asks for `path` (`/latest/…`). None for 404: the service works and has no such item now.
    ///
    /// # Errors
    /// Anything but a complete 200 or a 404.
    pub fn get(&mut self, path: &str, headers: &[Header<'_>]) -> Result<Option<Found>, FetchError> {
        match self.twice("GET", path, headers) {
            Ok(found) => Ok(Some(found)),
            Err(FetchError::Status(404)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks for `path` whatever the status of the answer is, redirects aside; on a kept connection that has died, once more.
    ///
    /// # Errors
    /// There is no complete answer, or a redirect.
    pub fn ask(&mut self, path: &str, headers: &[Header<'_>]) -> Result<Found, FetchError> {
        self.write_down("GET", path, headers)?;
        let mut ask = || self.exchange(self.request_timeout_ns, None);
        match ask() {
            Err(FetchError::Closed) => ask(),
            answer => answer,
        }
    }

    /// The same, of a service that may hold its answer back for as long as `limit_ns`; made once only. Takes one system
    /// call more, after the answer has come, than a request that is not held back.
    ///
    /// # Errors
    /// As `ask`; `CalledAway` when `meanwhile` says so. The connection is closed then.
    pub fn hold(
        &mut self,
        path: &str,
        headers: &[Header<'_>],
        limit_ns: i64,
        meanwhile: Meanwhile<'_>,
    ) -> Result<Found, FetchError> {
        self.write_down("GET", path, headers)?;
        self.exchange(limit_ns, Some(meanwhile))
    }

    /// Makes a PUT without a body.
    ///
    /// # Errors
    /// Anything but a complete 200; a 404 is `Status(404)`.
    pub fn put(&mut self, path: &str, headers: &[Header<'_>]) -> Result<Found, FetchError> {
        self.twice("PUT", path, headers)
    }

    /// A kept connection may turn out to be dead, as it does whenever the service restarts, which says
    /// nothing about the service: the request is made once more, on a new one.
    fn twice(&mut self, method: &str, path: &str, headers: &[Header<'_>]) -> Result<Found, FetchError> {
        self.write_down(method, path, headers)?;
        match self.once() {
            Err(FetchError::Closed) => self.once(),
            answer => answer,
        }
    }

    /// Puts the request together. A value with a line break would become another header: it is refused.
    fn write_down(&mut self, method: &str, path: &str, headers: &[Header<'_>]) -> Result<(), FetchError> {
        let is_plain = |text: &str| text.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7F));
        let all_plain = is_plain(path) && headers.iter().all(|(name, value)| is_plain(name) && is_plain(value));
        if !all_plain {
            return Err(FetchError::Malformed);
        }
        path.clone_into(&mut self.path);
        self.is_get = method == "GET";
        self.request.clear();
        let length = if method == "PUT" { "content-length: 0\r\n" } else { "" };
        // Writing to memory does not fail.
        let _ = write!(self.request, "{method} {path} HTTP/1.1\r\nhost: {}\r\n{length}", self.authority);
        for (name, value) in headers {
            let _ = write!(self.request, "{name}: {value}\r\n");
        }
        self.request.extend_from_slice(b"accept: */*\r\n\r\n");
        Ok(())
    }

    fn once(&mut self) -> Result<Found, FetchError> {
        match self.exchange(self.request_timeout_ns, None)? {
            found if found.status == 200 => Ok(found),
            found => Err(FetchError::Status(found.status)),
        }
    }

    fn exchange(&mut self, limit_ns: i64, meanwhile: Option<Meanwhile<'_>>) -> Result<Found, FetchError> {
        let until_boot_ns = clock::boot_ns().saturating_add(limit_ns);
        if self.is_through_imdsd() {
            return self.ask_imdsd(until_boot_ns, meanwhile);
        }
        let mut connection = match self.connection.take() {
            Some(kept) => kept,
            None => match self.connect(until_boot_ns) {
                Err(FetchError::Locked) => return self.ask_imdsd(until_boot_ns, meanwhile),
                connected => connected?,
            },
        };
        self.send(&mut connection, until_boot_ns)?;
        let (found, can_be_kept) = self.receive(&mut connection, until_boot_ns, meanwhile)?;
        if can_be_kept {
            self.connection = Some(connection);
        }
        match found.status {
            code @ 300..400 => Err(FetchError::Redirect(code)),
            _ => Ok(found),
        }
    }

    /// While nobody listens at systemd's socket, whether direct access is still locked is looked at each time.
    fn ask_imdsd(&mut self, until_boot_ns: i64, meanwhile: Option<Meanwhile<'_>>) -> Result<Found, FetchError> {
        self.is_locked = true;
        let Some(imdsd) = &mut self.imdsd else { return Err(FetchError::Locked) };
        let answer = match self.is_get {
            _ if !imdsd.is_there() => Err(Refusal::NoSocket.into()),
            true => imdsd.get(&self.host, &self.path, until_boot_ns, meanwhile),
            false => Err(Refusal::OnlyGet.into()),
        };
        self.is_locked = !matches!(answer, Err(FetchError::Imdsd(Refusal::NoSocket)));
        answer
    }

    /// Whether the endpoint is a name. Asking what it stands for takes time of its own, on which only the system has a
    /// bound (resolv.conf(5): as a rule 5 s, twice, for each of up to three servers).
    pub fn is_by_name(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }

    fn connect(&mut self, until_boot_ns: i64) -> Result<TcpStream, FetchError> {
        if let Some(connected) = self.known.and_then(|address| self.connect_to(address, until_boot_ns).ok()) {
            return Ok(connected);
        }
        // An address needs no asking.
        let found = (self.host.as_str(), self.port).to_socket_addrs().map_err(|_| FetchError::NoRoute)?;
        let until_boot_ns = until_boot_ns.min(clock::boot_ns().saturating_add(CONNECT_TIMEOUT_NS));
        let mut last = FetchError::NoRoute;
        for address in found {
            match self.connect_to(address, until_boot_ns) {
                Err(error @ (FetchError::Refused | FetchError::NoRoute)) => last = error,
                decided => {
                    self.known = decided.is_ok().then_some(address).filter(|_| self.is_by_name());
                    return decided;
                }
            }
        }
        Err(last)
    }

    /// The connection blocks, in pieces of [`Self::piece`]: a poll costs two system calls and no more.
    fn connect_to(&self, address: SocketAddr, until_boot_ns: i64) -> Result<TcpStream, FetchError> {
        let connection = TcpStream::from(mio::net::TcpStream::connect(address).map_err(|e| unreachable(&e))?);
        match self.bell.wait_for(connection.as_fd(), For::Writing, until_boot_ns) {
            Woken::Ready => {}
            Woken::Stopped => return Err(FetchError::Stopped),
            Woken::Rung | Woken::Time => return Err(FetchError::Timeout),
        }
        match connection.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => return Err(unreachable(&error)),
        }
        let piece = Some(self.piece());
        let prepared = connection
            .set_nonblocking(false)
            .and_then(|()| connection.set_nodelay(true))
            .and_then(|()| connection.set_read_timeout(piece))
            .and_then(|()| connection.set_write_timeout(piece));
        prepared.map_err(|e| broken(&e)).map(|()| connection)
    }

    /// How long the kernel waits before the thread looks whether it was told to stop.
    fn piece(&self) -> Duration {
        Duration::from_nanos(self.request_timeout_ns.unsigned_abs()).clamp(Duration::from_millis(1), PIECE_MAX)
    }

    /// Whether a call on the connection is to be made again.
    fn goes_on(&self, error: &io::Error, until_boot_ns: i64) -> Result<(), FetchError> {
        match error.kind() {
            _ if self.bell.is_stopped() => Err(FetchError::Stopped),
            ErrorKind::WouldBlock | ErrorKind::TimedOut if clock::boot_ns() >= until_boot_ns => {
                Err(FetchError::Timeout)
            }
            ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(()),
            _ => Err(broken(error)),
        }
    }

    fn send(&self, connection: &mut TcpStream, until_boot_ns: i64) -> Result<(), FetchError> {
        let mut rest = &self.request[..];
        while !rest.is_empty() {
            match connection.write(rest) {
                Ok(0) => return Err(FetchError::Closed),
                Ok(n) => rest = &rest[n..],
                Err(error) => self.goes_on(&error, until_boot_ns)?,
            }
        }
        Ok(())
    }

    /// Reads one answer. Gives also whether the connection is good for another.
    fn receive(
        &mut self,
        connection: &mut TcpStream,
        until_boot_ns: i64,
        mut meanwhile: Option<Meanwhile<'_>>,
    ) -> Result<(Found, bool), FetchError> {
        self.answer.clear();
        let mut chunk = [0u8; 4096];
        loop {
            if let Some(meanwhile) = &mut meanwhile {
                wait(&self.bell, connection.as_fd(), until_boot_ns, meanwhile)?;
            }
            let is_end = match connection.read(&mut chunk) {
                Ok(n) => {
                    self.answer.extend_from_slice(&chunk[..n]);
                    n == 0
                }
                Err(error) => {
                    self.goes_on(&error, until_boot_ns)?;
                    continue;
                }
            };
            match reply::parse(&self.answer, is_end)? {
                Parsed::Whole { found, can_be_kept } => return Ok((found, can_be_kept && !is_end)),
                Parsed::Part if is_end => return Err(FetchError::Closed),
                // A drop at a time is no answer either.
                Parsed::Part if clock::boot_ns() >= until_boot_ns => return Err(FetchError::Timeout),
                Parsed::Part => {}
            }
        }
    }
}

/// Waits for bytes, and does what is to be done meanwhile.
pub(super) fn wait(
    bell: &Bell,
    connection: BorrowedFd<'_>,
    until_boot_ns: i64,
    meanwhile: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<(), FetchError> {
    loop {
        let now_boot_ns = clock::boot_ns();
        if now_boot_ns >= until_boot_ns {
            return Err(FetchError::Timeout);
        }
        let piece_boot_ns = until_boot_ns.min(now_boot_ns.saturating_add(TELL_NS));
        match bell.wait_for_or_ring(connection, For::Reading, piece_boot_ns) {
            Woken::Ready => return Ok(()),
            Woken::Stopped => return Err(FetchError::Stopped),
            Woken::Rung | Woken::Time if meanwhile().is_break() => return Err(FetchError::CalledAway),
            Woken::Rung | Woken::Time => {}
        }
    }
}

/// What an error means while no connection is there yet.
fn unreachable(error: &io::Error) -> FetchError {
    match error.kind() {
        ErrorKind::ConnectionRefused => FetchError::Refused,
        ErrorKind::TimedOut => FetchError::Timeout,
        ErrorKind::PermissionDenied => FetchError::Locked,
        _ => FetchError::NoRoute,
    }
}

/// What an error means on a connection.
fn broken(error: &io::Error) -> FetchError {
    match error.kind() {
        ErrorKind::TimedOut => FetchError::Timeout,
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => FetchError::NoRoute,
        _ => FetchError::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(endpoint: &str) -> Result<MetadataClient, EndpointError> {
        MetadataClient::new(endpoint, 2_000, Arc::new(Bell::new().expect("a descriptor")))
    }

    #[test]
    fn only_plain_http_endpoints_without_a_path_are_accepted() {
        for good in ["http://169.254.169.254", "http://[fd00:ec2::254]", "http://127.0.0.1:1338/"] {
            assert!(client(good).is_ok(), "{good}");
        }
        for bad in
            ["", "169.254.169.254", "https://169.254.169.254", "file:///etc/passwd", "http://a/latest", "http://u:p@a"]
        {
            assert!(client(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_that_no_longer_resolves_is_still_reached_where_it_last_led() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let service = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().expect("a client");
            let _ = connection.read(&mut [0; 1024]);
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody");
        });
        let mut client = client(&format!("http://metadata.invalid:{}", address.port())).expect("an endpoint");
        assert_eq!(client.get("/x", &[]).map(|_| ()), Err(FetchError::NoRoute));
        client.known = Some(address);
        assert_eq!(client.get("/x", &[]).map(|found| found.map(|found| found.body)), Ok(Some(b"body".to_vec())));
        service.join().expect("it ends");
    }

    #[test]
    fn the_request_is_written_as_http_has_it_and_nothing_can_be_slipped_in() {
        let mut client = client("http://[fd00:ec2::254]:81").expect("an endpoint");
        client.write_down("PUT", "/latest/api/token", &[("a-header", "its value")]).expect("plain");
        let expected = "PUT /latest/api/token HTTP/1.1\r\nhost: [fd00:ec2::254]:81\r\ncontent-length: 0\r\n\
                        a-header: its value\r\naccept: */*\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&client.request), expected);
        assert_eq!(client.write_down("GET", "/x", &[("a", "b\r\nc: d")]), Err(FetchError::Malformed));
        assert_eq!((client.host.as_str(), client.port), ("fd00:ec2::254", 81));
    }
}
