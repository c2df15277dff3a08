//! How long an event takes to a thousand others: subscribers as members of the crate or as bare clients, each with a connection of its own.
//! The servers keep what members tell, on three replicas; of bare clients there are two kinds, one whose messages are kept just so.
//!
//! Inputs: servers, how many subscribers. Outputs: the delays of all deliveries, CLOCK_BOOTTIME, microseconds. Both kinds of subscriber do
//! the same with what comes: they look at the clock and count. It must never measure one kind while the other is connected.

use std::io::BufRead;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use async_nats::Client;
use async_nats::jetstream;
use async_nats::jetstream::message::PublishMessage;
use cloudsnooze_fleet::{Local, Member, Notice, Settings, Told};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::oneshot;
use uuid::Uuid;

use harness::clock;

/// The group of the members, and the subject of the bare clients, which is about as long as theirs.
pub const GROUP: &str = "propagation";
/// See [`GROUP`].
pub const SUBJECT: &str = "cs.v1.bare-client.ev.cloud-test-propagation.publisher";
/// The same for what bare clients have kept, and its stream.
pub const KEPT_SUBJECT: &str = "cs.v1.kept-client.ev.cloud-test-propagation.publisher";
const KEPT_STREAM: &str = "bare_kept";
/// The type of events that are measured.
pub const EVENT_TYPE: &str = "cloud.test.propagation";
/// How long a connection may take when a thousand are made.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who subscribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Clients of the server's own library, and nothing else.
    Bare,
    /// The same; what is sent is kept on three replicas, under a number that makes it one when it comes twice.
    Kept,
    /// Members.
    Members,
}

/// Settings of a member.
pub fn settings(urls: &[String], may_lead: bool) -> Settings {
    Settings {
        group: GROUP.to_owned(),
        role: "peer".to_owned(),
        member: None,
        servers: urls.to_vec(),
        credentials: None,
        nkey_file: None,
        tls: None,
        steps: Vec::new(),
        may_lead,
        lease_seconds: 5.0,
        heartbeat_seconds: 5.0,
        replicas: 3,
        gather_seconds: 1.0,
        work_seconds: 10.0,
        unfenced: false,
    }
}

/// Writes down how late events come.
#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Vec<u32>>>);

impl Ear {
    fn heard(&self, sent: i64) {
        let late = (clock::boot_ns() - sent) / 1000;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(u32::try_from(late).unwrap_or(u32::MAX));
    }

    fn taken(&self) -> Vec<u32> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Local for Ear {
    fn told(&self, told: Told) {
        match told {
            Told::Event(heard) if heard.event_type == EVENT_TYPE => self.heard(heard.detected),
            _ => {}
        }
    }
}

/// Subscribes so many times, says `ready` on standard output, counts until a line comes on standard input, and gives the delays.
///
/// # Errors
/// A connection cannot be made.
pub fn subscribe(kind: Kind, urls: &[String], count: usize, name: &str, state: &Path) -> Result<Vec<u32>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let ear = Ear::default();
        let mut members = Vec::new();
        let mut clients = Vec::new();
        for number in 0..count {
            let name = format!("{name}-{number}");
            match kind {
                Kind::Members => {
                    let state = state.join(&name);
                    std::fs::create_dir_all(&state)?;
                    members.push(Member::start(settings(urls, false), name, state, Arc::new(ear.clone()))?);
                }
                Kind::Bare => clients.push(bare(urls, SUBJECT, ear.clone()).await?),
                Kind::Kept => clients.push(bare(urls, KEPT_SUBJECT, ear.clone()).await?),
            }
        }
        let begun = std::time::Instant::now();
        while members.iter().any(|member| !member.status().connected) {
            anyhow::ensure!(
                begun.elapsed() < PATIENCE,
                "members are not connected: {:?}",
                members[0].status().problems
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (over, is_over) = oneshot::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            // Closed is over, too.
            let _read = std::io::stdin().lock().read_line(&mut line);
            let _over = over.send(());
        });
        say("ready")?;
        is_over.await.context("standard input")?;
        Ok(ear.taken())
    })
}

fn say(text: &str) -> Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).context("standard output")
}

async fn bare(urls: &[String], subject: &'static str, ear: Ear) -> Result<Client> {
    let client = async_nats::connect(urls).await.context("a bare client's connection")?;
    let mut messages = client.subscribe(subject).await.context("a bare client's subscription")?;
    client.flush().await?;
    tokio::spawn(async move {
        while let Some(message) = messages.next().await {
            if let Some(sent) = message.payload.first_chunk::<8>() {
                ear.heard(i64::from_le_bytes(*sent));
            }
        }
    });
    Ok(client)
}

/// Who sends.
pub enum Publisher {
    /// A bare client, and how long its messages are.
    Bare(Client, usize),
    /// The same, of one that has them kept.
    Kept(jetstream::Context, usize),
    /// A member.
    Member(Member),
}

impl Publisher {
    /// Connects. To be called on the runtime that sends.
    ///
    /// # Errors
    /// It cannot connect.
    pub async fn connect(kind: Kind, urls: &[String], bytes: usize, state: &Path) -> Result<Self> {
        if kind == Kind::Bare {
            let client = async_nats::connect(urls).await.context("the publisher's connection")?;
            return Ok(Self::Bare(client, bytes.max(8)));
        }
        if kind == Kind::Kept {
            let client = async_nats::connect(urls).await.context("the publisher's connection")?;
            let context = jetstream::new(client);
            let subjects = vec![KEPT_SUBJECT.to_owned()];
            let stream = jetstream::stream::Config {
                name: KEPT_STREAM.to_owned(),
                subjects,
                num_replicas: 3,
                ..Default::default()
            };
            context.create_stream(stream).await.context("the stream")?;
            return Ok(Self::Kept(context, bytes.max(8)));
        }
        std::fs::create_dir_all(state)?;
        let ear = Arc::new(Ear::default());
        let member = Member::start(settings(urls, true), "publisher".to_owned(), state.to_owned(), ear)?;
        let begun = std::time::Instant::now();
        while !member.status().leads {
            anyhow::ensure!(begun.elapsed() < PATIENCE, "the publisher does not lead: {:?}", member.status().problems);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self::Member(member))
    }

    /// Waits until so many others are known; a bare client knows of nobody.
    ///
    /// # Errors
    /// They do not come.
    pub async fn wait_for(&self, others: usize) -> Result<()> {
        let Self::Member(member) = self else { return Ok(()) };
        let begun = std::time::Instant::now();
        while member.status().members.len() <= others {
            let found = member.status().members.len();
            anyhow::ensure!(
                begun.elapsed() < PATIENCE,
                "{found} members are known, with the publisher, and {others} others came"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Sends one event that says when it was sent.
    ///
    /// # Errors
    /// It cannot be sent.
    pub async fn send(&self) -> Result<()> {
        let sent = clock::boot_ns();
        match self {
            Self::Bare(client, bytes) => {
                client.publish(SUBJECT, payload(sent, *bytes)).await.context("a message")?;
                client.flush().await.context("a message")
            }
            Self::Kept(context, bytes) => {
                let message = PublishMessage::build().payload(payload(sent, *bytes));
                let message = message.message_id(Uuid::now_v7().to_string());
                let kept = context.send_publish(KEPT_SUBJECT, message).await.context("a message")?;
                kept.await.context("a message is not kept")?;
                Ok(())
            }
            Self::Member(member) => {
                let event = Uuid::now_v7();
                let details =
                    json!({ "specversion": "1.0", "type": EVENT_TYPE, "data": { "filler": "x".repeat(120) } });
                let left = Duration::from_secs(120);
                let event_type = EVENT_TYPE.to_owned();
                member.publish(Notice { event, event_type, detected: sent, deadline: None, left, details });
                Ok(())
            }
        }
    }

    /// What it knows, for people.
    fn known(&self) -> String {
        match self {
            Self::Bare(..) | Self::Kept(..) => String::new(),
            Self::Member(member) => format!("{:?}", member.status()),
        }
    }

    /// Leaves.
    pub async fn leave(self) {
        if let Self::Member(member) = self {
            member.leave().await;
        }
    }
}

/// A message that says when it was sent.
fn payload(sent: i64, bytes: usize) -> bytes::Bytes {
    let mut payload = sent.to_le_bytes().to_vec();
    payload.resize(bytes, b'x');
    payload.into()
}

/// How long a member's message is, as it comes from the server: learned by listening to one.
///
/// # Errors
/// None comes.
pub async fn length_of_a_message(urls: &[String], publisher: &Publisher) -> Result<usize> {
    let client = async_nats::connect(urls).await?;
    let mut messages = client.subscribe(format!("cs.v1.{GROUP}.ev.>")).await?;
    client.flush().await?;
    // Servers tell each other who subscribes a moment after they have told the client: the first message may come too soon.
    let begun = std::time::Instant::now();
    while begun.elapsed() < PATIENCE {
        publisher.send().await?;
        if let Ok(next) = tokio::time::timeout(Duration::from_secs(1), messages.next()).await {
            return Ok(next.context("the connection was closed")?.payload.len());
        }
    }
    anyhow::bail!("no message of the publisher came: {}", publisher.known())
}

/// The value below which so many of a thousand are. The values have to be in order.
pub fn quantile(sorted: &[u32], of_thousand: usize) -> f64 {
    let at = (sorted.len() * of_thousand / 1000).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, |us| f64::from(*us) / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_of_the_list() {
        let list: Vec<u32> = (1..=1000).map(|n| n * 1000).collect();
        assert!((quantile(&list, 500) - 501.0).abs() < 1e-9 && (quantile(&list, 990) - 991.0).abs() < 1e-9);
        assert!(quantile(&[], 500).abs() < 1e-9 && (quantile(&[7000], 990) - 7.0).abs() < 1e-9);
    }
}
