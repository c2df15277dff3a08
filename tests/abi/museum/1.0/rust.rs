//! Exhibit in Rust, with the SDK of 1.0: the trait, a configuration with a schema, a result, verification, an error with text.
//! Inputs: an event. Outputs: a line in a file. It must never change: what was built from it is in the museum.

use std::ffi::CStr;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use cloudsnooze_plugin::serde_json::json;
use cloudsnooze_plugin::{Call, Error, Event, Host, Instance, Outcome, Plugin, Verification, abi};

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// File that gets one line for each thing that happens
    file: PathBuf,
    /// Fail with this text
    #[serde(default)]
    fail: String,
}

#[derive(Debug)]
pub struct Exhibit {
    config: Config,
}

impl Exhibit {
    fn note(&self, what: &str) -> Result<(), Error> {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.config.file)?;
        file.write_all(format!("rust {what}\n").as_bytes())?;
        Ok(())
    }
}

impl Plugin for Exhibit {
    const ID: &'static CStr = c"org.cloudsnooze.museum.rust";
    const NAME: &'static CStr = c"rust";
    const VERSION: &'static CStr = c"1.0.0";
    const DESCRIPTION: &'static CStr = c"An exhibit of the museum";
    type Config = Config;

    fn new(_: Host, config: Config, _: Instance) -> Result<Self, Error> {
        let exhibit = Self { config };
        exhibit.note("created")?;
        Ok(exhibit)
    }

    fn on_event(&self, event: &Event<'_>, _: &Call<'_>) -> Result<Outcome, Error> {
        if !self.config.fail.is_empty() {
            return Err(Error::new(self.config.fail.clone()));
        }
        self.note(&format!("handled {}", event.id()))?;
        Ok(Outcome::handled(json!({ "type": event.field(abi::SNOOZE_FIELD_TYPE) })))
    }

    fn verify(&self, event: &Event<'_>, _: &Call<'_>) -> Result<Verification, Error> {
        let wanted = format!("rust handled {}", event.id());
        let text = std::fs::read_to_string(&self.config.file)?;
        match text.lines().any(|line| line == wanted) {
            true => Ok(Verification::Verified(json!({ "lines": 1 }))),
            false => Err(Error::new(format!("no line says {wanted}"))),
        }
    }
}

impl Drop for Exhibit {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.note("destroyed");
    }
}

cloudsnooze_plugin::export!(Exhibit; vendor: c"The CloudSnooze authors", license: c"Apache-2.0", url: c"");
