//! How the time left is divided between groups of containers.
//!
//! Inputs: the time that can be used, what the groups wish for. Outputs: seconds for `stop -t`. Pure. Must never hand out more
//! than there is, nor shorten a group while all wishes fit.

use std::time::Duration;

/// What the engine may take to end a container and tidy up after it, on top of its grace.
const TIDYING: Duration = Duration::from_secs(1);

/// Seconds from the stop signal to SIGKILL for the first of these groups. When not all wishes fit, each gets the same part of its own;
/// what one does not use is there for those after it, because this is asked anew for each.
pub(crate) fn for_first(left: Duration, wishes: &[u32]) -> u32 {
    let Some(first) = wishes.first() else { return 0 };
    if fits(left, wishes) {
        return *first;
    }
    whole_seconds(f64::from(*first) * usable(left, wishes.len()) / wished(wishes)).min(*first)
}

/// Whether every wish can be granted whole.
pub(crate) fn fits(left: Duration, wishes: &[u32]) -> bool {
    wished(wishes) <= usable(left, wishes.len())
}

fn wished(wishes: &[u32]) -> f64 {
    wishes.iter().map(|wish| f64::from(*wish)).sum()
}

/// Seconds that can be handed out.
fn usable(left: Duration, groups: usize) -> f64 {
    let groups = u32::try_from(groups).unwrap_or(u32::MAX).max(1);
    let tidying = TIDYING.min(left / groups.saturating_mul(4));
    left.saturating_sub(tidying.saturating_mul(groups)).as_secs_f64()
}

/// Whole seconds of a time that is short of a `u32`'s wish.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a u32")]
fn whole_seconds(seconds: f64) -> u32 {
    seconds.clamp(0.0, f64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn wishes_that_fit_are_granted_whole() {
        assert_eq!(for_first(second(60), &[10, 20, 20]), 10);
        assert_eq!(for_first(second(13), &[10, 0]), 10);
        assert_eq!(for_first(second(100), &[]), 0);
    }

    #[test]
    fn wishes_that_do_not_fit_are_shortened_alike_and_what_is_left_over_helps_the_next() {
        assert_eq!(for_first(second(32), &[30, 30]), 15);
        // The first took 2 of its 15.
        assert_eq!(for_first(second(29), &[30]), 28);
        assert_eq!(for_first(second(11), &[300, 10]), 8);
    }

    #[test]
    fn never_is_more_handed_out_than_there_is() {
        for millis in (0..40_000).step_by(77) {
            for wishes in [&[1][..], &[10, 10], &[3600, 1, 50], &[0, 0, 7], &[5; 40]] {
                let mut left = Duration::from_millis(millis);
                for index in 0..wishes.len() {
                    let grace = second(u64::from(for_first(left, &wishes[index..])));
                    assert!(grace <= left, "{millis} {wishes:?}");
                    left -= grace;
                }
            }
        }
    }
}
