//! One real server, members on it, and what they are told.
//! Inputs: the program `nats-server`. Outputs: handles that end what they started when they are dropped.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cloudsnooze_fleet::{Local, Member, Notice, Outcome, Settings, Status, Told, Turn};
use tokio::sync::mpsc;
use uuid::Uuid;

pub use harness::nats::Server;

/// The most that anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The settings of a member of a small and quick group.
pub fn settings(server: &str, role: &str) -> Settings {
    let text = format!(
        r#"{{"group":"g","role":"{role}","servers":["{server}"],"replicas":1,"lease_seconds":1.5,"heartbeat_seconds":1,
            "work_seconds":0.2,"steps":[{{"role":"lb","timeout_seconds":10,"reacts":true}},
            {{"role":"replica","timeout_seconds":10,"most_at_once":1}},{{"role":"primary","timeout_seconds":10}}]}}"#
    );
    serde_json::from_str(&text).expect("settings")
}

struct Ear(mpsc::UnboundedSender<Told>);

impl Local for Ear {
    fn told(&self, told: Told) {
        // A test that has ended does not listen.
        let _sent = self.0.send(told);
    }
}

/// A member and what it was told.
pub struct Machine {
    pub name: String,
    pub member: Member,
    told: mpsc::UnboundedReceiver<Told>,
    /// What was told so far.
    pub heard: Vec<Told>,
}

impl Machine {
    pub fn start(settings: Settings, name: &str, state: &Path) -> Self {
        let (ear, told) = mpsc::unbounded_channel();
        let state = state.join(name);
        let member = Member::start(settings, name.to_owned(), state, Arc::new(Ear(ear))).expect("started");
        Self { name: name.to_owned(), member, told, heard: Vec::new() }
    }

    /// Waits until something is told for which `find` has an answer; what was told before counts too.
    pub async fn until<T>(&mut self, what: &str, find: impl Fn(&Told) -> Option<T>) -> T {
        if let Some(found) = self.heard.iter().find_map(&find) {
            return found;
        }
        let waiting = async {
            loop {
                let told = self.told.recv().await.expect("the member runs");
                let found = find(&told);
                self.heard.push(told);
                if let Some(found) = found {
                    return found;
                }
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(found) => found,
            Err(_) => panic!("{} waited in vain for {what}: {:#?} {:#?}", self.name, self.heard, self.member.status()),
        }
    }

    /// Waits until the status is as wanted. Nothing tells of it: looks again whenever the members have had their turn.
    pub async fn until_status(&self, what: &str, is_so: impl Fn(&Status) -> bool) {
        let looking = async {
            while !is_so(&self.member.status()) {
                tokio::task::yield_now().await;
            }
        };
        let looked = tokio::time::timeout(PATIENCE, looking).await;
        assert!(looked.is_ok(), "{} waited in vain for {what}: {:#?}", self.name, self.member.status());
    }

    /// Waits until it knows who leads.
    pub async fn leader(&mut self, above: u64) -> (String, u64) {
        self.until("a leader", |told| match told {
            Told::Leader { name, epoch } if *epoch > above => Some((name.clone(), *epoch)),
            _ => None,
        })
        .await
    }

    pub async fn completed(&mut self) -> Vec<String> {
        self.until("the end of the operation", |told| match told {
            Told::Completed { missing, .. } => Some(missing.clone()),
            _ => None,
        })
        .await
    }

    /// Does what it is told to do for others, until the operation is over; gives the passes.
    pub async fn reacts(&mut self) -> Vec<usize> {
        let mut steps = Vec::new();
        loop {
            let seen = steps.clone();
            let next = self
                .until("a step, or the end", |told| match told {
                    Told::Step { step, event, .. } if !seen.contains(step) => Some(Some((*step, *event))),
                    Told::Completed { .. } => Some(None),
                    _ => None,
                })
                .await;
            let Some((step, event)) = next else { return steps };
            self.member.done(event, Outcome { ok: true, seconds: 0.0, error: None });
            steps.push(step);
        }
    }

    /// Waits for its turn and does its work, which takes no time.
    pub async fn acts(&self, event: Uuid) -> Turn {
        let turn = tokio::time::timeout(PATIENCE, self.member.turn(event)).await.expect("a turn in time");
        self.member.done(event, Outcome { ok: true, seconds: 0.01, error: None });
        turn
    }
}

pub fn notice(number: u128, seconds: u64) -> Notice {
    Notice {
        event: Uuid::from_u128(number),
        event_type: "cloud.interruption.spot".to_owned(),
        detected: 0,
        deadline: None,
        left: Duration::from_secs(seconds),
        details: serde_json::json!({"id": number.to_string()}),
    }
}

/// Runs a test as the daemon would run members: on a runtime of one thread.
pub fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test);
}
