//! The daemon's state in Prometheus' text format.
//!
//! Inputs: a status. Outputs: text, version 0.0.4 of the format. Pure. Names follow Prometheus' rules: base
//! units, `_total` for counters. Every metric is there from the start, at 0 where there was nothing yet: a rate has to see the
//! first failure. Must never let what a plugin or a cloud named break a line.

use super::wire::{Calls, Histogram, InstanceStatus, SourceStatus, Status};
use crate::dispatch::report::Ended;
use std::fmt::Write as _;

/// States of a source, as in its status.
const SOURCE_STATES: [&str; 5] = ["starting", "seeing", "partial", "blind", "off"];
/// States of an instance, as in its status.
const INSTANCE_STATES: [&str; 5] = ["created", "active", "quarantined", "inactive", "destroyed"];

/// The metrics.
pub fn text(status: &Status) -> String {
    let mut page = Page::default();
    daemon(status, &mut page);
    events(status, &mut page);
    latencies(status, &mut page);
    sources(&status.sources, &mut page);
    fleet(status.fleet.as_ref().unwrap_or(&cloudsnooze_fleet::Status::default()), &mut page);
    handlers(&status.instances, &mut page);
    page.0
}

fn daemon(status: &Status, page: &mut Page) {
    let dispatch = &status.dispatch;
    page.head("snooze_build_info", "gauge", "1; the version is its label.");
    page.line("snooze_build_info", &[("version", &status.version)], 1.0);
    page.gauge("snooze_uptime_seconds", "Since the daemon started, suspended time included.", status.uptime_seconds);
    page.gauge("snooze_degraded", "1 while a problem stands.", flag(status.health != "ok"));
    page.gauge("snooze_problems", "Problems that stand.", number(status.problems.len() as u64));
    let real_time = flag(dispatch.scheduling.starts_with("real-time"));
    page.gauge("snooze_real_time", "1 when all threads of the pool run with real-time priority.", real_time);
    let locked = flag(dispatch.memory_locked == "yes");
    page.gauge("snooze_memory_locked", "1 when the memory cannot be swapped out.", locked);
    page.gauge("snooze_pool_threads", "Threads of the pool.", number(dispatch.threads as u64));
    let history = &status.history;
    page.gauge("snooze_history_waiting_rows", "Rows that are still to be written down.", number(history.rows_waiting));
    page.counter("snooze_history_write_failures_total", "Writes to the history that failed.", history.failed_writes);
    let dropped = status.events.notes_dropped;
    page.counter(
        "snooze_notes_dropped_total",
        "Notes and log lines lost: they came faster than they could be kept.",
        dropped,
    );
}

fn events(status: &Status, page: &mut Page) {
    let (events, dispatch) = (&status.events, &status.dispatch);
    page.counter("snooze_events_published_total", "Events taken in.", events.published);
    page.counter("snooze_events_completed_total", "Events that are over.", events.completed);
    page.counter("snooze_events_refused_total", "Events turned away.", events.refused);
    page.gauge("snooze_events_in_progress", "Events in progress or waiting.", number(dispatch.events_busy as u64));
    let missed = "Events whose notice named a time, and whose handlers had not all ended by then.";
    page.counter("snooze_deadlines_missed_total", missed, events.deadlines_missed);
    let name = "snooze_event_time_left_seconds";
    page.head(name, "histogram", "Time left when all handlers had ended, of events whose notice named a time.");
    page.histogram(name, &[], &events.left);
    page.counter("snooze_calls_abandoned_total", "Calls given up.", dispatch.calls_abandoned as u64);
}

fn latencies(status: &Status, page: &mut Page) {
    let name = "snooze_first_start_seconds";
    page.head(name, "summary", "Detection to first instruction of the first handler, of events since the start.");
    let first = status.dispatch.first_start_us.as_ref();
    for (quantile, us) in
        first.into_iter().flat_map(|first| [("0.5", first.p50), ("0.99", first.p99), ("1", first.max)])
    {
        page.line(name, &[("quantile", quantile)], us / 1e6);
    }
    page.line(&format!("{name}_count"), &[], number(first.map_or(0, |first| first.count)));
    let name = "snooze_self_test_seconds";
    page.head(name, "summary", "Detection to first instruction, self-tests of the last hour.");
    let test = status.dispatch.self_test_us.as_ref();
    let quantiles = test.map(|test| [("0.5", test.p50), ("0.99", test.p99), ("0.999", test.p999), ("1", test.max)]);
    for (quantile, us) in quantiles.into_iter().flatten() {
        page.line(name, &[("quantile", quantile)], us / 1e6);
    }
    page.gauge("snooze_self_tests", "Self-tests of the last hour.", number(test.map_or(0, |test| test.count)));
}

fn fleet(fleet: &cloudsnooze_fleet::Status, page: &mut Page) {
    let counts = &fleet.counts;
    page.gauge(
        "snooze_fleet_connected",
        "1 while there is a connection to the group's servers.",
        flag(fleet.connected),
    );
    page.gauge("snooze_fleet_leads", "1 while this machine leads its group.", flag(fleet.leads));
    page.gauge("snooze_fleet_epoch", "The highest epoch of a leader that was seen.", number(fleet.epoch));
    page.counter("snooze_fleet_events_sent_total", "Events told to the group.", counts.sent);
    page.counter("snooze_fleet_events_kept_total", "Of those, what the servers keep.", counts.kept);
    page.counter("snooze_fleet_events_heard_total", "Events of other members.", counts.heard);
    page.counter("snooze_fleet_refused_total", "Directives of leaders that led no more.", counts.refused);
    page.counter("snooze_fleet_turns_total", "Turns that a leader gave.", counts.turns);
    page.counter("snooze_fleet_alone_total", "Times that this machine acted without its group.", counts.alone);
    page.counter("snooze_fleet_disconnects_total", "Times that the connection was lost.", counts.disconnected);
}

fn sources(sources: &[SourceStatus], page: &mut Page) {
    page.head("snooze_source_polls_total", "counter", "Times that a source looked.");
    for source in sources {
        page.line("snooze_source_polls_total", &[("source", &source.name)], number(source.polls));
    }
    page.head("snooze_source_errors_total", "counter", "Times that it could not see.");
    for source in sources {
        page.line("snooze_source_errors_total", &[("source", &source.name)], number(source.errors));
    }
    page.head("snooze_source_interval_seconds", "gauge", "Time between two looks; 0 where it waits to be told.");
    for source in sources {
        page.line("snooze_source_interval_seconds", &[("source", &source.name)], source.interval_seconds);
    }
    page.head(
        "snooze_source_state",
        "gauge",
        "1 for the state that a source is in: blind sees nothing, partial not all.",
    );
    for source in sources {
        for state in SOURCE_STATES {
            page.line(
                "snooze_source_state",
                &[("source", &source.name), ("state", state)],
                flag(source.state == state),
            );
        }
    }
}

fn handlers(instances: &[InstanceStatus], page: &mut Page) {
    let name = "snooze_plugin_state";
    page.head(name, "gauge", "1 for the state that a plugin's instance is in.");
    for own in instances {
        for state in INSTANCE_STATES {
            let labels = [("instance_name", own.name.as_str()), ("plugin", &own.plugin), ("state", state)];
            page.line(name, &labels, flag(own.state == state));
        }
    }
    let name = "snooze_handler_calls_total";
    page.head(name, "counter", "Calls by how they ended.");
    for own in instances {
        for ended in Ended::ALL.map(Ended::as_str) {
            let labels = [("instance_name", own.name.as_str()), ("plugin", &own.plugin), ("result", ended)];
            page.line(name, &labels, number(own.calls.results.get(ended).copied().unwrap_or(0)));
        }
    }
    let name = "snooze_handler_unverified_total";
    page.head(name, "counter", "Calls whose effect was seen not to hold.");
    for own in instances {
        page.line(name, &labels(own), number(own.calls.unverified));
    }
    let name = "snooze_handler_duration_seconds";
    page.head(name, "histogram", "Time that calls took, all attempts included.");
    for own in instances {
        let Calls { took, .. } = &own.calls;
        page.histogram(name, &labels(own), took);
    }
}

/// Not `instance`: Prometheus calls the daemon itself so.
fn labels(own: &InstanceStatus) -> [(&'static str, &str); 2] {
    [("instance_name", &own.name), ("plugin", &own.plugin)]
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to memory does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let start = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{start}{label}=\"{}\"", escaped(text));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, "gauge", help);
        self.line(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "counter", help);
        self.line(name, &[], number(value));
    }

    /// The lines of a histogram, whose buckets are cumulative here.
    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let bucket = format!("{name}_bucket");
        let mut so_far = 0;
        for (index, count) in histogram.counts.iter().enumerate() {
            so_far += count;
            let bound = histogram.bounds_seconds.get(index).map_or_else(|| "+Inf".to_owned(), f64::to_string);
            let mut labels = labels.to_vec();
            labels.push(("le", &bound));
            self.line(&bucket, &labels, number(so_far));
        }
        self.line(&format!("{name}_sum"), labels, histogram.sum_seconds);
        self.line(&format!("{name}_count"), labels, number(so_far));
    }
}

/// A label's value (Prometheus, "Text-based format").
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

#[allow(clippy::cast_precision_loss, reason = "counters below 2^53")]
fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_end_before_its_text_does() {
        let mut page = Page::default();
        page.line("m", &[("a", "x\"} 1\nforged 2\\"), ("b", "")], 3.0);
        assert_eq!(page.0, "m{a=\"x\\\"} 1\\nforged 2\\\\\",b=\"\"} 3\n");
    }

    #[test]
    fn a_histogram_is_cumulative_and_ends_with_all() {
        let mut page = Page::default();
        let spread = Histogram { bounds_seconds: vec![0.001, 1.0], counts: vec![2, 0, 3], sum_seconds: 9.5 };
        page.histogram("h", &[("x", "y")], &spread);
        let expected = "h_bucket{x=\"y\",le=\"0.001\"} 2\nh_bucket{x=\"y\",le=\"1\"} 2\nh_bucket{x=\"y\",le=\"+Inf\"} 5\n\
                        h_sum{x=\"y\"} 9.5\nh_count{x=\"y\"} 5\n";
        assert_eq!(page.0, expected);
    }
}
