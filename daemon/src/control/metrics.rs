//! The daemon's state in Prometheus' text format.
//!
//! Inputs: a status. Outputs: text, version 0.0.4 of the format. Pure. Names follow Prometheus' rules: base
//! units, `_total` for counters.

use super::wire::Status;
use std::fmt::Write as _;

/// The metrics.
pub fn text(status: &Status) -> String {
    let mut page = Page::default();
    counts(status, &mut page);
    if let Some(first) = &status.dispatch.first_start_us {
        page.gauge("snooze_first_start_p50_seconds", "Detection to first instruction.", first.p50 / 1e6);
        page.gauge("snooze_first_start_p99_seconds", "Detection to first instruction.", first.p99 / 1e6);
    }
    if let Some(test) = &status.dispatch.self_test_us {
        let name = "snooze_self_test_seconds";
        page.head(name, "summary", "Detection to first instruction, self-tests of the last hour.");
        for (quantile, us) in [("0.5", test.p50), ("0.99", test.p99), ("0.999", test.p999), ("1", test.max)] {
            page.line(&format!("{name}{{quantile=\"{quantile}\"}}"), us / 1e6);
        }
        page.gauge("snooze_self_tests", "Self-tests of the last hour.", number(test.count));
    }
    page.0
}

fn counts(status: &Status, page: &mut Page) {
    let (events, dispatch) = (&status.events, &status.dispatch);
    let flag = |is_so: bool| f64::from(u8::from(is_so));
    page.gauge("snooze_up", "1 while the daemon runs.", 1.0);
    page.gauge("snooze_degraded", "1 while a problem stands.", flag(status.health != "ok"));
    let real_time = flag(dispatch.scheduling.starts_with("real-time"));
    page.gauge("snooze_real_time", "1 when all threads of the pool run with real-time priority.", real_time);
    page.counter("snooze_events_published_total", "Events taken in.", events.published);
    page.counter("snooze_events_completed_total", "Events that are over.", events.completed);
    page.counter("snooze_events_refused_total", "Events turned away.", events.refused);
    page.gauge("snooze_events_in_progress", "Events in progress or waiting.", number(dispatch.events_busy as u64));
    page.counter("snooze_calls_abandoned_total", "Calls given up.", dispatch.calls_abandoned as u64);
    for source in &status.sources {
        page.counter("snooze_source_polls_total", "Polls of the metadata service.", source.polls);
        page.counter("snooze_source_errors_total", "Polls that failed.", source.errors);
        page.gauge("snooze_source_seeing", "1 while the source can see.", flag(source.state == "seeing"));
    }
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to memory does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, value: f64) {
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, "gauge", help);
        self.line(name, value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "counter", help);
        self.line(name, number(value));
    }
}

#[allow(clippy::cast_precision_loss, reason = "counters below 2^53")]
fn number(count: u64) -> f64 {
    count as f64
}
