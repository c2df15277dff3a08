//! The SDK's configuration of one instance, and the thread that its requests run on.
//!
//! Inputs: an [`Access`], the host's calls. Outputs: what the requests gave. Must never hold a lock while it waits.

use crate::Access;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use cloudsnooze_plugin::{Call, Code, Error, Event, Host, abi};
use cloudsnooze_plugin_runtime::{Clock, Engine};
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often credentials and names are seen to.
const UPKEEP: Duration = Duration::from_secs(300);
/// What that may take.
const UPKEEP_LIMIT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For one attempt; the call's own time is above it.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The way to AWS for one instance. Methods may be called from any thread.
pub struct Aws {
    engine: Engine,
    shared: Arc<Shared>,
}

struct Shared {
    host: Host,
    access: Access,
    http: SharedHttpClient,
    /// Once it was found out.
    config: Mutex<Option<SdkConfig>>,
}

impl Aws {
    /// Reads the certificate file; opens nothing else. `thread_name` is cut to 15 bytes by the kernel.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn new(host: Host, thread_name: &'static str, access: Access) -> Result<Self, Error> {
        if let Some(url) = &access.endpoint_url
            && !(url.starts_with("https://") || url.starts_with("http://"))
        {
            return Err(Error::new("aws.endpoint_url: write https://HOST or http://HOST").code(Code::Config));
        }
        let trust = match &access.ca_file {
            None => TrustStore::default(),
            Some(path) => {
                let pem =
                    std::fs::read(path).and_then(|pem| match pem.windows(11).any(|part| part == b"-----BEGIN ") {
                        true => Ok(pem),
                        false => Err(io::Error::new(io::ErrorKind::InvalidData, "holds no certificate")),
                    });
                let context = |error| Error::from(error).context(format!("aws.ca_file: {}", path.display()));
                TrustStore::empty().with_pem_certificate(pem.map_err(|error| context(error).code(Code::Config))?)
            }
        };
        let tls = TlsContext::builder().with_trust_store(trust).build()?;
        let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(tls).build_https();
        let shared = Shared { host, access, http, config: Mutex::new(None) };
        Ok(Self { engine: Engine::new(thread_name), shared: Arc::new(shared) })
    }

    /// Starts the thread, which makes `ahead`'s request at once and again every few minutes. For `activate`.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start<F, W>(&self, ahead: F) -> Result<(), Error>
    where
        F: Fn(SdkConfig) -> W + Send + Sync + 'static,
        W: Future<Output = Result<(), Error>> + 'static,
    {
        let (shared, was_told) = (Arc::clone(&self.shared), Arc::new(AtomicBool::new(false)));
        let ahead = Arc::new(ahead);
        let upkeep = move || {
            let (shared, was_told, ahead) = (Arc::clone(&shared), Arc::clone(&was_told), Arc::clone(&ahead));
            async move {
                let work = async {
                    match shared.config(None).await {
                        Ok(config) => ahead(config).await,
                        Err(error) => Err(error),
                    }
                };
                let asked = tokio::time::timeout(UPKEEP_LIMIT, work).await;
                let trouble = asked.unwrap_or_else(|_| Err(Error::new("no answer in time"))).err();
                match trouble {
                    Some(error) if !was_told.swap(true, Ordering::AcqRel) => {
                        shared.host.warn(format_args!("AWS cannot be asked now; trying again: {error}"));
                    }
                    None if was_told.swap(false, Ordering::AcqRel) => {
                        shared.host.info(format_args!("AWS answers again"));
                    }
                    _ => {}
                }
            }
        };
        let started = self.engine.start(UPKEEP, upkeep);
        started.map_err(|error| Error::from(error).context("start the thread that asks AWS"))
    }

    /// Runs `work` with the configuration for the event's region, within the call's time. `work` must watch its clock.
    ///
    /// # Errors
    /// That of the work, or it did not end in time.
    pub fn call<T, F, W>(&self, event: &Event<'_>, call: &Call<'_>, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(SdkConfig, Clock) -> W + Send + 'static,
        W: Future<Output = Result<T, Error>> + 'static,
    {
        let region = event.field(abi::SNOOZE_FIELD_REGION).filter(|region| !region.is_empty()).map(str::to_owned);
        let shared = Arc::clone(&self.shared);
        self.engine.call(call, async move |clock: Clock| {
            let work = async {
                let config = shared.config(region).await?;
                work(config, clock.clone()).await
            };
            tokio::select! {
                biased;
                done = work => done,
                () = clock.over() => Err(Error::new("the time was over before AWS had answered").code(Code::Deadline)),
            }
        })?
    }

    /// The configuration, for who makes requests without a call, in a runtime of its own.
    ///
    /// # Errors
    /// The region is not known.
    pub async fn config(&self) -> Result<SdkConfig, Error> {
        self.shared.config(None).await
    }

    /// Ends the thread and joins it. For `deactivate`.
    pub fn stop(&self) {
        self.engine.stop();
    }
}

impl Shared {
    /// The configuration: that region comes before the machine's, but after the configured one.
    async fn config(&self, region: Option<String>) -> Result<SdkConfig, Error> {
        let known = self.config.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let config = match known {
            Some(config) => config,
            None => {
                let config = self.load(region.clone()).await;
                *self.config.lock().unwrap_or_else(PoisonError::into_inner) = Some(config.clone());
                config
            }
        };
        if self.access.region.is_some() {
            return Ok(config);
        }
        match region {
            Some(region) => Ok(config.into_builder().region(Region::new(region)).build()),
            None if config.region().is_none() => {
                Err(Error::new("aws.region: the region is not known; set it").code(Code::Config))
            }
            None => Ok(config),
        }
    }

    async fn load(&self, region: Option<String>) -> SdkConfig {
        let retry = RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(FIRST_PAUSE);
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(self.http.clone())
            .retry_config(retry)
            .timeout_config(timeouts);
        // Else it is looked for: in the environment, in a profile, at the machine's metadata service.
        if let Some(region) = self.access.region.clone().or(region) {
            loader = loader.region(Region::new(region));
        }
        if let Some(url) = &self.access.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        if let Some(keys) = &self.access.credentials {
            loader = loader.credentials_provider(aws_credential_types::Credentials::new(
                &keys.access_key_id,
                &keys.secret_access_key,
                keys.session_token.clone(),
                None,
                "configuration",
            ));
        }
        loader.load().await
    }
}
