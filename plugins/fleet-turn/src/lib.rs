//! The place of the group in the order of handlers: waits until it is this machine's turn, or tells the group that its work is over.
//!
//! Responsibilities: ask the daemon, which is the group's member. Inputs: events, the answers on the control socket. Outputs: evidence of
//! what the group said. Must never cost the data: whatever goes wrong, or takes longer than the call may, the work begins alone.

mod ask;

use ask::Desk;
use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{Call, Error, Event, Host, Instance, Outcome, Plugin, Subscription, c_str};
use schemars::JsonSchema;
use serde::Deserialize;
use std::ffi::CStr;
use std::path::PathBuf;
use std::time::Duration;

/// Kept back from the time of the call: what it says is told before the host gives up on it.
const RESERVE: Duration = Duration::from_millis(100);
/// Longest wait for the answer to what is only told.
const PROMPT: Duration = Duration::from_secs(2);

/// What an instance is there for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Act {
    /// Waits until it is this machine's turn.
    #[default]
    Wait,
    /// Tells the group that the work of this machine is over, where further handlers follow, such as one that switches it off. Without it
    /// the group is told when all handlers have ended.
    Answer,
}

/// Configuration of the handler that stands for the group.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is done: `wait` in front of the handlers that do the work, `answer` behind them.
    #[serde(default)]
    pub act: Act,
    /// The daemon's control socket. The daemon fills in its own.
    #[serde(default = "default_socket")]
    pub socket: PathBuf,
}

fn default_socket() -> PathBuf {
    "/run/cloudsnooze/control.sock".into()
}

/// One instance.
pub struct FleetTurn {
    act: Act,
    desk: Desk,
}

impl Plugin for FleetTurn {
    const ID: &'static CStr = c"io.cloudsnooze.fleet-turn";
    const NAME: &'static CStr = c"fleet-turn";
    const VERSION: &'static CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static CStr =
        c"Waits for this machine's turn in its group, or tells the group that its work is over";
    // In a drill of the group it is waited for, too: that changes nothing.
    const CAPS: u64 = abi::SNOOZE_CAP_DRILL;
    type Config = Config;

    fn new(_: Host, config: Config, _: Instance) -> Result<Self, Error> {
        Ok(Self { act: config.act, desk: Desk::at(&config.socket)? })
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let (priority, budget) = match self.act {
            Act::Wait => (100, Duration::from_secs(60)),
            Act::Answer => (2, PROMPT),
        };
        vec![Subscription::on(&["cloud.*", "system.shutdown"]).priority(priority).budget(budget)]
    }

    fn on_event(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        if event.is_cancellation() {
            return Ok(Outcome::declined("the daemon itself tells the group that the notice is withdrawn"));
        }
        if event.is_drill() && !is_of_group(event.json()) {
            return Ok(Outcome::declined("a drill of this machine alone: the group does not hear of it"));
        }
        let left = call.left().saturating_sub(RESERVE);
        let asked = json!({ "event": event.id() });
        match self.act {
            Act::Wait => Ok(waited(self.desk.ask("/v1/fleet/turn", &asked, left, || call.cancelled().is_some()))),
            Act::Answer => {
                let limit = left.min(PROMPT);
                self.desk.ask("/v1/fleet/done", &asked, limit, || call.cancelled().is_some())?;
                Ok(Outcome::handled(json!({ "told": true })))
            }
        }
    }
}

/// Whether a drill is the group's (`data.fleet`).
fn is_of_group(event: &str) -> bool {
    let event: Value = cloudsnooze_plugin::serde_json::from_str(event).unwrap_or_default();
    event["data"]["fleet"] == true
}

/// What the wait came to.
fn waited(answer: Result<Value, Error>) -> Outcome {
    match answer {
        Ok(turn) if turn["turn"] == "withdrawn" => Outcome::declined("the notice is withdrawn: nothing is to be done"),
        Ok(turn) => Outcome::handled(turn),
        Err(error) => {
            Outcome::handled(json!({ "turn": "alone", "why": format!("the group cannot be asked: {error}") }))
        }
    }
}

cloudsnooze_plugin::export!(FleetTurn; vendor: c"CloudSnooze", license: c"Apache-2.0", url: c"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drill_is_the_groups_where_its_data_say_so() {
        assert!(is_of_group(r#"{"drill":true,"data":{"fleet":true}}"#));
        assert!(!is_of_group(r#"{"drill":true,"fleet":true,"data":{"fleet":"true"}}"#) && !is_of_group("{"));
    }

    #[test]
    fn whatever_the_group_says_the_work_begins_unless_it_is_withdrawn() {
        for turn in ["go", "alone", "begun"] {
            let outcome = format!("{:?}", waited(Ok(json!({ "turn": turn }))));
            assert!(outcome.contains(turn), "{outcome}");
        }
        let alone = format!("{:?}", waited(Err(Error::new("no socket"))));
        assert!(alone.contains("alone") && alone.contains("no socket"), "{alone}");
        let withdrawn = format!("{:?}", waited(Ok(json!({ "turn": "withdrawn" }))));
        assert!(withdrawn.contains("withdrawn"), "{withdrawn}");
    }
}
