//! One slice of events, published the same way by every participant in Rust.
//!
//! Inputs: a request, how the design makes and publishes an event. Outputs: nanoseconds from publishing to the handler's
//! first instruction. Must never allocate, print or take a lock between the two readings of the clock.

use crate::protocol::Request;
use crate::slot::{Slot, now_ns};
use cloudsnooze::sys::sched::{self, Class, Grant};
use std::thread;
use std::time::Duration;

/// Priority of every real-time thread of the benchmark.
pub const RT_PRIORITY: u8 = 10;

/// From a question to the answer of a metadata service, about: what lies between the beginning of a round of polls and a
/// notice. Other work has the CPU meanwhile.
pub const ROUND_TRIP: Duration = Duration::from_micros(250);

/// Asks for real time for the calling thread, on the CPU where all that is measured runs.
pub fn raise() -> Grant {
    let grant = sched::raise_current_thread(Class::Fifo, RT_PRIORITY);
    if grant.is_real_time() {
        sched::place(0, &[home_cpu()]);
    }
    grant
}

/// The CPU that a daemon would choose for sources and workers: the last one allowed.
pub fn home_cpu() -> u32 {
    sched::allowed_cpus().last().copied().unwrap_or(0)
}

/// Another CPU than [`home_cpu`]; the same where there is only one.
pub fn far_cpu() -> u32 {
    sched::allowed_cpus().first().copied().unwrap_or(0)
}

/// What was granted, in the protocol's words.
pub fn granted(grant: Grant) -> String {
    match grant {
        Grant::Fifo(priority) => format!("SCHED_FIFO {priority}"),
        Grant::RoundRobin(priority) => format!("SCHED_RR {priority}"),
        Grant::Nice(nice) => format!("normal, nice {nice}"),
        Grant::Normal => "normal".into(),
    }
}

/// Memory that evicts caches when it is touched.
#[derive(Debug)]
pub struct Ballast(Vec<u8>);

impl Ballast {
    /// So many KiB, touched once so that no event pays for a first page fault.
    pub fn new(kib: usize) -> Self {
        Self(vec![1; kib * 1024])
    }

    /// Writes every cache line of it.
    pub fn thrash(&mut self) {
        for line in self.0.chunks_mut(64) {
            line[0] = line[0].wrapping_add(1);
        }
        std::hint::black_box(&mut self.0);
    }
}

/// Publishes the events of a request. `prepare` makes what `publish` hands over and is not measured; `settle` is called
/// after the handler has ended and returns when the design is at rest again.
pub fn run<E>(
    request: Request,
    slot: &Slot,
    mut prepare: impl FnMut() -> E,
    mut publish: impl FnMut(E),
    mut settle: impl FnMut(),
) -> Vec<i64> {
    let mut took = Vec::with_capacity(request.count);
    let mut ballast = Ballast::new(request.thrash_kib);
    for _ in 0..request.count {
        thread::sleep(Duration::from_micros(request.gap_us));
        let event = prepare();
        ballast.thrash();
        let published_ns = now_ns();
        publish(event);
        took.push(slot.wait() - published_ns);
        settle();
    }
    took
}
