//! What a cloud's metadata service is to the rest of this crate.
//!
//! Responsibilities: name the providers, make the one that is played, say what an answer may be (a reply, a wait, a broken
//! connection). Inputs: a provider, its instance. Outputs: a [`Cloud`]. Implementations are values that answer requests:
//! they do no I/O and read no clock, and must never invent a behaviour: what is not documented or recorded is marked so.

use std::fmt;

use clap::ValueEnum;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::alibaba;
use crate::aws::Aws;
use crate::azure::Azure;
use crate::change::{Action, Applied, Change, ChangeError};
use crate::gcp::Gcp;
use crate::http::{Incoming, Reply};
use crate::instance::Instance;
use crate::settings::Settings;
use crate::spot_time::SpotTime;
use crate::tencent;
use crate::token::TokenUse;

/// Whose metadata service is played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Amazon EC2, at 169.254.169.254 in reality.
    #[default]
    Aws,
    /// Microsoft Azure, at 169.254.169.254 in reality.
    Azure,
    /// Google Compute Engine, at metadata.google.internal in reality.
    Gcp,
    /// Alibaba Cloud ECS, at 100.100.100.200 in reality.
    Alibaba,
    /// Tencent Cloud CVM, at metadata.tencentyun.com in reality.
    Tencent,
}

impl Provider {
    /// All of them, in the order people are shown.
    pub const ALL: [Self; 5] = [Self::Aws, Self::Azure, Self::Gcp, Self::Alibaba, Self::Tencent];

    /// The name that arguments and scripts use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Gcp => "gcp",
            Self::Alibaba => "alibaba",
            Self::Tencent => "tencent",
        }
    }

    /// How long before a spot instance's end the real service gives notice. Azure: 30 s at least (scheduled events, type
    /// Preempt). GCP: 30 s from soft-off to mechanical off (Compute API, skipGuestOsShutdown). Alibaba: 5 min. Tencent:
    /// 2 min. AWS: by the action.
    pub fn usual_warning(self, action: Action) -> SignedDuration {
        match self {
            Self::Aws => action.usual_warning(),
            Self::Azure | Self::Gcp => SignedDuration::from_secs(30),
            Self::Alibaba => SignedDuration::from_secs(300),
            Self::Tencent => SignedDuration::from_secs(120),
        }
    }

    /// Whether the real service refuses requests without a token unless told otherwise. Tokens exist at AWS, where images of
    /// these years require them, and at Alibaba, where an owner switches them on.
    pub fn requires_tokens(self) -> bool {
        self == Self::Aws
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The time, the settings and the faults that bear on one change or answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment<'a> {
    /// Nanoseconds on the clock that lifetimes and limits are measured with.
    pub(crate) boot_ns: u64,
    pub(crate) now: Timestamp,
    pub(crate) settings: &'a Settings,
    /// How far the times in a notice have drifted.
    pub(crate) drift: SignedDuration,
    /// Every token is refused and forgotten as it is used.
    pub(crate) token_storm: bool,
    /// What this request was told to wait for when it was looked at before.
    pub(crate) held: Option<&'a Hold>,
}

impl Moment<'_> {
    /// That time as a notice tells it while it drifts.
    pub(crate) fn drifted(&self, time: Timestamp) -> Timestamp {
        time.saturating_add(self.drift).unwrap_or(time)
    }
}

/// A request that is not answered yet. It is looked at again after each change, and when its time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    /// What the client knows already; empty when that does not matter.
    pub(crate) etag: String,
    /// When it is answered at the latest, on the clock of [`Moment::boot_ns`]; `None` is never.
    pub(crate) until_ns: Option<u64>,
}

impl Hold {
    pub(crate) fn is_over(&self, boot_ns: u64) -> bool {
        self.until_ns.is_some_and(|until_ns| until_ns <= boot_ns)
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    Reply(Reply),
    /// It hangs, and is looked at again.
    Hold(Hold),
    /// The connection ends without a reply.
    Cut,
}

/// One answer, with what is worth logging about it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    pub(crate) token: TokenUse,
    /// The reply announces something: a notice, a recommendation, an event.
    pub(crate) news: bool,
}

impl Answer {
    /// A reply without a token that announces nothing.
    pub(crate) fn plain(reply: Reply) -> Self {
        Self { outcome: Outcome::Reply(reply), token: TokenUse::None, news: false }
    }
}

/// One instance's metadata service.
pub(crate) trait Cloud: fmt::Debug + Send {
    fn instance(&self) -> &Instance;

    /// Applies a change that suits the provider. What is not the cloud's affair (faults) it answers with
    /// [`Applied::Done`].
    fn apply(&mut self, change: Change, moment: &Moment) -> Result<Applied, ChangeError>;

    fn answer(&mut self, request: &Incoming, moment: &Moment) -> Answer;

    /// What `Server:` says, where a recording shows it.
    fn server(&self) -> Option<&'static str> {
        None
    }

    /// The page of an error status that a fault asks for.
    fn refusal(&self, status: u16) -> Reply {
        Reply::new(status, "text/plain", "")
    }

    /// What everything answers while the service is off.
    fn off(&self) -> Reply {
        Reply::new(403, "text/plain", "")
    }
}

/// The service of that provider.
pub(crate) fn play(provider: Provider, instance: Instance, tokens_required: bool, now: Timestamp) -> Box<dyn Cloud> {
    match provider {
        Provider::Aws => Box::new(Aws::new(instance, tokens_required, now)),
        Provider::Azure => Box::new(Azure::new(instance)),
        Provider::Gcp => Box::new(Gcp::new(instance)),
        Provider::Alibaba => Box::new(SpotTime::new(&alibaba::DIALECT, instance, tokens_required)),
        Provider::Tencent => Box::new(SpotTime::new(&tencent::DIALECT, instance, tokens_required)),
    }
}
