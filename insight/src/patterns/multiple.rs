//! One look in twenty shows something by chance: p-values that know how many looks there were.
//!
//! Inputs: the p-values of all looks. Outputs: adjusted ones, in the same order. Must never be given only the looks that were promising.

/// The share of false findings among all looks at least as good as each (Benjamini and Hochberg, JRSS B 57, 1995). What is no number
/// counts as 1.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "looks are few")]
pub fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    let value = |at: usize| p.get(at).copied().filter(|p| p.is_finite()).unwrap_or(1.0).clamp(0.0, 1.0);
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| value(*b).total_cmp(&value(*a)));
    let mut adjusted = vec![1.0; p.len()];
    let mut least = 1.0_f64;
    for (behind, at) in order.iter().enumerate() {
        least = least.min(value(*at) * p.len() as f64 / (p.len() - behind) as f64);
        if let Some(place) = adjusted.get_mut(*at) {
            *place = least;
        }
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjusted_values_are_those_of_the_paper_and_keep_their_order() {
        // Each value times 4 over its place, and never above that of a larger one.
        let adjusted = benjamini_hochberg(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in adjusted.iter().zip([0.02, 0.04, 0.04, 0.02]) {
            assert!((found - expected).abs() < 1e-12, "{adjusted:?}");
        }
        assert_eq!(benjamini_hochberg(&[f64::NAN, 2.0]), [1.0, 1.0]);
        assert!(benjamini_hochberg(&[]).is_empty());
    }
}
