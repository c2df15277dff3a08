//! The decisions of dispatch as a pure state machine: what starts, what is cancelled, what is given
//! up, when an event is over. Time comes in, acts go out.
//!
//! Inputs: published events with their plans, finished calls, the time. Outputs: [`Act`]s. Must never
//! read a clock, touch a thread or call a plugin, so that every schedule can be replayed in a test.

mod run;

use super::plan::{Handler, Plan, Start};
use super::report::{Closed, Ended, Finished, Outcome, Verified};
use crate::event::{Event, EventId, Moment};
use cloudsnooze_abi as abi;
use run::Run;
use std::sync::Arc;

/// Margins the engine keeps. Nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Work ends this long before the cloud acts.
    pub margin_ns: i64,
    /// From cancellation to giving a call up.
    pub grace_ns: i64,
    /// Time for an event whose deadline is now or past (a hibernation begins at once).
    pub immediate_ns: i64,
}

/// What an event had come to when an earlier process ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    /// Instances whose handlers had ended: they do not run again.
    pub ended: Vec<String>,
    /// Attempts that others had begun.
    pub attempts: Vec<(String, u32)>,
}

impl Earlier {
    /// Whether this handler had ended.
    fn has_ended<I>(&self, handler: &Handler<I>) -> bool {
        self.ended.contains(&handler.instance_name)
    }

    fn attempts_of(&self, instance_name: &str) -> u32 {
        self.attempts.iter().find(|(name, _)| name == instance_name).map_or(0, |(_, attempts)| *attempts)
    }
}

/// One call to be made.
pub struct Job<I> {
    /// Number of the call.
    pub call: u64,
    /// Number of the event.
    pub seq: u64,
    /// The event.
    pub event: Arc<Event>,
    /// The handler.
    pub handler: Arc<Handler<I>>,
    /// Tier; None for one that starts at once.
    pub tier: Option<usize>,
    /// When its time ends, CLOCK_BOOTTIME nanoseconds.
    pub deadline_boot_ns: i64,
    /// When the whole work must be over, CLOCK_BOOTTIME nanoseconds.
    pub due_boot_ns: i64,
    /// Time granted, nanoseconds.
    pub budget_ns: i64,
    /// When it was granted.
    pub granted: Moment,
    /// Attempts that an earlier process began.
    pub attempts_before: u32,
    /// Runs on the thread that has the event, without a worker (`begin`): the handler promised not to block.
    pub inline: bool,
}

impl<I> Clone for Job<I> {
    fn clone(&self) -> Self {
        Self { event: Arc::clone(&self.event), handler: Arc::clone(&self.handler), ..*self }
    }
}

/// What is to be done.
pub enum Act<I> {
    /// Give the job to a free worker.
    Start(Job<I>),
    /// Tell the call to stop.
    Cancel {
        /// Number of the call.
        call: u64,
        /// `SNOOZE_CANCEL_*`.
        reason: u32,
    },
    /// The call did not stop: its worker is lost.
    GiveUp {
        /// Number of the call.
        call: u64,
    },
    /// What became of one handler.
    Ended(Arc<Event>, Arc<Outcome<I>>),
    /// The event is over.
    Done(Box<Closed<I>>),
}

struct Running<I> {
    job: Job<I>,
    started_boot_ns: i64,
    cancelled: Option<(u32, i64)>,
}

/// The state machine.
pub struct Engine<I> {
    settings: Settings,
    runs: Vec<Run<I>>,
    running: Vec<Running<I>>,
    next_call: u64,
    next_seq: u64,
    free_workers: usize,
}

impl<I> Engine<I> {
    /// An engine without workers.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            runs: Vec::with_capacity(64),
            running: Vec::with_capacity(64),
            next_call: 1,
            next_seq: 1,
            free_workers: 0,
        }
    }

    /// One more worker waits for work.
    pub fn worker_free(&mut self, now: Moment, acts: &mut Vec<Act<I>>) {
        self.free_workers += 1;
        self.settle(now, acts);
    }

    /// Other margins for what starts from now on.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// The margins in force.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Events in progress.
    pub fn events_running(&self) -> usize {
        self.runs.len()
    }

    /// Number the next event will get.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Takes an event in; what an earlier process did of it is left out.
    pub fn publish(
        &mut self,
        event: Arc<Event>,
        plan: Arc<Plan<I>>,
        earlier: Earlier,
        now: Moment,
        acts: &mut Vec<Act<I>>,
    ) {
        let (seq, due_boot_ns) = (self.next_seq, self.due(&event, &plan, now));
        self.next_seq += 1;
        let run = Run::new(seq, event, plan, earlier, due_boot_ns, now, acts);
        self.take_in(run, now, acts);
    }

    /// The first call of an event, ahead of all that is to be noted of it: when nothing else is in progress, and the
    /// call needs no worker. Who makes it gives it to `publish_begun`, at the latest when it has ended.
    #[cfg_attr(target_os = "linux", allow(unsafe_code), unsafe(link_section = "snooze_hot"))]
    pub fn begin(&mut self, event: &Arc<Event>, plan: &Plan<I>, now: Moment) -> Option<Job<I>> {
        let handler = plan.first().filter(|h| h.inline.is_on() && h.objection(event).is_none())?;
        if !(self.runs.is_empty() && self.running.is_empty()) {
            return None;
        }
        let due_boot_ns = self.due(event, plan, now);
        let (tier, end_boot_ns) = match handler.start {
            Start::InOrder => (Some(0), now.boot_ns.saturating_add(plan.grant(0, due_boot_ns - now.boot_ns))),
            Start::AtOnce => (None, due_boot_ns),
        };
        let deadline_boot_ns = end_boot_ns.min(now.boot_ns.saturating_add(handler.timeout_ns));
        if deadline_boot_ns <= now.boot_ns {
            return None;
        }
        let (call, seq, budget_ns) = (self.next_call, self.next_seq, deadline_boot_ns - now.boot_ns);
        self.next_call += 1;
        self.next_seq += 1;
        let (event, handler) = (Arc::clone(event), Arc::clone(handler));
        Some(Job {
            call,
            seq,
            event,
            handler,
            tier,
            deadline_boot_ns,
            due_boot_ns,
            budget_ns,
            granted: now,
            attempts_before: 0,
            inline: true,
        })
    }

    /// Takes in the event of a call that `begin` gave.
    pub fn publish_begun(&mut self, job: Job<I>, plan: Arc<Plan<I>>, now: Moment, acts: &mut Vec<Act<I>>) {
        let began_boot_ns = job.granted.boot_ns;
        let event = Arc::clone(&job.event);
        let mut run = Run::new(job.seq, event, plan, Earlier::default(), job.due_boot_ns, job.granted, acts);
        run.pending.retain(|handler| !Arc::ptr_eq(handler, &job.handler));
        run.count_start(&job.handler);
        self.running.push(Running { job, started_boot_ns: began_boot_ns, cancelled: None });
        self.take_in(run, now, acts);
    }

    fn take_in(&mut self, run: Run<I>, now: Moment, acts: &mut Vec<Act<I>>) {
        // Most severe first, then oldest: the order in which workers are given out.
        let at = self.runs.partition_point(|r| r.event.severity >= run.event.severity);
        self.runs.insert(at, run);
        self.settle(now, acts);
    }

    /// When the work must be over: a margin before the cloud acts. A margin never eats more than a
    /// tenth of the time there is.
    fn due(&self, event: &Event, plan: &Plan<I>, now: Moment) -> i64 {
        let Some(effective) = event.effective else {
            return event.detected.boot_ns.saturating_add(plan.assumed_ns).max(now.boot_ns);
        };
        let left = effective.boot_ns.saturating_sub(now.boot_ns);
        if left <= 0 {
            return now.boot_ns.saturating_add(self.settings.immediate_ns);
        }
        effective.boot_ns - self.settings.margin_ns.min(left / 10)
    }

    /// A call came back.
    pub fn finished(&mut self, call: u64, finished: Finished, now: Moment, acts: &mut Vec<Act<I>>) {
        if let Some(at) = self.running.iter().position(|r| r.job.call == call) {
            let running = self.running.swap_remove(at);
            self.free_workers += usize::from(!running.job.inline);
            self.record(&running, finished, now, acts);
        }
        self.settle(now, acts);
    }

    /// Time went by.
    pub fn tick(&mut self, now: Moment, acts: &mut Vec<Act<I>>) {
        let mut lost = Vec::new();
        for (at, running) in self.running.iter_mut().enumerate() {
            match running.cancelled {
                None if now.boot_ns >= running.job.deadline_boot_ns => {
                    running.cancelled = Some((abi::SNOOZE_CANCEL_DEADLINE, now.boot_ns));
                    acts.push(Act::Cancel { call: running.job.call, reason: abi::SNOOZE_CANCEL_DEADLINE });
                }
                Some((_, since)) if now.boot_ns >= since.saturating_add(self.settings.grace_ns) => lost.push(at),
                _ => {}
            }
        }
        for at in lost.into_iter().rev() {
            let running = self.running.swap_remove(at);
            acts.push(Act::GiveUp { call: running.job.call });
            let finished = Finished {
                ended: Ended::Abandoned,
                attempts: running.job.attempts_before + 1,
                started_boot_ns: running.started_boot_ns,
                ended_boot_ns: now.boot_ns,
                error: Some(format!(
                    "did not stop within {} ms of being cancelled",
                    self.settings.grace_ns / 1_000_000
                )),
                result: None,
                verified: Verified::NotAsked,
                evidence: None,
            };
            self.record(&running, finished, now, acts);
        }
        self.settle(now, acts);
    }

    /// The cloud moved the deadline of an event.
    pub fn moved(&mut self, id: EventId, effective: Moment, now: Moment, acts: &mut Vec<Act<I>>) {
        let margin = self.settings.margin_ns;
        if let Some(run) = self.runs.iter_mut().find(|r| r.event.id == id) {
            let left = effective.boot_ns.saturating_sub(now.boot_ns).max(0);
            run.due_boot_ns = now.boot_ns + left - margin.min(left / 10);
            run.tier_end_boot_ns = run.tier_end_boot_ns.min(run.due_boot_ns);
            let (seq, due) = (run.seq, run.due_boot_ns);
            for running in self.running.iter_mut().filter(|r| r.job.seq == seq) {
                running.job.due_boot_ns = due;
                running.job.deadline_boot_ns = running.job.deadline_boot_ns.min(due);
            }
        }
        self.tick(now, acts);
    }

    /// The cloud withdrew an event: what has not started does not, what runs is told to stop.
    pub fn withdrawn(&mut self, id: EventId, now: Moment, acts: &mut Vec<Act<I>>) {
        self.stop(now, acts, abi::SNOOZE_CANCEL_WITHDRAWN, "the notice was withdrawn", |e| e.id == id);
    }

    /// The daemon leaves: every event stops.
    pub fn shut_down(&mut self, now: Moment, acts: &mut Vec<Act<I>>) {
        self.stop(now, acts, abi::SNOOZE_CANCEL_SHUTDOWN, "the daemon was stopped", |_| true);
    }

    fn stop(&mut self, now: Moment, acts: &mut Vec<Act<I>>, reason: u32, why: &str, of: impl Fn(&Event) -> bool) {
        for run in self.runs.iter_mut().filter(|r| of(&r.event)) {
            run.withdrawn = true;
            let seq = run.seq;
            for running in self.running.iter_mut().filter(|r| r.job.seq == seq && r.cancelled.is_none()) {
                running.cancelled = Some((reason, now.boot_ns));
                acts.push(Act::Cancel { call: running.job.call, reason });
            }
            run.drop_rest(now, why, acts);
        }
        self.settle(now, acts);
    }

    /// When `tick` is next needed, CLOCK_BOOTTIME nanoseconds.
    pub fn next_wake(&self) -> Option<i64> {
        let calls = self.running.iter().map(|r| match r.cancelled {
            None => r.job.deadline_boot_ns,
            Some((_, since)) => since.saturating_add(self.settings.grace_ns),
        });
        let waiting = self.runs.iter().flat_map(|r| r.pending.iter().map(|h| r.end_of(h)));
        calls.chain(waiting).min()
    }

    /// Writes a call's outcome into its event's report.
    fn record(&mut self, running: &Running<I>, finished: Finished, now: Moment, acts: &mut Vec<Act<I>>) {
        let job = &running.job;
        let Some(run) = self.runs.iter_mut().find(|r| r.seq == job.seq) else { return };
        match job.tier {
            Some(_) => run.in_order_running -= 1,
            None => run.at_once_running -= 1,
        }
        // What answered only after it was told to stop for want of time is late, whatever it says.
        let ended = match (finished.ended, running.cancelled) {
            (Ended::Cancelled, Some((abi::SNOOZE_CANCEL_DEADLINE, _)) | None) => Ended::TimedOut,
            (Ended::Failed, Some((abi::SNOOZE_CANCEL_DEADLINE, _))) => Ended::TimedOut,
            (ended, _) => ended,
        };
        let late_ns = match (ended, running.cancelled) {
            (Ended::Handled | Ended::Declined, Some((abi::SNOOZE_CANCEL_DEADLINE, at))) => Some(now.boot_ns - at),
            _ => None,
        };
        run.note_start(finished.started_boot_ns);
        let outcome = Arc::new(Outcome {
            handler: Arc::clone(&job.handler),
            tier: job.tier,
            finished: Finished { ended, ..finished },
            budget_ns: job.budget_ns,
            left_ns: run.end_boot_ns() - now.boot_ns,
            late_ns,
        });
        acts.push(Act::Ended(Arc::clone(&run.event), Arc::clone(&outcome)));
        run.took(outcome, now, acts);
    }

    /// Brings everything to rest: closes tiers, ends events, gives free workers out.
    fn settle(&mut self, now: Moment, acts: &mut Vec<Act<I>>) {
        for run in &mut self.runs {
            run.advance(now, acts);
        }
        self.runs.retain_mut(|run| {
            let over = run.is_over();
            if over {
                let state = if run.withdrawn { "withdrawn" } else { "completed" };
                acts.push(Act::Done(Box::new(run.close(state, now))));
            }
            !over
        });
        self.give_out(now, acts);
    }

    fn give_out(&mut self, now: Moment, acts: &mut Vec<Act<I>>) {
        for run in &mut self.runs {
            let mut at = 0;
            while at < run.pending.len() {
                let handler = &run.pending[at];
                if let Some(busy) = busy_call(&mut self.running, handler) {
                    supersede(busy, &run.event, now, acts);
                    at += 1;
                    continue;
                }
                if self.free_workers == 0 {
                    if let Some(less) = self.running.iter_mut().min_by_key(|r| r.job.event.severity) {
                        supersede(less, &run.event, now, acts);
                    }
                    return;
                }
                self.free_workers -= 1;
                let handler = run.pending.remove(at);
                let job = run.job(self.next_call, handler, now);
                self.next_call += 1;
                acts.push(Act::Start(job.clone()));
                self.running.push(Running { job, started_boot_ns: now.boot_ns, cancelled: None });
            }
        }
    }
}

/// The call that keeps a handler's instance busy.
fn busy_call<'a, I>(running: &'a mut [Running<I>], handler: &Handler<I>) -> Option<&'a mut Running<I>> {
    let same = |r: &&mut Running<I>| !handler.reentrant && r.job.handler.instance_name == handler.instance_name;
    running.iter_mut().find(same)
}

/// A more severe event needs what a less severe one holds.
fn supersede<I>(running: &mut Running<I>, by: &Event, now: Moment, acts: &mut Vec<Act<I>>) {
    if running.cancelled.is_none() && running.job.event.severity < by.severity {
        running.cancelled = Some((abi::SNOOZE_CANCEL_SUPERSEDED, now.boot_ns));
        acts.push(Act::Cancel { call: running.job.call, reason: abi::SNOOZE_CANCEL_SUPERSEDED });
    }
}

#[cfg(test)]
mod tests;
