//! Tests of the page: a report in, HTML out.
//! Must never need a browser: what one makes of the page is looked at in `tests/e2e`.

use super::*;
use serde_json::json;

/// An event at which everything happened that can.
fn eventful() -> Value {
    let handler = |name: &str, status: &str, start_ms: Value, verified: &str, error: Value| {
        json!({
            "handler": name, "instance": format!("cloud.spot.interrupt/{name}"), "priority": 50, "tier": 0, "start": "in-order",
            "status": status, "attempts": 1, "start_ms": start_ms, "duration_ms": 1_500.0, "budget_ms": 30_000.0,
            "left_seconds": 100.0, "verified": verified, "error": error, "result": null, "evidence": null,
        })
    };
    let mut first = handler("first", "handled", json!(0.1), "yes", Value::Null);
    first["result"] = json!({"action": "flush", "evidence": {"before": {"dirty": 4812}, "after": {"dirty": 0}},
                             "skipped": [{"step": "fast shutdown", "reason": "no time"}]});
    first["evidence"] = json!({"dirty_pages": 0});
    let mut second = handler("second", "timed-out", json!(1_600.0), "not-asked", json!("no answer"));
    second["late_ms"] = json!(250.0);
    second["attempts"] = json!(2);
    json!({
        "event_id": "019a1b2c-3d4e-7f60-8182-93a4b5c6d7e8", "type": "cloud.spot.interrupt", "state": "completed",
        "detected": "2026-05-01T12:00:00.120Z", "deadline": "2026-05-01T12:02:00Z", "first_start_us": 85.0,
        "duration_ms": 3_100.0, "left_seconds": 116.8,
        "handlers": [first, second, handler("third", "failed", json!(1_700.0), "not-asked", json!("refused")),
                     handler("fourth", "handled", json!(1_800.0), "no", Value::Null),
                     handler("fifth", "not-run", Value::Null, "not-asked", json!("no time was left")),
                     handler("sixth", "declined", json!(1_900.0), "not-asked", Value::Null),
                     handler("seventh", "cancelled", json!(2_000.0), "unknown", Value::Null)],
        "event": {"source": "aws.ec2.metadata-service", "severity": "urgent", "data": {
            "action": "terminate", "instanceID": "i-0123", "instanceType": "c5.large", "zone": "eu-west-1b"}},
    })
}

fn page(report: &Value) -> String {
    html(&serde_json::from_value(report.clone()).expect("a report")).expect("a page")
}

/// The names of the tags that are open at the end, and of those closed in the wrong order; foreign elements close themselves.
fn unbalanced(html: &str) -> Vec<String> {
    let (mut open, mut wrong) = (Vec::new(), Vec::new());
    for piece in html.split('<').skip(1) {
        let tag = piece.split('>').next().unwrap_or_default();
        let name = tag.split([' ', '\n', '/']).find(|part| !part.is_empty()).unwrap_or_default();
        match tag.strip_prefix('/') {
            Some(closed) if open.last() == Some(&closed) => drop(open.pop()),
            Some(closed) => wrong.push(closed.to_owned()),
            None if tag.ends_with('/') || ["meta", "!doctype"].contains(&name) => {}
            None => open.push(name),
        }
    }
    wrong.into_iter().chain(open.into_iter().map(str::to_owned)).collect()
}

#[test]
fn the_page_says_what_ran_what_failed_what_was_seen_and_what_was_left_out() {
    let shown = page(&eventful());
    for words in [
        "cloud.spot.interrupt",
        "i-0123 · c5.large · eu-west-1b · terminate",
        "019a1b2c-3d4e-7f60-8182-93a4b5c6d7e8",
        "2026-05-01 12:00:00.120 UTC, first handler 85 us later",
        "2026-05-01 12:02:00 UTC, 119.9 s after detection",
        "after 3.1 s, 116.8 s before the deadline",
        "<strong>Not well:</strong> 2 of 7 handled, 1 verified, 1 had nothing to do",
        "116.8 s left",
        "timed out after 1.5 s",
        "250 ms late · 2 attempts",
        "cannot be verified",
        "4812 → </span>0",
        "How it was verified",
        "dirty_pages",
        "fast shutdown: no time",
        "not run: no time was left",
        "<b>7</b> handlers",
        "<b>1</b> out of time",
    ] {
        assert!(shown.contains(words), "{words}\n{shown}");
    }
    for status in ["done", "idle", "failed", "late", "stopped", "skipped", "verified", "unverified", "unknown"] {
        assert!(shown.contains(&format!("id=\"shape-{status}\"")), "{status} has a shape");
        let drawn = shown.matches(&format!("href=\"#shape-{status}\"")).count();
        assert!(drawn >= 2, "{status} is drawn {drawn} times");
    }
    assert_eq!(unbalanced(&shown), Vec::<String>::new());
}

#[test]
fn markup_of_plugins_and_clouds_is_shown_as_text() {
    let evil = "</style></svg></title><script>alert(1)</script><img src=x onerror=alert(2)>\" onload=\"alert(3)";
    let mut report = eventful();
    for key in ["event_id", "type", "state", "detected", "deadline"] {
        report[key] = json!(evil);
    }
    for key in ["handler", "instance", "start", "error"] {
        report["handlers"][0][key] = json!(evil);
    }
    report["handlers"][4]["error"] = json!(evil);
    report["handlers"][0]["result"] = json!({evil: evil, "evidence": {"before": {evil: evil}, "after": {evil: 1}},
                                             "skipped": [{"step": evil, "reason": evil}, evil]});
    report["handlers"][0]["evidence"] = json!({ evil: [evil, {evil: evil}] });
    report["event"] = json!({"source": evil, "severity": evil, evil: evil, "data": {
        "action": evil, "instanceID": evil, "instanceType": evil, "zone": evil, "noticeKind": evil, "cancels": evil, "raw": evil}});
    let shown = page(&report);
    assert!(shown.matches("alert(1)").count() > 15, "it is shown");
    for mark in ["<script", "<img", "</style></svg>", "\" onload=\"", "<!--"] {
        assert!(!shown.contains(mark), "{mark}");
    }
    assert!(shown.contains("&#60;script&#62;"));
    assert_eq!(unbalanced(&shown), Vec::<String>::new());
}

#[test]
fn the_page_takes_nothing_from_elsewhere_and_runs_nothing() {
    let shown = page(&eventful());
    for mark in ["http:", "https:", "src=", "<link", "@import", "<script", "javascript:", "<iframe", "<base"] {
        assert!(!shown.contains(mark), "{mark}");
    }
    assert!(
        shown.contains("default-src 'none'")
            && shown.contains("prefers-color-scheme: dark")
            && shown.contains("@media print")
    );
    // Every reference is to something on the page.
    for reference in shown.split("href=\"").skip(1).chain(shown.split("url(").skip(1)) {
        let id = reference.split(['"', ')']).next().and_then(|id| id.strip_prefix('#')).expect("a place on the page");
        assert!(shown.contains(&format!("id=\"{id}\"")), "{id}");
    }
}

#[test]
fn what_is_no_real_notice_says_so_before_anything_else() {
    let first_of = |event: Value| {
        let mut report = eventful();
        report["event"] = event;
        let shown = page(&report);
        let at = |text: &str| shown.find(text).unwrap_or(usize::MAX);
        let verdict = at("class=\"verdict");
        (
            at("A drill:") < verdict,
            at("Simulated: no cloud sent this notice") < verdict,
            at("No cloud sent this notice; an operator did.") < verdict,
        )
    };
    assert_eq!(first_of(json!({"data": {}})), (false, false, false));
    assert_eq!(first_of(json!({"simulated": true})), (false, true, false));
    assert_eq!(first_of(json!({"simulated": true, "drill": true})), (true, false, true));
    assert_eq!(first_of(json!({"drill": true})), (true, false, false));
}

#[test]
fn an_event_without_handlers_and_one_that_still_runs_have_pages_too() {
    let mut report = eventful();
    report["handlers"] = json!([]);
    let shown = page(&report);
    assert!(shown.contains("No handler has a part") && shown.contains("nothing handles this event"), "{shown}");
    assert_eq!(unbalanced(&shown), Vec::<String>::new());
    let mut running = eventful();
    running["state"] = json!("running");
    let shown = page(&running);
    assert!(shown.contains("still running") && !shown.contains("over after"), "{shown}");
}

#[test]
fn more_evidence_than_anybody_reads_is_cut_and_said_to_be() {
    let mut report = eventful();
    let many: serde_json::Map<String, Value> = (0..500).map(|n| (format!("line{n}"), json!(n))).collect();
    report["handlers"][0]["result"] = json!(many);
    report["handlers"][1]["result"] = json!({"long": "y".repeat(1_000_000)});
    let shown = page(&report);
    assert!(shown.len() < 200_000, "{} bytes", shown.len());
    assert_eq!(shown.matches("There is more: snooze report").count(), 2);
}
