//! The built daemon, started as a user would start it, and its command line.
//!
//! Responsibilities: write a configuration into a private directory, start `snoozed` on it, wait until it answers, ask it
//! things through `snooze`, signal, kill and restart it. Inputs: the directory of the programs, a configuration. Outputs:
//! what the programs wrote and answered. It must never reach a real metadata service: without an endpoint of the test's
//! own, that source is off, and nobody looks which cloud this is unless the test says where to look. Nor is it told of this
//! machine's disks and memory, which other tests use too, unless a test wants that.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::program::{self, Output, Signal};
use crate::{paths, wait};

/// From start to readiness, plugins loaded; generous, because a busy machine is not what tests are about.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// One command of `snooze`.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// From SIGTERM to the end, with plugins to deactivate.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Lines of the log that are shown when something goes wrong.
const TAIL_LINES: usize = 60;

/// What to start, and how.
#[derive(Clone, Debug)]
pub struct DaemonBuilder {
    bin_dir: PathBuf,
    config: Value,
    conf_d: Vec<(String, Value)>,
    endpoint: Option<String>,
    plugin_directories: Vec<PathBuf>,
    environment: Vec<(String, String)>,
    root: Option<PathBuf>,
}

impl DaemonBuilder {
    /// A daemon with an empty configuration; `bin_dir` is what [`paths::bin_dir`] gives.
    pub fn new(bin_dir: impl Into<PathBuf>) -> Self {
        Self {
            bin_dir: bin_dir.into(),
            config: json!({}),
            conf_d: Vec::new(),
            endpoint: None,
            plugin_directories: Vec::new(),
            environment: Vec::new(),
            root: None,
        }
    }

    /// The configuration. What it leaves open of `state_directory`, `control.socket`, `plugin_directories`,
    /// `sources.aws`, `sources.detect` and `sources.system` is filled in with private places, and with what is off.
    #[must_use]
    pub fn config(mut self, config: Value) -> Self {
        self.config = config;
        self
    }

    /// One more configuration file in `conf.d`, as it is; `name` ends in `.json`.
    #[must_use]
    pub fn conf_d(mut self, name: &str, config: Value) -> Self {
        self.conf_d.push((name.to_owned(), config));
        self
    }

    /// The metadata service to ask, such as `fake.base_url()`.
    #[must_use]
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// One more directory of plugins, searched before the programs' own.
    #[must_use]
    pub fn plugin_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.plugin_directories.push(directory.into());
        self
    }

    /// One more environment variable for the daemon.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Keeps everything in this directory, which stays afterwards, instead of a temporary one.
    #[must_use]
    pub fn root(mut self, directory: impl Into<PathBuf>) -> Self {
        self.root = Some(directory.into());
        self
    }

    /// Writes the configuration, starts the daemon and waits until it answers.
    ///
    /// # Errors
    /// When a program is missing, or the daemon ends or does not answer in time: with the end of what it wrote.
    pub fn start(self) -> Result<Daemon, String> {
        let mut daemon = self.prepare()?;
        daemon.start_again()?;
        Ok(daemon)
    }

    /// The same without starting it: for tests of `snooze` without a daemon, or of a configuration that is refused.
    ///
    /// # Errors
    /// When a program is missing or a file cannot be written.
    pub fn prepare(self) -> Result<Daemon, String> {
        let (snoozed, snooze) = (paths::program(&self.bin_dir, "snoozed")?, paths::program(&self.bin_dir, "snooze")?);
        let failed = |error: std::io::Error| format!("cannot prepare a directory for the daemon: {error}");
        let (root, temporary) = match self.root {
            Some(root) => (root, None),
            None => {
                // A short name: the path of a socket may have 107 bytes only (unix(7)).
                let temporary = tempfile::Builder::new().prefix("snz-").tempdir().map_err(failed)?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        for directory in ["conf.d", "plugins", "state"] {
            std::fs::create_dir_all(root.join(directory)).map_err(failed)?;
        }
        for (name, config) in &self.conf_d {
            std::fs::write(root.join("conf.d").join(name), config.to_string()).map_err(failed)?;
        }
        let mut plugin_directories = self.plugin_directories;
        plugin_directories.extend([root.join("plugins"), self.bin_dir]);
        let daemon = Daemon {
            snoozed,
            snooze,
            plugin_directories,
            endpoint: self.endpoint,
            environment: self.environment,
            child: None,
            root,
            _temporary: temporary,
        };
        daemon.configure(self.config)?;
        Ok(daemon)
    }
}

/// A daemon, running or not. Dropping it kills it; when a test fails, the end of its log is printed first.
#[derive(Debug)]
pub struct Daemon {
    snoozed: PathBuf,
    snooze: PathBuf,
    plugin_directories: Vec<PathBuf>,
    endpoint: Option<String>,
    environment: Vec<(String, String)>,
    child: Option<Child>,
    root: PathBuf,
    /// Removes the directory when the daemon is gone.
    _temporary: Option<TempDir>,
}

impl Daemon {
    /// The directory everything of it is in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A directory of plugins that is searched before the programs' own; empty at first.
    pub fn plugin_directory(&self) -> PathBuf {
        self.root.join("plugins")
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.root.join("cloudsnooze.json")
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.root.join("control.sock")
    }

    /// Writes the configuration file anew, filled in as at the start. A running daemon notices when told to reload.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn configure(&self, config: Value) -> Result<(), String> {
        let Value::Object(config) = config else { return Err("a configuration is a JSON object".to_owned()) };
        let text = format!("{:#}\n", Value::Object(self.filled(config)));
        std::fs::write(self.config_file(), text).map_err(|error| format!("{}: {error}", self.config_file().display()))
    }

    fn filled(&self, mut config: Map<String, Value>) -> Map<String, Value> {
        let fill = |object: &mut Map<String, Value>, key: &str, value: Value| {
            object.entry(key).or_insert(value);
        };
        fill(&mut config, "state_directory", json!(self.root.join("state")));
        fill(&mut config, "plugin_directories", json!(self.plugin_directories));
        let is_detecting = config.get("sources").is_some_and(|sources| sources.get("detect").is_some());
        let aws = match &self.endpoint {
            Some(endpoint) => json!({"enabled": true, "endpoint": endpoint}),
            None if is_detecting => json!({}),
            None => json!({"enabled": false}),
        };
        let detect = if is_detecting { Value::Null } else { json!({"enabled": false}) };
        let off = ["disk", "memory", "network", "clock", "hardware"]
            .map(|concern| (concern.to_owned(), json!({"enabled": false})));
        let system = Value::Object(off.into_iter().collect());
        let private = [
            ("control", "socket", json!(self.socket())),
            ("sources", "aws", aws),
            ("sources", "detect", detect),
            ("sources", "imds_socket", json!(self.root.join("imdsd.sock"))),
            ("sources", "system", system),
        ];
        for (key, inner, value) in private {
            if let Value::Object(object) = config.entry(key).or_insert_with(|| json!({})) {
                merge(object.entry(inner).or_insert(Value::Null), value);
            }
        }
        config
    }

    /// Starts it (again) on the configuration and state as they are, and waits until it answers. One that still runs is
    /// killed first.
    ///
    /// # Errors
    /// When it ends or does not answer in time: with the end of what it wrote.
    pub fn start_again(&mut self) -> Result<(), String> {
        self.kill9();
        self.launch()?;
        let ready = wait::until("snoozed to answer", READY_LIMIT, || {
            if let Some(status) = self.exit_status() {
                return Some(Err(format!("snoozed ended with {status} instead of getting ready")));
            }
            let answer = self.snooze_json_within(&["status", "--json"], Duration::from_secs(5));
            answer.is_ok_and(|status| status.is_object()).then_some(Ok(()))
        });
        ready.flatten().map_err(|error| {
            self.kill9();
            format!("{error}; it wrote:\n{}", self.log_tail())
        })
    }

    fn launch(&mut self) -> Result<(), String> {
        let log = |path: PathBuf| {
            let file = OpenOptions::new().create(true).append(true).open(&path);
            file.map_err(|error| format!("{}: {error}", path.display()))
        };
        let mut command = Command::new(&self.snoozed);
        command
            .arg("--config")
            .arg(self.config_file())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .stdout(log(self.stdout_log())?)
            .stderr(log(self.stderr_log())?);
        let child = command.spawn().map_err(|error| format!("cannot start {}: {error}", self.snoozed.display()))?;
        self.child = Some(child);
        Ok(())
    }

    fn stdout_log(&self) -> PathBuf {
        self.root.join("snoozed.stdout")
    }

    fn stderr_log(&self) -> PathBuf {
        self.root.join("snoozed.stderr")
    }

    /// Everything the daemon wrote to standard error so far, over all its runs: its log.
    pub fn log(&self) -> String {
        program::tail(&self.stderr_log(), usize::MAX)
    }

    /// The end of what it wrote, for messages about failures.
    pub fn log_tail(&self) -> String {
        let texts = [program::tail(&self.stdout_log(), TAIL_LINES), program::tail(&self.stderr_log(), TAIL_LINES)];
        texts.join("\n").trim().to_owned()
    }

    /// Its process id while it has not been collected.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// How it ended; `None` while it runs, or when it was never started or was killed by [`Self::kill9`].
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    /// Runs `snooze` on the daemon's socket. Its failing is an outcome, not an error.
    ///
    /// # Errors
    /// When it cannot be run, or does not end within 30 s.
    pub fn snooze(&self, args: &[&str]) -> Result<Output, String> {
        self.snooze_within(args, COMMAND_LIMIT)
    }

    /// The same with another limit.
    ///
    /// # Errors
    /// When it cannot be run, or does not end within `limit`.
    pub fn snooze_within(&self, args: &[&str], limit: Duration) -> Result<Output, String> {
        program::run(self.command().args(args), limit)
    }

    /// `snooze`, asking this daemon.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.snooze);
        command.arg("--socket").arg(self.socket());
        command
    }

    /// Runs `snooze`, which must write one JSON document. That it tells of something bad (exit code 1) is no failure.
    ///
    /// # Errors
    /// When it fails otherwise, or writes something else.
    pub fn snooze_json(&self, args: &[&str]) -> Result<Value, String> {
        self.snooze_json_within(args, COMMAND_LIMIT)
    }

    fn snooze_json_within(&self, args: &[&str], limit: Duration) -> Result<Value, String> {
        let what = format!("snooze {}", args.join(" "));
        let text = self.snooze_within(args, limit)?.told(&what)?;
        serde_json::from_str(&text).map_err(|error| format!("{what}: not JSON ({error}): {text}"))
    }

    /// The report of the latest event of this type, once the event is completed.
    ///
    /// # Errors
    /// When there is none within `timeout`: with what there was instead.
    pub fn report_of(&self, event_type: &str, timeout: Duration) -> Result<Value, String> {
        let mut last = String::from("no event of this type");
        let found = wait::until(&format!("the report of a completed {event_type}"), timeout, || {
            match self.latest_report(event_type) {
                Ok(Some(report)) if report["state"] == "completed" => return Some(report),
                Ok(Some(report)) => last = format!("its state is {}", report["state"]),
                Ok(None) => {}
                Err(error) => last = error,
            }
            None
        });
        found.map_err(|error| format!("{error}; {last}"))
    }

    fn latest_report(&self, event_type: &str) -> Result<Option<Value>, String> {
        // Newest first.
        let list = self.snooze_json(&["events", "--json", "--limit", "1", "--type", event_type])?;
        let Some(event) = list["events"].get(0) else { return Ok(None) };
        let id = event["event_id"].as_str().ok_or_else(|| format!("no event_id in {event}"))?;
        self.snooze_json(&["report", id, "--json"]).map(Some)
    }

    /// Follows `snooze watch --json`: `on_line` gets each of its lines, on a thread of its own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn watch(&self, mut on_line: impl FnMut(Value) + Send + 'static) -> Result<Watch, String> {
        let mut command = self.command();
        command.args(["watch", "--json"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| format!("cannot start snooze watch: {error}"))?;
        let output = child.stdout.take();
        let reader = std::thread::spawn(move || {
            for line in output.into_iter().flat_map(|output| BufReader::new(output).lines()) {
                let Ok(line) = line else { return };
                on_line(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
        });
        Ok(Watch { child, reader: Some(reader) })
    }

    /// Tells it to read its configuration again, by `snooze reload`.
    ///
    /// # Errors
    /// When the command cannot be run.
    pub fn reload(&self) -> Result<Output, String> {
        self.snooze(&["reload"])
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is not running.
    pub fn signal(&self, signal: Signal) -> Result<(), String> {
        self.child.as_ref().map_or(Err("snoozed is not running".to_owned()), |child| program::signal(child, signal))
    }

    /// Kills it as the kernel would (SIGKILL). Does nothing when it is not running.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            program::kill_and_reap(&mut child);
        }
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// When it is not running, or does not end within 30 s.
    pub fn stop(&mut self) -> Result<ExitStatus, String> {
        self.signal(Signal::SIGTERM)?;
        self.child.as_mut().map_or(Err("snoozed is not running".to_owned()), |child| {
            program::wait_for_exit(child, STOP_LIMIT).map_err(|error| format!("snoozed does not stop: {error}"))
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            eprintln!("---- the end of what snoozed wrote ----\n{}\n----", self.log_tail());
        }
    }
}

/// A running `snooze watch`. Dropping it ends it; `on_line` is not called after that.
#[derive(Debug)]
pub struct Watch {
    child: Child,
    reader: Option<JoinHandle<()>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        program::kill_and_reap(&mut self.child);
        if let Some(reader) = self.reader.take() {
            let _ended = reader.join();
        }
    }
}

/// Puts `defaults` under what is there: what is there counts.
fn merge(there: &mut Value, defaults: Value) {
    match (there, defaults) {
        (Value::Object(there), Value::Object(defaults)) => {
            for (key, value) in defaults {
                merge(there.entry(key).or_insert(Value::Null), value);
            }
        }
        (there @ Value::Null, defaults) => *there = defaults,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    /// Scripts in the place of the two programs: what is tested here is how the harness treats programs.
    fn stand_ins(snoozed: &str, snooze: &str) -> TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, script) in [("snoozed", snoozed), ("snooze", snooze)] {
            let file = directory.path().join(name);
            std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("written");
            std::fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("made executable");
        }
        directory
    }

    fn written(daemon: &Daemon) -> Value {
        serde_json::from_slice(&std::fs::read(daemon.config_file()).expect("there")).expect("JSON")
    }

    #[test]
    fn what_a_configuration_leaves_open_is_private_and_the_rest_is_kept() {
        let bin = stand_ins("", "");
        let sources = json!({"aws": {"request_timeout_ms": 100}, "system": {"clock": {"enabled": true}}});
        let config = json!({"control": {"group": "staff"}, "sources": sources});
        let builder =
            DaemonBuilder::new(bin.path()).config(config).endpoint("http://127.0.0.1:9").plugin_directory("/p");
        let daemon = builder.prepare().expect("prepared");
        let root = daemon.root();
        let off = json!({"enabled": false});
        let system = json!({"disk": off, "memory": off, "network": off, "clock": {"enabled": true}, "hardware": off});
        let expected = json!({
            "control": {"group": "staff", "socket": root.join("control.sock")},
            "sources": {
                "aws": {"request_timeout_ms": 100, "enabled": true, "endpoint": "http://127.0.0.1:9"},
                "detect": {"enabled": false},
                "imds_socket": root.join("imdsd.sock"),
                "system": system,
            },
            "state_directory": root.join("state"),
            "plugin_directories": ["/p", root.join("plugins"), bin.path()],
        });
        assert_eq!(written(&daemon), expected);
        let place = root.to_owned();
        drop(daemon);
        assert!(!place.exists(), "the directory is removed");
    }

    #[test]
    fn without_an_endpoint_no_metadata_service_is_asked() {
        let bin = stand_ins("", "");
        let daemon = DaemonBuilder::new(bin.path()).prepare().expect("prepared");
        let off = json!({"enabled": false});
        assert_eq!((&written(&daemon)["sources"]["aws"], &written(&daemon)["sources"]["detect"]), (&off, &off));
        let looks = json!({"sources": {"detect": {"sys_directory": "/nowhere"}}});
        let daemon = DaemonBuilder::new(bin.path()).config(looks.clone()).prepare().expect("prepared");
        assert_eq!(written(&daemon)["sources"]["detect"], looks["sources"]["detect"]);
        assert_eq!(written(&daemon)["sources"]["aws"], json!({}), "a test that looks switches nothing off");
    }

    #[test]
    fn a_daemon_that_ends_at_once_is_reported_with_its_code_and_its_words() {
        let bin = stand_ins("echo 'no such key: prioirty' >&2; exit 78", "exit 1");
        let error = DaemonBuilder::new(bin.path()).start().expect_err("it ended");
        assert!(error.contains("78") && error.contains("no such key: prioirty"), "{error}");
    }

    #[test]
    fn a_daemon_is_ready_when_it_answers_and_its_reports_are_found_by_type() {
        let daemon = "trap 'exit 0' TERM; touch control.sock; while :; do sleep 0.05; done";
        let client = r#"[ "$1" = --socket ] && [ -e "$2" ] || exit 1
            case "$3" in
            status) echo '{}' ;;
            events) [ "$8" = custom.x ] && echo '{"events":[{"event_id":"b"}]}' || echo '{"events":[]}' ;;
            report) echo "{\"event_id\":\"$4\",\"state\":\"completed\"}"; exit 1 ;;
            watch) echo '{"kind":"event"}'; echo '{"kind":"completed"}'; exec sleep 60 ;;
            *) exit 2 ;;
            esac"#;
        let bin = stand_ins(daemon, client);
        let mut daemon = DaemonBuilder::new(bin.path()).start().expect("it got ready");
        let limit = Duration::from_secs(10);
        let report = daemon.report_of("custom.x", limit).expect("a report");
        assert_eq!(report["event_id"], "b");
        let error = daemon.report_of("cloud.spot.rebalance", Duration::from_millis(50)).expect_err("there is none");
        assert!(error.ends_with("no event of this type"), "{error}");
        let (sender, lines) = std::sync::mpsc::channel();
        let watch = daemon.watch(move |line| drop(sender.send(line))).expect("watching");
        assert_eq!(lines.recv_timeout(limit).expect("a line")["kind"], "event");
        assert_eq!(lines.recv_timeout(limit).expect("a line")["kind"], "completed");
        drop(watch);
        assert!(lines.recv_timeout(limit).is_err(), "nobody is left to send");
        assert_eq!(daemon.snooze(&["bogus"]).expect("it ran").code, Some(2));
        assert_eq!(daemon.stop().expect("it stopped").code(), Some(0));
    }
}
