//! Finds and reads the repository's files: what git tracks plus what is new and not ignored.
//! Input: the top folder. Output: a [`Tree`] of every path and every text. It must never follow a symbolic link or
//! look into build output.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::Source;

/// Larger files are data, not something a person reads; they are listed but not read. In bytes.
const MAX_TEXT_BYTES: u64 = 4 << 20;

/// The repository as the rules see it.
pub struct Tree {
    /// Every file, binary ones too, from the top of the repository with `/` between the parts.
    pub paths: BTreeSet<String>,
    /// Every text file: valid UTF-8 without NUL bytes.
    pub sources: Vec<Source>,
}

impl Tree {
    /// A tree of exactly these files, for tests of rules.
    pub fn of(sources: Vec<Source>) -> Tree {
        Tree { paths: sources.iter().map(|source| source.path.clone()).collect(), sources }
    }

    /// Reads the repository whose top folder is `root`, asking git for the list, walking the folders where git has no answer
    /// (an unpacked release archive, a machine without git).
    ///
    /// # Errors
    /// Whatever reading a folder or file gives.
    pub fn load(root: &Path) -> io::Result<Tree> {
        let listed = match git_files(root) {
            Some(files) => files,
            None => walk(root)?,
        };
        let mut tree = Tree { paths: BTreeSet::new(), sources: Vec::new() };
        for path in listed {
            // A tracked file may be deleted in the work tree, and a link is judged where it points.
            let Ok(metadata) = root.join(&path).symlink_metadata() else { continue };
            if !metadata.is_file() {
                continue;
            }
            if metadata.len() <= MAX_TEXT_BYTES
                && let Ok(text) = String::from_utf8(std::fs::read(root.join(&path))?)
                && !text.contains('\0')
            {
                tree.sources.push(Source::new(path.clone(), text));
            }
            tree.paths.insert(path);
        }
        Ok(tree)
    }

    /// The names of the folders at the top of the repository.
    pub fn top_folders(&self) -> BTreeSet<&str> {
        self.paths.iter().filter_map(|path| path.split_once('/')).map(|(folder, _)| folder).collect()
    }
}

/// What git tracks plus what is untracked and not ignored; `None` when git is absent, refuses, or knows no file here.
fn git_files(root: &Path) -> Option<Vec<String>> {
    let output =
        Command::new("git").arg("-C").arg(root).args(["ls-files", "-co", "--exclude-standard", "-z"]).output().ok()?;
    if !output.status.success() {
        return None;
    }
    let listed = String::from_utf8_lossy(&output.stdout);
    let files: Vec<String> = listed.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    (!files.is_empty()).then_some(files)
}

/// Every file below `root` except in `.git` and in cargo's `target` folders.
///
/// # Errors
/// Whatever reading a folder gives.
pub fn walk(root: &Path) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            // A name that isn't UTF-8 can't be named in a report; git would quote it too.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let kind = entry.file_type()?;
            if kind.is_dir() && name != ".git" && name != "target" {
                folders.push(path);
            } else if kind.is_file() {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, bytes) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        folder
    }

    #[test]
    fn without_git_the_walk_leaves_out_build_output() {
        let folder =
            folder_with(&[("a/b.rs", b"//! x\n"), ("target/debug/x.rs", b""), (".git/config", b""), ("c.md", b"")]);
        assert_eq!(walk(folder.path()).unwrap(), ["a/b.rs", "c.md"]);
    }

    #[test]
    fn binary_files_are_listed_but_not_read_as_text() {
        let folder = folder_with(&[("a.md", b"text"), ("b.bin", b"\xff\xfe"), ("c.bin", b"a\0b")]);
        let tree = Tree::load(folder.path()).unwrap();
        assert_eq!(tree.paths.iter().collect::<Vec<_>>(), ["a.md", "b.bin", "c.bin"]);
        assert_eq!(tree.sources.len(), 1);
        assert_eq!(tree.sources[0].path, "a.md");
    }

    #[test]
    fn git_lists_new_files_and_leaves_out_ignored_ones() {
        let folder = folder_with(&[("kept.md", b"x"), ("ignored.log", b"x"), (".gitignore", b"*.log\n")]);
        let initialised = Command::new("git").arg("-C").arg(folder.path()).args(["init", "-q"]).status();
        if !initialised.is_ok_and(|status| status.success()) {
            println!("NOT RUN: git_lists_new_files_and_leaves_out_ignored_ones: git is not installed");
            return;
        }
        assert_eq!(git_files(folder.path()).unwrap(), [".gitignore", "kept.md"]);
    }

    #[test]
    fn top_folders_are_the_first_parts_of_paths() {
        let tree = Tree::of(vec![Source::new("abi/src/lib.rs", ""), Source::new("README.md", "")]);
        assert_eq!(tree.top_folders().into_iter().collect::<Vec<_>>(), ["abi"]);
    }
}
