//! Session tokens of metadata services that have them: AWS (version 2) and Alibaba (hardened mode).
//!
//! Responsibilities: issue a token for a lifetime, say what a presented token is worth, forget tokens. Inputs: the
//! lifetime header and token header of a request, nanoseconds since boot. Outputs: a token, or a verdict. It must never
//! let a token into a log or an error.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;
use uuid::Uuid;

/// The longest lifetime a client may ask for, in seconds (EC2 user guide, "Use IMDSv2"): six hours.
pub const MAX_TTL_SECONDS: u32 = 21_600;
/// Every token recorded from the real service was this long (`Content-Length: 56`).
const TOKEN_CHARACTERS: usize = 56;

/// What the token on a request was worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenUse {
    /// The request carried none: a version 1 request.
    None,
    /// Issued by this service and not yet expired.
    Valid,
    /// Issued by this service, but its lifetime is over.
    Expired,
    /// Never issued here, or revoked since.
    Unknown,
}

impl fmt::Display for TokenUse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "none",
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
        })
    }
}

/// The tokens issued so far. The real service sets no practical limit on how many live at once, nor does this.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    expiry_ns: HashMap<String, u64>,
}

impl Tokens {
    /// A new token, good until `now_ns` + `ttl_seconds`.
    pub(crate) fn issue(&mut self, ttl_seconds: u32, now_ns: u64) -> String {
        let mut token = format!("AQAAA{}{}", Uuid::now_v7().simple(), Uuid::now_v7().simple());
        token.truncate(TOKEN_CHARACTERS - 2);
        token.push_str("==");
        self.expiry_ns.insert(token.clone(), now_ns.saturating_add(u64::from(ttl_seconds) * 1_000_000_000));
        token
    }

    /// What `token` is worth at `now_ns`, and how many whole seconds it has left.
    pub(crate) fn judge(&self, token: Option<&str>, now_ns: u64) -> (TokenUse, u64) {
        let Some(token) = token else { return (TokenUse::None, 0) };
        match self.expiry_ns.get(token) {
            None => (TokenUse::Unknown, 0),
            Some(expiry_ns) if *expiry_ns <= now_ns => (TokenUse::Expired, 0),
            Some(expiry_ns) => (TokenUse::Valid, (expiry_ns - now_ns).div_ceil(1_000_000_000)),
        }
    }

    /// Forgets one token; the next use of it is [`TokenUse::Unknown`].
    pub(crate) fn revoke(&mut self, token: &str) {
        self.expiry_ns.remove(token);
    }

    /// Forgets all tokens, as happens when an instance resumes on another host.
    pub(crate) fn revoke_all(&mut self) {
        self.expiry_ns.clear();
    }
}

/// The lifetime a client asked for, when it is one the service accepts: whole seconds from 1 to [`MAX_TTL_SECONDS`].
pub(crate) fn parse_ttl(header: Option<&str>) -> Option<u32> {
    let ttl_seconds = header?.parse::<u32>().ok()?;
    (1..=MAX_TTL_SECONDS).contains(&ttl_seconds).then_some(ttl_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn a_token_is_valid_until_the_very_end_of_its_lifetime() {
        let mut tokens = Tokens::default();
        let token = tokens.issue(10, 5 * SECOND_NS);
        assert_eq!(token.len(), TOKEN_CHARACTERS);
        assert_eq!(tokens.judge(Some(&token), 5 * SECOND_NS), (TokenUse::Valid, 10));
        assert_eq!(tokens.judge(Some(&token), 15 * SECOND_NS - 1), (TokenUse::Valid, 1));
        assert_eq!(tokens.judge(Some(&token), 15 * SECOND_NS), (TokenUse::Expired, 0));
    }

    #[test]
    fn tokens_issued_together_differ_and_are_revoked_apart() {
        let mut tokens = Tokens::default();
        let (first, second) = (tokens.issue(60, 0), tokens.issue(60, 0));
        assert_ne!(first, second);
        tokens.revoke(&first);
        assert_eq!(tokens.judge(Some(&first), 1).0, TokenUse::Unknown);
        assert_eq!(tokens.judge(Some(&second), 1).0, TokenUse::Valid);
        tokens.revoke_all();
        assert_eq!(tokens.judge(Some(&second), 1).0, TokenUse::Unknown);
    }

    #[test]
    fn lifetimes_outside_one_second_to_six_hours_are_refused() {
        for good in ["1", "60", "21600"] {
            assert!(parse_ttl(Some(good)).is_some(), "{good} was refused");
        }
        for bad in ["0", "21601", "-5", "ten", "", "1.5", "99999999999"] {
            assert_eq!(parse_ttl(Some(bad)), None, "{bad} was accepted");
        }
        assert_eq!(parse_ttl(None), None);
    }
}
