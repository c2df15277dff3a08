//! Tells people in Slack, through an incoming webhook, what is about to happen to the machine.
//!
//! Responsibilities: one message per event, sent again when the provider asks for patience, and the
//! provider's word as evidence. Inputs: an event, the configuration. Outputs: a handled call, or the
//! failure with what to do about it. Must never show the webhook's address, or outlive the time of its
//! call.

mod answer;
mod config;
mod message;

use answer::{Verdict, verdict};
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{
    Call, Cancel, Code, Error, Event, Host, Instance, Outcome, Plugin, Subscription, Verification, abi, c_str,
};
use cloudsnooze_plugin_http::{Client, HeaderValue, Method, Reply, Request, Session, excerpt, header};
use cloudsnooze_plugin_words::Notice;
use config::Channel;
pub use config::Config;
use std::ffi::CStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Kept back from the time left, so that the report is written before the host gives up on the call.
const RESERVE: Duration = Duration::from_millis(50);
/// Pause when the provider asks for patience without saying how much. Slack's limit is about one message
/// a second.
const DEFAULT_PAUSE: Duration = Duration::from_secs(1);
/// Characters of the provider's reply that are shown.
const MAX_SAID_CHARS: usize = 200;

/// One instance: one webhook.
pub struct SlackNotifier {
    channel: Channel,
    client: Client,
    /// The event whose message the provider acknowledged last.
    acknowledged: Mutex<Option<String>>,
}

impl Plugin for SlackNotifier {
    const ID: &'static CStr = c"io.cloudsnooze.slack-notifier";
    const NAME: &'static CStr = c"slack-notifier";
    const VERSION: &'static CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static CStr = c"Tells people in Slack what is about to happen to the machine";
    const CAPS: u64 = abi::SNOOZE_CAP_UNDO | abi::SNOOZE_CAP_DRILL;
    type Config = Config;

    fn new(host: Host, config: Config, _: Instance) -> Result<Self, Error> {
        let settings = config.settings();
        let channel = Channel::new(config)?;
        let made = Client::new(host, &settings, &channel.webhook);
        let client = made.map_err(|error| Error::from(error).code(Code::Config))?;
        Ok(Self { channel, client, acknowledged: Mutex::new(None) })
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let budget = Duration::from_secs(10);
        vec![Subscription::on(&["cloud.*", "system.shutdown", "custom.*"]).priority(10).budget(budget)]
    }

    fn activate(&self) -> Result<(), Error> {
        self.client.keep_ready();
        Ok(())
    }

    fn on_event(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        let session = self.client.begin();
        if call.cancelled().is_some() {
            return Err(Error::new("cancelled").code(Code::Cancelled));
        }
        let started = Instant::now();
        let mut attempts = 0;
        loop {
            attempts += 1;
            // Made anew each time: it tells the time that is left.
            let notice = Notice::of(event);
            let reply = self.post(&session, &message::message(&notice, &self.channel), call)?;
            let said = excerpt(&reply.text(), MAX_SAID_CHARS, &self.channel.secrets());
            let report = |is_acknowledged: bool| {
                json!({
                    "action": "notify",
                    "evidence": {
                        "message": notice.headline(), "channel": self.channel.channel, "status": reply.status,
                        "reply": said, "acknowledged": is_acknowledged, "attempts": attempts,
                        "connection": session.connection(),
                        "duration_ms": u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
                    },
                    "durable": if is_acknowledged { "yes" } else { "unknown" },
                    "skipped": [],
                })
            };
            let verdict = verdict(reply.status, &reply.text());
            match verdict {
                Verdict::Acknowledged | Verdict::Accepted => {
                    let is_acknowledged = verdict == Verdict::Acknowledged;
                    *self.acknowledged() = is_acknowledged.then(|| event.id().to_owned());
                    return Ok(Outcome::handled(report(is_acknowledged)));
                }
                Verdict::RateLimited => {
                    self.wait_as_asked(&session, &reply, call).map_err(|e| e.with_result(report(false)))?;
                }
                Verdict::Retry => {
                    return Err(self.failed(&reply, &said, "").code(Code::Retry).with_result(report(false)));
                }
                Verdict::Refused(code, advice) => {
                    return Err(self.failed(&reply, &said, advice).code(code).with_result(report(false)));
                }
            }
        }
    }

    fn verify(&self, event: &Event<'_>, _: &Call<'_>) -> Result<Verification, Error> {
        // A webhook cannot be asked what it posted; the provider's word is all there is.
        let is_acknowledged = self.acknowledged().as_deref() == Some(event.id());
        Ok(if is_acknowledged {
            Verification::Verified(json!({ "acknowledged": true }))
        } else {
            Verification::Unknown
        })
    }

    fn on_cancel(&self, _: &Call<'_>, _: Cancel) {
        self.client.cancel();
    }

    fn deactivate(&self) {
        self.client.stop();
    }
}

impl SlackNotifier {
    fn post(&self, session: &Session<'_>, message: &Value, call: &Call<'_>) -> Result<Reply, Error> {
        let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"))];
        let body = message.to_string();
        let endpoint = &self.channel.webhook;
        let request = Request { method: Method::POST, endpoint, headers: &headers, body: body.as_bytes() };
        session.send(&request, left(call)).map_err(|failure| failure.into_error(format_args!("post to {endpoint}")))
    }

    /// Waits as long as the provider asks, if there is time for that and for another attempt.
    fn wait_as_asked(&self, session: &Session<'_>, reply: &Reply, call: &Call<'_>) -> Result<(), Error> {
        let pause = reply.retry_after().unwrap_or(DEFAULT_PAUSE).max(Duration::from_millis(100));
        if pause >= left(call) {
            let (webhook, seconds) = (&self.channel.webhook, pause.as_secs());
            return Err(Error::retry(format!("{webhook} asks to wait {seconds} s, longer than the time left")));
        }
        session.pause(pause, || call.cancelled().is_some()).map_err(|failure| failure.into_error("wait"))
    }

    fn failed(&self, reply: &Reply, said: &str, advice: &str) -> Error {
        let mut text = format!("{} answered {}", self.channel.webhook, reply.status);
        for part in [said, advice] {
            if !part.is_empty() {
                text = format!("{text}: {part}");
            }
        }
        Error::new(text)
    }

    fn acknowledged(&self) -> MutexGuard<'_, Option<String>> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Time that may still be spent.
fn left(call: &Call<'_>) -> Duration {
    call.left().saturating_sub(RESERVE)
}

cloudsnooze_plugin::export!(SlackNotifier; vendor: c"CloudSnooze", license: c"Apache-2.0", url: c"");
