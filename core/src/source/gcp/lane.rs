//! A lane: one key of the metadata server, asked on a connection of its own so that the server holds the answer back until
//! the key changes (a hanging GET).
//!
//! Responsibilities: how to ask so that no change falls between two answers, what to do when the server is cut off, and
//! since when a value may have stood. Inputs: settings, a bell. Outputs: answers, who this machine is. Must never take an
//! error for an answer, or believe an answer that is not from Google's server.
//!
//! Facts: Compute Engine, "Query VM metadata" (`wait_for_change`, `last_etag`, `timeout_sec`, `Metadata-Flavor`) and
//! "Troubleshoot the metadata server" (503 and cut connections during live migration). Google's guest agent asks for 60 s
//! with ten more for the answer; its Python sample names the first `last_etag` 0.

use crate::event::Moment;
use crate::normalise::Reading;
use crate::normalise::deadline::SECOND_NS;
use crate::normalise::gcp as parse;
use crate::settings::GcpSource;
use crate::source::cloud::{Again, PollError};
use crate::source::imds::{EndpointError, FetchError, Found, Header, MetadataClient};
use crate::source::round::{Round, reading};
use crate::sys::bell::Bell;
use crate::sys::clock;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Where everything about this machine is.
const INSTANCE: &str = "/computeMetadata/v1/instance/";

/// What every request and every answer carries.
const FLAVOR: Header<'static> = ("Metadata-Flavor", "Google");

/// No value has this one: the first answer comes at once.
const NO_ETAG: &str = "0";

/// Longest `ETag` that is used, bytes. Real ones have 16.
const ETAG_BYTES_MAX: usize = 128;

/// How long the server is asked to hold an answer back while it is not certain that it answers at all, seconds: soon
/// enough for the status to tell the truth.
const TRIAL_SECONDS: u32 = 1;

/// The same while the machine is not known, seconds: it is asked for again between two questions.
const UNKNOWN_SECONDS: u32 = 5;

/// The same through systemd-imdsd, seconds. That tells no `ETag`, so a change that falls between an answer and the next question
/// is only told when that question ends. It gives up itself after 40 s (`imdsd.c`).
const INDIRECT_SECONDS: u32 = 5;

/// What the status says of a lane that asks this way.
pub(super) const DETOUR: &str = "through systemd-imdsd, because direct access is locked; that tells no ETag, so a change between two \
    questions is seen up to 5 s late";

/// How many times the time of a plain request an answer that was held back may take on top: ten seconds, unless the
/// configuration says otherwise.
const SLACK: i64 = 5;

/// Most plain requests of one look, each made twice at most: who this machine is, and its policy.
const REQUESTS_MAX: i64 = 2 * 5;

/// How far apart signs of life are while an answer is held back, and as much again, nanoseconds.
const SIGN_NS: i64 = 2 * SECOND_NS;

/// An answer about the key.
pub(super) struct Answer<'a> {
    /// With any status but a redirect; from Google's server.
    pub found: &'a Found,
    /// For the parser.
    pub reading: Reading<'a>,
    /// The earliest time at which the key can have got this value, if the last answer gave another: now, unless the server
    /// was out of sight meanwhile. Never after now.
    pub since: Moment,
    /// When it came, by both local clocks.
    pub local: Moment,
    /// Whether it differs from the one before.
    pub is_news: bool,
}

impl Answer<'_> {
    /// The body of a 200.
    pub(super) fn body(&self) -> Result<&[u8], PollError> {
        match self.found.status {
            200 => Ok(&self.found.body),
            code => Err(FetchError::Status(code).into()),
        }
    }
}

/// One key.
#[derive(Debug)]
pub(super) struct Lane {
    client: MetadataClient,
    /// Its path below `instance/`, with a query or without.
    key: &'static str,
    hold_seconds: u32,
    request_timeout_ns: i64,
    /// Of the last answer that was understood.
    etag: Option<String>,
    /// The last answer that was understood: status and body.
    last: Option<(u16, Vec<u8>)>,
    /// Since when the server is out of sight.
    lost: Option<Moment>,
}

impl Lane {
    /// Asks nothing yet; `bell` ends its waiting.
    ///
    /// # Errors
    /// The endpoint cannot be used.
    pub(super) fn new(key: &'static str, settings: &GcpSource, bell: Arc<Bell>) -> Result<Self, EndpointError> {
        Ok(Self {
            client: MetadataClient::new(&settings.endpoint, settings.request_timeout_ms.into(), bell)?,
            key,
            hold_seconds: settings.hold_seconds,
            request_timeout_ns: i64::from(settings.request_timeout_ms) * 1_000_000,
            etag: None,
            last: None,
            lost: None,
        })
    }

    /// What asks the server.
    pub(super) fn client(&mut self) -> &mut MetadataClient {
        &mut self.client
    }

    /// Longest time without a sign of life, nanoseconds.
    pub(super) fn look_max_ns(&self) -> i64 {
        self.request_timeout_ns.saturating_mul(REQUESTS_MAX).saturating_add(SIGN_NS)
    }

    /// Asks for the key and has `tell` tell what it says. An answer that `tell` does not understand counts as none: the
    /// next question names the `ETag` of the one before.
    ///
    /// # Errors
    /// Anything but an answer that is understood.
    pub(super) fn look(
        &mut self,
        round: &mut Round<'_>,
        tell: impl FnOnce(&Answer<'_>, &mut Round<'_>) -> Result<(), PollError>,
    ) -> Result<Again, PollError> {
        let asked = clock::now();
        let (is_called, seconds) = (round.is_called(), self.hold_seconds(round));
        // Without an `ETag` the server would hold back what is not known yet.
        let is_unknown = self.client.is_through_imdsd() && (self.last.is_none() || self.lost.is_some());
        let found =
            if is_called || is_unknown { self.plain(self.key) } else { self.held(seconds, round).map_err(Into::into) };
        let local = clock::now();
        let found = found.inspect_err(|error| self.lose(if is_timeout(error) { asked } else { local }));
        let found = found.map_err(|error| self.explained(error))?;
        let machine = Arc::clone(round.machine());
        let reading = reading(&machine, &found, local);
        let ago_ns = self.lost.map_or(0, |lost| lost.boot_ns.saturating_sub(local.boot_ns).min(0));
        let is_news = self.last.as_ref().is_none_or(|(status, body)| (*status, body) != (found.status, &found.body));
        let answer = Answer { found: &found, reading, since: reading.now.plus_ns(ago_ns), local, is_news };
        tell(&answer, round).inspect_err(|_| self.lose(local))?;
        let was_held = local.boot_ns.saturating_sub(asked.boot_ns) >= i64::from(seconds) * SECOND_NS / 2;
        self.lost = None;
        self.etag = found.etag.filter(|etag| is_etag(etag));
        self.last = Some((found.status, found.body));
        // A server that holds nothing back is not to be flooded.
        Ok(if is_called || is_news || was_held { Again::AtOnce } else { Again::Usual })
    }

    /// Who this machine is.
    pub(super) fn identity(&mut self, round: &mut Round<'_>) -> Result<(), PollError> {
        let mut bodies = [const { Vec::new() }; 4];
        for (body, item) in bodies.iter_mut().zip(["id", "name", "zone", "machine-type"]) {
            *body = self.item(item)?.unwrap_or_default();
        }
        let [id, name, zone, machine_type] = bodies;
        round.found_machine(parse::identity(&id, &name, &zone, &machine_type)?);
        Ok(())
    }

    /// What an item below `instance/` holds now; None: there is no such item.
    pub(super) fn item(&mut self, item: &str) -> Result<Option<Vec<u8>>, PollError> {
        match self.plain(item)? {
            Found { status: 200, body, .. } => Ok(Some(body)),
            Found { status: 404, .. } => Ok(None),
            Found { status, .. } => Err(FetchError::Status(status).into()),
        }
    }

    fn plain(&mut self, item: &str) -> Result<Found, PollError> {
        let found = self.client.ask(&format!("{INSTANCE}{item}"), &[FLAVOR])?;
        Ok(self.proven(found)?)
    }

    /// The answer that the server holds back until there is something to say. When it is cut off it is asked for again at
    /// once, and only then left to the poller.
    fn held(&mut self, seconds: u32, round: &mut Round<'_>) -> Result<Found, FetchError> {
        let query = if self.key.contains('?') { '&' } else { '?' };
        let etag = self.etag.as_deref().unwrap_or(NO_ETAG);
        let key = self.key;
        let etag = if self.client.is_through_imdsd() { String::new() } else { format!("&last_etag={etag}") };
        let path = format!("{INSTANCE}{key}{query}wait_for_change=true{etag}&timeout_sec={seconds}");
        let first = self.hold(&path, seconds, round);
        if self.lost.is_some() || !is_cut(&first) {
            return first.and_then(|found| self.proven(found));
        }
        self.lose(clock::now());
        let second = self.hold(&path, seconds, round);
        second.and_then(|found| self.proven(found))
    }

    /// systemd-imdsd asks again after a 503, which is also how the server says that there is nothing.
    fn explained(&self, error: PollError) -> PollError {
        match error {
            PollError::Fetch(error @ FetchError::Timeout) if self.client.is_through_imdsd() => {
                let meaning =
                    "systemd-imdsd does not pass on a server's word that it has nothing to say (503), and waits";
                PollError::Explained { error, meaning }
            }
            error => error,
        }
    }

    /// systemd-imdsd shows no headers; which service it asks was found out before.
    fn proven(&self, found: Found) -> Result<Found, FetchError> {
        if self.client.is_through_imdsd() { Ok(found) } else { from_google(found) }
    }

    fn hold(&mut self, path: &str, seconds: u32, round: &mut Round<'_>) -> Result<Found, FetchError> {
        let limit_ns = i64::from(seconds) * SECOND_NS + self.request_timeout_ns.saturating_mul(SLACK);
        let look_max_ns = self.look_max_ns();
        let mut meanwhile = || {
            if round.is_called() {
                return ControlFlow::Break(());
            }
            round.holds_on(clock::boot_ns().saturating_add(look_max_ns));
            ControlFlow::Continue(())
        };
        self.client.hold(path, &[FLAVOR], limit_ns, &mut meanwhile)
    }

    fn hold_seconds(&self, round: &Round<'_>) -> u32 {
        let most = match self.lost {
            _ if self.client.is_through_imdsd() => INDIRECT_SECONDS,
            Some(_) => TRIAL_SECONDS,
            None if round.machine().instance_id.is_empty() => UNKNOWN_SECONDS,
            None => self.hold_seconds,
        };
        most.min(self.hold_seconds)
    }

    fn lose(&mut self, at: Moment) {
        self.lost.get_or_insert(at);
    }
}

fn is_timeout(error: &PollError) -> bool {
    matches!(error, PollError::Fetch(FetchError::Timeout))
}

/// Whether a live migration, or a restart of the server, cut the question off.
fn is_cut(answer: &Result<Found, FetchError>) -> bool {
    match answer {
        Ok(found) => found.status == 503 && !parse::is_nothing_yet(&found.body),
        Err(error) => *error == FetchError::Closed,
    }
}

fn from_google(found: Found) -> Result<Found, FetchError> {
    let says = found.metadata_flavor.as_deref();
    match found.status {
        _ if says.is_some_and(|flavor| flavor.eq_ignore_ascii_case(FLAVOR.1)) => Ok(found),
        200 | 404 => Err(FetchError::Stranger("Metadata-Flavor: Google")),
        // What says that something is wrong says more than that.
        code => Err(FetchError::Status(code)),
    }
}

/// Whether the text can stand in a query as it is. One that cannot is not used: then the answer comes at once.
fn is_etag(text: &str) -> bool {
    (1..=ETAG_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(status: u16, flavor: Option<&str>) -> Found {
        Found { status, metadata_flavor: flavor.map(str::to_owned), ..Found::default() }
    }

    #[test]
    fn an_answer_without_the_header_is_a_stranger_and_a_status_keeps_its_name() {
        assert!(from_google(found(200, Some("Google"))).is_ok());
        assert!(from_google(found(503, Some("Google"))).is_ok());
        let stranger = Err(FetchError::Stranger("Metadata-Flavor: Google"));
        assert_eq!(from_google(found(200, None)), stranger);
        assert_eq!(from_google(found(404, Some("Other"))), stranger);
        assert_eq!(from_google(found(500, None)), Err(FetchError::Status(500)));
    }

    #[test]
    fn only_an_etag_that_cannot_change_the_question_is_used() {
        assert!(is_etag("5f4dcc3b5aa765d6") && is_etag("a-b_c.d~e"));
        for bad in ["", "\"5f\"", "a b", "a&timeout_sec=9", "a%20", "ä", &"x".repeat(129)] {
            assert!(!is_etag(bad), "{bad}");
        }
    }

    #[test]
    fn a_503_that_only_says_that_nothing_came_yet_is_no_cut() {
        let with = |body: &[u8]| Ok(Found { status: 503, body: body.to_vec(), ..Found::default() });
        assert!(is_cut(&with(b"")) && is_cut(&Err(FetchError::Closed)) && !is_cut(&Err(FetchError::Timeout)));
        assert!(!is_cut(&with(br#"{"error":"no notifications have been received yet, try again later"}"#)));
    }
}
