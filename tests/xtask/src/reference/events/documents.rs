//! One document of every kind that a cloud can say, for the page of the events.
//! Inputs: none. Outputs: documents with their parsers. Times are those of the page. What is said of withdrawals is
//! docs/normalisation.md in short; the revisers that hold it are in `core/src/normalise/revise.rs` and the sources.

use anyhow::Result;
use cloudsnooze::event::Action;
use cloudsnooze::normalise::gcp::{OnHostMaintenance, Upcoming};
use cloudsnooze::normalise::{Notice, Reading, alibaba, aws, azure, gcp, tencent};

/// What a cloud writes, and who reads it.
pub(super) struct Document {
    /// The cloud, for people.
    pub(super) cloud: &'static str,
    /// What stands in it, for people.
    pub(super) says: &'static str,
    /// Whether the document itself states when the cloud acts.
    pub(super) is_stated: bool,
    /// When the event is withdrawn.
    pub(super) withdrawn: &'static str,
    /// The parser, on the document.
    pub(super) read: Read,
}

type Read = Box<dyn Fn(Reading<'_>) -> Result<Option<Notice>>>;

const NEVER: &str = "never";
const CANCELED: &str = "`canceled` or `completed`";
const DISAPPEARS: &str = "it disappears before it has started";
const NONE_AGAIN: &str = "`NONE` again";

fn document(cloud: &'static str, says: &'static str, is_stated: bool, withdrawn: &'static str, read: Read) -> Document {
    Document { cloud, says, is_stated, withdrawn, read }
}

/// All of them.
pub(super) fn documents() -> Vec<Document> {
    let mut all = of_aws();
    all.extend(of_azure());
    all.extend(of_gcp());
    let time = |body: &'static [u8], parser: fn(&[u8], Reading<'_>) -> Result<Option<Notice>, _>| -> Read {
        Box::new(move |reading| Ok(parser(body, reading)?))
    };
    let ends = "`spot/termination-time`";
    all.push(document("Alibaba", ends, true, NEVER, time(b"2026-05-01T12:05:00Z", alibaba::termination_time)));
    all.push(document("Tencent", ends, true, NEVER, time(b"2026-05-01 20:02:00", tencent::termination_time)));
    all
}

fn of_aws() -> Vec<Document> {
    let spot = |says, is_stated, action: &'static str| {
        let body = format!(r#"{{"action": "{action}", "time": "2026-05-01T12:02:00Z"}}"#);
        let read: Read = Box::new(move |reading| Ok(aws::instance_action(body.as_bytes(), reading)?));
        document("AWS", says, is_stated, NEVER, read)
    };
    let scheduled = |says, code: &'static str| {
        let body = format!(
            r#"[{{"NotBefore": "2 May 2026 09:00:00 GMT", "Code": "{code}", "Description": "scheduled",
                "EventId": "instance-event-0d59937288b749b32", "State": "active"}}]"#
        );
        let read: Read =
            Box::new(move |reading| Ok(aws::maintenance(body.as_bytes(), b"[]", reading)?.notices.into_iter().next()));
        document("AWS", says, true, CANCELED, read)
    };
    vec![
        spot("spot `terminate`", true, "terminate"),
        spot("spot `stop`", true, "stop"),
        spot("spot `hibernate`", false, "hibernate"),
        document(
            "AWS",
            "rebalance recommendation",
            false,
            NEVER,
            Box::new(|reading| Ok(Some(aws::rebalance(br#"{"noticeTime": "2026-05-01T11:59:58Z"}"#, reading)?))),
        ),
        document(
            "AWS",
            "Auto Scaling target state `Terminated`",
            false,
            "the target is another state",
            Box::new(|reading| match aws::lifecycle_state(b"Terminated", reading)? {
                aws::Lifecycle::Leaving(notice) => Ok(Some(*notice)),
                aws::Lifecycle::Other => Ok(None),
            }),
        ),
        scheduled("`instance-stop`", "instance-stop"),
        scheduled("`instance-retirement`", "instance-retirement"),
        scheduled("`instance-reboot`", "instance-reboot"),
        scheduled("`system-reboot`", "system-reboot"),
        scheduled("`system-maintenance`", "system-maintenance"),
        scheduled("another code", "of-the-future"),
    ]
}

fn of_azure() -> Vec<Document> {
    let event = |says, withdrawn, event_type: &'static str, status: &'static str, eviction: Action| {
        let not_before = if status == "Started" { "" } else { "Fri, 01 May 2026 12:15:00 GMT" };
        let body = format!(
            r#"{{"DocumentIncarnation": 2, "Events": [{{"EventId": "C7061BAC-AFDC-4513-B24B-AA5F13A16123",
                "EventStatus": "{status}", "EventType": "{event_type}", "ResourceType": "VirtualMachine",
                "Resources": ["i-0123456789abcdef0"], "NotBefore": "{not_before}", "EventSource": "Platform"}}]}}"#
        );
        let read: Read = Box::new(move |reading| {
            let found = azure::document(body.as_bytes(), reading, eviction)?;
            Ok(found.ours.into_iter().next().map(|listed| listed.notice))
        });
        document("Azure", says, status != "Started", withdrawn, read)
    };
    let usual = Action::Terminate;
    vec![
        event("`Preempt`, policy `Delete`", DISAPPEARS, "Preempt", "Scheduled", usual),
        event("`Preempt`, policy `Deallocate`", DISAPPEARS, "Preempt", "Scheduled", Action::Stop),
        event("`Preempt`, started", NEVER, "Preempt", "Started", usual),
        event("`SpotRebalanceRecommendation`", NEVER, "SpotRebalanceRecommendation", "Started", usual),
        event("`Terminate`", DISAPPEARS, "Terminate", "Scheduled", usual),
        event("`Terminate`, started", NEVER, "Terminate", "Started", usual),
        event("`Freeze`", DISAPPEARS, "Freeze", "Scheduled", usual),
        event("`Reboot`", DISAPPEARS, "Reboot", "Scheduled", usual),
        event("`Reboot`, started", NEVER, "Reboot", "Started", usual),
        event("`Redeploy`", DISAPPEARS, "Redeploy", "Scheduled", usual),
        event("`Redeploy`, started", NEVER, "Redeploy", "Started", usual),
        event("another type", DISAPPEARS, "OfTheFuture", "Scheduled", usual),
    ]
}

fn of_gcp() -> Vec<Document> {
    let host = |says, word: &'static [u8]| {
        let read: Read = Box::new(move |reading| Ok(gcp::maintenance_event(word, reading, reading.now)?));
        document("GCP", says, false, NONE_AGAIN, read)
    };
    let upcoming = |says, is_stated, status: &'static str, policy| {
        let body = format!(r#"{{"maintenance_status": "{status}", "window_start_time": "2026-05-02T09:00:00Z"}}"#);
        let read: Read = Box::new(move |reading| match gcp::upcoming(body.as_bytes(), policy, reading)? {
            Upcoming::Planned(notice) | Upcoming::Ongoing(notice) => Ok(Some(*notice)),
            Upcoming::Nothing => Ok(None),
        });
        document("GCP", says, is_stated, "nothing is planned any more", read)
    };
    let preempted: Read = Box::new(|reading| Ok(gcp::preempted(b"TRUE", reading, reading.now, 30_000_000_000)?));
    vec![
        document("GCP", "`preempted` is `TRUE`", false, NEVER, preempted),
        host("`MIGRATE_ON_HOST_MAINTENANCE`", b"MIGRATE_ON_HOST_MAINTENANCE"),
        host("`TERMINATE_ON_HOST_MAINTENANCE`", b"TERMINATE_ON_HOST_MAINTENANCE"),
        host("another word of `maintenance-event`", b"OF_THE_FUTURE"),
        upcoming("`upcoming-maintenance`, planned, policy `TERMINATE`", true, "PENDING", OnHostMaintenance::Terminate),
        upcoming("`upcoming-maintenance`, planned, policy `MIGRATE`", true, "PENDING", OnHostMaintenance::Migrate),
        upcoming(
            "`upcoming-maintenance` `ONGOING`, policy `TERMINATE`",
            false,
            "ONGOING",
            OnHostMaintenance::Terminate,
        ),
        upcoming("`upcoming-maintenance` `ONGOING`, policy `MIGRATE`", false, "ONGOING", OnHostMaintenance::Migrate),
    ]
}
