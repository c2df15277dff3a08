//! The plugin against a real application server: success, polling, failures, time, secrets.
#![allow(missing_docs)]

#[path = "../../http/tests/server/mod.rs"]
mod server;

use app_checkpointer::AppCheckpointer;
use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{Canceller, Delivered, TestInstance, spot_interrupt};
use serde_json::{Value, json};
use server::{Answer, Received, SOON, Server};
use std::io::Write;
use std::time::{Duration, Instant};

fn plugin(server: &Server, more: Value) -> TestInstance<AppCheckpointer> {
    let mut config = json!({ "app_endpoint": server.url("/api/checkpoint"), "poll_interval_ms": 50 });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    TestInstance::new(&config).unwrap()
}

fn deliver(plugin: &TestInstance<AppCheckpointer>) -> Delivered {
    plugin.deliver(&spot_interrupt(), SOON)
}

/// Delivers and gives the evidence of a handled event.
fn handled(plugin: &TestInstance<AppCheckpointer>) -> Value {
    let delivered = deliver(plugin);
    assert_eq!((delivered.status, &delivered.error), (abi::SNOOZE_OK, &None));
    delivered.result.unwrap()
}

/// Delivers and gives the text of the failure, whose status is `status`.
fn failed(plugin: &TestInstance<AppCheckpointer>, left: Duration, status: abi::snooze_status) -> Delivered {
    let delivered = plugin.deliver(&spot_interrupt(), left);
    assert_eq!(delivered.status, status, "{delivered:?}");
    assert!(delivered.error.is_some(), "{delivered:?}");
    delivered
}

/// An application that answers 202 and is done at the `done_at`th question.
fn slow_application(done_at: usize) -> Server {
    let polls = std::sync::atomic::AtomicUsize::new(0);
    Server::start(move |r: &Received| match r.method.as_str() {
        "POST" => Answer::status(202, r#"{"checkpoint_id":"ck-1","status":"pending","status_url":"status/ck-1"}"#),
        "HEAD" => Answer::ok(""),
        _ if polls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1 < done_at => {
            Answer::ok(r#"{"checkpoint_id":"ck-1","status":"in_progress"}"#)
        }
        _ => Answer::ok(r#"{"checkpoint_id":"ck-1","status":"done","durable":true,"size_bytes":4096}"#),
    })
}

#[test]
fn the_application_is_told_why_and_how_long_and_its_answer_is_the_evidence() {
    let server = Server::start(|_| Answer::ok(r#"{"checkpoint_id":"ck-1","status":"saved","durable":true}"#));
    let plugin = plugin(&server, json!({"token": "t0ken", "headers": {"X-Team": "blue"}}));
    assert_eq!(plugin.subscriptions(), ["cloud.*", "system.shutdown", "custom.*"]);
    let result = handled(&plugin);
    assert_eq!(result["action"], "checkpoint");
    assert_eq!(result["durable"], "yes");
    assert_eq!(result["evidence"]["status"], 200);
    assert_eq!(result["evidence"]["connection"], "kept");
    assert_eq!(result["evidence"]["checkpoint_id"], "ck-1");
    assert_eq!(result["evidence"]["app_response"]["status"], "saved");
    assert_eq!(result["skipped"][0]["step"], "verify");

    let request = &server.calls()[0];
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/api/checkpoint"));
    assert_eq!(request.header("Content-Type"), Some("application/json"));
    assert_eq!(request.header("Authorization"), Some("Bearer t0ken"));
    assert_eq!(request.header("X-Team"), Some("blue"));
    let mut body: Value = serde_json::from_str(&request.body).unwrap();
    let seconds = body["time_remaining"].take().as_f64().unwrap();
    assert!(seconds > 5.0 && seconds <= SOON.as_secs_f64(), "{seconds}");
    let key = "07".repeat(16);
    assert_eq!(request.header("Idempotency-Key"), Some(key.as_str()));
    assert_eq!(
        body,
        json!({
            "reason": "spot_termination", "time_remaining": null, "deadline": "2026-01-02T03:06:05Z",
            "event": {
                "id": "01936b7e-5b3a-7000-8000-000000000001", "type": "cloud.spot.interrupt",
                "action": "terminate", "instance_id": "i-0123456789abcdef0", "simulated": false,
            },
            "idempotency_key": key,
        })
    );
    // Opened ahead by activate, used by the event.
    assert_eq!((server.requests().len(), server.connections()), (2, 1));
}

#[test]
fn the_reason_follows_from_the_event_unless_one_is_configured() {
    let server = Server::start(|_| Answer::ok(""));
    let by_event = plugin(&server, json!({}));
    let kinds = [
        ("cloud.spot.rebalance", "rebalance_recommendation"),
        ("cloud.maintenance.reboot", "maintenance"),
        ("cloud.autoscaling.terminate", "autoscaling_termination"),
        ("cloud.instance.terminate", "instance_termination"),
        ("system.shutdown", "shutdown"),
        ("custom.deploy", "custom.deploy"),
    ];
    for (kind, _) in kinds {
        let mut event = spot_interrupt();
        event["type"] = json!(kind);
        assert_eq!(by_event.deliver(&event, SOON).status, abi::SNOOZE_OK);
    }
    let configured = plugin(&server, json!({"reason": "preemption"}));
    handled(&configured);
    let reasons: Vec<Value> =
        server.calls().iter().map(|r| serde_json::from_str::<Value>(&r.body).unwrap()["reason"].clone()).collect();
    let wanted: Vec<Value> = kinds.iter().map(|(_, reason)| json!(reason)).chain([json!("preemption")]).collect();
    assert_eq!(reasons, wanted);
}

#[test]
fn time_remaining_is_that_of_the_event_when_it_is_shorter_than_the_call() {
    let server = Server::start(|_| Answer::ok(""));
    let plugin = plugin(&server, json!({}));
    let mut event = spot_interrupt();
    event["data"]["timeRemaining"] = json!(2.5);
    plugin.deliver(&event, SOON);
    event["data"].as_object_mut().unwrap().remove("timeRemaining");
    event["data"].as_object_mut().unwrap().remove("time");
    plugin.deliver(&event, SOON);
    let bodies: Vec<Value> = server.calls().iter().map(|r| serde_json::from_str(&r.body).unwrap()).collect();
    assert_eq!(bodies[0]["time_remaining"], 2.5);
    assert!(bodies[1]["time_remaining"].as_f64().unwrap() > 2.5);
    assert_eq!(bodies[1]["deadline"], Value::Null);
}

#[test]
fn a_withdrawn_notice_saves_nothing() {
    let server = Server::start(|_| Answer::ok(""));
    let plugin = plugin(&server, json!({}));
    let mut event = spot_interrupt();
    event["type"] = json!("cloud.spot.interrupt.cancelled");
    assert_eq!(plugin.deliver(&event, SOON).status, abi::SNOOZE_SKIPPED);
    assert_eq!(server.calls().len(), 0);
}

#[test]
fn a_checkpoint_in_progress_is_followed_until_it_is_saved_and_asked_again_by_verify() {
    let server = slow_application(3);
    let plugin = plugin(&server, json!({"verify_success": true}));
    let result = handled(&plugin);
    assert_eq!(result["evidence"]["status"], 202);
    assert_eq!(result["evidence"]["polls"], 3);
    assert_eq!(result["evidence"]["state"], "done");
    assert_eq!(result["durable"], "yes");
    assert_eq!(result["skipped"], json!([]));
    let polls = server.calls();
    assert_eq!(polls.iter().filter(|r| r.path == "/api/status/ck-1").count(), 3);

    let verified = plugin.verify(&spot_interrupt(), SOON);
    assert_eq!(verified.status, abi::SNOOZE_OK, "{verified:?}");
    let evidence = verified.result.unwrap();
    assert_eq!((&evidence["confirmed_by"], &evidence["size"]), (&json!("status_url"), &json!(4096)));
    assert_eq!(server.calls().len(), 5);
    assert_eq!(server.connections(), 1, "every request went over the connection opened ahead");
}

#[test]
fn without_verify_success_nothing_is_polled_and_nothing_is_verified() {
    let server = slow_application(1);
    let plugin = plugin(&server, json!({}));
    assert_eq!(handled(&plugin)["durable"], "unknown");
    assert_ne!(plugin.verify(&spot_interrupt(), SOON).status, abi::SNOOZE_OK);
    assert_eq!(server.calls().len(), 1);
}

#[test]
fn a_location_header_and_a_configured_status_url_are_followed() {
    let script = |r: &Received| match r.path.as_str() {
        "/api/checkpoint" => Answer::status(202, r#"{"checkpoint_id":"a b"}"#).with("Location", "/where"),
        "/where" | "/state/a%20b" => Answer::ok(r#"{"status":"ok"}"#),
        _ => Answer::status(404, ""),
    };
    let server = Server::start(script);
    for (more, path) in [(json!({}), "/where"), (json!({"status_url": "/state/{checkpoint_id}"}), "/state/a%20b")] {
        let mut config = json!({"verify_success": true});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let plugin = plugin(&server, config);
        assert_eq!(handled(&plugin)["evidence"]["state"], "done");
        assert_eq!(server.calls().last().unwrap().path, path);
    }
}

#[test]
fn a_checkpoint_that_is_never_done_costs_the_time_granted_and_is_no_success() {
    let server = slow_application(usize::MAX);
    let plugin = plugin(&server, json!({"verify_success": true}));
    let started = Instant::now();
    let delivered = failed(&plugin, Duration::from_millis(500), abi::SNOOZE_E_DEADLINE);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(3) && took >= Duration::from_millis(440), "{took:?}");
    assert!(delivered.error.unwrap().contains("still says running"));
    let result = delivered.result.unwrap();
    assert_eq!((&result["durable"], &result["evidence"]["state"]), (&json!("unknown"), &json!("running")));
    assert!(result["evidence"]["polls"].as_u64().unwrap() >= 2);
}

#[test]
fn a_checkpoint_that_fails_later_is_a_failure_with_the_applications_words() {
    let server = Server::start(|r| match r.method.as_str() {
        "POST" => Answer::status(202, r#"{"status_url":"/s"}"#),
        _ => Answer::ok(r#"{"status":"failed","error":"disk full"}"#),
    });
    let delivered = failed(&plugin(&server, json!({"verify_success": true})), SOON, abi::SNOOZE_E_INTERNAL);
    assert!(delivered.error.unwrap().ends_with("the checkpoint failed: disk full"));
    assert_eq!(delivered.result.unwrap()["durable"], "no");
}

#[test]
fn another_checkpoints_state_is_not_taken_for_this_ones() {
    let server = Server::start(|r| match (r.method.as_str(), r.total) {
        ("POST", _) => Answer::status(202, r#"{"checkpoint_id":"new"}"#),
        (_, 0..=3) => Answer::ok(r#"{"checkpoint_id":"old","status":"done"}"#),
        _ => Answer::ok(r#"{"checkpoint_id":"new","status":"done"}"#),
    });
    let plugin = plugin(&server, json!({"verify_success": true, "status_url": "/latest"}));
    let result = handled(&plugin);
    assert_eq!((&result["evidence"]["polls"], &result["evidence"]["checkpoint_id"]), (&json!(3), &json!("new")));
}

#[test]
fn a_status_that_fails_for_a_moment_is_asked_again() {
    let server = Server::start(|r| match (r.method.as_str(), r.total) {
        ("POST", _) => Answer::status(202, r#"{"status_url":"/s"}"#),
        ("GET", 2) => Answer::status(503, ""),
        ("GET", 3 | 4) => Answer::Close,
        _ => Answer::ok(r#"{"status":"done"}"#),
    });
    assert_eq!(handled(&plugin(&server, json!({"verify_success": true})))["evidence"]["polls"], 3);
}

#[test]
fn an_application_that_confirms_nothing_is_handled_but_never_verified() {
    let server = Server::start(|_| Answer::ok("OK"));
    let plugin = plugin(&server, json!({"verify_success": true}));
    let result = handled(&plugin);
    assert_eq!(result["durable"], "unknown");
    assert_eq!(result["evidence"]["app_response"], "OK");
    assert_eq!(result["skipped"][0]["step"], "confirm");
    assert!(plugin.log().iter().any(|line| line.contains("not confirmed")), "{:?}", plugin.log());
    let verified = plugin.verify(&spot_interrupt(), SOON);
    assert_eq!((verified.status == abi::SNOOZE_OK, verified.error), (false, None));
}

#[test]
fn verify_tells_a_checkpoint_that_is_gone_and_survives_a_restart_with_a_configured_address() {
    let gone = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_gone = std::sync::Arc::clone(&gone);
    let server = Server::start(move |r| match r.method.as_str() {
        "POST" => Answer::ok(r#"{"status":"done"}"#),
        _ if is_gone.load(std::sync::atomic::Ordering::Relaxed) => Answer::status(404, ""),
        _ => Answer::ok(r#"{"status":"done","durable":true}"#),
    });
    let config = json!({"verify_success": true, "status_url": "/s"});
    // Fresh: it has never seen the event.
    let fresh = plugin(&server, config.clone());
    assert_eq!(fresh.verify(&spot_interrupt(), SOON).status, abi::SNOOZE_OK);
    let plugin = plugin(&server, config);
    handled(&plugin);
    assert_eq!(plugin.verify(&spot_interrupt(), SOON).status, abi::SNOOZE_OK);
    gone.store(true, std::sync::atomic::Ordering::Relaxed);
    let verified = plugin.verify(&spot_interrupt(), SOON);
    assert!(verified.status < 0 && verified.error.unwrap().contains("does not know the checkpoint"));
}

#[test]
fn statuses_decide_whether_another_attempt_is_worth_it() {
    for (status, code, text) in [
        (500, abi::SNOOZE_E_RETRY, "answered 500: no luck"),
        (503, abi::SNOOZE_E_RETRY, "answered 503, asks to wait 3 s"),
        (429, abi::SNOOZE_E_RETRY, "answered 429, asks to wait 3 s"),
        (401, abi::SNOOZE_E_DENIED, "check token and headers"),
        (404, abi::SNOOZE_E_IO, "answered 404"),
        (204, abi::SNOOZE_E_IO, "answered 204"),
        (307, abi::SNOOZE_E_CONFIG, "redirects are not followed"),
    ] {
        let server = Server::start(move |r| match (r.method.as_str(), status) {
            ("HEAD", _) => Answer::ok(""),
            (_, 500) => Answer::status(status, r#"{"error":"no luck"}"#),
            _ => Answer::status(status, "").with("Retry-After", "3").with("Location", "/elsewhere"),
        });
        let plugin = plugin(&server, json!({"expect_status": [200]}));
        let delivered = failed(&plugin, SOON, code);
        assert!(delivered.error.as_ref().unwrap().contains(text), "{delivered:?}");
        assert_eq!(delivered.result.unwrap()["evidence"]["status"], status);
        assert_eq!(server.calls().len(), 1, "one attempt is the host's to count, and no redirect is followed");
    }
}

#[test]
fn another_attempt_after_a_500_carries_the_same_key_and_succeeds() {
    let server = Server::start(|r| match (r.method.as_str(), r.total) {
        ("POST", 1) => Answer::status(500, ""),
        _ => Answer::ok(""),
    });
    let plugin = plugin(&server, json!({}));
    failed(&plugin, SOON, abi::SNOOZE_E_RETRY);
    handled(&plugin);
    let calls = server.calls();
    assert_eq!(calls[0].header("Idempotency-Key"), calls[1].header("Idempotency-Key"));
}

#[test]
fn an_application_that_is_down_is_a_warning_when_activated_and_a_retry_when_needed() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = json!({"app_endpoint": format!("http://127.0.0.1:{port}/c")});
    let plugin = TestInstance::<AppCheckpointer>::new(&config).unwrap();
    assert!(plugin.log().iter().any(|line| line.contains("refused")), "{:?}", plugin.log());
    let delivered = failed(&plugin, SOON, abi::SNOOZE_E_RETRY);
    assert!(delivered.error.unwrap().contains("refused"));
}

#[test]
fn an_application_that_never_answers_costs_the_time_granted() {
    let server = Server::start(|r| if r.method == "HEAD" { Answer::ok("") } else { Answer::Hold });
    let plugin = plugin(&server, json!({}));
    let started = Instant::now();
    failed(&plugin, Duration::from_millis(400), abi::SNOOZE_E_DEADLINE);
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_cancel_ends_the_polling() {
    let server = slow_application(usize::MAX);
    let plugin = plugin(&server, json!({"verify_success": true}));
    let cancel = Canceller::default();
    let started = Instant::now();
    // The plugin's table belongs to one thread; what cancels it may be any.
    let delivered = std::thread::scope(|scope| {
        scope.spawn(|| {
            server.wait_for_calls(2);
            cancel.cancel(abi::SNOOZE_CANCEL_WITHDRAWN);
        });
        plugin.deliver_cancellable(&spot_interrupt(), 6 * SOON, &cancel)
    });
    assert_eq!(delivered.status, abi::SNOOZE_E_CANCELLED, "{delivered:?}");
    assert!(started.elapsed() < SOON);
}

#[test]
fn a_status_address_elsewhere_is_not_asked() {
    let other = Server::start(|_| Answer::ok(r#"{"status":"done"}"#));
    let elsewhere = other.url("/s");
    let server = Server::start(move |_| Answer::status(202, format!(r#"{{"status_url":"{elsewhere}"}}"#)));
    let plugin = plugin(&server, json!({"verify_success": true, "token": "t0ken"}));
    assert_eq!(handled(&plugin)["skipped"][0]["step"], "confirm");
    assert_eq!(other.requests().len(), 0);
    assert!(plugin.log().iter().any(|line| line.contains("elsewhere")), "{:?}", plugin.log());
}

#[test]
fn secrets_are_in_no_output_even_when_the_application_repeats_them() {
    for status in [200, 400, 401, 500] {
        let server = Server::start(move |r| {
            Answer::status(status, format!("I was given {}", r.header("Authorization").unwrap_or_default()))
        });
        let config = json!({"token": "sesame-4711", "headers": {"X-Key": "hunter2"}, "verify_success": true});
        let plugin = plugin(&server, config);
        let delivered = deliver(&plugin);
        let output = format!("{delivered:?} {:?}", plugin.log());
        assert!(output.contains("I was given Bearer [secret]"), "{output}");
        assert!(!output.contains("4711") && !output.contains("hunter2"), "{output}");
    }
}

#[test]
fn https_needs_the_authority_of_the_server() {
    let (server, pem) = Server::start_tls(|_| Answer::ok(r#"{"status":"done"}"#));
    let error = failed(&plugin(&server, json!({})), SOON, abi::SNOOZE_E_IO).error.unwrap();
    assert!(error.contains("TLS"), "{error}");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(pem.as_bytes()).unwrap();
    assert_eq!(handled(&plugin(&server, json!({"ca_file": file.path()})))["evidence"]["state"], "done");
    let missing = TestInstance::<AppCheckpointer>::new(&json!({
        "app_endpoint": server.url("/"), "ca_file": "/nonexistent.pem",
    }));
    assert!(missing.err().unwrap().contains("ca_file /nonexistent.pem"));
}

#[test]
fn proxies_of_the_environment_are_not_asked() {
    // The environment belongs to the whole process, so the test runs itself again as a child with another one.
    if let Ok(url) = std::env::var("CHILD_APP_ENDPOINT") {
        let config = json!({ "app_endpoint": url });
        assert_eq!(deliver(&TestInstance::new(&config).unwrap()).status, abi::SNOOZE_OK);
        return;
    }
    let (server, proxy) = (Server::start(|_| Answer::ok("")), Server::start(|_| Answer::status(502, "")));
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "proxies_of_the_environment_are_not_asked"]).env("CHILD_APP_ENDPOINT", server.url("/c"));
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        child.env(name, proxy.url(""));
    }
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!((server.calls().len(), proxy.requests().len()), (1, 0));
}
