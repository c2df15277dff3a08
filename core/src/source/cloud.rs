//! What a cloud must say to be a source: one file here that implements [`Cloud`], and one parser in `normalise`.
//!
//! Responsibilities: the trait, the items that are read and how often. Inputs: none. Outputs: types. Must never
//! hold anything that belongs to one cloud.
//!
//! To add a cloud: a parser `normalise/NAME.rs`, bytes to `Notice`s, with fixtures; a type here that implements
//! [`Cloud`]; its settings in `crate::settings`, as a member of the configuration's `sources`; in the daemon its pace in
//! `supervise/pace.rs` and a row in the table of `supervise/clouds.rs`.
//! What polls, remembers, publishes, tells of its health and tests itself is `poller` and `round`.

use super::imds::{FetchError, MetadataClient};
use super::imdsd;
use super::round::Round;
use super::token::TokenError;
use crate::normalise::deadline::SECOND_NS;
use crate::normalise::{Notice, ParseError, Reading};
use thiserror::Error;

/// Least wait after an answer that says "too many requests", nanoseconds: every service can be asked once a second.
pub(super) const CALM_NS: i64 = SECOND_NS;

/// Seconds between attempts to learn who this machine is.
const IDENTITY_INTERVAL_SECONDS: f64 = 5.0;

/// What an item of a metadata service holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Notices that are known long before: read at their interval, whatever the hurry.
    Notice,
    /// Notices that leave little time: read more often in a hurry.
    Urgent,
    /// Who this machine is: read first, until there was an answer. Not knowing it misses no notice, so it is no part
    /// of the source's health. Comes last in the list, at most once.
    Identity,
}

/// One thing that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its name in status and log.
    pub name: &'static str,
    /// What it holds.
    pub role: Role,
}

/// Seconds between polls. Brought within the limits of [`super::cadence`].
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    /// For each item but the identity, in their order.
    pub seconds: Vec<f64>,
    /// For urgent items while a notice is more likely than usual; when that is shorter.
    pub hurried_seconds: f64,
}

impl Pace {
    /// The same for every item, hurry or not.
    pub fn every(seconds: f64, items: &[Item]) -> Self {
        Self { seconds: vec![seconds; items.len()], hurried_seconds: seconds }
    }

    /// Seconds between two polls of the item with this number.
    pub(super) fn of(&self, number: usize, item: Item, is_hurried: bool) -> f64 {
        let usual = self.seconds.get(number).copied().unwrap_or(IDENTITY_INTERVAL_SECONDS);
        match item.role {
            Role::Identity => IDENTITY_INTERVAL_SECONDS,
            Role::Urgent if is_hurried => usual.min(self.hurried_seconds),
            Role::Urgent | Role::Notice => usual,
        }
    }
}

/// When an item that was answered is to be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// After its interval.
    Usual,
    /// At once: the service held the question until there was something to say, and is to be asked again.
    AtOnce,
    /// Not any more.
    Never,
}

/// Why a poll gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PollError {
    /// There is no token, which the service wants.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// There was no answer.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// There was no answer, and this is what it means here.
    #[error("{error}: {meaning}")]
    Explained {
        /// What happened.
        error: FetchError,
        /// In words that tell an operator what to expect or to mend.
        meaning: &'static str,
    },
    /// The answer is not what its path promises.
    #[error("the answer is not understood: {0}")]
    Parse(#[from] ParseError),
    /// Part of a list is not. What could be read of it was told.
    #[error("{0} entries of the list are not understood")]
    Entries(u32),
}

impl PollError {
    /// The status of an answer that was no good.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Fetch(FetchError::Status(status))
            | Self::Token(TokenError::Fetch(FetchError::Status(status)))
            | Self::Explained { error: FetchError::Status(status), .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether it was only the source itself that did not wait for an answer: it was told to stop, or to look at once.
    pub(super) fn is_no_answer(&self) -> bool {
        let is_ours = |error: &FetchError| matches!(error, FetchError::Stopped | FetchError::CalledAway);
        match self {
            Self::Fetch(error) | Self::Token(TokenError::Fetch(error)) => is_ours(error),
            _ => false,
        }
    }
}

/// A metadata service. Lives on the source's own thread, which is real-time where that is granted.
pub trait Cloud: Send {
    /// Its name in events and status, such as `aws.ec2.metadata-service`.
    const SOURCE: &'static str;

    /// What is read, by number, the most important first.
    const ITEMS: &'static [Item];

    /// What the status says while the service is asked through systemd-imdsd.
    const DETOUR: &'static str = imdsd::REMARK;

    /// What asks the service. Where systemd-imdsd's socket is, and whether that is asked, is not the cloud's affair.
    fn client(&mut self) -> &mut MetadataClient;

    /// Longest that one look may take, nanoseconds: after that the thread counts as hanging.
    fn look_max_ns(&self) -> i64;

    /// Reads the item with this number once and tells `round` what it says. Between the last byte of an answer and
    /// `round` nothing may log, lock or wait.
    ///
    /// # Errors
    /// Anything but an answer. Absence is an answer.
    fn look(&mut self, number: usize, round: &mut Round<'_>) -> Result<Again, PollError>;

    /// Nanoseconds that have to pass after this error before the item is read again, where its interval is shorter. Errors slow
    /// nothing down, but for a service that refuses because it is asked too often.
    fn calm_ns(&self, error: &PollError) -> i64 {
        if error.status() == Some(429) { CALM_NS } else { 0 }
    }

    /// A notice as the cloud writes it, read by the cloud's own parser, for the self-test. Its time lies ahead for as
    /// long as this program lives.
    fn specimen(reading: Reading<'_>) -> Option<Notice>;
}
