//! Tests of the control socket as strangers and operators meet it: bytes in, bytes out, over the real server.
//! Must never reach a daemon of this machine.

mod port;

use super::gate::{converse, serve};
use super::limits::{CONNECTIONS_OF_ONE_MAX, Limits, WATCHERS_OF_ONE_MAX};
use super::rights::{Caller, Holder, Rights};
use super::server::{BODY_BYTES_MAX, Daemon, router};
use super::wire::{Apps, Emit, Events, Failure, PlanView, Plans, Reloaded, Simulate, Status};
use crate::fleet::delegate::Delegate;
use crate::history::watchers::Happening;
use crate::sys::peer::Peer;
use nix::unistd::geteuid;
use serde_json::Value;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Builder;
use tokio::sync::broadcast;

/// Method and path of every route, under the group that opens it.
const ROUTES: [(u32, &str); 16] = [
    (10, "GET /v1/status"),
    (10, "GET /v1/plan?type=custom.x"),
    (10, "GET /v1/plans"),
    (10, "GET /v1/watch"),
    (10, "GET /v1/events"),
    (10, "GET /v1/reports/last"),
    (10, "GET /v1/apps"),
    (10, "GET /v1/fleet"),
    (10, "GET /v1/fleet/members"),
    (10, "GET /metrics"),
    (15, "POST /v1/emit"),
    (20, "POST /v1/simulate"),
    (20, "POST /v1/drill"),
    (30, "POST /v1/reload"),
    (30, "POST /v1/fleet/turn"),
    (30, "POST /v1/fleet/done"),
];

fn line(number: u64) -> Arc<Happening> {
    Arc::new(Happening { number, kind: "log".into(), json: format!(r#"{{"kind":"log","n":{number}}}"#) })
}

/// Answers everything with an error of its own, so that 403 can only come from before it.
struct Played {
    lines: broadcast::Sender<Arc<Happening>>,
}

impl Daemon for Played {
    fn status(&self) -> Status {
        serde_json::from_str(STATUS).expect("a status")
    }
    fn plan(&self, _: &str, _: &[f64]) -> Result<PlanView, String> {
        Err("played".into())
    }
    fn plans(&self, _: &[f64]) -> Plans {
        Plans::default()
    }
    fn simulate(&self, request: Simulate) -> Result<String, String> {
        Ok(request.event_type)
    }
    fn emit(&self, request: Emit, _: u32) -> Result<String, String> {
        Ok(request.event_type)
    }
    fn events(&self, _: usize, _: Option<&str>) -> Result<Events, String> {
        Err("played".into())
    }
    fn report(&self, _: &str) -> Result<Option<Value>, String> {
        Ok(None)
    }
    fn apps(&self) -> Apps {
        Apps::default()
    }
    fn fleet(&self) -> Option<Arc<Delegate>> {
        None
    }

    fn watch(&self) -> broadcast::Receiver<Arc<Happening>> {
        self.lines.subscribe()
    }
    async fn reload(&self) -> Result<Reloaded, Failure> {
        Err(Failure { error: "played".into(), ..Failure::default() })
    }
    fn metrics(&self) -> String {
        "snooze_up 1\n".into()
    }
    fn scrub(&self, text: &str) -> String {
        text.to_owned()
    }
}

const STATUS: &str = r#"{"version":"0","pid":1,"uptime_seconds":0,"health":"ok","problems":[],"config_files":[],
    "machine":{"provider":"","instance_id":"","instance_type":"","zone":"","region":""},"sources":[],"instances":[],
    "dispatch":{"threads":1,"scheduling":"","memory_locked":"off","events_busy":0,"calls_abandoned":0,"first_start_us":null},
    "events":{"published":0,"completed":0,"refused":0,"notes_dropped":0}}"#;

/// A played daemon whose accounts outlive its connections.
struct Bench {
    daemon: Arc<Played>,
    limits: Arc<Limits>,
}

impl Bench {
    fn new() -> Self {
        Self { daemon: Arc::new(Played { lines: broadcast::channel(4).0 }), limits: Arc::new(Limits::default()) }
    }

    fn connect(&self, caller: &Caller) -> DuplexStream {
        let (here, there) = duplex(1 << 20);
        tokio::spawn(converse(there, router(Arc::clone(&self.daemon), Arc::clone(&self.limits)), caller.clone()));
        here
    }

    /// Status and body of the answer to these bytes, for a member of this group.
    async fn ask(&self, gid: u32, request: &str) -> (u16, String) {
        let mut stream = self.connect(&member(gid));
        stream.write_all(request.as_bytes()).await.expect("room");
        read_answer(&mut stream).await
    }

    async fn call(&self, gid: u32, line: &str) -> (u16, String) {
        let body = if line.starts_with("POST") { r#"{"type":"custom.x"}"# } else { "" };
        let length = body.len();
        let request =
            format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
        self.ask(gid, &request).await
    }
}

fn rights(own_uid: u32) -> Rights {
    Rights::new(own_uid, [10, 15, 20, 30].map(|gid| Holder { gid, name: Some(format!("group-{gid}")) }))
}

fn member(gid: u32) -> Caller {
    rights(900).of(&Peer { uid: 1000, gids: vec![gid] })
}

/// The head, and of the body what has come with it: a stream of lines has no end.
async fn read_answer(stream: &mut (impl AsyncReadExt + Unpin)) -> (u16, String) {
    let mut text = String::new();
    loop {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).await.unwrap_or(0);
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if count == 0 || length.is_none_or(|length| body.len() >= length) {
                let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
                return (status.expect("a status"), body.to_owned());
            }
        }
        assert!(count > 0, "no answer but {text:?}");
    }
}

fn run(test: impl Future<Output = ()>) {
    Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test);
}

fn failure(body: &str) -> Failure {
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body:?}"))
}

#[test]
fn each_right_opens_its_routes_and_a_refusal_names_right_and_group() {
    run(async {
        let bench = Bench::new();
        for (opened_by, line) in ROUTES {
            for gid in [1, 10, 15, 20, 30] {
                let (status, body) = bench.call(gid, line).await;
                assert_eq!(status == 403, gid < opened_by, "{line} by a member of {gid}: {status}");
                if status == 403 {
                    let needs = failure(&body).needs.expect("named");
                    let right = match opened_by {
                        10 => "read",
                        15 => "emit",
                        20 => "simulate",
                        _ => "administer",
                    };
                    assert_eq!(
                        (needs.right.as_str(), needs.group),
                        (right, Some(format!("group-{opened_by}"))),
                        "{line}"
                    );
                }
            }
        }
    });
}

#[test]
fn a_script_that_emits_without_end_is_stopped_and_root_is_not() {
    run(async {
        let bench = Bench::new();
        let body = r#"{"type":"custom.x"}"#;
        let length = body.len();
        let request =
            format!("POST /v1/emit HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
        // The bucket holds 20 and fills by one a second.
        let mut refused = None;
        for number in 0..100 {
            let (status, body) = bench.ask(15, &request).await;
            if status != 200 {
                refused = Some((number, status, failure(&body).error));
                break;
            }
        }
        let (number, status, error) = refused.expect("a flood is refused");
        assert!(number >= 20, "after {number}");
        assert_eq!((status, error.as_str()), (429, "too many events of this user; try again in a second"));
        let other = r#"{"type":"cloud.spot.interrupt"}"#;
        let request = request.replace(body, other).replace(&format!(": {length}"), &format!(": {}", other.len()));
        let (status, body) = bench.ask(20, &request).await;
        assert_eq!((status, failure(&body).needs.expect("named").right.as_str()), (403, "administer"));
        let root = rights(900).of(&Peer { uid: 0, gids: Vec::new() });
        for _ in 0..100 {
            let mut stream = bench.connect(&root);
            stream.write_all(request.as_bytes()).await.expect("room");
            assert_eq!(read_answer(&mut stream).await.0, 200);
        }
    });
}

#[test]
fn what_is_too_long_is_refused_with_the_limit() {
    run(async {
        let bench = Bench::new();
        let long = " ".repeat(BODY_BYTES_MAX + 1);
        let length = long.len();
        let head = "POST /v1/simulate HTTP/1.1\r\nHost: x\r\nConnection: close";
        for request in [
            format!("{head}\r\nContent-Length: {length}\r\n\r\n{long}"),
            format!("{head}\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{long}\r\n0\r\n\r\n"),
        ] {
            let (status, body) = bench.ask(20, &request).await;
            assert_eq!((status, failure(&body).error.as_str()), (413, "the body is longer than 65536 bytes"));
        }
        let header = format!("GET /v1/status HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(20_000));
        assert_eq!(bench.ask(30, &header).await.0, 431);
        let headers = "x: y\r\n".repeat(65);
        assert_eq!(bench.ask(30, &format!("GET /v1/status HTTP/1.1\r\n{headers}\r\n")).await.0, 431);
    });
}

#[test]
fn a_request_that_does_not_come_is_not_waited_for() {
    run(async {
        let bench = Bench::new();
        let head = "POST /v1/simulate HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{";
        let (nothing, half, body) = tokio::join!(bench.ask(30, ""), bench.ask(1, "GET /v1/sta"), bench.ask(30, head));
        for (status, body) in [nothing, half, body] {
            assert_eq!(status, 408, "{body}");
            assert!(failure(&body).error.contains("within 5 s"), "{body}");
        }
    });
}

#[test]
fn who_asks_too_often_is_told_to_wait_and_others_are_not() {
    run(async {
        let bench = Bench::new();
        let mut refused = None;
        for _ in 0..1000 {
            let (status, body) = bench.call(10, "GET /metrics").await;
            if status != 200 {
                refused = Some((status, failure(&body).error));
                break;
            }
        }
        let (status, error) = refused.expect("a limit");
        assert_eq!((status, error.as_str()), (429, "too many requests of this user; try again in a second"));
        let other = rights(900).of(&Peer { uid: 1001, gids: vec![10] });
        let mut stream = bench.connect(&other);
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("room");
        assert_eq!(read_answer(&mut stream).await.0, 200);
    });
}

#[test]
fn watchers_are_counted_while_they_listen() {
    run(async {
        let bench = Bench::new();
        let mut watchers = Vec::new();
        for _ in 0..WATCHERS_OF_ONE_MAX {
            let mut stream = bench.connect(&member(10));
            stream.write_all(b"GET /v1/watch HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("room");
            assert_eq!(read_answer(&mut stream).await.0, 200);
            watchers.push(stream);
        }
        let (status, body) = bench.call(10, "GET /v1/watch").await;
        assert_eq!((status, failure(&body).error.contains("too many watchers")), (429, true));
        drop(watchers);
        for _ in 0..100 {
            // The server learns that nobody listens when it has something to say.
            let _ = bench.daemon.lines.send(line(1));
            tokio::task::yield_now().await;
        }
        assert_eq!(bench.call(10, "GET /v1/watch").await.0, 200);
    });
}

/// What a listener has been sent when all of this stands in it.
async fn heard(stream: &mut DuplexStream, wanted: &[&str]) -> String {
    let mut text = String::new();
    while !wanted.iter().all(|words| text.contains(words)) {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).await.expect("open");
        assert!(count > 0, "it ended: {text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    text
}

#[test]
fn listeners_hear_lines_or_events_and_how_much_they_lost() {
    run(async {
        let bench = Bench::new();
        let listen = async |accept: &str| {
            let mut stream = bench.connect(&member(10));
            let request = format!("GET /v1/watch HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("room");
            assert_eq!(read_answer(&mut stream).await.0, 200);
            stream
        };
        let (mut events, mut lines) = (listen("text/event-stream").await, listen("*/*").await);
        let _ = bench.daemon.lines.send(line(7));
        let told = heard(&mut events, &["data: "]).await;
        for words in ["id: 7\n", "event: log\n", "data: {\"kind\":\"log\",\"n\":7}\n"] {
            assert!(told.contains(words), "{told}");
        }
        let told = heard(&mut lines, &["\"n\":7}\n"]).await;
        assert!(!told.contains("data:"), "{told}");
        // The channel of this test holds four; nobody reads while these are sent.
        (8..20).for_each(|number| drop(bench.daemon.lines.send(line(number))));
        let told = heard(&mut events, &["lines were lost", "id: 19\n"]).await;
        assert!(told.contains("8 lines were lost") && !told.contains("id: 8\n") && told.contains("id: 16\n"), "{told}");
        heard(&mut lines, &["8 lines were lost", "\"n\":19}\n"]).await;
    });
}

#[test]
fn one_connection_too_many_is_told_so_and_a_closed_one_makes_room() {
    run(async {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("s");
        let bench = Bench::new();
        let routes = router(Arc::clone(&bench.daemon), Arc::clone(&bench.limits));
        let listener = UnixListener::bind(&socket).expect("a socket");
        tokio::spawn(serve(listener, routes, rights(geteuid().as_raw()), Arc::clone(&bench.limits)));
        let mut streams = Vec::new();
        for _ in 0..CONNECTIONS_OF_ONE_MAX {
            let mut stream = UnixStream::connect(&socket).await.expect("connected");
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("room");
            assert_eq!(read_answer(&mut stream).await.0, 200);
            streams.push(stream);
        }
        let ask = async || {
            let mut stream = UnixStream::connect(&socket).await.expect("connected");
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
            read_answer(&mut stream).await
        };
        let (status, body) = ask().await;
        assert_eq!((status, failure(&body).error.contains("too many connections")), (429, true));
        streams.pop();
        for _ in 0..1000 {
            // Until the server has seen the end of the closed one.
            if ask().await.0 == 200 {
                return;
            }
        }
        panic!("a closed connection makes no room");
    });
}
