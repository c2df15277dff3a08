//! A way between a client and a server that can be slow, or be cut.
//!
//! Responsibilities: pass bytes on over real connections, not faster than told; close all of them and refuse new ones; count
//! what the client began to ask. Inputs: the server's port. Outputs: a port of its own. It must never change a byte.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

use crate::http::lock;

/// Bytes that are passed on at a time.
const PIECE: usize = 16 * 1024;
/// Bytes that wait in the kernel, so that a slow way is slow for the client too.
const BUFFER: usize = 64 * 1024;

/// A running relay. Dropping it closes everything.
pub struct Relay {
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    to: u16,
    /// From the client to the server, bytes a second; 0 for as fast as it goes.
    speed: AtomicU64,
    is_cut: AtomicBool,
    is_over: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
    /// First lines of requests.
    asked: Mutex<Vec<String>>,
    /// From the client.
    bytes: AtomicU64,
    /// When the next piece may go, for all connections together.
    due: Mutex<Option<Instant>>,
    /// After so many bytes the way is cut by itself; 0 for never.
    cut_after: AtomicU64,
}

impl Relay {
    /// One to a server on 127.0.0.1.
    ///
    /// # Panics
    /// When no port or no thread is to be had.
    pub fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        // Taken over by the connections that it accepts.
        setsockopt(&listener, sockopt::RcvBuf, &BUFFER).expect("a buffer");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared { to, ..Shared::default() });
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("relay".to_owned()).spawn(move || accept(&listener, &of_thread));
        Self { port, shared, thread: Some(thread.expect("a thread")) }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on not faster than this, from the client to the server, all connections together.
    pub fn slow(&self, bytes_a_second: u64) {
        self.shared.speed.store(bytes_a_second, Ordering::SeqCst);
    }

    /// Closes all connections, and new ones as soon as they are there.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// The same, by itself, when so many more bytes have come from the client.
    pub fn cut_after(&self, bytes: u64) {
        let now = self.shared.bytes.load(Ordering::SeqCst);
        self.shared.cut_after.store(now + bytes, Ordering::SeqCst);
    }

    /// Whether it is cut.
    pub fn is_cut(&self) -> bool {
        self.shared.is_cut.load(Ordering::SeqCst)
    }

    /// Lets bytes through again.
    pub fn mend(&self) {
        self.shared.cut_after.store(0, Ordering::SeqCst);
        self.shared.is_cut.store(false, Ordering::SeqCst);
    }

    /// First lines of the requests so far, as `PUT /bucket/key`, in the order in which they began.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.shared.asked).clone()
    }

    /// Bytes that came from the client so far.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.shared.cut();
        // The thread waits for a connection.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

impl Shared {
    fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        for connection in lock(&self.connections).drain(..) {
            // It may be closed already.
            let _closed = connection.shutdown(Shutdown::Both);
        }
    }

    /// Waits until so many bytes may go.
    fn pace(&self, bytes: usize) {
        let speed = self.speed.load(Ordering::SeqCst);
        if speed == 0 {
            return;
        }
        let due = {
            let mut due = lock(&self.due);
            let from = due.unwrap_or_else(Instant::now).max(Instant::now());
            let time = Duration::from_secs_f64(u32::try_from(bytes).map_or(0.0, f64::from) / rate(speed));
            due.insert(from + time).to_owned()
        };
        while Instant::now() < due && !self.is_cut.load(Ordering::SeqCst) {
            std::thread::park_timeout(due.saturating_duration_since(Instant::now()).min(Duration::from_millis(50)));
        }
    }
}

fn rate(speed: u64) -> f64 {
    u32::try_from(speed).map_or(f64::MAX, f64::from)
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads = Vec::new();
    for client in listener.incoming().map_while(Result::ok) {
        if shared.is_over.load(Ordering::SeqCst) {
            break;
        }
        if shared.is_cut.load(Ordering::SeqCst) {
            continue;
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", shared.to)) else { continue };
        let pairs =
            [(&client, &server), (&server, &client)].map(|(a, b)| Some((a.try_clone().ok()?, b.try_clone().ok()?)));
        lock(&shared.connections).extend([client, server]);
        for (is_reply, pair) in pairs.into_iter().enumerate() {
            let Some((from, to)) = pair else { continue };
            let shared = Arc::clone(shared);
            threads.push(std::thread::spawn(move || pass(from, to, is_reply == 1, &shared)));
        }
    }
    for thread in threads {
        let _ended = thread.join();
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, is_reply: bool, shared: &Shared) {
    let mut piece = vec![0; PIECE];
    while let Ok(count) = from.read(&mut piece) {
        if count == 0 {
            break;
        }
        if !is_reply {
            note(&piece[..count], shared);
            let bytes = shared.bytes.fetch_add(count as u64, Ordering::SeqCst) + count as u64;
            let limit = shared.cut_after.load(Ordering::SeqCst);
            if limit > 0 && bytes >= limit {
                shared.cut();
                break;
            }
            shared.pace(count);
        }
        if to.write_all(&piece[..count]).is_err() {
            break;
        }
    }
    // Both ways: a half-closed connection would keep a client waiting that a real loss would not.
    let _closed = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// A request begins at the beginning of a read, for clients that wait for the reply before they ask again.
fn note(piece: &[u8], shared: &Shared) {
    const METHODS: [&str; 5] = ["GET", "PUT", "POST", "HEAD", "DELETE"];
    let head = String::from_utf8_lossy(&piece[..piece.len().min(2048)]);
    let Some((line, _)) = head.split_once(" HTTP/1.") else { return };
    if METHODS.iter().any(|method| line.strip_prefix(method).is_some_and(|rest| rest.starts_with(' '))) {
        lock(&shared.asked).push(line.to_owned());
    }
}
