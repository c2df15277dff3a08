//! What happened, on its way from the pool to the normal thread that journals, logs and tells.
//!
//! Inputs: notes pushed by real-time threads. Outputs: the same notes, those of one event in order. Must never wait
//! on the pushing side: when the box is full the note is dropped and counted. A flood of events that mean little
//! must not cost the notes of an urgent one: those have room of their own.

use super::engine::Job;
use super::report::{Closed, Outcome};
use crate::event::{Event, Severity};
use crate::host::Instance;
use crossbeam_queue::ArrayQueue;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

/// Notes the box holds of usual events, and of urgent ones.
const NOTES_MAX: usize = 8192;
const URGENT_MAX: usize = 2048;

/// One thing that happened.
pub enum Note {
    /// An event was taken in.
    Published(Arc<Event>),
    /// An event was turned away: its lane is full.
    Refused(Arc<Event>),
    /// An event of an earlier process was taken up again.
    Resumed(Arc<Event>),
    /// A handler was handed to a worker, at this CLOCK_BOOTTIME nanosecond.
    Started(Job<Arc<Instance>>, i64),
    /// Another attempt of it begins; its number.
    Again(Job<Arc<Instance>>, u32),
    /// A handler ended.
    Ended(Arc<Event>, Arc<Outcome<Arc<Instance>>>),
    /// A call that was given up answered after all.
    Late {
        /// "EVENT_TYPE/PLUGIN".
        instance: String,
        /// What it said, and when.
        text: String,
    },
    /// An event is over.
    Done(Box<Closed<Arc<Instance>>>),
    /// A thread of the pool was moved to normal scheduling because its handler burned CPU.
    Demoted {
        /// "EVENT_TYPE/PLUGIN".
        instance: String,
    },
    /// A handler that had promised not to block kept the thread too long once too often: it gets one of its own.
    Misbehaves {
        /// "EVENT_TYPE/PLUGIN".
        instance: String,
    },
}

impl Note {
    /// Whether it tells of a self-test: nobody waits for it.
    pub fn is_of_self_test(&self) -> bool {
        self.event().is_some_and(|event| event.is_self_test())
    }

    /// The event it tells of, where there is one.
    pub fn event(&self) -> Option<&Arc<Event>> {
        match self {
            Self::Published(event) | Self::Resumed(event) | Self::Refused(event) | Self::Ended(event, _) => Some(event),
            Self::Started(job, _) | Self::Again(job, _) => Some(&job.event),
            Self::Done(closed) => Some(&closed.event),
            Self::Late { .. } | Self::Demoted { .. } | Self::Misbehaves { .. } => None,
        }
    }
}

/// The box.
pub struct Outbox {
    usual: ArrayQueue<Note>,
    urgent: ArrayQueue<Note>,
    dropped: AtomicU64,
    reader: OnceLock<Thread>,
}

impl Default for Outbox {
    fn default() -> Self {
        let (usual, urgent) = (ArrayQueue::new(NOTES_MAX), ArrayQueue::new(URGENT_MAX));
        Self { usual, urgent, dropped: AtomicU64::new(0), reader: OnceLock::new() }
    }
}

impl Outbox {
    /// Puts a note in and wakes the reader, but for notes of self-tests: those wait until it looks by itself, within seconds. Waking
    /// it for each took a fifth of what a daemon costs that has nothing to do.
    pub fn push(&self, note: Note) {
        let is_waited_for = !note.is_of_self_test();
        // All notes of an event go the same way: they stay in order.
        let is_urgent = note.event().is_some_and(|event| event.severity >= Severity::Urgent) && is_waited_for;
        let notes = if is_urgent { &self.urgent } else { &self.usual };
        if notes.push(note).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if is_waited_for && let Some(reader) = self.reader.get() {
            reader.unpark();
        }
    }

    /// Names the calling thread as the one to wake.
    pub fn read_here(&self) {
        let _ = self.reader.set(std::thread::current());
    }

    /// Takes the oldest note of an urgent event, else the oldest of all.
    pub fn pop(&self) -> Option<Note> {
        self.urgent.pop().or_else(|| self.usual.pop())
    }

    /// Whether everything in it was taken.
    pub fn is_empty(&self) -> bool {
        self.usual.is_empty() && self.urgent.is_empty()
    }

    /// How many notes were dropped since the last call.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Moment;
    use serde_json::json;

    fn note(severity: &str) -> Note {
        let json = json!({ "id": "01a21534-78f2-76da-87f7-ce286d2359f3", "type": "custom.x", "severity": severity,
            "time": "2026-01-02T03:04:05Z", "data": { "action": "none", "noticeKind": "advisory" } });
        let event = Event::from_json(&json, Moment { boot_ns: 0, wall_ns: 0 }).expect("an event");
        Note::Published(Arc::new(event))
    }

    #[test]
    fn a_flood_costs_no_note_of_an_urgent_event_and_is_counted() {
        let outbox = Outbox::default();
        (0..NOTES_MAX + 3).for_each(|_| outbox.push(note("warning")));
        outbox.push(note("urgent"));
        assert_eq!(outbox.take_dropped(), 3);
        let first = outbox.pop().expect("a note");
        assert_eq!(first.event().map(|event| event.severity), Some(Severity::Urgent));
        assert_eq!(std::iter::from_fn(|| outbox.pop()).count(), NOTES_MAX);
    }
}
