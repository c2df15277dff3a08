//! The part of a configuration that says how to reach AWS.
//!
//! Inputs: the JSON object `aws`. Outputs: an [`Access`] with its schema. Must never be printed as a whole: it may hold a
//! secret.

use cloudsnooze_plugin::schemars;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// How to reach AWS. What is not set is found as AWS's own tools find it.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// Region, such as eu-central-1; by default that of the event, else of the environment or the machine.
    #[serde(default)]
    pub region: Option<String>,
    /// Address to use in place of AWS's own, such as that of a VPC endpoint.
    #[serde(default)]
    pub endpoint_url: Option<String>,
    /// By default those of the environment, a profile or the machine's role.
    #[serde(default)]
    pub credentials: Option<Credentials>,
    /// PEM certificates to trust, instead of the system's authorities.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// Keys of a user.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// Begins with AKIA or ASIA.
    pub access_key_id: String,
    /// A secret.
    #[schemars(extend("writeOnly" = true))]
    pub secret_access_key: String,
    /// With temporary keys. A secret.
    #[serde(default)]
    #[schemars(extend("writeOnly" = true))]
    pub session_token: Option<String>,
}
