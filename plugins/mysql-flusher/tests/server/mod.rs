//! A real MariaDB server in a temporary directory.
//!
//! Responsibilities: install, start, freeze, kill, restart, remove. Inputs: extra options of the server.
//! Outputs: a [`MariaDb`] whose `Drop` leaves no process and no file behind, also after a panic. Must
//! never touch a server it did not start.
#![allow(dead_code, reason = "each test file uses its own part")]

use cloudsnooze_plugin::testing::TestInstance;
use harness::require::missing_means_skip;
use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};
use mysql_flusher::MysqlFlusher;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a start, or an end, may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A server. Dropping it kills it and removes its files.
pub struct MariaDb {
    /// Everything of it: data, socket, log.
    pub dir: TempDir,
    /// Its unix socket.
    pub socket: PathBuf,
    /// Its TCP port on 127.0.0.1.
    pub port: u16,
    options: Vec<String>,
    child: Child,
}

impl MariaDb {
    /// Installs and starts a server with these options, and waits until it answers.
    ///
    /// # Errors
    /// What is missing, or how it failed, with the end of its log.
    pub fn start(options: &[&str]) -> Result<Self, String> {
        let dir = tempfile::Builder::new().prefix("mariadb-").tempdir().map_err(|e| e.to_string())?;
        let template = TEMPLATE.get_or_init(install).as_ref().map_err(Clone::clone)?;
        let mut copy = Command::new("cp");
        run(copy.args(["-a", "--sparse=always"]).arg(template).arg(dir.path().join("data")))?;
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map_err(|e| e.to_string())?.port();
        let options: Vec<String> = options.iter().map(|o| (*o).to_owned()).collect();
        let child = spawn(dir.path(), port, &options)?;
        let mut server = Self { socket: dir.path().join("s"), port, options, child, dir };
        server.wait_until_it_answers()?;
        Ok(server)
    }

    /// Starts it again, on the same data and the same addresses, after it ended.
    pub fn start_again(&mut self) {
        self.child = spawn(self.dir.path(), self.port, &self.options).unwrap();
        self.wait_until_it_answers().unwrap();
    }

    /// Kills it as a loss of the machine would, except that the kernel's cache survives.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Whether its process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it has ended by itself.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the server has not ended");
            thread::yield_now();
        }
    }

    /// Stops it in its tracks; its sockets stay open. Returns when every thread has stopped.
    pub fn freeze(&self) {
        kill(self.pid(), Signal::SIGSTOP).unwrap();
        let until = Instant::now() + PATIENCE;
        let runs = |stat: String| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('T'));
        let task_runs = |task: fs::DirEntry| fs::read_to_string(task.path().join("stat")).is_ok_and(runs);
        while fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap().any(|task| task_runs(task.unwrap())) {
            assert!(Instant::now() < until, "the server does not stop");
            thread::yield_now();
        }
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        kill(self.pid(), Signal::SIGCONT).unwrap();
    }

    /// A connection as root, over the socket.
    pub fn root(&self) -> Conn {
        self.login("root", "").unwrap()
    }

    /// A connection over TCP as this account.
    pub fn account(&self, user: &str, password: &str) -> mysql::Result<Conn> {
        let options = OptsBuilder::new().ip_or_hostname(Some("127.0.0.1")).tcp_port(self.port).prefer_socket(false);
        Conn::new(options.user(Some(user)).pass(Some(password)))
    }

    /// The first row as text, its columns separated by spaces, asked by root.
    pub fn ask(&self, sql: &str) -> String {
        let row: mysql::Row = self.root().query_first(sql).unwrap().unwrap();
        let columns = row.unwrap().into_iter().map(mysql::from_value::<String>);
        columns.collect::<Vec<_>>().join(" ")
    }

    /// A status counter, asked by root.
    pub fn status(&self, name: &str) -> u64 {
        let row: Option<(String, u64)> = self.root().query_first(format!("SHOW GLOBAL STATUS LIKE '{name}'")).unwrap();
        row.unwrap_or_else(|| panic!("no status {name}")).1
    }

    /// Every global variable, to compare.
    pub fn variables(&self) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = self.root().query("SHOW GLOBAL VARIABLES").unwrap();
        // Those move by themselves.
        all.retain(|(name, _)| !name.starts_with("gtid") && !name.starts_with("timestamp"));
        all
    }

    /// Makes a table, and an ordinary account that may do all with it.
    pub fn make_shop(&self) {
        let mut root = self.root();
        for sql in [
            "CREATE DATABASE shop",
            "CREATE TABLE shop.orders (id INT PRIMARY KEY, text VARCHAR(200)) ENGINE=InnoDB",
            "CREATE USER app@'%' IDENTIFIED BY 'app'",
            "GRANT ALL ON shop.* TO app@'%'",
        ] {
            root.query_drop(sql).unwrap();
        }
    }

    /// Inserts that many rows as the ordinary account, in one transaction, and waits until the server has
    /// tidied up after them: its purge would write pages again after a flush.
    pub fn order(&self, first: usize, count: usize) {
        let last = first + count - 1;
        let sql = format!("INSERT INTO shop.orders SELECT seq, REPEAT('x', 200) FROM shop.seq_{first}_to_{last}");
        self.account("app", "app").unwrap().query_drop(sql).unwrap();
        self.root().query_drop("SET GLOBAL innodb_max_purge_lag_wait=0").unwrap();
    }

    /// Its error log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// A plugin that reaches it over the unix socket as root, with more configuration.
    pub fn plugin(&self, more: &Value) -> TestInstance<MysqlFlusher> {
        plugin(&format!("root@unix({})/", self.socket.display()), more)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    fn login(&self, user: &str, password: &str) -> mysql::Result<Conn> {
        let options = OptsBuilder::new().socket(Some(self.socket.to_string_lossy()));
        Conn::new(options.user(Some(user)).pass(Some(password)))
    }

    fn wait_until_it_answers(&mut self) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        while self.login("root", "").is_err() {
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) || Instant::now() > until {
                let log = self.log();
                let end = log.lines().rev().take(10).collect::<Vec<_>>().join("\n");
                return Err(format!("mariadbd did not start; its log backwards:\n{end}"));
            }
            thread::yield_now();
        }
        Ok(())
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        // It may have ended already, as some tests want it to.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A started server, or None and a loud word about it.
pub fn start_or_say(options: &[&str]) -> Option<MariaDb> {
    match MariaDb::start(options) {
        Ok(server) => Some(server),
        Err(reason) => {
            let installed = find("mariadbd").is_some() && find("mariadb-install-db").is_some();
            assert!(!installed, "a test against MariaDB: {reason}");
            missing_means_skip(&format!("a test against MariaDB: {reason}"));
            None
        }
    }
}

/// A plugin instance with this connection string and more configuration.
pub fn plugin(connection_string: &str, more: &Value) -> TestInstance<MysqlFlusher> {
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

/// An empty data directory, made once and copied for each server: installing takes seconds.
static TEMPLATE: OnceLock<Result<PathBuf, String>> = OnceLock::new();

fn install() -> Result<PathBuf, String> {
    let server = find("mariadbd").ok_or("mariadbd is not installed")?;
    let installer = find("mariadb-install-db").ok_or("mariadb-install-db is not installed")?;
    let version = Command::new(server).arg("--version").output().map_err(|e| e.to_string())?.stdout;
    let version: String = String::from_utf8_lossy(&version).chars().filter(char::is_ascii_alphanumeric).collect();
    let template = Path::new(env!("CARGO_TARGET_TMPDIR")).join(version);
    if template.exists() {
        return Ok(template);
    }
    fs::create_dir_all(env!("CARGO_TARGET_TMPDIR")).map_err(|e| e.to_string())?;
    let fresh = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(|e| e.to_string())?;
    let mut command = Command::new(installer);
    command.args([
        "--no-defaults",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
        "--skip-name-resolve",
    ]);
    command.args(["--innodb-log-file-size=16M"]).arg(format!("--datadir={}", fresh.path().join("data").display()));
    run(as_root(&mut command))?;
    // Another test program may have been quicker; one of both is as good as the other.
    match fs::rename(fresh.path().join("data"), &template) {
        Err(e) if !template.exists() => Err(e.to_string()),
        _ => Ok(template),
    }
}

fn spawn(dir: &Path, port: u16, options: &[String]) -> Result<Child, String> {
    let log = fs::File::options().create(true).append(true).open(dir.join("log")).map_err(|e| e.to_string())?;
    let path = |option: &str, name: &str| format!("--{option}={}", dir.join(name).display());
    let mut command = Command::new(find("mariadbd").ok_or("mariadbd is not installed")?);
    command.args(["--no-defaults", "--bind-address=127.0.0.1", "--skip-name-resolve", "--innodb-log-file-size=16M"]);
    // The server writes and changes no page by itself: with a log this small it would, as soon as the machine is slow.
    command.args(["--innodb-buffer-pool-size=64M", "--innodb-max-dirty-pages-pct=90"]);
    command.args(["--innodb-adaptive-flushing=OFF", "--innodb-stats-auto-recalc=OFF"]);
    command.args([path("datadir", "data"), path("socket", "s"), path("pid-file", "pid"), format!("--port={port}")]);
    // Servers name temporary tables by process id: in a shared directory, those of containers get in each other's way.
    command.arg(format!("--tmpdir={}", dir.display()));
    as_root(&mut command).args(options).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().map_err(|e| e.to_string())
}

/// The server refuses to run as root unless it is told to.
fn as_root(command: &mut Command) -> &mut Command {
    if Uid::effective().is_root() { command.arg("--user=root") } else { command }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| e.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Servers live in sbin, which an ordinary user's PATH leaves out.
    let mut folders =
        std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
    folders.find_map(|folder| Some(folder.join(program)).filter(|p| p.is_file()))
}
