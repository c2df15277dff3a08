//! The HTTP client of plugins that speak HTTP.
//!
//! Responsibilities: a connection that is ready before the event; one request within the time left, given up at once when
//! the call is cancelled. Inputs: an [`Endpoint`], headers, a body, a duration. Outputs: a [`Reply`] or a [`Failure`]. Must
//! never follow a redirect, take a proxy from the environment, wait without a bound, or put more of an address than its
//! origin into a text: what follows may be a secret.

mod client;
mod connection;
mod endpoint;
mod failure;
mod names;

pub use client::{Client, Reply, Request, Session, Settings};
pub use endpoint::{BadEndpoint, Endpoint, excerpt, percent_encoded, redact};
pub use failure::{BadSettings, Failure};
pub use ureq::http::{HeaderName, HeaderValue, Method, header};
