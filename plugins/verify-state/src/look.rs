//! Files, processes, ports and units, as they are now.
//!
//! Inputs: a check, when the event was seen. Outputs: what was found, and whether it is what was expected. Must never change
//! what it looks at, nor take what it cannot see for what it wants to see.

use cloudsnooze_plugin::process;
use cloudsnooze_plugin_dbus::{Bus, Fault, Limit};
use jiff::Timestamp;
use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How long an address may take to refuse. A machine's own refuses at once.
const REFUSAL: Duration = Duration::from_millis(500);
/// The clock of file systems lags behind the wall clock, up to a tick of the kernel.
const CLOCK_LAG: Duration = Duration::from_millis(10);
/// The start of a process is known to a second, like its pid file's time on some file systems.
const START_LAG: Duration = Duration::from_secs(2);

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) holds: bool,
    pub(crate) text: String,
}

impl Found {
    pub(crate) fn new(holds: bool, text: impl Into<String>) -> Self {
        Self { holds, text: text.into() }
    }
}

/// A file. `since` is when the event was seen, if it matters.
pub(crate) fn file(path: &Path, min_bytes: u64, since: Option<Option<Timestamp>>) -> Found {
    let meta = match fs::metadata(path) {
        Ok(meta) if meta.is_file() => meta,
        Ok(_) => return Found::new(false, "not a regular file"),
        Err(error) if error.kind() == ErrorKind::NotFound => return Found::new(false, "not there"),
        Err(error) => return Found::new(false, error.to_string()),
    };
    let bytes = meta.len();
    let mut text = format!("{bytes} bytes");
    let mut holds = bytes >= min_bytes;
    if let Some(since) = since {
        let modified = meta.modified().ok();
        let is_newer = match (modified, since.map(SystemTime::from)) {
            (Some(modified), Some(since)) => modified + CLOCK_LAG >= since,
            // An event without a time is newer than everything, for all that can be proved.
            _ => false,
        };
        let shown = modified.and_then(|time| Timestamp::try_from(time).ok());
        let shown = shown.map_or_else(|| "an unknown time".to_owned(), |time| format!("{time:.3}"));
        text = format!("{text}, written at {shown}, {} than the event", if is_newer { "newer" } else { "older" });
        holds &= is_newer;
    }
    Found::new(holds, text)
}

/// A process that a pid file names.
pub(crate) fn process_gone(pid_file: &Path) -> Found {
    let text = match fs::read_to_string(pid_file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Found::new(true, "gone, and its pid file too"),
        Err(error) => return Found::new(false, format!("the pid file cannot be read: {error}")),
    };
    let pid = text.split_whitespace().next().and_then(|word| word.parse::<u32>().ok()).filter(|pid| *pid > 0);
    let Some(pid) = pid else { return Found::new(false, "the pid file holds no number") };
    if process::has_ended(pid) {
        return Found::new(true, format!("process {pid} is gone"));
    }
    let written = fs::metadata(pid_file).and_then(|meta| meta.modified()).ok();
    let is_another = started(pid).zip(written).is_some_and(|(started, written)| started > written + START_LAG);
    if is_another {
        return Found::new(true, format!("gone; {pid} is the number of a younger process by now"));
    }
    Found::new(false, format!("process {pid} is there"))
}

/// When a process was started, by the wall clock.
fn started(pid: u32) -> Option<SystemTime> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // proc_pid_stat(5): the name stands in parentheses and may hold any; the start is field 22, in ticks since the boot.
    let ticks: u64 = stat.rsplit_once(") ")?.1.split_whitespace().nth(19)?.parse().ok()?;
    let all = fs::read_to_string("/proc/stat").ok()?;
    let boot: u64 = all.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let seconds = boot + ticks.checked_div(rustix::param::clock_ticks_per_second())?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// An address that has to refuse connections.
pub(crate) fn port_closed(address: SocketAddr, limit: &Limit<'_>) -> Found {
    let time = REFUSAL.min(limit.left());
    if time.is_zero() {
        return Found::new(false, "no time to ask");
    }
    match TcpStream::connect_timeout(&address, time) {
        Ok(_) => Found::new(false, "a connection was accepted"),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Found::new(true, "refused"),
        // Silence may be a full queue of a server that is there.
        Err(error) => Found::new(false, error.to_string()),
    }
}

/// A unit that has to be inactive.
///
/// # Errors
/// The time was over, or the call was cancelled.
pub(crate) fn unit_inactive(name: &str, limit: &Limit<'_>) -> Result<Found, Fault> {
    let asked = Bus::open(limit).and_then(|bus| bus.units(&[name], limit));
    Ok(match asked {
        Err(fault @ (Fault::Late | Fault::Cancelled)) => return Err(fault),
        Err(fault) => Found::new(false, fault.to_string()),
        Ok(units) => match units.first() {
            // A misspelt name would hold for ever.
            None => Found::new(false, "systemd knows no such unit"),
            Some(unit) if unit.load == "not-found" => Found::new(false, "systemd knows no such unit"),
            Some(unit) if unit.job != 0 => Found::new(false, format!("{}, with a job", unit.shown())),
            Some(unit) => Found::new(unit.is_inactive(), unit.shown()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::process::Command;

    #[test]
    fn a_file_is_there_long_enough_and_young_enough() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dump");
        assert_eq!(file(&path, 1, None), Found::new(false, "not there"));
        assert!(!file(dir.path(), 0, None).holds);
        let before = Timestamp::now();
        fs::write(&path, "1234").unwrap();
        assert_eq!(file(&path, 4, None), Found::new(true, "4 bytes"));
        assert_eq!(file(&path, 5, None), Found::new(false, "4 bytes"));
        assert!(file(&path, 4, Some(Some(before))).holds);
        let later = before + Duration::from_secs(60);
        let old = file(&path, 4, Some(Some(later)));
        assert!(!old.holds && old.text.ends_with("older than the event"), "{old:?}");
        assert!(!file(&path, 4, Some(None)).holds, "an event without a time proves nothing");
    }

    #[test]
    fn a_process_is_gone_when_it_has_ended_or_its_number_is_another_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        assert!(process_gone(&path).holds);
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        fs::write(&path, format!("{}\n", child.id())).unwrap();
        assert_eq!(process_gone(&path), Found::new(false, format!("process {} is there", child.id())));
        // As if the file were left behind by a process of an hour ago.
        let old = SystemTime::now() - Duration::from_secs(3600);
        fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        assert!(process_gone(&path).holds && process_gone(&path).text.contains("younger"));
        fs::write(&path, format!("{}\n", child.id())).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(process_gone(&path).holds);
        fs::write(&path, "none").unwrap();
        assert_eq!(process_gone(&path), Found::new(false, "the pid file holds no number"));
    }

    #[test]
    fn a_port_is_closed_when_it_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let limit = Limit::within(Duration::from_secs(20));
        assert_eq!(port_closed(address, &limit), Found::new(false, "a connection was accepted"));
        drop(listener);
        assert_eq!(port_closed(address, &limit), Found::new(true, "refused"));
        assert!(!port_closed(address, &Limit::within(Duration::ZERO)).holds);
    }
}
