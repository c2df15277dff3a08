//! The client of metadata services: one GET or PUT at a time, on one kept connection.
//!
//! Responsibilities: how to ask so that nothing stands between the machine and its service (no proxy, no
//! redirect), limits of time and size, and what went wrong in terms that tell an operator what to mend.
//! Inputs: an endpoint, paths, headers. Outputs: bodies or a `FetchError`. Must never log or quote a body,
//! or wait without a bound.

use crate::normalise::deadline::rfc1123_ns;
use reqwest::header::{DATE, HeaderMap};
use reqwest::{Client, Method, Response, Url, redirect};
use std::error::Error as _;
use std::io::ErrorKind;
use std::time::Duration;
use thiserror::Error;

/// Longest body read, bytes. The longest document known, a full maintenance history, is far below.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Longest that making a connection may take: the service is on the same host.
pub const CONNECT_TIMEOUT_MS: u64 = 1_000;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FetchError {
    /// The machine has no route to the service.
    #[error("no route to the metadata service")]
    NoRoute,
    /// Nothing listens there.
    #[error("the metadata service refuses connections")]
    Refused,
    /// No complete answer in time.
    #[error("no answer within the time limit")]
    Timeout,
    /// The connection broke before the answer was complete.
    #[error("the connection was closed before the answer was complete")]
    Closed,
    /// An answer that is neither 200 nor 404.
    #[error("HTTP status {0}")]
    Status(u16),
    /// A redirect, which no metadata service sends; it is not followed.
    #[error("HTTP status {0}, a redirect, which is not followed")]
    Redirect(u16),
    /// More than [`BODY_BYTES_MAX`].
    #[error("the answer is longer than {BODY_BYTES_MAX} bytes")]
    TooLarge,
    /// Not HTTP, or not what was promised.
    #[error("not a valid HTTP answer")]
    Malformed,
}

/// What cannot be used as an endpoint.
#[derive(Debug, Error)]
pub enum EndpointError {
    /// Not a URL of plain HTTP with a host and nothing after it. It is not quoted: it may hold a password.
    #[error("the metadata endpoint must have the form http://ADDRESS or http://ADDRESS:PORT")]
    Form,
    /// The client cannot be made.
    #[error("cannot make an HTTP client: {0}")]
    Client(reqwest::Error),
}

/// A complete answer with status 200.
#[derive(Debug)]
pub struct Found {
    /// The body, at most [`BODY_BYTES_MAX`].
    pub body: Vec<u8>,
    /// The headers.
    pub headers: HeaderMap,
}

impl Found {
    /// The service's clock when it answered (header `Date`), nanoseconds since 1970 UTC.
    pub fn date_ns(&self) -> Option<i64> {
        rfc1123_ns(self.headers.get(DATE)?.to_str().ok()?)
    }
}

/// A client of one metadata service. Use it within one single-threaded runtime.
#[derive(Clone, Debug)]
pub struct MetadataClient {
    client: Client,
    endpoint: Url,
}

impl MetadataClient {
    /// A client of the service at `endpoint`, such as `http://169.254.169.254` or
    /// `http://[fd00:ec2::254]`. A request takes at most `request_timeout_ms` from first to last byte.
    ///
    /// # Errors
    /// The endpoint is not of that form.
    pub fn new(endpoint: &str, request_timeout_ms: u64) -> Result<Self, EndpointError> {
        let url = Url::parse(endpoint).ok().filter(|url| {
            let is_bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
            url.scheme() == "http" && url.has_host() && is_bare && url.username().is_empty() && url.password().is_none()
        });
        let endpoint = url.ok_or(EndpointError::Form)?;
        let request_timeout = Duration::from_millis(request_timeout_ms);
        let client = Client::builder()
            // The services refuse forwarded requests, and their answers are no proxy's business.
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(Duration::from_millis(CONNECT_TIMEOUT_MS).min(request_timeout))
            .timeout(request_timeout)
            .tcp_nodelay(true)
            .pool_max_idle_per_host(1)
            // Polls may be minutes apart; the service closes what it does not want to keep.
            .pool_idle_timeout(None)
            .build()
            .map_err(EndpointError::Client)?;
        Ok(Self { client, endpoint })
    }

    /// Asks for `path` (`/latest/…`). None for 404: the service works and has no such item now.
    ///
    /// # Errors
    /// Anything but a complete 200 or a 404.
    pub async fn get(&self, path: &str, headers: &HeaderMap) -> Result<Option<Found>, FetchError> {
        match self.twice(Method::GET, path, headers).await {
            Ok(found) => Ok(Some(found)),
            Err(FetchError::Status(404)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a PUT without a body.
    ///
    /// # Errors
    /// Anything but a complete 200; a 404 is `Status(404)`.
    pub async fn put(&self, path: &str, headers: &HeaderMap) -> Result<Found, FetchError> {
        self.twice(Method::PUT, path, headers).await
    }

    /// A kept connection may turn out to be dead, as it does whenever the service restarts, which says
    /// nothing about the service: the request is made once more, on a new one.
    async fn twice(&self, method: Method, path: &str, headers: &HeaderMap) -> Result<Found, FetchError> {
        match self.once(method.clone(), path, headers).await {
            Err(FetchError::Closed) => self.once(method, path, headers).await,
            answer => answer,
        }
    }

    async fn once(&self, method: Method, path: &str, headers: &HeaderMap) -> Result<Found, FetchError> {
        let mut url = self.endpoint.clone();
        url.set_path(path);
        let request = self.client.request(method, url).headers(headers.clone());
        let mut response = request.send().await.map_err(|e| classify(&e))?;
        let status = response.status();
        let body = read_body(&mut response).await?;
        match status.as_u16() {
            200 => Ok(Found { body, headers: std::mem::take(response.headers_mut()) }),
            code @ 300..400 => Err(FetchError::Redirect(code)),
            code => Err(FetchError::Status(code)),
        }
    }
}

/// Reads bodies of errors too, so that the connection can be used again.
async fn read_body(response: &mut Response) -> Result<Vec<u8>, FetchError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| classify(&e))? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(FetchError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What an error of the library means. Its own text names the URL and the library's layers, not the cause.
fn classify(error: &reqwest::Error) -> FetchError {
    if error.is_timeout() {
        return FetchError::Timeout;
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            match io.kind() {
                ErrorKind::ConnectionRefused => return FetchError::Refused,
                ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::AddrNotAvailable => {
                    return FetchError::NoRoute;
                }
                ErrorKind::TimedOut => return FetchError::Timeout,
                ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof => return FetchError::Closed,
                _ => {}
            }
        }
        if let Some(http) = inner.downcast_ref::<hyper::Error>()
            && (http.is_incomplete_message() || http.is_canceled() || http.is_closed())
        {
            return FetchError::Closed;
        }
        cause = inner.source();
    }
    if error.is_connect() { FetchError::NoRoute } else { FetchError::Malformed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_endpoints_without_a_path_are_accepted() {
        for good in ["http://169.254.169.254", "http://[fd00:ec2::254]", "http://127.0.0.1:1338/"] {
            assert!(MetadataClient::new(good, 2_000).is_ok(), "{good}");
        }
        for bad in
            ["", "169.254.169.254", "https://169.254.169.254", "file:///etc/passwd", "http://a/latest", "http://u:p@a"]
        {
            assert!(MetadataClient::new(bad, 2_000).is_err(), "{bad}");
        }
    }
}
