//! The faults, one function each: what goes wrong, when, and what is allowed because of it.
//!
//! Inputs: a stage, a generator. Outputs: what everybody said. A fault decides what it strikes; it must never decide whether what came of
//! it is right.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::RngExt;
use rand::seq::IndexedRandom;

use crate::echo::Echo;
use crate::judge::Alone;
use crate::lines::{Line, Order, Said};
use crate::servers::COUNT;
use crate::stage::{LEADER_BAR, NOTICE, Played, Random, Run, STEP_SECONDS, Shape, Stage};

/// The same where servers were.
const SERVER_BAR: Duration = Duration::from_secs(12);
/// The same where the group has to wait for a member until its step's time is over.
const MEMBER_BAR: Duration = Duration::from_secs(STEP_SECONDS as u64 + 5);
/// Longest wait for the end of a run: by then everybody has acted alone.
const PATIENCE: Duration = Duration::from_secs(75);
/// What must not happen after a fault is over had the time to happen.
const AFTERWARDS: Duration = Duration::from_secs(4);
/// An hour.
const HOUR: i64 = 3600;

macro_rules! faults {
    ($($variant:ident $name:literal $play:ident $bar:expr, $about:literal;)*) => {
        /// A fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $(#[doc = $about] $variant,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// As it is named on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What happens.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)* }
            }

            /// How long an operation may take beyond the work.
            pub const fn bar(self) -> Option<Duration> {
                match self { $(Self::$variant => $bar,)* }
            }

            /// Plays it.
            ///
            /// # Errors
            /// The run cannot be played; what goes wrong in it is no error.
            pub fn play(self, stage: &mut Stage, random: Random) -> Result<Played> {
                let mut random = random;
                match self {
                    $(Self::$variant => {
                        let shape = shape(self, &mut random);
                        let mut run = Run::prepare(stage, &shape, random)?;
                        run.facts.bar = self.bar();
                        $play(&mut run)?;
                        run.over()
                    })*
                }
            }
        }
    };
}

faults! {
    Nothing "nothing" nothing Some(LEADER_BAR), "nothing goes wrong";
    ServerKilled "server-killed" server_killed Some(SERVER_BAR), "a server is killed, mostly the one that leads the plan";
    ServerIsolated "server-isolated" server_isolated Some(SERVER_BAR), "a server is cut off, mostly the one that leads the plan";
    TwoServersDown "two-servers-down" two_servers_down None, "two of three servers are down: events flow, nobody can lead";
    AllServersDown "all-servers-down" all_servers_down None, "all servers are killed, before the notices or amid the operation";
    LeaderKilled "leader-killed" leader_killed Some(LEADER_BAR), "the leader's process is killed";
    LeaderIsolated "leader-isolated" leader_isolated Some(LEADER_BAR), "the leader is cut off, and comes back";
    LeaderOneWay "leader-one-way" leader_one_way Some(LEADER_BAR), "what the leader sends is lost, or what it is sent";
    LeaderPaused "leader-paused" leader_paused Some(LEADER_BAR), "the leader is paused past its lease and goes on";
    StaleLeader "stale-leader" stale_leader Some(LEADER_BAR),
        "the leader is paused until a pass's time is over by its clock, while a slow member works and another leads";
    LeaderInterrupted "leader-interrupted" leader_interrupted Some(LEADER_BAR), "the leader has to go itself, earlier than others";
    MemberDiesBeforeAck "member-dies-before-ack" member_dies_before_ack Some(LEADER_BAR),
        "a member dies between its work and its answer, and comes back";
    MemberKilled "member-killed" member_killed Some(MEMBER_BAR), "a member is killed amid its work";
    SlowMember "slow-member" slow_member Some(MEMBER_BAR), "a member takes longer than its step may";
    ClockStep "clock-step" clock_step Some(LEADER_BAR), "wall clocks leap by an hour, the leader's among them";
    Split "split" split None, "members and servers are on two sides, one server and half the members on the smaller";
    TwoOperations "two-operations" two_operations Some(LEADER_BAR), "more notices come amid the operation, with less time";
    Duplicates "duplicates" duplicates Some(LEADER_BAR), "every message comes again, twice, in reverse order";
    DiskFull "disk-full" disk_full Some(SERVER_BAR), "the disk of the server that leads the plan is full";
    Permissions "permissions" permissions Some(LEADER_BAR), "two members may publish nothing, two may neither lead nor plan";
    LostStore "lost-store" lost_store Some(SERVER_BAR), "all servers lose everything between two operations";
    Storm "storm" storm Some(SERVER_BAR), "all servers start again and 1,000 members connect at once, while notices come";
}

/// The group that a fault is played with.
fn shape(fault: Fault, random: &mut Random) -> Shape {
    let most_at_once = [None, Some(20)].choose(random).copied().flatten();
    let mut shape = Shape { few_lead: random.random_bool(0.5), most_at_once, ..Shape::default() };
    match fault {
        Fault::StaleLeader => (shape.few_lead, shape.most_at_once) = (true, None),
        Fault::LeaderKilled
        | Fault::LeaderIsolated
        | Fault::LeaderOneWay
        | Fault::LeaderPaused
        | Fault::LeaderInterrupted => {
            shape.few_lead = true;
        }
        Fault::ClockStep => shape.own_clocks = true,
        Fault::Permissions => shape.denied = true,
        Fault::Split | Fault::SlowMember => shape.most_at_once = None,
        Fault::Storm => shape.crowd = 1000,
        _ => {}
    }
    shape
}

fn set(names: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    names.into_iter().collect()
}

/// The server that leads the plan's stream, seven times of ten, or any.
fn victim(run: &mut Run) -> Result<usize> {
    if run.random.random_bool(0.7) {
        return run.stage.servers.leader_of(&format!("KV_cs_plan_{}", run.group));
    }
    Ok(run.random.random_range(0..COUNT))
}

/// Gives everybody who goes a notice, and waits for a drawn moment: at once, when replicas begin, when primaries do.
fn notify_and_wait(run: &mut Run, moments: std::ops::Range<usize>) -> Result<()> {
    let leavers = run.leavers();
    run.notify(&leavers, NOTICE)?;
    match run.random.random_range(moments) {
        0 => Ok(()),
        1 => run.wait_for_role("replica"),
        _ => run.wait_for_role("primary"),
    }
}

/// The leader, and from which moment on nobody waits for an answer of it.
fn leader(run: &Run) -> Result<(String, u64, usize)> {
    let (name, epoch) = run.leader()?;
    let first = usize::from(name.starts_with("lb"));
    Ok((name, epoch, first))
}

fn nothing(run: &mut Run) -> Result<()> {
    notify_and_wait(run, 0..1)?;
    run.finish(PATIENCE);
    Ok(())
}

fn server_killed(run: &mut Run) -> Result<()> {
    let victim = victim(run)?;
    notify_and_wait(run, 0..3)?;
    run.strike_servers().kill(victim);
    run.finish(PATIENCE);
    Ok(())
}

fn server_isolated(run: &mut Run) -> Result<()> {
    let victim = victim(run)?;
    notify_and_wait(run, 0..3)?;
    run.strike_servers();
    run.stage.network.cut(&[victim])?;
    run.finish(PATIENCE);
    run.stage.network.mend(&[victim])?;
    run.rest(AFTERWARDS);
    Ok(())
}

fn two_servers_down(run: &mut Run) -> Result<()> {
    let left = run.random.random_range(0..COUNT);
    (0..COUNT).filter(|number| *number != left).for_each(|number| run.stage.servers.kill(number));
    let names: Vec<String> = run.facts.roles.keys().cloned().collect();
    let begun = Instant::now();
    while run.fleet.connected(&names)? < names.len() && begun.elapsed() < PATIENCE {
        run.rest(Duration::from_millis(200));
    }
    (run.facts.alone, run.facts.completes) = (Alone::Anybody, false);
    notify_and_wait(run, 0..1)?;
    run.finish(PATIENCE);
    Ok(())
}

fn all_servers_down(run: &mut Run) -> Result<()> {
    (run.facts.alone, run.facts.completes, run.hears) = (Alone::Anybody, false, false);
    if run.random.random_bool(0.5) {
        run.stage.servers.kill_all();
        notify_and_wait(run, 0..1)?;
    } else {
        notify_and_wait(run, 0..3)?;
        run.stage.servers.kill_all();
    }
    run.finish(PATIENCE);
    if run.random.random_bool(0.5) {
        run.stage.servers.restore(&run.stage.network)?;
        run.rest(AFTERWARDS * 2);
    }
    Ok(())
}

fn leader_killed(run: &mut Run) -> Result<()> {
    let (leader, _, first) = leader(run)?;
    notify_and_wait(run, first..3)?;
    run.fleet.kill(&leader);
    run.facts.struck = set([leader.clone()]);
    run.facts.dead = set([leader]);
    run.finish(PATIENCE);
    Ok(())
}

fn leader_isolated(run: &mut Run) -> Result<()> {
    let (leader, _, first) = leader(run)?;
    let site = run.fleet.site(&leader).unwrap_or_default();
    notify_and_wait(run, first..3)?;
    run.stage.network.cut(&[site])?;
    run.facts.struck = set([leader]);
    run.finish(PATIENCE);
    run.stage.network.mend(&[site])?;
    run.rest(AFTERWARDS);
    Ok(())
}

fn leader_one_way(run: &mut Run) -> Result<()> {
    let (leader, _, first) = leader(run)?;
    let site = run.fleet.site(&leader).unwrap_or_default();
    let servers: Vec<usize> = (0..COUNT).collect();
    let is_mute = run.random.random_bool(0.5);
    notify_and_wait(run, first..3)?;
    let network = &run.stage.network;
    if is_mute {
        network.lose(site, &servers)?;
    } else {
        servers.iter().try_for_each(|server| network.lose(*server, &[site]))?;
    }
    run.facts.struck = set([leader]);
    run.finish(PATIENCE);
    let network = &run.stage.network;
    if is_mute {
        network.lose_no_more(site, &servers)?;
    } else {
        servers.iter().try_for_each(|server| network.lose_no_more(*server, &[site]))?;
    }
    run.rest(AFTERWARDS);
    Ok(())
}

/// The leader stands still while it has the next pass to begin: what it would do next is what the new leader does meanwhile. It goes on
/// when somebody else leads, when somebody has obeyed that one, or when all is over.
fn leader_paused(run: &mut Run) -> Result<()> {
    let (leader, epoch, first) = leader(run)?;
    let going_on = run.random.random_range(0..3);
    notify_and_wait(run, first..2)?;
    run.fleet.pause(&leader)?;
    run.facts.struck = set([leader.clone()]);
    let newer = move |line: &Line| match &line.said {
        Said::Leader { epoch: other, .. } => going_on == 0 && *other > epoch,
        Said::Begin(act) => going_on == 1 && act.epoch > epoch,
        Said::Completed { .. } => true,
        _ => false,
    };
    // Where nobody takes over, the judge will say so.
    let _newer =
        run.fleet.log.wait("a new leader", PATIENCE / 3, |lines: &[Line]| lines.iter().any(newer).then_some(()));
    run.fleet.resume(&leader)?;
    run.finish(PATIENCE);
    run.rest(AFTERWARDS);
    Ok(())
}

/// The leader goes on when it must believe that the replicas have had all the time they may have. One of them works, and somebody else
/// leads, for whom that one's time is not over: who obeys the stale leader now begins the primaries' pass too soon.
fn stale_leader(run: &mut Run) -> Result<()> {
    let (leader, ..) = leader(run)?;
    let replicas = run.of_role("replica");
    let slow = run.one_of(&replicas)?;
    let mut leavers = run.leavers();
    leavers.retain(|name| *name != slow);
    run.notify_one(&slow, NOTICE, (STEP_SECONDS * 1180.0) as u64)?;
    run.notify(&leavers, NOTICE)?;
    run.wait_for_begin(&slow)?;
    let begun = Instant::now();
    run.fleet.pause(&leader)?;
    run.facts.struck = set([leader.clone()]);
    run.rest(Duration::from_secs_f64(STEP_SECONDS * 1.05).saturating_sub(begun.elapsed()));
    run.fleet.resume(&leader)?;
    run.finish(PATIENCE);
    run.rest(AFTERWARDS);
    Ok(())
}

fn leader_interrupted(run: &mut Run) -> Result<()> {
    let (leader, _, first) = leader(run)?;
    run.facts.order.clear();
    run.facts.operations = 2;
    notify_and_wait(run, first..3)?;
    let work_ms = run.random.random_range(100..=500);
    run.notify_one(&leader, NOTICE / 3, work_ms)?;
    run.finish(PATIENCE);
    Ok(())
}

fn member_dies_before_ack(run: &mut Run) -> Result<()> {
    let replicas = run.of_role("replica");
    let name = run.one_of(&replicas)?;
    run.fleet.order(&name, &Order::DieBeforeAck)?;
    notify_and_wait(run, 0..1)?;
    run.fleet.revive(&run.stage.network, &name)?;
    run.notify_again(&name)?;
    run.finish(PATIENCE);
    run.rest(AFTERWARDS / 2);
    Ok(())
}

fn member_killed(run: &mut Run) -> Result<()> {
    let replicas = run.of_role("replica");
    let name = run.one_of(&replicas)?;
    notify_and_wait(run, 0..1)?;
    run.wait_for_begin(&name)?;
    run.fleet.kill(&name);
    run.facts.struck = set([name.clone()]);
    run.facts.dead = set([name]);
    run.finish(PATIENCE);
    Ok(())
}

fn slow_member(run: &mut Run) -> Result<()> {
    let mut leavers = run.leavers();
    let replicas = run.of_role("replica");
    let name = run.one_of(&replicas)?;
    leavers.retain(|other| *other != name);
    run.notify_one(&name, NOTICE, (STEP_SECONDS * 1300.0) as u64)?;
    run.facts.struck = set([name]);
    run.notify(&leavers, NOTICE)?;
    run.finish(PATIENCE);
    run.rest(AFTERWARDS / 2);
    Ok(())
}

fn clock_step(run: &mut Run) -> Result<()> {
    let own: Vec<String> = run.fleet.specs().filter(|spec| spec.own_clock).map(|spec| spec.name.clone()).collect();
    notify_and_wait(run, 0..3)?;
    for name in own {
        let seconds = [-HOUR, HOUR].choose(&mut run.random).copied().unwrap_or(HOUR);
        run.fleet.set_clock(&name, seconds)?;
    }
    run.finish(PATIENCE);
    run.rest(AFTERWARDS);
    Ok(())
}

fn split(run: &mut Run) -> Result<()> {
    let server = run.random.random_range(0..COUNT);
    let odd = run.random.random_range(0..2);
    let here: Vec<(String, usize)> =
        run.fleet.specs().filter(|spec| spec.site % 2 == odd).map(|spec| (spec.name.clone(), spec.site)).collect();
    let mut sites: Vec<usize> = here.iter().map(|(_, site)| *site).collect();
    sites.push(server);
    let smaller = set(here.into_iter().map(|(name, _)| name));
    run.facts.struck.clone_from(&smaller);
    (run.facts.alone, run.hears) = (Alone::Only(smaller), false);
    notify_and_wait(run, 0..3)?;
    run.strike_servers();
    run.stage.network.split(&sites)?;
    run.finish(PATIENCE);
    run.stage.network.mend(&sites)?;
    run.rest(AFTERWARDS * 2);
    Ok(())
}

fn two_operations(run: &mut Run) -> Result<()> {
    let leavers = run.leavers();
    // A primary on each side.
    let (later, first): (Vec<_>, Vec<_>) = leavers.into_iter().enumerate().partition(|(number, _)| number % 2 == 0);
    let names = |list: Vec<(usize, String)>| list.into_iter().map(|(_, name)| name).collect::<Vec<_>>();
    run.facts.order.clear();
    run.facts.operations = 2;
    run.notify(&names(first), NOTICE)?;
    let pause = run.random.random_range(100..2500);
    run.rest(Duration::from_millis(pause));
    run.notify(&names(later), NOTICE / 2)?;
    run.finish(PATIENCE);
    Ok(())
}

fn duplicates(run: &mut Run) -> Result<()> {
    let _echo = Echo::start(&run.stage.servers.urls(), &run.group)?;
    notify_and_wait(run, 0..1)?;
    run.finish(PATIENCE);
    run.rest(AFTERWARDS / 2);
    Ok(())
}

fn disk_full(run: &mut Run) -> Result<()> {
    let victim = run.stage.servers.leader_of(&format!("KV_cs_plan_{}", run.group))?;
    if run.random.random_bool(0.5) {
        run.strike_servers().fill_disk(victim)?;
        notify_and_wait(run, 0..1)?;
    } else {
        notify_and_wait(run, 0..3)?;
        run.strike_servers().fill_disk(victim)?;
    }
    run.finish(PATIENCE);
    Ok(())
}

fn permissions(run: &mut Run) -> Result<()> {
    let silent = set(run.silent.clone());
    run.facts.struck.clone_from(&silent);
    (run.facts.alone, run.hears) = (Alone::Only(silent), false);
    notify_and_wait(run, 0..1)?;
    run.finish(PATIENCE);
    Ok(())
}

fn lost_store(run: &mut Run) -> Result<()> {
    let leavers = run.leavers();
    let (first, second) = leavers.split_at(leavers.len() / 2);
    run.facts.order.clear();
    run.facts.operations = 2;
    run.notify(first, NOTICE)?;
    run.finish(PATIENCE);
    (0..COUNT).try_for_each(|number| run.stage.servers.forget(number))?;
    run.stage.servers.restore(&run.stage.network)?;
    run.fleet.wait_until_complete(0, PATIENCE)?;
    run.notify(second, NOTICE)?;
    run.finish(PATIENCE);
    Ok(())
}

fn storm(run: &mut Run) -> Result<()> {
    let names: Vec<String> = run.fleet.specs().map(|spec| spec.name.clone()).collect();
    let expected: usize = run.fleet.specs().map(|spec| spec.count).sum();
    run.strike_servers().kill_all();
    let begun = Instant::now();
    run.stage.servers.restore(&run.stage.network)?;
    notify_and_wait(run, 0..1)?;
    while begun.elapsed() < PATIENCE {
        if run.fleet.connected(&names)? >= expected {
            run.reconnected_seconds = Some(begun.elapsed().as_secs_f64());
            break;
        }
        run.rest(Duration::from_millis(200));
    }
    run.finish(PATIENCE);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_name_of_its_own_and_says_what_it_does() {
        let names: BTreeSet<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        assert_eq!(names.len(), Fault::ALL.len());
        assert!(Fault::ALL.iter().all(|fault| !fault.about().is_empty()));
    }

    #[test]
    fn bars_are_those_of_the_promise() {
        let seconds = |fault: Fault| fault.bar().map(|bar| bar.as_secs());
        assert_eq!((seconds(Fault::LeaderKilled), seconds(Fault::ServerKilled)), (Some(5), Some(12)));
        assert_eq!(seconds(Fault::AllServersDown), None);
    }
}
