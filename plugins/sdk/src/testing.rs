//! An in-process host for tests of plugins: no daemon, no dlopen, the same C tables.
//!
//! Inputs: a plugin type, a configuration, events as JSON. Outputs: what a report would say. Must
//! never be part of a shipped plugin (feature `testing`).
#![allow(unsafe_code, clippy::missing_panics_doc)]

use crate::Host;
use crate::plugin::Plugin;
use crate::private::ClassOf;
use crate::raw::{lend, text};
use cloudsnooze_abi as abi;
use serde_json::Value;
use std::ffi::{CString, c_char, c_void};
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What came of one delivery.
#[derive(Clone, Debug, Default)]
pub struct Delivered {
    /// The status returned.
    pub status: abi::snooze_status,
    /// The evidence, if any was given.
    pub result: Option<Value>,
    /// The error text, if any was reported.
    pub error: Option<String>,
}

/// What the tables' functions note down; the head of it is what `ctx` points at.
#[derive(Default)]
struct Notes {
    error: Mutex<Option<String>>,
    result: Mutex<Option<Value>>,
    log: Mutex<Vec<String>>,
    subscriptions: Mutex<Vec<String>>,
}

/// The event a test delivers: the head first, so that the pointer to it finds the rest.
#[repr(C)]
struct TestEvent {
    head: abi::snooze_event,
    json: CString,
    fields: Vec<(u32, String)>,
    seconds_left: f64,
}

/// One instance of a plugin under test.
pub struct TestInstance<P: Plugin> {
    table: *const abi::snooze_plugin,
    notes: Box<Notes>,
    _host: Box<abi::snooze_host>,
    _plugin: PhantomData<P>,
}

/// Cancels a running delivery from another thread.
#[derive(Default)]
pub struct Canceller(AtomicU32);

impl Canceller {
    /// Sets the flag that `Call::cancelled` reads (`abi::SNOOZE_CANCEL_*`).
    pub fn cancel(&self, reason: u32) {
        self.0.store(reason, Ordering::Release);
    }
}

impl<P: Plugin> TestInstance<P> {
    /// Creates and activates an instance, as the daemon does.
    ///
    /// # Errors
    /// The text with which create or activate refused.
    pub fn new(config: &Value) -> Result<Self, String> {
        Self::new_in(Path::new(""), config)
    }

    /// The same with a state directory, which a later instance may be given too.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn new_in(state_dir: &Path, config: &Value) -> Result<Self, String> {
        let notes = Box::<Notes>::default();
        let host = Box::new(host_table((&raw const *notes).cast_mut().cast()));
        let (config, state_dir) = (config.to_string(), state_dir.to_string_lossy());
        let args = abi::snooze_create_args {
            struct_size: size_of::<abi::snooze_create_args>() as u32,
            reserved: 0,
            instance_name: lend("test/instance"),
            config: lend(&config),
            state_dir: lend(&state_dir),
        };
        let mut table = std::ptr::null();
        let create = ClassOf::<P>::CLASS.create.expect("the class has create");
        // SAFETY: host and arguments live; `table` is writable.
        let status = unsafe { create(&raw const *host, &raw const args, &raw mut table) };
        if status < 0 {
            return Err(notes.error.lock().expect("notes").clone().unwrap_or_default());
        }
        let instance = Self { table, notes, _host: host, _plugin: PhantomData };
        // SAFETY: the table is fresh from create.
        let status = unsafe { (*table).activate.expect("activate")(table) };
        if status < 0 {
            return Err(instance.notes.error.lock().expect("notes").clone().unwrap_or_default());
        }
        Ok(instance)
    }

    /// Delivers an event (CloudEvents JSON) with this much time.
    pub fn deliver(&self, event: &Value, left: Duration) -> Delivered {
        self.deliver_cancellable(event, left, &Canceller::default())
    }

    /// The same, with a way to cancel it from another thread.
    pub fn deliver_cancellable(&self, event: &Value, left: Duration, cancel: &Canceller) -> Delivered {
        // SAFETY: required members of a live table.
        self.call(event, left, cancel, unsafe { (*self.table).on_event.expect("on_event") })
    }

    /// Asks whether the effect of a handled event holds.
    pub fn verify(&self, event: &Value, left: Duration) -> Delivered {
        // SAFETY: the SDK always offers verify.
        self.call(event, left, &Canceller::default(), unsafe { (*self.table).verify.expect("verify") })
    }

    /// Lines the plugin logged so far.
    pub fn log(&self) -> Vec<String> {
        self.notes.log.lock().expect("notes").clone()
    }

    /// Event types it subscribed to.
    pub fn subscriptions(&self) -> Vec<String> {
        self.notes.subscriptions.lock().expect("notes").clone()
    }

    fn call(&self, event: &Value, left: Duration, cancel: &Canceller, function: CallFn) -> Delivered {
        *self.notes.error.lock().expect("notes") = None;
        *self.notes.result.lock().expect("notes") = None;
        let event = test_event(event);
        let call = abi::snooze_call {
            struct_size: size_of::<abi::snooze_call>() as u32,
            attempt: 1,
            call_id: 1,
            idempotency_key: [7; 16],
            deadline_boot_ns: now_ns() + i64::try_from(left.as_nanos()).unwrap_or(i64::MAX / 2),
            cancelled: cancel.0.as_ptr(),
            handler: std::ptr::null_mut(),
        };
        // SAFETY: table, event and call live until the function returns.
        let status = unsafe { function(self.table, &raw const event.head, &raw const call) };
        Delivered {
            status,
            result: self.notes.result.lock().expect("notes").clone(),
            error: self.notes.error.lock().expect("notes").clone(),
        }
    }
}

impl<P: Plugin> Drop for TestInstance<P> {
    fn drop(&mut self) {
        // SAFETY: the table is live and not used afterwards.
        unsafe {
            (*self.table).deactivate.expect("deactivate")(self.table);
            (*self.table).destroy.expect("destroy")(self.table);
        }
    }
}

type CallFn = unsafe extern "C" fn(
    *const abi::snooze_plugin,
    *const abi::snooze_event,
    *const abi::snooze_call,
) -> abi::snooze_status;

/// Threads of this process whose names begin like this, as the kernel has them (15 bytes at most).
pub fn threads(prefix: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with(prefix)).count()
}

/// Waits until no such thread is left, at most `patience`; gives how many still are. Waiting is needed because the kernel
/// lists a thread for a moment after its end was waited for.
pub fn threads_left(prefix: &str, patience: Duration) -> usize {
    let ends = std::time::Instant::now() + patience;
    while threads(prefix) > 0 && std::time::Instant::now() < ends {
        std::thread::yield_now();
    }
    threads(prefix)
}

/// A host without an instance, for tests of what plugins are made from; what is logged to it is dropped.
pub fn host() -> Host {
    // Leaked, as a host outlives everything that may log to it.
    let notes = Box::leak(Box::<Notes>::default());
    Host { table: Box::leak(Box::new(host_table((&raw mut *notes).cast()))) }
}

/// A usual spot interruption, two minutes ahead, as the daemon would deliver it.
pub fn spot_interrupt() -> Value {
    serde_json::json!({
        "specversion": "1.0", "id": "01936b7e-5b3a-7000-8000-000000000001", "type": "cloud.spot.interrupt",
        "source": "aws.ec2.metadata-service", "time": "2026-01-02T03:04:05Z", "timestamp": "2026-01-02T03:04:05Z",
        "subject": "i-0123456789abcdef0", "severity": "urgent", "datacontenttype": "application/json",
        "data": {
            "provider": "aws", "action": "terminate", "noticeKind": "deadline", "time": "2026-01-02T03:06:05Z",
            "timeRemaining": 120.0, "instanceID": "i-0123456789abcdef0", "instanceType": "m5.large",
            "zone": "us-east-1a", "region": "us-east-1",
        },
    })
}

fn now_ns() -> i64 {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    i64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(i64::MAX) + 1
}

fn test_event(json: &Value) -> Box<TestEvent> {
    let path = |p: &str| json.pointer(p).and_then(Value::as_str).map(str::to_owned);
    let fields = [
        (abi::SNOOZE_FIELD_TYPE, "/type"),
        (abi::SNOOZE_FIELD_ID, "/id"),
        (abi::SNOOZE_FIELD_SOURCE, "/source"),
        (abi::SNOOZE_FIELD_TIME, "/time"),
        (abi::SNOOZE_FIELD_SUBJECT, "/subject"),
        (abi::SNOOZE_FIELD_SEVERITY, "/severity"),
        (abi::SNOOZE_FIELD_PROVIDER, "/data/provider"),
        (abi::SNOOZE_FIELD_ACTION, "/data/action"),
        (abi::SNOOZE_FIELD_DEADLINE, "/data/time"),
        (abi::SNOOZE_FIELD_INSTANCE_ID, "/data/instanceID"),
        (abi::SNOOZE_FIELD_INSTANCE_TYPE, "/data/instanceType"),
        (abi::SNOOZE_FIELD_ZONE, "/data/zone"),
        (abi::SNOOZE_FIELD_REGION, "/data/region"),
        (abi::SNOOZE_FIELD_NOTICE_KIND, "/data/noticeKind"),
        (abi::SNOOZE_FIELD_CANCELS, "/data/cancels"),
    ];
    let kind = match json["type"].as_str() {
        Some("cloud.spot.interrupt") => abi::SNOOZE_KIND_SPOT_INTERRUPT,
        Some("cloud.spot.rebalance") => abi::SNOOZE_KIND_SPOT_REBALANCE,
        _ => abi::SNOOZE_KIND_OTHER,
    };
    let severity = match json["severity"].as_str() {
        Some("critical") => abi::SNOOZE_SEVERITY_CRITICAL,
        Some("urgent") => abi::SNOOZE_SEVERITY_URGENT,
        Some("warning") => abi::SNOOZE_SEVERITY_WARNING,
        _ => abi::SNOOZE_SEVERITY_INFO,
    };
    let cancelled = json["type"].as_str().is_some_and(|t| t.ends_with(".cancelled"));
    Box::new(TestEvent {
        head: abi::snooze_event {
            struct_size: size_of::<abi::snooze_event>() as u32,
            kind,
            severity,
            flags: if cancelled { abi::SNOOZE_EVENT_CANCELLED } else { 0 }
                | if json["drill"] == true { abi::SNOOZE_EVENT_DRILL } else { 0 },
            seq: 1,
            id: [1; 16],
            detected_boot_ns: now_ns(),
            detected_wall_ns: 0,
            effective_boot_ns: 0,
        },
        json: CString::new(json.to_string()).unwrap_or_default(),
        fields: fields.iter().filter_map(|(id, p)| Some((*id, path(p)?))).collect(),
        seconds_left: json["data"]["timeRemaining"].as_f64().unwrap_or(-1.0),
    })
}

fn host_table(ctx: *mut c_void) -> abi::snooze_host {
    abi::snooze_host {
        struct_size: size_of::<abi::snooze_host>() as u32,
        abi_minor: u32::from(abi::SNOOZE_ABI_MINOR),
        ctx,
        log: Some(log),
        log_enabled: None,
        report_error: Some(report_error),
        get_extension: None,
        subscribe: Some(subscribe),
        unsubscribe: None,
        field_id: None,
        event_str: Some(event_str),
        event_i64: None,
        event_f64: Some(event_f64),
        event_bytes: None,
        event_json: Some(event_json),
        event_retain: None,
        event_release: None,
        left_ns: Some(left_ns),
        cancel_fd: None,
        progress: None,
        set_result: Some(set_result),
        complete: None,
    }
}

/// # Safety
/// `host` is a table made by `host_table` whose notes live.
unsafe fn notes<'a>(host: *const abi::snooze_host) -> &'a Notes {
    // SAFETY: the caller's promise.
    unsafe { &*(*host).ctx.cast::<Notes>() }
}

unsafe extern "C" fn log(host: *const abi::snooze_host, record: *const abi::snooze_log_record) {
    // SAFETY: the plugin lends the record for the call.
    let (notes, line) = unsafe { (notes(host), text((*record).message)) };
    notes.log.lock().expect("notes").push(line.to_owned());
}

unsafe extern "C" fn report_error(
    host: *const abi::snooze_host,
    code: abi::snooze_status,
    message: abi::snooze_str,
) -> abi::snooze_status {
    // SAFETY: the plugin lends the text for the call.
    let (notes, message) = unsafe { (notes(host), text(message)) };
    *notes.error.lock().expect("notes") = Some(message.to_owned());
    code
}

unsafe extern "C" fn subscribe(
    host: *const abi::snooze_host,
    sub: *const abi::snooze_subscription,
    _out: *mut u64,
) -> abi::snooze_status {
    // SAFETY: the plugin lends the record and its NULL-ended list for the call.
    unsafe {
        let mut kind: *const *const c_char = (*sub).kinds;
        while !(*kind).is_null() {
            let name = std::ffi::CStr::from_ptr(*kind).to_string_lossy().into_owned();
            notes(host).subscriptions.lock().expect("notes").push(name);
            kind = kind.add(1);
        }
    }
    abi::SNOOZE_OK
}

unsafe extern "C" fn event_str(
    _host: *const abi::snooze_host,
    event: *const abi::snooze_event,
    field: u32,
    out: *mut abi::snooze_str,
) -> abi::snooze_status {
    // SAFETY: every event delivered here is the head of a live TestEvent.
    let event = unsafe { &*event.cast::<TestEvent>() };
    match event.fields.iter().find(|(id, _)| *id == field) {
        Some((_, value)) => {
            // SAFETY: the plugin made `out` writable.
            unsafe { *out = lend(value) };
            abi::SNOOZE_OK
        }
        None => abi::SNOOZE_E_NOT_FOUND,
    }
}

unsafe extern "C" fn event_f64(
    _host: *const abi::snooze_host,
    event: *const abi::snooze_event,
    field: u32,
    out: *mut f64,
) -> abi::snooze_status {
    // SAFETY: as in `event_str`.
    let event = unsafe { &*event.cast::<TestEvent>() };
    if field != abi::SNOOZE_FIELD_TIME_REMAINING || event.seconds_left < 0.0 {
        return abi::SNOOZE_E_NOT_FOUND;
    }
    // SAFETY: the plugin made `out` writable.
    unsafe { *out = event.seconds_left };
    abi::SNOOZE_OK
}

unsafe extern "C" fn event_json(
    _host: *const abi::snooze_host,
    event: *const abi::snooze_event,
    out: *mut abi::snooze_str,
) -> abi::snooze_status {
    // SAFETY: as in `event_str`.
    let event = unsafe { &*event.cast::<TestEvent>() };
    // SAFETY: the plugin made `out` writable.
    unsafe { *out = lend(event.json.to_str().unwrap_or("{}")) };
    abi::SNOOZE_OK
}

unsafe extern "C" fn left_ns(_host: *const abi::snooze_host, call: *const abi::snooze_call) -> i64 {
    // SAFETY: the call lives as long as the delivery.
    (unsafe { (*call).deadline_boot_ns } - now_ns()).max(0)
}

unsafe extern "C" fn set_result(
    host: *const abi::snooze_host,
    _call: *const abi::snooze_call,
    json: abi::snooze_str,
) -> abi::snooze_status {
    // SAFETY: the plugin lends the text for the call.
    let (notes, json) = unsafe { (notes(host), text(json)) };
    match serde_json::from_str::<Value>(json) {
        Ok(value) if value.is_object() => {
            *notes.result.lock().expect("notes") = Some(value);
            abi::SNOOZE_OK
        }
        _ => abi::SNOOZE_E_INVALID,
    }
}
