//! `policy-bench`: policies, saves and caps on public data, next to their references and bars.
//!
//! Inputs: the directory of the data. Outputs: tables, `promises/policies.json`; exit code 1 when a bar is broken.
#![allow(clippy::print_stdout)]

use anyhow::Result;
use clap::Parser;
use policy_bench::policies::{Line, held_out, missed, table_3};
use policy_bench::{Figure, markets, saves};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Measures what policies, saves and caps are worth on the public data, and compares with what is published and with the bars.
#[derive(Debug, Parser)]
#[command(name = "policy-bench")]
struct Options {
    /// Directory of the public sets.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Directory for promises/policies.json [default: cargo's target].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Runs of each zone in the last 40 % of 45 days.
    #[arg(long, default_value_t = 60)]
    runs: usize,
    /// Jobs of each way of saving.
    #[arg(long, default_value_t = 40_000)]
    jobs: u32,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let began = Instant::now();
    let (mut lines, mut figures) = table_3(&options.data, 1)?;
    let (more, held) = held_out(&options.data, options.runs)?;
    lines.extend(more);
    figures.extend(held);
    figures.push(missed(&lines));
    let runs: usize = lines.iter().map(|line| line.summary.runs).sum();
    let seconds = began.elapsed().as_secs_f64();
    figures.extend(saves::saves(&options.data, options.jobs)?);
    figures.extend(markets::markets(&options.data)?);
    print_lines(&lines);
    println!("{runs} runs in {seconds:.1} s: {:.1} s for 1,000\n", 1000.0 * seconds / runs.max(1) as f64);
    print_figures(&figures);
    let broken: Vec<&str> =
        figures.iter().filter(|figure| !figure.is_kept()).map(|figure| figure.name.as_str()).collect();
    let target = || std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let directory = options.out.unwrap_or_else(target).join("promises");
    std::fs::create_dir_all(&directory)?;
    let per_1000 = 1000.0 * seconds / runs.max(1) as f64;
    let file = json!({
        "seconds_per_1000_runs": per_1000, "bars_broken": broken.len(), "figures": figures, "policies": lines,
    });
    std::fs::write(directory.join("policies.json"), format!("{file:#}\n"))?;
    if broken.is_empty() {
        println!("\nevery bar is kept");
        return Ok(ExitCode::SUCCESS);
    }
    println!("\nBROKEN: {}", broken.join("; "));
    Ok(ExitCode::FAILURE)
}

fn print_lines(lines: &[Line]) {
    println!(
        "{:<28}{:<24}{:>6}{:>6}{:>9}{:>8}{:>18}{:>9}{:>8}{:>8}",
        "", "policy", "runs", "late", "saved", "+-", "on demand h", "spot h", "lost h", "taken"
    );
    for line in lines {
        let s = &line.summary;
        println!(
            "{:<28}{:<24}{:>6}{:>6}{:>8.1}%{:>7.1}%{:>10.1} +-{:>5.1}{:>9.1}{:>8.2}{:>8.1}",
            line.scene,
            line.policy,
            s.runs,
            s.late,
            100.0 * s.saved,
            196.0 * s.saved_error,
            s.on_demand_h,
            s.on_demand_sd_h,
            s.spot_h,
            s.lost_h,
            s.interruptions
        );
    }
}

fn print_figures(figures: &[Figure]) {
    println!("{:<76}{:>10}{:>11}{:>12}", "figure", "measured", "reference", "bar");
    for figure in figures {
        let reference = figure.reference.map_or_else(String::new, |reference| format!("{reference:.4}"));
        let mark = if figure.is_kept() { "" } else { "  BROKEN" };
        println!("{:<76}{:>10.4}{:>11}{:>12}{mark}", figure.name, figure.measured, reference, figure.bar_in_words());
    }
}
