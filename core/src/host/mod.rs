//! What a hosted plugin is, from the file in a directory to an instance that takes calls.
//!
//! Flow: `discover` finds the file a name means, `trust` checks who could have written it, `peek` reads
//! its entry record from the bytes, `load` maps it, `schema` checks the configuration, `instance`
//! creates and activates, `native`, `isolate` and `external` are the ways to call. `services` is the table
//! that plugins call back, `source` the border of plugins that bring notices; `probe` is the self-test's own plugin;
//! `quarantine` remembers who ended the daemon. Must never know events' sources, plans or budgets.

mod backoff;
pub mod delivery;
pub mod discover;
pub mod external;
pub mod fields;
pub mod instance;
pub mod isolate;
pub mod load;
pub mod native;
mod packed;
pub mod peek;
pub mod probe;
pub mod quarantine;
pub mod refusal;
pub mod schema;
pub mod services;
pub mod source;
pub mod state;
pub mod trust;

pub use delivery::{Answer, CallCell, Delivery, Status, approach, stock_up};
pub use instance::{Instance, InstanceSpec};
pub use refusal::Refusal;
