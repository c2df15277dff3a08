//! `snooze plugin verify`: every bad plugin of the zoo is caught by the test that is meant for it, every plugin of this
//! project passes, and the command says so in every form it promises.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::bestiary::{ANIMALS, Animal, HEALTHY, sources};
use e2e::official;
use e2e::zoo::Zoo;
use harness::program::{self, Output};
use harness::{paths, require};
use serde_json::{Value, json};

/// How long a verification may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// Static tests for which no compiler makes an animal: what they read is tried with changed bytes, in
/// `tests/e2e/tests/refusals.rs` and `core/src/host/trust.rs`, or needs a machine of another age.
const ELSEWHERE: [&str; 6] =
    ["static-file", "static-elf", "static-text", "static-entry", "static-libraries", "static-glibc"];
/// What must go well before a dynamic test makes sense.
const FIRST: &str = "static,load-class,load-schema,life-create,life-activate,delivery-kinds";

fn snooze(zoo: &Zoo, args: &[&str]) -> Output {
    let program = paths::program(zoo.bin(), "snooze").expect("it is built");
    program::run(Command::new(program).args(args), PATIENCE).expect("it ends")
}

/// Verifies a file with these settings, and gives the exit code and the report.
fn verify(zoo: &Zoo, file: &Path, config: &Value, more: &[&str]) -> (i32, Value) {
    let settings = zoo.write("settings.json", config.to_string().as_bytes());
    let (file, settings) = (file.to_string_lossy(), settings.to_string_lossy());
    let args = [&["plugin", "verify", &file, "--json", "--config-file", &settings], more].concat();
    let output = snooze(zoo, &args);
    let report = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.code.expect("a code"), report)
}

/// The tests that did not go well, by name; warnings of the file included, those of a busy machine not.
fn bad(report: &Value) -> Vec<(String, String, String)> {
    let text = |record: &Value, member: &str| record[member].as_str().unwrap_or_default().to_owned();
    let records = report["tests"].as_array().expect("tests").iter();
    let shown = records.map(|r| (text(r, "name"), text(r, "outcome"), text(r, "found")));
    let is_bad = |name: &str, outcome: &str| match outcome {
        "warning" => name.starts_with("static-"),
        outcome => outcome != "success" && outcome != "skipped",
    };
    shown.filter(|(name, outcome, _)| is_bad(name, outcome)).collect()
}

fn outcome<'a>(report: &'a Value, name: &str) -> (&'a str, &'a str) {
    let record = report["tests"].as_array().expect("tests").iter().find(|r| r["name"] == name).expect("it ran");
    (record["outcome"].as_str().expect("a word"), record["found"].as_str().expect("a sentence"))
}

/// Builds and verifies one animal: the test that is meant for it, and no other, must not go well.
fn must_be_caught(zoo: &Zoo, animal: &Animal) {
    let library = animal.build(zoo);
    let only = format!("{FIRST},{}", animal.caught_by);
    let config = json!({ "when": animal.when });
    let (code, report) = verify(zoo, &library, &config, &["--only", &only]);
    let shown = format!("{} (in {}): {:?}", animal.name, animal.when, bad(&report));
    let (ended, found) = outcome(&report, animal.caught_by);
    if ended == "skipped" && animal.caught_by == "realtime-system-calls" {
        require::missing_means_skip(&format!("{}: {found}", animal.name));
        return;
    }
    assert!(animal.outcomes.contains(&ended), "{} ended as {ended}; {shown}", animal.caught_by);
    for (name, _, _) in bad(&report) {
        let is_meant = name == animal.caught_by || animal.also.contains(&name.as_str());
        assert!(is_meant, "{name} is not meant for it; {shown}");
    }
    let is_only_a_warning = animal.outcomes == ["warning"];
    assert_eq!(code, i32::from(!is_only_a_warning), "{shown}");
}

/// Those that tests of these groups are meant for.
fn caught_by(groups: &[&str], what: &str) {
    let Some(zoo) = Zoo::open(what, &["cc", "c++"]) else { return };
    let is_meant = |animal: &&Animal| groups.iter().any(|group| animal.caught_by.starts_with(group));
    let meant: Vec<&Animal> = ANIMALS.iter().filter(is_meant).collect();
    assert!(meant.len() >= 3, "{meant:?}");
    for animal in meant {
        must_be_caught(&zoo, animal);
    }
}

#[test]
fn what_the_file_says_and_what_loading_does_is_caught() {
    caught_by(&["static-", "load-"], "static and load tests");
}

#[test]
fn what_instances_do_wrong_is_caught() {
    caught_by(&["life-"], "life-cycle tests");
}

#[test]
fn handlers_that_crash_hang_or_answer_nonsense_are_caught() {
    caught_by(
        &["delivery-kinds", "delivery-errors", "delivery-bare", "delivery-largest", "delivery-twice"],
        "delivery tests",
    );
}

#[test]
fn handlers_that_trust_too_much_are_caught() {
    let tests = ["two", "future", "late", "after-return", "results", "async", "together"];
    let tests = tests.map(|test| format!("delivery-{test}"));
    caught_by(&tests.each_ref().map(String::as_str), "delivery tests");
}

#[test]
fn what_events_leave_behind_is_caught() {
    let tests = ["threads", "memory", "descriptors", "processes", "output", "surroundings"];
    let tests = tests.map(|test| format!("delivery-{test}"));
    caught_by(&tests.each_ref().map(String::as_str), "tests of what is left behind");
}

#[test]
fn handlers_that_do_not_stop_and_lies_about_realtime_are_caught() {
    caught_by(&["cancel-", "realtime-", "robust-"], "cancel, realtime and robustness tests");
}

#[test]
fn sources_that_do_not_stop_leak_or_trust_are_caught() {
    caught_by(&["source-"], "tests of sources");
}

#[test]
fn every_source_of_the_zoo_has_an_animal_and_every_animal_was_meant_for_a_test_that_exists() {
    let known: BTreeSet<&str> = ANIMALS.iter().map(|animal| animal.name).collect();
    for entry in std::fs::read_dir(sources()).expect("the zoo").flatten() {
        let name = entry.path().file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(known.contains(name.as_str()) || name == "zoo" || name == HEALTHY.name, "nobody looks for {name}");
    }
    let tests: BTreeSet<&str> = cloudsnooze::verify::all().iter().map(|test| test.name).collect();
    for animal in ANIMALS {
        for name in [animal.caught_by].iter().chain(animal.also) {
            assert!(tests.contains(name), "{}: there is no test {name}", animal.name);
        }
    }
    assert!(known.len() >= 25, "{}", known.len());
    // A test that nothing fails proves nothing.
    for test in cloudsnooze::verify::all() {
        let is_shown_to_fail = ANIMALS.iter().any(|animal| animal.caught_by == test.name);
        assert!(is_shown_to_fail || ELSEWHERE.contains(&test.name), "no animal fails {}", test.name);
    }
}

#[test]
fn a_panic_in_a_rust_plugin_is_caught_although_the_sdk_catches_it_too() {
    let Some(zoo) = Zoo::open("a_panic_in_a_rust_plugin", &[]) else { return };
    let library = zoo.rust("misbehaves-rs");
    let (code, report) = verify(&zoo, &library, &json!({ "panics_in": "on_event" }), &["--only", FIRST]);
    let (ended, found) = outcome(&report, "delivery-kinds");
    assert_eq!((code, ended), (1, "failed"), "{report}");
    assert!(found.contains("the bear in on_event woke up"), "{found}");
}

/// A plugin of this project, with settings under which nothing answers: how it fails is what is looked at.
fn is_fit(zoo: &Zoo, file: &Path, config: &Value) {
    let (code, report) = verify(zoo, file, config, &[]);
    assert_eq!((code, bad(&report)), (0, Vec::new()), "{}", file.display());
    assert_eq!(report["is_fit"], true);
}

#[test]
fn the_official_plugins_are_fit() {
    let Some(zoo) = Zoo::open("the_official_plugins_are_fit", &[]) else { return };
    for (name, config) in official::plugins() {
        is_fit(&zoo, &zoo.rust(name), &config);
    }
}

#[test]
fn the_examples_are_fit() {
    let Some(zoo) = Zoo::open("the_examples_are_fit", &["make", "cc", "c++"]) else { return };
    let file = zoo.join("written.jsonl");
    let nimbus = json!({ "socket": zoo.join("nimbus.sock"), "acknowledgements": zoo.join("done") });
    for (name, config) in [
        ("template", json!({})),
        ("minimal", json!({ "file": file })),
        ("cpp", json!({ "file": file })),
        ("source", nimbus),
    ] {
        is_fit(&zoo, &zoo.example(name), &config);
    }
}

#[test]
fn a_healthy_plugin_passes_everything_and_its_pin_is_what_the_configuration_takes() {
    let Some(zoo) = Zoo::open("a_healthy_plugin", &["cc"]) else { return };
    let library = HEALTHY.build(&zoo);
    let file = library.to_string_lossy();
    let junit = zoo.join("verify.xml");
    let output = snooze(&zoo, &["plugin", "verify", &file, "--junit", &junit.to_string_lossy()]);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stdout.contains("\nFit: ") && !output.stdout.contains('\x1b'), "{}", output.stdout);
    assert_eq!(output.stderr, "", "progress is for terminals only");
    let info = snooze(&zoo, &["plugin", "info", &file, "--json"]).success("info").expect("it is told");
    let info: Value = serde_json::from_str(&info).expect("JSON");
    let pin = format!("\"name\": \"healthy\", \"sha256\": {}", info["sha256"]);
    assert!(output.stdout.contains(&pin), "{pin} is not in {}", output.stdout);
    let xml = std::fs::read_to_string(junit).expect("written");
    assert_eq!(xml.matches("<testcase ").count(), cloudsnooze::verify::all().len(), "{xml}");
    assert!(xml.contains("failures=\"0\" errors=\"0\""), "{xml}");
    let partly = snooze(&zoo, &["plugin", "verify", &file, "--only", "load"]);
    assert!(partly.stdout.contains("Fit, as far as 5 of ") && !partly.stdout.contains("sha256"), "{}", partly.stdout);
}

#[test]
fn a_defect_is_explained_in_the_process_itself_too_and_ends_in_code_1() {
    let Some(zoo) = Zoo::open("a_defect_is_explained", &["cc"]) else { return };
    let silent = ANIMALS.iter().find(|animal| animal.name == "silent-error").expect("it is there");
    let file = silent.build(&zoo);
    let args = ["plugin", "verify", &file.to_string_lossy(), "--only", "delivery-errors", "--in-process"];
    let output = snooze(&zoo, &args);
    assert_eq!(output.code, Some(1), "{output:?}");
    for words in ["failed: cloud.spot.interrupt: it failed with -10", "expected:", "do:", "snooze_failf", "Not fit: "] {
        assert!(output.stdout.contains(words), "{words}: {}", output.stdout);
    }
    assert!(!output.stdout.contains("sha256"), "what is not fit is not to be pinned: {}", output.stdout);
}

#[test]
fn the_same_seed_makes_the_same_calls() {
    let Some(zoo) = Zoo::open("the_same_seed", &["cc"]) else { return };
    let counting = ANIMALS.iter().find(|animal| animal.name == "counts-events").expect("it is there");
    let file = counting.build(&zoo);
    let words = |seed: &str| {
        let (_, report) = verify(&zoo, &file, &json!({}), &["--only", "robust-order", "--seed", seed]);
        outcome(&report, "robust-order").1.to_owned()
    };
    assert_eq!(words("7"), words("7"));
    assert!(words("7").contains("step "), "{}", words("7"));
    assert_ne!(words("7"), words("8"));
}

#[test]
fn wrong_command_lines_end_in_code_2_and_the_list_needs_no_plugin() {
    let Some(zoo) = Zoo::open("wrong_command_lines", &[]) else { return };
    let file: PathBuf = zoo.write("x.so", b"no library");
    let file = file.to_string_lossy();
    for args in [&["plugin", "verify"][..], &["plugin", "verify", &file, "--only", "delivery-nothing"]] {
        assert_eq!(snooze(&zoo, args).code, Some(2), "{args:?}");
    }
    let output = snooze(&zoo, &["plugin", "verify", &file]);
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stdout.contains("not an ELF file") && output.stdout.contains("would refuse"), "{}", output.stdout);
    let list = snooze(&zoo, &["plugin", "verify", "--list"]).success("the list").expect("it is told");
    assert!(cloudsnooze::verify::all().iter().all(|test| list.contains(test.name)), "{list}");
    let help = snooze(&zoo, &["plugin", "--help"]).success("help").expect("it is told");
    assert!(help.contains("verify ") && !help.contains("verify-child"), "{help}");
}
