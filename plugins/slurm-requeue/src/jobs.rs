//! Has jobs save themselves, and requeues them.
//!
//! Inputs: a [`Slurm`], the jobs that run here. Outputs: [`Told`] for each, before and after. Must never requeue a job before it has saved
//! itself or its time for that is over, nor call one requeued that Slurm does not show as waiting or started anew.

use crate::config::Config;
use crate::slurm::{Slurm, Watch};
use crate::table::Job;
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{Code, Error};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often markers are looked at.
const MARKER_LOOK: Duration = Duration::from_millis(100);
/// How often Slurm is asked for the jobs' states.
const STATE_LOOK: Duration = Duration::from_secs(1);
/// Less time than this is no time to save anything.
const LEAST_WINDOW: Duration = Duration::from_secs(1);

/// What became of one job.
pub(crate) struct Told {
    pub(crate) before: Job,
    /// How Slurm showed it last; None when it has forgotten it.
    pub(crate) after: Option<Job>,
    is_signalled: bool,
    marker: Option<Marker>,
    /// When the command for it had gone well.
    is_requeued: bool,
    pub(crate) failure: Option<Error>,
}

/// The file that a job writes when it has saved itself.
struct Marker {
    path: PathBuf,
    /// None: it was not there.
    before: Option<Stamp>,
    after: Option<Stamp>,
}

/// By which a file is known to be written anew.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

/// What was not done as configured, and why.
pub(crate) struct Skipped {
    pub(crate) step: String,
    pub(crate) reason: String,
}

impl Marker {
    fn new(path: PathBuf) -> Self {
        let before = stamp(&path);
        Self { path, before, after: None }
    }

    /// Whether it has been written since.
    fn is_written(&mut self) -> bool {
        if self.after.is_none() {
            self.after = stamp(&self.path).filter(|now| Some(*now) != self.before);
        }
        self.after.is_some()
    }
}

fn stamp(path: &PathBuf) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let modified = (metadata.mtime(), metadata.mtime_nsec());
    Some(Stamp { inode: metadata.ino(), bytes: metadata.len(), modified })
}

impl Told {
    fn new(job: Job, config: &Config) -> Self {
        let path = config.marker.as_ref().map(|marker| marker.replace("%j", &job.id).replace("%u", &job.user));
        let marker = path.map(|path| Marker::new(PathBuf::from(path)));
        Self { after: Some(job.clone()), before: job, is_signalled: false, marker, is_requeued: false, failure: None }
    }

    /// Whether it has proved that it has saved itself; None when nothing proves it.
    fn is_saved(&self) -> Option<bool> {
        self.marker.as_ref().map(|marker| marker.after.is_some())
    }

    /// Whether it runs as it did.
    fn runs_on(&self) -> bool {
        let is_same = |after: &Job| is_here(&after.state) && after.restarts == self.before.restarts;
        self.after.as_ref().is_some_and(is_same)
    }

    /// Whether it came to its end by itself, and in order.
    fn is_completed(&self) -> bool {
        !self.is_requeued && self.after.as_ref().is_some_and(|after| after.state == "COMPLETED")
    }

    /// Whether Slurm shows it as waiting, or started anew.
    fn is_settled(&self) -> bool {
        let waits = |after: &Job| {
            after.state == "PENDING" || after.restarts > self.before.restarts && after.state != "COMPLETING"
        };
        self.failure.is_some() || self.is_completed() || self.is_requeued && self.after.as_ref().is_some_and(waits)
    }

    pub(crate) fn report(&self) -> Value {
        let after = self.after.as_ref().map_or_else(|| json!({ "state": "forgotten" }), Job::shown);
        let mut report = json!({
            "job": self.before.id, "user": self.before.user, "before": self.before.shown(), "after": after,
            "signalled": self.is_signalled, "saved": self.is_saved(), "requeued": self.is_requeued,
        });
        if let Some(marker) = &self.marker {
            report["marker"] = json!({ "file": marker.path, "bytes": marker.after.map(|after| after.bytes) });
        }
        if let Some(failure) = &self.failure {
            report["failure"] = json!(failure.message());
        }
        report
    }
}

fn is_here(state: &str) -> bool {
    matches!(state, "RUNNING" | "SUSPENDED" | "CONFIGURING")
}

/// `yes`: each has proved that it saved itself, and waits or has completed. `no`: one has not, or is not requeued.
pub(crate) fn durable(told: &[Told]) -> &'static str {
    let saved: Vec<Option<bool>> =
        told.iter().map(|one| if one.is_completed() { Some(true) } else { one.is_saved() }).collect();
    if told.iter().any(|one| one.failure.is_some()) || saved.contains(&Some(false)) {
        "no"
    } else if saved.contains(&None) {
        "unknown"
    } else {
        "yes"
    }
}

/// Signals them, waits for their saves, requeues each, and waits until Slurm shows it.
pub(crate) fn all(slurm: &Slurm, config: &Config, jobs: Vec<Job>, watch: &Watch<'_>) -> (Vec<Told>, Vec<Skipped>) {
    let mut told: Vec<Told> = jobs.into_iter().map(|job| Told::new(job, config)).collect();
    let mut skipped = Vec::new();
    let left = watch.left();
    let reserve = Duration::from_secs(u64::from(config.requeue_seconds)).min(left / 2);
    let wanted = Duration::from_secs(u64::from(config.save_seconds));
    let window = wanted.min(left.saturating_sub(reserve));
    if let Some(signal) = &config.signal {
        if window < wanted {
            let is_none = window < LEAST_WINDOW;
            let left = window.as_secs_f64();
            let how =
                if is_none { "none is left: requeued at once".to_owned() } else { format!("{left:.1} s are left") };
            skipped.push(Skipped {
                step: "save".to_owned(),
                reason: format!("{} s are wanted, {how}", config.save_seconds),
            });
        }
        if window >= LEAST_WINDOW {
            let ends = Instant::now() + window;
            for one in told.iter_mut().filter(|one| one.before.state == "RUNNING") {
                match slurm.signal(&one.before.id, signal, config.signal_to.option(), watch) {
                    Ok(()) => one.is_signalled = true,
                    Err(error) => {
                        skipped.push(Skipped {
                            step: format!("signal of job {}", one.before.id),
                            reason: error.to_string(),
                        });
                    }
                }
            }
            wait_for_saves(slurm, &mut told, ends, watch);
        }
    }
    for one in told.iter_mut().filter(|one| !one.is_requeued && !one.is_completed()) {
        requeue(slurm, one, watch);
    }
    confirm(slurm, &mut told, watch);
    (told, skipped)
}

/// Waits until all have saved themselves or ended, and requeues each that has.
fn wait_for_saves(slurm: &Slurm, told: &mut [Told], ends: Instant, watch: &Watch<'_>) {
    let mut next_look = Instant::now() + STATE_LOOK;
    while Instant::now() < ends && !watch.is_cancelled() {
        for one in told.iter_mut().filter(|one| one.is_signalled && !one.is_requeued && one.failure.is_none()) {
            if one.marker.as_mut().is_some_and(Marker::is_written) {
                requeue(slurm, one, watch);
            }
        }
        if Instant::now() >= next_look {
            look(slurm, told, watch);
            next_look = Instant::now() + STATE_LOOK;
        }
        let is_waited_for = |one: &Told| one.is_signalled && !one.is_requeued && one.failure.is_none() && one.runs_on();
        if !told.iter().any(is_waited_for) {
            return;
        }
        watch.pause(MARKER_LOOK);
    }
}

/// A job that the signal ended is requeued too: Slurm takes one that is over.
fn requeue(slurm: &Slurm, one: &mut Told, watch: &Watch<'_>) {
    let id = one.before.id.clone();
    let outcome = if watch.is_cancelled() {
        Err(Error::new("not requeued: the call was cancelled").code(Code::Cancelled))
    } else if let Some(obstacle) = one.before.obstacle() {
        Err(Error::new(format!("not requeued: {obstacle}")).code(Code::State))
    } else {
        slurm.requeue(&id, watch)
    };
    match outcome {
        Ok(()) => one.is_requeued = true,
        Err(error) => one.failure = Some(error.context(format_args!("job {id}"))),
    }
}

/// Asks Slurm how they are. That it does not answer shows in what it said before.
fn look(slurm: &Slurm, told: &mut [Told], watch: &Watch<'_>) {
    let ids: Vec<&str> = told.iter().map(|one| one.before.id.as_str()).collect();
    let Ok(jobs) = slurm.jobs(&ids, watch) else { return };
    for one in told.iter_mut() {
        one.after = jobs.iter().find(|job| job.id == one.before.id).cloned();
        if let Some(marker) = &mut one.marker {
            marker.is_written();
        }
    }
}

/// Waits until Slurm shows all as waiting, started anew or over.
fn confirm(slurm: &Slurm, told: &mut [Told], watch: &Watch<'_>) {
    loop {
        if told.iter().all(Told::is_settled) {
            break;
        }
        if watch.left().is_zero() || watch.is_cancelled() {
            break;
        }
        look(slurm, told, watch);
        if !told.iter().all(Told::is_settled) {
            watch.pause(STATE_LOOK / 4);
        }
    }
    // How those are that could not be requeued.
    if told.iter().any(|one| one.failure.is_some()) {
        look(slurm, told, watch);
    }
    for one in told.iter_mut().filter(|one| !one.is_settled()) {
        let state = one.after.as_ref().map_or("forgotten", |after| after.state.as_str());
        let text = format!("job {}: requeued, and still {state}", one.before.id);
        one.failure = Some(Error::new(text).code(Code::Deadline));
    }
    for one in told.iter_mut().filter(|one| one.failure.is_none() && !one.is_completed()) {
        if one.is_saved() == Some(false) {
            let text = format!("job {}: requeued, but it has not shown that it saved itself", one.before.id);
            one.failure = Some(Error::new(text).code(Code::Deadline));
        }
    }
}
