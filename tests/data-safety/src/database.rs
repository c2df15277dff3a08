//! What the rounds need of a server, and the writers that hammer it.
//!
//! Inputs: a [`Database`]. Outputs: what each connection was told, and when. A writer must never count a write whose
//! acknowledgement it has not read, and never use a number twice once it may have been taken.

pub mod mariadb;
pub mod postgres;
pub mod redis;

use crate::clock;
use crate::ledger::Acknowledged;
use harness::wait;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Connections that write at the same time.
pub const CONNECTIONS: usize = 4;
/// Between two writes of one connection: enough for thousands a second, and something of the machine is left to others.
const PAUSE: Duration = Duration::from_micros(500);
/// Between two attempts after a refusal.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(10);
/// Writes of every connection before the notice comes.
const WARM: u64 = 500;
/// For those, on a busy machine.
const WARM_LIMIT: Duration = Duration::from_secs(60);
/// After the server was killed: every writer finds its connection broken.
const JOIN_LIMIT: Duration = Duration::from_secs(30);
/// Bytes of a row beyond what tells it from others.
const FILLER: &str = "................................................................................";

/// What became of one write.
pub enum Answer {
    /// The server said that it is done.
    Acknowledged,
    /// The server said that it is not.
    Refused,
    /// The connection is gone, and nobody knows.
    Gone,
}

/// One connection of an ordinary account.
pub trait Client: Send {
    /// Writes one row, or waits for it as long as the server lets it wait.
    fn write(&mut self, number: u64) -> Answer;
}

/// A private server under settings with which it acknowledges what it can lose, and all that the rounds need of it.
pub trait Database: Send {
    /// Its name and version.
    fn version(&self) -> Result<String, String>;
    /// The handler's entry in the configuration: the plugin with the rights that its README names.
    fn handler(&self) -> Value;
    /// Nothing is in it, and from now on it brings nothing to the disk by itself, as far as it can be kept from that.
    fn prepare(&mut self) -> Result<(), String>;
    /// A connection of the writers' account.
    fn client(&self, round: u64, connection: usize) -> Result<Box<dyn Client>, String>;
    /// Ends all of it with SIGKILL.
    fn kill(&mut self) -> Result<(), String>;
    /// Starts it again on the same data.
    fn restart(&mut self) -> Result<(), String>;
    /// Connection and number of every row of this round, each as it was written.
    fn there(&self, round: u64) -> Result<Vec<(usize, u64)>, String>;
}

/// What is written, so that a row that is there but is another is noticed.
pub fn payload(round: u64, connection: usize, number: u64) -> String {
    format!("{round}/{connection}/{number}/{FILLER}")
}

/// Connection and number of a row that was read back, if it is what was written.
fn as_written(round: u64, (connection, number, text): (usize, u64, String)) -> Result<(usize, u64), String> {
    if text == payload(round, connection, number) {
        return Ok((connection, number));
    }
    Err(format!("write {number} of connection {connection} in round {round} is there as '{text}'"))
}

/// Writers at work. Dropping them tells them to stop, without waiting.
pub struct Writers {
    stop: Arc<AtomicBool>,
    counts: Arc<[AtomicU64; CONNECTIONS]>,
    refused: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Acknowledged>>,
}

impl Writers {
    /// Starts them, and returns when each has written a little.
    ///
    /// # Errors
    /// When one cannot connect, or nothing is acknowledged.
    pub fn start(database: &dyn Database, round: u64) -> Result<Self, String> {
        let mut writers = Self {
            stop: Arc::default(),
            counts: Arc::default(),
            refused: Arc::default(),
            threads: Vec::with_capacity(CONNECTIONS),
        };
        for connection in 0..CONNECTIONS {
            let client = database.client(round, connection)?;
            let (stop, counts, refused) =
                (Arc::clone(&writers.stop), Arc::clone(&writers.counts), Arc::clone(&writers.refused));
            writers.threads.push(thread::spawn(move || write(client, &stop, &counts[connection], &refused)));
        }
        wait::until("writes to be acknowledged", WARM_LIMIT, || {
            writers.counts.iter().all(|count| count.load(Ordering::Relaxed) >= WARM).then_some(())
        })?;
        Ok(writers)
    }

    /// Waits until all have found out that the server is gone; gives what each was told, and how often the server refused.
    ///
    /// # Errors
    /// When one does not end.
    pub fn join(mut self) -> Result<(Vec<Acknowledged>, u64), String> {
        self.stop.store(true, Ordering::Relaxed);
        let all_ended = || self.threads.iter().all(JoinHandle::is_finished).then_some(());
        wait::until("the writers to end", JOIN_LIMIT, all_ended)?;
        let joined = self.threads.drain(..).map(|thread| thread.join().map_err(|_| "a writer panicked".to_owned()));
        let all = joined.collect::<Result<_, _>>()?;
        Ok((all, self.refused.load(Ordering::Relaxed)))
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn write(mut client: Box<dyn Client>, stop: &AtomicBool, count: &AtomicU64, refused: &AtomicU64) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    while !stop.load(Ordering::Relaxed) {
        match client.write(acknowledged.len() as u64 + 1) {
            Answer::Acknowledged => {
                acknowledged.push(clock::boot_ns());
                count.store(acknowledged.len() as u64, Ordering::Relaxed);
                thread::sleep(PAUSE);
            }
            Answer::Refused => {
                refused.fetch_add(1, Ordering::Relaxed);
                thread::sleep(PAUSE_AFTER_REFUSAL);
            }
            Answer::Gone => break,
        }
    }
    acknowledged
}
