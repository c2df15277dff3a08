//! Rust SDK for CloudSnooze plugins.
//!
//! Implement [`Plugin`] for a type, name it in [`export!`], build a `cdylib`: that is a plugin.
//! Responsibilities: the safe face of the C ABI, typed configuration with its JSON Schema, and a guard
//! that turns a panic into an error before it can reach the border (the host could not catch it).
//! Must never: let a panic out, keep a borrowed pointer beyond its call, or allocate on the way into
//! `on_event`.
//!
//! ```
//! use cloudsnooze_plugin::{Call, Error, Event, Host, Instance, Outcome, Plugin, c_str, serde_json::json};
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     /// File to touch.
//!     path: std::path::PathBuf,
//! }
//!
//! struct Touch {
//!     config: Config,
//! }
//!
//! impl Plugin for Touch {
//!     const ID: &'static std::ffi::CStr = c"org.example.touch";
//!     const NAME: &'static std::ffi::CStr = c"touch";
//!     const VERSION: &'static std::ffi::CStr = c_str!(env!("CARGO_PKG_VERSION"));
//!     const DESCRIPTION: &'static std::ffi::CStr = c"Touches a file";
//!     type Config = Config;
//!
//!     fn new(_host: Host, config: Config, _instance: Instance) -> Result<Self, Error> {
//!         Ok(Self { config })
//!     }
//!
//!     fn on_event(&self, event: &Event<'_>, _call: &Call<'_>) -> Result<Outcome, Error> {
//!         std::fs::write(&self.config.path, event.event_type())?;
//!         Ok(Outcome::handled(json!({ "path": self.config.path })))
//!     }
//! }
//!
//! cloudsnooze_plugin::export!(Touch; vendor: c"Example", license: c"Apache-2.0", url: c"");
//! ```

mod call;
mod error;
mod event;
mod export;
mod host;
pub mod keeper;
pub mod kept;
pub mod mounts;
pub mod pause;
mod plugin;
pub mod process;
mod purpose;
mod raw;
pub mod source;
#[cfg(feature = "testing")]
pub mod testing;

pub use call::{Call, Cancel};
pub use cloudsnooze_abi as abi;
pub use error::{Code, Error};
pub use event::{Event, Severity};
pub use host::{Host, Level};
pub use plugin::{Instance, Outcome, Plugin, Subscription, Verification};
pub use purpose::Purpose;
pub use schemars;
pub use serde_json;

/// What the entry record says the plugin was built with.
pub const SDK: &std::ffi::CStr = c_str!("rust-sdk ", env!("CARGO_PKG_VERSION"));

#[doc(hidden)]
pub mod private {
    //! What the export macro needs; no interface for people.
    #[cfg(feature = "surface")]
    pub use crate::export::surface_text;
    pub use crate::export::{ClassList, ClassOf};
    pub use cloudsnooze_abi as abi;
}
