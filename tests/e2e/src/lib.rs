//! What end-to-end tests share: plugins that they build for themselves, simple ones that record and zoos of bad ones, and a
//! cloud's source that is watched. Inputs: sources in `plugins/`, a cloud. Outputs: libraries in a test's own directory, what
//! a source told.

pub mod bestiary;
pub mod documents;
pub mod machine;
pub mod official;
pub mod picture;
pub mod script;
pub mod scripted;
pub mod simple;
pub mod watched;
pub mod zoo;
