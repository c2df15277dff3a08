//! What AWS publishes of each type: how often machines are interrupted in a month, and what they save.
//!
//! Responsibilities: read a snapshot of the Spot Instance Advisor, and what a bucket means. Inputs: a table with the columns `region`,
//! `os`, `instance_type`, `savings_pct`, `interruption_bucket` (0 to 4), as github.com/alexei-led/spotinfo's feed has them. Outputs:
//! [`Advice`]. Must never be the last word: two snapshots four years apart agree in one bucket of three.

use super::columns;
use crate::{Pool, Scarce};

/// Hours in a month, as the buckets count them.
const MONTH_H: f64 = 730.0;
/// Middle of each bucket, part of the machines of a month: below 5 %, 5 to 10, 10 to 15, 15 to 20, above 20 %.
const BUCKETS: [f64; 5] = [0.025, 0.075, 0.125, 0.175, 0.30];
/// The buckets as people read them.
const BUCKET_NAMES: [&str; 5] = ["<5 %", "5-10 %", "10-15 %", "15-20 %", ">20 %"];

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// Region and type; zones are not told apart.
    pub pool: Pool,
    /// `Linux`, `Windows`.
    pub os: String,
    /// What spot costs less than on demand, percent; below zero where it costs more, as some types in the feed do.
    pub savings_percent: f64,
    /// 0 to 4.
    pub bucket: u8,
}

/// Reads a snapshot.
///
/// # Errors
/// A sentence with the line that is wrong.
pub fn read(name: &str, text: &str) -> Result<Vec<Advice>, Scarce> {
    let required: [&[&str]; 4] = [&["region"], &["instance_type"], &["savings_pct"], &["interruption_bucket"]];
    columns::rows(name, text, &required, |row| {
        let word = |names: &[&str]| row.text(names).unwrap_or_default().to_owned();
        let bucket = row.amount(&["interruption_bucket"])?;
        if bucket.fract() != 0.0 || bucket >= BUCKETS.len() as f64 {
            return Err(format!("interruption_bucket is {bucket}: expected 0 to 4"));
        }
        let savings = row.number(&["savings_pct"])?.ok_or("there is no savings_pct")?;
        if savings > 100.0 {
            return Err(format!("savings_pct is {savings}: expected at most 100"));
        }
        Ok(Some(Advice {
            pool: Pool {
                provider: "aws".to_owned(),
                region: word(&["region"]),
                zone: String::new(),
                instance_type: word(&["instance_type"]),
            },
            os: row.text(&["os"]).unwrap_or("Linux").to_owned(),
            savings_percent: savings,
            bucket: bucket as u8,
        }))
    })
}

/// Interruptions an hour that a bucket stands for.
#[must_use]
pub fn rate_per_hour(bucket: u8) -> f64 {
    let part = BUCKETS.get(usize::from(bucket)).copied().unwrap_or(0.30);
    -(1.0 - part).ln() / MONTH_H
}

/// The bucket in words.
#[must_use]
pub fn bucket_name(bucket: u8) -> &'static str {
    BUCKET_NAMES.get(usize::from(bucket)).copied().unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_read_and_a_bucket_is_a_rate() {
        let text = "region,os,instance_type,vcpus,ram_gb,emr,savings_pct,interruption_bucket\nus-east-1,Linux,m5.large,2,8,1,70,3\n";
        let [advice] = &read("a", text).expect("a snapshot")[..] else { panic!("one row") };
        assert_eq!((advice.pool.instance_type.as_str(), advice.bucket, advice.savings_percent), ("m5.large", 3, 70.0));
        let survives_month = (-rate_per_hour(3) * 730.0).exp();
        assert!((survives_month - 0.825).abs() < 1e-12);
        assert!(read("a", &text.replace(",3\n", ",5\n")).is_err() && read("a", &text.replace(",3\n", ",x\n")).is_err());
        assert_eq!(read("a", &text.replace(",70,", ",-62,")).expect("dearer")[0].savings_percent, -62.0);
        for (row, why) in [("r,Linux,t,1,1,1,70,5", "interruption_bucket"), ("r,Linux,t,1,1,1,101,1", "savings_pct")] {
            let said = read("a", &format!("{}\n{row}\n", text.lines().next().unwrap_or_default())).expect_err(row).0;
            assert!(said.starts_with("a, line 2: ") && said.contains(why), "{said}");
        }
        assert_eq!((bucket_name(0), bucket_name(9)), ("<5 %", "unknown"));
    }
}
