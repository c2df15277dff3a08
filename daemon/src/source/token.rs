//! The session token of the EC2 instance metadata service, version 2 (IMDSv2).
//!
//! Responsibilities: get, renew and drop the token; say why there is none. Inputs: the client, the time.
//! Outputs: the header for the next request. Must never log the token, or use the first version of the
//! service, which has none, unless configured.
//!
//! Facts: EC2 user guide, "Use the Instance Metadata Service to access instance metadata".

use super::imds::{FetchError, Found, Header, MetadataClient};
use crate::normalise::deadline::SECOND_NS;
use std::fmt;
use thiserror::Error;

/// Only this path gives tokens: dated ones answer 403.
const TOKEN_PATH: &str = "/latest/api/token";

/// A path that every instance has, to see whether the service answers at all.
const PROBE_PATH: &str = "/latest/meta-data/";

const TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";

/// Lifetime asked for, seconds: the longest the service gives.
const TTL_SECONDS: i64 = 21_600;

/// A token is renewed when a tenth of its life is left, at most this long before its end.
const RENEW_BEFORE_MAX_NS: i64 = 300 * SECOND_NS;

/// How long a failed renewal of a token that is still good is not tried again, so that it does not
/// delay every poll by a time-out.
const RENEW_AGAIN_NS: i64 = 15 * SECOND_NS;

/// How long the first version is used before asking for a token again.
const V1_RECHECK_NS: i64 = 300 * SECOND_NS;

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// The service answers requests but its token never arrives.
    #[error(
        "the metadata service answers but its token never arrives: the hop limit is 1 and this runs in a bridged \
         container. Raise HttpPutResponseHopLimit to 2 or use host networking"
    )]
    HopLimit,
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
    /// The first version of the service: no token.
    V1,
}

/// Keeps the token of one service.
pub struct TokenKeeper {
    allow_imds_v1: bool,
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
    /// Has no token yet.
    pub fn new(allow_imds_v1: bool) -> Self {
        Self { allow_imds_v1, access: None, ask_again_boot_ns: 0, token: String::new() }
    }

    /// The header for a request at `now_boot_ns`, none for the first version of the service; asks for a
    /// token when one is due.
    ///
    /// # Errors
    /// There is no token and none is to be had.
    pub fn header(&mut self, client: &mut MetadataClient, now_boot_ns: i64) -> Result<Option<Header<'_>>, TokenError> {
        if self.access.is_none() || now_boot_ns >= self.ask_again_boot_ns {
            let outcome = self.ask(client, now_boot_ns);
            let is_still_good = match self.access {
                Some(Access::Token { expires_boot_ns }) => now_boot_ns < expires_boot_ns,
                Some(Access::V1) => true,
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
        Ok((!self.token.is_empty()).then_some((TOKEN_HEADER, self.token.as_str())))
    }

    /// Drops the token: the service does not accept it any more.
    pub fn forget(&mut self) {
        self.access = None;
        self.token.clear();
    }

    fn ask(&mut self, client: &mut MetadataClient, now_boot_ns: i64) -> Result<(), TokenError> {
        let ttl = TTL_SECONDS.to_string();
        match client.put(TOKEN_PATH, &[(TTL_HEADER, &ttl)]) {
            Ok(found) => self.keep(&found, now_boot_ns),
            Err(FetchError::Status(403..=405)) if self.allow_imds_v1 => {
                self.use_v1(now_boot_ns);
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
            Ok(_) if self.allow_imds_v1 => {
                self.use_v1(now_boot_ns);
                Ok(())
            }
            Ok(_) | Err(FetchError::Status(_)) => Err(TokenError::HopLimit),
            Err(_) => Err(TokenError::Fetch(FetchError::Timeout)),
        }
    }

    fn use_v1(&mut self, now_boot_ns: i64) {
        self.token.clear();
        self.access = Some(Access::V1);
        self.ask_again_boot_ns = now_boot_ns.saturating_add(V1_RECHECK_NS);
    }
}
