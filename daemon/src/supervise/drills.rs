//! The end of a drill: its withdrawal, which has handlers put back what they changed.
//!
//! Inputs: what becomes of events, as the recorder tells it; drills that an earlier process left. Outputs: withdrawals, as orders
//! to the pool. Must never leave a drill without its end while the daemon lives, whether or not somebody still watches it.

use crate::control::operator;
use crate::dispatch::plan::Plans;
use crate::dispatch::pool::{Order, Pool};
use crate::event::{Event, EventId, Moment};
use crate::history::recorder::Follower;
use crate::sys::clock;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How far back the history is searched for drills that were left without their end, nanoseconds.
pub(super) const REMEMBER_NS: i64 = 24 * 3600 * 1_000_000_000;

/// The drills that run.
pub(super) struct Drills {
    pool: Pool,
    plans: Arc<ArcSwap<Plans>>,
    running: Mutex<HashMap<EventId, Arc<Event>>>,
}

impl Drills {
    /// Ends at once the drills that an earlier process left, as JSON, and from now on those that are told of.
    pub(super) fn new(pool: Pool, plans: Arc<ArcSwap<Plans>>, left: &[String]) -> Self {
        let drills = Self { pool, plans, running: Mutex::default() };
        let now = clock::now();
        for event in left.iter().filter_map(|text| Event::from_json(&serde_json::from_str(text).ok()?, now)) {
            tracing::warn!(event = %event.id, "a drill was left without its end; what it changed is put back now");
            drills.end(&event);
        }
        drills
    }

    fn end(&self, drill: &Event) {
        let withdrawal = operator::withdrawal(drill, clock::now());
        let plan = self.plans.load().of(&withdrawal.event_type);
        self.pool.order(Order::Publish(Arc::new(withdrawal), plan));
    }
}

impl Follower for Drills {
    fn published(&self, event: &Arc<Event>) {
        if event.drill && event.cancels.is_none() {
            self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(event.id, Arc::clone(event));
        }
    }

    fn moved(&self, _: EventId, _: Moment) {}

    fn done(&self, id: EventId) {
        let drill = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(drill) = drill {
            self.end(&drill);
        }
    }
}
