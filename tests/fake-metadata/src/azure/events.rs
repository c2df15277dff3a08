//! Azure's scheduled events: the document and how it changes.
//!
//! Responsibilities: hold the events, number the document, show it as each version does, follow approvals. Inputs: events,
//! ids, times. Outputs: the document. Sources: "Scheduled Events for Linux VMs", "Event properties" and "Event scheduling".
//! It must never drop an event by itself unless it was approved.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use super::{shown, usual_warning};
use crate::change::{ChangeError, Maintenance};

/// How times are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Times {
    Rfc1123,
    Iso,
}

/// How a document is written.
#[derive(Debug)]
pub(super) struct Shape<'a> {
    /// The api-version: later ones have more fields and types.
    pub(super) version: &'a str,
    pub(super) times: Times,
    pub(super) drift: SignedDuration,
}

/// When an approved event begins and is gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Approval {
    pub(super) starts_ns: u64,
    pub(super) ends_ns: u64,
}

#[derive(Debug)]
struct Event {
    id: String,
    event_type: String,
    resources: Vec<String>,
    not_before: Timestamp,
    started: bool,
    description: String,
    source: String,
    duration_seconds: i64,
    approval: Option<Approval>,
}

/// The document.
#[derive(Debug)]
pub(super) struct Events {
    /// Grows with each change of the events.
    pub(super) incarnation: u64,
    events: Vec<Event>,
    /// Ids of events that are gone: approving them again is still 200.
    past: Vec<String>,
}

impl Default for Events {
    /// The recorded sequence begins with number 1 and no event.
    fn default() -> Self {
        Self { incarnation: 1, events: Vec::new(), past: Vec::new() }
    }
}

impl Events {
    /// Announces an event and gives its id.
    pub(super) fn announce(
        &mut self,
        event: Maintenance,
        own_name: &str,
        now: Timestamp,
    ) -> Result<String, ChangeError> {
        let id = event.event_id.unwrap_or_else(|| Uuid::now_v7().to_string().to_uppercase());
        if self.find(&id).is_some() {
            return Err(ChangeError::DuplicateEvent { event_id: id });
        }
        let own = || vec![own_name.to_owned()];
        let named: Vec<String> = event.resources.iter().map(|name| name.replace("{name}", own_name)).collect();
        self.events.push(Event {
            id: id.clone(),
            resources: if named.is_empty() { own() } else { named },
            not_before: event.not_before.resolve_or(now, usual_warning(&event.code)),
            event_type: event.code,
            started: event.started,
            description: event.description,
            source: event.source.unwrap_or_else(|| "Platform".to_owned()),
            duration_seconds: event.impact_seconds.unwrap_or(-1),
            approval: None,
        });
        self.incarnation += 1;
        Ok(id)
    }

    /// Ids are compared without regard to case, which varies in reality.
    fn find(&self, event_id: &str) -> Option<usize> {
        self.events.iter().position(|event| event.id.eq_ignore_ascii_case(event_id))
    }

    /// The place of an event, or nothing when it is gone; an id that never was is an error.
    fn place(&self, event_id: &str) -> Result<Option<usize>, ChangeError> {
        match self.find(event_id) {
            None if !self.knows(event_id) => Err(ChangeError::UnknownEvent { event_id: event_id.to_owned() }),
            place => Ok(place),
        }
    }

    /// Whether an event has or had this id.
    pub(super) fn knows(&self, event_id: &str) -> bool {
        self.find(event_id).is_some() || self.past.iter().any(|id| id.eq_ignore_ascii_case(event_id))
    }

    /// The id of the event of that type.
    pub(super) fn of_type(&self, event_type: &str) -> Option<String> {
        self.events.iter().find(|event| event.event_type == event_type).map(|event| event.id.clone())
    }

    pub(super) fn put_to(&mut self, event_id: &str, time: Timestamp) -> Result<(), ChangeError> {
        if let Some(index) = self.place(event_id)? {
            self.events[index].not_before = time;
            self.incarnation += 1;
        }
        Ok(())
    }

    /// Nothing for an event that an approval has started or ended before.
    pub(super) fn start(&mut self, event_id: &str) -> Result<(), ChangeError> {
        if let Some(index) = self.place(event_id)?
            && !self.events[index].started
        {
            self.events[index].started = true;
            self.incarnation += 1;
        }
        Ok(())
    }

    pub(super) fn end(&mut self, event_id: &str) -> Result<(), ChangeError> {
        if let Some(index) = self.place(event_id)? {
            self.remove(index);
        }
        Ok(())
    }

    pub(super) fn remove_type(&mut self, event_type: &str) {
        while let Some(index) = self.events.iter().position(|event| event.event_type == event_type) {
            self.remove(index);
        }
    }

    fn remove(&mut self, index: usize) {
        let event = self.events.remove(index);
        self.past.push(event.id);
        self.incarnation += 1;
    }

    /// Has an event begin and end at those times, unless that is settled already.
    pub(super) fn approve(&mut self, event_id: &str, approval: Approval) {
        if let Some(index) = self.find(event_id) {
            self.events[index].approval.get_or_insert(approval);
        }
    }

    /// Brings approved events to where they are at that time.
    pub(super) fn settle(&mut self, boot_ns: u64) {
        for event in &mut self.events {
            if !event.started && event.approval.is_some_and(|approval| approval.starts_ns <= boot_ns) {
                event.started = true;
                self.incarnation += 1;
            }
        }
        let is_over = |event: &Event| event.approval.is_some_and(|approval| approval.ends_ns <= boot_ns);
        while let Some(index) = self.events.iter().position(is_over) {
            self.remove(index);
        }
    }

    /// The service was off: the document is numbered anew. What the events are stays.
    pub(super) fn start_over(&mut self) {
        self.incarnation = 1;
    }

    /// The document, and whether it holds any event.
    pub(super) fn document(&self, shape: &Shape) -> (String, bool) {
        let events: Vec<ShownEvent> = self.events.iter().filter_map(|event| event.shown(shape)).collect();
        let has_events = !events.is_empty();
        let document = ShownDocument { document_incarnation: self.incarnation, events };
        // Strings and numbers only: they are always JSON.
        (serde_json::to_string(&document).unwrap_or_default(), has_events)
    }
}

/// The document as JSON has it; the order of the fields is the documentation's.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownDocument<'a> {
    document_incarnation: u64,
    events: Vec<ShownEvent<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownEvent<'a> {
    event_id: &'a str,
    event_status: &'static str,
    event_type: &'a str,
    resource_type: &'static str,
    resources: Vec<String>,
    not_before: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_in_seconds: Option<i64>,
}

impl Event {
    /// Nothing for a type that the version does not know. Versions are dates, so they compare as text.
    fn shown<'a>(&'a self, shape: &Shape) -> Option<ShownEvent<'a>> {
        let since = match self.event_type.as_str() {
            "Preempt" => "2017-11-01",
            "Terminate" => "2019-01-01",
            "SpotRebalanceRecommendation" => "2024-07-09",
            _ => "",
        };
        if shape.version < since {
            return None;
        }
        let not_before = self.not_before.saturating_add(shape.drift).unwrap_or(self.not_before);
        // The preview put an underscore before each name.
        let underscore = if shape.version < "2017-08-01" { "_" } else { "" };
        Some(ShownEvent {
            event_id: &self.id,
            event_type: &self.event_type,
            resource_type: "VirtualMachine",
            resources: self.resources.iter().map(|name| format!("{underscore}{name}")).collect(),
            event_status: if self.started { "Started" } else { "Scheduled" },
            not_before: if self.started { String::new() } else { shown(not_before, shape.times) },
            description: (shape.version >= "2019-04-01").then_some(&self.description),
            event_source: (shape.version >= "2019-08-01").then_some(&self.source),
            duration_in_seconds: (shape.version >= "2020-07-01").then_some(self.duration_seconds),
        })
    }
}

/// What an event of each type says; nothing for what is no type of Azure's. The Freeze's text is that of the documentation's
/// sequence, the others are ours: the documentation shows none.
pub(crate) fn usual_description(event_type: &str) -> Option<&'static str> {
    Some(match event_type {
        "Freeze" => "Virtual machine is being paused because of a memory-preserving Live Migration operation.",
        "Reboot" => "Virtual machine is being rebooted.",
        "Redeploy" => "Virtual machine is being moved to another node; ephemeral disks are lost.",
        "Preempt" => "The Spot virtual machine is being evicted.",
        "Terminate" => "The virtual machine is being deleted.",
        "SpotRebalanceRecommendation" => "The Spot virtual machine is at an elevated risk of eviction.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::When;

    const SHAPE: Shape = Shape { version: "2020-07-01", times: Times::Rfc1123, drift: SignedDuration::ZERO };

    #[test]
    fn the_number_grows_with_each_change_and_only_then() {
        let mut events = Events::default();
        let now = Timestamp::UNIX_EPOCH;
        let id = events.announce(Maintenance::new("Freeze", When::Usual), "vm", now).expect("a new event");
        assert_eq!(events.incarnation, 2);
        assert_eq!(events.document(&SHAPE), events.document(&SHAPE));
        events.start(&id).expect("an event");
        events.start(&id.to_lowercase()).expect("the same event");
        assert_eq!(events.incarnation, 3);
        events.end(&id).expect("an event");
        assert_eq!(events.document(&SHAPE), (r#"{"DocumentIncarnation":4,"Events":[]}"#.to_owned(), false));
        events.end(&id).expect("an event that is gone");
        assert_eq!(events.incarnation, 4);
    }

    #[test]
    fn an_approved_event_starts_and_ends_at_its_times_and_a_second_approval_changes_nothing() {
        let mut events = Events::default();
        let id = events.announce(Maintenance::new("Reboot", When::Usual), "vm", Timestamp::UNIX_EPOCH).expect("new");
        events.approve(&id, Approval { starts_ns: 10, ends_ns: 20 });
        events.approve(&id, Approval { starts_ns: 100, ends_ns: 200 });
        for (at_ns, wanted) in [(9, Some("Scheduled")), (10, Some("Started")), (19, Some("Started")), (20, None)] {
            events.settle(at_ns);
            let status = events.events.first().and_then(|event| event.shown(&SHAPE)).map(|shown| shown.event_status);
            assert_eq!(status, wanted, "{at_ns}");
        }
        assert!(events.knows(&id));
    }
}
