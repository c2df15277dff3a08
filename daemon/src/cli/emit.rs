//! `snooze emit`: a real event of one's own.
//!
//! Inputs: what the event is. Outputs: its id, or what becomes of it. Must never pass for a rehearsal: its handlers do their
//! real work and are not told otherwise.

use super::fault::{Exit, Fault, Outcome};
use super::session::Session;
use super::{duration, simulate};
use crate::control::wire::{Emit, Simulated};
use crate::event::EventType;
use serde_json::{Map, Value};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Longest document of data, bytes: as much as a request may have.
const DATA_BYTES_MAX: u64 = 64 * 1024;

const EXAMPLES: &str = "\
Examples:
  snooze emit custom.raid.degraded --data disk=sda --severity urgent
  snooze emit custom.deploy --data version='\"1.4\"' --deadline 30s --wait    follow it, show the report
  mdadm-json | snooze emit custom.raid --data-json -           members of data from standard input
  sudo snooze emit cloud.spot.interrupt --deadline 2m          what a notice from elsewhere says (Oracle, say)

A handler for it stands in the configuration under its type, a prefix such as custom.*, or *. The event is real: \
handlers do their work and are not told that it is a rehearsal (that is `snooze simulate`). It has the source \
local.emit, and data.emitterUid names the user.

Who may: control.emit_group for custom.*, administrators for every type. A user may emit 20 in one go and one a \
second in the long run; root is not limited. An event cannot be taken back.

Exit code 0 means that the daemon has taken it in; with --wait, that its handlers did all their work, else 1.";

/// Have the daemon handle a real event of your own: of a monitoring script, or of a notice from elsewhere.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Type of the event: custom.* of your choice.
    #[arg(value_name = "EVENT_TYPE", value_parser = EventType::parse)]
    event_type: EventType,

    /// A member of the event's data; VALUE is JSON, or else text.
    #[arg(long, value_name = "NAME=VALUE", value_parser = simulate::member)]
    data: Vec<(String, Value)>,

    /// A JSON object whose members go into the event's data; - is standard input.
    #[arg(long, value_name = "FILE")]
    data_json: Option<PathBuf>,

    /// How bad it is [default: what the type usually has; info for custom.*]
    #[arg(long, value_name = "SEVERITY", value_parser = ["info", "warning", "urgent", "critical"])]
    severity: Option<String>,

    /// Time until it happens (30s, 2m), which handlers share; without it, the time configured for the type.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    deadline: Option<f64>,

    /// What happens then [default: what the type usually has; none for custom.*]
    #[arg(long, value_name = "ACTION", value_parser = ["terminate", "stop", "hibernate", "reboot", "redeploy", "freeze", "none"])]
    action: Option<String>,

    /// Follow the event to its end and show its report; exit code 1 unless all is handled.
    #[arg(long)]
    wait: bool,
}

/// Runs the command.
///
/// # Errors
/// The data cannot be read, the daemon cannot be asked, or refuses the event.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    let asked = asked(args)?;
    let daemon = session.daemon()?;
    if args.wait {
        return simulate::follow("/v1/emit", &asked, &daemon, session);
    }
    let reply = daemon.post("/v1/emit", &asked)?;
    session.show(&reply, |emitted: &Simulated, _, _| format!("{}\n", emitted.event_id))?;
    session.note("under way; `snooze report` shows what becomes of it");
    Ok(Exit::Ok)
}

fn asked(args: &Args) -> Result<Emit, Fault> {
    let mut data = args.data_json.as_deref().map(document).transpose()?.unwrap_or_default();
    for (name, value) in &args.data {
        if data.insert(name.clone(), value.clone()).is_some() {
            return Err(Fault::Usage(format!("the data has '{name}' twice")));
        }
    }
    Ok(Emit {
        event_type: args.event_type.to_string(),
        deadline_seconds: args.deadline,
        severity: args.severity.clone(),
        action: args.action.clone(),
        data,
    })
}

fn document(path: &Path) -> Result<Map<String, Value>, Fault> {
    let is_standard_input = path == Path::new("-");
    let shown = if is_standard_input { "standard input".into() } else { path.display().to_string() };
    let mut bytes = Vec::new();
    let read = match is_standard_input {
        true => io::stdin().lock().take(DATA_BYTES_MAX + 1).read_to_end(&mut bytes),
        false => std::fs::File::open(path).and_then(|file| file.take(DATA_BYTES_MAX + 1).read_to_end(&mut bytes)),
    };
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Fault::Missing(format!("no file {shown}")));
        }
        Err(error) => return Err(Fault::InputOutput(format!("cannot read {shown}: {error}"))),
        Ok(_) if bytes.len() as u64 > DATA_BYTES_MAX => {
            return Err(Fault::Usage(format!("{shown} is longer than {DATA_BYTES_MAX} bytes")));
        }
        Ok(_) => {}
    }
    // The text itself is not quoted: it may be anything.
    serde_json::from_slice(&bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Fault::Usage(format!("{shown} is not a JSON object (line {line}, column {column})"))
    })
}
