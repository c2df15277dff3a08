//! One event, many handlers: when the first starts, when the last, how long publishing takes, and how long the hand-off
//! from one tier to the next.
//!
//! Inputs: numbers of handlers and threads. Outputs: figures. Must never have a handler wake this thread: the publisher
//! sleeps by the clock and reads the slots afterwards.

use crate::figures::Figures;
use cloudsnooze::event::EventType;
use latency::ours::{Ours, Wish};
use latency::slot::now_ns;
use serde_json::{Value, json};
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Handlers of one tier.
const HANDLERS: [usize; 3] = [1, 8, 64];
/// Threads of the pool.
const THREADS: [usize; 3] = [1, 2, 4];
/// Handlers of each of two tiers.
const PER_TIER: usize = 4;
/// From publishing to reading the slots: far longer than any of this takes.
const REST: Duration = Duration::from_millis(8);

fn wishes(count: usize, priority: u32) -> impl Iterator<Item = Wish> {
    (0..count).map(move |_| Wish {
        plugin: "stopwatch",
        event_type: EventType::SPOT_INTERRUPT,
        priority,
        is_isolated: false,
    })
}

/// Publishes one interruption. When it was published, how long publishing took, when each handler started.
fn one_event(ours: &Ours, handlers: usize) -> (i64, i64, Vec<i64>) {
    let event = ours.interruption();
    let published_ns = now_ns();
    ours.publish(event);
    let returned_ns = now_ns();
    thread::sleep(REST);
    ours.settle();
    (published_ns, returned_ns - published_ns, (0..handlers).map(|n| ours.slots().at(n).wait()).collect())
}

/// Every combination of handlers and threads.
pub(crate) fn one_tier(parts: &Path, events: usize, figures: &mut Figures) -> io::Result<()> {
    for handlers in HANDLERS {
        for threads in THREADS {
            let ours = Ours::start(parts, &wishes(handlers, 100).collect::<Vec<_>>(), threads)?;
            let (mut first, mut last, mut call) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..events {
                let (published_ns, publishing_ns, started) = one_event(&ours, handlers);
                first.extend(started.iter().min().map(|ns| ns - published_ns));
                last.extend(started.iter().max().map(|ns| ns - published_ns));
                call.push(publishing_ns);
            }
            let name = format!("{handlers} handlers, {threads} threads");
            figures.add("one_tier", &format!("{name}: publishing"), &call);
            figures.add("one_tier", &format!("{name}: first start"), &first);
            figures.add("one_tier", &format!("{name}: last start"), &last);
        }
    }
    Ok(())
}

/// Two tiers of empty handlers: from the last start of the first to the first start of the second.
pub(crate) fn tier_to_tier(parts: &Path, events: usize, figures: &mut Figures) -> io::Result<()> {
    for threads in THREADS {
        let both: Vec<Wish> = wishes(PER_TIER, 100).chain(wishes(PER_TIER, 50)).collect();
        let ours = Ours::start(parts, &both, threads)?;
        let gaps: Vec<i64> = (0..events)
            .filter_map(|_| {
                let (_, _, started) = one_event(&ours, 2 * PER_TIER);
                let (high, low) = started.split_at(PER_TIER);
                Some(low.iter().min()? - high.iter().max()?)
            })
            .collect();
        figures.add("tier_to_tier", &format!("{threads} threads"), &gaps);
    }
    Ok(())
}

/// How the workers' scheduling came out, for the record.
pub(crate) fn granted(parts: &Path) -> io::Result<Value> {
    let ours = Ours::start(parts, &wishes(1, 100).collect::<Vec<_>>(), 1)?;
    Ok(json!(latency::stage::granted(ours.granted())))
}
