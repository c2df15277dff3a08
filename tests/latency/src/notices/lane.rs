//! A lane: one service, one client that watches it, and notices that become visible at random moments.
//!
//! Inputs: who watches, an interval, how many notices, a seed. Outputs: for each notice the nanoseconds from the moment the
//! service showed it to the moment it was published; the gaps between requests while every third fails. Must never put two
//! lanes on one service: they would wake each other.
//!
//! The moments are stratified: one in each of as many equal parts of the interval as there are notices, in random order, each
//! at a random place of its part. That is uniform, with far less noise of its own in the mean than independent moments.

use super::{Questions, questions};
use crate::stage;
use crate::stats::Numbers;
use cloudsnooze::sys::{clock, sched};
use fake_metadata::{Action, Activity, Effect, FakeMetadata, Fault, Options, Provider, Request};
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Longest wait for anything that is to come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Every so-manyth request for the notice fails.
const FAILS_EVERY: u32 = 3;

/// A client that runs.
pub struct Watcher {
    /// CLOCK_BOOTTIME whenever it had seen a notice, nanoseconds.
    pub seen: Receiver<i64>,
    /// Ends it; one without ends when its service does.
    pub stop: Option<Box<dyn FnOnce() + Send>>,
    /// Its thread, and what it has to say at its end.
    pub thread: JoinHandle<io::Result<i64>>,
}

/// Who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The daemon's source.
    Ours,
    /// The bare client.
    Bare,
}

/// What a lane is made of.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Whose service.
    pub provider: Provider,
    /// Seconds between polls.
    pub interval_seconds: f64,
    /// How many notices.
    pub notices: usize,
    /// How long every third request fails afterwards, seconds; none for the bare client.
    pub fault_seconds: f64,
    /// Where the random moments come from.
    pub seed: u64,
}

/// What a lane has found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Delay of each notice, nanoseconds.
    pub delays_ns: Vec<i64>,
    /// Gaps between the beginnings of two requests for the notice while every third failed, nanoseconds; where answers are
    /// held back, those after a failure.
    pub gaps_ns: Vec<i64>,
    /// The longest request of the bare client, nanoseconds.
    pub longest_request_ns: i64,
}

struct Lane {
    fake: FakeMetadata,
    activity: Receiver<Activity>,
    questions: Questions,
    interval: Duration,
}

/// Runs a lane to its end, on the calling thread, which is left on the service's CPU.
///
/// # Errors
/// What the system says; a notice that is not seen.
pub fn run(plan: Plan, who: Who) -> io::Result<Found> {
    // The service's thread inherits its place; what is measured goes to another CPU by itself.
    sched::place(0, &[stage::far_cpu()]);
    let (fake, activity) = FakeMetadata::start_watched(Options::of(plan.provider)).map_err(io::Error::other)?;
    let watcher = watch(plan, who, fake.address())?;
    let interval = Duration::from_secs_f64(plan.interval_seconds);
    let lane = Lane { fake, activity, questions: questions(plan.provider), interval };
    let mut found = Found { delays_ns: lane.notices(plan, &watcher)?, ..Found::default() };
    if who == Who::Ours && plan.fault_seconds > 0.0 {
        found.gaps_ns = lane.gaps(Duration::from_secs_f64(plan.fault_seconds))?;
    }
    let Watcher { stop, thread, .. } = watcher;
    if let Some(stop) = stop {
        stop();
    }
    // Ends the connection of the one that cannot be told.
    drop(lane);
    found.longest_request_ns = thread.join().map_err(|_| io::Error::other("the watcher panicked"))??;
    Ok(found)
}

fn watch(plan: Plan, who: Who, address: SocketAddr) -> io::Result<Watcher> {
    match who {
        Who::Ours => super::ours::watch(plan.provider, format!("http://{address}"), plan.interval_seconds),
        Who::Bare => super::bare::watch(plan.provider, address, plan.interval_seconds),
    }
}

impl Lane {
    fn notices(&self, plan: Plan, watcher: &Watcher) -> io::Result<Vec<i64>> {
        let mut from_ns = self.at_rest(0)?;
        let mut delays_ns = Vec::with_capacity(plan.notices);
        for (number, share) in moments(plan.notices, plan.seed).into_iter().enumerate() {
            sleep_until(from_ns + nanoseconds(self.interval.mul_f64(share)));
            // Far enough apart in time to be another notice than the one before.
            self.fake.notice(Action::Terminate, Duration::from_secs(if number % 2 == 0 { 120 } else { 600 }));
            let seen_ns = watcher
                .seen
                .recv_timeout(PATIENCE)
                .map_err(|_| io::Error::other(format!("{}: notice {number} is not seen", plan.provider)))?;
            let shown_ns = self.shown_ns();
            delays_ns.push(seen_ns - shown_ns);
            self.activity.try_iter().for_each(drop);
            self.fake.withdraw();
            from_ns = self.at_rest(self.shown_ns())?;
        }
        Ok(delays_ns)
    }

    /// When the last change became visible.
    fn shown_ns(&self) -> i64 {
        self.fake.changed_boot_ns().and_then(|ns| i64::try_from(ns).ok()).unwrap_or(i64::MAX)
    }

    /// Waits until the client has found that there is nothing, after `since_ns`; from when the next notice may come.
    fn at_rest(&self, since_ns: i64) -> io::Result<i64> {
        loop {
            let request = self.request(PATIENCE).ok_or_else(|| io::Error::other("nobody asks any more"))?;
            if !self.questions.is_held && boot_ns(&request) > since_ns {
                return Ok(boot_ns(&request));
            }
            // The question that was held is answered; the next one hangs.
            if self.questions.is_held {
                if !self.fake.wait_for_held(1, PATIENCE) {
                    return Err(io::Error::other("no question hangs"));
                }
                return Ok(clock::boot_ns());
            }
        }
    }

    /// The next request for the notice that was answered.
    fn request(&self, patience: Duration) -> Option<Request> {
        let started = Instant::now();
        loop {
            match self.activity.recv_timeout(patience.saturating_sub(started.elapsed())) {
                Ok(Activity::Request(request)) if self.questions.is_notice(&request.path) => return Some(request),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    fn gaps(&self, time: Duration) -> io::Result<Vec<i64>> {
        let notice: Vec<&str> = self.questions.paths.iter().take(1).filter_map(|path| path.split('?').next()).collect();
        self.activity.try_iter().for_each(drop);
        self.fake.set_fault(Fault::new(Effect::Status(500)).paths(notice).every(FAILS_EVERY));
        let (started, mut asked, mut number) = (Instant::now(), Vec::new(), 0_u32);
        while started.elapsed() < time {
            // A question that hangs is answered by a change only.
            if self.questions.is_held && self.fake.wait_for_held(1, self.interval) {
                number += 1;
                match number % 2 {
                    1 => self.fake.notice(Action::Terminate, Duration::from_secs(120)),
                    _ => self.fake.withdraw(),
                }
            }
            asked.extend(self.request(self.interval * 20));
        }
        let gaps: Vec<i64> = asked
            .windows(2)
            .filter(|two| !self.questions.is_held || two[0].status == Some(500))
            .map(|two| boot_ns(&two[1]) - boot_ns(&two[0]))
            .collect();
        match asked.iter().any(|request| request.status == Some(500)) && !gaps.is_empty() {
            true => Ok(gaps),
            false => Err(io::Error::other("no request failed")),
        }
    }
}

fn boot_ns(request: &Request) -> i64 {
    i64::try_from(request.boot_ns).unwrap_or(i64::MAX)
}

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

fn sleep_until(boot_ns: i64) {
    thread::sleep(Duration::from_nanos(u64::try_from(boot_ns - clock::boot_ns()).unwrap_or(0)));
}

/// When the notices come, as shares of the interval.
#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
fn moments(count: usize, seed: u64) -> Vec<f64> {
    let mut numbers = Numbers::new(seed);
    let mut parts: Vec<usize> = (0..count).collect();
    numbers.shuffle(&mut parts);
    let mut place = || (numbers.next() >> 11) as f64 / (1_u64 << 53) as f64;
    parts.into_iter().map(|part| (part as f64 + place()) / count as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notices::judge;

    #[test]
    fn the_moments_are_spread_over_the_interval_and_repeat_with_their_seed() {
        let mut found = moments(50, 7);
        assert_eq!(found, moments(50, 7));
        assert_ne!(found, moments(50, 8));
        found.sort_by(f64::total_cmp);
        for (part, moment) in found.into_iter().enumerate() {
            assert!((part as f64 / 50.0..=(part as f64 + 1.0) / 50.0).contains(&moment), "{part}: {moment}");
        }
    }

    /// Both kinds of client, both kinds of service, for real.
    #[test]
    fn a_source_that_looks_only_every_second_interval_gets_a_bad_verdict() {
        let said = Duration::from_millis(100);
        let plan = |provider, interval: Duration| Plan {
            provider,
            interval_seconds: interval.as_secs_f64(),
            notices: 20,
            fault_seconds: 2.0,
            seed: 1,
        };
        let found = run(plan(Provider::Tencent, said * 2), Who::Ours).expect("every notice is seen");
        assert_eq!(found.delays_ns.len(), 20);
        let wrong = judge::polled(&found.delays_ns, nanoseconds(said), 0);
        assert!(wrong.iter().any(|text| text.starts_with("mean delay")), "{wrong:?}");
        assert!(!judge::gaps(&found.gaps_ns, nanoseconds(said), 0).is_empty());
    }

    #[test]
    fn every_provider_is_watched_by_both_clients() {
        for provider in Provider::ALL {
            for who in [Who::Ours, Who::Bare] {
                let plan = Plan { provider, interval_seconds: 0.5, notices: 4, fault_seconds: 2.5, seed: 1 };
                let found = run(plan, who).unwrap_or_else(|error| panic!("{provider}, {who:?}: {error}"));
                assert!(
                    found.delays_ns.len() == 4 && found.delays_ns.iter().all(|ns| *ns > 0),
                    "{provider}: {found:?}"
                );
                assert_eq!(found.gaps_ns.is_empty(), who == Who::Bare, "{provider}");
                assert_eq!(found.longest_request_ns > 0, who == Who::Bare, "{provider}");
            }
        }
    }
}
