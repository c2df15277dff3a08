//! What a member shows of itself.
//!
//! Responsibilities: the status that is asked for. Inputs: a member's knowledge, the time. Outputs: a plain value.
//! It must never change anything.

use super::{Boot, Core, KeptPresence, LATELY, Stage, lead::silence, read};
use crate::plan::{self, Plan};
use crate::told::{OperationStatus, Present, Status};
use crate::wire::Presence;

impl Core {
    /// What is wrong: what stands, and what was seen lately.
    fn lately(&self, now: Boot) -> Vec<String> {
        let lately =
            self.problems.iter().filter(|(seen, known)| seen.after(LATELY) > now && !self.standing.contains(known));
        self.standing.iter().chain(lately.map(|(_, known)| known)).cloned().collect()
    }

    /// What this member knows.
    pub(crate) fn status(&self, now: Boot) -> Status {
        let heard = |since: Boot| since.until(now).as_secs_f64();
        let known = self.lead.iter().flat_map(|lead| lead.members.values());
        let leads = self.lead.is_some() && self.election.leads(now);
        Status {
            group: self.settings.group.clone(),
            member: self.name.clone(),
            role: self.settings.role.clone(),
            connected: self.connected,
            server: self.server.clone(),
            leader: if leads { Some(self.name.clone()) } else { self.leader.clone() },
            leads,
            epoch: self.record.highest,
            operation: (!self.plan.passes.is_empty()).then(|| operation(&self.plan)),
            members: known.map(|known| present(&known.presence, heard(known.heard))).collect(),
            work_seconds: self.work().as_secs_f64(),
            counts: self.counts,
            problems: self.lately(now),
        }
    }
}

/// What a presence in the store says; nothing where it says nothing, or its member is lost.
pub(crate) fn present_of(kept: &KeptPresence) -> Option<Present> {
    let presence = read::<Presence>(&kept.bytes).ok().filter(|presence| kept.age < silence(presence))?;
    Some(present(&presence, kept.age.as_secs_f64()))
}

fn present(presence: &Presence, heard_seconds: f64) -> Present {
    Present {
        member: presence.member.clone(),
        role: presence.role.clone(),
        may_lead: presence.may_lead,
        leaving: presence.goes.iter().any(|goes| goes.stage != Stage::Stays),
        heard_seconds,
    }
}

fn operation(plan: &Plan) -> OperationStatus {
    let current = plan.passes.get(plan.current).filter(|_| plan.runs());
    let acting = current.into_iter().flat_map(|pass| &pass.actors).filter(|actor| actor.stage == plan::Stage::Acts);
    OperationStatus {
        operation: plan.operation.to_string(),
        epoch: plan.epoch,
        complete: plan.complete,
        step: plan.current,
        roles: plan.passes.iter().map(|pass| pass.role.clone()).collect(),
        leaving: plan.leavers.iter().map(|leaver| leaver.member.clone()).collect(),
        acting: acting.map(|actor| actor.member.clone()).collect(),
        missing: plan.missing.clone(),
    }
}
