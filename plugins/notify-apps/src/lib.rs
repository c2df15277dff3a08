//! Tells the applications that are registered with the daemon of an event, and waits until they are prepared.
//!
//! Responsibilities: the place of the applications in the order of handlers. Inputs: events. Outputs: what each application
//! answered, as evidence. The daemon keeps the applications; this asks it, over the applications' socket. Must never count
//! an application as ready that did not say so, or outlive the time of its call.

mod link;

use cloudsnooze_plugin::keeper::{Connector, Keeper};
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{
    Call, Cancel, Code, Error, Event, Host, Instance, Outcome, Plugin, Subscription, Verification, abi, c_str,
};
use link::{Link, Place};
use schemars::JsonSchema;
use serde::Deserialize;
use std::ffi::CStr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Kept back from the time left: the answer is read and told before the host gives up on the call.
const RESERVE: Duration = Duration::from_millis(100);
/// How much longer than the applications' time the daemon's answer may take.
const ANSWER_SLACK: Duration = Duration::from_millis(50);
/// Names that a sentence lists; the evidence has all.
const NAMES_MAX: usize = 5;

/// Configuration of the handler that tells applications.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The socket at which applications register. The daemon fills in its own.
    #[serde(default = "default_socket")]
    pub socket: PathBuf,
}

fn default_socket() -> PathBuf {
    "/run/cloudsnooze/apps.sock".into()
}

/// One instance.
pub struct NotifyApps {
    keeper: Keeper<Place>,
    /// The connection of the delivery in progress.
    active: Mutex<Option<UnixStream>>,
    /// What `verify` needs of the call it is asked about: the event, and what was answered.
    last: Mutex<Option<(String, Value)>>,
}

impl Plugin for NotifyApps {
    const ID: &'static CStr = c"io.cloudsnooze.notify-apps";
    const NAME: &'static CStr = c"notify-apps";
    const VERSION: &'static CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static CStr = c"Tells the registered applications, and waits until they are prepared";
    type Config = Config;

    fn new(host: Host, config: Config, _: Instance) -> Result<Self, Error> {
        let keeper = Keeper::new(host, "keep-apps", Place(config.socket));
        Ok(Self { keeper, active: Mutex::default(), last: Mutex::default() })
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription::on(&["*"]).priority(60).budget(Duration::from_secs(30))]
    }

    fn activate(&self) -> Result<(), Error> {
        self.keeper.start();
        Ok(())
    }

    fn on_event(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        if event.is_cancellation() {
            return Ok(Outcome::declined("whoever has the notice learns from the daemon itself that it is withdrawn"));
        }
        let left = left(call);
        if left.is_zero() {
            return Err(Error::new("no time is left to tell the applications").code(Code::Deadline));
        }
        let mut lease = self.keeper.lease();
        let (mut link, is_kept) = match lease.take() {
            Some(link) => (link, true),
            None => (self.keeper.connector().open()?, false),
        };
        let mut result = self.deliver(&mut link, event, call, left);
        let has_died = is_kept && result.as_ref().is_err_and(|error| error.kind() != Code::Deadline);
        if has_died && call.cancelled().is_none() {
            // Since it was checked. Whoever has the notice already is not asked twice.
            link = self.keeper.connector().open()?;
            result = self.deliver(&mut link, event, call, self::left(call));
        }
        let evidence = result?;
        lease.put(link);
        if let Some(reason) = call.cancelled() {
            let why = format!("cancelled ({reason:?}) before all applications had answered");
            return Err(Error::new(why).code(Code::Cancelled).with_result(evidence));
        }
        if evidence["told"] == 0 {
            return Ok(Outcome::declined("no application is registered for this event"));
        }
        *lock(&self.last) = Some((event.id().to_owned(), evidence.clone()));
        Ok(Outcome::handled(evidence))
    }

    fn verify(&self, event: &Event<'_>, _: &Call<'_>) -> Result<Verification, Error> {
        match &*lock(&self.last) {
            Some((id, evidence)) if id == event.id() => match evidence["all_ready"].as_bool() {
                Some(true) => Ok(Verification::Verified(json!({ "confirmed_by": "applications" }))),
                _ => Err(Error::new(not_ready(evidence))),
            },
            // Another process made the call, before a restart say.
            _ => Ok(Verification::Unknown),
        }
    }

    fn on_cancel(&self, _: &Call<'_>, _: Cancel) {
        if let Some(stream) = &*lock(&self.active) {
            link::stop(stream);
        }
    }

    fn deactivate(&self) {
        self.keeper.stop();
    }
}

impl NotifyApps {
    /// Has the applications told, and gives what they answered.
    fn deliver(&self, link: &mut Link, event: &Event<'_>, call: &Call<'_>, left: Duration) -> Result<Value, Error> {
        let notice = json!({
            "id": event.id(), "type": event.event_type(), "action": event.action(),
            "severity": event.field(abi::SNOOZE_FIELD_SEVERITY).unwrap_or_default(),
            "simulated": event.is_simulated(), "deadline": event.deadline(),
        });
        let stopper = link.stopper();
        *lock(&self.active) = stopper;
        // Its cancellation may have come before there was something to stop.
        if call.cancelled().is_some() {
            *lock(&self.active) = None;
            return Err(Error::new("cancelled before the applications were told").code(Code::Cancelled));
        }
        let asked = json!({ "notice": notice, "seconds": left.as_secs_f64() });
        let answer = link.ask("deliver", &asked, left + ANSWER_SLACK);
        *lock(&self.active) = None;
        match answer? {
            (kind, evidence) if kind == "delivered" => Ok(evidence),
            (_, error) => {
                let text = error["message"].as_str().unwrap_or("something that is not understood");
                Err(Error::new(format!("the daemon answered: {text}")).code(Code::State))
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Time that the applications may have.
fn left(call: &Call<'_>) -> Duration {
    call.left().saturating_sub(RESERVE)
}

/// Who is not ready, in a sentence.
fn not_ready(evidence: &Value) -> String {
    let rows = evidence["applications"].as_array().map(Vec::as_slice).unwrap_or_default();
    let bad = rows.iter().filter(|row| row["answer"] != "ready");
    let mut named: Vec<String> = bad
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            format!("{} (process {}): {}", text("name"), row["pid"], text("answer"))
        })
        .collect();
    let more = named.len().saturating_sub(NAMES_MAX);
    named.truncate(NAMES_MAX);
    if more > 0 {
        named.push(format!("and {more} more"));
    }
    format!("{} of {} applications are ready; {}", evidence["ready"], evidence["told"], named.join(", "))
}

cloudsnooze_plugin::export!(NotifyApps; vendor: c"CloudSnooze", license: c"Apache-2.0", url: c"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_ready_is_named_and_how_many_more_there_are() {
        let row = |name: &str, answer: &str| json!({"name": name, "pid": 7, "answer": answer});
        let evidence =
            json!({"told": 3, "ready": 1, "applications": [row("a", "silent"), row("b", "gone"), row("c", "ready")]});
        assert_eq!(not_ready(&evidence), "1 of 3 applications are ready; a (process 7): silent, b (process 7): gone");
        let many: Vec<Value> = (0..7).map(|_| row("x", "failed")).collect();
        let text = not_ready(&json!({"told": 7, "ready": 0, "applications": many}));
        assert!(text.ends_with("x (process 7): failed, and 2 more"), "{text}");
    }
}
