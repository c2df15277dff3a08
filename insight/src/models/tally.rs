//! How much was seen of each pool, of its family, and of all.
//!
//! Inputs: lives. Outputs: interruptions and hours for each level, and the closest level that says something by
//! itself. It must never hide that a pool was not seen at all.

use super::{FEW_EVENTS, FEW_HOURS};
use crate::{Level, Life, Pool};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// From the closest to the widest.
pub const LEVELS: [Level; 5] = [Level::Pool, Level::FamilyInRegion, Level::Family, Level::Provider, Level::Everything];

/// Interruptions, and the hours of machines in which they happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Count {
    /// Interruptions.
    pub events: u64,
    /// Hours that machines lived, whatever ended them.
    pub exposure_h: f64,
}

impl Count {
    /// Whether this says something by itself.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        self.events >= FEW_EVENTS && self.exposure_h >= FEW_HOURS
    }
}

/// Values for groups of pools, found by level and pool; sorted, as JSON has no maps with such keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ByPool<V> {
    entries: Vec<(Level, Pool, V)>,
}

impl<V> ByPool<V> {
    /// Sorts what was collected.
    #[must_use]
    pub fn of(collected: BTreeMap<(Level, Pool), V>) -> Self {
        Self { entries: collected.into_iter().map(|((level, pool), value)| (level, pool, value)).collect() }
    }

    /// The value of the group that a pool belongs to at a level.
    #[must_use]
    pub fn get(&self, level: Level, pool: &Pool) -> Option<&V> {
        let group = pool.at(level);
        let found = self.entries.binary_search_by(|entry| (entry.0, &entry.1).cmp(&(level, &group))).ok()?;
        self.entries.get(found).map(|entry| &entry.2)
    }

    /// All groups of a level.
    pub fn at(&self, level: Level) -> impl Iterator<Item = (&Pool, &V)> {
        self.entries.iter().filter(move |entry| entry.0 == level).map(|entry| (&entry.1, &entry.2))
    }
}

/// What was seen, by level.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    counts: ByPool<Count>,
}

/// What an answer about a pool rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Basis {
    /// The closest level at which enough was seen; None: at none.
    pub level: Option<Level>,
    /// What was seen there (of all, where it is enough at no level).
    pub seen: Count,
    /// What was seen of the pool itself.
    pub own: Count,
    /// The pool that was asked about.
    pub pool: Pool,
}

impl Tally {
    /// Counts lives.
    #[must_use]
    pub fn of(lives: &[&Life]) -> Self {
        let mut counts: BTreeMap<(Level, Pool), Count> = BTreeMap::new();
        for life in lives {
            for level in LEVELS {
                let count = counts.entry((level, life.pool.at(level))).or_default();
                count.events += u64::from(life.is_interrupted());
                count.exposure_h += life.lived_h;
            }
        }
        Self { counts: ByPool::of(counts) }
    }

    /// What was seen of the group of a pool at a level.
    #[must_use]
    pub fn at(&self, level: Level, pool: &Pool) -> Count {
        self.counts.get(level, pool).copied().unwrap_or_default()
    }

    /// What was seen of all.
    #[must_use]
    pub fn all(&self) -> Count {
        self.at(Level::Everything, &Pool::default())
    }

    /// The closest level that says something about a pool by itself.
    #[must_use]
    pub fn basis(&self, pool: &Pool) -> Basis {
        let level = LEVELS.into_iter().find(|level| self.at(*level, pool).is_enough());
        let seen = self.at(level.unwrap_or(Level::Everything), pool);
        Basis { level, seen, own: self.at(Level::Pool, pool), pool: pool.clone() }
    }
}

impl std::fmt::Display for Basis {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seen = |count: &Count| format!("{} interruptions in {:.0} h", count.events, count.exposure_h);
        let pool = format!("{} in {}", named(&self.pool.instance_type), named(&self.pool.zone));
        let family = named(&self.pool.family()).to_owned();
        let (region, provider) = (named(&self.pool.region), named(&self.pool.provider));
        let of = match self.level {
            Some(Level::Pool) => return write!(out, "{} of {pool}", seen(&self.own)),
            Some(Level::FamilyInRegion) => format!("the family {family} in {region}"),
            Some(Level::Family) => format!("the family {family} at {provider}"),
            Some(Level::Provider) => format!("all of {provider}"),
            Some(Level::Everything) => "all pools".to_owned(),
            None => {
                return write!(out, "too little history: {} of {pool}, {} in all", seen(&self.own), seen(&self.seen));
            }
        };
        write!(out, "too little of {pool} alone ({}), so {of} counts with it: {}", seen(&self.own), seen(&self.seen))
    }
}

fn named(name: &str) -> &str {
    if name.is_empty() { "an unknown place" } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::lives::pool_of;
    use crate::models::tests::lives;

    #[test]
    fn a_pool_with_little_history_falls_back_to_its_family_and_says_so() {
        let mut seen = lives("us-east-1a", "m5.large", 12, 0, 30.0);
        seen.extend(lives("us-east-1b", "m5.xlarge", 3, 10, 10.0));
        seen.extend(lives("us-east-1c", "c5.large", 30, 0, 1.0));
        let tally = Tally::of(&seen.iter().collect::<Vec<_>>());
        let level = |zone, kind| tally.basis(&pool_of(zone, kind)).level;
        assert_eq!(level("us-east-1a", "m5.large"), Some(Level::Pool));
        assert_eq!(level("us-east-1b", "m5.xlarge"), Some(Level::FamilyInRegion));
        assert_eq!(level("us-west-2a", "m5.xlarge"), Some(Level::Family));
        // Thirty interruptions, but in thirty hours only.
        assert_eq!(level("us-east-1c", "c5.large"), Some(Level::Provider));
        assert_eq!(level("us-central1-c", "n1-highcpu-8"), Some(Level::Everything));
        let said = tally.basis(&pool_of("us-east-1b", "m5.xlarge")).to_string();
        assert!(said.contains("too little of m5.xlarge in us-east-1b alone (3 interruptions in 130 h)"), "{said}");
        assert!(said.contains("the family m5 in us-east-1 counts with it: 15 interruptions in 490 h"), "{said}");
        // A thousand hours, but three interruptions only.
        seen.extend(lives("us-east-1d", "m5.large", 3, 100, 10.0));
        let tally = Tally::of(&seen.iter().collect::<Vec<_>>());
        assert_eq!(tally.basis(&pool_of("us-east-1d", "m5.large")).level, Some(Level::FamilyInRegion));
    }

    #[test]
    fn where_nothing_was_seen_that_is_said() {
        let basis = Tally::of(&[]).basis(&Pool::default());
        assert_eq!((basis.level, basis.seen), (None, Count::default()));
        assert!(basis.to_string().starts_with("too little history"));
    }
}
