//! One request at a time, within a given time, over a kept connection where there is one.
//!
//! Inputs: a [`Request`] and the time left. Outputs: a [`Reply`] or a [`Failure`]. Must never wait longer
//! than it was given, nor once [`Client::cancel`] was called.

use crate::{BadSettings, Endpoint, Failure, HeaderName, HeaderValue, Method};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use ureq::config::Config;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Proxy, ProxyProtocol};

/// Bytes of a reply's body that are read; the rest is left out.
const MAX_BODY_BYTES: u64 = 64 << 10;
/// Longest time for the name and for the connection: these two a cancel cannot interrupt.
const MAX_CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long an idle connection is kept. Longer, and a router on the way may have forgotten it without a
/// word, so that a request would wait for a reply that cannot come.
const MAX_IDLE_TIME: Duration = Duration::from_secs(60);
/// How often a pause looks whether the call was cancelled, should nobody call [`Client::cancel`].
const CANCEL_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// What a client is made from.
#[derive(Clone, Default)]
pub struct Settings {
    /// PEM certificates to trust, instead of the public authorities.
    pub ca_file: Option<PathBuf>,
    /// Address of an HTTP proxy; may hold credentials. The environment is not asked.
    pub proxy: Option<String>,
    /// Name given to servers.
    pub user_agent: String,
}

/// What to ask of a server.
pub struct Request<'a> {
    /// POST sends the body, other methods none.
    pub method: Method,
    /// Where to.
    pub endpoint: &'a Endpoint,
    /// Headers beyond those of the protocol.
    pub headers: &'a [(HeaderName, HeaderValue)],
    /// The body.
    pub body: &'a [u8],
}

/// What the server said.
#[derive(Debug)]
pub struct Reply {
    /// Status, redirects included.
    pub status: u16,
    headers: ureq::http::HeaderMap,
    /// The first 64 KiB of the body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A header's text; None when absent or not text.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// How long the server asks to wait (RFC 9110 10.2.3), when it says so in seconds.
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.header(&ureq::http::header::RETRY_AFTER)?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    }

    /// The body as text, broken characters replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client of one plugin instance. Its methods may be called from any thread.
pub struct Client {
    config: Config,
    state: Mutex<State>,
    woken: Condvar,
}

struct State {
    agent: Agent,
    cancelled: bool,
}

impl Client {
    /// Makes a client; opens no connection, reads the certificate file.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn new(settings: &Settings) -> Result<Self, BadSettings> {
        let roots = match &settings.ca_file {
            Some(path) => RootCerts::from(certificates(path)?),
            None => RootCerts::WebPki,
        };
        let proxy = settings.proxy.as_deref().map(proxy).transpose()?;
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .proxy(proxy)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(settings.user_agent.as_str())
            .timeout_resolve(Some(MAX_CONNECT_TIME))
            .timeout_connect(Some(MAX_CONNECT_TIME))
            .max_idle_age(MAX_IDLE_TIME)
            // One, so that the attempt after a stale one cannot meet another stale one.
            .max_idle_connections_per_host(1)
            .build();
        let agent = config.new_agent();
        Ok(Self { config, state: Mutex::new(State { agent, cancelled: false }), woken: Condvar::new() })
    }

    /// Begins a call: forgets the cancel of an earlier one. Look at the call's own flag afterwards, since
    /// a cancel that came before this is forgotten too.
    pub fn begin(&self) {
        let mut state = self.state();
        if state.cancelled {
            *state = State { agent: self.config.new_agent(), cancelled: false };
        }
    }

    /// Ends the request or pause that is going on, and all that follow until [`Client::begin`]. Does not
    /// block. A connection being made is given up when it is there, or after 5 s.
    pub fn cancel(&self) {
        let agent = {
            let mut state = self.state();
            state.cancelled = true;
            state.agent.clone()
        };
        self.woken.notify_all();
        agent.shutdown();
    }

    /// Sends a request and reads the reply within `left`. When a connection breaks, the request is sent
    /// once more on a fresh one: a kept connection may have been closed at the far end meanwhile. So the
    /// server may see it twice.
    ///
    /// # Errors
    /// Why there is no reply.
    pub fn send(&self, request: &Request<'_>, left: Duration) -> Result<Reply, Failure> {
        let started = Instant::now();
        let result = match self.send_once(request, left) {
            Err(Failure::Broken(_)) if !self.state().cancelled => {
                self.send_once(request, left.saturating_sub(started.elapsed()))
            }
            result => result,
        };
        result.map_err(|failure| if self.state().cancelled { Failure::Cancelled } else { failure })
    }

    /// Opens a connection ahead of need, by asking for the head of the server's root page. Any answer
    /// will do.
    ///
    /// # Errors
    /// Why the server cannot be reached.
    pub fn warm_up(&self, endpoint: &Endpoint, left: Duration) -> Result<(), Failure> {
        let request = Request { method: Method::HEAD, endpoint: &endpoint.root(), headers: &[], body: &[] };
        self.send(&request, left).map(drop)
    }

    /// Pauses, at most until the call is cancelled.
    ///
    /// # Errors
    /// [`Failure::Cancelled`], when it was.
    pub fn pause(&self, time: Duration, is_cancelled: impl Fn() -> bool) -> Result<(), Failure> {
        let end = Instant::now() + time;
        let mut state = self.state();
        loop {
            if state.cancelled || is_cancelled() {
                return Err(Failure::Cancelled);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let waited = self.woken.wait_timeout(state, left.min(CANCEL_CHECK_INTERVAL));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn send_once(&self, request: &Request<'_>, left: Duration) -> Result<Reply, Failure> {
        let agent = self.state().agent.clone();
        let mut head = ureq::http::Request::builder().method(request.method.clone()).uri(request.endpoint.address());
        for (name, value) in request.headers {
            head = head.header(name, value);
        }
        let result = if request.method == Method::POST {
            let whole = head.body(request.body).map_err(|_| Failure::NotMade)?;
            agent.run(agent.configure_request(whole).timeout_global(Some(left)).build())
        } else {
            let whole = head.body(()).map_err(|_| Failure::NotMade)?;
            agent.run(agent.configure_request(whole).timeout_global(Some(left)).build())
        };
        let (head, mut body) = result.map_err(|error| Failure::of(&error))?.into_parts();
        let mut bytes = Vec::new();
        body.as_reader()
            .take(MAX_BODY_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::of(&ureq::Error::from(error)))?;
        Ok(Reply { status: head.status.as_u16(), headers: head.headers, body: bytes })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn certificates(path: &Path) -> Result<Vec<ureq::tls::Certificate<'static>>, BadSettings> {
    let pem = std::fs::read(path).map_err(|source| BadSettings::CaFile { path: path.to_owned(), source })?;
    let found: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() { Err(BadSettings::NoCertificate(path.to_owned())) } else { Ok(found) }
}

fn proxy(address: &str) -> Result<Proxy, BadSettings> {
    let proxy = Proxy::new(address).map_err(|_| BadSettings::Proxy)?;
    // The library would panic at the first request through any other kind.
    let is_http = matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https);
    if is_http { Ok(proxy) } else { Err(BadSettings::Proxy) }
}
