//! The control socket: what an operator may ask of the running daemon.
//!
//! `wire` has the types that go over it, `gate` lets callers in, `rights` says who may what and `limits` how much,
//! `server` answers, `stream` goes on answering, `fleet` answers about the group, `operator` makes events of requests,
//! `metrics` is the state for Prometheus. HTTP over a unix socket, so that `curl --unix-socket` works.
//! `page` is the dashboard; `port` is where browsers
//! get it over TCP, when that is switched on, and `browser` keeps pages of others away. Must never take the pool's lock: what changes
//! the pool is an order.

mod browser;
mod fleet;
pub mod gate;
pub mod limits;
pub mod metrics;
pub mod operator;
mod page;
pub mod port;
pub mod rights;
pub mod server;
mod stream;
pub mod wire;

#[cfg(test)]
mod tests;
