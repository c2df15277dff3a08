//! `snooze drill`: the whole sequence, as far as it can be undone, and its undoing.
//!
//! Inputs: the type of the notice, the time left. Outputs: both reports. Must never be what ends the drill: the daemon
//! does that, also when nobody watches any more.

use super::client::{self, Daemon};
use super::fault::{Exit, Outcome};
use super::session::Session;
use super::simulate::{id_of, watch_to_the_end};
use super::{duration, plan, report, screen};
use crate::control::wire::{Simulate, Simulated, Watched};
use crate::dispatch::report::EventReport;
use crate::event::EventType;
use serde_json::{Map, Value, json};

const EXAMPLES: &str = "\
Examples:
  snooze drill                                        a spot interruption with two minutes
  snooze drill cloud.spot.interrupt --in 30s
  snooze drill system.shutdown --dry-run              show who would take part, run nothing

Units are really stopped, and started again; databases are written out; whatever cannot be undone is checked instead of done \
(`finish` asks whether it may power off). Handlers whose plugin does not know drills, or that have \"drill\": false, are left out, \
and the report says so. As soon as everything has ended, the daemon itself withdraws the notice, and what was changed is put \
back, last first; that is the second report.";

/// Rehearse for real what can be undone, check the rest, and put everything back.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Type of the notice.
    #[arg(value_name = "EVENT_TYPE", default_value = "cloud.spot.interrupt", value_parser = EventType::parse)]
    event_type: EventType,

    /// Time until the cloud would act (20s, 2m).
    #[arg(long = "in", value_name = "DURATION", default_value = "120s", value_parser = duration::parse)]
    in_seconds: f64,

    /// Show the plan for that time left and run nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
///
/// # Errors
/// The daemon cannot be asked, or refuses the drill.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    if args.dry_run {
        plan::show(&args.event_type, &[args.in_seconds], false, session)?;
        return Ok(Exit::Ok);
    }
    have(&args.event_type, args.in_seconds, Map::new(), session)
}

/// Has a drill and watches it to its end.
///
/// # Errors
/// As [`run`].
pub(super) fn have(
    event_type: &EventType,
    in_seconds: f64,
    data: Map<String, Value>,
    session: &mut Session<'_>,
) -> Outcome {
    let asked = Simulate {
        event_type: event_type.to_string(),
        in_seconds: Some(in_seconds),
        severity: None,
        action: None,
        drill: true,
        cancels: None,
        data,
    };
    let daemon = session.daemon()?;
    // Opened before the event is made, so that nothing of it is missed.
    let mut stream = daemon.stream("/v1/watch")?;
    let drill: Simulated = client::read(&daemon.post("/v1/simulate", &asked)?)?;
    let drill = drill.event_id;
    session.note(&format!("drill {drill}: what can be undone is done"));
    let mut both = Both { drill, withdrawal: None };
    watch_to_the_end(&mut stream, session, |watched| both.takes(watched))?;
    session.note("and put back:");
    watch_to_the_end(&mut stream, session, |watched| both.takes(watched))?;
    let Both { drill, withdrawal } = both;
    let withdrawal = withdrawal.unwrap_or_default();
    show(&daemon, [&drill, &withdrawal], session)
}

/// The drill and its withdrawal, which may be published before the end of the drill is told.
struct Both {
    drill: String,
    withdrawal: Option<String>,
}

impl Both {
    /// Whether the line tells of one of the two.
    fn takes(&mut self, watched: &Watched) -> bool {
        if let Watched::Event { event } = watched
            && event["data"]["cancels"] == *self.drill
        {
            self.withdrawal = event["id"].as_str().map(str::to_owned);
        }
        id_of(watched).is_some_and(|id| id == self.drill || self.withdrawal.as_deref() == Some(id))
    }
}

/// Both reports; all is well when both are, or the drill is and changed nothing that had to be put back.
fn show(daemon: &Daemon, [drill, withdrawal]: [&str; 2], session: &mut Session<'_>) -> Outcome {
    let report = |id: &str| daemon.get(&format!("/v1/reports/{id}"));
    let (drill, withdrawal) = (report(drill)?, report(withdrawal)?);
    let undone: EventReport = client::read(&withdrawal)?;
    let is_undone = undone.handlers.is_empty() || screen::verdict(&undone).is_well;
    if session.global.json {
        let drill: EventReport = client::read(&drill)?;
        session.print_json(&json!({ "drill": drill, "withdrawal": undone }))?;
        return Ok(Exit::when(screen::verdict(&drill).is_well && is_undone));
    }
    let first = report::show(&drill, session)?;
    session.print("\n")?;
    report::show(&withdrawal, session)?;
    Ok(if matches!(first, Exit::Ok) { Exit::when(is_undone) } else { first })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, cancels: Option<&str>) -> Watched {
        Watched::Event { event: json!({"id": id, "data": {"cancels": cancels}}) }
    }

    #[test]
    fn a_withdrawal_is_known_that_is_published_before_the_end_of_the_drill_is_told() {
        let mut both = Both { drill: "drill".to_owned(), withdrawal: None };
        assert!(both.takes(&event("drill", None)));
        assert!(!both.takes(&event("other", Some("another"))));
        assert!(both.takes(&event("back", Some("drill"))));
        assert!(both.takes(&event("drill", None)), "the drill has not ended yet");
        assert_eq!(both.withdrawal.as_deref(), Some("back"));
    }
}
