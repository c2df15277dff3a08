//! CloudSnooze plugin that uploads directories to an object store before the machine goes away.
//!
//! On a notice it uploads what the store does not hold yet, newest files first, as far as the time allows, and writes a
//! manifest last. Inputs: events, directories, the address of a bucket. Outputs: objects, and a report of what is there and
//! what is not. Must never begin a copy that cannot end in time, call a part the whole, or follow a link out of a directory.
//!
//! Reading order: [`uploader`] (what for which event, and the verdict), `round` (one upload, from finding files to the
//! manifest), `lane` (what runs now), `fit` and `meter` (what there is time for), `upload` (one file), `tree` and `read`
//! (files), `record` and `manifest` (what is there already), `place`, `wire` and `fault` (the store), `probe` (drills).

mod config;
mod fault;
mod fit;
mod lane;
mod manifest;
mod meter;
mod place;
mod probe;
mod read;
mod record;
mod report;
mod round;
mod tree;
mod upload;
pub mod uploader;
mod wire;

pub use config::{Config, SourceConfig};
pub use uploader::StateUploader;

cloudsnooze_plugin::export!(
    StateUploader;
    vendor: c"The CloudSnooze authors",
    license: c"Apache-2.0",
    url: c""
);
