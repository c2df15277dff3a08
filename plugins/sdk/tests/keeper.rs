//! The keeper against a real TCP server: connected ahead, checked, opened again, never in the way of a call.
#![allow(missing_docs)]

use cloudsnooze_plugin::keeper::{Connector, Health, Keeper, Lease, Pace};
use cloudsnooze_plugin::{Error, testing};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// How long a test waits for something that should happen soon.
const PATIENCE: Duration = Duration::from_secs(20);

/// So fast that a test need not wait.
const QUICK: Pace = Pace {
    longest: Duration::from_millis(20),
    shortest: Duration::from_millis(5),
    first_retry: Duration::from_millis(5),
};

/// Sends each byte back, unless it is told to be silent.
struct Echo {
    address: SocketAddr,
    shared: Arc<(Mutex<Seen>, Condvar)>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    bytes: usize,
    ended: usize,
    is_silent: bool,
    open: Vec<TcpStream>,
}

impl Echo {
    /// On this address, or any.
    fn start(address: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind(address.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        let echo = Self { address: listener.local_addr().unwrap(), shared: Arc::default() };
        let shared = Arc::clone(&echo.shared);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (shared, stream) = (Arc::clone(&shared), stream.unwrap());
                let mut seen = shared.0.lock().unwrap();
                seen.connections += 1;
                seen.open.push(stream.try_clone().unwrap());
                drop(seen);
                shared.1.notify_all();
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        echo
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.0.lock().unwrap()
    }

    fn wait(&self, what: &str, done: impl Fn(&Seen) -> bool) {
        let (_seen, result) = self.shared.1.wait_timeout_while(self.seen(), PATIENCE, |seen| !done(seen)).unwrap();
        assert!(!result.timed_out(), "waited in vain for {what}");
    }

    /// As a server that restarts does.
    fn close_connections(&self) {
        for stream in self.seen().open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn serve(mut stream: TcpStream, (seen, changed): &(Mutex<Seen>, Condvar)) {
    let mut byte = [0];
    while matches!(stream.read(&mut byte), Ok(1)) {
        let mut seen = seen.lock().unwrap();
        seen.bytes += 1;
        changed.notify_all();
        if !seen.is_silent {
            let _ = stream.write_all(&byte);
        }
    }
    seen.lock().unwrap().ended += 1;
    changed.notify_all();
}

struct Client {
    address: SocketAddr,
    checks_ended: Arc<AtomicUsize>,
}

fn ask(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"?").and_then(|()| stream.read_exact(&mut [0]))
}

impl Connector for Client {
    type Connection = TcpStream;

    fn open(&self) -> Result<TcpStream, Error> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    fn check(&self, connection: &mut TcpStream) -> Health {
        let health = if ask(connection).is_ok() { Health::Alive } else { Health::Dead };
        self.checks_ended.fetch_add(1, Ordering::AcqRel);
        health
    }
}

fn keeper(address: SocketAddr, thread_name: &'static str) -> Keeper<Client> {
    let client = Client { address, checks_ended: Arc::default() };
    let keeper = Keeper::with_pace(testing::host(), thread_name, client, QUICK);
    keeper.start();
    keeper
}

/// The kept connection; asked for again when it is being checked just then.
fn taken(keeper: &Keeper<Client>) -> (Lease<'_, Client>, TcpStream) {
    let ends = std::time::Instant::now() + PATIENCE;
    loop {
        let mut lease = keeper.lease();
        if let Some(connection) = lease.take() {
            return (lease, connection);
        }
        assert!(std::time::Instant::now() < ends, "there is no kept connection");
        drop(lease);
        std::thread::yield_now();
    }
}

#[test]
fn a_connection_is_there_before_the_call_and_is_checked_again_and_again() {
    let server = Echo::start(None);
    let keeper = keeper(server.address, "keep-ahead");
    server.wait("checks", |seen| seen.bytes >= 5);
    assert_eq!(server.seen().connections, 1);
    ask(&mut taken(&keeper).1).unwrap();
}

#[test]
fn a_connection_that_died_is_opened_again_without_a_call() {
    let server = Echo::start(None);
    let keeper = keeper(server.address, "keep-again");
    server.wait("a connection", |seen| seen.connections == 1);
    server.close_connections();
    server.wait("another connection", |seen| seen.connections == 2);
    ask(&mut taken(&keeper).1).unwrap();
}

#[test]
fn a_server_that_is_down_at_the_start_is_connected_to_when_it_is_up() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let keeper = keeper(nobody, "keep-later");
    assert!(keeper.lease().take().is_none());
    let server = Echo::start(Some(nobody));
    server.wait("a connection", |seen| seen.connections > 0);
    ask(&mut taken(&keeper).1).unwrap();
}

#[test]
fn a_call_that_comes_during_a_check_does_not_wait_for_it() {
    let server = Echo::start(None);
    server.seen().is_silent = true;
    let keeper = keeper(server.address, "keep-check");
    server.wait("a check", |seen| seen.bytes > 0);
    // The server does not answer, so the check can end only after its whole patience.
    assert!(keeper.lease().take().is_none());
    assert_eq!(keeper.connector().checks_ended.load(Ordering::Acquire), 0, "the lease waited for the check");
    server.close_connections();
}

#[test]
fn while_a_call_is_on_its_connection_is_the_only_one() {
    let server = Echo::start(None);
    let keeper = keeper(server.address, "keep-call");
    let (mut lease, mut connection) = taken(&keeper);
    let before = server.seen().bytes;
    for _ in 0..1000 {
        ask(&mut connection).unwrap();
    }
    assert_eq!(server.seen().bytes, before + 1000);
    lease.put(connection);
    drop(lease);
    server.wait("checks after the call", |seen| seen.bytes > before + 1002);
    assert_eq!(server.seen().connections, 1);
}

#[test]
fn after_stop_there_is_no_thread_and_no_connection_and_it_can_start_again() {
    let server = Echo::start(None);
    let keeper = keeper(server.address, "keep-stop");
    assert_eq!(testing::threads("keep-stop"), 1);
    keeper.stop();
    assert_eq!(testing::threads_left("keep-stop", PATIENCE), 0);
    server.wait("the end of the connection", |seen| seen.ended == 1);
    assert!(keeper.lease().take().is_none());
    let mut late = keeper.lease();
    late.put(TcpStream::connect(server.address).unwrap());
    drop(late);
    server.wait("the end of what a late call gave back", |seen| seen.ended == 2);
    keeper.start();
    ask(&mut taken(&keeper).1).unwrap();
    drop(keeper);
    assert_eq!(testing::threads_left("keep-stop", PATIENCE), 0);
}
