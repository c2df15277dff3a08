//! Who wrote what, what was acknowledged when, and what of it is still there.
//!
//! Inputs: acknowledgements as a writer received them, what a server holds after its restart, the end of the flush. Outputs: how
//! much was lost. Pure. A write counts as acknowledged before the flush's end when its acknowledgement was in the
//! writer's hands then, and the end is that of the handler, verification included: what the server still acknowledged
//! between its last flush and that is counted as well. Both make it harder to pass, not easier.

use serde::Serialize;
use std::collections::HashSet;

/// What one connection was told: the number of each write is its place here, from 1; the value is when the acknowledgement came,
/// CLOCK_BOOTTIME nanoseconds.
pub type Acknowledged = Vec<i64>;

/// What one round came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Of those, before the flush had ended.
    pub before_end: u64,
    /// Of those, how many are gone.
    pub lost: u64,
    /// Of those that were acknowledged later, how many are gone.
    pub lost_later: u64,
}

impl Verdict {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            acknowledged: self.acknowledged + other.acknowledged,
            before_end: self.before_end + other.before_end,
            lost: self.lost + other.lost,
            lost_later: self.lost_later + other.lost_later,
        }
    }
}

/// Compares what was acknowledged, connection by connection, with what is there. `end` is that of the flush, CLOCK_BOOTTIME
/// nanoseconds; without one everything counts.
///
/// # Errors
/// Something is there that was never written, or more than the one write that was under way: then the ledger is
/// wrong, and so would be the verdict.
pub fn judge(all: &[Acknowledged], there: &[(usize, u64)], end: Option<i64>) -> Result<Verdict, String> {
    let mut found: Vec<HashSet<u64>> = vec![HashSet::new(); all.len()];
    for (connection, number) in there {
        let (Some(acknowledged), Some(found)) = (all.get(*connection), found.get_mut(*connection)) else {
            return Err(format!("a write of connection {connection} is there, and there is no such connection"));
        };
        let known = acknowledged.len() as u64;
        if *number == 0 || *number > known + 1 {
            return Err(format!(
                "write {number} of connection {connection} is there, and only {known} were acknowledged"
            ));
        }
        if !found.insert(*number) {
            return Err(format!("write {number} of connection {connection} is there twice"));
        }
    }
    let mut verdict = Verdict::default();
    for (acknowledged, found) in all.iter().zip(&found) {
        for (number, at) in (1u64..).zip(acknowledged) {
            let is_before = end.is_none_or(|end| *at <= end);
            let is_lost = u64::from(!found.contains(&number));
            verdict.acknowledged += 1;
            verdict.before_end += u64::from(is_before);
            *(if is_before { &mut verdict.lost } else { &mut verdict.lost_later }) += is_lost;
        }
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_and_is_gone_is_lost_and_by_when_it_was_acknowledged() {
        let all = [vec![10, 20, 30], vec![15, 25]];
        let there = [(0, 1), (0, 3), (1, 1)];
        let verdict = judge(&all, &there, Some(25)).expect("a sound ledger");
        assert_eq!(verdict, Verdict { acknowledged: 5, before_end: 4, lost: 2, lost_later: 0 });
        let verdict = judge(&all, &there, Some(24)).expect("a sound ledger");
        assert_eq!(verdict, Verdict { acknowledged: 5, before_end: 3, lost: 1, lost_later: 1 });
        let verdict = judge(&all, &there, None).expect("a sound ledger");
        assert_eq!(verdict, Verdict { acknowledged: 5, before_end: 5, lost: 2, lost_later: 0 });
    }

    #[test]
    fn a_write_under_way_may_be_there_and_no_other() {
        let all = [vec![10]];
        let nothing_lost = Verdict { acknowledged: 1, before_end: 1, lost: 0, lost_later: 0 };
        assert_eq!(judge(&all, &[(0, 1), (0, 2)], None), Ok(nothing_lost));
        for there in [vec![(0, 3)], vec![(0, 0)], vec![(1, 1)], vec![(0, 1), (0, 1)]] {
            assert!(judge(&all, &there, None).is_err(), "{there:?}");
        }
    }
}
