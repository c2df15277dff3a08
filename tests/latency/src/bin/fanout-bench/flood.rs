//! One urgent event in a flood of a hundred thousand unimportant ones a second, against the same event in quiet.
//!
//! Inputs: how many urgent events. Outputs: figures, and the rate that was really reached. The flood goes to a handler that
//! promised not to block, the urgent event to an ordinary one. Must never spin to keep the rate: a spinning real-time
//! thread is throttled.

use crate::figures::Figures;
use cloudsnooze::event::{Event, EventType, Severity};
use latency::ours::{Ours, Wish};
use latency::slot::now_ns;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Unimportant events a second.
const RATE: i64 = 100_000;
/// They come in bursts, as often as a thread can sleep.
const BURST_GAP: Duration = Duration::from_millis(1);
/// Bursts between two urgent events.
const BURSTS: usize = 10;
/// Most events of one burst: who falls further behind does not keep the rate, and that is said.
const BURST_MAX: i64 = 400;
/// Slot of the urgent handler.
const URGENT: usize = 1;

/// The type of the flood.
fn low_type() -> EventType {
    EventType::parse("custom.low").unwrap_or(EventType::SPOT_REBALANCE)
}

/// Both halves: quiet, then the flood.
pub(crate) fn run(parts: &Path, urgent: usize, figures: &mut Figures) -> io::Result<()> {
    let wishes = [
        Wish { plugin: "stopwatch-inline", event_type: low_type(), priority: 10, is_isolated: false },
        Wish { plugin: "stopwatch", event_type: EventType::SPOT_INTERRUPT, priority: 100, is_isolated: false },
    ];
    let ours = Ours::start(parts, &wishes, 4)?;
    let low = Event { event_type: low_type(), severity: Severity::Info, ..Arc::unwrap_or_clone(ours.interruption()) };
    let quiet: Vec<i64> = (0..urgent)
        .map(|_| {
            thread::sleep(BURST_GAP * u32::try_from(BURSTS).unwrap_or(1));
            one_urgent(&ours)
        })
        .collect();
    ours.settle();
    let begun_ns = now_ns();
    let mut sent = 0;
    let mut flooded = Vec::with_capacity(urgent);
    for _ in 0..urgent {
        for _ in 0..BURSTS {
            thread::sleep(BURST_GAP);
            let due = (now_ns() - begun_ns) * (RATE / 1_000) / 1_000_000;
            for _ in 0..(due - sent).min(BURST_MAX) {
                ours.publish(Arc::new(low.clone()));
                sent += 1;
            }
        }
        flooded.push(one_urgent(&ours));
    }
    let rate = sent * 1_000_000_000 / (now_ns() - begun_ns).max(1);
    figures.add("flood", "urgent event in quiet", &quiet);
    figures.add("flood", "urgent event in the flood", &flooded);
    figures.note("flood", "unimportant events a second", rate);
    Ok(())
}

fn one_urgent(ours: &Ours) -> i64 {
    let event = ours.interruption();
    let published_ns = now_ns();
    ours.publish(event);
    ours.slots().at(URGENT).wait() - published_ns
}
