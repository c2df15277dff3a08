//! One instance: which event asks for what, and the verdict.
//!
//! Inputs: events, a [`Config`]. Outputs: a report of every machine. Must never call an event handled while one machine that
//! had to be saved is neither saved nor shut down.

use crate::again::look_again;
use crate::check::check;
use crate::clock::Clock;
use crate::config::Config;
use crate::disk::Disks;
use crate::notes::Notes;
use crate::plan::{Goal, Keep, goals};
use crate::queue::Queue;
use crate::save::save;
use crate::scene::Scene;
use crate::seal::Sealer;
use crate::told::{Told, verdict};
use crate::undo::undo;
use crate::worker::{Shared, Worker};
use cloudsnooze_plugin::serde_json::json;
use cloudsnooze_plugin::{
    Call, Cancel, Code, Error, Event, Host, Instance, Outcome, Plugin, Purpose, Subscription, Verification, abi, c_str,
};
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Longest time for measuring a disk ahead.
const PROBE: Duration = Duration::from_secs(2);

/// The plugin.
pub struct VmSave {
    host: Host,
    inner: Arc<Inner>,
    worker: Worker,
}

/// What the thread works with.
struct Inner {
    goals: Vec<Goal>,
    parallel: usize,
    probe_bytes: u64,
    notes: Notes,
    disks: Disks,
    sealer: Sealer,
}

impl Plugin for VmSave {
    const ID: &'static CStr = c"io.cloudsnooze.vm-save";
    const NAME: &'static CStr = c"vm-save";
    const VERSION: &'static CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static CStr = c"Saves running virtual machines of a host that is about to go away";
    const CAPS: u64 = abi::SNOOZE_CAP_UNDO | abi::SNOOZE_CAP_DRILL;
    type Config = Config;

    fn new(host: Host, config: Config, instance: Instance) -> Result<Self, Error> {
        let (parallel, probe_bytes) = (config.parallel, config.probe_mib << 20);
        let inner = Inner {
            goals: goals(config)?,
            parallel,
            probe_bytes,
            notes: Notes::new(host, &instance.state_dir),
            disks: Disks::default(),
            sealer: Sealer::default(),
        };
        Ok(Self { host, inner: Arc::new(inner), worker: Worker::default() })
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let budget = Duration::from_secs(90);
        vec![Subscription::on(&["cloud.*", "system.shutdown"]).priority(60).budget(budget)]
    }

    fn activate(&self) -> Result<(), Error> {
        self.inner.notes.load();
        let (host, inner) = (self.host, Arc::clone(&self.inner));
        self.worker.start(move |desk| inner.measure(host, desk))
    }

    fn on_event(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        if call.cancelled().is_some() {
            return Err(Error::new("cancelled").code(Code::Cancelled));
        }
        let (inner, id, purpose) = (Arc::clone(&self.inner), event.id().to_owned(), event.purpose());
        let told = self.worker.run(call, move |clock| inner.deal(&id, purpose, clock))?;
        let action = match purpose {
            Purpose::Secure => "save",
            Purpose::Ahead => "check",
            Purpose::Undo => "undo",
        };
        verdict(action, &told).map(|done| match done {
            Ok(report) => Outcome::handled(report),
            Err(reason) => Outcome::declined(reason),
        })
    }

    fn verify(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Verification, Error> {
        if event.purpose() != Purpose::Secure {
            return Ok(Verification::Unknown);
        }
        let (inner, id) = (Arc::clone(&self.inner), event.id().to_owned());
        self.worker.run(call, move |clock| inner.look_again(&id, clock))?
    }

    fn on_cancel(&self, _: &Call<'_>, _: Cancel) {}

    fn deactivate(&self) {
        self.worker.stop();
        self.inner.sealer.join();
    }
}

impl Inner {
    fn deal(&self, event: &str, purpose: Purpose, clock: &Clock) -> Vec<Told> {
        // A check saves nothing, so all take their turn at once.
        let parallel = if purpose == Purpose::Ahead { self.goals.len() } else { self.parallel };
        let scene = Scene {
            event,
            goals: &self.goals,
            notes: &self.notes,
            disks: &self.disks,
            sealer: &self.sealer,
            queue: Queue::new(self.goals.len(), parallel),
        };
        match purpose {
            Purpose::Secure => scene.each(clock, save),
            Purpose::Ahead => scene.each(clock, check),
            Purpose::Undo => scene.each(clock, undo),
        }
    }

    fn look_again(&self, event: &str, clock: &Clock) -> Result<Verification, Error> {
        let (mut evidence, mut is_all) = (Vec::new(), true);
        for goal in &self.goals {
            // Where nothing was to be done there is no note.
            let Some(note) = self.notes.get(&goal.name).filter(|note| note.event == event) else { continue };
            match look_again(goal, &note, clock)? {
                Some(found) => evidence.push(found),
                None => is_all = false,
            }
        }
        let is_known = is_all && !evidence.is_empty();
        Ok(if is_known { Verification::Verified(json!({ "machines": evidence })) } else { Verification::Unknown })
    }

    /// Measures the disks ahead of the event.
    fn measure(&self, host: Host, desk: &Shared) {
        if self.probe_bytes == 0 {
            return;
        }
        let mut places: BTreeMap<Option<u64>, PathBuf> = BTreeMap::new();
        for goal in self.goals.iter().filter(|goal| goal.bandwidth.is_none()) {
            let place = match &goal.keep {
                Keep::File { to, .. } => to.parent().map(PathBuf::from),
                Keep::Managed { directory, .. } => Some(directory.clone()),
                // Which disk it is, only its QEMU knows.
                Keep::Snapshot { .. } => None,
            };
            if let Some(place) = place {
                places.entry(crate::disk::device(&place)).or_insert(place);
            }
        }
        for place in places.values() {
            if let Err(error) = self.disks.measure(place, self.probe_bytes, PROBE, &|| desk.is_wanted()) {
                host.warn(format_args!("the disk of {} cannot be measured: {error}", place.display()));
            }
        }
    }
}
