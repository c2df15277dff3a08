//! Connections to the control socket and the dashboard's port: who is let in, and how long one may take to say what it wants.
//!
//! Inputs: listening sockets, the routes, the rights. Outputs: conversations over HTTP/1.1, each with its caller attached to
//! every request. Must never let one connection hold up another, or read a head or a body without a bound.

use super::limits::{Limits, Over};
use super::rights::{Caller, Rights};
use super::wire::Failure;
use crate::sys::{clock, peer};
use axum::extract::Extension;
use axum::http::StatusCode;
use axum::{Router, serve::Listener};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

/// Longest head of a request, bytes: ten times what a browser sends.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most headers of a request.
const HEADERS_MAX: usize = 64;
/// Longest wait for the head of a request, from the connection or the reply before.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(5);
/// How long one that is turned away may take to read why.
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(1);
/// How many are told why at the same time; others are only cut off.
const FAREWELLS_MAX: usize = 32;

/// Answers on the socket for ever. What cannot be accepted now (no descriptors left) is tried again.
pub async fn serve(mut listener: UnixListener, router: Router, rights: Rights, limits: Arc<Limits>) {
    let hall = Hall::new(router, limits);
    loop {
        // The trait's own accept goes on after errors, with a pause.
        let (stream, _) = Listener::accept(&mut listener).await;
        let caller = match peer::of(&stream) {
            Ok(peer) => rights.of(&peer),
            Err(error) => {
                tracing::warn!(%error, "the kernel does not say who connected to the control socket; it is turned away");
                continue;
            }
        };
        hall.receive(stream, caller);
    }
}

/// The same at the dashboard's port, where nobody is anybody before the token was shown.
pub async fn serve_port(mut listener: TcpListener, router: Router, limits: Arc<Limits>) {
    let hall = Hall::new(router, limits);
    loop {
        let (stream, _) = Listener::accept(&mut listener).await;
        // What happens is told in small writes; none of them is to wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        hall.receive(stream, Caller::at_port(false));
    }
}

/// Where connections are taken in or turned away.
struct Hall {
    router: Router,
    limits: Arc<Limits>,
    farewells: Arc<Semaphore>,
}

impl Hall {
    fn new(router: Router, limits: Arc<Limits>) -> Self {
        Self { router, limits, farewells: Arc::new(Semaphore::new(FAREWELLS_MAX)) }
    }

    fn receive<S>(&self, stream: S, caller: Caller)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        match self.limits.connect(&caller, clock::boot_ns()) {
            Ok(place) => {
                let router = self.router.clone();
                tokio::spawn(async move {
                    converse(stream, router, caller).await;
                    drop(place);
                });
            }
            Err(over) => {
                let Ok(turn) = Arc::clone(&self.farewells).try_acquire_owned() else { return };
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(FAREWELL_TIME_MAX, turn_away(stream, over)).await;
                    drop(turn);
                });
            }
        }
    }
}

/// One connection, to its end. A request whose head does not come in time is told so.
pub async fn converse<S>(stream: S, router: Router, caller: Caller)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = TowerToHyperService::new(router.layer(Extension(caller)));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let ended = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    let mut stream = connection.into_parts().io.into_inner();
    // Broken or closed connections are the clients' own affair.
    if ended.is_err_and(|error| error.is_timeout()) {
        let text = format!("no whole request came within {} s", HEAD_TIME_MAX.as_secs());
        let _ = stream.write_all(&answer(StatusCode::REQUEST_TIMEOUT, &text)).await;
    }
    let _ = stream.shutdown().await;
}

/// Tells one for whom there is no place. What it asks is read and dropped: closing before that could cost it the reply.
async fn turn_away(mut stream: impl AsyncRead + AsyncWrite + Unpin, over: Over) {
    let (status, text) = over_limit(over);
    if stream.write_all(&answer(status, &text)).await.is_ok() && stream.shutdown().await.is_ok() {
        let mut dropped = [0; 1024];
        while stream.read(&mut dropped).await.is_ok_and(|count| count > 0) {}
    }
}

/// Status and sentence of what is over its limit.
pub fn over_limit(over: Over) -> (StatusCode, String) {
    match over {
        Over::Own(what) => {
            (StatusCode::TOO_MANY_REQUESTS, format!("too many {what} of this user; try again in a second"))
        }
        Over::All(what) => (StatusCode::SERVICE_UNAVAILABLE, format!("too many {what} of all users; try again later")),
    }
}

/// A whole reply, for where no server stands behind the connection.
fn answer(status: StatusCode, error: &str) -> Vec<u8> {
    let body = serde_json::to_string(&Failure { error: error.into(), ..Failure::default() }).unwrap_or_default();
    let (length, reason) = (body.len(), status.canonical_reason().unwrap_or_default());
    let code = status.as_u16();
    format!(
        "HTTP/1.1 {code} {reason}\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
