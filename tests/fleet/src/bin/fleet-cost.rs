//! What a group costs a daemon that is in it: memory, CPU, connections, and the way from the group to a handler.
//!
//! Inputs: the built daemon and the plugin notify-apps, a real server. Outputs: a table or JSON, `promises/fleet-cost.json`; the exit code
//! says whether the bars are kept. Pairs of daemons run side by side, one of each with the group and one without; the other members are of
//! this process. Must never measure a build without optimisation.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use cloudsnooze_fleet::{Local, Member, Notice, Told};
use fleet_faults::handover::{self, Handover};
use fleet_faults::propagation::{EVENT_TYPE, quantile, settings};
use harness::daemon::{Daemon, DaemonBuilder};
use harness::{nats, paths, wait};
use serde::Serialize;
use serde_json::{Value, json};
use statrs::statistics::{Data, Median};
use tempfile::TempDir;
use uuid::Uuid;

/// What the group may cost: megabytes, percent of a core, milliseconds more than a bare client's way to its handler, connections.
const MEMORY_BAR: f64 = 2.0;
const CPU_BAR: f64 = 0.1;
const HANDLER_BAR: f64 = 1.0;
const CONNECTIONS_BAR: usize = 1;
/// How long anything else may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures what belonging to a group costs a daemon, and how soon a handler begins after the group has told of an event.
#[derive(Parser, Debug)]
#[command(max_term_width = 100)]
struct Args {
    /// Other members of the group.
    #[arg(long, value_name = "N", default_value_t = 10)]
    members: usize,
    /// Pairs of daemons that are watched at rest. How much of its program is in memory differs from one to the next: medians are told.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pairs: usize,
    /// Events whose handlers are timed, of one of the daemons.
    #[arg(long, value_name = "N", default_value_t = 500)]
    events: usize,
    /// Time between two of them, milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 50)]
    pause_ms: u64,
    /// How long the daemons settle, seconds.
    #[arg(long, value_name = "S", default_value_t = 60)]
    settle: u64,
    /// How long they are then watched at rest, seconds.
    #[arg(long, value_name = "S", default_value_t = 120)]
    rest: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Found {
    members: usize,
    pairs: usize,
    events: u64,
    /// From what the member tells to the handler's first instruction, milliseconds.
    handler_p50_ms: f64,
    handler_p99_ms: f64,
    /// From a message to a bare client's real-time thread in the same seconds, and how much more the daemon's way is.
    bare_p50_ms: f64,
    bare_p99_ms: f64,
    handler_p99_more_ms: f64,
    /// Resident memory and CPU, with the group and without: medians of the pairs, and their difference.
    memory_mb: f64,
    memory_alone_mb: f64,
    memory_more_mb: f64,
    /// The same for each pair.
    memory_more_each_mb: Vec<f64>,
    cpu_percent: f64,
    cpu_alone_percent: f64,
    cpu_more_percent: f64,
    connections: usize,
}

impl Found {
    fn is_kept(&self) -> bool {
        self.memory_more_mb <= MEMORY_BAR
            && self.cpu_more_percent <= CPU_BAR
            && self.handler_p99_more_ms <= HANDLER_BAR
            && self.connections == CONNECTIONS_BAR
    }
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if cfg!(debug_assertions) {
        bail!("a build without optimisation says nothing; `make bench-fleet-cost` makes the right one");
    }
    ensure!(args.events > 0 && args.rest > 0 && args.pairs > 0, "nothing to measure");
    let server = nats::Server::start("").context("without a server there is nothing to measure")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(measure(&args, &server.address()))?;
    let out = fleet_faults::target().join("promises");
    std::fs::create_dir_all(&out)?;
    let text = serde_json::to_string_pretty(&found)?;
    std::fs::write(out.join("fleet-cost.json"), format!("{text}\n"))?;
    if args.json {
        println!("{text}");
    } else {
        let Found { handler_p50_ms, handler_p99_ms, bare_p50_ms, bare_p99_ms, connections, .. } = found;
        let more = found.handler_p99_more_ms;
        println!("to a handler: p50 {handler_p50_ms:.3} ms, p99 {handler_p99_ms:.3} ms");
        println!(
            "  bare: p50 {bare_p50_ms:.3} ms, p99 {bare_p99_ms:.3} ms; at p99 {more:.3} more (at most {HANDLER_BAR})"
        );
        let each: Vec<String> = found.memory_more_each_mb.iter().map(|more| format!("{more:.2}")).collect();
        println!(
            "memory: {:.2} MB in a group, {:.2} alone: {:.2} more (at most {MEMORY_BAR}); of each pair {}",
            found.memory_mb,
            found.memory_alone_mb,
            found.memory_more_mb,
            each.join(", ")
        );
        println!(
            "CPU: {:.3} % of a core in a group, {:.3} alone: {:.3} more (at most {CPU_BAR}); {connections} connection",
            found.cpu_percent, found.cpu_alone_percent, found.cpu_more_percent
        );
    }
    Ok(if found.is_kept() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Hears and does nothing: the other members' owner.
struct Deaf;

impl Local for Deaf {
    fn told(&self, _: Told) {}
}

async fn measure(args: &Args, address: &str) -> Result<Found> {
    let state = tempfile::Builder::new().prefix("snz-cost-").tempdir()?;
    let urls = vec![address.to_owned()];
    let mut members = Vec::new();
    for number in 0..args.members.max(1) {
        let name = format!("other-{number}");
        let own = state.path().join(&name);
        let settings = cloudsnooze_fleet::Settings { replicas: 1, ..settings(&urls, number == 0) };
        members.push(Member::start(settings, name, own, Arc::new(Deaf))?);
    }
    // The daemons are asked from another thread: the members run on this one.
    let (its_address, pairs, pauses) = (address.to_owned(), args.pairs, (args.settle, args.rest));
    let at_rest = tokio::task::spawn_blocking(move || at_rest(&its_address, pairs, pauses)).await??;
    let (bare, client) = (Handover::listen(address, args.events, PATIENCE)?, async_nats::connect(address).await?);
    let mut clock = tokio::time::interval(Duration::from_millis(args.pause_ms));
    for _ in 0..args.events {
        clock.tick().await;
        members[0].publish(notice());
        handover::send(&client).await?;
    }
    let (wanted, mut found) = (args.events as u64, at_rest.found);
    let (daemon, _home) = (at_rest.with, at_rest._home);
    let timed = tokio::task::spawn_blocking(move || {
        let seen = wait::until("the last handler", PATIENCE, || {
            let first = started(&daemon).ok()?;
            (first["count"].as_u64()? >= wanted).then_some(first)
        });
        seen.map_err(|error| anyhow::anyhow!("{error}: {:?}; {}", started(&daemon), daemon.log_tail()))
    });
    let timed = timed.await??;
    let bare = tokio::task::spawn_blocking(move || bare.delays()).await??;
    let ms = |name: &str| timed[name].as_f64().map_or(f64::NAN, |us| us / 1000.0);
    (found.events, found.members) = (wanted, members.len());
    (found.handler_p50_ms, found.handler_p99_ms) = (ms("p50"), ms("p99"));
    (found.bare_p50_ms, found.bare_p99_ms) = (quantile(&bare, 500), quantile(&bare, 990));
    found.handler_p99_more_ms = found.handler_p99_ms - found.bare_p99_ms;
    for member in members {
        member.leave().await;
    }
    Ok(found)
}

fn notice() -> Notice {
    Notice {
        event: Uuid::now_v7(),
        event_type: EVENT_TYPE.to_owned(),
        detected: harness::clock::wall_ns(),
        deadline: None,
        left: Duration::from_secs(120),
        details: json!({ "specversion": "1.0", "type": EVENT_TYPE, "data": { "filler": "x".repeat(120) } }),
    }
}

/// From detection to the first instruction of a handler, as the daemon tells it.
fn started(daemon: &Daemon) -> Result<Value> {
    let status = daemon.snooze_json(&["status", "--json"]).map_err(anyhow::Error::msg)?;
    Ok(status.pointer("/dispatch/first_start_us").cloned().unwrap_or(Value::Null))
}

/// A daemon in the group, and what all of them cost while nothing happened.
struct AtRest {
    with: Daemon,
    _home: TempDir,
    found: Found,
}

fn at_rest(address: &str, pairs: usize, (settle, rest): (u64, u64)) -> Result<AtRest> {
    let start = |number: usize| Ok((daemon(Some((address, &format!("measured-{number}"))))?, daemon(None)?));
    let mut pairs: Vec<_> = (0..pairs).map(start).collect::<Result<_>>()?;
    for ((with, _), _) in &pairs {
        wait::until("the daemon to find the leader", PATIENCE, || {
            let status = with.snooze_json(&["fleet", "status", "--json"]).ok()?;
            status["leader"].is_string().then_some(())
        })
        .map_err(|error| anyhow::anyhow!("{error}: {}", with.log_tail()))?;
    }
    let pid = |daemon: &Daemon| daemon.pid().context("a process");
    let pids = pairs.iter().map(|((with, _), (alone, _))| Ok([pid(with)?, pid(alone)?]));
    let pids: Vec<[u32; 2]> = pids.collect::<Result<_>>()?;
    std::thread::sleep(Duration::from_secs(settle));
    let cpu = || pids.iter().map(|pair| pair.map(cpu_ns)).collect::<Vec<_>>();
    let (began, before) = (Instant::now(), cpu());
    std::thread::sleep(Duration::from_secs(rest));
    let (took, after) = (began.elapsed().as_secs_f64(), cpu());
    let percent = |of: usize| {
        let spent = after.iter().zip(&before).map(|(after, before)| (after[of] - before[of]) as f64);
        median(spent.map(|ns| ns / took / 1e7))
    };
    let memory: Vec<[f64; 2]> = pids.iter().map(|pair| pair.map(memory_mb)).collect();
    let memory_of = |of: usize| median(memory.iter().map(|pair| pair[of]));
    let (memory_mb, memory_alone_mb) = (memory_of(0), memory_of(1));
    let (cpu_percent, cpu_alone_percent) = (percent(0), percent(1));
    let found = Found {
        members: 0,
        pairs: pids.len(),
        events: 0,
        handler_p50_ms: f64::NAN,
        handler_p99_ms: f64::NAN,
        bare_p50_ms: f64::NAN,
        bare_p99_ms: f64::NAN,
        handler_p99_more_ms: f64::NAN,
        memory_mb,
        memory_alone_mb,
        memory_more_mb: memory_mb - memory_alone_mb,
        memory_more_each_mb: memory.iter().map(|[with, alone]| with - alone).collect(),
        cpu_percent,
        cpu_alone_percent,
        cpu_more_percent: cpu_percent - cpu_alone_percent,
        connections: connections(pids[0][0], address)?,
    };
    // The others end here: events are timed with one daemon on the machine.
    let ((with, home), _alone) = pairs.swap_remove(0);
    Ok(AtRest { with, _home: home, found })
}

fn memory_mb(pid: u32) -> f64 {
    fleet_faults::servers::resident_kb(pid) as f64 / 1000.0
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    Data::new(values.collect::<Vec<_>>()).median()
}

/// A daemon whose one handler takes the group's events; without an address and a name it is in no group.
fn daemon(group: Option<(&str, &str)>) -> Result<(Daemon, TempDir)> {
    let home = tempfile::Builder::new().prefix("snz-").tempdir()?;
    let socket = home.path().join("apps.sock");
    let mut config = json!({ "event_handlers": { "fleet.member.event": { "plugins": [
        { "name": "notify-apps", "config": { "socket": socket } },
    ] } } });
    if let Some((address, name)) = group {
        let fleet = cloudsnooze_fleet::Settings { replicas: 1, ..settings(&[address.to_owned()], false) };
        config["fleet"] = serde_json::to_value(fleet)?;
        // What is not set is not written down either.
        config["fleet"].as_object_mut().context("settings")?.retain(|_, value| !value.is_null());
        config["fleet"]["member"] = json!(name);
    }
    let bin: PathBuf = paths::bin_dir().map_err(anyhow::Error::msg)?;
    let started = DaemonBuilder::new(bin).config(config).root(home.path()).start();
    Ok((started.map_err(anyhow::Error::msg)?, home))
}

/// CPU time of all threads of a process (schedstat, nanoseconds: the ticks of stat are too coarse). No thread ends at rest.
fn cpu_ns(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let texts = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok());
    texts.filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok()).sum()
}

/// How many connections a process has to a server of this machine (/proc/net/tcp: proc(5)).
fn connections(pid: u32, address: &str) -> Result<usize> {
    let port: u16 = address.rsplit_once(':').context("an address with a port")?.1.parse()?;
    let links = std::fs::read_dir(format!("/proc/{pid}/fd"))?.flatten();
    let targets = links.filter_map(|link| Some(std::fs::read_link(link.path()).ok()?.to_str()?.to_owned()));
    let own: Vec<String> =
        targets.filter_map(|target| Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect();
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp"))?;
    let to = format!(":{port:04X}");
    let is_one = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let inode = fields.get(9).copied().unwrap_or_default();
        fields.get(2).is_some_and(|remote| remote.ends_with(&to)) && own.iter().any(|one| one == inode)
    };
    Ok(table.lines().filter(is_one).count())
}
