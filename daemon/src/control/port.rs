//! The dashboard's port: who is let in over TCP.
//!
//! Inputs: requests, the token. Outputs: each request with the caller that it shows itself to be, or a refusal. Must never take a
//! token from an address, where it would be kept and logged, nor let the time of a comparison tell how much of one is right.

use super::browser::{self, Hosts};
use super::limits::Limits;
use super::page;
use super::rights::Caller;
use super::server::{failure, too_many};
use crate::sys::clock;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// What is kept of the token: enough to know it again.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// Keeps what it takes to know this text again.
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Whether the text is the token. Both are hashed, so that not even the length shows.
    pub fn is(&self, text: &str) -> bool {
        Self::new(text).0.ct_eq(&self.0).into()
    }
}

/// What is asked of whoever comes.
#[derive(Clone)]
struct Entry {
    token: Token,
    limits: Arc<Limits>,
}

/// The routes of the control socket for callers at the port that listens at `address`.
pub fn router(routes: Router, address: SocketAddr, token: Token, limits: Arc<Limits>) -> Router {
    let hosts: Hosts = Some(names(address).into());
    routes.layer(from_fn_with_state(Entry { token, limits }, admit)).layer(from_fn_with_state(hosts, browser::guard))
}

/// What a request may call the port. A browser leaves the usual port out (RFC 9110 4.2.3).
fn names(address: SocketAddr) -> Vec<String> {
    let port = address.port();
    let mut names = vec![address.to_string()];
    names.extend(["127.0.0.1", "localhost", "[::1]"].map(|host| format!("{host}:{port}")));
    if port == 80 {
        names.extend(["127.0.0.1", "localhost", "[::1]"].map(str::to_owned));
    }
    names
}

/// Passes the request on as that of a caller with the token, or refuses it; the page itself is for everybody.
async fn admit(State(entry): State<Entry>, mut request: Request, next: Next) -> Response {
    let is_shown = shown(request.headers()).map(|text| entry.token.is(text));
    if is_shown == Some(true) {
        request.extensions_mut().insert(Caller::at_port(true));
        return next.run(request).await;
    }
    if is_shown.is_none() && page::is_page(request.uri().path()) {
        return next.run(request).await;
    }
    if let Err(over) = entry.limits.request(&Caller::at_port(false), clock::boot_ns()) {
        return too_many(over);
    }
    let text = match is_shown {
        None => "the token is missing: Authorization: Bearer TOKEN (snooze dashboard prints the address with it)",
        Some(_) => "this is not the token of control.dashboard",
    };
    ([(header::WWW_AUTHENTICATE, "Bearer realm=\"cloudsnooze\"")], failure(StatusCode::UNAUTHORIZED, text))
        .into_response()
}

/// What a request shows as the token (RFC 6750 2.1); of several headers none counts.
fn shown(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (given.next(), given.next()) else { return None };
    let (scheme, text) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then_some(text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_again_and_nothing_near_it_is() {
        let token = Token::new("0123456789abcdef");
        assert!(token.is("0123456789abcdef"));
        for other in ["", "0123456789abcde", "0123456789abcdefg", "0123456789abcdeF", "0123456789abcdef\0"] {
            assert!(!token.is(other), "{other:?}");
        }
        assert_eq!(format!("{token:?}"), "Token");
    }

    #[test]
    fn a_token_is_shown_in_one_header_of_one_form() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().expect("a value"));
            }
            shown(&headers).map(str::to_owned)
        };
        assert_eq!(of(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(of(&["bearer  abc"]).as_deref(), Some("abc"));
        for none in [&[][..], &["abc"], &["Basic abc"], &["Bearer abc", "Bearer abc"], &["Bearerabc"]] {
            assert_eq!(of(none), None, "{none:?}");
        }
    }

    #[test]
    fn the_port_has_the_names_of_this_machine_alone() {
        let of = |address: &str| names(address.parse().expect("an address"));
        assert_eq!(of("127.0.0.1:7070")[1..], ["127.0.0.1:7070", "localhost:7070", "[::1]:7070"].map(str::to_owned));
        assert!(
            of("[::1]:80").contains(&"localhost".to_owned()) && !of("[::1]:8080").contains(&"localhost".to_owned())
        );
    }
}
