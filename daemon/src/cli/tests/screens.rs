//! Tests of the screens: fixed values in, golden text out.
//! Must never depend on the terminal, the time or the machine.

use super::golden;
use crate::cli::paint::Paint;
use crate::cli::{events, plan, reload, screen, status, watch};
use crate::control::wire::{Events, PlanView, Reloaded, Status, Watched};
use crate::dispatch::report::EventReport;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const PLAIN: Paint = Paint(false);
const WIDTH: u16 = 100;

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the form of the wire")
}

/// Text with its colours taken out again.
fn without_colour(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.split_once('m').map_or(part, |(_, rest)| rest))
}

pub(super) fn status_value() -> Value {
    let handler = |name: &str, priority: u32, state: &str| {
        json!({
            "name": format!("cloud.spot.interrupt/{name}"), "plugin": name, "version": "1.0.0", "kind": "native",
            "state": state, "detail": "in process", "path": "/usr/lib/x.so", "sha256": "00", "priority": priority,
            "timeout_seconds": 30.0, "config": {},
        })
    };
    json!({
        "version": "0.1.0", "pid": 812, "uptime_seconds": 273_600.0, "health": "degraded",
        "problems": ["cloud.spot.interrupt/slack-notifier is quarantined after an earlier call"],
        "config_files": ["/etc/cloudsnooze/cloudsnooze.json", "/etc/cloudsnooze/conf.d/10-db.json"],
        "machine": { "provider": "aws", "instance_id": "i-0123456789abcdef0", "instance_type": "c5.large",
                     "zone": "eu-west-1b", "region": "eu-west-1" },
        "sources": [{ "name": "aws.ec2.metadata-service", "state": "seeing", "polls": 54_720, "errors": 3, "interval_seconds": 5.0,
                      "summary": "all 6 paths answer" }],
        "instances": [handler("mysql-flusher", 100, "active"), handler("app-checkpointer", 80, "active"),
                      handler("slack-notifier", 10, "quarantined")],
        "dispatch": { "threads": 7, "scheduling": "real-time (SCHED_RR 10)", "cpu": 3, "memory_locked": "yes", "events_busy": 0,
                      "calls_abandoned": 1, "first_start_us": { "count": 12, "p50": 85.0, "p99": 112.0, "max": 301.0 },
                      "self_test_us": { "count": 1800, "p50": 24.0, "p99": 61.0, "p999": 140.0, "max": 173.0, "recent_p50": 25.0 } },
        "events": { "published": 12, "completed": 12, "refused": 0, "notes_dropped": 0 },
    })
}

fn handler(name: &str, priority: u32, start_ms: Option<f64>, duration_ms: f64) -> Value {
    json!({
        "handler": name, "instance": format!("cloud.spot.interrupt/{name}"), "priority": priority, "tier": 0, "start": "in-order",
        "status": "handled", "attempts": 1, "start_ms": start_ms, "duration_ms": duration_ms, "budget_ms": 30_000.0,
        "left_seconds": 119.88 - (start_ms.unwrap_or(0.0) + duration_ms) / 1e3, "verified": "yes",
        "error": null, "result": null, "evidence": null,
    })
}

pub(super) fn report_value() -> Value {
    let mut mysql = handler("mysql-flusher", 100, Some(0.085), 3_212.0);
    mysql["result"] = json!({
        "action": "server-stopped", "steps": ["sync_commits", "flush_dirty_pages", "stop_server"], "durable": "yes",
        "evidence": { "before": { "dirty_pages": 4812, "innodb_fast_shutdown": 1 }, "flush_goal_lsn": 88_120_331,
                      "after": { "dirty_pages": 0, "innodb_fast_shutdown": 1 } },
        "skipped": [{ "step": "flush_tables", "reason": "not permitted" }],
    });
    mysql["evidence"] = json!({ "evidence": { "server": "stopped cleanly" } });
    let mut checkpoint = handler("app-checkpointer", 80, Some(3_212.3), 7_950.0);
    checkpoint["result"] =
        json!({ "action": "checkpoint", "evidence": { "checkpoint_id": "ck-17", "size": 1_048_576 } });
    let slack = handler("slack-notifier", 10, Some(11_162.6), 412.0);
    json!({
        "event_id": "019a1b2c-3d4e-7f60-8182-93a4b5c6d7e8", "type": "cloud.spot.interrupt", "state": "completed",
        "detected": "2026-05-01T12:00:00.120Z", "deadline": "2026-05-01T12:02:00Z", "first_start_us": 85.0,
        "duration_ms": 11_574.6, "left_seconds": 108.305, "handlers": [mysql, checkpoint, slack],
        "event": { "source": "aws.ec2.metadata-service", "data": {
            "provider": "aws", "action": "terminate", "instanceID": "i-0123456789abcdef0", "instanceType": "c5.large",
            "zone": "eu-west-1b" } },
    })
}

/// An event at which nearly everything went wrong.
pub(super) fn bad_report_value() -> Value {
    let mut report = report_value();
    let handlers = &mut report["handlers"];
    handlers[0]["status"] = json!("timed-out");
    handlers[0]["attempts"] = json!(2);
    handlers[0]["verified"] = json!("not-asked");
    handlers[0]["error"] = json!("no answer from 10.0.0.7:3306\x1b[2J\nafter 30 s");
    handlers[1]["verified"] = json!("no");
    handlers[1]["error"] = json!("not verified: the checkpoint is gone");
    handlers[2] = handler("slack-notifier", 10, None, 0.0);
    handlers[2]["status"] = json!("not-run");
    handlers[2]["verified"] = json!("not-asked");
    handlers[2]["error"] = json!("no time was left");
    report["duration_ms"] = json!(121_000.0);
    report["left_seconds"] = json!(0.0);
    report
}

#[test]
fn the_status_screen_says_what_is_watched_what_is_ready_and_what_is_wrong() {
    golden("status", &status::screen(&read::<Status>(status_value()), PLAIN, WIDTH));
    let mut bare = status_value();
    bare["sources"] = json!([]);
    bare["instances"] = json!([]);
    let shown = status::screen(&read::<Status>(bare), PLAIN, WIDTH);
    assert!(shown.contains("no notice would be seen") && shown.contains("nothing would run"), "{shown}");
}

pub(super) fn plan_value() -> Value {
    let handler = |name: &str, tier: Option<u32>, priority: u32, start: &str, timeout: f64, minimum: f64| {
        json!({
            "handler": name, "instance": format!("cloud.spot.interrupt/{name}"), "priority": priority, "tier": tier,
            "start": start, "timeout_seconds": timeout, "minimum_seconds": minimum, "retries": 0, "verify": true,
        })
    };
    json!({
        "type": "cloud.spot.interrupt", "assumed_seconds": 120.0, "finish_before_seconds": 1.0,
        "handlers": [
            handler("pager", None, 10, "at-once", 10.0, 2.0),
            handler("mysql-flusher", Some(0), 100, "in-order", 30.0, 5.0),
            handler("app-checkpointer", Some(1), 80, "in-order", 45.0, 5.0),
            handler("slack-notifier", Some(2), 10, "in-order", 30.0, 2.0),
        ],
        "budgets": [
            { "left_seconds": 120.0, "granted_seconds": [10.0, 30.0, 45.0, 30.0] },
            { "left_seconds": 20.0, "granted_seconds": [10.0, 12.0, 5.0, 2.0] },
            { "left_seconds": 5.0, "granted_seconds": [4.5, 1.875, 1.875, 0.75] },
        ],
    })
}

#[test]
fn the_plan_screen_shows_the_order_and_a_column_for_each_time_left() {
    golden("plan", &plan::screen(&read::<PlanView>(plan_value()), PLAIN, WIDTH));
    let mut empty = plan_value();
    empty["handlers"] = json!([]);
    assert!(plan::screen(&read::<PlanView>(empty), PLAIN, WIDTH).contains("nothing handles this event"));
}

#[test]
fn the_report_screen_shows_picture_evidence_and_verdict() {
    golden("report", &screen::report(&read::<EventReport>(report_value()), PLAIN, WIDTH));
}

#[test]
fn the_report_screen_of_a_bad_night_names_every_failure() {
    let report: EventReport = read(bad_report_value());
    let shown = screen::report(&report, PLAIN, WIDTH);
    golden("report-bad", &shown);
    assert!(!screen::verdict(&report).is_well);
    assert!(!shown.contains('\x1b'), "{shown:?}");
}

#[test]
fn no_line_of_a_report_is_longer_than_the_terminal_is_wide() {
    for width in [80, 100, 160] {
        let shown = screen::report(&read::<EventReport>(report_value()), PLAIN, width);
        let longest = shown.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(usize::from(width)), "{width}: {longest:?}\n{shown}");
    }
}

#[test]
fn the_verdict_is_yes_only_when_everything_is_done_and_holds() {
    let of = |change: &dyn Fn(&mut Value)| {
        let mut value = report_value();
        change(&mut value);
        let verdict = screen::verdict(&read(value));
        (verdict.is_well, verdict.sentence)
    };
    let yes = |text: &str| (true, text.to_owned());
    let no = |text: &str| (false, text.to_owned());
    assert_eq!(of(&|_| {}), yes("3 of 3 handled and verified; finished 108.3 s before the deadline"));
    assert_eq!(
        of(&|r| r["handlers"][2]["verified"] = json!("unknown")),
        yes("3 of 3 handled, 2 verified; finished 108.3 s before the deadline")
    );
    assert_eq!(
        of(&|r| {
            r["handlers"][2]["status"] = json!("declined");
            r["handlers"][2]["verified"] = json!("not-asked");
            r["deadline"] = Value::Null;
        }),
        yes("2 of 3 handled and verified, 1 had nothing to do; finished 108.3 s before the assumed deadline")
    );
    assert_eq!(of(&|r| r["state"] = json!("running")), no("3 of 3 handled and verified; still running, 108.3 s left"));
    assert_eq!(
        of(&|r| {
            r["state"] = json!("withdrawn");
            r["handlers"][2]["status"] = json!("cancelled");
            r["handlers"][2]["verified"] = json!("not-asked");
        }),
        yes("2 of 3 handled and verified; the cloud took the notice back")
    );
    assert_eq!(
        of(&|r| r["handlers"] = json!([])),
        no("nothing handles this event; finished 108.3 s before the deadline")
    );
    assert_eq!(
        of(&|r| r["handlers"][0]["status"] = json!("crashed")),
        no("2 of 3 handled, 3 verified; mysql-flusher crashed; finished 108.3 s before the deadline")
    );
}

fn events_value() -> Value {
    let event = |n: u32, state: &str, failed: u32, handlers: u32, simulated: bool| {
        json!({
            "event_id": format!("019a1b2c-3d4e-7f60-8182-93a4b5c6d7e{n}"), "type": "cloud.spot.interrupt", "severity": "urgent",
            "source": "aws.ec2.metadata-service", "detected": "2026-05-01T12:00:00.120Z", "deadline": null, "state": state,
            "simulated": simulated, "handled": handlers - failed, "failed": failed, "handlers": handlers, "duration_ms": 412.0,
        })
    };
    json!({ "events": [event(1, "running", 0, 0, false), event(2, "completed", 0, 3, true), event(3, "completed", 1, 3, false),
                       event(4, "withdrawn", 0, 1, false), event(5, "completed", 0, 0, false), event(6, "refused", 0, 0, false)] })
}

#[test]
fn the_list_of_events_fits_into_100_columns_and_keeps_ids_whole() {
    let shown = events::screen(&read::<Events>(events_value()), PLAIN, WIDTH);
    golden("events", &shown);
    assert!(shown.lines().all(|line| line.chars().count() <= usize::from(WIDTH)), "{shown}");
    assert!(events::screen(&Events { events: Vec::new() }, PLAIN, WIDTH).contains("snooze simulate"));
}

#[test]
fn watched_lines_say_what_happened_to_which_event() {
    let id = "019a1b2c-3d4e-7f60-8182-93a4b5c6d7e8";
    let lines = [
        json!({ "kind": "event", "event": {
            "id": id, "type": "cloud.spot.interrupt", "time": "2026-05-01T12:00:00.120Z", "severity": "urgent",
            "subject": "i-0123", "data": { "action": "terminate", "timeRemaining": 119.88 } } }),
        json!({ "kind": "started", "event_id": id, "handler": "mysql-flusher", "instance": "x/mysql-flusher", "priority": 100,
                "at_ms": 0.085, "budget_ms": 30_000.0, "left_seconds": 119.879 }),
        json!({ "kind": "finished", "event_id": id, "handler": "mysql-flusher", "instance": "x/mysql-flusher", "priority": 100,
                "status": "handled", "at_ms": 3_212.0, "duration_ms": 3_212.0, "verified": "yes", "left_seconds": 116.6, "error": null }),
        json!({ "kind": "finished", "event_id": id, "handler": "slack", "instance": "x/slack", "priority": 10, "status": "timed-out",
                "at_ms": 9_000.0, "duration_ms": 5_000.0, "verified": "not-asked", "left_seconds": 110.0, "error": "no\x1b answer" }),
        json!({ "kind": "log", "instance": "x/slack", "level": "warning", "message": "slow" }),
        json!({ "kind": "completed", "event_id": id, "state": "completed", "duration_ms": 9_000.0, "left_seconds": 110.88 }),
    ];
    let shown: String = lines.into_iter().map(|line| watch::line(&read::<Watched>(line), PLAIN)).collect();
    golden("watch", &shown);
    assert!(matches!(watch::known(r#"{"kind": "of a later version"}"#), Ok(None)));
}

#[test]
fn a_reload_says_what_is_in_use_now_and_what_waits() {
    let reloaded = |changes: Value, waiting: Value| -> Reloaded {
        read(json!({ "changes": changes, "needs_restart": waiting, "warnings": ["x is doubtful"] }))
    };
    let shown = reload::screen(&reloaded(json!(["a changed", "b changed"]), json!(["b changed"])), PLAIN, WIDTH);
    assert_eq!(
        shown,
        "The new configuration is in use.\n  a changed\nThese wait for a restart (systemctl restart cloudsnooze):\n  b changed\n  \
         warning: x is doubtful\n"
    );
    let shown = reload::screen(&reloaded(json!([]), json!([])), PLAIN, WIDTH);
    assert!(shown.starts_with("Nothing has changed.\n"), "{shown}");
}

#[test]
fn colour_adds_nothing_to_the_words() {
    let colour = Paint(true);
    let pairs = [
        (
            screen::report(&read(bad_report_value()), PLAIN, WIDTH),
            screen::report(&read(bad_report_value()), colour, WIDTH),
        ),
        (plan::screen(&read(plan_value()), PLAIN, WIDTH), plan::screen(&read(plan_value()), colour, WIDTH)),
        (status::screen(&read(status_value()), PLAIN, WIDTH), status::screen(&read(status_value()), colour, WIDTH)),
        (events::screen(&read(events_value()), PLAIN, WIDTH), events::screen(&read(events_value()), colour, WIDTH)),
    ];
    for (plain, coloured) in pairs {
        let words = |text: &str| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
        assert!(coloured.contains('\x1b'));
        assert_eq!(words(&without_colour(&coloured)), words(&plain));
    }
}
