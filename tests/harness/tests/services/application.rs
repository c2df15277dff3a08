//! The application saves what it says it saves, and misbehaves as asked.

use std::time::{Duration, Instant};

use harness::app::{App, Mode, sha256};
use harness::wait;
use serde_json::json;
use tempfile::TempDir;

use crate::client::{SOON, get, post, post_within};

fn app(mode: Mode) -> (TempDir, App) {
    let directory = tempfile::tempdir().expect("a directory");
    let app = App::start(directory.path(), mode).expect("it starts");
    (directory, app)
}

#[test]
fn a_checkpoint_is_in_progress_for_its_time_and_then_on_the_disk() {
    let takes = Duration::from_millis(300);
    let (directory, app) = app(Mode::Takes(takes));
    wait::until("the state to grow", SOON, || (app.counter() > 0).then_some(())).expect("it grows");
    let begun = Instant::now();
    let reply = post(&app.checkpoint_url(), r#"{"reason": "spot_termination"}"#);
    let accepted = reply.json();
    assert_eq!((reply.status, &accepted["status"]), (202, &json!("in_progress")));
    assert_eq!(accepted["status_url"], "/checkpoint/cp-1");
    assert_eq!(reply.location.as_deref(), Some("/checkpoint/cp-1"));
    let first = get(&app.url("/checkpoint/cp-1")).json();
    assert!(first["status"] == "in_progress" || begun.elapsed() >= takes, "{first}");

    let done = wait::until("the checkpoint", SOON, || {
        let status = get(&app.url("/checkpoint/cp-1")).json();
        (status["status"] == "done").then_some(status)
    });
    let done = done.expect("it is done");
    assert!(begun.elapsed() >= takes);
    let content = std::fs::read(directory.path().join("cp-1.state")).expect("the file");
    assert_eq!(done["sha256"], json!(sha256(&content)));
    assert_eq!(done["size"], json!(content.len()));
    let saved = app.checkpoints()[0].outcome.clone().expect("done").expect("saved");
    assert_eq!(saved.check_file(), Ok(()));
    assert!(saved.counter > 0);
}

#[test]
fn a_file_that_is_not_what_was_told_is_found_out() {
    let (_directory, app) = app(Mode::Immediate);
    assert_eq!(post(&app.checkpoint_url(), "{}").json()["status"], "done");
    let saved = app.checkpoints()[0].outcome.clone().expect("done").expect("saved");
    let mut content = std::fs::read(&saved.file).expect("the file");
    content.truncate(content.len() - 1);
    std::fs::write(&saved.file, content).expect("written");
    let error = saved.check_file().expect_err("it differs");
    assert!(error.contains("SHA-256"), "{error}");
}

#[test]
fn an_immediate_checkpoint_is_on_the_disk_when_it_is_answered() {
    let (_directory, app) = app(Mode::Immediate);
    let reply = post(&app.url("/api/checkpoint"), "{}");
    assert_eq!((reply.status, &reply.json()["status"]), (200, &json!("done")));
    assert_eq!(app.checkpoints()[0].outcome.clone().expect("done").expect("saved").check_file(), Ok(()));
}

#[test]
fn a_repeated_idempotency_key_gets_the_same_checkpoint() {
    let (directory, app) = app(Mode::Immediate);
    let post = |key: &str| {
        post_within(SOON, &app.checkpoint_url(), "{}", &[("Idempotency-Key", key)]).expect("an answer").json()
    };
    let first = post("event-1");
    assert_eq!(post("event-1"), first);
    assert_eq!(post("event-2")["checkpoint_id"], "cp-2");
    assert_eq!(std::fs::read_dir(directory.path()).expect("listed").count(), 2);
}

#[test]
fn a_failing_disk_fails_the_checkpoint() {
    let (directory, app) = app(Mode::Immediate);
    std::fs::remove_dir(directory.path()).expect("removed");
    let status = post(&app.checkpoint_url(), "{}").json();
    assert_eq!(status["status"], "failed");
    assert!(status["error"].as_str().is_some_and(|error| error.contains("cp-1")), "{status}");
}

#[test]
fn what_is_no_json_object_is_refused() {
    let (_directory, app) = app(Mode::Immediate);
    for body in ["", "checkpoint!", "[]"] {
        assert_eq!(post(&app.checkpoint_url(), body).status, 400, "{body:?}");
    }
    assert!(app.checkpoints().is_empty());
    assert_eq!(get(&app.url("/checkpoint/cp-9")).status, 404);
    assert_eq!(get(&app.url("/elsewhere")).status, 404);
}

#[test]
fn a_broken_application_answers_500_and_one_that_never_ends_stays_in_progress() {
    let (directory, app) = app(Mode::Broken);
    assert_eq!(post(&app.checkpoint_url(), "{}").status, 500);
    app.set_mode(Mode::NeverDone).expect("changed");
    assert_eq!(post(&app.checkpoint_url(), "{}").status, 202);
    let growth = app.counter() + 50;
    wait::until("time to pass", SOON, || (app.counter() >= growth).then_some(())).expect("it passed");
    assert_eq!(get(&app.url("/checkpoint/cp-1")).json()["status"], "in_progress");
    assert_eq!(std::fs::read_dir(directory.path()).expect("listed").count(), 0);
}

#[test]
fn a_hanging_application_takes_the_request_and_never_answers() {
    let (_directory, app) = app(Mode::Hang);
    let error = post_within(Duration::from_millis(300), &app.checkpoint_url(), "{}", &[]).expect_err("no answer");
    assert!(error.contains("timeout"), "{error}");
    assert_eq!(app.requests().len(), 1);
}

#[test]
fn a_refusing_application_is_back_on_the_same_address_when_told() {
    let (_directory, app) = app(Mode::Refuse);
    let url = app.checkpoint_url();
    let error = post_within(SOON, &url, "{}", &[]).expect_err("refused");
    assert!(error.contains("refused"), "{error}");
    app.set_mode(Mode::Immediate).expect("listening");
    assert_eq!(app.checkpoint_url(), url);
    assert_eq!(post(&url, "{}").status, 200);
    assert_eq!(app.requests().len(), 1);
}

#[test]
fn a_checkpoint_in_progress_does_not_hold_up_the_end() {
    let (directory, app) = app(Mode::Takes(Duration::from_secs(600)));
    assert_eq!(post(&app.checkpoint_url(), "{}").status, 202);
    let begun = Instant::now();
    drop(app);
    assert!(begun.elapsed() < SOON);
    assert_eq!(std::fs::read_dir(directory.path()).expect("listed").count(), 0);
}
