//! The configuration, and what it means once it is checked.
//!
//! Inputs: the operator's JSON. Outputs: a [`Channel`] whose address and mention are known to be usable.
//! Must never repeat the webhook's address or the proxy's in an error.

use cloudsnooze_plugin::{Code, Error};
use cloudsnooze_plugin_http::{Endpoint, Settings};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// Configuration of the Slack notifier.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address of the incoming webhook, http or https. Whoever knows it can post: it is a secret.
    #[schemars(extend("writeOnly" = true))]
    pub webhook_url: String,
    /// Channel to post to, such as #cloud-events, where the webhook lets the sender choose.
    #[serde(default)]
    pub channel: Option<String>,
    /// Name to post under, where the webhook lets the sender choose.
    #[serde(default)]
    pub username: Option<String>,
    /// Whom to alert: @here, @channel, @everyone, or Slack's form of a member or group: <@U012AB3CD>,
    /// <!subteam^S012AB3CD>.
    #[serde(default)]
    pub mention: Option<String>,
    /// Address of an HTTP proxy, http://user:password@host:port; the environment is not asked for one.
    #[serde(default)]
    #[schemars(extend("writeOnly" = true))]
    pub proxy: Option<String>,
    /// File with the PEM certificates to trust for https, instead of the public authorities.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

impl Config {
    /// The client's settings.
    pub(crate) fn settings(&self) -> Settings {
        let user_agent = concat!("cloudsnooze-slack-notifier/", env!("CARGO_PKG_VERSION")).to_owned();
        Settings { ca_file: self.ca_file.clone(), proxy: self.proxy.clone(), user_agent }
    }
}

/// The checked configuration.
pub(crate) struct Channel {
    pub(crate) webhook: Endpoint,
    pub(crate) channel: Option<String>,
    pub(crate) username: Option<String>,
    /// In Slack's own form.
    pub(crate) mention: Option<String>,
}

impl Channel {
    /// Checks what the schema cannot.
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        let refuse = |text: String| Error::new(text).code(Code::Config);
        let webhook = Endpoint::parse(&config.webhook_url).map_err(|error| refuse(format!("webhook_url {error}")))?;
        let mention = config.mention.map(|text| {
            mention(text.trim()).ok_or_else(|| {
                refuse("mention is none of @here, @channel, @everyone, <@MEMBER>, <!subteam^GROUP>".into())
            })
        });
        Ok(Self { webhook, channel: config.channel, username: config.username, mention: mention.transpose()? })
    }

    /// Parts of the address that must not be shown when the server repeats them: all that follows the
    /// origin, and the last part alone, which is the token.
    pub(crate) fn secrets(&self) -> [&str; 2] {
        let path = self.webhook.secret();
        [path, path.rsplit('/').next().unwrap_or_default()]
    }
}

/// Slack's form of a mention; None when it would not alert anybody.
fn mention(text: &str) -> Option<String> {
    if let Some(group @ ("here" | "channel" | "everyone")) = text.strip_prefix('@') {
        return Some(format!("<!{group}>"));
    }
    let inner = text.strip_prefix('<')?.strip_suffix('>')?;
    let id = match inner {
        "!here" | "!channel" | "!everyone" => return Some(text.to_owned()),
        _ => inner.strip_prefix('@').or_else(|| inner.strip_prefix("!subteam^"))?,
    };
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_id.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn mentions_are_those_that_slack_turns_into_an_alert() {
        for (text, slack) in [
            ("@here", Some("<!here>")),
            ("@channel", Some("<!channel>")),
            ("<!everyone>", Some("<!everyone>")),
            ("<@U012AB3CD>", Some("<@U012AB3CD>")),
            ("<!subteam^S012>", Some("<!subteam^S012>")),
            ("@ann", None),
            ("<@>", None),
            ("<@U1> <http://x|y>", None),
            ("here", None),
        ] {
            assert_eq!(mention(text).as_deref(), slack, "{text}");
        }
    }

    #[test]
    fn configurations_that_cannot_work_are_refused_without_their_secrets() {
        for (config, text) in [
            (json!({"webhook_url": "hooks.slack.com/services/hush"}), "webhook_url is not"),
            (json!({"webhook_url": "ftp://hooks.slack.com/services/hush"}), "webhook_url is neither"),
            (json!({"webhook_url": "https://u:hush@hooks.slack.com/"}), "webhook_url holds credentials"),
            (json!({"webhook_url": "https://hooks.slack.com/services/hush", "mention": "@ann"}), "mention is none"),
        ] {
            let error = Channel::new(serde_json::from_value(config).unwrap()).err().unwrap();
            assert!(error.message().contains(text) && !error.message().contains("hush"), "{error}");
        }
    }

    #[test]
    fn the_schema_marks_secrets_and_describes_every_key() {
        let schema = schemars::schema_for!(Config).to_value();
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!((properties.len(), &schema["required"]), (6, &json!(["webhook_url"])));
        for (key, property) in properties {
            assert!(property["description"].as_str().is_some_and(|text| text.len() > 20), "{key}");
            assert_eq!(property["writeOnly"] == json!(true), ["webhook_url", "proxy"].contains(&key.as_str()), "{key}");
        }
    }
}
