//! What is being uploaded right now, and what next.
//!
//! Inputs: jobs, newest first, a clock. Outputs: for each job what became of it. Must never begin what cannot end in time, nor
//! go on when the time is over.

use crate::config::Settings;
use crate::fault::Fault;
use crate::fit::{Before, Pace, to_go};
use crate::meter::to_f64;
use crate::upload::{Job, Stored, Way, upload};
use crate::wire::Wire;
use cloudsnooze_plugin_runtime::Clock;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How often it is asked whether what runs can end in time.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// What those that are given up may take to clear away, when the call was cancelled and when the time is over.
const CLEAR_AWAY: Duration = Duration::from_millis(60);
const CLEAR_AWAY_IN_TIME: Duration = Duration::from_millis(500);

/// What became of a job.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It is there.
    Stored(Box<Stored>),
    /// There was no time for it.
    LeftOut(String),
    /// It did not work.
    Failed(Fault),
}

/// One that runs.
struct Running {
    bytes: u64,
    through: Arc<AtomicU64>,
    halt: watch::Sender<bool>,
    /// Why it was told to end.
    halted: Option<String>,
}

/// The upload of several files.
pub(crate) struct Lane<'a> {
    way: Way,
    wire: &'a Wire,
    before: Before,
    at_once: usize,
    clock: &'a Clock,
    waiting: VecDeque<(usize, Job)>,
    /// By number: the newest first.
    running: BTreeMap<usize, Running>,
    tasks: JoinSet<(usize, Result<Stored, Fault>)>,
    ended: Vec<(usize, Job, Ended)>,
    jobs: BTreeMap<usize, Job>,
    /// Nothing more is begun.
    closed: Option<String>,
}

impl<'a> Lane<'a> {
    pub(crate) fn new(way: Way, wire: &'a Wire, settings: &Settings, before: Before, clock: &'a Clock) -> Self {
        Self {
            way,
            wire,
            before,
            at_once: settings.at_once,
            clock,
            waiting: VecDeque::new(),
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            ended: Vec::new(),
            jobs: BTreeMap::new(),
            closed: None,
        }
    }

    /// Uploads them, as far as there is time. `stored` is told of each that is there.
    pub(crate) async fn run(mut self, jobs: Vec<Job>, mut stored: impl FnMut(&Job, &Stored)) -> Vec<(Job, Ended)> {
        self.waiting = jobs.into_iter().enumerate().collect();
        loop {
            self.begin();
            // The second is so when all that runs has panicked.
            if self.running.is_empty() || self.tasks.is_empty() {
                break;
            }
            tokio::select! {
                Some(joined) = self.tasks.join_next() => self.end(joined, &mut stored),
                () = tokio::time::sleep(LOOK_AGAIN) => self.reconsider(),
                () = self.clock.over() => break,
            }
        }
        let reason = if self.clock.is_cancelled() { "cancelled" } else { "the time was over" };
        self.close(reason);
        let until = Instant::now() + if self.clock.is_cancelled() { CLEAR_AWAY } else { CLEAR_AWAY_IN_TIME };
        while !self.running.is_empty() {
            let Ok(Some(joined)) = tokio::time::timeout_at(until.into(), self.tasks.join_next()).await else { break };
            self.end(joined, &mut stored);
        }
        self.tasks.abort_all();
        for (number, running) in std::mem::take(&mut self.running) {
            let reason = running.halted.unwrap_or_else(|| reason.to_owned());
            self.note(number, Ended::LeftOut(reason));
        }
        self.ended.sort_by_key(|(number, ..)| *number);
        self.ended.into_iter().map(|(_, job, ended)| (job, ended)).collect()
    }

    fn pace(&self) -> Pace {
        Pace { speed: self.wire.meter().speed(Instant::now()), before: self.before }
    }

    /// Bytes that those that run have still to send.
    fn to_go(&self) -> f64 {
        let live = self.running.values().filter(|running| running.halted.is_none());
        let (whole, through) = live.fold((0, 0), |(whole, through), running| {
            (whole + running.bytes, through + running.through.load(Ordering::Acquire).min(running.bytes))
        });
        to_go(whole, through, self.wire.meter().flying(Instant::now()))
    }

    /// Begins what fits.
    fn begin(&mut self) {
        while self.running.len() < self.at_once {
            let Some((number, job)) = self.waiting.pop_front() else { break };
            if let Some(reason) = &self.closed {
                let reason = reason.clone();
                self.jobs.insert(number, job);
                self.note(number, Ended::LeftOut(reason));
                continue;
            }
            let bytes = job.file.stamp.bytes;
            let left = self.clock.left();
            // One that may be there already costs a look at the disk first.
            let needs =
                if job.known.is_some() { None } else { self.pace().too_long(self.to_go() + to_f64(bytes), left) };
            if let Some(needs) = needs {
                let left = left.as_secs_f64();
                self.jobs.insert(number, job);
                self.note(number, Ended::LeftOut(format!("it would need {needs:.1} s, and {left:.1} s were left")));
                continue;
            }
            let (halt, is_halted) = watch::channel(false);
            let through = Arc::new(AtomicU64::new(0));
            let work = upload(self.way.clone(), job.clone(), Arc::clone(&through), is_halted);
            self.tasks.spawn(async move { (number, work.await) });
            self.jobs.insert(number, job);
            self.running.insert(number, Running { bytes, through, halt, halted: None });
        }
    }

    /// Gives up the oldest that runs, if what runs cannot end in time.
    fn reconsider(&mut self) {
        let live = self.running.values().filter(|running| running.halted.is_none()).count();
        let left = self.clock.left();
        let Some(needs) = self.pace().hopeless(self.to_go(), left, live <= 1) else { return };
        let left = left.as_secs_f64();
        if let Some(running) = self.running.values_mut().rev().find(|running| running.halted.is_none()) {
            running.halted = Some(format!("given up: it would need {needs:.1} s more, and {left:.1} s were left"));
            running.halt.send_replace(true);
        }
    }

    fn end(
        &mut self,
        joined: Result<(usize, Result<Stored, Fault>), tokio::task::JoinError>,
        stored: &mut impl FnMut(&Job, &Stored),
    ) {
        // A task that panicked leaves no number; what it was to do is found to be left at the end.
        let Ok((number, result)) = joined else { return };
        let Some(running) = self.running.remove(&number) else { return };
        let ended = match (result, running.halted) {
            (Ok(there), _) => {
                if let Some(job) = self.jobs.get(&number) {
                    stored(job, &there);
                }
                Ended::Stored(Box::new(there))
            }
            (Err(Fault::Halted), reason) => Ended::LeftOut(reason.unwrap_or_else(|| "the time was over".to_owned())),
            (Err(fault), _) => {
                if fault.is_of_all() {
                    self.close("the store refused another file");
                }
                Ended::Failed(fault)
            }
        };
        self.note(number, ended);
    }

    /// Begins nothing more, and tells what runs to end.
    fn close(&mut self, reason: &str) {
        self.closed.get_or_insert_with(|| reason.to_owned());
        for running in self.running.values_mut().filter(|running| running.halted.is_none()) {
            running.halted = Some(reason.to_owned());
            running.halt.send_replace(true);
        }
        for (number, job) in std::mem::take(&mut self.waiting) {
            self.jobs.insert(number, job);
            self.note(number, Ended::LeftOut(reason.to_owned()));
        }
    }

    fn note(&mut self, number: usize, ended: Ended) {
        if let Some(job) = self.jobs.remove(&number) {
            self.ended.push((number, job, ended));
        }
    }
}
