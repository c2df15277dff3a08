//! The message as Slack and its like take it: a text, and an attachment with a coloured bar and fields.
//!
//! Inputs: a [`Notice`] and the operator's channel, name and mention. Outputs: the JSON to post. Must
//! never let a value of the event act as mark-up: a link, a mention.

use crate::config::Channel;
use cloudsnooze_plugin::Severity;
use cloudsnooze_plugin_words::Notice;
use serde_json::{Map, Value, json};

/// Characters of a value that are shown.
const MAX_VALUE_CHARS: usize = 300;

/// Puts the message together.
pub(crate) fn message(notice: &Notice, channel: &Channel) -> Value {
    let headline = escaped(&notice.headline());
    let text = match &channel.mention {
        Some(mention) if !notice.simulated && !notice.withdrawn => format!("{mention} {headline}"),
        _ => headline.clone(),
    };
    let mut message = Map::new();
    let mut set = |key: &str, value: Value| message.insert(key.to_owned(), value);
    if let Some(channel) = &channel.channel {
        set("channel", json!(channel));
    }
    if let Some(username) = &channel.username {
        set("username", json!(username));
    }
    set("text", json!(text));
    set(
        "attachments",
        json!([{
            "color": colour(notice), "fallback": headline, "fields": fields(notice), "footer": "CloudSnooze",
        }]),
    );
    Value::Object(message)
}

fn colour(notice: &Notice) -> &'static str {
    match notice.severity {
        _ if notice.withdrawn => "#2eb886",
        Severity::Critical | Severity::Urgent => "#d00000",
        Severity::Warning => "#e8a317",
        Severity::Info => "#439fe0",
    }
}

fn fields(notice: &Notice) -> Vec<Value> {
    let place = match (notice.provider.is_empty(), notice.region.is_empty()) {
        (false, false) => format!("{} {}", notice.provider, notice.region),
        _ => format!("{}{}", notice.provider, notice.region),
    };
    let deadline = notice.deadline.clone().unwrap_or_default();
    let simulated = if notice.simulated { "yes, an operator's drill" } else { "" };
    [
        ("Event", notice.kind.as_str()),
        ("Action", if notice.action == "none" { "" } else { &notice.action }),
        ("Deadline", &deadline),
        ("Detected", &notice.detected),
        ("Provider", &place),
        ("Source", &notice.source),
        ("Event id", &notice.id),
        ("Withdraws", &notice.cancels),
        ("Simulated", simulated),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(title, value)| json!({ "title": title, "value": escaped(value), "short": true }))
    .collect()
}

/// Text with Slack's three control characters escaped (docs.slack.dev/messaging/formatting-message-text,
/// "Escaping text"), cut to a length one can read.
fn escaped(text: &str) -> String {
    let text: String = match text.char_indices().nth(MAX_VALUE_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    };
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use cloudsnooze_plugin_words::spot_interruption;

    fn channel(config: Value) -> Channel {
        let mut whole = json!({"webhook_url": "https://hooks.slack.com/services/T0/B0/hush"});
        whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
        Channel::new(serde_json::from_value::<Config>(whole).unwrap()).unwrap()
    }

    fn assert_golden(name: &str, golden: &str, message: &Value) {
        let golden: Value = serde_json::from_str(golden).unwrap();
        assert_eq!(*message, golden, "{name}: got {message:#}");
    }

    #[test]
    fn messages_are_those_of_the_golden_files() {
        let named = channel(json!({"channel": "#cloud-events", "username": "CloudSnooze", "mention": "@here"}));
        let plain = channel(json!({}));
        let notice = spot_interruption();
        let golden = include_str!("../tests/golden/spot_interrupt.json");
        assert_golden("spot_interrupt", golden, &message(&notice, &named));

        let simulated = Notice { simulated: true, ..notice.clone() };
        let golden = include_str!("../tests/golden/simulated.json");
        assert_golden("simulated", golden, &message(&simulated, &named));

        let rebalance = Notice {
            kind: "cloud.spot.rebalance".into(),
            severity: Severity::Warning,
            action: "none".into(),
            deadline: None,
            seconds_left: None,
            ..notice.clone()
        };
        assert_golden("rebalance", include_str!("../tests/golden/rebalance.json"), &message(&rebalance, &plain));

        let withdrawn = Notice {
            kind: "cloud.spot.interrupt.cancelled".into(),
            severity: Severity::Info,
            withdrawn: true,
            cancels: "01936b7e-5b3a-7000-8000-000000000000".into(),
            ..notice
        };
        assert_golden("withdrawn", include_str!("../tests/golden/withdrawn.json"), &message(&withdrawn, &named));
    }

    #[test]
    fn values_of_an_event_cannot_link_or_mention() {
        let notice = Notice {
            kind: "custom.<!channel>".into(),
            machine: "<http://evil.example|db & web>".into(),
            source: "x".repeat(2000),
            ..spot_interruption()
        };
        let text = message(&notice, &channel(json!({}))).to_string();
        assert!(!text.contains('<') && !text.contains('>'), "{text}");
        assert!(text.contains("&lt;http://evil.example|db &amp; web&gt;"), "{text}");
        assert!(text.len() < 2000, "{}", text.len());
    }
}
