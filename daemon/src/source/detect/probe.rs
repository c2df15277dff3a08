//! Questions to metadata services, each of which only the service of one cloud answers as asked.
//!
//! Responsibilities: ask all of them at the same time, within short limits. Inputs: addresses. Outputs: an [`Answer`] a
//! cloud: what it said of the machine, or why it is not that cloud's. Must never be asked on a thread that anything waits
//! for, ask for anything secret, or quote a body.
//!
//! Where the machine prohibits asking, systemd-imdsd is asked which cloud it is; everybody may.
//!
//! Facts: EC2 user guide, "Use IMDSv2"; Azure Instance Metadata Service (400 without the header `Metadata`); Google Compute
//! Engine, "Querying metadata" (403 without `Metadata-Flavor`); Alibaba Cloud ECS, "Obtain instance metadata"; Tencent Cloud,
//! "Querying instance metadata" (ids begin with `ins-`); Oracle Cloud Infrastructure, "Getting instance metadata" (version 2).

use super::Provider;
use crate::config::{DetectEndpoints, DetectSource};
use crate::normalise::spot_time::word;
use crate::source::imds::{FetchError, Header, MetadataClient};
use crate::source::token::{self, TokenKeeper};
use crate::sys::bell::Bell;
use crate::sys::clock;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

const INSTANCE_ID: &str = "/latest/meta-data/instance-id";
const ALIBABA_REGION: &str = "/latest/meta-data/region-id";
const AZURE_COMPUTE: &str = "/metadata/instance/compute?api-version=2021-02-01";
const GCP_ID: &str = "/computeMetadata/v1/instance/id";
const ORACLE_INSTANCE: &str = "/opc/v2/instance/";

/// Requests that one question may take, each of which may use its whole time.
const REQUESTS_MAX: u32 = 4;

/// What the system may need on top, for connections and names.
const ON_TOP: Duration = Duration::from_secs(2);

/// What came of asking one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whose it would be.
    pub provider: Provider,
    /// Where it was asked.
    pub endpoint: String,
    /// What it said of the machine; why it is not that cloud's.
    pub said: Result<String, String>,
}

/// Asks every service of the settings at the same time, or systemd-imdsd at that socket where direct access is locked. Takes
/// some seconds at most: one that hangs in the system is not waited for.
pub fn ask_all(settings: &DetectSource, imdsd: &Path) -> Vec<Answer> {
    let timeout_ms = settings.probe_timeout_ms;
    let asked: Vec<(Provider, &str)> =
        Provider::ALL.iter().filter_map(|cloud| Some((*cloud, endpoint_of(&settings.endpoints, *cloud)?))).collect();
    let (sender, receiver) = mpsc::channel();
    for (provider, endpoint) in &asked {
        let (provider, endpoint, sender) = (*provider, (*endpoint).to_owned(), sender.clone());
        let imdsd = imdsd.to_owned();
        let body = move || {
            let said = ask(provider, &endpoint, timeout_ms, &imdsd);
            let _ = sender.send(Answer { provider, endpoint, said });
        };
        // One that cannot be asked is told below, as one that does not answer.
        let _ = thread::Builder::new().name("snooze-probe".into()).spawn(body);
    }
    drop(sender);
    let most = Duration::from_millis(timeout_ms.into()) * REQUESTS_MAX + ON_TOP;
    let until_boot_ns = clock::boot_ns().saturating_add(i64::try_from(most.as_nanos()).unwrap_or(i64::MAX));
    let mut answers: Vec<Answer> = Vec::new();
    while answers.len() < asked.len() {
        let left_ns = until_boot_ns.saturating_sub(clock::boot_ns());
        match receiver.recv_timeout(Duration::from_nanos(u64::try_from(left_ns).unwrap_or(0))) {
            Ok(answer) => answers.push(answer),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    let told = |(provider, endpoint): &(Provider, &str)| {
        let late = || Answer {
            provider: *provider,
            endpoint: (*endpoint).to_owned(),
            said: Err("no answer in time: does its name resolve?".to_owned()),
        };
        answers.iter().find(|answer| answer.provider == *provider).cloned().unwrap_or_else(late)
    };
    asked.iter().map(told).collect()
}

/// Where that cloud's service is to be asked, if it is.
pub fn endpoint_of(endpoints: &DetectEndpoints, provider: Provider) -> Option<&str> {
    let endpoint = match provider {
        Provider::Aws => &endpoints.aws,
        Provider::Azure => &endpoints.azure,
        Provider::Gcp => &endpoints.gcp,
        Provider::Alibaba => &endpoints.alibaba,
        Provider::Tencent => &endpoints.tencent,
        Provider::Oracle => &endpoints.oracle,
    };
    endpoint.as_deref()
}

/// Asks one service whether it is that cloud's, on the calling thread, which it may occupy for some seconds.
///
/// # Errors
/// Why it is not, in words.
pub fn ask(provider: Provider, endpoint: &str, timeout_ms: u32, imdsd: &Path) -> Result<String, String> {
    let bell = Arc::new(Bell::new().map_err(|error| error.to_string())?);
    let client = MetadataClient::new(endpoint, timeout_ms.into(), bell).map_err(|error| error.to_string())?;
    let mut service = Service(client);
    let said = match provider {
        Provider::Aws => service.aws(),
        Provider::Azure => service.azure(),
        Provider::Gcp => service.gcp(),
        Provider::Alibaba => service.alibaba(),
        Provider::Tencent => service.tencent(),
        Provider::Oracle => service.oracle(),
    };
    if service.0.is_locked() { service.through_imdsd(provider, imdsd) } else { said }
}

/// What systemd-imdsd calls a cloud (systemd, `40-imds.hwdb`), and where its service names the machine; None: it has none of it.
const fn vendor(provider: Provider) -> Option<(&'static str, &'static str)> {
    match provider {
        Provider::Aws => Some(("amazon-ec2", INSTANCE_ID)),
        Provider::Azure => Some(("microsoft-azure", AZURE_COMPUTE)),
        Provider::Gcp => Some(("google-gcp", GCP_ID)),
        Provider::Alibaba | Provider::Tencent | Provider::Oracle => None,
    }
}

struct Service(MetadataClient);

impl Service {
    /// What systemd-imdsd says of the machine decides; that it also lets this user read is good to know.
    fn through_imdsd(&mut self, provider: Provider, socket: &Path) -> Result<String, String> {
        self.0.imdsd_at(socket);
        let told = self.0.vendor().map_err(|error| error.to_string())?.name;
        let (name, path) = vendor(provider).filter(|(name, _)| *name == told).ok_or_else(|| {
            format!("{}, and systemd-imdsd says that this is a machine of {told}", FetchError::Locked)
        })?;
        match self.get(path, &[]) {
            Ok(_) => Ok(format!("systemd-imdsd says that this is {name}, and gives its metadata")),
            Err(why) => Ok(format!("systemd-imdsd says that this is {name}, but: {why}")),
        }
    }

    /// A token of EC2, and an id that its machines have.
    fn aws(&mut self) -> Result<String, String> {
        let mut keeper = TokenKeeper::new(&token::EC2, false);
        let header = keeper.header(&mut self.0, clock::boot_ns()).map_err(|error| error.to_string())?;
        named(self.word(INSTANCE_ID, header.as_slice())?, "i-")
    }

    /// Refused without the header, and with it a document that names the machine.
    fn azure(&mut self) -> Result<String, String> {
        self.is_refused(AZURE_COMPUTE, 400)?;
        let document = self.json(AZURE_COMPUTE, &[("metadata", "true")])?;
        let name = document.get("vmId").and_then(Value::as_str).and_then(|id| word(id.as_bytes()).ok());
        name.map(this_is).ok_or_else(another)
    }

    /// Refused without the header, and with it the machine's number.
    fn gcp(&mut self) -> Result<String, String> {
        self.is_refused(GCP_ID, 403)?;
        self.word(GCP_ID, &[("metadata-flavor", "Google")]).map(|id| this_is(&id))
    }

    /// A region, at a place where only Alibaba has it.
    fn alibaba(&mut self) -> Result<String, String> {
        let mut keeper = TokenKeeper::new(&token::ALIBABA, true);
        let header = keeper.header(&mut self.0, clock::boot_ns()).map_err(|error| error.to_string())?;
        self.word(ALIBABA_REGION, header.as_slice())?;
        named(self.word(INSTANCE_ID, header.as_slice())?, "i-")
    }

    /// An id that only Tencent's machines have.
    fn tencent(&mut self) -> Result<String, String> {
        named(self.word(INSTANCE_ID, &[])?, "ins-")
    }

    /// With the header of version 2, a document that names the machine as Oracle does.
    fn oracle(&mut self) -> Result<String, String> {
        let document = self.json(ORACLE_INSTANCE, &[("authorization", "Bearer Oracle")])?;
        let name = document.get("id").and_then(Value::as_str).and_then(|id| word(id.as_bytes()).ok());
        named(name.ok_or_else(another)?.to_owned(), "ocid1.")
    }

    fn is_refused(&mut self, path: &str, status: u16) -> Result<(), String> {
        match self.0.get(path, &[]) {
            Err(FetchError::Status(code)) if code == status => Ok(()),
            Err(error @ FetchError::Status(_)) => Err(format!("{error} instead of {status} without its header")),
            Err(error) => Err(error.to_string()),
            Ok(_) => Err(format!("it answers without its header, which that cloud refuses with {status}")),
        }
    }

    fn get(&mut self, path: &str, headers: &[Header<'_>]) -> Result<Vec<u8>, String> {
        match self.0.get(path, headers) {
            Ok(Some(found)) => Ok(found.body),
            Ok(None) => Err("it answers, and has no such item (HTTP status 404)".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn word(&mut self, path: &str, headers: &[Header<'_>]) -> Result<String, String> {
        let body = self.get(path, headers)?;
        word(&body).map(str::to_owned).map_err(|_| another())
    }

    fn json(&mut self, path: &str, headers: &[Header<'_>]) -> Result<Value, String> {
        let body = self.get(path, headers)?;
        serde_json::from_slice(&body).map_err(|_| another())
    }
}

fn this_is(id: &str) -> String {
    format!("this is {id}")
}

fn named(id: String, prefix: &str) -> Result<String, String> {
    if id.starts_with(prefix) { Ok(this_is(&id)) } else { Err(another()) }
}

fn another() -> String {
    "it answers, but not as that cloud does".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fake_metadata::{FakeMetadata, Options};

    const NOWHERE: &str = "/nonexistent/imdsd";

    fn asking(endpoint: &str) -> DetectSource {
        let everywhere = || Some(endpoint.to_owned());
        let endpoints = DetectEndpoints {
            aws: everywhere(),
            azure: everywhere(),
            gcp: everywhere(),
            alibaba: everywhere(),
            tencent: everywhere(),
            oracle: everywhere(),
        };
        DetectSource { probe_timeout_ms: 2_000, endpoints, ..DetectSource::default() }
    }

    #[test]
    fn a_service_answers_the_question_of_its_own_cloud_and_no_other() {
        for cloud in fake_metadata::Provider::ALL {
            let service = FakeMetadata::start(Options::of(cloud)).expect("a free port");
            for answer in ask_all(&asking(&service.base_url()), NOWHERE.as_ref()) {
                assert_eq!(answer.said.is_ok(), answer.provider.as_str() == cloud.name(), "{cloud}: {answer:?}");
            }
        }
    }

    #[test]
    fn what_is_not_there_or_says_yes_to_everything_is_no_cloud() {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let polite = thread::spawn(move || {
            for connection in listener.incoming().take(32) {
                let Ok(mut connection) = connection else { return };
                let mut request = [0; 2048];
                let Ok(length) = connection.read(&mut request) else { continue };
                if request[..length].starts_with(b"END") {
                    return;
                }
                let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
            }
        });
        let answers = ask_all(&asking(&endpoint), NOWHERE.as_ref());
        assert!(answers.len() == 6 && answers.iter().all(|answer| answer.said.is_err()), "{answers:?}");
        let mut last = std::net::TcpStream::connect(endpoint.trim_start_matches("http://")).expect("listening");
        last.write_all(b"END").expect("sent");
        polite.join().expect("it ends");
        let answers = ask_all(&asking(&endpoint), NOWHERE.as_ref());
        assert!(answers.iter().all(|answer| answer.said.as_ref().is_err_and(|e| e.contains("refuses"))), "{answers:?}");
    }

    #[test]
    fn a_cloud_without_an_address_is_not_asked() {
        let mut settings = asking("http://127.0.0.1:9");
        settings.endpoints = DetectEndpoints { aws: settings.endpoints.aws, ..DetectEndpoints::none() };
        let asked: Vec<Provider> =
            ask_all(&settings, NOWHERE.as_ref()).into_iter().map(|answer| answer.provider).collect();
        assert_eq!(asked, [Provider::Aws]);
    }
}
