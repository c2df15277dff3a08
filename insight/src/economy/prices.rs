//! What spot machines cost, and when that changed.
//!
//! Responsibilities: price observations, and the course of a pool's price. Inputs: a table with the columns `az` or `zone`,
//! `instance_type`, `timestamp_utc` or `at` (RFC 3339 or seconds) and `usd_per_hour`, and where known `provider`, `region` and
//! `on_demand_usd_per_hour`: the form of the public set of Stanford's DIME project (stanford-futuredata/training_on_a_dime), and of
//! what is fetched
//! from AWS. Outputs: [`Price`]s, [`Course`]s. Must never take a change that was told twice for two.

use super::columns;
use crate::{Pool, Scarce};
use std::collections::BTreeMap;

/// One observation.
#[derive(Clone, Debug, PartialEq)]
pub struct Price {
    /// What it is the price of.
    pub pool: Pool,
    /// From when on it holds, seconds since 1970, UTC.
    pub at_s: f64,
    /// The price, US dollars an hour.
    pub usd_per_hour: f64,
    /// The price on demand, where the table has it.
    pub on_demand_usd_per_hour: Option<f64>,
}

/// Reads a table of prices.
///
/// # Errors
/// A sentence with the line that is wrong.
pub fn read(name: &str, text: &str) -> Result<Vec<Price>, Scarce> {
    let required: [&[&str]; 4] =
        [&["zone", "az"], &["instance_type"], &["timestamp_utc", "at", "time_utc"], &["usd_per_hour"]];
    columns::rows(name, text, &required, |row| {
        let word = |names: &[&str]| row.text(names).unwrap_or_default().to_owned();
        let zone = word(&["zone", "az"]);
        let provider = row.text(&["provider"]).unwrap_or("aws").to_owned();
        let region = row.text(&["region"]).map_or_else(|| region_of(&zone), str::to_owned);
        Ok(Some(Price {
            pool: Pool { provider, region, zone, instance_type: word(&["instance_type"]) },
            at_s: row.moment(&["timestamp_utc", "at", "time_utc"])?.ok_or("there is no timestamp_utc")?,
            usd_per_hour: row.amount(&["usd_per_hour"])?,
            on_demand_usd_per_hour: row.number(&["on_demand_usd_per_hour"])?.filter(|price| *price > 0.0),
        }))
    })
}

/// The region of a zone, where its name has the form of one: `us-east-1` of `us-east-1a` (AWS), `us-central1` of `us-central1-c` (GCP).
#[must_use]
pub fn region_of(zone: &str) -> String {
    let without = zone.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let is_letter = zone.len() == without.len() + 1;
    if is_letter && !without.is_empty() { without.trim_end_matches('-').to_owned() } else { zone.to_owned() }
}

/// The course of one pool's price.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// What it is the price of.
    pub pool: Pool,
    /// The price on demand, US dollars an hour, where it is known.
    pub on_demand_usd_per_hour: Option<f64>,
    /// Moments (seconds since 1970, rising) and the price from then on; not empty.
    pub changes: Vec<(f64, f64)>,
}

/// The courses of all pools, in the order of pools. Of two observations of one moment the first counts.
#[must_use]
pub fn courses(prices: &[Price]) -> Vec<Course> {
    let mut pools: BTreeMap<&Pool, Course> = BTreeMap::new();
    for price in prices {
        let course = pools.entry(&price.pool).or_insert_with(|| Course {
            pool: price.pool.clone(),
            on_demand_usd_per_hour: None,
            changes: Vec::new(),
        });
        course.changes.push((price.at_s, price.usd_per_hour));
        course.on_demand_usd_per_hour = course.on_demand_usd_per_hour.or(price.on_demand_usd_per_hour);
    }
    let mut courses: Vec<Course> = pools.into_values().collect();
    for course in &mut courses {
        course.changes.sort_by(|one, other| one.0.total_cmp(&other.0));
        course.changes.dedup_by(|later, first| later.0 <= first.0);
    }
    courses
}

impl Course {
    /// The price at a moment; before the first observation there is none.
    #[must_use]
    pub fn at(&self, moment_s: f64) -> Option<f64> {
        let next = self.changes.partition_point(|(at_s, _)| *at_s <= moment_s);
        next.checked_sub(1).and_then(|last| self.changes.get(last)).map(|(_, price)| *price)
    }

    /// The last price that was seen.
    #[must_use]
    pub fn last(&self) -> Option<f64> {
        self.changes.last().map(|(_, price)| *price)
    }

    /// Hours from the first observation to the last.
    #[must_use]
    pub fn hours(&self) -> f64 {
        match (self.changes.first(), self.changes.last()) {
            (Some((from_s, _)), Some((to_s, _))) => (to_s - from_s) / 3600.0,
            _ => 0.0,
        }
    }

    /// Stretches of one price: its length in hours, and the price. What holds since the last observation has no length.
    pub fn stretches(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.changes.windows(2).filter_map(|pair| match pair {
            [(from_s, price), (to_s, _)] => Some(((to_s - from_s) / 3600.0, *price)),
            _ => None,
        })
    }

    /// The mean over time; of one observation, that price.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let (hours, sum) =
            self.stretches().fold((0.0, 0.0), |(hours, sum), (length, price)| (hours + length, sum + length * price));
        if hours > 0.0 { Some(sum / hours) } else { self.last() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_become_courses_and_what_was_told_twice_counts_once() {
        let text = "az,instance_type,timestamp_utc,usd_per_hour\n\
            us-east-1a,p2.xlarge,1970-01-01T02:00:00Z,0.3\n\
            us-east-1a,p2.xlarge,1970-01-01T00:00:00Z,0.1\n\
            us-east-1a,p2.xlarge,1970-01-01T00:00:00Z,0.1\n\
            us-east-1a,p2.xlarge,1970-01-01T01:00:00Z,0\n";
        let courses = courses(&read("p", text).expect("prices"));
        let [course] = &courses[..] else { panic!("{courses:?}") };
        assert_eq!((course.pool.region.as_str(), course.pool.provider.as_str()), ("us-east-1", "aws"));
        assert_eq!(course.changes, [(0.0, 0.1), (3600.0, 0.0), (7200.0, 0.3)]);
        assert_eq!(
            (course.at(-1.0), course.at(0.0), course.at(5000.0), course.last()),
            (None, Some(0.1), Some(0.0), Some(0.3))
        );
        assert!((course.mean().expect("a mean") - 0.05).abs() < 1e-12 && (course.hours() - 2.0).abs() < 1e-12);
    }

    #[test]
    fn a_zone_names_its_region() {
        for (zone, region) in
            [("us-east-1a", "us-east-1"), ("us-central1-c", "us-central1"), ("westeurope", "westeurope"), ("", "")]
        {
            assert_eq!(region_of(zone), region);
        }
        assert!(read("p", "az,instance_type,timestamp_utc,usd_per_hour\na,b,now,1\n").is_err());
    }
}
