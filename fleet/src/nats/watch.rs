//! What is heard on the connection.
//!
//! Responsibilities: subscriptions, and the meaning of each subject. Inputs: messages of the servers. Outputs: [`Seen`], in the order of
//! arrival on each subject. It must never interpret what a message holds.

use async_nats::{Client, Event, Message, Subscriber};
use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::{PLAN, is_deletion, kept_ack, unknown};
use crate::coordinator::{Entry, Failed, Seen, Watch};
use crate::wire::{Names, from_token};

/// All subscriptions of a member.
pub(crate) struct NatsWatch {
    client: Client,
    names: Names,
    events: mpsc::Receiver<Event>,
    letters: Subscriber,
    to_all: Subscriber,
    /// Of those who may lead.
    lease: Option<Subscriber>,
    leads: Option<Leads>,
}

/// What only the leader hears.
struct Leads {
    acks: Subscriber,
    members: Subscriber,
}

/// A message and where it was heard.
enum Heard {
    Connection(Event),
    Letter(Message),
    ToAll(Message),
    Lease(Message),
    Ack(Message),
    Member(Message),
}

impl NatsWatch {
    pub(super) async fn new(
        client: Client,
        names: Names,
        events: mpsc::Receiver<Event>,
        may_lead: bool,
    ) -> Result<Self, Failed> {
        let letters = subscribe(&client, names.all_events()).await?;
        let to_all = subscribe(&client, names.to_all("*")).await?;
        let lease = if may_lead { Some(subscribe(&client, names.lease()).await?) } else { None };
        Ok(Self { client, names, events, letters, to_all, lease, leads: None })
    }

    fn connection(&self, event: Event) -> Option<Seen> {
        match event {
            Event::Connected => {
                let info = self.client.server_info();
                Some(Seen::Connected(format!("{} {}", info.server_name, info.version)))
            }
            Event::Disconnected | Event::Closed => Some(Seen::Disconnected),
            Event::LameDuckMode | Event::Draining => None,
            Event::SlowConsumer(_) => {
                Some(Seen::Problem("messages came faster than they were taken; some were lost".to_owned()))
            }
            Event::ServerError(error) => Some(Seen::Problem(format!("the server complains: {error}"))),
            Event::ClientError(error) => Some(Seen::Problem(format!("the connection fails: {error}"))),
        }
    }
}

fn to_all(message: Message) -> Option<Seen> {
    match message.subject.rsplit('.').next() {
        Some(PLAN) => entry(message).map(Seen::Plan),
        Some("news") => Some(Seen::News(message.payload)),
        _ => None,
    }
}

fn lease(message: Message) -> Option<Seen> {
    if message.headers.as_ref().is_some_and(is_deletion) {
        return Some(Seen::Lease(None));
    }
    entry(message).map(|entry| Seen::Lease(Some(entry)))
}

/// What was written, as the servers tell of it again.
fn entry(message: Message) -> Option<Entry> {
    let revision = message.headers.as_ref()?.get(async_nats::header::NATS_SEQUENCE)?.as_str().parse().ok()?;
    Some(Entry { revision, bytes: message.payload })
}

async fn subscribe(client: &Client, subject: String) -> Result<Subscriber, Failed> {
    match tokio::time::timeout(super::CALL, client.subscribe(subject.clone())).await {
        Ok(subscribed) => subscribed.map_err(|error| unknown(&format!("cannot listen to {subject}"), error)),
        Err(_) => Err(Failed::Unknown("the connection takes nothing".to_owned())),
    }
}

fn presence(message: Message) -> Option<Seen> {
    if message.headers.as_ref().is_some_and(is_deletion) {
        return from_token(message.subject.rsplit('.').next()?).map(Seen::Left);
    }
    Some(Seen::Presence(message.payload))
}

impl Watch for NatsWatch {
    async fn next(&mut self) -> Seen {
        loop {
            let Self { events, letters, to_all: all, lease: leases, leads, .. } = &mut *self;
            let for_leader = async {
                match leads {
                    None => std::future::pending().await,
                    Some(leads) => tokio::select! {
                        Some(message) = leads.acks.next() => Heard::Ack(message),
                        Some(message) = leads.members.next() => Heard::Member(message),
                        else => std::future::pending().await,
                    },
                }
            };
            let for_who_may_lead = async {
                match leases {
                    None => std::future::pending().await,
                    Some(leases) => match leases.next().await {
                        Some(message) => Heard::Lease(message),
                        None => std::future::pending().await,
                    },
                }
            };
            // What was closed by this member itself is silent for ever.
            let heard = tokio::select! {
                Some(event) = events.recv() => Heard::Connection(event),
                Some(message) = letters.next() => Heard::Letter(message),
                Some(message) = all.next() => Heard::ToAll(message),
                heard = for_who_may_lead => heard,
                heard = for_leader => heard,
            };
            let seen = match heard {
                Heard::Connection(event) => self.connection(event),
                Heard::Letter(message) => Some(Seen::Letter(message.payload)),
                Heard::ToAll(message) => to_all(message),
                Heard::Lease(message) => lease(message),
                Heard::Ack(message) => kept_ack(&message.subject, message.payload).map(Seen::Ack),
                Heard::Member(message) => presence(message),
            };
            if let Some(seen) = seen {
                return seen;
            }
        }
    }

    async fn lead(&mut self, leads: bool) -> Result<(), Failed> {
        if !leads {
            self.leads = None;
        } else if self.leads.is_none() {
            let acks = subscribe(&self.client, format!("{}.>", self.names.acks())).await?;
            let members = subscribe(&self.client, format!("$KV.{}.*", self.names.bucket("members"))).await?;
            self.leads = Some(Leads { acks, members });
        }
        Ok(())
    }
}
