//! Plans: the order, what is merged into it, the rule of most at once, and when a pass is not waited for any more.
//! Inputs: a group and what happens to it, some by chance. It must never look at a real clock.

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn step(role: &str, most_at_once: Option<u32>, reacts: bool) -> Step {
    Step { role: role.to_owned(), timeout_seconds: 30.0, most_at_once, reacts }
}

/// Load balancers drain, then replicas, one at a time, then the primary.
fn order() -> Vec<Step> {
    vec![step("lb", None, true), step("replica", Some(1), false), step("primary", None, false)]
}

/// A group in which everybody's work takes a second, with its clock.
struct Group {
    now: Boot,
    peers: BTreeMap<String, Peer>,
    deadlines: BTreeMap<Uuid, Boot>,
    since: Since,
    gathers_until: Boot,
    plan: Plan,
    steps: Vec<Step>,
}

impl Group {
    fn new() -> Self {
        let names = ["lb1", "lb2", "replica1", "replica2", "replica3", "primary1", "primary2"];
        let peer = |name: &str| Peer {
            role: name.trim_end_matches(char::is_numeric).to_owned(),
            leaving: false,
            work: Duration::from_secs(1),
        };
        Self {
            now: Boot(SECOND),
            peers: names.iter().map(|name| ((*name).to_owned(), peer(name))).collect(),
            deadlines: BTreeMap::new(),
            since: Since::new(),
            gathers_until: Boot(0),
            plan: Plan { epoch: 1, operation: Uuid::from_u128(1), ..Plan::default() },
            steps: order(),
        }
    }

    /// The member goes, so many seconds from now. Its notice's number is its own.
    fn leaves(&mut self, member: &str, number: u128, seconds: u64) -> Uuid {
        let event = Uuid::from_u128(number);
        let peer = self.peers.get_mut(member).expect("a member");
        peer.leaving = true;
        self.deadlines.insert(event, self.now.after(Duration::from_secs(seconds)));
        let leaver = Leaving {
            event,
            member: member.to_owned(),
            role: peer.role.clone(),
            remaining_ms: 0,
            deadline: None,
            drill: false,
        };
        self.plan.add(leaver, &self.steps);
        event
    }

    /// What a leader sees of it.
    fn view(&self) -> View<'_> {
        View {
            now: self.now,
            peers: &self.peers,
            everybody: true,
            deadlines: &self.deadlines,
            gathers_until: self.gathers_until,
        }
    }

    fn advance(&mut self) {
        let view = View {
            now: self.now,
            peers: &self.peers,
            everybody: true,
            deadlines: &self.deadlines,
            gathers_until: self.gathers_until,
        };
        self.plan.advance(&view, &self.since);
        self.plan.is_known(self.now, &mut self.since);
    }

    fn passes(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
        self.advance();
    }

    /// Whose turn it is: the role of the pass, and the members.
    fn acting(&self) -> (String, Vec<String>) {
        let pass = &self.plan.passes[self.plan.current];
        let acting = pass.actors.iter().filter(|actor| actor.stage == Stage::Acts);
        (pass.role.clone(), acting.map(|actor| actor.member.clone()).collect())
    }

    fn acknowledge_all(&mut self) {
        let (_, acting) = self.acting();
        assert!(!acting.is_empty(), "{:?}", self.plan);
        for member in acting {
            self.plan.acknowledge(self.plan.current, &member);
        }
        self.advance();
    }

    fn roles(&self) -> Vec<&str> {
        self.plan.passes.iter().map(|pass| pass.role.as_str()).collect()
    }
}

fn acting(role: &str, members: &[&str]) -> (String, Vec<String>) {
    (role.to_owned(), members.iter().map(|member| (*member).to_owned()).collect())
}

#[test]
fn roles_act_in_order_and_replicas_one_at_a_time_the_shortest_time_first() {
    let mut group = Group::new();
    group.leaves("primary1", 1, 120);
    group.leaves("replica2", 2, 120);
    group.leaves("replica1", 3, 60);
    group.advance();
    assert_eq!(group.roles(), ["lb", "replica", "primary"]);
    assert_eq!(group.acting(), acting("lb", &["lb1", "lb2"]));
    assert_eq!(group.plan.passes[0].leaving.len(), 3);
    group.acknowledge_all();
    assert_eq!(group.acting(), acting("replica", &["replica1"]));
    group.acknowledge_all();
    assert_eq!(group.acting(), acting("replica", &["replica2"]));
    group.acknowledge_all();
    assert_eq!(group.acting(), acting("primary", &["primary1"]));
    group.acknowledge_all();
    assert!(group.plan.complete && group.plan.missing.is_empty() && !group.plan.runs());
}

#[test]
fn who_goes_is_held_back_while_one_may_come_that_has_to_act_before_it() {
    let mut group = Group::new();
    group.gathers_until = group.now.after(Duration::from_secs(5));
    group.leaves("primary1", 1, 120);
    group.advance();
    assert_eq!(group.acting(), acting("lb", &["lb1", "lb2"]), "who reacts begins at once");
    group.acknowledge_all();
    assert_eq!(group.acting(), acting("primary", &[]), "a replica may hear of it later");
    group.passes(1);
    group.leaves("replica1", 2, 120);
    group.advance();
    assert_eq!(group.acting(), acting("lb", &["lb1", "lb2"]), "it is drained too");
    group.acknowledge_all();
    assert_eq!(group.acting(), acting("replica", &[]), "another one may come, with less time");
    let view = group.view();
    assert_eq!(group.plan.wake(&view, &group.since), group.gathers_until);
    group.passes(4);
    assert_eq!(group.acting(), acting("replica", &["replica1"]));
    group.acknowledge_all();
    assert_eq!(group.acting(), acting("primary", &["primary1"]));
    group.acknowledge_all();
    assert!(group.plan.complete && group.plan.missing.is_empty());
}

#[test]
fn a_role_that_nobody_named_acts_last() {
    let mut group = Group::new();
    group.steps = vec![step("primary", None, false)];
    group.leaves("replica1", 1, 120);
    group.leaves("primary1", 2, 120);
    group.advance();
    assert_eq!(group.roles(), ["primary", "replica"]);
}

#[test]
fn a_second_notice_joins_what_is_to_come_and_gets_a_further_pass_of_what_is_past() {
    let mut group = Group::new();
    group.leaves("replica1", 1, 120);
    group.leaves("primary1", 2, 120);
    group.advance();
    // The load balancers are at work for the first two: they have to be asked again for the third.
    group.leaves("primary2", 3, 120);
    assert_eq!(group.roles(), ["lb", "lb", "replica", "primary"]);
    assert_eq!(group.plan.passes[3].actors.len(), 2);
    group.acknowledge_all();
    group.acknowledge_all();
    assert_eq!(group.acting(), acting("replica", &["replica1"]));
    group.acknowledge_all();
    group.acknowledge_all();
    assert!(group.plan.complete);
    // While the primaries act, another replica goes: never before its load balancers have heard of it.
    let mut group = Group::new();
    group.leaves("primary1", 1, 120);
    group.advance();
    group.acknowledge_all();
    group.leaves("replica1", 2, 120);
    group.advance();
    assert_eq!(group.roles(), ["lb", "primary", "lb", "replica"]);
    assert_eq!(group.acting(), acting("primary", &["primary1"]));
}

#[test]
fn where_nobody_reacts_a_second_notice_joins_the_running_pass() {
    let mut group = Group::new();
    group.steps = vec![step("replica", Some(1), false), step("primary", None, false)];
    group.leaves("replica1", 1, 120);
    group.advance();
    group.leaves("replica2", 2, 120);
    group.advance();
    assert_eq!(group.roles(), ["replica"]);
    assert_eq!(group.acting(), acting("replica", &["replica1"]));
    group.acknowledge_all();
    assert_eq!(group.acting(), acting("replica", &["replica2"]));
}

#[test]
fn the_same_notice_is_taken_once_also_after_its_operation() {
    let mut group = Group::new();
    let event = group.leaves("primary1", 1, 120);
    group.advance();
    group.leaves("primary1", 1, 120);
    group.acknowledge_all();
    group.acknowledge_all();
    assert!(group.plan.complete);
    group.plan = group.plan.next(Uuid::from_u128(2));
    group.leaves("primary1", 1, 120);
    assert!(group.plan.passes.is_empty() && group.plan.knows(event));
    group.plan.forget(|_| false);
    assert!(!group.plan.knows(event));
}

#[test]
fn who_does_not_answer_is_left_behind_with_a_note() {
    let mut group = Group::new();
    group.leaves("replica1", 1, 120);
    group.leaves("primary1", 2, 120);
    group.advance();
    group.passes(29);
    assert_eq!(group.acting().0, "lb");
    group.passes(1);
    assert_eq!(group.acting(), acting("replica", &["replica1"]));
    assert!(
        group.plan.missing[0].contains("lb1 did not answer within 30 s in pass 0 (lb)"),
        "{:?}",
        group.plan.missing
    );
    group.peers.remove("replica1");
    group.advance();
    assert_eq!(group.acting(), acting("primary", &["primary1"]));
    assert!(group.plan.missing[2].contains("replica1 was lost"), "{:?}", group.plan.missing);
    assert!(!group.plan.acknowledge(1, "replica1"), "too late");
}

#[test]
fn nobody_is_waited_for_longer_than_those_behind_need() {
    let mut group = Group::new();
    group.peers.get_mut("primary1").expect("there").work = Duration::from_secs(10);
    group.leaves("replica1", 1, 120);
    group.leaves("primary1", 2, 40);
    group.advance();
    group.acknowledge_all();
    assert_eq!(group.acting().0, "replica");
    // 40 s less 15 s for the primary, less what a directive needs on its way.
    let view = group.view();
    assert_eq!(group.plan.wake(&view, &group.since), group.now.after(Duration::from_millis(24_700)));
    group.passes(24);
    assert_eq!(group.acting().0, "replica");
    group.passes(1);
    assert_eq!(group.acting(), acting("primary", &["primary1"]));
    assert!(group.plan.missing[0].contains("others needed the time"), "{:?}", group.plan.missing);
}

#[test]
fn a_withdrawn_notice_leaves_the_plan() {
    let mut group = Group::new();
    let replica = group.leaves("replica1", 1, 120);
    let primary = group.leaves("primary1", 2, 120);
    group.advance();
    assert!(group.plan.remove(primary) && !group.plan.remove(primary));
    assert_eq!(group.roles(), ["lb", "replica"]);
    group.acknowledge_all();
    assert!(group.plan.remove(replica), "its work has begun");
    group.advance();
    assert!(group.plan.complete && group.plan.missing.is_empty());
    assert!(group.plan.knows(primary), "and is not taken again");
}

#[test]
fn a_plan_that_makes_no_sense_is_refused() {
    let mut plan = Plan::default();
    assert_eq!(plan.problem(), None);
    plan.current = 1;
    assert!(plan.problem().is_some());
    plan.current = 0;
    plan.leavers.push(Leaving {
        event: Uuid::nil(),
        member: String::new(),
        role: String::new(),
        remaining_ms: 0,
        drill: false,
        deadline: None,
    });
    assert!(plan.problem().is_some_and(|problem| problem.contains("member")));
}

/// What may happen to a group.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Leaves {
        member: usize,
        seconds: u64,
    },
    Acknowledges(usize),
    Lost(usize),
    Withdrawn(usize),
    Time(u64),
    /// Another leader takes over: it knows what is in the plan.
    Leader,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        3 => (0..7_usize, 5..200_u64).prop_map(|(member, seconds)| Happens::Leaves { member, seconds }),
        6 => (0..7_usize).prop_map(Happens::Acknowledges),
        1 => (0..7_usize).prop_map(Happens::Lost),
        1 => (0..7_usize).prop_map(Happens::Withdrawn),
        3 => (0..20_u64).prop_map(Happens::Time),
        1 => Just(Happens::Leader),
    ]
}

fn happen(group: &mut Group, happens: Happens, names: &[String]) {
    match happens {
        Happens::Leaves { member, seconds } if group.peers.contains_key(&names[member]) => {
            group.leaves(&names[member], member as u128 + 1, seconds);
        }
        Happens::Acknowledges(member) => {
            group.plan.acknowledge(group.plan.current, &names[member]);
        }
        Happens::Lost(member) => {
            group.peers.remove(&names[member]);
        }
        Happens::Withdrawn(member) => {
            group.plan.remove(Uuid::from_u128(member as u128 + 1));
        }
        Happens::Time(seconds) => group.now = group.now.after(Duration::from_secs(seconds)),
        Happens::Leader => {
            group.since.clear();
            let bytes = crate::wire::write(&group.plan);
            group.plan = crate::wire::read(&bytes).expect("what was written can be read");
        }
        Happens::Leaves { .. } => {}
    }
    group.advance();
}

proptest! {
    /// Whatever happens: one pass at a time, in the order of the list; nobody gets a turn twice; never more at once than allowed; the
    /// plan ends.
    #[test]
    fn the_order_holds(events in proptest::collection::vec(happens(), 1..60)) {
        let mut group = Group::new();
        let names: Vec<String> = group.peers.keys().cloned().collect();
        let mut stages: BTreeMap<(usize, String), Stage> = BTreeMap::new();
        for event in events {
            happen(&mut group, event, &names);
            for (index, pass) in group.plan.passes.iter().enumerate() {
                let acting = pass.actors.iter().filter(|actor| actor.stage == Stage::Acts).count();
                prop_assert!(acting <= pass.most(), "{:?}", pass);
                let open = pass.actors.iter().any(|actor| matches!(actor.stage, Stage::Waits | Stage::Acts));
                prop_assert!(index >= group.plan.current || !open, "a pass that is past has actors");
                prop_assert!(index <= group.plan.current || acting == 0, "a pass has begun too early");
                for actor in &pass.actors {
                    let before = if pass.begun { stages.insert((index, actor.member.clone()), actor.stage) } else { None };
                    let again = actor.stage == Stage::Acts && matches!(before, Some(Stage::Over | Stage::Missing));
                    prop_assert!(!again, "{} has a turn twice", actor.member);
                }
            }
            prop_assert_eq!(group.plan.problem(), None);
            // The running and coming passes are in the order of roles, except that what runs is not interrupted.
            let coming: Vec<usize> = group.plan.passes.iter().filter(|pass| !pass.begun).map(|pass| pass.rank).collect();
            prop_assert!(coming.is_sorted(), "{:?}", coming);
        }
        for _ in 0..40 { group.passes(31); }
        prop_assert!(!group.plan.runs(), "{:?}", group.plan);
    }

    /// A member that is there, and whose time does not run out before its turn could come, has its turn by its latest start.
    #[test]
    fn the_last_of_the_order_has_its_time(seconds in 20_u64..100, slow in 0_u64..60) {
        let mut group = Group::new();
        group.leaves("replica1", 1, 300);
        let event = group.leaves("primary1", 2, seconds);
        let end = group.deadlines[&event];
        group.advance();
        let started = group.now;
        while group.plan.actor_of(event).map(|(_, stage)| stage) == Some(Stage::Waits) {
            prop_assert!(group.now < end, "never");
            group.now = group.now.after(Duration::from_millis(100));
            if started.until(group.now) >= Duration::from_secs(slow) && group.plan.current < 2 { group.acknowledge_all(); }
            group.advance();
        }
        prop_assert_eq!(group.plan.actor_of(event), Some((2, Stage::Acts)));
        prop_assert!(group.now <= latest_start(end, Duration::from_secs(1)), "too late");
    }
}
