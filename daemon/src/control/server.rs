//! Answers on the control socket.
//!
//! Inputs: requests, each with the caller that `gate` has attached. Outputs: wire types as JSON, each scrubbed; a refusal
//! where the caller lacks the right. Must never block the runtime for long: what takes time is asked of the supervisor.
//! Every route stands under the right that it needs.

use super::browser::{self, Hosts};
use super::fleet;
use super::gate::over_limit;
use super::limits::{Limits, Over};
use super::operator::right_to_emit;
use super::page;
use super::rights::{Caller, Right};
use super::stream;
use super::wire::{Apps, Drill, Emit, Events, Failure, PlanView, Plans, Reloaded, Simulate, Simulated, Status};
use crate::event::EventType;
use crate::fleet::delegate::Delegate;
use crate::history::watchers::Happening;
use crate::sys::clock;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, Extension, FromRequest, Path, RawQuery, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// Longest request body, bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest wait for the whole body of a request.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(5);
/// Most times left that a plan may be asked for.
const LEFT_MAX: usize = 16;
/// What is said of others.
const NO_LEFT: &str = "'left' is to be a number of seconds, given 16 times at most";
/// Most events a list may have.
const EVENTS_LIMIT_MAX: usize = 10_000;

/// What the server asks of the daemon. Methods are short; `reload` may take seconds.
pub trait Daemon: Send + Sync + 'static {
    /// The state as it is.
    fn status(&self) -> Status;
    /// The plan of a type at these times left (seconds); none: at the time assumed for it.
    ///
    /// # Errors
    /// What is wrong with the type.
    fn plan(&self, event_type: &str, left_seconds: &[f64]) -> Result<PlanView, String>;
    /// The plans of all types that have handlers, at these times left (seconds), besides the time assumed.
    fn plans(&self, left_seconds: &[f64]) -> Plans;
    /// Publishes an operator's event; gives its id.
    ///
    /// # Errors
    /// What is wrong with the request.
    fn simulate(&self, request: Simulate) -> Result<String, String>;
    /// Publishes a real event of the user `uid`, who may; gives its id.
    ///
    /// # Errors
    /// What is wrong with the request.
    fn emit(&self, request: Emit, uid: u32) -> Result<String, String>;
    /// The newest events.
    ///
    /// # Errors
    /// The history's.
    fn events(&self, limit: usize, event_type: Option<&str>) -> Result<Events, String>;
    /// A report by event id, or the `last` one.
    ///
    /// # Errors
    /// The history's.
    fn report(&self, id: &str) -> Result<Option<Value>, String>;
    /// The registered applications.
    fn apps(&self) -> Apps;
    /// Who speaks for this machine in its group; None: it belongs to none.
    fn fleet(&self) -> Option<Arc<Delegate>>;
    /// Lines as they happen.
    fn watch(&self) -> broadcast::Receiver<Arc<Happening>>;
    /// Takes the configuration files as they are now.
    fn reload(&self) -> impl Future<Output = Result<Reloaded, Failure>> + Send;
    /// Metrics in Prometheus' text format.
    fn metrics(&self) -> String;
    /// Takes secrets out of a text.
    fn scrub(&self, text: &str) -> String;
}

/// The routes.
pub fn router<D: Daemon>(daemon: Arc<D>, limits: Arc<Limits>) -> Router {
    let under = |right: Right, routes: Router<Arc<D>>| routes.route_layer(from_fn_with_state(right, permit));
    let read = Router::new()
        .route("/v1/status", get(status::<D>))
        .route("/v1/plan", get(plan::<D>))
        .route("/v1/plans", get(plans::<D>))
        .route("/v1/watch", get(stream::watch::<D>))
        .route("/v1/events", get(events::<D>))
        .route("/v1/reports/{id}", get(report::<D>))
        .route("/v1/apps", get(apps::<D>))
        .route("/v1/fleet", get(fleet::status::<D>))
        .route("/v1/fleet/members", get(fleet::members::<D>))
        .route("/metrics", get(metrics::<D>));
    let turns =
        Router::new().route("/v1/fleet/turn", post(fleet::turn::<D>)).route("/v1/fleet/done", post(fleet::done::<D>));
    under(Right::Read, read)
        .merge(under(Right::Emit, Router::new().route("/v1/emit", post(emit::<D>))))
        .merge(under(Right::Simulate, Router::new().route("/v1/simulate", post(simulate::<D>))))
        .merge(under(Right::Administer, Router::new().route("/v1/reload", post(reload::<D>))))
        .merge(under(Right::Administer, turns))
        .merge(Router::new().route("/v1/drill", post(drill::<D>)).route_layer(from_fn(permit_drill)))
        .merge(page::routes())
        .fallback(|| async { failure(StatusCode::NOT_FOUND, "no such path; see snooze --help") })
        .method_not_allowed_fallback(|| async {
            failure(StatusCode::METHOD_NOT_ALLOWED, "this path takes another method")
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(pace))
        .layer(Extension(limits))
        .layer(from_fn_with_state(Hosts::None, browser::guard))
        .with_state(daemon)
}

/// Passes the request on when its caller has the right.
async fn permit(
    State(right): State<Right>,
    Extension(caller): Extension<Caller>,
    request: Request,
    next: Next,
) -> Response {
    match caller.may(right) {
        Ok(()) => next.run(request).await,
        Err(refused) => told(StatusCode::FORBIDDEN, &refused),
    }
}

/// Passes the request on when its caller may have a drill.
async fn permit_drill(Extension(caller): Extension<Caller>, request: Request, next: Next) -> Response {
    match caller.may_drill() {
        Ok(()) => next.run(request).await,
        Err(refused) => told(StatusCode::FORBIDDEN, &refused),
    }
}

/// Passes the request on unless its caller makes too many.
async fn pace(
    Extension(limits): Extension<Arc<Limits>>,
    Extension(caller): Extension<Caller>,
    request: Request,
    next: Next,
) -> Response {
    match limits.request(&caller, clock::boot_ns()) {
        Ok(()) => next.run(request).await,
        Err(over) => too_many(over),
    }
}

/// Status and sentence for what is over its limit.
pub(super) fn too_many(over: Over) -> Response {
    let (status, text) = over_limit(over);
    ([(header::RETRY_AFTER, "1")], failure(status, &text)).into_response()
}

/// The whole body, or the reply that says why not.
pub(super) async fn whole(request: Request) -> Result<Bytes, Response> {
    match tokio::time::timeout(BODY_TIME_MAX, Bytes::from_request(request, &())).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let text = format!("the body is longer than {BODY_BYTES_MAX} bytes");
            Err(failure(StatusCode::PAYLOAD_TOO_LARGE, &text))
        }
        Ok(Err(error)) => Err(failure(error.status(), &format!("the body cannot be read: {}", error.body_text()))),
        Err(_) => {
            let text = format!("the body did not come within {} s", BODY_TIME_MAX.as_secs());
            Err(failure(StatusCode::REQUEST_TIMEOUT, &text))
        }
    }
}

async fn status<D: Daemon>(State(daemon): State<Arc<D>>) -> Response {
    json(&*daemon, &daemon.status())
}

async fn plan<D: Daemon>(State(daemon): State<Arc<D>>, RawQuery(query): RawQuery) -> Response {
    let query = Query::parse(query.as_deref());
    let Some(event_type) = query.get("type") else {
        return failure(StatusCode::BAD_REQUEST, "the query lacks 'type'");
    };
    match query.left().map(|left| daemon.plan(event_type, &left)) {
        Some(Ok(plan)) => json(&*daemon, &plan),
        Some(Err(error)) => failure(StatusCode::BAD_REQUEST, &error),
        None => failure(StatusCode::BAD_REQUEST, NO_LEFT),
    }
}

async fn plans<D: Daemon>(State(daemon): State<Arc<D>>, RawQuery(query): RawQuery) -> Response {
    match Query::parse(query.as_deref()).left() {
        Some(left) => json(&*daemon, &daemon.plans(&left)),
        None => failure(StatusCode::BAD_REQUEST, NO_LEFT),
    }
}

/// Only what is a drill: handlers do what can be undone, and the daemon withdraws it itself.
async fn drill<D: Daemon>(State(daemon): State<Arc<D>>, request: Request) -> Response {
    let body = match whole(request).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let drill: Drill = match serde_json::from_slice(&body) {
        Ok(drill) => drill,
        Err(error) => return failure(StatusCode::BAD_REQUEST, &format!("the body is not a drill: {error}")),
    };
    match daemon.simulate(drill.into()) {
        Ok(event_id) => json(&*daemon, &Simulated { event_id }),
        Err(error) => failure(StatusCode::BAD_REQUEST, &error),
    }
}

async fn simulate<D: Daemon>(State(daemon): State<Arc<D>>, request: Request) -> Response {
    let body = match whole(request).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let request: Simulate = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return failure(StatusCode::BAD_REQUEST, &format!("the body is not a simulation: {error}")),
    };
    match daemon.simulate(request) {
        Ok(event_id) => json(&*daemon, &Simulated { event_id }),
        Err(error) => failure(StatusCode::BAD_REQUEST, &error),
    }
}

/// The type decides which right it takes, so that is looked at here.
async fn emit<D: Daemon>(
    State(daemon): State<Arc<D>>,
    Extension(limits): Extension<Arc<Limits>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    let body = match whole(request).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let request: Emit = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return failure(StatusCode::BAD_REQUEST, &format!("the body is not an event to emit: {error}")),
    };
    let right = match EventType::parse(&request.event_type) {
        Ok(event_type) => right_to_emit(&event_type),
        Err(error) => return failure(StatusCode::BAD_REQUEST, &error),
    };
    if let Err(refused) = caller.may(right) {
        let error = format!("'{}' is no type of custom.*: {}", request.event_type, refused.error);
        return told(StatusCode::FORBIDDEN, &Failure { error, ..refused });
    }
    if let Err(over) = limits.event(&caller, clock::boot_ns()) {
        return too_many(over);
    }
    match daemon.emit(request, caller.uid) {
        Ok(event_id) => json(&*daemon, &Simulated { event_id }),
        Err(error) => failure(StatusCode::BAD_REQUEST, &error),
    }
}

async fn events<D: Daemon>(State(daemon): State<Arc<D>>, RawQuery(query): RawQuery) -> Response {
    let query = Query::parse(query.as_deref());
    let limit = query.get("limit").map_or(Ok(20), str::parse::<usize>);
    let Ok(limit) = limit else { return failure(StatusCode::BAD_REQUEST, "'limit' is to be a number") };
    match daemon.events(limit.min(EVENTS_LIMIT_MAX), query.get("type")) {
        Ok(events) => json(&*daemon, &events),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, &error),
    }
}

async fn report<D: Daemon>(State(daemon): State<Arc<D>>, id: Result<Path<String>, PathRejection>) -> Response {
    let Ok(Path(id)) = id else { return failure(StatusCode::BAD_REQUEST, "the id is no text") };
    match daemon.report(&id) {
        Ok(Some(report)) => json(&*daemon, &report),
        Ok(None) if id == "last" => failure(StatusCode::NOT_FOUND, "no event has a report yet"),
        Ok(None) => failure(StatusCode::NOT_FOUND, &format!("no event '{id}' in the history; see snooze events")),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, &error),
    }
}

async fn apps<D: Daemon>(State(daemon): State<Arc<D>>) -> Response {
    json(&*daemon, &daemon.apps())
}

async fn reload<D: Daemon>(State(daemon): State<Arc<D>>) -> Response {
    match daemon.reload().await {
        Ok(reloaded) => json(&*daemon, &reloaded),
        Err(refused) => {
            let text = serde_json::to_string(&refused).unwrap_or_default();
            reply(StatusCode::UNPROCESSABLE_ENTITY, "application/json", daemon.scrub(&text))
        }
    }
}

async fn metrics<D: Daemon>(State(daemon): State<Arc<D>>) -> Response {
    reply(StatusCode::OK, "text/plain; version=0.0.4", daemon.metrics())
}

pub(super) fn json<D: Daemon>(daemon: &D, value: &impl Serialize) -> Response {
    let text = serde_json::to_string(value).unwrap_or_default();
    reply(StatusCode::OK, "application/json", daemon.scrub(&text))
}

pub(super) fn failure(status: StatusCode, error: &str) -> Response {
    told(status, &Failure { error: error.into(), ..Failure::default() })
}

fn told(status: StatusCode, failure: &Failure) -> Response {
    reply(status, "application/json", serde_json::to_string(failure).unwrap_or_default())
}

fn reply(status: StatusCode, kind: &'static str, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, kind)], text).into_response()
}

/// The query string, percent-decoded; order and repetition kept.
struct Query(Vec<(String, String)>);

impl Query {
    fn parse(query: Option<&str>) -> Self {
        Self(url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    fn all<'q>(&'q self, key: &'q str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// Times left, seconds; None when one of them is none, or there are too many.
    fn left(&self) -> Option<Vec<f64>> {
        let left: Vec<f64> = self.all("left").map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(left).filter(|left| left.len() <= LEFT_MAX && left.iter().all(|left| left.is_finite()))
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}
