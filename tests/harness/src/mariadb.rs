//! A private MariaDB server.
//!
//! Responsibilities: make a database directory, run a server on it with a socket of its own and a free port of 127.0.0.1,
//! ask it things through the `mariadb` client, kill and restart it. Inputs: a directory, server options, SQL. Outputs:
//! rows, numbers, a connection string. It must never touch a server that it has not started.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{program, wait};

/// The programs needed; all three are in Debian's package [`PACKAGE`] or come with it.
const PROGRAMS: [&str; 3] = ["mariadbd", "mariadb-install-db", "mariadb"];

/// Debian's package.
const PACKAGE: &str = "mariadb-server";

/// Making the system tables, or recovering after a kill, takes seconds on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// One statement.
const QUERY_LIMIT: Duration = Duration::from_secs(30);

/// How many ports are tried: another program may take a free one before the server does.
const ATTEMPTS: usize = 3;

/// The package to install when something needed is not there.
pub fn missing() -> Option<&'static str> {
    PROGRAMS.iter().any(|name| program::find(name).is_none()).then_some(PACKAGE)
}

/// Log sequence numbers of InnoDB, bytes written to the redo log since the database was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lsn {
    /// What transactions have written.
    pub current: u64,
    /// What is durable.
    pub flushed: u64,
    /// What the data files hold without the log.
    pub checkpoint: u64,
}

/// A running server. Root has no password over its socket. Dropping it kills the server; its directory stays.
pub struct MariaDb {
    directory: PathBuf,
    options: Vec<String>,
    port: u16,
    child: Option<Child>,
}

impl MariaDb {
    /// Makes a database in `directory`, which must exist, and starts a server on it. Blocks until it answers.
    ///
    /// # Errors
    /// When a program is missing, or the server does not come up: with the end of its log.
    pub fn start(directory: &Path) -> Result<Self, String> {
        Self::start_with(directory, &[])
    }

    /// The same with options for the server, such as `--innodb-flush-log-at-trx-commit=0`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(directory: &Path, options: &[&str]) -> Result<Self, String> {
        if let Some(package) = missing() {
            return Err(format!("MariaDB is not installed (Debian package {package})"));
        }
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let mut server = Self { directory: directory.to_owned(), options, port: 0, child: None };
        server.install()?;
        server.restart()?;
        Ok(server)
    }

    fn install(&self) -> Result<(), String> {
        let mut command = self.command("mariadb-install-db")?;
        // A container whose own name nobody can look up is no reason to fail.
        command.args(["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]);
        program::run(&mut command, START_LIMIT)?.success("mariadb-install-db")?;
        Ok(())
    }

    /// A program of the server with what all of them need.
    fn command(&self, name: &str) -> Result<Command, String> {
        let program = program::find(name).ok_or_else(|| format!("there is no {name}"))?;
        let temporary = self.directory.join("tmp");
        std::fs::create_dir_all(&temporary).map_err(|error| format!("{}: {error}", temporary.display()))?;
        let mut command = Command::new(program);
        // Servers name temporary tables by process id: in a shared directory, those of containers get in each other's way.
        command.env("TMPDIR", temporary);
        // No option file of the machine may have a say.
        command.arg("--no-defaults").arg(format!("--datadir={}", self.directory.join("data").display()));
        if nix::unistd::geteuid().is_root() {
            // The server refuses to run as root unless told so.
            command.arg("--user=root");
        }
        Ok(command)
    }

    /// Starts the server again after [`Self::kill9`] or a shutdown, on the same data and, where it is still free, the same
    /// port. Blocks until it answers.
    ///
    /// # Errors
    /// When it does not come up: with the end of its log.
    pub fn restart(&mut self) -> Result<(), String> {
        self.kill9();
        let mut last = String::new();
        for _attempt in 0..ATTEMPTS {
            if self.port == 0 {
                self.port = free_port()?;
            }
            match self.launch() {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
            self.kill9();
            // Most likely the port was taken meanwhile.
            self.port = 0;
        }
        Err(last)
    }

    fn launch(&mut self) -> Result<(), String> {
        let mut command = self.command("mariadbd")?;
        command
            .arg(format!("--socket={}", self.socket().display()))
            .arg(format!("--pid-file={}", self.directory.join("mariadbd.pid").display()))
            .arg(format!("--log-error={}", self.log().display()))
            .arg(format!("--port={}", self.port))
            .args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--skip-slave-start", "--performance-schema=0"])
            .arg("--innodb-buffer-pool-size=64M")
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.child = Some(command.spawn().map_err(|error| format!("cannot start mariadbd: {error}"))?);
        let up = wait::until("MariaDB to answer", START_LIMIT, || {
            if !self.is_running() {
                return Some(Err("mariadbd ended".to_owned()));
            }
            self.query("SELECT 1").is_ok().then_some(Ok(()))
        });
        up.flatten().map_err(|error| format!("{error}; its log ends:\n{}", program::tail(&self.log(), 15)))
    }

    /// True while the server's process lives.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Where root reaches it without a password.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("mariadb.sock")
    }

    /// The server's log.
    pub fn log(&self) -> PathBuf {
        self.directory.join("mariadb.log")
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What a client is configured with: `USER:PASSWORD@tcp(127.0.0.1:PORT)/DATABASE`.
    pub fn connection_string(&self, user: &str, password: &str, database: &str) -> String {
        format!("{user}:{password}@tcp(127.0.0.1:{})/{database}", self.port)
    }

    /// The `mariadb` client as root over the socket, for batches: rows as lines, columns parted by tabs, no headings.
    ///
    /// # Errors
    /// When the client is not installed.
    pub fn client(&self) -> Result<Command, String> {
        let program = program::find("mariadb").ok_or("there is no mariadb client")?;
        let mut command = Command::new(program);
        command
            .args(["--no-defaults", "--batch", "--skip-column-names", "--user=root"])
            .arg(format!("--socket={}", self.socket().display()));
        Ok(command)
    }

    /// Runs SQL as root and gives the rows, columns parted by tabs, each line ended.
    ///
    /// # Errors
    /// What the client says.
    pub fn query(&self, sql: &str) -> Result<String, String> {
        program::run(self.client()?.arg(format!("--execute={sql}")), QUERY_LIMIT)?.success("the query")
    }

    /// Runs SQL as another user, over TCP.
    ///
    /// # Errors
    /// What the client says.
    pub fn query_as(&self, user: &str, password: &str, sql: &str) -> Result<String, String> {
        let mut client = self.client_of(user, password)?;
        program::run(client.arg(format!("--execute={sql}")), QUERY_LIMIT)?.success("the query")
    }

    /// The client as another user, over TCP.
    ///
    /// # Errors
    /// When the client is not installed.
    pub(crate) fn client_of(&self, user: &str, password: &str) -> Result<Command, String> {
        let mut client = self.client()?;
        client
            .args(["--protocol=tcp", "--host=127.0.0.1"])
            .arg(format!("--port={}", self.port))
            .arg(format!("--user={user}"))
            // Not as an argument: anybody may read those.
            .env("MYSQL_PWD", password);
        Ok(client)
    }

    /// Makes a user (with every host) that may do everything in `database`, and the database if it is not there.
    ///
    /// # Errors
    /// What the client says.
    pub fn create_user(&self, user: &str, password: &str, database: &str) -> Result<(), String> {
        let sql = format!(
            "CREATE DATABASE IF NOT EXISTS {database}; CREATE USER '{user}'@'%' IDENTIFIED BY '{password}'; \
             GRANT ALL ON {database}.* TO '{user}'@'%'"
        );
        self.query(&sql).map(drop)
    }

    /// Lets a user stop intake and flush: what the plugin `mysql-flusher` needs on MariaDB 10.11.
    ///
    /// # Errors
    /// What the client says.
    pub fn grant_flushing(&self, user: &str) -> Result<(), String> {
        // SUPER for InnoDB's variables; RELOAD for FLUSH; PROCESS for SHOW ENGINE INNODB STATUS (MariaDB, "GRANT").
        let sql = format!("GRANT RELOAD, PROCESS, SUPER, READ_ONLY ADMIN, BINLOG ADMIN ON *.* TO '{user}'@'%'");
        self.query(&sql).map(drop)
    }

    /// Pages of the buffer pool that the data files do not hold yet.
    ///
    /// # Errors
    /// What the client says.
    pub fn dirty_pages(&self) -> Result<u64, String> {
        self.status("Innodb_buffer_pool_pages_dirty")
    }

    /// How far the redo log is written, durable, and no longer needed.
    ///
    /// # Errors
    /// What the client says.
    pub fn lsn(&self) -> Result<Lsn, String> {
        // Flushed is read first: read the other way round, a write in between would look like a gap that is none.
        let (flushed, checkpoint) = (self.status("Innodb_lsn_flushed")?, self.status("Innodb_lsn_last_checkpoint")?);
        Ok(Lsn { current: self.status("Innodb_lsn_current")?, flushed, checkpoint })
    }

    fn status(&self, name: &str) -> Result<u64, String> {
        let row = self.query(&format!("SHOW GLOBAL STATUS LIKE '{name}'"))?;
        let value = row.split_whitespace().nth(1).and_then(|value| value.parse().ok());
        value.ok_or_else(|| format!("the server has no number {name}: {row:?}"))
    }

    /// Sends the server a signal, such as SIGSTOP for one that hangs.
    ///
    /// # Errors
    /// When it is not running.
    pub fn signal(&self, signal: program::Signal) -> Result<(), String> {
        self.child.as_ref().map_or(Err("mariadbd is not running".to_owned()), |child| program::signal(child, signal))
    }

    /// Kills the server as a power cut would (SIGKILL); nothing is written any more. Does nothing when it is not running.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            program::kill_and_reap(&mut child);
        }
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// A port of 127.0.0.1 that is free now.
pub(crate) fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| format!("no free port: {error}"))
}
