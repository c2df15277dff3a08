//! The page of the events: every type with its meaning, who makes it of what, how bad it is, how long there is, how it ends.
//! Inputs: the event types and their comments, the parsers, to which a document of every kind is given, and the sources of
//! the machine's own events. Outputs: a page. Must never name a type that no source makes, nor guess what a parser answers.

mod documents;
mod machine;

use super::{NOTE, documented, paragraph, wrapped};
use anyhow::{Context, Result};
use cloudsnooze::config::Config;
use cloudsnooze::event::{Event, EventId, EventType, Machine, Moment, NoticeKind};
use cloudsnooze::normalise::{Notice, Reading};
use documents::{Document, documents};
use serde_json::Map;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

/// When the documents of this page are read: 2026-05-01T12:00:00Z.
const NOW: Moment = Moment { boot_ns: 86_400_000_000_000, wall_ns: 1_777_636_800_000_000_000 };

const SECOND_NS: i64 = 1_000_000_000;

/// What a cloud's document becomes.
struct Row {
    document: Document,
    notice: Notice,
}

/// The page.
///
/// # Errors
/// A source that cannot be read, a document that its parser refuses, a type without a comment.
pub fn page(root: &Path) -> Result<String> {
    let machine = machine_of_page();
    let mut rows = Vec::new();
    for document in documents() {
        let reading = Reading { machine: &machine, now: NOW };
        let read = (document.read)(reading).with_context(|| format!("{} {}", document.cloud, document.says))?;
        let notice = read.with_context(|| format!("{} {} is no notice", document.cloud, document.says))?;
        rows.push(Row { document, notice });
    }
    let meanings = meanings(root)?;
    let mut text = head(&rows);
    text += &fields(root)?;
    text += "## Events of clouds\n\n";
    for event_type in EventType::KNOWN {
        if event_type != EventType::SYSTEM_SHUTDOWN {
            text += &of_a_cloud(&event_type, &meaning(&meanings, &event_type)?, &rows, &machine)?;
        }
    }
    text += &machine::section(root, |event_type| meaning(&meanings, event_type))?;
    text += &foresight(&meaning(&meanings, &EventType::PREEMPTION_RISK)?);
    text += &of_the_group(|event_type| meaning(&meanings, event_type))?;
    text += &own();
    Ok(text.trim_end().to_owned() + "\n")
}

fn machine_of_page() -> Machine {
    Machine {
        instance_id: "i-0123456789abcdef0".into(),
        instance_type: "c5.large".into(),
        zone: "eu-west-1b".into(),
        region: "eu-west-1".into(),
    }
}

fn head(rows: &[Row]) -> String {
    let mut text = format!("# Events\n\n{NOTE}\n\n");
    text += &paragraph(
        "Every event that this version makes. The tables are made by the parsers themselves: each document that is named was \
         given to the daemon's code, and the columns are its answer. All rules in one place: [normalisation](../normalisation.md). \
         A handler stands under a type, a prefix with `*` (`cloud.spot.*`) or `*`; the most specific key counts.",
    );
    text += "| event | ";
    let clouds = ["AWS", "Azure", "GCP", "Alibaba", "Tencent"];
    text += &clouds.join(" | ");
    let _ = writeln!(text, " |\n|---|{}", "---|".repeat(clouds.len()));
    for event_type in EventType::KNOWN.iter().filter(|event_type| **event_type != EventType::SYSTEM_SHUTDOWN) {
        let _ = write!(text, "| [`{event_type}`](#{}) |", anchor(event_type));
        for cloud in clouds {
            let is_made = rows.iter().any(|row| row.document.cloud == cloud && row.notice.kind == *event_type);
            text += if is_made { " yes |" } else { " |" };
        }
        text.push('\n');
    }
    text.push('\n');
    text += &paragraph(
        "A withdrawal is an event of its own: the type with `.cancelled` behind it and the id of what it withdraws in \
         `data.cancels`. It goes to the handlers that its type asks for, and to every handler that had the first event and can \
         undo. What has not begun by then does not begin.",
    );
    text
}

/// What every event has, by the numbers of the ABI.
fn fields(root: &Path) -> Result<String> {
    let path = root.join("abi/src/event.rs");
    let code = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let constants = documented(&code, "pub const ");
    let of = |prefix: &'static str| constants.iter().filter(move |(line, _)| line.starts_with(prefix));
    let mut text = "## What every event has\n\n".to_owned();
    text += &paragraph(
        "An event is a CloudEvents 1.0 object. What is not known is absent. Plugins read a field by its number \
         ([ABI](abi.md)) or its path; further members of `data` have no number.",
    );
    text += "| number | field |\n|---|---|\n";
    for (line, doc) in of("SNOOZE_FIELD_") {
        let value = line.rsplit(" = ").next().unwrap_or_default().trim_end_matches(';');
        let field = doc.strip_prefix("Field ").unwrap_or(doc);
        let _ = writeln!(text, "| {value} | {} |", field.trim_end_matches('.'));
    }
    text += "\n| severity | meaning |\n|---|---|\n";
    for (line, doc) in of("SNOOZE_SEVERITY_") {
        let name = line.split(':').next().unwrap_or_default().trim_start_matches("SNOOZE_SEVERITY_").to_lowercase();
        let _ =
            writeln!(text, "| `{name}` | {} |", doc.strip_prefix("Severity: ").unwrap_or(doc).trim_end_matches('.'));
    }
    text += "\n| `noticeKind` | meaning |\n|---|---|\n| `deadline` | the cloud will act |\n| `advisory` | the cloud warns of risk |\n\n";
    Ok(text)
}

fn of_a_cloud(event_type: &EventType, meaning: &str, rows: &[Row], machine: &Machine) -> Result<String> {
    let mut text = format!("### `{event_type}`\n\n{}", paragraph(meaning));
    text +=
        "| cloud | what it says | severity | action | kind | deadline | withdrawn |\n|---|---|---|---|---|---|---|\n";
    let own: Vec<&Row> = rows.iter().filter(|row| row.notice.kind == *event_type).collect();
    for Row { document, notice } in &own {
        let _ = writeln!(
            text,
            "| {} | {} | {} | `{}` | {} | {} | {} |",
            document.cloud,
            document.says,
            notice.severity.as_str(),
            notice.action.as_str(),
            notice.notice_kind.as_str(),
            deadline(notice, document),
            document.withdrawn
        );
    }
    text.push('\n');
    let first = own.first().with_context(|| format!("no document makes {event_type}"))?;
    let example = serde_json::to_string_pretty(&example(&first.notice, machine).to_json(NOW))?;
    let _ = write!(text, "```json\n{example}\n```\n\n");
    Ok(text)
}

/// How long there is, in words.
fn deadline(notice: &Notice, document: &Document) -> String {
    match notice.effective {
        _ if notice.immediate => "now".to_owned(),
        None if notice.notice_kind == NoticeKind::Advisory && document.is_stated => {
            "the time it states, while that is ahead".to_owned()
        }
        Some(_) if document.is_stated => "the time it states".to_owned(),
        Some(at) => format!("{} after it is seen", seconds((at.boot_ns - NOW.boot_ns) / SECOND_NS)),
        None => {
            let assumed = Config::default().assumed_seconds(&notice.kind, notice.action);
            format!("none is told; {assumed} s are assumed (`deadlines`)")
        }
    }
}

fn seconds(count: i64) -> String {
    if count >= 600 && count % 60 == 0 { format!("{} min", count / 60) } else { format!("{count} s") }
}

fn example(notice: &Notice, machine: &Machine) -> Event {
    Event {
        id: EventId::named("docs/reference/events.md", NOW.wall_ns),
        event_type: notice.kind.clone(),
        source: match notice.key.provider.as_ref() {
            "aws" => "aws.ec2.metadata-service".into(),
            "azure" => "azure.scheduled-events".into(),
            "gcp" => "gcp.compute.preempted".into(),
            other => other.to_owned().into(),
        },
        severity: notice.severity,
        detected: NOW,
        effective: notice.effective,
        simulated: false,
        drill: false,
        provider: notice.key.provider.clone(),
        action: notice.action,
        notice_kind: notice.notice_kind,
        machine: Arc::new(machine.clone()),
        resources: notice.resources.clone(),
        cancels: None,
        raw: Some(notice.raw.clone()),
        extra: Map::new(),
    }
}

/// The event that is made of the history.
fn foresight(meaning: &str) -> String {
    let mut text = format!("## Events of the history\n\n### `{}`\n\n", EventType::PREEMPTION_RISK);
    text += &paragraph(meaning);
    text += &paragraph(
        "Severity `warning`, action `none`, `noticeKind` `advisory`, no deadline. Told when `data.probability` of an interruption \
         within `data.horizonHours` reaches `data.riskThreshold` (`insight.risk_threshold`), withdrawn below two thirds of that. \
         `data.low` and `data.high` bound it, `data.reasons` say what it rests on, `data.model` by which model.",
    );
    text
}

/// The events that other machines are the cause of.
fn of_the_group(meaning: impl Fn(&EventType) -> Result<String>) -> Result<String> {
    let mut text = "## Events of the group\n\n".to_owned();
    text += &paragraph(
        "Made where the configuration has a section `fleet` ([the fleet](../fleet.md)). Action `none`, as the cloud does nothing to this \
         machine; `provider` and source are `fleet`. The first two have a deadline and are kept in the history always, the others where \
         a handler takes them.",
    );
    for event_type in EventType::OF_THE_GROUP {
        text += &wrapped(&format!("- `{event_type}`: "), "  ", &meaning(&event_type)?);
    }
    text.push('\n');
    Ok(text)
}

/// Events that no source makes.
fn own() -> String {
    let mut text = "## Events of your own\n\n".to_owned();
    for (name, meaning) in [
        (
            "custom.*",
            "What `snooze emit` tells: types of your choice, severity `info` and action `none` unless you say otherwise. \
                      `data.emitterUid` names the user. One cannot be withdrawn.",
        ),
        (
            "others",
            "A plugin that is a source may tell events of any type but withdrawals ([plugin guide](../plugins/guide.md)). \
                    Administrators may emit any type: the way for notices that reach the machine by another road \
                    ([Oracle](../clouds/oracle.md)).",
        ),
    ] {
        text += &wrapped(&format!("- `{name}`: "), "  ", meaning);
    }
    text
}

/// Name and comment of every event type.
fn meanings(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for file in
        ["core/src/event.rs", "core/src/event/system.rs", "core/src/event/foresight.rs", "core/src/event/fleet.rs"]
    {
        let code = std::fs::read_to_string(root.join(file)).with_context(|| file.to_owned())?;
        found.extend(documented(&code, "pub const ").into_iter().map(|(_, doc)| doc));
    }
    Ok(found)
}

/// What a type means, as a sentence: what stands behind its name in its comment.
fn meaning(meanings: &[String], event_type: &EventType) -> Result<String> {
    let name = format!("`{event_type}`: ");
    let said = meanings.iter().find_map(|doc| doc.strip_prefix(&name));
    let mut letters = said.with_context(|| format!("no comment says what {event_type} means"))?.chars();
    Ok(letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect())
}

/// The fragment of a heading that is a type.
fn anchor(event_type: &EventType) -> String {
    event_type.as_str().replace('.', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> String {
        page(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).expect("the page")
    }

    #[test]
    fn every_type_has_its_section_with_a_meaning() {
        let page = fresh();
        for event_type in EventType::KNOWN.iter().chain(&EventType::OF_THE_MACHINE) {
            let heading = format!("`{event_type}`");
            let at = page.find(&format!("### {heading}\n")).or_else(|| page.find(&format!("| {heading} |")));
            assert!(at.is_some(), "{heading}");
        }
        for words in [
            "30 s after it is seen",
            "60 min after it is seen",
            "120 s are assumed",
            "`cloud.spot.interrupt`](#cloudspotinterrupt)",
        ] {
            assert!(page.contains(words), "{words}");
        }
    }

    #[test]
    fn a_document_is_of_the_type_that_its_parser_says() {
        let page = fresh();
        let section = page.split("### `cloud.maintenance.retire`").nth(1).expect("a section");
        let section = section.split("###").next().expect("its text");
        assert!(
            section.contains("| AWS |") && !section.contains("Azure") && section.contains("instance-retirement"),
            "{section}"
        );
    }
}
