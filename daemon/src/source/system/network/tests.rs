//! Tests of the network's judgement. Inputs: changes as the kernel tells them, times of the test's own. Outputs: none. Must
//! never ask the kernel.

use super::super::alarms::{Alarms, Limit};
use super::*;
use crate::event::Event;
use proptest::prelude::*;

const SECOND_NS: i64 = 1_000_000_000;

fn at(seconds: i64) -> Moment {
    Moment { boot_ns: seconds * SECOND_NS, wall_ns: seconds * SECOND_NS }
}

fn link(is_up: bool, has_carrier: bool) -> Change {
    Change::Link(2, "eth0".into(), is_up, has_carrier)
}

fn address(is_there: bool) -> Change {
    Change::Address(2, IpAddr::from([10, 0, 0, 2]), true, is_there)
}

fn gateway() -> IpAddr {
    IpAddr::from([10, 0, 0, 1])
}

fn route(is_there: bool) -> Change {
    Change::Route(DefaultRoute { family: Family::V4, link: 2, gateway: Some(gateway()), metric: 0 }, is_there)
}

/// A network with one interface that has a default route, and what is told of it.
struct Stage {
    network: Network,
    alarms: Alarms,
}

impl Stage {
    fn new() -> Self {
        let network = Network::new(&NetworkWatch::default()).expect("no descriptors are needed");
        let mut stage = Self { network, alarms: Alarms::new(Limit { events_max: 1_000, window_ns: SECOND_NS }) };
        assert_eq!(stage.see([link(true, true), address(true), route(true)], 0), Vec::<String>::new());
        stage
    }

    /// What is told when this has happened: `EVENT check state`.
    fn see(&mut self, changes: impl IntoIterator<Item = Change>, seconds: i64) -> Vec<String> {
        self.events(changes, seconds).iter().map(told).collect()
    }

    fn events(&mut self, changes: impl IntoIterator<Item = Change>, seconds: i64) -> Vec<Event> {
        changes.into_iter().for_each(|change| self.network.net.apply(change));
        let mut desk = Desk::over(&mut self.alarms);
        self.network.choose(&desk);
        self.network.judge(at(seconds), &mut desk);
        desk.into_events()
    }
}

fn told(event: &Event) -> String {
    let word = event.event_type.as_str().rsplit('.').next().unwrap_or_default();
    let text = |key: &str| event.extra[key].as_str().unwrap_or_default().to_owned();
    format!("{word} {} {}", text("check"), text("state"))
}

#[test]
fn a_link_that_goes_down_is_one_failure_after_a_moment_and_one_recovery() {
    let mut stage = Stage::new();
    assert_eq!(stage.see([link(false, false), address(false)], 10), Vec::<String>::new(), "it may come back");
    assert_eq!(stage.see([], 12), ["failure interface down"], "its route is not told of besides");
    assert_eq!(stage.see([link(true, true)], 20), Vec::<String>::new());
    let back = stage.see([address(true), route(true)], 21);
    assert_eq!(back, Vec::<String>::new(), "well, but not for long enough");
    assert_eq!(stage.see([], 23), ["recovered interface well"]);
}

#[test]
fn what_comes_back_within_the_time_is_not_told() {
    let mut stage = Stage::new();
    assert!(stage.see([link(true, false)], 10).is_empty());
    assert!(stage.see([link(true, true)], 11).is_empty());
    assert!(stage.see([], 99).is_empty());
}

#[test]
fn a_route_that_is_lost_and_a_gateway_that_fails_are_told_apart() {
    let mut stage = Stage::new();
    stage.see([route(false)], 10);
    assert_eq!(stage.see([], 12), ["failure route no-default-route"]);
    stage.see([route(true)], 20);
    assert_eq!(stage.see([], 22), ["recovered route well"]);
    stage.see([Change::Neighbour(2, gateway(), Neighbour::Failed)], 30);
    assert_eq!(stage.see([], 32), ["failure route gateway-failed"]);
    stage.see([Change::Neighbour(2, gateway(), Neighbour::Reached)], 40);
    assert_eq!(stage.see([], 42), ["recovered route well"]);
    let other = IpAddr::from([10, 0, 0, 7]);
    stage.see([Change::Neighbour(2, other, Neighbour::Failed)], 50);
    assert_eq!(stage.see([], 52), Vec::<String>::new(), "another machine is nobody's gateway");
}

#[test]
fn an_interface_without_an_address_or_gone_is_told_as_that() {
    let mut stage = Stage::new();
    stage.see([address(false)], 10);
    assert_eq!(stage.see([], 12), ["failure interface no-address"]);
    stage.see([address(true), route(true)], 13);
    stage.see([], 15);
    stage.see([Change::LinkGone(2)], 20);
    let events = stage.events([], 22);
    assert_eq!(events.iter().map(told).collect::<Vec<_>>(), ["failure interface missing"]);
    assert_eq!(events[0].resources, ["eth0"]);
}

#[test]
fn a_route_that_is_lost_stays_lost_while_its_interface_is_down_too() {
    let mut stage = Stage::new();
    stage.see([route(false)], 10);
    assert_eq!(stage.see([], 12), ["failure route no-default-route"]);
    stage.see([link(false, false)], 20);
    assert_eq!(stage.see([], 22), ["failure interface down"]);
    stage.see([link(true, true)], 30);
    assert_eq!(stage.see([], 32), ["recovered interface well"]);
    stage.see([route(true)], 40);
    assert_eq!(stage.see([], 42), ["recovered route well"]);
}

#[test]
fn with_its_last_address_an_interface_loses_its_routes() {
    let mut stage = Stage::new();
    stage.see([address(false)], 10);
    assert_eq!(stage.see([], 12), ["failure interface no-address"]);
    stage.see([address(true)], 20);
    let told = stage.see([], 22);
    assert_eq!(told, ["recovered interface well", "failure route no-default-route"], "nobody has put the route back");
}

#[test]
fn a_second_way_out_keeps_the_route_well() {
    let mut stage = Stage::new();
    let other = DefaultRoute { family: Family::V4, link: 3, gateway: None, metric: 600 };
    let wlan = Change::Link(3, "wlan0".into(), true, true);
    stage.see([wlan, Change::Address(3, gateway(), true, true), Change::Route(other, true)], 5);
    stage.see([link(true, false)], 10);
    assert_eq!(stage.see([], 12), ["failure interface no-carrier"]);
    assert_eq!(stage.network.net.route(Family::V4, |_| true), State::Well);
}

#[test]
fn what_was_told_before_a_restart_ends_after_it() {
    let mut before = Stage::new();
    before.see([link(false, false)], 10);
    let events = before.events([], 12);
    assert_eq!(events.len(), 1);
    let mut after = Stage { network: Network::new(&NetworkWatch::default()).expect("new"), alarms: before.alarms };
    let well = [link(true, true), address(true), route(true)];
    assert_eq!(after.see(well, 100), Vec::<String>::new());
    let ends = after.events([], 102);
    assert_eq!(ends.iter().map(told).collect::<Vec<_>>(), ["recovered interface well"]);
    assert_eq!(ends[0].extra["recovers"], events[0].id.to_string());
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<bool>(), any::<bool>()).prop_map(|(up, carrier)| link(up, carrier)),
        any::<bool>().prop_map(address),
        any::<bool>().prop_map(route),
        Just(Change::LinkGone(2)),
        Just(Change::Neighbour(2, gateway(), Neighbour::Failed)),
        Just(Change::Neighbour(2, gateway(), Neighbour::Reached)),
    ]
}

proptest! {
    #[test]
    fn however_it_flaps_a_subject_changes_at_most_once_within_the_time(
        steps in prop::collection::vec((any_change(), 0..3_i64), 1..80),
    ) {
        let mut stage = Stage::new();
        let mut last: BTreeMap<Vec<String>, i64> = BTreeMap::new();
        let mut now = 0;
        for (change, pause) in steps {
            now += pause;
            for event in stage.events([change], now) {
                let before = last.insert([event.resources.clone(), vec![told(&event)[..0].into()]].concat(), now);
                let is_apart = before.is_none_or(|before| now - before >= 2);
                prop_assert!(is_apart, "{} again after {:?}", told(&event), before);
            }
        }
    }
}
