//! One instance: what an event asks for, and the verdict.
//!
//! Inputs: events, a [`Config`]. Outputs: a report of the node and its jobs. Must never call an event handled while the node takes new
//! jobs, or a job of it is neither waiting nor started anew nor over.

use crate::config::Config;
use crate::jobs::{self, Skipped, Told};
use crate::node;
use crate::record::Record;
use crate::slurm::{Slurm, Watch};
use crate::table::Node;
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{
    Call, Cancel, Code, Error, Event, Host, Instance, Outcome, Plugin, Purpose, Subscription, Verification, abi, c_str,
};
use std::ffi::CStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the controller may take to answer when the instance is activated.
const FIRST_LOOK: Duration = Duration::from_secs(3);
/// Jobs that a report lists, those with failures first: the host takes 64 KiB.
const LISTED: usize = 100;

/// What the call before left for verification.
#[derive(Default)]
struct Last {
    event: String,
    /// Jobs, and how often they had been started anew.
    jobs: Vec<(String, u32)>,
    must_be_drained: bool,
}

/// The plugin.
pub struct SlurmRequeue {
    host: Host,
    config: Config,
    node: String,
    slurm: Slurm,
    record: Mutex<Record>,
    last: Mutex<Last>,
}

impl Plugin for SlurmRequeue {
    const ID: &'static CStr = c"io.cloudsnooze.slurm-requeue";
    const NAME: &'static CStr = c"slurm-requeue";
    const VERSION: &'static CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static CStr = c"Drains a Slurm node, has its jobs save themselves, and requeues them";
    const CAPS: u64 = abi::SNOOZE_CAP_UNDO | abi::SNOOZE_CAP_DRILL;
    type Config = Config;

    fn new(host: Host, config: Config, instance: Instance) -> Result<Self, Error> {
        config.check()?;
        let node = config.node.clone().or_else(own_name);
        let node =
            node.ok_or_else(|| Error::new("node: the machine has no name, so name the node").code(Code::Config))?;
        let record = Mutex::new(Record::load(&instance.state_dir, host));
        Ok(Self { host, node, slurm: Slurm::new(&config), config, record, last: Mutex::default() })
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let budget = Duration::from_secs(90);
        vec![Subscription::on(&["cloud.*", "system.shutdown", "custom.*"]).priority(64).budget(budget)]
    }

    fn activate(&self) -> Result<(), Error> {
        // Nothing can be held ready: every command connects anew. But a mistake shows today.
        if let Err(error) = self.slurm.node(&self.node, &Watch::limit(FIRST_LOOK)) {
            self.host.warn(format_args!("node {}: {error}", self.node));
        }
        Ok(())
    }

    fn on_event(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        if call.cancelled().is_some() {
            return Err(Error::new("cancelled").code(Code::Cancelled));
        }
        *self.last() = Last::default();
        let watch = Watch::of(call);
        match event.purpose() {
            Purpose::Undo => self.undo(event, &watch),
            Purpose::Ahead if event.is_drill() => self.check(&watch),
            Purpose::Ahead => Ok(Outcome::declined("the machine may stay, and a job that is requeued loses its place")),
            Purpose::Secure => self.leave(event, &watch),
        }
    }

    fn verify(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Verification, Error> {
        let last = self.last();
        // After a restart nobody knows any more what was there.
        if last.event != event.id() {
            return Ok(Verification::Unknown);
        }
        let watch = Watch::of(call);
        let node = self.slurm.node(&self.node, &watch)?;
        if node.is_drained() != last.must_be_drained {
            return Err(Error::new(format!("node {} is {} now", self.node, node.state)).code(Code::State));
        }
        let ids: Vec<&str> = last.jobs.iter().map(|(id, _)| id.as_str()).collect();
        let jobs = if ids.is_empty() { Vec::new() } else { self.slurm.jobs(&ids, &watch)? };
        for (id, restarts) in &last.jobs {
            let job = jobs.iter().find(|job| &job.id == id);
            if job.is_some_and(|job| job.state == "RUNNING" && job.restarts <= *restarts) {
                return Err(Error::new(format!("job {id} runs as if it had not been requeued")).code(Code::State));
            }
        }
        let states: Vec<Value> = jobs
            .iter()
            .take(LISTED)
            .map(|job| json!({ "job": job.id, "state": job.state, "restarts": job.restarts }))
            .collect();
        Ok(Verification::Verified(json!({ "node": node.shown(), "jobs": states })))
    }

    fn on_cancel(&self, _: &Call<'_>, _: Cancel) {}

    fn deactivate(&self) {}
}

impl SlurmRequeue {
    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, event: &Event<'_>, watch: &Watch<'_>) -> Result<Outcome, Error> {
        let before = self.slurm.node(&self.node, watch)?;
        let is_anothers = node::is_anothers(&before, &self.config.reason);
        if !is_anothers {
            self.record().add(event.id(), self.host);
        }
        // Without it Slurm would start the next job here; the jobs are requeued all the same.
        let drained = node::drain(&self.slurm, &self.node, &before, &self.config.reason, watch);
        let jobs = self.slurm.jobs_on(&self.node, watch)?;
        let (told, mut skipped) = jobs::all(&self.slurm, &self.config, jobs, watch);
        if is_anothers {
            let reason = format!("it is drained already: {}", before.reason);
            skipped.push(Skipped { step: "drain".to_owned(), reason });
        }
        let report = self.report(&before, drained.as_ref().ok(), &told, &skipped);
        let failures: Vec<&Error> = told.iter().filter_map(|one| one.failure.as_ref()).collect();
        if let Some(first) = failures.first() {
            let first_five: Vec<&str> = failures.iter().take(5).map(|failure| failure.message()).collect();
            let text = format!("{} of {} jobs: {}", failures.len(), told.len(), first_five.join("; "));
            return Err(Error::new(text).code(first.kind()).with_result(report));
        }
        drained.map_err(|error| error.with_result(report.clone()))?;
        let jobs = told.into_iter().map(|one| (one.before.id, one.before.restarts)).collect();
        *self.last() = Last { event: event.id().to_owned(), jobs, must_be_drained: true };
        Ok(Outcome::handled(report))
    }

    fn report(&self, before: &Node, after: Option<&Node>, told: &[Told], skipped: &[Skipped]) -> Value {
        let mut shown: Vec<&Told> = told.iter().collect();
        shown.sort_by_key(|one| one.failure.is_none());
        let states = |after: bool| {
            let running = |one: &&Told| {
                let job = if after { one.after.as_ref() } else { Some(&one.before) };
                job.is_some_and(|job| job.state == "RUNNING" && job.restarts == one.before.restarts)
            };
            told.iter().filter(running).count()
        };
        let skipped: Vec<Value> =
            skipped.iter().take(LISTED).map(|one| json!({ "step": one.step, "reason": one.reason })).collect();
        json!({
            "action": "requeue",
            "evidence": {
                "node": self.node,
                "before": { "node": before.shown(), "running": states(false) },
                "after": { "node": after.map(Node::shown), "running": states(true) },
                "jobs": shown.iter().take(LISTED).map(|one| one.report()).collect::<Vec<_>>(),
                "not_listed": told.len().saturating_sub(LISTED),
            },
            "skipped": skipped,
            "durable": jobs::durable(told),
        })
    }

    /// A drill: whether the controller answers, this user may do it, and the time is enough.
    fn check(&self, watch: &Watch<'_>) -> Result<Outcome, Error> {
        let controller = self.slurm.ping(watch)?;
        let slurm_user = self.slurm.setting("SlurmUser", watch)?.unwrap_or_default();
        let node = self.slurm.node(&self.node, watch)?;
        let jobs = self.slurm.jobs_on(&self.node, watch)?;
        let listed = jobs
            .iter()
            .take(LISTED)
            .map(|job| json!({ "job": job.id, "user": job.user, "before": job.shown(), "obstacle": job.obstacle() }));
        let save = self.config.signal.as_ref().map_or(0, |_| self.config.save_seconds);
        let wanted = u64::from(save) + u64::from(self.config.requeue_seconds);
        // The accounts database knows of operators besides; asking it would need one.
        let uid = nix::unistd::geteuid().as_raw();
        let is_allowed = uid == 0 || slurm_user.ends_with(&format!("({uid})"));
        Ok(Outcome::handled(json!({
            "action": "check",
            "evidence": {
                "node": self.node, "controller": controller, "before": { "node": node.shown(), "running": jobs.len() },
                "after": { "node": node.shown(), "running": jobs.len() }, "jobs": listed.collect::<Vec<_>>(),
                "not_listed": jobs.len().saturating_sub(LISTED),
                "rights": if is_allowed { "yes" } else { "unknown: neither root nor SlurmUser" },
                "wanted_seconds": wanted, "left_seconds": watch.left().as_secs(),
                "fits": watch.left() >= Duration::from_secs(wanted),
            },
            "durable": "unknown",
        })))
    }

    fn undo(&self, event: &Event<'_>, watch: &Watch<'_>) -> Result<Outcome, Error> {
        let withdrawn = event.field(abi::SNOOZE_FIELD_CANCELS);
        if !self.record().has(withdrawn) {
            return Ok(Outcome::declined("this instance has not drained the node for that notice"));
        }
        if self.record().has_other(withdrawn) {
            self.record().remove(withdrawn, self.host);
            return Ok(Outcome::declined("another notice stands, so the node stays drained"));
        }
        let resumed = node::resume(&self.slurm, &self.node, &self.config.reason, watch)?;
        self.record().remove(withdrawn, self.host);
        let (before, after) = match resumed {
            Ok(resumed) => resumed,
            Err(reason) => return Ok(Outcome::declined(reason)),
        };
        *self.last() = Last { event: event.id().to_owned(), jobs: Vec::new(), must_be_drained: false };
        Ok(Outcome::handled(json!({
            "action": "resume",
            "evidence": {
                "node": self.node, "before": { "node": before.shown() }, "after": { "node": after.shown() },
            },
            "durable": "unknown",
        })))
    }
}

/// The machine's name up to the first dot, as Slurm takes it for the node's.
fn own_name() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
    name.split('.').next().filter(|name| !name.is_empty()).map(str::to_owned)
}
