//! Who is stopped first, by what units say of each other.
//!
//! Inputs: names with their After= and Before=. Outputs: groups, in the order in which they are to be stopped. Pure. Must
//! never leave one out, however the relations contradict each other.

/// What decides about a unit's place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Relations {
    pub(crate) name: String,
    /// Units that it is started after.
    pub(crate) after: Vec<String>,
    /// Units that it is started before.
    pub(crate) before: Vec<String>,
}

/// Groups of places in the list: those of the first group are stopped first. What stands in no relation is stopped together.
pub(crate) fn groups(units: &[Relations]) -> Vec<Vec<usize>> {
    let mut waiting: Vec<usize> = (0..units.len()).collect();
    let mut groups = Vec::new();
    while !waiting.is_empty() {
        let is_free = |place: &usize| !waiting.iter().any(|other| other != place && goes_first(units, *other, *place));
        let (mut free, mut rest): (Vec<usize>, Vec<usize>) = waiting.iter().partition(|place| is_free(place));
        if free.is_empty() {
            // A circle. systemd breaks those somewhere too; together is what contradicts it least.
            std::mem::swap(&mut free, &mut rest);
        }
        groups.push(free);
        waiting = rest;
    }
    groups
}

/// Whether the first of two has to be stopped before the other: it was started after it.
fn goes_first(units: &[Relations], first: usize, other: usize) -> bool {
    let (Some(first), Some(other)) = (units.get(first), units.get(other)) else { return false };
    first.after.contains(&other.name) || other.before.contains(&first.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str, after: &[&str], before: &[&str]) -> Relations {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Relations { name: name.to_owned(), after: owned(after), before: owned(before) }
    }

    #[test]
    fn what_was_started_last_is_stopped_first() {
        let units = [
            unit("db", &["network"], &["web"]),
            unit("web", &["cache"], &[]),
            unit("cache", &["db"], &[]),
            unit("cron", &[], &[]),
        ];
        assert_eq!(groups(&units), [vec![1, 3], vec![2], vec![0]]);
    }

    #[test]
    fn a_circle_is_stopped_together_and_nobody_is_forgotten() {
        let units = [unit("a", &["b"], &[]), unit("b", &["a"], &[]), unit("c", &["a"], &[])];
        assert_eq!(groups(&units), [vec![2], vec![0, 1]]);
        assert!(groups(&[]).is_empty());
    }
}
