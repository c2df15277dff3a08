//! The control socket: what an operator may ask of the running daemon.
//!
//! `wire` has the types that go over it, `gate` lets callers in, `rights` says who may what and `limits` how much,
//! `server` answers, `stream` goes on answering, `operator` makes events of requests, `metrics` is the state for
//! Prometheus. HTTP over a unix socket, so that `curl --unix-socket` works. Must never take the pool's lock: what changes
//! the pool is an order.

pub mod gate;
pub mod limits;
pub mod metrics;
pub mod operator;
pub mod rights;
pub mod server;
mod stream;
pub mod wire;

#[cfg(test)]
mod tests;
