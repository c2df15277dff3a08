//! The plugin in the daemon, on a queue of the emulator: a thousand mixed messages, none lost, none handled twice.

use harness::daemon::{Daemon, DaemonBuilder};
use harness::moto::Moto;
use harness::{paths, require, wait};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(240);
const OURS: &str = "i-0000000000000000a";
const OTHER: &str = "i-0000000000000000b";

struct Stage {
    moto: Moto,
    queue: String,
    dead: String,
    directory: tempfile::TempDir,
}

impl Stage {
    /// None, said loudly, where there is no emulator.
    fn open(what: &str) -> Option<Self> {
        let moto = Moto::start(what)?;
        let directory = tempfile::Builder::new().prefix("snz-queue-").tempdir().expect("a directory");
        let (queue, dead) = (create(&moto, "notices"), create(&moto, "dead"));
        Some(Self { moto, queue, dead, directory })
    }

    fn put(&self, bodies: &[String]) {
        for some in bodies.chunks(10) {
            let entries: Vec<Value> =
                some.iter().enumerate().map(|(n, body)| json!({"Id": n.to_string(), "MessageBody": body})).collect();
            let answer = self.moto.json(
                "sqs",
                "AmazonSQS.SendMessageBatch",
                &json!({"QueueUrl": self.queue, "Entries": entries}),
            );
            assert_eq!(answer["Successful"].as_array().map_or(0, Vec::len), some.len(), "{answer}");
        }
    }

    /// How many messages a queue has, seen and hidden ones.
    fn count(&self, queue: &str) -> usize {
        let wanted = json!({"QueueUrl": queue, "AttributeNames": ["All"]});
        let answer = self.moto.json("sqs", "AmazonSQS.GetQueueAttributes", &wanted);
        let number = |name: &str| -> usize {
            answer["Attributes"][name].as_str().and_then(|text| text.parse().ok()).expect("a number")
        };
        number("ApproximateNumberOfMessages") + number("ApproximateNumberOfMessagesNotVisible")
    }

    /// The daemon with the source, and the plugin exec as handler of everything, which writes each event down.
    fn daemon(&self, more: &Value) -> Option<Daemon> {
        let bin = paths::bin_dir().unwrap_or_else(|error| panic!("{error}"));
        let library = |name: &str| match paths::plugin(&bin, name) {
            Ok(path) => Some(path),
            Err(error) => {
                require::missing_means_skip(&format!("the queue in the daemon: {error}"));
                None
            }
        };
        for name in ["aws-queue", "exec"] {
            std::fs::copy(library(name)?, self.directory.path().join(format!("{name}.so"))).expect("copied");
        }
        let credentials = json!({"access_key_id": "AKIATEST", "secret_access_key": "Zq9-secret"});
        let mut settings = json!({
            "queue_url": self.queue, "instance_id": OURS, "wait_seconds": 1, "receives_max": 2, "visibility_seconds": 30,
            "aws": {"endpoint_url": self.moto.url(), "region": "us-east-1", "credentials": credentials},
        });
        settings.as_object_mut().expect("settings").extend(more.as_object().expect("members").clone());
        let append = ["sh", "-c", "cat >> \"$0\"; echo >> \"$0\""].map(str::to_owned);
        let argv: Vec<String> = append.into_iter().chain([self.handled().display().to_string()]).collect();
        let config = json!({
            "event_handlers": {"cloud.*": {"plugins": [{"name": "exec", "timeout_seconds": 60, "config": {"argv": argv}}]}},
            "sources": {"plugins": [{"name": "aws-queue", "config": settings}]},
        });
        Some(DaemonBuilder::new(bin).plugin_directory(self.directory.path()).config(config).start().expect("it starts"))
    }

    fn handled(&self) -> PathBuf {
        self.directory.path().join("handled")
    }

    /// What was handled: each event's identity and the notice's, in order.
    fn events(&self) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(self.handled()).unwrap_or_default();
        let read = |line: &str| {
            let event: Value = serde_json::from_str(line).ok()?;
            let id = event["data"]["noticeID"].as_str().unwrap_or("spot");
            Some((event["id"].as_str()?.to_owned(), format!("{} {id}", event["data"]["instanceID"].as_str()?)))
        };
        text.lines().filter_map(read).collect()
    }
}

fn create(moto: &Moto, name: &str) -> String {
    let answer = moto.json("sqs", "AmazonSQS.CreateQueue", &json!({ "QueueName": name }));
    answer["QueueUrl"].as_str().expect("an address").to_owned()
}

fn event(source: &str, kind: &str, detail: &Value, time: &str) -> String {
    json!({"version": "0", "id": "x", "detail-type": kind, "source": source, "time": time, "detail": detail})
        .to_string()
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

fn spot(instance: &str) -> String {
    let detail = json!({"instance-id": instance, "instance-action": "terminate"});
    event("aws.ec2", "EC2 Spot Instance Interruption Warning", &detail, &now())
}

/// A maintenance of its own for each number.
fn maintenance(instance: &str, number: usize) -> String {
    let starts = jiff::Timestamp::now() + Duration::from_secs(86_400);
    let detail = json!({
        "eventArn": format!("arn:{number}"), "service": "EC2", "eventTypeCategory": "scheduledChange",
        "eventTypeCode": "AWS_EC2_INSTANCE_REBOOT_SCHEDULED", "startTime": starts.to_string(),
        "affectedEntities": [{"entityValue": instance}],
    });
    event("aws.health", "AWS Health Event", &detail, &now())
}

#[test]
fn of_a_thousand_mixed_messages_none_is_lost_none_is_handled_twice_and_those_of_others_stay() {
    let Some(stage) = Stage::open("a thousand messages") else { return };
    const OWN: usize = 200;
    let mut bodies = vec![spot(OURS), spot(OURS), json!({"Event": "autoscaling:TEST_NOTIFICATION"}).to_string()];
    for number in 0..OWN {
        // Twice: SQS delivers at least once.
        bodies.extend([maintenance(OURS, number), maintenance(OURS, number)]);
    }
    let poison = 47;
    bodies.extend((0..poison).map(|number| format!("<html>{number}</html>")));
    let others = 1_000 - bodies.len();
    bodies.extend((0..others).map(|number| if number % 2 == 0 { spot(OTHER) } else { maintenance(OTHER, number) }));
    // In an order without a pattern, the same in every run.
    let mut order: Vec<usize> = (0..bodies.len()).collect();
    order.sort_by_key(|n| (n * 7_919) % 1_009);
    let bodies: Vec<String> = order.into_iter().map(|n| bodies[n].clone()).collect();
    assert_eq!(bodies.len(), 1_000);
    stage.put(&bodies);
    let Some(mut daemon) = stage.daemon(&json!({"dead_letter_queue_url": stage.dead})) else { return };
    let done = wait::until("all messages to be where they belong", PATIENCE, || {
        (stage.count(&stage.queue) == others && stage.count(&stage.dead) == poison).then_some(())
    });
    let (left, dead) = (stage.count(&stage.queue), stage.count(&stage.dead));
    done.unwrap_or_else(|error| panic!("{error}: {left} left, {dead} dead; {}", daemon.log_tail()));
    let handled = stage.events();
    let notices: BTreeSet<&str> = handled.iter().map(|(_, notice)| &**notice).collect();
    let mut wanted: BTreeSet<String> = (0..OWN).map(|number| format!("{OURS} arn:{number}")).collect();
    wanted.insert(format!("{OURS} spot"));
    assert_eq!(notices, wanted.iter().map(String::as_str).collect());
    assert_eq!(handled.len(), wanted.len(), "an event was handled twice");
    assert!(daemon.log().matches("is set aside").count() >= poison, "each with its reason");
    assert_eq!(daemon.stop().expect("it stops").code(), Some(0));
}

#[test]
fn a_reader_for_the_fleet_takes_the_notices_of_all_machines_and_a_queue_that_is_gone_is_blindness() {
    let Some(stage) = Stage::open("a fleet's queue") else { return };
    stage.put(&[spot(OURS), spot(OTHER)]);
    let Some(daemon) = stage.daemon(&json!({"foreign": "take"})) else { return };
    let done = wait::until("the queue to be empty", PATIENCE, || (stage.count(&stage.queue) == 0).then_some(()));
    done.unwrap_or_else(|error| panic!("{error}: {}", daemon.log_tail()));
    let notices: BTreeSet<String> = stage.events().into_iter().map(|(_, notice)| notice).collect();
    assert_eq!(notices, [OURS, OTHER].map(|instance| format!("{instance} spot")).into());
    stage.moto.json("sqs", "AmazonSQS.DeleteQueue", &json!({"QueueUrl": stage.queue}));
    let blind = wait::until("blindness", PATIENCE, || {
        let status = daemon.snooze_json(&["status", "--json"]).ok()?;
        status["problems"].to_string().contains("plugin.aws-queue: blind").then_some(status)
    });
    let status = blind.unwrap_or_else(|error| panic!("{error}: {}", daemon.log_tail()));
    assert!(status["problems"].to_string().contains("ask the queue"), "{status:#}");
}
