//! What is kept and `snooze history`: the life of a machine as its daemon keeps it, the views, files in and out, and the same on a real
//! PostgreSQL.

use e2e::simple::{PATIENCE, Plugins, bin_dir, finished, handles, simulate};
use fake_metadata::{Action, FakeMetadata, Options};
use harness::daemon::Daemon;
use harness::postgres::{self, Postgres};
use harness::program::{self, Output};
use harness::{paths, require, wait};
use object::{Object, ObjectSymbol, SymbolKind};
use serde_json::{Value, json};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const INTERRUPT: &str = "cloud.spot.interrupt";
const LIVES: &str = "vm,zone,machine_type,preemptible,launch_utc,end_utc,lifetime_s,event,batch
0,us-central1-f,n1-standard-2,1,2019-02-18T16:57:37.265Z,2019-02-18T18:15:05.966Z,4648.701,1,210
1,us-central1-f,n1-standard-1,1,2019-02-18T19:21:46.504Z,2019-02-19T16:41:13.191Z,76766.687,0,208
";
const PRICES: &str = "az,instance_type,timestamp_utc,usd_per_hour
eu-central-1a,p2.8xlarge,2019-12-22T08:57:09.000Z,10.608000
eu-central-1b,p2.8xlarge,2019-12-23T08:57:21.000Z,3.25
";

/// `snooze history` on a place, without a daemon and without the machine's own configuration.
fn history(place: &str, args: &[&str]) -> Output {
    let program = paths::program(&bin_dir(), "snooze").expect("it is built");
    program::run(Command::new(program).arg("history").args(args).args(["--store", place]), PATIENCE).expect("it ends")
}

fn decoded(place: &str, args: &[&str]) -> Value {
    let output = history(place, &[args, &["--json"]].concat());
    assert_eq!(output.code, Some(0), "{args:?}: {output:?}");
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {output:?}"))
}

fn file(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

/// `snooze history` on the history that the daemon's configuration names.
fn beside(daemon: &Daemon, args: &[&str]) -> Output {
    let config = daemon.config_file();
    let config = config.to_str().expect("UTF-8");
    daemon.snooze(&[&["history"], args, &["--config", config]].concat()).expect("it runs")
}

fn own(daemon: &Daemon, args: &[&str]) -> Value {
    let output = beside(daemon, &[args, &["--json"]].concat());
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {output:?}"))
}

fn only_life(daemon: &Daemon, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let found = wait::until(what, PATIENCE, || {
        let lives: Value = serde_json::from_str(&beside(daemon, &["lives", "--json"]).stdout).ok()?;
        let life = &lives["lives"][0];
        (is_so(life) && lives["lives"].as_array().is_some_and(|all| all.len() == 1)).then(|| life.clone())
    });
    found.unwrap_or_else(|error| panic!("{error}: {}; {}", own(daemon, &["lives"]), daemon.log_tail()))
}

#[test]
fn a_daemon_keeps_the_life_of_its_machine_over_restarts_until_the_interruption_ends_it() {
    let plugins = Plugins::recorders(&["first"]);
    let fake = FakeMetadata::start(Options::default()).expect("a free port");
    let config = handles(INTERRUPT, "first", &plugins.config("first"));
    let mut daemon = plugins.daemon(config).endpoint(fake.base_url()).start().expect("it starts");
    let life = only_life(&daemon, "a life", |life| life["outcome"] == "running");
    assert!(life["instance_id"].as_str().is_some_and(|id| id.starts_with("i-")), "{life}");
    assert_eq!((&life["provider"], &life["market"]), (&json!("aws"), &json!("unknown")));
    assert!(life["hours"].as_f64().is_some_and(|hours| hours > 0.0), "as old as the machine: {life}");
    assert_eq!(daemon.stop().expect("it stops").code(), Some(0));
    daemon.start_again().expect("it starts");
    let again = only_life(&daemon, "the same life", |again| again["last_seen"].as_str() > life["last_seen"].as_str());
    assert_eq!((&again["id"], &again["launched"]), (&life["id"], &life["launched"]));
    // A rehearsal ends no life.
    finished(&daemon, &simulate(&daemon, INTERRUPT, &[]));
    fake.notice(Action::Terminate, Duration::from_secs(120));
    let ended = only_life(&daemon, "its end", |life| life["outcome"] == "interrupted");
    assert_eq!((&ended["id"], &ended["market"]), (&life["id"], &json!("spot")));
    assert!(ended["ended"].as_str() > ended["last_seen"].as_str(), "the cloud acts later: {ended}");
    let id = ended["instance_id"].as_str().expect("an identifier");
    let events = own(&daemon, &["events", "--instance", id]);
    assert_eq!(events["events"][0]["type"], INTERRUPT);
    assert_eq!(events["events"].as_array().map(Vec::len), Some(1), "the rehearsal was of no machine: {events}");
    let summary = own(&daemon, &["summary", "--provider", "aws"]);
    let pool = &summary["summary"][0];
    assert_eq!(
        (&pool["notices"], &pool["interrupted"], &pool["zone"]),
        (&json!(1), &json!(1), &ended["zone"]),
        "{summary}"
    );
    let delivered = own(&daemon, &["deliveries", "--handler", &format!("{INTERRUPT}/first"), "--outcome", "handled"]);
    assert!(delivered["deliveries"].as_array().is_some_and(|all| !all.is_empty()), "{delivered}");
}

#[test]
fn every_view_is_a_screen_json_and_csv_beside_a_daemon_that_runs() {
    let plugins = Plugins::recorders(&["first"]);
    let daemon = plugins.daemon(handles("custom.x", "first", &plugins.config("first"))).start().expect("it starts");
    let id = simulate(&daemon, "custom.x", &[]);
    finished(&daemon, &id);
    for (view, word) in [("events", id.as_str()), ("deliveries", "custom.x/first")] {
        let screen = beside(&daemon, &[view]);
        assert!(screen.code == Some(0) && screen.stdout.contains(word), "{view}: {screen:?}");
        assert!(screen.stdout.lines().all(|line| line.chars().count() <= 100), "{view}: {}", screen.stdout);
        assert!(view != "events" || screen.stdout.contains("completed (test)"), "{screen:?}");
        let csv = beside(&daemon, &[view, "--csv"]).stdout;
        assert!(csv.lines().count() >= 2 && csv.contains(word), "{view}: {csv}");
        assert!(own(&daemon, &[view])[view].as_array().is_some_and(|rows| !rows.is_empty()), "{view}");
    }
    assert_eq!(own(&daemon, &["summary"])["summary"], json!([]), "a rehearsal counts for no pool");
    let both = beside(&daemon, &["events", "--csv", "--json"]);
    assert!(both.code == Some(2) && both.stderr.contains("choose one"), "{both:?}");
    let none = beside(&daemon, &["prices", "--since", "2020-01-01", "--until", "1h"]);
    assert!(none.code == Some(0) && none.stdout.contains("No prices"), "{none:?}");
}

#[test]
fn files_are_taken_once_or_not_at_all_and_come_out_as_they_went_in() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().join("study.sqlite").display().to_string();
    let (lives, prices) = (file(directory.path(), "lives.csv", LIVES), file(directory.path(), "prices.csv", PRICES));
    let taken = history(&place, &["import", &lives, &prices]);
    assert!(taken.code == Some(0) && taken.stderr.contains("2 lives, 2 of them new"), "{taken:?}");
    let again = history(&place, &["import", &lives]);
    assert!(again.code == Some(0) && again.stderr.contains("2 known already: nothing changed"), "{again:?}");
    let wrong = file(directory.path(), "wrong.csv", &LIVES.replace("76766.687", "long"));
    let refused = history(&place, &["import", &wrong]);
    assert_eq!(refused.code, Some(65), "{refused:?}");
    for words in ["wrong.csv, line 3, column lifetime_s", "found 'long'", "expected a number"] {
        assert!(refused.stderr.contains(words), "{words}: {refused:?}");
    }
    let all = directory.path().join("all.jsonl").display().to_string();
    assert_eq!(history(&place, &["export", &all]).code, Some(0));
    let table = directory.path().join("lives.parquet").display().to_string();
    assert_eq!(history(&place, &["export", &table, "--table", "lives"]).code, Some(0));
    let other = directory.path().join("other.sqlite").display().to_string();
    assert_eq!(history(&other, &["import", &table]).code, Some(0));
    assert_eq!(decoded(&other, &["lives"]), decoded(&place, &["lives"]));
    let merged = decoded(&other, &["merge", &place]);
    assert_eq!(merged["taken"][0]["tables"]["lives"], json!({"given": 2, "new": 0}));
    let copy = directory.path().join("copy.jsonl").display().to_string();
    assert_eq!(history(&other, &["export", &copy]).code, Some(0));
    let read = |path: &str| std::fs::read_to_string(path).expect("written");
    assert_eq!(read(&copy), read(&all));
    let itself = history(&place, &["merge", &place]);
    assert!(itself.code == Some(2) && itself.stderr.contains("into itself"), "{itself:?}");
    let gone = decoded(&place, &["prune", "--older-than", "1d", "--keep-rows", "1"]);
    assert_eq!(gone["dropped"], json!({"events": 0, "lives": 2, "prices": 2}));
    let missing = history(&directory.path().join("none.sqlite").display().to_string(), &["events"]);
    assert!(missing.code == Some(66) && missing.stderr.contains("no history at"), "{missing:?}");
}

/// A server, or a loud word about it.
fn server() -> Option<Postgres> {
    if let Some(package) = postgres::missing() {
        require::missing_means_skip(&format!("the history on PostgreSQL: install {package}"));
        return None;
    }
    Some(Postgres::start("", Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("it starts"))
}

#[test]
fn a_fleet_keeps_the_same_in_postgresql_and_asks_it_the_same() {
    let Some(server) = server() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let here = server.directory().display();
    let fleet = format!("postgres:///postgres?host={here}&port={}&user=postgres", server.port());
    let none = history(&fleet, &["events"]);
    assert!(none.code == Some(66) && none.stderr.contains("no history in"), "{none:?}");
    // A history with something of everything: a daemon's own, and public data.
    let plugins = Plugins::recorders(&["first"]);
    let config = handles("custom.x", "first", &plugins.config("first"));
    let mut daemon = plugins.daemon(config).start().expect("it starts");
    for _ in 0..3 {
        finished(&daemon, &simulate(&daemon, "custom.x", &[]));
    }
    assert_eq!(daemon.stop().expect("it stops").code(), Some(0));
    let place = daemon.root().join("state/history.sqlite").display().to_string();
    let data = [file(directory.path(), "lives.csv", LIVES), file(directory.path(), "prices.csv", PRICES)];
    assert_eq!(history(&place, &["import", &data[0], &data[1]]).code, Some(0));
    let merged = decoded(&fleet, &["merge", &place]);
    assert_eq!(merged["taken"][0]["tables"]["events"], json!({"given": 3, "new": 3}), "{merged}");
    let again = history(&fleet, &["merge", &place]);
    assert!(again.stderr.contains("nothing changed"), "{again:?}");
    let questions: [&[&str]; 12] = [
        &["events"],
        &["events", "--type", "custom.*", "--outcome", "completed", "--limit", "2"],
        &["events", "--since", "1h"],
        &["deliveries"],
        &["deliveries", "--handler", "custom.x/first"],
        &["deliveries", "--outcome", "handled"],
        &["lives"],
        &["lives", "--zone", "us-central1-f", "--outcome", "interrupted"],
        &["prices"],
        &["prices", "--instance-type", "p2.8xlarge", "--until", "2019-12-23"],
        &["summary"],
        &["summary", "--provider", "gcp"],
    ];
    for question in questions {
        let (one, other) = (decoded(&place, question), decoded(&fleet, question));
        assert_eq!(one, other, "{question:?}");
        assert!(
            one.as_object().and_then(|all| all.values().next()?.as_array()).is_some_and(|rows| !rows.is_empty()),
            "{question:?}"
        );
    }
    let out = |place: &str, name: &str| {
        let path = directory.path().join(name).display().to_string();
        assert_eq!(history(place, &["export", &path]).code, Some(0));
        std::fs::read_to_string(path).expect("written")
    };
    assert_eq!(out(&place, "a.jsonl"), out(&fleet, "b.jsonl"));
    let back = directory.path().join("back.sqlite").display().to_string();
    assert_eq!(history(&back, &["merge", &fleet]).code, Some(0));
    assert_eq!(decoded(&back, &["summary"]), decoded(&fleet, &["summary"]));
    let wrong = file(directory.path(), "wrong.csv", &PRICES.replace("3.25", "-3"));
    assert_eq!(history(&fleet, &["import", &wrong]).code, Some(65));
    let pruned = decoded(&fleet, &["prune", "--keep-rows", "1"]);
    assert_eq!(pruned["dropped"], json!({"events": 2, "lives": 1, "prices": 1}));
    assert_eq!(decoded(&fleet, &["summary", "--provider", "gcp"])["summary"].as_array().map(Vec::len), Some(1));
}

#[test]
fn where_tls_is_asked_for_the_server_is_known_by_its_certificate_or_not_used() {
    let Some(server) = server() else { return };
    let (issued, key) = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])
        .map(|made| (made.cert.pem(), made.signing_key.serialize_pem()))
        .expect("a certificate");
    let data = server.directory().join("data");
    let owner = std::fs::metadata(&data).expect("readable");
    for (name, text) in [("server.crt", &issued), ("server.key", &key)] {
        let path = data.join(name);
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("set");
        chown(&path, Some(owner.uid()), Some(owner.gid())).expect("given to the server");
    }
    let role = "CREATE ROLE fleet LOGIN PASSWORD 'Zq9-secret'; GRANT CREATE ON DATABASE postgres TO fleet;";
    server.query(&format!("{role} ALTER SYSTEM SET ssl = on; SELECT pg_reload_conf();")).expect("done");
    wait::until("TLS", PATIENCE, || (server.query("SHOW ssl").ok()? == "on").then_some(())).expect("it is on");
    let directory = tempfile::tempdir().expect("a directory");
    let root = file(directory.path(), "root.pem", &issued);
    let prices = file(directory.path(), "prices.csv", PRICES);
    let at = |more: &str| format!("postgres://fleet:Zq9-secret@127.0.0.1:{}/postgres?{more}", server.port());
    let known = at(&format!("sslmode=verify-full&sslrootcert={root}"));
    let taken = history(&known, &["import", &prices]);
    assert_eq!(taken.code, Some(0), "{taken:?}");
    assert_eq!(decoded(&known, &["prices"])["prices"].as_array().map(Vec::len), Some(2));
    let stranger = history(&at("sslmode=require"), &["prices"]);
    assert!(stranger.code == Some(74) && stranger.stderr.to_lowercase().contains("certificate"), "{stranger:?}");
    for output in [taken, stranger] {
        assert!(!format!("{output:?}").contains("Zq9"), "the password is told: {output:?}");
    }
    let plain = history(&at("sslmode=disable"), &["prices"]);
    assert_eq!(plain.code, Some(0), "without TLS, as asked: {plain:?}");
}

/// Whether a program has code of a crate, by its symbols.
fn has(program: &str, name: &str) -> bool {
    let path = paths::program(&bin_dir(), program).expect("it is built");
    let bytes = std::fs::read(path).expect("readable");
    let parsed = object::File::parse(&*bytes).expect("an ELF file");
    // The names of files stand there too, also of those of which nothing is left.
    let code = parsed.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text);
    code.into_iter().any(|symbol| symbol.name().is_ok_and(|symbol| symbol.contains(name)))
}

#[test]
fn nothing_of_postgresql_parquet_and_csv_is_linked_into_the_daemon() {
    for name in ["tokio_postgres", "parquet", "3csv", "7history7archive"] {
        assert!(has("snooze", name), "the check would not find {name}");
        assert!(!has("snoozed", name), "{name} is linked into snoozed");
        assert!(!has("snooze-plugin-host", name), "{name} is linked into snooze-plugin-host");
    }
}
