//! What a fleet leaves behind, drawn from a seed: events, deliveries, lives, prices.
//!
//! Inputs: numbers. Outputs: rows as they are exchanged. The same for the same numbers. Must never draw what a real history would not
//! hold: sizes and shares are those of the daemon's own rows without the provider's whole document.

use cloudsnooze::history::archive::{Cell, Row};

/// 2024-01-01T00:00:00Z, nanoseconds: all of it is over, as lives that begin in the future count for nothing.
pub const BEGIN_WALL_NS: i64 = 1_704_067_200 * 1_000_000_000;
/// The time over which everything is spread: 400 days, nanoseconds.
pub const SPAN_NS: i64 = 400 * 86_400 * 1_000_000_000;
/// An hour, nanoseconds.
const HOUR_NS: u64 = 3_600 * 1_000_000_000;
/// Machines that are started together.
const GROUP: u64 = 8;
/// Types and their shares, of 1,000.
pub const TYPES: [(&str, u64); 8] = [
    ("cloud.spot.rebalance", 300),
    ("system.disk.pressure", 250),
    ("system.memory.pressure", 200),
    ("cloud.spot.interrupt", 120),
    ("cloud.maintenance.freeze", 80),
    ("cloud.autoscaling.terminate", 40),
    ("cloud.spot.interrupt.cancelled", 9),
    ("custom.batch", 1),
];
/// States and their shares, of 10,000.
pub const STATES: [(&str, u64); 5] =
    [("completed", 9_700), ("withdrawn", 200), ("interrupted", 60), ("refused", 39), ("running", 1)];
/// How deliveries end, of 1,000.
pub const ENDS: [(&str, u64); 4] = [("handled", 930), ("declined", 50), ("failed", 15), ("timed-out", 5)];
/// Handlers.
pub const HANDLERS: [&str; 5] = [
    "cloud.spot.*/mysql-flusher",
    "cloud.spot.*/app-checkpointer",
    "*/slack-notifier",
    "system.*/exec",
    "custom.batch/exec",
];
/// Zones.
pub const ZONES: u64 = 60;
/// Instance types.
pub const KINDS: u64 = 20;

/// A sequence of numbers (Steele, Lea, Flood: SplitMix64, OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// The next number below a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// One of a list, by its share.
    pub fn pick<'a>(&mut self, of: &[(&'a str, u64)]) -> &'a str {
        let mut at = self.below(of.iter().map(|(_, share)| share).sum());
        let found = of.iter().find(|(_, share)| {
            let is_it = at < *share;
            at = at.saturating_sub(*share);
            is_it
        });
        found.map_or("", |(name, _)| name)
    }
}

fn text(text: impl Into<String>) -> Cell {
    Cell::Text(text.into())
}

/// How many of each there are to so many events: deliveries, machines, prices.
pub fn sizes(events: u64) -> (u64, u64, u64) {
    (events / 5, events / 50 + 10, events / 20 + 10)
}

/// The name of a machine.
pub fn instance(number: u64) -> String {
    format!("i-{number:017x}")
}

/// The name of a zone.
pub fn zone(number: u64) -> String {
    format!("region-{}{}", number / 3, char::from(b'a' + u8::try_from(number % 3).unwrap_or_default()))
}

/// The name of an instance type.
pub fn kind(number: u64) -> String {
    format!("m{}.{}xlarge", 5 + number % 4, 1 << (number / 4))
}

/// A machine is always in the same pool.
fn pool(machine: u64) -> [Cell; 4] {
    let mut draw = Draw::new(machine);
    let number = draw.below(ZONES);
    [text("aws"), text(format!("region-{}", number / 3)), text(zone(number)), text(kind(draw.below(KINDS)))]
}

/// The identity of an event: ordered by time, as the daemon's are.
pub fn event_id(number: u64) -> String {
    let mut draw = Draw::new(number);
    let (high, low) = (draw.next(), draw.next());
    format!(
        "{:08x}-{:04x}-7{:03x}-8{:03x}-{:012x}",
        number >> 8,
        (number << 8) & 0xffff | 7,
        high & 0xfff,
        high >> 52,
        low >> 16
    )
}

/// When an event was detected.
pub fn detected(number: u64, events: u64) -> i64 {
    let step = SPAN_NS / i64::try_from(events.max(1)).unwrap_or(i64::MAX);
    BEGIN_WALL_NS + step * i64::try_from(number).unwrap_or(i64::MAX)
}

/// An event.
pub fn event(number: u64, events: u64) -> Row {
    let mut draw = Draw::new(number ^ 0xE7E7);
    let machine = draw.below(sizes(events).1);
    let (name, state) = (draw.pick(&TYPES), draw.pick(&STATES));
    let (id, at) = (event_id(number), detected(number, events));
    let time = cloudsnooze::event::rfc3339(at);
    let [provider, region, zone, kind] = pool(machine);
    let json = format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"type\":\"{name}\",\"source\":\"aws.ec2.metadata-service\",\"time\":\"{time}\",\
         \"severity\":\"urgent\",\"data\":{{\"provider\":\"aws\",\"action\":\"terminate\",\"instanceID\":\"{}\"}}}}",
        instance(machine)
    );
    let report = (state != "running").then(|| {
        format!(
            "{{\"event_id\":\"{id}\",\"state\":\"{state}\",\"duration_ms\":{},\"left_seconds\":101.5,\"handlers\":[]}}",
            draw.below(90_000)
        )
    });
    vec![
        text(id),
        text(name),
        text("urgent"),
        text("aws.ec2.metadata-service"),
        Cell::Int(at),
        text(time),
        Cell::Null,
        Cell::Int(i64::from(draw.below(100) == 0)),
        text(state),
        text(json),
        report.map_or(Cell::Null, Cell::Text),
        text(instance(machine)),
        provider,
        region,
        zone,
        kind,
    ]
}

/// A delivery: of each fifth event one.
pub fn delivery(number: u64, events: u64) -> Row {
    let mut draw = Draw::new(number ^ 0xDE11);
    let (event, state) = (number * 5, draw.pick(&ENDS));
    let handler = HANDLERS[usize::try_from(draw.below(HANDLERS.len() as u64)).unwrap_or_default()];
    let report = format!(
        "{{\"handler\":\"h\",\"instance\":\"{handler}\",\"status\":\"{state}\",\"attempts\":1,\"duration_ms\":{},\"verified\":\"yes\"}}",
        draw.below(30_000)
    );
    vec![
        text(event_id(event)),
        text(handler),
        text(state),
        text(report),
        Cell::Int(1),
        Cell::Int(detected(event, events)),
    ]
}

/// A life: every machine has one. There is something to find in them: of each second eight, machines are started together, as a group
/// of an autoscaler is; half of all ends come in the first hours; between 8 and 20 h (UTC) twice as many of them are interruptions, and
/// from the 240th day on half as many again.
pub fn life(machine: u64, events: u64) -> Row {
    let mut draw = Draw::new(machine ^ 0x11FE);
    let group = machine / GROUP;
    let batch = if group.is_multiple_of(2) { Cell::Int(i64::try_from(group).unwrap_or_default()) } else { Cell::Null };
    let mut start = Draw::new(if batch == Cell::Null { machine ^ 0x57A7 } else { group ^ 0xBA7C });
    let launched = BEGIN_WALL_NS + i64::try_from(start.below(SPAN_NS.unsigned_abs())).unwrap_or_default();
    let longest_h = if draw.below(2) == 0 { 10 } else { 90 };
    let ended = launched + i64::try_from(draw.below(longest_h * HOUR_NS)).unwrap_or_default();
    let since_h = (ended - BEGIN_WALL_NS).unsigned_abs() / HOUR_NS;
    let by_hour = if (8..20).contains(&(since_h % 24)) { 360 } else { 180 };
    let interrupted = if since_h >= 240 * 24 { by_hour * 3 / 2 } else { by_hour };
    let outcome = draw.pick(&[("interrupted", interrupted), ("stopped", 950 - interrupted), ("running", 50)]);
    let until = if outcome == "running" { Cell::Null } else { Cell::Int(ended) };
    let _ = events;
    let [provider, region, zone, kind] = pool(machine);
    vec![
        text(format!("{}@{launched}", instance(machine))),
        text(instance(machine)),
        text(draw.pick(&[("spot", 80), ("unknown", 15), ("on-demand", 5)])),
        Cell::Int(launched),
        Cell::Int(ended),
        until,
        text(outcome),
        batch,
        provider,
        region,
        zone,
        kind,
    ]
}

/// A price.
pub fn price(number: u64, events: u64) -> Row {
    let mut draw = Draw::new(number ^ 0x9817);
    let step = SPAN_NS / i64::try_from(sizes(events).2).unwrap_or(i64::MAX);
    let [provider, region, zone, kind] = pool(draw.below(sizes(events).1));
    #[allow(clippy::cast_precision_loss, reason = "a price")]
    let price = draw.below(100_000) as f64 / 10_000.0;
    let at = BEGIN_WALL_NS + step * i64::try_from(number).unwrap_or_default();
    vec![text("spot"), Cell::Int(at), Cell::Real(price), text("USD"), text("drawn"), provider, region, zone, kind]
}
