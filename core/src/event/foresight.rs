//! Types of the events that tell of what may come.
//! Inputs: none. Outputs: the types. They are of the kind `SNOOZE_KIND_OTHER` in the C ABI: a plugin tells them by their name.

use super::EventType;
use cloudsnooze_abi::SNOOZE_KIND_OTHER;

impl EventType {
    // Not among `KNOWN`: a plan for it would lie in locked memory for an event that is in no hurry.
    /// `insight.preemption.risk`: an interruption is likely soon, by what the history says.
    pub const PREEMPTION_RISK: Self = Self::known("insight.preemption.risk", SNOOZE_KIND_OTHER);
}
