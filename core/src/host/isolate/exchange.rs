//! The memory between the daemon and the process of an isolated plugin: one request, one answer, and the words that say
//! whose turn it is.
//!
//! Inputs: a call and its event on one side, an answer on the other. Outputs: the same on the opposite side. The daemon
//! believes nothing that it reads here: lengths, text and states are checked on a copy. Must never wait: who waits, for
//! what and how long, is the callers' affair; nor allocate on the way to the handler, on the daemon's side.

use crate::event::{Event, Moment};
use crate::host::delivery::{Answer, CallCell, Delivery, Status};
use crate::host::packed;
use crate::sys::shared::{self, SharedMemory};
use cloudsnooze_abi as abi;
use serde_json::{Map, Value};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Longest event in the form of `packed`, bytes. Providers' documents have some hundreds.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;
/// Longest error text, bytes: the host keeps 2000 characters.
const ERROR_BYTES_MAX: usize = 8 * 1024;
/// Longest result, bytes: several of the longest that a handler may attach at a time.
const RESULT_BYTES_MAX: usize = 256 * 1024;

// A cache line for each word: both sides look at theirs without taking the other's away.
const TURN: usize = 0;
const ANSWERED: usize = 64;
const BEGUN: usize = 128;
const CANCEL: usize = 192;
const CANCEL_REASON: usize = 200;
const REQUEST: usize = 256;
const REQUEST_BYTES: usize = 192;
const EVENT: usize = REQUEST + REQUEST_BYTES;
const REPLY: usize = EVENT + EVENT_BYTES_MAX;
const REPLY_BYTES: usize = 64;
const ERROR: usize = REPLY + REPLY_BYTES;
const RESULT: usize = ERROR + ERROR_BYTES_MAX;
/// Where the lines begin (`lines`).
pub(super) const LINES: usize = RESULT + RESULT_BYTES_MAX;
/// Size of all of it.
pub(super) const BYTES: usize = LINES + super::lines::BYTES;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Handle the event.
    Handle,
    /// Does the effect of the handled event hold?
    Verify,
    /// Deactivate, destroy, end.
    Stop,
}

/// An event as it is sent.
pub struct Sent<'e> {
    /// The event.
    pub event: Option<&'e Event>,
    /// What a plugin reads of it without asking.
    pub head: abi::snooze_event,
    /// As of when.
    pub made: Moment,
}

impl<'e> From<&'e Delivery> for Sent<'e> {
    fn from(delivery: &'e Delivery) -> Self {
        Self { event: delivery.event().map(Arc::as_ref), head: *delivery.head(), made: delivery.made() }
    }
}

/// A request as the plugin's process reads it. It comes from the daemon, which is trusted.
pub struct Request {
    /// What is asked.
    pub kind: Kind,
    /// The call; born cancelled when the daemon's is.
    pub call: Arc<CallCell>,
    /// The event.
    pub event: Arc<Delivery>,
    /// How long a completion may come after the deadline.
    pub grace: Duration,
}

/// The memory and its layout.
pub struct Exchange {
    pub(super) memory: SharedMemory,
}

/// Why an answer could not be taken.
#[derive(Debug, PartialEq, Eq)]
pub struct Nonsense(pub String);

impl Exchange {
    /// Fresh memory.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> io::Result<Self> {
        SharedMemory::new(BYTES).map(|memory| Self { memory })
    }

    /// The memory that the daemon made.
    ///
    /// # Errors
    /// It is not of this layout, or the system refuses.
    pub fn open(fd: OwnedFd) -> io::Result<Self> {
        SharedMemory::open(fd, BYTES).map(|memory| Self { memory })
    }

    // The daemon's side.

    /// Puts down what is asked of `turn`, which [`Self::begin`] then tells. False when the event is too long.
    pub fn ask(&self, kind: Kind, sent: Option<&Sent<'_>>, call: Option<(&CallCell, Duration)>) -> bool {
        let mut place = Place { memory: &self.memory, at: EVENT, end: EVENT + EVENT_BYTES_MAX };
        let packed = sent.and_then(|sent| sent.event).map_or(Ok(()), |event| packed::pack(event, &mut place));
        if packed.is_err() {
            return false;
        }
        let mut head = Head([0; REQUEST_BYTES], 0);
        head.put(&(kind as u32).to_le_bytes());
        head.put(&u32::try_from(place.at - EVENT).unwrap_or(0).to_le_bytes());
        if let Some((call, grace)) = call {
            head.put(&call.attempt().to_le_bytes());
            head.put(&call.cancel_reason().to_le_bytes());
            head.put(&call.id().to_le_bytes());
            head.put(&call.key());
            head.put(&call.deadline_boot_ns().to_le_bytes());
            head.put(&(call.token() as u64).to_le_bytes());
            head.put(&u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX).to_le_bytes());
        }
        if let Some(sent) = sent {
            head.put(&sent.made.boot_ns.to_le_bytes());
            head.put(&sent.made.wall_ns.to_le_bytes());
            put_event(&mut head, &sent.head);
        }
        self.memory.write(REQUEST, &head.0)
    }

    /// Tells the plugin's process that it is its turn.
    pub fn begin(&self, turn: u32) {
        self.memory.word(TURN).store(turn, Ordering::Release);
        shared::wake(self.memory.word(TURN));
    }

    /// Wakes the plugin's process for nothing: whether it is its turn does not change.
    pub fn nudge(&self) {
        shared::wake(self.memory.word(TURN));
    }

    /// Whether the process has taken up this turn.
    pub fn has_begun(&self, turn: u32) -> bool {
        self.memory.word(BEGUN).load(Ordering::Acquire) == turn
    }

    /// Whether the turn was answered; if not, what [`Self::wait_answer`] is to be given.
    pub fn is_answered(&self, turn: u32) -> Result<(), u32> {
        let seen = self.memory.word(ANSWERED).load(Ordering::Acquire);
        if seen == turn { Ok(()) } else { Err(seen) }
    }

    /// Sleeps until something changes, at most for `limit`.
    pub fn wait_answer(&self, seen: u32, limit: Duration) {
        shared::wait(self.memory.word(ANSWERED), seen, Some(limit));
    }

    /// Wakes who waits for an answer: there will be none.
    pub fn end_wait(&self) {
        // Another value, so that who is about to sleep does not.
        self.memory.word(ANSWERED).fetch_add(0x4000_0000, Ordering::AcqRel);
        shared::wake(self.memory.word(ANSWERED));
    }

    /// Reads the answer; None: the plugin cannot tell (verification only).
    ///
    /// # Errors
    /// What makes no sense about it.
    pub fn take_answer(&self) -> Result<Option<Answer>, Nonsense> {
        let mut reply = [0; REPLY_BYTES];
        self.memory.read(REPLY, &mut reply);
        let word = |n: usize| u32::from_le_bytes(std::array::from_fn(|b| reply[n * 4 + b]));
        let (status, has_error, has_result) = (word(0), word(1) != 0, word(2) != 0);
        let error = self.text(ERROR, word(3), ERROR_BYTES_MAX, "an error text")?;
        let result = self.text(RESULT, word(4), RESULT_BYTES_MAX, "a result")?;
        if status == NO_ANSWER {
            return Ok(None);
        }
        let known = STATUSES.iter().find(|(number, _)| *number == status);
        let (_, status) = known.ok_or_else(|| Nonsense(format!("status number {status}")))?;
        let parsed = serde_json::from_str::<Map<String, Value>>(&result);
        let result = match (has_result, parsed) {
            (false, _) => None,
            (true, Ok(result)) => Some(result),
            (true, Err(error)) => return Err(Nonsense(format!("a result that is no JSON object ({error})"))),
        };
        Ok(Some(Answer { status: *status, error: has_error.then_some(error), result }))
    }

    fn text(&self, at: usize, length: u32, max: usize, what: &str) -> Result<String, Nonsense> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > max {
            return Err(Nonsense(format!("{what} of {length} bytes, at most {max} fit")));
        }
        let mut bytes = vec![0; length];
        self.memory.read(at, &mut bytes);
        String::from_utf8(bytes).map_err(|_| Nonsense(format!("{what} that is not UTF-8")))
    }

    /// Says that a call is no longer wanted; whoever reads it has to be called too.
    pub fn cancel(&self, call: u64, reason: u32) {
        self.memory.word(CANCEL_REASON).store(reason, Ordering::Relaxed);
        self.memory.long(CANCEL).store(call, Ordering::Release);
    }

    // The plugin's side.

    /// Sleeps until it is another turn than `last`, and takes it up. `nudged` runs when it was woken for nothing.
    pub fn wait_turn(&self, last: u32, mut nudged: impl FnMut()) -> u32 {
        loop {
            let turn = self.memory.word(TURN).load(Ordering::Acquire);
            if turn != last {
                self.memory.word(BEGUN).store(turn, Ordering::Release);
                return turn;
            }
            shared::wait(self.memory.word(TURN), last, None);
            if self.memory.word(TURN).load(Ordering::Acquire) == last {
                nudged();
            }
        }
    }

    /// Reads what is asked. `token` gives what the plugin wants back for a subscription's number.
    pub fn take_request(&self, token: impl FnOnce(u64) -> usize) -> Request {
        let mut head = Head([0; REQUEST_BYTES], 0);
        self.memory.read(REQUEST, &mut head.0);
        let kind = match u32::from_le_bytes(head.take()) {
            0 => Kind::Handle,
            1 => Kind::Verify,
            _ => Kind::Stop,
        };
        let length = u32::from_le_bytes(head.take());
        let (attempt, reason) = (u32::from_le_bytes(head.take()), u32::from_le_bytes(head.take()));
        let (id, key) = (u64::from_le_bytes(head.take()), head.take());
        let (deadline, token) = (i64::from_le_bytes(head.take()), token(u64::from_le_bytes(head.take())));
        let grace = Duration::from_nanos(u64::from_le_bytes(head.take()));
        let made = Moment { boot_ns: i64::from_le_bytes(head.take()), wall_ns: i64::from_le_bytes(head.take()) };
        let event = take_event(&mut head);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0).min(EVENT_BYTES_MAX)];
        self.memory.read(EVENT, &mut bytes);
        let call = CallCell::new(id, attempt, key, deadline, token);
        if reason != abi::SNOOZE_CANCEL_NONE {
            call.cancel(reason);
        }
        Request { kind, call, event: Delivery::received(event, bytes, made), grace }
    }

    /// The call that is no longer wanted and why; whatever was cancelled last.
    pub fn cancelled(&self) -> (u64, u32) {
        let call = self.memory.long(CANCEL).load(Ordering::Acquire);
        (call, self.memory.word(CANCEL_REASON).load(Ordering::Relaxed))
    }

    /// Puts the answer down and gives the turn back. False when the result was too long and left out.
    pub fn answer(&self, turn: u32, answer: Option<&Answer>) -> bool {
        let error = answer.and_then(|answer| answer.error.as_deref());
        let result = answer.and_then(|answer| answer.result.as_ref());
        let result = result.map(|result| Value::Object(result.clone()).to_string());
        let fits = result.as_ref().is_none_or(|text| text.len() <= RESULT_BYTES_MAX);
        let result = result.filter(|_| fits);
        let text = error.unwrap_or_default();
        let text = &text[..text.floor_char_boundary(ERROR_BYTES_MAX)];
        let status = answer.map_or(NO_ANSWER, |answer| {
            STATUSES.iter().find(|(_, status)| *status == answer.status).map_or(NO_ANSWER, |(number, _)| *number)
        });
        let length = |text: &str| u32::try_from(text.len()).unwrap_or(0);
        let result_text = result.as_deref().unwrap_or_default();
        let words = [status, error.is_some().into(), result.is_some().into(), length(text), length(result_text)];
        self.memory.write(ERROR, text.as_bytes());
        self.memory.write(RESULT, result_text.as_bytes());
        for (n, word) in words.iter().enumerate() {
            self.memory.write(REPLY + n * 4, &word.to_le_bytes());
        }
        self.memory.word(ANSWERED).store(turn, Ordering::Release);
        shared::wake(self.memory.word(ANSWERED));
        fits
    }
}

const NO_ANSWER: u32 = 100;
/// What a plugin can answer. That its process crashed it cannot say itself.
const STATUSES: [(u32, Status); 6] = [
    (0, Status::Handled),
    (1, Status::Declined),
    (2, Status::Failed),
    (3, Status::Retry),
    (4, Status::Panicked),
    (5, Status::Cancelled),
];

/// A request's fixed part, and how far it is written or read.
struct Head([u8; REQUEST_BYTES], usize);

impl Head {
    fn put(&mut self, bytes: &[u8]) {
        if let Some(place) = self.0.get_mut(self.1..self.1 + bytes.len()) {
            place.copy_from_slice(bytes);
            self.1 += bytes.len();
        }
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        if let Some(place) = self.0.get(self.1..self.1 + N) {
            bytes.copy_from_slice(place);
            self.1 += N;
        }
        bytes
    }
}

fn put_event(head: &mut Head, event: &abi::snooze_event) {
    for word in [event.kind, event.severity, event.flags] {
        head.put(&word.to_le_bytes());
    }
    head.put(&event.seq.to_le_bytes());
    head.put(&event.id);
    for time in [event.detected_boot_ns, event.detected_wall_ns, event.effective_boot_ns] {
        head.put(&time.to_le_bytes());
    }
}

fn take_event(head: &mut Head) -> abi::snooze_event {
    abi::snooze_event {
        struct_size: size_of::<abi::snooze_event>() as u32,
        kind: u32::from_le_bytes(head.take()),
        severity: u32::from_le_bytes(head.take()),
        flags: u32::from_le_bytes(head.take()),
        seq: u64::from_le_bytes(head.take()),
        id: head.take(),
        detected_boot_ns: i64::from_le_bytes(head.take()),
        detected_wall_ns: i64::from_le_bytes(head.take()),
        effective_boot_ns: i64::from_le_bytes(head.take()),
    }
}

/// Room in the memory that is written from the front.
struct Place<'m> {
    memory: &'m SharedMemory,
    at: usize,
    end: usize,
}

impl Write for Place<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.end - self.at || !self.memory.write(self.at, bytes) {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.at += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
