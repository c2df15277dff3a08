//! The floor: one blocking socket, the same requests at the same priority, and a look whether the bytes have changed.
//!
//! Inputs: where the service is, an interval. Outputs: the clock at every first, third, fifth change of the notice's answer: a
//! notice comes and goes in turn. Must never parse a document, retry, or survive anything: it ends with its connection.

use super::lane::Watcher;
use super::{Questions, questions};
use crate::stage;
use cloudsnooze::sys::clock;
use fake_metadata::Provider;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The head of a token's request (EC2 user guide, "Use IMDSv2").
const TOKEN: &str = "PUT /latest/api/token HTTP/1.1\r\nX-aws-ec2-metadata-token-ttl-seconds: 21600\r\n";

/// Starts the client of a provider. What its thread gives back is the longest that a request took, nanoseconds.
///
/// # Errors
/// No connection, no thread.
pub fn watch(provider: Provider, address: SocketAddr, interval_seconds: f64) -> io::Result<Watcher> {
    let interval = Duration::from_secs_f64(interval_seconds);
    let (sender, seen) = channel();
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut client =
        Client { stream, address, questions: questions(provider), more: String::new(), reply: Vec::new(), sender };
    let thread = thread::Builder::new().name("bare".into()).spawn(move || {
        stage::raise();
        if provider == Provider::Aws {
            client.take_token()?;
        }
        Ok(client.run(interval))
    })?;
    Ok(Watcher { seen, stop: None, thread })
}

struct Client {
    stream: TcpStream,
    address: SocketAddr,
    questions: Questions,
    /// The header with the token.
    more: String,
    reply: Vec<u8>,
    sender: Sender<i64>,
}

impl Client {
    /// Until the connection ends.
    fn run(&mut self, interval: Duration) -> i64 {
        let (mut last, mut etag, mut changes, mut longest_ns) = (None::<Vec<u8>>, "0".to_owned(), 0_u64, 0);
        loop {
            let round = Instant::now();
            for (number, path) in self.questions.paths.iter().enumerate() {
                let asked_ns = clock::boot_ns();
                let path = match self.questions.is_held {
                    true => format!("{path}?wait_for_change=true&last_etag={etag}&timeout_sec=60"),
                    false => (*path).to_owned(),
                };
                let Ok(head) = self.ask(&format!("GET {path} HTTP/1.1\r\n")) else { return longest_ns };
                let now_ns = clock::boot_ns();
                longest_ns = longest_ns.max(now_ns - asked_ns);
                if number > 0 {
                    continue;
                }
                let body = self.reply.get(head..).unwrap_or_default();
                if last.as_ref().is_some_and(|last| last != body) {
                    changes += 1;
                    if changes % 2 == 1 && self.sender.send(now_ns).is_err() {
                        return longest_ns;
                    }
                }
                last = Some(body.to_vec());
                if self.questions.is_held {
                    etag = header(&self.reply, "etag").unwrap_or_default();
                }
            }
            if !self.questions.is_held {
                thread::sleep(interval.saturating_sub(round.elapsed()));
            }
        }
    }

    fn take_token(&mut self) -> io::Result<()> {
        let head = self.ask(TOKEN)?;
        let token = String::from_utf8_lossy(self.reply.get(head..).unwrap_or_default()).into_owned();
        self.more = format!("X-aws-ec2-metadata-token: {token}\r\n");
        Ok(())
    }

    /// Asks; the answer is in `reply`, and its head is so many bytes.
    fn ask(&mut self, first_lines: &str) -> io::Result<usize> {
        let Self { address, questions, more, .. } = self;
        let request = format!("{first_lines}Host: {address}\r\n{}{more}\r\n", questions.headers);
        self.stream.write_all(request.as_bytes())?;
        self.reply.clear();
        let mut chunk = [0; 4096];
        loop {
            let got = self.stream.read(&mut chunk)?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.reply.extend_from_slice(&chunk[..got]);
            let Some(end) = self.reply.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let length: usize = header(&self.reply, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            if self.reply.len() >= end + 4 + length {
                return Ok(end + 4);
            }
        }
    }
}

/// What a header says, by its name in small letters.
fn header(reply: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(reply);
    let value = |line: &str| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    };
    text.split("\r\n").take_while(|line| !line.is_empty()).find_map(value)
}
