//! A client that shows replies as they came: no retries, no redirects, no repair.
//!
//! Responsibilities: send bytes, read one reply, report how the connection ended. Inputs: an address and a request.
//! Outputs: a [`Reply`], or the error as it happened. It must never wait longer than [`PATIENCE`].

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use fake_metadata::{FakeMetadata, Options};

/// Far longer than any reply takes on a busy machine; reached only when something is broken.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const TTL: &str = "X-aws-ec2-metadata-token-ttl-seconds";
pub const TOKEN: &str = "X-aws-ec2-metadata-token";

/// A reply as it came.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub reason: String,
    pub headers: Vec<(String, String)>,
    /// All of the body that came, whatever `Content-Length` said.
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a UTF-8 body")
    }
}

/// One connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the service accepts connections");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        Self { stream, buffer: Vec::new() }
    }

    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: metadata\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body);
        self.send_bytes(request.as_bytes());
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the service reads requests");
    }

    pub fn set_patience(&self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).expect("a timeout can be set");
    }

    /// Reads a head and then as much body as `Content-Length` promises or, without one, as comes.
    pub fn receive(&mut self, head_only: bool) -> io::Result<Reply> {
        let head_length = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if self.fill()? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed before the end of the head"));
            }
        };
        let head = String::from_utf8(self.buffer.drain(..head_length).collect()).expect("an ASCII head");
        let mut lines = head.trim_end().split("\r\n");
        let mut status_line = lines.next().expect("a status line").splitn(3, ' ').skip(1);
        let status = status_line.next().and_then(|status| status.parse().ok()).expect("a status");
        let reason = status_line.next().unwrap_or_default().to_owned();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").expect("a header"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut reply = Reply { status, reason, headers, body: Vec::new() };
        let wanted = reply.header("Content-Length").map(|length| length.parse().expect("a length"));
        let wanted: usize = if head_only { 0 } else { wanted.unwrap_or(usize::MAX) };
        while self.buffer.len() < wanted && self.fill()? > 0 {}
        let length = wanted.min(self.buffer.len());
        reply.body = self.buffer.drain(..length).collect();
        Ok(reply)
    }

    /// True when the service has closed the connection without sending more.
    pub fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && self.fill().is_ok_and(|count| count == 0)
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut chunk = [0_u8; 16 * 1024];
        let count = self.stream.read(&mut chunk)?;
        self.buffer.extend_from_slice(&chunk[..count]);
        Ok(count)
    }
}

pub fn start() -> FakeMetadata {
    FakeMetadata::start(Options::default()).expect("the service starts")
}

/// A service that wants no tokens, for tests about something else.
pub fn start_open() -> FakeMetadata {
    FakeMetadata::start(Options { tokens_required: false, ..Options::default() }).expect("the service starts")
}

pub fn request(fake: &FakeMetadata, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut connection = Connection::open(fake.address());
    connection.send(method, path, headers, "");
    connection.receive(method == "HEAD").expect("a reply")
}

pub fn get(fake: &FakeMetadata, path: &str) -> Reply {
    request(fake, "GET", path, &[])
}

/// GET of a path below `/latest/meta-data/`.
pub fn item(fake: &FakeMetadata, path: &str) -> Reply {
    get(fake, &format!("/latest/meta-data/{path}"))
}

pub fn put_token(fake: &FakeMetadata, ttl: &str) -> Reply {
    request(fake, "PUT", "/latest/api/token", &[(TTL, ttl)])
}
