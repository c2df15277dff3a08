//! CloudSnooze plugin that answers the lifecycle hook at which Auto Scaling holds a machine that it terminates.
//!
//! One handler of high priority asks for more time (`heartbeat`), one of the lowest lets the machine go (`complete`) when the
//! others are done. Inputs: events, group and hook or none. Outputs: a report with the state that AWS shows. Must never let a
//! machine go that may stay, nor answer a hook at which it does not wait.
//!
//! Reading order: [`lifecycle`] (what for which event, and the verdict), `hook` (the requests).

mod config;
mod hook;
pub mod lifecycle;

pub use config::Config;
pub use lifecycle::AwsLifecycle;

cloudsnooze_plugin::export!(
    AwsLifecycle;
    vendor: c"The CloudSnooze authors",
    license: c"Apache-2.0",
    url: c""
);
