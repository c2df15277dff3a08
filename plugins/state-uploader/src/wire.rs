//! HTTP for the library: hyper, with rustls on ring, and a measure of how fast bodies go.
//!
//! Inputs: the library's requests. Outputs: replies, and what the meter learns. Must never take a proxy from the environment
//! (requests for the machine's credentials would go through it), nor speak unencrypted where the configuration does not.

use crate::meter::{LEAST_BYTES, Meter};
use async_trait::async_trait;
use cloudsnooze_plugin::{Code, Error};
use http_body_util::BodyExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::client::{
    ClientConfigKey, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::{ClientOptions, GetOptions};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::error::Error as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Longest time for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection on which nothing is acknowledged for so long is given up.
const SILENCE: Duration = Duration::from_secs(15);
/// How long an idle connection is kept; upkeep uses it more often.
const MAX_IDLE_TIME: Duration = Duration::from_secs(60);
/// Name given to servers.
const USER_AGENT: &str = concat!("cloudsnooze-state-uploader/", env!("CARGO_PKG_VERSION"));

/// Makes the library's clients, which share a meter.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    tls: Arc<ClientConfig>,
    meter: Arc<Mutex<Meter>>,
    /// Why the last request failed: the library tries again, longer than one may want to wait for its word.
    trouble: Arc<Mutex<Option<String>>>,
}

impl Wire {
    /// Trusts the public authorities, or those of a file.
    pub(crate) fn new(ca_file: Option<&Path>) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        match ca_file {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(path) => {
                let wrong =
                    |text: String| Error::new(format!("ca_file: {}: {text}", path.display())).code(Code::Config);
                let found = CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
                for certificate in found {
                    let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                    roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
                }
                if roots.is_empty() {
                    return Err(wrong("holds no certificate".to_owned()));
                }
            }
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: Arc::new(tls), meter: Arc::default(), trouble: Arc::default() })
    }

    /// What is known of the way's speed.
    pub(crate) fn meter(&self) -> MutexGuard<'_, Meter> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In brackets, why the last request got no reply; empty when it got one.
    pub(crate) fn trouble(&self) -> String {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.as_ref().map_or_else(String::new, |text| format!(" ({text})"))
    }
}

impl HttpConnector for Wire {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let mut tcp = TcpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_tcp_user_timeout(Some(SILENCE));
        let tls = HttpsConnectorBuilder::new().with_tls_config(ClientConfig::clone(&self.tls));
        let is_http_allowed = options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|text| text == "true");
        let tls = if is_http_allowed { tls.https_or_http() } else { tls.https_only() };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(MAX_IDLE_TIME)
            .build(tls.enable_http1().wrap_connector(tcp));
        Ok(HttpClient::new(Service { client, wire: self.clone() }))
    }
}

/// Marks a request that is not to be tried again by the library: what waits for it has a better use for the time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Once;

impl Once {
    /// A look at an object, or its head only.
    pub(crate) fn look(is_head: bool) -> GetOptions {
        let mut options = GetOptions { head: is_head, ..GetOptions::default() };
        options.extensions.insert(Self);
        options
    }
}

#[derive(Debug)]
struct Service {
    client: Client<HttpsConnector<TcpConnector>, HttpRequestBody>,
    wire: Wire,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let agent = http::HeaderValue::from_static(USER_AGENT);
        request.headers_mut().entry(http::header::USER_AGENT).or_insert(agent);
        let bytes = u64::try_from(request.body().content_length()).unwrap_or(0);
        let mut measured = (bytes >= LEAST_BYTES).then(|| Measured::begin(&self.wire.meter, bytes));
        let is_once = request.extensions().get::<Once>().is_some();
        let reply = self.client.request(request).await.map_err(|error| chain(&error));
        // The library does not try again what it cannot make out.
        let reply = reply.map_err(|(kind, text)| (if is_once { HttpErrorKind::Unknown } else { kind }, text));
        let trouble = reply.as_ref().err().map(|(_, text)| text.clone());
        *self.wire.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        let reply = reply.map_err(|(kind, text)| HttpError::new(kind, std::io::Error::other(text)))?;
        if let Some(measured) = &mut measured {
            measured.is_taken = reply.status().is_success();
        }
        drop(measured);
        Ok(reply
            .map(|body| HttpResponseBody::new(body.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error)))))
    }
}

/// A request that carries a file; its end is noted however it ends.
struct Measured<'m> {
    meter: &'m Mutex<Meter>,
    number: u64,
    is_taken: bool,
}

impl<'m> Measured<'m> {
    fn begin(meter: &'m Mutex<Meter>, bytes: u64) -> Self {
        let number = meter.lock().unwrap_or_else(PoisonError::into_inner).begin(bytes, Instant::now());
        Self { meter, number, is_taken: false }
    }
}

impl Drop for Measured<'_> {
    fn drop(&mut self) {
        let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        meter.end(self.number, self.is_taken, Instant::now());
    }
}

/// What the library decides by whether to try again, and the reasons in one text.
fn chain(error: &hyper_util::client::legacy::Error) -> (HttpErrorKind, String) {
    let kind = if error.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Interrupted };
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    (kind, text)
}
