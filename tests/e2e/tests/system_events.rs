//! The machine's own events, on the real kernel: a disk that fills, a network that goes away, memory that runs out.
//!
//! Where only the kernel's word can bring an event, the daemon looks by itself once in an hour at most.

use e2e::machine::{Group, in_own_network, ip};
use harness::daemon::{Daemon, DaemonBuilder};
use harness::disk::Disk;
use harness::require::{missing_means_skip, not_for_this_machine};
use harness::{paths, program, wait};
use nix::time::{ClockId, clock_gettime, clock_settime};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How long anything may take that is expected; generous, because a busy machine is not what these tests are about.
const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon that watches only this of the machine.
fn daemon(concern: &str, settings: &Value) -> Daemon {
    let bin = paths::bin_dir().unwrap_or_else(|error| panic!("{error}"));
    let config = json!({"sources": {"system": {concern: settings}}});
    DaemonBuilder::new(bin).config(config).start().unwrap_or_else(|error| panic!("{error}"))
}

/// What the daemon says of its watching.
fn status(daemon: &Daemon) -> Option<Value> {
    let status = daemon.snooze_json(&["status", "--json"]).ok()?;
    status["sources"].as_array()?.iter().find(|source| source["name"] == "system").cloned()
}

/// Waits until it says that it watches this: then it has looked once.
fn first_look(daemon: &Daemon, words: &str) {
    let watches = || status(daemon)?["summary"].as_str().is_some_and(|text| text.contains(words)).then_some(());
    wait::until("a first look", PATIENCE, watches).unwrap_or_else(|error| panic!("{error}: {:#?}", status(daemon)));
}

/// Every event of this type and resource, the newest first.
fn events(daemon: &Daemon, event_type: &str, resource: &str) -> Vec<Value> {
    let list = daemon.snooze_json(&["events", "--json", "--limit", "50", "--type", event_type]).expect("a list");
    let ids = list["events"].as_array().into_iter().flatten().filter_map(|event| event["event_id"].as_str());
    let reports = ids.filter_map(|id| daemon.snooze_json(&["report", id, "--json"]).ok());
    let of_it = |report: &Value| report["event"]["data"]["resources"][0] == resource;
    reports.filter(of_it).map(|report| report["event"].clone()).collect()
}

/// The one event of this type and resource, when it has come.
fn told(daemon: &Daemon, event_type: &str, resource: &str) -> Value {
    let found = wait::until(&format!("{event_type} of {resource}"), PATIENCE, || {
        events(daemon, event_type, resource).into_iter().next()
    });
    found.unwrap_or_else(|error| panic!("{error}: {:#?}", status(daemon)))
}

/// Its recovery, when it has come.
fn recovered(daemon: &Daemon, alarm: &Value) -> Value {
    let event_type = alarm["type"].as_str().expect("a type");
    let (family, _) = event_type.rsplit_once('.').expect("words");
    let resource = alarm["data"]["resources"][0].as_str().expect("a resource");
    let found = wait::until(&format!("the end of {event_type} of {resource}"), PATIENCE, || {
        let ends = events(daemon, &format!("{family}.recovered"), resource);
        ends.into_iter().find(|end| end["data"]["recovers"] == alarm["id"])
    });
    let end = found.unwrap_or_else(|error| panic!("{error}: {alarm:#}"));
    assert_eq!((&end["severity"], &end["data"]["cancels"]), (&json!("info"), &json!(null)), "{end:#}");
    end
}

fn disk(test: &str, options: &str) -> Option<Disk> {
    match Disk::new("ext4", 64, options) {
        Ok(disk) => Some(disk),
        Err(error) => {
            missing_means_skip(&format!("{test}: {error}"));
            None
        }
    }
}

fn place(disk: &Disk) -> String {
    disk.path().display().to_string()
}

fn fill(disk: &Disk, mib: usize) {
    fs::write(disk.join("full"), vec![b'x'; mib << 20]).expect("written");
}

fn mount(disk: &Disk, options: &str) {
    let output = program::run(Command::new("mount").args(["-o", options]).arg(disk.path()), PATIENCE);
    output.and_then(|output| output.success("mount")).expect("mounted again");
}

#[test]
fn a_disk_that_fills_is_told_once_also_across_a_restart_and_so_is_that_there_is_room_again() {
    let Some(disk) = disk("a disk that fills", "") else { return };
    let settings = json!({
        "enabled": true, "mount_points": [disk.path()], "interval_seconds": 1, "pressure_free_percent": 25,
        "full_within_seconds": 0,
    });
    let mut daemon = daemon("disk", &settings);
    fill(&disk, 48);
    let alarm = told(&daemon, "system.disk.pressure", &place(&disk));
    let data = &alarm["data"];
    assert_eq!((&data["check"], &alarm["source"]), (&json!("space"), &json!("system.disk")), "{alarm:#}");
    assert_eq!((&alarm["severity"], &data["noticeKind"]), (&json!("warning"), &json!("advisory")), "{alarm:#}");
    assert_eq!((&data["mountPoint"], &data["fileSystem"]), (&json!(place(&disk)), &json!("ext4")), "{alarm:#}");
    assert!(data["freePercent"].as_f64().is_some_and(|free| free < 25.0), "{alarm:#}");
    assert!(data["freeBytes"].as_u64() < data["totalBytes"].as_u64(), "{alarm:#}");

    daemon.kill9();
    daemon.start_again().expect("it starts");
    // More of the same, so that a daemon that had forgotten would see it anew; nothing is made shorter for that.
    fs::write(disk.join("more"), vec![b'x'; 1 << 20]).expect("written");
    let polls = || status(&daemon)?["polls"].as_u64();
    wait::until("three looks", PATIENCE, || polls().filter(|polls| *polls >= 3)).expect("it looks");
    fs::remove_file(disk.join("full")).expect("removed");
    let end = recovered(&daemon, &alarm);
    assert!(end["data"]["freePercent"].as_f64().is_some_and(|free| free > 31.0), "{end:#}");
    assert!(end["data"]["lastedSeconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{end:#}");
    assert_eq!(events(&daemon, "system.disk.pressure", &place(&disk)).len(), 1, "it was told once");
}

#[test]
fn a_disk_that_will_soon_be_full_is_told_before_it_is_with_the_time() {
    let Some(disk) = disk("a disk that will be full", "") else { return };
    let settings = json!({
        "enabled": true, "mount_points": [disk.path()], "interval_seconds": 1, "pressure_free_percent": 1,
        "full_within_seconds": 3600, "prediction_window_seconds": 10,
    });
    let daemon = daemon("disk", &settings);
    let mut written = 0;
    let alarm = wait::until("a word before the end", PATIENCE, || {
        // A little more at every look of this test.
        written += 1;
        fs::write(disk.join(&format!("part-{written}")), vec![b'x'; 100 << 10]).expect("there is room");
        events(&daemon, "system.disk.pressure", &place(&disk)).into_iter().next()
    });
    let alarm = alarm.unwrap_or_else(|error| panic!("{error} after {written} parts"));
    let data = &alarm["data"];
    assert_eq!((&data["check"], &data["noticeKind"]), (&json!("space"), &json!("deadline")), "{alarm:#}");
    assert!(data["fullInSeconds"].as_f64().is_some_and(|seconds| seconds < 3_600.0), "{alarm:#}");
    assert!(data["time"].is_string() && data["freePercent"].as_f64().is_some_and(|free| free > 1.0), "{alarm:#}");
}

#[test]
fn a_disk_that_becomes_read_only_is_told_by_the_kernels_word() {
    let Some(disk) = disk("a disk that becomes read-only", "") else { return };
    let settings = json!({"enabled": true, "mount_points": [disk.path()], "interval_seconds": 3600});
    let daemon = daemon("disk", &settings);
    first_look(&daemon, "disk: /");
    mount(&disk, "remount,ro");
    let alarm = told(&daemon, "system.disk.failure", &place(&disk));
    assert_eq!((&alarm["data"]["check"], &alarm["severity"]), (&json!("read-only"), &json!("urgent")), "{alarm:#}");
    mount(&disk, "remount,rw");
    recovered(&daemon, &alarm);
}

#[test]
fn errors_of_a_file_system_are_told_and_over_when_there_are_no_more() {
    let Some(disk) = disk("errors of a file system", "errors=continue") else { return };
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    let line = mounts.lines().find(|line| line.contains(&place(&disk))).expect("it is mounted");
    let device = line.split(' ').next().and_then(|device| device.strip_prefix("/dev/")).expect("a device");
    let trigger = Path::new("/sys/fs/ext4").join(device).join("trigger_fs_error");
    if !trigger.exists() {
        missing_means_skip("errors of a file system: this kernel makes none when asked to (trigger_fs_error)");
        return;
    }
    let settings = json!({
        "enabled": true, "mount_points": [disk.path()], "interval_seconds": 1, "recovered_after_seconds": 3,
    });
    let daemon = daemon("disk", &settings);
    first_look(&daemon, "disk: /");
    fs::write(&trigger, "a test").expect("an error");
    let alarm = told(&daemon, "system.disk.failure", &place(&disk));
    assert_eq!((&alarm["data"]["check"], &alarm["data"]["errorsCount"]), (&json!("errors"), &json!(1)), "{alarm:#}");
    recovered(&daemon, &alarm);
}

#[test]
fn a_group_that_waits_for_memory_is_told_by_the_kernels_word_and_so_is_a_kill() {
    let mut group = match Group::with_memory("waits", 24 << 20) {
        Ok(group) => group,
        Err(error) => {
            missing_means_skip(&format!("memory that runs out: {error}"));
            return;
        }
    };
    let settings = json!({
        "enabled": true, "control_groups": [group.path], "stall_percent": 1, "window_seconds": 2,
        "recovered_after_seconds": 4, "failure_recovered_after_seconds": 5,
    });
    let daemon = daemon("memory", &settings);
    let resource = group.path.display().to_string();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("larger-than-the-group");
    // Written in the group, so that its pages count there.
    let read = format!("head -c 100M /dev/zero > {0}; while :; do cat {0}; done", file.display());
    group.run(&read).expect("it runs");
    let alarm = told(&daemon, "system.memory.pressure", &resource);
    let data = &alarm["data"];
    assert_eq!((&data["check"], &data["controlGroup"]), (&json!("stall"), &json!(resource)), "{alarm:#}");
    assert!(data["availableBytes"].as_u64() < data["totalBytes"].as_u64(), "{alarm:#}");
    group.end();
    recovered(&daemon, &alarm);

    let killed = |text: &str| text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse::<u64>().ok());
    let killed = || fs::read_to_string("/proc/vmstat").ok().and_then(|text| killed(&text));
    let before = killed().expect("this kernel counts");
    group.run("head -c 100M /dev/zero | tail -c 90M").expect("it runs");
    wait::until("a kill", PATIENCE, || killed().filter(|now| *now > before)).expect("the kernel kills");
    let alarm = told(&daemon, "system.memory.failure", "machine");
    assert_eq!(alarm["data"]["check"], "killed", "{alarm:#}");
    assert!(alarm["data"]["killedCount"].as_u64() >= Some(1), "{alarm:#}");
    recovered(&daemon, &alarm);
    if !group.path.join("memory.events").exists() {
        not_for_this_machine("a kill told by its control group: memory is accounted for by version 1 of them here");
    }
}

#[test]
fn an_interface_that_goes_away_and_a_gateway_that_does_not_answer_are_told_and_so_is_their_return() {
    if program::find("ip").is_none() {
        missing_means_skip("a network that goes away: there is no ip (Debian package iproute2)");
        return;
    }
    let done = in_own_network(|| {
        ip("link add up0 type veth peer name far0");
        ip("addr add 10.99.0.1/24 dev up0");
        ip("link set far0 up");
        ip("link set up0 up");
        ip("route add default via 10.99.0.254 dev up0");
        let daemon = daemon("network", &json!({"enabled": true, "settle_seconds": 0.3}));
        first_look(&daemon, "up0");
        for (breaks, mends, state) in [
            ("link set up0 down", &["link set up0 up"][..], "down"),
            ("link set far0 down", &["link set far0 up"], "no-carrier"),
            ("addr del 10.99.0.1/24 dev up0", &["addr add 10.99.0.1/24 dev up0"], "no-address"),
            ("link del up0", &[], "missing"),
        ] {
            let before = events(&daemon, "system.network.failure", "up0").len();
            ip(breaks);
            let alarm = wait::until(state, PATIENCE, || {
                let all = events(&daemon, "system.network.failure", "up0");
                (all.len() > before).then(|| all[0].clone())
            });
            let alarm = alarm.unwrap_or_else(|error| panic!("{error}: {}", daemon.log_tail()));
            assert_eq!((&alarm["data"]["check"], &alarm["data"]["state"]), (&json!("interface"), &json!(state)));
            let again = [
                "link add up0 type veth peer name far0",
                "addr add 10.99.0.1/24 dev up0",
                "link set far0 up",
                "link set up0 up",
            ];
            let mends = if mends.is_empty() { &again[..] } else { mends };
            mends.iter().for_each(|words| ip(words));
            recovered(&daemon, &alarm);
        }
        the_route_and_its_gateway(&daemon);
    });
    if let Err(error) = done {
        missing_means_skip(&format!("a network that goes away: {error}"));
    }
}

/// The kernel took the route away with its interface.
fn the_route_and_its_gateway(daemon: &Daemon) {
    let lost = told(daemon, "system.network.failure", "ipv4");
    assert_eq!(
        (&lost["data"]["check"], &lost["data"]["state"]),
        (&json!("route"), &json!("no-default-route")),
        "{lost:#}"
    );
    ip("route add default via 10.99.0.254 dev up0");
    recovered(daemon, &lost);
    let alarm = wait::until("a gateway that fails", PATIENCE, || {
        // Nobody asks for a gateway that nobody uses.
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
        let _unreachable = socket.send_to(b"x", "198.51.100.1:9");
        let all = events(daemon, "system.network.failure", "ipv4");
        all.into_iter().find(|event| event["data"]["state"] == "gateway-failed")
    });
    let alarm = alarm.unwrap_or_else(|error| panic!("{error}: {}", daemon.log_tail()));
    assert_eq!(alarm["data"]["gateway"], "10.99.0.254", "{alarm:#}");
    ip("neigh replace 10.99.0.254 lladdr 02:00:00:00:00:01 nud permanent dev up0");
    recovered(daemon, &alarm);
}

#[test]
fn a_clock_that_is_set_is_told_by_the_kernels_word() {
    let daemon = daemon("clock", &json!({"enabled": true, "jump_min_seconds": 0}));
    first_look(&daemon, "clock: jumps");
    // To what it reads: it moves by the microseconds between the two calls, which harms nobody, and was set all the same.
    let set = clock_gettime(ClockId::CLOCK_REALTIME).and_then(|now| clock_settime(ClockId::CLOCK_REALTIME, now));
    if let Err(error) = set {
        missing_means_skip(&format!("a clock that is set: {error}"));
        return;
    }
    let event = told(&daemon, "system.clock.jumped", "machine");
    assert_eq!((&event["source"], &event["severity"]), (&json!("system.clock"), &json!("info")), "{event:#}");
    let jumped = event["data"]["jumpSeconds"].as_f64().expect("a number");
    assert!(jumped.abs() < 1.0, "{event:#}");
    not_for_this_machine("a jump of the clock by hours, and a suspend: they would harm whatever else runs here");
}

#[test]
fn what_is_watched_is_said_and_nothing_is_told_of_a_machine_that_is_well() {
    let settings = json!({"enabled": true});
    let bin = paths::bin_dir().unwrap_or_else(|error| panic!("{error}"));
    let all = ["network", "clock", "hardware"].map(|concern| (concern.to_owned(), settings.clone()));
    let system = Value::Object(all.into_iter().collect());
    let daemon = DaemonBuilder::new(bin).config(json!({"sources": {"system": system}})).start().expect("started");
    let source =
        wait::until("every concern", PATIENCE, || status(&daemon).filter(|source| source["state"] == "seeing"));
    let source = source.unwrap_or_else(|error| panic!("{error}"));
    let summary = source["summary"].as_str().expect("a sentence");
    for words in
        ["disk: off", "memory: off", "network: ", "clock: jumps and suspend", "hardware: ", "units: none is set"]
    {
        assert!(summary.contains(words), "{words}: {summary}");
    }
    assert!(events(&daemon, "system.clock.jumped", "machine").is_empty());
}
