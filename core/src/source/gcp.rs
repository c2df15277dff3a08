//! GCP: watches the metadata server of Compute Engine.
//!
//! Responsibilities: which keys are asked for, and what their answers mean together. Inputs: the metadata server, settings.
//! Outputs: what each look tells its round. Must never take an error for the absence of a notice.
//!
//! The server holds an answer back until the key changes, so each of the three keys has a connection and a thread of its own
//! (`lane`); a change is told as soon as its first byte is there.
//!
//! # One maintenance, two keys
//!
//! `upcoming-maintenance` announces maintenance, often days before, with a window; `maintenance-event` says that it begins,
//! 60 seconds before for a migration and 60 minutes before where a GPU is attached, and stays NONE on sole-tenant nodes.
//! An announcement that has made handlers run must not swallow the word that it begins, which is the time to act; and the
//! beginning must not be told twice. So
//!
//! - an announcement is an advice of its own, with no action and the beginning of the window as its time;
//! - the beginning is told once, by `maintenance-event`; by an announcement that has become ONGOING only where
//!   `maintenance-event` stood neither then nor shortly before ([`Begun`]);
//! - both are withdrawn, each by who told it, when their key says that there is nothing any more: the machine is there, and
//!   what was stopped is to be put back, whether maintenance is over or was called off.

mod lane;

use super::cloud::{Again, Cloud, Item, PollError, Role};
use super::imds::{EndpointError, MetadataClient};
use super::round::Round;
use crate::event::EventType;
use crate::normalise::gcp::{self as parse, OnHostMaintenance, Upcoming};
use crate::normalise::revise::Absence;
use crate::normalise::{Notice, Reading};
use crate::settings::GcpSource;
use crate::sys::bell::Bell;
use lane::{Answer, Lane};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

/// How long after `maintenance-event` went back to NONE an announcement that says ONGOING is still about the same,
/// nanoseconds. Chosen: the two are written by different parts of the service.
const SAME_NS: i64 = 600 * 1_000_000_000;

/// How many times what maintenance does to this machine is asked for in vain.
const POLICY_ATTEMPTS: u8 = 5;

/// Who this machine is, which every lane asks for itself: none waits for another.
const IDENTITY: Item = Item { name: "id", role: Role::Identity };

/// The address: the configured one; where that is the usual one, what the environment variable `GCE_METADATA_HOST` says, by
/// which Google's client libraries are led elsewhere.
pub fn endpoint(settings: &GcpSource, host: Option<&str>) -> String {
    match host.filter(|host| !host.is_empty() && settings.endpoint == GcpSource::default().endpoint) {
        Some(host) => format!("http://{host}"),
        None => settings.endpoint.clone(),
    }
}

/// Which key has told that maintenance begins. Shared by the two lanes; nobody waits for it.
#[derive(Debug)]
pub struct Begun {
    by: AtomicU8,
    /// When `maintenance-event` last went back to NONE, CLOCK_BOOTTIME nanoseconds.
    over_boot_ns: AtomicI64,
}

impl Begun {
    const UNKNOWN: u8 = 0;
    const NOT: u8 = 1;
    const BY_EVENT: u8 = 2;
    const BY_UPCOMING: u8 = 3;

    /// Nothing is known: `maintenance-event` was not read yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { by: AtomicU8::new(Self::UNKNOWN), over_boot_ns: AtomicI64::new(i64::MIN) })
    }

    fn replace(&self, from: u8, to: u8) -> Result<u8, u8> {
        self.by.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
    }

    /// `maintenance-event` says that it begins. Whether it is the one to tell.
    fn event_stands(&self) -> bool {
        let taken = self.replace(Self::NOT, Self::BY_EVENT).or_else(|_| self.replace(Self::UNKNOWN, Self::BY_EVENT));
        taken.is_ok() || self.by.load(Ordering::Acquire) == Self::BY_EVENT
    }

    /// `maintenance-event` says NONE, or nothing.
    fn event_is_over(&self, now_boot_ns: i64) {
        if self.replace(Self::BY_EVENT, Self::NOT).is_ok() {
            self.over_boot_ns.store(now_boot_ns, Ordering::Release);
        }
        self.event_was_read();
    }

    /// `maintenance-event` was asked for, with or without success.
    fn event_was_read(&self) {
        let _ = self.replace(Self::UNKNOWN, Self::NOT);
    }

    /// An announcement says ONGOING. Whether it is the one to tell; None: not known yet.
    fn upcoming_goes_on(&self, now_boot_ns: i64) -> Option<bool> {
        if now_boot_ns.saturating_sub(self.over_boot_ns.load(Ordering::Acquire)) < SAME_NS {
            return Some(false);
        }
        match self.replace(Self::NOT, Self::BY_UPCOMING) {
            Ok(_) | Err(Self::BY_UPCOMING) => Some(true),
            Err(Self::UNKNOWN) => None,
            Err(_) => Some(false),
        }
    }

    fn upcoming_is_over(&self) {
        let _ = self.replace(Self::BY_UPCOMING, Self::NOT);
    }
}

/// `preempted`.
#[derive(Debug)]
pub struct Preempted {
    lane: Lane,
    notice_ns: i64,
}

impl Preempted {
    /// Asks nothing yet; `bell` ends its waiting.
    ///
    /// # Errors
    /// The endpoint cannot be used.
    pub fn new(settings: &GcpSource, bell: Arc<Bell>) -> Result<Self, EndpointError> {
        #[allow(clippy::cast_possible_truncation, reason = "at most an hour, in ns")]
        let notice_ns = (settings.preemption_notice_seconds * 1e9) as i64;
        Ok(Self { lane: Lane::new("preempted", settings, bell)?, notice_ns })
    }
}

impl Cloud for Preempted {
    const SOURCE: &'static str = "gcp.compute.preempted";
    const ITEMS: &'static [Item] = &[Item { name: "preempted", role: Role::Urgent }, IDENTITY];

    const DETOUR: &'static str = lane::DETOUR;

    fn client(&mut self) -> &mut MetadataClient {
        self.lane.client()
    }

    fn look_max_ns(&self) -> i64 {
        self.lane.look_max_ns()
    }

    fn look(&mut self, number: usize, round: &mut Round<'_>) -> Result<Again, PollError> {
        if number != 0 {
            return self.lane.identity(round).map(|()| Again::Never);
        }
        let notice_ns = self.notice_ns;
        self.lane.look(round, |answer, round| {
            if answer.is_news {
                round.approach(&EventType::SPOT_INTERRUPT);
            }
            match parse::preempted(answer.body()?, answer.reading, answer.since, notice_ns)? {
                Some(notice) => {
                    round.observe(notice, answer.local);
                    round.stands(true);
                }
                None => {
                    // Never taken back; but a machine that was stopped and started again can be preempted again.
                    round.absent(&parse::preempted_key(answer.reading.machine), Absence::Over);
                    round.stands(false);
                }
            }
            Ok(())
        })
    }

    fn specimen(reading: Reading<'_>) -> Option<Notice> {
        parse::preempted(b"TRUE", reading, reading.now, 0).ok().flatten()
    }
}

/// `maintenance-event`.
#[derive(Debug)]
pub struct MaintenanceEvent {
    lane: Lane,
    begun: Arc<Begun>,
    /// What stands was told under the other key.
    is_told: bool,
}

impl MaintenanceEvent {
    /// Asks nothing yet; `bell` ends its waiting. `begun` is what it shares with [`UpcomingMaintenance`].
    ///
    /// # Errors
    /// The endpoint cannot be used.
    pub fn new(settings: &GcpSource, bell: Arc<Bell>, begun: Arc<Begun>) -> Result<Self, EndpointError> {
        Ok(Self { lane: Lane::new("maintenance-event", settings, bell)?, begun, is_told: false })
    }
}

impl Cloud for MaintenanceEvent {
    const SOURCE: &'static str = "gcp.compute.maintenance-event";
    const ITEMS: &'static [Item] = &[Item { name: "maintenance-event", role: Role::Urgent }, IDENTITY];

    const DETOUR: &'static str = lane::DETOUR;

    fn client(&mut self) -> &mut MetadataClient {
        self.lane.client()
    }

    fn look_max_ns(&self) -> i64 {
        self.lane.look_max_ns()
    }

    fn look(&mut self, number: usize, round: &mut Round<'_>) -> Result<Again, PollError> {
        if number != 0 {
            return self.lane.identity(round).map(|()| Again::Never);
        }
        let Self { lane, begun, is_told } = self;
        let again = lane.look(round, |answer, round| {
            if answer.is_news {
                round.approach(&EventType::MAINTENANCE_FREEZE);
            }
            let notice = parse::maintenance_event(answer.body()?, answer.reading, answer.since)?;
            match &notice {
                Some(_) => *is_told |= !begun.event_stands(),
                None => {
                    *is_told = false;
                    begun.event_is_over(answer.local.boot_ns);
                }
            }
            tell_begun(notice.filter(|_| !*is_told), answer, round);
            Ok(())
        });
        begun.event_was_read();
        again
    }

    fn specimen(reading: Reading<'_>) -> Option<Notice> {
        parse::maintenance_event(b"MIGRATE_ON_HOST_MAINTENANCE", reading, reading.now).ok().flatten()
    }
}

/// `upcoming-maintenance`.
#[derive(Debug)]
pub struct UpcomingMaintenance {
    lane: Lane,
    begun: Arc<Begun>,
    is_told: bool,
    /// None: not read yet, and asked for in vain this many times.
    policy: Option<OnHostMaintenance>,
    in_vain: u8,
}

impl UpcomingMaintenance {
    /// Asks nothing yet; `bell` ends its waiting. `begun` is what it shares with [`MaintenanceEvent`].
    ///
    /// # Errors
    /// The endpoint cannot be used.
    pub fn new(settings: &GcpSource, bell: Arc<Bell>, begun: Arc<Begun>) -> Result<Self, EndpointError> {
        let lane = Lane::new("upcoming-maintenance?alt=json", settings, bell)?;
        Ok(Self { lane, begun, is_told: false, policy: None, in_vain: 0 })
    }

    /// What maintenance does to this machine. Read before the question that is held back, so that it is there when an
    /// announcement comes: it decides the type of the event, which must not be told as one and then as another. After a few
    /// attempts in vain it counts as unknown for good, rather than hide announcements.
    fn policy(&mut self) -> Result<OnHostMaintenance, PollError> {
        if let Some(known) = self.policy {
            return Ok(known);
        }
        let found = match self.lane.item("scheduling/on-host-maintenance") {
            Ok(found) => found.map_or(OnHostMaintenance::Unknown, |body| OnHostMaintenance::read(&body)),
            Err(error) if self.in_vain < POLICY_ATTEMPTS => {
                self.in_vain += u8::from(!error.is_no_answer());
                return Err(error);
            }
            Err(_) => OnHostMaintenance::Unknown,
        };
        self.policy = Some(found);
        Ok(found)
    }
}

impl Cloud for UpcomingMaintenance {
    const SOURCE: &'static str = "gcp.compute.upcoming-maintenance";
    const ITEMS: &'static [Item] = &[Item { name: "upcoming-maintenance", role: Role::Notice }, IDENTITY];

    const DETOUR: &'static str = lane::DETOUR;

    fn client(&mut self) -> &mut MetadataClient {
        self.lane.client()
    }

    fn look_max_ns(&self) -> i64 {
        self.lane.look_max_ns()
    }

    fn look(&mut self, number: usize, round: &mut Round<'_>) -> Result<Again, PollError> {
        if number != 0 {
            return self.lane.identity(round).map(|()| Again::Never);
        }
        let policy = self.policy()?;
        let Self { lane, begun, is_told, .. } = self;
        lane.look(round, |answer, round| {
            match answer.found.status {
                // Machine types without this item. It says nothing, so it takes nothing back.
                404 => {
                    round.remark("this machine type is not told of maintenance in advance".into());
                    return Ok(());
                }
                503 if parse::is_nothing_yet(&answer.found.body) => return Ok(()),
                _ => {}
            }
            let machine = answer.reading.machine;
            match parse::upcoming(answer.body()?, policy, answer.reading)? {
                Upcoming::Planned(notice) => {
                    round.observe(*notice, answer.local);
                    *is_told = false;
                    begun.upcoming_is_over();
                    tell_begun(None, answer, round);
                }
                Upcoming::Ongoing(notice) => {
                    let tells = begun.upcoming_goes_on(answer.local.boot_ns);
                    *is_told |= tells == Some(false);
                    if tells == Some(true) && !*is_told {
                        tell_begun(Some(*notice), answer, round);
                    }
                }
                Upcoming::Nothing => {
                    *is_told = false;
                    begun.upcoming_is_over();
                    tell_begun(None, answer, round);
                    for key in parse::planned_keys(machine) {
                        round.absent(&key, Absence::Withdrawn);
                    }
                }
            }
            Ok(())
        })
    }

    fn specimen(reading: Reading<'_>) -> Option<Notice> {
        let body = br#"{"maintenance_status": "PENDING", "window_start_time": "2199-12-31T23:59:59Z"}"#;
        match parse::upcoming(body, OnHostMaintenance::Migrate, reading) {
            Ok(Upcoming::Planned(notice)) => Some(*notice),
            _ => None,
        }
    }
}

/// Maintenance of one kind begins, or none does: what was told of another kind is withdrawn.
fn tell_begun(notice: Option<Notice>, answer: &Answer<'_>, round: &mut Round<'_>) {
    let kind = notice.as_ref().map(|notice| notice.kind.clone());
    if let Some(notice) = notice {
        round.observe(notice, answer.local);
    }
    for key in parse::maintenance_keys(answer.reading.machine) {
        if Some(&key.kind) != kind.as_ref() {
            round.absent(&key, Absence::Withdrawn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_is_told_under_one_key_only() {
        let begun = Begun::new();
        assert_eq!(begun.upcoming_goes_on(0), None, "maintenance-event may stand");
        assert!(begun.event_stands());
        assert_eq!(begun.upcoming_goes_on(0), Some(false));
        begun.event_is_over(0);
        assert_eq!(begun.upcoming_goes_on(SAME_NS - 1), Some(false), "the same maintenance");
        assert_eq!(begun.upcoming_goes_on(SAME_NS), Some(true), "another one");
        assert!(!begun.event_stands());
        assert_eq!(begun.upcoming_goes_on(SAME_NS), Some(true));
        begun.upcoming_is_over();
        assert!(begun.event_stands() && begun.event_stands());
    }

    #[test]
    fn a_server_that_cannot_be_asked_for_its_event_does_not_hide_an_announcement() {
        let begun = Begun::new();
        begun.event_was_read();
        assert_eq!(begun.upcoming_goes_on(0), Some(true));
    }

    #[test]
    fn the_address_is_the_configured_one_unless_the_environment_leads_elsewhere() {
        let usual = GcpSource::default();
        assert_eq!(endpoint(&usual, None), "http://169.254.169.254");
        assert_eq!(endpoint(&usual, Some("")), "http://169.254.169.254");
        assert_eq!(endpoint(&usual, Some("metadata:8080")), "http://metadata:8080");
        let own = GcpSource { endpoint: "http://127.0.0.1:1".into(), ..usual };
        assert_eq!(endpoint(&own, Some("metadata:8080")), "http://127.0.0.1:1");
    }
}
