//! `snooze insight rates`: how often machines of each pool are interrupted.
//!
//! Inputs: lives. Outputs: a rate for each pool, with its interval and the level it rests on. Must never show a pool's own rate as if it
//! were known where little was seen.

use super::finding::{Finding, rate, show};
use super::kept::Question;
use super::risk::level_name;
use super::source::Source;
use crate::cli::fault::Outcome;
use crate::cli::paint::Tone;
use crate::cli::render::{lines, plain, table};
use crate::cli::session::Session;
use cloudsnooze_insight::models::rates::{RateOfPool, of_pools};
use serde::{Deserialize, Serialize};

const EXAMPLES: &str = "\
Examples:
  snooze insight rates
  snooze insight rates --store fleet.sqlite --json | jq '.figures.pools[] | {pool, per_hour, per_hour_95}'";

/// Rows on a screen.
const SHOWN: usize = 40;

/// Say how often machines of each pool are interrupted, drawn to what their family and region have in common.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

#[derive(Debug, Serialize, Deserialize)]
struct Figures {
    pools: Vec<RateOfPool>,
}

/// Runs the command.
///
/// # Errors
/// There is no such source, or no life in it.
pub fn run(_: &Args, source: &Source, session: &mut Session<'_>) -> Outcome {
    let found = source.answer(&Question::usual("rates"), session, |opened, session| {
        let seen = opened.lives(session)?;
        let figures = Figures { pools: of_pools(&seen.lives)? };
        let (sentence, uncertainty) = (sentence(&figures.pools), uncertainty(&figures.pools));
        Ok(Finding { sentence, verdict: None, uncertainty, data: seen.data, figures })
    })?;
    let text = screen(&found.answer.figures.pools, session);
    show(&found, &text, session)
}

/// What the rates say.
pub fn sentence(pools: &[RateOfPool]) -> String {
    let by = |one: &&RateOfPool, other: &&RateOfPool| one.per_hour.total_cmp(&other.per_hour);
    let named =
        |of: &RateOfPool| format!("{} in {} ({} an hour)", of.pool.instance_type, of.pool.zone, rate(of.per_hour));
    match (pools.iter().max_by(by), pools.iter().min_by(by)) {
        (Some(most), Some(least)) if pools.len() > 1 => {
            format!("Of {} pools {} is interrupted most, {} least.", pools.len(), named(most), named(least))
        }
        (Some(only), _) => format!("One pool was seen: {}.", named(only)),
        _ => "No pool was seen.".to_owned(),
    }
}

fn uncertainty(pools: &[RateOfPool]) -> Vec<String> {
    let mut said = vec![
        "Intervals are of 95 %. They take machines for independent, which those of one batch are not: the true ones are wider."
            .to_owned(),
    ];
    let alone = pools.iter().filter(|pool| pool.basis.level == Some(cloudsnooze_insight::Level::Pool)).count();
    said.push(format!(
        "{alone} of {} pools have enough of their own (10 interruptions, 200 h); the others lean on the level that is named.",
        pools.len()
    ));
    let prior = pools.iter().find_map(|pool| pool.prior.as_ref());
    said.extend(prior.map(|prior| format!("There is little history in all, so the published figure counts: {prior}.")));
    said
}

fn screen(pools: &[RateOfPool], session: &Session<'_>) -> String {
    let headings = ["TYPE", "ZONE", "MACHINES", "INTERRUPTED", "HOURS", "AN HOUR", "95 %", "RESTS ON"];
    let mut table = table(session.paint, session.width, &headings, &[2, 3, 4, 5, 6]);
    for of in pools.iter().take(SHOWN) {
        let level = of.basis.level.filter(|_| of.prior.is_none()).map_or("published", level_name);
        let cells = [
            plain(&of.pool.instance_type),
            plain(&of.pool.zone),
            of.machines.to_string(),
            of.seen.events.to_string(),
            format!("{:.0}", of.seen.exposure_h),
            rate(of.per_hour),
            format!("{} - {}", rate(of.per_hour_95.0), rate(of.per_hour_95.1)),
            // The column is narrow: "its family" is the family in the region, "family" the one everywhere.
            if level == "family_in_region" { "its family".to_owned() } else { level.to_owned() },
        ];
        table.add_row(cells.map(|text| session.paint.cell(Tone::Plain, text)));
    }
    let more = pools.len().saturating_sub(SHOWN);
    lines(&table) + &if more > 0 { format!("and {more} more: --json has all\n") } else { String::new() }
}
