//! How often a score puts two machines into the order in which they were interrupted: Harrell's C for censored times.
//!
//! Inputs: subjects and a score for each (higher is riskier). Outputs: a share between 0 and 1. Must never compare a pair whose order is
//! not known: one of the two has to have been interrupted while the other was seen to live at least as long.

use super::Subject;

/// Pairs that were put right, counting equal scores half; None where no pair can be compared. In n log n steps.
///
/// Two that were interrupted at the same age say nothing; one that was stopped at the age at which another was interrupted outlived it.
/// Source: Harrell et al., Statistics in Medicine 15 (1996).
#[allow(clippy::cast_precision_loss, reason = "numbers of pairs are below 2^53")]
pub(super) fn concordance(subjects: &[Subject], scores: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.dedup();
    let rank = |score: f64| sorted.partition_point(|other| *other < score);
    let mut order: Vec<(&Subject, usize)> = subjects.iter().zip(scores).map(|(s, score)| (s, rank(*score))).collect();
    order.sort_by(|a, b| b.0.hours.total_cmp(&a.0.hours));
    let mut outlived = Counts::new(sorted.len());
    let (mut right, mut equal, mut pairs) = (0_u64, 0_u64, 0_u64);
    // From the oldest: at each age those that were stopped come in first, as they outlived those that were interrupted.
    for group in order.chunk_by(|a, b| a.0.hours == b.0.hours) {
        for (_, rank) in group.iter().filter(|(subject, _)| !subject.interrupted) {
            outlived.add(*rank);
        }
        for (_, rank) in group.iter().filter(|(subject, _)| subject.interrupted) {
            right += outlived.below(*rank);
            equal += outlived.below(rank + 1) - outlived.below(*rank);
            pairs += outlived.below(sorted.len());
        }
        for (_, rank) in group.iter().filter(|(subject, _)| subject.interrupted) {
            outlived.add(*rank);
        }
    }
    (pairs > 0).then(|| (right as f64 + 0.5 * equal as f64) / pairs as f64)
}

/// How many of each rank, with sums from the lowest (Fenwick, Software: Practice and Experience 24, 1994).
struct Counts(Vec<u64>);

impl Counts {
    fn new(ranks: usize) -> Self {
        Self(vec![0; ranks + 1])
    }

    fn add(&mut self, rank: usize) {
        let mut at = rank + 1;
        while let Some(count) = self.0.get_mut(at) {
            *count += 1;
            at += at & at.wrapping_neg();
        }
    }

    fn below(&self, rank: usize) -> u64 {
        let (mut at, mut sum) = (rank, 0);
        while at > 0 {
            sum += self.0.get(at).copied().unwrap_or_default();
            at -= at & at.wrapping_neg();
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(hours: f64, interrupted: bool) -> Subject {
        Subject { hours, interrupted, covariates: Vec::new(), cluster: 0 }
    }

    #[test]
    fn riskier_machines_that_go_first_are_right_and_equal_scores_count_half() {
        let subjects = [subject(1.0, true), subject(2.0, true), subject(3.0, false)];
        assert_eq!(concordance(&subjects, &[3.0, 2.0, 1.0]), Some(1.0));
        assert_eq!(concordance(&subjects, &[1.0, 2.0, 3.0]), Some(0.0));
        assert_eq!(concordance(&subjects, &[1.0, 1.0, 1.0]), Some(0.5));
    }

    #[test]
    fn pairs_without_an_order_are_not_counted() {
        assert_eq!(concordance(&[subject(1.0, false), subject(2.0, true)], &[1.0, 2.0]), None);
        assert_eq!(concordance(&[subject(1.0, true), subject(1.0, true)], &[1.0, 2.0]), None);
        assert_eq!(concordance(&[subject(1.0, true), subject(1.0, false)], &[2.0, 1.0]), Some(1.0));
        assert_eq!(concordance(&[], &[]), None);
    }
}
