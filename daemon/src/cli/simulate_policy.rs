//! `snooze simulate-policy`: what a policy for a job with a deadline would have cost.
//!
//! Inputs: traces of availability, a job, prices, starts or a seed. Outputs: a table or JSON. Needs no daemon. Must never draw
//! anything that the seed does not say.

use super::advise::inputs::{self, Priced};
use super::duration;
use super::fault::{Exit, Fault, Outcome};
use super::paint::Tone;
use super::render::{keep_whole, lines, table};
use super::session::Session;
use cloudsnooze_insight::Scarce;
use cloudsnooze_insight::economy::policy::{Job, Kind, Market, Setting};
use cloudsnooze_insight::economy::simulate::{self, Run, Summary};
use cloudsnooze_insight::economy::trace::{Trace, best_zone};
use serde::Serialize;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  snooze simulate-policy us-east-1a.json --work-hours 48 --deadline-hours 60
  snooze simulate-policy zones/*.json --zones all --work-hours 48 --deadline-hours 60
  snooze simulate-policy *.json --zones best --policy advised --work-hours 48 --deadline-hours 60
  snooze simulate-policy a.json --starts ticks.json --work-hours 48 --deadline-hours 60 --json

A trace is {\"metadata\": {\"gap_seconds\": 600}, \"data\": [1, 0, …]}: machines that were to be had at each tick, 0 for none; \
\"prices\": [0.31, …] beside them are US dollars an hour. Policies: on-demand, naive-spot (may miss the deadline), greedy, \
uniform-progress-idle, uniform-progress (NSDI 2024), advised (plans with what was seen before), omniscient (knows the future: \
the bound). Exit code 1: a policy that keeps deadlines has missed one.";

/// Replay policies for a job with a deadline on traces of spot availability, and say what each costs.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Traces; each is a zone.
    #[arg(value_name = "FILE", required = true)]
    traces: Vec<PathBuf>,

    /// Machines that the job needs at once, all or none: a tick counts when there are so many. Costs are of one machine.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    machines: u32,

    /// A policy to replay; may be given several times [default: on-demand, greedy, uniform-progress, advised]
    #[arg(long, value_name = "NAME", value_parser = kind)]
    policy: Vec<Kind>,

    /// Where the job may run: in each zone alone, in the best of the training part alone, in all of them.
    #[arg(long, value_enum, value_name = "WHICH", default_value_t)]
    zones: Zones,

    #[command(flatten)]
    job: JobArgs,

    #[command(flatten)]
    priced: Priced,

    /// Ticks at which runs begin: a file with a JSON list, or numbers.
    #[arg(long, value_name = "FILE", conflicts_with = "runs")]
    starts: Option<PathBuf>,

    /// How many runs to draw, for each zone alone, or for all.
    #[arg(long, value_name = "NUMBER", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    runs: u32,

    /// Seed of what is drawn.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// Part of the traces to learn from: runs begin behind it [default: 0; with --zones best 0.6]
    #[arg(long, value_name = "PART", value_parser = part)]
    train: Option<f64>,

    /// With --json: every run, not only the sums.
    #[arg(long, requires = "json")]
    each_run: bool,
}

/// A job with a deadline, as options.
#[derive(Clone, Debug, clap::Args)]
pub struct JobArgs {
    /// Work, in hours on a machine that is never taken away.
    #[arg(long, value_name = "HOURS")]
    work_hours: f64,

    /// Until when it has to be over, in hours from its start.
    #[arg(long, value_name = "HOURS")]
    deadline_hours: f64,

    /// From the start of a machine until the work goes on.
    #[arg(long, value_name = "DURATION", default_value = "12m", value_parser = duration::parse)]
    changeover: f64,

    /// Time between checkpoints: an interruption loses the work since the last one [default: nothing is lost]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    checkpoint_every: Option<f64>,
}

impl JobArgs {
    /// The job.
    ///
    /// # Errors
    /// It makes no sense, or nothing can meet its deadline.
    pub fn job(&self) -> Result<Job, Fault> {
        let job = Job {
            work_h: self.work_hours,
            deadline_h: self.deadline_hours,
            changeover_h: self.changeover / 3600.0,
            checkpoint_h: self.checkpoint_every.unwrap_or(0.0) / 3600.0,
        };
        job.check().map_err(|why| Fault::Usage(why.0))?;
        Ok(job)
    }
}

/// Where a job may run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Zones {
    /// In each zone alone; the figures are of all of them.
    #[default]
    Each,
    /// In the zone that had most capacity in the training part.
    Best,
    /// In any zone, from tick to tick.
    All,
}

/// What is printed.
#[derive(Serialize)]
struct Answer<'a> {
    job: Words,
    zones: Vec<String>,
    runs_of_each: usize,
    seed: Option<u64>,
    policies: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Words {
    work_hours: f64,
    deadline_hours: f64,
    changeover_hours: f64,
    checkpoint_hours: f64,
    on_demand_usd_per_hour: f64,
    spot_usd_per_hour: f64,
}

#[derive(Serialize)]
struct Row<'a> {
    policy: &'a str,
    #[serde(flatten)]
    summary: Summary,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    each_run: Vec<Run>,
}

fn kind(text: &str) -> Result<Kind, String> {
    let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    let known = Kind::ALL.into_iter().find(|kind| kind.name() == text);
    known.ok_or_else(|| format!("'{text}' is no policy: expected one of {}", names.join(", ")))
}

fn part(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(part) if (0.0..1.0).contains(&part) => Ok(part),
        _ => Err(format!("'{text}' is no part: expected a number from 0 to below 1")),
    }
}

/// Runs the command.
///
/// # Errors
/// A file that cannot be read or is no trace, a job that nothing can do, traces shorter than the deadline.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    let (job, market) = (args.job.job()?, args.priced.market()?);
    let traces = inputs::traces(&args.traces, args.machines)?;
    let train = args.train.unwrap_or(if args.zones == Zones::Best { 0.6 } else { 0.0 });
    let places = places(&traces, args.zones, train);
    let kinds = if args.policy.is_empty() {
        vec![Kind::OnDemand, Kind::Greedy, Kind::UniformProgress, Kind::Advised]
    } else {
        args.policy.clone()
    };
    let given = args.starts.as_deref().map(inputs::starts).transpose()?;
    let mut rows = Vec::new();
    for kind in &kinds {
        let mut all: Vec<Run> = Vec::new();
        for (number, place) in places.iter().enumerate() {
            let setting = Setting { job, market, zones: place };
            session.progress(&format!("{}: {} of {}", kind.name(), number + 1, places.len()));
            let starts = match &given {
                Some(starts) => starts.clone(),
                None => draw(&setting, args, train)?,
            };
            all.extend(simulate::runs(&setting, &starts, *kind)?);
        }
        let setting = Setting { job, market, zones: places.first().copied().unwrap_or_default() };
        let block = (job.deadline_h / setting.tick_h()).ceil() as usize;
        let summary = simulate::summary(&all, simulate::on_demand_usd(&setting), block)?;
        let each_run = if args.each_run { all } else { Vec::new() };
        rows.push(Row { policy: kind.name(), summary, each_run });
    }
    session.progress("");
    let broken = kinds.iter().zip(&rows).any(|(kind, row)| kind.keeps_deadlines() && row.summary.late > 0);
    let answer = Answer {
        job: words(&job, &market),
        zones: traces.iter().map(|trace| trace.name.clone()).collect(),
        runs_of_each: rows.first().map_or(0, |row| row.summary.runs),
        seed: given.is_none().then_some(args.seed),
        policies: rows,
    };
    if session.global.json {
        session.print_json(&answer)?;
    } else {
        let text = screen(&answer, args, session);
        session.print(&text)?;
    }
    Ok(Exit::when(!broken))
}

fn words(job: &Job, market: &Market) -> Words {
    Words {
        work_hours: job.work_h,
        deadline_hours: job.deadline_h,
        changeover_hours: job.changeover_h,
        checkpoint_hours: job.checkpoint_h,
        on_demand_usd_per_hour: market.on_demand_usd_per_hour,
        spot_usd_per_hour: market.spot_usd_per_hour,
    }
}

/// The groups of zones that runs are made in.
fn places(traces: &[Trace], zones: Zones, train: f64) -> Vec<&[Trace]> {
    match zones {
        Zones::Each => traces.chunks(1).collect(),
        Zones::All => vec![traces],
        Zones::Best => {
            let shortest = traces.iter().map(|trace| trace.available.len()).min().unwrap_or(0);
            let best = best_zone(traces, (shortest as f64 * train) as usize);
            best.and_then(|zone| traces.get(zone..=zone)).into_iter().collect()
        }
    }
}

fn draw(setting: &Setting<'_>, args: &Args, train: f64) -> Result<Vec<usize>, Fault> {
    let from = (setting.ticks() as f64 * train) as usize;
    let starts = simulate::draw_starts(setting, from, args.runs as usize, args.seed);
    if !starts.is_empty() {
        return Ok(starts);
    }
    let name = setting.zones.first().map_or("", |zone| &zone.name);
    let hours = setting.zones.iter().map(Trace::length_h).fold(f64::INFINITY, f64::min);
    let training = if train > 0.0 { format!(" behind the training part of {train}") } else { String::new() };
    Err(Scarce(format!("{name} has {hours:.1} h: no run of {} h fits{training}", setting.job.deadline_h)).into())
}

fn screen(answer: &Answer<'_>, args: &Args, session: &Session<'_>) -> String {
    let headings = [
        "POLICY",
        "COST USD",
        "9 OF 10 RUNS",
        "SAVED",
        "LATE",
        "MAKESPAN",
        "ON DEMAND",
        "SPOT",
        "WAITED",
        "LOST",
        "TAKEN",
    ];
    let right: Vec<usize> = (1..headings.len()).collect();
    let mut table = table(session.paint, session.width, &headings, &right);
    for row in &answer.policies {
        let s = &row.summary;
        let late = if s.late > 0 { Tone::Bad } else { Tone::Plain };
        let cells = [
            (Tone::Plain, row.policy.to_owned()),
            (Tone::Plain, format!("{:.2} ±{:.2}", s.cost_usd, 1.96 * s.cost_error_usd)),
            (Tone::Dim, format!("{:.1}-{:.1}", s.cost_p5_usd, s.cost_p95_usd)),
            (Tone::Plain, format!("{:.1} %", 100.0 * s.saved)),
            (late, s.late.to_string()),
            (Tone::Plain, format!("{:.1} h", s.makespan_h)),
            (Tone::Plain, format!("{:.1} h", s.on_demand_h)),
            (Tone::Plain, format!("{:.1} h", s.spot_h)),
            (Tone::Plain, format!("{:.1} h", s.waited_h)),
            (Tone::Plain, format!("{:.1} h", s.lost_h)),
            (Tone::Plain, format!("{:.1}", s.interruptions)),
        ];
        table.add_row(cells.map(|(tone, text)| session.paint.cell(tone, text)));
    }
    (0..headings.len()).for_each(|column| keep_whole(&mut table, column));
    let job = &answer.job;
    let place = match args.zones {
        Zones::Each => format!("each of {} zones alone", answer.zones.len()),
        Zones::Best => "the zone with most capacity in the training part".to_owned(),
        Zones::All => format!("any of {} zones", answer.zones.len()),
    };
    format!(
        "{} h of work, due after {} h, {:.0} min a changeover, in {place}; {} runs of each policy.\n\n{}\n\
         COST is the mean and its 95 % interval (runs that share hours count as one); SAVED is against on-demand; hours are means of a \
         run.\nLOST: paid for changeovers and for work that was lost. TAKEN: interruptions of a run.\n\
         On demand {} USD an hour, spot {} where the traces have no prices.\n",
        job.work_hours,
        job.deadline_hours,
        job.changeover_hours * 60.0,
        answer.runs_of_each,
        lines(&table),
        job.on_demand_usd_per_hour,
        job.spot_usd_per_hour,
    )
}
