//! Events and calls in memory of their own, which can be taken away from a plugin that still reads it.
//!
//! Responsibilities: the records of every event and call that the verifier hands out, and what a plugin may do with
//! them now. Inputs: events. Outputs: raw pointers, texts. Threads: any. Must never forget a record: a plugin may come
//! back with an old pointer, and that is what is looked for.
#![allow(unsafe_code)]

use crate::event::Event;
use crate::host::Delivery;
use crate::sys::clock;
use cloudsnooze_abi as abi;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What stands where a newer host's members would: no address that a processor takes (not canonical).
pub const POISON: u64 = 0xDEAD_BEEF_DEAD_BEEF;
/// Room for texts that are asked for by a path of the plugin's own, bytes.
const SPARE_BYTES: usize = 64 * 1024;
/// Where the cancellation word of a call stands in its memory.
const CANCELLED_AT: usize = 512;
const PAGE: usize = 4096;

/// An event that was handed out; a plugin knows it by its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventAt(usize);

/// A call that was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallAt(usize);

/// What is to be done with the memory once the plugin may not use it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// It stays readable.
    Keep,
    /// Reading it ends the process.
    TakeAway,
}

struct EventRecord {
    bytes: usize,
    used: usize,
    delivery: Arc<Delivery>,
    /// Texts copied into the memory so far: by field, offset and length; the JSON form is field `u32::MAX`.
    texts: BTreeMap<u32, (usize, usize)>,
    retained: u32,
    is_over: bool,
    afterwards: Afterwards,
}

#[derive(Default)]
struct CallRecord {
    cancel: Option<EventFd>,
    completions: Vec<(abi::snooze_status, String)>,
    is_over: bool,
    is_asynchronous: bool,
}

/// Everything that was handed out, and which rules were broken with it.
#[derive(Default)]
pub struct Scene {
    events: BTreeMap<EventAt, EventRecord>,
    calls: BTreeMap<CallAt, CallRecord>,
    faults: BTreeSet<String>,
}

static SCENE: Mutex<Scene> =
    Mutex::new(Scene { events: BTreeMap::new(), calls: BTreeMap::new(), faults: BTreeSet::new() });
static COMPLETED: Condvar = Condvar::new();

/// The scene, alone.
pub fn scene() -> MutexGuard<'static, Scene> {
    SCENE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whole pages, zeroed; None when there are none.
fn pages(bytes: usize) -> Option<(usize, usize)> {
    let size = NonZeroUsize::new(bytes.next_multiple_of(PAGE))?;
    let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping that nothing else knows.
    let base = unsafe { mmap_anonymous(None, size, rights, MapFlags::MAP_PRIVATE) }.ok()?;
    Some((base.addr().get(), size.get()))
}

fn take_away(base: usize, bytes: usize) {
    let Some(start) = NonNull::new(std::ptr::with_exposed_provenance_mut(base)) else { return };
    // SAFETY: a mapping of this module's own that it will not read again. Failing, it stays readable.
    let _ = unsafe { mprotect(start, bytes, ProtFlags::PROT_NONE) };
}

/// Writes a value into a mapping of this module.
fn write_at<T>(address: usize, value: T) {
    // SAFETY: every caller names a place inside pages that `pages` gave, aligned as its type wants.
    unsafe { std::ptr::with_exposed_provenance_mut::<T>(address).write(value) };
}

impl EventAt {
    /// Hands an event out. `is_future` makes it that of a newer host: a longer head, unknown numbers in it.
    pub fn new(event: &Arc<Event>, is_future: bool, afterwards: Afterwards) -> Option<Self> {
        static SEQUENCE: AtomicU32 = AtomicU32::new(1);
        let seq = u64::from(SEQUENCE.fetch_add(1, Ordering::Relaxed));
        let delivery = Delivery::new(Arc::clone(event), seq, clock::now());
        let room = PAGE + delivery.json().len() * 3 + SPARE_BYTES;
        let (base, bytes) = pages(room)?;
        // SAFETY: the pointer of a live delivery.
        let mut head = unsafe { *delivery.as_raw() };
        if is_future {
            head.struct_size += 64;
            head.kind = 9_999;
            head.flags |= 0x4000_0000;
            for word in 0..8 {
                write_at(base + size_of_val(&head) + word * 8, POISON);
            }
        }
        write_at(base, head);
        let record =
            EventRecord { bytes, used: 256, delivery, texts: BTreeMap::new(), retained: 0, is_over: false, afterwards };
        let at = Self(base);
        let mut scene = scene();
        scene.events.insert(at, record);
        // All that can be asked for is there before it is asked for: a real-time handler is not to wait for a copy.
        for field in 0..0x40 {
            let _ = scene.text(at, field);
        }
        let _ = scene.json(at);
        Some(at)
    }

    /// The event behind a plugin's pointer.
    pub fn from_raw(raw: *const abi::snooze_event) -> Self {
        Self(raw.expose_provenance())
    }

    /// The pointer a plugin gets.
    pub fn as_raw(self) -> *const abi::snooze_event {
        std::ptr::with_exposed_provenance(self.0)
    }
}

impl CallAt {
    /// Hands a call out that ends in `left_ms`. `key` is the same for each attempt of one delivery.
    pub fn new(key: [u8; 16], attempt: u32, left_ms: i64, handler: usize, is_future: bool) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let (base, _) = pages(PAGE)?;
        let mut raw = abi::snooze_call {
            struct_size: size_of::<abi::snooze_call>() as u32,
            attempt,
            call_id: u64::from(NUMBER.fetch_add(1, Ordering::Relaxed)),
            idempotency_key: key,
            deadline_boot_ns: clock::boot_ns() + left_ms * 1_000_000,
            cancelled: std::ptr::with_exposed_provenance(base + CANCELLED_AT),
            handler: std::ptr::with_exposed_provenance_mut(handler),
        };
        if is_future {
            raw.struct_size += 64;
            for word in 0..8 {
                write_at(base + size_of_val(&raw) + word * 8, POISON);
            }
        }
        write_at(base, raw);
        scene().calls.insert(Self(base), CallRecord::default());
        Some(Self(base))
    }

    /// The call behind a plugin's pointer.
    pub fn from_raw(raw: *const abi::snooze_call) -> Self {
        Self(raw.expose_provenance())
    }

    /// The pointer a plugin gets.
    pub fn as_raw(self) -> *const abi::snooze_call {
        std::ptr::with_exposed_provenance(self.0)
    }

    fn head(self) -> *mut abi::snooze_call {
        std::ptr::with_exposed_provenance_mut(self.0)
    }

    /// Moves the deadline: `left_ms` from now.
    pub fn renew(self, left_ms: i64) {
        // SAFETY: memory of a call that was not taken away; the plugin is not inside of it.
        unsafe { (*self.head()).deadline_boot_ns = clock::boot_ns() + left_ms * 1_000_000 };
    }

    /// When the granted time ends, CLOCK_BOOTTIME nanoseconds.
    pub fn deadline_boot_ns(self) -> i64 {
        // SAFETY: as above; it is never written while a call runs.
        unsafe { (*self.head()).deadline_boot_ns }
    }

    fn cancelled(self) -> &'static AtomicU32 {
        // SAFETY: a word of the call's memory; a call that is over for good is not asked.
        unsafe { &*std::ptr::with_exposed_provenance::<AtomicU32>(self.0 + CANCELLED_AT) }
    }

    /// Sets the word and the descriptor. The first reason stays.
    pub fn cancel(self, reason: u32) {
        let word = self.cancelled();
        let _ = word.compare_exchange(abi::SNOOZE_CANCEL_NONE, reason, Ordering::AcqRel, Ordering::Acquire);
        if let Some(fd) = scene().calls.get(&self).and_then(|call| call.cancel.as_ref()) {
            let _ = fd.write(1);
        }
    }

    /// Waits until it was completed, at most for `limit_ms`.
    pub fn wait_completed(self, limit_ms: i64) -> Option<(abi::snooze_status, String)> {
        let end_ns = clock::boot_ns() + limit_ms * 1_000_000;
        let mut scene = scene();
        loop {
            if let Some(done) = scene.calls.get(&self).and_then(|call| call.completions.first()) {
                return Some(done.clone());
            }
            let left = u64::try_from(end_ns - clock::boot_ns()).ok().filter(|left| *left > 0)?;
            let waited = COMPLETED.wait_timeout(scene, std::time::Duration::from_nanos(left));
            scene = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How often it was completed.
    pub fn completions(self) -> usize {
        scene().calls.get(&self).map_or(0, |call| call.completions.len())
    }

    /// Makes it one that has not begun.
    pub fn reset(self) {
        self.cancelled().store(abi::SNOOZE_CANCEL_NONE, Ordering::Release);
        let mut scene = scene();
        scene.calls.insert(self, CallRecord::default());
    }
}

impl Scene {
    /// Notes a rule that was broken.
    pub fn fault(&mut self, sentence: impl Into<String>) {
        // A plugin that breaks one rule a thousand times has one fault.
        if self.faults.len() < 16 {
            self.faults.insert(sentence.into());
        }
    }

    /// The rules that were broken so far, and forgets them.
    pub fn take_faults(&mut self) -> Vec<String> {
        std::mem::take(&mut self.faults).into_iter().collect()
    }

    fn live(&mut self, at: EventAt, what: &str) -> Option<&mut EventRecord> {
        let is_live = self.events.get(&at).is_some_and(|event| !event.is_over || event.retained > 0);
        if !is_live {
            let known = self.events.contains_key(&at);
            let why =
                if known { "after on_event had returned, without event_retain" } else { "that it was never given" };
            self.fault(format!("{what} was called with an event {why}"));
            return None;
        }
        self.events.get_mut(&at)
    }

    /// Text of a field, in the event's own memory.
    pub fn text(&mut self, at: EventAt, field: u32) -> Option<abi::snooze_str> {
        let event = self.live(at, "an accessor")?;
        if !event.texts.contains_key(&field) {
            let delivery = Arc::clone(&event.delivery);
            event.keep(at, field, delivery.text(field)?)?;
        }
        event.lend(at, field)
    }

    /// The whole event, in its own memory.
    pub fn json(&mut self, at: EventAt) -> Option<abi::snooze_str> {
        let event = self.live(at, "event_json")?;
        if !event.texts.contains_key(&u32::MAX) {
            let delivery = Arc::clone(&event.delivery);
            event.keep(at, u32::MAX, delivery.json())?;
        }
        event.lend(at, u32::MAX)
    }

    /// A number by its field.
    pub fn number(&mut self, at: EventAt, field: u32) -> Option<f64> {
        self.live(at, "an accessor")?.delivery.number(field)
    }

    /// Keeps an event beyond its call.
    pub fn retain(&mut self, at: EventAt) {
        if let Some(event) = self.live(at, "event_retain") {
            event.retained += 1;
        }
    }

    /// Gives a kept event back.
    pub fn release(&mut self, at: EventAt) {
        match self.events.get_mut(&at) {
            Some(event) if event.retained > 0 => {
                event.retained -= 1;
                event.settle(at);
            }
            _ => self.fault("event_release was called without an event_retain before it"),
        }
    }

    /// The plugin may not use the event any more, unless it retained it.
    pub fn close_event(&mut self, at: EventAt) {
        if let Some(event) = self.events.get_mut(&at) {
            event.is_over = true;
            event.settle(at);
        }
    }

    /// The call is over. Its memory stays: a late `complete` is answered with SNOOZE_E_STATE.
    pub fn close_call(&mut self, at: CallAt) {
        if let Some(call) = self.calls.get_mut(&at) {
            call.is_over = true;
            call.cancel = None;
        }
    }

    /// The call goes on after on_event returned.
    pub fn goes_on(&mut self, at: CallAt) {
        if let Some(call) = self.calls.get_mut(&at) {
            call.is_asynchronous = true;
        }
    }

    /// Whether the plugin may use the call now; a fault when not.
    pub fn is_call_live(&mut self, at: CallAt, what: &str) -> bool {
        let is_live = self.calls.get(&at).is_some_and(|call| !call.is_over);
        if !is_live {
            let why = if self.calls.contains_key(&at) { "after it was over" } else { "that it was never given" };
            self.fault(format!("{what} was called with a call {why}"));
        }
        is_live
    }

    /// The descriptor of a call's cancellation; -1 when none can be had.
    pub fn cancel_descriptor(&mut self, at: CallAt) -> i32 {
        if !self.is_call_live(at, "cancel_fd") {
            return -1;
        }
        let is_cancelled = at.cancelled().load(Ordering::Acquire) != abi::SNOOZE_CANCEL_NONE;
        let Some(call) = self.calls.get_mut(&at) else { return -1 };
        if call.cancel.is_none() {
            call.cancel = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).ok();
        }
        let Some(fd) = &call.cancel else { return -1 };
        if is_cancelled {
            let _ = fd.write(1);
        }
        fd.as_raw_fd()
    }

    /// Ends an asynchronous call; false when it is over already or was never begun.
    pub fn complete(&mut self, at: CallAt, status: abi::snooze_status, text: &str) -> bool {
        let Some(call) = self.calls.get_mut(&at) else {
            self.fault("complete was called with a call that it was never given");
            return false;
        };
        let (is_first, is_over) = (call.completions.is_empty(), call.is_over && !call.is_asynchronous);
        call.completions.push((status, text.to_owned()));
        COMPLETED.notify_all();
        if is_over {
            self.fault("complete was called for a call that had answered already");
        }
        is_first && !is_over
    }
}

impl EventRecord {
    /// Copies a text into the memory; None when there is no room.
    fn keep(&mut self, at: EventAt, field: u32, text: &str) -> Option<()> {
        let start = self.used;
        let end = start.checked_add(text.len()).filter(|end| *end <= self.bytes)?;
        // SAFETY: `text.len()` bytes of the event's own pages that hold nothing yet.
        unsafe {
            let target = std::ptr::with_exposed_provenance_mut::<u8>(at.0 + start);
            std::ptr::copy_nonoverlapping(text.as_ptr(), target, text.len());
        }
        self.used = end;
        self.texts.insert(field, (start, text.len()));
        Some(())
    }

    fn lend(&self, at: EventAt, field: u32) -> Option<abi::snooze_str> {
        let (start, len) = self.texts.get(&field)?;
        Some(abi::snooze_str { ptr: std::ptr::with_exposed_provenance(at.0 + start), len: *len })
    }

    fn settle(&self, at: EventAt) {
        if self.is_over && self.retained == 0 && self.afterwards == Afterwards::TakeAway {
            take_away(at.0, self.bytes);
        }
    }
}
