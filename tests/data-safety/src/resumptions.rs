//! The rounds of one program: saved at a notice, killed at the deadline, resumed.
//!
//! Inputs: a program that saves itself at SIGUSR1, how many rounds, the plugin or not. Outputs: a [`ProgramOutcome`]. What had been
//! done when the notice came must be there after the resumption, and the program must go on from exactly what the plugin
//! proved. Must never signal a process that it has not started.

use crate::interruption::Machine;
use crate::outcome::{Control, ProgramOutcome};
use crate::plan::Plan;
use crate::trajectory;
use harness::{program, wait};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The programs, by the name they have on the command line.
pub const PROGRAMS: [&str; 2] = ["counter", "torch"];
/// Names the Python that has PyTorch, where it is not one of the usual ones.
pub const PYTHON: &str = "CLOUDSNOOZE_TORCH_PYTHON";
/// From start to its first work: PyTorch is large, and a machine may be busy.
const START_LIMIT: Duration = Duration::from_secs(120);

/// The program that counts is that of the plugin's own tests.
const COUNTER: &str = include_str!("../../../plugins/signal-checkpointer/tests/programs/counter.py");
const TRAINER: &str = include_str!("../programs/trainer.py");

/// A program as the rounds see it. It leaves in its directory how far it is (`seen`), where it began after its process number
/// (`resumed`), and what it saved.
pub struct Kind {
    name: &'static str,
    script: &'static str,
    text: &'static str,
    python: PathBuf,
    /// Arguments behind the directory.
    arguments: &'static [&'static str],
    /// What the plugin waits for.
    saved: &'static str,
    /// Work before the notice comes.
    warm: u64,
}

/// The program of this name, or what is missing for it.
///
/// # Errors
/// What to install.
pub fn kind(name: &str) -> Result<Kind, String> {
    let usual = [PathBuf::from("/usr/bin/python3"), PathBuf::from("python3")];
    let works = |python: &PathBuf, code: &str| {
        let mut command = Command::new(python);
        program::run(command.args(["-c", code]), START_LIMIT).is_ok_and(|output| output.code == Some(0))
    };
    if name == "counter" {
        let python = usual.into_iter().find(|python| works(python, "")).ok_or("install python3")?;
        let (script, text) = ("counter.py", COUNTER);
        return Ok(Kind { name: "counter", script, text, python, arguments: &[], saved: "saved", warm: 50 });
    }
    let given = std::env::var_os(PYTHON).filter(|value| !value.is_empty()).map(PathBuf::from);
    let mut candidates = given.into_iter().chain(usual);
    let python = candidates.find(|python| works(python, "import torch"));
    let python = python.ok_or_else(|| {
        format!("no Python here has PyTorch: install python3-torch, or set {PYTHON} to a Python that has it")
    })?;
    let (script, text) = ("trainer.py", TRAINER);
    Ok(Kind { name: "torch", script, text, python, arguments: &["0"], saved: "step-*.pt", warm: 200 })
}

impl Kind {
    /// How far the newest save in this directory is.
    fn saved_in(&self, directory: &Path) -> Option<u64> {
        if self.name == "counter" {
            return read(directory, self.saved).parse().ok();
        }
        trajectory::newest(directory).map(|(step, _)| step)
    }

    /// Python with the program and this directory, to be given more arguments.
    pub fn command(&self, directory: &Path) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(directory.join(self.script)).arg(directory).current_dir(directory).stdin(Stdio::null());
        command
    }

    /// A directory with nothing but the program.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn directory(&self) -> Result<tempfile::TempDir, String> {
        let made = tempfile::Builder::new().prefix("resumed-").tempdir().and_then(|directory| {
            std::fs::write(directory.path().join(self.script), self.text)?;
            Ok(directory)
        });
        made.map_err(|error| format!("cannot make a directory for {}: {error}", self.name))
    }

    fn handler(&self, directory: &Path) -> Value {
        let process = format!("{} {}( |$)", self.script.replace('.', "\\."), directory.display());
        let file = json!({ "path": directory.join(self.saved), "stable_ms": 60, "sha256": true });
        let target = json!({
            "name": self.name,
            "process": { "command_line": process },
            "save": { "signal": "USR1", "until": { "file": file } },
        });
        json!({
            "name": "signal-checkpointer", "priority": 75, "timeout_seconds": 60, "config": { "targets": [target] },
        })
    }
}

/// Runs all rounds of one program.
///
/// # Errors
/// When a round could not be carried out.
pub fn show(kind: &Kind, plan: &Plan) -> Result<ProgramOutcome, String> {
    let mut outcome = ProgramOutcome::new(kind.name);
    let control = kind.directory()?;
    let mut running = Running::start(kind, control.path())?;
    for round in 1..=plan.control_rounds {
        let played = play(kind, plan, &mut running, false)?;
        outcome.control = outcome.control.plus(Control::of(played.before, played.lost));
        let of = plan.control_rounds;
        plan.tell(&format!("{}: round {round} of {of} without the plugin: {}", kind.name, played.told()));
    }
    drop(running);
    let saved = kind.directory()?;
    let mut running = Running::start(kind, saved.path())?;
    for round in 1..=plan.resumptions {
        let played = play(kind, plan, &mut running, !plan.without_plugin)?;
        plan.tell(&format!("{}: round {round} of {}: {}", kind.name, plan.resumptions, played.told()));
        outcome.add(round, played);
    }
    drop(running);
    if kind.name == "torch" && !plan.without_plugin {
        plan.tell("torch: the same training without an interruption, to compare with");
        outcome.trajectory = Some(trajectory::compare(kind, saved.path())?);
    }
    Ok(outcome)
}

/// What one round came to.
pub struct Played {
    /// Work done in this round when the notice came.
    pub before: u64,
    /// Of that, what the resumed program had to do again.
    pub lost: u64,
    /// From where it went on.
    pub resumed: u64,
    /// How far the newest save was.
    pub saved: Option<u64>,
    /// Why the plugin did not do its work.
    pub failure: Option<String>,
}

impl Played {
    fn told(&self) -> String {
        let Self { before, lost, resumed, failure, .. } = self;
        let failure = failure.as_ref().map_or(String::new(), |failure| format!("; NOT SAVED: {failure}"));
        format!("{before} done when the notice came, {lost} of that lost, resumed at {resumed}{failure}")
    }
}

fn play(kind: &Kind, plan: &Plan, running: &mut Running, with_plugin: bool) -> Result<Played, String> {
    let Running { directory, resumed: began, .. } = running;
    let (directory, began) = (directory.clone(), *began);
    let handler = with_plugin.then(|| kind.handler(&directory));
    let machine = Machine::start(&plan.bin_dir, handler.as_ref())?;
    let kill = || {
        program::kill_and_reap(&mut running.child);
        Ok(())
    };
    let (before, interrupted) = machine.interrupt(plan.seconds, || seen(&directory), kill)?;
    drop(machine);
    let saved = kind.saved_in(&directory);
    *running = Running::start(kind, &directory)?;
    let resumed = running.resumed;
    Ok(Played {
        before: before.saturating_sub(began),
        lost: before.saturating_sub(resumed),
        resumed,
        saved,
        failure: interrupted.failure,
    })
}

/// A program at work. Dropping it kills it.
struct Running {
    child: Child,
    directory: PathBuf,
    /// Where it began.
    resumed: u64,
}

impl Running {
    /// Starts the program, which resumes from what is in its directory, and waits until it has worked a little.
    fn start(kind: &Kind, directory: &Path) -> Result<Self, String> {
        // What an earlier one had done says nothing of this one.
        let _none_there = std::fs::remove_file(directory.join("seen"));
        let child = kind.command(directory).args(kind.arguments).spawn();
        let child = child.map_err(|error| format!("cannot start {}: {error}", kind.name))?;
        let mut running = Self { child, directory: directory.to_owned(), resumed: 0 };
        let mark = format!("{} ", running.child.id());
        let resumed = wait::until(&format!("{} to begin", kind.name), START_LIMIT, || {
            if let Ok(Some(status)) = running.child.try_wait() {
                return Some(Err(format!("{} ended with {status} instead of working", kind.name)));
            }
            read(directory, "resumed").strip_prefix(&mark)?.parse().ok().map(Ok)
        });
        running.resumed = resumed.flatten()?;
        let goal = running.resumed + kind.warm;
        wait::until(&format!("{} to work", kind.name), START_LIMIT, || (seen(directory) >= goal).then_some(()))?;
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        program::kill_and_reap(&mut self.child);
    }
}

/// How far the program in this directory says it is.
fn seen(directory: &Path) -> u64 {
    read(directory, "seen").parse().unwrap_or(0)
}

fn read(directory: &Path, name: &str) -> String {
    std::fs::read_to_string(directory.join(name)).unwrap_or_default().trim().to_owned()
}
