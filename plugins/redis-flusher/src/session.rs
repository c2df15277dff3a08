//! A logged-in connection to the server: opened and checked ahead of the event, used by calls.
//!
//! Inputs: a [`Target`], a lease of the keeper. Outputs: a [`Connected`]. Must never make a call wait longer for a kept
//! connection that is dead than for a server that is not there.

use crate::config::Target;
use crate::link::{Fault, Link, Watch};
use crate::server::Snapshot;
use cloudsnooze_plugin::Error;
use cloudsnooze_plugin::keeper::{Connector, Health, Lease};
use std::time::Duration;

/// Longest wait for the server while nobody is in a hurry, whatever the configuration says: deactivating may have to wait
/// for it.
const PATIENCE_AHEAD: Duration = Duration::from_secs(5);

/// What a call works with.
pub struct Connected {
    /// The connection.
    pub link: Link,
    /// The state when the call began.
    pub first: Snapshot,
    /// For the report: `kept`, when it was there before the call, or `fresh`.
    pub origin: &'static str,
}

impl Target {
    /// The kept connection if it still works, else a new one. The first command of the work doubles as the check, so that no
    /// time goes by before it.
    ///
    /// # Errors
    /// Why there is no connection.
    pub fn connect(&self, lease: &mut Lease<'_, Self>, watch: &Watch<'_>) -> Result<Connected, Fault> {
        if let Some(mut link) = lease.take() {
            match Snapshot::take(&mut link, &watch.at_most(self.patience)) {
                Ok(first) => return Ok(Connected { link, first, origin: "kept" }),
                Err(refused) if !refused.is_final() => return Err(refused),
                Err(_lost) => {}
            }
        }
        // Not the server was too slow, but all time is over.
        let opened = Link::open(self, &watch.at_most(self.patience));
        let mut link = opened.map_err(|fault| watch.over().unwrap_or(fault))?;
        let first = Snapshot::take(&mut link, &watch.at_most(self.patience)).map_err(|fault| match fault {
            Fault::Late if watch.over().is_none() => {
                Fault::Connect { address: self.address(), reason: fault.to_string() }
            }
            other => other,
        })?;
        Ok(Connected { link, first, origin: "fresh" })
    }
}

impl Connector for Target {
    type Connection = Link;

    fn open(&self) -> Result<Link, Error> {
        let watch = Watch::lasting(self.patience.min(PATIENCE_AHEAD));
        let mut link = Link::open(self, &watch)?;
        match link.ask::<String>(&["PING"], &watch) {
            Err(fault @ (Fault::Late | Fault::Lost(_))) => {
                Err(Fault::Connect { address: self.address(), reason: fault.to_string() }.into())
            }
            _ => Ok(link),
        }
    }

    fn check(&self, link: &mut Link) -> Health {
        let watch = Watch::lasting(self.patience.min(PATIENCE_AHEAD));
        match link.ask::<String>(&["PING"], &watch) {
            Ok(_) if link.is_sound() => Health::Alive,
            // An account without PING is told so by a server that lives.
            Err(refused) if !refused.is_final() => Health::Alive,
            _ => Health::Dead,
        }
    }
}
