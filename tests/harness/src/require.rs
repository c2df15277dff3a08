//! What to do on a machine that lacks something a test needs.
//!
//! Responsibilities: say loudly that a test did not run. Inputs: what is missing, the environment. Outputs: a line on
//! standard error. It must never let a test pass silently.

use std::io::Write;

/// Set to 1, this environment variable turns everything that is missing into a failure.
pub const REQUIRE_ALL: &str = "CLOUDSNOOZE_REQUIRE_ALL";

/// Prints `NOT RUN: ` and `what` (what did not run, and why), and returns true: the test should return.
///
/// # Panics
/// When [`REQUIRE_ALL`] is 1, as on a machine that is known to have everything.
pub fn missing_means_skip(what: &str) -> bool {
    let is_strict = std::env::var(REQUIRE_ALL).is_ok_and(|value| value == "1");
    assert!(!is_strict, "NOT RUN: {what} ({REQUIRE_ALL}=1 demands it)");
    // Not through eprintln!: the test runner would keep that to itself when the test passes.
    let _printed = writeln!(std::io::stderr().lock(), "NOT RUN: {what}");
    true
}

/// Prints `NOT RUN: ` and `what` for a test that this type of machine cannot run, whatever is installed on it.
pub fn not_for_this_machine(what: &str) {
    let _printed = writeln!(std::io::stderr().lock(), "NOT RUN: {what}; this is {}", std::env::consts::ARCH);
}
