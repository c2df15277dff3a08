//! The mail server in Python as a process of the test: started, listened to, ended.
#![allow(dead_code, reason = "each test file uses its own part")]

use cloudsnooze_plugin::testing::TestInstance;
use email_notifier::EmailNotifier;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a test waits for something that should happen at once.
pub const SOON: Duration = Duration::from_secs(10);
/// Debian's own Python, which has the packages of Debian.
const PYTHON: &str = "/usr/bin/python3";

/// A running server. Dropping it ends its process.
pub struct Mail {
    pub port: u16,
    pub ca: PathBuf,
    child: Child,
    seen: Arc<Mutex<Vec<Value>>>,
    listener: Option<JoinHandle<()>>,
    _files: tempfile::TempDir,
}

impl Mail {
    /// One with these options of the script; None, said loudly, on a machine without aiosmtpd.
    pub fn start(mut options: Value) -> Option<Self> {
        let has = Command::new(PYTHON).args(["-c", "import aiosmtpd"]).stderr(Stdio::null()).status();
        if !has.is_ok_and(|status| status.success()) {
            harness::require::missing_means_skip(
                "the e-mail notifier against a server: python3-aiosmtpd is not installed",
            );
            return None;
        }
        let (files, ca) = certificates(&mut options);
        let mut child = Command::new(PYTHON)
            .args(["-W", "ignore"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/smtp.py"))
            .arg(options.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
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
        Some(Self { port, ca, child, seen, listener: Some(listener), _files: files })
    }

    /// Everything of this kind (`message`, `login`, `ehlo`, `connected`, `fault`), as soon as there is so much.
    pub fn seen(&self, kind: &str, at_least: usize) -> Vec<Value> {
        let enough = || {
            let seen: Vec<Value> =
                self.seen.lock().unwrap().iter().filter(|line| line.get(kind).is_some()).cloned().collect();
            (seen.len() >= at_least).then_some(seen)
        };
        harness::wait::until(kind, SOON, enough).unwrap()
    }

    /// The messages that it kept.
    pub fn kept(&self, at_least: usize) -> Vec<Value> {
        self.seen("message", at_least).into_iter().filter(|m| m["kept"] == true).map(|m| m["message"].clone()).collect()
    }

    /// A configuration for it, without encryption, and more.
    pub fn config(&self, more: Value) -> Value {
        let mut config = json!({
            "server": "localhost", "port": self.port, "security": "none", "from": "CloudSnooze <snooze@example.com>",
            "to": ["Ann <ann@example.com>"],
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    }

    pub fn plugin(&self, more: Value) -> TestInstance<EmailNotifier> {
        TestInstance::new(&self.config(more)).unwrap()
    }
}

impl Drop for Mail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

/// A certificate for `localhost`, and the file of the authority that vouches for it.
fn certificates(options: &mut Value) -> (tempfile::TempDir, PathBuf) {
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
    (files, ca)
}
