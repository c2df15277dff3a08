//! HAProxy in front of the databases: one port for writes, which finds the primary by asking, and one for reads.
//!
//! Inputs: names and ports of the databases. Outputs: a process, its log, what its runtime socket says. It must never be the machine's own
//! HAProxy, nor drain anything by itself: that is the balancer's daemon's work.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use harness::{program, wait};

use crate::PATIENCE;

/// What the checks ask a database, message by message: to log in as `balancer`, whether it is in recovery, and to part.
const CHECK: &str = "    option tcp-check
    tcp-check connect
    tcp-check send-binary 0000002900030000757365720062616c616e63657200646174616261736500706f7374677265730000
    tcp-check expect binary 5a0000000549
    tcp-check send-binary 510000001f53454c4543542070675f69735f696e5f7265636f76657279282900
    tcp-check expect binary 440000000b000100000001";

/// A running HAProxy. Dropping it ends it.
pub struct Balancer {
    directory: PathBuf,
    writes: u16,
    child: Child,
}

impl Balancer {
    /// Starts it in this directory for databases of these names and ports.
    pub fn start(directory: &Path, databases: &[(&str, u16)]) -> Result<Self> {
        let haproxy = program::find("haproxy").context("there is no haproxy")?;
        let (writes, reads) = (free_port()?, free_port()?);
        let file = directory.join("haproxy.cfg");
        std::fs::write(&file, configuration(directory, (writes, reads), databases))?;
        let log = std::fs::File::create(directory.join("log"))?;
        let mut command = Command::new(haproxy);
        command.args(["-db", "-f"]).arg(&file).stdin(Stdio::null()).stderr(log.try_clone()?).stdout(log);
        let child = command.spawn().context("haproxy")?;
        let balancer = Self { directory: directory.to_owned(), writes, child };
        let up = wait::until("HAProxy to answer", PATIENCE, || balancer.ask("show info").ok());
        up.map_err(|error| anyhow!("{error}: {}", balancer.log()))?;
        Ok(balancer)
    }

    /// The port for writes.
    pub fn writes(&self) -> u16 {
        self.writes
    }

    /// Its runtime socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("admin.sock")
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        program::tail(&self.directory.join("log"), usize::MAX)
    }

    /// Whether it sends to the database in this backend: it passes the checks, and nobody has taken it out.
    pub fn sends_to(&self, backend: &str, database: &str) -> Result<bool> {
        Ok(self.state(backend, database)? == ("2".to_owned(), "0".to_owned()))
    }

    /// Whether nobody has taken the database out of this backend, whatever the checks say.
    pub fn has(&self, backend: &str, database: &str) -> Result<bool> {
        Ok(self.state(backend, database)?.1 == "0")
    }

    /// Its operational and its administrative state, as HAProxy's numbers.
    fn state(&self, backend: &str, database: &str) -> Result<(String, String)> {
        let text = self.ask(&format!("show servers state {backend}"))?;
        let mut rows = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let row = rows.find(|row| row.get(3) == Some(&database));
        let state = row.and_then(|row| Some(((*row.get(5)?).to_owned(), (*row.get(6)?).to_owned())));
        state.with_context(|| format!("HAProxy knows no {backend}/{database}"))
    }

    fn ask(&self, command: &str) -> Result<String> {
        let mut socket = UnixStream::connect(self.socket())?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        writeln!(socket, "{command}")?;
        let mut text = String::new();
        socket.read_to_string(&mut text)?;
        Ok(text)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        program::kill_and_reap(&mut self.child);
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn configuration(directory: &Path, (writes, reads): (u16, u16), databases: &[(&str, u16)]) -> String {
    let servers: Vec<String> =
        databases.iter().map(|(name, port)| format!("    server {name} 127.0.0.1:{port}")).collect();
    let servers = servers.join("\n");
    let part = |name: &str, port: u16, recovery: &str| {
        format!(
            "listen {name}\n    bind 127.0.0.1:{port}\n{CHECK}{recovery}\n    tcp-check send-binary 5800000004\n    \
             default-server check inter 500ms rise 1 fall 3 on-marked-down shutdown-sessions\n{servers}\n"
        )
    };
    let socket = directory.join("admin.sock");
    format!(
        "global\n    log stdout format iso local0\n    stats socket {} mode 600 level admin\n    maxconn 500\ndefaults\n    mode tcp\n    \
         log global\n    timeout connect 1s\n    timeout client 5m\n    timeout server 5m\n{}{}",
        socket.display(),
        part("writes", writes, "66"),
        part("reads", reads, "74")
    )
}
