//! Alibaba Cloud: the notice of the ECS instance metadata service.
//!
//! Responsibilities: a body -> the notice that a preemptible instance is released. Inputs: the body of a 200 reply, a
//! `Reading`. Outputs: a `Notice` or a `ParseError`. Must never treat garbage as "no notice", or fire for a time that has
//! passed.
//!
//! Facts: Alibaba Cloud ECS user guide, "Query the interruption events of preemptible instances": a time in UTC, about five
//! minutes ahead; without a notice 404, in older text an empty body.

use super::spot_time::{self, Dialect};
use super::{Notice, NoticeKey, ParseError, Reading};
use crate::event::Machine;

/// The provider's name in keys and events.
pub const PROVIDER: &str = "alibaba";

const DIALECT: Dialect = Dialect {
    provider: PROVIDER,
    ahead_hours: 0,
    may_be_empty: true,
    expected: "a time such as 2015-01-05T18:02:00Z, or nothing",
};

/// `instance/spot/termination-time`. None when it is empty or its time has passed.
///
/// # Errors
/// The body is no time.
pub fn termination_time(body: &[u8], reading: Reading<'_>) -> Result<Option<Notice>, ParseError> {
    spot_time::termination_time(&DIALECT, body, reading)
}

/// Key of the interruption notice of this machine: there is at most one.
pub fn spot_interrupt_key(machine: &Machine) -> NoticeKey {
    spot_time::spot_interrupt_key(&DIALECT, machine)
}
