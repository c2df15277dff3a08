//! One round: notices, what everybody makes of them, the end at the deadline, new machines.
//!
//! Inputs: a group, who goes, how much time there is. Outputs: facts. It must never kill a machine before its time, nor help a handler.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use fake_metadata::Action;
use harness::{program, wait};
use jiff::Timestamp;
use serde_json::Value;

use crate::PATIENCE;
use crate::evidence::{self, Wall};
use crate::group::{Group, LOOK, NAMES, said};
use crate::judge::{Facts, Kind, Leaver};

const EVENT: &str = "cloud.spot.interrupt";

/// How a round is played.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Time from the notice to the end, seconds; the cloud names whole ones, so that it may be one more.
    pub notice_seconds: u64,
    /// Machines end as soon as all have reported, not at the deadline.
    pub early: bool,
}

/// Plays a round. `second` says which of the two replicas goes where one does.
pub fn play(group: &mut Group, kind: Kind, second: bool, rules: Rules) -> Result<Facts> {
    let primary = group.primary;
    let replicas: Vec<usize> = (0..NAMES.len()).filter(|index| *index != primary).collect();
    let leaving = match kind {
        Kind::Replica => vec![replicas[usize::from(second)]],
        Kind::Primary => vec![primary],
        Kind::Zone => (0..NAMES.len()).collect(),
    };
    let from = evidence::now();
    // What was seen before is nobody's.
    let _before = group.writer.seen();
    let seconds = Timestamp::now().as_second() + 1 + i64::try_from(rules.notice_seconds)?;
    let deadline = Timestamp::from_second(seconds)?;
    for index in &leaving {
        group.machines[*index].cloud.notice(Action::Terminate, deadline);
    }
    let deadline = deadline.as_duration().as_secs_f64();
    let over = until_the_end(group, &leaving, deadline, from, rules)?;
    let said = group.said(from);
    let mut leavers = Vec::new();
    for (index, report) in leaving.iter().zip(over) {
        leavers.push(end(group, *index, report, from)?);
    }
    let due = if rules.early { from } else { deadline };
    let mut troubles = Vec::new();
    let mut missing = come_back(group, kind, &leaving, from, &mut troubles)?;
    group.until_ready()?;
    let seen = group.writer.seen();
    missing.extend(everywhere(group)?);
    let acknowledged = group.writer.count();
    let (refused_seconds, refusals) = (seen.longest_seconds, seen.refusals);
    Ok(Facts { kind, deadline: due, leavers, refused_seconds, refusals, acknowledged, missing, troubles, said })
}

/// Waits for the deadline, or until all reports are there where the rules say so. Gives the reports.
fn until_the_end(
    group: &mut Group,
    leaving: &[usize],
    deadline: Wall,
    from: Wall,
    rules: Rules,
) -> Result<Vec<Result<Value, String>>> {
    let is_over = |group: &mut Group| {
        // A process that has ended is collected, as init does.
        let ended = leaving.iter().filter(|index| group.machines[**index].server.has_ended()).count();
        evidence::now() >= deadline
            || (rules.early
                && ended == leaving.len()
                && leaving.iter().all(|index| report(group, *index, from).is_ok()))
    };
    let limit = Duration::from_secs(rules.notice_seconds + 30);
    wait::until("the end", limit, || is_over(group).then_some(())).map_err(said)?;
    Ok(leaving.iter().map(|index| report(group, *index, from)).collect())
}

/// The machine's report of this round's notice, if it is complete.
fn report(group: &Group, index: usize, from: Wall) -> Result<Value, String> {
    let daemon = group.machines[index].daemon.as_ref().ok_or("it has no daemon")?;
    let report = daemon.report_of(EVENT, Duration::ZERO)?;
    // Seen before this round began: another one's.
    if noticed(&report).is_none_or(|noticed| noticed < from - 0.01) {
        return Err("its daemon has not seen the notice".to_owned());
    }
    Ok(report)
}

fn noticed(report: &Value) -> Option<Wall> {
    report["detected"].as_str().and_then(evidence::at)
}

/// The machine ends, as the cloud ends it.
fn end(group: &mut Group, index: usize, report: Result<Value, String>, from: Wall) -> Result<Leaver> {
    let is_primary = index == group.primary;
    let machine = &mut group.machines[index];
    let killed = evidence::now();
    if let Some(mut daemon) = machine.daemon.take() {
        daemon.kill9();
    }
    machine.server.kill9().map_err(said)?;
    let log = machine.server.log();
    let stops = evidence::said(&log, evidence::STOPS, from);
    let backend = if is_primary { "writes" } else { "reads" };
    let (problems, alone) = problems(&report);
    Ok(Leaver {
        name: machine.name,
        is_primary,
        noticed: report.as_ref().ok().and_then(noticed),
        drained: evidence::drained(&group.balancer.log(), backend, machine.name, from),
        stops,
        stopped: stops.and_then(|stops| evidence::said(&log, evidence::STOPPED, stops)),
        killed,
        report: problems,
        alone,
    })
}

/// What did not work, and why it did not wait for the group.
fn problems(report: &Result<Value, String>) -> (Vec<String>, Option<String>) {
    let report = match report {
        Ok(report) => report,
        Err(why) => return (vec![format!("no report at its end: {why}")], None),
    };
    let handlers = report["handlers"].as_array().map_or(&[][..], Vec::as_slice);
    let failed = handlers.iter().filter(|handler| handler["status"] != "handled");
    let failed = failed.map(|handler| format!("{}: {}, {}", handler["handler"], handler["status"], handler["error"]));
    let alone = handlers.iter().find_map(|handler| {
        let result = &handler["result"];
        (result["turn"] == "alone").then(|| result["why"].as_str().unwrap_or("no reason").to_owned())
    });
    (failed.collect(), alone)
}

/// New machines come: with a copy of the primary's data, or, after the whole zone, with the old disks. Gives what is missing in the old
/// primary's data.
fn come_back(
    group: &mut Group,
    kind: Kind,
    leaving: &[usize],
    from: Wall,
    troubles: &mut Vec<String>,
) -> Result<Vec<(String, Vec<i64>)>> {
    group.until_missed(leaving)?;
    if kind == Kind::Zone {
        return zone_comes_back(group, troubles);
    }
    let primary = find_primary(group, leaving)?;
    if kind == Kind::Primary
        && evidence::said(&group.machines[primary].server.log(), evidence::PROMOTED, from).is_none()
    {
        troubles.push(format!("{} says nothing of a promotion", NAMES[primary]));
    }
    group.tell_roles(primary)?;
    for index in leaving {
        refill(group, *index, primary)?;
        group.start_daemon(*index)?;
    }
    Ok(Vec::new())
}

/// The one of those that stayed which is no replica.
fn find_primary(group: &Group, leaving: &[usize]) -> Result<usize> {
    let stayed: Vec<usize> = (0..NAMES.len()).filter(|index| !leaving.contains(index)).collect();
    let is_primary =
        |index: &usize| group.machines[*index].server.query("SELECT pg_is_in_recovery()").is_ok_and(|said| said == "f");
    let found = wait::until("a primary among those that stayed", LOOK, || stayed.iter().copied().find(is_primary));
    found.map_err(|error| anyhow!("{error}: nobody was promoted"))
}

fn refill(group: &mut Group, index: usize, primary: usize) -> Result<()> {
    let name = NAMES[index];
    let (before, from) = group.machines.split_at_mut(index.max(primary));
    let (replica, source) =
        if index < primary { (&mut before[index], &from[0]) } else { (&mut from[0], &before[primary]) };
    replica.server.refill(&source.server, name).map_err(said)
}

/// The last primary starts on its own data and is looked into before anybody else is there; then the others on theirs.
fn zone_comes_back(group: &mut Group, troubles: &mut Vec<String>) -> Result<Vec<(String, Vec<i64>)>> {
    let primary = last_primary(group)?;
    group.machines[primary].server.restart().map_err(said)?;
    let acknowledged = group.writer.acknowledged();
    let missing = lacking(group, primary, &acknowledged)?;
    group.tell_roles(primary)?;
    for index in (0..NAMES.len()).filter(|index| *index != primary) {
        if is_standby(group, index) {
            group.machines[index].server.restart().map_err(said)?;
            continue;
        }
        troubles.push(format!("{} and {} both were primaries", NAMES[index], NAMES[primary]));
        refill(group, index, primary)?;
    }
    for index in 0..NAMES.len() {
        group.start_daemon(index)?;
    }
    Ok(vec![(format!("{}, started again,", NAMES[primary]), missing)])
}

fn is_standby(group: &Group, index: usize) -> bool {
    group.machines[index].server.directory().join("data/standby.signal").exists()
}

/// Of those that are no replicas by their data, the one of the latest timeline.
fn last_primary(group: &Group) -> Result<usize> {
    let tool = harness::postgres::find("pg_controldata").context("there is no pg_controldata")?;
    let timeline = |index: usize| -> Result<u32> {
        let mut ask = std::process::Command::new(&tool);
        ask.env("LC_ALL", "C").arg(group.machines[index].server.directory().join("data"));
        let told = program::run(&mut ask, PATIENCE).and_then(|told| told.success("pg_controldata")).map_err(said)?;
        let line = told.lines().find_map(|line| line.strip_prefix("Latest checkpoint's TimeLineID:"));
        Ok(line.context("no timeline")?.trim().parse()?)
    };
    let mut latest = None;
    for index in (0..NAMES.len()).filter(|index| !is_standby(group, *index)) {
        latest = latest.max(Some((timeline(index)?, index)));
    }
    let Some((_, primary)) = latest else { bail!("all three are replicas") };
    Ok(primary)
}

/// Acknowledged rows that a server does not have.
fn lacking(group: &Group, index: usize, acknowledged: &[i64]) -> Result<Vec<i64>> {
    let rows = group.machines[index].server.query("SELECT number FROM ledger").map_err(said)?;
    let present: HashSet<i64> = rows.lines().filter_map(|row| row.parse().ok()).collect();
    Ok(acknowledged.iter().copied().filter(|number| !present.contains(number)).collect())
}

/// What is missing on each of the servers, the replicas as soon as they have replayed what the primary has now.
fn everywhere(group: &Group) -> Result<Vec<(String, Vec<i64>)>> {
    let acknowledged = group.writer.acknowledged();
    let end = group.machines[group.primary].server.query("SELECT pg_current_wal_lsn()").map_err(said)?;
    let mut missing = Vec::new();
    for (index, name) in NAMES.into_iter().enumerate() {
        if index != group.primary {
            let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{end}'");
            let has = || group.machines[index].server.query(&replayed).is_ok_and(|said| said == "t").then_some(());
            wait::until("a replica to replay", PATIENCE, has).map_err(said)?;
        }
        missing.push((name.to_owned(), lacking(group, index, &acknowledged)?));
    }
    Ok(missing)
}
