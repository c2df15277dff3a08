//! From a trusted file to a mapped library: dlopen, once a file, never closed.
//!
//! Inputs: a [`Trusted`] file that `peek` accepted. Outputs: the class of a name, alive for the
//! process. Must never dlclose (a plugin's thread, thread key or static destructor left behind would
//! crash), and never search a path: what was checked is what is opened, through its descriptor.
#![allow(unsafe_code)]

use super::peek::{self, Head};
use super::refusal::Refusal;
use super::trust::Trusted;
use crate::sys::fault::{self, Doing};
use cloudsnooze_abi as abi;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use serde::Serialize;
use std::ffi::{CStr, c_char};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Mutex;

/// Most classes a library may hold.
const CLASSES_MAX: usize = 64;

/// A mapped library. Lives as long as the process.
pub struct Loaded {
    /// Where it lies.
    pub path: PathBuf,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Its entry record's head.
    pub head: Head,
    identity: (u64, u64, u64, i64),
    entry: *const abi::snooze_entry,
}

// SAFETY: the entry record is static and immutable.
unsafe impl Send for Loaded {}
// SAFETY: as above.
unsafe impl Sync for Loaded {}

/// What a class says of itself.
#[derive(Clone, Debug, Serialize)]
pub struct ClassInfo {
    /// Reverse-domain identifier.
    pub id: String,
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// One sentence.
    pub description: String,
    /// Capabilities by name.
    pub capabilities: Vec<&'static str>,
    /// Who made it.
    pub vendor: String,
    /// SPDX expression.
    pub license: String,
    /// What it was built with.
    pub sdk: String,
}

static LOADED: Mutex<Vec<&'static Loaded>> = Mutex::new(Vec::new());

/// Maps a library, or finds the mapping of the same unchanged file.
///
/// # Errors
/// What `peek` says, what the dynamic linker says, or the ABI member that differs.
pub fn load(file: Trusted) -> Result<&'static Loaded, Refusal> {
    let mut all = LOADED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // What lies on disk now may differ from what was mapped; identity and hash decide.
    if let Some(known) = all.iter().find(|l| l.identity == file.identity && l.sha256 == file.sha256) {
        return Ok(known);
    }
    let loaded = map(file, open)?;
    all.push(loaded);
    Ok(loaded)
}

/// Maps a library on the calling thread, which its constructors may change, whether or not it is mapped already. For
/// finding out what it does.
///
/// # Errors
/// As [`load`].
pub fn load_here(file: Trusted) -> Result<&'static Loaded, Refusal> {
    map(file, open_here)
}

fn map(file: Trusted, open: fn(&Trusted) -> Result<Library, Refusal>) -> Result<&'static Loaded, Refusal> {
    let head = peek::peek(&file.bytes)?;
    let library = open(&file)?;
    // SAFETY: the symbol is a data object of this type: `peek` checked its magic, version and size.
    let entry = unsafe { library.get::<*const abi::snooze_entry>(c"snooze_plugin_entry_v1") }
        .map_err(|e| Refusal::Unresolved(e.to_string()))?
        .into_raw()
        .cast::<abi::snooze_entry>()
        .cast_const();
    check_surface(&library, head)?;
    std::mem::forget(library);
    // The number of the descriptor is the name under which glibc knows the library: reused, it would
    // give the next plugin this one's handle.
    std::mem::forget(file.file);
    let loaded = Loaded { path: file.path, sha256: file.sha256, head, identity: file.identity, entry };
    let loaded: &'static Loaded = Box::leak(Box::new(loaded));
    know_where(loaded);
    Ok(loaded)
}

/// Has it remembered where the library's code lies: a thread that the plugin started may crash there.
fn know_where(loaded: &'static Loaded) {
    let (entry, name) = (loaded.entry as usize, loaded.path.to_str().unwrap_or_default());
    if let Some((start, end)) = fault::mapping_around(entry) {
        fault::know_library(start, end, name);
    }
}

/// RTLD_NODELETE (glibc dlfcn.h): stays mapped even if somebody closes it.
const RTLD_NODELETE: i32 = 0x1000;

fn open(file: &Trusted) -> Result<Library, Refusal> {
    // Leaked: its last words would be written when nothing else is left.
    let whose: &'static str = Box::leak(file.path.display().to_string().into_boxed_str());
    let load = || {
        let _doing = fault::doing(Doing { instance: whose, phase: "load", event: [0; 16] });
        open_here(file)
    };
    // On a thread of its own: a constructor built with -ffast-math changes the floating-point mode of
    // the thread that loads it, and that thread ends here.
    let opened = std::thread::scope(|scope| {
        std::thread::Builder::new().spawn_scoped(scope, load).map(std::thread::ScopedJoinHandle::join)
    });
    let joined = opened.map_err(|error| Refusal::Unresolved(format!("no thread to load it on: {error}")))?;
    joined.unwrap_or_else(|_| Err(Refusal::Unresolved("the loading thread panicked".into())))
}

fn open_here(file: &Trusted) -> Result<Library, Refusal> {
    let path = format!("/proc/self/fd/{}", file.file.as_raw_fd());
    // SAFETY: the file passed the trust checks; running its constructors is what loading means.
    let opened = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) };
    // The linker names the descriptor; people want the file.
    opened.map_err(|error| {
        let text = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        Refusal::Unresolved(text.replace(&path, &file.path.display().to_string()))
    })
}

/// Rust plugins can hand over the reflected text of the ABI they were built against: the growth rule on
/// the two texts names the member that differs.
fn check_surface(library: &Library, head: Head) -> Result<(), Refusal> {
    type Surface = unsafe extern "C" fn(*mut abi::snooze_str);
    // SAFETY: the SDK exports this symbol with this type only.
    let Ok(surface) = (unsafe { library.get::<Surface>(c"snooze_rust_surface_v1") }) else { return Ok(()) };
    let mut text = abi::snooze_str { ptr: std::ptr::null(), len: 0 };
    // SAFETY: `text` is writable; the library lends its text for the life of the process.
    let theirs = unsafe {
        surface(&raw mut text);
        if text.ptr.is_null() { &[][..] } else { std::slice::from_raw_parts(text.ptr.cast::<u8>(), text.len) }
    };
    let theirs = String::from_utf8_lossy(theirs);
    let ours = abi::surface::surface();
    // Equal minors compare either way; of different ones the smaller must stand in the greater.
    let newer = head.minor_built > abi::SNOOZE_ABI_MINOR;
    let (old, new) = if newer { (ours.as_str(), &*theirs) } else { (&*theirs, ours.as_str()) };
    match abi::growth::compare(old, new) {
        abi::growth::Growth::Broke(member) => Err(Refusal::Surface(member)),
        abi::growth::Growth::Same | abi::growth::Growth::Grew => Ok(()),
    }
}

impl Loaded {
    /// The class of this name.
    ///
    /// # Errors
    /// NAME when the library holds none of this name, INCOMPLETE when its record lacks what is needed.
    pub fn class(&self, name: &str) -> Result<&'static abi::snooze_class, Refusal> {
        let classes = self.classes();
        let found = classes.iter().copied().find(|c| c_text(c.name) == name);
        let Some(class) = found else {
            let found = classes.iter().map(|c| c_text(c.name)).collect();
            return Err(Refusal::Name { expected: name.to_owned(), found });
        };
        let missing = [
            ("a size of at least 64 bytes", (class.struct_size as usize) < size_of::<abi::snooze_class>()),
            ("an id", c_text(class.id).is_empty()),
            ("a version", c_text(class.version).is_empty()),
            ("create", class.create.is_none()),
        ];
        match missing.iter().find(|(_, missing)| *missing) {
            Some((what, _)) => Err(Refusal::Incomplete { name: name.to_owned(), missing: (*what).to_owned() }),
            None => Ok(class),
        }
    }

    fn classes(&self) -> Vec<&'static abi::snooze_class> {
        // SAFETY: the record is of this version or newer (peek), its list is static and as long as it
        // says; the count is capped.
        unsafe {
            let entry = &*self.entry;
            if entry.classes.is_null() {
                return Vec::new();
            }
            let count = entry.class_count.min(CLASSES_MAX);
            (0..count).filter_map(|n| (*entry.classes.add(n)).as_ref()).collect()
        }
    }

    /// What the library says of a class of it.
    pub fn info(&self, class: &abi::snooze_class) -> ClassInfo {
        // SAFETY: static record, as in `classes`.
        let entry = unsafe { &*self.entry };
        let named = [
            (abi::SNOOZE_CAP_REALTIME, "realtime"),
            (abi::SNOOZE_CAP_REENTRANT, "reentrant"),
            (abi::SNOOZE_CAP_ASYNC, "async"),
            (abi::SNOOZE_CAP_PROCESS_OK, "process-ok"),
            (abi::SNOOZE_CAP_UNDO, "undo"),
            (abi::SNOOZE_CAP_DRILL, "drill"),
            (abi::SNOOZE_CAP_SOURCE, "source"),
        ];
        ClassInfo {
            id: c_text(class.id),
            name: c_text(class.name),
            version: c_text(class.version),
            description: c_text(class.description),
            capabilities: named.iter().filter(|(bit, _)| class.caps & bit != 0).map(|(_, name)| *name).collect(),
            vendor: c_text(entry.vendor),
            license: c_text(entry.license),
            sdk: c_text(entry.sdk),
        }
    }
}

/// A static text of a plugin; empty for NULL, at most 4 KiB, invalid UTF-8 replaced.
fn c_text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the ABI promises NUL-terminated static text.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    text.chars().take(4096).collect()
}

/// The configuration schema of a class; None when it takes no configuration.
pub fn config_schema(class: &abi::snooze_class) -> Option<String> {
    // SAFETY: [main] function without arguments; its text lives as long as the library.
    let text = unsafe { class.config_schema?() };
    if text.is_null() {
        return None;
    }
    // SAFETY: NUL-terminated by the ABI.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}
