//! A real PostgreSQL server in a temporary directory.
//!
//! Responsibilities: install, start, freeze, kill, restart, remove. Inputs: lines for its configuration. Outputs: a
//! [`Postgres`] whose `Drop` leaves no process and no file behind, also after a panic. Must never touch a server it did not
//! start.
#![allow(dead_code, reason = "each test file uses its own part")]

use cloudsnooze_plugin::testing::TestInstance;
use harness::require::missing_means_skip;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User};
use postgres_flusher::PostgresFlusher;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a start, or an end, may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Time for a call that is in no hurry.
pub const PLENTY: Duration = Duration::from_secs(40);

/// Under these the server brings nothing to the disk by itself while its WAL writer is frozen.
pub const LAZY: &str = "synchronous_commit = off\nautovacuum = off\ncheckpoint_timeout = 1h\n";

/// A server. Dropping it kills it and removes its files.
pub struct Postgres {
    /// Everything of it: data, socket, log.
    pub dir: TempDir,
    /// Its TCP port on 127.0.0.1, and the number in its socket's name.
    pub port: u16,
    child: Child,
}

impl Postgres {
    /// Installs and starts a server with these lines in its configuration, and waits until it answers.
    ///
    /// # Errors
    /// What is missing, or how it failed, with the end of its log.
    pub fn start(lines: &str) -> Result<Self, String> {
        let template = TEMPLATE.get_or_init(install).as_ref().map_err(Clone::clone)?;
        Self::start_with(lines, |data| run(Command::new("cp").arg("-a").arg(template).arg(data)))
    }

    /// A replica of this server, streaming from it under this name.
    pub fn replica(&self, name: &str) -> Self {
        let made = Self::start_with("", |data| {
            let mut copy = as_unprivileged(&find("pg_basebackup").ok_or("there is no pg_basebackup")?);
            copy.args(["-w", "-R", "-X", "stream", "-c", "fast", "-D"]).arg(data);
            run(copy.arg("-d").arg(format!("{} application_name={name}", self.login("postgres"))))
        });
        made.unwrap()
    }

    fn start_with(lines: &str, fill: impl FnOnce(&Path) -> Result<(), String>) -> Result<Self, String> {
        let dir = private_directory()?;
        let data = dir.path().join("data");
        fill(&data)?;
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map_err(|e| e.to_string())?.port();
        let conf = data.join("postgresql.conf");
        let mut text = fs::read_to_string(&conf).map_err(|e| e.to_string())?;
        text.push_str(&format!(
            "\nlisten_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nshared_buffers = 64MB\n{lines}",
            dir.path().display()
        ));
        fs::write(&conf, text).map_err(|e| e.to_string())?;
        let child = spawn(dir.path())?;
        let mut server = Self { dir, port, child };
        server.wait_until_it_answers()?;
        Ok(server)
    }

    /// Starts it again, on the same data and the same addresses, after it ended.
    pub fn start_again(&mut self) {
        self.child = spawn(self.dir.path()).unwrap();
        self.wait_until_it_answers().unwrap();
    }

    /// Kills it as a loss of the machine would, except that the kernel's cache survives: the postmaster first, which would
    /// otherwise put its house in order.
    pub fn kill(&mut self) {
        let children = self.children();
        self.child.kill().unwrap();
        for pid in &children {
            // One may have ended by itself meanwhile.
            let _ = kill(*pid, Signal::SIGKILL);
        }
        self.child.wait().unwrap();
        // The kernel has to give the shared memory back before the next start: no process of it may be left.
        let until = Instant::now() + PATIENCE;
        while children.iter().any(|pid| state_of(*pid).is_some_and(|state| state != 'Z')) {
            assert!(Instant::now() < until, "a process of the server is left");
            thread::yield_now();
        }
    }

    /// Whether its postmaster has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Stops all of it in its tracks; its sockets stay open.
    pub fn freeze(&self) {
        stop_and_wait(std::iter::once(self.pid()).chain(self.children()));
    }

    /// Stops only the processes whose title has these words.
    pub fn freeze_only(&self, title: &str) {
        let of_title = self.children().into_iter().filter(|pid| title_of(*pid).contains(title)).collect::<Vec<_>>();
        assert!(!of_title.is_empty(), "there is no {title}");
        stop_and_wait(of_title.into_iter());
    }

    /// Lets all of it go on.
    pub fn thaw(&self) {
        for pid in std::iter::once(self.pid()).chain(self.children()) {
            let _ = kill(pid, Signal::SIGCONT);
        }
    }

    /// The rows as text, columns separated by `|`, asked by the superuser.
    pub fn ask(&self, sql: &str) -> String {
        self.run_as("postgres", sql).unwrap()
    }

    /// Runs SQL as this account over the socket, in one session, each statement a transaction; gives what was told for each.
    pub fn run_as(&self, user: &str, sql: &str) -> Result<String, String> {
        let mut psql = self.psql(user);
        psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = psql.spawn().map_err(|e| e.to_string())?;
        let mut input = child.stdin.take().unwrap();
        let sql = sql.to_owned();
        // On a thread of its own, as its answers may fill the other pipe.
        let writer = thread::spawn(move || input.write_all(sql.as_bytes()));
        let output = child.wait_with_output().map_err(|e| e.to_string())?;
        // A session that was ended leaves some of it unread.
        let _ = writer.join().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// The client as this account over the socket, waiting for input.
    pub fn psql(&self, user: &str) -> Command {
        let mut psql = Command::new(find("psql").unwrap());
        psql.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d"]).arg(self.login(user));
        psql
    }

    /// How to log in over the socket.
    pub fn login(&self, user: &str) -> String {
        format!("host={} port={} user={user} dbname=postgres", self.dir.path().display(), self.port)
    }

    /// A number, asked by the superuser.
    pub fn number(&self, sql: &str) -> u64 {
        self.ask(&format!("SELECT ({sql})::bigint")).parse().unwrap()
    }

    /// Where the log ends, and up to where it is on the disk.
    pub fn wal(&self) -> (u64, u64) {
        (self.number("pg_current_wal_insert_lsn() - '0/0'"), self.number("pg_current_wal_flush_lsn() - '0/0'"))
    }

    /// How much log a start would have to read now, bytes.
    pub fn redo_distance(&self) -> u64 {
        self.number("SELECT pg_current_wal_insert_lsn() - redo_lsn FROM pg_control_checkpoint()")
    }

    /// Makes a table, an ordinary account that may write to it, and the plugin's with the rights its README names.
    pub fn make_shop(&self) {
        self.ask(
            "CREATE TABLE orders (id int PRIMARY KEY, text text); CREATE ROLE app LOGIN; GRANT ALL ON orders TO app; \
             CREATE ROLE snooze LOGIN PASSWORD 'secret-word'; GRANT pg_checkpoint, pg_monitor TO snooze;",
        );
    }

    /// Inserts rows as the ordinary account, each a transaction of its own; gives how many were acknowledged.
    pub fn order(&self, first: usize, count: usize) -> usize {
        let rows = (first..first + count).map(|id| format!("INSERT INTO orders VALUES ({id}, repeat('x', 200));\n"));
        let told = self.run_as("app", &rows.collect::<String>()).unwrap();
        told.lines().filter(|line| *line == "INSERT 0 1").count()
    }

    /// Inserts many rows in one transaction, about 15 MB of log for 40,000.
    pub fn order_many(&self, first: usize, count: usize) {
        let last = first + count - 1;
        self.ask(&format!("INSERT INTO orders SELECT i, repeat('x', 200) FROM generate_series({first}, {last}) i"));
    }

    /// Rows in the table.
    pub fn rows(&self) -> usize {
        self.ask("SELECT count(*) FROM orders").parse().unwrap()
    }

    /// The settings that ALTER SYSTEM has left on the disk.
    pub fn auto_file(&self) -> String {
        let text = fs::read_to_string(self.dir.path().join("data/postgresql.auto.conf")).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).collect()
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// A plugin that reaches it over the socket as the superuser, with more configuration.
    pub fn plugin(&self, more: &Value) -> TestInstance<PostgresFlusher> {
        plugin(&self.login("postgres"), more)
    }

    /// A plugin that reaches it over TCP with a password, and with the rights that the README names.
    pub fn modest_plugin(&self, more: &Value) -> TestInstance<PostgresFlusher> {
        plugin(&format!("postgresql://snooze:secret-word@127.0.0.1:{}/postgres", self.port), more)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    fn children(&self) -> Vec<Pid> {
        let numbers = fs::read_dir("/proc").unwrap().flatten();
        let pids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw));
        let parent = self.pid().to_string();
        pids.filter(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)) == Some(parent.as_str())
        })
        .collect()
    }

    fn wait_until_it_answers(&mut self) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        while self.run_as("postgres", "SELECT 1").is_err() {
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) || Instant::now() > until {
                let log = self.log();
                let end = log.lines().rev().take(10).collect::<Vec<_>>().join("\n");
                return Err(format!("postgres did not start; its log backwards:\n{end}"));
            }
            thread::yield_now();
        }
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It may have ended already, as some tests want it to.
        for pid in self.children() {
            let _ = kill(pid, Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn state_of(pid: Pid) -> Option<char> {
    fs::read_to_string(format!("/proc/{pid}/stat")).ok()?.rsplit_once(") ")?.1.chars().next()
}

fn title_of(pid: Pid) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

fn stop_and_wait(pids: impl Iterator<Item = Pid>) {
    let until = Instant::now() + PATIENCE;
    for pid in pids {
        // A process that is just ending is as good as stopped.
        let _ = kill(pid, Signal::SIGSTOP);
        while state_of(pid).is_some_and(|state| !"TZ".contains(state)) {
            assert!(Instant::now() < until, "process {pid} does not stop");
            thread::yield_now();
        }
    }
}

/// A started server, or None and a loud word about it.
pub fn start_or_say(lines: &str) -> Option<Postgres> {
    match Postgres::start(lines) {
        Ok(server) => Some(server),
        Err(reason) => {
            let installed = find("postgres").is_some() && find("initdb").is_some() && find("psql").is_some();
            assert!(!installed, "a test against PostgreSQL: {reason}");
            missing_means_skip(&format!("a test against PostgreSQL: {reason}"));
            None
        }
    }
}

/// A plugin instance with this connection string and more configuration.
pub fn plugin(connection_string: &str, more: &Value) -> TestInstance<PostgresFlusher> {
    let mut config = json!({ "connection_string": connection_string });
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    TestInstance::new(&config).unwrap()
}

/// An event of this type.
pub fn event(kind: &str) -> Value {
    let mut event = cloudsnooze_plugin::testing::spot_interrupt();
    event["type"] = json!(kind);
    event
}

/// A database, made once and copied for each server: making one takes seconds.
static TEMPLATE: OnceLock<Result<PathBuf, String>> = OnceLock::new();

fn install() -> Result<PathBuf, String> {
    for program in ["postgres", "initdb", "psql", "cp"] {
        find(program).ok_or(format!("{program} is not installed"))?;
    }
    let server = find("postgres").ok_or("postgres is not installed")?;
    let version = Command::new(server).arg("--version").output().map_err(|e| e.to_string())?.stdout;
    let version: String = String::from_utf8_lossy(&version).chars().filter(char::is_ascii_alphanumeric).collect();
    // The owner is a part of the name: what one user has made, another may not run.
    let template = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{version}-{}", server_user().0));
    if template.exists() {
        return Ok(template);
    }
    fs::create_dir_all(env!("CARGO_TARGET_TMPDIR")).map_err(|e| e.to_string())?;
    let fresh = private_directory()?;
    let mut initdb = as_unprivileged(&find("initdb").ok_or("initdb is not installed")?);
    initdb.args(["-N", "-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256", "-E", "UTF8"]);
    run(initdb.args(["--locale=C", "-D"]).arg(fresh.path().join("data")))?;
    let beside = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(|e| e.to_string())?;
    run(Command::new("cp").arg("-a").arg(fresh.path().join("data")).arg(beside.path()))?;
    // Another test program may have been quicker; one of both is as good as the other.
    match fs::rename(beside.path().join("data"), &template) {
        Err(e) if !template.exists() => Err(e.to_string()),
        _ => Ok(template),
    }
}

/// A directory that the server's user owns.
fn private_directory() -> Result<TempDir, String> {
    let dir = tempfile::Builder::new().prefix("postgres-").tempdir().map_err(|e| e.to_string())?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())?;
    if Uid::effective().is_root() {
        let (user, group) = server_user();
        chown(dir.path(), Some(user), Some(group)).map_err(|e| e.to_string())?;
    }
    Ok(dir)
}

fn spawn(dir: &Path) -> Result<Child, String> {
    let log = fs::File::options().create(true).append(true).open(dir.join("log")).map_err(|e| e.to_string())?;
    let mut command = as_unprivileged(&find("postgres").ok_or("postgres is not installed")?);
    command.arg("-D").arg(dir.join("data")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().map_err(|e| e.to_string())
}

/// PostgreSQL refuses to run as root.
fn as_unprivileged(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").env_remove("PGDATA");
    if Uid::effective().is_root() {
        let (user, group) = server_user();
        command.uid(user).gid(group);
    }
    command
}

/// Who runs the server: this user, or one without rights when this is root.
fn server_user() -> (u32, u32) {
    if !Uid::effective().is_root() {
        return (Uid::effective().as_raw(), nix::unistd::Gid::effective().as_raw());
    }
    let found = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten());
    found.map_or((65534, 65534), |user| (user.uid.as_raw(), user.gid.as_raw()))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps a directory for each version, out of everybody's PATH; the newest first.
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    versions.sort();
    let folders = versions.into_iter().rev().chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}
