//! The plugin against a mail server in trouble: greylisting, refusals, silence, sudden ends, cancels.
#![allow(missing_docs)]

mod server;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{Canceller, TestInstance, spot_interrupt};
use email_notifier::EmailNotifier;
use serde_json::{Value, json};
use server::{Mail, SOON};
use std::time::{Duration, Instant};

/// A server that does these things.
fn with_faults(faults: Value) -> Option<Mail> {
    Mail::start(json!({ "faults": faults }))
}

#[test]
fn greylisting_is_waited_for_within_the_call() {
    let Some(mail) = with_faults(json!([{"at": "rcpt", "say": "451 4.7.1 Greylisted, come again", "times": 2}])) else {
        return;
    };
    let delivered = mail.plugin(json!({})).deliver(&spot_interrupt(), SOON);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let evidence = delivered.result.unwrap()["evidence"].clone();
    assert_eq!((&evidence["attempts"], &evidence["connection"]), (&json!(3), &json!("kept")));
    assert_eq!(evidence["refused"], json!({}));
    assert_eq!(mail.kept(1).len(), 1);
}

#[test]
fn greylisting_that_outlasts_the_time_is_a_retry_for_the_host() {
    let Some(mail) = with_faults(json!([{"at": "rcpt", "say": "451 4.7.1 Greylisted", "times": 99}])) else { return };
    let delivered = mail.plugin(json!({"attempts": 3})).deliver(&spot_interrupt(), SOON);
    assert_eq!(delivered.status, abi::SNOOZE_E_RETRY, "{delivered:?}");
    assert!(delivered.error.unwrap().contains("RCPT TO was answered 451 4.7.1 Greylisted"));
    assert_eq!(delivered.result.unwrap()["evidence"]["waiting"], json!(["ann@example.com"]));
    assert_eq!(mail.seen("message", 0).len(), 0);
}

#[test]
fn of_several_recipients_only_those_who_lack_the_message_get_it_again() {
    let faults = json!([{"at": "rcpt", "say": "450 Later", "only": "bob@example.com"}]);
    let Some(mail) = with_faults(faults) else { return };
    let to = json!({"to": ["ann@example.com", "bob@example.com"], "attempts": 1});
    let plugin = mail.plugin(to);
    let first = plugin.deliver(&spot_interrupt(), SOON);
    assert_eq!(first.status, abi::SNOOZE_E_RETRY, "{first:?}");
    assert_eq!(first.result.unwrap()["evidence"]["accepted"], json!(["ann@example.com"]));
    // The host's next attempt at the same delivery.
    assert_eq!(plugin.deliver(&spot_interrupt(), SOON).status, abi::SNOOZE_OK);
    let again = plugin.deliver(&spot_interrupt(), SOON);
    assert_eq!(again.status, abi::SNOOZE_OK);
    let kept = mail.kept(2);
    let to: Vec<&Value> = kept.iter().map(|message| &message["to"]).collect();
    assert_eq!(to, [&json!(["ann@example.com"]), &json!(["bob@example.com"])]);
    assert_eq!(kept[0]["headers"]["message-id"], kept[1]["headers"]["message-id"]);
}

#[test]
fn a_refusal_for_good_ends_it_and_says_what_to_do_while_the_others_get_the_message() {
    let faults = json!([{"at": "rcpt", "say": "550 5.1.1 No such user", "only": "bob@example.com", "times": 9}]);
    let Some(mail) = with_faults(faults) else { return };
    let plugin = mail.plugin(json!({"to": ["ann@example.com", "bob@example.com"]}));
    let delivered = plugin.deliver(&spot_interrupt(), SOON);
    assert_eq!(delivered.status, abi::SNOOZE_E_CONFIG, "{delivered:?}");
    assert!(delivered.error.unwrap().contains("550 5.1.1 No such user; check to"));
    let evidence = delivered.result.unwrap()["evidence"].clone();
    assert_eq!(evidence["accepted"], json!(["ann@example.com"]));
    assert!(evidence["refused"]["bob@example.com"].as_str().unwrap().contains("550"), "{evidence}");
    assert_eq!(mail.kept(1)[0]["to"], json!(["ann@example.com"]));
}

#[test]
fn refusals_of_sender_and_message_are_told_apart() {
    for (at, say, status, text) in [
        ("mail", "553 5.7.1 Not yours", abi::SNOOZE_E_DENIED, "does not let us send as this from"),
        (
            "data",
            "554 5.7.1 Looks like spam",
            abi::SNOOZE_E_CONFIG,
            "the message was answered 554 5.7.1 Looks like spam",
        ),
        ("data", "452 4.3.1 Disk full", abi::SNOOZE_E_RETRY, "452 4.3.1 Disk full"),
    ] {
        let Some(mail) = with_faults(json!([{"at": at, "say": say, "times": 9}])) else { return };
        let delivered = mail.plugin(json!({"attempts": 2})).deliver(&spot_interrupt(), SOON);
        assert_eq!(delivered.status, status, "{delivered:?}");
        assert!(delivered.error.as_ref().unwrap().contains(text), "{delivered:?}");
        assert_eq!(delivered.result.unwrap()["evidence"]["accepted"], json!([]));
        assert_eq!(mail.kept(0).len(), 0);
    }
}

#[test]
fn a_server_that_dies_in_the_middle_of_the_message_gets_the_same_one_again() {
    let Some(mail) = with_faults(json!([{"at": "half"}])) else { return };
    let plugin = mail.plugin(json!({}));
    let delivered = plugin.deliver(&spot_interrupt(), SOON);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    assert_eq!(delivered.result.unwrap()["evidence"]["connection"], "fresh");
    assert_eq!((mail.seen("fault", 1).len(), mail.kept(1).len()), (1, 1));
    let id = mail.kept(1)[0]["headers"]["message-id"].as_str().unwrap().to_owned();
    assert!(id.starts_with(&format!("<{}.", spot_interrupt()["id"].as_str().unwrap())), "{id}");
}

#[test]
fn a_message_that_was_kept_without_an_answer_is_sent_again_under_the_same_id() {
    // The server keeps the message, and dies before it says so.
    let Some(mail) = with_faults(json!([{"at": "data", "do": "die"}])) else { return };
    let delivered = mail.plugin(json!({})).deliver(&spot_interrupt(), SOON);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let kept = mail.kept(2);
    assert_eq!((kept.len(), &kept[0]["headers"]), (2, &kept[1]["headers"]), "a mail program shows it once");
}

#[test]
fn nobody_there_is_a_warning_when_activated_and_a_retry_when_needed() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = json!({
        "server": "127.0.0.1", "port": port, "security": "none", "from": "a@example.com", "to": ["b@example.com"],
        "attempts": 2,
    });
    let plugin = TestInstance::<EmailNotifier>::new(&config).unwrap();
    assert!(plugin.log().iter().any(|line| line.contains("refused")), "{:?}", plugin.log());
    let delivered = plugin.deliver(&spot_interrupt(), SOON);
    assert_eq!(delivered.status, abi::SNOOZE_E_RETRY, "{delivered:?}");
    assert_eq!(delivered.result.unwrap()["evidence"]["attempts"], 2);
}

#[test]
fn silence_costs_the_time_granted_and_no_more_wherever_it_falls() {
    for (at, what) in [
        ("mail", json!({"at": "mail", "do": "hang", "times": 9})),
        ("data", json!({"at": "data", "do": "hang", "times": 9})),
        // A byte now and then is no reply: limits on single reads would never end.
        ("rcpt", json!({"at": "rcpt", "do": "trickle", "times": 9})),
    ] {
        let Some(mail) = with_faults(json!([what])) else { return };
        let plugin = mail.plugin(json!({}));
        let started = Instant::now();
        let delivered = plugin.deliver(&spot_interrupt(), Duration::from_millis(700));
        assert_eq!(delivered.status, abi::SNOOZE_E_DEADLINE, "{at}: {delivered:?}");
        let took = started.elapsed();
        assert!(took > Duration::from_millis(500) && took < Duration::from_secs(3), "{at}: {took:?}");
    }
}

#[test]
fn a_cancel_ends_every_wait_at_once() {
    for fault in [
        json!({"at": "mail", "do": "hang", "times": 9}),
        json!({"at": "rcpt", "do": "trickle", "times": 9}),
        json!({"at": "rcpt", "say": "451 Later", "times": 99}),
    ] {
        let Some(mail) = with_faults(json!([fault])) else { return };
        let plugin = mail.plugin(json!({"attempts": 20}));
        let cancel = Canceller::default();
        let started = Instant::now();
        let delivered = std::thread::scope(|scope| {
            scope.spawn(|| {
                mail.seen("fault", 1);
                cancel.cancel(abi::SNOOZE_CANCEL_SUPERSEDED);
            });
            plugin.deliver_cancellable(&spot_interrupt(), 6 * SOON, &cancel)
        });
        assert_eq!(delivered.status, abi::SNOOZE_E_CANCELLED, "{delivered:?}");
        assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    }
}

#[test]
fn a_server_that_is_silent_when_activated_delays_neither_the_start_nor_the_end_of_an_instance() {
    let Some(mail) = with_faults(json!([{"at": "connect", "do": "hang"}])) else { return };
    let started = Instant::now();
    let plugin = mail.plugin(json!({}));
    let delivered = plugin.deliver(&spot_interrupt(), SOON);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "a call connects by itself: {delivered:?}");
    drop(plugin);
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

#[test]
fn a_server_that_says_no_at_once_is_heard() {
    let Some(mail) = with_faults(json!([{"at": "connect", "say": "554 5.7.1 Go away", "times": 99}])) else { return };
    let delivered = mail.plugin(json!({})).deliver(&spot_interrupt(), SOON);
    assert_eq!(delivered.status, abi::SNOOZE_E_CONFIG, "{delivered:?}");
    assert!(delivered.error.unwrap().contains("connecting was answered 554 5.7.1 Go away"));
}
