//! What the owner of a member gives to it and hears from it.
//!
//! Responsibilities: the types at the border of this crate. Inputs: none. Outputs: plain values.
//! It must never hold logic, a clock or a connection.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::details::Details;

/// An event of this machine, as its owner saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// The identity of the event: the same for everybody who hears of it, also over a crash of the one who tells it.
    pub event: Uuid,
    /// The CloudEvents type, such as `cloud.interruption.preemption`.
    pub event_type: String,
    /// When it was detected: nanoseconds since 1970 by the wall clock of this machine. For people; nothing is computed with it.
    pub detected: i64,
    /// When the cloud acts, in the same unit; `None` where that is not known. For people too.
    pub deadline: Option<i64>,
    /// The time there is, counted from the call that this notice is given to. All arithmetic is done with this, on CLOCK_BOOTTIME.
    /// Where the cloud states no time it is the one that the owner has configured for the type.
    pub left: Duration,
    /// The whole event (a CloudEvent), passed on untouched; it is a drill where its attribute `drill` is true. At most
    /// 64 KiB as text; what is longer is replaced by `null`.
    pub details: serde_json::Value,
}

/// How local work ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// Whether all of it succeeded.
    pub ok: bool,
    /// How long it took, in seconds; the next notice's latest start is computed from it. Below zero and not finite counts as zero.
    pub seconds: f64,
    /// Why it did not succeed, in a sentence; at most 1000 bytes of it are passed on.
    pub error: Option<String>,
}

/// What [`Member::turn`](crate::Member::turn) waited for.
#[derive(Clone, Debug, PartialEq)]
pub enum Turn {
    /// The group says that it is this machine's turn: begin, and call [`Member::done`](crate::Member::done) at the end. That it began is on
    /// the disk already.
    Go {
        /// The operation of the group.
        operation: String,
        /// The pass of the operation, counted from 0.
        step: usize,
        /// The epoch of the leader who said so.
        epoch: u64,
    },
    /// Nobody said so and the time to wait is over, or there is nobody to ask: begin at once, and call `done` at the end.
    Alone {
        /// The reason, in a sentence.
        why: String,
    },
    /// It was begun before, by this process or by one before it: do not begin it again. Whoever keeps a journal goes on by that, and calls
    /// `done` at the end; where `over` is there, it has ended.
    Begun {
        /// The operation it was begun for; empty where it was begun alone.
        operation: String,
        /// The pass of the operation, counted from 0.
        step: usize,
        /// The epoch of the leader who said so; 0 where it was begun alone.
        epoch: u64,
        /// How it ended, where it has ended.
        over: Option<Outcome>,
    },
    /// The notice was withdrawn ([`Member::stays`](crate::Member::stays)), or was never given to
    /// [`Member::leaving`](crate::Member::leaving): there is nothing to do.
    Withdrawn,
}

/// A member that is about to go.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaver {
    /// The notice that says so.
    pub event: Uuid,
    /// Its name.
    pub member: String,
    /// Its role.
    pub role: String,
    /// The time it has left, now.
    pub left: Duration,
    /// It does not go: it is a drill.
    pub drill: bool,
}

/// A member that an operation was for.
#[derive(Clone, Debug, PartialEq)]
pub struct Departed {
    /// Its notice.
    pub event: Uuid,
    /// Its name.
    pub member: String,
    /// Its role.
    pub role: String,
    /// It does not go: it is a drill.
    pub drill: bool,
}

/// An event of another member.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// The event's identity. Each is told once, as far as the last 1024 are remembered.
    pub event: Uuid,
    /// The CloudEvents type.
    pub event_type: String,
    /// Who tells it.
    pub member: String,
    /// That member's role.
    pub role: String,
    /// When it was detected: nanoseconds since 1970 by that member's wall clock.
    pub detected: i64,
    /// When the cloud acts, in the same unit.
    pub deadline: Option<i64>,
    /// The time that was left when it was sent. For an event that was replayed that time has gone on since.
    pub left: Duration,
    /// True when it was read from the server's store after this member had been away.
    pub replayed: bool,
    /// True for a drill.
    pub drill: bool,
    /// The whole event.
    pub details: Details,
}

/// What a member tells its owner.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// An event of another member.
    Event(Heard),
    /// Another member is about to go, or its time was moved.
    Leaving {
        /// The notice that says so.
        event: Uuid,
        /// Who goes.
        member: String,
        /// Its role.
        role: String,
        /// The time it has left, now.
        left: Duration,
        /// It does not go: it is a drill.
        drill: bool,
        /// The whole event.
        details: Details,
    },
    /// A step of an operation for this member, which stays: a load balancer drains who leaves. Its end is told by
    /// [`Member::done`](crate::Member::done) with `event`. That it began is on the disk already: it is told once.
    Step {
        /// The operation of the group.
        operation: String,
        /// The pass of the operation, counted from 0.
        step: usize,
        /// What to answer with.
        event: Uuid,
        /// The epoch of the leader who said so.
        epoch: u64,
        /// Who goes, with the time each has left.
        leaving: Vec<Leaver>,
        /// The time there is for this step.
        left: Duration,
    },
    /// The notice of another member was withdrawn.
    Stays {
        /// The notice.
        event: Uuid,
        /// Who stays.
        member: String,
        /// True where it was a drill.
        drill: bool,
    },
    /// A member came (told by the leader).
    Joined {
        /// Its name.
        member: String,
        /// Its role.
        role: String,
    },
    /// A member has gone, as it said it would.
    Gone {
        /// Its name.
        member: String,
        /// Its role.
        role: String,
    },
    /// Nothing was heard of a member for three heartbeats.
    Lost {
        /// Its name.
        member: String,
        /// Its role.
        role: String,
    },
    /// Who leads now; it may be this member.
    Leader {
        /// Its name.
        name: String,
        /// Its epoch: higher than any before.
        epoch: u64,
    },
    /// An operation is over. Told once an operation.
    Completed {
        /// The operation.
        operation: String,
        /// The epoch of the leader that completed it.
        epoch: u64,
        /// True where this member is that leader: what is to be done once for the group is this one's to do.
        led: bool,
        /// For whom it was.
        departed: Vec<Departed>,
        /// Who did not answer in time, and in which pass, in sentences.
        missing: Vec<String>,
    },
    /// This member acts without the group: also what [`Turn::Alone`] says.
    Alone {
        /// The notice.
        event: Uuid,
        /// The reason, in a sentence.
        why: String,
    },
    /// A directive of a leader that is none any more was refused: its epoch is below the highest seen.
    Refused {
        /// The epoch of the directive.
        epoch: u64,
        /// The highest epoch seen.
        highest: u64,
    },
    /// The connection to the servers came up (true) or was lost.
    Connected(bool),
}

/// Who owns a member: it is told what the group says.
pub trait Local: Send + Sync + 'static {
    /// Takes one telling. Called on the runtime of the member, one at a time and in order; it must not block.
    fn told(&self, told: Told);
}

/// A member that was heard of, as [`Status`] shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Present {
    /// Its name.
    pub member: String,
    /// Its role.
    pub role: String,
    /// Whether it may lead.
    pub may_lead: bool,
    /// Whether it is about to go.
    pub leaving: bool,
    /// How long ago it was heard of, in seconds.
    pub heard_seconds: f64,
}

/// How often something happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Events of this machine that were sent.
    pub sent: u64,
    /// Of these, the ones that the servers acknowledged as kept.
    pub kept: u64,
    /// Events of others that were told.
    pub heard: u64,
    /// Messages of others that could not be read, or that came twice.
    pub ignored: u64,
    /// Directives of leaders that are none any more.
    pub refused: u64,
    /// Turns that were given by a leader.
    pub turns: u64,
    /// Times that this member acted alone.
    pub alone: u64,
    /// Times that this member became the leader.
    pub led: u64,
    /// Times that the connection was lost.
    pub disconnected: u64,
    /// Inputs that were dropped because the member could not keep up.
    pub dropped: u64,
}

/// The operation of the group, as the plan says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperationStatus {
    /// Its identity.
    pub operation: String,
    /// The epoch of the plan.
    pub epoch: u64,
    /// True when it is over.
    pub complete: bool,
    /// The pass that runs, counted from 0.
    pub step: usize,
    /// The roles of its passes, in order.
    pub roles: Vec<String>,
    /// Who leaves.
    pub leaving: Vec<String>,
    /// Whose turn it is.
    pub acting: Vec<String>,
    /// Who did not answer in time, in sentences.
    pub missing: Vec<String>,
}

/// What a member knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The group.
    pub group: String,
    /// This member's name.
    pub member: String,
    /// Its role.
    pub role: String,
    /// Whether there is a connection.
    pub connected: bool,
    /// Name and version of the server it is connected to, or was last.
    pub server: Option<String>,
    /// Who leads, as far as is known.
    pub leader: Option<String>,
    /// Whether this member leads, by its own clock.
    pub leads: bool,
    /// The highest epoch seen.
    pub epoch: u64,
    /// The operation that runs, or the last one.
    pub operation: Option<OperationStatus>,
    /// Who is there. Only the leader keeps watch; for others it is empty, see [`Member::members`](crate::Member::members).
    pub members: Vec<Present>,
    /// How long this machine's own work took when it was last measured, in seconds.
    pub work_seconds: f64,
    /// Counted since the start.
    pub counts: Counts,
    /// What is wrong, in sentences: what stands (a server that is too old), and what was seen within the last minute.
    pub problems: Vec<String>,
}
