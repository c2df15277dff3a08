//! Clouds whose metadata service has one notice, the time at which a spot instance ends.
//!
//! Responsibilities: which paths are read, with a token where there are any, and what their answers mean. Inputs: a
//! [`Dialect`], the metadata service, settings. Outputs: what each look tells its round. Must never take an error for the
//! absence of a notice.

use super::cloud::{Again, Cloud, Item, PollError, Role};
use super::imds::{EndpointError, FetchError, Found, MetadataClient};
use super::round::{Ends, Round};
use super::token::{self, TokenKeeper};
use crate::event::{EventType, Machine};
use crate::normalise::spot_time::word;
use crate::normalise::{Notice, NoticeKey, ParseError, Reading};
use crate::settings::SpotTimeSource;
use crate::sys::bell::Bell;
use crate::sys::clock;
use std::marker::PhantomData;
use std::sync::Arc;

/// Longest look, nanoseconds for each millisecond of the request time-out: four words that name the machine, each with a
/// token that is asked for, looked after, refused, asked for again, and asked with.
const LOOK_MAX_PER_MS: i64 = 4 * 6 * 1_000_000;

/// What asking a name server may add to it, nanoseconds: resolv.conf(5) has 5 s, twice, for each of up to three servers.
const RESOLVE_MAX_NS: i64 = 30 * 1_000_000_000;

/// Where the words that name a machine stand.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// Its id, which every machine has.
    pub instance_id: &'static str,
    /// Its type; may be missing.
    pub instance_type: &'static str,
    /// Its zone; may be missing.
    pub zone: &'static str,
    /// Its region; may be missing.
    pub region: &'static str,
}

/// In what one of these clouds differs from another.
pub trait Dialect: Send + 'static {
    /// Its name in events and status.
    const SOURCE: &'static str;
    /// Where its service is, unless the configuration says otherwise.
    const ENDPOINT: &'static str;
    /// Path of the notice.
    const NOTICE: &'static str;
    /// Paths of the names.
    const NAMES: Names;
    /// The notice and the machine's id, as status calls them.
    const ITEMS: &'static [Item];
    /// Its tokens; None: it has none.
    const TOKEN: Option<&'static token::Dialect>;
    /// Whether an empty answer is documented to mean "nothing".
    const EMPTY_IS_ABSENT: bool;
    /// A notice as the service writes it, for the self-test. Its time lies ahead for as long as this program lives.
    const SPECIMEN: &'static [u8];

    /// Reads the notice.
    ///
    /// # Errors
    /// The body is none.
    fn termination_time(body: &[u8], reading: Reading<'_>) -> Result<Option<Notice>, ParseError>;

    /// Key of the notice of this machine.
    fn spot_interrupt_key(machine: &Machine) -> NoticeKey;
}

/// The items of such a cloud.
pub(super) const fn items(notice: &'static str, identity: &'static str) -> [Item; 2] {
    [Item { name: notice, role: Role::Urgent }, Item { name: identity, role: Role::Identity }]
}

/// The metadata service of the instance it runs on.
#[derive(Debug)]
pub struct SpotTime<D> {
    client: MetadataClient,
    token: Option<TokenKeeper>,
    look_max_ns: i64,
    dialect: PhantomData<fn() -> D>,
}

impl<D: Dialect> SpotTime<D> {
    /// Asks nothing yet; `bell` ends its waiting.
    ///
    /// # Errors
    /// The endpoint cannot be used.
    pub fn new(settings: &SpotTimeSource, bell: Arc<Bell>) -> Result<Self, EndpointError> {
        let endpoint = settings.endpoint.as_deref().unwrap_or(D::ENDPOINT);
        let timeout_ms = settings.request_timeout_ms;
        let client = MetadataClient::new(endpoint, timeout_ms.into(), bell)?;
        let resolve_max_ns = if client.is_by_name() { RESOLVE_MAX_NS } else { 0 };
        Ok(Self {
            look_max_ns: i64::from(timeout_ms).saturating_mul(LOOK_MAX_PER_MS).saturating_add(resolve_max_ns),
            client,
            // A service that demands no token says nothing else with one: there is nothing to protect by insisting.
            token: D::TOKEN.map(|dialect| TokenKeeper::new(dialect, true)),
            dialect: PhantomData,
        })
    }

    fn identity(&mut self, round: &mut Round<'_>) -> Result<(), PollError> {
        let Some(found) = self.get(D::NAMES.instance_id)? else { return Err(FetchError::Status(404).into()) };
        let instance_id = word(&found.body)?.to_owned();
        let (instance_type, zone, region) =
            (self.name(D::NAMES.instance_type)?, self.name(D::NAMES.zone)?, self.name(D::NAMES.region)?);
        round.found_machine(Machine { instance_id, instance_type, zone, region });
        Ok(())
    }

    /// A word that may be missing.
    fn name(&mut self, path: &str) -> Result<String, PollError> {
        match self.get(path)? {
            Some(found) => Ok(word(&found.body)?.to_owned()),
            None => Ok(String::new()),
        }
    }

    /// A token may end at any time, and a service that needed none may demand one from now on, which it says as 401 or
    /// 403: then a new one is asked for, once.
    fn get(&mut self, path: &str) -> Result<Option<Found>, PollError> {
        match (self.get_once(path), &mut self.token) {
            (Err(PollError::Fetch(FetchError::Status(401 | 403))), Some(token)) => {
                token.forget();
                self.get_once(path)
            }
            (answer, _) => answer,
        }
    }

    fn get_once(&mut self, path: &str) -> Result<Option<Found>, PollError> {
        let header = match &mut self.token {
            Some(token) => token.header(&mut self.client, clock::boot_ns())?,
            None => None,
        };
        Ok(self.client.get(path, header.as_slice())?)
    }
}

impl<D: Dialect> Cloud for SpotTime<D> {
    const SOURCE: &'static str = D::SOURCE;

    const ITEMS: &'static [Item] = D::ITEMS;

    fn client(&mut self) -> &mut MetadataClient {
        &mut self.client
    }

    fn look_max_ns(&self) -> i64 {
        self.look_max_ns
    }

    fn look(&mut self, number: usize, round: &mut Round<'_>) -> Result<Again, PollError> {
        if number != 0 {
            // A machine does not become another one.
            return self.identity(round).map(|()| Again::Never);
        }
        let found = self.get(D::NOTICE)?;
        let found = found.filter(|found| !(D::EMPTY_IS_ABSENT && found.body.trim_ascii().is_empty()));
        let ends = Some(D::spot_interrupt_key as Ends);
        round.notice(&EventType::SPOT_INTERRUPT, found.as_ref(), D::termination_time, ends)?;
        Ok(Again::Usual)
    }

    fn specimen(reading: Reading<'_>) -> Option<Notice> {
        D::termination_time(D::SPECIMEN, reading).ok().flatten()
    }
}
