//! CloudSnooze plugin that takes the machine out of its load balancers' target groups and its ECS cluster.
//!
//! On a notice it deregisters the machine as a target and waits until it gets no new requests, and sets its container instance
//! to draining; on a withdrawn notice it undoes what it did. Inputs: events, target groups, a cluster. Outputs: a report with
//! the states that AWS shows. Must never undo what it has not done, nor change anything for a notice after which the machine
//! may stay.
//!
//! Reading order: [`deregister`] (what for which event, and the verdict), `work` (the steps), `balancer` and `cluster` (the
//! requests), `done` (what is to be undone).

mod balancer;
mod cluster;
mod config;
pub mod deregister;
mod done;
mod work;

pub use config::Config;
pub use deregister::AwsDeregister;

cloudsnooze_plugin::export!(
    AwsDeregister;
    vendor: c"The CloudSnooze authors",
    license: c"Apache-2.0",
    url: c""
);
