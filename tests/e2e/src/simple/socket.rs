//! Requests on the control socket without the command line, as `curl --unix-socket` makes them.
//! Inputs: method, path, body. Outputs: status and body. Must never keep a connection, but a [`Session`].

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Makes one request and gives the status and the body of the reply.
///
/// # Panics
/// When nobody answers within 30 s, or the answer is not HTTP.
pub fn ask(socket: &Path, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(socket).expect("somebody listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).expect("written");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("a reply");
    let (head, body) = reply.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
    (status, body.to_owned())
}

/// A connection for many requests.
#[derive(Debug)]
pub struct Session(BufReader<UnixStream>);

impl Session {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens.
    pub fn open(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).expect("somebody listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
        Self(BufReader::new(stream))
    }

    /// Makes the same request many times, all of them before it reads the first reply, and gives the last body.
    ///
    /// # Panics
    /// When a reply is not 200 or 202.
    pub fn ask(&mut self, count: usize, method: &str, path: &str, body: &str) -> String {
        let length = body.len();
        let one = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.0.get_mut().write_all(one.repeat(count).as_bytes()).expect("written");
        (0..count).map(|_| self.reply()).last().unwrap_or_default()
    }

    fn reply(&mut self) -> String {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let from = head.len();
            assert!(self.0.read_line(&mut head).expect("a reply") > 0, "the connection ended: {head}");
            if let Some(text) = head[from..].to_ascii_lowercase().strip_prefix("content-length:") {
                length = text.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("a body");
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!([" 200 ", " 202 "].iter().any(|status| head.contains(status)), "{head}{body}");
        body
    }
}
