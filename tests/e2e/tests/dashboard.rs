//! The dashboard: on a port for whoever has the token, and in a real browser, driven by `browser/dashboard.py`.

use e2e::simple::Plugins;
use e2e::zoo::{Zoo, repository};
use fake_metadata::{Action, FakeMetadata, Options};
use harness::daemon::{Daemon, DaemonBuilder};
use harness::nats::Server;
use harness::{moto, program, require, wait};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
/// The browser's whole story, on a busy machine.
const STORY_LIMIT: Duration = Duration::from_secs(300);
const KEY: &str = "cloud.spot.interrupt";
const TOKEN: &str = "correct-horse-battery-staple";
const HOSTILE: &str = "<img src=x onerror='window.fooled=1'><script>window.fooled=1</script>";

/// A port that was free just now: a daemon that is started again has to get the same.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

fn token_file(directory: &Path) -> PathBuf {
    let file = directory.join("token");
    fs::write(&file, format!("{TOKEN}\n")).expect("written");
    file
}

/// Status and text of the answer to one request at the port.
fn ask(address: &str, line: &str, head: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    let request = format!("{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n{head}\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, text)
}

#[test]
fn the_port_is_told_by_the_command_and_opens_to_the_token_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let token = token_file(directory.path());
    let control = json!({"dashboard": {"listen": "127.0.0.1:0", "token": {"file": token}}});
    let bin = harness::paths::bin_dir().expect("built");
    let daemon = DaemonBuilder::new(bin).config(json!({"control": control})).start().expect("it starts");
    let config = daemon.config_file().display().to_string();
    let told = daemon.snooze_json(&["dashboard", "--json", "--config", &config]).expect("told");
    let address = told["address"].as_str().expect("an address").to_owned();
    assert_eq!(told["url"], format!("http://{address}/#token={TOKEN}"));
    let shown = daemon.snooze(&["dashboard", "--config", &config]).expect("it runs");
    assert_eq!((shown.code, shown.stdout.trim()), (Some(0), told["url"].as_str().expect("a text")));
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    for (path, without) in [("/", 200), ("/metrics", 401), ("/v1/status", 401)] {
        assert_eq!(ask(&address, &format!("GET {path}"), "").0, without, "{path}");
        assert_eq!(ask(&address, &format!("GET {path}"), &bearer).0, 200, "{path}");
    }
    assert_eq!(ask(&address, "POST /v1/reload", &bearer).0, 403);
    // Not even the daemon's own words have it.
    let (_, status) = ask(&address, "GET /v1/status", &bearer);
    assert!(!status.contains(TOKEN) && !daemon.log().contains(TOKEN));
}

#[test]
fn a_port_that_is_taken_is_a_problem_and_no_reason_not_to_run() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let directory = tempfile::tempdir().expect("a directory");
    let token = token_file(directory.path());
    let control = json!({"dashboard": {"listen": address, "token": {"file": token}}});
    let bin = harness::paths::bin_dir().expect("built");
    let daemon = DaemonBuilder::new(bin).config(json!({"control": control})).start().expect("it starts");
    let status = daemon.snooze_json(&["status", "--json"]).expect("a status");
    let problems = status["problems"].to_string();
    assert!(problems.contains(&format!("the dashboard's port {address} cannot be opened")), "{problems}");
    let told = daemon.snooze(&["dashboard"]).expect("it runs");
    assert!(told.code == Some(1) && told.stdout.contains("\"listen\": \"127.0.0.1:7070\""), "{told:?}");
}

#[test]
fn a_token_that_cannot_be_read_or_guessed_too_easily_is_refused_at_the_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let bin = harness::paths::bin_dir().expect("built");
    fs::write(directory.path().join("short"), "hunter2\n").expect("written");
    for (file, why) in [("none", "gives no secret"), ("short", "16 to 256 letters")] {
        let control = json!({"dashboard": {"listen": "127.0.0.1:0", "token": {"file": directory.path().join(file)}}});
        let refused = DaemonBuilder::new(&bin).config(json!({"control": control})).start().expect_err("refused");
        assert!(refused.contains("control.dashboard.token") && refused.contains(why), "{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}

/// What the story is played with.
struct Stage {
    zoo: Zoo,
    plugins: Plugins,
    fake: FakeMetadata,
    daemon: Daemon,
    port: u16,
    /// Where the group of this one machine is.
    server: Option<Server>,
}

/// A handler that knows drills, one that waits at a gate, one that fails, and one that comes after them.
fn stage(what: &str) -> Option<Stage> {
    let zoo = Zoo::open(what, &["cc", "python3"])?;
    let plugins = Plugins::recorders(&["cache", "pager"]);
    zoo.c("misbehaves.c", "ledger.so", &["-DNAME=\"ledger\""]);
    let sdk = json!({"PYTHONPATH": repository().join("plugins/python/src")});
    zoo.python("undoer.py", "database", sdk, &["undo", "drill"]);
    let handlers = json!([
        {"name": "database", "priority": 90, "config": {"file": zoo.join("database.lines"), "wait_seconds": 0.4}},
        {"name": "cache", "priority": 60, "timeout_seconds": 90, "config": plugins.gated("cache", "gate")},
        {"name": "ledger", "priority": 40, "config": {"mode": "fails", "file": zoo.join("ledger.lines")}},
        {"name": "pager", "priority": 10, "minimum_seconds": 1, "config": plugins.config("pager")},
    ]);
    let port = free_port();
    let mut config = json!({
        "event_handlers": {
            KEY: {"polling_interval_seconds": 0.2, "plugins": handlers},
            "custom.hostile": {"plugins": [{"name": "pager", "config": plugins.config("hostile")}]},
        },
        "control": {"dashboard": {"listen": format!("127.0.0.1:{port}"), "token": {"file": token_file(zoo.path())}}},
    });
    let server = Server::start("");
    if let Some(server) = &server {
        config["fleet"] = json!({ "group": "web", "role": "front", "servers": [server.address()], "replicas": 1 });
    }
    let fake = FakeMetadata::start(Options::default()).expect("a free port");
    let builder = DaemonBuilder::new(zoo.bin()).config(config).endpoint(fake.base_url());
    let daemon = builder.plugin_directory(zoo.path()).plugin_directory(plugins.directory()).start().expect("it starts");
    wait::until("the source to see", LIMIT, || {
        let status = daemon.snooze_json(&["status", "--json"]).ok()?;
        status["sources"].as_array()?.iter().any(|source| source["state"] == "seeing").then_some(())
    })
    .expect("it sees");
    Some(Stage { zoo, plugins, fake, daemon, port, server })
}

/// A browser and what drives it; None, told loudly, where one is missing.
fn browser(what: &str) -> Option<(PathBuf, PathBuf)> {
    let missing = |lacks: &str| {
        require::missing_means_skip(&format!("{what}: {lacks}; run tests/setup.sh test"));
        None
    };
    let Some(chromium) = program::find("chromium") else { return missing("there is no chromium") };
    let has_driver = |python: &PathBuf| {
        let mut asked = Command::new(python);
        asked.args(["-c", "import playwright, axe_playwright_python"]).stdout(Stdio::null()).stderr(Stdio::null());
        asked.status().is_ok_and(|status| status.success())
    };
    match moto::python().filter(has_driver) {
        Some(python) => Some((chromium, python)),
        None => missing("playwright is not installed"),
    }
}

/// Does what the story asks for, line by line, until it ends.
fn serve(child: &mut Child, stage: &mut Stage) {
    let mut input = child.stdin.take().expect("a pipe");
    for line in BufReader::new(child.stdout.take().expect("a pipe")).lines() {
        match line.expect("text").as_str() {
            "interrupt" => stage.fake.notice(Action::Terminate, Duration::from_secs(120)),
            "hostile" => {
                let data = format!("instanceID={HOSTILE}");
                let told = stage.daemon.snooze(&["emit", "custom.hostile", "--data", &data]).expect("it runs");
                told.success("snooze emit").expect("emitted");
            }
            "stop" => stage.daemon.kill9(),
            "start" => stage.daemon.start_again().expect("it starts again"),
            other => panic!("the story asks for {other:?}"),
        }
        // When the story has ended by itself, its exit code says so.
        let _answered = input.write_all(b"done\n");
    }
}

#[test]
fn an_operator_follows_an_interruption_and_has_a_drill_in_a_real_browser() {
    const WHAT: &str = "an_operator_follows_an_interruption_and_has_a_drill_in_a_real_browser";
    let Some((chromium, python)) = browser(WHAT) else { return };
    let Some(mut stage) = stage(WHAT) else { return };
    let given: Value = json!({
        "url": format!("http://127.0.0.1:{}/#token={TOKEN}", stage.port),
        "token": TOKEN,
        "chromium": chromium,
        "fleet": stage.server.is_some(),
        "gate": stage.plugins.file("gate"),
        "screenshots": std::env::var_os("CLOUDSNOOZE_SCREENSHOTS").map(PathBuf::from),
    });
    let mut command = Command::new(python);
    command.arg(repository().join("tests/e2e/browser/dashboard.py")).arg(given.to_string());
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("HOME", stage.zoo.path());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python starts");
    serve(&mut child, &mut stage);
    let ended = program::wait_for_exit(&mut child, STORY_LIMIT);
    program::kill_and_reap(&mut child);
    let ended = ended.expect("the story ends");
    assert!(ended.success(), "the browser's story ended with {ended}; {}", stage.daemon.log_tail());
}
