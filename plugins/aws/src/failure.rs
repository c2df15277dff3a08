//! What went wrong with a request, in words.
//!
//! Inputs: the SDK's errors. Outputs: one line and the code for the host. Must never repeat a whole reply.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use cloudsnooze_plugin::{Code, Error};
use std::error::Error as StdError;

/// Longest text, in characters.
const TEXT: usize = 300;
/// Names that AWS gives to credentials that are not good, or not enough.
const DENIED: [&str; 9] = [
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnauthorizedOperation",
    "UnrecognizedClientException",
];

/// A request that failed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// AWS's name for it; empty when AWS did not answer.
    pub name: String,
    /// AWS's text, or that of the connection.
    pub text: String,
    /// For the host.
    pub code: Code,
}

impl Failed {
    /// For the host; `right` is the permission that the request needs.
    pub fn error(&self, doing: &str, right: &str) -> Error {
        let text = match self.code {
            Code::Denied => format!("{doing}: {} {}: wrong credentials, or {right} is missing", self.name, self.text),
            _ if self.name.is_empty() => format!("{doing}: {}", self.text),
            _ => format!("{doing}: {} {}", self.name, self.text),
        };
        Error::new(text).code(self.code)
    }
}

/// Puts an error of the SDK into words.
pub fn failure<E>(error: &SdkError<E, HttpResponse>) -> Failed
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    match error {
        SdkError::ServiceError(service) => {
            let name = service.err().code().unwrap_or("unknown error").to_owned();
            let text = cut(service.err().message().unwrap_or_default());
            let is_busy = name.contains("Throttl") || name == "RequestLimitExceeded" || name == "ServiceUnavailable";
            let code = match name.as_str() {
                name if DENIED.contains(&name) => Code::Denied,
                _ if matches!(service.raw().status().as_u16(), 401 | 403) => Code::Denied,
                _ if is_busy || service.raw().status().is_server_error() => Code::Retry,
                _ => Code::Io,
            };
            Failed { name, text, code }
        }
        other => {
            let text = cut(&chain(other));
            let is_denied = text.contains("credentials") && matches!(other, SdkError::DispatchFailure(_));
            Failed { name: String::new(), text, code: if is_denied { Code::Denied } else { Code::Retry } }
        }
    }
}

/// The error and what led to it.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = inner.source();
    }
    text
}

fn cut(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(TEXT) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_is_named() {
        let failed = Failed { name: "AccessDenied".to_owned(), text: "no".to_owned(), code: Code::Denied };
        let error = failed.error("answer the hook", "autoscaling:CompleteLifecycleAction");
        assert!(error.message().contains("answer the hook: AccessDenied no"), "{error}");
        assert!(error.message().ends_with("or autoscaling:CompleteLifecycleAction is missing"), "{error}");
        assert_eq!(error.kind(), Code::Denied);
    }

    #[test]
    fn long_texts_are_cut() {
        assert!(cut(&"é\n".repeat(1000)).chars().count() <= TEXT + 3);
    }
}
