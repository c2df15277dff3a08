//! `snooze insight` as built: what it says of a history, of odd ones too, and what the daemon makes of it.

use e2e::simple::{PATIENCE, Plugins, bin_dir, handles};
use harness::daemon::Daemon;
use harness::program::{self, Output};
use harness::{paths, wait};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

const RISK: &str = "insight.preemption.risk";
const HEAD: &str = "vm,zone,machine_type,preemptible,launch_utc,end_utc,lifetime_s,event,batch\n";
const PLACE: [&str; 4] = ["--zone", "us-central1-c", "--instance-type", "n1-standard-2"];

/// `snooze` on a history, without a daemon and without the machine's own configuration. Its cache directory lies beside the history.
fn snooze(command: &str, store: &str, args: &[&str]) -> Output {
    let program = paths::program(&bin_dir(), "snooze").expect("it is built");
    let mut command_line = Command::new(program);
    command_line.arg(command).args(args).args(["--store", store]);
    command_line.env("XDG_CACHE_HOME", Path::new(store).with_file_name("cache"));
    program::run(&mut command_line, PATIENCE).expect("it ends")
}

/// The JSON of an answer, every number of which is one: a NaN is written as null.
fn told(store: &str, args: &[&str]) -> Value {
    let output = snooze("insight", store, &[args, &["--json"]].concat());
    assert_eq!(output.code, Some(0), "{args:?}: {output:?}");
    let value: Value =
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {output:?}"));
    no_nan(&value, &format!("{args:?}"));
    value
}

/// What may be absent; any other null was a number that is none.
const ABSENT: [&str; 13] = [
    "verdict",
    "prior",
    "level",
    "until_hours",
    "weibull",
    "bathtub",
    "effects",
    "auc",
    "over_constant",
    "bootstrap_se",
    "concordance",
    "against_zone",
    "up",
];

fn no_nan(value: &Value, place: &str) {
    match value {
        Value::Null => {
            let name = place.rsplit('.').next().unwrap_or_default();
            let is_absent = ABSENT.contains(&name) || name.starts_with("up_") || name.starts_with("drops");
            assert!(is_absent, "{place} is no number");
        }
        Value::Array(all) => all.iter().enumerate().for_each(|(at, one)| no_nan(one, &format!("{place}[{at}]"))),
        Value::Object(all) => all.iter().for_each(|(name, one)| no_nan(one, &format!("{place}.{name}"))),
        Value::Number(number) => assert!(number.as_f64().is_some_and(f64::is_finite), "{place}: {number}"),
        Value::Bool(_) | Value::String(_) => {}
    }
}

/// A machine launched so many seconds after 2024-01-01, that lived so long.
fn row(text: &mut String, number: u32, zone: &str, launched_s: u32, lived_s: u32, interrupted: bool) {
    let at = |s: u32| {
        let (day, s) = (s / 86_400, s % 86_400);
        let (month, day) = (1 + day / 28, 1 + day % 28);
        format!("2024-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", s / 3_600, s / 60 % 60, s % 60)
    };
    // Both within one day of this calendar: months here have 28 days.
    let end = launched_s + lived_s;
    assert_eq!(launched_s / 86_400 / 28, end / 86_400 / 28, "a life must not pass the end of a month");
    let event = u8::from(interrupted);
    writeln!(text, "{number},{zone},n1-standard-2,1,{},{},{lived_s},{event},", at(launched_s), at(end)).expect("text");
}

/// Machines that are interrupted about once an hour, at any age: 60 days of them.
fn stormy() -> String {
    let mut text = HEAD.to_owned();
    for number in 0..1_200_u32 {
        let share = (f64::from(number * 617 % 1_200) + 0.5) / 1_200.0;
        let lived_s = ((-share.ln() * 3_600.0) as u32).max(1);
        let launched_s = number % 60 * 86_400 + number / 60 * 2_400;
        let zone = if number % 2 == 0 { "us-central1-c" } else { "us-east1-b" };
        row(&mut text, number, zone, launched_s, lived_s, number % 5 != 0);
    }
    text
}

fn store_of(directory: &Path, name: &str, lives: &str) -> String {
    let csv = directory.join(format!("{name}.csv"));
    std::fs::write(&csv, lives).expect("written");
    let store = directory.join(format!("{name}.sqlite")).display().to_string();
    let taken = snooze("history", &store, &["import", csv.to_str().expect("UTF-8")]);
    assert_eq!(taken.code, Some(0), "{taken:?}");
    store
}

/// A history without any row.
fn empty(directory: &Path) -> String {
    store_of(directory, "empty", HEAD)
}

#[test]
fn a_history_is_asked_for_everything_and_says_how_sure_it_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store_of(directory.path(), "stormy", &stormy());
    let risk = told(&store, &[&["risk", "--age-hours", "2"], &PLACE[..]].concat());
    let of = |name: &str| risk[name].as_f64().unwrap_or_else(|| panic!("{name}: {risk:#}"));
    assert!((0.3..0.9).contains(&of("probability")), "{risk:#}");
    assert!(of("low") < of("probability") && of("probability") < of("high"), "{risk:#}");
    assert_eq!(
        (&risk["level"], &risk["provider"], &risk["machine"]["zone"]),
        (&json!("pool"), &json!("gcp"), &json!(PLACE[1]))
    );
    assert!(risk["reasons"].to_string().contains("interruptions in"), "{risk:#}");
    let rates = told(&store, &["rates"]);
    assert_eq!(rates["figures"]["pools"].as_array().map(Vec::len), Some(2), "{rates:#}");
    let rate = rates["figures"]["pools"][0]["per_hour"].as_f64().expect("a rate");
    assert!((0.5..1.2).contains(&rate), "{rates:#}");
    for question in ["lifetimes", "seasons", "changes", "models"] {
        let answer = told(&store, &[question]);
        assert!(answer["sentence"].as_str().is_some_and(|sentence| sentence.len() > 20), "{question}: {answer:#}");
        for member in ["uncertainty", "data"] {
            assert!(answer[member].as_array().is_some_and(|all| !all.is_empty()), "{question}, {member}: {answer:#}");
        }
        let screen = snooze("insight", &store, &[question]);
        assert!(
            screen.code == Some(0) && screen.stdout.contains("HOW SURE") && screen.stdout.contains("DATA"),
            "{screen:?}"
        );
        assert!(says_kept(&screen.stdout), "{question}: the second answer is a kept one: {screen:?}");
        assert!(screen.stdout.lines().all(|line| line.chars().count() <= 100), "{question}: {}", screen.stdout);
    }
    let page = told(&store, &[]);
    assert_eq!(page["looks"].as_array().map(Vec::len), Some(8), "{page:#}");
    let came = |came: &str| page["looks"].as_array().into_iter().flatten().any(|look| look["came"] == came);
    assert!(came("found") && came("not_shown") && came("too_little"), "{page:#}");
    let screen = snooze("insight", &store, &[]);
    assert!(screen.stdout.contains("LOOKED FOR AND NOT FOUND"), "{screen:?}");
    assert!(says_kept(&screen.stdout), "{screen:?}");
}

fn says_kept(screen: &str) -> bool {
    let words: Vec<&str> = screen.split_whitespace().collect();
    words.join(" ").contains("and kept; --fresh works it out anew.")
}

fn is_kept(answer: &Value) -> bool {
    answer.get("kept").is_some_and(|kept| kept["worked_out"].is_string() && kept["ended_lives"].is_u64())
}

#[test]
fn an_answer_is_kept_until_a_tenth_more_is_known_or_somebody_asks_for_a_fresh_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store_of(directory.path(), "fleet", &stormy());
    let rates = || told(&store, &["rates"]);
    let first = rates();
    let again = rates();
    assert!(!is_kept(&first) && is_kept(&again), "{again:#}");
    assert_eq!(again["kept"]["ended_lives"], 1_200);
    for member in ["sentence", "uncertainty", "data"] {
        assert_eq!(again[member], first[member], "the same answer, with what was left out of it");
    }
    let until = ["lifetimes", "--until-hours", "5"];
    assert!(
        !is_kept(&told(&store, &until)) && is_kept(&told(&store, &until)),
        "each options have an answer of their own"
    );
    assert!(!is_kept(&told(&store, &["lifetimes", "--until-hours", "4"])) && is_kept(&rates()));
    assert!(!is_kept(&told(&store, &["rates", "--fresh"])) && is_kept(&rates()), "a fresh one is kept as well");
    let kept = directory.path().join("fleet-insight-kept-rates.json");
    std::fs::write(&kept, "{\"basis\": {\"version\": ").expect("written");
    assert!(!is_kept(&rates()) && is_kept(&rates()), "what is broken is worked out anew");
    let mut more = HEAD.to_owned();
    (0..200).for_each(|number| row(&mut more, number, "us-central1-c", number * 60, 60, true));
    store_of(directory.path(), "fleet", &more);
    let after = rates();
    assert!(!is_kept(&after) && after["data"] != first["data"], "a tenth more has ended: {after:#}");
    assert!(!directory.path().join("cache").exists(), "what can be kept beside the history is");
}

#[test]
fn where_nothing_can_be_kept_beside_the_history_it_is_in_the_cache_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store_of(directory.path(), "fleet", &stormy());
    // Nobody can put a file there, not even root, who may write into every directory.
    let place = directory.path().join("fleet-insight-kept-rates.json");
    std::fs::create_dir_all(place.join("inner")).expect("made");
    let rates = || told(&store, &["rates"]);
    assert!(!is_kept(&rates()) && is_kept(&rates()));
    let cached: Vec<_> = std::fs::read_dir(directory.path().join("cache/cloudsnooze/insight")).expect("made").collect();
    assert_eq!(cached.len(), 1, "{cached:?}");
    // Who may write nowhere gets an answer all the same.
    std::fs::remove_dir_all(directory.path().join("cache")).expect("removed");
    std::fs::write(directory.path().join("cache"), "").expect("written");
    assert!(!is_kept(&rates()) && !is_kept(&rates()));
}

/// Machines that are warned ten minutes before they are interrupted; each third never is.
fn warned(from: u64, until: u64) -> String {
    let event = |name: &str, number: u64, second: u64| {
        let pool = json!({"provider": "aws", "region": "us-east-1", "zone": "us-east-1a", "instance_type": "m5.large"});
        let mut event = json!({
            "kind": "event", "id": format!("{name}-{number}"), "type": name, "severity": "urgent", "source": "test",
            "detected_wall_ns": (1_700_000_000 + second) * 1_000_000_000, "detected": "then", "simulated": 0, "state": "completed",
            "event": "{}", "instance_id": format!("i-{number}"),
        });
        event.as_object_mut().expect("an object").extend(pool.as_object().cloned().unwrap_or_default());
        event.to_string()
    };
    let of = |number: u64| {
        let recommended = (!number.is_multiple_of(3)).then(|| event("cloud.spot.rebalance", number, number * 3_600));
        recommended.into_iter().chain([event("cloud.spot.interrupt", number, number * 3_600 + 600)])
    };
    (from..until).flat_map(of).map(|line| line + "\n").collect()
}

#[test]
fn the_time_before_an_interruption_is_kept_until_a_tenth_more_notices_came() {
    let directory = tempfile::tempdir().expect("a directory");
    let lines = directory.path().join("events.jsonl");
    let store = empty(directory.path());
    let import = |from: u64, until: u64| {
        std::fs::write(&lines, warned(from, until)).expect("written");
        let taken = snooze("history", &store, &["import", lines.to_str().expect("UTF-8")]);
        assert_eq!(taken.code, Some(0), "{taken:?}");
    };
    import(0, 60);
    let ask = || told(&store, &["lead-time"]);
    let first = ask();
    let figures = &first["figures"];
    assert_eq!((&figures["interruptions"], &figures["without"]), (&json!(60), &json!(20)), "{first:#}");
    assert_eq!(figures["quantiles"][2]["seconds"], 600.0, "{first:#}");
    let again = ask();
    assert!(!is_kept(&first) && is_kept(&again) && again["kept"]["notices"] == 100, "{again:#}");
    import(60, 63);
    assert!(is_kept(&ask()), "five more of a hundred");
    import(63, 72);
    let after = ask();
    assert!(!is_kept(&after) && after["figures"]["interruptions"] == 72, "{after:#}");
    assert!(snooze("insight", &store, &["lead-time", "--json"]).stdout.contains("\"kept\""));
}

#[test]
fn the_model_is_fitted_once_and_again_when_a_tenth_more_has_ended() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store_of(directory.path(), "history", &stormy());
    let kept = directory.path().join("insight-kept-model.json");
    let ask = || told(&store, &[&["risk"], &PLACE[..]].concat());
    let first = ask();
    let fitted = std::fs::read(&kept).expect("it is kept beside the history");
    assert_eq!(ask()["probability"], first["probability"]);
    assert_eq!(std::fs::read(&kept).expect("kept"), fitted, "it was fitted again");
    let mut more = HEAD.to_owned();
    (0..200).for_each(|number| row(&mut more, number, "us-central1-c", number * 60, 60, true));
    store_of(directory.path(), "history", &more);
    let again = ask();
    assert_ne!(std::fs::read(&kept).expect("kept"), fitted, "a tenth more has ended");
    assert!(again["probability"].as_f64() > first["probability"].as_f64(), "{first:#} {again:#}");
    std::fs::write(&kept, "{\"version\": 1").expect("written");
    assert_eq!(ask()["probability"], again["probability"], "what is broken is fitted anew");
    let imported =
        snooze("history", &store, &["import", directory.path().join("history.csv").to_str().expect("UTF-8")]);
    assert!(imported.stderr.contains("nothing changed"), "{imported:?}");
    assert_eq!(ask()["probability"], again["probability"], "a row that comes twice changes nothing");
}

#[test]
fn an_empty_history_gives_the_published_figure_or_a_sentence() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = empty(directory.path());
    let risk = told(&store, &["risk", "--zone", "us-east-1a", "--instance-type", "m5.large"]);
    assert_eq!(risk["level"], "published");
    assert!(risk["reasons"].to_string().contains("Spot Instance Advisor"), "{risk:#}");
    assert!(risk["low"].as_f64() < risk["high"].as_f64(), "{risk:#}");
    for (question, words) in [
        ("rates", "no machine has been seen"),
        ("lifetimes", "no machine has been seen"),
        ("seasons", "lives"),
        ("changes", "no machine ran"),
        ("pools", "are the least"),
        ("lead-time", "10 are the least"),
        ("models", "let the history grow"),
    ] {
        let output = snooze("insight", &store, &[question, "--json"]);
        assert!(output.code == Some(1) && output.stderr.contains(words), "{question}: {output:?}");
        assert_eq!(output.stdout, "", "{question}");
    }
    let page = told(&store, &[]);
    let is_little = |look: &Value| look["came"] == "too_little";
    assert!(page["looks"].as_array().is_some_and(|all| all.iter().all(is_little)), "{page:#}");
    let nobody = snooze("insight", &store, &["risk"]);
    assert!(nobody.code == Some(66) && nobody.stderr.contains("no machine runs in"), "{nobody:?}");
    let picture = directory.path().join("x.svg").display().to_string();
    let undrawn = snooze("insight", &store, &["picture", "survival", "--output", &picture]);
    assert!(undrawn.code == Some(1) && !Path::new(&picture).exists(), "{undrawn:?}");
    let missing = snooze("insight", &directory.path().join("none.sqlite").display().to_string(), &["rates"]);
    assert!(missing.code == Some(66) && missing.stderr.contains("no history at"), "{missing:?}");
    let both = snooze("insight", &store, &["rates", "--lives", "x.csv"]);
    assert!(both.code == Some(2) && both.stderr.contains("choose one"), "{both:?}");
    let none = snooze("insight", &store, &["risk", "--hours", "NaN"]);
    assert!(none.code == Some(2) && none.stderr.contains("above 0"), "{none:?}");
}

#[test]
fn odd_data_give_numbers_or_a_sentence() {
    let directory = tempfile::tempdir().expect("a directory");
    let lives = |count: u32, lived_s: u32, interrupted: bool| {
        let mut text = HEAD.to_owned();
        (0..count).for_each(|number| row(&mut text, number, "us-central1-c", number * 3_600, lived_s, interrupted));
        text
    };
    let wrong_clock = lives(300, 3_000, true).replace("2024-01-05T", "1970-01-05T");
    let prices = "az,instance_type,timestamp_utc,usd_per_hour\nus-east-1a,m5.large,2024-01-01T00:00:00Z,0\n";
    let stores = [
        store_of(directory.path(), "all-interrupted", &lives(300, 3_000, true)),
        store_of(directory.path(), "none-interrupted", &lives(300, 3_000, false)),
        store_of(directory.path(), "no-length", &lives(300, 0, true)),
        store_of(directory.path(), "one", &lives(1, 3_000, true)),
        store_of(directory.path(), "wrong-clock", &wrong_clock),
        store_of(directory.path(), "no-prices", prices),
    ];
    let questions: [&[&str]; 9] = [
        &["risk", "--zone", "us-central1-c", "--instance-type", "n1-standard-2"],
        &["risk", "--zone", "nowhere", "--instance-type", "never-seen", "--age-hours", "1e9", "--hours", "1e9"],
        &["rates"],
        &["lifetimes"],
        &["seasons"],
        &["changes"],
        &["pools"],
        &["models"],
        &[],
    ];
    for store in &stores {
        for question in questions {
            let output = snooze("insight", store, &[question, &["--json"]].concat());
            match output.code {
                Some(0) => {
                    no_nan(&serde_json::from_str(&output.stdout).expect("JSON"), &format!("{store} {question:?}"));
                }
                Some(1) => assert!(
                    output.stderr.len() > 40 && !output.stderr.contains("NaN"),
                    "{store} {question:?}: {output:?}"
                ),
                _ => panic!("{store} {question:?}: {output:?}"),
            }
        }
    }
    let gap = told(&stores[4], &["rates"]);
    assert!(gap["data"].to_string().contains("24 lives are left out: by their clock"), "{gap:#}");
    let quiet = told(&stores[1], questions[0]);
    assert!(
        quiet["probability"].as_f64().is_some_and(|risk| risk > 0.0 && risk < 0.01),
        "never quite nought: {quiet:#}"
    );
    let unseen = told(&stores[0], &["risk", "--zone", "us-west1-a", "--instance-type", "n2-standard-4"]);
    assert_eq!(unseen["level"], "provider", "{unseen:#}");
    assert!(
        unseen["reasons"].to_string().contains("too little of n2-standard-4 in us-west1-a alone (0 interruptions"),
        "{unseen:#}"
    );
}

#[test]
fn pictures_are_drawn_in_both_forms() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store_of(directory.path(), "stormy", &stormy());
    for kind in ["hazard", "survival", "calibration", "hours"] {
        for (ending, begins) in [("svg", &b"<svg"[..]), ("png", &b"\x89PNG"[..])] {
            let path = directory.path().join(format!("{kind}.{ending}"));
            let drawn = snooze("insight", &store, &["picture", kind, "--output", path.to_str().expect("UTF-8")]);
            assert_eq!(drawn.code, Some(0), "{drawn:?}");
            assert!(std::fs::read(&path).expect("written").starts_with(begins), "{}", path.display());
        }
    }
    let other = snooze("insight", &store, &["picture", "hazard", "--output", "x.gif"]);
    assert!(other.code == Some(2) && other.stderr.contains(".svg or .png"), "{other:?}");
}

/// A daemon that lets a recorder handle the risk, from `threshold` on.
fn foreseeing(plugins: &Plugins, threshold: f64) -> Value {
    let mut config = handles(RISK, "first", &plugins.config("first"));
    config["insight"] = json!({"risk_threshold": threshold, "interval_seconds": 1.0, "horizon_hours": 0.5});
    config
}

fn events_of(daemon: &Daemon) -> Vec<Value> {
    let told = daemon.snooze_json(&["events", "--json"]).unwrap_or_default();
    let all = told["events"].as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|event| event["type"] == RISK).collect()
}

#[test]
fn a_daemon_foresees_an_interruption_tells_its_handlers_and_takes_it_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let plugins = Plugins::recorders(&["first"]);
    let fake = fake_metadata::FakeMetadata::start(fake_metadata::Options::default()).expect("a free port");
    let daemon = plugins.daemon(foreseeing(&plugins, 0.05)).endpoint(fake.base_url());
    let mut daemon = daemon.prepare().expect("it is laid out");
    let state = daemon.root().join("state");
    std::fs::create_dir_all(&state).expect("made");
    let csv = directory.path().join("lives.csv");
    std::fs::write(&csv, stormy()).expect("written");
    let store = state.join("history.sqlite").display().to_string();
    let taken = snooze("history", &store, &["import", csv.to_str().expect("UTF-8")]);
    assert_eq!(taken.code, Some(0), "{taken:?}");
    daemon.start_again().expect("it starts");
    let begun = wait::until("the handler's word", PATIENCE, || plugins.journal().all("first begin").into_iter().next());
    let begun = begun.unwrap_or_else(|error| panic!("{error}: {:?}; {}", plugins.journal().story(), daemon.log_tail()));
    let [event] = &events_of(&daemon)[..] else { panic!("one event: {:?}; {begun}", events_of(&daemon)) };
    let id = event["event_id"].as_str().unwrap_or_else(|| panic!("no id: {event}"));
    let report = daemon.snooze_json(&["report", id, "--json"]).expect("a report");
    let data = &report["event"]["data"];
    assert!(data["probability"].as_f64().is_some_and(|risk| risk >= 0.05), "{report:#}");
    assert_eq!((&data["riskThreshold"], &data["horizonHours"]), (&json!(0.05), &json!(0.5)), "{report:#}");
    assert!(data["reasons"].to_string().contains("interruptions in"), "{report:#}");
    assert!(
        data["instanceID"].as_str().is_some_and(|id| id.starts_with("i-")),
        "the machine that the daemon is on: {report:#}"
    );
    assert!(state.join("insight-kept-model.json").is_file(), "the model is kept beside the history");
    // A higher threshold, of which the risk is less than two thirds: what was told is withdrawn.
    daemon.configure(foreseeing(&plugins, 1.0)).expect("written");
    assert_eq!(daemon.reload().expect("it runs").code, Some(0));
    let cancelled = format!("{RISK}.cancelled");
    let withdrawn = wait::until("the withdrawal", PATIENCE, || {
        let told = daemon.snooze_json(&["events", "--json"]).ok()?;
        told["events"].as_array()?.iter().any(|event| event["type"] == *cancelled).then_some(())
    });
    withdrawn.unwrap_or_else(|error| panic!("{error}: {:#?}; {}", events_of(&daemon), daemon.log_tail()));
}
