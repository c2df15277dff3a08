//! The model that the project uses: a mixture whose parts are weighed by how well they foresaw what they were not
//! shown.
//!
//! Inputs: lives. Outputs: forecasts with their reasons. Parts: a constant rate; a curve over age times multipliers
//! for provider, family, region and pool (empirical Bayes), with and without counting that machines end together; the
//! same curve times effects of size, place and hour of the day. All of it is decided on the lives that it is given:
//! they are split by batch into five, each fifth is foreseen by parts that were fitted to the others, and the weights
//! are the most likely ones. It must never answer worse than the constant rate did there, and never refuse: without
//! history it gives the published figure and says so.

use super::age_curve::AgeCurve;
use super::blend::{self, Row};
use super::constant::Constant;
use super::hours::representative_hours;
use super::levels::{Levels, dispersion};
use super::prior::Prior;
use super::proportional::{Exposure, MOST_HOURS, Proportional};
use super::tally::Tally;
use super::{Ask, Forecast, Model, Reasons, Risk, enough, sound};
use crate::{Life, Scarce};
use serde::{Deserialize, Serialize};

/// Into how many parts lives are split to find the weights.
const FOLDS: usize = 5;

/// Below so many batches (or days, or hours) nothing can be held out, and the weights are fixed.
const FEW_CLUSTERS: usize = 10;

/// Lives that the weights are found with, at most: every n-th where there are more.
const MOST_LIVES: usize = 20_000;

/// Splits are drawn with this; any would do.
const SEED: u64 = 20_190_330;

/// What can be a part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipe {
    /// One rate for all.
    Constant,
    /// The curve times multipliers; `clustered` says whether batches are counted as less than the sum of their
    /// machines.
    Levels {
        /// Whether they are.
        clustered: bool,
    },
    /// The curve times effects.
    Effects {
        /// How strongly they are held to nought.
        ridge: f64,
        /// Whether the hour of the day is one.
        clock: bool,
    },
}

const RECIPES: [Recipe; 7] = [
    Recipe::Constant,
    Recipe::Levels { clustered: false },
    Recipe::Levels { clustered: true },
    Recipe::Effects { ridge: 2.0, clock: false },
    Recipe::Effects { ridge: 20.0, clock: false },
    Recipe::Effects { ridge: 2.0, clock: true },
    Recipe::Effects { ridge: 20.0, clock: true },
];

/// The recipe that counts where nothing can be held out.
const PLAIN: Recipe = Recipe::Levels { clustered: true };

/// The recipes for some lives: the hour of the day is left out where there are too many hours to split.
fn recipes(lives: &[Life]) -> Vec<Recipe> {
    let hours: f64 = lives.iter().map(|life| life.lived_h).sum();
    let is_clock = |recipe: &Recipe| matches!(recipe, Recipe::Effects { clock: true, .. });
    RECIPES.into_iter().filter(|recipe| hours <= MOST_HOURS || !is_clock(recipe)).collect()
}

impl std::fmt::Display for Recipe {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Constant => write!(out, "constant rate"),
            Self::Levels { clustered: false } => write!(out, "age x pool"),
            Self::Levels { clustered: true } => write!(out, "age x pool by batches"),
            Self::Effects { clock: false, ridge } => write!(out, "age x size and place ({ridge})"),
            Self::Effects { clock: true, ridge } => write!(out, "age x size, place and hour ({ridge})"),
        }
    }
}

/// A part, fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Part {
    Constant(Constant),
    Levels(Box<AgeCurve>, Levels),
    Effects(Box<AgeCurve>, Proportional),
}

impl Part {
    fn forecast(&self, ask: &Ask<'_>) -> Forecast {
        let (from, to) = ask.span_h();
        match self {
            Self::Constant(constant) => constant.forecast(ask),
            Self::Levels(curve, levels) => {
                let (curve, pool) = (curve.forecast(from, to), levels.of(ask.pool));
                Forecast { expected: curve.expected * pool.mean, shape: super::joint_shape([curve.shape, pool.shape]) }
            }
            Self::Effects(curve, effects) => effects.forecast(curve.forecast(from, to), ask.pool, ask.now_s),
        }
    }
}

/// What the curve over age and the clustering of some lives are: what all recipes need.
struct Ground {
    lives: Vec<Life>,
    loose: AgeCurve,
    tied: AgeCurve,
    dispersion: f64,
    /// Without and with the hour of the day; None: there are too many hours to split.
    exposures: [Option<Exposure>; 2],
}

impl Ground {
    fn of(lives: Vec<Life>) -> Option<Self> {
        let sound = sound(&lives);
        let loose = AgeCurve::fit(&sound, 1.0)?;
        let dispersion = dispersion(&sound, &loose, &Levels::fit(&sound, &loose, 1.0));
        let tied = AgeCurve::fit(&sound, dispersion)?;
        let exposures = [false, true].map(|has_clock| Exposure::of(&sound, &tied, dispersion, has_clock));
        Some(Self { loose, tied, dispersion, exposures, lives })
    }

    fn cook(&self, recipe: Recipe) -> Option<Part> {
        let lives = sound(&self.lives);
        match recipe {
            Recipe::Constant => Constant::fit(&self.lives).ok().map(Part::Constant),
            Recipe::Levels { clustered } => {
                let (curve, dispersion) = if clustered { (&self.tied, self.dispersion) } else { (&self.loose, 1.0) };
                Some(Part::Levels(Box::new(curve.clone()), Levels::fit(&lives, curve, dispersion)))
            }
            Recipe::Effects { ridge, clock } => {
                let effects = Proportional::fit(self.exposures[usize::from(clock)].as_ref()?, ridge)?;
                Some(Part::Effects(Box::new(self.tied.clone()), effects))
            }
        }
    }
}

/// How the weights came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Batches or days that were held out in turn.
    pub clusters: usize,
    /// The logarithmic score of every recipe on what it was not shown.
    pub scores: Vec<(Recipe, f64)>,
    /// That of the mixture.
    pub mixture: f64,
    /// Whether the mixture was better than the constant rate there beyond doubt (95 %, drawn by cluster). If not, the
    /// constant rate counts for half.
    pub is_sure: bool,
}

/// The mixture, fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snooze {
    parts: Vec<(f64, Recipe, Part)>,
    /// How the weights came about; None: there was too little to hold anything out.
    pub choice: Option<Choice>,
    tally: Tally,
}

impl Snooze {
    /// The weights of its parts.
    pub fn weights(&self) -> impl Iterator<Item = (Recipe, f64)> {
        self.parts.iter().map(|(weight, recipe, _)| (*recipe, *weight))
    }

    /// Whether it has history to speak from; else it gives published figures.
    #[must_use]
    pub fn is_grown(&self) -> bool {
        !self.parts.is_empty()
    }

    /// The probability, its interval and its reasons; `prior` is used where there is too little history.
    #[must_use]
    pub fn risk_given(&self, ask: &Ask<'_>, prior: &Prior) -> Risk {
        let forecast = self.forecast_given(ask, prior);
        let (low, high) = forecast.interval();
        let basis = self.tally.basis(ask.pool);
        let prior = (!self.is_grown()).then(|| prior.to_string());
        Risk { probability: forecast.probability(), low, high, reasons: Reasons { model: self.said(), basis, prior } }
    }

    fn forecast_given(&self, ask: &Ask<'_>, prior: &Prior) -> Forecast {
        if self.parts.is_empty() {
            let (from, to) = ask.span_h();
            return prior.forecast(self.tally.all(), to - from);
        }
        let forecasts: Vec<(f64, Forecast)> =
            self.parts.iter().map(|(weight, _, part)| (*weight, part.forecast(ask))).collect();
        let probability: f64 = forecasts.iter().map(|(weight, of)| weight * of.probability()).sum();
        let expected = -(-probability.min(1.0 - 1e-12)).ln_1p();
        // What the parts are unsure of, and how far they lie apart.
        let apart = |of: &Forecast| {
            let ratio = of.expected.max(1e-12) / expected.max(1e-12);
            ratio.ln().powi(2)
        };
        let spread: f64 = forecasts.iter().map(|(weight, of)| weight * (1.0 / of.shape.max(1e-3) + apart(of))).sum();
        Forecast { expected, shape: 1.0 / spread.max(1e-6) }
    }

    fn said(&self) -> String {
        if self.parts.is_empty() {
            return "published figure and what little was seen".to_owned();
        }
        let mut parts: Vec<(Recipe, f64)> = self.weights().filter(|part| part.1 >= 0.05).collect();
        parts.sort_by(|a, b| b.1.total_cmp(&a.1));
        let parts: Vec<String> =
            parts.iter().map(|(recipe, weight)| format!("{:.0} % {recipe}", weight * 100.0)).collect();
        let parts = parts.join(", ");
        match &self.choice {
            Some(choice) => format!("{parts}; weighed on {} held-out batches or days", choice.clusters),
            None => format!("{parts}; too few batches or days to weigh by"),
        }
    }
}

impl Model for Snooze {
    const NAME: &'static str = "snooze";

    /// Never refuses: without enough history it answers with what is published.
    fn fit(lives: &[Life]) -> Result<Self, Scarce> {
        let lives: Vec<Life> = sound(lives).into_iter().cloned().collect();
        let tally = Tally::of(&lives.iter().collect::<Vec<_>>());
        if enough(&lives.iter().collect::<Vec<_>>()).is_err() {
            return Ok(Self { parts: Vec::new(), choice: None, tally });
        }
        let recipes = recipes(&lives);
        let (weights, choice) = choose(&recipes, held_out(&lives, &recipes));
        let parts = Ground::of(lives).map_or_else(Vec::new, |ground| {
            let used = recipes.into_iter().zip(weights).filter(|(_, weight)| *weight > 0.0);
            used.filter_map(|(recipe, weight)| Some((weight, recipe, ground.cook(recipe)?))).collect()
        });
        Ok(Self { parts: normalised(parts), choice, tally })
    }

    fn forecast(&self, ask: &Ask<'_>) -> Forecast {
        self.forecast_given(ask, &Prior::published(&ask.pool.provider))
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }

    fn risk(&self, ask: &Ask<'_>) -> Risk {
        self.risk_given(ask, &Prior::published(&ask.pool.provider))
    }
}

fn normalised(parts: Vec<(f64, Recipe, Part)>) -> Vec<(f64, Recipe, Part)> {
    let all: f64 = parts.iter().map(|part| part.0).sum();
    parts.into_iter().map(|(weight, recipe, part)| (weight / all, recipe, part)).collect()
}

/// What every recipe foresaw of lives that it was not shown, and how many clusters these were in. None where there
/// are too few.
fn held_out(lives: &[Life], recipes: &[Recipe]) -> Option<(Vec<Row>, usize)> {
    let step = lives.len().div_ceil(MOST_LIVES).max(1);
    let lives: Vec<Life> = lives.iter().step_by(step).cloned().collect();
    let clusters: Vec<u64> = blend::clusters(&lives, FEW_CLUSTERS);
    let (hands, distinct) = blend::folds(&clusters, FOLDS, SEED);
    if distinct < FEW_CLUSTERS {
        return None;
    }
    let mut rows = Vec::new();
    for fold in 0..FOLDS {
        let of = |is_held: bool| -> Vec<Life> {
            let hands = lives.iter().zip(&hands);
            hands.filter(|(_, hand)| (**hand == fold) == is_held).map(|(life, _)| life.clone()).collect()
        };
        let (held, shown) = (of(true), of(false));
        let dealt = clusters.iter().zip(&hands).filter(|(_, hand)| **hand == fold);
        let dealt: Vec<u64> = dealt.map(|(cluster, _)| *cluster).collect();
        let ground = Ground::of(shown)?;
        let parts: Vec<Part> = recipes.iter().map(|recipe| ground.cook(*recipe)).collect::<Option<_>>()?;
        for hour in representative_hours(&held) {
            let Some(life) = held.get(hour.life) else { continue };
            let now_s = Some(life.launched_s + hour.age_h * 3_600.0);
            let ask = Ask { pool: &life.pool, age_h: hour.age_h, within_h: 1.0, now_s };
            let probabilities = parts.iter().map(|part| part.forecast(&ask).probability()).collect();
            let cluster = dealt.get(hour.life).copied().unwrap_or_default();
            rows.push(Row { probabilities, happened: hour.interrupted, weight: hour.weight, cluster });
        }
    }
    Some((rows, distinct))
}

/// Weights for the recipes, and how they came about.
fn choose(recipes: &[Recipe], held: Option<(Vec<Row>, usize)>) -> (Vec<f64>, Option<Choice>) {
    let only = |one: Recipe| -> Vec<f64> { recipes.iter().map(|of| if *of == one { 1.0 } else { 0.0 }).collect() };
    let Some((rows, clusters)) = held else { return (only(PLAIN), None) };
    let weights = blend::weights(&rows, recipes.len());
    let score = |weights: &[f64]| blend::score(&rows, weights).filter(|score| score.is_finite());
    let constant = only(Recipe::Constant);
    let (Some(mixture), Some(worst)) = (score(&weights), score(&constant)) else { return (only(PLAIN), None) };
    let scores = recipes.iter().filter_map(|recipe| Some((*recipe, score(&only(*recipe))?))).collect();
    let at = recipes.iter().position(|recipe| *recipe == Recipe::Constant).unwrap_or_default();
    let is_sure = blend::over(&rows, &weights, at).is_some_and(|over| over.high < 0.0);
    let choice = Some(Choice { clusters, scores, mixture, is_sure });
    if mixture >= worst {
        return (constant, choice);
    }
    if is_sure {
        return (weights, choice);
    }
    (weights.iter().zip(&constant).map(|(weight, plain)| f64::midpoint(*weight, *plain)).collect(), choice)
}

#[cfg(test)]
mod tests;
