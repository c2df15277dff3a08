//! The fake metadata service as a client sees it: every body, status, fault, script and control request over a real
//! socket, read by a client that hides nothing.

mod answers;
mod azure;
mod client;
mod control;
mod every_cloud;
mod faults;
mod gcp;
mod program;
mod scripts;
mod sdk;
mod spot_time;
mod stories;
mod tokens;
