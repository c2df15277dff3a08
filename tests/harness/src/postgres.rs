//! A private PostgreSQL server.
//!
//! Responsibilities: make a database, run a server on it with a socket of its own and a free port of 127.0.0.1, ask it
//! things through `psql`, stop, kill and restart it, make a replica of it. Inputs: lines for its configuration, SQL. Outputs:
//! rows, numbers, connection strings. It must never touch a server that it has not started.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::unistd::{Gid, Pid, Uid, User};
use tempfile::TempDir;

use crate::mariadb::free_port;
use crate::{processes, program, wait};

/// The programs needed.
const PROGRAMS: [&str; 3] = ["postgres", "initdb", "psql"];

/// Debian's package.
const PACKAGE: &str = "postgresql";

/// Making a database, or recovering after a kill, takes seconds on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Debian keeps the server's programs in a directory for each version, out of everybody's `PATH`.
const VERSIONS: &str = "/usr/lib/postgresql";

/// The package to install when something needed is not there.
pub fn missing() -> Option<&'static str> {
    PROGRAMS.iter().any(|name| find(name).is_none()).then_some(PACKAGE)
}

/// One of the server's programs, of the newest version there is.
pub fn find(name: &str) -> Option<PathBuf> {
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin").join(name)).collect();
    versions.sort();
    versions.into_iter().rev().find(|file| file.is_file()).or_else(|| program::find(name))
}

/// A server. The superuser `postgres` and everybody else have no password over its socket; over TCP they need one. Dropping
/// it kills it and removes its files.
pub struct Postgres {
    directory: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Postgres {
    /// Makes a database and starts a server on it with these lines in its configuration. Blocks until it answers. The empty
    /// database is kept in `templates` for the next time: making one takes seconds.
    ///
    /// # Errors
    /// What is missing, or how it failed, with the end of its log.
    pub fn start(lines: &str, templates: &Path) -> Result<Self, String> {
        if let Some(package) = missing() {
            return Err(format!("PostgreSQL is not installed (Debian package {package})"));
        }
        let template = template(templates)?;
        Self::start_on(lines, |data| run(Command::new("cp").arg("-a").arg(&template).arg(data)))
    }

    /// A replica of this server, streaming from it under this name.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn replica(&self, name: &str) -> Result<Self, String> {
        Self::start_on("", |data| self.copy_to(data, name))
    }

    /// Its data are lost, as with the disk of a machine that is gone; a copy of `source` takes their place, at the same addresses, which
    /// streams from it under this name.
    ///
    /// # Errors
    /// As [`Self::restart`].
    pub fn refill(&mut self, source: &Self, name: &str) -> Result<(), String> {
        self.kill9()?;
        let data = self.directory().join("data");
        fs::remove_dir_all(&data).map_err(|error| format!("{}: {error}", data.display()))?;
        source.copy_to(&data, name)?;
        self.configure("")?;
        self.restart()
    }

    fn copy_to(&self, data: &Path, name: &str) -> Result<(), String> {
        let source = format!("{} application_name={name}", self.login("postgres"));
        let mut copy = as_unprivileged("pg_basebackup")?;
        run(copy.args(["-w", "-R", "-X", "stream", "-c", "fast", "-D"]).arg(data).arg("-d").arg(source))
    }

    fn start_on(lines: &str, fill: impl FnOnce(&Path) -> Result<(), String>) -> Result<Self, String> {
        let directory = private_directory()?;
        fill(&directory.path().join("data"))?;
        let mut server = Self { directory, port: free_port()?, child: None };
        server.configure(lines)?;
        server.restart()?;
        Ok(server)
    }

    /// Adds its own addresses and these lines to its configuration: of two lines for one setting, the last counts.
    fn configure(&self, lines: &str) -> Result<(), String> {
        let own = format!(
            "\nlisten_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\nshared_buffers = 64MB\n{lines}",
            self.port,
            self.directory().display()
        );
        let conf = self.directory().join("data/postgresql.conf");
        let text = fs::read_to_string(&conf).and_then(|text| fs::write(&conf, text + &own));
        text.map_err(|error| format!("{}: {error}", conf.display()))
    }

    /// Starts it (again) on the same data and the same addresses; one that still runs is killed first. Blocks until it
    /// answers.
    ///
    /// # Errors
    /// When it does not come up: with the end of its log.
    pub fn restart(&mut self) -> Result<(), String> {
        self.kill9()?;
        let failed = |error: std::io::Error| format!("cannot start postgres: {error}");
        let log = fs::File::options().create(true).append(true).open(self.log_file()).map_err(failed)?;
        let mut command = as_unprivileged("postgres")?;
        command.arg("-D").arg(self.directory().join("data"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().map_err(failed)?);
        let up = wait::until("PostgreSQL to answer", START_LIMIT, || {
            if self.has_ended() {
                return Some(Err("postgres ended".to_owned()));
            }
            self.query("SELECT 1").is_ok().then_some(Ok(()))
        });
        up.flatten().map_err(|error| format!("{error}; its log ends:\n{}", program::tail(&self.log_file(), 15)))
    }

    /// Kills it with all its processes as a loss of the machine would, except that the kernel's cache survives. Does nothing
    /// when it is not running.
    ///
    /// # Errors
    /// When a process of it is left.
    pub fn kill9(&mut self) -> Result<(), String> {
        let children = self.children();
        let Some(mut child) = self.child.take() else { return Ok(()) };
        // The postmaster first: it would put its house in order when it sees its children end.
        let _sent = program::signal(&child, program::Signal::SIGKILL);
        // The kernel has to give the shared memory back before the next start: no process of it may be left.
        let ended = processes::kill_all(&children);
        program::kill_and_reap(&mut child);
        ended
    }

    /// Whether its postmaster has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// Stops all of it in its tracks; its sockets stay open.
    ///
    /// # Errors
    /// When a process does not stop.
    pub fn freeze(&self) -> Result<(), String> {
        processes::freeze(&self.family())
    }

    /// Stops only the processes whose title has these words.
    ///
    /// # Errors
    /// When there is none, or one does not stop.
    pub fn freeze_only(&self, title: &str) -> Result<(), String> {
        let mut of_title = self.children();
        of_title.retain(|pid| processes::title(*pid).contains(title));
        if of_title.is_empty() {
            return Err(format!("the server has no process '{title}'"));
        }
        processes::freeze(&of_title)
    }

    /// Lets all of it go on.
    pub fn thaw(&self) {
        processes::thaw(&self.family());
    }

    /// Everything of it is below: data, socket, log.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its TCP port on 127.0.0.1, and the number in its socket's name.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How to log in over the socket.
    pub fn login(&self, user: &str) -> String {
        format!("host={} port={} user={user} dbname=postgres", self.directory().display(), self.port)
    }

    /// `psql` as this account over the socket, waiting for input: rows as lines, columns parted by `|`.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn client(&self, user: &str) -> Result<Command, String> {
        let mut psql = Command::new(find("psql").ok_or("there is no psql")?);
        psql.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d"]).arg(self.login(user));
        Ok(psql)
    }

    /// Runs SQL as the superuser; see [`Self::query_as`].
    ///
    /// # Errors
    /// What the server says.
    pub fn query(&self, sql: &str) -> Result<String, String> {
        self.query_as("postgres", sql)
    }

    /// Runs SQL as this account over the socket, in one session, each statement a transaction; gives what was told for each.
    ///
    /// # Errors
    /// What the server says.
    pub fn query_as(&self, user: &str, sql: &str) -> Result<String, String> {
        let mut psql = self.client(user)?;
        psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = psql.spawn().map_err(|error| format!("cannot start psql: {error}"))?;
        let input = child.stdin.take();
        let sql = sql.to_owned();
        // On a thread of its own, as its answers may fill the other pipe. A session that was ended leaves some of it unread.
        let writer = std::thread::spawn(move || input.map(|mut input| input.write_all(sql.as_bytes())));
        let output = child.wait_with_output().map_err(|error| format!("psql: {error}"))?;
        let _unread = writer.join();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        program::tail(&self.log_file(), usize::MAX)
    }

    fn log_file(&self) -> PathBuf {
        self.directory().join("log")
    }

    fn pid(&self) -> Option<Pid> {
        self.child.as_ref().map(|child| Pid::from_raw(child.id().cast_signed()))
    }

    fn children(&self) -> Vec<Pid> {
        self.pid().map(processes::children).unwrap_or_default()
    }

    fn family(&self) -> Vec<Pid> {
        self.pid().into_iter().chain(self.children()).collect()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Nobody is left to be told of a process that does not end.
        let _killed = self.kill9();
    }
}

/// An empty database in `templates`, made at the first time.
fn template(templates: &Path) -> Result<PathBuf, String> {
    let failed = |error: std::io::Error| format!("cannot make a database: {error}");
    let server = find("postgres").ok_or("there is no postgres")?;
    let version = Command::new(server).arg("--version").output().map_err(failed)?.stdout;
    let version: String = String::from_utf8_lossy(&version).chars().filter(char::is_ascii_alphanumeric).collect();
    // The owner is a part of the name: what one user has made, another may not run.
    let template = templates.join(format!("{version}-{}", server_user().0));
    if template.exists() {
        return Ok(template);
    }
    fs::create_dir_all(templates).map_err(failed)?;
    let fresh = private_directory()?;
    let mut initdb = as_unprivileged("initdb")?;
    initdb.args(["-N", "-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256", "-E", "UTF8"]);
    run(initdb.args(["--locale=C", "-D"]).arg(fresh.path().join("data")))?;
    let beside = tempfile::tempdir_in(templates).map_err(failed)?;
    run(Command::new("cp").arg("-a").arg(fresh.path().join("data")).arg(beside.path()))?;
    // Another program may have been quicker; one of both is as good as the other.
    match fs::rename(beside.path().join("data"), &template) {
        Err(error) if !template.exists() => Err(failed(error)),
        _ => Ok(template),
    }
}

/// A directory that the server's user owns.
fn private_directory() -> Result<TempDir, String> {
    let failed = |error: std::io::Error| format!("cannot make a directory for PostgreSQL: {error}");
    let directory = tempfile::Builder::new().prefix("postgres-").tempdir().map_err(failed)?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).map_err(failed)?;
    if Uid::effective().is_root() {
        let (user, group) = server_user();
        chown(directory.path(), Some(user), Some(group)).map_err(failed)?;
    }
    Ok(directory)
}

/// PostgreSQL refuses to run as root.
fn as_unprivileged(name: &str) -> Result<Command, String> {
    let mut command = Command::new(find(name).ok_or_else(|| format!("there is no {name}"))?);
    command.current_dir("/").env_remove("PGDATA");
    if Uid::effective().is_root() {
        let (user, group) = server_user();
        command.uid(user).gid(group);
    }
    Ok(command)
}

/// Who runs the server: this user, or one without rights when this is root.
fn server_user() -> (u32, u32) {
    if !Uid::effective().is_root() {
        return (Uid::effective().as_raw(), Gid::effective().as_raw());
    }
    let found = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten());
    found.map_or((65534, 65534), |user| (user.uid.as_raw(), user.gid.as_raw()))
}

fn run(command: &mut Command) -> Result<(), String> {
    let what = command.get_program().to_string_lossy().into_owned();
    program::run(command, START_LIMIT)?.success(&what).map(drop)
}
