//! End to end: from the metadata service's write of a notice to the first instruction of the handler.
//!
//! Inputs: a client that does one round of polling, all the way to the handler. Outputs: a participant. Each event is two
//! rounds, as in a cloud: one that finds nothing, one that finds a notice. Must never give the service a CPU or a priority
//! of its own: it is the network's far end, and the same for every client.

use crate::metadata::Service;
use crate::protocol::{Ready, Request, serve};
use crate::slot::Slot;
use crate::stage::{self, Ballast};
use std::io;
use std::thread;
use std::time::Duration;

/// Where the service answers from, by the last argument of the program: `near`, on the CPU of the client, or `far`, on
/// another, which is where the interrupts of a network usually arrive.
pub fn service_cpu() -> u32 {
    if is_near() { stage::home_cpu() } else { stage::far_cpu() }
}

/// The participant's name, with where the service is.
pub fn named(name: &str) -> String {
    if is_near() { format!("{name}-near") } else { name.to_owned() }
}

fn is_near() -> bool {
    std::env::args().next_back().as_deref() == Some("near")
}

/// A design under test: one round of polling; when the round finds a notice, its handler marks the slot, in this thread
/// or in another.
pub trait Client {
    /// Asks once.
    ///
    /// # Errors
    /// What the network says.
    fn poll(&mut self) -> io::Result<()>;
}

/// Plays the participant `name`: the calling thread becomes the client's real-time thread.
///
/// # Errors
/// What the protocol or the client says.
pub fn participate(name: &str, note: &str, service: &Service, client: &mut impl Client, slot: &Slot) -> io::Result<()> {
    let ready = Ready { name: name.into(), granted: stage::granted(stage::raise()), note: note.into() };
    serve(&ready, |request| run(request, service, client, slot))
}

fn run(request: Request, service: &Service, client: &mut impl Client, slot: &Slot) -> io::Result<Vec<i64>> {
    let mut took = Vec::with_capacity(request.count);
    let mut ballast = Ballast::new(request.thrash_kib);
    for _ in 0..request.count {
        thread::sleep(Duration::from_micros(request.gap_us));
        client.poll()?;
        ballast.thrash();
        service.announce();
        client.poll()?;
        let started_ns = slot.wait();
        took.push(started_ns - service.written_ns());
    }
    Ok(took)
}
