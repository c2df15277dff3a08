//! The form of all advice: what to do, why, how sure that is, and what it rests on.
//!
//! Inputs: texts, figures. Outputs: a screen or JSON. Must never show an answer without the other three.

use crate::cli::fault::{Exit, Outcome};
use crate::cli::paint::Tone;
use crate::cli::render::{plain, section};
use crate::cli::session::Session;
use serde::Serialize;

/// An advice.
#[derive(Clone, Debug, Serialize)]
pub struct Answer<F: Serialize> {
    /// What to do, in a sentence.
    pub answer: String,
    /// Why.
    pub reasons: Vec<String>,
    /// How sure that is, and what could be different.
    pub uncertainty: Vec<String>,
    /// What it rests on.
    pub data: Vec<String>,
    /// The figures.
    pub figures: F,
}

/// Shows an advice; `table` stands between answer and reasons.
///
/// # Errors
/// Standard output is closed.
pub fn show<F: Serialize>(answer: &Answer<F>, table: &str, session: &mut Session<'_>) -> Outcome {
    if session.global.json {
        session.print_json(answer)?;
        return Ok(Exit::Ok);
    }
    let mut text = format!("{}\n", session.paint.text(Tone::Strong, &plain(&answer.answer)));
    if !table.is_empty() {
        text += &format!("\n{table}");
    }
    let nothing = ["no data was named: the figures are those of the formulas".to_owned()];
    let data = if answer.data.is_empty() { &nothing[..] } else { &answer.data };
    for (heading, items) in [("WHY", &answer.reasons[..]), ("HOW SURE", &answer.uncertainty), ("DATA", data)] {
        text += &section(session, heading, items);
    }
    session.print(&text)?;
    Ok(Exit::Ok)
}

/// A part as people read it.
#[must_use]
pub fn percent(part: f64) -> String {
    format!("{:.1} %", 100.0 * part)
}

/// Hours as people read them.
#[must_use]
pub fn hours(hours: f64) -> String {
    match hours {
        _ if !hours.is_finite() => "never".to_owned(),
        _ if hours < 1.0 => format!("{:.0} min", hours * 60.0),
        _ if hours < 10.0 => format!("{:.0} h {:02.0} min", hours.floor(), ((hours - hours.floor()) * 60.0).floor()),
        _ => format!("{hours:.0} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_as_people_read_them() {
        assert_eq!(
            (hours(0.25), hours(1.5), hours(31.7), hours(f64::INFINITY)),
            ("15 min".into(), "1 h 30 min".into(), "32 h".into(), "never".into())
        );
        assert_eq!(percent(0.2824), "28.2 %");
    }
}
