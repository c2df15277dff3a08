//! `make test-fleet-postgres`: a primary and two replicas behind a balancer are interrupted, one or all, and nothing acknowledged is lost.
//!
//! Inputs: how many rounds, a seed. Outputs: a line a round, what was found, `promises/fleet-postgres.json`; the last line has the figures,
//! and the exit code says whether everything held: 0 where it did, 1 where it did not, 2 where it could not be played.

mod balancer;
mod configuration;
mod evidence;
mod group;
mod judge;
mod round;
mod writer;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::Serialize;

use crate::evidence::Wall;
use crate::group::Group;
use crate::judge::{Facts, Findings, Kind, Leaver};
use crate::round::Rules;

/// Longest wait for anything that has to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Interrupts PostgreSQL behind HAProxy and checks that the order is kept and nothing acknowledged is lost.
///
/// A primary and two replicas (one of them has to have a row before it is acknowledged), HAProxy, a NATS server, and a daemon on each of
/// the four machines, configured as docs/fleet.md shows. A client writes numbered rows through the balancer all the time. In each round the
/// metadata services of one replica, of the primary, or of all three databases show a notice; at its deadline these machines are killed.
/// New machines come before the next round: for one that went alone with an empty disk, for the whole zone with the old disks.
///
/// The balancer has to be drained before any database stops; replicas stop one by one, and before the primary; where the primary goes
/// alone, a replica takes over; no acknowledged row may be missing on any of the three; without one member, writes may be refused for five
/// seconds at most; nobody is killed at work. All by the logs of HAProxy and PostgreSQL.
#[derive(Parser, Debug)]
#[command(max_term_width = 100)]
struct Args {
    /// Rounds. Every kind is played equally often, in a drawn order.
    #[arg(long, value_name = "N", default_value_t = 20)]
    rounds: u64,
    /// Only these kinds of rounds.
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    only: Vec<Kind>,
    /// Number that everything is drawn from [default: the time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Seconds from a notice to its deadline, as the cloud gives them.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    notice: u64,
    /// Machines end as soon as all reports are complete, not at the deadline: shorter rounds, which show less.
    #[arg(long)]
    early: bool,
    /// Databases do not wait for their turn: it must fail.
    #[arg(long)]
    without_turn: bool,
    /// Print the promises as JSON.
    #[arg(long)]
    json: bool,
}

/// What all rounds came to.
#[derive(Debug, Default, Serialize)]
struct Promises {
    rounds: u64,
    seed: u64,
    notice_seconds: u64,
    killed_at_the_deadline: bool,
    with_turns: bool,
    order_violations: usize,
    lost_rows: usize,
    refusals_over_the_bar: usize,
    unfinished: usize,
    other_violations: usize,
    acknowledged_rows: usize,
    /// Longest time without an acknowledged write when a replica went, seconds.
    longest_refusal_replica_seconds: f64,
    /// When the primary went alone.
    longest_refusal_primary_seconds: f64,
    /// Longest time from a notice seen first to the last server's end, seconds.
    longest_work_seconds: f64,
    /// Longest time between notices of one zone, as the daemons saw them, seconds.
    notices_apart_seconds: f64,
    acted_alone: usize,
    seconds: u64,
}

fn main() -> ExitCode {
    // That something could not be played must not look like something that was found.
    run(&Args::parse()).unwrap_or_else(|error| {
        eprintln!("fleet-postgres: {error:#}");
        ExitCode::from(2)
    })
}

fn run(args: &Args) -> Result<ExitCode> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |time| time.as_secs());
    let seed = args.seed.unwrap_or(now % 1_000_000);
    let Some(mut group) = Group::start(!args.without_turn)? else { return Ok(ExitCode::from(2)) };
    let promises = campaign(args, seed, &mut group)?;
    let out = fleet_faults::target().join("promises");
    std::fs::create_dir_all(&out).context("the directory of the promises")?;
    let text = serde_json::to_string_pretty(&promises)?;
    // What is measured without turns, or in short rounds, is no promise, and must not stand where one is looked for.
    let name = match (args.without_turn, args.early) {
        (true, _) => "fleet-postgres-without-turn.json",
        (false, true) => "fleet-postgres-early.json",
        (false, false) => "fleet-postgres.json",
    };
    std::fs::write(out.join(name), format!("{text}\n"))?;
    if args.json {
        println!("{text}");
    } else {
        println!("{}", summary(&promises));
    }
    let Promises { order_violations, lost_rows, refusals_over_the_bar, unfinished, other_violations, .. } = promises;
    let wrong = order_violations + lost_rows + refusals_over_the_bar + unfinished + other_violations;
    let holds = wrong == 0 && promises.rounds == args.rounds && promises.rounds > 0;
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn campaign(args: &Args, seed: u64, group: &mut Group) -> Result<Promises> {
    let begun = Instant::now();
    let rules = Rules { notice_seconds: args.notice, early: args.early };
    let kinds = if args.only.is_empty() { Kind::ALL.to_vec() } else { args.only.clone() };
    let mut drawn = fleet_faults::stage::generator(seed, u64::MAX);
    let mut promises = Promises {
        seed,
        notice_seconds: args.notice,
        killed_at_the_deadline: !args.early,
        with_turns: !args.without_turn,
        ..Promises::default()
    };
    let mut deck: Vec<Kind> = Vec::new();
    for number in 1..=args.rounds {
        if deck.is_empty() {
            deck.clone_from(&kinds);
            deck.shuffle(&mut drawn);
        }
        let Some(kind) = deck.pop() else { break };
        let started = Instant::now();
        let facts = match round::play(group, kind, drawn.random(), rules) {
            Ok(facts) => facts,
            Err(error) => {
                // What the next round would begin with is not known.
                eprintln!(
                    "round {number:>2} of {}: {:<7} could not be played to its end: {error:#}",
                    args.rounds,
                    kind.name()
                );
                promises.other_violations += 1;
                keep(number, kind, &group.said(evidence::now()));
                break;
            }
        };
        let findings = judge::judge(&facts);
        add(&mut promises, &facts, &findings);
        eprintln!("round {number:>2} of {}: {}", args.rounds, told(&facts, &findings, started.elapsed()));
        for (name, texts) in findings.named() {
            texts.iter().for_each(|text| eprintln!("    ! {name}: {text}"));
        }
        if !findings.is_empty() {
            keep(number, kind, &facts.said);
        }
    }
    promises.seconds = begun.elapsed().as_secs();
    Ok(promises)
}

/// Writes down what everybody said in a round that did not hold.
fn keep(number: u64, kind: Kind, said: &[(String, String)]) {
    let folder = fleet_faults::target().join("fleet-failures").join(format!("postgres{number}-{}", kind.name()));
    let write = |(name, text): &(String, String)| std::fs::write(folder.join(name), text);
    match std::fs::create_dir_all(&folder).and_then(|()| said.iter().try_for_each(write)) {
        Ok(()) => eprintln!("    what everybody said: {}", folder.display()),
        Err(error) => eprintln!("    {}: {error}", folder.display()),
    }
}

fn add(promises: &mut Promises, facts: &Facts, findings: &Findings) {
    promises.rounds += 1;
    promises.order_violations += findings.order.len();
    promises.lost_rows += facts.missing.iter().map(|(_, rows)| rows.len()).sum::<usize>();
    promises.refusals_over_the_bar += findings.refused.len();
    promises.unfinished += findings.unfinished.len();
    promises.other_violations += findings.other.len();
    promises.acknowledged_rows = facts.acknowledged;
    promises.acted_alone += facts.leavers.iter().filter(|leaver| leaver.alone.is_some()).count();
    let longest = match facts.kind {
        Kind::Replica => &mut promises.longest_refusal_replica_seconds,
        Kind::Primary => &mut promises.longest_refusal_primary_seconds,
        Kind::Zone => {
            promises.notices_apart_seconds = promises.notices_apart_seconds.max(apart(facts));
            promises.longest_work_seconds = promises.longest_work_seconds.max(work(facts));
            return;
        }
    };
    *longest = longest.max(facts.refused_seconds);
    promises.longest_work_seconds = promises.longest_work_seconds.max(work(facts));
}

fn noticed(facts: &Facts) -> impl Iterator<Item = Wall> {
    facts.leavers.iter().filter_map(|leaver| leaver.noticed)
}

fn apart(facts: &Facts) -> f64 {
    noticed(facts).fold(0.0, Wall::max) - noticed(facts).fold(Wall::MAX, Wall::min)
}

/// From the first notice seen to the last server's end.
fn work(facts: &Facts) -> f64 {
    let stopped = facts.leavers.iter().filter_map(|leaver| leaver.stopped).fold(0.0, Wall::max);
    (stopped - noticed(facts).fold(Wall::MAX, Wall::min)).max(0.0)
}

/// A round in one line.
fn told(facts: &Facts, findings: &Findings, took: Duration) -> String {
    let begun = noticed(facts).fold(Wall::MAX, Wall::min);
    let after = |time: Option<Wall>| time.map_or("never".to_owned(), |time| format!("+{:.1}", time - begun));
    let leavers = facts.leavers.iter().map(|leaver| {
        let Leaver { name, drained, stops, stopped, .. } = leaver;
        let alone = leaver.alone.as_ref().map_or(String::new(), |why| format!(" ALONE ({why})"));
        let part = if leaver.is_primary { "primary" } else { "replica" };
        format!("{name} ({part}) drained {}, stopped {}..{}{alone}", after(*drained), after(*stops), after(*stopped))
    });
    let missing: usize = facts.missing.iter().map(|(_, rows)| rows.len()).sum();
    format!(
        "{:<7} {}; no write for {:.2} s at most, {} refused; {} rows acknowledged, {missing} missing; {} ({:.0} s)",
        facts.kind.name(),
        leavers.collect::<Vec<_>>().join(", "),
        facts.refused_seconds,
        facts.refusals,
        facts.acknowledged,
        if findings.is_empty() { "held" } else { "DID NOT HOLD" },
        took.as_secs_f64(),
    )
}

fn summary(promises: &Promises) -> String {
    format!(
        "{} rounds in {} s, seed {}{}{}: {} order violations, {} of {} acknowledged rows missing, {} machines killed at work or with \
         failed work, {} other violations; no write for {:.2} s at most when a replica went, {:.2} s when the primary went alone (bar {}, \
         {} over it); notice to last stop at most {:.1} s of {}; notices of a zone up to {:.2} s apart; {} acted alone",
        promises.rounds,
        promises.seconds,
        promises.seed,
        if promises.with_turns { "" } else { ", WITHOUT TURNS" },
        if promises.killed_at_the_deadline { "" } else { ", killed when all had reported" },
        promises.order_violations,
        promises.lost_rows,
        promises.acknowledged_rows,
        promises.unfinished,
        promises.other_violations,
        promises.longest_refusal_replica_seconds,
        promises.longest_refusal_primary_seconds,
        judge::BAR_SECONDS,
        promises.refusals_over_the_bar,
        promises.longest_work_seconds,
        promises.notice_seconds,
        promises.notices_apart_seconds,
        promises.acted_alone,
    )
}
