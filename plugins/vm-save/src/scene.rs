//! All machines of an event at once, a thread each.
//!
//! Inputs: what is to be done with one. Outputs: what became of each, in their order. Must never let one machine's trouble
//! keep the others from their turn.

use crate::clock::Clock;
use crate::disk::Disks;
use crate::notes::{Note, Notes};
use crate::plan::Goal;
use crate::queue::Queue;
use crate::seal::Sealer;
use crate::told::{Ending, Told};
use cloudsnooze_plugin::Error;
use std::thread;

/// What all machines of an event share.
pub(crate) struct Scene<'a> {
    pub(crate) event: &'a str,
    pub(crate) goals: &'a [Goal],
    pub(crate) notes: &'a Notes,
    pub(crate) disks: &'a Disks,
    pub(crate) sealer: &'a Sealer,
    pub(crate) queue: Queue,
}

/// One machine of them.
pub(crate) struct One<'a> {
    pub(crate) scene: &'a Scene<'a>,
    /// Its place.
    pub(crate) at: usize,
    pub(crate) goal: &'a Goal,
    pub(crate) clock: &'a Clock,
    pub(crate) told: Told,
}

impl One<'_> {
    pub(crate) fn note(&self) -> Option<Note> {
        self.scene.notes.get(&self.goal.name)
    }

    pub(crate) fn put(&self, note: Note) {
        self.scene.notes.put(&self.goal.name, note);
    }

    pub(crate) fn forget(&self) {
        self.scene.notes.remove(&self.goal.name);
    }
}

impl<'a> Scene<'a> {
    /// Does something for each machine.
    pub(crate) fn each(
        &'a self,
        clock: &'a Clock,
        work: impl Fn(&mut One<'a>) -> Result<Ending, Error> + Sync,
    ) -> Vec<Told> {
        let one = |at: usize, goal: &'a Goal| {
            let mut one = One { scene: self, at, goal, clock, told: Told::new(&goal.name) };
            one.told.ending = work(&mut one).unwrap_or_else(Ending::Failed);
            // One that was only checked keeps its place: those behind it would have to wait for its bytes.
            if !matches!(one.told.ending, Ending::Checked) {
                self.queue.leave(at);
            }
            one.told
        };
        thread::scope(|scope| {
            let one = &one;
            let spawn = |(at, goal)| {
                let thread = thread::Builder::new().name("vm-one".to_owned());
                (at, goal, thread.spawn_scoped(scope, move || one(at, goal)))
            };
            let threads: Vec<_> = self.goals.iter().enumerate().map(spawn).collect();
            let told = threads.into_iter().map(|(at, goal, thread)| match thread.map(thread::ScopedJoinHandle::join) {
                Ok(Ok(told)) => told,
                Ok(Err(_)) => {
                    self.queue.leave(at);
                    let mut told = Told::new(&goal.name);
                    told.ending = Ending::Failed(Error::new("its thread ended in a panic"));
                    told
                }
                // No thread could be had for it.
                Err(_) => one(at, goal),
            });
            told.collect()
        })
    }
}
