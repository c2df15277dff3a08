//! What a report says of an upload, and whether that is enough.
//!
//! Inputs: a [`Round`]. Outputs: evidence, and the verdict. Must never be larger than the host takes, nor leave out how much it
//! leaves out.

use crate::fault::Fault;
use crate::manifest::Written;
use crate::place::Place;
use crate::round::Round;
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{Code, Error, Outcome};

/// Names in each list.
const NAMES: usize = 40;
/// Bytes of each name and reason.
const TEXT: usize = 200;

/// The evidence.
pub(crate) fn report(round: &Round, place: &Place, to: &str) -> Value {
    let held = || round.stored.iter().filter(|(_, stored)| stored.is_held);
    let bytes: u64 = round.stored.iter().map(|(entry, _)| entry.bytes).sum();
    let changed: Vec<&str> = round
        .stored
        .iter()
        .filter(|(entry, _)| entry.changed_while_read)
        .map(|(entry, _)| entry.name.as_str())
        .collect();
    let left_out = round.left_out.iter().map(|file| {
        json!({
            "name": cut(&file.name), "bytes": file.bytes, "reason": cut(&file.reason),
        })
    });
    let failed = round.failed.iter().map(|(name, fault)| json!({ "name": cut(name), "reason": cut(&fault.text()) }));
    let skipped = round.skipped.iter().map(|(name, reason)| json!({ "name": cut(name), "reason": cut(reason) }));
    json!({
        "action": "upload",
        "to": to,
        "evidence": {
            "before": {
                "files": round.files, "bytes": round.bytes,
                "in_store": { "files": held().count(), "bytes": held().map(|(entry, _)| entry.bytes).sum::<u64>() },
            },
            "after": {
                "in_store": { "files": round.stored.len(), "bytes": bytes },
                "retried": round.stored.iter().filter(|(_, stored)| stored.is_retried).count(),
                "manifest": round.manifest.as_ref().map(|written| manifest(written, place)),
            },
            "links": round.links,
            "seconds": (round.took.as_secs_f64() * 1000.0).round() / 1000.0,
            "bytes_per_second": round.speed.map(f64::round),
        },
        "changed_while_read": list(changed.iter().map(|name| cut(name).into())),
        "left_out": list(left_out),
        "failed": list(failed),
        "skipped": list(skipped),
        "durable": durable(round),
    })
}

/// The first of a list, and how many there are.
fn list(all: impl Iterator<Item = Value>) -> Value {
    let (mut first, mut count) = (Vec::new(), 0_usize);
    for one in all {
        count += 1;
        if first.len() < NAMES {
            first.push(one);
        }
    }
    json!({ "count": count, "first": first })
}

fn cut(text: &str) -> &str {
    text.char_indices().nth(TEXT).map_or(text, |(end, _)| &text[..end])
}

fn manifest(written: &Result<Written, Fault>, place: &Place) -> Value {
    match written {
        Ok(written) => json!({ "at": place.address(&written.key), "conditional": written.is_conditional }),
        Err(fault) => json!({ "failed": cut(&fault.text()) }),
    }
}

fn durable(round: &Round) -> &'static str {
    let is_whole = round.left_out.is_empty() && round.failed.is_empty();
    let is_told = matches!(&round.manifest, Some(Ok(written)) if !written.is_aside);
    if !is_whole || !is_told {
        "no"
    } else if round.stored.iter().any(|(entry, _)| entry.changed_while_read) {
        "unknown"
    } else {
        "yes"
    }
}

/// Whether the event is handled.
///
/// # Errors
/// It is not: why, with the evidence.
pub(crate) fn judge(round: &Round, place: &Place, to: &str, is_cancelled: bool) -> Result<Outcome, Error> {
    let report = report(round, place, to);
    let fail = |text: String, code: Code| Err(Error::new(text).code(code).with_result(report.clone()));
    if is_cancelled {
        return fail("cancelled before everything was uploaded".to_owned(), Code::Cancelled);
    }
    if let Some((name, fault)) = round.failed.first() {
        let more = round.failed.len() - 1;
        let others = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        return fail(format!("{}{others}: {}", cut(name), fault.text()), fault.code());
    }
    match &round.manifest {
        Some(Err(fault)) => return fail(format!("the manifest: {}", fault.text()), fault.code()),
        Some(Ok(written)) if written.is_aside => {
            let text =
                format!("somebody else wrote the manifest meanwhile; this one is {}", place.address(&written.key));
            return fail(text, Code::State);
        }
        _ => {}
    }
    if let (true, Some(newest)) = (round.stored.is_empty(), round.left_out.first()) {
        return fail(format!("not even the newest fits: {}: {}", cut(&newest.name), newest.reason), Code::Deadline);
    }
    if round.stored.is_empty() {
        return Ok(Outcome::declined("there is no file to upload"));
    }
    Ok(Outcome::handled(report))
}
