//! The requests to Auto Scaling.
//!
//! Inputs: a client, the machine's number. Outputs: its state, its hooks, what they were answered. Must never answer for
//! another machine.

use crate::config::Answer;
use aws_sdk_autoscaling::Client;
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{Code, Error};
use cloudsnooze_plugin_aws::failure;
use cloudsnooze_plugin_runtime::Clock;
use std::time::Duration;

/// As AWS calls hooks for machines that go away.
const TERMINATING: &str = "autoscaling:EC2_INSTANCE_TERMINATING";
/// The state of a machine that is held.
pub(crate) const HELD: &str = "Terminating:Wait";
/// Between two looks at the state.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The machine, as AWS shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) group: String,
    /// Such as InService or Terminating:Wait.
    pub(crate) state: String,
}

/// A hook of its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hook {
    pub(crate) name: String,
    pub(crate) heartbeat_seconds: Option<i32>,
    pub(crate) global_seconds: Option<i32>,
}

/// What became of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) hook: Hook,
    /// None: taken. Else why the machine does not wait there.
    pub(crate) refused: Option<String>,
}

impl Answered {
    pub(crate) fn report(&self) -> Value {
        json!({
            "name": self.hook.name, "heartbeat_seconds": self.hook.heartbeat_seconds,
            "global_seconds": self.hook.global_seconds, "taken": self.refused.is_none(), "refused": self.refused,
        })
    }
}

/// Asks for the machine; None when it is in no group.
pub(crate) async fn machine(client: &Client, instance: &str) -> Result<Option<Machine>, Error> {
    let asked = client.describe_auto_scaling_instances().instance_ids(instance).send().await;
    let reply = asked.map_err(|error| {
        failure(&error).error("ask for the machine's state", "autoscaling:DescribeAutoScalingInstances")
    })?;
    let found = reply.auto_scaling_instances().iter().find(|found| found.instance_id() == Some(instance));
    Ok(found.map(|found| Machine {
        group: found.auto_scaling_group_name().unwrap_or_default().to_owned(),
        state: found.lifecycle_state().unwrap_or_default().to_owned(),
    }))
}

/// Looks again and again until the state is `wanted`, or the time is over; gives the last one that was seen.
pub(crate) async fn until(
    client: &Client,
    instance: &str,
    clock: &Clock,
    wanted: impl Fn(&str) -> bool,
) -> Result<Option<Machine>, Error> {
    loop {
        let seen = machine(client, instance).await?;
        let is_wanted = seen.as_ref().is_none_or(|machine| wanted(&machine.state));
        if is_wanted || clock.left() < LOOK_AGAIN || clock.is_cancelled() {
            return Ok(seen);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// The group's hooks for machines that go away; only that one if it is named.
pub(crate) async fn hooks(client: &Client, group: &str, name: Option<&str>) -> Result<Vec<Hook>, Error> {
    let asked = client.describe_lifecycle_hooks().auto_scaling_group_name(group);
    let asked = name.into_iter().fold(asked, |asked, name| asked.lifecycle_hook_names(name));
    let reply = asked
        .send()
        .await
        .map_err(|error| failure(&error).error("ask for the group's hooks", "autoscaling:DescribeLifecycleHooks"))?;
    let found = reply.lifecycle_hooks().iter().filter(|hook| hook.lifecycle_transition() == Some(TERMINATING));
    let hooks: Vec<Hook> = found
        .map(|hook| Hook {
            name: hook.lifecycle_hook_name().unwrap_or_default().to_owned(),
            heartbeat_seconds: hook.heartbeat_timeout(),
            global_seconds: hook.global_timeout(),
        })
        .collect();
    if hooks.is_empty() {
        let text = match name {
            Some(name) => format!("the group {group} has no hook {name} for terminating machines"),
            None => format!("the group {group} has no hook for terminating machines"),
        };
        return Err(Error::new(text).code(Code::Config));
    }
    Ok(hooks)
}

/// Asks for the hook's time anew.
pub(crate) async fn heartbeat(client: &Client, instance: &str, group: &str, hook: Hook) -> Result<Answered, Error> {
    let sent = client
        .record_lifecycle_action_heartbeat()
        .auto_scaling_group_name(group)
        .lifecycle_hook_name(&hook.name)
        .instance_id(instance)
        .send()
        .await;
    match sent.map_err(|error| failure(&error)) {
        Ok(_) => Ok(Answered { hook, refused: None }),
        Err(failed) if failed.name == "ValidationError" => Ok(Answered { hook, refused: Some(failed.text) }),
        Err(failed) => Err(failed.error("ask for more time", "autoscaling:RecordLifecycleActionHeartbeat")),
    }
}

/// Answers the hook.
pub(crate) async fn complete(
    client: &Client,
    instance: &str,
    group: &str,
    hook: Hook,
    answer: Answer,
) -> Result<Answered, Error> {
    let sent = client
        .complete_lifecycle_action()
        .auto_scaling_group_name(group)
        .lifecycle_hook_name(&hook.name)
        .instance_id(instance)
        .lifecycle_action_result(answer.word())
        .send()
        .await;
    match sent.map_err(|error| failure(&error)) {
        Ok(_) => Ok(Answered { hook, refused: None }),
        Err(failed) if failed.name == "ValidationError" => Ok(Answered { hook, refused: Some(failed.text) }),
        Err(failed) => Err(failed.error("answer the hook", "autoscaling:CompleteLifecycleAction")),
    }
}
