//! Bytes of a pipe, cut into lines.
//!
//! Inputs: chunks as they arrive. Outputs: lines without their end. Pure. Must never keep more than the
//! limit of a line that does not end.

/// A line of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// The first bytes, up to the limit, of a longer one; the rest is left out.
    Cut(&'a [u8]),
}

/// Cuts lines out of one pipe.
#[derive(Debug)]
pub struct Lines {
    pending: Vec<u8>,
    limit: usize,
    skipping: bool,
}

impl Lines {
    /// Lines of at most `limit` bytes.
    pub const fn new(limit: usize) -> Self {
        Self { pending: Vec::new(), limit, skipping: false }
    }

    /// Takes a chunk and hands every line that it ends, or that grows beyond the limit, to `sink`.
    ///
    /// # Errors
    /// The first error of `sink`; the rest of the chunk is dropped then.
    pub fn push<E>(&mut self, chunk: &[u8], mut sink: impl FnMut(Line<'_>) -> Result<(), E>) -> Result<(), E> {
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            let body = piece.strip_suffix(b"\n");
            let (body, ends) = (body.unwrap_or(piece), body.is_some());
            if self.skipping {
                self.skipping = !ends;
                continue;
            }
            let room = self.limit - self.pending.len();
            self.pending.extend_from_slice(&body[..body.len().min(room)]);
            if body.len() > room {
                self.skipping = !ends;
                sink(Line::Cut(&std::mem::take(&mut self.pending)))?;
            } else if ends {
                sink(Line::Whole(&std::mem::take(&mut self.pending)))?;
            }
        }
        Ok(())
    }

    /// What came after the last end of a line.
    pub fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    fn push(lines: &mut Lines, chunk: &[u8]) -> Vec<(bool, Vec<u8>)> {
        let mut seen = Vec::new();
        let Ok(()) = lines.push::<Infallible>(chunk, |line| {
            seen.push(match line {
                Line::Whole(bytes) => (true, bytes.to_vec()),
                Line::Cut(bytes) => (false, bytes.to_vec()),
            });
            Ok(())
        });
        seen
    }

    #[test]
    fn two_lines_in_one_chunk_and_one_line_in_two_come_out_whole() {
        let mut lines = Lines::new(10);
        assert_eq!(push(&mut lines, b"one\ntwo\nthr"), [(true, b"one".to_vec()), (true, b"two".to_vec())]);
        assert_eq!(push(&mut lines, b"ee\n"), [(true, b"three".to_vec())]);
        push(&mut lines, b"rest");
        assert_eq!(lines.take_rest(), b"rest");
    }

    #[test]
    fn a_line_beyond_the_limit_is_cut_once_and_the_next_is_whole() {
        let mut lines = Lines::new(4);
        assert_eq!(push(&mut lines, b"1234\n12345"), [(true, b"1234".to_vec()), (false, b"1234".to_vec())]);
        assert_eq!(push(&mut lines, b"678"), []);
        assert_eq!(push(&mut lines, b"9\nok\n"), [(true, b"ok".to_vec())]);
    }

    proptest! {
        #[test]
        fn how_bytes_are_chunked_does_not_matter(bytes in "[a\n]{0,60}", cuts in proptest::collection::vec(0usize..60, 0..6)) {
            let bytes = bytes.as_bytes();
            let whole = push(&mut Lines::new(5), bytes);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(bytes.len())).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let mut lines = Lines::new(5);
            let parts: Vec<_> = cuts.windows(2).flat_map(|w| push(&mut lines, &bytes[w[0]..w[1]])).collect();
            prop_assert_eq!(whole, parts);
        }
    }
}
