//! Whether capacity that is there now will be gone within the next hour.
//!
//! Responsibilities: from ticks ([`Ticks`]) of some zones to models of P(gone within an hour | there now), from the
//! plain rate to the mixture that the project uses. Inputs: ticks; for a forecast, what is known at a moment
//! ([`Known`]). Outputs: probabilities. It must never use what was seen after the moment that is asked about, and
//! never take a run of available ticks for the life of a machine: only the form is the same.

mod looks;

pub use looks::{Known, Look, looks, runs, ticks_per_hour};

use super::age_bins::AgeBins;
use super::blend::{self, Row};
use super::gamma_poisson::GammaPoisson;
use super::glm::{self, Fitted, Link, Rows};
use super::{Ask, Model, chance};
use crate::data::ticks::Ticks;
use crate::optimise::least;
use crate::{Pool, Scarce};
use looks::recent_counts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Looks below which nothing is learned.
const FEW_LOOKS: usize = 50;

/// Days that are held out together: one of ten parts, in blocks.
const FOLDS: usize = 5;

/// Consecutive looks of one block, hours.
const BLOCK_H: f64 = 48.0;

/// Splits are drawn with this.
const SEED: u64 = 20_230_215;

/// What is foreseen from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One share of all looks.
    Constant,
    /// A share for each zone.
    Zone,
    /// How often capacity went lately, with a half-life of a day (Gamma-Poisson).
    RecentRate,
    /// How long it has been there: a life table of runs.
    RunAge,
    /// Logistic regression on run age and recent rate.
    AgeAndRate,
    /// And on the share of the last day that it was there.
    AndDay,
    /// And on the share of other zones where it is there now.
    AndSiblings,
    /// And on the hour of the day.
    AndHour,
    /// Run age as a bent line, rates over several times, availability over several times.
    Rich,
    /// And what other zones, and those of the same region, do now and did lately.
    RichSiblings,
}

impl Kind {
    /// Those that look at one zone only, in the order of tables.
    pub const ALONE: [Self; 6] =
        [Self::Constant, Self::Zone, Self::RecentRate, Self::RunAge, Self::AgeAndRate, Self::AndDay];

    /// Those that look at other zones.
    pub const TOGETHER: [Self; 2] = [Self::AndSiblings, Self::AndHour];

    /// What it is called in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Zone => "per zone",
            Self::RecentRate => "recent rate, half-life 24 h",
            Self::RunAge => "run-age life table",
            Self::AgeAndRate => "run age + recent rate",
            Self::AndDay => "+ availability in 24 h",
            Self::AndSiblings => "+ sibling zones",
            Self::AndHour => "+ hour of the day",
            Self::Rich => "rich",
            Self::RichSiblings => "rich + sibling zones",
        }
    }

    /// How strongly coefficients of standardised features are held to nought.
    fn ridge(self) -> f64 {
        match self {
            Self::Rich | Self::RichSiblings => 10.0,
            _ => 1.0,
        }
    }
}

/// A model of one kind, fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    kind: Kind,
    body: Body,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Body {
    Share(f64),
    Shares { zones: BTreeMap<String, f64>, all: f64 },
    Recent(GammaPoisson),
    Ages(Box<AgeBins>),
    Regression { means: Vec<f64>, spreads: Vec<f64>, fitted: Fitted },
}

/// What models are fitted to: looks, and the runs that were over before the last of them.
pub struct Seen<'t> {
    /// The ticks, of all zones.
    pub ticks: &'t [Ticks],
    /// Machines that have to be available.
    pub wanted: u32,
    /// Ticks before this one are seen.
    pub until: usize,
}

impl Fit {
    /// Fits a kind to looks at `seen`.
    ///
    /// # Errors
    /// [`Scarce`] when there are too few looks, or capacity never went.
    pub fn new(kind: Kind, looks: &[&Look], seen: &Seen<'_>) -> Result<Self, Scarce> {
        let gone = looks.iter().filter(|look| look.gone).count();
        if looks.len() < FEW_LOOKS || gone == 0 || gone == looks.len() {
            return Err(Scarce(format!(
                "capacity was seen to go in {gone} of {} hours in which it was there: too little to learn when it goes",
                looks.len()
            )));
        }
        let all = count(gone) / count(looks.len());
        let body = match kind {
            Kind::Constant => Some(Body::Share(all)),
            Kind::Zone => Some(shares(looks, all)),
            Kind::RecentRate => recent(looks, seen).map(Body::Recent),
            Kind::RunAge => {
                let runs = runs(seen.ticks, seen.wanted, seen.until);
                AgeBins::fit(&runs).ok().map(|ages| Body::Ages(Box::new(ages)))
            }
            _ => regression(kind, looks),
        };
        let body = body.ok_or_else(|| Scarce("capacity was seen for too short a time".to_owned()))?;
        Ok(Self { kind, body })
    }

    /// P(gone within an hour) at a look.
    #[must_use]
    pub fn probability(&self, known: &Known) -> f64 {
        match &self.body {
            Body::Share(share) => *share,
            Body::Shares { zones, all } => zones.get(&known.zone).copied().unwrap_or(*all),
            Body::Recent(common) => {
                let (events, hours) = recent_counts(known);
                common.posterior(events, hours).at_least_one(1.0)
            }
            Body::Ages(ages) => {
                let pool = Pool::default();
                chance(ages.forecast(&Ask { pool: &pool, age_h: known.run_age_h, within_h: 1.0, now_s: None }).expected)
            }
            Body::Regression { means, spreads, fitted } => {
                fitted.mean(&standard(&known.features(self.kind), means, spreads), 0.0)
            }
        }
    }
}

fn shares(looks: &[&Look], all: f64) -> Body {
    let mut zones: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for look in looks {
        let of = zones.entry(look.known.zone.clone()).or_default();
        of.0 += f64::from(u8::from(look.gone));
        of.1 += 1.0;
    }
    // A zone that was hardly seen is drawn to all, by one look's worth.
    let zones = zones.into_iter().map(|(zone, (gone, size))| (zone, (gone + all) / (size + 1.0))).collect();
    Body::Shares { zones, all }
}

/// The prior of the recent rate: its mean is that of all, and its weight the one that foresees best what it is fitted
/// to.
fn recent(looks: &[&Look], seen: &Seen<'_>) -> Option<GammaPoisson> {
    let runs = runs(seen.ticks, seen.wanted, seen.until);
    let hours: f64 = runs.iter().map(|run| run.lived_h).sum();
    let events = count(runs.iter().filter(|run| run.is_interrupted()).count());
    let mean = events / hours;
    if !(mean.is_finite() && mean > 0.0) {
        return None;
    }
    let with = |log_shape: f64| GammaPoisson { shape: log_shape.exp(), rate: log_shape.exp() / mean };
    let cost = |log_shape: f64| {
        let body = Fit { kind: Kind::RecentRate, body: Body::Recent(with(log_shape)) };
        looks.iter().map(|look| crate::scores::log_cost(body.probability(&look.known), look.gone)).sum::<f64>()
    };
    least(-5.0, 5.0, cost).map(with)
}

fn standard(features: &[f64], means: &[f64], spreads: &[f64]) -> Vec<f64> {
    let standard = features.iter().zip(means).zip(spreads).map(|((value, mean), spread)| (value - mean) / spread);
    std::iter::once(1.0).chain(standard).collect()
}

fn regression(kind: Kind, looks: &[&Look]) -> Option<Body> {
    let features: Vec<Vec<f64>> = looks.iter().map(|look| look.known.features(kind)).collect();
    let width = features.first()?.len();
    let size = count(features.len());
    let means: Vec<f64> = (0..width).map(|at| features.iter().map(|row| row[at]).sum::<f64>() / size).collect();
    let spread = |at: usize| {
        let variance = features.iter().map(|row| (row[at] - means[at]).powi(2)).sum::<f64>() / size;
        if variance > 1e-12 { variance.sqrt() } else { 1.0 }
    };
    let spreads: Vec<f64> = (0..width).map(spread).collect();
    let mut rows = Rows::default();
    for (row, look) in features.iter().zip(looks) {
        rows.push(&standard(row, &means, &spreads), 0.0, f64::from(u8::from(look.gone)));
    }
    let ridges: Vec<f64> = (0..=width).map(|at| if at == 0 { 1e-6 } else { kind.ridge() }).collect();
    let fitted = glm::fit(Link::Logit, &rows, &ridges, false)?;
    Some(Body::Regression { means, spreads, fitted })
}

/// The mixture that the project uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outlook {
    parts: Vec<(f64, Fit)>,
    /// Looks that it was fitted to.
    pub looks: usize,
    /// The logarithmic score of every part on what it was not shown.
    pub scores: Vec<(Kind, f64)>,
}

impl Outlook {
    /// Fits to the looks of some ticks; `with_siblings` says whether other zones are looked at. The life table and
    /// the prior of the recent rate know the blocks that are held out: some twenty numbers, from thousands of hours,
    /// are too few to remember a block by.
    ///
    /// # Errors
    /// [`Scarce`] when there are too few looks, or capacity never went.
    pub fn fit(looks: &[&Look], seen: &Seen<'_>, with_siblings: bool) -> Result<Self, Scarce> {
        let mut kinds = vec![Kind::Constant, Kind::RunAge, Kind::AgeAndRate, Kind::AndDay, Kind::Rich];
        if with_siblings {
            kinds.extend([Kind::AndSiblings, Kind::RichSiblings]);
        }
        // Whole days of all zones are held out together: capacity goes in many at once.
        let blocks: Vec<u64> = looks.iter().map(|look| look.known.block(BLOCK_H)).collect();
        let (hands, _) = blend::folds(&blocks, FOLDS, SEED);
        let mut rows = Vec::new();
        for fold in 0..FOLDS {
            let of = |is_held: bool| -> Vec<&Look> {
                let dealt = looks.iter().zip(&hands);
                dealt.filter(|(_, hand)| (**hand == fold) == is_held).map(|(look, _)| *look).collect()
            };
            let (held, shown) = (of(true), of(false));
            let parts: Vec<Fit> = kinds.iter().map(|kind| Fit::new(*kind, &shown, seen)).collect::<Result<_, _>>()?;
            for (row, look) in (0..).zip(held) {
                let probabilities = parts.iter().map(|part| part.probability(&look.known)).collect();
                rows.push(Row { probabilities, happened: look.gone, weight: 1.0, cluster: row });
            }
        }
        let powers = blend::powers(&rows, kinds.len());
        let only = |one: usize| -> Vec<f64> { (0..kinds.len()).map(|at| if at == one { 1.0 } else { 0.0 }).collect() };
        let scores = kinds.iter().enumerate().filter_map(|(at, kind)| Some((*kind, blend::score(&rows, &only(at))?)));
        let scores = scores.collect();
        let parts =
            powers.into_iter().zip(&kinds).map(|(weight, kind)| Fit::new(*kind, looks, seen).map(|fit| (weight, fit)));
        Ok(Self { parts: parts.collect::<Result<_, Scarce>>()?, looks: looks.len(), scores })
    }

    /// P(gone within an hour).
    #[must_use]
    pub fn probability(&self, known: &Known) -> f64 {
        blend::pooled(self.parts.iter().map(|(power, part)| (*power, part.probability(known))))
    }

    /// The lowest and the highest that one of its parts that count foresees: how far they disagree.
    #[must_use]
    pub fn range(&self, known: &Known) -> (f64, f64) {
        let parts = self.parts.iter().filter(|(power, _)| *power >= 0.05);
        let all = self.probability(known);
        parts.map(|(_, part)| part.probability(known)).fold((all, all), |(low, high), p| (low.min(p), high.max(p)))
    }

    /// What it foresees at a look, and from what, in a sentence.
    #[must_use]
    pub fn said(&self, known: &Known) -> String {
        let (low, high) = self.range(known);
        let (gone, hours) = recent_counts(known);
        format!(
            "gone within an hour with {:.0} % ({:.0} to {:.0} % by its parts): there for {:.1} h, gone {gone:.1} times in \
             {hours:.1} h lately (half-life of a day), there for {:.0} % of the last day; learned from {} looks",
            100.0 * self.probability(known),
            100.0 * low,
            100.0 * high,
            known.run_age_h,
            100.0 * known.available[0],
            self.looks
        )
    }

    /// The powers of its parts: what the logit of each counts.
    pub fn powers(&self) -> impl Iterator<Item = (Kind, f64)> {
        self.parts.iter().map(|(weight, part)| (part.kind, *weight))
    }
}

#[allow(clippy::cast_precision_loss, reason = "numbers of looks, far below 2^52")]
fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests;
