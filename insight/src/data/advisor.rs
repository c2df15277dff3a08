//! What AWS says about how often spot machines are interrupted: the Spot Instance Advisor.
//!
//! Inputs: a CSV text of one day. Outputs: entries, and for a type in a region the rate that its bucket stands for: a
//! prior, for when there is no history. It must never be taken for more than that: between two snapshots four years
//! apart, only a third of the types stood in the same bucket, and the savings it shows say nothing about
//! interruptions (Spearman's rank correlation .003 in 2025).

use super::{BadData, Rows};
use crate::models::prior::Prior;

/// Middles of the buckets: the share of machines that are interrupted in a month (<5, 5-10, 10-15, 15-20, >20 %).
const MONTHLY: [f64; 5] = [0.025, 0.075, 0.125, 0.175, 0.30];

/// Hours of a month.
const MONTH_H: f64 = 730.0;

/// How many events of its own a pool needs before they weigh as much as its bucket.
const WEIGHT_EVENTS: f64 = 2.0;

/// One type in one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `eu-central-1`.
    pub region: String,
    /// `Linux` or `Windows`.
    pub os: String,
    /// `m5.large`.
    pub instance_type: String,
    /// How much cheaper than on demand, per cent; below zero where it is dearer, which happens.
    pub savings_percent: i32,
    /// 0 to 4: interrupted less than 5, 5 to 10, 10 to 15, 15 to 20, more than 20 % of a month.
    pub bucket: u8,
}

/// Reads the columns region, os, `instance_type`, `savings_pct` and `interruption_bucket`.
///
/// # Errors
/// The first thing that is not as it should be, with its line.
pub fn read(text: &str) -> Result<Vec<Entry>, BadData> {
    let rows = Rows::open(text, &["region", "os", "instance_type", "savings_pct", "interruption_bucket"])?;
    let mut found = Vec::new();
    rows.each(|row| {
        let bucket = row.whole("interruption_bucket")?;
        let bucket = u8::try_from(bucket).ok().filter(|bucket| *bucket <= 4);
        let savings = row.text("savings_pct").parse().ok().filter(|savings| *savings <= 100);
        found.push(Entry {
            region: row.some("region")?.to_owned(),
            os: row.some("os")?.to_owned(),
            instance_type: row.some("instance_type")?.to_owned(),
            savings_percent: savings.ok_or_else(|| row.wrong("savings_pct", "whole per cents, at most 100"))?,
            bucket: bucket.ok_or_else(|| row.wrong("interruption_bucket", "a bucket, 0 to 4"))?,
        });
        Ok(())
    })?;
    Ok(found)
}

impl Entry {
    /// What its bucket says about a machine: λ = −ln(1 − f) / 730 h, worth two events. `age_days` is how old the
    /// snapshot is; it is part of what the prior says of itself.
    #[must_use]
    pub fn prior(&self, age_days: Option<u32>) -> Prior {
        let share = MONTHLY.get(usize::from(self.bucket)).copied().unwrap_or(MONTHLY[4]);
        let age = age_days.map_or_else(String::new, |days| format!(", {days} days old"));
        Prior {
            rate_per_hour: -(1.0 - share).ln() / MONTH_H,
            weight_events: WEIGHT_EVENTS,
            source: format!("Spot Instance Advisor, {} in {}{age}", self.instance_type, self.region),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_a_rate() {
        let text = "region,os,instance_type,vcpus,ram_gb,emr,savings_pct,interruption_bucket\n\
                    af-south-1,Linux,c5.12xlarge,48,96.0,1,70,2\n";
        let entries = read(text).unwrap();
        let prior = entries[0].prior(Some(100));
        assert!((prior.rate_per_hour - 0.000_182_9).abs() < 1e-6, "{prior:?}");
        assert!(prior.source.contains("c5.12xlarge in af-south-1, 100 days old"));
    }

    #[test]
    fn a_bucket_that_is_none_is_told_with_its_line() {
        let header = "region,os,instance_type,savings_pct,interruption_bucket\n";
        let said = |row: &str| read(&format!("{header}{row}")).unwrap_err().to_string();
        assert_eq!(
            said("r,Linux,t,70,5\n"),
            "line 2, column interruption_bucket: expected a bucket, 0 to 4, found `5`"
        );
        assert!(said("r,Linux,t,101,1\n").contains("column savings_pct"));
        assert!(said("r,Linux,t,x,1\n").contains("column savings_pct"));
        assert_eq!(read(&format!("{header}r,Linux,t,-62,1\n")).unwrap()[0].savings_percent, -62);
        assert!(said(",Linux,t,70,1\n").contains("column region: expected something"));
        assert!(read(header).unwrap().is_empty());
    }
}
