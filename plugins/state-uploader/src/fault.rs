//! What goes wrong between files and the store, in words for people.
//!
//! Inputs: errors of the library and of the system. Outputs: one line each, and the code for the host. Must never repeat a
//! whole document that a server sent.

use cloudsnooze_plugin::{Code, Error};
use std::io;

/// Longest text of an error.
const TEXT_BYTES: usize = 400;

/// Why a file is not in the store.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The store, or the way to it.
    Store(object_store::Error),
    /// The file.
    File(io::Error),
    /// The store holds something else than what was sent.
    Mismatch(String),
    /// It was given up: the time, or a cancel.
    Halted,
    /// The time was over, during this.
    Late(&'static str),
}

impl From<object_store::Error> for Fault {
    fn from(error: object_store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl From<tokio::task::JoinError> for Fault {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::File(io::Error::other(error))
    }
}

impl Fault {
    /// For the host: whether another attempt can help.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Store(error) if is_denied(error) => Code::Denied,
            Self::Store(object_store::Error::Generic { .. }) => Code::Retry,
            Self::Store(_) | Self::File(_) => Code::Io,
            Self::Mismatch(_) => Code::State,
            Self::Halted | Self::Late(_) => Code::Deadline,
        }
    }

    /// Whether it will be the same for every other file.
    pub(crate) fn is_of_all(&self) -> bool {
        let is_missing = |error: &object_store::Error| matches!(error, object_store::Error::NotFound { .. });
        matches!(self, Self::Store(error) if is_denied(error) || is_missing(error))
    }

    /// One line.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Store(error) => store(error),
            Self::File(error) => error.to_string(),
            Self::Mismatch(text) => text.clone(),
            Self::Halted => "given up".to_owned(),
            Self::Late(during) => format!("the time was over: {during}"),
        }
    }

    /// For the host.
    pub(crate) fn error(&self) -> Error {
        Error::new(self.text()).code(self.code())
    }
}

/// Whether credentials or rights are at fault.
pub(crate) fn is_denied(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. })
}

/// One line for an error of the library.
pub(crate) fn store(error: &object_store::Error) -> String {
    let said = excerpt(error);
    match error {
        object_store::Error::Unauthenticated { .. } => format!("the store does not know these credentials: {said}"),
        object_store::Error::PermissionDenied { .. } => {
            format!("the store refuses it: wrong credentials, or a right that is missing (see README): {said}")
        }
        object_store::Error::NotFound { .. } => format!("there is no such bucket or object: {said}"),
        _ => said,
    }
}

/// The whole chain as one line, cut.
fn excerpt(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = inner.source();
    }
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(TEXT_BYTES) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_document_is_cut_and_put_on_one_line() {
        let source = format!("<Error>\n{}</Error>", "é ".repeat(1000)).into();
        let text = store(&object_store::Error::PermissionDenied { path: "a".to_owned(), source });
        assert!(text.starts_with("the store refuses it") && !text.contains('\n'), "{text}");
        assert!(text.chars().count() < TEXT_BYTES + 120, "{}", text.len());
    }

    #[test]
    fn only_what_may_pass_is_worth_another_attempt() {
        let source = || "x".into();
        let denied = Fault::Store(object_store::Error::Unauthenticated { path: String::new(), source: source() });
        let broken = Fault::Store(object_store::Error::Generic { store: "S3", source: source() });
        assert_eq!((denied.code(), broken.code()), (Code::Denied, Code::Retry));
        assert!(denied.is_of_all() && !broken.is_of_all());
    }
}
