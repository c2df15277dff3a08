//! What the members say they did, and whether that is what was promised. Pure.
//!
//! Inputs: the lines of one run, and what the fault allows. Outputs: what is wrong, in words, and figures. It must never excuse what the
//! fault does not allow by name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use crate::lines::{Act, Line, Said};

/// A member that begins later than this under an old epoch, counted from when the first member heard of a newer one, obeys somebody who is
/// deposed: members look at the plan every second at least.
const OLD_EPOCH_NS: i64 = 2_500_000_000;

/// Who may act without the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alone {
    /// These.
    Only(BTreeSet<String>),
    /// Everybody: there is no group.
    Anybody,
}

/// What a run was, and what its fault allows.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Whom others need not wait for: cut off, slow, paused, killed.
    pub struck: BTreeSet<String>,
    /// Who cannot act: killed for good.
    pub dead: BTreeSet<String>,
    /// Who may act alone.
    pub alone: Alone,
    /// How many operations there are at most.
    pub operations: usize,
    /// Whether each is completed.
    pub completes: bool,
    /// Longest time from the first notice of an operation to its completion, beyond the work.
    pub bar: Option<Duration>,
    /// How many of a role may work at the same time.
    pub most_at_once: BTreeMap<String, usize>,
    /// The role of each member.
    pub roles: BTreeMap<String, String>,
    /// The order of roles, where all notices came before the first pass began; else empty.
    pub order: Vec<String>,
    /// Who has to hear of every notice, their own excepted.
    pub hears: BTreeSet<String>,
}

/// What was found wrong, by what was promised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Somebody began before its turn.
    pub order: Vec<String>,
    /// Something was done twice.
    pub double: Vec<String>,
    /// Not exactly one completion.
    pub completion: Vec<String>,
    /// A leader that was deposed was obeyed.
    pub stale: Vec<String>,
    /// Somebody had not acted by its own deadline.
    pub late: Vec<String>,
    /// An operation took longer than its bar.
    pub slow: Vec<String>,
    /// Anything else.
    pub other: Vec<String>,
}

impl Findings {
    /// With the name of what was promised.
    pub fn named(&self) -> [(&'static str, &Vec<String>); 7] {
        [
            ("order", &self.order),
            ("double", &self.double),
            ("completion", &self.completion),
            ("stale", &self.stale),
            ("late", &self.late),
            ("slow", &self.slow),
            ("other", &self.other),
        ]
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.named().iter().all(|(_, found)| found.is_empty())
    }
}

/// What was measured in one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Longest time from an operation's first notice to its completion, beyond the work, seconds.
    pub beyond_seconds: Option<f64>,
    /// The work of that operation: the longest of each pass, summed up, seconds.
    pub work_seconds: f64,
    /// Turns that a leader gave.
    pub turns: usize,
    /// Members that acted alone.
    pub alone: usize,
    /// Directives of deposed leaders that were refused.
    pub refused: usize,
    /// How many different leaders there were.
    pub leaders: usize,
    /// Least time that anybody had left after its work, seconds.
    pub least_left_seconds: Option<f64>,
}

/// Work that was begun, and when it ended.
#[derive(Clone, Debug)]
struct Work<'a> {
    member: &'a str,
    act: &'a Act,
    begin: i64,
    end: Option<i64>,
}

/// Judges one run.
pub fn judge(lines: &[Line], facts: &Facts) -> (Findings, Figures) {
    let works = works(lines);
    let mut findings = Findings::default();
    order(lines, &works, facts, &mut findings.order);
    quorum(&works, facts, &mut findings.order);
    double(&works, &mut findings.double);
    stale(lines, &mut findings.stale);
    late(lines, &works, facts, &mut findings.late);
    others(lines, &works, facts, &mut findings.other);
    let mut figures = figures(lines, &works);
    completions(lines, &works, facts, &mut findings, &mut figures);
    (findings, figures)
}

fn works(lines: &[Line]) -> Vec<Work<'_>> {
    let mut works: Vec<Work<'_>> = Vec::new();
    for line in lines {
        match &line.said {
            Said::Begin(act) => works.push(Work { member: &line.member, act, begin: line.at, end: None }),
            Said::End(act) => {
                let same = |work: &&mut Work<'_>| work.member == line.member && work.act == act && work.end.is_none();
                if let Some(work) = works.iter_mut().find(same) {
                    work.end = Some(line.at);
                }
            }
            _ => {}
        }
    }
    works
}

/// Nobody begins a pass before everybody has ended the passes before it, of those who have not been struck; and roles come in their order.
/// For a notice that came to the group amid the operation there are further passes, with those who react once more.
fn order(lines: &[Line], works: &[Work<'_>], facts: &Facts, found: &mut Vec<String>) {
    for (name, works) in by_operation(works) {
        for work in &works {
            let waited_for = |other: &&&Work<'_>| {
                other.act.step < work.act.step
                    && !facts.struck.contains(other.member)
                    && other.end.is_none_or(|end| end > work.begin)
            };
            if let Some(other) = works.iter().find(waited_for) {
                let (step, before) = (work.act.step, other.act.step);
                let (member, waited) = (work.member, other.member);
                found.push(format!("{member} began pass {step} of {name} before {waited} had ended pass {before}"));
            }
        }
        let place = |work: &Work<'_>| facts.order.iter().position(|role| facts.roles.get(work.member) == Some(role));
        let late = late_notices(lines, &works);
        let is_for_late = |work: &Work<'_>| {
            let again = |other: &&Work<'_>| other.member == work.member && other.act.step < work.act.step;
            late.contains(&work.act.event) || (work.act.reacts && !late.is_empty() && works.iter().any(again))
        };
        let mut placed: Vec<_> = works
            .iter()
            .filter(|work| !is_for_late(work))
            .filter_map(|work| Some((work.act.step, place(work)?, work.member)))
            .collect();
        placed.sort_unstable();
        for pair in placed.windows(2) {
            if pair[1].1 < pair[0].1 {
                found.push(format!("{} (pass {}) acted after {}'s role", pair[1].2, pair[1].0, pair[0].2));
            }
        }
    }
}

/// Notices that most of the others heard of when the operation had begun: a server that was cut off may have kept them.
fn late_notices(lines: &[Line], works: &[&Work<'_>]) -> BTreeSet<Uuid> {
    let begun = works.iter().map(|work| work.begin).min().unwrap_or(i64::MAX);
    let mut heard: BTreeMap<Uuid, Vec<i64>> = BTreeMap::new();
    for line in lines {
        if let Said::Heard { event, .. } = &line.said {
            heard.entry(*event).or_default().push(line.at);
        }
    }
    heard.retain(|_, times| {
        times.sort_unstable();
        times.get(times.len() / 2).is_some_and(|middle| *middle > begun)
    });
    heard.into_keys().collect()
}

/// No more of a role work at the same time than may.
fn quorum(works: &[Work<'_>], facts: &Facts, found: &mut Vec<String>) {
    for (role, most) in &facts.most_at_once {
        let mut changes: Vec<(i64, i64)> = Vec::new();
        let of_role =
            |work: &&Work<'_>| facts.roles.get(work.member) == Some(role) && !facts.struck.contains(work.member);
        for work in works.iter().filter(|work| !work.act.alone && !work.act.reacts).filter(of_role) {
            changes.push((work.begin, 1));
            changes.extend(work.end.map(|end| (end, -1)));
        }
        // An end before a beginning of the same time.
        changes.sort_unstable();
        let (mut now, mut peak) = (0_i64, 0_i64);
        for (_, change) in changes {
            now += change;
            peak = peak.max(now);
        }
        if usize::try_from(peak).unwrap_or(0) > *most {
            found.push(format!("{peak} of role {role} worked at the same time, {most} may"));
        }
    }
}

fn double(works: &[Work<'_>], found: &mut Vec<String>) {
    let (mut acts, mut events) = (BTreeSet::new(), BTreeSet::new());
    for work in works {
        let Work { member, act, .. } = work;
        if !act.alone && !acts.insert((*member, &act.operation, act.step)) {
            found.push(format!("{member} did pass {} of {} twice", act.step, act.operation));
        }
        if !events.insert((*member, act.event)) {
            found.push(format!("{member} acted twice for {}", act.event));
        }
    }
}

/// Nobody obeys an epoch below one that it has seen, or long after others have seen a newer one.
fn stale(lines: &[Line], found: &mut Vec<String>) {
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    // When anybody first said so.
    let mut first: BTreeMap<u64, i64> = BTreeMap::new();
    for line in lines {
        let (epoch, obeys) = match &line.said {
            Said::Leader { epoch, .. } => (*epoch, false),
            Said::Begin(act) if !act.alone => (act.epoch, true),
            _ => continue,
        };
        let own = seen.entry(&line.member).or_default();
        if obeys && epoch < *own {
            found.push(format!("{} obeyed epoch {epoch} after it had seen {own}", line.member));
        }
        *own = epoch.max(*own);
        let newer = first.range(epoch + 1..).map(|(epoch, at)| (*at, *epoch)).min();
        if let Some((at, newer)) = newer.filter(|(at, _)| obeys && line.at - at > OLD_EPOCH_NS) {
            let (member, late) = (&line.member, seconds(line.at - at));
            found.push(format!("{member} obeyed epoch {epoch} {late:.1} s after epoch {newer} had begun"));
        }
        let at = first.entry(epoch).or_insert(line.at);
        *at = line.at.min(*at);
    }
}

/// Everybody who has a notice and is not dead has done its work before its own deadline.
fn late(lines: &[Line], works: &[Work<'_>], facts: &Facts, found: &mut Vec<String>) {
    for (member, event, _, deadline) in notices(lines) {
        if facts.dead.contains(member) {
            continue;
        }
        let work = works.iter().find(|work| work.member == member && work.act.event == event);
        match work.map(|work| work.end) {
            None => found.push(format!("{member} never acted")),
            Some(None) => found.push(format!("{member} never ended its work")),
            Some(Some(end)) if end > deadline => {
                found.push(format!("{member} acted {:.1} s after its deadline", seconds(end - deadline)));
            }
            Some(Some(_)) => {}
        }
    }
}

/// Nobody acts alone who need not; everybody who can hears of everything, once.
fn others(lines: &[Line], works: &[Work<'_>], facts: &Facts, found: &mut Vec<String>) {
    if let Alone::Only(names) = &facts.alone {
        for work in works.iter().filter(|work| work.act.alone && !names.contains(work.member)) {
            let why = lines.iter().find_map(|line| match &line.said {
                Said::Alone { why, event } if line.member == work.member && *event == work.act.event => {
                    Some(why.as_str())
                }
                _ => None,
            });
            found.push(format!("{} acted alone: {}", work.member, why.unwrap_or("for no reason that it said")));
        }
    }
    let mut heard: BTreeMap<(&str, Uuid), usize> = BTreeMap::new();
    for line in lines {
        match &line.said {
            Said::Trouble { text } => found.push(format!("{}: {text}", line.member)),
            Said::Heard { event, .. } => *heard.entry((&line.member, *event)).or_default() += 1,
            // What it has heard is not on its disk.
            Said::Started => heard.retain(|(member, _), times| *member != line.member || *times > 1),
            _ => {}
        }
    }
    for ((member, event), times) in heard.iter().filter(|(_, times)| **times > 1) {
        found.push(format!("{member} was told {times} times of event {event}"));
    }
    let told: BTreeSet<(&str, Uuid)> = lines.iter().filter_map(heard_of).collect();
    for (from, event, ..) in notices(lines) {
        let deaf: Vec<&str> = facts
            .hears
            .iter()
            .map(String::as_str)
            .filter(|name| *name != from && !told.contains(&(*name, event)))
            .collect();
        if let Some(first) = deaf.first() {
            found.push(format!("{} members, such as {first}, never heard that {from} goes", deaf.len()));
        }
    }
}

fn heard_of(line: &Line) -> Option<(&str, Uuid)> {
    match &line.said {
        Said::Heard { event, .. } => Some((&line.member, *event)),
        _ => None,
    }
}

/// Each operation is completed once, and in time.
fn completions(lines: &[Line], works: &[Work<'_>], facts: &Facts, findings: &mut Findings, figures: &mut Figures) {
    let mut completed: BTreeMap<&str, (BTreeSet<u64>, i64)> = BTreeMap::new();
    for line in lines {
        if let Said::Completed { operation, epoch, .. } = &line.said {
            let (epochs, at) = completed.entry(operation).or_insert((BTreeSet::new(), line.at));
            epochs.insert(*epoch);
            *at = line.at.min(*at);
        }
    }
    for (operation, (epochs, _)) in completed.iter().filter(|(_, (epochs, _))| epochs.len() > 1) {
        findings.completion.push(format!("{operation} was completed {} times, by epochs {epochs:?}", epochs.len()));
    }
    let operations: BTreeMap<&str, Vec<&Work<'_>>> = by_operation(works);
    let all: BTreeSet<&str> = operations.keys().copied().chain(completed.keys().copied()).collect();
    // What most heard of when the first had begun may come after its end, and then has one of its own.
    let first = by_begin(operations.clone()).into_iter().next().map(|(_, works)| late_notices(lines, &works));
    let wanted = facts.operations + usize::from(first.is_some_and(|late| !late.is_empty()));
    if all.len() > wanted {
        findings.completion.push(format!("{} operations, at most {wanted} wanted", all.len()));
    }
    if facts.completes && completed.is_empty() {
        findings.completion.push("no operation was completed".to_owned());
    }
    let noticed: BTreeMap<Uuid, i64> = notices(lines).map(|(_, event, at, _)| (event, at)).collect();
    let mut last_end = i64::MIN;
    for (name, works) in by_begin(operations) {
        let Some((_, at)) = completed.get(name) else {
            if facts.completes {
                findings.completion.push(format!("{name} was never completed"));
            }
            continue;
        };
        let begun = works.iter().map(|work| work.begin).min().unwrap_or(*at);
        if begun < last_end {
            findings.order.push(format!("{name} began while another operation ran"));
        }
        last_end = last_end.max(*at);
        let Some(from) = works.iter().filter_map(|work| noticed.get(&work.act.event)).min() else { continue };
        let work = work_ns(&works, facts);
        let beyond = seconds(at - from - work);
        if figures.beyond_seconds.is_none_or(|most| beyond > most) {
            (figures.beyond_seconds, figures.work_seconds) = (Some(beyond), seconds(work));
        }
        if let Some(bar) = facts.bar.filter(|bar| beyond > bar.as_secs_f64()) {
            findings.slow.push(format!("{name} took {beyond:.2} s beyond the work, {:.0} may be", bar.as_secs_f64()));
        }
    }
}

/// The longest work of each pass, summed up, without those who were struck: that is the shortest that it can take.
fn work_ns(works: &[&Work<'_>], facts: &Facts) -> i64 {
    let mut longest: BTreeMap<usize, i64> = BTreeMap::new();
    for work in works.iter().filter(|work| !facts.struck.contains(work.member)) {
        let took = work.end.map_or(0, |end| end - work.begin);
        let most = longest.entry(work.act.step).or_default();
        *most = took.max(*most);
    }
    longest.values().sum()
}

fn by_operation<'a, 'b>(works: &'b [Work<'a>]) -> BTreeMap<&'a str, Vec<&'b Work<'a>>> {
    let mut operations: BTreeMap<&str, Vec<&Work<'_>>> = BTreeMap::new();
    for work in works.iter().filter(|work| !work.act.alone) {
        operations.entry(&work.act.operation).or_default().push(work);
    }
    operations
}

fn by_begin<'a, 'b>(operations: BTreeMap<&'a str, Vec<&'b Work<'a>>>) -> Vec<(&'a str, Vec<&'b Work<'a>>)> {
    let mut all: Vec<_> = operations.into_iter().collect();
    all.sort_by_key(|(_, works)| works.iter().map(|work| work.begin).min());
    all
}

/// Member, event, when it was given, deadline. Only the first of an event: a process that was started again is told again.
fn notices(lines: &[Line]) -> impl Iterator<Item = (&str, Uuid, i64, i64)> {
    let mut known = BTreeSet::new();
    lines.iter().filter_map(move |line| match &line.said {
        Said::Notice { event, deadline } if known.insert(*event) => {
            Some((line.member.as_str(), *event, line.at, *deadline))
        }
        _ => None,
    })
}

fn figures(lines: &[Line], works: &[Work<'_>]) -> Figures {
    let leaders: BTreeSet<&str> = lines
        .iter()
        .filter_map(|line| match &line.said {
            Said::Leader { name, .. } => Some(name.as_str()),
            _ => None,
        })
        .collect();
    let deadlines: BTreeMap<Uuid, i64> = notices(lines).map(|(_, event, _, deadline)| (event, deadline)).collect();
    let left = works.iter().filter_map(|work| Some(deadlines.get(&work.act.event)? - work.end?)).min();
    Figures {
        beyond_seconds: None,
        work_seconds: 0.0,
        turns: works.iter().filter(|work| !work.act.alone).count(),
        alone: works.iter().filter(|work| work.act.alone).count(),
        refused: lines.iter().filter(|line| matches!(line.said, Said::Refused { .. })).count(),
        leaders: leaders.len(),
        least_left_seconds: left.map(seconds),
    }
}

#[allow(clippy::cast_precision_loss, reason = "times of a run")]
fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests;
