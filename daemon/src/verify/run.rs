//! Runs the tests: static ones here, each dynamic one in a process of its own.
//!
//! Inputs: an order. Outputs: a report. Must never wait for a test longer than its limit, nor leave a process of a
//! test behind: each has a process group of its own, which is killed when the test is over.

use super::case::Case;
use super::image::Image;
use super::report::{Outcome, Record, Report};
use super::{Body, Finding, Group, Test, all, child, drive};
use crate::sys::clock;
use crate::sys::slate::{Place, Slate};
use crate::sys::surroundings::signal_name;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// The hidden subcommand of `snooze plugin` that is the process of one test.
pub const CHILD_COMMAND: &str = "verify-child";
/// How often a child is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// What is to be verified, and how.
pub struct Order {
    /// The case of every test.
    pub case: Case,
    /// Names of tests or groups; all when empty.
    pub only: Vec<String>,
    /// Run everything in this process, for a debugger.
    pub is_in_process: bool,
    /// The program that has the hidden subcommand: this one.
    pub program: PathBuf,
}

/// The tests that `only` names: by name, or by what the names begin with.
///
/// # Errors
/// The first word that names none.
pub fn chosen(only: &[String]) -> Result<Vec<(usize, Test)>, String> {
    let numbered: Vec<(usize, Test)> = all().into_iter().enumerate().map(|(at, test)| (at + 1, test)).collect();
    let matches =
        |word: &str, name: &str| name == word || name.strip_prefix(word).is_some_and(|rest| rest.starts_with('-'));
    if let Some(word) = only.iter().find(|word| !numbered.iter().any(|(_, test)| matches(word, test.name))) {
        return Err(word.clone());
    }
    let is_chosen = |test: &Test| only.is_empty() || only.iter().any(|word| matches(word, test.name));
    Ok(numbered.into_iter().filter(|(_, test)| is_chosen(test)).collect())
}

/// Runs the chosen tests; `tell` hears of each before it begins.
///
/// # Errors
/// A process cannot be started, or there is no memory to share with it.
pub fn run(order: &Order, tests: &[(usize, Test)], tell: &mut dyn FnMut(usize, &Test)) -> io::Result<Report> {
    let begun_ns = clock::boot_ns();
    let image = Image::read(&order.case.path);
    let mut records: Vec<Record> = Vec::new();
    let mut outcomes = BTreeMap::new();
    for (done, (number, test)) in tests.iter().enumerate() {
        tell(done + 1, test);
        let test_ns = clock::boot_ns();
        let (outcome, found) = match test.body {
            Body::Static(body) => body(&image).into(),
            Body::Dynamic(_) => match obstacle(test, &image, &outcomes) {
                Some(why) => (Outcome::Skipped, why),
                None if order.is_in_process => child::of(test.name, &order.case).into(),
                None => in_child(order, test)?,
            },
        };
        outcomes.insert(test.name, outcome);
        records.push(Record {
            number: *number,
            name: test.name,
            group: test.group,
            outcome,
            seconds: seconds_since(test_ns),
            found,
            expected: test.expected,
            advice: test.advice,
        });
    }
    Ok(Report {
        plugin: order.case.plugin.clone(),
        path: order.case.path.clone(),
        sha256: image.sha256,
        seed: order.case.seed,
        is_fit: Report::judge(&records),
        seconds: seconds_since(begun_ns),
        tests: records,
    })
}

#[allow(clippy::cast_precision_loss, reason = "seconds for people")]
fn seconds_since(begun_ns: i64) -> f64 {
    ((clock::boot_ns() - begun_ns) / 1_000_000) as f64 / 1_000.0
}

/// Why a test makes no sense after those before it.
fn obstacle(test: &Test, image: &Image, outcomes: &BTreeMap<&str, Outcome>) -> Option<String> {
    // The daemon would not run it either.
    if let Some(refusal) = image.refusal() {
        return Some(format!("the daemon would refuse the file ({})", refusal.code()));
    }
    let needed = *outcomes.get(test.needs)?;
    let is_first_step = !test.needs.starts_with("delivery");
    let stops = match needed {
        Outcome::Crashed | Outcome::TimedOut | Outcome::Skipped => true,
        // A handler can be tried further although it answers nonsense; an instance that cannot be had cannot.
        Outcome::Failed => is_first_step,
        Outcome::Success | Outcome::Warning => false,
    };
    stops.then(|| format!("{} comes first: {}", test.needs, needed.word()))
}

fn in_child(order: &Order, test: &Test) -> io::Result<(Outcome, String)> {
    let slate = Slate::new()?;
    slate.write(Place::Request, &serde_json::to_vec(&order.case)?);
    drive::note("");
    let words = nix::sys::memfd::memfd_create(c"snooze-words", nix::sys::memfd::MFdFlags::MFD_CLOEXEC)?;
    let mut words = File::from(words);
    let mut child = Command::new(&order.program)
        .args(["plugin", CHILD_COMMAND, test.name])
        .stdin(Stdio::from(slate.descriptor()?))
        .stdout(Stdio::null())
        .stderr(Stdio::from(words.try_clone()?))
        .process_group(0)
        .spawn()?;
    let ended = wait(&mut child, test.limit_seconds);
    // The group holds what the plugin started, too.
    if let Ok(group) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let Some(status) = ended? else {
        child.wait()?;
        let phase = String::from_utf8_lossy(&slate.read(Place::Phase)).into_owned();
        return Ok((Outcome::TimedOut, format!("it had not ended after {} s; in {phase}", test.limit_seconds)));
    };
    if status.success()
        && let Ok(finding) = serde_json::from_slice::<Finding>(&slate.read(Place::Report))
    {
        return Ok(finding.into());
    }
    let mut said = Vec::new();
    words.rewind()?;
    words.read_to_end(&mut said)?;
    Ok((Outcome::Crashed, last_words(status, &slate, &String::from_utf8_lossy(&said))))
}

/// How a process ended that wrote no finding.
fn last_words(status: ExitStatus, slate: &Slate, said: &str) -> String {
    let phase = String::from_utf8_lossy(&slate.read(Place::Phase)).into_owned();
    let how = match status.signal() {
        Some(signal) => format!("the process was ended by {}", signal_name(signal)),
        None => format!("the process ended itself with status {}", status.code().unwrap_or(-1)),
    };
    let said = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    let said = said.map_or_else(String::new, |line| format!("; it said: {line}"));
    format!("{how} in {phase}{said}")
}

/// Waits for the child's end, at most for the limit; None when it is still running then.
fn wait(child: &mut Child, limit_seconds: u32) -> io::Result<Option<ExitStatus>> {
    let end_ns = clock::boot_ns() + i64::from(limit_seconds) * 1_000_000_000;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if clock::boot_ns() > end_ns {
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

/// Names of the groups, for help texts.
pub fn groups() -> Vec<Group> {
    let mut groups: Vec<Group> = all().iter().map(|test| test.group).collect();
    groups.dedup();
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_chosen_by_name_and_by_group_and_a_wrong_name_is_told() {
        let names = |only: &[&str]| -> Result<Vec<&'static str>, String> {
            let only: Vec<String> = only.iter().map(|word| (*word).to_owned()).collect();
            Ok(chosen(&only)?.into_iter().map(|(_, test)| test.name).collect())
        };
        assert_eq!(names(&["delivery-kinds"]), Ok(vec!["delivery-kinds"]));
        let statics = names(&["static"]).expect("a group");
        assert!(statics.len() > 8 && statics.iter().all(|name| name.starts_with("static-")));
        assert_eq!(names(&["deliver"]), Err("deliver".into()));
        assert_eq!(names(&[]).expect("all").len(), all().len());
    }

    #[test]
    fn a_test_is_skipped_when_what_it_needs_is_not_well() {
        let image = Image::read(std::path::Path::new("/nonexistent"));
        let (_, test) = chosen(&["load-class".into()]).expect("known")[0];
        assert!(obstacle(&test, &image, &BTreeMap::new()).is_some_and(|why| why.contains("refuse")));
    }
}
