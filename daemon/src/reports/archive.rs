//! A directory of reports: each event's as JSON and as HTML.
//!
//! Inputs: a report without secrets, the directory, how many to keep. Outputs: files that are whole at every moment and on
//! the disk when they have their name. Blocks on the file system. Must never follow a link that somebody put in its way,
//! nor remove a file that is not a report.

use super::page;
use crate::dispatch::report::EventReport;
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// For the daemon's user and group: evidence is not everybody's.
const FILE_MODE: u32 = 0o640;
const DIRECTORY_MODE: u32 = 0o750;
/// What a report is written as.
const ENDINGS: [&str; 2] = ["json", "html"];

/// Writes the report into the directory, which is made when it is missing, and then removes the oldest ones but `keep`.
/// `json` is the report's own text.
///
/// # Errors
/// The file system's, for the JSON first: without it there is no report.
pub fn write(directory: &Path, report: &EventReport, json: &str, keep: usize) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
    let name = name(report);
    put(directory, &format!("{name}.json"), json)?;
    let page = page::html(report).map_err(io::Error::other)?;
    put(directory, &format!("{name}.html"), &page)?;
    File::open(directory)?.sync_all()?;
    drop_oldest(directory, keep)
}

/// `20260501T120000Z_cloud.spot.interrupt_019a1b2c-…`: in the order of time, and the same for the same event.
fn name(report: &EventReport) -> String {
    let second = report.detected.split(['.', 'Z']).next().unwrap_or_default();
    let time: String = second.chars().filter(char::is_ascii_alphanumeric).collect();
    // Both are the daemon's own, but came through JSON.
    let plain =
        |text: &str| text.chars().filter(|c| c.is_ascii_alphanumeric() || ".-_".contains(*c)).collect::<String>();
    format!("{time}Z_{}_{}", plain(&report.event_type), plain(&report.event_id))
}

/// Puts a file into its place at once: whoever looks finds the old one or the whole new one.
fn put(directory: &Path, name: &str, text: &str) -> io::Result<()> {
    let beside = directory.join(format!(".{name}.new"));
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Made anew: a link that waits there is not followed.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&beside)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.and_then(|()| fs::rename(&beside, directory.join(name))).inspect_err(|_| drop(fs::remove_file(&beside)))
}

/// The name of the report that a file belongs to; also of one that was left half written.
fn report_of(file: &str) -> Option<&str> {
    let file = file.strip_prefix('.').and_then(|rest| rest.strip_suffix(".new")).unwrap_or(file);
    let (name, ending) = file.rsplit_once('.')?;
    let (time, id) = (name.split('_').next()?, name.rsplit('_').next()?);
    let is_time = time.len() == 16 && time.starts_with(|c: char| c.is_ascii_digit()) && time.ends_with('Z');
    (ENDINGS.contains(&ending) && is_time && uuid::Uuid::parse_str(id).is_ok()).then_some(name)
}

fn drop_oldest(directory: &Path, keep: usize) -> io::Result<()> {
    let names = fs::read_dir(directory)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let files: Vec<String> = names.filter(|file| report_of(file).is_some()).collect();
    // Nothing else writes here: what is half written now is of a process that was killed.
    let is_half = |file: &str| file.starts_with('.');
    let whole = files.iter().filter(|file| !is_half(file));
    let reports: BTreeSet<&str> = whole.filter_map(|file| report_of(file)).collect();
    let old: BTreeSet<&str> = reports.iter().rev().skip(keep).copied().collect();
    for file in files.iter().filter(|file| is_half(file) || report_of(file).is_some_and(|name| old.contains(name))) {
        match fs::remove_file(directory.join(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::MetadataExt;

    fn report(number: u32) -> EventReport {
        serde_json::from_value(json!({
            "event_id": format!("019a1b2c-3d4e-7f60-8182-{number:012x}"), "type": "custom.x", "state": "completed",
            "detected": format!("2026-05-01T12:00:{number:02}.120Z"), "deadline": null, "first_start_us": null,
            "duration_ms": 1.0, "left_seconds": 1.0, "handlers": [], "event": {},
        }))
        .expect("a report")
    }

    fn files(directory: &Path) -> Vec<String> {
        let names = fs::read_dir(directory).expect("there").map(|entry| entry.expect("read").file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }

    #[test]
    fn the_newest_reports_are_kept_and_foreign_files_are_left_alone() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = place.path().join("made/here");
        for number in [3, 1, 2, 4] {
            write(&directory, &report(number), "{}", 2).expect("written");
            fs::write(directory.join("notes.html"), "mine").expect("written");
        }
        fs::write(directory.join(".20260501T120009Z_custom.x_019a1b2c-3d4e-7f60-8182-000000000009.json.new"), "{")
            .expect("left");
        write(&directory, &report(4), "{}", 2).expect("written again");
        let name = |number: u32| format!("20260501T1200{number:02}Z_custom.x_019a1b2c-3d4e-7f60-8182-{number:012x}");
        let expected: Vec<String> = [3, 4]
            .iter()
            .flat_map(|number| ["html", "json"].map(|ending| format!("{}.{ending}", name(*number))))
            .collect();
        assert_eq!(files(&directory), [expected, vec!["notes.html".to_owned()]].concat());
        let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
        assert_eq!(mode(&directory) | 0o750, 0o750);
        assert_eq!(mode(&directory.join(format!("{}.json", name(4)))) | 0o640, 0o640);
    }

    #[test]
    fn a_link_in_the_way_is_not_followed() {
        let place = tempfile::tempdir().expect("a directory");
        let victim = place.path().join("victim");
        fs::write(&victim, "precious").expect("written");
        let directory = place.path().join("reports");
        fs::create_dir(&directory).expect("made");
        let name = name(&report(1));
        for file in [format!(".{name}.json.new"), format!("{name}.json"), format!("{name}.html")] {
            std::os::unix::fs::symlink(&victim, directory.join(file)).expect("linked");
        }
        write(&directory, &report(1), "{}", 9).expect("written");
        assert_eq!(fs::read_to_string(&victim).expect("there"), "precious");
        assert!(fs::symlink_metadata(directory.join(format!("{name}.json"))).expect("there").is_file());
    }

    #[test]
    fn a_name_leads_nowhere_else() {
        let mut odd = report(1);
        (odd.event_type, odd.event_id) = ("../../etc/x".into(), "../y".into());
        assert_eq!(name(&odd), "20260501T120001Z_....etcx_..y");
        assert_eq!(
            report_of("20260501T120001Z_a_b_019a1b2c-3d4e-7f60-8182-000000000001.json"),
            Some("20260501T120001Z_a_b_019a1b2c-3d4e-7f60-8182-000000000001")
        );
        for foreign in
            ["notes.json", "a_019a1b2c-3d4e-7f60-8182-000000000001.json", "20260501T120001Z_a_b.json", "json"]
        {
            assert_eq!(report_of(foreign), None, "{foreign}");
        }
    }
}
