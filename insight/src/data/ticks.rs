//! Ticks: whether capacity was there, asked again and again.
//!
//! Inputs: one JSON document for each zone, in the format of the traces of "Can't Be Late: Optimizing Spot Instance
//! Savings under Deadlines" (NSDI'24; github.com/skypilot-org/spot-traces). Outputs: for each tick how many machines
//! were available: there, 1 is available. (The files of that paper's simulator are the exact inverse.) They must
//! never be taken for lives: a run of available ticks is not the life of a machine.

use super::{BadData, excerpt};
use crate::Pool;
use crate::data::lives::pool_of;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Capacity of one pool, looked at every so often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ticks {
    /// Where.
    pub pool: Pool,
    /// From one look to the next.
    pub gap_seconds: f64,
    /// How many machines were available at each look.
    pub available: Vec<u32>,
}

impl Ticks {
    /// Whether at least `wanted` machines were available, for each tick.
    #[must_use]
    pub fn is_up(&self, wanted: u32) -> Vec<bool> {
        self.available.iter().map(|count| *count >= wanted).collect()
    }
}

/// Reads `{"metadata": {"gap_seconds": 195}, "data": [0, 1, …]}`; `name` is that of the file, from which the pool is
/// told: `us-east-1a_v100_1.json` is the type `v100_1` in the zone `us-east-1a`.
///
/// # Errors
/// The first thing that is not as it should be, with its path in the document.
pub fn read(name: &str, text: &str) -> Result<Ticks, BadData> {
    let document: Value = serde_json::from_str(text).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        BadData::new(place, "a JSON document", format!("`{error}`"))
    })?;
    let gap = document.pointer("/metadata/gap_seconds");
    let gap_seconds = gap
        .and_then(Value::as_f64)
        .filter(|gap| gap.is_finite() && *gap > 0.0)
        .ok_or_else(|| wrong("/metadata/gap_seconds", "seconds above zero", gap))?;
    let data = document.pointer("/data");
    let list = data.and_then(Value::as_array).ok_or_else(|| wrong("/data", "a list of numbers", data))?;
    let available = list.iter().enumerate().map(|(at, value)| {
        let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
        count.ok_or_else(|| wrong(&format!("/data/{at}"), "a number of machines", Some(value)))
    });
    Ok(Ticks { pool: pool_of_file(name), gap_seconds, available: available.collect::<Result<_, _>>()? })
}

fn pool_of_file(name: &str) -> Pool {
    let stem = name.strip_suffix(".json").unwrap_or(name);
    let (zone, instance_type) = stem.split_once('_').unwrap_or((stem, ""));
    pool_of(zone, instance_type)
}

fn wrong(place: &str, expected: &str, found: Option<&Value>) -> BadData {
    let found = found.map_or_else(|| "nothing".to_owned(), |value| format!("`{}`", excerpt(&value.to_string())));
    BadData::new(place, expected, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_with_the_pool_of_its_name() {
        let ticks = read("us-east-1a_v100_8.json", r#"{"metadata":{"gap_seconds":195},"data":[0,1,16]}"#).unwrap();
        assert_eq!((ticks.pool.zone.as_str(), ticks.pool.instance_type.as_str()), ("us-east-1a", "v100_8"));
        assert_eq!((ticks.pool.provider.as_str(), ticks.pool.region.as_str()), ("aws", "us-east-1"));
        assert_eq!(ticks.is_up(1), [false, true, true]);
        assert_eq!(ticks.is_up(16), [false, false, true]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_path() {
        let said = |text: &str| read("a", text).unwrap_err().to_string();
        assert!(said("{").starts_with("line 1, column 1"));
        assert_eq!(said("{}"), "/metadata/gap_seconds: expected seconds above zero, found nothing");
        assert!(said(r#"{"metadata":{"gap_seconds":0},"data":[]}"#).contains("found `0`"));
        assert!(said(r#"{"metadata":{"gap_seconds":1},"data":{}}"#).starts_with("/data: expected a list of numbers"));
        assert!(said(r#"{"metadata":{"gap_seconds":1},"data":[1,-1]}"#).starts_with("/data/1: expected a number"));
    }
}
