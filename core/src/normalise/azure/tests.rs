//! Claims about the parser that no document of `tests/fixtures/azure` shows; those are read by the source's tests, because
//! what a document means depends on those before it.

use super::*;
use crate::normalise::deadline::SECOND_NS;
use proptest::prelude::*;
use serde_json::json;

const NOW: Moment = Moment { boot_ns: 1_000 * SECOND_NS, wall_ns: 1_700_000_000 * SECOND_NS };

fn read(body: &[u8], name: &str) -> Result<Document, ParseError> {
    let machine = Machine { instance_id: name.into(), ..Machine::default() };
    document(body, Reading { machine: &machine, now: NOW }, Action::Terminate)
}

fn read_events(events: &Value, name: &str) -> Document {
    let body = json!({"DocumentIncarnation": 7, "Events": events}).to_string();
    read(body.as_bytes(), name).expect("a document")
}

#[test]
fn garbage_is_an_error_and_not_the_absence_of_a_notice() {
    for body in
        ["", "<html>", "{}", "[]", "null", "{\"Events\":", "{\"Events\": {}}", "{\"DocumentIncarnation\": 1}", "7"]
    {
        assert!(read(body.as_bytes(), "vm").is_err(), "{body:?}");
    }
    assert!(read(b"\xff\xfe", "vm").is_err());
    for body in ["", "[]", "{}", "{\"name\": \"\"}", "{\"name\": null}", "<html>"] {
        assert!(identity(body.as_bytes()).is_err(), "{body:?}");
    }
    let secret = read(b"{\"password\": hunter2", "vm").unwrap_err().to_string();
    assert!(!secret.contains("hunter2"), "{secret}");
}

#[test]
fn only_the_own_name_counts_and_not_a_part_of_it() {
    let event = |names: &[&str]| json!([{"EventId": "a", "EventType": "Preempt", "Resources": names}]);
    for (names, ours) in [
        (&["workers_1"][..], 1),
        (&["WORKERS_1", "workers_2"], 1),
        (&["workers_2"], 0),
        (&["workers_10"], 0),
        (&["workers"], 0),
        (&[], 1),
        (&[""], 1),
    ] {
        assert_eq!(read_events(&event(names), "workers_1").ours.len(), ours, "{names:?}");
        let unknown = read_events(&event(names), "");
        assert_eq!(unknown.ours.len() + unknown.undecided.len(), 1, "{names:?}: not to be missed");
    }
}

#[test]
fn an_unknown_part_of_an_event_drops_nothing() {
    let odd = json!([
        {"EventId": "a", "EventType": "Preempt", "EventStatus": "Pondered", "Resources": "vm", "NotBefore": 7, "More": [1]},
        {"EventId": "b"},
        {"EventType": "Reboot"},
        {"EventId": 5, "EventType": null},
        "Freeze",
    ]);
    let found = read_events(&odd, "vm");
    let kinds: Vec<_> = found.ours.iter().map(|l| (l.notice.kind.as_str(), l.notice.action)).collect();
    let expected = [
        ("cloud.spot.interrupt", Action::Terminate),
        ("cloud.maintenance.freeze", Action::None),
        ("cloud.maintenance.reboot", Action::Reboot),
    ];
    assert_eq!((kinds, found.malformed, found.incarnation), (expected.to_vec(), 2, Some(7)));
}

#[test]
fn who_this_machine_is_and_what_an_eviction_does_to_it() {
    let body = json!({"name": "workers_0", "vmId": "x", "vmSize": "Standard_D4s_v5", "location": "westeurope", "zone": "1",
        "priority": "Spot", "evictionPolicy": "Deallocate", "osProfile": {"computerName": "workers000000"}});
    let who = identity(body.to_string().as_bytes()).expect("an identity");
    let Machine { instance_id, instance_type, zone, region } = &who.machine;
    assert_eq!([&**instance_id, instance_type, zone, region], ["workers_0", "Standard_D4s_v5", "1", "westeurope"]);
    assert_eq!((who.eviction, who.is_regular), (Action::Stop, false));
    let who = identity(br#"{"name": "a", "priority": "Regular", "evictionPolicy": ""}"#).expect("an identity");
    assert_eq!((who.eviction, who.is_regular), (Action::Terminate, true));
}

proptest! {
    #[test]
    fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&body, "vm");
        let _ = identity(&body);
    }

    /// No notice of this machine is lost, whatever else its event says; none of another is taken.
    #[test]
    fn an_event_that_names_this_machine_is_a_notice(
        kind in "\\PC{0,12}", status in "Scheduled|Started|\\PC{0,6}", time in "\\PC{0,24}", wall_ns in any::<i64>(),
        before in prop::collection::vec("[a-z]{1,5}_[0-9]", 0..4), is_named: bool,
    ) {
        let mut names = before.clone();
        if is_named {
            names.push("the-VM".into());
        }
        let event = json!({"EventId": "a", "EventType": kind, "EventStatus": status, "Resources": names, "NotBefore": time});
        let machine = Machine { instance_id: "The-vm".into(), ..Machine::default() };
        let reading = Reading { machine: &machine, now: Moment { wall_ns, ..NOW } };
        let body = json!({"Events": [event.clone()]}).to_string();
        let found = document(body.as_bytes(), reading, Action::Stop).expect("a document");
        prop_assert_eq!(found.ours.len(), usize::from(is_named || before.is_empty()));
        for Listed { notice, .. } in found.ours {
            prop_assert_eq!(&notice.raw, &event);
            prop_assert_eq!(notice.resources.len(), before.len());
            prop_assert!(notice.effective.is_none_or(|at| at.boot_ns >= NOW.boot_ns));
        }
    }
}
