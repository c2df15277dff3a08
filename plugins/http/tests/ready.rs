//! The connection that is ready before the call: later servers, restarted ones, slow ones, none after the end.
#![allow(missing_docs)]

mod server;

use cloudsnooze_plugin::testing;
use cloudsnooze_plugin_http::{Client, Endpoint, Method, Request, Session, Settings};
use server::{Answer, SOON, Server};
use std::net::{SocketAddr, TcpListener};

fn client(server: SocketAddr) -> (Client, Endpoint) {
    let endpoint = Endpoint::parse(&format!("http://localhost:{}/hook", server.port())).unwrap();
    (Client::new(testing::host(), &Settings::default(), &endpoint).unwrap(), endpoint)
}

fn post(session: &Session<'_>, endpoint: &Endpoint) -> String {
    session.send(&Request { method: Method::POST, endpoint, headers: &[], body: b"{}" }, SOON).unwrap().text()
}

fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_server_that_comes_up_later_is_connected_to_without_a_call_and_is_posted_nothing() {
    let address = nobody();
    let (client, endpoint) = client(address);
    client.keep_ready();
    let server = Server::start_at(address, |_| Answer::ok("fine"));
    server.wait_for_checks(1);
    assert_eq!(server.calls().len(), 0);
    // Dropped without a request, a session leaves the connection as it was; it is there once the check has ended.
    let session = loop {
        let session = client.begin();
        if session.connection() == "kept" {
            break session;
        }
    };
    assert_eq!(post(&session, &endpoint), "fine");
    assert_eq!((server.connections(), session.connection()), (1, "kept"));
}

#[test]
fn a_server_that_restarted_since_is_connected_to_within_the_call() {
    let server = Server::start(|_| Answer::ok("before"));
    let address = server.address;
    let (client, endpoint) = client(address);
    client.keep_ready();
    drop(server);
    let server = Server::start_at(address, |_| Answer::ok("after"));
    let session = client.begin();
    assert_eq!(post(&session, &endpoint), "after");
    assert_eq!((server.calls().len(), session.connection()), (1, "fresh"));
    drop(session);
    let session = client.begin();
    assert_eq!(post(&session, &endpoint), "after");
    assert_eq!((server.connections(), session.connection()), (1, "kept"), "the call's connection is kept for the next");
}

#[test]
fn a_call_that_comes_while_the_connection_is_being_checked_does_not_wait_for_it() {
    let server = Server::start(|r| if r.method == "HEAD" { Answer::Hold } else { Answer::ok("at once") });
    let (client, endpoint) = client(server.address);
    std::thread::scope(|scope| {
        scope.spawn(|| client.keep_ready());
        server.wait_for_checks(1);
        let session = client.begin();
        assert_eq!(post(&session, &endpoint), "at once");
        assert_eq!(server.abandoned(), 0, "the call waited until the check gave up");
        assert_eq!(session.connection(), "fresh");
    });
}
