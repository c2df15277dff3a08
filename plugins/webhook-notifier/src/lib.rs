//! Tells HTTP endpoints of events: as CloudEvents 1.0 or in words of the operator's, signed where there are keys.
//!
//! Responsibilities: one message an event and endpoint, all endpoints at the same time, sent again under the same id while
//! that makes sense. Inputs: an event, the configuration. Outputs: a handled call with what each endpoint answered, or the
//! failure with what to do about it. Must never show an address, a header's value or a key, send an event again to an
//! endpoint that took it, or outlive the time of its call.

mod answer;
mod body;
mod config;
mod confirm;
mod send;
mod sign;

use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{
    Call, Cancel, Code, Error, Event, Host, Instance, Outcome, Plugin, Subscription, Verification, abi, c_str,
};
use cloudsnooze_plugin_http::Client;
use cloudsnooze_plugin_words::{Notice, context};
use config::Target;
pub use config::{Config, EndpointConfig, HttpMethod, Mode, Require};
use send::{Job, Sending};
use std::collections::VecDeque;
use std::ffi::CStr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Kept back from the time left, so that the report is written before the host gives up on the call.
const RESERVE: Duration = Duration::from_millis(50);
/// How often a call that waits for its threads looks whether it was cancelled.
const CANCEL_CHECK_INTERVAL: Duration = Duration::from_millis(25);
/// Events of which it is remembered who took them; attempts at one event come close together.
const MAX_REMEMBERED: usize = 32;

/// One instance: some endpoints.
pub struct WebhookNotifier {
    endpoints: Vec<(Target, Client)>,
    require: Require,
    taken: Mutex<VecDeque<Taken>>,
}

/// Who took an event.
struct Taken {
    event_id: String,
    /// For each endpoint that did: the id it gave.
    by: Vec<Option<Receipt>>,
}

/// An endpoint took an event.
#[derive(Clone)]
struct Receipt {
    id: Option<String>,
    evidence: Value,
}

impl Plugin for WebhookNotifier {
    const ID: &'static CStr = c"io.cloudsnooze.webhook-notifier";
    const NAME: &'static CStr = c"webhook-notifier";
    const VERSION: &'static CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static CStr =
        c"Tells HTTP endpoints of events, as signed CloudEvents or in words of their own";
    const CAPS: u64 = abi::SNOOZE_CAP_UNDO | abi::SNOOZE_CAP_DRILL;
    type Config = Config;

    fn new(host: Host, config: Config, _: Instance) -> Result<Self, Error> {
        let require = config.require;
        let with_client = |(index, target): (usize, Target)| -> Result<(Target, Client), Error> {
            let client = Client::new(host, &target.settings, &target.endpoint)
                .map_err(|error| Error::from(error).context(format_args!("endpoints[{index}]")).code(Code::Config))?;
            Ok((target, client))
        };
        let endpoints = config.targets()?.into_iter().enumerate().map(with_client).collect::<Result<_, Error>>()?;
        Ok(Self { endpoints, require, taken: Mutex::default() })
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let budget = Duration::from_secs(10);
        vec![Subscription::on(&["cloud.*", "system.shutdown", "custom.*"]).priority(10).budget(budget)]
    }

    fn activate(&self) -> Result<(), Error> {
        // At the same time: each may take two seconds.
        thread::scope(|scope| {
            for (_, client) in &self.endpoints {
                let spawned = thread::Builder::new().spawn_scoped(scope, move || client.keep_ready());
                if spawned.is_err() {
                    client.keep_ready();
                }
            }
        });
        Ok(())
    }

    fn on_event(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        let started = Instant::now();
        let until = started + call.left().saturating_sub(RESERVE);
        let mut receipts = self.receipts(event.id());
        let context = context(event, &Notice::of(event));
        let mut jobs = Vec::new();
        for (index, (target, client)) in self.endpoints.iter().enumerate() {
            if !matches!(receipts.get(index), Some(Some(_))) {
                let message = target.body.message(event.json(), &context)?;
                jobs.push((index, Job { target, client, message, event_id: event.id() }));
            }
        }
        let sendings = self.send(&jobs, call, until);
        let (mut evidence, mut failures) = (Vec::new(), Vec::new());
        for (index, sending) in sendings {
            match sending.outcome {
                Ok(()) => {
                    if let Some(place) = receipts.get_mut(index) {
                        *place = Some(Receipt { id: sending.id, evidence: sending.evidence });
                    }
                }
                Err(error) => {
                    evidence.push((index, sending.evidence));
                    failures.push(error);
                }
            }
        }
        self.remember(event.id(), &receipts);
        let taken = receipts.iter().flatten().count();
        let kept = receipts.iter().flatten().filter(|receipt| receipt.id.is_some()).count();
        evidence.extend(receipts.iter().enumerate().filter_map(|(i, r)| Some((i, r.as_ref()?.evidence.clone()))));
        evidence.sort_by_key(|(index, _)| *index);
        let report = json!({
            "action": "notify",
            "evidence": {
                "event_id": event.id(), "taken": taken, "of": self.endpoints.len(),
                "endpoints": evidence.into_iter().map(|(_, value)| value).collect::<Vec<_>>(),
                "duration_ms": u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            },
            "durable": if self.is_enough(kept) { "yes" } else { "unknown" },
        });
        if self.is_enough(taken) {
            return Ok(Outcome::handled(report));
        }
        Err(all_of(failures).with_result(report))
    }

    fn verify(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Verification, Error> {
        let until = Instant::now() + call.left().saturating_sub(RESERVE);
        let is_cancelled = || call.cancelled().is_some();
        let receipts = self.receipts(event.id());
        let (mut confirmed, mut failures) = (Vec::new(), Vec::new());
        for (index, (target, client)) in self.endpoints.iter().enumerate() {
            let receipt = receipts.get(index).and_then(Option::as_ref);
            let id = receipt.and_then(|receipt| receipt.id.as_deref());
            match confirm::confirm(target, client, event.id(), id, until, &is_cancelled) {
                Ok(Verification::Verified(evidence)) => confirmed.push(evidence),
                Ok(Verification::Unknown) => {}
                Err(error) => failures.push(error),
            }
        }
        if self.is_enough(confirmed.len()) {
            return Ok(Verification::Verified(json!({ "endpoints": confirmed })));
        }
        let is_lost = match self.require {
            Require::All => !failures.is_empty(),
            Require::Any => failures.len() == self.endpoints.len(),
        };
        if is_lost { Err(all_of(failures)) } else { Ok(Verification::Unknown) }
    }

    fn on_cancel(&self, _: &Call<'_>, _: Cancel) {
        self.cancel();
    }

    fn deactivate(&self) {
        for (_, client) in &self.endpoints {
            client.stop();
        }
    }
}

impl WebhookNotifier {
    /// Runs all jobs at the same time: one on the calling thread, several on a thread each.
    fn send<'j>(&self, jobs: &'j [(usize, Job<'j>)], call: &Call<'_>, until: Instant) -> Vec<(usize, Sending)> {
        let is_cancelled = || call.cancelled().is_some();
        if let [(index, job)] = jobs {
            return vec![(*index, job.run(until, &is_cancelled))];
        }
        thread::scope(|scope| {
            let (done, results) = mpsc::channel();
            let mut left_over = Vec::new();
            for (index, job) in jobs {
                let done = done.clone();
                let run = move || {
                    // Nobody waits any more only when the call panicked.
                    let _told = done.send((*index, job.run(until, &|| false)));
                };
                if thread::Builder::new().name("webhook-send".to_owned()).spawn_scoped(scope, run).is_err() {
                    left_over.push((*index, job));
                }
            }
            drop(done);
            let run_here = |(index, job): (usize, &Job<'_>)| (index, job.run(until, &is_cancelled));
            let mut sendings: Vec<_> = left_over.into_iter().map(run_here).collect();
            loop {
                match results.recv_timeout(CANCEL_CHECK_INTERVAL) {
                    Ok(sending) => sendings.push(sending),
                    // Again and again: a thread that begins only now has forgotten the cancel before.
                    Err(RecvTimeoutError::Timeout) if is_cancelled() => self.cancel(),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return sendings,
                }
            }
        })
    }

    fn cancel(&self) {
        for (_, client) in &self.endpoints {
            client.cancel();
        }
    }

    fn is_enough(&self, count: usize) -> bool {
        match self.require {
            Require::All => count == self.endpoints.len(),
            Require::Any => count > 0,
        }
    }

    /// Who took the event, for each endpoint.
    fn receipts(&self, event_id: &str) -> Vec<Option<Receipt>> {
        let known = self.taken().iter().find(|taken| taken.event_id == event_id).map(|taken| taken.by.clone());
        known.unwrap_or_else(|| vec![None; self.endpoints.len()])
    }

    fn remember(&self, event_id: &str, by: &[Option<Receipt>]) {
        let mut taken = self.taken();
        taken.retain(|taken| taken.event_id != event_id);
        while taken.len() >= MAX_REMEMBERED {
            taken.pop_front();
        }
        taken.push_back(Taken { event_id: event_id.to_owned(), by: by.to_vec() });
    }

    fn taken(&self) -> MutexGuard<'_, VecDeque<Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All failures as one: its code is that of the failure which leaves most hope.
fn all_of(failures: Vec<Error>) -> Error {
    let hopeful = [Code::Cancelled, Code::Retry, Code::Deadline];
    let code = hopeful.into_iter().find(|code| failures.iter().any(|failure| failure.kind() == *code));
    let code = code.or_else(|| failures.first().map(Error::kind)).unwrap_or(Code::Internal);
    let texts: Vec<&str> = failures.iter().map(Error::message).collect();
    Error::new(texts.join("; ")).code(code)
}

cloudsnooze_plugin::export!(WebhookNotifier; vendor: c"CloudSnooze", license: c"Apache-2.0", url: c"");
