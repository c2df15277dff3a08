//! `ours` and `ours-inline`: the daemon's dispatch with one native plugin, from a source thread's publishing on. A source
//! begins each round of polls with a self-test, which wakes the way, and so does this; with the argument `from-sleep` it
//! does not, and the event meets the pool as it slept. With the argument `isolated` the plugin runs in a process of its own
//! (`ours-isolated`), which the beginning of a round wakes for a moment.
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
    let has = |word: &str| std::env::args().any(|arg| arg == word);
    let is_in_round = !has("from-sleep");
    let is_isolated = has("isolated");
    let plugin = if has("stopwatch-inline") { "stopwatch-inline" } else { "stopwatch" };
    let name = match (plugin, is_in_round) {
        _ if is_isolated => "ours-isolated",
        ("stopwatch", true) => "ours",
        ("stopwatch", false) => "ours-from-sleep",
        (_, true) => "ours-inline",
        (_, false) => "ours-inline-from-sleep",
    };
    let wish = Wish { plugin, event_type: EventType::SPOT_INTERRUPT, priority: 100, is_isolated };
    let ours = Ours::start(&parts_directory()?, &[wish], THREADS)?;
    // This thread plays the source.
    let granted = ours.join_publishers().max(ours.granted());
    let ready = Ready {
        name: name.into(),
        granted: stage::granted(granted),
        note: format!(
            "the daemon's pool, plugin {plugin}{}",
            if is_isolated { " in a process of its own" } else { "" }
        ),
    };
    let slot = ours.slots().at(0);
    serve(&ready, |request| {
        let prepare = || {
            if is_in_round {
                ours.begin_round();
            }
            ours.interruption()
        };
        Ok(stage::run(request, slot, prepare, |event| ours.publish(event), || ours.settle()))
    })
}
