//! Schedules replayed against the engine: a small world with a clock of its own, workers, and handlers
//! that obey, dawdle or hang.

use super::*;
use crate::dispatch::plan::{Condition, Inline, Plans};
use crate::dispatch::report::EventReport;
use crate::event::{Action, EventType, Machine, NoticeKind, Pattern, Severity};
use crate::host::instance::Abilities;
use proptest::prelude::*;
use std::collections::BTreeMap;

const MS: i64 = 1_000_000;
const SETTINGS: Settings = Settings { margin_ns: 1_000 * MS, grace_ns: 250 * MS, immediate_ns: 10_000 * MS };

/// How a handler of the world behaves.
#[derive(Clone, Copy, Debug)]
struct Manners {
    priority: u32,
    at_once: bool,
    timeout_ms: i64,
    minimum_ms: i64,
    /// Time it works when left alone.
    works_ms: i64,
    /// Whether it stops when told to.
    obeys: bool,
    /// Whether it promised not to block.
    inline: bool,
    stops_on_failure: bool,
}

struct Call {
    tier: Option<usize>,
    ends_ns: i64,
    obeys: bool,
    inline: bool,
    cancelled: bool,
}

/// A world in which time jumps from one thing to the next.
struct World {
    engine: Engine<Manners>,
    now: Moment,
    calls: BTreeMap<u64, Call>,
    log: Vec<(i64, String)>,
    reports: Vec<EventReport>,
    ended: Vec<String>,
    lost_workers: usize,
}

fn moment(ns: i64) -> Moment {
    Moment { boot_ns: ns, wall_ns: ns }
}

fn event(severity: Severity, effective_ms: Option<i64>, now: Moment) -> Arc<Event> {
    Arc::new(Event {
        id: EventId::at(now.wall_ns),
        event_type: EventType::SPOT_INTERRUPT,
        source: "test".into(),
        severity,
        detected: now,
        effective: effective_ms.map(|ms| now.plus_ns(ms * MS)),
        simulated: false,
        drill: false,
        provider: "test".into(),
        action: Action::Terminate,
        notice_kind: NoticeKind::Deadline,
        machine: Arc::new(Machine::default()),
        resources: Vec::new(),
        cancels: None,
        raw: None,
        extra: serde_json::Map::new(),
    })
}

fn plan(all: &[Manners]) -> Arc<Plan<Manners>> {
    let handlers = all.iter().enumerate().map(|(n, m)| Handler {
        instance_name: format!("t/h{n}"),
        priority: m.priority,
        timeout_ns: m.timeout_ms * MS,
        minimum_ns: m.minimum_ms.min(m.timeout_ms) * MS,
        start: if m.at_once { Start::AtOnce } else { Start::InOrder },
        stops_on_failure: m.stops_on_failure,
        inline: Inline::new(m.inline),
        ..Handler::new(&format!("h{n}"), Pattern::any(), *m)
    });
    Plans::new(handlers.collect(), Vec::new()).of(&EventType::SPOT_INTERRUPT)
}

impl World {
    fn new(workers: usize) -> Self {
        let mut engine = Engine::new(SETTINGS);
        let now = moment(1_000 * MS);
        for _ in 0..workers {
            engine.worker_free(now, &mut Vec::new());
        }
        let (calls, log, reports, ended) = (BTreeMap::new(), Vec::new(), Vec::new(), Vec::new());
        Self { engine, now, calls, log, reports, ended, lost_workers: 0 }
    }

    fn publish(&mut self, event: Arc<Event>, plan: Arc<Plan<Manners>>) {
        let mut acts = Vec::new();
        match self.begin(&event, &plan) {
            Some(job) => self.engine.publish_begun(job, plan, self.now, &mut acts),
            None => self.engine.publish(event, plan, Earlier::default(), self.now, &mut acts),
        }
        self.carry_out(acts);
    }

    /// Begins a call ahead of its event, as the pool does where it may.
    fn begin(&mut self, event: &Arc<Event>, plan: &Plan<Manners>) -> Option<Job<Manners>> {
        let job = self.engine.begin(event, plan, self.now)?;
        self.carry_out(vec![Act::Start(job.clone())]);
        Some(job)
    }

    fn carry_out(&mut self, acts: Vec<Act<Manners>>) {
        for act in acts {
            match act {
                Act::Start(job) => {
                    let manners = job.handler.instance;
                    assert!(job.deadline_boot_ns <= job.due_boot_ns, "nothing may run beyond the whole time");
                    assert!(job.budget_ns <= job.handler.timeout_ns, "no more than the timeout is granted");
                    self.log.push((self.now.boot_ns, job.handler.name.clone()));
                    let call = Call {
                        tier: job.tier,
                        ends_ns: self.now.boot_ns + manners.works_ms * MS,
                        obeys: manners.obeys,
                        inline: job.inline,
                        cancelled: false,
                    };
                    let same_tier = self.calls.values().filter(|c| c.tier.is_some()).all(|c| c.tier == call.tier);
                    assert!(call.tier.is_none() || same_tier, "two tiers of one event ran at the same time");
                    self.calls.insert(job.call, call);
                }
                Act::Cancel { call, .. } => {
                    let call = self.calls.get_mut(&call).expect("only running calls are cancelled");
                    assert!(!call.cancelled, "cancelled once");
                    call.cancelled = true;
                    if call.obeys {
                        call.ends_ns = call.ends_ns.min(self.now.boot_ns + MS);
                    }
                }
                Act::GiveUp { call } => {
                    let call = self.calls.remove(&call).expect("only running calls are given up");
                    assert!(call.cancelled, "given up without having been told to stop");
                    self.lost_workers += usize::from(!call.inline);
                }
                Act::Ended(_, outcome) => self.ended.push(outcome.handler.name.clone()),
                Act::Done(closed) => self.reports.push(closed.report()),
            }
        }
    }

    /// Lets time go by until nothing is left to do. A lost worker is replaced, as the pool does.
    fn run(&mut self) {
        for _ in 0..10_000 {
            let next_end = self.calls.iter().map(|(id, c)| (c.ends_ns, *id)).min();
            let wake = self.engine.next_wake();
            let mut acts = Vec::new();
            match (next_end, wake) {
                (Some((at, id)), _) if wake.is_none_or(|w| at <= w) => {
                    self.now = moment(self.now.boot_ns.max(at));
                    let call = self.calls.remove(&id).expect("running");
                    let ended = if call.cancelled { Ended::Cancelled } else { Ended::Handled };
                    self.engine.finished(id, finished(ended, at), self.now, &mut acts);
                }
                (_, Some(at)) => {
                    self.now = moment(self.now.boot_ns.max(at));
                    let lost = self.lost_workers;
                    self.engine.tick(self.now, &mut acts);
                    self.carry_out(std::mem::take(&mut acts));
                    for _ in lost..self.lost_workers {
                        self.engine.worker_free(self.now, &mut acts);
                    }
                }
                _ => return,
            }
            self.carry_out(acts);
        }
        panic!("the engine does not come to rest");
    }

    fn status_of(&self, handler: &str) -> Ended {
        let all = self.reports.iter().flat_map(|r| &r.handlers);
        all.filter(|h| h.handler == handler).map(|h| h.status).next_back().expect("reported")
    }
}

fn finished(ended: Ended, at: i64) -> Finished {
    Finished {
        ended,
        attempts: 1,
        started_boot_ns: at,
        ended_boot_ns: at,
        error: None,
        result: None,
        verified: Verified::NotAsked,
        evidence: None,
    }
}

fn good(priority: u32, works_ms: i64) -> Manners {
    Manners {
        priority,
        at_once: false,
        timeout_ms: 30_000,
        minimum_ms: 2_000,
        works_ms,
        obeys: true,
        inline: false,
        stops_on_failure: false,
    }
}

#[test]
fn tiers_run_in_order_equal_priorities_together_and_at_once_with_the_first() {
    let mut world = World::new(8);
    let notifier = Manners { at_once: true, ..good(1, 5) };
    let all = [good(100, 50), good(80, 20), good(80, 30), good(10, 5), notifier];
    world.publish(event(Severity::Urgent, Some(120_000), world.now), plan(&all));
    world.run();
    let starts: Vec<(i64, &str)> = world.log.iter().map(|(at, h)| (at / MS - 1_000, h.as_str())).collect();
    assert_eq!(starts, [(0, "h4"), (0, "h0"), (50, "h1"), (50, "h2"), (80, "h3")]);
    assert_eq!(world.reports[0].state, "completed");
}

#[test]
fn a_handler_that_ignores_its_time_is_given_up_and_the_rest_still_run() {
    let mut world = World::new(2);
    let hangs = Manners { timeout_ms: 1_000, obeys: false, works_ms: 1_000_000, ..good(100, 0) };
    world.publish(event(Severity::Urgent, Some(20_000), world.now), plan(&[hangs, good(50, 10)]));
    world.run();
    assert_eq!((world.status_of("h0"), world.status_of("h1")), (Ended::Abandoned, Ended::Handled));
    assert_eq!(world.log[1].0, (1_000 + 1_000 + 250) * MS, "right after timeout and grace");
}

#[test]
fn what_is_to_stop_on_failure_keeps_lower_ones_from_running_but_no_equal_one() {
    for stops_on_failure in [true, false] {
        let mut world = World::new(8);
        let late = Manners { timeout_ms: 1_000, stops_on_failure, ..good(80, 9_000) };
        let notifier = Manners { at_once: true, ..good(1, 5) };
        let all = [good(100, 5), late, good(80, 3_000), good(50, 10), good(10, 10), notifier];
        world.publish(event(Severity::Urgent, Some(120_000), world.now), plan(&all));
        world.run();
        let ended = ["h0", "h1", "h2", "h3", "h4", "h5"].map(|h| world.status_of(h));
        let rest = if stops_on_failure { Ended::NotRun } else { Ended::Handled };
        assert_eq!(ended, [Ended::Handled, Ended::TimedOut, Ended::Handled, rest, rest, Ended::Handled]);
        let why = world.reports[0].handlers.iter().find(|h| h.handler == "h3").and_then(|h| h.error.clone());
        assert_eq!(why.is_some_and(|why| why.contains("h1 did not do its work")), stops_on_failure);
    }
}

#[test]
fn a_handler_that_an_event_is_not_for_is_left_out_and_the_next_runs() {
    let mut world = World::new(2);
    let plan = |all: &[(Vec<Action>, bool)]| {
        let handlers = all.iter().zip((1..=3).rev()).map(|((actions, drill), n)| Handler {
            priority: n,
            when: Condition { actions: actions.clone(), ..Condition::default() },
            abilities: Abilities { drill: *drill, ..Abilities::default() },
            ..Handler::new(&format!("h{n}"), Pattern::any(), good(n, 5))
        });
        Plans::new(handlers.collect(), Vec::new()).of(&EventType::SPOT_INTERRUPT)
    };
    let all = [(vec![Action::Stop], true), (vec![Action::Reboot, Action::Terminate], false), (Vec::new(), true)];
    let real = event(Severity::Urgent, Some(120_000), world.now);
    world.publish(Arc::clone(&real), plan(&all));
    world.run();
    assert_eq!(world.ended, ["h3", "h2", "h1"]);
    let status = |world: &World| ["h3", "h2", "h1"].map(|h| world.status_of(h));
    assert_eq!(status(&world), [Ended::Declined, Ended::Handled, Ended::Handled]);
    let drill = Event { drill: true, ..(*real).clone() };
    world.publish(Arc::new(drill), plan(&all));
    world.run();
    assert_eq!(status(&world), [Ended::Declined, Ended::Declined, Ended::Handled]);
    let why: Vec<_> = world.reports[1].handlers.iter().filter_map(|h| h.error.as_deref()).collect();
    assert!(why[0].contains("the action stop only; this is terminate") && why[1].contains("drills"), "{why:?}");
    assert_eq!(world.log.len(), 3, "only what was not left out was called");
}

#[test]
fn a_call_that_began_ahead_of_its_event_is_noted_as_if_it_had_not() {
    let inline = Manners { inline: true, ..good(100, 5) };
    for at_once in [false, true] {
        let all = [Manners { at_once, ..inline }, inline, good(80, 20)];
        let (mut ahead, mut plain) = (World::new(2), World::new(2));
        ahead.publish(event(Severity::Urgent, Some(120_000), ahead.now), plan(&all));
        let urgent = event(Severity::Urgent, Some(120_000), plain.now);
        plain.engine.publish(urgent, plan(&all), Earlier::default(), plain.now, &mut Vec::new());
        let job = |world: &World| {
            world.engine.running.iter().map(|r| (r.job.call, r.job.tier, r.job.deadline_boot_ns)).collect::<Vec<_>>()
        };
        assert_eq!(job(&ahead), job(&plain));
        assert_eq!(ahead.engine.next_wake(), plain.engine.next_wake());
        ahead.run();
        assert_eq!((ahead.reports[0].handlers.len(), ahead.reports[0].state.as_str()), (3, "completed"));
    }
}

#[test]
fn nothing_begins_ahead_of_what_runs_or_without_a_promise_or_without_time() {
    let inline = Manners { inline: true, ..good(100, 50) };
    let mut world = World::new(2);
    let urgent = event(Severity::Urgent, Some(120_000), world.now);
    assert!(world.begin(&urgent, &plan(&[good(100, 5), inline])).is_none(), "the first promised nothing");
    assert!(world.begin(&urgent, &plan(&[])).is_none());
    assert!(world.begin(&urgent, &plan(&[Manners { timeout_ms: 0, ..inline }])).is_none());
    world.publish(Arc::clone(&urgent), plan(&[inline]));
    assert!(world.begin(&urgent, &plan(&[inline])).is_none(), "something runs");
    world.run();
    assert!(world.begin(&urgent, &plan(&[inline])).is_some());
}

#[test]
fn one_that_began_ahead_and_hangs_is_given_up_and_the_rest_still_run() {
    let mut world = World::new(2);
    let hangs = Manners { inline: true, timeout_ms: 1_000, obeys: false, works_ms: 1_000_000, ..good(100, 0) };
    let (urgent, all) = (event(Severity::Urgent, Some(20_000), world.now), plan(&[hangs, good(100, 10), good(50, 10)]));
    let job = world.begin(&urgent, &all).expect("it promised");
    // Another thread finds it so, long after.
    world.now = world.now.plus_ns(700 * MS);
    let mut acts = Vec::new();
    world.engine.publish_begun(job, all, world.now, &mut acts);
    world.carry_out(acts);
    world.run();
    let ended = ["h0", "h1", "h2"].map(|h| world.status_of(h));
    assert_eq!(ended, [Ended::Abandoned, Ended::Handled, Ended::Handled]);
    assert_eq!(world.log[2].0, (1_000 + 1_000 + 250) * MS, "the next tier, right after timeout and grace of the first");
}

#[test]
fn what_an_earlier_process_did_is_not_done_again_and_its_attempts_are_counted_on() {
    let mut world = World::new(4);
    let earlier = Earlier { ended: vec!["t/h0".into(), "t/h3".into()], attempts: vec![("t/h1".into(), 2)] };
    let all = [good(100, 5), good(100, 7), good(80, 20), Manners { at_once: true, ..good(1, 5) }];
    let mut acts = Vec::new();
    let urgent = event(Severity::Urgent, Some(120_000), world.now);
    world.engine.publish(urgent, plan(&all), earlier.clone(), world.now, &mut acts);
    let Some(Act::Start(job)) = acts.first() else { panic!("one starts at once") };
    assert_eq!((job.handler.name.as_str(), job.attempts_before), ("h1", 2));
    world.carry_out(acts);
    world.run();
    assert_eq!(world.ended, ["h1", "h2"]);

    // All done but for the report.
    let ended = (0..4).map(|n| format!("t/h{n}")).collect();
    let (urgent, mut acts) = (event(Severity::Urgent, Some(120_000), world.now), Vec::new());
    world.engine.publish(urgent, plan(&all), Earlier { ended, ..earlier }, world.now, &mut acts);
    assert!(matches!(acts.as_slice(), [Act::Done(closed)] if closed.outcomes.is_empty()));
}

#[test]
fn a_handler_that_obeys_is_timed_out_not_abandoned() {
    let mut world = World::new(2);
    world.publish(
        event(Severity::Urgent, Some(20_000), world.now),
        plan(&[Manners { timeout_ms: 500, ..good(100, 9_000) }]),
    );
    world.run();
    assert_eq!(world.status_of("h0"), Ended::TimedOut);
}

#[test]
fn a_more_severe_event_takes_the_last_worker_from_a_less_severe_one() {
    let mut world = World::new(1);
    world.publish(event(Severity::Warning, Some(600_000), world.now), plan(&[good(50, 20_000)]));
    world.publish(event(Severity::Urgent, Some(120_000), world.now), plan(&[good(100, 10)]));
    world.run();
    let first = world.reports[0].handlers[0].clone();
    assert_eq!((first.status, world.reports.len()), (Ended::Cancelled, 2));
    assert!(world.log[1].0 < 1_010 * MS, "the urgent one started at once: {:?}", world.log);
}

#[test]
fn a_deadline_that_is_now_still_gives_every_tier_a_share_of_the_immediate_time() {
    let mut world = World::new(2);
    let slow = Manners { obeys: true, ..good(100, 60_000) };
    world.publish(event(Severity::Critical, Some(0), world.now), plan(&[slow, good(50, 10), good(10, 10)]));
    world.run();
    assert_eq!(world.status_of("h0"), Ended::TimedOut);
    assert_eq!((world.status_of("h1"), world.status_of("h2")), (Ended::Handled, Ended::Handled));
    assert!(world.now.boot_ns <= (1_000 + 10_500) * MS);
}

#[test]
fn withdrawing_stops_what_runs_and_reports_what_never_started() {
    let mut world = World::new(2);
    let event = event(Severity::Warning, Some(600_000), world.now);
    world.publish(Arc::clone(&event), plan(&[good(100, 9_000), good(10, 10)]));
    let mut acts = Vec::new();
    world.engine.withdrawn(event.id, world.now, &mut acts);
    world.carry_out(acts);
    world.run();
    assert_eq!((world.status_of("h0"), world.status_of("h1")), (Ended::Cancelled, Ended::NotRun));
    assert_eq!(world.reports[0].state, "withdrawn");
}

#[test]
fn a_deadline_moved_forward_shortens_what_runs() {
    let mut world = World::new(2);
    let event = event(Severity::Urgent, Some(120_000), world.now);
    world.publish(Arc::clone(&event), plan(&[good(100, 25_000), good(10, 10)]));
    let mut acts = Vec::new();
    world.engine.moved(event.id, world.now.plus_ns(10_000 * MS), world.now, &mut acts);
    world.carry_out(acts);
    world.run();
    assert_eq!(world.status_of("h0"), Ended::TimedOut);
    assert!(world.now.boot_ns <= (1_000 + 10_000) * MS, "over before the new deadline");
}

#[test]
fn an_event_without_handlers_is_over_at_once() {
    let mut world = World::new(1);
    world.publish(event(Severity::Info, None, world.now), plan(&[]));
    assert_eq!((world.reports.len(), world.reports[0].handlers.len()), (1, 0));
}

fn manners() -> impl Strategy<Value = Manners> {
    let numbers = (0..4u32, any::<bool>(), 1..60_000i64, 0..10_000i64, 0..90_000i64, any::<bool>(), any::<bool>());
    numbers.prop_map(|(priority, at_once, timeout_ms, minimum_ms, works_ms, obeys, inline)| Manners {
        stops_on_failure: false,
        priority,
        at_once,
        timeout_ms,
        minimum_ms,
        works_ms,
        obeys,
        inline,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// With a worker for each handler: everyone is reported once, in time, whatever the others do.
    #[test]
    fn every_handler_is_reported_once_and_before_the_deadline(
        all in proptest::collection::vec(manners(), 0..7),
        left_ms in 2_000..200_000i64,
    ) {
        let mut world = World::new(all.len().max(1));
        let start = world.now.boot_ns;
        world.publish(event(Severity::Urgent, Some(left_ms), world.now), plan(&all));
        world.run();
        prop_assert_eq!(world.reports.len(), 1);
        let mut told = world.ended.clone();
        told.sort();
        let mut expected: Vec<String> = (0..all.len()).map(|n| format!("h{n}")).collect();
        expected.sort();
        prop_assert_eq!(told, expected);
        // Grace may be spent once a tier, and only by handlers that ignore cancellation.
        let graces = i64::try_from(all.iter().filter(|m| !m.obeys).count()).expect("few");
        prop_assert!(world.now.boot_ns <= start + (left_ms + graces * 250 + 10) * MS);
    }

    /// With too few workers too, the engine comes to rest and nobody is forgotten.
    #[test]
    fn too_few_workers_forget_nobody(
        all in proptest::collection::vec(manners(), 1..7),
        workers in 1..3usize,
        events in 1..4usize,
    ) {
        let mut world = World::new(workers);
        // Events of one severity share instances, so tiers of different events may overlap: only the
        // bookkeeping is checked here.
        for _ in 0..events {
            world.publish(event(Severity::Urgent, Some(60_000), world.now), plan(&all));
            world.run();
        }
        prop_assert_eq!(world.reports.len(), events);
        prop_assert_eq!(world.ended.len(), events * all.len());
    }
}
