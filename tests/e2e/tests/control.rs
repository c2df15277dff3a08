//! Who may do what over the control socket: `snooze` run as other users, against a running daemon of root.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::daemon::{Daemon, DaemonBuilder};
use harness::program::{self, Output};
use harness::{paths, require};
use nix::unistd::{Group, Uid};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(30);
/// A user who is in no group of its own accord.
const NOBODY: &str = "65534";

/// A daemon whose socket other users can reach, and `snooze` where they can run it; None, told loudly, where that cannot be.
fn open(what: &str, control: Value) -> Option<Daemon> {
    if !Uid::effective().is_root() {
        require::missing_means_skip(&format!("{what}: only root can run a program as another user"));
        return None;
    }
    if program::find("setpriv").is_none() {
        require::missing_means_skip(&format!("{what}: there is no setpriv"));
        return None;
    }
    let bin = paths::bin_dir().expect("built");
    let daemon = DaemonBuilder::new(&bin).config(json!({ "control": control })).start().expect("it starts");
    // By a program of its own: a child that another test forks meanwhile would inherit the open copy, and "text file busy".
    let copied = program::run(Command::new("cp").arg(bin.join("snooze")).arg(daemon.root()), LIMIT).expect("it ends");
    copied.success("cp").expect("copied");
    fs::set_permissions(daemon.root(), Permissions::from_mode(0o755)).expect("open for all");
    Some(daemon)
}

/// Runs `snooze` as nobody with this group and these supplementary ones, by name.
fn as_member(daemon: &Daemon, group: &str, supplementary: &[&str], args: &[&str]) -> Output {
    let gid = |name: &str| Group::from_name(name).expect("readable").expect("every system has it").gid.to_string();
    let more: Vec<String> = supplementary.iter().map(|name| gid(name)).collect();
    let groups = if more.is_empty() { "--clear-groups".to_owned() } else { format!("--groups={}", more.join(",")) };
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY, "--regid", &gid(group), &groups]);
    command.arg(daemon.root().join("snooze")).arg("--socket").arg(daemon.socket()).args(args);
    program::run(&mut command, LIMIT).expect("it ends")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

#[test]
fn users_may_do_what_their_groups_may_and_nothing_else() {
    let control = json!({ "read_group": "daemon", "simulate_group": "bin", "administer_group": "sys" });
    let Some(daemon) = open("users_may_do_what_their_groups_may_and_nothing_else", control) else { return };
    assert_eq!(mode(&daemon.socket()), 0o666);
    let commands: [&[&str]; 3] = [&["status", "--json"], &["simulate", "custom.x"], &["reload"]];
    let groups = ["daemon", "bin", "sys"];
    for (allowed, member) in [(0, "adm"), (1, "daemon"), (2, "bin"), (3, "sys")] {
        for (index, args) in commands.into_iter().enumerate() {
            for output in [as_member(&daemon, member, &[], args), as_member(&daemon, "adm", &["tty", member], args)] {
                let said = &output.stderr;
                if index < allowed {
                    // Status says by 1 that the daemon of a test is degraded.
                    assert!(
                        matches!(output.code, Some(0 | 1)) && !said.contains("right"),
                        "{member} {args:?}: {output:?}"
                    );
                    continue;
                }
                assert_eq!((output.code, output.stdout.as_str()), (Some(77), ""), "{member} {args:?}: {said}");
                let right = ["read", "simulate", "administer"][index];
                let holder = groups[index];
                let wanted =
                    format!("user {NOBODY} lacks the right '{right}': it is for root and the group '{holder}'");
                assert!(said.contains(&wanted) && said.contains(&format!("usermod -aG {holder}")), "{said}");
            }
        }
    }
    assert!(daemon.snooze(&["reload"]).expect("it ran").success("reload by root").is_ok());
}

#[test]
fn a_script_of_the_emitting_group_may_tell_of_its_own_events_and_of_no_others() {
    let name = "a_script_of_the_emitting_group_may_tell_of_its_own_events_and_of_no_others";
    let control = json!({ "group": "sys", "emit_group": "bin" });
    let Some(daemon) = open(name, control) else { return };
    let as_script = |args: &[&str]| as_member(&daemon, "bin", &[], args);
    assert_eq!(as_script(&["emit", "custom.x"]).code, Some(0));
    for (args, right) in
        [(&["emit", "cloud.spot.interrupt"][..], "administer"), (&["simulate", "custom.x"], "simulate")]
    {
        let refused = as_script(args);
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(77), ""), "{refused:?}");
        assert!(refused.stderr.contains(&format!("lacks the right '{right}'")), "{refused:?}");
    }
    let administrator = as_member(&daemon, "sys", &[], &["emit", "cloud.spot.interrupt", "--deadline", "60s"]);
    assert_eq!(administrator.code, Some(0), "{administrator:?}");
}

#[test]
fn one_group_for_everything_is_what_it_has_always_been() {
    let Some(daemon) = open("one_group_for_everything_is_what_it_has_always_been", json!({ "group": "bin" })) else {
        return;
    };
    assert_eq!(mode(&daemon.socket()), 0o660);
    for args in [&["status", "--json"][..], &["simulate", "custom.x"], &["reload"]] {
        for output in [as_member(&daemon, "bin", &[], args), as_member(&daemon, "adm", &["bin"], args)] {
            assert!(matches!(output.code, Some(0 | 1)) && !output.stderr.contains("may not"), "{args:?}: {output:?}");
        }
        let stranger = as_member(&daemon, "adm", &[], args);
        assert_eq!(stranger.code, Some(77), "{args:?}: {}", stranger.stderr);
        assert!(stranger.stderr.contains("it is for root and the group 'bin'"), "{}", stranger.stderr);
    }
}

#[test]
fn a_group_that_does_not_exist_keeps_the_daemon_from_starting() {
    let bin = paths::bin_dir().expect("built");
    let config = json!({ "control": { "administer_group": "no-such-group" } });
    let error = DaemonBuilder::new(bin).config(config).start().expect_err("refused");
    assert!(error.contains("there is no group 'no-such-group'"), "{error}");
}
