//! How soon after an event the first byte of a plugin's work reaches its server.
//!
//! Responsibilities: deliver events to a plugin through the SDK's test host, note when the first byte of work is read at
//! the server's side of the connection (one process, one monotonic clock), alternately over the connection that the plugin
//! keeps and over a fresh one, and print both. Inputs: a plugin, a server. Outputs: a table or JSON. It must never count a
//! call for what its own report does not say: `kept` or `fresh`.

pub mod receiver;
pub mod relay;
pub mod samples;
pub mod watch;

use cloudsnooze_plugin::Plugin;
use cloudsnooze_plugin::testing::{TestInstance, spot_interrupt};
use samples::{Row, Samples};
use serde_json::Value;
use std::io::Write;
use std::time::{Duration, Instant};
use watch::Watch;

/// What each call may take.
const GRANTED: Duration = Duration::from_secs(20);
/// Calls of each kind that are made first and not counted.
const UNCOUNTED: usize = 5;

/// Command line of each program.
#[derive(clap::Parser)]
pub struct Options {
    /// Calls over each kind of connection.
    #[arg(long, default_value_t = 300)]
    pub rounds: usize,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Calls the plugin alternately with its connection kept and with its connection cut right before the call.
///
/// # Errors
/// A call that failed, did no work that the watch knows, or does not report its connection.
pub fn measure<P: Plugin>(
    plugin: &TestInstance<P>,
    watch: &Watch,
    cut: impl Fn(),
    rounds: usize,
) -> anyhow::Result<(Samples, Samples)> {
    let event = spot_interrupt();
    let (mut kept, mut fresh) = (Samples::default(), Samples::default());
    for round in 0..UNCOUNTED + rounds {
        for is_cut in [false, true] {
            if is_cut {
                cut();
            }
            watch.arm();
            let called = Instant::now();
            let delivered = plugin.deliver(&event, GRANTED);
            anyhow::ensure!(delivered.status == 0, "the call failed: {delivered:?}");
            let seen = watch.seen().ok_or_else(|| anyhow::anyhow!("no work reached the server: {delivered:?}"))?;
            let report = delivered.result.unwrap_or_default();
            let samples = match report.pointer("/evidence/connection").and_then(Value::as_str) {
                Some("kept") => &mut kept,
                Some("fresh") => &mut fresh,
                _ => anyhow::bail!("the report does not tell about the connection: {report}"),
            };
            if round >= UNCOUNTED {
                samples.add(seen.saturating_duration_since(called));
            }
        }
    }
    Ok((kept, fresh))
}

/// Measures a plugin that speaks HTTP, over TCP and over TLS. `config` makes its configuration from the server's address
/// and the file with the authority to trust.
///
/// # Errors
/// What [`measure`] says, or no server is to be had.
pub fn measure_http<P: Plugin>(
    name: &'static str,
    options: &Options,
    config: impl Fn(&str, Option<&str>) -> Value,
) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for is_tls in [false, true] {
        let receiver = receiver::Receiver::start(is_tls)?;
        let authority = receiver.authority.as_ref().map(|file| file.path().display().to_string());
        let plugin =
            TestInstance::<P>::new(&config(&receiver.url(), authority.as_deref())).map_err(anyhow::Error::msg)?;
        let (kept, fresh) = measure(&plugin, &receiver.watch, || receiver.cut(), options.rounds)?;
        rows.push(Row::new(name, if is_tls { "TLS" } else { "TCP" }, &kept, &fresh));
    }
    Ok(rows)
}

/// Prints the rows to standard output.
///
/// # Errors
/// When that cannot be written to.
pub fn print(rows: &[Row], options: &Options) -> anyhow::Result<()> {
    let text = if options.json { samples::json(rows).to_string() } else { samples::table(rows) };
    Ok(writeln!(std::io::stdout(), "{text}")?)
}
