//! Each fault, as a client that hides nothing sees it.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use fake_metadata::{Action, Effect, FakeMetadata, Fault, GARBAGE};
use jiff::{SignedDuration, Timestamp};

use crate::client::{Connection, PATIENCE, TOKEN, TTL, get, item, put_token, request, start, start_open};

const NOTICE: &str = "/latest/meta-data/spot/instance-action";
const NOTICE_BODY: &str = r#"{"action": "terminate", "time": "2017-09-18T08:22:00Z"}"#;

fn with_notice(effect: Effect) -> FakeMetadata {
    let fake = start_open();
    fake.notice(Action::Terminate, "2017-09-18T08:22:00Z".parse::<Timestamp>().expect("a valid time"));
    fake.set_fault(Fault::new(effect).paths(["spot/*"]));
    fake
}

#[test]
fn a_delay_holds_the_answer_back_and_only_where_asked() {
    let fake = with_notice(Effect::Delay(Duration::from_millis(150)));
    let before = Instant::now();
    assert_eq!(get(&fake, NOTICE).text(), NOTICE_BODY);
    assert!(before.elapsed() >= Duration::from_millis(150));
    let requests = fake.requests();
    assert_eq!(requests[0].faults, ["delay"]);
    assert_eq!(item(&fake, "instance-id").status, 200);
    assert!(fake.requests()[1].faults.is_empty());
}

#[test]
fn a_delayed_request_does_not_hold_up_others() {
    let fake = with_notice(Effect::Delay(PATIENCE));
    let mut slow = Connection::open(fake.address());
    slow.send("GET", NOTICE, &[], "");
    assert_eq!(item(&fake, "instance-id").status, 200);
}

#[test]
fn statuses_come_as_often_as_asked() {
    for code in [500, 503, 429, 403, 404] {
        let fake = start_open();
        fake.set_fault(Fault::new(Effect::Status(code)).paths(["instance-id"]).count(2));
        let statuses: Vec<u16> = (0..4).map(|_| item(&fake, "instance-id").status).collect();
        assert_eq!(statuses, [code, code, 200, 200]);
    }
}

#[test]
fn a_token_storm_refuses_each_token_at_its_first_use() {
    let fake = start();
    let fault = fake.set_fault(Fault::new(Effect::TokenStorm));
    let mut last = String::new();
    for _ in 0..3 {
        last = put_token(&fake, "60").text().to_owned();
        assert_eq!(request(&fake, "GET", NOTICE, &[(TOKEN, &last)]).status, 401);
    }
    assert!(fake.clear_fault(fault));
    assert_eq!(request(&fake, "GET", NOTICE, &[(TOKEN, &last)]).status, 401, "a forgotten token came back");
    let fresh = put_token(&fake, "60").text().to_owned();
    assert_eq!(request(&fake, "GET", NOTICE, &[(TOKEN, &fresh)]).status, 404);
}

#[test]
fn garbage_is_a_success_with_nonsense_in_it() {
    let fake = with_notice(Effect::Garbage(GARBAGE.to_vec()));
    let reply = get(&fake, NOTICE);
    assert_eq!((reply.status, reply.body.as_slice()), (200, GARBAGE));
    assert!(std::str::from_utf8(&reply.body).is_err());
    assert_eq!(fake.first_notice_write(), None);
}

#[test]
fn a_truncated_body_is_shorter_than_promised_and_then_the_connection_ends() {
    let fake = with_notice(Effect::Truncated);
    let mut connection = Connection::open(fake.address());
    connection.send("GET", NOTICE, &[], "");
    let reply = connection.receive(false).expect("a head and half a body");
    assert_eq!(reply.header("Content-Length"), Some(NOTICE_BODY.len().to_string().as_str()));
    assert_eq!(reply.text(), &NOTICE_BODY[..NOTICE_BODY.len() / 2]);
    assert!(connection.is_closed());
}

#[test]
fn a_reset_ends_the_connection_without_a_reply() {
    let fake = with_notice(Effect::Reset);
    let mut connection = Connection::open(fake.address());
    connection.send("GET", NOTICE, &[], "");
    let error = connection.receive(false).expect_err("no reply");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(fake.requests()[0].status, None);
}

#[test]
fn a_drip_sends_the_right_body_slowly() {
    let fake = with_notice(Effect::Drip(Duration::from_millis(2)));
    let before = Instant::now();
    assert_eq!(get(&fake, NOTICE).text(), NOTICE_BODY);
    assert!(before.elapsed() >= Duration::from_millis(2 * NOTICE_BODY.len() as u64));
}

#[test]
fn an_oversized_body_starts_right_and_does_not_say_how_long_it_is() {
    let fake = with_notice(Effect::Oversized(3_000_000));
    let reply = get(&fake, NOTICE);
    assert_eq!(reply.header("Content-Length"), None);
    assert_eq!(reply.body.len(), 3_000_000);
    assert!(reply.text().starts_with(NOTICE_BODY));
    assert!(reply.body[NOTICE_BODY.len()..].iter().all(|byte| *byte == b' '));
}

#[test]
fn a_client_that_hangs_up_on_an_oversized_body_harms_nothing() {
    let fake = with_notice(Effect::Oversized(u64::MAX));
    let mut connection = Connection::open(fake.address());
    connection.send("GET", NOTICE, &[], "");
    assert!(fake.wait_for(1, PATIENCE, |request| request.path == NOTICE).is_some());
    drop(connection);
    assert_eq!(item(&fake, "instance-id").status, 200);
}

#[test]
fn a_redirect_points_elsewhere() {
    let fake = with_notice(Effect::Redirect("http://192.0.2.1/".to_owned()));
    let reply = get(&fake, NOTICE);
    assert_eq!((reply.status, reply.header("Location"), reply.body.len()), (302, Some("http://192.0.2.1/"), 0));
}

#[test]
fn a_wrong_content_type_leaves_the_body_right() {
    let fake = with_notice(Effect::ContentType("text/html; charset=utf-7".to_owned()));
    let reply = get(&fake, NOTICE);
    assert_eq!((reply.header("Content-Type"), reply.text()), (Some("text/html; charset=utf-7"), NOTICE_BODY));
}

#[test]
fn a_drifting_time_moves_at_each_poll() {
    let fake = with_notice(Effect::Drift(SignedDuration::from_secs(5)));
    let times: Vec<String> = (0..3).map(|_| item(&fake, "spot/termination-time").text().to_owned()).collect();
    assert_eq!(times, ["2017-09-18T08:22:00Z", "2017-09-18T08:22:05Z", "2017-09-18T08:22:10Z"]);
    fake.clear_faults();
    assert_eq!(item(&fake, "spot/termination-time").text(), "2017-09-18T08:22:00Z");
}

#[test]
fn a_small_hop_limit_loses_the_token_reply_and_nothing_else() {
    let fake = start_open();
    let fault = fake.set_fault(Fault::new(Effect::HopLimit));
    let mut connection = Connection::open(fake.address());
    connection.send("PUT", "/latest/api/token", &[(TTL, "60")], "");
    let held = fake.wait_for(1, PATIENCE, |request| request.method == "PUT").expect("the request arrived");
    assert_eq!((held[0].status, held[0].faults.as_slice()), (None, &["hop_limit"][..]));
    connection.set_patience(Duration::from_millis(100));
    let error = connection.receive(false).expect_err("no reply");
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    assert_eq!(item(&fake, "instance-id").status, 200);
    assert!(fake.clear_fault(fault));
    assert_eq!(put_token(&fake, "60").status, 200);
}

#[test]
fn a_hanging_request_ends_with_the_service() {
    let fake = with_notice(Effect::Hang);
    let mut connection = Connection::open(fake.address());
    connection.send("GET", NOTICE, &[], "");
    assert!(fake.wait_for(1, PATIENCE, |request| request.path == NOTICE).is_some());
    drop(fake);
    assert!(connection.receive(false).is_err());
}

#[test]
fn connections_can_be_closed_after_each_reply() {
    let fake = start_open();
    fake.set_fault(Fault::new(Effect::Close));
    let mut connection = Connection::open(fake.address());
    connection.send("GET", "/latest/meta-data/instance-id", &[], "");
    let reply = connection.receive(false).expect("a reply");
    assert_eq!((reply.status, reply.header("Connection")), (200, Some("close")));
    assert!(connection.is_closed());
}

#[test]
fn faults_strike_together() {
    let fake = with_notice(Effect::Close);
    fake.set_fault(Fault::new(Effect::Status(503)).count(1));
    assert_eq!(get(&fake, NOTICE).status, 503);
    assert_eq!(fake.requests()[0].faults, ["close", "status"]);
    assert_eq!(get(&fake, NOTICE).text(), NOTICE_BODY);
}

#[test]
fn the_write_of_a_notice_is_stamped_between_its_setting_and_its_reading() {
    let fake = start_open();
    assert_eq!(get(&fake, NOTICE).status, 404);
    assert_eq!(fake.first_notice_write(), None);
    fake.notice(Action::Terminate, Duration::from_secs(120));
    assert_eq!(get(&fake, NOTICE).status, 200);
    let first = fake.first_notice_write().expect("a write");
    assert!(first >= fake.requests()[1].boot_ns);
    assert_eq!(fake.last_notice_write(), Some(first));
    assert_eq!(get(&fake, NOTICE).status, 200);
    assert_eq!(fake.first_notice_write(), Some(first));
    assert!(fake.last_notice_write() > Some(first));
    fake.notice(Action::Stop, Duration::from_secs(60));
    assert_eq!(fake.first_notice_write(), None);
}

#[test]
fn waiting_for_requests_that_do_not_come_ends() {
    let fake = start_open();
    assert!(fake.wait_for(1, Duration::from_millis(20), |_| true).is_none());
    assert_eq!(fake.wait_for(0, Duration::ZERO, |_| true).map(|requests| requests.len()), Some(0));
}
