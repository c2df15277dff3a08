//! The client against a real server: time, cancel, kept connections, TLS, redirects, proxies.
#![allow(missing_docs)]

mod server;

use cloudsnooze_plugin::testing;
use cloudsnooze_plugin_http::{
    BadSettings, Client, Endpoint, Failure, Method, Reply, Request, Session, Settings, header,
};
use server::{Answer, SOON, Server};
use std::io::Write;
use std::time::{Duration, Instant};

fn made(settings: &Settings, url: &str) -> Result<Client, BadSettings> {
    Client::new(testing::host(), settings, &Endpoint::parse(url).unwrap())
}

/// A client of the server at this address that has no connection to it yet.
fn client(url: &str) -> Client {
    made(&Settings { user_agent: "test/1".into(), ..Settings::default() }, url).unwrap()
}

fn post_in(session: &Session<'_>, url: &str, left: Duration) -> Result<Reply, Failure> {
    let endpoint = Endpoint::parse(url).unwrap();
    session.send(&Request { method: Method::POST, endpoint: &endpoint, headers: &[], body: b"{}" }, left)
}

/// One call with one request.
fn post(client: &Client, url: &str, left: Duration) -> Result<Reply, Failure> {
    post_in(&client.begin(), url, left)
}

/// The same by a client made for it.
fn post_once(url: &str, left: Duration) -> Result<Reply, Failure> {
    post(&client(url), url, left)
}

/// A port that nobody listens on.
fn closed_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_reply_comes_with_its_status_headers_and_body_and_the_connection_is_kept() {
    let server = Server::start(|_| Answer::status(503, "busy").with("Retry-After", "7"));
    let client = client(&server.url("/deep/secret"));
    client.keep_ready();
    for _ in 0..3 {
        let session = client.begin();
        let reply = post_in(&session, &server.url("/a?b=c"), SOON).unwrap();
        assert_eq!(session.connection(), "kept");
        assert_eq!((reply.status, reply.text().as_str()), (503, "busy"));
        assert_eq!(reply.retry_after(), Some(Duration::from_secs(7)));
    }
    let requests = server.requests();
    assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("HEAD", "/"));
    assert_eq!((requests[1].path.as_str(), requests[1].body.as_str()), ("/a?b=c", "{}"));
    assert_eq!(requests[1].header("user-agent"), Some("test/1"));
    assert_eq!(server.connections(), 1, "{requests:?}");
}

#[test]
fn a_kept_connection_that_the_server_closed_is_replaced_within_the_call() {
    // The server takes the second request of a connection and drops it, as one does whose idle time was
    // over just then.
    let server = Server::start(|r| if r.nth == 1 { Answer::Close } else { Answer::ok("fine") });
    let client = client(&server.url("/"));
    client.keep_ready();
    let session = client.begin();
    assert_eq!(post_in(&session, &server.url("/"), SOON).unwrap().text(), "fine");
    assert_eq!((server.connections(), session.connection()), (2, "fresh"));
}

#[test]
fn a_server_that_always_drops_the_request_is_asked_twice_and_no_more() {
    let server = Server::start(|_| Answer::Close);
    assert!(matches!(post_once(&server.url("/"), SOON), Err(Failure::Broken(_))));
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_server_that_never_answers_costs_the_time_left_and_no_more() {
    for answer in [|| Answer::Hold, || Answer::Stall] {
        let server = Server::start(move |_| answer());
        let started = Instant::now();
        assert_eq!(post_once(&server.url("/"), Duration::from_millis(300)).unwrap_err(), Failure::OutOfTime);
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(290) && took < Duration::from_secs(3), "{took:?}");
    }
}

#[test]
fn a_cancel_ends_a_request_at_once_and_the_next_call_works() {
    for answer in [|| Answer::Hold, || Answer::Stall] {
        let server = Server::start(move |r| if r.total == 0 { answer() } else { Answer::ok("again") });
        let client = client(&server.url("/"));
        let started = Instant::now();
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let session = client.begin();
                [6 * SOON, SOON].map(|left| post_in(&session, &server.url("/"), left).unwrap_err())
            });
            server.wait_for_calls(1);
            client.cancel();
            assert_eq!(asking.join().unwrap(), [Failure::Cancelled, Failure::Cancelled]);
        });
        server.wait_for_abandoned();
        assert!(started.elapsed() < SOON);
        assert_eq!(post(&client, &server.url("/"), SOON).unwrap().text(), "again");
    }
}

#[test]
fn a_pause_ends_at_its_time_or_with_a_cancel() {
    let client = client("http://localhost/");
    let session = client.begin();
    let started = Instant::now();
    session.pause(Duration::from_millis(120), || false).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(120));
    assert_eq!(session.pause(6 * SOON, || started.elapsed() > Duration::from_millis(200)), Err(Failure::Cancelled));
    drop(session);
    let (looks, looked) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let pausing = scope.spawn(|| client.begin().pause(6 * SOON, move || looks.send(()).is_err()));
        looked.recv().unwrap();
        client.cancel();
        assert_eq!(pausing.join().unwrap(), Err(Failure::Cancelled));
    });
    assert!(started.elapsed() < SOON);
}

#[test]
fn a_redirect_is_a_reply_and_its_target_sees_nothing() {
    let target = Server::start(|_| Answer::ok("stolen"));
    let location = target.url("/steal");
    for status in [301, 302, 303, 307, 308] {
        let location = location.clone();
        let server = Server::start(move |_| Answer::status(status, "").with("Location", location.clone()));
        let reply = post_once(&server.url("/"), SOON).unwrap();
        assert_eq!(reply.status, status);
        assert!(reply.header(&header::LOCATION).is_some());
    }
    assert_eq!(target.requests().len(), 0);
}

#[test]
fn failures_are_told_apart_without_naming_the_path() {
    let refused = post_once(&format!("http://127.0.0.1:{}/hush", closed_port()), SOON).unwrap_err();
    assert!(matches!(&refused, Failure::Unreachable(text) if text.contains("refused")), "{refused}");
    let unknown = post_once("http://no-such-name.invalid/hush", SOON).unwrap_err();
    assert!(matches!(&unknown, Failure::Unreachable(_)), "{unknown}");
    let server = Server::start(|_| Answer::Raw("SSH-2.0-OpenSSH\r\n\r\n"));
    let alien = post_once(&server.url("/hush"), SOON).unwrap_err();
    assert!(matches!(&alien, Failure::NotHttp(_)), "{alien}");
    for failure in [refused, unknown, alien] {
        let error = failure.into_error("POST");
        assert!(error.message().starts_with("POST: ") && !error.message().contains("hush"), "{error}");
    }
}

#[test]
fn a_body_of_any_size_is_read_to_64_kib() {
    let server = Server::start(|_| Answer::ok("x".repeat(1 << 20)));
    assert_eq!(post_once(&server.url("/"), SOON).unwrap().body.len(), 64 << 10);
}

#[test]
fn tls_is_checked_against_the_given_authority_and_the_connection_is_kept() {
    let (server, pem) = Server::start_tls(|_| Answer::ok("private"));
    let url = server.url("/");
    let distrust = post_once(&url, SOON).unwrap_err();
    assert!(matches!(&distrust, Failure::Tls(text) if text.contains("UnknownIssuer")), "{distrust}");

    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(pem.as_bytes()).unwrap();
    let settings = Settings { ca_file: Some(file.path().to_owned()), ..Settings::default() };
    let client = made(&settings, &url).unwrap();
    client.keep_ready();
    let before = server.connections();
    for _ in 0..2 {
        assert_eq!(post(&client, &url, SOON).unwrap().text(), "private");
    }
    assert_eq!(server.connections(), before, "the handshake was done ahead");
    let other_name = post(&client, &url.replace("localhost", "127.0.0.1"), SOON).unwrap_err();
    assert!(matches!(other_name, Failure::Tls(_)), "{other_name}");
    let plain = Server::start(|_| Answer::ok(""));
    let no_tls = post(&client, &plain.url("/").replace("http:", "https:"), Duration::from_secs(2));
    assert!(no_tls.is_err());
}

#[test]
fn settings_that_cannot_work_are_refused_without_their_secrets() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    for settings in [
        Settings { ca_file: Some("/nonexistent/ca.pem".into()), ..Settings::default() },
        Settings { ca_file: Some(empty.path().to_owned()), ..Settings::default() },
        Settings { proxy: Some("socks5://u:hunter2@127.0.0.1:1".into()), ..Settings::default() },
        Settings { proxy: Some("ftp://u:hunter2@127.0.0.1:1".into()), ..Settings::default() },
    ] {
        let error = made(&settings, "http://localhost/").err().map(|e| e.to_string()).unwrap();
        assert!((error.starts_with("ca_file /") || error.starts_with("proxy: ")) && !error.contains("hunter2"));
    }
}

#[test]
fn a_configured_proxy_is_asked_and_its_refusal_is_told_without_its_password() {
    let proxy = Server::start(|_| Answer::status(407, ""));
    let address = format!("http://u:hunter2@{}", proxy.address);
    let url = "https://hooks.example.invalid/hush";
    let client = made(&Settings { proxy: Some(address), ..Settings::default() }, url).unwrap();
    let refused = post(&client, url, SOON).unwrap_err();
    assert!(refused.to_string().contains("the proxy refused") && refused.to_string().contains("407"), "{refused}");
    assert!(!refused.to_string().contains("hunter2") && !refused.to_string().contains("hush"), "{refused}");
    let asked = &proxy.requests()[0];
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("CONNECT", "hooks.example.invalid:443"));
    assert!(asked.header("Proxy-Authorization").is_some());
}
