//! What happens, as Server-Sent Events: read by a real curl, as the documentation says.

use e2e::simple::{PATIENCE, Plugins, handles, simulate};
use harness::daemon::Daemon;
use harness::{program, require, wait};
use serde_json::Value;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const KEY: &str = "custom.end";
/// A heartbeat comes after 15 s without an event; a busy machine may be slow.
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(60);

/// A running curl and what it has printed. Dropping it ends it.
struct Curl {
    child: Child,
    printed: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Curl {
    fn start(daemon: &Daemon, more: &[&str]) -> Self {
        let mut command = Command::new("curl");
        command.args(["-sSN", "--unix-socket"]).arg(daemon.socket()).args(more).arg("http://snoozed/v1/watch");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("curl starts");
        let (printed, mut output) = (Arc::<Mutex<String>>::default(), child.stdout.take().expect("a pipe"));
        let sink = Arc::clone(&printed);
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                sink.lock().expect("no panic").push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self { child, printed, reader: Some(reader) }
    }

    fn text(&self) -> String {
        self.printed.lock().expect("no panic").clone()
    }

    fn wait(&self, what: &str, limit: Duration, is_so: impl Fn(&str) -> bool) -> String {
        let found = wait::until(what, limit, || Some(self.text()).filter(|text| is_so(text)));
        found.unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

impl Drop for Curl {
    fn drop(&mut self) {
        program::kill_and_reap(&mut self.child);
        if let Some(reader) = self.reader.take() {
            let _ended = reader.join();
        }
    }
}

/// One event of the stream.
#[derive(Debug)]
struct Sent {
    id: u64,
    name: String,
    data: Value,
}

/// The whole events of a stream, read as WHATWG HTML says; comments are left out.
fn events(stream: &str) -> Vec<Sent> {
    let (body, _) = stream.rsplit_once("\n\n").unwrap_or_default();
    let blocks = body.split("\n\n").filter(|block| block.lines().any(|line| line.starts_with("data:")));
    let read = |block: &str| {
        let field = |name: &str| {
            let mut lines = block.lines().filter_map(|line| line.split_once(':'));
            let value = lines.find(|(key, _)| *key == name).map(|(_, value)| value.strip_prefix(' ').unwrap_or(value));
            value.unwrap_or_else(|| panic!("no {name} in {block}")).to_owned()
        };
        let id = field("id").parse().expect("a number");
        Sent { id, name: field("event"), data: serde_json::from_str(&field("data")).expect("JSON") }
    };
    blocks.map(read).collect()
}

#[test]
fn curl_follows_events_with_ids_and_names_and_hears_a_heartbeat_in_the_silence() {
    if program::find("curl").is_none() {
        require::missing_means_skip(
            "curl_follows_events_with_ids_and_names_and_hears_a_heartbeat_in_the_silence: no curl",
        );
        return;
    }
    let plugins = Plugins::recorders(&["first"]);
    let daemon = plugins.daemon(handles(KEY, "first", &plugins.config("first"))).start().expect("it starts");
    let curl = Curl::start(&daemon, &["-D", "-", "-H", "Accept: text/event-stream"]);
    let lines = Curl::start(&daemon, &["-D", "-"]);
    // Heads come at once; who has one follows.
    let head = curl.wait("the head", PATIENCE, |text| text.contains("\r\n\r\n"));
    lines.wait("the other head", PATIENCE, |text| text.contains("\r\n\r\n"));
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    assert!(lines.text().contains("content-type: application/x-ndjson"), "{}", lines.text());
    let id = simulate(&daemon, KEY, &["--in", "60s"]);
    let body = |text: &str| text.split_once("\r\n\r\n").expect("a head").1.to_owned();
    let is_over = |text: &str| text.contains("\"completed\"") && text.ends_with('\n');
    let told = body(&curl.wait("the end of the event", PATIENCE, |text| is_over(text) && text.ends_with("\n\n")));
    let sent = events(&told);
    let names: Vec<&str> = sent.iter().map(|sent| sent.name.as_str()).filter(|name| *name != "log").collect();
    assert_eq!(names, ["event", "started", "finished", "completed"], "{told}");
    assert!(sent.windows(2).all(|pair| pair[1].id == pair[0].id + 1), "{told}");
    assert!(sent.iter().all(|sent| sent.data["kind"] == sent.name.as_str()), "{told}");
    assert_eq!(sent.last().expect("the end").data["event_id"], id.as_str());
    // The same lines as without asking for events.
    let plain = body(&lines.wait("the same", PATIENCE, is_over));
    let plain: Vec<Value> = plain.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(plain, sent.iter().map(|sent| sent.data.clone()).collect::<Vec<_>>());
    // Silence: a comment, which is no event.
    let heard = body(&curl.wait("a heartbeat", HEARTBEAT_LIMIT, |text| text.contains("\n\n:")));
    assert_eq!(events(&heard).len(), sent.len(), "{heard}");
}
