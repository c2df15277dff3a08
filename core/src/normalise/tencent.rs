//! Tencent Cloud: the notice of the CVM instance metadata service.
//!
//! Responsibilities: a body -> the notice that a spot instance is taken back. Inputs: the body of a 200 reply, a `Reading`.
//! Outputs: a `Notice` or a `ParseError`. Must never treat garbage as "no notice", or fire for a time that has passed.
//!
//! Facts: Tencent Cloud, "Querying the repossession status of a spot instance" (product/213/32487): a time in UTC+8, with a
//! space in it and without a zone; 404 without a notice.

use super::spot_time::{self, Dialect};
use super::{Notice, NoticeKey, ParseError, Reading};
use crate::event::Machine;

/// The provider's name in keys and events.
pub const PROVIDER: &str = "tencent";

const DIALECT: Dialect =
    Dialect { provider: PROVIDER, ahead_hours: 8, may_be_empty: false, expected: "a time such as 2018-08-18 12:05:33" };

/// `spot/termination-time`. None when its time has passed.
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
