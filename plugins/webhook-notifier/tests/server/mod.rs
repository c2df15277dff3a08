//! The receiver in Python as a process of the test: started, listened to, ended.
#![allow(dead_code, reason = "each test file uses its own part")]

use cloudsnooze_plugin::testing::TestInstance;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use webhook_notifier::WebhookNotifier;

/// How long a test waits for something that should happen at once.
pub const SOON: Duration = Duration::from_secs(10);
/// A key as Standard Webhooks writes it, without its beginning.
pub const KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A running receiver. Dropping it ends its process.
pub struct Receiver {
    pub port: u16,
    scheme: &'static str,
    child: Child,
    seen: Arc<Mutex<Vec<Value>>>,
    listener: Option<JoinHandle<()>>,
    _files: Option<tempfile::TempDir>,
}

impl Receiver {
    /// One that does this with the messages; None, said loudly, on a machine without Python.
    pub fn start(answers: Value) -> Option<Self> {
        Self::with(json!({ "answers": answers }))
    }

    /// One with these options of the script.
    pub fn with(options: Value) -> Option<Self> {
        Self::spawn(&options, "http", None)
    }

    /// With TLS, for `localhost`; also gives the file of the authority that vouches for it.
    pub fn with_tls(mut options: Value) -> Option<(Self, std::path::PathBuf)> {
        let files = tempfile::tempdir().unwrap();
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let write = |name: &str, text: String| {
            let path = files.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let ca = write("ca.pem", authority.self_signed(&authority_key).unwrap().pem());
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        options["cert"] = json!(write("cert.pem", certificate.signed_by(&key, &issuer).unwrap().pem()));
        options["private_key"] = json!(write("key.pem", key.serialize_pem()));
        Some((Self::spawn(&options, "https", Some(files))?, ca))
    }

    fn spawn(options: &Value, scheme: &'static str, files: Option<tempfile::TempDir>) -> Option<Self> {
        let Some(python) = harness::program::find("python3") else {
            harness::require::missing_means_skip("the webhook notifier against a receiver: python3 is not installed");
            return None;
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/receiver.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg(options.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let seen: Arc<Mutex<Vec<Value>>> = Arc::default();
        let listener = {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || {
                for line in lines.map_while(Result::ok) {
                    seen.lock().unwrap().push(serde_json::from_str(&line).unwrap());
                }
            })
        };
        let port = u16::try_from(first["port"].as_u64().unwrap()).unwrap();
        Some(Self { port, scheme, child, seen, listener: Some(listener), _files: files })
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://localhost:{}{path}", self.scheme, self.port)
    }

    /// What has come, as soon as there is so much. What a handler was answered has been written before.
    pub fn requests(&self, at_least: usize) -> Vec<Value> {
        let enough = || {
            let seen = self.seen.lock().unwrap().clone();
            (seen.len() >= at_least).then_some(seen)
        };
        harness::wait::until("requests", SOON, enough).unwrap()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

/// An instance with one endpoint, and more of its settings.
pub fn plugin(url: &str, more: Value) -> TestInstance<WebhookNotifier> {
    let mut endpoint = json!({ "url": url });
    endpoint.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    TestInstance::new(&json!({ "endpoints": [endpoint] })).unwrap()
}
