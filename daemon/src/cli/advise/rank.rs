//! `snooze advise rank`: which types and zones to ask for.
//!
//! Inputs: prices or a snapshot of the Spot Advisor with prices on demand; lives. Outputs: a ranking and a set of pools. Must never
//! rank a pool whose price is not known.

use super::answer::{Answer, hours, percent, show};
use super::inputs::{Files, Inputs};
use crate::cli::duration;
use crate::cli::fault::{Fault, Outcome};
use crate::cli::paint::Tone;
use crate::cli::render::{lines, plain, table};
use crate::cli::session::Session;
use cloudsnooze_insight::Pool;
use cloudsnooze_insight::economy::diversify::{Set, diversify};
use cloudsnooze_insight::economy::prices::courses;
use cloudsnooze_insight::economy::ranking::{Candidate, Needs, Priors, Ranked, rank};
use serde::Serialize;

const EXAMPLES: &str = "\
Examples:
  snooze advise rank --prices spot-prices.csv --advisor spot-advisor.csv --region us-east-1
  snooze advise rank --advisor advisor.csv --on-demand m5.large=0.096 --on-demand c5.large=0.085
  snooze advise rank --prices spot-prices.csv --lives lives.csv --type p3. --save 60s --pools 4

Prices come from --prices (the last one of each pool), or from what the Spot Advisor says is saved on the prices of --on-demand.";

/// Rank instance types and zones by what an hour of work costs there, and choose a set that is not taken all at once.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    files: Files,

    /// Only this region.
    #[arg(long, value_name = "REGION")]
    region: Option<String>,

    /// Only types that begin like this; may be given several times.
    #[arg(long = "type", value_name = "PREFIX")]
    types: Vec<String>,

    /// How long a save takes.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration::parse)]
    save: f64,

    /// From an interruption until the work goes on.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration::parse)]
    restart: f64,

    /// Pools to choose.
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=100))]
    pools: u16,

    /// Most rows to show.
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    limit: usize,
}

#[derive(Serialize)]
struct Figures {
    set: Set,
    ranking: Vec<Ranked>,
}

/// Runs the command.
///
/// # Errors
/// A file that cannot be read, or nothing with a price.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    let inputs = args.files.read()?;
    let mut candidates = candidates(&inputs);
    let known = candidates.len();
    candidates.retain(|candidate| is_meant(&candidate.pool, args));
    if known > 0 && candidates.is_empty() {
        return Err(Fault::Usage(format!("none of the {known} pools with a price is in that region and of that type")));
    }
    let needs = Needs { save_h: args.save / 3600.0, restart_h: args.restart / 3600.0 };
    let ranked = rank(&candidates, &Priors::new(&inputs.advisor), needs)?;
    let set = diversify(&ranked, usize::from(args.pools))?;
    let unseen = ranked.iter().filter(|one| one.exposure_h == 0.0).count();
    let names: Vec<String> =
        set.pools.iter().map(|part| format!("{} ({})", name(&part.ranked.pool), percent(part.part))).collect();
    let answer = Answer {
        answer: format!("Ask for {} with the strategy {}.", names.join(", "), set.strategy),
        reasons: vec![
            format!(
                "Ranked by the cost of an hour of work: price, saves of {}, and interruptions that cost half an interval and {}.",
                hours(needs.save_h),
                hours(needs.restart_h)
            ),
            format!(
                "The {} pools are worth {:.1} that have nothing in common: capacity within a region correlates with .43, \
                 between regions with .14.",
                set.pools.len(),
                set.independent_pools
            ),
            "The provider chooses among them by capacity first: lowest-price, still the default of some interfaces, takes the \
             pools that are \
             emptied first."
                .to_owned(),
        ],
        uncertainty: vec![
            "LOW and HIGH are what nine of ten rates of interruption give, from what was seen and the prior; prices are taken \
             as they are.".to_owned(),
            format!(
                "{unseen} of {} pools were never watched: their rate is the prior alone. The Spot Advisor's buckets go stale: \
                 of 7,794 rows of \
                 2021 one in three was in the same bucket in 2025, so that one older than 90 days is a weak prior.",
                ranked.len()
            ),
        ],
        data: inputs.sources,
        figures: Figures { set, ranking: ranked },
    };
    let text = screen(&answer.figures, args.limit, session);
    show(&answer, &text, session)
}

fn is_meant(pool: &Pool, args: &Args) -> bool {
    args.region.as_ref().is_none_or(|region| *region == pool.region)
        && (args.types.is_empty() || args.types.iter().any(|prefix| pool.instance_type.starts_with(prefix.as_str())))
}

fn name(pool: &Pool) -> String {
    let place = if pool.zone.is_empty() { &pool.region } else { &pool.zone };
    plain(&format!("{} in {place}", pool.instance_type))
}

/// Every pool whose price is known, with what was seen there.
fn candidates(inputs: &Inputs) -> Vec<Candidate> {
    let seen = |pool: &Pool| {
        let is_there = |other: &Pool| {
            other.instance_type == pool.instance_type
                && other.region == pool.region
                && (pool.zone.is_empty() || other.zone == pool.zone)
        };
        let lives = inputs.lives.iter().map(|paid| &paid.life).filter(|life| is_there(&life.pool));
        lives.fold((0_u32, 0.0), |(events, hours), life| {
            (events + u32::from(life.is_interrupted()), hours + life.lived_h)
        })
    };
    let candidate = |pool: &Pool, usd_per_hour: f64, on_demand_usd_per_hour: Option<f64>| {
        let (events, exposure_h) = seen(pool);
        Candidate { pool: pool.clone(), usd_per_hour, on_demand_usd_per_hour, events, exposure_h }
    };
    let courses = courses(&inputs.prices);
    let priced = courses
        .iter()
        .filter_map(|course| Some(candidate(&course.pool, course.last()?, course.on_demand_usd_per_hour)));
    let mut all: Vec<Candidate> = priced.collect();
    if all.is_empty() {
        let rows = inputs.advisor.iter().filter(|row| row.os == "Linux");
        all.extend(rows.filter_map(|row| {
            let (_, usd) = inputs.on_demand.iter().find(|(kind, _)| *kind == row.pool.instance_type)?;
            Some(candidate(&row.pool, usd * (1.0 - row.savings_percent / 100.0), Some(*usd)))
        }));
    }
    all
}

fn screen(figures: &Figures, limit: usize, session: &Session<'_>) -> String {
    let headings = ["TYPE", "ZONE", "USD/H", "USD/HOUR OF WORK", "LOW", "HIGH", "TAKEN A MONTH", "SEEN", "RATE FROM"];
    let mut table = table(session.paint, session.width, &headings, &[2, 3, 4, 5, 6]);
    for one in figures.ranking.iter().take(limit) {
        let is_chosen = figures.set.pools.iter().any(|part| part.ranked.pool == one.pool);
        let zone = if one.pool.zone.is_empty() { &one.pool.region } else { &one.pool.zone };
        let mark = if is_chosen { " *" } else { "" };
        let cells = [
            format!("{}{mark}", plain(&one.pool.instance_type)),
            plain(zone),
            format!("{:.4}", one.usd_per_hour),
            format!("{:.4}", one.usd_per_useful_hour),
            format!("{:.4}", one.usd_low),
            format!("{:.4}", one.usd_high),
            percent(1.0 - (-one.rate_per_hour * 730.0).exp()),
            format!("{} in {:.0} h", one.events, one.exposure_h),
            one.prior.clone(),
        ];
        table.add_row(cells.map(|text| session.paint.cell(Tone::Plain, text)));
    }
    let more = figures.ranking.len().saturating_sub(limit);
    let more = if more > 0 { format!("and {more} more (--limit)\n") } else { String::new() };
    format!("{}{more}*  chosen. TAKEN A MONTH: part of machines interrupted within 730 h.\n", lines(&table))
}
