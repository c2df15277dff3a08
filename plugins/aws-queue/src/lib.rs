//! CloudSnooze plugin that brings the notices of AWS which EventBridge, Auto Scaling and AWS Health put into an SQS queue.
//!
//! Inputs: messages of the queue. Outputs: notices to the host; a message is deleted when the work for it is over. Must never
//! delete a message that another machine waits for, lose one whose work has not ended, or look for ever at one that nobody
//! understands.
//!
//! Reading order: [`message`] (what a message says), `decision` (what is to be done with it), `watch` (doing it).

#[cfg(feature = "plugin")]
mod config;
#[cfg(feature = "plugin")]
mod decision;
pub mod message;
#[cfg(feature = "plugin")]
mod requests;
#[cfg(feature = "plugin")]
mod watch;

#[cfg(feature = "plugin")]
pub use config::{Config, Foreign};
#[cfg(feature = "plugin")]
pub use watch::AwsQueue;

#[cfg(feature = "plugin")]
cloudsnooze_plugin::export!(
    AwsQueue;
    vendor: c"The CloudSnooze authors",
    license: c"Apache-2.0",
    url: c""
);
