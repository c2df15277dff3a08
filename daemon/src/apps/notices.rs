//! Which notices are open, and how one is told: pure.
//!
//! Inputs: events as they are published, moved, withdrawn and done, the time. Outputs: the list, the most urgent first.
//! Must never grow without bound: a flood of events that mean little pushes out none that means more.
//!
//! A notice is open from its publication until the cloud has acted or withdrawn it, and its handlers have ended: scripts
//! that look later than the handlers need it too.

use crate::event::{Event, EventId, Moment, Severity};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Most notices listed at once.
pub const OPEN_MAX: usize = 64;
/// Longest text in a notice, bytes; what the daemon itself writes is shorter.
const TEXT_BYTES_MAX: usize = 256;

/// One notice as applications and scripts read it. What is not known is null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// Type, such as `cloud.spot.interrupt`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Identity of the event.
    pub id: String,
    /// What the cloud will do.
    pub action: String,
    /// `info`, `warning`, `urgent`, `critical`.
    pub severity: String,
    /// Made by an operator, for practice.
    pub simulated: bool,
    /// When the cloud acts, RFC 3339 in UTC.
    pub deadline: Option<String>,
    /// The same in seconds since 1970.
    #[serde(default)]
    pub deadline_epoch: Option<f64>,
    /// Seconds until then, when this was written; never negative.
    #[serde(default)]
    pub seconds_left: Option<f64>,
}

/// Seconds since 1970, to the millisecond.
#[allow(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit")]
pub fn epoch(wall_ns: i64) -> f64 {
    (wall_ns / 1_000_000) as f64 / 1_000.0
}

#[allow(clippy::cast_precision_loss, reason = "seconds for people, milliseconds are kept")]
fn seconds_until(effective: Moment, now: Moment) -> f64 {
    (effective.boot_ns.saturating_sub(now.boot_ns).max(0) / 1_000_000) as f64 / 1_000.0
}

impl Notice {
    /// The notice of an event with this deadline, as of now.
    pub fn new(event: &Event, effective: Option<Moment>, now: Moment) -> Self {
        let notice = Self {
            event_type: event.event_type.to_string(),
            id: event.id.to_string(),
            action: event.action.as_str().to_owned(),
            severity: event.severity.as_str().to_owned(),
            simulated: event.simulated,
            deadline: None,
            deadline_epoch: None,
            seconds_left: None,
        };
        notice.at(effective, now)
    }

    /// The same with this deadline, as of now.
    #[must_use]
    pub fn at(mut self, effective: Option<Moment>, now: Moment) -> Self {
        self.deadline = effective.map(Moment::rfc3339);
        self.deadline_epoch = effective.map(|e| epoch(e.wall_ns));
        self.seconds_left = effective.map(|e| seconds_until(e, now));
        self
    }

    /// When the cloud acts, as its text says. None: not known, or no time.
    pub fn effective(&self, now: Moment) -> Option<Moment> {
        let stamp: jiff::Timestamp = self.deadline.as_deref()?.parse().ok()?;
        Some(Moment::at_wall(i64::try_from(stamp.as_nanosecond()).ok()?, now))
    }

    /// Whether the texts are as short as they can be expected to be.
    pub fn is_sane(&self) -> bool {
        let texts = [&self.event_type, &self.id, &self.action, &self.severity];
        texts.iter().all(|text| text.len() <= TEXT_BYTES_MAX)
    }
}

/// The whole file.
#[derive(Debug, PartialEq, Serialize)]
pub struct Document {
    /// When this was written, RFC 3339 in UTC.
    pub written: String,
    /// The same in seconds since 1970.
    pub written_epoch: f64,
    /// The open notices, the most urgent first.
    pub events: Vec<Notice>,
}

struct Open {
    event: Arc<Event>,
    effective: Option<Moment>,
    /// Its handlers have ended.
    is_done: bool,
}

impl Open {
    fn is_over(&self, now: Moment) -> bool {
        self.is_done && self.effective.is_none_or(|e| e.boot_ns <= now.boot_ns)
    }

    /// The least comes first: severe, soon, old.
    fn rank(&self) -> (std::cmp::Reverse<Severity>, i64, i64) {
        let soon = self.effective.map_or(i64::MAX, |e| e.boot_ns);
        (std::cmp::Reverse(self.event.severity), soon, self.event.detected.boot_ns)
    }
}

/// The open notices.
#[derive(Default)]
pub struct Notices(Vec<Open>);

impl Notices {
    /// An event was published, or taken up again after a restart. Returns whether the list is another one now.
    pub fn published(&mut self, event: &Arc<Event>) -> bool {
        if let Some(withdrawn) = event.cancels {
            return self.remove(withdrawn);
        }
        if event.is_self_test() || event.event_type.is_cancelled() {
            return false;
        }
        if let Some(known) = self.find(event.id) {
            known.is_done = false;
            return false;
        }
        self.0.push(Open { event: Arc::clone(event), effective: event.effective, is_done: false });
        self.0.sort_by_key(Open::rank);
        self.0.truncate(OPEN_MAX);
        true
    }

    /// An event of before a restart whose handlers had ended, and which the cloud has not withdrawn.
    pub fn known(&mut self, event: Event, now: Moment) {
        if event.effective.is_some_and(|e| e.boot_ns > now.boot_ns) {
            let id = event.id;
            self.published(&Arc::new(event));
            self.done(id);
        }
    }

    /// The cloud moved a deadline. Returns whether the list is another one now.
    pub fn moved(&mut self, id: EventId, effective: Moment) -> bool {
        let Some(known) = self.find(id) else { return false };
        known.effective = Some(effective);
        self.0.sort_by_key(Open::rank);
        true
    }

    /// The handlers of an event have ended. Returns whether somebody has to look for what is over.
    pub fn done(&mut self, id: EventId) -> bool {
        self.find(id).is_some_and(|known| {
            known.is_done = true;
            known.effective.is_none()
        })
    }

    /// Drops what is over. Returns whether the list is another one now.
    pub fn expire(&mut self, now: Moment) -> bool {
        let before = self.0.len();
        self.0.retain(|open| !open.is_over(now));
        self.0.len() < before
    }

    /// Nanoseconds until the next notice may be over; None: none will without something happening.
    pub fn next_expiry_ns(&self, now: Moment) -> Option<i64> {
        let due = self.0.iter().filter(|open| open.is_done).filter_map(|open| open.effective);
        due.map(|e| e.boot_ns.saturating_sub(now.boot_ns).max(0)).min()
    }

    /// The list as of now.
    pub fn document(&self, now: Moment) -> Document {
        let events = self.0.iter().map(|open| Notice::new(&open.event, open.effective, now));
        Document { written: now.rfc3339(), written_epoch: epoch(now.wall_ns), events: events.collect() }
    }

    fn find(&mut self, id: EventId) -> Option<&mut Open> {
        self.0.iter_mut().find(|open| open.event.id == id)
    }

    fn remove(&mut self, id: EventId) -> bool {
        let before = self.0.len();
        self.0.retain(|open| open.event.id != id);
        self.0.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apps::tests::{NOW, SECOND_NS, event};
    use serde_json::json;

    fn listed(notices: &Notices) -> Vec<String> {
        notices.document(NOW).events.into_iter().map(|notice| notice.event_type).collect()
    }

    #[test]
    fn a_notice_is_told_with_its_time_in_three_forms() {
        let mut notices = Notices::default();
        assert!(notices.published(&event("cloud.spot.interrupt", Some(120.0))));
        let document = serde_json::to_value(notices.document(NOW.plus_ns(30 * SECOND_NS))).expect("JSON");
        let id = document["events"][0]["id"].clone();
        let expected = json!({
            "written": "2026-05-01T12:00:30Z", "written_epoch": 1_777_636_830.0,
            "events": [{"type": "cloud.spot.interrupt", "id": id, "action": "terminate", "severity": "urgent",
                "simulated": true, "deadline": "2026-05-01T12:02:00Z", "deadline_epoch": 1_777_636_920.0, "seconds_left": 90.0}],
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn a_notice_stays_open_until_its_handlers_have_ended_and_its_time_has_come() {
        let mut notices = Notices::default();
        let soon = event("cloud.spot.interrupt", Some(10.0));
        notices.published(&soon);
        let past = NOW.plus_ns(11 * SECOND_NS);
        assert!(!notices.expire(past), "its handlers still run");
        notices.done(soon.id);
        assert!(!notices.expire(NOW), "the cloud has not acted");
        assert_eq!(notices.next_expiry_ns(NOW), Some(10 * SECOND_NS));
        assert!(notices.expire(past));
        assert_eq!((listed(&notices).len(), notices.next_expiry_ns(NOW)), (0, None));
        let never = event("cloud.spot.rebalance", None);
        notices.published(&never);
        assert!(notices.done(never.id) && notices.expire(NOW), "without a time it ends with its handlers");
    }

    #[test]
    fn a_withdrawn_notice_goes_and_a_moved_one_has_its_new_time() {
        let mut notices = Notices::default();
        let reboot = event("cloud.maintenance.reboot", Some(600.0));
        notices.published(&reboot);
        assert!(notices.moved(reboot.id, NOW.plus_ns(60 * SECOND_NS)));
        assert_eq!(notices.document(NOW).events[0].seconds_left, Some(60.0));
        let withdrawal =
            Event { cancels: Some(reboot.id), ..(*event("cloud.maintenance.reboot.cancelled", None)).clone() };
        assert!(notices.published(&Arc::new(withdrawal.clone())));
        assert!(listed(&notices).is_empty());
        assert!(!notices.published(&Arc::new(withdrawal)), "nothing changes twice");
        assert!(!notices.moved(reboot.id, NOW));
    }

    #[test]
    fn a_flood_pushes_out_nothing_that_means_more() {
        let mut notices = Notices::default();
        for _ in 0..200 {
            notices.published(&event("custom.flood", None));
        }
        notices.published(&event("cloud.maintenance.stop", Some(300.0)));
        notices.published(&event("cloud.spot.interrupt", Some(120.0)));
        notices.published(&event("cloud.instance.terminate", Some(20.0)));
        for _ in 0..200 {
            notices.published(&event("custom.flood", None));
        }
        let listed = listed(&notices);
        assert_eq!(listed.len(), OPEN_MAX);
        assert_eq!(listed[..3], ["cloud.instance.terminate", "cloud.spot.interrupt", "cloud.maintenance.stop"]);
    }

    #[test]
    fn after_a_restart_what_still_stands_is_listed_again() {
        let mut notices = Notices::default();
        notices.known((*event("cloud.spot.interrupt", Some(120.0))).clone(), NOW);
        notices.known((*event("cloud.spot.rebalance", None)).clone(), NOW);
        assert_eq!(listed(&notices), ["cloud.spot.interrupt"]);
        assert!(notices.expire(NOW.plus_ns(120 * SECOND_NS)));
    }

    #[test]
    fn a_deadline_is_read_back_from_its_text() {
        let notice = Notice::new(&event("cloud.spot.interrupt", Some(120.0)), None, NOW);
        assert_eq!(notice.effective(NOW), None);
        let notice = notice.at(Some(NOW.plus_ns(5 * SECOND_NS)), NOW);
        assert_eq!(notice.effective(NOW), Some(NOW.plus_ns(5 * SECOND_NS)));
        assert!(notice.is_sane());
        assert!(!Notice { action: "x".repeat(300), ..notice }.is_sane());
    }
}
