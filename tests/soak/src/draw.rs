//! What goes wrong with one interruption, drawn from a seed.
//!
//! Inputs: a generator. Outputs: a [`Draw`]. Pure. Two faults that together would leave nothing to promise are not
//! drawn together: see `draw`.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// How the interruption is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// An AWS spot notice.
    Spot,
    /// An AWS scheduled event.
    Maintenance,
    /// A scheduled event that is withdrawn again soon after.
    Withdrawn,
    /// By an operator.
    Operator,
}

/// What happens to the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// SIGKILL so many milliseconds after the announcement.
    Kill(u64),
    /// SIGSTOP, and SIGCONT so many milliseconds later.
    Stop(u64),
    /// Its disk is full while the event runs.
    FullDisk,
    /// Nothing.
    None,
}

/// What the metadata service does to the next requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// An error status.
    Status(u16),
    /// Refuses every token.
    Tokens,
    /// Resets connections.
    Reset,
    /// Answers garbage.
    Garbage,
    /// Breaks off in the middle of a body.
    Truncated,
    /// Answers late.
    Delay,
    /// The time in the notice is another at each reading.
    Drift,
    /// The cloud's clock has jumped by an hour.
    Clock,
    /// Works.
    Well,
}

/// What the handler in the middle does.
pub const MODES: [&str; 12] =
    ["fail", "retry", "decline", "status", "slow", "garbage", "hang", "segv", "segv-after", "exit", "abort", ""];

/// Everything drawn for one interruption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// How it is announced.
    pub announced: Announced,
    /// What happens to the daemon.
    pub blow: Blow,
    /// What the metadata service does, and to how many requests.
    pub metadata: Metadata,
    /// So many requests are struck.
    pub requests: u32,
    /// What the handler in the middle does; empty: its work.
    pub mode: &'static str,
}

impl Draw {
    /// Whether the handler's code ends the daemon.
    pub fn plugin_ends_daemon(&self) -> bool {
        matches!(self.mode, "segv" | "segv-after" | "exit" | "abort")
    }
}

/// The generator of one worker.
pub fn generator(seed: u64, worker: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(worker))
}

/// Draws one interruption.
pub fn draw(random: &mut Xoshiro256PlusPlus) -> Draw {
    let announced = match random.random_range(0..100) {
        0..35 => Announced::Spot,
        35..75 => Announced::Maintenance,
        75..85 => Announced::Withdrawn,
        _ => Announced::Operator,
    };
    let mut blow = match random.random_range(0..100) {
        0..18 => Blow::Kill(random.random_range(0..600)),
        18..24 => Blow::Stop(random.random_range(10..200)),
        24..28 => Blow::FullDisk,
        _ => Blow::None,
    };
    let mut metadata = match random.random_range(0..100) {
        0..6 => Metadata::Status([500, 503, 429, 404][random.random_range(0..4usize)]),
        6..10 => Metadata::Tokens,
        10..14 => Metadata::Reset,
        14..18 => Metadata::Garbage,
        18..22 => Metadata::Truncated,
        22..26 => Metadata::Delay,
        26..30 => Metadata::Drift,
        30..32 => Metadata::Clock,
        _ => Metadata::Well,
    };
    let mode = match random.random_range(0..100) {
        n @ 0..33 => MODES[n % 11],
        _ => "",
    };
    // An operator's event is in nobody's metadata: what was not yet written down when the daemon was killed is gone.
    if announced == Announced::Operator && matches!(blow, Blow::Kill(_)) {
        blow = Blow::None;
    }
    let ends = matches!(mode, "segv" | "segv-after" | "exit" | "abort");
    // A daemon that ends while its journal cannot be written has nothing to go by.
    if ends && blow == Blow::FullDisk {
        blow = Blow::None;
    }
    // A notice that names another time at each reading is another notice to a daemon that knows nothing of the first
    // reading; and a 404 in its place says that there is none any more.
    let is_killed = ends || matches!(blow, Blow::Kill(_));
    if metadata == Metadata::Drift && (is_killed || announced != Announced::Spot) {
        metadata = Metadata::Well;
    }
    Draw { announced, blow, metadata, requests: random.random_range(1..8), mode }
}
