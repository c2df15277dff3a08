//! Whether two things rise together: the rank correlation of Spearman.
//!
//! Responsibilities: one number. Inputs: pairs. Outputs: between -1 and 1. Must never give a correlation of something that is always
//! the same.

/// Spearman's rank correlation; equal values share the mean of their ranks. `None` for fewer than three pairs, values that are no
/// numbers, or one side that never changes.
#[must_use]
pub fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    if pairs.len() < 3 || pairs.iter().any(|(x, y)| x.is_nan() || y.is_nan()) {
        return None;
    }
    let x = ranks(&pairs.iter().map(|(x, _)| *x).collect::<Vec<_>>());
    let y = ranks(&pairs.iter().map(|(_, y)| *y).collect::<Vec<_>>());
    let middle = (pairs.len() as f64 + 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - middle) * (b - middle)).sum::<f64>();
    let spread = (product(&x, &x) * product(&y, &y)).sqrt();
    (spread > 0.0).then(|| (product(&x, &y) / spread).clamp(-1.0, 1.0))
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    let value = |index: usize| values.get(index).copied().unwrap_or(0.0);
    order.sort_by(|one, other| value(*one).total_cmp(&value(*other)));
    let mut ranks = vec![0.0; values.len()];
    let mut from = 0;
    while from < order.len() {
        let same = order
            .iter()
            .skip(from)
            .take_while(|index| value(**index) == order.get(from).map_or(0.0, |first| value(*first)));
        let to = from + same.count().max(1);
        let rank = (from + to + 1) as f64 / 2.0;
        for index in order.iter().take(to).skip(from) {
            if let Some(place) = ranks.get_mut(*index) {
                *place = rank;
            }
        }
        from = to;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_correlation_is_that_of_the_textbook() {
        // Hollander and Wolfe's form with ties: worked out by hand.
        let of = |pairs: &[(f64, f64)]| spearman(pairs);
        assert_eq!(of(&[(1.0, 10.0), (2.0, 20.0), (3.0, 400.0)]), Some(1.0));
        assert_eq!(of(&[(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)]), Some(-1.0));
        let tied = of(&[(1.0, 1.0), (2.0, 2.0), (2.0, 3.0), (4.0, 4.0)]).expect("a correlation");
        assert!((tied - 4.5 / (4.5_f64 * 5.0).sqrt()).abs() < 1e-12, "{tied}");
    }

    #[test]
    fn what_never_changes_has_no_correlation() {
        assert_eq!(spearman(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
        assert_eq!(spearman(&[(1.0, 1.0), (2.0, 2.0)]), None);
        assert_eq!(spearman(&[(1.0, f64::NAN), (2.0, 2.0), (3.0, 1.0)]), None);
    }
}
