//! Tests of the replay and of all policies in it: by hand, against all schedules there are, and on traces that are drawn.

use super::*;
use crate::economy::policy::Market;
use crate::economy::trace::Trace;
use proptest::prelude::*;

const MARKET: Market = Market { on_demand_usd_per_hour: 1.0, spot_usd_per_hour: 0.3 };

fn trace(tick_h: f64, available: Vec<bool>) -> Trace {
    Trace { name: "t".to_owned(), tick_h, available, usd_per_hour: Vec::new() }
}

fn job(work_h: f64, deadline_h: f64, changeover_h: f64) -> Job {
    Job { work_h, deadline_h, changeover_h, checkpoint_h: 0.0 }
}

fn one(zones: &[Trace], job: Job, kind: Kind) -> Run {
    run(&Setting { job, market: MARKET, zones }, 0, kind.policy().as_mut()).expect("a run")
}

/// `u` is a tick with capacity, anything else one without.
fn drawn(text: &str) -> Vec<bool> {
    text.chars().map(|c| c == 'u').collect()
}

#[test]
fn with_capacity_all_the_time_everybody_who_may_runs_on_spot_and_pays_one_changeover() {
    let zones = [trace(0.1, vec![true; 200])];
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::OnDemand) {
        let run = one(&zones, job(10.0, 12.0, 0.2), kind);
        assert!((run.cost_usd - 0.3 * 10.2).abs() < 1e-9 && !run.is_late, "{}: {run:?}", kind.name());
        assert!((run.makespan_h - 10.2).abs() < 1e-9 && (run.lost_h - 0.2).abs() < 1e-9 && run.starts == 1);
    }
    let run = one(&zones, job(10.0, 12.0, 0.2), Kind::OnDemand);
    assert!((run.cost_usd - 10.2).abs() < 1e-9 && (run.on_demand_h - 10.0).abs() < 1e-9);
}

#[test]
fn without_capacity_deadlines_are_kept_on_demand_but_by_the_naive() {
    let zones = [trace(0.1, vec![false; 200])];
    for kind in Kind::ALL.into_iter().filter(|kind| kind.keeps_deadlines()) {
        let run = one(&zones, job(10.0, 12.0, 0.2), kind);
        assert!(!run.is_late && (run.on_demand_h - 10.0).abs() < 1e-9, "{}: {run:?}", kind.name());
        // The one that waits again once it has caught up pays for each of its starts.
        let starts = if kind == Kind::UniformProgressIdle { 3.0 } else { 1.0 };
        assert!((run.cost_usd - 10.0 - 0.2 * starts).abs() < 1e-9, "{}: {run:?}", kind.name());
    }
    let run = one(&zones, job(10.0, 12.0, 0.2), Kind::NaiveSpot);
    assert!(run.is_late && run.cost_usd == 0.0 && (run.waited_h - 20.0).abs() < 1e-9);
}

#[test]
fn an_interruption_costs_a_changeover_and_what_was_not_saved() {
    let zones = [trace(1.0, drawn("uuu.uuuuuuuuuuuuuuuu"))];
    let plain = one(&zones, job(5.0, 20.0, 0.5), Kind::Greedy);
    // Three hours on the first machine, a lost hour of waiting, then the rest with another start.
    assert!((plain.makespan_h - 7.0).abs() < 1e-9 && plain.interruptions == 1 && plain.starts == 2, "{plain:?}");
    assert!((plain.cost_usd - 0.3 * 6.0).abs() < 1e-9 && (plain.lost_h - 1.0).abs() < 1e-9);
    let unsaved = one(&zones, Job { checkpoint_h: 2.0, ..job(5.0, 20.0, 0.5) }, Kind::Greedy);
    // Of 2.5 hours of work on the first machine the last half is lost.
    assert!((unsaved.lost_h - 1.5).abs() < 1e-9 && (unsaved.spot_h - 5.0).abs() < 1e-9, "{unsaved:?}");
    assert!((unsaved.makespan_h - 7.5).abs() < 1e-9);
}

#[test]
fn uniform_progress_runs_on_demand_when_it_is_behind_and_greedy_waits() {
    // Capacity returns after ten hours; 10 h of work in 20 h: the rate is one half.
    let zones = [trace(1.0, drawn("..........uuuuuuuuuuuuuuuuuuuu"))];
    let of = |kind| one(&zones, job(10.0, 20.0, 0.0), kind);
    let greedy = of(Kind::Greedy);
    // After ten hours of waiting nothing is sure but on demand.
    assert!(greedy.spot_h == 0.0 && (greedy.on_demand_h - 10.0).abs() < 1e-9, "{greedy:?}");
    let (stays, idles) = (of(Kind::UniformProgress), of(Kind::UniformProgressIdle));
    // One waits for an hour, then works until there is capacity; the other works every other hour.
    assert!((stays.on_demand_h - 9.0).abs() < 1e-9, "{stays:?}");
    assert!((idles.on_demand_h - 5.0).abs() < 1e-9, "{idles:?}");
}

#[test]
fn capacity_that_costs_more_than_on_demand_is_left_alone_and_free_capacity_is_taken() {
    let mut dear = trace(0.5, vec![true; 60]);
    dear.usd_per_hour = vec![1.5; 60];
    let mut free = dear.clone();
    free.usd_per_hour = vec![0.0; 60];
    for kind in [Kind::Greedy, Kind::UniformProgress, Kind::Advised, Kind::Omniscient] {
        let run = one(std::slice::from_ref(&dear), job(10.0, 15.0, 0.2), kind);
        assert!((run.cost_usd - 10.2).abs() < 1e-9, "{}: {run:?}", kind.name());
        let run = one(&[dear.clone(), free.clone()], job(10.0, 15.0, 0.2), kind);
        assert!(run.cost_usd == 0.0 && !run.is_late, "{}: {run:?}", kind.name());
    }
}

/// Cost of the cheapest schedule, by trying all: a machine a tick, none that is not there.
fn cheapest_of_all(zones: &[Trace], job: Job, ticks: usize) -> f64 {
    let machines = zones.len() + 2;
    let mut best = f64::INFINITY;
    for schedule in 0..machines.pow(ticks as u32) {
        let machine = |tick: usize| schedule / machines.pow(tick as u32) % machines;
        let (mut on, mut start_h, mut left_h, mut cost) = (0, 0.0, job.work_h, 0.0);
        for tick in 0..ticks {
            let to = machine(tick);
            if to > 1 && !zones[to - 2].available[tick] {
                left_h = f64::INFINITY;
                break;
            }
            if to != on || (to > 1 && tick > 0 && !zones[to - 2].available[tick - 1]) {
                (on, start_h) = (to, job.changeover_h);
            }
            if to > 0 && left_h > 0.0 {
                let hours = zones[0].tick_h.min(start_h + left_h);
                let starting_h = hours.min(start_h);
                (start_h, left_h) = (start_h - starting_h, left_h - (hours - starting_h));
                cost += hours * if to == 1 { 1.0 } else { 0.3 };
            }
        }
        if left_h <= 1e-9 {
            best = best.min(cost);
        }
    }
    best
}

#[test]
fn the_omniscient_finds_the_cheapest_of_all_schedules() {
    for (first, second) in [
        ("uu.u.uuu", ""),
        ("...uu..u", ""),
        ("u.u.u.u.", ".u.u.u.u"),
        ("uuu...uu", "..uuu..."),
        ("........", "...u...."),
    ] {
        let mut zones = vec![trace(1.0, drawn(first))];
        if !second.is_empty() {
            zones.push(trace(1.0, drawn(second)));
        }
        for work_h in [2.5, 4.0, 5.5] {
            let job = job(work_h, 7.0, 0.5);
            let found = one(&zones, job, Kind::Omniscient);
            let best = cheapest_of_all(&zones, job, 7);
            assert!(
                (found.cost_usd - best).abs() < 1e-9 && !found.is_late,
                "{first} {second} {work_h}: {found:?} against {best}"
            );
        }
    }
}

prop_compose! {
    /// Zones whose capacity comes and goes, and a job that can be done.
    fn scenes()(
        runs in proptest::collection::vec(proptest::collection::vec(1_usize..30, 1..20), 1..4),
        tick_h in 0.02_f64..0.6,
        changeover_h in 0.0_f64..0.8,
        checkpoint_h in prop_oneof![Just(0.0), 0.05_f64..2.0],
        work_h in 0.5_f64..12.0,
        more in 1.0_f64..2.5,
        begins_up in any::<bool>(),
    ) -> (Vec<Trace>, Job) {
        let job = Job { work_h, deadline_h: (work_h + changeover_h) * more, changeover_h, checkpoint_h };
        let ticks = (2.0 * job.deadline_h / tick_h).ceil() as usize + 1;
        let zones = runs.iter().map(|runs| {
            let flips = runs.iter().enumerate().flat_map(|(nth, length)| std::iter::repeat_n((nth % 2 == 0) == begins_up, *length));
            trace(tick_h, flips.cycle().take(ticks).collect())
        });
        (zones.collect(), job)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_deadline_that_can_be_kept_is_missed_and_every_number_is_one((zones, job) in scenes(), start in 0_usize..40) {
        let setting = Setting { job, market: MARKET, zones: &zones };
        let start = start % starts_possible(&setting).max(1);
        for kind in Kind::ALL {
            let run = run(&setting, start, kind.policy().as_mut()).expect("a run");
            prop_assert!(!run.is_late || !kind.keeps_deadlines(), "{}: {run:?} of {job:?}", kind.name());
            for number in [run.cost_usd, run.makespan_h, run.spot_h, run.on_demand_h, run.waited_h, run.lost_h] {
                prop_assert!(number.is_finite() && number >= -1e-9, "{}: {run:?}", kind.name());
            }
            if !run.is_late {
                prop_assert!((run.spot_h + run.on_demand_h - job.work_h).abs() < 1e-6, "{}: {run:?}", kind.name());
                let all = run.spot_h + run.on_demand_h + run.waited_h + run.lost_h;
                prop_assert!((all - run.makespan_h).abs() < 1e-6, "{}: {run:?}", kind.name());
            }
        }
    }
}

#[test]
fn what_cannot_be_replayed_is_met_with_a_sentence() {
    let zones = [trace(0.5, vec![true; 40])];
    let said = |zones: &[Trace], job: Job, market: Market, start| {
        run(&Setting { job, market, zones }, start, Kind::Greedy.policy().as_mut()).expect_err("no run").0
    };
    let fine = job(10.0, 12.0, 0.2);
    assert!(said(&zones, job(10.0, 10.1, 0.2), MARKET, 0).contains("nothing can meet this deadline"));
    assert!(said(&zones, job(0.0, 12.0, 0.2), MARKET, 0).contains("the work is 0 h"));
    assert!(said(&zones, job(f64::NAN, 12.0, 0.2), MARKET, 0).contains("the work is NaN h"));
    assert!(said(&zones, job(10.0, 12.0, -0.2), MARKET, 0).contains("the changeover"));
    assert!(said(&[], fine, MARKET, 0).contains("no trace"));
    assert!(said(&zones, fine, MARKET, 17).contains("tick 16"));
    assert!(said(&zones, job(10.0, 25.0, 0.2), MARKET, 0).contains("none"));
    assert!(said(&zones, fine, Market { on_demand_usd_per_hour: 0.0, ..MARKET }, 0).contains("on demand"));
    assert!(said(&zones, fine, Market { spot_usd_per_hour: f64::NAN, ..MARKET }, 0).contains("spot price"));
    let other = trace(0.25, vec![true; 80]);
    assert!(said(&[zones[0].clone(), other], fine, MARKET, 0).contains("one length"));
    assert!(summary(&[], 1.0, 1).expect_err("no runs").0.contains("no run fits"));
}

#[test]
fn starts_are_drawn_by_the_seed_and_fit() {
    let zones = [trace(0.5, vec![true; 400])];
    let setting = Setting { job: job(10.0, 12.0, 0.2), market: MARKET, zones: &zones };
    let starts = draw_starts(&setting, 100, 50, 7);
    assert_eq!(starts, draw_starts(&setting, 100, 50, 7));
    assert_ne!(starts, draw_starts(&setting, 100, 50, 8));
    assert!(starts.iter().all(|start| (100..=376).contains(start)));
    assert_eq!(spread_starts(&setting, 100, 3), [100, 238, 376]);
    assert!(draw_starts(&setting, 377, 5, 1).is_empty() && spread_starts(&setting, 377, 5).is_empty());
}

#[test]
fn runs_that_share_hours_count_as_one_in_the_error() {
    let run = |start_tick, cost_usd| Run { start_tick, cost_usd, ..Run::default() };
    let same = [run(0, 1.0), run(1, 1.0), run(100, 3.0), run(101, 3.0)];
    let all = summary(&same, 4.0, 100).expect("sums");
    assert!((all.saved - 0.5).abs() < 1e-12 && (all.cost_error_usd - 1.0).abs() < 1e-12, "{all:?}");
    assert_eq!(summary(&same, 4.0, 1000).expect("sums").cost_error_usd, 0.0);
}

/// A zone whose capacity comes for a few hours and goes for many, with a fixed rhythm that is drawn once.
fn seldom(ticks: usize, seed: u64) -> Trace {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut available = Vec::new();
    while available.len() < ticks {
        let up = available.len() % 2 == 0;
        let length = random.random_range(if up { 5..60 } else { 30..200 });
        available.extend(std::iter::repeat_n(up, length));
    }
    available.truncate(ticks);
    trace(1.0 / 6.0, available)
}

#[test]
fn the_advised_policy_costs_no_more_than_the_rules_in_the_mean() {
    for (seed, deadline_h) in [(1, 30.0), (2, 36.0), (3, 60.0)] {
        let zones = [seldom(4000, seed)];
        let setting = Setting { job: job(24.0, deadline_h, 0.2), market: MARKET, zones: &zones };
        let starts = spread_starts(&setting, 1500, 12);
        let cost = |kind| {
            let runs = runs(&setting, &starts, kind).expect("runs");
            summary(&runs, on_demand_usd(&setting), 200).expect("sums").cost_usd
        };
        let (advised, bound) = (cost(Kind::Advised), cost(Kind::Omniscient));
        for kind in [Kind::Greedy, Kind::UniformProgress] {
            assert!(advised <= cost(kind) * 1.001, "{seed} {}: {advised} against {}", kind.name(), cost(kind));
        }
        assert!(bound <= advised, "{seed}: {bound} against {advised}");
    }
}
