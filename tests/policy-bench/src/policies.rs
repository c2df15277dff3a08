//! Policies for a job with a deadline on the traces of SkyPilot (NSDI 2024, "Can't Be Late").
//!
//! Inputs: the data. Outputs: tables and figures. Must never learn a zone from the part it is measured on.

use crate::data::{published_starts, traces};
use crate::{Bar, Figure};
use anyhow::Result;
use cloudsnooze_insight::economy::policy::{Job, Kind, Market, Setting};
use cloudsnooze_insight::economy::ranks::spearman;
use cloudsnooze_insight::economy::simulate::{self, Run, Summary};
use cloudsnooze_insight::economy::trace::{Trace, best_zone};
use std::path::Path;

/// Prices of the paper's simulation.
const MARKET: Market = Market { on_demand_usd_per_hour: 1.0, spot_usd_per_hour: 0.3 };
/// Part of the 45 days that zones are learned from.
const TRAIN: f64 = 0.6;
/// What is said and what may be lost by the advised policy against Uniform Progress: nothing but rounding.
const ROUNDING: f64 = 1e-6;

/// A line of a table.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Line {
    /// Where and what.
    pub scene: String,
    /// The policy.
    pub policy: &'static str,
    /// What came of it.
    pub summary: Summary,
}

fn job(work_h: f64, deadline_h: f64) -> Job {
    Job { work_h, deadline_h, changeover_h: 0.2, checkpoint_h: 0.0 }
}

fn line(scene: &str, kind: Kind, runs: &[Run], setting: &Setting<'_>) -> Result<Line> {
    let block = (setting.job.deadline_h / setting.tick_h()).ceil() as usize;
    let summary = simulate::summary(runs, simulate::on_demand_usd(setting), block)?;
    Ok(Line { scene: scene.to_owned(), policy: kind.name(), summary })
}

/// The published table 3: 48 h of work in 60 h, eight traces, the published starts; every `thin`-th of them.
///
/// # Errors
/// The data cannot be read.
pub fn table_3(data: &Path, thin: usize) -> Result<(Vec<Line>, Vec<Figure>)> {
    let zones = traces(data, "aws-10-26-2022")?;
    let starts: Vec<usize> = published_starts(data)?.into_iter().step_by(thin.max(1)).collect();
    let (mut lines, mut compared) = (Vec::new(), Vec::new());
    for kind in Kind::ALL {
        let mut all = Vec::new();
        for zone in zones.chunks(1) {
            // The bound is dear to work out: 25 starts a trace, as the reference has it.
            let every = if kind == Kind::Omniscient { (starts.len() / 25).max(1) } else { 1 };
            let starts: Vec<usize> = starts.iter().copied().step_by(every).collect();
            all.extend(simulate::runs(&Setting { job: job(48.0, 60.0), market: MARKET, zones: zone }, &starts, kind)?);
        }
        let setting = Setting { job: job(48.0, 60.0), market: MARKET, zones: &zones };
        lines.push(line("table 3", kind, &all, &setting)?);
        if matches!(kind, Kind::UniformProgress | Kind::Advised) {
            compared.push(all);
        }
    }
    let saved = |kind: Kind| saved(&lines, "table 3", kind);
    let on_demand = |kind: Kind| {
        lines.iter().find(|line| line.policy == kind.name()).map_or(f64::NAN, |line| line.summary.on_demand_h)
    };
    let mut figures = vec![
        Figure::new("table 3: saved, greedy", saved(Kind::Greedy), Some(0.219), Bar::None),
        Figure::new(
            "table 3: saved, uniform progress that waits",
            saved(Kind::UniformProgressIdle),
            Some(0.245),
            Bar::None,
        ),
        Figure::new("table 3: saved, uniform progress", saved(Kind::UniformProgress), Some(0.282), Bar::AtLeast(0.28)),
        Figure::new(
            "table 3: saved, advised",
            saved(Kind::Advised),
            None,
            Bar::AtLeast(saved(Kind::UniformProgress) - ROUNDING),
        ),
        Figure::new("table 3: saved, omniscient", saved(Kind::Omniscient), Some(0.363), Bar::None),
        Figure::new("table 3: hours on demand, greedy", on_demand(Kind::Greedy), Some(32.0), Bar::None),
        Figure::new(
            "table 3: hours on demand, uniform progress that waits",
            on_demand(Kind::UniformProgressIdle),
            Some(27.5),
            Bar::None,
        ),
        Figure::new(
            "table 3: hours on demand, uniform progress",
            on_demand(Kind::UniformProgress),
            Some(26.1),
            Bar::None,
        ),
    ];
    let setting = Setting { job: job(48.0, 60.0), market: MARKET, zones: &zones };
    if let [uniform, advised] = &compared[..] {
        figures.push(gain_figure("table 3", advised, uniform, &setting)?);
    }
    Ok((lines, figures))
}

/// What one policy saves more than another on the same runs, part of the cost on demand, and the 95 % interval around it.
fn gain(of: &[Run], over: &[Run], setting: &Setting<'_>) -> Result<(f64, f64)> {
    let pairs = of.iter().zip(over);
    let less: Vec<Run> = pairs.map(|(one, other)| Run { cost_usd: other.cost_usd - one.cost_usd, ..*one }).collect();
    let block = (setting.job.deadline_h / setting.tick_h()).ceil() as usize;
    let on_demand = simulate::on_demand_usd(setting);
    let sums = simulate::summary(&less, on_demand, block)?;
    Ok((sums.cost_usd / on_demand, 1.96 * sums.saved_error))
}

/// The same as a figure; the interval stands in its name.
fn gain_figure(scene: &str, of: &[Run], over: &[Run], setting: &Setting<'_>) -> Result<Figure> {
    let (gain, around) = gain(of, over, setting)?;
    Ok(Figure::new(
        format!("{scene}: advised saves more than uniform progress, +-{around:.4}"),
        gain,
        None,
        Bar::AtLeast(-ROUNDING),
    ))
}

fn saved(lines: &[Line], scene: &str, kind: Kind) -> f64 {
    let found = lines.iter().find(|line| line.scene == scene && line.policy == kind.name());
    found.map_or(f64::NAN, |line| line.summary.saved)
}

/// References of the held-out part: job fraction, where, policy, saved.
const HELD_OUT: [(f64, &str, Kind, f64); 18] = [
    (0.6, "each zone", Kind::Greedy, 0.509),
    (0.6, "each zone", Kind::UniformProgress, 0.519),
    (0.6, "learned zone", Kind::Greedy, 0.693),
    (0.6, "learned zone", Kind::UniformProgress, 0.686),
    (0.6, "nine zones", Kind::UniformProgress, 0.695),
    (0.6, "nine zones", Kind::Greedy, f64::NAN),
    (0.8, "each zone", Kind::Greedy, 0.391),
    (0.8, "each zone", Kind::UniformProgress, 0.441),
    (0.8, "learned zone", Kind::Greedy, 0.694),
    (0.8, "learned zone", Kind::UniformProgress, 0.661),
    (0.8, "nine zones", Kind::UniformProgress, 0.694),
    (0.8, "nine zones", Kind::Greedy, f64::NAN),
    (0.9, "each zone", Kind::Greedy, 0.298),
    (0.9, "each zone", Kind::UniformProgress, 0.371),
    (0.9, "learned zone", Kind::Greedy, 0.572),
    (0.9, "learned zone", Kind::UniformProgress, 0.607),
    (0.9, "nine zones", Kind::UniformProgress, 0.694),
    (0.9, "nine zones", Kind::Greedy, f64::NAN),
];

/// Nine zones over 45 days, 48 h of work, runs in the last 40 % (`runs` of each zone).
///
/// # Errors
/// The data cannot be read.
pub fn held_out(data: &Path, runs: usize) -> Result<(Vec<Line>, Vec<Figure>)> {
    let zones = traces(data, "aws-02-15-2023")?;
    let ticks = zones.iter().map(|zone| zone.available.len()).min().unwrap_or(0);
    let from = (ticks as f64 * TRAIN) as usize;
    let best = best_zone(&zones, from).unwrap_or(0);
    let (mut lines, mut figures) = (Vec::new(), Vec::new());
    for fraction in [0.6, 0.8, 0.9] {
        let places: [(&str, Vec<&[Trace]>); 3] = [
            ("each zone", zones.chunks(1).collect()),
            ("learned zone", zones.get(best..=best).into_iter().collect()),
            ("nine zones", vec![&zones[..]]),
        ];
        for (place, groups) in places {
            let scene = format!("{place}, fraction {fraction}");
            let setting = Setting { job: job(48.0, 48.0 / fraction), market: MARKET, zones: &zones };
            let mut compared = Vec::new();
            for kind in [Kind::NaiveSpot, Kind::Greedy, Kind::UniformProgressIdle, Kind::UniformProgress, Kind::Advised]
            {
                let mut all = Vec::new();
                for group in &groups {
                    let setting = Setting { job: job(48.0, 48.0 / fraction), market: MARKET, zones: group };
                    all.extend(simulate::runs(&setting, &simulate::spread_starts(&setting, from, runs), kind)?);
                }
                lines.push(line(&scene, kind, &all, &setting)?);
                if matches!(kind, Kind::UniformProgress | Kind::Advised) {
                    compared.push(all);
                }
            }
            if let [uniform, advised] = &compared[..] {
                figures.push(gain_figure(&scene, advised, uniform, &setting)?);
            }
            let of = |kind| saved(&lines, &scene, kind);
            for (_, _, kind, reference) in HELD_OUT.iter().filter(|row| row.0 == fraction && row.1 == place) {
                let reference = Some(*reference).filter(|reference| reference.is_finite());
                figures.push(Figure::new(format!("{scene}: saved, {}", kind.name()), of(*kind), reference, Bar::None));
            }
            let least = of(Kind::UniformProgress) - ROUNDING;
            let bar = match (place, fraction == 0.8) {
                ("learned zone", true) => least.max(0.66),
                ("nine zones", _) => least.max(0.69),
                _ => least,
            };
            figures.push(Figure::new(format!("{scene}: saved, advised"), of(Kind::Advised), None, Bar::AtLeast(bar)));
        }
    }
    figures.push(zone_order(&zones, from));
    Ok((lines, figures))
}

/// Whether zones keep their order from the training part to the rest.
fn zone_order(zones: &[Trace], from: usize) -> Figure {
    let pairs: Vec<(f64, f64)> = zones
        .iter()
        .map(|zone| {
            let rest = zone.available.get(from..).unwrap_or_default();
            let up = rest.iter().filter(|is_up| **is_up).count() as f64 / rest.len().max(1) as f64;
            (zone.share_available(from).unwrap_or(0.0), up)
        })
        .collect();
    let order = spearman(&pairs).unwrap_or(f64::NAN);
    Figure::new("zones: order in training and test part (Spearman)", order, Some(0.967), Bar::AtLeast(0.9))
}

/// Missed deadlines of all policies that keep them.
pub fn missed(lines: &[Line]) -> Figure {
    let keeps = |line: &&Line| line.policy != Kind::NaiveSpot.name();
    let (late, runs) = lines
        .iter()
        .filter(keeps)
        .fold((0, 0), |(late, runs), line| (late + line.summary.late, runs + line.summary.runs));
    Figure::new(format!("missed deadlines in {runs} runs"), late as f64, Some(0.0), Bar::AtMost(0.0))
}
