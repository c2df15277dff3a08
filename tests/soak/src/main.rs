//! The fault campaign: thousands of interruptions on the built daemon, each with faults drawn from a seed, and what must
//! hold after each.
//!
//! Inputs: how many, a seed. Outputs: counts, what was found, `promises/soak.json`; the exit code says whether everything
//! held. Several daemons run side by side, each with a metadata service of its own.

mod draw;
mod ledger;
mod stage;

use anyhow::Context;
use clap::Parser;
use ledger::Findings;
use serde::Serialize;
use stage::{Counts, Stage};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Plays thousands of interruptions with faults and checks that nothing was lost or done twice.
///
/// Faults: the daemon is killed, stopped, its disk filled; its plugins fail, hang, crash it, call exit(); the metadata
/// service answers errors, garbage, half bodies, late or not at all, with drifting times, and withdraws notices. After
/// each: the event was handled, each handler's effect is there once, in order, and the report is written.
#[derive(Parser, Debug)]
#[command(max_term_width = 100)]
struct Args {
    /// Interruptions.
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    interruptions: u64,
    /// Number that the faults are drawn from [default: the time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Daemons side by side.
    #[arg(long, value_name = "N", default_value_t = 4)]
    workers: u64,
    /// Throws the journal away whenever the daemon ends: the campaign must fail.
    #[arg(long)]
    without_journal: bool,
    /// Directory for the promises (promises/soak.json) [default: cargo's target]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the promises as JSON.
    #[arg(long)]
    json: bool,
}

/// What the campaign came to.
#[derive(Debug, Serialize)]
struct Promises {
    interruptions: u64,
    handled: u64,
    handled_pct: f64,
    lost: usize,
    repeated: usize,
    invariant_violations: usize,
    seed: u64,
    daemon_kills: u64,
    daemon_crashes: u64,
    restarts: u64,
    plugin_faults: u64,
    plugin_fault_pct: f64,
    metadata_faults: u64,
    stops: u64,
    full_disks: u64,
    /// Notices that were withdrawn before anybody had written their event down.
    withdrawn_unknown: u64,
    max_first_start_us: u64,
    seconds: u64,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.as_secs());
    let seed = args.seed.unwrap_or(now % 1_000_000);
    let begun = Instant::now();
    let (counts, found) = campaign(&args, seed)?;
    let promises = promises(counts, &found, seed, begun.elapsed());
    let out = args.out.clone().unwrap_or_else(target);
    std::fs::create_dir_all(out.join("promises")).context("the directory of the promises")?;
    let text = serde_json::to_string_pretty(&promises)?;
    std::fs::write(out.join("promises/soak.json"), format!("{text}\n"))?;
    if args.json {
        println!("{text}");
    } else {
        summary(&promises, &found);
    }
    let holds = promises.handled_pct >= 99.9
        && (promises.lost, promises.repeated, promises.invariant_violations) == (0, 0, 0)
        && promises.interruptions == args.interruptions;
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn target() -> PathBuf {
    let given = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    given.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target"))
}

/// Runs the workers; gives their counts and findings together.
fn campaign(args: &Args, seed: u64) -> anyhow::Result<(Counts, Findings)> {
    let (next, all) = (AtomicU64::new(0), Mutex::new(Findings::default()));
    let workers = args.workers.clamp(1, 64);
    let work = |worker: u64| -> anyhow::Result<Counts> {
        let mut stage = Stage::open(args.without_journal)?;
        if worker == 0 && !stage.has_disk() {
            eprintln!("NOT RUN: full disks: mounting a small file system needs root");
        }
        let mut random = draw::generator(seed, worker);
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= args.interruptions {
                return Ok(stage.counts);
            }
            progress(number, args.interruptions);
            let draw = draw::draw(&mut random);
            let found = stage.play(&draw)?;
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            let told = |text: String| format!("interruption {number} of worker {worker}, {draw:?}: {text}");
            all.lost.extend(found.lost.into_iter().map(told));
            all.repeated.extend(found.repeated.into_iter().map(told));
            all.violations.extend(found.violations.into_iter().map(told));
        }
    };
    let counts = std::thread::scope(|scope| {
        let running: Vec<_> = (0..workers).map(|worker| scope.spawn(move || work(worker))).collect();
        let ended = running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a worker of the campaign panicked"))));
        ended.collect::<Vec<_>>()
    });
    let total =
        counts.into_iter().try_fold(Counts::default(), |sum, counts| Ok::<_, anyhow::Error>(sum.plus(counts?)))?;
    Ok((total, all.into_inner().unwrap_or_else(PoisonError::into_inner)))
}

fn progress(number: u64, of: u64) {
    let mut err = std::io::stderr().lock();
    if err.is_terminal() {
        let _ = write!(err, "\r{number} of {of} interruptions");
        let _ = err.flush();
    } else if number.is_multiple_of(100) {
        let _ = writeln!(err, "{number} of {of} interruptions");
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of a campaign")]
fn promises(counts: Counts, found: &Findings, seed: u64, took: Duration) -> Promises {
    let share = |part: u64| 100.0 * part as f64 / counts.interruptions.max(1) as f64;
    Promises {
        interruptions: counts.interruptions,
        handled: counts.handled,
        handled_pct: share(counts.handled),
        lost: found.lost.len(),
        repeated: found.repeated.len(),
        invariant_violations: found.violations.len(),
        seed,
        daemon_kills: counts.kills,
        daemon_crashes: counts.crashes,
        restarts: counts.resumed,
        plugin_faults: counts.plugin_faults,
        plugin_fault_pct: share(counts.plugin_faults),
        metadata_faults: counts.metadata_faults,
        stops: counts.stops,
        full_disks: counts.full_disks,
        withdrawn_unknown: counts.withdrawn_unknown,
        max_first_start_us: counts.slowest_first_us,
        seconds: took.as_secs(),
    }
}

fn summary(promises: &Promises, found: &Findings) {
    let Promises { interruptions, seconds, seed, handled, handled_pct, lost, repeated, .. } = promises;
    println!("\n{interruptions} interruptions in {seconds} s, seed {seed}: {handled} handled ({handled_pct:.2} %)");
    println!(
        "  the daemon was killed {} times, crashed by a plugin {}, restarted {}, stopped {}; its disk was full {}",
        promises.daemon_kills, promises.daemon_crashes, promises.restarts, promises.stops, promises.full_disks
    );
    println!(
        "  plugins went wrong in {} ({:.0} %), the metadata service in {}",
        promises.plugin_faults, promises.plugin_fault_pct, promises.metadata_faults
    );
    println!("  notices withdrawn before their event was written down: {}", promises.withdrawn_unknown);
    println!("  slowest first start where nothing was done to the daemon: {} us", promises.max_first_start_us);
    println!("  lost {lost}, repeated {repeated}, violations {}", promises.invariant_violations);
    for text in found.lost.iter().chain(&found.repeated).chain(&found.violations).take(20) {
        println!("  ! {text}");
    }
}
