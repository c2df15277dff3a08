//! The system's own shutdown, as logind announces it: a delay lock that holds it up for a while, and the sign that it begins.
//!
//! Inputs: the system bus. Outputs: a [`Hold`] that knows how long it holds, and whether the system is on its way down.
//! Runs on the control runtime. Must never keep the daemon from its work where there is no bus, nor hold a shutdown any longer than
//! its owner wants: the lock is a descriptor, and ends with it.
//!
//! Facts: systemd's "Inhibitor Locks" (a lock of mode `delay` holds a shutdown up until it is closed, at most for
//! `InhibitDelayMaxSec=` of logind.conf(5), 5 s by default) and org.freedesktop.login1(5), org.freedesktop.systemd1(5).

use futures_util::StreamExt;
use std::time::Duration;
use zbus::{Connection, OwnedFd, Proxy};

/// What cannot be had of a bus within this is taken for absent.
const ANSWER: Duration = Duration::from_secs(5);

/// A shutdown that cannot begin before this is dropped, or its time is over.
pub struct Hold {
    connection: Connection,
    signals: zbus::proxy::SignalStream<'static>,
    lock: Option<OwnedFd>,
    longest: Duration,
}

/// The same, in words, where it fails.
fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

async fn within<T>(what: impl Future<Output = zbus::Result<T>>) -> Result<T, String> {
    tokio::time::timeout(ANSWER, what).await.map_err(|_| "the system bus does not answer".to_owned())?.map_err(text)
}

async fn manager(connection: &Connection) -> Result<Proxy<'static>, String> {
    let (name, path) = ("org.freedesktop.login1", "/org/freedesktop/login1");
    within(Proxy::new(connection, name, path, "org.freedesktop.login1.Manager")).await
}

impl Hold {
    /// Takes the lock.
    ///
    /// # Errors
    /// In words: there is no system bus, no logind, or it refuses.
    pub async fn take() -> Result<Self, String> {
        let connection = within(Connection::system()).await?;
        let manager = manager(&connection).await?;
        // Heard before the lock is there: a shutdown in between is not missed.
        let signals = within(manager.receive_signal("PrepareForShutdown")).await?;
        let longest: u64 = within(manager.get_property("InhibitDelayMaxUSec")).await?;
        let mut hold = Self { connection, signals, lock: None, longest: Duration::from_micros(longest) };
        hold.renew().await?;
        Ok(hold)
    }

    /// Takes the lock again, for the next shutdown.
    ///
    /// # Errors
    /// As `take`.
    pub async fn renew(&mut self) -> Result<(), String> {
        let manager = manager(&self.connection).await?;
        let wish = ("shutdown", "CloudSnooze", "handlers prepare the machine for its end", "delay");
        self.lock = Some(within(manager.call("Inhibit", &wish)).await?);
        Ok(())
    }

    /// Lets the shutdown go on.
    pub fn let_go(&mut self) {
        self.lock = None;
    }

    /// How long a shutdown waits for the lock at most.
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// Waits for a shutdown to begin (true), or to be called off (false). None: the bus is gone.
    pub async fn next(&mut self) -> Option<bool> {
        loop {
            if let Ok(begins) = self.signals.next().await?.body().deserialize::<bool>() {
                return Some(begins);
            }
        }
    }
}

/// Whether the service manager is stopping everything. False where nobody can be asked.
pub async fn is_system_stopping() -> bool {
    let asked = async {
        let connection = within(Connection::system()).await?;
        let (name, path) = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1");
        let manager = within(Proxy::new(&connection, name, path, "org.freedesktop.systemd1.Manager")).await?;
        within(manager.get_property::<String>("SystemState")).await
    };
    asked.await.is_ok_and(|state: String| state == "stopping")
}
