//! Errors of handlers: a code for the host and a text for people.
//! Inputs: any `std::error::Error`. Outputs: the code and the whole chain as one line.

use cloudsnooze_abi as abi;
use std::fmt;

/// What kind of failure it was; the host decides by it whether to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The configuration is not acceptable.
    Config,
    /// Input or output failed.
    Io,
    /// Permission denied.
    Denied,
    /// The granted time was over first.
    Deadline,
    /// Stopped because the call was cancelled.
    Cancelled,
    /// Failed now, worth another attempt while time allows.
    Retry,
    /// Not legal in this state.
    State,
    /// Anything else.
    Internal,
}

impl Code {
    pub(crate) fn status(self) -> abi::snooze_status {
        match self {
            Self::Config => abi::SNOOZE_E_CONFIG,
            Self::Io => abi::SNOOZE_E_IO,
            Self::Denied => abi::SNOOZE_E_DENIED,
            Self::Deadline => abi::SNOOZE_E_DEADLINE,
            Self::Cancelled => abi::SNOOZE_E_CANCELLED,
            Self::Retry => abi::SNOOZE_E_RETRY,
            Self::State => abi::SNOOZE_E_STATE,
            Self::Internal => abi::SNOOZE_E_INTERNAL,
        }
    }
}

/// A failure with its code. Does not implement `std::error::Error` itself, so that `?` converts every
/// type that does.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    code: Code,
    message: String,
    result: Option<serde_json::Value>,
}

impl Error {
    /// A failure of code [`Code::Internal`] with this text.
    pub fn new(message: impl Into<String>) -> Self {
        Self { code: Code::Internal, message: message.into(), result: None }
    }

    /// A failure that is worth another attempt while time allows.
    pub fn retry(message: impl Into<String>) -> Self {
        Self::new(message).code(Code::Retry)
    }

    /// The same failure with another code.
    #[must_use]
    pub fn code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }

    /// The same failure with evidence for the report: a JSON object.
    #[must_use]
    pub fn with_result(mut self, result: serde_json::Value) -> Self {
        self.result = Some(result);
        self
    }

    /// The same failure, its text led by what was being done: "flush logs: connection refused".
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// The text.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The code.
    pub fn kind(&self) -> Code {
        self.code
    }

    pub(crate) fn result(&self) -> Option<&serde_json::Value> {
        self.result.as_ref()
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.code, self.message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            let text = inner.to_string();
            // Many libraries repeat the source inside their own text; once is enough.
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            source = inner.source();
        }
        Self::new(message)
    }
}
