//! The published bathtub fit, done again; and why it is not what the project foresees with.
//!
//! Inputs: lives. Outputs: R² of each pool beside that of the paper and of an independent reproduction, and how many
//! machines were interrupted by an age if stopped ones are censored, left out, or taken for interrupted. It must
//! never be shown without the latter.

use crate::reference;
use anyhow::{Context, Result};
use cloudsnooze_insight::models::age_bins::{AgeBins, EDGES_H};
use cloudsnooze_insight::models::bathtub::{Shape, interrupted_only, other_forms, published, r_squared};
use cloudsnooze_insight::models::{Model, chance};
use cloudsnooze_insight::{Life, Outcome};
use serde::Serialize;

/// One fit.
#[derive(Clone, Debug, Serialize)]
pub struct Fit {
    /// What was fitted to.
    pub of: String,
    /// Interrupted machines.
    pub events: usize,
    /// The fit.
    pub shape: Shape,
    /// Its R².
    pub r_squared: f64,
    /// That of an independent reproduction.
    pub reference: Option<f64>,
    /// That of the paper.
    pub published: Option<f64>,
}

/// Shares that were interrupted by an age.
#[derive(Clone, Debug, Serialize)]
pub struct By {
    /// The age, hours.
    pub age_h: f64,
    /// Stopped machines are censored (life table).
    pub censored: f64,
    /// Stopped machines are left out, as published.
    pub left_out: f64,
    /// Stopped machines are taken for interrupted.
    pub taken: f64,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Published {
    /// The bathtub, by pool.
    pub fits: Vec<Fit>,
    /// R² of the exponential and of Weibull's distribution on all.
    pub others: (f64, f64),
    /// What censoring changes.
    pub censoring: Vec<By>,
}

/// Fits all.
pub fn run(lives: &[Life]) -> Result<Published> {
    let fit = |(of, reference, published_r2): &(&str, f64, f64)| -> Result<Option<Fit>> {
        let is_of = |life: &&Life| *of == "all" || life.pool.zone == *of || life.pool.instance_type == *of;
        let lives: Vec<Life> = lives.iter().filter(is_of).cloned().collect();
        let points = interrupted_only(&lives);
        let Ok(shape) = published(&points) else { return Ok(None) };
        let r_squared = r_squared(&points, |age| shape.unbounded(age)).context("no spread")?;
        let (reference, published) = (Some(*reference), Some(*published_r2));
        Ok(Some(Fit { of: (*of).to_owned(), events: points.len(), shape, r_squared, reference, published }))
    };
    let fits: Vec<Option<Fit>> = reference::R_SQUARED.iter().map(fit).collect::<Result<_>>()?;
    let points = interrupted_only(lives);
    let (rate, [scale, shape]) = other_forms(&points).context("no other form fits")?;
    let r2 = |curve: &dyn Fn(f64) -> f64| r_squared(&points, curve).context("no spread");
    let others = (r2(&|age| chance(rate * age))?, r2(&|age| chance((scale * age).powf(shape)))?);
    Ok(Published { fits: fits.into_iter().flatten().collect(), others, censoring: censoring(lives)? })
}

fn censoring(lives: &[Life]) -> Result<Vec<By>> {
    let table = AgeBins::fit(lives)?;
    let all: Vec<Life> = lives.iter().map(|life| Life { outcome: Outcome::Interrupted, ..life.clone() }).collect();
    let share = |lives: &[Life], age_h: f64| {
        let points = interrupted_only(lives);
        points.iter().rfind(|point| point.0 <= age_h).map_or(0.0, |point| point.1)
    };
    let ages = EDGES_H.into_iter().filter(|age| [1.0, 3.0, 6.0, 12.0, 23.0].contains(age));
    let by = |age_h| By {
        age_h,
        censored: chance(table.expected(0.0, age_h)),
        left_out: share(lives, age_h),
        taken: share(&all, age_h),
    };
    Ok(ages.map(by).collect())
}
