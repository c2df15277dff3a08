//! Sources that are plugins: the border of the extension `cloudsnooze.source/1`.
//!
//! Inputs: an active instance whose class claims SNOOZE_CAP_SOURCE, a [`Feed`] that takes what it tells. Outputs: checked
//! values to the feed, statuses to the plugin. Threads: `run` on a thread of the source's own, `stop` and `over` on any
//! other. Whatever the plugin hands over is an allegation: NULL, a record that is too small, text that is not UTF-8 or too
//! long, a number without a meaning, a call on the wrong thread or after the end all become a status. Must never hand on
//! what was not checked, keep a pointer beyond its call, or call a member that the table is too small to hold.
#![allow(unsafe_code)]

use super::instance::Instance;
use super::native::Native;
use super::refusal::Refusal;
use super::services;
use crate::event::told::{Heard, Here, Over, Sight, Told, When};
use crate::event::{Action, EventType, Machine, NoticeKind, Severity};
use crate::sys::fault;
use cloudsnooze_abi as abi;
use serde_json::Value;
use std::cell::RefCell;
use std::ffi::c_void;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ThreadId};

/// Longest texts, bytes, as the ABI says.
const PROVIDER_BYTES_MAX: usize = 64;
const MACHINE_BYTES_MAX: usize = 256;
const ID_BYTES_MAX: usize = 1024;
const RAW_BYTES_MAX: usize = 1 << 20;
/// What is kept of a reason to be blind, characters.
const REASON_CHARS_MAX: usize = 2000;
/// Most resources of one notice.
const RESOURCES_MAX: usize = 256;
/// Longest promise to show itself again, milliseconds.
const PROMISE_MS_MAX: u64 = 3_600_000;

/// Who takes what a source tells. Called on the source's thread, between a notice and everything else.
pub trait Feed {
    /// A notice.
    fn notice(&mut self, told: Told) -> Heard;
    /// The provider withdraws a notice.
    fn withdrawn(&mut self, told: Told) -> Heard;
    /// Who this machine is.
    fn machine(&mut self, here: Here);
    /// Whether it sees.
    fn health(&mut self, sight: Sight);
    /// Something that it told was refused, and why.
    fn refused(&mut self, why: &str);
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to, or ended without a word.
    Quietly,
    /// It failed: its words.
    Failed(String),
    /// It panicked or threw, and must not be called again.
    Panicked(String),
}

/// An instance that is a source.
pub struct PluginSource {
    instance: Arc<Instance>,
    table: NonNull<abi::snooze_source>,
}

// SAFETY: the table is immutable and lives as long as the instance, which this value keeps; the ABI lets the host call
// its functions from the threads named with each.
unsafe impl Send for PluginSource {}
// SAFETY: as above.
unsafe impl Sync for PluginSource {}

/// Reads member `$member` of a source's table when the table holds it.
macro_rules! member {
    ($table:expr, $member:ident) => {{
        let table: *const abi::snooze_source = $table;
        let end = std::mem::offset_of!(abi::snooze_source, $member) + size_of::<usize>();
        // SAFETY: `of` found a table of at least `struct_size` bytes that lives as long as its instance.
        unsafe { if (*table).struct_size as usize >= end { (*table).$member } else { None } }
    }};
}

impl PluginSource {
    /// The source that an instance is.
    ///
    /// # Errors
    /// SOURCE: it offers none, or one without what is needed.
    pub fn of(instance: &Arc<Instance>) -> Result<Self, Refusal> {
        let native = instance.native().ok_or_else(|| Refusal::Source("it is not in this process".into()))?;
        let table = offered(native).map_err(Refusal::Source)?;
        Ok(Self { instance: Arc::clone(instance), table })
    }

    /// Lets it watch until it comes back. `stop_fd` turns readable when it is to return. On the source's own thread.
    pub fn run(&self, feed: &mut dyn Feed, stop_fd: RawFd) -> Ended {
        let Some(native) = self.instance.native() else { return Ended::Quietly };
        services::take_error();
        let doing = fault::doing(native.context().doing("run", [0; 16]));
        // SAFETY: an active instance and its own table.
        let status = unsafe { run(native.table(), self.table, feed, stop_fd) };
        drop(doing);
        let words = services::take_error().unwrap_or_else(|| format!("run answered {status} without a word"));
        match status {
            abi::SNOOZE_E_PANIC => Ended::Panicked(words),
            0.. => Ended::Quietly,
            _ => Ended::Failed(words),
        }
    }

    /// Asks it to come back. Does not wait.
    pub fn stop(&self) {
        if let Some(native) = self.instance.native() {
            services::take_error();
            let _doing = fault::doing(native.context().doing("stop", [0; 16]));
            // SAFETY: an active instance and its own table.
            unsafe { stop(native.table(), self.table) };
            native.context().log_error_of("stop");
        }
    }

    /// Tells it that an event is over. Never beside itself, on a normal thread.
    pub fn over(&self, id: crate::event::EventId, over: Over) {
        if let Some(native) = self.instance.native() {
            let outcome = match over {
                Over::Handled => abi::SNOOZE_OVER_HANDLED,
                Over::Failed => abi::SNOOZE_OVER_FAILED,
                Over::Withdrawn => abi::SNOOZE_OVER_WITHDRAWN,
                Over::Refused => abi::SNOOZE_OVER_REFUSED,
            };
            let event_id = *id.0.as_bytes();
            services::take_error();
            let _doing = fault::doing(native.context().doing("over", event_id));
            // SAFETY: an active instance and its own table.
            unsafe { tell_over(native.table(), self.table, event_id, outcome) };
            native.context().log_error_of("over");
        }
    }

    /// Its instance.
    pub fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }
}

/// Calls a source's run on this thread, until it comes back.
///
/// # Safety
/// `plugin` is an active instance, and `table` what it offers.
pub unsafe fn run(
    plugin: *const abi::snooze_plugin,
    table: NonNull<abi::snooze_source>,
    feed: &mut dyn Feed,
    stop_fd: RawFd,
) -> abi::snooze_status {
    let Some(run) = member!(table.as_ptr(), run) else { return abi::SNOOZE_E_UNSUPPORTED };
    let desk = Desk::leak(feed, stop_fd);
    // SAFETY: the caller's promise; the host's table is never freed.
    let status = unsafe { run(plugin, &raw const desk.table) };
    desk.close();
    status
}

/// Calls a source's stop, where it has one.
///
/// # Safety
/// As for [`run`].
pub unsafe fn stop(plugin: *const abi::snooze_plugin, table: NonNull<abi::snooze_source>) {
    if let Some(stop) = member!(table.as_ptr(), stop) {
        // SAFETY: the caller's promise.
        unsafe { stop(plugin) };
    }
}

/// Calls a source's over, where it has one, with an outcome of `SNOOZE_OVER_*` or, for a test, any other.
///
/// # Safety
/// As for [`run`].
pub unsafe fn tell_over(
    plugin: *const abi::snooze_plugin,
    table: NonNull<abi::snooze_source>,
    event_id: [u8; 16],
    outcome: u32,
) {
    if let Some(over) = member!(table.as_ptr(), over) {
        let record = abi::snooze_over { struct_size: size_of::<abi::snooze_over>() as u32, outcome, event_id };
        // SAFETY: the caller's promise; the record lives until it returns.
        unsafe { over(plugin, &raw const record) };
    }
}

/// The table that an instance offers.
///
/// # Errors
/// What it lacks, in words.
fn offered(native: &Native) -> Result<NonNull<abi::snooze_source>, String> {
    table_at(native.extension(abi::SNOOZE_EXTENSION_SOURCE))
}

/// What get_extension answered, as a source's table.
///
/// # Errors
/// What it lacks, in words.
pub fn table_at(answer: *const c_void) -> Result<NonNull<abi::snooze_source>, String> {
    let table = answer.cast_mut().cast::<abi::snooze_source>();
    let Some(table) = NonNull::new(table) else {
        return Err("its class claims to be a source, and get_extension offers no cloudsnooze.source/1".into());
    };
    if !table.is_aligned() {
        return Err("its table of cloudsnooze.source/1 is not aligned".into());
    }
    if member!(table.as_ptr(), run).is_none() {
        return Err("its table of cloudsnooze.source/1 lacks run".into());
    }
    Ok(table)
}

/// What stands behind the host's table during one run. Never freed: a plugin may keep the table.
struct Desk {
    table: abi::snooze_source_host,
    thread: ThreadId,
    is_open: AtomicBool,
    /// Valid while it is open.
    feed: RefCell<NonNull<dyn Feed>>,
}

impl Desk {
    fn leak(feed: &mut dyn Feed, stop_fd: RawFd) -> &'static Self {
        let feed: NonNull<dyn Feed + '_> = NonNull::from(feed);
        // SAFETY: only the lifetime is widened; `close` is called before the borrow of `run`'s caller ends, and nothing is
        // reached through a closed desk.
        let feed: NonNull<dyn Feed + 'static> = unsafe { std::mem::transmute(feed) };
        let desk = Box::leak(Box::new(Self {
            table: abi::snooze_source_host {
                struct_size: size_of::<abi::snooze_source_host>() as u32,
                stop_fd,
                ctx: std::ptr::null_mut(),
                notice: Some(notice),
                withdrawn: Some(withdrawn),
                machine: Some(machine),
                health: Some(health),
            },
            thread: thread::current().id(),
            is_open: AtomicBool::new(true),
            feed: RefCell::new(feed),
        }));
        desk.table.ctx = (&raw const *desk).cast_mut().cast();
        desk
    }

    fn close(&self) {
        self.is_open.store(false, Ordering::Release);
    }

    /// Does something with the feed, where that is allowed now.
    fn with(&self, work: impl FnOnce(&mut dyn Feed) -> abi::snooze_status) -> abi::snooze_status {
        if self.thread != thread::current().id() || !self.is_open.load(Ordering::Acquire) {
            return abi::SNOOZE_E_STATE;
        }
        // Borrowed already: an inline handler of what is being told tells something itself.
        let Ok(mut feed) = self.feed.try_borrow_mut() else { return abi::SNOOZE_E_BUSY };
        // SAFETY: open, so `run` has not returned and its caller's borrow lives; on that thread only.
        work(unsafe { feed.as_mut() })
    }
}

/// # Safety
/// `host` is NULL or a table that [`Desk::leak`] made.
unsafe fn desk<'a>(host: *const abi::snooze_source_host) -> Option<&'a Desk> {
    // SAFETY: the caller's promise; desks are never freed.
    unsafe { if host.is_null() || !host.is_aligned() { None } else { (*host).ctx.cast::<Desk>().as_ref() } }
}

/// A copy of a record that begins with its size; the reason where it is none.
///
/// # Safety
/// `record` is NULL, not aligned, or points at as many bytes as its first four say, which a plugin lends.
unsafe fn record<T: Copy>(record: *const T) -> Result<T, &'static str> {
    if record.is_null() || !record.is_aligned() {
        return Err("a record that is NULL or not aligned");
    }
    // SAFETY: the caller's promise: every record begins with its size.
    unsafe {
        if (*record.cast::<u32>() as usize) < size_of::<T>() {
            return Err("a record whose struct_size is too small");
        }
        Ok(*record)
    }
}

/// Text of at most `most` bytes.
///
/// # Safety
/// `text.ptr` is NULL or points at `text.len` bytes that the plugin lends for `'a`.
unsafe fn text<'a>(text: abi::snooze_str, most: usize, what: &'static str) -> Result<&'a str, &'static str> {
    if text.len > most || (text.ptr.is_null() && text.len > 0) {
        return Err(what);
    }
    if text.len == 0 {
        return Ok("");
    }
    // SAFETY: the caller's promise, and the length is bounded.
    std::str::from_utf8(unsafe { std::slice::from_raw_parts(text.ptr.cast(), text.len) }).map_err(|_| what)
}

fn is_provider(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
}

/// A notice, every member checked.
///
/// # Safety
/// As for [`record`] and [`text`], for the record and everything that it points at.
unsafe fn told(notice: *const abi::snooze_notice) -> Result<Told, &'static str> {
    // SAFETY: the caller's promise; every text is checked before it is read.
    unsafe {
        let notice = record(notice)?;
        let provider = text(notice.provider, PROVIDER_BYTES_MAX, "a provider that is no name of 1 to 64 bytes")?;
        if !is_provider(provider) {
            return Err("a provider that is no name of 1 to 64 lower-case letters, digits, '-', '_', '.'");
        }
        let name = text(notice.event_type, crate::event::EVENT_TYPE_BYTES_MAX, "an event_type that is none")?;
        let event_type = EventType::parse(name).map_err(|_| "an event_type that is none")?;
        if event_type.is_cancelled() {
            return Err("an event_type of a withdrawal: tell that by withdrawn");
        }
        let raw = text(notice.raw, RAW_BYTES_MAX, "a raw document that is not UTF-8 or larger than 1 MiB")?;
        Ok(Told {
            provider: provider.to_owned(),
            notice_id: text(notice.notice_id, ID_BYTES_MAX, "a notice_id that is not UTF-8 or too long")?.to_owned(),
            event_type,
            instance_id: text(notice.instance_id, MACHINE_BYTES_MAX, "an instance_id that is not UTF-8 or too long")?
                .to_owned(),
            severity: severity(notice.severity).ok_or("a severity that is none")?,
            action: action(notice.action).ok_or("an action that is none")?,
            notice_kind: notice_kind(notice.notice_kind).ok_or("a notice_kind that is none")?,
            when: when(notice.when, notice.when_ns)?,
            stated_wall_ns: match notice.stated_wall_ns {
                0 => None,
                1.. => Some(notice.stated_wall_ns),
                _ => return Err("a stated_wall_ns before 1970"),
            },
            resources: resources(notice.resources, notice.resource_count)?,
            raw: if raw.is_empty() { Value::Null } else { document(raw) },
        })
    }
}

fn document(raw: &str) -> Value {
    serde_json::from_str(raw).unwrap_or_else(|_| Value::String(raw.to_owned()))
}

/// # Safety
/// As for [`text`], for `count` texts at `list`, which may be NULL.
unsafe fn resources(list: *const abi::snooze_str, count: usize) -> Result<Vec<String>, &'static str> {
    if count > RESOURCES_MAX || (count > 0 && (list.is_null() || !list.is_aligned())) {
        return Err("resources that are NULL, not aligned or more than 256");
    }
    // SAFETY: the caller's promise, and the count is bounded.
    let one = |n| unsafe { text(*list.add(n), ID_BYTES_MAX, "a resource that is not UTF-8 or too long") };
    (0..count).map(|n| one(n).map(str::to_owned)).collect()
}

fn severity(number: u32) -> Option<Severity> {
    Some(match number {
        abi::SNOOZE_SEVERITY_INFO => Severity::Info,
        abi::SNOOZE_SEVERITY_WARNING => Severity::Warning,
        abi::SNOOZE_SEVERITY_URGENT => Severity::Urgent,
        abi::SNOOZE_SEVERITY_CRITICAL => Severity::Critical,
        _ => return None,
    })
}

fn action(number: u32) -> Option<Action> {
    Some(match number {
        abi::SNOOZE_ACTION_TERMINATE => Action::Terminate,
        abi::SNOOZE_ACTION_STOP => Action::Stop,
        abi::SNOOZE_ACTION_HIBERNATE => Action::Hibernate,
        abi::SNOOZE_ACTION_REBOOT => Action::Reboot,
        abi::SNOOZE_ACTION_REDEPLOY => Action::Redeploy,
        abi::SNOOZE_ACTION_FREEZE => Action::Freeze,
        abi::SNOOZE_ACTION_NONE => Action::None,
        _ => return None,
    })
}

fn notice_kind(number: u32) -> Option<NoticeKind> {
    Some(match number {
        abi::SNOOZE_NOTICE_DEADLINE => NoticeKind::Deadline,
        abi::SNOOZE_NOTICE_ADVISORY => NoticeKind::Advisory,
        _ => return None,
    })
}

fn when(kind: u32, when_ns: i64) -> Result<When, &'static str> {
    match kind {
        abi::SNOOZE_WHEN_UNKNOWN => Ok(When::Unknown),
        abi::SNOOZE_WHEN_NOW => Ok(When::Now),
        abi::SNOOZE_WHEN_AT | abi::SNOOZE_WHEN_IN if when_ns < 0 => Err("a when_ns that is negative"),
        abi::SNOOZE_WHEN_AT => Ok(When::At(when_ns)),
        abi::SNOOZE_WHEN_IN => Ok(When::In(when_ns)),
        _ => Err("a when that is none"),
    }
}

/// Tells one notice or withdrawal.
///
/// # Safety
/// `host` as for [`desk`], `notice` as for [`told`]; `out` is NULL or 16 writable bytes.
unsafe fn tell(
    host: *const abi::snooze_source_host,
    notice: *const abi::snooze_notice,
    out: *mut u8,
    hear: impl FnOnce(&mut dyn Feed, Told) -> Heard,
) -> abi::snooze_status {
    // SAFETY: the caller's promise.
    let Some(desk) = (unsafe { desk(host) }) else { return abi::SNOOZE_E_INVALID };
    desk.with(|feed| {
        // SAFETY: the caller's promise.
        let told = match unsafe { told(notice) } {
            Ok(told) => told,
            Err(why) => {
                feed.refused(why);
                return abi::SNOOZE_E_INVALID;
            }
        };
        let (id, status) = match hear(feed, told) {
            Heard::News(id) => (id, abi::SNOOZE_OK),
            Heard::Known(id) => (id, abi::SNOOZE_SKIPPED),
            Heard::Past => return abi::SNOOZE_E_DEADLINE,
            Heard::Nothing => return abi::SNOOZE_SKIPPED,
        };
        if !out.is_null() {
            // SAFETY: the plugin made 16 bytes writable; bytes need no alignment.
            unsafe { out.copy_from_nonoverlapping(id.0.as_bytes().as_ptr(), 16) };
        }
        status
    })
}

unsafe extern "C" fn notice(
    host: *const abi::snooze_source_host,
    notice: *const abi::snooze_notice,
    out: *mut u8,
) -> abi::snooze_status {
    // SAFETY: the plugin passes the table it was given, lends a record and makes the result writable.
    unsafe { tell(host, notice, out, |feed, told| feed.notice(told)) }
}

unsafe extern "C" fn withdrawn(
    host: *const abi::snooze_source_host,
    notice: *const abi::snooze_notice,
    out: *mut u8,
) -> abi::snooze_status {
    // SAFETY: as in `notice`.
    unsafe { tell(host, notice, out, |feed, told| feed.withdrawn(told)) }
}

/// Hands on what was found to be well formed, or says why it was not.
fn take<T>(
    desk: Option<&Desk>,
    checked: Result<T, &'static str>,
    hand_on: impl FnOnce(&mut dyn Feed, T),
) -> abi::snooze_status {
    let Some(desk) = desk else { return abi::SNOOZE_E_INVALID };
    desk.with(|feed| match checked {
        Ok(value) => {
            hand_on(feed, value);
            abi::SNOOZE_OK
        }
        Err(why) => {
            feed.refused(why);
            abi::SNOOZE_E_INVALID
        }
    })
}

unsafe extern "C" fn machine(
    host: *const abi::snooze_source_host,
    machine: *const abi::snooze_machine,
) -> abi::snooze_status {
    // SAFETY: as in `notice`; every text is checked before it is read.
    unsafe {
        let here = || {
            let machine = record(machine)?;
            let provider = text(machine.provider, PROVIDER_BYTES_MAX, "a provider that is no name of 1 to 64 bytes")?;
            if !is_provider(provider) {
                return Err("a provider that is no name of 1 to 64 lower-case letters, digits, '-', '_', '.'");
            }
            let of = |value| text(value, MACHINE_BYTES_MAX, "a machine with a text that is not UTF-8 or too long");
            let machine = Machine {
                instance_id: of(machine.instance_id)?.to_owned(),
                instance_type: of(machine.instance_type)?.to_owned(),
                zone: of(machine.zone)?.to_owned(),
                region: of(machine.region)?.to_owned(),
            };
            Ok(Here { provider: provider.to_owned(), machine })
        };
        take(desk(host), here(), |feed, here| feed.machine(here))
    }
}

unsafe extern "C" fn health(
    host: *const abi::snooze_source_host,
    health: *const abi::snooze_source_health,
) -> abi::snooze_status {
    // SAFETY: as in `notice`; the text is checked before it is read.
    unsafe {
        let sight = || {
            let health = record(health)?;
            let why = text(health.text, RAW_BYTES_MAX, "a text of health that is not UTF-8 or too long")?;
            let blind = match health.state {
                abi::SNOOZE_SOURCE_SEEING => None,
                abi::SNOOZE_SOURCE_BLIND if why.is_empty() => Some("it says that it cannot see".to_owned()),
                abi::SNOOZE_SOURCE_BLIND => Some(why.chars().take(REASON_CHARS_MAX).collect()),
                _ => return Err("a state of health that is none"),
            };
            if !(1..=PROMISE_MS_MAX).contains(&health.next_within_ms) {
                return Err("a next_within_ms that is not 1 to 3600000");
            }
            Ok(Sight { blind, next_within_ms: health.next_within_ms })
        };
        take(desk(host), sight(), |feed, sight| feed.health(sight))
    }
}

#[cfg(test)]
mod tests;
