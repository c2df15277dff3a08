//! Draws one picture of each kind, as SVG and PNG, into a folder: to look at them.
//! `cargo run -p cloudsnooze-insight --features pictures --example gallery -- OUT_DIR`. Its data are drawn from a seed.

use cloudsnooze_insight::lifetimes::{Observed, Survival, hazard};
use cloudsnooze_insight::pictures::{
    Curves, Doing, Gantt, HeatCell, HeatMap, Picture, Reliability, ReliabilityBin, Row, SIZE, Span, png, svg,
};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("where to? gallery OUT_DIR")?);
    std::fs::create_dir_all(&folder)?;
    let (calm, busy) = (lives(1, 0.4, 600), lives(2, 1.2, 300));
    let curves = (Survival::of(calm.iter().copied())?, Survival::of(busy.iter().copied())?);
    write(
        &folder,
        "survival",
        &Curves::survival("How long machines live", &[("us-east1-b", &curves.0), ("us-central1-c", &curves.1)]),
    )?;
    let ages = [0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 9.0, 12.0, 16.0, 20.0, 23.0];
    let (calm, busy) = (hazard::by_age(&calm, &ages)?, hazard::by_age(&busy, &ages)?);
    write(
        &folder,
        "hazard",
        &Curves::hazard("A young machine is a machine at risk", &[("us-east1-b", &calm), ("us-central1-c", &busy)]),
    )?;
    write(&folder, "calibration", &calibration())?;
    write(&folder, "hours", &hours())?;
    write(&folder, "caps", &caps())?;
    write(&folder, "policies", &policies())
}

fn write(folder: &Path, name: &str, picture: &impl Picture) -> Result<(), Box<dyn Error>> {
    std::fs::write(folder.join(format!("{name}.svg")), svg(picture, SIZE)?)?;
    std::fs::write(folder.join(format!("{name}.png")), png(picture, SIZE)?)?;
    Ok(())
}

/// Lives at a risk that falls with the age; half of those that get old are stopped, none passes 23 hours.
fn lives(seed: u64, risk: f64, count: usize) -> Vec<Observed> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let one = |_| {
        let end = (-random.random::<f64>().ln() / risk).powi(2);
        let stop = 40.0 * random.random::<f64>();
        Observed { hours: end.min(stop).min(23.0), interrupted: end < stop.min(23.0) }
    };
    (0..count).map(one).collect()
}

fn calibration() -> Reliability {
    let bins = [
        (0.006, 2_400, 13),
        (0.012, 1_300, 18),
        (0.02, 600, 11),
        (0.045, 420, 22),
        (0.09, 260, 21),
        (0.17, 140, 26),
        (0.27, 62, 15),
    ];
    Reliability {
        title: "Predicted risks come true".to_owned(),
        what: "interrupted within the next hour".to_owned(),
        note: "Held-out machines, ECE .011.".to_owned(),
        bins: bins.map(|(predicted, count, came_true)| ReliabilityBin { predicted, count, came_true }).to_vec(),
    }
}

fn hours() -> HeatMap {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
    let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let mut cell = |day: usize, hour: usize| {
        let level =
            1.0 + 0.5 * ((hour as f64 - 8.0) / 24.0 * std::f64::consts::TAU).sin() - if day > 4 { 0.3 } else { 0.0 };
        let value = (level + 0.4 * (random.random::<f64>() - 0.5)).max(0.0);
        HeatCell {
            value: (hour != 4 || day != 6).then_some(value),
            is_unsure: hour < 6 && random.random::<f64>() < 0.6,
        }
    };
    HeatMap {
        title: "Interruptions by hour and weekday, ages taken out".to_owned(),
        note: "1,426 machines, 717 interrupted in 230 batches. Hatched: fewer than 5 were to be expected. No hour stands out by the tests."
            .to_owned(),
        columns: ("hour of the day, UTC".to_owned(), (0..24).map(|hour| format!("{hour}")).collect()),
        rows: ("day of the week".to_owned(), days.map(str::to_owned).to_vec()),
        what: "seen / expected".to_owned(),
        cells: (0..7).map(|day| (0..24).map(|hour| cell(day, hour)).collect()).collect(),
    }
}

fn caps() -> HeatMap {
    let zones = ["us-east-1a", "us-east-1c", "us-west-2a", "us-west-2b"];
    let caps = ["0.8", "0.9", "1.0", "1.1", "1.2", "1.5", "3.06"];
    let cell = |zone: usize, cap: usize| {
        let value = (2.2 - 0.45 * cap as f64 - 0.2 * zone as f64).max(0.0);
        HeatCell { value: Some(value), is_unsure: zone == 3 && cap < 2 }
    };
    HeatMap {
        title: "What a price cap costs in interruptions".to_owned(),
        note: "Prices of p3.2xlarge, 94 days, 2019-12 to 2020-03. A cap never buys capacity: the default is none."
            .to_owned(),
        columns: ("price cap, USD per hour (on demand: 3.06)".to_owned(), caps.map(str::to_owned).to_vec()),
        rows: ("zone".to_owned(), zones.map(str::to_owned).to_vec()),
        what: "ended by price, per day".to_owned(),
        cells: (0..zones.len()).map(|zone| (0..caps.len()).map(|cap| cell(zone, cap)).collect()).collect(),
    }
}

fn policies() -> Gantt {
    let row = |name: &str, remark: &str, spans: &[(f64, f64, Doing)]| Row {
        name: name.to_owned(),
        remark: remark.to_owned(),
        spans: spans.iter().map(|(from_h, to_h, doing)| Span { from_h: *from_h, to_h: *to_h, doing: *doing }).collect(),
    };
    use Doing::{Changeover, Idle, Lost, OnDemand, Spot};
    Gantt {
        title: "One job of 48 hours, deadline after 60".to_owned(),
        note: "Zone us-west-2a, 2023-02-20; changeover 12 minutes; checkpoints each hour. Costs in units of an on-demand hour.".to_owned(),
        rows: vec![
            row("on demand", "cost 48.0", &[(0.0, 0.4, Changeover), (0.4, 48.4, OnDemand)]),
            row(
                "greedy",
                "cost 39.4",
                &[(0.0, 0.4, Changeover), (0.4, 9.0, Spot), (9.0, 9.8, Lost), (9.8, 21.4, Idle), (21.4, 60.0, OnDemand)],
            ),
            row(
                "uniform progress",
                "cost 27.9",
                &[
                    (0.0, 0.4, Changeover),
                    (0.4, 9.0, Spot),
                    (9.0, 9.8, Lost),
                    (9.8, 13.0, Idle),
                    (13.0, 13.4, Changeover),
                    (13.4, 24.0, OnDemand),
                    (24.0, 24.4, Changeover),
                    (24.4, 52.5, Spot),
                ],
            ),
        ],
        deadline_h: Some(60.0),
    }
}
