//! The end of what a command writes.
//! Inputs: bytes as they come. Outputs: the last lines, as text that can be put into a report. Must never grow beyond its
//! limit, however much is written.

use std::collections::VecDeque;

/// The last bytes of a stream.
#[derive(Clone, Debug)]
pub struct Tail {
    kept: VecDeque<u8>,
    limit: usize,
    /// Bytes that came in all.
    pub total: u64,
}

impl Tail {
    /// Nothing yet; keeps so many bytes.
    pub fn new(limit: usize) -> Self {
        Self { kept: VecDeque::with_capacity(limit), limit, total: 0 }
    }

    /// Takes what came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let bytes = bytes.get(bytes.len().saturating_sub(self.limit)..).unwrap_or_default();
        let surplus = (self.kept.len() + bytes.len()).saturating_sub(self.limit);
        self.kept.drain(..surplus);
        self.kept.extend(bytes);
    }

    /// The last lines. A line whose beginning is lost is left out, unless there is no other: half of a secret would not be
    /// recognised as one.
    pub fn text(&self) -> String {
        let bytes: Vec<u8> = self.kept.iter().copied().collect();
        let is_cut = self.total > bytes.len() as u64;
        let begin = if is_cut { bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1) } else { 0 };
        let whole = bytes.get(begin..).filter(|rest| !rest.is_empty()).unwrap_or(&bytes);
        let plain = |c: char| if c.is_control() && c != '\n' && c != '\t' { ' ' } else { c };
        let text: String = String::from_utf8_lossy(whole).chars().map(plain).collect();
        let text = text.trim_end();
        // A byte that is no text has become a mark of three.
        let surplus = text.len().saturating_sub(self.limit);
        text.get(text.ceil_char_boundary(surplus)..).unwrap_or_default().to_owned()
    }

    /// The last line that says something, cut to 200 characters.
    pub fn last_line(&self) -> String {
        let text = self.text();
        text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().chars().take(200).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_lines_are_kept() {
        let mut tail = Tail::new(10);
        tail.push(b"first\n");
        assert_eq!((tail.text().as_str(), tail.total), ("first", 6));
        tail.push(b"second\nlast\n");
        assert_eq!((tail.text().as_str(), tail.total), ("last", 18));
        tail.push(&b"x".repeat(100_000));
        assert_eq!((tail.text().as_str(), tail.kept.len()), ("xxxxxxxxxx", 10));
        assert_eq!(tail.total, 100_018);
    }

    #[test]
    fn what_is_no_text_cannot_exceed_the_limit() {
        let mut tail = Tail::new(9);
        tail.push(&[0xFF; 50]);
        assert_eq!(tail.text(), "\u{FFFD}".repeat(3));
        let mut tail = Tail::new(100);
        tail.push(b"a\x1b[1mb\0c\n\n  \n");
        assert_eq!((tail.text(), tail.last_line()), ("a [1mb c".to_owned(), "a [1mb c".to_owned()));
        assert_eq!(Tail::new(0).text(), "");
    }
}
