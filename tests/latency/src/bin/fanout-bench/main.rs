//! `fanout-bench`: one event for many handlers, tiers, floods, and what the pieces cost.
//!
//! Inputs: options. Outputs: lines on standard output, `promises/fanout.json` in the target directory. It measures this
//! daemon only; `latency-bench` compares. Must never run beside another benchmark: there is no interleaving here.

mod costs;
mod fanout;
mod figures;
mod flood;

use clap::Parser;
use figures::Figures;
use latency::stage;
use latency::workshop::Workshop;
use std::io;
use std::path::PathBuf;

/// Measures how CloudSnooze fans one event out to many handlers, hands over between tiers, and holds a flood of
/// unimportant events away from an urgent one. Figures are of this machine only.
#[derive(Debug, Parser)]
#[command(name = "fanout-bench")]
struct Options {
    /// About ten seconds, for a first look.
    #[arg(long)]
    quick: bool,
    /// Directory for promises/fanout.json [default: cargo's target].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let (events, urgent, queued) = if options.quick { (50, 100, 1_000_000) } else { (500, 1_000, 10_000_000) };
    let workshop = Workshop::build()?;
    let mut figures = Figures::default();
    println!("{:<14}{:<46}{:>10}{:>10}{:>10}", "", "", "p50", "p99", "max");
    costs::queue(queued, &mut figures);
    costs::subscriptions(&mut figures);
    // From here on this thread plays a source.
    let source = stage::granted(stage::raise());
    figures.put("machine", "source", source.into());
    figures.put("machine", "workers", fanout::granted(workshop.path())?);
    fanout::one_tier(workshop.path(), events, &mut figures)?;
    fanout::tier_to_tier(workshop.path(), events, &mut figures)?;
    flood::run(workshop.path(), urgent, &mut figures)?;
    let target = || std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let directory = options.out.unwrap_or_else(target).join("promises");
    std::fs::create_dir_all(&directory)?;
    std::fs::write(directory.join("fanout.json"), format!("{:#}\n", figures.json()))
}
