//! What all processes have said so far, and waiting until somebody has said something.
//!
//! Inputs: the one pipe that all processes write to. Outputs: lines, in the order in which they came. It must never judge.

use std::io::{BufRead, BufReader, PipeReader};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::lines::{Line, Said};
use harness::clock;

/// The lines. Clones are the same log; all methods may be called from any thread.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<(Mutex<Vec<Line>>, Condvar)>);

impl Log {
    /// Reads the pipe on a thread of its own until all who could write to it are gone.
    pub fn of(pipe: PipeReader) -> Self {
        let log = Self::default();
        let kept = log.clone();
        std::thread::spawn(move || {
            for text in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let line = serde_json::from_slice(&text).unwrap_or_else(|error| {
                    let text = format!("{error}: {}", String::from_utf8_lossy(&text));
                    Line { at: clock::boot_ns(), member: "?".to_owned(), said: Said::Trouble { text } }
                });
                kept.add(line);
            }
        });
        log
    }

    fn add(&self, line: Line) {
        let (lines, changed) = &*self.0;
        lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        changed.notify_all();
    }

    /// Everything so far.
    pub fn lines(&self) -> Vec<Line> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nobody has said anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Asks `find` again whenever something was said, at most for `limit`; it is handed all lines. Blocks the calling thread.
    ///
    /// # Errors
    /// The time is over: `what` was waited for.
    pub fn wait<T>(
        &self,
        what: &str,
        limit: Duration,
        mut find: impl FnMut(&[Line]) -> Option<T>,
    ) -> anyhow::Result<T> {
        let (lines, changed) = &*self.0;
        let begun = Instant::now();
        let mut held = lines.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = find(&held) {
                return Ok(found);
            }
            let left = limit.saturating_sub(begun.elapsed());
            if left.is_zero() {
                anyhow::bail!("waited {:.1} s in vain for {what}", limit.as_secs_f64());
            }
            held = changed.wait_timeout(held, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn lines_of_several_writers_come_and_are_waited_for() {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let log = Log::of(reader);
        let mut other = writer.try_clone().expect("another");
        let line = |member: &str| Line { at: 1, member: member.to_owned(), said: Said::Started }.text() + "\n";
        writer.write_all(line("a").as_bytes()).expect("written");
        other.write_all(line("b").as_bytes()).expect("written");
        other.write_all(b"{nonsense\n").expect("written");
        let limit = Duration::from_secs(20);
        let count = log.wait("three lines", limit, |lines| (lines.len() == 3).then_some(lines.len()));
        assert_eq!(count.expect("they came"), 3);
        assert!(matches!(log.lines()[2].said, Said::Trouble { .. }) && !log.is_empty());
        let error = log.wait("a fourth", Duration::from_millis(10), |lines| lines.get(3).cloned()).expect_err("none");
        assert!(error.to_string().contains("in vain for a fourth"), "{error}");
    }
}
