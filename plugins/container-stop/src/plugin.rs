//! One instance: what an event asks for, and the verdict.
//!
//! Inputs: events, a [`Config`]. Outputs: a report of every container. Must never call an event handled while a container that was to be
//! stopped runs, or had to be killed although that was not allowed.

use crate::checkpoint;
use crate::choose::{self, Listed};
use crate::config::{Config, Drill};
use crate::engine::{self, Engine, Seen, Watch, short};
use crate::grace;
use crate::record::{Record, Stopped};
use crate::start;
use crate::stop::{self, Skipped, Target, Told};
use bollard::ClientVersion;
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{
    Call, Cancel, Code, Error, Event, Host, Instance, Outcome, Plugin, Purpose, Subscription, Verification, abi, c_str,
};
use futures_util::future::try_join_all;
use std::ffi::CStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the engine may take to answer when the instance is activated.
const FIRST_LOOK: Duration = Duration::from_secs(5);
/// Containers that a report lists, those with failures first: the host takes 64 KiB.
const LISTED: usize = 100;

/// What the call before left for verification.
#[derive(Default)]
struct Last {
    event: String,
    /// Containers, and when they ended where they must not run.
    containers: Vec<(String, String, String)>,
    must_run: bool,
}

/// The plugin.
pub struct ContainerStop {
    host: Host,
    config: Config,
    record: Mutex<Record>,
    last: Mutex<Last>,
    /// The version of the API that the engine took last.
    version: Mutex<ClientVersion>,
}

impl Plugin for ContainerStop {
    const ID: &'static CStr = c"io.cloudsnooze.container-stop";
    const NAME: &'static CStr = c"container-stop";
    const VERSION: &'static CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static CStr = c"Stops containers of Docker or Podman in order, within the time left";
    const CAPS: u64 = abi::SNOOZE_CAP_UNDO | abi::SNOOZE_CAP_DRILL;
    type Config = Config;

    fn new(host: Host, config: Config, instance: Instance) -> Result<Self, Error> {
        config.check()?;
        let record = Mutex::new(Record::load(&instance.state_dir, host));
        Ok(Self { host, config, record, last: Mutex::default(), version: Mutex::new(engine::newest()) })
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let budget = Duration::from_secs(60);
        vec![Subscription::on(&["cloud.*", "system.shutdown", "custom.*"]).priority(66).budget(budget)]
    }

    fn activate(&self) -> Result<(), Error> {
        let watch = Watch::limit(FIRST_LOOK);
        if let Err(error) = self.listed(&watch) {
            self.host.warn(format_args!("no container engine answers now: {error}"));
        }
        if self.wants_checkpoints()
            && let Err(reason) = checkpoint::must_be_possible(&Watch::limit(FIRST_LOOK))
        {
            self.host
                .warn(format_args!("no checkpoint can be made here, containers will be stopped instead: {reason}"));
        }
        Ok(())
    }

    fn on_event(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        if call.cancelled().is_some() {
            return Err(Error::new("cancelled").code(Code::Cancelled));
        }
        *self.last() = Last::default();
        match event.purpose() {
            Purpose::Undo => self.undo(event, call),
            Purpose::Ahead if !event.is_drill() => {
                Ok(Outcome::declined("the machine may stay, and a container that is stopped serves nobody"))
            }
            Purpose::Ahead if self.config.drill == Drill::Check => self.check(call),
            Purpose::Ahead | Purpose::Secure => self.stop(event, call),
        }
    }

    fn verify(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Verification, Error> {
        let last = self.last();
        // After a restart nobody knows any more what was there.
        if last.event != event.id() || last.containers.is_empty() {
            return Ok(Verification::Unknown);
        }
        let watch = Watch::of(call);
        let (engine, _) = self.listed(&watch)?;
        let looks = last.containers.iter().map(|(id, _, _)| engine.inspect(id));
        let seen = engine.block_on(watch.bound(try_join_all(looks)))?;
        let is_wrong = |finished: &str, seen: &Option<Seen>| match seen {
            Some(seen) if last.must_run => !seen.is_running,
            Some(seen) => seen.is_running || seen.finished_at != finished,
            None => last.must_run,
        };
        let wrong = last.containers.iter().zip(&seen).filter(|((_, _, finished), seen)| is_wrong(finished, seen));
        let wrong: Vec<&str> = wrong.map(|((_, name, _), _)| name.as_str()).collect();
        let count = seen.len();
        match (wrong.is_empty(), last.must_run) {
            (true, true) => Ok(Verification::Verified(json!({ "running": count }))),
            (true, false) => Ok(Verification::Verified(json!({ "stopped": count }))),
            (false, true) => Err(Error::new(format!("not running: {}", wrong.join(", "))).code(Code::State)),
            (false, false) => Err(Error::new(format!("started again: {}", wrong.join(", "))).code(Code::State)),
        }
    }

    fn on_cancel(&self, _: &Call<'_>, _: Cancel) {}

    fn deactivate(&self) {}
}

impl ContainerStop {
    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wants_checkpoints(&self) -> bool {
        self.config.groups.iter().any(|group| group.checkpoint.is_some())
    }

    /// Whether checkpoints can be made, where a group wants them.
    fn possible(&self, watch: &Watch<'_>) -> Option<Result<(), String>> {
        self.wants_checkpoints().then(|| checkpoint::must_be_possible(watch))
    }

    /// The engine, and the containers that run.
    fn listed(&self, watch: &Watch<'_>) -> Result<(Engine, Vec<Listed>), Error> {
        let mut version = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        let engine = Engine::connect(&self.config.socket, &version)?;
        let listed = engine.list(watch).map_err(|error| error.context(self.config.socket.display()));
        let Some(offered) = listed.as_ref().err().and_then(engine::offered) else { return Ok((engine, listed?)) };
        *version = offered;
        let engine = Engine::connect(&self.config.socket, &version)?;
        let listed = engine.list(watch)?;
        Ok((engine, listed))
    }

    /// The engine, and those of its containers that a group takes.
    fn targets(&self, watch: &Watch<'_>) -> Result<(Engine, Vec<Vec<Target>>), Error> {
        let (engine, listed) = self.listed(watch)?;
        let groups = choose::by_group(&self.config, listed);
        let mut targets = Vec::with_capacity(groups.len());
        for (index, (listed, group)) in groups.into_iter().zip(&self.config.groups).enumerate() {
            let looks = listed.iter().map(|one| engine.inspect(&one.id));
            let seen = engine.block_on(watch.bound(try_join_all(looks)))?;
            let pairs = listed.into_iter().zip(seen);
            targets.push(pairs.filter_map(|(one, seen)| Target::new(one, index, group, seen)).collect());
        }
        Ok((engine, targets))
    }

    fn stop(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        let watch = Watch::of(call);
        let (engine, groups) = self.targets(&watch)?;
        let due: Vec<Stopped> = groups.iter().flatten().map(|target| due(event.id(), target)).collect();
        if due.is_empty() {
            return Ok(Outcome::declined("no container that runs is one of those to be stopped"));
        }
        self.record().add(due, self.host);
        let possible = self.possible(&watch);
        let (told, skipped) = stop::all(&engine, &self.config, groups, possible.as_ref(), &watch);
        let report = self.report(&told, &skipped);
        let failures: Vec<&Error> = told.iter().filter_map(|one| one.failure.as_ref()).collect();
        if let Some(first) = failures.first() {
            let text = format!("{} of {} containers: {}", failures.len(), told.len(), sentences(&failures));
            return Err(Error::new(text).code(first.kind()).with_result(report));
        }
        let finished = |one: &Told| one.after.as_ref().map(|seen| seen.finished_at.clone()).unwrap_or_default();
        let containers = told.iter().map(|one| {
            let listed = &one.target.listed;
            (listed.id.clone(), listed.name.clone(), finished(one))
        });
        *self.last() = Last { event: event.id().to_owned(), containers: containers.collect(), must_run: false };
        Ok(Outcome::handled(report))
    }

    fn report(&self, told: &[Told], skipped: &[Skipped]) -> Value {
        let mut shown: Vec<&Told> = told.iter().collect();
        shown.sort_by_key(|one| one.failure.is_none());
        let containers: Vec<Value> = shown.iter().take(LISTED).map(|one| one.report(&self.config)).collect();
        let runs_on = told.iter().filter(|one| one.after.as_ref().is_some_and(|after| after.is_running)).count();
        // What a program wrote when it was told to end is its own affair; only an image of it is known to be on the disk.
        let durable = if told.iter().any(|one| one.failure.is_some()) {
            "no"
        } else if told.iter().all(|one| one.archive.is_some()) {
            "yes"
        } else {
            "unknown"
        };
        json!({
            "action": "stop",
            "evidence": {
                "before": { "running": told.len() }, "after": { "running": runs_on }, "containers": containers,
                "not_listed": told.len().saturating_sub(LISTED),
            },
            "skipped": skipped.iter().take(LISTED).map(|one| json!({ "step": one.step, "reason": one.reason })).collect::<Vec<_>>(),
            "durable": durable,
        })
    }

    /// A drill that changes nothing: what would be stopped, and whether the time is enough.
    fn check(&self, call: &Call<'_>) -> Result<Outcome, Error> {
        let watch = Watch::of(call);
        let (_, groups) = self.targets(&watch)?;
        let wishes = stop::wishes(&groups);
        let wished: u64 = wishes.iter().map(|wish| u64::from(*wish)).sum();
        let fits = grace::fits(watch.left(), &wishes);
        let would = |target: &Target| {
            json!({
                "id": short(&target.listed.id), "name": target.listed.name,
                "group": self.config.group_name(target.group), "wish_seconds": target.wish,
                "can_be_started_again": !target.before.is_removed,
            })
        };
        let would_stop: Vec<Value> = groups.iter().flatten().take(LISTED).map(would).collect();
        let checkpoint = self.possible(&watch).map(|possible| possible.err().unwrap_or_else(|| "possible".to_owned()));
        let count = groups.iter().flatten().count();
        Ok(Outcome::handled(json!({
            "action": "check",
            "evidence": {
                "before": { "running": count }, "after": { "running": count }, "would_stop": would_stop,
                "not_listed": count.saturating_sub(LISTED), "wished_seconds": wished,
                "left_seconds": watch.left().as_secs(), "fits": fits, "checkpoint": checkpoint,
            },
            "durable": "unknown",
        })))
    }

    fn undo(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        let due = self.record().of(event.field(abi::SNOOZE_FIELD_CANCELS));
        if due.is_empty() {
            return Ok(Outcome::declined("this instance has stopped no container that it has not started again"));
        }
        let watch = Watch::of(call);
        let (engine, _) = self.listed(&watch)?;
        let started = start::all(&engine, &due, &watch);
        let settled: Vec<&str> =
            started.iter().filter(|one| one.is_settled()).map(|one| one.stopped.id.as_str()).collect();
        self.record().remove(&settled, self.host);
        let failures: Vec<&Error> = started.iter().filter_map(|one| one.failure.as_ref()).collect();
        let report = json!({
            "action": "start",
            "evidence": {
                "before": { "to_start": due.len() }, "after": { "running": started.len() - failures.len() },
                "containers": started.iter().take(LISTED).map(start::Started::report).collect::<Vec<_>>(),
            },
            "durable": "unknown",
        });
        if let Some(first) = failures.first() {
            let text = format!("{} of {} containers: {}", failures.len(), due.len(), sentences(&failures));
            return Err(Error::new(text).code(first.kind()).with_result(report));
        }
        let containers = due.into_iter().map(|one| (one.id, one.name, String::new())).collect();
        *self.last() = Last { event: event.id().to_owned(), containers, must_run: true };
        Ok(Outcome::handled(report))
    }
}

fn due(event: &str, target: &Target) -> Stopped {
    let listed = &target.listed;
    Stopped { event: event.to_owned(), id: listed.id.clone(), name: listed.name.clone(), group: target.group }
}

/// The first five of them.
fn sentences(failures: &[&Error]) -> String {
    let first: Vec<&str> = failures.iter().take(5).map(|failure| failure.message()).collect();
    first.join("; ")
}
