//! What a member says and hears beside plans: events, its presence, who comes and goes.
//!
//! Responsibilities: own notices, letters until they are kept, the heartbeat, letters of others once each. Inputs: the owner's calls,
//! what the servers say. Outputs: effects. It must never pile up more than a bounded number of letters, nor tell the same event twice.

use super::{
    Boot, Bytes, Core, Duration, ELECTIONS, Effect, Entry, Failed, Goes, Letter, MOST_OWN, Notice, Own, POLL,
    REPLICAS_LAG, Ready, Seen, Stage, Told, Uuid, milliseconds, read, write,
};
use crate::details::Details;
use crate::told::Heard;
use crate::wire::{Fate, Kind, News, Presence};

/// The most letters that wait to be kept.
const MOST_LETTERS: usize = 64;
/// How long a notice is remembered after its time.
const KEPT_AFTER: Duration = Duration::from_secs(600);
/// How often a letter is sent, at pauses of a second and more, before it is given up.
const MOST_TRIES: u32 = 120;
/// Within so long of a connection it is looked at whether streams and buckets are as they should be, by whom has seen them before.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

impl Core {
    /// Tells an event, or has it kept only.
    pub(super) fn publish(&mut self, now: Boot, kind: Kind, notice: &Notice) {
        let letter = Letter::about(kind, notice, &self.name, &self.settings.role);
        self.post(now, letter, now.after(notice.left));
    }

    pub(super) fn leaving(&mut self, now: Boot, notice: &Notice) {
        let letter = Letter::about(Kind::Leaving, notice, &self.name, &self.settings.role);
        let deadline = now.after(notice.left);
        match self.own.get_mut(&notice.event) {
            // Told again: nothing new, unless its time was moved.
            Some(own) if own.stage != Stage::Stays && own.letter.deadline == letter.deadline => return,
            Some(own) if own.stage != Stage::Stays => {
                own.deadline = deadline;
                own.letter = letter.clone();
            }
            _ => {
                let stage = match self.record.of_event(notice.event) {
                    Some(action) if action.outcome.is_some() => Stage::Over,
                    Some(_) => Stage::Acts,
                    None => Stage::Waits,
                };
                self.make_room();
                let own = Own {
                    letter: letter.clone(),
                    told: now,
                    notice: notice.left,
                    deadline,
                    asked: false,
                    stage,
                    begins: None,
                    yielded: false,
                };
                self.own.insert(notice.event, own);
            }
        }
        self.next_beat = now;
        self.next_poll = now;
        self.post(now, letter, deadline);
    }

    /// The oldest notice that is over makes room for another.
    fn make_room(&mut self) {
        if self.own.len() < MOST_OWN {
            return;
        }
        let over = self.own.iter().filter(|(_, own)| matches!(own.stage, Stage::Over | Stage::Stays));
        let oldest = over.min_by_key(|(_, own)| own.told).or_else(|| self.own.iter().min_by_key(|(_, own)| own.told));
        if let Some(event) = oldest.map(|(event, _)| *event) {
            self.own.remove(&event);
        }
    }

    pub(super) fn stays(&mut self, now: Boot, event: Uuid) {
        let Some(own) = self.own.get_mut(&event).filter(|own| own.stage != Stage::Stays) else { return };
        own.stage = Stage::Stays;
        own.begins = None;
        let letter = Letter { kind: Kind::Stays, details: Details::default(), ..own.letter.clone() };
        if std::mem::take(&mut own.asked) {
            self.effects.push(Effect::Turn(event, crate::told::Turn::Withdrawn));
        }
        self.next_beat = now;
        self.post(now, letter, now);
    }

    pub(super) fn leave(&mut self, now: Boot) {
        if self.lead.is_some() {
            // Whoever leads next never knew this member.
            let (member, role) = (self.name.clone(), self.settings.role.clone());
            let news = News { fate: Fate::Gone, member, role, epoch: self.record.highest };
            self.effects.push(Effect::Tell(Bytes::from(write(&news))));
        }
        let effect = self.election.release(now, Boot::NEVER);
        self.obey(now, effect);
        self.effects.push(Effect::Absent);
        // With it how far the events were read.
        let number = self.want_saved();
        if self.saving.is_none() {
            self.effects.push(Effect::Save { number, bytes: self.record.to_bytes() });
        }
        self.left = true;
    }

    fn post(&mut self, now: Boot, letter: Letter, deadline: Boot) {
        if self.letters.len() >= MOST_LETTERS {
            // What nobody waits for makes room first.
            let least = self.letters.iter().position(|unsent| unsent.letter.kind == Kind::Kept).unwrap_or(0);
            self.letters.remove(least);
            self.counts.dropped += 1;
            self.problem("more events happen than the servers keep: the oldest were not kept".to_owned());
        }
        let identity = letter.identity();
        self.letters.push_back(Unsent { letter, identity, deadline, next: now, in_flight: false, tries: 0 });
    }

    /// Sends what is due: events, and that this member is there.
    pub(super) fn say(&mut self, now: Boot) {
        self.own.retain(|_, own| own.deadline.after(KEPT_AFTER) > now);
        if !self.connected {
            return;
        }
        self.send_letters(now);
        if now >= self.next_beat && self.ready {
            let presence = self.presence(now);
            self.effects.push(Effect::Present(Bytes::from(write(&presence))));
            let unplanned = self.own.iter().any(|(event, own)| own.stage == Stage::Waits && !self.plan.lists(*event));
            let beat = self.beat();
            // Many members are often started together, and had better not speak together for ever.
            let is_first = std::mem::take(&mut self.speaks_first);
            let pause = if is_first { self.jitter(beat) } else { beat * 19 / 20 + self.jitter(beat / 10) };
            self.next_beat = now.after(if unplanned { pause.min(POLL) } else { pause });
        }
        if self.ready {
            self.wake_at(self.next_beat);
        }
    }

    fn send_letters(&mut self, now: Boot) {
        let mut wake = Boot::NEVER;
        let (mut effects, mut sent) = (Vec::new(), 0);
        for unsent in self.letters.iter_mut().filter(|unsent| !unsent.in_flight) {
            if unsent.next > now {
                wake = wake.min(unsent.next);
                continue;
            }
            sent += u64::from(unsent.tries == 0);
            unsent.in_flight = true;
            unsent.tries += 1;
            unsent.letter.epoch = self.record.highest;
            unsent.letter.remaining_ms = milliseconds(now.until(unsent.deadline));
            effects.push(Effect::Send {
                kind: unsent.letter.kind,
                event_type: unsent.letter.event_type.clone(),
                identity: unsent.identity.clone(),
                letter: Bytes::from(write(&unsent.letter)),
            });
        }
        self.counts.sent += sent;
        self.effects.append(&mut effects);
        self.wake_at(wake);
    }

    pub(super) fn sent(&mut self, now: Boot, identity: &str, result: &Result<(), Failed>) {
        let Some(at) = self.letters.iter().position(|unsent| unsent.identity == identity) else { return };
        let tries = self.letters.get(at).map_or(0, |unsent| unsent.tries);
        if result.is_ok() || tries >= MOST_TRIES {
            self.letters.remove(at);
            self.counts.kept += u64::from(result.is_ok());
        } else if let Some(unsent) = self.letters.get_mut(at) {
            unsent.in_flight = false;
            unsent.next = now.after(POLL * tries.min(5));
        }
        if let Err(error) = result {
            self.problem(format!("an event was told, but is not kept: {error}"));
        }
    }

    /// What this member says of itself. Of several notices the group hears of one at a time: a machine goes once.
    pub(super) fn presence(&self, now: Boot) -> Presence {
        let active = self.own.iter().filter(|(_, own)| matches!(own.stage, Stage::Waits | Stage::Acts));
        let first = active.min_by_key(|(_, own)| (own.stage == Stage::Waits, own.deadline)).map(|(event, _)| *event);
        let told = self
            .own
            .iter()
            .filter(|(event, own)| matches!(own.stage, Stage::Over | Stage::Stays) || Some(**event) == first);
        let goes = told.map(|(event, own)| Goes {
            event: *event,
            remaining_ms: milliseconds(now.until(own.deadline)),
            deadline: own.letter.deadline,
            drill: own.letter.drill,
            stage: own.stage,
        });
        Presence {
            member: self.name.clone(),
            role: self.settings.role.clone(),
            may_lead: self.settings.may_lead,
            epoch: self.record.highest,
            beat_ms: milliseconds(self.beat()),
            work_ms: milliseconds(self.work()),
            goes: goes.collect(),
            acts: self.acts(),
        }
    }

    pub(super) fn seen(&mut self, now: Boot, seen: Seen) {
        match seen {
            Seen::Connected(server) => self.connection(now, Some(server)),
            Seen::Disconnected => self.connection(now, None),
            Seen::Letter(bytes) => _ = self.letter(now, &bytes, false),
            Seen::Plan(Entry { revision, bytes }) => self.plan_seen(now, revision, &bytes),
            Seen::Lease(entry) => {
                self.lease_told = now;
                self.see_lease(now, entry.as_ref());
            }
            Seen::News(bytes) => self.news(&bytes),
            Seen::Presence(bytes) => self.presence_seen(now, &bytes),
            Seen::Left(member) => self.member_left(&member),
            Seen::Ack(ack) => self.ack_seen(&ack),
            Seen::Problem(sentence) => self.problem(sentence),
        }
    }

    fn connection(&mut self, now: Boot, server: Option<String>) {
        let connected = server.is_some();
        self.server = server.or(self.server.take());
        if self.connected == connected {
            return;
        }
        self.connected = connected;
        self.ready = false;
        // Whoever has found streams and buckets once takes it that they are there; that is looked at again some time later, as all
        // come back together. What is missing all the same is made by the call that finds it so.
        self.next_prepare = if self.is_prepared { now.after(self.jitter(LOOK_AGAIN)) } else { now };
        self.counts.disconnected += u64::from(!connected);
        for unsent in &mut self.letters {
            unsent.next = unsent.next.min(now);
        }
        self.tell(Told::Connected(connected));
        if connected && self.is_prepared {
            self.begin_again(now);
        }
    }

    pub(super) fn made_ready(&mut self, now: Boot, result: Result<Ready, Failed>) {
        self.in_flight.prepare = false;
        match result {
            Ok(ready) => {
                if let Some(lease) = ready.lease {
                    self.election.set_lease(lease);
                }
                ready.problems.iter().for_each(|problem| self.problem(problem.clone()));
                self.standing = ready.problems;
                (self.is_prepared, self.next_prepare) = (true, Boot::NEVER);
                if !self.ready {
                    self.begin_again(now);
                }
                // Whoever is new hears of what comes from here on: it listens, so there is nothing to read now.
                self.record.sequence.get_or_insert(ready.last);
            }
            Err(error) => {
                let pause = if self.ready { LOOK_AGAIN } else { POLL };
                self.next_prepare = now.after(pause + self.jitter(pause / 2));
                self.problem(format!("the group's buckets cannot be used: {error}"));
            }
        }
    }

    /// What is said and asked first on a connection.
    fn begin_again(&mut self, now: Boot) {
        (self.ready, self.ready_since) = (self.connected, now);
        (self.next_beat, self.next_poll) = (now, now);
        self.speaks_first = true;
        if let Some(after) = self.record.sequence {
            self.effects.push(Effect::Missed(after));
            self.missed_again = Some(now.after(REPLICAS_LAG));
            self.missed_last = Some(now.after(ELECTIONS + self.jitter(REPLICAS_LAG)));
        }
        self.look_again(now);
    }

    /// Asks again for the events of the time away, when it is time.
    pub(super) fn read_time_away(&mut self, now: Boot) {
        for when in [&mut self.missed_again, &mut self.missed_last] {
            if let (Some(_), Some(after)) = (when.take_if(|when| *when <= now), self.record.sequence) {
                self.effects.push(Effect::Missed(after));
            }
        }
        let next = [self.missed_again, self.missed_last].into_iter().flatten();
        self.wake_at(next.fold(Boot::NEVER, Boot::min));
    }

    pub(super) fn missed(&mut self, now: Boot, result: Result<(Vec<Bytes>, u64), Failed>) {
        match result {
            Ok((letters, last)) => {
                letters.iter().for_each(|bytes| _ = self.letter(now, bytes, true));
                // Not worth a write of its own: it is saved with the next that is.
                self.record.sequence = Some(last);
            }
            Err(error) => {
                // Until there is an answer: a store without a leader gives none, and what was told meanwhile would never be known.
                let pause = REPLICAS_LAG + self.jitter(REPLICAS_LAG);
                self.missed_again.get_or_insert(now.after(pause));
                self.problem(format!("events of the time away cannot be read: {error}"));
            }
        }
    }

    /// A letter, of another member or of this one. Says whether there may be something to do because of it.
    pub(super) fn letter(&mut self, now: Boot, bytes: &[u8], replayed: bool) -> bool {
        let mut letter = match read::<Letter>(bytes) {
            Ok(letter) => letter,
            Err(why) => {
                self.counts.ignored += 1;
                self.problem(format!("an event of a member cannot be read: {why}"));
                return false;
            }
        };
        if letter.member == self.name || letter.kind == Kind::Kept {
            return false;
        }
        let left = Duration::from_millis(letter.remaining_ms);
        let is_new_event = letter.kind != Kind::Stays && self.heard.hear(now, letter.event, Kind::Event, 0);
        let is_new = match letter.kind {
            Kind::Event => is_new_event,
            Kind::Leaving => self.heard.hear(now, letter.event, Kind::Leaving, letter.deadline.unwrap_or(0)),
            Kind::Stays => self.heard.hear(now, letter.event, Kind::Stays, 0),
            Kind::Kept => false,
        };
        if !is_new {
            self.counts.ignored += 1;
        }
        if is_new_event {
            self.counts.heard += 1;
            // They are the largest part, and only a departure is told of once more.
            let is_told_again = letter.kind == Kind::Leaving && is_new && !replayed;
            let details = if is_told_again { letter.details.clone() } else { std::mem::take(&mut letter.details) };
            self.tell(Told::Event(Heard {
                event: letter.event,
                event_type: std::mem::take(&mut letter.event_type),
                member: letter.member.clone(),
                role: letter.role.clone(),
                detected: letter.detected,
                deadline: letter.deadline,
                left,
                replayed,
                drill: letter.drill,
                details,
            }));
        }
        match letter.kind {
            // What was said of a departure some time ago is in the plan, with the time that is left of it.
            Kind::Leaving if is_new && !replayed => {
                self.member_goes(now, &letter, now.after(left));
                // A plan will follow, and what tells of it can be lost.
                self.next_poll = self.next_poll.min(now.after(POLL));
                let Letter { event, member, role, drill, details, .. } = letter;
                self.tell(Told::Leaving { event, member, role, left, drill, details });
            }
            Kind::Stays if is_new => {
                self.member_stays(&letter.member, letter.event);
                self.tell(Told::Stays { event: letter.event, member: letter.member, drill: letter.drill });
            }
            _ => {}
        }
        is_new && letter.kind != Kind::Event
    }

    fn news(&mut self, bytes: &[u8]) {
        match read::<News>(bytes) {
            Ok(news) if news.epoch < self.record.highest || self.lead.is_some() => {}
            Ok(news) => self.tell(told_of(news)),
            Err(why) => self.problem(format!("news of the leader cannot be read: {why}")),
        }
    }

    /// The leader's word about a member, to the others and to the own owner.
    pub(super) fn spread(&mut self, fate: Fate, member: String, role: String) {
        let news = News { fate, member, role, epoch: self.record.highest };
        self.effects.push(Effect::Tell(Bytes::from(write(&news))));
        self.tell(told_of(news));
    }
}

use super::Unsent;

fn told_of(news: News) -> Told {
    let News { fate, member, role, .. } = news;
    match fate {
        Fate::Joined => Told::Joined { member, role },
        Fate::Gone => Told::Gone { member, role },
        Fate::Lost => Told::Lost { member, role },
    }
}
