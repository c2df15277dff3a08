//! The public sets, read from their directory.
//!
//! Inputs: a path. Outputs: what the economy takes. Must never change a set.

use anyhow::{Context, Result};
use cloudsnooze_insight::economy::trace::Trace;
use std::path::{Path, PathBuf};

/// Traces of one machine.
const TRACES: &str = "skypilot-spot-traces/availability/1-node";

/// A file's text.
///
/// # Errors
/// It cannot be read.
pub fn text(data: &Path, file: &str) -> Result<String> {
    let path = data.join(file);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// All traces of a set, by name.
///
/// # Errors
/// One cannot be read, or there is none.
pub fn traces(data: &Path, set: &str) -> Result<Vec<Trace>> {
    let directory = data.join(TRACES).join(set);
    let entries = std::fs::read_dir(&directory).with_context(|| directory.display().to_string())?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    anyhow::ensure!(!paths.is_empty(), "no trace in {}", directory.display());
    let read = paths.iter().map(|path| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Ok(Trace::read(&name, &text, 1)?)
    });
    read.collect()
}

/// The 300 ticks at which the paper's runs begin.
///
/// # Errors
/// The file cannot be read.
pub fn published_starts(data: &Path) -> Result<Vec<usize>> {
    Ok(serde_json::from_str(&text(data, "skypilot-spot-traces/nsdi24-random-starts-2week.json")?)?)
}
