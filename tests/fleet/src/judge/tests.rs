//! The judge against stories that are right, and against each that is wrong in one way.

use super::*;

const MS: i64 = 1_000_000;

/// A story of two load balancers that stay, two replicas and a primary that go.
#[derive(Clone)]
struct Story(Vec<Line>);

fn event(member: &str) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..member.len()].copy_from_slice(member.as_bytes());
    Uuid::from_bytes(bytes)
}

impl Story {
    fn say(&mut self, at_ms: i64, member: &str, said: Said) -> &mut Self {
        self.0.push(Line { at: at_ms * MS, member: member.to_owned(), said });
        self
    }

    fn notice(&mut self, at_ms: i64, member: &str) -> &mut Self {
        self.say(at_ms, member, Said::Notice { event: event(member), deadline: 120_000 * MS })
    }

    fn act(&mut self, member: &str, step: usize, epoch: u64, from_ms: i64, to_ms: i64) -> &mut Self {
        let reacts = member.starts_with("lb");
        let act = Act { operation: "o1".to_owned(), step, epoch, alone: false, event: event(member), reacts };
        self.say(from_ms, member, Said::Begin(act.clone())).say(to_ms, member, Said::End(act))
    }

    fn alone(&mut self, member: &str, from_ms: i64, to_ms: i64) -> &mut Self {
        let act = Act { operation: String::new(), step: 0, epoch: 0, alone: true, event: event(member), reacts: false };
        self.say(from_ms, member, Said::Begin(act.clone())).say(to_ms, member, Said::End(act))
    }

    fn leader(&mut self, at_ms: i64, member: &str, name: &str, epoch: u64) -> &mut Self {
        self.say(at_ms, member, Said::Leader { name: name.to_owned(), epoch })
    }

    fn completed(&mut self, at_ms: i64, member: &str, epoch: u64) -> &mut Self {
        self.say(at_ms, member, Said::Completed { operation: "o1".to_owned(), epoch, missing: 0 })
    }
}

/// Notices at 0, balancers from 100 to 300, replicas from 400, the primary from 1000 to 1400, completed at 1500.
fn good() -> Story {
    let mut story = Story(Vec::new());
    story.leader(-500, "r1", "lb1", 7).notice(0, "r1").notice(1, "r2").notice(2, "p1");
    story.act("lb1", 0, 7, 100, 300).act("lb2", 0, 7, 100, 250).act("r1", 1, 7, 400, 900).act("r2", 1, 7, 410, 800);
    story.act("p1", 2, 7, 1000, 1400).completed(1500, "lb1", 7).completed(1510, "p1", 7);
    story
}

fn facts() -> Facts {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let roles = [("lb1", "lb"), ("lb2", "lb"), ("r1", "replica"), ("r2", "replica"), ("p1", "primary")];
    Facts {
        struck: set(&[]),
        dead: set(&[]),
        alone: Alone::Only(set(&[])),
        operations: 1,
        completes: true,
        bar: Some(Duration::from_secs(2)),
        most_at_once: BTreeMap::new(),
        roles: roles.iter().map(|(name, role)| ((*name).to_owned(), (*role).to_owned())).collect(),
        order: ["lb", "replica", "primary"].map(str::to_owned).to_vec(),
        hears: set(&[]),
    }
}

fn wrong(story: &Story, facts: &Facts) -> Findings {
    judge(&story.0, facts).0
}

fn only(findings: &Findings) -> Vec<&'static str> {
    findings.named().iter().filter(|(_, found)| !found.is_empty()).map(|(name, _)| *name).collect()
}

#[test]
fn a_good_story_is_good_and_measured() {
    let (findings, figures) = judge(&good().0, &facts());
    assert_eq!(findings, Findings::default());
    // 1.5 s, of which 200, 500 and 400 ms were work.
    assert!((figures.beyond_seconds.expect("completed") - 0.4).abs() < 1e-9, "{figures:?}");
    assert!((figures.work_seconds - 1.1).abs() < 1e-9 && figures.turns == 5 && figures.leaders == 1);
    assert!((figures.least_left_seconds.expect("deadlines") - 118.6).abs() < 1e-9);
}

#[test]
fn who_begins_before_an_earlier_pass_has_ended_is_found_unless_that_one_was_struck() {
    let mut story = good();
    story.notice(3, "r3").act("r3", 1, 7, 420, 1100);
    let mut facts = facts();
    facts.roles.insert("r3".to_owned(), "replica".to_owned());
    assert_eq!(only(&wrong(&story, &facts)), ["order"]);
    facts.struck.insert("r3".to_owned());
    assert_eq!(wrong(&story, &facts), Findings::default());
}

#[test]
fn roles_in_another_order_are_found_where_all_notices_came_first() {
    let mut story = Story(Vec::new());
    story.notice(0, "r1").notice(0, "p1").act("p1", 0, 1, 10, 20).act("r1", 1, 1, 30, 40).completed(50, "lb1", 1);
    assert_eq!(only(&wrong(&story, &facts())), ["order"]);
    assert_eq!(wrong(&story, &Facts { order: Vec::new(), ..facts() }), Findings::default());
}

#[test]
fn a_notice_that_came_amid_the_operation_has_passes_of_its_own() {
    let mut story = good();
    story.0.retain(|line| !matches!(line.said, Said::Completed { .. }));
    story.notice(3, "r3").act("lb1", 3, 7, 1500, 1550).act("r3", 4, 7, 1600, 1700).completed(1800, "lb1", 7);
    let step = Uuid::from_u128(9);
    for line in story.0.iter_mut().filter(|line| line.member == "lb1") {
        if let Said::Begin(act) | Said::End(act) = &mut line.said
            && act.step == 3
        {
            act.event = step;
        }
    }
    let mut facts = facts();
    facts.roles.insert("r3".to_owned(), "replica".to_owned());
    let heard = |story: &Story, at| {
        let mut story = story.clone();
        for member in ["lb1", "lb2", "p1"] {
            story.say(at, member, Said::Heard { event: event("r3"), from: "r3".to_owned(), replayed: false });
        }
        only(&wrong(&story, &facts))
    };
    assert_eq!((heard(&story, 1450), heard(&story, 50)), (vec![], vec!["order"]));
}

#[test]
fn too_many_of_a_role_at_the_same_time_are_found() {
    let with = |most| Facts { most_at_once: BTreeMap::from([("replica".to_owned(), most)]), ..facts() };
    assert_eq!(only(&wrong(&good(), &with(1))), ["order"]);
    assert_eq!(wrong(&good(), &with(2)), Findings::default());
}

#[test]
fn what_is_done_twice_is_found_in_any_way_it_can_be() {
    let mut again = good();
    again.act("r1", 1, 7, 910, 950);
    assert!(only(&wrong(&again, &facts())).contains(&"double"));
    let mut elsewhere = good();
    elsewhere.act("p1", 3, 7, 1450, 1460);
    assert_eq!(only(&wrong(&elsewhere, &facts())), ["double"]);
    let mut alone = good();
    alone.alone("p1", 2000, 2100);
    let anybody = Facts { alone: Alone::Anybody, ..facts() };
    assert_eq!(only(&wrong(&alone, &anybody)), ["double"]);
}

#[test]
fn no_completion_and_two_are_found() {
    let mut none = good();
    none.0.retain(|line| !matches!(line.said, Said::Completed { .. }));
    assert_eq!(only(&wrong(&none, &facts())), ["completion"]);
    assert_eq!(wrong(&none, &Facts { completes: false, ..facts() }), Findings::default());
    let mut two = good();
    two.completed(1600, "r1", 9);
    assert_eq!(only(&wrong(&two, &facts())), ["completion"]);
    let mut second = good();
    let other = Act { operation: "o2".to_owned(), step: 0, epoch: 7, alone: false, event: event("x"), reacts: true };
    second.say(1450, "lb2", Said::Begin(other.clone())).say(1460, "lb2", Said::End(other));
    let found = wrong(&second, &Facts { operations: 2, completes: false, ..facts() });
    assert_eq!(found, Findings::default(), "an operation that never was completed has no end");
    second.say(1900, "lb2", Said::Completed { operation: "o2".to_owned(), epoch: 7, missing: 0 });
    assert_eq!(only(&wrong(&second, &Facts { operations: 2, ..facts() })), ["order"], "side by side");
    assert_eq!(only(&wrong(&second, &facts())), ["order", "completion"]);
}

#[test]
fn who_obeys_an_epoch_below_what_it_has_seen_is_found() {
    let mut story = good();
    story
        .0
        .insert(0, Line { at: -MS, member: "p1".to_owned(), said: Said::Leader { name: "r2".to_owned(), epoch: 8 } });
    assert_eq!(only(&wrong(&story, &facts())), ["stale"]);
}

#[test]
fn who_obeys_an_old_epoch_long_after_others_knew_better_is_found() {
    let with = |at_ms: i64| {
        let mut story = good();
        let said = Said::Leader { name: "lb2".to_owned(), epoch: 8 };
        story.0.insert(0, Line { at: at_ms * MS, member: "lb2".to_owned(), said });
        story.0.retain(|line| line.member != "lb2" || !matches!(line.said, Said::Begin(_) | Said::End(_)));
        only(&wrong(&story, &facts()))
    };
    assert_eq!(with(900), Vec::<&str>::new(), "it had its directive before");
    assert_eq!(with(-1600), ["stale"]);
}

#[test]
fn who_has_not_acted_by_its_deadline_is_found_unless_it_is_dead() {
    let mut story = good();
    story.notice(5, "r3");
    assert_eq!(only(&wrong(&story, &facts())), ["late"]);
    let dead = Facts { dead: BTreeSet::from(["r3".to_owned()]), ..facts() };
    assert_eq!(wrong(&story, &dead), Findings::default());
    story.alone("r3", 119_900, 120_100);
    let anybody = Facts { alone: Alone::Anybody, ..facts() };
    assert_eq!(only(&wrong(&story, &anybody)), ["late"]);
}

#[test]
fn slowness_loners_deafness_and_repetition_are_found() {
    let slow = Facts { bar: Some(Duration::from_millis(300)), ..facts() };
    assert_eq!(only(&wrong(&good(), &slow)), ["slow"]);
    let mut alone = good();
    alone.notice(5, "r3").alone("r3", 3000, 3100);
    assert_eq!(only(&wrong(&alone, &facts())), ["other"]);
    let allowed = Facts { alone: Alone::Only(BTreeSet::from(["r3".to_owned()])), ..facts() };
    assert_eq!(wrong(&alone, &allowed), Findings::default());
    let all = Facts { hears: BTreeSet::from(["r1".to_owned(), "r2".to_owned()]), ..facts() };
    let mut heard = good();
    for (member, from) in [("r1", "r2"), ("r1", "p1"), ("r2", "r1"), ("r2", "p1")] {
        heard.say(20, member, Said::Heard { event: event(from), from: from.to_owned(), replayed: false });
    }
    assert_eq!(wrong(&heard, &all), Findings::default());
    heard.0.pop();
    assert_eq!(only(&wrong(&heard, &all)), ["other"]);
    let mut twice = good();
    let said = Said::Heard { event: event("r2"), from: "r2".to_owned(), replayed: false };
    twice.say(20, "r1", said.clone());
    assert_eq!(wrong(&twice, &facts()), Findings::default());
    twice.say(30, "r1", said);
    assert_eq!(only(&wrong(&twice, &facts())), ["other"]);
    let mut trouble = good();
    trouble.say(1, "r1", Said::Trouble { text: "no".to_owned() });
    assert_eq!(only(&wrong(&trouble, &facts())), ["other"]);
}

#[test]
fn a_process_that_was_started_again_is_told_of_its_notice_again() {
    let mut story = good();
    story.notice(1200, "r1");
    assert_eq!(wrong(&story, &facts()), Findings::default());
}
