//! The form of all that is found: a sentence, how sure it is, what it rests on, and the figures.
//!
//! Inputs: texts, figures. Outputs: a screen or JSON. Must never show a sentence without the other two, nor a number that is none, nor
//! an answer that was kept as if it were of now.

use super::kept::{Basis, Known};
use crate::cli::fault::{Exit, Fault, Outcome};
use crate::cli::render::{plain, section, wrapped};
use crate::cli::session::Session;
use crate::history::archive::views::Amounts;
use cloudsnooze_insight::patterns::Verdict;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What was found, or not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finding<F> {
    /// In a sentence.
    pub sentence: String,
    /// Whether it was; None where that is no question.
    pub verdict: Option<Verdict>,
    /// How sure that is, and what could be different.
    pub uncertainty: Vec<String>,
    /// What it rests on.
    pub data: Vec<String>,
    /// The figures.
    pub figures: F,
}

/// A kept answer's age, as programs read it.
#[derive(Clone, Debug, Serialize)]
pub struct Since {
    worked_out: String,
    ended_lives: u64,
    notices: u64,
}

impl From<&Basis> for Since {
    fn from(basis: &Basis) -> Self {
        let Amounts { ended_lives, notices } = basis.amounts;
        Self { worked_out: moment(basis.at_s), ended_lives, notices }
    }
}

/// What is shown, with how old it is where it was kept.
#[derive(Debug, Serialize)]
pub struct Shown<'a, T> {
    #[serde(flatten)]
    answer: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<Since>,
}

impl<'a, T> Shown<'a, T> {
    /// An answer, to be printed as JSON.
    pub fn of(known: &'a Known<T>) -> Self {
        Self { answer: &known.answer, kept: known.kept().map(Since::from) }
    }
}

/// Shows it; `table` stands below the sentence.
///
/// # Errors
/// Standard output is closed.
pub fn show<F: Serialize>(known: &Known<Finding<F>>, table: &str, session: &mut Session<'_>) -> Outcome {
    if session.global.json {
        session.print_json(&Shown::of(known))?;
        return Ok(Exit::Ok);
    }
    let finding = &known.answer;
    let width = usize::from(session.width);
    let mut text = wrapped("", &plain(&finding.sentence), width);
    if !table.is_empty() {
        text += &format!("\n{table}");
    }
    text += &section(session, "HOW SURE", &finding.uncertainty);
    text += &section(session, "DATA", &data_said(&finding.data, known));
    session.print(&text)?;
    Ok(Exit::Ok)
}

/// The lines about the data, and about the age of an answer that was kept.
pub fn data_said<T>(data: &[String], known: &Known<T>) -> Vec<String> {
    data.iter().cloned().chain(known.kept().map(Basis::said)).collect()
}

/// A part as people read it: small ones with the digits that count.
pub fn percent(part: f64) -> String {
    match 100.0 * part {
        all if all >= 10.0 => format!("{all:.0} %"),
        all if all >= 1.0 || all <= 0.0 => format!("{all:.1} %"),
        all if all >= 0.01 => format!("{all:.2} %"),
        _ => "below 0.01 %".to_owned(),
    }
}

/// A rate as people read it.
pub fn rate(per_hour: f64) -> String {
    match per_hour {
        none if none <= 0.0 => "0".to_owned(),
        large if large >= 1e6 => "unknown".to_owned(),
        large if large >= 0.01 => format!("{large:.3}"),
        small => format!("{small:.1e}"),
    }
}

/// A moment as people read it.
#[allow(clippy::cast_possible_truncation, reason = "a cast of a float saturates, and such a moment has no name")]
pub fn moment(at_s: f64) -> String {
    let at = Timestamp::from_second(at_s as i64).ok();
    at.map_or_else(|| "an unknown time".to_owned(), |at| at.strftime("%FT%H:%MZ").to_string())
}

/// Hours as people read them.
pub fn hours(hours: f64) -> String {
    match hours {
        _ if hours < 1.0 => format!("{:.0} min", hours * 60.0),
        _ if hours < 10.0 => format!("{} h", format!("{hours:.1}").trim_end_matches(".0")),
        _ if hours < 240.0 => format!("{hours:.0} h"),
        _ => format!("{:.0} d", hours / 24.0),
    }
}

/// What went wrong when a picture or model was written.
pub fn writing(path: &std::path::Path, error: &std::io::Error) -> Fault {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => Fault::Forbidden(format!("may not write {}", path.display())),
        _ => Fault::InputOutput(format!("cannot write {}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_as_people_read_them() {
        assert_eq!([0.0, 0.00001, 0.0012, 0.052, 0.4].map(percent).join(" "), "0.0 % below 0.01 % 0.12 % 5.2 % 40 %");
        assert_eq!([0.0, 2.47e-4, 0.25, f64::MAX].map(rate).join(" "), "0 2.5e-4 0.250 unknown");
        assert_eq!([0.5, 3.25, 31.0, 480.0].map(hours).join(" "), "30 min 3.2 h 31 h 20 d");
        assert_eq!((moment(0.0), moment(f64::MAX)), ("1970-01-01T00:00Z".into(), "an unknown time".into()));
    }
}
