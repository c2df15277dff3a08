//! `snooze history`: what is kept, asked for, brought in and taken out, without the daemon.
//!
//! Inputs: a history file or a PostgreSQL database, other files. Outputs: tables, JSON, CSV, files. Must never change what it is only
//! asked about, nor hold up the daemon, which may write to the same file.
//!
//! `show` draws; `transfer` moves rows; `exposure` is what the insight crate takes.

pub mod exposure;
mod moment;
mod show;
mod transfer;

use super::fault::{Exit, Fault, Outcome};
use super::session::Session;
use crate::event::{EventType, Pattern};
use crate::history::archive::views::{Filter, Table};
use crate::history::archive::{Access, Archive, ArchiveError, Place};
use crate::sys::clock;
use cloudsnooze_insight::Pool;
use moment::Point;

const EXAMPLES: &str = "\
Examples:
  snooze history events --type 'cloud.spot.*' --since 30d
  snooze history lives --zone us-east-1a --csv > lives.csv
  snooze history summary --json | jq '.summary[] | {zone, instance_type, exposure_hours}'
  snooze history export fleet.jsonl
  snooze history import lifetimes.csv --store study.sqlite
  snooze history merge a.sqlite b.sqlite --store postgres://fleet@db.example/fleet
  snooze history prune --older-than 400d

Times are UTC: 2026-01-31, 2026-01-31T08:00:00Z, or how long ago (36h, 30d). A row that is known is not taken twice.";

/// Show, move and shorten what is kept of events, deliveries, machines' lives and prices.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    what: What,

    /// History to work with: a file, or postgres://USER@HOST/DATABASE [default: history.sqlite in the
    /// configuration's state_directory]
    #[arg(long, global = true, value_name = "PLACE")]
    store: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List events, the newest first.
    Events(EventsArgs),
    /// List what became of handlers, the newest first.
    Deliveries(DeliveriesArgs),
    /// List how long which machine lived, the one launched last first.
    Lives(LivesArgs),
    /// List what an hour cost, the newest first.
    Prices(PricesArgs),
    /// Show for each pool its events and the hours its machines were exposed.
    Summary(SummaryArgs),
    /// Write a history to a file: everything as JSON Lines, or one table as Parquet.
    Export(transfer::ExportArgs),
    /// Take rows from files: JSON Lines, Parquet, or public data sets in CSV.
    Import(transfer::ImportArgs),
    /// Take everything from other histories, files or databases.
    Merge(transfer::MergeArgs),
    /// Drop what is old or too much.
    Prune(transfer::PruneArgs),
}

/// What all views take.
#[derive(Debug, clap::Args)]
struct Span {
    /// Only from this time on.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    since: Option<Point>,

    /// Only before this time.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    until: Option<Point>,

    #[command(flatten)]
    form: Form,
}

/// How much of it, and in which form.
#[derive(Debug, clap::Args)]
struct Form {
    /// Most rows.
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// Print CSV, for programs.
    #[arg(long)]
    csv: bool,
}

/// Which pools.
#[derive(Debug, clap::Args)]
struct Pools {
    /// Only of this provider (aws, azure, gcp, alibaba, tencent).
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,

    /// Only in this region.
    #[arg(long, value_name = "NAME")]
    region: Option<String>,

    /// Only in this zone.
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,

    /// Only of this instance type.
    #[arg(long, value_name = "NAME")]
    instance_type: Option<String>,
}

#[derive(Debug, clap::Args)]
struct EventsArgs {
    /// Only of this type; cloud.spot.* stands for all that begin so.
    #[arg(long = "type", value_name = "EVENT_TYPE", value_parser = pattern)]
    event_type: Option<String>,

    /// Only of this machine.
    #[arg(long, value_name = "INSTANCE_ID")]
    instance: Option<String>,

    /// Only where it stands so: running, completed, withdrawn, refused, interrupted.
    #[arg(long, value_name = "STATE")]
    outcome: Option<String>,

    #[command(flatten)]
    span: Span,
}

#[derive(Debug, clap::Args)]
struct DeliveriesArgs {
    /// Only of this event.
    #[arg(long, value_name = "EVENT_ID")]
    event: Option<String>,

    /// Only of this handler, EVENT_TYPE/NAME.
    #[arg(long, value_name = "HANDLER")]
    handler: Option<String>,

    /// Only those that ended so: handled, declined, failed, timed-out, abandoned, panicked, crashed, cancelled, not-run; or started.
    #[arg(long, value_name = "STATE")]
    outcome: Option<String>,

    #[command(flatten)]
    span: Span,
}

#[derive(Debug, clap::Args)]
struct LivesArgs {
    /// Only of this machine.
    #[arg(long, value_name = "INSTANCE_ID")]
    instance: Option<String>,

    /// Only those that ended so: running, interrupted, stopped.
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,

    /// Only of this market: spot, on-demand, unknown.
    #[arg(long, value_name = "MARKET")]
    market: Option<String>,

    #[command(flatten)]
    pools: Pools,

    #[command(flatten)]
    span: Span,
}

#[derive(Debug, clap::Args)]
struct PricesArgs {
    /// Only of this market: spot, on-demand.
    #[arg(long, value_name = "MARKET")]
    market: Option<String>,

    #[command(flatten)]
    pools: Pools,

    #[command(flatten)]
    span: Span,
}

#[derive(Debug, clap::Args)]
struct SummaryArgs {
    #[command(flatten)]
    pools: Pools,

    #[command(flatten)]
    form: Form,
}

fn pattern(text: &str) -> Result<String, String> {
    match text.contains('*') {
        true => Pattern::parse(text).map(|pattern| pattern.as_str().to_owned()),
        false => EventType::parse(text).map(|event_type| event_type.as_str().to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
/// There is no such history, it may not be used, or what is to be brought in is wrong.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    let place = place(args.store.as_deref(), session)?;
    match &args.what {
        What::Events(own) => {
            let (event_type, instance, outcome) = (own.event_type.clone(), own.instance.clone(), own.outcome.clone());
            let filter = Filter { event_type, instance, outcome, ..own.span.filter() };
            view(&place, &own.span.form, session, |archive| archive.events(&filter))
        }
        What::Deliveries(own) => {
            let (event, handler, outcome) = (own.event.clone(), own.handler.clone(), own.outcome.clone());
            let filter = Filter { event, handler, outcome, ..own.span.filter() };
            view(&place, &own.span.form, session, |archive| archive.deliveries(&filter))
        }
        What::Lives(own) => {
            let (instance, outcome, market) = (own.instance.clone(), own.outcome.clone(), own.market.clone());
            let filter = Filter { instance, outcome, market, pool: own.pools.pool(), ..own.span.filter() };
            view(&place, &own.span.form, session, |archive| archive.lives(&filter))
        }
        What::Prices(own) => {
            let filter = Filter { market: own.market.clone(), pool: own.pools.pool(), ..own.span.filter() };
            view(&place, &own.span.form, session, |archive| archive.prices(&filter))
        }
        What::Summary(own) => {
            let filter = Filter { pool: own.pools.pool(), limit: own.form.limit, ..Filter::default() };
            view(&place, &own.form, session, |archive| archive.summary(&filter))
        }
        What::Export(own) => transfer::export(own, &place, session),
        What::Import(own) => transfer::import(own, &place, session),
        What::Merge(own) => transfer::merge(own, &place, session),
        What::Prune(own) => transfer::prune(own, &place, session),
    }
}

/// The history that is meant: what `--store` says, else the daemon's own.
///
/// # Errors
/// `--config` names a configuration that cannot be used.
pub fn place(store: Option<&str>, session: &Session<'_>) -> Result<Place, Fault> {
    match store {
        Some(text) => Ok(Place::parse(text)),
        None => Ok(Place::File(session.configuration_or_default()?.state_directory.join("history.sqlite"))),
    }
}

fn view(
    place: &Place,
    form: &Form,
    session: &mut Session<'_>,
    ask: impl FnOnce(&mut Archive) -> crate::history::archive::Result<Table>,
) -> Outcome {
    if form.csv && session.global.json {
        return Err(Fault::Usage("--csv and --json ask for two forms of one answer: choose one".into()));
    }
    let mut archive = Archive::open(place, Access::Read)?;
    let table = ask(&mut archive)?;
    if form.csv {
        show::csv(&table, session.out())?;
    } else if session.global.json {
        session.print_json(&show::json(&table))?;
    } else {
        let text = show::screen(&table, session.paint, session.width);
        session.print(&text)?;
        if table.rows.len() as u64 == u64::from(form.limit) {
            session.note(&format!("these are the first {}: --limit shows more", form.limit));
        }
    }
    Ok(Exit::Ok)
}

impl Span {
    fn filter(&self) -> Filter {
        let now = clock::wall_ns();
        let at = |point: Option<Point>| point.map(|point| point.wall_ns(now));
        Filter {
            since_wall_ns: at(self.since),
            until_wall_ns: at(self.until),
            limit: self.form.limit,
            ..Filter::default()
        }
    }
}

impl Pools {
    fn pool(&self) -> Pool {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Pool {
            provider: text(&self.provider),
            region: text(&self.region),
            zone: text(&self.zone),
            instance_type: text(&self.instance_type),
        }
    }
}

impl From<ArchiveError> for Fault {
    fn from(error: ArchiveError) -> Self {
        let text = error.to_string();
        match error {
            ArchiveError::Missing(text) => Self::Missing(text),
            ArchiveError::Forbidden(text) => Self::Forbidden(text),
            ArchiveError::Version { .. } => Self::Broken(text),
            ArchiveError::Database { .. } => Self::InputOutput(text),
            ArchiveError::Input(_) => Self::Data(text),
            ArchiveError::File { file, error } => Self::reading(std::path::Path::new(&file), &error),
            ArchiveError::Output(error) => Self::Output(error),
        }
    }
}
