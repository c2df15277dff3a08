//! The lives in a history, as the insight crate takes them.
//!
//! Inputs: a history, a filter. Outputs: values of `cloudsnooze_insight`. Must never count an hour at the full price: nobody takes such
//! a machine back, and its hours would make every rate too small.

use crate::history::archive::tables::{Exchanged, LIVES, PRICES};
use crate::history::archive::views::Filter;
use crate::history::archive::{Archive, Cell, Result};
use crate::history::life::{INTERRUPTED, ON_DEMAND, STOPPED};
use cloudsnooze_insight::{Life, Outcome, Pool};

/// What an hour cost in a pool, from a moment on.
#[derive(Clone, Debug, PartialEq)]
pub struct Price {
    /// Where.
    pub pool: Pool,
    /// `spot` or `on-demand`.
    pub market: String,
    /// From when on, seconds since 1970, UTC.
    pub at_s: f64,
    /// The price, in its currency.
    pub per_hour: f64,
    /// ISO 4217.
    pub currency: String,
}

/// All lives that a filter lets through, but those at the full price, in no particular order. The filter's `limit` does not count.
///
/// # Errors
/// The database's.
pub fn lives(archive: &mut Archive, filter: &Filter) -> Result<Vec<Life>> {
    let mut found = Vec::new();
    archive.snapshot(|archive| {
        archive.each(&LIVES, &mut |row| {
            let text = |name: &str| cell(&LIVES, row, name).and_then(Cell::as_text).unwrap_or_default();
            let int = |name: &str| cell(&LIVES, row, name).and_then(Cell::as_int);
            let is = |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|wanted| wanted == text(name));
            let launched = int("launched_wall_ns").unwrap_or_default();
            let is_wanted = text("market") != ON_DEMAND
                && is(&filter.instance, "instance_id")
                && is(&filter.outcome, "outcome")
                && is(&filter.market, "market")
                && filter.since_wall_ns.is_none_or(|since| launched >= since)
                && filter.until_wall_ns.is_none_or(|until| launched < until);
            let pool = pool(&LIVES, row);
            if is_wanted && fits(&pool, &filter.pool) {
                let until = int("ended_wall_ns").or(int("last_seen_wall_ns")).unwrap_or(launched);
                let outcome = match text("outcome") {
                    INTERRUPTED => Outcome::Interrupted,
                    STOPPED => Outcome::Stopped,
                    _ => Outcome::Running,
                };
                found.push(Life {
                    pool,
                    launched_s: seconds(launched),
                    lived_h: (seconds(until.saturating_sub(launched)) / 3_600.0).max(0.0),
                    outcome,
                    batch: int("batch").map(i64::cast_unsigned),
                });
            }
            Ok(())
        })
    })?;
    Ok(found)
}

/// All prices that a filter lets through, by pool and time. The filter's `limit` does not count.
///
/// # Errors
/// The database's.
pub fn prices(archive: &mut Archive, filter: &Filter) -> Result<Vec<Price>> {
    let mut found = Vec::new();
    archive.snapshot(|archive| {
        archive.each(&PRICES, &mut |row| {
            let text = |name: &str| cell(&PRICES, row, name).and_then(Cell::as_text).unwrap_or_default().to_owned();
            let at = cell(&PRICES, row, "at_wall_ns").and_then(Cell::as_int).unwrap_or_default();
            let is_wanted = filter.market.as_ref().is_none_or(|market| *market == text("market"))
                && filter.since_wall_ns.is_none_or(|since| at >= since)
                && filter.until_wall_ns.is_none_or(|until| at < until);
            let (pool, price) = (pool(&PRICES, row), cell(&PRICES, row, "price_per_hour").and_then(Cell::as_real));
            if let Some(per_hour) = price.filter(|_| is_wanted && fits(&pool, &filter.pool)) {
                found.push(Price {
                    pool,
                    market: text("market"),
                    at_s: seconds(at),
                    per_hour,
                    currency: text("currency"),
                });
            }
            Ok(())
        })
    })?;
    Ok(found)
}

fn cell<'a>(table: &Exchanged, row: &'a [Cell], name: &str) -> Option<&'a Cell> {
    row.get(table.columns.iter().position(|column| column.name == name)?)
}

fn pool(table: &Exchanged, row: &[Cell]) -> Pool {
    let text = |name: &str| cell(table, row, name).and_then(Cell::as_text).unwrap_or_default().to_owned();
    Pool {
        provider: text("provider"),
        region: text("region"),
        zone: text("zone"),
        instance_type: text("instance_type"),
    }
}

fn fits(pool: &Pool, wanted: &Pool) -> bool {
    let is = |wanted: &str, there: &str| wanted.is_empty() || wanted == there;
    is(&wanted.provider, &pool.provider)
        && is(&wanted.region, &pool.region)
        && is(&wanted.zone, &pool.zone)
        && is(&wanted.instance_type, &pool.instance_type)
}

#[allow(clippy::cast_precision_loss, reason = "models take seconds; a double holds today's to a microsecond")]
fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::archive::import::Importer;
    use crate::history::archive::{Access, Place, public};

    const LIVES: &str = "vm,zone,machine_type,preemptible,launch_utc,end_utc,lifetime_s,event,batch
0,us-central1-f,n1-standard-2,1,1970-01-01T00:01:40Z,1970-01-01T01:01:40Z,3600,1,210
1,us-central1-f,n1-standard-1,1,1970-01-02T00:00:00Z,1970-01-02T00:30:00Z,1800,0,
2,us-central1-f,n1-standard-1,0,1970-01-03T00:00:00Z,1970-01-03T09:00:00Z,32400,0,7
";
    const PRICES: &str = "az,instance_type,timestamp_utc,usd_per_hour
eu-central-1a,p2.8xlarge,1970-01-01T00:00:10Z,0
";

    #[test]
    fn lives_are_what_the_models_take_and_those_at_the_full_price_are_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = Place::File(directory.path().join("h.sqlite"));
        let mut archive = Archive::open(&place, Access::Write).expect("made");
        for text in [LIVES, PRICES] {
            let taken = archive.transact(|archive| {
                let mut silent = |_| {};
                let mut importer = Importer::new(archive, &mut silent);
                public::import(text.as_bytes(), "x.csv", "x", &mut importer)?;
                importer.finish()
            });
            taken.expect("taken");
        }
        let mut found = lives(&mut archive, &Filter::default()).expect("asked");
        found.sort_by(|one, other| one.launched_s.total_cmp(&other.launched_s));
        let told: Vec<_> = found.iter().map(|life| (life.launched_s, life.lived_h, life.outcome, life.batch)).collect();
        assert_eq!(told, [(100.0, 1.0, Outcome::Interrupted, Some(210)), (86_400.0, 0.5, Outcome::Stopped, None)]);
        let pool = &found[0].pool;
        assert_eq!((pool.provider.as_str(), pool.region.as_str()), ("gcp", "us-central1"));
        let of = |kind: &str| Filter {
            pool: Pool { instance_type: kind.to_owned(), ..Pool::default() },
            ..Filter::default()
        };
        assert_eq!(lives(&mut archive, &of("n1-standard-1")).expect("asked").len(), 1);
        assert_eq!(lives(&mut archive, &of("n2-standard-1")).expect("asked"), []);
        let paid = prices(&mut archive, &Filter::default()).expect("asked");
        assert_eq!((paid.len(), paid[0].at_s, paid[0].per_hour, paid[0].currency.as_str()), (1, 10.0, 0.0, "USD"));
    }
}
