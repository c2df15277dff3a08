//! The life cycle of an instance as a pure state machine: which call is legal when.
//! Inputs: a state and what happened. Outputs: the next state, or that it is not legal. No I/O.

use serde::Serialize;
use std::sync::atomic::{AtomicU8, Ordering};

/// Where an instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
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

impl Lifecycle {
    const ALL: [Self; 5] = [Self::Created, Self::Active, Self::Quarantined, Self::Inactive, Self::Destroyed];
}

/// Where an instance stands, shared between threads of any priority: nobody ever waits for it.
#[derive(Debug)]
pub struct Standing(AtomicU8);

impl Standing {
    /// Stands here.
    pub const fn new(state: Lifecycle) -> Self {
        Self(AtomicU8::new(state as u8))
    }

    /// Where it stands now.
    pub fn get(&self) -> Lifecycle {
        // Only values of the enumeration are ever stored.
        Lifecycle::ALL.get(usize::from(self.0.load(Ordering::Acquire))).copied().unwrap_or(Lifecycle::Destroyed)
    }

    /// Takes a step when it is legal. Gives whether it was: of several threads, one takes it.
    pub fn step(&self, step: Step) -> bool {
        loop {
            let state = self.get();
            let Some(next) = state.after(step) else { return false };
            if self.0.compare_exchange(state as u8, next as u8, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_step_is_taken_once_and_every_state_can_be_stored() {
        for state in Lifecycle::ALL {
            assert_eq!(Standing::new(state).get(), state);
        }
        let standing = Standing::new(Lifecycle::Active);
        assert!(standing.step(Step::Deactivated) && !standing.step(Step::Deactivated));
        assert!(standing.step(Step::Destroyed) && !standing.step(Step::Misbehaved));
    }

    #[test]
    fn only_an_active_instance_takes_events() {
        let taking: Vec<_> = Lifecycle::ALL.into_iter().filter(|s| s.takes_events()).collect();
        assert_eq!(taking, [Lifecycle::Active]);
        assert_eq!(Lifecycle::Created.after(Step::Activated), Some(Lifecycle::Active));
        assert_eq!(Lifecycle::Inactive.after(Step::Activated), Some(Lifecycle::Active));
    }
}
