//! The guides: the plugin developer's paths run as they are pasted, and every configuration in them loads.

use e2e::documents::{self, repository};
use e2e::script;
use harness::{paths, program, require};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A path compiles, and has every test of `snooze plugin verify` in a process of its own; generous, as machines are busy.
const PATH_LIMIT: Duration = Duration::from_secs(400);
const CHECK_LIMIT: Duration = Duration::from_secs(60);

fn document(name: &str) -> String {
    fs::read_to_string(repository().join("docs").join(name)).expect("the document")
}

/// What stands in the blocks of this path, in order.
fn path(name: &str) -> String {
    let blocks = documents::blocks("docs/plugins/guide.md", &document("plugins/guide.md"));
    blocks.iter().filter(|block| block.word("path") == Some(name)).map(|block| &*block.text).collect()
}

/// What stands in the blocks of JSON, in order.
fn configurations(text: &str) -> impl Iterator<Item = String> {
    documents::blocks("", text).into_iter().filter(|block| block.language == "json").map(|block| block.text)
}

fn run(script: &str, directory: &Path) -> Result<String, String> {
    // As its first block says where there is a source tree.
    let tree = "export EXAMPLES=$CLOUDSNOOZE_SRC/c-examples INCLUDE=$CLOUDSNOOZE_SRC/include\n";
    script::run(&format!("{tree}{script}"), directory, &[], PATH_LIMIT)
}

/// Runs a path of the guide in order and gives what it wrote; None, loudly, on a machine that lacks what it takes.
fn walk(name: &str, needed: &[&str], directory: &Path) -> Option<String> {
    if let Some(missing) = needed.iter().find(|program| program::find(program).is_none()) {
        require::missing_means_skip(&format!("the guide's path of {name}: there is no {missing}"));
        return None;
    }
    let steps = path(name);
    assert!(!steps.is_empty(), "the guide has no path of {name}");
    Some(run(&steps, directory).unwrap_or_else(|error| panic!("the path of {name}: {error}")))
}

/// A place that the daemon trusts, with room beside it for what a path writes.
fn place() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::Builder::new().prefix("snz-guide-").tempdir().expect("a directory");
    let directory = parent.path().join("ten-minutes");
    fs::create_dir(&directory).expect("a directory");
    (parent, directory)
}

#[test]
fn the_path_of_c_works_as_pasted() {
    let (_parent, directory) = place();
    let Some(told) = walk("c", &["bash", "cc", "make", "patch", "dpkg-deb"], &directory) else { return };
    for expected in ["Fit: ", "my-flusher: handled in", "durable  yes", "1 of 1 handled and verified", "/my-flusher.so"]
    {
        assert!(told.contains(expected), "{expected} is not in {told}");
    }
}

#[test]
fn the_path_of_cpp_works_as_pasted() {
    let (_parent, directory) = place();
    let Some(told) = walk("cpp", &["bash", "g++", "make", "sha256sum"], &directory) else { return };
    assert!(told.contains("Fit: ") && told.contains("1 of 1 handled and verified"), "{told}");
    let lines = fs::read_to_string(directory.join("events.jsonl")).expect("the plugin's file");
    let last: Value = serde_json::from_str(lines.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["type"], "cloud.spot.interrupt");
}

#[test]
fn the_path_of_python_works_as_pasted() {
    let (_parent, directory) = place();
    let Some(told) = walk("python", &["bash", "python3"], &directory) else { return };
    for expected in ["=== handled and verified", "stop intake", "accept again"] {
        assert!(told.contains(expected), "{expected} is not in {told}");
    }
    assert_eq!(told.matches("1 of 1 handled and verified").count(), 3, "the event, the drill, its withdrawal: {told}");
}

#[test]
fn a_path_whose_plugin_does_nothing_is_found_out() {
    let (_parent, directory) = place();
    let steps = path("python");
    let idle = steps.replace("with open(self.flag, \"w\") as file:", "with open(os.devnull, \"w\") as file:");
    assert_ne!(idle, steps, "the place where the plugin does its work");
    if program::find("python3").is_none() {
        require::missing_means_skip("a path whose plugin does nothing: there is no python3");
        return;
    }
    let refused = run(&idle, &directory).expect_err("it cannot be verified");
    assert!(!refused.contains("=== handled and verified"), "{refused}");
}

/// The documents whose configurations are whole.
fn guides() -> Vec<(String, String)> {
    let recipes = fs::read_dir(repository().join("docs/recipes")).expect("the recipes");
    let mut names: Vec<String> = recipes
        .map(|entry| format!("recipes/{}", entry.expect("a recipe").file_name().to_string_lossy()))
        .filter(|name| name.ends_with(".md"))
        .collect();
    names.push("shutdown-practice.md".to_owned());
    names.sort();
    names.into_iter().map(|name| (name.clone(), document(&name))).collect()
}

/// Names below this value under the key `wanted`.
fn named(value: &Value, wanted: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                match member {
                    Value::String(text) if key == wanted => found.push(text.clone()),
                    other => named(other, wanted, found),
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|member| named(member, wanted, found)),
        _ => {}
    }
}

/// Plugins that the configuration names.
fn plugins(config: &Value) -> Vec<String> {
    let keys = config["event_handlers"].as_object().expect("event_handlers");
    let handlers = keys.values().flat_map(|key| key["plugins"].as_array().into_iter().flatten());
    handlers.map(|handler| handler["name"].as_str().expect("a name").to_owned()).collect()
}

/// What `snooze config check` says of it. Secrets that it names are there.
fn check(mut config: Value) -> program::Output {
    let place = tempfile::tempdir().expect("a directory");
    let bin = paths::bin_dir().expect("built programs");
    config["plugin_directories"] = json!([bin]);
    config["state_directory"] = json!(place.path().join("state"));
    let mut credentials = Vec::new();
    named(&config, "credential", &mut credentials);
    for name in credentials {
        let secret = match name.as_str() {
            "mysql" => "snooze:secret@unix(/run/mysqld/mysqld.sock)/",
            _ => "https://hooks.example.com/x",
        };
        fs::write(place.path().join(name), secret).expect("a secret");
    }
    let file = place.path().join("cloudsnooze.json");
    fs::write(&file, config.to_string()).expect("written");
    let mut command = Command::new(paths::program(&bin, "snooze").expect("it is built"));
    command.args(["config", "check"]).arg(&file).env("CREDENTIALS_DIRECTORY", place.path());
    program::run(&mut command, CHECK_LIMIT).expect("it ends")
}

#[test]
fn every_configuration_of_the_guides_loads() {
    let bin = paths::bin_dir().expect("built programs");
    let mut whole = 0;
    for (name, text) in guides() {
        for (number, block) in configurations(&text).enumerate() {
            let config: Value =
                serde_json::from_str(&block).unwrap_or_else(|error| panic!("{name}, block {number}: {error}\n{block}"));
            assert!(config["event_handlers"].is_object(), "{name}, block {number} is no whole configuration");
            whole += 1;
            let absent: Vec<_> = plugins(&config).into_iter().filter(|p| paths::plugin(&bin, p).is_err()).collect();
            if !absent.is_empty() {
                require::missing_means_skip(&format!("{name}, block {number}: not built: {}", absent.join(", ")));
                continue;
            }
            let told = check(config);
            assert_eq!(told.code, Some(0), "{name}, block {number}: {told:#?}");
        }
    }
    assert!(whole >= 5, "{whole} configurations in the guides");
}

#[test]
fn a_mistake_in_a_configuration_of_the_guides_would_be_found() {
    if paths::plugin(&paths::bin_dir().expect("built programs"), "exec").is_err() {
        require::missing_means_skip("a mistake in a configuration: exec is not built");
        return;
    }
    let with =
        |config: Value| json!({"event_handlers": {"cloud.spot.*": {"plugins": [{"name": "exec", "config": config}]}}});
    assert_eq!(check(with(json!({"argv": ["true"]}))).code, Some(0));
    assert_ne!(check(with(json!({"arg": ["true"]}))).code, Some(0));
}

#[test]
fn what_the_index_of_the_documents_names_is_there() {
    let index = document("SUMMARY.md");
    let targets: Vec<&str> = index.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(targets.len() > 10, "{targets:?}");
    // A heading without a document of its own has no target.
    let named = targets.iter().filter(|target| !target.is_empty());
    let lost: Vec<_> = named.filter(|target| !repository().join("docs").join(target).is_file()).collect();
    assert!(lost.is_empty(), "{lost:?}");
}
