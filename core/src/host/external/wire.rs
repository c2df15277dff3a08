//! The words of the conversation: JSON-RPC 2.0, one JSON object a line, at most 1 MiB a line.
//!
//! Inputs: events and calls, or bytes of a plugin. Outputs: lines to send, or what a line means. Pure.
//! Must never panic or recurse deeply on any bytes; fuzzed.

use crate::event::Pattern;
use crate::host::delivery::{Answer, CallCell, Delivery, RESULT_BYTES_MAX, Status};
use crate::host::refusal::Refusal;
use cloudsnooze_abi as abi;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Longest line in either direction, bytes, its end not counted.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Version of the protocol spoken.
const PROTOCOL: u64 = 1;
/// JSON-RPC's codes for "no such method" and "parameters not acceptable".
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
/// Longest error text kept, characters.
const ERROR_CHARS_MAX: usize = 2000;
/// How much of a line that makes no sense is shown, characters.
const SHOWN_CHARS_MAX: usize = 200;
/// Most subscriptions of one plugin.
const SUBSCRIPTIONS_MAX: usize = 64;

/// What a plugin answered to one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The result.
    Result(Value),
    /// The error: code, text and traceback.
    Error(i64, String, Option<String>),
}

/// What one line of a plugin means.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// The answer to the request of this number.
    Reply(u64, Reply),
    /// A line for the log: level (`SNOOZE_LOG_*`) and text.
    Log(u32, String),
    /// How far a call is: its id, 0 to 1000, a word about it.
    Progress(String, u32, String),
    /// Well-formed, but nothing this host knows; the sentence says what.
    Unknown(String),
}

/// What a plugin said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initialized {
    /// Types and patterns it handles; empty means whatever the configuration says.
    pub subscriptions: Vec<String>,
    /// Whether it answers `verify`.
    pub verify: bool,
}

/// The first request.
pub fn initialize(id: u64, plugin: &str, instance: &str, config: &Value, state_dir: &str) -> String {
    let params = json!({
        "protocol": PROTOCOL, "plugin": plugin, "instance": instance, "config": config, "state_dir": state_dir,
    });
    request(id, "initialize", &params.to_string())
}

/// The request to handle an event.
pub fn handle_event(id: u64, event: &Delivery, call: &CallCell, instance: &str) -> String {
    let params = format!(r#"{{"event":{},"call":{}}}"#, event.json(), call_json(event, call, instance));
    request(id, "handle_event", &params)
}

/// The request to look whether what was done holds.
pub fn verify(
    id: u64,
    event: &Delivery,
    call: &CallCell,
    instance: &str,
    result: Option<&Map<String, Value>>,
) -> String {
    let (call, result) = (call_json(event, call, instance), json!(result));
    request(id, "verify", &format!(r#"{{"event":{},"call":{call},"result":{result}}}"#, event.json()))
}

/// The request to end.
pub fn shutdown(id: u64) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"shutdown\"}}\n")
}

/// Word that a call is no longer wanted; shorter than a pipe's atomic write.
pub fn cancel(call: &CallCell, reason: u32) -> String {
    let reason = match reason {
        abi::SNOOZE_CANCEL_SHUTDOWN => "shutdown",
        abi::SNOOZE_CANCEL_DEADLINE => "deadline",
        abi::SNOOZE_CANCEL_SUPERSEDED => "superseded",
        _ => "user",
    };
    let (call_id, method) = (call.id(), "cancel");
    format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"params\":{{\"call_id\":\"{call_id}\",\"reason\":\"{reason}\"}}}}\n"
    )
}

fn request(id: u64, method: &str, params: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{params}}}\n")
}

fn call_json(event: &Delivery, call: &CallCell, instance: &str) -> Value {
    json!({
        "id": call.id().to_string(),
        "attempt": call.attempt(),
        "time_left_ms": call.left_ns() / 1_000_000,
        "idempotency_key": format!("{}/{instance}", event.id()),
    })
}

/// What a line means.
///
/// # Errors
/// A sentence with the start of a line that is no message of the protocol.
pub fn parse(line: &[u8]) -> Result<Incoming, String> {
    let Ok(Value::Object(mut message)) = serde_json::from_slice(line) else {
        return Err(format!("wrote a line that is not a JSON object: {}", shown(line)));
    };
    if let Some(method) = message.get("method").and_then(Value::as_str) {
        return Ok(notification(method, message.get("params").unwrap_or(&Value::Null)));
    }
    let reply = match (message.remove("result"), message.remove("error")) {
        (_, Some(error @ Value::Object(_))) => rpc_error(&error),
        (Some(result), None | Some(Value::Null)) => Reply::Result(result),
        _ => return Err(format!("wrote a line that is not JSON-RPC: {}", shown(line))),
    };
    match (message.get("id").and_then(Value::as_u64), reply) {
        (Some(id), reply) => Ok(Incoming::Reply(id, reply)),
        (None, Reply::Error(code, text, _)) => {
            Ok(Incoming::Unknown(format!("it could not read a line: {text} ({code})")))
        }
        (None, Reply::Result(_)) => Ok(Incoming::Unknown("it answered without the number of a request".into())),
    }
}

fn notification(method: &str, params: &Value) -> Incoming {
    let text = |key: &str| params.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    match method {
        "log" => {
            let level = match text("level").as_str() {
                "error" => abi::SNOOZE_LOG_ERROR,
                "warning" => abi::SNOOZE_LOG_WARNING,
                "debug" => abi::SNOOZE_LOG_DEBUG,
                _ => abi::SNOOZE_LOG_INFO,
            };
            Incoming::Log(level, text("message"))
        }
        "progress" => {
            let permille = params.get("permille").and_then(Value::as_u64).unwrap_or(0).min(1000);
            Incoming::Progress(text("call_id"), permille as u32, text("text"))
        }
        other => Incoming::Unknown(format!("it sent '{}', which this host does not know", shown(other.as_bytes()))),
    }
}

fn rpc_error(error: &Value) -> Reply {
    let code = error.get("code").and_then(Value::as_i64).unwrap_or(0);
    let text = error.get("message").and_then(Value::as_str).unwrap_or("an error without a text");
    let traceback = error.pointer("/data/traceback").and_then(Value::as_str);
    Reply::Error(code, short(text), traceback.map(str::to_owned))
}

/// What the answer to `initialize` says.
///
/// # Errors
/// CONFIG when the plugin refused its configuration, PROCESS for all else.
pub fn initialized(reply: Reply) -> Result<Initialized, Refusal> {
    #[derive(Deserialize)]
    struct Said {
        protocol: u64,
        #[serde(default)]
        subscriptions: Option<Vec<String>>,
        #[serde(default)]
        verify: bool,
    }
    let result = match reply {
        Reply::Error(INVALID_PARAMS, text, _) => return Err(Refusal::Config(vec![text])),
        Reply::Error(code, text, _) => return Err(Refusal::Process(format!("initialize failed: {text} ({code})"))),
        Reply::Result(result) => result,
    };
    let process = |text: String| Refusal::Process(format!("the answer to initialize is not usable: {text}"));
    let said: Said = serde_path_to_error::deserialize(result).map_err(|e| process(e.to_string()))?;
    if said.protocol != PROTOCOL {
        return Err(process(format!("it speaks protocol {}, this host speaks {PROTOCOL}", said.protocol)));
    }
    let subscriptions = said.subscriptions.unwrap_or_default();
    if subscriptions.len() > SUBSCRIPTIONS_MAX {
        return Err(process(format!("{} subscriptions, expected at most {SUBSCRIPTIONS_MAX}", subscriptions.len())));
    }
    for (index, name) in subscriptions.iter().enumerate() {
        Pattern::parse(name).map_err(|text| process(format!("subscriptions[{index}]: {text}")))?;
    }
    Ok(Initialized { subscriptions, verify: said.verify })
}

/// What the answer to `handle_event` comes to.
pub fn handled(reply: Reply) -> Answer {
    let (handled, mut rest) = match verdict(reply, "handled") {
        Ok(found) => found,
        Err(text) => return Answer::new(Status::Failed, text),
    };
    let (error, retry) = (rest.remove("error"), rest.remove("retry") == Some(Value::Bool(true)));
    let error = error_text(error);
    let (status, error) = match (handled, retry, error) {
        (true, ..) => (Status::Handled, None),
        (false, true, text) => (Status::Retry, Some(text.unwrap_or_else(|| "asked for another attempt".into()))),
        (false, false, Some(text)) => (Status::Failed, Some(text)),
        (false, false, None) => (Status::Declined, None),
    };
    Answer { status, error, result: evidence(rest) }
}

/// What the answer to `verify` comes to; None when the plugin has no such method after all.
pub fn verified(reply: Reply) -> Option<Answer> {
    if matches!(reply, Reply::Error(METHOD_NOT_FOUND, ..)) {
        return None;
    }
    let (verified, mut rest) = match verdict(reply, "verified") {
        Ok(found) => found,
        Err(text) => return Some(Answer::new(Status::Failed, text)),
    };
    let error = error_text(rest.remove("error"));
    let result = evidence(rest);
    Some(if verified {
        Answer { status: Status::Handled, error: None, result }
    } else {
        Answer { status: Status::Failed, error: Some(error.unwrap_or_else(|| "not verified".into())), result }
    })
}

/// The boolean that every result has, and the rest of it.
fn verdict(reply: Reply, key: &str) -> Result<(bool, Map<String, Value>), String> {
    let result = match reply {
        Reply::Error(_, text, _) => return Err(text),
        Reply::Result(result) => result,
    };
    let expected = format!("expected a JSON object with a boolean '{key}'");
    match result {
        Value::Object(mut map) => match map.remove(key) {
            Some(Value::Bool(value)) => Ok((value, map)),
            Some(other) => Err(format!("returned '{key}' as {}, {expected}", kind_name(&other))),
            None => Err(format!("returned an object without '{key}', {expected}")),
        },
        other => Err(format!("returned {}, {expected}", kind_name(&other))),
    }
}

fn error_text(error: Option<Value>) -> Option<String> {
    match error? {
        Value::Null => None,
        Value::String(text) => Some(short(&text)),
        other => Some(short(&other.to_string())),
    }
}

/// What was done counts more than the words about it, so too many words are dropped, not the answer.
fn evidence(rest: Map<String, Value>) -> Option<Map<String, Value>> {
    if rest.is_empty() {
        return None;
    }
    let bytes = serde_json::to_vec(&rest).map_or(0, |text| text.len());
    if bytes <= RESULT_BYTES_MAX {
        return Some(rest);
    }
    let note = format!("the result is {bytes} bytes long, at most {RESULT_BYTES_MAX} are kept");
    Some(Map::from_iter([("dropped".to_owned(), Value::String(note))]))
}

fn kind_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn short(text: &str) -> String {
    text.chars().take(ERROR_CHARS_MAX).collect()
}

/// The start of a line, fit for a log: one line, no control characters.
pub fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> Answer {
        handled(Reply::Result(serde_json::from_str(text).expect("JSON")))
    }

    #[test]
    fn each_form_of_result_has_its_status() {
        let done = of(r#"{"handled":true,"status":"ok","error":"ignored"}"#);
        assert_eq!((done.status, done.error), (Status::Handled, None));
        assert_eq!(done.result, json!({ "status": "ok" }).as_object().cloned());
        assert_eq!(of(r#"{"handled":false,"error":null}"#).status, Status::Declined);
        let failed = of(r#"{"handled":false,"error":"disk full","used":97}"#);
        assert_eq!((failed.status, failed.error.as_deref()), (Status::Failed, Some("disk full")));
        assert_eq!(failed.result, json!({ "used": 97 }).as_object().cloned());
        let again = of(r#"{"handled":false,"retry":true,"error":"busy"}"#);
        assert_eq!((again.status, again.error.as_deref(), again.result), (Status::Retry, Some("busy"), None));
    }

    #[test]
    fn a_result_of_another_form_says_what_was_expected() {
        let cases = [
            ("{}", "returned an object without 'handled', expected a JSON object with a boolean 'handled'"),
            (r#"{"handled":1}"#, "returned 'handled' as a number, expected a JSON object with a boolean 'handled'"),
            ("null", "returned null, expected a JSON object with a boolean 'handled'"),
            ("[true]", "returned an array, expected a JSON object with a boolean 'handled'"),
        ];
        for (text, expected) in cases {
            let answer = of(text);
            assert_eq!((answer.status, answer.error.as_deref()), (Status::Failed, Some(expected)));
        }
    }

    #[test]
    fn too_much_evidence_is_dropped_and_the_work_still_counts() {
        let answer = of(&json!({ "handled": true, "log": "x".repeat(RESULT_BYTES_MAX) }).to_string());
        assert_eq!(answer.status, Status::Handled);
        assert!(answer.result.expect("a note")["dropped"].as_str().expect("text").contains("are kept"));
    }

    #[test]
    fn verification_answers_yes_no_or_not_at_all() {
        let of = |text: &str| verified(Reply::Result(serde_json::from_str(text).expect("JSON")));
        let yes = of(r#"{"verified":true,"evidence":{"rows":3}}"#).expect("answered");
        assert_eq!((yes.status, yes.result), (Status::Handled, json!({"evidence":{"rows":3}}).as_object().cloned()));
        let no = of(r#"{"verified":false}"#).expect("answered");
        assert_eq!((no.status, no.error.as_deref()), (Status::Failed, Some("not verified")));
        assert!(verified(Reply::Error(METHOD_NOT_FOUND, "no such".into(), None)).is_none());
        assert_eq!(verified(Reply::Error(-32000, "boom".into(), None)).expect("answered").status, Status::Failed);
    }

    #[test]
    fn initialize_is_refused_with_the_plugins_words_or_ours() {
        let of = |text: &str| initialized(Reply::Result(serde_json::from_str(text).expect("JSON")));
        let good = of(r#"{"protocol":1,"name":"x","subscriptions":["cloud.spot.*"],"verify":true}"#);
        assert_eq!(good, Ok(Initialized { subscriptions: vec!["cloud.spot.*".into()], verify: true }));
        assert_eq!(of(r#"{"protocol":1}"#), Ok(Initialized { subscriptions: vec![], verify: false }));
        for (text, expected) in [
            (r#"{"protocol":2}"#, "it speaks protocol 2, this host speaks 1"),
            (r#"{"protocol":1,"subscriptions":["Cloud"]}"#, "subscriptions[0]: 'Cloud' is not an event type"),
            (r#"{"protocol":1,"verify":"yes"}"#, "verify: invalid type"),
            ("{}", "missing field `protocol`"),
        ] {
            let refused = of(text).expect_err("refused").to_string();
            assert!(refused.contains(expected), "{refused}");
        }
        let config = initialized(Reply::Error(INVALID_PARAMS, "url is missing".into(), None));
        assert_eq!(config, Err(Refusal::Config(vec!["url is missing".into()])));
    }

    #[test]
    fn lines_that_are_no_messages_are_shown_short_and_clean() {
        let text = parse(format!("oh\t{}", "n".repeat(400)).as_bytes()).expect_err("garbage");
        assert_eq!(text, format!("wrote a line that is not a JSON object: oh {}", "n".repeat(197)));
        for line in ["5", "[]", "{}", r#"{"id":1}"#, r#"{"id":1,"error":5}"#] {
            assert!(parse(line.as_bytes()).is_err(), "{line}");
        }
        assert!(parse(&[b'['; 100_000]).is_err(), "deep nesting");
        let blind = parse(br#"{"id":null,"error":{"code":-32700,"message":"not JSON"}}"#);
        assert_eq!(blind, Ok(Incoming::Unknown("it could not read a line: not JSON (-32700)".into())));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(line in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&line);
        }

        #[test]
        fn no_json_makes_the_reader_panic(
            key in "method|result|error|id|handled|verified",
            text in "[\\PC]{0,20}",
            number in any::<i64>(),
        ) {
            let values = [json!(text), json!(number), json!({ key.clone(): text, "code": number }), json!([number])];
            for value in values {
                for message in [json!({ key.clone(): value.clone() }), json!({ "id": 1, key.clone(): value.clone() })] {
                    if let Ok(Incoming::Reply(_, reply)) = parse(message.to_string().as_bytes()) {
                        let _ = (handled(reply.clone()), verified(reply.clone()), initialized(reply));
                    }
                }
            }
        }
    }
}
