//! Plugins that were built long ago still work, as long as this major version of the ABI lives: every exhibit of
//! `tests/abi/museum` is loaded as it is, gets an event, answers what it answered then, and goes. So does one from the future.

use cloudsnooze::host::peek;
use cloudsnooze_abi as abi;
use e2e::zoo::{Zoo, repository};
use harness::daemon::DaemonBuilder;
use harness::{program, require};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// One minor version's room.
struct Room {
    directory: PathBuf,
    manifest: Value,
}

impl Room {
    fn exhibits(&self) -> impl Iterator<Item = Exhibit<'_>> {
        self.manifest["exhibits"].as_array().expect("exhibits").iter().map(|row| Exhibit { room: self, row })
    }
}

/// One library, and what its manifest says of it.
struct Exhibit<'a> {
    room: &'a Room,
    row: &'a Value,
}

impl Exhibit<'_> {
    fn text(&self, key: &str) -> &str {
        self.row[key].as_str().unwrap_or_else(|| panic!("no {key} in {}", self.row))
    }

    fn name(&self) -> &str {
        self.text("name")
    }

    fn event_type(&self) -> String {
        format!("custom.museum.{}", self.name())
    }

    fn library(&self) -> PathBuf {
        self.room.directory.join(format!("{}.so", self.name()))
    }
}

fn rooms() -> Vec<Room> {
    let museum = repository().join("tests/abi/museum");
    let mut directories: Vec<PathBuf> = museum
        .read_dir()
        .expect("the museum")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .collect();
    directories.sort();
    let room = |directory: PathBuf| {
        let text = std::fs::read_to_string(directory.join("manifest.json")).expect("a manifest");
        Room { manifest: serde_json::from_str(&text).expect("JSON"), directory }
    };
    directories.into_iter().map(room).collect()
}

/// True, told loudly, where the exhibits cannot run.
fn is_elsewhere() -> bool {
    let elsewhere = std::env::consts::ARCH != "x86_64";
    if elsewhere {
        require::not_for_this_machine("the museum of old plugins: its exhibits are built for x86_64");
    }
    elsewhere
}

/// A place with a copy of every exhibit: a checkout may be writable for a group, which the host refuses.
fn open(what: &str, rooms: &[Room]) -> Option<Zoo> {
    let zoo = Zoo::open(what, &[])?;
    for exhibit in rooms.iter().flat_map(Room::exhibits) {
        zoo.copy(&exhibit.library(), &format!("{}.so", exhibit.name()));
    }
    Some(zoo)
}

#[test]
fn every_minor_version_has_a_room_and_every_library_in_it_a_row_that_tells_its_abi() {
    let rooms = rooms();
    let numbers: Vec<(u64, u64)> = rooms
        .iter()
        .map(|room| {
            (room.manifest["abi_major"].as_u64().expect("major"), room.manifest["abi_minor"].as_u64().expect("minor"))
        })
        .collect();
    let wanted: Vec<(u64, u64)> =
        (0..=abi::SNOOZE_ABI_MINOR).map(|minor| (abi::SNOOZE_ABI_MAJOR.into(), minor.into())).collect();
    assert_eq!(numbers, wanted);
    for room in &rooms {
        let files = room.directory.read_dir().expect("a room").map(|entry| entry.expect("an entry").path());
        let libraries: BTreeSet<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "so")).collect();
        assert_eq!(libraries, room.exhibits().map(|exhibit| exhibit.library()).collect());
        let minor = usize::try_from(room.manifest["abi_minor"].as_u64().expect("minor")).expect("small");
        let digest = abi::DIGEST_OF_MINOR[minor];
        assert_eq!(
            room.manifest["digest"],
            format!("{digest:#018x}"),
            "the surface of a version that has exhibits has changed"
        );
        if is_elsewhere() {
            continue;
        }
        for exhibit in room.exhibits() {
            let head = peek::peek(&std::fs::read(exhibit.library()).expect("readable")).expect("a plugin");
            assert_eq!((usize::from(head.minor_built), head.digest), (minor, digest), "{}", exhibit.name());
        }
    }
}

#[test]
fn every_exhibit_passes_the_load_test() {
    if is_elsewhere() {
        return;
    }
    let rooms = rooms();
    let Some(zoo) = open("old plugins pass the load test", &rooms) else { return };
    for exhibit in rooms.iter().flat_map(Room::exhibits) {
        let lines = zoo.join("load-test.lines");
        let config = zoo.write("config.json", json!({"file": lines}).to_string().as_bytes());
        let library = zoo.join(&format!("{}.so", exhibit.name()));
        let mut command = Command::new(zoo.bin().join("snooze"));
        command.args(["plugin", "load-test"]).arg(&library).arg("--config-file").arg(config);
        let told = program::run(&mut command, LIMIT).expect("it ends");
        assert_eq!(told.code, Some(0), "{}: {told:?}", exhibit.name());
        let last = std::fs::read_to_string(&lines).expect("notes");
        assert!(last.ends_with(&format!("{} destroyed\n", exhibit.name())), "{last}");
    }
}

/// The handlers of all exhibits, each for a type of its own, pinned to what the manifest says; those that can fail twice.
fn handlers(rooms: &[Room], zoo: &Zoo) -> Map<String, Value> {
    let mut keys = Map::new();
    for exhibit in rooms.iter().flat_map(Room::exhibits) {
        let file = zoo.join(&format!("{}.lines", exhibit.name()));
        let handler = |config: Value| {
            json!({"plugins": [{"name": exhibit.name(), "sha256": exhibit.text("sha256"), "config": config,
                "verify": exhibit.text("verified") == "yes"}]})
        };
        keys.insert(exhibit.event_type(), handler(json!({"file": file})));
        if exhibit.row["fails"].is_string() {
            let config = json!({"file": zoo.join("failing.lines"), "fail": "the tape is torn"});
            keys.insert(format!("{}.fails", exhibit.event_type()), handler(config));
        }
    }
    keys
}

/// What became of the one handler of an event of this type.
fn play(daemon: &harness::daemon::Daemon, event_type: &str) -> Value {
    let args = ["simulate", event_type, "--severity", "urgent", "--in", "60s", "--data", "rows=7", "--json"];
    daemon.snooze_json(&args).expect("an event");
    let report = daemon.report_of(event_type, LIMIT).expect("a completed event");
    assert_eq!(report["handlers"].as_array().map(Vec::len), Some(1), "{report:#}");
    report["handlers"][0].clone()
}

/// What a plugin noted, without its name and without what was different each time.
fn notes(file: &Path, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let note =
        |line: &str| line.strip_prefix(name).and_then(|rest| rest.split_whitespace().next()).unwrap_or(line).to_owned();
    text.lines().map(note).collect()
}

#[test]
fn every_exhibit_does_with_an_event_what_it_did_when_it_was_new() {
    if is_elsewhere() {
        return;
    }
    let rooms = rooms();
    let Some(zoo) = open("old plugins handle events", &rooms) else { return };
    let config = json!({"event_handlers": handlers(&rooms, &zoo)});
    let builder = DaemonBuilder::new(zoo.bin()).config(config).plugin_directory(zoo.path());
    let mut daemon = builder.start().expect("it starts");
    for exhibit in rooms.iter().flat_map(Room::exhibits) {
        let did = play(&daemon, &exhibit.event_type());
        assert_eq!((&did["status"], &did["error"]), (&json!("handled"), &json!(null)), "{}: {did:#}", exhibit.name());
        assert_eq!(
            (&did["verified"], &did["result"]),
            (&exhibit.row["verified"], &exhibit.row["result"]),
            "{}",
            exhibit.name()
        );
        if exhibit.row["fails"].is_string() {
            let failed = play(&daemon, &format!("{}.fails", exhibit.event_type()));
            assert_eq!(
                (&failed["status"], &failed["error"]),
                (&exhibit.row["fails"], &json!("the tape is torn")),
                "{failed:#}"
            );
        }
    }
    assert_eq!(daemon.stop().expect("it stops").code(), Some(0));
    for exhibit in rooms.iter().flat_map(Room::exhibits) {
        let noted = notes(&zoo.join(&format!("{}.lines", exhibit.name())), exhibit.name());
        assert_eq!(json!(noted), exhibit.row["notes"], "{}", exhibit.name());
    }
}

#[test]
fn a_plugin_with_larger_tables_of_a_minor_version_to_come_works_unless_it_cannot_live_without_that() {
    let Some(zoo) = Zoo::open("a plugin of a version to come", &["cc"]) else { return };
    let source = repository().join("tests/abi/museum/future.c");
    zoo.c(source.to_str().expect("UTF-8"), "future.so", &["-DNAME=\"future\""]);
    let newer = abi::SNOOZE_ABI_MINOR + 5;
    let demanding = zoo.c(
        source.to_str().expect("UTF-8"),
        "demanding.so",
        &["-DNAME=\"demanding\"", &format!("-DREQUIRED={newer}")],
    );
    let file = zoo.join("future.lines");
    let of = |name: &str| json!({"event_handlers": {"custom.museum.future": {"plugins": [{"name": name, "config": {"file": file}}]}}});
    let builder = DaemonBuilder::new(zoo.bin()).config(of("future")).plugin_directory(zoo.path());
    let mut daemon = builder.start().expect("it starts");
    let did = play(&daemon, "custom.museum.future");
    assert_eq!((&did["status"], &did["result"]), (&json!("handled"), &json!({"from": "the future"})), "{did:#}");
    daemon.configure(of("demanding")).expect("written");
    let refused = daemon.reload().expect("it runs");
    let words = format!("needs plugin ABI 1.{newer} or newer, this host offers 1.{}", abi::SNOOZE_ABI_MINOR);
    assert!(refused.code == Some(78) && refused.stderr.contains(&words), "{refused:?}");
    let told = program::run(
        Command::new(zoo.bin().join("snooze")).args(["plugin", "load-test", "--json"]).arg(demanding),
        LIMIT,
    );
    assert!(told.expect("it ends").stdout.contains("NEEDS_MINOR"));
    assert_eq!(daemon.stop().expect("it stops").code(), Some(0));
    assert_eq!(notes(&file, "future"), ["created", "handled", "destroyed"]);
}

#[test]
fn the_sources_of_every_exhibit_still_compile_with_the_headers_of_today() {
    let Some(_zoo) = Zoo::open("the sources of old plugins", &["cc", "c++"]) else { return };
    for room in rooms() {
        let sources: BTreeSet<String> = room.exhibits().map(|exhibit| exhibit.text("source").to_owned()).collect();
        for source in sources.iter().filter(|source| !source.ends_with(".rs")) {
            let (compiler, standard) = if source.ends_with(".c") { ("cc", "-std=c99") } else { ("c++", "-std=c++17") };
            let mut command = Command::new(compiler);
            command.args([standard, "-fsyntax-only", "-DNAME=\"old\"", "-DCAPS=SNOOZE_CAP_ASYNC", "-I"]);
            command.arg(repository().join("include")).arg(room.directory.join(source));
            let done = program::run(&mut command, LIMIT).and_then(|output| output.success(source));
            done.unwrap_or_else(|error| panic!("{error}"));
        }
    }
}
