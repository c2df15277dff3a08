//! One request at a time, within a given time, over the kept connection where there is one.
//!
//! Inputs: a [`Request`] and the time left. Outputs: a [`Reply`] or a [`Failure`]. Must never wait longer
//! than it was given, nor once [`Client::cancel`] was called.

use crate::connection::{Connection, Server};
use crate::{BadSettings, Endpoint, Failure, HeaderName, HeaderValue, Method};
use cloudsnooze_plugin::Host;
use cloudsnooze_plugin::keeper::{Keeper, Lease};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use ureq::config::Config;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Proxy, ProxyProtocol};

/// Longest time for the name and for the connection: these two a cancel cannot interrupt.
const MAX_CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long an idle connection is kept; the keeper uses it more often. Longer, and a router on the way may have forgotten
/// it without a word, so that a request would wait for a reply that cannot come.
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
    /// POST, PUT and PATCH send the body, other methods none.
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
    pub(crate) headers: ureq::http::HeaderMap,
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

/// A client of one plugin instance, for one server above all. Its methods may be called from any thread.
pub struct Client {
    keeper: Keeper<Server>,
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Default)]
struct State {
    /// What the call that is on sends with.
    in_use: Option<Agent>,
    cancelled: bool,
}

impl Client {
    /// Makes a client that keeps a connection to the server of `endpoint`; opens none yet, reads the certificate file.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn new(host: Host, settings: &Settings, endpoint: &Endpoint) -> Result<Self, BadSettings> {
        let server = Server::new(config(settings)?, endpoint);
        Ok(Self { keeper: Keeper::new(host, "keep-http", server), state: Mutex::default(), woken: Condvar::new() })
    }

    /// Opens a connection ahead of need by asking for the head of the server's root page, and keeps it ready on a thread
    /// of its own. Waits for the first attempt, at most 2 s; a server that is down is a warning. For `activate`.
    pub fn keep_ready(&self) {
        self.keeper.start();
    }

    /// Closes the connection and ends the thread, and waits for it: for a check that is under way 2 s, and as long as the
    /// system takes to look up a name. For `deactivate`.
    pub fn stop(&self) {
        self.keeper.stop();
    }

    /// Begins a call, with the kept connection if there is one; forgets the cancel of an earlier call. Look at the call's
    /// own flag afterwards, since a cancel that came before this is forgotten too. One call at a time. Does not block.
    pub fn begin(&self) -> Session<'_> {
        let mut lease = self.keeper.lease();
        let kept = lease.take();
        let was_kept = kept.is_some();
        let connection = kept.unwrap_or_else(|| self.keeper.connector().unopened());
        *self.state() = State { in_use: Some(connection.agent.clone()), cancelled: false };
        let opened_before = connection.opened();
        Session {
            client: self,
            lease,
            connection: Some(connection),
            was_kept,
            opened_before,
            is_sound: Cell::new(was_kept),
        }
    }

    /// Ends the request or pause that is going on, and all that follow until [`Client::begin`]. Does not
    /// block. A connection being made is given up when it is there, or after 5 s.
    pub fn cancel(&self) {
        let agent = {
            let mut state = self.state();
            state.cancelled = true;
            state.in_use.clone()
        };
        self.woken.notify_all();
        if let Some(agent) = agent {
            agent.shutdown();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The requests of one call. Dropping it gives the connection back, to be kept for the next one.
pub struct Session<'c> {
    client: &'c Client,
    lease: Lease<'c, Server>,
    /// None only while it is dropped.
    connection: Option<Connection>,
    was_kept: bool,
    opened_before: u64,
    /// Whether the last request left the connection in order.
    is_sound: Cell<bool>,
}

impl Session<'_> {
    /// Sends a request and reads the reply within `left`. When a connection breaks, the request is sent
    /// once more on a fresh one: a kept connection may have been closed at the far end meanwhile. So the
    /// server may see it twice. When the addresses known ahead cannot be reached, the name is looked up once more.
    ///
    /// # Errors
    /// Why there is no reply.
    pub fn send(&self, request: &Request<'_>, left: Duration) -> Result<Reply, Failure> {
        let Some(connection) = &self.connection else { return Err(Failure::NotMade) };
        let started = Instant::now();
        let mut result = connection.send(request, left);
        let again = match &result {
            Err(Failure::Broken(_)) => true,
            Err(Failure::Unreachable(_)) => self.client.keeper.connector().names().forget(),
            _ => false,
        };
        if again && !self.client.state().cancelled {
            result = connection.send(request, left.saturating_sub(started.elapsed()));
        }
        self.is_sound.set(result.is_ok());
        result.map_err(|failure| if self.client.state().cancelled { Failure::Cancelled } else { failure })
    }

    /// For reports: `"kept"` as long as every request went over the connection that was there before the call, else
    /// `"fresh"`.
    pub fn connection(&self) -> &'static str {
        let opened = self.connection.as_ref().map_or(0, Connection::opened);
        if self.was_kept && opened == self.opened_before { "kept" } else { "fresh" }
    }

    /// Pauses, at most until the call is cancelled.
    ///
    /// # Errors
    /// [`Failure::Cancelled`], when it was.
    pub fn pause(&self, time: Duration, is_cancelled: impl Fn() -> bool) -> Result<(), Failure> {
        let end = Instant::now() + time;
        let mut state = self.client.state();
        loop {
            if state.cancelled || is_cancelled() {
                return Err(Failure::Cancelled);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let waited = self.client.woken.wait_timeout(state, left.min(CANCEL_CHECK_INTERVAL));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let cancelled = {
            let mut state = self.client.state();
            // A cancel that comes late must not cut the connection that is kept for the next call.
            state.in_use = None;
            state.cancelled
        };
        if let Some(connection) = self.connection.take()
            && self.is_sound.get()
            && !cancelled
        {
            self.lease.put(connection);
        }
    }
}

fn config(settings: &Settings) -> Result<Config, BadSettings> {
    let roots = match &settings.ca_file {
        Some(path) => RootCerts::from(certificates(path)?),
        None => RootCerts::WebPki,
    };
    let proxy = settings.proxy.as_deref().map(proxy).transpose()?;
    Ok(Agent::config_builder()
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
        .build())
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
