//! The webhook receiver takes what Slack takes and refuses what Slack refuses.

use harness::webhook::{Reply, SECRET, Webhook};

use crate::client::{get, post};

const MESSAGE: &str = r##"{"channel": "#cloud-events", "text": "i-1 will be terminated"}"##;

#[test]
fn a_message_is_acknowledged_and_kept() {
    let webhook = Webhook::start().expect("it starts");
    let reply = post(&webhook.url(), MESSAGE);
    assert_eq!((reply.status, reply.text.as_str()), (200, "ok"));
    let messages = webhook.messages();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].payload["channel"], "#cloud-events");
    assert!(messages[0].says("i-1") && !messages[0].says("i-2"));
}

#[test]
fn texts_anywhere_in_a_message_are_found() {
    let webhook = Webhook::start().expect("it starts");
    let blocks = r#"{"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "i-0abc goes"}}]}"#;
    assert_eq!(post(&webhook.url(), blocks).status, 200);
    assert!(webhook.messages()[0].says("i-0abc"));
}

#[test]
fn what_is_no_message_is_refused_and_not_kept() {
    let webhook = Webhook::start().expect("it starts");
    let bad =
        ["", "no JSON", "[]", "\"text\"", "{}", r#"{"text": ""}"#, r#"{"blocks": []}"#, r#"{"attachments": [1]}"#];
    for body in bad {
        let reply = post(&webhook.url(), body);
        assert_eq!((reply.status, reply.text.as_str()), (400, "invalid_payload"), "{body:?}");
    }
    assert!(webhook.messages().is_empty());
    assert_eq!(webhook.requests().len(), bad.len());
}

#[test]
fn a_wrong_address_or_method_is_refused() {
    let webhook = Webhook::start().expect("it starts");
    let wrong = webhook.url().replace(SECRET, "another");
    assert_eq!(post(&wrong, MESSAGE).text, "no_service");
    assert_eq!(get(&webhook.url()).status, 405);
    assert!(webhook.messages().is_empty());
}

#[test]
fn the_script_is_played_in_order_and_then_messages_are_taken() {
    let webhook = Webhook::start().expect("it starts");
    webhook.script([Reply::TooMany { retry_after_seconds: 7 }, Reply::NoService, Reply::Broken]);
    assert_eq!(post(&webhook.url(), "{}").status, 400, "what is no message uses up no reply");
    let limited = post(&webhook.url(), MESSAGE);
    assert_eq!((limited.status, limited.retry_after.as_deref()), (429, Some("7")));
    assert_eq!(post(&webhook.url(), MESSAGE).text, "no_service");
    assert_eq!(post(&webhook.url(), MESSAGE).status, 500);
    assert!(webhook.messages().is_empty());
    assert_eq!(post(&webhook.url(), MESSAGE).status, 200);
    assert_eq!(webhook.messages().len(), 1);
}
