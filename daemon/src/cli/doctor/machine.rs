//! Checks of the machine: real-time scheduling, locked memory, the clock.
//!
//! Inputs: what the kernel says. Outputs: checks. Deciding is apart from reading, so that every machine
//! can be judged in a test. Must never leave the process with other scheduling than before.

use super::super::duration::human;
use super::Check;
use crate::config::Config;
use crate::control::wire::DispatchStatus;
use crate::sys::sched::{self, Class, Grant};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use std::path::Path;

const ABOUT: &str = "Machine";

/// Bytes that may be locked below which locking is not worth trying: the daemon with a few plugins.
const MEMLOCK_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// What the kernel says, to this process.
#[derive(Clone, Debug)]
pub(super) struct Readings {
    /// Priority that the configuration asks for.
    rt_priority: u32,
    /// What a thread of this process was granted.
    granted: Grant,
    is_root: bool,
    /// RLIMIT_RTPRIO.
    rtprio_limit: u64,
    /// RLIMIT_MEMLOCK, bytes.
    memlock_limit: u64,
    lock_memory: bool,
    /// kernel.sched_rt_runtime_us: -1 is no limit (sched(7), "Limiting the CPU usage of real-time").
    rt_runtime_us: Option<i64>,
    /// kernel.sched_rt_period_us.
    rt_period_us: Option<i64>,
    /// cpu.rt_runtime_us of this process's group; only cgroup version 1 with CONFIG_RT_GROUP_SCHED has one.
    group_rt_runtime_us: Option<i64>,
    time: TimeSync,
}

/// Whether the wall clock follows a better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TimeSync {
    Synchronised,
    /// A program that would do it runs; whether it succeeded is not visible from here.
    Kept,
    NotSeen,
}

/// Reads it all.
pub(super) fn read(config: &Config) -> Readings {
    let limit = |resource| getrlimit(resource).map_or(0, |(soft, _)| soft);
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<i64>().ok();
    let wanted = config.dispatch.rt_priority;
    let priority = u8::try_from(wanted).unwrap_or(1);
    // On a thread of its own: this one keeps the scheduling it has.
    let granted = std::thread::spawn(move || sched::raise_current_thread(Class::Fifo, priority)).join();
    Readings {
        rt_priority: wanted,
        granted: granted.unwrap_or(Grant::Normal),
        is_root: nix::unistd::geteuid().is_root(),
        rtprio_limit: limit(Resource::RLIMIT_RTPRIO),
        memlock_limit: limit(Resource::RLIMIT_MEMLOCK),
        lock_memory: config.dispatch.lock_memory,
        rt_runtime_us: number("/proc/sys/kernel/sched_rt_runtime_us"),
        rt_period_us: number("/proc/sys/kernel/sched_rt_period_us"),
        group_rt_runtime_us: group_file("cpu.rt_runtime_us").as_deref().and_then(number),
        time: time_sync(),
    }
}

/// A file of this process's group of the cpu controller, version 1 (cgroups(7), "/proc/[pid]/cgroup").
fn group_file(file: &str) -> Option<String> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let mut fields = groups.lines().map(|line| line.splitn(3, ':'));
    let path = fields.find_map(|mut line| {
        let controllers = line.nth(1)?;
        controllers.split(',').any(|name| name == "cpu").then(|| line.next())?
    })?;
    let bases = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"];
    bases.iter().map(|base| format!("{base}{path}/{file}")).find(|file| Path::new(file).exists())
}

/// systemd-timesyncd leaves a file when it has synchronised (systemd-timesyncd.service(8)); of the others
/// only that they run can be seen without asking them.
fn time_sync() -> TimeSync {
    let exists = |paths: &[&str]| paths.iter().any(|path| Path::new(path).exists());
    if exists(&["/run/systemd/timesync/synchronized"]) {
        TimeSync::Synchronised
    } else if exists(&["/run/chrony/chronyd.pid", "/run/chronyd.pid", "/run/ntpd.pid", "/run/ntpsec/ntpd.pid"]) {
        TimeSync::Kept
    } else {
        TimeSync::NotSeen
    }
}

/// The checks; what the daemon was granted counts before what this process is.
pub(super) fn checks(machine: &Readings, daemon: Option<&DispatchStatus>) -> Vec<Check> {
    let mut checks = vec![real_time(machine, daemon)];
    checks.extend(limits(machine, daemon));
    checks.push(memory(machine, daemon));
    checks.extend(speed(daemon));
    checks.push(time(machine.time));
    checks
}

const HINT_RT: &str = "the service unit grants it with LimitRTPRIO= or CAP_SYS_NICE; without it handlers still run, but may wait for \
    other programs";

fn real_time(machine: &Readings, daemon: Option<&DispatchStatus>) -> Check {
    if let Some(daemon) = daemon {
        let text = format!("the daemon's {} threads run with {}", daemon.threads, daemon.scheduling);
        let is_granted = daemon.scheduling.starts_with("real-time");
        return if is_granted { Check::good(ABOUT, text) } else { Check::doubtful(ABOUT, text, HINT_RT) };
    }
    match machine.granted {
        granted if granted.is_real_time() => {
            Check::good(ABOUT, format!("real-time scheduling is granted here: {granted}"))
        }
        other => Check::doubtful(
            ABOUT,
            format!("no real-time scheduling here: asked for priority {}, got {other}", machine.rt_priority),
            format!("{HINT_RT}; what the daemon gets shows while it runs"),
        ),
    }
}

/// The limits that stand between a thread and real-time scheduling; silent where there is nothing to say.
fn limits(machine: &Readings, daemon: Option<&DispatchStatus>) -> Vec<Check> {
    let mut checks = Vec::new();
    let has_it = daemon.map_or(machine.granted.is_real_time(), |d| d.scheduling.starts_with("real-time"));
    if daemon.is_none() && !machine.is_root && !has_it && machine.rtprio_limit < u64::from(machine.rt_priority) {
        let text =
            format!("RLIMIT_RTPRIO is {} here, below the {} asked for", machine.rtprio_limit, machine.rt_priority);
        checks.push(Check::doubtful(ABOUT, text, format!("LimitRTPRIO={} in the service unit", machine.rt_priority)));
    }
    let period_us = machine.rt_period_us.unwrap_or(1_000_000).max(1);
    checks.extend(machine.rt_runtime_us.map(|us| match us {
        0 => Check::bad(
            ABOUT,
            "kernel.sched_rt_runtime_us is 0: no real-time thread ever runs",
            "sysctl -w kernel.sched_rt_runtime_us=950000",
        ),
        ..0 => Check::doubtful(
            ABOUT,
            "kernel.sched_rt_runtime_us is -1: a real-time thread that loops takes its CPU for good",
            "sysctl -w kernel.sched_rt_runtime_us=950000, the kernel's default",
        ),
        us => Check::good(
            ABOUT,
            format!("real-time threads may use {} % of each CPU", us.saturating_mul(100) / period_us),
        ),
    }));
    if machine.group_rt_runtime_us == Some(0) {
        let text = "this control group has no real-time budget (cpu.rt_runtime_us is 0)";
        let hint = "give the daemon's group one, or boot with rt_group_sched=0 where the kernel knows it";
        let check = if has_it {
            Check::good(ABOUT, format!("{text}; the threads have theirs all the same"))
        } else {
            Check::bad(ABOUT, text, hint)
        };
        checks.push(check);
    }
    checks
}

fn memory(machine: &Readings, daemon: Option<&DispatchStatus>) -> Check {
    let hint = "LimitMEMLOCK=infinity in the service unit; without it a handler's first steps may wait for the disk";
    match daemon.map(|daemon| daemon.memory_locked.as_str()) {
        Some("yes") => return Check::good(ABOUT, "the daemon's memory is locked"),
        Some("off") => return Check::good(ABOUT, "the daemon's memory is not locked, as configured"),
        Some(why) => return Check::doubtful(ABOUT, format!("the daemon's memory is not locked: {why}"), hint),
        None if !machine.lock_memory => return Check::good(ABOUT, "memory is not to be locked, as configured"),
        None => {}
    }
    match machine.memlock_limit {
        RLIM_INFINITY => Check::good(ABOUT, "memory may be locked without a limit"),
        _ if machine.is_root => Check::good(ABOUT, "memory may be locked (root needs no limit)"),
        bytes if bytes < MEMLOCK_BYTES_MIN => Check::doubtful(
            ABOUT,
            format!("only {} KiB of memory may be locked here (RLIMIT_MEMLOCK)", bytes / 1024),
            hint,
        ),
        bytes => {
            Check::doubtful(ABOUT, format!("{} MiB of memory may be locked here: a limit", bytes / 1024 / 1024), hint)
        }
    }
}

/// Half of the self-tests slower than this: something stands between notices and handlers. Microseconds; a
/// hundred times what a machine of 2026 needs.
const SELF_TEST_SLOW_US: f64 = 2_000.0;
/// The last five minutes slower than the hour by this: the machine has become slow.
const SELF_TEST_WORSE: f64 = 5.0;

/// What the daemon's self-tests say; nothing while there are none.
fn speed(daemon: Option<&DispatchStatus>) -> Option<Check> {
    let test = daemon?.self_test_us.as_ref()?;
    let us = |us: f64| human(us / 1e6);
    let recent = test.recent_p50.unwrap_or(test.p50);
    let hint = "is another program real-time too, or the host overloaded? The columns of 'snooze status' and docs/LATENCY.md help";
    Some(if recent > SELF_TEST_SLOW_US {
        let text = format!("from a notice to its handler it takes {} (half of the self-tests)", us(recent));
        Check::doubtful(ABOUT, text, hint)
    } else if recent > test.p50 * SELF_TEST_WORSE {
        let text =
            format!("the machine has become slow: self-tests take {}, {} in the last hour", us(recent), us(test.p50));
        Check::doubtful(ABOUT, text, hint)
    } else {
        let text =
            format!("from a notice to its handler it takes {}, {} at most of 99 in 100", us(test.p50), us(test.p99));
        Check::good(ABOUT, text)
    })
}

fn time(time: TimeSync) -> Check {
    let hint = "start systemd-timesyncd or chrony: deadlines are given as wall time";
    match time {
        TimeSync::Synchronised => Check::good(ABOUT, "the clock is synchronised"),
        TimeSync::Kept => {
            Check::good(ABOUT, "a time service keeps the clock (ask it how well: chronyc tracking, ntpq -p)")
        }
        TimeSync::NotSeen => Check::doubtful(ABOUT, "nothing is seen to synchronise the clock", hint),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Mark;
    use super::*;
    use crate::control::wire::SelfTest;

    fn good() -> Readings {
        Readings {
            rt_priority: 10,
            granted: Grant::Fifo(10),
            is_root: false,
            rtprio_limit: 10,
            memlock_limit: RLIM_INFINITY,
            lock_memory: true,
            rt_runtime_us: Some(950_000),
            rt_period_us: Some(1_000_000),
            group_rt_runtime_us: None,
            time: TimeSync::Synchronised,
        }
    }

    fn status(scheduling: &str, memory_locked: &str) -> DispatchStatus {
        DispatchStatus {
            threads: 4,
            scheduling: scheduling.into(),
            memory_locked: memory_locked.into(),
            events_busy: 0,
            calls_abandoned: 0,
            first_start_us: None,
            cpu: None,
            self_test_us: None,
        }
    }

    fn marks(machine: &Readings, daemon: Option<&DispatchStatus>) -> Vec<(Mark, String)> {
        checks(machine, daemon).into_iter().filter(|c| c.mark != Mark::Good).map(|c| (c.mark, c.text)).collect()
    }

    #[test]
    fn a_machine_that_grants_everything_has_nothing_to_mend() {
        assert_eq!(marks(&good(), None), []);
        let shown = checks(&good(), None);
        assert!(shown.iter().any(|check| check.text.contains("95 % of each CPU")), "{shown:?}");
    }

    #[test]
    fn what_the_daemon_was_granted_counts_before_what_this_process_is() {
        let poor = Readings { granted: Grant::Normal, rtprio_limit: 0, memlock_limit: 65_536, ..good() };
        assert_eq!(marks(&poor, Some(&status("real-time (SCHED_FIFO 10)", "yes"))), []);
        let told = marks(&poor, None);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[1].1.contains("RLIMIT_RTPRIO is 0") && told[2].1.contains("64 KiB"), "{told:?}");
        let told = marks(&good(), Some(&status("normal priority", "mlockall: ENOMEM")));
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].1.contains("normal priority") && told[1].1.contains("ENOMEM"), "{told:?}");
    }

    #[test]
    fn a_machine_that_has_become_slow_is_told_from_one_that_is_not() {
        let marked = |p50: f64, recent: f64| {
            let test = SelfTest { count: 9, p50, p99: p50, p999: p50, max: p50, recent_p50: Some(recent) };
            let daemon = DispatchStatus { self_test_us: Some(test), ..status("real-time (SCHED_RR 10)", "yes") };
            speed(Some(&daemon)).map(|check| check.mark)
        };
        assert_eq!(marked(20.0, 25.0), Some(Mark::Good));
        assert_eq!(marked(20.0, 101.0), Some(Mark::Doubtful));
        assert_eq!(marked(3_000.0, 3_000.0), Some(Mark::Doubtful));
        assert_eq!(speed(Some(&status("", "yes"))), None);
    }

    #[test]
    fn the_kernels_limits_on_real_time_are_judged() {
        let mark = |us| marks(&Readings { rt_runtime_us: Some(us), ..good() }, None).first().map(|(mark, _)| *mark);
        assert_eq!((mark(0), mark(-1), mark(950_000)), (Some(Mark::Bad), Some(Mark::Doubtful), None));
        let none = Readings { group_rt_runtime_us: Some(0), granted: Grant::Nice(-15), ..good() };
        assert!(marks(&none, None).iter().any(|(mark, text)| *mark == Mark::Bad && text.contains("control group")));
    }

    #[test]
    fn reading_this_machine_gives_an_answer_to_every_question() {
        let told = checks(&read(&Config::default()), None);
        assert!(told.len() >= 3 && told.iter().all(|check| !check.text.is_empty()), "{told:?}");
        // The thread that asked was another one.
        let policy = std::fs::read_to_string("/proc/thread-self/sched").unwrap_or_default();
        assert!(!policy.lines().any(|line| line.starts_with("policy") && line.ends_with('1')), "{policy}");
    }
}
