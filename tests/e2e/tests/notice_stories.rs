//! What a handler sees of any story of notices, moves, withdrawals and restarts, whichever clouds the notices are of.
//!
//! Inputs: stories that are made up, told in each cloud's own documents. Outputs: none. All notices go through one reviser, which
//! is harder than it has to be: no key may be taken for another's, of the same cloud or of the next. Must never repeat the rules
//! of the reviser: what is asked is what its reader may rely on.

use cloudsnooze::event::{Action, Event, Machine, Moment};
use cloudsnooze::normalise::deadline::SECOND_NS;
use cloudsnooze::normalise::revise::{Absence, Reviser, Verdict};
use cloudsnooze::normalise::{Notice, NoticeKey, Reading, alibaba, aws, azure, gcp, tencent};
use proptest::prelude::*;
use serde_json::json;
use std::sync::Arc;

const START: Moment = Moment { boot_ns: 1_000 * SECOND_NS, wall_ns: 1_700_000_000 * SECOND_NS };

/// Every deadline is at least so far ahead: none passes while a story is told. What becomes of one that passes is tested beside.
const AHEAD_MIN_SECONDS: i64 = 3_000;

/// A deadline that a handler has is later than the cloud's by no more, seconds: `EARLIER_MIN_NS`.
const LATE_MAX_SECONDS: i64 = 5;

/// A time that is stated anew and is this far off is told, seconds: `DRIFT_MAX_NS`.
const MOVED_MIN_SECONDS: i64 = 60;

/// One reading of what stands: the machine, now, the deadline in seconds after the start, how many readings there were before.
type Read = fn(&Machine, Moment, i64, usize) -> Notice;

/// One kind of notice, of which one may stand.
struct Kind {
    name: &'static str,
    read: Read,
    /// Whether the document says when: one that does not cannot be moved.
    states_time: bool,
}

/// All key shapes: without an identifier, with the cloud's, with one of ours, the same type with several identifiers.
const KINDS: [Kind; 11] = [
    Kind { name: "aws spot", read: aws_spot, states_time: true },
    Kind {
        name: "aws maintenance 1",
        read: |m, now, end, _| aws_maintenance(m, now, end, "event-1"),
        states_time: true,
    },
    Kind {
        name: "aws maintenance 2",
        read: |m, now, end, _| aws_maintenance(m, now, end, "event-2"),
        states_time: true,
    },
    Kind {
        name: "azure preempt",
        read: |m, now, end, n| azure(m, now, end, n, ("Preempt", "ab-1")),
        states_time: true,
    },
    Kind {
        name: "azure reboot 1",
        read: |m, now, end, n| azure(m, now, end, n, ("Reboot", "ab-2")),
        states_time: true,
    },
    Kind {
        name: "azure reboot 2",
        read: |m, now, end, n| azure(m, now, end, n, ("Reboot", "ab-3")),
        states_time: true,
    },
    Kind { name: "gcp preempted", read: gcp_preempted, states_time: false },
    Kind { name: "gcp maintenance", read: gcp_maintenance, states_time: false },
    Kind { name: "gcp planned", read: gcp_planned, states_time: true },
    Kind { name: "alibaba", read: |m, now, end, _| spot_time(m, now, end, 0), states_time: true },
    Kind { name: "tencent", read: |m, now, end, _| spot_time(m, now, end, 8), states_time: true },
];

fn at(seconds: i64) -> Moment {
    START.plus_ns(seconds * SECOND_NS)
}

/// The time as jiff's strftime writes it.
fn written(seconds: i64, format: &str) -> String {
    let stamp = jiff::Timestamp::from_nanosecond(at(seconds).wall_ns.into()).expect("a year of ours");
    stamp.strftime(format).to_string()
}

fn aws_spot(machine: &Machine, now: Moment, end: i64, _: usize) -> Notice {
    let body = json!({"action": "terminate", "time": at(end).rfc3339()}).to_string();
    aws::instance_action(body.as_bytes(), Reading { machine, now }).unwrap().expect("a notice")
}

fn aws_maintenance(machine: &Machine, now: Moment, end: i64, id: &str) -> Notice {
    let not_before = written(end, "%-d %b %Y %H:%M:%S GMT");
    let list =
        json!([{"Code": "system-reboot", "EventId": id, "State": "active", "NotBefore": not_before}]).to_string();
    let found = aws::maintenance(list.as_bytes(), b"[]", Reading { machine, now }).unwrap();
    found.notices.into_iter().next().expect("a notice")
}

/// The identifier is written now in small letters, now in capitals.
fn azure(machine: &Machine, now: Moment, end: i64, reading: usize, (kind, id): (&str, &str)) -> Notice {
    let id = if reading.is_multiple_of(2) { id.to_owned() } else { id.to_ascii_uppercase() };
    let not_before = written(end, "%a, %d %b %Y %H:%M:%S GMT");
    let event = json!({"EventId": id, "EventType": kind, "EventStatus": "Scheduled", "NotBefore": not_before,
        "Resources": [machine.instance_id]});
    let body = json!({"DocumentIncarnation": reading, "Events": [event]}).to_string();
    let found = azure::document(body.as_bytes(), Reading { machine, now }, Action::Terminate).unwrap();
    found.ours.into_iter().next().expect("a notice").notice
}

fn gcp_preempted(machine: &Machine, now: Moment, end: i64, _: usize) -> Notice {
    let (since, notice_ns) = (at(end - 30), 30 * SECOND_NS);
    gcp::preempted(b"TRUE", Reading { machine, now }, since, notice_ns).unwrap().expect("a notice")
}

/// Of the type that a planned one has, too.
fn gcp_maintenance(machine: &Machine, now: Moment, end: i64, _: usize) -> Notice {
    let since = at(end).plus_ns(-gcp::TERMINATE_NOTICE_NS);
    gcp::maintenance_event(b"TERMINATE_ON_HOST_MAINTENANCE", Reading { machine, now }, since)
        .unwrap()
        .expect("a notice")
}

fn gcp_planned(machine: &Machine, now: Moment, end: i64, _: usize) -> Notice {
    let body = json!({"maintenance_status": "PENDING", "window_start_time": at(end).rfc3339()}).to_string();
    let policy = gcp::OnHostMaintenance::Terminate;
    match gcp::upcoming(body.as_bytes(), policy, Reading { machine, now }).unwrap() {
        gcp::Upcoming::Planned(notice) => *notice,
        other => panic!("{other:?}"),
    }
}

fn spot_time(machine: &Machine, now: Moment, end: i64, ahead_hours: i64) -> Notice {
    let reading = Reading { machine, now };
    let notice = match ahead_hours {
        0 => alibaba::termination_time(written(end, "%Y-%m-%dT%H:%M:%SZ").as_bytes(), reading),
        hours => tencent::termination_time(written(end + hours * 3_600, "%Y-%m-%d %H:%M:%S").as_bytes(), reading),
    };
    notice.unwrap().expect("a notice")
}

/// What happens to one kind of notice.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The cloud says that the end comes so many seconds from now: a notice, or another time for the one that stands.
    Announce(i64),
    /// The time of the one that stands wanders by so many seconds.
    Wander(i64),
    /// It is read again.
    Look,
    /// The cloud takes it back.
    Withdraw,
    /// The daemon is started anew, and knows what it has written down.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (AHEAD_MIN_SECONDS..3 * AHEAD_MIN_SECONDS).prop_map(Step::Announce),
        2 => (-80_i64..80).prop_map(Step::Wander),
        3 => Just(Step::Look),
        2 => Just(Step::Withdraw),
        1 => Just(Step::Restart),
    ]
}

/// A notice that stands, seconds after the start.
#[derive(Clone, Copy, Debug)]
struct Standing {
    /// What the cloud says.
    end: i64,
    /// What it said when it was read last, as far as the daemon knows.
    read: i64,
}

/// What a handler was told of an event.
#[derive(Debug)]
struct Told {
    kind: usize,
    event: Arc<Event>,
    /// Its deadline, seconds after the start.
    deadline: i64,
    is_cancelled: bool,
}

/// The clouds, the reviser, and the handler that keeps account of what it is told.
struct World {
    reviser: Reviser,
    machine: Arc<Machine>,
    standing: [Option<Standing>; KINDS.len()],
    told: Vec<Told>,
    /// Notices that the clouds have made, and withdrawn, so far.
    made: usize,
    withdrawn: usize,
    readings: usize,
}

fn seconds(moment: Option<Moment>) -> i64 {
    (moment.expect("a deadline").boot_ns - START.boot_ns) / SECOND_NS
}

impl World {
    fn new() -> Self {
        let machine = Machine { instance_id: "machine_1".into(), ..Machine::default() };
        let reviser = Reviser::new("test");
        let (standing, told) = ([None; KINDS.len()], Vec::new());
        Self { reviser, machine: Arc::new(machine), standing, told, made: 0, withdrawn: 0, readings: 0 }
    }

    /// The events of a kind that a handler takes to stand.
    fn live(&mut self, kind: usize) -> Vec<&mut Told> {
        self.told.iter_mut().filter(|told| told.kind == kind && !told.is_cancelled).collect()
    }

    fn take(&mut self, kind: usize, step: Step, now: i64) -> Result<(), TestCaseError> {
        let Kind { states_time, .. } = KINDS[kind];
        match (step, self.standing[kind]) {
            (Step::Announce(lead), None) => {
                self.made += 1;
                let end = now + lead;
                self.standing[kind] = Some(Standing { end, read: end });
                self.look(kind, now, true)
            }
            (Step::Announce(lead), Some(standing)) if states_time => {
                self.standing[kind] = Some(Standing { end: now + lead, ..standing });
                self.look(kind, now, false)
            }
            (Step::Wander(by), Some(standing)) if states_time => {
                let end = (standing.end + by).max(now + AHEAD_MIN_SECONDS);
                self.standing[kind] = Some(Standing { end, ..standing });
                self.look(kind, now, false)
            }
            (Step::Withdraw, standing) => self.withdraw(kind, now, standing.is_some()),
            (Step::Restart, _) => {
                self.restart();
                Ok(())
            }
            (_, Some(_)) => self.look(kind, now, false),
            (_, None) => Ok(()),
        }
    }

    /// Reads what stands.
    fn look(&mut self, kind: usize, now: i64, is_made_now: bool) -> Result<(), TestCaseError> {
        let Kind { name, read, states_time } = KINDS[kind];
        let Some(standing) = &mut self.standing[kind] else { return Ok(()) };
        let (end, before) = (standing.end, std::mem::replace(&mut standing.read, standing.end));
        let notice = read(&self.machine, at(now), end, self.readings);
        self.readings += 1;
        let verdict = self.reviser.observe(notice, &self.machine, at(now));
        match verdict {
            Verdict::New(event) => {
                prop_assert!(is_made_now, "{}: a second start of one notice", name);
                prop_assert_eq!(seconds(event.effective), end, "{}", name);
                prop_assert!(self.told.iter().all(|told| told.event.id != event.id), "{}: an id twice", name);
                self.told.push(Told { kind, event, deadline: end, is_cancelled: false });
            }
            other => {
                prop_assert!(!is_made_now, "{}: no start of a notice: {:?}", name, other);
                let live = self.live(kind).pop().expect("counted after each step");
                match other {
                    Verdict::Moved { id, effective } => {
                        prop_assert_eq!(id, live.event.id, "{}", name);
                        prop_assert_eq!(seconds(Some(effective)), end, "{}", name);
                        live.deadline = end;
                    }
                    Verdict::Same => {
                        let is_moved = states_time && (end - before).abs() >= MOVED_MIN_SECONDS;
                        prop_assert!(!is_moved, "{}: a move that is not told, {} to {}", name, before, end);
                        prop_assert!(live.deadline <= end + LATE_MAX_SECONDS, "{}: {:?} for {}", name, live, end);
                    }
                    other => prop_assert!(false, "{}: {:?}", name, other),
                }
            }
        }
        Ok(())
    }

    fn withdraw(&mut self, kind: usize, now: i64, stands: bool) -> Result<(), TestCaseError> {
        let Kind { name, read, .. } = KINDS[kind];
        let end = self.standing[kind].take().map_or(now + AHEAD_MIN_SECONDS, |standing| standing.end);
        // Only its key counts.
        let notice = read(&self.machine, at(now), end, self.readings);
        self.readings += 1;
        let machine = Arc::clone(&self.machine);
        let verdict = if self.readings.is_multiple_of(2) {
            self.reviser.absent(&notice.key, Absence::Withdrawn, &machine, at(now))
        } else {
            self.reviser.observe(Notice { cancelled: true, ..notice }, &machine, at(now))
        };
        match verdict {
            Verdict::Cancelled(event) => {
                prop_assert!(stands, "{}: a cancel of what does not stand", name);
                let live = self.live(kind).pop().expect("counted after each step");
                prop_assert_eq!(event.cancels, Some(live.event.id), "{}", name);
                prop_assert_eq!(&event.event_type, &live.event.event_type.clone().cancelled(), "{}", name);
                live.is_cancelled = true;
                self.withdrawn += 1;
            }
            other => prop_assert!(!stands && matches!(other, Verdict::Same), "{}: {:?}", name, other),
        }
        Ok(())
    }

    /// What is written down of an event is how it was told first; its handlers are given that.
    fn restart(&mut self) {
        self.reviser = Reviser::new("test");
        for told in &mut self.told {
            told.deadline = seconds(told.event.effective);
            self.reviser.seed(NoticeKey::of(&told.event), told.event.id, told.event.effective, told.is_cancelled);
            if let Some(standing) = self.standing[told.kind].as_mut().filter(|_| !told.is_cancelled) {
                standing.read = told.deadline;
            }
        }
    }

    /// One start for each notice, one cancel for each withdrawal, one live deadline for what stands and none for the rest.
    fn account(&mut self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.told.len(), self.made);
        prop_assert_eq!(self.told.iter().filter(|told| told.is_cancelled).count(), self.withdrawn);
        for (kind, Kind { name, .. }) in KINDS.iter().enumerate() {
            let expected = usize::from(self.standing[kind].is_some());
            prop_assert_eq!(self.live(kind).len(), expected, "{}", name);
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn a_handler_sees_one_start_a_notice_one_live_deadline_and_one_cancel_a_withdrawal(
        story in prop::collection::vec((0..KINDS.len(), 1_i64..10, step()), 1..200),
    ) {
        let (mut world, mut now) = (World::new(), 0);
        for (kind, wait, step) in story {
            now += wait;
            world.take(kind, step, now)?;
            world.account()?;
        }
    }
}
