//! `snooze insight`: on one page what is found, what is looked for and not found, and what there is too little data for.
//!
//! Inputs: lives, and the events of a history. Outputs: a line for each question. Must never leave a question out because its answer
//! is none.

use super::finding::{Shown, data_said};
use super::kept::{Known, Question};
use super::lead_time::warned;
use super::models::compared;
use super::source::{Opened, Source, ages_said, default_until_h};
use super::{SEED, rates};
use crate::cli::fault::{Exit, Fault, Outcome};
use crate::cli::paint::Tone;
use crate::cli::render::{plain, section, wrapped};
use crate::cli::session::Session;
use cloudsnooze_insight::exposed::by_time;
use cloudsnooze_insight::lifetimes::Effects;
use cloudsnooze_insight::models::rates::of_pools;
use cloudsnooze_insight::patterns::Verdict;
use cloudsnooze_insight::patterns::batches::Together;
use cloudsnooze_insight::patterns::change::Changes;
use cloudsnooze_insight::patterns::lead::LeadTime;
use cloudsnooze_insight::patterns::seasons::{Options, Seasons};
use cloudsnooze_insight::{Life, Scarce};
use serde::{Deserialize, Serialize};

/// Draws for intervals: fewer than where one question is asked.
const ROUNDS: usize = 200;

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Came {
    Found,
    NotShown,
    TooLittle,
}

impl From<Verdict> for Came {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Found => Self::Found,
            Verdict::NotShown => Self::NotShown,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    question: String,
    came: Came,
    sentence: String,
    /// The command that says more.
    more: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Page {
    looks: Vec<Line>,
    uncertainty: Vec<String>,
    data: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// There is no such source.
pub fn run(source: &Source, session: &mut Session<'_>) -> Outcome {
    let page = source.answer(&Question::usual("summary"), session, |opened, session| {
        let seen = opened.lives(session)?;
        let until_h = default_until_h(&seen.lives);
        let mut looks = looks(&seen.lives, until_h, session);
        session.progress("how long is one warned?");
        let notices = match opened {
            Opened::History(archive, _) => warned(archive)?,
            Opened::Lives(_) => Vec::new(),
        };
        let lead = LeadTime::of(&notices).map(|lead| (Came::Found, lead.sentence));
        looks.push(line("how long is one warned?", "lead-time", lead));
        Ok(Page { looks, uncertainty: ages_said(until_h), data: seen.data })
    })?;
    if session.global.json {
        session.print_json(&Shown::of(&page))?;
    } else {
        let text = screen(&page, session)?;
        session.print(&text)?;
    }
    Ok(Exit::Ok)
}

fn line(question: &str, more: &str, came: Result<(Came, String), Scarce>) -> Line {
    let (came, sentence) = came.unwrap_or_else(|why| (Came::TooLittle, why.0));
    Line { question: question.to_owned(), came, sentence, more: more.to_owned() }
}

fn looks(lives: &[Life], until_h: f64, session: &mut Session<'_>) -> Vec<Line> {
    let options = Options { rounds: 500, seed: SEED, until_h, ..Options::default() };
    let mut looks = Vec::new();
    let mut look = |question, more, ask: &dyn Fn() -> Result<(Came, String), Scarce>| {
        session.progress(question);
        looks.push(line(question, more, ask()));
    };
    look("how often, where?", "rates", &|| of_pools(lives).map(|pools| (Came::Found, rates::sentence(&pools))));
    look("can interruptions be foreseen?", "models", &|| {
        compared(lives, until_h).map(|found| (found.verdict.into(), found.sentence))
    });
    look("what shortens lives?", "lifetimes", &|| {
        Effects::of(lives, until_h, ROUNDS, SEED).map(|found| (found.verdict.into(), found.sentence))
    });
    look("hours and weekdays?", "seasons", &|| {
        Seasons::of(lives, &options).map(|found| (found.verdict.into(), found.sentence))
    });
    look("has the rate changed?", "changes", &|| {
        Changes::of(&by_time(lives)?).map(|found| (found.verdict.into(), found.sentence))
    });
    look("do pools fall together?", "pools", &|| Err(Scarce(super::pools::NEEDS_TRACES.to_owned())));
    look("do machines of a batch end together?", "pools", &|| {
        Together::of(lives, super::pools::TOGETHER_MIN, until_h, ROUNDS, SEED)
            .map(|found| (found.verdict.into(), found.sentence))
    });
    looks
}

fn screen(known: &Known<Page>, session: &Session<'_>) -> Result<String, Fault> {
    let page = &known.answer;
    let mut text = String::new();
    let headings =
        [(Came::Found, "FOUND"), (Came::NotShown, "LOOKED FOR AND NOT FOUND"), (Came::TooLittle, "TOO LITTLE DATA")];
    for (came, heading) in headings {
        let mut lines = page.looks.iter().filter(|line| line.came == came).peekable();
        if lines.peek().is_none() {
            continue;
        }
        text += &format!("{}{}\n", if text.is_empty() { "" } else { "\n" }, session.paint.text(Tone::Strong, heading));
        for line in lines {
            let said = format!("{} {} (snooze insight {})", line.question, plain(&line.sentence), line.more);
            text += &wrapped("  - ", &said, usize::from(session.width));
        }
    }
    text += &section(session, "HOW SURE", &page.uncertainty);
    Ok(text + &section(session, "DATA", &data_said(&page.data, known)))
}
