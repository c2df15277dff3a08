//! What a group asks of its servers, counted: real members on servers that are only numbers, in a time that is only a number.
//!
//! Responsibilities: run the members' own state machines for as long as is wished, answer them as the servers do, count each call.
//! Inputs: settings, what happens to whom. Outputs: [`Traffic`]. It is there for capacity planning (the feature `traffic`), not for the
//! daemon. Nothing is lost here and nobody is slow: what breaks under faults is what the tests of the state machine show. It must never
//! count what a member does not ask for, nor decide anything in a member's place.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use crate::clock::{Boot, seconds};
use crate::coordinator::{Entry, Failed, KeptAck, KeptPresence, Ready, Seen};
use crate::epochs::Record;
use crate::settings::{MISSED_BEATS, Settings, longest_beat};
use crate::state::{Core, Effect, Input};
use crate::told::{Notice, Outcome, Told, Turn};
use crate::wire::{Kind, Names};

mod count;

pub use count::{Call, Tally, Traffic};
use count::{Counting, Words};

/// How long anything takes to the servers, and from them.
const WAY: Duration = Duration::from_millis(1);
/// Events of this type are told.
const EVENT_TYPE: &str = "cloud.interruption.preemption";

/// The most subjects that are answered for at once (ADR-31 of NATS); the list of them is read where there are more.
const MOST_SUBJECTS: usize = 1024;
/// What asks for many messages, as JSON, without the subjects.
const QUESTION: usize = 45;

/// Who hears something.
#[derive(Clone, Copy, Debug)]
enum Audience {
    Everybody,
    Candidates,
    Leader,
}

impl Audience {
    fn reaches(self, one: &One) -> bool {
        one.there
            && match self {
                Self::Everybody => true,
                Self::Candidates => one.may_lead,
                Self::Leader => one.leads,
            }
    }
}

#[derive(Debug)]
enum Happening {
    Arrives(usize, Input),
    Reaches(usize, Effect),
    Heard(Audience, Seen),
}

struct One {
    core: Core,
    words: Words,
    wake: Boot,
    may_lead: bool,
    leads: bool,
    there: bool,
}

#[derive(Default)]
struct Store {
    last: u64,
    lease: Option<(Entry, Boot)>,
    plan: Option<Entry>,
    acks: Vec<(u64, KeptAck)>,
    members: BTreeMap<usize, (Bytes, Boot)>,
    letters: Vec<(u64, Bytes)>,
}

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The servers, to keep a write.
    pub write: Duration,
    /// A member, to do its work: a half to one and a half of this, each another length.
    pub work: Duration,
}

/// A group in a world without faults.
pub struct Group {
    now: Boot,
    order: u64,
    queue: BTreeMap<(Boot, u64), Happening>,
    members: Vec<One>,
    by_name: BTreeMap<String, usize>,
    store: Store,
    times: Times,
    lease: Duration,
    presence: Duration,
    counting: Counting,
    completed: Option<Boot>,
    alone: u64,
}

impl Group {
    /// Members by name, each with its settings, that connect within one heartbeat. `seed` makes their chances.
    #[must_use]
    pub fn new(members: Vec<(String, Settings)>, times: Times, seed: u64) -> Self {
        // The group's settings are those of whoever makes its buckets.
        let of_first = members.first().map(|(_, first)| {
            (seconds(first.lease_seconds), seconds(first.heartbeat_seconds), longest_beat(first) * MISSED_BEATS)
        });
        let (lease, beat, presence) = of_first.unwrap_or_default();
        let mut group = Self {
            now: Boot(0),
            order: 0,
            queue: BTreeMap::new(),
            members: Vec::new(),
            by_name: BTreeMap::new(),
            store: Store::default(),
            times,
            lease,
            presence,
            counting: Counting::default(),
            completed: None,
            alone: 0,
        };
        let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
        for (number, (name, settings)) in (0_u32..).zip(members) {
            let words = Words::new(Names::new(&settings.group, &name));
            let record = Record { group: settings.group.clone(), ..Record::default() };
            let process = Uuid::from_u64_pair(seed, u64::from(number));
            let may_lead = settings.may_lead;
            let core = Core::new(settings, name.clone(), process, record);
            group.by_name.insert(name, group.members.len());
            group.members.push(One { core, words, wake: Boot::NEVER, may_lead, leads: false, there: true });
            group.connects(number as usize, beat * number / count);
        }
        group
    }

    fn connects(&mut self, member: usize, delay: Duration) {
        self.arrives(member, delay, Input::Seen(Seen::Connected("servers".to_owned())));
    }

    /// All of them lose their connections, and have them back within this time.
    pub fn reconnects(&mut self, within: Duration) {
        let count = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        for (number, member) in (0_u32..).zip(0..self.members.len()) {
            self.arrives(member, Duration::ZERO, Input::Seen(Seen::Disconnected));
            self.connects(member, WAY + within * number / count);
        }
    }

    /// These get a notice at the same moment, with so much time left, and do their work when it is their turn.
    pub fn leave(&mut self, members: &[String], left: Duration) {
        for name in members {
            let Some(member) = self.by_name.get(name).copied() else { continue };
            let event = Uuid::new_v5(&Uuid::nil(), name.as_bytes());
            let notice = Notice {
                event,
                event_type: EVENT_TYPE.to_owned(),
                detected: 1_700_000_000_000_000_000,
                deadline: Some(1_700_000_120_000_000_000),
                left,
                details: details(&event),
            };
            self.arrives(member, Duration::ZERO, Input::Leaving(notice));
            self.arrives(member, Duration::ZERO, Input::Asked(event));
        }
    }

    /// It is gone without a word.
    pub fn kill(&mut self, name: &str) {
        if let Some(one) = self.by_name.get(name).copied().and_then(|member| self.members.get_mut(member)) {
            one.there = false;
        }
    }

    /// Who leads, by its own clock.
    #[must_use]
    pub fn leader(&self) -> Option<String> {
        let leads = |(_, member): &(&String, &usize)| {
            self.members.get(**member).is_some_and(|one| one.there && one.core.status(self.now).leads)
        };
        self.by_name.iter().find(leads).map(|(name, _)| name.clone())
    }

    /// When an operation was over, counted from the beginning, and how many have acted without the group.
    #[must_use]
    pub fn outcome(&self) -> (Option<Duration>, u64) {
        (self.completed.map(|at| Boot(0).until(at)), self.alone)
    }

    /// Time, counted from the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Boot(0).until(self.now)
    }

    /// What was counted since this was asked the last time.
    pub fn take(&mut self) -> Traffic {
        self.counting.take(self.now)
    }

    /// Lets so much time go by.
    pub fn run(&mut self, length: Duration) {
        let end = self.now.after(length);
        let mut wakes: BTreeMap<(Boot, usize), ()> = BTreeMap::new();
        for (number, one) in self.members.iter().enumerate() {
            wakes.insert((one.wake, number), ());
        }
        loop {
            let queued = self.queue.first_key_value().map_or(Boot::NEVER, |(key, _)| key.0);
            let (woken, member) = wakes.first_key_value().map_or((Boot::NEVER, 0), |(key, ())| *key);
            if queued.min(woken) > end {
                break;
            }
            self.now = self.now.max(queued.min(woken));
            let touched = if queued <= woken {
                match self.queue.pop_first() {
                    Some((_, happening)) => self.happen(happening),
                    None => Vec::new(),
                }
            } else {
                self.handle(member, Input::Tick)
            };
            for (member, before) in touched {
                let after = self.members.get(member).map_or(Boot::NEVER, |one| one.wake);
                wakes.remove(&(before, member));
                wakes.insert((after, member), ());
            }
        }
        self.now = end;
    }

    fn arrives(&mut self, member: usize, delay: Duration, input: Input) {
        self.later(delay, Happening::Arrives(member, input));
    }

    fn later(&mut self, delay: Duration, happening: Happening) {
        self.order += 1;
        self.queue.insert((self.now.after(delay), self.order), happening);
    }

    /// Gives the members that have another time to wake at, with the time before.
    fn happen(&mut self, happening: Happening) -> Vec<(usize, Boot)> {
        match happening {
            Happening::Arrives(member, input) => self.handle(member, input),
            Happening::Reaches(member, effect) => {
                self.serve(member, effect);
                Vec::new()
            }
            Happening::Heard(audience, seen) => {
                let hearing = self.members.iter().enumerate().filter(|(_, one)| audience.reaches(one));
                let who: Vec<usize> = hearing.map(|(number, _)| number).collect();
                who.into_iter().flat_map(|member| self.handle(member, Input::Seen(seen.clone()))).collect()
            }
        }
    }

    fn handle(&mut self, member: usize, input: Input) -> Vec<(usize, Boot)> {
        let now = self.now;
        let Some(one) = self.members.get_mut(member) else { return Vec::new() };
        let before = one.wake;
        if !one.there {
            one.wake = Boot::NEVER;
            return vec![(member, before)];
        }
        let mut effects = Vec::new();
        one.core.handle(now, input, &mut effects);
        // The driver of a member lets other things happen between two looks at the time.
        one.wake = one.core.wake().max(now.after(Duration::from_micros(100)));
        for effect in effects {
            match effect {
                Effect::Told(told) => self.told(member, &told),
                Effect::Turn(event, turn) => self.turn(member, event, &turn),
                Effect::Save { number, .. } => self.arrives(member, WAY, Input::Saved(number, Ok(()))),
                Effect::Lead(leads) => {
                    if let Some(one) = self.members.get_mut(member) {
                        one.leads = leads;
                    }
                }
                effect => self.later(WAY, Happening::Reaches(member, effect)),
            }
        }
        vec![(member, before)]
    }

    fn turn(&mut self, member: usize, event: Uuid, turn: &Turn) {
        match turn {
            Turn::Go { .. } => self.works(member, event),
            Turn::Alone { .. } => {
                self.alone += 1;
                self.works(member, event);
            }
            Turn::Begun { .. } | Turn::Withdrawn => {}
        }
    }

    fn told(&mut self, member: usize, told: &Told) {
        match told {
            Told::Step { event, .. } => self.works(member, *event),
            Told::Completed { .. } => self.completed = Some(self.completed.unwrap_or(self.now)),
            _ => {}
        }
    }

    fn works(&mut self, member: usize, event: Uuid) {
        // As good as by chance, and the same every time.
        let share = f64::from(Uuid::new_v5(&event, b"work").as_u128() as u16) / f64::from(u16::MAX);
        let work = self.times.work.mul_f64(0.5 + share);
        self.arrives(member, work, Input::Done(event, Outcome { ok: true, seconds: work.as_secs_f64(), error: None }));
    }

    /// Does what was asked for, counts it, and answers.
    fn serve(&mut self, member: usize, effect: Effect) {
        self.store.lease = self.store.lease.take().filter(|(_, until)| self.now < *until);
        let (write, now) = (self.times.write, self.now);
        let answer = match effect {
            Effect::Prepare => {
                self.count(member, Call::Prepare, 5, 0, 0);
                (WAY, Input::Ready(Ok(Ready { lease: Some(self.lease), last: self.store.last, problems: Vec::new() })))
            }
            Effect::Send { kind, event_type, identity, letter } => {
                let subject = self.words(member).letter(kind, &event_type);
                self.count(member, Call::Send, 1, subject + letter.len(), 0);
                if kind != Kind::Kept {
                    self.spread(WAY, Call::Send, Audience::Everybody, letter.len(), Seen::Letter(letter.clone()));
                }
                self.store.last += 1;
                self.store.letters.push((self.store.last, letter));
                (write, Input::Sent(identity, Ok(())))
            }
            Effect::Tell(news) => {
                self.count(member, Call::Tell, 1, news.len(), 0);
                return self.spread(WAY, Call::Tell, Audience::Everybody, news.len(), Seen::News(news));
            }
            Effect::TakeLease { asked, over, bytes } => {
                let over = over.filter(|_| self.store.lease.is_some());
                let result = self.write_lease(member, Call::TakeLease, over, bytes);
                (if result.is_ok() { write } else { WAY }, Input::LeaseTaken(asked, result))
            }
            Effect::RenewLease { asked, from, bytes } => {
                (write, Input::LeaseRenewed(asked, from, self.write_lease(member, Call::RenewLease, Some(from), bytes)))
            }
            Effect::ReleaseLease(_) => {
                self.store.lease = None;
                self.count(member, Call::ReleaseLease, 1, 0, 0);
                return self.spread(write, Call::ReleaseLease, Audience::Candidates, 0, Seen::Lease(None));
            }
            Effect::WritePlan { revision, bytes } => {
                (write, Input::PlanWritten(self.write_plan(member, revision, bytes)))
            }
            Effect::Acknowledge { operation, pass, bytes } => {
                self.count(member, Call::Acknowledge, 1, bytes.len(), 0);
                let name = self.words(member).member();
                let ack = KeptAck { operation, pass, member: name, bytes: bytes.clone() };
                self.store.last += 1;
                self.store.acks.push((self.store.last, ack.clone()));
                self.spread(write, Call::Acknowledge, Audience::Leader, bytes.len(), Seen::Ack(ack));
                (write, Input::AckKept(operation, pass, Ok(())))
            }
            Effect::Present(bytes) => {
                self.count(member, Call::Present, 1, bytes.len(), 0);
                self.spread(WAY, Call::Present, Audience::Leader, bytes.len(), Seen::Presence(bytes.clone()));
                self.store.members.insert(member, (bytes, now));
                (WAY, Input::Presented(Ok(())))
            }
            effect => return self.read(member, effect),
        };
        self.arrives(member, answer.0, answer.1);
    }

    fn read(&mut self, member: usize, effect: Effect) {
        let now = self.now;
        let input = match effect {
            Effect::Missed(after) => {
                let new = self.store.letters.iter().filter(|(number, _)| *number > after);
                let letters: Vec<Bytes> = new.map(|(_, letter)| letter.clone()).collect();
                let last = self.store.letters.last().map_or(after, |(number, _)| after.max(*number));
                // The last of the stream; then what is new, with a mark at its end.
                let batch = if letters.is_empty() { (0, 0) } else { (1, letters.len() + 1) };
                let answered = (1 + batch.1, letters.iter().map(Bytes::len).sum());
                self.count_batch(member, Call::Missed, 1 + batch.0, answered);
                Input::Missed(Ok((letters, last)))
            }
            Effect::ReadLease => {
                let entry = self.store.lease.as_ref().map(|(entry, _)| entry.clone());
                self.count(member, Call::ReadLease, 1, 0, entry.as_ref().map_or(0, |entry| entry.bytes.len()));
                Input::LeaseRead(Ok(entry))
            }
            Effect::ReadPlan => {
                let entry = self.store.plan.clone();
                self.count(member, Call::ReadPlan, 1, 0, entry.as_ref().map_or(0, |entry| entry.bytes.len()));
                Input::PlanRead(Ok(entry))
            }
            Effect::ReadMembers => {
                self.store.members.retain(|_, (_, written)| now < written.after(self.presence));
                let newest = self.store.members.values().map(|(_, written)| *written).max().unwrap_or_default();
                let kept = |(bytes, written): &(Bytes, Boot)| KeptPresence {
                    bytes: bytes.clone(),
                    age: written.until(newest),
                };
                let found: Vec<KeptPresence> = self.store.members.values().map(kept).collect();
                let bytes = found.iter().map(|kept| kept.bytes.len()).sum();
                if found.len() <= MOST_SUBJECTS {
                    self.count_batch(member, Call::ReadMembers, 1, (found.len() + 1, bytes));
                } else {
                    // Refused; then their list, then each.
                    self.count_batch(member, Call::ReadMembers, 1, (1, 0));
                    self.count(member, Call::ListMembers, 1, 0, found.len() * self.words(member).listed());
                    self.count(member, Call::ReadMembers, found.len(), 0, bytes);
                }
                Input::Members(Ok(found))
            }
            Effect::ReadAcks { operation, after } => {
                let new = self.store.acks.iter().filter(|(at, ack)| *at > after && ack.operation == operation);
                let acks: Vec<KeptAck> = new.map(|(_, ack)| ack.clone()).collect();
                let last = self.store.acks.last().map_or(after, |(at, _)| *at);
                let bytes = acks.iter().map(|ack| ack.bytes.len()).sum();
                self.count_batch(member, Call::ReadAcks, 1, (acks.len() + 1, bytes));
                Input::Acks(operation, Ok((acks, last)))
            }
            _ => return,
        };
        self.arrives(member, WAY, input);
    }

    fn write_lease(&mut self, member: usize, call: Call, from: Option<u64>, bytes: Bytes) -> Result<u64, Failed> {
        if self.store.lease.as_ref().map(|(entry, _)| entry.revision) != from {
            // Refused, and looked at why.
            self.count(member, Call::RefusedLease, 2, bytes.len(), 0);
            return Err(Failed::Conflict);
        }
        self.count(member, call, 1, bytes.len(), 0);
        self.store.last += 1;
        let entry = Entry { revision: self.store.last, bytes };
        let length = entry.bytes.len();
        self.store.lease = Some((entry.clone(), self.now.after(self.lease)));
        self.spread(self.times.write, call, Audience::Candidates, length, Seen::Lease(Some(entry)));
        Ok(self.store.last)
    }

    fn write_plan(&mut self, member: usize, revision: Option<u64>, bytes: Bytes) -> Result<u64, Failed> {
        self.count(member, Call::WritePlan, 1, bytes.len(), 0);
        let found = self.store.plan.as_ref().map_or(0, |entry| entry.revision);
        if revision.is_some_and(|revision| revision != found) {
            return Err(Failed::Conflict);
        }
        self.store.last += 1;
        let entry = Entry { revision: self.store.last, bytes };
        let length = entry.bytes.len();
        self.store.plan = Some(entry.clone());
        self.spread(self.times.write, Call::WritePlan, Audience::Everybody, length, Seen::Plan(entry));
        Ok(self.store.last)
    }

    /// To all that listen, once the servers have it.
    fn spread(&mut self, delay: Duration, call: Call, audience: Audience, payload: usize, seen: Seen) {
        let ears = self.members.iter().filter(|one| audience.reaches(one)).count();
        if let Some(words) = self.members.first().map(|one| &one.words) {
            self.counting.delivered(self.now, call, ears, words.delivered(call, payload));
        }
        self.later(delay + WAY, Happening::Heard(audience, seen));
    }

    fn words(&self, member: usize) -> &Words {
        &self.members[member].words
    }

    /// Each question with one answer.
    fn count(&mut self, member: usize, call: Call, asked: usize, payload: usize, answered: usize) {
        let words = &self.members[member].words;
        let bytes = words.answered(call, asked, answered);
        let answers = if bytes == 0 { 0 } else { asked };
        self.counting.asked(self.now, call, (asked, words.asked(call, asked, payload)), (answers, bytes));
    }

    /// Questions with so many answers, which have so many bytes.
    fn count_batch(&mut self, member: usize, call: Call, asked: usize, (answers, answered): (usize, usize)) {
        let words = &self.members[member].words;
        let asked = (asked, words.asked(call, asked, asked * QUESTION));
        self.counting.asked(self.now, call, asked, (answers, words.answered(call, answers, answered)));
    }
}

/// As much as a daemon passes on of a notice.
fn details(event: &Uuid) -> serde_json::Value {
    serde_json::json!({
        "specversion": "1.0", "id": event, "source": "//cloudsnooze/aws", "type": EVENT_TYPE, "time": "2023-11-14T22:13:20.000000000Z",
        "datacontenttype": "application/json",
        "data": { "action": "terminate", "deadline": "2023-11-14T22:15:20Z", "instance": "i-0123456789abcdef0", "region": "eu-central-1" },
    })
}

#[cfg(test)]
mod tests;
