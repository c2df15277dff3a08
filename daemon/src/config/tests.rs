//! Tests of the configuration as a whole: files in, a configuration or messages out.
//! Must never accept a message that only resembles the expected one: operators see these words.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};

use super::merge::Layers;
use super::*;
use crate::event::{Action, EventType};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/config")
}

/// What loading the file says: errors, or else warnings, a line break after each, with the directory left out.
fn told(file: &Path) -> String {
    let told: Vec<String> = match Config::load(file, None) {
        Ok(loaded) => loaded.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect(),
        Err(errors) => errors.iter().map(|error| format!("{error}\n")).collect(),
    };
    told.concat().replace(&format!("{}/", file.parent().unwrap().display()), "")
}

/// Any JSON, with keys that collide often.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1000i64..1000).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z.*/0-9 é]{0,12}".prop_map(Value::from),
        Just(json!("cloud.spot.interrupt")),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any_key(), inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Keys of which many are settings, so that random documents get past the first check.
fn any_key() -> impl Strategy<Value = String> {
    const KNOWN: [&str; 20] = [
        "event_handlers",
        "cloud.spot.interrupt",
        "plugins",
        "name",
        "priority",
        "timeout_seconds",
        "minimum_seconds",
        "enabled",
        "config",
        "sources",
        "aws",
        "endpoint",
        "deadlines",
        "dispatch",
        "threads",
        "control",
        "socket",
        "log",
        "level",
        "sha256",
    ];
    prop_oneof![4 => prop::sample::select(&KNOWN[..]).prop_map(str::to_owned), 1 => "[a-c.]{0,3}"]
}

/// Any JSON object.
pub(super) fn any_object() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(any_key(), any_value(), 0..5)
        .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>()))
}

/// A document of the right shape but for one handler's member, which is anything.
fn nearly_right() -> impl Strategy<Value = Value> {
    (any_key(), any_value()).prop_map(|(key, value)| {
        let mut handler = json!({"name": "a"});
        handler[key] = value;
        json!({"event_handlers": {"cloud.spot.interrupt": {"plugins": [handler]}}})
    })
}

fn decode_one(document: Value) -> Result<Loaded, Vec<ConfigError>> {
    let mut layers = Layers::new(Path::new("f"));
    layers.add(Path::new("f"), document);
    load::decode(layers, Vec::new())
}

proptest! {
    #[test]
    fn no_document_makes_loading_panic(document in prop_oneof![any_object(), nearly_right()]) {
        match decode_one(document) {
            Ok(loaded) => prop_assert_eq!(loaded.files().len(), 1),
            Err(errors) => prop_assert!(!errors.is_empty() && errors.iter().all(|error| error.to_string().contains("found"))),
        }
    }

    #[test]
    fn what_has_the_right_shape_can_be_decoded(document in prop_oneof![any_object(), nearly_right()]) {
        if shape::findings(&document, &json_schema()).is_empty() {
            let decoded = serde_json::from_value::<Config>(document.clone());
            prop_assert!(decoded.is_ok(), "{document}: {:?}", decoded.err());
        }
    }

    #[test]
    fn a_decoded_configuration_survives_being_written_and_read_again(document in any_object()) {
        if let Ok(config) = serde_json::from_value::<Config>(document) {
            let again = serde_json::to_value(&config).unwrap();
            prop_assert_eq!(serde_json::from_value::<Config>(again).unwrap(), config);
        }
    }

    #[test]
    fn no_bytes_make_parsing_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), text in "[{}\\[\\]\",:a-c0-9é\\\\/ \n]{0,40}") {
        let all = [bytes.as_slice(), text.as_bytes()];
        for bytes in all {
            if let Err(errors) = parse::parse(Path::new("f"), bytes) {
                prop_assert!(errors.iter().all(|error| error.to_string().starts_with("f: ")));
            }
        }
    }
}

#[test]
fn the_committed_schema_is_that_of_the_types() {
    assert!(
        json_schema() == super::generated_json_schema(),
        "run `make generate`: the settings have changed, their schema has not"
    );
}

#[test]
fn the_defaults_have_the_right_shape_and_make_sense() {
    let document = serde_json::to_value(Config::default()).unwrap();
    assert_eq!(shape::findings(&document, &json_schema()), Vec::new());
    let loaded = decode_one(document).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(decode_one(json!({})).unwrap().config, Config::default());
}

#[test]
fn the_first_published_configuration_loads_as_it_is() {
    let file = fixtures().join("seed.json");
    let loaded = Config::load(&file, None).unwrap();
    assert_eq!(loaded.warnings, Vec::new());
    assert_eq!(loaded.files(), [file]);
    let handlers = &loaded.config.event_handlers["cloud.spot.interrupt"];
    assert!(handlers.enabled);
    assert_eq!(handlers.polling_interval_seconds, Some(5.0));
    let seen: Vec<_> = handlers.plugins.iter().map(|h| (h.name.as_str(), h.priority, h.timeout_seconds)).collect();
    let expected = [
        ("mysql-flusher", Some(100), Some(30.0)),
        ("app-checkpointer", Some(80), Some(45.0)),
        ("slack-notifier", Some(10), None),
    ];
    assert_eq!(seen, expected);
    assert_eq!(handlers.plugins[1].config["verify_success"], json!(true));
    let first = &handlers.plugins[0];
    assert_eq!((first.start, first.enabled, first.retries, first.verify), (Start::InOrder, true, 0, true));
    let shown = format!("{loaded:?}");
    assert!(!shown.contains("user:pass") && !shown.contains("hooks.slack.com"), "{shown}");
    let mut document: Value = serde_json::from_str(&fs::read_to_string(&loaded.files()[0]).unwrap()).unwrap();
    let redacted = redacted_config(&document);
    let plugins = &mut document["event_handlers"]["cloud.spot.interrupt"]["plugins"];
    plugins[0]["config"]["connection_string"] = json!(REDACTED);
    plugins[2]["config"]["webhook_url"] = json!(REDACTED);
    assert_eq!(redacted, document);
}

#[test]
fn every_bad_or_doubtful_configuration_is_met_with_the_expected_words() {
    let names = ["bad", "doubtful"].map(|name| fs::read_dir(fixtures().join(name)).unwrap());
    let mut files: Vec<PathBuf> = names.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    assert!(files.len() >= 50, "only {} fixtures", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let (told, expected) = (told(&file), fs::read_to_string(file.with_extension("expected")).unwrap_or_default());
        if told != expected || told.is_empty() {
            wrong.push(format!("--- {}\n{told}--- but expected\n{expected}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_that_cannot_be_read_are_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let big = format!("{{\"$schema\": \"{}\"}}", "x".repeat(1024 * 1024));
    for (path, expected) in [
        (
            directory.path().join("none"),
            "none: found no such file, expected a configuration file. Create it, or name another.\n",
        ),
        (
            file("big", big.as_bytes()),
            "big: found a file of more than 1 MiB, expected at most 1 MiB. Is this the right file?\n",
        ),
        (
            file("bom", b"\xEF\xBB\xBF{}"),
            "bom: found a byte order mark, expected plain UTF-8. Save the file as UTF-8 without BOM.\n",
        ),
        (
            file("latin1", b"{\"log\":\n\"\xe9\"}"),
            "latin1: line 2: found bytes that are not UTF-8, expected UTF-8 text. Save the file as UTF-8.\n",
        ),
    ] {
        assert_eq!(told(&path), expected);
    }
    let told = Config::load(directory.path(), None).unwrap_err()[0].to_string();
    assert!(told.ends_with("found a directory, expected a configuration file."), "{told}");
    let pipe = Config::load(Path::new("/dev/null"), None).unwrap_err()[0].to_string();
    assert!(pipe.contains("found something that is no regular file"), "{pipe}");
}

#[test]
fn further_files_count_in_the_order_of_their_names_and_errors_name_the_right_one() {
    let directory = tempfile::tempdir().unwrap();
    let (main, conf_d) = (directory.path().join("main.json"), directory.path().join("conf.d"));
    fs::create_dir(&conf_d).unwrap();
    fs::write(&main, r#"{"log": {"level": "debug"}, "dispatch": {"threads": 2, "rt_priority": 5}}"#).unwrap();
    fs::write(conf_d.join("20.json"), r#"{"log": {"level": "error"}}"#).unwrap();
    fs::write(conf_d.join("10.json"), r#"{"log": {"level": "trace", "format": "json"}, "dispatch": {"threads": 3}}"#)
        .unwrap();
    fs::write(conf_d.join("30.json.bak"), "not JSON").unwrap();
    fs::write(conf_d.join(".40.json"), "not JSON").unwrap();
    let loaded = Config::load(&main, Some(&conf_d)).unwrap();
    assert_eq!(loaded.config.log, Log { level: LogLevel::Error, format: LogFormat::Json });
    assert_eq!((loaded.config.dispatch.threads, loaded.config.dispatch.rt_priority), (Some(3), 5));
    assert_eq!(loaded.files(), [main.clone(), conf_d.join("10.json"), conf_d.join("20.json")]);
    assert_eq!(loaded.error(&JsonPath::default().key("log").key("format"), "a", "b", "").file, conf_d.join("10.json"));

    fs::write(conf_d.join("50.json"), r#"{"log": {"level": "loud"}}"#).unwrap();
    fs::write(conf_d.join("60.json"), "{").unwrap();
    fs::write(&main, r#"{"dispatch": {"rt_priority": 50}}"#).unwrap();
    let errors = Config::load(&main, Some(&conf_d)).unwrap_err();
    let places: Vec<_> = errors.iter().map(|error| (error.file.clone(), error.path.as_str())).collect();
    let expected = [
        (conf_d.join("60.json"), "line 1, column 1"),
        (main.clone(), "dispatch.rt_priority"),
        (conf_d.join("50.json"), "log.level"),
    ];
    assert_eq!(places, expected);

    fs::write(&main, "{}").unwrap();
    assert!(Config::load(&main, Some(&directory.path().join("none"))).is_ok());
    assert!(Config::load(&main, Some(&main)).unwrap_err()[0].found.starts_with("a directory that cannot be read"));
}

#[test]
fn secrets_show_nowhere_when_a_configuration_is_wrong() {
    let secret = "hunter2";
    for document in [
        json!({"event_handlers": {"a": {"plugins": [{"name": "p", "config": secret}]}}}),
        json!({"event_handlers": {"a": {"plugins": [{"name": "p", "config": [secret]}]}}}),
        json!({"event_handlers": {"a": {"plugins": [{"name": "p", "confg": {"password": secret}}]}}}),
        json!({"sources": {"aws": {"endpoint": format!("http://user:{secret}@host")}}}),
        json!({"event_handlers": {"a": {"plugins": [{"name": "p", "priority": 1000, "config": {"x": secret}}]}}}),
    ] {
        let errors = decode_one(document.clone()).unwrap_err();
        let shown: String = errors.iter().map(|error| format!("{error} {error:?}")).collect();
        assert!(!shown.contains(secret), "{document}: {shown}");
    }
}

#[test]
fn a_reference_that_leads_nowhere_is_an_error_of_its_file_and_place() {
    let directory = tempfile::tempdir().unwrap();
    let main = directory.path().join("main.json");
    let config =
        json!({"event_handlers": {"*": {"plugins": [{"name": "p", "config": {"dsn": {"credential": "db"}}}]}}});
    fs::write(&main, config.to_string()).unwrap();
    let loaded = Config::load(&main, None).unwrap();
    let mut sources = SecretSources::system();
    sources.credentials_directory = None;
    sources.fallback_directory = directory.path().to_owned();
    let error = loaded.resolve("*", 0, &sources).unwrap_err().remove(0);
    assert_eq!(
        (error.file.as_path(), error.path.as_str()),
        (main.as_path(), r#"event_handlers["*"].plugins[0].config.dsn"#)
    );
    let expected = format!(
        "credential \"db\" that gives no secret ({}/db does not exist, and systemd has passed no credential of this name)",
        directory.path().display()
    );
    assert_eq!(error.found, expected);
    fs::write(directory.path().join("db"), "hunter2\n").unwrap();
    let (resolved, secrets) = loaded.resolve("*", 0, &sources).unwrap();
    assert_eq!((resolved, secrets.len()), (json!({"dsn": "hunter2"}), 1));
}

#[test]
fn the_most_specific_deadline_counts_and_given_ones_before_built_in_ones() {
    let seconds = |config: &Config, event: &EventType| config.assumed_seconds(event, Action::Terminate);
    let built_in = Config::default();
    assert_eq!(seconds(&built_in, &EventType::SPOT_INTERRUPT), 120.0);
    assert_eq!(seconds(&built_in, &EventType::SPOT_REBALANCE), 600.0);
    assert_eq!(seconds(&built_in, &EventType::MAINTENANCE_STOP), 300.0);
    assert_eq!(built_in.assumed_seconds(&EventType::SPOT_INTERRUPT, Action::Hibernate), 10.0);
    let given = json!({"deadlines": {"cloud.*": 60, "cloud.spot.interrupt": 90, "immediate": 5}});
    let config = decode_one(given).unwrap().config;
    assert_eq!(seconds(&config, &EventType::SPOT_INTERRUPT), 90.0);
    assert_eq!(seconds(&config, &EventType::SPOT_REBALANCE), 60.0);
    assert_eq!(seconds(&config, &EventType::SYSTEM_SHUTDOWN), 300.0);
    assert_eq!(config.assumed_seconds(&EventType::SPOT_INTERRUPT, Action::Hibernate), 5.0);
}

#[test]
fn the_polling_interval_is_that_of_the_most_specific_enabled_key() {
    let handlers = json!({
        "*": {"polling_interval_seconds": 9}, "cloud.spot.*": {"polling_interval_seconds": 2},
        "cloud.spot.interrupt": {"enabled": false, "polling_interval_seconds": 1}, "cloud.spot.rebalance": {}
    });
    let config = decode_one(json!({"event_handlers": handlers})).unwrap().config;
    assert_eq!(config.polling_interval_seconds(&EventType::SPOT_INTERRUPT), Some(2.0));
    assert_eq!(config.polling_interval_seconds(&EventType::SPOT_REBALANCE), Some(2.0));
    assert_eq!(config.polling_interval_seconds(&EventType::SYSTEM_SHUTDOWN), Some(9.0));
    assert_eq!(Config::default().polling_interval_seconds(&EventType::SYSTEM_SHUTDOWN), None);
}
