//! What plugins tell people of an event.
//!
//! Responsibilities: the one line that is read first, and texts that an operator's template makes of an event. Inputs: an
//! event, templates. Outputs: texts. Must never let a value of an event act as mark-up in a text that has some, nor let a
//! template that cannot work wait for the event to say so.

mod notice;
mod template;

pub use notice::Notice;
#[cfg(any(test, feature = "testing"))]
pub use notice::spot_interruption;
pub use template::{BadTemplate, Markup, Template, context};
