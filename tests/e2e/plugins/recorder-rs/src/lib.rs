//! The Rust one of the four plugins that write one line of JSON about each event.
//!
//! Responsibilities: the same line, key by key, as `c-examples/minimal`, `c-examples/cpp` and `recorder.py` write, so that
//! a test can hold the four against each other. Inputs: an event. Outputs: a line in a file. It must never write a field
//! that the others do not.

use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;

use cloudsnooze_plugin::serde_json::{Map, Value, json};
use cloudsnooze_plugin::{Call, Error, Event, Host, Instance, Outcome, Plugin, Verification, abi, c_str};

/// The keys of the line, and the field that each holds.
const FIELDS: [(&str, u32); 12] = [
    ("type", abi::SNOOZE_FIELD_TYPE),
    ("id", abi::SNOOZE_FIELD_ID),
    ("source", abi::SNOOZE_FIELD_SOURCE),
    ("severity", abi::SNOOZE_FIELD_SEVERITY),
    ("provider", abi::SNOOZE_FIELD_PROVIDER),
    ("action", abi::SNOOZE_FIELD_ACTION),
    ("deadline", abi::SNOOZE_FIELD_DEADLINE),
    ("instanceID", abi::SNOOZE_FIELD_INSTANCE_ID),
    ("instanceType", abi::SNOOZE_FIELD_INSTANCE_TYPE),
    ("zone", abi::SNOOZE_FIELD_ZONE),
    ("region", abi::SNOOZE_FIELD_REGION),
    ("noticeKind", abi::SNOOZE_FIELD_NOTICE_KIND),
];

/// The configuration.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// File that gets one line of JSON for each event
    file: PathBuf,
}

/// The plugin.
#[derive(Debug)]
pub struct Recorder {
    file: PathBuf,
}

impl Plugin for Recorder {
    const ID: &'static CStr = c"org.cloudsnooze.test.recorder-rs";
    const NAME: &'static CStr = c"recorder-rs";
    const VERSION: &'static CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static CStr = c"Appends one line of JSON about each event to a file";
    type Config = Config;

    fn new(_: Host, config: Config, _: Instance) -> Result<Self, Error> {
        Ok(Self { file: config.file })
    }

    fn on_event(&self, event: &Event<'_>, _: &Call<'_>) -> Result<Outcome, Error> {
        let mut line = Map::from_iter([("plugin".to_owned(), json!("recorder-rs"))]);
        line.extend(FIELDS.iter().map(|(key, field)| ((*key).to_owned(), json!(event.field(*field)))));
        let mut file = OpenOptions::new().create(true).append(true).open(&self.file)?;
        file.write_all(format!("{}\n", Value::Object(line)).as_bytes())?;
        file.sync_all()?;
        Ok(Outcome::handled(json!({ "lines": 1 })))
    }

    fn verify(&self, event: &Event<'_>, _: &Call<'_>) -> Result<Verification, Error> {
        let wanted = format!("\"id\":\"{}\"", event.id());
        for line in BufReader::new(File::open(&self.file)?).lines() {
            if line?.contains(&wanted) {
                return Ok(Verification::Verified(json!({ "lines": 1 })));
            }
        }
        Err(Error::new(format!("no line of {} holds {wanted}", self.file.display())))
    }
}

cloudsnooze_plugin::export!(Recorder; vendor: c"The CloudSnooze authors", license: c"Apache-2.0", url: c"");
