//! `snooze advise fetch-prices`: spot prices over time, from the provider.
//!
//! Inputs: region, types, credentials of the environment. Outputs: a CSV file as `--prices` takes it. Must never write a part of the
//! prices as if it were all of them, follow a redirect, or put a credential into a text.

mod aws;
#[cfg(test)]
mod tests;

use crate::cli::fault::{Exit, Fault, Outcome};
use crate::cli::session::Session;
use crate::sys::clock;
use aws::{Asked, Page, Reply, Row};
use aws_credential_types::Credentials;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};
use url::Url;

const EXAMPLES: &str = "\
Examples:
  snooze advise fetch-prices --provider aws --region us-east-1 --output prices.csv
  snooze advise fetch-prices --region us-east-1 --type m5.large --days 30 --output prices.csv

Credentials are those of the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for temporary ones, AWS_SESSION_TOKEN \
(`aws configure export-credentials --format env` prints them). The one right that is needed is ec2:DescribeSpotPriceHistory.";

/// Attempts for one page.
const ATTEMPTS_MAX: u32 = 6;
/// Pause after the first failed attempt; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(250);
/// One attempt, all of it.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Pages that are asked for, at most: ten million price changes.
const PAGES_MAX: usize = 10_000;
/// Largest page that is read, bytes.
const PAGE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Fetch spot prices over time from the provider, into a file for --prices.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The provider.
    #[arg(long, value_name = "NAME", value_parser = ["aws"], default_value = "aws")]
    provider: String,

    /// The region.
    #[arg(long, value_name = "REGION", value_parser = region)]
    region: String,

    /// Only this instance type; may be given several times [default: all]
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,

    /// How far back; the provider keeps 90 days.
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=90))]
    days: u16,

    /// What runs on the machines, as the provider names it.
    #[arg(long, value_name = "NAME", default_value = "Linux/UNIX")]
    product: String,

    /// The file to write.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,

    /// Another address than the provider's: of a private endpoint.
    #[arg(long, value_name = "URL")]
    endpoint: Option<Url>,
}

/// A region is a part of the address: nothing but letters, digits and hyphens.
fn region(text: &str) -> Result<String, String> {
    let is_fine =
        !text.is_empty() && text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_fine { Ok(text.to_owned()) } else { Err(format!("'{text}' is no region: expected one such as us-east-1")) }
}

/// Runs the command.
///
/// # Errors
/// No credentials, a provider that refuses or cannot be reached, a file that cannot be written.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    let credentials = aws::credentials(|name| std::env::var(name).ok())?;
    let address = match &args.endpoint {
        Some(endpoint) => endpoint.clone(),
        None => {
            let address = format!("https://ec2.{}.amazonaws.com/", args.region);
            Url::parse(&address).map_err(|error| Fault::Usage(format!("{address} is no address: {error}")))?
        }
    };
    let rows = collect(args, &address, &credentials, session)?;
    write(args, &rows, session)
}

/// Every price, page after page.
fn collect(
    args: &Args,
    address: &Url,
    credentials: &Credentials,
    session: &mut Session<'_>,
) -> Result<Vec<Row>, Fault> {
    let to = now();
    let from = to - Duration::from_secs(u64::from(args.days) * 86_400);
    let asked = Asked { types: &args.types, product: &args.product, from, to };
    let agent = agent();
    let (mut rows, mut token) = (Vec::new(), String::new());
    for page in 1..=PAGES_MAX {
        session.progress(&format!("page {page}, {} prices", rows.len()));
        let mut ask = || -> Result<Reply, String> {
            let request = aws::request(&asked, &token, address, &args.region, credentials, now())?;
            let mut reply = agent.run(request).map_err(|error| error.to_string())?;
            let status = reply.status().as_u16();
            let text = reply.body_mut().with_config().limit(PAGE_BYTES_MAX).read_to_string();
            Ok(Reply { status, text: text.map_err(|error| error.to_string())? })
        };
        let Page { prices, next } = with_patience(&mut ask, address)?;
        rows.extend(prices);
        if next.is_empty() {
            session.progress("");
            return Ok(rows);
        }
        if next == token {
            return Err(Fault::Broken("the provider gives the same page again and again".to_owned()));
        }
        token = next;
    }
    Err(Fault::Broken(format!("more than {PAGES_MAX} pages of prices: name types, or fewer days")))
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(clock::wall_ns()).unwrap_or(0))
}

fn agent() -> Agent {
    Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(RootCerts::WebPki).build())
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .timeout_global(Some(TIMEOUT))
        .user_agent(concat!("cloudsnooze/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

/// Asks until there is an answer that no further attempt would change.
fn with_patience(ask: &mut dyn FnMut() -> Result<Reply, String>, address: &Url) -> Result<Page, Fault> {
    let mut pause = PAUSE;
    for attempt in 1.. {
        let why = match ask() {
            Ok(reply) => match aws::read(&reply) {
                Ok(page) => return Ok(page),
                Err(refusal) if !refusal.may_pass => return Err(refusal.fault),
                Err(refusal) => refusal.fault.to_string(),
            },
            Err(error) => error,
        };
        if attempt == ATTEMPTS_MAX {
            let origin = address.origin().ascii_serialization();
            return Err(Fault::Unreachable(format!("{origin} gave no prices in {ATTEMPTS_MAX} attempts: {why}")));
        }
        std::thread::sleep(pause);
        pause *= 2;
    }
    Err(Fault::Broken("no attempt was made".to_owned()))
}

fn write(args: &Args, rows: &[Row], session: &mut Session<'_>) -> Outcome {
    let failed = |error: std::io::Error| Fault::InputOutput(format!("cannot write {}: {error}", args.output.display()));
    let mut text = "provider,region,zone,instance_type,timestamp_utc,usd_per_hour\n".to_owned();
    for row in rows {
        text +=
            &format!("aws,{},{},{},{},{}\n", args.region, row.zone, row.instance_type, row.timestamp, row.usd_per_hour);
    }
    // Whole or not at all: beside the file, then in its place.
    let mut beside = args.output.clone().into_os_string();
    beside.push(".part");
    std::fs::write(&beside, text).map_err(failed)?;
    std::fs::rename(&beside, &args.output).map_err(failed)?;
    session.note(&format!("{} prices of {} in {}", rows.len(), args.region, args.output.display()));
    if session.global.json {
        session.print_json(&serde_json::json!({ "prices": rows.len(), "output": args.output }))?;
    }
    Ok(Exit::Ok)
}
