//! The steps of a shutdown, with a real systemd as the first process: units are stopped in order and started again, the state
//! is verified, and the machine ends. One guest is booted for all of it.

use harness::{require, wait};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use system::{Guest, HOME, KEPT};

const LIMIT: Duration = Duration::from_secs(60);
const PLUGINS: [&str; 3] = ["stop-units", "verify-state", "finish"];
const UNITS: [(&str, &str); 7] = [
    ("db.service", include_str!("units/db.service")),
    ("web.service", include_str!("units/web.service")),
    ("sidecar.service", include_str!("units/sidecar.service")),
    ("worker@.service", include_str!("units/worker@.service")),
    ("stubborn.service", include_str!("units/stubborn.service")),
    ("resting.service", include_str!("units/resting.service")),
    ("snoozed.service", include_str!("units/snoozed.service")),
];
/// Those that run before anything happens.
const RUNNING: &str = "db.service web.service sidecar.service worker@1.service worker@2.service stubborn.service";

fn config() -> Value {
    let stop = |units: Value| json!({ "name": "stop-units", "config": { "units": units } });
    let late = json!({ "name": "stop-units", "timeout_seconds": 2, "config": { "units": ["stubborn.service"] } });
    let by_dependencies =
        json!({ "name": "stop-units", "config": { "units": ["db.service", "web.service"], "order": "dependencies" } });
    let unheld = json!({ "name": "verify-state", "timeout_seconds": 2, "config": { "checks": [
        { "unit_inactive": "db.service" }, { "port_closed": "127.0.0.1:7777" }, { "process_gone": "/run/web.pid" },
        { "unit_inactive": "no-such.service" }, { "command": ["false"] }, { "command": ["false"], "expect_exit": 1 },
    ] } });
    let handlers = |plugins: Value| json!({ "plugins": plugins });
    json!({
        "event_handlers": {
            "cloud.spot.interrupt": handlers(json!([
                { "name": "stop-units", "config": { "kill_after_ms": 1000, "units": [
                    "web.service", ["worker@*.service"], "stubborn.service", "db.service", "resting.service", "masked.service",
                    "no-such.service",
                ] } },
                { "name": "verify-state", "config": { "checks": [
                    { "unit_inactive": "web.service" }, { "port_closed": "127.0.0.1:7777" },
                    { "process_gone": "/run/web.pid" }, { "file": "/run/saved", "newer_than_event": true, "min_bytes": 6 },
                    { "command": ["test", "-e", "/run/saved"] },
                ] } },
                { "name": "finish", "config": { "action": "hibernate", "delay_seconds": 600 } },
            ])),
            "system.shutdown": handlers(json!([
                { "name": "verify-state", "config": { "checks": [{ "command": ["sleep", "1"] }] } },
            ])),
            "custom.order": handlers(json!([by_dependencies])),
            "custom.late": handlers(json!([late])),
            "custom.own": handlers(json!([stop(json!(["snoozed.service", "system.slice"]))])),
            "custom.denied": handlers(json!([stop(json!(["dbus.socket"]))])),
            "custom.state": handlers(json!([unheld])),
            "custom.end": handlers(json!([
                // What does not stop would keep the machine from ending.
                { "name": "stop-units", "config": { "units": ["stubborn.service"], "kill_after_ms": 500 } },
                { "name": "finish", "config": { "action": "poweroff", "delay_seconds": 3 } },
            ])),
        },
        "plugin_directories": [format!("{HOME}/plugins")],
        "sources": { "aws": { "enabled": false }, "detect": { "enabled": false } },
        "report": { "file": KEPT },
    })
}

/// The guest, with the daemon in it.
struct Machine(Guest);

impl Machine {
    fn boot() -> Option<Self> {
        let guest = Guest::boot("the steps of a shutdown", Path::new(env!("CARGO_TARGET_TMPDIR")), &PLUGINS)?;
        for (name, text) in UNITS {
            guest.write(&format!("/run/systemd/system/{name}"), text);
        }
        guest.write("/etc/listen.pl", include_str!("units/listen.pl"));
        guest.write("/etc/polkit-1/rules.d/50-cloudsnooze.rules", include_str!("units/rules.js"));
        guest.write("/etc/cloudsnooze/cloudsnooze.json", &format!("{:#}\n", config()));
        guest.sh("ln -s /dev/null /run/systemd/system/masked.service && systemctl daemon-reload");
        guest.sh(&format!("systemctl start {RUNNING}"));
        guest.sh("systemctl start snoozed.service || { journalctl -u snoozed.service --no-pager; exit 1; }");
        Some(Self(guest))
    }

    /// Has an event made up and handled to its end, and gives the report.
    fn event(&self, kind: &str) -> Value {
        self.simulate(&format!("{kind} --in 300s"))
    }

    /// Withdraws the event of a report, and gives the report of that.
    fn withdraw(&self, report: &Value) -> Value {
        let text = |key: &str| report[key].as_str().unwrap_or_else(|| panic!("{report:#}"));
        self.simulate(&format!("{}.cancelled --cancels {}", text("type"), text("event_id")))
    }

    fn simulate(&self, what: &str) -> Value {
        let script = format!("{HOME}/bin/snooze simulate {what} --wait --json");
        let output = self.0.run(&["sh", "-c", &script]).and_then(|output| output.told(what));
        let text = output.unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    fn log(&self) -> String {
        self.0.sh("journalctl -u snoozed.service --no-pager -n 60")
    }

    fn active(&self) -> String {
        self.0.sh("systemctl list-units --state=active --no-legend --plain | cut -d ' ' -f 1")
    }

    fn state(&self, unit: &str) -> String {
        self.0.sh(&format!("systemctl show -P ActiveState {unit}"))
    }

    /// Lines of a file that the units write, which is then empty.
    fn lines(&self, file: &str) -> Vec<String> {
        let text = self.0.sh(&format!("cat {file} && : > {file}"));
        text.lines().map(str::to_owned).collect()
    }

    fn scheduled(&self) -> String {
        self.0.sh("busctl get-property org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager \
             ScheduledShutdown")
    }
}

fn handler<'r>(report: &'r Value, name: &str) -> &'r Value {
    let handlers = report["handlers"].as_array().unwrap_or_else(|| panic!("{report:#}"));
    handlers.iter().find(|handler| handler["handler"] == name).unwrap_or_else(|| panic!("no {name} in {report:#}"))
}

/// The result of a handler that is done and proved.
fn proved<'r>(report: &'r Value, name: &str) -> &'r Value {
    let handler = handler(report, name);
    assert_eq!((&handler["status"], &handler["verified"]), (&json!("handled"), &json!("yes")), "{report:#}");
    &handler["result"]
}

/// The error of a handler that failed.
fn failed<'r>(report: &'r Value, name: &str) -> &'r str {
    let handler = handler(report, name);
    assert!(handler["status"] != "handled", "{report:#}");
    handler["error"].as_str().unwrap_or_else(|| panic!("{report:#}"))
}

fn unit<'r>(result: &'r Value, name: &str) -> &'r Value {
    let units = result["evidence"]["units"].as_array().unwrap_or_else(|| panic!("{result:#}"));
    units.iter().find(|unit| unit["unit"] == name).unwrap_or_else(|| panic!("no {name} in {result:#}"))
}

#[test]
fn a_machine_is_shut_down_step_by_step_and_gets_up_again_when_the_notice_is_withdrawn() {
    let Some(mut machine) = Machine::boot() else { return };
    let before = machine.active();
    let report = units_stop_in_order_and_the_state_is_verified(&machine);
    a_restarted_daemon_starts_them_again_when_the_notice_is_withdrawn(&machine, &report);
    assert_eq!(machine.active(), before, "the same units are active as before");
    a_drill_stops_and_starts_for_real_and_leaves_no_trace(&machine);
    dependencies_decide_about_the_order_if_asked_to(&machine);
    what_does_not_stop_is_told_and_started_again_all_the_same(&machine);
    the_daemon_does_not_stop_itself_nor_what_it_may_not(&machine);
    what_does_not_hold_is_told_with_what_was_found(&machine);
    without_a_bus_nothing_is_done_and_root_needs_no_rule(&machine);
    assert_eq!(machine.active(), before, "the same units are active as before");
    a_shutdown_would_be_held_up(&machine);
    the_machine_ends_after_the_report(&mut machine);
    its_end_was_an_event_whose_handlers_it_waited_for(&machine);
}

fn units_stop_in_order_and_the_state_is_verified(machine: &Machine) -> Value {
    machine.lines("/run/started");
    let report = machine.event("cloud.spot.interrupt");
    let stopped = proved(&report, "stop-units");
    let order = json!([
        ["web.service", "sidecar.service"],
        ["worker@1.service", "worker@2.service"],
        ["stubborn.service"],
        ["db.service"],
    ]);
    assert_eq!(stopped["order"], order, "{stopped:#}");
    let mut ended = machine.lines("/run/stopped");
    ended[..2].sort();
    ended[2..4].sort();
    let wanted =
        ["sidecar.service", "web.service", "worker@1.service", "worker@2.service", "stubborn.service", "db.service"];
    assert_eq!(ended, wanted, "systemd saw the same order");
    let web = unit(stopped, "web.service");
    assert_eq!((&web["before"]["active_state"], &web["before"]["sub_state"]), (&json!("active"), &json!("running")));
    assert_eq!(
        (&web["after"]["active_state"], &web["after"]["result"]),
        (&json!("inactive"), &json!("success")),
        "{web}"
    );
    assert_eq!(unit(stopped, "sidecar.service")["along_with"], "web.service");
    let stubborn = unit(stopped, "stubborn.service");
    assert_eq!((&stubborn["killed"], &stubborn["after"]["exec_main_status"]), (&json!(true), &json!(9)), "{stubborn}");
    let skipped: Vec<&str> =
        stopped["skipped"].as_array().expect("a list").iter().filter_map(|skipped| skipped["unit"].as_str()).collect();
    assert_eq!(skipped, ["resting.service", "masked.service", "no-such.service"]);
    for name in RUNNING.split(' ') {
        assert!(["inactive", "failed"].contains(&machine.state(name).as_str()), "{name} is {}", machine.state(name));
    }
    let verified = proved(&report, "verify-state");
    assert_eq!(verified["evidence"]["checks"].as_array().map(Vec::len), Some(5), "{verified:#}");
    let finish = proved(&report, "finish");
    assert_eq!(finish["action"], "poweroff", "a container cannot hibernate");
    assert_eq!(finish["skipped"], "hibernate: this machine cannot");
    assert!(machine.scheduled().starts_with("(st) \"poweroff\" "), "{}", machine.scheduled());
    report
}

fn a_restarted_daemon_starts_them_again_when_the_notice_is_withdrawn(machine: &Machine, notice: &Value) {
    machine.0.sh("systemctl kill -s KILL snoozed.service; systemctl restart snoozed.service");
    let report = machine.withdraw(notice);
    let started = proved(&report, "stop-units");
    assert_eq!(unit(started, "db.service")["after"]["active_state"], "active");
    let mut begun = machine.lines("/run/started");
    begun[2..4].sort();
    begun[4..].sort();
    let wanted =
        ["db.service", "stubborn.service", "worker@1.service", "worker@2.service", "sidecar.service", "web.service"];
    assert_eq!(begun, wanted, "in reverse, and nothing else");
    assert_eq!(
        (machine.state("resting.service"), machine.state("masked.service")),
        ("inactive".into(), "inactive".into())
    );
    assert_eq!(handler(&report, "finish")["result"]["action"], "cancel", "{report:#}");
    assert!(machine.scheduled().starts_with("(st) \"\" "), "nothing is scheduled any more: {}", machine.scheduled());
    let again = machine.withdraw(notice);
    assert_eq!(handler(&again, "stop-units")["status"], "declined", "what was undone is not undone again");
}

fn a_drill_stops_and_starts_for_real_and_leaves_no_trace(machine: &Machine) {
    let snooze = format!("{HOME}/bin/snooze");
    if machine.0.run(&[&snooze, "drill", "--help"]).is_ok_and(|output| output.code != Some(0)) {
        require::missing_means_skip("a drill with real units: this snooze knows no drills");
        return;
    }
    let before = machine.active();
    machine.0.sh("rm -f /run/saved; touch /run/begun");
    for file in ["/run/started", "/run/stopped"] {
        machine.lines(file);
    }
    let output = machine.0.run(&[&snooze, "drill", "cloud.spot.interrupt", "--in", "60s", "--json"]);
    let text = output.and_then(|output| output.told("the drill")).unwrap_or_else(|error| panic!("{error}"));
    let both: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let (drill, withdrawal) = (&both["drill"], &both["withdrawal"]);
    proved(drill, "stop-units");
    let checked = &handler(drill, "verify-state")["result"];
    assert_eq!((&checked["holds"], &checked["rounds"]), (&json!(true), &json!(1)), "{drill:#}");
    let finish = &handler(drill, "finish")["result"];
    assert_eq!((&finish["action"], &finish["would"]), (&json!("check"), &json!("poweroff")), "{drill:#}");
    assert!(machine.scheduled().starts_with("(st) \"\" "), "{}", machine.scheduled());
    proved(withdrawal, "stop-units");
    let (mut stopped, mut started) = (machine.lines("/run/stopped"), machine.lines("/run/started"));
    stopped.sort();
    started.sort();
    let mut wanted: Vec<&str> = RUNNING.split(' ').collect();
    wanted.sort_unstable();
    assert_eq!(stopped, wanted);
    assert_eq!(started, wanted);
    assert_eq!(machine.active(), before, "the same units are active as before");
    let changed =
        "find /etc /usr /srv /home /root /run/systemd/system /run/systemd/transient -newer /run/begun -type f";
    assert_eq!(machine.0.sh(&format!("{changed} 2>/dev/null || true")), "", "nothing else was changed");
    assert_eq!(machine.0.sh("find /var/lib/cloudsnooze -name stopped-units.json -o -name scheduled.json"), "");
}

fn dependencies_decide_about_the_order_if_asked_to(machine: &Machine) {
    let report = machine.event("custom.order");
    let stopped = proved(&report, "stop-units");
    assert_eq!(stopped["order"], json!([["web.service", "sidecar.service"], ["db.service"]]), "{stopped:#}");
    proved(&machine.withdraw(&report), "stop-units");
}

fn what_does_not_stop_is_told_and_started_again_all_the_same(machine: &Machine) {
    let report = machine.event("custom.late");
    let error = failed(&report, "stop-units");
    assert!(error.contains("stubborn.service: it is still deactivating (stop-sigterm) after "), "{error}");
    machine.0.sh("systemctl kill -s KILL stubborn.service");
    let ended = wait::until("its end", LIMIT, || (machine.state("stubborn.service") == "failed").then_some(()));
    ended.unwrap_or_else(|error| panic!("{error}"));
    proved(&machine.withdraw(&report), "stop-units");
    assert_eq!(machine.state("stubborn.service"), "active");
}

fn the_daemon_does_not_stop_itself_nor_what_it_may_not(machine: &Machine) {
    let report = machine.event("custom.own");
    let error = failed(&report, "stop-units");
    assert!(error.contains("snoozed.service: this daemon runs in it"), "{error}");
    assert!(error.contains("system.slice: systemd would stop snoozed.service with it"), "{error}");
    let report = machine.event("custom.denied");
    let error = failed(&report, "stop-units");
    assert!(error.starts_with("dbus.socket: ") && error.contains("uthenti"), "{error}");
    assert_eq!(machine.state("dbus.socket"), "active");
}

fn what_does_not_hold_is_told_with_what_was_found(machine: &Machine) {
    let report = machine.event("custom.state");
    let error = failed(&report, "verify-state");
    for words in [
        "unit db.service: active (running), expected inactive",
        "port 127.0.0.1:7777: a connection was accepted, expected refused",
        " is there, expected gone",
        "unit no-such.service: systemd knows no such unit",
        "command false: exit code 1, expected exit code 0",
    ] {
        assert!(error.contains(words), "{words}: {error}");
    }
    let result = &handler(&report, "verify-state")["result"];
    let holds = result["evidence"]["checks"].as_array().expect("a list").iter().map(|check| check["holds"] == true);
    assert_eq!(holds.collect::<Vec<_>>(), [false, false, false, false, false, true], "{result:#}");
    assert!(result["rounds"].as_u64().is_some_and(|rounds| rounds > 2), "it looked again: {result:#}");
}

fn without_a_bus_nothing_is_done_and_root_needs_no_rule(machine: &Machine) {
    let restart = |drop_in: &str| {
        machine.0.write("/run/systemd/system/snoozed.service.d/test.conf", &format!("[Service]\n{drop_in}\n"));
        machine.0.sh("systemctl daemon-reload && systemctl restart snoozed.service");
    };
    restart("Environment=DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent");
    let report = machine.event("custom.order");
    let error = failed(&report, "stop-units");
    assert!(error.starts_with("cannot reach the system bus: "), "{error}");
    assert_eq!(machine.state("web.service"), "active");
    machine.0.sh("rm /etc/polkit-1/rules.d/50-cloudsnooze.rules");
    restart("User=root");
    let report = machine.event("custom.order");
    proved(&report, "stop-units");
    proved(&machine.withdraw(&report), "stop-units");
}

fn the_machine_ends_after_the_report(machine: &mut Machine) {
    let report = machine.event("custom.end");
    let finish = handler(&report, "finish");
    assert_eq!(finish["status"], "handled", "{report:#}");
    assert_eq!(finish["result"]["evidence"]["scheduled"]["after"]["type"], "poweroff", "{report:#}");
    machine.0.wait_for_end(LIMIT).unwrap_or_else(|error| panic!("{error}: {}", machine.0.tail()));
}

fn a_shutdown_would_be_held_up(machine: &Machine) {
    let status: Value =
        serde_json::from_str(&machine.0.sh(&format!("{HOME}/bin/snooze status --json || true"))).expect("a status");
    let source = status["sources"].as_array().and_then(|all| all.iter().find(|s| s["name"] == "system.logind"));
    let source = source.unwrap_or_else(|| panic!("{status:#}"));
    assert_eq!(source["state"], "watching", "{source:#}");
    assert!(source["summary"].as_str().is_some_and(|text| text.contains("for 5 s at most")), "{source:#}");
    let locks = machine.0.sh("systemd-inhibit --list --no-legend --no-pager");
    assert!(locks.contains("CloudSnooze") && locks.contains("delay"), "{locks}");
}

/// The report was written while the login manager waited: afterwards there was no daemon any more.
fn its_end_was_an_event_whose_handlers_it_waited_for(machine: &Machine) {
    let files = std::fs::read_dir(machine.0.kept()).expect("the reports");
    let texts = files.filter_map(|file| std::fs::read_to_string(file.ok()?.path()).ok());
    let reports = texts.filter_map(|text| serde_json::from_str::<Value>(&text).ok());
    let ends: Vec<Value> = reports.filter(|report| report["type"] == "system.shutdown").collect();
    let [end] = ends.as_slice() else { panic!("{} reports of a shutdown: {ends:#?}", ends.len()) };
    assert_eq!((&end["state"], &end["event"]["source"]), (&json!("completed"), &json!("system.logind")), "{end:#}");
    assert_eq!(handler(end, "verify-state")["status"], "handled", "{end:#}");
}
