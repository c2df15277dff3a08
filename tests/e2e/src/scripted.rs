//! A metadata server that answers as the test says, byte by byte: for what no stand-in of a real one would do.
//!
//! Inputs: what to answer to each request. Outputs: the requests, with their times. Must never wait without a bound.

use harness::wait;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is answered to the target of a request, path and query; None: nothing, and the connection stays open.
pub type Says = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What was asked, and when.
type Asked = Vec<(Instant, String)>;

/// The server. It ends when it is dropped.
pub struct Scripted {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    says: Says,
    asked: Mutex<Asked>,
    connections: Mutex<Vec<TcpStream>>,
    is_over: AtomicBool,
}

/// 200 with what Google's server sends along.
pub fn google(body: &str, etag: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nMetadata-Flavor: Google\r\nETag: {etag}\r\nContent-Length: {length}\r\n\r\n{body}")
}

impl Scripted {
    /// A server on a free port.
    ///
    /// # Panics
    /// There is none.
    pub fn start(says: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            says: Box::new(says),
            asked: Mutex::default(),
            connections: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                if served.is_over.load(Ordering::Acquire) {
                    return;
                }
                let shared = Arc::clone(&served);
                std::thread::spawn(move || serve(&shared, connection));
            }
        });
        Self { address, shared }
    }

    /// Its address, as a source wants it.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked so far.
    pub fn asked(&self) -> Asked {
        lock(&self.shared.asked).clone()
    }

    /// Waits until so many requests were of the kind that is wanted, and gives the times of these.
    ///
    /// # Panics
    /// They do not come in time.
    pub fn wait(&self, count: usize, limit: Duration, wanted: impl Fn(&str) -> bool) -> Vec<Instant> {
        let times = || self.asked().iter().filter(|(_, target)| wanted(target)).map(|(at, _)| *at).collect::<Vec<_>>();
        let found = wait::until("requests", limit, || Some(times()).filter(|times| times.len() >= count));
        found.unwrap_or_else(|error| panic!("{error}: {:?}", self.asked()))
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        for connection in lock(&self.shared.connections).drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        // So that the listener sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(shared: &Shared, connection: TcpStream) {
    let Ok(mut writes) = connection.try_clone() else { return };
    if let Ok(kept) = connection.try_clone() {
        lock(&shared.connections).push(kept);
    }
    let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
    while let Some(first) = lines.next() {
        let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
        lines.by_ref().take_while(|line| !line.is_empty()).for_each(drop);
        lock(&shared.asked).push((Instant::now(), target.clone()));
        if let Some(answer) = (shared.says)(&target)
            && writes.write_all(answer.as_bytes()).is_err()
        {
            return;
        }
    }
}
