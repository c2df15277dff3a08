//! The HTTP client of plugins that speak HTTP.
//!
//! Responsibilities: one request within the time left, given up at once when the call is cancelled, on a
//! kept connection where there is one. Inputs: an [`Endpoint`], headers, a body, a duration. Outputs: a
//! [`Reply`] or a [`Failure`]. Must never follow a redirect, take a proxy from the environment, wait
//! without a bound, or put more of an address than its origin into a text: what follows may be a secret.

mod client;
mod endpoint;
mod failure;

pub use client::{Client, Reply, Request, Settings};
pub use endpoint::{BadEndpoint, Endpoint, excerpt, redact};
pub use failure::{BadSettings, Failure};
pub use ureq::http::{HeaderName, HeaderValue, Method, header};
