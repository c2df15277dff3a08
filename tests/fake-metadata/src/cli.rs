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

use crate::scenario::{self, Scenario};
use crate::{Action, Activity, Change, FakeMetadata, Options, Provider, Script, ScriptError, StartError, Step, When};

const EXAMPLES: &str = "\
Examples:
  A spot instance that is told after 20 seconds that it will be terminated two minutes later:
    fake-metadata --notice-in 20s --action terminate

  What a live migration on Azure looks like, told sixty times as fast, and which other stories there are:
    fake-metadata --provider azure --scenario live-migration --speed 60
    fake-metadata --list

  A rebalance recommendation first, on an instance of your choice:
    fake-metadata --instance-id i-0123456789abcdef0 --rebalance-in 5s --notice-in 25s

  Everything from a file (provider, instance, settings, steps, faults):
    fake-metadata --script drill.json

  Ask it what a client would ask, of AWS, Azure, GCP, Alibaba and Tencent:
    TOKEN=$(curl -sX PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://127.0.0.1:1338/latest/api/token)
    curl -sH \"X-aws-ec2-metadata-token: $TOKEN\" http://127.0.0.1:1338/latest/meta-data/spot/instance-action
    curl -sH Metadata:true 'http://127.0.0.1:1338/metadata/scheduledevents?api-version=2020-07-01'
    curl -sH Metadata-Flavor:Google 'http://127.0.0.1:1338/computeMetadata/v1/instance/preempted?wait_for_change=true'
    curl -s http://127.0.0.1:1338/latest/meta-data/instance/spot/termination-time
    curl -s http://127.0.0.1:1338/latest/meta-data/spot/termination-time

  Change it while it runs (GET /_control/ lists the changes), and see when each change became visible:
    curl -s --json '{\"action\": \"stop\", \"in_seconds\": 120}' http://127.0.0.1:1338/_control/notice
    curl -s --json '{\"code\": \"Freeze\", \"event_id\": \"e1\"}' http://127.0.0.1:1338/_control/maintenance
    curl -s --json '{\"event_id\": \"e1\"}' http://127.0.0.1:1338/_control/start-maintenance
    curl -s --json '{\"kind\": \"status\", \"code\": 503, \"every\": 3}' http://127.0.0.1:1338/_control/fault
    curl -s http://127.0.0.1:1338/_control/changes

A script:
  {\"provider\": \"aws\", \"instance\": {\"id\": \"i-0123456789abcdef0\", \"zone\": \"eu-west-1b\"},
   \"steps\": [{\"at_seconds\": 1, \"rebalance\": {}},
             {\"at_seconds\": 5, \"notice\": {\"action\": \"terminate\", \"in_seconds\": 120}},
             {\"at_seconds\": 5, \"fault\": {\"kind\": \"delay\", \"delay_seconds\": 2, \"paths\": [\"spot/*\"]}}]}

Durations are numbers with units: 500ms, 20s, 2m.";

/// Play a cloud's instance metadata service, so that interruption notices can be rehearsed without a cloud.
///
/// Serves what the instance metadata service of AWS (version 2, tokens included), Azure (Scheduled Events), GCP, Alibaba or
/// Tencent would, changes while it runs, and prints each request it gets. Point the program under test at the printed
/// address. Stop it with Ctrl-C.
#[derive(Clone, Debug, Parser)]
#[command(name = "fake-metadata", version, after_long_help = EXAMPLES)]
pub struct Args {
    /// Address and port to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:1338")]
    pub listen: SocketAddr,

    /// Whose service to play [default: the script's, or aws].
    #[arg(long, value_enum)]
    pub provider: Option<Provider>,

    /// Play one of the built-in stories; --list shows them.
    #[arg(long, value_name = "NAME", conflicts_with = "script")]
    pub scenario: Option<String>,

    /// Print the built-in stories and end; with --provider only its own.
    #[arg(long)]
    pub list: bool,

    /// Tell the story of the scenario or script so many times as fast: steps come sooner, deadlines lie nearer.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub speed: f64,

    /// JSON file that says whose service and which instance to play and what happens when.
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,

    /// Instance id to serve, instead of the script's.
    #[arg(long, value_name = "ID")]
    pub instance_id: Option<String>,

    /// Instance type to serve, instead of the script's.
    #[arg(long, value_name = "TYPE")]
    pub instance_type: Option<String>,

    /// Name of the machine to serve, instead of the script's (Azure, GCP).
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Availability zone to serve, instead of the script's; the region follows from it, except on Azure.
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,

    /// Have a spot notice appear this long after the start.
    #[arg(long, value_name = "DURATION")]
    pub notice_in: Option<SignedDuration>,

    /// What the notice says will happen; only AWS says it.
    #[arg(long, value_enum, default_value_t = CliAction::Terminate)]
    pub action: CliAction,

    /// How long before the action the notice appears; left out, as the cloud does it (AWS 2m, none for hibernate; Azure 30s;
    /// Alibaba 5m; Tencent 2m; GCP tells no time).
    #[arg(long, value_name = "DURATION", requires = "notice_in")]
    pub warning: Option<SignedDuration>,

    /// Have a rebalance recommendation appear this long after the start (AWS, Azure).
    #[arg(long, value_name = "DURATION")]
    pub rebalance_in: Option<SignedDuration>,

    /// Whether requests without a token are refused (AWS, Alibaba) [default: required on AWS, optional elsewhere].
    #[arg(long, value_enum)]
    pub tokens: Option<CliTokens>,

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
    /// No built-in scenario has that name.
    #[error("--scenario: {provider} has no scenario {name:?}; it has {known}")]
    Scenario {
        /// Whose scenarios were looked through.
        provider: Provider,
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
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
    if !(args.speed.is_finite() && args.speed > 0.0) {
        return Err(RunError::Argument { argument: "speed", reason: "must be a number above 0".to_owned() });
    }
    let mut options = Options::from_script(script(args)?.accelerated(args.speed));
    let provider = options.provider;
    options.listen = args.listen;
    if let Some(tokens) = args.tokens {
        options.tokens_required = tokens == CliTokens::Required;
    }
    options.control = !args.no_control;
    let instance = &mut options.instance;
    if let Some(id) = &args.instance_id {
        instance.id.clone_from(id);
    }
    if let Some(instance_type) = &args.instance_type {
        instance.instance_type.clone_from(instance_type);
    }
    if let Some(name) = &args.name {
        instance.name.clone_from(name);
    }
    if let Some(zone) = &args.zone {
        instance.zone.clone_from(zone);
        if provider != Provider::Azure {
            instance.region = None;
        }
    }
    if let Some(after) = args.rebalance_in {
        let change = Change::Rebalance { time: When::Usual };
        if let Some(error) = change.misfit(provider) {
            return Err(RunError::Argument { argument: "rebalance-in", reason: error.to_string() });
        }
        options.steps.push(Step { after: from_start("rebalance-in", after)?, change });
    }
    if let Some(after) = args.notice_in {
        let action = Action::from(args.action);
        let time = When::In(args.warning.unwrap_or(provider.usual_warning(action)));
        options.steps.push(Step { after: from_start("notice-in", after)?, change: Change::Notice { action, time } });
    }
    options.steps.sort_by_key(|step| step.after);
    Ok(options)
}

/// The script that the arguments name: from a file, built in, or an empty one.
fn script(args: &Args) -> Result<Script, RunError> {
    if let Some(file) = &args.script {
        return Ok(Script::load_for(file, args.provider)?);
    }
    let provider = args.provider.unwrap_or_default();
    let Some(name) = &args.scenario else {
        return Ok(Script::parse_for("{}", "no script", Some(provider))?);
    };
    let scenario = Scenario::find(provider, name).ok_or_else(|| {
        let known: Vec<&str> = scenario::of(provider).map(|scenario| scenario.name).collect();
        RunError::Scenario { provider, name: name.clone(), known: known.join(", ") }
    })?;
    Ok(scenario.script()?)
}

/// The built-in scenarios of one provider or all, a line each.
fn list(provider: Option<Provider>, json: bool, output: &mut dyn Write) -> Result<(), RunError> {
    let wanted = Provider::ALL.into_iter().filter(|have| provider.is_none_or(|wanted| wanted == *have));
    for scenario in wanted.flat_map(scenario::of) {
        let (provider, name, about) = (scenario.provider, scenario.name, scenario.script()?.about);
        if json {
            writeln!(output, "{}", json!({"provider": provider, "scenario": name, "about": about}))?;
        } else {
            writeln!(output, "{:<8} {name:<28} {about}", provider.name())?;
        }
    }
    Ok(output.flush()?)
}

fn from_start(argument: &'static str, after: SignedDuration) -> Result<Duration, RunError> {
    Duration::try_from(after)
        .map_err(|_| RunError::Argument { argument, reason: "must not be before the start".to_owned() })
}

/// Serves and prints to `output` until printing fails or the process is stopped; with `--list` it prints and ends.
///
/// # Errors
/// [`RunError`]; serving never ends without one.
pub fn run(args: &Args, output: &mut dyn Write) -> Result<(), RunError> {
    if args.list {
        return list(args.provider, args.json, output);
    }
    let options = options(args)?;
    let (instance, steps, control) = (options.instance.clone(), options.steps.len(), options.control);
    let provider = options.provider;
    let (fake, activity) = FakeMetadata::start_watched(options)?;
    if args.json {
        let started = json!({"started": fake.base_url(), "provider": provider, "instance": instance.id, "type": instance.instance_type,
            "zone": instance.zone, "life_cycle": instance.life_cycle, "steps": steps, "control": control});
        writeln!(output, "{started}")?;
    } else {
        let life_cycle = instance.life_cycle.as_deref().unwrap_or("unknown life cycle");
        writeln!(output, "serving {provider} at {}", fake.base_url())?;
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
            let question = if request.query.is_empty() { "" } else { "?" };
            let faults = if request.faults.is_empty() { "" } else { " faults=" };
            format!(
                "{:.3} {} {}{question}{} {status} token={}{faults}{}",
                request.time,
                request.method,
                request.path,
                request.query,
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
