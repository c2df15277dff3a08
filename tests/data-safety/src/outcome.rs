//! What was shown, and whether it holds.
//!
//! Inputs: what rounds came to. Outputs: tables, JSON, the verdict. Pure. Must never call good what could not have failed.

use crate::ledger::Verdict;
use crate::resumptions::Played;
use crate::trajectory::Trajectory;
use comfy_table::{Table, presets};
use serde::{Serialize, Serializer};

/// What the rounds without the plugin came to.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Control {
    /// Rounds.
    pub rounds: u64,
    /// Rounds that lost something.
    pub rounds_with_loss: u64,
    /// Writes that were acknowledged, or work that was done before the notice.
    pub done: u64,
    /// Of that, what is gone.
    pub lost: u64,
}

impl Control {
    /// One round.
    pub fn of(done: u64, lost: u64) -> Self {
        Self { rounds: 1, rounds_with_loss: u64::from(lost > 0), done, lost }
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            rounds: self.rounds + other.rounds,
            rounds_with_loss: self.rounds_with_loss + other.rounds_with_loss,
            done: self.done + other.done,
            lost: self.lost + other.lost,
        }
    }
}

/// What the rounds of one server came to.
#[derive(Clone, Debug, Serialize)]
pub struct ServerOutcome {
    name: &'static str,
    version: String,
    /// What a loss without the plugin is made of.
    at_risk: &'static str,
    /// Rounds.
    pub rounds: u64,
    /// Writes.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Writes that the server refused.
    pub refused: u64,
    /// Longest time from detection to the end of the handler.
    pub slowest_flush_ms: f64,
    /// Rounds in which the plugin did not do its work, and why.
    pub failures: Vec<String>,
    /// Without the plugin.
    pub control: Control,
}

impl ServerOutcome {
    /// Nothing yet.
    pub fn new(name: &'static str, version: String, at_risk: &'static str) -> Self {
        Self {
            name,
            version,
            at_risk,
            rounds: 0,
            verdict: Verdict::default(),
            refused: 0,
            slowest_flush_ms: 0.0,
            failures: Vec::new(),
            control: Control::default(),
        }
    }

    fn holds(&self) -> bool {
        let Verdict { before_end, lost, lost_later, .. } = self.verdict;
        self.failures.is_empty() && before_end > 0 && lost == 0 && lost_later == 0 && self.control.lost > 0
    }
}

/// What the rounds of one program came to.
#[derive(Clone, Debug, Serialize)]
pub struct ProgramOutcome {
    name: &'static str,
    rounds: u64,
    /// Work that was done in the rounds when their notices came.
    done: u64,
    /// Of that, what had to be done again.
    lost: u64,
    /// Rounds after which the program went on from where its newest save is.
    resumed_at_save: u64,
    failures: Vec<String>,
    /// Without the plugin.
    pub control: Control,
    /// Whether what came of it is the same as without interruptions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trajectory: Option<Trajectory>,
}

impl ProgramOutcome {
    /// Nothing yet.
    pub fn new(name: &'static str) -> Self {
        let control = Control::default();
        Self { name, rounds: 0, done: 0, lost: 0, resumed_at_save: 0, failures: Vec::new(), control, trajectory: None }
    }

    /// One more round.
    pub fn add(&mut self, round: u64, played: Played) {
        self.rounds += 1;
        self.done += played.before;
        self.lost += played.lost;
        self.resumed_at_save += u64::from(played.saved == Some(played.resumed));
        self.failures.extend(played.failure.map(|failure| format!("round {round}: {failure}")));
    }

    fn holds(&self) -> bool {
        self.failures.is_empty()
            && self.done > 0
            && self.lost == 0
            && self.resumed_at_save == self.rounds
            && self.control.lost > 0
            && self.trajectory.is_none_or(Trajectory::holds)
    }
}

/// What became of one subject.
#[derive(Clone, Debug)]
pub enum Shown {
    /// A server.
    Server(ServerOutcome),
    /// A program.
    Program(ProgramOutcome),
    /// Something that is needed is not there.
    NotRun(&'static str, String),
    /// A round could not be carried out.
    Broken(&'static str, String),
}

impl Shown {
    fn name(&self) -> &'static str {
        match self {
            Self::Server(outcome) => outcome.name,
            Self::Program(outcome) => outcome.name,
            Self::NotRun(name, _) | Self::Broken(name, _) => name,
        }
    }

    /// Whether what it shows is what was to be shown; None: it shows nothing.
    fn holds(&self) -> Option<bool> {
        match self {
            Self::Server(outcome) => Some(outcome.holds()),
            Self::Program(outcome) => Some(outcome.holds()),
            Self::NotRun(..) | Self::Broken(..) => None,
        }
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Nothing<'a> {
            name: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            not_run: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            broken: Option<&'a str>,
        }
        match self {
            Self::Server(outcome) => outcome.serialize(serializer),
            Self::Program(outcome) => outcome.serialize(serializer),
            Self::NotRun(name, why) => Nothing { name, not_run: Some(why), broken: None }.serialize(serializer),
            Self::Broken(name, why) => Nothing { name, not_run: None, broken: Some(why) }.serialize(serializer),
        }
    }
}

/// The names of those of which it was not shown that nothing is lost, for whatever reason.
pub fn not_shown_safe(all: &[Shown]) -> Vec<&'static str> {
    all.iter().filter(|shown| shown.holds() != Some(true)).map(Shown::name).collect()
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// All holds.
    Holds,
    /// Something was lost, or could not have been.
    Fails,
    /// It could not be shown.
    Unknown,
}

impl Ending {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Holds => 0,
            Self::Fails => 1,
            Self::Unknown => 3,
        }
    }

    /// Of all together. What is not there is passed over where something was shown, unless everything is required.
    pub fn of(all: &[Shown], requires_all: bool) -> Self {
        let verdicts: Vec<bool> = all.iter().filter_map(Shown::holds).collect();
        let is_broken = |shown: &Shown| match shown {
            Shown::Broken(..) => true,
            Shown::NotRun(..) => requires_all,
            _ => false,
        };
        match () {
            () if verdicts.contains(&false) => Self::Fails,
            () if verdicts.is_empty() || all.iter().any(is_broken) => Self::Unknown,
            () => Self::Holds,
        }
    }
}

/// Tables and what went wrong, for people.
pub fn text(all: &[Shown]) -> String {
    let mut servers = table(&[
        "server",
        "rounds",
        "acknowledged",
        "before the flush's end",
        "lost",
        "after it",
        "lost",
        "slowest flush",
        "control: lost",
    ]);
    let mut programs =
        table(&["program", "rounds", "done at notice", "lost", "resumed at save", "losses compared", "control: lost"]);
    let mut notes = String::new();
    for shown in all {
        match shown {
            Shown::Server(outcome) => {
                server_row(&mut servers, outcome);
                notes.push_str(&format!("{}, at risk: {}\n", outcome.version, outcome.at_risk));
                complain(&mut notes, outcome.name, &outcome.failures, &outcome.control);
            }
            Shown::Program(outcome) => {
                program_row(&mut programs, outcome);
                complain(&mut notes, outcome.name, &outcome.failures, &outcome.control);
            }
            Shown::NotRun(name, why) => notes.push_str(&format!("NOT RUN: {name}: {why}\n")),
            Shown::Broken(name, why) => notes.push_str(&format!("BROKEN: {name}: {why}\n")),
        }
    }
    let tables = [servers, programs].into_iter().filter(|table| table.row_count() > 0);
    tables.map(|table| format!("{table}\n\n")).collect::<String>() + &notes
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header.to_vec());
    table
}

fn control(control: &Control) -> String {
    format!("{} of {} in {} of {} rounds", control.lost, control.done, control.rounds_with_loss, control.rounds)
}

fn server_row(table: &mut Table, outcome: &ServerOutcome) {
    let Verdict { acknowledged, before_end, lost, lost_later } = outcome.verdict;
    let numbers = [outcome.rounds, acknowledged, before_end, lost, acknowledged - before_end, lost_later];
    let texts = numbers.map(|number| number.to_string()).into_iter();
    let more = [format!("{:.0} ms", outcome.slowest_flush_ms), control(&outcome.control)];
    table.add_row(std::iter::once(outcome.name.to_owned()).chain(texts).chain(more));
}

fn program_row(table: &mut Table, outcome: &ProgramOutcome) {
    let compared = outcome.trajectory.map_or("-".to_owned(), |trajectory| {
        let found = if trajectory.mistake_found { "found" } else { "NOT FOUND" };
        format!("{}, {} differ; a mistake is {found}", trajectory.steps_compared, trajectory.differing)
    });
    let numbers =
        [outcome.rounds, outcome.done, outcome.lost, outcome.resumed_at_save].map(|number| number.to_string());
    let more = [compared, control(&outcome.control)];
    table.add_row(std::iter::once(outcome.name.to_owned()).chain(numbers).chain(more));
}

fn complain(notes: &mut String, name: &str, failures: &[String], control: &Control) {
    for failure in failures {
        notes.push_str(&format!("{name}: {failure}\n"));
    }
    if control.lost == 0 {
        notes.push_str(&format!("{name}: nothing was lost without the plugin either: this proves nothing\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(change: impl FnOnce(&mut ServerOutcome)) -> Shown {
        let mut outcome = ServerOutcome::new("redis", "Redis".to_owned(), "everything");
        outcome.rounds = 1;
        outcome.verdict = Verdict { acknowledged: 9, before_end: 8, lost: 0, lost_later: 0 };
        outcome.control = Control::of(9, 9);
        change(&mut outcome);
        Shown::Server(outcome)
    }

    #[test]
    fn a_loss_an_unflushed_round_and_a_control_that_loses_nothing_fail() {
        assert_eq!(Ending::of(&[server(|_| ())], true), Ending::Holds);
        let bad: [fn(&mut ServerOutcome); 5] = [
            |outcome| outcome.verdict.lost = 1,
            |outcome| outcome.verdict.lost_later = 1,
            |outcome| outcome.verdict.before_end = 0,
            |outcome| outcome.failures.push("late".to_owned()),
            |outcome| outcome.control = Control::of(9, 0),
        ];
        for change in bad {
            assert_eq!(Ending::of(&[server(|_| ()), server(change)], false), Ending::Fails);
        }
    }

    #[test]
    fn a_program_must_go_on_from_its_save_and_to_the_same_losses() {
        let played = |saved| Played { before: 5, lost: 0, resumed: 7, saved, failure: None };
        let trajectory = Trajectory { steps_compared: 9, differing: 0, mistake_found: true };
        let ending = |saved, trajectory| {
            let mut outcome = ProgramOutcome::new("torch");
            outcome.control = Control::of(5, 5);
            outcome.add(1, played(saved));
            outcome.trajectory = Some(trajectory);
            Ending::of(&[Shown::Program(outcome)], true)
        };
        assert_eq!(ending(Some(7), trajectory), Ending::Holds);
        assert_eq!(ending(Some(8), trajectory), Ending::Fails);
        assert_eq!(ending(Some(7), Trajectory { differing: 1, ..trajectory }), Ending::Fails);
        assert_eq!(ending(Some(7), Trajectory { mistake_found: false, ..trajectory }), Ending::Fails);
    }

    #[test]
    fn what_is_missing_is_said_and_counts_only_where_everything_is_required() {
        let absent = Shown::NotRun("torch", "install it".to_owned());
        let some = [server(|_| ()), absent.clone()];
        assert_eq!(Ending::of(&some, false), Ending::Holds);
        assert_eq!(Ending::of(&some, true), Ending::Unknown);
        assert_eq!(Ending::of(&[absent], false), Ending::Unknown);
        assert_eq!(Ending::of(&[server(|_| ()), Shown::Broken("redis", String::new())], false), Ending::Unknown);
        assert!(text(&some).contains("NOT RUN: torch: install it"), "{}", text(&some));
    }
}
