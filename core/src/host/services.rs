//! The table of functions that plugins call back. Pointers from a plugin are allegations until checked:
//! NULL, stray pointers to events and calls, text that is not UTF-8 all become SNOOZE_E_INVALID.
//!
//! Threads: as tagged in the ABI. Must never block or panic on the functions tagged [rt].
#![allow(unsafe_code)]

use super::delivery::{CallCell, Delivery, RESULT_BYTES_MAX};
use super::fields;
use crate::log_ring::LogRing;
use crate::sys::fault;
use cloudsnooze_abi as abi;
use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_void};
use std::sync::{Arc, Mutex, PoisonError};

/// Most subscriptions of one instance, and most types in one.
const SUBSCRIPTIONS_MAX: usize = 64;

/// What an instance said it can handle.
#[derive(Clone, Debug)]
pub struct Subscribed {
    id: u64,
    /// Types and patterns.
    pub kinds: Vec<String>,
    /// Priority when the configuration names none.
    pub priority: u32,
    /// Time wanted when the configuration names none, microseconds; 0 = the host's default.
    pub budget_us: u64,
    /// Given back with each call, as an address.
    pub handler: usize,
}

/// Tells another process how far a call is: the call's id, permille, text. Must not block.
pub type Relay = Box<dyn Fn(u64, u32, &str) + Send + Sync>;

/// The host as one instance sees it. Lives as long as the process: a plugin may keep the table.
pub struct Context {
    table: abi::snooze_host,
    name: &'static str,
    log: Arc<LogRing>,
    subscriptions: Mutex<Vec<Subscribed>>,
    /// Where progress goes besides the call itself.
    relay: Option<Relay>,
}

// SAFETY: the table is immutable after construction and its `ctx` points at this value itself.
unsafe impl Sync for Context {}
// SAFETY: as above.
unsafe impl Send for Context {}

thread_local! {
    /// Text attached by the function in progress on this thread.
    static ERROR: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Takes the error text that the call which just returned on this thread attached.
pub fn take_error() -> Option<String> {
    ERROR.with(|slot| slot.try_borrow_mut().ok()?.take())
}

impl Context {
    /// Logs the error text that a function without an answer attached: nobody else would learn of it.
    pub fn log_error_of(&self, function: &str) {
        if let Some(text) = take_error() {
            self.log.push(self.name, abi::SNOOZE_LOG_ERROR, &format!("{function} failed: {text}"));
        }
    }

    /// What a thread does in this instance's code, should it meet its end there.
    pub fn doing(&self, phase: &'static str, event: [u8; 16]) -> fault::Doing {
        fault::Doing { instance: self.name, phase, event }
    }

    /// A context for the instance of this name; never freed.
    pub fn leak(name: &str, log: Arc<LogRing>) -> &'static Self {
        Self::leak_relayed(name, log, None)
    }

    /// The same in the process of an isolated plugin, where progress is passed on.
    pub fn leak_relayed(name: &str, log: Arc<LogRing>, relay: Option<Relay>) -> &'static Self {
        let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
        let context = Box::leak(Box::new(Self { table: table(), name, log, subscriptions: Mutex::default(), relay }));
        context.table.ctx = (&raw const *context).cast_mut().cast();
        context
    }

    /// The table to hand to the plugin.
    pub fn table(&self) -> *const abi::snooze_host {
        &raw const self.table
    }

    /// What the instance subscribed to so far.
    pub fn subscriptions(&self) -> Vec<Subscribed> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn table() -> abi::snooze_host {
    abi::snooze_host {
        struct_size: size_of::<abi::snooze_host>() as u32,
        abi_minor: u32::from(abi::SNOOZE_ABI_MINOR),
        ctx: std::ptr::null_mut(),
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

/// # Safety
/// `host` is NULL or a table that [`Context::leak`] made.
unsafe fn context<'a>(host: *const abi::snooze_host) -> Option<&'a Context> {
    // SAFETY: the caller's promise; contexts are never freed.
    unsafe { if host.is_null() { None } else { (*host).ctx.cast::<Context>().as_ref() } }
}

/// # Safety
/// `text.ptr` is NULL or points at `text.len` bytes, readable for `'a`.
unsafe fn text<'a>(text: abi::snooze_str) -> Option<&'a str> {
    if text.ptr.is_null() {
        return Some("");
    }
    if text.len > isize::MAX as usize {
        return None;
    }
    // SAFETY: the caller's promise.
    std::str::from_utf8(unsafe { std::slice::from_raw_parts(text.ptr.cast(), text.len) }).ok()
}

fn lend(text: &str) -> abi::snooze_str {
    abi::snooze_str { ptr: text.as_ptr().cast(), len: text.len() }
}

unsafe extern "C" fn log(host: *const abi::snooze_host, record: *const abi::snooze_log_record) {
    // SAFETY: the plugin passes its host table and lends a record; NULL is checked.
    unsafe {
        let (Some(context), false) = (context(host), record.is_null()) else { return };
        if let Some(message) = text((*record).message) {
            context.log.push(context.name, (*record).level, message);
        }
    }
}

unsafe extern "C" fn log_enabled(host: *const abi::snooze_host, level: u32) -> u32 {
    // SAFETY: the plugin passes its host table.
    unsafe { context(host) }.map_or(0, |c| u32::from(c.log.enabled(level)))
}

unsafe extern "C" fn report_error(
    _host: *const abi::snooze_host,
    code: abi::snooze_status,
    message: abi::snooze_str,
) -> abi::snooze_status {
    // SAFETY: the plugin lends the text for the call.
    let message = unsafe { text(message) }.unwrap_or("(an error text that is not UTF-8)");
    let short: String = message.chars().take(2000).collect();
    ERROR.with(|slot| {
        if let Ok(mut slot) = slot.try_borrow_mut() {
            *slot = Some(short);
        }
    });
    code
}

/// No optional service exists yet; ids are given out as they come (abi.rs of each).
unsafe extern "C" fn get_extension(_host: *const abi::snooze_host, _id: *const c_char) -> *const c_void {
    std::ptr::null()
}

unsafe extern "C" fn subscribe(
    host: *const abi::snooze_host,
    sub: *const abi::snooze_subscription,
    out_id: *mut u64,
) -> abi::snooze_status {
    // SAFETY: the plugin passes its host table and lends a record with a NULL-ended list of texts.
    unsafe {
        let (Some(context), false) = (context(host), sub.is_null()) else { return abi::SNOOZE_E_INVALID };
        let mut kinds = Vec::new();
        let mut kind = (*sub).kinds;
        while !kind.is_null() && !(*kind).is_null() {
            let Ok(name) = CStr::from_ptr(*kind).to_str() else { return abi::SNOOZE_E_INVALID };
            if crate::event::Pattern::parse(name).is_err() || kinds.len() == SUBSCRIPTIONS_MAX {
                return abi::SNOOZE_E_INVALID;
            }
            kinds.push(name.to_owned());
            kind = kind.add(1);
        }
        let mut all = context.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
        if kinds.is_empty() || all.len() == SUBSCRIPTIONS_MAX || (*sub).priority > 999 {
            return abi::SNOOZE_E_INVALID;
        }
        let id = all.last().map_or(1, |s| s.id + 1);
        let (priority, budget_us) = ((*sub).priority, (*sub).budget_us);
        all.push(Subscribed { id, kinds, priority, budget_us, handler: (*sub).handler.expose_provenance() });
        if !out_id.is_null() {
            *out_id = id;
        }
    }
    abi::SNOOZE_OK
}

unsafe extern "C" fn unsubscribe(host: *const abi::snooze_host, id: u64) -> abi::snooze_status {
    // SAFETY: the plugin passes its host table.
    let Some(context) = (unsafe { context(host) }) else { return abi::SNOOZE_E_INVALID };
    let mut all = context.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
    let before = all.len();
    all.retain(|s| s.id != id);
    if all.len() < before { abi::SNOOZE_OK } else { abi::SNOOZE_E_NOT_FOUND }
}

unsafe extern "C" fn field_id(_host: *const abi::snooze_host, path: abi::snooze_str) -> u32 {
    // SAFETY: the plugin lends the text for the call.
    match unsafe { text(path) } {
        Some(path) if !path.is_empty() && path.len() <= 256 => fields::number(path),
        _ => 0,
    }
}

unsafe extern "C" fn event_str(
    _host: *const abi::snooze_host,
    event: *const abi::snooze_event,
    field: u32,
    out: *mut abi::snooze_str,
) -> abi::snooze_status {
    // SAFETY: the plugin passes an event it was given and a writable result.
    unsafe {
        let (Some(event), false) = (Delivery::from_raw(event), out.is_null()) else { return abi::SNOOZE_E_INVALID };
        match event.text(field) {
            Some(value) => *out = lend(value),
            None => return abi::SNOOZE_E_NOT_FOUND,
        }
    }
    abi::SNOOZE_OK
}

unsafe extern "C" fn event_bytes(
    host: *const abi::snooze_host,
    event: *const abi::snooze_event,
    field: u32,
    out: *mut abi::snooze_bytes,
) -> abi::snooze_status {
    // SAFETY: snooze_str and snooze_bytes have the same layout (asserted in the ABI's surface).
    unsafe { event_str(host, event, field, out.cast()) }
}

unsafe extern "C" fn event_f64(
    _host: *const abi::snooze_host,
    event: *const abi::snooze_event,
    field: u32,
    out: *mut f64,
) -> abi::snooze_status {
    // SAFETY: as in `event_str`.
    unsafe {
        let (Some(event), false) = (Delivery::from_raw(event), out.is_null()) else { return abi::SNOOZE_E_INVALID };
        match event.number(field) {
            Some(value) => *out = value,
            None => return abi::SNOOZE_E_NOT_FOUND,
        }
    }
    abi::SNOOZE_OK
}

unsafe extern "C" fn event_i64(
    _host: *const abi::snooze_host,
    event: *const abi::snooze_event,
    field: u32,
    out: *mut i64,
) -> abi::snooze_status {
    // SAFETY: as in `event_str`.
    unsafe {
        let (Some(event), false) = (Delivery::from_raw(event), out.is_null()) else { return abi::SNOOZE_E_INVALID };
        match event.number(field) {
            #[allow(clippy::cast_possible_truncation, reason = "seconds and counts; `as` saturates")]
            Some(value) => *out = value as i64,
            None => return abi::SNOOZE_E_NOT_FOUND,
        }
    }
    abi::SNOOZE_OK
}

unsafe extern "C" fn event_json(
    _host: *const abi::snooze_host,
    event: *const abi::snooze_event,
    out: *mut abi::snooze_str,
) -> abi::snooze_status {
    // SAFETY: as in `event_str`.
    unsafe {
        let (Some(event), false) = (Delivery::from_raw(event), out.is_null()) else { return abi::SNOOZE_E_INVALID };
        *out = lend(event.json());
    }
    abi::SNOOZE_OK
}

unsafe extern "C" fn event_retain(_host: *const abi::snooze_host, event: *const abi::snooze_event) {
    // SAFETY: a live delivery is the inside of an Arc.
    unsafe {
        if let Some(delivery) = Delivery::from_raw(event) {
            Arc::increment_strong_count(&raw const *delivery);
        }
    }
}

unsafe extern "C" fn event_release(_host: *const abi::snooze_host, event: *const abi::snooze_event) {
    // SAFETY: pairs with an event_retain of the same event.
    unsafe {
        if let Some(delivery) = Delivery::from_raw(event) {
            Arc::decrement_strong_count(&raw const *delivery);
        }
    }
}

unsafe extern "C" fn left_ns(_host: *const abi::snooze_host, call: *const abi::snooze_call) -> i64 {
    // SAFETY: the plugin passes a call it was given.
    unsafe { CallCell::from_raw(call) }.map_or(0, CallCell::left_ns)
}

unsafe extern "C" fn cancel_fd(_host: *const abi::snooze_host, call: *const abi::snooze_call) -> i32 {
    // SAFETY: the plugin passes a call it was given.
    unsafe { CallCell::from_raw(call) }.map_or(-1, CallCell::cancel_fd)
}

unsafe extern "C" fn progress(
    host: *const abi::snooze_host,
    call: *const abi::snooze_call,
    permille: u32,
    message: abi::snooze_str,
) {
    // SAFETY: the plugin passes a call it was given and lends the text.
    unsafe {
        if let (Some(call), Some(message)) = (CallCell::from_raw(call), text(message)) {
            call.set_progress(permille, message);
            if let Some(relay) = context(host).and_then(|context| context.relay.as_ref()) {
                relay(call.id(), permille, message);
            }
        }
    }
}

unsafe extern "C" fn set_result(
    _host: *const abi::snooze_host,
    call: *const abi::snooze_call,
    json: abi::snooze_str,
) -> abi::snooze_status {
    // SAFETY: the plugin passes a call it was given and lends the text.
    let (call, json) = unsafe { (CallCell::from_raw(call), text(json)) };
    match (call, json) {
        (Some(_), Some(json)) if json.len() > RESULT_BYTES_MAX => abi::SNOOZE_E_TOO_SMALL,
        (Some(call), Some(json)) => match serde_json::from_str(json) {
            Ok(object) => {
                call.set_result(object);
                abi::SNOOZE_OK
            }
            Err(_) => abi::SNOOZE_E_INVALID,
        },
        _ => abi::SNOOZE_E_INVALID,
    }
}

unsafe extern "C" fn complete(
    _host: *const abi::snooze_host,
    call: *const abi::snooze_call,
    code: abi::snooze_status,
    message: abi::snooze_str,
) -> abi::snooze_status {
    // SAFETY: the plugin passes a call it was given and lends the text.
    let (call, message) = unsafe { (CallCell::from_raw(call), text(message)) };
    match call {
        Some(call) if call.complete(code, message.unwrap_or_default()) => abi::SNOOZE_OK,
        _ => abi::SNOOZE_E_STATE,
    }
}
