//! The model that was fitted, kept beside the history: fitting takes seconds, asking nothing.
//!
//! Inputs: a history. Outputs: a fitted model, and how old it is. Must never trust a file that is not what it should be, or fail because
//! it may not write one: then it is fitted anew.

use super::source;
use crate::cli::fault::Fault;
use crate::history::archive::views::Filter;
use crate::history::archive::{Archive, Cell, Place};
use cloudsnooze_insight::models::Model;
use cloudsnooze_insight::models::snooze::Snooze;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A model is fitted again when it is older, seconds.
const OLD_S: f64 = 86_400.0;
/// A model is fitted again when there are so many times as many ended lives.
const GROWTH: f64 = 1.1;
/// Largest file that is read, bytes.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A fitted model.
#[derive(Debug, Serialize, Deserialize)]
pub struct Kept {
    /// The program's version: another one may have other models.
    version: String,
    /// Which history, by its name.
    of: String,
    /// When, seconds since 1970.
    pub fitted_s: f64,
    /// Lives that there were then.
    pub lives: u64,
    /// The model.
    pub model: Snooze,
}

impl Kept {
    fn is_good(&self, of: &str, lives: u64, now_s: f64) -> bool {
        let (there, then) = (lives as f64, self.lives as f64);
        let is_alike = there <= then * GROWTH && then <= there * GROWTH;
        let age_s = now_s - self.fitted_s;
        self.version == env!("CARGO_PKG_VERSION") && self.of == of && is_alike && (0.0..OLD_S).contains(&age_s)
    }
}

/// The model of a history: that which was kept, or one that is fitted now.
///
/// # Errors
/// The database's.
pub fn model(archive: &mut Archive, place: &Place, now_s: f64) -> Result<Kept, Fault> {
    let lives = ended(archive)?;
    let path = match place {
        Place::File(history) => Some(beside(history)),
        Place::Server(_) => None,
    };
    let of = place.to_string();
    if let Some(kept) = path.as_deref().and_then(read).filter(|kept| kept.is_good(&of, lives, now_s)) {
        return Ok(kept);
    }
    let model = Snooze::fit(&source::of_archive(archive)?.lives)?;
    let kept = Kept { version: env!("CARGO_PKG_VERSION").to_owned(), of, fitted_s: now_s, lives, model };
    if let Some(path) = path {
        // Who may only look asks a model that is fitted each time.
        let _ = write(&path, &kept);
    }
    Ok(kept)
}

/// `insight-model.json` beside `history.sqlite`; other histories in the same directory have a file each.
fn beside(history: &Path) -> PathBuf {
    let stem = history.file_stem().unwrap_or_default().to_string_lossy();
    let name = if stem == "history" { "insight-model.json".to_owned() } else { format!("{stem}-insight-model.json") };
    history.with_file_name(name)
}

fn read(path: &Path) -> Option<Kept> {
    let is_small = std::fs::metadata(path).ok()?.len() <= BYTES_MAX;
    let text = std::fs::read(path).ok().filter(|_| is_small)?;
    serde_json::from_slice(&text).ok()
}

fn write(path: &Path, kept: &Kept) -> std::io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(&serde_json::to_vec(kept)?)?;
    file.persist(path)?;
    Ok(())
}

/// Lives that have ended, from sums that are kept: those that go on are few.
fn ended(archive: &mut Archive) -> Result<u64, Fault> {
    let table = archive.summary(&Filter { limit: u32::MAX, ..Filter::default() })?;
    let column = table.columns.iter().position(|column| column.name == "lives");
    let counts = table.rows.iter().filter_map(|row| row.get(column?).and_then(Cell::as_int));
    Ok(counts.map(|count| u64::try_from(count).unwrap_or_default()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Kept {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Kept { version, of: "h".to_owned(), fitted_s: 1e9, lives: 100, model: Snooze::fit(&[]).expect("never refuses") }
    }

    #[test]
    fn a_model_is_used_for_a_day_and_until_a_tenth_more_has_ended() {
        let kept = kept();
        assert!(kept.is_good("h", 100, 1e9) && kept.is_good("h", 109, 1e9 + 86_000.0));
        assert!(!kept.is_good("h", 100, 1e9 + 86_401.0), "old");
        assert!(!kept.is_good("h", 111, 1e9) && !kept.is_good("h", 50, 1e9), "another history by now");
        assert!(!kept.is_good("h", 100, 1e9 - 1.0), "fitted in the future");
        assert!(!kept.is_good("other", 100, 1e9));
    }

    #[test]
    fn what_is_written_is_read_again_and_nonsense_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = beside(&directory.path().join("history.sqlite"));
        assert!(path.ends_with("insight-model.json"));
        write(&path, &kept()).expect("written");
        assert_eq!(read(&path).map(|kept| kept.lives), Some(100));
        std::fs::write(&path, "{}").expect("written");
        assert!(read(&path).is_none());
        assert!(beside(Path::new("fleet.sqlite")).ends_with("fleet-insight-model.json"));
    }
}
