//! `insight-bench`: how well interruptions are foreseen, on data that the models were not shown.
//!
//! Inputs: the directory of the public data, or files of the same formats. Outputs: tables or JSON,
//! `promises/insight.json`; exit code 1 when a bar is broken. Must never be taken for a measurement of this machine:
//! the figures are the same on every one.
#![allow(clippy::print_stdout)]

use anyhow::{Result, bail};
use clap::Parser;
use insight_bench::report::{Report, all, other};
use insight_bench::{Data, read_lives, read_ticks};
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

/// Fits every model of interruption to one part of public data and scores it on the other. docs/insight.md says which
/// data, and where they are from.
#[derive(Debug, Parser)]
#[command(name = "insight-bench")]
struct Options {
    /// Directory of the public data sets (gcp-preemptible-2019, skypilot-spot-traces, aws-spot-advisor).
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// In place of those: a CSV of other lives, with the same columns.
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    lives: Option<PathBuf>,
    /// In place of those: a directory of other traces, one JSON for each zone.
    #[arg(long, value_name = "DIR", conflicts_with = "data")]
    ticks: Option<PathBuf>,
    /// Machines that have to be available in --ticks.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    wanted: u32,
    /// Print JSON in place of tables.
    #[arg(long)]
    json: bool,
    /// Directory for promises/insight.json [default: cargo's target]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let report = measured(&options)?;
    let json = serde_json::to_string_pretty(&report)?;
    if options.data.is_some() {
        let target = || std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        let out = options.out.clone().unwrap_or_else(target).join("promises");
        fs::create_dir_all(&out)?;
        fs::write(out.join("insight.json"), format!("{json}\n"))?;
    }
    if options.json {
        println!("{json}");
    } else {
        print!("{}", report.text());
    }
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measured(options: &Options) -> Result<Report> {
    if let Some(directory) = &options.data {
        return all(&Data::open(directory)?);
    }
    if options.lives.is_none() && options.ticks.is_none() {
        bail!(
            "which data? --data DIR names the directory of the public sets (docs/insight.md says where they are from); \
             --lives and --ticks name others"
        );
    }
    let lives = options.lives.as_deref().map(read_lives).transpose()?.map(|read| read.lives);
    let ticks = options.ticks.as_deref().map(read_ticks).transpose()?;
    other(lives, ticks, options.wanted)
}
