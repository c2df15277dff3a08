//! A bare client that hands each message over to a real-time thread: what a handler's start costs when nothing stands before it.
//!
//! Responsibilities: the floor that a daemon's way to a handler is compared with, on the same machine and in the same seconds, so that
//! what the machine's host takes away falls on both. Inputs: a server, how many messages. Outputs: delays. It must never share a thread
//! with what it is compared with.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use cloudsnooze_core::sys::sched::{self, Class};
use futures_util::StreamExt;

/// What is listened to.
const SUBJECT: &str = "bare.handover";
/// The daemon's own `dispatch.rt_priority`, when nothing else is set.
const PRIORITY: u8 = 10;

/// A bare client on threads of its own, which waits for messages.
pub struct Handover {
    thread: JoinHandle<Result<Vec<u32>>>,
}

impl Handover {
    /// Connects, and waits for so many messages, for `patience` each at most. It is ready when this comes back.
    ///
    /// # Errors
    /// No connection.
    pub fn listen(address: &str, messages: usize, patience: Duration) -> Result<Self> {
        let (is_ready, ready) = channel();
        let address = address.to_owned();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(hear(&address, messages, patience, &is_ready))
        });
        match ready.recv() {
            Ok(()) => Ok(Self { thread }),
            // It ended before it was ready, and says why.
            Err(_) => Err(joined(thread).err().unwrap_or_else(|| anyhow!("a bare client ended early"))),
        }
    }

    /// From each message to the real-time thread's first instruction, microseconds, ascending. Waits until all have come.
    ///
    /// # Errors
    /// They did not come.
    pub fn delays(self) -> Result<Vec<u32>> {
        joined(self.thread)
    }
}

/// Sends one message to whoever [listens](Handover::listen).
///
/// # Errors
/// The connection is closed.
pub async fn send(client: &async_nats::Client) -> Result<()> {
    client.publish(SUBJECT, bytes::Bytes::from_static(b"now")).await?;
    Ok(client.flush().await?)
}

async fn hear(address: &str, messages: usize, patience: Duration, is_ready: &Sender<()>) -> Result<Vec<u32>> {
    let client = async_nats::connect(address).await?;
    let mut heard = client.subscribe(SUBJECT).await?;
    client.flush().await?;
    let (hand_over, taken) = channel();
    let handler = std::thread::spawn(move || take(&taken));
    let _nobody_waits = is_ready.send(());
    for _ in 0..messages {
        let next = tokio::time::timeout(patience, heard.next()).await;
        next.context("no message came")?.context("the connection is closed")?;
        if hand_over.send(Instant::now()).is_err() {
            // It says below why it is gone.
            break;
        }
    }
    drop(hand_over);
    let mut delays = handler.join().map_err(|_| anyhow!("the real-time thread panicked"))??;
    delays.sort_unstable();
    Ok(delays)
}

fn take(taken: &Receiver<Instant>) -> Result<Vec<u32>> {
    let granted = sched::raise_current_thread(Class::Fifo, PRIORITY);
    ensure!(granted.is_real_time(), "real time was refused ({granted}): there is no floor to compare with");
    let delay = |sent: Instant| u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX);
    Ok(taken.iter().map(delay).collect())
}

fn joined(thread: JoinHandle<Result<Vec<u32>>>) -> Result<Vec<u32>> {
    thread.join().map_err(|_| anyhow!("a bare client panicked"))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness::{nats, require};

    #[test]
    fn each_message_is_handed_over_once() {
        let Some(server) = nats::Server::start("") else { return };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listening = Handover::listen(&server.address(), 3, Duration::from_secs(20)).unwrap();
        runtime.block_on(async {
            let client = async_nats::connect(server.address()).await.unwrap();
            for _ in 0..3 {
                send(&client).await.unwrap();
            }
        });
        match listening.delays() {
            Ok(delays) => assert!(delays.len() == 3 && delays.is_sorted(), "{delays:?}"),
            Err(error) => {
                assert!(error.to_string().contains("refused"), "{error:#}");
                require::missing_means_skip(&format!("a real-time thread: {error}"));
            }
        }
    }

    #[test]
    fn without_a_server_it_says_so() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).unwrap();
        assert!(Handover::listen(&closed.to_string(), 1, Duration::from_secs(1)).is_err());
    }
}
