//! Why no price cap is set, in the numbers of whoever asks.
//!
//! Responsibilities: how much prices move, how near they come to the price on demand, and what a cap would have done. Inputs: courses
//! of prices, a snapshot of the Spot Advisor. Outputs: figures and an advice. Must never call a cap a bid: there is no auction at AWS
//! since 2017, at Azure and GCP there never was; a cap above the price buys nothing, one below it interrupts.

use super::advisor::Advice;
use super::prices::Course;
use super::ranks::spearman;
use crate::Scarce;
use serde::Serialize;

/// Seconds of a week and of an hour.
const WEEK_S: f64 = 7.0 * 86_400.0;
const HOUR_S: f64 = 3600.0;
/// Shortest course that says something about weeks, hours.
const HOURS_MIN: f64 = 200.0;
/// Hours that one course is looked at, at most: two years.
const HOURS_MAX: f64 = 17_520.0;

/// How the prices of many pools moved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Movement {
    /// Pools with a course long enough.
    pub pools: usize,
    /// Pools that were left out because their course is too short.
    pub short: usize,
    /// Days that the longest course covers.
    pub days: f64,
    /// Range of a week's prices over their mean: mean of all pools and weeks, and the largest mean of one pool.
    pub weekly_range: f64,
    #[allow(missing_docs, reason = "said above")]
    pub weekly_range_max: f64,
    /// Largest change within an hour over the price before: mean of all pools.
    pub hour_step: f64,
    /// Pools whose price on demand is known; the rest of the figures is of those.
    pub with_on_demand: usize,
    /// Mean price over the price on demand: mean and median of pools.
    pub over_on_demand: Option<f64>,
    #[allow(missing_docs, reason = "said above")]
    pub over_on_demand_median: Option<f64>,
    /// Pools whose price ever reached the price on demand.
    pub ever_at_on_demand: usize,
    /// What caps would have done.
    pub caps: Vec<Cap>,
}

/// What a cap would have done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cap {
    /// The cap over the first price of each pool.
    pub over_first_price: f64,
    /// Times that a price rose above it, a pool and 30 days.
    pub interruptions_per_month: f64,
    /// Part of the time in which there would have been no machine.
    pub without_machine: f64,
    /// Part of pools that it would have touched.
    pub touched: f64,
}

/// Caps that are tried, over the first price.
const CAPS: [f64; 4] = [1.02, 1.1, 1.5, 3.0];

/// Works the figures out.
///
/// # Errors
/// No pool was watched for long enough.
pub fn movement(courses: &[Course]) -> Result<Movement, Scarce> {
    let long: Vec<&Course> = courses
        .iter()
        .filter(|course| course.hours() >= HOURS_MIN && course.mean().is_some_and(|mean| mean > 0.0))
        .collect();
    if long.is_empty() {
        return Err(Scarce(format!(
            "none of {} pools has prices over {HOURS_MIN} h: too little to say how prices move",
            courses.len()
        )));
    }
    let weekly: Vec<f64> = long.iter().filter_map(|course| weekly_range(course)).collect();
    let mut over: Vec<f64> =
        long.iter().filter_map(|course| Some(course.mean()? / course.on_demand_usd_per_hour?)).collect();
    over.sort_by(f64::total_cmp);
    let is_ever_at = |course: &&&Course| {
        course.on_demand_usd_per_hour.is_some_and(|limit| course.changes.iter().any(|(_, price)| *price >= limit))
    };
    Ok(Movement {
        pools: long.len(),
        short: courses.len() - long.len(),
        days: long.iter().map(|course| course.hours()).fold(0.0, f64::max) / 24.0,
        weekly_range: mean(&weekly).unwrap_or(0.0),
        weekly_range_max: weekly.iter().copied().fold(0.0, f64::max),
        hour_step: mean(&long.iter().map(|course| hour_step(course)).collect::<Vec<_>>()).unwrap_or(0.0),
        with_on_demand: over.len(),
        over_on_demand: mean(&over),
        over_on_demand_median: over.get(over.len() / 2).copied(),
        ever_at_on_demand: long.iter().filter(is_ever_at).count(),
        caps: CAPS.iter().map(|factor| cap(&long, *factor)).collect(),
    })
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Mean over weeks of the range of prices in force, over their mean.
fn weekly_range(course: &Course) -> Option<f64> {
    let (first_s, _) = *course.changes.first()?;
    let weeks = (course.hours().min(HOURS_MAX) * HOUR_S / WEEK_S).ceil() as usize;
    let ranges: Vec<f64> = (0..weeks)
        .filter_map(|week| {
            let (from_s, to_s) = (first_s + week as f64 * WEEK_S, first_s + (week + 1) as f64 * WEEK_S);
            let inside =
                course.changes.iter().filter(|(at_s, _)| *at_s >= from_s && *at_s < to_s).map(|(_, price)| *price);
            let prices: Vec<f64> = course.at(from_s).into_iter().chain(inside).collect();
            let (low, high) =
                prices.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), p| (low.min(*p), high.max(*p)));
            mean(&prices).filter(|mean| *mean > 0.0).map(|mean| (high - low) / mean)
        })
        .collect();
    mean(&ranges)
}

/// The largest change of the price from one hour to the next, over the price before.
fn hour_step(course: &Course) -> f64 {
    let Some((first_s, _)) = course.changes.first() else { return 0.0 };
    let hours = course.hours().min(HOURS_MAX) as usize;
    let prices: Vec<f64> = (0..=hours).filter_map(|hour| course.at(first_s + hour as f64 * HOUR_S)).collect();
    let steps = prices.windows(2).filter_map(|pair| match pair {
        [before, after] if *before > 0.0 => Some((after / before - 1.0).abs()),
        _ => None,
    });
    steps.fold(0.0, f64::max)
}

/// What a cap of so many times the first price would have done.
fn cap(courses: &[&Course], over_first_price: f64) -> Cap {
    let (mut hours, mut hours_without, mut interruptions, mut touched) = (0.0, 0.0, 0_usize, 0_usize);
    for course in courses {
        let limit = course.changes.first().map_or(0.0, |(_, price)| price * over_first_price);
        hours += course.hours();
        let above: f64 = course.stretches().filter(|(_, price)| *price > limit).map(|(hours, _)| hours).sum();
        let rises = course
            .changes
            .windows(2)
            .filter(|pair| matches!(pair, [before, after] if before.1 <= limit && after.1 > limit));
        let rises = rises.count();
        hours_without += above;
        interruptions += rises;
        touched += usize::from(rises > 0);
    }
    Cap {
        over_first_price,
        interruptions_per_month: interruptions as f64 / (hours / 720.0).max(f64::MIN_POSITIVE),
        without_machine: hours_without / hours.max(f64::MIN_POSITIVE),
        touched: touched as f64 / courses.len().max(1) as f64,
    }
}

/// Rank correlation of what a type saves and how often it is interrupted, with the number of rows: whether a price says how safe a
/// machine is. Linux rows only, one a region and type.
#[must_use]
pub fn price_says_risk(advice: &[Advice]) -> Option<(f64, usize)> {
    let rows = advice.iter().filter(|row| row.os == "Linux");
    let pairs: Vec<(f64, f64)> = rows.map(|row| (row.savings_percent, f64::from(row.bucket))).collect();
    spearman(&pairs).map(|correlation| (correlation, pairs.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pool;

    /// 1.0 for a week, 1.2 for a week, then 1.0 again; seconds.
    fn course(on_demand: Option<f64>) -> Course {
        let changes = vec![(0.0, 1.0), (WEEK_S, 1.2), (2.0 * WEEK_S, 1.0), (3.0 * WEEK_S, 1.0)];
        Course { pool: Pool::default(), on_demand_usd_per_hour: on_demand, changes }
    }

    #[test]
    fn movement_and_caps_are_those_worked_out_by_hand() {
        let moved = movement(&[course(Some(1.2)), course(Some(4.0)), course(None)]).expect("figures");
        assert_eq!((moved.pools, moved.with_on_demand, moved.ever_at_on_demand), (3, 2, 1));
        assert!((moved.hour_step - 0.2).abs() < 1e-12 && moved.weekly_range.abs() < 1e-12, "{moved:?}");
        let mean = 3.2 / 3.0;
        assert!((moved.over_on_demand.expect("known") - mean * (1.0 / 1.2 + 0.25) / 2.0).abs() < 1e-12);
        let [tight, _, loose, _] = &moved.caps[..] else { panic!("{moved:?}") };
        assert!((tight.without_machine - 1.0 / 3.0).abs() < 1e-12 && tight.touched == 1.0);
        assert!((tight.interruptions_per_month - 30.0 / 21.0).abs() < 1e-12, "{tight:?}");
        assert_eq!((loose.without_machine, loose.interruptions_per_month), (0.0, 0.0));
    }

    #[test]
    fn free_machines_and_short_courses_give_a_sentence() {
        let free = Course { changes: vec![(0.0, 0.0), (4.0 * WEEK_S, 0.0)], ..course(None) };
        let short = Course { changes: vec![(0.0, 1.0), (60.0, 1.0)], ..course(None) };
        for courses in [&[][..], std::slice::from_ref(&free), &[short]] {
            assert!(movement(courses).expect_err("too little").0.contains("too little"));
        }
        let rises = Course { changes: vec![(0.0, 0.0), (WEEK_S, 1.0), (4.0 * WEEK_S, 0.0)], ..free };
        let moved = movement(&[rises]).expect("figures");
        assert!(moved.weekly_range.is_finite() && moved.hour_step.is_finite());
    }
}
