//! Foresight: has the risk of an interruption estimated now and then, and tells when it is high.
//!
//! Inputs: the settings, what was told before a restart, the estimates of `snooze insight risk`, a process of its own that reads the
//! history. Outputs: `insight.preemption.risk` and its withdrawal, published as any normal thread publishes. Must never compute
//! anything of that here, nor hold anything up: no estimate is no event.

use super::daemon::Shared;
use super::seen::Seen;
use crate::config::Insight;
use crate::control::operator;
use crate::event::{Action, Event, EventId, EventType, Machine, Moment, NoticeKind, Severity};
use crate::sys::clock;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// Source of these events.
pub(super) const SOURCE: &str = "insight";
/// Room for waiting for a process; all of it is locked as it is touched.
const STACK_BYTES: usize = 128 << 10;
/// Pause after the start: the machine has better things to do then.
const FIRST: Duration = Duration::from_secs(30);
/// Share of the threshold below which the risk is withdrawn: between the two it stays what it is.
const WITHDRAWN_BELOW: f64 = 2.0 / 3.0;

/// What `snooze insight risk --json` prints, as far as it is looked at; all of it goes into the event.
#[derive(Debug, Deserialize)]
struct Estimate {
    probability: f64,
    #[serde(default)]
    machine: Named,
    #[serde(default)]
    provider: String,
}

/// The machine as events name it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    #[serde(rename = "instanceID")]
    instance_id: String,
    #[serde(rename = "instanceType")]
    instance_type: String,
    zone: String,
    region: String,
}

/// What an estimate calls for.
#[derive(Debug, PartialEq)]
enum Call {
    Nothing,
    Tell,
    Withdraw,
}

fn judge(settings: &Insight, is_told: bool, probability: f64) -> Call {
    match is_told {
        false if probability >= settings.risk_threshold => Call::Tell,
        true if probability < settings.risk_threshold * WITHDRAWN_BELOW => Call::Withdraw,
        _ => Call::Nothing,
    }
}

/// The event that says so.
fn risk(settings: &Insight, estimate: Estimate, mut data: Map<String, Value>, now: Moment) -> Event {
    let Named { instance_id, instance_type, zone, region } = estimate.machine;
    // What the event has of its own is not said twice.
    ["machine", "provider"].iter().for_each(|key| drop(data.remove(*key)));
    data.insert("riskThreshold".into(), settings.risk_threshold.into());
    Event {
        id: EventId::at(now.wall_ns),
        event_type: EventType::PREEMPTION_RISK,
        source: SOURCE.into(),
        severity: Severity::Warning,
        detected: now,
        effective: None,
        simulated: false,
        drill: false,
        provider: estimate.provider.into(),
        action: Action::None,
        notice_kind: NoticeKind::Advisory,
        machine: Arc::new(Machine { instance_id, instance_type, zone, region }),
        resources: Vec::new(),
        cancels: None,
        raw: None,
        extra: data,
    }
}

/// The risk that was told last and not withdrawn since, before a restart.
pub(super) fn told_before(seen: &[Seen]) -> Option<Event> {
    let ours = seen.iter().filter(|(event, _)| event.source == SOURCE);
    let (last, is_withdrawn) = ours.max_by_key(|(event, _)| event.detected.wall_ns)?;
    (!is_withdrawn && last.cancels.is_none()).then(|| last.clone())
}

/// Whether the configuration wants estimates: by its word, or because a handler takes the event.
fn is_wanted(shared: &Shared) -> bool {
    let enabled = shared.loaded.load().config.insight.enabled;
    enabled.unwrap_or_else(|| !shared.plans.load().of(&EventType::PREEMPTION_RISK).is_empty())
}

/// Estimates, judges and tells until the daemon leaves.
/// `told` is the risk that was told before a restart.
pub(super) async fn watch(shared: Arc<Shared>, mut told: Option<Event>) {
    let mut trouble = None;
    let mut pause = FIRST;
    loop {
        let settings = shared.loaded.load().config.insight.clone();
        tokio::time::sleep(pause.min(Duration::from_secs_f64(settings.interval_seconds))).await;
        pause = Duration::MAX;
        if !is_wanted(&shared) {
            continue;
        }
        let settings = shared.loaded.load().config.insight.clone();
        match estimate(&shared, &settings).await {
            Ok((estimate, data)) => {
                trouble = None;
                let now = clock::now();
                match judge(&settings, told.is_some(), estimate.probability) {
                    Call::Nothing => {}
                    Call::Tell => {
                        let event = risk(&settings, estimate, data, now);
                        told = Some(event.clone());
                        shared.publish(event);
                    }
                    Call::Withdraw => {
                        if let Some(event) = told.take() {
                            shared.publish(operator::withdrawal(&event, now));
                        }
                    }
                }
            }
            Err(error) => {
                // Said once, however often it comes.
                if trouble.as_ref() != Some(&error) {
                    tracing::warn!(error, "the risk of an interruption cannot be estimated");
                    trouble = Some(error);
                }
            }
        }
    }
}

/// Asks a process of its own, which ends itself when it takes too long (`--in-background`). A thread waits for it: whoever leaves
/// does not.
async fn estimate(shared: &Shared, settings: &Insight) -> Result<(Estimate, Map<String, Value>), String> {
    let program = program()?;
    let state = shared.loaded.load().config.state_directory.clone();
    let mut command = Command::new(&program);
    command.args(["insight", "risk", "--json", "--in-background", "--store"]).arg(state.join("history.sqlite"));
    command.arg("--hours").arg(settings.horizon_hours.to_string()).stdin(Stdio::null());
    let this_machine = shared.machine().instance_id;
    if !this_machine.is_empty() {
        // In a history that others were merged into, another machine may have been seen last.
        command.arg(format!("--instance={this_machine}"));
    }
    let (answer, answered) = oneshot::channel();
    let thread = thread::Builder::new().name("snooze-risk".into()).stack_size(STACK_BYTES);
    let waiting = thread.spawn(move || answer.send(command.output()));
    waiting.map_err(|error| format!("the thread snooze-risk: {error}"))?;
    let output = answered.await.map_err(|_| "the thread snooze-risk ended without an answer".to_owned())?;
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {}: {}", program.display(), output.status, said.trim()));
    }
    read(&output.stdout).map_err(|error| format!("{} insight risk: {error}", program.display()))
}

/// Reads what the process printed.
fn read(text: &[u8]) -> Result<(Estimate, Map<String, Value>), String> {
    let data: Map<String, Value> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let estimate: Estimate = serde_json::from_value(Value::Object(data.clone())).map_err(|error| error.to_string())?;
    if (0.0..=1.0).contains(&estimate.probability) {
        Ok((estimate, data))
    } else {
        Err(format!("probability: {}, expected 0 to 1", estimate.probability))
    }
}

/// The command line, installed beside the daemon or where packages put it.
fn program() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("where the daemon is: {error}"))?;
    let beside = own.with_file_name("snooze");
    let in_bin = own.parent().and_then(|sbin| sbin.parent()).map(|prefix| prefix.join("bin/snooze"));
    let places = [Some(beside), in_bin, Some("/usr/bin/snooze".into())];
    let place = places.into_iter().flatten().find(|place| place.is_file());
    place.ok_or_else(|| "the command snooze, which estimates it, is not installed beside the daemon".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings() -> Insight {
        Insight { risk_threshold: 0.3, ..Insight::default() }
    }

    #[test]
    fn a_risk_is_told_once_and_withdrawn_only_when_it_is_clearly_lower() {
        let settings = settings();
        assert_eq!(judge(&settings, false, 0.29), Call::Nothing);
        assert_eq!(judge(&settings, false, 0.3), Call::Tell);
        assert_eq!(judge(&settings, true, 0.9), Call::Nothing);
        assert_eq!(judge(&settings, true, 0.21), Call::Nothing);
        assert_eq!(judge(&settings, true, 0.19), Call::Withdraw);
    }

    #[test]
    fn the_event_says_what_the_estimate_said_and_from_where_it_is_told() {
        let text = json!({
            "probability": 0.4, "low": 0.3, "high": 0.5, "horizonHours": 1.0, "provider": "aws",
            "machine": { "instanceID": "i-1", "instanceType": "m5.large", "zone": "eu-west-1a", "region": "eu-west-1" },
        });
        let (estimate, data) = read(text.to_string().as_bytes()).unwrap();
        let event = risk(&settings(), estimate, data, clock::now());
        assert_eq!(event.event_type.as_str(), "insight.preemption.risk");
        assert_eq!((&*event.provider, &*event.machine.instance_id), ("aws", "i-1"));
        assert_eq!(event.extra["probability"], 0.4);
        assert_eq!(event.extra["riskThreshold"], 0.3);
        assert!(!event.extra.contains_key("machine"), "{:?}", event.extra);
    }

    #[test]
    fn what_is_no_probability_is_refused() {
        for text in ["", "[]", r#"{"probability":"high"}"#, r#"{"probability":1.5}"#, r#"{"low":0.1}"#] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_risk_that_was_told_before_a_restart_is_not_told_again() {
        let (estimate, data) = read(br#"{"probability":0.4}"#).unwrap();
        let event = risk(&settings(), estimate, data, clock::now());
        assert_eq!(told_before(&[(event.clone(), false)]).map(|told| told.id), Some(event.id));
        assert!(told_before(&[(event.clone(), true)]).is_none());
        let withdrawal = operator::withdrawal(&event, clock::now().plus_ns(1_000));
        assert!(told_before(&[(event, false), (withdrawal, false)]).is_none());
        assert!(told_before(&[]).is_none());
    }
}
