//! `snooze insight lifetimes`: how long machines live, and what makes their lives shorter.
//!
//! Inputs: lives. Outputs: shares that outlive an age, curves fitted to them, effects. Must never count a machine that was stopped as one
//! that was interrupted.

use super::SEED;
use super::finding::{Finding, hours, percent, rate, show};
use super::source::{Ages, Source, ages_said};
use crate::cli::fault::Outcome;
use crate::cli::paint::Tone;
use crate::cli::render::{lines, plain, table};
use crate::cli::session::Session;
use cloudsnooze_insight::lifetimes::{AgeRate, Effects, Observed, Survival, hazard};
use cloudsnooze_insight::models::Model;
use cloudsnooze_insight::models::bathtub::{Censored, Shape};
use cloudsnooze_insight::models::weibull::{Curve, Weibull};
use cloudsnooze_insight::{Life, Scarce};
use serde::{Deserialize, Serialize};

const EXAMPLES: &str = "\
Examples:
  snooze insight lifetimes
  snooze insight lifetimes --lives lifetimes.csv --until-hours 23 --json";

/// Ages that are shown, hours.
const AGES_H: [f64; 14] = [0.0, 0.5, 1.0, 2.0, 3.0, 6.0, 9.0, 12.0, 18.0, 23.0, 48.0, 96.0, 336.0, 1_440.0];
/// How often batches are drawn anew for the intervals of effects.
const ROUNDS: usize = 200;

/// Say how long machines live: Kaplan-Meier, Weibull, bathtub, and what makes lives shorter (Cox).
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    ages: Ages,
}

#[derive(Debug, Serialize, Deserialize)]
struct Figures {
    machines: u64,
    interrupted: u64,
    exposure_hours: f64,
    until_hours: Option<f64>,
    survival: Vec<Share>,
    rates: Vec<AgeRate>,
    weibull: Option<Curve>,
    bathtub: Option<Shape>,
    effects: Option<Effects>,
    too_little: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Share {
    age_hours: f64,
    alive: f64,
    alive_95: (f64, f64),
}

/// Runs the command.
///
/// # Errors
/// There is no such source, or no life in it.
pub fn run(args: &Args, source: &Source, session: &mut Session<'_>) -> Outcome {
    let found = source.answer(&args.ages.question("lifetimes"), session, |opened, session| {
        let seen = opened.lives(session)?;
        let until_h = args.ages.until_h(&seen.lives);
        Ok(finding(figures(&seen.lives, until_h)?, until_h, seen.data))
    })?;
    let text = screen(&found.answer.figures, session);
    show(&found, &text, session)
}

fn finding(figures: Figures, until_h: f64, data: Vec<String>) -> Finding<Figures> {
    let mut uncertainty = ages_said(until_h);
    uncertainty.push(
        "Intervals of shares and rates take machines for independent; those of effects count whole batches as one."
            .to_owned(),
    );
    uncertainty.extend(figures.too_little.iter().cloned());
    uncertainty.extend(
        figures.effects.iter().flat_map(|effects| &effects.left_out).map(|text| format!("Not looked at: {text}.")),
    );
    let verdict = figures.effects.as_ref().map(|effects| effects.verdict);
    Finding { sentence: sentence(&figures), verdict, uncertainty, data, figures }
}

fn figures(lives: &[Life], until_h: f64) -> Result<Figures, Scarce> {
    let cut: Vec<Life> = lives.iter().map(|life| life.until(until_h)).collect();
    let observed: Vec<Observed> = cut.iter().map(Observed::from).collect();
    let survival = Survival::of(observed.iter().copied())?;
    let mut too_little = Vec::new();
    let mut note = |what: &str, why: Scarce| too_little.push(format!("{what}: {}.", why.0));
    let weibull = Weibull::fit(&cut).map_err(|why| note("Weibull", why)).ok();
    let bathtub = Censored::fit(lives).map_err(|why| note("Bathtub", why)).ok();
    let effects = Effects::of(lives, until_h, ROUNDS, SEED).map_err(|why| note("Effects", why)).ok();
    let share = |age: &f64| {
        let (alive, alive_95) = survival.alive_at(*age)?;
        Some(Share { age_hours: *age, alive, alive_95 })
    };
    Ok(Figures {
        machines: survival.machines,
        interrupted: survival.interrupted,
        exposure_hours: survival.exposure_h,
        until_hours: until_h.is_finite().then_some(until_h),
        survival: AGES_H.iter().skip(1).filter_map(share).collect(),
        rates: hazard::by_age(&observed, &AGES_H).unwrap_or_default(),
        weibull: weibull.map(|fitted| fitted.curve),
        bathtub: bathtub.map(|fitted| fitted.shape),
        effects,
        too_little,
    })
}

fn sentence(figures: &Figures) -> String {
    let alive = figures.survival.iter().rev().find(|share| share.age_hours <= 24.0);
    let lived = alive.map_or_else(
        || format!("{} machines were seen, none for half an hour.", figures.machines),
        |share| {
            let (low, high) = share.alive_95;
            let (alive, low, high) = (percent(share.alive), percent(low), percent(high));
            format!(
                "{alive} ({low} to {high}) of machines that nobody stops live longer than {}.",
                hours(share.age_hours)
            )
        },
    );
    let young = figures.weibull.map_or_else(String::new, |curve| {
        let tendency = match curve.shape {
            shape if shape < 0.9 => "the young are in more danger than the old",
            shape if shape > 1.1 => "the old are in more danger than the young",
            _ => "the age hardly matters",
        };
        format!(" By Weibull's curve {tendency} (k {:.2}).", curve.shape)
    });
    let effects = figures.effects.as_ref().map_or_else(String::new, |effects| format!(" {}", effects.sentence));
    lived + &young + &effects
}

fn screen(figures: &Figures, session: &Session<'_>) -> String {
    let mut shares = table(session.paint, session.width, &["AGE", "STILL THERE", "95 %"], &[0, 1, 2]);
    for share in &figures.survival {
        let (low, high) = share.alive_95;
        let cells = [hours(share.age_hours), percent(share.alive), format!("{} - {}", percent(low), percent(high))];
        shares.add_row(cells.map(|text| session.paint.cell(Tone::Plain, text)));
    }
    let mut text = lines(&shares);
    let mut ages =
        table(session.paint, session.width, &["AGES", "INTERRUPTED", "HOURS", "AN HOUR", "95 %"], &[1, 2, 3, 4]);
    for age in &figures.rates {
        let (low, high) = age.rate.per_hour_95;
        let cells = [
            format!("{} - {}", hours(age.from_h), hours(age.to_h)),
            age.rate.events.to_string(),
            format!("{:.0}", age.rate.hours),
            rate(age.rate.per_hour),
            format!("{} - {}", rate(low), rate(high)),
        ];
        ages.add_row(cells.map(|text| session.paint.cell(Tone::Plain, text)));
    }
    text += &format!("\n{}", lines(&ages));
    if let Some(effects) = &figures.effects {
        let mut effects_table =
            table(session.paint, session.width, &["EFFECT", "TIMES AS OFTEN", "95 %", "P"], &[1, 2, 3]);
        for effect in &effects.model.effects {
            let (low, high) = effect.hazard_ratio_95;
            let cells = [
                plain(&effect.name),
                format!("{:.2}", effect.hazard_ratio),
                format!("{low:.2} - {high:.2}"),
                if effect.p < 0.001 { "below 0.001".to_owned() } else { format!("{:.3}", effect.p) },
            ];
            effects_table.add_row(cells.map(|text| session.paint.cell(Tone::Plain, text)));
        }
        text += &format!("\n{}", lines(&effects_table));
    }
    text
}
