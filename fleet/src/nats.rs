//! NATS: core messages for what has to be fast, JetStream for what has to be kept, its key-value buckets for lease, plan and answers.
//!
//! Responsibilities: one connection, streams and buckets of the group, each call of [`Coordinator`] in NATS' words. Inputs: settings,
//! bytes. Outputs: bytes, revisions, errors as sentences. It must never decide anything, nor wait longer than a few seconds.
//!
//! What is written to the buckets of plan, lease and answers is published again by the servers after they have stored it (`republish` of a
//! stream's configuration). So members listen on plain subjects: that takes no consumer on a server for each of them, comes back with the
//! connection, and what was not agreed on by a quorum is never heard. Whatever is lost on the way is found by reading.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::context::{ContextBuilder, PublishError};
use async_nats::jetstream::kv::{self, Store, UpdateErrorKind};
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::{self, DirectGetErrorKind, Republish, StorageType, Stream};
use async_nats::jetstream::{Context, ErrorCode};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use serde_json::json;
use uuid::Uuid;

use crate::coordinator::{Coordinator, Entry, Failed, KeptAck, KeptPresence, Ready};
use crate::settings::{MISSED_BEATS, Settings, longest_beat};
use crate::wire::{Kind, Names, read_ack_key};

mod batch;
mod connect;
mod watch;

pub(crate) use connect::{connect, options, secret_of};
pub(crate) use watch::NatsWatch;

/// The most that one call waits for an answer.
const CALL: Duration = Duration::from_secs(2);
/// The most that reading many entries one by one takes.
const SCAN: Duration = Duration::from_secs(10);
/// How many entries are asked for at the same time.
const SIDE_BY_SIDE: usize = 32;
/// The most entries that are read at once.
const MOST_ENTRIES: usize = 8192;
/// The most events of the time away that are read.
const MOST_MISSED: u64 = 256;
/// Events, and acknowledgements, are kept as long.
const EVENTS_AGE: Duration = Duration::from_secs(24 * 3600);
const ACKS_AGE: Duration = Duration::from_secs(3600);
const DUPLICATES: Duration = Duration::from_secs(120);
/// Servers before this one lose streams when their process crashes (2.10.20 to 2.10.22), or do not know what is needed.
const OLDEST_SERVER: (i64, i64, i64) = (2, 10, 23);
/// The one key of the buckets for lease and plan.
const LEAD: &str = "lead";
const PLAN: &str = "plan";

/// A bucket of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Bucket {
    Lead,
    Plan,
    Acks,
    Members,
}

impl Bucket {
    const ALL: [Self; 4] = [Self::Lead, Self::Plan, Self::Acks, Self::Members];

    fn kind(self) -> &'static str {
        match self {
            Self::Lead => "lead",
            Self::Plan => "plan",
            Self::Acks => "ack",
            Self::Members => "members",
        }
    }
}

/// One member's connection.
#[derive(Clone)]
pub(crate) struct Nats {
    inner: Arc<Inner>,
}

struct Inner {
    client: async_nats::Client,
    context: Context,
    names: Names,
    lease: Duration,
    /// How long a presence is kept.
    members_age: Duration,
    replicas: usize,
    buckets: Mutex<HashMap<Bucket, Store>>,
    events: Mutex<Option<Stream>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unknown(what: &str, error: impl Display) -> Failed {
    Failed::Unknown(format!("{what}: {error}"))
}

/// The number that the server gives an error (`err_code`), wherever it is wrapped.
fn code_of(error: &(dyn StdError + 'static)) -> Option<ErrorCode> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<async_nats::jetstream::Error>() {
            return Some(found.error_code());
        }
        if let Some(stream) = error.downcast_ref::<async_nats::jetstream::context::GetStreamError>()
            && let async_nats::jetstream::context::GetStreamErrorKind::JetStream(found) = stream.kind()
        {
            return Some(found.error_code());
        }
        next = error.source();
    }
    None
}

fn conflicts(error: &(dyn StdError + 'static)) -> bool {
    // The second number is what replicated streams answer since 2.12.
    matches!(
        code_of(error),
        Some(ErrorCode::STREAM_WRONG_LAST_SEQUENCE | ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT)
    )
}

impl Nats {
    fn new(client: async_nats::Client, names: Names, settings: &Settings) -> Self {
        let context = ContextBuilder::new().timeout(CALL).max_ack_inflight(64).build(client.clone());
        let inner = Inner {
            client,
            context,
            names,
            lease: crate::clock::seconds(settings.lease_seconds),
            members_age: longest_beat(settings) * MISSED_BEATS,
            replicas: usize::from(settings.replicas),
            buckets: Mutex::default(),
            events: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The bucket as the group needs it.
    fn wanted(&self, bucket: Bucket) -> kv::Config {
        let names = &self.inner.names;
        let name = names.bucket(bucket.kind());
        let republish =
            |source: String, destination: String| Some(Republish { source, destination, headers_only: false });
        let (max_age, storage, republish) = match bucket {
            Bucket::Lead => {
                (self.inner.lease, StorageType::File, republish(format!("$KV.{name}.{LEAD}"), names.lease()))
            }
            Bucket::Plan => {
                (Duration::ZERO, StorageType::File, republish(format!("$KV.{name}.{PLAN}"), names.to_all(PLAN)))
            }
            Bucket::Acks => {
                let parts = "{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}";
                (
                    ACKS_AGE,
                    StorageType::File,
                    republish(format!("$KV.{name}.*.*.*"), format!("{}.{parts}", names.acks())),
                )
            }
            Bucket::Members => (self.inner.members_age, StorageType::Memory, None),
        };
        kv::Config {
            bucket: name,
            history: 1,
            max_age,
            storage,
            republish,
            num_replicas: self.inner.replicas,
            ..kv::Config::default()
        }
    }

    /// The bucket, made where it is missing.
    async fn bucket(&self, bucket: Bucket) -> Result<Store, Failed> {
        let known = locked(&self.inner.buckets).get(&bucket).cloned();
        match known {
            Some(store) => Ok(store),
            None => self.find_bucket(bucket).await,
        }
    }

    /// The same, asked for whatever is known.
    async fn find_bucket(&self, bucket: Bucket) -> Result<Store, Failed> {
        let name = self.inner.names.bucket(bucket.kind());
        let store = match self.inner.context.get_key_value(&name).await {
            Ok(store) => store,
            Err(error) if code_of(&error) == Some(ErrorCode::STREAM_NOT_FOUND) => {
                let made = self.inner.context.create_key_value(self.wanted(bucket)).await;
                made.map_err(|error| unknown(&format!("the bucket {name} cannot be made"), error))?
            }
            Err(error) => return Err(unknown(&format!("the bucket {name} cannot be found"), error)),
        };
        locked(&self.inner.buckets).insert(bucket, store.clone());
        Ok(store)
    }

    /// The stream of events, made where it is missing.
    async fn events(&self) -> Result<Stream, Failed> {
        let known = locked(&self.inner.events).clone();
        match known {
            Some(stream) => Ok(stream),
            None => self.find_events().await,
        }
    }

    /// The same, asked for whatever is known.
    async fn find_events(&self) -> Result<Stream, Failed> {
        let config = stream::Config {
            name: self.inner.names.events_stream(),
            subjects: vec![self.inner.names.all_events(), self.inner.names.all_kept()],
            max_age: EVENTS_AGE,
            duplicate_window: DUPLICATES,
            num_replicas: self.inner.replicas,
            storage: StorageType::File,
            allow_direct: true,
            ..stream::Config::default()
        };
        let name = config.name.clone();
        let stream = match self.inner.context.get_stream(&name).await {
            Ok(stream) => stream,
            Err(error) if code_of(&error) == Some(ErrorCode::STREAM_NOT_FOUND) => {
                let made = self.inner.context.create_stream(config).await;
                made.map_err(|error| unknown(&format!("the stream {name} cannot be made"), error))?
            }
            Err(error) => return Err(unknown(&format!("the stream {name} cannot be found"), error)),
        };
        *locked(&self.inner.events) = Some(stream.clone());
        Ok(stream)
    }

    /// After an error the bucket may be gone: it is looked for anew at the next call.
    fn forget(&self, bucket: Bucket) {
        locked(&self.inner.buckets).remove(&bucket);
    }

    /// Writes a key if it is at this revision; 0 is for a key that is not there.
    async fn update(&self, bucket: Bucket, key: &str, bytes: Bytes, revision: u64) -> Result<u64, Failed> {
        let store = self.bucket(bucket).await?;
        store.update(key, bytes, revision).await.map_err(|error| {
            if error.kind() == UpdateErrorKind::WrongLastRevision || conflicts(&error) {
                return Failed::Conflict;
            }
            self.forget(bucket);
            unknown(&format!("the bucket {}", store.name), error)
        })
    }

    async fn put(&self, bucket: Bucket, key: &str, bytes: Bytes) -> Result<u64, Failed> {
        let store = self.bucket(bucket).await?;
        store.put(key, bytes).await.map_err(|error| {
            self.forget(bucket);
            unknown(&format!("the bucket {}", store.name), error)
        })
    }

    /// A key as any replica has it: it may be old. With it whether it was deleted.
    async fn entry(&self, bucket: Bucket, key: &str) -> Result<Option<(Entry, bool)>, Failed> {
        let store = self.bucket(bucket).await?;
        let found = store.entry(key).await.map_err(|error| {
            self.forget(bucket);
            unknown(&format!("the bucket {}", store.name), error)
        })?;
        Ok(found.map(|entry| {
            let is_deleted = entry.operation != kv::Operation::Put;
            (Entry { revision: entry.revision, bytes: entry.value }, is_deleted)
        }))
    }

    /// Reads what a stream has under these subjects, from this number on. That needs neither a consumer nor a leader of the stream, as any
    /// replica answers. Servers before 2.11 are asked one by one.
    async fn scan(&self, stream: &str, subjects: &str, from: u64) -> Result<Vec<Found>, Failed> {
        let mut found = Vec::new();
        let mut next = from.max(1);
        let reading = async {
            while found.len() < MOST_ENTRIES {
                let question = json!({ "seq": next, "next_by_subj": subjects, "batch": batch::MOST_AT_ONCE });
                let Some(batch) = self.batch(stream, &question).await? else {
                    return Err(unknown("the servers' store", "it does not understand the question"));
                };
                next = batch.found.last().map_or(next, |found| found.sequence + 1);
                found.extend(batch.found);
                if batch.is_all {
                    break;
                }
            }
            Ok(())
        };
        match tokio::time::timeout(SCAN, reading).await {
            Ok(read) => read.map(|()| found),
            Err(_) => Err(Failed::Unknown("the servers' store did not answer in time".to_owned())),
        }
    }

    /// Reads all that a bucket has under these subjects. Where a server cannot answer that at once: their names from the leader of the
    /// stream, their entries side by side; where that leader does not answer they are read one by one.
    async fn scan_all(&self, stream: &Stream, subjects: &str) -> Result<Vec<Found>, Failed> {
        let name = stream.cached_info().config.name.as_str();
        if let Some(batch) = self.batch(name, &json!({ "multi_last": [subjects] })).await?
            && batch.is_all
        {
            return Ok(batch.found);
        }
        let Ok(listed) = stream.info_with_subjects(subjects).await else { return self.scan(name, subjects, 1).await };
        let names: Vec<String> =
            listed.take(MOST_ENTRIES).filter_map(|name| async { name.ok() }).map(|(name, _)| name).collect().await;
        let read = futures_util::stream::iter(names).map(|name| async move {
            match stream.direct_get_last_for_subject(name.as_str()).await {
                Ok(message) => Ok(Some(Found::of(message))),
                // Its time was over between both questions.
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
                Err(error) => Err(unknown("the servers' store", error)),
            }
        });
        let reading = read.buffer_unordered(SIDE_BY_SIDE).try_filter_map(|found| async { Ok(found) }).try_collect();
        let read: Result<Vec<Found>, Failed> = match tokio::time::timeout(SCAN, reading).await {
            Ok(read) => read,
            Err(_) => Err(Failed::Unknown("the servers' store did not answer in time".to_owned())),
        };
        read.map(|mut found| {
            found.sort_by_key(|found| found.sequence);
            found
        })
    }

    /// What is not as it should be, in sentences.
    fn judge(&self, lead: &Store, plan: &Store) -> Vec<String> {
        let mut problems = Vec::new();
        let (major, minor, patch) = OLDEST_SERVER;
        let info = self.inner.client.server_info();
        if !self.inner.client.is_server_compatible(major, minor, patch) {
            let version = info.version;
            problems.push(format!(
                "the server is {version}; {major}.{minor}.{patch} or newer is needed, as older ones lose data"
            ));
        }
        let kept = lead.stream.cached_info().config.max_age;
        if kept != self.inner.lease {
            let (kept, own) = (kept.as_secs_f64(), self.inner.lease.as_secs_f64());
            problems.push(format!(
                "the group's lease is {kept} s, `lease_seconds` of this member is {own}: the group's counts"
            ));
        }
        let replicas = plan.stream.cached_info().config.num_replicas;
        if info.cluster.is_some() && replicas < 3 {
            problems.push(format!("the plan is kept on {replicas} server only: when that fails, members act alone"));
        }
        if plan.stream.cached_info().config.republish.is_none() {
            problems.push("the servers do not publish the plan again: members hear of it a second later".to_owned());
        }
        problems
    }
}

/// A message of a stream.
struct Found {
    sequence: u64,
    subject: String,
    is_deleted: bool,
    /// When it was written: nanoseconds since 1970, by the server that took it.
    written: i128,
    bytes: Bytes,
}

impl Found {
    fn of(message: StreamMessage) -> Self {
        Self {
            sequence: message.sequence,
            subject: message.subject.to_string(),
            is_deleted: is_deletion(&message.headers),
            written: message.time.unix_timestamp_nanos(),
            bytes: message.payload,
        }
    }
}

/// Whether a message stands for a key that was deleted. The header is that of all clients of key-value buckets (ADR-8 of NATS).
fn is_deletion(headers: &HeaderMap) -> bool {
    headers.get("KV-Operation").is_some() || headers.get("Nats-Marker-Reason").is_some()
}

impl Coordinator for Nats {
    type Watch = NatsWatch;

    async fn prepare(&self) -> Result<Ready, Failed> {
        for bucket in Bucket::ALL {
            self.find_bucket(bucket).await?;
        }
        let last = self.find_events().await?.cached_info().state.last_sequence;
        let (lead, plan) = (self.bucket(Bucket::Lead).await?, self.bucket(Bucket::Plan).await?);
        let lease = lead.stream.cached_info().config.max_age;
        Ok(Ready { lease: (!lease.is_zero()).then_some(lease), last, problems: self.judge(&lead, &plan) })
    }

    async fn send(&self, kind: Kind, event_type: String, identity: String, letter: Bytes) -> Result<(), Failed> {
        let message = PublishMessage::build().payload(letter).message_id(identity);
        let subject = self.inner.names.letter(kind, &event_type);
        let sent = self.inner.context.send_publish(subject, message).await;
        let failed = |error: PublishError| {
            // It was told all the same. Where the stream is missing the next try makes it.
            *locked(&self.inner.events) = None;
            unknown("the stream of events", error)
        };
        if let Err(error) = sent.map_err(failed)?.await.map_err(failed) {
            self.events().await?;
            return Err(error);
        }
        Ok(())
    }

    async fn tell(&self, news: Bytes) -> Result<(), Failed> {
        let sending = self.inner.client.publish(self.inner.names.to_all("news"), news);
        match tokio::time::timeout(CALL, sending).await {
            Ok(sent) => sent.map_err(|error| unknown("news", error)),
            Err(_) => Err(Failed::Unknown("the connection takes nothing".to_owned())),
        }
    }

    async fn missed(&self, after: u64) -> Result<(Vec<Bytes>, u64), Failed> {
        let stream = self.events().await?;
        let subjects = self.inner.names.all_events();
        let last = match stream.direct_get_last_for_subject(subjects.as_str()).await {
            Ok(message) => message.sequence,
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => 0,
            Err(error) => {
                // The next try makes it where it is gone.
                *locked(&self.inner.events) = None;
                return Err(unknown("the stream of events", error));
            }
        };
        // A replica may lack the last of them, and what is kept only has numbers too. That the stream is another one its leader says.
        let is_another = last < after && self.find_events().await?.cached_info().state.last_sequence < after;
        let after = if is_another { 0 } else { after };
        if last <= after {
            return Ok((Vec::new(), after));
        }
        let name = stream.cached_info().config.name.as_str();
        let found = self.scan(name, &subjects, (after + 1).max(last.saturating_sub(MOST_MISSED - 1))).await?;
        // Another replica may have answered, which has less.
        let last = found.last().map_or(after, |found| found.sequence);
        Ok((found.into_iter().map(|found| found.bytes).collect(), last))
    }

    async fn lease(&self) -> Result<Option<Entry>, Failed> {
        let found = self.entry(Bucket::Lead, LEAD).await?;
        Ok(found.and_then(|(entry, is_deleted)| (!is_deleted).then_some(entry)))
    }

    async fn take_lease(&self, over: Option<u64>, bytes: Bytes) -> Result<u64, Failed> {
        if let Some(over) = over {
            match self.update(Bucket::Lead, LEAD, bytes.clone(), over).await {
                // The store may have dropped it meanwhile.
                Err(Failed::Conflict) => {}
                other => return other,
            }
        }
        match self.update(Bucket::Lead, LEAD, bytes.clone(), 0).await {
            // A lease that was given back leaves a mark until its time is over.
            Err(Failed::Conflict) => match self.entry(Bucket::Lead, LEAD).await? {
                Some((mark, true)) => self.update(Bucket::Lead, LEAD, bytes, mark.revision).await,
                _ => Err(Failed::Conflict),
            },
            other => other,
        }
    }

    async fn renew_lease(&self, revision: u64, bytes: Bytes) -> Result<u64, Failed> {
        self.update(Bucket::Lead, LEAD, bytes, revision).await
    }

    async fn release_lease(&self, revision: u64) -> Result<(), Failed> {
        let store = self.bucket(Bucket::Lead).await?;
        let deleted = store.delete_expect_revision(LEAD, Some(revision)).await;
        deleted.map_err(|error| if conflicts(&error) { Failed::Conflict } else { unknown("the lease", error) })
    }

    async fn plan(&self) -> Result<Option<Entry>, Failed> {
        let found = self.entry(Bucket::Plan, PLAN).await?;
        Ok(found.map(|(entry, _)| entry))
    }

    async fn write_plan(&self, revision: Option<u64>, bytes: Bytes) -> Result<u64, Failed> {
        match revision {
            Some(revision) => self.update(Bucket::Plan, PLAN, bytes, revision).await,
            None => self.put(Bucket::Plan, PLAN, bytes).await,
        }
    }

    async fn acknowledge(&self, operation: Uuid, pass: usize, bytes: Bytes) -> Result<(), Failed> {
        let key = self.inner.names.ack_key(operation, pass);
        self.put(Bucket::Acks, &key, bytes).await.map(drop)
    }

    async fn acks(&self, operation: Uuid, after: u64) -> Result<(Vec<KeptAck>, u64), Failed> {
        let store = self.bucket(Bucket::Acks).await?;
        let subjects = format!("{}{operation}.>", store.prefix);
        let found = match after {
            0 => self.scan_all(&store.stream, &subjects).await,
            after => self.scan(&store.stream_name, &subjects, after + 1).await,
        };
        let found = found.inspect_err(|_| self.forget(Bucket::Acks))?;
        let last = found.last().map_or(after, |found| found.sequence);
        let acks = found.into_iter().filter_map(|found| kept_ack(&found.subject, found.bytes));
        Ok((acks.collect(), last))
    }

    async fn present(&self, bytes: Bytes) -> Result<(), Failed> {
        let own = self.inner.names.own.clone();
        self.put(Bucket::Members, &own, bytes).await.map(drop)
    }

    async fn absent(&self) -> Result<(), Failed> {
        let store = self.bucket(Bucket::Members).await?;
        store.delete(&self.inner.names.own).await.map_err(|error| unknown("the members", error))
    }

    async fn members(&self) -> Result<Vec<KeptPresence>, Failed> {
        let store = self.bucket(Bucket::Members).await?;
        let subjects = format!("{}>", store.prefix);
        let found = self.scan_all(&store.stream, &subjects).await.inspect_err(|_| self.forget(Bucket::Members))?;
        let newest = found.iter().map(|found| found.written).max().unwrap_or_default();
        let age = |written: i128| Duration::from_nanos(u64::try_from(newest - written).unwrap_or_default());
        let there = found.into_iter().filter(|found| !found.is_deleted);
        Ok(there.map(|found| KeptPresence { age: age(found.written), bytes: found.bytes }).collect())
    }

    async fn close(&self) {
        let closing = async {
            let _flushed = self.inner.client.flush().await;
            let _drained = self.inner.client.drain().await;
        };
        let _in_time = tokio::time::timeout(CALL, closing).await;
    }
}

/// The acknowledgement under a key, which is the end of the subject.
fn kept_ack(subject: &str, bytes: Bytes) -> Option<KeptAck> {
    read_ack_key(subject).map(|(operation, pass, member)| KeptAck { operation, pass, member, bytes })
}
