//! What becomes of an event that was not over when the last process ended.
//!
//! Inputs: what the journal has of it, the plan of today, the time. Outputs: what is left to do, or why nothing is. Must
//! never have a handler that had ended run again, nor let one that ends the daemon do so for ever.

use crate::config::OnCrash;
use crate::dispatch::engine::Earlier;
use crate::dispatch::plan::{Handler, Plan, Plans};
use crate::dispatch::pool::{Order, Pool};
use crate::dispatch::report::{Ended, EventReport, HandlerReport, Verified, is_well, seconds};
use crate::event::{Event, Moment};
use crate::history::recorder::Recorder;
use crate::history::store::OpenEvent;
use crate::sys::clock;
use std::sync::Arc;

/// How long after the cloud was to act an event is still taken up, nanoseconds: as long as the machine runs, what
/// is left may be worth doing.
const LATE_MAX_NS: i64 = 600 * 1_000_000_000;
/// Attempts of a handler in whose course the daemon ended, before no further one is made.
const ATTEMPTS_MAX: u32 = 3;

/// A crash of an earlier process, as far as it is known whose it was.
pub(super) struct Culprit {
    /// "EVENT_TYPE/PLUGIN".
    pub(super) instance: String,
    /// What happened, in words.
    pub(super) what: String,
}

/// What is to be done with an event.
struct Decision {
    /// The handlers that had ended, with those that are now said to have.
    handlers: Vec<HandlerReport>,
    /// Of those, the ones that the journal does not know yet.
    closed: Vec<HandlerReport>,
    /// What the pool is to be told; None: its time is over.
    earlier: Option<Earlier>,
}

/// Decides about one open event.
fn decide<I>(
    open: &OpenEvent,
    event: &Event,
    plan: &Plan<I>,
    culprits: &[Culprit],
    policy: OnCrash,
    now: Moment,
) -> Decision {
    let mut decision = Decision { handlers: Vec::new(), closed: Vec::new(), earlier: None };
    let mut earlier = Earlier::default();
    for delivery in &open.deliveries {
        let ended = delivery.report.as_deref().and_then(|text| serde_json::from_str::<HandlerReport>(text).ok());
        if let Some(report) = ended {
            earlier.ended.push(delivery.instance.clone());
            decision.handlers.push(report);
            continue;
        }
        let Some(handler) = plan.handlers().find(|h| h.instance_name == delivery.instance) else { continue };
        let culprit = culprits.iter().find(|c| c.instance == delivery.instance && policy != OnCrash::Allow);
        let why = match culprit {
            Some(culprit) if policy == OnCrash::Disable => Some(culprit.what.clone()),
            _ if delivery.attempts >= ATTEMPTS_MAX => Some(format!(
                "the daemon ended in the course of {} attempts; no further one is made",
                delivery.attempts
            )),
            _ => None,
        };
        match why {
            Some(why) => {
                let report = crashed(handler, delivery.attempts, why, event, now);
                earlier.ended.push(delivery.instance.clone());
                decision.handlers.push(report.clone());
                decision.closed.push(report);
            }
            None => earlier.attempts.push((delivery.instance.clone(), delivery.attempts)),
        }
    }
    for report in not_to_follow(plan, &decision.handlers, &earlier, event, now) {
        earlier.ended.push(report.instance.clone());
        decision.handlers.push(report.clone());
        decision.closed.push(report);
    }
    let end = event.effective.map_or(event.detected.boot_ns.saturating_add(plan.assumed_ns), |at| at.boot_ns);
    if now.boot_ns <= end.saturating_add(LATE_MAX_NS) {
        decision.earlier = Some(earlier);
    }
    decision
}

/// The handlers that are not to run because one before them did not do its work and says that nothing is to follow then.
fn not_to_follow<I>(
    plan: &Plan<I>,
    ended: &[HandlerReport],
    earlier: &Earlier,
    event: &Event,
    now: Moment,
) -> Vec<HandlerReport> {
    let failed = |handler: &Handler<I>| {
        let report = ended.iter().find(|report| report.instance == handler.instance_name);
        handler.stops_on_failure && report.is_some_and(|report| !is_well(report.status, report.verified))
    };
    let mut stopper = plan.at_once.iter().find(|handler| failed(handler));
    let mut reports = Vec::new();
    for tier in &plan.tiers {
        if let Some(stopper) = stopper {
            let open = tier.handlers.iter().filter(|handler| !earlier.ended.contains(&handler.instance_name));
            reports.extend(open.map(|handler| HandlerReport {
                status: Ended::NotRun,
                ..crashed(handler, 0, stopper.why_nothing_follows(), event, now)
            }));
        }
        stopper = stopper.or_else(|| tier.handlers.iter().find(|handler| failed(handler)));
    }
    reports
}

/// Takes up what was open, and closes what cannot be taken up.
pub(super) fn take_up(
    open: &[OpenEvent],
    (recorder, pool, plans): (&Recorder, &Pool, &Plans),
    culprits: &[Culprit],
    policy: OnCrash,
) {
    for open in open {
        let now = clock::now();
        let event = serde_json::from_str(&open.json).ok().and_then(|json| Event::from_json(&json, now));
        let Some(event) = event.map(Arc::new) else {
            tracing::error!(json = open.json, "an event of an earlier process cannot be read and is not taken up");
            continue;
        };
        let plan = plans.of(&event.event_type);
        let decision = decide(open, &event, &plan, culprits, policy, now);
        let id = event.id.to_string();
        for report in &decision.closed {
            tracing::error!(event = id, instance = report.instance, error = report.error, "handler does not run again");
            recorder.close_handler(&id, report);
        }
        match decision.earlier {
            Some(earlier) => {
                recorder.remember(&event, decision.handlers);
                pool.order(Order::Resume(event, plan, earlier));
            }
            None => {
                tracing::error!(
                    event = id,
                    "the event was not over when the daemon ended, and its time is: interrupted"
                );
                recorder.close(&interrupted(&event, decision.handlers, now));
            }
        }
    }
}

/// The report of an event for which nothing more is done.
fn interrupted(event: &Arc<Event>, handlers: Vec<HandlerReport>, now: Moment) -> EventReport {
    let due = event.effective.map_or(now.boot_ns, |at| at.boot_ns);
    EventReport::new(event, "interrupted", handlers, None, due, now)
}

fn crashed<I>(handler: &Handler<I>, attempts: u32, why: String, event: &Event, now: Moment) -> HandlerReport {
    HandlerReport {
        handler: handler.name.clone(),
        instance: handler.instance_name.clone(),
        priority: handler.priority,
        tier: None,
        start: handler.start.as_str().into(),
        status: Ended::Crashed,
        attempts,
        start_ms: None,
        duration_ms: 0.0,
        budget_ms: 0.0,
        left_seconds: seconds(event.effective.map_or(0, |at| at.boot_ns - now.boot_ns)),
        verified: Verified::NotAsked,
        late_ms: None,
        error: Some(why),
        result: None,
        evidence: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventId, EventType, Pattern};
    use crate::history::store::OpenDelivery;
    use serde_json::json;

    const NOW: Moment = Moment { boot_ns: 5_000_000_000_000, wall_ns: 1_767_323_045_000_000_000 };
    const SECOND_NS: i64 = 1_000_000_000;

    fn handler(name: &str) -> Handler<()> {
        Handler { instance_name: format!("t/{name}"), ..Handler::new(name, Pattern::any(), ()) }
    }

    fn ended() -> HandlerReport {
        let event = event(Some(10));
        HandlerReport { status: Ended::Handled, error: None, ..crashed(&handler("a"), 1, String::new(), &event, NOW) }
    }

    fn event(effective_seconds: Option<i64>) -> Event {
        let json = json!({ "id": EventId::at(NOW.wall_ns).to_string(), "type": "cloud.spot.interrupt", "severity": "urgent",
            "time": "2026-01-02T03:04:05Z", "data": { "action": "terminate", "noticeKind": "deadline" } });
        let mut event = Event::from_json(&json, NOW).expect("an event");
        event.effective = effective_seconds.map(|s| NOW.plus_ns(s * SECOND_NS));
        event
    }

    fn open(deliveries: &[(&str, u32, bool)]) -> OpenEvent {
        let report = serde_json::to_string(&ended()).expect("json");
        let delivery = |(instance, attempts, has_ended): &(&str, u32, bool)| OpenDelivery {
            instance: (*instance).into(),
            attempts: *attempts,
            report: has_ended.then(|| report.clone()),
        };
        OpenEvent { json: String::new(), deliveries: deliveries.iter().map(delivery).collect() }
    }

    fn decided(open: &OpenEvent, effective_seconds: Option<i64>, culprits: &[Culprit], policy: OnCrash) -> Decision {
        let plans = Plans::new(["a", "b", "c"].map(handler).into(), Vec::new());
        let plan = plans.of(&EventType::SPOT_INTERRUPT);
        decide(open, &event(effective_seconds), &plan, culprits, policy, NOW)
    }

    #[test]
    fn what_had_ended_is_left_out_and_what_had_begun_is_tried_again() {
        let open = open(&[("t/a", 1, true), ("t/b", 2, false)]);
        let decision = decided(&open, Some(30), &[], OnCrash::Disable);
        let earlier = Earlier { ended: vec!["t/a".into()], attempts: vec![("t/b".into(), 2)] };
        assert_eq!(decision.earlier, Some(earlier));
        assert_eq!((decision.handlers.len(), decision.closed.len()), (1, 0));
    }

    #[test]
    fn a_handler_in_whose_course_the_daemon_ended_three_times_is_not_tried_a_fourth_time() {
        let decision = decided(&open(&[("t/b", ATTEMPTS_MAX, false)]), Some(30), &[], OnCrash::Allow);
        assert_eq!(decision.earlier.expect("the others run").ended, ["t/b"]);
        assert_eq!((decision.closed[0].status, decision.closed[0].attempts), (Ended::Crashed, ATTEMPTS_MAX));
    }

    #[test]
    fn who_ended_the_daemon_is_not_called_again_unless_the_policy_allows_it() {
        let culprits = [Culprit { instance: "t/b".into(), what: "ended the daemon with SIGSEGV".into() }];
        let open = open(&[("t/b", 1, false), ("t/c", 1, false)]);
        let ended = |policy| decided(&open, Some(30), &culprits, policy).earlier.expect("it is resumed").ended;
        assert_eq!(ended(OnCrash::Disable), ["t/b"]);
        assert!(ended(OnCrash::Allow).is_empty());
    }

    #[test]
    fn what_was_not_to_follow_a_failure_does_not_follow_it_after_a_restart_either() {
        let tiered = |name: &str, priority: u32| Handler { priority, stops_on_failure: name == "b", ..handler(name) };
        let plans = Plans::new(vec![tiered("a", 90), tiered("b", 80), tiered("c", 80), tiered("d", 70)], Vec::new());
        let decided = |status: Ended| {
            let report = |name: &str, status| {
                serde_json::to_string(&HandlerReport { instance: format!("t/{name}"), status, ..ended() })
            };
            let deliveries = [("a", Ended::Failed), ("b", status)].map(|(name, status)| OpenDelivery {
                instance: format!("t/{name}"),
                attempts: 1,
                report: report(name, status).ok(),
            });
            let open = OpenEvent { json: String::new(), deliveries: deliveries.into() };
            decide(&open, &event(Some(30)), &plans.of(&EventType::SPOT_INTERRUPT), &[], OnCrash::Disable, NOW)
        };
        assert!(decided(Ended::Handled).closed.is_empty());
        let stopped = decided(Ended::TimedOut);
        assert_eq!(
            stopped.closed.iter().map(|r| (r.instance.as_str(), r.status)).collect::<Vec<_>>(),
            [("t/d", Ended::NotRun)]
        );
        assert_eq!(stopped.earlier.expect("c still runs").ended, ["t/a", "t/b", "t/d"]);
    }

    #[test]
    fn an_event_is_taken_up_as_long_as_it_may_be_of_use() {
        let is_resumed =
            |effective_seconds| decided(&open(&[]), effective_seconds, &[], OnCrash::Disable).earlier.is_some();
        assert!(is_resumed(Some(1)) && is_resumed(Some(-599)) && is_resumed(None));
        assert!(!is_resumed(Some(-601)));
    }
}
