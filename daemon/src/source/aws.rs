//! AWS: watches the EC2 instance metadata service.
//!
//! Responsibilities: which paths are read, how often, in which order, and what their answers mean
//! together. Inputs: the metadata service, settings, what was told before a restart. Outputs: events to
//! the sink, health for status. Must never log, lock or wait between the last byte of a notice and
//! `Sink::publish`, take an error for the absence of a notice, or let one path's trouble keep another
//! from being read.
//!
//! All paths are read one after the other on one kept connection, the spot notice first: the service
//! limits connections and requests of an instance, and documents no number. `rota` says whose turn it is,
//! `aws_watch` what the answers mean.

use super::aws_token::{TokenError, TokenKeeper};
use super::aws_watch::{Ends, Watch};
use super::health::{Change, Health};
use super::imds::{EndpointError, FetchError, Found, MetadataClient};
use super::rota::Rota;
use super::{Control, Sink};
use crate::event::EventType;
use crate::log::ring::LogRing;
use crate::normalise::aws as parse;
use crate::normalise::revise::Reviser;
use crate::normalise::{ParseError, Reading};
use crate::sys::clock;
use cloudsnooze_abi::{SNOOZE_LOG_DEBUG, SNOOZE_LOG_INFO, SNOOZE_LOG_WARNING};
use std::sync::Arc;
use thiserror::Error;

/// The source's name in events and status.
pub const SOURCE: &str = "aws.ec2.metadata-service";

/// The service's address; `http://[fd00:ec2::254]` is the other one, where IPv6 is enabled for it.
pub const ENDPOINT_DEFAULT: &str = "http://169.254.169.254";

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

/// Seconds between attempts to learn who this machine is.
const IDENTITY_INTERVAL_SECONDS: f64 = 5.0;

/// How long a recommendation to leave makes a notice more likely, nanoseconds. AWS says only that one may
/// come before the notice (EC2 user guide, "EC2 instance rebalance recommendations").
const HURRY_NS: i64 = 30 * 60 * 1_000_000_000;

/// Seconds between polls. Brought within the limits of [`super::cadence`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AwsIntervals {
    /// `spot/instance-action` and `spot/termination-time`.
    pub spot_interval_seconds: f64,
    /// `events/recommendations/rebalance`.
    pub rebalance_interval_seconds: f64,
    /// `events/maintenance/scheduled` and `history`.
    pub maintenance_interval_seconds: f64,
    /// `autoscaling/target-lifecycle-state`.
    pub autoscaling_interval_seconds: f64,
    /// All of these but maintenance, while a notice is more likely than usual; when that is shorter.
    pub hurried_interval_seconds: f64,
}

impl Default for AwsIntervals {
    /// Five seconds, as the user guide recommends; maintenance, known days ahead, every thirty.
    fn default() -> Self {
        Self {
            spot_interval_seconds: 5.0,
            rebalance_interval_seconds: 5.0,
            maintenance_interval_seconds: 30.0,
            autoscaling_interval_seconds: 5.0,
            hurried_interval_seconds: 1.0,
        }
    }
}

/// Settings of the source.
#[derive(Clone, Debug, PartialEq)]
pub struct AwsConfig {
    /// The service, `http://ADDRESS[:PORT]`.
    pub endpoint: String,
    /// Use the first version of the service, which has no tokens, when it gives none.
    pub allow_imds_v1: bool,
    /// Longest that one request may take.
    pub request_timeout_ms: u64,
    /// How often each path is read, to begin with.
    pub intervals: AwsIntervals,
    /// Whether every round of polls makes a self-test.
    pub self_test: bool,
}

impl Default for AwsConfig {
    fn default() -> Self {
        Self {
            endpoint: ENDPOINT_DEFAULT.into(),
            allow_imds_v1: false,
            request_timeout_ms: 2_000,
            intervals: AwsIntervals::default(),
            self_test: true,
        }
    }
}

/// What is read, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    InstanceAction,
    TerminationTime,
    Rebalance,
    LifecycleState,
    Maintenance,
    Identity,
}

impl Item {
    const ALL: [Self; 6] = [
        Self::InstanceAction,
        Self::TerminationTime,
        Self::Rebalance,
        Self::LifecycleState,
        Self::Maintenance,
        Self::Identity,
    ];

    /// Names in status, by `Item as usize`. Who the machine is has none: not knowing it misses no notice.
    const NAMES: [&str; 5] = [
        "spot/instance-action",
        "spot/termination-time",
        "events/recommendations/rebalance",
        "autoscaling/target-lifecycle-state",
        "events/maintenance",
    ];

    fn interval_seconds(self, intervals: &AwsIntervals, is_hurried: bool) -> f64 {
        let hurried = if is_hurried { intervals.hurried_interval_seconds } else { f64::INFINITY };
        match self {
            Self::Maintenance | Self::Identity => self.usual_interval_seconds(intervals),
            _ => self.usual_interval_seconds(intervals).min(hurried),
        }
    }

    fn usual_interval_seconds(self, intervals: &AwsIntervals) -> f64 {
        match self {
            Self::InstanceAction | Self::TerminationTime => intervals.spot_interval_seconds,
            Self::Rebalance => intervals.rebalance_interval_seconds,
            Self::LifecycleState => intervals.autoscaling_interval_seconds,
            Self::Maintenance => intervals.maintenance_interval_seconds,
            Self::Identity => IDENTITY_INTERVAL_SECONDS,
        }
    }
}

/// Why a poll gave no answer.
#[derive(Debug, Error)]
pub(super) enum PollError {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the answer is not understood: {0}")]
    Parse(#[from] ParseError),
    #[error("{0} entries of the list are not understood")]
    Entries(u32),
}

/// Watches the metadata service of the instance it runs on.
#[derive(Debug)]
pub struct AwsSource {
    client: MetadataClient,
    token: TokenKeeper,
    rota: Rota,
    control: Arc<Control<AwsIntervals>>,
    /// The intervals that the rota goes by, and whether it is in a hurry.
    intervals: (AwsIntervals, bool),
    self_test: bool,
    /// Longest that one poll may take, nanoseconds.
    poll_max_ns: i64,
    watch: Watch,
}

/// What the source writes to: nothing of it makes it wait.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    /// Whether it can see.
    pub health: &'a Health,
    /// Its log.
    pub log: &'a LogRing,
}

impl AwsSource {
    /// A source that polls nothing yet. `reviser` knows what was told before a restart; a fresh one is
    /// `Reviser::new(SOURCE)`.
    ///
    /// # Errors
    /// The endpoint cannot be used.
    pub fn new(
        config: &AwsConfig,
        reviser: Reviser,
        control: Arc<Control<AwsIntervals>>,
    ) -> Result<Self, EndpointError> {
        let intervals = Item::ALL.map(|item| item.interval_seconds(&config.intervals, false));
        Ok(Self {
            client: MetadataClient::new(&config.endpoint, config.request_timeout_ms, Arc::clone(&control.bell))?,
            token: TokenKeeper::new(config.allow_imds_v1),
            rota: Rota::new(&intervals, clock::wall_ns().unsigned_abs()),
            control,
            intervals: (config.intervals, false),
            self_test: config.self_test,
            poll_max_ns: i64::try_from(config.request_timeout_ms).unwrap_or(i64::MAX).saturating_mul(POLL_MAX_PER_MS),
            watch: Watch::new(reviser),
        })
    }

    /// A health of the shape that this source reports to.
    pub fn health() -> Arc<Health> {
        Arc::new(Health::new(SOURCE, &Item::NAMES))
    }

    /// Watches until told to stop, on the calling thread, which it occupies. Give it a thread of its own.
    pub fn run(mut self, sink: &mut impl Sink, told: Told<'_>) {
        told.health.set_interval_seconds(Item::InstanceAction.interval_seconds(&self.intervals.0, false));
        // Who this machine is comes first, once, because it is part of every event. If there is no answer
        // the notices are read all the same.
        self.poll(Item::Identity, sink, told);
        let mut has_slept = true;
        while !self.control.bell.is_stopped() {
            let now_boot_ns = clock::boot_ns();
            self.adapt(now_boot_ns, told);
            let (number, due_boot_ns) = self.rota.next(now_boot_ns);
            if due_boot_ns <= now_boot_ns {
                if std::mem::take(&mut has_slept) {
                    self.wake_the_way(sink);
                }
                self.poll(Item::ALL[number], sink, told);
            } else {
                told.health.lives_until(due_boot_ns);
                self.control.bell.wait(due_boot_ns);
                has_slept = true;
            }
        }
    }

    /// After a sleep, before the first request of a round: the self-test. What a notice needs has been pushed out of
    /// the caches meanwhile; it is cheaper to fetch it now, some microseconds before the question, than after the
    /// answer.
    fn wake_the_way(&self, sink: &mut impl Sink) {
        sink.round_begins();
        if self.self_test {
            self.watch.self_test(sink);
        }
    }

    /// Looks for the spot notice once, whatever the rota says.
    pub fn look_for_spot_notice(&mut self, sink: &mut impl Sink, told: Told<'_>) {
        self.wake_the_way(sink);
        self.poll(Item::InstanceAction, sink, told);
    }

    /// Takes other intervals, and the beginning or end of a hurry: every path is then read at once.
    fn adapt(&mut self, now_boot_ns: i64, told: Told<'_>) {
        let wanted = (*self.control.settings(), self.control.is_hurried(now_boot_ns));
        if wanted == self.intervals {
            return;
        }
        self.intervals = wanted;
        for item in Item::ALL.into_iter().filter(|item| *item != Item::Identity) {
            self.rota.set_interval(item as usize, item.interval_seconds(&wanted.0, wanted.1));
        }
        told.health.set_interval_seconds(Item::InstanceAction.interval_seconds(&wanted.0, wanted.1));
    }

    /// Reads an item, tells what is new, then keeps the books.
    fn poll(&mut self, item: Item, sink: &mut impl Sink, told: Told<'_>) {
        let began_boot_ns = clock::boot_ns();
        // Before the request: nothing of it stands between the answer and the handler.
        told.health.lives_until(began_boot_ns.saturating_add(self.poll_max_ns));
        let outcome = self.look(item, sink, told.health);
        if matches!(
            outcome,
            Err(PollError::Fetch(FetchError::Stopped) | PollError::Token(TokenError::Fetch(FetchError::Stopped)))
        ) {
            return;
        }
        for text in self.watch.told.drain(..) {
            told.log.push(SOURCE, SNOOZE_LOG_INFO, &text);
        }
        self.keep_books(item, &outcome, told);
        match outcome {
            // A machine does not become another one.
            Ok(()) if item == Item::Identity => self.rota.retire(item as usize),
            outcome => self.rota.done(item as usize, began_boot_ns, outcome.is_ok()),
        }
    }

    fn keep_books(&self, item: Item, outcome: &Result<(), PollError>, told: Told<'_>) {
        let now_boot_ns = clock::boot_ns();
        let name = Item::NAMES.get(item as usize).copied().unwrap_or("instance-identity/document");
        let say = |level, text: &str| {
            if told.log.enabled(level) {
                told.log.push(SOURCE, level, text);
            }
        };
        let change = match outcome {
            Ok(()) => told.health.success(item as usize, now_boot_ns),
            Err(error) => {
                say(SNOOZE_LOG_DEBUG, &format!("{name}: poll failed: {error}"));
                told.health.error(item as usize, now_boot_ns, error.to_string())
            }
        };
        match (change, outcome) {
            (Change::BecameBlind, Err(error)) => {
                say(SNOOZE_LOG_WARNING, &format!("{name}: notices of this kind cannot be seen: {error}"));
            }
            (Change::SeesAgain, _) => say(SNOOZE_LOG_WARNING, &format!("{name}: seen again")),
            _ => {}
        }
    }

    fn look(&mut self, item: Item, sink: &mut impl Sink, health: &Health) -> Result<(), PollError> {
        match item {
            Item::InstanceAction => {
                let found = self.get(INSTANCE_ACTION)?;
                let (kind, ends) = (&EventType::SPOT_INTERRUPT, Some(parse::spot_interrupt_key as Ends));
                self.watch.spot(kind, found.as_ref(), parse::instance_action, ends, sink).map(drop)
            }
            Item::TerminationTime => {
                // Its absence says nothing: it is missing for stops and hibernations.
                let found = self.get(TERMINATION_TIME)?;
                self.watch
                    .spot(&EventType::SPOT_INTERRUPT, found.as_ref(), parse::termination_time, None, sink)
                    .map(drop)
            }
            Item::Rebalance => {
                let found = self.get(REBALANCE)?;
                let read = |body: &[u8], reading: Reading<'_>| parse::rebalance(body, reading).map(Some);
                let (kind, ends) = (&EventType::SPOT_REBALANCE, Some(parse::spot_rebalance_key as Ends));
                if self.watch.spot(kind, found.as_ref(), read, ends, sink)? {
                    self.control.hurry(clock::boot_ns().saturating_add(HURRY_NS));
                }
                Ok(())
            }
            Item::LifecycleState => {
                let found = self.get(LIFECYCLE_STATE)?;
                self.watch.lifecycle_state(found.as_ref(), sink)
            }
            Item::Maintenance => {
                let scheduled = self.get(SCHEDULED)?;
                let history = self.get(HISTORY);
                self.watch.maintenance(scheduled.as_ref(), history.as_ref().ok().and_then(Option::as_ref), sink)?;
                history.map(|_| ())
            }
            Item::Identity => self.identity(health),
        }
    }

    fn identity(&mut self, health: &Health) -> Result<(), PollError> {
        let Some(found) = self.get(IDENTITY)? else { return Err(FetchError::Status(404).into()) };
        self.watch.machine = Arc::new(parse::identity(&found.body)?);
        health.found_machine(&self.watch.machine);
        // Old instances lack this item, and nothing depends on it: on-demand instances are polled like
        // spot ones, because the other notices come to both.
        if let Ok(Some(found)) = self.get(LIFE_CYCLE)
            && found.body.trim_ascii() == b"on-demand"
        {
            health.remark("an on-demand instance, which gets no spot notices".into());
        }
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
