//! Tests of the dashboard's port, and of what browsers can be led to at the socket: bytes in, bytes out.
//! Must never reach a daemon of this machine.

use super::*;
use crate::control::port::{self, Token};
use tokio::net::TcpStream;

const SECRET: &str = "correct-horse-battery";
const WITH_TOKEN: &str = "Authorization: Bearer correct-horse-battery\r\n";

/// Status line and headers, in lower case, and the body of the answer to one request.
async fn ask(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), request: &str) -> (u16, String, String) {
    stream.write_all(request.as_bytes()).await.expect("room");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("an answer");
    let text = String::from_utf8(bytes).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, head.to_lowercase(), body.to_owned())
}

/// A request for a path, with these lines in its head.
fn request(line: &str, head: &str) -> String {
    let body = if line.starts_with("POST") { r#"{"type":"custom.x","in_seconds":9}"# } else { "" };
    let length = body.len();
    format!("{line} HTTP/1.1\r\nConnection: close\r\n{head}Content-Length: {length}\r\n\r\n{body}")
}

/// A port, and what to call it.
struct Opened {
    address: std::net::SocketAddr,
    host: String,
}

impl Opened {
    async fn new(bench: &Bench) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let routes = router(Arc::clone(&bench.daemon), Arc::clone(&bench.limits));
        let routes = port::router(routes, address, Token::new(SECRET), Arc::clone(&bench.limits));
        tokio::spawn(crate::control::gate::serve_port(listener, routes, Arc::clone(&bench.limits)));
        Self { address, host: format!("Host: {address}\r\n") }
    }

    async fn ask(&self, line: &str, head: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).await.expect("connected");
        ask(&mut stream, &request(line, &format!("{}{head}", self.host))).await
    }
}

#[test]
fn without_the_token_the_port_gives_the_empty_page_and_nothing_else() {
    run(async {
        let bench = Bench::new();
        let opened = Opened::new(&bench).await;
        for path in ["/", "/dashboard/main.js", "/dashboard/page.css"] {
            assert_eq!(opened.ask(&format!("GET {path}"), "").await.0, 200, "{path}");
        }
        let none = "";
        let wrong = "Authorization: Bearer correct-horse-batterz\r\n";
        let twice = format!("{WITH_TOKEN}{WITH_TOKEN}");
        let basic = "Authorization: Basic correct-horse-battery\r\n";
        for (_, line) in
            ROUTES.into_iter().chain([(0, "GET /nowhere"), (0, "GET /v1/status?token=correct-horse-battery")])
        {
            for head in [none, wrong, &twice, basic] {
                let (status, head, body) = opened.ask(line, head).await;
                assert_eq!(status, 401, "{line}: {body}");
                assert!(head.contains("www-authenticate: bearer") && !body.contains("correct-horse"), "{head} {body}");
            }
        }
    });
}

#[test]
fn with_the_token_the_port_is_for_looking_and_drills() {
    run(async {
        let bench = Bench::new();
        let opened = Opened::new(&bench).await;
        for line in ["GET /v1/status", "GET /v1/plans?left=30", "GET /v1/apps", "GET /metrics", "POST /v1/drill"] {
            let (status, _, body) = opened.ask(line, WITH_TOKEN).await;
            assert_eq!(status, 200, "{line}: {body}");
        }
        for line in ["POST /v1/emit", "POST /v1/simulate", "POST /v1/reload"] {
            let (status, _, body) = opened.ask(line, WITH_TOKEN).await;
            let refused = failure(&body);
            assert!(status == 403 && refused.error.contains("looking and for drills"), "{line}: {status} {body}");
        }
    });
}

#[test]
fn the_port_answers_to_the_names_of_this_machine_and_to_no_page_of_others() {
    run(async {
        let bench = Bench::new();
        let opened = Opened::new(&bench).await;
        let port = opened.address.port();
        let as_host = async |host: &str, more: &str| {
            let mut stream = TcpStream::connect(opened.address).await.expect("connected");
            let head = format!("Host: {host}\r\n{WITH_TOKEN}{more}");
            ask(&mut stream, &request("GET /v1/status", &head)).await.0
        };
        for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
            assert_eq!(as_host(&host, "").await, 200, "{host}");
            assert_eq!(as_host(&host, &format!("Origin: http://{host}\r\n")).await, 200, "{host}");
            assert_eq!(as_host(&host, "Origin: http://evil.example\r\n").await, 403, "{host}");
            assert_eq!(as_host(&host, "Sec-Fetch-Site: cross-site\r\n").await, 403, "{host}");
        }
        for host in [format!("evil.example:{port}"), "localhost".into(), format!("localhost:{}", port ^ 1)] {
            assert_eq!(as_host(&host, "").await, 403, "{host}");
        }
    });
}

#[test]
fn every_answer_tells_browsers_to_load_keep_and_share_nothing() {
    run(async {
        let bench = Bench::new();
        let opened = Opened::new(&bench).await;
        for (line, head) in
            [("GET /", ""), ("GET /v1/status", ""), ("GET /v1/status", WITH_TOKEN), ("GET /nowhere", WITH_TOKEN)]
        {
            let (_, head, _) = opened.ask(line, head).await;
            for said in [
                "content-security-policy: default-src 'none'; script-src 'self'; ",
                "frame-ancestors 'none'",
                "require-trusted-types-for 'script'",
                "x-content-type-options: nosniff",
                "referrer-policy: no-referrer",
                "cache-control: no-store",
                "cross-origin-resource-policy: same-origin",
            ] {
                assert!(head.contains(said), "{line} lacks {said}: {head}");
            }
            assert!(!head.contains("access-control-"), "{line}: {head}");
        }
    });
}

/// `ssh -L 7070:SOCKET HOST` brings a browser to the socket, with the rights of whoever ran it and without a token.
#[test]
fn no_page_of_others_reaches_the_socket_through_a_browser_that_was_led_there() {
    run(async {
        let bench = Bench::new();
        let asked = async |line: &str, head: &str| {
            let mut stream = bench.connect(&rights(900).of(&Peer { uid: 0, gids: Vec::new() }));
            ask(&mut stream, &request(line, head)).await.0
        };
        let own = "Host: localhost:7070\r\nOrigin: http://localhost:7070\r\nSec-Fetch-Site: same-origin\r\n";
        assert_eq!((asked("GET /", "Host: localhost:7070\r\n").await, asked("POST /v1/drill", own).await), (200, 200));
        for head in [
            "Host: localhost:7070\r\nOrigin: http://evil.example\r\n",
            "Host: localhost:7070\r\nOrigin: null\r\n",
            "Host: localhost:7070\r\nSec-Fetch-Site: cross-site\r\n",
            "Host: evil.example:7070\r\nSec-Fetch-Site: same-origin\r\n",
        ] {
            for line in ["POST /v1/drill", "POST /v1/reload", "GET /v1/status"] {
                assert_eq!(asked(line, head).await, 403, "{line} {head}");
            }
        }
    });
}

#[test]
fn whoever_guesses_at_the_port_is_slowed_down_and_whoever_knows_is_not() {
    run(async {
        let bench = Bench::new();
        let opened = Opened::new(&bench).await;
        let wrong = "Authorization: Bearer 0123456789abcdef\r\n";
        let mut refused = 0;
        for _ in 0..1000 {
            refused = opened.ask("GET /v1/status", wrong).await.0;
            if refused != 401 {
                break;
            }
        }
        assert_eq!(refused, 429);
        assert_eq!(opened.ask("GET /v1/status", WITH_TOKEN).await.0, 200);
    });
}
