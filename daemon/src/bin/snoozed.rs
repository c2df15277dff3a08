//! `snoozed`, the daemon: parses its arguments and hands over to `supervise`.
//! Inputs: arguments. Outputs: an exit status. Must never hold logic of its own.
#![allow(clippy::exit)]

use clap::Parser;
use cloudsnooze::supervise;

fn main() {
    // Leaves without the static destructors of loaded plugins: their order is nobody's to steer.
    cloudsnooze::sys::leave(supervise::run(&supervise::Args::parse()))
}
