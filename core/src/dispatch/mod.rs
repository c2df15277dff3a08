//! From a published event to handlers that ran: plan, budget, threads, report.
//!
//! `plan` and `budget` decide ahead and by time; `engine` is the state machine of what runs now;
//! `pool` is its threads; `run` is one delivery on one of them; `outbox` takes what happened to normal
//! threads. Must never read a notice or write a file.

pub mod budget;
pub mod engine;
pub mod outbox;
pub mod plan;
pub mod pool;
pub mod report;
pub mod run;
