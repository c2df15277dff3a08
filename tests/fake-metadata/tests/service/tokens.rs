//! Session tokens: issued, presented, expired, refused.

use std::time::Duration;

use fake_metadata::TokenUse;

use crate::client::{Connection, TOKEN, TTL, get, put_token, request, start, start_open};

const ID: &str = "/latest/meta-data/instance-id";

#[test]
fn a_token_opens_what_is_closed_without_one() {
    let fake = start();
    let refused = get(&fake, ID);
    assert_eq!((refused.status, refused.header("Content-Type")), (401, Some("text/html")));
    assert!(refused.text().contains("<title>401 - Unauthorized</title>"));

    let issued = put_token(&fake, "21600");
    assert_eq!((issued.status, issued.header(TTL), issued.body.len()), (200, Some("21600"), 56));
    assert_eq!(issued.header("Content-Type"), Some("text/plain"));
    let served = request(&fake, "GET", ID, &[(TOKEN, issued.text())]);
    assert_eq!((served.status, served.text()), (200, "i-1234567890abcdef0"));
    let left: u32 = served.header(TTL).expect("the remaining lifetime").parse().expect("a number");
    assert!((21_500..=21_600).contains(&left), "{left}");
    let tokens: Vec<TokenUse> = fake.requests().iter().map(|request| request.token).collect();
    assert_eq!(tokens, [TokenUse::None, TokenUse::None, TokenUse::Valid]);
}

#[test]
fn a_lifetime_out_of_range_is_a_bad_request() {
    let fake = start();
    for ttl in ["0", "21601", "-1", "x", ""] {
        assert_eq!(put_token(&fake, ttl).status, 400, "{ttl:?}");
    }
    let missing = request(&fake, "PUT", "/latest/api/token", &[]);
    assert_eq!(missing.status, 400);
    assert!(missing.text().contains("<title>400 - Bad Request</title>"));
    for ttl in ["1", "21600"] {
        assert_eq!(put_token(&fake, ttl).status, 200, "{ttl}");
    }
}

#[test]
fn a_token_request_through_a_proxy_or_to_another_path_is_forbidden() {
    let fake = start();
    let proxied = request(&fake, "PUT", "/latest/api/token", &[(TTL, "60"), ("X-Forwarded-For", "10.0.0.1")]);
    assert_eq!((proxied.status, proxied.body.len()), (403, 0));
    for path in ["/2021-03-23/api/token", "/latest/api/token/", "/latest/meta-data/instance-id"] {
        let refused = request(&fake, "PUT", path, &[(TTL, "60")]);
        assert_eq!((refused.status, refused.reason.as_str(), refused.body.len()), (403, "Forbidden", 0), "{path}");
        assert_eq!(refused.header("Content-Length"), Some("0"), "{path}");
    }
}

#[test]
fn an_expired_token_is_refused_and_a_new_one_works() {
    let fake = start();
    let token = put_token(&fake, "60").text().to_owned();
    fake.advance_clock(Duration::from_secs(58));
    let served = request(&fake, "GET", ID, &[(TOKEN, &token)]);
    assert_eq!(served.status, 200);
    let left: u32 = served.header(TTL).expect("the remaining lifetime").parse().expect("a number");
    assert!(left <= 2, "{left}");
    fake.advance_clock(Duration::from_secs(3));
    assert_eq!(request(&fake, "GET", ID, &[(TOKEN, &token)]).status, 401);
    assert_eq!(fake.requests().last().map(|request| request.token), Some(TokenUse::Expired));
    let renewed = put_token(&fake, "60").text().to_owned();
    assert_eq!(request(&fake, "GET", ID, &[(TOKEN, &renewed)]).status, 200);
}

#[test]
fn a_wrong_token_is_refused_even_when_none_is_needed() {
    let fake = start_open();
    assert_eq!(get(&fake, ID).status, 200);
    assert_eq!(request(&fake, "GET", ID, &[(TOKEN, "AQAAwrong==")]).status, 401);
    fake.require_tokens(true);
    assert_eq!(get(&fake, ID).status, 401);
}

#[test]
fn revoked_tokens_are_unknown() {
    let fake = start();
    let token = put_token(&fake, "60").text().to_owned();
    fake.revoke_tokens();
    assert_eq!(request(&fake, "GET", ID, &[(TOKEN, &token)]).status, 401);
    assert_eq!(fake.requests().last().map(|request| request.token), Some(TokenUse::Unknown));
}

#[test]
fn a_service_that_is_off_forbids_everything() {
    let fake = start();
    let token = put_token(&fake, "60").text().to_owned();
    fake.enable(false);
    assert_eq!(put_token(&fake, "60").status, 403);
    assert_eq!(request(&fake, "GET", ID, &[(TOKEN, &token)]).status, 403);
    fake.enable(true);
    assert_eq!(request(&fake, "GET", ID, &[(TOKEN, &token)]).status, 200);
}

#[test]
fn the_token_path_is_only_for_putting() {
    let fake = start();
    let refused = get(&fake, "/latest/api/token");
    assert_eq!((refused.status, refused.reason.as_str()), (405, "Not Allowed"));
    assert_eq!(refused.header("Allow"), Some("OPTIONS, PUT"));
}

#[test]
fn one_connection_serves_many_requests() {
    let fake = start();
    let mut connection = Connection::open(fake.address());
    connection.send("PUT", "/latest/api/token", &[(TTL, "60")], "");
    let token = connection.receive(false).expect("a reply").text().to_owned();
    for _ in 0..20 {
        connection.send("GET", ID, &[(TOKEN, &token)], "");
        assert_eq!(connection.receive(false).expect("a reply").status, 200);
    }
    connection.send("GET", ID, &[(TOKEN, &token), ("Connection", "close")], "");
    assert_eq!(connection.receive(false).expect("a reply").header("Connection"), Some("close"));
    assert!(connection.is_closed());
    assert_eq!(fake.requests().len(), 22);
}

#[test]
fn requests_sent_together_are_answered_in_order() {
    let fake = start_open();
    let mut connection = Connection::open(fake.address());
    connection.send_bytes(
        b"GET /latest/meta-data/instance-id HTTP/1.1\r\n\r\nGET /latest/meta-data/instance-type HTTP/1.1\r\n\r\n",
    );
    assert_eq!(connection.receive(false).expect("a reply").text(), "i-1234567890abcdef0");
    assert_eq!(connection.receive(false).expect("a reply").text(), "m5.large");
}

#[test]
fn nonsense_is_a_bad_request_and_the_service_goes_on() {
    let fake = start_open();
    for nonsense in [&b"\x16\x03\x01\x02\x00\x01\r\n\r\n"[..], b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"] {
        let mut connection = Connection::open(fake.address());
        connection.send_bytes(nonsense);
        assert_eq!(connection.receive(false).expect("a reply").status, 400);
        assert!(connection.is_closed());
    }
    assert_eq!(get(&fake, ID).status, 200);
}

#[test]
fn dropping_the_service_ends_its_connections() {
    let fake = start_open();
    let mut idle = Connection::open(fake.address());
    assert_eq!(get(&fake, ID).status, 200);
    drop(fake);
    assert!(idle.is_closed());
}
