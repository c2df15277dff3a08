//! The requests about target groups.
//!
//! Inputs: a client, a group, what the machine is called in it. Outputs: its targets and their states. Must never touch another
//! target.

use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::types::TargetDescription;
use cloudsnooze_plugin::Error;
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin_aws::failure;
use serde::{Deserialize, Serialize};

/// The machine, as one group knows it: once a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    pub(crate) group: String,
    pub(crate) id: String,
    pub(crate) port: Option<i32>,
    pub(crate) zone: Option<String>,
}

/// And how it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) target: Target,
    /// Such as healthy, draining, unused.
    pub(crate) state: String,
}

impl Seen {
    pub(crate) fn report(&self) -> Value {
        let name = self.target.group.rsplit(":targetgroup/").next().unwrap_or_default();
        json!({ "group": name, "port": self.target.port, "state": self.state })
    }

    /// Whether it gets requests, or will when it is found healthy.
    pub(crate) fn is_registered(&self) -> bool {
        self.state != "draining" && self.state != "unused"
    }
}

/// The machine's targets in a group. Those that were deregistered long ago are not shown by AWS.
pub(crate) async fn targets(client: &Client, group: &str, id: &str) -> Result<Vec<Seen>, Error> {
    let asked = client.describe_target_health().target_group_arn(group).send().await;
    let reply = asked.map_err(|error| {
        failure(&error).error(&format!("ask for the targets of {group}"), "elasticloadbalancing:DescribeTargetHealth")
    })?;
    let found = reply.target_health_descriptions().iter().filter_map(|found| {
        let target = found.target().filter(|target| target.id() == Some(id))?;
        let state = found.target_health().and_then(|health| health.state()).map_or("unknown", |state| state.as_str());
        let target = Target {
            group: group.to_owned(),
            id: id.to_owned(),
            port: target.port(),
            zone: target.availability_zone().map(str::to_owned),
        };
        Some(Seen { target, state: state.to_owned() })
    });
    Ok(found.collect())
}

/// Takes it out.
pub(crate) async fn deregister(client: &Client, target: &Target) -> Result<(), Error> {
    let sent = client.deregister_targets().target_group_arn(&target.group).targets(description(target)).send().await;
    sent.map(drop).map_err(|error| {
        failure(&error).error(&format!("leave {}", target.group), "elasticloadbalancing:DeregisterTargets")
    })
}

/// Puts it back.
pub(crate) async fn register(client: &Client, target: &Target) -> Result<(), Error> {
    let sent = client.register_targets().target_group_arn(&target.group).targets(description(target)).send().await;
    sent.map(drop).map_err(|error| {
        failure(&error).error(&format!("return to {}", target.group), "elasticloadbalancing:RegisterTargets")
    })
}

fn description(target: &Target) -> TargetDescription {
    TargetDescription::builder().id(&target.id).set_port(target.port).set_availability_zone(target.zone.clone()).build()
}
