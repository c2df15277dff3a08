//! What a command inherits, from a host at its worst: real-time scheduling that children keep, every signal blocked, some
//! ignored, one CPU, descriptors that nobody marked.

mod stage;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::SigSet;
use nix::unistd::Pid;
use serde_json::json;
use stage::{NOTICE, PLENTY, event, handled, missing, plugin};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::process::Command;

/// Set in the process that this test runs itself as.
const INSIDE: &str = "CLOUDSNOOZE_TEST_INSIDE";
const NAME: &str = "a_command_inherits_no_priority_no_mask_no_descriptor_and_no_cpu";

#[test]
fn a_command_inherits_no_priority_no_mask_no_descriptor_and_no_cpu() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    // Without SCHED_RESET_ON_FORK, which the daemon's threads have: the plugin must not depend on it.
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new("chrt");
    command.args(["--rr", "10"]).arg(this).args(["--exact", NAME, "--nocapture"]).env(INSIDE, "1");
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return missing(&format!("{NAME}: chrt: {error}")),
    };
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if said.contains("failed to set pid") {
        return missing(&format!("{NAME}: real-time scheduling is refused"));
    }
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn inside() {
    let own = fs::read_to_string("/proc/thread-self/stat").unwrap();
    assert_eq!(fields(&own)[38], "2", "this thread is not SCHED_RR: {own}");
    // As in the daemon, whose threads let no signal through; the instance's own thread is started here.
    SigSet::all().thread_block().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let shell = "cat /proc/self/status; echo; cat /proc/self/stat; ls -l /proc/self/fd";
    let plugin = plugin(dir.path(), json!({ "shell": shell, "output_bytes": 8192 }));
    let direct = stage::plugin(dir.path(), json!({ "argv": ["grep", "SigBlk", "/proc/self/status"] }));
    let everywhere = cpus();
    // As on the pool, whose threads share one CPU.
    let mut home = CpuSet::new();
    home.set(first_cpu()).unwrap();
    sched_setaffinity(Pid::from_raw(0), &home).unwrap();
    let unmarked = nix::unistd::dup(File::open("/dev/null").unwrap()).unwrap();
    assert!(unmarked.as_raw_fd() > 2);

    let result = handled(plugin.deliver(&event(NOTICE), PLENTY));
    let said = result["evidence"]["stdout"]["last"].as_str().unwrap();
    let value = |name: &str| {
        said.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).unwrap_or_else(|| panic!("{said}")).trim()
    };
    // Rust ignores SIGPIPE, so this process does. 32 and 33 are the C library's own, which its posix_spawn ignores always.
    let ignored = u64::from_str_radix(value("SigIgn"), 16).unwrap() & !(0b11 << 31);
    assert_eq!(ignored, 0, "{said}");
    assert_eq!(value("Cpus_allowed_list"), everywhere);
    let stat = said.lines().find(|line| line.contains(" (cat) ")).unwrap();
    let fields = fields(stat);
    assert_eq!((fields[16], fields[37], fields[38]), ("0", "0", "0"), "nice, real-time priority, policy: {stat}");
    let descriptors: Vec<&str> = said.lines().filter(|line| line.contains(" -> ")).collect();
    // The fourth is that of the listing itself.
    assert_eq!(descriptors.len(), 4, "{descriptors:?}");
    // Without a shell in between, which would clear the mask itself.
    let result = handled(direct.deliver(&event(NOTICE), PLENTY));
    let said = result["evidence"]["stdout"]["last"].as_str().unwrap();
    assert!(said.contains("SigBlk:\t0000000000000000"), "{said}");
    assert!(descriptors[0].contains("memfd:event") && descriptors[3].contains("/proc/"), "{descriptors:?}");
}

/// Of proc_pid_stat(5), those after the name: the first is number 3 there.
fn fields(stat: &str) -> Vec<&str> {
    stat.rsplit_once(") ").unwrap().1.split_whitespace().collect()
}

fn cpus() -> String {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned()
}

fn first_cpu() -> usize {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count()).find(|cpu| set.is_set(*cpu).unwrap()).unwrap()
}
