//! A real HTTP/1.1 server on a thread of its own, with a log of what it was asked.
//!
//! Responsibilities: listen on a free port of 127.0.0.1, hand each request to a function, write its answer; hold a request
//! without answering, refuse connections, accept them again. Inputs: a function from request to answer. Outputs: replies,
//! the log. It must never answer a request that was not logged before.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::Response;
use serde_json::Value;
use tokio::sync::oneshot;

/// Larger bodies are answered 413: nothing that talks to these servers has more to say.
const BODY_BYTES_MAX: usize = 1 << 20;

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// Such as `POST`.
    pub method: String,
    /// With the query, if any.
    pub path: String,
    /// In the order they came; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body; bytes that are not UTF-8 are replaced.
    pub body: String,
    /// When the whole of it had come.
    pub at: Instant,
}

impl Received {
    /// The value of a header; its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body, if it is JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.body).ok()
    }
}

/// What to do with a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This status, these headers besides `Content-Length`, this body.
    Reply(u16, Vec<(&'static str, String)>, String),
    /// Never say anything; the connection stays open until the client goes or the server stops.
    Hold,
}

impl Answer {
    /// A JSON document.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::Reply(status, vec![("Content-Type", "application/json".to_owned())], body.to_string())
    }

    /// A text.
    pub fn text(status: u16, body: &str) -> Self {
        Self::Reply(status, vec![("Content-Type", "text/plain".to_owned())], body.to_owned())
    }

    /// The same with one more header. A held request has none.
    #[must_use]
    pub fn with_header(self, name: &'static str, value: impl Into<String>) -> Self {
        match self {
            Self::Reply(status, mut headers, body) => {
                headers.push((name, value.into()));
                Self::Reply(status, headers, body)
            }
            Self::Hold => Self::Hold,
        }
    }
}

type Decide = Arc<dyn Fn(&Received) -> Answer + Send + Sync>;

/// A running server. Its methods may be called from any thread. Dropping it closes its port and all its connections.
pub struct HttpServer {
    address: SocketAddr,
    decide: Decide,
    requests: Arc<Mutex<Vec<Received>>>,
    running: Mutex<Option<Running>>,
}

struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl HttpServer {
    /// Starts on a free port. `decide` is called on the server's thread, one request at a time: it should not block.
    ///
    /// # Errors
    /// When no port or no thread is to be had.
    pub fn start(decide: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Result<Self, String> {
        let (decide, requests): (Decide, _) = (Arc::new(decide), Arc::default());
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (address, running) = serve(anywhere, Arc::clone(&decide), Arc::clone(&requests))?;
        Ok(Self { address, decide, requests, running: Mutex::new(Some(running)) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT` and `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Everything it was asked so far, oldest first.
    pub fn requests(&self) -> Vec<Received> {
        lock(&self.requests).clone()
    }

    /// Closes the port and all connections: from now on, connections are refused. Returns when that is so.
    pub fn refuse(&self) {
        if let Some(running) = lock(&self.running).take() {
            // The thread may have ended by itself; then there is nothing to stop.
            let _told = running.stop.send(());
            let _ended = running.thread.join();
        }
    }

    /// Listens on the same port again after [`Self::refuse`]; does nothing while it listens.
    ///
    /// # Errors
    /// When the port has been taken by another program meanwhile.
    pub fn accept(&self) -> Result<(), String> {
        let mut running = lock(&self.running);
        if running.is_none() {
            *running = Some(serve(self.address, Arc::clone(&self.decide), Arc::clone(&self.requests))?.1);
        }
        Ok(())
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.refuse();
    }
}

/// The data behind a lock, also after a thread panicked with it: every change made under these locks is complete in itself.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens when this returns; serves on a thread of its own.
fn serve(
    address: SocketAddr,
    decide: Decide,
    requests: Arc<Mutex<Vec<Received>>>,
) -> Result<(SocketAddr, Running), String> {
    let failed = |error: std::io::Error| format!("cannot serve on {address}: {error}");
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener).map_err(failed)?
    };
    let router = Router::new().fallback(move |request: Request| {
        let (decide, requests) = (Arc::clone(&decide), Arc::clone(&requests));
        async move { respond(request, &decide, &requests).await }
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = move || {
        // Dropping the runtime afterwards ends every connection, answered or not.
        runtime.block_on(async move {
            tokio::select! {
                _ended = axum::serve(listener, router) => {}
                _asked = stopped => {}
            }
        });
    };
    let thread = std::thread::Builder::new().name("http-server".to_owned()).spawn(serving).map_err(failed)?;
    Ok((bound, Running { stop, thread }))
}

async fn respond(request: Request, decide: &Decide, requests: &Mutex<Vec<Received>>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else { return reply(413, &[], String::new()) };
    let header = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let received = Received {
        method: head.method.to_string(),
        path: head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string),
        headers: head.headers.iter().map(header).collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
        at: Instant::now(),
    };
    lock(requests).push(received.clone());
    match decide(&received) {
        Answer::Reply(status, headers, body) => reply(status, &headers, body),
        Answer::Hold => std::future::pending().await,
    }
}

fn reply(status: u16, headers: &[(&'static str, String)], body: String) -> Response<Body> {
    let builder =
        headers.iter().fold(Response::builder().status(status), |builder, (name, value)| builder.header(*name, value));
    // Fails only for a status or header that HTTP does not allow: a mistake of the test, shown to its client.
    builder.body(Body::from(body)).unwrap_or_else(|error| {
        let mut broken = Response::new(Body::from(format!("the server's answer is not HTTP: {error}")));
        *broken.status_mut() = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
        broken
    })
}
