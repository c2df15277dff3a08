//! The program: its arguments and its run, reusable as a subcommand of another program.
//!
//! Responsibilities: turn arguments into options and steps, start the service, print what happens. Inputs: [`Args`].
//! Outputs: lines of text or JSON. It must never print a token.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use jiff::SignedDuration;
use serde_json::json;

use crate::{Action, Activity, Change, FakeMetadata, Options, Script, ScriptError, StartError, Step, When};

const EXAMPLES: &str = "\
Examples:
  A spot instance that is told after 20 seconds that it will be terminated two minutes later:
    fake-metadata --notice-in 20s --action terminate

  A rebalance recommendation first, on an instance of your choice:
    fake-metadata --instance-id i-0123456789abcdef0 --rebalance-in 5s --notice-in 25s

  Everything from a file (steps, faults, instance):
    fake-metadata --script drill.json

  Ask it what a client would ask:
    TOKEN=$(curl -sX PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://127.0.0.1:1338/latest/api/token)
    curl -sH \"X-aws-ec2-metadata-token: $TOKEN\" http://127.0.0.1:1338/latest/meta-data/spot/instance-action

  Change it while it runs (GET /_control/ lists the changes):
    curl -s --json '{\"action\": \"stop\", \"in_seconds\": 120}' http://127.0.0.1:1338/_control/notice
    curl -s --json '{\"kind\": \"status\", \"code\": 503, \"count\": 3}' http://127.0.0.1:1338/_control/fault

A script:
  {\"instance\": {\"id\": \"i-0123456789abcdef0\", \"zone\": \"eu-west-1b\"},
   \"steps\": [{\"at_seconds\": 1, \"rebalance\": {}},
             {\"at_seconds\": 5, \"notice\": {\"action\": \"terminate\", \"in_seconds\": 120}},
             {\"at_seconds\": 5, \"fault\": {\"kind\": \"delay\", \"delay_seconds\": 2, \"paths\": [\"spot/*\"]}}]}

Durations are numbers with units: 500ms, 20s, 2m.";

/// Play a cloud's instance metadata service, so that interruption notices can be rehearsed without a cloud.
///
/// Serves what the AWS instance metadata service would (version 2, tokens included) and prints each request it gets.
/// Point the program under test at the printed address. Stop it with Ctrl-C.
#[derive(Clone, Debug, Parser)]
#[command(name = "fake-metadata", version, after_long_help = EXAMPLES)]
pub struct Args {
    /// Address and port to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:1338")]
    pub listen: SocketAddr,

    /// JSON file that says which instance to play and what happens when.
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,

    /// Instance id to serve, instead of the script's.
    #[arg(long, value_name = "ID")]
    pub instance_id: Option<String>,

    /// Instance type to serve, instead of the script's.
    #[arg(long, value_name = "TYPE")]
    pub instance_type: Option<String>,

    /// Availability zone to serve, instead of the script's; the region follows from it.
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,

    /// Have a spot notice appear this long after the start.
    #[arg(long, value_name = "DURATION")]
    pub notice_in: Option<SignedDuration>,

    /// What the notice says will happen.
    #[arg(long, value_enum, default_value_t = CliAction::Terminate)]
    pub action: CliAction,

    /// How long before the action the notice appears; left out, as the cloud does it (2m; none for hibernate).
    #[arg(long, value_name = "DURATION", requires = "notice_in")]
    pub warning: Option<SignedDuration>,

    /// Have a rebalance recommendation appear this long after the start.
    #[arg(long, value_name = "DURATION")]
    pub rebalance_in: Option<SignedDuration>,

    /// Whether requests without a token are refused.
    #[arg(long, value_enum, default_value_t = CliTokens::Required)]
    pub tokens: CliTokens,

    /// Do not serve /_control/: only the script and these arguments decide what happens.
    #[arg(long)]
    pub no_control: bool,

    /// Print one JSON object a line instead of text.
    #[arg(long)]
    pub json: bool,
}

/// [`Action`], as an argument.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum CliAction {
    /// Terminated two minutes after the notice.
    Terminate,
    /// Stopped two minutes after the notice.
    Stop,
    /// Hibernated at once.
    Hibernate,
}

impl From<CliAction> for Action {
    fn from(action: CliAction) -> Self {
        match action {
            CliAction::Terminate => Self::Terminate,
            CliAction::Stop => Self::Stop,
            CliAction::Hibernate => Self::Hibernate,
        }
    }
}

/// Whether tokens are required, as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CliTokens {
    /// Requests without a token are 401.
    Required,
    /// Requests without a token are served.
    Optional,
}

/// Why a run ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The script is not usable.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// An argument is not usable.
    #[error("--{argument}: {reason}")]
    Argument {
        /// Its long name.
        argument: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The service did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Nothing can be printed any more.
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
}

/// The options the arguments ask for.
///
/// # Errors
/// [`RunError`] when the script or an argument is not usable.
pub fn options(args: &Args) -> Result<Options, RunError> {
    let script = args.script.as_deref().map(Script::load).transpose()?.unwrap_or_default();
    let mut options = Options::from_script(script);
    options.listen = args.listen;
    options.tokens_required = args.tokens == CliTokens::Required;
    options.control = !args.no_control;
    let instance = &mut options.instance;
    if let Some(id) = &args.instance_id {
        instance.id.clone_from(id);
    }
    if let Some(instance_type) = &args.instance_type {
        instance.instance_type.clone_from(instance_type);
    }
    if let Some(zone) = &args.zone {
        instance.zone.clone_from(zone);
        instance.region = None;
    }
    if let Some(after) = args.rebalance_in {
        let change = Change::Rebalance { time: When::In(SignedDuration::ZERO) };
        options.steps.push(Step { after: from_start("rebalance-in", after)?, change });
    }
    if let Some(after) = args.notice_in {
        let action = Action::from(args.action);
        let time = When::In(args.warning.unwrap_or(action.usual_warning()));
        options.steps.push(Step { after: from_start("notice-in", after)?, change: Change::Notice { action, time } });
    }
    options.steps.sort_by_key(|step| step.after);
    Ok(options)
}

fn from_start(argument: &'static str, after: SignedDuration) -> Result<Duration, RunError> {
    Duration::try_from(after)
        .map_err(|_| RunError::Argument { argument, reason: "must not be before the start".to_owned() })
}

/// Serves and prints to `output` until printing fails or the process is stopped.
///
/// # Errors
/// [`RunError`]; a run never ends without one.
pub fn run(args: &Args, output: &mut dyn Write) -> Result<(), RunError> {
    let options = options(args)?;
    let (instance, steps, control) = (options.instance.clone(), options.steps.len(), options.control);
    let (fake, activity) = FakeMetadata::start_watched(options)?;
    if args.json {
        let started = json!({"started": fake.base_url(), "instance": instance.id, "type": instance.instance_type,
            "zone": instance.zone, "life_cycle": instance.life_cycle, "steps": steps, "control": control});
        writeln!(output, "{started}")?;
    } else {
        let life_cycle = instance.life_cycle.as_deref().unwrap_or("unknown life cycle");
        writeln!(output, "serving {}", fake.base_url())?;
        writeln!(output, "instance {} {} {} {life_cycle}", instance.id, instance.instance_type, instance.zone)?;
        writeln!(output, "script steps {steps}, control requests {}", if control { "on" } else { "off" })?;
        if control && !fake.address().ip().is_loopback() {
            writeln!(output, "warning: anybody who reaches this address can change it; see --no-control")?;
        }
    }
    output.flush()?;
    // The service keeps a sender as long as it runs, so this loop ends only by an error in printing.
    for happened in activity {
        let line = if args.json { as_json(&happened).to_string() } else { as_text(&happened) };
        writeln!(output, "{line}")?;
        output.flush()?;
    }
    Ok(())
}

fn as_text(activity: &Activity) -> String {
    match activity {
        Activity::Changed(what) => format!("* {what}"),
        Activity::Failed(what) => format!("! {what}"),
        Activity::Request(request) => {
            let status = request.status.map_or("no answer".to_owned(), |status| status.to_string());
            let faults = if request.faults.is_empty() { "" } else { " faults=" };
            format!(
                "{:.3} {} {} {status} token={}{faults}{}",
                request.time,
                request.method,
                request.path,
                request.token,
                request.faults.join(",")
            )
        }
    }
}

fn as_json(activity: &Activity) -> serde_json::Value {
    match activity {
        Activity::Changed(what) => json!({"changed": what}),
        Activity::Failed(what) => json!({"failed": what}),
        Activity::Request(request) => json!({"request": request}),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(arguments: &[&str]) -> Args {
        Args::try_parse_from([&["fake-metadata"], arguments].concat()).expect("good arguments")
    }

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_notice_appears_when_asked_and_warns_as_the_cloud_does() {
        let args = parsed(&["--notice-in", "20s", "--rebalance-in", "500ms", "--action", "hibernate"]);
        let options = options(&args).expect("good options");
        let steps: Vec<(Duration, String)> =
            options.steps.iter().map(|step| (step.after, step.change.to_string())).collect();
        let expected = [(Duration::from_millis(500), "rebalance"), (Duration::from_secs(20), "notice hibernate")];
        assert_eq!(steps, expected.map(|(after, what)| (after, what.to_owned())));
        let Change::Notice { time, .. } = &options.steps[1].change else { panic!("not a notice") };
        assert_eq!(*time, When::In(SignedDuration::ZERO));
    }

    #[test]
    fn the_zone_decides_the_region() {
        let options = options(&parsed(&["--zone", "eu-west-1b", "--instance-id", "i-1"])).expect("good options");
        assert_eq!((options.instance.region(), options.instance.id.as_str()), ("eu-west-1", "i-1"));
    }

    #[test]
    fn a_negative_start_is_refused() {
        let args = parsed(&["--notice-in=-5s"]);
        let error = options(&args).expect_err("refused").to_string();
        assert_eq!(error, "--notice-in: must not be before the start");
    }
}
