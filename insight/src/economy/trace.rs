//! Where and when spot capacity was to be had: one answer a tick.
//!
//! Responsibilities: what a trace is, and reading one. Inputs: JSON as the public traces of SkyPilot have it
//! (`{"metadata": {"gap_seconds": 600}, "data": [1, 0, …], "prices": [0.31, …]}`, repository skypilot-org/spot-traces), in which a
//! number is how many machines were to be had and 0 is none. Outputs: a [`Trace`]. Must never take a trace without ticks.

use crate::Scarce;
use serde::Deserialize;

/// What a zone had to give, tick after tick.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// What it is called: a zone, or the file it came from.
    pub name: String,
    /// Length of a tick, hours; above zero.
    pub tick_h: f64,
    /// Whether a machine was to be had, for each tick; not empty.
    pub available: Vec<bool>,
    /// What it cost an hour, for each tick; empty where that is not known.
    pub usd_per_hour: Vec<f64>,
}

/// The file's form.
#[derive(Deserialize)]
struct Written {
    metadata: Metadata,
    data: Vec<f64>,
    #[serde(default)]
    prices: Vec<f64>,
}

#[derive(Deserialize)]
struct Metadata {
    gap_seconds: f64,
}

impl Trace {
    /// Reads a trace for a job that needs so many machines at once: all of them or none.
    ///
    /// # Errors
    /// A sentence with what is wrong: the text is no trace, has no ticks, or prices that do not belong to its ticks.
    pub fn read(name: &str, text: &str, machines: u32) -> Result<Self, Scarce> {
        let bad = |why: String| Scarce(format!("{name} is no trace of availability: {why}"));
        let written: Written = serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
        let (gap_s, ticks) = (written.metadata.gap_seconds, written.data.len());
        if !(gap_s.is_finite() && gap_s > 0.0) {
            return Err(bad(format!("metadata.gap_seconds is {gap_s}, not a number of seconds above zero")));
        }
        if ticks == 0 {
            return Err(bad("data is empty".to_owned()));
        }
        if !written.prices.is_empty() && written.prices.len() != ticks {
            return Err(bad(format!("{} prices for {ticks} ticks", written.prices.len())));
        }
        if let Some(price) = written.prices.iter().find(|price| **price < 0.0) {
            return Err(bad(format!("a price is {price}")));
        }
        let wanted = f64::from(machines.max(1));
        let available = written.data.iter().map(|there| *there >= wanted).collect();
        Ok(Self { name: name.to_owned(), tick_h: gap_s / 3600.0, available, usd_per_hour: written.prices })
    }

    /// The part of the first `ticks` ticks in which a machine was to be had; `None` for no ticks.
    #[must_use]
    pub fn share_available(&self, ticks: usize) -> Option<f64> {
        let seen = self.available.get(..ticks.min(self.available.len())).unwrap_or_default();
        let up = seen.iter().filter(|is_up| **is_up).count();
        (!seen.is_empty()).then(|| up as f64 / seen.len() as f64)
    }

    /// How long it is, hours.
    #[must_use]
    pub fn length_h(&self) -> f64 {
        self.available.len() as f64 * self.tick_h
    }

    /// The price at a tick, where the trace has prices.
    #[must_use]
    pub fn price_at(&self, tick: usize) -> Option<f64> {
        self.usd_per_hour.get(tick).copied()
    }
}

/// The zone that had the most to give in its first `ticks` ticks: the one to learn. The first of equals.
#[must_use]
pub fn best_zone(traces: &[Trace], ticks: usize) -> Option<usize> {
    let shares = traces.iter().map(|trace| trace.share_available(ticks).unwrap_or(0.0));
    shares
        .enumerate()
        .fold(None, |best: Option<(usize, f64)>, (zone, share)| match best {
            Some((_, most)) if share <= most => best,
            _ => Some((zone, share)),
        })
        .map(|(zone, _)| zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_trace_is_read_and_one_is_available() {
        let text = r#"{"metadata": {"gap_seconds": 600, "zone": "a"}, "data": [0, 1, 4, 0], "prices": [1, 2, 0, 4.5]}"#;
        let trace = Trace::read("a", text, 1).expect("a trace");
        assert_eq!(trace.available, [false, true, true, false]);
        assert_eq!(
            (trace.share_available(2), trace.share_available(99), trace.share_available(0)),
            (Some(0.5), Some(0.5), None)
        );
        assert_eq!(Trace::read("a", text, 4).expect("a trace").available, [false, false, true, false]);
        assert_eq!((trace.price_at(2), trace.price_at(9)), (Some(0.0), None));
        assert!((trace.length_h() - 4.0 / 6.0).abs() < 1e-12);
    }

    #[test]
    fn what_is_no_trace_is_met_with_a_sentence() {
        let of = |text: &str| Trace::read("x.json", text, 1).expect_err("no trace").0;
        for (text, why) in [
            ("", "EOF"),
            ("[]", "invalid"),
            (r#"{"metadata": {"gap_seconds": 0}, "data": [1]}"#, "above zero"),
            (r#"{"metadata": {"gap_seconds": 1e999}, "data": [1]}"#, "number"),
            (r#"{"metadata": {"gap_seconds": 60}, "data": []}"#, "empty"),
            (r#"{"metadata": {"gap_seconds": 60}, "data": [1], "prices": [1, 2]}"#, "2 prices for 1 ticks"),
            (r#"{"metadata": {"gap_seconds": 60}, "data": [1], "prices": [-1]}"#, "a price is -1"),
        ] {
            let said = of(text);
            assert!(said.contains("x.json") && said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn the_best_zone_is_that_of_the_training_part() {
        let trace = |ups: &[u8]| Trace {
            name: String::new(),
            tick_h: 1.0,
            available: ups.iter().map(|up| *up > 0).collect(),
            usd_per_hour: Vec::new(),
        };
        let zones = [trace(&[0, 1, 1, 1]), trace(&[1, 0, 0, 0])];
        assert_eq!((best_zone(&zones, 1), best_zone(&zones, 4), best_zone(&[], 4)), (Some(1), Some(0), None));
    }
}
