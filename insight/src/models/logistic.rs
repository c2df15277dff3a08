//! Logistic regression of the next hour: age, size, zone, hour of the day, weekend.
//!
//! Inputs: lives. Outputs: forecasts, hour by hour. It must never be the only one that is believed: on the public set
//! it foresees later days better than any other, and other batches worse than a plain curve.

use super::features::{clock, log_size};
use super::glm::{self, Fitted, Link, Rows};
use super::hours::machine_hours;
use super::tally::Tally;
use super::{Ask, Forecast, Model, enough, sound};
use crate::{Life, Pool, Scarce};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Ages that it learns from, hours.
const AGES: u32 = 23;

/// After so many hours ahead the last is taken for all that follow.
const MOST_STEPS: u32 = 24 * 30;

/// Coefficients and the zones that have one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Logistic {
    zones: Vec<String>,
    fitted: Fitted,
    tally: Tally,
}

fn row(zones: &[String], pool: &Pool, age_h: f64, now_s: Option<f64>) -> Vec<f64> {
    let yes = |is: bool| f64::from(u8::from(is));
    let size = log_size(&pool.instance_type).unwrap_or_default();
    // Older machines than it has learned from are taken for as old as those.
    let age_h = age_h.min(f64::from(AGES - 1));
    let mut row = vec![1.0, age_h.ln_1p(), yes(age_h < 1.0), yes(age_h >= 20.0), size];
    row.extend(clock(now_s));
    row.extend(zones.iter().map(|zone| yes(*zone == pool.zone)));
    row
}

impl Model for Logistic {
    const NAME: &'static str = "logistic regression";

    fn fit(lives: &[Life]) -> Result<Self, Scarce> {
        let tally = enough(&sound(lives))?;
        // One zone is in the intercept.
        let zones: BTreeSet<&String> = lives.iter().map(|life| &life.pool.zone).collect();
        let zones: Vec<String> = zones.into_iter().skip(1).cloned().collect();
        let mut rows = Rows::default();
        let mut width = 0;
        for hour in machine_hours(lives, AGES) {
            let Some(life) = lives.get(hour.life) else { continue };
            let row = row(&zones, &life.pool, hour.age_h, Some(life.launched_s + hour.age_h * 3_600.0));
            width = row.len();
            rows.push(&row, 0.0, f64::from(u8::from(hour.interrupted)));
        }
        let ridges: Vec<f64> = (0..width).map(|at| if at == 0 { 1e-6 } else { 1.0 }).collect();
        let fitted = glm::fit(Link::Logit, &rows, &ridges, true)
            .ok_or_else(|| Scarce("no machine was watched for a whole hour".to_owned()))?;
        Ok(Self { zones, fitted, tally })
    }

    fn forecast(&self, ask: &Ask<'_>) -> Forecast {
        let (from, to) = ask.span_h();
        let (mut expected, mut variance, mut done) = (0.0, 0.0_f64, 0.0);
        for step in 0..MOST_STEPS {
            let left = to - from - done;
            if left <= 0.0 {
                break;
            }
            let ahead = f64::from(step);
            let row = row(&self.zones, ask.pool, from + ahead, ask.now_s.map(|now| now + ahead * 3_600.0));
            let hourly = -(1.0 - self.fitted.mean(&row, 0.0)).ln();
            let part = if step + 1 == MOST_STEPS { left } else { left.min(1.0) };
            expected += hourly * part;
            variance = variance.max(self.fitted.variance(&row));
            done += part;
        }
        Forecast { expected, shape: 1.0 / variance.max(1e-6) }
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}
