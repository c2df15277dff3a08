//! One signal, and the wait for what proves that it had its effect.
//!
//! Inputs: pinned processes, an [`Act`]. Outputs: [`Done`], with the numbers of the thing itself. Must never begin to look
//! after the signal: what is new is judged by how things were before it.

use crate::clock::Clock;
use crate::file::{FileWatch, Files, Stamp};
use crate::line::LineWatch;
use crate::pinned::Pinned;
use crate::plan::{Act, Proof};
use crate::seal::{Sealed, Sealer, Wish};
use cloudsnooze_plugin::{Code, Error};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Instant;

/// Files of one step that are listed in the report; all of them are counted.
const FILES_SHOWN: usize = 10;

/// A step that is done.
pub(crate) struct Done {
    pub(crate) step: &'static str,
    signal: &'static str,
    seconds: f64,
    pub(crate) seen: Seen,
}

/// What was seen.
pub(crate) enum Seen {
    Exit,
    Files(Vec<(PathBuf, Stamp, Sealed)>),
    Line(String),
}

impl Done {
    /// Whether what was saved is known to be on the disk.
    pub(crate) fn is_durable(&self) -> bool {
        matches!(&self.seen, Seen::Files(files) if files.iter().all(|(_, _, sealed)| sealed.synced == Some(true)))
    }

    /// `is_brief`: the counts without the lists.
    pub(crate) fn report(&self, is_brief: bool) -> Value {
        let shown = if is_brief { 0 } else { FILES_SHOWN };
        let proof = match &self.seen {
            Seen::Exit => json!({ "kind": "exit" }),
            Seen::Line(line) => json!({ "kind": "line", "line": line }),
            Seen::Files(files) => {
                let bytes: u64 = files.iter().map(|(_, stamp, _)| stamp.bytes).sum();
                let shown: Vec<Value> = files.iter().take(shown).map(file_report).collect();
                json!({ "kind": "file", "count": files.len(), "bytes": bytes, "files": shown })
            }
        };
        json!({ "step": self.step, "signal": self.signal, "seconds": self.seconds, "proof": proof })
    }
}

fn file_report((path, stamp, sealed): &(PathBuf, Stamp, Sealed)) -> Value {
    let mut report =
        json!({ "path": path.to_string_lossy(), "bytes": stamp.bytes, "synced": sealed.synced == Some(true) });
    if let Some(hash) = &sealed.sha256 {
        report["sha256"] = json!(hash);
    }
    if let Some(trouble) = &sealed.trouble {
        report["trouble"] = json!(trouble);
    }
    report
}

/// What is looked at while waiting.
enum Watch<'a> {
    Exit,
    File(FileWatch<'a>),
    Line(LineWatch<'a>),
}

/// What a look brought.
enum Looked {
    Nothing,
    Exit,
    Files(Files),
    Line(String),
}

impl Watch<'_> {
    fn look(&mut self, processes: &[Pinned]) -> Looked {
        match self {
            Self::Exit if processes.iter().all(Pinned::has_ended) => Looked::Exit,
            Self::Exit => Looked::Nothing,
            Self::File(watch) => watch.look().map_or(Looked::Nothing, Looked::Files),
            Self::Line(watch) => watch.look().map_or(Looked::Nothing, Looked::Line),
        }
    }

    /// Whether something can still come of it although all processes have ended.
    fn is_promising(&self) -> bool {
        matches!(self, Self::File(watch) if watch.is_promising())
    }

    fn waiting_for(&self, processes: &[Pinned]) -> String {
        match self {
            Self::Exit => {
                let left: Vec<String> = processes.iter().filter(|p| !p.has_ended()).map(Pinned::shown).collect();
                format!("the end of {}", left.iter().take(5).cloned().collect::<Vec<_>>().join(", "))
            }
            Self::File(watch) => watch.waiting_for(),
            Self::Line(watch) => watch.waiting_for(),
        }
    }
}

/// Sends the signal and waits for its proof.
///
/// # Errors
/// Nobody could be signalled, they ended without the proof, the time was over first, or the call was cancelled.
pub(crate) fn carry_out(
    step: &'static str,
    act: &Act,
    processes: &[Pinned],
    sealer: &Sealer,
    clock: &Clock,
) -> Result<Done, Error> {
    clock.go_on("its turn")?;
    let mut watch = match &act.proof {
        Proof::Exit => Watch::Exit,
        Proof::File(wanted) => Watch::File(FileWatch::begin(wanted)),
        Proof::Line(path, regex) => Watch::Line(LineWatch::begin(path, regex)),
    };
    let begun = Instant::now();
    if matches!(watch, Watch::Exit) && processes.iter().all(Pinned::has_ended) {
        // One that saved itself and ended need not be told to end.
        return Ok(Done { step, signal: act.signal_name, seconds: 0.0, seen: Seen::Exit });
    }
    send(act.signal, act.signal_name, processes)?;
    let seen = loop {
        // Before the look: what was written before the end must be seen by it.
        let all_have_ended = processes.iter().all(Pinned::has_ended);
        match watch.look(processes) {
            Looked::Exit => break Seen::Exit,
            Looked::Line(line) => break Seen::Line(line),
            Looked::Files(files) => {
                if let Some(sealed) = seal(&act.proof, files, sealer, clock) {
                    break Seen::Files(sealed);
                }
            }
            Looked::Nothing if all_have_ended && !watch.is_promising() => {
                let text = format!("ended after {}, without {}", act.signal_name, watch.waiting_for(processes));
                return Err(Error::new(text).code(Code::State));
            }
            Looked::Nothing => {}
        }
        clock.go_on(&watch.waiting_for(processes))?;
        clock.pause();
    };
    if let Seen::Files(files) = &seen
        && let Some((path, _, sealed)) = files.iter().find(|(_, _, sealed)| sealed.synced == Some(false))
    {
        let trouble = sealed.trouble.as_deref().unwrap_or_default();
        return Err(Error::new(format!("{} does not reach the disk: {trouble}", path.display())).code(Code::Io));
    }
    let seconds = (begun.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    Ok(Done { step, signal: act.signal_name, seconds, seen })
}

/// Sends a signal to all who are still there.
///
/// # Errors
/// One may not be signalled, or none is there.
pub(crate) fn send(signal: Signal, name: &str, processes: &[Pinned]) -> Result<(), Error> {
    let mut reached = 0;
    for process in processes {
        match process.signal(signal) {
            Ok(is_there) => reached += usize::from(is_there),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let text = format!(
                    "{} may not be signalled: run the daemon as the same user or as root, or give it CAP_KILL",
                    process.shown()
                );
                return Err(Error::new(text).code(Code::Denied));
            }
            Err(error) => {
                return Err(Error::from(error).context(format_args!("send {name} to {}", process.shown())));
            }
        }
    }
    if reached == 0 {
        return Err(Error::new(format!("ended before {name} could be sent")).code(Code::State));
    }
    Ok(())
}

/// Secures complete files; None when one changed meanwhile, so that it was not complete.
fn seal(proof: &Proof, files: Files, sealer: &Sealer, clock: &Clock) -> Option<Vec<(PathBuf, Stamp, Sealed)>> {
    let Proof::File(wanted) = proof else { return None };
    let wish = Wish { sync: wanted.sync, sha256: wanted.sha256 };
    let sealed = sealer.seal(files.keys().cloned().collect(), wish, clock);
    let is_as_it_was = files.iter().all(|(path, stamp)| Stamp::of(path) == Some(*stamp));
    let all = files.into_iter().zip(sealed).map(|((path, stamp), sealed)| (path, stamp, sealed));
    is_as_it_was.then(|| all.collect())
}
