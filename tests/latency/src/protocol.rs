//! The lines between the orchestrator and a participant.
//!
//! A participant says `ready {JSON}` once, then answers each `run COUNT GAP_US THRASH_KIB` with one line, a JSON array of
//! COUNT integers (nanoseconds), and ends at `quit` or at the end of its input. Inputs: lines. Outputs: values, lines.
//! Must never let a line that is not understood pass for a measurement.

use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Write};

/// Most events one request may ask for.
pub const COUNT_MAX: usize = 1_000_000;

/// The first thing a participant says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Name of the design.
    pub name: String,
    /// Scheduling its threads got: `SCHED_FIFO 10` or `normal`.
    pub granted: String,
    /// One line about the design.
    pub note: String,
}

/// A slice of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Events to publish, one after the other.
    pub count: usize,
    /// Pause before each, microseconds: long enough for threads to go to sleep.
    pub gap_us: u64,
    /// Memory to write right before each publishing, KiB: evicts caches.
    pub thrash_kib: usize,
}

/// What the orchestrator may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Do a slice.
    Run(Request),
    /// End.
    Quit,
}

impl Command {
    /// Reads one line.
    ///
    /// # Errors
    /// A sentence that quotes the line.
    pub fn parse(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let bad = || format!("expected `run COUNT GAP_US THRASH_KIB` or `quit`, got {line:?}");
        match words.as_slice() {
            ["quit"] => Ok(Self::Quit),
            ["run", count, gap_us, thrash_kib] => {
                let count = count.parse().map_err(|_| bad())?;
                if count == 0 || count > COUNT_MAX {
                    return Err(format!("1 to {COUNT_MAX} events, not {count}"));
                }
                let (gap_us, thrash_kib) = (gap_us.parse().map_err(|_| bad())?, thrash_kib.parse().map_err(|_| bad())?);
                Ok(Self::Run(Request { count, gap_us, thrash_kib }))
            }
            _ => Err(bad()),
        }
    }

    /// The line, with its end.
    pub fn line(&self) -> String {
        match self {
            Self::Quit => "quit\n".into(),
            Self::Run(Request { count, gap_us, thrash_kib }) => format!("run {count} {gap_us} {thrash_kib}\n"),
        }
    }
}

impl Ready {
    /// Reads the line `ready {JSON}`.
    ///
    /// # Errors
    /// A sentence that quotes the line.
    pub fn parse(line: &str) -> Result<Self, String> {
        let json = line.strip_prefix("ready ").ok_or_else(|| format!("expected `ready {{JSON}}`, got {line:?}"))?;
        serde_json::from_str(json).map_err(|error| format!("{error} in {line:?}"))
    }
}

/// Reads the answer to a request for `count` events.
///
/// # Errors
/// Not an array of so many integers.
pub fn parse_answer(line: &str, count: usize) -> Result<Vec<i64>, String> {
    let took: Vec<i64> =
        serde_json::from_str(line).map_err(|error| format!("expected an array of integers: {error}"))?;
    if took.len() == count { Ok(took) } else { Err(format!("expected {count} figures, got {}", took.len())) }
}

/// The participant's side: says that it is ready and answers requests until it is told to quit.
///
/// # Errors
/// What reading and writing say, and lines that are not understood.
pub fn serve(ready: &Ready, mut run: impl FnMut(Request) -> io::Result<Vec<i64>>) -> io::Result<()> {
    say(&format!("ready {}", serde_json::to_string(ready)?))?;
    for line in io::stdin().lock().lines() {
        match Command::parse(&line?).map_err(io::Error::other)? {
            Command::Quit => break,
            Command::Run(request) => say(&serde_json::to_string(&run(request)?)?)?,
        }
    }
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_read_back_as_they_were_written() {
        for command in [Command::Run(Request { count: 5, gap_us: 2_000, thrash_kib: 64 }), Command::Quit] {
            assert_eq!(Command::parse(&command.line()), Ok(command));
        }
    }

    #[test]
    fn a_line_that_is_not_understood_is_refused_with_its_text() {
        for line in ["", "run", "run 1 2", "run 1 2 3 4", "run -1 2 3", "run x 2 3", "stop"] {
            let error = Command::parse(line).expect_err(line);
            assert!(error.contains(&format!("{line:?}")), "{error}");
        }
        assert!(Command::parse("run 0 1 1").is_err() && Command::parse("run 1000001 1 1").is_err());
    }

    #[test]
    fn the_ready_line_is_json_behind_one_word() {
        let ready = Ready { name: "floor".into(), granted: "normal".into(), note: "n".into() };
        let line = format!("ready {}", serde_json::to_string(&ready).expect("JSON"));
        assert_eq!(Ready::parse(&line), Ok(ready));
        assert!(Ready::parse("ready").is_err() && Ready::parse("ready {}").is_err());
    }

    #[test]
    fn an_answer_of_another_length_is_no_answer() {
        assert_eq!(parse_answer("[1,-2]", 2), Ok(vec![1, -2]));
        for line in ["[1]", "[1,2,3]", "[1.5,2]", "oops"] {
            assert!(parse_answer(line, 2).is_err(), "{line}");
        }
    }
}
