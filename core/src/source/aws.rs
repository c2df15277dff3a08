//! AWS: watches the EC2 instance metadata service.
//!
//! Responsibilities: which paths are read, how often, and what their answers mean together. Inputs: the metadata
//! service, settings. Outputs: what each look tells its round. Must never take an error for the absence of a notice.

use super::cloud::{Again, Cloud, Item, PollError, Role};
use super::imds::{EndpointError, FetchError, Found, MetadataClient};
use super::round::{Ends, Round, reading};
use super::token::{self, TokenKeeper};
use crate::event::EventType;
use crate::normalise::aws as parse;
use crate::normalise::deadline::cloud_now;
use crate::normalise::revise::Absence;
use crate::normalise::{Notice, Reading};
use crate::settings::AwsSource;
use crate::sys::bell::Bell;
use crate::sys::clock;
use std::sync::Arc;

const IDENTITY: &str = "/latest/dynamic/instance-identity/document";
const LIFE_CYCLE: &str = "/latest/meta-data/instance-life-cycle";
const INSTANCE_ACTION: &str = "/latest/meta-data/spot/instance-action";
const TERMINATION_TIME: &str = "/latest/meta-data/spot/termination-time";
const REBALANCE: &str = "/latest/meta-data/events/recommendations/rebalance";
const LIFECYCLE_STATE: &str = "/latest/meta-data/autoscaling/target-lifecycle-state";
const SCHEDULED: &str = "/latest/meta-data/events/maintenance/scheduled";
const HISTORY: &str = "/latest/meta-data/events/maintenance/history";

/// Longest poll, nanoseconds for each millisecond of the request time-out: two items (maintenance), each with a token, an
/// answer that it has ended, another token and another request.
const POLL_MAX_PER_MS: i64 = 2 * 4 * 1_000_000;

/// How long a recommendation to leave makes a notice more likely, nanoseconds. AWS says only that one may
/// come before the notice (EC2 user guide, "EC2 instance rebalance recommendations").
const HURRY_NS: i64 = 30 * 60 * 1_000_000_000;

/// A notice as the service writes it, for the self-test. Its time lies ahead for as long as this program lives: one
/// that is past would be passed over.
const SPECIMEN: &[u8] = br#"{"action": "terminate", "time": "2199-12-31T23:59:59Z"}"#;

/// The metadata service of the instance it runs on.
#[derive(Debug)]
pub struct Aws {
    client: MetadataClient,
    token: TokenKeeper,
    /// Longest that one poll may take, nanoseconds.
    poll_max_ns: i64,
}

impl Aws {
    /// Asks nothing yet; `bell` ends its waiting.
    ///
    /// # Errors
    /// The endpoint cannot be used.
    pub fn new(settings: &AwsSource, bell: Arc<Bell>) -> Result<Self, EndpointError> {
        let timeout_ms = settings.request_timeout_ms;
        Ok(Self {
            client: MetadataClient::new(&settings.endpoint, timeout_ms.into(), bell)?,
            token: TokenKeeper::new(&token::EC2, settings.allow_imds_v1),
            poll_max_ns: i64::from(timeout_ms).saturating_mul(POLL_MAX_PER_MS),
        })
    }

    fn lifecycle_state(&mut self, round: &mut Round<'_>) -> Result<(), PollError> {
        let found = self.get(LIFECYCLE_STATE)?;
        let key = parse::autoscaling_key(round.machine());
        let Some(found) = found else {
            round.absent(&key, Absence::Ended);
            return Ok(());
        };
        round.approach(&EventType::AUTOSCALING_TERMINATE);
        let (local, machine) = (clock::now(), Arc::clone(round.machine()));
        match parse::lifecycle_state(&found.body, reading(&machine, &found, local))? {
            parse::Lifecycle::Leaving(notice) => round.observe(*notice, local),
            // The group says in so many words that it aims at something else now.
            parse::Lifecycle::Other => round.absent(&key, Absence::Withdrawn),
        };
        Ok(())
    }

    fn identity(&mut self, round: &mut Round<'_>) -> Result<(), PollError> {
        let Some(found) = self.get(IDENTITY)? else { return Err(FetchError::Status(404).into()) };
        let machine = parse::identity(&found.body)?;
        // Old instances lack this item, and nothing depends on it: on-demand instances are polled like
        // spot ones, because the other notices come to both.
        if let Ok(Some(found)) = self.get(LIFE_CYCLE)
            && found.body.trim_ascii() == b"on-demand"
        {
            round.found_on_demand("an on-demand instance, which gets no spot notices");
        }
        round.found_machine(machine);
        Ok(())
    }

    /// A token may end at any time, after a hibernation for one: then a new one is asked for, once.
    fn get(&mut self, path: &str) -> Result<Option<Found>, PollError> {
        match self.get_once(path) {
            Err(PollError::Fetch(FetchError::Status(401))) => {
                self.token.forget();
                self.get_once(path)
            }
            answer => answer,
        }
    }

    fn get_once(&mut self, path: &str) -> Result<Option<Found>, PollError> {
        let header = self.token.header(&mut self.client, clock::boot_ns())?;
        Ok(self.client.get(path, header.as_slice())?)
    }
}

impl Cloud for Aws {
    const SOURCE: &'static str = "aws.ec2.metadata-service";

    const ITEMS: &'static [Item] = &[
        Item { name: "spot/instance-action", role: Role::Urgent },
        Item { name: "spot/termination-time", role: Role::Urgent },
        Item { name: "events/recommendations/rebalance", role: Role::Urgent },
        Item { name: "autoscaling/target-lifecycle-state", role: Role::Urgent },
        Item { name: "events/maintenance", role: Role::Notice },
        Item { name: "instance-identity/document", role: Role::Identity },
    ];

    fn client(&mut self) -> &mut MetadataClient {
        &mut self.client
    }

    fn look_max_ns(&self) -> i64 {
        self.poll_max_ns
    }

    fn look(&mut self, number: usize, round: &mut Round<'_>) -> Result<Again, PollError> {
        match number {
            0 => {
                let found = self.get(INSTANCE_ACTION)?;
                let ends = Some(parse::spot_interrupt_key as Ends);
                round.notice(&EventType::SPOT_INTERRUPT, found.as_ref(), parse::instance_action, ends)?;
            }
            1 => {
                // Its absence says nothing: it is missing for stops and hibernations.
                let found = self.get(TERMINATION_TIME)?;
                round.notice(&EventType::SPOT_INTERRUPT, found.as_ref(), parse::termination_time, None)?;
            }
            2 => {
                let found = self.get(REBALANCE)?;
                let read = |body: &[u8], reading: Reading<'_>| parse::rebalance(body, reading).map(Some);
                let ends = Some(parse::spot_rebalance_key as Ends);
                if round.notice(&EventType::SPOT_REBALANCE, found.as_ref(), read, ends)? {
                    round.hurry(HURRY_NS);
                }
            }
            3 => self.lifecycle_state(round)?,
            4 => {
                let scheduled = self.get(SCHEDULED)?;
                let history = self.get(HISTORY);
                maintenance(scheduled.as_ref(), history.as_ref().ok().and_then(Option::as_ref), round)?;
                history?;
            }
            // A machine does not become another one.
            _ => return self.identity(round).map(|()| Again::Never),
        }
        Ok(Again::Usual)
    }

    fn specimen(reading: Reading<'_>) -> Option<Notice> {
        parse::instance_action(SPECIMEN, reading).ok().flatten()
    }
}

/// The lists of scheduled and of past events; a missing one is empty. What history cannot tell, by
/// error or by garbage, hides nothing that is scheduled.
fn maintenance(scheduled: Option<&Found>, history: Option<&Found>, round: &mut Round<'_>) -> Result<(), PollError> {
    let (local, machine) = (clock::now(), Arc::clone(round.machine()));
    let date_ns = scheduled.or(history).and_then(Found::date_ns);
    let reading = Reading { machine: &machine, now: cloud_now(local, date_ns) };
    let scheduled = scheduled.map_or(&b"[]"[..], |found| &found.body);
    let history = history.map_or(&b"[]"[..], |found| &found.body);
    let (found, trouble) = match parse::maintenance(scheduled, history, reading) {
        Ok(found) => (found, None),
        Err(error) => (parse::maintenance(scheduled, b"[]", reading)?, Some(error)),
    };
    for notice in found.notices {
        round.observe(notice, local);
    }
    match trouble {
        Some(error) => Err(error.into()),
        None if found.malformed > 0 => Err(PollError::Entries(found.malformed)),
        None => Ok(()),
    }
}
