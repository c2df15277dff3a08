//! What the metadata service, or whoever plays it, can send: replies, documents, times; messages of a queue; and events read
//! back from disk.
//!
//! Promises: no deadline lies in the past or further ahead than what the document states; the same reading twice is news once;
//! an answer does not change when more bytes come; what is kept of an event reads back as the same event.

use aws_queue::message::{Meaning, read};
use cloudsnooze::event::{Action, Event, EventType, Machine, Moment, rfc3339};
use cloudsnooze::normalise::deadline::{SECOND_NS, any_ns, cloud_now, rfc3339_ns};
use cloudsnooze::normalise::revise::{Reviser, Verdict};
use cloudsnooze::normalise::{Notice, Reading, alibaba, aws, azure as scheduled_events, spot_time, tencent};
use cloudsnooze::source::reply::{BODY_BYTES_MAX, Parsed, parse};
use cloudsnooze_plugin::source::When;
use serde_json::Value;
use std::sync::Arc;

/// 2023-11-14, some minutes after the boot.
const NOW: Moment = Moment { boot_ns: 1_000 * SECOND_NS, wall_ns: 1_700_000_000 * SECOND_NS };
const MILLISECOND_NS: i64 = 1_000_000;

/// Documents of AWS: the first byte says which, the rest is the body (for maintenance two, parted by a zero byte).
pub fn metadata(data: &[u8]) {
    let Some((which, body)) = data.split_first() else { return };
    let machine = Arc::new(Machine { instance_id: "i-0123456789abcdef0".into(), ..Machine::default() });
    let reading = Reading { machine: &machine, now: NOW };
    let notices: Vec<Notice> = match which % 6 {
        0 => aws::instance_action(body, reading).ok().flatten().into_iter().collect(),
        1 => aws::termination_time(body, reading).ok().flatten().into_iter().collect(),
        2 => aws::rebalance(body, reading).into_iter().collect(),
        3 => match aws::lifecycle_state(body, reading) {
            Ok(aws::Lifecycle::Leaving(notice)) => vec![*notice],
            _ => Vec::new(),
        },
        4 => {
            let (scheduled, history) = crate::two_parts(body);
            aws::maintenance(scheduled, history, reading).map(|found| found.notices).unwrap_or_default()
        }
        _ => {
            if let Ok(machine) = aws::identity(body) {
                assert!(!machine.instance_id.is_empty());
            }
            Vec::new()
        }
    };
    check_notices("aws.ec2.metadata-service", notices, &machine);
}

/// Alibaba's and Tencent's notice: the first byte says whose, the rest is the body.
pub fn spot_time(data: &[u8]) {
    let Some((which, body)) = data.split_first() else { return };
    let machine = Arc::new(Machine { instance_id: "i-0123456789abcdef0".into(), ..Machine::default() });
    let reading = Reading { machine: &machine, now: NOW };
    let read = match which % 2 {
        0 => alibaba::termination_time(body, reading),
        _ => tencent::termination_time(body, reading),
    };
    check_notices("a.source", read.ok().flatten().into_iter().collect(), &machine);
    if let Ok(word) = spot_time::word(body) {
        assert!(!word.is_empty() && word.len() <= body.len() && word.bytes().all(|byte| byte.is_ascii_graphic()));
    }
}

/// Documents of Azure: the first byte says whether the name of the machine is known, or whether it is who it is that is read;
/// the rest is the body.
pub fn azure(data: &[u8]) {
    let Some((which, body)) = data.split_first() else { return };
    if which % 3 == 2 {
        if let Ok(who) = scheduled_events::identity(body) {
            assert!(!who.machine.instance_id.is_empty());
        }
        return;
    }
    let name = if which % 3 == 0 { "workers_0" } else { "" };
    let machine = Arc::new(Machine { instance_id: name.into(), ..Machine::default() });
    let Ok(found) = scheduled_events::document(body, Reading { machine: &machine, now: NOW }, Action::Stop) else {
        return;
    };
    assert!(name.is_empty() || found.undecided.is_empty(), "who knows its name decides");
    let listed = found.ours.into_iter().chain(found.undecided);
    check_notices("azure.scheduled-events", listed.map(|listed| listed.notice).collect(), &machine);
}

/// Each of them is news once, and its deadline is the one that is stated.
fn check_notices(source: &'static str, notices: Vec<Notice>, machine: &Arc<Machine>) {
    let mut reviser = Reviser::new(source);
    for notice in notices {
        check_deadline(&notice);
        let first = reviser.observe(notice.clone(), machine, NOW);
        if let Verdict::New(event) | Verdict::Cancelled(event) = &first {
            check_event(event, NOW);
        }
        let again = reviser.observe(notice, machine, NOW);
        assert!(matches!(again, Verdict::Same), "read again: {again:?}, first: {first:?}");
    }
}

/// Bodies of messages that a queue brings.
pub fn queue(data: &[u8]) {
    let Ok(body) = std::str::from_utf8(data) else { return };
    match read(body) {
        Meaning::Notices(all) => {
            assert!(!all.is_empty() && all.len() <= 1_000);
            for found in all {
                assert!(found.instance_id.starts_with("i-") && found.instance_id.len() <= 64, "{found:?}");
                // A letter may stand there as an escape.
                let is_named = body.contains(&found.instance_id) || body.contains('\\');
                assert!(is_named, "a machine that the message does not name: {found:?}");
                assert!(EventType::parse(found.event_type).is_ok_and(|kind| !kind.is_cancelled()));
                assert!(found.notice_id.len() <= 1_024 && found.stated_wall_ns.is_none_or(|ns| ns > 0), "{found:?}");
                if let When::At(ns) = found.when {
                    assert!(ns > 0 && found.stated_wall_ns == Some(ns), "{found:?}");
                }
            }
        }
        Meaning::Unknown(why) => {
            assert!(!why.is_empty() && why.chars().count() < 400 && !why.contains(char::is_control));
        }
        Meaning::Test | Meaning::NoNotice(_) => {}
    }
}

fn check_deadline(notice: &Notice) {
    let Some(effective) = notice.effective else { return };
    assert!(effective.boot_ns >= NOW.boot_ns, "a deadline in the past: {notice:?}");
    let wall_left_ns = effective.wall_ns - NOW.wall_ns;
    assert_eq!(effective.boot_ns - NOW.boot_ns, wall_left_ns, "the clocks disagree: {notice:?}");
    if !notice.immediate {
        assert_eq!(Some(effective.wall_ns), notice.stated_wall_ns, "not the time that is stated: {notice:?}");
    }
}

/// What is written down of an event must read back as the same one.
pub(crate) fn check_event(event: &Event, now: Moment) {
    let written = event.to_json(now);
    let left = written["data"].get("timeRemaining").map(|left| left.as_f64().expect("a number"));
    assert!(left.is_none_or(|left| left >= 0.0 && left.is_finite()), "{written}");
    let read = Event::from_json(&written, now).unwrap_or_else(|| panic!("cannot be read back: {written}"));
    let mut again = read.to_json(now);
    // Members of an operator's own and further resources are not needed for what reading back is for.
    for member in ["extra", "resources"] {
        again["data"].as_object_mut().expect("an object").remove(member);
    }
    for (key, value) in again.as_object().expect("an object") {
        if key != "data" {
            assert_eq!(Some(value), written.get(key), "{key} of {written}");
        }
    }
    for (key, value) in again["data"].as_object().expect("an object") {
        // Times are written in milliseconds, so the time left may differ by one.
        if key != "timeRemaining" {
            assert_eq!(Some(value), written["data"].get(key), "data.{key} of {written}");
        }
    }
}

/// A reply over HTTP: the first byte says where it is cut, the rest is what comes.
pub fn reply(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else { return };
    let so_far = parse(bytes, false);
    let at_the_end = parse(bytes, true);
    if let Ok(Parsed::Whole { found, .. }) = &at_the_end {
        assert!(found.body.len() <= BODY_BYTES_MAX && found.body.len() <= bytes.len());
        let _ = found.date_ns();
    }
    if let Ok(Parsed::Whole { .. }) = so_far {
        assert_eq!(so_far, at_the_end, "the end of the connection changes a whole answer");
    }
    let cut = bytes.len() * usize::from(*cut) / 256;
    match (parse(&bytes[..cut], false), so_far) {
        (Ok(Parsed::Whole { found: early, .. }), Ok(Parsed::Whole { found: late, .. })) => assert_eq!(early, late),
        (Ok(Parsed::Whole { .. }), other) => panic!("whole after {cut} bytes, then {other:?}"),
        (Err(_), Ok(whole)) => panic!("refused after {cut} bytes, then {whole:?}"),
        _ => {}
    }
}

/// A text that may be a time, and what the present is when a reply carries it as its date.
pub fn times(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let found = any_ns(text);
    let now = cloud_now(NOW, found);
    assert_eq!(now.boot_ns, NOW.boot_ns, "the boot clock is the machine's own");
    let Some(ns) = found else { return };
    assert!(now == NOW || now.wall_ns == ns.saturating_add(SECOND_NS));
    let written = rfc3339(ns);
    let read = rfc3339_ns(&written).unwrap_or_else(|| panic!("{text}: {written} cannot be read"));
    assert!(ns.abs_diff(read) < MILLISECOND_NS.unsigned_abs(), "{text}: {ns} became {read}");
    let deadline = Moment::at_wall(ns, NOW);
    let (ahead, wall_ahead) = (deadline.boot_ns.checked_sub(NOW.boot_ns), ns.checked_sub(NOW.wall_ns));
    assert!(ahead.is_none() || wall_ahead.is_none() || ahead == wall_ahead, "{text}: {ahead:?} and {wall_ahead:?}");
}

/// An event as the history has it.
pub fn event(data: &[u8]) {
    let Ok(json) = serde_json::from_slice::<Value>(data) else { return };
    let Some(event) = Event::from_json(&json, NOW) else { return };
    assert!(!event.is_self_test(), "nothing that is kept passes for a self-test");
    check_event(&event, NOW);
}
