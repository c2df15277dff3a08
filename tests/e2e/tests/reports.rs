//! The report of an event on its way to people: in a directory before the machine dies, at a server, and nowhere else.

use e2e::simple::leaks::Secrets;
use e2e::simple::{PATIENCE, Plugins, finished, handles, simulate, status_when};
use harness::http::{Answer, HttpServer, Received};
use harness::{program, require, wait};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const KEY: &str = "custom.end";
const TOKEN: &str = "reportGolf77";
const ADDRESS: &str = "/collect/reportHotel78";

/// The finished files of a directory with this ending, in the order of their names.
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().map(|entry| entry.expect("readable").path());
    let is_wanted = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !name.starts_with('.') && name.ends_with(ending)
    };
    let mut files: Vec<PathBuf> = entries.filter(is_wanted).collect();
    files.sort();
    files
}

/// The file of this event, as soon as it is there.
fn file_of(directory: &Path, id: &str, ending: &str) -> PathBuf {
    let found = wait::until(&format!("the report of {id}"), PATIENCE, || {
        files(directory, ending).into_iter().find(|path| path.to_string_lossy().contains(id))
    });
    found.unwrap_or_else(|error| panic!("{error}; there are {:?}", files(directory, "")))
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("JSON")
}

/// A handler that records, and these settings for reports.
fn reporting(plugins: &Plugins, report: Value) -> Value {
    let mut config = handles(KEY, "first", &plugins.config("first"));
    config["report"] = report;
    config
}

/// A server that answers as `answer` says, and its address with a secret path.
fn server(answer: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> (HttpServer, String) {
    let server = HttpServer::start(answer).expect("a server");
    let url = server.url(ADDRESS);
    (server, url)
}

/// Waits until the server has been asked so often.
fn asked(server: &HttpServer, count: usize) -> Vec<Received> {
    let found = wait::until(&format!("{count} posts"), PATIENCE, || {
        let requests = server.requests();
        (requests.len() >= count).then_some(requests)
    });
    found.unwrap_or_else(|error| panic!("{error}: {:?}", server.requests()))
}

#[test]
fn the_report_is_on_the_disk_before_the_deadline_as_json_and_as_a_page() {
    let plugins = Plugins::recorders(&["first"]);
    let directory = plugins.file("made/reports");
    let daemon = plugins.daemon(reporting(&plugins, json!({"file": directory, "keep": 2}))).start().expect("it starts");
    assert!(!directory.exists(), "nothing is made before there is a report");
    let id = simulate(&daemon, KEY, &["--in", "20s"]);
    let file = file_of(&directory, &id, ".json");
    let report = read(&file);
    let deadline: jiff::Timestamp = report["deadline"].as_str().and_then(|text| text.parse().ok()).expect("a deadline");
    assert!(jiff::Timestamp::now() < deadline, "the file came after {deadline}");
    assert_eq!(report["state"], "completed");
    assert_eq!(report["handlers"][0]["status"], "handled", "{report:#}");
    // The same as the daemon tells, and the page is the one that the command makes.
    assert_eq!(report, finished(&daemon, &id));
    let page = std::fs::read_to_string(file_of(&directory, &id, ".html")).expect("readable");
    assert_eq!(page, daemon.snooze(&["report", &id, "--html"]).expect("it runs").success("the page").expect("well"));
    assert!(page.contains("Simulated: no cloud sent this notice") && page.contains("first"), "{page}");
    // Two are kept; the order of ids is that of the events.
    let ids: Vec<String> = (0..3).map(|_| simulate(&daemon, KEY, &["--in", "60s"])).collect();
    file_of(&directory, &ids[2], ".html");
    let kept = wait::until("two to be kept", PATIENCE, || (files(&directory, "").len() == 4).then_some(()));
    kept.unwrap_or_else(|error| panic!("{error}: {:?}", files(&directory, "")));
}

#[test]
fn without_the_setting_nothing_is_written_and_a_reload_begins_and_ends_it() {
    let plugins = Plugins::recorders(&["first"]);
    let directory = plugins.file("reports");
    let quiet = handles(KEY, "first", &plugins.config("first"));
    let daemon = plugins.daemon(quiet.clone()).start().expect("it starts");
    finished(&daemon, &simulate(&daemon, KEY, &[]));
    daemon.configure(reporting(&plugins, json!({"file": directory}))).expect("written");
    let told = daemon.reload().expect("it runs").success("the reload").expect("taken");
    assert!(told.contains("report.file: not set ->"), "{told}");
    let id = simulate(&daemon, KEY, &[]);
    file_of(&directory, &id, ".html");
    assert_eq!(files(&directory, ".json").len(), 1);
    daemon.configure(quiet).expect("written");
    daemon.reload().expect("it runs").success("the reload").expect("taken");
    finished(&daemon, &simulate(&daemon, KEY, &[]));
    assert_eq!(files(&directory, ".json").len(), 1);
}

#[test]
fn a_report_is_posted_once_with_its_headers_and_not_again_after_a_restart() {
    let plugins = Plugins::recorders(&["first"]);
    let (server, url) = server(|_| Answer::text(204, ""));
    std::fs::write(plugins.file("token"), TOKEN).expect("written");
    let post = json!({"url": url, "headers": {"Authorization": {"file": plugins.file("token")}, "x-team": "night"}});
    let mut daemon = plugins.daemon(reporting(&plugins, json!({"post": post}))).start().expect("it starts");
    let id = simulate(&daemon, KEY, &["--in", "60s"]);
    let request = asked(&server, 1).remove(0);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", ADDRESS));
    let header = |name: &str| request.header(name).unwrap_or_else(|| panic!("no {name} in {request:?}")).to_owned();
    assert_eq!([header("authorization"), header("x-team"), header("idempotency-key")], [TOKEN, "night", id.as_str()]);
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(request.json().expect("JSON"), finished(&daemon, &id));
    assert_eq!(daemon.stop().expect("it stops").code(), Some(0));
    daemon.start_again().expect("it starts again");
    let next = simulate(&daemon, KEY, &["--in", "60s"]);
    let all = asked(&server, 2);
    let keys: Vec<&str> = all.iter().filter_map(|request| request.header("idempotency-key")).collect();
    assert_eq!(keys, [id.as_str(), next.as_str()]);
    let secrets = Secrets::new(&[TOKEN, ADDRESS]);
    for (place, text) in [("the log", daemon.log()), ("status", format!("{:?}", daemon.snooze(&["status", "--json"])))]
    {
        secrets.assert_absent(place, &text);
    }
    assert!(daemon.log().contains("report sent"), "{}", daemon.log());
}

#[test]
fn a_server_that_hangs_or_refuses_holds_up_nothing_and_is_told() {
    let plugins = Plugins::recorders(&["first"]);
    let directory = plugins.file("reports");
    let (silent, url) = server(|_| Answer::Hold);
    let post = json!({"url": url, "timeout_seconds": 60});
    let report = json!({"file": directory, "post": post});
    let mut daemon = plugins.daemon(reporting(&plugins, report)).start().expect("it starts");
    // The second begins while the first post hangs: it is handled and written as if there were no server.
    for number in 1..=2 {
        let id = simulate(&daemon, KEY, &["--in", "60s"]);
        asked(&silent, 1);
        assert_eq!(finished(&daemon, &id)["handlers"][0]["status"], "handled");
        file_of(&directory, &id, ".html");
        assert_eq!(files(&directory, ".json").len(), number);
    }
    // A reload while it hangs is taken too. Whom nobody listens to is told in the status.
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let stopping = Instant::now();
    assert_eq!(daemon.stop().expect("it stops").code(), Some(0));
    assert!(stopping.elapsed() < Duration::from_secs(25), "it waited {:?} for the server", stopping.elapsed());
    let post = json!({"url": format!("http://{closed}{ADDRESS}"), "timeout_seconds": 0.2});
    daemon.configure(reporting(&plugins, json!({"file": directory, "post": post}))).expect("written");
    daemon.start_again().expect("it starts again");
    let id = simulate(&daemon, KEY, &["--in", "60s"]);
    let status =
        status_when(&daemon, "the problem", |status| status["problems"].to_string().contains("could not be sent"));
    let problem = status["problems"].to_string();
    assert!(problem.contains(&id) && problem.contains(&format!("http://{closed}")), "{problem}");
    Secrets::new(&[ADDRESS]).assert_absent("the status", &problem);
    file_of(&directory, &id, ".json");
}

#[test]
fn a_report_that_cannot_be_written_is_told_and_the_daemon_goes_on() {
    let plugins = Plugins::recorders(&["first"]);
    let directory = plugins.file("reports");
    std::fs::write(&directory, "a file where the directory should be").expect("written");
    let daemon = plugins.daemon(reporting(&plugins, json!({"file": directory}))).start().expect("it starts");
    let id = simulate(&daemon, KEY, &[]);
    assert_eq!(finished(&daemon, &id)["handlers"][0]["status"], "handled");
    status_when(&daemon, "the problem", |status| {
        let problems = status["problems"].to_string();
        problems.contains(&format!("the report of event {id} could not be written"))
    });
}

#[test]
fn no_secret_leaves_with_a_report() {
    let plugins = Plugins::empty();
    plugins.build("talker", "talker");
    let (server, url) = server(|_| Answer::text(200, "ok"));
    let config = json!({
        "journal": plugins.file("talker.journal"),
        "connection_string": "user:reportIndia79@tcp(localhost:3306)/db",
        "webhook_url": "https://hooks.slack.com/services/reportJuliet80",
        "from_file": url,
    });
    let directory = plugins.file("reports");
    let mut all = handles("custom.*", "talker", &config);
    all["report"] = json!({"file": directory, "post": {"url": url, "headers": {"x-api-key": TOKEN}}});
    let daemon = plugins.daemon(all).start().expect("it starts");
    let secrets = Secrets::new(&["reportIndia79", "reportJuliet80", ADDRESS, TOKEN]);
    for (number, kind) in ["custom.speaks", "custom.fails"].into_iter().enumerate() {
        let id = simulate(&daemon, kind, &[]);
        let page = std::fs::read_to_string(file_of(&directory, &id, ".html")).expect("readable");
        assert!(page.contains("[redacted]"), "the plugin did speak: {page}");
        let body = &asked(&server, number + 1)[number].body;
        assert!(body.contains("[redacted]"), "{body}");
        secrets.assert_absent("the post", body);
    }
    assert_eq!(secrets.assert_absent_below(&directory), 4);
    // The plugin had them to tell, but for the header.
    let journal = std::fs::read_to_string(plugins.file("talker.journal")).expect("a journal");
    Secrets::new(&["reportIndia79", "reportJuliet80", ADDRESS]).assert_known("the journal", &journal);
}

#[test]
fn a_wrong_target_is_refused_by_name_without_its_value() {
    let plugins = Plugins::recorders(&["first"]);
    let good = reporting(&plugins, json!({}));
    let daemon = plugins.daemon(good).start().expect("it starts");
    let missing = plugins.file("missing");
    let post =
        json!({"url": "ftp://host/reportKilo81", "headers": {"a b": "reportLima82", "token": {"file": missing}}});
    for (post, places) in [
        (post, &["report.post.headers.token: found file"][..]),
        (
            json!({"url": "ftp://host/reportKilo81", "headers": {"a b": "reportLima82"}}),
            &[
                "report.post.url: found an address that is neither http nor https",
                "headers[\"a b\"]: found a name that no header has",
            ],
        ),
    ] {
        daemon.configure(reporting(&plugins, json!({"post": post}))).expect("written");
        let file = daemon.config_file().display().to_string();
        for args in [&["reload"][..], &["config", "check", &file]] {
            let refused = daemon.snooze(args).expect("it runs");
            assert_eq!(refused.code, Some(78), "{refused:?}");
            for place in places {
                assert!((refused.stdout.clone() + &refused.stderr).contains(place), "{place}: {refused:?}");
            }
            Secrets::new(&["reportKilo81", "reportLima82"]).assert_absent("the refusal", &format!("{refused:?}"));
        }
    }
    finished(&daemon, &simulate(&daemon, KEY, &[]));
}

/// A program that is killed when it goes out of scope.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        program::kill_and_reap(&mut self.0);
    }
}

/// Answers every POST over TLS, and writes the body where it is told to.
const TLS_SERVER: &str = r#"
import http.server, ssl, sys, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open(sys.argv[4] + ".new", "wb") as file:
            file.write(body)
        os.rename(sys.argv[4] + ".new", sys.argv[4])
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
with open(sys.argv[3] + ".new", "w") as file:
    file.write(str(server.server_port))
os.rename(sys.argv[3] + ".new", sys.argv[3])
server.serve_forever()
"#;

/// A certificate of its own for `localhost`, by the real tool.
fn certificate(plugins: &Plugins) -> (PathBuf, PathBuf) {
    let (certificate, key) = (plugins.file("cert.pem"), plugins.file("key.pem"));
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    command.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
    // A server's, not an authority's: that may not be a server.
    command.args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"]).arg(&key).arg("-out").arg(&certificate);
    program::run(&mut command, PATIENCE).and_then(|output| output.success("openssl")).expect("a certificate");
    (certificate, key)
}

#[test]
fn over_tls_only_a_server_that_is_trusted_gets_the_report() {
    const WHAT: &str = "over_tls_only_a_server_that_is_trusted_gets_the_report";
    for needed in ["python3", "openssl"] {
        if program::find(needed).is_none() {
            require::missing_means_skip(&format!("{WHAT}: there is no {needed}"));
            return;
        }
    }
    let plugins = Plugins::recorders(&["first"]);
    let (certificate, key) = certificate(&plugins);
    let (port_file, body_file) = (plugins.file("port"), plugins.file("body"));
    let mut command = Command::new(program::find("python3").expect("found before"));
    command.args(["-c", TLS_SERVER]).arg(&certificate).arg(&key).arg(&port_file).arg(&body_file);
    let _server = Running(command.stdin(Stdio::null()).spawn().expect("it starts"));
    let port = wait::until("the server", PATIENCE, || std::fs::read_to_string(&port_file).ok()).expect("a port");
    let url = format!("https://localhost:{port}/");
    let daemon = plugins.daemon(reporting(&plugins, json!({"post": {"url": url}}))).start().expect("it starts");
    simulate(&daemon, KEY, &[]);
    status_when(&daemon, "distrust", |status| {
        status["problems"].to_string().contains("could not be sent to https://localhost")
    });
    assert!(!body_file.exists() && daemon.log().contains("TLS"), "{}", daemon.log());
    let trusting = json!({"post": {"url": url, "ca_file": certificate}});
    daemon.configure(reporting(&plugins, trusting)).expect("written");
    daemon.reload().expect("it runs").success("the reload").expect("taken");
    let id = simulate(&daemon, KEY, &[]);
    let arrived = wait::until("the report", PATIENCE, || body_file.exists().then(|| read(&body_file)));
    assert_eq!(arrived.unwrap_or_else(|error| panic!("{error}: {}", daemon.log()))["event_id"], id.as_str());
}
