//! The host as the verifier plays it: the table of services that a plugin under test calls back.
//!
//! It does what `host::services` does, and notes every rule that the plugin breaks on the way. Inputs: calls of the
//! plugin. Outputs: answers; faults in the scene. Threads: as tagged in the ABI. Must never be used by the daemon.
#![allow(unsafe_code)]

use super::scene::{CallAt, EventAt, POISON, scene};
use crate::event::Pattern;
use crate::host::{delivery, fields};
use crate::sys::clock;
use crate::sys::conduct::Unwatched;
use cloudsnooze_abi as abi;
use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Longest error text that still helps anybody, bytes.
const ERROR_BYTES_MAX: usize = 64 * 1024;
/// Words behind the table of a newer host.
const TAIL_WORDS: usize = 32;

/// Whether every service that can fail does.
static IS_FAILING: AtomicBool = AtomicBool::new(false);

thread_local! {
    static ERROR: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What one subscription said.
#[derive(Clone, Debug)]
pub struct Wanted {
    id: u64,
    /// Types and patterns.
    pub kinds: Vec<Pattern>,
    /// Microseconds; 0 = the host's default.
    pub budget_us: u64,
    /// Given back with each call, as an address.
    pub handler: usize,
}

/// One instance's host. Never freed: a plugin may keep the table.
pub struct Stage {
    /// The table and, for a newer host, words behind it that are no addresses.
    table: Vec<u64>,
    wanted: Mutex<Vec<Wanted>>,
}

/// Text that the function which just returned on this thread attached.
pub fn take_error() -> Option<String> {
    ERROR.with(|slot| slot.try_borrow_mut().ok()?.take())
}

/// Has every service fail that can, or none.
pub fn fail_services(is_failing: bool) {
    IS_FAILING.store(is_failing, Ordering::SeqCst);
}

fn fails() -> bool {
    IS_FAILING.load(Ordering::Relaxed)
}

impl Stage {
    /// A host; `is_future` makes it one of a newer minor version, whose table is larger.
    pub fn leak(is_future: bool) -> &'static Self {
        const WORDS: usize = size_of::<abi::snooze_host>() / 8;
        let mut words = vec![0; WORDS];
        let tail = if is_future { TAIL_WORDS } else { 0 };
        words.resize(WORDS + tail, POISON);
        let stage: &'static mut Self = Box::leak(Box::new(Self { table: words, wanted: Mutex::default() }));
        let ctx = (&raw const *stage).cast_mut().cast();
        let mut filled = table(ctx);
        if is_future {
            filled.struct_size += (TAIL_WORDS * 8) as u32;
            filled.abi_minor += 7;
        }
        // SAFETY: the words are as many as the table has and aligned for it, and nobody reads them yet.
        unsafe { stage.table.as_mut_ptr().cast::<abi::snooze_host>().write(filled) };
        stage
    }

    /// The table to hand to the plugin.
    pub fn table(&self) -> *const abi::snooze_host {
        self.table.as_ptr().cast()
    }

    /// Forgets the subscriptions of an instance that is gone.
    pub fn forget(&self) {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What the instance subscribed to so far.
    pub fn wanted(&self) -> Vec<Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn table(ctx: *mut c_void) -> abi::snooze_host {
    abi::snooze_host {
        struct_size: size_of::<abi::snooze_host>() as u32,
        abi_minor: u32::from(abi::SNOOZE_ABI_MINOR),
        ctx,
        log: Some(log),
        log_enabled: Some(log_enabled),
        report_error: Some(report_error),
        get_extension: Some(get_extension),
        subscribe: Some(subscribe),
        unsubscribe: Some(unsubscribe),
        field_id: Some(field_id),
        event_str: Some(event_str),
        event_i64: Some(event_i64),
        event_f64: Some(event_f64),
        event_bytes: Some(event_bytes),
        event_json: Some(event_json),
        event_retain: Some(event_retain),
        event_release: Some(event_release),
        left_ns: Some(left_ns),
        cancel_fd: Some(cancel_fd),
        progress: Some(progress),
        set_result: Some(set_result),
        complete: Some(complete),
    }
}

/// The instance's host; None and a fault for a pointer that is no table of this one.
///
/// # Safety
/// `host` is NULL or points at readable memory of the table's size.
unsafe fn stage<'a>(host: *const abi::snooze_host, function: &str) -> Option<&'a Stage> {
    // SAFETY: the caller's promise; stages are never freed.
    let stage = unsafe { if host.is_null() { None } else { (*host).ctx.cast::<Stage>().as_ref() } };
    if stage.is_none() {
        scene().fault(format!("{function} was called without the host's table as its first argument"));
    }
    stage
}

/// A text that a plugin lends, when it is one of at most `bytes_max`; a fault when not. Its bytes are not looked at
/// when there are too many: they may not even be there.
///
/// # Safety
/// `text.ptr` is NULL or points at `text.len` bytes, readable for `'a`.
unsafe fn text<'a>(text: abi::snooze_str, bytes_max: usize, function: &str) -> Option<&'a str> {
    if text.ptr.is_null() {
        if text.len > 0 {
            scene().fault(format!("{function} was given a NULL text of {} bytes", text.len));
        }
        return Some("");
    }
    if text.len > bytes_max {
        scene().fault(format!("{function} was given {} bytes; the limit is {bytes_max}", text.len));
        return None;
    }
    // SAFETY: the caller's promise.
    let read = std::str::from_utf8(unsafe { std::slice::from_raw_parts(text.ptr.cast(), text.len) });
    if read.is_err() {
        scene().fault(format!("{function} was given text that is not UTF-8"));
    }
    read.ok()
}

unsafe extern "C" fn log(host: *const abi::snooze_host, record: *const abi::snooze_log_record) {
    let _unwatched = Unwatched::begin();
    // SAFETY: the plugin passes its host table and lends a record; NULL is checked.
    unsafe {
        if record.is_null() {
            scene().fault("log was called without a record");
        } else if stage(host, "log").is_some() {
            let _ = text((*record).message, ERROR_BYTES_MAX, "log");
        }
    }
}

unsafe extern "C" fn log_enabled(_host: *const abi::snooze_host, level: u32) -> u32 {
    u32::from(level <= abi::SNOOZE_LOG_DEBUG && !fails())
}

unsafe extern "C" fn report_error(
    _host: *const abi::snooze_host,
    code: abi::snooze_status,
    message: abi::snooze_str,
) -> abi::snooze_status {
    let _unwatched = Unwatched::begin();
    if code >= 0 {
        scene().fault(format!("report_error was called with the code {code}, which is none of an error"));
    }
    // SAFETY: the plugin lends the text for the call.
    let message = unsafe { text(message, ERROR_BYTES_MAX, "report_error") }.unwrap_or("(an unusable text)");
    ERROR.with(|slot| {
        if let Ok(mut slot) = slot.try_borrow_mut() {
            *slot = Some(message.chars().take(2000).collect());
        }
    });
    code
}

unsafe extern "C" fn get_extension(_host: *const abi::snooze_host, _id: *const c_char) -> *const c_void {
    std::ptr::null()
}

unsafe extern "C" fn subscribe(
    host: *const abi::snooze_host,
    sub: *const abi::snooze_subscription,
    out_id: *mut u64,
) -> abi::snooze_status {
    let _unwatched = Unwatched::begin();
    if fails() {
        return abi::SNOOZE_E_NO_MEMORY;
    }
    // SAFETY: the plugin passes its host table and lends a record with a NULL-ended list of texts.
    unsafe {
        let (Some(stage), false) = (stage(host, "subscribe"), sub.is_null()) else { return abi::SNOOZE_E_INVALID };
        let mut kinds = Vec::new();
        let mut kind = (*sub).kinds;
        while !kind.is_null() && !(*kind).is_null() && kinds.len() < 64 {
            let name = CStr::from_ptr(*kind).to_string_lossy();
            match Pattern::parse(&name) {
                Ok(pattern) => kinds.push(pattern),
                Err(wrong) => {
                    scene().fault(format!("subscribe: {wrong}"));
                    return abi::SNOOZE_E_INVALID;
                }
            }
            kind = kind.add(1);
        }
        if kinds.is_empty() || (*sub).priority > 999 {
            scene().fault("subscribe was called without a kind, or with a priority above 999");
            return abi::SNOOZE_E_INVALID;
        }
        let mut all = stage.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let id = all.last().map_or(1, |wanted| wanted.id + 1);
        all.push(Wanted { id, kinds, budget_us: (*sub).budget_us, handler: (*sub).handler.expose_provenance() });
        if !out_id.is_null() {
            *out_id = id;
        }
    }
    abi::SNOOZE_OK
}

unsafe extern "C" fn unsubscribe(host: *const abi::snooze_host, id: u64) -> abi::snooze_status {
    // SAFETY: the plugin passes its host table.
    let Some(stage) = (unsafe { stage(host, "unsubscribe") }) else { return abi::SNOOZE_E_INVALID };
    let mut all = stage.wanted.lock().unwrap_or_else(PoisonError::into_inner);
    let before = all.len();
    all.retain(|wanted| wanted.id != id);
    if all.len() < before { abi::SNOOZE_OK } else { abi::SNOOZE_E_NOT_FOUND }
}

unsafe extern "C" fn field_id(_host: *const abi::snooze_host, path: abi::snooze_str) -> u32 {
    let _unwatched = Unwatched::begin();
    // SAFETY: the plugin lends the text for the call.
    match unsafe { text(path, 256, "field_id") } {
        Some(path) if !path.is_empty() && !fails() => fields::number(path),
        _ => 0,
    }
}

/// Answers an accessor: writes `value` when there is one and nothing fails.
///
/// # Safety
/// `out` is NULL or writable.
unsafe fn give<T>(out: *mut T, value: impl FnOnce() -> Option<T>) -> abi::snooze_status {
    let _unwatched = Unwatched::begin();
    if out.is_null() {
        scene().fault("an accessor was called without a place for its result");
        return abi::SNOOZE_E_INVALID;
    }
    match value() {
        Some(value) if !fails() => {
            // SAFETY: the caller's promise, and not NULL.
            unsafe { *out = value };
            abi::SNOOZE_OK
        }
        _ => abi::SNOOZE_E_NOT_FOUND,
    }
}

unsafe extern "C" fn event_str(
    _host: *const abi::snooze_host,
    event: *const abi::snooze_event,
    field: u32,
    out: *mut abi::snooze_str,
) -> abi::snooze_status {
    // SAFETY: the plugin passes a writable result.
    unsafe { give(out, || scene().text(EventAt::from_raw(event), field)) }
}

unsafe extern "C" fn event_bytes(
    _host: *const abi::snooze_host,
    event: *const abi::snooze_event,
    field: u32,
    out: *mut abi::snooze_bytes,
) -> abi::snooze_status {
    // SAFETY: snooze_str and snooze_bytes have the same layout (asserted in the ABI's surface).
    unsafe { give(out.cast::<abi::snooze_str>(), || scene().text(EventAt::from_raw(event), field)) }
}

unsafe extern "C" fn event_f64(
    _host: *const abi::snooze_host,
    event: *const abi::snooze_event,
    field: u32,
    out: *mut f64,
) -> abi::snooze_status {
    // SAFETY: the plugin passes a writable result.
    unsafe { give(out, || scene().number(EventAt::from_raw(event), field)) }
}

unsafe extern "C" fn event_i64(
    _host: *const abi::snooze_host,
    event: *const abi::snooze_event,
    field: u32,
    out: *mut i64,
) -> abi::snooze_status {
    #[allow(clippy::cast_possible_truncation, reason = "seconds and counts; `as` saturates")]
    // SAFETY: the plugin passes a writable result.
    unsafe {
        give(out, || Some(scene().number(EventAt::from_raw(event), field)? as i64))
    }
}

unsafe extern "C" fn event_json(
    _host: *const abi::snooze_host,
    event: *const abi::snooze_event,
    out: *mut abi::snooze_str,
) -> abi::snooze_status {
    // SAFETY: the plugin passes a writable result.
    unsafe { give(out, || scene().json(EventAt::from_raw(event))) }
}

unsafe extern "C" fn event_retain(_host: *const abi::snooze_host, event: *const abi::snooze_event) {
    scene().retain(EventAt::from_raw(event));
}

unsafe extern "C" fn event_release(_host: *const abi::snooze_host, event: *const abi::snooze_event) {
    scene().release(EventAt::from_raw(event));
}

unsafe extern "C" fn left_ns(_host: *const abi::snooze_host, call: *const abi::snooze_call) -> i64 {
    let _unwatched = Unwatched::begin();
    let call = CallAt::from_raw(call);
    if fails() || !scene().is_call_live(call, "left_ns") {
        return 0;
    }
    call.deadline_boot_ns().saturating_sub(clock::boot_ns()).max(0)
}

unsafe extern "C" fn cancel_fd(_host: *const abi::snooze_host, call: *const abi::snooze_call) -> i32 {
    let _unwatched = Unwatched::begin();
    if fails() { -1 } else { scene().cancel_descriptor(CallAt::from_raw(call)) }
}

unsafe extern "C" fn progress(
    _host: *const abi::snooze_host,
    call: *const abi::snooze_call,
    permille: u32,
    message: abi::snooze_str,
) {
    let _unwatched = Unwatched::begin();
    let is_live = scene().is_call_live(CallAt::from_raw(call), "progress");
    if is_live && permille > 1000 {
        scene().fault(format!("progress was given {permille}; it goes from 0 to 1000"));
    }
    // SAFETY: the plugin lends the text for the call.
    let _ = unsafe { text(message, ERROR_BYTES_MAX, "progress") };
}

unsafe extern "C" fn set_result(
    _host: *const abi::snooze_host,
    call: *const abi::snooze_call,
    json: abi::snooze_str,
) -> abi::snooze_status {
    let _unwatched = Unwatched::begin();
    if !scene().is_call_live(CallAt::from_raw(call), "set_result") {
        return abi::SNOOZE_E_INVALID;
    }
    if json.len > delivery::RESULT_BYTES_MAX || fails() {
        if json.len > delivery::RESULT_BYTES_MAX {
            let (len, max) = (json.len, delivery::RESULT_BYTES_MAX);
            scene().fault(format!("set_result was given {len} bytes; the limit is {max}"));
        }
        return abi::SNOOZE_E_TOO_SMALL;
    }
    // SAFETY: the plugin lends the text for the call.
    let Some(json) = (unsafe { text(json, delivery::RESULT_BYTES_MAX, "set_result") }) else {
        return abi::SNOOZE_E_INVALID;
    };
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(json) {
        Ok(_) => abi::SNOOZE_OK,
        Err(error) => {
            scene().fault(format!("set_result was given what is no JSON object ({error})"));
            abi::SNOOZE_E_INVALID
        }
    }
}

unsafe extern "C" fn complete(
    _host: *const abi::snooze_host,
    call: *const abi::snooze_call,
    code: abi::snooze_status,
    message: abi::snooze_str,
) -> abi::snooze_status {
    let _unwatched = Unwatched::begin();
    // SAFETY: the plugin lends the text for the call.
    let message = unsafe { text(message, ERROR_BYTES_MAX, "complete") }.unwrap_or_default();
    let is_taken = scene().complete(CallAt::from_raw(call), code, message);
    if is_taken { abi::SNOOZE_OK } else { abi::SNOOZE_E_STATE }
}
