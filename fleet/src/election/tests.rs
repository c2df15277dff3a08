//! The election against a store that grants one lease at a time, with answers that are late or lost and members that stand still.
//! Inputs: moments and answers, some by chance. It must never look at a real clock.

use proptest::prelude::*;

use super::*;

const LEASE: Duration = Duration::from_secs(4);

fn at(ms: u64) -> Boot {
    Boot(ms * 1_000_000)
}

fn free(election: &mut Election, now: Boot) {
    assert_eq!(election.seen(now, Seen::Free, Duration::ZERO), None);
}

#[test]
fn a_free_lease_is_asked_for_renewed_and_given_back() {
    let mut election = Election::new(LEASE, true, false);
    assert_eq!(election.due(at(0)), None, "the store was not looked at");
    free(&mut election, at(0));
    assert_eq!(election.due(at(0)), Some(Do::Create(None)));
    assert_eq!(election.created(at(100), at(0), Answer::Done(7)), Some(Do::Lead(7)));
    assert!(election.leads(at(3199)) && !election.leads(at(3200)));
    assert_eq!((election.due(at(999)), election.due(at(1000))), (None, Some(Do::Renew(7))));
    assert_eq!(election.renewed(at(1100), at(1000), 7, Answer::Done(9)), None);
    assert!(election.leads(at(4199)) && !election.leads(at(4200)));
    assert_eq!(election.release(at(2000), at(5000)), Some(Do::Release(9)));
    free(&mut election, at(2001));
    assert_eq!(
        (election.leads(at(2001)), election.due(at(2001)), election.due(at(5000))),
        (false, None, Some(Do::Create(None)))
    );
}

#[test]
fn a_refused_renewal_and_a_lease_that_ran_out_depose_at_once() {
    for answer in [Some(Answer::Refused), Some(Answer::Unknown), None] {
        let mut election = Election::new(LEASE, true, false);
        free(&mut election, at(0));
        assert_eq!(election.due(at(0)), Some(Do::Create(None)));
        assert_eq!(election.created(at(0), at(0), Answer::Done(1)), Some(Do::Lead(1)));
        assert_eq!(election.due(at(1000)), Some(Do::Renew(1)));
        let refused = answer.and_then(|answer| election.renewed(at(1500), at(1000), 1, answer));
        assert_eq!(matches!(refused, Some(Do::Deposed(_))), answer == Some(Answer::Refused));
        let late = election.due(at(3200));
        assert!(refused.is_some() || matches!(late, Some(Do::Deposed(_))), "{answer:?}: {late:?}");
        assert!(!election.leads(at(3200)));
    }
}

#[test]
fn a_lease_whose_answer_was_lost_is_taken_up_while_it_is_worth_something() {
    for (seen_at, expected) in [(2000, Some(Do::Lead(5))), (3200, None)] {
        let mut election = Election::new(LEASE, true, false);
        free(&mut election, at(0));
        assert_eq!(election.due(at(0)), Some(Do::Create(None)));
        assert_eq!(election.created(at(1000), at(0), Answer::Unknown), None);
        assert_eq!(election.seen(at(seen_at), Seen::Ours(5), Duration::ZERO), expected);
        assert_eq!(election.leads(at(seen_at)), expected.is_some());
    }
    let mut started_again = Election::new(LEASE, true, false);
    assert_eq!(started_again.seen(at(0), Seen::Ours(5), Duration::ZERO), None, "a lease that was not asked for");
}

#[test]
fn who_is_refused_asks_again_soon_unless_somebody_was_granted_it() {
    for (granted, again) in [(false, Some(Do::Create(None))), (true, None)] {
        let mut election = Election::new(LEASE, true, false);
        free(&mut election, at(0));
        assert_eq!(election.due(at(0)), Some(Do::Create(None)));
        assert_eq!(election.created(at(20), at(0), Answer::Refused), None);
        if granted {
            assert_eq!(election.seen(at(30), Seen::Theirs(8), Duration::ZERO), None);
        }
        assert_eq!((election.due(at(352)), election.due(at(354))), (None, again));
    }
}

#[test]
fn a_leader_is_one_until_its_lease_is_over_or_it_is_seen_to_be_gone() {
    let mut election = Election::new(LEASE, true, false);
    election.seen(at(0), Seen::Theirs(3), Duration::ZERO);
    election.seen(at(1000), Seen::Theirs(3), Duration::ZERO);
    assert_eq!((election.led_until(), election.due(at(3999)), election.wake()), (at(4000), None, at(4000)));
    election.seen(at(2000), Seen::Theirs(4), Duration::ZERO);
    assert_eq!(election.led_until(), at(6000));
    election.seen(at(2500), Seen::Free, Duration::from_millis(30));
    assert_eq!(
        (election.led_until(), election.due(at(2529)), election.due(at(2530))),
        (at(2500), None, Some(Do::Create(None)))
    );
}

#[test]
fn a_lease_that_nobody_renews_is_taken_over_though_the_store_still_has_it() {
    let pause = Duration::from_millis(30);
    for ours in [false, true] {
        let mut election = Election::new(LEASE, true, false);
        let seen = |revision| if ours { Seen::Ours(revision) } else { Seen::Theirs(revision) };
        assert_eq!(election.seen(at(0), seen(3), pause), None);
        assert_eq!(election.seen(at(900), seen(4), pause), None);
        assert_eq!(election.seen(at(3000), seen(4), pause), None);
        assert_eq!((election.due(at(4929)), election.wake()), (None, at(4930)));
        assert_eq!(election.due(at(4930)), Some(Do::Create(Some(4))));
        // It was renewed after all, and that will be heard of.
        assert_eq!(election.created(at(4940), at(4930), Answer::Refused), None);
        assert_eq!(election.seen(at(4950), seen(5), pause), None);
        assert_eq!(election.wake(), at(8980));
    }
}

#[test]
fn who_may_not_lead_never_asks() {
    let mut election = Election::new(LEASE, false, false);
    free(&mut election, at(0));
    assert_eq!((election.due(at(10_000)), election.wake()), (None, Boot::NEVER));
}

/// How much longer than its time the servers keep a lease.
const KEPT: Duration = Duration::from_secs(2);

/// A store with one lease, as the servers keep it.
#[derive(Default)]
struct Store {
    last: u64,
    held: Option<(usize, u64, Boot)>,
}

impl Store {
    fn write(&mut self, now: Boot, member: usize, from: Option<u64>) -> Answer {
        self.held = self.held.filter(|(_, _, until)| now < *until);
        if self.held.map(|(_, revision, _)| revision) != from {
            return Answer::Refused;
        }
        self.last += 1;
        self.held = Some((member, self.last, now.after(LEASE + KEPT)));
        Answer::Done(self.last)
    }

    /// Where the one that is over was dropped meanwhile, it is free.
    fn take(&mut self, now: Boot, member: usize, over: Option<u64>) -> Answer {
        let is_held = self.held.is_some_and(|(_, _, until)| now < until);
        self.write(now, member, over.filter(|_| is_held))
    }
}

/// What one member does in one round of the test below.
#[derive(Clone, Copy, Debug)]
struct Round {
    member: usize,
    passes_ms: u64,
    /// The call reaches the store this much later, and the answer comes back after as long again.
    delay_ms: u64,
    answer_is_lost: bool,
}

fn round() -> impl Strategy<Value = Round> {
    (0..3_usize, 0..2000_u64, 0..3000_u64, proptest::bool::weighted(0.2))
        .prop_map(|(member, passes_ms, delay_ms, answer_is_lost)| Round { member, passes_ms, delay_ms, answer_is_lost })
}

proptest! {
    /// Whatever is delayed or lost: at no moment do two members count themselves leaders, and tokens only grow.
    #[test]
    fn there_is_one_leader_at_a_time(rounds in proptest::collection::vec(round(), 1..200)) {
        let mut store = Store::default();
        let mut members: Vec<Election> = (0..3).map(|_| Election::new(LEASE, true, false)).collect();
        let (mut clock, mut tokens) = (0_u64, vec![0_u64]);
        for round in rounds {
            clock += round.passes_ms;
            let (asked, reaches, back) = (at(clock), at(clock + round.delay_ms), at(clock + 2 * round.delay_ms));
            let member = &mut members[round.member];
            let seen = match store.held {
                Some((holder, revision, until)) if asked < until =>
                    if holder == round.member { Seen::Ours(revision) } else { Seen::Theirs(revision) },
                _ => Seen::Free,
            };
            let mut effect = member.seen(asked, seen, Duration::ZERO).or_else(|| member.due(asked));
            if let Some(Do::Create(over)) = effect {
                let answer = store.take(reaches, round.member, over);
                effect = member.created(back, asked, if round.answer_is_lost { Answer::Unknown } else { answer });
                clock += 2 * round.delay_ms;
            } else if let Some(Do::Renew(from)) = effect {
                let answer = store.write(reaches, round.member, Some(from));
                effect = member.renewed(back, asked, from, if round.answer_is_lost { Answer::Unknown } else { answer });
                clock += 2 * round.delay_ms;
            }
            if let Some(Do::Lead(token)) = effect { tokens.push(token); }
            let leaders = members.iter().filter(|member| member.leads(at(clock))).count();
            prop_assert!(leaders <= 1, "{} leaders at {} ms", leaders, clock);
        }
        prop_assert!(tokens.is_sorted(), "{:?}", tokens);
    }
}
