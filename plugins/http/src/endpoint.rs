//! Addresses whose paths may be secrets, and texts that may repeat them.
//!
//! Inputs: text of an operator or a server. Outputs: a checked address, and texts that are safe to show.
//! Must never show a path, a query or credentials.

use std::fmt;
use std::net::SocketAddr;
use thiserror::Error;
use url::Url;

/// An absolute `http` or `https` address without credentials. Shown as its origin only.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

/// Why an address cannot be used. The texts leave the address itself out.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BadEndpoint {
    /// It cannot be read as an absolute address.
    #[error("is not an absolute URL")]
    NotAUrl,
    /// Its scheme is another one.
    #[error("is neither http nor https")]
    Scheme,
    /// It holds a user name or a password.
    #[error("holds credentials; name them in the configuration's own keys")]
    Credentials,
}

impl Endpoint {
    /// Checks the text of an address.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn parse(text: &str) -> Result<Self, BadEndpoint> {
        Self::check(Url::parse(text.trim()).map_err(|_| BadEndpoint::NotAUrl)?)
    }

    /// The address that a server's reference (`Location`, relative or absolute) leads to from here.
    ///
    /// # Errors
    /// Why that cannot be used.
    pub fn join(&self, reference: &str) -> Result<Self, BadEndpoint> {
        Self::check(self.0.join(reference.trim()).map_err(|_| BadEndpoint::NotAUrl)?)
    }

    fn check(mut url: Url) -> Result<Self, BadEndpoint> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BadEndpoint::Scheme);
        }
        if !url.has_host() {
            return Err(BadEndpoint::NotAUrl);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadEndpoint::Credentials);
        }
        url.set_fragment(None);
        Ok(Self(url))
    }

    /// The root of the same server.
    #[must_use]
    pub fn root(&self) -> Self {
        let mut url = self.0.clone();
        url.set_path("/");
        url.set_query(None);
        Self(url)
    }

    /// Whether scheme, host and port are the same.
    pub fn same_origin(&self, other: &Self) -> bool {
        self.0.origin() == other.0.origin()
    }

    /// Path and query: what must not be shown.
    pub fn secret(&self) -> &str {
        &self.0[url::Position::BeforePath..]
    }

    /// `HOST:PORT`; None only for an address that cannot have been checked.
    pub(crate) fn host_and_port(&self) -> Option<String> {
        Some(format!("{}:{}", self.0.host_str()?, self.0.port_or_known_default()?))
    }

    /// Whether the host is a name rather than an IP address.
    pub(crate) fn is_named(&self) -> bool {
        self.0.domain().is_some()
    }

    /// Where the host can be reached. Blocks as long as the system takes to look up a name.
    ///
    /// # Errors
    /// The system's error; a name without an address is one too.
    pub(crate) fn addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        self.0.socket_addrs(|| None)
    }

    /// The whole address, for the request line only.
    pub(crate) fn address(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.origin().ascii_serialization())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text with every secret in it replaced. Secrets of less than four characters stay: replacing them
/// would only garble the text, and they hide nothing.
pub fn redact(text: &str, secrets: &[&str]) -> String {
    secrets.iter().filter(|s| s.len() >= 4).fold(text.to_owned(), |text, secret| text.replace(secret, "[secret]"))
}

/// The first `max_chars` characters of a server's words, on one line, secrets replaced.
pub fn excerpt(text: &str, max_chars: usize, secrets: &[&str]) -> String {
    let line = redact(text, secrets).split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Text of somebody else's that is to stand in an address, and must not reach beyond its place there.
pub fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_shows_its_origin_and_nothing_else() {
        let endpoint = Endpoint::parse("https://hooks.example.com/services/T0/B0/very-secret?x=1#y").unwrap();
        assert_eq!(format!("{endpoint} {endpoint:?}"), "https://hooks.example.com https://hooks.example.com");
        assert_eq!(endpoint.secret(), "/services/T0/B0/very-secret?x=1");
        assert_eq!(endpoint.root().address(), "https://hooks.example.com/");
        let by_address = Endpoint::parse("http://[::1]:8080/a").unwrap();
        assert_eq!(by_address.to_string(), "http://[::1]:8080");
        assert_eq!(by_address.host_and_port().as_deref(), Some("[::1]:8080"));
        assert_eq!(endpoint.host_and_port().as_deref(), Some("hooks.example.com:443"));
        assert!(endpoint.is_named() && !by_address.is_named());
    }

    #[test]
    fn addresses_that_cannot_be_used_are_refused_without_being_repeated() {
        for (text, why) in [
            ("/checkpoint", BadEndpoint::NotAUrl),
            ("", BadEndpoint::NotAUrl),
            ("http://", BadEndpoint::NotAUrl),
            ("file:///etc/passwd", BadEndpoint::Scheme),
            ("unix:/run/app.sock", BadEndpoint::Scheme),
            ("https://user:hunter2@example.com/", BadEndpoint::Credentials),
        ] {
            let error = Endpoint::parse(text).unwrap_err();
            assert_eq!(error, why, "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn a_reference_is_resolved_against_the_endpoint_and_origins_are_told_apart() {
        let endpoint = Endpoint::parse("http://localhost:8080/api/checkpoint").unwrap();
        for (reference, whole, same) in [
            ("/status/7", "http://localhost:8080/status/7", true),
            ("status?id=7", "http://localhost:8080/api/status?id=7", true),
            ("http://localhost:8080/x", "http://localhost:8080/x", true),
            ("//evil.example/x", "http://evil.example/x", false),
            ("http://localhost:8081/x", "http://localhost:8081/x", false),
            ("https://localhost:8080/x", "https://localhost:8080/x", false),
        ] {
            let joined = endpoint.join(reference).unwrap();
            assert_eq!(joined.address(), whole);
            assert_eq!(joined.same_origin(&endpoint), same, "{reference}");
        }
        assert!(endpoint.join("file:///etc/shadow").is_err());
    }

    #[test]
    fn excerpts_are_one_line_short_and_without_secrets() {
        assert_eq!(excerpt("no\n such\ttoken: s3cr3t!", 80, &["s3cr3t", "no"]), "no such token: [secret]!");
        assert_eq!(excerpt("äöüß", 2, &[]), "äö…");
        assert_eq!(excerpt("äö", 2, &[]), "äö");
    }
}
