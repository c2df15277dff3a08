//! An Auto Scaling group with a machine and hooks, in the emulator.
#![allow(dead_code, reason = "each test file uses its own part")]

use aws_lifecycle::AwsLifecycle;
use cloudsnooze_plugin::testing::{TestInstance, spot_interrupt};
use harness::moto::{Moto, element};
use harness::relay::Relay;
use serde_json::{Value, json};
use std::time::Duration;

/// Time granted where it does not matter.
pub const PLENTY: Duration = Duration::from_secs(60);
const VERSION: &str = "2011-01-01";

pub struct Group {
    pub moto: Moto,
    pub relay: Relay,
    pub instance: String,
}

impl Group {
    /// None, said loudly, where there is no emulator.
    pub fn open(what: &str, hooks: &[&str]) -> Option<Self> {
        let moto = Moto::start(what)?;
        let ask = |action: &str, parameters: &[(&str, &str)]| moto.query("autoscaling", VERSION, action, parameters);
        ask(
            "CreateLaunchConfiguration",
            &[("LaunchConfigurationName", "l"), ("ImageId", "ami-12c6146b"), ("InstanceType", "t2.micro")],
        );
        let group = [("AutoScalingGroupName", "workers"), ("LaunchConfigurationName", "l"), ("MinSize", "1")];
        let size = [("MaxSize", "1"), ("DesiredCapacity", "1"), ("AvailabilityZones.member.1", "us-east-1a")];
        ask("CreateAutoScalingGroup", &[group, size].concat());
        for hook in hooks {
            let transition = ("LifecycleTransition", "autoscaling:EC2_INSTANCE_TERMINATING");
            let hook = [("LifecycleHookName", *hook), ("AutoScalingGroupName", "workers")];
            ask("PutLifecycleHook", &[hook[0], hook[1], transition, ("HeartbeatTimeout", "120")]);
        }
        let shown = ask("DescribeAutoScalingInstances", &[]);
        let instance = element(&shown, "InstanceId").expect("an instance").to_owned();
        let relay = Relay::start(moto.port());
        Some(Self { moto, relay, instance })
    }

    /// Has it be in that state.
    pub fn set(&self, state: &str) -> Value {
        let path = format!("/test-control/state/123456789012/us-east-1/{}/{state}", self.instance);
        serde_json::from_slice(&self.moto.ask("GET", &path, &[], b"").body).unwrap()
    }

    /// What the emulator knows: heartbeats, and which answer at which hook.
    pub fn known(&self) -> Value {
        self.set(&self.state())
    }

    pub fn state(&self) -> String {
        let shown = self.moto.query("autoscaling", VERSION, "DescribeAutoScalingInstances", &[]);
        element(&shown, "LifecycleState").expect("a state").to_owned()
    }

    pub fn config(&self, more: &Value) -> Value {
        let credentials = json!({ "access_key_id": "AKIATEST", "secret_access_key": "Zq9-secret" });
        let url = format!("http://127.0.0.1:{}", self.relay.port());
        let mut config = json!({ "aws": { "endpoint_url": url, "credentials": credentials, "region": "us-east-1" } });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    }

    pub fn plugin(&self, more: &Value) -> TestInstance<AwsLifecycle> {
        TestInstance::new(&self.config(more)).unwrap()
    }

    pub fn event(&self, kind: &str) -> Value {
        let mut event = spot_interrupt();
        event["type"] = json!(kind);
        event["data"]["instanceID"] = json!(self.instance);
        event
    }

    pub fn terminate(&self) -> Value {
        self.event("cloud.autoscaling.terminate")
    }
}
