//! What this instance knows of earlier uploads: which file, as it was then, is which object; and how fast the way was.
//!
//! Inputs: files that were uploaded. Outputs: a journal in the instance's state directory, a line for each, so that what was
//! uploaded before a crash is not uploaded again. Must never be believed without a look at the store.

use crate::tree::Stamp;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// An object, and the file that it was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
    /// As the store gave it.
    pub(crate) e_tag: Option<String>,
    /// None: another instance's, from a manifest.
    pub(crate) stamp: Option<Stamp>,
}

/// One line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Uploaded {
        /// Address of the object.
        to: String,
        bytes: u64,
        sha256: String,
        e_tag: Option<String>,
        modified_ns: i64,
        inode: u64,
    },
    BytesPerSecond(f64),
}

/// The journal of one instance.
#[derive(Debug, Default)]
pub(crate) struct Record {
    file: Option<PathBuf>,
    journal: Option<File>,
    known: HashMap<String, Known>,
    pub(crate) bytes_per_second: Option<f64>,
}

impl Record {
    /// Reads what there is. An empty path keeps everything in memory; a line that is cut is no line.
    pub(crate) fn load(state_dir: &Path) -> Self {
        if state_dir.as_os_str().is_empty() {
            return Self::default();
        }
        let file = state_dir.join("uploads.jsonl");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let mut record = Self { file: Some(file), ..Self::default() };
        for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            match line {
                Line::BytesPerSecond(speed) => record.bytes_per_second = Some(speed).filter(|speed| *speed > 0.0),
                Line::Uploaded { to, bytes, sha256, e_tag, modified_ns, inode } => {
                    let stamp = Some(Stamp { bytes, modified_ns, inode });
                    record.known.insert(to, Known { bytes, sha256, e_tag, stamp });
                }
            }
        }
        record
    }

    /// The objects whose addresses begin so.
    pub(crate) fn below<'r>(&'r self, address: &'r str) -> impl Iterator<Item = (&'r str, &'r Known)> {
        self.known.iter().map(|(to, known)| (to.as_str(), known)).filter(move |(to, _)| to.starts_with(address))
    }

    #[cfg(test)]
    fn get(&self, to: &str) -> Option<&Known> {
        self.known.get(to)
    }

    /// Writes the journal anew with those objects only that are still wanted.
    pub(crate) fn keep(&mut self, is_wanted: impl Fn(&str) -> bool) -> io::Result<()> {
        self.known.retain(|to, _| is_wanted(to));
        let Some(file) = &self.file else { return Ok(()) };
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut text = String::new();
        for line in
            self.bytes_per_second.map(Line::BytesPerSecond).into_iter().chain(self.known.iter().filter_map(line))
        {
            text.push_str(&serde_json::to_string(&line)?);
            text.push('\n');
        }
        let fresh = file.with_extension("new");
        fs::write(&fresh, text)?;
        fs::rename(&fresh, file)?;
        self.journal = Some(OpenOptions::new().append(true).open(file)?);
        Ok(())
    }

    /// Notes an object.
    pub(crate) fn add(&mut self, to: &str, known: Known) -> io::Result<()> {
        let line = line((&to.to_owned(), &known));
        self.known.insert(to.to_owned(), known);
        line.map_or(Ok(()), |line| self.append(&line))
    }

    /// Notes how fast it was.
    pub(crate) fn measured(&mut self, bytes_per_second: f64) -> io::Result<()> {
        self.bytes_per_second = Some(bytes_per_second);
        self.append(&Line::BytesPerSecond(bytes_per_second))
    }

    fn append(&mut self, line: &Line) -> io::Result<()> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        journal.write_all(format!("{}\n", serde_json::to_string(line)?).as_bytes())
    }
}

fn line((to, known): (&String, &Known)) -> Option<Line> {
    let stamp = known.stamp?;
    Some(Line::Uploaded {
        to: to.clone(),
        bytes: known.bytes,
        sha256: known.sha256.clone(),
        e_tag: known.e_tag.clone(),
        modified_ns: stamp.modified_ns,
        inode: stamp.inode,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(bytes: u64) -> Known {
        let stamp = Some(Stamp { bytes, modified_ns: 5, inode: 6 });
        Known { bytes, sha256: "00".to_owned(), e_tag: Some("\"e\"".to_owned()), stamp }
    }

    #[test]
    fn what_was_uploaded_is_known_after_a_crash_and_a_cut_line_is_no_line() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("not/there/yet");
        let mut record = Record::load(&state);
        record.keep(|_| true).unwrap();
        record.add("s3://b/a", known(1)).unwrap();
        record.add("s3://b/b", known(2)).unwrap();
        record.measured(7.5).unwrap();
        let file = state.join("uploads.jsonl");
        let mut text = fs::read_to_string(&file).unwrap();
        text.push_str("{\"uploaded\":{\"to\":\"s3");
        fs::write(&file, text).unwrap();
        let mut again = Record::load(&state);
        assert_eq!((again.get("s3://b/a"), again.get("s3://b/c")), (Some(&known(1)), None));
        assert_eq!(again.bytes_per_second, Some(7.5));
        again.keep(|to| to.ends_with('b')).unwrap();
        again.add("s3://b/d", known(3)).unwrap();
        let last = Record::load(&state);
        assert_eq!((last.get("s3://b/a"), last.get("s3://b/b")), (None, Some(&known(2))));
        assert_eq!((last.get("s3://b/d"), last.bytes_per_second), (Some(&known(3)), Some(7.5)));
    }

    #[test]
    fn without_a_directory_it_is_kept_in_memory() {
        let mut record = Record::load(Path::new(""));
        record.keep(|_| true).unwrap();
        record.add("a", known(1)).unwrap();
        assert_eq!(record.get("a"), Some(&known(1)));
    }
}
