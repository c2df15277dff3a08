//! CloudSnooze plugin that stops the containers of Docker or Podman in order, each within its part of the time left.
//!
//! Inputs: events, which containers in which order. Outputs: a report with how each ended; a withdrawn notice starts them again.
//! Must never call a container stopped that runs, or one that had to be killed orderly; never start one that it did not stop.
//!
//! Reading order: [`plugin`] (what an event asks for, and the verdict), `choose` (which containers, in which order), `grace` (how
//! the time is divided; pure), `stop` and `start` (the work), `engine` (the API), `checkpoint` (images of processes, where that
//! works), `record` (what is to be started again).

mod checkpoint;
mod choose;
pub mod config;
mod engine;
mod grace;
pub mod plugin;
mod record;
mod start;
mod stop;

pub use config::Config;
pub use plugin::ContainerStop;

cloudsnooze_plugin::export!(
    ContainerStop;
    vendor: c"The CloudSnooze authors",
    license: c"Apache-2.0",
    url: c""
);
