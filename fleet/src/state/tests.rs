//! A group of members against a store, in a world without real time: what breaks, and what has to hold all the same.
//! Inputs: faults, some by chance. It must never be kinder than the real servers.

use proptest::prelude::*;

use super::*;

mod world;

use world::{World, at, ms};

/// Two load balancers, three replicas and a primary go, except the load balancers, and `done` when their operation is over.
fn group_that_leaves() -> World {
    let mut world = World::new(&["lb1", "lb2", "replica1", "replica2", "replica3", "primary1"]);
    world.run_until(ms(3000));
    for member in ["replica1", "replica2", "primary1"] {
        world.leaves(member, 120);
    }
    world
}

/// What has to hold whatever happens; and for a group that was left enough time, its one operation.
fn judge(world: &World) {
    world.assert_nothing_twice();
    world.assert_order();
    assert_eq!(world.completions().len(), 1, "{:#?}", world.log);
}

#[test]
fn an_operation_runs_in_order_and_completes_once() {
    let mut world = group_that_leaves();
    world.run_until(ms(12_000));
    judge(&world);
    assert!(world.begins().count() >= 5, "{:#?}", world.log);
    assert_eq!(world.alone(), 0);
    let status = world.status("replica3");
    assert!(status.operation.is_some_and(|operation| operation.complete && operation.missing.is_empty()));
    let leader = status.leader.expect("somebody leads");
    assert_eq!(world.status(&leader).members.len(), 6);
}

#[test]
fn a_member_that_was_lost_and_comes_back_has_joined_whenever_that_is() {
    // Three heartbeats are 15 s; then it is lost, but what it said of itself may still be in the store.
    for back_after in (16_000..34_000).step_by(500) {
        let mut world = World::new(&["lb1", "lb2", "replica1"]);
        world.run_until(ms(3000));
        let leader = world.leader().expect("somebody leads");
        let other = world.names().into_iter().find(|name| *name != leader).expect("another one");
        world.kill(&other);
        world.run_until(ms(3000 + back_after));
        let back = at(3000 + back_after);
        world.start_again(&other);
        world.run_until(ms(3000 + back_after + 11_000));
        let joined = format!("joined {other}");
        let told = world.log.iter().filter(|line| line.what == joined && line.at >= back && line.member == leader);
        assert_eq!(told.count(), 1, "back after {back_after} ms: {:#?}", world.log);
    }
}

#[test]
fn a_new_leader_does_not_take_for_there_who_was_lost_before() {
    let mut world = World::new(&["lb1", "lb2", "replica1", "replica2"]);
    world.run_until(ms(3000));
    let leader = world.leader().expect("somebody leads");
    let other = world.names().into_iter().find(|name| *name != leader).expect("another one");
    world.kill(&other);
    world.run_until(ms(25_000));
    world.kill(&leader);
    // It leads and has read the store, which keeps what the lost one said for minutes.
    world.run_until(ms(33_000));
    let next = world.leader().expect("somebody leads");
    let known: Vec<String> = world.status(&next).members.into_iter().map(|member| member.member).collect();
    assert!(next != leader && !known.contains(&other) && known.len() >= 2, "{known:?}");
}

#[test]
fn who_missed_the_end_hears_of_it_as_it_was_though_another_leads_by_then() {
    let mut world = group_that_leaves();
    world.run_until(ms(3600));
    let leader = world.leader().expect("somebody leads");
    let away =
        world.names().into_iter().find(|name| *name != leader && name.starts_with("replica3")).expect("one that stays");
    let epoch = world.status(&leader).epoch;
    world.cut_off(&away, true);
    world.run_until(ms(15_000));
    assert_eq!(world.completed_under.iter().copied().collect::<Vec<_>>(), [epoch]);
    world.kill(&leader);
    world.run_until(ms(25_000));
    let next = world.leader().expect("somebody leads");
    assert!(world.status(&next).epoch > epoch);
    world.cut_off(&away, false);
    world.run_until(ms(40_000));
    let heard = world.log.iter().filter(|line| line.member == away && line.what == "completed");
    assert_eq!((heard.count(), world.completed_under.iter().copied().collect::<Vec<_>>()), (1, vec![epoch]));
}

#[test]
fn a_leader_that_dies_is_followed_by_another_under_a_higher_epoch() {
    let mut world = group_that_leaves();
    world.run_until(ms(3600));
    let leader = world.leader().expect("somebody leads");
    let epoch = world.status(&leader).epoch;
    world.kill(&leader);
    world.run_until(ms(25_000));
    world.assert_nothing_twice();
    world.assert_order();
    assert_eq!(world.completions().len(), 1, "{:#?}", world.log);
    let next = world.leader().expect("somebody leads");
    assert!(next != leader && world.status(&next).epoch > epoch);
    assert_eq!(world.alone(), 0, "{:#?}", world.log);
}

#[test]
fn a_leader_that_comes_late_holds_nobody_back_for_notices_that_all_have_heard_of() {
    let begun = |seed| {
        let mut world = World::new(&["lb1", "replica1", "watch1", "watch2", "watch3"]);
        world.seed(seed);
        world.work_takes(ms(100));
        world.run_until(ms(3000));
        world.leader().filter(|leader| leader.starts_with("watch")).map(|leader| (world, leader))
    };
    let (mut held_back, mut runs) = (0, 0);
    for (mut world, leader) in (1..50).filter_map(begun) {
        world.leaves("replica1", 120);
        world.kill(&leader);
        world.run_until(ms(25_000));
        judge(&world);
        let first = |role: &str| world.begins().find(|line| line.member.starts_with(role)).map(|line| line.at);
        let (lb, replica) = (first("lb").expect("a step"), first("replica").expect("a turn"));
        assert!(lb > at(5000), "the next leader came late: {:#?}", world.log);
        // `gather_seconds` is one. An answer that is lost on its way takes as long, and a twentieth of them is.
        (held_back, runs) = (held_back + usize::from(replica > lb.after(ms(900))), runs + 1);
    }
    assert!(runs > 20 && held_back * 4 < runs, "{held_back} of {runs}");
}

#[test]
fn a_leader_that_is_cut_off_steps_down_before_another_leads() {
    let mut world = group_that_leaves();
    world.run_until(ms(3600));
    let leader = world.leader().expect("somebody leads");
    world.cut_off(&leader, true);
    world.run_until(ms(3600 + 2400 + 50));
    assert!(!world.status(&leader).leads, "its own clock says that its lease is over");
    world.run_until(ms(14_000));
    world.cut_off(&leader, false);
    world.run_until(ms(30_000));
    world.assert_nothing_twice();
    assert_eq!(world.completions().len(), 1, "{:#?}", world.log);
}

#[test]
fn a_leader_that_slept_through_its_lease_is_not_obeyed() {
    let mut world = group_that_leaves();
    world.run_until(ms(3600));
    let leader = world.leader().expect("somebody leads");
    world.pause(&leader, true);
    world.run_until(ms(9000));
    world.pause(&leader, false);
    world.run_until(ms(40_000));
    world.assert_nothing_twice();
    world.assert_order();
    assert_eq!(world.completions().len(), 1, "{:#?}", world.log);
}

#[test]
fn without_a_quorum_everybody_acts_alone_within_the_cap() {
    let mut world = World::new(&["lb1", "replica1", "primary1"]);
    world.run_until(ms(3000));
    world.store_refuses(true);
    world.leaves("replica1", 120);
    world.leaves("primary1", 30);
    world.run_until(ms(30_000));
    world.assert_nothing_twice();
    let begins: Vec<(String, Boot)> = world.begins().map(|line| (line.member.clone(), line.at)).collect();
    assert_eq!(world.alone(), 2, "{:#?}", world.log);
    for (member, cap) in [("replica1", 13_000), ("primary1", 9000)] {
        let begun = begins.iter().find(|(name, _)| name == member).map(|(_, at)| *at);
        assert!(begun.is_some_and(|begun| begun >= at(cap) && begun <= at(cap + 50)), "{member}: {begun:?}");
    }
}

#[test]
fn a_store_that_lost_everything_does_not_bring_old_epochs_back() {
    let mut world = group_that_leaves();
    world.run_until(ms(12_000));
    let epoch = world.status("lb1").epoch;
    world.store_loses_everything();
    world.run_until(ms(25_000));
    world.leaves("replica3", 120);
    world.run_until(ms(60_000));
    world.assert_nothing_twice();
    assert!(world.status("lb1").epoch > epoch, "{:#?}", world.log);
    assert_eq!(world.completions().len(), 2, "{:#?}", world.log);
    assert_eq!(world.alone(), 0, "{:#?}", world.log);
}

#[test]
fn a_member_that_dies_after_its_work_answers_when_it_is_started_again() {
    let mut world = group_that_leaves();
    world.run_until(ms(3000));
    world.loses_acks("primary1", true);
    world.run_until(ms(8000));
    assert_eq!(world.completions().len(), 0, "{:#?}", world.log);
    world.kill("primary1");
    world.loses_acks("primary1", false);
    world.start_again("primary1");
    world.leaves("primary1", 100);
    world.run_until(ms(20_000));
    judge(&world);
    assert!(world.log.iter().any(|line| line.what == "begun before"), "{:#?}", world.log);
}

#[test]
fn a_leader_that_goes_gives_the_lease_to_one_that_stays() {
    let mut world = World::new(&["lb1", "replica1", "primary1"]);
    world.run_until(ms(3000));
    let leader = world.leader().expect("somebody leads");
    world.leaves(&leader, 120);
    world.run_until(ms(4000));
    let next = world.leader().expect("somebody leads");
    assert_ne!(next, leader, "{:#?}", world.log);
    world.run_until(ms(12_000));
    judge(&world);
    assert_eq!(world.alone(), 0);
}

#[test]
fn the_last_one_that_may_lead_goes_on_leading() {
    let mut world = World::new(&["primary1"]);
    world.run_until(ms(3000));
    world.leaves("primary1", 120);
    world.run_until(ms(12_000));
    judge(&world);
    assert_eq!((world.leader(), world.alone()), (Some("primary1".to_owned()), 0));
}

#[test]
fn a_second_notice_is_merged_into_the_operation_that_runs() {
    let mut world = group_that_leaves();
    world.run_until(ms(3500));
    world.leaves("replica3", 60);
    world.run_until(ms(20_000));
    judge(&world);
    assert_eq!(world.alone(), 0, "{:#?}", world.log);
    assert!(world.begins().any(|line| line.member == "replica3"));
}

#[test]
fn a_withdrawn_notice_is_told_and_not_waited_for() {
    let mut world = group_that_leaves();
    world.run_until(ms(3100));
    world.stays("primary1");
    world.run_until(ms(12_000));
    judge(&world);
    assert!(!world.begins().any(|line| line.member == "primary1"), "{:#?}", world.log);
    // One of them may have lost the letter.
    assert!(world.log.iter().any(|line| line.member.starts_with("lb") && line.what == "stays primary1"));
}

#[test]
fn events_are_told_once_also_when_they_come_twice_or_were_missed() {
    let mut world = World::new(&["lb1", "primary1"]);
    world.run_until(ms(3000));
    world.publish("primary1", 7);
    world.run_until(ms(3100));
    world.cut_off("lb1", true);
    world.publish("primary1", 8);
    world.run_until(ms(5000));
    world.cut_off("lb1", false);
    world.run_until(ms(9000));
    let heard = |event: &str| world.times("lb1", event);
    assert_eq!((heard("heard 7"), heard("heard 8 again")), (1, 1), "{:#?}", world.log);
}

#[test]
fn what_a_replica_did_not_have_yet_is_found_a_moment_later_or_when_servers_have_a_leader_again() {
    // Its connection is back after three seconds: then the replica that it asks lacks what happened just before.
    for (lag, until) in [(3500, 14_000), (12_000, 34_000)] {
        let mut world = World::new(&["lb1", "primary1"]);
        world.publish("primary1", 7);
        world.run_until(ms(3000));
        world.replicas_lag(ms(lag));
        world.cut_off("lb1", true);
        world.run_until(ms(5850));
        world.publish("primary1", 8);
        world.run_until(ms(5900));
        world.cut_off("lb1", false);
        world.run_until(ms(until));
        let again = world.times("lb1", "heard 8 again");
        assert_eq!(again, 1, "{:#?}", world.log);
    }
}

#[test]
fn events_of_the_time_away_are_asked_for_until_there_is_an_answer() {
    let mut world = World::new(&["lb1", "primary1"]);
    world.publish("primary1", 7);
    world.run_until(ms(3000));
    world.cut_off("lb1", true);
    world.run_until(ms(5850));
    world.publish("primary1", 8);
    world.store_refuses_events(true);
    world.run_until(ms(5900));
    world.cut_off("lb1", false);
    world.run_until(ms(18_000));
    world.store_refuses_events(false);
    world.run_until(ms(23_000));
    let again = world.times("lb1", "heard 8 again");
    assert_eq!(again, 1, "{:#?}", world.log);
}

#[test]
fn who_has_just_come_and_loses_its_connection_hears_what_was_told_meanwhile() {
    let mut world = World::new(&["lb1", "primary1"]);
    world.publish("primary1", 7);
    world.run_until(ms(1000));
    // For a moment nobody can read a stream that was just made.
    world.store_refuses_events(true);
    world.start_anew("replica1");
    world.run_until(ms(1050));
    world.cut_off("replica1", true);
    world.publish("primary1", 8);
    world.run_until(ms(4050));
    world.store_refuses_events(false);
    world.cut_off("replica1", false);
    world.run_until(ms(12_000));
    let heard = |event: &str| world.times("replica1", event);
    assert_eq!((heard("heard 8 again"), heard("heard 7 again")), (1, 0), "{:#?}", world.log);
}

#[test]
fn whose_presence_is_not_kept_goes_in_its_turn_all_the_same_because_its_letter_was_heard() {
    let mut by_leader = [0, 0];
    for seed in 1..40 {
        let mut world = World::new(&["lb1", "replica1", "primary1", "watch1", "watch2"]);
        world.seed(seed);
        world.run_until(ms(3000));
        let leader = world.leader().filter(|leader| leader.starts_with("watch"));
        let Some(leader) = leader else { continue };
        let is_leader_lost = seed % 2 == 0;
        by_leader[usize::from(is_leader_lost)] += 1;
        world.loses_presences("replica1", true);
        ["replica1", "primary1"].iter().for_each(|name| world.leaves(name, 120));
        world.run_until(ms(3030));
        if is_leader_lost {
            world.kill(&leader);
        }
        world.run_until(ms(8500));
        world.loses_presences("replica1", false);
        world.run_until(ms(25_000));
        let begun = |name: &str| world.begins().find(|line| line.member == name).map(|line| line.step);
        assert!(begun("replica1").is_some() && begun("replica1") < begun("primary1"), "{seed}: {:#?}", world.log);
        assert_eq!(world.times("lb1", "begins"), 1, "{seed}: {:#?}", world.log);
        judge(&world);
        assert_eq!(world.alone(), 0, "{seed}: {:#?}", world.log);
    }
    assert!(by_leader.into_iter().all(|worlds| worlds > 3), "{by_leader:?}");
}

#[test]
fn servers_that_take_no_plan_for_longer_than_a_step_cost_nobody_its_time() {
    let mut world = group_that_leaves();
    world.work_takes(ms(2000));
    world.run_until(ms(3060));
    world.store_refuses_plans(true);
    world.run_until(ms(12_500));
    world.store_refuses_plans(false);
    world.run_until(ms(40_000));
    judge(&world);
    assert_eq!((world.alone(), world.missing()), (0, 0), "{:#?}", world.log);
}

#[test]
fn who_comes_back_as_its_pass_runs_out_of_time_never_works_beside_the_next_pass() {
    let mut seen = [0, 0];
    for back in (3000 + 7800..3000 + 8400).step_by(20) {
        let mut world = group_that_leaves();
        world.work_takes(ms(2000));
        let leader = world.leader().expect("somebody leads");
        let late = if leader == "lb1" { "lb2" } else { "lb1" };
        world.pause(late, true);
        world.run_until(ms(back));
        world.pause(late, false);
        world.run_until(ms(60_000));
        let begun = world.begins().find(|line| line.member == late).map(|line| line.at);
        seen[usize::from(begun.is_some())] += 1;
        // What it says takes ten milliseconds at most on its way.
        let is_close =
            |line: &world::Line| begun.is_some_and(|begun| begun.after(ms(10)) > line.at && begun <= line.at);
        let gone_on = world.begins().any(|line| line.member.starts_with("replica") && is_close(line));
        if !gone_on {
            judge(&world);
        }
        assert_eq!(world.alone(), 0, "{:#?}", world.log);
    }
    assert!(seen.iter().all(|times| *times > 5), "{seen:?}");
}

#[test]
fn without_fencing_a_leader_that_slept_breaks_the_order() {
    let run = |unfenced: bool| {
        let mut world = World::unfenced(&["lb1", "lb2", "replica1", "replica2", "replica3", "primary1"], unfenced);
        world.run_until(ms(3000));
        for member in ["replica1", "replica2", "primary1"] {
            world.leaves(member, 120);
        }
        // The replicas are at work when the leader, asleep since they began, believes that they have had all the time that they may have.
        world.run_until(ms(3950));
        world.work_takes(ms(9000));
        world.run_until(ms(4250));
        let leader = world.leader().expect("somebody leads");
        world.pause(&leader, true);
        world.run_until(ms(12_250));
        world.pause(&leader, false);
        world.run_until(ms(70_000));
        world
    };
    let fenced = run(false);
    fenced.assert_nothing_twice();
    fenced.assert_order();
    let unfenced = run(true);
    assert!(unfenced.order_violations() > 0 || unfenced.completions().len() != 1, "{:#?}", unfenced.log);
}

/// A fault and when it happens.
#[derive(Clone, Copy, Debug)]
struct Fault {
    kind: u8,
    member: usize,
    begins: u64,
    lasts: u64,
}

fn fault() -> impl Strategy<Value = Fault> {
    (0..4_u8, 0..6_usize, 3000..9000_u64, 100..8000_u64).prop_map(|(kind, member, begins, lasts)| Fault {
        kind,
        member,
        begins,
        lasts,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Members that are cut off, stand still or are started again, a store that refuses: nothing is done twice, whoever leaves does its
    /// work in time, no member obeys a lower epoch than it has seen, and while nobody acts alone the order holds.
    #[test]
    fn faults_cost_neither_the_data_nor_the_order(faults in proptest::collection::vec(fault(), 0..4), seed in any::<u64>()) {
        let mut world = group_that_leaves();
        world.seed(seed);
        let names: Vec<String> = world.names();
        let mut moments: Vec<(u64, Fault, bool)> = Vec::new();
        for fault in faults {
            moments.push((fault.begins, fault, true));
            moments.push((fault.begins + fault.lasts, fault, false));
        }
        moments.sort_by_key(|(moment, _, _)| *moment);
        for (moment, fault, begins) in moments {
            world.run_until(ms(moment));
            let name = &names[fault.member];
            match (fault.kind, begins) {
                (0, _) => world.cut_off(name, begins),
                (1, _) => world.pause(name, begins),
                (2, true) => { world.kill(name); world.start_again(name); world.leaves_again(name); }
                (2, false) => {}
                (_, _) => world.store_refuses(begins),
            }
        }
        world.run_until(ms(130_000));
        world.assert_nothing_twice();
        world.assert_epochs_grow();
        if world.alone() == 0 && world.missing() == 0 { world.assert_order(); }
        for member in ["replica1", "replica2", "primary1"] {
            let begun = world.begins().find(|line| line.member == member).map(|line| line.at);
            prop_assert!(begun.is_some_and(|begun| begun <= at(3000 + 119_300)), "{}: {:?}", member, begun);
        }
    }
}
