//! An application that registers with the daemon, as its author would write it.
//! Inputs: the socket, lines. Outputs: lines. Must never wait without a bound.

use super::PATIENCE;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// One connection.
#[derive(Debug)]
pub struct Application(BufReader<UnixStream>);

impl Application {
    /// Connects and says nothing.
    ///
    /// # Panics
    /// When nobody listens.
    pub fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).expect("somebody listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        stream.set_write_timeout(Some(PATIENCE)).expect("a limit");
        Self(BufReader::new(stream))
    }

    /// Connects and registers for these events.
    ///
    /// # Panics
    /// When it is refused.
    pub fn register(socket: &Path, name: &str, needs_seconds: Option<f64>, events: &[&str]) -> Self {
        let mut application = Self::connect(socket);
        application.say(&json!({"register": {"name": name, "needs_seconds": needs_seconds, "events": events}}));
        let told = application.hear();
        assert_eq!(told["registered"]["name"], name, "{told}");
        application
    }

    /// Writes one line.
    ///
    /// # Panics
    /// When the daemon does not take it.
    pub fn say(&mut self, message: &Value) {
        self.write(format!("{message}\n").as_bytes()).expect("the daemon reads");
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// The next line.
    ///
    /// # Panics
    /// When none comes.
    pub fn hear(&mut self) -> Value {
        self.hear_or_end().expect("a line, not the end of the connection")
    }

    /// The next line; None when the daemon has closed the connection.
    ///
    /// # Panics
    /// When neither happens, or the line is not JSON.
    pub fn hear_or_end(&mut self) -> Option<Value> {
        let mut text = String::new();
        match self.0.read_line(&mut text) {
            Ok(count) if count > 0 => Some(serde_json::from_str(&text).expect("a line of JSON")),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("neither a line nor the end"),
            _ => None,
        }
    }

    /// Whether nothing comes for this long.
    ///
    /// # Panics
    /// When the connection is gone.
    pub fn hears_nothing_for(&mut self, pause: Duration) -> bool {
        self.0.get_ref().set_read_timeout(Some(pause)).expect("a limit");
        let mut text = String::new();
        let heard = self.0.read_line(&mut text);
        self.0.get_ref().set_read_timeout(Some(PATIENCE)).expect("a limit");
        heard.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock) && text.is_empty()
    }

    /// Waits for a notice and says that it is prepared. Gives the notice.
    ///
    /// # Panics
    /// When something else comes.
    pub fn gets_ready(&mut self, detail: &Value) -> Value {
        let notice = self.hear()["notice"].take();
        assert!(notice["id"].is_string(), "{notice}");
        self.say(&json!({"ready": {"id": notice["id"], "detail": detail}}));
        notice
    }
}
