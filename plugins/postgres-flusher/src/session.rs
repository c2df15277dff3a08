//! A logged-in session with the server: opened and checked ahead of the event, used by calls.
//!
//! Inputs: a [`Target`], a lease of the keeper. Outputs: a [`Session`], and whether it was there before the call. Must never
//! make a call wait longer for a kept connection that is dead than for a server that is not there.

use crate::config::Target;
use crate::link::{Fault, Link, Watch};
use crate::server::{Identity, Snapshot};
use cloudsnooze_plugin::Error;
use cloudsnooze_plugin::keeper::{Connector, Health, Lease};
use std::time::Duration;

/// Longest wait for the server while nobody is in a hurry, whatever the configuration says: deactivating may have to wait
/// for it.
const PATIENCE_AHEAD: Duration = Duration::from_secs(5);

/// The session itself must never be cut off by the server for being idle or slow, must be able to write when all others may
/// not, and must not wait for replicas when it commits. Settings that an older server does not know are no rows here.
const OWN_SETTINGS: &str = "SELECT set_config(name, CASE name WHEN 'synchronous_commit' THEN 'local' \
    WHEN 'default_transaction_read_only' THEN 'off' ELSE '0' END, false) FROM pg_settings WHERE name IN \
    ('synchronous_commit', 'default_transaction_read_only', 'statement_timeout', 'lock_timeout', 'idle_session_timeout')";

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
    /// The state when the call began.
    pub first: Snapshot,
    /// For the report: `kept`, when it was there before the call, or `fresh`.
    pub origin: &'static str,
}

impl Target {
    fn open_session(&self, watch: &Watch<'_>) -> Result<Session, Fault> {
        let mut link = Link::open(self, watch)?;
        let server = Identity::ask(&mut link, watch)?;
        link.rows(OWN_SETTINGS, watch)?;
        Ok(Session { link, server })
    }

    /// The kept session if it still works, else a new one. The first statement of the work doubles as the check, so that no time
    /// goes by before it.
    ///
    /// # Errors
    /// Why there is no session.
    pub fn connect(&self, lease: &mut Lease<'_, Self>, watch: &Watch<'_>) -> Result<Connected, Fault> {
        let patient = watch.at_most(self.patience);
        if let Some(mut session) = lease.take() {
            match Snapshot::take(&mut session.link, &patient) {
                Ok(first) => return Ok(Connected { session, first, origin: "kept" }),
                Err(refused) if !refused.is_final() => return Err(refused),
                Err(_lost) => {}
            }
        }
        let opened = self.open_session(&watch.at_most(self.patience));
        // Not the server was too slow, but all time is over.
        let mut session = opened.map_err(|fault| watch.over().unwrap_or(fault))?;
        let first = Snapshot::take(&mut session.link, watch)?;
        Ok(Connected { session, first, origin: "fresh" })
    }
}

impl Connector for Target {
    type Connection = Session;

    fn open(&self) -> Result<Session, Error> {
        Ok(self.open_session(&Watch::lasting(self.patience.min(PATIENCE_AHEAD)))?)
    }

    fn check(&self, session: &mut Session) -> Health {
        let watch = Watch::lasting(self.patience.min(PATIENCE_AHEAD));
        if session.link.rows("", &watch).is_ok() && session.link.is_sound() { Health::Alive } else { Health::Dead }
    }
}
