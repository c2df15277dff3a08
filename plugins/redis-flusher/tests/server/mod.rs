//! A real Redis server in a temporary directory.
//!
//! Responsibilities: start, freeze, kill, restart, remove. Inputs: options of the server. Outputs: a [`Redis`] whose `Drop`
//! leaves no process and no file behind, also after a panic. Must never touch a server it did not start.
#![allow(dead_code, reason = "each test file uses its own part")]

use cloudsnooze_plugin::testing::TestInstance;
use harness::require::missing_means_skip;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use redis::{Connection, FromRedisValue, InfoDict, RedisResult};
use redis_flusher::RedisFlusher;
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a start, or an end, may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Time for a call that is in no hurry.
pub const PLENTY: Duration = Duration::from_secs(40);

/// Nothing reaches the disk by itself.
pub const MEMORY_ONLY: [&str; 4] = ["--save", "", "--appendonly", "no"];

/// The rights that the README names.
const RIGHTS: &str = "on >secret-word resetchannels -@all ~cloudsnooze:* +info +ping +set +client|pause +client|unpause \
    +config|get +config|set +bgsave +shutdown";

/// A server. Dropping it kills it and removes its files.
pub struct Redis {
    /// Everything of it: data, socket, log.
    pub dir: TempDir,
    /// Its TCP port on 127.0.0.1.
    pub port: u16,
    options: Vec<String>,
    child: Child,
}

impl Redis {
    /// Starts a server with these options, and waits until it answers.
    ///
    /// # Errors
    /// What is missing, or how it failed, with the end of its log.
    pub fn start(options: &[&str]) -> Result<Self, String> {
        let dir = tempfile::Builder::new().prefix("redis-").tempdir().map_err(|e| e.to_string())?;
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map_err(|e| e.to_string())?.port();
        let options: Vec<String> = options.iter().map(|o| (*o).to_owned()).collect();
        let child = spawn(dir.path(), port, &options)?;
        let mut server = Self { dir, port, options, child };
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

    /// Stops it in its tracks; its sockets stay open.
    pub fn freeze(&self) {
        kill(self.pid(), Signal::SIGSTOP).unwrap();
        let until = Instant::now() + PATIENCE;
        let is_stopped = |stat: String| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'));
        let tasks = || fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap().flatten();
        while !tasks().all(|task| fs::read_to_string(task.path().join("stat")).is_ok_and(is_stopped)) {
            assert!(Instant::now() < until, "the server does not stop");
            thread::yield_now();
        }
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        kill(self.pid(), Signal::SIGCONT).unwrap();
    }

    /// A connection over the socket with every right.
    pub fn connect(&self) -> RedisResult<Connection> {
        redis::Client::open(self.socket_url())?.get_connection_with_timeout(PATIENCE)
    }

    /// The answer to a command, asked with every right.
    pub fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query(&mut self.connect().unwrap()).unwrap()
    }

    /// A number of INFO.
    pub fn info(&self, name: &str) -> i64 {
        self.ask::<InfoDict>(&["INFO"]).get(name).unwrap_or_else(|| panic!("no {name}"))
    }

    /// A setting.
    pub fn setting(&self, name: &str) -> String {
        self.ask::<Vec<String>>(&["CONFIG", "GET", name]).remove(1)
    }

    /// Sets that many keys, each acknowledged before the next.
    pub fn write(&self, first: usize, count: usize) {
        let mut connection = self.connect().unwrap();
        for id in first..first + count {
            let told: String =
                redis::cmd("SET").arg(format!("key:{id}")).arg("x".repeat(100)).query(&mut connection).unwrap();
            assert_eq!(told, "OK");
        }
    }

    /// What becomes of one more write: its answer, or that there was none within half a second.
    pub fn try_to_write(&self, key: &str) -> RedisResult<String> {
        let mut connection = self.connect()?;
        connection.set_read_timeout(Some(Duration::from_millis(500)))?;
        redis::cmd("SET").arg(key).arg("x").query(&mut connection)
    }

    /// Keys there are, but for the plugin's own.
    pub fn keys(&self) -> usize {
        self.ask::<Vec<String>>(&["KEYS", "key:*"]).len()
    }

    /// Makes an account with the rights that the README names.
    pub fn make_account(&self) {
        let words: Vec<&str> = ["ACL", "SETUSER", "snooze"].into_iter().chain(RIGHTS.split_whitespace()).collect();
        self.ask::<String>(&words);
    }

    /// How to reach it over the socket with every right.
    pub fn socket_url(&self) -> String {
        format!("unix://{}", self.dir.path().join("s").display())
    }

    /// A plugin that reaches it over the socket with every right, with more configuration.
    pub fn plugin(&self, more: &Value) -> TestInstance<RedisFlusher> {
        plugin(&self.socket_url(), more)
    }

    /// A plugin that reaches it over TCP with the rights that the README names.
    pub fn modest_plugin(&self, more: &Value) -> TestInstance<RedisFlusher> {
        plugin(&format!("redis://snooze:secret-word@127.0.0.1:{}", self.port), more)
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    fn wait_until_it_answers(&mut self) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        // While it loads its data it answers everything with an error.
        while !self.connect().is_ok_and(|mut c| redis::cmd("PING").query::<String>(&mut c).is_ok()) {
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) || Instant::now() > until {
                return Err(format!("redis-server did not start; its log:\n{}", self.log()));
            }
            thread::yield_now();
        }
        Ok(())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended already, as some tests want it to. Its children end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A started server, or None and a loud word about it.
pub fn start_or_say(options: &[&str]) -> Option<Redis> {
    match Redis::start(options) {
        Ok(server) => Some(server),
        Err(reason) => {
            let installed = find("redis-server").is_some();
            assert!(!installed, "a test against Redis: {reason}");
            missing_means_skip(&format!("a test against Redis: {reason}"));
            None
        }
    }
}

/// A plugin instance with this connection string and more configuration.
pub fn plugin(connection_string: &str, more: &Value) -> TestInstance<RedisFlusher> {
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

fn spawn(dir: &Path, port: u16, options: &[String]) -> Result<Child, String> {
    let log = fs::File::options().create(true).append(true).open(dir.join("log")).map_err(|e| e.to_string())?;
    let mut command = Command::new(find("redis-server").ok_or("redis-server is not installed")?);
    command
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--daemonize", "no", "--unixsocket"])
        .arg(dir.join("s"));
    command.arg("--dir").arg(dir).args(options).stdin(Stdio::null()).stdout(log).stderr(Stdio::null());
    command.spawn().map_err(|e| e.to_string())
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
