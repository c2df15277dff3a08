//! What was saved so far.
//!
//! Responsibilities: add up what machines cost against what they would have cost on demand, and what interruptions took back. Inputs:
//! lives with prices. Outputs: [`Savings`]. Must never count a life whose prices are not known, nor hide how many there are.

use super::lives::PaidLife;
use crate::{Level, Pool, Scarce};
use serde::Serialize;
use std::collections::BTreeMap;

/// Sums over lives.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Savings {
    /// Lives whose prices are known, and their hours.
    pub lives: usize,
    #[allow(missing_docs, reason = "said above")]
    pub hours: f64,
    /// Lives that are left out because a price is not known, and their hours.
    pub without_price: usize,
    #[allow(missing_docs, reason = "said above")]
    pub hours_without_price: f64,
    /// What was paid, US dollars.
    pub paid_usd: f64,
    /// What the same hours cost on demand, US dollars.
    pub on_demand_usd: f64,
    /// Interruptions among them.
    pub interruptions: usize,
    /// What interruptions took back: hours that were paid and lost, US dollars.
    pub lost_usd: f64,
    /// What is left of the difference, US dollars; below zero where spot was dearer.
    pub saved_usd: f64,
    /// The same as a part of the cost on demand.
    pub saved: f64,
}

/// What was saved in all, and in each family in each region. `lost_h`: hours that an interruption costs: half the time between saves
/// and the restart.
///
/// # Errors
/// No life has both prices.
pub fn savings(lives: &[PaidLife], lost_h: f64) -> Result<(Savings, BTreeMap<Pool, Savings>), Scarce> {
    let (mut all, mut pools) = (Savings::default(), BTreeMap::<Pool, Savings>::new());
    for paid in lives {
        add(&mut all, paid, lost_h);
        add(pools.entry(paid.life.pool.at(Level::FamilyInRegion)).or_default(), paid, lost_h);
    }
    if all.lives == 0 {
        return Err(Scarce(format!(
            "none of {} lives has both a spot price and a price on demand: what was saved is not known",
            lives.len()
        )));
    }
    for sums in pools.values_mut().chain([&mut all]) {
        sums.saved_usd = sums.on_demand_usd - sums.paid_usd - sums.lost_usd;
        sums.saved = if sums.on_demand_usd > 0.0 { sums.saved_usd / sums.on_demand_usd } else { 0.0 };
    }
    Ok((all, pools))
}

fn add(sums: &mut Savings, paid: &PaidLife, lost_h: f64) {
    let hours = paid.life.lived_h;
    let (Some(spot), Some(on_demand)) = (paid.spot_usd_per_hour, paid.on_demand_usd_per_hour) else {
        sums.without_price += 1;
        sums.hours_without_price += hours;
        return;
    };
    sums.lives += 1;
    sums.hours += hours;
    sums.paid_usd += hours * spot;
    sums.on_demand_usd += hours * on_demand;
    if paid.life.is_interrupted() {
        sums.interruptions += 1;
        // Nothing can be lost that was not paid.
        sums.lost_usd += lost_h.max(0.0).min(hours) * spot;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Life, Outcome};

    fn paid(instance_type: &str, lived_h: f64, outcome: Outcome, prices: Option<(f64, f64)>) -> PaidLife {
        let pool = Pool { instance_type: instance_type.to_owned(), ..Pool::default() };
        PaidLife {
            life: Life { pool, launched_s: 0.0, lived_h, outcome, batch: None },
            spot_usd_per_hour: prices.map(|(spot, _)| spot),
            on_demand_usd_per_hour: prices.map(|(_, on_demand)| on_demand),
        }
    }

    #[test]
    fn savings_are_the_difference_less_what_interruptions_took_back() {
        let lives = [
            paid("m5.large", 10.0, Outcome::Interrupted, Some((0.3, 1.0))),
            paid("m5.xlarge", 0.1, Outcome::Interrupted, Some((0.6, 2.0))),
            paid("c5.large", 5.0, Outcome::Running, Some((0.0, 1.0))),
            paid("c5.large", 7.0, Outcome::Stopped, None),
        ];
        let (all, pools) = savings(&lives, 0.5).expect("savings");
        assert_eq!((all.lives, all.without_price, all.interruptions, pools.len()), (3, 1, 2, 2));
        let lost = 0.5 * 0.3 + 0.1 * 0.6;
        assert!((all.saved_usd - (10.0 + 0.2 + 5.0 - 3.0 - 0.06 - lost)).abs() < 1e-12, "{all:?}");
        assert!((all.saved - all.saved_usd / 15.2).abs() < 1e-12);
    }

    #[test]
    fn lives_without_prices_give_a_sentence_and_dear_spot_a_loss() {
        let said = savings(&[paid("x", 1.0, Outcome::Running, None)], 0.5).expect_err("unknown").0;
        assert!(said.contains("none of 1 lives"));
        let (all, _) = savings(&[paid("x", 1.0, Outcome::Running, Some((2.0, 1.0)))], 0.5).expect("savings");
        assert!(all.saved < 0.0);
    }
}
