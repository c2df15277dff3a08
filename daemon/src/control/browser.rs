//! What a browser may be led to by a page of somebody else's: whether a request is one of those.
//!
//! Inputs: a request's head. Outputs: the request passed on, or why not. Must never let a page of another origin read or change
//! anything, whether the browser comes to the port or, through `ssh -L`, to the socket. There are no headers that allow such a
//! page anything (CORS), so nothing here is for them either.

use super::page;
use super::server::failure;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use std::net::IpAddr;
use std::sync::Arc;

/// What a browser says of where a request comes from (W3C Fetch Metadata).
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The names under which the port is asked, each with its port. None: at the socket, whose clients call it what they like.
pub type Hosts = Option<Arc<[String]>>;

/// What every answer says: nothing from elsewhere is loaded, nothing is guessed, kept, told on, framed or shared. Scripts may put
/// no text into the page as markup (W3C Trusted Types).
const SAID: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Passes the request on unless a browser was led here, and has the answer say what browsers are to heed.
pub async fn guard(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    let mut response = match refusal(&request, hosts.as_deref()) {
        None => next.run(request).await,
        Some(why) => failure(StatusCode::FORBIDDEN, why),
    };
    for (name, value) in SAID {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refusal(request: &Request, hosts: Option<&[String]>) -> Option<&'static str> {
    let headers = request.headers();
    let given = headers.get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or_default());
    let named: Vec<&str> = given.chain(request.uri().authority().map(Authority::as_str)).collect();
    let is_own = match hosts {
        Some(hosts) => !named.is_empty() && named.iter().all(|name| is_among(name, hosts)),
        None => named.iter().all(|name| is_nobodys(name)),
    };
    if !is_own {
        return Some("this host name is none of this daemon's: ask for 127.0.0.1 or localhost, with the port");
    }
    // The page itself tells nothing, and a link to it may stand anywhere.
    let is_led = !page::is_page(request.uri().path()) && comes_from_elsewhere(headers, &named);
    is_led.then_some("this was asked by a page of another origin")
}

fn is_among(name: &str, hosts: &[String]) -> bool {
    hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
}

/// Whether nobody else can have the name lead here: it is an address, or has no dot, which names of others have.
fn is_nobodys(name: &str) -> bool {
    let host = match name.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => name,
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok() || !host.contains('.')
}

fn comes_from_elsewhere(headers: &HeaderMap, named: &[&str]) -> bool {
    let is_own_origin = |origin: &HeaderValue| {
        let host = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
        host.is_some_and(|host| named.iter().all(|name| name.eq_ignore_ascii_case(host)))
    };
    let is_own_site = |site: &HeaderValue| site == "same-origin" || site == "none";
    !headers.get_all(header::ORIGIN).iter().all(is_own_origin) || !headers.get_all(FETCH_SITE).iter().all(is_own_site)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn refused(hosts: Option<&[String]>, path: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        refusal(&request.body(Body::empty()).expect("a request"), hosts).is_some()
    }

    #[test]
    fn at_the_port_only_its_own_names_are_answered() {
        let hosts = ["127.0.0.1:7070".to_owned(), "localhost:7070".to_owned()];
        let by = |host: &str| refused(Some(&hosts), "/v1/status", &[("host", host)]);
        assert!(!by("127.0.0.1:7070") && !by("LocalHost:7070"));
        for other in
            ["evil.example:7070", "127.0.0.1", "127.0.0.1:7071", "localhost.evil.example:7070", "", "[::1]:7070"]
        {
            assert!(by(other), "{other}");
        }
        assert!(refused(Some(&hosts), "/", &[]), "the page too, and whoever names no host");
        assert!(refused(Some(&hosts), "http://evil.example/", &[("host", "localhost:7070")]));
    }

    #[test]
    fn at_the_socket_no_name_is_answered_that_others_can_lead_here() {
        let by = |host: &str| refused(None, "/v1/status", &[("host", host)]);
        for own in ["snoozed", "x", "localhost:7070", "127.0.0.1:9", "[::1]:7070", "[::1]"] {
            assert!(!by(own), "{own}");
        }
        assert!(by("evil.example") && by("evil.example:7070") && by("127.0.0.1.evil.example"));
        assert!(!refused(None, "/v1/status", &[]), "HTTP/1.0 needs none");
    }

    #[test]
    fn a_page_of_another_origin_is_answered_nothing_and_the_page_itself_may_be_linked_to() {
        let with =
            |path: &str, name: &str, value: &str| refused(None, path, &[("host", "localhost:7070"), (name, value)]);
        assert!(!with("/v1/drill", "origin", "http://localhost:7070"));
        for other in
            ["http://evil.example", "null", "http://localhost:8080", "https://localhost:7070", "http://127.0.0.1:7070"]
        {
            assert!(with("/v1/drill", "origin", other), "{other}");
        }
        assert!(!with("/v1/status", "sec-fetch-site", "same-origin") && !with("/v1/status", "sec-fetch-site", "none"));
        assert!(with("/metrics", "sec-fetch-site", "cross-site") && with("/v1/watch", "sec-fetch-site", "same-site"));
        assert!(!with("/", "sec-fetch-site", "cross-site"));
    }
}
