//! The dashboard's port, as types.
//!
//! Inputs: none. Outputs: the types, and what may be listened at and shown as a token. Must never show the token, nor let the
//! port be one that other machines reach.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::net::SocketAddr;

/// Fewest and most characters of a token: 16 random ones of 64 kinds are 96 bits, more than can be guessed at the pace allowed.
const TOKEN_CHARS: std::ops::RangeInclusive<usize> = 16..=256;

/// The dashboard over TCP, on a loopback address, for whoever has the token. On the control socket it is always there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dashboard {
    /// Loopback address and port, `127.0.0.1:7070` or `[::1]:7070`; port 0: any free one, which `snooze dashboard` tells.
    pub listen: String,
    /// What a browser or Prometheus has to show: `{"credential": NAME}`, `{"env": NAME}` or `{"file": PATH}`. The secret is
    /// 16 to 256 letters, digits and `-._~+/=`.
    #[schemars(with = "serde_json::Map<String, Value>")]
    pub token: Value,
}

impl fmt::Debug for Dashboard {
    /// Written by hand because somebody may write the secret itself where the reference belongs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dashboard").field("listen", &self.listen).finish_non_exhaustive()
    }
}

impl Dashboard {
    /// The address to listen at; None when it is none that only this machine reaches: the check has refused it before.
    pub fn address(&self) -> Option<SocketAddr> {
        loopback(&self.listen)
    }
}

/// The text as an address and port that only this machine reaches (RFC 1122 3.2.1.3, RFC 4291 2.5.3). A name is none: what
/// it stands for is somebody else's to say.
pub fn loopback(text: &str) -> Option<SocketAddr> {
    text.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback())
}

/// Whether the text can be a token: it goes into a header (RFC 6750, `b64token`) and into the fragment of an address.
pub fn is_token(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    TOKEN_CHARS.contains(&text.len()) && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_this_machine_alone_reaches_can_be_listened_at() {
        for good in ["127.0.0.1:7070", "127.0.0.1:0", "[::1]:7070", "127.1.2.3:80"] {
            assert!(loopback(good).is_some(), "{good}");
        }
        for bad in [
            "0.0.0.0:7070",
            "[::]:7070",
            "10.0.0.1:7070",
            "localhost:7070",
            "127.0.0.1",
            ":7070",
            "",
            "[::ffff:127.0.0.1]:7070",
            "127.0.0.1:70700",
            "169.254.169.254:80",
        ] {
            assert_eq!(loopback(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_token_fits_into_a_header_and_a_fragment_and_is_too_long_to_guess() {
        for good in ["0123456789abcdef", "A-Z._~+/=A-Z._~+/=", &"x".repeat(256)] {
            assert!(is_token(good), "{good}");
        }
        for bad in
            ["", "0123456789abcde", "0123456789 abcdef", "0123456789abcdef\n", "0123456789abcdéf", &"x".repeat(257)]
        {
            assert!(!is_token(bad), "{bad:?}");
        }
    }

    #[test]
    fn what_stands_for_the_token_is_not_shown() {
        let own = Dashboard { listen: "127.0.0.1:7070".into(), token: json!({"file": "hunter2"}) };
        assert!(!format!("{own:?}").contains("hunter2"));
    }
}
