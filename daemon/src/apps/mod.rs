//! Telling the applications of this machine: a file for scripts, and a socket at which applications register.
//!
//! `notices` knows which notices are open, `state_file` writes them down, `registry` knows who is registered and who has
//! answered, `wire` has the lines that go over the socket, `limits` says how much of it one user may take, `server` lets
//! connections in. Inputs: events as the recorder tells them, lines of applications, deliveries of the handler
//! `notify-apps`. Outputs: the file, lines, what each application answered. Threads: normal ones of its own
//! (`snooze-apps`, `snooze-notice`). Must never keep a real-time thread waiting, or believe a process about who it is.

pub mod limits;
pub mod notices;
pub mod registry;
pub mod server;
pub mod state_file;
#[cfg(test)]
mod tests;
pub mod wire;

use crate::event::{Event, EventId, Moment};
use crate::history::recorder::Follower;
use crate::sys::clock;
use registry::Registry;
use state_file::StateFile;
use std::sync::Arc;

/// Name of the handler that tells registered applications, and waits for them.
pub const HANDLER: &str = "notify-apps";

/// Both ways to tell, as the recorder sees them. Either may be off.
#[derive(Default)]
pub struct Desk {
    /// Who is registered.
    pub registry: Option<Arc<Registry>>,
    /// The file.
    pub file: Option<Arc<StateFile>>,
}

impl Follower for Desk {
    fn published(&self, event: &Arc<Event>) {
        // Who reads the file does not know drills.
        if let Some(file) = self.file.as_ref().filter(|_| !event.drill) {
            file.change(|notices| notices.published(event));
        }
        if let (Some(registry), Some(withdrawn)) = (&self.registry, event.cancels) {
            registry.withdrawn(&withdrawn.to_string(), event.event_type.as_str());
        }
    }

    fn moved(&self, id: EventId, effective: Moment) {
        if let Some(file) = &self.file {
            file.change(|notices| notices.moved(id, effective));
        }
        if let Some(registry) = &self.registry {
            registry.moved(&id.to_string(), effective, clock::now());
        }
    }

    fn done(&self, id: EventId) {
        if let Some(file) = &self.file {
            file.change(|notices| notices.done(id));
        }
    }
}
