//! A short campaign holds, and one whose journal is thrown away does not: it can fail.

use harness::program;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

fn campaign(name: &str, more: &[&str]) -> (Option<i32>, Value) {
    let out = std::env::temp_dir().join(format!("snz-soak-{}-{name}", std::process::id()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_soak"));
    command.args(["--json", "--out"]).arg(&out).args(more);
    let output = program::run(&mut command, Duration::from_secs(300)).expect("it runs");
    let _ = std::fs::remove_dir_all(out);
    let start = output.stdout.find('{').unwrap_or_else(|| panic!("no promises: {output:?}"));
    (output.code, serde_json::from_str(&output.stdout[start..]).expect("promises"))
}

fn has_compiler() -> bool {
    program::find("cc").is_some() || !harness::require::missing_means_skip("the fault campaign: there is no cc")
}

#[test]
fn a_short_campaign_holds_what_is_promised() {
    if !has_compiler() {
        return;
    }
    let (code, promises) = campaign("whole", &["--interruptions", "60", "--workers", "2", "--seed", "11"]);
    assert_eq!(code, Some(0), "{promises:#}");
    assert_eq!((&promises["handled"], &promises["lost"]), (&60.into(), &0.into()), "{promises:#}");
    // Not by chance: things did go wrong.
    for fault in ["daemon_kills", "daemon_crashes", "plugin_faults", "metadata_faults", "stops"] {
        assert!(promises[fault].as_u64().is_some_and(|count| count > 0), "{fault}: {promises:#}");
    }
}

#[test]
fn a_campaign_without_a_journal_fails() {
    if !has_compiler() {
        return;
    }
    let (code, promises) =
        campaign("forgetful", &["--interruptions", "25", "--workers", "1", "--seed", "11", "--without-journal"]);
    assert_eq!(code, Some(1), "{promises:#}");
}
