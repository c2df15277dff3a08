//! The program `fake-metadata`: plays a cloud's instance metadata service on a port of this machine.
//!
//! Responsibilities: read the arguments, run, report an error once. Inputs: arguments. Outputs: lines on standard output.
//! It must never do anything the library does not.

use std::process::ExitCode;

use clap::Parser;
use fake_metadata::cli::{Args, run};

fn main() -> ExitCode {
    match run(&Args::parse(), &mut std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fake-metadata: {error}");
            ExitCode::FAILURE
        }
    }
}
