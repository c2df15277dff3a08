//! Control requests.

use fake_metadata::{FakeMetadata, Options};

use crate::client::{Connection, Reply, get, item, start, start_open};

fn post(fake: &FakeMetadata, name: &str, body: &str) -> Reply {
    let mut connection = Connection::open(fake.address());
    connection.send("POST", &format!("/_control/{name}"), &[("Content-Type", "application/json")], body);
    connection.receive(false).expect("a reply")
}

#[test]
fn a_posted_change_takes_effect() {
    let fake = start_open();
    let reply = post(&fake, "notice", r#"{"action": "stop", "at": "2026-01-05T18:02:00Z"}"#);
    assert_eq!((reply.status, reply.text()), (200, "{\"applied\":\"notice\"}\n"));
    let expected = r#"{"action": "stop", "time": "2026-01-05T18:02:00Z"}"#;
    assert_eq!(item(&fake, "spot/instance-action").text(), expected);
    assert_eq!(post(&fake, "withdraw", "").status, 200);
    assert_eq!(item(&fake, "spot/instance-action").status, 404);
}

#[test]
fn events_and_faults_are_answered_with_their_names() {
    let fake = start_open();
    let reply = post(&fake, "maintenance", r#"{"code": "system-reboot", "event_id": "instance-event-1"}"#);
    assert_eq!(reply.text(), "{\"applied\":\"maintenance\",\"event_id\":\"instance-event-1\"}\n");
    assert_eq!(post(&fake, "cancel-maintenance", r#"{"event_id": "instance-event-1"}"#).status, 200);
    let again = post(&fake, "cancel_maintenance", r#"{"event_id": "instance-event-1"}"#);
    assert_eq!(again.status, 422);
    assert!(again.text().contains("instance-event-1"));
    let reply = post(&fake, "fault", r#"{"kind": "status", "code": 503}"#);
    assert_eq!(reply.text(), "{\"applied\":\"fault\",\"fault\":1}\n");
    assert_eq!(item(&fake, "instance-id").status, 503);
    assert_eq!(post(&fake, "clear-faults", "{}").status, 200, "faults do not strike control requests");
    assert_eq!(item(&fake, "instance-id").status, 200);
}

#[test]
fn a_wrong_change_is_refused_with_the_place_and_changes_nothing() {
    let fake = start_open();
    for (name, body, status, wanted) in [
        ("notice", r#"{"action": "explode"}"#, 422, "request: notice.action: "),
        ("explode", "{}", 422, "unknown variant `explode`"),
        ("notice", "{", 400, "not JSON"),
    ] {
        let reply = post(&fake, name, body);
        assert_eq!(reply.status, status, "{name} {body}");
        assert!(reply.text().contains(wanted), "{wanted:?} is not in: {}", reply.text());
    }
    assert_eq!(item(&fake, "spot/instance-action").status, 404);
}

#[test]
fn a_post_that_a_web_page_could_send_is_refused() {
    let fake = start_open();
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let mut connection = Connection::open(fake.address());
        let body = r#"{"action": "stop"}"#;
        connection.send("POST", "/_control/notice", &[("Content-Type", content_type)], body);
        assert_eq!(connection.receive(false).expect("a reply").status, 415, "{content_type}");
    }
    assert_eq!(item(&fake, "spot/instance-action").status, 404);
}

#[test]
fn the_log_and_the_instance_can_be_read_without_a_token() {
    let fake = start();
    assert_eq!(item(&fake, "instance-id").status, 401);
    let log: serde_json::Value = serde_json::from_str(get(&fake, "/_control/requests").text()).expect("valid JSON");
    assert_eq!(log.as_array().map(Vec::len), Some(1));
    assert_eq!(log[0]["path"], "/latest/meta-data/instance-id");
    assert_eq!((&log[0]["status"], &log[0]["token"]), (&401.into(), &"none".into()));
    let instance: serde_json::Value =
        serde_json::from_str(get(&fake, "/_control/instance").text()).expect("valid JSON");
    assert_eq!((&instance["id"], &instance["region"]), (&"i-1234567890abcdef0".into(), &"us-east-1".into()));
    assert!(get(&fake, "/_control/").text().contains("\"cancel_maintenance\""));
    assert_eq!(get(&fake, "/_control/nothing").status, 405);
}

#[test]
fn control_can_be_turned_off_and_then_looks_like_nothing() {
    let options = Options { control: false, tokens_required: false, ..Options::default() };
    let fake = FakeMetadata::start(options).expect("the service starts");
    assert_eq!(get(&fake, "/_control/requests").status, 404);
    assert_eq!(post(&fake, "notice", r#"{"action": "stop"}"#).status, 405);
    assert_eq!(item(&fake, "spot/instance-action").status, 404);
}

#[test]
fn a_client_that_asks_before_sending_is_told_to_go_on() {
    let fake = start_open();
    let mut connection = Connection::open(fake.address());
    let body = r#"{"action": "stop"}"#;
    let head = format!(
        "POST /_control/notice HTTP/1.1\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    connection.send_bytes(head.as_bytes());
    assert_eq!(connection.receive(true).expect("leave to go on").status, 100);
    connection.send_bytes(body.as_bytes());
    assert_eq!(connection.receive(false).expect("a reply").status, 200);
}
