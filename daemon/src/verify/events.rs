//! The events that a plugin under test is sent: usual ones, bare ones, as large as they come.
//!
//! Inputs: types. Outputs: events and calls in memory of their own. Must never make one that a source could not.

use super::drive::Driven;
use super::scene::{Afterwards, CallAt, EventAt};
use crate::event::{Action, Event, EventId, EventType, Machine, NoticeKind, Severity};
use crate::sys::clock;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Time granted to a call unless a test says otherwise, milliseconds.
pub const GRANTED_MS: i64 = 1_000;
/// Bytes of the largest provider's document that a source takes.
const RAW_BYTES_MAX: usize = 256 * 1024;

/// How much is in an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// What a cloud sends.
    Usual,
    /// Nothing that may be absent.
    Bare,
    /// Texts of the greatest length.
    Largest,
}

/// An event of this type.
pub fn event(event_type: EventType, fill: Fill) -> Arc<Event> {
    let now = clock::now();
    let text = |usual: &str, letter: &str| match fill {
        Fill::Usual => usual.to_owned(),
        Fill::Bare => String::new(),
        Fill::Largest => letter.repeat(255),
    };
    let machine = Machine {
        instance_id: text("i-0123456789abcdef0", "i"),
        instance_type: text("m5.large", "m"),
        zone: text("eu-central-1a", "z"),
        region: text("eu-central-1", "r"),
    };
    let raw = match fill {
        Fill::Usual => Some(json!({ "action": "terminate", "time": now.plus_ns(120_000_000_000).rfc3339() })),
        Fill::Bare => None,
        Fill::Largest => Some(Value::String("x".repeat(RAW_BYTES_MAX))),
    };
    let extra: Map<String, Value> = match fill {
        Fill::Usual | Fill::Bare => Map::new(),
        Fill::Largest => {
            (0..200).map(|n| (format!("member{n}"), json!({ "number": n, "text": "é".repeat(100) }))).collect()
        }
    };
    let is_bare = fill == Fill::Bare;
    Arc::new(Event {
        id: EventId::at(now.wall_ns),
        source: "snooze.plugin.verify".into(),
        severity: Severity::Urgent,
        detected: now,
        effective: (!is_bare).then(|| now.plus_ns(120_000_000_000)),
        simulated: true,
        drill: false,
        provider: if is_bare { "".into() } else { "aws".into() },
        action: if is_bare { Action::None } else { Action::Terminate },
        notice_kind: if is_bare { NoticeKind::Advisory } else { NoticeKind::Deadline },
        machine: Arc::new(machine),
        resources: if fill == Fill::Largest { vec!["i-0123456789abcdef0".into(); 100] } else { Vec::new() },
        cancels: event_type.is_cancelled().then(|| EventId::at(now.wall_ns - 1)),
        event_type,
        raw,
        extra,
    })
}

/// The types that an instance takes: those that sources make, a withdrawal and one that nobody knows, as far as its
/// subscriptions match; every one when it has none.
pub fn kinds(driven: &Driven) -> Vec<EventType> {
    let wanted = driven.stage().wanted();
    let others = ["cloud.spot.interrupt.cancelled", "custom.verify.nothing-known"];
    let all = EventType::KNOWN.into_iter().chain(others.iter().filter_map(|text| EventType::parse(text).ok()));
    let mut taken: Vec<EventType> = all
        .filter(|kind| wanted.is_empty() || wanted.iter().any(|w| w.kinds.iter().any(|k| k.matches(kind))))
        .collect();
    // A subscription to a type of its own: take it at its word.
    let named = wanted.iter().flat_map(|w| &w.kinds).filter_map(|kind| EventType::parse(kind.as_str()).ok());
    for kind in named {
        if !taken.contains(&kind) {
            taken.push(kind);
        }
    }
    taken
}

/// The first type that an instance takes.
pub fn first_kind(driven: &Driven) -> EventType {
    kinds(driven).into_iter().next().unwrap_or(EventType::SPOT_INTERRUPT)
}

/// What is given back with calls of this type.
fn token(driven: &Driven, kind: &EventType) -> usize {
    let wanted = driven.stage().wanted();
    wanted.iter().find(|w| w.kinds.iter().any(|k| k.matches(kind))).map_or(0, |w| w.handler)
}

/// An event of `kind` and a call for it; None when there is no memory.
pub fn pair(driven: &Driven, kind: EventType, fill: Fill, granted_ms: i64) -> Option<(EventAt, CallAt)> {
    pair_that(driven, kind, fill, granted_ms, Afterwards::Keep)
}

/// As [`pair`], and what becomes of the memory afterwards.
pub fn pair_that(
    driven: &Driven,
    kind: EventType,
    fill: Fill,
    granted_ms: i64,
    afterwards: Afterwards,
) -> Option<(EventAt, CallAt)> {
    let token = token(driven, &kind);
    let event = event(kind, fill);
    let key = *event.id.0.as_bytes();
    Some((EventAt::new(&event, false, afterwards)?, CallAt::new(key, 1, granted_ms, token, false)?))
}
