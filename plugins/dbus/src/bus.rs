//! A connection to the system bus.
//!
//! Inputs: who is asked what, and a limit. Outputs: the answer as a value of the caller's type. The connection works only
//! while its owner waits for something: its runtime has no thread. Must never wait for longer than the limit.

use crate::Limit;
use crate::limit::SLICE;
use cloudsnooze_plugin::{Code, Error};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::pin::pin;
use thiserror::Error;
use tokio::runtime::{Builder as RuntimeBuilder, Runtime};
use tokio::time::timeout;
use zbus::connection::Builder;
use zbus::{Connection, DynamicType, Type};

/// Why there is no answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// Nobody listens there, or it does not let this process in.
    #[error("cannot reach the system bus: {0}")]
    Unreachable(String),
    /// Who was asked said no.
    #[error("{message} ({name})")]
    Refused {
        /// Name of the D-Bus error.
        name: String,
        /// Its text.
        message: String,
    },
    /// The connection broke, or the answer is not of the form it should have.
    #[error("{0}")]
    Broken(String),
    /// The time was over first.
    #[error("the time was over first")]
    Late,
    /// The call was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl Fault {
    /// Whether the right to do it is missing.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Refused { name, .. } if name.ends_with(".AccessDenied") || name.ends_with(".InteractiveAuthorizationRequired"))
    }

    /// The failure of a handler, with its code.
    pub fn into_error(self) -> Error {
        let code = match &self {
            Self::Unreachable(_) | Self::Broken(_) => Code::Io,
            Self::Refused { .. } if self.is_denied() => Code::Denied,
            Self::Refused { .. } => Code::Internal,
            Self::Late => Code::Deadline,
            Self::Cancelled => Code::Cancelled,
        };
        Error::new(self.to_string()).code(code)
    }
}

/// Whose methods are called: service, object and interface.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Name on the bus.
    pub service: &'a str,
    /// Path of the object.
    pub path: &'a str,
    /// Interface with the method.
    pub interface: &'a str,
}

/// A connection.
pub struct Bus {
    // Dropped in this order: what closes the one may still need the other.
    connection: Connection,
    runtime: Runtime,
}

impl Bus {
    /// Connects.
    ///
    /// # Errors
    /// Why there is no connection.
    pub fn open(limit: &Limit<'_>) -> Result<Self, Fault> {
        let runtime = RuntimeBuilder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Fault::Unreachable(error.to_string()))?;
        let connection = runtime.block_on(bounded(limit, Builder::system().build()))?;
        let connection = connection.map_err(|error| Fault::Unreachable(reason_of(&error)))?;
        Ok(Self { connection, runtime })
    }

    /// Calls a method and gives what it answers.
    ///
    /// # Errors
    /// The refusal, the broken connection, or that the limit was over.
    pub fn call<B, R>(&self, place: Place<'_>, method: &str, body: &B, limit: &Limit<'_>) -> Result<R, Fault>
    where
        B: Serialize + DynamicType,
        R: DeserializeOwned + Type,
    {
        let asked = self.connection.call_method(Some(place.service), place.path, Some(place.interface), method, body);
        let reply = self.runtime.block_on(bounded(limit, asked))?.map_err(|error| fault_of(&error))?;
        let body = reply.body();
        body.deserialize::<R>().map_err(|error| Fault::Broken(format!("{method}: {}", reason_of(&error))))
    }
}

/// Waits for a future until the limit is over, and looks at the host's flag now and then.
async fn bounded<F: Future>(limit: &Limit<'_>, future: F) -> Result<F::Output, Fault> {
    let mut future = pin!(future);
    loop {
        if let Some(fault) = limit.over() {
            return Err(fault);
        }
        if let Ok(output) = timeout(SLICE.min(limit.left()), future.as_mut()).await {
            return Ok(output);
        }
    }
}

fn fault_of(error: &zbus::Error) -> Fault {
    match error {
        zbus::Error::MethodError(name, message, _) => {
            Fault::Refused { name: name.to_string(), message: message.clone().unwrap_or_default() }
        }
        zbus::Error::FDO(error) => match &**error {
            zbus::fdo::Error::ZBus(error) => Fault::Broken(reason_of(error)),
            error => {
                let name = zbus::DBusError::name(error).to_string();
                let message = zbus::DBusError::description(error).unwrap_or_default().to_owned();
                Fault::Refused { name, message }
            }
        },
        error => Fault::Broken(reason_of(error)),
    }
}

fn reason_of(error: &zbus::Error) -> String {
    match error {
        zbus::Error::Connection(error, _) | zbus::Error::InputOutput(error) => error.to_string(),
        error => error.to_string(),
    }
}
