//! `snooze plan`: which handlers an event has, in which order, with how much time.
//!
//! Inputs: the daemon's plan, or a configuration that is rehearsed. Outputs: a screen. Must never open an
//! instance of a plugin.

use super::duration::{self, exact, human};
use super::fault::{Exit, Fault, Outcome};
use super::paint::{Paint, Tone};
use super::render::{count, lines, plain, table};
use super::session::{Session, wrong};
use super::{client, render};
use crate::assemble;
use crate::config::SecretSources;
use crate::control::wire::{Budget, PlanView};
use crate::event::EventType;

const EXAMPLES: &str = "\
Examples:
  snooze plan cloud.spot.interrupt --left 120s --left 20s    with two minutes, and with twenty seconds
  snooze plan system.shutdown
  snooze plan cloud.spot.interrupt --config new.json         of a configuration that is not in use yet

Handlers run from the highest priority down; equal priorities run at the same time. Without --left, the time \
assumed for a notice without a time is shown.

Types: cloud.spot.interrupt, cloud.spot.rebalance, cloud.autoscaling.terminate, cloud.instance.terminate, \
cloud.maintenance.{freeze,reboot,redeploy,stop,retire}, system.shutdown, and your own custom.*";

/// Show what would run for an event: order, priorities, and the time each handler gets.
///
/// Asks the daemon; with --config, or when no daemon runs, works from the configuration.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Type of the event.
    #[arg(value_name = "EVENT_TYPE", value_parser = EventType::parse)]
    event_type: EventType,

    /// Time until the cloud acts (20s, 2m); may be given several times, one column each.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    left: Vec<f64>,

    /// Work from the configuration even when the daemon runs.
    #[arg(long)]
    offline: bool,
}

/// Runs the command.
///
/// # Errors
/// Neither daemon nor configuration can be used.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    show(&args.event_type, &args.left, args.offline, session)?;
    Ok(Exit::Ok)
}

/// Shows the plan of a type for the times left; for none, of the time assumed.
///
/// # Errors
/// Neither daemon nor configuration can be used.
pub fn show(event_type: &EventType, left: &[f64], offline: bool, session: &mut Session<'_>) -> Result<(), Fault> {
    let is_named = session.global.config.is_some() && session.global.socket.is_none();
    let plan = if offline || is_named {
        of_configuration(event_type, left, session)?
    } else {
        match of_daemon(event_type, left, session) {
            Err(Fault::Unreachable(why)) => {
                // Without a usable configuration, that the daemon is not there is what matters.
                let plan = of_configuration(event_type, left, session);
                let plan = plan.map_err(|fault| match fault {
                    Fault::Missing(_) | Fault::Forbidden(_) => Fault::Unreachable(why),
                    other => other,
                })?;
                session.note(&format!("snoozed is not running; this is from {}", session.config_path().display()));
                plan
            }
            other => other?,
        }
    };
    if session.global.json {
        return session.print_json(&plan);
    }
    let text = screen(&plan, session.paint, session.width);
    session.print(&text)
}

fn of_daemon(event_type: &EventType, left: &[f64], session: &Session<'_>) -> Result<PlanView, Fault> {
    let daemon = session.daemon()?;
    let left: String = left.iter().map(|seconds| format!("&left={seconds}")).collect();
    // The characters of a type and of a number need no escaping in a query.
    client::read(&daemon.get(&format!("/v1/plan?type={event_type}{left}"))?)
}

fn of_configuration(event_type: &EventType, left: &[f64], session: &Session<'_>) -> Result<PlanView, Fault> {
    let loaded = session.configuration()?;
    let plans = assemble::rehearse(&loaded, &SecretSources::system());
    let plans = plans.map_err(|errors| wrong(&session.config_path(), &errors))?;
    Ok(PlanView::new(event_type, &plans.of(event_type), left, loaded.config.dispatch.finish_before_seconds))
}

/// The screen.
pub fn screen(plan: &PlanView, paint: Paint, width: u16) -> String {
    let name = paint.text(Tone::Strong, &plain(&plan.event_type));
    if plan.handlers.is_empty() {
        return format!("{name}: nothing handles this event (see the setting 'event_handlers')\n");
    }
    let assumed = human(plan.assumed_seconds);
    let mut text = format!(
        "{name}: {}; when the notice names no time, {assumed} are assumed\n\n",
        count(plan.handlers.len(), "handler")
    );
    let mut headings: Vec<String> =
        ["ORDER", "PRIORITY", "HANDLER", "START", "TIMEOUT", "MINIMUM"].map(str::to_owned).to_vec();
    headings.extend(plan.budgets.iter().map(|budget| format!("AT {}", exact(budget.left_seconds).to_uppercase())));
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let numbers: Vec<usize> = [0, 1, 4, 5].into_iter().chain(6..headings.len()).collect();
    let mut table = table(paint, width, &headings, &numbers);
    for (index, handler) in plan.handlers.iter().enumerate() {
        let plain = |text: String| paint.cell(Tone::Plain, text);
        let order = handler.tier.map_or_else(|| "-".to_owned(), |tier| (tier + 1).to_string());
        let mut row = vec![
            plain(order),
            plain(handler.priority.to_string()),
            plain(render::plain(&handler.handler)),
            plain(render::plain(&handler.start)),
            plain(human(handler.timeout_seconds)),
            plain(human(handler.minimum_seconds)),
        ];
        row.extend(plan.budgets.iter().map(|budget| {
            let granted = budget.granted_seconds.get(index).copied().unwrap_or(0.0);
            let is_short = granted < handler.minimum_seconds;
            let mark = if is_short { " !" } else { "" };
            paint.cell(if is_short { Tone::Warn } else { Tone::Plain }, format!("{}{mark}", human(granted)))
        }));
        table.add_row(row);
    }
    text += &lines(&table);
    text + &explanation(plan)
}

fn explanation(plan: &PlanView) -> String {
    let mut text = String::from(
        "\nA column \"at\" says what each handler gets if those before it use all they got; what one leaves\n\
         goes to the next. The minimum of every later handler is set aside first.\n",
    );
    if plan.finish_before_seconds > 0.0 {
        let margin = human(plan.finish_before_seconds);
        text += &format!("{margin} before the cloud acts stay free, but at most a tenth of the time left.\n");
    }
    if plan.handlers.iter().any(|handler| handler.tier.is_none()) {
        text += "at-once: starts with the first handler; nobody waits for it.\n";
    }
    let is_short = |budget: &Budget| {
        budget.granted_seconds.iter().zip(&plan.handlers).any(|(granted, handler)| *granted < handler.minimum_seconds)
    };
    if plan.budgets.iter().any(is_short) {
        text += "!  less than the handler's minimum: all get a part of theirs, and some may not finish.\n";
    }
    text
}
