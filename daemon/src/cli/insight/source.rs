//! What is looked at: the lives in a history, or in a file of the public form.
//!
//! Inputs: a history (file or server) or a CSV file. Outputs: lives, with a line about where they come from. Must never count a life whose
//! clock was wrong for what it says about hours: it is left out, and that is said.

use super::finding::moment;
use super::kept::{self, Known, Question};
use crate::cli::fault::Fault;
use crate::cli::history::{self, exposure};
use crate::cli::session::Session;
use crate::history::archive::views::Filter;
use crate::history::archive::{Access, Archive, Place};
use crate::sys::clock;
use cloudsnooze_insight::{Life, data};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// Largest file that is read, bytes.
const BYTES_MAX: u64 = 512 * 1024 * 1024;
/// 2000-01-01T00:00:00Z: no machine that can be interrupted began before.
const FIRST_S: f64 = 946_684_800.0;
/// Clocks of machines may differ so much, seconds.
const CLOCKS_DIFFER_S: f64 = 3_600.0;

/// Where to look, as options.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Source {
    /// History to work with: a file, or postgres://USER@HOST/DATABASE [default: history.sqlite in the
    /// configuration's state_directory]
    #[arg(long, global = true, value_name = "PLACE", help_heading = "Data")]
    store: Option<String>,

    /// Lives in a file in place of a history: CSV with zone, machine_type, launch_utc, lifetime_s, event (1:
    /// interrupted), batch.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Data")]
    lives: Option<PathBuf>,

    /// Work the answer out anew, even where one of the same history was kept that is younger than a day.
    #[arg(long, global = true, help_heading = "Data")]
    fresh: bool,
}

/// A source that is open.
pub enum Opened {
    /// A history, and where it is.
    History(Box<Archive>, Place),
    /// A file of lives.
    Lives(PathBuf),
}

/// Until which age lives are looked at, as an option.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Ages {
    /// Look at machines until this age only, in hours [default: 23 where all machines are of GCP and none lives
    /// longer than 25, as GCP ends its preemptible machines at 24; else no limit]
    #[arg(long, value_name = "HOURS", value_parser = above_zero)]
    until_hours: Option<f64>,
}

/// What there is.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Lives of machines that can be interrupted.
    pub lives: Vec<Life>,
    /// A line about each source, and what was left out.
    pub data: Vec<String>,
}

impl Source {
    /// The history, where it is not a file of lives that is to be looked at.
    ///
    /// # Errors
    /// Both are named, or the configuration cannot be used.
    fn place(&self, session: &Session<'_>) -> Result<Option<Place>, Fault> {
        match (&self.store, &self.lives) {
            (Some(_), Some(_)) => Err(Fault::Usage("--store and --lives are two sources: choose one".to_owned())),
            (_, Some(_)) => Ok(None),
            (store, None) => history::place(store.as_deref(), session).map(Some),
        }
    }

    /// Opens it to look.
    ///
    /// # Errors
    /// There is no history there, or both were named.
    pub fn open(&self, session: &Session<'_>) -> Result<Opened, Fault> {
        match self.place(session)? {
            Some(place) => Ok(Opened::History(Box::new(Archive::open(&place, Access::Read)?), place)),
            None => Ok(Opened::Lives(self.lives.clone().unwrap_or_default())),
        }
    }

    /// The answer to a question about this source: one that was kept, or what `work` says now.
    ///
    /// # Errors
    /// There is no such source, and those of the work.
    pub fn answer<T: Serialize + DeserializeOwned>(
        &self,
        question: &Question,
        session: &mut Session<'_>,
        work: impl FnOnce(&mut Opened, &mut Session<'_>) -> Result<T, Fault>,
    ) -> Result<Known<T>, Fault> {
        self.answer_of(&mut self.open(session)?, question, session, work)
    }

    /// The same of a source that is open already.
    ///
    /// # Errors
    /// Those of the history and of the work.
    pub fn answer_of<T: Serialize + DeserializeOwned>(
        &self,
        opened: &mut Opened,
        question: &Question,
        session: &mut Session<'_>,
        work: impl FnOnce(&mut Opened, &mut Session<'_>) -> Result<T, Fault>,
    ) -> Result<Known<T>, Fault> {
        kept::answer(question, self.fresh, opened, session, work)
    }
}

impl Opened {
    /// All lives.
    ///
    /// # Errors
    /// The database's, or the file holds something else.
    pub fn lives(&mut self, session: &mut Session<'_>) -> Result<Seen, Fault> {
        session.progress("the lives of machines are read");
        let found = match self {
            Self::History(archive, _) => {
                let lives = exposure::lives(archive, &Filter::default())?;
                seen(archive.place().to_owned(), lives, Vec::new())
            }
            Self::Lives(path) => of_file(path)?,
        };
        session.progress(&format!("the lives of {} machines are looked at", found.lives.len()));
        Ok(found)
    }

    /// The history, where it is one.
    ///
    /// # Errors
    /// It is a file of lives, which has no events.
    pub fn history(&mut self) -> Result<&mut Archive, Fault> {
        match self {
            Self::History(archive, _) => Ok(archive),
            Self::Lives(_) => {
                Err(Fault::Usage("a file of lives does not say that: name a history (--store PLACE)".to_owned()))
            }
        }
    }
}

impl Ages {
    /// Until which age, hours; infinite: no limit.
    pub fn until_h(self, lives: &[Life]) -> f64 {
        self.until_hours.unwrap_or_else(|| default_until_h(lives))
    }

    /// The question of a view with this option.
    pub fn question(self, view: &'static str) -> Question {
        Question { view, options: self.until_hours.map_or_else(String::new, |hours| format!("until {hours} h")) }
    }
}

/// GCP ends each preemptible machine at 24 hours (cloud.google.com/compute/docs/instances/preemptible): that tells when it was started.
pub fn default_until_h(lives: &[Life]) -> f64 {
    let is_gcp = lives.iter().all(|life| life.pool.provider == "gcp");
    let longest = lives.iter().map(|life| life.lived_h).fold(0.0, f64::max);
    if is_gcp && (23.0..=25.0).contains(&longest) { 23.0 } else { f64::INFINITY }
}

/// What to say of that.
pub fn ages_said(until_h: f64) -> Vec<String> {
    let text = || {
        format!(
            "Machines are looked at until the age of {until_h} h: what the provider does to older ones is left out."
        )
    };
    if until_h.is_finite() { vec![text()] } else { Vec::new() }
}

fn of_file(path: &Path) -> Result<Seen, Fault> {
    let failed = |error: &std::io::Error| Fault::reading(path, error);
    let size = std::fs::metadata(path).map_err(|error| failed(&error))?.len();
    if size > BYTES_MAX {
        return Err(Fault::InputOutput(format!("{} is larger than {} MiB", path.display(), BYTES_MAX >> 20)));
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    let read = data::lives::read(&text).map_err(|error| Fault::Data(format!("{}, {error}", path.display())))?;
    let mut more = Vec::new();
    if read.left_out > 0 {
        more.push(format!("{} lives at the full price are left out: nobody takes such machines back.", read.left_out));
    }
    Ok(seen(path.display().to_string(), read.lives, more))
}

fn seen(name: String, all: Vec<Life>, more: Vec<String>) -> Seen {
    let latest_s = clock::wall_ns() as f64 / 1e9 + CLOCKS_DIFFER_S;
    let count = all.len();
    let lives: Vec<Life> = all.into_iter().filter(|life| (FIRST_S..=latest_s).contains(&life.launched_s)).collect();
    let mut data = vec![said(&name, &lives)];
    let wrong = count - lives.len();
    if wrong > 0 {
        data.push(format!("{wrong} lives are left out: by their clock they began before 2000 or have not begun yet."));
    }
    data.extend(more);
    Seen { lives, data }
}

fn said(name: &str, lives: &[Life]) -> String {
    let interrupted = lives.iter().filter(|life| life.is_interrupted()).count();
    let hours: f64 = lives.iter().map(|life| life.lived_h).sum();
    let starts = || lives.iter().map(|life| life.launched_s);
    let span = starts().min_by(f64::total_cmp).zip(starts().max_by(f64::total_cmp));
    let span = span.map_or_else(String::new, |(from, to)| format!(", begun {} to {}", moment(from), moment(to)));
    format!(
        "{name}: {} lives of machines that can be interrupted, {interrupted} interrupted, {hours:.0} h{span}",
        lives.len()
    )
}

/// A number of hours above zero, as an option.
///
/// # Errors
/// A sentence.
pub fn above_zero(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(hours) if hours.is_finite() && hours > 0.0 => Ok(hours),
        _ => Err(format!("'{text}' is no number of hours: expected one above 0")),
    }
}
