//! The bodies of the AWS service's items, laid out as it does.
//!
//! Responsibilities: write times and JSON the way they are documented or were recorded. Inputs: times, events, the instance.
//! Outputs: bodies. Everything here is pure; it must never know about requests, tokens or faults.

use jiff::{SignedDuration, Timestamp};

use crate::instance::Instance;

/// RFC 3339 with whole seconds, as all spot and rebalance times are: `2017-09-18T08:22:00Z`.
pub(super) fn rfc3339_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The time format of scheduled events, day not zero-padded: `21 Jan 2019 09:00:43 GMT`.
pub(super) fn event_time(time: Timestamp) -> String {
    time.strftime("%-d %b %Y %H:%M:%S GMT").to_string()
}

/// The body of `spot/instance-action` (EC2 user guide, "Spot Instance interruption notices"): one line, a space after
/// each colon and comma.
pub(super) fn instance_action(action: &str, time: Timestamp) -> String {
    format!(r#"{{"action": "{action}", "time": "{}"}}"#, rfc3339_seconds(time))
}

/// The body of `events/recommendations/rebalance` (EC2 user guide, "EC2 instance rebalance recommendations").
pub(super) fn rebalance(notice_time: Timestamp) -> String {
    format!(r#"{{"noticeTime": "{}"}}"#, rfc3339_seconds(notice_time))
}

/// A scheduled event as it is kept, its times resolved.
#[derive(Clone, Debug)]
pub(super) struct ScheduledEvent {
    pub(super) event_id: String,
    pub(super) code: String,
    pub(super) description: String,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Option<Timestamp>,
    pub(super) not_before_deadline: Option<Timestamp>,
    /// `active`, `canceled` or `completed`.
    pub(super) state: &'static str,
}

/// The end of an event whose start moves from `start` to `moved`.
pub(super) fn moved_with(end: Timestamp, start: Timestamp, moved: Timestamp) -> Timestamp {
    end.saturating_add(moved.duration_since(start)).unwrap_or(end)
}

/// The body of `events/maintenance/scheduled` and `…/history` (EC2 user guide, "View scheduled events"), laid out as the
/// guide's example is; without events it is `[]`, as recorded from a real instance in 2023.
pub(super) fn events(events: &[ScheduledEvent]) -> String {
    if events.is_empty() {
        return "[]".to_owned();
    }
    let objects: Vec<String> = events
        .iter()
        .map(|event| {
            let mut fields = vec![
                ("NotBefore", Some(event_time(event.not_before))),
                ("Code", Some(event.code.clone())),
                ("Description", Some(event.description.clone())),
                ("EventId", Some(event.event_id.clone())),
            ];
            if let Some(not_after) = event.not_after {
                fields.push(("NotAfter", Some(event_time(not_after))));
            }
            if let Some(deadline) = event.not_before_deadline {
                fields.push(("NotBeforeDeadline", Some(event_time(deadline))));
            }
            fields.push(("State", Some(event.state.to_owned())));
            object(&fields, "  ")
        })
        .collect();
    format!("[ \n{} \n]", objects.join(", \n"))
}

/// `dynamic/instance-identity/document`, with the fields, order and spacing of a document recorded in 2023.
pub(super) fn identity_document(instance: &Instance) -> String {
    let text = |value: &str| Some(value.to_owned());
    object(
        &[
            ("accountId", text(&instance.account_id)),
            ("architecture", text(&instance.architecture)),
            ("availabilityZone", text(&instance.zone)),
            ("billingProducts", None),
            ("devpayProductCodes", None),
            ("marketplaceProductCodes", None),
            ("imageId", text(&instance.image_id)),
            ("instanceId", text(&instance.id)),
            ("instanceType", text(&instance.instance_type)),
            ("kernelId", None),
            ("pendingTime", text(&instance.pending_time)),
            ("privateIp", text(&instance.private_ip)),
            ("ramdiskId", None),
            ("region", text(instance.region())),
            ("version", text("2017-09-30")),
        ],
        "",
    )
}

/// Credentials are renewed this often and live this long, in seconds: so new ones appear well before the five minutes
/// that the documentation promises ahead of the old ones' end.
const CREDENTIALS_RENEWED_SECONDS: i64 = 3600;
const CREDENTIALS_LIVE_SECONDS: i64 = 6 * 3600;

/// When the credentials served at `now` were made.
fn renewed(now: Timestamp) -> Timestamp {
    let second = now.as_second() - now.as_second().rem_euclid(CREDENTIALS_RENEWED_SECONDS);
    Timestamp::from_second(second).unwrap_or(now)
}

/// `iam/security-credentials/ROLE`, with the documentation's own example keys, which open nothing anywhere.
pub(super) fn credentials(now: Timestamp) -> String {
    let made = renewed(now);
    let expiration = made.saturating_add(SignedDuration::from_secs(CREDENTIALS_LIVE_SECONDS)).unwrap_or(made);
    let text = |value: &str| Some(value.to_owned());
    object(
        &[
            ("Code", text("Success")),
            ("LastUpdated", text(&rfc3339_seconds(made))),
            ("Type", text("AWS-HMAC")),
            ("AccessKeyId", text("ASIAIOSFODNN7EXAMPLE")),
            ("SecretAccessKey", text("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")),
            ("Token", text("token")),
            ("Expiration", text(&rfc3339_seconds(expiration))),
        ],
        "",
    )
}

/// `iam/info` for that role.
pub(super) fn iam_info(instance: &Instance, role: &str, now: Timestamp) -> String {
    let text = |value: &str| Some(value.to_owned());
    let arn = format!("arn:aws:iam::{}:instance-profile/{role}", instance.account_id);
    object(
        &[
            ("Code", text("Success")),
            ("LastUpdated", text(&rfc3339_seconds(renewed(now)))),
            ("InstanceProfileArn", text(&arn)),
            ("InstanceProfileId", text("AIPAJTLBPJLEGREXAMPLE")),
        ],
        "",
    )
}

/// A JSON object the way the real service prints one: a field a line, ` : ` between name and value.
fn object(fields: &[(&str, Option<String>)], indent: &str) -> String {
    let lines: Vec<String> = fields
        .iter()
        .map(|(name, value)| {
            let value = serde_json::Value::from(value.clone());
            format!("{indent}  \"{name}\" : {value}")
        })
        .collect();
    format!("{indent}{{\n{}\n{indent}}}", lines.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_days_are_not_padded() {
        let time: Timestamp = "2019-02-01T09:00:43Z".parse().expect("a valid time");
        assert_eq!(event_time(time), "1 Feb 2019 09:00:43 GMT");
    }

    #[test]
    fn credentials_are_renewed_long_before_they_expire() {
        let now: Timestamp = "2026-01-05T18:59:59Z".parse().expect("a valid time");
        let body: serde_json::Value = serde_json::from_str(&credentials(now)).expect("valid JSON");
        assert_eq!(body["LastUpdated"], "2026-01-05T18:00:00Z");
        assert_eq!(body["Expiration"], "2026-01-06T00:00:00Z");
        let next = now.saturating_add(SignedDuration::from_secs(1)).expect("a valid time");
        assert_ne!(credentials(next), credentials(now));
    }

    #[test]
    fn quotes_in_a_description_stay_valid_json() {
        let body = object(&[("Description", Some("a \"quoted\" word".to_owned())), ("None", None)], "");
        let parsed: serde_json::Value = serde_json::from_str(&body).expect("valid JSON");
        assert_eq!(parsed["Description"], "a \"quoted\" word");
        assert!(parsed["None"].is_null());
    }
}
