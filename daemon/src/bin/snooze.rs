//! The program `snooze`: the command line of CloudSnooze.
//!
//! Responsibilities: start it. Inputs: arguments. Outputs: text and an exit code. Must never do anything
//! the library does not.

use std::process::ExitCode;

fn main() -> ExitCode {
    cloudsnooze::cli::main()
}
