//! What is known of a zone at a moment, and what became of it.
//!
//! Inputs: ticks of some zones. Outputs: one look an hour at every zone where capacity is there: for how long it has
//! been, how often it went lately, what other zones do; and whether it was gone within the hour after. It must never
//! read a tick after the moment but for that.

use super::Kind;
use crate::data::ticks::Ticks;
use crate::models::features::clock;
use crate::{Life, Outcome};
use serde::{Deserialize, Serialize};

/// Half-lives of the rates that are remembered, hours.
const HALF_LIVES_H: [f64; 3] = [24.0, 6.0, 96.0];

/// How long back availability is counted, hours.
const BACK_H: [f64; 3] = [24.0, 3.0, 96.0];

/// Where the bent line of run age bends, hours.
const BENDS_H: [f64; 5] = [0.25, 1.0, 4.0, 12.0, 48.0];

/// A rate is reckoned as if it had been seen to be this for an hour: its logarithm has to exist.
const USUAL_RATE: f64 = 0.1;

/// What is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// The zone and the type.
    pub zone: String,
    /// Hours since the first tick.
    pub since_start_h: f64,
    /// How long capacity has been there without a break, hours.
    pub run_age_h: f64,
    /// How often it went, and for how many hours it was there, each with a half-life of 24, 6 and 96 hours.
    pub recent: [(f64, f64); 3],
    /// The share of the last 24, 3 and 96 hours that it was there.
    pub available: [f64; 3],
    /// The share of the other zones where it is there now; of those in the same region; and of the ticks of the last
    /// hour in the other zones, and in those of the same region, in which it was there. A half where there are no
    /// others.
    pub siblings: [f64; 4],
}

/// One look at one zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// What was known.
    pub known: Known,
    /// Which tick that was.
    pub tick: usize,
    /// Whether capacity was gone at any tick of the hour after.
    pub gone: bool,
}

impl Known {
    /// Which block of hours it is in.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of days")]
    pub(super) fn block(&self, block_h: f64) -> u64 {
        (self.since_start_h / block_h).max(0.0) as u64
    }

    /// The numbers that a kind of regression is made of.
    pub(super) fn features(&self, kind: Kind) -> Vec<f64> {
        let rate = |of: usize| self.recent.get(of).map_or(0.0, |(n, x)| ((n + USUAL_RATE) / (x + 1.0)).ln());
        let mut features = vec![(self.run_age_h + 0.25).ln(), rate(0)];
        let [all, near, all_lately, near_lately] = self.siblings;
        match kind {
            Kind::AndDay => features.push(self.available[0]),
            Kind::AndSiblings => features.extend([self.available[0], near]),
            Kind::AndHour => {
                features.extend([self.available[0], near]);
                let [sine, cosine, _] = clock(Some(self.since_start_h * 3_600.0));
                features.extend([sine, cosine]);
            }
            Kind::Rich | Kind::RichSiblings => {
                features.extend(BENDS_H.map(|bend| (self.run_age_h / bend).max(1.0).ln()));
                features.extend([rate(1), rate(2)]);
                features.extend(self.available);
                if kind == Kind::RichSiblings {
                    features.extend([all, near, all_lately, near_lately]);
                }
            }
            _ => {}
        }
        features
    }
}

pub(super) fn recent_counts(known: &Known) -> (f64, f64) {
    known.recent[0]
}

/// Ticks of an hour, rounded down, at least one.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between one and the ticks of an hour")]
#[must_use]
pub fn ticks_per_hour(gap_seconds: f64) -> usize {
    ((3_600.0 / gap_seconds).floor() as usize).max(1)
}

/// What a zone remembers while its ticks go by.
struct Memory {
    up: Vec<bool>,
    gap_h: f64,
    run: f64,
    recent: [(f64, f64); 3],
    /// Of each tick: how many before it were up.
    ups: Vec<f64>,
}

impl Memory {
    fn new(up: Vec<bool>, gap_h: f64) -> Self {
        let mut ups = vec![0.0];
        for is_up in &up {
            ups.push(ups.last().copied().unwrap_or_default() + f64::from(u8::from(*is_up)));
        }
        Self { up, gap_h, run: 0.0, recent: [(0.0, 0.0); 3], ups }
    }

    fn is_up(&self, tick: usize) -> bool {
        self.up.get(tick).copied().unwrap_or(false)
    }

    /// Takes a tick in.
    fn take(&mut self, tick: usize) {
        if tick >= self.up.len() {
            return;
        }
        let is_up = self.is_up(tick);
        let went = tick > 0 && self.is_up(tick - 1) && !is_up;
        self.run = if is_up { if tick > 0 && self.is_up(tick - 1) { self.run + self.gap_h } else { 0.0 } } else { 0.0 };
        for ((events, hours), half_life) in self.recent.iter_mut().zip(HALF_LIVES_H) {
            let kept = 0.5_f64.powf(self.gap_h / half_life);
            *events = *events * kept + f64::from(u8::from(went));
            *hours = *hours * kept + if is_up { self.gap_h } else { 0.0 };
        }
    }

    /// The share of the last hours, this tick with them, that were up.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of ticks")]
    #[allow(clippy::cast_precision_loss, reason = "a number of ticks")]
    fn share(&self, tick: usize, back_h: f64) -> f64 {
        let ticks = ((back_h / self.gap_h).round() as usize).clamp(1, tick + 1);
        let (end, begin) = (self.ups.get(tick + 1), self.ups.get(tick + 1 - ticks));
        end.zip(begin).map_or(0.0, |(end, begin)| (end - begin) / ticks as f64)
    }
}

/// A look an hour at every zone where `wanted` machines are available, from the second hour to the last but one.
/// Zones have to have the same gap between ticks; those with another than the first are passed over.
#[must_use]
pub fn looks(ticks: &[Ticks], wanted: u32) -> Vec<Look> {
    let Some(first) = ticks.first() else { return Vec::new() };
    let gap_seconds = first.gap_seconds;
    let zones: Vec<&Ticks> = ticks.iter().filter(|zone| (zone.gap_seconds - gap_seconds).abs() < 1e-9).collect();
    let gap_h = gap_seconds / 3_600.0;
    let mut memories: Vec<Memory> = zones.iter().map(|zone| Memory::new(zone.is_up(wanted), gap_h)).collect();
    let last = memories.iter().map(|memory| memory.up.len()).max().unwrap_or(0);
    let hour = ticks_per_hour(gap_seconds);
    let mut found = Vec::new();
    for tick in 0..last {
        memories.iter_mut().for_each(|memory| memory.take(tick));
        if tick == 0 || tick % hour != 0 {
            continue;
        }
        for (at, zone) in zones.iter().enumerate() {
            let Some(memory) = memories.get(at).filter(|memory| memory.is_up(tick)) else { continue };
            let Some(after) = memory.up.get(tick + 1..=tick + hour) else { continue };
            found.push(Look {
                known: Known {
                    zone: format!("{} {}", zone.pool.zone, zone.pool.instance_type),
                    since_start_h: gap_h * count(tick),
                    run_age_h: memory.run,
                    recent: memory.recent,
                    available: BACK_H.map(|back_h| memory.share(tick, back_h)),
                    siblings: siblings(&zones, &memories, at, tick),
                },
                tick,
                gone: after.contains(&false),
            });
        }
    }
    found
}

fn siblings(zones: &[&Ticks], memories: &[Memory], at: usize, tick: usize) -> [f64; 4] {
    let others = |is_near: bool, value: &dyn Fn(&Memory) -> f64| {
        let region = zones.get(at).map(|zone| &zone.pool.region);
        let all = zones.iter().zip(memories).enumerate().filter(|(other, (zone, memory))| {
            *other != at && tick < memory.up.len() && (!is_near || Some(&zone.pool.region) == region)
        });
        let (sum, size) = all.fold((0.0, 0.0), |sum, (_, (_, memory))| (sum.0 + value(memory), sum.1 + 1.0));
        if size > 0.0 { sum / size } else { 0.5 }
    };
    let now = |memory: &Memory| f64::from(u8::from(memory.is_up(tick)));
    let lately = |memory: &Memory| memory.share(tick, 1.0);
    [others(false, &now), others(true, &now), others(false, &lately), others(true, &lately)]
}

/// Runs of available ticks before a tick, as lives: the last of each zone may go on (right-censored).
#[must_use]
pub fn runs(ticks: &[Ticks], wanted: u32, until: usize) -> Vec<Life> {
    let mut found = Vec::new();
    for zone in ticks {
        let gap_h = zone.gap_seconds / 3_600.0;
        let up: Vec<bool> = zone.is_up(wanted).into_iter().take(until).collect();
        let mut begin = 0;
        for run in up.chunk_by(|a, b| a == b) {
            let end = begin + run.len();
            if run.first() == Some(&true) {
                found.push(Life {
                    pool: zone.pool.clone(),
                    launched_s: count(begin) * zone.gap_seconds,
                    lived_h: count(run.len()) * gap_h,
                    outcome: if end < up.len() { Outcome::Interrupted } else { Outcome::Running },
                    batch: None,
                });
            }
            begin = end;
        }
    }
    found
}

#[allow(clippy::cast_precision_loss, reason = "a number of ticks, far below 2^52")]
fn count(ticks: usize) -> f64 {
    ticks as f64
}
