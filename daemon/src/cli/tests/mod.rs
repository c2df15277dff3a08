//! Tests of the command line as a whole: arguments in, text and exit codes out.
//! Must never need a daemon, a network or the machine's own configuration.

mod advise;
mod offline;
mod screens;
mod socket;

use super::session::Surroundings;
use super::{command, completions, man_pages};
use clap_complete::Shell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What a run of the command line left.
#[derive(Debug)]
struct Ran {
    code: u8,
    out: String,
    talk: String,
}

/// Runs `snooze` with these arguments, as if no variable was set and nobody sat at a terminal.
fn snooze(arguments: &[&str]) -> Ran {
    let all = std::iter::once("snooze").chain(arguments.iter().copied()).map(OsString::from);
    let (mut out, mut talk) = (Vec::new(), Vec::new());
    let code = super::run(all, Surroundings::default(), &mut out, &mut talk);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ran { code, out: text(out), talk: text(talk) }
}

/// Compares with the file of that name beside this one. `SNOOZE_UPDATE_GOLDEN=1` writes it anew.
fn golden(name: &str, shown: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/tests").join(format!("{name}.txt"));
    if std::env::var_os("SNOOZE_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, shown).expect("written");
    }
    let expected = std::fs::read_to_string(&path).expect("a golden file; SNOOZE_UPDATE_GOLDEN=1 makes it");
    assert_eq!(shown, expected, "{} differs; SNOOZE_UPDATE_GOLDEN=1 takes what is shown", path.display());
}

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(path)
}

#[test]
fn the_description_of_the_command_line_is_sound() {
    command().debug_assert();
}

#[test]
fn every_command_teaches_itself() {
    for below in command().get_subcommands().filter(|below| !below.is_hide_set()) {
        let name = below.get_name();
        let ran = snooze(&[name, "--help"]);
        assert_eq!((ran.code, ran.talk.as_str()), (0, ""), "{name}");
        let teaches = ran.out.contains("Examples:") && ran.out.contains(&format!("snooze {name}"));
        assert!(teaches && below.get_about().is_some(), "{name}: {}", ran.out);
    }
    let help = snooze(&["--help"]).out;
    for text in ["New here?", "Exit codes:", "snooze doctor", "mock-metadata", "--socket <PATH>"] {
        assert!(help.contains(text), "{text}: {help}");
    }
    assert!(!help.contains("manual pages"), "{help}");
}

#[test]
fn a_wrong_command_line_is_met_with_code_2_and_a_reason() {
    for (arguments, reason) in [
        (&["plan"][..], "<EVENT_TYPE>"),
        (&["plan", "Cloud.Spot"], "is not an event type"),
        (&["plan", "cloud.spot.interrupt", "--left", "soon"], "is not a duration"),
        (&["simulate", "custom.x", "--severity", "bad"], "critical"),
        (&["simulate", "custom.x", "--data", "x"], "NAME=VALUE"),
        (&["simulate", "custom.x", "--data", "x=1", "--data", "x=2"], "twice"),
        (&["simulate", "custom.x", "--wait", "--dry-run"], "cannot be used with"),
        (&["report", "../status"], "is not the id of an event"),
        (&["events", "--limit", "0"], "1..=10000"),
        (&["repport"], "report"),
        (&[], "Usage"),
    ] {
        let ran = snooze(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.talk.contains(reason), "{arguments:?}: {}", ran.talk);
    }
}

#[test]
fn there_is_a_manual_page_for_every_command_and_it_does_not_depend_on_the_day() {
    let pages = man_pages();
    let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
    for name in
        ["snooze.1", "snooze-status.1", "snooze-plugin.1", "snooze-plugin-load-test.1", "snooze-mock-metadata.1"]
    {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    assert!(!names.contains(&"snooze-man.1"), "{names:?}");
    let page = |name: &str| pages.iter().find(|(page, _)| page == name).map(|(_, text)| text.as_str()).expect("a page");
    assert!(page("snooze.1").contains("sysexits") || page("snooze.1").contains("the configuration is wrong"));
    assert!(page("snooze-mock-metadata.1").contains("snooze mock"), "{}", page("snooze-mock-metadata.1"));
    assert_eq!(man_pages(), pages);
    let directory = tempfile::tempdir().expect("a directory");
    assert_eq!(snooze(&["man", directory.path().to_str().expect("UTF-8")]).code, 0);
    assert_eq!(std::fs::read_dir(directory.path()).expect("readable").count(), pages.len());
}

#[test]
fn completions_know_every_command() {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let script = completions(shell);
        assert!(script.contains("simulate") && script.contains("load-test"), "{shell}");
    }
    assert_eq!(snooze(&["completions", "bash"]).out, completions(Shell::Bash));
}
