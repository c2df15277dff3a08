//! The plugin against a mail server that shares no code with it: messages, recipients, logins, encryption.
#![allow(missing_docs)]

mod server;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{TestInstance, spot_interrupt};
use email_notifier::EmailNotifier;
use serde_json::{Value, json};
use server::{Mail, SOON};

const HEADLINE: &str =
    "Spot interruption: i-0123456789abcdef0 (m5.large, us-east-1a) will be terminated in 2 min, at 03:06:05 UTC";

#[test]
fn the_message_arrives_over_the_connection_opened_ahead_and_is_well_formed() {
    let Some(mail) = Mail::start(json!({})) else { return };
    let plugin =
        mail.plugin(json!({"to": ["Ann <ann@example.com>", "bob@example.com"], "reply_to": "ops@example.com"}));
    assert_eq!(mail.seen("ehlo", 1).len(), 1, "it was there before the event");
    let delivered = plugin.deliver(&spot_interrupt(), SOON);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let kept = mail.kept(1);
    assert_eq!(kept.len(), 1, "one message for all");
    let message = &kept[0];
    assert_eq!(message["from"], "snooze@example.com");
    assert_eq!(message["to"], json!(["ann@example.com", "bob@example.com"]));
    assert_eq!(message["defects"], json!([]));
    let headers = &message["headers"];
    assert_eq!((&headers["subject"], &headers["auto-submitted"]), (&json!(HEADLINE), &json!("auto-generated")));
    assert_eq!(headers["from"], "CloudSnooze <snooze@example.com>");
    assert_eq!(
        (&headers["to"], &headers["reply-to"]),
        (&json!("Ann <ann@example.com>, bob@example.com"), &json!("ops@example.com"))
    );
    assert_eq!(headers["date"], "Fri, 02 Jan 2026 03:04:05 +0000");
    let id = format!("<{}.{}@example.com>", spot_interrupt()["id"].as_str().unwrap(), "07".repeat(16));
    assert_eq!(headers["message-id"], id);
    assert_eq!(message["type"], "multipart/alternative");
    let text = message["parts"]["text/plain"].as_str().unwrap();
    assert!(text.starts_with(HEADLINE) && text.contains("Machine:   i-0123456789abcdef0 (m5.large)"), "{text}");
    let html = message["parts"]["text/html"].as_str().unwrap();
    assert!(html.contains("border-left: 6px solid #d00000") && html.contains(HEADLINE), "{html}");

    let result = delivered.result.unwrap();
    let evidence = &result["evidence"];
    assert_eq!((&evidence["status"], &evidence["reply"]), (&json!(250), &json!("2.0.0 Ok: queued as 4XYZ")));
    assert_eq!(evidence["accepted"], json!(["ann@example.com", "bob@example.com"]));
    assert_eq!((&evidence["message_id"], &evidence["attempts"]), (&json!(id), &json!(1)));
    assert_eq!((&evidence["connection"], &evidence["bytes"]), (&json!("kept"), &message["bytes"]));
    assert_eq!(mail.seen("connected", 1).len(), 1);
}

#[test]
fn mail_that_waits_on_this_machine_is_neither_durable_nor_verified() {
    let Some(mail) = Mail::start(json!({})) else { return };
    let plugin = mail.plugin(json!({}));
    let delivered = plugin.deliver(&spot_interrupt(), SOON);
    assert_eq!((delivered.status, &delivered.result.unwrap()["durable"]), (abi::SNOOZE_OK, &json!("unknown")));
    assert_eq!(plugin.verify(&spot_interrupt(), SOON).status, abi::SNOOZE_SKIPPED);
}

#[test]
fn templates_and_names_of_any_language_arrive_as_written() {
    let Some(mail) = Mail::start(json!({})) else { return };
    let templates = json!({
        "from": "Schlummer <snooze@example.com>", "to": ["Jörg Müller <joerg@example.com>"],
        "subject": "Achtung Fälligkeit: {{ data.instanceID }}\n!", "text": ".\n{{ data.zone }} — größer\n.\nQUIT",
    });
    assert_eq!(mail.plugin(templates).deliver(&spot_interrupt(), SOON).status, abi::SNOOZE_OK);
    let message = &mail.kept(1)[0];
    assert_eq!(message["headers"]["subject"], "Achtung Fälligkeit: i-0123456789abcdef0 !");
    assert_eq!(message["headers"]["to"], "Jörg Müller <joerg@example.com>");
    assert_eq!((&message["type"], &message["defects"]), (&json!("text/plain"), &json!([])));
    let text = message["parts"]["text/plain"].as_str().unwrap().replace("\r\n", "\n");
    assert_eq!(text.trim_end(), ".\nus-east-1a — größer\n.\nQUIT");
}

#[test]
fn a_plain_text_of_dots_cannot_end_the_message() {
    let Some(mail) = Mail::start(json!({})) else { return };
    let plugin = mail.plugin(json!({"text": "first\n.\nMAIL FROM:<eve@example.com>\n..\nlast"}));
    assert_eq!(plugin.deliver(&spot_interrupt(), SOON).status, abi::SNOOZE_OK);
    let kept = mail.kept(1);
    let text = kept[0]["parts"]["text/plain"].as_str().unwrap().replace("\r\n", "\n");
    assert_eq!((kept.len(), text.trim_end()), (1, "first\n.\nMAIL FROM:<eve@example.com>\n..\nlast"));
}

#[test]
fn logins_and_mail_are_encrypted_before_and_after_the_greeting() {
    for (security, without) in [("starttls", json!([])), ("tls", json!([])), ("starttls", json!(["PLAIN"]))] {
        let options = json!({"security": security, "user": "snooze", "password": "hushhush", "without": without});
        let Some(mail) = Mail::start(options) else { return };
        let plugin = mail
            .plugin(json!({"security": security, "username": "snooze", "password": "hushhush", "ca_file": mail.ca}));
        let delivered = plugin.deliver(&spot_interrupt(), SOON);
        assert_eq!(delivered.status, abi::SNOOZE_OK, "{security}: {delivered:?} {:?}", plugin.log());
        assert_eq!(delivered.result.unwrap()["evidence"]["encrypted"], true);
        assert_eq!(mail.seen("message", 1)[0]["encrypted"], true);
        let logins = mail.seen("login", 1);
        assert!(logins.iter().all(|login| login["encrypted"] == true && login["right"] == true), "{logins:?}");
        assert_eq!(logins[0]["login"], if without == json!([]) { "PLAIN" } else { "LOGIN" });
    }
}

#[test]
fn a_wrong_password_is_denied_and_shown_nowhere_even_when_the_server_repeats_it() {
    let options = json!({"security": "starttls", "user": "snooze", "password": "other"});
    let Some(mail) = Mail::start(options) else { return };
    let plugin =
        mail.plugin(json!({"security": "starttls", "username": "snooze", "password": "hushhush", "ca_file": mail.ca}));
    let delivered = plugin.deliver(&spot_interrupt(), SOON);
    assert_eq!(delivered.status, abi::SNOOZE_E_DENIED, "{delivered:?}");
    let shown = format!("{delivered:?} {:?}", plugin.log());
    assert!(shown.contains("check username and password") && shown.contains("Wrong: [secret]"), "{shown}");
    assert!(!shown.contains("hushhush"), "{shown}");
    assert_eq!(mail.seen("message", 0).len(), 0);
}

#[test]
fn a_server_that_cannot_prove_who_it_is_gets_neither_login_nor_mail() {
    for security in ["starttls", "tls"] {
        let options = json!({"security": security, "user": "snooze", "password": "hushhush"});
        let Some(mail) = Mail::start(options) else { return };
        let login = |more: Value| {
            let mut config = json!({"security": security, "username": "snooze", "password": "hushhush"});
            config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            mail.plugin(config).deliver(&spot_interrupt(), SOON)
        };
        for more in [json!({}), json!({"server": "127.0.0.1", "ca_file": mail.ca})] {
            let delivered = login(more);
            assert_eq!(delivered.status, abi::SNOOZE_E_IO, "{delivered:?}");
            assert!(delivered.error.as_ref().unwrap().contains("TLS: "), "{delivered:?}");
        }
        assert_eq!((mail.seen("login", 0).len(), mail.seen("message", 0).len()), (0, 0));
        assert_eq!(login(json!({"ca_file": mail.ca})).status, abi::SNOOZE_OK);
    }
}

#[test]
fn without_starttls_on_offer_nothing_is_sent_in_the_open() {
    let Some(mail) = Mail::start(json!({})) else { return };
    let plugin = mail.plugin(json!({"security": "starttls", "username": "snooze", "password": "hushhush"}));
    let delivered = plugin.deliver(&spot_interrupt(), SOON);
    assert_eq!(delivered.status, abi::SNOOZE_E_IO, "{delivered:?}");
    assert!(delivered.error.unwrap().contains("offers no STARTTLS"));
    assert_eq!(mail.seen("message", 0).len(), 0);
}

#[test]
fn bad_settings_are_one_clear_sentence() {
    let config =
        json!({"server": "mail.example.com", "security": "none", "from": "a@example.com", "to": ["b@example.com"]});
    let error = TestInstance::<EmailNotifier>::new(&config).err().unwrap();
    assert_eq!(error, "security none is for this machine only; set starttls or tls, or insecure to true");
}
