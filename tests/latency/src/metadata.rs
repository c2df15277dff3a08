//! A metadata service for the designs that are measured from the network on: AWS paths on loopback, at normal priority, on a given CPU.
//!
//! Inputs: [`Service::announce`]. Outputs: 404 until a notice was announced; then, once, a notice with a new time, and the
//! reading of the clock right before it was written. One thread a connection, blocking, keep-alive, each reply one
//! write(2). Must never do anything between reading the clock and that write.

use crate::slot::now_ns;
use cloudsnooze::sys::{clock, sched};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;

/// Where the notice stands.
pub const INSTANCE_ACTION: &str = "/latest/meta-data/spot/instance-action";
/// Where a token is had, with PUT.
pub const TOKEN: &str = "/latest/api/token";
/// Where the machine's identity stands.
pub const IDENTITY: &str = "/latest/dynamic/instance-identity/document";

const IDENTITY_BODY: &str = r#"{"instanceId": "i-0123456789abcdef0", "instanceType": "m7i.large",
 "availabilityZone": "eu-west-1a", "region": "eu-west-1"}"#;
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n";
/// Longest request head read, bytes.
const HEAD_BYTES_MAX: usize = 8192;

#[derive(Debug, Default)]
struct Shared {
    announced: AtomicBool,
    written_ns: AtomicI64,
    notices: AtomicU64,
    requests: AtomicU64,
}

/// The running service; it ends with the process.
#[derive(Clone, Debug)]
pub struct Service {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Service {
    /// Listens on a free port of 127.0.0.1, and answers from this CPU: where an answer comes from decides more than what
    /// a client does with it, and must not be left to chance.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(cpu: u32) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let service = Self { address: listener.local_addr()?, shared: Arc::default() };
        let shared = Arc::clone(&service.shared);
        thread::Builder::new().name("metadata".into()).spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // A client that went away ends its thread.
                thread::spawn(move || {
                    sched::place(0, &[cpu]);
                    drop(converse(stream, &shared));
                });
            }
        })?;
        Ok(service)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next request for the notice gets one.
    pub fn announce(&self) {
        self.shared.announced.store(true, Ordering::Release);
    }

    /// Requests answered so far, those for tokens aside.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// CLOCK_MONOTONIC right before the last notice was written, nanoseconds.
    pub fn written_ns(&self) -> i64 {
        self.shared.written_ns.load(Ordering::Acquire)
    }
}

/// Serves one connection to its end.
fn converse(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::with_capacity(HEAD_BYTES_MAX);
    let mut chunk = [0; 2048];
    loop {
        let got = stream.read(&mut chunk)?;
        if got == 0 || head.len() > HEAD_BYTES_MAX {
            return Ok(());
        }
        head.extend_from_slice(&chunk[..got]);
        // No client sends a body: a PUT for a token has none.
        if head.ends_with(b"\r\n\r\n") {
            answer(&mut stream, &head, shared)?;
            head.clear();
        }
    }
}

fn answer(stream: &mut TcpStream, head: &[u8], shared: &Shared) -> io::Result<()> {
    let text = String::from_utf8_lossy(head);
    let mut words = text.split_ascii_whitespace();
    if head.starts_with(b"GET") {
        shared.requests.fetch_add(1, Ordering::Relaxed);
    }
    let reply = match (words.next(), words.next()) {
        (Some("PUT"), Some(TOKEN)) => ok("text/plain", "X-aws-ec2-metadata-token-ttl-seconds: 21600\r\n", "TOKEN"),
        (Some("GET"), Some(IDENTITY)) => ok("text/plain", "", IDENTITY_BODY),
        (Some("GET"), Some(INSTANCE_ACTION)) if shared.announced.swap(false, Ordering::AcqRel) => {
            let reply = ok("application/json", "", &notice(shared.notices.fetch_add(1, Ordering::Relaxed)));
            shared.written_ns.store(now_ns(), Ordering::Release);
            return stream.write_all(reply.as_bytes());
        }
        _ => NOT_FOUND.into(),
    };
    stream.write_all(reply.as_bytes())
}

fn ok(content_type: &str, more: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n{more}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// Two and ten minutes ahead in turn: far enough apart to be another notice than the one before.
fn notice(number: u64) -> String {
    let ahead_ns = if number.is_multiple_of(2) { 120_000_000_000 } else { 600_000_000_000 };
    format!(r#"{{"action": "terminate", "time": "{}"}}"#, seconds_only(&clock::now().plus_ns(ahead_ns).rfc3339()))
}

/// The service writes whole seconds.
fn seconds_only(time: &str) -> String {
    time.split_once('.').map_or_else(|| time.to_owned(), |(seconds, _)| format!("{seconds}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage;

    fn ask(stream: &mut TcpStream, request: &str) -> String {
        stream.write_all(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).expect("sent");
        let mut chunk = [0; 4096];
        let got = stream.read(&mut chunk).expect("an answer");
        String::from_utf8_lossy(&chunk[..got]).into_owned()
    }

    #[test]
    fn a_notice_is_there_once_and_only_when_announced() {
        let service = Service::start(stage::home_cpu()).expect("it starts");
        let mut stream = TcpStream::connect(service.address()).expect("it listens");
        let get = format!("GET {INSTANCE_ACTION}");
        assert!(ask(&mut stream, &get).starts_with("HTTP/1.1 404"));
        service.announce();
        let before = now_ns();
        let first = ask(&mut stream, &get);
        assert!(first.starts_with("HTTP/1.1 200") && first.contains(r#""action": "terminate""#), "{first}");
        assert!(service.written_ns() >= before && service.written_ns() <= now_ns());
        assert!(ask(&mut stream, &get).starts_with("HTTP/1.1 404"));
        service.announce();
        assert_ne!(ask(&mut stream, &get), first, "each notice has a new time");
    }

    #[test]
    fn tokens_and_the_identity_are_served() {
        let service = Service::start(stage::home_cpu()).expect("it starts");
        let mut stream = TcpStream::connect(service.address()).expect("it listens");
        assert!(ask(&mut stream, &format!("PUT {TOKEN}")).ends_with("\r\n\r\nTOKEN"));
        assert!(ask(&mut stream, &format!("GET {IDENTITY}")).contains("i-0123456789abcdef0"));
        assert!(ask(&mut stream, "GET /latest/else").starts_with("HTTP/1.1 404"));
    }
}
