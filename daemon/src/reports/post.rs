//! Sends a report to a server.
//!
//! Inputs: where to, the report's JSON, how long it may take. Outputs: done, or why not in words. Blocks the calling thread,
//! at most for that time. Must never follow a redirect, take a proxy from the environment, or put more of the address than
//! its origin into a text: what follows may be a secret, and so may the headers.

use crate::sys::clock;
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;
use ureq::Agent;
use ureq::http::{HeaderName, HeaderValue, Request, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use url::Url;

/// Most attempts for one report.
const ATTEMPTS_MAX: u32 = 5;
/// Pause after the first failed attempt; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(200);
/// Shortest time that an attempt is begun with.
const ATTEMPT_MIN: Duration = Duration::from_millis(50);
/// By this a server knows a report that it has already: the answer to an earlier attempt may have been lost.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Where reports are sent to.
pub struct Target {
    address: String,
    origin: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    timeout: Duration,
    agent: Agent,
}

impl fmt::Debug for Target {
    /// Written by hand: address and headers may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.origin)
    }
}

/// What is wrong with a setting: its name below `report.post`, and how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// `url`, `ca_file`, or the name of a header.
    pub setting: String,
    /// Whether it is a header.
    pub is_header: bool,
    /// What was found, without its value, and what is expected.
    pub found: String,
    /// See `found`.
    pub expected: &'static str,
}

fn bad(setting: &str, found: impl Into<String>, expected: &'static str) -> Bad {
    Bad { setting: setting.to_owned(), is_header: false, found: found.into(), expected }
}

impl Target {
    /// A target; `ca_file` are certificates to trust instead of the public authorities. Reads that file.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn new<'h>(
        url: &str,
        headers: impl IntoIterator<Item = (&'h str, &'h str)>,
        timeout: Duration,
        ca_file: Option<&Path>,
    ) -> Result<Self, Vec<Bad>> {
        let mut wrong = Vec::new();
        let address =
            address(url).map_err(|found| wrong.push(bad("url", found, "an address such as https://host/path")));
        let roots = ca_file.map_or(Ok(RootCerts::WebPki), roots).map_err(|error| wrong.push(error));
        let mut taken = Vec::new();
        for (name, value) in headers {
            match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value.trim())) {
                (Ok(known), Ok(mut value)) => {
                    value.set_sensitive(true);
                    taken.push((known, value));
                }
                (Err(_), _) => wrong.push(Bad {
                    is_header: true,
                    ..bad(name, "a name that no header has", "a name of letters, digits and -")
                }),
                (_, Err(_)) => wrong
                    .push(Bad { is_header: true, ..bad(name, "a value with control characters", "one line of text") }),
            }
        }
        let (Ok(address), Ok(roots), true) = (address, roots, wrong.is_empty()) else { return Err(wrong) };
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("cloudsnooze/", env!("CARGO_PKG_VERSION")))
            .build();
        let origin = address.origin().ascii_serialization();
        Ok(Self { address: address.into(), origin, headers: taken, timeout, agent: config.into() })
    }

    /// Scheme, host and port: what may be shown of the address.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Sends the report of an event, again after failures that may pass, within the time that the settings give. Between
    /// two attempts `pause` is called, which waits or says that there is to be no further one.
    ///
    /// # Errors
    /// Why the server does not have it.
    pub fn send(&self, event_id: &str, json: &str, pause: impl Fn(Duration) -> bool) -> Result<(), String> {
        let until_ns = clock::boot_ns().saturating_add(i64::try_from(self.timeout.as_nanos()).unwrap_or(i64::MAX));
        let left = || Duration::from_nanos(u64::try_from(until_ns.saturating_sub(clock::boot_ns())).unwrap_or(0));
        for attempt in 1.. {
            let (why, may_pass) = match self.attempt(event_id, json, left()) {
                Ok(status) if (200..300).contains(&status) => return Ok(()),
                Ok(status) => (format!("the server answered {status}"), matches!(status, 408 | 425 | 429 | 500..)),
                Err(error) => describe(&error),
            };
            let wait = PAUSE * (1 << (attempt - 1));
            if !may_pass || attempt == ATTEMPTS_MAX || left() < wait + ATTEMPT_MIN || !pause(wait) {
                return Err(why);
            }
        }
        Err("no attempt was made".into())
    }

    fn attempt(&self, event_id: &str, json: &str, left: Duration) -> Result<u16, ureq::Error> {
        let mut head = Request::post(&self.address).header(header::CONTENT_TYPE, "application/json");
        if !self.headers.iter().any(|(name, _)| *name == KEY) {
            head = head.header(KEY, event_id);
        }
        for (name, value) in &self.headers {
            head = head.header(name, value);
        }
        let request =
            self.agent.configure_request(head.body(json)?).timeout_global(Some(left.max(ATTEMPT_MIN))).build();
        Ok(self.agent.run(request)?.status().as_u16())
    }
}

fn address(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text.trim()).map_err(|_| "a text that is no absolute address")?;
    match url.scheme() {
        "http" | "https" if !url.has_host() => Err("an address without a host"),
        "http" | "https" if !url.username().is_empty() || url.password().is_some() => {
            Err("an address with a user name or a password")
        }
        "http" | "https" => Ok(url),
        _ => Err("an address that is neither http nor https"),
    }
}

fn roots(path: &Path) -> Result<RootCerts, Bad> {
    let expected = "a readable file of PEM certificates";
    let pem = std::fs::read(path)
        .map_err(|error| bad("ca_file", format!("a file that cannot be read ({error})"), expected))?;
    let certificates = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let certificates: Vec<Certificate<'static>> = certificates.collect();
    match certificates.is_empty() {
        true => Err(bad("ca_file", "a file without a certificate", expected)),
        false => Ok(RootCerts::from(certificates)),
    }
}

/// Why there is no answer, and whether another attempt may get one. The library's own texts may repeat the address.
fn describe(error: &ureq::Error) -> (String, bool) {
    use ureq::Error;
    match error {
        Error::Timeout(_) => ("no answer in time".into(), true),
        Error::HostNotFound => ("the name has no address".into(), true),
        Error::ConnectionFailed => ("no connection".into(), true),
        // The TLS library reports its errors as invalid data.
        Error::Io(error) if error.kind() == ErrorKind::InvalidData => (format!("TLS: {error}"), false),
        Error::Io(error) => (format!("the connection failed: {error}"), true),
        Error::Tls(what) => (format!("TLS: {what}"), false),
        Error::Rustls(what) => (format!("TLS: {what}"), false),
        Error::Protocol(_) => ("the answer is not HTTP".into(), true),
        _ => ("the request could not be made".into(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    fn target(url: &str, headers: &[(&'static str, &'static str)], timeout_ms: u64) -> Result<Target, Vec<Bad>> {
        Target::new(url, headers.iter().copied(), Duration::from_millis(timeout_ms), None)
    }

    /// A server that answers one connection after the other with these statuses; gives what it was sent.
    fn server(statuses: &'static [u16]) -> (String, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/secret-path", listener.local_addr().expect("bound"));
        let serve = move || {
            let answer = |status: &u16| {
                let (mut stream, _) = listener.accept().expect("a connection");
                let (mut text, mut bytes) = (String::new(), [0; 4096]);
                while !text.ends_with('}') {
                    let count = stream.read(&mut bytes).expect("a request");
                    text += &String::from_utf8_lossy(&bytes[..count]);
                }
                let reply = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(reply.as_bytes()).expect("answered");
                text
            };
            statuses.iter().map(answer).collect()
        };
        (url, thread::spawn(serve))
    }

    #[test]
    fn a_report_arrives_with_its_headers_after_failures_that_pass() {
        let (url, server) = server(&[503, 429, 200]);
        let target = target(&url, &[("x-team", "night"), ("Authorization", "Bearer abc")], 30_000).expect("a target");
        target.send("an-id", r#"{"a":1}"#, |_| true).expect("sent");
        let asked = server.join().expect("no panic");
        assert_eq!(asked.len(), 3);
        for request in asked {
            assert!(request.starts_with("POST /secret-path HTTP/1.1\r\n"), "{request}");
            for line in [
                "content-type: application/json",
                "idempotency-key: an-id",
                "x-team: night",
                "authorization: Bearer abc",
            ] {
                assert!(request.to_ascii_lowercase().contains(&line.to_ascii_lowercase()), "{line}: {request}");
            }
            assert!(request.ends_with(r#"{"a":1}"#), "{request}");
        }
    }

    #[test]
    fn a_refusal_is_final_and_told_without_the_address() {
        let (url, server) = server(&[401]);
        let target = target(&url, &[], 30_000).expect("a target");
        assert_eq!(target.send("an-id", "{}", |_| true), Err("the server answered 401".into()));
        assert_eq!(server.join().expect("no panic").len(), 1);
        assert!(!format!("{target:?} {}", target.origin()).contains("secret-path"));
    }

    #[test]
    fn a_server_that_says_nothing_is_given_up_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("bound"));
        let begun = clock::boot_ns();
        let told = target(&url, &[], 300).expect("a target").send("an-id", "{}", |_| true);
        assert_eq!(told, Err("no answer in time".into()));
        assert!(clock::boot_ns() - begun < 10_000_000_000);
    }

    #[test]
    fn who_is_told_to_stop_between_attempts_stops() {
        let (url, server) = server(&[500]);
        let target = target(&url, &[], 30_000).expect("a target");
        assert_eq!(target.send("an-id", "{}", |_| false), Err("the server answered 500".into()));
        server.join().expect("no panic");
    }

    #[test]
    fn what_is_wrong_is_named_without_its_value() {
        let wrong = |url: &str| target(url, &[], 1).expect_err("wrong").remove(0).found;
        assert!(wrong("collector").contains("no absolute address"));
        assert!(wrong("ftp://host/hunter2").contains("neither http nor https"));
        assert!(wrong("https://me:hunter2@host/").contains("a user name or a password"));
        let headers = [("a b", "hunter2"), ("token", "hunter2\nx: y")];
        let told = target("x", &headers, 1).expect_err("wrong");
        assert_eq!(
            told.iter().filter(|bad| bad.is_header).map(|bad| bad.setting.as_str()).collect::<Vec<_>>(),
            ["a b", "token"]
        );
        assert!(told.len() == 3 && !format!("{told:?}").contains("hunter2"), "{told:?}");
        let place = tempfile::tempdir().expect("a directory");
        let file = place.path().join("ca.pem");
        let of = |file: &Path| {
            Target::new("https://host/", [], Duration::from_secs(1), Some(file)).expect_err("wrong").remove(0)
        };
        assert_eq!(of(&file).setting, "ca_file");
        std::fs::write(&file, "nothing").expect("written");
        assert_eq!(of(&file).found, "a file without a certificate");
    }
}
