//! `snooze fleet`: the group that this machine belongs to, as it looks from here.
//!
//! Inputs: the daemon's answers. Outputs: lists and facts; the servers' configuration. Must never hide that there is no connection: what
//! is shown may be old then.

mod collect;
mod server_config;

use super::fault::{Exit, Outcome};
use super::paint::{Paint, Tone};
use super::render::{count, facts, keep_whole, lines, plain, table, wrapped};
use super::session::Session;
use super::{duration, events};
use crate::control::wire::FleetMembers;
use crate::event::EventType;
use crate::event::fleet::OF_GROUP;
use cloudsnooze_fleet::{OperationStatus, Present, Status};
use serde_json::json;

const EXAMPLES: &str = "\
Examples:
  snooze fleet status                            connection, leader, operation, what is wrong
  snooze fleet members                           who is there, by what the servers know
  snooze fleet plan                              whose turn it is, and who is still to come
  snooze fleet leader && echo somebody leads     exit code 1 where nobody does
  snooze fleet events                            what the group told this machine
  snooze fleet drill --in 60s                    rehearse this machine's departure with all of them
  snooze fleet collect --store fleet.sqlite      all members' histories in one, as they come
  snooze fleet server-config --group db --server n1 --server n2 --server n3 --number 1

What a fleet is, and what its servers need: docs/fleet.md.";

/// Show the group of machines that this one belongs to.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say how this machine stands to its group.
    Status,
    /// List who is in the group, as the servers have it.
    Members,
    /// Say who leads; exit code 1 where nobody is known to.
    Leader,
    /// Show the operation that runs, or the last one.
    Plan,
    Drill(Drill),
    Events(Events),
    Collect(collect::Args),
    ServerConfig(server_config::Args),
}

/// Rehearse a departure of this machine with the whole group, in its order, and put everything back.
#[derive(Debug, clap::Args)]
struct Drill {
    /// Type of the notice.
    #[arg(value_name = "EVENT_TYPE", default_value = "cloud.spot.interrupt", value_parser = EventType::parse)]
    event_type: EventType,

    /// Time until the cloud would act (20s, 2m).
    #[arg(long = "in", value_name = "DURATION", default_value = "120s", value_parser = duration::parse)]
    in_seconds: f64,
}

/// List the newest events that the group made on this machine.
#[derive(Debug, clap::Args)]
struct Events {
    /// Most events to list.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
}

/// Runs the command.
///
/// # Errors
/// The daemon cannot be asked, or this machine belongs to no group.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    match &args.command {
        Command::Status => {
            let reply = session.daemon()?.get("/v1/fleet")?;
            session.show(&reply, status)?;
            Ok(Exit::Ok)
        }
        Command::Members => {
            let reply = session.daemon()?.get("/v1/fleet/members")?;
            session.show(&reply, members)?;
            Ok(Exit::Ok)
        }
        Command::Leader => leader(session),
        Command::Plan => {
            let reply = session.daemon()?.get("/v1/fleet")?;
            session.show(&reply, |status: &Status, paint, _| match &status.operation {
                Some(operation) => plan(operation, paint),
                None => "The group has had no operation yet.\n".into(),
            })?;
            Ok(Exit::Ok)
        }
        Command::Drill(args) => drill(args, session),
        Command::Events(args) => events::of_prefix("fleet.", args.limit, session),
        Command::Collect(args) => collect::run(args, session),
        Command::ServerConfig(args) => server_config::run(args, session),
    }
}

/// The group has its part in it only where somebody leads: else the machine would rehearse alone, and nobody would learn from it.
fn drill(args: &Drill, session: &mut Session<'_>) -> Outcome {
    let reply = session.daemon()?.get("/v1/fleet")?;
    let status: Status = super::client::read(&reply)?;
    if !status.connected || status.leader.is_none() {
        session.note("nobody is known to lead the group, so it cannot rehearse; snooze fleet status tells more");
        return Ok(Exit::Bad);
    }
    let data = [(OF_GROUP.to_owned(), true.into())].into_iter().collect();
    super::drill::have(&args.event_type, args.in_seconds, data, session)
}

fn leader(session: &mut Session<'_>) -> Outcome {
    let reply = session.daemon()?.get("/v1/fleet")?;
    let status: Status = super::client::read(&reply)?;
    let code = if status.leader.is_some() { Exit::Ok } else { Exit::Bad };
    if session.global.json {
        session.print_json(&json!({ "leader": status.leader, "epoch": status.epoch, "leads": status.leads }))?;
        return Ok(code);
    }
    match &status.leader {
        Some(leader) => session.print(&format!("{}\n", plain(leader)))?,
        None => session.note("nobody is known to lead the group"),
    }
    Ok(code)
}

/// The screen of `status`.
fn status(status: &Status, paint: Paint, width: u16) -> String {
    let connection = match (&status.server, status.connected) {
        (Some(server), true) => paint.text(Tone::Good, &format!("to {}", plain(server))),
        (Some(server), false) => paint.text(Tone::Bad, &format!("lost; it was to {}", plain(server))),
        (None, _) => paint.text(Tone::Bad, "none yet"),
    };
    let leader = match (&status.leader, status.leads) {
        (_, true) => "this machine".to_owned(),
        (Some(leader), false) => plain(leader),
        (None, false) => paint.text(Tone::Warn, "nobody, as far as is known"),
    };
    let counts = &status.counts;
    let operation = status.operation.as_ref().map_or_else(
        || "none yet".to_owned(),
        |operation| if operation.complete { "the last one is over".to_owned() } else { acting(operation) },
    );
    let mut text = facts(
        paint,
        &[
            ("group", plain(&status.group)),
            ("this machine", format!("{} ({})", plain(&status.member), plain(&status.role))),
            ("connection", connection),
            ("leader", format!("{leader}, epoch {}", status.epoch)),
            ("operation", operation),
            ("own work takes", format!("{:.1} s", status.work_seconds)),
            ("events", format!("{} sent, {} of them kept; {} heard", counts.sent, counts.kept, counts.heard)),
            ("turns", format!("{} by a leader, {} alone", counts.turns, counts.alone)),
            ("refused", format!("{} of leaders that were none any more", counts.refused)),
        ],
    );
    text.push_str(&problems(&status.problems, paint, width));
    text
}

fn problems(problems: &[String], paint: Paint, width: u16) -> String {
    if problems.is_empty() {
        return String::new();
    }
    let heading = paint.text(Tone::Strong, "Not as it should be");
    let list: String = problems.iter().map(|problem| wrapped("  - ", &plain(problem), usize::from(width))).collect();
    format!("\n{heading}\n{list}")
}

fn acting(operation: &OperationStatus) -> String {
    let role = operation.roles.get(operation.step).map_or("?", String::as_str);
    let (at, of) = (operation.step + 1, operation.roles.len());
    format!("step {at} of {of} ({}): {}", plain(role), plain(&operation.acting.join(", ")))
}

/// The screen of `plan`.
fn plan(operation: &OperationStatus, paint: Paint) -> String {
    let state = if operation.complete { "over".to_owned() } else { acting(operation) };
    let roles: Vec<String> = operation
        .roles
        .iter()
        .enumerate()
        .map(|(index, role)| match index.cmp(&operation.step) {
            _ if operation.complete => format!("{} (over)", plain(role)),
            std::cmp::Ordering::Less => format!("{} (over)", plain(role)),
            std::cmp::Ordering::Equal => paint.text(Tone::Strong, &format!("{} (now)", plain(role))),
            std::cmp::Ordering::Greater => plain(role),
        })
        .collect();
    let mut text = facts(
        paint,
        &[
            ("operation", plain(&operation.operation)),
            ("epoch", operation.epoch.to_string()),
            ("state", state),
            ("order", roles.join(" -> ")),
            ("leaving", plain(&operation.leaving.join(", "))),
        ],
    );
    if !operation.missing.is_empty() {
        let list: String = operation.missing.iter().map(|why| format!("  - {}\n", plain(why))).collect();
        text.push_str(&format!("\n{}\n{list}", paint.text(Tone::Strong, "The group went on without")));
    }
    text
}

/// The screen of `members`.
fn members(found: &FleetMembers, paint: Paint, width: u16) -> String {
    if found.members.is_empty() {
        return "The servers know of no member.\n".into();
    }
    let mut table = table(paint, width, &["MEMBER", "ROLE", "STATE", "MAY LEAD"], &[]);
    let mut sorted: Vec<&Present> = found.members.iter().collect();
    sorted.sort_by_key(|present| (&present.role, &present.member));
    for present in sorted {
        let (tone, state) = if present.leaving { (Tone::Warn, "is about to go") } else { (Tone::Plain, "there") };
        table.add_row([
            paint.cell(Tone::Plain, plain(&present.member)),
            paint.cell(Tone::Plain, plain(&present.role)),
            paint.cell(tone, state),
            paint.cell(Tone::Plain, if present.may_lead { "yes" } else { "no" }),
        ]);
    }
    keep_whole(&mut table, 0);
    format!("{}{}\n", lines(&table), count(found.members.len(), "member"))
}
