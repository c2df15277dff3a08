//! `snooze completions`: what a shell needs to complete the command line.
//!
//! Inputs: the command line's description. Outputs: a script. Must never depend on the machine: packages
//! are built with it.

use super::fault::{Exit, Outcome};
use super::session::Session;
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  snooze completions bash | sudo tee /usr/share/bash-completion/completions/snooze >/dev/null
  snooze completions zsh > ~/.zfunc/_snooze
  snooze completions fish > ~/.config/fish/completions/snooze.fish";

/// Print the completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The shell.
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

/// Runs the command.
///
/// # Errors
/// Standard output is closed.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    session.print(&completions(args.shell))?;
    Ok(Exit::Ok)
}

/// The completion script of a shell.
pub fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "snooze", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
