//! What the plugin takes out and puts back, judged by what the emulator knows.

use aws_deregister::AwsDeregister;
use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{TestInstance, spot_interrupt, threads, threads_left};
use harness::moto::{Moto, element};
use serde_json::{Value, json};
use std::time::Duration;

/// Time granted where it does not matter.
const PLENTY: Duration = Duration::from_secs(60);
const ELB: &str = "2015-12-01";
const ECS: &str = "AmazonEC2ContainerServiceV20141113";

struct Stage {
    moto: Moto,
    instance: String,
    groups: Vec<String>,
    dir: tempfile::TempDir,
}

impl Stage {
    /// A machine in two of three target groups (in one of them with another machine), and in a cluster.
    fn open(what: &str) -> Option<Self> {
        let moto = Moto::start(what)?;
        let ec2 = |action: &str, parameters: &[(&str, &str)]| moto.query("ec2", "2016-11-15", action, parameters);
        let run = [("ImageId", "ami-12c6146b"), ("MinCount", "2"), ("MaxCount", "2"), ("InstanceType", "t2.micro")];
        let started = ec2("RunInstances", &run);
        let numbers: Vec<&str> = started
            .split("<instancesSet>")
            .nth(1)
            .unwrap()
            .split("<instanceId>")
            .skip(1)
            .map(|rest| &rest[..rest.find('<').unwrap()])
            .collect();
        let instance = numbers[0].to_owned();
        let network = element(&started, "vpcId").unwrap().to_owned();
        let elb =
            |action: &str, parameters: &[(&str, &str)]| moto.query("elasticloadbalancing", ELB, action, parameters);
        let mut groups = Vec::new();
        for name in ["web", "api", "other"] {
            let made = elb(
                "CreateTargetGroup",
                &[
                    ("Name", name),
                    ("Protocol", "HTTP"),
                    ("Port", "80"),
                    ("VpcId", &network),
                    ("TargetType", "instance"),
                ],
            );
            groups.push(element(&made, "TargetGroupArn").unwrap().to_owned());
        }
        for (group, number, port) in [(0, 0, "8080"), (0, 1, "8080"), (1, 0, "80"), (2, 1, "80")] {
            let target = [("Targets.member.1.Id", numbers[number]), ("Targets.member.1.Port", port)];
            elb("RegisterTargets", &[("TargetGroupArn", groups[group].as_str()), target[0], target[1]]);
        }
        let ecs = |action: &str, document: Value| moto.json("ecs", &format!("{ECS}.{action}"), &document);
        ecs("CreateCluster", json!({ "clusterName": "web" }));
        for number in &numbers {
            let identity = json!({
                "accountId": "123456789012", "availabilityZone": "us-east-1a", "instanceId": number,
                "imageId": "ami-12c6146b", "region": "us-east-1", "instanceType": "t2.micro",
            });
            let register = json!({ "cluster": "web", "instanceIdentityDocument": identity.to_string() });
            ecs("RegisterContainerInstance", register);
        }
        Some(Self { moto, instance, groups, dir: tempfile::tempdir().unwrap() })
    }

    fn config(&self, more: &Value) -> Value {
        let credentials = json!({ "access_key_id": "AKIATEST", "secret_access_key": "Zq9-secret" });
        let mut config = json!({
            "target_groups": self.groups, "ecs": { "cluster": "web" },
            "aws": { "endpoint_url": self.moto.url(), "credentials": credentials, "region": "us-east-1" },
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    }

    fn plugin(&self, more: &Value) -> TestInstance<AwsDeregister> {
        TestInstance::new_in(self.dir.path(), &self.config(more)).unwrap()
    }

    fn event(&self, kind: &str) -> Value {
        let mut event = spot_interrupt();
        event["type"] = json!(kind);
        event["data"]["instanceID"] = json!(self.instance);
        event
    }

    /// How often the machine, and how often others, are registered and not on their way out.
    fn registered(&self) -> (usize, usize) {
        let mut count = (0, 0);
        for group in &self.groups {
            let shown =
                self.moto.query("elasticloadbalancing", ELB, "DescribeTargetHealth", &[("TargetGroupArn", group)]);
            for target in shown.split("<member>").skip(1) {
                let state = element(target, "State").unwrap_or_default();
                let is_in = state != "draining" && state != "unused";
                let is_ours = element(target, "Id") == Some(self.instance.as_str());
                count.0 += usize::from(is_in && is_ours);
                count.1 += usize::from(is_in && !is_ours);
            }
        }
        count
    }

    /// Status of the machine's container instance, and of the other.
    fn cluster(&self) -> (String, String) {
        let ask = |action: &str, document: Value| self.moto.json("ecs", &format!("{ECS}.{action}"), &document);
        let arns = ask("ListContainerInstances", json!({ "cluster": "web" }))["containerInstanceArns"].clone();
        let shown = ask("DescribeContainerInstances", json!({ "cluster": "web", "containerInstances": arns }));
        let all = shown["containerInstances"].as_array().unwrap();
        let status = |is_ours: bool| {
            let found = all.iter().find(|found| (found["ec2InstanceId"] == json!(self.instance)) == is_ours);
            found.unwrap()["status"].as_str().unwrap().to_owned()
        };
        (status(true), status(false))
    }
}

#[test]
fn the_machine_and_no_other_is_taken_out_and_put_back_when_the_notice_is_withdrawn() {
    let Some(stage) = Stage::open("leaving and coming back") else { return };
    assert_eq!((stage.registered(), stage.cluster()), ((2, 2), ("ACTIVE".to_owned(), "ACTIVE".to_owned())));
    let plugin = stage.plugin(&json!({}));
    let notice = stage.event("cloud.spot.interrupt");
    let delivered = plugin.deliver(&notice, PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    assert_eq!((stage.registered(), stage.cluster()), ((0, 2), ("DRAINING".to_owned(), "ACTIVE".to_owned())));
    let evidence = &delivered.result.unwrap()["evidence"];
    assert_eq!(evidence["before"]["targets"].as_array().unwrap().len(), 2, "{evidence}");
    assert_eq!(
        (&evidence["before"]["ecs"]["status"], &evidence["after"]["ecs"]["status"]),
        (&json!("ACTIVE"), &json!("DRAINING"))
    );
    assert_eq!(plugin.verify(&notice, PLENTY).status, abi::SNOOZE_OK);
    // A second time there is nothing to do, and what was noted stays noted.
    assert_eq!(plugin.deliver(&notice, PLENTY).status, abi::SNOOZE_SKIPPED);
    drop(plugin);

    // After a restart of the daemon.
    let plugin = stage.plugin(&json!({}));
    let withdrawn = stage.event("cloud.spot.interrupt.cancelled");
    let undone = plugin.deliver(&withdrawn, PLENTY);
    assert_eq!(undone.status, abi::SNOOZE_OK, "{undone:?}");
    assert_eq!((stage.registered(), stage.cluster()), ((2, 2), ("ACTIVE".to_owned(), "ACTIVE".to_owned())));
    assert_eq!(plugin.deliver(&withdrawn, PLENTY).status, abi::SNOOZE_SKIPPED, "there is nothing left to undo");
    let verified = plugin.verify(&notice, PLENTY);
    assert_eq!(verified.status, abi::SNOOZE_E_STATE, "it is in again: {verified:?}");
}

#[test]
fn a_drill_and_a_machine_that_may_stay_change_nothing() {
    let Some(stage) = Stage::open("a drill") else { return };
    let plugin = stage.plugin(&json!({}));
    let mut drill = stage.event("cloud.spot.interrupt");
    drill["drill"] = json!(true);
    let delivered = plugin.deliver(&drill, PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    assert_eq!(delivered.result.unwrap()["evidence"]["before"]["targets"].as_array().unwrap().len(), 2);
    for kind in ["cloud.spot.rebalance", "cloud.spot.interrupt.cancelled"] {
        assert_eq!(plugin.deliver(&stage.event(kind), PLENTY).status, abi::SNOOZE_SKIPPED, "{kind}");
    }
    assert_eq!((stage.registered(), stage.cluster()), ((2, 2), ("ACTIVE".to_owned(), "ACTIVE".to_owned())));
}

#[test]
fn what_does_not_work_keeps_nothing_else_from_being_done() {
    let Some(stage) = Stage::open("a group that is gone") else { return };
    let gone = stage.groups[2].replace("targetgroup/other", "targetgroup/gone");
    let plugin = stage.plugin(&json!({ "target_groups": [gone, stage.groups[1]] }));
    assert!(plugin.log().iter().any(|line| line.contains("AWS cannot be asked now")), "{:?}", plugin.log());
    let delivered = plugin.deliver(&stage.event("cloud.instance.terminate"), PLENTY);
    assert!(delivered.status < 0, "{delivered:?}");
    assert!(delivered.error.as_ref().unwrap().contains("targetgroup/gone"), "{delivered:?}");
    assert_eq!((stage.registered().0, stage.cluster().0), (1, "DRAINING".to_owned()));
    // From now on moto looks at the keys.
    stage.moto.ask("POST", "/moto-api/reset-auth", &[], b"0");
    let delivered = plugin.deliver(&stage.event("cloud.instance.terminate"), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_E_DENIED, "{delivered:?}");
    let text = delivered.error.unwrap();
    assert!(text.contains("elasticloadbalancing:DescribeTargetHealth is missing") && !text.contains("Zq9"), "{text}");
}

#[test]
fn nobody_who_answers_costs_no_more_than_the_call_and_no_thread_is_left() {
    let config = json!({
        "ecs": { "cluster": "web" },
        "aws": {
            "endpoint_url": "http://127.0.0.1:1", "region": "us-east-1",
            "credentials": { "access_key_id": "AKIATEST", "secret_access_key": "Zq9-secret" },
        },
    });
    let plugin = TestInstance::<AwsDeregister>::new(&config).unwrap();
    let began = std::time::Instant::now();
    assert!(plugin.deliver(&spot_interrupt(), Duration::from_secs(3)).status < 0);
    assert!(began.elapsed() < PLENTY);
    assert!(threads("aws-deregister") > 0);
    drop(plugin);
}

#[test]
fn deactivating_leaves_no_thread() {
    let config =
        json!({ "ecs": { "cluster": "web" }, "aws": { "endpoint_url": "http://127.0.0.1:1", "region": "us-east-1" } });
    drop(TestInstance::<AwsDeregister>::new(&config).unwrap());
    // Those of other tests end with them.
    assert_eq!(threads_left("aws-deregister", PLENTY), 0);
}
