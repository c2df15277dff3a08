//! The requests about the ECS cluster.
//!
//! Inputs: a client, the cluster, the machine's number. Outputs: its container instance and its state. Must never touch another
//! container instance.

use crate::config::Ecs;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::ContainerInstanceStatus;
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{Code, Error};
use cloudsnooze_plugin_aws::failure;

/// The machine in its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) arn: String,
    /// ACTIVE, DRAINING or another.
    pub(crate) status: String,
    pub(crate) running_tasks: i32,
}

impl Seen {
    pub(crate) fn report(&self) -> Value {
        json!({ "container_instance": self.arn, "status": self.status, "running_tasks": self.running_tasks })
    }
}

/// Finds it; None when the machine is not in the cluster.
pub(crate) async fn look(client: &Client, ecs: &Ecs, instance: &str) -> Result<Option<Seen>, Error> {
    let arns = match &ecs.container_instance {
        Some(arn) => vec![arn.clone()],
        None => {
            let asked = client
                .list_container_instances()
                .cluster(&ecs.cluster)
                .filter(format!("ec2InstanceId == {instance}"))
                .send()
                .await;
            let reply = asked.map_err(|error| {
                failure(&error).error("ask for the cluster's container instances", "ecs:ListContainerInstances")
            })?;
            reply.container_instance_arns().to_vec()
        }
    };
    if arns.is_empty() {
        return Ok(None);
    }
    let asked =
        client.describe_container_instances().cluster(&ecs.cluster).set_container_instances(Some(arns)).send().await;
    let reply = asked
        .map_err(|error| failure(&error).error("ask for the container instance", "ecs:DescribeContainerInstances"))?;
    let is_named = ecs.container_instance.is_some();
    let found = reply.container_instances().iter().find(|found| is_named || found.ec2_instance_id() == Some(instance));
    Ok(found.map(|found| Seen {
        arn: found.container_instance_arn().unwrap_or_default().to_owned(),
        status: found.status().unwrap_or_default().to_owned(),
        running_tasks: found.running_tasks_count(),
    }))
}

/// Sets its state.
pub(crate) async fn set(client: &Client, cluster: &str, arn: &str, is_draining: bool) -> Result<(), Error> {
    let status = if is_draining { ContainerInstanceStatus::Draining } else { ContainerInstanceStatus::Active };
    let sent =
        client.update_container_instances_state().cluster(cluster).container_instances(arn).status(status).send().await;
    let reply = sent.map_err(|error| {
        failure(&error).error("set the container instance's state", "ecs:UpdateContainerInstancesState")
    })?;
    match reply.failures().first() {
        None => Ok(()),
        Some(failed) => {
            let reason = failed.reason().unwrap_or("no reason given");
            Err(Error::new(format!("set the container instance's state: {reason}")).code(Code::Io))
        }
    }
}
