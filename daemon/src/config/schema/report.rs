//! Where reports go, as types.
//!
//! Inputs: none. Outputs: the types. Must never show address or headers: they may hold secrets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Where the report of an event goes when it is over, besides the history. Secrets are taken out of it before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Report {
    /// Absolute path of a directory into which each report is written, as JSON and as HTML; it is made when it is missing.
    /// Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Most reports kept in that directory; the oldest are removed.
    #[schemars(range(min = 1, max = 100_000))]
    pub keep: u32,
    /// The server to which each report is sent. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ReportPost")]
    pub post: Option<ReportPost>,
}

impl Default for Report {
    fn default() -> Self {
        Self { file: None, keep: 100, post: None }
    }
}

/// A server to which each report is sent, as JSON by POST.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportPost {
    /// Its address, `https://` or `http://`; or an object `{"credential": NAME}`, `{"env": NAME}` or `{"file": PATH}` that
    /// stands for one kept elsewhere, because the path of an address may be a secret.
    #[schemars(extend("type" = ["string", "object"]))]
    pub url: Value,
    /// Headers beyond those of the protocol, each a text or such an object.
    #[serde(default)]
    #[schemars(extend("additionalProperties" = {"type": ["string", "object"]}))]
    pub headers: BTreeMap<String, Value>,
    /// Most seconds that sending one report may take, further attempts included.
    #[serde(default = "ten_seconds")]
    #[schemars(range(min = 0.1, max = 60.0))]
    pub timeout_seconds: f64,
    /// Absolute path of PEM certificates to trust instead of the public authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

impl fmt::Debug for ReportPost {
    /// Written by hand because address and headers may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.headers.keys().collect();
        f.debug_struct("ReportPost")
            .field("headers", &names)
            .field("timeout_seconds", &self.timeout_seconds)
            .field("ca_file", &self.ca_file)
            .finish_non_exhaustive()
    }
}

fn ten_seconds() -> f64 {
    10.0
}
