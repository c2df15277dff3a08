//! The service manager's side of sd_notify(3): learns when the daemon is ready, that it lives, and when it is stopping.
//! Inputs: datagrams. Outputs: what they say. Must never miss one: the socket is there before the daemon is.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A notification socket.
#[derive(Debug)]
pub struct Notified {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Notified {
    /// Listens in this directory; the daemon is to find [`Self::path`] in `NOTIFY_SOCKET`.
    ///
    /// # Panics
    /// When it cannot.
    pub fn listen(directory: &Path) -> Self {
        let path = directory.join("notify.sock");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        Self { socket, path }
    }

    /// The socket's path.
    ///
    /// # Panics
    /// When it is not UTF-8.
    pub fn path(&self) -> &str {
        self.path.to_str().expect("UTF-8")
    }

    /// Waits until the daemon says this, such as `STOPPING=1`.
    ///
    /// # Panics
    /// When it does not within 30 s.
    pub fn wait(&self, wanted: &str) {
        let started = Instant::now();
        let mut told = Vec::new();
        while started.elapsed() < Duration::from_secs(30) {
            self.socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a limit");
            let mut buffer = [0; 4096];
            let Ok(length) = self.socket.recv(&mut buffer) else { continue };
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.lines().any(|line| line == wanted) {
                return;
            }
            told.push(text);
        }
        panic!("the daemon never said {wanted}; it said {told:?}");
    }

    /// Everything that the daemon says within this time, and when, from now.
    ///
    /// # Panics
    /// When the socket fails.
    pub fn listen_for(&self, time: Duration) -> Vec<(Duration, String)> {
        let started = Instant::now();
        let mut told = Vec::new();
        while let Some(left) = time.checked_sub(started.elapsed()).filter(|left| !left.is_zero()) {
            self.socket.set_read_timeout(Some(left)).expect("a limit");
            let mut buffer = [0; 4096];
            let Ok(length) = self.socket.recv(&mut buffer) else { continue };
            told.push((started.elapsed(), String::from_utf8_lossy(&buffer[..length]).into_owned()));
        }
        told
    }
}
