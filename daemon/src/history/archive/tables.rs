//! The tables as they are exchanged: with files and with other histories.
//!
//! Inputs: none. Outputs: names, types and keys of columns, SQL to read and to write whole rows. Pure. Must never let a row that comes
//! a second time change anything: it is known by its key, and takes over only what it knows better.

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A whole number.
    Int,
    /// A finite number.
    Real,
    /// Nanoseconds since 1970, UTC.
    Time,
    /// 0 or 1.
    Flag,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it may hold nothing.
    pub may_lack: bool,
}

/// A table as it is exchanged. Where it has pools, its last four columns say which.
#[derive(Debug, PartialEq, Eq)]
pub struct Exchanged {
    /// Its name.
    pub name: &'static str,
    /// What one row is, as `kind` of a line of JSON says.
    pub row_name: &'static str,
    /// Its columns.
    pub columns: &'static [Column],
    /// Whether the last four of them are a pool.
    pub has_pool: bool,
    /// The database's columns that tell its rows apart, in the order of its index.
    pub key: &'static [&'static str],
    /// What a row takes over from one that comes later with the same key.
    on_conflict: &'static str,
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, may_lack: false }
}

const fn perhaps(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, may_lack: true }
}

const PROVIDER: Column = column("provider", Kind::Text);
const REGION: Column = column("region", Kind::Text);
const ZONE: Column = column("zone", Kind::Text);
const INSTANCE_TYPE: Column = column("instance_type", Kind::Text);

/// Events.
pub static EVENTS: Exchanged = Exchanged {
    name: "events",
    row_name: "event",
    columns: &[
        column("id", Kind::Text),
        column("type", Kind::Text),
        column("severity", Kind::Text),
        column("source", Kind::Text),
        column("detected_wall_ns", Kind::Time),
        column("detected", Kind::Text),
        perhaps("deadline", Kind::Text),
        column("simulated", Kind::Flag),
        column("state", Kind::Text),
        column("event", Kind::Text),
        perhaps("report", Kind::Text),
        column("instance_id", Kind::Text),
        PROVIDER,
        REGION,
        ZONE,
        INSTANCE_TYPE,
    ],
    has_pool: true,
    key: &["id"],
    on_conflict: "ON CONFLICT (id) DO UPDATE SET state = excluded.state, report = excluded.report \
                  WHERE events.state = 'running' AND excluded.state <> 'running'",
};

/// What became of each handler.
pub static DELIVERIES: Exchanged = Exchanged {
    name: "deliveries",
    row_name: "delivery",
    columns: &[
        column("event_id", Kind::Text),
        column("instance", Kind::Text),
        column("state", Kind::Text),
        perhaps("report", Kind::Text),
        column("attempts", Kind::Int),
        column("detected_wall_ns", Kind::Time),
    ],
    has_pool: false,
    key: &["event_id", "instance"],
    on_conflict: "ON CONFLICT (event_id, instance) DO UPDATE SET state = excluded.state, report = excluded.report, \
                  attempts = {most}(deliveries.attempts, excluded.attempts) \
                  WHERE deliveries.report IS NULL AND excluded.report IS NOT NULL",
};

/// How long which machine lived.
pub static LIVES: Exchanged = Exchanged {
    name: "lives",
    row_name: "life",
    columns: &[
        column("id", Kind::Text),
        column("instance_id", Kind::Text),
        column("market", Kind::Text),
        column("launched_wall_ns", Kind::Time),
        column("last_seen_wall_ns", Kind::Time),
        perhaps("ended_wall_ns", Kind::Time),
        column("outcome", Kind::Text),
        perhaps("batch", Kind::Int),
        PROVIDER,
        REGION,
        ZONE,
        INSTANCE_TYPE,
    ],
    has_pool: true,
    key: &["id"],
    on_conflict: "ON CONFLICT (id) DO UPDATE SET market = excluded.market, last_seen_wall_ns = excluded.last_seen_wall_ns, \
                  ended_wall_ns = excluded.ended_wall_ns, outcome = excluded.outcome \
                  WHERE excluded.last_seen_wall_ns > lives.last_seen_wall_ns OR (lives.outcome = 'running' \
                  AND excluded.outcome <> 'running' AND excluded.last_seen_wall_ns = lives.last_seen_wall_ns)",
};

/// What an hour cost.
pub static PRICES: Exchanged = Exchanged {
    name: "prices",
    row_name: "price",
    columns: &[
        column("market", Kind::Text),
        column("at_wall_ns", Kind::Time),
        column("price_per_hour", Kind::Real),
        column("currency", Kind::Text),
        column("source", Kind::Text),
        PROVIDER,
        REGION,
        ZONE,
        INSTANCE_TYPE,
    ],
    has_pool: true,
    key: &["pool", "market", "currency", "at_wall_ns"],
    on_conflict: "ON CONFLICT DO NOTHING",
};

/// All of them, those first that others refer to.
pub static ALL: [&Exchanged; 4] = [&EVENTS, &DELIVERIES, &LIVES, &PRICES];

impl Exchanged {
    /// The table of this name.
    pub fn of(name: &str) -> Option<&'static Self> {
        ALL.into_iter().find(|table| table.name == name)
    }

    /// Its own columns: all but those of the pool.
    pub fn own(&self) -> &'static [Column] {
        &self.columns[..self.columns.len() - if self.has_pool { 4 } else { 0 }]
    }

    /// The columns that the database has.
    pub fn stored(&self) -> Vec<&'static str> {
        let own = self.own().iter().map(|column| column.name);
        own.chain(self.has_pool.then_some("pool")).collect()
    }

    /// SQL for rows in the order of the keys: its columns, then the keys. With `is_further`, those after the keys that are its values.
    pub(super) fn page(&self, is_further: bool, rows: usize) -> String {
        let name = self.name;
        let own = self.own().iter().map(|column| format!("{name}.{}", column.name));
        let pool = ["provider", "region", "zone", "instance_type"].map(|column| format!("pools.{column}"));
        let keys: Vec<String> = self.key.iter().map(|column| format!("{name}.{column}")).collect();
        let columns: Vec<String> =
            own.chain(pool.into_iter().filter(|_| self.has_pool)).chain(keys.iter().cloned()).collect();
        let from =
            if self.has_pool { format!("{name} LEFT JOIN pools ON pools.id = {name}.pool") } else { name.to_owned() };
        let keys = keys.join(", ");
        let values: Vec<String> = (1..=self.key.len()).map(|n| format!("?{n}")).collect();
        let after = if is_further { format!("WHERE ({keys}) > ({})", values.join(", ")) } else { String::new() };
        format!("SELECT {} FROM {from} {after} ORDER BY {keys} LIMIT {rows}", columns.join(", "))
    }

    /// SQL that writes one row, or what it brings that is new. `values` selects it: `SELECT ?1, ...`, a list of columns from arrays.
    /// A delivery whose event is not there is passed over.
    pub(super) fn insert(&self, values: &str) -> String {
        let known = if self.name == "deliveries" {
            "WHERE EXISTS (SELECT 1 FROM events WHERE events.id = given.event_id)"
        } else {
            "WHERE 1 = 1"
        };
        let stored = self.stored();
        let columns = stored.join(", ");
        let given: Vec<String> = stored.iter().map(|name| format!("given.{name}")).collect();
        let (name, given, then) = (self.name, given.join(", "), self.on_conflict);
        format!("INSERT INTO {name} ({columns}) SELECT {given} FROM ({values}) AS given {known} {then}")
    }

    /// What a column of the database holds.
    pub(super) fn stored_kind(&self, name: &str) -> Kind {
        self.own().iter().find(|column| column.name == name).map_or(Kind::Int, |column| column.kind)
    }
}
