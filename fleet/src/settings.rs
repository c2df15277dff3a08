//! The settings of a member, and what is wrong with them.
//!
//! Responsibilities: the form of the section `fleet` of the configuration, its defaults, its limits. Inputs: values that serde read.
//! Outputs: settings, or every error as a sentence with the field's name. It must never open a connection, nor read what a secret file
//! holds.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::seconds;

/// How this machine takes part in a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Fleet")]
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
    #[schemars(with = "Tls")]
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
    /// How often a member says that it is there, in seconds. One that was silent three times is forgotten. Members of a group that would
    /// say so more than 50 times a second together take so much longer: 20 s instead of 5 s in one of 1,000, a minute at most.
    #[serde(default = "five")]
    pub heartbeat_seconds: f64,
    /// How long after its first notice, in seconds, an operation holds back those that go, unless their role is the first of `steps`: the
    /// machines of a zone hear of the same end within one polling interval of their metadata service, and one of a role that has to act
    /// first may be the last to hear. Who stays and reacts begins at once.
    #[serde(default = "one")]
    pub gather_seconds: f64,
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
#[schemars(rename = "FleetStep")]
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
#[schemars(rename = "FleetTls")]
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

fn one() -> f64 {
    1.0
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

/// A member that was silent for so many of its heartbeats is lost.
pub(crate) const MISSED_BEATS: u32 = 3;
/// The longest that a member is silent in a large group, in heartbeats as they are configured.
const MOST_BEATS: u32 = 12;

/// The longest between two heartbeats of a member. As often the store is asked at rest, beside what it tells by itself.
pub(crate) fn longest_beat(settings: &Settings) -> Duration {
    seconds(settings.heartbeat_seconds) * MOST_BEATS
}

/// The most bytes of a group's or a role's name.
const MAX_WORD: usize = 64;
/// The most bytes of a member's name: what is left of a key of the store when each needs three.
const MAX_NAME: usize = 128;

impl Settings {
    /// What is wrong, as sentences that name the field; empty when all is well. Files are not looked at: they may come later.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        word("group", &self.group, &mut found);
        word("role", &self.role, &mut found);
        if let Some(member) = &self.member {
            found.extend(name_problem(member));
        }
        self.server_problems(&mut found);
        if self.credentials.is_some() && self.nkey_file.is_some() {
            found.push(
                "`credentials` and `nkey_file` are both set; the servers take one of them: remove the other".to_owned(),
            );
        }
        if let Some(tls) = &self.tls
            && tls.certificate.is_some() != tls.key.is_some()
        {
            found.push("`tls.certificate` and `tls.key` belong together: set both, or none".to_owned());
        }
        self.step_problems(&mut found);
        within("lease_seconds", self.lease_seconds, 1.0, 60.0, &mut found);
        within("heartbeat_seconds", self.heartbeat_seconds, 0.5, 60.0, &mut found);
        within("gather_seconds", self.gather_seconds, 0.0, 10.0, &mut found);
        within("work_seconds", self.work_seconds, 0.0, 86_400.0, &mut found);
        if ![1, 3, 5].contains(&self.replicas) {
            found.push(format!("`replicas` is {}; it may be 1, 3 or 5, as only odd numbers have a use", self.replicas));
        }
        found
    }

    fn server_problems(&self, found: &mut Vec<String>) {
        if self.servers.is_empty() {
            found.push("`servers` is empty; name at least one, such as nats://10.0.0.5:4222".to_owned());
        }
        for server in &self.servers {
            // First, so that the secret is not repeated in another message.
            if server.contains('@') {
                found.push("`servers`: an address holds a secret; put it into `credentials` or `nkey_file`".to_owned());
            } else if !server.starts_with("nats://") && !server.starts_with("tls://") {
                found.push(format!("`servers`: `{server}` begins with neither nats:// nor tls://"));
            } else if let Err(error) = server.parse::<async_nats::ServerAddr>() {
                found.push(format!(
                    "`servers`: `{server}` is no address ({error}); write nats://host:port or tls://host:port"
                ));
            }
        }
    }

    fn step_problems(&self, found: &mut Vec<String>) {
        for (index, step) in self.steps.iter().enumerate() {
            word(&format!("steps[{index}].role"), &step.role, found);
            within(&format!("steps[{index}].timeout_seconds"), step.timeout_seconds, 0.1, 3600.0, found);
            if step.most_at_once == Some(0) {
                found.push(format!(
                    "`steps[{index}].most_at_once` is 0: nobody would ever act; leave it out or write 1 or more"
                ));
            }
            if self.steps.iter().take(index).any(|earlier| earlier.role == step.role) {
                found.push(format!(
                    "`steps[{index}].role`: `{}` has a step already; a role acts in one step",
                    step.role
                ));
            }
        }
    }
}

/// What is wrong with the name of a member.
pub(crate) fn name_problem(name: &str) -> Option<String> {
    let bad = name.is_empty() || name.len() > MAX_NAME || name.chars().any(|letter| letter.is_control());
    bad.then(|| {
        format!("`member` is `{}`; it needs 1 to {MAX_NAME} bytes without control characters", name.escape_debug())
    })
}

fn word(field: &str, value: &str, found: &mut Vec<String>) {
    found.extend(word_problem(field, value));
}

/// What is wrong with a group's or a role's name.
pub(crate) fn word_problem(field: &str, value: &str) -> Option<String> {
    let fits = (1..=MAX_WORD).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    (!fits).then(|| {
        let shown = value.escape_debug();
        format!("`{field}` is `{shown}`; it needs 1 to {MAX_WORD} of the letters A-Z a-z 0-9 - _")
    })
}

fn within(field: &str, value: f64, least: f64, most: f64, found: &mut Vec<String>) {
    if !(least..=most).contains(&value) {
        found.push(format!("`{field}` is {value}; it may be {least} to {most}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minimal() -> Settings {
        serde_json::from_str(r#"{"group":"db-1","role":"primary","servers":["nats://a:4222"]}"#).expect("settings")
    }

    #[test]
    fn three_fields_are_enough_and_the_rest_has_defaults() {
        let settings = minimal();
        assert_eq!(settings.problems(), Vec::<String>::new());
        assert!(settings.may_lead && !settings.unfenced);
        assert_eq!((settings.lease_seconds, settings.heartbeat_seconds, settings.replicas), (5.0, 5.0, 3));
    }

    #[test]
    fn what_is_not_known_is_refused_and_fencing_is_no_setting() {
        for more in [r#""grup":"a""#, r#""unfenced":true"#] {
            let text = format!(r#"{{"group":"g","role":"r","servers":[],{more}}}"#);
            assert!(serde_json::from_str::<Settings>(&text).is_err(), "{more}");
        }
        let schema = serde_json::to_string(&schemars::schema_for!(Settings)).expect("text");
        assert!(schema.contains("lease_seconds") && !schema.contains("unfenced"), "{schema}");
    }

    #[test]
    fn every_error_is_told_with_its_field() {
        let step = |role: &str, timeout_seconds| Step {
            role: role.to_owned(),
            timeout_seconds,
            most_at_once: Some(0),
            reacts: false,
        };
        let settings = Settings {
            group: "a b".to_owned(),
            role: String::new(),
            member: Some("x\n".to_owned()),
            servers: vec!["http://a".to_owned(), "nats://u:p@h:1".to_owned()],
            credentials: Some("/c".into()),
            nkey_file: Some("/n".into()),
            tls: Some(Tls { ca: None, certificate: Some("/x".into()), key: None }),
            steps: vec![step("lb", f64::NAN), step("lb", 1.0)],
            lease_seconds: 0.0,
            heartbeat_seconds: f64::INFINITY,
            gather_seconds: 11.0,
            work_seconds: -1.0,
            replicas: 2,
            ..minimal()
        };
        let problems = settings.problems().join("\n");
        for field in
            ["group", "role", "member", "servers", "nkey_file", "tls.key", "steps[0].timeout_seconds", "steps[1].role"]
        {
            assert!(problems.contains(&format!("`{field}`")), "{field}: {problems}");
        }
        for field in [
            "steps[0].most_at_once",
            "lease_seconds",
            "heartbeat_seconds",
            "gather_seconds",
            "work_seconds",
            "replicas",
        ] {
            assert!(problems.contains(&format!("`{field}`")), "{field}: {problems}");
        }
        assert!(problems.contains("holds a secret") && !problems.contains("u:p"), "{problems}");
    }
}
