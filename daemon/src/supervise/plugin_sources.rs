//! The threads of sources that are plugins, and what each needs around it.
//!
//! Inputs: instances that were made, what was told before a restart, how events end. Outputs: events to the pool, health
//! for status, the end of each event to whoever told it. One real-time thread a source (`snooze-src-NAME`) lets it watch,
//! and again after a pause when it comes back of itself; one normal thread a source (`snooze-over`) tells it what is over.
//! Must never take a plugin's silence for sight, free one whose code still runs, or let the hang of one hold up the rest:
//! that shows in the status, and does not starve the watchdog, because a restart every minute would cost the other sources.

use super::sources::{ToPool, Ways};
use crate::assemble::SourceMade;
use crate::control::wire;
use crate::dispatch::report::EventReport;
use crate::event::told::{Heard, Here, Over, Sight, Told};
use crate::event::{Event, EventId};
use crate::history::recorder::{Follower, Recorder};
use crate::host::source::{Ended, Feed, PluginSource};
use crate::log_ring::LogRing;
use crate::source::health::{Change, Health, State};
use crate::source::plugin::{self, Watch};
use crate::sys::bell::Bell;
use crate::sys::clock;
use cloudsnooze_abi::{SNOOZE_LOG_ERROR, SNOOZE_LOG_INFO, SNOOZE_LOG_WARNING};
use std::collections::{HashSet, VecDeque};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a source has to come back when it was told to stop.
const STOP_GRACE_NS: i64 = 2_000_000_000;
/// Pause before a source that came back of itself is run again; doubled each time, up to the longest.
const AGAIN_FIRST_NS: i64 = 1_000_000_000;
const AGAIN_LONGEST_NS: i64 = 60_000_000_000;
/// By when a source must have shown itself for the first time.
const FIRST_SIGN_NS: i64 = 60_000_000_000;
/// Ends that are remembered for tellings that come later.
const OVER_MAX: usize = 512;

/// The running sources that are plugins.
pub(super) struct PluginSources {
    running: Vec<Running>,
    /// Those that were not run, and why.
    barred: Vec<(String, String)>,
}

struct Running {
    health: Arc<Health>,
    here: Arc<OnceLock<Here>>,
    source: Arc<PluginSource>,
    bell: Arc<Bell>,
    /// Gets a word when `run` has come back for good.
    ended: Mutex<Receiver<()>>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
}

/// What the thread that tells of ends is told.
enum Word {
    /// The source was given this event's id.
    Given(EventId),
    /// An event is over.
    Over(EventId, Over),
    /// There is nothing more to tell.
    Stop,
}

/// Passes ends on; the recorder tells it.
struct Ends(Mutex<Sender<Word>>);

impl Ends {
    fn send(&self, word: Word) {
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).send(word);
    }
}

impl Follower for Ends {
    fn published(&self, _: &Arc<Event>) {}

    fn moved(&self, _: EventId, _: crate::event::Moment) {}

    fn done(&self, _: EventId) {}

    fn over(&self, id: EventId, over: Over) {
        self.send(Word::Over(id, over));
    }
}

/// Starts the sources.
///
/// # Errors
/// Text: a descriptor or thread that is not to be had.
pub(super) fn start(made: Vec<SourceMade>, ways: &Ways) -> Result<PluginSources, String> {
    let mut all = PluginSources { running: Vec::new(), barred: Vec::new() };
    for SourceMade { called, source } in made {
        match source {
            Err(why) => all.barred.push((called, why)),
            Ok(source) => {
                let source = Arc::new(source);
                match start_one(&called, &source, ways) {
                    Ok(running) => all.running.push(running),
                    Err(error) => {
                        source.instance().retire();
                        all.stop();
                        return Err(format!("cannot start the source {called}: {error}"));
                    }
                }
            }
        }
    }
    Ok(all)
}

fn start_one(called: &str, source: &Arc<PluginSource>, ways: &Ways) -> Result<Running, String> {
    let (sink, recorder) = (ways.sink()?, &ways.recorder);
    // Leaked: a source lives as long as the process.
    let name: &'static str = Box::leak(plugin::source_of(called).into_boxed_str());
    let health = Arc::new(Health::new(name, &[plugin::PATH]));
    let bell = Arc::new(Bell::new().map_err(|e| e.to_string())?);
    let (words, told) = mpsc::channel();
    let (came_back, ended) = mpsc::channel();
    let here = Arc::<OnceLock<Here>>::default();
    let desk = Desk {
        watch: Watch::new(plugin::remembering(name, &ways.seen)),
        sink,
        health: Arc::clone(&health),
        here: Arc::clone(&here),
        words: words.clone(),
        name,
        log: Arc::clone(&ways.log),
        logged_refusals: 0,
    };
    recorder.tell_to(Arc::new(Ends(Mutex::new(words))));
    health.lives_until(clock::boot_ns().saturating_add(FIRST_SIGN_NS));
    let failed = |e: std::io::Error| e.to_string();
    let teller = {
        let (source, recorder) = (Arc::clone(source), Arc::clone(recorder));
        let body = move || Teller { source, recorder, waited_for: HashSet::new(), over: VecDeque::new() }.run(&told);
        thread::Builder::new().name("snooze-over".into()).spawn(body).map_err(failed)?
    };
    let watcher = {
        let (source, bell) = (Arc::clone(source), Arc::clone(&bell));
        // The kernel keeps 15 bytes of a thread's name.
        let body = move || {
            watch(desk, &source, &bell);
            let _ = came_back.send(());
        };
        thread::Builder::new().name(format!("snooze-src-{called}")).spawn(body).map_err(failed)?
    };
    let threads = Mutex::new(vec![teller, watcher]);
    Ok(Running { health, here, source: Arc::clone(source), bell, ended: Mutex::new(ended), threads })
}

/// Lets the source watch until it is told to stop, and again when it comes back before.
fn watch(mut desk: Desk, source: &PluginSource, bell: &Bell) {
    desk.sink.join();
    let mut pause_ns = AGAIN_FIRST_NS;
    while !bell.is_stopped() {
        let begun_ns = clock::boot_ns();
        let ended = source.run(&mut desk, bell.descriptor());
        if bell.is_stopped() {
            break;
        }
        let (why, is_over) = match ended {
            Ended::Quietly => ("it came back without having been told to stop".to_owned(), false),
            Ended::Failed(why) => (why, false),
            Ended::Panicked(why) => (format!("{why}; it is not run again"), true),
        };
        let now_ns = clock::boot_ns();
        if now_ns.saturating_sub(begun_ns) > AGAIN_LONGEST_NS {
            pause_ns = AGAIN_FIRST_NS;
        }
        let pause_ms = u64::try_from(pause_ns / 1_000_000).unwrap_or(1);
        desk.health(Sight { blind: Some(why), next_within_ms: pause_ms + FIRST_SIGN_NS as u64 / 1_000_000 });
        if is_over {
            source.instance().quarantine();
            desk.health.lives_until(i64::MAX);
            break;
        }
        let until_ns = now_ns.saturating_add(pause_ns);
        while !bell.is_stopped() && clock::boot_ns() < until_ns {
            bell.wait(until_ns);
        }
        pause_ns = (pause_ns * 2).min(AGAIN_LONGEST_NS);
    }
    let _ = desk.words.send(Word::Stop);
}

/// Takes what one source tells, on its thread.
struct Desk {
    watch: Watch,
    sink: ToPool,
    health: Arc<Health>,
    here: Arc<OnceLock<Here>>,
    words: Sender<Word>,
    name: &'static str,
    log: Arc<LogRing>,
    logged_refusals: u32,
}

impl Desk {
    fn heard(&self, judged: plugin::Judged) -> Heard {
        if let Some(words) = judged.words {
            self.log.push(self.name, SNOOZE_LOG_INFO, &words);
        }
        let heard = match judged.heard {
            Heard::News(id) if self.sink.known_as(id) != id => Heard::Known(self.sink.known_as(id)),
            Heard::Known(id) => Heard::Known(self.sink.known_as(id)),
            heard => heard,
        };
        if let Heard::News(id) | Heard::Known(id) = heard {
            let _ = self.words.send(Word::Given(id));
        }
        heard
    }
}

impl Feed for Desk {
    fn notice(&mut self, told: Told) -> Heard {
        let judged = self.watch.notice(told, clock::now(), &mut self.sink);
        self.heard(judged)
    }

    fn withdrawn(&mut self, told: Told) -> Heard {
        let judged = self.watch.withdrawn(told, clock::now(), &mut self.sink);
        self.heard(judged)
    }

    fn machine(&mut self, here: Here) {
        let machine = Arc::new(here.machine.clone());
        self.watch.found_machine(&machine);
        self.health.found_machine(&machine);
        let _ = self.here.set(here);
    }

    fn health(&mut self, sight: Sight) {
        let why = sight.blind.clone();
        match plugin::see(&self.health, sight, clock::boot_ns()) {
            Change::None => {}
            Change::BecameBlind => {
                let text = format!("cannot see notices: {}", why.unwrap_or_default());
                self.log.push(self.name, SNOOZE_LOG_WARNING, &text);
            }
            Change::SeesAgain => self.log.push(self.name, SNOOZE_LOG_INFO, "sees notices again"),
        }
    }

    fn refused(&mut self, why: &str) {
        // A source that goes on like this would fill the log.
        if self.logged_refusals < 100 {
            self.logged_refusals += 1;
            self.log.push(self.name, SNOOZE_LOG_ERROR, &format!("refused what the source told: {why}"));
        }
    }
}

/// Tells a source what is over.
struct Teller {
    source: Arc<PluginSource>,
    recorder: Arc<Recorder>,
    waited_for: HashSet<EventId>,
    /// The last events that are over, whoever told them.
    over: VecDeque<(EventId, Over)>,
}

impl Teller {
    fn run(&mut self, told: &Receiver<Word>) {
        while let Ok(word) = told.recv() {
            match word {
                Word::Given(id) => self.given(id),
                Word::Over(id, over) => {
                    if self.over.len() == OVER_MAX {
                        self.over.pop_front();
                    }
                    self.over.push_back((id, over));
                    if self.waited_for.remove(&id) {
                        self.source.over(id, over);
                    }
                }
                Word::Stop => return,
            }
        }
    }

    fn given(&mut self, id: EventId) {
        let known = self.over.iter().find(|(known, _)| *known == id).map(|(_, over)| *over);
        match known.or_else(|| self.before(id)) {
            Some(over) => self.source.over(id, over),
            None => {
                self.waited_for.insert(id);
            }
        }
    }

    /// How an event ended that is no longer remembered here, such as one of before a restart; None: it has not ended.
    fn before(&self, id: EventId) -> Option<Over> {
        let report = self.recorder.report(&id.to_string()).ok().flatten()?;
        let report: EventReport = serde_json::from_value(report).ok()?;
        (report.state != "running").then(|| report.outcome())
    }
}

impl PluginSources {
    /// Ends the sources and waits for them; one that does not come back is left alone, with its thread.
    pub(super) fn stop(&self) {
        for one in &self.running {
            one.bell.stop();
            one.source.stop();
        }
        let until_ns = clock::boot_ns().saturating_add(STOP_GRACE_NS);
        for one in &self.running {
            let left_ns = until_ns.saturating_sub(clock::boot_ns()).max(0);
            let left = Duration::from_nanos(u64::try_from(left_ns).unwrap_or(0));
            let has_ended = one.ended.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(left).is_ok();
            if !has_ended {
                tracing::error!(source = one.name(), "the source did not come back in its time and is left alone");
                one.source.instance().quarantine();
                continue;
            }
            for thread in one.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                let _ = thread.join();
            }
            one.source.instance().retire();
        }
    }

    /// What each has to say.
    pub(super) fn status(&self) -> Vec<wire::SourceStatus> {
        let barred = self.barred.iter().map(|(called, why)| wire::SourceStatus {
            name: plugin::source_of(called),
            state: "blind".into(),
            summary: format!("not loaded: {why}"),
            polls: 0,
            errors: 0,
            interval_seconds: 0.0,
        });
        self.running.iter().map(Running::status).chain(barred).collect()
    }

    /// What is not as it should be.
    pub(super) fn problems(&self) -> Vec<String> {
        let now = clock::boot_ns();
        let barred = self.barred.iter().map(|(called, why)| {
            format!("source {called} is quarantined: {why}; replace its file, or say snooze plugin release")
        });
        let running = self.running.iter().filter_map(|one| {
            let report = one.health.report(now);
            let owed_seconds = one.health.owed_ns(now) / 1_000_000_000;
            match report.state {
                _ if owed_seconds > 0 => Some(format!(
                    "{}: the plugin has not shown itself for {owed_seconds} s longer than it said: it hangs",
                    one.name()
                )),
                State::Blind | State::Partial => Some(report.to_string()),
                State::Starting | State::Seeing => None,
            }
        });
        running.chain(barred).collect()
    }

    /// Who the first source that knows says this machine is.
    pub(super) fn here(&self) -> Option<&Here> {
        self.running.iter().find_map(|one| one.here.get())
    }
}

impl Running {
    fn name(&self) -> &'static str {
        self.health.report(0).name
    }

    fn status(&self) -> wire::SourceStatus {
        let now = clock::boot_ns();
        let report = self.health.report(now);
        let owes = self.health.owed_ns(now) > 0;
        let state = if owes { State::Blind } else { report.state };
        let hangs = if owes { "; the plugin hangs" } else { "" };
        wire::SourceStatus {
            name: report.name.into(),
            state: state.as_str().into(),
            summary: format!("{}{hangs}", report.sees()),
            polls: report.polls,
            errors: report.errors,
            interval_seconds: self.health.interval_seconds(),
        }
    }
}
