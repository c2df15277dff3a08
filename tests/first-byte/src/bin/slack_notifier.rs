//! Measures slack-notifier against a receiver in this process: from the call to the POST's first byte.

use clap::Parser;
use first_byte::{Options, measure_http, print};
use serde_json::json;
use slack_notifier::SlackNotifier;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let config = |url: &str, ca_file: Option<&str>| json!({ "webhook_url": url, "ca_file": ca_file });
    print(&measure_http::<SlackNotifier>("slack-notifier", &options, config)?, &options)
}
