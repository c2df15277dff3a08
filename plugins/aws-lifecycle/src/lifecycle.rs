//! One instance: what to tell Auto Scaling for which event, and the verdict.
//!
//! Inputs: events, a [`Config`]. Outputs: a report with the state before and after. Must never answer in a drill, nor for a
//! notice after which the machine may stay.

use crate::config::{Config, Mode};
use crate::hook::{Answered, HELD, Hook, Machine, complete, heartbeat, hooks, machine, until};
use aws_sdk_autoscaling::Client;
use cloudsnooze_plugin::abi::SNOOZE_CAP_DRILL;
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{
    Call, Cancel, Code, Error, Event, Host, Instance, Outcome, Plugin, Purpose, Subscription, Verification, c_str,
};
use cloudsnooze_plugin_aws::{Aws, SdkConfig, failure};
use cloudsnooze_plugin_runtime::Clock;
use std::ffi::CStr;
use std::sync::Arc;
use std::time::Duration;

/// How long a machine may take from Terminating to Terminating:Wait.
const BECOMES_HELD: Duration = Duration::from_secs(5);
/// How long its state may take to move on after the answer.
const MOVES_ON: Duration = Duration::from_secs(3);

/// The plugin.
pub struct AwsLifecycle {
    config: Arc<Config>,
    aws: Aws,
}

impl Plugin for AwsLifecycle {
    const ID: &'static CStr = c"io.cloudsnooze.aws-lifecycle";
    const NAME: &'static CStr = c"aws-lifecycle";
    const VERSION: &'static CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static CStr = c"Answers the lifecycle hook at which Auto Scaling holds the machine";
    const CAPS: u64 = SNOOZE_CAP_DRILL;
    type Config = Config;

    fn new(host: Host, config: Config, _: Instance) -> Result<Self, Error> {
        let aws = Aws::new(host, "aws-lifecycle", config.aws.clone())?;
        Ok(Self { config: Arc::new(config), aws })
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let kinds = ["cloud.autoscaling.terminate", "cloud.spot.interrupt", "custom.*"];
        let priority = if self.config.mode == Mode::Heartbeat { 95 } else { 1 };
        vec![Subscription::on(&kinds).priority(priority).budget(Duration::from_secs(15))]
    }

    fn activate(&self) -> Result<(), Error> {
        self.aws.start(async |config: SdkConfig| {
            let asked = Client::new(&config).describe_auto_scaling_instances().max_records(1).send().await;
            let right = "autoscaling:DescribeAutoScalingInstances";
            asked.map(drop).map_err(|error| failure(&error).error("ask Auto Scaling", right))
        })
    }

    fn on_event(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        if event.purpose() == Purpose::Undo {
            return Ok(Outcome::declined("the notice was withdrawn; what a hook was told cannot be taken back"));
        }
        let is_drill = event.is_drill();
        if event.purpose() == Purpose::Ahead && !is_drill {
            return Ok(Outcome::declined("the machine may stay: no hook holds it"));
        }
        let instance = instance(event)?;
        let config = Arc::clone(&self.config);
        self.aws.call(event, call, async move |sdk: SdkConfig, clock: Clock| {
            let client = Client::new(&sdk);
            if is_drill {
                return drill(&client, &config, &instance).await;
            }
            answer(&client, &config, &instance, &clock).await
        })
    }

    fn verify(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Verification, Error> {
        let has_nothing = event.is_drill() || event.purpose() != Purpose::Secure;
        if has_nothing || self.config.mode == Mode::Heartbeat {
            return Ok(Verification::Unknown);
        }
        let instance = instance(event)?;
        let seen = self.aws.call(event, call, async move |sdk: SdkConfig, clock: Clock| {
            until(&Client::new(&sdk), &instance, &clock.within(MOVES_ON), |state| state != HELD).await
        })?;
        match seen {
            Some(seen) if seen.state == HELD => {
                Err(Error::new(format!("the machine is still held: {}", seen.state)).code(Code::State))
            }
            Some(seen) => Ok(Verification::Verified(json!({ "group": seen.group, "state": seen.state }))),
            None => Ok(Verification::Verified(json!({ "state": "in no group any more" }))),
        }
    }

    fn on_cancel(&self, _: &Call<'_>, _: Cancel) {}

    fn deactivate(&self) {
        self.aws.stop();
    }
}

fn instance(event: &Event<'_>) -> Result<String, Error> {
    match event.instance_id() {
        "" => Err(Error::new("the event names no instance").code(Code::State)),
        instance => Ok(instance.to_owned()),
    }
}

/// The machine with its group, as configured or as found.
async fn member(client: &Client, config: &Config, instance: &str) -> Result<Result<Machine, String>, Error> {
    let Some(mut found) = machine(client, instance).await? else {
        return Ok(Err(format!("{instance} is in no Auto Scaling group")));
    };
    if let Some(group) = &config.group
        && *group != found.group
    {
        return Ok(Err(format!("{instance} is in the group {}, not in {group}", found.group)));
    }
    found.group = config.group.clone().unwrap_or(found.group);
    Ok(Ok(found))
}

async fn answer(client: &Client, config: &Config, instance: &str, clock: &Clock) -> Result<Outcome, Error> {
    let before = match member(client, config, instance).await? {
        Ok(before) => before,
        Err(reason) => return Ok(Outcome::declined(reason)),
    };
    let mut now = before.clone();
    if before.state == "Terminating" {
        let limit = clock.within(BECOMES_HELD.min(clock.left() / 2));
        now = until(client, instance, &limit, |state| state != "Terminating").await?.unwrap_or(now);
    }
    if now.state != HELD {
        return Ok(Outcome::declined(format!("{instance} waits at no hook: its state is {}", now.state)));
    }
    let mut answered = Vec::new();
    for hook in hooks(client, &now.group, config.hook.as_deref()).await? {
        answered.push(match config.mode {
            Mode::Heartbeat => heartbeat(client, instance, &now.group, hook).await?,
            Mode::Complete => complete(client, instance, &now.group, hook, config.result).await?,
        });
    }
    let after = match config.mode {
        Mode::Heartbeat => machine(client, instance).await?,
        Mode::Complete => {
            let limit = clock.within(MOVES_ON.min(clock.left() / 2));
            until(client, instance, &limit, |state| state != HELD).await?
        }
    };
    let report = report(config, &now, after.as_ref(), &answered);
    if answered.iter().any(|answered| answered.refused.is_none()) {
        return Ok(Outcome::handled(report));
    }
    let reasons: Vec<_> = answered.into_iter().filter_map(|answered| answered.refused).collect();
    Err(Error::new(format!("no hook took it: {}", reasons.join("; "))).code(Code::State).with_result(report))
}

fn report(config: &Config, before: &Machine, after: Option<&Machine>, answered: &[Answered]) -> Value {
    let (action, result) = match config.mode {
        Mode::Heartbeat => ("heartbeat", Value::Null),
        Mode::Complete => ("complete", json!(config.result.word())),
    };
    json!({
        "action": action, "result": result,
        "evidence": {
            "group": before.group,
            "before": { "state": before.state },
            "after": { "state": after.map(|machine| machine.state.as_str()) },
            "hooks": answered.iter().map(Answered::report).collect::<Vec<_>>(),
        },
        "durable": "unknown",
    })
}

/// Whether the machine has a hook to be answered, without an answer.
async fn drill(client: &Client, config: &Config, instance: &str) -> Result<Outcome, Error> {
    let found = match member(client, config, instance).await? {
        Ok(found) => found,
        Err(reason) => return Ok(Outcome::declined(reason)),
    };
    let hooks: Vec<Hook> = hooks(client, &found.group, config.hook.as_deref()).await?;
    let hooks: Vec<Value> =
        hooks.iter().map(|hook| json!({ "name": hook.name, "heartbeat_seconds": hook.heartbeat_seconds })).collect();
    Ok(Outcome::handled(json!({
        "action": "drill",
        "evidence": { "group": found.group, "before": { "state": found.state }, "hooks": hooks },
        "durable": "unknown",
    })))
}
