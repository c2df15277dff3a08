//! The plugin against a real webhook server: messages, patience, refusals, time, secrets.
#![allow(missing_docs)]

#[path = "../../http/tests/server/mod.rs"]
mod server;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{Canceller, Delivered, TestInstance, spot_interrupt};
use serde_json::{Value, json};
use server::{Answer, Received, SOON, Server};
use slack_notifier::SlackNotifier;
use std::io::Write;
use std::time::{Duration, Instant};

/// The path of the webhook, the secret.
const PATH: &str = "/services/T0HUSH/B0HUSH/hushhushhush";

fn plugin(server: &Server, more: Value) -> TestInstance<SlackNotifier> {
    let mut config = json!({ "webhook_url": server.url(PATH) });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    TestInstance::new(&config).unwrap()
}

fn deliver(plugin: &TestInstance<SlackNotifier>) -> Delivered {
    plugin.deliver(&spot_interrupt(), SOON)
}

/// A webhook that answers the nth message so, from 0, and all questions for the root page with 404.
fn webhook(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Server {
    let count = std::sync::atomic::AtomicUsize::new(0);
    Server::start(move |r: &Received| match r.method.as_str() {
        "POST" => answer(count.fetch_add(1, std::sync::atomic::Ordering::Relaxed)),
        _ => Answer::status(404, ""),
    })
}

/// Everything a delivery lets be seen.
fn output(delivered: &Delivered, plugin: &TestInstance<SlackNotifier>) -> String {
    format!("{delivered:?} {:?}", plugin.log())
}

#[test]
fn the_message_reaches_the_webhook_over_the_connection_opened_ahead() {
    let server = webhook(|_| Answer::ok("ok"));
    let plugin = plugin(&server, json!({"channel": "#cloud-events", "username": "CloudSnooze", "mention": "@here"}));
    assert_eq!(plugin.subscriptions(), ["cloud.*", "system.shutdown", "custom.*"]);
    let delivered = deliver(&plugin);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");

    let calls = server.calls();
    assert_eq!((calls.len(), calls[0].path.as_str()), (1, PATH));
    assert_eq!(calls[0].header("Content-Type"), Some("application/json; charset=utf-8"));
    let message: Value = serde_json::from_str(&calls[0].body).unwrap();
    let headline =
        "Spot interruption: i-0123456789abcdef0 (m5.large, us-east-1a) will be terminated in 2 min, at 03:06:05 UTC";
    assert_eq!(message["text"], format!("<!here> {headline}"));
    assert_eq!((&message["channel"], &message["username"]), (&json!("#cloud-events"), &json!("CloudSnooze")));
    let titles: Vec<_> =
        message["attachments"][0]["fields"].as_array().unwrap().iter().map(|f| f["title"].as_str().unwrap()).collect();
    assert_eq!(titles, ["Event", "Action", "Deadline", "Detected", "Provider", "Source", "Event id"]);
    assert_eq!(server.connections(), 1);

    let result = delivered.result.unwrap();
    assert_eq!(result["evidence"]["connection"], "kept");
    assert_eq!(result["evidence"]["message"], headline);
    assert_eq!(result["evidence"]["acknowledged"], true);
    assert_eq!(result["durable"], "yes");
}

#[test]
fn only_an_acknowledged_message_is_verified_and_only_for_its_event() {
    let server = webhook(|n| if n == 0 { Answer::ok("ok") } else { Answer::ok("<html>Log in</html>") });
    let plugin = plugin(&server, json!({}));
    assert_ne!(plugin.verify(&spot_interrupt(), SOON).status, abi::SNOOZE_OK);
    deliver(&plugin);
    let verified = plugin.verify(&spot_interrupt(), SOON);
    assert_eq!((verified.status, verified.result), (abi::SNOOZE_OK, Some(json!({"acknowledged": true}))));
    let mut other = spot_interrupt();
    other["id"] = json!("01936b7e-5b3a-7000-8000-000000000002");
    assert_ne!(plugin.verify(&other, SOON).status, abi::SNOOZE_OK);

    let delivered = deliver(&plugin);
    assert_eq!(delivered.status, abi::SNOOZE_OK);
    assert_eq!(delivered.result.unwrap()["durable"], "unknown");
    assert_ne!(plugin.verify(&spot_interrupt(), SOON).status, abi::SNOOZE_OK);
}

#[test]
fn a_withdrawn_notice_is_told_too() {
    let server = webhook(|_| Answer::ok("ok"));
    let plugin = plugin(&server, json!({"mention": "@here"}));
    let mut event = spot_interrupt();
    event["type"] = json!("cloud.spot.interrupt.cancelled");
    event["data"]["cancels"] = json!("01936b7e-5b3a-7000-8000-000000000000");
    assert_eq!(plugin.deliver(&event, SOON).status, abi::SNOOZE_OK);
    let message: Value = serde_json::from_str(&server.calls()[0].body).unwrap();
    assert!(message["text"].as_str().unwrap().starts_with("Withdrawn: Spot interruption of i-0123456789abcdef0"));
}

#[test]
fn patience_asked_for_is_given_when_there_is_time() {
    let server = webhook(|n| match n {
        0 => Answer::status(429, "rate_limited").with("Retry-After", "1"),
        _ => Answer::ok("ok"),
    });
    let plugin = plugin(&server, json!({}));
    let started = Instant::now();
    let delivered = deliver(&plugin);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    assert_eq!(delivered.result.unwrap()["evidence"]["attempts"], 2);
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.calls().len(), 2);
}

#[test]
fn more_patience_than_there_is_time_for_is_a_retry_at_once() {
    let server = webhook(|_| Answer::status(429, "rate_limited").with("Retry-After", "30"));
    let started = Instant::now();
    let delivered = deliver(&plugin(&server, json!({})));
    assert_eq!(delivered.status, abi::SNOOZE_E_RETRY, "{delivered:?}");
    assert!(delivered.error.unwrap().contains("asks to wait 30 s"));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_cancel_ends_the_patience() {
    let server = webhook(|_| Answer::status(429, "").with("Retry-After", "50"));
    let plugin = plugin(&server, json!({}));
    let cancel = Canceller::default();
    let started = Instant::now();
    let delivered = std::thread::scope(|scope| {
        scope.spawn(|| {
            server.wait_for_calls(1);
            cancel.cancel(abi::SNOOZE_CANCEL_SUPERSEDED);
        });
        plugin.deliver_cancellable(&spot_interrupt(), 6 * SOON, &cancel)
    });
    assert_eq!(delivered.status, abi::SNOOZE_E_CANCELLED, "{delivered:?}");
    assert!(started.elapsed() < SOON);
    assert_eq!(server.calls().len(), 1);
}

#[test]
fn refusals_say_what_to_do_and_trouble_asks_for_another_attempt() {
    for (status, body, code, text) in [
        (400, "invalid_payload", abi::SNOOZE_E_INTERNAL, "does not understand the message"),
        (403, "invalid_token", abi::SNOOZE_E_DENIED, "revoked"),
        (403, "action_prohibited", abi::SNOOZE_E_DENIED, "administrator"),
        (404, "channel_not_found", abi::SNOOZE_E_CONFIG, "check channel"),
        (404, "no_service", abi::SNOOZE_E_CONFIG, "make a new one"),
        (410, "channel_is_archived", abi::SNOOZE_E_CONFIG, "archived"),
        (308, "", abi::SNOOZE_E_CONFIG, "redirects are not followed"),
        (500, "rollup_error", abi::SNOOZE_E_RETRY, "answered 500: rollup_error"),
        (503, "", abi::SNOOZE_E_RETRY, "answered 503"),
    ] {
        let server = webhook(move |_| Answer::status(status, body).with("Location", "/elsewhere"));
        let plugin = plugin(&server, json!({}));
        let delivered = deliver(&plugin);
        assert_eq!(delivered.status, code, "{delivered:?}");
        assert!(delivered.error.as_ref().unwrap().contains(text), "{delivered:?}");
        assert!(!output(&delivered, &plugin).to_lowercase().contains("hush"), "{delivered:?}");
        assert_eq!(delivered.result.unwrap()["evidence"]["status"], status);
        assert_eq!(server.calls().len(), 1);
        assert_ne!(plugin.verify(&spot_interrupt(), SOON).status, abi::SNOOZE_OK);
    }
}

#[test]
fn trouble_that_passes_is_overcome_by_another_attempt() {
    let server = webhook(|n| if n == 0 { Answer::status(500, "") } else { Answer::ok("ok") });
    let plugin = plugin(&server, json!({}));
    assert_eq!(deliver(&plugin).status, abi::SNOOZE_E_RETRY);
    assert_eq!(deliver(&plugin).status, abi::SNOOZE_OK);
}

#[test]
fn a_webhook_that_is_down_is_a_warning_when_activated_and_a_retry_when_needed() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = json!({"webhook_url": format!("http://127.0.0.1:{port}{PATH}")});
    let plugin = TestInstance::<SlackNotifier>::new(&config).unwrap();
    assert!(plugin.log().iter().any(|line| line.contains("refused")), "{:?}", plugin.log());
    let delivered = deliver(&plugin);
    assert_eq!(delivered.status, abi::SNOOZE_E_RETRY, "{delivered:?}");
    let shown = output(&delivered, &plugin);
    assert!(shown.contains(&format!("http://127.0.0.1:{port}")) && !shown.to_lowercase().contains("hush"), "{shown}");
}

#[test]
fn a_webhook_that_never_answers_costs_the_time_granted() {
    let server = webhook(|_| Answer::Hold);
    let plugin = plugin(&server, json!({}));
    let started = Instant::now();
    let delivered = plugin.deliver(&spot_interrupt(), Duration::from_millis(400));
    assert_eq!(delivered.status, abi::SNOOZE_E_DEADLINE, "{delivered:?}");
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_server_that_is_silent_when_activated_delays_it_by_two_seconds_at_most() {
    let server = Server::start(|r| if r.method == "HEAD" { Answer::Hold } else { Answer::ok("ok") });
    let started = Instant::now();
    let plugin = plugin(&server, json!({}));
    assert!(started.elapsed() < Duration::from_secs(6));
    assert_eq!(deliver(&plugin).status, abi::SNOOZE_OK);
}

#[test]
fn the_webhooks_address_is_in_no_output_even_when_the_server_repeats_it() {
    for status in [200, 400, 403, 404, 500] {
        let server =
            Server::start(move |r| Answer::status(status, format!("no such page {}, token hushhushhush", r.path)));
        let plugin = plugin(&server, json!({}));
        let delivered = deliver(&plugin);
        let shown = output(&delivered, &plugin);
        assert!(shown.contains("no such page [secret], token [secret]"), "{shown}");
        assert!(!shown.to_lowercase().contains("hush"), "{shown}");
    }
}

#[test]
fn https_needs_the_authority_of_the_server() {
    let (server, pem) = Server::start_tls(|_| Answer::ok("ok"));
    let distrusting = plugin(&server, json!({}));
    let delivered = deliver(&distrusting);
    assert_eq!(delivered.status, abi::SNOOZE_E_IO, "{delivered:?}");
    assert!(delivered.error.as_ref().unwrap().contains("TLS"), "{delivered:?}");
    // It tries to connect again, as long as it lives.
    drop(distrusting);
    assert_eq!(server.requests().len(), 0, "nothing is told to a server that cannot prove who it is");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(pem.as_bytes()).unwrap();
    let before = server.connections();
    let trusting = plugin(&server, json!({"ca_file": file.path()}));
    assert_eq!(deliver(&trusting).status, abi::SNOOZE_OK);
    assert_eq!((server.calls().len(), server.connections() - before), (1, 1));
}

#[test]
fn a_configured_proxy_is_used_and_its_password_is_in_no_output() {
    let proxy = Server::start(|_| Answer::status(403, ""));
    let config = json!({
        "webhook_url": format!("https://hooks.example.invalid{PATH}"),
        "proxy": format!("http://u:pa55word@{}", proxy.address),
    });
    let plugin = TestInstance::<SlackNotifier>::new(&config).unwrap();
    let delivered = deliver(&plugin);
    assert_eq!(delivered.status, abi::SNOOZE_E_RETRY, "{delivered:?}");
    let shown = output(&delivered, &plugin);
    assert!(shown.contains("the proxy refused") && !shown.contains("pa55word"), "{shown}");
    assert!(proxy.requests().iter().all(|r| r.method == "CONNECT" && r.path == "hooks.example.invalid:443"));
    assert!(!proxy.requests().is_empty());
}

#[test]
fn proxies_of_the_environment_are_not_asked() {
    // The environment belongs to the whole process, so the test runs itself again as a child with another one.
    if let Ok(url) = std::env::var("CHILD_WEBHOOK_URL") {
        let config = json!({ "webhook_url": url });
        assert_eq!(deliver(&TestInstance::new(&config).unwrap()).status, abi::SNOOZE_OK);
        return;
    }
    let (server, proxy) = (webhook(|_| Answer::ok("ok")), Server::start(|_| Answer::status(502, "")));
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "proxies_of_the_environment_are_not_asked"]).env("CHILD_WEBHOOK_URL", server.url(PATH));
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        child.env(name, proxy.url(""));
    }
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!((server.calls().len(), proxy.requests().len()), (1, 0));
}
