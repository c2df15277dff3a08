//! The project's generated files: how each is made, and which committed ones are stale.
//! Inputs: the sources of the repository. Outputs: texts by path. Must never touch a file that is not
//! generated.

mod config_page;
mod headers;
mod reference;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use cloudsnooze::{cli, config, supervise};
use cloudsnooze_abi::{SNOOZE_ABI_MAJOR, SNOOZE_ABI_MINOR, surface};
use std::collections::BTreeMap;
use std::path::Path;

/// Every generated file by its path below the repository.
///
/// # Errors
/// A source that cannot be read, or that cbindgen does not understand.
pub fn fresh(root: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = headers::headers(root)?;
    files.insert(format!("abi/surface/{SNOOZE_ABI_MAJOR}.{SNOOZE_ABI_MINOR}.txt"), surface::surface());
    files.insert("abi/extensions/source-1.txt".into(), surface::source_surface());
    files.insert("abi/src/digest.rs".into(), headers::digest_source(root)?);
    let schema = serde_json::to_string_pretty(&config::generated_json_schema())? + "\n";
    files.insert("daemon/dist/config.schema.json".into(), schema);
    files.insert("docs/PROMISES.md".into(), promises::page()?);
    for (name, text) in cli::man_pages() {
        files.insert(format!("daemon/dist/man/{name}"), text);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(supervise::Args::command()).section("8").render(&mut page)?;
    files.insert("daemon/dist/man/snoozed.8".into(), String::from_utf8(page)?);
    files.insert("daemon/dist/man/cloudsnooze.json.5".into(), config_page::page());
    for (shell, file) in [(Shell::Bash, "snooze.bash"), (Shell::Zsh, "_snooze"), (Shell::Fish, "snooze.fish")] {
        files.insert(format!("daemon/dist/completions/{file}"), cli::completions(shell));
    }
    files.extend(reference::pages(root)?);
    Ok(files)
}

/// The committed files that differ from fresh ones.
///
/// # Errors
/// As for [`fresh`].
pub fn stale(root: &Path) -> Result<Vec<String>> {
    Ok(differing(root, &fresh(root)?))
}

/// The files below `root` that differ from these texts or are missing.
pub fn differing(root: &Path, fresh: &BTreeMap<String, String>) -> Vec<String> {
    let differs =
        |(path, text): &(&String, &String)| std::fs::read_to_string(root.join(path)).ok().as_ref() != Some(*text);
    fresh.iter().filter(differs).map(|(path, _)| path.clone()).collect()
}

/// Writes the stale files; gives their paths.
///
/// # Errors
/// As for [`fresh`], and a file that cannot be written.
pub fn generate(root: &Path) -> Result<Vec<String>> {
    let fresh = fresh(root)?;
    let stale = differing(root, &fresh);
    for path in &stale {
        let full = root.join(path);
        if let Some(parent) = full.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&full, &fresh[path]).with_context(|| full.display().to_string())?;
    }
    Ok(stale)
}
