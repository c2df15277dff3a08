//! The emulator of AWS, moto, as a process of the test: S3, Auto Scaling, load balancers, ECS over real HTTP.
//!
//! Responsibilities: start it from the virtual environment that `tests/setup.sh` makes, ask it things as another client than
//! the product's would, end it. Inputs: options. Outputs: its port, replies. It must never need the network.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::{program, require};

/// How long a reply may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running emulator. Dropping it ends its process; what it held is lost with it.
pub struct Moto {
    port: u16,
    child: Child,
    /// It ends when this is closed, also when the test is killed.
    _life: Option<ChildStdin>,
}

/// What it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as text, broken characters replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The Python of the virtual environment for tests: below the directory of builds of the running program.
pub fn python() -> Option<PathBuf> {
    let this = std::env::current_exe().ok()?;
    let mut candidates = this.ancestors().map(|folder| folder.join("venv/bin/python"));
    candidates.find(|python| python.is_file())
}

impl Moto {
    /// Starts one; None, said loudly, where it is not installed.
    pub fn start(what: &str) -> Option<Self> {
        Self::start_with(what, &json!({}))
    }

    /// The same with options: `port`, and `cert` and `key` (PEM files) for TLS.
    ///
    /// # Panics
    /// When it is installed and does not start.
    pub fn start_with(what: &str, options: &Value) -> Option<Self> {
        let has_moto = |python: &PathBuf| {
            let mut asked = Command::new(python);
            asked.args(["-c", "import moto.server"]).stdout(Stdio::null()).stderr(Stdio::null());
            asked.status().is_ok_and(|status| status.success())
        };
        let Some(python) = python().filter(has_moto) else {
            require::missing_means_skip(&format!("{what}: moto is not installed; run tests/setup.sh test"));
            return None;
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/moto_server.py");
        let mut child = Command::new(python)
            .args(["-W", "ignore"])
            .arg(script)
            .arg(options.to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap_or_else(|error| panic!("moto does not start: {error}"));
        let life = child.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            // Nothing there: it has ended, having said why on standard error.
            let _read = BufReader::new(stdout).read_line(&mut line);
        }
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        let port = said["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        let Some(port) = port else {
            program::kill_and_reap(&mut child);
            panic!("moto ended instead of saying its port: {line:?}");
        };
        Some(Self { port, child, _life: life })
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Asks it, over plain HTTP; without other credentials, with such as every caller of S3 has.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let has_credentials = headers.iter().any(|(name, _)| *name == "Authorization");
        let ours = authorization("s3");
        let own = (!has_credentials).then_some(("Authorization", ours.as_str()));
        let headers: Vec<(&str, &str)> = headers.iter().copied().chain(own).collect();
        ask(self.port, method, path, &headers, body).unwrap_or_else(|error| panic!("moto: {method} {path}: {error}"))
    }

    /// Asks it in the protocol of queries (Auto Scaling, EC2, load balancers), in us-east-1; gives the document.
    ///
    /// # Panics
    /// When it refuses.
    pub fn query(&self, service: &str, version: &str, action: &str, parameters: &[(&str, &str)]) -> String {
        let mut form = format!("Action={action}&Version={version}");
        for (name, value) in parameters {
            form.push_str(&format!("&{name}={}", encoded(value)));
        }
        let headers = [
            ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),
            ("Authorization", &authorization(service)),
        ];
        let reply = self.ask("POST", "/", &headers, form.as_bytes());
        assert!((200..300).contains(&reply.status), "{action}: {} {}", reply.status, reply.text());
        reply.text()
    }

    /// Asks it in the protocol of JSON documents (ECS), in us-east-1.
    ///
    /// # Panics
    /// When it refuses.
    pub fn json(&self, service: &str, target: &str, document: &Value) -> Value {
        let headers = [
            ("Content-Type", "application/x-amz-json-1.1"),
            ("X-Amz-Target", target),
            ("Authorization", &authorization(service)),
        ];
        let reply = self.ask("POST", "/", &headers, document.to_string().as_bytes());
        assert!((200..300).contains(&reply.status), "{target}: {} {}", reply.status, reply.text());
        serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{target}: {error}: {}", reply.text()))
    }

    /// Ends its process at once, as a crash would.
    pub fn kill(mut self) {
        program::kill_and_reap(&mut self.child);
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        program::kill_and_reap(&mut self.child);
    }
}

/// Says which service is meant; moto looks at no more.
fn authorization(service: &str) -> String {
    let scope = format!("test/20260101/us-east-1/{service}/aws4_request");
    format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0")
}

/// A value for a form.
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}

/// The text between the first `<name>` and `</name>` of a document.
pub fn element<'d>(document: &'d str, name: &str) -> Option<&'d str> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

fn ask(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Reply, Box<dyn std::error::Error>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = format!("{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut whole = Vec::new();
    stream.read_to_end(&mut whole)?;
    let end = whole.windows(4).position(|window| window == b"\r\n\r\n").ok_or("no reply")?;
    let head = String::from_utf8_lossy(&whole[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).ok_or("no status")?.parse()?;
    let pairs = lines.filter_map(|line| line.split_once(':'));
    let headers = pairs.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
    Ok(Reply { status, headers, body: whole[end + 4..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_documents_are_read_and_written() {
        assert_eq!(encoded("a b/ü~"), "a%20b%2F%C3%BC~");
        assert_eq!(element("<a><b>1</b><b>2</b></a>", "b"), Some("1"));
        assert_eq!(element("<a/>", "b"), None);
    }
}
