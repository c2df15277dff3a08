//! Bodies and statuses, byte for byte as documented or recorded.

use std::collections::BTreeMap;
use std::time::Duration;

use fake_metadata::{Action, Body, ChangeError, FakeMetadata, Instance, Maintenance, Options};
use jiff::Timestamp;

use crate::client::{get, item, request, start_open};

/// Recorded from a real instance by a debugging AWS CLI, 2023-09-15 ("404 339").
const NOT_FOUND: &str = concat!(
    "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n",
    "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\"\n",
    "\t\t \"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\n",
    "<html xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\" lang=\"en\">\n",
    " <head>\n",
    "  <title>404 - Not Found</title>\n",
    " </head>\n",
    " <body>\n",
    "  <h1>404 - Not Found</h1>\n",
    " </body>\n",
    "</html>\n",
);

fn at(text: &str) -> Timestamp {
    text.parse().expect("a valid time")
}

fn playing(instance: Instance) -> FakeMetadata {
    let options = Options { tokens_required: false, instance, ..Options::default() };
    FakeMetadata::start(options).expect("the service starts")
}

#[test]
fn nothing_is_announced_at_first() {
    let fake = start_open();
    for path in [
        "spot/instance-action",
        "spot/termination-time",
        "spot/",
        "events/recommendations/rebalance",
        "autoscaling/target-lifecycle-state",
        "iam/security-credentials/",
        "tags/instance/Name",
        "no/such/thing",
    ] {
        let reply = item(&fake, path);
        assert_eq!((reply.status, reply.reason.as_str(), reply.text()), (404, "Not Found", NOT_FOUND), "{path}");
        assert_eq!(reply.header("Content-Length"), Some("339"), "{path}");
    }
    for path in ["events/maintenance/scheduled", "events/maintenance/history"] {
        let reply = item(&fake, path);
        assert_eq!((reply.status, reply.text()), (200, "[]"), "{path}");
    }
}

#[test]
fn a_termination_notice_sets_both_items() {
    let fake = start_open();
    fake.notice(Action::Terminate, at("2017-09-18T08:22:00Z"));
    let reply = item(&fake, "spot/instance-action");
    assert_eq!((reply.status, reply.text()), (200, r#"{"action": "terminate", "time": "2017-09-18T08:22:00Z"}"#));
    let reply = item(&fake, "spot/termination-time");
    assert_eq!((reply.status, reply.text()), (200, "2017-09-18T08:22:00Z"));
    assert_eq!(item(&fake, "spot/").text(), "instance-action\ntermination-time");
}

#[test]
fn a_stop_or_hibernation_leaves_the_old_item_absent() {
    let fake = start_open();
    for (action, word) in [(Action::Stop, "stop"), (Action::Hibernate, "hibernate")] {
        fake.notice(action, at("2026-02-01T00:00:09.999Z"));
        let expected = format!(r#"{{"action": "{word}", "time": "2026-02-01T00:00:09Z"}}"#);
        assert_eq!(item(&fake, "spot/instance-action").text(), expected);
        assert_eq!(item(&fake, "spot/termination-time").status, 404);
    }
}

#[test]
fn a_notice_can_be_counted_from_now_and_withdrawn() {
    let fake = start_open();
    let before = Timestamp::now().as_second();
    fake.notice(Action::Terminate, Duration::from_secs(120));
    let ends = at(item(&fake, "spot/termination-time").text()).as_second();
    assert!((before + 120..=Timestamp::now().as_second() + 120).contains(&ends));
    fake.withdraw();
    assert_eq!(item(&fake, "spot/instance-action").status, 404);
    assert_eq!(item(&fake, "spot/termination-time").status, 404);
}

#[test]
fn the_old_item_can_say_something_else_than_a_time() {
    let fake = start_open();
    fake.termination_time(Some("none"));
    assert_eq!(item(&fake, "spot/termination-time").text(), "none");
    fake.notice(Action::Terminate, at("2017-09-18T08:22:00Z"));
    fake.termination_time(None);
    assert_eq!(item(&fake, "spot/termination-time").status, 404);
    assert_eq!(item(&fake, "spot/instance-action").status, 200);
}

#[test]
fn a_recommendation_tells_when_it_was_emitted_and_stays() {
    let fake = start_open();
    let before = Timestamp::now().as_second();
    fake.rebalance();
    let body = item(&fake, "events/recommendations/rebalance").text().to_owned();
    let time = body.strip_prefix(r#"{"noticeTime": ""#).and_then(|rest| rest.strip_suffix(r#""}"#)).expect(&body);
    assert!((before..=Timestamp::now().as_second()).contains(&at(time).as_second()));
    fake.notice(Action::Terminate, Duration::from_secs(120));
    fake.withdraw();
    assert_eq!(item(&fake, "events/recommendations/rebalance").text(), body);
    fake.clear_rebalance();
    assert_eq!(item(&fake, "events/recommendations/rebalance").status, 404);
}

/// The example of the EC2 user guide, "View scheduled events".
#[test]
fn a_scheduled_event_reads_as_documented_and_moves_to_the_history_when_canceled() {
    let fake = start_open();
    let mut event = Maintenance::new("system-reboot", at("2019-01-21T09:00:43Z"));
    event.event_id = Some("instance-event-0d59937288b749b32".to_owned());
    event.not_after = Some(at("2019-01-21T09:17:23Z").into());
    let event_id = fake.maintenance(event.clone()).expect("a new event");
    assert_eq!(event_id, "instance-event-0d59937288b749b32");
    let scheduled = concat!(
        "[ \n  {\n    \"NotBefore\" : \"21 Jan 2019 09:00:43 GMT\",\n    \"Code\" : \"system-reboot\",\n",
        "    \"Description\" : \"scheduled reboot\",\n    \"EventId\" : \"instance-event-0d59937288b749b32\",\n",
        "    \"NotAfter\" : \"21 Jan 2019 09:17:23 GMT\",\n    \"State\" : \"active\"\n  } \n]",
    );
    assert_eq!(item(&fake, "events/maintenance/scheduled").text(), scheduled);
    let refused = fake.maintenance(event.clone());
    assert_eq!(refused, Err(ChangeError::DuplicateEvent { event_id: event_id.clone() }));

    fake.cancel_maintenance(&event_id).expect("a scheduled event");
    assert_eq!(item(&fake, "events/maintenance/scheduled").text(), "[]");
    let history: serde_json::Value =
        serde_json::from_str(item(&fake, "events/maintenance/history").text()).expect("valid JSON");
    assert_eq!(history[0]["Description"], "[Canceled] scheduled reboot");
    assert_eq!(history[0]["State"], "canceled");
    let again = fake.cancel_maintenance(&event_id);
    assert_eq!(again, Err(ChangeError::UnknownEvent { event_id: event_id.clone() }));

    // The same id may come back, and then stands in the history twice, as in the documentation's example.
    fake.maintenance(event).expect("an id that is free again");
    fake.complete_maintenance(&event_id).expect("a scheduled event");
    let history: serde_json::Value =
        serde_json::from_str(item(&fake, "events/maintenance/history").text()).expect("valid JSON");
    assert_eq!(history.as_array().map(Vec::len), Some(2));
    assert_eq!(history[1]["Description"], "[Completed] scheduled reboot");
    assert_eq!((&history[1]["EventId"], &history[1]["State"]), (&history[0]["EventId"], &"completed".into()));
}

#[test]
fn scheduled_events_without_an_end_have_none_and_get_ids_of_their_own() {
    let fake = start_open();
    let mut event = Maintenance::new("instance-stop", at("2026-03-01T00:00:00Z"));
    event.not_before_deadline = Some(at("2026-03-09T00:00:00Z").into());
    let first = fake.maintenance(event.clone()).expect("a new event");
    let second = fake.maintenance(event).expect("a new event");
    assert_ne!(first, second);
    let body = item(&fake, "events/maintenance/scheduled");
    let events: serde_json::Value = serde_json::from_str(body.text()).expect("valid JSON");
    assert_eq!(events.as_array().map(Vec::len), Some(2));
    assert_eq!(events[1]["NotBeforeDeadline"], "9 Mar 2026 00:00:00 GMT");
    assert!(events[0].get("NotAfter").is_none());
}

#[test]
fn the_lifecycle_state_is_plain_text() {
    let fake = start_open();
    fake.lifecycle_state(Some("Terminated"));
    let reply = item(&fake, "autoscaling/target-lifecycle-state");
    assert_eq!((reply.status, reply.text()), (200, "Terminated"));
    fake.lifecycle_state(None);
    assert_eq!(item(&fake, "autoscaling/target-lifecycle-state").status, 404);
}

#[test]
fn every_reply_is_plain_text_and_comes_from_ec2ws() {
    let fake = start_open();
    fake.notice(Action::Terminate, Duration::from_secs(120));
    for path in ["spot/instance-action", "instance-id", "", "events/maintenance/scheduled"] {
        let reply = item(&fake, path);
        assert_eq!(reply.header("Content-Type"), Some("text/plain"), "{path}");
        assert_eq!(reply.header("Server"), Some("EC2ws"), "{path}");
        assert_eq!(reply.header("Accept-Ranges"), Some("none"), "{path}");
        assert!(reply.header("Date").is_some_and(|date| date.ends_with(" GMT")), "{path}");
        assert!(reply.header("Last-Modified").is_some(), "{path}");
        assert_eq!(reply.header("Connection"), None, "{path}");
    }
}

#[test]
fn the_instance_is_the_one_asked_for() {
    let fake = playing(Instance {
        id: "i-0123456789abcdef0".to_owned(),
        instance_type: "c7g.xlarge".to_owned(),
        zone: "eu-west-1b".to_owned(),
        zone_id: "euw1-az1".to_owned(),
        life_cycle: Some("on-demand".to_owned()),
        ..Instance::default()
    });
    for (path, expected) in [
        ("instance-id", "i-0123456789abcdef0"),
        ("instance-type", "c7g.xlarge"),
        ("instance-life-cycle", "on-demand"),
        ("instance-action", "none"),
        ("placement/availability-zone", "eu-west-1b"),
        ("placement/availability-zone-id", "euw1-az1"),
        ("placement/region", "eu-west-1"),
    ] {
        let reply = item(&fake, path);
        assert_eq!((reply.status, reply.text()), (200, expected), "{path}");
    }
    let old = playing(Instance { life_cycle: None, ..Instance::default() });
    assert_eq!(item(&old, "instance-life-cycle").status, 404);
}

/// Fields, order and spacing of a document a user posted in 2023.
#[test]
fn the_identity_document_reads_as_recorded() {
    let expected = r#"{
  "accountId" : "123456789012",
  "architecture" : "x86_64",
  "availabilityZone" : "us-east-1a",
  "billingProducts" : null,
  "devpayProductCodes" : null,
  "marketplaceProductCodes" : null,
  "imageId" : "ami-0abcdef1234567890",
  "instanceId" : "i-1234567890abcdef0",
  "instanceType" : "m5.large",
  "kernelId" : null,
  "pendingTime" : "2026-01-05T10:15:30Z",
  "privateIp" : "10.0.0.5",
  "ramdiskId" : null,
  "region" : "us-east-1",
  "version" : "2017-09-30"
}"#;
    let reply = get(&start_open(), "/latest/dynamic/instance-identity/document");
    assert_eq!((reply.status, reply.header("Content-Type"), reply.text()), (200, Some("text/plain"), expected));
}

#[test]
fn a_role_has_a_name_and_credentials_that_open_nothing() {
    let fake = playing(Instance { role: Some("web".to_owned()), ..Instance::default() });
    assert_eq!(item(&fake, "iam/security-credentials/").text(), "web");
    let body = item(&fake, "iam/security-credentials/web");
    assert!(body.text().starts_with("{\n  \"Code\" : \"Success\",\n  \"LastUpdated\" : \""));
    let credentials: serde_json::Value = serde_json::from_str(body.text()).expect("valid JSON");
    assert_eq!(credentials["Type"], "AWS-HMAC");
    assert_eq!(credentials["AccessKeyId"], "ASIAIOSFODNN7EXAMPLE");
    let expires = at(credentials["Expiration"].as_str().expect("a text"));
    assert!(expires.as_second() - Timestamp::now().as_second() > 300);
    assert_eq!(item(&fake, "iam/security-credentials/other").status, 404);
}

#[test]
fn tags_and_user_data_are_there_only_when_allowed() {
    let tags = BTreeMap::from([("Name".to_owned(), "web-1".to_owned()), ("team".to_owned(), "a b".to_owned())]);
    let user_data = Some("#!/bin/sh\n".to_owned());
    let fake = playing(Instance { tags: Some(tags), user_data, ..Instance::default() });
    assert_eq!(item(&fake, "tags/instance/").text(), "Name\nteam");
    assert_eq!(item(&fake, "tags/instance/team").text(), "a b");
    let reply = get(&fake, "/latest/user-data");
    assert_eq!((reply.text(), reply.header("Content-Type")), ("#!/bin/sh\n", Some("application/octet-stream")));
    assert_eq!(get(&start_open(), "/latest/user-data").status, 404);
}

#[test]
fn directories_list_their_children() {
    let fake = start_open();
    fake.rebalance();
    assert!(get(&fake, "/").text().starts_with("1.0\n2007-01-19\n"));
    assert!(get(&fake, "/").text().ends_with("\nlatest"));
    assert_eq!(get(&fake, "/latest/").text(), "dynamic\nmeta-data");
    assert_eq!(get(&fake, "/latest/dynamic/").text(), "instance-identity/");
    assert_eq!(item(&fake, "events/").text(), "maintenance/\nrecommendations/");
    assert_eq!(item(&fake, "events").text(), "maintenance/\nrecommendations/");
    let all = item(&fake, "");
    assert!(all.text().starts_with("ami-id\nami-launch-index\nevents/\nhostname\n"), "{}", all.text());
    assert_eq!(item(&fake, "instance-id/").text(), item(&fake, "instance-id").text());
}

#[test]
fn dated_versions_serve_the_same_and_unknown_ones_nothing() {
    let fake = start_open();
    assert_eq!(get(&fake, "/2021-03-23/meta-data/instance-id").text(), "i-1234567890abcdef0");
    assert_eq!(get(&fake, "/2021-03-24/meta-data/instance-id").status, 404);
    assert_eq!(get(&fake, "/latest/meta-data/instance-id?x=1").text(), "i-1234567890abcdef0");
}

#[test]
fn head_has_the_headers_and_no_body() {
    let fake = start_open();
    let present = request(&fake, "HEAD", "/latest/meta-data/instance-id", &[]);
    assert_eq!((present.status, present.header("Content-Length")), (200, Some("19")));
    let absent = request(&fake, "HEAD", "/latest/meta-data/spot/termination-time", &[]);
    assert_eq!((absent.status, absent.header("Content-Length")), (404, Some("0")));
    assert_eq!(absent.header("Content-Type"), Some("text/plain"));
}

#[test]
fn any_item_can_be_replaced_and_restored() {
    let fake = start_open();
    fake.body("instance-type", Body::Text("x".to_owned()));
    assert_eq!(item(&fake, "instance-type").text(), "x");
    fake.body("instance-type", Body::Absent);
    assert_eq!(item(&fake, "instance-type").status, 404);
    fake.body("instance-type", Body::Usual);
    assert_eq!(item(&fake, "instance-type").text(), "m5.large");
}

#[test]
fn other_methods_are_not_allowed() {
    let fake = start_open();
    for method in ["POST", "DELETE", "PATCH"] {
        assert_eq!(request(&fake, method, "/latest/meta-data/instance-id", &[]).status, 405, "{method}");
    }
}
