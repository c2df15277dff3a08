//! What must hold after a round, and whether it did.
//!
//! Inputs: facts of the round, by the words of HAProxy, PostgreSQL, the client. Outputs: findings, a sentence each. Pure. It must never ask
//! anybody, nor excuse anything.

use serde::Serialize;

use crate::evidence::Wall;

/// Longest time without an acknowledged write when one member goes, seconds.
pub const BAR_SECONDS: f64 = 5.0;

/// Who goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One replica.
    Replica,
    /// The primary alone: a replica has to take over.
    Primary,
    /// All three databases.
    Zone,
}

impl Kind {
    /// All.
    pub const ALL: [Self; 3] = [Self::Replica, Self::Primary, Self::Zone];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Replica => "replica",
            Self::Primary => "primary",
            Self::Zone => "zone",
        }
    }
}

/// A machine that had to go.
#[derive(Clone, Debug, Default)]
pub struct Leaver {
    /// Its name.
    pub name: &'static str,
    /// Whether it was the primary when the notice came.
    pub is_primary: bool,
    /// When its daemon saw the notice.
    pub noticed: Option<Wall>,
    /// When the balancer took it out of what it was in.
    pub drained: Option<Wall>,
    /// When its server began to stop.
    pub stops: Option<Wall>,
    /// When its server had stopped.
    pub stopped: Option<Wall>,
    /// When it was killed.
    pub killed: Wall,
    /// What was wrong in its report at that time.
    pub report: Vec<String>,
    /// Why it did not wait for the group, where it did not.
    pub alone: Option<String>,
}

/// What happened in a round.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Who had to go.
    pub kind: Kind,
    /// When the notices said that the machines end; earlier, where the round was told not to wait.
    pub deadline: Wall,
    /// Those who went.
    pub leavers: Vec<Leaver>,
    /// Longest time without an acknowledged write, seconds.
    pub refused_seconds: f64,
    /// Connections and writes that were refused, or got no answer.
    pub refusals: u64,
    /// Rows that were acknowledged since the beginning.
    pub acknowledged: usize,
    /// Which of them are missing, and where.
    pub missing: Vec<(String, Vec<i64>)>,
    /// What else went wrong.
    pub troubles: Vec<String>,
    /// What everybody said, for those who have to find out why: a name and a text each.
    pub said: Vec<(String, String)>,
}

/// What was found, by kind.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Something began too early.
    pub order: Vec<String>,
    /// An acknowledged row is missing.
    pub lost: Vec<String>,
    /// Writes were refused for too long.
    pub refused: Vec<String>,
    /// A machine was killed before its work was over.
    pub unfinished: Vec<String>,
    /// The rest.
    pub other: Vec<String>,
}

impl Findings {
    /// All of them, each with its kind.
    pub fn named(&self) -> Vec<(&'static str, &Vec<String>)> {
        vec![
            ("order", &self.order),
            ("lost", &self.lost),
            ("refused", &self.refused),
            ("unfinished", &self.unfinished),
            ("other", &self.other),
        ]
    }

    /// Whether everything held.
    pub fn is_empty(&self) -> bool {
        self.named().iter().all(|(_, found)| found.is_empty())
    }
}

/// Judges a round.
pub fn judge(facts: &Facts) -> Findings {
    let mut findings = Findings { order: order(&facts.leavers), other: facts.troubles.clone(), ..Findings::default() };
    for (place, rows) in facts.missing.iter().filter(|(_, rows)| !rows.is_empty()) {
        findings.lost.push(format!("{place} lacks {} acknowledged rows, {:?} first", rows.len(), rows.first()));
    }
    if facts.kind != Kind::Zone && facts.refused_seconds > BAR_SECONDS {
        findings.refused.push(format!("no write for {:.1} s; {BAR_SECONDS} s allowed", facts.refused_seconds));
    }
    for leaver in &facts.leavers {
        let name = leaver.name;
        if leaver.stopped.is_none_or(|stopped| stopped > leaver.killed) {
            findings.unfinished.push(format!("{name} was killed before its server had stopped"));
        }
        findings.unfinished.extend(leaver.report.iter().map(|problem| format!("{name}: {problem}")));
        if leaver.killed < facts.deadline {
            findings.other.push(format!("{name} was killed {:.3} s before its time", facts.deadline - leaver.killed));
        }
    }
    findings
}

/// Everybody is drained before anybody stops, replicas stop one after another, and before the primary.
fn order(leavers: &[Leaver]) -> Vec<String> {
    let mut found = Vec::new();
    for leaver in leavers {
        let Some(drained) = leaver.drained else {
            found.push(format!("{} was never drained", leaver.name));
            continue;
        };
        let early = leavers.iter().filter(|other| other.stops.is_some_and(|stops| stops < drained));
        found.extend(early.map(|other| format!("{} began to stop before {} was drained", other.name, leaver.name)));
    }
    for (first, second) in pairs(leavers) {
        let (Some(stopped), Some(stops)) = (first.stopped, second.stops) else { continue };
        if stops < stopped {
            let early = format!("{} began to stop {:.3} s before {} had", second.name, stopped - stops, first.name);
            found.push(early);
        }
    }
    found
}

/// Who has to have stopped before whom.
fn pairs(leavers: &[Leaver]) -> Vec<(&Leaver, &Leaver)> {
    let mut replicas: Vec<&Leaver> = leavers.iter().filter(|leaver| !leaver.is_primary).collect();
    let began = |leaver: &Leaver| leaver.stops.unwrap_or(Wall::MAX);
    replicas.sort_by(|one, other| began(one).total_cmp(&began(other)));
    let one_by_one = replicas.windows(2).map(|two| (two[0], two[1]));
    let primary = leavers.iter().find(|leaver| leaver.is_primary);
    let last = primary.into_iter().flat_map(|primary| replicas.iter().map(move |replica| (*replica, primary)));
    one_by_one.chain(last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaver(name: &'static str, drained: Wall, stops: Wall) -> Leaver {
        Leaver {
            name,
            is_primary: name == "db-1",
            drained: Some(drained),
            stops: Some(stops),
            stopped: Some(stops + 1.0),
            killed: 30.0,
            ..Leaver::default()
        }
    }

    fn zone() -> Facts {
        Facts {
            kind: Kind::Zone,
            deadline: 30.0,
            leavers: vec![leaver("db-1", 1.0, 6.0), leaver("db-2", 1.0, 2.0), leaver("db-3", 1.5, 4.0)],
            refused_seconds: 40.0,
            refusals: 9,
            acknowledged: 10,
            missing: vec![("db-1".to_owned(), Vec::new())],
            troubles: Vec::new(),
            said: Vec::new(),
        }
    }

    fn counts(facts: &Facts) -> [usize; 5] {
        let findings = judge(facts);
        [
            findings.order.len(),
            findings.lost.len(),
            findings.refused.len(),
            findings.unfinished.len(),
            findings.other.len(),
        ]
    }

    #[test]
    fn a_zone_that_goes_in_order_holds_however_long_writes_end() {
        assert_eq!(counts(&zone()), [0; 5]);
    }

    #[test]
    fn whoever_begins_too_early_is_found() {
        let mut facts = zone();
        facts.leavers[2].drained = Some(3.0);
        assert_eq!(counts(&facts), [1, 0, 0, 0, 0], "db-2 stops before db-3 is drained");
        facts.leavers[2].drained = None;
        assert_eq!(counts(&facts), [1, 0, 0, 0, 0]);
        let mut facts = zone();
        facts.leavers[0].stops = Some(4.5);
        assert_eq!(counts(&facts), [1, 0, 0, 0, 0], "the primary, before db-3 has stopped");
        let mut facts = zone();
        facts.leavers[2].stops = Some(2.5);
        assert_eq!(counts(&facts), [1, 0, 0, 0, 0], "two replicas at once");
    }

    #[test]
    fn a_lost_row_a_long_refusal_and_a_machine_killed_at_work_are_found() {
        let mut facts = zone();
        facts.missing[0].1.push(7);
        assert_eq!(counts(&facts), [0, 1, 0, 0, 0]);
        let mut facts = Facts { kind: Kind::Primary, leavers: vec![leaver("db-1", 1.0, 2.0)], ..zone() };
        assert_eq!(counts(&facts), [0, 0, 1, 0, 0]);
        facts.refused_seconds = 4.9;
        facts.leavers[0].stopped = None;
        assert_eq!(counts(&facts), [0, 0, 0, 1, 0]);
        let mut facts = zone();
        facts.leavers[1].report.push("switchover failed".to_owned());
        facts.leavers[1].killed = 29.0;
        facts.troubles.push("no leader".to_owned());
        assert_eq!(counts(&facts), [0, 0, 0, 1, 2]);
    }
}
