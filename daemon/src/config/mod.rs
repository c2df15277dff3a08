//! The configuration: what an operator may set, and how it gets in.
//!
//! Responsibilities: reading the files, saying everything that is wrong with them in words an operator can act on, resolving
//! secrets and keeping them out of what is shown, telling what a reload changes. Inputs: JSON files, credentials. Outputs: one
//! [`Config`]. Must never show a secret, nor know whether a plugin exists.
//!
//! A file goes through `parse` (text to JSON), `merge` (file over file), `shape` (against the schema that `schema` generates),
//! `check` (does it make sense) and is then decoded by `load`. `secret` and `scrub` look after passwords, `diff` after reloads.

mod check;
mod diff;
mod load;
mod merge;
mod parse;
mod path;
mod problem;
mod schema;
mod scrub;
mod secret;
mod shape;
mod suggest;
#[cfg(test)]
mod tests;

pub use diff::Change;
pub use load::Loaded;
pub use path::{JsonPath, Step};
pub use problem::{ConfigError, describe, describe_type};
pub use schema::{
    Apps, AwsSource, AzureSource, ClockWatch, Config, Control, Dashboard, DetectEndpoints, DetectSource, DiskWatch,
    Dispatch, EventHandlers, GcpSource, Handler, HardwareWatch, History, IMMEDIATE, Insight, Isolation, Log, LogFormat,
    LogLevel, MemoryWatch, NameCheck, NetworkWatch, OnCrash, OnFailure, OnTerminate, Report, ReportPost, SourcePlugin,
    Sources, SpotTimeSource, Start, SystemSource, TIMEOUT_SECONDS_MAX, UnitWatch, When, generated_json_schema,
    json_schema,
};
pub use scrub::{REDACTED, Scrubber, is_secret_key, redacted_config};
pub use secret::{Environment, SECRET_BYTES_MAX, Secret, SecretError, SecretSources, is_reference, resolve};
pub use suggest::closest;
