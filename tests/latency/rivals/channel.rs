//! Rival `channel`: what a competent engineer writes first in Rust. One thread watches, one thread handles, a standard
//! channel between them, both at normal priority.
//!
//! Fair because: the receiving thread waits in `recv` (the channel's own parking, no polling interval), the message is a
//! small owned value, nothing is logged, and the handler is the same function through the same pointer as everyone's.
//! What it lacks is what the design lacks: nothing asks for real-time scheduling or a CPU of choice.

use latency::handler::{Handler, parts_directory};
use latency::protocol::{Ready, serve};
use latency::slot::Slots;
use latency::stage;
use std::sync::mpsc;
use std::thread;

/// What the watching thread hands over.
struct Notice {
    action: String,
    time: String,
}

fn main() -> std::io::Result<()> {
    let handler = Handler::load(&parts_directory()?)?;
    let slots = Slots::new(1)?;
    let slot = slots.at(0);
    let (sender, receiver) = mpsc::channel::<Notice>();
    let worker = thread::spawn(move || {
        for notice in receiver {
            handler.call(slot);
            // The notice lives until the handler is done with it.
            drop((notice.action, notice.time));
        }
    });
    let note = "std channel to a worker thread".into();
    let ready = Ready { name: "rival-channel".into(), granted: "normal".into(), note };
    serve(&ready, |request| {
        let notice = || Notice { action: "terminate".into(), time: "2030-01-02T03:04:05Z".into() };
        let send = |notice| sender.send(notice).expect("the worker lives as long as this end");
        Ok(stage::run(request, slot, notice, send, || ()))
    })?;
    drop(sender);
    worker.join().map_err(|_| std::io::Error::other("the worker panicked"))
}
