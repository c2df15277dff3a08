//! The action, or its fallback.
//!
//! Inputs: the configuration, what the login manager says is possible. Outputs: what to do, and why not something else. Must
//! never choose what the login manager does not allow.

use crate::config::{Action, Config};
use cloudsnooze_plugin::serde_json::{Map, Value, json};
use cloudsnooze_plugin_dbus::Fault;
use std::time::Duration;

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Choice {
    pub(crate) action: Action,
    /// What was asked, and the answers: `{"CanHibernate": "na"}`.
    pub(crate) can: Map<String, Value>,
    /// Why the configured one is not it.
    pub(crate) skipped: Option<String>,
}

/// Chooses. `ask` says what the login manager answers for an action.
///
/// # Errors
/// The time was over, or neither is possible: a sentence's worth of why.
pub(crate) fn choose(
    config: &Config,
    mut ask: impl FnMut(Action) -> Result<Option<String>, Fault>,
) -> Result<Choice, (Fault, Map<String, Value>)> {
    let mut can = Map::new();
    let mut reasons: Vec<String> = Vec::new();
    for action in [config.action, config.fallback] {
        let reason = match ask(action) {
            Err(fault @ (Fault::Late | Fault::Cancelled)) => return Err((fault, can)),
            Err(fault) => fault.to_string(),
            Ok(None) => {
                let skipped = (!reasons.is_empty()).then(|| reasons.join("; "));
                return Ok(Choice { action, can, skipped });
            }
            Ok(Some(answer)) => {
                can.insert(action.name().to_owned(), json!(answer));
                match answer.as_str() {
                    "yes" => {
                        let skipped = (!reasons.is_empty()).then(|| reasons.join("; "));
                        return Ok(Choice { action, can, skipped });
                    }
                    "na" => "this machine cannot".to_owned(),
                    "no" => "this daemon may not".to_owned(),
                    "challenge" => "this daemon may only with a password, which nobody is there to give".to_owned(),
                    other => format!("the login manager says {other:?}"),
                }
            }
        };
        let reason = format!("{}: {reason}", action.name());
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    Err((Fault::Broken(reasons.join("; ")), can))
}

/// How long to wait before the end: as configured, unless the cloud is faster.
pub(crate) fn delay(configured: Duration, cloud_acts_in: Option<f64>) -> Duration {
    let until = cloud_acts_in.and_then(|seconds| Duration::try_from_secs_f64((seconds - 1.0).max(0.0)).ok());
    until.map_or(configured, |until| configured.min(until))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(action: Action, fallback: Action) -> Config {
        serde_json::from_value(json!({"action": action.name(), "fallback": fallback.name()})).unwrap()
    }

    fn answers(action: Action) -> Result<Option<String>, Fault> {
        match action {
            Action::None | Action::Sync => Ok(None),
            Action::Hibernate => Ok(Some("na".to_owned())),
            Action::Halt => Ok(Some("challenge".to_owned())),
            _ => Ok(Some("yes".to_owned())),
        }
    }

    #[test]
    fn what_is_not_possible_gives_way_to_the_fallback_with_its_reason() {
        let choice = choose(&config(Action::Hibernate, Action::Poweroff), answers).unwrap();
        assert_eq!(choice.action, Action::Poweroff);
        assert_eq!(choice.skipped.as_deref(), Some("hibernate: this machine cannot"));
        assert_eq!(json!(choice.can), json!({"hibernate": "na", "poweroff": "yes"}));
        let choice = choose(&config(Action::Reboot, Action::Poweroff), answers).unwrap();
        assert_eq!((choice.action, choice.skipped), (Action::Reboot, None));
        let choice = choose(&config(Action::Halt, Action::Sync), answers).unwrap();
        assert_eq!(choice.action, Action::Sync);
        assert!(choice.skipped.unwrap().contains("with a password"));
    }

    #[test]
    fn when_neither_is_possible_both_reasons_are_told() {
        let (fault, _) = choose(&config(Action::Hibernate, Action::Halt), answers).unwrap_err();
        assert!(fault.to_string().starts_with("hibernate: this machine cannot; halt: this daemon may only"), "{fault}");
        let gone = |_| Err(Fault::Unreachable("no such file".to_owned()));
        let (fault, _) = choose(&config(Action::Poweroff, Action::Poweroff), gone).unwrap_err();
        assert_eq!(fault.to_string(), "poweroff: cannot reach the system bus: no such file");
        let late = choose(&config(Action::Poweroff, Action::Sync), |_| Err(Fault::Late));
        assert_eq!(late.unwrap_err().0, Fault::Late, "no time is no reason to do something else");
    }

    #[test]
    fn the_delay_ends_before_the_cloud_acts() {
        let two = Duration::from_secs(2);
        assert_eq!(delay(two, None), two);
        assert_eq!(delay(two, Some(100.0)), two);
        assert_eq!(delay(two, Some(1.5)), Duration::from_millis(500));
        assert_eq!(delay(two, Some(0.0)), Duration::ZERO);
        assert_eq!(delay(two, Some(f64::NAN)), Duration::ZERO);
    }
}
