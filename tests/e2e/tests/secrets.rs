//! Passwords that plugins know and tell wherever they can: shown nowhere, written nowhere.

use cloudsnooze::config::REDACTED;
use e2e::simple::leaks::Secrets;
use e2e::simple::socket::ask;
use e2e::simple::{PATIENCE, Plugins, bin_dir, finished, simulate, snoozed};
use harness::daemon::Daemon;
use harness::{paths, program, wait};
use serde_json::{Value, json};
use std::process::Command;
use std::sync::{Arc, Mutex};

const CREDENTIAL: &str = "credentialAlpha71";
const ENVIRONMENT: &str = "environmentBravo72";
const FILE: &str = "fileCharlie\"73\\";
const DSN_PASSWORD: &str = "dsnDelta74";
const WEBHOOK_TOKEN: &str = "T0000/B0000/webhookEcho75";

/// As JSON writes them, too, because that is how a plugin that tells its whole configuration tells them.
fn secrets() -> Secrets {
    let escaped = json!(FILE).to_string();
    Secrets::new(&[CREDENTIAL, ENVIRONMENT, FILE, escaped.trim_matches('"'), DSN_PASSWORD, WEBHOOK_TOKEN])
}

/// The settings of a plugin that knows all of them: three by reference, two written down as in the first configuration.
fn knowing(plugins: &Plugins, journal: &str) -> Value {
    std::fs::write(plugins.file("db"), format!("{CREDENTIAL}\n")).expect("written");
    std::fs::write(plugins.file("secret"), FILE).expect("written");
    json!({
        "journal": plugins.file(journal),
        "from_credential": {"credential": "db"},
        "from_env": {"env": "SNZ_TEST_SECRET"},
        "from_file": {"file": plugins.file("secret")},
        "connection_string": format!("user:{DSN_PASSWORD}@tcp(localhost:3306)/db"),
        "webhook_url": format!("https://hooks.slack.com/services/{WEBHOOK_TOKEN}"),
    })
}

fn environment(plugins: &Plugins) -> [(String, String); 2] {
    let directory = plugins.directory().display().to_string();
    [("CREDENTIALS_DIRECTORY".to_owned(), directory), ("SNZ_TEST_SECRET".to_owned(), ENVIRONMENT.to_owned())]
}

/// `talker` in this process, and `outside` in its own where there is Python.
fn talking(plugins: &Plugins) -> Value {
    let mut handlers = vec![json!({"name": "talker", "config": knowing(plugins, "talker.journal")})];
    if plugins.outside().is_some() {
        handlers.push(json!({"name": "outside", "priority": 10, "config": knowing(plugins, "outside.journal")}));
    }
    json!({
        "event_handlers": {"custom.*": {"plugins": handlers}},
        "log": {"level": "trace", "format": "text"},
    })
}

fn start(plugins: &Plugins) -> Daemon {
    let [credentials, secret] = environment(plugins);
    let builder = plugins.daemon(talking(plugins)).env(&credentials.0, &credentials.1).env(&secret.0, &secret.1);
    builder.start().expect("it starts")
}

/// What the plugins wrote by themselves holds all secrets: they had them to tell.
fn assert_told(plugins: &Plugins, has_outside: bool) {
    let journals = if has_outside { &["talker.journal", "outside.journal"][..] } else { &["talker.journal"] };
    for journal in journals {
        let text = std::fs::read_to_string(plugins.file(journal)).expect("a journal");
        let escaped = json!(FILE).to_string();
        let known = [CREDENTIAL, ENVIRONMENT, escaped.trim_matches('"'), DSN_PASSWORD, WEBHOOK_TOKEN];
        Secrets::new(&known).assert_known(journal, &text);
    }
}

#[test]
fn a_secret_shows_nowhere_whatever_a_plugin_does_with_it() {
    let plugins = Plugins::empty();
    plugins.build("talker", "talker");
    let mut daemon = start(&plugins);
    let has_outside = plugins.file("outside.plugin.json").exists();
    let lines: Arc<Mutex<Vec<Value>>> = Arc::default();
    let watched = Arc::clone(&lines);
    let watch = daemon.watch(move |line| watched.lock().expect("no panic").push(line)).expect("it watches");
    // The first lines show that the watcher is connected.
    let connected = wait::until("the watcher", PATIENCE, || {
        finished(&daemon, &simulate(&daemon, "custom.speaks", &[]));
        (!lines.lock().expect("no panic").is_empty()).then_some(())
    });
    connected.expect("it is connected");
    let ids = ["custom.speaks", "custom.fails"].map(|kind| simulate(&daemon, kind, &[]));
    let reports = ids.each_ref().map(|id| finished(&daemon, id));
    assert_eq!(reports[1]["handlers"][0]["status"], "failed", "{:#}", reports[1]);
    assert_told(&plugins, has_outside);
    let secrets = secrets();
    let completed = |line: &Value| line["kind"] == "completed" && line["event_id"] == ids[1].as_str();
    let all_seen = || lines.lock().expect("no panic").iter().any(completed).then_some(());
    wait::until("the end of the stream", PATIENCE, all_seen).expect("it is told");
    drop(watch);
    let stream = lines.lock().expect("no panic").iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    let mut places = vec![("watch".to_owned(), stream)];
    let file = daemon.config_file().display().to_string();
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["events"],
        &["events", "--json"],
        &["report", &ids[0]],
        &["report", &ids[0], "--json"],
        &["report", &ids[1]],
        &["report", &ids[1], "--json"],
        &["plan", "custom.speaks", "--json"],
        &["reload"],
        &["simulate", "custom.fails", "--wait"],
        &["simulate", "custom.fails", "--wait", "--json"],
        &["--config", &file, "doctor"],
    ] {
        let output = daemon.snooze(args).expect("it runs");
        places.push((format!("{args:?}"), output.stdout + &output.stderr));
    }
    for path in ["/metrics", "/v1/status", "/v1/events", "/v1/reports/last"] {
        places.push((path.to_owned(), ask(&daemon.socket(), "GET", path, "").1));
    }
    places.push(("the log of the running daemon".to_owned(), daemon.log()));
    assert_eq!(daemon.stop().expect("it stops").code(), Some(0));
    places.push(("the log".to_owned(), daemon.log()));
    for (place, text) in &places {
        assert!(!text.is_empty(), "{place}");
        secrets.assert_absent(place, text);
    }
    // What was taken out is seen to be taken out: the plugins did speak.
    for place in ["watch", "the log", &format!("{:?}", ["report", &ids[1]])] {
        let text = &places.iter().find(|(name, _)| name == place).expect("it was looked at").1;
        assert!(text.contains(REDACTED), "{place}: {text}");
    }
    assert!(secrets.assert_absent_below(&daemon.root().join("state")) >= 1);
    let stdout = std::fs::read_to_string(daemon.root().join("snoozed.stdout")).expect("there");
    secrets.assert_absent("standard output", &stdout);
}

#[test]
fn a_crash_leaves_no_secret_on_the_disk() {
    let plugins = Plugins::empty();
    plugins.build("talker", "talker");
    let mut daemon = start(&plugins);
    finished(&daemon, &simulate(&daemon, "custom.fails", &[]));
    daemon.kill9();
    // The write-ahead log of the history is among them.
    assert!(secrets().assert_absent_below(&daemon.root().join("state")) >= 2);
}

#[test]
fn a_plugin_that_refuses_shows_no_secret_in_its_reason() {
    let plugins = Plugins::empty();
    plugins.build("talker", "talker");
    let environment = environment(&plugins);
    let environment = environment.each_ref().map(|(name, value)| (&name[..], &value[..]));
    for refuse in ["create", "activate"] {
        let mut config = knowing(&plugins, "talker.journal");
        config["refuse"] = refuse.into();
        std::fs::write(plugins.file("settings.json"), config.to_string()).expect("written");
        let handlers = json!({"custom.x": {"plugins": [{"name": "talker", "config": config}]}});
        let all = json!({"event_handlers": handlers, "log": {"level": "trace"}});
        let daemon = plugins.daemon(all).prepare().expect("prepared");
        let file = daemon.config_file().display().to_string();
        let refused = snoozed(&["--config", &file], &environment);
        assert_eq!(refused.code, Some(78), "{refused:?}");
        assert!(refused.stderr.contains(&format!("{refuse} failed: {refuse} with {REDACTED}")), "{refused:?}");
        let library = plugins.file("talker.so").display().to_string();
        let settings = plugins.file("settings.json").display().to_string();
        for args in [
            &["config", "check", &file][..],
            &["config", "check", &file, "--json"],
            &["plugin", "load-test", &library, "--config-file", &settings],
            &["plugin", "load-test", &library, "--config-file", &settings, "--json"],
            &["plan", "custom.x", "--config", &file],
            &["--config", &file, "doctor"],
        ] {
            let mut command = Command::new(paths::program(&bin_dir(), "snooze").expect("it is built"));
            let output = program::run(command.args(args).envs(environment), PATIENCE).expect("it runs");
            secrets().assert_absent(&format!("{args:?}"), &(output.stdout + &output.stderr));
        }
        secrets().assert_absent("the daemon", &(refused.stdout + &refused.stderr));
        assert_told(&plugins, false);
    }
}

#[test]
fn a_setting_that_fails_the_schema_is_told_without_its_value() {
    let plugins = Plugins::recorders(&["first"]);
    let secret = "schemaFoxtrot76";
    let mut config = plugins.config("first");
    config["count"] = json!(secret);
    config["say"] = json!({"token": secret});
    config["password"] = json!(secret);
    let handlers = json!({"custom.x": {"plugins": [{"name": "first", "config": config}]}});
    let daemon = plugins.daemon(json!({"event_handlers": handlers})).prepare().expect("prepared");
    let file = daemon.config_file().display().to_string();
    let refused = snoozed(&["--config", &file], &[]);
    assert_eq!(refused.code, Some(78), "{refused:?}");
    for words in ["config.count: found a string", "config.say: found an object", "unknown key 'password'"] {
        assert!(refused.stderr.contains(words), "{words}: {refused:?}");
    }
    let check = daemon.snooze(&["config", "check", &file]).expect("it runs");
    Secrets::new(&[secret]).assert_absent("the messages", &format!("{refused:?}{check:?}"));
}

#[test]
fn a_line_that_is_cut_in_the_middle_of_a_secret_does_not_show_its_beginning() {
    let plugins = Plugins::empty();
    plugins.build("talker", "talker");
    let mut config = knowing(&plugins, "talker.journal");
    // A log line holds 480 bytes: the cut comes after `user:dsnDelt` of the connection string.
    config["pad"] = json!(format!("{:>468}", "a long line "));
    let handlers = json!({"custom.x": {"plugins": [{"name": "talker", "config": config}]}});
    let [credentials, secret] = environment(&plugins);
    let builder = plugins.daemon(json!({"event_handlers": handlers})).env(&credentials.0, &credentials.1);
    let mut daemon = builder.env(&secret.0, &secret.1).start().expect("it starts");
    assert_eq!(daemon.stop().expect("it stops").code(), Some(0));
    let log = daemon.log();
    assert!(log.contains("a long line"), "{log}");
    Secrets::new(&[&DSN_PASSWORD[..6]]).assert_absent("the log", &log);
}
