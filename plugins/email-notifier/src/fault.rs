//! What can go wrong between us and a mail server.
//!
//! Inputs: the system's errors, the server's replies. Outputs: a [`Fault`], and from it the error the host decides by. Must
//! never hold the password.

use cloudsnooze_plugin::{Code, Error};
use lettre::transport::smtp::response::Response;
use std::io::{self, ErrorKind};
use thiserror::Error;

/// Why something did not happen.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There is no connection.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// The connection broke; whether the server kept the message is not known.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The time given was over first.
    #[error("no reply within the time left")]
    OutOfTime,
    /// The call was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The server could not prove who it is, or speaks no TLS.
    #[error("TLS: {0}")]
    Tls(String),
    /// It does not speak SMTP, or not as much of it as is needed.
    #[error("{0}")]
    Unfit(String),
    /// The server said no: for now when the code begins with 4, for good when with 5.
    #[error("{doing} was answered {code} {text}")]
    Refused {
        /// What was asked of it.
        doing: &'static str,
        /// The reply's code.
        code: u16,
        /// The reply's text.
        text: String,
    },
}

impl Fault {
    /// The server's no.
    pub(crate) fn refused(doing: &'static str, reply: &Response) -> Self {
        Self::Refused { doing, code: reply.code().into(), text: words(reply) }
    }

    pub(crate) fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            // The TLS library reports its errors as invalid data.
            ErrorKind::InvalidData => Self::Tls(error.to_string()),
            _ => Self::Broken(error.to_string()),
        }
    }

    /// Whether another attempt may mend it.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Broken(_) | Self::Refused { code: 400..=499, .. })
    }

    /// The error for the host, its text led by the server's address, with what to do about it.
    pub(crate) fn into_error(self, server: &str) -> Error {
        let (code, advice) = match &self {
            Self::Unreachable(_) | Self::Broken(_) | Self::Refused { code: 400..=499, .. } => (Code::Retry, ""),
            Self::OutOfTime => (Code::Deadline, ""),
            Self::Cancelled => (Code::Cancelled, ""),
            Self::Tls(_) | Self::Unfit(_) => (Code::Io, ""),
            Self::Refused { code: 530 | 534 | 535 | 538, .. } => (Code::Denied, "; check username and password"),
            Self::Refused { doing: "MAIL FROM", .. } => {
                (Code::Denied, "; the server does not let us send as this from")
            }
            Self::Refused { doing: "RCPT TO", .. } => (Code::Config, "; check to"),
            Self::Refused { .. } => (Code::Config, ""),
        };
        Error::new(format!("{server}: {self}{advice}")).code(code)
    }
}

/// A reply's text on one line, at most 200 characters.
pub(crate) fn words(reply: &Response) -> String {
    let text = reply.message().flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ");
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_for_now_are_worth_another_attempt_and_those_for_good_say_what_to_do() {
        for (doing, reply, code, text) in [
            ("RCPT TO", "451 4.7.1 Greylisted, come again\r\n", Code::Retry, "s: RCPT TO was answered 451 4.7.1 Grey"),
            ("RCPT TO", "550-No such\r\n550 user here\r\n", Code::Config, "550 No such user here; check to"),
            ("MAIL FROM", "553 Not you\r\n", Code::Denied, "does not let us send as this from"),
            ("AUTH", "535 5.7.8 Bad\r\n", Code::Denied, "check username and password"),
            ("the message", "554 Spam\r\n", Code::Config, "the message was answered 554 Spam"),
        ] {
            let fault = Fault::refused(doing, &reply.parse().unwrap());
            assert_eq!(fault.may_pass(), code == Code::Retry, "{fault}");
            let error = fault.into_error("s");
            assert!(error.kind() == code && error.message().contains(text), "{error:?}");
        }
    }
}
