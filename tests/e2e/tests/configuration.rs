//! Configurations that cannot be used: told in full, and nothing of them takes effect. The one that CloudSnooze began with.

use cloudsnooze::dispatch::budget::{self, Want};
use e2e::simple::{PATIENCE, Plugins, bin_dir, snoozed};
use harness::daemon::Daemon;
use harness::{paths, program, require};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// Where the handler under test stands: behind a good one, which must not be made either.
const HANDLER: &str = r#"event_handlers["cloud.spot.interrupt"].plugins[1]"#;

/// A daemon that was not started, with the good handler and these others.
fn prepared(plugins: &Plugins, others: &[Value]) -> Daemon {
    let mut handlers = vec![json!({"name": "good", "config": plugins.config("good")})];
    handlers.extend(others.iter().cloned());
    let config = json!({"event_handlers": {"cloud.spot.interrupt": {"plugins": handlers}}});
    plugins.daemon(config).prepare().expect("prepared")
}

/// All three ways to hand a configuration over: each refuses it with code 78 and these errors, each in one message
/// that begins with the file. Gives the messages of `snooze config check`.
fn assert_refused(daemon: &Daemon, case: &str, errors: usize) -> Vec<String> {
    let file = daemon.config_file().display().to_string();
    let check = daemon.snooze(&["config", "check", &file]).expect("it runs");
    assert_eq!(check.code, Some(78), "{case}: {check:?}");
    let begin = |program: &str| format!("{program}: {file}: ");
    let of = |text: &str, program: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.strip_prefix(&begin(program))).map(str::to_owned).collect()
    };
    let told = of(&check.stdout, "error");
    assert_eq!(told.len(), errors, "{case}: {check:?}");
    for args in [&["--config", &file, "--check"][..], &["--config", &file]] {
        let output = snoozed(args, &[]);
        assert_eq!(output.code, Some(78), "{case}: {args:?}: {output:?}");
        assert_eq!(of(&output.stderr, "snoozed"), told, "{case}: {args:?}: all programs say the same: {output:?}");
        assert_eq!(output.stdout, "", "{case}");
    }
    told
}

/// Nothing was made, opened or left behind.
fn assert_untouched(daemon: &Daemon, plugins: &Plugins, case: &str) {
    assert!(!daemon.socket().exists(), "{case}: there is a socket");
    let left: Vec<_> = daemon.root().join("state").read_dir().expect("there").collect();
    assert!(left.is_empty(), "{case}: left behind: {left:?}");
    assert_eq!(plugins.journal().story(), [""; 0], "{case}: an instance was made");
}

#[test]
fn a_bad_configuration_is_refused_in_one_sentence_and_nothing_takes_effect() {
    let plugins = Plugins::recorders(&["good", "other"]);
    let file = plugins.file("x");
    let handler = |more: Value| {
        let mut handler = json!({"name": "other", "config": {"file": file}});
        handler.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        handler
    };
    let zeros = "0".repeat(64);
    let cases = [
        ("wrong type", handler(json!({"timeout_seconds": "30"})), "timeout_seconds", "Remove the quotes."),
        ("unknown key", handler(json!({"prioritty": 7})), "prioritty", r#"Did you mean "priority"?"#),
        ("named twice", handler(json!({"name": "good"})), "name", "found a plugin named twice"),
        ("unknown plugin", handler(json!({"name": "othr"})), "name", "did you mean 'other'?"),
        ("negative time", handler(json!({"timeout_seconds": -1})), "timeout_seconds", "found the number -1"),
        (
            "unreadable credential",
            handler(json!({"config": {"file": file, "say": {"credential": "no-such-credential"}}})),
            "config.say",
            r#"found credential "no-such-credential" that gives no secret"#,
        ),
        (
            "the plugin's schema",
            handler(json!({"config": {"file": file, "count": 0}})),
            "config",
            "config.count: found a smaller number, expected at least 1",
        ),
        ("no digest", handler(json!({"sha256": "abc"})), "sha256", "64 hexadecimal digits"),
        ("another file", handler(json!({"sha256": zeros})), "sha256", "the configuration pins 0000"),
    ];
    for (case, other, path, words) in cases {
        let daemon = prepared(&plugins, &[other]);
        let told = assert_refused(&daemon, case, 1);
        assert!(told[0].starts_with(&format!("{HANDLER}.{path}: ")), "{case}: {told:?}");
        assert!(told[0].contains(words), "{case}: {told:?}");
        assert_untouched(&daemon, &plugins, case);
    }
}

#[test]
fn text_that_is_not_json_is_refused_with_line_and_column() {
    let plugins = Plugins::recorders(&["good"]);
    let daemon = prepared(&plugins, &[]);
    let text = std::fs::read_to_string(daemon.config_file()).expect("there");
    let at = text.find("\"event_handlers\": {").expect("the key");
    let line = text[..at].lines().count().max(1);
    std::fs::write(daemon.config_file(), text.replacen("\"event_handlers\": {", "\"event_handlers\" {", 1))
        .expect("written");
    let told = assert_refused(&daemon, "not JSON", 1);
    assert!(told[0].starts_with(&format!("line {line}, column ")), "{told:?}");
    assert_untouched(&daemon, &plugins, "not JSON");
}

#[test]
fn two_errors_are_both_told_whatever_finds_them() {
    let plugins = Plugins::recorders(&["good", "other"]);
    let of_shape = [json!({"name": "other", "retries": "many", "priority": 1000})];
    let of_plugins = [json!({"name": "nobody"}), json!({"name": "other", "config": {"file": "/x", "count": 0}})];
    for (others, paths) in [
        (&of_shape[..], ["plugins[1].priority: ", "plugins[1].retries: "]),
        (&of_plugins, ["plugins[1].name: ", "plugins[2].config: "]),
    ] {
        let daemon = prepared(&plugins, others);
        let told = assert_refused(&daemon, "two errors", 2);
        for (one, path) in told.iter().zip(paths) {
            assert!(one.contains(path), "{told:?}");
        }
        assert_untouched(&daemon, &plugins, "two errors");
    }
}

#[test]
fn an_error_in_a_further_file_names_that_file() {
    let plugins = Plugins::recorders(&["good"]);
    let further = json!({"event_handlers": {"cloud.spot.interrupt": {"polling_interval_seconds": 0}}});
    let daemon = plugins.daemon(json!({})).conf_d("50-often.json", further).prepare().expect("prepared");
    let output = snoozed(&["--config", &daemon.config_file().display().to_string()], &[]);
    let expected = format!(
        "snoozed: {}: event_handlers[\"cloud.spot.interrupt\"].polling_interval_seconds: found the number 0",
        daemon.root().join("conf.d/50-often.json").display()
    );
    assert_eq!(output.code, Some(78));
    assert!(output.stderr.starts_with(&expected), "{output:?}");
    assert_untouched(&daemon, &plugins, "conf.d");
}

#[test]
fn a_plugin_that_refuses_at_the_last_moment_takes_all_others_down_again() {
    let plugins = Plugins::recorders(&["good", "other"]);
    let mut config = plugins.config("other");
    config["refuse"] = "the moon is full".into();
    let daemon = prepared(&plugins, &[json!({"name": "other", "config": config})]);
    let output = snoozed(&["--config", &daemon.config_file().display().to_string()], &[]);
    assert_eq!(output.code, Some(78), "{output:?}");
    let told: Vec<&str> = output.stderr.lines().filter(|line| line.contains(": found ")).collect();
    assert_eq!(told.len(), 1, "{output:?}");
    let begin = format!("snoozed: {}: {HANDLER}.name: ", daemon.config_file().display());
    assert!(told[0].starts_with(&begin) && told[0].contains("create failed: the moon is full"), "{told:?}");
    let made = plugins.journal().story();
    assert_eq!(made, ["good create", "good activate", "other create", "good deactivate", "good destroy"]);
    assert!(!daemon.socket().exists(), "there is a socket");
    let left: Vec<_> = daemon.root().join("state").read_dir().expect("there").collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

fn seed() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/config/seed.json");
    file.canonicalize().expect("the file").display().to_string()
}

/// Whether the plugins of the first configuration lie beside the programs.
fn has_seed_plugins() -> bool {
    let missing = ["mysql-flusher", "app-checkpointer", "slack-notifier"]
        .into_iter()
        .find_map(|name| paths::plugin(&bin_dir(), name).err());
    missing.is_none_or(|why| !require::missing_means_skip(&format!("the first configuration: {why}")))
}

fn snooze(args: &[&str]) -> program::Output {
    let mut command = Command::new(paths::program(&bin_dir(), "snooze").expect("it is built"));
    program::run(command.args(args), PATIENCE).expect("snooze ends")
}

#[test]
fn the_configuration_that_cloudsnooze_began_with_is_accepted_as_it_is() {
    if !has_seed_plugins() {
        return;
    }
    let output = snooze(&["config", "check", &seed()]);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stdout.contains("3 handlers in 1 event type"), "{output:?}");
    assert!(!output.stdout.contains("warning"), "{output:?}");
}

#[test]
fn its_plan_has_its_handlers_in_order_with_the_budgets_of_the_dispatcher() {
    if !has_seed_plugins() {
        return;
    }
    let seed = seed();
    let args = ["plan", "cloud.spot.interrupt", "--config", &seed, "--left", "120s", "--left", "20s"];
    let output = snooze(&[&args[..], &["--json"]].concat());
    let plan: Value = serde_json::from_str(&output.success("snooze plan").expect("a plan")).expect("JSON");
    let column = |key: &str| -> Vec<Value> {
        plan["handlers"].as_array().expect("handlers").iter().map(|handler| handler[key].clone()).collect()
    };
    assert_eq!(column("handler"), ["mysql-flusher", "app-checkpointer", "slack-notifier"]);
    assert_eq!(column("priority"), [100, 80, 10]);
    // The first two say how long they may take; the third leaves it to the plugin, which asks for ten seconds.
    assert_eq!(column("timeout_seconds"), [30.0, 45.0, 10.0]);
    // Critical data and checkpoints want five seconds at least, notifications two.
    assert_eq!(column("minimum_seconds"), [5.0, 5.0, 2.0]);
    let second = 1_000_000_000;
    let want = |timeout: i64, minimum: i64| Want { timeout_ns: timeout * second, minimum_ns: minimum * second };
    let wants = [want(30, 5), want(45, 5), want(10, 2)];
    for (budget, left) in plan["budgets"].as_array().expect("budgets").iter().zip([120, 20]) {
        // One second stays free at the end.
        let expected = budget::split((left - 1) * second, &wants);
        let granted =
            budget["granted_seconds"].as_array().expect("a list").iter().map(|s| s.as_f64().expect("seconds"));
        let granted_ns: Vec<i64> = granted.map(|seconds| (seconds * 1e9).round() as i64).collect();
        assert_eq!(granted_ns, expected, "{budget}");
        assert_eq!(budget["left_seconds"].as_f64(), Some(left as f64));
    }
    assert_eq!(plan["budgets"].as_array().map(Vec::len), Some(2));
    let screen = snooze(&args).success("snooze plan").expect("a plan");
    let places = ["mysql-flusher", "app-checkpointer", "slack-notifier"].map(|name| screen.find(name));
    assert!(places.is_sorted() && places[0].is_some(), "{screen}");
    assert!(screen.contains("AT 120 S") && screen.contains("AT 20 S"), "{screen}");
}
