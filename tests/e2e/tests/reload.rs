//! A new configuration for a running daemon: taken whole or not at all, without a gap and without a trace.

use e2e::simple::leaks::Secrets;
use e2e::simple::{PATIENCE, Plugins, finished, handles, simulate, status_when};
use harness::daemon::Daemon;
use harness::program::Signal;
use harness::wait;
use serde_json::{Value, json};

const KEY: &str = "custom.thing";

/// Adds how often the metadata service would be asked.
fn every(mut config: Value, seconds: f64) -> Value {
    config["sources"] = json!({"aws": {"enabled": false, "polling_interval_seconds": seconds}});
    config
}

fn interval_is(seconds: f64) -> impl Fn(&Value) -> bool {
    move |status| status["sources"][0]["interval_seconds"].as_f64() == Some(seconds)
}

/// Has an event handled and gives its report.
fn handled(daemon: &Daemon) -> Value {
    let report = finished(daemon, &simulate(daemon, KEY, &["--in", "60s"]));
    assert_eq!(report["state"], "completed", "{report:#}");
    report
}

#[test]
fn a_good_file_counts_for_the_next_event_by_command_and_by_signal() {
    let plugins = Plugins::recorders(&["first"]);
    let with = |tag: &str, seconds: f64| every(handles(KEY, "first", &plugins.config(tag)), seconds);
    let daemon = plugins.daemon(with("one", 5.0)).start().expect("it starts");
    handled(&daemon);
    daemon.configure(with("two", 7.0)).expect("written");
    let output = daemon.reload().expect("it runs");
    assert_eq!(output.code, Some(0), "{output:?}");
    for change in ["handler first of custom.thing: config changed", "polling_interval_seconds: 5.0 -> 7.0"] {
        assert!(output.stdout.contains(change), "{output:?}");
    }
    status_when(&daemon, "the interval of the second file", interval_is(7.0));
    handled(&daemon);
    daemon.configure(with("three", 9.0)).expect("written");
    daemon.signal(Signal::SIGHUP).expect("it runs");
    status_when(&daemon, "the interval of the third file", interval_is(9.0));
    handled(&daemon);
    plugins.journal().wait(1, "two destroy");
    let handled_by: Vec<String> = plugins.journal().story().into_iter().filter(|line| line.ends_with(" end")).collect();
    assert_eq!(handled_by, ["one end", "two end", "three end"]);
    let again = daemon.reload().expect("it runs");
    assert!(again.stdout.contains("Nothing has changed"), "{again:?}");
}

#[test]
fn a_bad_file_is_refused_with_its_errors_and_the_old_one_goes_on() {
    let plugins = Plugins::recorders(&["first", "second"]);
    let good = handles(KEY, "first", &plugins.config("old"));
    let daemon = plugins.daemon(every(good.clone(), 5.0)).start().expect("it starts");
    let mut unknown = handles(KEY, "second", &plugins.config("new"));
    let others = unknown["event_handlers"][KEY]["plugins"].as_array_mut().expect("a list");
    others.extend([json!({"name": "secnd"}), json!({"name": "first", "config": {"count": 1}})]);
    let mut refusing = plugins.config("new");
    refusing["refuse"] = "not today".into();
    let file = daemon.config_file().display().to_string();
    for (bad, words) in [
        (json!({"event_handlers": {KEY: {"plugins": 3}}}), &[r#"event_handlers["custom.thing"].plugins: "#][..]),
        (unknown, &["plugins[1].name: ", "did you mean 'second'?", "plugins[2].config: "]),
        (handles(KEY, "second", &refusing), &["plugins[0].name: ", "create failed: not today"]),
    ] {
        daemon.configure(every(bad, 9.0)).expect("written");
        let output = daemon.reload().expect("it runs");
        assert_eq!(output.code, Some(78), "{output:?}");
        for word in words.iter().chain(&["goes on", &file[..]]) {
            assert!(output.stderr.contains(word), "{word}: {output:?}");
        }
    }
    daemon.signal(Signal::SIGHUP).expect("it runs");
    let told = |log: String| log.contains("configuration refused") && log.contains("create failed: not today");
    wait::until("the refusal in the log", PATIENCE, || told(daemon.log()).then_some(())).expect("it is logged");
    status_when(&daemon, "the old interval", interval_is(5.0));
    handled(&daemon);
    // Only what could not be seen beforehand got as far as create, twice.
    let expected = ["old create", "old activate", "new create", "new create", "old begin", "old end"];
    assert_eq!(plugins.journal().story(), expected);
    daemon.configure(every(good, 6.0)).expect("written");
    assert_eq!(daemon.reload().expect("it runs").code, Some(0));
    status_when(&daemon, "the new interval", interval_is(6.0));
}

#[test]
fn an_event_in_progress_is_finished_by_the_handler_that_began_it() {
    let plugins = Plugins::recorders(&["first", "second"]);
    let both = |first: Value, tag: &str| {
        json!({"event_handlers": {KEY: {"plugins": [
            {"name": "first", "priority": 90, "timeout_seconds": 50, "config": first},
            {"name": "second", "priority": 10, "config": plugins.config(tag)},
        ]}}})
    };
    let daemon = plugins.daemon(both(plugins.gated("old", "gate"), "old2")).start().expect("it starts");
    let journal = plugins.journal();
    let running = simulate(&daemon, KEY, &["--in", "60s"]);
    journal.wait(1, "old begin");
    daemon.configure(both(plugins.config("new"), "new2")).expect("written");
    assert_eq!(daemon.reload().expect("it runs").code, Some(0));
    journal.wait(1, "new2 activate");
    assert_eq!(journal.all("old destroy").len() + journal.all("old2 destroy").len(), 0, "it is still needed");
    let status = daemon.snooze_json(&["status", "--json"]).expect("a status");
    assert_eq!(status["dispatch"]["events_busy"], 1, "{status}");
    plugins.open("gate");
    let report = finished(&daemon, &running);
    assert_eq!(report["state"], "completed", "{report:#}");
    let handlers = report["handlers"].as_array().expect("handlers");
    let of = |key: &str| handlers.iter().map(|handler| handler[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("handler"), ["first", "second"]);
    assert_eq!((of("status"), of("verified")), (vec![json!("handled"); 2], vec![json!("yes"); 2]));
    journal.wait(1, "old destroy");
    journal.wait(1, "old2 destroy");
    let of_first: Vec<String> = journal.story().into_iter().filter(|line| line.starts_with("old ")).collect();
    assert_eq!(
        of_first,
        ["create", "activate", "begin", "end", "deactivate", "destroy"].map(|what| format!("old {what}"))
    );
    assert_eq!((journal.all("old2 end").len(), journal.all("new begin").len()), (1, 0), "{:?}", journal.story());
    handled(&daemon);
    assert_eq!((journal.all("new end").len(), journal.all("new2 end").len()), (1, 1), "{:?}", journal.story());
}

#[test]
fn a_wider_plan_gets_the_threads_it_needs() {
    let names = ["first", "second", "third"];
    let plugins = Plugins::recorders(&names);
    let side_by_side = |count: usize| {
        let handler = |name: &&str| json!({"name": name, "priority": 50, "config": plugins.config(name)});
        let handlers: Vec<Value> = names[..count].iter().map(handler).collect();
        every(json!({"event_handlers": {KEY: {"plugins": handlers}}}), 5.0)
    };
    let daemon = plugins.daemon(side_by_side(1)).start().expect("it starts");
    let threads = || daemon.snooze_json(&["status", "--json"]).expect("a status")["dispatch"]["threads"].as_u64();
    let before = threads().expect("a number");
    for (count, expected) in [(3, before + 2), (1, before + 2), (3, before + 2)] {
        daemon.configure(side_by_side(count)).expect("written");
        assert_eq!(daemon.reload().expect("it runs").code, Some(0));
        assert_eq!(threads(), Some(expected), "with {count} handlers side by side");
        assert_eq!(handled(&daemon)["handlers"].as_array().map(Vec::len), Some(count));
    }
}

#[test]
fn a_changed_secret_reaches_the_plugin_and_neither_the_old_nor_the_new_one_shows() {
    let plugins = Plugins::recorders(&["first"]);
    plugins.build("talker", "talker");
    let (old, new) = ("oldSecretAlphaBravo", "newSecretCharlieDelta");
    let secret = plugins.file("secret");
    std::fs::write(&secret, old).expect("written");
    let mut recorder = plugins.gated("first", "gate");
    recorder["say"] = json!({"file": secret});
    let config = json!({"event_handlers": {KEY: {"plugins": [
        {"name": "first", "priority": 90, "timeout_seconds": 50, "config": recorder},
        {"name": "talker", "priority": 10, "config": {"from_file": {"file": secret}}},
    ]}}});
    let daemon = plugins.daemon(config).start().expect("it starts");
    let running = simulate(&daemon, KEY, &["--in", "60s"]);
    plugins.journal().wait(1, "first begin");
    std::fs::write(&secret, new).expect("written");
    assert_eq!(daemon.reload().expect("it runs").code, Some(0));
    let said: Vec<Value> = plugins.journal().all("first create").iter().map(|line| line["say"].clone()).collect();
    assert_eq!(said, [old, new]);
    // The old instance of the talker runs now, with the old secret.
    plugins.open("gate");
    let mut shown = finished(&daemon, &running).to_string();
    shown += &handled(&daemon).to_string();
    plugins.journal().wait(1, "first destroy");
    status_when(&daemon, "no event in progress", |status| status["dispatch"]["events_busy"] == 0);
    assert!(shown.contains("[redacted]"), "{shown}");
    shown += &daemon.log();
    let secrets = Secrets::new(&[old, new]);
    secrets.assert_absent("reports and log", &shown);
    secrets.assert_absent_below(&daemon.root().join("state"));
}

#[test]
fn files_of_conf_d_count_in_the_order_of_their_names() {
    let plugins = Plugins::recorders(&["first", "second"]);
    let main = handles(KEY, "first", &plugins.config("main"));
    let interval = |seconds: f64| json!({"sources": {"aws": {"polling_interval_seconds": seconds}}});
    let daemon = plugins.daemon(main).conf_d("50-rarely.json", interval(50.0)).start().expect("it starts");
    status_when(&daemon, "the interval of conf.d", interval_is(50.0));
    let further = |name: &str, config: &Value| {
        std::fs::write(daemon.root().join("conf.d").join(name), config.to_string()).expect("written");
    };
    further("10-sometimes.json", &interval(10.0));
    let mut second = handles("custom.other", "second", &plugins.config("further"));
    second["sources"] = interval(90.0)["sources"].take();
    further("90-second.json", &second);
    further(".99-hidden.json", &interval(99.0));
    further("99-not-json.txt", &json!(["x"]));
    assert_eq!(daemon.reload().expect("it runs").code, Some(0));
    let status = status_when(&daemon, "the interval of the last file", interval_is(90.0));
    let files = status["config_files"].as_array().expect("a list").iter();
    let names: Vec<&str> = files.filter_map(|file| file.as_str()?.rsplit('/').next()).collect();
    assert_eq!(names, ["cloudsnooze.json", "10-sometimes.json", "50-rarely.json", "90-second.json"]);
    handled(&daemon);
    finished(&daemon, &simulate(&daemon, "custom.other", &[]));
    assert_eq!((plugins.journal().all("main end").len(), plugins.journal().all("further end").len()), (1, 1));
}

#[test]
fn what_a_reload_does_not_name_as_waiting_for_a_restart_is_in_force() {
    let plugins = Plugins::recorders(&["first"]);
    let mut config = handles(KEY, "first", &plugins.gated("one", "gate"));
    let daemon = plugins.daemon(config.clone()).start().expect("it starts");
    config["dispatch"] = json!({"finish_before_seconds": 30, "cancel_grace_ms": 5000});
    config["log"] = json!({"level": "error"});
    config["deadlines"] = json!({"custom.*": 77, "immediate": 33});
    config["sources"] = json!({"aws": {"request_timeout_ms": 100}});
    daemon.configure(config).expect("written");
    let told = daemon.snooze_json(&["reload", "--json"]).expect("it is taken");
    let list = |key: &str| -> Vec<String> {
        told[key].as_array().expect("a list").iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let waits = |setting: &str| {
        let all = list("changes").into_iter().chain(list("needs_restart")).filter(|text| text.starts_with(setting));
        assert_eq!(all.count(), 1, "{setting} is told once: {told:#}");
        list("needs_restart").iter().any(|text| text.starts_with(setting))
    };
    let plan = daemon.snooze_json(&["plan", KEY, "--json"]).expect("a plan");
    assert!(!waits("deadlines[\"custom.*\"]"));
    assert_eq!(plan["assumed_seconds"], 77.0);
    for read_at_the_start in ["log.level", "sources.aws.request_timeout_ms"] {
        assert!(waits(read_at_the_start), "{read_at_the_start}: {told:#}");
    }
    // With 300 s to go, all but the margin is the handler's, up to its 60 s; with 40 s to go, 36 s are: a tenth is the
    // most that the margin takes.
    let id = simulate(&daemon, KEY, &["--in", "40s"]);
    let left_ms = plugins.journal().wait(1, "one begin")["left_ms"].as_i64().expect("a number");
    plugins.open("gate");
    finished(&daemon, &id);
    assert!((30_000..=36_000).contains(&left_ms), "{left_ms} ms of 40 s with a margin of 4 s");
    assert!(!waits("dispatch.finish_before_seconds") && !waits("dispatch.cancel_grace_ms"));
    let id = simulate(&daemon, "custom.thing", &["--in", "0s"]);
    let left_ms = plugins.journal().wait(2, "one begin")["left_ms"].as_i64().expect("a number");
    finished(&daemon, &id);
    assert!(!waits("deadlines.immediate") && (20_000..=33_000).contains(&left_ms), "{left_ms} ms of 33 s");
}

/// Threads, descriptors and children of a process.
fn possessions(pid: u32) -> (usize, usize, usize) {
    let count = |what: &str| std::fs::read_dir(format!("/proc/{pid}/{what}")).map_or(0, Iterator::count);
    let is_child = |stat: &str| {
        // proc_pid_stat(5): the parent is the second field behind the name in brackets.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
        parent == Some(&pid.to_string())
    };
    let processes = std::fs::read_dir("/proc").expect("it is mounted").flatten();
    let stats = processes.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    (count("task"), count("fd"), stats.filter(|stat| is_child(stat)).count())
}

#[test]
fn twenty_reloads_leave_no_thread_descriptor_or_process_behind() {
    let plugins = Plugins::recorders(&["first"]);
    let outside = plugins.outside().is_some();
    let with = |tag: &str| {
        let mut config = handles(KEY, "first", &plugins.config(tag));
        if outside {
            let handlers = config["event_handlers"][KEY]["plugins"].as_array_mut().expect("a list");
            handlers.push(json!({"name": "outside", "config": {"journal": plugins.file("outside"), "tag": tag}}));
        }
        config
    };
    let daemon = plugins.daemon(with("start")).start().expect("it starts");
    let pid = daemon.pid().expect("it runs");
    let reload = |tag: &str| {
        daemon.configure(with(tag)).expect("written");
        assert_eq!(daemon.reload().expect("it runs").code, Some(0));
    };
    // The first reload and the first event bring up what stays: a thread for blocking work, the history's files.
    reload("warm");
    handled(&daemon);
    plugins.journal().wait(1, "start destroy");
    let children = usize::from(outside);
    let settled = wait::until("one process", PATIENCE, || Some(possessions(pid)).filter(|p| p.2 == children));
    let before = settled.expect("the process of the plugin outside alone");
    for number in 0..20 {
        reload(&format!("r{number}"));
    }
    handled(&daemon);
    plugins.journal().wait(1, "r18 destroy");
    let mut after = before;
    let same = wait::until("as much as before", PATIENCE, || {
        after = possessions(pid);
        (after.0 <= before.0 && after.1 <= before.1 && after.2 == before.2).then_some(())
    });
    assert_eq!(same, Ok(()), "threads, descriptors, children: {before:?} before, {after:?} after");
    for tag in ["start", "warm", "r0", "r18"] {
        let ends = (
            plugins.journal().all(&format!("{tag} deactivate")).len(),
            plugins.journal().all(&format!("{tag} destroy")).len(),
        );
        assert_eq!(ends, (1, 1), "{tag}");
    }
    assert_eq!(plugins.journal().all("r19 end").len(), 1);
}
