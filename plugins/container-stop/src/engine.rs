//! The engine's API, as far as it is needed.
//!
//! Inputs: a socket, requests, a [`Watch`]. Outputs: what the engine says of its containers. Built on `bollard`, which speaks Docker's
//! API over a unix socket; Podman offers the same. A runtime of its own for each call, on the calling thread. Must never wait beyond the
//! watch.

use crate::choose::Listed;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::StopContainerOptions;
use bollard::{API_DEFAULT_VERSION, ClientVersion, Docker};
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{Call, Code, Error};
use futures_util::future::{Either, select};
use std::fmt::Display;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// The library's own limit for a request; the watch's is shorter.
const NEVER_SECONDS: u64 = 24 * 3600;
/// How often the host's flag is looked at.
const FLAG: Duration = Duration::from_millis(10);

/// How long a call may wait, and whether it still should.
pub(crate) struct Watch<'a> {
    call: Option<&'a Call<'a>>,
    ends: Instant,
}

impl<'a> Watch<'a> {
    /// Time of a call, less what its report takes.
    pub(crate) fn of(call: &'a Call<'a>) -> Self {
        let left = call.left();
        Self { call: Some(call), ends: Instant::now() + left.saturating_sub(Duration::from_millis(200).min(left / 10)) }
    }

    /// A limit without a call.
    pub(crate) fn limit(limit: Duration) -> Self {
        Self { call: None, ends: Instant::now() + limit }
    }

    /// Time that may still be spent.
    pub(crate) fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// Whether nobody wants the result any more.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.call.is_some_and(|call| call.cancelled().is_some())
    }

    /// Comes back when there is no point in waiting any longer, with why.
    async fn is_over(&self) -> Error {
        loop {
            if self.is_cancelled() {
                return Error::new("cancelled").code(Code::Cancelled);
            }
            if self.left().is_zero() {
                return Error::new("the engine did not answer in time").code(Code::Deadline);
            }
            tokio::time::sleep(FLAG.min(self.left())).await;
        }
    }

    /// The result of a future, or why it was not waited for any longer.
    pub(crate) async fn bound<T>(&self, future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match select(pin!(future), pin!(self.is_over())).await {
            Either::Left((result, _)) => result,
            Either::Right((error, _)) => Err(error),
        }
    }
}

/// What an engine says of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) is_running: bool,
    pub(crate) status: String,
    pub(crate) exit_code: Option<i64>,
    pub(crate) is_oom_killed: bool,
    pub(crate) error: String,
    pub(crate) started_at: String,
    pub(crate) finished_at: String,
    /// Seconds from the stop signal to SIGKILL that it was made with.
    pub(crate) stop_timeout: Option<u32>,
    /// Empty: SIGTERM.
    pub(crate) stop_signal: String,
    /// Whether it is removed when it ends.
    pub(crate) is_removed: bool,
}

impl Seen {
    /// What goes into the report.
    pub(crate) fn shown(&self) -> Value {
        if self.is_running {
            return json!({ "status": self.status, "started_at": self.started_at });
        }
        json!({
            "status": self.status, "exit_code": self.exit_code, "oom_killed": self.is_oom_killed, "error": self.error,
            "started_at": self.started_at, "finished_at": self.finished_at,
        })
    }
}

/// A connection to an engine.
pub(crate) struct Engine {
    runtime: Runtime,
    docker: Docker,
}

/// The version of the API that an engine offers, when it refuses a newer one: what Docker says then. Podman takes any. Neither is asked
/// for it ahead: Podman looks its own packages up for that, which takes seconds on a busy machine.
pub(crate) fn offered(refusal: &Error) -> Option<ClientVersion> {
    let (_, rest) = refusal.message().split_once("Maximum supported API version is ")?;
    let number = rest.split(|c: char| !(c.is_ascii_digit() || c == '.')).next()?;
    let (major, minor) = number.trim_end_matches('.').split_once('.')?;
    Some(ClientVersion { major_version: major.parse().ok()?, minor_version: minor.parse().ok()? })
}

/// The newest version that the library knows.
pub(crate) fn newest() -> ClientVersion {
    ClientVersion { ..*API_DEFAULT_VERSION }
}

impl Engine {
    /// Prepares to ask it; nothing is sent yet.
    ///
    /// # Errors
    /// There is no such socket.
    pub(crate) fn connect(socket: &Path, version: &ClientVersion) -> Result<Self, Error> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let docker = Docker::connect_with_unix(&socket.to_string_lossy(), NEVER_SECONDS, version);
        let docker = docker.map_err(|error| fault(&error).context(socket.display()))?;
        Ok(Self { runtime, docker })
    }

    /// Runs a future of requests to its end.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The containers that run.
    pub(crate) fn list(&self, watch: &Watch<'_>) -> Result<Vec<Listed>, Error> {
        let listed = self.block_on(watch.bound(async {
            self.docker.list_containers(None).await.map_err(|e| fault(&e).context("list the containers"))
        }))?;
        let one = |summary: bollard::models::ContainerSummary| {
            let id = summary.id?;
            let name = summary.names.and_then(|names| names.into_iter().next());
            let name = name.map_or_else(|| short(&id).to_owned(), |name| name.trim_start_matches('/').to_owned());
            Some(Listed { id, name, labels: summary.labels.unwrap_or_default() })
        };
        Ok(listed.into_iter().filter_map(one).collect())
    }

    /// One container; None when there is no such one any more.
    pub(crate) async fn inspect(&self, id: &str) -> Result<Option<Seen>, Error> {
        match self.docker.inspect_container(id, None).await {
            Ok(response) => Ok(Some(seen(response))),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(fault(&error)),
        }
    }

    /// Sends the stop signal, and SIGKILL so many seconds later; comes back when it has ended. One that is gone or has ended is fine.
    pub(crate) async fn stop(&self, id: &str, grace_seconds: u32) -> Result<(), Error> {
        let options = StopContainerOptions { t: Some(i32::try_from(grace_seconds).unwrap_or(i32::MAX)), signal: None };
        match self.docker.stop_container(id, Some(options)).await {
            Err(error) if !is_gone(&error) => Err(fault(&error)),
            _ => Ok(()),
        }
    }

    /// Starts it; one that runs is fine. False when there is no such one any more.
    pub(crate) async fn start(&self, id: &str) -> Result<bool, Error> {
        match self.docker.start_container(id, None).await {
            Ok(()) => Ok(true),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(fault(&error)),
        }
    }
}

/// The twelve characters by which people know a container.
pub(crate) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

fn seen(response: ContainerInspectResponse) -> Seen {
    let state = response.state.unwrap_or_default();
    let config = response.config.unwrap_or_default();
    Seen {
        is_running: state.running.unwrap_or_default(),
        status: state.status.map(|status| status.to_string()).unwrap_or_default(),
        exit_code: state.exit_code,
        is_oom_killed: state.oom_killed.unwrap_or_default(),
        error: state.error.unwrap_or_default(),
        started_at: state.started_at.unwrap_or_default(),
        finished_at: state.finished_at.unwrap_or_default(),
        stop_timeout: config.stop_timeout.and_then(|seconds| u32::try_from(seconds).ok()),
        stop_signal: config.stop_signal.unwrap_or_default(),
        is_removed: response.host_config.and_then(|host| host.auto_remove).unwrap_or_default(),
    }
}

fn is_gone(error: &bollard::errors::Error) -> bool {
    matches!(error, bollard::errors::Error::DockerResponseServerError { status_code: 404, .. })
}

/// The library's error with its causes, and a code.
fn fault(error: &bollard::errors::Error) -> Error {
    use bollard::errors::Error as Fault;
    let mut text = error.to_string();
    let mut code = match error {
        Fault::DockerResponseServerError { status_code: 401 | 403, .. } => Code::Denied,
        Fault::RequestTimeoutError => Code::Deadline,
        _ => Code::Io,
    };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        add(&mut text, cause);
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        if kind == Some(io::ErrorKind::PermissionDenied) {
            code = Code::Denied;
        }
        source = cause.source();
    }
    Error::new(text).code(code)
}

fn add(text: &mut String, cause: &dyn Display) {
    let cause = cause.to_string();
    if !text.contains(&cause) {
        text.push_str(": ");
        text.push_str(&cause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_version_that_is_offered() {
        let text = "list the containers: Docker responded with status code 400: client version 1.53 is too new. \
                    Maximum supported API version is 1.43";
        let version = offered(&Error::new(text)).unwrap();
        assert_eq!((version.major_version, version.minor_version), (1, 43));
        assert!(offered(&Error::new("no such container")).is_none());
    }
}
