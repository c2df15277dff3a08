//! That what is counted is what members do: heartbeats as often as the settings say, one answer for each turn, one delivery for each ear.
//! Inputs: small groups. It must never need more than a second.

use super::*;

fn group(members: usize, may_lead: bool) -> Group {
    group_that_beats(members, may_lead, 5.0)
}

fn group_that_beats(members: usize, may_lead: bool, beat: f64) -> Group {
    let of = |number: usize| {
        let role = if number == 0 { "primary" } else { "replica" };
        let may_lead = may_lead || number == 0;
        let text = format!(
            r#"{{"group":"g","role":"{role}","servers":["nats://h"],"may_lead":{may_lead},"heartbeat_seconds":{beat}}}"#
        );
        (format!("m{number}"), serde_json::from_str(&text).expect("settings"))
    };
    let times = Times { write: Duration::from_millis(5), work: Duration::from_secs(1) };
    Group::new((0..members).map(of).collect(), times, 1)
}

fn near(found: u64, expected: f64) -> bool {
    (found as f64 - expected).abs() <= expected * 0.05 + 1.0
}

/// Ten minutes of ten members, after their start.
fn at_rest(may_lead: bool) -> (Group, Traffic) {
    let mut group = group(10, may_lead);
    group.run(Duration::from_secs(70));
    let _start = group.take();
    group.run(Duration::from_secs(600));
    let traffic = group.take();
    (group, traffic)
}

#[test]
fn a_group_at_rest_says_what_its_settings_say() {
    let (_group, traffic) = at_rest(true);
    let of = |call: Call| traffic.calls.get(&call).copied().unwrap_or_default();
    // Heartbeats every 5 s; the lease a quarter of 5 s after it was asked for the last time, heard by all.
    assert!(near(of(Call::Present).asked, 10.0 * 120.0), "{traffic:?}");
    assert!(near(of(Call::RenewLease).asked, 480.0), "{traffic:?}");
    assert_eq!(of(Call::RenewLease).delivered, of(Call::RenewLease).asked * 10);
    assert_eq!(of(Call::Present).delivered, of(Call::Present).asked, "the leader alone hears them");
    assert_eq!(
        of(Call::ReadMembers).answered,
        of(Call::ReadMembers).asked * 11,
        "all of them for one question, and a mark"
    );
    // What is told is enough at rest: the store is asked once a minute, by each for the plan and by the leader for the members.
    assert!((of(Call::ReadPlan).asked as f64 - 100.0).abs() <= 20.0 && of(Call::WritePlan).asked == 0, "{traffic:?}");
    assert!((1..=11).contains(&of(Call::ReadMembers).asked), "{traffic:?}");
    assert_eq!(traffic.total().asked, traffic.calls.values().map(|tally| tally.asked).sum::<u64>());
    assert!(traffic.total().bytes() > traffic.total().messages() * 20 && traffic.busiest.messages() > 0);
}

#[test]
fn a_large_group_beats_no_more_often_than_servers_bear_and_who_falls_silent_is_lost_all_the_same() {
    // As configured it would be 120 a second; three times as long is 40.
    let mut group = group_that_beats(60, false, 0.5);
    group.run(Duration::from_secs(20));
    let _start = group.take();
    group.run(Duration::from_secs(60));
    let traffic = group.take();
    let beats = traffic.calls.get(&Call::Present).copied().unwrap_or_default().asked;
    assert!(near(beats, 60.0 * 60.0 / 1.5), "{beats}");
    let known = |group: &Group| group.members.first().map_or(0, |one| one.core.status(group.now).members.len());
    assert_eq!(known(&group), 60);
    group.kill("m7");
    group.run(Duration::from_secs(3));
    assert_eq!(known(&group), 60, "three of its heartbeats are 4.5 s");
    group.run(Duration::from_secs(4));
    assert_eq!(known(&group), 59);
}

#[test]
fn renewals_reach_those_who_may_lead_and_the_others_look_at_the_store_with_each_heartbeat() {
    let (group, traffic) = at_rest(false);
    let of = |call: Call| traffic.calls.get(&call).copied().unwrap_or_default();
    assert_eq!(of(Call::RenewLease).delivered, of(Call::RenewLease).asked);
    assert!(near(of(Call::ReadLease).asked, 9.0 * 120.0), "{traffic:?}");
    assert!(group.members.iter().all(|one| one.core.status(group.now).leader.as_deref() == Some("m0")));
}

#[test]
fn an_operation_is_over_and_every_turn_is_answered_once() {
    [true, false].into_iter().for_each(an_operation_is_over);
}

fn an_operation_is_over(may_lead: bool) {
    let mut group = group(10, may_lead);
    group.run(Duration::from_secs(20));
    let leader = group.leader().expect("somebody leads");
    let _start = group.take();
    let going: Vec<String> = (1..5).map(|number| format!("m{number}")).filter(|name| *name != leader).collect();
    group.leave(&going, Duration::from_secs(120));
    group.run(Duration::from_secs(30));
    let traffic = group.take();
    let (over, alone) = group.outcome();
    assert!(over.is_some_and(|over| over < Duration::from_secs(30)) && alone == 0, "{over:?} {alone}");
    let of = |call: Call| traffic.calls.get(&call).copied().unwrap_or_default();
    assert_eq!(of(Call::Acknowledge).asked, going.len() as u64);
    assert_eq!(of(Call::Send).asked, going.len() as u64);
    assert_eq!(of(Call::Send).delivered, going.len() as u64 * 10);
    assert!(of(Call::WritePlan).asked >= 3 && of(Call::WritePlan).delivered == of(Call::WritePlan).asked * 10);
}

#[test]
fn another_leads_when_the_leader_is_gone_and_all_who_may_want_to() {
    let mut group = group(10, true);
    group.run(Duration::from_secs(20));
    let leader = group.leader().expect("somebody leads");
    let _start = group.take();
    group.kill(&leader);
    group.run(Duration::from_secs(10));
    let traffic = group.take();
    assert!(group.leader().is_some_and(|next| next != leader));
    let of = |call: Call| traffic.calls.get(&call).copied().unwrap_or_default().asked;
    assert!(of(Call::TakeLease) == 1 && of(Call::RefusedLease) < 9 * 4, "{traffic:?}");
    group.reconnects(Duration::from_secs(2));
    group.run(Duration::from_secs(3));
    let mut looked = group.take().calls.get(&Call::Prepare).map_or(0, |tally| tally.asked);
    assert!(looked < 9 * 5, "not all look at once: {looked}");
    group.run(Duration::from_secs(60));
    looked += group.take().calls.get(&Call::Prepare).map_or(0, |tally| tally.asked);
    // The one that is gone does not come back.
    assert_eq!(looked, 9 * 5);
}
