//! `snooze insight seasons`: whether interruptions go by the hour of the day or the day of the week.
//!
//! Inputs: lives. Outputs: each look with its tests. Must never tell a plain rate as a season.

use super::SEED;
use super::finding::{Finding, show};
use super::kept::Question;
use super::source::{Ages, Source, ages_said};
use crate::cli::fault::Outcome;
use crate::cli::paint::Tone;
use crate::cli::render::{lines, plain, table};
use crate::cli::session::Session;
use cloudsnooze_insight::patterns::seasons::{Options, Seasons};
use cloudsnooze_insight::patterns::{Cycle, Verdict};

const EXAMPLES: &str = "\
Examples:
  snooze insight seasons
  snooze insight seasons --lives lifetimes.csv --utc-offset-hours=-8 --json";

/// Say whether interruptions go by the hour of the day or the day of the week, with ages and batches taken into account.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    ages: Ages,

    /// Added to UTC, hours.
    #[arg(long, value_name = "HOURS", default_value_t = 0, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i8).range(-12..=14))]
    utc_offset_hours: i8,
}

/// Runs the command.
///
/// # Errors
/// There is no such source, or too little in it.
pub fn run(args: &Args, source: &Source, session: &mut Session<'_>) -> Outcome {
    let found = source.answer(&args.question(), session, |opened, session| {
        let seen = opened.lives(session)?;
        let until_h = args.ages.until_h(&seen.lives);
        let utc_offset_h = f64::from(args.utc_offset_hours);
        let options = Options { seed: SEED, until_h, utc_offset_h, ..Options::default() };
        Ok(finding(Seasons::of(&seen.lives, &options)?, until_h, seen.data))
    })?;
    let text = screen(&found.answer.figures, session);
    show(&found, &text, session)
}

impl Args {
    fn question(&self) -> Question {
        let Question { view, mut options } = self.ages.question("seasons");
        if self.utc_offset_hours != 0 {
            options += &format!(" utc {}", self.utc_offset_hours);
        }
        Question { view, options }
    }
}

fn finding(seasons: Seasons, until_h: f64, data: Vec<String>) -> Finding<Seasons> {
    let mut uncertainty = ages_said(until_h);
    uncertainty.push(
        "A season is told when turning the clocks of whole batches shows it in less than 1 of 100 draws over all looks, and when it \
         makes held-out batches easier to foresee."
            .to_owned(),
    );
    uncertainty.extend(
        seasons.looks.iter().filter(|look| look.verdict == Verdict::NotShown).map(|look| look.sentence.clone()),
    );
    let (sentence, verdict) = (seasons.sentence.clone(), Some(seasons.verdict));
    Finding { sentence, verdict, uncertainty, data, figures: seasons }
}

fn screen(seasons: &Seasons, session: &Session<'_>) -> String {
    let headings = ["LOOK", "AMONG", "INTERRUPTED", "PLAIN", "BY AGE", "P", "VERDICT"];
    let mut table = table(session.paint, session.width, &headings, &[2, 3, 4, 5]);
    for look in &seasons.looks {
        let (cycle, among) = (look.cycle, &look.among);
        let parts = [&among.provider, &among.region, &among.instance_type].map(String::as_str);
        let among = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        let is_found = look.verdict == Verdict::Found;
        let cells = [
            (if cycle == Cycle::HourOfDay { "hour of the day" } else { "day of the week" }).to_owned(),
            if among.is_empty() { "all machines".to_owned() } else { plain(&among) },
            look.interrupted.to_string(),
            format!("{:.2}x", look.naive_ratio),
            format!("{:.2}x", look.adjusted_ratio),
            format!("{:.4}", look.p_all_looks),
            (if is_found { "found" } else { "not shown" }).to_owned(),
        ];
        table.add_row(cells.map(|text| session.paint.cell(if is_found { Tone::Strong } else { Tone::Plain }, text)));
    }
    lines(&table)
}
