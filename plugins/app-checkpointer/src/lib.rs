//! Asks an application over HTTP to save a checkpoint, and follows it until it is saved.
//!
//! Responsibilities: one POST per event with the reason and the time left, polling of the application's
//! status where `verify_success` asks for it, evidence for the report. Inputs: an event, the
//! configuration. Outputs: a handled call with what the application said, or the failure. Must never
//! call a checkpoint saved that the application did not call so, send the token to an origin the
//! operator did not name, or outlive the time of its call.

mod answer;
mod config;
mod evidence;
mod follow;

use answer::{Answer, State};
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{
    Call, Cancel, Code, Error, Event, Host, Instance, Outcome, Plugin, Subscription, Verification, abi, c_str,
};
use cloudsnooze_plugin_http::{Client, Endpoint, HeaderName, HeaderValue, Method, Reply, Request, Session, header};
pub use config::Config;
use config::Target;
use evidence::Evidence;
use std::ffi::CStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Kept back from the time left, so that the report is written before the host gives up on the call.
const RESERVE: Duration = Duration::from_millis(50);

/// One instance: one application.
pub struct AppCheckpointer {
    host: Host,
    target: Target,
    client: Client,
    /// What `verify` needs of the call it is asked about.
    last: Mutex<Option<Last>>,
}

struct Last {
    event_id: String,
    answer: Answer,
    status_url: Option<Endpoint>,
}

impl Plugin for AppCheckpointer {
    const ID: &'static CStr = c"io.cloudsnooze.app-checkpointer";
    const NAME: &'static CStr = c"app-checkpointer";
    const VERSION: &'static CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static CStr = c"Asks an application over HTTP to save a checkpoint";
    const CAPS: u64 = abi::SNOOZE_CAP_DRILL;
    type Config = Config;

    fn new(host: Host, config: Config, _: Instance) -> Result<Self, Error> {
        let settings = config.settings();
        let target = Target::new(config)?;
        let made = Client::new(host, &settings, &target.app_endpoint);
        let client = made.map_err(|error| Error::from(error).code(Code::Config))?;
        Ok(Self { host, target, client, last: Mutex::new(None) })
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let budget = Duration::from_secs(45);
        vec![Subscription::on(&["cloud.*", "system.shutdown", "custom.*"]).priority(80).budget(budget)]
    }

    fn activate(&self) -> Result<(), Error> {
        self.client.keep_ready();
        Ok(())
    }

    fn on_event(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        let session = self.begin(call)?;
        if event.is_cancellation() {
            return Ok(Outcome::declined("the notice was withdrawn; there is nothing to save for"));
        }
        let mut evidence = Evidence::new(reason(&self.target, event));
        let reply =
            self.start(&session, event, call, &evidence).map_err(|error| error.with_result(evidence.report()))?;
        let mut answer = Answer::read(&reply.body, reply.status == 202);
        evidence.started(&session, reply.status, &answer, self.shown(&reply));
        self.judge(&reply, &answer).map_err(|error| error.with_result(evidence.report()))?;

        let status_url = self.status_url(&reply, &answer);
        if self.target.verify_success {
            answer = self.confirm(&session, call, answer, status_url.as_ref(), &mut evidence)?;
        } else {
            evidence.skipped("verify", "verify_success is off");
        }
        *self.last() = Some(Last { event_id: event.id().to_owned(), answer, status_url });
        Ok(Outcome::handled(evidence.report()))
    }

    fn verify(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Verification, Error> {
        let session = self.begin(call)?;
        if !self.target.verify_success {
            return Ok(Verification::Unknown);
        }
        let (answer, status_url) = match &*self.last() {
            Some(last) if last.event_id == event.id() => (last.answer.clone(), last.status_url.clone()),
            // Another process made the call, before a restart say: the configured address still tells.
            _ => (Answer::default(), self.target.status_url(None)),
        };
        match status_url {
            Some(url) => self.ask_again(&session, call, &answer, &url),
            None if answer.is_saved() => Ok(Verification::Verified(answer.confirmed_by("reply"))),
            None if answer.state == State::Done => Err(Error::new("the application says it is not durable")),
            None => Ok(Verification::Unknown),
        }
    }

    fn on_cancel(&self, _: &Call<'_>, _: Cancel) {
        self.client.cancel();
    }

    fn deactivate(&self) {
        self.client.stop();
    }
}

impl AppCheckpointer {
    fn begin(&self, call: &Call<'_>) -> Result<Session<'_>, Error> {
        let session = self.client.begin();
        match call.cancelled() {
            Some(_) => Err(Error::new("cancelled").code(Code::Cancelled)),
            None => Ok(session),
        }
    }

    /// Sends the request for a checkpoint.
    fn start(
        &self,
        session: &Session<'_>,
        event: &Event<'_>,
        call: &Call<'_>,
        evidence: &Evidence,
    ) -> Result<Reply, Error> {
        let endpoint = &self.target.app_endpoint;
        let key = call.idempotency_key();
        let body = request_body(event, call, evidence.reason(), &key).to_string();
        let mut headers = self.target.headers.clone();
        headers.push((header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
        headers.push((HeaderName::from_static("idempotency-key"), HeaderValue::from_str(&key)?));
        let request = Request { method: Method::POST, endpoint, headers: &headers, body: body.as_bytes() };
        session
            .send(&request, left(call))
            .map_err(|failure| failure.into_error(format_args!("ask {endpoint} for a checkpoint")))
    }

    /// Whether the reply to the request says that the application took it.
    fn judge(&self, reply: &Reply, answer: &Answer) -> Result<(), Error> {
        let Target { app_endpoint: endpoint, expect_status, .. } = &self.target;
        let (status, said) = (reply.status, self.said(reply, answer));
        let expected = if expect_status.is_empty() { status / 100 == 2 } else { expect_status.contains(&status) };
        match status {
            _ if expected && answer.state == State::Failed => {
                Err(Error::new(format!("{endpoint} says that the checkpoint failed{said}")))
            }
            _ if expected => Ok(()),
            300..=399 => Err(Error::new(format!(
                "{endpoint} answered {status}; redirects are not followed, put the final address into app_endpoint"
            ))
            .code(Code::Config)),
            401 | 403 => {
                Err(Error::new(format!("{endpoint} answered {status}, check token and headers{said}"))
                    .code(Code::Denied))
            }
            408 | 425 | 429 | 500..=599 => {
                let wait = reply.retry_after().map(|t| format!(", asks to wait {} s", t.as_secs())).unwrap_or_default();
                Err(Error::retry(format!("{endpoint} answered {status}{wait}{said}")))
            }
            _ => Err(Error::new(format!("{endpoint} answered {status}{said}")).code(Code::Io)),
        }
    }

    /// Where the application's progress can be asked: named by the operator, or by the application
    /// itself when it stays with its own origin.
    fn status_url(&self, reply: &Reply, answer: &Answer) -> Option<Endpoint> {
        if let Some(url) = self.target.status_url(answer.checkpoint_id.as_deref()) {
            return Some(url);
        }
        let named = answer.status_url.as_deref().or_else(|| reply.header(&header::LOCATION))?;
        let endpoint = &self.target.app_endpoint;
        match endpoint.join(named) {
            Ok(url) if url.same_origin(endpoint) => Some(url),
            _ => {
                self.host.warn(format_args!("{endpoint} names a status address elsewhere; it is not asked"));
                None
            }
        }
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Last>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Time that may still be spent.
fn left(call: &Call<'_>) -> Duration {
    call.left().saturating_sub(RESERVE)
}

/// Why the checkpoint is wanted, in the words applications know.
fn reason(target: &Target, event: &Event<'_>) -> String {
    if let Some(reason) = &target.reason {
        return reason.clone();
    }
    let kind = event.event_type();
    let reason = match kind {
        "cloud.spot.interrupt" => "spot_termination",
        "cloud.spot.rebalance" => "rebalance_recommendation",
        "cloud.instance.terminate" => "instance_termination",
        "cloud.autoscaling.terminate" => "autoscaling_termination",
        "system.shutdown" => "shutdown",
        _ if kind.starts_with("cloud.maintenance.") => "maintenance",
        other => other,
    };
    reason.to_owned()
}

fn request_body(event: &Event<'_>, call: &Call<'_>, reason: &str, key: &str) -> Value {
    let granted = left(call).as_secs_f64();
    let seconds = event.seconds_left().map_or(granted, |seconds| seconds.min(granted));
    let text = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
    json!({
        "reason": reason,
        "time_remaining": (seconds * 1000.0).floor() / 1000.0,
        "deadline": event.deadline(),
        "event": {
            "id": event.id(), "type": event.event_type(), "action": text(event.action()),
            "instance_id": text(event.instance_id()), "simulated": event.is_simulated(),
        },
        "idempotency_key": key,
    })
}

cloudsnooze_plugin::export!(AppCheckpointer; vendor: c"CloudSnooze", license: c"Apache-2.0", url: c"");
