//! How fast the way to the store is, from the requests that carry files.
//!
//! Inputs: when each request began and ended, and its bytes. Outputs: bytes a second. Pure. Must never guess before a request
//! has ended, but for a bound from above: a single slow part must show before it is through.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Bodies below this say more about the round trip than about the way.
pub(crate) const LEAST_BYTES: u64 = 1 << 20;
/// What is older than this does not count: the way may have changed, as when a machine's burst of bandwidth is over.
const WINDOW: Duration = Duration::from_secs(15);

/// What is known of the speed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Speed {
    /// Bytes a second.
    Known(f64),
    /// No request has ended yet; those that run show that it is less than this.
    AtMost(f64),
    /// Nothing.
    Unknown,
}

/// One request, which moved its bytes evenly.
#[derive(Clone, Copy, Debug)]
struct Sent {
    bytes: f64,
    began: Instant,
    ended: Instant,
}

/// The requests of the last seconds.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    next: u64,
    running: HashMap<u64, (u64, Instant)>,
    sent: Vec<Sent>,
}

impl Meter {
    /// A request with so many bytes begins.
    pub(crate) fn begin(&mut self, bytes: u64, now: Instant) -> u64 {
        self.next += 1;
        self.running.insert(self.next, (bytes, now));
        self.next
    }

    /// It is over; only what the store took counts.
    pub(crate) fn end(&mut self, number: u64, is_taken: bool, now: Instant) {
        let Some((bytes, began)) = self.running.remove(&number) else { return };
        if is_taken {
            self.sent.push(Sent { bytes: to_f64(bytes), began, ended: now.max(began + Duration::from_millis(1)) });
        }
        self.sent.retain(|sent| now.saturating_duration_since(sent.ended) < WINDOW);
    }

    /// Forgets what was before.
    pub(crate) fn clear(&mut self) {
        (self.running, self.sent) = Default::default();
    }

    /// As of now.
    pub(crate) fn speed(&self, now: Instant) -> Speed {
        let from = now.checked_sub(WINDOW).unwrap_or(now);
        let moved: f64 = self.sent.iter().map(|sent| sent.within(from)).sum();
        if moved <= 0.0 {
            let bound = |(bytes, began): &(u64, Instant)| {
                to_f64(*bytes) / now.saturating_duration_since(*began).as_secs_f64().max(1e-3)
            };
            let running: Vec<f64> = self.running.values().map(bound).collect();
            return if running.is_empty() { Speed::Unknown } else { Speed::AtMost(running.iter().sum()) };
        }
        let flying: f64 = self.running.values().map(|one| self.moved_by(*one, from, now)).sum();
        Speed::Known((moved + flying) / self.busy(from, now).max(1e-3))
    }

    /// Bytes that requests which still run have moved by now, as the others did.
    pub(crate) fn flying(&self, now: Instant) -> f64 {
        self.running.values().map(|(bytes, began)| self.moved_by((*bytes, *began), *began, now)).sum()
    }

    /// Bytes that a running request moved from `from` to `now`, at the pace of those that have ended.
    fn moved_by(&self, (bytes, began): (u64, Instant), from: Instant, now: Instant) -> f64 {
        let time: f64 = self.sent.iter().map(|sent| (sent.ended - sent.began).as_secs_f64()).sum();
        let pace = self.sent.iter().map(|sent| sent.bytes).sum::<f64>() / time.max(1e-3);
        let seconds = now.saturating_duration_since(began.max(from)).as_secs_f64();
        (pace * seconds).min(to_f64(bytes))
    }

    /// Seconds from `from` to `now` in which anything was on its way.
    fn busy(&self, from: Instant, now: Instant) -> f64 {
        let ended = self.sent.iter().map(|sent| (sent.began.max(from), sent.ended));
        let running = self.running.values().map(|(_, began)| ((*began).max(from), now));
        let mut spans: Vec<(Instant, Instant)> = ended.chain(running).filter(|(began, ended)| ended > began).collect();
        spans.sort_unstable();
        let (mut total, mut until) = (Duration::ZERO, from);
        for (began, ended) in spans {
            total += ended.saturating_duration_since(began.max(until));
            until = until.max(ended);
        }
        total.as_secs_f64()
    }
}

impl Sent {
    /// Bytes moved since `from`.
    fn within(&self, from: Instant) -> f64 {
        let whole = (self.ended - self.began).as_secs_f64();
        self.bytes * self.ended.saturating_duration_since(self.began.max(from)).as_secs_f64() / whole
    }
}

#[allow(clippy::cast_precision_loss, reason = "an estimate")]
pub(crate) fn to_f64(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;

    fn known(meter: &Meter, now: Instant) -> f64 {
        match meter.speed(now) {
            Speed::Known(speed) => speed / to_f64(MB),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn parts_side_by_side_count_from_the_first_that_is_through() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        assert_eq!(meter.speed(start), Speed::Unknown);
        let parts: Vec<u64> = (0..8).map(|_| meter.begin(8 * MB, start)).collect();
        // 64 MB in 2 s: 32 MB/s, of which one is through and the others nearly.
        meter.end(parts[0], true, at(2.0));
        let speed = known(&meter, at(2.0));
        assert!((speed - 32.0).abs() < 0.5, "{speed}");
        assert!((meter.flying(at(2.0)) / to_f64(MB) - 56.0).abs() < 1.0);
    }

    #[test]
    fn one_that_does_not_end_shows_how_slow_it_is_at_least() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        meter.begin(8 * MB, start);
        let Speed::AtMost(bound) = meter.speed(start + Duration::from_secs(4)) else { panic!() };
        assert!((bound - 2e6).abs() < 1.0, "{bound}");
    }

    #[test]
    fn pauses_do_not_count_and_failures_neither() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let first = meter.begin(10 * MB, start);
        meter.end(first, true, at(1.0));
        let lost = meter.begin(100 * MB, at(4.0));
        meter.end(lost, false, at(5.0));
        let second = meter.begin(10 * MB, at(6.0));
        meter.end(second, true, at(7.0));
        let speed = known(&meter, at(8.0));
        assert!((speed - 10.0).abs() < 0.5, "{speed}");
    }

    #[test]
    fn what_is_long_ago_does_not_count() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let fast = meter.begin(1000 * MB, start);
        meter.end(fast, true, at(1.0));
        let slow = meter.begin(10 * MB, at(20.0));
        meter.end(slow, true, at(30.0));
        let speed = known(&meter, at(30.0));
        assert!((speed - 1.0).abs() < 0.1, "{speed}");
        meter.clear();
        assert_eq!(meter.speed(at(30.0)), Speed::Unknown);
    }
}
