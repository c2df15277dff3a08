//! The next hour of capacity: every model, fitted to the first 60 % of the ticks and scored on the rest.
//!
//! Inputs: ticks of some zones. Outputs: a line for each model, without and with a look at other zones. It must never
//! let an hour that is learned from reach into those that are held out.

use crate::reference;
use crate::{Foreseen, Split, score};
use anyhow::{Context, Result};
use cloudsnooze_insight::data::ticks::Ticks;
use cloudsnooze_insight::models::availability::{Fit, Kind, Known, Look, Outlook, Seen, looks, ticks_per_hour};
use std::fmt::Write;

/// Hours of one cluster of the bootstrap: a day, of all zones.
const DAY_H: f64 = 24.0;

/// What the shipped models are called.
pub const SHIPPED: [&str; 2] = ["snooze", "snooze + sibling zones"];

/// Fits and scores every model.
pub fn run(about: &str, ticks: &[Ticks], wanted: u32) -> Result<Split> {
    let all = looks(ticks, wanted);
    let longest = ticks.iter().map(|zone| zone.available.len()).max().unwrap_or(0);
    let until = longest * 6 / 10;
    let hour = ticks.first().map_or(1, |zone| ticks_per_hour(zone.gap_seconds));
    let train: Vec<&Look> = all.iter().filter(|look| look.tick + hour < until).collect();
    let test: Vec<&Look> = all.iter().filter(|look| look.tick >= until).collect();
    let seen = Seen { ticks, wanted, until };
    let mut foreseen = Vec::new();
    let mut add = |name: &str, probability: &dyn Fn(&Known) -> f64| {
        let probabilities = test.iter().map(|look| probability(&look.known)).collect();
        foreseen.push(Foreseen { model: name.to_owned(), probabilities });
    };
    for kind in Kind::ALONE.into_iter().chain(Kind::TOGETHER) {
        let fit = Fit::new(kind, &train, &seen).context(kind.name())?;
        add(kind.name(), &|known| fit.probability(known));
    }
    let mut shipped = String::new();
    for (name, with_siblings) in SHIPPED.into_iter().zip([false, true]) {
        let outlook = Outlook::fit(&train, &seen, with_siblings).context(name)?;
        add(name, &|known| outlook.probability(known));
        let _infallible = writeln!(shipped, "{name}: {}", made_of(&outlook));
    }
    let outcomes: Vec<(bool, u64)> = test.iter().map(|look| (look.gone, day(&look.known))).collect();
    let known = (train.len(), test.len()) == reference::LOOKS;
    let lines = score(&foreseen, &outcomes, |model| reference::ticks(model).filter(|_| known))?;
    let gone = outcomes.iter().filter(|outcome| outcome.0).count();
    Ok(Split {
        about: about.to_owned(),
        train: format!("{} hours of {} zones", train.len(), ticks.len()),
        test: format!("{} hours, in {gone} capacity went", test.len()),
        lines,
        shipped: shipped.trim_end().to_owned(),
    })
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of days")]
fn day(known: &Known) -> u64 {
    (known.since_start_h / DAY_H).max(0.0) as u64
}

fn made_of(outlook: &Outlook) -> String {
    let part = |(kind, weight): (Kind, f64)| {
        let own = outlook.scores.iter().find(|score| score.0 == kind).map_or(0.0, |score| score.1);
        format!("{:.0} % {} ({own:.4})", weight * 100.0, kind.name())
    };
    outlook.powers().map(part).collect::<Vec<_>>().join("; ")
}
