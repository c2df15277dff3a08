//! The machine's own events on the page of the events.
//! Inputs: the types, and the sources in which their severities stand. Outputs: a section. Must never name a severity that
//! the code does not give.

use super::super::paragraph;
use super::anchor;
use anyhow::{Context, Result};
use cloudsnooze::event::{EventType, Severity};
use std::fmt::Write as _;
use std::path::Path;

/// Where the makers of these events are.
const MAKERS: &str = "daemon/src/source/system";

/// How bad a type is.
fn severity(event_type: &EventType) -> Severity {
    match event_type.as_str() {
        "system.disk.failure" | "system.hardware.failure" | "system.shutdown" => Severity::Urgent,
        "system.clock.jumped" | "system.resumed" => Severity::Info,
        other if other.ends_with(".recovered") => Severity::Info,
        _ => Severity::Warning,
    }
}

/// The section.
///
/// # Errors
/// A type without a comment, a severity that stands otherwise in the sources.
pub(super) fn section(root: &Path, meaning: impl Fn(&EventType) -> Result<String>) -> Result<String> {
    agrees(root)?;
    let shutdown = EventType::SYSTEM_SHUTDOWN;
    let mut text = format!("## Events of the machine\n\n### `{shutdown}`\n\n{}", paragraph(&meaning(&shutdown)?));
    text += &paragraph(
        "Severity `urgent`, action `stop`, with a deadline: what logind grants (`InhibitDelayMaxSec=`), or \
         `sources.system.terminate_seconds` after a SIGTERM. Withdrawn when the shutdown is called off. More: [the shutdown \
         sequence](../shutdown.md#the-systems-own-shutdown).",
    );
    text += "### What happens to the machine\n\n";
    text += &paragraph(
        "All have the provider `system` and the action `none`; only a disk of which it is known when it will be full has a \
         deadline. What lasts ends with its `recovered`, never with `.cancelled`. When each is told, and the members of its \
         `data`: [the machine itself](../system-events.md).",
    );
    text += "| event | severity | meaning | ended by |\n|---|---|---|---|\n";
    for event_type in EventType::OF_THE_MACHINE {
        let _ = writeln!(
            text,
            "| `{event_type}` | {} | {} | {} |",
            severity(&event_type).as_str(),
            meaning(&event_type)?.trim_end_matches('.'),
            ended_by(&event_type)
        );
    }
    text.push('\n');
    Ok(text)
}

fn ended_by(event_type: &EventType) -> String {
    let last = |ending: &str| event_type.as_str().strip_suffix(ending).map(|rest| format!("`{rest}.recovered`"));
    [".pressure", ".failure", ".failed"].iter().find_map(|ending| last(ending)).unwrap_or_default()
}

/// Every severity that stands in the sources beside its type is the one of the page.
fn agrees(root: &Path) -> Result<()> {
    let mut seen = 0;
    for entry in std::fs::read_dir(root.join(MAKERS)).with_context(|| MAKERS.to_owned())? {
        let path = entry?.path();
        let Ok(code) = std::fs::read_to_string(&path) else { continue };
        for (event_type, given) in beside(&code) {
            anyhow::ensure!(severity(&event_type) == given, "{}: {event_type} is {given:?}", path.display());
            seen += 1;
        }
    }
    anyhow::ensure!(seen >= 5, "only {seen} severities stand beside their types in {MAKERS}");
    Ok(())
}

/// Types and severities that stand in a line together: `(EventType::DISK_PRESSURE, Severity::Warning)`.
fn beside(code: &str) -> Vec<(EventType, Severity)> {
    let severities = [Severity::Info, Severity::Warning, Severity::Urgent, Severity::Critical];
    let pair = |line: &str| {
        let (constant, rest) = line.split_once("(EventType::")?.1.split_once(", Severity::")?;
        let name = constant.to_lowercase().replace('_', "");
        let event_type =
            EventType::OF_THE_MACHINE.into_iter().find(|known| format!("system{name}") == anchor(known))?;
        let word = rest.split(|c: char| !c.is_alphanumeric()).next()?.to_lowercase();
        Some((event_type, severities.into_iter().find(|severity| severity.as_str() == word)?))
    };
    code.lines().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_severity_that_stands_otherwise_in_the_sources_is_found() {
        let code = "let (event_type, severity) = (EventType::DISK_PRESSURE, Severity::Urgent);";
        assert_eq!(beside(code), [(EventType::DISK_PRESSURE, Severity::Urgent)]);
        assert_ne!(severity(&EventType::DISK_PRESSURE), Severity::Urgent);
    }
}
