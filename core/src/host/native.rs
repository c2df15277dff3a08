//! The only place that calls a plugin's function pointers.
//!
//! Inputs: a class, deliveries, calls. Outputs: answers. Threads: create, activate, deactivate and
//! destroy on the control thread; warm_up, on_event and verify on the pool; cancel from the timer.
//! Must never call a member that the plugin's table is too small to hold, or that is NULL.
#![allow(unsafe_code)]

use super::delivery::{Answer, CallCell, Delivery, Status};
use super::instance::Abilities;
use super::refusal::Refusal;
use super::services::{self, Context, Subscribed};
use crate::sys::{fault, prefetch};
use cloudsnooze_abi as abi;
use std::ffi::{CStr, c_void};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What is fetched ahead of a plugin's code, bytes: its first steps.
const ENTRY_BYTES: usize = 256;

/// Reads member `$member` of a plugin's table when the table holds it.
macro_rules! member {
    ($table:expr, $member:ident) => {{
        let table: *const abi::snooze_plugin = $table;
        let end = std::mem::offset_of!(abi::snooze_plugin, $member) + size_of::<usize>();
        // SAFETY: create promised a table of `struct_size` bytes that lives until destroy.
        unsafe { if (*table).struct_size as usize >= end { (*table).$member } else { None } }
    }};
}

/// One instance of a class in this process.
pub struct Native {
    class: &'static abi::snooze_class,
    context: &'static Context,
    table: *const abi::snooze_plugin,
}

// SAFETY: the ABI lets the host call from the threads named with each function; the life cycle is
// guarded by `Instance`.
unsafe impl Send for Native {}
// SAFETY: as above.
unsafe impl Sync for Native {}

impl Native {
    /// Makes an instance.
    ///
    /// # Errors
    /// CREATE with the plugin's own words.
    pub fn create(
        class: &'static abi::snooze_class,
        context: &'static Context,
        name: &str,
        config: &str,
        state_dir: &Path,
    ) -> Result<Self, Refusal> {
        let lend = |text: &str| abi::snooze_str { ptr: text.as_ptr().cast(), len: text.len() };
        let state_dir = state_dir.to_string_lossy();
        let args = abi::snooze_create_args {
            struct_size: size_of::<abi::snooze_create_args>() as u32,
            reserved: 0,
            instance_name: lend(name),
            config: lend(config),
            state_dir: lend(&state_dir),
        };
        let mut table = std::ptr::null();
        services::take_error();
        let _doing = fault::doing(context.doing("create", [0; 16]));
        let Some(create) = class.create else { return Err(Refusal::Create("the class has no create".into())) };
        // SAFETY: table, arguments and result live until create returns.
        let status = unsafe { create(context.table(), &raw const args, &raw mut table) };
        if status < 0 {
            return Err(Refusal::Create(failure_text(status)));
        }
        if table.is_null() {
            return Err(Refusal::Create(format!("answered {status} but made no instance")));
        }
        let native = Self { class, context, table };
        let required = [
            ("on_event", member!(table, on_event).is_none()),
            ("deactivate", member!(table, deactivate).is_none()),
            ("destroy", member!(table, destroy).is_none()),
        ];
        match required.iter().find(|(_, missing)| *missing) {
            Some((name, _)) => Err(Refusal::Create(format!("the instance's table lacks {name}"))),
            None => Ok(native),
        }
    }

    /// Opens the instance for events.
    ///
    /// # Errors
    /// ACTIVATE with the plugin's own words.
    pub fn activate(&self) -> Result<(), Refusal> {
        let Some(activate) = member!(self.table, activate) else { return Ok(()) };
        services::take_error();
        let _doing = fault::doing(self.context.doing("activate", [0; 16]));
        // SAFETY: live table.
        let status = unsafe { activate(self.table) };
        if status < 0 { Err(Refusal::Activate(failure_text(status))) } else { Ok(()) }
    }

    /// Touches what on_event will need, on the calling pool thread.
    pub fn warm_up(&self) {
        if let Some(warm_up) = member!(self.table, warm_up) {
            services::take_error();
            let _doing = fault::doing(self.context.doing("warm_up", [0; 16]));
            // SAFETY: live, active table.
            unsafe { warm_up(self.table) };
            self.context.log_error_of("warm_up");
        }
    }

    /// What it subscribed to.
    pub fn subscriptions(&self) -> Vec<Subscribed> {
        self.context.subscriptions()
    }

    /// Whether several calls may run at the same time.
    pub fn is_reentrant(&self) -> bool {
        self.class.caps & abi::SNOOZE_CAP_REENTRANT != 0
    }

    /// Whether its class promised that on_event does not block, and answers before it returns.
    pub fn is_realtime(&self) -> bool {
        self.class.caps & (abi::SNOOZE_CAP_REALTIME | abi::SNOOZE_CAP_ASYNC) == abi::SNOOZE_CAP_REALTIME
    }

    /// What its class can do beyond handling an event.
    pub fn abilities(&self) -> Abilities {
        Abilities::of_caps(self.class.caps)
    }

    /// Whether it offers to verify its effects.
    pub fn can_verify(&self) -> bool {
        member!(self.table, verify).is_some()
    }

    /// An event may come: asks for the table and the beginning of on_event.
    pub fn approach(&self) {
        prefetch::value(self.class);
        prefetch::value(self.context);
        prefetch::stretch(self.table.addr(), size_of::<abi::snooze_plugin>());
        if let Some(on_event) = member!(self.table, on_event) {
            prefetch::stretch((on_event as *const ()).addr(), ENTRY_BYTES);
        }
    }

    /// Hands an event over and waits for the answer; an asynchronous one until it is completed, at
    /// most until the deadline and half of `grace`.
    #[cfg_attr(target_os = "linux", allow(unsafe_code), unsafe(link_section = "snooze_hot"))]
    pub fn handle(&self, event: &Arc<Delivery>, call: &Arc<CallCell>, grace: Duration) -> Answer {
        let Some(on_event) = member!(self.table, on_event) else {
            return Answer::new(Status::Failed, "the instance has no on_event");
        };
        services::take_error();
        let doing = fault::doing(self.context.doing("on_event", event.head().id));
        // SAFETY: active table; event and call live until it returns, and longer below.
        let mut status = unsafe { on_event(self.table, event.as_raw(), call.as_raw()) };
        drop(doing);
        let mut error = services::take_error();
        if status == abi::SNOOZE_ASYNC {
            // Never freed: the plugin is promised an answer (SNOOZE_E_STATE) should it complete a call that is over.
            std::mem::forget(Arc::clone(call));
            if self.class.caps & abi::SNOOZE_CAP_ASYNC == 0 {
                std::mem::forget(Arc::clone(event));
                return Answer::new(Status::Failed, "answered ASYNC without claiming the capability");
            }
            // Home before the whole grace is over: the worker is not lost to a plugin that merely forgot.
            if let Some((code, text)) = call.wait_completed(grace / 2) {
                (status, error) = (code, Some(text).filter(|t| !t.is_empty()));
            } else {
                // The plugin may still use it at any later time.
                std::mem::forget(Arc::clone(event));
                return Answer::new(Status::Cancelled, "was not completed in its time");
            }
        }
        answer(status, error, call)
    }

    /// Asks whether the effect of the handled event holds; None when the plugin offers no answer.
    pub fn verify(&self, event: &Delivery, call: &CallCell) -> Option<Answer> {
        let verify = member!(self.table, verify)?;
        services::take_error();
        let doing = fault::doing(self.context.doing("verify", event.head().id));
        // SAFETY: as in `handle`.
        let status = unsafe { verify(self.table, event.as_raw(), call.as_raw()) };
        drop(doing);
        let error = services::take_error();
        (status != abi::SNOOZE_SKIPPED && status != abi::SNOOZE_E_UNSUPPORTED).then(|| answer(status, error, call))
    }

    /// Tells the instance that its call was cancelled.
    pub fn cancel(&self, call: &CallCell, reason: u32) {
        if let Some(on_cancel) = member!(self.table, on_cancel) {
            services::take_error();
            let _doing = fault::doing(self.context.doing("on_cancel", [0; 16]));
            // SAFETY: active table, live call.
            unsafe { on_cancel(self.table, call.as_raw(), reason) };
            self.context.log_error_of("on_cancel");
        }
    }

    /// The table of an optional power of the plugin, or NULL.
    pub fn extension(&self, id: &CStr) -> *const c_void {
        let Some(get) = member!(self.table, get_extension) else { return std::ptr::null() };
        services::take_error();
        let _doing = fault::doing(self.context.doing("get_extension", [0; 16]));
        // SAFETY: live table; the id is NUL-terminated and lives until it returns.
        unsafe { get(self.table, id.as_ptr()) }
    }

    /// The host as this instance sees it.
    pub(super) fn context(&self) -> &'static Context {
        self.context
    }

    /// The instance's table.
    pub(super) fn table(&self) -> *const abi::snooze_plugin {
        self.table
    }

    /// Stops everything the instance started.
    pub fn deactivate(&self) {
        if let Some(deactivate) = member!(self.table, deactivate) {
            services::take_error();
            let _doing = fault::doing(self.context.doing("deactivate", [0; 16]));
            // SAFETY: active table with no call in progress (`Instance` holds that).
            unsafe { deactivate(self.table) };
            self.context.log_error_of("deactivate");
        }
    }

    /// Frees the instance; nothing of it may be called afterwards.
    pub fn destroy(&self) {
        if let Some(destroy) = member!(self.table, destroy) {
            services::take_error();
            let _doing = fault::doing(self.context.doing("destroy", [0; 16]));
            // SAFETY: inactive table, destroyed once (`Instance` holds that).
            unsafe { destroy(self.table) };
            self.context.log_error_of("destroy");
        }
    }
}

fn failure_text(status: abi::snooze_status) -> String {
    services::take_error().unwrap_or_else(|| format!("{} (no text was reported)", status_name(status)))
}

fn answer(status: abi::snooze_status, error: Option<String>, call: &CallCell) -> Answer {
    let result = call.take_result();
    let kind = match status {
        abi::SNOOZE_OK => Status::Handled,
        abi::SNOOZE_SKIPPED => Status::Declined,
        abi::SNOOZE_E_RETRY => Status::Retry,
        abi::SNOOZE_E_PANIC => Status::Panicked,
        abi::SNOOZE_E_CANCELLED | abi::SNOOZE_E_DEADLINE => Status::Cancelled,
        _ => Status::Failed,
    };
    let error = match kind {
        Status::Handled | Status::Declined => None,
        _ if status > abi::SNOOZE_SKIPPED => Some(format!("answered {status}, which means nothing in this version")),
        _ => Some(error.unwrap_or_else(|| format!("{} (no text was reported)", status_name(status)))),
    };
    Answer { status: kind, error, result }
}

fn status_name(status: abi::snooze_status) -> String {
    let names = [
        "UNSUPPORTED",
        "INVALID",
        "NOT_FOUND",
        "NO_MEMORY",
        "BUSY",
        "CANCELLED",
        "DEADLINE",
        "STATE",
        "CONFIG",
        "IO",
        "DENIED",
        "VERSION",
        "PANIC",
        "INTERNAL",
        "TOO_SMALL",
        "RETRY",
    ];
    let name = usize::try_from(-i64::from(status) - 1).ok().and_then(|n| names.get(n));
    name.map_or_else(|| format!("status {status}"), |n| format!("SNOOZE_E_{n}"))
}
