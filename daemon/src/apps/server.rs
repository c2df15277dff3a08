//! The applications' socket: who is let in, and one conversation for each connection.
//!
//! Inputs: a listening socket, lines. Outputs: what the registry has to say to each. Runs on a normal thread of its own.
//! Must never let one connection hold up another: lines have a longest length and a pace, queues a bound, and whoever does
//! not read is cut off.

use super::limits::{Limits, Pace};
use super::registry::{Applicant, Line, Look, Registry};
use super::wire::{Asked, Delivery, LINE_BYTES_MAX, Registration, error, line, read};
use crate::sys::{clock, peer};
use nix::sys::socket::{setsockopt, sockopt::SndBuf};
use nix::unistd::geteuid;
use serde_json::{Value, json};
use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};

/// Longest wait for the first line, and for one that does not register, which is not for long.
const FIRST_LINE_TIME_MAX: Duration = Duration::from_secs(5);
/// The same for root and the daemon's own user: the handler keeps its connection between events, and asks twice a minute.
const IDLE_TIME_MAX: Duration = Duration::from_secs(120);
/// Lines that may wait to be read by the other side, besides what the kernel holds.
const QUEUE_LINES_MAX: usize = 32;
/// Longest wait for the other side to make room for a line.
const WRITE_TIME_MAX: Duration = Duration::from_secs(5);
/// What the kernel may hold for one that does not read, bytes; it doubles that, and its usual is far more.
const SEND_BYTES: usize = 8 * 1024;
/// The pause after a connection that could not be accepted: no descriptors are left, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long one that is turned away may take to read why.
const FAREWELL_TIME_MAX: Duration = Duration::from_millis(200);

/// Answers on the socket for as long as the process lives, on a thread of its own.
///
/// # Errors
/// The thread or its runtime cannot be had.
pub fn start(listener: StdListener, registry: Arc<Registry>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let body = move || {
        runtime.block_on(async {
            match UnixListener::from_std(listener) {
                Ok(listener) => serve(listener, registry).await,
                Err(error) => tracing::error!(%error, "applications cannot register"),
            }
        });
    };
    thread::Builder::new().name("snooze-apps".into()).spawn(body).map(drop)
}

/// Lets connections in, for ever.
pub async fn serve(listener: UnixListener, registry: Arc<Registry>) {
    let (limits, own_uid) = (Arc::new(Limits::default()), geteuid().as_raw());
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok((pid, uid)) = peer::process_of(&stream) else { continue };
        // Where that is refused the usual holds.
        let _ = setsockopt(&stream, SndBuf, &SEND_BYTES);
        let is_owner = uid == 0 || uid == own_uid;
        match limits.connect(uid, is_owner) {
            Ok(place) => {
                let registry = Arc::clone(&registry);
                tokio::spawn(async move {
                    converse(stream, &registry, Peer { pid, uid, is_owner }).await;
                    drop(place);
                });
            }
            Err(refused) => {
                // A fresh connection has room for a line: nobody is waited for.
                let _ = stream.try_write(error(&format!("{refused}; try again later")).as_bytes());
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Peer {
    pid: i32,
    uid: u32,
    is_owner: bool,
}

/// One connection, to its end.
async fn converse(stream: UnixStream, registry: &Registry, peer: Peer) {
    let (reader, writer) = stream.into_split();
    let (queue, lines) = mpsc::channel(QUEUE_LINES_MAX);
    let cut = Arc::new(Notify::new());
    let writing = tokio::spawn(write_lines(writer, lines, Arc::clone(&cut)));
    let mut talk = Talk { reader: Lines::new(reader), pace: Pace::new(clock::boot_ns()), wire: Line { queue, cut } };
    if let Err(Some(text)) = begin(&mut talk, registry, peer).await {
        talk.say(error(&text));
    }
    drop(talk);
    // What it was told last is still written, unless it does not read.
    let abort = writing.abort_handle();
    if timeout(FAREWELL_TIME_MAX, writing).await.is_err() {
        abort.abort();
    }
}

/// Why a conversation ended: with something to tell, or because there is nobody left.
type Ended = Result<(), Option<String>>;

struct Talk<R> {
    reader: Lines<R>,
    pace: Pace,
    wire: Line,
}

impl<R: AsyncRead + Unpin> Talk<R> {
    fn say(&self, text: String) {
        if self.wire.queue.try_send(text.into()).is_err() {
            self.wire.cut.notify_one();
        }
    }

    /// The next message.
    async fn next(&mut self) -> Result<Asked, Option<String>> {
        let line = self.reader.next().await?;
        if !self.pace.takes(clock::boot_ns()) {
            return Err(Some("too many lines".into()));
        }
        read(&line).map_err(Some)
    }
}

/// What comes before a registration; the handler's talk never gets further.
async fn begin<R: AsyncRead + Unpin>(talk: &mut Talk<R>, registry: &Registry, peer: Peer) -> Ended {
    let patience = if peer.is_owner { IDLE_TIME_MAX } else { FIRST_LINE_TIME_MAX };
    loop {
        let Ok(asked) = timeout(patience, talk.next()).await else {
            return Err(Some(format!("no registration came within {} s", patience.as_secs())));
        };
        match asked? {
            Asked::Register(registration) => return attend(talk, registry, peer, registration).await,
            Asked::Ping(_) => talk.say(line("pong", &json!({}))),
            Asked::Deliver(delivery) if peer.is_owner => deliver(talk, registry, delivery).await?,
            // The call ended just before it was cancelled.
            Asked::Stop(_) if peer.is_owner => {}
            Asked::Deliver(_) | Asked::Stop(_) => return Err(Some("only the daemon itself may do this".into())),
            _ => return Err(Some("register first".into())),
        }
    }
}

/// The talk with a registered application.
async fn attend<R: AsyncRead + Unpin>(
    talk: &mut Talk<R>,
    registry: &Registry,
    peer: Peer,
    registration: Registration,
) -> Ended {
    let events = registration.check().map_err(Some)?;
    let Registration { name, needs_seconds, .. } = registration;
    let who = Applicant { name, pid: peer.pid, uid: peer.uid, events, needs_seconds };
    let id = registry.register(who, talk.wire.clone(), clock::now());
    let cut = Arc::clone(&talk.wire.cut);
    let ended = loop {
        tokio::select! {
            () = cut.notified() => break Err(None),
            asked = talk.next() => match asked.and_then(|asked| answered(registry, id, asked)) {
                Ok(Some(reply)) => talk.say(reply),
                Ok(None) => {}
                Err(ended) => break Err(ended),
            },
        }
    };
    registry.gone(id, clock::now());
    ended
}

/// What an application says; the line to reply with, where there is one.
fn answered(registry: &Registry, id: u64, asked: Asked) -> Result<Option<String>, Option<String>> {
    let now = clock::now();
    let told = |told: Result<(), String>| Ok(told.err().map(|text| error(&text)));
    match asked {
        Asked::Ready(mut answer) => {
            let event = std::mem::take(&mut answer.id);
            told(registry.answered(id, &event, true, answer.evidence(), now))
        }
        Asked::Failed(mut answer) => {
            let event = std::mem::take(&mut answer.id);
            told(registry.answered(id, &event, false, answer.evidence(), now))
        }
        Asked::MoreTime(wish) => Ok(Some(registry.more_time(id, &wish.id, wish.seconds, now))),
        Asked::Ping(_) => Ok(Some(line("pong", &json!({})))),
        Asked::Register(_) => Err(Some("this connection is registered already".into())),
        Asked::Deliver(_) | Asked::Stop(_) => Err(Some("only the daemon itself may do this".into())),
    }
}

/// One delivery of the handler: waits until the applications have answered, the time is over, or the call is cancelled. A
/// connection that ends takes its delivery with it.
async fn deliver<R: AsyncRead + Unpin>(talk: &mut Talk<R>, registry: &Registry, delivery: Delivery) -> Ended {
    let (call, changed) = registry.deliver(delivery.notice, delivery.seconds, clock::now()).map_err(Some)?;
    let ended = loop {
        let Look::Until(due_ns) = registry.look(call, clock::boot_ns()) else { break Ok(()) };
        let left_ns = u64::try_from(due_ns.saturating_sub(clock::boot_ns())).unwrap_or(0);
        tokio::select! {
            () = changed.notified() => {}
            // A timer counts milliseconds: never a turn too early.
            () = sleep(Duration::from_nanos(left_ns) + Duration::from_millis(1)) => {}
            asked = talk.next() => match asked {
                Ok(Asked::Stop(_)) => registry.stop(call),
                Ok(_) => break Err(Some("a delivery is in progress".into())),
                Err(ended) => break Err(ended),
            },
        }
    };
    let result: Value = registry.finish(call, clock::now());
    ended?;
    talk.say(line("delivered", &result));
    Ok(())
}

/// Writes the lines of one connection. One that does not take them ends it.
async fn write_lines(mut writer: impl AsyncWrite + Unpin, mut lines: mpsc::Receiver<Arc<str>>, cut: Arc<Notify>) {
    while let Some(text) = lines.recv().await {
        if !timeout(WRITE_TIME_MAX, writer.write_all(text.as_bytes())).await.is_ok_and(|written| written.is_ok()) {
            cut.notify_one();
            return;
        }
    }
}

/// Lines of a stream, none longer than [`LINE_BYTES_MAX`].
struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new() }
    }

    /// The next line that is not empty, without its line break. May be given up at any time without losing anything.
    async fn next(&mut self) -> Result<Vec<u8>, Option<String>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let text = line.trim_ascii();
                if text.is_empty() {
                    continue;
                }
                return Ok(text.to_vec());
            }
            let room = LINE_BYTES_MAX.saturating_sub(self.buffer.len());
            if room == 0 {
                return Err(Some(format!("a line has at most {LINE_BYTES_MAX} bytes")));
            }
            let mut part = [0; 1024];
            let most = room.min(part.len());
            let (part, _) = part.split_at_mut(most);
            match self.reader.read(part).await {
                Ok(count) if count > 0 => self.buffer.extend(part.iter().take(count)),
                _ => return Err(None),
            }
        }
    }
}
