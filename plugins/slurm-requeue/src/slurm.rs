//! Slurm's commands.
//!
//! Inputs: a configuration, a [`Watch`]. Outputs: what the commands print. Slurm has no other interface that every installation offers:
//! its library is bound to one version, its REST service is optional. Must never run one beyond the watch.

use crate::config::Config;
use crate::table::{self, Job, Node};
use cloudsnooze_plugin::{Call, Code, Error};
use cloudsnooze_plugin_commands::program::Program;
use std::thread;
use std::time::{Duration, Instant};

/// Longest time for one command: they try again for a long time when the controller does not answer.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);
/// How often the host's flag is looked at during a pause.
const FLAG: Duration = Duration::from_millis(10);

/// How long a call may take, and whether it still should.
pub(crate) struct Watch<'a> {
    call: Option<&'a Call<'a>>,
    ends: Instant,
}

impl<'a> Watch<'a> {
    /// Time of a call, less what its report takes.
    pub(crate) fn of(call: &'a Call<'a>) -> Self {
        let left = call.left();
        Self { call: Some(call), ends: Instant::now() + left.saturating_sub(Duration::from_millis(200).min(left / 10)) }
    }

    /// A limit without a call.
    pub(crate) fn limit(limit: Duration) -> Self {
        Self { call: None, ends: Instant::now() + limit }
    }

    /// Time that may still be spent.
    pub(crate) fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.call.is_some_and(|call| call.cancelled().is_some())
    }

    /// Waits so long, at most to the end and until it is cancelled.
    pub(crate) fn pause(&self, pause: Duration) {
        let ends = Instant::now() + pause.min(self.left());
        while !self.is_cancelled() {
            let left = ends.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(FLAG));
        }
    }
}

/// A cluster, as this machine reaches it.
pub(crate) struct Slurm {
    conf: Option<String>,
    directory: Option<String>,
}

impl Slurm {
    pub(crate) fn new(config: &Config) -> Self {
        let text = |path: &std::path::PathBuf| path.to_string_lossy().into_owned();
        Self { conf: config.slurm_conf.as_ref().map(text), directory: config.bin_directory.as_ref().map(text) }
    }

    /// Standard output of a command that ended well.
    fn run(&self, name: &str, args: &[&str], watch: &Watch<'_>) -> Result<String, Error> {
        let path = self.directory.as_ref().map_or_else(|| name.to_owned(), |directory| format!("{directory}/{name}"));
        let mut program = Program::new(path).args(args.iter().copied());
        if let Some(conf) = &self.conf {
            program = program.env("SLURM_CONF", conf);
        }
        let ended = program.run_until(COMMAND_LIMIT.min(watch.left()), || watch.is_cancelled())?;
        if ended.is_success() {
            return Ok(ended.stdout);
        }
        let told = ended.told();
        let is_denied = ["Access/permission denied", "Invalid user id"].iter().any(|text| told.contains(text));
        let code = if is_denied { Code::Denied } else { Code::Io };
        Err(Error::new(format!("{name} {}: {told}", args.first().copied().unwrap_or_default())).code(code))
    }

    /// Whether a controller answers: what `scontrol ping` says.
    pub(crate) fn ping(&self, watch: &Watch<'_>) -> Result<String, Error> {
        let text = self.run("scontrol", &["ping"], watch)?;
        let line = text.lines().find(|line| line.contains("is UP"));
        line.map(|line| line.trim().to_owned())
            .ok_or_else(|| Error::new(format!("no controller is up: {}", text.trim())).code(Code::Io))
    }

    /// A setting of the cluster.
    pub(crate) fn setting(&self, key: &str, watch: &Watch<'_>) -> Result<Option<String>, Error> {
        let text = self.run("scontrol", &["show", "config"], watch)?;
        Ok(table::setting(&text, key).map(str::to_owned))
    }

    pub(crate) fn node(&self, name: &str, watch: &Watch<'_>) -> Result<Node, Error> {
        let text = self.run("scontrol", &["--oneliner", "show", "node", name], watch)?;
        table::node(&text).ok_or_else(|| Error::new(format!("Slurm knows no node {name}")).code(Code::Io))
    }

    pub(crate) fn drain(&self, name: &str, reason: &str, watch: &Watch<'_>) -> Result<(), Error> {
        let (name, reason) = (format!("NodeName={name}"), format!("Reason={reason}"));
        self.run("scontrol", &["update", &name, "State=DRAIN", &reason], watch).map(drop)
    }

    pub(crate) fn resume(&self, name: &str, watch: &Watch<'_>) -> Result<(), Error> {
        self.run("scontrol", &["update", &format!("NodeName={name}"), "State=RESUME"], watch).map(drop)
    }

    /// The jobs that run on a node, or are suspended there.
    pub(crate) fn jobs_on(&self, node: &str, watch: &Watch<'_>) -> Result<Vec<Job>, Error> {
        let states = "--states=RUNNING,SUSPENDED";
        let text = self.run("squeue", &["--noheader", states, "--nodelist", node, "-O", &table::columns()], watch)?;
        Ok(table::jobs(&text))
    }

    /// These jobs, in whatever state; one that Slurm has forgotten is missing.
    pub(crate) fn jobs(&self, ids: &[&str], watch: &Watch<'_>) -> Result<Vec<Job>, Error> {
        let args = ["--noheader", "--states=all", "--jobs", &ids.join(","), "-O", &table::columns()];
        match self.run("squeue", &args, watch) {
            Err(error) if error.message().contains("Invalid job id") => Ok(Vec::new()),
            text => Ok(table::jobs(&text?)),
        }
    }

    pub(crate) fn signal(&self, id: &str, signal: &str, option: Option<&str>, watch: &Watch<'_>) -> Result<(), Error> {
        let signal = format!("--signal={signal}");
        let args: Vec<&str> = [Some(signal.as_str()), option, Some(id)].into_iter().flatten().collect();
        self.run("scancel", &args, watch).map(drop)
    }

    pub(crate) fn requeue(&self, id: &str, watch: &Watch<'_>) -> Result<(), Error> {
        self.run("scontrol", &["requeue", id], watch).map(drop)
    }
}
