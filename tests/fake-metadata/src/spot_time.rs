//! Services whose only notice is the time at which a spot instance ends: Alibaba's and Tencent's.
//!
//! Responsibilities: serve a tree of text below `/latest/meta-data/` with that time in it, with tokens where a dialect has
//! them. Inputs: a [`Dialect`], changes, requests, the time. Outputs: answers. It does no I/O and reads no clock. It must
//! never invent a behaviour: what is not documented is marked so.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::change::{Applied, Body, Change, ChangeError};
use crate::cloud::{Answer, Cloud, Moment, Outcome, Provider};
use crate::http::{Incoming, Reply, reason};
use crate::instance::Instance;
use crate::token::{TokenUse, Tokens, parse_ttl};
use crate::tree::{Found, Leaves, find};

const META_DATA: &str = "/latest/meta-data";
const TOKEN_PATH: &str = "/latest/api/token";
pub(crate) const NOTICE: &str = "spot/termination-time";
/// The same item as Alibaba places it.
pub(crate) const INSTANCE_NOTICE: &str = "instance/spot/termination-time";

/// In what one provider's service differs from another's.
#[derive(Debug)]
pub(crate) struct Dialect {
    pub(crate) provider: Provider,
    /// The headers of a token: its lifetime and itself; none where there are no tokens.
    pub(crate) token_headers: Option<(&'static str, &'static str)>,
    /// Where the notice stands, below `meta-data/`.
    pub(crate) notice_path: &'static str,
    /// How a time is written.
    pub(crate) shown: fn(Timestamp) -> String,
    /// What does not change while an instance runs.
    pub(crate) standing: fn(&Instance) -> Leaves,
}

/// One instance's service.
#[derive(Debug)]
pub(crate) struct SpotTime {
    dialect: &'static Dialect,
    instance: Instance,
    tokens: Tokens,
    tokens_required: bool,
    notice: Option<Timestamp>,
    bodies: BTreeMap<String, Body>,
}

impl SpotTime {
    pub(crate) fn new(dialect: &'static Dialect, instance: Instance, tokens_required: bool) -> Self {
        let tokens_required = tokens_required && dialect.token_headers.is_some();
        Self { dialect, instance, tokens: Tokens::default(), tokens_required, notice: None, bodies: BTreeMap::new() }
    }

    fn leaves(&self, moment: &Moment) -> Leaves {
        let mut leaves = (self.dialect.standing)(&self.instance);
        if let Some(time) = self.notice {
            leaves.insert(self.dialect.notice_path.to_owned(), (self.dialect.shown)(moment.drifted(time)));
        }
        for (path, body) in &self.bodies {
            match body {
                Body::Text(text) => leaves.insert(path.clone(), text.clone()),
                Body::Absent | Body::Usual => leaves.remove(path),
            };
        }
        leaves
    }

    fn get(&self, path: &str, moment: &Moment) -> (Reply, bool) {
        let path = path.trim_end_matches('/');
        if matches!(path, "" | "/latest") {
            let listing = if path.is_empty() { "latest/" } else { "meta-data/" };
            return (Reply::new(200, "text/plain", listing), false);
        }
        let item = match path.strip_prefix(META_DATA) {
            Some(item) if item.is_empty() || item.starts_with('/') => item.trim_start_matches('/'),
            _ => return (page(404), false),
        };
        match find(&self.leaves(moment), item) {
            Found::Leaf(body) => (Reply::new(200, "text/plain", body), item == self.dialect.notice_path),
            Found::Listing(listing) => (Reply::new(200, "text/plain", listing), false),
            Found::Nothing => (page(404), false),
        }
    }

    fn put(&mut self, request: &Incoming, ttl_header: &str, moment: &Moment) -> Reply {
        if request.path != TOKEN_PATH {
            return page(405);
        }
        match parse_ttl(request.header(ttl_header)) {
            Some(ttl_seconds) => Reply::new(200, "text/plain", self.tokens.issue(ttl_seconds, moment.boot_ns)),
            None => page(400),
        }
    }

    /// Why a request is refused: 403 without a token where one is needed, 401 with one that is worth nothing. Which of the
    /// two Alibaba answers when is not documented; clients must take either for "get a token".
    fn refused(&mut self, presented: Option<&str>, token: TokenUse, moment: &Moment) -> Option<Reply> {
        match token {
            TokenUse::None => self.tokens_required.then(|| page(403)),
            _ if moment.token_storm => {
                self.tokens.revoke(presented.unwrap_or_default());
                Some(page(401))
            }
            TokenUse::Valid => None,
            TokenUse::Expired | TokenUse::Unknown => Some(page(401)),
        }
    }
}

impl Cloud for SpotTime {
    fn instance(&self) -> &Instance {
        &self.instance
    }

    fn apply(&mut self, change: Change, moment: &Moment) -> Result<Applied, ChangeError> {
        match change {
            Change::Notice { action, time } => {
                let warning = self.dialect.provider.usual_warning(action);
                self.notice = Some(time.resolve_or(moment.now, warning));
            }
            Change::Withdraw => {
                self.notice = None;
                self.bodies.remove(self.dialect.notice_path);
            }
            // The change `termination_time` names the item as AWS and Tencent place it.
            Change::Body { path, body } => {
                let path = if path == NOTICE { self.dialect.notice_path.to_owned() } else { path };
                match body {
                    Body::Usual => drop(self.bodies.remove(&path)),
                    body => drop(self.bodies.insert(path, body)),
                }
            }
            Change::Tokens { required } => self.tokens_required = required,
            Change::RevokeTokens => self.tokens.revoke_all(),
            _ => {}
        }
        Ok(Applied::Done)
    }

    fn answer(&mut self, request: &Incoming, moment: &Moment) -> Answer {
        let presented = self.dialect.token_headers.and_then(|(_, header)| request.header(header));
        let (token, _) = self.tokens.judge(presented, moment.boot_ns);
        let (reply, news) = match (request.method.as_str(), self.dialect.token_headers) {
            ("PUT", Some((ttl_header, _))) => (self.put(request, ttl_header, moment), false),
            ("GET" | "HEAD", _) => match self.refused(presented, token, moment) {
                Some(reply) => (reply, false),
                None => self.get(&request.path, moment),
            },
            // Not documented; the services are read-only.
            _ => (page(405), false),
        };
        Answer { outcome: Outcome::Reply(reply), token, news }
    }

    fn refusal(&self, status: u16) -> Reply {
        page(status)
    }
}

/// The page of an error. What it looks like is not documented; clients go by the status.
fn page(status: u16) -> Reply {
    let title = format!("{status} - {}", reason(status));
    Reply::new(
        status,
        "text/html",
        format!("<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"),
    )
}
