//! `poll-bench`: what looking for notices costs, and how soon one is seen, at every interval.
//!
//! The real `snoozed`, started with a configuration, on a metadata service in this process; beside it, in turns, a bare
//! client that asks for the same paths with one blocking socket. Inputs: options. Outputs: a table, `promises/poll.json`.
//! Must never count the service's CPU time as the daemon's: they are different processes.

mod bare;
mod daemon;

use bare::Place;
use clap::Parser;
use daemon::Daemon;
use latency::metadata::Service;
use latency::stage;
use latency::workshop::Workshop;
use serde_json::{Value, json};
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// Measures what the daemon costs while nothing happens, and how soon it sees a notice, at several polling intervals,
/// next to a client that does nothing but poll. '% CPU' is
/// of a core and counts every thread; 'us/poll' counts the thread that polls; what the
/// self-test at the beginning of each round costs that thread stands apart. Needs `snoozed` beside this program (make bench builds it).
#[derive(Debug, Parser)]
#[command(name = "poll-bench")]
struct Options {
    /// Seconds measured at each interval.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Intervals, seconds.
    #[arg(long, value_delimiter = ',', default_values_t = [5.0, 1.0, 0.2, 0.05])]
    intervals: Vec<f64>,
    /// Notices whose delay is measured at each interval.
    #[arg(long, default_value_t = 5)]
    notices: u32,
    /// Directory for promises/poll.json [default: cargo's target].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Plays the bare client: interval in seconds, service, duration, place. For this program itself.
    #[arg(long, hide = true, num_args = 4)]
    play_bare: Option<Vec<String>>,
}

/// What one client cost over a time.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// Of the whole process.
    cpu: Duration,
    /// Of the thread that polls.
    polling: Duration,
    wall: Duration,
    requests: u64,
}

impl Cost {
    fn percent(self) -> f64 {
        100.0 * self.cpu.as_secs_f64() / self.wall.as_secs_f64()
    }

    #[allow(clippy::cast_precision_loss, reason = "counts of requests")]
    fn us_a_request(self) -> f64 {
        self.polling.as_secs_f64() * 1e6 / self.requests.max(1) as f64
    }
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    if let Some(words) = &options.play_bare {
        return bare::play(words);
    }
    let workshop = Workshop::build()?;
    println!(
        "{:<10}{:>12}{:>12}{:>14}{:>14}{:>8}{:>15}{:>14}{:>14}{:>14}{:>9}",
        "interval",
        "ours % CPU",
        "bare % CPU",
        "ours us/poll",
        "bare us/poll",
        "ratio",
        "anywhere us",
        "self-test us",
        "seen p50 ms",
        "seen max ms",
        "RSS MB"
    );
    let mut found = Vec::new();
    for interval in &options.intervals {
        found.push(one(&options, &workshop, *interval)?);
    }
    let target = || std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let directory = options.out.unwrap_or_else(target).join("promises");
    std::fs::create_dir_all(&directory)?;
    let file = json!({ "intervals": found, "seconds": options.seconds });
    std::fs::write(directory.join("poll.json"), format!("{file:#}\n"))
}

/// One interval: ours and bare in turns, twice each, then the notices.
fn one(options: &Options, workshop: &Workshop, interval: f64) -> io::Result<Value> {
    let service = Service::start(stage::far_cpu())?;
    let time = Duration::from_secs(options.seconds) / 2;
    // Polls alone, without the self-test that opens each round.
    let asking = Daemon::start(workshop, &service, interval, false)?.cost(time, &service)?;
    let daemon = Daemon::start(workshop, &service, interval, true)?;
    let (mut ours, mut bare, mut anywhere) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..2 {
        ours.push(daemon.cost(time, &service)?);
        daemon.hold(true)?;
        bare.push(bare::cost(interval, time, &service, Place::AsOurs)?);
        anywhere.push(bare::cost(interval, time, &service, Place::Anywhere)?);
        daemon.hold(false)?;
    }
    let (ours, bare, anywhere) = (sum(&ours), sum(&bare), sum(&anywhere));
    let mut seen = Vec::new();
    for n in 0..options.notices {
        // At another moment of the interval each time.
        thread::sleep(Duration::from_secs_f64(interval * (1.0 + f64::from(n) / f64::from(options.notices))));
        let announced = Instant::now();
        seen.push(daemon.sees(&service).map(|at| at.duration_since(announced))?);
    }
    seen.sort_unstable();
    let ms = |index: usize| seen.get(index).map_or(f64::NAN, |delay| delay.as_secs_f64() * 1e3);
    let (p50, max) = (ms(seen.len() / 2), ms(seen.len().saturating_sub(1)));
    let rss_mb = daemon.rss_mb()?;
    // Once a round of six requests.
    let self_test_us = (ours.us_a_request() - asking.us_a_request()) * 6.0;
    let ratio = asking.us_a_request() / bare.us_a_request();
    println!(
        "{:<10}{:>12.4}{:>12.4}{:>14.1}{:>14.1}{ratio:>8.2}{:>15.1}{self_test_us:>14.1}{p50:>14.1}{max:>14.1}{rss_mb:>9.1}",
        format!("{interval} s"),
        ours.percent(),
        bare.percent(),
        asking.us_a_request(),
        bare.us_a_request(),
        anywhere.us_a_request(),
    );
    Ok(json!({
        "interval_seconds": interval, "ours_percent_of_a_core": ours.percent(), "bare_percent_of_a_core": bare.percent(),
        "idle_ratio": ours.percent() / bare.percent(),
        "ours_us_a_poll": asking.us_a_request(), "self_test_us": self_test_us, "bare_us_a_poll": bare.us_a_request(), "ratio": ratio,
        "bare_anywhere_us_a_poll": anywhere.us_a_request(),
        "seen_p50_ms": p50, "seen_max_ms": max, "rss_mb": rss_mb,
    }))
}

fn sum(costs: &[Cost]) -> Cost {
    Cost {
        cpu: costs.iter().map(|c| c.cpu).sum(),
        polling: costs.iter().map(|c| c.polling).sum(),
        wall: costs.iter().map(|c| c.wall).sum(),
        requests: costs.iter().map(|c| c.requests).sum(),
    }
}
