//! One upload, from finding the files to the manifest.
//!
//! Inputs: settings, a place, what an event says. Outputs: a [`Round`]: what is in the store and what is not. Must never skip a
//! file without having seen in the store that it is there.

use crate::config::Settings;
use crate::fault::Fault;
use crate::fit::Before;
use crate::lane::{Ended, Lane};
use crate::manifest::{self, Earlier, Entry, LeftOut, LinkEntry, Manifest, Written};
use crate::meter::Speed;
use crate::place::Place;
use crate::record::{Known, Record};
use crate::tree::{self, Found};
use crate::upload::{Job, Stored, Way};
use cloudsnooze_plugin::Host;
use cloudsnooze_plugin_runtime::Clock;
use futures_util::TryStreamExt;
use object_store::path::Path;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Time kept back for the manifest, at most.
const FOR_THE_MANIFEST: Duration = Duration::from_secs(2);

/// What all rounds of an instance share.
pub(crate) struct Shared {
    pub(crate) host: Host,
    pub(crate) settings: Settings,
    pub(crate) place: Place,
    pub(crate) record: Mutex<Record>,
}

/// What an event says.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    pub(crate) event: String,
    pub(crate) event_type: String,
    pub(crate) instance: String,
    pub(crate) prefix: Path,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// Found at the beginning.
    pub(crate) files: usize,
    pub(crate) bytes: u64,
    /// In the store now.
    pub(crate) stored: Vec<(Entry, Stored)>,
    pub(crate) left_out: Vec<LeftOut>,
    pub(crate) failed: Vec<(String, Fault)>,
    pub(crate) skipped: Vec<(String, String)>,
    pub(crate) links: usize,
    /// None: not written, and why.
    pub(crate) manifest: Option<Result<Written, Fault>>,
    pub(crate) speed: Option<f64>,
    pub(crate) took: Duration,
}

/// Finds the files; ends when the future is dropped.
pub(crate) async fn find(settings: &Settings) -> io::Result<Found> {
    struct Stop(Arc<AtomicBool>);
    impl Drop for Stop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    let stop = Stop(Arc::default());
    let (settings, flag) = (settings.clone(), Arc::clone(&stop.0));
    let found = spawn_blocking(move || tree::look(&settings, &flag)).await.map_err(io::Error::other)?;
    drop(stop);
    found
}

impl Shared {
    /// Uploads what is not there, and writes the manifest.
    ///
    /// # Errors
    /// The sources cannot be read, or the store cannot be reached: nothing was done.
    pub(crate) async fn round(&self, cause: &Cause, clock: &Clock) -> Result<Round, Fault> {
        let began = Instant::now();
        let mut found = tokio::select! {
            found = find(&self.settings) => found?,
            () = clock.over() => return Err(Fault::Late("still looking for files")),
        };
        let mut round = Round {
            files: found.files.len(),
            bytes: found.files.iter().map(|file| file.stamp.bytes).sum(),
            skipped: std::mem::take(&mut found.skipped),
            links: found.links.len(),
            ..Round::default()
        };
        let look = async {
            let key = manifest::key(&cause.prefix);
            let earlier = match manifest::read(self.place.store.as_ref(), &key).await {
                // A store that is not there is told at once: the host may have others to call.
                Err(_) => manifest::read(self.place.store.as_ref(), &key).await?,
                Ok(earlier) => earlier,
            };
            let held = self.held(cause, &earlier).await;
            Ok::<_, Fault>((earlier, held))
        };
        let (earlier, held) = tokio::select! {
            looked = look => looked?,
            () = clock.over() => return Err(Fault::Late("the store had not answered what it holds")),
        };
        let jobs = self.jobs(cause, found.files, &held, &mut round);
        self.upload(jobs, &mut round, &clock.less(FOR_THE_MANIFEST.min(clock.left() / 5))).await;
        let links = found.links.into_iter().map(|link| LinkEntry { name: link.name, target: link.target }).collect();
        self.write(cause, &earlier, links, &mut round, clock).await;
        round.took = began.elapsed();
        Ok(round)
    }

    fn record(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the store holds of what is known: by this instance's journal, or the manifest that is there.
    async fn held(&self, cause: &Cause, earlier: &Earlier) -> HashMap<Path, Known> {
        let mut known: HashMap<Path, Known> = HashMap::new();
        if let Earlier::Some(Some(manifest), _) = earlier {
            for entry in &manifest.files {
                let Ok(key) = Path::parse(&entry.key) else { continue };
                let (bytes, sha256, e_tag) = (entry.bytes, entry.sha256.clone(), entry.e_tag.clone());
                known.insert(key, Known { bytes, sha256, e_tag, stamp: None });
            }
        }
        let address = self.place.address(&cause.prefix);
        for (to, object) in self.record().below(&address) {
            let Some(key) =
                to.strip_prefix(&address).and_then(|rest| Path::parse(format!("{}{rest}", cause.prefix)).ok())
            else {
                continue;
            };
            known.insert(key, object.clone());
        }
        if known.is_empty() {
            return known;
        }
        let mut held = HashMap::new();
        let mut list = self.place.store.list(Some(&cause.prefix));
        loop {
            match list.try_next().await {
                Ok(Some(there)) => {
                    let Some(known) = known.remove(&there.location) else { continue };
                    // Without a tag there is only the size: not enough to know another's version.
                    let is_same = known.e_tag.is_some() && known.e_tag == there.e_tag;
                    if is_same && known.bytes == there.size {
                        held.insert(there.location, known);
                    }
                }
                Ok(None) => return held,
                Err(error) => {
                    let text = crate::fault::store(&error);
                    self.host
                        .warn(format_args!("everything is uploaded again, for what is there cannot be listed: {text}"));
                    return HashMap::new();
                }
            }
        }
    }

    /// What has to be uploaded; what need not is noted.
    fn jobs(
        &self,
        cause: &Cause,
        files: Vec<tree::FileAt>,
        held: &HashMap<Path, Known>,
        round: &mut Round,
    ) -> Vec<Job> {
        let mut jobs = Vec::new();
        let mut addresses = std::collections::HashSet::new();
        for file in files {
            let key = file.name.split('/').fold(cause.prefix.clone(), |path, part| path.join(part));
            addresses.insert(self.place.address(&key));
            let known = held.get(&key).filter(|known| known.bytes == file.stamp.bytes).cloned();
            let job = Job { file, key, known };
            match &job.known {
                Some(known) if known.stamp == Some(job.file.stamp) => {
                    let content = crate::read::Content {
                        bytes: known.bytes,
                        sha256: known.sha256.clone(),
                        stamp: job.file.stamp,
                        is_changed: false,
                    };
                    let stored = Stored { content, e_tag: known.e_tag.clone(), is_held: true, is_retried: false };
                    round.stored.push((entry(&job, &stored), stored));
                }
                _ => jobs.push(job),
            }
        }
        if let Err(error) = self.record().keep(|to| addresses.contains(to)) {
            self.host.warn(format_args!("what is uploaded now is uploaded again after a restart: {error}"));
        }
        jobs
    }

    async fn upload(&self, jobs: Vec<Job>, round: &mut Round, clock: &Clock) {
        self.place.wire.meter().clear();
        let before = match (self.settings.bandwidth, self.record().bytes_per_second) {
            (Some(bytes), _) => Before::Configured(crate::meter::to_f64(bytes)),
            (None, Some(speed)) => Before::Measured(speed),
            (None, None) => Before::Unknown,
        };
        let way = Way {
            store: Arc::clone(&self.place.store),
            part_bytes: self.settings.part_bytes,
            permits: Arc::new(Semaphore::new(self.settings.at_once * 2)),
        };
        let lane = Lane::new(way, &self.place.wire, &self.settings, before, clock);
        let mut refusal = None;
        let ended = lane.run(jobs, |job, stored| {
            let known = Known {
                bytes: stored.content.bytes,
                sha256: stored.content.sha256.clone(),
                e_tag: stored.e_tag.clone(),
                // What changed while it was read must be uploaded again.
                stamp: Some(stored.content.stamp).filter(|_| !stored.content.is_changed),
            };
            if let Err(error) = self.record().add(&self.place.address(&job.key), known) {
                refusal = Some(error);
            }
        });
        let ended = ended.await;
        let speed = match self.place.wire.meter().speed(Instant::now()) {
            Speed::Known(speed) => Some(speed),
            _ => None,
        };
        let kept = speed.map_or(Ok(()), |speed| self.record().measured(speed));
        if let Some(error) = refusal.or(kept.err()) {
            self.host.warn(format_args!("what was uploaded now is uploaded again after a restart: {error}"));
        }
        round.speed = speed;
        for (job, ended) in ended {
            match ended {
                Ended::Stored(stored) => round.stored.push((entry(&job, &stored), *stored)),
                Ended::LeftOut(reason) => {
                    round.left_out.push(LeftOut { name: job.file.name, bytes: job.file.stamp.bytes, reason });
                }
                Ended::Failed(Fault::File(error)) if error.kind() == io::ErrorKind::NotFound => {
                    round.skipped.push((job.file.name, "is gone since it was found".to_owned()));
                }
                Ended::Failed(fault) => round.failed.push((job.file.name, fault)),
            }
        }
    }

    async fn write(&self, cause: &Cause, earlier: &Earlier, links: Vec<LinkEntry>, round: &mut Round, clock: &Clock) {
        // Nothing is there that it could speak of; what was there before may still be good.
        if clock.is_cancelled() || round.stored.is_empty() {
            return;
        }
        let mut left_out = round.left_out.clone();
        left_out.extend(round.failed.iter().map(|(name, fault)| LeftOut {
            name: name.clone(),
            bytes: 0,
            reason: fault.text(),
        }));
        let manifest = Manifest {
            event: cause.event.clone(),
            event_type: cause.event_type.clone(),
            instance: cause.instance.clone(),
            complete: left_out.is_empty(),
            files: round.stored.iter().map(|(entry, _)| entry.clone()).collect(),
            links,
            left_out,
            ..Manifest::new()
        };
        round.manifest = Some(tokio::select! {
            written = manifest::write(self.place.store.as_ref(), &cause.prefix, &manifest, earlier) => written,
            () = clock.over() => Err(Fault::Late("the store had not taken it")),
        });
    }
}

fn entry(job: &Job, stored: &Stored) -> Entry {
    Entry {
        name: job.file.name.clone(),
        key: job.key.to_string(),
        bytes: stored.content.bytes,
        sha256: stored.content.sha256.clone(),
        e_tag: stored.e_tag.clone(),
        modified_ns: stored.content.stamp.modified_ns,
        mode: format!("{:04o}", job.file.mode),
        changed_while_read: stored.content.is_changed,
    }
}
