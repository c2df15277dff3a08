//! Departures that a letter told of, for as long as the presence of the one who goes does not say so.
//!
//! Responsibilities: remember who said by a letter that it goes, and add that to what its presence says. A letter needs no quorum, a
//! presence does: servers that were just hurt keep it seconds later, and a leader that waited for it would have the roles after it go
//! first. Inputs: letters, presences, the time. Outputs: presences. It must never hold more than [`MOST_DEPARTURES`], nor let a letter
//! say otherwise than a presence that knows of the same departure.

use std::collections::VecDeque;

use uuid::Uuid;

use super::{Boot, Core, Goes, Letter, Stage, milliseconds};
use crate::wire::Presence;

/// How many departures wait for a presence, at most.
const MOST_DEPARTURES: usize = 1024;

/// Who goes, and when.
#[derive(Debug)]
struct Departure {
    member: String,
    event: Uuid,
    /// The wall time that was stated.
    deadline: Option<i64>,
    drill: bool,
    /// When its time is over.
    until: Boot,
}

/// The last departures that letters told of.
#[derive(Debug, Default)]
pub(super) struct Departures {
    /// The oldest first.
    told: VecDeque<Departure>,
}

impl Departures {
    /// Remembers what a letter says that came just now.
    pub(super) fn hear(&mut self, letter: &Letter, until: Boot) {
        self.withdraw(letter.event);
        if self.told.len() >= MOST_DEPARTURES {
            self.told.pop_front();
        }
        let Letter { member, event, deadline, drill, .. } = letter;
        let (event, deadline, drill) = (*event, *deadline, *drill);
        self.told.push_back(Departure { member: member.clone(), event, deadline, drill, until });
    }

    /// It goes no more.
    pub(super) fn withdraw(&mut self, event: Uuid) {
        self.told.retain(|departure| departure.event != event);
    }

    /// Adds to a presence the departure that it does not say yet. One that says of another departure is left as it is: the group hears of
    /// one at a time. False: there was nothing to add.
    pub(super) fn complete(&mut self, now: Boot, presence: &mut Presence) -> bool {
        let is_said = |event: Uuid| presence.goes.iter().any(|goes| goes.event == event);
        self.told.retain(|departure| {
            departure.until > now && !(departure.member == presence.member && is_said(departure.event))
        });
        if presence.goes.iter().any(|goes| matches!(goes.stage, Stage::Waits | Stage::Acts)) {
            return false;
        }
        let own = self.told.iter().filter(|departure| departure.member == presence.member);
        let Some(first) = own.min_by_key(|departure| departure.until) else { return false };
        presence.goes.push(Goes {
            event: first.event,
            remaining_ms: milliseconds(now.until(first.until)),
            deadline: first.deadline,
            drill: first.drill,
            stage: Stage::Waits,
        });
        true
    }
}

impl Core {
    /// The letter that a member goes came before the presence that says so.
    pub(super) fn member_goes(&mut self, now: Boot, letter: &Letter, until: Boot) {
        if !self.settings.may_lead {
            return;
        }
        self.departures.hear(letter, until);
        let Some(lead) = &mut self.lead else { return };
        let Some(known) = lead.members.get_mut(&letter.member) else { return };
        if self.departures.complete(now, &mut known.presence) {
            let presence = known.presence.clone();
            lead.note_times(now, &presence);
        }
    }

    /// The letter that a notice was withdrawn came before the presence that says so.
    pub(super) fn member_stays(&mut self, member: &str, event: Uuid) {
        self.departures.withdraw(event);
        let known = self.lead.as_mut().and_then(|lead| lead.members.get_mut(member));
        for goes in known.into_iter().flat_map(|known| &mut known.presence.goes).filter(|goes| goes.event == event) {
            goes.stage = Stage::Stays;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::told::Notice;
    use crate::wire::Kind;

    fn letter(member: &str, number: u128) -> Letter {
        let notice = Notice {
            event: Uuid::from_u128(number),
            event_type: "t".to_owned(),
            detected: 0,
            deadline: Some(9),
            left: Duration::from_secs(1),
            details: serde_json::Value::Null,
        };
        Letter::about(Kind::Leaving, &notice, member, "replica")
    }

    fn presence(member: &str, goes: Vec<(u128, Stage)>) -> Presence {
        let goes = goes.into_iter().map(|(number, stage)| Goes {
            event: Uuid::from_u128(number),
            remaining_ms: 1,
            deadline: None,
            drill: false,
            stage,
        });
        Presence {
            member: member.to_owned(),
            role: "replica".to_owned(),
            may_lead: true,
            epoch: 0,
            beat_ms: 1000,
            work_ms: 0,
            goes: goes.collect(),
            acts: None,
        }
    }

    /// The departures that a presence says after it was completed.
    fn said(departures: &mut Departures, now: u64, mut presence: Presence) -> Vec<u128> {
        departures.complete(Boot(now), &mut presence);
        presence.goes.iter().map(|goes| goes.event.as_u128()).collect()
    }

    #[test]
    fn a_presence_that_does_not_know_of_a_departure_is_told_of_it_until_it_does() {
        let mut departures = Departures::default();
        departures.hear(&letter("a", 1), Boot(100));
        assert_eq!(said(&mut departures, 10, presence("b", Vec::new())), [0; 0]);
        assert_eq!(said(&mut departures, 10, presence("a", Vec::new())), [1]);
        assert_eq!(said(&mut departures, 10, presence("a", vec![(7, Stage::Over)])), [7, 1]);
        assert_eq!(said(&mut departures, 10, presence("a", vec![(7, Stage::Acts)])), [7]);
        // From now on the presence is believed.
        assert_eq!(said(&mut departures, 10, presence("a", vec![(1, Stage::Stays)])), [1]);
        assert_eq!(said(&mut departures, 10, presence("a", Vec::new())), [0; 0]);
    }

    #[test]
    fn of_several_the_first_to_go_counts_and_none_that_was_withdrawn_or_is_over() {
        let mut departures = Departures::default();
        departures.hear(&letter("a", 1), Boot(200));
        departures.hear(&letter("a", 2), Boot(100));
        assert_eq!(said(&mut departures, 10, presence("a", Vec::new())), [2]);
        departures.withdraw(Uuid::from_u128(2));
        assert_eq!(said(&mut departures, 10, presence("a", Vec::new())), [1]);
        // Its time was moved.
        departures.hear(&letter("a", 1), Boot(50));
        assert_eq!(said(&mut departures, 50, presence("a", Vec::new())), [0; 0]);
    }

    #[test]
    fn the_last_are_remembered() {
        let mut departures = Departures::default();
        for number in 0..=MOST_DEPARTURES as u128 {
            departures.hear(&letter(&format!("m{number}"), number), Boot(100));
        }
        assert_eq!(departures.told.len(), MOST_DEPARTURES);
        assert_eq!(said(&mut departures, 10, presence("m0", Vec::new())), [0; 0]);
        assert_eq!(said(&mut departures, 10, presence("m1", Vec::new())), [1]);
    }
}
