//! The configuration, and what it means once it is checked.
//!
//! Inputs: the operator's JSON. Outputs: a [`Server`] and [`Letters`] that are known to be usable. Must never repeat the
//! password in an error.

use crate::dialog::Tls;
use crate::message::Letters;
use crate::server::{Protection, Server};
use cloudsnooze_plugin::{Code, Error};
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::extension::ClientId;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use schemars::JsonSchema;
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Recipients one handler may have: a list belongs behind one address.
const MAX_RECIPIENTS: usize = 50;

/// Configuration of the e-mail notifier.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name or address of the mail server that takes the message.
    pub server: String,
    /// Its port; by default 587 with starttls, 465 with tls, 25 with none.
    #[serde(default)]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<u16>,
    /// Encryption: starttls (after the greeting), tls (from the first byte), none (only to this machine).
    #[serde(default)]
    pub security: Security,
    /// Let security none go beyond this machine, with the password and the mail readable on the way.
    #[serde(default)]
    pub insecure: bool,
    /// Name to log in with; without it, nobody logs in.
    #[serde(default)]
    pub username: Option<String>,
    /// Password to log in with.
    #[serde(default)]
    #[schemars(extend("writeOnly" = true))]
    pub password: Option<String>,
    /// Sender, such as "CloudSnooze <snooze@example.com>".
    pub from: String,
    /// Recipients, 1 to 50, each an address with or without a name.
    #[schemars(length(min = 1, max = 50))]
    pub to: Vec<String>,
    /// Where answers go, if not to the sender.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// Template of the subject in the language of Jinja; by default the headline.
    #[serde(default)]
    pub subject: Option<String>,
    /// Template of the plain text; by default the headline and the details.
    #[serde(default)]
    pub text: Option<String>,
    /// Template of the HTML part; by default a small one, and none where text is given.
    #[serde(default)]
    pub html: Option<String>,
    /// Attempts in one call, 1 to 20, as far as the time allows.
    #[serde(default = "default_attempts")]
    #[schemars(range(min = 1, max = 20))]
    pub attempts: u32,
    /// Name by which this machine greets the server; by default its host name.
    #[serde(default)]
    pub hello_name: Option<String>,
    /// File with the PEM certificates to trust, instead of the public authorities.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// How the connection is encrypted.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// After the greeting, by STARTTLS.
    #[default]
    StartTls,
    /// From the first byte.
    Tls,
    /// Not at all.
    None,
}

fn default_attempts() -> u32 {
    6
}

/// The checked configuration.
pub(crate) struct Checked {
    pub(crate) server: Server,
    pub(crate) letters: Letters,
    pub(crate) attempts: u32,
}

impl Checked {
    /// Checks what the schema cannot.
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        Self::check(config).map_err(|text| Error::new(text).code(Code::Config))
    }

    fn check(config: &Config) -> Result<Self, String> {
        if config.to.is_empty() || config.to.len() > MAX_RECIPIENTS {
            return Err(format!("to must name 1 to {MAX_RECIPIENTS} recipients"));
        }
        if !(1..=20).contains(&config.attempts) {
            return Err("attempts is not within 1 and 20".to_owned());
        }
        let to = config.to.iter().map(|text| mailbox("to", text)).collect::<Result<Vec<_>, _>>()?;
        let reply_to = config.reply_to.as_deref().map(|text| mailbox("reply_to", text)).transpose()?;
        let from = mailbox("from", &config.from)?;
        let templates = [&config.subject, &config.text, &config.html].map(Option::as_deref);
        let letters = Letters::new(from, to, reply_to, templates)?;
        let credentials = match (&config.username, &config.password) {
            (Some(name), Some(password)) => Some(Credentials::new(name.clone(), password.clone())),
            (None, None) => None,
            (Some(_), None) => return Err("username is given without password".to_owned()),
            (None, Some(_)) => return Err("password is given without username".to_owned()),
        };
        let host = config.server.trim().trim_start_matches('[').trim_end_matches(']').to_owned();
        let protection = protection(config, &host)?;
        let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let is_open = config.security == Security::None;
        if is_open && !config.insecure && !is_loopback {
            return Err("security none is for this machine only; set starttls or tls, or insecure to true".to_owned());
        }
        if config.insecure && !is_open {
            return Err("insecure is for security none only".to_owned());
        }
        let default_port = match config.security {
            Security::StartTls => 587,
            Security::Tls => 465,
            Security::None => 25,
        };
        let port = config.port.unwrap_or(default_port);
        if port == 0 {
            return Err("port is not within 1 and 65535".to_owned());
        }
        let hello = hello(config.hello_name.as_deref())?;
        let loopback_only = is_open && !config.insecure;
        let server = Server::new(host, port, protection, loopback_only, config.password.clone(), credentials, hello);
        Ok(Self { server, letters, attempts: config.attempts })
    }
}

fn mailbox(key: &str, text: &str) -> Result<Mailbox, String> {
    text.parse().map_err(|_| format!("{key}: {text:?} is not an address, such as \"Ann <ann@example.com>\""))
}

fn protection(config: &Config, host: &str) -> Result<Protection, String> {
    let name =
        ServerName::try_from(host.to_owned()).map_err(|_| "server is neither a name nor an address".to_owned())?;
    if config.security == Security::None {
        return match &config.ca_file {
            Some(_) => Err("ca_file is of no use with security none".to_owned()),
            None => Ok(Protection::None),
        };
    }
    let tls = Tls { config: client_config(config.ca_file.as_deref())?, name };
    Ok(if config.security == Security::Tls { Protection::Tls(tls) } else { Protection::StartTls(tls) })
}

fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let pem = std::fs::read(path).map_err(|error| format!("ca_file {}: {error}", path.display()))?;
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
        }
    }
    if roots.is_empty() {
        let path = ca_file.map(|path| path.display().to_string()).unwrap_or_default();
        return Err(format!("ca_file {path}: holds no readable PEM certificate"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| format!("TLS: {error}"))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// The name for the greeting. Servers refuse what is no name; without one an address is right (RFC 5321 4.1.4).
fn hello(configured: Option<&str>) -> Result<ClientId, String> {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
    };
    match configured {
        Some(name) if is_name(name) => Ok(ClientId::Domain(name.to_owned())),
        Some(_) => Err("hello_name is not a host's name".to_owned()),
        None => {
            let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            let name = name.trim();
            Ok(if is_name(name) { ClientId::Domain(name.to_owned()) } else { ClientId::Ipv4(Ipv4Addr::LOCALHOST) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(change: &Value) -> Result<Checked, String> {
        let mut config = json!({"server": "mail.example.com", "from": "snooze@example.com", "to": ["ann@example.com"]});
        config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        Checked::check(&serde_json::from_value(config).unwrap())
    }

    #[test]
    fn configurations_that_cannot_work_are_refused_by_key_and_without_the_password() {
        let empty = tempfile::NamedTempFile::new().unwrap();
        for (change, text) in [
            (json!({"server": "mail example com"}), "server is neither"),
            (json!({"to": []}), "to must name 1 to 50"),
            (json!({"to": ["ann@example.com", "bob"]}), "to: \"bob\" is not an address"),
            (json!({"from": "snooze"}), "from: \"snooze\" is not an address"),
            (json!({"reply_to": "@"}), "reply_to: "),
            (json!({"username": "u"}), "username is given without password"),
            (json!({"password": "hush"}), "password is given without username"),
            (json!({"security": "none"}), "security none is for this machine only"),
            (json!({"security": "none", "server": "10.0.0.1"}), "security none is for this machine only"),
            (json!({"insecure": true}), "insecure is for security none only"),
            (json!({"security": "none", "server": "::1", "ca_file": "/x"}), "ca_file is of no use"),
            (json!({"ca_file": "/nonexistent/ca.pem"}), "ca_file /nonexistent/ca.pem: "),
            (json!({"ca_file": empty.path()}), "holds no readable PEM certificate"),
            (json!({"hello_name": "a b"}), "hello_name"),
            (json!({"attempts": 0}), "attempts"),
            (json!({"subject": "{{ headlin }}"}), "subject: it names `headlin`"),
            (json!({"text": "{{ headline"}), "text: line 1"),
            (json!({"html": "{% if %}"}), "html: line 1"),
        ] {
            let error = check(&change).err().unwrap_or_default();
            assert!(error.contains(text) && !error.contains("hush"), "{change}: {error}");
        }
    }

    #[test]
    fn ports_and_protections_follow_from_security() {
        for (change, address, loopback_only) in [
            (json!({}), "mail.example.com:587", false),
            (json!({"security": "tls"}), "mail.example.com:465", false),
            (json!({"security": "none", "server": "[::1]"}), "[::1]:25", true),
            (json!({"security": "none", "server": "localhost", "port": 2525}), "localhost:2525", true),
            (json!({"security": "none", "insecure": true}), "mail.example.com:25", false),
        ] {
            let server = check(&change).unwrap().server;
            assert_eq!((server.address().as_str(), server.loopback_only), (address, loopback_only), "{change}");
        }
    }

    #[test]
    fn the_schema_marks_secrets_and_describes_every_key() {
        let schema = schemars::schema_for!(Config).to_value();
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!((properties.len(), &schema["required"]), (15, &json!(["server", "from", "to"])));
        for (key, property) in properties {
            assert!(property["description"].as_str().is_some_and(|text| text.len() > 20), "{key}");
            assert_eq!(property["writeOnly"] == json!(true), key == "password", "{key}");
        }
    }
}
