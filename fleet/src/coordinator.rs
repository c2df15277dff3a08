//! What the group needs of the servers: the one border to them.
//!
//! Responsibilities: the operations by name, their answers, what may be heard. Inputs and outputs: values of [`crate::wire`] as bytes.
//! It must never know which servers these are; [`crate::nats`] is the one backend.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use crate::wire::Kind;

/// Why a call was not done, or is not known to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failed {
    /// The entry is not what was expected: somebody else wrote it.
    #[error("somebody else has written it")]
    Conflict,
    /// It may or may not have been done.
    #[error("{0}")]
    Unknown(String),
}

/// An entry of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The version: it grows with every writing, and a writing names the one it replaces.
    pub(crate) revision: u64,
    pub(crate) bytes: Bytes,
}

/// What was made ready, and what is to be said about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ready {
    /// How long the store keeps a lease.
    pub(crate) lease: Option<Duration>,
    /// The number of the last message of the stream of events.
    pub(crate) last: u64,
    /// What is not as it should be, in sentences.
    pub(crate) problems: Vec<String>,
}

/// An acknowledgement in the store: its place, the pass, the member, the message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeptAck {
    pub(crate) operation: Uuid,
    pub(crate) pass: usize,
    pub(crate) member: String,
    pub(crate) bytes: Bytes,
}

/// A presence in the store.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeptPresence {
    pub(crate) bytes: Bytes,
    /// How long before the newest of them it was written, by the servers' clock: theirs and this machine's may differ.
    pub(crate) age: Duration,
}

/// What comes without having been asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    /// The connection is there, to this server.
    Connected(String),
    /// The connection is gone.
    Disconnected,
    /// An event of a member.
    Letter(Bytes),
    /// The plan was written.
    Plan(Entry),
    /// The lease was written, or given back.
    Lease(Option<Entry>),
    /// The leader tells who came and went.
    News(Bytes),
    /// A member says that it is there (for the leader).
    Presence(Bytes),
    /// A member has left, as it said (for the leader).
    Left(String),
    /// An acknowledgement (for the leader).
    Ack(KeptAck),
    /// What the servers or the connection complain of, in a sentence.
    Problem(String),
}

/// The servers. Every call ends by itself within a few seconds, whatever they do. Calls of one member run side by side.
pub(crate) trait Coordinator: Clone + Send + Sync + 'static {
    /// What is heard.
    type Watch: Watch;

    /// Makes streams and buckets where they are missing, and looks at those that are there.
    fn prepare(&self) -> impl Future<Output = Result<Ready, Failed>> + Send;

    /// Tells an event to all members, and has it kept under its identity. The telling needs no quorum, the keeping does. What is only to
    /// be kept is not told.
    fn send(
        &self,
        kind: Kind,
        event_type: String,
        identity: String,
        letter: Bytes,
    ) -> impl Future<Output = Result<(), Failed>> + Send;

    /// Tells something to all members, kept nowhere.
    fn tell(&self, news: Bytes) -> impl Future<Output = Result<(), Failed>> + Send;

    /// The events kept after this number, the newest 256 at most, and the number of the last.
    fn missed(&self, after: u64) -> impl Future<Output = Result<(Vec<Bytes>, u64), Failed>> + Send;

    /// The lease, where somebody holds it.
    fn lease(&self) -> impl Future<Output = Result<Option<Entry>, Failed>> + Send;

    /// Takes the lease if nobody holds it, or who did had it under the revision `over`, and did not renew it in its time.
    fn take_lease(&self, over: Option<u64>, bytes: Bytes) -> impl Future<Output = Result<u64, Failed>> + Send;

    /// Renews the lease if it is at this revision.
    fn renew_lease(&self, revision: u64, bytes: Bytes) -> impl Future<Output = Result<u64, Failed>> + Send;

    /// Gives the lease back if it is at this revision.
    fn release_lease(&self, revision: u64) -> impl Future<Output = Result<(), Failed>> + Send;

    /// The plan.
    fn plan(&self) -> impl Future<Output = Result<Option<Entry>, Failed>> + Send;

    /// Writes the plan if it is at this revision (0: if there is none); with `None` whatever is there.
    fn write_plan(&self, revision: Option<u64>, bytes: Bytes) -> impl Future<Output = Result<u64, Failed>> + Send;

    /// Keeps this member's acknowledgement of a pass.
    fn acknowledge(
        &self,
        operation: Uuid,
        pass: usize,
        bytes: Bytes,
    ) -> impl Future<Output = Result<(), Failed>> + Send;

    /// The acknowledgements of an operation after this number, and the number of the last.
    fn acks(&self, operation: Uuid, after: u64) -> impl Future<Output = Result<(Vec<KeptAck>, u64), Failed>> + Send;

    /// Says that this member is there.
    fn present(&self, bytes: Bytes) -> impl Future<Output = Result<(), Failed>> + Send;

    /// Says that this member leaves.
    fn absent(&self) -> impl Future<Output = Result<(), Failed>> + Send;

    /// Who is there, and who was of late: the age tells them apart.
    fn members(&self) -> impl Future<Output = Result<Vec<KeptPresence>, Failed>> + Send;

    /// Brings everything that was sent to the servers, and ends the connection.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// What is heard, in order.
pub(crate) trait Watch: Send + 'static {
    /// The next of it; waits forever where nothing comes. Nothing is lost when the future is dropped.
    fn next(&mut self) -> impl Future<Output = Seen> + Send;

    /// Hears what only the leader needs, or no more.
    fn lead(&mut self, leads: bool) -> impl Future<Output = Result<(), Failed>> + Send;
}
