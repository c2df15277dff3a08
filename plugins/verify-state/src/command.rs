//! Checks that are commands.
//!
//! Inputs: a command, the event, the time there is. Outputs: how it ended. Must never leave a process behind: the thread that
//! runs it ends its whole group.

use crate::look::Found;
use cloudsnooze_plugin::{Call, Code, Error, Event};
use cloudsnooze_plugin_commands::{Cut, Ended, Order, PROGRAM_PATH, Ran, Runner};
use cloudsnooze_plugin_dbus::Limit;
use std::ffi::CString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_millis(200);
/// From the time when it must have been killed to giving up on the thread.
const LATE: Duration = Duration::from_millis(500);
/// How often the host's flag is passed on to the thread that runs the command.
const FLAG_PASS: Duration = Duration::from_millis(10);
/// Bytes that are kept of what it writes.
const OUTPUT_BYTES: usize = 1024;

/// Runs one.
///
/// # Errors
/// The call was cancelled.
pub(crate) fn run(
    words: &[CString],
    exit: i32,
    runner: &Runner,
    event: &Event<'_>,
    call: &Call<'_>,
    limit: &Limit<'_>,
) -> Result<Found, Error> {
    let left = limit.left();
    let grace = GRACE.min(left / 4);
    let time = left.saturating_sub(grace);
    if time.is_zero() {
        return Ok(Found::new(false, "no time to run it"));
    }
    let term_at = Instant::now() + time;
    let order = Arc::new(Order {
        words: words.to_vec(),
        env: environment(event),
        directory: PathBuf::from("/"),
        input: event.json().as_bytes().to_vec(),
        term_at,
        grace,
        output_bytes: OUTPUT_BYTES,
        stop: Arc::default(),
    });
    if !runner.order(&order) {
        return Ok(Found::new(false, "the thread that runs commands is not there or not free"));
    }
    let late = term_at + grace + LATE;
    loop {
        match runner.answer(FLAG_PASS) {
            Some(Ok(ran)) => return judge(&ran, exit),
            Some(Err(text)) => return Ok(Found::new(false, text)),
            None => {}
        }
        if Instant::now() >= late {
            return Ok(Found::new(false, "the thread that runs it does not answer"));
        }
        if call.cancelled().is_some() {
            order.stop.store(true, Ordering::Release);
        }
    }
}

fn judge(ran: &Ran, exit: i32) -> Result<Found, Error> {
    let lines = [ran.stderr.last_line(), ran.stdout.last_line()];
    let said = lines.into_iter().find(|line| !line.is_empty()).map_or_else(String::new, |line| format!(": {line}"));
    Ok(match (ran.cut, ran.ended) {
        (Some(Cut::Cancelled), _) => return Err(Error::new("cancelled").code(Code::Cancelled)),
        (Some(Cut::Time), _) => Found::new(false, format!("had not ended after {:.1} s{said}", ran.took.as_secs_f64())),
        (None, Ended::Exited(code)) => Found::new(code == exit, format!("exit code {code}{said}")),
        (None, Ended::Killed(signal)) => Found::new(false, format!("killed by {signal}{said}")),
        (None, Ended::Stuck) => Found::new(false, "it does not end, not even on SIGKILL"),
    })
}

fn environment(event: &Event<'_>) -> Vec<CString> {
    let all = [
        ("PATH", PROGRAM_PATH),
        ("LANG", "C.UTF-8"),
        ("HOME", "/"),
        ("CLOUDSNOOZE_EVENT_TYPE", event.event_type()),
        ("CLOUDSNOOZE_EVENT_ID", event.id()),
        ("CLOUDSNOOZE_DRILL", if event.is_drill() { "1" } else { "0" }),
    ];
    // An event's text may hold anything.
    all.iter().filter_map(|(name, value)| CString::new(format!("{name}={}", value.replace('\0', ""))).ok()).collect()
}
