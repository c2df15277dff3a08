//! A plugin that panics in the function its configuration names.
//!
//! Responsibilities: show that a panic of a plugin in Rust stays the plugin's own affair. Inputs: the name of a function.
//! Outputs: a panic there, and nothing elsewhere. It must never panic in a function that was not named.

use std::ffi::CStr;

use cloudsnooze_plugin::serde_json::json;
use cloudsnooze_plugin::{Call, Cancel, Error, Event, Host, Instance, Outcome, Plugin, Verification, c_str};

/// The configuration.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The function that panics: new, activate, warm_up, on_event, verify, on_cancel, deactivate or drop
    panics_in: String,
}

/// The plugin.
#[derive(Debug)]
pub struct Misbehaves {
    panics_in: String,
}

impl Misbehaves {
    fn reach(&self, function: &str) {
        assert!(self.panics_in != function, "the bear in {function} woke up");
    }
}

impl Plugin for Misbehaves {
    const ID: &'static CStr = c"org.cloudsnooze.test.misbehaves-rs";
    const NAME: &'static CStr = c"misbehaves-rs";
    const VERSION: &'static CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static CStr = c"Panics wherever its configuration says";
    type Config = Config;

    fn new(_: Host, config: Config, _: Instance) -> Result<Self, Error> {
        let made = Self { panics_in: config.panics_in };
        made.reach("new");
        Ok(made)
    }

    fn activate(&self) -> Result<(), Error> {
        self.reach("activate");
        Ok(())
    }

    fn warm_up(&self) {
        self.reach("warm_up");
    }

    fn on_event(&self, _: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        self.reach("on_event");
        // The only one that waits: its panic is to overlap the call.
        while self.panics_in == "on_cancel" && call.cancelled().is_none() {
            std::thread::yield_now();
        }
        Ok(Outcome::handled(json!({ "done": true })))
    }

    fn verify(&self, _: &Event<'_>, _: &Call<'_>) -> Result<Verification, Error> {
        self.reach("verify");
        Ok(Verification::Unknown)
    }

    fn on_cancel(&self, _: &Call<'_>, _: Cancel) {
        self.reach("on_cancel");
    }

    fn deactivate(&self) {
        self.reach("deactivate");
    }
}

impl Drop for Misbehaves {
    fn drop(&mut self) {
        self.reach("drop");
    }
}

cloudsnooze_plugin::export!(Misbehaves; vendor: c"The CloudSnooze authors", license: c"Apache-2.0", url: c"");
