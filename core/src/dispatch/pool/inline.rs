//! Calls on the thread that has the event, without a worker: handlers that promised not to block.
//!
//! The first call of an event begins before anything is noted of it: what is written down in the meantime, some
//! forty cache lines that other work has evicted, would take longer than the call itself. Whoever takes the state
//! next, this thread or another, makes up for it first, so that nobody ever sees an event half known.
//!
//! Inputs: jobs that are `inline`. Outputs: outcomes brought home to the engine. Must never hold the state while
//! the plugin's code runs.

use super::crew::{INLINE_MAX_NS, late};
use super::{Ongoing, Pool, Shared, State};
use crate::dispatch::engine::Job;
use crate::dispatch::outbox::Note;
use crate::dispatch::plan::Plan;
use crate::dispatch::run;
use crate::event::Event;
use crate::host::CallCell;
use crate::sys::clock;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

/// A call that began before the engine knew of its event.
pub(super) struct Begun {
    job: Job<Shared>,
    plan: Arc<Plan<Shared>>,
    cell: Arc<CallCell>,
}

impl Pool {
    /// The first call of an event when it may begin at once on this thread: it is at rest in here, and the handler
    /// promised not to block.
    #[cfg_attr(target_os = "linux", allow(unsafe_code), unsafe(link_section = "snooze_hot"))]
    pub(super) fn begin(
        &self,
        state: &mut State,
        event: &Arc<Event>,
        plan: &Arc<Plan<Shared>>,
    ) -> Option<(Job<Shared>, Arc<CallCell>)> {
        let job = state.engine.begin(event, plan, clock::now())?;
        let cell = run::open(&job, 1);
        state.begun = Some(Begun { job: job.clone(), plan: Arc::clone(plan), cell: Arc::clone(&cell) });
        // Should it never come back, `look_after` must know that there is something to look after.
        self.0.busy_events.store(1, Ordering::Release);
        Some((job, cell))
    }

    /// Tells the engine of the event whose call began ahead of it.
    pub(super) fn catch_up(&self, state: &mut State) {
        let Some(Begun { job, plan, cell }) = state.begun.take() else { return };
        state.notes.push(Note::Published(Arc::clone(&job.event)));
        let instance = Arc::clone(&job.handler.instance);
        state.calls.push(Ongoing {
            call: job.call,
            worker: None,
            instance,
            cell,
            cancelled: None,
            is_self_test: job.event.is_self_test(),
        });
        let State { engine, acts, .. } = state;
        engine.publish_begun(job, plan, clock::now(), acts);
        self.carry_out(state);
    }

    /// Runs a job on this thread and brings its outcome home. Gives the state, locked again.
    #[cfg_attr(target_os = "linux", allow(unsafe_code), unsafe(link_section = "snooze_hot"))]
    pub(super) fn run_inline(&self, job: &Job<Shared>, cell: Arc<CallCell>) -> MutexGuard<'_, State> {
        let finished = self.attempt(job, cell);
        let took_ns = finished.ended_boot_ns - finished.started_boot_ns;
        let broke_promise = took_ns > INLINE_MAX_NS && job.handler.inline.overran();
        let mut state = self.lock();
        state.notes.push(Note::Started(job.clone(), finished.started_boot_ns));
        if broke_promise {
            state.notes.push(Note::Misbehaves { instance: job.handler.instance_name.clone() });
        }
        let Some(at) = state.calls.iter().position(|c| c.call == job.call) else {
            state.notes.push(late(job, &finished));
            return state;
        };
        state.calls.swap_remove(at);
        self.take_home(&mut state, job.call, finished);
        state
    }
}
