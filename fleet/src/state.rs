//! What a member decides: one state machine of all that it knows, without a clock, a connection or a disk of its own.
//!
//! Responsibilities: take one input at a time, keep what is known, say what to do. Inputs: what the owner calls, what the servers say,
//! ends of what was asked for, the time. Outputs: [`Effect`]s, and when to be asked again. It must never wait, and never act on a lease
//! or a directive before it has looked at the time and the epoch.
//!
//! `follow` is a member's own part: plans, turns, acknowledgements. `lead` is what only the leader does. `say` is what is sent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use crate::clock::{Boot, milliseconds, seconds};
use crate::coordinator::{Entry, Failed, KeptAck, KeptPresence, Ready, Seen};
use crate::election::{Answer, Do, Election};
use crate::epochs::Record;
use crate::plan::Plan;
use crate::settings::{Settings, longest_beat};
use crate::told::{Counts, Notice, Outcome, Told, Turn};
use crate::wire::{Goes, Kind, Lease, Letter, Stage, read, write};

mod departures;
mod follow;
mod heard;
mod lead;
mod say;
mod status;
#[cfg(test)]
mod tests;

use departures::Departures;
use heard::Heard;
use lead::Lead;
pub(crate) use status::present_of;

/// How often the store is asked while something is going on, beside what it tells by itself: what is told can stall.
const POLL: Duration = Duration::from_secs(1);
/// Heartbeats of a group in a second, at most: by measurement one of them is a millisecond of three servers' processors together.
const BEATS_A_SECOND: f64 = 50.0;
/// Events of the time away are read again after this time: a replica may have answered that did not have the last of them yet.
const REPLICAS_LAG: Duration = Duration::from_secs(2);
/// And once more after this time: servers were seen to be without a leader, and to keep nothing, for 13 s; who told an event then has it
/// kept within 5 s of their next one.
const ELECTIONS: Duration = Duration::from_secs(20);
/// The most that candidates are apart when a lease becomes free.
const APART: Duration = Duration::from_millis(100);
/// How many sentences about what is wrong are kept.
const MOST_PROBLEMS: usize = 16;
/// How long a sentence counts: what goes on being wrong is found again by then.
const LATELY: Duration = Duration::from_secs(60);
/// How many own notices are remembered.
const MOST_OWN: usize = 64;
/// How long a disk is waited for before the work begins without it.
const DISK_WAIT: Duration = Duration::from_secs(1);

/// What happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// The owner's calls.
    Publish(Notice),
    Keep(Notice),
    Leaving(Notice),
    Stays(Uuid),
    Asked(Uuid),
    Done(Uuid, Outcome),
    Leave,
    /// What came by itself.
    Seen(Seen),
    /// Ends of effects.
    Ready(Result<Ready, Failed>),
    Sent(String, Result<(), Failed>),
    Missed(Result<(Vec<Bytes>, u64), Failed>),
    LeaseRead(Result<Option<Entry>, Failed>),
    LeaseTaken(Boot, Result<u64, Failed>),
    LeaseRenewed(Boot, u64, Result<u64, Failed>),
    PlanRead(Result<Option<Entry>, Failed>),
    PlanWritten(Result<u64, Failed>),
    AckKept(Uuid, usize, Result<(), Failed>),
    Acks(Uuid, Result<(Vec<KeptAck>, u64), Failed>),
    Presented(Result<(), Failed>),
    Members(Result<Vec<KeptPresence>, Failed>),
    Saved(u64, Result<(), String>),
    /// Time has passed.
    Tick,
}

/// What to do. Each that has an end comes back as an input.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    Prepare,
    Send { kind: Kind, event_type: String, identity: String, letter: Bytes },
    Tell(Bytes),
    Missed(u64),
    ReadLease,
    TakeLease { asked: Boot, over: Option<u64>, bytes: Bytes },
    RenewLease { asked: Boot, from: u64, bytes: Bytes },
    ReleaseLease(u64),
    ReadPlan,
    WritePlan { revision: Option<u64>, bytes: Bytes },
    Acknowledge { operation: Uuid, pass: usize, bytes: Bytes },
    ReadAcks { operation: Uuid, after: u64 },
    Present(Bytes),
    Absent,
    ReadMembers,
    Lead(bool),
    Save { number: u64, bytes: Vec<u8> },
    Told(Told),
    Turn(Uuid, Turn),
}

/// A notice of this machine.
#[derive(Debug)]
struct Own {
    letter: Letter,
    told: Boot,
    notice: Duration,
    deadline: Boot,
    /// The owner waits for its turn.
    asked: bool,
    stage: Stage,
    /// It was begun, and the answer waits for the disk.
    begins: Option<Begins>,
    /// The lease was given back because of it.
    yielded: bool,
}

/// What waits until it is on the disk.
#[derive(Debug)]
struct Begins {
    number: u64,
    until: Boot,
    turn: Turn,
}

/// A part of a pass for a member that stays, which waits until it is on the disk.
#[derive(Debug)]
struct BeginsStep {
    number: u64,
    until: Boot,
    operation: Uuid,
    pass: usize,
    event: Uuid,
}

/// An event that is to be sent, or that the servers have not kept yet.
#[derive(Debug)]
struct Unsent {
    letter: Letter,
    identity: String,
    deadline: Boot,
    next: Boot,
    in_flight: bool,
    tries: u32,
}

/// What was asked for and has not ended.
#[derive(Debug, Default)]
struct InFlight {
    prepare: bool,
    lease: bool,
    plan: bool,
    acks: BTreeSet<(Uuid, usize)>,
}

/// A member's knowledge.
#[derive(Debug)]
pub(crate) struct Core {
    settings: Settings,
    name: String,
    process: Uuid,
    record: Record,
    election: Election,
    connected: bool,
    ready: bool,
    ready_since: Boot,
    server: Option<String>,
    own: BTreeMap<Uuid, Own>,
    steps: Vec<BeginsStep>,
    /// The last plan that was accepted, and its revision.
    plan: Plan,
    revision: u64,
    leader_told: u64,
    /// Who holds the lease, as was heard.
    leader: Option<String>,
    lease_heard: Boot,
    /// How many members there are, as the last leader said.
    size: usize,
    /// When the servers told of the lease by themselves.
    lease_told: Boot,
    heard: Heard,
    departures: Departures,
    letters: VecDeque<Unsent>,
    lead: Option<Lead>,
    in_flight: InFlight,
    next_poll: Boot,
    last_poll: Boot,
    next_beat: Boot,
    /// Its presence is told for the first time on this connection.
    speaks_first: bool,
    /// Streams and buckets were found, or made, on this connection or one before.
    is_prepared: bool,
    next_prepare: Boot,
    /// When the events of the time away are read again, and when for the last time. Not more often than is needed: what was told live
    /// meanwhile is read, too, and by all who came back together.
    missed_again: Option<Boot>,
    missed_last: Option<Boot>,
    next_ack: Boot,
    last_ack: Boot,
    /// The number of the last version of the record that is to be saved, being saved, and on the disk.
    wanted: u64,
    saving: Option<u64>,
    saved: u64,
    next_save: Boot,
    left: bool,
    counts: Counts,
    /// What was wrong lately, and when it was last seen to be so.
    problems: VecDeque<(Boot, String)>,
    /// What is wrong with the servers' streams and buckets, as they were when they were looked at last.
    standing: Vec<String>,
    now: Boot,
    rounds: u64,
    wake: Boot,
    effects: Vec<Effect>,
}

impl Core {
    /// A member of this name that was just started, with what it remembers. `process` is another one at every start.
    pub(crate) fn new(settings: Settings, name: String, process: Uuid, record: Record) -> Self {
        let lease = seconds(settings.lease_seconds);
        let election = Election::new(lease, settings.may_lead, settings.unfenced);
        Self {
            settings,
            name,
            process,
            record,
            election,
            connected: false,
            ready: false,
            ready_since: Boot(0),
            server: None,
            own: BTreeMap::new(),
            steps: Vec::new(),
            plan: Plan::default(),
            revision: 0,
            leader_told: 0,
            leader: None,
            lease_heard: Boot(0),
            size: 0,
            lease_told: Boot(0),
            heard: Heard::default(),
            departures: Departures::default(),
            letters: VecDeque::new(),
            lead: None,
            in_flight: InFlight::default(),
            next_poll: Boot(0),
            last_poll: Boot(0),
            next_beat: Boot(0),
            speaks_first: false,
            is_prepared: false,
            next_prepare: Boot(0),
            missed_again: None,
            missed_last: None,
            next_ack: Boot(0),
            last_ack: Boot(0),
            wanted: 0,
            saving: None,
            saved: 0,
            next_save: Boot(0),
            left: false,
            counts: Counts::default(),
            problems: VecDeque::new(),
            standing: Vec::new(),
            now: Boot(0),
            rounds: 0,
            wake: Boot::NEVER,
            effects: Vec::new(),
        }
    }

    /// Takes what happened; adds what to do. To be called again with [`Input::Tick`] at [`Self::wake`] at the latest.
    pub(crate) fn handle(&mut self, now: Boot, input: Input, effects: &mut Vec<Effect>) {
        self.now = now;
        let is_to_settle = match input {
            // Nothing is due, and most of what a large group is told is nobody's turn.
            Input::Seen(Seen::Letter(bytes)) if now < self.wake => self.letter(now, &bytes, false),
            input => {
                // Before anything else: whoever slept through its lease leads no more.
                self.elect(now);
                self.take(now, input);
                true
            }
        };
        if is_to_settle {
            self.settle(now);
        }
        effects.append(&mut self.effects);
    }

    /// When time itself is the next input.
    pub(crate) fn wake(&self) -> Boot {
        self.wake
    }

    fn take(&mut self, now: Boot, input: Input) {
        let is_no_news = matches!(input, Input::Publish(_) | Input::Keep(_) | Input::Sent(..) | Input::Presented(_));
        if let Some(lead) = self.lead.as_mut().filter(|_| is_no_news) {
            lead.no_news = true;
        }
        match input {
            Input::Publish(notice) => self.publish(now, Kind::Event, &notice),
            Input::Keep(notice) => self.publish(now, Kind::Kept, &notice),
            Input::Leaving(notice) => self.leaving(now, &notice),
            Input::Stays(event) => self.stays(now, event),
            Input::Asked(event) => self.asked(event),
            Input::Done(event, outcome) => self.done(now, event, outcome),
            Input::Leave => self.leave(now),
            Input::Seen(seen) => self.seen(now, seen),
            Input::Ready(result) => self.made_ready(now, result),
            Input::Sent(identity, result) => self.sent(now, &identity, &result),
            Input::Missed(result) => self.missed(now, result),
            Input::LeaseRead(result) => {
                self.in_flight.lease = false;
                match result {
                    Ok(entry) => self.see_lease(now, entry.as_ref()),
                    Err(error) => self.problem(format!("the lease cannot be read: {error}")),
                }
            }
            Input::LeaseTaken(asked, result) => {
                let effect = self.election.created(now, asked, answer(&result));
                self.obey(now, effect);
                if let Err(Failed::Unknown(error)) = result {
                    self.problem(format!("nobody can be elected: {error}"));
                }
            }
            Input::LeaseRenewed(asked, from, result) => {
                let effect = self.election.renewed(now, asked, from, answer(&result));
                self.obey(now, effect);
            }
            Input::PlanRead(result) => self.plan_read(now, result),
            Input::PlanWritten(result) => self.plan_written(now, result),
            Input::AckKept(operation, pass, result) => self.ack_kept(now, operation, pass, &result),
            Input::Acks(operation, result) => self.acks_read(operation, result),
            Input::Presented(result) => {
                if let Err(error) = result {
                    self.problem(format!("the members' bucket was not written: {error}"));
                }
            }
            Input::Members(result) => self.members_read(now, result),
            Input::Saved(number, result) => self.saved(now, number, result),
            Input::Tick => {}
        }
    }

    /// Does what is due, and works out when to be asked again.
    fn settle(&mut self, now: Boot) {
        self.wake = Boot::NEVER;
        if self.left {
            return;
        }
        self.elect(now);
        self.consider(now);
        self.conduct(now);
        self.poll(now);
        self.say(now);
        self.save(now);
        if self.connected || self.lead.is_some() {
            self.wake_at(self.election.wake().max(now.after(Duration::from_millis(1))));
        }
    }

    fn wake_at(&mut self, moment: Boot) {
        self.wake = self.wake.min(moment);
    }

    fn elect(&mut self, now: Boot) {
        if self.connected || self.lead.is_some() {
            let effect = self.election.due(now);
            self.obey(now, effect);
        }
    }

    /// Does what the election says.
    fn obey(&mut self, now: Boot, effect: Option<Do>) {
        let members = self.size();
        let lease = || Bytes::from(write(&Lease { member: self.name.clone(), process: self.process, members }));
        match effect {
            Some(Do::Create(over)) => self.effects.push(Effect::TakeLease { asked: now, over, bytes: lease() }),
            Some(Do::Renew(from)) => self.effects.push(Effect::RenewLease { asked: now, from, bytes: lease() }),
            Some(Do::Release(revision)) => {
                self.effects.push(Effect::ReleaseLease(revision));
                self.lead_no_more();
            }
            Some(Do::Lead(token)) => self.lead_from_now(now, token),
            Some(Do::Deposed(why)) => {
                self.problem(format!("this member leads no more: {why}"));
                self.lead_no_more();
            }
            None => {}
        }
    }

    /// Takes the lease's entry as the store has it.
    fn see_lease(&mut self, now: Boot, entry: Option<&Entry>) {
        // A lease that nobody can read is somebody's all the same, until the store drops it.
        let holder = entry.map(|entry| {
            let unreadable = |_| Lease { member: "?".to_owned(), process: Uuid::nil(), members: 0 };
            (entry.revision, read::<Lease>(&entry.bytes).unwrap_or_else(unreadable))
        });
        let leaves = self.own.values().any(|own| own.stage != Stage::Stays);
        // Whoever is about to go lets the others be first.
        let pause = self.jitter(APART) + if leaves { self.election.lease() / 2 } else { Duration::ZERO };
        let seen = match &holder {
            None => crate::election::Seen::Free,
            Some((revision, lease)) if lease.process == self.process => crate::election::Seen::Ours(*revision),
            Some((revision, _)) => crate::election::Seen::Theirs(*revision),
        };
        if let Some((_, lease)) = &holder {
            self.lease_heard = now;
            self.size = if lease.members > 0 { lease.members } else { self.size };
        }
        self.leader = holder.map(|(_, lease)| lease.member);
        let effect = self.election.seen(now, seen, pause);
        self.obey(now, effect);
    }

    /// Asks the store, beside what it tells by itself.
    fn poll(&mut self, now: Boot) {
        if !self.connected {
            return;
        }
        if now >= self.next_prepare && !self.in_flight.prepare {
            self.in_flight.prepare = true;
            self.effects.push(Effect::Prepare);
        }
        self.wake_at(if self.in_flight.prepare { Boot::NEVER } else { self.next_prepare });
        if !self.ready {
            return;
        }
        self.read_time_away(now);
        let waits = self.own.values().any(|own| matches!(own.stage, Stage::Waits | Stage::Acts));
        let lease_is_quiet = self.settings.may_lead && self.lease_heard.after(self.election.lease() / 2) <= now;
        let something_goes_on = waits || self.plan.runs() || (lease_is_quiet && self.lead.is_none());
        // When the last lease that was heard of is over, whoever looks first leads first.
        let over = self.lease_heard.after(self.election.lease());
        let looks_for_the_end = self.settings.may_lead && self.lead.is_none() && self.lease_heard > Boot(0);
        let told_until = self.lease_told.after(self.election.lease());
        let pause = match (something_goes_on, looks_for_the_end && now >= over) {
            (_, true) => POLL / 4,
            (true, false) => POLL,
            (false, false) if self.is_told_of(now, told_until) => longest_beat(&self.settings),
            (false, false) => self.beat(),
        };
        self.next_poll = self.next_poll.min(now.after(pause));
        let is_over_now = looks_for_the_end && now >= over && self.last_poll < over;
        if now >= self.next_poll || is_over_now {
            self.last_poll = now;
            self.next_poll = now.after(pause * 9 / 10 + self.jitter(pause / 5));
            self.read_lease();
            self.read_plan();
        }
        self.wake_at(self.next_poll);
        for change in [told_until, over].into_iter().filter(|change| now < *change) {
            self.wake_at(change);
        }
    }

    /// Whether what the servers tell by themselves is heard here, and has been for a while.
    fn is_told_of(&self, now: Boot, told_until: Boot) -> bool {
        let quiet = longest_beat(&self.settings);
        self.lease_told > Boot(0) && now < told_until && self.ready_since.after(quiet) <= now
    }

    /// How many members there are, as far as is known; 0 where it is not.
    fn size(&self) -> usize {
        self.lead.as_ref().and_then(Lead::size).unwrap_or(self.size)
    }

    /// How often this member says that it is there. Heartbeats are most of what a group asks of its servers at rest: those of a large one
    /// come less often, so that all together are not more than [`BEATS_A_SECOND`]. Who is about to go, or at work for those who go, has no
    /// time for that.
    fn beat(&self) -> Duration {
        let own = seconds(self.settings.heartbeat_seconds);
        let is_about_to_go = self.own.values().any(|own| matches!(own.stage, Stage::Waits | Stage::Acts));
        if is_about_to_go || self.acts().is_some() {
            return own;
        }
        let times = (self.size() as f64 / (BEATS_A_SECOND * own.as_secs_f64())).ceil().max(1.0);
        own.mul_f64(times).min(longest_beat(&self.settings))
    }

    fn read_lease(&mut self) {
        if !std::mem::replace(&mut self.in_flight.lease, true) {
            self.effects.push(Effect::ReadLease);
        }
    }

    fn read_plan(&mut self) {
        if !std::mem::replace(&mut self.in_flight.plan, true) {
            self.effects.push(Effect::ReadPlan);
        }
    }

    /// Something is to be on the disk; gives the number that `saved` will have reached.
    fn want_saved(&mut self) -> u64 {
        self.wanted += 1;
        self.wanted
    }

    fn save(&mut self, now: Boot) {
        if self.wanted > self.saved && self.saving.is_none() {
            if now >= self.next_save {
                self.saving = Some(self.wanted);
                self.effects.push(Effect::Save { number: self.wanted, bytes: self.record.to_bytes() });
            } else {
                self.wake_at(self.next_save);
            }
        }
    }

    fn saved(&mut self, now: Boot, number: u64, result: Result<(), String>) {
        self.saving = None;
        match result {
            Ok(()) => self.saved = self.saved.max(number),
            Err(error) => {
                self.problem(format!("{error}; after a crash this member may do something twice"));
                self.next_save = now.after(POLL);
            }
        }
    }

    /// How long this machine's own work takes.
    fn work(&self) -> Duration {
        seconds(self.record.work_seconds.unwrap_or(self.settings.work_seconds))
    }

    /// A sentence about what is wrong. One that was told lately is not logged again.
    pub(crate) fn problem(&mut self, sentence: String) {
        let now = self.now;
        if let Some((seen, _)) = self.problems.iter_mut().find(|(_, known)| *known == sentence) {
            let is_news = seen.after(LATELY) <= now;
            *seen = now;
            if !is_news {
                return;
            }
        }
        self.problems.retain(|(_, known)| *known != sentence);
        tracing::warn!(group = %self.settings.group, "fleet: {sentence}");
        if self.problems.len() >= MOST_PROBLEMS {
            self.problems.pop_front();
        }
        self.problems.push_back((now, sentence));
    }

    /// A call of the owner could not be taken.
    pub(crate) fn dropped(&mut self, why: &str) {
        self.counts.dropped += 1;
        self.problem(format!("a call was not taken: {why}"));
    }

    fn tell(&mut self, told: Told) {
        self.effects.push(Effect::Told(told));
    }

    /// A length below `most`, another one at every call and in every process.
    fn jitter(&mut self, most: Duration) -> Duration {
        self.rounds += 1;
        let random = Uuid::new_v5(&self.process, &self.rounds.to_le_bytes()).as_u128() as u32;
        most.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

fn answer(result: &Result<u64, Failed>) -> Answer {
    match result {
        Ok(revision) => Answer::Done(*revision),
        Err(Failed::Conflict) => Answer::Refused,
        Err(Failed::Unknown(_)) => Answer::Unknown,
    }
}
