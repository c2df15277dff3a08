//! The poller: what every cloud's source does alike.
//!
//! Responsibilities: which item is read when, on one kept connection, one after the other; hurry, other intervals;
//! the books of what is seen. Inputs: a [`Cloud`], its pace, what was told before a restart. Outputs: events
//! to the sink, health for status. Must never log, lock or wait between the last byte of a notice and `Sink::publish`,
//! take an error for the absence of a notice, or let one item's trouble keep another from being read.
//!
//! One connection: the services limit connections and requests of an instance, and few document a number. `rota` says
//! whose turn it is.

use super::cloud::{Again, Cloud, Pace, PollError, Role};
use super::health::{Change, Health};
use super::rota::Rota;
use super::round::{Round, Told, Watch};
use super::{Control, Sink};
use crate::normalise::revise::Reviser;
use crate::sys::clock;
use cloudsnooze_abi::{SNOOZE_LOG_DEBUG, SNOOZE_LOG_INFO, SNOOZE_LOG_WARNING};
use std::sync::Arc;

/// Watches one cloud.
#[derive(Debug)]
pub struct Poller<C> {
    cloud: C,
    rota: Rota,
    control: Arc<Control<Pace>>,
    /// The pace that the rota goes by, and whether it is in a hurry.
    pace: (Arc<Pace>, bool),
    watch: Watch,
    /// By which detour the service was asked last.
    detour: Option<&'static str>,
}

impl<C: Cloud> Poller<C> {
    /// Polls nothing yet. `reviser` knows what was told before a restart; a fresh one is `Reviser::new(C::SOURCE)`.
    /// `self_test`: whether every round of polls makes one.
    pub fn new(cloud: C, reviser: Reviser, control: Arc<Control<Pace>>, self_test: bool) -> Self {
        let pace = control.settings();
        let intervals: Vec<f64> =
            C::ITEMS.iter().enumerate().map(|(number, item)| pace.of(number, *item, false)).collect();
        Self {
            cloud,
            rota: Rota::new(&intervals, clock::wall_ns().unsigned_abs()),
            control,
            pace: (pace, false),
            watch: Watch::new::<C>(reviser, self_test),
            detour: None,
        }
    }

    /// A health of the shape that this source reports to.
    pub fn health() -> Arc<Health> {
        let names: Vec<&'static str> =
            C::ITEMS.iter().filter(|item| item.role != Role::Identity).map(|item| item.name).collect();
        Arc::new(Health::new(C::SOURCE, &names))
    }

    /// Watches until told to stop, on the calling thread, which it occupies. Give it a thread of its own.
    pub fn run(mut self, sink: &mut dyn Sink, told: Told<'_>) {
        told.health.set_interval_seconds(self.interval_seconds(0));
        // Who this machine is comes first, once, because it is part of every event. If there is no answer
        // the notices are read all the same.
        if let Some(identity) = C::ITEMS.iter().position(|item| item.role == Role::Identity) {
            self.poll(identity, sink, told);
        }
        let mut has_slept = true;
        while !self.control.bell.is_stopped() {
            if let Some(call) = self.control.called() {
                self.look_once(sink, told);
                self.control.answer(call);
                continue;
            }
            let now_boot_ns = clock::boot_ns();
            self.adapt(now_boot_ns, told);
            let (number, due_boot_ns) = self.rota.next(now_boot_ns);
            if due_boot_ns <= now_boot_ns {
                if std::mem::take(&mut has_slept) {
                    self.watch.wake_the_way(sink);
                }
                self.poll(number, sink, told);
            } else {
                told.health.lives_until(due_boot_ns);
                self.control.bell.wait(due_boot_ns);
                has_slept = true;
            }
        }
    }

    /// Looks for the most important notice once, whatever the rota says.
    pub fn look_once(&mut self, sink: &mut dyn Sink, told: Told<'_>) {
        self.watch.wake_the_way(sink);
        self.poll(0, sink, told);
    }

    fn interval_seconds(&self, number: usize) -> f64 {
        C::ITEMS.get(number).map_or(0.0, |item| self.pace.0.of(number, *item, self.pace.1))
    }

    /// Takes other intervals, and the beginning or end of a hurry: every item is then read at once.
    fn adapt(&mut self, now_boot_ns: i64, told: Told<'_>) {
        let wanted = (self.control.settings(), self.control.is_hurried(now_boot_ns));
        if wanted == self.pace {
            return;
        }
        self.pace = wanted;
        for (number, item) in C::ITEMS.iter().enumerate() {
            if item.role != Role::Identity {
                self.rota.set_interval(number, self.interval_seconds(number));
            }
        }
        told.health.set_interval_seconds(self.interval_seconds(0));
    }

    /// Says when the service is asked by a detour, or directly again.
    fn tell_detour(&mut self, told: Told<'_>) {
        let detour = self.cloud.client().is_through_imdsd().then_some(C::DETOUR);
        if std::mem::replace(&mut self.detour, detour) != detour {
            told.health.set_detour(detour);
            let text = detour.map_or("asked directly again".to_owned(), |detour| format!("asked {detour}"));
            told.log.push(C::SOURCE, SNOOZE_LOG_WARNING, &text);
        }
    }

    /// Reads an item, tells what is new, then keeps the books.
    fn poll(&mut self, number: usize, sink: &mut dyn Sink, told: Told<'_>) {
        let began_boot_ns = clock::boot_ns();
        // Before the request: nothing of it stands between the answer and the handler.
        told.health.lives_until(began_boot_ns.saturating_add(self.cloud.look_max_ns()));
        let mut round = Round { watch: &mut self.watch, sink, told, control: &self.control };
        let outcome = self.cloud.look(number, &mut round);
        self.tell_detour(told);
        if outcome.as_ref().is_err_and(PollError::is_no_answer) {
            return;
        }
        for text in self.watch.told.drain(..) {
            told.log.push(C::SOURCE, SNOOZE_LOG_INFO, &text);
        }
        keep_books::<C>(number, &outcome, told);
        match outcome {
            Ok(Again::Usual) => self.rota.done(number, began_boot_ns, 0),
            Ok(Again::AtOnce) => self.rota.again(number, began_boot_ns),
            Ok(Again::Never) => self.rota.retire(number),
            Err(error) => self.rota.done(number, began_boot_ns, self.cloud.calm_ns(&error)),
        }
    }
}

fn keep_books<C: Cloud>(number: usize, outcome: &Result<Again, PollError>, told: Told<'_>) {
    let now_boot_ns = clock::boot_ns();
    let name = C::ITEMS.get(number).map_or("", |item| item.name);
    let say = |level, text: &str| {
        if told.log.enabled(level) {
            told.log.push(C::SOURCE, level, text);
        }
    };
    let change = match outcome {
        Ok(_) => told.health.success(number, now_boot_ns),
        Err(error) => {
            say(SNOOZE_LOG_DEBUG, &format!("{name}: poll failed: {error}"));
            told.health.error(number, now_boot_ns, error.to_string())
        }
    };
    match (change, outcome) {
        (Change::BecameBlind, Err(error)) => {
            say(SNOOZE_LOG_WARNING, &format!("{name}: notices of this kind cannot be seen: {error}"));
        }
        (Change::SeesAgain, _) => say(SNOOZE_LOG_WARNING, &format!("{name}: seen again")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::alibaba::Alibaba;
    use super::super::aws::Aws;
    use super::super::azure::Azure;
    use super::super::gcp::{MaintenanceEvent, Preempted, UpcomingMaintenance};
    use super::super::tencent::Tencent;
    use super::*;
    use crate::event::{Event, EventId, Moment};

    #[derive(Default)]
    struct Caught(Vec<Arc<Event>>);

    impl Sink for Caught {
        fn publish(&mut self, event: Arc<Event>) {
            panic!("the self-test published {}", event.event_type);
        }

        fn moved(&mut self, id: EventId, _: Moment) {
            panic!("the self-test moved {id}");
        }

        fn self_test(&mut self, event: Arc<Event>) {
            self.0.push(event);
        }
    }

    fn every_self_test_makes_an_event_of_its_own_kind<C: Cloud>() {
        let (watch, mut caught) = (Watch::new::<C>(Reviser::new("test"), true), Caught::default());
        (0..3).for_each(|_| watch.wake_the_way(&mut caught));
        assert_eq!(caught.0.len(), 3, "{}", C::SOURCE);
        assert!(caught.0.iter().all(|event| event.is_self_test()));
    }

    fn its_items_are_in_order<C: Cloud>() {
        let identities = C::ITEMS.iter().filter(|item| item.role == Role::Identity).count();
        assert!(identities == 0 || C::ITEMS.last().is_some_and(|item| item.role == Role::Identity), "{}", C::SOURCE);
        assert!(identities <= 1 && C::ITEMS[0].role != Role::Identity, "{}", C::SOURCE);
    }

    #[test]
    fn every_cloud_keeps_the_rules_of_the_trait() {
        fn keeps_them<C: Cloud>() {
            every_self_test_makes_an_event_of_its_own_kind::<C>();
            its_items_are_in_order::<C>();
        }
        keeps_them::<Aws>();
        keeps_them::<Preempted>();
        keeps_them::<MaintenanceEvent>();
        keeps_them::<UpcomingMaintenance>();
        keeps_them::<Alibaba>();
        keeps_them::<Tencent>();
        keeps_them::<Azure>();
    }
}
