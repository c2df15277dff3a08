//! One interruption, as the cloud would do it: a notice in the metadata service, the real daemon on it, the end at the deadline.
//!
//! Inputs: a handler or none, what is to be killed. Outputs: when the notice was shown, what the daemon reported, when its handler
//! had ended. Must never touch the subject before the deadline, nor judge.

use crate::clock::{self, Offset};
use fake_metadata::{Action, FakeMetadata, Options};
use harness::daemon::{Daemon, DaemonBuilder};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const EVENT: &str = "cloud.spot.interrupt";
/// After the deadline: time for a handler that was late to be reported.
const REPORT_LIMIT: Duration = Duration::from_secs(30);
/// The daemon tells when it detected a notice in whole milliseconds, rounded down.
const ROUNDING_NS: i64 = 1_000_000;

/// A machine that is about to be interrupted: its metadata service and its daemon. Dropping it ends both.
pub struct Machine {
    daemon: Daemon,
    fake: FakeMetadata,
    has_handler: bool,
}

/// What became of it.
pub struct Interrupted {
    /// Until when writes were acknowledged that had to be saved, CLOCK_BOOTTIME nanoseconds, rounded up; None without a handler
    /// that has ended well.
    pub ended_boot_ns: Option<i64>,
    /// From detection to the handler's end, milliseconds.
    pub took_ms: f64,
    /// Why the handler did not do its work, in the daemon's words.
    pub failure: Option<String>,
}

impl Machine {
    /// Starts both, the daemon with this handler or with none. Returns when the daemon answers; its plugins are active then.
    ///
    /// # Errors
    /// When one does not start.
    pub fn start(bin_dir: &Path, handler: Option<&Value>) -> Result<Self, String> {
        let fake = FakeMetadata::start(Options { control: false, ..Options::default() });
        let fake = fake.map_err(|error| error.to_string())?;
        let handlers: Vec<&Value> = handler.into_iter().collect();
        let config = json!({
            "event_handlers": { EVENT: { "plugins": handlers } },
            "sources": { "aws": { "polling_interval_seconds": 0.05 } },
        });
        let daemon = DaemonBuilder::new(bin_dir).config(config).endpoint(fake.base_url()).start()?;
        Ok(Self { daemon, fake, has_handler: handler.is_some() })
    }

    /// Shows the notice that the machine ends in `seconds` to `seconds` + 1 (the cloud names whole seconds), and has `kill` end
    /// the subject then. `shown` is called right before the notice is there to be seen.
    ///
    /// # Errors
    /// When the daemon has not seen it, or the subject cannot be ended.
    pub fn interrupt<T>(
        &self,
        seconds: u64,
        shown: impl FnOnce() -> T,
        kill: impl FnOnce() -> Result<(), String>,
    ) -> Result<(T, Interrupted), String> {
        let offset = Offset::now();
        let at_shown = shown();
        let now = Timestamp::now().as_second();
        let deadline = Timestamp::from_second(now + 1 + i64::try_from(seconds).unwrap_or(i64::MAX / 4));
        let deadline = deadline.map_err(|error| format!("no such time: {error}"))?;
        self.fake.notice(Action::Terminate, deadline);
        let limit = Duration::from_secs(seconds) + REPORT_LIMIT;
        let report = std::thread::scope(|scope| {
            let asking = scope.spawn(|| self.daemon.report_of(EVENT, limit));
            clock::sleep_until(deadline.as_second() * 1_000_000_000);
            kill()?;
            asking.join().map_err(|_| "asking for the report panicked".to_owned())?
        })?;
        Ok((at_shown, self.read(&report, offset)?))
    }

    fn read(&self, report: &Value, offset: Offset) -> Result<Interrupted, String> {
        let handlers = report["handlers"].as_array().map_or(&[][..], Vec::as_slice);
        let Some(handler) = handlers.first() else {
            if self.has_handler {
                return Err(format!("the report has no handler: {report}"));
            }
            return Ok(Interrupted { ended_boot_ns: None, took_ms: 0.0, failure: None });
        };
        let number = |key: &str| handler[key].as_f64().ok_or_else(|| format!("no {key} in {handler}"));
        let took_ms = handler["start_ms"].as_f64().unwrap_or(0.0) + number("duration_ms")?;
        let detected = report["detected"].as_str().unwrap_or_default();
        let detected: Timestamp = detected.parse().map_err(|error| format!("detected at '{detected}': {error}"))?;
        let detected_ns = i64::try_from(detected.as_nanosecond()).map_err(|error| error.to_string())?;
        #[allow(clippy::cast_possible_truncation, reason = "milliseconds of one round")]
        let ended_ns = detected_ns + ROUNDING_NS + (took_ms * 1e6).ceil() as i64;
        let is_well =
            handler["status"] == "handled" && handler["verified"] == "yes" && handler["result"]["durable"] == "yes";
        let failure = (!is_well).then(|| {
            let [status, verified, error, result] = ["status", "verified", "error", "result"].map(|key| &handler[key]);
            let [durable, steps, skipped] = ["durable", "steps", "skipped"].map(|key| &result[key]);
            format!("{status}, verified {verified}, durable {durable}: {error}; steps {steps}, skipped {skipped}")
        });
        let ended_boot_ns = if is_well { Some(offset.boot_of(ended_ns)?) } else { None };
        Ok(Interrupted { ended_boot_ns, took_ms, failure })
    }
}
