//! The event: plain values that every module shares.
//!
//! Responsibilities: what an event is, its names, its JSON form (a valid CloudEvents 1.0 object).
//! Inputs: parsed notices, operators' requests. Outputs: values and JSON text. Must never do I/O,
//! read a clock or know that plugins exist.

pub mod told;

use cloudsnooze_abi as abi;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

pub mod fleet;
mod foresight;
mod system;

/// Longest event type accepted, bytes.
pub const EVENT_TYPE_BYTES_MAX: usize = 128;

/// One instant on both clocks. `boot_ns` (CLOCK_BOOTTIME: goes on during suspend, never jumps) is what
/// decisions use; `wall_ns` (nanoseconds since 1970 UTC) is for display only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// CLOCK_BOOTTIME, nanoseconds.
    pub boot_ns: i64,
    /// Wall clock, nanoseconds since 1970-01-01 UTC.
    pub wall_ns: i64,
}

impl Moment {
    /// This instant moved by `ns` nanoseconds, on both clocks; saturates.
    #[must_use]
    pub fn plus_ns(self, ns: i64) -> Self {
        Self { boot_ns: self.boot_ns.saturating_add(ns), wall_ns: self.wall_ns.saturating_add(ns) }
    }

    /// The instant at which the wall clock reads `wall_ns`, given the reading `now` of both clocks.
    #[must_use]
    pub fn at_wall(wall_ns: i64, now: Self) -> Self {
        now.plus_ns(wall_ns.saturating_sub(now.wall_ns))
    }

    /// Wall time as RFC 3339 text in UTC, with milliseconds unless they are zero.
    pub fn rfc3339(self) -> String {
        rfc3339(self.wall_ns)
    }
}

/// RFC 3339 text in UTC of nanoseconds since 1970, with milliseconds unless they are zero.
pub fn rfc3339(wall_ns: i64) -> String {
    let stamp = jiff::Timestamp::from_nanosecond(i128::from(wall_ns)).unwrap_or_default();
    // Not the stamp's own fraction: before 1970 that counts backwards.
    if wall_ns.rem_euclid(1_000_000_000) < 1_000_000 { format!("{stamp:.0}") } else { format!("{stamp:.3}") }
}

/// Identity of an event, a UUID of version 7 (ordered by time).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EventId(pub Uuid);

impl EventId {
    /// A new identity, made at this wall time (nanoseconds since 1970). Random below the millisecond:
    /// the library's own counter sits behind a lock that normal threads share.
    pub fn at(wall_ns: i64) -> Self {
        let wall_ns = u64::try_from(wall_ns).unwrap_or(0);
        let (seconds, nanoseconds) = (wall_ns / 1_000_000_000, (wall_ns % 1_000_000_000) as u32);
        Self(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanoseconds)))
    }

    /// The identity of what is described by `name` and happens at this wall time (nanoseconds since 1970): whoever makes
    /// it, and whenever, makes the same. The bits of version 7 that need not be time are those of a name-based UUID
    /// (RFC 9562, 5.5 and 5.7).
    pub fn named(name: &str, wall_ns: i64) -> Self {
        let space = Uuid::from_bytes(*b"cloudsnoozenotes");
        let hash = Uuid::new_v5(&space, name.as_bytes());
        let rest = std::array::from_fn(|n| hash.as_bytes()[n]);
        let millis = u64::try_from(wall_ns / 1_000_000).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &rest).into_uuid())
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Type of an event: dotted lower-case words, such as `cloud.spot.interrupt`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventType {
    text: Cow<'static, str>,
    /// Follows from the text; kept, because comparing texts takes long between a notice and its handler.
    kind: u32,
    is_cancelled: bool,
}

impl EventType {
    /// `cloud.spot.interrupt`: the cloud takes the machine back.
    pub const SPOT_INTERRUPT: Self = Self::known("cloud.spot.interrupt", abi::SNOOZE_KIND_SPOT_INTERRUPT);
    /// `cloud.spot.rebalance`: elevated risk, no deadline.
    pub const SPOT_REBALANCE: Self = Self::known("cloud.spot.rebalance", abi::SNOOZE_KIND_SPOT_REBALANCE);
    /// `cloud.autoscaling.terminate`: the group takes the machine out.
    pub const AUTOSCALING_TERMINATE: Self =
        Self::known("cloud.autoscaling.terminate", abi::SNOOZE_KIND_AUTOSCALING_TERMINATE);
    /// `cloud.instance.terminate`: the machine is deleted.
    pub const INSTANCE_TERMINATE: Self = Self::known("cloud.instance.terminate", abi::SNOOZE_KIND_INSTANCE_TERMINATE);
    /// `cloud.maintenance.reboot`: the machine is restarted in place.
    pub const MAINTENANCE_REBOOT: Self = Self::known("cloud.maintenance.reboot", abi::SNOOZE_KIND_MAINTENANCE_REBOOT);
    /// `cloud.maintenance.stop`: the machine is stopped.
    pub const MAINTENANCE_STOP: Self = Self::known("cloud.maintenance.stop", abi::SNOOZE_KIND_MAINTENANCE_STOP);
    /// `cloud.maintenance.retire`: the hardware is given up, and the machine stopped with it.
    pub const MAINTENANCE_RETIRE: Self = Self::known("cloud.maintenance.retire", abi::SNOOZE_KIND_MAINTENANCE_RETIRE);
    /// `cloud.maintenance.redeploy`: the machine moves to another host and loses its local disks.
    pub const MAINTENANCE_REDEPLOY: Self =
        Self::known("cloud.maintenance.redeploy", abi::SNOOZE_KIND_MAINTENANCE_REDEPLOY);
    /// `cloud.maintenance.freeze`: the machine stands still for seconds, or what is told is not known.
    pub const MAINTENANCE_FREEZE: Self = Self::known("cloud.maintenance.freeze", abi::SNOOZE_KIND_MAINTENANCE_FREEZE);
    /// `system.shutdown`: the operating system is going down.
    pub const SYSTEM_SHUTDOWN: Self = Self::known("system.shutdown", abi::SNOOZE_KIND_SYSTEM_SHUTDOWN);

    /// The self-test's own: no configuration can name it, because it is not of the form of a type.
    pub const SELF_TEST: Self = Self::known("(self-test)", abi::SNOOZE_KIND_OTHER);

    /// Every type that a source of this version can make, withdrawals and [`Self::OF_THE_MACHINE`] aside.
    pub const KNOWN: [Self; 10] = [
        Self::SPOT_INTERRUPT,
        Self::SPOT_REBALANCE,
        Self::MAINTENANCE_FREEZE,
        Self::MAINTENANCE_REBOOT,
        Self::MAINTENANCE_REDEPLOY,
        Self::MAINTENANCE_STOP,
        Self::MAINTENANCE_RETIRE,
        Self::INSTANCE_TERMINATE,
        Self::AUTOSCALING_TERMINATE,
        Self::SYSTEM_SHUTDOWN,
    ];

    const fn known(name: &'static str, kind: u32) -> Self {
        Self { text: Cow::Borrowed(name), kind, is_cancelled: false }
    }

    fn of_text(text: Cow<'static, str>) -> Self {
        let withdrawn = text.strip_suffix(".cancelled");
        let plain = withdrawn.unwrap_or(&text);
        let kind = Self::KNOWN.iter().find(|t| t.text == plain).map_or(abi::SNOOZE_KIND_OTHER, |t| t.kind);
        Self { kind, is_cancelled: withdrawn.is_some(), text }
    }

    /// Checks the form: 1 to 128 bytes, words of `a-z 0-9 _ -` joined by single dots.
    ///
    /// # Errors
    /// A sentence saying what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let word = |w: &str| {
            !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
        };
        if text.len() > EVENT_TYPE_BYTES_MAX || !text.split('.').all(word) {
            return Err(format!(
                "'{text}' is not an event type: expected lower-case words joined by dots, such as cloud.spot.interrupt"
            ));
        }
        Ok(Self::of_text(Cow::Owned(text.to_owned())))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The type of the event that withdraws this one.
    #[must_use]
    pub fn cancelled(&self) -> Self {
        Self::of_text(Cow::Owned(format!("{}.cancelled", self.text)))
    }

    /// The type that this one withdraws; None when it withdraws none.
    pub fn withdrawn(&self) -> Option<Self> {
        Self::parse(self.text.strip_suffix(".cancelled")?).ok()
    }

    /// Whether this type withdraws another event.
    pub fn is_cancelled(&self) -> bool {
        self.is_cancelled
    }

    /// Number of the type in the C ABI (`SNOOZE_KIND_*`); a withdrawal has that of what it withdraws.
    pub fn kind(&self) -> u32 {
        self.kind
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Which events a handler wants: an exact type, a dotted prefix with `*` (`cloud.spot.*`), or `*`.
/// `cloud.spot.*` matches `cloud.spot.interrupt` and `cloud.spot.interrupt.cancelled`, not `cloud.spot`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(String);

impl Pattern {
    /// Checks the form.
    ///
    /// # Errors
    /// A sentence saying what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words = text.strip_suffix(".*").unwrap_or(text);
        if text != "*" && EventType::parse(words).is_err() {
            return Err(format!(
                "'{text}' is not an event type or pattern: expected lower-case words joined by dots \
                 (cloud.spot.interrupt), the same ending in .* (cloud.spot.*), or * alone"
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// `*`.
    pub fn any() -> Self {
        Self("*".to_owned())
    }

    /// Whether an event of this type is wanted.
    pub fn matches(&self, event_type: &EventType) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => event_type.as_str().starts_with(prefix),
            None => event_type.as_str() == self.0,
        }
    }

    /// Whether there can be an event that both want.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self.0.strip_suffix('*'), other.0.strip_suffix('*')) {
            (Some(one), Some(two)) => one.starts_with(two) || two.starts_with(one),
            (Some(prefix), None) => other.0.starts_with(prefix),
            (None, Some(prefix)) => self.0.starts_with(prefix),
            (None, None) => self.0 == other.0,
        }
    }

    /// How specific the pattern is: of several that match, the greatest wins. An exact type beats
    /// every pattern with `*`, a longer prefix a shorter one.
    pub fn specificity(&self) -> usize {
        match self.0.strip_suffix('*') {
            Some(prefix) => prefix.len(),
            None => EVENT_TYPE_BYTES_MAX + 1,
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How bad it is; orders the queue's lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u32)]
pub enum Severity {
    /// Worth knowing.
    Info = 1,
    /// Prepare.
    Warning = 2,
    /// The machine is about to go away.
    Urgent = 3,
    /// It is going away now.
    Critical = 4,
}

impl Severity {
    /// The name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Urgent => "urgent",
            Self::Critical => "critical",
        }
    }
}

/// What the cloud will do to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Deleted.
    Terminate,
    /// Stopped, may be started again.
    Stop,
    /// Memory saved to disk, then stopped; on AWS this begins at once.
    Hibernate,
    /// Restarted in place.
    Reboot,
    /// Moved to another host, local disks lost.
    Redeploy,
    /// Paused for seconds.
    Freeze,
    /// Nothing known.
    None,
}

impl Action {
    /// The name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Terminate => "terminate",
            Self::Stop => "stop",
            Self::Hibernate => "hibernate",
            Self::Reboot => "reboot",
            Self::Redeploy => "redeploy",
            Self::Freeze => "freeze",
            Self::None => "none",
        }
    }
}

/// Whether the notice names a time at which the cloud acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoticeKind {
    /// The cloud will act.
    Deadline,
    /// The cloud warns of risk.
    Advisory,
}

impl NoticeKind {
    /// The name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Advisory => "advisory",
        }
    }
}

/// The machine the event is about. Empty texts mean "not known".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// The provider's identifier of the instance.
    pub instance_id: String,
    /// The provider's name of the machine type.
    pub instance_type: String,
    /// Availability zone.
    pub zone: String,
    /// Region.
    pub region: String,
}

/// What happened, as it is published and kept. Made once, then shared and never changed; a moved
/// deadline makes a revised copy.
#[derive(Clone, Debug)]
pub struct Event {
    /// Identity.
    pub id: EventId,
    /// Type.
    pub event_type: EventType,
    /// Who saw it, such as `aws.ec2.metadata-service`.
    pub source: Cow<'static, str>,
    /// How bad it is.
    pub severity: Severity,
    /// When the notice was read.
    pub detected: Moment,
    /// When the cloud acts, if it says so.
    pub effective: Option<Moment>,
    /// Made by an operator, not by a cloud.
    pub simulated: bool,
    /// A drill: handlers do only what can be undone.
    pub drill: bool,
    /// Provider, such as `aws`; `operator` for what an operator injected.
    pub provider: Cow<'static, str>,
    /// What the cloud will do.
    pub action: Action,
    /// Whether a time is named.
    pub notice_kind: NoticeKind,
    /// The machine it is about.
    pub machine: Arc<Machine>,
    /// Further machines or resources the provider lists.
    pub resources: Vec<String>,
    /// The event that this one withdraws.
    pub cancels: Option<EventId>,
    /// The provider's document, untouched: JSON when it is JSON, else text.
    pub raw: Option<Value>,
    /// Further members of `data` (`custom.*` and operators' events).
    pub extra: Map<String, Value>,
}

impl Event {
    /// Whether it is the self-test's: no handler of a configuration sees it, and nothing is kept of it.
    pub fn is_self_test(&self) -> bool {
        self.event_type == EventType::SELF_TEST
    }

    /// The same as a self-test's. Changed in place when nobody else has it.
    #[must_use]
    pub fn as_self_test(self: Arc<Self>) -> Arc<Self> {
        let mut event = self;
        Arc::make_mut(&mut event).event_type = EventType::SELF_TEST;
        event
    }

    /// Seconds until the cloud acts, never negative; None when no time is known.
    #[allow(clippy::cast_precision_loss, reason = "seconds for people, milliseconds are kept")]
    pub fn seconds_left(&self, now: Moment) -> Option<f64> {
        let left_ns = self.effective?.boot_ns.saturating_sub(now.boot_ns).max(0);
        Some((left_ns / 1_000_000) as f64 / 1_000.0)
    }

    /// An event read back from its JSON form, after a restart.
    /// None when a required member is missing or of another form. `now` ties wall time to boot time.
    pub fn from_json(json: &Value, now: Moment) -> Option<Self> {
        let text = |pointer: &str| json.pointer(pointer).and_then(Value::as_str);
        let moment = |pointer: &str| {
            let stamp: jiff::Timestamp = text(pointer)?.parse().ok()?;
            Some(Moment::at_wall(i64::try_from(stamp.as_nanosecond()).ok()?, now))
        };
        let word = |pointer: &str| json.pointer(pointer).cloned().unwrap_or_default();
        let owned = |pointer: &str| text(pointer).unwrap_or_default().to_owned();
        Some(Self {
            id: EventId(text("/id")?.parse().ok()?),
            event_type: EventType::parse(text("/type")?).ok()?,
            source: owned("/source").into(),
            severity: serde_json::from_value(word("/severity")).ok()?,
            detected: moment("/time")?,
            effective: moment("/data/time"),
            simulated: json["simulated"] == true,
            drill: json["drill"] == true,
            provider: owned("/data/provider").into(),
            action: serde_json::from_value(word("/data/action")).ok()?,
            notice_kind: serde_json::from_value(word("/data/noticeKind")).ok()?,
            machine: Arc::new(Machine {
                instance_id: owned("/data/instanceID"),
                instance_type: owned("/data/instanceType"),
                zone: owned("/data/zone"),
                region: owned("/data/region"),
            }),
            resources: json.pointer("/data/resources").map(texts).unwrap_or_default(),
            cancels: text("/data/cancels").and_then(|id| Some(EventId(id.parse().ok()?))),
            raw: json.pointer("/data/raw").cloned(),
            extra: further(json.pointer("/data")),
        })
    }

    /// The event as a CloudEvents 1.0 object, with `data.timeRemaining` as of `now`.
    pub fn to_json(&self, now: Moment) -> Value {
        let mut data = self.extra.clone();
        let mut put = |key: &str, value: &str| {
            if !value.is_empty() {
                data.insert(key.into(), value.into());
            }
        };
        put("provider", &self.provider);
        put("action", self.action.as_str());
        put("noticeKind", self.notice_kind.as_str());
        put("instanceID", &self.machine.instance_id);
        put("instanceType", &self.machine.instance_type);
        put("zone", &self.machine.zone);
        put("region", &self.machine.region);
        if let Some(effective) = self.effective {
            put("time", &effective.rfc3339());
        }
        if let Some(cancels) = self.cancels {
            put("cancels", &cancels.to_string());
        }
        if let Some(left) = self.seconds_left(now) {
            data.insert("timeRemaining".into(), json!(left));
        }
        if !self.resources.is_empty() {
            data.insert("resources".into(), json!(self.resources));
        }
        if let Some(raw) = &self.raw {
            data.insert("raw".into(), raw.clone());
        }
        let time = self.detected.rfc3339();
        let mut event = json!({
            "specversion": "1.0",
            "id": self.id.to_string(),
            "type": self.event_type.as_str(),
            "source": self.source,
            "time": time,
            "timestamp": time,
            "severity": self.severity.as_str(),
            "datacontenttype": "application/json",
            "data": data,
        });
        if self.simulated {
            // An extension attribute: CloudEvents 1.0 allows lower-case names of its own.
            event["simulated"] = json!(true);
        }
        if self.drill {
            event["drill"] = json!(true);
        }
        if !self.machine.instance_id.is_empty() {
            event["subject"] = json!(self.machine.instance_id);
        }
        event
    }
}

/// Members of `data` with a meaning of their own.
const DATA_MEMBERS: &str =
    "provider action noticeKind instanceID instanceType zone region time cancels timeRemaining resources raw";

/// The members of `data` that have none.
fn further(data: Option<&Value>) -> Map<String, Value> {
    let members = data.and_then(Value::as_object).into_iter().flatten();
    let others = members.filter(|(key, _)| !DATA_MEMBERS.split(' ').any(|member| member == *key));
    others.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interrupt(now: Moment) -> Event {
        Event {
            id: EventId::at(now.wall_ns),
            event_type: EventType::SPOT_INTERRUPT,
            source: "aws.ec2.metadata-service".into(),
            severity: Severity::Urgent,
            detected: now,
            effective: Some(now.plus_ns(120_000_000_000)),
            simulated: false,
            drill: false,
            provider: "aws".into(),
            action: Action::Terminate,
            notice_kind: NoticeKind::Deadline,
            machine: Arc::new(Machine { instance_id: "i-1".into(), ..Machine::default() }),
            resources: Vec::new(),
            cancels: None,
            raw: Some(json!({ "action": "terminate" })),
            extra: Map::new(),
        }
    }

    const NOW: Moment = Moment { boot_ns: 5_000_000_000, wall_ns: 1_767_323_045_250_000_000 };

    #[test]
    fn a_named_identity_is_the_same_whoever_makes_it_and_a_uuid_of_version_7() {
        let id = EventId::named("a", NOW.wall_ns);
        assert_eq!((id, id.0.get_version_num()), (EventId::named("a", NOW.wall_ns), 7));
        assert!(id != EventId::named("b", NOW.wall_ns) && id != EventId::named("a", NOW.wall_ns + 1_000_000));
        assert!(id < EventId::named("0", NOW.wall_ns + 1_000_000), "ordered by time");
    }

    #[test]
    fn json_is_a_cloud_event_with_the_seeds_fields_and_reads_back() {
        let event = interrupt(NOW);
        let json = event.to_json(NOW.plus_ns(20_500_000_000));
        assert_eq!(json["specversion"], "1.0");
        assert_eq!(json["time"], "2026-01-02T03:04:05.250Z");
        assert_eq!(json["timestamp"], json["time"]);
        assert_eq!(json["data"]["time"], "2026-01-02T03:06:05.250Z");
        assert_eq!(json["data"]["timeRemaining"], 99.5);
        assert_eq!((&json["data"]["instanceID"], &json["subject"]), (&json!("i-1"), &json!("i-1")));
        assert!(json["data"].get("zone").is_none(), "what is not known is absent");
        let back = Event::from_json(&json, NOW).expect("reads back");
        assert_eq!((back.id, back.effective, back.detected), (event.id, event.effective, event.detected));
        assert_eq!(Event::from_json(&json!({}), NOW).map(|e| e.id), None);
    }

    #[test]
    fn time_remaining_never_goes_below_zero() {
        assert_eq!(interrupt(NOW).seconds_left(NOW.plus_ns(500_000_000_000)), Some(0.0));
    }

    #[test]
    fn patterns_match_whole_words_and_the_most_specific_is_the_greatest() {
        let matches =
            |p: &str, t: &str| Pattern::parse(p).expect("pattern").matches(&EventType::parse(t).expect("type"));
        assert!(matches("cloud.spot.*", "cloud.spot.interrupt"));
        assert!(!matches("cloud.spot.*", "cloud.spotty.interrupt"));
        assert!(!matches("cloud.spot.*", "cloud.spot"));
        assert!(matches("*", "custom.x"));
        let overlap = |a: &str, b: &str| {
            let (a, b) = (Pattern::parse(a).expect("pattern"), Pattern::parse(b).expect("pattern"));
            assert_eq!(a.overlaps(&b), b.overlaps(&a), "the same both ways");
            a.overlaps(&b)
        };
        // Types that nobody can list count too.
        assert!(overlap("custom.*", "custom.backup.*") && overlap("*", "custom.x") && overlap("custom.*", "custom.x"));
        assert!(!overlap("custom.*", "cloud.*") && !overlap("custom.x", "custom.y") && !overlap("cloud.*", "custom.x"));
        let of = |p: &str| Pattern::parse(p).expect("pattern").specificity();
        assert!(of("cloud.spot.interrupt") > of("cloud.spot.*") && of("cloud.spot.*") > of("cloud.*"));
        for bad in ["", "Cloud.spot", "cloud..spot", "cloud.*.spot", "cl*", ".*", "a b"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }
}
