//! How prices moved on AWS, and whether they say how safe a machine is.
//!
//! Inputs: the data. Outputs: figures. Must never take a price on demand for another region's.

use crate::data::text;
use crate::{Bar, Figure};
use anyhow::Result;
use cloudsnooze_insight::economy::advisor;
use cloudsnooze_insight::economy::caps::{movement, price_says_risk};
use cloudsnooze_insight::economy::prices::{self, courses};
use std::path::Path;

/// Prices on demand of Linux machines in the regions us-east-1, us-east-2 and us-west-2 in 2020, US dollars an hour: the AWS price list.
const ON_DEMAND: [(&str, f64); 7] = [
    ("p2.xlarge", 0.90),
    ("p2.8xlarge", 7.20),
    ("p2.16xlarge", 14.40),
    ("p3.2xlarge", 3.06),
    ("p3.8xlarge", 12.24),
    ("p3.16xlarge", 24.48),
    ("p3dn.24xlarge", 31.212),
];

/// The figures.
///
/// # Errors
/// The data cannot be read.
pub fn markets(data: &Path) -> Result<Vec<Figure>> {
    let file = "dime-2020/aws-spot-prices.csv";
    let mut rows = prices::read(file, &text(data, file)?)?;
    rows.retain(|price| price.pool.region.starts_with("us-"));
    for price in &mut rows {
        let known = ON_DEMAND.iter().find(|(kind, _)| *kind == price.pool.instance_type);
        price.on_demand_usd_per_hour = known.map(|(_, usd)| *usd);
    }
    let moved = movement(&courses(&rows))?;
    let mut figures = vec![
        Figure::new("prices: pools in the US", (moved.pools + moved.short) as f64, Some(64.0), Bar::None),
        Figure::new("prices: range of a week, mean", moved.weekly_range, Some(0.026), Bar::Within(0.01)),
        Figure::new("prices: range of a week, largest pool", moved.weekly_range_max, Some(0.20), Bar::None),
        Figure::new("prices: largest step within an hour, mean", moved.hour_step, Some(0.017), Bar::Within(0.01)),
        Figure::new(
            "prices: over on demand, mean",
            moved.over_on_demand.unwrap_or(f64::NAN),
            Some(0.373),
            Bar::Within(0.02),
        ),
        Figure::new(
            "prices: over on demand, median",
            moved.over_on_demand_median.unwrap_or(f64::NAN),
            Some(0.310),
            Bar::Within(0.02),
        ),
        Figure::new("prices: pools that reached on demand", moved.ever_at_on_demand as f64, Some(6.0), Bar::None),
    ];
    for (year, file, reference) in [
        ("2025", "aws-spot-advisor/spot-advisor-2025-06-28.csv", 0.003),
        ("2021", "aws-spot-advisor/spot-advisor-2021-02-10.csv", -0.02),
    ] {
        let advice = advisor::read(file, &text(data, file)?)?;
        let (correlation, rows) = price_says_risk(&advice).unwrap_or((f64::NAN, 0));
        let name = format!("advisor {year}: savings and interruptions of {rows} rows (Spearman)");
        figures.push(Figure::new(name, correlation, Some(reference), Bar::Within(0.02)));
    }
    Ok(figures)
}
