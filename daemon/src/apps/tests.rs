//! What the tests of this module share: a time, and events at it.
//! Must never read a clock.

use crate::event::{Event, Moment};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// 2026-05-01T12:00:00Z.
pub const NOW: Moment = Moment { boot_ns: 5_000_000_000_000, wall_ns: 1_777_636_800_000_000_000 };
/// Nanoseconds.
pub const SECOND_NS: i64 = 1_000_000_000;

/// An operator's event at [`NOW`].
pub fn event(event_type: &str, in_seconds: Option<f64>) -> Arc<Event> {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let (severity, action) = match event_type {
        "cloud.spot.interrupt" | "cloud.instance.terminate" => ("urgent", "terminate"),
        "cloud.maintenance.stop" => ("warning", "stop"),
        _ => ("info", "none"),
    };
    #[allow(clippy::cast_possible_truncation, reason = "seconds of a test")]
    let deadline = in_seconds.map(|seconds| NOW.plus_ns((seconds * 1e9) as i64).rfc3339());
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut json = json!({
        "id": format!("019a1b2c-3d4e-7f60-8182-{number:012x}"), "type": event_type, "severity": severity,
        "source": "operator", "time": NOW.rfc3339(), "simulated": true,
        "data": {"action": action, "noticeKind": "advisory", "provider": "operator"},
    });
    if let Some(deadline) = deadline {
        json["data"]["time"] = json!(deadline);
    }
    Arc::new(Event::from_json(&json, NOW).expect("an event"))
}
