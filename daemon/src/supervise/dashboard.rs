//! The dashboard's port: opened at the start, answered on the control runtime.
//!
//! Inputs: the configuration. Outputs: a listening socket with what its callers must show, or a problem for the status. Must never
//! keep the daemon from its work: without the port there is still the socket.

use crate::config::{ConfigError, Dashboard, Loaded, SecretSources};
use crate::control::gate;
use crate::control::limits::Limits;
use crate::control::port::{self, Token};
use axum::Router;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// The open port.
pub(super) struct Port {
    listener: TcpListener,
    /// Where it listens; where any free port was asked for, the one that it got.
    pub(super) address: SocketAddr,
    token: Token,
}

/// Listens where the configuration says; None when it says nowhere, or when that fails, which is a problem then.
///
/// # Errors
/// The token cannot be read.
pub(super) fn listen(
    loaded: &Loaded,
    secrets: &SecretSources,
    problems: &mut Vec<String>,
) -> Result<Option<Port>, Vec<ConfigError>> {
    let Some((token, _)) = loaded.resolve_dashboard(secrets)? else { return Ok(None) };
    let given = loaded.config.control.dashboard.as_ref().and_then(Dashboard::address);
    // The check has refused whatever else is written there.
    let Some(address) = given else { return Ok(None) };
    let opened = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Port { listener, address, token: Token::new(&token) })
    });
    Ok(opened.map_err(|error| problems.push(format!("the dashboard's port {address} cannot be opened: {error}"))).ok())
}

/// Answers at the port for ever.
///
/// # Errors
/// The runtime does not take the socket.
pub(super) fn serve(port: Port, routes: Router, limits: &Arc<Limits>) -> std::io::Result<tokio::task::JoinHandle<()>> {
    let listener = tokio::net::TcpListener::from_std(port.listener)?;
    tracing::info!(address = %port.address, "the dashboard is at this port, too");
    let routes = port::router(routes, port.address, port.token, Arc::clone(limits));
    Ok(tokio::spawn(gate::serve_port(listener, routes, Arc::clone(limits))))
}
