//! Answers about the group, and to the handler that waits for this machine's turn.
//!
//! Inputs: requests. Outputs: what the member knows, turns. Must never give a turn to a caller that is not the daemon's own.

use super::server::{Daemon, failure, json, whole};
use super::wire::{FleetDone, FleetMembers, FleetTurn, FleetWait};
use crate::event::EventId;
use crate::fleet::delegate::Delegate;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use cloudsnooze_fleet::Turn;
use std::sync::Arc;

/// What is said where there is no group.
const NO_GROUP: &str =
    "this machine belongs to no group: the configuration has no section \"fleet\" (see docs/fleet.md)";
/// What is said before the member runs.
const NOT_JOINED: &str = "this machine has not joined its group yet; snooze status tells why when it does not";

/// `GET /v1/fleet`.
pub async fn status<D: Daemon>(State(daemon): State<Arc<D>>) -> Response {
    let Some(delegate) = daemon.fleet() else { return failure(StatusCode::NOT_FOUND, NO_GROUP) };
    match delegate.status() {
        Some(status) => json(&*daemon, &status),
        None => failure(StatusCode::SERVICE_UNAVAILABLE, NOT_JOINED),
    }
}

/// `GET /v1/fleet/members`: asks the servers, which takes some seconds where they are silent.
pub async fn members<D: Daemon>(State(daemon): State<Arc<D>>) -> Response {
    let Some(delegate) = daemon.fleet() else { return failure(StatusCode::NOT_FOUND, NO_GROUP) };
    let Some(member) = delegate.member() else { return failure(StatusCode::SERVICE_UNAVAILABLE, NOT_JOINED) };
    match member.members().await {
        Ok(members) => json(&*daemon, &FleetMembers { members }),
        Err(error) => failure(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

/// `POST /v1/fleet/turn`: answered when the turn has come.
pub async fn turn<D: Daemon>(State(daemon): State<Arc<D>>, request: Request) -> Response {
    let (delegate, asked) = match read::<D, FleetWait>(&daemon, request).await {
        Ok(both) => both,
        Err(refusal) => return refusal,
    };
    let turn = match delegate.turn(EventId(asked.event)).await {
        Turn::Go { operation, step, epoch } => FleetTurn { operation, step, epoch, ..FleetTurn::named("go") },
        Turn::Alone { why } => FleetTurn { why, ..FleetTurn::named("alone") },
        Turn::Begun { operation, step, epoch, over } => {
            FleetTurn { operation, step, epoch, is_over: over.is_some(), ..FleetTurn::named("begun") }
        }
        Turn::Withdrawn => FleetTurn::named("withdrawn"),
    };
    json(&*daemon, &turn)
}

/// `POST /v1/fleet/done`.
pub async fn done<D: Daemon>(State(daemon): State<Arc<D>>, request: Request) -> Response {
    let (delegate, asked) = match read::<D, FleetDone>(&daemon, request).await {
        Ok(both) => both,
        Err(refusal) => return refusal,
    };
    delegate.done(EventId(asked.event), asked.error.map_or(Ok(()), Err));
    json(&*daemon, &serde_json::json!({}))
}

async fn read<D: Daemon, T: serde::de::DeserializeOwned>(
    daemon: &Arc<D>,
    request: Request,
) -> Result<(Arc<Delegate>, T), Response> {
    let delegate = daemon.fleet().ok_or_else(|| failure(StatusCode::NOT_FOUND, NO_GROUP))?;
    let body = whole(request).await?;
    let asked = serde_json::from_slice(&body).map_err(|error| {
        failure(StatusCode::BAD_REQUEST, &format!("the body is not a question to the group: {error}"))
    })?;
    Ok((delegate, asked))
}
