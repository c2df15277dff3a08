//! What a notice asks of a plugin that keeps something safe.
//!
//! Inputs: the event's type, what the cloud will do. Outputs: a [`Purpose`]. Must never take a withdrawal for a notice.

use crate::Event;

/// What an event asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The machine goes away: everything that is configured.
    Secure,
    /// It may go away later, freezes and comes back, or this is a drill: write out what there is time for, leave no trace.
    Ahead,
    /// It stays after all: put back what was changed.
    Undo,
}

impl Purpose {
    /// Decides by the type of the event, and what the cloud will do.
    pub fn of(event_type: &str, cloud_action: &str, is_cancellation: bool) -> Self {
        if is_cancellation || event_type.ends_with(".cancelled") {
            Self::Undo
        } else if event_type.ends_with(".rebalance") || event_type.ends_with(".freeze") || cloud_action == "freeze" {
            Self::Ahead
        } else {
            Self::Secure
        }
    }
}

impl Event<'_> {
    /// What it asks of a plugin that keeps something safe.
    pub fn purpose(&self) -> Purpose {
        match Purpose::of(self.event_type(), self.action(), self.is_cancellation()) {
            Purpose::Secure if self.is_drill() => Purpose::Ahead,
            purpose => purpose,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Purpose;

    #[test]
    fn what_comes_back_is_only_written_out() {
        assert_eq!(Purpose::of("cloud.spot.interrupt", "terminate", false), Purpose::Secure);
        assert_eq!(Purpose::of("cloud.maintenance.reboot", "reboot", false), Purpose::Secure);
        assert_eq!(Purpose::of("system.shutdown", "", false), Purpose::Secure);
        assert_eq!(Purpose::of("cloud.spot.rebalance", "", false), Purpose::Ahead);
        assert_eq!(Purpose::of("cloud.maintenance.freeze", "freeze", false), Purpose::Ahead);
        assert_eq!(Purpose::of("cloud.maintenance.reboot", "freeze", false), Purpose::Ahead);
    }

    #[test]
    fn a_withdrawn_notice_is_undone_whatever_it_was() {
        assert_eq!(Purpose::of("cloud.spot.interrupt.cancelled", "terminate", false), Purpose::Undo);
        assert_eq!(Purpose::of("cloud.spot.rebalance.cancelled", "", false), Purpose::Undo);
        assert_eq!(Purpose::of("custom.evacuate", "", true), Purpose::Undo);
    }
}
