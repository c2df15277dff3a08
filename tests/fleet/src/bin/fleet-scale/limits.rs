//! Limits of the servers, each with who says so.
//!
//! Inputs: what was measured. Outputs: numbers and their origin. It must never hold a limit that nobody stands for.

use serde::Serialize;

use crate::measure::Measured;

/// Servers of a cell: a cluster that keeps everything three times.
pub const CELL: f64 = 3.0;
/// Streams and buckets of a group, each a Raft group of its own: events, lead, plan, ack, members.
pub const ASSETS: f64 = 5.0;
/// A leader of a Raft group that has nothing to say says so to two others once a second (nats-server, server/raft.go, `hbInterval`).
pub const RAFT_BEATS: f64 = 2.0;

/// Where a number comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// On this machine, now.
    Measured,
    /// Counted in the simulation.
    Simulated,
    /// From the number of instances and groups alone.
    Counted,
    /// A public document.
    Document(&'static str),
}

impl Origin {
    /// For people.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Measured => "measured here, times groups and members",
            Self::Simulated => "simulated, times groups",
            Self::Counted => "counted",
            Self::Document(name) => name,
        }
    }
}

/// What a cell cannot have more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Raft groups on each server.
    HaAssets,
    /// Copies of streams in one management group.
    MetaState,
    /// Connections to each server.
    Connections,
    /// Writes to the disk each second.
    DiskWrites,
    /// Requests that wait for the management of streams.
    Management,
    /// Bytes of one message.
    Payload,
}

/// A limit.
#[derive(Clone, Debug, Serialize)]
pub struct Limit {
    pub kind: Kind,
    pub what: &'static str,
    pub value: f64,
    pub origin: Origin,
}

/// All of them.
pub fn all(measured: Option<&Measured>) -> Vec<Limit> {
    let limit = |kind, what, value, origin| Limit { kind, what, value, origin };
    let mut all = vec![
        limit(
            Kind::HaAssets,
            "replicated streams on a server",
            1000.0,
            Origin::Document("Synadia Insights, check CLUSTER_003: warns from 1,000 on"),
        ),
        limit(
            Kind::MetaState,
            "copies of streams in a cluster",
            5000.0,
            Origin::Document("Synadia Insights, check META_005: warns from 5,000 on"),
        ),
        limit(
            Kind::Management,
            "requests to the management that wait, a server",
            10_000.0,
            Origin::Document("docs.nats.io, Configuring JetStream: beyond 10K in flight all are dropped"),
        ),
        limit(
            Kind::Connections,
            "connections to a server",
            65_536.0,
            Origin::Document("nats.docs pull request 299: max_connections is 65536 by default"),
        ),
        limit(
            Kind::Payload,
            "bytes of a message",
            1_048_576.0,
            Origin::Document("nats.docs pull request 299: max_payload is 1 MiB by default"),
        ),
    ];
    if let Some(rate) = measured.and_then(Measured::leases) {
        all.push(limit(
            Kind::DiskWrites,
            "writes to disk each second, 100 streams, three servers on this machine",
            rate,
            Origin::Measured,
        ));
    }
    all
}
