//! `snooze wait`: does nothing until something happens.
//!
//! Inputs: the daemon's stream. Outputs: the first event that matches, or the exit code of a command that is given it. Must
//! never take the end of the stream for the end of the wait.

use super::client::{Lines, Waited};
use super::fault::{Exit, Fault, Outcome};
use super::session::Session;
use super::{duration, watch};
use crate::assemble::nanoseconds;
use crate::control::wire::Watched;
use crate::event::{EventType, Pattern};
use crate::sys::clock;
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

const EXAMPLES: &str = "\
Examples:
  snooze wait cloud.spot.interrupt && ./save.sh
  snooze wait 'cloud.spot.*' --timeout 1h --json
  snooze wait cloud.spot.interrupt --exec sh -c 'echo \"$CLOUDSNOOZE_EVENT_SECONDS_LEFT s left\"; jq .data'

The command gets the event as JSON on its standard input, and in its environment CLOUDSNOOZE_EVENT_ID, _TYPE, _SEVERITY,
_ACTION, _DEADLINE and _SECONDS_LEFT, CLOUDSNOOZE_INSTANCE_ID and _SIMULATED (1 or 0); what is not known is empty. Its exit
code is passed on, 128 and the number of the signal that ended it. Only events from now on count: what is open already is
in /run/cloudsnooze/notice.json.";

/// Wait for an event, print it or run a command with it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Event type, or a pattern: cloud.spot.* or *.
    #[arg(value_name = "EVENT_TYPE", value_parser = Pattern::parse)]
    pattern: Pattern,

    /// How long to wait (30s, 1h); then the exit code is 124 [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    timeout: Option<f64>,

    /// Run this command with the event instead of printing it; everything after --exec belongs to the command.
    #[arg(long, value_name = "COMMAND", num_args = 1.., allow_hyphen_values = true)]
    exec: Vec<OsString>,
}

/// Runs the command.
///
/// # Errors
/// The daemon cannot be asked, or ends; the command cannot be run.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    let until = args.timeout.map(|seconds| clock::boot_ns().saturating_add(nanoseconds(seconds)));
    let daemon = session.daemon()?;
    let mut stream = daemon.stream("/v1/watch")?;
    session.note(&format!("waiting for {}; Ctrl-C ends it", args.pattern.as_str()));
    let Some(event) = first(&mut stream, &args.pattern, until)? else {
        session.note("no such event came in time");
        return Ok(Exit::TimeOver);
    };
    drop(stream);
    if let Some((program, rest)) = args.exec.split_first() {
        return Ok(Exit::Command(hand_over(program, rest, &event)?));
    }
    if session.global.json {
        session.print(&format!("{event}\n"))?;
    } else {
        let line = watch::line(&Watched::Event { event }, session.paint);
        session.print(&line)?;
    }
    Ok(Exit::Ok)
}

/// The first event that matches; None when the time was over first.
fn first(stream: &mut Lines<'_>, pattern: &Pattern, until_boot_ns: Option<i64>) -> Result<Option<Value>, Fault> {
    loop {
        let text = match stream.next_line_until(until_boot_ns)? {
            Waited::Line(text) => text,
            Waited::TimeOver => return Ok(None),
            Waited::Ended => {
                return Err(Fault::Unreachable("snoozed has ended the stream: it was stopped or restarted".into()));
            }
        };
        let Some(Watched::Event { event }) = watch::known(&text)? else { continue };
        // A drill is no reason for anybody to act who does not know drills.
        if event["drill"] == true {
            continue;
        }
        let event_type = event["type"].as_str().and_then(|text| EventType::parse(text).ok());
        if event_type.is_some_and(|event_type| pattern.matches(&event_type)) {
            return Ok(Some(event));
        }
    }
}

/// Runs a command with the event. Gives its exit code as a shell would.
fn hand_over(program: &OsStr, rest: &[OsString], event: &Value) -> Result<u8, Fault> {
    let mut command = Command::new(program);
    command.args(rest).envs(environment(event)).stdin(Stdio::piped());
    let name = program.to_string_lossy();
    let mut child = command.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => Fault::Missing(format!("no such command: {name}")),
        ErrorKind::PermissionDenied => Fault::Forbidden(format!("may not run {name}")),
        _ => Fault::InputOutput(format!("cannot run {name}: {error}")),
    })?;
    let (input, text) = (child.stdin.take(), format!("{event}\n"));
    // Beside the wait: a command that does not read its input must be able to end.
    let writer = std::thread::spawn(move || input.map(|mut input| input.write_all(text.as_bytes())));
    let ended = child.wait().map_err(|error| Fault::InputOutput(format!("cannot wait for {name}: {error}")))?;
    // Not joined: a process that the command left behind may hold the other end of the pipe.
    drop(writer);
    Ok(code_of(ended))
}

fn code_of(ended: ExitStatus) -> u8 {
    let code = ended.code().unwrap_or_else(|| 128 + ended.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// What of the event stands in a command's environment: the names that the plugin `exec` has for it.
fn environment(event: &Value) -> Vec<(String, String)> {
    let at = |pointer: &str| match event.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let members = [
        ("EVENT_ID", at("/id")),
        ("EVENT_TYPE", at("/type")),
        ("EVENT_SEVERITY", at("/severity")),
        ("EVENT_ACTION", at("/data/action")),
        ("EVENT_DEADLINE", at("/data/time")),
        ("EVENT_SECONDS_LEFT", at("/data/timeRemaining")),
        ("INSTANCE_ID", at("/data/instanceID")),
        ("SIMULATED", u8::from(event["simulated"] == true).to_string()),
    ];
    // A zero byte can be in JSON, but not in an environment.
    members.into_iter().map(|(name, value)| (format!("CLOUDSNOOZE_{name}"), value.replace('\0', ""))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_environment_has_what_is_known_and_empty_texts_for_the_rest() {
        let event = json!({"id": "x", "type": "cloud.spot.interrupt", "simulated": true,
            "data": {"timeRemaining": 119.5, "action": "terminate\u{0}"}});
        let environment = environment(&event);
        let of = |name: &str| environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(of("CLOUDSNOOZE_EVENT_TYPE"), Some("cloud.spot.interrupt"));
        assert_eq!(of("CLOUDSNOOZE_EVENT_SECONDS_LEFT"), Some("119.5"));
        assert_eq!((of("CLOUDSNOOZE_EVENT_ACTION"), of("CLOUDSNOOZE_EVENT_DEADLINE")), (Some("terminate"), Some("")));
        assert_eq!(of("CLOUDSNOOZE_SIMULATED"), Some("1"));
    }

    #[test]
    fn a_commands_end_is_passed_on_as_a_shell_would() {
        let run = |script: &str| hand_over(OsStr::new("sh"), &["-c".into(), script.into()], &json!({"id": "x"}));
        assert_eq!(run("exit 7").expect("it ran"), 7);
        assert_eq!(run("kill -TERM $$").expect("it ran"), 143);
        assert_eq!(run("test \"$(cat)\" = '{\"id\":\"x\"}' && test \"$CLOUDSNOOZE_EVENT_ID\" = x").expect("it ran"), 0);
        let missing = hand_over(OsStr::new("/no/such/command"), &[], &json!({})).expect_err("it is not there");
        assert_eq!(missing.code(), 66);
    }
}
