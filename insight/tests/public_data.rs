//! What is found on public data, beside the numbers that were measured on them before: GCP's preemptible machines of 2019 and AWS'
//! capacity of 2023. Their folder is named by CLOUDSNOOZE_DATA; where they come from stands in docs/insight.md.

use cloudsnooze_insight::lifetimes::{Cox, Observed, Subject, Survival, hazard};
use cloudsnooze_insight::patterns::batches::Together;
use cloudsnooze_insight::patterns::correlation::{Availability, Correlations};
use cloudsnooze_insight::patterns::seasons::{Options, Season, Seasons};
use cloudsnooze_insight::patterns::{Cycle, Verdict};
use cloudsnooze_insight::{Life, Outcome, Pool};
use harness::require;
use std::path::PathBuf;

/// The folder of public data, said loudly where there is none.
fn data(what: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("CLOUDSNOOZE_DATA").map(PathBuf::from).filter(|folder| folder.is_dir());
    if folder.is_none() {
        // Never a failure: the data are not ours to ship, and no package has them.
        require::not_for_this_machine(&format!("{what}: CLOUDSNOOZE_DATA names no folder with the public data sets"));
    }
    folder
}

/// GCP's preemptible machines.
fn gcp(what: &str) -> Option<Vec<Life>> {
    let text = std::fs::read_to_string(data(what)?.join("gcp-preemptible-2019/lifetimes.csv")).expect("lifetimes.csv");
    let life = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let seconds = |text: &str| text.parse::<jiff::Timestamp>().expect("a moment").as_millisecond() as f64 / 1e3;
        let pool = Pool {
            provider: "gcp".to_owned(),
            region: cells[1].rsplit_once('-').map(|(region, _)| region.to_owned()).unwrap_or_default(),
            zone: cells[1].to_owned(),
            instance_type: cells[2].to_owned(),
        };
        (cells[3] == "1").then(|| Life {
            pool,
            launched_s: seconds(cells[4]),
            lived_h: cells[6].parse::<f64>().expect("a length") / 3_600.0,
            outcome: if cells[7] == "1" { Outcome::Interrupted } else { Outcome::Stopped },
            batch: Some(cells[8].parse().expect("a batch")),
        })
    };
    Some(text.lines().skip(1).filter_map(life).collect())
}

/// Within half of the last digit that the reference gives, and a little.
fn is_near(found: f64, reference: f64, within: f64, what: &str) {
    assert!((found - reference).abs() <= within, "{what}: {found}, reference {reference}");
}

#[test]
fn the_lives_of_gcp_give_the_survival_that_was_measured_on_them() {
    let Some(lives) = gcp("survival of the lives of GCP") else { return };
    let curve = Survival::of(lives.iter().map(Observed::from)).expect("a curve");
    assert_eq!((curve.machines, curve.interrupted), (1_426, 717));
    for (hours, dead) in [(1.0, 0.151), (3.0, 0.234), (6.0, 0.278), (12.0, 0.319), (18.0, 0.359), (23.0, 0.384)] {
        is_near(1.0 - curve.alive_at(hours).expect("seen").0, dead, 6e-4, &format!("dead at {hours} h"));
    }
    let (_, (low, high)) = curve.alive_at(23.0).expect("seen");
    is_near(1.0 - high, 0.351, 6e-4, "lower bound");
    is_near(1.0 - low, 0.418, 6e-4, "upper bound");
    let observed: Vec<Observed> = lives.iter().map(Observed::from).collect();
    let rates = hazard::by_age(&observed, &[0.0, 0.25, 0.5, 1.0, 2.0, 3.0]).expect("rates");
    for (age, rate) in rates.iter().zip([318.0, 135.0, 107.0, 58.0, 45.0]) {
        is_near(age.rate.per_hour, rate / 1e3, 6e-4, &format!("hazard from {} h", age.from_h));
    }
}

/// The covariates of the reference: processors (log2), two of three zones, sine and cosine of the hour; no machine
/// of the earlier ones was started at a weekend.
fn subjects<'l>(lives: impl Iterator<Item = &'l Life>) -> Vec<Subject> {
    let one = |life: &Life| {
        // Below the age at which GCP ends them all.
        let life = life.until(23.0);
        let turn = std::f64::consts::TAU * (life.launched_s / 86_400.0).fract();
        let flag = |is: bool| f64::from(u8::from(is));
        let processors =
            cloudsnooze_insight::lifetimes::effects::processors(&life.pool.instance_type).expect("a number");
        let zone = |name: &str| flag(life.pool.zone == name);
        Subject {
            hours: life.lived_h,
            interrupted: life.is_interrupted(),
            covariates: vec![processors.log2(), zone("us-central1-c"), zone("us-west1-a"), turn.sin(), turn.cos()],
            cluster: life.batch.unwrap_or_default(),
        }
    };
    lives.map(one).collect()
}

#[test]
fn coxs_model_of_the_lives_of_gcp_has_the_effects_that_were_measured_on_them() {
    let Some(lives) = gcp("effects on the lives of GCP") else { return };
    let zones = ["us-central1-c", "us-east1-b", "us-west1-a"];
    let is_pool =
        |life: &&Life| life.pool.instance_type.starts_with("n1-highcpu-") && zones.contains(&life.pool.zone.as_str());
    // 2019-03-30T00:00:00Z.
    let (train, test): (Vec<&Life>, Vec<&Life>) =
        lives.iter().filter(is_pool).partition(|life| life.launched_s < 1_553_904_000.0);
    assert_eq!((train.len(), test.len()), (740, 655));
    let names = ["twice the processors", "us-central1-c", "us-west1-a", "sine", "cosine"];
    let subjects_of = |lives: &[&Life]| subjects(lives.iter().copied());
    let early = Cox::fit(&names, &subjects_of(&train)).expect("fitted");
    is_near(early.concordance.expect("pairs"), 0.641, 0.002, "C where it was fitted");
    is_near(early.concordance_on(&subjects_of(&test)).expect("pairs"), 0.644, 0.002, "C on later lives");
    let all = subjects_of(&[train, test].concat());
    let mut cox = Cox::fit(&names, &all).expect("fitted");
    cox.bootstrap(&all, 200, 1).expect("drawn");
    eprintln!("{}", serde_json::to_string_pretty(&cox.effects).expect("JSON"));
    // The reference had the weekend among its covariates too.
    is_near(cox.effects[0].hazard_ratio, 1.282, 0.03, "twice the processors");
    is_near(cox.effects[1].hazard_ratio, 1.945, 0.02, "us-central1-c rather than us-east1-b");
    is_near(cox.effects[0].naive_se, 0.039, 0.003, "naive error");
    is_near(cox.effects[0].bootstrap_se.expect("drawn"), 0.063, 0.012, "error by batches");
}

#[test]
fn the_day_and_night_of_gcp_are_not_reported_as_their_plain_rates_say() {
    let Some(lives) = gcp("hours of the lives of GCP") else { return };
    let all: Vec<&Life> = lives.iter().collect();
    let options = Options { until_h: 23.0, utc_offset_h: -8.0, seed: 1, ..Options::default() };
    let season = Season::of(&all, Cycle::HourOfDay, &options).expect("enough");
    eprintln!("{}", serde_json::to_string_pretty(&season).expect("JSON"));
    assert!(season.naive_ratio > 2.2 && season.naive_p < 1e-15, "the trap is there: {}", season.naive_ratio);
    assert!(season.adjusted_ratio < 1.6, "{}", season.adjusted_ratio);
    // Whatever is told, it is not that.
    assert!(season.parts.iter().all(|part| part.ratio < 2.4), "{:?}", season.parts);
    assert_eq!(season.verdict, Verdict::NotShown, "{}", season.sentence);
}

#[test]
fn no_look_at_the_hours_and_weekdays_of_gcp_is_reported() {
    let Some(lives) = gcp("all looks at the lives of GCP") else { return };
    let seasons = Seasons::of(&lives, &Options { until_h: 23.0, seed: 2, ..Options::default() }).expect("enough");
    for look in &seasons.looks {
        eprintln!(
            "{:?} {:?} p {} {} gain {:?}: {}",
            look.level, look.cycle, look.p, look.p_all_looks, look.gain_95, look.sentence
        );
    }
    assert!(seasons.looks.len() >= 4, "{}", seasons.looks.len());
    assert_eq!(seasons.verdict, Verdict::NotShown, "{}", seasons.sentence);
}

#[test]
fn batches_of_gcp_end_together() {
    let Some(lives) = gcp("batches of the lives of GCP") else { return };
    let found = Together::of(&lives, 10.0, 23.0, 500, 1).expect("enough");
    eprintln!("{}", found.sentence);
    assert_eq!(found.verdict, Verdict::Found);
    assert!(found.share > found.by_chance + 0.08, "{}", found.sentence);
}

#[test]
fn zones_of_aws_have_capacity_together_as_was_measured() {
    let Some(folder) = data("capacity of AWS") else { return };
    let folder = folder.join("skypilot-spot-traces/availability/1-node/aws-02-15-2023");
    let mut pools = Vec::new();
    let mut gap_s = 0.0;
    for entry in folder.read_dir().expect("traces") {
        let path = entry.expect("a trace").path();
        let zone = path.file_name().expect("a name").to_string_lossy().split('_').next().unwrap_or_default().to_owned();
        let trace: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("JSON");
        gap_s = trace["metadata"]["gap_seconds"].as_f64().expect("seconds");
        let up = trace["data"].as_array().expect("a list").iter().map(|count| count.as_f64() > Some(0.0)).collect();
        let region = zone.trim_end_matches(|letter: char| letter.is_ascii_lowercase()).to_owned();
        pools.push(Availability {
            pool: Pool { provider: "aws".to_owned(), region, zone, instance_type: "p3.2xlarge".to_owned() },
            up,
        });
    }
    pools.sort_by(|a, b| a.pool.cmp(&b.pool));
    assert_eq!(pools.len(), 9);
    let found = Correlations::of(&pools, gap_s / 3_600.0, 300, 1).expect("enough");
    eprintln!("{}\n{found:?}", found.sentence);
    let value = |estimate: Option<cloudsnooze_insight::patterns::correlation::Estimate>| estimate.expect("pairs").value;
    is_near(value(found.up_same_region), 0.43, 0.01, "capacity within a region");
    is_near(value(found.up_other_region), 0.14, 0.01, "capacity between regions");
    is_near(value(found.drops_same_region), 0.17, 0.01, "losses within a region");
    is_near(value(found.drops_other_region), 0.02, 0.01, "losses between regions");
    for pool in &found.dispersion {
        assert!((0.9..1.1).contains(&pool.ratio.value), "{pool:?}");
    }
    assert_eq!(found.verdict, Verdict::Found);
}
