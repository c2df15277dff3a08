//! The life cycle of an instance as a pure state machine: which call is legal when.
//! Inputs: a state and what happened. Outputs: the next state, or that it is not legal. No I/O.

use serde::Serialize;

/// Where an instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lifecycle {
    /// Made, not yet open for events.
    Created,
    /// Takes events.
    Active,
    /// A call was abandoned or its code panicked: takes no events any more.
    Quarantined,
    /// Deactivated; may be destroyed.
    Inactive,
    /// Gone.
    Destroyed,
}

/// What can happen to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// activate succeeded.
    Activated,
    /// A call outlived its time and grace, or the instance is poisoned.
    Misbehaved,
    /// deactivate returned.
    Deactivated,
    /// destroy returned.
    Destroyed,
}

impl Lifecycle {
    /// The state after `step`; None when the step is not legal here.
    pub const fn after(self, step: Step) -> Option<Self> {
        match (self, step) {
            (Self::Created | Self::Inactive, Step::Activated) => Some(Self::Active),
            (Self::Active | Self::Quarantined, Step::Misbehaved) => Some(Self::Quarantined),
            (Self::Active, Step::Deactivated) => Some(Self::Inactive),
            // An instance that was never active may be destroyed at once (activate failed).
            (Self::Created | Self::Inactive, Step::Destroyed) => Some(Self::Destroyed),
            _ => None,
        }
    }

    /// Whether on_event may be called.
    pub const fn takes_events(self) -> bool {
        matches!(self, Self::Active)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [Lifecycle; 5] =
        [Lifecycle::Created, Lifecycle::Active, Lifecycle::Quarantined, Lifecycle::Inactive, Lifecycle::Destroyed];

    #[test]
    fn nothing_follows_destroy_and_a_quarantined_instance_is_never_destroyed() {
        for step in [Step::Activated, Step::Misbehaved, Step::Deactivated, Step::Destroyed] {
            assert_eq!(Lifecycle::Destroyed.after(step), None);
        }
        // Its code may still be running on the abandoned thread.
        assert_eq!(Lifecycle::Quarantined.after(Step::Deactivated), None);
        assert_eq!(Lifecycle::Quarantined.after(Step::Destroyed), None);
    }

    #[test]
    fn only_an_active_instance_takes_events() {
        let taking: Vec<_> = STATES.into_iter().filter(|s| s.takes_events()).collect();
        assert_eq!(taking, [Lifecycle::Active]);
        assert_eq!(Lifecycle::Created.after(Step::Activated), Some(Lifecycle::Active));
        assert_eq!(Lifecycle::Inactive.after(Step::Activated), Some(Lifecycle::Active));
    }
}
