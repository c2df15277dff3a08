//! Documents of GCP's metadata server, recorded or made, and the events they become.
//! Must never pass because nothing was read: the fixtures are counted.

use super::*;
use crate::normalise::revise::{Absence, Reviser, Verdict};
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;

fn at(text: &str) -> Moment {
    Moment { boot_ns: 10_000 * SECOND_NS, wall_ns: any_ns(text).unwrap() }
}

fn machine() -> Machine {
    Machine { instance_id: "3520447112733571046".into(), ..Machine::default() }
}

/// Every document of `tests/fixtures/gcp` becomes the events written beside it: `NAME.body` is what the key gave,
/// `NAME.event.json` says which key, at what time, and what members the events have. Further members: `policy` is
/// `scheduling/on-host-maintenance`, `notice_seconds` and `lost_seconds` are the configured notice and for how long the
/// server was out of sight.
#[test]
fn recorded_documents_become_their_events() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/gcp");
    let mut count = 0;
    for file in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        let Some(name) = file.to_str().and_then(|f| f.strip_suffix(".body")) else { continue };
        let expected: Value =
            serde_json::from_slice(&std::fs::read(format!("{name}.event.json")).unwrap()).expect(name);
        let found = events_of(&std::fs::read(&file).unwrap(), &expected);
        let wanted = expected["events"].as_array().expect(name);
        assert_eq!(found.len(), wanted.len(), "{name}: {found:#?}");
        for (found, wanted) in found.iter().zip(wanted) {
            assert_subset(name, wanted, found);
        }
        count += 1;
    }
    assert!(count >= 25, "only {count} documents in {}", folder.display());
}

fn events_of(body: &[u8], expected: &Value) -> Vec<Value> {
    let (machine, now) = (Arc::new(machine()), at(expected["now"].as_str().unwrap()));
    let reading = Reading { machine: &machine, now };
    let seconds = |name: &str, otherwise: i64| expected[name].as_i64().unwrap_or(otherwise) * SECOND_NS;
    let since = now.plus_ns(-seconds("lost_seconds", 0));
    let policy = OnHostMaintenance::read(expected["policy"].as_str().unwrap_or_default().as_bytes());
    let notice = match expected["path"].as_str().unwrap() {
        "preempted" => preempted(body, reading, since, seconds("notice_seconds", 30)).unwrap(),
        "maintenance-event" => maintenance_event(body, reading, since).unwrap(),
        "upcoming-maintenance" => match upcoming(body, policy, reading).unwrap() {
            Upcoming::Nothing => None,
            Upcoming::Planned(notice) | Upcoming::Ongoing(notice) => Some(*notice),
        },
        "upcoming-maintenance 503" => {
            assert!(is_nothing_yet(body));
            None
        }
        other => panic!("unknown path {other}"),
    };
    let mut reviser = Reviser::new("gcp.compute");
    let told = notice.into_iter().filter_map(|notice| match reviser.observe(notice, &machine, now) {
        Verdict::New(event) => Some(event.to_json(now)),
        _ => None,
    });
    told.collect()
}

/// A null in `wanted` means "must be absent".
fn assert_subset(at: &str, wanted: &Value, found: &Value) {
    match wanted {
        Value::Object(members) => {
            for (name, wanted) in members {
                assert_subset(&format!("{at}.{name}"), wanted, &found[name]);
            }
        }
        _ => assert_eq!(wanted, found, "{at}"),
    }
}

#[test]
fn garbage_is_an_error_and_not_the_absence_of_a_notice() {
    let (machine, now) = (machine(), at("2026-03-10T12:00:00Z"));
    let reading = Reading { machine: &machine, now };
    let plan = |body: &[u8]| upcoming(body, OnHostMaintenance::Migrate, reading);
    for body in
        [&b""[..], b"<html>", b"{\"maintenance_status\":", b"\xff\xfe", b"no", b"[]", b"7", b"{\"error\":\"x\"}"]
    {
        assert!(preempted(body, reading, now, 0).is_err(), "{body:?}");
        assert!(maintenance_event(body, reading, now).is_err(), "{body:?}");
        assert!(plan(body).is_err(), "{body:?}");
        assert!(!is_nothing_yet(body), "{body:?}");
    }
    assert!(preempted(b"NONE", reading, now, 0).is_err() && maintenance_event(&[b'A'; 65], reading, now).is_err());
    let secret = plan(b"{\"password\": hunter2").unwrap_err().to_string();
    assert!(!secret.contains("hunter2"), "{secret}");
}

#[test]
fn the_identity_is_the_number_the_type_and_the_place() {
    let read = |id: &[u8]| {
        identity(id, b"worker-1", b"projects/1/zones/us-central1-a\n", b"projects/1/machineTypes/n2-standard-4")
    };
    let machine = read(b"3520447112733571046").unwrap();
    assert_eq!((&*machine.instance_id, &*machine.instance_type), ("3520447112733571046", "n2-standard-4"));
    assert_eq!((&*machine.zone, &*machine.region), ("us-central1-a", "us-central1"));
    assert_eq!(read(b"").unwrap().instance_id, "worker-1");
    assert!(identity(b"", b"", b"x", b"y").is_err() && identity(b"\xff", b"", b"", b"").is_err());
}

#[test]
fn a_preemption_is_told_once_however_often_it_is_read_and_again_only_after_a_false() {
    let (machine, now) = (Arc::new(machine()), at("2026-03-10T12:00:00Z"));
    let mut reviser = Reviser::new("gcp.compute.preempted");
    let mut read = |body: &[u8], seconds: i64| {
        let now = now.plus_ns(seconds * SECOND_NS);
        match preempted(body, Reading { machine: &machine, now }, now, 30 * SECOND_NS).unwrap() {
            Some(notice) => reviser.observe(notice, &machine, now),
            None => reviser.absent(&preempted_key(&machine), Absence::Over, &machine, now),
        }
    };
    assert!(matches!(read(b"FALSE", 0), Verdict::Same));
    let Verdict::New(first) = read(b"TRUE", 1) else { panic!("not told") };
    for seconds in [2, 20, 90, 900] {
        assert!(matches!(read(b"TRUE", seconds), Verdict::Same), "after {seconds} s");
    }
    assert!(matches!(read(b"FALSE", 901), Verdict::Same), "never taken back");
    let Verdict::New(second) = read(b"TRUE", 902) else { panic!("not told again") };
    assert_ne!(first.id, second.id);
    // A restarted daemon knows the one that stands.
    let mut after = Reviser::new("gcp.compute.preempted");
    after.seed(NoticeKey::of(&second), second.id, second.effective, false);
    let now = now.plus_ns(1_000 * SECOND_NS);
    let again = preempted(b"TRUE", Reading { machine: &machine, now }, now, 30 * SECOND_NS).unwrap().unwrap();
    assert!(matches!(after.observe(again, &machine, now), Verdict::Same));
}

#[test]
fn a_plan_and_its_beginning_are_two_notices_also_after_a_restart_and_a_plan_moves() {
    let (machine, now) = (Arc::new(machine()), at("2026-03-10T12:00:00Z"));
    let reading = Reading { machine: &machine, now };
    let read = |status: &str, day: u8| {
        let body = format!(r#"{{"maintenance_status":"{status}","window_start_time":"2026-03-{day}T02:00:00Z"}}"#);
        match upcoming(body.as_bytes(), OnHostMaintenance::Terminate, reading).unwrap() {
            Upcoming::Planned(notice) | Upcoming::Ongoing(notice) => *notice,
            Upcoming::Nothing => panic!("something"),
        }
    };
    let mut reviser = Reviser::new("gcp.compute.upcoming-maintenance");
    let Verdict::New(plan) = reviser.observe(read("PENDING", 17), &machine, now) else { panic!("not told") };
    assert!(matches!(reviser.observe(read("PENDING", 17), &machine, now), Verdict::Same));
    let moved = reviser.observe(read("PENDING", 19), &machine, now);
    assert!(matches!(moved, Verdict::Moved { id, .. } if id == plan.id), "{moved:?}");
    let Verdict::New(begun) = reviser.observe(read("ONGOING", 19), &machine, now) else { panic!("not told") };
    let keys = [&plan, &begun].map(|event| NoticeKey::of(event));
    assert_eq!(keys[0], planned_keys(&machine)[1]);
    assert_eq!(keys[1], maintenance_keys(&machine)[1]);
}

proptest! {
    #[test]
    fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..200), wall_ns: i64, lost_ns in 0_i64..i64::MAX) {
        read_all(&body, wall_ns, lost_ns);
    }

    #[test]
    fn no_json_of_the_right_shape_panics(
        status in "\\PC{0,12}", time in "\\PC{0,24}", name in "[a-zA-Z_ ]{0,20}", wall_ns: i64,
    ) {
        let inner = json!({"maintenance_status": status, "windowStartTime": time, &name: time});
        read_all(inner.to_string().as_bytes(), wall_ns, 0);
        read_all(json!({ &name: inner }).to_string().as_bytes(), wall_ns, 0);
    }

    /// However late a change is seen, no time is promised that there is not, and none is in the past.
    #[test]
    fn a_deadline_is_never_past_nor_later_than_its_notice(lost in 0_i64..100_000, notice in 0_i64..3_600) {
        let (machine, now) = (machine(), at("2026-03-10T12:00:00Z"));
        let reading = Reading { machine: &machine, now };
        let since = now.plus_ns(-lost * SECOND_NS);
        let read = preempted(b"TRUE", reading, since, notice * SECOND_NS).unwrap().unwrap();
        let left = read.effective.unwrap().boot_ns - now.boot_ns;
        prop_assert_eq!(left, (notice - lost).max(0) * SECOND_NS);
    }
}

fn read_all(body: &[u8], wall_ns: i64, lost_ns: i64) {
    let machine = machine();
    let now = Moment { boot_ns: i64::MAX, wall_ns };
    let (reading, since) = (Reading { machine: &machine, now }, now.plus_ns(-lost_ns));
    let _ = preempted(body, reading, since, i64::MAX);
    let _ = maintenance_event(body, reading, since);
    for policy in [OnHostMaintenance::Migrate, OnHostMaintenance::Terminate, OnHostMaintenance::read(body)] {
        let _ = upcoming(body, policy, reading);
    }
    let _ = is_nothing_yet(body);
    let _ = identity(body, body, body, body);
}
