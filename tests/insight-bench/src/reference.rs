//! Scores of an independent implementation of the same models on the same splits, measured before this one was
//! written.
//!
//! Inputs: names of models. Outputs: figures. They must never be shown for other data than those that they were
//! measured on.

/// How far a log-loss may be from its reference: 2 %.
pub const TOLERANCE: f64 = 0.02;

/// How far an R² may be from that of the reproduction of the published fits.
pub const R_SQUARED_TOLERANCE: f64 = 0.003;

/// What a split of the public set has to count for its references to be shown: machines and interruptions to learn
/// from, machines, hours and interruptions held out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Machines that models are fitted to.
    pub train_lives: usize,
    /// Their interruptions.
    pub train_events: usize,
    /// Hours of machines held out.
    pub hours: usize,
    /// Of these, those that ended in an interruption.
    pub events: usize,
}

/// The split by time.
pub const TIME: Counts = Counts { train_lives: 740, train_events: 347, hours: 5_182, events: 193 };

/// The split by batch.
pub const BATCH: Counts = Counts { train_lives: 1_035, train_events: 456, hours: 3_653, events: 125 };

/// Looks of the 45 days of nine zones: to learn from, held out.
pub const LOOKS: (usize, usize) = (3_611, 2_802);

/// Log-losses on lives: model, by time, by batch.
const LIVES: [(&str, f64, f64); 8] = [
    ("constant rate", 0.1615, 0.1495),
    ("bathtub as published", 0.1599, 0.1811),
    ("bathtub, censored likelihood", 0.1392, 0.1350),
    ("Weibull, censored likelihood", 0.1351, 0.1313),
    ("age bins", 0.1354, 0.1310),
    ("pool rate, Gamma-Poisson", 0.1496, 0.1471),
    ("age bins x pool, empirical Bayes", 0.1326, 0.1315),
    ("logistic regression", 0.1265, 0.1345),
];

/// Log-losses on ticks.
const TICKS: [(&str, f64); 8] = [
    ("constant", 0.4614),
    ("per zone", 0.4107),
    ("recent rate, half-life 24 h", 0.4029),
    ("run-age life table", 0.3749),
    ("run age + recent rate", 0.3681),
    ("+ availability in 24 h", 0.3657),
    ("+ sibling zones", 0.3589),
    ("+ hour of the day", 0.3585),
];

/// R² of the published fit: what is fitted to, reproduced, published.
pub const R_SQUARED: [(&str, f64, f64); 9] = [
    ("all", 0.967, 0.968),
    ("n1-highcpu-2", 0.954, 0.954),
    ("n1-highcpu-4", 0.910, 0.910),
    ("n1-highcpu-8", 0.960, 0.961),
    ("n1-highcpu-16", 0.956, 0.957),
    ("n1-highcpu-32", 0.973, 0.978),
    ("us-central1-c", 0.979, 0.980),
    ("us-east1-b", 0.947, 0.947),
    ("us-west1-a", 0.985, 0.985),
];

/// R² of the other forms on all interrupted machines: exponential, Weibull (the paper has .749 for the former).
pub const OTHER_R_SQUARED: (f64, f64) = (0.747, 0.848);

/// The log-loss of a model on lives, split by time or by batch.
#[must_use]
pub fn lives(model: &str, by_time: bool) -> Option<f64> {
    LIVES.iter().find(|line| line.0 == model).map(|line| if by_time { line.1 } else { line.2 })
}

/// The log-loss of a model on ticks.
#[must_use]
pub fn ticks(model: &str) -> Option<f64> {
    TICKS.iter().find(|line| line.0 == model).map(|line| line.1)
}
