//! `ours` and `ours-inline`: the daemon's dispatch with one native plugin, from a source thread's publishing on.
//!
//! The second argument names the plugin: `stopwatch` goes to a worker, `stopwatch-inline` promises never to block
//! (SNOOZE_CAP_REALTIME) and may be called on the thread that publishes. The event is a real one, made from an AWS
//! document; making it is not measured, finding its plan and handing it over is.

use cloudsnooze::event::EventType;
use latency::handler::parts_directory;
use latency::ours::{Ours, Wish};
use latency::protocol::{Ready, serve};
use latency::stage;

/// Workers the daemon would start for a plan of one handler.
const THREADS: usize = 5;

fn main() -> std::io::Result<()> {
    let (plugin, name) = match std::env::args().nth(2).as_deref() {
        Some("stopwatch-inline") => ("stopwatch-inline", "ours-inline"),
        _ => ("stopwatch", "ours"),
    };
    let wish = Wish { plugin, event_type: EventType::SPOT_INTERRUPT, priority: 100 };
    let ours = Ours::start(&parts_directory()?, &[wish], THREADS)?;
    // This thread plays the source.
    let granted = ours.join_publishers().max(ours.granted());
    let ready = Ready {
        name: name.into(),
        granted: stage::granted(granted),
        note: format!("the daemon's pool, plugin {plugin}"),
    };
    let slot = ours.slots().at(0);
    serve(&ready, |request| {
        Ok(stage::run(request, slot, || ours.interruption(), |event| ours.publish(event), || ours.settle()))
    })
}
