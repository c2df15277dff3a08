//! AWS: watches the EC2 instance metadata service.
//!
//! Responsibilities: which paths are read, how often, in which order, and what their answers mean
//! together. Inputs: the metadata service, settings, what was told before a restart. Outputs: events to
//! the sink, health for status. Must never log, lock or wait between the last byte of a notice and
//! `Sink::publish`, take an error for the absence of a notice, or let one path's trouble keep another
//! from being read.
//!
//! All paths are read one after the other on one kept connection, the spot notice first: the service
//! limits connections and requests of an instance, and documents no number.

use super::aws_token::{TokenError, TokenKeeper};
use super::cadence::Cadence;
use super::health::{Change, Health};
use super::imds::{EndpointError, FetchError, Found, MetadataClient};
use super::{Sink, deliver};
use crate::event::{Machine, Moment};
use crate::normalise::aws as parse;
use crate::normalise::deadline::cloud_now;
use crate::normalise::revise::{Absence, Reviser, Verdict};
use crate::normalise::{Notice, NoticeKey, ParseError, Reading};
use crate::sys::clock;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::watch;

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

/// Seconds between attempts to learn who this machine is.
const IDENTITY_INTERVAL_SECONDS: f64 = 5.0;

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
}

impl Default for AwsIntervals {
    /// Five seconds, as the user guide recommends; maintenance, known days ahead, every thirty.
    fn default() -> Self {
        Self {
            spot_interval_seconds: 5.0,
            rebalance_interval_seconds: 5.0,
            maintenance_interval_seconds: 30.0,
            autoscaling_interval_seconds: 5.0,
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
    /// How often each path is read.
    pub intervals: AwsIntervals,
}

impl Default for AwsConfig {
    fn default() -> Self {
        Self {
            endpoint: ENDPOINT_DEFAULT.into(),
            allow_imds_v1: false,
            request_timeout_ms: 2_000,
            intervals: AwsIntervals::default(),
        }
    }
}

/// What the source can be told while it runs. Dropping the sender stops it too.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Control {
    /// End now, also in the middle of a request.
    pub stop: bool,
    /// The intervals from now on; a change reads every path at once.
    pub intervals: AwsIntervals,
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

    fn interval_seconds(self, intervals: &AwsIntervals) -> f64 {
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
enum PollError {
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
    /// Each item with its rhythm and when it is due, CLOCK_BOOTTIME nanoseconds.
    schedule: Vec<(Item, Cadence, i64)>,
    /// What was read last.
    last: Item,
    watch: Watch,
}

/// What was seen so far: the part that needs no service.
#[derive(Debug)]
struct Watch {
    reviser: Reviser,
    machine: Arc<Machine>,
    /// What was told in this poll, in words, to be logged after it.
    told: Vec<String>,
}

impl AwsSource {
    /// A source that polls nothing yet. `reviser` knows what was told before a restart; a fresh one is
    /// `Reviser::new(SOURCE)`.
    ///
    /// # Errors
    /// The endpoint cannot be used.
    pub fn new(config: &AwsConfig, reviser: Reviser) -> Result<Self, EndpointError> {
        let entry = |(index, item): (u64, Item)| {
            let seed = clock::wall_ns().unsigned_abs().wrapping_add(index);
            (item, Cadence::new(item.interval_seconds(&config.intervals), seed), 0)
        };
        Ok(Self {
            client: MetadataClient::new(&config.endpoint, config.request_timeout_ms)?,
            token: TokenKeeper::new(config.allow_imds_v1),
            schedule: (0..).zip(Item::ALL).map(entry).collect(),
            last: Item::Identity,
            watch: Watch { reviser, machine: Arc::default(), told: Vec::new() },
        })
    }

    /// A health of the shape that this source reports to.
    pub fn health() -> Arc<Health> {
        Arc::new(Health::new(SOURCE, &Item::NAMES))
    }

    async fn run(mut self, mut sink: impl Sink, health: &Health, mut control: watch::Receiver<Control>) {
        // A receiver of its own, because waiting marks values as seen.
        let mut stop = control.clone();
        let stopped = async move {
            // An error means that the sender is gone.
            let _ = stop.wait_for(|c| c.stop).await;
        };
        tokio::pin!(stopped);
        // Who this machine is comes first, once, because it is part of every event. If there is no answer
        // the notices are read all the same.
        tokio::select! {
            biased;
            () = &mut stopped => return,
            () = self.poll(Item::Identity, &mut sink, health) => {}
        }
        loop {
            let (item, due_boot_ns) = self.next(clock::boot_ns());
            let wait_ns = due_boot_ns.saturating_sub(clock::boot_ns()).max(0);
            tokio::select! {
                biased;
                () = &mut stopped => return,
                Ok(()) = control.changed() => {
                    let intervals = control.borrow_and_update().intervals;
                    self.set_intervals(&intervals);
                    continue;
                }
                () = tokio::time::sleep(Duration::from_nanos(wait_ns.unsigned_abs())) => {}
            }
            tokio::select! {
                biased;
                () = &mut stopped => return,
                () = self.poll(item, &mut sink, health) => {}
            }
        }
    }

    /// What to read next and when. The spot notice and whatever else is due take turns, so that neither a
    /// slow service nor a short interval keeps anything waiting for more than one other request: the rest
    /// goes by how long it has been due.
    fn next(&self, now_boot_ns: i64) -> (Item, i64) {
        let entries = || self.schedule.iter().map(|(item, _, due)| (*item, *due));
        let is_turn = |(item, due): &(Item, i64)| *due <= now_boot_ns && *item == Item::InstanceAction;
        let spot = entries().find(is_turn).filter(|_| self.last != Item::InstanceAction);
        let is_other = |(item, due): &(Item, i64)| *due <= now_boot_ns && *item != Item::InstanceAction;
        let other = || entries().filter(is_other).min_by_key(|(_, due)| *due);
        let first = || entries().min_by_key(|(_, due)| *due);
        spot.or_else(other).or_else(first).unwrap_or((Item::InstanceAction, now_boot_ns))
    }

    fn set_intervals(&mut self, intervals: &AwsIntervals) {
        for (item, cadence, due) in &mut self.schedule {
            if *item != Item::Identity {
                cadence.set_interval(item.interval_seconds(intervals));
                *due = 0;
            }
        }
    }

    /// Reads an item, tells what is new, then keeps the books.
    async fn poll(&mut self, item: Item, sink: &mut impl Sink, health: &Health) {
        let began_boot_ns = clock::boot_ns();
        self.last = item;
        let outcome = self.look(item, sink, health).await;
        for told in self.watch.told.drain(..) {
            tracing::debug!(source = SOURCE, "{told}");
        }
        let now_boot_ns = clock::boot_ns();
        let name = Item::NAMES.get(item as usize).copied().unwrap_or("instance-identity/document");
        let change = match &outcome {
            Ok(()) => health.success(item as usize, now_boot_ns),
            Err(error) => {
                tracing::debug!(source = SOURCE, path = name, %error, "poll failed");
                health.error(item as usize, now_boot_ns, error.to_string())
            }
        };
        match (change, &outcome) {
            (Change::BecameBlind, Err(error)) => {
                tracing::warn!(source = SOURCE, path = name, %error, "notices of this kind cannot be seen");
            }
            (Change::SeesAgain, _) => tracing::warn!(source = SOURCE, path = name, "seen again"),
            _ => {}
        }
        for (entry, cadence, due) in &mut self.schedule {
            if *entry == item {
                *due = match outcome {
                    // A machine does not become another one.
                    Ok(()) if item == Item::Identity => i64::MAX,
                    Ok(()) => cadence.after_success(began_boot_ns),
                    Err(_) => cadence.after_error(began_boot_ns),
                };
            }
        }
    }

    async fn look(&mut self, item: Item, sink: &mut impl Sink, health: &Health) -> Result<(), PollError> {
        match item {
            Item::InstanceAction => {
                let found = self.get(INSTANCE_ACTION).await?;
                self.watch.spot(found.as_ref(), parse::instance_action, Some(parse::spot_interrupt_key), sink)
            }
            Item::TerminationTime => {
                // Its absence says nothing: it is missing for stops and hibernations.
                let found = self.get(TERMINATION_TIME).await?;
                self.watch.spot(found.as_ref(), parse::termination_time, None, sink)
            }
            Item::Rebalance => {
                let found = self.get(REBALANCE).await?;
                let read = |body: &[u8], reading: Reading<'_>| parse::rebalance(body, reading).map(Some);
                self.watch.spot(found.as_ref(), read, Some(parse::spot_rebalance_key), sink)
            }
            Item::LifecycleState => {
                let found = self.get(LIFECYCLE_STATE).await?;
                self.watch.lifecycle_state(found.as_ref(), sink)
            }
            Item::Maintenance => {
                let scheduled = self.get(SCHEDULED).await?;
                let history = self.get(HISTORY).await;
                self.watch.maintenance(scheduled.as_ref(), history.as_ref().ok().and_then(Option::as_ref), sink)?;
                history.map(|_| ())
            }
            Item::Identity => self.identity(health).await,
        }
    }

    async fn identity(&mut self, health: &Health) -> Result<(), PollError> {
        let Some(found) = self.get(IDENTITY).await? else { return Err(FetchError::Status(404).into()) };
        self.watch.machine = Arc::new(parse::identity(&found.body)?);
        health.found_machine(&self.watch.machine);
        // Old instances lack this item, and nothing depends on it: on-demand instances are polled like
        // spot ones, because the other notices come to both.
        if let Ok(Some(found)) = self.get(LIFE_CYCLE).await
            && found.body.trim_ascii() == b"on-demand"
        {
            health.remark("an on-demand instance, which gets no spot notices".into());
        }
        Ok(())
    }

    /// A token may end at any time, after a hibernation for one: then a new one is asked for, once.
    async fn get(&mut self, path: &str) -> Result<Option<Found>, PollError> {
        let headers = self.token.headers(&self.client, clock::boot_ns()).await?;
        match self.client.get(path, headers).await {
            Err(FetchError::Status(401)) => {
                self.token.forget();
                let headers = self.token.headers(&self.client, clock::boot_ns()).await?;
                Ok(self.client.get(path, headers).await?)
            }
            answer => Ok(answer?),
        }
    }
}

impl Watch {
    /// A path that holds one notice or is absent. `ends` makes the key of the notice that has ended when
    /// the path is absent.
    fn spot(
        &mut self,
        found: Option<&Found>,
        read: impl FnOnce(&[u8], Reading<'_>) -> Result<Option<Notice>, ParseError>,
        ends: Option<fn(&Machine) -> NoticeKey>,
        sink: &mut impl Sink,
    ) -> Result<(), PollError> {
        match (found, ends) {
            (Some(found), _) => {
                let (local, machine) = (clock::now(), Arc::clone(&self.machine));
                if let Some(notice) = read(&found.body, reading(&machine, found, local))? {
                    self.observe(notice, local, sink);
                }
            }
            (None, Some(key)) => self.absent(&key(&self.machine), Absence::Ended, sink),
            (None, None) => {}
        }
        Ok(())
    }

    fn lifecycle_state(&mut self, found: Option<&Found>, sink: &mut impl Sink) -> Result<(), PollError> {
        let key = parse::autoscaling_key(&self.machine);
        let Some(found) = found else {
            self.absent(&key, Absence::Ended, sink);
            return Ok(());
        };
        let (local, machine) = (clock::now(), Arc::clone(&self.machine));
        match parse::lifecycle_state(&found.body, reading(&machine, found, local))? {
            parse::Lifecycle::Leaving(notice) => self.observe(*notice, local, sink),
            // The group says in so many words that it aims at something else now.
            parse::Lifecycle::Other => self.absent(&key, Absence::Withdrawn, sink),
        }
        Ok(())
    }

    /// The lists of scheduled and of past events; a missing one is empty. What history cannot tell, by
    /// error or by garbage, hides nothing that is scheduled.
    fn maintenance(
        &mut self,
        scheduled: Option<&Found>,
        history: Option<&Found>,
        sink: &mut impl Sink,
    ) -> Result<(), PollError> {
        let (local, machine) = (clock::now(), Arc::clone(&self.machine));
        let date_ns = scheduled.or(history).and_then(Found::date_ns);
        let reading = Reading { machine: &machine, now: cloud_now(local, date_ns) };
        let scheduled = scheduled.map_or(&b"[]"[..], |found| &found.body);
        let history = history.map_or(&b"[]"[..], |found| &found.body);
        let (found, trouble) = match parse::maintenance(scheduled, history, reading) {
            Ok(found) => (found, None),
            Err(error) => (parse::maintenance(scheduled, b"[]", reading)?, Some(error)),
        };
        for notice in found.notices {
            self.observe(notice, local, sink);
        }
        match trouble {
            Some(error) => Err(error.into()),
            None if found.malformed > 0 => Err(PollError::Entries(found.malformed)),
            None => Ok(()),
        }
    }

    fn observe(&mut self, notice: Notice, local: Moment, sink: &mut impl Sink) {
        let verdict = self.reviser.observe(notice, &self.machine, local);
        self.deliver(verdict, sink);
    }

    fn absent(&mut self, key: &NoticeKey, absence: Absence, sink: &mut impl Sink) {
        let verdict = self.reviser.absent(key, absence, &self.machine, clock::now());
        self.deliver(verdict, sink);
    }

    fn deliver(&mut self, verdict: Verdict, sink: &mut impl Sink) {
        self.told.extend(deliver(verdict, sink));
    }
}

fn reading<'a>(machine: &'a Machine, found: &Found, local: Moment) -> Reading<'a> {
    Reading { machine, now: cloud_now(local, found.date_ns()) }
}

/// Watches until told to stop, on the calling thread, which it occupies. Give it a thread of its own.
///
/// # Errors
/// The system gives no event loop (file descriptors are exhausted, for example).
pub fn run_blocking(
    source: AwsSource,
    sink: impl Sink,
    health: &Health,
    control: watch::Receiver<Control>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(source.run(sink, health, control));
    Ok(())
}
