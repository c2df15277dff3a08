//! What people are told of an event that is over, and the way it gets to them in time.
//!
//! `words`, `reading`, `evidence` and `verdict` say what stands in a report; `timeline` is its picture and `page` the whole
//! as HTML: all pure, and used by the command line too. `courier` has each report kept by `archive` in a directory and sent
//! by `post` to a server, on threads of its own. Must never hold up the recorder, and with it the journal: what is to be
//! delivered waits in a bounded list.

pub mod archive;
pub mod courier;
pub mod evidence;
pub mod page;
pub mod post;
pub mod reading;
pub mod timeline;
pub mod verdict;
pub mod words;
