//! What members say to each other: subjects, keys and messages.
//!
//! Responsibilities: names on the wire, JSON of each message, limits on both. Inputs: values, or bytes of whoever can reach the servers.
//! Outputs: bytes, or values that are in order. It must never panic, whatever the bytes are, nor trust a length that they name.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::details::Details;
use crate::settings::name_problem;
use crate::told::{Notice, Outcome};

/// The most bytes of a message that is read. The servers' own limit is 1 MiB (`max_payload`).
const MAX_MESSAGE: usize = 1 << 20;
/// The most bytes of an event's details as text.
const MAX_DETAILS: usize = 64 << 10;
/// The most bytes of an error's text.
const MAX_ERROR: usize = 1000;
/// The most notices of one member at a time.
const MAX_GOES: usize = 64;

/// The subjects and buckets of one group. The server's names allow letters, digits, `-`, `_`, and in keys `=` too.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// The group.
    pub(crate) group: String,
    /// This member's name as it stands in subjects and keys.
    pub(crate) own: String,
}

impl Names {
    pub(crate) fn new(group: &str, member: &str) -> Self {
        Self { group: group.to_owned(), own: to_token(member) }
    }

    /// The stream of events.
    pub(crate) fn events_stream(&self) -> String {
        format!("cs_ev_{}", self.group)
    }

    /// All events of the group.
    pub(crate) fn all_events(&self) -> String {
        format!("cs.v1.{}.ev.>", self.group)
    }

    /// What is kept for the group's history, and heard by no member.
    pub(crate) fn all_kept(&self) -> String {
        format!("cs.v1.{}.kept.>", self.group)
    }

    /// Where this member's letters of a kind and a type go. The type's dots become dashes, so that a right can be given for one token.
    pub(crate) fn letter(&self, kind: Kind, event_type: &str) -> String {
        let token: String =
            event_type.chars().map(|letter| if letter == '.' { '-' } else { letter }).take(MAX_ERROR).collect();
        let way = if kind == Kind::Kept { "kept" } else { "ev" };
        format!("cs.v1.{}.{way}.{}.{}", self.group, to_token(&token), self.own)
    }

    /// The lease, for those who may lead: it is written four times in its length, which is of no use to others.
    pub(crate) fn lease(&self) -> String {
        format!("cs.v1.{}.lease", self.group)
    }

    /// What is said to all members: the plan, who came and went.
    pub(crate) fn to_all(&self, what: &str) -> String {
        format!("cs.v1.{}.to.{what}", self.group)
    }

    /// Acknowledgements, for the leader.
    pub(crate) fn acks(&self) -> String {
        format!("cs.v1.{}.ack", self.group)
    }

    /// A bucket's name.
    pub(crate) fn bucket(&self, kind: &str) -> String {
        format!("cs_{kind}_{}", self.group)
    }

    /// The key of this member's acknowledgement.
    pub(crate) fn ack_key(&self, operation: Uuid, pass: usize) -> String {
        format!("{operation}.{pass}.{}", self.own)
    }
}

/// The parts of an acknowledgement's key, which may be the end of a subject: operation, pass, member.
pub(crate) fn read_ack_key(subject: &str) -> Option<(Uuid, usize, String)> {
    let mut parts = subject.rsplit('.');
    let (member, pass, operation) = (parts.next()?, parts.next()?, parts.next()?);
    Some((operation.parse().ok()?, pass.parse().ok()?, from_token(member)?))
}

/// A name as one token of a subject: what is neither a letter nor a digit nor `-` nor `_` becomes `=` and two hexadecimal digits.
pub(crate) fn to_token(name: &str) -> String {
    let mut token = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            token.push(char::from(byte));
        } else {
            token.push_str(&format!("={byte:02X}"));
        }
    }
    token
}

/// The name that a token stands for; `None` where it stands for none.
pub(crate) fn from_token(token: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'=' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    let name = String::from_utf8(bytes).ok()?;
    name_problem(&name).is_none().then_some(name)
}

/// What an event's letter says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Something happened at the sender.
    Event,
    /// And because of it the sender is about to go.
    Leaving,
    /// It was withdrawn: the sender stays.
    Stays,
    /// For the group's history only.
    Kept,
}

/// An event on its way to all members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Letter {
    pub(crate) kind: Kind,
    pub(crate) event: Uuid,
    pub(crate) event_type: String,
    pub(crate) member: String,
    pub(crate) role: String,
    /// The highest epoch that the sender has seen.
    pub(crate) epoch: u64,
    /// Wall clocks, in nanoseconds since 1970; for people.
    pub(crate) detected: i64,
    #[serde(default)]
    pub(crate) deadline: Option<i64>,
    /// The time left when it was sent.
    pub(crate) remaining_ms: u64,
    /// Nobody goes: it is a drill.
    #[serde(default)]
    pub(crate) drill: bool,
    #[serde(default)]
    pub(crate) details: Details,
}

impl Letter {
    /// The letter about a notice, without the time left.
    pub(crate) fn about(kind: Kind, notice: &Notice, member: &str, role: &str) -> Self {
        let details = Some(Details::from(&notice.details)).filter(|details| details.len() <= MAX_DETAILS);
        Self {
            kind,
            event: notice.event,
            event_type: notice.event_type.clone(),
            member: member.to_owned(),
            role: role.to_owned(),
            epoch: 0,
            detected: notice.detected,
            deadline: notice.deadline,
            remaining_ms: 0,
            drill: notice.details.get("drill").is_some_and(|drill| *drill == true),
            details: details.unwrap_or_default(),
        }
    }

    /// What makes the letter the same as another: the server keeps one of each (`Nats-Msg-Id`), and a member hears one of each.
    pub(crate) fn identity(&self) -> String {
        format!("{}-{:?}-{}", self.event, self.kind, self.deadline.unwrap_or(0))
    }
}

/// How far a member is with a notice of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// It waits for its turn.
    Waits,
    /// Its work runs.
    Acts,
    /// Its work is over.
    Over,
    /// The notice was withdrawn.
    Stays,
}

/// A notice of a member, in its presence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Goes {
    pub(crate) event: Uuid,
    pub(crate) remaining_ms: u64,
    #[serde(default)]
    pub(crate) deadline: Option<i64>,
    #[serde(default)]
    pub(crate) drill: bool,
    pub(crate) stage: Stage,
}

/// A member says that it is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Presence {
    pub(crate) member: String,
    pub(crate) role: String,
    pub(crate) may_lead: bool,
    /// The highest epoch it has seen: the next leader's is higher.
    pub(crate) epoch: u64,
    /// How often it says so.
    pub(crate) beat_ms: u64,
    /// How long its work takes.
    pub(crate) work_ms: u64,
    #[serde(default)]
    pub(crate) goes: Vec<Goes>,
    /// The operation and its pass that it is at work for: its time counts from when it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) acts: Option<(Uuid, usize)>,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lease {
    pub(crate) member: String,
    /// The process, as a member that was started again is another leader.
    pub(crate) process: Uuid,
    /// How many members there are, so that they know how often to say so; 0 where the leader does not know yet.
    #[serde(default)]
    pub(crate) members: usize,
}

/// How an actor's work of a pass ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ack {
    pub(crate) ok: bool,
    pub(crate) seconds: f64,
    #[serde(default)]
    pub(crate) error: Option<String>,
    /// True where it began without a directive.
    #[serde(default)]
    pub(crate) alone: bool,
}

impl Ack {
    pub(crate) fn of(outcome: &Outcome, alone: bool) -> Self {
        let seconds = if outcome.seconds.is_finite() { outcome.seconds.max(0.0) } else { 0.0 };
        Self { ok: outcome.ok, seconds, error: outcome.error.as_deref().map(|text| shortened(text).to_owned()), alone }
    }
}

/// The beginning of a text, as much as is passed on.
pub(crate) fn shortened(text: &str) -> &str {
    let mut end = text.len().min(MAX_ERROR);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What became of a member, as the leader says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fate {
    Joined,
    Gone,
    Lost,
}

/// The leader tells who came and went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct News {
    pub(crate) fate: Fate,
    pub(crate) member: String,
    pub(crate) role: String,
    pub(crate) epoch: u64,
}

/// A message that is checked beyond its form.
pub(crate) trait Message: Serialize + DeserializeOwned {
    /// What is wrong with the values, as a sentence.
    fn problem(&self) -> Option<String>;
}

impl Message for Letter {
    fn problem(&self) -> Option<String> {
        name_problem(&self.member)
            .or_else(|| too_long("event_type", &self.event_type))
            .or_else(|| too_long("role", &self.role))
    }
}

impl Message for Presence {
    fn problem(&self) -> Option<String> {
        let many = self.goes.len() > MAX_GOES;
        let many = many.then(|| format!("it names {} notices, {MAX_GOES} are allowed", self.goes.len()));
        name_problem(&self.member).or_else(|| too_long("role", &self.role)).or(many)
    }
}

impl Message for Lease {
    fn problem(&self) -> Option<String> {
        name_problem(&self.member)
    }
}

impl Message for Ack {
    fn problem(&self) -> Option<String> {
        too_long("error", self.error.as_deref().unwrap_or_default())
    }
}

impl Message for News {
    fn problem(&self) -> Option<String> {
        name_problem(&self.member).or_else(|| too_long("role", &self.role))
    }
}

fn too_long(field: &str, text: &str) -> Option<String> {
    (text.len() > MAX_ERROR).then(|| format!("`{field}` has {} bytes, {MAX_ERROR} are allowed", text.len()))
}

/// A message as bytes. All of them are plain values, which JSON always has a form for.
pub(crate) fn write<M: Message>(message: &M) -> Vec<u8> {
    serde_json::to_vec(message).unwrap_or_default()
}

/// The message that bytes stand for.
///
/// # Errors
/// What is wrong with them, as a sentence.
pub(crate) fn read<M: Message>(bytes: &[u8]) -> Result<M, String> {
    if bytes.len() > MAX_MESSAGE {
        return Err(format!("it has {} bytes, {MAX_MESSAGE} are allowed", bytes.len()));
    }
    let message: M = serde_json::from_slice(bytes).map_err(|error| format!("it is not what was expected: {error}"))?;
    message.problem().map_or(Ok(message), Err)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::Plan;

    proptest! {
        #[test]
        fn hostile_bytes_are_errors_and_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _read = (read::<Letter>(&bytes), read::<Presence>(&bytes), read::<Lease>(&bytes));
            let _read = (read::<Ack>(&bytes), read::<News>(&bytes), read::<Plan>(&bytes));
        }

        #[test]
        fn a_damaged_message_is_an_error_or_another_message(at in 0_usize..200, byte in any::<u8>()) {
            let notice = Notice {
                event: Uuid::nil(), event_type: "a.b".to_owned(), detected: 1, deadline: None,
                left: std::time::Duration::ZERO, details: serde_json::json!({"x": [1, null, "y"]}),
            };
            let mut bytes = write(&Letter::about(Kind::Leaving, &notice, "m", "r"));
            if let Some(place) = bytes.get_mut(at) { *place = byte; }
            let _read = read::<Letter>(&bytes);
        }

        #[test]
        fn any_name_is_one_token_and_comes_back(name in "[^\\p{Cc}]{1,30}") {
            let token = to_token(&name);
            prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte)), "{}", token);
            prop_assert_eq!(from_token(&token), Some(name));
        }

        #[test]
        fn tokens_of_others_are_names_or_nothing(token in ".{0,20}") {
            let _name = from_token(&token);
            let _key = read_ack_key(&token);
        }
    }

    #[test]
    fn names_are_as_the_rights_of_the_servers_name_them() {
        let names = Names::new("g", "ip-10-0-0-1.ec2");
        assert_eq!(
            names.letter(Kind::Leaving, "cloud.interruption.spot"),
            "cs.v1.g.ev.cloud-interruption-spot.ip-10-0-0-1=2Eec2"
        );
        assert_eq!(names.bucket("ack"), "cs_ack_g");
        let key = names.ack_key(Uuid::nil(), 3);
        assert_eq!(key, "00000000-0000-0000-0000-000000000000.3.ip-10-0-0-1=2Eec2");
        let subject = format!("cs.v1.g.ack.{key}");
        assert_eq!(read_ack_key(&subject), Some((Uuid::nil(), 3, "ip-10-0-0-1.ec2".to_owned())));
        assert_eq!(read_ack_key("a.b"), None);
    }

    #[test]
    fn what_is_too_long_is_left_out_or_refused() {
        let notice = Notice {
            event: Uuid::nil(),
            event_type: "t".to_owned(),
            detected: 0,
            deadline: None,
            left: std::time::Duration::ZERO,
            details: serde_json::Value::String("x".repeat(MAX_DETAILS)),
        };
        assert_eq!(Letter::about(Kind::Event, &notice, "m", "r").details, Details::default());
        let long = Outcome { ok: false, seconds: f64::NAN, error: Some("é".repeat(MAX_ERROR)) };
        let ack = Ack::of(&long, false);
        assert_eq!((ack.seconds, ack.problem()), (0.0, None));
        assert!(read::<Ack>(&vec![b' '; MAX_MESSAGE + 1]).is_err());
        let news = br#"{"fate":"lost","member":"","role":"r","epoch":1}"#;
        assert!(read::<News>(news).expect_err("no name").contains("member"));
    }
}
