//! The control socket: what an operator may ask of the running daemon.
//!
//! `wire` has the types that go over it, `server` answers, `metrics` is the
//! state for Prometheus. HTTP over a unix socket, so that
//! `curl --unix-socket` works. Must never take the pool's lock: what changes the pool is an order.

pub mod metrics;
pub mod server;
pub mod wire;
