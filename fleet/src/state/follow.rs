//! A member's own part in an operation.
//!
//! Responsibilities: take plans of leaders in office and refuse others, begin when it is this member's turn or when there is no time left,
//! acknowledge the end until the servers have it. Inputs: plans, ends of work, the time. Outputs: effects.
//! It must never begin anything that is not written down as begun (the disk is waited for a second), nor begin anything twice.

use super::{
    BTreeMap, Begins, BeginsStep, Boot, Bytes, Core, DISK_WAIT, Duration, Effect, Entry, Failed, Outcome, POLL, Plan,
    Stage, Told, Turn, Uuid, read, write,
};
use crate::details::Details;
use crate::plan::{self, Leaving};
use crate::told::{Departed, Leaver};
use crate::turn::{Group, Verdict, Waiting, verdict};
use crate::wire::{Ack, Kind};

/// How much of a length of work counts the next time, when that took less.
const KEPT_OF_WORK: f64 = 0.8;
/// An acknowledgement that the leader does not take notice of is sent again after this time.
const ACK_AGAIN: Duration = Duration::from_secs(3);

impl Core {
    /// The owner waits for its turn.
    pub(super) fn asked(&mut self, event: Uuid) {
        let Some(own) = self.own.get_mut(&event).filter(|own| own.stage != Stage::Stays) else {
            return self.effects.push(Effect::Turn(event, Turn::Withdrawn));
        };
        if own.begins.is_some() {
            // Both who ask get the answer when it comes.
            return;
        }
        match self.record.of_event(event) {
            None => own.asked = true,
            Some(action) => {
                let (operation, step) =
                    action.turn.map_or((String::new(), 0), |(operation, pass)| (operation.to_string(), pass));
                let turn = Turn::Begun { operation, step, epoch: action.epoch, over: action.outcome.clone() };
                self.effects.push(Effect::Turn(event, turn));
            }
        }
    }

    pub(super) fn done(&mut self, now: Boot, event: Uuid, outcome: Outcome) {
        let took = outcome.seconds;
        let worked = outcome.ok && took.is_finite() && took >= 0.0;
        if !self.record.finish(event, outcome) {
            return;
        }
        // What is done for others, or in a drill, says nothing of the own work; and one light event does not make a heavy one light.
        if worked && self.own.get(&event).is_some_and(|own| !own.letter.drill) {
            let before = self.record.work_seconds.unwrap_or(0.0);
            self.record.work_seconds = Some(took.max(before * KEPT_OF_WORK));
        }
        if let Some(own) = self.own.get_mut(&event).filter(|own| own.stage != Stage::Stays) {
            own.stage = Stage::Over;
        }
        self.want_saved();
        self.next_beat = now;
        self.next_ack = now;
    }

    pub(super) fn plan_seen(&mut self, now: Boot, revision: u64, bytes: &[u8]) {
        match read::<Plan>(bytes) {
            Ok(plan) => self.accept(now, plan, revision),
            Err(why) => self.problem(format!("the plan cannot be read: {why}")),
        }
    }

    /// What the store has; for the leader it may be the answer to what became of a writing.
    pub(super) fn plan_read(&mut self, now: Boot, result: Result<Option<Entry>, Failed>) {
        self.in_flight.plan = false;
        match result {
            Ok(entry) => {
                if let Some(entry) = &entry {
                    self.plan_seen(now, entry.revision, &entry.bytes);
                }
                self.plan_for_leader(now, entry.as_ref());
            }
            Err(error) => self.problem(format!("the plan cannot be read: {error}")),
        }
    }

    /// Takes a plan, unless it is old, or of a leader that is none any more.
    pub(super) fn accept(&mut self, now: Boot, plan: Plan, revision: u64) {
        let unfenced = self.settings.unfenced;
        if plan.epoch < self.record.highest && !unfenced {
            // An old reading of a replica is no directive: only what was written after the last accepted plan is.
            if revision > self.revision && self.revision > 0 {
                self.counts.refused += 1;
                self.next_beat = now;
                self.tell(Told::Refused { epoch: plan.epoch, highest: self.record.highest });
                self.problem(format!(
                    "a directive of `{}` was refused: its epoch {} is below {}, so it leads no more",
                    plan.leader, plan.epoch, self.record.highest
                ));
            }
            return;
        }
        let is_old = (plan.epoch, plan.change) <= (self.plan.epoch, self.plan.change);
        let is_obeyed_all_the_same = unfenced && revision > self.revision;
        if is_old && !is_obeyed_all_the_same {
            return;
        }
        if plan.epoch > self.record.highest {
            self.record.highest = plan.epoch;
            self.want_saved();
        }
        if self.plan.epoch > 0 {
            self.election.heard_of_a_leader(now);
        }
        if plan.epoch > self.leader_told {
            self.leader_told = plan.epoch;
            self.tell(Told::Leader { name: plan.leader.clone(), epoch: plan.epoch });
        }
        self.tell_leavers(&plan);
        // What was over before this member came for the first time is nothing to it.
        let is_history = self.plan.epoch == 0 && self.record.completed.is_none();
        if plan.complete && self.record.completed != Some(plan.operation) {
            self.record.completed = Some(plan.operation);
            self.want_saved();
            self.tell_completed(&plan, is_history);
        }
        self.revision = revision;
        self.plan = plan;
    }

    fn tell_completed(&mut self, plan: &Plan, is_history: bool) {
        if is_history {
            return;
        }
        let departed = |leaver: &Leaving| {
            let Leaving { event, member, role, drill, .. } = leaver.clone();
            Departed { event, member, role, drill }
        };
        self.tell(Told::Completed {
            operation: plan.operation.to_string(),
            epoch: plan.completed_under,
            led: plan.leader == self.name,
            departed: plan.leavers.iter().map(departed).collect(),
            missing: plan.missing.clone(),
        });
    }

    /// Tells of departures whose letters were lost.
    fn tell_leavers(&mut self, plan: &Plan) {
        if !plan.runs() {
            return;
        }
        for leaver in &plan.leavers {
            let deadline = leaver.deadline.unwrap_or(0);
            if leaver.member != self.name && self.heard.hear(self.now, leaver.event, Kind::Leaving, deadline) {
                let Leaving { event, member, role, remaining_ms, drill, .. } = leaver.clone();
                let left = Duration::from_millis(remaining_ms);
                self.effects.push(Effect::Told(Told::Leaving {
                    event,
                    member,
                    role,
                    left,
                    drill,
                    details: Details::default(),
                }));
            }
        }
    }

    /// Looks at every notice of this member and every part that the plan gives it.
    pub(super) fn consider(&mut self, now: Boot) {
        self.take_turns(now);
        self.wait_or_act(now);
        self.begin_what_is_written(now);
        self.acknowledge(now);
    }

    /// What the plan says that it is time for.
    fn take_turns(&mut self, now: Boot) {
        if !self.plan.runs() {
            return;
        }
        let (operation, pass, epoch) = (self.plan.operation, self.plan.current, self.plan.epoch);
        let acts = |actor: &&plan::Actor| actor.member == self.name && actor.stage == plan::Stage::Acts;
        let actors = self.plan.passes.get(pass).map(|pass| pass.actors.as_slice()).unwrap_or_default();
        let turns: Vec<Option<Uuid>> = actors.iter().filter(acts).map(|actor| actor.event).collect();
        for turn in turns {
            let is_waited_for =
                |event: Uuid| self.own.get(&event).is_some_and(|own| own.asked && own.stage == Stage::Waits);
            match turn {
                // Begun alone, or before this member was started: its end is what is acknowledged.
                Some(event) if self.record.attach(event, operation, pass) => {
                    self.want_saved();
                }
                Some(event) if is_waited_for(event) => {
                    let turn = Turn::Go { operation: operation.to_string(), step: pass, epoch };
                    self.begin(now, event, Some((operation, pass)), epoch, turn);
                }
                Some(_) => {}
                None if self.record.of_turn(operation, pass).is_none() => {
                    let event = Uuid::new_v5(&operation, format!("{pass}/{}", self.name).as_bytes());
                    if self.record.begin(event, Some((operation, pass)), epoch) {
                        let number = self.want_saved();
                        self.steps.push(BeginsStep { number, until: now.after(DISK_WAIT), operation, pass, event });
                        self.next_beat = now;
                    }
                }
                None => {}
            }
        }
    }

    /// Writes down that the work begins; the owner hears of it when it is on the disk.
    fn begin(&mut self, now: Boot, event: Uuid, turn: Option<(Uuid, usize)>, epoch: u64, answer: Turn) {
        if !self.record.begin(event, turn, epoch) {
            return;
        }
        let number = self.want_saved();
        if let Some(own) = self.own.get_mut(&event) {
            own.asked = false;
            own.stage = Stage::Acts;
            own.begins = Some(Begins { number, until: now.after(DISK_WAIT), turn: answer });
        }
        self.next_beat = now;
    }

    /// Notices whose turn has not come.
    fn wait_or_act(&mut self, now: Boot) {
        let another_is_planned = self.own.keys().any(|event| self.plan.runs() && self.plan.lists(*event));
        let another_acts = self.own.values().any(|own| own.stage == Stage::Acts);
        let waiting: Vec<Uuid> = self
            .own
            .iter()
            .filter(|(_, own)| own.asked && own.stage == Stage::Waits)
            .map(|(event, _)| *event)
            .collect();
        for event in waiting {
            let Some(own) = self.own.get(&event) else { continue };
            let times = Waiting { told: own.told, notice: own.notice, deadline: own.deadline, work: self.work() };
            let group = match self.plan.actor_of(event) {
                Some((_, plan::Stage::Missing)) => Group::WithoutUs,
                Some(_) if self.plan.complete => Group::WithoutUs,
                Some(_) => Group::Planned(self.election.led_until()),
                // Of several notices of one machine the group has one at a time.
                None if another_is_planned || another_acts => Group::Planned(self.election.led_until()),
                None => Group::Silent,
            };
            match verdict(now, &times, group) {
                Verdict::Wait(until) => self.wake_at(until),
                Verdict::Alone(why) => self.begin(now, event, None, 0, Turn::Alone { why }),
            }
        }
    }

    /// What is on the disk begins; so does what has waited for the disk for a second.
    fn begin_what_is_written(&mut self, now: Boot) {
        let mut turns = Vec::new();
        let mut wake = Boot::NEVER;
        for (event, own) in &mut self.own {
            if let Some(begins) = own.begins.take_if(|begins| begins.number <= self.saved || begins.until <= now) {
                turns.push((*event, begins.turn));
            } else if let Some(begins) = &own.begins {
                wake = wake.min(begins.until);
            }
        }
        for (event, turn) in turns {
            if let Turn::Alone { why } = &turn {
                self.counts.alone += 1;
                self.tell(Told::Alone { event, why: why.clone() });
            } else {
                self.counts.turns += 1;
            }
            self.effects.push(Effect::Turn(event, turn));
        }
        let (begin, wait): (Vec<_>, Vec<_>) = std::mem::take(&mut self.steps)
            .into_iter()
            .partition(|step| step.number <= self.saved || step.until <= now);
        wake = wait.iter().map(|step| step.until).fold(wake, Boot::min);
        self.steps = wait;
        for step in begin {
            if self.is_waited_for(step.operation, step.pass) {
                self.counts.turns += 1;
                self.tell_step(&step);
            } else {
                // A newer plan came meanwhile: the group has gone on without this member, and those behind it are at work.
                self.record.forget(step.event);
                self.want_saved();
            }
        }
        self.wake_at(wake);
    }

    fn tell_step(&mut self, step: &BeginsStep) {
        let Some(pass) = self.plan.passes.get(step.pass).filter(|_| self.plan.operation == step.operation) else {
            return;
        };
        let of_pass = |leaver: &&Leaving| pass.leaving.contains(&leaver.event);
        let leaving: Vec<Leaver> = self.plan.leavers.iter().filter(of_pass).map(leaver).collect();
        let shortest = leaving.iter().map(|leaver| leaver.left).min().unwrap_or(Duration::MAX);
        let told = Told::Step {
            operation: step.operation.to_string(),
            step: step.pass,
            event: step.event,
            epoch: self.plan.epoch,
            left: shortest.min(Duration::from_millis(pass.timeout_ms)),
            leaving,
        };
        self.tell(told);
    }

    /// Sends what the servers do not have yet.
    fn acknowledge(&mut self, now: Boot) {
        self.forget_old_acks();
        if !self.connected || !self.ready {
            return;
        }
        self.send_again_what_is_not_seen(now);
        if now < self.next_ack {
            if self.record.unacknowledged().next().is_some() {
                self.wake_at(self.next_ack);
            }
            return;
        }
        let mut acks = BTreeMap::new();
        for (action, operation, pass) in self.record.unacknowledged() {
            if let Some(outcome) = &action.outcome
                && !self.in_flight.acks.contains(&(operation, pass))
            {
                acks.insert((operation, pass), Bytes::from(write(&Ack::of(outcome, action.alone))));
            }
        }
        if !acks.is_empty() {
            (self.next_ack, self.last_ack) = (now.after(POLL), now);
        }
        for ((operation, pass), bytes) in acks {
            self.in_flight.acks.insert((operation, pass));
            self.effects.push(Effect::Acknowledge { operation, pass, bytes });
        }
    }

    /// Nobody waits for acknowledgements of an operation that is over.
    fn forget_old_acks(&mut self) {
        let is_over = |operation: Uuid, epoch: u64| {
            (self.plan.operation == operation && self.plan.complete)
                || (self.plan.operation != operation && self.plan.epoch > epoch && epoch > 0)
        };
        let over: Vec<(Uuid, usize)> = self
            .record
            .unacknowledged()
            .filter(|(action, operation, _)| is_over(*operation, action.epoch))
            .map(|(_, operation, pass)| (operation, pass))
            .collect();
        for (operation, pass) in over {
            self.record.acknowledged(operation, pass, true);
        }
    }

    /// The store may have lost what it had acknowledged: then the plan still waits for this member.
    fn send_again_what_is_not_seen(&mut self, now: Boot) {
        let (operation, pass) = (self.plan.operation, self.plan.current);
        let is_waited_for = self.is_waited_for(operation, pass);
        let is_sent =
            self.record.of_turn(operation, pass).is_some_and(|action| action.outcome.is_some() && action.acknowledged);
        if is_waited_for && is_sent {
            let again = self.last_ack.after(ACK_AGAIN);
            if again <= now {
                self.record.acknowledged(operation, pass, false);
                self.next_ack = now;
            } else {
                self.wake_at(again);
            }
        }
    }

    /// The turn of the operation that runs which this member is at work for.
    pub(super) fn acts(&self) -> Option<(Uuid, usize)> {
        self.record.acts().filter(|(operation, _)| self.plan.runs() && self.plan.operation == *operation)
    }

    /// Whether the plan, as it is known now, waits for this member in this pass.
    fn is_waited_for(&self, operation: Uuid, pass: usize) -> bool {
        let acts = |actor: &plan::Actor| actor.member == self.name && actor.stage == plan::Stage::Acts;
        let is_current = (self.plan.operation, self.plan.current) == (operation, pass) && self.plan.runs();
        is_current && self.plan.passes.get(pass).is_some_and(|pass| pass.actors.iter().any(acts))
    }

    pub(super) fn ack_kept(&mut self, now: Boot, operation: Uuid, pass: usize, result: &Result<(), Failed>) {
        self.in_flight.acks.remove(&(operation, pass));
        match result {
            Ok(()) => {
                self.record.acknowledged(operation, pass, true);
                self.want_saved();
            }
            Err(error) => {
                self.next_ack = self.next_ack.max(now.after(POLL / 2));
                self.problem(format!("an acknowledgement is not kept: {error}"));
            }
        }
    }
}

fn leaver(leaving: &Leaving) -> Leaver {
    Leaver {
        event: leaving.event,
        member: leaving.member.clone(),
        role: leaving.role.clone(),
        left: Duration::from_millis(leaving.remaining_ms),
        drill: leaving.drill,
    }
}
