//! `snooze simulate`: a rehearsal.
//!
//! Inputs: what the event is to be. Outputs: the event's id, or what becomes of it. Must never run a
//! handler when only the plan was asked for.

use super::client::{self, Daemon, Lines};
use super::fault::{Exit, Fault, Outcome};
use super::session::Session;
use super::{duration, plan, report, watch};
use crate::control::wire::{Simulate, Simulated, Watched};
use crate::event::EventType;
use serde::Serialize;
use serde_json::{Map, Value};

const EXAMPLES: &str = "\
Examples:
  snooze simulate cloud.spot.interrupt --in 120s --dry-run     show what would run, run nothing
  snooze simulate cloud.spot.interrupt --in 120s --wait        run it, follow it, show the report
  snooze simulate cloud.spot.interrupt --in 20s --action hibernate
  snooze simulate cloud.spot.interrupt.cancelled --cancels 0198c1ce-…    the cloud thinks better of it
  snooze simulate custom.deploy --data version='\"1.4\"' --data hosts='[\"a\",\"b\"]' --data why=release

The handlers really run: they learn that the event is simulated, but a database that is told to flush does flush. \
What does only what can be undone is `snooze drill`.";

/// Make an event up and have the daemon handle it, as a rehearsal.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Type of the event.
    #[arg(value_name = "EVENT_TYPE", value_parser = EventType::parse)]
    event_type: EventType,

    /// Time until the cloud would act (20s, 2m); without it, the notice names no time.
    #[arg(long = "in", value_name = "DURATION", value_parser = duration::parse)]
    in_seconds: Option<f64>,

    /// How bad it is [default: what the type usually has]
    #[arg(long, value_name = "SEVERITY", value_parser = ["info", "warning", "urgent", "critical"])]
    severity: Option<String>,

    /// What the cloud would do [default: what the type usually has]
    #[arg(long, value_name = "ACTION", value_parser = ["terminate", "stop", "hibernate", "reboot", "redeploy", "freeze", "none"])]
    action: Option<String>,

    /// A further member of the event's data; VALUE is JSON, or else text.
    #[arg(long, value_name = "NAME=VALUE", value_parser = member)]
    data: Vec<(String, Value)>,

    /// Withdraw the event with this id; EVENT_TYPE is then its type with .cancelled behind it.
    #[arg(long, value_name = "EVENT")]
    cancels: Option<String>,

    /// Show the plan for that time left and run nothing.
    #[arg(long)]
    dry_run: bool,

    /// Follow the event to its end and show its report; exit code 1 unless all is handled.
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
}

/// Runs the command.
///
/// # Errors
/// The daemon cannot be asked, or refuses the event.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    let asked = asked(args)?;
    if args.dry_run {
        plan::show(&args.event_type, args.in_seconds.as_slice(), false, session)?;
        return Ok(Exit::Ok);
    }
    let daemon = session.daemon()?;
    if args.wait {
        return follow("/v1/simulate", &asked, &daemon, session);
    }
    let reply = daemon.post("/v1/simulate", &asked)?;
    session.show(&reply, |simulated: &Simulated, _, _| format!("{}\n", simulated.event_id))?;
    session.note("under way; `snooze report` shows what becomes of it");
    Ok(Exit::Ok)
}

fn asked(args: &Args) -> Result<Simulate, Fault> {
    let mut data = Map::new();
    for (name, value) in &args.data {
        if data.insert(name.clone(), value.clone()).is_some() {
            return Err(Fault::Usage(format!("--data gives '{name}' twice")));
        }
    }
    Ok(Simulate {
        event_type: args.event_type.to_string(),
        in_seconds: args.in_seconds,
        severity: args.severity.clone(),
        action: args.action.clone(),
        drill: false,
        cancels: args.cancels.clone(),
        data,
    })
}

/// Has an event made at `path`, follows it and shows its report. The stream is opened before the event is made, so that
/// nothing of it is missed.
///
/// # Errors
/// The daemon cannot be asked, or refuses the event.
pub fn follow(path: &str, asked: &impl Serialize, daemon: &Daemon, session: &mut Session<'_>) -> Outcome {
    let mut stream = daemon.stream("/v1/watch")?;
    let simulated: Simulated = client::read(&daemon.post(path, asked)?)?;
    let id = simulated.event_id;
    watch_to_the_end(&mut stream, session, |watched| id_of(watched) == Some(&id))?;
    report::show(&daemon.get(&format!("/v1/reports/{id}"))?, session)
}

/// Tells of an event until it is over: of the lines that `is_of_it` says are the event's.
///
/// # Errors
/// The daemon ended first, or says what is not understood.
pub fn watch_to_the_end(
    stream: &mut Lines<'_>,
    session: &mut Session<'_>,
    mut is_of_it: impl FnMut(&Watched) -> bool,
) -> Result<(), Fault> {
    loop {
        let Some(text) = stream.next_line()? else {
            return Err(Fault::Unreachable("snoozed ended before the event did; once it runs: snooze report".into()));
        };
        let Some(watched) = watch::known(&text)? else { continue };
        if !is_of_it(&watched) {
            continue;
        }
        session.note(watch::line(&watched, crate::cli::paint::Paint(false)).trim());
        if matches!(watched, Watched::Completed { .. }) {
            return Ok(());
        }
    }
}

/// Id of the event that a line tells of.
pub fn id_of(watched: &Watched) -> Option<&str> {
    match watched {
        Watched::Event { event } => event["id"].as_str(),
        Watched::Started { event_id, .. }
        | Watched::Finished { event_id, .. }
        | Watched::Completed { event_id, .. } => Some(event_id),
        Watched::Log { .. } => None,
    }
}

/// Reads `NAME=VALUE`.
///
/// # Errors
/// A sentence with what is expected.
pub fn member(text: &str) -> Result<(String, Value), String> {
    let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
        return Err(format!("'{text}' has no name: expected NAME=VALUE, such as why=release or count=3"));
    };
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn members_of_data_are_json_or_else_text() {
        let value = |text: &str| member(text).map(|(_, value)| value);
        assert_eq!(value("a=3"), Ok(json!(3)));
        assert_eq!(value("a=[1,\"x\"]"), Ok(json!([1, "x"])));
        assert_eq!(value("a=release 1.4=x"), Ok(json!("release 1.4=x")));
        assert_eq!(value("a="), Ok(json!("")));
        for wrong in ["a", "=1", ""] {
            assert!(value(wrong).unwrap_err().contains("NAME=VALUE"), "{wrong}");
        }
    }
}
