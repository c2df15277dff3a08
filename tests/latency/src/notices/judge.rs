//! What is good enough, and what is said when it is not.
//!
//! Inputs: delays, gaps, costs. Outputs: figures and complaints; no complaint is a good verdict. Pure. Must never drop a
//! sample, or call nothing at all good.
//!
//! A client that looks once in an interval sees a notice after a time that is uniform between nothing and the interval: half of
//! it on average. A longer mean is a client that looks less often than it says, a longer maximum one that sometimes forgets.

use crate::stats::percentile_us;
use serde::Serialize;

/// How far the mean may be from half an interval, in intervals.
const MEAN_OFF_MAX: f64 = 0.05;
/// Longest delay, in intervals: the source's jitter is a twentieth. One request comes on top.
const LATEST: f64 = 1.05;
/// The Kolmogorov distance that a uniform sample exceeds once in a hundred times, times the root of its size.
const KOLMOGOROV_1_PERCENT: f64 = 1.63;
/// How much later than the bare client a source may be whose service holds answers back, p99, microseconds.
const ABOVE_FLOOR_MAX_US: f64 = 5_000.0;
/// How much more memory a daemon may hold at the end, KiB. One that was watched for 76 minutes touched 76 KiB more from minute 9
/// to 68; then 276 KiB of the program's file came back, which a run of that length would call growth.
const GROWTH_MAX_KIB: i64 = 128;
/// Most of a core that watching may cost, per cent.
const PERCENT_MAX: f64 = 0.5;

/// Delays of one client.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Delays {
    /// How many.
    pub count: usize,
    /// Milliseconds.
    pub p50_ms: f64,
    /// Milliseconds.
    pub p99_ms: f64,
    /// Milliseconds.
    pub max_ms: f64,
    /// In intervals.
    pub mean_intervals: f64,
    /// In intervals.
    pub max_intervals: f64,
    /// Greatest distance between the shares of delays and those of a uniform one.
    pub kolmogorov: f64,
}

/// The figures of some delays, nanoseconds. The interval is in nanoseconds.
#[allow(clippy::cast_precision_loss, reason = "below 2^53")]
pub fn delays(delays_ns: &[i64], interval_ns: i64) -> Delays {
    let mut shares: Vec<f64> = delays_ns.iter().map(|ns| *ns as f64 / interval_ns as f64).collect();
    shares.sort_by(f64::total_cmp);
    let count = shares.len() as f64;
    let distance = |(number, share): (usize, &f64)| {
        let (uniform, below) = (share.clamp(0.0, 1.0), number as f64 / count);
        (uniform - below).abs().max((below + 1.0 / count - uniform).abs())
    };
    let ms = |percentile| percentile_us(delays_ns, percentile) / 1e3;
    Delays {
        count: shares.len(),
        p50_ms: ms(50.0),
        p99_ms: ms(99.0),
        max_ms: ms(100.0),
        mean_intervals: shares.iter().sum::<f64>() / count,
        max_intervals: shares.last().copied().unwrap_or(f64::NAN),
        kolmogorov: shares.iter().enumerate().map(distance).fold(0.0, f64::max),
    }
}

/// What is wrong with the delays of a source that looks once in an interval. `request_ns`: how long one request may take.
#[allow(clippy::cast_precision_loss, reason = "below 2^53")]
pub fn polled(delays_ns: &[i64], interval_ns: i64, request_ns: i64) -> Vec<String> {
    if delays_ns.is_empty() {
        return vec!["no notice".into()];
    }
    let found = delays(delays_ns, interval_ns);
    let mut wrong = Vec::new();
    if (found.mean_intervals - 0.5).abs() > MEAN_OFF_MAX {
        wrong.push(format!("mean delay {:.3} intervals, not 0.5 +- {MEAN_OFF_MAX}", found.mean_intervals));
    }
    wrong.extend(late("longest delay", delays_ns, interval_ns, request_ns));
    if found.kolmogorov > KOLMOGOROV_1_PERCENT / (found.count as f64).sqrt() {
        wrong.push(format!("not uniform: Kolmogorov distance {:.3}", found.kolmogorov));
    }
    wrong
}

/// What is wrong with the delays of a source whose service holds its answers back, by those of the bare client.
pub fn held(delays_ns: &[i64], floor_ns: &[i64]) -> Vec<String> {
    if delays_ns.is_empty() || floor_ns.is_empty() {
        return vec!["no notice".into()];
    }
    let above_us = percentile_us(delays_ns, 99.0) - percentile_us(floor_ns, 99.0);
    let is_wrong = above_us > ABOVE_FLOOR_MAX_US;
    is_wrong.then(|| format!("p99 is {:.2} ms above the floor's", above_us / 1e3)).into_iter().collect()
}

/// What is wrong with the gaps between requests while every third failed.
pub fn gaps(gaps_ns: &[i64], interval_ns: i64, request_ns: i64) -> Vec<String> {
    if gaps_ns.is_empty() {
        return vec!["no request".into()];
    }
    late("longest gap between requests", gaps_ns, interval_ns, request_ns).into_iter().collect()
}

#[allow(clippy::cast_precision_loss, reason = "below 2^53")]
fn late(what: &str, times_ns: &[i64], interval_ns: i64, request_ns: i64) -> Option<String> {
    let (longest, interval) = (times_ns.iter().copied().max()? as f64, interval_ns as f64);
    let is_late = longest > LATEST * interval + request_ns as f64;
    let request_ms = request_ns as f64 / 1e6;
    is_late.then(|| {
        format!("{what} {:.3} intervals, over {LATEST} and one request ({request_ms:.1} ms)", longest / interval)
    })
}

/// What a process held at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Holdings {
    /// Resident memory, KiB.
    pub rss_kib: i64,
    /// Open descriptors.
    pub descriptors: i64,
    /// Established connections, counted at the service.
    pub connections: i64,
}

/// What is wrong with the cost of watching: per cent of a core, what was held near the beginning and at the end.
pub fn cost(percent: f64, before: Holdings, after: Holdings) -> Vec<String> {
    let mut wrong = Vec::new();
    if percent.is_nan() || percent > PERCENT_MAX {
        wrong.push(format!("{percent:.3} % of a core, over {PERCENT_MAX}"));
    }
    for (what, before, after, most) in [
        ("KiB of memory", before.rss_kib, after.rss_kib, GROWTH_MAX_KIB),
        ("descriptors", before.descriptors, after.descriptors, 0),
        ("connections", before.connections, after.connections, 0),
    ] {
        if after - before > most {
            wrong.push(format!("{before} {what} became {after}"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL_NS: i64 = 200_000_000;
    const REQUEST_NS: i64 = 1_000_000;

    /// So many delays, evenly spread up to a share of the interval.
    fn spread(count: i64, up_to: f64) -> Vec<i64> {
        (0..count).map(|n| ((n as f64 + 0.5) / count as f64 * up_to * INTERVAL_NS as f64) as i64).collect()
    }

    #[test]
    fn delays_that_are_uniform_over_the_interval_are_good() {
        assert_eq!(polled(&spread(200, 1.0), INTERVAL_NS, REQUEST_NS), Vec::<String>::new());
        let figures = delays(&spread(200, 1.0), INTERVAL_NS);
        assert!((figures.mean_intervals - 0.5).abs() < 0.001 && figures.kolmogorov < 0.01, "{figures:?}");
    }

    #[test]
    fn a_source_that_looks_only_every_second_interval_is_bad_in_every_respect() {
        assert_eq!(polled(&spread(200, 2.0), INTERVAL_NS, REQUEST_NS).len(), 3);
        assert_eq!(gaps(&[INTERVAL_NS * 2], INTERVAL_NS, REQUEST_NS).len(), 1);
    }

    #[test]
    fn one_notice_that_waits_for_a_second_poll_is_enough() {
        let mut delays = spread(200, 1.0);
        delays.push(INTERVAL_NS * 3 / 2);
        let wrong = polled(&delays, INTERVAL_NS, REQUEST_NS);
        assert!(wrong.len() == 1 && wrong[0].starts_with("longest delay 1.500 intervals"), "{wrong:?}");
    }

    #[test]
    fn the_right_mean_of_the_wrong_distribution_is_bad() {
        let wrong = polled(&vec![INTERVAL_NS / 2; 200], INTERVAL_NS, REQUEST_NS);
        assert!(wrong.len() == 1 && wrong[0].contains("Kolmogorov distance 0.5"), "{wrong:?}");
        // Too soon is wrong, too: then it asks more often than it may.
        assert!(!polled(&spread(200, 0.5), INTERVAL_NS, REQUEST_NS).is_empty());
    }

    #[test]
    fn nothing_seen_is_never_good() {
        assert!(!polled(&[], INTERVAL_NS, REQUEST_NS).is_empty());
        assert!(!held(&[], &[]).is_empty() && !gaps(&[], INTERVAL_NS, REQUEST_NS).is_empty());
    }

    #[test]
    fn a_held_answer_is_judged_by_what_comes_on_top_of_the_floor() {
        let floor = [10_000_000; 100];
        assert!(held(&[14_000_000; 100], &floor).is_empty());
        assert_eq!(held(&[16_000_000; 100], &floor).len(), 1);
    }

    #[test]
    fn a_gap_may_last_an_interval_its_jitter_and_one_request() {
        assert!(gaps(&[INTERVAL_NS, INTERVAL_NS * 105 / 100 + REQUEST_NS], INTERVAL_NS, REQUEST_NS).is_empty());
        assert_eq!(gaps(&[INTERVAL_NS * 105 / 100 + 2 * REQUEST_NS], INTERVAL_NS, REQUEST_NS).len(), 1);
    }

    #[test]
    fn whatever_grows_is_a_complaint_and_so_is_a_busy_core() {
        let before = Holdings { rss_kib: 16_000, descriptors: 20, connections: 1 };
        assert!(cost(0.1, before, before).is_empty());
        let after = Holdings { rss_kib: 16_129, descriptors: 21, connections: 2 };
        assert_eq!(cost(0.6, before, after).len(), 4);
        assert_eq!(cost(f64::NAN, before, before).len(), 1);
    }
}
