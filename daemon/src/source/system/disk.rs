//! File systems: nearly full, read-only, with errors.
//!
//! Responsibilities: what is found of each file system (`Volume`, pure), and when it is looked at. Inputs: mounts, what is free,
//! counts of errors. Outputs: findings. Must never take what was read-only from the start for a failure, nor old errors for new.
//!
//! The kernel tells at once when mounts of this process's namespace change: `/proc/self/mountinfo` is then ready with POLLPRI
//! and POLLERR (proc_pid_mounts(5)). The rest is looked at every `interval_seconds`.

use super::alarms::{Alarm, Finding, Subject};
use super::hysteresis::{Lull, Threshold};
use super::mounts::{self, Mount, Usage};
use super::projection::Projection;
use super::watcher::{Desk, Watcher, nanoseconds};
use crate::config::DiskWatch;
use crate::event::{EventType, Moment, Severity};
use nix::poll::PollFlags;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// Source of its events.
pub const SOURCE: &str = "system.disk";
/// What is looked at, in the order of the findings.
const CHECKS: [&str; 4] = ["space", "inodes", "read-only", "errors"];

/// One file system over time: pure.
#[derive(Debug)]
struct Volume {
    mount: Mount,
    /// Whether it could be written when it was first seen.
    was_writable: bool,
    usage: Usage,
    projection: Projection,
    errors: Option<u64>,
    lull: Lull,
}

impl Volume {
    /// What was wrong before a restart is in `is_open`, by check.
    fn new(mount: Mount, settings: &DiskWatch, is_open: impl Fn(&str) -> bool, now: Moment) -> Self {
        let mut lull = Lull::after_ns(nanoseconds(settings.recovered_after_seconds));
        if is_open("errors") {
            lull.happened(now.boot_ns);
        }
        Self {
            was_writable: !mount.is_read_only || is_open("read-only"),
            mount,
            usage: Usage::default(),
            projection: Projection::over_ns(nanoseconds(settings.prediction_window_seconds)),
            errors: None,
            lull,
        }
    }

    /// How it is now.
    fn see(&mut self, usage: Usage, errors: Option<u64>, now: Moment) {
        #[allow(clippy::cast_precision_loss, reason = "bytes of disks, for a slope")]
        self.projection.see(usage.free_bytes as f64, now.boot_ns);
        self.usage = usage;
        if let (Some(before), Some(errors)) = (self.errors, errors)
            && errors > before
        {
            self.lull.happened(now.boot_ns);
        }
        self.errors = errors.or(self.errors);
    }

    #[allow(clippy::cast_precision_loss, reason = "bytes of disks, for thresholds and people")]
    fn space(&self, settings: &DiskWatch, was: bool, now: Moment) -> Finding {
        let (free, total) = (self.usage.free_bytes as f64, self.usage.total_bytes as f64);
        let limit = (total * settings.pressure_free_percent / 100.0).min(settings.pressure_free_bytes as f64);
        let is_low = Threshold::below(limit, settings.recovered_ratio).is_alarm(free, was);
        let left = self.projection.seconds_left().filter(|_| !self.mount.is_read_only);
        let within = settings.full_within_seconds;
        // Less is an alarm, as with what is free; an unknown time is far away.
        let is_soon =
            within > 0.0 && Threshold::below(within, settings.recovered_ratio).is_alarm(left.unwrap_or(f64::MAX), was);
        let mut data = self.described();
        data.insert("freeBytes".into(), json!(self.usage.free_bytes));
        data.insert("totalBytes".into(), json!(self.usage.total_bytes));
        data.insert("freePercent".into(), percent(free, total));
        if !is_low && !is_soon {
            return Finding::Well(data);
        }
        let mut effective = None;
        if let Some(left) = left.filter(|left| *left < settings.full_within_seconds) {
            data.insert("fullInSeconds".into(), json!(left.round()));
            effective = Some(now.plus_ns(nanoseconds(left)));
        }
        let (event_type, severity) = (EventType::DISK_PRESSURE, Severity::Warning);
        Finding::Wrong(Alarm { event_type, severity, effective, data })
    }

    #[allow(clippy::cast_precision_loss, reason = "numbers of files, for thresholds and people")]
    fn inodes(&self, settings: &DiskWatch, was: bool) -> Finding {
        let (free, all) = (self.usage.free_inodes as f64, self.usage.inodes as f64);
        let limit = all * settings.pressure_free_inodes_percent / 100.0;
        let mut data = self.described();
        data.insert("freeInodesCount".into(), json!(self.usage.free_inodes));
        data.insert("freeInodesPercent".into(), percent(free, all));
        if self.usage.inodes > 0 && Threshold::below(limit, settings.recovered_ratio).is_alarm(free, was) {
            let (event_type, severity) = (EventType::DISK_PRESSURE, Severity::Warning);
            return Finding::Wrong(Alarm { event_type, severity, effective: None, data });
        }
        Finding::Well(data)
    }

    fn read_only(&self) -> Finding {
        self.failed(self.was_writable && self.mount.is_read_only, self.described())
    }

    fn errors(&self, now: Moment) -> Finding {
        let mut data = self.described();
        data.insert("errorsCount".into(), json!(self.errors));
        self.failed(self.lull.goes_on(now.boot_ns), data)
    }

    fn failed(&self, is_wrong: bool, data: Map<String, Value>) -> Finding {
        let (event_type, severity) = (EventType::DISK_FAILURE, Severity::Urgent);
        match is_wrong {
            true => Finding::Wrong(Alarm { event_type, severity, effective: None, data }),
            false => Finding::Well(data),
        }
    }

    fn described(&self) -> Map<String, Value> {
        let mount_point = self.mount.mount_point.display().to_string();
        let members = [("mountPoint", mount_point.as_str()), ("device", &self.mount.device)];
        let members = members.into_iter().chain([("fileSystem", self.mount.file_system.as_str())]);
        members.map(|(key, value)| (key.to_owned(), json!(value))).collect()
    }

    /// Every finding, in the order of [`CHECKS`].
    fn findings(&self, settings: &DiskWatch, was: impl Fn(&str) -> bool, now: Moment) -> [Finding; 4] {
        let [space, inodes, ..] = CHECKS.map(was);
        [self.space(settings, space, now), self.inodes(settings, inodes), self.read_only(), self.errors(now)]
    }
}

fn percent(part: f64, all: f64) -> Value {
    if all > 0.0 { json!((part / all * 1_000.0).round() / 10.0) } else { Value::Null }
}

/// Looks at file systems.
pub struct Disks {
    settings: DiskWatch,
    mountinfo: File,
    volumes: BTreeMap<PathBuf, Volume>,
    next_boot_ns: i64,
}

impl Disks {
    /// Nothing is looked at yet.
    ///
    /// # Errors
    /// There is no /proc.
    pub fn new(settings: &DiskWatch) -> Result<Self, String> {
        let mountinfo = File::open("/proc/self/mountinfo").map_err(|error| format!("/proc/self/mountinfo: {error}"))?;
        Ok(Self { settings: settings.clone(), mountinfo, volumes: BTreeMap::new(), next_boot_ns: i64::MIN })
    }

    /// Takes the mounts as they are. Those that are gone have recovered: nobody can use them.
    fn find_mounts(&mut self, now: Moment, desk: &mut Desk) -> Result<(), String> {
        let mut text = String::new();
        let read = self.mountinfo.rewind().and_then(|()| self.mountinfo.read_to_string(&mut text));
        read.map_err(|error| format!("/proc/self/mountinfo: {error}"))?;
        let mut before = std::mem::take(&mut self.volumes);
        for mount in mounts::chosen(mounts::parse(&text), self.settings.mount_points.as_deref()) {
            let place = mount.mount_point.clone();
            let volume = match before.remove(&place) {
                Some(known) if known.mount.device_number == mount.device_number => Volume { mount, ..known },
                _ => {
                    let resource = place.display().to_string();
                    let is_open = |check: &str| desk.is_open(&subject(check, &resource));
                    Volume::new(mount, &self.settings, is_open, now)
                }
            };
            self.volumes.insert(place, volume);
        }
        for gone in desk.of(SOURCE) {
            if !self.volumes.contains_key(Path::new(&gone.resource)) {
                let data = [("mountPoint".to_owned(), json!(gone.resource)), ("unmounted".to_owned(), json!(true))];
                desk.set(&gone, Finding::Well(data.into_iter().collect()), now);
            }
        }
        Ok(())
    }
}

/// `check` is one of [`CHECKS`].
fn subject(check: &str, resource: &str) -> Subject {
    let check = CHECKS.into_iter().find(|known| *known == check).unwrap_or_default();
    Subject::new(SOURCE, check, resource)
}

impl Watcher for Disks {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn descriptors(&self) -> Vec<(BorrowedFd<'_>, PollFlags)> {
        vec![(self.mountinfo.as_fd(), PollFlags::POLLPRI)]
    }

    fn next_boot_ns(&self) -> i64 {
        self.next_boot_ns
    }

    fn look(&mut self, _ready: &[bool], now: Moment, desk: &mut Desk) -> Result<(), String> {
        self.next_boot_ns = now.boot_ns.saturating_add(nanoseconds(self.settings.interval_seconds));
        self.find_mounts(now, desk)?;
        let mut failed = Ok(());
        for (place, volume) in &mut self.volumes {
            match mounts::usage(place) {
                Ok(usage) => volume.see(usage, mounts::errors(Path::new("/sys"), &volume.mount), now),
                Err(error) => {
                    failed = Err(error);
                    continue;
                }
            }
            let resource = place.display().to_string();
            let was = |check: &str| desk.is_open(&subject(check, &resource));
            let findings = volume.findings(&self.settings, was, now);
            for (check, finding) in CHECKS.into_iter().zip(findings) {
                desk.set(&subject(check, &resource), finding, now);
            }
        }
        failed
    }

    fn watched(&self) -> String {
        let places: Vec<String> = self.volumes.keys().map(|place| place.display().to_string()).collect();
        if places.is_empty() { "no file system".into() } else { places.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const SECOND_NS: i64 = 1_000_000_000;

    fn at(seconds: i64) -> Moment {
        Moment { boot_ns: seconds * SECOND_NS, wall_ns: seconds * SECOND_NS }
    }

    fn mount(options: &str) -> Mount {
        mounts::parse(&format!("1 2 8:1 / /data {options} - ext4 /dev/sda1 rw")).remove(0)
    }

    fn volume() -> Volume {
        Volume::new(mount("rw"), &DiskWatch::default(), |_| false, at(0))
    }

    fn free(gib: u64, of_gib: u64) -> Usage {
        Usage { total_bytes: of_gib * GIB, free_bytes: gib * GIB, inodes: 1_000, free_inodes: 500 }
    }

    fn is_wrong(finding: &Finding) -> bool {
        matches!(finding, Finding::Wrong(_))
    }

    #[test]
    fn nearly_full_is_little_in_percent_and_in_bytes_and_over_with_a_quarter_more() {
        let settings = DiskWatch::default();
        let found = |gib, of_gib, was| {
            let mut volume = volume();
            volume.see(free(gib, of_gib), None, at(0));
            is_wrong(&volume.space(&settings, was, at(0)))
        };
        assert!(found(1, 40, false) && !found(3, 40, false), "5 % of 40 GiB are 2");
        assert!(found(4, 1_000, false) && !found(6, 1_000, false), "of a large one 5 GiB are enough");
        assert!(found(6, 1_000, true) && !found(7, 1_000, true), "over at 6.25 GiB");
    }

    #[test]
    fn what_will_soon_be_full_is_an_alarm_with_a_deadline() {
        let (settings, mut volume) = (DiskWatch::default(), volume());
        for n in 0..10 {
            volume.see(free(100 - 5 * n, 200), None, at(10 * n.cast_signed()));
        }
        let Finding::Wrong(alarm) = volume.space(&settings, false, at(90)) else { panic!("not wrong") };
        assert_eq!(alarm.effective, Some(at(90 + 110)), "55 GiB at half a GiB a second");
        assert_eq!(alarm.data["fullInSeconds"], 110.0);
        volume.mount.is_read_only = true;
        assert!(!is_wrong(&volume.space(&settings, false, at(90))), "nothing can be written any more");
    }

    #[test]
    fn inodes_run_out_apart_from_bytes_where_there_is_a_number_of_them() {
        let (settings, mut volume) = (DiskWatch::default(), volume());
        volume.see(Usage { free_inodes: 19, ..free(50, 100) }, None, at(0));
        assert!(is_wrong(&volume.inodes(&settings, false)) && !is_wrong(&volume.space(&settings, false, at(0))));
        volume.see(Usage { inodes: 0, free_inodes: 0, ..free(50, 100) }, None, at(0));
        assert!(!is_wrong(&volume.inodes(&settings, false)));
    }

    #[test]
    fn what_was_read_only_from_the_start_has_not_failed_and_what_failed_before_a_restart_has() {
        let found = |first: &str, then: &str, was_open: bool| {
            let mut volume = Volume::new(mount(first), &DiskWatch::default(), |_| was_open, at(0));
            volume.mount = mount(then);
            is_wrong(&volume.read_only())
        };
        assert!(found("rw", "ro", false) && !found("ro", "ro", false) && !found("ro", "rw", false));
        assert!(found("ro", "ro", true), "it was told, and still is");
    }

    #[test]
    fn only_new_errors_count_and_they_are_over_after_a_while_without() {
        let (settings, mut volume) = (DiskWatch::default(), volume());
        volume.see(free(5, 9), Some(7), at(0));
        assert!(!is_wrong(&volume.errors(at(0))), "they are old");
        volume.see(free(5, 9), None, at(5));
        volume.see(free(5, 9), Some(8), at(10));
        assert!(is_wrong(&volume.errors(at(10))) && is_wrong(&volume.errors(at(609))));
        assert!(!is_wrong(&volume.errors(at(610))), "{settings:?}");
    }
}
