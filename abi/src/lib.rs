//! The CloudSnooze plugin ABI, version 1.
//!
//! Responsibilities: the layouts, constants and rules that a plugin (C, C++, Rust, anything with a C
//! foreign function interface) and the host agree on. The C headers in `include/cloudsnooze/` are
//! generated from these files, one header a file. Nothing here has behaviour beyond constants.
//!
//! Must never: gain a dependency (the optional `layout` feature measures, it does not change
//! anything), hold an enum that crosses the border (an unknown value would be undefined behaviour),
//! or reorder, remove or retype a member. Growth is appending to a size-prefixed table, one minor
//! version up; `abi/surface/1.N.txt` is the golden record that proves it. An extension (`source`) is no part of
//! that surface: its id is its version, and its golden record lies in `abi/extensions/`.
//!
//! Thread tags in the comments: `[main]` the control thread, normal priority, never two calls for one
//! instance at once; `[dispatch]` a shared real-time thread; `[worker]` a pool thread of its own,
//! real-time at the start, may block; `[any]` any thread, also the plugin's own; `[rt]` safe inside a
//! real-time `on_event`: no lock held by a normal thread, bounded.
#![allow(non_camel_case_types)]
#![cfg_attr(not(test), no_std)]
#![warn(missing_docs)]

mod digest;
mod event;
mod host;
mod plugin;
mod source;
mod status;
mod text;
mod version;

#[cfg(feature = "layout")]
extern crate std;
#[cfg(feature = "layout")]
pub mod growth;
#[cfg(feature = "layout")]
pub mod surface;

pub use digest::*;
pub use event::*;
pub use host::*;
pub use plugin::*;
pub use source::*;
pub use status::*;
pub use text::*;
pub use version::*;
