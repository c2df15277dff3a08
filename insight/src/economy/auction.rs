//! What to bid where there is an auction: a price that changes from slot to slot, and machines that run while the bid is at least it.
//!
//! Responsibilities: the best bids of Zheng et al., "How to Bid the Cloud", SIGCOMM 2015, for a job that must not be interrupted and
//! for one that may. Inputs: prices as they were, one a slot. Outputs: a [`Bid`]. Must never be offered for AWS, Azure or GCP: none of
//! them holds an auction any more (AWS since 2017), a maximum price there is a cap and buys nothing ([`super::caps`]).
//!
//! The formulas take prices of different slots for independent of each other, as the paper does. With `F` the part of slots whose price is
//! at most the bid: a run lasts 1/(1-F) slots in the mean, and a job with recovery `t_r` runs (t_s - t_r)/(1 - t_r/t_k (1-F)) hours.

use crate::Scarce;
use serde::Serialize;

/// Fewest slots that a bid is worked out from.
pub const SLOTS_MIN: usize = 24;

/// Prices of an auction, one a slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Prices {
    sorted: Vec<f64>,
    /// Sums of the cheapest, for means.
    sums: Vec<f64>,
    slot_h: f64,
}

/// A bid and what is to be expected of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bid {
    /// The bid, US dollars an hour.
    pub usd_per_hour: f64,
    /// Part of slots in which the job runs.
    pub runs: f64,
    /// Expected hours on a machine.
    pub machine_h: f64,
    /// Expected hours from start to end.
    pub makespan_h: f64,
    /// Expected cost, US dollars.
    pub cost_usd: f64,
}

impl Prices {
    /// From prices, one a slot of `slot_h` hours.
    ///
    /// # Errors
    /// Fewer than [`SLOTS_MIN`] slots, or prices that are none.
    pub fn new(prices: &[f64], slot_h: f64) -> Result<Self, Scarce> {
        if prices.len() < SLOTS_MIN {
            return Err(Scarce(format!("{} slots of prices: at least {SLOTS_MIN} are needed to bid by", prices.len())));
        }
        if !(slot_h.is_finite() && slot_h > 0.0) || prices.iter().any(|price| !price.is_finite() || *price < 0.0) {
            return Err(Scarce("expected prices of zero or above, and slots longer than zero".to_owned()));
        }
        let mut sorted = prices.to_vec();
        sorted.sort_by(f64::total_cmp);
        let sums = sorted.iter().scan(0.0, |sum, price| {
            *sum += price;
            Some(*sum)
        });
        Ok(Self { sums: sums.collect(), sorted, slot_h })
    }

    /// Part of slots whose price is at most this.
    #[must_use]
    pub fn part_at_most(&self, usd_per_hour: f64) -> f64 {
        self.count(usd_per_hour) as f64 / self.sorted.len() as f64
    }

    fn count(&self, usd_per_hour: f64) -> usize {
        self.sorted.partition_point(|price| *price <= usd_per_hour)
    }

    /// Mean price of the slots whose price is at most this.
    fn mean_at_most(&self, usd_per_hour: f64) -> f64 {
        let count = self.count(usd_per_hour);
        count.checked_sub(1).and_then(|last| self.sums.get(last)).map_or(0.0, |sum| sum / count as f64)
    }

    /// The least bid with which a job of `work_h` hours that must not be interrupted is expected to end first.
    ///
    /// # Errors
    /// The job is no number of hours.
    pub fn one_time(&self, work_h: f64) -> Result<Bid, Scarce> {
        positive(work_h)?;
        let wanted = 1.0 - self.slot_h / work_h;
        let place = ((wanted * self.sorted.len() as f64) - 1e-9).ceil().max(1.0) as usize;
        let bid = self.sorted.get(place.min(self.sorted.len()) - 1).copied().unwrap_or(0.0);
        let (runs, cost) = (self.part_at_most(bid), work_h * self.mean_at_most(bid));
        // It waits for its first slot, then runs.
        let makespan_h = work_h + self.slot_h * (1.0 / runs - 1.0);
        Ok(Bid { usd_per_hour: bid, runs, machine_h: work_h, makespan_h, cost_usd: cost })
    }

    /// The bid with the least expected cost for a job of `work_h` hours that loses `recovery_h` at each interruption.
    ///
    /// # Errors
    /// Hours that are none, or a recovery so long that no bid gets the job done but the highest, which is never interrupted.
    pub fn persistent(&self, work_h: f64, recovery_h: f64) -> Result<Bid, Scarce> {
        positive(work_h)?;
        if !(recovery_h.is_finite() && recovery_h >= 0.0 && recovery_h < work_h) {
            return Err(Scarce(format!(
                "a recovery of {recovery_h} h: expected zero or above, and less than the work"
            )));
        }
        let bids = self.sorted.iter().enumerate().filter(|(at, price)| self.sorted.get(at + 1) != Some(*price));
        let possible = bids.filter_map(|(_, bid)| self.persistent_at(*bid, work_h, recovery_h));
        let best = possible.min_by(|one, other| one.cost_usd.total_cmp(&other.cost_usd));
        best.ok_or_else(|| Scarce("no bid gets this job done: it loses more than it gains".to_owned()))
    }

    /// What is to be expected of a bid; `None` where the job would lose more at interruptions than it gains between them.
    #[must_use]
    pub fn persistent_at(&self, bid: f64, work_h: f64, recovery_h: f64) -> Option<Bid> {
        let runs = self.part_at_most(bid);
        let gain = 1.0 - recovery_h / self.slot_h * (1.0 - runs);
        if runs <= 0.0 || gain <= 0.0 {
            return None;
        }
        // The formula spares the first start a recovery; where there is hardly an interruption it would spare it what it does not have.
        let machine_h = ((work_h - recovery_h) / gain).max(work_h);
        let cost_usd = machine_h * self.mean_at_most(bid);
        Some(Bid { usd_per_hour: bid, runs, machine_h, makespan_h: machine_h / runs, cost_usd })
    }
}

fn positive(hours: f64) -> Result<(), Scarce> {
    if hours.is_finite() && hours > 0.0 {
        return Ok(());
    }
    Err(Scarce(format!("the work is {hours} h: expected a number of hours above zero")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};

    /// Mostly cheap, seldom dear: the shape of 2015.
    fn history() -> Vec<f64> {
        (0..200)
            .map(|n| if n % 10 == 9 { 1.0 + f64::from(n) / 100.0 } else { 0.1 + f64::from(n % 7) / 100.0 })
            .collect()
    }

    /// Cost and hours on a machine of a persistent job whose slots are drawn from history, by brute force.
    fn replayed(history: &[f64], slot_h: f64, bid: f64, work_h: f64, recovery_h: f64) -> (f64, f64) {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(5);
        let (runs, mut cost, mut machine_h) = (4_000, 0.0, 0.0);
        for _ in 0..runs {
            // The first slot that runs is a start, not a recovery; the last one counts as far as it is needed.
            let (mut left_h, mut was_running, mut has_begun) = (work_h, false, false);
            while left_h > 0.0 {
                let price = history[random.random_range(0..history.len())];
                let is_running = price <= bid;
                if is_running {
                    left_h += if has_begun && !was_running { recovery_h } else { 0.0 };
                    let hours = slot_h.min(left_h);
                    (left_h, cost, machine_h) = (left_h - hours, cost + price * hours, machine_h + hours);
                    has_begun = true;
                }
                was_running = is_running;
            }
        }
        (cost / f64::from(runs), machine_h / f64::from(runs))
    }

    #[test]
    fn the_cost_of_a_persistent_bid_is_that_of_a_replay() {
        let history = history();
        let prices = Prices::new(&history, 1.0).expect("prices");
        for bid in [0.13, 0.16, 1.5, 3.0] {
            let expected = prices.persistent_at(bid, 40.0, 0.2).expect("a bid that works");
            let (cost, machine_h) = replayed(&history, 1.0, bid, 40.0, 0.2);
            assert!((expected.cost_usd - cost).abs() < 0.02 * cost, "{bid}: {expected:?} against {cost}");
            assert!(
                (expected.machine_h - machine_h).abs() < 0.02 * machine_h,
                "{bid}: {expected:?} against {machine_h}"
            );
        }
    }

    #[test]
    fn the_best_persistent_bid_is_the_best_of_all_bids_tried() {
        let prices = Prices::new(&history(), 1.0).expect("prices");
        for recovery_h in [0.0, 0.05, 0.3, 0.8] {
            let best = prices.persistent(20.0, recovery_h).expect("a bid");
            let tried =
                (0..=400).map(|n| f64::from(n) / 100.0).filter_map(|bid| prices.persistent_at(bid, 20.0, recovery_h));
            let least = tried.map(|bid| bid.cost_usd).fold(f64::INFINITY, f64::min);
            assert!((best.cost_usd - least).abs() < 1e-9, "{recovery_h}: {best:?} against {least}");
        }
        let without = prices.persistent(20.0, 0.0).expect("a bid").usd_per_hour;
        assert!(prices.persistent(20.0, 0.8).expect("a bid").usd_per_hour > without, "what is lost makes bids higher");
    }

    #[test]
    fn a_one_time_bid_is_the_least_that_lasts_in_the_mean() {
        let history = history();
        let prices = Prices::new(&history, 0.5).expect("prices");
        for work_h in [0.2, 1.0, 4.0, 40.0] {
            let bid = prices.one_time(work_h).expect("a bid").usd_per_hour;
            let lasts_h = |bid: f64| 0.5 / (1.0 - prices.part_at_most(bid));
            let least =
                history.iter().copied().filter(|bid| lasts_h(*bid) >= work_h - 1e-9).fold(f64::INFINITY, f64::min);
            assert!((bid - least).abs() < 1e-12, "{work_h}: {bid} against {least}");
        }
    }

    proptest! {
        #[test]
        fn no_prices_and_no_job_give_a_bid_that_is_no_number(
            history in proptest::collection::vec(0.0_f64..10.0, 0..60),
            slot_h in -1.0_f64..3.0,
            work_h in -1.0_f64..100.0,
            recovery_h in -1.0_f64..3.0,
        ) {
            let Ok(prices) = Prices::new(&history, slot_h) else { return Ok(()) };
            for bid in [prices.one_time(work_h), prices.persistent(work_h, recovery_h)].into_iter().flatten() {
                for number in [bid.usd_per_hour, bid.runs, bid.machine_h, bid.makespan_h, bid.cost_usd] {
                    prop_assert!(number.is_finite() && number >= 0.0, "{:?}", bid);
                }
            }
        }
    }
}
