//! One connection to the server.
//!
//! Inputs: a [`Target`], statements, a [`Watch`] that says how long they may take. Outputs: rows as text, and [`Fault`]s that
//! tell a refused statement from a lost connection. Must never wait longer than it was told to, and must never show the
//! password.
//!
//! Built on `tokio-postgres` with a runtime of its own rather than on its blocking face `postgres`: that one waits for a
//! server that has frozen without a bound.

use crate::config::Target;
use cloudsnooze_plugin::Call;
use std::collections::HashMap;
use std::error::Error as _;
use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::error::{DbError, Severity, SqlState};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// How often a wait looks whether the call was cancelled.
const TICK: Duration = Duration::from_millis(20);
/// How long a closing connection may take to say so.
const FAREWELL: Duration = Duration::from_millis(100);

/// Columns of a row by name; NULL is left out.
pub type Row = HashMap<String, String>;

/// What went wrong between us and the server.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// No usable connection.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// Where to.
        address: String,
        /// Why, in words of the system or of the server.
        reason: String,
    },
    /// The connection ended in the middle of a statement.
    #[error("lost the connection to the server: {0}")]
    Lost(String),
    /// The server answered, with a refusal.
    #[error("{message} (SQLSTATE {code})")]
    Refused {
        /// The server's five letters.
        code: String,
        /// The server's text.
        message: String,
    },
    /// The time for it was over.
    #[error("the server did not answer in time")]
    Late,
    /// The call was cancelled.
    #[error("cancelled while the server was working")]
    Cancelled,
}

impl Fault {
    /// Whether the account lacks a right, or may not log in.
    pub fn is_denial(&self) -> bool {
        let denied = [
            SqlState::INSUFFICIENT_PRIVILEGE,
            SqlState::INVALID_PASSWORD,
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        ];
        matches!(self, Self::Refused { code, .. } if denied.iter().any(|state| state.code() == code))
    }

    /// Whether nothing more can be asked on the connection, or need be: unlike a refusal, it ends the work.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(told) if is_fatal(told) => Self::Lost(told.message().to_owned()),
            Some(told) => Self::Refused { code: told.code().code().to_owned(), message: told.message().to_owned() },
            None => Self::Lost(reason_of(&error)),
        }
    }
}

/// After these the server has closed the connection.
fn is_fatal(told: &DbError) -> bool {
    matches!(told.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
}

/// The innermost cause: the outer ones say "db error".
fn reason_of(error: &tokio_postgres::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// How long something may take. Cheap to copy.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    ends: Instant,
    /// How long the server may take to stop a statement, beyond `ends`.
    farewell: Duration,
    call: Option<&'a Call<'a>>,
}

impl<'a> Watch<'a> {
    /// Until `ends`, or until the call is cancelled.
    pub fn of_call(call: &'a Call<'a>, ends: Instant, farewell: Duration) -> Self {
        Self { ends, farewell, call: Some(call) }
    }

    /// So long, with nobody to cancel it.
    pub fn lasting(patience: Duration) -> Watch<'static> {
        Watch { ends: Instant::now() + patience, farewell: FAREWELL, call: None }
    }

    /// The same, but so long at most.
    #[must_use]
    pub fn at_most(self, limit: Duration) -> Self {
        Self { ends: self.ends.min(Instant::now() + limit), ..self }
    }

    /// Time left.
    pub fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// Why there is an end to it, if there is.
    pub fn over(&self) -> Option<Fault> {
        if self.call.is_some_and(|call| call.cancelled().is_some()) {
            return Some(Fault::Cancelled);
        }
        self.left().is_zero().then_some(Fault::Late)
    }

    /// Pauses for `pause` at most; false when it is over.
    pub fn pause(&self, pause: Duration) -> bool {
        std::thread::sleep(pause.min(self.left()));
        self.over().is_none()
    }

    /// The outcome of `work`, or why it was not waited for any longer.
    async fn wait<F: Future>(&self, mut work: std::pin::Pin<&mut F>) -> Result<F::Output, Fault> {
        loop {
            if let Ok(done) = timeout(TICK.min(self.left()), work.as_mut()).await {
                return Ok(done);
            }
            if let Some(fault) = self.over() {
                return Err(fault);
            }
        }
    }
}

/// An open, authenticated connection.
pub struct Link {
    client: Option<Client>,
    driver: JoinHandle<()>,
    runtime: Runtime,
}

impl Link {
    /// Connects and logs in.
    ///
    /// # Errors
    /// Why there is no connection.
    pub fn open(target: &Target, watch: &Watch<'_>) -> Result<Self, Fault> {
        let fault = |reason: String| Fault::Connect { address: target.address.clone(), reason };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|e| fault(e.to_string()))?;
        let connected = runtime.block_on(async {
            let connecting = pin!(target.login.connect(NoTls));
            watch.wait(connecting).await
        });
        let (client, connection) = match connected {
            Ok(Ok(made)) => made,
            Ok(Err(error)) => {
                return Err(match error.as_db_error() {
                    // It is not a matter of rights that a server is still starting, or has no room.
                    Some(told) if !told.code().code().starts_with("28") => fault(told.message().to_owned()),
                    Some(told) => {
                        Fault::Refused { code: told.code().code().to_owned(), message: told.message().to_owned() }
                    }
                    None => fault(reason_of(&error)),
                });
            }
            Err(Fault::Late) => return Err(fault(Fault::Late.to_string())),
            Err(other) => return Err(other),
        };
        // Its outcome is told by the statement that needed it.
        let driver = runtime.spawn(async move { drop(connection.await) });
        Ok(Self { client: Some(client), driver, runtime })
    }

    /// Runs a statement and gives the rows it returns. One that is not done in time is cancelled on the server; when the
    /// server says so, the link can be used further.
    ///
    /// # Errors
    /// The refusal, the lost connection, or that the watch was over.
    pub fn rows(&mut self, sql: &str, watch: &Watch<'_>) -> Result<Vec<Row>, Fault> {
        let Some(client) = &self.client else { return Err(Fault::Lost("it was given up".to_owned())) };
        if let Some(fault) = watch.over() {
            return Err(fault);
        }
        let asked: Result<_, Interrupted> = self.runtime.block_on(async {
            let mut query = pin!(client.simple_query(sql));
            let ended = match watch.wait(query.as_mut()).await {
                Ok(answer) => return Ok(answer?),
                Err(fault) => fault,
            };
            let stopping = async {
                let asked = client.cancel_token().cancel_query(NoTls).await;
                (asked.is_ok(), query.await.is_ok())
            };
            let has_stopped = timeout(watch.farewell, stopping).await.is_ok();
            Err(Interrupted(ended, has_stopped))
        });
        match asked {
            Ok(messages) => Ok(rows_of(&messages)),
            Err(Interrupted(fault, true)) => Err(fault),
            Err(Interrupted(fault, false)) => {
                self.client = None;
                Err(fault)
            }
        }
    }

    /// The first row; empty when there is none.
    ///
    /// # Errors
    /// As [`Link::rows`].
    pub fn row(&mut self, sql: &str, watch: &Watch<'_>) -> Result<Row, Fault> {
        Ok(self.rows(sql, watch)?.into_iter().next().unwrap_or_default())
    }

    /// Whether it can be used further.
    pub fn is_sound(&self) -> bool {
        self.client.as_ref().is_some_and(|client| !client.is_closed())
    }
}

/// A lost connection ends the wait for its statement with nothing to be stopped.
impl From<tokio_postgres::Error> for Interrupted {
    fn from(error: tokio_postgres::Error) -> Self {
        Self(error.into(), true)
    }
}

/// Why a statement brought no rows, and whether the link survived that.
struct Interrupted(Fault, bool);

impl Drop for Link {
    fn drop(&mut self) {
        // Without the client the driver says goodbye and ends, unless the server does not listen.
        if self.client.take().is_some() {
            let driver = &mut self.driver;
            // Not waited for any longer than that; the runtime drops what is left.
            let _ended = self.runtime.block_on(async { timeout(FAREWELL, driver).await });
        }
    }
}

fn rows_of(messages: &[SimpleQueryMessage]) -> Vec<Row> {
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| {
        let columns = row.columns().iter().enumerate();
        let value = |index| row.try_get(index).ok().flatten().map(str::to_owned);
        columns.filter_map(|(index, column)| Some((column.name().to_owned(), value(index)?))).collect()
    })
    .collect()
}
