//! How a command ends: exit codes and errors.
//!
//! Inputs: what went wrong. Outputs: one sentence for standard error and a code. Must never hold a
//! secret. The codes from 64 on are those of sysexits(3), which scripts can rely on.

use std::io;

/// The exit codes, as `--help` and the manual page show them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0   all is well
  1   what was asked about is not well (a handler failed, say), the daemon refused, or there is too little data
  2   the command line is wrong
  65  what a file holds is wrong
  66  no such file, plugin, event or report
  69  the daemon cannot be reached
  70  daemon and command line do not understand each other (different versions?)
  74  input or output failed
  77  not permitted
  78  the configuration is wrong
  124 what was waited for did not come in time (snooze wait, upgrade-ready)";

/// A command that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Ok,
    /// The thing asked about is not.
    Bad,
    /// What was waited for did not come; the code is that of timeout(1).
    TimeOver,
    /// What a command that was run ended with.
    Command(u8),
}

impl Exit {
    /// `Ok` when `is_well`.
    pub fn when(is_well: bool) -> Self {
        if is_well { Self::Ok } else { Self::Bad }
    }

    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Bad => 1,
            Self::TimeOver => 124,
            Self::Command(code) => code,
        }
    }
}

/// A command that could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's sentence is its documentation")]
pub enum Fault {
    /// Understood by clap, but not meaningful.
    #[error("{0}")]
    Usage(String),
    /// A file, plugin, event or report does not exist.
    #[error("{0}")]
    Missing(String),
    /// What a file holds is not what it should be.
    #[error("{0}")]
    Data(String),
    /// No daemon answers.
    #[error("{0}")]
    Unreachable(String),
    /// The daemon answered with an error.
    #[error("{message}")]
    Refused { status: u16, message: String, details: Vec<String> },
    /// The daemon answered with something else than expected.
    #[error("{0}")]
    Broken(String),
    /// The system does not let us.
    #[error("{0}")]
    Forbidden(String),
    /// The configuration is wrong.
    #[error("{message}")]
    Configuration { message: String, details: Vec<String> },
    /// A file could not be read or written.
    #[error("{0}")]
    InputOutput(String),
    /// There is too little data to answer.
    #[error(transparent)]
    Scarce(#[from] cloudsnooze_insight::Scarce),
    /// Our own output could not be written.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

impl Fault {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Data(_) => 65,
            Self::Missing(_) | Self::Refused { status: 404, .. } => 66,
            Self::Refused { status: 403, .. } | Self::Forbidden(_) => 77,
            Self::Refused { .. } | Self::Scarce(_) => 1,
            Self::Unreachable(_) => 69,
            Self::Broken(_) => 70,
            Self::InputOutput(_) | Self::Output(_) => 74,
            Self::Configuration { .. } => 78,
        }
    }

    /// Further lines, for errors that are lists.
    pub fn details(&self) -> &[String] {
        match self {
            Self::Refused { details, .. } | Self::Configuration { details, .. } => details,
            _ => &[],
        }
    }

    /// Whether the reader of our output went away (`snooze events | head`), which is no error.
    pub fn is_reader_gone(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// A file that could not be read.
    pub fn reading(path: &std::path::Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing(format!("no such file: {}", path.display())),
            io::ErrorKind::PermissionDenied => {
                Self::Forbidden(format!("may not read {} (try with sudo)", path.display()))
            }
            _ => Self::InputOutput(format!("cannot read {}: {error}", path.display())),
        }
    }
}

/// What every command gives back.
pub type Outcome = Result<Exit, Fault>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_that_is_given_is_documented() {
        let refused = |status| Fault::Refused { status, message: String::new(), details: Vec::new() };
        let text = String::new;
        let faults = [
            Fault::Usage(text()),
            Fault::Missing(text()),
            Fault::Data(text()),
            Fault::Unreachable(text()),
            refused(400),
            refused(403),
            refused(404),
            Fault::Broken(text()),
            Fault::Forbidden(text()),
            Fault::Configuration { message: text(), details: Vec::new() },
            Fault::Scarce(cloudsnooze_insight::Scarce(text())),
            Fault::InputOutput(text()),
            Fault::Output(io::Error::other("x")),
        ];
        for code in faults.iter().map(Fault::code).chain([Exit::Ok, Exit::Bad, Exit::TimeOver].map(Exit::code)) {
            assert!(EXIT_CODES.contains(&format!("\n  {code:<4}")), "{code}");
        }
        assert_eq!((refused(404).code(), refused(403).code(), refused(422).code()), (66, 77, 1));
    }
}
