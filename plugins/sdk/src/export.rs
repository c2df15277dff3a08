//! From the trait to the C tables: thunks with the panic guard, the class record, the export macro.
//! Every function here that the host can call catches panics: "Rust cannot catch foreign exceptions"
//! holds for a panic of another library too, so the host could only abort.
#![allow(unsafe_code)]

use crate::host::{Host, service};
use crate::plugin::{Instance, Outcome, Plugin, Verification};
use crate::raw::text;
use crate::source::{EventId, Over, Source, Watching};
use crate::{Call, Cancel, Code, Error, Event};
use cloudsnooze_abi as abi;
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_char, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Once, OnceLock};

/// The classes of a library, for the entry record.
#[repr(transparent)]
pub struct ClassList<const N: usize>(pub [*const abi::snooze_class; N]);

// SAFETY: pointers to immutable statics.
unsafe impl<const N: usize> Sync for ClassList<N> {}

/// The class record of a plugin type.
pub struct ClassOf<P>(PhantomData<P>);

impl<P: Plugin> ClassOf<P> {
    /// The record, a constant that the compiler promotes to a static.
    pub const CLASS: &'static abi::snooze_class = &abi::snooze_class {
        struct_size: size_of::<abi::snooze_class>() as u32,
        reserved: 0,
        caps: P::CAPS | if P::SOURCE.is_some() { abi::SNOOZE_CAP_SOURCE } else { 0 },
        id: P::ID.as_ptr(),
        name: P::NAME.as_ptr(),
        version: P::VERSION.as_ptr(),
        description: P::DESCRIPTION.as_ptr(),
        config_schema: Some(config_schema::<P>),
        create: Some(create::<P>),
    };
}

/// One instance: the table the host sees, and the state behind it.
struct Body<P> {
    table: abi::snooze_plugin,
    host: Host,
    poisoned: AtomicBool,
    plugin: P,
}

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
    /// How many guards this thread is inside of.
    static GUARDS: Cell<u32> = const { Cell::new(0) };
}

/// The hook is that of this library's own copy of std, so it cannot disturb the host's. Panics outside
/// of a guard (a thread of the plugin's own, an assertion of a test) go to the hook there was.
fn remember_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if GUARDS.try_with(Cell::get).unwrap_or(0) == 0 {
                return before(info);
            }
            let message = info.payload_as_str().unwrap_or("panic without a text");
            let place = info.location().map_or_else(String::new, |l| format!(" at {}:{}", l.file(), l.line()));
            let _ = PANIC.try_with(|slot| {
                if let Ok(mut slot) = slot.try_borrow_mut() {
                    *slot = format!("panicked: {message}{place}");
                }
            });
        }));
    });
}

/// Runs `work`; a panic becomes SNOOZE_E_PANIC with its message and place.
fn guard(host: Host, work: impl FnOnce() -> abi::snooze_status) -> abi::snooze_status {
    GUARDS.with(|guards| guards.set(guards.get() + 1));
    let worked = catch_unwind(AssertUnwindSafe(work));
    GUARDS.with(|guards| guards.set(guards.get() - 1));
    worked.unwrap_or_else(|payload| {
        // Dropping a payload may panic in turn; leaking these few bytes cannot.
        std::mem::forget(payload);
        let text = PANIC.with(|slot| slot.try_borrow().map(|s| s.clone()).unwrap_or_default());
        host.report_error(abi::SNOOZE_E_PANIC, if text.is_empty() { "panicked" } else { &text })
    })
}

fn fail(host: Host, error: &Error) -> abi::snooze_status {
    host.report_error(error.kind().status(), error.message())
}

unsafe extern "C" fn config_schema<P: Plugin>() -> *const c_char {
    // One text per plugin type: generic statics are shared between types, so a library-wide list.
    static TEXTS: OnceLock<std::sync::Mutex<Vec<(&'static str, CString)>>> = OnceLock::new();
    let made = catch_unwind(|| {
        let name = std::any::type_name::<P>();
        let mut texts = TEXTS.get_or_init(Default::default).lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, text)) = texts.iter().find(|(n, _)| *n == name) {
            return text.as_ptr();
        }
        let schema = schemars::schema_for!(P::Config);
        let text = CString::new(serde_json::to_string(&schema).unwrap_or_default()).unwrap_or_default();
        let pointer = text.as_ptr();
        texts.push((name, text));
        pointer
    });
    made.unwrap_or(std::ptr::null())
}

unsafe extern "C" fn create<P: Plugin>(
    host: *const abi::snooze_host,
    args: *const abi::snooze_create_args,
    out: *mut *const abi::snooze_plugin,
) -> abi::snooze_status {
    remember_panics();
    let host = Host { table: host };
    guard(host, || {
        // SAFETY: the host lends the arguments until create returns.
        let (name, config, state_dir) =
            unsafe { (text((*args).instance_name), text((*args).config), text((*args).state_dir)) };
        let instance = Instance { name: name.to_owned(), state_dir: PathBuf::from(state_dir) };
        let made = serde_json::from_str::<P::Config>(config)
            .map_err(|e| Error::from(e).context("configuration").code(Code::Config))
            .and_then(|config| P::new(host, config, instance));
        let plugin = match made {
            Ok(plugin) => plugin,
            Err(error) => return fail(host, &error),
        };
        if let Err(error) = subscribe(host, &plugin) {
            return fail(host, &error);
        }
        let body =
            Box::into_raw(Box::new(Body { table: table::<P>(), host, poisoned: AtomicBool::new(false), plugin }));
        // SAFETY: fresh from the box; the host made `out` writable.
        unsafe {
            (*body).table.ctx = body.cast();
            *out = &raw const (*body).table;
        }
        abi::SNOOZE_OK
    })
}

fn subscribe<P: Plugin>(host: Host, plugin: &P) -> Result<(), Error> {
    let Some(subscribe) = service!(host.table, subscribe) else { return Ok(()) };
    for wanted in plugin.subscriptions() {
        let kinds: Vec<CString> = wanted.kinds.iter().map(|k| CString::new(k.as_str())).collect::<Result<_, _>>()?;
        let mut pointers: Vec<*const c_char> = kinds.iter().map(|k| k.as_ptr()).collect();
        pointers.push(std::ptr::null());
        let sub = abi::snooze_subscription {
            struct_size: size_of::<abi::snooze_subscription>() as u32,
            priority: wanted.priority,
            kinds: pointers.as_ptr(),
            flags: 0,
            handler: std::ptr::null_mut(),
            budget_us: u64::try_from(wanted.budget.as_micros()).unwrap_or(u64::MAX),
        };
        // SAFETY: everything the record points at lives until the call returns.
        let status = unsafe { subscribe(host.table, &raw const sub, std::ptr::null_mut()) };
        if status < 0 {
            return Err(Error::new(format!("the host refused the subscription to {}", wanted.kinds.join(", "))));
        }
    }
    Ok(())
}

fn table<P: Plugin>() -> abi::snooze_plugin {
    abi::snooze_plugin {
        struct_size: size_of::<abi::snooze_plugin>() as u32,
        reserved: 0,
        ctx: std::ptr::null_mut(),
        activate: Some(activate::<P>),
        warm_up: Some(warm_up::<P>),
        on_event: Some(on_event::<P>),
        on_cancel: Some(on_cancel::<P>),
        reconfigure: None,
        deactivate: Some(deactivate::<P>),
        destroy: Some(destroy::<P>),
        get_extension: if P::SOURCE.is_some() { Some(get_extension::<P>) } else { None },
        verify: Some(verify::<P>),
    }
}

unsafe extern "C" fn get_extension<P: Plugin>(_plugin: *const abi::snooze_plugin, id: *const c_char) -> *const c_void {
    // SAFETY: the host passes NUL-terminated text, or NULL.
    let is_source = !id.is_null() && unsafe { CStr::from_ptr(id) } == abi::SNOOZE_EXTENSION_SOURCE;
    match P::SOURCE {
        Some(source) if is_source => (&raw const *source.0).cast(),
        _ => std::ptr::null(),
    }
}

/// The table of a plugin that is a source.
pub(crate) struct SourceOf<P>(PhantomData<P>);

impl<P: Source> SourceOf<P> {
    pub(crate) const TABLE: &'static abi::snooze_source = &abi::snooze_source {
        struct_size: size_of::<abi::snooze_source>() as u32,
        reserved: 0,
        run: Some(run::<P>),
        stop: Some(stop::<P>),
        over: Some(over::<P>),
    };
}

unsafe extern "C" fn run<P: Source>(
    plugin: *const abi::snooze_plugin,
    source: *const abi::snooze_source_host,
) -> abi::snooze_status {
    // SAFETY: as in `activate`.
    let body = unsafe { body::<P>(plugin) };
    on_body(body, || {
        // SAFETY: the host's table, on the thread that it belongs to, until this returns.
        let watching = unsafe { Watching::new(source) };
        body.plugin.run(&watching).map_or_else(|e| fail(body.host, &e), |()| abi::SNOOZE_OK)
    })
}

unsafe extern "C" fn stop<P: Source>(plugin: *const abi::snooze_plugin) {
    // SAFETY: as in `activate`.
    let body = unsafe { body::<P>(plugin) };
    // One that panicked is stopped all the same: its run may still be waiting.
    guard(body.host, || {
        body.plugin.stop();
        abi::SNOOZE_OK
    });
}

unsafe extern "C" fn over<P: Source>(plugin: *const abi::snooze_plugin, over: *const abi::snooze_over) {
    // SAFETY: as in `activate`; the record lives until this returns.
    let (body, over) = unsafe { (body::<P>(plugin), &*over) };
    on_body(body, || {
        body.plugin.over(EventId(over.event_id), Over::from_raw(over.outcome));
        abi::SNOOZE_OK
    });
}

/// # Safety
/// `plugin` is a table made by `create::<P>` and not yet destroyed.
unsafe fn body<'a, P: Plugin>(plugin: *const abi::snooze_plugin) -> &'a Body<P> {
    // SAFETY: `ctx` of such a table points at its own body.
    unsafe { &*(*plugin).ctx.cast::<Body<P>>() }
}

/// Guards a call on an instance: a poisoned one answers SNOOZE_E_STATE, a panic poisons it.
fn on_body<P: Plugin>(body: &Body<P>, work: impl FnOnce() -> abi::snooze_status) -> abi::snooze_status {
    if body.poisoned.load(Ordering::Acquire) {
        return body.host.report_error(abi::SNOOZE_E_STATE, "the instance panicked earlier and is not called again");
    }
    let status = guard(body.host, work);
    if status == abi::SNOOZE_E_PANIC {
        body.poisoned.store(true, Ordering::Release);
    }
    status
}

unsafe extern "C" fn activate<P: Plugin>(plugin: *const abi::snooze_plugin) -> abi::snooze_status {
    // SAFETY: the host calls with a live table of this class.
    let body = unsafe { body::<P>(plugin) };
    on_body(body, || body.plugin.activate().map_or_else(|e| fail(body.host, &e), |()| abi::SNOOZE_OK))
}

unsafe extern "C" fn warm_up<P: Plugin>(plugin: *const abi::snooze_plugin) {
    // SAFETY: as in `activate`.
    let body = unsafe { body::<P>(plugin) };
    on_body(body, || {
        body.plugin.warm_up();
        abi::SNOOZE_OK
    });
}

unsafe extern "C" fn on_event<P: Plugin>(
    plugin: *const abi::snooze_plugin,
    event: *const abi::snooze_event,
    call: *const abi::snooze_call,
) -> abi::snooze_status {
    // SAFETY: as in `activate`; event and call live until this returns.
    let (body, event, call) = unsafe { (body::<P>(plugin), &*event, &*call) };
    on_body(body, || {
        // SAFETY: as above.
        let (event, call) = unsafe { (Event::new(body.host, event), Call::new(body.host, call)) };
        match body.plugin.on_event(&event, &call) {
            Ok(Outcome::Handled(evidence)) => {
                call.set_result(&evidence);
                abi::SNOOZE_OK
            }
            Ok(Outcome::Declined(reason)) => {
                call.set_result(&serde_json::json!({ "declined": reason }));
                abi::SNOOZE_SKIPPED
            }
            Err(error) => {
                if let Some(result) = error.result() {
                    call.set_result(result);
                }
                fail(body.host, &error)
            }
        }
    })
}

unsafe extern "C" fn verify<P: Plugin>(
    plugin: *const abi::snooze_plugin,
    event: *const abi::snooze_event,
    call: *const abi::snooze_call,
) -> abi::snooze_status {
    // SAFETY: as in `on_event`.
    let body = unsafe { body::<P>(plugin) };
    on_body(body, || {
        // SAFETY: event and call live until this returns.
        let (event, call) = unsafe { (Event::new(body.host, event), Call::new(body.host, call)) };
        match body.plugin.verify(&event, &call) {
            Ok(Verification::Verified(evidence)) => {
                call.set_result(&evidence);
                abi::SNOOZE_OK
            }
            Ok(Verification::Unknown) => abi::SNOOZE_SKIPPED,
            Err(error) => {
                if let Some(result) = error.result() {
                    call.set_result(result);
                }
                fail(body.host, &error)
            }
        }
    })
}

unsafe extern "C" fn on_cancel<P: Plugin>(
    plugin: *const abi::snooze_plugin,
    call: *const abi::snooze_call,
    reason: u32,
) {
    // SAFETY: as in `on_event`.
    let body = unsafe { body::<P>(plugin) };
    on_body(body, || {
        if let Some(reason) = Cancel::from_raw(reason) {
            // SAFETY: the call lives until this returns.
            body.plugin.on_cancel(&unsafe { Call::new(body.host, call) }, reason);
        }
        abi::SNOOZE_OK
    });
}

unsafe extern "C" fn deactivate<P: Plugin>(plugin: *const abi::snooze_plugin) {
    // SAFETY: as in `activate`.
    let body = unsafe { body::<P>(plugin) };
    // A poisoned instance is deactivated all the same: its threads must be joined.
    guard(body.host, || {
        body.plugin.deactivate();
        abi::SNOOZE_OK
    });
}

unsafe extern "C" fn destroy<P: Plugin>(plugin: *const abi::snooze_plugin) {
    // SAFETY: the host destroys once; the box was made by `create::<P>`.
    let body = unsafe { Box::from_raw((*plugin).ctx.cast::<Body<P>>()) };
    let host = body.host;
    guard(host, move || {
        drop(body);
        abi::SNOOZE_OK
    });
}

/// Joins literals to a C string constant: `c_str!(env!("CARGO_PKG_VERSION"))`.
#[macro_export]
macro_rules! c_str {
    ($($text:expr),+) => {{
        const TEXT: &::std::ffi::CStr =
            match ::std::ffi::CStr::from_bytes_with_nul(concat!($($text),+, "\0").as_bytes()) {
                Ok(text) => text,
                Err(_) => panic!("a NUL inside the text"),
            };
        TEXT
    }};
}

/// Exports the entry record for one or more plugin types.
#[macro_export]
macro_rules! export {
    ($($plugin:ty),+ $(,)?; vendor: $vendor:expr, license: $license:expr, url: $url:expr $(,)?) => {
        #[allow(unsafe_code)]
        const _: () = {
            use $crate::private::{ClassList, ClassOf, abi};
            const COUNT: usize = [$(stringify!($plugin)),+].len();
            static CLASSES: ClassList<COUNT> = ClassList([$(ClassOf::<$plugin>::CLASS as *const abi::snooze_class),+]);

            /// The one symbol that the host looks for.
            #[used]
            #[unsafe(no_mangle)]
            #[allow(non_upper_case_globals)]
            pub static snooze_plugin_entry_v1: abi::snooze_entry = abi::snooze_entry {
                magic: abi::SNOOZE_ENTRY_MAGIC,
                abi_major: abi::SNOOZE_ABI_MAJOR,
                abi_minor_built: abi::SNOOZE_ABI_MINOR,
                abi_minor_required: 0,
                pointer_bits: 64,
                struct_size: size_of::<abi::snooze_entry>() as u32,
                flags: 0,
                surface_digest: abi::SNOOZE_ABI_DIGEST,
                reserved: [0; 4],
                classes: CLASSES.0.as_ptr(),
                class_count: COUNT,
                vendor: $vendor.as_ptr(),
                license: $license.as_ptr(),
                url: $url.as_ptr(),
                sdk: $crate::SDK.as_ptr(),
            };
        };
        $crate::export_surface!();
    };
}

/// Hands out the reflected surface text, so that a refusal can name the member that differs.
#[cfg(feature = "surface")]
#[doc(hidden)]
#[macro_export]
macro_rules! export_surface {
    () => {
        /// # Safety
        /// `out` is writable.
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn snooze_rust_surface_v1(out: *mut $crate::abi::snooze_str) {
            // SAFETY: the host made `out` writable; the text lives as long as the library.
            unsafe { *out = $crate::private::surface_text() };
        }
    };
}

/// Nothing is exported without the feature.
#[cfg(not(feature = "surface"))]
#[doc(hidden)]
#[macro_export]
macro_rules! export_surface {
    () => {};
}

/// The reflected surface of the ABI this library was built against, made at the first call.
#[cfg(feature = "surface")]
pub fn surface_text() -> abi::snooze_str {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = catch_unwind(|| TEXT.get_or_init(abi::surface::surface).as_str()).unwrap_or_default();
    crate::raw::lend(text)
}
