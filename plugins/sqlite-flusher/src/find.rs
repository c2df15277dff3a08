//! Which databases there are.
//! Inputs: paths and patterns. Outputs: files, and paths where nothing is. Must never open one: see `files`.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Files that SQLite itself puts beside a database.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// A file that should be a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    /// It was named, rather than matched by a pattern: that it is no database is a mistake.
    pub(crate) is_named: bool,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    pub(crate) databases: Vec<Found>,
    /// Named, and not there.
    pub(crate) missing: Vec<PathBuf>,
}

/// Looks.
pub(crate) fn find(paths: &[String]) -> Findings {
    let mut findings = Findings::default();
    let mut seen = HashSet::new();
    for path in paths {
        let is_named = !path.contains(['*', '?', '[']);
        let files: Vec<PathBuf> = match (is_named, glob::glob(path)) {
            (false, Ok(matches)) => matches.flatten().filter(|path| !is_companion(path)).collect(),
            _ => vec![PathBuf::from(path)],
        };
        for path in files {
            match fs::metadata(&path) {
                // By what it is: a link to it and itself are one database.
                Ok(file) if file.is_file() && seen.insert((file.dev(), file.ino())) => {
                    findings.databases.push(Found { path: fs::canonicalize(&path).unwrap_or(path), is_named });
                }
                Ok(file) if file.is_file() => {}
                _ if is_named => findings.missing.push(path),
                _ => {}
            }
        }
    }
    findings
}

fn is_companion(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    COMPANIONS.iter().any(|end| name.ends_with(end.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_find_databases_once_each_and_named_ones_must_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let dir = fs::canonicalize(dir.path()).unwrap();
        for name in ["a.db", "a.db-wal", "a.db-shm", "b.db-journal", "b.db"] {
            fs::write(dir.join(name), "").unwrap();
        }
        fs::create_dir(dir.join("c.db")).unwrap();
        std::os::unix::fs::symlink(dir.join("a.db"), dir.join("z.db")).unwrap();
        let text = |name: &str| dir.join(name).to_string_lossy().into_owned();
        let findings = find(&[text("b.db"), text("*.db*"), text("none.db"), text("none*"), text("c.db")]);
        let found: Vec<_> = findings.databases.iter().map(|f| (f.path.clone(), f.is_named)).collect();
        assert_eq!(found, [(dir.join("b.db"), true), (dir.join("a.db"), false)]);
        assert_eq!(findings.missing, [dir.join("none.db"), dir.join("c.db")]);
    }
}
