//! How plugins reach AWS.
//!
//! Responsibilities: region, credentials and clients, ready before the event; requests within the time of a call; errors in
//! words. Inputs: an [`Access`], futures on the SDK's clients. Outputs: their results. Must never show credentials, nor use a
//! proxy: requests for the machine's own credentials would go through it.

mod access;
mod client;
mod failure;

pub use access::{Access, Credentials};
pub use aws_config::SdkConfig;
pub use client::Aws;
pub use failure::{Failed, failure};
