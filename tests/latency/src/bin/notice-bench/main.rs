//! `notice-bench`: how soon every provider's source sees a notice, and what watching costs.
//!
//! The daemon's sources on stand-ins for the metadata services, beside a bare client on a stand-in of its own; then the daemon
//! itself at rest. Inputs: options. Outputs: tables or JSON, `promises/notices.json`, exit status 1 when a limit was not kept.
//! Must never run beside another benchmark.

mod rest;

use clap::Parser;
use fake_metadata::Provider;
use latency::notices::judge::{self, Delays};
use latency::notices::lane::{self, Found, Plan, Who};
use latency::notices::ours;
use rest::Rest;
use serde_json::{Map, Value, json};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// Measures how long after a notice became visible in the metadata the daemon's source publishes it, for every provider, next
/// to a client that only looks whether the bytes changed; how punctual the source stays while every third request fails; and
/// what the daemon costs that watches all day. Needs `snoozed` beside this program (make bench-notices builds it). Exit status
/// 1: a limit was not kept.
#[derive(Debug, Parser)]
#[command(name = "notice-bench")]
struct Options {
    /// Notices of each provider.
    #[arg(long, default_value_t = 200)]
    notices: usize,
    /// Seconds between polls. Azure is never asked more often than every half second.
    #[arg(long, default_value_t = 0.2)]
    interval: f64,
    /// Seconds for which every third request fails.
    #[arg(long, default_value_t = 15.0)]
    fault_seconds: f64,
    /// Seconds for which the daemon is measured at rest, after 150 to settle; 0 leaves it out.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    cost: u64,
    /// These providers only.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Provider>,
    /// Draws the same moments again.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Prints JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// Directory for promises/notices.json [default: cargo's target].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Where the source of a provider is.
fn source_of(provider: Provider) -> &'static str {
    match provider {
        Provider::Aws => "core/src/source/aws.rs",
        Provider::Azure => "core/src/source/azure.rs",
        Provider::Gcp => "core/src/source/gcp.rs (preempted)",
        Provider::Alibaba => "core/src/source/alibaba.rs",
        Provider::Tencent => "core/src/source/tencent.rs",
    }
}

/// What was found of one provider.
struct Seen {
    ours: Delays,
    floor: Delays,
    longest_gap_intervals: f64,
    request_ms: f64,
    interval_seconds: f64,
    wrong: Vec<String>,
}

impl Seen {
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "seconds in ns, below 2^53")]
    fn of(plan: Plan, ours: &Found, floor: &Found) -> Self {
        let interval_ns = (plan.interval_seconds * 1e9) as i64;
        let is_held = latency::notices::questions(plan.provider).is_held;
        // What hangs has no length of its own: from the change to the answer is what is left of it.
        let floor_max_ns = floor.delays_ns.iter().copied().max().unwrap_or(0);
        let request_ns = if is_held { floor_max_ns } else { floor.longest_request_ns };
        let mut wrong = match is_held {
            true => judge::held(&ours.delays_ns, &floor.delays_ns),
            false => judge::polled(&ours.delays_ns, interval_ns, request_ns),
        };
        if plan.fault_seconds > 0.0 {
            wrong.extend(judge::gaps(&ours.gaps_ns, interval_ns, request_ns));
        }
        let longest_gap_ns = ours.gaps_ns.iter().copied().max().unwrap_or(0);
        Self {
            ours: judge::delays(&ours.delays_ns, interval_ns),
            floor: judge::delays(&floor.delays_ns, interval_ns),
            longest_gap_intervals: longest_gap_ns as f64 / interval_ns as f64,
            request_ms: request_ns as f64 / 1e6,
            interval_seconds: plan.interval_seconds,
            wrong,
        }
    }

    fn json(&self, provider: Provider) -> Value {
        json!({
            "source": source_of(provider), "interval_seconds": self.interval_seconds, "ours": self.ours, "floor": self.floor,
            "longest_gap_with_faults_intervals": self.longest_gap_intervals, "one_request_ms": self.request_ms,
            "wrong": self.wrong,
        })
    }
}

fn main() -> io::Result<ExitCode> {
    let options = Options::parse();
    let providers = if options.only.is_empty() { Provider::ALL.to_vec() } else { options.only.clone() };
    let granted = ours::granted();
    if !options.json {
        println!("threads that watch: {granted}; {} notices a provider\n", options.notices);
    }
    let seen = all(&providers, |provider| sight(&options, provider))?;
    if !options.json {
        show_sights(&seen);
    }
    let time = Duration::from_secs(options.cost);
    let costs = if time.is_zero() { Vec::new() } else { all(&providers, |provider| rest::measure(provider, time))? };
    if !options.json {
        show_costs(&costs);
    }
    let (mut sights, mut rests) = (Map::new(), Map::new());
    sights.extend(seen.iter().map(|(provider, seen)| (provider.name().to_owned(), seen.json(*provider))));
    rests.extend(costs.iter().map(|(provider, rest)| (provider.name().to_owned(), rest.json())));
    let file = json!({ "threads": granted, "notices": sights, "rest": rests, "rest_seconds": options.cost });
    if options.json {
        println!("{file:#}");
    }
    let target = || std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let directory = options.out.unwrap_or_else(target).join("promises");
    std::fs::create_dir_all(&directory)?;
    std::fs::write(directory.join("notices.json"), format!("{file:#}\n"))?;
    let wrong = seen.iter().map(|(provider, seen)| (provider, &seen.wrong));
    let wrong: Vec<_> = wrong.chain(costs.iter().map(|(provider, rest)| (provider, &rest.wrong))).collect();
    for (provider, text) in wrong.iter().flat_map(|(provider, all)| all.iter().map(move |text| (provider, text))) {
        eprintln!("{provider}: {text}");
    }
    Ok(if wrong.iter().all(|(_, all)| all.is_empty()) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Does something for all providers at once: they hardly use the machine.
fn all<T: Send>(
    providers: &[Provider],
    one: impl Fn(Provider) -> io::Result<T> + Sync,
) -> io::Result<Vec<(Provider, T)>> {
    thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> =
            providers.iter().map(|provider| (*provider, scope.spawn(move || one(*provider)))).collect();
        let joined = threads.into_iter().map(|(provider, thread)| {
            let found = thread.join().map_err(|_| io::Error::other(format!("{provider}: a thread panicked")))?;
            Ok((provider, found?))
        });
        joined.collect()
    })
}

/// Ours and the floor at the same time, each on a service of its own.
fn sight(options: &Options, provider: Provider) -> io::Result<Seen> {
    let least = if provider == Provider::Azure { 0.5 } else { 0.05 };
    let plan = Plan {
        provider,
        interval_seconds: options.interval.max(least),
        notices: options.notices.max(1),
        fault_seconds: options.fault_seconds,
        seed: options.seed,
    };
    thread::scope(|scope| {
        let floor = scope.spawn(|| lane::run(Plan { seed: plan.seed.wrapping_add(1), ..plan }, Who::Bare));
        let ours = lane::run(plan, Who::Ours)?;
        let floor = floor.join().map_err(|_| io::Error::other("a thread panicked"))??;
        Ok(Seen::of(plan, &ours, &floor))
    })
}

fn verdict(wrong: &[String]) -> &'static str {
    if wrong.is_empty() { "good" } else { "BAD" }
}

fn show_sights(seen: &[(Provider, Seen)]) {
    println!(
        "{:<10}{:>9}{:>10}{:>10}{:>10}{:>11}{:>11}{:>8}{:>8}{:>8}{:>12}{:>11}  {:<9}source",
        "",
        "interval",
        "p50 ms",
        "p99 ms",
        "max ms",
        "floor p50",
        "floor p99",
        "mean/I",
        "max/I",
        "KS",
        "faults/I",
        "request ms",
        "verdict"
    );
    for (provider, seen) in seen {
        let (ours, floor) = (seen.ours, seen.floor);
        println!(
            "{:<10}{:>9}{:>10.2}{:>10.2}{:>10.2}{:>11.2}{:>11.2}{:>8.3}{:>8.3}{:>8.3}{:>12.3}{:>11.1}  {:<9}{}",
            provider.name(),
            format!("{} s", seen.interval_seconds),
            ours.p50_ms,
            ours.p99_ms,
            ours.max_ms,
            floor.p50_ms,
            floor.p99_ms,
            ours.mean_intervals,
            ours.max_intervals,
            ours.kolmogorov,
            seen.longest_gap_intervals,
            seen.request_ms,
            verdict(&seen.wrong),
            source_of(*provider)
        );
    }
}

fn show_costs(costs: &[(Provider, Rest)]) {
    if costs.is_empty() {
        return;
    }
    println!(
        "\n{:<10}{:>12}{:>16}{:>11}{:>12}{:>13}{:>13}{:>10}  verdict",
        "", "% of a core", "CPU s in a day", "RSS KiB", "RSS growth", "descriptors", "connections", "requests"
    );
    for (provider, rest) in costs {
        println!(
            "{:<10}{:>12.3}{:>16.1}{:>11}{:>12}{:>13}{:>13}{:>10}  {}",
            provider.name(),
            rest.percent,
            rest.percent / 100.0 * 86_400.0,
            rest.after.rss_kib,
            rest.after.rss_kib - rest.before.rss_kib,
            format!("{}->{}", rest.before.descriptors, rest.after.descriptors),
            format!("{}->{}", rest.before.connections, rest.after.connections),
            rest.requests,
            verdict(&rest.wrong)
        );
    }
}
