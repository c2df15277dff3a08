//! What is to be done with a message, and with those whose work is under way.
//!
//! Inputs: what a message says, how often it was delivered, which machine this is, which events are over. Outputs: steps.
//! Pure: no request is made here. Must never have a message deleted before all of its events are over.

use crate::config::Foreign;
use crate::message::{Found, Meaning};
use cloudsnooze_plugin::source::EventId;
use std::collections::HashMap;
use std::time::Duration;

/// The longest pause before a message that was given back is seen again.
const PAUSE_MAX_SECONDS: u64 = 30;

/// What to do with a message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Tell these, and then do this with the message.
    Tell(Vec<Found>, Then),
    /// Nobody needs it any more.
    Delete,
    /// Others may see it, after this pause.
    GiveBack(Duration),
    /// Nobody understands it, and why.
    SetAside(String),
}

/// What becomes of a message whose events are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It was for this reader alone.
    Delete,
    /// It is for other machines too.
    GiveBack(Duration),
}

/// What decisions go by.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// The machine whose notices are meant.
    pub(crate) ours: String,
    pub(crate) foreign: Foreign,
    pub(crate) receives_max: u32,
}

/// `receives`: how often it was delivered, this time included.
pub(crate) fn step(meaning: Meaning, receives: u32, rules: &Rules) -> Step {
    let give_back = pause(receives);
    match meaning {
        Meaning::Test => Step::Delete,
        Meaning::Notices(all) if rules.foreign == Foreign::Take => Step::Tell(all, Then::Delete),
        Meaning::Notices(all) => {
            let is_ours_alone = all.iter().all(|found| found.instance_id == rules.ours);
            let ours: Vec<Found> = all.into_iter().filter(|found| found.instance_id == rules.ours).collect();
            match (ours.is_empty(), is_ours_alone) {
                (true, _) => Step::GiveBack(give_back),
                (false, true) => Step::Tell(ours, Then::Delete),
                (false, false) => Step::Tell(ours, Then::GiveBack(give_back)),
            }
        }
        Meaning::NoNotice(machines) => {
            let is_ours = !machines.is_empty() && machines.iter().all(|machine| *machine == rules.ours);
            if is_ours || rules.foreign == Foreign::Take { Step::Delete } else { Step::GiveBack(give_back) }
        }
        Meaning::Unknown(why) if receives >= rules.receives_max => Step::SetAside(why),
        Meaning::Unknown(_) => Step::GiveBack(give_back),
    }
}

/// At once after the first delivery, then longer and longer: many machines may read one queue.
fn pause(receives: u32) -> Duration {
    let seconds = match receives {
        0..=1 => 0,
        more => 1_u64.checked_shl(more - 2).unwrap_or(PAUSE_MAX_SECONDS),
    };
    Duration::from_secs(seconds.min(PAUSE_MAX_SECONDS))
}

/// The messages whose work is under way.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    held: HashMap<String, Held>,
}

#[derive(Debug)]
struct Held {
    /// What SQS knows this delivery by; the newest counts.
    receipt: String,
    waits_for: Vec<EventId>,
    then: Then,
}

/// A message that can go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) receipt: String,
    pub(crate) then: Then,
}

impl Desk {
    /// Takes a message in. Gives it back at once when it waits for nothing.
    pub(crate) fn take(&mut self, message: &str, receipt: String, waits_for: Vec<EventId>, then: Then) -> Option<Done> {
        if waits_for.is_empty() {
            self.held.remove(message);
            return Some(Done { receipt, then });
        }
        // Delivered again, because it was not hidden long enough: only the newest receipt is sure to work.
        self.held.insert(message.to_owned(), Held { receipt, waits_for, then });
        None
    }

    /// An event is over: the messages that waited for nothing else.
    pub(crate) fn over(&mut self, event: EventId) -> Vec<Done> {
        let mut done = Vec::new();
        self.held.retain(|_, held| {
            let before = held.waits_for.len();
            held.waits_for.retain(|waited| *waited != event);
            let is_done = held.waits_for.is_empty() && before > 0;
            if is_done {
                done.push(Done { receipt: held.receipt.clone(), then: held.then });
            }
            !is_done
        });
        done
    }

    /// The deliveries that are to stay hidden from others.
    pub(crate) fn receipts(&self) -> Vec<String> {
        self.held.values().map(|held| held.receipt.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::read;
    use cloudsnooze_plugin::serde_json::json;

    const OURS: &str = "i-0000000000000000a";
    const OTHER: &str = "i-0000000000000000b";

    fn rules(foreign: Foreign) -> Rules {
        Rules { ours: OURS.into(), foreign, receives_max: 3 }
    }

    fn spot(instance: &str) -> Meaning {
        let detail = json!({"instance-id": instance, "instance-action": "terminate"});
        let kind = "EC2 Spot Instance Interruption Warning";
        read(
            &json!({"source": "aws.ec2", "detail-type": kind, "time": "2025-06-01T12:00:00Z", "detail": detail})
                .to_string(),
        )
    }

    fn health(instances: &[&str]) -> Meaning {
        let entities: Vec<_> = instances.iter().map(|id| json!({"entityValue": id})).collect();
        let detail = json!({
            "service": "EC2", "eventTypeCategory": "scheduledChange", "eventTypeCode": "AWS_EC2_INSTANCE_REBOOT_SCHEDULED",
            "affectedEntities": entities,
        });
        read(&json!({"source": "aws.health", "detail-type": "AWS Health Event", "detail": detail}).to_string())
    }

    #[test]
    fn a_message_for_others_is_given_back_with_longer_and_longer_pauses_and_never_set_aside() {
        let seconds: Vec<u64> = (1..=9)
            .map(|receives| match step(spot(OTHER), receives, &rules(Foreign::Leave)) {
                Step::GiveBack(pause) => pause.as_secs(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(seconds, [0, 1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(step(spot(OTHER), u32::MAX, &rules(Foreign::Leave)), Step::GiveBack(Duration::from_secs(30)));
    }

    #[test]
    fn a_message_for_several_machines_is_told_here_and_stays_for_the_others() {
        let Step::Tell(told, then) = step(health(&[OURS, OTHER]), 1, &rules(Foreign::Leave)) else {
            panic!("not told")
        };
        assert_eq!((told.len(), &*told[0].instance_id, then), (1, OURS, Then::GiveBack(Duration::ZERO)));
        let Step::Tell(told, then) = step(health(&[OURS, OTHER]), 1, &rules(Foreign::Take)) else { panic!("not told") };
        assert_eq!((told.len(), then), (2, Then::Delete));
        assert!(matches!(step(health(&[OURS]), 1, &rules(Foreign::Leave)), Step::Tell(_, Then::Delete)));
    }

    #[test]
    fn what_nobody_understands_is_set_aside_after_its_last_delivery_and_what_is_no_notice_goes_where_it_belongs() {
        let unknown = || read("<html>");
        assert!(matches!(step(unknown(), 2, &rules(Foreign::Leave)), Step::GiveBack(_)));
        assert!(matches!(step(unknown(), 3, &rules(Foreign::Leave)), Step::SetAside(why) if why.contains("JSON")));
        assert_eq!(step(Meaning::Test, 1, &rules(Foreign::Leave)), Step::Delete);
        let no_notice = |machines: &[&str]| Meaning::NoNotice(machines.iter().map(|id| (*id).to_owned()).collect());
        assert_eq!(step(no_notice(&[OURS]), 1, &rules(Foreign::Leave)), Step::Delete);
        for machines in [&[][..], &[OTHER], &[OURS, OTHER]] {
            assert!(matches!(step(no_notice(machines), 1, &rules(Foreign::Leave)), Step::GiveBack(_)), "{machines:?}");
        }
    }

    #[test]
    fn a_message_goes_when_all_of_its_events_are_over_and_by_its_newest_receipt() {
        let (one, two) = (EventId([1; 16]), EventId([2; 16]));
        let mut desk = Desk::default();
        assert_eq!(desk.take("m", "old".into(), vec![one, two], Then::Delete), None);
        assert_eq!(desk.take("n", "other".into(), vec![two], Then::GiveBack(Duration::ZERO)), None);
        assert!(desk.over(one).is_empty());
        assert_eq!(desk.take("m", "new".into(), vec![two], Then::Delete), None);
        let mut done: Vec<String> = desk.over(two).into_iter().map(|done| done.receipt).collect();
        done.sort();
        assert_eq!((done, desk.receipts().len()), (vec!["new".to_owned(), "other".to_owned()], 0));
        assert!(desk.take("m", "x".into(), Vec::new(), Then::Delete).is_some(), "its time had passed");
    }
}
