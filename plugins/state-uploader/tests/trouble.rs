//! What happens when the way is slow or cut, the store is lost, the credentials are wrong: against a real store.

mod store;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{Canceller, TestInstance};
use harness::moto::Moto;
use serde_json::{Value, json};
use state_uploader::StateUploader;
use std::time::{Duration, Instant};
use store::{MIB, PLENTY, Stage, certificates, failed, handled, interrupt, names, options};

#[test]
fn on_a_slow_way_the_newest_are_uploaded_and_the_others_named() {
    let Some(stage) = Stage::open("a slow way") else { return };
    let newest = stage.write("step-4", 2 * MIB, 10);
    for (name, age) in [("step-3", 20), ("step-2", 30), ("step-1", 40), ("step-0", 50)] {
        stage.write(name, 4 * MIB, age);
    }
    stage.relay.slow(1_000_000);
    let began = Instant::now();
    let result = handled(stage.plugin(&json!({ "at_once": 2 })).deliver(&interrupt(1), Duration::from_secs(13)));
    assert!(began.elapsed() < Duration::from_secs(13), "{:?}", began.elapsed());
    assert_eq!(result["durable"], "no", "{result:#}");
    assert!(stage.holds("data/step-4", &newest));
    let left_out = names(&result["left_out"]);
    assert!(
        left_out.contains(&"data/step-0".to_owned()) && left_out.contains(&"data/step-1".to_owned()),
        "{left_out:?}"
    );
    let manifest = stage.manifest();
    assert_eq!(manifest["complete"], false);
    let there = manifest["files"].as_array().unwrap().len();
    assert_eq!((there + left_out.len(), manifest["left_out"].as_array().unwrap().len()), (5, left_out.len()));
    assert_eq!(stage.keys().len(), there + 1, "{:?}", stage.keys());
}

#[test]
fn what_cannot_fit_is_refused_and_leaves_nothing_behind() {
    let Some(stage) = Stage::open("what cannot fit") else { return };
    stage.write("model", 40 * MIB, 10);
    // Known before: not a byte is sent.
    let asked = stage.relay.bytes();
    let known = stage.plugin(&json!({ "bandwidth": 1_000_000 }));
    let delivered = known.deliver(&interrupt(1), Duration::from_secs(10));
    assert!(
        failed(&delivered, abi::SNOOZE_E_DEADLINE).contains("not even the newest fits: data/model: it would need 4")
    );
    assert!(stage.relay.bytes() - asked < 100_000);
    drop(known);
    // Found out: given up long before the time is over, so that others have it.
    stage.relay.slow(2_000_000);
    let began = Instant::now();
    let delivered = stage.plugin(&json!({})).deliver(&interrupt(2), Duration::from_secs(16));
    assert!(failed(&delivered, abi::SNOOZE_E_DEADLINE).contains("not even the newest fits"), "{delivered:?}");
    assert!(began.elapsed() < Duration::from_secs(14), "{:?}", began.elapsed());
    stage.relay.slow(0);
    assert_eq!(delivered.result.unwrap()["durable"], "no");
    assert_eq!(stage.keys(), Vec::<String>::new());
    harness::wait::until("no part to be left", PLENTY, || (stage.pending() == 0).then_some(())).unwrap();
}

#[test]
fn an_upload_that_was_cut_off_goes_on_where_it_was() {
    let Some(stage) = Stage::open("a way that is cut") else { return };
    for number in 0..8 {
        stage.write(&format!("part-{number}"), 2 * MIB, 10 + number);
    }
    let uploader = stage.plugin(&json!({ "at_once": 1 }));
    stage.relay.cut_after(7_000_000);
    let delivered = uploader.deliver(&interrupt(1), Duration::from_secs(6));
    assert!(delivered.status < 0 || delivered.result.as_ref().unwrap()["durable"] == "no", "{delivered:?}");
    assert!(stage.relay.is_cut());
    let before = stage.keys();
    assert!((1..8).contains(&before.len()), "{before:?}");
    drop(uploader);

    stage.relay.mend();
    let (asked, bytes) = (stage.relay.asked().len(), stage.relay.bytes());
    let uploader = stage.plugin(&json!({}));
    let result = handled(uploader.deliver(&interrupt(1), PLENTY));
    assert_eq!(result["durable"], "yes", "{result:#}");
    let put = stage.put_since(asked);
    assert!(before.iter().all(|key| !put.contains(key)), "{before:?} {put:?}");
    assert!(stage.relay.bytes() - bytes < 15_000_000);
    assert_eq!(stage.keys().len(), 9);
    assert_eq!(uploader.verify(&interrupt(1), PLENTY).status, abi::SNOOZE_OK);
}

#[test]
fn a_cut_that_is_mended_is_survived_by_the_same_call() {
    let Some(stage) = Stage::open("a short cut") else { return };
    let content = stage.write("model", 16 * MIB, 10);
    let uploader = stage.plugin(&json!({}));
    stage.relay.cut_after(9_000_000);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            harness::wait::until("the cut", PLENTY, || stage.relay.is_cut().then_some(())).unwrap();
            std::thread::park_timeout(Duration::from_millis(300));
            stage.relay.mend();
        });
        assert_eq!(handled(uploader.deliver(&interrupt(1), PLENTY))["durable"], "yes");
    });
    assert!(stage.holds("data/model", &content));
}

#[test]
fn a_store_that_lost_everything_is_not_believed_to_have_it() {
    let Some(mut stage) = Stage::open("a store that is lost") else { return };
    let content = stage.write("a", 2 * MIB, 10);
    handled(stage.plugin(&json!({})).deliver(&interrupt(1), PLENTY));
    let Some(other) = Stage::open("a store that is lost") else { return };
    (stage.moto, stage.relay) = (other.moto, other.relay);
    assert_eq!(stage.keys(), Vec::<String>::new());
    let result = handled(stage.plugin(&json!({})).deliver(&interrupt(2), PLENTY));
    assert_eq!(result["evidence"]["before"]["in_store"]["files"], 0);
    assert!(stage.holds("data/a", &content));
}

#[test]
fn wrong_credentials_are_told_as_such_and_not_repeated() {
    let Some(stage) = Stage::open("wrong credentials") else { return };
    stage.write("a", 1000, 10);
    stage.write("b", 1000, 20);
    // From now on moto looks at them.
    assert_eq!(stage.moto.ask("POST", "/moto-api/reset-auth", &[], b"0").status, 200);
    let delivered = stage.plugin(&json!({})).deliver(&interrupt(1), PLENTY);
    let text = failed(&delivered, abi::SNOOZE_E_DENIED);
    assert!(text.contains("wrong credentials, or a right that is missing"), "{text}");
    assert!(!format!("{delivered:?}").contains("Zq9"), "{delivered:?}");
    let asked = stage.relay.asked().iter().filter(|line| line.starts_with("PUT")).count();
    assert!(asked <= 2, "{:?}", stage.relay.asked());
}

#[test]
fn a_bucket_that_is_not_there_and_a_store_that_is_not_there_are_told() {
    let Some(stage) = Stage::open("no bucket") else { return };
    stage.write("a", 1000, 10);
    let delivered = stage.plugin(&json!({ "to": "s3://other/p" })).deliver(&interrupt(1), PLENTY);
    assert!(failed(&delivered, abi::SNOOZE_E_IO).contains("no such bucket"), "{delivered:?}");
    let nobody = stage.plugin(&json!({ "options": options("http://127.0.0.1:1") }));
    let is_told = || nobody.log().iter().any(|line| line.contains("s3://bucket/ cannot be reached")).then_some(());
    harness::wait::until("the warning", PLENTY, is_told).unwrap();
    let began = Instant::now();
    let delivered = nobody.deliver(&interrupt(1), PLENTY);
    assert!(failed(&delivered, abi::SNOOZE_E_RETRY).contains("refused"), "{delivered:?}");
    assert!(began.elapsed() < PLENTY / 2, "told at once: {:?}", began.elapsed());
}

#[test]
fn a_cancelled_call_comes_back_at_once() {
    let Some(stage) = Stage::open("a cancel") else { return };
    stage.write("model", 30 * MIB, 10);
    stage.relay.slow(1_000_000);
    let (uploader, cancel) = (stage.plugin(&json!({})), Canceller::default());
    let took = std::thread::scope(|scope| {
        let canceller = scope.spawn(|| {
            let is_on = || (stage.relay.bytes() > 500_000).then_some(());
            harness::wait::until("the upload to be on", PLENTY, is_on).unwrap();
            let cancelled = Instant::now();
            cancel.cancel(abi::SNOOZE_CANCEL_SUPERSEDED);
            cancelled
        });
        let delivered = uploader.deliver_cancellable(&interrupt(1), PLENTY, &cancel);
        let back = Instant::now();
        assert_eq!(delivered.status, abi::SNOOZE_E_CANCELLED, "{delivered:?}");
        back - canceller.join().unwrap()
    });
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn over_tls_the_store_must_be_vouched_for() {
    let dir = tempfile::tempdir().unwrap();
    let (tls, ca) = certificates(dir.path());
    let Some(moto) = Moto::start_with("a store over TLS", &tls) else { return };
    std::fs::write(dir.path().join("a"), "abc").unwrap();
    let config = |more: Value| {
        let mut config = json!({
            "to": "s3://tls-bucket/p", "sources": [{ "path": dir.path().join("a") }],
            "options": options(&format!("https://127.0.0.1:{}", moto.port())),
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    };
    let known = TestInstance::<StateUploader>::new(&config(json!({ "ca_file": ca }))).unwrap();
    // It comes as far as to be told that there is no such bucket.
    let delivered = known.deliver(&interrupt(1), PLENTY);
    assert!(failed(&delivered, abi::SNOOZE_E_IO).contains("no such bucket"), "{delivered:?}");
    let unknown = TestInstance::<StateUploader>::new(&config(json!({}))).unwrap();
    let delivered = unknown.deliver(&interrupt(1), Duration::from_secs(3));
    assert!(delivered.status < 0 && delivered.result.is_none(), "{delivered:?}");
    // Why is told by the upkeep, which does not try for ever.
    let is_told = || unknown.log().iter().any(|line| line.contains("certificate")).then_some(());
    harness::wait::until("the reason", PLENTY, is_told).unwrap_or_else(|error| panic!("{error}: {:?}", unknown.log()));
}
