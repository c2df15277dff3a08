//! The connection to one server: opened and checked by the keeper, used by calls.
//!
//! Inputs: an endpoint, the library's settings. Outputs: a [`Connection`] that can tell whether the library had to connect
//! again. Must never send anything but `HEAD /` by itself: a POST would be a message to people.

use crate::names::Names;
use crate::{Endpoint, Failure, Method, Reply, Request};
use cloudsnooze_plugin::Error as PluginError;
use cloudsnooze_plugin::keeper::{Connector, Health};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use ureq::config::Config;
use ureq::unversioned::transport::{self, ConnectionDetails, DefaultConnector, Transport};
use ureq::{Agent, Body};

/// Bytes of a reply's body that are read; the rest is left out.
const MAX_BODY_BYTES: u64 = 64 << 10;
/// Longest time for opening or checking a connection ahead of need.
const CHECK_LIMIT: Duration = Duration::from_secs(2);

/// One connection, in the library's pool of one.
pub(crate) struct Connection {
    pub(crate) agent: Agent,
    opened: Arc<AtomicU64>,
}

impl Connection {
    /// How often the library has connected. Grows when a request found no usable connection.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Acquire)
    }

    /// Sends a request and reads the reply.
    pub(crate) fn send(&self, request: &Request<'_>, left: Duration) -> Result<Reply, Failure> {
        let agent = &self.agent;
        let mut head = ureq::http::Request::builder().method(request.method.clone()).uri(request.endpoint.address());
        for (name, value) in request.headers {
            head = head.header(name, value);
        }
        let result = if [Method::POST, Method::PUT, Method::PATCH].contains(&request.method) {
            let whole = head.body(request.body).map_err(|_| Failure::NotMade)?;
            agent.run(agent.configure_request(whole).timeout_global(Some(left)).build())
        } else {
            let whole = head.body(()).map_err(|_| Failure::NotMade)?;
            agent.run(agent.configure_request(whole).timeout_global(Some(left)).build())
        };
        read(result.map_err(|error| Failure::of(&error))?)
    }
}

fn read(reply: ureq::http::Response<Body>) -> Result<Reply, Failure> {
    let (head, mut body) = reply.into_parts();
    let mut bytes = Vec::new();
    body.as_reader()
        .take(MAX_BODY_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::of(&ureq::Error::from(error)))?;
    Ok(Reply { status: head.status.as_u16(), headers: head.headers, body: bytes })
}

/// One server, and how to connect to it.
pub(crate) struct Server {
    config: Config,
    names: Names,
    root: Endpoint,
}

impl Server {
    pub(crate) fn new(config: Config, endpoint: &Endpoint) -> Self {
        Self { config, names: Names::of(endpoint), root: endpoint.root() }
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// A connection that the first request will open.
    pub(crate) fn unopened(&self) -> Connection {
        let opened = Arc::default();
        let connector = transport::Connector::chain(DefaultConnector::default(), Counter(Arc::clone(&opened)));
        Connection { agent: Agent::with_parts(self.config.clone(), connector, self.names.clone()), opened }
    }

    /// Any answer will do.
    fn ask(&self, connection: &Connection) -> Result<(), Failure> {
        // A proxy looks the names up itself, and this machine may not be able to.
        if self.config.proxy().is_none() {
            self.names.refresh();
        }
        let request = Request { method: Method::HEAD, endpoint: &self.root, headers: &[], body: &[] };
        connection.send(&request, CHECK_LIMIT).map(drop)
    }
}

impl Connector for Server {
    type Connection = Connection;

    fn open(&self) -> Result<Connection, PluginError> {
        let connection = self.unopened();
        self.ask(&connection).map_err(|failure| failure.into_error(&self.root))?;
        Ok(connection)
    }

    fn check(&self, connection: &mut Connection) -> Health {
        let before = connection.opened();
        match self.ask(connection) {
            Ok(()) if connection.opened() == before => Health::Alive,
            Ok(()) => Health::Renewed,
            Err(_) => Health::Dead,
        }
    }
}

/// The last link of the library's chain: counts the connections made by the others.
#[derive(Debug)]
struct Counter(Arc<AtomicU64>);

impl transport::Connector<Box<dyn Transport>> for Counter {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        made: Option<Box<dyn Transport>>,
    ) -> Result<Option<Box<dyn Transport>>, ureq::Error> {
        self.0.fetch_add(1, Ordering::AcqRel);
        Ok(made)
    }
}
