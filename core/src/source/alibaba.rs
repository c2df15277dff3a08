//! Alibaba Cloud: watches the ECS instance metadata service.
//!
//! Responsibilities: what this cloud has and others have not: address, paths, tokens. Inputs: none. Outputs: the dialect for
//! `spot_time`. Must never ask by itself.
//!
//! Facts: Alibaba Cloud ECS user guide, "Query the interruption events of preemptible instances", "Obtain instance metadata".

use super::cloud::Item;
use super::spot_time::{Dialect, Names, SpotTime, items};
use super::token;
use crate::event::Machine;
use crate::normalise::alibaba as parse;
use crate::normalise::{Notice, NoticeKey, ParseError, Reading};

/// What this cloud has and others have not.
#[derive(Debug)]
pub struct Ecs;

/// The metadata service of an ECS instance.
pub type Alibaba = SpotTime<Ecs>;

impl Dialect for Ecs {
    const SOURCE: &'static str = "alibaba.ecs.metadata-service";
    const ENDPOINT: &'static str = "http://100.100.100.200";
    const NOTICE: &'static str = "/latest/meta-data/instance/spot/termination-time";
    const NAMES: Names = Names {
        instance_id: "/latest/meta-data/instance-id",
        instance_type: "/latest/meta-data/instance/instance-type",
        zone: "/latest/meta-data/zone-id",
        region: "/latest/meta-data/region-id",
    };
    const ITEMS: &'static [Item] = &items("instance/spot/termination-time", "instance-id");
    const TOKEN: Option<&'static token::Dialect> = Some(&token::ALIBABA);
    const EMPTY_IS_ABSENT: bool = true;
    const SPECIMEN: &'static [u8] = b"2199-12-31T23:59:59Z";

    fn termination_time(body: &[u8], reading: Reading<'_>) -> Result<Option<Notice>, ParseError> {
        parse::termination_time(body, reading)
    }

    fn spot_interrupt_key(machine: &Machine) -> NoticeKey {
        parse::spot_interrupt_key(machine)
    }
}
