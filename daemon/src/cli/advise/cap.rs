//! `snooze advise cap`: whether to set a maximum price.
//!
//! Inputs: prices, a snapshot of the Spot Advisor. Outputs: an advice. Must never name a cap as a means to keep a machine.

use super::answer::{Answer, percent, show};
use super::inputs::Files;
use crate::cli::fault::Outcome;
use crate::cli::paint::Tone;
use crate::cli::render::{lines, table};
use crate::cli::session::Session;
use cloudsnooze_insight::economy::caps::{Movement, movement, price_says_risk};
use cloudsnooze_insight::economy::prices::courses;
use serde::Serialize;

const EXAMPLES: &str = "\
Examples:
  snooze advise cap --prices spot-prices.csv
  snooze advise cap --prices prices.csv --on-demand p3.2xlarge=3.06 --advisor advisor.csv --json";

/// Say whether to set a maximum price for spot machines.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    files: Files,
}

#[derive(Serialize)]
struct Figures {
    cap_usd_per_hour: Option<f64>,
    movement: Option<Movement>,
    savings_and_interruptions_spearman: Option<f64>,
}

/// Runs the command.
///
/// # Errors
/// A file that cannot be read, or prices over too short a time.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    let inputs = args.files.read()?;
    let moved = if inputs.prices.is_empty() { None } else { Some(movement(&courses(&inputs.prices))?) };
    let risk = price_says_risk(&inputs.advisor);
    let mut reasons = vec![
        "AWS holds no auction since 2017, Azure and GCP never did: a maximum price is a cap, buys no capacity and keeps no machine. \
         The price is the same for all who run."
            .to_owned(),
        "A cap below the price ends the machine. Without one, what is paid never exceeds the price on demand: that is the \
         default limit at AWS."
            .to_owned(),
    ];
    let mut uncertainty = Vec::new();
    if let Some(moved) = &moved {
        reasons.push(format!(
            "Prices move little: over {} pools and {:.0} days the range of a week is {} of the price in the mean (at most {}), the largest \
             step within an hour {} in the mean.",
            moved.pools,
            moved.days,
            percent(moved.weekly_range),
            percent(moved.weekly_range_max),
            percent(moved.hour_step)
        ));
        if let (Some(mean), Some(median)) = (moved.over_on_demand, moved.over_on_demand_median) {
            reasons.push(format!(
                "The price was {} of that on demand in the mean, {} in the median, of {} pools; {} ever reached it.",
                percent(mean),
                percent(median),
                moved.with_on_demand,
                moved.ever_at_on_demand
            ));
        }
        uncertainty.push(format!(
            "The figures are of these pools and days only; {} pools were left out, because they were watched for less than 200 h.",
            moved.short
        ));
        uncertainty.push(
            "The table says what a cap would have done: it ends machines, and no figure of it says that one lasts \
         longer."
                .to_owned(),
        );
    } else {
        uncertainty.push("No prices were named: --prices FILE works the figures out for your pools.".to_owned());
    }
    match risk {
        Some((correlation, rows)) => reasons.push(format!(
            "A price does not say how safe a machine is: savings and interruptions of {rows} types and regions correlate with \
             {correlation:.3} (Spearman)."
        )),
        None => uncertainty.push("With --advisor FILE it is looked at whether cheap machines are interrupted oftener.".to_owned()),
    }
    uncertainty
        .push("If your rules demand a limit, set it to the price on demand: nothing is gained by less.".to_owned());
    let text = moved.as_ref().map_or_else(String::new, |moved| screen(moved, session));
    let answer = Answer {
        answer:
            "Set no maximum price. Choose by capacity and price instead (price-capacity-optimized), over several pools."
                .to_owned(),
        reasons,
        uncertainty,
        data: inputs.sources,
        figures: Figures {
            cap_usd_per_hour: None,
            movement: moved,
            savings_and_interruptions_spearman: risk.map(|(correlation, _)| correlation),
        },
    };
    show(&answer, &text, session)
}

fn screen(moved: &Movement, session: &Session<'_>) -> String {
    let headings =
        ["CAP, OVER THE FIRST PRICE", "INTERRUPTIONS A POOL AND MONTH", "TIME WITHOUT MACHINE", "POOLS TOUCHED"];
    let mut table = table(session.paint, session.width, &headings, &[0, 1, 2, 3]);
    for cap in &moved.caps {
        let cells = [
            format!("{:.2}", cap.over_first_price),
            format!("{:.2}", cap.interruptions_per_month),
            percent(cap.without_machine),
            percent(cap.touched),
        ];
        table.add_row(cells.map(|text| session.paint.cell(Tone::Plain, text)));
    }
    lines(&table)
}
