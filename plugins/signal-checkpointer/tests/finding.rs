//! Which process is signalled, and above all which is not.

mod subject;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::TestInstance;
use nix::unistd::Uid;
use serde_json::{Value, json};
use signal_checkpointer::SignalCheckpointer;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};
use subject::{PLENTY, Subject, end, event, failed, handled, missing, one, plugin, save_file};

const NOTICE: &str = "cloud.spot.interrupt";
const SAVES: &str = "trap 'echo saved > ckpt' USR1";
/// Names the directory of a target of which nobody but its owner may know, for the test that runs itself as another user.
const OTHERS: &str = "CLOUDSNOOZE_TEST_PROCESS_OF_ANOTHER";

fn found_by(dir: &Path, find: Value) -> TestInstance<SignalCheckpointer> {
    plugin(&json!({ "targets": [{ "process": find, "save": save_file(dir, "ckpt*") }] }))
}

/// The directory stands in the command line of a subject's shell.
fn command_line(dir: &Path) -> String {
    format!(" {}$", dir.display())
}

#[test]
fn a_number_that_was_left_behind_is_never_signalled() {
    let dir = tempfile::tempdir().unwrap();
    let mut subject = Subject::shell(dir.path(), SAVES);
    let file = dir.path().join("pid");
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
    fs::File::options().write(true).open(&file).unwrap().set_modified(an_hour_ago).unwrap();
    let stale = found_by(dir.path(), json!({ "pid_file": file }));
    let text = failed(&stale.deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_STATE);
    assert!(text.contains("it was left behind by another process"), "{text}");
    assert!(stale.log()[0].contains("left behind"), "the mistake shows when it is activated: {:?}", stale.log());
    // Another program has the number now.
    let other = found_by(dir.path(), json!({ "pid_file": file, "name": "python3" }));
    assert!(failed(&other.deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_STATE).contains("no process was found"));
    assert!(subject.is_alive() && subject.read("ckpt").is_empty());
    // What is known of the process itself tells more than the age of the file.
    let known = found_by(dir.path(), json!({ "pid_file": file, "command_line": command_line(dir.path()) }));
    handled(known.deliver(&event(NOTICE), PLENTY));
}

#[test]
fn a_number_that_nobody_has_or_that_is_none_signals_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let mut subject = Subject::shell(dir.path(), SAVES);
    subject.kill();
    let file = dir.path().join("pid");
    for (content, said) in [
        (subject.pid().to_string(), "no process was found"),
        ("1".to_owned(), "no process was found"),
        ("-1".to_owned(), "no process was found"),
        ("0".to_owned(), "no process was found"),
        (std::process::id().to_string(), "no process was found"),
        (String::new(), "does not begin with a number"),
        ("sshd".to_owned(), "does not begin with a number"),
    ] {
        fs::write(&file, &content).unwrap();
        let plugin = found_by(dir.path(), json!({ "pid_file": file }));
        let text = failed(&plugin.deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_STATE);
        assert!(text.contains(said), "{content:?}: {text}");
    }
}

#[test]
fn name_user_and_command_line_must_all_be_true() {
    let dir = tempfile::tempdir().unwrap();
    let subject = Subject::shell(dir.path(), SAVES);
    let user = Uid::current().to_string();
    let find = |name: &str, user: &str| json!({ "name": name, "user": user, "command_line": command_line(dir.path()) });
    for wrong in [find("bash", &user), find("sh", "65533")] {
        let text = failed(&found_by(dir.path(), wrong).deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_STATE);
        assert!(text.contains("no process was found"), "{text}");
    }
    assert_eq!(subject.read("ckpt"), "");
    let result = handled(found_by(dir.path(), find("sh", &user)).deliver(&event(NOTICE), PLENTY));
    assert_eq!(result["targets"][0]["evidence"]["processes"][0]["pid"], subject.pid().as_raw());
}

#[test]
fn several_that_match_are_a_mistake_unless_it_is_said_which() {
    let dir = tempfile::tempdir().unwrap();
    let all: Vec<Subject> = ["a", "b"]
        .map(|name| {
            let dir = dir.path().join(name);
            fs::create_dir(&dir).unwrap();
            Subject::shell(&dir, &format!("trap 'echo saved > ../ckpt-{name}' USR1"))
        })
        .into();
    let saved = || ["ckpt-a", "ckpt-b"].map(|name| dir.path().join(name).exists());
    let find = |pick: &str| json!({ "command_line": format!(" {}/[ab]$", dir.path().display()), "pick": pick });
    let text = failed(&found_by(dir.path(), find("only")).deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_STATE);
    assert!(text.contains("2 processes match") && text.contains(&format!("sh ({})", all[1].pid())), "{text}");
    assert_eq!(saved(), [false, false]);
    handled(found_by(dir.path(), find("oldest")).deliver(&event(NOTICE), PLENTY));
    assert_eq!(saved(), [true, false]);
    let result = handled(found_by(dir.path(), find("all")).deliver(&event(NOTICE), PLENTY));
    assert_eq!((saved(), &result["targets"][0]["evidence"]["process_count"]), ([true, true], &json!(2)));
}

#[test]
fn children_and_the_group_are_signalled_only_when_they_are_included() {
    let dir = tempfile::tempdir().unwrap();
    // A leader that ignores the signal itself, as launchers do, and two workers that save.
    let worker = |name: &str| {
        format!("sh -c 'trap \"echo saved > ckpt-{name}\" USR1; : > ready-{name}; while :; do sleep 0.02; done' &")
    };
    let wait = "until test -e ready-a && test -e ready-b; do sleep 0.01; done; trap : USR1";
    let _subject = Subject::shell(dir.path(), &format!("{}\n{}\n{wait}", worker("a"), worker("b")));
    for (include, works) in [("process", false), ("children", true), ("group", true)] {
        for name in ["ckpt-a", "ckpt-b"] {
            let _none_there = fs::remove_file(dir.path().join(name));
        }
        let mut save = save_file(dir.path(), "ckpt-*");
        save["until"]["file"]["count"] = json!(2);
        let plugin = plugin(&one(dir.path(), json!({ "include": include, "save": save })));
        let left = if works { PLENTY } else { Duration::from_millis(500) };
        let delivered = plugin.deliver(&event(NOTICE), left);
        if works {
            let result = handled(delivered);
            let evidence = &result["targets"][0]["evidence"];
            assert_eq!(evidence["steps"][0]["proof"]["count"], 2, "{include}: {result}");
            // The shells' own short-lived sleeps may be among them.
            assert!(evidence["process_count"].as_u64().unwrap() >= 3, "{include}: {result}");
        } else {
            failed(&delivered, abi::SNOOZE_E_DEADLINE);
        }
    }
}

#[test]
fn the_end_of_a_process_with_its_children_is_the_end_of_them_all() {
    let dir = tempfile::tempdir().unwrap();
    let slow =
        "sh -c 'trap \"sleep 0.4; echo done > child; exit 0\" TERM; : > ready-c; while :; do sleep 0.02; done' &";
    let wait = "until test -e ready-c; do sleep 0.01; done; trap 'exit 0' TERM";
    let subject = Subject::shell(dir.path(), &format!("{slow}\n{wait}"));
    let plugin = plugin(&one(dir.path(), json!({ "include": "children", "save": end() })));
    handled(plugin.deliver(&event(NOTICE), PLENTY));
    assert_eq!(subject.read("child"), "done", "the child was waited for too");
}

/// A control group of its own; None where this process may make none.
fn control_group() -> Option<PathBuf> {
    let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup", "/sys/fs/cgroup/systemd"].map(Path::new);
    let places = roots.into_iter().filter(|root| root.join("cgroup.procs").exists());
    let mut groups = places.map(|root| root.join(format!("snooze-test-{}", std::process::id())));
    groups.find(|group| fs::create_dir(group).is_ok())
}

#[test]
fn a_control_group_names_the_processes_in_it_and_below() {
    let Some(group) = control_group() else {
        return missing("a_control_group_names_the_processes: no control group can be made");
    };
    let inner = group.join("inner");
    let dir = tempfile::tempdir().unwrap();
    let mut subject = Subject::shell(dir.path(), SAVES);
    let outsider_dir = tempfile::tempdir().unwrap();
    let outsider = Subject::shell(outsider_dir.path(), SAVES);
    let moved = fs::create_dir(&inner).and_then(|()| fs::write(inner.join("cgroup.procs"), subject.pid().to_string()));
    // The name leaves the shell's own short-lived sleeps out.
    let plugin = found_by(dir.path(), json!({ "cgroup": group, "name": "sh" }));
    let delivered = plugin.deliver(&event(NOTICE), PLENTY);
    subject.kill();
    subject::wait_for("the groups to be removable", || {
        let _inner_first = fs::remove_dir(&inner);
        fs::remove_dir(&group).is_ok()
    });
    if let Err(error) = moved {
        return missing(&format!("a_control_group_names_the_processes: none can be moved into it: {error}"));
    }
    let result = handled(delivered);
    assert_eq!(result["targets"][0]["evidence"]["processes"][0]["pid"], subject.pid().as_raw());
    assert_eq!(outsider.read("ckpt"), "");
}

#[test]
fn a_process_of_another_user_is_told_apart_from_one_that_is_not_there() {
    if let Ok(dir) = std::env::var(OTHERS) {
        let find = json!({ "command_line": command_line(Path::new(&dir)) });
        let plugin = plugin(&json!({ "targets": [{ "process": find, "save": end() }] }));
        let text = failed(&plugin.deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_DENIED);
        assert!(text.contains("may not be signalled") && text.contains("CAP_KILL"), "{text}");
        return;
    }
    if !Uid::effective().is_root() {
        return missing("a_process_of_another_user: only root can start one");
    }
    let dir = tempfile::tempdir().unwrap();
    let mut subject = Subject::shell(dir.path(), "trap 'exit 0' TERM");
    // A copy where any user can run it: a checkout may be its owner's alone.
    let copy = tempfile::tempdir().unwrap();
    let program = copy.path().join("finding");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(copy.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program).env(OTHERS, dir.path());
    command.args(["--exact", "a_process_of_another_user_is_told_apart_from_one_that_is_not_there"]);
    let output = match command.current_dir("/").output() {
        Ok(output) => output,
        Err(error) => return missing(&format!("a_process_of_another_user: setpriv: {error}")),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(subject.is_alive());
}
