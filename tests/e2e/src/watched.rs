//! A cloud's source that runs on a thread of the test, and what it told.
//!
//! Inputs: a cloud, its pace, what was told before. Outputs: events as they come, health. Must never wait without a bound.

use cloudsnooze::event::{Event, EventId, Moment};
use cloudsnooze::log_ring::LogRing;
use cloudsnooze::normalise::revise::Reviser;
use cloudsnooze::source::cloud::{Cloud, Pace};
use cloudsnooze::source::health::Report;
use cloudsnooze::source::poller::Poller;
use cloudsnooze::source::{Control, Health, Sink, Told as To};
use cloudsnooze::sys::bell::Bell;
use cloudsnooze::sys::clock;
use fake_metadata::Request;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest wait for anything that is to come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a source told.
#[derive(Debug)]
pub enum Told {
    /// A new event, or the withdrawal of one.
    Event(Arc<Event>),
    /// An event has another deadline.
    Moved(EventId, Moment),
}

struct Channel(Sender<Told>);

impl Sink for Channel {
    fn publish(&mut self, event: Arc<Event>) {
        let _ = self.0.send(Told::Event(event));
    }

    fn moved(&mut self, id: EventId, effective: Moment) {
        let _ = self.0.send(Told::Moved(id, effective));
    }
}

/// That errors in a row did not make looks rarer: the good answer after them is then asked for within an interval. `failed`:
/// the requests that failed, in order, six or more; where a look is a request or more, the first gaps are as long as the last.
///
/// # Panics
/// They became rarer, or were fewer than six.
pub fn assert_pace_kept(failed: &[Request], what: &str) {
    let gaps: Vec<u64> = failed.windows(2).map(|pair| pair[1].boot_ns - pair[0].boot_ns).collect();
    assert!(gaps.len() >= 5, "{what}: {gaps:?}");
    let longest_of = |gaps: &[u64]| gaps.iter().max().copied().unwrap_or_default();
    let (early, late) = gaps.split_at(gaps.len() / 2);
    // With waits that double, six errors would be eight intervals apart at the end.
    assert!(longest_of(late) < 4 * longest_of(early), "{what}: {gaps:?}");
}

/// A source that runs.
#[derive(Debug)]
pub struct Watched {
    told: Receiver<Told>,
    early: VecDeque<Told>,
    /// What it says of itself.
    pub health: Arc<Health>,
    /// Its bell and its pace.
    pub control: Arc<Control<Pace>>,
    thread: Option<JoinHandle<()>>,
}

impl Watched {
    /// Starts it. `make` is given the bell that ends its waiting.
    ///
    /// # Panics
    /// No descriptor is to be had.
    pub fn start<C: Cloud + 'static>(pace: Pace, reviser: Reviser, make: impl FnOnce(Arc<Bell>) -> C) -> Self {
        let control = Control::new(pace).expect("a descriptor");
        let poller = Poller::new(make(Arc::clone(&control.bell)), reviser, Arc::clone(&control), true);
        let (sender, told) = channel();
        let health = Poller::<C>::health();
        let shared = Arc::clone(&health);
        let thread = std::thread::spawn(move || {
            let log = LogRing::new(0);
            poller.run(&mut Channel(sender), To { health: &shared, log: &log });
        });
        Self { told, early: VecDeque::new(), health, control, thread: Some(thread) }
    }

    /// The next thing told.
    ///
    /// # Panics
    /// Nothing comes in time.
    pub fn tells(&mut self) -> Told {
        let told = self.early.pop_front().or_else(|| self.told.recv_timeout(PATIENCE).ok());
        told.unwrap_or_else(|| panic!("nothing was told; {}", self.report()))
    }

    /// The next thing told, which must be an event of this type.
    ///
    /// # Panics
    /// It is something else, or nothing comes in time.
    pub fn event(&mut self, event_type: &str) -> Arc<Event> {
        match self.tells() {
            Told::Event(event) if event.event_type.as_str() == event_type => event,
            other => panic!("expected {event_type}, found {other:?}"),
        }
    }

    /// Nothing was told that was not taken.
    ///
    /// # Panics
    /// Something was.
    pub fn assert_silent(&mut self) {
        self.early.extend(self.told.try_iter());
        assert!(self.early.is_empty(), "{:?}", self.early);
    }

    /// Its health now.
    pub fn report(&self) -> Report {
        self.health.report(clock::boot_ns())
    }

    /// Waits for a state of health.
    ///
    /// # Panics
    /// It does not come in time.
    pub fn until(&mut self, wanted: impl Fn(&Report) -> bool) -> Report {
        let started = Instant::now();
        loop {
            let report = self.report();
            if wanted(&report) {
                return report;
            }
            assert!(started.elapsed() < PATIENCE, "{report}");
            self.early.extend(self.told.recv_timeout(Duration::from_millis(10)));
        }
    }

    /// Ends it, also in the middle of a request.
    ///
    /// # Panics
    /// The source has panicked.
    pub fn stop(&mut self) {
        self.control.bell.stop();
        let Some(thread) = self.thread.take() else { return };
        thread.join().expect("the source does not panic");
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}
