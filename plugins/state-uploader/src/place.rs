//! The store, and where below it.
//!
//! Inputs: the configured address and options. Outputs: a [`Place`]. Must never show an option's value: it may be a secret.

use crate::config::Config;
use crate::wire::Wire;
use cloudsnooze_plugin::{Code, Error, Event};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Where requests fail they are tried again within this time, but not longer: the host may have a better idea.
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);
const INSTANCE_ID: &str = "{instance_id}";
const HOSTNAME: &str = "{hostname}";

/// A bucket, and a prefix in it.
pub(crate) struct Place {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) wire: Wire,
    /// False: S3, and nobody said where.
    pub(crate) has_region: bool,
    scheme: &'static str,
    bucket: String,
    prefix: String,
}

/// A kind of store.
#[derive(Clone, Copy)]
enum Kind {
    S3,
    Google,
}

impl Place {
    /// Reads the configuration; opens no connection.
    ///
    /// # Errors
    /// What cannot work.
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let wrong = |text: String| Error::new(text).code(Code::Config);
        let form = || wrong("to: write s3://BUCKET/PREFIX or gs://BUCKET/PREFIX".to_owned());
        let (scheme, rest) = config.to.split_once("://").ok_or_else(form)?;
        let (kind, scheme) = match scheme {
            "s3" => (Kind::S3, "s3"),
            "gs" => (Kind::Google, "gs"),
            _ => return Err(form()),
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() || bucket.contains(['@', '?', ' ']) {
            return Err(form());
        }
        let prefix = prefix.trim_matches('/').to_owned();
        let shape = prefix.replace(INSTANCE_ID, "i").replace(HOSTNAME, "h");
        if shape.contains(['{', '}']) {
            return Err(wrong(format!("to: only {INSTANCE_ID} and {HOSTNAME} stand for something in a prefix")));
        }
        Path::parse(&shape).map_err(|error| wrong(format!("to: {error}")))?;
        let wire = Wire::new(config.ca_file.as_deref())?;
        let (store, has_region) = match kind {
            Kind::S3 => s3(config, bucket, wire.clone())?,
            Kind::Google => (google(config, bucket, wire.clone())?, true),
        };
        Ok(Self { store, wire, has_region, scheme, bucket: bucket.to_owned(), prefix })
    }

    /// The prefix for an event.
    ///
    /// # Errors
    /// The event does not name the machine, and the prefix needs that.
    pub(crate) fn prefix(&self, event: &Event<'_>) -> Result<Path, Error> {
        self.prefix_of(event.instance_id())
    }

    fn prefix_of(&self, instance: &str) -> Result<Path, Error> {
        if self.prefix.contains(INSTANCE_ID) && instance.is_empty() {
            let text = format!("the event names no instance, which {INSTANCE_ID} in `to` needs");
            return Err(Error::new(text).code(Code::Config));
        }
        let plain = |text: &str| text.replace(|c: char| !(c.is_ascii_alphanumeric() || "-._".contains(c)), "_");
        let text = self.prefix.replace(INSTANCE_ID, &plain(instance)).replace(HOSTNAME, &plain(&hostname()));
        Path::parse(text).map_err(Error::from)
    }

    /// An object to ask for between events, whether or not it is there.
    pub(crate) fn ready_key(&self) -> Path {
        let fixed = self.prefix.split('{').next().unwrap_or_default().trim_end_matches('/');
        Path::parse(fixed).unwrap_or_default().join(".cloudsnooze-ready")
    }

    /// For people.
    pub(crate) fn address(&self, key: &Path) -> String {
        format!("{}://{}/{key}", self.scheme, self.bucket)
    }
}

fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "localhost".to_owned() } else { name.trim().to_owned() }
}

fn retry() -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(2),
        ..BackoffConfig::default()
    };
    RetryConfig { backoff, max_retries: 10, retry_timeout: RETRY_TIMEOUT }
}

/// The options as the library knows them.
fn options<K: FromStr>(options: &BTreeMap<String, String>, of: &str) -> Result<Vec<(K, String)>, Error> {
    let known = options.iter().map(|(name, value)| match K::from_str(name) {
        Ok(key) => Ok((key, value.clone())),
        Err(_) => Err(Error::new(format!("options: {of} has no setting {name:?}")).code(Code::Config)),
    });
    known.collect()
}

/// Whether the operator gave an address without encryption: then that is meant.
fn is_http(options: &BTreeMap<String, String>) -> bool {
    let is_address = |name: &str| name.ends_with("endpoint") || name.ends_with("base_url");
    options.iter().any(|(name, value)| is_address(name) && !name.contains("metadata") && value.starts_with("http://"))
}

/// Why the library cannot build a store. Its text names what is missing, never a value.
fn unusable(error: object_store::Error) -> Error {
    Error::from(error).context("options").code(Code::Config)
}

/// The store, and whether its region is known.
fn s3(config: &Config, bucket: &str, wire: Wire) -> Result<(Arc<dyn ObjectStore>, bool), Error> {
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_http_connector(wire);
    // One object is all that is ever deleted, and not every compatible store knows how to delete many.
    builder = builder.with_disable_bulk_delete(true);
    if config.store_checksum {
        builder = builder.with_checksum_algorithm(Checksum::SHA256);
    }
    if is_http(&config.options) {
        builder = builder.with_allow_http(true);
    }
    for (key, value) in options::<AmazonS3ConfigKey>(&config.options, "S3")? {
        builder = builder.with_config(key, value);
    }
    let has_region = builder.get_config_value(&AmazonS3ConfigKey::Region).is_some();
    Ok((Arc::new(builder.with_retry(retry()).build().map_err(unusable)?), has_region))
}

fn google(config: &Config, bucket: &str, wire: Wire) -> Result<Arc<dyn ObjectStore>, Error> {
    let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket).with_http_connector(wire);
    if is_http(&config.options) {
        builder = builder.with_client_options(object_store::ClientOptions::new().with_allow_http(true));
    }
    for (key, value) in options::<GoogleConfigKey>(&config.options, "Google Cloud Storage")? {
        builder = builder.with_config(key, value);
    }
    Ok(Arc::new(builder.with_retry(retry()).build().map_err(unusable)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudsnooze_plugin::serde_json::{Value, json};

    fn place(to: &str, options: Value) -> Result<Place, String> {
        let config = json!({ "to": to, "sources": [{ "path": "/x" }], "options": options });
        Place::new(&serde_json::from_value(config).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_of_both_kinds_are_understood_and_placeholders_are_filled() {
        let s3 = place("s3://b/p/{instance_id}/x", json!({ "aws_region": "eu-central-1" })).unwrap();
        let prefix = s3.prefix_of("i-1/../2").unwrap();
        assert_eq!(s3.address(&prefix), "s3://b/p/i-1_.._2/x");
        assert_eq!(s3.ready_key().as_ref(), "p/.cloudsnooze-ready");
        assert!(s3.prefix_of("").unwrap_err().to_string().contains("names no instance"));
        let gs = place("gs://b", json!({ "google_skip_signature": "true" })).unwrap();
        assert_eq!(gs.prefix_of("").unwrap().as_ref(), "");
    }

    #[test]
    fn what_cannot_work_is_named_without_a_value() {
        for (to, options, text) in [
            ("b/p", json!({}), "to: write s3://"),
            ("ftp://b/p", json!({}), "to: write s3://"),
            ("s3:///p", json!({}), "to: write s3://"),
            ("s3://b/a//b", json!({}), "to: "),
            ("s3://b/{zone}", json!({}), "to: only {instance_id}"),
            ("s3://b/p", json!({ "aws_secret": "Zq9" }), "S3 has no setting \"aws_secret\""),
            ("s3://b/p", json!({ "aws_access_key_id": "Zq9" }), "options: "),
            ("gs://b/p", json!({ "aws_region": "Zq9" }), "Google Cloud Storage has no setting"),
        ] {
            let error = place(to, options).err().unwrap_or_else(|| panic!("{to} is taken"));
            assert!(error.contains(text) && !error.contains("Zq9"), "{to}: {error}");
        }
    }
}
