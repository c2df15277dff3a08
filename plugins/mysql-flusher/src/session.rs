//! A logged-in session with the server: opened and checked ahead of the event, used by calls.
//!
//! Inputs: a [`Target`], a lease of the keeper. Outputs: a [`Session`], and whether it was there before the call. Must never
//! make a call wait longer for a kept connection that is dead than for a server that is not there.

use crate::dsn::Target;
use crate::link::{Alarm, Fault, Link};
use crate::server::{Identity, identify};
use cloudsnooze_plugin::Error;
use cloudsnooze_plugin::keeper::{Connector, Health, Lease};
use std::time::{Duration, Instant};

/// Longest wait for one statement on a connection that was opened ahead of the event; within an event
/// the time left bounds everything.
const SILENCE: Duration = Duration::from_secs(60);
/// Longest wait for the server while nobody is in a hurry, whatever the configuration says: deactivating may have to wait
/// for it.
const PATIENCE_AHEAD: Duration = Duration::from_secs(5);

/// A server and how patient to be with it.
pub struct Server {
    /// How to reach it.
    pub target: Target,
    /// How long connecting may take.
    pub patience: Duration,
}

/// An open, authenticated connection, and to whom.
pub struct Session {
    /// The connection.
    pub link: Link,
    /// Asked when it was opened: it cannot change while it lasts.
    pub server: Identity,
}

/// What a call works with.
pub struct Connected {
    /// The session.
    pub session: Session,
    /// For the report: `kept`, when it was there before the call, or `fresh`.
    pub origin: &'static str,
}

impl Server {
    fn open_session(&self, patience: Duration, silence: Duration, alarm: &Alarm) -> Result<Session, Fault> {
        let mut link = Link::open(&self.target, patience, silence)?;
        let server = link.guarded(patience, alarm, identify)??;
        Ok(Session { link, server })
    }

    /// The kept session if it still works, else a new one. The first statement of the work doubles as the check, so that
    /// no time goes by before it: it bounds all waits for locks on the server, of metadata above all.
    ///
    /// # Errors
    /// Why there is no session.
    pub fn connect(&self, lease: &mut Lease<'_, Self>, ends: Instant, alarm: &Alarm) -> Result<Connected, Fault> {
        let left = || ends.saturating_duration_since(Instant::now());
        let first = format!("SET SESSION lock_wait_timeout={}", (left() / 4).as_secs().clamp(1, 10));
        let is_lost = |result: &Result<(), Fault>| matches!(result, Err(Fault::Lost(_) | Fault::Connect { .. }));
        if let Some(mut session) = lease.take() {
            let ran = session.link.guarded(self.patience.min(left()), alarm, |link| link.run(&first));
            if ran.is_ok_and(|result| !is_lost(&result)) {
                return Ok(Connected { session, origin: "kept" });
            }
        }
        let mut session = self.open_session(self.patience.min(left()), left(), alarm)?;
        let ran = session.link.guarded(left(), alarm, |link| link.run(&first))?;
        // A refusal leaves the server's own bound; the work goes on.
        if is_lost(&ran) {
            ran?;
        }
        Ok(Connected { session, origin: "fresh" })
    }
}

impl Connector for Server {
    type Connection = Session;

    fn open(&self) -> Result<Session, Error> {
        Ok(self.open_session(self.patience.min(PATIENCE_AHEAD), SILENCE, &Alarm::default())?)
    }

    fn check(&self, session: &mut Session) -> Health {
        let patience = self.patience.min(PATIENCE_AHEAD);
        match session.link.guarded(patience, &Alarm::default(), Link::is_alive) {
            Ok(true) => Health::Alive,
            _ => Health::Dead,
        }
    }
}
