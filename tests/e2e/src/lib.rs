//! Plugins that end-to-end tests build for themselves: simple ones that record, and zoos of bad ones.
//! Inputs: sources in `plugins/`. Outputs: libraries in a test's own directory.

pub mod bestiary;
pub mod machine;
pub mod picture;
pub mod simple;
pub mod zoo;
