//! What a webhook's reply means. Statuses and words are Slack's: its change log of 2016-05-17, "Improving
//! error conditions for Incoming Webhooks", and the guide "Sending messages using incoming webhooks".
//!
//! Inputs: status and body. Outputs: a [`Verdict`]. Must never call a message delivered that the provider
//! did not acknowledge.

use cloudsnooze_plugin::Code;

/// What became of the message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Posted, says the provider.
    Acknowledged,
    /// Taken, without the word that Slack and its like say.
    Accepted,
    /// Too many messages at present.
    RateLimited,
    /// The provider is in trouble.
    Retry,
    /// It will not work like this, and what to do about it.
    Refused(Code, &'static str),
}

/// Reads a reply.
pub(crate) fn verdict(status: u16, body: &str) -> Verdict {
    match status {
        200..=299 if body.trim().eq_ignore_ascii_case("ok") => Verdict::Acknowledged,
        200..=299 => Verdict::Accepted,
        300..=399 => {
            Verdict::Refused(Code::Config, "redirects are not followed; put the final address into webhook_url")
        }
        429 => Verdict::RateLimited,
        408 | 425 | 500..=599 => Verdict::Retry,
        _ => advice(status, body),
    }
}

fn advice(status: u16, body: &str) -> Verdict {
    let word = body.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).find(|word| word.contains('_'));
    let (code, advice) = match word.unwrap_or_default() {
        "invalid_token" => (Code::Denied, "the webhook was revoked; make a new one and put it into webhook_url"),
        "action_prohibited" | "posting_to_general_channel_denied" => {
            (Code::Denied, "an administrator restricts posting; choose another channel or ask for permission")
        }
        "team_disabled" | "no_team" => (Code::Denied, "the workspace is gone or disabled"),
        "no_service" | "no_service_id" | "no_active_hooks" => {
            (Code::Config, "the webhook is disabled or removed; make a new one and put it into webhook_url")
        }
        "channel_not_found" | "user_not_found" => {
            (Code::Config, "the channel does not exist or the webhook cannot see it; check channel")
        }
        "channel_is_archived" => (Code::Config, "the channel is archived; choose another one"),
        "invalid_payload" | "no_text" | "too_many_attachments" => (
            Code::Internal,
            "the provider does not understand the message; is webhook_url that of an incoming webhook?",
        ),
        _ if matches!(status, 401 | 403) => (Code::Denied, "check webhook_url"),
        _ => (Code::Config, "check webhook_url"),
    };
    Verdict::Refused(code, advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_providers_word_is_an_acknowledgement() {
        for (status, body, verdict_wanted) in [
            (200, "ok", Verdict::Acknowledged),
            (200, "OK\n", Verdict::Acknowledged),
            (200, "", Verdict::Accepted),
            (204, "", Verdict::Accepted),
            (200, "<html>Please log in</html>", Verdict::Accepted),
            (429, "rate_limited", Verdict::RateLimited),
            (500, "rollup_error", Verdict::Retry),
            (503, "", Verdict::Retry),
        ] {
            assert_eq!(verdict(status, body), verdict_wanted, "{status} {body}");
        }
    }

    #[test]
    fn each_of_slacks_errors_comes_with_what_to_do() {
        for (status, body, code, advice) in [
            (400, "invalid_payload", Code::Internal, "incoming webhook?"),
            (400, "no_text", Code::Internal, "incoming webhook?"),
            (400, "user_not_found", Code::Config, "check channel"),
            (403, "action_prohibited", Code::Denied, "administrator"),
            (403, "posting_to_general_channel_denied", Code::Denied, "administrator"),
            (403, "invalid_token", Code::Denied, "revoked"),
            (404, "channel_not_found", Code::Config, "check channel"),
            (404, "no_service", Code::Config, "make a new one"),
            (404, "no_team", Code::Denied, "workspace"),
            (410, "channel_is_archived", Code::Config, "archived"),
            (404, r#"{"error":"channel_not_found"}"#, Code::Config, "check channel"),
            (403, "Forbidden", Code::Denied, "check webhook_url"),
            (404, "<html>not found</html>", Code::Config, "check webhook_url"),
            (302, "", Code::Config, "redirects"),
        ] {
            let Verdict::Refused(got, text) = verdict(status, body) else { panic!("{status} {body}") };
            assert!(got == code && text.contains(advice), "{status} {body}: {got:?} {text}");
        }
    }
}
