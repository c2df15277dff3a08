//! A real nats-server with JetStream, on a private port, its store in a directory of its own.
//!
//! Inputs: the program. Outputs: a handle that ends it. Must never be the machine's own server.

use crate::{program, require, wait};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// The most that anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Names the program where it lies in no usual place.
pub const PROGRAM: &str = "CLOUDSNOOZE_NATS_SERVER";

/// The program: named by the environment, in the tests' virtual environment, or in `PATH`.
pub fn find() -> Option<PathBuf> {
    let named = std::env::var_os(PROGRAM).filter(|name| !name.is_empty()).map(PathBuf::from);
    let venv = || {
        let this = std::env::current_exe().ok()?;
        let beside = this.ancestors().map(|directory| directory.join("venv/bin/nats-server"));
        beside.into_iter().find(|path| path.is_file())
    };
    named.or_else(venv).or_else(|| program::find("nats-server"))
}

/// A server with its store in a directory of its own.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    directory: TempDir,
    port: u16,
    more: String,
    child: Option<Child>,
}

impl Server {
    /// A running server, or nothing where there is no program; that was said then.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(more: &str) -> Option<Self> {
        let Some(program) = find() else {
            require::missing_means_skip(&format!(
                "a real server: there is no nats-server (tests/setup.sh fleet installs it; {PROGRAM} names one)"
            ));
            return None;
        };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let directory = tempfile::Builder::new().prefix("fleet-server-").tempdir().expect("a directory");
        let mut server = Self { program, directory, port, more: more.to_owned(), child: None };
        server.run();
        Some(server)
    }

    /// Starts it on what is in its store, and waits until it answers.
    ///
    /// # Panics
    /// It does not start.
    pub fn run(&mut self) {
        let (directory, port, more) = (self.directory.path(), self.port, &self.more);
        let store = directory.join("store");
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: {store:?}, sync_interval: always }}\n{more}\n"
        );
        let file = directory.join("server.conf");
        std::fs::write(&file, text).expect("written");
        let log = std::fs::File::options().create(true).append(true).open(directory.join("log")).expect("a log");
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().expect("started"));
        let answers = || std::net::TcpStream::connect(("127.0.0.1", port)).ok();
        let up = wait::until("the server to answer", PATIENCE, answers);
        up.unwrap_or_else(|why| panic!("{why}: {}", program::tail(&directory.join("log"), 10)));
    }

    /// As a crash ends it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            program::kill_and_reap(&mut child);
        }
    }

    /// Everything that it kept is gone.
    ///
    /// # Panics
    /// The directory cannot be removed.
    pub fn lose_everything(&mut self) {
        self.kill();
        std::fs::remove_dir_all(self.directory.path().join("store")).expect("removed");
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
