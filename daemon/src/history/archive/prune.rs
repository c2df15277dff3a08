//! Drops what is older than somebody wants to keep it, or more.
//!
//! Inputs: limits. Outputs: how many rows went. Must never drop what still runs, nor hold others up for long: it goes in steps, each a
//! transaction of its own.

use super::{Archive, Cell, Result};

/// Rows of a step.
const STEP_ROWS: u64 = 5_000;

/// What is to be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// What was before this time goes, nanoseconds since 1970.
    pub since_wall_ns: Option<i64>,
    /// Of each table so many rows stay, the newest.
    pub rows: Option<u64>,
}

/// How many rows went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Events; their deliveries went with them.
    pub events: u64,
    /// Lives that are over.
    pub lives: u64,
    /// Prices.
    pub prices: u64,
}

impl Archive {
    /// Drops what is not to be kept; `progress` hears of the number of rows.
    ///
    /// # Errors
    /// The database's. What went before stays gone.
    pub fn prune(&mut self, keep: Keep, progress: &mut dyn FnMut(u64)) -> Result<Dropped> {
        let events = self.shorten("events", "id", "detected_wall_ns", "state <> 'running'", keep, progress)?;
        let lives = self.shorten("lives", "id", "launched_wall_ns", "outcome <> 'running'", keep, progress)?;
        let key = "(pool, market, currency, at_wall_ns)";
        let prices = self.shorten("prices", key, "at_wall_ns", "1 = 1", keep, progress)?;
        Ok(Dropped { events, lives, prices })
    }

    fn shorten(
        &mut self,
        table: &str,
        key: &str,
        age: &str,
        only: &str,
        keep: Keep,
        progress: &mut dyn FnMut(u64),
    ) -> Result<u64> {
        let keys = key.trim_matches(['(', ')']);
        let drop = format!(
            "DELETE FROM {table} WHERE {key} IN (SELECT {keys} FROM {table} WHERE {only} AND {age} < ?1 ORDER BY {age} LIMIT ?2)"
        );
        let mut gone = 0;
        let mut until = |archive: &mut Self, before: i64, most: u64, gone: &mut u64| -> Result<()> {
            let mut left = most;
            while left > 0 {
                let step = left.min(STEP_ROWS);
                let values = [Cell::Int(before), Cell::Int(i64::try_from(step).unwrap_or(i64::MAX))];
                let dropped = archive.transact(|archive| archive.execute(&drop, &values))?;
                *gone += dropped;
                left -= dropped.min(left);
                progress(*gone);
                if dropped < step {
                    break;
                }
            }
            Ok(())
        };
        if let Some(since) = keep.since_wall_ns {
            until(self, since, u64::MAX, &mut gone)?;
        }
        if let Some(rows) = keep.rows {
            let count = self.query(&format!("SELECT count(*) FROM {table}"), &[])?;
            let count = count.first().and_then(|row| row.first()).and_then(Cell::as_int).unwrap_or_default();
            until(self, i64::MAX, u64::try_from(count).unwrap_or_default().saturating_sub(rows), &mut gone)?;
        }
        Ok(gone)
    }
}
