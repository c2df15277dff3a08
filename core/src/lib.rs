//! The way from the bytes of a notice to the first instruction of a handler, and what it stands on.
//!
//! `source` asks a cloud's metadata service, `normalise` makes an event of what it said, `queue` hands it to `dispatch`, which
//! plans and runs it on its threads, and `host` calls the plugins. `event`, `settings`, `sys` and `log_ring` are leaves. A crate of
//! its own, because it is compiled for speed and the rest of the daemon for size (Cargo.toml of the workspace); `cloudsnooze` passes its
//! modules on, so that `crate::event` is the same there. It must never know the whole configuration, the history or who asks.
//! `docs/ARCHITECTURE.md` has the whole map.

pub mod dispatch;
pub mod event;
pub mod host;
pub mod log_ring;
pub mod normalise;
pub mod queue;
pub mod settings;
pub mod source;
pub mod sys;
