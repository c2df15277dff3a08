//! What a fleet of 100,000 costs its servers: groups simulated, servers measured, the rest computed, and which limit comes first.
//!
//! Inputs: sizes of groups, how long, how many connections. Outputs: tables, or JSON, in which each number says where it comes from.
//! It must never show a number as measured that was computed, nor touch any server but its own.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use serde::Serialize;

mod extrapolate;
mod limits;
mod measure;
mod report;
mod servers;
mod simulate;
mod writes;

/// What a fleet of 100,000 costs its servers, and which limit comes first.
///
/// Three parts. Simulated: the members' own state machines, in groups of each size, on servers that only count. Measured: three real
/// servers on this machine, with real members, then with nothing but writes. Computed: both, times as many as --instances need.
#[derive(Parser, Debug)]
#[command(max_term_width = 100)]
#[command(after_help = "Examples:
  fleet-scale                                 all of it; minutes
  fleet-scale --no-servers --sizes 10,100     only what is simulated, without a server; seconds
  fleet-scale --heartbeat 30 --no-servers     the same members, heard of every 30 s
  fleet-scale --json > scale.json             all numbers, for machines

Exit codes: 0 done, 1 a part could not be done, 2 wrong arguments.")]
pub struct Args {
    /// Sizes of the simulated groups.
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_values_t = [10, 30, 100, 300, 1000])]
    pub sizes: Vec<usize>,
    /// Time that a group of 100 is simulated at rest, minutes; larger ones shorter, in proportion.
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    pub rest: u64,
    /// Seconds between two signs of life of a member.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub heartbeat: f64,
    /// Seconds for which a lease is given.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub lease: f64,
    /// The largest group in which a zone goes; in one of 1,000 that is tens of GB of plans to read.
    #[arg(long, value_name = "N", default_value_t = 300)]
    pub zone_up_to: usize,
    /// How many members of a group may lead; all by default, as by the settings' default.
    #[arg(long, value_name = "N")]
    pub may_lead: Option<usize>,
    /// Instances of the whole fleet.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub instances: usize,
    /// Interruptions that an instance has in a month; the Spot Instance Advisor of AWS has up to 0.2 and above in its classes.
    #[arg(long, value_name = "N", default_value_t = 0.2)]
    pub interruptions: f64,
    /// Members on the real servers.
    #[arg(long, value_name = "N", default_value_t = 300)]
    pub members: usize,
    /// Sizes of their groups, one after another.
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_values_t = [10, 100, 300])]
    pub member_groups: Vec<usize>,
    /// Connections that do nothing.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub connections: usize,
    /// Seconds that each state of the servers is watched.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub watch: u64,
    /// Without real servers.
    #[arg(long)]
    pub no_servers: bool,
    /// Print everything as JSON.
    #[arg(long)]
    pub json: bool,
}

/// All that was found.
#[derive(Debug, Serialize)]
struct Found {
    heartbeat_seconds: f64,
    lease_seconds: f64,
    simulated: Vec<simulate::Simulated>,
    growth: Vec<simulate::Growth>,
    measured: Option<measure::Measured>,
    instances: usize,
    extrapolated: Vec<extrapolate::Extrapolated>,
    limits: Vec<limits::Limit>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    ensure!(args.sizes.iter().chain(&args.member_groups).all(|size| *size > 1), "a group has two members at least");
    let mut simulated = Vec::new();
    for size in &args.sizes {
        eprintln!("simulating a group of {size}");
        simulated.push(simulate::simulate(&args, *size)?);
    }
    let measured = if args.no_servers { None } else { Some(measure::measure(&args, &simulated)?) };
    let limits = limits::all(measured.as_ref());
    let extrapolated =
        simulated.iter().map(|of| extrapolate::extrapolate(&args, of, measured.as_ref(), &limits)).collect();
    let growth = simulate::growth(&simulated);
    let found = Found {
        heartbeat_seconds: args.heartbeat,
        lease_seconds: args.lease,
        simulated,
        growth,
        measured,
        instances: args.instances,
        extrapolated,
        limits,
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&found)?);
    } else {
        report::print(&found);
    }
    Ok(ExitCode::SUCCESS)
}
