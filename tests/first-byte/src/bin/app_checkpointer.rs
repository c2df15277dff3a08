//! Measures app-checkpointer against a receiver in this process: from the call to the POST's first byte.

use app_checkpointer::AppCheckpointer;
use clap::Parser;
use first_byte::{Options, measure_http, print};
use serde_json::json;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let config = |url: &str, ca_file: Option<&str>| json!({ "app_endpoint": url, "ca_file": ca_file });
    print(&measure_http::<AppCheckpointer>("app-checkpointer", &options, config)?, &options)
}
