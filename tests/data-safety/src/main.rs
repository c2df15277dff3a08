//! Shows that nothing acknowledged is lost: servers and programs killed at the deadline of a notice, round after round.
//!
//! Inputs: which, how often. Outputs: tables or JSON; the exit code says whether it holds. Each subject has a machine of its own:
//! a metadata service, a daemon, a private server or program. Must never touch a server that it has not started.

mod clock;
mod database;
mod interruption;
mod ledger;
mod outcome;
mod plan;
mod resumptions;
mod servers;
mod trajectory;

use clap::Parser;
use outcome::{Ending, Shown};
use plan::Plan;
use serde_json::json;
use servers::SERVERS;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What a SIGKILL shows, said with every outcome.
const WHAT_IT_SHOWS: &str = "A SIGKILL takes what stands in a server's own memory; what it has handed to the kernel survives. That the \
    disk holds it after a loss of power is the servers' word (fsync), which the plugins ask for and this does not show.";

fn main() -> ExitCode {
    let mut plan = Plan::parse();
    match harness::paths::bin_dir() {
        Ok(directory) => plan.bin_dir = directory,
        Err(error) => {
            plan.tell(&error);
            return ExitCode::from(Ending::Unknown.code());
        }
    }
    let templates = match tempfile::Builder::new().prefix("data-safety-").tempdir() {
        Ok(directory) => directory,
        Err(error) => {
            plan.tell(&format!("cannot make a temporary directory: {error}"));
            return ExitCode::from(Ending::Unknown.code());
        }
    };
    let begun = Instant::now();
    let all = show_all(&plan, templates.path());
    let requires_all = plan.require_all || std::env::var(harness::require::REQUIRE_ALL).is_ok_and(|value| value == "1");
    let ending = Ending::of(&all, requires_all);
    let (date, machine, seconds) = (jiff::Timestamp::now(), machine(), begun.elapsed().as_secs());
    let told = json!({
        "ending": ending, "subjects": all, "not_shown_safe": outcome::not_shown_safe(&all), "date": format!("{date:.0}"),
        "machine": machine, "seconds": seconds, "seconds_to_deadline": plan.seconds, "shows": WHAT_IT_SHOWS,
    });
    if let Err(error) = keep(&plan, &format!("{told:#}\n")) {
        plan.tell(&error);
        return ExitCode::from(Ending::Unknown.code());
    }
    if plan.json {
        println!("{told:#}");
    } else {
        println!("{}\n{WHAT_IT_SHOWS}\n", outcome::text(&all));
        let verdict = match ending {
            Ending::Holds => "Nothing was lost, and without the plugin something was.",
            Ending::Fails => "FAILED: it does not hold.",
            Ending::Unknown => "NOT SHOWN: something that is needed is missing or broken.",
        };
        println!("{verdict} {date:.0}, {machine}, {seconds} s.");
    }
    ExitCode::from(ending.code())
}

/// Writes the figures where promises are judged by them.
fn keep(plan: &Plan, text: &str) -> Result<(), String> {
    let target = || std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let directory = plan.out.clone().unwrap_or_else(target).join("promises");
    let file = directory.join("data-safety.json");
    let failed = |error: std::io::Error| format!("{}: {error}", file.display());
    std::fs::create_dir_all(&directory).map_err(failed)?;
    std::fs::write(&file, text).map_err(failed)
}

/// Shows all, some side by side, in the order of the plan.
fn show_all(plan: &Plan, templates: &Path) -> Vec<Shown> {
    let subjects = plan.subjects();
    let (next, shown) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((place, name)) = {
            let place = next.fetch_add(1, Ordering::Relaxed);
            subjects.get(place).map(|name| (place, *name))
        } {
            let one = show(name, plan, templates);
            if let Shown::NotRun(name, why) = &one {
                plan.tell(&format!("NOT RUN: {name}: {why}"));
            }
            shown.lock().unwrap_or_else(PoisonError::into_inner).push((place, one));
        }
    };
    std::thread::scope(|scope| {
        for _job in 0..plan.jobs {
            scope.spawn(work);
        }
    });
    let mut shown = shown.into_inner().unwrap_or_else(PoisonError::into_inner);
    shown.sort_by_key(|(place, _)| *place);
    shown.into_iter().map(|(_, one)| one).collect()
}

fn show(name: &'static str, plan: &Plan, templates: &Path) -> Shown {
    let outcome = if SERVERS.contains(&name) {
        if let Some(package) = servers::missing(name) {
            return Shown::NotRun(name, format!("install {package}"));
        }
        servers::show(name, plan, templates).map(Shown::Server)
    } else {
        match resumptions::kind(name) {
            Ok(kind) => resumptions::show(&kind, plan).map(Shown::Program),
            Err(missing) => return Shown::NotRun(name, missing),
        }
    };
    outcome.unwrap_or_else(|error| Shown::Broken(name, error))
}

/// This machine, in a few words.
fn machine() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("Linux {}, {}, {processors} CPUs", kernel.trim(), std::env::consts::ARCH)
}
