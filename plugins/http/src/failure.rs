//! What can go wrong with a request, in words that hold no secret.
//!
//! Inputs: errors of the HTTP library. Outputs: a [`Failure`], and from it the error the host decides by.
//! Must never pass on a text of the library that could repeat an address.

use cloudsnooze_plugin::{Code, Error as PluginError};
use std::io::ErrorKind;
use std::path::PathBuf;
use thiserror::Error;

/// Why there is no reply.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Failure {
    /// No connection came about, so nothing was sent.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// The connection broke; whether the server acted is not known.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The time given was over first.
    #[error("no reply within the time left")]
    OutOfTime,
    /// [`crate::Client::cancel`] was called.
    #[error("cancelled")]
    Cancelled,
    /// The server could not prove who it is, or speaks no TLS.
    #[error("TLS: {0}")]
    Tls(String),
    /// The answer is not HTTP.
    #[error("the answer is not HTTP: {0}")]
    NotHttp(String),
    /// The request could not be made at all.
    #[error("the request could not be made")]
    NotMade,
}

impl Failure {
    /// The error for the host, its text led by what was being done. A failure that another attempt may
    /// mend asks for one.
    pub fn into_error(self, doing: impl std::fmt::Display) -> PluginError {
        let code = match self {
            Self::Unreachable(_) | Self::Broken(_) => Code::Retry,
            Self::OutOfTime => Code::Deadline,
            Self::Cancelled => Code::Cancelled,
            Self::Tls(_) | Self::NotHttp(_) => Code::Io,
            Self::NotMade => Code::Internal,
        };
        PluginError::new(self.to_string()).code(code).context(doing)
    }

    pub(crate) fn of(error: &ureq::Error) -> Self {
        use ureq::{Error, Timeout};
        match error {
            Error::Timeout(Timeout::Resolve) => Self::Unreachable("the name was not resolved in time".into()),
            Error::Timeout(Timeout::Connect) => Self::Unreachable("no answer".into()),
            Error::Timeout(_) => Self::OutOfTime,
            Error::HostNotFound => Self::Unreachable("the name has no address".into()),
            Error::ConnectionFailed => Self::Unreachable("no answer".into()),
            Error::ConnectProxyFailed(status) => Self::Unreachable(format!("the proxy refused: {status}")),
            Error::Io(error) => Self::of_io(error),
            Error::Tls(text) => Self::Tls((*text).to_owned()),
            Error::TlsRequired => Self::Tls("no TLS".into()),
            Error::Rustls(error) => Self::Tls(error.to_string()),
            Error::Protocol(error) => Self::NotHttp(error.to_string()),
            Error::LargeResponseHeader(..) => Self::NotHttp("its head is too long".into()),
            _ => Self::NotMade,
        }
    }

    pub(crate) fn of_io(error: &std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Self::OutOfTime,
            ErrorKind::NotConnected
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof => Self::Broken(error.to_string()),
            // The TLS library reports its errors as invalid data.
            ErrorKind::InvalidData => Self::Tls(error.to_string()),
            // Refused, no route, and the resolver's errors, which have no kind of their own.
            _ => Self::Unreachable(error.to_string()),
        }
    }
}

/// Why a client cannot be made. The texts leave addresses out.
#[derive(Debug, Error)]
pub enum BadSettings {
    /// The certificate file cannot be read.
    #[error("ca_file {path}: {source}", path = path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The certificate file holds no certificate, or a broken one.
    #[error("ca_file {}: holds no readable PEM certificate", .0.display())]
    NoCertificate(PathBuf),
    /// The proxy's address cannot be used.
    #[error("proxy: not a usable http or https address")]
    Proxy,
}
