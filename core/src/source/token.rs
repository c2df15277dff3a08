//! The session token of a metadata service: that of EC2 (IMDSv2), and Alibaba's, which is made after it.
//!
//! Responsibilities: get, renew and drop the token; say why there is none. Inputs: a dialect, the client, the time.
//! Outputs: the header for the next request. Must never log the token, or use a service without one unless that is
//! allowed.
//!
//! Facts: EC2 user guide, "Use the Instance Metadata Service to access instance metadata"; Alibaba Cloud ECS user guide,
//! "Obtain instance metadata", security hardening mode.

use super::imds::{FetchError, Found, Header, MetadataClient};
use super::reply::{ALIBABA_TTL_HEADER, EC2_TTL_HEADER};
use crate::normalise::deadline::SECOND_NS;
use std::fmt;
use thiserror::Error;

/// Only this path gives tokens, with either service; EC2's dated ones answer 403.
const TOKEN_PATH: &str = "/latest/api/token";

/// A path that every instance has, to see whether the service answers at all.
const PROBE_PATH: &str = "/latest/meta-data/";

/// Lifetime asked for, seconds: the longest that either service gives.
const TTL_SECONDS: i64 = 21_600;

/// In what one service's tokens differ from another's.
#[derive(Debug)]
pub struct Dialect {
    /// The header that asks for a lifetime, seconds, and tells it.
    ttl_header: &'static str,
    /// The header that carries the token.
    token_header: &'static str,
    /// What lets the token's reply through to a container.
    hop_limit: &'static str,
}

/// EC2's.
pub const EC2: Dialect = Dialect {
    ttl_header: EC2_TTL_HEADER,
    token_header: "x-aws-ec2-metadata-token",
    hop_limit: "Raise HttpPutResponseHopLimit to 2 or use host networking",
};

/// Alibaba's.
pub const ALIBABA: Dialect = Dialect {
    ttl_header: ALIBABA_TTL_HEADER,
    token_header: "x-aliyun-ecs-metadata-token",
    hop_limit: "Use host networking, or allow requests without a token",
};

/// A token is renewed when a tenth of its life is left, at most this long before its end.
const RENEW_BEFORE_MAX_NS: i64 = 300 * SECOND_NS;

/// How long a failed renewal of a token that is still good is not tried again, so that it does not
/// delay every poll by a time-out.
const RENEW_AGAIN_NS: i64 = 15 * SECOND_NS;

/// How long a service is used without a token before asking for one again.
const WITHOUT_RECHECK_NS: i64 = 300 * SECOND_NS;

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// The service answers requests but its token never arrives.
    #[error(
        "the metadata service answers but its token never arrives: the hop limit is 1 and this runs in a bridged \
         container. {0}"
    )]
    HopLimit(&'static str),
    /// The service gives no tokens, and using it without is not allowed.
    #[error(
        "the metadata service gives no token (HTTP status {0}). It may be turned off for this instance, or know \
         only its first version, which is used only if allow_imds_v1 is true"
    )]
    NoTokens(u16),
    /// Nothing usable came back.
    #[error("no metadata token: {0}")]
    Fetch(FetchError),
}

#[derive(Debug)]
enum Access {
    /// A token, sent with every request.
    Token { expires_boot_ns: i64 },
    /// Without one: for EC2, the first version of the service.
    Without,
}

/// Keeps the token of one service.
pub struct TokenKeeper {
    dialect: &'static Dialect,
    may_go_without: bool,
    access: Option<Access>,
    ask_again_boot_ns: i64,
    token: String,
}

impl fmt::Debug for TokenKeeper {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKeeper").field("access", &self.access).finish_non_exhaustive()
    }
}

impl TokenKeeper {
    /// Has no token yet. `may_go_without`: whether a service that gives none is used all the same.
    pub fn new(dialect: &'static Dialect, may_go_without: bool) -> Self {
        Self { dialect, may_go_without, access: None, ask_again_boot_ns: 0, token: String::new() }
    }

    /// The header for a request at `now_boot_ns`, none for a service that is used without; asks for a token when one is
    /// due.
    ///
    /// # Errors
    /// There is no token and none is to be had.
    pub fn header(&mut self, client: &mut MetadataClient, now_boot_ns: i64) -> Result<Option<Header<'_>>, TokenError> {
        let is_due = self.access.is_none() || now_boot_ns >= self.ask_again_boot_ns;
        if is_due && !client.is_through_imdsd() {
            let outcome = self.ask(client, now_boot_ns);
            // systemd-imdsd keeps the token itself, and this is how it is found out that it is to be asked.
            let outcome = if client.is_through_imdsd() { Ok(()) } else { outcome };
            let is_still_good = match self.access {
                Some(Access::Token { expires_boot_ns }) => now_boot_ns < expires_boot_ns,
                Some(Access::Without) => true,
                None => false,
            };
            if let Err(error) = outcome {
                if !is_still_good {
                    self.forget();
                    return Err(error);
                }
                self.ask_again_boot_ns = now_boot_ns.saturating_add(RENEW_AGAIN_NS);
            }
        }
        if client.is_through_imdsd() {
            self.forget();
        }
        Ok((!self.token.is_empty()).then_some((self.dialect.token_header, self.token.as_str())))
    }

    /// Drops the token: the service does not accept it any more.
    pub fn forget(&mut self) {
        self.access = None;
        self.token.clear();
    }

    fn ask(&mut self, client: &mut MetadataClient, now_boot_ns: i64) -> Result<(), TokenError> {
        let ttl = TTL_SECONDS.to_string();
        match client.put(TOKEN_PATH, &[(self.dialect.ttl_header, &ttl)]) {
            Ok(found) => self.keep(&found, now_boot_ns),
            Err(FetchError::Status(403..=405)) if self.may_go_without => {
                self.go_without(now_boot_ns);
                Ok(())
            }
            Err(FetchError::Status(code @ (403..=405))) => Err(TokenError::NoTokens(code)),
            Err(FetchError::Timeout) => self.diagnose_timeout(client, now_boot_ns),
            Err(error) => Err(TokenError::Fetch(error)),
        }
    }

    fn keep(&mut self, found: &Found, now_boot_ns: i64) -> Result<(), TokenError> {
        let text = found.body.trim_ascii();
        let is_token = !text.is_empty() && text.len() <= 1_024 && text.iter().all(u8::is_ascii_graphic);
        let token = std::str::from_utf8(text).ok().filter(|_| is_token);
        let token = token.ok_or(TokenError::Fetch(FetchError::Malformed))?;
        let life_ns = found.token_ttl_seconds.unwrap_or(TTL_SECONDS).clamp(1, TTL_SECONDS) * SECOND_NS;
        let expires_boot_ns = now_boot_ns.saturating_add(life_ns);
        self.ask_again_boot_ns = expires_boot_ns.saturating_sub((life_ns / 10).min(RENEW_BEFORE_MAX_NS));
        self.access = Some(Access::Token { expires_boot_ns });
        token.clone_into(&mut self.token);
        Ok(())
    }

    /// The reply to the PUT, and only that, is sent with the hop limit of the instance, which is 1 unless
    /// changed: across a container's bridge it is lost, while other replies come through.
    fn diagnose_timeout(&mut self, client: &mut MetadataClient, now_boot_ns: i64) -> Result<(), TokenError> {
        match client.get(PROBE_PATH, &[]) {
            Ok(_) if self.may_go_without => {
                self.go_without(now_boot_ns);
                Ok(())
            }
            Ok(_) | Err(FetchError::Status(_)) => Err(TokenError::HopLimit(self.dialect.hop_limit)),
            Err(_) => Err(TokenError::Fetch(FetchError::Timeout)),
        }
    }

    fn go_without(&mut self, now_boot_ns: i64) {
        self.token.clear();
        self.access = Some(Access::Without);
        self.ask_again_boot_ns = now_boot_ns.saturating_add(WITHOUT_RECHECK_NS);
    }
}
