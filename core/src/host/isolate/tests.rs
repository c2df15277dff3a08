//! Tests of the memory between the daemon and an isolated plugin: what one side puts down the other reads, and whatever a
//! hostile process leaves there is met with a sentence, in bounded time.

use super::exchange::{EVENT_BYTES_MAX, Exchange, Kind, Sent};
use crate::event::{Event, EventId, Machine, Moment};
use crate::host::delivery::{Answer, CallCell, Delivery, Status};
use crate::sys::clock;
use cloudsnooze_abi as abi;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Offset of the answer's first word, as `exchange` lays it out.
const REPLY: usize = 256 + 192 + EVENT_BYTES_MAX;

fn event(raw: Value) -> Arc<Event> {
    let now = Moment { boot_ns: 17, wall_ns: 1_767_323_045_123_456_789 };
    let json = json!({ "id": EventId::at(now.wall_ns).to_string(), "type": "cloud.spot.interrupt",
        "severity": "urgent", "time": "2026-01-02T03:04:05Z", "source": "test",
        "data": { "action": "stop", "noticeKind": "deadline", "time": "2026-01-02T03:06:05Z", "provider": "p" } });
    let event = Event::from_json(&json, now).expect("an event");
    let machine = Arc::new(Machine { zone: "us-east-1a".into(), ..Machine::default() });
    let extra = json!({"mine": {"deep": ["a", 7]}}).as_object().cloned().unwrap_or_default();
    Arc::new(Event { machine, raw: Some(raw), extra, detected: now, simulated: true, ..event })
}

fn asked(exchange: &Exchange, turn: u32, delivery: &Delivery, call: &CallCell) {
    assert!(exchange.ask(Kind::Handle, Some(&delivery.into()), Some((call, Duration::from_millis(250)))));
    exchange.begin(turn);
}

#[test]
fn every_accessor_gives_the_same_in_both_processes() {
    let exchange = Exchange::new().expect("memory");
    let delivery = Delivery::new(event(json!({"action": "stop", "text": "ü\n"})), 3, clock::now());
    let call = CallCell::new(7, 2, [9; 16], clock::boot_ns() + 60_000_000_000, 5);
    asked(&exchange, 1, &delivery, &call);
    assert_eq!(exchange.wait_turn(0, || ()), 1);
    assert!(exchange.has_begun(1));
    let request = exchange.take_request(|number| usize::try_from(number).unwrap_or(0) * 100);
    let (theirs, their_call) = (request.event, request.call);
    assert_eq!((request.kind, request.grace), (Kind::Handle, Duration::from_millis(250)));
    for field in 0..64 {
        assert_eq!(theirs.text(field), delivery.text(field), "field {field}");
        // What is computed at the moment of the call differs by the moment.
        assert_eq!(theirs.number(field).is_some(), delivery.number(field).is_some(), "field {field}");
    }
    for path in ["data.mine.deep.0", "data.mine.deep.1", "data.raw.text", "simulated"] {
        let field = crate::host::fields::number(path);
        assert_eq!(
            (theirs.text(field), theirs.number(field)),
            (delivery.text(field), delivery.number(field)),
            "{path}"
        );
    }
    assert_eq!(theirs.json(), delivery.json());
    let head = |d: &Delivery| {
        let h = d.head();
        let times = (h.detected_boot_ns, h.detected_wall_ns, h.effective_boot_ns);
        (h.struct_size, h.kind, h.severity, h.flags, h.seq, h.id, times)
    };
    assert_eq!(head(&theirs), head(&delivery));
    assert_eq!((their_call.id(), their_call.attempt(), their_call.key()), (7, 2, [9; 16]));
    assert_eq!((their_call.deadline_boot_ns(), their_call.token()), (call.deadline_boot_ns(), 500));
}

#[test]
fn a_call_that_is_cancelled_is_born_so_on_the_other_side_and_a_later_word_names_its_call() {
    let exchange = Exchange::new().expect("memory");
    let delivery = Delivery::new(event(Value::Null), 1, clock::now());
    let call = CallCell::new(7, 1, [0; 16], 0, 0);
    call.cancel(abi::SNOOZE_CANCEL_DEADLINE);
    asked(&exchange, 1, &delivery, &call);
    assert_eq!(exchange.take_request(|_| 0).call.cancel_reason(), abi::SNOOZE_CANCEL_DEADLINE);
    exchange.cancel(8, abi::SNOOZE_CANCEL_SHUTDOWN);
    assert_eq!(exchange.cancelled(), (8, abi::SNOOZE_CANCEL_SHUTDOWN));
}

#[test]
fn an_answer_comes_back_as_it_was_given() {
    let exchange = Exchange::new().expect("memory");
    let result = json!({"rows": 3, "text": "ü"}).as_object().cloned();
    let answers = [
        Answer { status: Status::Handled, error: None, result },
        Answer { status: Status::Declined, error: None, result: Some(serde_json::Map::new()) },
        Answer::new(Status::Panicked, ""),
        Answer::new(Status::Failed, "ü".repeat(2000)),
    ];
    for (turn, answer) in (1..).zip(&answers) {
        assert!(exchange.is_answered(turn).is_err());
        assert!(exchange.answer(turn, Some(answer)));
        assert_eq!(exchange.is_answered(turn), Ok(()));
        let taken = exchange.take_answer().expect("sense").expect("an answer");
        assert_eq!(
            (taken.status, taken.error, taken.result),
            (answer.status, answer.error.clone(), answer.result.clone())
        );
    }
    assert!(exchange.answer(9, None));
    assert!(exchange.take_answer().expect("sense").is_none());
}

#[test]
fn what_does_not_fit_is_not_sent_and_that_is_said() {
    let exchange = Exchange::new().expect("memory");
    let call = CallCell::new(7, 1, [0; 16], 0, 0);
    let long = Delivery::new(event(json!("x".repeat(EVENT_BYTES_MAX))), 1, clock::now());
    assert!(!exchange.ask(Kind::Handle, Some(&Sent::from(&*long)), Some((&call, Duration::ZERO))));
    let result = json!({"a": "x".repeat(300_000)}).as_object().cloned();
    assert!(!exchange.answer(1, Some(&Answer { status: Status::Handled, error: None, result })));
    let taken = exchange.take_answer().expect("sense").expect("an answer");
    assert_eq!((taken.status, taken.result), (Status::Handled, None));
}

#[test]
fn answers_that_make_no_sense_are_named() {
    let write = |words: [u32; 5], error: &[u8], result: &[u8]| {
        let exchange = Exchange::new().expect("memory");
        for (n, word) in words.iter().enumerate() {
            exchange.memory.write(REPLY + n * 4, &word.to_le_bytes());
        }
        exchange.memory.write(REPLY + 64, error);
        exchange.memory.write(REPLY + 64 + 8192, result);
        exchange.take_answer().map(|answer| answer.map(|a| a.status)).map_err(|nonsense| nonsense.0)
    };
    assert_eq!(write([0; 5], b"", b""), Ok(Some(Status::Handled)), "the layout that this test assumes");
    let said = |words, error: &[u8], result: &[u8]| write(words, error, result).expect_err("nonsense");
    assert_eq!(said([6, 0, 0, 0, 0], b"", b""), "status number 6");
    assert_eq!(said([0, 1, 0, u32::MAX, 0], b"", b""), "an error text of 4294967295 bytes, at most 8192 fit");
    assert_eq!(said([0, 0, 1, 0, 262_145], b"", b""), "a result of 262145 bytes, at most 262144 fit");
    assert_eq!(said([2, 1, 0, 2, 0], b"\xff\xfe", b""), "an error text that is not UTF-8");
    assert!(said([0, 0, 1, 0, 3], b"", b"[1]").starts_with("a result that is no JSON object"));
    let deep = "[".repeat(100_000);
    assert!(said([0, 0, 1, 0, 100_000], b"", deep.as_bytes()).starts_with("a result that is no JSON object"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_contents_of_the_memory_make_the_daemon_panic(
        filler in any::<u8>(),
        words in prop::collection::vec((0usize..40, any::<u8>()), 0..40),
        reason in any::<u32>(),
    ) {
        let exchange = Exchange::new().expect("memory");
        exchange.memory.write(0, &vec![filler; super::exchange::BYTES]);
        for (at, byte) in words {
            exchange.memory.write(REPLY + at, &[byte]);
        }
        let _ = exchange.take_answer();
        let _ = exchange.is_answered(reason);
        exchange.has_begun(reason);
        exchange.hear(&mut 0, drop);
        // Whatever stood there, the next request finds its place.
        let call = CallCell::new(7, 1, [0; 16], 0, 0);
        asked(&exchange, 1, &Delivery::new(event(Value::Null), 1, clock::now()), &call);
        prop_assert_eq!(exchange.take_request(|_| 0).call.id(), 7);
    }
}
