//! What the calls of members are on the wire, and their sums.
//!
//! Responsibilities: messages and bytes of each kind of call, as [`crate::nats`] makes them and the servers answer. Inputs: calls, lengths
//! of what they carry. Outputs: [`Traffic`]. It must never hide a kind of call in another one: each has a line of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Boot;
use crate::wire::{Kind, Names};

/// A reply's subject, as the library makes them: `_INBOX.`, and two names of 22 letters.
const INBOX: usize = 52;
/// Verb, blanks, lengths and the ends of lines of a message.
const FRAME: usize = 14;
/// The header of a write that names the version that it replaces, and that of one that has an identity.
const EXPECTS: usize = 66;
const IDENTITY: usize = 92;
/// Headers of a stored message: stream, subject, number and time, without the names themselves. Published again there is one more.
const STORED: usize = 130;
const AGAIN: usize = 24;
/// What servers say to a write, and what they say of a stream (2.15 in a cluster of three; parts of it grow with its names).
const WRITTEN: usize = 36;
const STREAM_INFO: usize = 1500;
/// An identifier as text, and a pass: what an acknowledgement's key has in front of the member.
const OPERATION: usize = 39;

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Looks whether streams and buckets are there, with each connection.
    Prepare,
    /// An event, to all and to be kept.
    Send,
    /// Who came and went, to all.
    Tell,
    /// Looks for events of the time away.
    Missed,
    /// Looks who leads.
    ReadLease,
    /// Takes the lease.
    TakeLease,
    /// Wants to take it and is refused.
    RefusedLease,
    /// Renews it.
    RenewLease,
    /// Gives it back.
    ReleaseLease,
    /// Looks at the plan.
    ReadPlan,
    /// Writes it.
    WritePlan,
    /// Answers in an operation.
    Acknowledge,
    /// The leader looks for answers.
    ReadAcks,
    /// Says that it is there.
    Present,
    /// The leader asks for the list of members.
    ListMembers,
    /// The leader reads what each of them says.
    ReadMembers,
}

impl Call {
    /// Whether it writes to a stream on the disk.
    #[must_use]
    pub fn is_on_disk(self) -> bool {
        matches!(
            self,
            Self::Send | Self::TakeLease | Self::RenewLease | Self::ReleaseLease | Self::WritePlan | Self::Acknowledge
        )
    }

    /// Whether it writes to a stream in memory.
    #[must_use]
    pub fn is_in_memory(self) -> bool {
        matches!(self, Self::Present)
    }

    /// Whether it is answered by the servers' management of streams, which has a queue of its own.
    #[must_use]
    pub fn is_management(self) -> bool {
        matches!(self, Self::Prepare | Self::ListMembers)
    }
}

/// How much there was of one kind. Bytes are payloads with the lines of the protocol, without TCP's and TLS' part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Messages of members to the servers.
    pub asked: u64,
    /// Their bytes.
    pub asked_bytes: u64,
    /// Answers of the servers.
    pub answered: u64,
    /// Their bytes.
    pub answered_bytes: u64,
    /// Messages to those who listen.
    pub delivered: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.asked += other.asked;
        self.asked_bytes += other.asked_bytes;
        self.answered += other.answered;
        self.answered_bytes += other.answered_bytes;
        self.delivered += other.delivered;
        self.delivered_bytes += other.delivered_bytes;
    }

    /// Messages to and from the servers.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.asked + self.answered + self.delivered
    }

    /// Bytes to and from the servers.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.asked_bytes + self.answered_bytes + self.delivered_bytes
    }
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Over how long.
    pub seconds: f64,
    /// By kind.
    pub calls: BTreeMap<Call, Tally>,
    /// The second in which most bytes went to and from the servers.
    pub busiest: Tally,
    /// The longest plan that was written, bytes; 0 where none was.
    pub longest_plan: u64,
}

impl Traffic {
    /// All kinds together.
    #[must_use]
    pub fn total(&self) -> Tally {
        self.sum(|_| true)
    }

    /// Those kinds together.
    #[must_use]
    pub fn sum(&self, fits: impl Fn(Call) -> bool) -> Tally {
        let mut sum = Tally::default();
        self.calls.iter().filter(|(call, _)| fits(**call)).for_each(|(_, tally)| sum.add(*tally));
        sum
    }
}

#[derive(Default)]
pub(super) struct Counting {
    since: Boot,
    traffic: Traffic,
    second: u64,
    of_second: Tally,
}

impl Counting {
    /// Messages and their bytes, each way.
    pub(super) fn asked(&mut self, now: Boot, call: Call, asked: (usize, usize), answered: (usize, usize)) {
        if call == Call::WritePlan {
            self.traffic.longest_plan = self.traffic.longest_plan.max(asked.1 as u64);
        }
        self.add(
            now,
            call,
            Tally {
                asked: asked.0 as u64,
                asked_bytes: asked.1 as u64,
                answered: answered.0 as u64,
                answered_bytes: answered.1 as u64,
                ..Tally::default()
            },
        );
    }

    pub(super) fn delivered(&mut self, now: Boot, call: Call, ears: usize, bytes: usize) {
        let (delivered, delivered_bytes) = (ears as u64, (ears * bytes) as u64);
        self.add(now, call, Tally { delivered, delivered_bytes, ..Tally::default() });
    }

    fn add(&mut self, now: Boot, call: Call, tally: Tally) {
        self.turn_over(now);
        self.of_second.add(tally);
        self.traffic.calls.entry(call).or_default().add(tally);
    }

    fn turn_over(&mut self, now: Boot) {
        let second = now.0 / 1_000_000_000;
        if second != self.second {
            let over = std::mem::take(&mut self.of_second);
            if over.bytes() > self.traffic.busiest.bytes() {
                self.traffic.busiest = over;
            }
            self.second = second;
        }
    }

    pub(super) fn take(&mut self, now: Boot) -> Traffic {
        self.turn_over(now.after(Duration::from_secs(1)));
        let seconds = self.since.until(now).as_secs_f64();
        self.since = now;
        Traffic { seconds, ..std::mem::take(&mut self.traffic) }
    }
}

/// Lengths of one member's lines.
pub(super) struct Words {
    names: Names,
    buckets: [usize; 4],
}

impl Words {
    pub(super) fn new(names: Names) -> Self {
        // As a stream: `KV_` and the bucket's name.
        let buckets = ["lead", "plan", "ack", "members"].map(|kind| names.bucket(kind).len() + 3);
        Self { names, buckets }
    }

    pub(super) fn member(&self) -> String {
        self.names.own.clone()
    }

    /// What a member's key takes in a list.
    pub(super) fn listed(&self) -> usize {
        self.key(Call::Present) + 6
    }

    pub(super) fn letter(&self, kind: Kind, event_type: &str) -> usize {
        self.names.letter(kind, event_type).len()
    }

    /// The stream of a call, as text.
    fn stream(&self, call: Call) -> usize {
        let [lead, plan, ack, members] = self.buckets;
        match call {
            Call::ReadLease | Call::TakeLease | Call::RefusedLease | Call::RenewLease | Call::ReleaseLease => lead,
            Call::ReadPlan | Call::WritePlan => plan,
            Call::Acknowledge | Call::ReadAcks => ack,
            Call::Present | Call::ListMembers | Call::ReadMembers | Call::Prepare => members,
            Call::Send | Call::Missed => self.names.events_stream().len(),
            Call::Tell => 0,
        }
    }

    /// The subject under which the call's stream has it: `$KV.`, the bucket, the key.
    fn key(&self, call: Call) -> usize {
        let bucket = self.stream(call).saturating_sub(3) + 5;
        match call {
            Call::Acknowledge | Call::ReadAcks => bucket + OPERATION + self.names.own.len(),
            Call::Present | Call::ReadMembers | Call::ListMembers => bucket + self.names.own.len(),
            Call::Missed => self.names.all_events().len(),
            Call::Tell => self.names.to_all("news").len(),
            // The subject of an event comes with its payload, as it holds the event's type.
            Call::Send | Call::Prepare => 0,
            _ => bucket + 4,
        }
    }

    /// Bytes of requests.
    pub(super) fn asked(&self, call: Call, messages: usize, payload: usize) -> usize {
        let reply = if call == Call::Tell { 0 } else { INBOX };
        let each = match call {
            Call::Prepare | Call::ListMembers => "$JS.API.STREAM.INFO.".len() + self.stream(call),
            Call::Missed | Call::ReadLease | Call::ReadPlan | Call::ReadAcks | Call::ReadMembers => {
                "$JS.API.DIRECT.GET.".len() + self.stream(call) + 1 + self.key(call)
            }
            Call::TakeLease | Call::RefusedLease | Call::RenewLease | Call::ReleaseLease | Call::WritePlan => {
                self.key(call) + EXPECTS
            }
            Call::Send => IDENTITY,
            Call::Tell | Call::Acknowledge | Call::Present => self.key(call),
        };
        messages * (each + reply + FRAME) + payload
    }

    /// Bytes of answers.
    pub(super) fn answered(&self, call: Call, messages: usize, payload: usize) -> usize {
        let each = match call {
            Call::Tell => return 0,
            Call::Prepare | Call::ListMembers => STREAM_INFO,
            Call::Missed | Call::ReadLease | Call::ReadPlan | Call::ReadAcks | Call::ReadMembers => {
                STORED + self.stream(call) + self.key(call)
            }
            _ => WRITTEN + self.stream(call),
        };
        messages * (each + INBOX + FRAME) + payload
    }

    /// Bytes of a message to one who listens.
    pub(super) fn delivered(&self, call: Call, payload: usize) -> usize {
        let again = STORED + AGAIN + self.stream(call) + self.key(call);
        let each = match call {
            Call::Send => self.letter(Kind::Event, super::EVENT_TYPE) + IDENTITY,
            Call::Tell | Call::Present => self.key(call),
            Call::Acknowledge => self.names.acks().len() + OPERATION + self.names.own.len() + again,
            Call::TakeLease | Call::RenewLease | Call::ReleaseLease => self.names.lease().len() + again,
            _ => self.names.to_all("plan").len() + again,
        };
        each + FRAME + payload
    }
}
