//! Signatures in the form of Standard Webhooks 1.0 (github.com/standard-webhooks/standard-webhooks, "spec").
//!
//! Inputs: keys, a message's id, time and body. Outputs: the value of `webhook-signature`. Must never show a key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// How keys are written: this, then base64.
const PREFIX: &str = "whsec_";
/// Bytes a key may have, by the specification.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A key, ready for use.
pub(crate) struct Key(Hmac<Sha256>);

impl Key {
    /// Reads a key. The texts of errors leave it out.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let bytes = STANDARD
            .decode(text.strip_prefix(PREFIX).unwrap_or(text))
            .map_err(|_| "is not base64; make one with: echo whsec_$(openssl rand -base64 32)")?;
        if !KEY_BYTES.contains(&bytes.len()) {
            return Err("must stand for 24 to 64 bytes; make one with: echo whsec_$(openssl rand -base64 32)");
        }
        Hmac::new_from_slice(&bytes).map(Self).map_err(|_| "cannot be used as a key")
    }
}

/// One signature a key, separated by spaces: while keys change, a receiver that knows either of them is content.
pub(crate) fn signature(keys: &[Key], id: &str, timestamp: u64, body: &[u8]) -> String {
    let signatures = keys.iter().map(|key| {
        let mut mac = key.0.clone();
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    });
    signatures.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_specifications_own_example() {
        // The example of the project's libraries and documentation.
        let key = Key::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signed = signature(&[key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn several_keys_give_several_signatures() {
        let keys = ["A", "B"].map(|c| Key::parse(&c.repeat(32)).unwrap());
        let signed = signature(&keys, "id", 1, b"{}");
        let parts: Vec<&str> = signed.split(' ').collect();
        assert!(parts.len() == 2 && parts[0] != parts[1] && parts.iter().all(|p| p.starts_with("v1,")), "{signed}");
    }

    #[test]
    fn keys_that_protect_nothing_are_refused_without_being_repeated() {
        for (text, why) in [("hush!", "not base64"), ("whsec_aHVzaA==", "24 to 64"), ("", "24 to 64")] {
            let error = Key::parse(text).err().unwrap();
            assert!(error.contains(why) && !error.contains("hush") && !error.contains("aHVz"), "{text}: {error}");
        }
    }
}
