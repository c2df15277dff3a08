//! The settings of a member, and what is wrong with them.
//!
//! Responsibilities: the form of the section `fleet` of the configuration, its defaults, its limits. Inputs: values that serde read.
//! Outputs: settings, or every error as a sentence with the field's name. It must never open a connection, nor read what a secret file holds.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How this machine takes part in a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The group: one distributed system, all members of which act in one order. Letters, digits, `-` and `_`, at most 64.
    pub group: String,
    /// What this machine is in the group, such as `replica`. The same letters as for the group.
    pub role: String,
    /// The name of this machine in the group, which no other member has. By default the instance's identifier, else the host's name.
    #[serde(default)]
    pub member: Option<String>,
    /// The servers, as `nats://host:port` or `tls://host:port`. All members of a group need the same cluster.
    pub servers: Vec<String>,
    /// A credentials file of NATS (JWT and seed). Only its owner may be able to read it (mode 0600).
    #[serde(default)]
    pub credentials: Option<PathBuf>,
    /// A file with an NKey seed. Only its owner may be able to read it (mode 0600).
    #[serde(default)]
    pub nkey_file: Option<PathBuf>,
    /// Certificates for `tls://`; without them the system's authorities count.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// The order in which roles act when members have to go. A role that is not named acts last. It has to be the same for all members that
    /// may lead: the leader's counts.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Whether this member may lead the group.
    #[serde(default = "yes")]
    pub may_lead: bool,
    /// How long a leader may be silent, in seconds: 5 where notices are two minutes, 3 where they are 30 s.
    #[serde(default = "five")]
    pub lease_seconds: f64,
    /// How often a member says that it is there, in seconds. One that was silent three times is forgotten.
    #[serde(default = "five")]
    pub heartbeat_seconds: f64,
    /// On how many servers everything is kept: 3, or 1 where there is a single server.
    #[serde(default = "three")]
    pub replicas: u8,
    /// How long this machine's own work takes, in seconds, before it was ever measured.
    #[serde(default = "ten")]
    pub work_seconds: f64,
    /// Obeys leaders that were deposed. It exists to show in a test what the refusal is good for.
    #[serde(skip)]
    #[doc(hidden)]
    pub unfenced: bool,
}

/// A step of the order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The role whose members act.
    pub role: String,
    /// How long one of them may take, in seconds, before the group goes on without it.
    pub timeout_seconds: f64,
    /// How many of the role may act at the same time, so that a quorum stays; all at once by default.
    #[serde(default)]
    pub most_at_once: Option<u32>,
    /// Whether members of this role that stay act too, for those who leave: a load balancer stops sending to them.
    #[serde(default)]
    pub reacts: bool,
}

/// Files for TLS, in PEM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Authorities to trust beside the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// This member's certificate.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// The key of that certificate.
    #[serde(default)]
    pub key: Option<PathBuf>,
}

fn yes() -> bool {
    true
}

fn three() -> u8 {
    3
}

fn five() -> f64 {
    5.0
}

fn ten() -> f64 {
    10.0
}
