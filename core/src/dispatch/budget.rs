//! How much time each tier gets: a pure function of what is left and what each wants.
//!
//! Promises, held by property tests: never hands out more than is left, never starves a lower tier
//! below its minimum while all minima fit, gives every tier a share when they do not, and more time
//! left never means a smaller grant. Must never read a clock.

/// What one tier asks for. Nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// The longest timeout of its handlers.
    pub timeout_ns: i64,
    /// What it needs to be of any use; never more than the timeout.
    pub minimum_ns: i64,
}

/// The time granted to the first of the tiers still to run, given what is left until the work must be
/// over. A tier that ends early leaves its rest to those behind it, because this is asked again when
/// the next tier starts.
pub fn grant(left_ns: i64, tiers: &[Want]) -> i64 {
    let Some((first, rest)) = tiers.split_first() else { return 0 };
    let left = i128::from(left_ns.max(0));
    let minimum = |want: &Want| i128::from(want.minimum_ns.clamp(0, want.timeout_ns.max(0)));
    let behind: i128 = rest.iter().map(minimum).sum();
    let all = behind + minimum(first);
    let share = if left >= all {
        left - behind
    } else {
        // Not all minima fit: each tier gets the same part of its own.
        left * minimum(first) / all.max(1)
    };
    // Fits: at most `left_ns` or the timeout, both i64.
    i64::try_from(share.min(i128::from(first.timeout_ns.max(0)))).unwrap_or(0)
}

/// What every tier would get, one after the other, if each used all it was given: for showing a plan.
pub fn split(left_ns: i64, tiers: &[Want]) -> Vec<i64> {
    let mut left = left_ns.max(0);
    (0..tiers.len())
        .map(|n| {
            let granted = grant(left, &tiers[n..]);
            left -= granted;
            granted
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: i64 = 1_000_000_000;

    fn wants() -> impl Strategy<Value = Vec<Want>> {
        let want = (0..600i64, 0..60i64).prop_map(|(t, m)| Want { timeout_ns: t * S, minimum_ns: m.min(t) * S });
        proptest::collection::vec(want, 1..8)
    }

    #[test]
    fn the_seeds_three_tiers_at_120_and_at_20_seconds() {
        let want = |timeout: i64, minimum: i64| Want { timeout_ns: timeout * S, minimum_ns: minimum * S };
        let tiers = [want(30, 5), want(45, 3), want(30, 2)];
        assert_eq!(split(120 * S, &tiers), [30 * S, 45 * S, 30 * S]);
        assert_eq!(split(20 * S, &tiers), [15 * S, 3 * S, 2 * S]);
        assert_eq!(split(5 * S, &tiers), [5 * S / 2, 3 * S / 2, S]);
        assert_eq!(split(-S, &tiers), [0, 0, 0]);
    }

    proptest! {
        #[test]
        fn never_hands_out_more_than_is_left(left in -10..1000i64, tiers in wants()) {
            let given: i64 = split(left * S, &tiers).iter().sum();
            prop_assert!(given <= left.max(0) * S);
        }

        #[test]
        fn never_starves_a_tier_below_its_minimum_when_all_minima_fit(left in 0..1000i64, tiers in wants()) {
            let needed: i64 = tiers.iter().map(|t| t.minimum_ns).sum();
            prop_assume!(left * S >= needed);
            for (given, tier) in split(left * S, &tiers).iter().zip(&tiers) {
                prop_assert!(given >= &tier.minimum_ns && given <= &tier.timeout_ns);
            }
        }

        #[test]
        fn more_time_left_never_means_a_smaller_grant(left in 0..1000i64, more in 0..1000i64, tiers in wants()) {
            prop_assert!(grant((left + more) * S, &tiers) >= grant(left * S, &tiers));
        }

        #[test]
        fn when_minima_do_not_fit_each_tier_still_gets_a_share(percent in 1..100i64, tiers in wants()) {
            let needed: i64 = tiers.iter().map(|t| t.minimum_ns).sum();
            for (given, tier) in split(needed / 100 * percent, &tiers).iter().zip(&tiers) {
                prop_assert!(tier.minimum_ns == 0 || *given > 0);
            }
        }

        #[test]
        fn any_numbers_are_survived(left in any::<i64>(), timeout in any::<i64>(), minimum in any::<i64>()) {
            let want = Want { timeout_ns: timeout, minimum_ns: minimum };
            let given = grant(left, &[want, want, want]);
            prop_assert!(given >= 0 && given <= left.max(0));
        }
    }
}
