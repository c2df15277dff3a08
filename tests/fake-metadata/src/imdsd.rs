//! A stand-in for systemd-imdsd: the same metadata by way of systemd's socket, as where direct access to it is locked.
//!
//! Responsibilities: the two methods of `io.systemd.InstanceMetadata`, asked of a service that this crate plays; the errors that
//! systemd makes of HTTP's. Inputs: calls on a unix socket. Outputs: answers, a log of the calls. It must never ask any service
//! but the one it was given.
//!
//! Faithful to systemd 262.1 as it was seen to behave over a `prohibit` route, its faults included: a status from 300 on whose
//! answer has a body is told as the errno ENOTRECOVERABLE, a 404 and an outdated token among them; 503 and 429 are asked again up
//! to ten times, after which nothing is said until 40 s are over; a key that polkit has refused once is refused on that
//! connection for ever (here: every key). There each question takes a quarter of a second, here it does not.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::Provider;

/// `DIRECT_OVERALL_TIMEOUT_USEC`.
const GIVES_UP_AFTER: Duration = Duration::from_secs(40);
/// `RETRY_MAX`, `RETRY_MIN_USEC` and `RETRY_MAX_USEC`.
const RETRIES: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// The interface on which the service is found.
const INTERFACE: i64 = 2;
/// `SYNTHETIC_ERRNO`, EIO, ENOTRECOVERABLE.
const SYNTHETIC: i64 = 1 << 30;
const EIO: i64 = 5;
const ENOTRECOVERABLE: i64 = 131;

/// How it takes the questions for metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// As it does.
    Faithful,
    /// polkit refuses.
    Refuses,
    /// These bytes and a zero byte, whatever was asked.
    Says(Vec<u8>),
    /// Nothing is said for 40 s, then that the time is over.
    Hangs,
}

/// A question for metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The number of its connection, from 0.
    pub connection: usize,
    /// The key.
    pub key: String,
    /// Whether an answer that was kept would do.
    pub cache: bool,
    /// Whether the interface was named.
    pub has_interface: bool,
}

struct Shared {
    provider: Provider,
    service: SocketAddr,
    behaviour: Mutex<Behaviour>,
    calls: Mutex<Vec<Call>>,
    connections: Mutex<Vec<UnixStream>>,
    is_over: AtomicBool,
}

/// A running stand-in. Dropping it removes the socket and closes all its connections.
pub struct Imdsd {
    socket: PathBuf,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Imdsd {
    /// Listens at this path for questions about the service at this address, which is of this provider: AWS, Azure or GCP;
    /// systemd knows none of the others.
    ///
    /// # Errors
    /// The path cannot be listened on.
    pub fn start(socket: &Path, provider: Provider, service: SocketAddr) -> io::Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let shared = Arc::new(Shared {
            provider,
            service,
            behaviour: Mutex::new(Behaviour::Faithful),
            calls: Mutex::default(),
            connections: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        let thread = thread::Builder::new().name("fake-imdsd".to_owned()).spawn(move || accept(&listener, &serving))?;
        Ok(Self { socket: socket.to_owned(), shared, thread: Some(thread) })
    }

    /// Behaves like this from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        *locked(&self.shared.behaviour) = behaviour;
    }

    /// Closes all connections, as when its processes are restarted.
    pub fn disconnect(&self) {
        for connection in locked(&self.shared.connections).drain(..) {
            // One that its client has closed is closed.
            let _closed = connection.shutdown(Shutdown::Both);
        }
    }

    /// The questions for metadata so far.
    pub fn calls(&self) -> Vec<Call> {
        locked(&self.shared.calls).clone()
    }
}

impl Drop for Imdsd {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // Wakes the listener, which sees that it is over.
        let _woken = UnixStream::connect(&self.socket);
        let _removed = std::fs::remove_file(&self.socket);
        self.disconnect();
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    let mut talks = Vec::new();
    for (number, stream) in listener.incoming().enumerate() {
        if shared.is_over.load(Ordering::SeqCst) {
            break;
        }
        let Ok(stream) = stream else { continue };
        locked(&shared.connections).extend(stream.try_clone());
        let shared = Arc::clone(shared);
        talks.push(thread::spawn(move || Process { shared, number, token: None, is_refused: false }.serve(stream)));
    }
    talks.into_iter().for_each(|talk| drop(talk.join()));
}

/// What serves one connection.
struct Process {
    shared: Arc<Shared>,
    number: usize,
    token: Option<String>,
    is_refused: bool,
}

type Failure = (&'static str, Value);

fn failure(error: &'static str) -> Failure {
    (error, json!({}))
}

fn system(errno: i64) -> Failure {
    ("io.systemd.System", json!({"origin": "linux", "errno": SYNTHETIC | errno}))
}

impl Process {
    fn serve(mut self, mut stream: UnixStream) {
        let mut pending = Vec::new();
        let mut chunk = [0_u8; 4096];
        loop {
            while let Some(end) = pending.iter().position(|byte| *byte == 0) {
                let call: Vec<u8> = pending.drain(..=end).collect();
                let answer = self.answer(&call[..end], &stream);
                if stream.write_all(&[answer, vec![0]].concat()).is_err() {
                    return;
                }
            }
            match stream.read(&mut chunk) {
                Ok(count) if count > 0 => pending.extend_from_slice(&chunk[..count]),
                _ => return,
            }
        }
    }

    fn answer(&mut self, call: &[u8], stream: &UnixStream) -> Vec<u8> {
        let call: Value = serde_json::from_slice(call).unwrap_or_default();
        let outcome = match call["method"].as_str() {
            Some("io.systemd.InstanceMetadata.GetVendorInfo") => self.vendor(),
            Some("io.systemd.InstanceMetadata.Get") => {
                let behaviour = locked(&self.shared.behaviour).clone();
                match behaviour {
                    Behaviour::Says(bytes) => return bytes,
                    Behaviour::Hangs => {
                        self.note(&call["parameters"]);
                        let until = Instant::now() + GIVES_UP_AFTER;
                        self.wait(until, stream);
                        Err(failure("io.systemd.InstanceMetadata.Timeout"))
                    }
                    Behaviour::Refuses => {
                        self.is_refused = true;
                        self.get(&call["parameters"], stream)
                    }
                    Behaviour::Faithful => self.get(&call["parameters"], stream),
                }
            }
            _ => Err(failure("org.varlink.service.MethodNotFound")),
        };
        let answer = match outcome {
            Ok(parameters) => json!({ "parameters": parameters }),
            Err((error, parameters)) => json!({ "error": error, "parameters": parameters }),
        };
        answer.to_string().into_bytes()
    }

    /// As `40-imds.hwdb` has it.
    fn vendor(&self) -> Result<Value, Failure> {
        let address = json!([169, 254, 169, 254]);
        match self.shared.provider {
            Provider::Aws => Ok(json!({"vendor": "amazon-ec2", "tokenUrl": "http://169.254.169.254/latest/api/token",
                "refreshHeaderName": "X-aws-ec2-metadata-token-ttl-seconds", "dataUrl": "http://169.254.169.254/latest",
                "tokenHeaderName": "X-aws-ec2-metadata-token", "addressIPv4": address})),
            Provider::Azure => Ok(json!({"vendor": "microsoft-azure", "dataUrl": "http://169.254.169.254/metadata",
                "dataUrlSuffix": "?api-version=2025-04-07&format=text", "extraHeader": ["Metadata: true"],
                "addressIPv4": address})),
            Provider::Gcp => Ok(json!({"vendor": "google-gcp", "dataUrl": "http://169.254.169.254/computeMetadata/v1",
                "extraHeader": ["Metadata-Flavor: Google"], "addressIPv4": address})),
            _ => Err(failure("io.systemd.InstanceMetadata.NotSupported")),
        }
    }

    fn note(&self, parameters: &Value) {
        let key = parameters["key"].as_str().unwrap_or_default().to_owned();
        let cache = parameters["cache"].as_bool().unwrap_or(true);
        let has_interface = parameters["interface"].as_i64() == Some(INTERFACE);
        locked(&self.shared.calls).push(Call { connection: self.number, key, cache, has_interface });
    }

    fn get(&mut self, parameters: &Value, stream: &UnixStream) -> Result<Value, Failure> {
        self.note(parameters);
        let known = ["key", "wellKnown", "interface", "refreshUSec", "cache", "firewallMark"];
        let are_known = parameters.as_object().is_some_and(|all| all.keys().all(|name| known.contains(&name.as_str())));
        // `imds_key_is_valid`.
        let is_key = |key: &&str| key.starts_with('/') && key.bytes().all(|byte| (0x20..0x7F).contains(&byte));
        let key = parameters["key"].as_str().filter(is_key).filter(|_| are_known);
        let key = key.ok_or(failure("org.varlink.service.InvalidParameter"))?;
        if self.is_refused {
            return Err(failure("org.varlink.service.PermissionDenied"));
        }
        let (base, suffix) = match self.shared.provider {
            Provider::Azure => ("/metadata", "?api-version=2025-04-07&format=text"),
            Provider::Gcp => ("/computeMetadata/v1", ""),
            _ => ("/latest", ""),
        };
        // libcurl sends no fragment.
        let url = format!("{base}{key}{suffix}");
        let target = url.split('#').next().unwrap_or_default();
        let ttl_seconds = parameters["refreshUSec"].as_u64().unwrap_or(900_000_000).div_ceil(1_000_000);
        let until = Instant::now() + GIVES_UP_AFTER;
        let (mut retries, mut pause) = (0, FIRST_PAUSE);
        loop {
            match self.fetch(target, ttl_seconds) {
                Ok((200..300, body)) => {
                    return Ok(json!({"data": STANDARD.encode(body), "interface": INTERFACE}));
                }
                Ok((403, _)) => return Err(failure("io.systemd.InstanceMetadata.NotAvailable")),
                Ok((429 | 503, _)) | Err(_) => {}
                Ok((404, body)) if body.is_empty() => {
                    return Err(failure("io.systemd.InstanceMetadata.KeyNotFound"));
                }
                Ok((_, body)) => return Err(system(if body.is_empty() { EIO } else { ENOTRECOVERABLE })),
            }
            retries += 1;
            let wake = if retries > RETRIES { until } else { until.min(Instant::now() + pause) };
            if self.wait(wake, stream) || wake >= until {
                return Err(failure("io.systemd.InstanceMetadata.Timeout"));
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Sleeps; whether the client has gone meanwhile, or all is over.
    fn wait(&self, until: Instant, stream: &UnixStream) -> bool {
        while Instant::now() < until {
            thread::sleep(Duration::from_millis(10).min(until.saturating_duration_since(Instant::now())));
            let has_gone = || {
                nix::sys::socket::recv(
                    std::os::fd::AsRawFd::as_raw_fd(stream),
                    &mut [0_u8; 1],
                    nix::sys::socket::MsgFlags::MSG_PEEK | nix::sys::socket::MsgFlags::MSG_DONTWAIT,
                ) == Ok(0)
            };
            if self.shared.is_over.load(Ordering::SeqCst) || has_gone() {
                return true;
            }
        }
        false
    }

    fn fetch(&mut self, target: &str, ttl_seconds: u64) -> io::Result<(u16, Vec<u8>)> {
        let headers = match self.shared.provider {
            Provider::Azure => "Metadata: true\r\n".to_owned(),
            Provider::Gcp => "Metadata-Flavor: Google\r\n".to_owned(),
            _ => {
                if self.token.is_none() {
                    let ttl = format!("X-aws-ec2-metadata-token-ttl-seconds: {ttl_seconds}\r\n");
                    let (status, body) = self.request("PUT", "/latest/api/token", &ttl)?;
                    if status != 200 {
                        return Ok((status, body));
                    }
                    self.token = String::from_utf8(body).ok();
                }
                format!("X-aws-ec2-metadata-token: {}\r\n", self.token.as_deref().unwrap_or_default())
            }
        };
        self.request("GET", target, &headers)
    }

    fn request(&self, method: &str, target: &str, headers: &str) -> io::Result<(u16, Vec<u8>)> {
        let mut stream = TcpStream::connect(self.shared.service)?;
        stream.set_read_timeout(Some(GIVES_UP_AFTER))?;
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: 169.254.169.254\r\n{headers}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut fields);
        match response.parse(&answer) {
            Ok(httparse::Status::Complete(head)) => Ok((response.code.unwrap_or(0), answer[head..].to_vec())),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}
