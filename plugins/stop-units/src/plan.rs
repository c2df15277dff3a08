//! The configuration, checked, and how time is divided.
//!
//! Inputs: a [`Config`]. Outputs: [`Plan`]; a group's share of what is left. Must never accept a name that systemd could not
//! know: the event would be the first to say so.

use crate::config::{Config, Item, Order};
use cloudsnooze_plugin::{Code, Error};
use std::collections::BTreeSet;
use std::time::Duration;

/// What names of units may end with.
const TYPES: [&str; 11] =
    ["service", "socket", "target", "timer", "path", "mount", "automount", "swap", "slice", "scope", "device"];
/// Bytes a name may have.
const NAME_BYTES: usize = 255;
/// What a group behind the current one is left with, at least, while there is that much.
const MINIMUM: Duration = Duration::from_secs(2);
/// From SIGKILL to the end of a group's time, at most.
const KILL_TAKES: Duration = Duration::from_secs(1);

/// A configuration that is known to make sense.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Names and patterns, by group.
    pub(crate) groups: Vec<Vec<String>>,
    pub(crate) order: Order,
    pub(crate) kill_after: Option<Duration>,
}

impl Plan {
    /// Checks what the schema cannot.
    ///
    /// # Errors
    /// What is wrong, by key.
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        let refuse = |text: String| Error::new(text).code(Code::Config);
        let mut groups = Vec::new();
        let mut known = BTreeSet::new();
        for (at, item) in config.units.into_iter().enumerate() {
            let group = match item {
                Item::One(name) => vec![name],
                Item::Together(names) => names,
            };
            if group.is_empty() {
                return Err(refuse(format!("units[{at}] is an empty list")));
            }
            for name in &group {
                check(name).map_err(|text| refuse(format!("units[{at}]: {name:?} {text}")))?;
                if !known.insert(name.clone()) {
                    return Err(refuse(format!("units[{at}]: {name} is there twice")));
                }
            }
            groups.push(group);
        }
        if groups.is_empty() {
            return Err(refuse("units is empty".to_owned()));
        }
        Ok(Self { groups, order: config.order, kill_after: config.kill_after_ms.map(Duration::from_millis) })
    }

    /// All names that are no patterns.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.groups.iter().flatten().map(String::as_str).filter(|name| !is_pattern(name)).collect()
    }
}

/// Whether it stands for several.
pub(crate) fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

fn check(name: &str) -> Result<(), String> {
    let Some((stem, kind)) = name.rsplit_once('.') else {
        return Err(format!("does not say of which type the unit is, as in \"{name}.service\""));
    };
    let is_known = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c) || "*?[]!".contains(c);
    if stem.is_empty() || name.len() > NAME_BYTES || !name.chars().all(is_known) {
        return Err("is not the name of a unit".to_owned());
    }
    if is_pattern(name) {
        return Ok(());
    }
    if !TYPES.contains(&kind) {
        return Err(format!("ends with no type of unit ({})", TYPES.join(", ")));
    }
    if stem.ends_with('@') {
        return Err(format!("is a template; name an instance, or all of them as \"{stem}*.{kind}\""));
    }
    if kind == "device" {
        return Err("is a device, which cannot be stopped".to_owned());
    }
    Ok(())
}

/// A group's time, when so many groups stand behind it: all that is left, less what those need at least.
pub(crate) fn share(left: Duration, behind: usize) -> Duration {
    let behind = u32::try_from(behind).unwrap_or(u32::MAX);
    let minimum = MINIMUM.min(left / behind.saturating_add(1));
    left.saturating_sub(minimum.saturating_mul(behind))
}

/// When in this time a group's processes are killed.
pub(crate) fn kill_at(kill_after: Duration, share: Duration) -> Duration {
    kill_after.min(share.saturating_sub(KILL_TAKES.min(share / 4)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (units, said) in [
            (json!([]), "units is empty"),
            (json!([[]]), "units[0] is an empty list"),
            (json!(["web"]), "units[0]: \"web\" does not say of which type the unit is, as in \"web.service\""),
            (json!(["a.service", "web.servce"]), "units[1]: \"web.servce\" ends with no type of unit"),
            (
                json!([["a.service", "worker@.service"]]),
                "is a template; name an instance, or all of them as \"worker@*.service\"",
            ),
            (json!(["a b.service"]), "is not the name of a unit"),
            (json!([".service"]), "is not the name of a unit"),
            (json!(["a.service", ["b.service", "a.service"]]), "units[1]: a.service is there twice"),
            (json!(["dev-sda.device"]), "cannot be stopped"),
        ] {
            let config = serde_json::from_value(json!({ "units": units })).unwrap();
            let error = Plan::new(config).expect_err("refused");
            assert!(error.message().contains(said) && error.kind() == Code::Config, "{units}: {error}");
        }
    }

    #[test]
    fn escaped_names_instances_and_patterns_are_names() {
        let units = json!(["srv-data\\x2d1.mount", ["worker@*.service", "a@b.service"], "user-?.slice"]);
        let plan = Plan::new(serde_json::from_value(json!({ "units": units })).unwrap()).unwrap();
        assert_eq!(plan.groups.len(), 3);
        assert_eq!(plan.names(), ["srv-data\\x2d1.mount", "a@b.service"]);
    }

    #[test]
    fn a_group_gets_what_those_behind_it_do_not_need() {
        assert_eq!(share(30 * SECOND, 0), 30 * SECOND);
        assert_eq!(share(30 * SECOND, 3), 24 * SECOND);
        assert_eq!(share(2 * SECOND, 3), SECOND / 2, "when the minima do not fit, all get the same");
        assert_eq!(share(Duration::ZERO, 5), Duration::ZERO);
    }

    #[test]
    fn a_kill_comes_early_enough_to_have_an_effect() {
        assert_eq!(kill_at(5 * SECOND, 30 * SECOND), 5 * SECOND);
        assert_eq!(kill_at(90 * SECOND, 30 * SECOND), 29 * SECOND);
        assert_eq!(kill_at(90 * SECOND, 2 * SECOND), 3 * SECOND / 2);
    }
}
