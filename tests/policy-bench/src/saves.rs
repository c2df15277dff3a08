//! What ways of saving cost on the lives of GCP preemptible machines (HPDC 2020).
//!
//! Inputs: the data. Outputs: figures. Must never draw from anything but the curve of those lives.

use crate::data::text;
use crate::{Bar, Figure};
use anyhow::Result;
use cloudsnooze_insight::Life;
use cloudsnooze_insight::economy::checkpoint::interval::{between_h, young};
use cloudsnooze_insight::economy::checkpoint::programme::{self, programme};
use cloudsnooze_insight::economy::checkpoint::replay::{Lives, Task, Way, overhead};
use cloudsnooze_insight::economy::{lives, survival};
use std::path::Path;

/// How far a replay may be from the reference, which is a replay of few jobs itself: parts of the work.
const WITHIN: f64 = 0.015;
/// The wall of these machines, hours, and where what is said of young ones ends.
const WALL_H: f64 = 24.0;
const YOUNG_H: f64 = 23.0;
const SEED: u64 = 1;

/// Overheads, `runs` jobs each.
///
/// # Errors
/// The data cannot be read.
pub fn saves(data: &Path, runs: u32) -> Result<Vec<Figure>> {
    let file = "gcp-preemptible-2019/lifetimes.csv";
    let all: Vec<Life> = lives::read(file, &text(data, file)?)?.into_iter().map(|paid| paid.life).collect();
    let early: Vec<Life> = all.iter().map(|life| life.until(YOUNG_H)).collect();
    let events = u32::try_from(survival::events(&early))?;
    let mean_h = between_h(survival::exposure_h(&early), events).unwrap_or(f64::NAN);
    let hazard = survival::hazard(&early)?;
    let curve = Lives::new(&survival::curve(&all)?)?;
    let of = |work_h: f64, save_h: f64, way: Way<'_>| -> Result<f64> {
        Ok(overhead(&Task { work_h, save_h, restart_h: 0.05 }, way, &curve, runs, SEED)?.mean)
    };
    let mut figures =
        vec![Figure::new("saves: hours between interruptions under 23 h", mean_h, Some(32.0), Bar::Within(0.1))];
    // Work in hours, save in minutes: without, every Young(1 h), Young(32 h), by age; nothing where there is no reference.
    // Without saves their length means nothing: the reference drew the same thing twice, as .074 and .088, and their mean counts.
    let table = [
        (10.0, 1.0, [0.081, 0.100, 0.037, 0.034]),
        (10.0, 5.0, [0.081, 0.217, 0.074, 0.069]),
        (24.0, 1.0, [0.36, 0.102, 0.046, f64::NAN]),
    ];
    for (work_h, minutes, references) in table {
        let save_h = minutes / 60.0;
        let by_age = Way::ByAge { hazard: &hazard, wall_h: Some(WALL_H) };
        let ways = [
            ("never", Way::Never),
            ("every Young of 1 h", Way::Every(young(save_h, 1.0))),
            ("every Young of 32 h", Way::Every(young(save_h, mean_h))),
            ("by age, before the wall", by_age),
        ];
        for ((name, way), reference) in ways.into_iter().zip(references) {
            let name = format!("saves: {work_h} h, {minutes} min a save, {name}: overhead");
            let reference = Some(reference).filter(|reference| reference.is_finite());
            // Without saves a day of work ends at the wall or not: minutes decide.
            let within = if work_h > 20.0 && matches!(way, Way::Never) { 2.0 * WITHIN } else { WITHIN };
            let bar = if reference.is_some() { Bar::Within(within) } else { Bar::None };
            figures.push(Figure::new(name, of(work_h, save_h, way)?, reference, bar));
        }
    }
    // A save that does not fit into its notice is none.
    for (notice_s, save_s, reference) in
        [(120.0, 20.0, 0.007), (120.0, 100.0, 0.008), (30.0, 20.0, 0.007), (30.0, 100.0, 0.081)]
    {
        let way = Way::AtNotice { notice_h: notice_s / 3600.0 };
        let name = format!("saves: 10 h, {save_s} s a save at {notice_s} s of notice: overhead");
        figures.push(Figure::new(name, of(10.0, save_s / 3600.0, way)?, Some(reference), Bar::Within(WITHIN)));
    }
    let best =
        programme(&programme::Task { work_h: 10.0, save_h: 1.0 / 60.0, restart_h: 0.05, age_h: 0.0 }, 300, |age| {
            curve.survival(age)
        })?;
    let by_rule = of(10.0, 1.0 / 60.0, Way::Every(young(1.0 / 60.0, mean_h)))?;
    let name = "saves: 10 h, 1 min a save, dynamic programme: overhead";
    figures.push(Figure::new(name, (best.expected_h + 0.05) / 10.0 - 1.0, None, Bar::AtMost(by_rule)));
    figures.extend(published_intervals()?);
    Ok(figures)
}

/// The paper's schedule for five hours on a new machine: intervals of 15, 28, 38, 59 and 128 minutes.
fn published_intervals() -> Result<Vec<Figure>> {
    let bathtub = |age_h: f64| {
        let dead = 0.4141 * (1.0 - (-age_h / 0.9407).exp() + ((age_h - 24.4543) / 0.7682).exp());
        if age_h >= WALL_H { 0.0 } else { 1.0 - dead }
    };
    let task = programme::Task { work_h: 5.0, save_h: 1.0 / 60.0, restart_h: 0.0, age_h: 0.0 };
    let found = programme(&task, 300, bathtub)?;
    let ends = [("first", found.intervals_h.first(), 15.0), ("last", found.intervals_h.last(), 128.0)];
    let figures = ends.into_iter().map(|(which, interval_h, published)| {
        let name = format!("saves: 5 h on the published bathtub, {which} interval: minutes");
        Figure::new(name, interval_h.copied().unwrap_or(f64::NAN) * 60.0, Some(published), Bar::None)
    });
    Ok(figures.collect())
}
