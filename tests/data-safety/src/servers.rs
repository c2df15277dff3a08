//! The rounds of one server: hammered, interrupted, killed at the deadline, started again, read back.
//!
//! Inputs: a server, how many rounds, the plugin or not. Outputs: a [`ServerOutcome`]. Rounds without the plugin come first: where they
//! lose nothing, the others prove nothing. Must never let a round count of which it does not know everything.

use crate::database::{Database, Writers, mariadb, postgres, redis};
use crate::interruption::Machine;
use crate::ledger::{self, Verdict};
use crate::outcome::{Control, ServerOutcome};
use crate::plan::Plan;
use std::path::Path;

/// The servers, by the name they have on the command line.
pub const SERVERS: [&str; 3] = ["mariadb", "postgres", "redis"];

/// The Debian package to install when a server is not there.
pub fn missing(name: &str) -> Option<&'static str> {
    match name {
        "mariadb" => harness::mariadb::missing(),
        "postgres" => harness::postgres::missing(),
        _ => harness::redis::missing(),
    }
}

/// Runs all rounds of one server.
///
/// # Errors
/// When a round could not be carried out.
pub fn show(name: &'static str, plan: &Plan, templates: &Path) -> Result<ServerOutcome, String> {
    let (mut database, at_risk) = match name {
        "mariadb" => (mariadb::start()?, mariadb::AT_RISK),
        "postgres" => (postgres::start(templates)?, postgres::AT_RISK),
        _ => (redis::start()?, redis::AT_RISK),
    };
    let mut outcome = ServerOutcome::new(name, database.version()?, at_risk);
    for round in 1..=plan.control_rounds {
        let played = play(database.as_mut(), plan, round, false)?;
        outcome.control = outcome.control.plus(Control::of(played.verdict.acknowledged, played.verdict.lost));
        plan.tell(&format!("{name}: round {round} of {} without the plugin: {}", plan.control_rounds, played.told()));
    }
    for round in 1..=plan.rounds {
        // Numbers of rounds are not used twice: rows tell by them when they were written.
        let played = play(database.as_mut(), plan, plan.control_rounds + round, !plan.without_plugin)?;
        plan.tell(&format!("{name}: round {round} of {}: {}", plan.rounds, played.told()));
        outcome.rounds += 1;
        outcome.verdict = outcome.verdict.plus(played.verdict);
        outcome.refused += played.refused;
        outcome.slowest_flush_ms = outcome.slowest_flush_ms.max(played.took_ms);
        outcome.failures.extend(played.failure.map(|failure| format!("round {round}: {failure}")));
    }
    Ok(outcome)
}

/// What one round came to.
struct Played {
    verdict: Verdict,
    refused: u64,
    took_ms: f64,
    failure: Option<String>,
}

impl Played {
    fn told(&self) -> String {
        let Verdict { acknowledged, before_end, lost, lost_later } = self.verdict;
        let late = if lost_later > 0 { format!(", {lost_later} of the later ones") } else { String::new() };
        let failure = self.failure.as_ref().map_or(String::new(), |failure| format!("; NOT FLUSHED: {failure}"));
        format!("{acknowledged} acknowledged, {before_end} of them in time, {lost} of these lost{late}{failure}")
    }
}

fn play(database: &mut dyn Database, plan: &Plan, round: u64, with_plugin: bool) -> Result<Played, String> {
    database.prepare()?;
    let handler = with_plugin.then(|| database.handler());
    let machine = Machine::start(&plan.bin_dir, handler.as_ref())?;
    let writers = Writers::start(database, round)?;
    let ((), interrupted) = machine.interrupt(plan.seconds, || (), || database.kill())?;
    let (acknowledged, refused) = writers.join()?;
    database.restart()?;
    let there = database.there(round)?;
    let verdict = ledger::judge(&acknowledged, &there, interrupted.ended_boot_ns)?;
    Ok(Played { verdict, refused, took_ms: interrupted.took_ms, failure: interrupted.failure })
}
