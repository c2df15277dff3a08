//! Brings each report where the settings say, on threads of its own: one for the directory, one for the server.
//!
//! Inputs: reports as events end, the settings. Outputs: files and posts, sentences about what did not work. A thread
//! begins when there is work for it. Must never hold up who hands it a report, nor let the server hold up the directory: of
//! too many reports that wait, the oldest are lost, and the newest goes first: the machine it is of may be about to end.

use super::archive;
use super::post::Target;
use crate::dispatch::report::EventReport;
use crate::history::recorder::Receiver;
use crate::sys::clock;
use arc_swap::ArcSwap;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Reports that wait for one thread.
const WAITING_MAX: usize = 256;
/// Attempts to write one report, and the pause between them: a disk that is full may have room again.
const WRITES_MAX: u32 = 5;
const WRITE_PAUSE: Duration = Duration::from_secs(1);
/// How long the end of the daemon waits for what is on its way.
const LEAVE_MAX: Duration = Duration::from_secs(3);

/// What is done with reports.
#[derive(Debug, Default)]
pub struct Settings {
    /// Where they are written to.
    pub directory: Option<PathBuf>,
    /// Most reports kept there.
    pub keep: usize,
    /// Where they are sent to.
    pub target: Option<Target>,
}

/// One report on its way.
#[derive(Clone)]
struct Parcel {
    event_id: String,
    json: Arc<str>,
}

/// The threads and what waits for them.
pub struct Courier {
    settings: ArcSwap<Settings>,
    files: Lane,
    posts: Lane,
}

impl Courier {
    /// One that does nothing yet.
    pub fn new() -> Arc<Self> {
        let settings = ArcSwap::default();
        Arc::new(Self { settings, files: Lane::default(), posts: Lane::default() })
    }

    /// Does this with reports from now on. What a thread has in its hands is finished as it was.
    pub fn follow(self: &Arc<Self>, settings: Settings) {
        let (has_directory, has_target) = (settings.directory.is_some(), settings.target.is_some());
        self.settings.store(Arc::new(settings));
        if has_directory {
            let courier = Arc::clone(self);
            self.files.start("snooze-report", move || courier.write_all());
        } else {
            self.files.settle(None);
        }
        if has_target {
            let courier = Arc::clone(self);
            self.posts.start("snooze-post", move || courier.send_all());
        } else {
            self.posts.settle(None);
        }
    }

    /// What is not as it should be.
    pub fn problems(&self) -> impl Iterator<Item = String> {
        [self.files.problem(), self.posts.problem()].into_iter().flatten()
    }

    /// Ends the threads after what is on its way, and waits for that, but not for long: what a server does not take then
    /// is lost with this process.
    pub fn leave(&self) {
        let until_ns = clock::boot_ns().saturating_add(i64::try_from(LEAVE_MAX.as_nanos()).unwrap_or(0));
        self.files.leave();
        self.posts.leave();
        for (lane, what) in [(&self.files, "written"), (&self.posts, "sent")] {
            if !lane.has_ended(until_ns) {
                tracing::warn!("the daemon ends before every report is {what}");
            }
        }
    }

    fn write_all(&self) {
        while let Some(parcel) = self.files.next() {
            let settings = self.settings.load_full();
            let Some(directory) = &settings.directory else { continue };
            let report: Result<EventReport, _> = serde_json::from_str(&parcel.json);
            let mut attempt = 1;
            let error = loop {
                let written = report.as_ref().map_err(|error| error.to_string()).and_then(|report| {
                    archive::write(directory, report, &parcel.json, settings.keep).map_err(|error| error.to_string())
                });
                let Err(error) = written else { break None };
                if attempt == WRITES_MAX || report.is_err() || !self.files.pause(WRITE_PAUSE) {
                    break Some(error);
                }
                attempt += 1;
            };
            if let Some(error) = &error {
                tracing::error!(event = parcel.event_id, error, directory = %directory.display(), "the report cannot be written");
            }
            self.files.settle(error.map(|error| {
                let directory = directory.display();
                format!("the report of event {} could not be written to {directory}: {error}", parcel.event_id)
            }));
        }
    }

    fn send_all(&self) {
        while let Some(parcel) = self.posts.next() {
            let settings = self.settings.load_full();
            let Some(target) = &settings.target else { continue };
            let sent = target.send(&parcel.event_id, &parcel.json, |time| self.posts.pause(time));
            match &sent {
                Ok(()) => tracing::info!(event = parcel.event_id, to = target.origin(), "report sent"),
                Err(error) => {
                    tracing::error!(event = parcel.event_id, to = target.origin(), error, "the report cannot be sent");
                }
            }
            self.posts.settle(sent.err().map(|error| {
                format!("the report of event {} could not be sent to {}: {error}", parcel.event_id, target.origin())
            }));
        }
    }
}

impl Receiver for Courier {
    fn over(&self, event_id: &str, report: &str) {
        let settings = self.settings.load();
        let (has_directory, has_target) = (settings.directory.is_some(), settings.target.is_some());
        if !has_directory && !has_target {
            return;
        }
        let parcel = Parcel { event_id: event_id.to_owned(), json: report.into() };
        if has_directory {
            self.files.put(parcel.clone());
        }
        if has_target {
            self.posts.put(parcel);
        }
    }
}

/// What waits for one thread.
#[derive(Default)]
struct Lane {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Parcel>,
    is_running: bool,
    is_leaving: bool,
    problem: Option<String>,
}

impl Lane {
    /// Starts the thread unless it runs.
    fn start(&self, name: &str, run: impl FnOnce() + Send + 'static) {
        let mut state = self.lock();
        if state.is_running {
            return;
        }
        match thread::Builder::new().name(name.into()).spawn(run) {
            Ok(_) => state.is_running = true,
            Err(error) => state.problem = Some(format!("reports are not delivered: cannot start {name}: {error}")),
        }
    }

    fn put(&self, parcel: Parcel) {
        let mut state = self.lock();
        if !state.is_running {
            return;
        }
        if state.waiting.len() == WAITING_MAX
            && let Some(lost) = state.waiting.pop_front()
        {
            tracing::warn!(event = lost.event_id, "a report is not delivered: too many wait (snooze report shows it)");
        }
        state.waiting.push_back(parcel);
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for the newest parcel; None when it is time to end.
    fn next(&self) -> Option<Parcel> {
        let mut state = self.lock();
        loop {
            if let Some(parcel) = state.waiting.pop_back() {
                return Some(parcel);
            }
            if state.is_leaving {
                state.is_running = false;
                drop(state);
                self.changed.notify_all();
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits so long; false when it is time to end.
    fn pause(&self, time: Duration) -> bool {
        let goes_on = |state: &mut State| !state.is_leaving;
        let waited = self.changed.wait_timeout_while(self.lock(), time, goes_on);
        !waited.unwrap_or_else(PoisonError::into_inner).0.is_leaving
    }

    /// Notes how the last delivery went.
    fn settle(&self, problem: Option<String>) {
        self.lock().problem = problem;
    }

    fn problem(&self) -> Option<String> {
        self.lock().problem.clone()
    }

    fn leave(&self) {
        self.lock().is_leaving = true;
        self.changed.notify_all();
    }

    /// Whether its thread has ended, waiting for it until then (CLOCK_BOOTTIME).
    fn has_ended(&self, until_ns: i64) -> bool {
        let left = Duration::from_nanos(u64::try_from(until_ns.saturating_sub(clock::boot_ns())).unwrap_or(0));
        let is_there = |state: &mut State| state.is_running;
        let waited = self.changed.wait_timeout_while(self.lock(), left, is_there);
        !waited.unwrap_or_else(PoisonError::into_inner).0.is_running
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::net::TcpListener;
    use std::path::Path;

    fn parcel(number: usize) -> Parcel {
        Parcel { event_id: number.to_string(), json: "{}".into() }
    }

    fn report(number: u32) -> String {
        let report = json!({
            "event_id": format!("019a1b2c-3d4e-7f60-8182-{number:012x}"), "type": "custom.x", "state": "completed",
            "detected": format!("2026-05-01T12:00:{number:02}.120Z"), "deadline": null, "first_start_us": null,
            "duration_ms": 1.0, "left_seconds": 1.0, "handlers": [], "event": {},
        });
        report.to_string()
    }

    fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
        let until_ns = clock::boot_ns() + 30_000_000_000;
        while !is_so() {
            assert!(clock::boot_ns() < until_ns, "{what}");
            thread::yield_now();
        }
    }

    fn into(directory: &Path, target: Option<Target>) -> Settings {
        Settings { directory: Some(directory.to_owned()), keep: 100, target }
    }

    fn files(directory: &Path) -> usize {
        std::fs::read_dir(directory).map_or(0, |files| {
            files.filter(|file| file.as_ref().is_ok_and(|f| !f.file_name().to_string_lossy().starts_with('.'))).count()
        })
    }

    #[test]
    fn of_too_many_that_wait_the_oldest_are_lost_and_the_newest_goes_first() {
        let lane = Lane::default();
        lane.put(parcel(0));
        lane.lock().is_running = true;
        (1..=WAITING_MAX + 2).for_each(|number| lane.put(parcel(number)));
        lane.leave();
        let taken: Vec<String> = std::iter::from_fn(|| lane.next()).map(|parcel| parcel.event_id).collect();
        assert_eq!((taken.len(), taken[0].clone()), (WAITING_MAX, (WAITING_MAX + 2).to_string()));
        assert_eq!(taken.last(), Some(&"3".to_owned()));
        assert!(lane.has_ended(0));
    }

    #[test]
    fn a_server_that_hangs_holds_up_neither_the_directory_nor_the_end() {
        let place = tempfile::tempdir().expect("a directory");
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", silent.local_addr().expect("bound"));
        let target = Target::new(&url, [], Duration::from_secs(60), None).expect("a target");
        let courier = Courier::new();
        courier.over("early", &report(0));
        courier.follow(into(place.path(), Some(target)));
        let begun = clock::boot_ns();
        for number in 1..=3 {
            courier.over("x", &report(number));
        }
        wait("six files", || files(place.path()) == 6);
        assert!(courier.problems().next().is_none());
        courier.leave();
        assert!(clock::boot_ns() - begun < 30_000_000_000, "a minute would be the server's");
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_a_problem_until_it_can() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = place.path().join("reports");
        std::fs::write(&directory, "a file in its place").expect("written");
        let courier = Courier::new();
        courier.follow(into(&directory, None));
        courier.over("first", &report(1));
        // It is asked to leave, so that it does not try five times.
        courier.files.leave();
        wait("the problem", || courier.problems().any(|problem| problem.contains("event first could not be written")));
        wait("its end", || courier.files.has_ended(0));
        std::fs::remove_file(&directory).expect("removed");
        courier.files.lock().is_leaving = false;
        courier.follow(into(&directory, None));
        courier.over("second", &report(2));
        wait("two files", || files(&directory) == 2);
        wait("no problem", || courier.problems().next().is_none());
        courier.leave();
    }
}
