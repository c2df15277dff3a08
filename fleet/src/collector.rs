//! Reads what a group has kept, for a history of the whole group.
//!
//! Responsibilities: one durable consumer of the stream of events, batches of it, their acknowledgement once they are written down. Inputs:
//! settings, messages of the servers. Outputs: what members have told. It must never acknowledge what its owner has not written down, nor
//! be a member: it neither leads nor says that it is there.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, Consumer};
use futures_util::StreamExt;
use uuid::Uuid;

use crate::member::Error;
use crate::nats;
use crate::settings::Settings;
use crate::wire::{Letter, Names, read, to_token};

/// How long a batch may take to be written down before the servers give it out again.
const WRITE_WAIT: Duration = Duration::from_secs(60);
/// The most messages of a batch.
const BATCH: usize = 500;

/// What a member has told.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The event's identity.
    pub event: Uuid,
    /// The CloudEvents type.
    pub event_type: String,
    /// Who told it.
    pub member: String,
    /// That member's role.
    pub role: String,
    /// What [`Member::keep`](crate::Member::keep) was given; null where it was too long.
    pub details: serde_json::Value,
}

/// What is written down in one piece.
pub struct Batch {
    /// In the order in which the servers have kept it. The same may come again: after a failure, or where a member told it twice.
    pub kept: Vec<Kept>,
    /// Messages that were none of a member's, in sentences.
    pub strange: Vec<String>,
    last: Option<Message>,
}

impl Batch {
    /// Nothing came.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// All of it is written down: the servers need not give it out again. Without this they do.
    ///
    /// # Errors
    /// The servers did not say that they know.
    pub async fn written(self) -> Result<(), Error> {
        match self.last {
            Some(last) => last.double_ack().await.map_err(|error| Error::Servers(error.to_string())),
            None => Ok(()),
        }
    }
}

/// One reader of a group's stream. What it has read is known to the servers by its name: two of the same name share the work.
pub struct Collector {
    consumer: Consumer<Config>,
}

impl Collector {
    /// Connects, and makes the consumer where it is missing: it begins with the oldest that is kept, which is a day old at most.
    ///
    /// # Errors
    /// What is wrong with the settings or a secret's file; the servers do not answer or refuse, or the group has kept nothing yet.
    pub async fn connect(settings: &Settings, name: &str) -> Result<Self, Error> {
        let problems = settings.problems();
        if !problems.is_empty() {
            return Err(Error::Settings(problems));
        }
        let secret = nats::secret_of(settings).map_err(Error::Secret)?;
        let failed = |what: &str, error: &dyn std::fmt::Display| Error::Servers(format!("{what}: {error}"));
        let options = nats::options(settings, &secret, name).map_err(Error::Secret)?;
        let to = settings.servers.join(", ");
        let addresses: Result<Vec<async_nats::ServerAddr>, _> =
            settings.servers.iter().map(|one| one.parse()).collect();
        let addresses = addresses.map_err(|error| failed("a server's address", &error))?;
        let client =
            options.connect(addresses).await.map_err(|error| failed(&format!("no connection to {to}"), &error))?;
        let stream_name = Names::new(&settings.group, name).events_stream();
        let stream = async_nats::jetstream::new(client)
            .get_stream(&stream_name)
            .await
            .map_err(|error| failed(&format!("the stream {stream_name} (members make it)"), &error))?;
        let config = Config {
            durable_name: Some(name.to_owned()),
            filter_subject: Names::new(&settings.group, name).all_kept(),
            ack_policy: AckPolicy::All,
            ack_wait: WRITE_WAIT,
            ..Config::default()
        };
        let consumer = stream.get_or_create_consumer(name, config).await;
        Ok(Self { consumer: consumer.map_err(|error| failed(&format!("the consumer {name}"), &error))? })
    }

    /// What comes next; empty where nothing has come for `wait`.
    ///
    /// # Errors
    /// The servers do not answer.
    pub async fn next(&self, wait: Duration) -> Result<Batch, Error> {
        let failed = |error: &dyn std::fmt::Display| Error::Servers(error.to_string());
        let asked = self.consumer.batch().max_messages(BATCH).expires(wait).messages().await;
        let mut messages = asked.map_err(|error| failed(&error))?;
        let mut batch = Batch { kept: Vec::new(), strange: Vec::new(), last: None };
        while let Some(message) = messages.next().await {
            let message = message.map_err(|error| failed(&error))?;
            match kept_of(&message.subject, &message.payload) {
                Ok(kept) => batch.kept.push(kept),
                Err(why) => batch.strange.push(format!("{}: {why}", message.subject.escape_debug())),
            }
            batch.last = Some(message);
        }
        Ok(batch)
    }
}

/// The servers' rights are for the subject's last part: nobody may speak for another.
fn kept_of(subject: &str, bytes: &[u8]) -> Result<Kept, String> {
    let Letter { event, event_type, member, role, details, .. } = read(bytes)?;
    if subject.rsplit('.').next() != Some(to_token(&member).as_str()) {
        return Err(format!("it is said to be of {}, which has not sent it", member.escape_debug()));
    }
    Ok(Kept { event, event_type, member, role, details: details.value() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::told::Notice;
    use crate::wire::{Kind, write};

    #[test]
    fn nobody_keeps_anything_in_anothers_name_and_what_is_no_letter_is_told() {
        let notice = Notice {
            event: Uuid::nil(),
            event_type: "history.life".to_owned(),
            detected: 0,
            deadline: None,
            left: Duration::ZERO,
            details: serde_json::json!({ "kind": "life" }),
        };
        let bytes = write(&Letter::about(Kind::Kept, &notice, "db.1", "replica"));
        let kept = kept_of("cs.v1.g.kept.history-life.db=2E1", &bytes).expect("its own");
        assert_eq!((kept.member.as_str(), &kept.details), ("db.1", &notice.details));
        assert!(kept_of("cs.v1.g.kept.history-life.db-2", &bytes).is_err_and(|why| why.contains("db.1")));
        assert!(kept_of("cs.v1.g.kept.history-life.db=2E1", b"{}").is_err());
    }
}
