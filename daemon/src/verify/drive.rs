//! Calls the functions of a plugin under test, with a note of what is being done: the last words when it crashes.
//!
//! Inputs: a class, events, calls. Outputs: statuses and texts. Threads: as tagged in the ABI; a handler runs on a
//! thread of its own with every signal blocked, as on the daemon's pool. Must never wait without a limit for a handler.
#![allow(unsafe_code)]

use super::Finding;
use super::scene::{CallAt, EventAt, scene};
use super::stage::{self, Stage};
use crate::sys::slate::{Place, Slate};
use crate::sys::{clock, sched};
use cloudsnooze_abi as abi;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// How long a handler may take to come back once it was cancelled (`dispatch.cancel_grace_ms`), milliseconds.
pub const GRACE_MS: i64 = 250;
/// What a busy machine may add to that before it counts.
pub const SLACK_MS: i64 = 250;
/// How long a process takes at most to end by what unwinds in it.
const DEATH: Duration = Duration::from_secs(2);
/// Bytes of memory of which the words at its end say where an untouched result stands.
const UNTOUCHED: usize = 0x5A5A_5A5A_5A5A_5A5A;

static NOTES: OnceLock<&'static Slate> = OnceLock::new();

/// Where notes go.
pub fn note_on(slate: &'static Slate) {
    let _ = NOTES.set(slate);
}

/// Notes what is being done.
pub fn note(phase: &str) {
    if let Some(slate) = NOTES.get() {
        slate.write(Place::Phase, phase.as_bytes());
    }
}

/// Reads member `$member` of a plugin's table when the table holds it.
macro_rules! member {
    ($driven:expr, $member:ident) => {{
        let table: *const abi::snooze_plugin = $driven.table;
        let end = std::mem::offset_of!(abi::snooze_plugin, $member) + size_of::<usize>();
        // SAFETY: create promised a table of `struct_size` bytes that lives until destroy.
        unsafe { if (*table).struct_size as usize >= end { (*table).$member } else { None } }
    }};
}

/// An instance of a class under test.
#[derive(Clone, Copy)]
pub struct Driven {
    class: &'static abi::snooze_class,
    stage: &'static Stage,
    table: *const abi::snooze_plugin,
}

// SAFETY: the ABI names the threads of each function, and the tests keep to them.
unsafe impl Send for Driven {}
// SAFETY: as above.
unsafe impl Sync for Driven {}

/// A create that made nothing.
#[derive(Clone, Debug)]
pub struct NotMade {
    /// What it answered.
    pub status: abi::snooze_status,
    /// What it said.
    pub text: Option<String>,
    /// Whether it wrote to the place for the instance all the same.
    pub wrote: bool,
}

/// What came of one delivery.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The status; of an asynchronous call, that of its completion.
    pub status: abi::snooze_status,
    /// Text that was attached.
    pub error: Option<String>,
    /// Whether it answered SNOOZE_ASYNC first.
    pub is_asynchronous: bool,
    /// Milliseconds that on_event took to return.
    pub took_ms: i64,
    /// Milliseconds from the cancellation to the answer; None when it was not cancelled.
    pub after_cancel_ms: Option<i64>,
}

/// A handler that did not come back in its time, or never completed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Lost {
    /// on_event is still running.
    #[error("on_event had not returned {after_ms} ms after it was cancelled")]
    Running {
        /// Milliseconds since it was cancelled.
        after_ms: i64,
    },
    /// Its thread is gone without an answer.
    #[error("an exception or a panic left on_event")]
    Unwound,
    /// It answered SNOOZE_ASYNC and never completed.
    #[error("it answered SNOOZE_ASYNC and had not completed the call {after_ms} ms after it was cancelled")]
    Incomplete {
        /// Milliseconds since it was cancelled.
        after_ms: i64,
    },
}

impl Driven {
    /// Makes an instance. `config` may be anything, also what the daemon would refuse.
    ///
    /// # Errors
    /// What the plugin answered.
    pub fn create(
        class: &'static abi::snooze_class,
        stage: &'static Stage,
        config: &[u8],
        state_dir: &Path,
    ) -> Result<Self, NotMade> {
        let lend = |bytes: &[u8]| abi::snooze_str { ptr: bytes.as_ptr().cast(), len: bytes.len() };
        let state_dir = state_dir.to_string_lossy();
        let args = abi::snooze_create_args {
            struct_size: size_of::<abi::snooze_create_args>() as u32,
            reserved: 0,
            instance_name: lend(b"cloud.spot.interrupt/verify"),
            config: lend(config),
            state_dir: lend(state_dir.as_bytes()),
        };
        let untouched = std::ptr::without_provenance(UNTOUCHED);
        let mut table = untouched;
        stage::take_error();
        let Some(create) = class.create else {
            return Err(NotMade { status: 0, text: Some("the class has no create".into()), wrote: false });
        };
        note("create");
        // SAFETY: table, arguments and result live until create returns.
        let status = unsafe { create(stage.table(), &raw const args, &raw mut table) };
        note("between calls");
        let not_made = |text| NotMade { status, text, wrote: table != untouched };
        if status < 0 {
            return Err(not_made(stage::take_error()));
        }
        if table == untouched || table.is_null() {
            return Err(NotMade {
                wrote: false,
                ..not_made(Some(format!("it answered {status} but made no instance")))
            });
        }
        let made = Self { class, stage, table };
        let has_all = member!(made, on_event).is_some()
            && member!(made, deactivate).is_some()
            && member!(made, destroy).is_some();
        if has_all { Ok(made) } else { Err(not_made(Some("its table lacks on_event, deactivate or destroy".into()))) }
    }

    /// Its host.
    pub fn stage(&self) -> &'static Stage {
        self.stage
    }

    /// Whether its class claims a capability (`SNOOZE_CAP_*`).
    pub fn claims(&self, capability: u64) -> bool {
        self.class.caps & capability != 0
    }

    /// Opens the instance for events.
    ///
    /// # Errors
    /// Status and text of the plugin.
    pub fn activate(&self) -> Result<(), String> {
        let Some(activate) = member!(self, activate) else { return Ok(()) };
        stage::take_error();
        note("activate");
        // SAFETY: live table.
        let status = unsafe { activate(self.table) };
        note("between calls");
        let text = stage::take_error();
        if status < 0 { Err(text.unwrap_or_else(|| format!("status {status}, without a text"))) } else { Ok(()) }
    }

    /// Touches what on_event will need, on the calling thread.
    pub fn warm_up(&self) {
        if let Some(warm_up) = member!(self, warm_up) {
            note("warm_up");
            // SAFETY: live, active table.
            unsafe { warm_up(self.table) };
            note("between calls");
        }
    }

    /// Calls on_event on the calling thread.
    pub fn on_event(&self, event: EventAt, call: CallAt) -> (abi::snooze_status, Option<String>) {
        let Some(on_event) = member!(self, on_event) else { return (abi::SNOOZE_E_UNSUPPORTED, None) };
        stage::take_error();
        // SAFETY: active table; event and call live until they are closed.
        let status = unsafe { on_event(self.table, event.as_raw(), call.as_raw()) };
        (status, stage::take_error())
    }

    /// Calls on_event without anything around it, for measuring.
    pub fn on_event_alone(&self, event: EventAt, call: CallAt) -> abi::snooze_status {
        // SAFETY: as in `on_event`.
        member!(self, on_event).map_or(0, |on_event| unsafe { on_event(self.table, event.as_raw(), call.as_raw()) })
    }

    /// Asks whether the effect holds; None when the plugin offers no answer.
    pub fn verify(&self, event: EventAt, call: CallAt) -> Option<(abi::snooze_status, Option<String>)> {
        let verify = member!(self, verify)?;
        stage::take_error();
        note("verify");
        // SAFETY: as in `on_event`.
        let status = unsafe { verify(self.table, event.as_raw(), call.as_raw()) };
        note("between calls");
        Some((status, stage::take_error()))
    }

    /// Tells it that its call was cancelled.
    pub fn on_cancel(&self, call: CallAt, reason: u32) {
        if let Some(on_cancel) = member!(self, on_cancel) {
            // SAFETY: active table, live call.
            unsafe { on_cancel(self.table, call.as_raw(), reason) };
        }
    }

    /// Gives it the configuration anew; None when it does not take one.
    pub fn reconfigure(&self, config: &[u8]) -> Option<abi::snooze_status> {
        let reconfigure = member!(self, reconfigure)?;
        note("reconfigure");
        // SAFETY: active table; the text lives until it returns.
        let status =
            unsafe { reconfigure(self.table, abi::snooze_str { ptr: config.as_ptr().cast(), len: config.len() }) };
        note("between calls");
        Some(status)
    }

    /// Whether it offers an extension.
    pub fn offers(&self, id: &std::ffi::CStr) -> bool {
        note("get_extension");
        // SAFETY: live table, NUL-terminated text.
        member!(self, get_extension).is_some_and(|get| !unsafe { get(self.table, id.as_ptr()) }.is_null())
    }

    /// What it answers for an extension.
    pub fn extension(&self, id: &std::ffi::CStr) -> *const std::ffi::c_void {
        note("get_extension");
        // SAFETY: as in `offers`.
        member!(self, get_extension).map_or(std::ptr::null(), |get| unsafe { get(self.table, id.as_ptr()) })
    }

    /// Its table, for the functions of an extension.
    pub fn raw_table(&self) -> *const abi::snooze_plugin {
        self.table
    }

    /// Stops everything the instance started.
    pub fn deactivate(&self) {
        if let Some(deactivate) = member!(self, deactivate) {
            note("deactivate");
            // SAFETY: active table with no call in progress.
            unsafe { deactivate(self.table) };
            note("between calls");
        }
    }

    /// Frees the instance; nothing of it may be called afterwards.
    pub fn destroy(&self) {
        if let Some(destroy) = member!(self, destroy) {
            note("destroy");
            // SAFETY: inactive table; tests destroy once.
            unsafe { destroy(self.table) };
            note("between calls");
        }
    }

    /// Delivers on a thread of its own; cancels at the call's deadline as the daemon does, and waits for the grace.
    /// Event and call are over afterwards unless the handler is still running.
    ///
    /// # Errors
    /// The handler did not come back.
    pub fn deliver(&self, event: EventAt, call: CallAt) -> Result<Delivered, Lost> {
        self.deliver_until(event, call, call.deadline_boot_ns(), abi::SNOOZE_CANCEL_DEADLINE)
    }

    /// As [`Self::deliver`], cancelled at `cancel_at_ns` (CLOCK_BOOTTIME) for `reason`.
    ///
    /// # Errors
    /// As there.
    pub fn deliver_until(
        &self,
        event: EventAt,
        call: CallAt,
        cancel_at_ns: i64,
        reason: u32,
    ) -> Result<Delivered, Lost> {
        let driven = *self;
        let begun_ns = clock::boot_ns();
        let answer = on_worker(move || {
            let answer = driven.on_event(event, call);
            (answer, clock::boot_ns())
        });
        let mut cancelled_ns = None;
        let mut cancel = || {
            call.cancel(reason);
            self.on_cancel(call, reason);
            clock::boot_ns()
        };
        let mut answered = wait_until(&answer, cancel_at_ns)?;
        if answered.is_none() {
            let since_ns = *cancelled_ns.insert(cancel());
            answered = wait_until(&answer, since_ns + (GRACE_MS + SLACK_MS) * 1_000_000)?;
        }
        let since_ms = |since: Option<i64>| since.map(|since_ns| (clock::boot_ns() - since_ns) / 1_000_000);
        let Some(((mut status, mut error), returned_ns)) = answered else {
            return Err(Lost::Running { after_ms: since_ms(cancelled_ns).unwrap_or(0) });
        };
        let took_ms = (returned_ns - begun_ns) / 1_000_000;
        let mut after_cancel_ms = cancelled_ns.map(|since_ns| ((returned_ns - since_ns) / 1_000_000).max(0));
        let is_asynchronous = status == abi::SNOOZE_ASYNC;
        if is_asynchronous {
            scene().goes_on(call);
            note("waiting for complete");
            let left_ms = (cancel_at_ns - clock::boot_ns()).max(0) / 1_000_000;
            let completed = call.wait_completed(left_ms).or_else(|| {
                let since = *cancelled_ns.get_or_insert_with(&mut cancel);
                let done = call.wait_completed(GRACE_MS + SLACK_MS);
                after_cancel_ms = since_ms(Some(since));
                done
            });
            let Some((code, text)) = completed else {
                return Err(Lost::Incomplete { after_ms: since_ms(cancelled_ns).unwrap_or(0) });
            };
            (status, error) = (code, Some(text).filter(|text| !text.is_empty()));
        }
        Ok(Delivered { status, error, is_asynchronous, took_ms, after_cancel_ms })
    }
}

/// The plugin may not use event and call any more.
pub fn close(event: EventAt, call: CallAt) {
    let mut scene = scene();
    scene.close_call(call);
    scene.close_event(event);
}

/// Runs `work` on a thread as the pool has them: no signal reaches it.
pub fn on_worker<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (done, answer) = channel();
    let run = move || {
        sched::block_all_signals();
        // Nobody waits any more when the limit is over.
        let _ = done.send(work());
    };
    // Without a thread nothing is ever sent, which the waiter sees as no answer.
    let _ = std::thread::Builder::new().name("snooze-work".into()).spawn(run);
    answer
}

/// The answer, if it comes before `end_ns` (CLOCK_BOOTTIME).
fn wait_until<T>(answer: &Receiver<T>, end_ns: i64) -> Result<Option<T>, Lost> {
    let left_ns = u64::try_from(end_ns - clock::boot_ns()).unwrap_or(0);
    match answer.recv_timeout(Duration::from_nanos(left_ns)) {
        Ok(answer) => Ok(Some(answer)),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => {
            // Something unwinds through the thread; as a rule it ends the process in a moment, and that says more.
            std::thread::sleep(DEATH);
            Err(Lost::Unwound)
        }
    }
}

impl From<Lost> for Finding {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Unwound => Self::Bad(lost.to_string()),
            Lost::Running { .. } | Lost::Incomplete { .. } => Self::Late(lost.to_string()),
        }
    }
}

impl Finding {
    /// The same, with what was being done.
    #[must_use]
    pub fn during(self, phase: &str) -> Self {
        match self {
            Self::Bad(text) => Self::Bad(format!("{phase}: {text}")),
            Self::Late(text) => Self::Late(format!("{phase}: {text}")),
            other => other,
        }
    }
}
