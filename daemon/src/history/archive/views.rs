//! What people ask of a history: events, deliveries, lives, prices, and the sums of each pool.
//!
//! Inputs: filters. Outputs: tables of plain values. Must never walk through all rows of a large table for one screen: each question
//! goes to an index that has its rows in the order in which they are shown.

use super::tables::{Column, Kind};
use super::{Archive, Cell, Result, Row};
use crate::event::EventType;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// With more pools than this, the few rows that are wanted are found sooner among the newest of all.
const POOLS_ONE_BY_ONE: usize = 50;
/// Rows of one page, of which each is a few dozen bytes.
const MOMENTS_PAGE: u32 = 50_000;

/// What is wanted. What is None does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// An event type, or a pattern with `*`.
    pub event_type: Option<String>,
    /// Not before, nanoseconds since 1970.
    pub since_wall_ns: Option<i64>,
    /// Before, nanoseconds since 1970.
    pub until_wall_ns: Option<i64>,
    /// The provider's identifier of a machine.
    pub instance: Option<String>,
    /// How it ended, or where it stands.
    pub outcome: Option<String>,
    /// The identity of an event.
    pub event: Option<String>,
    /// A handler, `EVENT_TYPE/NAME`.
    pub handler: Option<String>,
    /// `spot` or `on-demand`.
    pub market: Option<String>,
    /// Of these pools; empty texts do not matter.
    pub pool: cloudsnooze_insight::Pool,
    /// Most rows.
    pub limit: u32,
}

/// How much a history knows of interruptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amounts {
    /// Lives that have ended, those at the full price with them.
    pub ended_lives: u64,
    /// Notices of interruptions and recommendations to leave, drills not counted.
    pub notices: u64,
}

/// When something happened to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Happened<'r> {
    /// The provider's identifier of the machine.
    pub instance: &'r str,
    /// When it was detected, nanoseconds since 1970.
    pub wall_ns: i64,
    /// Where the event stands.
    pub state: &'r str,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// What it is of.
    pub name: &'static str,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows, the newest first.
    pub rows: Vec<Row>,
}

/// A question: rows of a table, in one order, that fulfil all conditions.
struct Ask {
    columns: &'static str,
    from: &'static str,
    order: &'static str,
    conditions: Vec<String>,
    values: Vec<Cell>,
    limit: u32,
}

impl Ask {
    fn new(columns: &'static str, from: &'static str, order: &'static str, limit: u32) -> Self {
        Self { columns, from, order, conditions: Vec::new(), values: Vec::new(), limit }
    }

    /// The number of a value, as a parameter.
    fn parameter(&mut self, value: Cell) -> String {
        self.values.push(value);
        format!("?{}", self.values.len())
    }

    fn and(&mut self, what: &str, value: Cell) {
        let parameter = self.parameter(value);
        self.conditions.push(format!("{what} {parameter}"));
    }

    fn and_text(&mut self, what: &str, value: Option<&String>) {
        if let Some(text) = value {
            self.and(what, Cell::Text(text.clone()));
        }
    }

    fn between(&mut self, column: &str, filter: &Filter) {
        for (bound, compare) in [(filter.since_wall_ns, ">="), (filter.until_wall_ns, "<")] {
            if let Some(wall_ns) = bound {
                self.and(&format!("{column} {compare}"), Cell::Int(wall_ns));
            }
        }
    }

    /// One query for each of these values of a column, as each has its rows in order in the index; together they are put in order once
    /// more. None: whatever the column says.
    fn run(mut self, archive: &mut Archive, each: Option<(&str, Vec<Cell>)>) -> Result<Vec<Row>> {
        let Some((column, values)) = each else {
            let sql = self.branch("");
            return archive.query(&sql, &self.values);
        };
        let mut branches = Vec::new();
        for (number, value) in values.into_iter().enumerate() {
            let parameter = self.parameter(value);
            branches
                .push(format!("SELECT * FROM ({}) AS part{number}", self.branch(&format!("{column} = {parameter}"))));
        }
        if branches.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!("{} ORDER BY {} LIMIT {}", branches.join(" UNION ALL "), self.order, self.limit);
        archive.query(&sql, &self.values)
    }

    fn branch(&self, more: &str) -> String {
        let more = std::iter::once(more).filter(|more| !more.is_empty());
        let all: Vec<&str> = self.conditions.iter().map(String::as_str).chain(more).collect();
        let only = if all.is_empty() { String::new() } else { format!("WHERE {}", all.join(" AND ")) };
        format!("SELECT {} FROM {} {only} ORDER BY {} LIMIT {}", self.columns, self.from, self.order, self.limit)
    }
}

const fn shown(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, may_lack: true }
}

/// Columns of the pool, as they are shown.
const POOL: [Column; 4] = [
    shown("provider", Kind::Text),
    shown("region", Kind::Text),
    shown("zone", Kind::Text),
    shown("instance_type", Kind::Text),
];

impl Archive {
    /// Events, the newest first.
    ///
    /// # Errors
    /// The database's.
    pub fn events(&mut self, filter: &Filter) -> Result<Table> {
        // A left join: the order of the index must be that of the rows.
        let mut ask = Ask::new(
            "events.id AS id, detected_wall_ns, type, severity, state, simulated, deadline, source, instance_id, provider, region, \
             zone, instance_type",
            "events LEFT JOIN pools ON pools.id = events.pool",
            "detected_wall_ns DESC, id DESC",
            filter.limit,
        );
        ask.and_text("instance_id =", filter.instance.as_ref());
        ask.and_text("state =", filter.outcome.as_ref());
        ask.between("detected_wall_ns", filter);
        let types = match &filter.event_type {
            Some(pattern) if pattern.ends_with('*') => Some(self.known_types(pattern)?),
            exact => exact.clone().map(|exact| vec![Cell::Text(exact)]),
        };
        let mut columns = vec![
            shown("id", Kind::Text),
            shown("detected", Kind::Time),
            shown("type", Kind::Text),
            shown("severity", Kind::Text),
            shown("state", Kind::Text),
            shown("simulated", Kind::Flag),
            shown("deadline", Kind::Text),
            shown("source", Kind::Text),
            shown("instance_id", Kind::Text),
        ];
        columns.extend(POOL);
        Ok(Table { name: "events", columns, rows: ask.run(self, types.map(|types| ("type", types)))? })
    }

    /// The types there are that match a pattern, from the sums: a few dozen, however many events there are.
    fn known_types(&mut self, pattern: &str) -> Result<Vec<Cell>> {
        let Ok(pattern) = crate::event::Pattern::parse(pattern) else { return Ok(Vec::new()) };
        let rows = self.query("SELECT DISTINCT type FROM pool_events", &[])?;
        let matches = |cell: &Cell| {
            let known = cell.as_text().and_then(|text| EventType::parse(text).ok());
            known.is_some_and(|event_type| pattern.matches(&event_type))
        };
        Ok(rows.into_iter().flatten().filter(matches).collect())
    }

    /// What became of handlers, the newest first.
    ///
    /// # Errors
    /// The database's.
    pub fn deliveries(&mut self, filter: &Filter) -> Result<Table> {
        let mut ask = Ask::new(
            "event_id, detected_wall_ns, instance, state, attempts, report",
            "deliveries",
            "detected_wall_ns DESC, event_id DESC, instance",
            filter.limit,
        );
        ask.and_text("event_id =", filter.event.as_ref());
        ask.and_text("instance =", filter.handler.as_ref());
        ask.between("detected_wall_ns", filter);
        let states = match (&filter.outcome, &filter.handler) {
            (Some(state), _) => Some(vec![Cell::Text(state.clone())]),
            // The index of a handler is ordered by state first.
            (None, Some(_)) => Some(DELIVERY_STATES.iter().map(|state| Cell::Text((*state).to_owned())).collect()),
            (None, None) => None,
        };
        let mut rows = ask.run(self, states.map(|states| ("state", states)))?;
        for row in &mut rows {
            let report =
                row.pop().and_then(|cell| serde_json::from_str::<Value>(cell.as_text()?).ok()).unwrap_or_default();
            row.push(report["duration_ms"].as_f64().map_or(Cell::Null, Cell::Real));
            for name in ["verified", "error"] {
                row.push(report[name].as_str().map_or(Cell::Null, |text| Cell::Text(text.to_owned())));
            }
        }
        let columns = vec![
            shown("event_id", Kind::Text),
            shown("detected", Kind::Time),
            shown("handler", Kind::Text),
            shown("state", Kind::Text),
            shown("attempts", Kind::Int),
            shown("duration_ms", Kind::Real),
            shown("verified", Kind::Text),
            shown("error", Kind::Text),
        ];
        Ok(Table { name: "deliveries", columns, rows })
    }

    /// How long which machine lived, the one launched last first.
    ///
    /// # Errors
    /// The database's.
    pub fn lives(&mut self, filter: &Filter) -> Result<Table> {
        let mut ask = Ask::new(
            "lives.id AS id, instance_id, provider, region, zone, instance_type, market, launched_wall_ns, last_seen_wall_ns, \
             ended_wall_ns, outcome, batch",
            "lives LEFT JOIN pools ON pools.id = lives.pool",
            "launched_wall_ns DESC, id DESC",
            filter.limit,
        );
        ask.and_text("instance_id =", filter.instance.as_ref());
        ask.and_text("outcome =", filter.outcome.as_ref());
        ask.and_text("market =", filter.market.as_ref());
        ask.between("launched_wall_ns", filter);
        let mut rows = self.of_pools(ask, "lives.pool", filter)?;
        for row in &mut rows {
            let [launched, seen, ended] = [7, 8, 9].map(|number| row.get(number).and_then(Cell::as_int));
            let until = ended.or(seen).unwrap_or_default();
            row.insert(11, Cell::Real(hours(until.saturating_sub(launched.unwrap_or(until)))));
        }
        let mut columns = vec![shown("id", Kind::Text), shown("instance_id", Kind::Text)];
        columns.extend(POOL);
        columns.extend([
            shown("market", Kind::Text),
            shown("launched", Kind::Time),
            shown("last_seen", Kind::Time),
            shown("ended", Kind::Time),
            shown("outcome", Kind::Text),
            shown("hours", Kind::Real),
            shown("batch", Kind::Int),
        ]);
        Ok(Table { name: "lives", columns, rows })
    }

    /// What an hour cost, the newest first.
    ///
    /// # Errors
    /// The database's.
    pub fn prices(&mut self, filter: &Filter) -> Result<Table> {
        let mut ask = Ask::new(
            "at_wall_ns, provider, region, zone, instance_type, market, price_per_hour, currency, source, prices.pool AS pool",
            "prices LEFT JOIN pools ON pools.id = prices.pool",
            "at_wall_ns DESC, pool DESC",
            filter.limit,
        );
        ask.and_text("market =", filter.market.as_ref());
        ask.between("at_wall_ns", filter);
        let mut rows = self.of_pools(ask, "prices.pool", filter)?;
        // Only the order needed it.
        rows.iter_mut().for_each(|row| drop(row.pop()));
        let mut columns = vec![shown("at", Kind::Time)];
        columns.extend(POOL);
        columns.extend([
            shown("market", Kind::Text),
            shown("price_per_hour", Kind::Real),
            shown("currency", Kind::Text),
            shown("source", Kind::Text),
        ]);
        Ok(Table { name: "prices", columns, rows })
    }

    /// What there is of each pool: events, machines, the hours they were exposed. From sums that triggers keep.
    ///
    /// # Errors
    /// The database's.
    pub fn summary(&mut self, filter: &Filter) -> Result<Table> {
        let mut ask = Ask::new(
            "provider, region, zone, instance_type, coalesce(events, 0) AS events, coalesce(notices, 0) AS notices, \
             coalesce(rebalances, 0) AS rebalances, coalesce(lives, 0) AS lives, coalesce(interrupted, 0) AS interrupted, \
             coalesce(exposed_ms, 0) AS exposed_ms, coalesce(on_demand_ms, 0) AS on_demand_ms",
            "pools LEFT JOIN (SELECT pool, CAST(sum(events) AS BIGINT) AS events, \
             CAST(sum(CASE WHEN type = 'cloud.spot.interrupt' THEN events ELSE 0 END) AS BIGINT) AS notices, \
             CAST(sum(CASE WHEN type = 'cloud.spot.rebalance' THEN events ELSE 0 END) AS BIGINT) AS rebalances \
             FROM pool_events WHERE simulated = 0 GROUP BY pool) AS told ON told.pool = pools.id \
             LEFT JOIN (SELECT pool, CAST(sum(lives) AS BIGINT) AS lives, \
             CAST(sum(CASE WHEN outcome = 'interrupted' THEN lives ELSE 0 END) AS BIGINT) AS interrupted, \
             CAST(sum(CASE WHEN market <> 'on-demand' THEN lived_ms ELSE 0 END) AS BIGINT) AS exposed_ms, \
             CAST(sum(CASE WHEN market = 'on-demand' THEN lived_ms ELSE 0 END) AS BIGINT) AS on_demand_ms \
             FROM pool_lives GROUP BY pool) AS seen ON seen.pool = pools.id",
            "exposed_ms DESC, events DESC, provider, region, zone, instance_type",
            filter.limit,
        );
        ask.conditions.push("(coalesce(events, 0) > 0 OR coalesce(lives, 0) > 0)".to_owned());
        and_pool(&mut ask, filter, "pools.");
        let mut rows = ask.run(self, None)?;
        for cell in rows.iter_mut().flat_map(|row| row.iter_mut().skip(9)) {
            *cell = Cell::Real(hours(cell.as_int().unwrap_or_default().saturating_mul(1_000_000)));
        }
        let mut columns = POOL.to_vec();
        let counts = ["events", "notices", "rebalances", "lives", "interrupted"];
        columns.extend(counts.map(|name| shown(name, Kind::Int)));
        columns.extend(["exposure_hours", "on_demand_hours"].map(|name| shown(name, Kind::Real)));
        Ok(Table { name: "summary", columns, rows })
    }

    /// How much there is, from sums that triggers keep.
    ///
    /// # Errors
    /// The database's.
    pub fn amounts(&mut self) -> Result<Amounts> {
        let sums = "SELECT (SELECT CAST(coalesce(sum(lives), 0) AS BIGINT) FROM pool_lives WHERE outcome <> 'running'), \
                    (SELECT CAST(coalesce(sum(events), 0) AS BIGINT) FROM pool_events WHERE simulated = 0 \
                    AND type IN ('cloud.spot.interrupt', 'cloud.spot.rebalance'))";
        let rows = self.query(sums, &[])?;
        let sum = |column: usize| rows.first().and_then(|row| row.get(column)).and_then(Cell::as_int);
        let [ended_lives, notices] = [0, 1].map(|column| sum(column).and_then(|sum| u64::try_from(sum).ok()));
        Ok(Amounts { ended_lives: ended_lives.unwrap_or_default(), notices: notices.unwrap_or_default() })
    }

    /// Gives every event of a type that happened to a known machine, drills left out, in the order of time.
    ///
    /// # Errors
    /// The database's.
    pub fn each_of_type(&mut self, event_type: &EventType, take: &mut dyn FnMut(Happened<'_>)) -> Result<()> {
        self.each_of_type_by(event_type, MOMENTS_PAGE, take)
    }

    /// The same with pages of so many rows.
    pub(super) fn each_of_type_by(
        &mut self,
        event_type: &EventType,
        page: u32,
        take: &mut dyn FnMut(Happened<'_>),
    ) -> Result<()> {
        let mut after: Option<[Cell; 2]> = None;
        loop {
            let columns = "instance_id, state, detected_wall_ns, id";
            let mut ask = Ask::new(columns, "events", "detected_wall_ns, id", page);
            ask.and("type =", Cell::Text(event_type.as_str().to_owned()));
            ask.conditions.push("simulated = 0 AND instance_id <> ''".to_owned());
            if let Some([at, id]) = after {
                ask.and("detected_wall_ns >=", at.clone());
                let (at, id) = (ask.parameter(at), ask.parameter(id));
                ask.conditions.push(format!("(detected_wall_ns > {at} OR id > {id})"));
            }
            let rows = ask.run(self, None)?;
            for row in &rows {
                if let [Cell::Text(instance), Cell::Text(state), Cell::Int(wall_ns), _] = row.as_slice() {
                    take(Happened { instance, wall_ns: *wall_ns, state });
                }
            }
            match rows.into_iter().nth(page.max(1) as usize - 1).as_deref() {
                Some([_, _, at, id]) => after = Some([at.clone(), id.clone()]),
                _ => return Ok(()),
            }
        }
    }

    /// Rows of the pools that are wanted.
    fn of_pools(&mut self, mut ask: Ask, column: &str, filter: &Filter) -> Result<Vec<Row>> {
        if filter.pool == cloudsnooze_insight::Pool::default() {
            return ask.run(self, None);
        }
        let mut pools = Ask::new("id", "pools", "id", u32::MAX);
        and_pool(&mut pools, filter, "");
        let numbers: Vec<Cell> = pools.run(self, None)?.into_iter().flatten().collect();
        if numbers.len() <= POOLS_ONE_BY_ONE {
            return ask.run(self, Some((column, numbers)));
        }
        and_pool(&mut ask, filter, "pools.");
        ask.run(self, None)
    }
}

/// What a delivery can say of itself; `started` has not ended.
const DELIVERY_STATES: [&str; 10] = [
    "started",
    "handled",
    "declined",
    "failed",
    "timed-out",
    "abandoned",
    "panicked",
    "crashed",
    "cancelled",
    "not-run",
];

/// So written, it does not tempt a planner to begin with the pools and lose the order of the other table's index.
fn and_pool(ask: &mut Ask, filter: &Filter, prefix: &str) {
    let pool = &filter.pool;
    let wanted = [
        ("provider", &pool.provider),
        ("region", &pool.region),
        ("zone", &pool.zone),
        ("instance_type", &pool.instance_type),
    ];
    for (name, text) in wanted.into_iter().filter(|(_, text)| !text.is_empty()) {
        ask.and(&format!("coalesce({prefix}{name}, '') ="), Cell::Text(text.clone()));
    }
}

#[allow(clippy::cast_precision_loss, reason = "hours for people and models")]
fn hours(ns: i64) -> f64 {
    ns.max(0) as f64 / 3.6e12
}
