//! A client that writes numbered rows through the balancer, and notes each one that was acknowledged.
//!
//! Inputs: where to connect. Outputs: the acknowledged numbers, the longest time between two of them. It must never count a row as
//! acknowledged that was not, nor write one number twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, NoTls, Statement};

/// Between two rows, as a client does something else too.
const PAUSE: Duration = Duration::from_millis(5);
/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(50);
/// Longest wait for an answer, before the client gives the connection up.
const ANSWER: Duration = Duration::from_secs(3);

/// The table it writes to.
pub const TABLE: &str = "CREATE TABLE ledger (number bigint PRIMARY KEY); GRANT INSERT ON ledger TO app;";

struct Ledger {
    acknowledged: Vec<i64>,
    last: Instant,
    longest: Duration,
    refusals: u64,
    why: String,
}

/// A running writer. Dropping it stops it.
pub struct Writer {
    ledger: Arc<Mutex<Ledger>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What it saw since it was asked last.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The longest time between two acknowledged rows, seconds.
    pub longest_seconds: f64,
    /// Connections and writes that were refused, or got no answer.
    pub refusals: u64,
    /// The last reason.
    pub why: String,
}

impl Writer {
    /// Starts it: on a thread of its own, through this port.
    pub fn start(port: u16) -> Result<Self> {
        let ledger = Ledger {
            acknowledged: Vec::new(),
            last: Instant::now(),
            longest: Duration::ZERO,
            refusals: 0,
            why: String::new(),
        };
        let (ledger, stop) = (Arc::new(Mutex::new(ledger)), Arc::new(AtomicBool::new(false)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (to, until) = (Arc::clone(&ledger), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("writer".to_owned());
        let thread = thread.spawn(move || runtime.block_on(write(port, &to, &until)))?;
        Ok(Self { ledger, stop, thread: Some(thread) })
    }

    /// How many rows were acknowledged so far.
    pub fn count(&self) -> usize {
        lock(&self.ledger).acknowledged.len()
    }

    /// All of them.
    pub fn acknowledged(&self) -> Vec<i64> {
        lock(&self.ledger).acknowledged.clone()
    }

    /// What it saw since the last call; a refusal that goes on counts as far as it has come.
    pub fn seen(&self) -> Seen {
        let mut ledger = lock(&self.ledger);
        let longest = ledger.longest.max(ledger.last.elapsed());
        ledger.longest = Duration::ZERO;
        let refusals = std::mem::take(&mut ledger.refusals);
        Seen { longest_seconds: longest.as_secs_f64(), refusals, why: std::mem::take(&mut ledger.why) }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn write(port: u16, ledger: &Mutex<Ledger>, stop: &AtomicBool) {
    let (mut number, mut connection) = (0, None);
    while !stop.load(Ordering::Acquire) {
        let written = match &connection {
            None => connect(port).await.map(|new| connection = Some(new)),
            Some(open) => {
                number += 1;
                insert(open, number).await.map(|()| acknowledge(ledger, number))
            }
        };
        match written {
            Ok(()) => sleep(PAUSE).await,
            Err(error) => {
                connection = None;
                refuse(ledger, &error);
                sleep(RETRY).await;
            }
        }
    }
}

fn acknowledge(ledger: &Mutex<Ledger>, number: i64) {
    let mut ledger = lock(ledger);
    ledger.longest = ledger.longest.max(ledger.last.elapsed());
    ledger.last = Instant::now();
    ledger.acknowledged.push(number);
}

fn refuse(ledger: &Mutex<Ledger>, error: &anyhow::Error) {
    let mut ledger = lock(ledger);
    ledger.refusals += 1;
    ledger.why = format!("{error:#}");
}

async fn connect(port: u16) -> Result<(Client, Statement)> {
    let login = format!("host=127.0.0.1 port={port} user=app password=secret dbname=postgres");
    let both = async {
        let (client, driver) = tokio_postgres::connect(&login, NoTls).await?;
        tokio::spawn(driver);
        let insert = client.prepare("INSERT INTO ledger VALUES ($1)").await?;
        Ok::<_, tokio_postgres::Error>((client, insert))
    };
    Ok(timeout(ANSWER, both).await??)
}

async fn insert((client, insert): &(Client, Statement), number: i64) -> Result<()> {
    timeout(ANSWER, client.execute(insert, &[&number])).await??;
    Ok(())
}
