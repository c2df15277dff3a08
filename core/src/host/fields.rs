//! The fields of an event by number: known ones for ever, others as plugins ask for them.
//!
//! Inputs: JSON paths with dots. Outputs: numbers, and JSON pointers for them. Must never lock: a number
//! is looked up on a real-time thread.

use cloudsnooze_abi as abi;
use std::sync::OnceLock;

/// Most names that `field_id` gives out beyond the known ones.
const NAMES_MAX: usize = 1024;
/// First id of a name asked for at run time.
const NAMES_FIRST: u32 = 0x1_0000;
/// Paths of the known fields, as JSON pointers.
const FIELDS: [(u32, &str, &str); 18] = [
    (abi::SNOOZE_FIELD_TYPE, "type", "/type"),
    (abi::SNOOZE_FIELD_ID, "id", "/id"),
    (abi::SNOOZE_FIELD_SOURCE, "source", "/source"),
    (abi::SNOOZE_FIELD_TIME, "time", "/time"),
    (abi::SNOOZE_FIELD_SUBJECT, "subject", "/subject"),
    (abi::SNOOZE_FIELD_SEVERITY, "severity", "/severity"),
    (abi::SNOOZE_FIELD_PROVIDER, "data.provider", "/data/provider"),
    (abi::SNOOZE_FIELD_ACTION, "data.action", "/data/action"),
    (abi::SNOOZE_FIELD_DEADLINE, "data.time", "/data/time"),
    (abi::SNOOZE_FIELD_TIME_REMAINING, "data.timeRemaining", "/data/timeRemaining"),
    (abi::SNOOZE_FIELD_INSTANCE_ID, "data.instanceID", "/data/instanceID"),
    (abi::SNOOZE_FIELD_INSTANCE_TYPE, "data.instanceType", "/data/instanceType"),
    (abi::SNOOZE_FIELD_ZONE, "data.zone", "/data/zone"),
    (abi::SNOOZE_FIELD_REGION, "data.region", "/data/region"),
    (abi::SNOOZE_FIELD_NOTICE_KIND, "data.noticeKind", "/data/noticeKind"),
    (abi::SNOOZE_FIELD_CANCELS, "data.cancels", "/data/cancels"),
    (abi::SNOOZE_FIELD_RAW, "data.raw", "/data/raw"),
    (0xFFFF, "specversion", "/specversion"),
];

struct Name {
    path: String,
    pointer: String,
}

/// Names given out at run time: each slot is written once, so reading needs no lock.
static NAMES: [OnceLock<Name>; NAMES_MAX] = [const { OnceLock::new() }; NAMES_MAX];

/// The JSON pointer of a field's number.
pub fn pointer(field: u32) -> Option<&'static str> {
    match field.checked_sub(NAMES_FIRST) {
        Some(slot) => NAMES.get(slot as usize)?.get().map(|n| n.pointer.as_str()),
        None => FIELDS.iter().find(|(id, ..)| *id == field).map(|(_, _, pointer)| *pointer),
    }
}

/// The number of a path; 0 when the table of names is full.
pub fn number(path: &str) -> u32 {
    if let Some((id, ..)) = FIELDS.iter().find(|(_, p, _)| *p == path) {
        return *id;
    }
    let made = || {
        let escape = |word: &str| word.replace('~', "~0").replace('/', "~1");
        let pointer = path.split('.').map(|w| format!("/{}", escape(w))).collect();
        Name { path: path.to_owned(), pointer }
    };
    for (slot, name) in NAMES.iter().enumerate() {
        if name.get_or_init(made).path == path {
            return NAMES_FIRST + slot as u32;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_its_number_and_known_paths_have_fixed_ones() {
        assert_eq!(number("data.instanceID"), abi::SNOOZE_FIELD_INSTANCE_ID);
        let own = number("data.my.own/x");
        assert!(own >= NAMES_FIRST);
        assert_eq!(number("data.my.own/x"), own);
        assert_eq!(pointer(own), Some("/data/my/own~1x"));
        assert_eq!(pointer(0xFFFF_FFFF), None);
    }
}
