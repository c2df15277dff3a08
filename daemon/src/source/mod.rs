//! Sources: who looks for notices, and how they tell what they see and whether they can see at all.
//!
//! Responsibilities: all that asks a cloud's metadata service is `cloudsnooze-core`'s and passed on here; which cloud this is
//! (`detect`), the machine itself (`logind`, `system`), what plugins tell (`plugin`). Inputs: the kernel, the firmware, plugins,
//! settings. Outputs: events to the sink, health for status. Must never run a plugin, wait for one, or take silence for good
//! news: a source that cannot see says so.

pub use cloudsnooze_core::source::*;

pub mod detect;
pub mod logind;
pub mod plugin;
pub mod system;
