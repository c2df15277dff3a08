//! How long an event takes to a thousand other members, next to bare clients of the same servers in the same run.
//!
//! Inputs: how many subscribers and events. Outputs: p50 and p99 of each kind, ratios, `promises/fleet-propagation.json`; the exit code
//! says whether the ratio is kept and nothing was lost. The kinds take turns, so that all have the machine in the same moods.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Parser;
use fleet_faults::network::Network;
use fleet_faults::propagation::{self, Kind, Publisher};
use fleet_faults::servers::{COUNT, Servers};
use serde::Serialize;

/// Processes of subscribers.
const WORKERS: usize = 4;
/// What the crate may cost.
const BAR: f64 = 1.3;
/// Deliveries that are waited for after the last event.
const AFTERWARDS: Duration = Duration::from_secs(2);
/// From when all members are there to the first event: what comes with connecting is over then. For a minute they ask the store as often as
/// they speak. Bare clients have nothing to settle.
const SETTLES: Duration = Duration::from_secs(70);

/// Measures how long events take to many members and to as many bare clients.
#[derive(Parser, Debug)]
#[command(max_term_width = 100)]
struct Args {
    /// Subscribers, each with a connection of its own.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    subscribers: usize,
    /// Events in a round, of each kind.
    #[arg(long, value_name = "N", default_value_t = 100)]
    events: usize,
    /// Rounds. One alone says little: of seven in one run on a machine at rest the ratio at p50 went from 1.08 to 1.53.
    #[arg(long, value_name = "N", default_value_t = 7)]
    rounds: usize,
    /// Time between two events, milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 150)]
    pause_ms: u64,
    /// Print the promises as JSON.
    #[arg(long)]
    json: bool,
    /// Subscribe so many times: what this program starts.
    #[arg(long, hide = true)]
    worker: Option<usize>,
    /// Of this kind (JSON).
    #[arg(long, hide = true, default_value = "\"bare\"")]
    kind: String,
    /// Servers of a worker.
    #[arg(long, hide = true, value_delimiter = ',')]
    urls: Vec<String>,
    /// Name of a worker.
    #[arg(long, hide = true, default_value = "worker")]
    name: String,
    /// Directory of a worker.
    #[arg(long, hide = true, default_value = ".")]
    state: PathBuf,
}

/// What one kind came to.
#[derive(Debug, Serialize)]
struct Delays {
    deliveries: usize,
    expected: usize,
    p50_ms: f64,
    p99_ms: f64,
    most_ms: f64,
    /// Resident memory of a subscriber, the process's parted among all it has, kB.
    kb_each: u64,
}

/// What one round alone came to: members over bare clients whose messages are kept.
#[derive(Debug, Serialize)]
struct Round {
    ratio_p50: f64,
    ratio_p99: f64,
}

#[derive(Debug, Serialize)]
struct Promises {
    rounds: usize,
    /// How far rounds lie apart.
    each_round: Vec<Round>,
    subscribers: usize,
    message_bytes: usize,
    bare: Delays,
    kept: Delays,
    members: Delays,
    /// Over bare clients whose messages nobody keeps.
    ratio_bare_p50: f64,
    ratio_bare_p99: f64,
    /// Over bare clients whose messages are kept as members' are.
    ratio_p50: f64,
    ratio_p99: f64,
    more_p50_ms: f64,
    more_p99_ms: f64,
    lost: usize,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if let Some(count) = args.worker {
        let kind: Kind = serde_json::from_str(&args.kind)?;
        let delays = propagation::subscribe(kind, &args.urls, count, &args.name, &args.state)?;
        println!("{}", serde_json::to_string(&delays)?);
        return Ok(ExitCode::SUCCESS);
    }
    let promises = measure(&args)?;
    let out = fleet_faults::target().join("promises");
    std::fs::create_dir_all(&out)?;
    let text = serde_json::to_string_pretty(&promises)?;
    std::fs::write(out.join("fleet-propagation.json"), format!("{text}\n"))?;
    if args.json {
        println!("{text}");
    } else {
        println!("{:<8} {:>10} {:>8} {:>8} {:>8} {:>8}", "", "deliveries", "p50 ms", "p99 ms", "most ms", "kB each");
        for (name, of) in [("bare", &promises.bare), ("kept", &promises.kept), ("members", &promises.members)] {
            let Delays { deliveries, p50_ms, p99_ms, most_ms, kb_each, .. } = of;
            println!("{name:<8} {deliveries:>10} {p50_ms:>8.2} {p99_ms:>8.2} {most_ms:>8.2} {kb_each:>8}");
        }
        println!(
            "{} subscribers, {} bytes: members take {:.2} times as long as bare clients whose messages are kept at p50 \
             ({:+.2} ms), {:.2} at p99 ({:+.2} ms), {BAR} may be; {:.2} and {:.2} times as long as those whose messages nobody \
             keeps; {} lost",
            promises.subscribers,
            promises.message_bytes,
            promises.ratio_p50,
            promises.more_p50_ms,
            promises.ratio_p99,
            promises.more_p99_ms,
            promises.ratio_bare_p50,
            promises.ratio_bare_p99,
            promises.lost
        );
    }
    let is_kept = promises.ratio_p50 <= BAR && promises.ratio_p99 <= BAR && promises.lost == 0;
    Ok(if is_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(args: &Args) -> Result<Promises> {
    ensure!(args.subscribers >= WORKERS && args.events > 0 && args.rounds > 0, "nothing to measure");
    let root = tempfile::Builder::new().prefix("snz-propagation-").tempdir()?;
    let network = Network::new(COUNT + WORKERS)?;
    let mut servers = Servers::new(&network, root.path())?;
    servers.start_afresh(&network, &[])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let urls = servers.urls();
    let bytes = runtime.block_on(async {
        let publisher = Publisher::connect(Kind::Members, &urls, 0, &root.path().join("first")).await?;
        let bytes = propagation::length_of_a_message(&urls, &publisher).await?;
        publisher.leave().await;
        Ok::<_, anyhow::Error>(bytes)
    })?;
    let mut all: BTreeMap<Kind, (Vec<u32>, u64)> = BTreeMap::new();
    let mut each_round = Vec::new();
    for round in 0..args.rounds {
        let mut one = |kind| {
            let state = root.path().join(format!("round{round}"));
            let (delays, kb) = round_of(args, &runtime, &network, &urls, kind, bytes, &state)?;
            eprintln!("round {} of {}, {kind:?}: {} deliveries", round + 1, args.rounds, delays.len());
            let all = all.entry(kind).or_default();
            all.0.extend_from_slice(&delays);
            all.1 = all.1.max(kb);
            Ok::<_, anyhow::Error>(delays_of(delays, args.subscribers * args.events, kb / args.subscribers as u64))
        };
        let (_, kept, members) = (one(Kind::Bare)?, one(Kind::Kept)?, one(Kind::Members)?);
        let (ratio_p50, ratio_p99) = (members.p50_ms / kept.p50_ms, members.p99_ms / kept.p99_ms);
        eprintln!("round {} of {}: {ratio_p50:.2} at p50, {ratio_p99:.2} at p99", round + 1, args.rounds);
        each_round.push(Round { ratio_p50, ratio_p99 });
    }
    let expected = args.subscribers * args.events * args.rounds;
    let mut of = |kind| {
        let (delays, kb) = all.remove(&kind).unwrap_or_default();
        delays_of(delays, expected, kb / args.subscribers as u64)
    };
    let (bare, kept, members) = (of(Kind::Bare), of(Kind::Kept), of(Kind::Members));
    Ok(Promises {
        rounds: args.rounds,
        each_round,
        subscribers: args.subscribers,
        message_bytes: bytes,
        ratio_bare_p50: members.p50_ms / bare.p50_ms,
        ratio_bare_p99: members.p99_ms / bare.p99_ms,
        ratio_p50: members.p50_ms / kept.p50_ms,
        ratio_p99: members.p99_ms / kept.p99_ms,
        more_p50_ms: members.p50_ms - kept.p50_ms,
        more_p99_ms: members.p99_ms - kept.p99_ms,
        lost: members.expected.saturating_sub(members.deliveries),
        bare,
        kept,
        members,
    })
}

fn delays_of(mut delays: Vec<u32>, expected: usize, kb_each: u64) -> Delays {
    delays.sort_unstable();
    let at = |of_thousand| propagation::quantile(&delays, of_thousand);
    let (p50_ms, p99_ms, most_ms) = (at(500), at(990), at(1000));
    Delays { deliveries: delays.len(), expected, p50_ms, p99_ms, most_ms, kb_each }
}

/// One kind of subscriber, once. Gives the delays, and the memory of all their processes together in kB.
fn round_of(
    args: &Args,
    runtime: &tokio::runtime::Runtime,
    network: &Network,
    urls: &[String],
    kind: Kind,
    bytes: usize,
    state: &Path,
) -> Result<(Vec<u32>, u64)> {
    let counts =
        (0..WORKERS).map(|number| args.subscribers / WORKERS + usize::from(number < args.subscribers % WORKERS));
    let workers: Result<Vec<Worker>> =
        counts.enumerate().map(|(number, count)| Worker::start(network, urls, kind, number, count, state)).collect();
    let mut workers = workers?;
    workers.iter_mut().try_for_each(Worker::wait_until_ready)?;
    runtime.block_on(async {
        let publisher = Publisher::connect(kind, urls, bytes, &state.join("publisher")).await?;
        publisher.wait_for(args.subscribers).await?;
        tokio::time::sleep(if kind == Kind::Members { SETTLES } else { AFTERWARDS }).await;
        let mut clock = tokio::time::interval(Duration::from_millis(args.pause_ms));
        for _ in 0..args.events {
            clock.tick().await;
            publisher.send().await?;
        }
        tokio::time::sleep(AFTERWARDS).await;
        publisher.leave().await;
        Ok::<_, anyhow::Error>(())
    })?;
    let kb = workers.iter().map(|worker| fleet_faults::servers::resident_kb(worker.child.id())).sum();
    let delays: Result<Vec<Vec<u32>>> = workers.into_iter().map(Worker::end).collect();
    Ok((delays?.concat(), kb))
}

/// A process of subscribers.
struct Worker {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Worker {
    fn start(
        network: &Network,
        urls: &[String],
        kind: Kind,
        number: usize,
        count: usize,
        state: &Path,
    ) -> Result<Self> {
        let program = std::env::current_exe()?;
        let mut command: Command = network.namespace(COUNT + number).command(&program);
        command.args(["--worker", &count.to_string(), "--kind", &serde_json::to_string(&kind)?]);
        command.args(["--urls", &urls.join(","), "--name", &format!("w{number}")]).arg("--state").arg(state);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start a worker")?;
        let said = BufReader::new(child.stdout.take().context("its standard output")?);
        Ok(Self { child, said })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        ensure!(!line.is_empty(), "a process of subscribers ended by itself");
        Ok(line)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let line = self.line()?;
        ensure!(line.trim() == "ready", "a process of subscribers said {line}");
        Ok(())
    }

    fn end(mut self) -> Result<Vec<u32>> {
        let stdin = self.child.stdin.as_mut().ok_or_else(|| anyhow!("its standard input"))?;
        stdin.write_all(b"over\n")?;
        let delays = serde_json::from_str(&self.line()?).context("its delays")?;
        self.child.wait()?;
        Ok(delays)
    }
}
