//! The questions that are asked: every view of `snooze history`, with every filter, alone and together.
//!
//! Inputs: a number. Outputs: filters. Must never ask for what is not there: an empty answer shows nothing.

use crate::data::{self, Draw, HANDLERS};
use cloudsnooze::history::archive::views::{Filter, Table};
use cloudsnooze::history::archive::{Archive, Result};
use cloudsnooze_insight::Pool;

/// Rows of a screen.
const ROWS: u32 = 50;

/// A view and how it is narrowed.
pub struct Question {
    /// In words.
    pub name: &'static str,
    /// Draws a filter; told how many events there are.
    pub filter: fn(&mut Draw, u64) -> Filter,
    /// Asks.
    pub ask: fn(&mut Archive, &Filter) -> Result<Table>,
}

fn all() -> Filter {
    Filter { limit: ROWS, ..Filter::default() }
}

fn some(text: impl Into<String>) -> Option<String> {
    Some(text.into())
}

fn machine(draw: &mut Draw, events: u64) -> Option<String> {
    some(data::instance(draw.below(data::sizes(events).1)))
}

/// A week somewhere.
fn week(draw: &mut Draw) -> Filter {
    let week = 7 * 86_400 * 1_000_000_000_i64;
    let since =
        data::BEGIN_WALL_NS + i64::try_from(draw.below((data::SPAN_NS - week).unsigned_abs())).unwrap_or_default();
    Filter { since_wall_ns: Some(since), until_wall_ns: Some(since + week), ..all() }
}

fn event(draw: &mut Draw, events: u64) -> Option<String> {
    some(data::event_id(draw.below(data::sizes(events).0) * 5))
}

fn pool(draw: &mut Draw) -> Pool {
    Pool {
        zone: data::zone(draw.below(data::ZONES)),
        instance_type: data::kind(draw.below(data::KINDS)),
        ..Pool::default()
    }
}

fn handler(draw: &mut Draw) -> Option<String> {
    some(HANDLERS[usize::try_from(draw.below(HANDLERS.len() as u64)).unwrap_or_default()])
}

macro_rules! question {
    ($name:literal, $view:ident, |$draw:ident, $events:ident| $filter:expr) => {
        Question {
            name: $name,
            filter: |$draw, $events| {
                let _ = (&$draw, $events);
                $filter
            },
            ask: Archive::$view,
        }
    };
}

/// All of them.
pub fn questions() -> Vec<Question> {
    vec![
        question!("events", events, |draw, n| all()),
        question!("events of a type", events, |draw, n| Filter { event_type: some(draw.pick(&data::TYPES)), ..all() }),
        question!("events cloud.*", events, |draw, n| Filter { event_type: some("cloud.*"), ..all() }),
        question!("events of a rare type, rare state", events, |draw, n| Filter {
            event_type: some("cloud.spot.interrupt.cancelled"),
            outcome: some("refused"),
            ..all()
        }),
        question!("events in a state", events, |draw, n| Filter { outcome: some(draw.pick(&data::STATES)), ..all() }),
        question!("events cloud.*, rare state", events, |draw, n| Filter {
            event_type: some("cloud.*"),
            outcome: some("interrupted"),
            ..week(draw)
        }),
        question!("events of a machine", events, |draw, n| Filter { instance: machine(draw, n), ..all() }),
        question!("events of a machine and type", events, |draw, n| Filter {
            instance: machine(draw, n),
            event_type: some("cloud.spot.*"),
            ..all()
        }),
        question!("events of a week", events, |draw, n| week(draw)),
        question!("events of a type in a week", events, |draw, n| Filter {
            event_type: some("cloud.spot.interrupt"),
            ..week(draw)
        }),
        question!("deliveries", deliveries, |draw, n| all()),
        question!("deliveries of an event", deliveries, |draw, n| Filter { event: event(draw, n), ..all() }),
        question!("deliveries of a handler", deliveries, |draw, n| Filter { handler: handler(draw), ..all() }),
        question!("deliveries that failed", deliveries, |draw, n| Filter { outcome: some("failed"), ..week(draw) }),
        question!("deliveries of a handler that failed", deliveries, |draw, n| Filter {
            handler: handler(draw),
            outcome: some("timed-out"),
            ..all()
        }),
        question!("lives", lives, |draw, n| all()),
        question!("lives of a machine", lives, |draw, n| Filter { instance: machine(draw, n), ..all() }),
        question!("lives of a pool", lives, |draw, n| Filter { pool: pool(draw), ..all() }),
        question!("lives of a zone, interrupted", lives, |draw, n| Filter {
            pool: Pool { zone: data::zone(draw.below(data::ZONES)), ..Pool::default() },
            outcome: some("interrupted"),
            ..all()
        }),
        question!("lives of a provider in a week", lives, |draw, n| Filter {
            pool: Pool { provider: "aws".to_owned(), ..Pool::default() },
            ..week(draw)
        }),
        question!("prices", prices, |draw, n| all()),
        question!("prices of a pool", prices, |draw, n| Filter { pool: pool(draw), ..all() }),
        question!("prices of a provider in a week", prices, |draw, n| Filter {
            pool: Pool { provider: "aws".to_owned(), ..Pool::default() },
            ..week(draw)
        }),
        question!("summary", summary, |draw, n| Filter { limit: 5_000, ..all() }),
        question!("summary of a zone", summary, |draw, n| Filter {
            pool: Pool { zone: data::zone(draw.below(data::ZONES)), ..Pool::default() },
            ..all()
        }),
    ]
}
