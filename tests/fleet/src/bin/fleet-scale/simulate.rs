//! Groups of one size, simulated: at rest, with one interruption, with a zone that goes, without their leader, after all connections were
//! lost.
//!
//! Inputs: the size, the settings. Outputs: what was counted, per second or for one occasion. The members are the crate's own
//! (`cloudsnooze_fleet::traffic`). It must never count the start of a group as rest.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cloudsnooze_fleet::traffic::{Call, Group, Tally, Times, Traffic};
use cloudsnooze_fleet::{Settings, Step};
use serde::Serialize;

use crate::Args;

/// A group finds its leader, and everybody is known.
const START: Duration = Duration::from_secs(30);
/// What the servers need to keep a write, about as they were measured.
const WRITE: Duration = Duration::from_millis(5);
/// A member's work, and the notice it has for that.
const WORK: Duration = Duration::from_secs(10);
const NOTICE: Duration = Duration::from_secs(120);
/// How long an occasion is watched.
const OCCASION: Duration = Duration::from_secs(120);
/// A lost leader is followed by then.
const SHORT: Duration = Duration::from_secs(20);
/// By then all have looked at their streams again whose connections were lost.
const LOOKED_AGAIN: Duration = Duration::from_secs(65);
/// All connections are back within this time; the clients spread over it by themselves.
const RECONNECT: Duration = Duration::from_secs(2);
/// Groups are spread over so many zones.
const ZONES: usize = 3;

/// What one occasion costs beyond the rest.
#[derive(Clone, Debug, Serialize)]
pub struct Occasion {
    /// Messages and bytes more than at rest.
    pub messages: f64,
    pub bytes: f64,
    /// Writes to disk more than at rest.
    pub disk_writes: f64,
    /// Requests to the management of streams, more than at rest.
    pub management: f64,
    /// The busiest second, all in all.
    pub busiest_messages: u64,
    pub busiest_bytes: u64,
    /// The longest plan that was written, bytes on the wire; 0 where none was.
    pub plan_bytes: u64,
    pub plan_writes: u64,
    /// What an event takes in the servers' store, bytes; 0 where there was none.
    pub event_bytes: f64,
    /// How long until the operation was over, where there was one.
    pub seconds: Option<f64>,
    /// Members that acted without the group.
    pub alone: u64,
}

/// A group of one size.
#[derive(Clone, Debug, Serialize)]
pub struct Simulated {
    pub size: usize,
    /// At rest, for so long.
    pub rest: Traffic,
    pub interruption: Occasion,
    /// Nothing for groups beyond the largest that was asked for.
    pub zone: Option<Occasion>,
    /// How many of the zone went.
    pub zone_size: usize,
    pub leader_lost: Occasion,
    pub reconnect: Occasion,
}

impl Simulated {
    /// A tally at rest, each second.
    pub fn per_second(&self, fits: impl Fn(Call) -> bool) -> PerSecond {
        PerSecond::of(&self.rest.sum(fits), self.rest.seconds)
    }
}

/// A tally by the second.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PerSecond {
    pub asked: f64,
    pub messages: f64,
    pub bytes: f64,
}

impl PerSecond {
    fn of(tally: &Tally, seconds: f64) -> Self {
        let each = |count: u64| count as f64 / seconds;
        Self { asked: each(tally.asked), messages: each(tally.messages()), bytes: each(tally.bytes()) }
    }
}

/// How a number grows with the size of the group: as its power.
#[derive(Clone, Debug, Serialize)]
pub struct Growth {
    pub what: String,
    pub power: f64,
}

/// The settings of a member: a tenth are load balancers that react, one is the primary, the rest are replicas.
pub fn settings(args: &Args, group: &str, number: usize, size: usize, servers: &[String], replicas: u8) -> Settings {
    let role = match number {
        0 => "primary",
        _ if number <= (size / 10).max(1) => "lb",
        _ => "replica",
    };
    let step = |role: &str, reacts| Step { role: role.to_owned(), timeout_seconds: 40.0, most_at_once: None, reacts };
    Settings {
        group: group.to_owned(),
        role: role.to_owned(),
        member: None,
        servers: servers.to_vec(),
        credentials: None,
        nkey_file: None,
        tls: None,
        steps: vec![step("lb", true), step("replica", false), step("primary", false)],
        may_lead: args.may_lead.is_none_or(|most| number < most),
        lease_seconds: args.lease,
        heartbeat_seconds: args.heartbeat,
        replicas,
        gather_seconds: 1.0,
        work_seconds: WORK.as_secs_f64(),
        unfenced: false,
    }
}

/// Names as long as those of the clouds.
pub fn name(number: usize) -> String {
    format!("i-0f3a9c4e{number:09x}")
}

fn group(args: &Args, size: usize) -> Result<Group> {
    let servers = ["nats://10.0.0.5:4222".to_owned()];
    let of = |number| (name(number), settings(args, "group-00042", number, size, &servers, 3));
    let mut group = Group::new((0..size).map(of).collect(), Times { write: WRITE, work: WORK }, size as u64);
    group.run(START.max(Duration::from_secs_f64(args.heartbeat * 2.0)));
    group.leader().context("a group of this size finds no leader")?;
    let _start = group.take();
    Ok(group)
}

/// Simulates groups of one size.
///
/// # Errors
/// One does not do what a group without faults does.
pub fn simulate(args: &Args, size: usize) -> Result<Simulated> {
    let mut calm = group(args, size)?;
    let seconds = (args.rest * 60).saturating_mul(100) / (size as u64).max(100);
    calm.run(Duration::from_secs(seconds.max(60)));
    let rest = calm.take();
    let leader = calm.leader().context("nobody leads at rest")?;
    // Who leads and goes hands over; that is not what is looked at here.
    let others: Vec<String> = (1..size).rev().map(name).filter(|name| *name != leader).collect();
    let zone_size = (size / ZONES).max(1);
    let interruption = occasion(&mut group(args, size)?, &rest, OCCASION, |group| group.leave(&others[..1], NOTICE));
    let goes = |group: &mut Group| group.leave(&others[..zone_size], NOTICE);
    let zone = match size <= args.zone_up_to {
        true => Some(occasion(&mut group(args, size)?, &rest, OCCASION, goes)),
        false => None,
    };
    let is_over = |of: &Occasion| of.seconds.is_some();
    ensure!(
        is_over(&interruption) && zone.as_ref().is_none_or(is_over),
        "an operation in a group of {size} is not over"
    );
    let leader_lost = occasion(&mut group(args, size)?, &rest, SHORT, |group| group.kill(&leader));
    let reconnect = occasion(&mut group(args, size)?, &rest, LOOKED_AGAIN, |group| group.reconnects(RECONNECT));
    Ok(Simulated { size, rest, interruption, zone, zone_size, leader_lost, reconnect })
}

fn occasion(group: &mut Group, rest: &Traffic, length: Duration, happens: impl FnOnce(&mut Group)) -> Occasion {
    let begun = group.elapsed();
    happens(group);
    group.run(length);
    let traffic = group.take();
    let (over, alone) = group.outcome();
    let more = |of: &dyn Fn(&Traffic) -> u64| of(&traffic) as f64 - of(rest) as f64 / rest.seconds * traffic.seconds;
    let plan = traffic.sum(|call| call == Call::WritePlan);
    let sent = traffic.sum(|call| call == Call::Send);
    Occasion {
        messages: more(&|traffic| traffic.total().messages()),
        bytes: more(&|traffic| traffic.total().bytes()),
        disk_writes: more(&|traffic| traffic.sum(Call::is_on_disk).asked),
        management: more(&|traffic| traffic.sum(Call::is_management).asked),
        busiest_messages: traffic.busiest.messages(),
        busiest_bytes: traffic.busiest.bytes(),
        plan_bytes: traffic.longest_plan,
        plan_writes: plan.asked,
        event_bytes: if sent.asked == 0 { 0.0 } else { sent.asked_bytes as f64 / sent.asked as f64 },
        seconds: over.map(|over| over.saturating_sub(begun).as_secs_f64()),
        alone,
    }
}

/// A number of a zone that goes; none where that was not simulated.
pub fn of_zone(of: &Simulated, number: impl Fn(&Occasion) -> f64) -> f64 {
    of.zone.as_ref().map_or(f64::NAN, number)
}

/// How the numbers of the groups grow with their size, by least squares of the logarithms.
pub fn growth(simulated: &[Simulated]) -> Vec<Growth> {
    let of = |what: &str, number: &dyn Fn(&Simulated) -> f64| {
        let points: Vec<(f64, f64)> = simulated
            .iter()
            .map(|simulated| ((simulated.size as f64).ln(), number(simulated).ln()))
            .filter(|(_, y)| y.is_finite())
            .collect();
        let count = points.len() as f64;
        let (x, y) = (points.iter().map(|p| p.0).sum::<f64>() / count, points.iter().map(|p| p.1).sum::<f64>() / count);
        let (xy, xx) =
            points.iter().fold((0.0, 0.0), |(xy, xx), p| (xy + (p.0 - x) * (p.1 - y), xx + (p.0 - x).powi(2)));
        Growth { what: what.to_owned(), power: xy / xx }
    };
    if simulated.len() < 2 {
        return Vec::new();
    }
    vec![
        of("messages at rest", &|one| one.per_second(|_| true).messages),
        of("bytes at rest", &|one| one.per_second(|_| true).bytes),
        of("writes to disk at rest", &|one| one.per_second(Call::is_on_disk).asked),
        of("bytes of one interruption", &|one| one.interruption.bytes),
        of("bytes of a zone", &|one| of_zone(one, |zone| zone.bytes)),
        of("busiest second of a zone, bytes", &|one| of_zone(one, |zone| zone.busiest_bytes as f64)),
        of("plan of a zone, bytes", &|one| of_zone(one, |zone| zone.plan_bytes as f64)),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn counts_of_a_simulated_group_hold_together() {
        let args = Args::parse_from(["fleet-scale", "--rest", "5", "--heartbeat", "2"]);
        let (ten, thirty) = (simulate(&args, 10).expect("simulated"), simulate(&args, 30).expect("simulated"));
        for of in [&ten, &thirty] {
            let present = of.per_second(|call| call == Call::Present).asked;
            assert!((present * args.heartbeat / of.size as f64 - 1.0).abs() < 0.03, "{present} of {}", of.size);
            let renewed = of.per_second(|call| call == Call::RenewLease).asked;
            assert!((renewed * args.lease / 4.0 - 1.0).abs() < 0.03, "{renewed}");
            let zone = of.zone.as_ref().expect("small enough");
            assert_eq!(zone.alone + of.interruption.alone, 0);
            assert!(zone.plan_bytes < zone.busiest_bytes && zone.bytes > of.interruption.bytes);
            assert!((of.reconnect.management - of.size as f64 * 5.0).abs() < 10.0, "{:?}", of.reconnect);
        }
        let growth = growth(&[ten, thirty]);
        let power = |what: &str| growth.iter().find(|growth| growth.what == what).expect("known").power;
        assert!(power("messages at rest") > 0.8 && power("messages at rest") < 1.2);
        assert!(power("writes to disk at rest").abs() < 0.05, "a lease is a group's, whatever its size");
        assert!(power("bytes of a zone") > 1.5);
    }
}
