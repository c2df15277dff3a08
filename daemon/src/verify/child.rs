//! The process of one test.
//!
//! Inputs: a slate as standard input, with the case on it. Outputs: the finding on the slate. Must never outlive its
//! parent, leave a core file, or run static destructors of the plugin.

use super::case::Case;
use super::drive;
use super::{Body, Finding};
use crate::sys::slate::{Place, Slate};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;

/// Runs one dynamic test as the parent asked for it. The exit code only says whether a finding was written.
pub fn run(name: &str) -> i32 {
    // Without them a crash costs disk space and a killed parent leaves a process behind; neither spoils a finding.
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let Ok(slate) = Slate::adopt_stdin() else { return 2 };
    let slate: &'static Slate = Box::leak(Box::new(slate));
    drive::note_on(slate);
    drive::note("loading");
    let Ok(case) = serde_json::from_slice::<Case>(&slate.read(Place::Request)) else { return 2 };
    let finding = of(name, &case);
    let Ok(report) = serde_json::to_vec(&finding) else { return 2 };
    slate.write(Place::Report, &report);
    0
}

/// Runs one dynamic test in this process.
pub fn of(name: &str, case: &Case) -> Finding {
    let test = super::all().into_iter().find(|test| test.name == name);
    match test.map(|test| test.body) {
        Some(Body::Dynamic(body)) => body(case).unwrap_or_else(|early| early),
        Some(Body::Static(_)) | None => Finding::Skipped(format!("there is no dynamic test {name}")),
    }
}
