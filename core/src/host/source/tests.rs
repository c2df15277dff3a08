//! What a plugin may hand over the border of a source, and what becomes of it. Inputs: tables and texts of a plugin, good and
//! bad. Outputs: none. Must never start a daemon.

use super::*;
use crate::event::EventId;
use std::ptr;

/// Notes what gets through.
#[derive(Default)]
struct Taken {
    told: Vec<Told>,
    withdrawn: Vec<Told>,
    machines: Vec<Here>,
    sights: Vec<Sight>,
    refused: Vec<String>,
}

impl Feed for Taken {
    fn notice(&mut self, told: Told) -> Heard {
        self.told.push(told);
        Heard::News(EventId(uuid::Uuid::from_bytes([7; 16])))
    }

    fn withdrawn(&mut self, told: Told) -> Heard {
        self.withdrawn.push(told);
        Heard::Nothing
    }

    fn machine(&mut self, here: Here) {
        self.machines.push(here);
    }

    fn health(&mut self, sight: Sight) {
        self.sights.push(sight);
    }

    fn refused(&mut self, why: &str) {
        self.refused.push(why.to_owned());
    }
}

fn lend(text: &str) -> abi::snooze_str {
    abi::snooze_str { ptr: text.as_ptr().cast(), len: text.len() }
}

const EMPTY: abi::snooze_str = abi::snooze_str { ptr: ptr::null(), len: 0 };

fn good() -> abi::snooze_notice {
    abi::snooze_notice {
        struct_size: size_of::<abi::snooze_notice>() as u32,
        severity: abi::SNOOZE_SEVERITY_URGENT,
        action: abi::SNOOZE_ACTION_STOP,
        notice_kind: abi::SNOOZE_NOTICE_DEADLINE,
        when: abi::SNOOZE_WHEN_IN,
        reserved: 0,
        when_ns: 60_000_000_000,
        stated_wall_ns: 0,
        provider: lend("nimbus"),
        notice_id: lend("storm-7"),
        event_type: lend("custom.nimbus.storm"),
        instance_id: EMPTY,
        resources: ptr::null(),
        resource_count: 0,
        raw: lend("{\"storm\":7}"),
    }
}

/// Hands one record over as a plugin would, and gives the status and what got through.
fn hand_over(notice_record: *const abi::snooze_notice) -> (abi::snooze_status, Taken) {
    let mut taken = Taken::default();
    let desk = Desk::leak(&mut taken, -1);
    let mut id = [0_u8; 16];
    // SAFETY: records of this test.
    let status = unsafe { notice(&raw const desk.table, notice_record, id.as_mut_ptr()) };
    desk.close();
    assert_eq!(status == abi::SNOOZE_OK, id == [7; 16], "an id is written on success only");
    (status, taken)
}

#[test]
fn a_good_notice_gets_through_whole() {
    let texts = [lend("rack-7"), lend("rack-8")];
    let notice = abi::snooze_notice { resources: texts.as_ptr(), resource_count: 2, ..good() };
    let (status, taken) = hand_over(&raw const notice);
    assert_eq!((status, taken.refused.len()), (abi::SNOOZE_OK, 0));
    let told = &taken.told[0];
    assert_eq!(
        (&*told.provider, &*told.notice_id, told.event_type.as_str()),
        ("nimbus", "storm-7", "custom.nimbus.storm")
    );
    assert_eq!((told.when, told.action, told.severity), (When::In(60_000_000_000), Action::Stop, Severity::Urgent));
    assert_eq!((told.resources.clone(), told.raw["storm"].as_i64()), (vec!["rack-7".into(), "rack-8".into()], Some(7)));
}

#[test]
fn a_document_that_is_no_json_is_kept_as_text_and_a_larger_record_is_read_as_far_as_it_is_known() {
    #[repr(C)]
    struct Larger {
        notice: abi::snooze_notice,
        more: [u64; 4],
    }
    let mut larger = Larger { notice: abi::snooze_notice { raw: lend("storm 7"), ..good() }, more: [u64::MAX; 4] };
    larger.notice.struct_size = size_of::<Larger>() as u32;
    let (status, taken) = hand_over(&raw const larger.notice);
    assert_eq!((status, taken.told[0].raw.as_str(), larger.more[0]), (abi::SNOOZE_OK, Some("storm 7"), u64::MAX));
}

#[test]
fn whatever_is_not_as_described_is_refused_with_a_reason_and_nothing_gets_through() {
    let long = "x".repeat(RAW_BYTES_MAX + 1);
    let bad_text = abi::snooze_str { ptr: b"\xff\xfe".as_ptr().cast(), len: 2 };
    let texts = [bad_text];
    let cases: [(&str, abi::snooze_notice); 27] = [
        ("a small record", abi::snooze_notice { struct_size: 8, ..good() }),
        ("no provider", abi::snooze_notice { provider: EMPTY, ..good() }),
        ("a provider with a capital", abi::snooze_notice { provider: lend("Nimbus"), ..good() }),
        ("a long provider", abi::snooze_notice { provider: lend(&long[..65]), ..good() }),
        ("bytes as provider", abi::snooze_notice { provider: bad_text, ..good() }),
        ("no type", abi::snooze_notice { event_type: EMPTY, ..good() }),
        ("a type with a blank", abi::snooze_notice { event_type: lend("cloud storm"), ..good() }),
        ("a withdrawal's type", abi::snooze_notice { event_type: lend("cloud.spot.interrupt.cancelled"), ..good() }),
        ("a long type", abi::snooze_notice { event_type: lend(&long[..129]), ..good() }),
        ("bytes as id", abi::snooze_notice { notice_id: bad_text, ..good() }),
        ("a long id", abi::snooze_notice { notice_id: lend(&long[..1025]), ..good() }),
        ("a length without bytes", abi::snooze_notice { notice_id: abi::snooze_str { len: 9, ..EMPTY }, ..good() }),
        (
            "all the memory there is",
            abi::snooze_notice { raw: abi::snooze_str { len: usize::MAX, ..lend("x") }, ..good() },
        ),
        ("a large document", abi::snooze_notice { raw: lend(&long), ..good() }),
        ("bytes as document", abi::snooze_notice { raw: bad_text, ..good() }),
        ("bytes as machine", abi::snooze_notice { instance_id: bad_text, ..good() }),
        ("severity 0", abi::snooze_notice { severity: 0, ..good() }),
        ("severity 5", abi::snooze_notice { severity: 5, ..good() }),
        ("action 0", abi::snooze_notice { action: 0, ..good() }),
        ("action 8", abi::snooze_notice { action: u32::MAX, ..good() }),
        ("kind 3", abi::snooze_notice { notice_kind: 3, ..good() }),
        ("when 4", abi::snooze_notice { when: 4, ..good() }),
        ("a negative time", abi::snooze_notice { when_ns: -1, ..good() }),
        ("a statement before 1970", abi::snooze_notice { stated_wall_ns: i64::MIN, ..good() }),
        ("resources that are nowhere", abi::snooze_notice { resource_count: 1, ..good() }),
        ("too many resources", abi::snooze_notice { resources: texts.as_ptr(), resource_count: usize::MAX, ..good() }),
        ("bytes as resource", abi::snooze_notice { resources: texts.as_ptr(), resource_count: 1, ..good() }),
    ];
    for (what, notice) in cases {
        let (status, taken) = hand_over(&raw const notice);
        assert_eq!((status, taken.told.len(), taken.refused.len()), (abi::SNOOZE_E_INVALID, 0, 1), "{what}");
    }
    let (status, _) = hand_over(ptr::null());
    assert_eq!(status, abi::SNOOZE_E_INVALID, "no record");
    let stray = ptr::without_provenance(9);
    assert_eq!(hand_over(stray).0, abi::SNOOZE_E_INVALID, "a record that is not aligned");
    // SAFETY: NULL is what is tried.
    let status = unsafe { notice(ptr::null(), &good(), ptr::null_mut()) };
    assert_eq!(status, abi::SNOOZE_E_INVALID, "no host");
}

#[test]
fn times_as_large_as_there_are_do_not_overflow_on_the_way() {
    for when in [abi::SNOOZE_WHEN_AT, abi::SNOOZE_WHEN_IN] {
        let notice = abi::snooze_notice { when, when_ns: i64::MAX, stated_wall_ns: i64::MAX, ..good() };
        assert_eq!(hand_over(&raw const notice).0, abi::SNOOZE_OK);
    }
}

#[test]
fn who_the_machine_is_and_what_it_sees_is_checked_as_well() {
    let mut taken = Taken::default();
    let desk = Desk::leak(&mut taken, -1);
    let host = &raw const desk.table;
    let here = abi::snooze_machine {
        struct_size: size_of::<abi::snooze_machine>() as u32,
        reserved: 0,
        provider: lend("nimbus"),
        instance_id: lend("drop-1"),
        instance_type: EMPTY,
        zone: EMPTY,
        region: EMPTY,
    };
    let sight = |state, next_within_ms, text| abi::snooze_source_health {
        struct_size: size_of::<abi::snooze_source_health>() as u32,
        state,
        next_within_ms,
        text,
    };
    let bad_text = abi::snooze_str { ptr: b"\xff".as_ptr().cast(), len: 1 };
    // SAFETY: records of this test.
    let statuses = unsafe {
        [
            machine(host, &raw const here),
            machine(host, &abi::snooze_machine { zone: bad_text, ..here }),
            machine(host, &abi::snooze_machine { provider: EMPTY, ..here }),
            machine(host, ptr::null()),
            health(host, &sight(abi::SNOOZE_SOURCE_SEEING, 5_000, EMPTY)),
            health(host, &sight(abi::SNOOZE_SOURCE_BLIND, 5_000, lend("no socket"))),
            health(host, &sight(0, 5_000, EMPTY)),
            health(host, &sight(abi::SNOOZE_SOURCE_SEEING, 0, EMPTY)),
            health(host, &sight(abi::SNOOZE_SOURCE_SEEING, u64::MAX, EMPTY)),
            health(host, &sight(abi::SNOOZE_SOURCE_BLIND, 5_000, bad_text)),
        ]
    };
    desk.close();
    let bad = abi::SNOOZE_E_INVALID;
    assert_eq!(statuses, [0, bad, bad, bad, 0, 0, bad, bad, bad, bad]);
    assert_eq!((taken.machines.len(), taken.sights.len(), taken.refused.len()), (1, 2, 7));
    assert_eq!(taken.sights[1].blind.as_deref(), Some("no socket"));
}

#[test]
fn another_thread_and_a_run_that_is_over_are_turned_away() {
    let mut taken = Taken::default();
    let desk = Desk::leak(&mut taken, -1);
    let table = (&raw const desk.table).expose_provenance();
    let elsewhere = move || {
        // SAFETY: a table that is never freed, a record of this test.
        unsafe { notice(ptr::with_exposed_provenance(table), &good(), ptr::null_mut()) }
    };
    let on_another = std::thread::spawn(elsewhere).join();
    assert_eq!(on_another.ok(), Some(abi::SNOOZE_E_STATE));
    desk.close();
    // SAFETY: the table is never freed.
    let later = unsafe { notice(&raw const desk.table, &good(), ptr::null_mut()) };
    assert_eq!((later, taken.told.len()), (abi::SNOOZE_E_STATE, 0));
}

#[test]
fn what_a_call_within_a_call_tells_is_turned_away() {
    struct Within(*const abi::snooze_source_host, Vec<abi::snooze_status>);
    impl Feed for Within {
        fn notice(&mut self, _: Told) -> Heard {
            // SAFETY: the table of this test's desk.
            self.1.push(unsafe { notice(self.0, &good(), ptr::null_mut()) });
            Heard::Past
        }
        fn withdrawn(&mut self, _: Told) -> Heard {
            Heard::Nothing
        }
        fn machine(&mut self, _: Here) {}
        fn health(&mut self, _: Sight) {}
        fn refused(&mut self, _: &str) {}
    }
    let mut within = Within(ptr::null(), Vec::new());
    let place = &raw mut within;
    // SAFETY: one thread; the desk uses the value only inside the call below.
    let desk = Desk::leak(unsafe { &mut *place }, -1);
    // SAFETY: as above, before any call.
    unsafe { (*place).0 = &raw const desk.table };
    // SAFETY: records of this test.
    let status = unsafe { notice(&raw const desk.table, &good(), ptr::null_mut()) };
    desk.close();
    assert_eq!((status, within.1), (abi::SNOOZE_E_DEADLINE, vec![abi::SNOOZE_E_BUSY]));
}
