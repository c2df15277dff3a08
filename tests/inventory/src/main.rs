//! `inventory`: writes the bill of materials and the licences of what is shipped; `make deb`, `make rpm` and `make install` call it.
//! Inputs: arguments, `cargo metadata`. Outputs: two files. Must never hold logic of its own.

use anyhow::{Context, Result};
use clap::Parser;
use inventory::{Inventory, licences, sbom};
use std::path::PathBuf;

/// Write what is built into these packages of the workspace, and the licences of others among it.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Forbid cargo the network.
    #[arg(long)]
    offline: bool,
    /// A further configuration file for cargo, as `cargo --config` takes it: that of vendored sources.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the bill of materials goes, CycloneDX 1.5 in JSON.
    #[arg(long, value_name = "FILE")]
    sbom: PathBuf,
    /// Where the texts of the licences go.
    #[arg(long, value_name = "FILE")]
    licences: PathBuf,
    /// Packages of the workspace.
    #[arg(value_name = "PACKAGE", required = true)]
    packages: Vec<String>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let inventory = Inventory::of(&args.packages, args.offline, args.config.as_deref())?;
    let write = |path: &PathBuf, text: String| std::fs::write(path, text).with_context(|| path.display().to_string());
    write(&args.sbom, sbom::text(&inventory)?)?;
    write(&args.licences, licences::text(&inventory)?)
}
