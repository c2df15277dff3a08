//! Stops containers, group by group.
//!
//! Inputs: an [`Engine`], the containers of each group. Outputs: [`Told`] for each, with how it ended. Must never call one stopped that
//! the engine does not show as ended after it was told to.

use crate::checkpoint::{self, Archive};
use crate::choose::Listed;
use crate::config::{Config, Group};
use crate::engine::{Engine, Seen, Watch, short};
use crate::grace;
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{Code, Error};
use futures_util::future::join_all;
use nix::sys::signal::Signal;
use std::str::FromStr;
use std::time::Duration;

/// The engines' grace for containers that were made without one.
const DEFAULT_GRACE: u32 = 10;
/// How often an engine is asked about a container that it was told to stop and still shows as running.
const LOOK: Duration = Duration::from_millis(50);
/// Exit code of what SIGKILL ended.
const KILLED: i64 = 128 + Signal::SIGKILL as i64;

/// A container that runs, and how it is to be stopped.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) listed: Listed,
    pub(crate) group: usize,
    pub(crate) before: Seen,
    /// Seconds from the stop signal to SIGKILL that it should have.
    pub(crate) wish: u32,
    /// Exit codes that are in order.
    pub(crate) exit_codes: Vec<i64>,
}

/// What became of it.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) target: Target,
    /// Seconds it was given; None when it was not told to stop.
    pub(crate) grace: Option<u32>,
    /// None when it is gone: removed when it ended.
    pub(crate) after: Option<Seen>,
    pub(crate) archive: Option<Archive>,
    pub(crate) failure: Option<Error>,
}

/// What was not done as configured, and why.
pub(crate) struct Skipped {
    pub(crate) step: String,
    pub(crate) reason: String,
}

impl Target {
    /// None when it ended meanwhile.
    pub(crate) fn new(listed: Listed, group: usize, config: &Group, before: Option<Seen>) -> Option<Self> {
        let before = before.filter(|before| before.is_running)?;
        let wish = config.grace_seconds.or(before.stop_timeout).unwrap_or(DEFAULT_GRACE);
        let exit_codes = config.exit_codes.clone().unwrap_or_else(|| vec![0, code_of(&before.stop_signal)]);
        Some(Self { listed, group, before, wish, exit_codes })
    }
}

/// The exit code of a program that has no handler for its stop signal.
fn code_of(signal: &str) -> i64 {
    let number: Option<i64> = signal.parse().ok();
    let name = if signal.starts_with("SIG") { signal.to_owned() } else { format!("SIG{signal}") };
    let named = || Signal::from_str(&name).ok().map(|signal| signal as i64);
    128 + number.or_else(named).unwrap_or(Signal::SIGTERM as i64)
}

impl Told {
    /// How it did not end as it should have.
    fn judged(mut self) -> Self {
        if self.failure.is_some() {
            return self;
        }
        let name = &self.target.listed.name;
        let Some(after) = self.after.as_ref().filter(|_| self.archive.is_none()) else { return self };
        let code = after.exit_code.unwrap_or(-1);
        let text = if after.is_running {
            format!("{name}: runs on ({})", after.status)
        } else if self.target.exit_codes.contains(&code) {
            return self;
        } else if after.is_oom_killed {
            format!("{name}: killed for want of memory, exit code {code}")
        } else if code == KILLED {
            let grace = self.grace.unwrap_or_default();
            format!("{name}: did not end on its stop signal and was killed after {grace} s")
        } else {
            format!("{name}: exit code {code}")
        };
        self.failure = Some(Error::new(text).code(Code::Internal));
        self
    }

    pub(crate) fn report(&self, config: &Config) -> Value {
        let after = self.after.as_ref().map_or_else(|| json!({ "status": "removed" }), Seen::shown);
        let mut report = json!({
            "id": short(&self.target.listed.id), "name": self.target.listed.name,
            "group": config.group_name(self.target.group), "grace_seconds": self.grace,
            "before": self.target.before.shown(), "after": after,
        });
        if let Some(archive) = &self.archive {
            report["checkpoint"] = json!({ "file": archive.file, "bytes": archive.bytes });
        }
        if let Some(failure) = &self.failure {
            report["failure"] = json!(failure.message());
        }
        report
    }
}

/// The seconds that each group that is not empty should have, in order.
pub(crate) fn wishes(groups: &[Vec<Target>]) -> Vec<u32> {
    let longest = |group: &Vec<Target>| group.iter().map(|target| target.wish).max();
    groups.iter().filter_map(longest).collect()
}

/// Stops them all, in order; goes on with the others when one cannot be stopped. `possible`: whether checkpoints can be made, where they
/// are wanted.
pub(crate) fn all(
    engine: &Engine,
    config: &Config,
    groups: Vec<Vec<Target>>,
    possible: Option<&Result<(), String>>,
    watch: &Watch<'_>,
) -> (Vec<Told>, Vec<Skipped>) {
    let (mut told, mut skipped) = (Vec::new(), Vec::new());
    let mut wishes = wishes(&groups);
    for group in groups.into_iter().filter(|group| !group.is_empty()) {
        if watch.is_cancelled() {
            told.extend(group.into_iter().map(|target| untold(target, Error::new("cancelled").code(Code::Cancelled))));
            continue;
        }
        let (frozen, group) = match possible {
            Some(possible) => freeze(config, group, possible, watch, &mut skipped),
            None => (Vec::new(), group),
        };
        let grace = grace::for_first(watch.left(), &wishes);
        if let Some(wish) = wishes.first().copied().filter(|wish| *wish > grace) {
            let name = group.first().map_or_else(String::new, |target| config.group_name(target.group));
            let how =
                if grace == 0 { "none is left: killed at once".to_owned() } else { format!("{grace} s are left") };
            skipped.push(Skipped { step: format!("grace of {name}"), reason: format!("{wish} s are wanted, {how}") });
        }
        wishes = wishes.split_off(1.min(wishes.len()));
        let stops = group.into_iter().map(|target| one(engine, target, grace, watch));
        let stopped = engine.block_on(join_all(stops));
        let seen = frozen.into_iter().map(|(target, archive)| look(engine, target, archive, watch));
        told.extend(engine.block_on(join_all(seen)).into_iter().chain(stopped).map(Told::judged));
    }
    (told, skipped)
}

fn untold(target: Target, failure: Error) -> Told {
    let failure = failure.context(&target.listed.name);
    Told { after: Some(target.before.clone()), target, grace: None, archive: None, failure: Some(failure) }
}

/// Writes images of those whose group wants it; gives those that were, and those that are still to be stopped.
fn freeze(
    config: &Config,
    group: Vec<Target>,
    possible: &Result<(), String>,
    watch: &Watch<'_>,
    skipped: &mut Vec<Skipped>,
) -> (Vec<(Target, Archive)>, Vec<Target>) {
    let (mut frozen, mut rest) = (Vec::new(), Vec::new());
    for target in group {
        let Some(to) = config.groups.get(target.group).and_then(|group| group.checkpoint.as_ref()) else {
            rest.push(target);
            continue;
        };
        let needs = Duration::from_secs(u64::from(to.needs_seconds));
        let left = watch.left();
        let written = match possible {
            Err(reason) => Err(reason.clone()),
            Ok(()) if needs > left => {
                Err(format!("it needs {} s, and {:.1} s are left", to.needs_seconds, left.as_secs_f64()))
            }
            Ok(()) => checkpoint::write(&config.socket, &target.listed, to, needs, watch).map_err(|e| e.to_string()),
        };
        match written {
            Ok(archive) => frozen.push((target, archive)),
            Err(reason) => {
                let step = format!("checkpoint of {}", target.listed.name);
                skipped.push(Skipped { step, reason: format!("{reason}; stopped instead") });
                rest.push(target);
            }
        }
    }
    (frozen, rest)
}

async fn one(engine: &Engine, target: Target, grace: u32, watch: &Watch<'_>) -> Told {
    let grace = grace.min(target.wish);
    let id = target.listed.id.clone();
    let ended = watch.bound(async {
        engine.stop(&id, grace).await?;
        // The engine answers when the process has ended; its books may be a moment late.
        loop {
            let seen = engine.inspect(&id).await?;
            if seen.as_ref().is_none_or(|seen| !seen.is_running) {
                return Ok(seen);
            }
            tokio::time::sleep(LOOK).await;
        }
    });
    match ended.await {
        Ok(after) => Told { target, grace: Some(grace), after, archive: None, failure: None },
        Err(error) => {
            let is_late = error.kind() == Code::Deadline;
            let late = || Error::new("it had not ended when the time was over").code(Code::Deadline);
            Told { grace: Some(grace), ..untold(target, if is_late { late() } else { error }) }
        }
    }
}

async fn look(engine: &Engine, target: Target, archive: Archive, watch: &Watch<'_>) -> Told {
    match watch.bound(engine.inspect(&target.listed.id)).await {
        Ok(after) if after.as_ref().is_some_and(|after| after.is_running) => {
            let told = untold(target, Error::new("runs on after its checkpoint").code(Code::Internal));
            Told { after, archive: Some(archive), ..told }
        }
        Ok(after) => Told { target, grace: None, after, archive: Some(archive), failure: None },
        Err(error) => Told { archive: Some(archive), ..untold(target, error) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(after: Option<Seen>, grace: u32) -> Option<String> {
        let listed = Listed { id: "0".repeat(64), name: "db".to_owned(), ..Listed::default() };
        let before = Seen { is_running: true, ..Seen::default() };
        let group: Group = serde_json::from_value(json!({ "all": true })).unwrap();
        let target = Target::new(listed, 0, &group, Some(before)).unwrap();
        let told = Told { target, grace: Some(grace), after, archive: None, failure: None }.judged();
        told.failure.map(|failure| failure.message().to_owned())
    }

    #[test]
    fn only_an_end_of_its_own_with_a_code_that_is_in_order_is_one() {
        let ended = |code: i64| Some(Seen { exit_code: Some(code), status: "exited".to_owned(), ..Seen::default() });
        assert_eq!((told(ended(0), 10), told(ended(143), 10), told(None, 10)), (None, None, None));
        assert_eq!(told(ended(3), 10).unwrap(), "db: exit code 3");
        assert_eq!(told(ended(137), 7).unwrap(), "db: did not end on its stop signal and was killed after 7 s");
        let runs = Seen { is_running: true, status: "running".to_owned(), ..Seen::default() };
        assert_eq!(told(Some(runs), 10).unwrap(), "db: runs on (running)");
        let starved = Seen { is_oom_killed: true, ..ended(137).unwrap() };
        assert!(told(Some(starved), 10).unwrap().contains("want of memory"));
    }

    #[test]
    fn the_stop_signal_decides_which_code_is_in_order() {
        assert_eq!(["", "SIGTERM", "15", "INT", "SIGQUIT", "what"].map(code_of), [143, 143, 143, 130, 131, 143]);
    }
}
