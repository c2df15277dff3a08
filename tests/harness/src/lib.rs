//! What tests and the demo start and look at.
//!
//! Responsibilities: start real programs (the built daemon, MariaDB, PostgreSQL, Redis, NATS) and real services (an application to be
//! checkpointed, a webhook receiver) in private directories and on private ports, wait for conditions with a bound, and
//! leave nothing behind. Inputs: the built programs, a configuration. Outputs: handles that stop what they started when
//! they are dropped. It must never decide whether the product is right (tests do), and never link the product's code: it
//! drives the programs as a user would.

pub mod app;
pub mod clock;
pub mod daemon;
pub mod disk;
pub mod http;
pub mod mariadb;
pub mod moto;
pub mod nats;
pub mod paths;
pub mod postgres;
pub mod processes;
pub mod program;
pub mod redis;
pub mod relay;
pub mod require;
pub mod wait;
pub mod webhook;
pub mod writer;
