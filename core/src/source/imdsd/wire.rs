//! What is said to systemd-imdsd and what it answers: JSON texts, each ended by a zero byte (varlink.org, "Protocol").
//!
//! Responsibilities: calls to bytes; bytes to answers or to what they mean for a source; paths of metadata services to keys.
//! Inputs: paths, bytes. Outputs: texts, [`Found`]s, a [`FetchError`]. Pure. Must never panic, or hold more than the longest
//! answer, whatever the bytes are; must never ask for an answer that somebody has kept.
//!
//! Facts: systemd 261, `varlink-io.systemd.InstanceMetadata.c` (methods and errors), `imdsd.c` (what they mean: 403 is
//! `NotAvailable`, 404 is `KeyNotFound`, a key is appended to the vendor's base and followed by its suffix), `sd-varlink.h`
//! (general errors), `40-imds.hwdb` (the vendors). Seen with systemd 262.1: a status from 300 on whose answer has a body, a 404
//! among them, is not told; it is an `io.systemd.System` with the errno ENOTRECOVERABLE and the bit of a synthetic one.

use super::super::imds::{BODY_BYTES_MAX, FetchError, Found};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::net::IpAddr;
use thiserror::Error;
use url::Url;

/// Longest answer read, bytes: the longest body in base64, and its frame.
pub(super) const ANSWER_BYTES_MAX: usize = BODY_BYTES_MAX.div_ceil(3) * 4 + 4096;

/// errno(3): EPERM and EACCES, by which the kernel and polkit refuse.
const REFUSED_ERRNOS: [i64; 2] = [1, 13];

/// ENOTRECOVERABLE.
const UNTOLD_ERRNO: i64 = 131;

/// What systemd adds to an errno that no system call gave (`errno-util.h`, `SYNTHETIC_ERRNO`).
const SYNTHETIC_ERRNO: i64 = 1 << 30;

/// How long a token that systemd-imdsd asks for may live, microseconds: the longest that EC2 gives. Without a cache it means
/// nothing else.
const REFRESH_US: i64 = 21_600 * 1_000_000;

/// Why systemd-imdsd gives no answer, where HTTP has no word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Its socket is missing, or nobody listens on it.
    #[error("systemd-imdsd, which would ask for others, is not at its socket (sources.imds_socket)")]
    NoSocket,
    /// This user may not ask it.
    #[error("systemd-imdsd refuses this user: polkit must allow it the action io.systemd.imds.get")]
    NotAllowed,
    /// It knows no metadata service.
    #[error("systemd-imdsd knows no metadata service on this machine")]
    NotSupported,
    /// It asks another service than this source's.
    #[error("systemd-imdsd serves another cloud's metadata service, or other paths of this one")]
    Elsewhere,
    /// It does not reach the service.
    #[error("systemd-imdsd does not reach the metadata service")]
    Unreached,
    /// An HTTP status that it does not tell.
    #[error("systemd-imdsd got an HTTP status from the metadata service that it does not tell")]
    Untold,
    /// An error of its own, or a status without a body.
    #[error("systemd-imdsd got no usable answer from the metadata service, and does not say more")]
    Unsaid,
    /// It gives out no tokens and takes no requests but GET.
    #[error("systemd-imdsd passes on no requests but GET")]
    OnlyGet,
}

/// Writes the question for a key of the service. `interface`: the network interface on which it was found; without one
/// systemd-imdsd starts a process for each interface there is.
///
/// The answer must be the service's own, not one that was kept. `cache` false is also why the interface must be named: then
/// systemd-imdsd does not remember it (`context_load_ifname`).
pub(super) fn write_get(call: &mut Vec<u8>, key: &str, interface: Option<i64>) {
    let mut parameters = Map::new();
    parameters.insert("key".into(), key.into());
    parameters.insert("cache".into(), false.into());
    parameters.insert("refreshUSec".into(), REFRESH_US.into());
    if let Some(interface) = interface {
        parameters.insert("interface".into(), interface.into());
    }
    write(call, "io.systemd.InstanceMetadata.Get", &parameters.into());
}

/// Writes the question which service it is.
pub(super) fn write_vendor(call: &mut Vec<u8>) {
    write(call, "io.systemd.InstanceMetadata.GetVendorInfo", &json!({}));
}

fn write(call: &mut Vec<u8>, method: &str, parameters: &Value) {
    call.clear();
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(&mut *call, &json!({"method": method, "parameters": parameters}));
    call.push(0);
}

#[derive(Deserialize)]
struct Answer {
    parameters: Option<Map<String, Value>>,
    error: Option<String>,
}

/// Reads an answer without its zero byte: the parameters, or what its error means.
pub(super) fn parameters(answer: &[u8]) -> Result<Map<String, Value>, FetchError> {
    let answer: Answer = serde_json::from_slice(answer).map_err(|_| FetchError::Malformed)?;
    let parameters = answer.parameters.unwrap_or_default();
    match answer.error {
        None => Ok(parameters),
        Some(error) => Err(meaning(&error, &parameters)),
    }
}

fn meaning(error: &str, parameters: &Map<String, Value>) -> FetchError {
    let own = error.strip_prefix("io.systemd.InstanceMetadata.").unwrap_or(error);
    let errno = || parameters.get("errno").and_then(Value::as_i64).map(|errno| errno & !SYNTHETIC_ERRNO);
    match own {
        "KeyNotFound" => FetchError::Status(404),
        // The service is switched off for this machine, or refuses it.
        "NotAvailable" => FetchError::Status(403),
        "NotSupported" => Refusal::NotSupported.into(),
        "CommunicationFailure" => Refusal::Unreached.into(),
        "Timeout" => FetchError::Timeout,
        "org.varlink.service.PermissionDenied" | "io.systemd.InteractiveAuthenticationRequired" => {
            Refusal::NotAllowed.into()
        }
        "io.systemd.System" if errno().is_some_and(|errno| REFUSED_ERRNOS.contains(&errno)) => {
            Refusal::NotAllowed.into()
        }
        "io.systemd.System" if errno() == Some(UNTOLD_ERRNO) => Refusal::Untold.into(),
        _ => Refusal::Unsaid.into(),
    }
}

/// Of a key below the base, each directory and the name that it must list for the key to be there, the outermost first.
/// The outermost part itself is taken for granted.
pub(super) fn directories(key: &str) -> Vec<(String, String)> {
    let path = key.split(['?', '#']).next().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let below = |depth: usize| {
        let (outer, inner) = parts.split_at_checked(depth)?;
        Some((format!("/{}/", outer.join("/")), (*inner.first()?).to_owned()))
    };
    (1..parts.len()).filter_map(below).collect()
}

/// Whether a directory as AWS and GCP list them, a name a line and directories with a slash, has this name. None: that is no list.
pub(super) fn lists(body: &[u8], name: &str) -> Option<bool> {
    let text = std::str::from_utf8(body).ok().filter(|text| !text.trim().is_empty())?;
    Some(text.lines().any(|line| line.trim().trim_end_matches('/') == name))
}

/// What the answer to [`write_get`] holds: the body, and the interface on which the service was found.
pub(super) fn found(parameters: &Map<String, Value>) -> Result<(Found, Option<i64>), FetchError> {
    let text = parameters.get("data").and_then(Value::as_str).ok_or(FetchError::Malformed)?;
    let body = STANDARD.decode(text).map_err(|_| FetchError::Malformed)?;
    if body.len() > BODY_BYTES_MAX {
        return Err(FetchError::TooLarge);
    }
    let interface = parameters.get("interface").and_then(Value::as_i64).filter(|number| *number > 0);
    Ok((Found { status: 200, body, ..Found::default() }, interface))
}

/// Which service systemd-imdsd asks, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vendor {
    /// Its name: `amazon-ec2`, `microsoft-azure`, `google-gcp`, or what an administrator has called it.
    pub name: String,
    /// What a key is appended to.
    base: String,
    /// Whether anything follows the key.
    pub(super) has_suffix: bool,
    /// Hosts by which the service is known: of its base, and its addresses.
    hosts: Vec<String>,
}

/// What the answer to [`write_vendor`] holds.
pub(super) fn vendor(parameters: &Map<String, Value>) -> Result<Vendor, FetchError> {
    let text = |key: &str| parameters.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let url = text("dataUrl").and_then(|url| Url::parse(url).ok()).ok_or(Refusal::NotSupported)?;
    let addresses = ["addressIPv4", "addressIPv6"].into_iter().filter_map(|key| address(parameters.get(key)?));
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    Ok(Vendor {
        name: text("vendor").unwrap_or("without a name").to_owned(),
        base: url.path().trim_end_matches('/').to_owned(),
        has_suffix: text("dataUrlSuffix").is_some(),
        hosts: std::iter::once(host).chain(addresses.map(|address| address.to_string())).collect(),
    })
}

/// An address as systemd writes it: its bytes, as numbers.
fn address(bytes: &Value) -> Option<IpAddr> {
    let bytes = bytes.as_array()?.iter().map(|byte| u8::try_from(byte.as_u64()?).ok());
    let bytes: Vec<u8> = bytes.collect::<Option<_>>()?;
    let four = <[u8; 4]>::try_from(bytes.as_slice()).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes.as_slice()).map(IpAddr::from)).ok()
}

impl Vendor {
    /// The key by which the service at `host` is asked for `path`.
    ///
    /// Azure's suffix names a version that Scheduled Events do not have; an end that begins with `#` keeps it away from the
    /// service: a fragment is never sent (RFC 9110, 4.2.5; libcurl, which systemd-imdsd asks with, cuts it off).
    ///
    /// # Errors
    /// [`Refusal::Elsewhere`].
    pub(super) fn key(&self, host: &str, path: &str) -> Result<String, FetchError> {
        if !self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host)) {
            return Err(Refusal::Elsewhere.into());
        }
        let key = path.strip_prefix(&self.base).filter(|key| key.starts_with('/')).ok_or(Refusal::Elsewhere)?;
        Ok(if self.has_suffix { format!("{key}#") } else { key.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As systemd 261 answers on each cloud (`40-imds.hwdb`).
    fn vendor_of(name: &str, base: &str, suffix: Option<&str>) -> Vendor {
        let mut answer = json!({
            "vendor": name,
            "dataUrl": format!("http://169.254.169.254{base}"),
            "addressIPv4": [169, 254, 169, 254],
            "addressIPv6": [0xfd, 0, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x54],
        });
        if let Some(suffix) = suffix {
            answer["dataUrlSuffix"] = suffix.into();
        }
        vendor(answer.as_object().expect("an object")).expect("a vendor")
    }

    #[test]
    fn each_vendors_paths_become_keys_below_its_base() {
        let aws = vendor_of("amazon-ec2", "/latest", None);
        let path = "/latest/meta-data/spot/instance-action";
        for host in ["169.254.169.254", "fd00:ec2::254"] {
            assert_eq!(aws.key(host, path), Ok("/meta-data/spot/instance-action".into()), "{host}");
        }
        let azure = vendor_of("microsoft-azure", "/metadata", Some("?api-version=2025-04-07&format=text"));
        let path = "/metadata/scheduledevents?api-version=2020-07-01";
        let key = azure.key("169.254.169.254", path);
        assert_eq!(key, Ok("/scheduledevents?api-version=2020-07-01#".into()));
        let gcp = vendor_of("google-gcp", "/computeMetadata/v1", None);
        let path = "/computeMetadata/v1/instance/preempted?wait_for_change=true";
        assert_eq!(gcp.key("169.254.169.254", path), Ok("/instance/preempted?wait_for_change=true".into()));
    }

    #[test]
    fn another_service_or_another_part_of_it_is_not_asked() {
        let aws = vendor_of("amazon-ec2", "/latest", None);
        for (host, path) in [
            ("100.100.100.200", "/latest/meta-data/instance/spot/termination-time"),
            ("metadata.tencentyun.com", "/latest/meta-data/spot/termination-time"),
            ("169.254.169.254", "/metadata/scheduledevents"),
            ("169.254.169.254", "/latest"),
            ("169.254.169.254", "/latestmeta-data/x"),
        ] {
            assert_eq!(aws.key(host, path), Err(Refusal::Elsewhere.into()), "{host}{path}");
        }
    }

    #[test]
    fn a_call_asks_for_what_the_service_says_now() {
        let mut call = Vec::new();
        write_get(&mut call, "/meta-data/\"x", Some(2));
        let Some((0, text)) = call.split_last() else { panic!("no zero byte") };
        let expected = json!({
            "method": "io.systemd.InstanceMetadata.Get",
            "parameters":
                {"key": "/meta-data/\"x", "cache": false, "refreshUSec": 21_600_000_000_i64, "interface": 2},
        });
        assert_eq!(serde_json::from_slice::<Value>(text).ok(), Some(expected));
        write_get(&mut call, "/x", None);
        assert!(!call[..call.len() - 1].contains(&0) && !String::from_utf8_lossy(&call).contains("interface"));
    }

    fn read(answer: &str) -> Result<(Vec<u8>, Option<i64>), FetchError> {
        let (found, interface) = found(&parameters(answer.as_bytes())?)?;
        Ok((found.body, interface))
    }

    #[test]
    fn an_answer_is_a_body_and_the_interface_it_came_from() {
        assert_eq!(read(r#"{"parameters":{"data":"Ym9keQ==","interface":2}}"#), Ok((b"body".to_vec(), Some(2))));
        assert_eq!(read(r#"{"parameters":{"data":""}}"#), Ok((Vec::new(), None)));
        for bad in
            ["", "{}", "[]", r#"{"parameters":{"data":"%"}}"#, r#"{"parameters":{"data":7}}"#, "{\"parameters\":"]
        {
            assert_eq!(read(bad), Err(FetchError::Malformed), "{bad}");
        }
        let long = STANDARD.encode(vec![b'x'; BODY_BYTES_MAX + 1]);
        assert_eq!(read(&json!({"parameters": {"data": long}}).to_string()), Err(FetchError::TooLarge));
        let longest = json!({"parameters": {"data": STANDARD.encode(vec![b'x'; BODY_BYTES_MAX]), "interface": 2}});
        assert!(read(&longest.to_string()).is_ok() && longest.to_string().len() < ANSWER_BYTES_MAX);
    }

    #[test]
    fn every_error_of_systemd_means_something_to_a_source() {
        let refused = Refusal::NotAllowed.into();
        for (error, meaning) in [
            (r#""io.systemd.InstanceMetadata.KeyNotFound""#, FetchError::Status(404)),
            (r#""io.systemd.InstanceMetadata.NotAvailable""#, FetchError::Status(403)),
            (r#""io.systemd.InstanceMetadata.NotSupported""#, Refusal::NotSupported.into()),
            (r#""io.systemd.InstanceMetadata.CommunicationFailure""#, Refusal::Unreached.into()),
            (r#""io.systemd.InstanceMetadata.Timeout""#, FetchError::Timeout),
            (r#""io.systemd.InstanceMetadata.WellKnownKeyUnset""#, Refusal::Unsaid.into()),
            (r#""org.varlink.service.PermissionDenied""#, refused),
            (r#""org.varlink.service.InvalidParameter""#, Refusal::Unsaid.into()),
            (r#""io.systemd.InteractiveAuthenticationRequired""#, Refusal::NotAllowed.into()),
            (r#""io.systemd.System","parameters":{"errno":5}"#, Refusal::Unsaid.into()),
            (r#""io.systemd.System","parameters":{"errno":13,"origin":"linux"}"#, Refusal::NotAllowed.into()),
            (r#""io.systemd.System","parameters":{"origin":"linux","errno":1073741955}"#, Refusal::Untold.into()),
        ] {
            assert_eq!(read(&format!(r#"{{"error":{error}}}"#)), Err(meaning), "{error}");
        }
    }

    #[test]
    fn a_list_says_what_is_not_there_and_what_is_no_list_says_nothing() {
        let expected = [("/meta-data/", "events"), ("/meta-data/events/", "rebalance")];
        let expected: Vec<_> = expected.map(|(path, name)| (path.to_owned(), name.to_owned())).into();
        assert_eq!(directories("/meta-data/events/rebalance?x=/y"), expected);
        assert_eq!((directories("/x"), directories(""), directories("//")), (Vec::new(), Vec::new(), Vec::new()));
        let list = b"ami-id\nevents/\nspot-price\n";
        assert_eq!(
            (lists(list, "spot"), lists(list, "events"), lists(list, "ami-id")),
            (Some(false), Some(true), Some(true))
        );
        assert_eq!((lists(b" \n", "x"), lists(b"\xff", "x")), (None, None));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(parameters) = parameters(&bytes) {
                let _ = (found(&parameters), vendor(&parameters));
            }
        }

        /// Answers of the right form with anything in it.
        #[test]
        fn no_values_panic(data in "\\PC{0,40}", url in "\\PC{0,40}", path in "\\PC{0,40}", number: i64) {
            let answer = json!({"parameters": {"data": data, "interface": number, "dataUrl": url, "dataUrlSuffix": data,
                "addressIPv4": [number, data], "addressIPv6": vec![number; 16], "vendor": number}});
            let parameters = parameters(answer.to_string().as_bytes()).expect("an answer");
            let _ = found(&parameters);
            let _ = (directories(&path), lists(path.as_bytes(), &data));
            if let Ok(vendor) = vendor(&parameters) {
                let _ = vendor.key(&url, &path);
            }
        }

        /// An answer with one byte changed is another answer or none.
        #[test]
        fn an_answer_with_one_wrong_byte_does_no_harm(at in 0_usize..60, byte: u8) {
            let mut text = br#"{"parameters":{"data":"Ym9keQ==","interface":2}}"#.to_vec();
            let at = at % text.len();
            text[at] = byte;
            if let Ok(parameters) = parameters(&text) {
                let _ = found(&parameters);
            }
        }
    }
}
