//! A whole fleet in groups of one size: what was simulated and measured, times as many as there are, and how many clusters that needs.
//!
//! Inputs: simulated groups, measured costs, limits. Outputs: numbers with their origin; for each limit the clusters of three servers
//! that keep below it. It must never add what happens at different times.

use cloudsnooze_fleet::traffic::Call;
use serde::Serialize;

use crate::Args;
use crate::limits::{ASSETS, CELL, Kind, Limit, Origin, RAFT_BEATS};
use crate::measure::Measured;
use crate::simulate::{Simulated, of_zone};

const DAY: f64 = 86_400.0;
const MONTH_DAYS: f64 = 30.0;

/// A number of the fleet.
#[derive(Clone, Debug, Serialize)]
pub struct Number {
    pub what: &'static str,
    pub value: f64,
    pub origin: Origin,
}

/// What one limit asks for.
#[derive(Clone, Debug, Serialize)]
pub struct Need {
    pub kind: Kind,
    /// Clusters of three servers; not rounded, so that one below 1 says how much is left.
    pub cells: f64,
}

/// A fleet in groups of one size.
#[derive(Clone, Debug, Serialize)]
pub struct Extrapolated {
    pub group_size: usize,
    pub groups: f64,
    pub numbers: Vec<Number>,
    pub needs: Vec<Need>,
    /// The limit that is reached first.
    pub first: Option<Kind>,
    /// The plan of a zone that goes, as a part of the longest message.
    pub plan_of_payload: f64,
}

/// Computes one.
pub fn extrapolate(args: &Args, of: &Simulated, measured: Option<&Measured>, limits: &[Limit]) -> Extrapolated {
    let instances = args.instances as f64;
    let groups = instances / of.size as f64;
    let needs: Vec<Need> = limits
        .iter()
        .filter_map(|limit| cells(of, groups, instances, limit).map(|cells| Need { kind: limit.kind, cells }))
        .collect();
    let first = needs.iter().max_by(|a, b| a.cells.total_cmp(&b.cells)).map(|need| need.kind);
    let payload = limits.iter().find(|limit| limit.kind == Kind::Payload).map_or(f64::NAN, |limit| limit.value);
    Extrapolated {
        group_size: of.size,
        groups,
        numbers: numbers(args, of, groups, measured),
        needs,
        first,
        plan_of_payload: of_zone(of, |zone| zone.plan_bytes as f64) / payload,
    }
}

fn numbers(args: &Args, of: &Simulated, groups: f64, measured: Option<&Measured>) -> Vec<Number> {
    let instances = args.instances as f64;
    let number = |what, value, origin| Number { what, value, origin };
    let rest = |fits: &dyn Fn(Call) -> bool| of.per_second(fits);
    let all = rest(&|_| true);
    let events = instances * args.interruptions / MONTH_DAYS;
    let reads = |call| matches!(call, Call::ReadLease | Call::ReadPlan | Call::ReadMembers | Call::Missed);
    let mut numbers = vec![
        number("connections", instances, Origin::Counted),
        number("groups", groups, Origin::Counted),
        number("streams and buckets", groups * ASSETS, Origin::Counted),
        number("their copies, R3", groups * ASSETS * CELL, Origin::Counted),
        number(
            "Raft messages each second of idle groups, at least",
            groups * ASSETS * RAFT_BEATS,
            Origin::Document("nats-server, server/raft.go, hbInterval: once a second"),
        ),
        number("messages each second", groups * all.messages, Origin::Simulated),
        number("bytes each second", groups * all.bytes, Origin::Simulated),
        number("writes to disk each second", groups * rest(&Call::is_on_disk).asked, Origin::Simulated),
        number("writes to memory each second", groups * rest(&Call::is_in_memory).asked, Origin::Simulated),
        number("reads each second", groups * rest(&reads).asked, Origin::Simulated),
        number("requests to the management each second", groups * rest(&Call::is_management).asked, Origin::Simulated),
        number("interruptions a day (assumed)", events, Origin::Counted),
        number("bytes of events kept for a day, R3", events * of.interruption.event_bytes * CELL, Origin::Simulated),
        number(
            "requests to the management in the minute after all reconnect",
            groups * of.reconnect.management,
            Origin::Simulated,
        ),
        number(
            "bytes of the busiest second when a zone goes",
            groups * of_zone(of, |zone| zone.busiest_bytes as f64),
            Origin::Simulated,
        ),
        number("bytes in all when a zone goes", groups * of_zone(of, |zone| zone.bytes), Origin::Simulated),
    ];
    if let Some(fit) = measured.map(|measured| &measured.fit) {
        let both = |member: f64, group: f64| member * instances + group * groups;
        numbers.extend([
            number("processors of the servers", both(fit.cores_per_member, fit.cores_per_group), Origin::Measured),
            number(
                "memory of the servers, bytes",
                both(fit.memory_kb_per_member, fit.memory_kb_per_group) * 1024.0,
                Origin::Measured,
            ),
            number("bytes written to disks each day", fit.written_per_group * groups * DAY, Origin::Measured),
        ]);
    }
    numbers
}

/// How many cells keep below a limit.
fn cells(of: &Simulated, groups: f64, instances: f64, limit: &Limit) -> Option<f64> {
    let whole = match limit.kind {
        Kind::HaAssets => groups * ASSETS,
        Kind::MetaState => groups * ASSETS * CELL,
        // One of the three may be down: two have all.
        Kind::Connections => instances / (CELL - 1.0),
        Kind::DiskWrites => groups * of.per_second(Call::is_on_disk).asked,
        // As if all of them came before the first is answered, which they may when all are started.
        Kind::Management => groups * of.reconnect.management / CELL,
        // More clusters do not make a plan shorter.
        Kind::Payload => return None,
    };
    Some(whole / limit.value)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{limits, simulate};

    #[test]
    fn as_many_groups_need_as_many_clusters() {
        let args = Args::parse_from(["fleet-scale", "--rest", "2", "--instances", "100000"]);
        let limits = limits::all(None);
        let of = simulate::simulate(&args, 10).expect("simulated");
        let fleet = extrapolate(&args, &of, None, &limits);
        let need = |kind| fleet.needs.iter().find(|need| need.kind == kind).expect("known").cells;
        assert!((need(Kind::HaAssets) - 50.0).abs() < 1e-9, "10,000 groups of five streams");
        assert!((need(Kind::Connections) - 50_000.0 / 65_536.0).abs() < 1e-9);
        assert_eq!(fleet.first, Some(Kind::HaAssets));
        assert!(fleet.plan_of_payload < 0.1);
    }
}
