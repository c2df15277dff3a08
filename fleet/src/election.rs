//! Who leads: a lease in the servers' store, and this member's own clock.
//!
//! Responsibilities: when to ask for the lease, to renew it, to give it back; since when and until when this member leads; pure.
//! Inputs: what the store says, answers to what was asked, the time. Outputs: what to ask the store for.
//! It must never count itself the leader beyond 0.8 of the lease, counted from before the last call that the store confirmed.

use std::time::Duration;

use crate::clock::Boot;

/// What the store says of the lease: the process that holds it, if any, and the revision of the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nobody holds it.
    Free,
    /// This process holds it, as the store says.
    Ours(u64),
    /// Another one does.
    Theirs(u64),
}

/// How a call to the store ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Done; the entry's revision.
    Done(u64),
    /// The store holds something else than was expected.
    Refused,
    /// It is not known whether it was done.
    Unknown,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Do {
    /// Ask for the lease: in place of the entry of this revision, which was not renewed in its time, where there is one.
    Create(Option<u64>),
    /// Renew the entry of this revision.
    Renew(u64),
    /// Give the entry of this revision back.
    Release(u64),
    /// This member leads from now on; the number is the fencing token.
    Lead(u64),
    /// It leads no more.
    Deposed(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Following,
    /// Asked for the lease at this moment.
    Asking(Boot),
    Leading(Leading),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leading {
    revision: u64,
    until: Boot,
    renew_at: Boot,
    /// A renewal is on its way.
    renewing: bool,
}

/// The election as one member sees it.
#[derive(Debug)]
pub(crate) struct Election {
    lease: Duration,
    may_lead: bool,
    /// Does not look at the own clock; see `Settings::unfenced`.
    unfenced: bool,
    state: State,
    /// When the first call for the lease was made whose answer was lost.
    unanswered: Option<Boot>,
    /// Not before this moment does it ask.
    not_before: Boot,
    /// Whether the store was ever looked at.
    looked: bool,
    /// The last revision seen of another holder.
    heard: Option<u64>,
    /// When its lease is over by the own clock, however long the store keeps it beyond that. Whoever holds it counted from before it was
    /// written, and only to 0.8 of it.
    over_at: Boot,
    /// Until when there was a leader, as far as was heard.
    led_until: Boot,
}

impl Election {
    pub(crate) fn new(lease: Duration, may_lead: bool, unfenced: bool) -> Self {
        let state = State::Following;
        let (not_before, over_at, led_until) = (Boot(0), Boot(0), Boot(0));
        let (unanswered, looked, heard) = (None, false, None);
        Self { lease, may_lead, unfenced, state, unanswered, not_before, looked, heard, over_at, led_until }
    }

    /// The length of the lease, as the store keeps it.
    pub(crate) fn set_lease(&mut self, lease: Duration) {
        self.lease = lease;
    }

    pub(crate) fn lease(&self) -> Duration {
        self.lease
    }

    /// Whether this member leads, by its own clock.
    pub(crate) fn leads(&self, now: Boot) -> bool {
        matches!(self.state, State::Leading(leading) if self.unfenced || now < leading.until)
    }

    /// Until when there is or was a leader, as far as was heard: another one or this member.
    pub(crate) fn led_until(&self) -> Boot {
        match self.state {
            State::Leading(leading) => leading.until.max(self.led_until),
            _ => self.led_until,
        }
    }

    /// A leader did something just now.
    pub(crate) fn heard_of_a_leader(&mut self, now: Boot) {
        self.led_until = self.led_until.max(now.after(self.lease));
    }

    /// What the store said of the lease; it may be old, as any replica answers. `pause` is waited before this member asks for it, so
    /// that not all ask at once.
    pub(crate) fn seen(&mut self, now: Boot, seen: Seen, pause: Duration) -> Option<Do> {
        self.looked = true;
        match (seen, self.state) {
            (Seen::Theirs(revision), State::Leading(leading)) => {
                let is_newer = revision > leading.revision && !self.unfenced;
                is_newer.then(|| self.depose(now, "another member holds the lease"))
            }
            (Seen::Theirs(revision), _) => {
                if self.hold(now, revision, pause) {
                    self.heard_of_a_leader(now);
                }
                // The call whose answer was lost was not the one that was granted.
                self.unanswered = None;
                None
            }
            (Seen::Ours(revision), State::Following) => {
                // The answer was lost, the lease is there. After its time it is of no use, and has to run out like anybody else's.
                let Some(asked) = self.unanswered.take().filter(|asked| now < self.end_of(*asked)) else {
                    self.hold(now, revision, pause);
                    return None;
                };
                self.lead(now, asked, revision);
                Some(Do::Lead(revision))
            }
            (Seen::Free, State::Following) => {
                if self.heard.take().is_some() {
                    self.led_until = self.led_until.min(now);
                    self.not_before = self.not_before.max(now.after(pause));
                }
                None
            }
            (Seen::Free | Seen::Ours(_), _) => None,
        }
    }

    /// The lease is held under this revision: it runs from now on, unless that was known. Says whether it was not.
    fn hold(&mut self, now: Boot, revision: u64, pause: Duration) -> bool {
        let is_new = self.heard != Some(revision);
        if is_new {
            (self.heard, self.over_at) = (Some(revision), now.after(self.lease + pause));
        }
        is_new
    }

    /// Keeps away from the lease for some time.
    pub(crate) fn stand_back(&mut self, until: Boot) {
        self.not_before = self.not_before.max(until);
    }

    /// Takes the answer to [`Do::Create`], which was asked at this moment.
    pub(crate) fn created(&mut self, now: Boot, asked: Boot, answer: Answer) -> Option<Do> {
        if self.state != State::Asking(asked) {
            return None;
        }
        self.state = State::Following;
        match answer {
            Answer::Done(revision) if now < self.end_of(asked) || self.unfenced => {
                self.lead(now, asked, revision);
                Some(Do::Lead(revision))
            }
            // Too late to lead with: given back, so that nobody waits for its end.
            Answer::Done(revision) => Some(Do::Release(revision)),
            // Whoever else was granted it is heard of in a moment, and then nobody asks. Else a replica has dropped the last lease
            // before the others: it is free any time now, and the group has no leader until somebody asks again.
            Answer::Refused => {
                self.not_before = now.after(self.lease / 12);
                None
            }
            Answer::Unknown => {
                // Of several it may be the first that was granted.
                self.unanswered = Some(self.unanswered.map_or(asked, |first| first.min(asked)));
                self.not_before = now.after(self.lease / 4);
                None
            }
        }
    }

    /// Takes the answer to [`Do::Renew`] of this revision, which was asked at this moment.
    pub(crate) fn renewed(&mut self, now: Boot, asked: Boot, from: u64, answer: Answer) -> Option<Do> {
        let end = self.end_of(asked);
        let lease = self.lease;
        let State::Leading(leading) = &mut self.state else { return None };
        if leading.revision != from {
            return None;
        }
        leading.renewing = false;
        match answer {
            Answer::Done(revision) => {
                *leading = Leading { revision, until: end, renew_at: asked.after(lease / 4), renewing: false };
                None
            }
            Answer::Refused if self.unfenced => {
                leading.renew_at = now.after(lease / 4);
                None
            }
            Answer::Refused => Some(self.depose(now, "another member holds the lease")),
            Answer::Unknown => {
                leading.renew_at = now.after(lease / 16);
                None
            }
        }
    }

    /// What is due now.
    pub(crate) fn due(&mut self, now: Boot) -> Option<Do> {
        let unfenced = self.unfenced;
        match &mut self.state {
            State::Leading(leading) => {
                if now >= leading.until && !unfenced {
                    return Some(self.depose(now, "it could not be renewed in time"));
                }
                if now >= leading.renew_at && !leading.renewing {
                    leading.renewing = true;
                    return Some(Do::Renew(leading.revision));
                }
                None
            }
            State::Following => {
                if now < self.asks_at() {
                    return None;
                }
                self.state = State::Asking(now);
                Some(Do::Create(self.heard))
            }
            State::Asking(_) => None,
        }
    }

    /// Gives the lease back and keeps away from it until then.
    pub(crate) fn release(&mut self, now: Boot, away_until: Boot) -> Option<Do> {
        self.stand_back(away_until);
        let State::Leading(leading) = self.state else { return None };
        self.state = State::Following;
        self.led_until = now;
        Some(Do::Release(leading.revision))
    }

    /// When `due` has something to do even if nothing is heard.
    pub(crate) fn wake(&self) -> Boot {
        match self.state {
            State::Leading(leading) if leading.renewing => leading.until,
            State::Leading(leading) => leading.until.min(leading.renew_at),
            State::Following => self.asks_at(),
            State::Asking(_) => Boot::NEVER,
        }
    }

    /// When it asks for the lease if nothing is heard.
    fn asks_at(&self) -> Boot {
        match self.heard {
            _ if !self.may_lead || !self.looked => Boot::NEVER,
            None => self.not_before,
            Some(_) => self.not_before.max(self.over_at),
        }
    }

    fn lead(&mut self, now: Boot, asked: Boot, revision: u64) {
        self.heard = None;
        self.unanswered = None;
        let renew_at = now.max(asked.after(self.lease / 4));
        self.state = State::Leading(Leading { revision, until: self.end_of(asked), renew_at, renewing: false });
    }

    fn depose(&mut self, now: Boot, why: &'static str) -> Do {
        self.state = State::Following;
        self.led_until = self.led_until.max(now);
        Do::Deposed(why)
    }

    /// Until when a lease serves that was asked for at this moment: the store counts from later, and clocks differ in speed.
    fn end_of(&self, asked: Boot) -> Boot {
        asked.after(self.lease * 4 / 5)
    }
}

#[cfg(test)]
mod tests;
