//! Pauses between attempts.
//!
//! Inputs: how many attempts failed, the first and the longest pause. Outputs: a pause. Must never give machines that are
//! interrupted together the same one: they would come back together.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// The pause after so many attempts: `first`, then twice as long each time up to `longest`, shortened by chance.
pub fn growing(attempts: u32, first: Duration, longest: Duration) -> Duration {
    shortened(first.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1))).min(longest))
}

/// The pause less up to a fifth of it, at random.
#[allow(clippy::cast_precision_loss, reason = "a number below 1024")]
pub(crate) fn shortened(pause: Duration) -> Duration {
    // The standard library's only source of chance: every such state hashes nothing to another number.
    let chance = RandomState::new().build_hasher().finish() % 1024;
    pause - pause.mul_f64(chance as f64 / 1024.0 / 5.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_are_shortened_by_a_fifth_at_most() {
        let ms = Duration::from_millis;
        let to_five = [(0, 250), (1, 250), (2, 500), (3, 1000), (6, 5000), (40, 5000)].map(|row| (5000, row));
        let to_thirty = [(1, 250), (2, 500), (6, 8000), (9, 30_000), (20, 30_000)].map(|row| (30_000, row));
        for (longest, (attempts, whole)) in to_five.into_iter().chain(to_thirty) {
            for _ in 0..100 {
                let pause = growing(attempts, ms(250), ms(longest));
                assert!(pause <= ms(whole) && pause >= ms(whole * 4 / 5 - 1), "{attempts}: {pause:?}");
            }
        }
    }
}
