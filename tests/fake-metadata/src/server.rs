//! The sockets of the fake service, and the faults that happen on them.
//!
//! Responsibilities: accept connections, read requests, write replies whole or broken as the plan says, run the script.
//! Inputs: an address, the shared [`Service`]. Outputs: bytes. One thread with one current-thread runtime does all
//! of it, so that it serves tests that have no runtime. It must never decide what to answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use crate::clock::boot_ns;
use crate::cloud::Hold;
use crate::control;
use crate::faults::Plan;
use crate::http::{Incoming, ReadError, Reply, read_request};
use crate::script::Step;
use crate::service::{Activity, Service, Verdict};

/// What an oversized body is padded with, and how much is written at a time.
const PADDING: [u8; 16 * 1024] = [b' '; 16 * 1024];
/// After a failure to accept (out of file descriptors, most likely) the next attempt waits so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound port and the runtime that will serve it, made before the thread so that errors reach whoever starts it.
pub(crate) struct Server {
    runtime: Runtime,
    listener: TcpListener,
}

impl Server {
    /// Binds the port: when this returns, connections to it succeed.
    pub(crate) fn bind(listen: SocketAddr) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let listener = runtime.block_on(TcpListener::bind(listen))?;
        Ok(Self { runtime, listener })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` fires or its sender is dropped. Runs on a thread of its own. Dropping the runtime at its end
    /// ends every connection, hanging ones included.
    pub(crate) fn serve(self, service: Arc<Service>, steps: Vec<Step>, stop: oneshot::Receiver<()>) {
        let listener = self.listener;
        self.runtime.block_on(async move {
            tokio::spawn(run_script(Arc::clone(&service), steps));
            tokio::select! {
                () = accept(listener, service) => {}
                _ = stop => {}
            }
        });
    }
}

async fn run_script(service: Arc<Service>, steps: Vec<Step>) {
    let start = Instant::now();
    for step in steps {
        sleep_until(start + step.after).await;
        let shown = step.change.to_string();
        if let Err(error) = service.apply(step.change) {
            service.tell(&Activity::Failed(format!("{shown}: {error}")));
        }
    }
}

async fn accept(listener: TcpListener, service: Arc<Service>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(converse(stream, Arc::clone(&service)));
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Whether a connection serves another request.
#[derive(PartialEq, Eq)]
enum Next {
    Request,
    Close,
}

async fn converse(mut stream: TcpStream, service: Arc<Service>) {
    // Without this a reply in two writes would wait for the client's delayed acknowledgement (tcp(7)).
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut buffer = Vec::new();
    loop {
        let next = match read_request(&mut stream, &mut buffer).await {
            Ok(request) if service.control && request.path.starts_with(control::PREFIX) => {
                let reply = control::answer(&service, &request);
                write_whole(&mut stream, &service, &reply, !request.close, false).await
            }
            Ok(request) => exchange(&mut stream, &mut buffer, &service, &request).await,
            Err(ReadError::Malformed(why)) => {
                let mut reply = service.refusal(400);
                reply.headers.push(("X-Reason", why.to_owned()));
                let head = reply.head(Some(reply.body.len()), false, service.server, service.clock.now());
                let _sent = stream.write_all(&[head, reply.body].concat()).await;
                Ok(Next::Close)
            }
            Err(ReadError::Closed) => return,
        };
        // A client that went away in the middle of a reply is not this service's concern.
        if !matches!(next, Ok(Next::Request)) {
            return;
        }
    }
}

/// One request and whatever the faults leave of its reply. `buffer` takes what comes while the request waits.
async fn exchange(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    service: &Service,
    request: &Incoming,
) -> io::Result<Next> {
    let received = (boot_ns(), service.clock.now());
    let plan = service.plan(request);
    if plan.hang {
        service.leave_unanswered(request, &plan, received);
        wait_until_gone(stream).await;
        return Ok(Next::Close);
    }
    if !plan.delay.is_zero() {
        sleep(plan.delay).await;
    }
    if plan.reset {
        service.leave_unanswered(request, &plan, received);
        stream.set_zero_linger()?;
        return Ok(Next::Close);
    }
    let Some((mut reply, news)) = settled(stream, buffer, service, request, &plan, received).await else {
        return Ok(Next::Close);
    };
    let keep_alive = !request.close && !plan.close;
    if request.method == "HEAD" {
        let head = reply.head(Some(reply.body.len()), keep_alive, service.server, service.clock.now());
        stream.write_all(&head).await?;
        return Ok(if keep_alive { Next::Request } else { Next::Close });
    }
    if plan.truncated || plan.drip.is_some() || plan.oversized.is_some() {
        return write_broken(stream, service, &mut reply, &plan, news).await;
    }
    write_whole(stream, service, &reply, keep_alive, news).await
}

/// The reply to a request, once it is to be answered: at once, or after a change or a while. Nothing when its connection ends
/// first.
async fn settled(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    service: &Service,
    request: &Incoming,
    plan: &Plan,
    received: (u64, Timestamp),
) -> Option<(Reply, bool)> {
    // Subscribed before the first look, so that no change falls between the look and the wait.
    let mut changed = service.subscribe();
    let mut held: Option<Hold> = None;
    loop {
        match service.answer(request, plan, received, held.as_ref()) {
            Verdict::Hold(hold) => {
                let left_ns = hold.until_ns.map(|until_ns| until_ns.saturating_sub(service.clock.shifted_boot_ns()));
                held = Some(hold);
                tokio::select! {
                    _ = changed.changed() => {}
                    () = wait_at_most(left_ns) => {}
                    () = client_leaves(stream, buffer) => {
                        service.leave_held(request, plan, received);
                        return None;
                    }
                }
            }
            Verdict::Reply(reply, news) => return Some((reply, news)),
            Verdict::Cut => return None,
        }
    }
}

/// Sleeps so long, or for ever.
async fn wait_at_most(left_ns: Option<u64>) {
    match left_ns {
        Some(left_ns) => sleep(Duration::from_nanos(left_ns)).await,
        None => std::future::pending().await,
    }
}

/// Ends when the client closes its connection. What it sends meanwhile, up to a bound, is kept for the next request.
async fn client_leaves(stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    const MOST_BYTES: usize = 64 * 1024;
    while buffer.len() < MOST_BYTES {
        if !matches!(stream.read_buf(buffer).await, Ok(count) if count > 0) {
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// Head and body in one write, so that they travel in one segment as far as they fit.
async fn write_whole(
    stream: &mut TcpStream,
    service: &Service,
    reply: &Reply,
    keep_alive: bool,
    news: bool,
) -> io::Result<Next> {
    let mut bytes = reply.head(Some(reply.body.len()), keep_alive, service.server, service.clock.now());
    bytes.extend_from_slice(&reply.body);
    if news {
        service.about_to_write_news();
    }
    stream.write_all(&bytes).await?;
    if keep_alive {
        return Ok(Next::Request);
    }
    stream.shutdown().await?;
    Ok(Next::Close)
}

async fn write_broken(
    stream: &mut TcpStream,
    service: &Service,
    reply: &mut Reply,
    plan: &Plan,
    news: bool,
) -> io::Result<Next> {
    let announced = plan.oversized.is_none().then_some(reply.body.len());
    let head = reply.head(announced, false, service.server, service.clock.now());
    let padding = plan.oversized.map_or(0, |bytes| bytes.saturating_sub(reply.body.len() as u64));
    if plan.truncated {
        reply.body.truncate(reply.body.len() / 2);
    }
    if news {
        service.about_to_write_news();
    }
    stream.write_all(&head).await?;
    match plan.drip {
        Some(interval) => {
            for byte in &reply.body {
                sleep(interval).await;
                stream.write_all(std::slice::from_ref(byte)).await?;
            }
        }
        None => stream.write_all(&reply.body).await?,
    }
    let mut left = padding;
    while left > 0 {
        let now = usize::try_from(left).map_or(PADDING.len(), |left| left.min(PADDING.len()));
        stream.write_all(&PADDING[..now]).await?;
        left -= now as u64;
    }
    stream.shutdown().await?;
    Ok(Next::Close)
}

/// Holds the connection open, silent, until the client gives up.
async fn wait_until_gone(stream: &mut TcpStream) {
    let mut ignored = [0_u8; 1024];
    while matches!(stream.read(&mut ignored).await, Ok(count) if count > 0) {}
}
