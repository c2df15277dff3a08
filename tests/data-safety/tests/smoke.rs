//! A few rounds hold, and without the plugins they do not: what `make test-data-safety` does a hundred times can fail.

use harness::program::{self, Output};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

/// Longer than all of it takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(900);

fn data_safety(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_data-safety"));
    program::run(command.args(arguments), LIMIT).expect("it runs")
}

/// Two rounds of these with the plugin and two without.
fn short(only: &str, more: &[&str]) -> (Output, Value) {
    let few = ["--rounds", "2", "--resumptions", "2", "--control-rounds", "2", "--json", "--only", only];
    let output = data_safety(&[&few, more].concat());
    let outcome = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output, outcome)
}

/// Says what did not run, which fails where everything is required.
fn say_what_did_not_run(outcome: &Value) {
    for subject in outcome["subjects"].as_array().expect("a list") {
        if let Some(why) = subject["not_run"].as_str() {
            harness::require::missing_means_skip(&format!("data safety of {}: {why}", subject["name"]));
        }
    }
}

fn number(subject: &Value, name: &str) -> u64 {
    subject[name].as_u64().unwrap_or_else(|| panic!("no {name} in {subject}"))
}

#[test]
fn servers_that_are_flushed_lose_nothing_and_without_the_plugin_they_do() {
    let (output, outcome) = short("mariadb,postgres,redis", &[]);
    say_what_did_not_run(&outcome);
    let there = outcome["subjects"].as_array().expect("a list").iter().filter(|subject| subject["not_run"].is_null());
    let mut count = 0;
    for subject in there {
        count += 1;
        assert_eq!(
            (number(subject, "rounds"), number(subject, "lost"), number(subject, "lost_later")),
            (2, 0, 0),
            "{output:?}"
        );
        // Each of four connections wrote five hundred times before each notice.
        assert!(number(subject, "before_end") >= 4_000, "{subject}");
        assert!(number(&subject["control"], "lost") > 0, "{subject}");
    }
    assert_eq!(output.code, Some(if count == 0 { 3 } else { 0 }), "{output:?}");
}

#[test]
fn programs_that_are_saved_resume_there_and_without_the_plugin_they_begin_again() {
    let (output, outcome) = short("counter", &[]);
    say_what_did_not_run(&outcome);
    let subject = &outcome["subjects"][0];
    if subject["not_run"].is_null() {
        assert_eq!(output.code, Some(0), "{output:?}");
        assert_eq!((number(subject, "lost"), number(subject, "resumed_at_save")), (0, 2), "{subject}");
        assert_eq!(number(&subject["control"], "rounds_with_loss"), 2, "{subject}");
    }
}

#[test]
fn a_training_that_is_saved_and_resumed_is_the_one_that_was_never_interrupted() {
    let (output, outcome) = short("torch", &[]);
    say_what_did_not_run(&outcome);
    let subject = &outcome["subjects"][0];
    if subject["not_run"].is_null() {
        assert_eq!(output.code, Some(0), "{output:?}");
        assert_eq!((number(subject, "lost"), number(subject, "resumed_at_save")), (0, 2), "{subject}");
        assert_eq!(number(&subject["trajectory"], "differing"), 0, "{subject}");
        assert_eq!(subject["trajectory"]["mistake_found"], true, "{subject}");
    }
}

#[test]
fn without_the_plugins_it_fails() {
    let (output, outcome) = short("redis,counter", &["--without-plugin"]);
    say_what_did_not_run(&outcome);
    for subject in outcome["subjects"].as_array().expect("a list") {
        if subject["not_run"].is_null() {
            assert!(number(subject, "lost") > 0, "{subject}");
            assert_eq!(output.code, Some(1), "{output:?}");
        }
    }
}

#[test]
fn misuse_is_told_apart() {
    let output = data_safety(&["--only", "oracle"]);
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(output.stderr.contains("oracle"), "{output:?}");
}
