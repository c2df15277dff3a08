//! A real HTTP/1.1 server in the test's own process, plain or with TLS, that answers as its script says.
//!
//! Shared by the tests of the plugins that speak HTTP. Stops and joins all its threads when dropped.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a test waits for something that should happen at once.
pub const SOON: Duration = Duration::from_secs(10);

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// Which connection it came on, from 0.
    pub connection: usize,
    /// Which request of that connection it is, from 0.
    pub nth: usize,
    /// Which request of the server it is, from 0.
    pub total: usize,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// What to do with a request.
pub enum Answer {
    Reply(u16, Vec<(&'static str, String)>, String),
    /// Say nothing and keep the connection open until the client goes.
    Hold,
    /// Send the head and part of the body, then nothing more.
    Stall,
    /// Close the connection without an answer.
    Close,
    /// Send this as it is, and close.
    Raw(&'static str),
}

impl Answer {
    pub fn ok(body: impl Into<String>) -> Self {
        Self::status(200, body)
    }

    pub fn status(status: u16, body: impl Into<String>) -> Self {
        Self::Reply(status, vec![], body.into())
    }

    pub fn with(self, name: &'static str, value: impl Into<String>) -> Self {
        match self {
            Self::Reply(status, mut headers, body) => {
                headers.push((name, value.into()));
                Self::Reply(status, headers, body)
            }
            other => other,
        }
    }
}

/// What follows on the connection.
enum After {
    Next,
    ClientLeaves,
    Close,
}

type Script = Box<dyn Fn(&Received) -> Answer + Send + Sync>;

struct Shared {
    script: Script,
    tls: Option<Arc<rustls::ServerConfig>>,
    stopping: AtomicBool,
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    requests: Vec<Received>,
    connections: usize,
    abandoned: usize,
    open: Vec<TcpStream>,
    threads: Vec<JoinHandle<()>>,
}

pub struct Server {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), script)
    }

    /// On this address, where another one may have listened before.
    pub fn start_at(address: SocketAddr, script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_with(address, Box::new(script), None)
    }

    /// With TLS, for `localhost`; also gives the PEM of the authority that vouches for it.
    pub fn start_tls(script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> (Self, String) {
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = authority.self_signed(&authority_key).unwrap().pem();
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &issuer).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        (Self::start_with(SocketAddr::from(([127, 0, 0, 1], 0)), Box::new(script), Some(Arc::new(config))), pem)
    }

    fn start_with(address: SocketAddr, script: Script, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script,
            tls,
            stopping: AtomicBool::new(false),
            seen: Mutex::default(),
            changed: Condvar::new(),
        });
        let acceptor = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || accept(&listener, &shared))
        };
        Self { address, shared, acceptor: Some(acceptor) }
    }

    pub fn url(&self, path: &str) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://localhost:{}{path}", self.address.port())
    }

    pub fn requests(&self) -> Vec<Received> {
        self.shared.seen.lock().unwrap().requests.clone()
    }

    /// The requests without those that only warm a connection up.
    pub fn calls(&self) -> Vec<Received> {
        self.requests().into_iter().filter(|r| r.method != "HEAD").collect()
    }

    pub fn connections(&self) -> usize {
        self.shared.seen.lock().unwrap().connections
    }

    /// Waits until so many requests other than HEAD have come.
    pub fn wait_for_calls(&self, count: usize) {
        self.wait(|seen| seen.requests.iter().filter(|r| r.method != "HEAD").count() >= count);
    }

    /// Waits until so many questions for the root page have come, which keep a connection ready.
    pub fn wait_for_checks(&self, count: usize) {
        self.wait(|seen| seen.requests.iter().filter(|r| r.method == "HEAD").count() >= count);
    }

    /// How many clients have gone away from a request that was held.
    pub fn abandoned(&self) -> usize {
        self.shared.seen.lock().unwrap().abandoned
    }

    /// Waits until a client has gone away from a request that was held.
    pub fn wait_for_abandoned(&self) {
        self.wait(|seen| seen.abandoned > 0);
    }

    fn wait(&self, done: impl Fn(&Seen) -> bool) {
        let seen = self.shared.seen.lock().unwrap();
        let (_seen, result) = self.shared.changed.wait_timeout_while(seen, SOON, |seen| !done(seen)).unwrap();
        assert!(!result.timed_out(), "it did not happen");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        let (open, threads) = {
            let mut seen = self.shared.seen.lock().unwrap();
            (std::mem::take(&mut seen.open), std::mem::take(&mut seen.threads))
        };
        for stream in open {
            let _ = stream.shutdown(Shutdown::Both);
        }
        for thread in threads {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopping.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let mut seen = shared.seen.lock().unwrap();
        let connection = seen.connections;
        seen.connections += 1;
        seen.open.extend(stream.try_clone());
        let (shared, other_end) = (Arc::clone(shared), stream.try_clone());
        seen.threads.push(std::thread::spawn(move || {
            match &shared.tls {
                None => serve(&shared, connection, BufReader::new(stream)),
                Some(tls) => {
                    let session = rustls::ServerConnection::new(Arc::clone(tls)).unwrap();
                    serve(&shared, connection, BufReader::new(rustls::StreamOwned::new(session, stream)));
                }
            }
            // The copy kept for the end of the test would hold the connection open.
            let _ = other_end.map(|s| s.shutdown(Shutdown::Both));
        }));
    }
}

fn serve(shared: &Shared, connection: usize, mut stream: BufReader<impl Read + Write>) {
    for nth in 0.. {
        let Some(mut request) = read_request(&mut stream, connection, nth) else { return };
        {
            let mut seen = shared.seen.lock().unwrap();
            request.total = seen.requests.len();
            seen.requests.push(request.clone());
            shared.changed.notify_all();
        }
        let (text, after) = written((shared.script)(&request), request.method == "HEAD");
        let sent = stream.get_mut().write_all(text.as_bytes()).and_then(|()| stream.get_mut().flush());
        match after {
            After::Next if sent.is_ok() => {}
            After::ClientLeaves => {
                // Ends when the client closes, or when the server is dropped.
                let _ = stream.read(&mut [0]);
                shared.seen.lock().unwrap().abandoned += 1;
                shared.changed.notify_all();
                return;
            }
            _ => return,
        }
    }
}

fn written(answer: Answer, is_head: bool) -> (String, After) {
    match answer {
        Answer::Reply(status, headers, body) => {
            let mut text = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
            for (name, value) in headers {
                text += &format!("{name}: {value}\r\n");
            }
            (format!("{text}\r\n{}", if is_head { "" } else { &body }), After::Next)
        }
        Answer::Raw(text) => (text.to_owned(), After::Close),
        Answer::Close => (String::new(), After::Close),
        Answer::Stall => ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_owned(), After::ClientLeaves),
        Answer::Hold => (String::new(), After::ClientLeaves),
    }
}

fn read_request(stream: &mut impl BufRead, connection: usize, nth: usize) -> Option<Received> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let length = headers.iter().find(|(n, _)| n.eq_ignore_ascii_case("content-length"));
    let mut body = vec![0; length.and_then(|(_, v)| v.parse().ok()).unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).ok()?;
    Some(Received { method, path, headers, body, connection, nth, total: 0 })
}
