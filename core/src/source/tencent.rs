//! Tencent Cloud: watches the CVM instance metadata service.
//!
//! Responsibilities: what this cloud has and others have not: address, paths. Inputs: none. Outputs: the dialect for
//! `spot_time`. Must never ask by itself.
//!
//! Facts: Tencent Cloud, "Querying the repossession status of a spot instance" (product/213/32487), "Querying instance
//! metadata" (product/213/4934).

use super::cloud::Item;
use super::spot_time::{Dialect, Names, SpotTime, items};
use super::token;
use crate::event::Machine;
use crate::normalise::tencent as parse;
use crate::normalise::{Notice, NoticeKey, ParseError, Reading};

/// What this cloud has and others have not.
#[derive(Debug)]
pub struct Cvm;

/// The metadata service of a CVM instance.
pub type Tencent = SpotTime<Cvm>;

impl Dialect for Cvm {
    const SOURCE: &'static str = "tencent.cvm.metadata-service";
    /// The only form in which the address is documented: the virtual network's own name servers know it.
    const ENDPOINT: &'static str = "http://metadata.tencentyun.com";
    const NOTICE: &'static str = "/latest/meta-data/spot/termination-time";
    const NAMES: Names = Names {
        instance_id: "/latest/meta-data/instance-id",
        instance_type: "/latest/meta-data/instance/instance-type",
        zone: "/latest/meta-data/placement/zone",
        region: "/latest/meta-data/placement/region",
    };
    const ITEMS: &'static [Item] = &items("spot/termination-time", "instance-id");
    const TOKEN: Option<&'static token::Dialect> = None;
    const EMPTY_IS_ABSENT: bool = false;
    const SPECIMEN: &'static [u8] = b"2199-12-31 23:59:59";

    fn termination_time(body: &[u8], reading: Reading<'_>) -> Result<Option<Notice>, ParseError> {
        parse::termination_time(body, reading)
    }

    fn spot_interrupt_key(machine: &Machine) -> NoticeKey {
        parse::spot_interrupt_key(machine)
    }
}
