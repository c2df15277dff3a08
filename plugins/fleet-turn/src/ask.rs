//! Questions to the daemon, over its control socket.
//!
//! Inputs: a path of the interface, JSON. Outputs: JSON, or what went wrong. Must never wait longer than it is told to, nor go on when the
//! call is cancelled.

use cloudsnooze_plugin::serde_json::{self, Value};
use cloudsnooze_plugin::{Code, Error};
use reqwest::{Client, header};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::runtime::Builder;

/// How often it is looked whether the call is cancelled.
const LOOK: Duration = Duration::from_millis(20);

/// The daemon's desk.
pub(crate) struct Desk {
    client: Client,
    socket: PathBuf,
}

impl Desk {
    /// That behind this socket. Does not connect yet.
    pub(crate) fn at(socket: &Path) -> Result<Self, Error> {
        let client = Client::builder().unix_socket(socket).no_proxy().build();
        let client = client.map_err(|error| Error::new(format!("cannot make a client: {error}")))?;
        Ok(Self { client, socket: socket.to_owned() })
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(
        &self,
        path: &str,
        asked: &Value,
        limit: Duration,
        is_cancelled: impl Fn() -> bool,
    ) -> Result<Value, Error> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let asking = self.answer(path, asked);
            let cancelled = async {
                while !is_cancelled() {
                    tokio::time::sleep(LOOK).await;
                }
            };
            tokio::select! {
                answer = tokio::time::timeout(limit, asking) => match answer {
                    Ok(answer) => answer,
                    Err(_) => Err(Error::new("no answer came in the time of the call").code(Code::Deadline)),
                },
                () = cancelled => Err(Error::new("the call was cancelled").code(Code::Cancelled)),
            }
        })
    }

    async fn answer(&self, path: &str, asked: &Value) -> Result<Value, Error> {
        let failed = |error: reqwest::Error| {
            let socket = self.socket.display();
            Error::new(format!("the daemon cannot be asked at {socket}: {}", chain(&error))).code(Code::Io)
        };
        // The host is not looked up: the connection is the socket.
        let request = self.client.post(format!("http://snoozed{path}")).body(asked.to_string());
        let reply = request.header(header::CONTENT_TYPE, "application/json").send().await.map_err(failed)?;
        let status = reply.status();
        let text = reply.bytes().await.map_err(failed)?;
        let answer: Value = serde_json::from_slice(&text).unwrap_or_default();
        if status.is_success() {
            return Ok(answer);
        }
        let why = answer["error"].as_str().unwrap_or("without a reason");
        Err(Error::new(format!("the daemon answered {status}: {why}")).code(Code::State))
    }
}

/// An error with what is behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(&format!(": {error}"));
        next = error.source();
    }
    text
}
