//! A world for members: a store that behaves as the servers do, a network with delays and losses, time that is only a number.
//! Inputs: what happens to whom. Outputs: a log of who did what when. It must never be kinder than the real servers.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::{Core, Effect, Input};
use super::*;
use crate::epochs::Record;
use crate::settings::Step;
use crate::told::Status;

mod verdict;

/// A moment of the world, in milliseconds.
pub(super) fn at(milliseconds: u64) -> Boot {
    Boot(milliseconds * 1_000_000)
}

pub(super) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Something that a member did or heard.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) at: Boot,
    pub(super) member: String,
    pub(super) what: String,
    pub(super) operation: String,
    pub(super) step: usize,
    /// When its work is over, where it begins some.
    pub(super) ends: Boot,
}

#[derive(Debug)]
enum Happening {
    Reaches(String, u64, Effect),
    Arrives(String, u64, Input),
}

#[derive(Default)]
struct Store {
    last: u64,
    lease: Option<(Entry, Boot)>,
    plan: Option<Entry>,
    acks: Vec<(u64, KeptAck)>,
    members: BTreeMap<String, (Bytes, Boot)>,
    letters: Vec<(u64, Boot, Bytes)>,
    refuses: bool,
    /// The stream of the plan alone has no leader.
    refuses_plans: bool,
    /// Its stream of events has no leader.
    refuses_events: bool,
    /// How much behind the replica is that answers who reads events.
    lag: Duration,
}

struct Sim {
    core: Core,
    /// Which process of this name it is.
    life: u64,
    cut_off: bool,
    paused: bool,
    loses_acks: bool,
    loses_presences: bool,
    leads: bool,
    later: Vec<Input>,
    saved: Vec<u8>,
    epochs: Vec<u64>,
}

/// All of it.
pub(super) struct World {
    now: Boot,
    queue: BTreeMap<(Boot, u64), Happening>,
    order: u64,
    random: Cell<u64>,
    members: BTreeMap<String, Sim>,
    /// The epochs under which members heard that an operation was over.
    pub(super) completed_under: BTreeSet<u64>,
    store: Store,
    work: Duration,
    unfenced: bool,
    notices: BTreeMap<String, Notice>,
    gone: BTreeSet<String>,
    pub(super) log: Vec<Line>,
}

fn settings(name: &str, unfenced: bool) -> Settings {
    let step = |role: &str, reacts| Step { role: role.to_owned(), timeout_seconds: 8.0, most_at_once: None, reacts };
    let role = name.trim_end_matches(char::is_numeric);
    let text =
        format!(r#"{{"group":"g","role":"{role}","servers":["nats://h"],"lease_seconds":3,"work_seconds":0.5}}"#);
    let settings: Settings = serde_json::from_str(&text).expect("settings");
    Settings { steps: vec![step("lb", true), step("replica", false), step("primary", false)], unfenced, ..settings }
}

fn event_of(name: &str) -> Uuid {
    Uuid::new_v5(&Uuid::nil(), name.as_bytes())
}

impl World {
    pub(super) fn new(names: &[&str]) -> Self {
        Self::unfenced(names, false)
    }

    pub(super) fn unfenced(names: &[&str], unfenced: bool) -> Self {
        let mut world = Self {
            now: at(0),
            queue: BTreeMap::new(),
            order: 0,
            random: Cell::new(7),
            members: BTreeMap::new(),
            completed_under: BTreeSet::new(),
            store: Store::default(),
            work: ms(300),
            unfenced,
            notices: BTreeMap::new(),
            gone: BTreeSet::new(),
            log: Vec::new(),
        };
        names.iter().for_each(|name| world.start_anew(name));
        world
    }

    pub(super) fn seed(&mut self, seed: u64) {
        self.random.set(seed | 1);
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.members.keys().cloned().collect()
    }

    pub(super) fn work_takes(&mut self, work: Duration) {
        self.work = work;
    }

    /// A number below `most`, by xorshift.
    fn chance(&self, most: u64) -> u64 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        x % most
    }

    fn start(&mut self, name: &str, record: Record, life: u64) {
        let process = Uuid::new_v5(&event_of(name), &life.to_le_bytes());
        let saved = record.to_bytes();
        let core = Core::new(settings(name, self.unfenced), name.to_owned(), process, record);
        let sim = Sim {
            core,
            life,
            cut_off: false,
            paused: false,
            loses_acks: false,
            loses_presences: false,
            leads: false,
            later: Vec::new(),
            saved,
            epochs: Vec::new(),
        };
        self.members.insert(name.to_owned(), sim);
        self.gone.remove(name);
        self.arrives(name, 1, Input::Seen(Seen::Connected("s".to_owned())));
    }

    pub(super) fn kill(&mut self, name: &str) {
        self.gone.insert(name.to_owned());
    }

    /// With nothing on its disk.
    pub(super) fn start_anew(&mut self, name: &str) {
        self.start(name, Record { group: "g".to_owned(), ..Record::default() }, 0);
    }

    /// With what was on its disk.
    pub(super) fn start_again(&mut self, name: &str) {
        let old = &self.members[name];
        let (record, life) = (serde_json::from_slice(&old.saved).expect("a record"), old.life + 1);
        self.start(name, record, life);
    }

    pub(super) fn cut_off(&mut self, name: &str, is: bool) {
        self.members.get_mut(name).expect("a member").cut_off = is;
        // A connection that is dead is noticed after a while, and one that is back a little later than that.
        let seen = if is { Seen::Disconnected } else { Seen::Connected("s".to_owned()) };
        self.arrives(name, if is { 3000 } else { 3100 }, Input::Seen(seen));
    }

    pub(super) fn pause(&mut self, name: &str, is: bool) {
        let sim = self.members.get_mut(name).expect("a member");
        sim.paused = is;
        let later = if is { Vec::new() } else { std::mem::take(&mut sim.later) };
        later.into_iter().for_each(|input| self.arrives(name, 0, input));
    }

    pub(super) fn loses_acks(&mut self, name: &str, is: bool) {
        self.members.get_mut(name).expect("a member").loses_acks = is;
    }

    pub(super) fn loses_presences(&mut self, name: &str, is: bool) {
        self.members.get_mut(name).expect("a member").loses_presences = is;
    }

    pub(super) fn store_refuses(&mut self, is: bool) {
        self.store.refuses = is;
    }

    pub(super) fn store_refuses_plans(&mut self, is: bool) {
        self.store.refuses_plans = is;
    }

    pub(super) fn store_refuses_events(&mut self, is: bool) {
        self.store.refuses_events = is;
    }

    pub(super) fn replicas_lag(&mut self, lag: Duration) {
        self.store.lag = lag;
    }

    pub(super) fn store_loses_everything(&mut self) {
        self.store = Store::default();
    }

    pub(super) fn leaves(&mut self, name: &str, seconds: u64) {
        let notice = Notice {
            event: event_of(name),
            event_type: "t".to_owned(),
            detected: 0,
            deadline: Some(1),
            left: Duration::from_secs(seconds),
            details: serde_json::Value::Null,
        };
        self.notices.insert(name.to_owned(), notice.clone());
        self.arrives(name, 0, Input::Leaving(notice));
        self.arrives(name, 0, Input::Asked(event_of(name)));
    }

    /// As the daemon does that was started again, with the time that is left.
    pub(super) fn leaves_again(&mut self, name: &str) {
        if self.notices.contains_key(name) {
            let seconds = at(3000 + 120_000).0.saturating_sub(self.now.0) / 1_000_000_000;
            self.leaves(name, seconds);
        }
    }

    pub(super) fn stays(&mut self, name: &str) {
        self.arrives(name, 0, Input::Stays(event_of(name)));
    }

    pub(super) fn publish(&mut self, name: &str, number: u128) {
        let notice = Notice {
            event: Uuid::from_u128(number),
            event_type: "t".to_owned(),
            detected: 0,
            deadline: None,
            left: ms(1000),
            details: serde_json::Value::Null,
        };
        self.arrives(name, 0, Input::Publish(notice));
    }

    pub(super) fn run_until(&mut self, end: Duration) {
        let end = Boot(0).after(end);
        loop {
            let queued = self.queue.first_key_value().map(|(key, _)| key.0);
            let runs = |(name, sim): &(&String, &Sim)| !sim.paused && !self.gone.contains(*name);
            let woken = self.members.iter().filter(runs).map(|(name, sim)| (sim.core.wake(), name.clone())).min();
            match (queued, woken) {
                (Some(moment), other) if moment <= end && other.as_ref().is_none_or(|(wake, _)| moment <= *wake) => {
                    self.now = self.now.max(moment);
                    if let Some((_, happening)) = self.queue.pop_first() {
                        self.happen(happening);
                    }
                }
                (_, Some((wake, name))) if wake <= end => {
                    self.now = self.now.max(wake);
                    self.handle(&name, Input::Tick);
                }
                _ => break,
            }
        }
        self.now = self.now.max(end);
    }

    fn arrives(&mut self, name: &str, delay_ms: u64, input: Input) {
        self.order += 1;
        let life = self.members.get(name).map_or(0, |sim| sim.life);
        let key = (self.now.after(ms(delay_ms)), self.order);
        self.queue.insert(key, Happening::Arrives(name.to_owned(), life, input));
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrives(name, life, input) => {
                let is_gone = self.gone.contains(&name);
                let lives = self.members.get_mut(&name).filter(|sim| sim.life == life && !is_gone);
                match lives {
                    Some(sim) if sim.paused => sim.later.push(input),
                    Some(_) => self.handle(&name, input),
                    None => {}
                }
            }
            Happening::Reaches(name, life, effect) => {
                let answer = self.serve(&name, effect);
                if let (Some(input), Some(sim)) = (answer, self.members.get(&name))
                    && sim.life == life
                {
                    let delay = 1 + self.chance(4);
                    self.arrives(&name, delay, input);
                }
            }
        }
    }

    fn handle(&mut self, name: &str, input: Input) {
        let now = self.now;
        let sim = self.members.get_mut(name).expect("a member");
        let mut effects = Vec::new();
        sim.core.handle(now, input, &mut effects);
        let life = sim.life;
        for effect in effects {
            match effect {
                Effect::Told(told) => self.told(name, told),
                Effect::Turn(event, turn) => self.turn(name, event, turn),
                Effect::Save { number, bytes } => {
                    self.members.get_mut(name).expect("a member").saved = bytes;
                    self.arrives(name, 2, Input::Saved(number, Ok(())));
                }
                Effect::Lead(leads) => self.members.get_mut(name).expect("a member").leads = leads,
                effect => {
                    self.order += 1;
                    let key = (now.after(ms(1 + self.chance(4))), self.order);
                    self.queue.insert(key, Happening::Reaches(name.to_owned(), life, effect));
                }
            }
        }
    }

    fn line(&mut self, member: &str, what: &str, operation: String, step: usize) {
        let (at, ends) = (self.now, self.now.after(self.work));
        self.log.push(Line { at, member: member.to_owned(), what: what.to_owned(), operation, step, ends });
    }

    fn turn(&mut self, name: &str, event: Uuid, turn: Turn) {
        match turn {
            Turn::Go { operation, step, epoch } => {
                self.members.get_mut(name).expect("a member").epochs.push(epoch);
                self.line(name, "begins", operation, step);
                self.works(name, event);
            }
            Turn::Alone { .. } => {
                self.line(name, "begins alone", String::new(), 0);
                self.works(name, event);
            }
            Turn::Begun { operation, step, over, .. } => {
                self.line(name, "begun before", operation, step);
                // Its journal says that all of it was done.
                if over.is_none() {
                    self.works(name, event);
                }
            }
            Turn::Withdrawn => self.line(name, "withdrawn", String::new(), 0),
        }
    }

    fn works(&mut self, name: &str, event: Uuid) {
        let work = u64::try_from(self.work.as_millis()).expect("short");
        let outcome = Outcome { ok: true, seconds: self.work.as_secs_f64(), error: None };
        self.arrives(name, work, Input::Done(event, outcome));
    }

    fn told(&mut self, name: &str, told: Told) {
        match told {
            Told::Step { operation, step, event, epoch, .. } => {
                self.members.get_mut(name).expect("a member").epochs.push(epoch);
                self.line(name, "begins", operation, step);
                self.works(name, event);
            }
            Told::Completed { operation, epoch, missing, .. } => {
                self.completed_under.insert(epoch);
                missing.iter().for_each(|why| self.line(name, &format!("missing {why}"), operation.clone(), 0));
                self.line(name, "completed", operation, 0);
            }
            Told::Stays { member, .. } => self.line(name, &format!("stays {member}"), String::new(), 0),
            Told::Joined { member, .. } => self.line(name, &format!("joined {member}"), String::new(), 0),
            Told::Event(heard) => {
                let again = if heard.replayed { " again" } else { "" };
                self.line(name, &format!("heard {}{again}", heard.event.as_u128()), String::new(), 0);
            }
            _ => {}
        }
    }

    /// To all that are connected, after a moment; some of it is lost.
    fn spread(&mut self, only_leaders: bool, seen: impl Fn() -> Seen) {
        for name in self.names() {
            let sim = &self.members[&name];
            if !sim.cut_off && (!only_leaders || sim.leads) && self.chance(20) != 0 {
                let delay = 1 + self.chance(5);
                self.arrives(&name, delay, Input::Seen(seen()));
            }
        }
    }

    /// What the servers do.
    fn serve(&mut self, name: &str, effect: Effect) -> Option<Input> {
        let sim = &self.members[name];
        let lost = || Failed::Unknown("no answer".to_owned());
        let (is_cut_off, loses_acks) = (sim.cut_off, sim.loses_acks);
        let is_out = is_cut_off || self.store.refuses;
        self.store.lease = self.store.lease.take().filter(|(_, until)| self.now < *until);
        self.store.members.retain(|_, (_, written)| self.now < written.after(Duration::from_secs(180)));
        Some(match effect {
            Effect::Prepare => {
                Input::Ready(if is_out { Err(lost()) } else { Ok(Ready { last: self.store.last, ..Ready::default() }) })
            }
            Effect::Send { kind, identity, letter, .. } => {
                if !is_cut_off && kind != Kind::Kept {
                    self.spread(false, || Seen::Letter(letter.clone()));
                }
                if is_out {
                    return Some(Input::Sent(identity, Err(lost())));
                }
                self.store.last += 1;
                self.store.letters.push((self.store.last, self.now, letter));
                Input::Sent(identity, Ok(()))
            }
            Effect::Missed(_)
            | Effect::ReadMembers
            | Effect::ReadLease
            | Effect::ReadPlan
            | Effect::ReadAcks { .. } => {
                return Some(self.read_store(effect, is_out));
            }
            Effect::TakeLease { asked, over, bytes } => {
                // What the store has dropped meanwhile is in nobody's way.
                let over = over.filter(|_| self.store.lease.is_some());
                Input::LeaseTaken(asked, self.write_lease(is_out, over, bytes))
            }
            Effect::RenewLease { asked, from, bytes } => {
                Input::LeaseRenewed(asked, from, self.write_lease(is_out, Some(from), bytes))
            }
            Effect::ReleaseLease(revision) => {
                if !is_out && self.store.lease.as_ref().is_some_and(|(entry, _)| entry.revision == revision) {
                    self.store.lease = None;
                    self.spread(false, || Seen::Lease(None));
                }
                return None;
            }
            Effect::WritePlan { revision, bytes } => Input::PlanWritten(self.write_plan(is_out, revision, bytes)),
            Effect::Acknowledge { operation, pass, bytes } => {
                if is_out || loses_acks {
                    return Some(Input::AckKept(operation, pass, Err(lost())));
                }
                self.store.last += 1;
                let ack = KeptAck { operation, pass, member: name.to_owned(), bytes };
                self.store.acks.push((self.store.last, ack.clone()));
                self.spread(true, || Seen::Ack(ack.clone()));
                Input::AckKept(operation, pass, Ok(()))
            }
            Effect::Present(_) if self.members[name].loses_presences => Input::Presented(Err(lost())),
            Effect::Present(bytes) => {
                if !is_cut_off {
                    self.spread(true, || Seen::Presence(bytes.clone()));
                }
                if !is_out {
                    self.store.members.insert(name.to_owned(), (bytes, self.now));
                }
                Input::Presented(if is_out { Err(lost()) } else { Ok(()) })
            }
            _ => return None,
        })
    }

    fn read_store(&self, effect: Effect, is_out: bool) -> Input {
        let store = &self.store;
        let lost = || Failed::Unknown("no answer".to_owned());
        match effect {
            Effect::Missed(_) if is_out || store.refuses_events => Input::Missed(Err(lost())),
            Effect::Missed(after) => {
                let there = || store.letters.iter().filter(|(_, at, _)| at.after(store.lag) <= self.now);
                let last = there().map(|(number, _, _)| *number).max().unwrap_or(0);
                // Another stream.
                let after = if after > store.last { 0 } else { after };
                let new = there().filter(|(number, _, _)| *number > after);
                Input::Missed(Ok((new.map(|(_, _, letter)| letter.clone()).collect(), last.max(after))))
            }
            Effect::ReadMembers if is_out => Input::Members(Err(lost())),
            Effect::ReadMembers => {
                let newest = store.members.values().map(|(_, written)| *written).max().unwrap_or_default();
                let kept = |(bytes, written): &(Bytes, Boot)| KeptPresence {
                    bytes: bytes.clone(),
                    age: written.until(newest),
                };
                Input::Members(Ok(store.members.values().map(kept).collect()))
            }
            Effect::ReadLease if is_out => Input::LeaseRead(Err(lost())),
            Effect::ReadLease => Input::LeaseRead(Ok(store.lease.as_ref().map(|(entry, _)| entry.clone()))),
            Effect::ReadPlan if is_out => Input::PlanRead(Err(lost())),
            Effect::ReadPlan => Input::PlanRead(Ok(store.plan.clone())),
            Effect::ReadAcks { operation, .. } if is_out => Input::Acks(operation, Err(lost())),
            Effect::ReadAcks { operation, after } => {
                let new = store.acks.iter().filter(|(number, ack)| *number > after && ack.operation == operation);
                Input::Acks(operation, Ok((new.map(|(_, ack)| ack.clone()).collect(), store.last)))
            }
            _ => Input::Tick,
        }
    }

    fn write_lease(&mut self, is_out: bool, from: Option<u64>, bytes: Bytes) -> Result<u64, Failed> {
        if is_out {
            return Err(Failed::Unknown("no answer".to_owned()));
        }
        if self.store.lease.as_ref().map(|(entry, _)| entry.revision) != from {
            return Err(Failed::Conflict);
        }
        self.store.last += 1;
        let entry = Entry { revision: self.store.last, bytes };
        self.store.lease = Some((entry.clone(), self.now.after(Duration::from_secs(3))));
        self.spread(false, || Seen::Lease(Some(entry.clone())));
        Ok(self.store.last)
    }

    fn write_plan(&mut self, is_out: bool, revision: Option<u64>, bytes: Bytes) -> Result<u64, Failed> {
        let found = self.store.plan.as_ref().map_or(0, |entry| entry.revision);
        if is_out || self.store.refuses_plans {
            return Err(Failed::Unknown("no answer".to_owned()));
        }
        if revision.is_some_and(|revision| revision != found) {
            return Err(Failed::Conflict);
        }
        self.store.last += 1;
        let entry = Entry { revision: self.store.last, bytes };
        self.store.plan = Some(entry.clone());
        self.spread(false, || Seen::Plan(entry.clone()));
        Ok(self.store.last)
    }
}
