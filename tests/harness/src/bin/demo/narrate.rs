//! Telling people what happens: lines with a clock, colour where the terminal has it.
//!
//! Inputs: what happened. Outputs: text on standard output. It must never colour what is not a terminal, or where
//! `NO_COLOR` (no-color.org) asks for none.

use std::io::IsTerminal;
use std::time::Instant;

use serde_json::Value;

use crate::checks::Finding;

/// Columns that the clock takes before each line.
const CLOCK: usize = 10;

/// Select Graphic Rendition codes (ECMA-48).
#[derive(Clone, Copy)]
enum Style {
    Bold = 1,
    Dim = 2,
    Red = 31,
    Green = 32,
    Yellow = 33,
    Cyan = 36,
}

/// Where the demo speaks, with a clock that runs from its start.
pub struct Console {
    started: Instant,
    is_coloured: bool,
}

impl Console {
    /// Starts the clock.
    pub fn start() -> Self {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { started: Instant::now(), is_coloured: !is_unwanted && std::io::stdout().is_terminal() }
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.is_coloured { format!("\x1b[{}m{text}\x1b[0m", style as u8) } else { text.to_owned() }
    }

    fn clocked(&self, text: &str) {
        let clock = format!("{:>6.1} s", self.started.elapsed().as_secs_f64());
        println!("{}{:width$}{text}", self.paint(Style::Dim, &clock), "", width = CLOCK - clock.len());
    }

    /// Something happened.
    pub fn say(&self, text: &str) {
        self.clocked(text);
    }

    /// Something happened in the daemon, as this line of `snooze watch --json` tells.
    pub fn event(&self, line: &Value, text: &str) {
        let is_bad = line["kind"] == "finished" && (line["status"] != "handled" || line["verified"] == "no");
        let style = match line["kind"].as_str() {
            _ if is_bad => Style::Red,
            Some("event") => Style::Yellow,
            Some("finished" | "completed") => Style::Green,
            _ => Style::Cyan,
        };
        self.clocked(&self.paint(style, text));
    }

    /// A check was made.
    pub fn finding(&self, finding: &Finding) {
        let mark = if finding.is_good { self.paint(Style::Green, "ok    ") } else { self.paint(Style::Red, "FAILED") };
        self.clocked(&format!("{mark} {}", finding.text));
    }

    /// A part begins.
    pub fn heading(&self, text: &str) {
        println!("\n{}", self.paint(Style::Bold, &format!("-- {text}")));
    }

    /// Text as it is.
    pub fn plain(&self, text: &str) {
        println!("{text}");
    }

    /// The last word.
    pub fn verdict(&self, is_good: bool, text: &str) {
        println!("\n{}", self.paint(if is_good { Style::Green } else { Style::Red }, text));
    }
}

/// What a line of `snooze watch --json` means; `None` for kinds that are no part of the story.
pub fn line(line: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let handler = || format!("{} (priority {})", text(&line["handler"]), line["priority"]);
    let left = || line["left_seconds"].as_f64().map(|left| format!("; {left:.1} s left")).unwrap_or_default();
    match line["kind"].as_str()? {
        "event" => {
            let event = &line["event"];
            let data = &event["data"];
            let left = data["timeRemaining"].as_f64().map(|left| format!(", {left:.1} s left")).unwrap_or_default();
            Some(format!(
                "EVENT {}: {} will {} at {}{left}",
                text(&event["type"]),
                text(&data["instanceID"]),
                text(&data["action"]),
                text(&data["time"])
            ))
        }
        "started" => Some(format!(
            "  {} starts {} after detection, may take {}{}",
            handler(),
            duration(&line["at_ms"]),
            duration(&line["budget_ms"]),
            left()
        )),
        "finished" => {
            let verified = match line["verified"].as_str() {
                Some("yes") => ", verified",
                Some("no") => ", NOT VERIFIED",
                Some("unknown") => ", could not be verified",
                _ => "",
            };
            let error = line["error"].as_str().map(|error| format!(" ({error})")).unwrap_or_default();
            let took = duration(&line["duration_ms"]);
            Some(format!("  {}: {} in {took}{verified}{error}{}", handler(), text(&line["status"]), left()))
        }
        "completed" => Some("all handlers have ended".to_owned()),
        _ => None,
    }
}

/// Milliseconds, as people say them.
pub fn duration(milliseconds: &Value) -> String {
    match milliseconds.as_f64() {
        Some(ms) if ms >= 1_000.0 => format!("{:.1} s", ms / 1_000.0),
        Some(ms) if ms >= 10.0 => format!("{ms:.0} ms"),
        Some(ms) => format!("{ms:.1} ms"),
        None => "an unknown time".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_told_with_who_what_and_when() {
        let data = json!({"instanceID": "i-1", "action": "terminate", "time": "2026-01-05T10:17:30Z", "timeRemaining": 117.42});
        let told = line(&json!({"kind": "event", "event": {"type": "cloud.spot.interrupt", "data": data}}));
        let expected = "EVENT cloud.spot.interrupt: i-1 will terminate at 2026-01-05T10:17:30Z, 117.4 s left";
        assert_eq!(told.as_deref(), Some(expected));
    }

    #[test]
    fn a_handlers_start_and_end_are_told_with_times_and_verification() {
        let start = json!({"kind": "started", "handler": "mysql-flusher", "priority": 100, "at_ms": 0.31,
            "budget_ms": 30_000, "left_seconds": 117.0});
        let expected = "  mysql-flusher (priority 100) starts 0.3 ms after detection, may take 30.0 s; 117.0 s left";
        assert_eq!(line(&start).as_deref(), Some(expected));
        let mut end = json!({"kind": "finished", "handler": "app", "priority": 80, "status": "handled",
            "duration_ms": 812, "verified": "yes", "left_seconds": 116.2, "error": null});
        assert_eq!(line(&end).as_deref(), Some("  app (priority 80): handled in 812 ms, verified; 116.2 s left"));
        end["status"] = json!("failed");
        end["verified"] = json!("not-asked");
        end["error"] = json!("HTTP 500");
        assert_eq!(line(&end).as_deref(), Some("  app (priority 80): failed in 812 ms (HTTP 500); 116.2 s left"));
    }

    #[test]
    fn kinds_that_are_no_part_of_the_story_are_left_out() {
        assert_eq!(line(&json!({"kind": "progress"})), None);
        assert_eq!(line(&json!("no JSON")), None);
    }
}
