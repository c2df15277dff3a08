//! What was told before a restart.
//!
//! Inputs: rows of the history. Outputs: events. Must never let a row that cannot be read hide another.

use crate::event::Event;
use crate::sys::clock;

/// An event of before a restart, and whether it was withdrawn.
pub(super) type Seen = (Event, bool);

/// Reads the rows, once for everybody who has to remember.
pub(super) fn read(rows: &[(String, bool)]) -> Vec<Seen> {
    let now = clock::now();
    let event = |text: &String| Event::from_json(&serde_json::from_str(text).ok()?, now);
    rows.iter().filter_map(|(text, is_withdrawn)| Some((event(text)?, *is_withdrawn))).collect()
}
