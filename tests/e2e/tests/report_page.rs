//! The page of a real event at which everything happened that can: its picture measured, and looked at by a real browser.

use e2e::picture;
use e2e::zoo::Zoo;
use harness::daemon::{Daemon, DaemonBuilder};
use harness::program;
use harness::wait;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const KEY: &str = "cloud.spot.interrupt";

/// Name, mode of misbehaves.c, priority and further settings of each handler, in the order in which they start.
fn handlers() -> Vec<(&'static str, &'static str, u32, Value)> {
    vec![
        ("database", "", 100, json!({})),
        ("queue", "fails", 90, json!({"retries": 1})),
        ("cache", "obeys", 80, json!({"timeout_seconds": 0.8})),
        ("mirror", "finishes late", 70, json!({"timeout_seconds": 0.4})),
        ("mailbox", "verify says no", 60, json!({})),
        ("ledger", "verify cannot tell", 50, json!({})),
        ("nothing-to-do", "declines", 40, json!({})),
        ("a-plugin-with-quite-a-long-name-for-a-column", "retries", 30, json!({"retries": 3})),
        ("deaf", "deaf", 20, json!({"timeout_seconds": 60})),
        ("pager", "", 10, json!({"minimum_seconds": 0.05})),
    ]
}

/// The report of such an event, and its page; the daemon is still there.
fn eventful(what: &str) -> Option<(Daemon, Zoo, Value, String)> {
    let zoo = Zoo::open(what, &["cc"])?;
    let config = |(name, mode, priority, more): &(&'static str, &'static str, u32, Value)| {
        zoo.c("misbehaves.c", &format!("{name}.so"), &[&format!("-DNAME=\"{name}\"")]);
        let mut handler = more.clone();
        handler["name"] = json!(name);
        handler["priority"] = json!(priority);
        handler["config"] = json!({"mode": mode, "file": zoo.join(&format!("{name}.lines"))});
        handler
    };
    let plugins: Vec<Value> = handlers().iter().map(config).collect();
    let config = json!({
        "event_handlers": {KEY: {"plugins": plugins}},
        // Who does not stop is waited for until there is no time left for who comes behind.
        "dispatch": {"cancel_grace_ms": 2_000},
    });
    let builder = DaemonBuilder::new(zoo.bin()).config(config).plugin_directory(zoo.path());
    let daemon = builder.start().expect("it starts");
    let told =
        daemon.snooze_json(&["simulate", KEY, "--in", "7s", "--data", "instanceID=i-0123456789abcdef0", "--json"]);
    let id = told.expect("an event")["event_id"].as_str().expect("its id").to_owned();
    let report = wait::until("the end of the event", LIMIT, || {
        let report = daemon.snooze_json(&["report", &id, "--json"]).ok()?;
        (report["state"] == "completed").then_some(report)
    });
    let report = report.expect("a report");
    let file = zoo.join("report.html");
    let output = daemon.snooze(&["report", &id, "--html", &file.display().to_string()]).expect("it runs");
    assert_eq!((output.code, output.stdout.as_str()), (Some(1), ""), "not all was well: {output:?}");
    let page = std::fs::read_to_string(&file).expect("written");
    Some((daemon, zoo, report, page))
}

#[test]
fn bars_lie_where_the_report_has_their_times_and_rows_in_the_order_of_starts() {
    let Some((_daemon, _zoo, report, page)) = eventful("bars_lie_where_the_report_has_their_times") else { return };
    let drawn = picture::read(&page);
    let mut told: Vec<&Value> = report["handlers"].as_array().expect("handlers").iter().collect();
    let start = |handler: &Value| handler["start_ms"].as_f64().unwrap_or(f64::INFINITY);
    told.sort_by(|a, b| start(a).total_cmp(&start(b)));
    // Two marks of the scale give the whole scale.
    let [(from_ms, from_x), .., (to_ms, to_x)] = drawn.ticks[..] else { panic!("a scale: {:?}", drawn.ticks) };
    let place = |ms: f64| from_x + (ms.min(drawn.span_ms) - from_ms) / (to_ms - from_ms) * (to_x - from_x);
    assert_eq!(drawn.rows.len(), told.len());
    for (row, handler) in drawn.rows.iter().zip(told) {
        let name = handler["handler"].as_str().expect("a name");
        let shown = row.name.trim_end_matches('…');
        assert!(name.starts_with(shown) && shown.len() >= name.len().min(23), "{name}: {row:?}");
        let Some(start) = handler["start_ms"].as_f64() else {
            assert!(row.ran.is_none() && row.granted.is_none() && row.shape == "skipped", "{row:?}");
            continue;
        };
        let of = |key: &str| handler[key].as_f64().expect("a number");
        for (bar, length) in [(row.ran, of("duration_ms")), (row.granted, of("budget_ms"))] {
            let bar = bar.unwrap_or_else(|| panic!("{name} has no bar"));
            assert!((bar.x - place(start)).abs() <= 1.0, "{name} began at {}: {bar:?}", place(start));
            let end = place(start + length);
            assert!((bar.x + bar.width - end).abs() <= 1.0, "{name} ended at {end}: {bar:?}");
        }
    }
    let of = |name: &str| drawn.rows.iter().find(|row| row.name.starts_with(name)).expect("a row");
    let expected = [
        ("database", "done", "verified"),
        ("queue", "failed", "2 attempts"),
        ("cache", "late", "timed out after"),
        ("mirror", "done", "late"),
        ("mailbox", "done", "not verified"),
        ("ledger", "done", "cannot be verified"),
        ("nothing-to-do", "idle", "nothing to do"),
        ("a-plugin", "done", "3 attempts"),
        ("deaf", "late", "abandoned after"),
        ("pager", "skipped", "not run"),
    ];
    for (name, shape, words) in expected {
        let row = of(name);
        assert!(row.shape == shape && row.texts.iter().any(|text| text.contains(words)), "{words}: {row:?}");
    }
}

/// A browser without a screen; None, told loudly. It is no part of what the gate demands.
fn browser(what: &str) -> Option<PathBuf> {
    let found = ["chromium-headless-shell", "chromium", "chromium-browser"].into_iter().find_map(program::find);
    if found.is_none() {
        let _printed = writeln!(std::io::stderr().lock(), "NOT RUN: {what}: there is no chromium (it is not demanded)");
    }
    found
}

fn run(browser: &Path, home: &Path, args: &[&str], page: &Path) -> String {
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]);
    command.arg(format!("--user-data-dir={}", home.display())).args(args);
    command.arg(format!("file://{}", page.display())).env("HOME", home);
    program::run(&mut command, LIMIT).and_then(|output| output.success("the browser")).expect("it shows the page")
}

/// Measures what the browser made of the page.
const MEASURE: &str = include_str!("../pages/measure.js");

#[test]
fn a_browser_shows_the_page_without_overlaps_in_light_and_dark_wide_and_narrow() {
    const WHAT: &str = "a_browser_shows_the_page_without_overlaps_in_light_and_dark_wide_and_narrow";
    let Some(browser) = browser(WHAT) else { return };
    let Some((_daemon, zoo, _, page)) = eventful(WHAT) else { return };
    // For the measuring alone, the copy may run a script.
    let policy = page.find("<meta http-equiv=\"Content-Security-Policy\"").expect("a policy");
    let end = policy + page[policy..].find('>').expect("its end") + 1;
    let measured =
        zoo.write("measured.html", format!("{}{}<script>{MEASURE}</script>", &page[..policy], &page[end..]).as_bytes());
    let shown = zoo.join("report.html");
    let home = zoo.join("browser");
    let keep = std::env::var_os("CLOUDSNOOZE_SCREENSHOTS").map(PathBuf::from);
    let mut backgrounds = Vec::new();
    for (scheme, setting) in [("light", "preferredColorScheme=1"), ("dark", "preferredColorScheme=0")] {
        for width in [1100, 800, 500] {
            let window = format!("--window-size={width},2200");
            let setting = format!("--blink-settings={setting}");
            let dom = run(&browser, &home, &[&window, &setting, "--dump-dom"], &measured);
            let json = dom.split("<pre id=\"measured\">").nth(1).and_then(|rest| rest.split("</pre>").next());
            let json =
                json.unwrap_or_else(|| panic!("no measures in {dom}")).replace("&gt;", ">").replace("&amp;", "&");
            let found: Value = serde_json::from_str(&json).expect("JSON");
            assert_eq!(
                (&found["wide"], &found["out"], &found["hit"]),
                (&json!(false), &json!([]), &json!([])),
                "{scheme} {width}"
            );
            assert!(found["texts"].as_u64() > Some(40), "{found}");
            backgrounds.push(found["background"].as_str().expect("a colour").to_owned());
            let picture =
                keep.clone().unwrap_or_else(|| zoo.path().to_owned()).join(format!("report-{scheme}-{width}.png"));
            run(&browser, &home, &[&window, &setting, &format!("--screenshot={}", picture.display())], &shown);
            let bytes = std::fs::read(&picture).expect("a screenshot");
            assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 20_000, "{} bytes", bytes.len());
        }
    }
    backgrounds.dedup();
    assert_eq!(backgrounds.len(), 2, "light and dark differ: {backgrounds:?}");
}
