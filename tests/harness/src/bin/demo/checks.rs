//! Did it work? Asked of the report, and of the world without the product.
//!
//! Inputs: the report, the things the demo started. Outputs: findings. It must never take the product's word for an
//! effect: what the report claims is compared with what is there.

use std::time::{Duration, Instant};

use harness::app::App;
use harness::mariadb::{Lsn, MariaDb};
use harness::wait;
use harness::webhook::Webhook;
use harness::writer::TABLE;
use jiff::Timestamp;
use serde_json::Value;

/// Who must have run, in this order.
const EXPECTED: [(&str, u64); 3] = [("mysql-flusher", 100), ("app-checkpointer", 80), ("slack-notifier", 10)];

/// InnoDB's own background work may touch a page now and then; it is written out again soon.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);

/// Times in the report are rounded to milliseconds.
const ROUNDING_MS: f64 = 1.0;

/// Most clouds write whole seconds; where the notice states no time the daemon counts from its coming, which a busy machine
/// may delay.
const DEADLINE_OFF_MAX_S: f64 = 1.5;

/// The outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it holds.
    pub is_good: bool,
    /// What was checked and found.
    pub text: String,
}

impl Finding {
    fn new(is_good: bool, text: impl Into<String>) -> Self {
        Self { is_good, text: text.into() }
    }

    /// `what` holds, or does not for a reason.
    fn of(what: &str, outcome: Result<String, String>) -> Self {
        match outcome {
            Ok(detail) => Self::new(true, format!("{what}: {detail}")),
            Err(reason) => Self::new(false, format!("{what}: {reason}")),
        }
    }
}

/// What the demo has seen on the way.
#[derive(Default)]
pub struct Observed {
    /// What the database said when it refused the writing client, and when.
    pub writer_end: Option<(String, Instant)>,
}

/// Completed, and the three handlers ran in order, handled the event and were verified.
pub fn of_report(report: &Value) -> Vec<Finding> {
    let mut handlers: Vec<&Value> = report["handlers"].as_array().into_iter().flatten().collect();
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    handlers.sort_by(|a, b| number(&a["start_ms"]).total_cmp(&number(&b["start_ms"])));
    let state = &report["state"];
    let mut findings = vec![Finding::new(state == "completed", format!("the event is completed (state {state})"))];
    for (name, _) in EXPECTED {
        let of_name: Vec<&&Value> = handlers.iter().filter(|handler| handler["handler"] == name).collect();
        findings.push(match of_name.as_slice() {
            [handler] => {
                let (status, verified) = (&handler["status"], &handler["verified"]);
                let error = handler["error"].as_str().map(|error| format!(" ({error})")).unwrap_or_default();
                let is_good = status == "handled" && verified == "yes";
                Finding::new(is_good, format!("{name}: status {status}, verified {verified}{error}"))
            }
            several => Finding::new(false, format!("{name}: {} entries in the report", several.len())),
        });
    }
    let ran: Vec<(&str, u64)> = handlers
        .iter()
        .map(|handler| (handler["handler"].as_str().unwrap_or("?"), handler["priority"].as_u64().unwrap_or(0)))
        .collect();
    let order: Vec<String> = ran.iter().map(|(name, priority)| format!("{name} ({priority})")).collect();
    findings.push(Finding::new(ran == EXPECTED, format!("the order of priorities: {}", order.join(", "))));
    // Compared so that a number that is not there fails too.
    let follows = |pair: &[&Value]| {
        number(&pair[1]["start_ms"]) + ROUNDING_MS >= number(&pair[0]["start_ms"]) + number(&pair[0]["duration_ms"])
    };
    let is_sequence = handlers.windows(2).all(follows);
    findings.push(Finding::new(is_sequence, "each began when the one before had ended"));
    let left = number(&report["left_seconds"]);
    findings.push(Finding::new(left > 0.0, format!("time was left: {left:.1} s")));
    findings
}

/// The report's deadline is as long after the notice as the cloud gives.
pub fn deadline(report: &Value, notice: Timestamp, warning: Duration) -> Finding {
    let said = report["deadline"].as_str().unwrap_or_default();
    let outcome = match said.parse::<Timestamp>() {
        Ok(deadline) => {
            let given = deadline.duration_since(notice).as_secs_f64();
            let text = format!("{given:.1} s after the notice; this cloud gives {} s", warning.as_secs());
            if (given - warning.as_secs_f64()).abs() <= DEADLINE_OFF_MAX_S { Ok(text) } else { Err(text) }
        }
        Err(_) => Err(format!("the report says {}", report["deadline"])),
    };
    Finding::of("the deadline", outcome)
}

/// The database has nothing that is only in memory.
pub fn pages(database: &MariaDb) -> Finding {
    let mut last = String::new();
    let settled = wait::until("no dirty pages", SETTLE_LIMIT, || {
        let pages = database.dirty_pages();
        last = format!("{pages:?}");
        (pages == Ok(0)).then(|| "all are on the disk".to_owned())
    });
    Finding::of("the database's pages", settled.map_err(|error| format!("{error}; last seen: {last}")))
}

/// Everything the database ever wrote to its log is durable, and it had something to write since `before`.
pub fn log(database: &MariaDb, before: Lsn) -> Finding {
    let outcome = database.lsn().and_then(|now| {
        if now.flushed < now.current || now.current <= before.current {
            return Err(format!("{now:?}, before the event {before:?}"));
        }
        Ok(format!("written and durable up to {}", now.flushed))
    });
    Finding::of("the database's log", outcome)
}

/// The writing client was refused because the database is read-only.
pub fn writer(observed: &Observed) -> Finding {
    let outcome = match &observed.writer_end {
        // ER_OPTION_PREVENTS_STATEMENT.
        Some((reason, _)) if reason.contains("1290") => Ok("refused since the flush (error 1290)".to_owned()),
        Some((reason, _)) => Err(format!("ended for another reason: {reason}")),
        None => Err("still writes".to_owned()),
    };
    Finding::of("the client that writes", outcome)
}

/// The application has one checkpoint, its file is what was told, and the report names the same SHA-256.
pub fn checkpoint(app: &App, report: &Value) -> Finding {
    let checkpoints = app.checkpoints();
    let outcome = match checkpoints.as_slice() {
        [only] => match &only.outcome {
            Some(Ok(saved)) => saved.check_file().and_then(|()| {
                let claims = claims_of(report, "app-checkpointer", "sha256");
                if claims.contains(&saved.sha256) {
                    return Ok(format!("{} bytes, SHA-256 as in the report: {}…", saved.size, &saved.sha256[..12]));
                }
                Err(format!("SHA-256 of the file is {}, the report says {claims:?}", saved.sha256))
            }),
            Some(Err(error)) => Err(error.clone()),
            None => Err("still in progress".to_owned()),
        },
        several => Err(format!("{} instead of one", several.len())),
    };
    Finding::of("the application's checkpoint", outcome)
}

/// Every text under `key`, at any depth, in what the report holds of one handler. A reply that is kept as text is read.
fn claims_of(report: &Value, handler: &str, key: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in report["handlers"].as_array().into_iter().flatten().filter(|entry| entry["handler"] == handler) {
        collect(entry, key, &mut found);
    }
    found
}

fn collect(value: &Value, key: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get(key).and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| collect(field, key, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, key, found)),
        Value::String(text) => {
            if let Ok(inner @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text) {
                collect(&inner, key, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// One message came, and it names the machine.
pub fn message(webhook: &Webhook, machine: &str) -> Finding {
    let messages = webhook.messages();
    let outcome = match messages.as_slice() {
        [only] if only.says(machine) => Ok(format!("taken, and it names {machine}")),
        [only] => Err(format!("it does not name {machine}: {}", only.payload)),
        several => {
            let refused = webhook.requests().len() - several.len();
            Err(format!("{} instead of one, {refused} other requests", several.len()))
        }
    };
    Finding::of("the message", outcome)
}

/// The database refused writes before the application was asked, and that before the message came.
pub fn order(observed: &Observed, app: &App, webhook: &Webhook) -> Finding {
    let asked = app.requests().iter().find(|request| request.method == "POST").map(|request| request.at);
    let messages = webhook.messages();
    let outcome = match (&observed.writer_end, asked, messages.first().map(|message| message.at)) {
        (Some((_, database)), Some(app), Some(message)) if *database < app && app < message => {
            let after = |at: Instant| at.saturating_duration_since(*database).as_secs_f64();
            Ok(format!(
                "the application {:.2} s after the database, the message after {:.2} s",
                after(app),
                after(message)
            ))
        }
        _ => Err("database, application, message did not come in this order".to_owned()),
    };
    Finding::of("the order, as the three saw it", outcome)
}

/// After a kill and a restart the database has every acknowledged row.
pub fn rows_after_kill(database: &mut MariaDb, acknowledged: u64) -> Finding {
    database.kill9();
    let counted = database.restart().and_then(|()| database.query(&format!("SELECT COUNT(*) FROM shop.{TABLE}")));
    let outcome = counted.and_then(|text| match text.trim().parse::<u64>() {
        // One more may have been committed whose acknowledgement the client did not live to read.
        Ok(rows) if rows >= acknowledged => Ok(format!("{rows} rows, none lost")),
        _ => Err(format!("{} rows, {acknowledged} were acknowledged", text.trim())),
    });
    Finding::of("the database after its restart", outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn good_report() -> Value {
        let handler = |name: &str, priority: u64, start_ms: f64| {
            json!({"handler": name, "priority": priority, "start_ms": start_ms, "duration_ms": 100.0,
                "status": "handled", "verified": "yes", "error": null})
        };
        // Not in the order of their start, which is what counts.
        let handlers = [handler("slack-notifier", 10, 200.9), handler("mysql-flusher", 100, 0.3)];
        let mut report = json!({"state": "completed", "left_seconds": 113.0, "handlers": handlers});
        report["handlers"].as_array_mut().expect("a list").push(handler("app-checkpointer", 80, 100.5));
        report
    }

    fn bad(report: &Value) -> Vec<String> {
        of_report(report).into_iter().filter(|finding| !finding.is_good).map(|finding| finding.text).collect()
    }

    #[test]
    fn a_good_report_passes() {
        assert_eq!(bad(&good_report()), [] as [&str; 0]);
    }

    #[test]
    fn every_way_a_report_can_be_bad_is_found() {
        let cases = [
            ("/state", json!("running"), "the event is completed"),
            ("/left_seconds", json!(0.0), "time was left"),
            ("/left_seconds", Value::Null, "time was left"),
            ("/handlers/0/verified", json!("unknown"), "slack-notifier"),
            ("/handlers/1/status", json!("failed"), "mysql-flusher"),
            ("/handlers/2/handler", json!("mysql-flusher"), "app-checkpointer: 0 entries"),
            ("/handlers/2/priority", json!(10), "the order of priorities"),
            ("/handlers/2/start_ms", json!(300.0), "the order of priorities"),
            ("/handlers/2/start_ms", json!(50.0), "each began when"),
            ("/handlers/1/duration_ms", Value::Null, "each began when"),
        ];
        for (place, value, expected) in cases {
            let mut report = good_report();
            *report.pointer_mut(place).expect("it is there") = value.clone();
            let found = bad(&report);
            assert!(found.iter().any(|text| text.starts_with(expected)), "{place} {value}: {found:?}");
        }
        assert!(bad(&json!({})).len() >= 5);
    }

    #[test]
    fn a_deadline_is_that_of_the_cloud_or_it_is_found() {
        let notice: Timestamp = "2026-01-05T10:15:30.4Z".parse().expect("a time");
        let finding = |deadline: Value, seconds| {
            super::deadline(&json!({"deadline": deadline}), notice, Duration::from_secs(seconds)).is_good
        };
        assert!(finding(json!("2026-01-05T10:17:30Z"), 120));
        assert!(!finding(json!("2026-01-05T10:17:30Z"), 30));
        assert!(!finding(json!("2026-01-05T10:17:33Z"), 120));
        assert!(!finding(Value::Null, 120));
    }

    #[test]
    fn claims_are_found_at_any_depth_and_in_replies_kept_as_text() {
        let handlers = json!([
            {"handler": "app", "result": {"reply": "{\"sha256\":\"aa\"}"}, "evidence": [{"sha256": "bb"}], "error": "no {"},
            {"handler": "other", "evidence": {"sha256": "cc"}},
        ]);
        let mut claims = claims_of(&json!({"handlers": handlers}), "app", "sha256");
        claims.sort();
        assert_eq!(claims, ["aa", "bb"]);
    }
}
