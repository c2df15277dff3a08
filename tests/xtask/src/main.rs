//! `xtask generate` writes every generated file of the repository; `xtask check` compares the
//! committed ones with fresh ones and names those that differ. Inputs: the sources. Outputs: files,
//! exit status 1 when stale. Must never touch a file that is not generated.
#![allow(clippy::print_stdout, clippy::exit)]

mod headers;

use anyhow::{Context, Result, bail};
use cloudsnooze_abi::{SNOOZE_ABI_MAJOR, SNOOZE_ABI_MINOR, surface};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn main() -> Result<()> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let fresh = fresh(&root)?;
    match std::env::args().nth(1).as_deref() {
        Some("generate") => write(&root, &fresh),
        Some("check") => check(&root, &fresh),
        _ => bail!("usage: xtask generate | check"),
    }
}

/// Every generated file by its path below the repository.
fn fresh(root: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = headers::headers(root)?;
    files.insert(format!("abi/surface/{SNOOZE_ABI_MAJOR}.{SNOOZE_ABI_MINOR}.txt"), surface::surface());
    files.insert("abi/src/digest.rs".into(), headers::digest_source(root)?);
    Ok(files)
}

fn write(root: &Path, fresh: &BTreeMap<String, String>) -> Result<()> {
    for (path, text) in fresh {
        let full = root.join(path);
        if std::fs::read_to_string(&full).ok().as_ref() != Some(text) {
            if let Some(parent) = full.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(&full, text).with_context(|| full.display().to_string())?;
            println!("wrote {path}");
        }
    }
    Ok(())
}

fn check(root: &Path, fresh: &BTreeMap<String, String>) -> Result<()> {
    let stale: Vec<&str> = fresh
        .iter()
        .filter(|(path, text)| std::fs::read_to_string(root.join(path)).ok().as_ref() != Some(text))
        .map(|(path, _)| path.as_str())
        .collect();
    if stale.is_empty() {
        println!("{} generated files are fresh", fresh.len());
        return Ok(());
    }
    bail!("stale generated files (run `make generate` and commit): {}", stale.join(", "))
}
