//! Which file a plugin's name means: `NAME.so`, `libNAME.so` with `-` as `_`, or `NAME.plugin.json`, in
//! the first directory that has one.
//!
//! Inputs: a name, directories in order. Outputs: a path and its kind. Must never open a file.

use super::refusal::Refusal;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How a plugin is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A shared library in this process.
    Native,
    /// A process of its own, spoken to over its standard input and output.
    External,
}

/// A plugin file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The name.
    pub name: String,
    /// The library, or the manifest.
    pub path: PathBuf,
    /// How it is run.
    pub kind: Kind,
}

/// The plugins' directory of the installation that this was built for, where the one who built it said so: `LIBDIR` of
/// `make install` is the same.
const BUILT_FOR: Option<&str> = option_env!("CLOUDSNOOZE_PLUGIN_DIR");

/// Where plugins are looked for when the configuration names no directories: the directory that this was built for, those
/// of packages (`/usr/lib/cloudsnooze/plugins` has those that are the same on every architecture), those of a local
/// installation, one beside the program's prefix, and, for a build that is not installed, the program's own directory.
pub fn default_directories() -> Vec<PathBuf> {
    let mut directories = Vec::new();
    let program = std::env::current_exe().ok().and_then(|p| p.canonicalize().ok());
    if let Some(directory) = program.as_deref().and_then(Path::parent) {
        // Cargo marks its output directories with this file; an installed program has none beside it.
        if directory.join(".cargo-lock").exists() {
            directories.push(directory.to_owned());
        }
        if let Some(prefix) = directory.parent().filter(|p| !p.starts_with("/usr")) {
            directories.push(prefix.join("lib/cloudsnooze/plugins"));
        }
    }
    directories.extend(BUILT_FOR.filter(|path| path.starts_with('/')).map(PathBuf::from));
    let arch = if cfg!(target_arch = "aarch64") { "aarch64-linux-gnu" } else { "x86_64-linux-gnu" };
    directories.push(format!("/usr/lib/{arch}/cloudsnooze/plugins").into());
    directories.push("/usr/lib64/cloudsnooze/plugins".into());
    directories.push("/usr/lib/cloudsnooze/plugins".into());
    directories.push("/usr/local/lib/cloudsnooze/plugins".into());
    let mut known = BTreeSet::new();
    directories.retain(|directory| known.insert(directory.clone()));
    directories
}

/// Finds a plugin by name.
///
/// # Errors
/// NOT_FOUND with the directories searched and the nearest name there is.
pub fn find(name: &str, directories: &[PathBuf]) -> Result<Found, Refusal> {
    for directory in directories {
        for (file, kind) in file_names(name) {
            let path = directory.join(file);
            if path.is_file() {
                return Ok(Found { name: name.to_owned(), path, kind });
            }
        }
    }
    let hint = list(directories)
        .into_iter()
        .map(|found| (strsim::damerau_levenshtein(&found.name, name), found.name))
        .filter(|(distance, _)| *distance <= 3)
        .min()
        .map(|(_, name)| name);
    let searched: Vec<String> = directories.iter().map(|d| d.display().to_string()).collect();
    Err(Refusal::NotFound { name: name.to_owned(), searched: searched.join(", "), hint })
}

/// The plugin that a file of this path would be, whatever directory it lies in.
pub fn of_path(path: &Path) -> Option<Found> {
    let file = path.file_name()?.to_str()?;
    let (name, kind) = plugin_name(file)?;
    Some(Found { name, path: path.to_owned(), kind })
}

/// Every plugin file in the directories, by name; the first directory that has a name wins. Files that
/// are libraries but no plugins are listed too: only loading can tell.
pub fn list(directories: &[PathBuf]) -> Vec<Found> {
    let mut found = BTreeMap::new();
    for directory in directories {
        let Ok(entries) = directory.read_dir() else { continue };
        for path in entries.flatten().map(|e| e.path()).filter(|p| p.is_file()) {
            if let Some(plugin) = of_path(&path) {
                found.entry(plugin.name.clone()).or_insert(plugin);
            }
        }
    }
    found.into_values().collect()
}

fn file_names(name: &str) -> [(String, Kind); 3] {
    [
        (format!("{name}.so"), Kind::Native),
        (format!("lib{}.so", name.replace('-', "_")), Kind::Native),
        (format!("{name}.plugin.json"), Kind::External),
    ]
}

fn plugin_name(file: &str) -> Option<(String, Kind)> {
    if let Some(name) = file.strip_suffix(".plugin.json") {
        return Some((name.to_owned(), Kind::External));
    }
    let stem = file.strip_suffix(".so")?;
    let name = stem.strip_prefix("lib").map_or_else(|| stem.to_owned(), |rest| rest.replace('_', "-"));
    Some((name, Kind::Native))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_that_it_was_built_for_is_searched_and_none_twice() {
        let directories = default_directories();
        let package = Path::new("/usr/lib").join(format!("{}-linux-gnu/cloudsnooze/plugins", std::env::consts::ARCH));
        for expected in [package.as_path(), Path::new("/usr/lib64/cloudsnooze/plugins")] {
            assert!(directories.iter().any(|directory| directory == expected), "{directories:?}");
        }
        assert!(BUILT_FOR.is_none_or(|path| directories.contains(&PathBuf::from(path))), "{directories:?}");
        let once: BTreeSet<&PathBuf> = directories.iter().collect();
        assert_eq!(once.len(), directories.len(), "{directories:?}");
    }

    #[test]
    fn names_map_to_files_both_ways_and_a_typo_gets_a_hint() {
        let dir = tempfile::tempdir().expect("tempdir");
        let dirs = [dir.path().to_owned()];
        for file in ["libmysql_flusher.so", "minimal.so", "app.plugin.json", "README.md"] {
            std::fs::write(dir.path().join(file), "").expect("written");
        }
        assert_eq!(find("mysql-flusher", &dirs).expect("found").path, dir.path().join("libmysql_flusher.so"));
        assert_eq!(find("app", &dirs).expect("found").kind, Kind::External);
        let names: Vec<String> = list(&dirs).into_iter().map(|f| f.name).collect();
        assert_eq!(names, ["app", "minimal", "mysql-flusher"]);
        let missing = find("mysql-flushr", &dirs).expect_err("missing").to_string();
        assert!(missing.contains("did you mean 'mysql-flusher'?"), "{missing}");
    }
}
