//! One event on its way to one instance, and the call around it: what plugins hold pointers to.
//!
//! Responsibilities: the C head and the text behind it in one allocation, cancellation, the answer.
//! Inputs: an event, a deadline. Outputs: an [`Answer`]. Threads: made and dropped on the pool, read
//! from any thread of the plugin. Must never take a lock that a normal thread of the daemon takes.
#![allow(unsafe_code)]

use super::packed;
use crate::event::{Event, EventId, Moment};
use crate::sys::sched::Placement;
use crate::sys::{clock, prefetch};
use cloudsnooze_abi as abi;
use nix::sys::eventfd::{EfdFlags, EventFd};
use serde_json::{Map, Value};
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Longest result text a handler may attach, bytes.
pub const RESULT_BYTES_MAX: usize = 64 * 1024;

/// What a handler's attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Handled,
    /// Looked at and declined.
    Declined,
    /// Failed.
    Failed,
    /// Failed now, worth another attempt.
    Retry,
    /// Panicked or threw.
    Panicked,
    /// Its process died.
    Crashed,
    /// Stopped because it was told to.
    Cancelled,
}

/// What one call answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The outcome.
    pub status: Status,
    /// Text of a failure.
    pub error: Option<String>,
    /// Evidence for the report.
    pub result: Option<Map<String, Value>>,
}

impl Answer {
    /// An answer without evidence.
    pub fn new(status: Status, error: impl Into<String>) -> Self {
        Self { status, error: Some(error.into()), result: None }
    }
}

thread_local! {
    static CALL_ROOM: Cell<Option<Arc<MaybeUninit<CallCell>>>> = const { Cell::new(None) };
    static DELIVERY_ROOM: Cell<Option<Arc<MaybeUninit<Delivery>>>> = const { Cell::new(None) };
}

/// Has memory ready for the next call and the next delivery that this thread makes. The allocator's arenas have locks,
/// which normal threads take when they give back what a pool thread allocated: better now than then.
pub fn stock_up() {
    CALL_ROOM.with(|room| room.set(Some(room.take().unwrap_or_else(Arc::new_uninit))));
    DELIVERY_ROOM.with(|room| room.set(Some(room.take().unwrap_or_else(Arc::new_uninit))));
}

/// Asks for that memory: it was written when the thread last had time, and is in no cache any more.
pub fn approach() {
    fn ahead<T>(room: &Cell<Option<Arc<MaybeUninit<T>>>>) {
        let memory = room.take();
        if let Some(memory) = &memory {
            // The counts of the Arc lie in front of the value.
            let counts = 2 * size_of::<usize>();
            prefetch::stretch(Arc::as_ptr(memory).addr() - counts, counts + size_of::<T>());
        }
        room.set(memory);
    }
    CALL_ROOM.with(ahead);
    DELIVERY_ROOM.with(ahead);
}

/// Puts a value into memory that nobody else has.
fn place<T>(mut room: Arc<MaybeUninit<T>>, value: T) -> Arc<T> {
    match Arc::get_mut(&mut room) {
        Some(place) => place.write(value),
        None => return Arc::new(value),
    };
    // SAFETY: written just above.
    unsafe { room.assume_init() }
}

/// One event as one instance sees it. The head comes first: a pointer to it is a pointer to all.
#[repr(C)]
pub struct Delivery {
    head: abi::snooze_event,
    magic: u64,
    matter: Matter,
    made: Moment,
    /// Made when a text is first asked for.
    texts: OnceLock<Box<Texts>>,
}

/// The event behind the head.
enum Matter {
    Event(Arc<Event>),
    /// As it came from another process; read when it is first asked for.
    Packed(Box<Packed>),
}

struct Packed {
    bytes: Vec<u8>,
    event: OnceLock<Option<Arc<Event>>>,
}

/// What a handler may ask for, each made once.
#[derive(Default)]
struct Texts {
    id: OnceLock<String>,
    time: OnceLock<String>,
    deadline: OnceLock<Option<String>>,
    raw: OnceLock<Option<String>>,
    value: OnceLock<Value>,
    json: OnceLock<String>,
}

const DELIVERY_MAGIC: u64 = 0x5A4E_535F_4556_4E54;

impl Delivery {
    /// A delivery as of `now`.
    #[cfg_attr(target_os = "linux", allow(unsafe_code), unsafe(link_section = "snooze_hot"))]
    pub fn new(event: Arc<Event>, seq: u64, now: Moment) -> Arc<Self> {
        let head = Self::head_of(&event, seq);
        let room = DELIVERY_ROOM.take().unwrap_or_else(Arc::new_uninit);
        let matter = Matter::Event(event);
        place(room, Self { head, magic: DELIVERY_MAGIC, matter, made: now, texts: OnceLock::new() })
    }

    /// The same delivery in another process, from its head and the event in the form of `packed`.
    pub fn received(head: abi::snooze_event, packed: Vec<u8>, made: Moment) -> Arc<Self> {
        let room = DELIVERY_ROOM.take().unwrap_or_else(Arc::new_uninit);
        let matter = Matter::Packed(Box::new(Packed { bytes: packed, event: OnceLock::new() }));
        place(room, Self { head, magic: DELIVERY_MAGIC, matter, made, texts: OnceLock::new() })
    }

    /// What a plugin reads of an event without asking.
    pub fn head_of(event: &Event, seq: u64) -> abi::snooze_event {
        let mut flags = 0;
        if event.event_type.is_cancelled() {
            flags |= abi::SNOOZE_EVENT_CANCELLED;
        }
        if event.simulated {
            flags |= abi::SNOOZE_EVENT_SIMULATED;
        }
        if event.drill {
            flags |= abi::SNOOZE_EVENT_DRILL;
        }
        if event.effective.is_some() {
            flags |= abi::SNOOZE_EVENT_DEADLINE_KNOWN;
        }
        abi::snooze_event {
            struct_size: size_of::<abi::snooze_event>() as u32,
            kind: event.event_type.kind(),
            severity: event.severity as u32,
            flags,
            seq,
            id: *event.id.0.as_bytes(),
            detected_boot_ns: event.detected.boot_ns,
            detected_wall_ns: event.detected.wall_ns,
            effective_boot_ns: event.effective.map_or(0, |e| e.boot_ns),
        }
    }

    /// The event itself; None when what another process sent was none.
    pub fn event(&self) -> Option<&Arc<Event>> {
        match &self.matter {
            Matter::Event(event) => Some(event),
            Matter::Packed(matter) => matter.event.get_or_init(|| packed::unpack(&matter.bytes).map(Arc::new)).as_ref(),
        }
    }

    /// The event's identity.
    pub fn id(&self) -> EventId {
        EventId(uuid::Uuid::from_bytes(self.head.id))
    }

    /// The fixed head.
    pub fn head(&self) -> &abi::snooze_event {
        &self.head
    }

    /// As of when it was made.
    pub fn made(&self) -> Moment {
        self.made
    }

    /// The pointer a plugin gets.
    pub fn as_raw(&self) -> *const abi::snooze_event {
        (&raw const *self).cast()
    }

    /// The delivery behind a plugin's pointer; None when it is not one of ours.
    ///
    /// # Safety
    /// `raw` is NULL or points at readable memory of at least an event's size; a pointer this host
    /// handed out must still be alive.
    pub unsafe fn from_raw<'a>(raw: *const abi::snooze_event) -> Option<&'a Self> {
        let delivery = raw.cast::<Self>();
        // SAFETY: the caller's promise; the magic behind the head tells ours from a stray pointer.
        unsafe { (!raw.is_null() && (*delivery).magic == DELIVERY_MAGIC).then(|| &*delivery) }
    }

    fn texts(&self) -> &Texts {
        self.texts.get_or_init(Box::default)
    }

    /// The whole event as JSON text, made once.
    pub fn json(&self) -> &str {
        self.texts().json.get_or_init(|| self.value().to_string())
    }

    /// The whole event as a JSON value, made once.
    pub fn value(&self) -> &Value {
        self.texts().value.get_or_init(|| self.event().map_or(Value::Null, |e| e.to_json(self.made)))
    }

    /// Text of a field by its number; None when absent or not text.
    pub fn text(&self, field: u32) -> Option<&str> {
        let event = &**self.event()?;
        let given = |text| Some(text).filter(|t: &&str| !t.is_empty());
        match field {
            abi::SNOOZE_FIELD_TYPE => Some(event.event_type.as_str()),
            abi::SNOOZE_FIELD_ID => Some(self.texts().id.get_or_init(|| event.id.to_string())),
            abi::SNOOZE_FIELD_SOURCE => Some(&event.source),
            abi::SNOOZE_FIELD_TIME => Some(self.texts().time.get_or_init(|| event.detected.rfc3339())),
            abi::SNOOZE_FIELD_SUBJECT | abi::SNOOZE_FIELD_INSTANCE_ID => given(&event.machine.instance_id),
            abi::SNOOZE_FIELD_SEVERITY => Some(event.severity.as_str()),
            abi::SNOOZE_FIELD_PROVIDER => given(&event.provider),
            abi::SNOOZE_FIELD_ACTION => Some(event.action.as_str()),
            abi::SNOOZE_FIELD_DEADLINE => {
                self.texts().deadline.get_or_init(|| event.effective.map(Moment::rfc3339)).as_deref()
            }
            abi::SNOOZE_FIELD_RAW => self.texts().raw.get_or_init(|| event.raw.as_ref().map(document)).as_deref(),
            abi::SNOOZE_FIELD_INSTANCE_TYPE => given(&event.machine.instance_type),
            abi::SNOOZE_FIELD_ZONE => given(&event.machine.zone),
            abi::SNOOZE_FIELD_REGION => given(&event.machine.region),
            abi::SNOOZE_FIELD_NOTICE_KIND => Some(event.notice_kind.as_str()),
            _ => self.value().pointer(super::fields::pointer(field)?)?.as_str(),
        }
    }

    /// A number by its field.
    pub fn number(&self, field: u32) -> Option<f64> {
        if field == abi::SNOOZE_FIELD_TIME_REMAINING {
            return self.event()?.seconds_left(clock::now());
        }
        self.value().pointer(super::fields::pointer(field)?)?.as_f64()
    }
}

/// The provider's document as text: JSON when it is JSON.
fn document(raw: &Value) -> String {
    raw.as_str().map_or_else(|| raw.to_string(), str::to_owned)
}

/// Where a call is made that is not made here: a process that has to know of a cancellation at once.
pub trait Relay: Send + Sync {
    /// The call of this number was cancelled for this reason (`SNOOZE_CANCEL_*`). Called by the timer: must not wait.
    fn cancelled(&self, call: u64, reason: u32);

    /// Whether the call of this number was put down there and its answer not taken yet. Must not wait.
    fn has(&self, call: u64) -> bool;

    /// Has the call begun that was put down. Must not wait.
    fn begin(&self, call: &CallCell);

    /// Waits for the answer to the call that was put down; None: it cannot tell.
    ///
    /// # Errors
    /// Why there is none.
    fn finish(&self, call: &Arc<CallCell>, place: Option<&Placement>) -> Result<Option<Answer>, Answer>;
}

/// The call around a delivery. The C part comes first, as with [`Delivery`].
#[repr(C)]
pub struct CallCell {
    raw: abi::snooze_call,
    magic: u64,
    cancelled: AtomicU32,
    cancel_fd: OnceLock<Option<EventFd>>,
    relay: OnceLock<Arc<dyn Relay>>,
    /// None until there is something to note.
    notes: Mutex<Option<Box<Notes>>>,
    changed: Condvar,
}

const CALL_MAGIC: u64 = 0x5A4E_535F_4341_4C4C;

#[derive(Default)]
struct Notes {
    result: Option<Map<String, Value>>,
    progress: Option<(u32, String)>,
    completed: Option<(abi::snooze_status, String)>,
}

// SAFETY: `raw` holds a pointer into the same allocation and one the plugin gave with its subscription,
// which the ABI lets the host pass to any thread; everything that changes is atomic or locked.
unsafe impl Send for CallCell {}
// SAFETY: as above.
unsafe impl Sync for CallCell {}

impl CallCell {
    /// A call that ends at `deadline_boot_ns`. `key` is the same for every attempt of a delivery.
    #[cfg_attr(target_os = "linux", allow(unsafe_code), unsafe(link_section = "snooze_hot"))]
    pub fn new(id: u64, attempt: u32, key: [u8; 16], deadline_boot_ns: i64, handler: usize) -> Arc<Self> {
        let room = CALL_ROOM.take().unwrap_or_else(Arc::new_uninit);
        let fresh = Self {
            raw: abi::snooze_call {
                struct_size: size_of::<abi::snooze_call>() as u32,
                attempt,
                call_id: id,
                idempotency_key: key,
                deadline_boot_ns,
                cancelled: std::ptr::null(),
                handler: std::ptr::with_exposed_provenance_mut(handler),
            },
            magic: CALL_MAGIC,
            cancelled: AtomicU32::new(abi::SNOOZE_CANCEL_NONE),
            cancel_fd: OnceLock::new(),
            relay: OnceLock::new(),
            notes: Mutex::new(None),
            changed: Condvar::new(),
        };
        let mut cell = place(room, fresh);
        if let Some(fresh) = Arc::get_mut(&mut cell) {
            fresh.raw.cancelled = fresh.cancelled.as_ptr();
        }
        cell
    }

    /// The pointer a plugin gets.
    pub fn as_raw(&self) -> *const abi::snooze_call {
        (&raw const *self).cast()
    }

    /// The call behind a plugin's pointer; None when it is not one of ours.
    ///
    /// # Safety
    /// As for [`Delivery::from_raw`].
    pub unsafe fn from_raw<'a>(raw: *const abi::snooze_call) -> Option<&'a Self> {
        let cell = raw.cast::<Self>();
        // SAFETY: the caller's promise, as in `Delivery::from_raw`.
        unsafe { (!raw.is_null() && (*cell).magic == CALL_MAGIC).then(|| &*cell) }
    }

    /// Number of the call.
    pub fn id(&self) -> u64 {
        self.raw.call_id
    }

    /// Number of the attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.raw.attempt
    }

    /// The idempotency key.
    pub fn key(&self) -> [u8; 16] {
        self.raw.idempotency_key
    }

    /// What the subscription that matched is to be given back, as an address.
    pub fn token(&self) -> usize {
        self.raw.handler.expose_provenance()
    }

    /// When the granted time ends, CLOCK_BOOTTIME nanoseconds.
    pub fn deadline_boot_ns(&self) -> i64 {
        self.raw.deadline_boot_ns
    }

    /// Nanoseconds left, never negative.
    pub fn left_ns(&self) -> i64 {
        self.raw.deadline_boot_ns.saturating_sub(clock::boot_ns()).max(0)
    }

    /// Why it was cancelled (`SNOOZE_CANCEL_*`); 0 while it was not.
    pub fn cancel_reason(&self) -> u32 {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Cancels once: later reasons do not overwrite the first. Returns whether this was the first.
    pub fn cancel(&self, reason: u32) -> bool {
        let first = self
            .cancelled
            .compare_exchange(abi::SNOOZE_CANCEL_NONE, reason, Ordering::AcqRel, Ordering::Acquire)
            .is_ok();
        if first {
            if let Some(Some(fd)) = self.cancel_fd.get() {
                let _ = fd.write(1);
            }
            if let Some(relay) = self.relay.get() {
                relay.cancelled(self.id(), reason);
            }
            self.changed.notify_all();
        }
        first
    }

    /// Has `relay` told of a cancellation from now on; one that came before is to be looked for. Only the first counts.
    pub fn relay_to(&self, relay: Arc<dyn Relay>) {
        let _ = self.relay.set(relay);
    }

    /// Where the call was put down and not answered yet.
    pub fn posted(&self) -> Option<&Arc<dyn Relay>> {
        self.relay.get().filter(|relay| relay.has(self.id()))
    }

    /// A descriptor that turns readable on cancellation; -1 when none can be had.
    pub fn cancel_fd(&self) -> i32 {
        let fd =
            self.cancel_fd.get_or_init(|| EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).ok());
        let Some(fd) = fd else { return -1 };
        if self.cancel_reason() != abi::SNOOZE_CANCEL_NONE {
            let _ = fd.write(1);
        }
        fd.as_raw_fd()
    }

    /// Attaches evidence; later keys overwrite earlier ones of the same name.
    pub fn set_result(&self, result: Map<String, Value>) {
        let mut notes = self.notes();
        notes.get_or_insert_default().result.get_or_insert_default().extend(result);
    }

    /// Takes the evidence out.
    pub fn take_result(&self) -> Option<Map<String, Value>> {
        self.notes().as_mut()?.result.take()
    }

    /// Notes how far the work is.
    pub fn set_progress(&self, permille: u32, text: &str) {
        self.notes().get_or_insert_default().progress = Some((permille.min(1000), text.chars().take(200).collect()));
    }

    /// How far the work was at the last word, 0 to 1000, with its text.
    pub fn progress(&self) -> Option<(u32, String)> {
        self.notes().as_ref()?.progress.clone()
    }

    /// Ends an asynchronous call; false when it is over already.
    pub fn complete(&self, status: abi::snooze_status, text: &str) -> bool {
        let mut notes = self.notes();
        let completed = &mut notes.get_or_insert_default().completed;
        if completed.is_some() {
            return false;
        }
        *completed = Some((status, text.to_owned()));
        drop(notes);
        self.changed.notify_all();
        true
    }

    /// Waits until `complete` was called, at most until the deadline and `grace` more.
    pub fn wait_completed(&self, grace: Duration) -> Option<(abi::snooze_status, String)> {
        let mut notes = self.notes();
        loop {
            if let Some(done) = notes.as_ref().and_then(|notes| notes.completed.clone()) {
                return Some(done);
            }
            let left_ns = self.raw.deadline_boot_ns.saturating_sub(clock::boot_ns());
            let left = Duration::from_nanos(u64::try_from(left_ns).unwrap_or(0)) + grace;
            if left_ns.saturating_add(i64::try_from(grace.as_nanos()).unwrap_or(0)) <= 0 {
                return None;
            }
            let waited = self.changed.wait_timeout(notes, left.min(Duration::from_millis(500)));
            notes = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for `time` or until cancelled, whichever comes first.
    pub fn pause(&self, time: Duration) {
        let end = clock::boot_ns().saturating_add(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
        let mut notes = self.notes();
        while self.cancel_reason() == abi::SNOOZE_CANCEL_NONE {
            let Ok(left) = u64::try_from(end - clock::boot_ns()) else { break };
            let waited = self.changed.wait_timeout(notes, Duration::from_nanos(left));
            notes = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn notes(&self) -> MutexGuard<'_, Option<Box<Notes>>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Machine;
    use serde_json::json;

    fn delivery(raw: Value) -> Arc<Delivery> {
        let now = Moment { boot_ns: 1, wall_ns: 1_767_323_045_000_000_000 };
        let json = json!({ "id": EventId::at(now.wall_ns).to_string(), "type": "cloud.spot.interrupt",
            "severity": "urgent", "time": "2026-01-02T03:04:05Z",
            "data": { "action": "stop", "noticeKind": "deadline", "time": "2026-01-02T03:06:05Z", "raw": raw } });
        let mut event = Event::from_json(&json, now).expect("an event");
        event.machine = Arc::new(Machine { zone: "us-east-1a".into(), ..Machine::default() });
        event.extra.insert("mine".into(), json!({ "deep": ["a", 7] }));
        Delivery::new(Arc::new(event), 3, now)
    }

    #[test]
    fn fields_have_their_text_and_what_is_not_known_is_absent() {
        let delivery = delivery(json!({ "action": "stop" }));
        assert_eq!(delivery.text(abi::SNOOZE_FIELD_TYPE), Some("cloud.spot.interrupt"));
        assert_eq!(delivery.text(abi::SNOOZE_FIELD_DEADLINE), Some("2026-01-02T03:06:05Z"));
        assert_eq!(delivery.text(abi::SNOOZE_FIELD_ZONE), Some("us-east-1a"));
        assert_eq!(delivery.text(abi::SNOOZE_FIELD_REGION), None);
        assert_eq!(delivery.text(abi::SNOOZE_FIELD_RAW), Some(r#"{"action":"stop"}"#));
        assert_eq!(super::document(&json!("plain")), "plain");
        let own = super::super::fields::number("data.mine.deep.0");
        assert_eq!(delivery.text(own), Some("a"));
        assert_eq!(delivery.number(super::super::fields::number("data.mine.deep.1")), Some(7.0));
        assert_eq!(delivery.text(0), None);
    }

    #[test]
    fn stray_pointers_are_told_from_ours() {
        let ours = delivery(json!(null));
        let stray = [0u64; 64];
        // SAFETY: ours is alive; the stray memory is readable and larger than what is looked at.
        unsafe {
            assert!(Delivery::from_raw(ours.as_raw()).is_some());
            assert!(Delivery::from_raw(std::ptr::null()).is_none());
            assert!(Delivery::from_raw(stray.as_ptr().cast()).is_none());
            assert!(CallCell::from_raw(stray.as_ptr().cast()).is_none());
        }
    }

    #[test]
    fn a_call_is_cancelled_once_and_its_descriptor_tells() {
        let cell = CallCell::new(1, 1, [0; 16], clock::boot_ns() + 60_000_000_000, 0);
        let fd = cell.cancel_fd();
        let readable = |fd: i32| {
            let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            // SAFETY: one pollfd, no waiting.
            unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
        };
        assert!(fd >= 0 && !readable(fd));
        assert!(cell.cancel(abi::SNOOZE_CANCEL_DEADLINE));
        assert!(!cell.cancel(abi::SNOOZE_CANCEL_SHUTDOWN), "the first reason stays");
        assert_eq!(cell.cancel_reason(), abi::SNOOZE_CANCEL_DEADLINE);
        assert!(readable(fd));
        // Asked for only after the fact, it tells at once.
        let late = CallCell::new(2, 1, [0; 16], 0, 0);
        late.cancel(abi::SNOOZE_CANCEL_SHUTDOWN);
        assert!(readable(late.cancel_fd()));
        assert_eq!(late.left_ns(), 0);
    }

    #[test]
    fn an_asynchronous_call_is_completed_once_or_times_out() {
        let cell = CallCell::new(1, 1, [0; 16], clock::boot_ns() + 60_000_000_000, 0);
        assert!(cell.complete(0, ""));
        assert!(!cell.complete(-1, "again"));
        assert_eq!(cell.wait_completed(Duration::ZERO), Some((0, String::new())));
        assert_eq!(CallCell::new(2, 1, [0; 16], 0, 0).wait_completed(Duration::from_millis(1)), None);
    }
}
