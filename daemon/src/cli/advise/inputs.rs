//! What advice is worked out from, and where it comes from.
//!
//! Inputs: files that are named, read whole. Outputs: [`Inputs`], with a line about each source. Must never be filled by the
//! advice itself: whoever has data elsewhere (the history, a provider) fills the same struct.

use crate::cli::fault::Fault;
use cloudsnooze_insight::economy::advisor::{self, Advice};
use cloudsnooze_insight::economy::lives::{self, PaidLife};
use cloudsnooze_insight::economy::policy::Market;
use cloudsnooze_insight::economy::prices::{self, Price};
use cloudsnooze_insight::economy::trace::Trace;
use jiff::Timestamp;
use std::path::{Path, PathBuf};

/// Largest file that is read, bytes: a year of price changes of every pool is a tenth of it.
const BYTES_MAX: u64 = 512 * 1024 * 1024;

/// The files, as options.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Files {
    /// Spot prices over time: CSV with zone or az, instance_type, timestamp_utc, usd_per_hour, and on_demand_usd_per_hour if known.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    prices: Vec<PathBuf>,

    /// A snapshot of the AWS Spot Advisor: CSV with region, os, instance_type, savings_pct, interruption_bucket (0-4).
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    advisor: Vec<PathBuf>,

    /// Lives of machines: CSV with zone, instance_type, lived_hours (or lifetime_s), outcome (or event), and prices if known.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    lives: Vec<PathBuf>,

    /// Traces of availability, one a zone: JSON as `snooze simulate-policy` takes it.
    #[arg(long, value_name = "FILE", help_heading = "Data", num_args = 1..)]
    traces: Vec<PathBuf>,

    /// Machines that are needed at once: a tick of a trace counts when there are so many.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Data")]
    machines: u32,

    /// The price on demand of a type, in all regions that the files have; may be given several times.
    #[arg(long, value_name = "TYPE=USD", value_parser = on_demand, help_heading = "Data")]
    on_demand: Vec<(String, f64)>,
}

/// Prices of a job, as options.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Priced {
    /// Price on demand, US dollars an hour.
    #[arg(long, value_name = "USD", default_value_t = 1.0)]
    on_demand_price: f64,

    /// Spot price where a trace has none, US dollars an hour.
    #[arg(long, value_name = "USD", default_value_t = 0.3)]
    spot_price: f64,
}

impl Priced {
    /// The prices.
    ///
    /// # Errors
    /// They are none.
    pub fn market(self) -> Result<Market, Fault> {
        let market = Market { on_demand_usd_per_hour: self.on_demand_price, spot_usd_per_hour: self.spot_price };
        market.check().map_err(|why| Fault::Usage(why.0))?;
        Ok(market)
    }
}

/// What there is to work with.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Price observations.
    pub prices: Vec<Price>,
    /// The Spot Advisor's rows.
    pub advisor: Vec<Advice>,
    /// Lives, with prices where known.
    pub lives: Vec<PaidLife>,
    /// Availability by zone.
    pub traces: Vec<Trace>,
    /// Prices on demand by type.
    pub on_demand: Vec<(String, f64)>,
    /// A line about each source.
    pub sources: Vec<String>,
}

impl Files {
    /// Reads what is named.
    ///
    /// # Errors
    /// A file that cannot be read, or that is not what it is named as.
    pub fn read(&self) -> Result<Inputs, Fault> {
        let mut inputs = Inputs { on_demand: self.on_demand.clone(), ..Inputs::default() };
        for path in &self.prices {
            let read = prices::read(&name(path), &text(path)?)?;
            inputs.sources.push(format!("{}: {} price observations{}", name(path), read.len(), span(&read)));
            inputs.prices.extend(read);
        }
        for price in &mut inputs.prices {
            let known = self.on_demand.iter().find(|(kind, _)| *kind == price.pool.instance_type);
            price.on_demand_usd_per_hour = known.map(|(_, usd)| *usd).or(price.on_demand_usd_per_hour);
        }
        for path in &self.advisor {
            let read = advisor::read(&name(path), &text(path)?)?;
            inputs.sources.push(format!("{}: {} rows of the Spot Advisor", name(path), read.len()));
            inputs.advisor.extend(read);
        }
        for path in &self.lives {
            let read = lives::read(&name(path), &text(path)?)?;
            let taken = read.iter().filter(|paid| paid.life.is_interrupted()).count();
            let hours: f64 = read.iter().map(|paid| paid.life.lived_h).sum();
            inputs.sources.push(format!("{}: {} lives, {taken} interrupted, {hours:.0} h", name(path), read.len()));
            inputs.lives.extend(read);
        }
        inputs.traces = traces(&self.traces, self.machines)?;
        inputs.sources.extend(inputs.traces.iter().map(|trace| {
            let share = trace.share_available(usize::MAX).unwrap_or(0.0);
            format!("{}: {:.1} days, capacity in {:.0} % of them", trace.name, trace.length_h() / 24.0, 100.0 * share)
        }));
        Ok(inputs)
    }
}

/// From when to when prices are.
fn span(prices: &[Price]) -> String {
    let day = |at_s: f64| {
        Timestamp::from_second(at_s as i64).map_or_else(|_| String::new(), |at| at.strftime("%F").to_string())
    };
    let from = prices.iter().map(|price| price.at_s).min_by(f64::total_cmp);
    let to = prices.iter().map(|price| price.at_s).max_by(f64::total_cmp);
    from.zip(to).map_or_else(String::new, |(from, to)| format!(", {} to {}", day(from), day(to)))
}

/// Reads traces, for a job that needs so many machines at once.
///
/// # Errors
/// A file that cannot be read, or is no trace.
pub fn traces(paths: &[PathBuf], machines: u32) -> Result<Vec<Trace>, Fault> {
    paths.iter().map(|path| Ok(Trace::read(&name(path), &text(path)?, machines)?)).collect()
}

/// Reads ticks at which runs begin: a JSON list, or numbers with spaces or lines between them.
///
/// # Errors
/// A file that cannot be read, or holds something else.
pub fn starts(path: &Path) -> Result<Vec<usize>, Fault> {
    let text = text(path)?;
    let words =
        text.trim().trim_start_matches('[').trim_end_matches(']').split(|c: char| c == ',' || c.is_whitespace());
    let bad = |word: &str| Fault::Usage(format!("{}: '{word}' is no tick (0, 1, 2, …)", name(path)));
    let ticks = words.filter(|word| !word.is_empty()).map(|word| word.parse().map_err(|_| bad(word)));
    let ticks: Vec<usize> = ticks.collect::<Result<_, _>>()?;
    if ticks.is_empty() {
        return Err(Fault::Usage(format!("{} names no tick to begin at", name(path))));
    }
    Ok(ticks)
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn text(path: &Path) -> Result<String, Fault> {
    let failed = |error: &std::io::Error| Fault::reading(path, error);
    let size = std::fs::metadata(path).map_err(|error| failed(&error))?.len();
    if size > BYTES_MAX {
        return Err(Fault::InputOutput(format!("{} is larger than {} MiB", path.display(), BYTES_MAX >> 20)));
    }
    std::fs::read_to_string(path).map_err(|error| failed(&error))
}

fn on_demand(text: &str) -> Result<(String, f64), String> {
    let bad = || format!("'{text}' is no price: expected TYPE=USD, as in m5.large=0.096");
    let (kind, usd) = text.split_once('=').ok_or_else(bad)?;
    match usd.parse::<f64>() {
        Ok(usd) if usd.is_finite() && usd > 0.0 && !kind.is_empty() => Ok((kind.to_owned(), usd)),
        _ => Err(bad()),
    }
}
