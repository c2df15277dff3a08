//! What connections, members and groups cost real servers.
//!
//! Inputs: how many, how long. Outputs: memory, time on the processors, messages, next to what the simulation says of the same groups.
//! Servers, members and whatever else runs share the machine: times on the processors are those of the servers alone. It must never
//! measure while connections are still being made.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use async_nats::Client;
use cloudsnooze_fleet::{Local, Member, Told};
use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;

use crate::servers::{Servers, Usage};
use crate::simulate::{self, Simulated};
use crate::{Args, writes};

/// How long anything may take to come up.
const PATIENCE: Duration = Duration::from_secs(120);
/// What comes with connecting is over then.
const SETTLE: Duration = Duration::from_secs(15);

/// Connections that do nothing.
#[derive(Clone, Debug, Serialize)]
pub struct Bare {
    pub connections: usize,
    pub memory_kb_each: f64,
    /// Processors of all servers that a thousand of them take.
    pub cores_per_thousand: f64,
}

/// Members in groups of one size.
#[derive(Clone, Debug, Serialize)]
pub struct Members {
    pub members: usize,
    pub group_size: usize,
    pub groups: usize,
    /// Beyond the servers with nothing to do.
    pub memory_kb: f64,
    /// Processors, all servers together.
    pub cores: f64,
    pub written_bytes_per_second: f64,
    pub messages_per_second: f64,
    pub bytes_per_second: f64,
    pub management_per_second: f64,
    pub ha_assets_per_server: f64,
    /// Messages of the simulation of such groups, where their size was simulated.
    pub simulated_messages_per_second: Option<f64>,
}

/// What the measurements come to.
#[derive(Clone, Debug, Serialize)]
pub struct Fit {
    /// Of all servers of a cell together: for each member, and for each group beside its members.
    pub cores_per_member: f64,
    pub cores_per_group: f64,
    pub memory_kb_per_member: f64,
    pub memory_kb_per_group: f64,
    pub written_per_group: f64,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub server: String,
    pub machine_cores: usize,
    pub max_connections: u64,
    pub max_payload: u64,
    pub max_pending: u64,
    pub idle_cores: f64,
    pub bare: Bare,
    pub members: Vec<Members>,
    pub fit: Fit,
    pub writes: Vec<writes::Rate>,
    pub disk_syncs_per_second: f64,
}

impl Measured {
    /// Writes a second of many streams on three servers: what leases of many groups are.
    pub fn leases(&self) -> Option<f64> {
        self.writes.iter().filter(|rate| rate.servers == 3).max_by_key(|rate| rate.streams).map(|rate| rate.per_second)
    }
}

struct Nobody;

impl Local for Nobody {
    fn told(&self, _told: Told) {}
}

/// Measures everything, on fresh servers each.
///
/// # Errors
/// Servers or members do not come up.
pub fn measure(args: &Args, simulated: &[Simulated]) -> Result<Measured> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (bare, idle_cores, said) = runtime.block_on(bare(args))?;
    let mut members = Vec::new();
    for size in args.member_groups.iter().filter(|size| **size <= args.members) {
        eprintln!("measuring {} members in groups of {size}", args.members);
        let state = tempfile::Builder::new().prefix("fleet-scale-members-").tempdir()?;
        members.push(runtime.block_on(in_groups(args, *size, state.path(), simulated, idle_cores))?);
    }
    ensure!(!members.is_empty(), "no group is as small as there are members");
    let fit = fit(&members);
    eprintln!("measuring writes");
    let (writes, disk_syncs_per_second) = runtime.block_on(writes::measure())?;
    let number = |name: &str| said[name].as_u64().unwrap_or(0);
    Ok(Measured {
        server: said["version"].as_str().unwrap_or("?").to_owned(),
        machine_cores: std::thread::available_parallelism()?.get(),
        max_connections: number("max_connections"),
        max_payload: number("max_payload"),
        max_pending: number("max_pending"),
        idle_cores,
        bare,
        members,
        fit,
        writes,
        disk_syncs_per_second,
    })
}

/// How much more it is, by the second.
async fn watch(args: &Args, servers: &Servers) -> Result<(Usage, Usage, f64)> {
    let (before, begun) = (servers.usage()?, Instant::now());
    tokio::time::sleep(Duration::from_secs(args.watch)).await;
    Ok((before, servers.usage()?, begun.elapsed().as_secs_f64()))
}

fn cores((before, after, seconds): &(Usage, Usage, f64)) -> f64 {
    (after.cpu_seconds - before.cpu_seconds) / seconds
}

/// Connections with the subscriptions of a member that say nothing.
async fn bare(args: &Args) -> Result<(Bare, f64, serde_json::Value)> {
    let servers = Servers::start(3)?;
    eprintln!("measuring servers without anybody, then with {} connections", args.connections);
    tokio::time::sleep(SETTLE).await;
    let idle = watch(args, &servers).await?;
    let mut clients: Vec<(Client, Vec<async_nats::Subscriber>)> = Vec::new();
    for number in 0..args.connections {
        let client = async_nats::ConnectOptions::new().ping_interval(Duration::from_secs(1));
        let client = client.connect(servers.urls(number)).await.context("a connection")?;
        let group = number / 100;
        let mut heard = Vec::new();
        for subject in [format!("cs.v1.g{group}.ev.>"), format!("cs.v1.g{group}.to.*"), format!("_INBOX.{number}.*")] {
            heard.push(client.subscribe(subject).await?);
        }
        client.flush().await?;
        clients.push((client, heard));
    }
    tokio::time::sleep(SETTLE).await;
    let full = watch(args, &servers).await?;
    let count = args.connections as f64;
    let bare = Bare {
        connections: args.connections,
        memory_kb_each: (full.1.memory_kb - idle.1.memory_kb) / count,
        cores_per_thousand: (cores(&full) - cores(&idle)) / count * 1000.0,
    };
    drop(clients);
    Ok((bare, cores(&idle), servers.ask(0, "varz")?))
}

/// Real members.
async fn in_groups(
    args: &Args,
    size: usize,
    state: &Path,
    simulated: &[Simulated],
    idle_cores: f64,
) -> Result<Members> {
    let servers = Servers::start(3)?;
    tokio::time::sleep(SETTLE).await;
    let empty = servers.usage()?;
    let groups = args.members / size;
    let mut members = Vec::new();
    for number in 0..groups * size {
        let (group, place) = (number / size, number % size);
        let settings = simulate::settings(args, &format!("group-{group:05}"), place, size, &servers.urls(number), 3);
        let name = simulate::name(number);
        members.push(Member::start(settings, name.clone(), state.join(name), Arc::new(Nobody))?);
        if place == 0 {
            // The first of a group makes its streams; the others find them.
            up(&members[number..], "streams of a group", |member| member.status().leads).await?;
        }
    }
    up(&members, "members", |member| member.status().connected && member.status().leader.is_some()).await?;
    tokio::time::sleep(SETTLE + Duration::from_secs_f64(args.heartbeat)).await;
    let seen = watch(args, &servers).await?;
    let (before, after, seconds) = &seen;
    let each = |of: &dyn Fn(&Usage) -> f64| (of(after) - of(before)) / seconds;
    let measured = Members {
        members: members.len(),
        group_size: size,
        groups,
        memory_kb: after.memory_kb - empty.memory_kb,
        cores: cores(&seen) - idle_cores,
        written_bytes_per_second: each(&|usage| usage.written_bytes),
        messages_per_second: each(&|usage| usage.messages_in + usage.messages_out),
        bytes_per_second: each(&|usage| usage.bytes_in + usage.bytes_out),
        management_per_second: each(&|usage| usage.management),
        ha_assets_per_server: after.ha_assets / 3.0,
        simulated_messages_per_second: simulated
            .iter()
            .find(|one| one.size == size)
            .map(|one| one.per_second(|_| true).messages * groups as f64),
    };
    futures_util::stream::iter(&members).for_each_concurrent(50, |member| member.leave()).await;
    Ok(measured)
}

async fn up(members: &[Member], what: &str, is_up: impl Fn(&Member) -> bool) -> Result<()> {
    let waiting = async {
        let mut look = tokio::time::interval(Duration::from_millis(50));
        while !members.iter().all(&is_up) {
            look.tick().await;
        }
    };
    let problems = || members.iter().flat_map(|member| member.status().problems).take(3).collect::<Vec<_>>();
    tokio::time::timeout(PATIENCE, waiting).await.with_context(|| format!("{what}: not there; {:?}", problems()))
}

/// Numbers of members and groups that explain what was measured best (least squares, none below zero).
fn fit(members: &[Members]) -> Fit {
    let solve = |of: &dyn Fn(&Members) -> f64| {
        let sum = |f: &dyn Fn(&Members) -> f64| members.iter().map(f).sum::<f64>();
        let (m, g) = (|one: &Members| one.members as f64, |one: &Members| one.groups as f64);
        let (mm, mg, gg) = (sum(&|o| m(o) * m(o)), sum(&|o| m(o) * g(o)), sum(&|o| g(o) * g(o)));
        let (my, gy) = (sum(&|o| m(o) * of(o)), sum(&|o| g(o) * of(o)));
        let determinant = mm * gg - mg * mg;
        if determinant.abs() < 1e-6 {
            return (my / mm, 0.0);
        }
        (((my * gg - gy * mg) / determinant).max(0.0), ((gy * mm - my * mg) / determinant).max(0.0))
    };
    let (cores_per_member, cores_per_group) = solve(&|one| one.cores);
    let (memory_kb_per_member, memory_kb_per_group) = solve(&|one| one.memory_kb);
    let (_, written_per_group) = solve(&|one| one.written_bytes_per_second);
    Fit { cores_per_member, cores_per_group, memory_kb_per_member, memory_kb_per_group, written_per_group }
}

/// Ends of many at once, in any order.
pub async fn side_by_side<F: Future<Output = Result<()>>>(all: Vec<F>) -> Result<()> {
    let count = all.len().max(1);
    futures_util::stream::iter(all).buffer_unordered(count).try_collect().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_members_and_groups_cost_is_told_apart() {
        let of = |members: usize, groups: usize| Members {
            members,
            group_size: members / groups,
            groups,
            memory_kb: members as f64 * 20.0 + groups as f64 * 500.0,
            cores: members as f64 * 0.001 + groups as f64 * 0.01,
            written_bytes_per_second: 0.0,
            messages_per_second: 0.0,
            bytes_per_second: 0.0,
            management_per_second: 0.0,
            ha_assets_per_server: 0.0,
            simulated_messages_per_second: None,
        };
        let fit = fit(&[of(300, 30), of(300, 3), of(300, 1)]);
        assert!((fit.cores_per_member - 0.001).abs() < 1e-9 && (fit.cores_per_group - 0.01).abs() < 1e-9, "{fit:?}");
        assert!((fit.memory_kb_per_member - 20.0).abs() < 1e-6 && (fit.memory_kb_per_group - 500.0).abs() < 1e-6);
    }
}
