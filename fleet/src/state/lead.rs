//! What only the leader does.
//!
//! Responsibilities: take over the plan under a higher epoch, know who is there, take who leaves into the plan, go on with it, give the
//! lease back when others lead longer. Inputs: the lease, the plan as the store has it, presences, acknowledgements, the time. Outputs:
//! effects. It must never write a plan without holding the lease by its own clock, nor without naming the version that it replaces.

use super::{
    BTreeMap, BTreeSet, Boot, Bytes, Core, Duration, Effect, Entry, Failed, Goes, KeptAck, KeptPresence, POLL, Plan,
    Stage, Uuid, milliseconds, read, seconds, write,
};
use crate::plan::{Leaving, Peer, Since, View};
use crate::settings::{MISSED_BEATS, Settings, longest_beat};
use crate::wire::{Ack, Fate, Message, Presence};

/// Several machines are often taken back at the same moment: an operation begins this much after the first notice, so that a load balancer
/// is asked once for most of them. `Settings::gather_seconds` is for those who hear of it later.
const GATHER: Duration = Duration::from_millis(50);
/// The most members that are known.
const MOST_MEMBERS: usize = 8192;

/// How far a leader is with the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Reads what the leader before it has left.
    Reading,
    /// Writes the plan under its own epoch.
    Taking,
    /// Leads.
    Ready,
}

/// What is known of a member.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) presence: Presence,
    pub(super) heard: Boot,
    /// Only what the plan of the leader before says of it.
    guessed: bool,
    /// The store has it, and all who were there were known before: it joins when it is heard, if it is there at all. What is in the store
    /// may be of one that was lost.
    unheard: bool,
}

impl Known {
    fn lost_at(&self) -> Boot {
        self.heard.after(silence(&self.presence))
    }
}

/// How long a member is silent before it is lost.
pub(super) fn silence(presence: &Presence) -> Duration {
    Duration::from_millis(presence.beat_ms.clamp(100, 600_000)) * MISSED_BEATS
}

/// The leader's knowledge.
#[derive(Debug)]
pub(super) struct Lead {
    token: u64,
    phase: Phase,
    /// The plan as it shall be, and the revision that it replaces.
    plan: Plan,
    revision: u64,
    writing: bool,
    /// The answer to a writing was lost or it was refused: the store has to be read first.
    unsure: bool,
    next_try: Boot,
    pub(super) members: BTreeMap<String, Known>,
    /// Nobody is lost before.
    next_loss: Boot,
    /// What came last says nothing that the plan depends on: an event of this member on its way, or a heartbeat that says what the one
    /// before said, of a large group most of what comes. With a thousand members a look at the plan takes most of a millisecond, which
    /// whoever hears of an event would wait.
    pub(super) no_news: bool,
    /// When the plan is looked at whatever came.
    next_turn: Boot,
    /// Everybody was read once.
    scanned: bool,
    scanning: bool,
    next_scan: Boot,
    /// When a notice's time is over.
    deadlines: BTreeMap<Uuid, Boot>,
    /// The wall time that it stated.
    stated: BTreeMap<Uuid, Option<i64>>,
    since: Since,
    /// Who has said that it is at work, and in which pass.
    at_work: BTreeSet<(usize, String)>,
    acks: BTreeSet<(usize, String)>,
    acks_after: u64,
    reading_acks: bool,
    next_acks: Boot,
    /// Until when further notices are waited for before an operation begins.
    gathers: Option<Boot>,
    /// Until when those who go are held back in the operation that runs.
    gathers_until: Boot,
}

impl Lead {
    /// How many members there are, once they were read.
    pub(super) fn size(&self) -> Option<usize> {
        self.scanned.then_some(self.members.len())
    }

    fn peers(&self) -> BTreeMap<String, Peer> {
        let peer = |known: &Known| Peer {
            role: known.presence.role.clone(),
            leaving: known.presence.goes.iter().any(|goes| goes.stage != Stage::Stays),
            work: Duration::from_millis(known.presence.work_ms),
        };
        self.members.iter().map(|(name, known)| (name.clone(), peer(known))).collect()
    }

    /// Keeps what a presence says of times. Each reading is late by what it took on its way, so the earliest is the best.
    pub(super) fn note_times(&mut self, now: Boot, presence: &Presence) {
        for goes in &presence.goes {
            let deadline = now.after(Duration::from_millis(goes.remaining_ms));
            let is_same = self.stated.insert(goes.event, goes.deadline) == Some(goes.deadline);
            let known = self.deadlines.entry(goes.event).or_insert(deadline);
            *known = if is_same { deadline.min(*known) } else { deadline };
        }
    }

    /// An actor has its time from when it first says that it is at work. Who comes back late to a pass would else be given up amid its
    /// work, and the next pass begin beside it.
    fn note_work(&mut self, heard: Boot, presence: &Presence) {
        let Some((_, pass)) = presence.acts.filter(|(operation, _)| *operation == self.plan.operation) else { return };
        let actor = (pass, presence.member.clone());
        if let Some(since) = self.since.get_mut(&actor)
            && self.at_work.insert(actor)
        {
            *since = heard.max(*since);
        }
    }
}

impl Core {
    pub(super) fn lead_from_now(&mut self, now: Boot, token: u64) {
        self.counts.led += 1;
        self.leader = Some(self.name.clone());
        self.lead = Some(Lead {
            token,
            phase: Phase::Reading,
            plan: Plan::default(),
            revision: 0,
            writing: false,
            unsure: false,
            next_try: now,
            members: BTreeMap::new(),
            next_loss: Boot::NEVER,
            no_news: false,
            next_turn: now,
            scanned: false,
            scanning: false,
            next_scan: now,
            deadlines: BTreeMap::new(),
            stated: BTreeMap::new(),
            since: Since::new(),
            at_work: BTreeSet::new(),
            acks: BTreeSet::new(),
            acks_after: 0,
            reading_acks: false,
            next_acks: now,
            gathers: None,
            gathers_until: Boot(0),
        });
        self.effects.push(Effect::Lead(true));
    }

    pub(super) fn lead_no_more(&mut self) {
        if self.lead.take().is_some() {
            self.effects.push(Effect::Lead(false));
        }
    }

    /// After the connection was lost anything may have happened.
    pub(super) fn look_again(&mut self, now: Boot) {
        if let Some(lead) = &mut self.lead {
            (lead.scanning, lead.reading_acks, lead.acks_after) = (false, false, 0);
            (lead.next_scan, lead.next_acks) = (now, now);
            self.effects.push(Effect::Lead(true));
        }
    }

    pub(super) fn members_read(&mut self, now: Boot, result: Result<Vec<KeptPresence>, Failed>) {
        let Some(lead) = &mut self.lead else { return };
        lead.scanning = false;
        match result {
            Ok(found) => {
                found.iter().for_each(|kept| self.presence_read(now, &kept.bytes, Some(kept.age)));
                // Afterwards: those of the first reading were there before this leader.
                self.lead.iter_mut().for_each(|lead| lead.scanned = true);
            }
            Err(error) => {
                lead.next_scan = now.after(POLL);
                self.problem(format!("the members cannot be read: {error}"));
            }
        }
    }

    pub(super) fn presence_seen(&mut self, now: Boot, bytes: &[u8]) {
        self.presence_read(now, bytes, None);
    }

    /// `age`: how old it is, where it was read from the store. Else it was sent just now, and so its member is there now.
    fn presence_read(&mut self, now: Boot, bytes: &[u8], age: Option<Duration>) {
        let mut presence = match read::<Presence>(bytes) {
            Ok(presence) => presence,
            Err(why) => return self.problem(format!("a member's presence cannot be read: {why}")),
        };
        let Some(lead) = &mut self.lead else { return };
        let (fresh, heard) = (age.is_none(), now.before(age.unwrap_or_default()));
        // The store keeps what a member said for as long as any may be silent.
        if presence.member == self.name || age.is_some_and(|age| age >= silence(&presence)) {
            return;
        }
        let known = lead.members.get(&presence.member);
        let (is_known, is_heard) = (known.is_some(), known.is_some_and(|known| !known.guessed));
        let is_new = known.map_or(lead.scanned, |known| known.unheard);
        // What was read from the store may be older than what was heard.
        if (is_heard && !fresh) || (!is_known && lead.members.len() >= MOST_MEMBERS) {
            return;
        }
        _ = self.departures.complete(heard, &mut presence);
        lead.no_news =
            is_heard && !is_new && known.is_some_and(|known| known.presence == presence && presence.goes.is_empty());
        lead.note_times(heard, &presence);
        lead.note_work(heard, &presence);
        let (member, role) = (presence.member.clone(), presence.role.clone());
        let known = Known { presence, heard, guessed: false, unheard: is_new && !fresh };
        lead.next_loss = lead.next_loss.min(known.lost_at());
        lead.members.insert(member.clone(), known);
        if is_new && fresh {
            self.spread(Fate::Joined, member, role);
        }
    }

    pub(super) fn member_left(&mut self, member: &str) {
        let Some(known) = self.lead.as_mut().and_then(|lead| lead.members.remove(member)) else { return };
        self.spread(Fate::Gone, member.to_owned(), known.presence.role);
    }

    pub(super) fn ack_seen(&mut self, ack: &KeptAck) {
        let content = read::<Ack>(&ack.bytes);
        let Some(lead) = &mut self.lead else { return };
        if ack.operation != lead.plan.operation {
            return;
        }
        match content {
            Ok(content) => {
                let is_new = lead.acks.insert((ack.pass, ack.member.clone()));
                if is_new && !content.ok {
                    let why = content.error.unwrap_or_default();
                    lead.plan.note(format!("{} did not succeed in pass {}: {why}", ack.member, ack.pass));
                }
            }
            Err(why) => self.problem(format!("an acknowledgement of `{}` cannot be read: {why}", ack.member)),
        }
    }

    pub(super) fn acks_read(&mut self, operation: Uuid, result: Result<(Vec<KeptAck>, u64), Failed>) {
        let Some(lead) = self.lead.as_mut().filter(|lead| lead.plan.operation == operation) else { return };
        lead.reading_acks = false;
        match result {
            Ok((acks, last)) => {
                lead.acks_after = last;
                acks.iter().for_each(|ack| self.ack_seen(ack));
            }
            Err(error) => self.problem(format!("acknowledgements cannot be read: {error}")),
        }
    }

    /// The plan as the store has it, where the leader waits for that.
    pub(super) fn plan_for_leader(&mut self, now: Boot, entry: Option<&Entry>) {
        let (highest, beat_ms) = (self.record.highest, milliseconds(self.beat()));
        let Some(lead) = &mut self.lead else { return };
        let revision = entry.map_or(0, |entry| entry.revision);
        // What nobody can read is replaced: it has no meaning for anybody.
        let found = entry.and_then(|entry| read::<Plan>(&entry.bytes).ok()).unwrap_or_default();
        match lead.phase {
            Phase::Reading => {
                let seen = lead.members.values().map(|known| known.presence.epoch).max().unwrap_or(0);
                let epoch = lead.token.max(found.epoch + 1).max(highest + 1).max(seen.saturating_add(1));
                lead.remember(now, &found, beat_ms);
                lead.plan = Plan { epoch, leader: self.name.clone(), ..found };
                (lead.revision, lead.phase) = (revision, Phase::Taking);
                self.write_plan(now);
            }
            Phase::Taking | Phase::Ready if !lead.unsure || lead.writing => {}
            Phase::Taking | Phase::Ready => {
                let is_ours =
                    found.leader == self.name && (found.epoch, found.change) == (lead.plan.epoch, lead.plan.change);
                (lead.unsure, lead.revision) = (false, revision);
                if is_ours {
                    lead.phase = Phase::Ready;
                    self.plan_is_kept(now);
                } else if lead.phase == Phase::Taking {
                    lead.phase = Phase::Reading;
                    self.plan_for_leader(now, entry);
                } else if found.epoch > lead.plan.epoch && !self.settings.unfenced {
                    self.problem(format!(
                        "this member leads no more: `{}` wrote the plan under a higher epoch",
                        found.leader
                    ));
                    let away = now.after(self.election.lease());
                    let effect = self.election.release(now, away);
                    self.obey(now, effect);
                } else {
                    self.write_plan(now);
                }
            }
        }
    }

    fn write_plan(&mut self, now: Boot) {
        if !self.election.leads(now) {
            return;
        }
        let unfenced = self.settings.unfenced;
        let Some(lead) = &mut self.lead else { return };
        lead.plan.change += 1;
        let peers = lead.peers();
        let (deadlines, gathers_until) = (&lead.deadlines, lead.gathers_until);
        let view = View { now, peers: &peers, everybody: lead.scanned, deadlines, gathers_until };
        lead.plan.stamp(&view);
        lead.writing = true;
        let revision = (!unfenced).then_some(lead.revision);
        if let Some(problem) = lead.plan.problem() {
            return self.problem(format!("the plan cannot be written: {problem}"));
        }
        self.effects.push(Effect::WritePlan { revision, bytes: Bytes::from(write(&lead.plan)) });
    }

    pub(super) fn plan_written(&mut self, now: Boot, result: Result<u64, Failed>) {
        let Some(lead) = &mut self.lead else { return };
        lead.writing = false;
        match result {
            Ok(revision) => {
                (lead.revision, lead.phase) = (revision, Phase::Ready);
                self.plan_is_kept(now);
            }
            Err(error) => {
                (lead.unsure, lead.next_try) =
                    (true, if error == Failed::Conflict { now } else { now.after(POLL / 2) });
                self.problem(format!("the plan was not written: {error}"));
            }
        }
    }

    /// The leader is a member too, and does not wait to hear of its own plan.
    fn plan_is_kept(&mut self, now: Boot) {
        let Some(lead) = &mut self.lead else { return };
        lead.plan.is_known(now, &mut lead.since);
        let (plan, revision) = (lead.plan.clone(), lead.revision);
        self.accept(now, plan, revision);
    }

    /// Goes on with what the leader has to do.
    pub(super) fn conduct(&mut self, now: Boot) {
        let Some(lead) = &mut self.lead else { return };
        let no_news = std::mem::take(&mut lead.no_news) && now < lead.next_turn;
        if !self.election.leads(now) || !self.connected || !self.ready {
            return;
        }
        self.ask_for_news(now);
        let is_anybody_lost = self.notice_losses(now);
        let Some(lead) = &mut self.lead else { return };
        if no_news && !is_anybody_lost && self.own.is_empty() && self.steps.is_empty() {
            let wake = lead.next_turn;
            return self.wake_at(wake);
        }
        // Until the end is reached: at every input.
        lead.next_turn = now;
        if self.give_back_if_others_stay(now) {
            return;
        }
        let own = self.presence(now);
        let highest = self.record.highest;
        let Some(lead) = &mut self.lead else { return };
        lead.note_times(now, &own);
        lead.members.insert(own.member.clone(), Known { presence: own, heard: now, guessed: false, unheard: false });
        // What was begun goes on at once; a new operation waits until everybody is known.
        if lead.phase != Phase::Ready || lead.writing || lead.unsure || !(lead.scanned || lead.plan.runs()) {
            return;
        }
        let before = lead.plan.clone();
        let seen = lead.members.values().map(|known| known.presence.epoch).max().unwrap_or(0).max(highest);
        if seen > lead.plan.epoch {
            // The store has lost what members have seen: only a higher epoch is obeyed.
            lead.plan.epoch = seen.saturating_add(1);
        }
        // Since when they are known to go, which is before this leader led where another one was lost.
        let (heard, own) = (&self.heard, &self.own);
        let told = |event: Uuid| heard.since(event).or_else(|| own.get(&event).map(|own| own.told));
        lead.take_in(now, &self.settings, told);
        lead.go_on(now);
        let peers = lead.peers();
        let gathers = lead.gathers.unwrap_or(Boot::NEVER);
        let (deadlines, gathers_until) = (&lead.deadlines, lead.gathers_until);
        let view = View { now, peers: &peers, everybody: lead.scanned, deadlines, gathers_until };
        let wake = lead.plan.wake(&view, &lead.since).min(gathers);
        lead.next_turn = wake;
        if lead.plan != before {
            self.write_plan(now);
        }
        self.wake_at(wake);
    }

    /// Reads what is not heard by itself, or was not heard.
    fn ask_for_news(&mut self, now: Boot) {
        let scan = longest_beat(&self.settings);
        let Some(lead) = &mut self.lead else { return };
        let (mut effects, mut wake) = (Vec::new(), Boot::NEVER);
        if now >= lead.next_scan && !lead.scanning {
            (lead.scanning, lead.next_scan) = (true, now.after(scan));
            effects.push(Effect::ReadMembers);
        }
        if lead.plan.runs() && now >= lead.next_acks && !lead.reading_acks {
            (lead.reading_acks, lead.next_acks) = (true, now.after(POLL));
            effects.push(Effect::ReadAcks { operation: lead.plan.operation, after: lead.acks_after });
        }
        if !lead.scanning {
            wake = wake.min(lead.next_scan);
        }
        if lead.plan.runs() && !lead.reading_acks {
            wake = wake.min(lead.next_acks);
        }
        let asks_for_plan = (lead.phase == Phase::Reading || (lead.unsure && !lead.writing)) && !self.in_flight.plan;
        if asks_for_plan {
            if now >= lead.next_try {
                lead.next_try = now.after(POLL / 2);
                self.read_plan();
            } else {
                wake = wake.min(lead.next_try);
            }
        }
        self.effects.append(&mut effects);
        self.wake_at(wake);
    }

    /// Whether somebody is lost.
    fn notice_losses(&mut self, now: Boot) -> bool {
        let Some(lead) = &mut self.lead else { return false };
        let mut lost = Vec::new();
        if now >= lead.next_loss {
            let is_lost = |name: &str, known: &Known| name != self.name && known.lost_at() <= now;
            let gone = lead.members.extract_if(.., |name, known| is_lost(name, known));
            lost.extend(gone.map(|(name, known)| (name, known.presence.role)));
            let others = lead.members.iter().filter(|(name, _)| **name != self.name);
            lead.next_loss = others.map(|(_, known)| known.lost_at()).fold(Boot::NEVER, Boot::min);
        }
        let (wake, is_anybody_lost) = (lead.next_loss, !lost.is_empty());
        for (member, role) in lost {
            self.spread(Fate::Lost, member, role);
        }
        self.wake_at(wake);
        is_anybody_lost
    }

    /// A leader that goes leads only if nobody else who may lead stays longer. Once a notice: where nobody takes over, it goes on.
    fn give_back_if_others_stay(&mut self, now: Boot) -> bool {
        let Some(lead) = self.lead.as_ref().filter(|lead| lead.scanned) else { return false };
        let active = self.own.iter().filter(|(_, own)| matches!(own.stage, Stage::Waits | Stage::Acts) && !own.yielded);
        let Some((event, deadline)) = active.map(|(event, own)| (*event, own.deadline)).min_by_key(|(_, end)| *end)
        else {
            return false;
        };
        let end = |known: &Known| {
            let goes = known.presence.goes.iter().filter(|goes| goes.stage != Stage::Stays);
            goes.filter_map(|goes| lead.deadlines.get(&goes.event).copied()).fold(Boot::NEVER, Boot::min)
        };
        let others = lead.members.iter().filter(|(name, known)| **name != self.name && known.presence.may_lead);
        if !others.map(|(_, known)| end(known)).any(|end| end > deadline) {
            return false;
        }
        if let Some(own) = self.own.get_mut(&event) {
            own.yielded = true;
        }
        let away = now.after(self.election.lease() * 2);
        let effect = self.election.release(now, away);
        self.obey(now, effect);
        true
    }
}

impl Lead {
    /// Those whom the plan of the leader before names may be silent for a moment, as this leader has not heard them yet: they are lost
    /// when they are silent from now on.
    fn remember(&mut self, now: Boot, plan: &Plan, beat_ms: u64) {
        let guess = |member: &str, role: &str, goes: Vec<Goes>| {
            let presence = Presence {
                member: member.to_owned(),
                role: role.to_owned(),
                may_lead: false,
                epoch: 0,
                beat_ms,
                work_ms: 0,
                goes,
                acts: None,
            };
            Known { presence, heard: now, guessed: true, unheard: false }
        };
        for leaver in &plan.leavers {
            let deadline = now.after(Duration::from_millis(leaver.remaining_ms));
            self.deadlines.entry(leaver.event).or_insert(deadline);
            let goes = Goes {
                event: leaver.event,
                remaining_ms: leaver.remaining_ms,
                deadline: leaver.deadline,
                drill: leaver.drill,
                stage: Stage::Acts,
            };
            let known = self.members.entry(leaver.member.clone());
            known.or_insert_with(|| guess(&leaver.member, &leaver.role, vec![goes]));
        }
        for pass in plan.passes.iter().filter(|_| plan.runs()) {
            for actor in &pass.actors {
                let known = self.members.entry(actor.member.clone());
                known.or_insert_with(|| guess(&actor.member, &pass.role, Vec::new()));
            }
        }
        self.next_loss = self.members.values().map(Known::lost_at).fold(self.next_loss, Boot::min);
    }

    /// Takes those who leave into the plan, and those whose notice was withdrawn out of it. `told`: when an event was heard of.
    fn take_in(&mut self, now: Boot, settings: &Settings, told: impl Fn(Uuid) -> Option<Boot>) {
        let withdrawn: Vec<Uuid> = self.goes(|stage| stage == Stage::Stays).map(|(_, goes)| goes.event).collect();
        for event in withdrawn {
            self.plan.remove(event);
        }
        let known: BTreeSet<Uuid> = self.goes(|_| true).map(|(_, goes)| goes.event).collect();
        if self.scanned {
            self.plan.forget(|event| known.contains(&event));
        }
        let mut leaving: Vec<Leaving> = self
            .goes(|stage| matches!(stage, Stage::Waits | Stage::Acts))
            .filter(|(_, goes)| !self.plan.knows(goes.event))
            .map(|(presence, goes)| Leaving {
                event: goes.event,
                member: presence.member.clone(),
                role: presence.role.clone(),
                remaining_ms: 0,
                deadline: goes.deadline,
                drill: goes.drill,
            })
            .collect();
        leaving.sort_by_key(|leaver| self.deadlines.get(&leaver.event).copied().unwrap_or(Boot::NEVER));
        let first = leaving.iter().filter_map(|leaver| told(leaver.event)).fold(now, Boot::min);
        if !leaving.is_empty() && !self.plan.runs() && now < *self.gathers.get_or_insert(first.after(GATHER)) {
            return;
        }
        let gathers_since = self.gathers.take().map(|until| until.before(GATHER));
        for leaver in leaving {
            if !self.plan.runs() {
                self.gathers_until = gathers_since.unwrap_or(now).after(seconds(settings.gather_seconds));
                let name = format!("{}/{}", self.plan.epoch, self.plan.change);
                self.plan = self.plan.next(Uuid::new_v5(&leaver.event, name.as_bytes()));
                (self.acks_after, self.reading_acks) = (0, false);
                self.acks.clear();
                self.since.clear();
                self.at_work.clear();
            }
            self.plan.add(leaver, &settings.steps);
        }
        let plan = &self.plan;
        self.deadlines.retain(|event, _| known.contains(event) || plan.knows(*event));
        self.stated.retain(|event, _| known.contains(event));
    }

    fn goes(&self, fits: impl Fn(Stage) -> bool) -> impl Iterator<Item = (&Presence, &Goes)> {
        let all =
            self.members.values().flat_map(|known| known.presence.goes.iter().map(|goes| (&known.presence, goes)));
        all.filter(move |(_, goes)| fits(goes.stage))
    }

    /// Goes on with the plan as far as it can.
    fn go_on(&mut self, now: Boot) {
        let current = self.plan.current;
        let answered: Vec<String> =
            self.acks.iter().filter(|(pass, _)| *pass == current).map(|(_, member)| member.clone()).collect();
        for member in answered {
            self.plan.acknowledge(current, &member);
        }
        let peers = self.peers();
        let (deadlines, gathers_until) = (&self.deadlines, self.gathers_until);
        let view = View { now, peers: &peers, everybody: self.scanned, deadlines, gathers_until };
        self.plan.advance(&view, &self.since);
    }
}
