//! What strangers can write, thrown at the code that reads it.
//!
//! Responsibilities: one function a target, which panics when a promise is broken. Inputs: any bytes. Outputs: none. A target
//! must never write a file, run a program, reach a network, or depend on anything but its input: the same bytes are played
//! by the engine (`make fuzz`) and by every `cargo test` (`tests/replay.rs`).
#![allow(clippy::expect_used, reason = "a broken promise is a panic")]

pub mod cloud;
pub mod gcp;
pub mod plugins;
pub mod settings;
pub mod socket;

/// A target.
pub type Target = fn(&[u8]);

/// All of them, by name. The folder of a target's inputs, `corpus/NAME`, has the same name.
pub const TARGETS: [(&str, Target); 17] = [
    ("metadata", cloud::metadata),
    ("azure", cloud::azure),
    ("spot_time", cloud::spot_time),
    ("gcp", gcp::gcp),
    ("reply", cloud::reply),
    ("times", cloud::times),
    ("event", cloud::event),
    ("queue", cloud::queue),
    ("config", settings::config),
    ("schema", settings::schema),
    ("scrub", settings::scrub),
    ("log_line", settings::log_line),
    ("control", socket::control),
    ("external", plugins::external),
    ("manifest", plugins::manifest),
    ("elf", plugins::elf),
    ("last_words", plugins::last_words),
];

/// A word that the inputs put where nothing may be shown: it must not come out.
pub const MARK: &str = "qzjxkvwq";

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

/// The names, for people.
pub fn names() -> String {
    TARGETS.map(|(name, _)| name).join(", ")
}

/// Cuts the input at its first zero byte; without one, the second part is empty.
fn two_parts(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[]),
    }
}
