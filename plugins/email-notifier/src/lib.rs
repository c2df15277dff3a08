//! Tells people by e-mail, over SMTP, what is about to happen to the machine.
//!
//! Responsibilities: one message an event, in plain text and HTML, over a connection that is ready before; tried again while
//! the server asks for patience, always as the same message. Inputs: an event, the configuration. Outputs: a handled call with
//! the server's word for each recipient, or the failure with what to do about it. Must never show the password, call mail
//! delivered that waits on this machine, or outlive the time of its call.

mod config;
mod deliver;
mod dialog;
mod fault;
mod message;
mod server;

use cloudsnooze_plugin::keeper::Keeper;
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{
    Call, Cancel, Code, Error, Event, Host, Instance, Outcome, Plugin, Subscription, Verification, abi, c_str,
};
use cloudsnooze_plugin_words::{Notice, context};
use config::Checked;
pub use config::{Config, Security};
use deliver::{Mailing, Progress, deliver};
use dialog::Patience;
use lettre::address::Address;
use message::Letters;
use server::Server;
use std::collections::VecDeque;
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Kept back from the time left, so that the report is written before the host gives up on the call.
const RESERVE: Duration = Duration::from_millis(50);
/// Events of which it is remembered who has the message; attempts at one event come close together.
const MAX_REMEMBERED: usize = 32;

/// One instance: one server, some recipients.
pub struct EmailNotifier {
    keeper: Keeper<Server>,
    letters: Letters,
    attempts: u32,
    /// The call that is on was cancelled.
    is_cancelled: AtomicBool,
    sent: Mutex<VecDeque<Sent>>,
}

/// Who has the message of an event.
#[derive(Clone, Default)]
struct Sent {
    event_id: String,
    accepted: Vec<Address>,
    /// Some of it was taken by a server on this machine, which may go away with it.
    is_local: bool,
    reply: String,
}

impl Plugin for EmailNotifier {
    const ID: &'static CStr = c"io.cloudsnooze.email-notifier";
    const NAME: &'static CStr = c"email-notifier";
    const VERSION: &'static CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static CStr = c"Tells people by e-mail what is about to happen to the machine";
    const CAPS: u64 = abi::SNOOZE_CAP_UNDO | abi::SNOOZE_CAP_DRILL;
    type Config = Config;

    fn new(host: Host, config: Config, _: Instance) -> Result<Self, Error> {
        let Checked { server, letters, attempts } = Checked::new(&config)?;
        let keeper = Keeper::new(host, "keep-smtp", server);
        Ok(Self { keeper, letters, attempts, is_cancelled: AtomicBool::new(false), sent: Mutex::default() })
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let budget = Duration::from_secs(20);
        vec![Subscription::on(&["cloud.*", "system.shutdown", "custom.*"]).priority(10).budget(budget)]
    }

    fn activate(&self) -> Result<(), Error> {
        self.keeper.connector().set_stopping(false);
        self.keeper.start();
        Ok(())
    }

    fn on_event(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        let started = Instant::now();
        self.is_cancelled.store(false, Ordering::Release);
        // After that: a cancel that came before has set the call's own flag too.
        let is_cancelled = || self.is_cancelled.load(Ordering::Acquire) || call.cancelled().is_some();
        if is_cancelled() {
            return Err(Error::new("cancelled").code(Code::Cancelled));
        }
        let until = started + call.left().saturating_sub(RESERVE);
        let context = context(event, &Notice::of(event));
        let letter = self.letters.letter(&context, event.id(), &call.idempotency_key())?;
        let mut sent = self.sent_of(event.id());
        let everybody = self.letters.to.iter().map(|to| &to.email);
        let waiting = everybody.filter(|to| !sent.accepted.contains(*to)).cloned().collect();
        let mut progress = Progress { waiting, ..Progress::default() };
        let mailing = Mailing { from: &self.letters.from.email, bytes: &letter.bytes, attempts: self.attempts };
        let result = if progress.waiting.is_empty() {
            // An earlier attempt had told everybody, and its answer was lost on the way to the host.
            Ok(())
        } else {
            deliver(&self.keeper, &mailing, &mut progress, Patience { until, is_cancelled: &is_cancelled })
        };
        sent.accepted.extend(progress.accepted.iter().cloned());
        sent.is_local |= progress.is_local;
        if let Some(reply) = &progress.reply {
            sent.reply = fault::words(reply);
        }
        let is_complete = self.is_complete(&sent);
        let mut evidence = progress.evidence();
        if let Some(members) = evidence.as_object_mut() {
            members.insert("server".to_owned(), json!(self.keeper.connector().address()));
            members.insert("message_id".to_owned(), json!(letter.message_id));
            members.insert("subject".to_owned(), json!(letter.subject));
            members.insert("bytes".to_owned(), json!(letter.bytes.len()));
            members.insert("reply".to_owned(), json!(sent.reply));
            let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            members.insert("duration_ms".to_owned(), json!(ms));
        }
        let durable = if is_complete && !sent.is_local { "yes" } else { "unknown" };
        let report = self.scrubbed(&json!({ "action": "notify", "evidence": evidence, "durable": durable }));
        self.remember(sent);
        match result {
            Ok(()) => Ok(Outcome::handled(report)),
            Err(fault) => Err(self.keeper.connector().error(fault).with_result(report)),
        }
    }

    fn verify(&self, event: &Event<'_>, _: &Call<'_>) -> Result<Verification, Error> {
        // A mail server cannot be asked what it has; its word is all there is. A yes after the last byte makes it responsible
        // (RFC 5321 4.2.5), which is worth nothing where its queue goes away with the machine.
        let sent = self.sent_of(event.id());
        Ok(if self.is_complete(&sent) && !sent.is_local {
            let server = self.keeper.connector();
            Verification::Verified(json!({ "accepted": sent.accepted.len(), "reply": server.shown(&sent.reply) }))
        } else {
            Verification::Unknown
        })
    }

    fn on_cancel(&self, _: &Call<'_>, _: Cancel) {
        self.is_cancelled.store(true, Ordering::Release);
    }

    fn deactivate(&self) {
        self.keeper.connector().set_stopping(true);
        self.keeper.stop();
    }
}

impl EmailNotifier {
    /// Who has the message of this event.
    fn sent_of(&self, event_id: &str) -> Sent {
        let known = self.sent().iter().find(|sent| sent.event_id == event_id).cloned();
        known.unwrap_or_else(|| Sent { event_id: event_id.to_owned(), ..Sent::default() })
    }

    fn remember(&self, sent: Sent) {
        let mut all = self.sent();
        all.retain(|other| other.event_id != sent.event_id);
        while all.len() >= MAX_REMEMBERED {
            all.pop_front();
        }
        all.push_back(sent);
    }

    fn sent(&self) -> MutexGuard<'_, VecDeque<Sent>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_complete(&self, sent: &Sent) -> bool {
        self.letters.to.iter().all(|to| sent.accepted.contains(&to.email))
    }

    /// A report in which the server may have repeated the password, without it.
    fn scrubbed(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => json!(self.keeper.connector().shown(text)),
            Value::Array(items) => items.iter().map(|item| self.scrubbed(item)).collect(),
            Value::Object(members) => {
                Value::Object(members.iter().map(|(key, value)| (key.clone(), self.scrubbed(value))).collect())
            }
            other => other.clone(),
        }
    }
}

cloudsnooze_plugin::export!(EmailNotifier; vendor: c"CloudSnooze", license: c"Apache-2.0", url: c"");
