//! When the group goes on: whose turn it is now, and until when it is waited for.
//!
//! Responsibilities: begin passes, give turns, give up on who does not answer, end the operation; pure. Inputs: a plan and the view of its
//! leader. Outputs: the plan, changed or not, and when to look again. It must never give a turn twice, nor more turns at once than the
//! role's rule allows.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Actor, Boot, Pass, Plan, Stage, View, latest_start};

/// How much earlier than its latest start a member is given its turn when others are given up for it: what a directive needs on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(300);

/// Since when each actor of the current pass has had its turn, as this leader has seen it: since the servers had the plan that gives it.
pub(crate) type Since = BTreeMap<(usize, String), Boot>;

impl Plan {
    /// Does all that can be done now. Says whether anything changed. `since` is this leader's memory between calls.
    pub(crate) fn advance(&mut self, view: &View<'_>, since: &Since) -> bool {
        let mut changed = false;
        while self.runs() {
            // Those who stay and react have to be known before their pass begins.
            if !view.everybody && self.passes.get(self.current).is_some_and(|pass| pass.reacts && !pass.begun) {
                break;
            }
            if self.waits_for_others(view) {
                break;
            }
            changed |= self.begin(view);
            changed |= self.give_up(view, since);
            changed |= self.give_turns(view);
            let is_over = |actor: &Actor| matches!(actor.stage, Stage::Over | Stage::Missing);
            if !self.passes.get(self.current).is_some_and(|pass| pass.actors.iter().all(is_over)) {
                break;
            }
            changed = true;
            if self.current + 1 == self.passes.len() {
                (self.complete, self.completed_under) = (true, self.epoch);
            } else {
                self.current += 1;
            }
        }
        changed
    }

    /// Whether somebody may still come who has to act before those of the current pass.
    fn waits_for_others(&self, view: &View<'_>) -> bool {
        let goes = |actor: &Actor| actor.event.is_some();
        let may_be_too_early = |pass: &Pass| !pass.begun && pass.rank > 0 && pass.actors.iter().any(goes);
        view.now < view.gathers_until && self.passes.get(self.current).is_some_and(may_be_too_early)
    }

    /// Begins the current pass: those who stay and react get their parts.
    fn begin(&mut self, view: &View<'_>) -> bool {
        let Some(pass) = self.passes.get_mut(self.current).filter(|pass| !pass.begun) else { return false };
        pass.begun = true;
        if pass.reacts {
            let staying = view.staying(&pass.role).cloned();
            pass.actors.extend(staying.map(|member| Actor { member, event: None, stage: Stage::Waits }));
        }
        true
    }

    /// Goes on without those who are lost, whose time is over, or who hold up others beyond theirs.
    fn give_up(&mut self, view: &View<'_>, since: &Since) -> bool {
        let hold_until = self.hold_until(view);
        let index = self.current;
        let Some(pass) = self.passes.get_mut(index) else { return false };
        let (timeout, role) = (pass.timeout(), pass.role.clone());
        let mut notes = Vec::new();
        for actor in pass.actors.iter_mut().filter(|actor| matches!(actor.stage, Stage::Waits | Stage::Acts)) {
            let begun = since.get(&(index, actor.member.clone())).filter(|_| actor.stage == Stage::Acts);
            let deadline = actor.event.map_or(Boot::NEVER, |event| view.deadline(event));
            let why = if !view.peers.contains_key(&actor.member) {
                "was lost".to_owned()
            } else if deadline <= view.now {
                "had not answered when its time was over".to_owned()
            } else if begun.is_some_and(|begun| begun.after(timeout) <= view.now) {
                format!("did not answer within {} s", timeout.as_secs_f64())
            } else if hold_until <= view.now {
                "had not answered when others needed the time".to_owned()
            } else {
                continue;
            };
            actor.stage = Stage::Missing;
            notes.push(format!("{} {why} in pass {index} ({role})", actor.member));
        }
        let changed = !notes.is_empty();
        notes.into_iter().for_each(|note| self.note(note));
        changed
    }

    /// Gives turns to those whose time is shortest, as many as the role's rule allows.
    fn give_turns(&mut self, view: &View<'_>) -> bool {
        let Some(pass) = self.passes.get_mut(self.current) else { return false };
        let acting = pass.actors.iter().filter(|actor| actor.stage == Stage::Acts).count();
        let may_begin = pass.most().saturating_sub(acting);
        let mut waiting: Vec<&mut Actor> = pass.actors.iter_mut().filter(|actor| actor.stage == Stage::Waits).collect();
        waiting.sort_by_key(|actor| actor.event.map_or(Boot::NEVER, |event| view.deadline(event)));
        let mut changed = false;
        for actor in waiting.into_iter().take(may_begin) {
            actor.stage = Stage::Acts;
            changed = true;
        }
        changed
    }

    /// The servers have this plan: whoever has its turn by it can know of that only now, and has its time from now on. Servers that take
    /// no writes for some seconds must not cost an actor its time, or the next pass would begin together with this one.
    pub(crate) fn is_known(&self, now: Boot, since: &mut Since) {
        let Some(pass) = self.passes.get(self.current).filter(|_| self.runs()) else { return };
        for actor in pass.actors.iter().filter(|actor| actor.stage == Stage::Acts) {
            since.entry((self.current, actor.member.clone())).or_insert(now);
        }
    }

    /// Until when the current pass may be waited for: then those behind it need their time.
    fn hold_until(&self, view: &View<'_>) -> Boot {
        let mut before = ON_ITS_WAY;
        let mut earliest = Boot::NEVER;
        for pass in self.passes.iter().skip(self.current + 1) {
            let present = pass.actors.iter().filter(|actor| view.peers.contains_key(&actor.member));
            let deadlines = present.filter_map(|actor| actor.event.map(|event| (actor, view.deadline(event))));
            for (actor, deadline) in deadlines.filter(|(_, deadline)| *deadline != Boot::NEVER) {
                earliest = earliest.min(latest_start(deadline, view.work(&actor.member)).before(before));
            }
            before = before.saturating_add(pass.needs(view));
        }
        earliest
    }

    /// When `advance` has something to do even if nothing is heard.
    pub(crate) fn wake(&self, view: &View<'_>, since: &Since) -> Boot {
        let Some(pass) = self.passes.get(self.current).filter(|_| self.runs()) else { return Boot::NEVER };
        let mut wake = self.hold_until(view);
        if self.waits_for_others(view) {
            wake = wake.min(view.gathers_until);
        }
        for actor in pass.actors.iter().filter(|actor| matches!(actor.stage, Stage::Waits | Stage::Acts)) {
            if let Some(begun) = since.get(&(self.current, actor.member.clone())) {
                wake = wake.min(begun.after(pass.timeout()));
            }
            wake = wake.min(actor.event.map_or(Boot::NEVER, |event| view.deadline(event)));
        }
        wake
    }
}
