//! Tests of the commands that ask the daemon, against a server that plays one on a unix socket.
//! Must never ask a daemon of this machine.

use super::screens::{bad_report_value, plan_value, report_value, status_value};
use super::{Ran, snooze};
use axum::Router;
use axum::body::Bytes;
use axum::http::{Method, StatusCode, Uri};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

const ID: &str = "019a1b2c-3d4e-7f60-8182-93a4b5c6d7e8";

/// Path and query, and the body, of every request.
type Asked = Arc<Mutex<Vec<(String, String)>>>;

/// A daemon that is played on a thread of its own until it is dropped.
struct Played {
    directory: TempDir,
    asked: Asked,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Played {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no panic while answering");
        }
    }
}

impl Played {
    fn answers(answer: impl Fn(&Method, &str) -> (StatusCode, String) + Clone + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        // Bound here, so that it is there when the first request comes.
        let listener = UnixListener::bind(directory.path().join("s")).expect("a socket");
        listener.set_nonblocking(true).expect("non-blocking");
        let asked = Asked::default();
        let noted = Arc::clone(&asked);
        let router = Router::new().fallback(move |method: Method, uri: Uri, body: Bytes| {
            let path = uri.path_and_query().map(ToString::to_string).unwrap_or_default();
            let reply = answer(&method, &path);
            noted.lock().expect("not poisoned").push((path, String::from_utf8_lossy(&body).into_owned()));
            async move { reply }
        });
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::UnixListener::from_std(listener).expect("a socket");
                tokio::select! {
                    served = axum::serve(listener, router).into_future() => served.expect("served"),
                    _ = stopped => {}
                }
            });
        });
        Self { directory, asked, stop: Some(stop), thread: Some(thread) }
    }

    /// The same JSON for everything.
    fn says(value: &Value) -> Self {
        let text = value.to_string();
        Self::answers(move |_, _| (StatusCode::OK, text.clone()))
    }

    fn refuses(status: StatusCode, failure: &Value) -> Self {
        let text = failure.to_string();
        Self::answers(move |_, _| (status, text.clone()))
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("s")
    }

    fn snooze(&self, arguments: &[&str]) -> Ran {
        let socket = self.socket();
        let named = ["--socket", socket.to_str().expect("UTF-8")];
        snooze(&[&named[..], arguments].concat())
    }

    fn asked(&self) -> Vec<(String, String)> {
        self.asked.lock().expect("not poisoned").clone()
    }
}

#[test]
fn status_shows_the_daemons_state_and_its_health_is_the_exit_code() {
    let ran = Played::says(&status_value()).snooze(&["status"]);
    assert_eq!((ran.code, ran.talk.as_str()), (1, ""));
    assert!(ran.out.contains("snoozed 0.1.0 is degraded") && ran.out.contains("mysql-flusher"), "{}", ran.out);
    let mut well = status_value();
    well["health"] = json!("ok");
    let daemon = Played::says(&well);
    assert_eq!(daemon.snooze(&["status"]).code, 0);
    assert_eq!(daemon.asked()[0].0, "/v1/status");
}

#[test]
fn json_is_passed_on_as_it_came_even_what_this_version_does_not_know() {
    let mut newer = status_value();
    newer["of_a_later_version"] = json!([1, 2]);
    let ran = Played::says(&newer).snooze(&["status", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&ran.out).expect("JSON"), newer);
}

#[test]
fn the_plan_is_asked_with_every_time_left() {
    let daemon = Played::says(&plan_value());
    let ran = daemon.snooze(&["plan", "cloud.spot.interrupt", "--left", "2m", "--left", "20.5s"]);
    assert_eq!(ran.code, 0, "{}", ran.talk);
    assert!(ran.out.contains("AT 120 S") && ran.out.contains("mysql-flusher"), "{}", ran.out);
    let dry = daemon.snooze(&["simulate", "cloud.spot.interrupt", "--in", "20s", "--dry-run"]);
    assert_eq!(dry.code, 0, "{}", dry.talk);
    let paths: Vec<String> = daemon.asked().into_iter().map(|(path, _)| path).collect();
    let expected =
        ["/v1/plan?type=cloud.spot.interrupt&left=120&left=20.5", "/v1/plan?type=cloud.spot.interrupt&left=20"];
    assert_eq!(paths, expected, "a dry run asks for the plan and for nothing else");
}

#[test]
fn simulate_sends_what_was_said_and_prints_the_id() {
    let daemon = Played::says(&json!({ "event_id": ID }));
    let ran = daemon.snooze(&[
        "simulate",
        "custom.deploy",
        "--in",
        "1m30s",
        "--severity",
        "urgent",
        "--data",
        "n=3",
        "--data",
        "why=x y",
    ]);
    assert_eq!((ran.code, ran.out.trim()), (0, ID));
    assert!(ran.talk.contains("snooze report"), "{}", ran.talk);
    let (path, body) = daemon.asked().remove(0);
    assert_eq!(path, "/v1/simulate");
    let sent: crate::control::wire::Simulate = serde_json::from_str(&body).expect("the form of the wire");
    assert_eq!(
        (sent.event_type.as_str(), sent.in_seconds, sent.severity.as_deref()),
        ("custom.deploy", Some(90.0), Some("urgent"))
    );
    assert_eq!(Value::Object(sent.data), json!({ "n": 3, "why": "x y" }));
    assert_eq!(daemon.snooze(&["-q", "simulate", "custom.deploy"]).talk, "");
}

/// A daemon at which the simulated event runs to its end.
fn rehearsal(report: Value) -> Played {
    Played::answers(move |_, path| {
        let other = json!({ "kind": "completed", "event_id": "another", "state": "completed", "duration_ms": 1.0, "left_seconds": 1.0 });
        let unknown = json!({ "kind": "of a later version" });
        let started = json!({ "kind": "started", "event_id": ID, "handler": "mysql-flusher", "instance": "x/mysql-flusher",
                              "priority": 100, "at_ms": 0.1, "budget_ms": 30_000.0, "left_seconds": 119.9 });
        let done = json!({ "kind": "completed", "event_id": ID, "state": "completed", "duration_ms": 9.0, "left_seconds": 110.0 });
        let text = match path {
            "/v1/watch" => format!("{other}\n\n{unknown}\n{started}\n{done}\n"),
            "/v1/simulate" => json!({ "event_id": ID }).to_string(),
            _ => report.to_string(),
        };
        (StatusCode::OK, text)
    })
}

#[test]
fn a_rehearsal_is_followed_to_its_end_and_its_report_decides_the_exit_code() {
    let daemon = rehearsal(report_value());
    let ran = daemon.snooze(&["simulate", "cloud.spot.interrupt", "--in", "120s", "--wait"]);
    assert_eq!(ran.code, 0, "{}", ran.talk);
    assert!(ran.talk.contains("mysql-flusher started") && !ran.talk.contains("another"), "{}", ran.talk);
    assert!(ran.out.contains("3 of 3 handled and verified"), "{}", ran.out);
    let paths: Vec<String> = daemon.asked().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["/v1/watch", "/v1/simulate", &format!("/v1/reports/{ID}")], "watched before it begins");
    assert_eq!(rehearsal(bad_report_value()).snooze(&["simulate", "cloud.spot.interrupt", "--wait"]).code, 1);
}

#[test]
fn a_stream_that_ends_early_is_told_as_such() {
    let daemon = Played::answers(|_, path| {
        let text = if path == "/v1/watch" { String::new() } else { json!({ "event_id": ID }).to_string() };
        (StatusCode::OK, text)
    });
    let ran = daemon.snooze(&["simulate", "cloud.spot.interrupt", "--wait"]);
    assert_eq!(ran.code, 69, "{}", ran.talk);
    assert!(ran.talk.contains("ended before the event did"), "{}", ran.talk);
    let ran = rehearsal(report_value()).snooze(&["watch"]);
    assert_eq!(ran.code, 69, "{}", ran.talk);
    assert!(ran.out.contains("completed after 9 ms"), "{}", ran.out);
}

#[test]
fn a_report_with_a_failure_has_exit_code_1_and_an_unknown_one_66() {
    let daemon = Played::says(&bad_report_value());
    let ran = daemon.snooze(&["report"]);
    assert_eq!(ran.code, 1, "{}", ran.talk);
    assert_eq!(daemon.asked()[0].0, "/v1/reports/last");
    let missing = Played::refuses(StatusCode::NOT_FOUND, &json!({ "error": "no event has a report yet" }));
    let ran = missing.snooze(&["report", ID]);
    assert_eq!((ran.code, ran.talk.as_str(), ran.out.as_str()), (66, "snooze: no event has a report yet\n", ""));
}

#[test]
fn a_report_as_a_page_goes_to_a_file_or_to_standard_output_and_has_the_same_exit_code() {
    let (good, bad) = (Played::says(&report_value()), Played::says(&bad_report_value()));
    for arguments in [&["report", "--html"][..], &["report", "last", "--html", "-"]] {
        let ran = good.snooze(arguments);
        assert_eq!((ran.code, ran.talk.as_str()), (0, ""));
        assert!(ran.out.starts_with("<!doctype html>") && ran.out.trim_end().ends_with("</html>"), "{}", ran.out);
        assert_eq!(bad.snooze(arguments).code, 1);
    }
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("report.html");
    let name = file.to_str().expect("UTF-8");
    let ran = good.snooze(&["report", ID, "--html", name]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    assert!(ran.talk.contains(&format!("the report of event {ID} is in {name}")), "{}", ran.talk);
    assert_eq!(std::fs::read_to_string(&file).expect("written"), good.snooze(&["report", "--html"]).out);
    let ran = good.snooze(&["report", "--html", directory.path().to_str().expect("UTF-8")]);
    assert_eq!(ran.code, 74, "{}", ran.talk);
    let count = good.asked().len();
    for (arguments, words) in [
        (&["report", "--html", ID][..], "say snooze report"),
        (&["report", "--html", "last"], "say snooze report last --html FILE"),
        (&["report", "--html", "--json"], "choose one"),
    ] {
        let ran = good.snooze(arguments);
        assert!(ran.code == 2 && ran.talk.contains(words), "{}", ran.talk);
    }
    assert_eq!(good.asked().len(), count, "nothing was asked");
}

#[test]
fn a_refused_configuration_is_told_line_by_line_with_code_78() {
    let failure = json!({ "error": "refused", "details": ["a.json: x: found 1", "a.json: y: found 2"] });
    let ran = Played::refuses(StatusCode::UNPROCESSABLE_ENTITY, &failure).snooze(&["reload"]);
    assert_eq!(ran.code, 78);
    let expected = "snooze: refused; the daemon goes on with the configuration it has\n  a.json: x: found 1\n  a.json: y: found 2\n";
    assert_eq!(ran.talk, expected);
}

#[test]
fn events_are_asked_by_type_and_number() {
    let daemon = Played::says(&json!({ "events": [] }));
    assert_eq!(daemon.snooze(&["events", "--limit", "5", "--type", "custom.x"]).code, 0);
    assert_eq!(daemon.asked()[0].0, "/v1/events?limit=5&type=custom.x");
}

#[test]
fn an_answer_that_is_not_understood_has_code_70() {
    let ran = Played::says(&json!({ "surprise": 1 })).snooze(&["status"]);
    assert_eq!(ran.code, 70, "{}", ran.talk);
    let ran = Played::answers(|_, _| (StatusCode::INTERNAL_SERVER_ERROR, "<html>".into())).snooze(&["status"]);
    assert_eq!(ran.code, 70, "{}", ran.talk);
}

#[test]
fn the_doctor_takes_the_daemons_word_for_what_it_was_granted() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("none.json");
    let ran = Played::says(&status_value()).snooze(&["doctor", "--config", config.to_str().expect("UTF-8")]);
    assert_eq!(ran.code, 1, "{}", ran.talk);
    for text in [
        "✗ no such file",
        "✓ snoozed 0.1.0 answers",
        "! it says: ",
        "✓ aws.ec2.metadata-service: seeing",
        "SCHED_RR 10",
        "memory is locked",
    ] {
        assert!(ran.out.contains(text), "{text}: {}", ran.out);
    }
}

#[test]
fn a_daemon_that_is_not_there_is_told_from_one_that_may_not_be_asked() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("s");
    let ask = || snooze(&["--socket", socket.to_str().expect("UTF-8"), "status"]);
    let ran = ask();
    assert_eq!(ran.code, 69);
    let expected = format!(
        "snooze: snoozed is not running, or listens elsewhere: no socket at {} (start it: systemctl start cloudsnooze; \
         other socket: --socket)\n",
        socket.display()
    );
    assert_eq!(ran.talk, expected);
    drop(UnixListener::bind(&socket).expect("a socket"));
    let ran = ask();
    assert_eq!(ran.code, 69);
    assert!(ran.talk.contains("nobody listens at"), "{}", ran.talk);
}

#[test]
fn a_socket_that_is_closed_to_us_has_code_77() {
    if nix::unistd::geteuid().is_root() {
        eprintln!("NOT RUN: a socket closed to us, because nothing is closed to root");
        return;
    }
    let daemon = Played::says(&status_value());
    let closed = std::fs::Permissions::from_mode(0o000);
    std::fs::set_permissions(daemon.socket(), closed).expect("closed");
    let ran = daemon.snooze(&["status"]);
    assert_eq!(ran.code, 77, "{}", ran.talk);
    assert!(ran.talk.contains("may not use"), "{}", ran.talk);
}

#[test]
fn a_right_that_is_lacking_is_told_with_the_group_to_join_and_code_77() {
    let needs = json!({ "right": "administer", "group": "wheel" });
    let failure = json!({ "error": "user 5 lacks the right 'administer'", "details": [], "needs": needs });
    let ran = Played::refuses(StatusCode::FORBIDDEN, &failure).snooze(&["reload"]);
    assert_eq!((ran.code, ran.out.as_str()), (77, ""));
    assert!(
        ran.talk.contains("lacks the right 'administer'") && ran.talk.contains("usermod -aG wheel"),
        "{}",
        ran.talk
    );
    let failure = json!({ "error": "no", "details": [], "needs": { "right": "read", "group": null } });
    let ran = Played::refuses(StatusCode::FORBIDDEN, &failure).snooze(&["status"]);
    assert!(ran.code == 77 && ran.talk.contains("control.read_group"), "{}", ran.talk);
}

#[test]
fn an_upgrade_waits_for_the_events_in_progress_and_for_no_daemon_that_is_not_there() {
    let looks = Arc::new(Mutex::new(3_u64));
    let counted = Arc::clone(&looks);
    let busy = Played::answers(move |_, _| {
        let mut left = counted.lock().expect("not poisoned");
        let mut status = status_value();
        status["dispatch"]["events_busy"] = json!(*left);
        *left = left.saturating_sub(1);
        (StatusCode::OK, status.to_string())
    });
    let ran = busy.snooze(&["upgrade-ready"]);
    assert_eq!(ran.code, 124, "not waited for unless it is asked for");
    assert!(ran.talk.contains("3 event(s) in progress"), "{}", ran.talk);
    let ran = busy.snooze(&["upgrade-ready", "--wait", "1m"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.talk);
    assert_eq!(busy.asked().len(), 4, "asked until there was none");
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("s");
    let ran = snooze(&["--socket", socket.to_str().expect("UTF-8"), "upgrade-ready", "--wait", "1m"]);
    assert_eq!(ran.code, 0, "{}", ran.talk);
    assert_eq!(Played::says(&json!({})).snooze(&["upgrade-ready"]).code, 70);
}
