//! `latency-bench`: runs every design side by side and tells how they compare.
//!
//! Story: build the parts, start the participants, and for each scenario start its load, go through the rounds, end the
//! load, print a table, draw a chart; at the end write the promises. Progress goes to standard error, results to standard
//! output. Must never pass over in silence what did not run.

mod chart;
mod designs;
mod load;
mod machine;
mod measure;
mod options;
mod participant;
mod promises;
mod scenario;
mod table;

use clap::Parser;
use latency::stats::Numbers;
use latency::workshop::Workshop;
use load::Load;
use machine::Machine;
use measure::Measured;
use options::Options;
use participant::Participant;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// What did not run, or not as it should: each said once when it happens, counted for the exit code.
#[derive(Debug, Default)]
struct Lacks(usize);

impl Lacks {
    fn say(&mut self, text: &str) {
        self.0 += 1;
        eprintln!("NOT RUN: {text}");
    }
}

fn main() -> ExitCode {
    match bench(&Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("latency-bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn bench(options: &Options) -> Result<ExitCode, String> {
    let (designs, scenarios) = (options.designs()?, options.scenarios()?);
    let out = out_directory(options)?;
    let seed = options.seed.unwrap_or_else(seed_from_time);
    eprintln!("building parts; seed {seed}, {} rounds", options.rounds());
    let workshop = Workshop::build().map_err(|error| error.to_string())?;
    let mut lacks = Lacks::default();
    let mut participants = start(&designs, &workshop, &mut lacks);
    let machine = Machine::here(granted(&participants, &mut lacks));
    let mut numbers = Numbers::new(seed);
    let mut all = Vec::new();
    let mut failed = false;
    for scenario in scenarios {
        let measured = Load::start(scenario, &out)
            .and_then(|mut load| measure::run(options, scenario, &mut participants, &mut load, &mut numbers));
        match measured {
            Err(error) => lacks.say(&format!("scenario {}: {error}", scenario.name)),
            Ok(measured) => {
                failed |= !measured.failed.is_empty();
                report(options, &measured, seed, &out)?;
                all.push(measured);
            }
        }
    }
    drop(participants);
    let promises = promises::promises(&all, &machine, options.rounds(), seed);
    let path = out.join("promises/latency.json");
    let text = format!("{promises:#}\n");
    std::fs::write(&path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
    if options.json {
        print!("{text}");
    } else {
        print_sources(&designs, &machine, seed, &path);
    }
    let is_incomplete = options.require_all && lacks.0 > 0;
    Ok(if failed || is_incomplete { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Table and chart of one scenario, as soon as it is over.
fn report(options: &Options, measured: &Measured, seed: u64, out: &Path) -> Result<(), String> {
    if !options.json {
        println!("{}", table::table(measured, seed));
    }
    let path = out.join(format!("latency-{}.svg", measured.scenario.name));
    chart::draw(measured, &path).map_err(|error| format!("{}: {error}", path.display()))
}

fn start(designs: &[&'static designs::Design], workshop: &Workshop, lacks: &mut Lacks) -> Vec<Participant> {
    let mut started = Vec::new();
    for design in designs {
        let unbuilt = workshop.missing.iter().find(|(part, _)| *part == design.name);
        let outcome = match unbuilt {
            Some((_, reason)) => Err(reason.clone()),
            None => Participant::start(design, workshop.path()),
        };
        match outcome {
            Ok(participant) => {
                eprintln!("{}: {}, {}", design.name, participant.ready.granted, participant.ready.note);
                started.push(participant);
            }
            Err(reason) => lacks.say(&format!("design {}: {reason}", design.name)),
        }
    }
    started
}

/// The least that a design which asks for real time was granted.
fn granted(participants: &[Participant], lacks: &mut Lacks) -> String {
    let asks = participants.iter().map(|p| &p.ready).filter(|ready| !ready.name.starts_with("rival-"));
    if let Some(ready) = asks.clone().find(|ready| !ready.granted.starts_with("SCHED_")) {
        lacks.say(&format!(
            "real-time scheduling was refused ({} got '{}'): under load that costs a factor of 100 to 1,000 at p99, and \
             these figures are not those of a daemon that has it (root or CAP_SYS_NICE is needed)",
            ready.name, ready.granted
        ));
        return ready.granted.clone();
    }
    asks.map(|ready| ready.granted.clone()).next().unwrap_or_else(|| "normal".into())
}

fn print_sources(designs: &[&'static designs::Design], machine: &Machine, seed: u64, promises: &Path) {
    println!("{} on {} cores, kernel {}, {}; seed {seed}", machine.cpu, machine.cores, machine.kernel, machine.granted);
    println!("ratios: median over rounds [95 % bootstrap interval], * all rounds together: too few events a round");
    for design in designs {
        println!("  {:<20}{}", design.name, design.source);
    }
    println!("promises: {}", promises.display());
}

/// Where results go; made with all it needs.
fn out_directory(options: &Options) -> Result<PathBuf, String> {
    let target = || std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let out = options.out.clone().unwrap_or_else(target);
    std::fs::create_dir_all(out.join("promises")).map_err(|error| format!("{}: {error}", out.display()))?;
    Ok(out)
}

#[allow(clippy::cast_possible_truncation, reason = "the low digits are the ones that differ")]
fn seed_from_time() -> u64 {
    // Short enough to be typed again.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_millis() as u64 % 1_000_000)
}
