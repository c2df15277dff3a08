//! A client that sends everything of a group again, twice, last first: what a network that repeats and reorders would do.
//!
//! Inputs: servers, a group. Outputs: the same messages. It must never send again what it has sent itself.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use async_nats::{Client, Message};
use futures_util::StreamExt;
use tokio::sync::oneshot;

/// Marks what was sent again.
const MARK: &str = "Fleet-Echo";
/// How often.
const EVERY: Duration = Duration::from_millis(150);

/// It runs until this is dropped.
pub struct Echo {
    _stop: oneshot::Sender<()>,
}

impl Echo {
    /// Starts it on a thread of its own, in the network namespace of the calling thread; returns when it hears.
    ///
    /// # Errors
    /// No server answers.
    pub fn start(urls: &[String], group: &str) -> Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (urls, subject) = (urls.to_vec(), format!("cs.v1.{group}.>"));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                let opened = open(urls, subject).await;
                let parts = match opened {
                    Ok(parts) => {
                        let _heard = ready.send(Ok(()));
                        parts
                    }
                    Err(error) => {
                        let _heard = ready.send(Err(error));
                        return;
                    }
                };
                tokio::select! {
                    () = repeat(parts.0, parts.1) => {}
                    _ = stopped => {}
                }
            });
        });
        is_ready.recv().map_err(|_| anyhow!("the echo did not start"))??;
        Ok(Self { _stop: stop })
    }
}

async fn open(urls: Vec<String>, subject: String) -> Result<(Client, async_nats::Subscriber)> {
    let client = async_nats::connect(urls).await.context("the echo's connection")?;
    let subscriber = client.subscribe(subject).await.context("the echo's subscription")?;
    client.flush().await.context("the echo's subscription")?;
    Ok((client, subscriber))
}

async fn repeat(client: Client, mut messages: async_nats::Subscriber) {
    let mut kept: Vec<Message> = Vec::new();
    let mut clock = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(message) if !is_echo(&message) => kept.push(message),
                Some(_) => {}
                None => return,
            },
            _ = clock.tick() => {
                for message in kept.drain(..).rev() {
                    for _ in 0..2 {
                        let mut headers = message.headers.clone().unwrap_or_default();
                        headers.insert(MARK, "1");
                        let (subject, payload) = (message.subject.clone(), message.payload.clone());
                        // What is lost is not repeated.
                        let _lost = client.publish_with_headers(subject, headers, payload).await;
                    }
                }
            }
        }
    }
}

fn is_echo(message: &Message) -> bool {
    message.headers.as_ref().is_some_and(|headers| headers.get(MARK).is_some())
}
