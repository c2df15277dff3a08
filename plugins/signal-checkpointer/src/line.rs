//! A line that a process logs because of the signal.
//!
//! Inputs: a log and where it ended before the signal. Outputs: the first whole line after that which matches. Must never
//! look at what stood there before, nor lose what was logged around a rotation.

use regex::Regex;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes read at most in one look, so that a look always comes back.
const LOOK_BYTES: u64 = 1 << 20;
/// A line that is longer is looked at in pieces of this size.
const LINE_BYTES: usize = 64 << 10;
/// Characters of the line that go into the report.
const SHOWN_CHARS: usize = 500;

/// Waits for a line.
pub(crate) struct LineWatch<'a> {
    path: &'a Path,
    regex: &'a Regex,
    /// The log as it is read; None while there is none.
    file: Option<File>,
    /// What was read of a line that has no end yet.
    rest: Vec<u8>,
}

impl<'a> LineWatch<'a> {
    /// Notes where the log ends before the signal.
    pub(crate) fn begin(path: &'a Path, regex: &'a Regex) -> Self {
        let file = File::open(path).ok().and_then(|mut file| {
            file.seek(SeekFrom::End(0)).ok()?;
            Some(file)
        });
        Self { path, regex, file, rest: Vec::new() }
    }

    /// The line, once it is there.
    pub(crate) fn look(&mut self) -> Option<String> {
        // Twice: what was still written to a log before it was rotated comes first, then its successor.
        for _ in 0..2 {
            if let Some(line) = self.read() {
                return Some(line);
            }
            if !self.follow() {
                return None;
            }
        }
        self.read()
    }

    /// What is waited for.
    pub(crate) fn waiting_for(&self) -> String {
        let missing = if self.file.is_some() { "" } else { ", which is not there" };
        format!("a line that matches '{}' in {}{missing}", self.regex, self.path.display())
    }

    fn read(&mut self) -> Option<String> {
        let file = self.file.as_mut()?;
        let mut bytes = Vec::new();
        // What cannot be read now may be readable at the next look.
        let _read = file.take(LOOK_BYTES).read_to_end(&mut bytes);
        self.rest.append(&mut bytes);
        let mut found = None;
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n').or(self.overlong()) {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end();
            if self.regex.is_match(line) {
                found = Some(line.chars().take(SHOWN_CHARS).collect());
                break;
            }
        }
        found
    }

    fn overlong(&self) -> Option<usize> {
        (self.rest.len() >= LINE_BYTES).then_some(LINE_BYTES - 1)
    }

    /// Goes over to the log's successor, or to its beginning when it was emptied. Returns whether there is more to read.
    fn follow(&mut self) -> bool {
        let Ok(next) = File::open(self.path) else { return false };
        let identity = |file: &File| file.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
        let is_same = self.file.as_ref().is_some_and(|file| identity(file) == identity(&next));
        if !is_same {
            self.file = Some(next);
            self.rest.clear();
            return true;
        }
        let Some(file) = self.file.as_mut() else { return false };
        let length = next.metadata().map_or(0, |metadata| metadata.len());
        let was_emptied = file.stream_position().is_ok_and(|position| position > length);
        if was_emptied {
            self.rest.clear();
        }
        was_emptied && file.seek(SeekFrom::Start(0)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{OpenOptions, rename, write};
    use std::io::Write;

    fn append(path: &Path, text: &str) {
        OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn only_whole_lines_after_the_beginning_count() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        write(&log, "saved 1\n").unwrap();
        let regex = Regex::new("^saved [0-9]+$").unwrap();
        let mut watch = LineWatch::begin(&log, &regex);
        assert_eq!(watch.look(), None);
        append(&log, "step 2\nsaved 1");
        assert_eq!(watch.look(), None, "it may go on");
        append(&log, "7\r\n");
        assert_eq!(watch.look().as_deref(), Some("saved 17"));
    }

    #[test]
    fn a_log_that_is_made_rotated_or_emptied_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let regex = Regex::new("saved").unwrap();
        let mut watch = LineWatch::begin(&log, &regex);
        assert!(watch.look().is_none() && watch.waiting_for().ends_with("which is not there"));
        append(&log, "begun\n");
        assert_eq!(watch.look(), None);
        append(&log, "last of the old, saved\n");
        rename(&log, dir.path().join("log.1")).unwrap();
        append(&log, "new\n");
        assert_eq!(watch.look().as_deref(), Some("last of the old, saved"));
        append(&log, "new, saved\n");
        assert_eq!(watch.look().as_deref(), Some("new, saved"));
        write(&log, "").unwrap();
        append(&log, "saved\n");
        assert_eq!(watch.look().as_deref(), Some("saved"), "emptied");
    }

    #[test]
    fn a_line_without_an_end_costs_no_more_than_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let regex = Regex::new("saved").unwrap();
        let mut watch = LineWatch::begin(&log, &regex);
        append(&log, &"x".repeat(5 << 20));
        for _ in 0..8 {
            assert_eq!(watch.look(), None);
            assert!(watch.rest.len() < LINE_BYTES);
        }
        append(&log, "\nsaved\n");
        assert_eq!(watch.look().as_deref(), Some("saved"));
    }
}
