//! What happened, on its way from the pool to the normal thread that journals, logs and tells.
//!
//! Inputs: notes pushed by real-time threads. Outputs: the same notes, in order. Must never wait on the
//! pushing side: when the box is full the note is dropped and counted.

use super::engine::Job;
use super::report::{Closed, Outcome};
use crate::event::Event;
use crate::host::Instance;
use crossbeam_queue::ArrayQueue;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

/// Notes the box holds.
const NOTES_MAX: usize = 8192;

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
    notes: ArrayQueue<Note>,
    dropped: AtomicU64,
    reader: OnceLock<Thread>,
}

impl Default for Outbox {
    fn default() -> Self {
        Self { notes: ArrayQueue::new(NOTES_MAX), dropped: AtomicU64::new(0), reader: OnceLock::new() }
    }
}

impl Outbox {
    /// Puts a note in and wakes the reader.
    pub fn push(&self, note: Note) {
        if self.notes.push(note).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(reader) = self.reader.get() {
            reader.unpark();
        }
    }

    /// Names the calling thread as the one to wake.
    pub fn read_here(&self) {
        let _ = self.reader.set(std::thread::current());
    }

    /// Takes the oldest note.
    pub fn pop(&self) -> Option<Note> {
        self.notes.pop()
    }

    /// Whether everything in it was taken.
    pub fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    /// How many notes were dropped since the last call.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}
