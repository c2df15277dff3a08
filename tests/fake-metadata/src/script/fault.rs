//! A fault as JSON spells it.
//!
//! Responsibilities: check a fault's settings and say which of them is wrong. Inputs: the `fault` object of a step or a
//! control request. Outputs: a [`Fault`]. It must never apply anything.

use std::time::Duration;

use serde::Deserialize;

use super::{Problem, duration, signed};
use crate::faults::{Effect, Fault, GARBAGE};

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Delay,
    Status,
    TokenStorm,
    Garbage,
    Truncated,
    Reset,
    Drip,
    Oversized,
    Redirect,
    ContentType,
    Drift,
    HopLimit,
    Hang,
    Close,
}

/// A fault's settings: `kind`, what that kind needs, and which requests it strikes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFault {
    kind: Kind,
    #[serde(default)]
    paths: Vec<String>,
    count: Option<u32>,
    every: Option<u32>,
    probability: Option<f64>,
    seed: Option<u64>,
    code: Option<u16>,
    delay_seconds: Option<f64>,
    interval_seconds: Option<f64>,
    step_seconds: Option<f64>,
    bytes: Option<u64>,
    location: Option<String>,
    value: Option<String>,
    text: Option<String>,
}

impl RawFault {
    pub(super) fn checked(self) -> Result<Fault, Problem> {
        if let Some(share) = self.probability.filter(|share| !(0.0..=1.0).contains(share)) {
            return Err(Problem::new("probability", format!("{share} is not between 0 and 1")));
        }
        if self.seed.is_some() && self.probability.is_none() {
            return Err(Problem::new("seed", "means nothing without probability"));
        }
        if let Some(setting) = self.misplaced() {
            return Err(Problem::new(setting, "means nothing for this kind of fault"));
        }
        let mut fault = Fault::new(self.effect()?).paths(self.paths);
        if let Some(every) = self.every {
            if every == 0 {
                return Err(Problem::new("every", "must be at least 1: 3 strikes each third request"));
            }
            fault = fault.every(every);
        }
        if let Some(count) = self.count {
            fault = fault.count(count);
        }
        if let Some(share) = self.probability {
            fault = fault.probability(share, self.seed.unwrap_or(0));
        }
        Ok(fault)
    }

    fn effect(&self) -> Result<Effect, Problem> {
        Ok(match self.kind {
            Kind::Delay => Effect::Delay(needed_duration("delay_seconds", self.delay_seconds)?),
            Kind::Status => match needed("code", self.code)? {
                code @ 200..=599 => Effect::Status(code),
                code => return Err(Problem::new("code", format!("{code} is not between 200 and 599"))),
            },
            Kind::TokenStorm => Effect::TokenStorm,
            Kind::Garbage => Effect::Garbage(self.text.as_ref().map_or(GARBAGE, |text| text.as_bytes()).to_vec()),
            Kind::Truncated => Effect::Truncated,
            Kind::Reset => Effect::Reset,
            Kind::Drip => Effect::Drip(needed_duration("interval_seconds", self.interval_seconds)?),
            Kind::Oversized => Effect::Oversized(needed("bytes", self.bytes)?),
            Kind::Redirect => Effect::Redirect(header_text("location", self.location.as_ref())?),
            Kind::ContentType => Effect::ContentType(header_text("value", self.value.as_ref())?),
            Kind::Drift => Effect::Drift(
                signed(needed("step_seconds", self.step_seconds)?).map_err(|problem| problem.below("step_seconds"))?,
            ),
            Kind::HopLimit => Effect::HopLimit,
            Kind::Hang => Effect::Hang,
            Kind::Close => Effect::Close,
        })
    }

    /// The first setting that was given and belongs to another kind.
    fn misplaced(&self) -> Option<&'static str> {
        let given = [
            ("code", self.code.is_some(), matches!(self.kind, Kind::Status)),
            ("delay_seconds", self.delay_seconds.is_some(), matches!(self.kind, Kind::Delay)),
            ("interval_seconds", self.interval_seconds.is_some(), matches!(self.kind, Kind::Drip)),
            ("step_seconds", self.step_seconds.is_some(), matches!(self.kind, Kind::Drift)),
            ("bytes", self.bytes.is_some(), matches!(self.kind, Kind::Oversized)),
            ("location", self.location.is_some(), matches!(self.kind, Kind::Redirect)),
            ("value", self.value.is_some(), matches!(self.kind, Kind::ContentType)),
            ("text", self.text.is_some(), matches!(self.kind, Kind::Garbage)),
        ];
        given.into_iter().find(|(_, is_given, belongs)| *is_given && !belongs).map(|(name, _, _)| name)
    }
}

fn needed<Setting>(name: &str, setting: Option<Setting>) -> Result<Setting, Problem> {
    setting.ok_or_else(|| Problem::new(name, "is missing: this kind of fault needs it"))
}

fn needed_duration(name: &str, seconds: Option<f64>) -> Result<Duration, Problem> {
    duration(needed(name, seconds)?).map_err(|problem| problem.below(name))
}

/// A header's value: a line break in it would forge headers of the reply.
fn header_text(name: &str, text: Option<&String>) -> Result<String, Problem> {
    let text = needed(name, text)?;
    if text.chars().any(char::is_control) {
        return Err(Problem::new(name, "must not contain control characters"));
    }
    Ok(text.clone())
}
