//! Whether a machine fits into the time and the room there is.
//!
//! Inputs: a survey, what is known of its disk. Outputs: what it will take, or why it cannot. Must never measure a disk for
//! longer than a moment while the time runs.

use crate::disk::{ASSUMED, Disks, Speed, device, room};
use crate::estimate;
use crate::machine::Survey;
use crate::plan::Goal;
use crate::queue::Load;
use crate::scene::One;
use crate::told::too_late;
use cloudsnooze_plugin::{Code, Error};
use std::time::Duration;

/// Room on the disk besides what is to be written.
const ROOM: u64 = 16 << 20;
/// Written and waited for when a disk is not known at the event, and how long that may take.
const LATE_PROBE: (u64, Duration) = (16 << 20, Duration::from_millis(300));

/// What saving a machine will take.
pub(crate) fn load(survey: &Survey) -> Load {
    Load { device: survey.directory.as_deref().and_then(device), bytes: survey.used }
}

/// How fast its disk is.
pub(crate) fn speed(disks: &Disks, goal: &Goal, survey: &Survey) -> Speed {
    let configured = goal.bandwidth.map(|bytes_a_second| Speed { bytes_a_second, from: "configured" });
    let place = survey.directory.as_deref();
    let known = configured.or_else(|| disks.speed(place.and_then(device)));
    let measured = known.or_else(|| {
        let place = place?;
        disks.measure(place, LATE_PROBE.0, LATE_PROBE.1, &|| false).ok()?;
        disks.speed(device(place))
    });
    let speed = measured.unwrap_or(Speed { bytes_a_second: ASSUMED, from: "assumed" });
    let most = goal.max_bandwidth.unwrap_or(u64::MAX);
    Speed { bytes_a_second: speed.bytes_a_second.min(most), ..speed }
}

/// Whether time and room are enough; `ahead` bytes are to be written before or beside.
///
/// # Errors
/// They are not.
pub(crate) fn must_fit(one: &mut One<'_>, survey: &Survey, ahead: u64, speed: Speed) -> Result<(), Error> {
    let bytes = survey.used;
    let room = survey.directory.as_deref().and_then(room).unwrap_or(u64::MAX);
    if room < bytes.saturating_add(ROOM) {
        let text = format!("not begun: up to {bytes} bytes are to be written, and there is room for {room}");
        return Err(Error::new(text).code(Code::Io));
    }
    let left = one.clock.left();
    let seconds = estimate::seconds(bytes.saturating_add(ahead), speed.bytes_a_second);
    one.told.estimated(bytes, ahead, speed, seconds, left);
    if estimate::fits(seconds, left, survey.margin) {
        return Ok(());
    }
    let behind = if ahead == 0 { String::new() } else { format!(" beside {ahead} of others") };
    Err(too_late(format!(
        "not begun: {bytes} bytes{behind} at {} bytes a second ({}) need {seconds:.1} s, and {:.1} s are left",
        speed.bytes_a_second,
        speed.from,
        left.as_secs_f64()
    )))
}
