//! The plan of an operation: who acts, in which order, how many at a time, and when the group goes on.
//!
//! Responsibilities: make a plan of those who leave, merge further ones into it, decide whose turn it is; pure. Inputs: the order of
//! roles, who is there, deadlines, acknowledgements, the time. Outputs: the plan, changed or not.
//! It must never let a pass begin before the one in front of it is over, nor hold a pass back beyond the time that its actors need.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Boot;
use crate::settings::{Step, name_problem};
use crate::turn::latest_start;
use crate::wire::Message;

mod advance;
pub(crate) use advance::Since;

#[cfg(test)]
mod tests;

/// The most passes of an operation, actors of all passes, and entries of each list.
const MAX_PASSES: usize = 256;
const MAX_ACTORS: usize = 8192;
const MAX_NOTES: usize = 1024;
/// How long an actor of a role without a step of its own may take.
const TIMEOUT_WITHOUT_STEP: Duration = Duration::from_secs(60);

/// How far an actor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// Its turn has not come.
    Waits,
    /// It is its turn.
    Acts,
    /// It answered.
    Over,
    /// The group goes on without it.
    Missing,
}

/// A member with a part in a pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Actor {
    pub(crate) member: String,
    /// Its own notice, where it leaves; `None` for one that stays and acts for others.
    #[serde(default)]
    pub(crate) event: Option<Uuid>,
    pub(crate) stage: Stage,
}

/// One role acts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pass {
    pub(crate) role: String,
    /// The place of the role in the order.
    pub(crate) rank: usize,
    pub(crate) timeout_ms: u64,
    #[serde(default)]
    pub(crate) most_at_once: Option<u32>,
    /// Whether members of the role that stay act too.
    #[serde(default)]
    pub(crate) reacts: bool,
    /// For whom the ones that stay act.
    #[serde(default)]
    pub(crate) leaving: Vec<Uuid>,
    pub(crate) begun: bool,
    pub(crate) actors: Vec<Actor>,
}

/// Who leaves, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Leaving {
    pub(crate) event: Uuid,
    pub(crate) member: String,
    pub(crate) role: String,
    /// The time left when the plan was written.
    pub(crate) remaining_ms: u64,
    /// By its own wall clock, for people.
    #[serde(default)]
    pub(crate) deadline: Option<i64>,
    /// It does not go: it is a drill.
    #[serde(default)]
    pub(crate) drill: bool,
}

/// The one operation of a group at a time, or the last one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Nil where there never was one.
    pub(crate) operation: Uuid,
    pub(crate) epoch: u64,
    /// Grows with every writing, so that an older reading is known.
    pub(crate) change: u64,
    pub(crate) leader: String,
    pub(crate) complete: bool,
    /// The epoch under which it was completed, 0 before. A leader after that one puts its own epoch on the plan.
    #[serde(default)]
    pub(crate) completed_under: u64,
    /// The pass that runs.
    pub(crate) current: usize,
    pub(crate) passes: Vec<Pass>,
    pub(crate) leavers: Vec<Leaving>,
    /// Who did not answer in time, in sentences.
    #[serde(default)]
    pub(crate) missing: Vec<String>,
    /// The notices of operations that are over, as long as their members say that they have them.
    #[serde(default)]
    pub(crate) handled: Vec<Uuid>,
}

/// A member that is there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Peer {
    pub(crate) role: String,
    pub(crate) leaving: bool,
    /// How long its work takes.
    pub(crate) work: Duration,
}

/// What a plan is judged by.
pub(crate) struct View<'a> {
    pub(crate) now: Boot,
    /// Who is there.
    pub(crate) peers: &'a BTreeMap<String, Peer>,
    /// Whether all who are there are known. A leader that has just taken over knows those whom the plan names.
    pub(crate) everybody: bool,
    /// When those who leave have to be done, by their notices.
    pub(crate) deadlines: &'a BTreeMap<Uuid, Boot>,
    /// Until when a notice may come of somebody who has to act before others that go.
    pub(crate) gathers_until: Boot,
}

impl View<'_> {
    fn deadline(&self, event: Uuid) -> Boot {
        self.deadlines.get(&event).copied().unwrap_or(Boot::NEVER)
    }

    fn work(&self, member: &str) -> Duration {
        self.peers.get(member).map_or(Duration::ZERO, |peer| peer.work)
    }

    /// The members of a role that stay, in the order of their names.
    fn staying<'v>(&'v self, role: &'v str) -> impl Iterator<Item = &'v String> {
        self.peers.iter().filter(move |(_, peer)| peer.role == role && !peer.leaving).map(|(name, _)| name)
    }
}

impl Pass {
    fn of(step: &Step, rank: usize) -> Self {
        let timeout = crate::clock::seconds(step.timeout_seconds);
        Self {
            role: step.role.clone(),
            rank,
            timeout_ms: crate::clock::milliseconds(timeout),
            most_at_once: step.most_at_once,
            reacts: step.reacts,
            leaving: Vec::new(),
            begun: false,
            actors: Vec::new(),
        }
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    fn most(&self) -> usize {
        self.most_at_once.map_or(usize::MAX, |most| usize::try_from(most.max(1)).unwrap_or(usize::MAX))
    }

    /// The time it has to be given: the longest work of its actors with the reserve of a latest start, as often as they go one after
    /// another.
    fn needs(&self, view: &View<'_>) -> Duration {
        let reacting = view.staying(&self.role).filter(|_| self.reacts && !self.begun);
        let actors: Vec<&String> = self.actors.iter().map(|actor| &actor.member).chain(reacting).collect();
        let longest = actors.iter().map(|member| view.work(member)).max().unwrap_or_default();
        let rounds = u32::try_from(actors.len().div_ceil(self.most().min(actors.len().max(1)))).unwrap_or(u32::MAX);
        (longest * 3 / 2).min(self.timeout()).saturating_mul(rounds)
    }
}

impl Plan {
    /// Follows this plan with an operation of its own, without anybody in it yet.
    pub(crate) fn next(&self, operation: Uuid) -> Self {
        let mut handled = self.handled.clone();
        handled.extend(self.leavers.iter().map(|leaver| leaver.event));
        handled.drain(..handled.len().saturating_sub(MAX_NOTES));
        Self {
            operation,
            epoch: self.epoch,
            change: self.change,
            leader: self.leader.clone(),
            handled,
            ..Self::default()
        }
    }

    /// Whether an operation runs.
    pub(crate) fn runs(&self) -> bool {
        !self.complete && !self.passes.is_empty()
    }

    /// Whether the notice is in it, or was in one before it.
    pub(crate) fn knows(&self, event: Uuid) -> bool {
        self.handled.contains(&event) || self.lists(event)
    }

    /// Whether the notice is in this operation.
    pub(crate) fn lists(&self, event: Uuid) -> bool {
        self.leavers.iter().any(|leaver| leaver.event == event)
    }

    /// The actor of a notice: its pass, and how far it is.
    pub(crate) fn actor_of(&self, event: Uuid) -> Option<(usize, Stage)> {
        self.passes.iter().enumerate().find_map(|(index, pass)| {
            pass.actors.iter().find(|actor| actor.event == Some(event)).map(|actor| (index, actor.stage))
        })
    }

    /// Takes a leaver into what is still to come: into the pass of its role, else into a further pass of it. Roles that react act for
    /// it before or after, as the order says. Does nothing when the plan knows the notice, or is as large as a plan may be.
    pub(crate) fn add(&mut self, leaver: Leaving, steps: &[Step]) {
        let actors: usize = self.passes.iter().map(|pass| pass.actors.len()).sum();
        if self.knows(leaver.event) || self.passes.len() + steps.len() > MAX_PASSES || actors >= MAX_ACTORS / 2 {
            return;
        }
        let own_rank = steps.iter().position(|step| step.role == leaver.role).unwrap_or(steps.len());
        let last = Step {
            role: leaver.role.clone(),
            timeout_seconds: TIMEOUT_WITHOUT_STEP.as_secs_f64(),
            most_at_once: None,
            reacts: false,
        };
        let mut waits_for_a_new_pass = false;
        for (rank, step) in steps.iter().chain([&last]).enumerate() {
            let is_own = rank == own_rank;
            if !is_own && !step.reacts {
                continue;
            }
            let index = match self.open_pass(rank, is_own && !waits_for_a_new_pass, &leaver.member) {
                Some(index) => index,
                None => {
                    waits_for_a_new_pass = true;
                    self.insert_pass(Pass::of(step, rank))
                }
            };
            let Some(pass) = self.passes.get_mut(index) else { continue };
            pass.leaving.push(leaver.event);
            if is_own {
                pass.actors.push(Actor {
                    member: leaver.member.clone(),
                    event: Some(leaver.event),
                    stage: Stage::Waits,
                });
            }
        }
        self.leavers.push(leaver);
    }

    /// The pass of this place in the order that is still to come; the running one too, where `running` says that it may be joined. A
    /// member acts once in a pass.
    fn open_pass(&self, rank: usize, running: bool, member: &str) -> Option<usize> {
        let fits = |(index, pass): &(usize, &Pass)| {
            pass.rank == rank
                && *index >= self.current
                && (!pass.begun || (running && *index == self.current))
                && pass.actors.iter().all(|actor| actor.member != member)
        };
        self.passes.iter().enumerate().find(fits).map(|(index, _)| index)
    }

    /// Puts a pass among those that have not begun, in the order of roles.
    fn insert_pass(&mut self, pass: Pass) -> usize {
        let begun = self.passes.iter().take_while(|other| other.begun).count();
        let later = |other: &Pass| other.rank > pass.rank;
        let index = self.passes.iter().skip(begun).position(later).map_or(self.passes.len(), |found| begun + found);
        self.passes.insert(index, pass);
        index
    }

    /// Takes a leaver out whose notice was withdrawn. What it has begun counts as over. Says whether anything changed.
    pub(crate) fn remove(&mut self, event: Uuid) -> bool {
        if !self.lists(event) || self.complete {
            return false;
        }
        self.leavers.retain(|leaver| leaver.event != event);
        self.handled.push(event);
        for pass in &mut self.passes {
            pass.leaving.retain(|other| *other != event);
            pass.actors.retain(|actor| actor.event != Some(event) || actor.stage != Stage::Waits);
            for actor in pass.actors.iter_mut().filter(|actor| actor.event == Some(event)) {
                actor.stage = Stage::Over;
            }
        }
        self.passes.retain(|pass| pass.begun || !pass.leaving.is_empty());
        true
    }

    /// Takes an acknowledgement. Says whether anything changed.
    pub(crate) fn acknowledge(&mut self, pass: usize, member: &str) -> bool {
        let Some(pass) = self.passes.get_mut(pass) else { return false };
        let mut changed = false;
        for actor in pass.actors.iter_mut().filter(|actor| actor.member == member && actor.stage == Stage::Acts) {
            actor.stage = Stage::Over;
            changed = true;
        }
        changed
    }

    /// Forgets notices of operations that are over, where nobody has them any more.
    pub(crate) fn forget(&mut self, is_known: impl Fn(Uuid) -> bool) {
        self.handled.retain(|event| is_known(*event));
    }

    /// Writes down the time that each leaver has left.
    pub(crate) fn stamp(&mut self, view: &View<'_>) {
        for leaver in &mut self.leavers {
            leaver.remaining_ms = crate::clock::milliseconds(view.now.until(view.deadline(leaver.event)));
        }
    }

    /// Keeps a sentence about who did not answer or succeed.
    pub(crate) fn note(&mut self, sentence: String) {
        if self.missing.len() < MAX_NOTES {
            self.missing.push(sentence);
        }
    }
}

impl Message for Plan {
    fn problem(&self) -> Option<String> {
        let actors: usize = self.passes.iter().map(|pass| pass.actors.len()).sum();
        let names = self.passes.iter().flat_map(|pass| &pass.actors).map(|actor| &actor.member);
        let mut names = names.chain(self.leavers.iter().map(|leaver| &leaver.member));
        if self.passes.len() > MAX_PASSES || actors > MAX_ACTORS || self.leavers.len() > MAX_ACTORS {
            return Some(format!("it has {} passes and {actors} actors, too many", self.passes.len()));
        }
        if self.current > self.passes.len() || (self.current == self.passes.len() && self.runs()) {
            return Some(format!("pass {} runs, but it has {} only", self.current, self.passes.len()));
        }
        names.find_map(|name| name_problem(name))
    }
}
