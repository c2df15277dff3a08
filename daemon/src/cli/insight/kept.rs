//! Answers that were worked out, kept for a day: working one out takes seconds or minutes, asking for it again nothing.
//!
//! Inputs: a history, a question. Outputs: its answer, and how old that is. Must never trust a file that is not what it should be, hold
//! a password, or fail because it may not write: then the answer is worked out anew.
//!
//! One rule for all answers, the fitted model among them: one holds for a day, for the same version of the program, the same history by
//! its name and the same options, until there are a tenth more ended lives or notices in the history, or fewer. Each view has one file
//! for its usual options and one for the last others, so that their number is bounded: beside the history, or where that may not be
//! written, in the user's cache directory.

use super::finding::moment;
use super::source::Opened;
use crate::cli::fault::Fault;
use crate::cli::session::Session;
use crate::history::archive::views::Amounts;
use crate::history::archive::{Archive, Place};
use crate::sys::clock;
use nix::fcntl::OFlag;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// An answer is worked out anew when it is older, seconds.
const OLD_S: f64 = 86_400.0;
/// An answer is worked out anew when there are so many times as many ended lives or notices.
const GROWTH: f64 = 1.1;
/// Largest file, bytes.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Most files in the cache directory: those of a handful of histories.
const CACHED_MAX: usize = 64;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Which view.
    pub view: &'static str,
    /// With which options, as far as they change the answer; empty: the usual ones.
    pub options: String,
}

impl Question {
    /// A view as it usually is.
    pub fn usual(view: &'static str) -> Self {
        Self { view, options: String::new() }
    }
}

/// What an answer rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Basis {
    /// The program's version: another one may answer otherwise.
    version: String,
    /// Which history, by its name, without secrets.
    of: String,
    view: String,
    options: String,
    /// When it was worked out, seconds since 1970, UTC.
    pub at_s: f64,
    /// What the history held then.
    pub amounts: Amounts,
}

impl Basis {
    /// Whether what rests on this answers what is asked now.
    fn holds_for(&self, asked: &Self) -> bool {
        let is_alike = |then: u64, now: u64| {
            let (then, now) = (then as f64, now as f64);
            now <= then * GROWTH && then <= now * GROWTH
        };
        let is_same = |of: fn(&Self) -> &str| of(self) == of(asked);
        is_same(|basis| &basis.version)
            && is_same(|basis| &basis.of)
            && is_same(|basis| &basis.view)
            && is_same(|basis| &basis.options)
            && is_alike(self.amounts.ended_lives, asked.amounts.ended_lives)
            && is_alike(self.amounts.notices, asked.amounts.notices)
            && (0.0..OLD_S).contains(&(asked.at_s - self.at_s))
    }

    /// A line for people.
    pub fn said(&self) -> String {
        format!(
            "This answer was worked out at {}, from {} ended lives and {} notices and recommendations, and kept; --fresh works it out \
             anew.",
            moment(self.at_s),
            self.amounts.ended_lives,
            self.amounts.notices
        )
    }
}

/// A file.
#[derive(Debug, Serialize, Deserialize)]
struct Kept<T> {
    basis: Basis,
    answer: T,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Known<T> {
    /// The answer.
    pub answer: T,
    /// What it rests on; None: on files that were named, of which nothing is kept.
    pub basis: Option<Basis>,
    /// Whether it was kept, and not worked out now.
    pub was_kept: bool,
}

impl<T> Known<T> {
    /// An answer that was worked out now, and is not kept.
    pub fn now(answer: T) -> Self {
        Self { answer, basis: None, was_kept: false }
    }

    /// What a kept one rests on.
    pub fn kept(&self) -> Option<&Basis> {
        self.basis.as_ref().filter(|_| self.was_kept)
    }
}

/// The answer that was kept, or that which `work` gives now; never a kept one where `is_fresh`.
///
/// # Errors
/// The database's, and those of the work.
pub fn answer<T: Serialize + DeserializeOwned>(
    question: &Question,
    is_fresh: bool,
    opened: &mut Opened,
    session: &mut Session<'_>,
    work: impl FnOnce(&mut Opened, &mut Session<'_>) -> Result<T, Fault>,
) -> Result<Known<T>, Fault> {
    let (basis, files) = match opened {
        Opened::Lives(_) => (None, Files::default()),
        Opened::History(archive, place) => {
            let of = place.identity();
            let files = of.as_ref().map_or_else(Files::default, |of| Files::of(question, place, of, session.cache()));
            (Some(asked(question, of.unwrap_or_default(), archive)?), files)
        }
    };
    if let Some(kept) = basis.as_ref().filter(|_| !is_fresh).and_then(|basis| files.read(basis)) {
        return Ok(Known { answer: kept.answer, basis: Some(kept.basis), was_kept: true });
    }
    session.progress("the answer is worked out: with a long history that takes a while");
    let worked_out = work(opened, session);
    session.progress("");
    let answer = worked_out?;
    let Some(basis) = basis else { return Ok(Known::now(answer)) };
    let kept = Kept { basis, answer };
    files.write(&kept);
    Ok(Known { answer: kept.answer, basis: Some(kept.basis), was_kept: false })
}

fn asked(question: &Question, of: String, archive: &mut Archive) -> Result<Basis, Fault> {
    Ok(Basis {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        of,
        view: question.view.to_owned(),
        options: question.options.clone(),
        at_s: clock::wall_ns() as f64 / 1e9,
        amounts: archive.amounts()?,
    })
}

/// Where an answer may be kept.
#[derive(Debug, Default)]
struct Files {
    /// Beside the history.
    beside: Option<PathBuf>,
    /// In the user's cache directory.
    cached: Option<PathBuf>,
    /// Whoever owns the history may say what it means.
    owner: Option<u32>,
}

impl Files {
    fn of(question: &Question, place: &Place, of: &str, cache: Option<&Path>) -> Self {
        let name = format!("{}{}.json", question.view, if question.options.is_empty() { "" } else { "-options" });
        let digest: String = Sha256::digest(of).iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        let cached = cache.map(|cache| cache.join("insight").join(format!("{digest}-{name}")));
        match place {
            Place::Server(_) => Self { cached, ..Self::default() },
            Place::File(history) => {
                let owner = std::fs::metadata(history).ok().map(|file| file.uid());
                Self { beside: Some(beside(history, &name)), cached, owner }
            }
        }
    }

    /// The newest that holds.
    fn read<T: DeserializeOwned>(&self, asked: &Basis) -> Option<Kept<T>> {
        let all = [&self.beside, &self.cached].into_iter().flatten();
        let kept = all.filter_map(|path| read(path, self.owner)).filter(|kept: &Kept<T>| kept.basis.holds_for(asked));
        kept.max_by(|one, other| one.basis.at_s.total_cmp(&other.basis.at_s))
    }

    /// Who may write nowhere works it out each time.
    fn write<T: Serialize>(&self, kept: &Kept<T>) {
        let Ok(text) = serde_json::to_vec(kept) else { return };
        if text.len() as u64 > BYTES_MAX || self.beside.as_deref().is_some_and(|path| write(path, &text).is_ok()) {
            return;
        }
        let Some((path, directory)) = self.cached.as_deref().and_then(|path| Some((path, path.parent()?))) else {
            return;
        };
        // An error shows when the file is written.
        let _ = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        if write(path, &text).is_ok() {
            shorten(directory);
        }
    }
}

/// `insight-kept-rates.json` beside `history.sqlite`; other histories in the same directory have files of their own.
fn beside(history: &Path, name: &str) -> PathBuf {
    let stem = history.file_stem().unwrap_or_default().to_string_lossy();
    let stem = if stem == "history" { String::new() } else { format!("{stem}-") };
    history.with_file_name(format!("{stem}insight-kept-{name}"))
}

/// What a file holds, where it is one that we, root or the history's owner wrote.
fn read<T: DeserializeOwned>(path: &Path, owner: Option<u32>) -> Option<T> {
    // Whatever stands there: it must not hold us up, nor lead elsewhere.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
    let file: File = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).ok()?;
    let about = file.metadata().ok()?;
    let is_trusted = [Some(0), Some(nix::unistd::geteuid().as_raw()), owner].contains(&Some(about.uid()));
    if !about.is_file() || !is_trusted || about.len() > BYTES_MAX {
        return None;
    }
    let mut text = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn write(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text)?;
    file.persist(path)?;
    Ok(())
}

/// Drops the oldest files of a directory that holds nothing else than kept answers.
fn shorten(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    let mut files: Vec<_> =
        entries.flatten().filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect();
    files.sort();
    let too_many = files.len().saturating_sub(CACHED_MAX);
    for (_, path) in files.into_iter().take(too_many) {
        // Another process may have done so.
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basis() -> Basis {
        Basis {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            of: "h".to_owned(),
            view: "rates".to_owned(),
            options: String::new(),
            at_s: 1e9,
            amounts: Amounts { ended_lives: 100, notices: 1_000 },
        }
    }

    #[test]
    fn an_answer_holds_for_a_day_and_until_a_tenth_more_is_known() {
        let kept = basis();
        let with = |ended_lives, notices, at_s| Basis { amounts: Amounts { ended_lives, notices }, at_s, ..basis() };
        assert!(kept.holds_for(&basis()) && kept.holds_for(&with(109, 1_090, 1e9 + 86_000.0)));
        assert!(!kept.holds_for(&with(100, 1_000, 1e9 + 86_401.0)), "old");
        assert!(!kept.holds_for(&with(111, 1_000, 1e9)) && !kept.holds_for(&with(50, 1_000, 1e9)), "other lives");
        assert!(!kept.holds_for(&with(100, 1_101, 1e9)) && !kept.holds_for(&with(100, 500, 1e9)), "other notices");
        assert!(!kept.holds_for(&with(100, 1_000, 1e9 - 1.0)), "of the future");
        assert!(!Basis { at_s: f64::NAN, ..basis() }.holds_for(&basis()), "of no time");
        let others = [
            Basis { version: "0.0.0".to_owned(), ..basis() },
            Basis { of: "g".to_owned(), ..basis() },
            Basis { view: "seasons".to_owned(), ..basis() },
            Basis { options: "until 23 h".to_owned(), ..basis() },
        ];
        assert!(others.iter().all(|other| !kept.holds_for(other)));
        let none = with(0, 0, 1e9);
        assert!(none.holds_for(&none) && !none.holds_for(&with(1, 0, 1e9)), "an empty history that begins");
    }

    #[test]
    fn what_is_written_is_read_again_and_nonsense_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let history = directory.path().join("history.sqlite");
        let path = beside(&history, "rates.json");
        assert!(path.ends_with("insight-kept-rates.json"));
        assert!(beside(Path::new("fleet.sqlite"), "rates.json").ends_with("fleet-insight-kept-rates.json"));
        let files = Files { beside: Some(path.clone()), ..Files::default() };
        files.write(&Kept { basis: basis(), answer: 7_u64 });
        assert_eq!(files.read::<u64>(&basis()).map(|kept| kept.answer), Some(7));
        assert!(files.read::<String>(&basis()).is_none(), "an answer of another kind");
        files.write(&Kept { basis: basis(), answer: [f64::MAX, f64::MIN_POSITIVE, 0.1] });
        let read = files.read::<[f64; 3]>(&basis()).map(|kept| kept.answer).unwrap_or_default();
        assert!(read[0] > 1e308 && read[1] > 0.0 && (read[2] - 0.1).abs() < 1e-15, "{read:?}");
        for text in ["", "{}", "[[[", "\0", "{\"basis\": null, \"answer\": 7}"] {
            std::fs::write(&path, text).expect("written");
            assert!(files.read::<u64>(&basis()).is_none(), "{text}");
        }
        std::fs::remove_file(&path).expect("removed");
        let elsewhere = directory.path().join("elsewhere");
        std::fs::write(&elsewhere, serde_json::to_vec(&Kept { basis: basis(), answer: 7_u64 }).expect("JSON"))
            .expect("written");
        std::os::unix::fs::symlink(&elsewhere, &path).expect("a link");
        assert!(files.read::<u64>(&basis()).is_none(), "a link");
        std::fs::remove_file(&path).expect("removed");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        assert!(files.read::<u64>(&basis()).is_none(), "nobody writes into a pipe");
    }

    #[test]
    fn the_cache_directory_is_used_where_the_history_s_may_not_be_written_and_stays_small() {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = directory.path().join("cache");
        let place = Place::File(directory.path().join("none/history.sqlite"));
        let files = Files::of(&Question::usual("rates"), &place, "h", Some(&cache));
        files.write(&Kept { basis: basis(), answer: 7_u64 });
        assert_eq!(files.read::<u64>(&basis()).map(|kept| kept.answer), Some(7));
        assert_eq!(std::fs::metadata(cache.join("insight")).expect("made").mode() & 0o777, 0o700);
        let server = Place::parse("postgres://fleet@db.example/fleet");
        for number in 0..100 {
            let files = Files::of(&Question::usual("rates"), &server, &number.to_string(), Some(&cache));
            assert!(files.beside.is_none());
            files.write(&Kept { basis: basis(), answer: 7_u64 });
        }
        assert_eq!(std::fs::read_dir(cache.join("insight")).expect("read").count(), CACHED_MAX);
        let other = Question { view: "rates", options: "until 23 h".to_owned() };
        let (usual, other) =
            (Files::of(&Question::usual("rates"), &place, "h", None), Files::of(&other, &place, "h", None));
        assert!(usual.beside != other.beside && usual.cached.is_none());
        Files::default().write(&Kept { basis: basis(), answer: 7_u64 });
    }
}
