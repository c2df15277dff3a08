//! The connection to the daemon's applications' socket.
//!
//! Inputs: the path of the socket, lines. Outputs: lines, or what went wrong and whether the connection is to blame. Must
//! never wait without a bound.

use cloudsnooze_plugin::keeper::{Connector, Health};
use cloudsnooze_plugin::serde_json::{self, Value};
use cloudsnooze_plugin::{Code, Error};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Longest wait for the daemon when nothing is asked of an application.
const PROMPT: Duration = Duration::from_secs(2);
/// Longest answer, bytes: what a report can hold.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Where the socket is.
pub(crate) struct Place(pub(crate) PathBuf);

/// One connection.
pub(crate) struct Link(UnixStream);

impl Connector for Place {
    type Connection = Link;

    fn open(&self) -> Result<Link, Error> {
        let failed = |error: std::io::Error| {
            Error::new(format!("applications cannot be reached at {}: {error}", self.0.display())).code(Code::Io)
        };
        let stream = UnixStream::connect(&self.0).map_err(failed)?;
        stream.set_write_timeout(Some(PROMPT)).map_err(failed)?;
        let mut link = Link(stream);
        link.ping().map_err(|error| error.context(format_args!("applications at {}", self.0.display())))?;
        Ok(link)
    }

    fn check(&self, connection: &mut Link) -> Health {
        if connection.ping().is_ok() { Health::Alive } else { Health::Dead }
    }
}

impl Link {
    /// Another hold on the connection, to stop a delivery from another thread.
    pub(crate) fn stopper(&self) -> Option<UnixStream> {
        self.0.try_clone().ok()
    }

    fn ping(&mut self) -> Result<(), Error> {
        match self.ask("ping", &serde_json::json!({}), PROMPT)? {
            (kind, _) if kind == "pong" => Ok(()),
            (kind, _) => Err(Error::new(format!("the daemon answered '{kind}' instead of 'pong'"))),
        }
    }

    /// Sends one message and waits for the answer: its only member.
    pub(crate) fn ask(&mut self, kind: &str, value: &Value, patience: Duration) -> Result<(String, Value), Error> {
        let message = serde_json::json!({ kind: value });
        self.0.write_all(format!("{message}\n").as_bytes())?;
        let answer: Value = serde_json::from_slice(&self.line(patience)?)?;
        let only = match answer {
            Value::Object(members) => members.into_iter().next(),
            _ => None,
        };
        only.ok_or_else(|| Error::new("the daemon's answer is not understood").code(Code::Io))
    }

    fn line(&mut self, patience: Duration) -> Result<Vec<u8>, Error> {
        let until = Instant::now() + patience;
        let (mut text, mut part) = (Vec::new(), [0; 4096]);
        while !text.ends_with(b"\n") {
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.0.set_read_timeout(Some(left))?;
            match self.0.read(&mut part) {
                Ok(0) => return Err(Error::new("the daemon closed the connection").code(Code::Io)),
                Ok(count) => text.extend(part.iter().take(count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(Error::new("the daemon gave no answer in time").code(Code::Deadline));
                }
                Err(error) => return Err(error.into()),
            }
            if text.len() > ANSWER_BYTES_MAX {
                return Err(Error::new("the daemon's answer is too long").code(Code::Io));
            }
        }
        Ok(text)
    }
}

/// Ends the delivery in progress: the answer comes at once, with what there is.
pub(crate) fn stop(stream: &UnixStream) {
    let mut stream = stream;
    // A connection that is gone has ended the delivery by itself.
    let _ = stream.write_all(b"{\"stop\":{}}\n");
}
