//! Temperatures, and errors of memory that its hardware counts.
//!
//! Responsibilities: what is too hot, what is broken (pure), and reading it. Inputs: `/sys/class/thermal`
//! (Documentation/driver-api/thermal/sysfs-api.rst), `/sys/devices/system/edac` (Documentation/driver-api/edac.rst). Outputs:
//! findings. Must never complain of hardware that tells nothing: most virtual machines have none of it.

use super::alarms::{Alarm, Finding, Subject};
use super::hysteresis::{Lull, Threshold};
use super::watcher::{Desk, Watcher};
use crate::config::HardwareWatch;
use crate::event::{EventType, Moment, Severity};
use nix::poll::PollFlags;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// Source of its events.
pub const SOURCE: &str = "system.hardware";
const LOOK_NS: i64 = 10 * 1_000_000_000;
/// Where there is nothing: only to show that somebody looks.
const SELDOM_NS: i64 = 60 * 1_000_000_000;
const HOUR_NS: i64 = 3_600 * 1_000_000_000;

/// A place whose temperature is measured.
#[derive(Clone, Debug, PartialEq)]
struct Zone {
    directory: PathBuf,
    /// Such as `x86_pkg_temp`.
    name: String,
    /// Above this it is too hot, degrees Celsius.
    hot_celsius: f64,
}

/// A memory controller.
#[derive(Debug)]
struct Controller {
    directory: PathBuf,
    name: String,
    corrected: Option<u64>,
    uncorrected: Option<u64>,
    /// When how many errors were corrected, within the last hour.
    recent: VecDeque<(i64, u64)>,
    broken: Lull,
}

fn text(file: PathBuf) -> Option<String> {
    fs::read_to_string(file).ok().map(|text| text.trim().to_owned())
}

fn number(file: PathBuf) -> Option<u64> {
    text(file)?.parse().ok()
}

/// The kernel writes thousandths of a degree.
fn celsius(file: PathBuf) -> Option<f64> {
    Some(text(file)?.parse::<f64>().ok()? / 1_000.0)
}

fn below(directory: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_wanted = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
    let mut found: Vec<PathBuf> = entries.filter(is_wanted).collect();
    found.sort();
    found
}

/// The zones that have a threshold: the lowest of those at which the hardware throttles or the machine is switched off.
fn zones(sys: &Path) -> Vec<Zone> {
    let zone = |directory: PathBuf| {
        let points = (0..16).filter_map(|n| text(directory.join(format!("trip_point_{n}_type"))).map(|kind| (n, kind)));
        let hot = points.filter(|(_, kind)| kind == "hot" || kind == "critical");
        let hot = hot.filter_map(|(n, _)| celsius(directory.join(format!("trip_point_{n}_temp"))));
        let hot_celsius = hot.filter(|celsius| *celsius > 0.0).min_by(f64::total_cmp)?;
        let name = text(directory.join("type")).unwrap_or_default();
        Some(Zone { name, hot_celsius, directory })
    };
    below(&sys.join("class/thermal"), "thermal_zone").into_iter().filter_map(zone).collect()
}

impl Zone {
    /// Near its threshold is too hot: at it the machine may be switched off.
    fn judge(&self, now_celsius: f64, settings: &HardwareWatch, was: bool) -> Finding {
        // What is left until then is like what is free on a disk.
        let margin = Threshold { alarm: f64::EPSILON, recovered: settings.cooled_by_celsius };
        let data = Map::from_iter([
            ("zone".to_owned(), json!(self.name)),
            ("temperatureCelsius".to_owned(), json!(now_celsius)),
            ("hotCelsius".to_owned(), json!(self.hot_celsius)),
        ]);
        wrong_if(margin.is_alarm(self.hot_celsius - now_celsius, was), EventType::HARDWARE_PRESSURE, data)
    }
}

fn wrong_if(is_wrong: bool, event_type: EventType, data: Map<String, Value>) -> Finding {
    let severity = if event_type == EventType::HARDWARE_FAILURE { Severity::Urgent } else { Severity::Warning };
    match is_wrong {
        true => Finding::Wrong(Alarm { event_type, severity, effective: None, data }),
        false => Finding::Well(data),
    }
}

impl Controller {
    fn new(directory: PathBuf) -> Self {
        let name = directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let recent = VecDeque::new();
        Self { directory, name, corrected: None, uncorrected: None, recent, broken: Lull::after_ns(HOUR_NS) }
    }

    /// How many there are now of either. The first numbers are old.
    fn see(&mut self, corrected: Option<u64>, uncorrected: Option<u64>, now: Moment) {
        let more =
            |before: Option<u64>, now: Option<u64>| now.zip(before).map_or(0, |(now, was)| now.saturating_sub(was));
        let more_corrected = more(self.corrected, corrected);
        if more_corrected > 0 {
            self.recent.push_back((now.boot_ns, more_corrected));
        }
        if more(self.uncorrected, uncorrected) > 0 {
            self.broken.happened(now.boot_ns);
        }
        self.recent.retain(|(at, _)| now.boot_ns.saturating_sub(*at) < HOUR_NS);
        (self.corrected, self.uncorrected) = (corrected.or(self.corrected), uncorrected.or(self.uncorrected));
    }

    fn judge(&self, settings: &HardwareWatch, was: bool, now: Moment) -> [(&'static str, Finding); 2] {
        let recent: u64 = self.recent.iter().map(|(_, number)| number).sum();
        // Over when it is half of that: it comes in bursts.
        let max = u64::from(settings.corrected_errors_per_hour_max);
        let is_much = if was { recent > max / 2 } else { recent > max };
        let data = Map::from_iter([
            ("controller".to_owned(), json!(self.name)),
            ("correctedPerHourCount".to_owned(), json!(recent)),
            ("uncorrectedCount".to_owned(), json!(self.uncorrected)),
        ]);
        [
            ("corrected-errors", wrong_if(is_much, EventType::HARDWARE_PRESSURE, data.clone())),
            ("uncorrected-errors", wrong_if(self.broken.goes_on(now.boot_ns), EventType::HARDWARE_FAILURE, data)),
        ]
    }
}

/// Looks at the hardware.
pub struct Hardware {
    settings: HardwareWatch,
    zones: Vec<Zone>,
    controllers: BTreeMap<String, Controller>,
    is_new: bool,
    next_boot_ns: i64,
}

impl Hardware {
    /// What there is below `sys`, which is `/sys`.
    pub fn new(settings: &HardwareWatch, sys: &Path) -> Self {
        let controllers = below(&sys.join("devices/system/edac/mc"), "mc").into_iter().map(Controller::new);
        Self {
            settings: settings.clone(),
            zones: zones(sys),
            controllers: controllers.map(|controller| (controller.name.clone(), controller)).collect(),
            is_new: true,
            next_boot_ns: i64::MIN,
        }
    }
}

impl Watcher for Hardware {
    fn name(&self) -> &'static str {
        "hardware"
    }

    fn descriptors(&self) -> Vec<(BorrowedFd<'_>, PollFlags)> {
        Vec::new()
    }

    fn next_boot_ns(&self) -> i64 {
        self.next_boot_ns
    }

    fn look(&mut self, _ready: &[bool], now: Moment, desk: &mut Desk) -> Result<(), String> {
        let has_any = !self.zones.is_empty() || !self.controllers.is_empty();
        self.next_boot_ns = now.boot_ns.saturating_add(if has_any { LOOK_NS } else { SELDOM_NS });
        let is_new = std::mem::take(&mut self.is_new);
        for zone in &self.zones {
            let Some(celsius) = celsius(zone.directory.join("temp")) else { continue };
            let subject = Subject::new(SOURCE, "temperature", zone.directory.display().to_string());
            let was = desk.is_open(&subject);
            desk.set(&subject, zone.judge(celsius, &self.settings, was), now);
        }
        for controller in self.controllers.values_mut() {
            let of = |name: &str| number(controller.directory.join(name));
            let (corrected, uncorrected) = (of("ce_count"), of("ue_count"));
            if is_new && desk.is_open(&Subject::new(SOURCE, "uncorrected-errors", controller.name.as_str())) {
                controller.broken.happened(now.boot_ns);
            }
            controller.see(corrected, uncorrected, now);
            let was = desk.is_open(&Subject::new(SOURCE, "corrected-errors", controller.name.as_str()));
            for (check, finding) in controller.judge(&self.settings, was, now) {
                desk.set(&Subject::new(SOURCE, check, controller.name.as_str()), finding, now);
            }
        }
        Ok(())
    }

    fn watched(&self) -> String {
        match (self.zones.len(), self.controllers.len()) {
            (0, 0) => "it tells nothing".into(),
            (zones, controllers) => format!("{zones} temperatures, {controllers} memory controllers"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::alarms::{Alarms, Limit};
    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;

    /// A `/sys` whose numbers the test writes.
    struct Sys(tempfile::TempDir);

    impl Sys {
        fn new() -> Self {
            let sys = Self(tempfile::tempdir().expect("a directory"));
            let zone = "class/thermal/thermal_zone0";
            for (file, text) in [("type", "x86_pkg_temp"), ("temp", "40000"), ("trip_point_0_type", "passive")] {
                sys.put(&format!("{zone}/{file}"), text);
            }
            sys.put(&format!("{zone}/trip_point_0_temp"), "50000");
            sys.put(&format!("{zone}/trip_point_1_type"), "critical");
            sys.put(&format!("{zone}/trip_point_1_temp"), "100000");
            sys.put("devices/system/edac/mc/mc0/ce_count", "500");
            sys.put("devices/system/edac/mc/mc0/ue_count", "1");
            sys
        }

        fn put(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().expect("below")).and_then(|()| fs::write(path, text)).expect("written");
        }
    }

    fn look(hardware: &mut Hardware, alarms: &mut Alarms, seconds: i64) -> Vec<String> {
        let now = Moment { boot_ns: seconds * SECOND_NS, wall_ns: seconds * SECOND_NS };
        let mut desk = Desk::over(alarms);
        hardware.look(&[], now, &mut desk).expect("seen");
        desk.into_events().iter().map(|event| event.event_type.to_string()).collect()
    }

    #[test]
    fn heat_and_memory_errors_are_told_and_end() {
        let sys = Sys::new();
        let mut hardware = Hardware::new(&HardwareWatch::default(), sys.0.path());
        assert_eq!(hardware.watched(), "1 temperatures, 1 memory controllers");
        let mut alarms = Alarms::new(Limit { events_max: 99, window_ns: 1 });
        let none: [&str; 0] = [];
        assert_eq!(look(&mut hardware, &mut alarms, 0), none, "old errors are no news");
        sys.put("class/thermal/thermal_zone0/temp", "100500");
        assert_eq!(look(&mut hardware, &mut alarms, 10), ["system.hardware.pressure"]);
        sys.put("class/thermal/thermal_zone0/temp", "96000");
        assert_eq!(look(&mut hardware, &mut alarms, 20), none, "not cool enough");
        sys.put("class/thermal/thermal_zone0/temp", "94000");
        assert_eq!(look(&mut hardware, &mut alarms, 30), ["system.hardware.recovered"]);
        sys.put("devices/system/edac/mc/mc0/ce_count", "601");
        assert_eq!(look(&mut hardware, &mut alarms, 40), ["system.hardware.pressure"]);
        sys.put("devices/system/edac/mc/mc0/ue_count", "2");
        assert_eq!(look(&mut hardware, &mut alarms, 50), ["system.hardware.failure"]);
        let over = look(&mut hardware, &mut alarms, 4_000);
        assert_eq!(over, ["system.hardware.recovered", "system.hardware.recovered"]);
    }

    #[test]
    fn hardware_that_tells_nothing_is_not_looked_at() {
        let empty = tempfile::tempdir().expect("a directory");
        let mut hardware = Hardware::new(&HardwareWatch::default(), empty.path());
        let mut alarms = Alarms::new(Limit { events_max: 9, window_ns: 1 });
        assert!(look(&mut hardware, &mut alarms, 0).is_empty());
        assert_eq!((hardware.watched().as_str(), hardware.next_boot_ns()), ("it tells nothing", SELDOM_NS));
    }
}
