//! A connection that is open and checked before the event comes.
//!
//! Responsibilities: one thread of an instance that opens a connection ahead, checks it now and then, and opens it again
//! when it is dead. Inputs: a [`Connector`], which knows how. Outputs: a [`Lease`] for the length of a call, with the kept
//! connection in it if there is one. Must never make a call wait for input or output of the thread, and must not live
//! longer than [`Keeper::stop`].
//!
//! The scheme is ownership. Whoever uses the connection takes it out of its place: the thread while it checks, a call
//! while it works. A call that finds the place empty opens a connection of its own at once, rather than wait for a check
//! that may take its whole time. The lock guards the place only; nobody holds it while talking to a server. While a call
//! is on, the thread leaves the server alone.
//!
//! ```
//! use cloudsnooze_plugin::keeper::{Connector, Health, Keeper};
//! use cloudsnooze_plugin::{Error, Host};
//! use std::net::{SocketAddr, TcpStream};
//! use std::time::Duration;
//!
//! struct Server(SocketAddr);
//!
//! impl Connector for Server {
//!     type Connection = TcpStream;
//!
//!     fn open(&self) -> Result<TcpStream, Error> {
//!         Ok(TcpStream::connect_timeout(&self.0, Duration::from_secs(2))?)
//!     }
//!
//!     fn check(&self, connection: &mut TcpStream) -> Health {
//!         // Better: ask the server something that costs it nothing.
//!         if connection.peer_addr().is_ok() { Health::Alive } else { Health::Dead }
//!     }
//! }
//!
//! # fn in_new(host: Host, address: SocketAddr) -> Keeper<Server> {
//! // In `new`:
//! let keeper = Keeper::new(host, "keep-example", Server(address));
//! # keeper }
//! # fn in_activate(keeper: &Keeper<Server>) {
//! // In `activate`, and its counterpart `keeper.stop()` in `deactivate`:
//! keeper.start();
//! # keeper.stop(); }
//! # fn in_on_event(keeper: &Keeper<Server>) -> Result<(), Error> {
//! // In `on_event`:
//! let mut lease = keeper.lease();
//! let connection = match lease.take() {
//!     Some(kept) => kept,
//!     None => keeper.connector().open()?,
//! };
//! // Work, then give it back while it is in order; dropped otherwise, it is opened anew for the next call.
//! lease.put(connection);
//! # Ok(()) }
//! ```

use crate::pause::shortened;
use crate::{Error, Host};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long [`Keeper::start`] waits for the first attempt; slower ones go on behind it.
const FIRST_ATTEMPT_LIMIT: Duration = Duration::from_secs(2);

/// Knows one server. Both methods run on the keeper's thread and must be bounded, by seconds: [`Keeper::stop`] waits for
/// them.
pub trait Connector: Send + Sync + 'static {
    /// An open, authenticated connection.
    type Connection: Send + 'static;

    /// Opens a connection, ready for the first byte of work.
    ///
    /// # Errors
    /// Why there is none. The text is logged once, until there is one again: it must hold no secret.
    fn open(&self) -> Result<Self::Connection, Error>;

    /// Asks the server over this connection whether it is still there, as cheaply as can be.
    fn check(&self, connection: &mut Self::Connection) -> Health;
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// The server answered.
    Alive,
    /// The connection was dead; the check itself has replaced it.
    Renewed,
    /// It is of no use.
    Dead,
}

/// How often the thread does something. Each pause is shortened at random by up to a fifth, so that machines that were
/// started together do not ask together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Longest time between two checks, and between two attempts to connect. Routers forget connections that are
    /// silent for longer than a minute.
    pub longest: Duration,
    /// Shortest time between two checks. Checks get closer while the server closes connections in between, and wider
    /// again while it does not. Where even that is too seldom, they start over at the longest.
    pub shortest: Duration,
    /// Time until the second attempt to connect; doubled with each failure.
    pub first_retry: Duration,
}

impl Default for Pace {
    /// 30 s, 3 s and 1 s.
    fn default() -> Self {
        Self { longest: Duration::from_secs(30), shortest: Duration::from_secs(3), first_retry: Duration::from_secs(1) }
    }
}

/// Keeps one connection of one instance. Methods may be called from any thread.
pub struct Keeper<C: Connector> {
    shared: Arc<Shared<C>>,
    thread_name: &'static str,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared<C: Connector> {
    host: Host,
    connector: C,
    pace: Pace,
    place: Mutex<Place<C::Connection>>,
    changed: Condvar,
}

/// Where the connection is while nobody uses it.
struct Place<T> {
    idle: Option<T>,
    /// Calls that are on.
    leases: usize,
    /// From start to stop.
    is_running: bool,
    /// Checks and attempts that have ended since the start.
    rounds: u64,
    /// When the next one is due, unless a call is on.
    due: Instant,
    /// From the end of a call to the next check.
    interval: Duration,
}

impl<C: Connector> Keeper<C> {
    /// Makes a keeper that does nothing yet. `thread_name` is cut to 15 bytes by the kernel.
    pub fn new(host: Host, thread_name: &'static str, connector: C) -> Self {
        Self::with_pace(host, thread_name, connector, Pace::default())
    }

    /// The same with another pace.
    pub fn with_pace(host: Host, thread_name: &'static str, connector: C, pace: Pace) -> Self {
        let place =
            Place { idle: None, leases: 0, is_running: false, rounds: 0, due: Instant::now(), interval: pace.longest };
        let shared = Shared { host, connector, pace, place: Mutex::new(place), changed: Condvar::new() };
        Self { shared: Arc::new(shared), thread_name, thread: Mutex::new(None) }
    }

    /// What it was made from.
    pub fn connector(&self) -> &C {
        &self.shared.connector
    }

    /// Starts the thread, with the priority of the calling thread, and waits for its first attempt to connect, at most
    /// 2 s. Call it from `activate`. A server that is down is a warning in the log and tried again; so is a thread that
    /// cannot be had: then every call connects by itself.
    pub fn start(&self) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_some() {
            return;
        }
        {
            let mut place = self.shared.place();
            (place.is_running, place.rounds, place.due) = (true, 0, Instant::now());
        }
        let shared = Arc::clone(&self.shared);
        let spawned = std::thread::Builder::new().name(self.thread_name.to_owned()).spawn(move || shared.run());
        match spawned {
            Ok(handle) => *thread = Some(handle),
            Err(error) => {
                self.shared.place().is_running = false;
                self.shared.host.warn(format_args!("no thread to keep a connection ready: {error}"));
                return;
            }
        }
        let place = self.shared.place();
        let waited = self.shared.changed.wait_timeout_while(place, FIRST_ATTEMPT_LIMIT, |place| place.rounds == 0);
        drop(waited);
    }

    /// Ends the thread and joins it, and closes the kept connection. Waits for a check or an attempt that is under way.
    /// Call it from `deactivate`. Dropping the keeper does it too.
    pub fn stop(&self) {
        let idle = {
            let mut place = self.shared.place();
            place.is_running = false;
            place.idle.take()
        };
        self.shared.changed.notify_all();
        // Outside the lock: closing may talk to the server.
        drop(idle);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It can only have panicked in the connector, which the panic hook has told.
            let _ended = thread.join();
        }
    }

    /// Takes the connection for a call, without waiting. Drop the lease at the end of the call.
    pub fn lease(&self) -> Lease<'_, C> {
        let mut place = self.shared.place();
        place.leases += 1;
        Lease { shared: &self.shared, connection: place.idle.take() }
    }
}

impl<C: Connector> Drop for Keeper<C> {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A call's hold on the connection.
pub struct Lease<'k, C: Connector> {
    shared: &'k Shared<C>,
    connection: Option<C::Connection>,
}

impl<C: Connector> Lease<'_, C> {
    /// The kept connection. None when there is none, or when it is just being checked: open one, and do not wait.
    pub fn take(&mut self) -> Option<C::Connection> {
        self.connection.take()
    }

    /// Gives a connection back that is in order: the one taken or another one.
    pub fn put(&mut self, connection: C::Connection) {
        self.connection = Some(connection);
    }
}

impl<C: Connector> Drop for Lease<'_, C> {
    fn drop(&mut self) {
        let connection = self.connection.take();
        let surplus = {
            let mut place = self.shared.place();
            place.leases -= 1;
            // It has just been used, so it need not be checked soon; one that is missing is opened at once.
            place.due = Instant::now() + if connection.is_some() { place.interval } else { Duration::ZERO };
            place.take_in(connection)
        };
        self.shared.changed.notify_all();
        // Outside the lock: closing may talk to the server.
        drop(surplus);
    }
}

impl<T> Place<T> {
    /// Puts a connection into its place; gives it back when that is taken or nobody keeps connections any more.
    fn take_in(&mut self, connection: Option<T>) -> Option<T> {
        if self.is_running && self.idle.is_none() {
            self.idle = connection;
            return None;
        }
        connection
    }
}

/// How a round of the thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// There was no connection, and now there is.
    Opened,
    /// It was alive.
    Alive,
    /// It had died since the round before, and was replaced.
    Renewed,
    /// There is none.
    Failed,
}

impl<C: Connector> Shared<C> {
    fn place(&self) -> MutexGuard<'_, Place<C::Connection>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread.
    fn run(&self) {
        let mut rhythm = Rhythm::new(self.pace);
        while let Some(idle) = self.next() {
            let (connection, ended) = self.look_after(idle, rhythm.failures == 0);
            if rhythm.failures > 0 && ended != Ended::Failed {
                self.host.info(format_args!("connected again"));
            }
            let pause = rhythm.after(ended);
            let surplus = {
                let mut place = self.place();
                place.rounds += 1;
                place.due = Instant::now() + shortened(pause);
                place.interval = shortened(rhythm.interval);
                place.take_in(connection)
            };
            self.changed.notify_all();
            drop(surplus);
        }
    }

    /// Waits until a round is due, and takes the connection for it, if there is one; None when it is time to end.
    fn next(&self) -> Option<Option<C::Connection>> {
        let mut place = self.place();
        loop {
            if !place.is_running {
                return None;
            }
            let pause = place.due.saturating_duration_since(Instant::now());
            place = match (place.leases, pause) {
                (0, Duration::ZERO) => return Some(place.idle.take()),
                (0, pause) => self.changed.wait_timeout(place, pause).unwrap_or_else(PoisonError::into_inner).0,
                _ => self.changed.wait(place).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Checks the connection, or opens one. Holds no lock.
    fn look_after(&self, idle: Option<C::Connection>, is_first_failure: bool) -> (Option<C::Connection>, Ended) {
        let had_one = idle.is_some();
        if let Some(mut connection) = idle {
            match self.connector.check(&mut connection) {
                Health::Alive => return (Some(connection), Ended::Alive),
                Health::Renewed => return (Some(connection), Ended::Renewed),
                Health::Dead => drop(connection),
            }
        }
        match self.connector.open() {
            Ok(connection) => (Some(connection), if had_one { Ended::Renewed } else { Ended::Opened }),
            Err(error) => {
                if is_first_failure {
                    self.host.warn(format_args!("{error}; trying again until there is a connection"));
                }
                (None, Ended::Failed)
            }
        }
    }
}

/// When the next round is due. Pure.
struct Rhythm {
    pace: Pace,
    interval: Duration,
    failures: u32,
}

impl Rhythm {
    fn new(pace: Pace) -> Self {
        Self { pace, interval: pace.longest, failures: 0 }
    }

    /// The pause after a round.
    fn after(&mut self, ended: Ended) -> Duration {
        let Pace { longest, shortest, first_retry } = self.pace;
        if ended == Ended::Failed {
            let pause = first_retry.saturating_mul(2_u32.saturating_pow(self.failures)).min(longest);
            self.failures = self.failures.saturating_add(1);
            return pause;
        }
        self.failures = 0;
        match ended {
            Ended::Alive => self.interval = (self.interval * 9 / 8).min(longest),
            Ended::Renewed if self.interval <= shortest => self.interval = longest,
            Ended::Renewed => self.interval = (self.interval / 2).max(shortest),
            Ended::Opened | Ended::Failed => {}
        }
        self.interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn failures_are_retried_at_growing_distances_up_to_the_longest() {
        let mut rhythm = Rhythm::new(Pace::default());
        let pauses: Vec<u64> = (0..8).map(|_| rhythm.after(Ended::Failed).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
        for _ in 0..100 {
            assert_eq!(rhythm.after(Ended::Failed), 30 * SECOND);
        }
        assert_eq!(rhythm.after(Ended::Opened), 30 * SECOND);
        assert_eq!(rhythm.after(Ended::Failed), SECOND, "a success makes it patient no longer");
    }

    #[test]
    fn checks_get_closer_while_the_server_closes_idle_connections_and_wider_while_it_does_not() {
        let mut rhythm = Rhythm::new(Pace::default());
        // A server that closes connections which were idle for 5 s, the usual time of Apache and Node.js.
        let idle_limit = 5 * SECOND;
        let mut ended = Ended::Opened;
        let found: Vec<Ended> = (0..1000)
            .map(|_| {
                ended = if rhythm.after(ended) > idle_limit { Ended::Renewed } else { Ended::Alive };
                ended
            })
            .collect();
        let alive = found.iter().filter(|ended| **ended == Ended::Alive).count();
        assert!(alive > 700, "{alive} of 1000 checks found it alive");
        for _ in 0..30 {
            rhythm.after(Ended::Alive);
        }
        assert_eq!(rhythm.interval, 30 * SECOND);
    }

    #[test]
    fn a_server_that_keeps_no_connection_is_not_asked_ever_more_often() {
        let mut rhythm = Rhythm::new(Pace::default());
        let time: Duration = (0..100).map(|_| rhythm.after(Ended::Renewed)).sum();
        assert!(time > 100 * 10 * SECOND, "{time:?} for 100 checks");
    }
}
