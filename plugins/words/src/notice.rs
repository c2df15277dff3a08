//! What an event says, in a person's words.
//!
//! Inputs: an event. Outputs: a [`Notice`], and from it the one line that is read first. Must never hold
//! mark-up: what a provider wrote is escaped where the message is put together.

use cloudsnooze_plugin::{Event, Severity, abi};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// What people need to know of an event.
#[derive(Clone)]
pub struct Notice {
    /// Type, such as `cloud.spot.interrupt`.
    pub kind: String,
    /// How bad it is.
    pub severity: Severity,
    /// An operator made it for practice.
    pub simulated: bool,
    /// Whether handlers did only what can be undone.
    pub drill: bool,
    /// It calls an earlier notice off.
    pub withdrawn: bool,
    /// Identity, UUID text.
    pub id: String,
    /// Who saw it.
    pub source: String,
    /// When it was seen, RFC 3339.
    pub detected: String,
    /// The cloud, such as `aws`.
    pub provider: String,
    /// What the cloud will do.
    pub action: String,
    /// When it will, RFC 3339.
    pub deadline: Option<String>,
    /// Seconds until then.
    pub seconds_left: Option<f64>,
    /// Identifier of the machine; empty when not known, as are the other texts about it.
    pub machine: String,
    /// Its type.
    pub machine_type: String,
    /// Its zone.
    pub zone: String,
    /// Its region.
    pub region: String,
    /// Identity of the event that is called off.
    pub cancels: String,
}

impl Notice {
    /// Reads an event.
    pub fn of(event: &Event<'_>) -> Self {
        let field = |id| event.field(id).unwrap_or_default().to_owned();
        let subject = field(abi::SNOOZE_FIELD_SUBJECT);
        Self {
            kind: event.event_type().to_owned(),
            severity: event.severity(),
            simulated: event.is_simulated(),
            drill: event.is_drill(),
            withdrawn: event.is_cancellation(),
            id: event.id().to_owned(),
            source: field(abi::SNOOZE_FIELD_SOURCE),
            detected: field(abi::SNOOZE_FIELD_TIME),
            provider: event.provider().to_owned(),
            action: event.action().to_owned(),
            deadline: event.deadline().map(str::to_owned),
            seconds_left: event.seconds_left(),
            machine: if event.instance_id().is_empty() { subject } else { event.instance_id().to_owned() },
            machine_type: field(abi::SNOOZE_FIELD_INSTANCE_TYPE),
            zone: field(abi::SNOOZE_FIELD_ZONE),
            region: field(abi::SNOOZE_FIELD_REGION),
            cancels: field(abi::SNOOZE_FIELD_CANCELS),
        }
    }

    /// The one line: what happens to which machine, and when.
    pub fn headline(&self) -> String {
        let mark = match (self.drill, self.simulated) {
            (true, _) => "[DRILL] ",
            (false, true) => "[SIMULATED] ",
            (false, false) => "",
        };
        let (title, machine) = (self.title(), self.machine_and_place());
        if self.withdrawn {
            return format!("{mark}Withdrawn: {title} of {machine} is called off");
        }
        let what = match self.action.as_str() {
            _ if self.kind == "cloud.spot.rebalance" => "is at elevated risk of interruption",
            "terminate" => "will be terminated",
            "stop" => "will be stopped",
            "hibernate" => "will be hibernated",
            "reboot" => "will be rebooted",
            "redeploy" => "will be moved to other hardware",
            "freeze" => "will be frozen for a while",
            _ if self.kind == "system.shutdown" => "is shutting down",
            _ => "is concerned",
        };
        format!("{mark}{title}: {machine} {what}{}", self.when())
    }

    fn title(&self) -> String {
        let kind = self.kind.strip_suffix(".cancelled").unwrap_or(&self.kind);
        match kind {
            "cloud.spot.interrupt" => "Spot interruption".to_owned(),
            "cloud.spot.rebalance" => "Rebalance recommendation".to_owned(),
            "cloud.instance.terminate" => "Instance termination".to_owned(),
            "cloud.autoscaling.terminate" => "Auto Scaling termination".to_owned(),
            "cloud.maintenance" => "Maintenance".to_owned(),
            "system.shutdown" => "System shutdown".to_owned(),
            _ => match kind.strip_prefix("cloud.maintenance.") {
                Some(which) => format!("Maintenance ({which})"),
                None => format!("Event {kind}"),
            },
        }
    }

    fn machine_and_place(&self) -> String {
        let machine = if self.machine.is_empty() { "this machine" } else { &self.machine };
        let place = if self.zone.is_empty() { &self.region } else { &self.zone };
        match (self.machine_type.is_empty(), place.is_empty()) {
            (true, true) => machine.to_owned(),
            (false, true) => format!("{machine} ({})", self.machine_type),
            (true, false) => format!("{machine} ({place})"),
            (false, false) => format!("{machine} ({}, {place})", self.machine_type),
        }
    }

    fn when(&self) -> String {
        let at = self.deadline.as_deref().map(|text| clock(text, &self.detected));
        match (self.seconds_left, at) {
            (Some(left), Some(at)) if left < 1.0 => format!(" now, the deadline was {at}"),
            (Some(left), Some(at)) => format!(" in {}, at {at}", duration(left)),
            (Some(left), None) if left < 1.0 => " now".to_owned(),
            (Some(left), None) => format!(" in {}", duration(left)),
            (None, Some(at)) => format!(" at {at}"),
            (None, None) if self.kind == "cloud.spot.rebalance" => ", no deadline yet".to_owned(),
            (None, None) => ", time not known".to_owned(),
        }
    }
}

/// "1 min 52 s": rounded down, so that nobody counts on time that is not there.
fn duration(seconds: f64) -> String {
    // A float-to-integer `as` saturates, and the time of a notice is far below the limit.
    let seconds = seconds as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes, seconds % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, 0) => format!("{m} min"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, ..) => format!("{d} d {h} h"),
    }
}

/// A time of day in UTC, with its date when that is another one than the notice's.
fn clock(time: &str, detected: &str) -> String {
    let utc = |text: &str| text.parse::<Timestamp>().ok().map(|t| t.to_zoned(TimeZone::UTC));
    let Some(time) = utc(time) else { return time.to_owned() };
    let same_day = utc(detected).is_some_and(|detected| detected.date() == time.date());
    time.strftime(if same_day { "%H:%M:%S UTC" } else { "%Y-%m-%d %H:%M:%S UTC" }).to_string()
}

/// A notice as tests need it.
#[cfg(any(test, feature = "testing"))]
pub fn spot_interruption() -> Notice {
    Notice {
        kind: "cloud.spot.interrupt".into(),
        severity: Severity::Urgent,
        simulated: false,
        drill: false,
        withdrawn: false,
        id: "01936b7e-5b3a-7000-8000-000000000001".into(),
        source: "aws.ec2.metadata-service".into(),
        detected: "2026-01-02T03:04:13Z".into(),
        provider: "aws".into(),
        action: "terminate".into(),
        deadline: Some("2026-01-02T03:06:05Z".into()),
        seconds_left: Some(112.4),
        machine: "i-0123456789abcdef0".into(),
        machine_type: "m5.large".into(),
        zone: "us-east-1a".into(),
        region: "us-east-1".into(),
        cancels: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headline(change: impl Fn(&mut Notice)) -> String {
        let mut notice = spot_interruption();
        change(&mut notice);
        notice.headline()
    }

    #[test]
    fn headlines_say_what_happens_to_which_machine_and_when() {
        let machine = "i-0123456789abcdef0 (m5.large, us-east-1a)";
        assert_eq!(
            headline(|_| ()),
            format!("Spot interruption: {machine} will be terminated in 1 min 52 s, at 03:06:05 UTC")
        );
        assert_eq!(
            headline(|n| (n.kind, n.action, n.deadline, n.seconds_left) =
                ("cloud.spot.rebalance".into(), "none".into(), None, None)),
            format!("Rebalance recommendation: {machine} is at elevated risk of interruption, no deadline yet")
        );
        assert_eq!(
            headline(|n| {
                (n.kind, n.action) = ("cloud.maintenance.reboot".into(), "reboot".into());
                (n.deadline, n.seconds_left) = (Some("2026-01-09T01:30:00+02:00".into()), Some(592_000.0));
            }),
            format!("Maintenance (reboot): {machine} will be rebooted in 6 d 20 h, at 2026-01-08 23:30:00 UTC")
        );
        assert_eq!(
            headline(|n| n.seconds_left = Some(0.0)),
            format!("Spot interruption: {machine} will be terminated now, the deadline was 03:06:05 UTC")
        );
        assert_eq!(
            headline(|n| (n.kind, n.withdrawn) = ("cloud.spot.interrupt.cancelled".into(), true)),
            format!("Withdrawn: Spot interruption of {machine} is called off")
        );
        assert_eq!(
            headline(|n| n.simulated = true),
            format!("[SIMULATED] Spot interruption: {machine} will be terminated in 1 min 52 s, at 03:06:05 UTC")
        );
    }

    #[test]
    fn what_is_not_known_is_left_out_of_the_headline() {
        let bare = |n: &mut Notice| {
            (n.zone, n.region, n.machine_type, n.deadline) = (String::new(), String::new(), String::new(), None);
        };
        assert_eq!(
            headline(|n| {
                bare(n);
                (n.kind, n.action, n.machine, n.seconds_left) =
                    ("system.shutdown".into(), String::new(), String::new(), Some(30.0));
            }),
            "System shutdown: this machine is shutting down in 30 s"
        );
        assert_eq!(
            headline(|n| {
                bare(n);
                (n.kind, n.action, n.machine, n.seconds_left) =
                    ("custom.deploy".into(), String::new(), "web-1".into(), None);
            }),
            "Event custom.deploy: web-1 is concerned, time not known"
        );
    }

    #[test]
    fn durations_are_short_and_never_longer_than_the_truth() {
        for (seconds, text) in [
            (0.9, "0 s"),
            (59.99, "59 s"),
            (60.0, "1 min"),
            (119.9, "1 min 59 s"),
            (3600.0, "1 h 0 min"),
            (1e6, "11 d 13 h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn a_deadline_that_is_no_timestamp_is_shown_as_it_is() {
        assert_eq!(clock("soon", "2026-01-02T03:04:05Z"), "soon");
        assert_eq!(clock("2026-01-02T03:06:05Z", "?"), "2026-01-02 03:06:05 UTC");
    }
}
