//! One event in progress: its tiers, what waits, what came of it.
//!
//! Inputs: the plan, the time, what an earlier process did. Outputs: jobs, outcomes. Pure, like the engine it is a
//! part of.

use super::{Act, Earlier, Job};
use crate::dispatch::plan::{Handler, Plan, Start};
use crate::dispatch::report::{Closed, Ended, Finished, Outcome, Verified, is_well};
use crate::event::{Event, Moment};
use std::sync::Arc;

/// One event in progress.
pub(super) struct Run<I> {
    pub(super) seq: u64,
    pub(super) event: Arc<Event>,
    pub(super) plan: Arc<Plan<I>>,
    pub(super) earlier: Earlier,
    pub(super) due_boot_ns: i64,
    /// Tier in progress; `tiers` when all are over.
    pub(super) tier: usize,
    /// How many tiers there are, or were when a handler ended the event for those behind it.
    pub(super) tiers: usize,
    pub(super) tier_end_boot_ns: i64,
    pub(super) pending: Vec<Arc<Handler<I>>>,
    pub(super) in_order_running: usize,
    pub(super) at_once_running: usize,
    pub(super) outcomes: Vec<Arc<Outcome<I>>>,
    pub(super) first_start: Option<i64>,
    pub(super) withdrawn: bool,
}

impl<I> Run<I> {
    pub(super) fn new(
        seq: u64,
        event: Arc<Event>,
        plan: Arc<Plan<I>>,
        earlier: Earlier,
        due_boot_ns: i64,
        now: Moment,
        acts: &mut Vec<Act<I>>,
    ) -> Self {
        // Room for all that waits at first, had at once: a filter does not say how much it lets through.
        let room = plan.at_once.len() + plan.tiers.first().map_or(0, |tier| tier.handlers.len());
        let mut run = Self {
            seq,
            event,
            due_boot_ns,
            tier: 0,
            tiers: plan.tiers.len(),
            tier_end_boot_ns: 0,
            pending: Vec::with_capacity(room),
            earlier,
            in_order_running: 0,
            at_once_running: 0,
            outcomes: Vec::new(),
            first_start: None,
            withdrawn: false,
            plan: Arc::clone(&plan),
        };
        run.enlist(&plan.at_once, now, acts);
        run.open_tier(now, acts);
        run
    }

    /// Has handlers wait for a worker, and says of those that this event is not for why.
    fn enlist(&mut self, handlers: &[Arc<Handler<I>>], now: Moment, acts: &mut Vec<Act<I>>) {
        for handler in handlers {
            if self.earlier.has_ended(handler) {
                continue;
            }
            match handler.objection(&self.event) {
                None => self.pending.push(Arc::clone(handler)),
                Some(why) => self.left_out(handler, Ended::Declined, why, now, acts),
            }
        }
    }

    /// When the cloud acts, or the time assumed.
    pub(super) fn end_boot_ns(&self) -> i64 {
        self.event.effective.map_or(self.due_boot_ns, |e| e.boot_ns)
    }

    /// When the time of a handler that waits is over.
    pub(super) fn end_of(&self, handler: &Handler<I>) -> i64 {
        match handler.start {
            Start::InOrder => self.tier_end_boot_ns,
            Start::AtOnce => self.due_boot_ns,
        }
    }

    fn open_tier(&mut self, now: Moment, acts: &mut Vec<Act<I>>) {
        if self.tier >= self.tiers {
            return;
        }
        let plan = Arc::clone(&self.plan);
        if let Some(tier) = plan.tiers.get(self.tier) {
            let granted = plan.grant(self.tier, self.due_boot_ns.saturating_sub(now.boot_ns));
            self.tier_end_boot_ns = now.boot_ns.saturating_add(granted);
            self.enlist(&tier.handlers, now, acts);
        }
    }

    pub(super) fn advance(&mut self, now: Moment, acts: &mut Vec<Act<I>>) {
        loop {
            self.expire(now, acts);
            let waiting = self.pending.iter().any(|h| h.start == Start::InOrder);
            if waiting || self.in_order_running > 0 || self.tier >= self.tiers {
                return;
            }
            self.tier += 1;
            self.open_tier(now, acts);
        }
    }

    /// What waited in vain for a worker or its instance until its time was over.
    pub(super) fn expire(&mut self, now: Moment, acts: &mut Vec<Act<I>>) {
        if self.pending.iter().all(|h| now.boot_ns < self.end_of(h)) {
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        let (over, pending) = pending.into_iter().partition(|h| now.boot_ns >= self.end_of(h));
        self.pending = pending;
        for handler in over {
            self.not_run(&handler, "no time was left for it", now, acts);
        }
    }

    /// Nothing more of the event is begun.
    pub(super) fn drop_rest(&mut self, now: Moment, why: &str, acts: &mut Vec<Act<I>>) {
        self.drop_later(now, why, acts);
        for handler in std::mem::take(&mut self.pending) {
            self.not_run(&handler, why, now, acts);
        }
        self.tier = self.tiers;
    }

    /// Nothing of the tiers behind the present one is begun.
    fn drop_later(&mut self, now: Moment, why: &str, acts: &mut Vec<Act<I>>) {
        let tiers = self.plan.tiers.iter().take(self.tiers).skip(self.tier + 1);
        let later: Vec<_> = tiers.flat_map(|t| &t.handlers).filter(|h| !self.earlier.has_ended(h)).cloned().collect();
        self.tiers = self.tiers.min(self.tier + 1);
        for handler in later {
            self.not_run(&handler, why, now, acts);
        }
    }

    /// Keeps what became of a handler. One that did not do its work may end the event for those behind it.
    pub(super) fn took(&mut self, outcome: Arc<Outcome<I>>, now: Moment, acts: &mut Vec<Act<I>>) {
        let finished = &outcome.finished;
        let stops = outcome.handler.stops_on_failure && !is_well(finished.ended, finished.verified);
        let handler = Arc::clone(&outcome.handler);
        self.outcomes.push(outcome);
        if stops {
            self.drop_later(now, &handler.why_nothing_follows(), acts);
        }
    }

    fn not_run(&mut self, handler: &Arc<Handler<I>>, why: &str, now: Moment, acts: &mut Vec<Act<I>>) {
        self.left_out(handler, Ended::NotRun, why.to_owned(), now, acts);
    }

    /// What becomes of a handler that is not called.
    fn left_out(&mut self, handler: &Arc<Handler<I>>, ended: Ended, why: String, now: Moment, acts: &mut Vec<Act<I>>) {
        let outcome = Arc::new(Outcome {
            handler: Arc::clone(handler),
            tier: (handler.start == Start::InOrder).then_some(self.tier),
            finished: Finished {
                ended,
                attempts: 0,
                started_boot_ns: now.boot_ns,
                ended_boot_ns: now.boot_ns,
                error: Some(why),
                result: None,
                verified: Verified::NotAsked,
                evidence: None,
            },
            budget_ns: 0,
            left_ns: self.end_boot_ns() - now.boot_ns,
            late_ns: None,
        });
        acts.push(Act::Ended(Arc::clone(&self.event), Arc::clone(&outcome)));
        self.took(outcome, now, acts);
    }

    /// One more call of this event runs. Gives the tier it belongs to.
    pub(super) fn count_start(&mut self, handler: &Handler<I>) -> Option<usize> {
        match handler.start {
            Start::InOrder => {
                self.in_order_running += 1;
                Some(self.tier)
            }
            Start::AtOnce => {
                self.at_once_running += 1;
                None
            }
        }
    }

    pub(super) fn job(&mut self, call: u64, handler: Arc<Handler<I>>, now: Moment) -> Job<I> {
        let tier = self.count_start(&handler);
        let deadline_boot_ns = self.end_of(&handler).min(now.boot_ns.saturating_add(handler.timeout_ns));
        let (event, due_boot_ns) = (Arc::clone(&self.event), self.due_boot_ns);
        let budget_ns = deadline_boot_ns - now.boot_ns;
        let attempts_before = self.earlier.attempts_of(&handler.instance_name);
        Job {
            call,
            seq: self.seq,
            event,
            handler,
            tier,
            deadline_boot_ns,
            due_boot_ns,
            budget_ns,
            granted: now,
            attempts_before,
            inline: false,
        }
    }

    pub(super) fn note_start(&mut self, at: i64) {
        self.first_start = Some(self.first_start.map_or(at, |first| first.min(at)));
    }

    pub(super) fn is_over(&self) -> bool {
        self.tier >= self.tiers && self.pending.is_empty() && self.in_order_running == 0 && self.at_once_running == 0
    }

    pub(super) fn close(&mut self, state: &'static str, now: Moment) -> Closed<I> {
        Closed {
            event: Arc::clone(&self.event),
            state,
            outcomes: std::mem::take(&mut self.outcomes),
            first_start: self.first_start,
            end_boot_ns: self.end_boot_ns(),
            at: now,
        }
    }
}
