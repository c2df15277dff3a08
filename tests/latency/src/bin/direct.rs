//! `direct`: the real-time thread that has the event calls the handler itself. There is no hand-over at all: what is left
//! is the call. Baseline of handlers that promise not to block and are called inline.

use cloudsnooze::sys::memory;
use latency::handler::{Handler, parts_directory};
use latency::protocol::{Ready, serve};
use latency::slot::Slots;
use latency::stage;

fn main() -> std::io::Result<()> {
    let handler = Handler::load(&parts_directory()?)?;
    let slots = Slots::new(1)?;
    let _locked = memory::lock_all();
    let note = "the publisher calls the handler itself".into();
    let ready = Ready { name: "direct".into(), granted: stage::granted(stage::raise()), note };
    serve(&ready, |request| Ok(stage::run(request, slots.at(0), || (), |()| handler.call(slots.at(0)), || ())))
}
