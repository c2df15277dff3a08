//! Recorded and documented documents, and the events that they become. Inputs: the files of `tests/fixtures/azure`. Must
//! never need a service.

use super::*;
use crate::event::{Machine, Moment};
use crate::normalise::deadline::any_ns;
use crate::normalise::revise::{Reviser, Verdict};
use serde_json::Value;
use std::path::Path;

/// Every document of `tests/fixtures/azure` becomes the events written beside it: `NAME.body` is what the service gave,
/// `NAME.event.json` says which documents were read before it, on which machine, at what time, what members the events have
/// that it makes, and to when one that was told before moves.
#[test]
fn recorded_documents_become_their_events() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/azure");
    let mut count = 0;
    for file in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        let Some(name) = file.file_name().and_then(|f| f.to_str()?.strip_suffix(".body")) else { continue };
        let expected = expectation(&folder, name);
        let (found, moved) = told(&folder, name, &expected);
        let wanted = expected["events"].as_array().expect(name);
        assert_eq!(found.len(), wanted.len(), "{name}: {found:#?}");
        for (found, wanted) in found.iter().zip(wanted) {
            assert_subset(name, wanted, found);
        }
        assert_eq!(moved.as_deref(), expected["moved"].as_str(), "{name}");
        count += 1;
    }
    assert!(count >= 40, "only {count} documents in {}", folder.display());
}

fn expectation(folder: &Path, name: &str) -> Value {
    let text = std::fs::read(folder.join(format!("{name}.event.json"))).expect(name);
    serde_json::from_slice(&text).expect(name)
}

/// What the document tells after those before it: events, and the last time that one was moved to.
fn told(folder: &Path, name: &str, expected: &Value) -> (Vec<Value>, Option<String>) {
    let machine = Arc::new(Machine { instance_id: expected["machine"].as_str().unwrap().into(), ..Machine::default() });
    let is_kept = expected["evictionPolicy"] == "Deallocate";
    let (mut listing, mut reviser) = (Listing::new(), Reviser::new(Azure::SOURCE));
    let before = expected["before"].as_array().unwrap().iter().filter_map(Value::as_str);
    let mut verdicts = Vec::new();
    let mut now = Moment { boot_ns: 0, wall_ns: 0 };
    for name in before.chain([name]) {
        let wall_ns = any_ns(expectation(folder, name)["now"].as_str().unwrap()).unwrap();
        now = Moment { boot_ns: wall_ns - 1_600_000_000 * SECOND_NS, wall_ns };
        let body = std::fs::read(folder.join(format!("{name}.body"))).unwrap();
        let eviction = if is_kept { Action::Stop } else { Action::Terminate };
        let document = parse::document(&body, Reading { machine: &machine, now }, eviction).expect(name);
        let step = listing.read(document, now.boot_ns);
        verdicts = step.tell.into_iter().map(|notice| reviser.observe(notice, &machine, now)).collect();
        let (unlisted, _) = listing.unlisted(reviser.standing(), now.boot_ns);
        let gone = step.gone.iter().chain(&unlisted);
        verdicts.extend(gone.map(|(key, absence)| reviser.absent(key, *absence, &machine, now)));
    }
    let mut moved = None;
    let events = verdicts.into_iter().filter_map(|verdict| match verdict {
        Verdict::New(event) | Verdict::Cancelled(event) => Some(event.to_json(now)),
        Verdict::Moved { effective, .. } => {
            moved = Some(effective.rfc3339());
            None
        }
        Verdict::Same => None,
    });
    (events.collect(), moved)
}

/// A null in `wanted` means "must be absent".
fn assert_subset(at: &str, wanted: &Value, found: &Value) {
    match wanted {
        Value::Object(members) => {
            for (name, wanted) in members {
                assert_subset(&format!("{at}.{name}"), wanted, &found[name]);
            }
        }
        _ => assert_eq!(wanted, found, "{at}"),
    }
}
