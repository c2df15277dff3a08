//! Costs that need no threads: the queue, and finding a plan among many subscriptions.
//!
//! Inputs: how many events. Outputs: nanoseconds an operation. Must never measure an operation whose result the compiler
//! could leave out.

use crate::figures::Figures;
use cloudsnooze::dispatch::plan::{Handler, Plans};
use cloudsnooze::event::{EventType, Pattern, Severity};
use cloudsnooze::queue::Queue;
use latency::slot::now_ns;
use std::hint::black_box;

/// Events that wait together before they are taken out.
const BATCH: u64 = 64;
/// Subscriptions in the configuration.
const SUBSCRIPTIONS: [usize; 4] = [1, 10, 100, 1_000];
/// Lookups of a plan.
const LOOKUPS: i64 = 1_000_000;

/// Events of mixed severity through the queue, in and out.
pub(crate) fn queue(events: u64, figures: &mut Figures) {
    let severities = [Severity::Info, Severity::Warning, Severity::Urgent, Severity::Critical];
    let mut queue = Queue::default();
    let (mut sum, mut done) = (0u64, 0u64);
    let begun_ns = now_ns();
    while done < events {
        for n in 0..BATCH {
            // Never full: a batch is far smaller than a lane.
            let _taken = queue.push(severities[(n % 4) as usize], done + n);
        }
        while let Some(value) = queue.pop(Severity::Info) {
            sum = sum.wrapping_add(black_box(value));
            done += 1;
        }
    }
    let took_ns = now_ns() - begun_ns;
    black_box(sum);
    figures.note("queue", "events", i64::try_from(done).unwrap_or(i64::MAX));
    figures.note(
        "queue",
        "picoseconds an event, in and out",
        took_ns.saturating_mul(1_000) / i64::try_from(done).unwrap_or(1),
    );
}

/// Finding the plan of a type when the configuration has so many subscriptions.
pub(crate) fn subscriptions(figures: &mut Figures) {
    for count in SUBSCRIPTIONS {
        let plans = Plans::new((0..count).filter_map(subscription).collect(), Vec::new());
        let begun_ns = now_ns();
        for _ in 0..LOOKUPS {
            black_box(plans.of(black_box(&EventType::SPOT_INTERRUPT)));
        }
        let took_ns = now_ns() - begun_ns;
        figures.note("plan", &format!("picoseconds a lookup, {count} subscriptions"), took_ns * 1_000 / LOOKUPS);
    }
}

/// One in ten takes interruptions, the others types of their own.
fn subscription(n: usize) -> Option<Handler<()>> {
    let pattern = if n.is_multiple_of(10) { "cloud.spot.*".to_owned() } else { format!("custom.type-{n}") };
    Some(Handler::new(&format!("handler-{n}"), Pattern::parse(&pattern).ok()?, ()))
}
