//! The command line `snooze`: asks the daemon, or works without it, and shows what it learns.
//!
//! Responsibilities: arguments, help, exit codes, screens; one file a command. Inputs: arguments, the
//! control socket, configuration files. Outputs: data on standard output, talk on standard error. Must
//! never do the daemon's work itself: what it shows comes from the socket or from the same pure functions.
//!
//! `session` is what every command has; `client` talks to the daemon; `render`, `paint` and `duration`
//! say how things look; `fault` is how a command ends.

mod advise;
mod apps;
mod client;
mod completions;
mod config;
mod dashboard;
mod doctor;
mod drill;
mod duration;
mod emit;
mod events;
mod fault;
mod fleet;
pub mod history;
mod insight;
mod man;
mod mock_metadata;
mod paint;
mod plan;
mod plugin;
mod reload;
mod render;
mod report;
mod screen;
mod session;
mod simulate;
mod simulate_policy;
mod status;
#[cfg(test)]
mod tests;
mod upgrade_ready;
mod wait;
mod watch;

pub use completions::completions;
pub use man::man_pages;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use fault::{EXIT_CODES, Fault, Outcome};
use session::{Global, Session, Surroundings};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

const ABOUT: &str = "\
Ask, rehearse and repair CloudSnooze.

The daemon snoozed watches for the notice that this machine is about to go away and calls plugins, in order of \
priority, inside the time that is left. This command shows what it sees and what it would do, rehearses a notice, \
and checks configuration, plugins and machine.

New here? Try these, in this order:
  snooze doctor                                        is everything as it should be?
  snooze plan cloud.spot.interrupt --left 120s         what would happen?
  snooze simulate cloud.spot.interrupt --in 120s --wait    let it happen
  snooze report                                        what happened?
  snooze drill                                         do what can be undone, and undo it";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "snooze", version, about = "Ask, rehearse and repair CloudSnooze", long_about = ABOUT)]
#[command(after_help = EXIT_CODES, disable_help_subcommand = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

#[derive(Debug, Subcommand)]
enum Command {
    Status(status::Args),
    Plan(plan::Args),
    Simulate(simulate::Args),
    Drill(drill::Args),
    Emit(emit::Args),
    Watch(watch::Args),
    Dashboard(dashboard::Args),
    Wait(wait::Args),
    Apps(apps::Args),
    Events(events::Args),
    Fleet(fleet::Args),
    Report(report::Args),
    History(history::Args),
    Insight(insight::Args),
    Plugin(plugin::Args),
    Config(config::Args),
    Reload(reload::Args),
    UpgradeReady(upgrade_ready::Args),
    Advise(advise::Args),
    SimulatePolicy(simulate_policy::Args),
    Doctor(doctor::Args),
    MockMetadata(mock_metadata::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// The command line as clap's description of it: for manual pages and completions.
pub fn command() -> clap::Command {
    mock_metadata::named(Cli::command())
}

/// Runs the process's command line.
pub fn main() -> ExitCode {
    let (out, talk) = (&mut std::io::stdout().lock(), &mut std::io::stderr());
    ExitCode::from(run(std::env::args_os(), Surroundings::of_process(), out, talk))
}

/// Runs one command line; the first argument is the program's name. Returns the exit code.
fn run(
    arguments: impl IntoIterator<Item = OsString>,
    surroundings: Surroundings,
    out: &mut dyn Write,
    talk: &mut dyn Write,
) -> u8 {
    let matches = command().try_get_matches_from(arguments);
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return tell_usage(&error, surroundings.is_colourful, out, talk),
    };
    let outcome = dispatch(cli.command, &mut Session::new(cli.global, surroundings, out, talk));
    match outcome {
        Ok(exit) => exit.code(),
        Err(fault) if fault.is_reader_gone() => 0,
        Err(fault) => tell(&fault, talk),
    }
}

fn dispatch(command: Command, session: &mut Session<'_>) -> Outcome {
    match command {
        Command::Status(args) => status::run(&args, session),
        Command::Plan(args) => plan::run(&args, session),
        Command::Simulate(args) => simulate::run(&args, session),
        Command::Drill(args) => drill::run(&args, session),
        Command::Emit(args) => emit::run(&args, session),
        Command::Watch(args) => watch::run(&args, session),
        Command::Dashboard(args) => dashboard::run(&args, session),
        Command::Wait(args) => wait::run(&args, session),
        Command::Apps(args) => apps::run(&args, session),
        Command::Events(args) => events::run(&args, session),
        Command::Fleet(args) => fleet::run(&args, session),
        Command::Report(args) => report::run(&args, session),
        Command::History(args) => history::run(&args, session),
        Command::Insight(args) => insight::run(&args, session),
        Command::Plugin(args) => plugin::run(&args, session),
        Command::Config(args) => config::run(&args, session),
        Command::Reload(args) => reload::run(&args, session),
        Command::UpgradeReady(args) => upgrade_ready::run(&args, session),
        Command::Advise(args) => advise::run(&args, session),
        Command::SimulatePolicy(args) => simulate_policy::run(&args, session),
        Command::Doctor(args) => doctor::run(&args, session),
        Command::MockMetadata(args) => mock_metadata::run(&args, session),
        Command::Completions(args) => completions::run(&args, session),
        Command::Man(args) => man::run(&args, session),
    }
}

/// Help and version are data; a wrong command line is talk.
fn tell_usage(error: &clap::Error, is_colourful: bool, out: &mut dyn Write, talk: &mut dyn Write) -> u8 {
    let text = error.render();
    let text = if is_colourful { text.ansi().to_string() } else { text.to_string() };
    // The exit code says it too, should nobody be listening.
    let _ = if error.use_stderr() { talk.write_all(text.as_bytes()) } else { out.write_all(text.as_bytes()) };
    u8::try_from(error.exit_code()).unwrap_or(2)
}

fn tell(fault: &Fault, talk: &mut dyn Write) -> u8 {
    let details: String = fault.details().iter().map(|detail| format!("  {detail}\n")).collect();
    // As above.
    let _ = write!(talk, "snooze: {fault}\n{details}");
    fault.code()
}
