//! Keeps this machine's own life in the history, on the recorder's thread.
//!
//! Inputs: which machine this is, once somebody knows; events. Outputs: rows for the journal, every ten minutes and at an end. Must
//! never wake a thread by itself: the recorder asks when it is awake anyway.

use super::journal::Journal;
use super::life::{Here, OwnLife, SEEN_EVERY_NS};
use super::store::Row;
use crate::event::{Event, Moment};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is known of this machine's life.
#[derive(Debug, Default)]
pub(super) struct Keeper(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    here: Option<Here>,
    own: Option<OwnLife>,
    /// CLOCK_BOOTTIME of the next note.
    due_boot_ns: i64,
}

impl Keeper {
    /// Says which machine this is. The first word counts.
    pub(super) fn found(&self, here: Here) {
        self.lock().here.get_or_insert(here);
    }

    /// Notes that the machine is there, when it is time to; `is_last`: whatever the time.
    ///
    /// # Errors
    /// The history cannot be asked what it knows of this machine. It is asked again after the pause.
    pub(super) fn look(&self, journal: &Journal, now: Moment, is_last: bool) -> Result<(), String> {
        let mut state = self.lock();
        if !is_last && now.boot_ns < state.due_boot_ns {
            return Ok(());
        }
        if state.begin(journal, now)?
            && let Some(own) = &mut state.own
        {
            journal.note(Row::Life(own.seen(now.boot_ns).clone()));
            state.due_boot_ns = now.boot_ns.saturating_add(SEEN_EVERY_NS);
        }
        Ok(())
    }

    /// Notes what an event says of the machine's end.
    pub(super) fn told(&self, journal: &Journal, event: &Event, now: Moment) {
        let mut state = self.lock();
        // What cannot be read now is read at the next look; the event itself is in the history.
        if state.begin(journal, now).is_ok()
            && let Some(life) = state.own.as_mut().and_then(|own| own.told(event, now.boot_ns))
        {
            journal.note(Row::Life(life.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Gives whether the life is known.
    fn begin(&mut self, journal: &Journal, now: Moment) -> Result<bool, String> {
        let (None, Some(here)) = (&self.own, &self.here) else { return Ok(self.own.is_some()) };
        // Should that fail, or the clock not be set yet: a look a minute is enough.
        self.due_boot_ns = now.boot_ns.saturating_add(SEEN_EVERY_NS / 10);
        let known = journal.life_of(&here.instance_id)?;
        if let Some((own, before)) = OwnLife::begin(here, known, now) {
            before.into_iter().for_each(|life| journal.note(Row::Life(life)));
            self.own = Some(own);
            // It may have been an event that asked first: the life itself is still to be noted.
            self.due_boot_ns = now.boot_ns;
        }
        Ok(self.own.is_some())
    }
}
