//! `make test-fleet`: a group of real members on three real servers through every fault, many times over.
//!
//! Inputs: how many runs, a seed. Outputs: a line a run, what was found, `promises/fleet.json`; the last line has the figures, and the exit
//! code says whether everything held: 0 where it did, 1 where it did not, 2 where it could not be played.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;
use fleet_faults::faults::Fault;
use fleet_faults::judge::{self, Figures, Findings};
use fleet_faults::stage::{self, Played, Stage};
use rand::seq::SliceRandom;
use serde::Serialize;

/// Plays faults on a fleet and checks that order is kept, nothing is done twice, and everybody acts in time.
///
/// Three NATS servers with disks of their own, and as many members as wanted, each a process, stand in network namespaces of their own. In
/// each run the zone goes: replicas and primaries get notices, load balancers stay and react, and one fault strikes.
#[derive(Parser, Debug)]
#[command(max_term_width = 100)]
struct Args {
    /// Runs. Every fault is played equally often, in a drawn order.
    #[arg(long, value_name = "N", default_value_t = 110)]
    runs: u64,
    /// Number that everything is drawn from [default: the time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Only these faults (names, with commas; "list" tells them).
    #[arg(long, value_name = "FAULT", value_delimiter = ',')]
    only: Vec<String>,
    /// Members.
    #[arg(long, value_name = "N", default_value_t = 56)]
    members: usize,
    /// Members obey leaders that were deposed: it must fail.
    #[arg(long)]
    without_fencing: bool,
    /// Print the promises as JSON.
    #[arg(long)]
    json: bool,
}

/// What one kind of fault came to.
#[derive(Clone, Debug, Default, Serialize)]
struct OfFault {
    runs: u64,
    /// Of these, with something wrong.
    wrong: u64,
    /// Longest time of an operation beyond the work, seconds.
    worst_beyond_seconds: Option<f64>,
    /// What it may be.
    bar_seconds: Option<u64>,
    acted_alone: usize,
    refused: usize,
    /// Least time that a member had left after its work, seconds.
    least_left_seconds: Option<f64>,
    /// Longest time that the servers themselves had no leader of some stream, seconds.
    worst_leaderless_seconds: Option<f64>,
    /// Longest time until all connections were back, seconds.
    worst_reconnected_seconds: Option<f64>,
}

/// What all of it came to.
#[derive(Debug, Default, Serialize)]
struct Promises {
    runs: u64,
    members: usize,
    seed: u64,
    fenced: bool,
    order_violations: usize,
    double_runs: usize,
    completion_violations: usize,
    stale_acts: usize,
    missed_deadlines: usize,
    over_the_bar: usize,
    other_violations: usize,
    violations: usize,
    worst_leader_fault_seconds: f64,
    worst_server_fault_seconds: f64,
    /// The longest that the servers themselves had no leader of some stream.
    worst_leaderless_seconds: f64,
    /// Runs of servers' faults beyond their 12 s because of that: the group was done within 5 s of when the servers were.
    longer_for_the_servers: usize,
    turns: usize,
    acted_alone: usize,
    refused: usize,
    largest_member_kb: u64,
    not_run: Vec<String>,
    faults: BTreeMap<String, OfFault>,
    seconds: u64,
}

fn main() -> ExitCode {
    // That something could not be played must not look like something that was found.
    run(&Args::parse()).unwrap_or_else(|error| {
        eprintln!("fleet-faults: {error:#}");
        ExitCode::from(2)
    })
}

fn run(args: &Args) -> Result<ExitCode> {
    if args.only.iter().any(|name| name == "list") {
        for fault in Fault::ALL {
            println!("{:<24} {}", fault.name(), fault.about());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = chosen(&args.only)?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |time| time.as_secs());
    let seed = args.seed.unwrap_or(now % 1_000_000);
    let promises = campaign(args, chosen, seed)?;
    let out = fleet_faults::target().join("promises");
    std::fs::create_dir_all(&out).context("the directory of the promises")?;
    let text = serde_json::to_string_pretty(&promises)?;
    // What is measured without the fence is no promise.
    let name = if args.without_fencing { "fleet-unfenced.json" } else { "fleet.json" };
    std::fs::write(out.join(name), format!("{text}\n"))?;
    if args.json {
        println!("{text}");
    } else {
        summary(&promises);
    }
    // Without the fence only what it holds counts.
    let Promises { order_violations, double_runs, completion_violations, stale_acts, .. } = promises;
    let fenced = order_violations + double_runs + completion_violations + stale_acts;
    let violations = if args.without_fencing { fenced } else { promises.violations };
    let holds = violations == 0 && promises.runs == args.runs && promises.runs > 0;
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn chosen(only: &[String]) -> Result<Vec<Fault>> {
    if only.is_empty() {
        return Ok(Fault::ALL.to_vec());
    }
    let find = |name: &String| Fault::ALL.iter().copied().find(|fault| fault.name() == name);
    only.iter()
        .map(|name| find(name).with_context(|| format!("`{name}` is no fault; --only list tells them")))
        .collect()
}

/// Faults that this machine cannot play are left out, and said so.
fn possible(stage: &Stage, chosen: Vec<Fault>, not_run: &mut Vec<String>) -> Result<Vec<Fault>> {
    let why = |fault: Fault| match fault {
        Fault::DiskFull => stage.servers.without_disks.as_ref().map(|error| format!("no disk can be mounted: {error}")),
        Fault::ClockStep if stage.clock_library.is_none() => {
            Some("there is no libfaketime; run tests/setup.sh fleet".to_owned())
        }
        _ => None,
    };
    let mut possible = Vec::new();
    for fault in chosen {
        match why(fault) {
            Some(why) => {
                harness::require::missing_means_skip(&format!("{}: {why}", fault.name()));
                not_run.push(fault.name().to_owned());
            }
            None => possible.push(fault),
        }
    }
    if possible.is_empty() {
        bail!("nothing is left to play");
    }
    Ok(possible)
}

fn campaign(args: &Args, chosen: Vec<Fault>, seed: u64) -> Result<Promises> {
    let begun = Instant::now();
    let mut stage = Stage::new(args.members, args.without_fencing)?;
    let mut promises = Promises { members: args.members, seed, fenced: !args.without_fencing, ..Promises::default() };
    let possible = possible(&stage, chosen, &mut promises.not_run)?;
    let mut order = stage::generator(seed, u64::MAX);
    let mut round: Vec<Fault> = Vec::new();
    for number in 0..args.runs {
        if round.is_empty() {
            round.clone_from(&possible);
            round.shuffle(&mut order);
        }
        let Some(fault) = round.pop() else { break };
        let started = Instant::now();
        let played = fault.play(&mut stage, stage::generator(seed, number));
        let (findings, figures) = judged(fault, number, played, &mut promises);
        let took = started.elapsed().as_secs_f64();
        let beyond = figures.beyond_seconds.map_or("-".to_owned(), |beyond| format!("{beyond:.2} s"));
        eprintln!(
            "run {:>3} of {}: {:<24} {:>8} beyond {:.2} s of work, {} turns, {} alone, {} refused, {} leaders; {} ({took:.0} s)",
            number + 1,
            args.runs,
            fault.name(),
            beyond,
            figures.work_seconds,
            figures.turns,
            figures.alone,
            figures.refused,
            figures.leaders,
            if findings.is_empty() { "held" } else { "DID NOT HOLD" },
        );
        for (name, texts) in findings.named() {
            for text in texts.iter().take(5) {
                eprintln!("    ! {name}: {text}");
            }
        }
    }
    promises.seconds = begun.elapsed().as_secs();
    Ok(promises)
}

/// Judges a run and adds it to the rest.
fn judged(fault: Fault, number: u64, played: Result<Played>, all: &mut Promises) -> (Findings, Figures) {
    let of_fault = all.faults.entry(fault.name().to_owned()).or_default();
    of_fault.bar_seconds = fault.bar().map(|bar| bar.as_secs());
    let mut is_the_servers = false;
    let (findings, figures) = match played {
        Ok(played) => {
            let (mut findings, figures) = judge::judge(&played.lines, &played.facts);
            findings.other.extend(played.troubles.iter().cloned());
            if !findings.is_empty() {
                keep(number, fault, &played);
            }
            all.largest_member_kb = all.largest_member_kb.max(played.memory_kb);
            most(&mut of_fault.worst_reconnected_seconds, played.reconnected_seconds);
            most(&mut of_fault.worst_leaderless_seconds, played.leaderless_seconds);
            let leaderless = played.leaderless_seconds.unwrap_or(0.0);
            all.worst_leaderless_seconds = all.worst_leaderless_seconds.max(leaderless);
            let beyond = figures.beyond_seconds.unwrap_or(0.0);
            is_the_servers = fault.bar().is_some_and(|bar| beyond > bar.as_secs_f64()) && findings.slow.is_empty();
            all.longer_for_the_servers += usize::from(is_the_servers);
            (findings, figures)
        }
        Err(error) => (
            Findings { other: vec![format!("it could not be played: {error:#}")], ..Findings::default() },
            Figures::default(),
        ),
    };
    of_fault.runs += 1;
    of_fault.wrong += u64::from(!findings.is_empty());
    of_fault.acted_alone += figures.alone;
    of_fault.refused += figures.refused;
    most(&mut of_fault.worst_beyond_seconds, figures.beyond_seconds);
    let left = [of_fault.least_left_seconds, figures.least_left_seconds].into_iter().flatten();
    of_fault.least_left_seconds = left.reduce(f64::min);
    all.runs += 1;
    all.order_violations += findings.order.len();
    all.double_runs += findings.double.len();
    all.completion_violations += findings.completion.len();
    all.stale_acts += findings.stale.len();
    all.missed_deadlines += findings.late.len();
    all.over_the_bar += findings.slow.len();
    all.other_violations += findings.other.len();
    all.violations += findings.named().iter().map(|(_, found)| found.len()).sum::<usize>();
    all.turns += figures.turns;
    all.acted_alone += figures.alone;
    all.refused += figures.refused;
    let worst = match fault.bar().map(|bar| bar.as_secs()) {
        Some(5) => &mut all.worst_leader_fault_seconds,
        Some(12) => &mut all.worst_server_fault_seconds,
        _ => return (findings, figures),
    };
    if !is_the_servers {
        *worst = worst.max(figures.beyond_seconds.unwrap_or(0.0));
    }
    (findings, figures)
}

fn most(kept: &mut Option<f64>, new: Option<f64>) {
    *kept = [*kept, new].into_iter().flatten().reduce(f64::max);
}

/// Writes down what everybody said in a run that did not hold.
fn keep(number: u64, fault: Fault, played: &Played) {
    let folder = fleet_faults::target().join("fleet-failures");
    let texts: Vec<String> = played.lines.iter().map(fleet_faults::lines::Line::text).collect();
    let file = folder.join(format!("run{}-{}.jsonl", number + 1, fault.name()));
    let said = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, texts.join("\n") + "\n"));
    let logs = played.server_logs.join("\n\n");
    let written = said.and_then(|()| std::fs::write(file.with_extension("servers"), logs));
    match written {
        Ok(()) => eprintln!("    what everybody said: {}", shown(&file)),
        Err(error) => eprintln!("    {}: {error}", file.display()),
    }
}

fn shown(file: &Path) -> String {
    file.canonicalize().unwrap_or_else(|_| file.to_owned()).display().to_string()
}

fn summary(promises: &Promises) {
    println!(
        "{:<24} {:>4} {:>5} {:>12} {:>6} {:>6} {:>8} {:>11}",
        "fault", "runs", "wrong", "beyond (bar)", "alone", "refused", "least left", "reconnected"
    );
    for (name, of) in &promises.faults {
        let beyond = of.worst_beyond_seconds.map_or("-".to_owned(), |beyond| format!("{beyond:.2}"));
        let bar = of.bar_seconds.map_or(String::new(), |bar| format!(" ({bar})"));
        let left = of.least_left_seconds.map_or("-".to_owned(), |left| format!("{left:.1}"));
        let back = of.worst_reconnected_seconds.map_or("-".to_owned(), |back| format!("{back:.1}"));
        println!(
            "{name:<24} {:>4} {:>5} {:>12} {:>6} {:>6} {left:>8} {back:>11}",
            of.runs,
            of.wrong,
            beyond + &bar,
            of.acted_alone,
            of.refused
        );
    }
    if !promises.not_run.is_empty() {
        println!("NOT RUN: {}", promises.not_run.join(", "));
    }
    println!(
        "{} turns, {} alone; largest member's process {} kB",
        promises.turns, promises.acted_alone, promises.largest_member_kb
    );
    println!(
        "{} runs of {} members in {} s, seed {}{}: {} order violations, {} double runs, {} operations not completed exactly once, \
         {} acts for a deposed leader, {} deadlines missed, {} over their bar, {} other violations; beyond the work at most {:.2} s for \
         leaders' faults (5), {:.2} s for servers' (12; {} over that, done within 5 s of when the servers had leaders of their own: they \
         took {:.2} s at most)",
        promises.runs,
        promises.members,
        promises.seconds,
        promises.seed,
        if promises.fenced { "" } else { ", WITHOUT FENCING" },
        promises.order_violations,
        promises.double_runs,
        promises.completion_violations,
        promises.stale_acts,
        promises.missed_deadlines,
        promises.over_the_bar,
        promises.other_violations,
        promises.worst_leader_fault_seconds,
        promises.worst_server_fault_seconds,
        promises.longer_for_the_servers,
        promises.worst_leaderless_seconds,
    );
}
