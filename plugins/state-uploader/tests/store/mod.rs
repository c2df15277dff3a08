//! A bucket of the emulator, files to upload, and what tests ask of both.
#![allow(dead_code, reason = "each test file uses its own part")]

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{Delivered, TestInstance, spot_interrupt};
use harness::moto::{Moto, element};
use harness::relay::Relay;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use state_uploader::StateUploader;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Time granted where it does not matter.
pub const PLENTY: Duration = Duration::from_secs(60);
/// The least part that S3 takes.
pub const PART: u64 = 5 << 20;
pub const MIB: usize = 1 << 20;

/// An emulator with a bucket, reached through a relay, and a directory with files.
pub struct Stage {
    pub moto: Moto,
    pub relay: Relay,
    pub dir: tempfile::TempDir,
}

impl Stage {
    /// None, said loudly, where there is no emulator.
    pub fn open(what: &str) -> Option<Self> {
        let moto = Moto::start(what)?;
        assert_eq!(moto.ask("PUT", "/bucket", &[], b"").status, 200);
        let relay = Relay::start(moto.port());
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        Some(Self { moto, relay, dir })
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A file of the data whose bytes are not those of another, so many seconds old.
    pub fn write(&self, name: &str, bytes: usize, age: u64) -> Vec<u8> {
        let path = self.data().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut seed = Sha256::digest(format!("{name} {bytes} {age}"));
        let mut content = Vec::with_capacity(bytes + 32);
        while content.len() < bytes {
            seed = Sha256::digest(seed);
            // Half of it: whoever stores it compressed has no advantage that counts.
            content.extend_from_slice(&seed.repeat(64));
        }
        content.truncate(bytes);
        fs::write(&path, &content).unwrap();
        File::open(&path).unwrap().set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        content
    }

    pub fn config(&self, more: &Value) -> Value {
        let mut config = json!({
            "to": "s3://bucket/states/{instance_id}", "sources": [{ "path": self.data() }], "part_bytes": PART,
            "options": options(&format!("http://127.0.0.1:{}", self.relay.port())),
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    }

    pub fn plugin(&self, more: &Value) -> TestInstance<StateUploader> {
        TestInstance::new_in(&self.dir.path().join("state"), &self.config(more)).unwrap()
    }

    /// An object, as another client than the plugin gets it.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        let reply = self.moto.ask("GET", &format!("/bucket/states/i-0123456789abcdef0/{key}"), &[], b"");
        (reply.status == 200).then_some(reply.body)
    }

    /// Whether it is there, with this content. Not compared by a macro that would print both.
    pub fn holds(&self, key: &str, content: &[u8]) -> bool {
        self.get(key).is_some_and(|there| there == content)
    }

    pub fn manifest(&self) -> Value {
        let bytes = self.get("manifest.json").expect("there is a manifest");
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Keys below the prefix.
    pub fn keys(&self) -> Vec<String> {
        let list = self.moto.ask("GET", "/bucket?list-type=2", &[], b"").text();
        let keys = list.split("<Contents>").skip(1).filter_map(|object| element(object, "Key"));
        keys.map(|key| key.trim_start_matches("states/i-0123456789abcdef0/").to_owned()).collect()
    }

    /// Uploads in parts that are neither complete nor given up.
    pub fn pending(&self) -> usize {
        self.moto.ask("GET", "/bucket?uploads", &[], b"").text().matches("<UploadId>").count()
    }

    /// Keys that the plugin has put since it had asked so much.
    pub fn put_since(&self, asked: usize) -> Vec<String> {
        let puts =
            self.relay.asked().into_iter().skip(asked).filter_map(|line| line.strip_prefix("PUT ").map(str::to_owned));
        puts.map(|path| path.rsplit_once("i-0123456789abcdef0/").map_or(path.clone(), |(_, key)| key.to_owned()))
            .collect()
    }
}

pub fn options(endpoint: &str) -> Value {
    json!({
        "aws_endpoint": endpoint, "aws_region": "us-east-1", "aws_access_key_id": "AKIATEST",
        "aws_secret_access_key": "Zq9-secret",
    })
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn event(kind: &str, id: u8) -> Value {
    let mut event = spot_interrupt();
    event["type"] = json!(kind);
    event["id"] = json!(format!("01936b7e-5b3a-7000-8000-0000000000{id:02}"));
    event
}

pub fn interrupt(id: u8) -> Value {
    event("cloud.spot.interrupt", id)
}

pub fn handled(delivered: Delivered) -> Value {
    assert_eq!((delivered.status, &delivered.error), (abi::SNOOZE_OK, &None), "{delivered:?}");
    delivered.result.unwrap()
}

/// The text of a failure of this code.
pub fn failed(delivered: &Delivered, code: abi::snooze_status) -> String {
    assert_eq!(delivered.status, code, "{delivered:?}");
    delivered.error.clone().unwrap()
}

/// Names in a list of the report.
pub fn names(list: &Value) -> Vec<String> {
    let first = list["first"].as_array().unwrap().iter();
    let name = |one: &Value| one.as_str().or(one["name"].as_str()).unwrap().to_owned();
    let mut names: Vec<String> = first.map(name).collect();
    names.sort_unstable();
    names
}

/// A certificate for 127.0.0.1 and its key, and the authority that vouches for it.
pub fn certificates(dir: &Path) -> (Value, PathBuf) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let write = |name: &str, text: String| {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let ca = write("ca.pem", authority.self_signed(&authority_key).unwrap().pem());
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = write("cert.pem", certificate.signed_by(&key, &issuer).unwrap().pem());
    (json!({ "cert": certificate, "key": write("key.pem", key.serialize_pem()) }), ca)
}
