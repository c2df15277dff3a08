//! The thread, the orders that calls give it, and upkeep in between.
//!
//! Inputs: futures. Outputs: their results, or why there is none. Must never block its caller beyond the time granted, nor
//! hold a lock while it waits.

use crate::Clock;
use cloudsnooze_plugin::{Call, Code, Error, pause};
use futures_util::FutureExt;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};

/// How long [`Engine::start`] waits for the first upkeep; a slower one goes on behind it.
const FIRST_UPKEEP_LIMIT: Duration = Duration::from_secs(2);
/// How often the host's flag is passed on.
const FLAG_PASS: Duration = Duration::from_millis(10);
/// Kept back for the report, at most.
const RESERVE: Duration = Duration::from_millis(150);
/// What cancelled work may take to say what it has done; the host gives 250 ms.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// Threads for files and names, which know no other way than to block.
const BLOCKING_THREADS: usize = 4;

type Work = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// Runs the asynchronous work of one instance. Methods may be called from any thread.
pub struct Engine {
    thread_name: &'static str,
    running: Mutex<Option<Running>>,
}

struct Running {
    orders: mpsc::UnboundedSender<Work>,
    thread: JoinHandle<()>,
}

/// Why work gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The host cancelled the call.
    Cancelled,
    /// The time was over.
    Late,
    /// It panicked, or there is no thread.
    Lost,
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Cancelled => Self::new("cancelled").code(Code::Cancelled),
            Trouble::Late => Self::new("the time is over").code(Code::Deadline),
            Trouble::Lost => Self::new("the thread that does the work is not there").code(Code::State),
        }
    }
}

impl Engine {
    /// One that does nothing yet. `thread_name` is cut to 15 bytes by the kernel.
    pub fn new(thread_name: &'static str) -> Self {
        Self { thread_name, running: Mutex::new(None) }
    }

    /// Starts the thread, with the priority of the calling thread, and waits for the first upkeep, at most 2 s. `upkeep` is
    /// run at once, and again `every` so often (shortened at random by up to a fifth) while no call is on; a call ends it. It
    /// must bound itself. Call it from `activate`.
    ///
    /// # Errors
    /// There is no thread or no runtime to be had.
    pub fn start<F, U>(&self, every: Duration, upkeep: F) -> io::Result<()>
    where
        F: Fn() -> U + Send + 'static,
        U: Future<Output = ()> + 'static,
    {
        let mut running = self.running();
        if running.is_some() {
            return Ok(());
        }
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name(self.thread_name)
            .build()?;
        let (orders, received) = mpsc::unbounded_channel();
        let (ready, is_ready) = sync_channel(1);
        let ready = move || {
            // Only the first is waited for.
            let _sent = ready.try_send(());
        };
        let body = move || run(runtime, received, every, upkeep, ready);
        let thread = std::thread::Builder::new().name(self.thread_name.to_owned()).spawn(body)?;
        *running = Some(Running { orders, thread });
        drop(running);
        // Slower, or never: calls go without it.
        let _waited = is_ready.recv_timeout(FIRST_UPKEEP_LIMIT);
        Ok(())
    }

    /// Has `work` driven on the thread, and waits for its result within the call's time. The work is given a clock that ends
    /// a moment before that; when it is cancelled it has a tenth of a second to come to an end by itself.
    ///
    /// # Errors
    /// It did not end in time, or not at all.
    pub fn call<T, F, W>(&self, call: &Call<'_>, work: F) -> Result<T, Trouble>
    where
        T: Send + 'static,
        F: FnOnce(Clock) -> W + Send + 'static,
        W: Future<Output = T> + 'static,
    {
        if call.cancelled().is_some() {
            return Err(Trouble::Cancelled);
        }
        let left = call.left();
        if left.is_zero() {
            return Err(Trouble::Late);
        }
        let (cancel, is_cancelled) = watch::channel(false);
        let clock = Clock::new(left.saturating_sub(RESERVE.min(left / 10)), is_cancelled);
        let (give_up, mut given_up) = watch::channel(());
        let (answer, answered) = sync_channel(1);
        let order: Work = Box::new(move || {
            Box::pin(async move {
                let guarded = AssertUnwindSafe(async move { work(clock).await }).catch_unwind();
                tokio::select! {
                    biased;
                    done = guarded => {
                        // There is room for one, and this is it.
                        let _sent = answer.try_send(done.ok());
                    }
                    // Changed or closed: nobody waits any more.
                    _ = given_up.changed() => {}
                }
            })
        });
        let sent = self.running().as_ref().is_some_and(|running| running.orders.send(order).is_ok());
        if !sent {
            return Err(Trouble::Lost);
        }
        let ends = Instant::now() + left;
        let mut last_words = None;
        let result = loop {
            match answered.recv_timeout(FLAG_PASS) {
                Ok(done) => break done.ok_or(Trouble::Lost),
                Err(RecvTimeoutError::Disconnected) => break Err(Trouble::Lost),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if call.cancelled().is_some() && last_words.is_none() {
                cancel.send_replace(true);
                last_words = Some(Instant::now() + LAST_WORDS);
            }
            if last_words.is_some_and(|end| Instant::now() >= end) {
                break Err(Trouble::Cancelled);
            }
            if Instant::now() >= ends {
                break Err(Trouble::Late);
            }
        };
        drop(give_up);
        result
    }

    /// Ends the thread and joins it, with all that the runtime started. Call it from `deactivate`.
    pub fn stop(&self) {
        let Some(Running { orders, thread }) = self.running().take() else { return };
        drop(orders);
        // It can only have panicked in upkeep, which the panic hook has told.
        let _ended = thread.join();
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The thread. Its runtime ends with it: dropping that waits for its own threads.
fn run<F, U>(
    runtime: Runtime,
    mut orders: mpsc::UnboundedReceiver<Work>,
    every: Duration,
    upkeep: F,
    ready: impl Fn() + 'static,
) where
    F: Fn() -> U + 'static,
    U: Future<Output = ()> + 'static,
{
    runtime.block_on(async move {
        // What panics once is tried again like what fails.
        let upkeep = || AssertUnwindSafe(upkeep()).catch_unwind().map(drop);
        let mut tending: Pin<Box<dyn Future<Output = ()>>> = Box::pin(upkeep());
        loop {
            let order = tokio::select! {
                biased;
                order = orders.recv() => Some(order),
                () = &mut tending => None,
            };
            match order {
                None => ready(),
                Some(None) => break,
                Some(Some(order)) => {
                    // What is not done yet is not waited for: the call needs the thread, and will do it itself.
                    drop(tending);
                    order().await;
                }
            }
            let (pause, next) = (pause::growing(1, every, every), upkeep());
            tending = Box::pin(async move {
                tokio::time::sleep(pause).await;
                next.await;
            });
        }
    });
}
