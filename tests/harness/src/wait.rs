//! Waiting for a condition, with a bound.
//!
//! Responsibilities: the one loop that polls, and the only place of the tests that sleeps. Inputs: a description, a bound,
//! a check. Outputs: what the check found, or a text that says what was waited for. It must never panic by itself.

use std::time::{Duration, Instant};

/// The pause after the first look. Later ones are longer, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// Long enough to leave the processor to what is waited for, short enough that nobody notices.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Asks `check` again and again until it finds something, at most for `timeout`. Blocks the calling thread.
///
/// # Errors
/// When the time is over: a text with `what` was waited for, and how long.
pub fn until<T>(what: &str, timeout: Duration, mut check: impl FnMut() -> Option<T>) -> Result<T, String> {
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        // Read before the check: what comes true while the last pause runs is still found.
        let is_over = started.elapsed() >= timeout;
        if let Some(found) = check() {
            return Ok(found);
        }
        if is_over {
            return Err(format!("waited {:.1} s in vain for {what}", timeout.as_secs_f64()));
        }
        std::thread::sleep(pause.min(timeout.saturating_sub(started.elapsed())));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_already_is_found_without_a_pause() {
        let mut looks = 0;
        let found = until("a number", Duration::ZERO, || {
            looks += 1;
            Some(7)
        });
        assert_eq!((found, looks), (Ok(7), 1));
    }

    #[test]
    fn what_comes_true_later_is_found() {
        let started = Instant::now();
        let found = until("20 ms", Duration::from_secs(10), || {
            (started.elapsed() >= Duration::from_millis(20)).then(|| started.elapsed())
        });
        let after = found.expect("it came true");
        assert!(after >= Duration::from_millis(20) && after < Duration::from_secs(5), "{after:?}");
    }

    #[test]
    fn what_never_comes_true_is_given_up_at_the_bound_and_named() {
        let started = Instant::now();
        let error = until("the moon", Duration::from_millis(60), || None::<()>).expect_err("it never came true");
        assert!(started.elapsed() >= Duration::from_millis(60));
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        assert_eq!(error, "waited 0.1 s in vain for the moon");
    }

    #[test]
    fn a_slow_check_gets_one_look_after_the_bound() {
        let mut looks = 0;
        let found = until("the second look", Duration::from_millis(1), || {
            looks += 1;
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(5) {
                std::hint::spin_loop();
            }
            (looks == 2).then_some(looks)
        });
        assert_eq!(found, Ok(2));
    }
}
