//! The self-test's plugin: built in, native, does nothing.
//!
//! It is called like any other, through the tables of the ABI, so that what is measured is the way that
//! handlers are reached. Inputs: self-test events. Outputs: SNOOZE_OK. Must never do anything: the time of
//! its first instruction is taken by who calls it.
#![allow(unsafe_code)]

use super::instance::Instance;
use super::native::Native;
use super::refusal::Refusal;
use super::services::Context;
use crate::log_ring::LogRing;
use cloudsnooze_abi as abi;
use std::path::Path;
use std::sync::Arc;

/// The name in places that no one should see.
pub const NAME: &str = "(self-test)";

static CLASS: abi::snooze_class = abi::snooze_class {
    struct_size: size_of::<abi::snooze_class>() as u32,
    reserved: 0,
    caps: 0,
    id: c"cloudsnooze.self-test".as_ptr(),
    name: c"self-test".as_ptr(),
    version: c"1".as_ptr(),
    description: c"Does nothing; how long it takes to get there is measured".as_ptr(),
    config_schema: None,
    create: Some(create),
};

/// An instance, active. Never retired: it lasts as long as the process.
///
/// # Errors
/// None in practice: it is made like any other instance, and its create does not fail.
pub fn instance(log: &Arc<LogRing>) -> Result<Arc<Instance>, Refusal> {
    let native = Native::create(&CLASS, Context::leak(NAME, Arc::clone(log)), NAME, "{}", Path::new("/"))?;
    Ok(Arc::new(Instance::built_in(NAME, native)))
}

unsafe extern "C" fn create(
    _host: *const abi::snooze_host,
    _args: *const abi::snooze_create_args,
    out: *mut *const abi::snooze_plugin,
) -> abi::snooze_status {
    let table = Box::leak(Box::new(abi::snooze_plugin {
        struct_size: size_of::<abi::snooze_plugin>() as u32,
        reserved: 0,
        ctx: std::ptr::null_mut(),
        activate: None,
        warm_up: None,
        on_event: Some(on_event),
        on_cancel: None,
        reconfigure: None,
        deactivate: Some(nothing),
        destroy: Some(nothing),
        get_extension: None,
        verify: None,
    }));
    // SAFETY: the host passes a place for the result.
    unsafe { *out = table };
    abi::SNOOZE_OK
}

unsafe extern "C" fn on_event(
    _plugin: *const abi::snooze_plugin,
    _event: *const abi::snooze_event,
    _call: *const abi::snooze_call,
) -> abi::snooze_status {
    abi::SNOOZE_OK
}

unsafe extern "C" fn nothing(_plugin: *const abi::snooze_plugin) {}
