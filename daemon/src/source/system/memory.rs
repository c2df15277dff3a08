//! Memory: tasks that wait for it, processes that are killed for it.
//!
//! Inputs: the kernel's triggers and counts (`pressure`). Outputs: findings. Must never measure by itself: the kernel says when
//! tasks wait, and a control group when a process of it was killed. Only the count of the whole machine is looked at now and then.

use super::alarms::{Alarm, Finding, Subject};
use super::hysteresis::Lull;
use super::pressure::{self, Group, Trigger};
use super::watcher::{Desk, Watcher, nanoseconds};
use super::witness::Witness;
use crate::config::MemoryWatch;
use crate::event::{EventType, Moment, Severity};
use crate::sys::clock;
use nix::poll::PollFlags;
use serde_json::{Map, Value, json};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// Source of its events.
pub const SOURCE: &str = "system.memory";
/// What stands for the whole machine among groups.
const MACHINE: &str = "machine";
/// Pause between two looks at the machine's count of killed processes.
const LOOK_NS: i64 = 10 * 1_000_000_000;
/// Groups whose numbers change all the time wake nobody more often than that.
const REST_NS: i64 = 1_000_000_000;
/// Most groups followed.
const GROUPS_MAX: usize = 64;

/// What was seen of one trigger.
#[derive(Debug)]
struct Stall {
    trigger: Trigger,
    /// Its group; [`MACHINE`].
    resource: String,
    witness: Witness,
    lull: Lull,
}

impl Stall {
    /// Microseconds that tasks have waited in all; 0 where nobody says any more.
    fn waited_us(path: &Path) -> u64 {
        fs::read_to_string(path).ok().and_then(|text| pressure::waited_us(&text)).unwrap_or(0)
    }
}

/// Looks at memory.
pub struct Memory {
    settings: MemoryWatch,
    stalls: Vec<Stall>,
    /// Why the whole machine's waiting is not told.
    untold: Option<String>,
    groups: Vec<Group>,
    groups_rest_until_boot_ns: i64,
    killed_in_all: Option<u64>,
    killed: u64,
    last_killed_in: String,
    killing: Lull,
    is_new: bool,
    next_boot_ns: i64,
}

impl Memory {
    /// Sets the triggers.
    pub fn new(settings: &MemoryWatch) -> Self {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let cgroup = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let groups = pressure::groups(&mountinfo, &cgroup);
        let mut memory = Self {
            settings: settings.clone(),
            stalls: Vec::new(),
            untold: None,
            groups: Vec::new(),
            groups_rest_until_boot_ns: i64::MIN,
            killed_in_all: killed_in_all(),
            killed: 0,
            last_killed_in: String::new(),
            killing: Lull::after_ns(nanoseconds(settings.failure_recovered_after_seconds)),
            is_new: true,
            next_boot_ns: i64::MIN,
        };
        memory.untold = memory.follow(Path::new("/proc/pressure/memory"), MACHINE).err();
        let mut named: Vec<PathBuf> = settings.control_groups.clone();
        // Of the topmost group the machine's own numbers tell.
        named.extend(groups.iter().filter(|(top, own)| top != own).map(|(_, own)| own.clone()));
        for group in &named {
            let _may_be_read_only = memory.follow(&group.join("memory.pressure"), &group.display().to_string());
        }
        let top = groups.iter().flat_map(|(top, _)| pressure::topmost(top));
        for group in named.iter().cloned().chain(top) {
            if memory.groups.len() < GROUPS_MAX && memory.groups.iter().all(|known| known.path != group) {
                memory.groups.extend(Group::open(&group));
            }
        }
        memory
    }

    fn follow(&mut self, path: &Path, resource: &str) -> Result<(), String> {
        let window_us = u64::from(self.settings.window_seconds) * 1_000_000;
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "limited"
        )]
        let stall_us = (window_us as f64 * self.settings.stall_percent / 100.0) as u64;
        let waited_us = Stall::waited_us(path);
        let trigger = Trigger::set(path, stall_us, window_us)?;
        let window_ns = i64::from(self.settings.window_seconds) * 1_000_000_000;
        let witness = Witness::new(window_ns, stall_us, waited_us, clock::boot_ns());
        let lull = Lull::after_ns(nanoseconds(self.settings.recovered_after_seconds));
        self.stalls.push(Stall { trigger, resource: resource.to_owned(), witness, lull });
        Ok(())
    }

    /// What was told before a restart goes on until it has not happened for a while.
    fn take_over(&mut self, now: Moment, desk: &mut Desk) {
        for stall in &mut self.stalls {
            if desk.is_open(&Subject::new(SOURCE, "stall", stall.resource.as_str())) {
                stall.lull.happened(now.boot_ns);
            }
        }
        if desk.is_open(&killing()) {
            self.killing.happened(now.boot_ns);
        }
        let known = |subject: &Subject| self.stalls.iter().any(|stall| stall.resource == subject.resource);
        for gone in desk.of(SOURCE).iter().filter(|subject| subject.check == "stall" && !known(subject)) {
            desk.set(gone, Finding::Well(Map::new()), now);
        }
    }

    fn judge_stalls(&mut self, ready: &[bool], now: Moment, desk: &mut Desk) {
        let mut index = 0;
        let is_gone = |path: &Path| !path.exists();
        self.stalls.retain_mut(|stall| {
            let has_fired = ready.get(index).copied().unwrap_or(false);
            index += 1;
            let subject = Subject::new(SOURCE, "stall", stall.resource.as_str());
            if has_fired && is_gone(&stall.trigger.path) {
                // A group that is removed is ready for ever.
                desk.set(&subject, Finding::Well(Map::new()), now);
                return false;
            }
            if has_fired {
                stall.witness.fired(now.boot_ns);
            }
            if stall.witness.is_right(Stall::waited_us(&stall.trigger.path), now.boot_ns) {
                stall.lull.happened(now.boot_ns);
            }
            let goes_on = stall.lull.goes_on(now.boot_ns);
            if goes_on && desk.is_open(&subject) {
                return true;
            }
            if goes_on || desk.is_open(&subject) {
                let data = self.settings.described(stall);
                let (event_type, severity) = (EventType::MEMORY_PRESSURE, Severity::Warning);
                let alarm = |data| Finding::Wrong(Alarm { event_type, severity, effective: None, data });
                desk.set(&subject, if goes_on { alarm(data) } else { Finding::Well(data) }, now);
            }
            true
        });
    }

    fn judge_killing(&mut self, now: Moment, desk: &mut Desk) {
        let mut in_groups = 0;
        self.groups.retain_mut(|group| match group.read() {
            Ok(killed) => {
                if killed > 0 {
                    self.last_killed_in = group.path.display().to_string();
                }
                in_groups += killed;
                true
            }
            Err(_) => false,
        });
        let in_all = killed_in_all();
        let elsewhere = in_all.zip(self.killed_in_all).map_or(0, |(now, before)| now.saturating_sub(before));
        self.killed_in_all = in_all.or(self.killed_in_all);
        // The same process counts in its group, in the one above, and for the machine: which may be read a moment apart.
        let killed = in_groups.max(elsewhere);
        if killed > 0 {
            self.killed = if self.killing.goes_on(now.boot_ns) { self.killed + killed } else { killed };
            self.killing.happened(now.boot_ns);
        }
        let mut data = Map::new();
        data.insert("killedCount".into(), json!(self.killed));
        if !self.last_killed_in.is_empty() {
            data.insert("controlGroup".into(), json!(self.last_killed_in));
        }
        let (event_type, severity) = (EventType::MEMORY_FAILURE, Severity::Warning);
        let goes_on = self.killing.goes_on(now.boot_ns);
        let alarm = |data| Finding::Wrong(Alarm { event_type, severity, effective: None, data });
        desk.set(&killing(), if goes_on { alarm(data) } else { Finding::Well(data) }, now);
        if !goes_on {
            self.last_killed_in.clear();
        }
    }
}

impl MemoryWatch {
    /// Members of an event's `data`.
    fn described(&self, stall: &Stall) -> Map<String, Value> {
        let text = fs::read_to_string(&stall.trigger.path).unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let mut data = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                data.insert(key.into(), value);
            }
        };
        put("stallThresholdPercent", Some(json!(self.stall_percent)));
        put("someWaitedPercent", pressure::waited_percent(&text, "some").map(Value::from));
        put("allWaitedPercent", pressure::waited_percent(&text, "full").map(Value::from));
        put("availableBytes", pressure::meminfo_bytes(&meminfo, "MemAvailable").map(Value::from));
        put("totalBytes", pressure::meminfo_bytes(&meminfo, "MemTotal").map(Value::from));
        if let Some(group) = stall.trigger.path.parent().filter(|_| stall.resource != MACHINE) {
            let events = fs::read_to_string(group.join("memory.events")).ok();
            let events = events.as_deref().map(pressure::group_events);
            put("controlGroup", Some(json!(stall.resource)));
            put("throttledCount", events.map(|events| events.high.into()));
            put("limitReachedCount", events.map(|events| events.max.into()));
        }
        data
    }
}

fn killing() -> Subject {
    Subject::new(SOURCE, "killed", MACHINE)
}

/// Processes killed for their memory since the machine started, in whatever group. None: this kernel does not count them.
fn killed_in_all() -> Option<u64> {
    pressure::value(&fs::read_to_string("/proc/vmstat").ok()?, "oom_kill")
}

impl Watcher for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn descriptors(&self) -> Vec<(BorrowedFd<'_>, PollFlags)> {
        let stalls = self.stalls.iter().map(|stall| stall.trigger.file.as_fd());
        let is_resting = self.groups_rest_until_boot_ns > clock::boot_ns();
        let groups = self.groups.iter().filter(|_| !is_resting).map(|group| group.file.as_fd());
        stalls.chain(groups).map(|fd| (fd, PollFlags::POLLPRI)).collect()
    }

    fn next_boot_ns(&self) -> i64 {
        self.next_boot_ns
    }

    fn look(&mut self, ready: &[bool], now: Moment, desk: &mut Desk) -> Result<(), String> {
        if std::mem::take(&mut self.is_new) {
            self.take_over(now, desk);
        }
        if ready.iter().skip(self.stalls.len()).any(|ready| *ready) {
            self.groups_rest_until_boot_ns = now.boot_ns.saturating_add(REST_NS);
        }
        self.judge_stalls(ready, now, desk);
        self.judge_killing(now, desk);
        let mut next = now.boot_ns.saturating_add(LOOK_NS);
        if self.groups_rest_until_boot_ns > now.boot_ns {
            next = next.min(self.groups_rest_until_boot_ns);
        }
        let lulls = self.stalls.iter().map(|stall| &stall.lull).chain([&self.killing]);
        let due = lulls.filter_map(|lull| lull.due_boot_ns(now.boot_ns));
        let due = due.chain(self.stalls.iter().filter_map(|stall| stall.witness.due_boot_ns()));
        self.next_boot_ns = due.fold(next, i64::min);
        Ok(())
    }

    fn watched(&self) -> String {
        let mut parts: Vec<String> = self.stalls.iter().map(|stall| format!("waiting in {}", stall.resource)).collect();
        parts.extend(self.untold.iter().map(|why| format!("no waiting ({why})")));
        parts.push(match (self.killed_in_all, self.groups.len()) {
            (None, 0) => "no killing (this kernel does not count it)".into(),
            (_, 0) => "killing".into(),
            (_, number) => format!("killing in {number} control groups"),
        });
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::super::alarms::{Alarms, Limit};
    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;

    fn at(seconds: i64) -> Moment {
        Moment { boot_ns: seconds * SECOND_NS, wall_ns: seconds * SECOND_NS }
    }

    /// A group that is a directory: what the kernel would write is written by the test.
    fn group(events: &str) -> (tempfile::TempDir, Memory) {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("memory.events"), events).expect("written");
        let settings = MemoryWatch { failure_recovered_after_seconds: 60.0, ..MemoryWatch::default() };
        let mut memory = Memory::new(&settings);
        memory.stalls.clear();
        memory.groups = Group::open(directory.path()).into_iter().collect();
        (directory, memory)
    }

    fn look(memory: &mut Memory, alarms: &mut Alarms, now: Moment) -> Vec<(String, Value)> {
        // Others may be killed on this machine while the test runs.
        memory.killed_in_all = None;
        let mut desk = Desk::over(alarms);
        memory.look(&[], now, &mut desk).expect("seen");
        desk.into_events().into_iter().map(|e| (e.event_type.to_string(), e.extra["killedCount"].clone())).collect()
    }

    #[test]
    fn a_kill_is_a_failure_once_and_over_when_there_was_none_for_a_while() {
        let (directory, mut memory) = group("oom_kill 4\n");
        let mut alarms = Alarms::new(Limit { events_max: 9, window_ns: SECOND_NS });
        assert_eq!(look(&mut memory, &mut alarms, at(0)), [], "those are old");
        let killed = |number: u32| {
            fs::write(directory.path().join("memory.events"), format!("oom_kill {number}\n")).expect("written");
        };
        killed(5);
        assert_eq!(look(&mut memory, &mut alarms, at(1)), [("system.memory.failure".to_owned(), json!(1))]);
        killed(7);
        assert_eq!(look(&mut memory, &mut alarms, at(40)), [], "one event is open");
        assert_eq!(memory.next_boot_ns, 50 * SECOND_NS, "the next look, before it is over");
        assert_eq!(look(&mut memory, &mut alarms, at(99)), []);
        assert_eq!(look(&mut memory, &mut alarms, at(100)), [("system.memory.recovered".to_owned(), json!(3))]);
    }
}
