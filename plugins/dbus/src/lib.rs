//! D-Bus calls of plugins: bounded by the time left, stopped by a cancel.
//!
//! Responsibilities: a connection that works on the thread that asks, and what systemd's manager says of units. Inputs: a
//! [`Limit`], made of the host's call. Outputs: answers, or a [`Fault`] that says who refused what. Must never start a thread,
//! leave one behind or outlast the limit: a plugin owes that to its host.
//!
//! A connection is opened for each call and closed after it. It goes to a socket of this machine, so that takes about a
//! millisecond, and one that was kept would have to be watched: a bus that is restarted closes it.

mod bus;
mod limit;
mod units;

pub use bus::{Bus, Fault, Place};
pub use limit::Limit;
pub use units::{Properties, Unit, number, switch, text, texts};
pub use zbus;
