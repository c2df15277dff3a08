//! The handler that all designs call: one function of a library, through a pointer, as a plugin is called.
//!
//! Inputs: the directory with `handler.so`. Outputs: a call. Must never be inlined into a design: the call through the
//! pointer is what all have in common.
#![allow(unsafe_code)]

use crate::slot::Slot;
use libloading::os::unix::Library;
use std::io;
use std::path::Path;

/// The function `latency_handler`.
#[derive(Clone, Copy, Debug)]
pub struct Handler(unsafe extern "C" fn(*const Slot));

impl Handler {
    /// Loads `handler.so` from the directory of parts; it stays loaded.
    ///
    /// # Errors
    /// What the dynamic linker says.
    pub fn load(parts: &Path) -> io::Result<Self> {
        // SAFETY: our own library, without constructors.
        let library = unsafe { Library::new(parts.join("handler.so")) }.map_err(io::Error::other)?;
        // SAFETY: handler/handler.c gives the symbol this type.
        let function = unsafe { *library.get(c"latency_handler").map_err(io::Error::other)? };
        std::mem::forget(library);
        Ok(Self(function))
    }

    /// Calls it.
    pub fn call(self, slot: &Slot) {
        // SAFETY: it writes the slot's two numbers and wakes who waits; both are atomic on this side.
        unsafe { (self.0)(slot) }
    }
}

/// The directory of parts (`handler.so`, plugins), the first argument of every participant.
///
/// # Errors
/// The argument is missing.
pub fn parts_directory() -> io::Result<std::path::PathBuf> {
    std::env::args_os()
        .nth(1)
        .map(Into::into)
        .ok_or_else(|| io::Error::other("the first argument is the parts directory"))
}
