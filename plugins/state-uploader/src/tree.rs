//! What there is to upload.
//!
//! Inputs: sources, patterns to leave out. Outputs: files, newest first, and links that stay inside their directory. Must
//! never follow a link, nor name a file that is none: devices and pipes would hold the reader.

use crate::config::{Settings, Source};
use glob::{MatchOptions, Pattern};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use walkdir::WalkDir;

/// Files beyond this are left out, oldest first.
const MAX_FILES: usize = 100_000;

/// By what a file that was uploaded is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) bytes: u64,
    /// Since 1970, nanoseconds.
    pub(crate) modified_ns: i64,
    pub(crate) inode: u64,
}

impl Stamp {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let modified_ns = metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
        Self { bytes: metadata.len(), modified_ns, inode: metadata.ino() }
    }
}

/// A file to upload.
#[derive(Clone, Debug)]
pub(crate) struct FileAt {
    /// An open directory, from which `path` leads to it.
    pub(crate) root: Arc<File>,
    pub(crate) path: PathBuf,
    /// Below the prefix: name of the source, then its path.
    pub(crate) name: String,
    pub(crate) stamp: Stamp,
    pub(crate) mode: u32,
}

/// A link to something in the same directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) target: String,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Newest first.
    pub(crate) files: Vec<FileAt>,
    pub(crate) links: Vec<Link>,
    /// Name and reason.
    pub(crate) skipped: Vec<(String, String)>,
}

impl Found {
    fn skip(&mut self, name: impl Into<String>, reason: impl Into<String>) {
        self.skipped.push((name.into(), reason.into()));
    }
}

/// Looks for it. May take long: `stop` ends it.
///
/// # Errors
/// A source that must be there cannot be read; or it was stopped.
pub(crate) fn look(settings: &Settings, stop: &AtomicBool) -> io::Result<Found> {
    let mut found = Found::default();
    for source in &settings.sources {
        match look_into(source, &settings.exclude, stop, &mut found) {
            Ok(()) => {}
            Err(error) if source.is_optional && error.kind() == io::ErrorKind::NotFound => {
                found.skip(&source.name, "is not there");
            }
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", source.path.display()))),
        }
    }
    found.files.sort_by(|a, b| b.stamp.modified_ns.cmp(&a.stamp.modified_ns).then_with(|| a.name.cmp(&b.name)));
    for file in found.files.split_off(MAX_FILES.min(found.files.len())) {
        found.skip(file.name, format!("more than {MAX_FILES} files are newer"));
    }
    Ok(found)
}

fn look_into(source: &Source, exclude: &[Pattern], stop: &AtomicBool, found: &mut Found) -> io::Result<()> {
    // The operator may name a link; what is below it is another matter.
    let path = fs::canonicalize(&source.path)?;
    let metadata = fs::symlink_metadata(&path)?;
    if metadata.is_file() {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        let root = Arc::new(File::open(parent)?);
        found.files.push(file_at(&root, PathBuf::from(name), source.name.clone(), &metadata));
        return Ok(());
    }
    if !metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is neither a directory nor a file"));
    }
    let root = Arc::new(File::open(&path)?);
    let walk = WalkDir::new(&path).min_depth(1).follow_links(false).into_iter();
    for entry in walk.filter_entry(|entry| !is_excluded(exclude, below(&path, entry.path()))) {
        if stop.load(Ordering::Acquire) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match entry {
            Ok(entry) => take(&root, &path, source, &entry, found),
            // Gone since its directory was read: there is nothing to save.
            Err(error) if error.io_error().is_some_and(|e| e.kind() == io::ErrorKind::NotFound) => {}
            Err(error) => {
                let at = error.path().map_or_else(|| source.path.clone(), Path::to_owned);
                let reason = error.into_io_error().map_or_else(|| "a loop".to_owned(), |error| error.to_string());
                found.skip(format!("{}/{}", source.name, below(&path, &at).display()), reason);
            }
        }
    }
    Ok(())
}

fn take(root: &Arc<File>, top: &Path, source: &Source, entry: &walkdir::DirEntry, found: &mut Found) {
    let path = below(top, entry.path());
    let kind = entry.file_type();
    if kind.is_dir() {
        return;
    }
    let Some(text) = path.to_str() else {
        found.skip(format!("{}/{}", source.name, path.display()), "its name is not UTF-8");
        return;
    };
    let name = format!("{}/{text}", source.name);
    if kind.is_symlink() {
        match inside(path, entry.path()) {
            Some(target) => found.links.push(Link { name, target }),
            None => found.skip(name, "a link out of the directory"),
        }
    } else if kind.is_file() {
        match entry.metadata() {
            Ok(metadata) => found.files.push(file_at(root, path.to_owned(), name, &metadata)),
            Err(error) if error.io_error().is_some_and(|e| e.kind() == io::ErrorKind::NotFound) => {}
            Err(error) => found.skip(name, error.to_string()),
        }
    } else {
        found.skip(name, "neither a file nor a directory");
    }
}

fn file_at(root: &Arc<File>, path: PathBuf, name: String, metadata: &Metadata) -> FileAt {
    FileAt { root: Arc::clone(root), path, name, stamp: Stamp::of(metadata), mode: metadata.mode() & 0o7777 }
}

fn below<'p>(top: &Path, path: &'p Path) -> &'p Path {
    path.strip_prefix(top).unwrap_or(path)
}

fn is_excluded(exclude: &[Pattern], path: &Path) -> bool {
    // A star stands for what is between two slashes, as in a shell.
    let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
    exclude.iter().any(|pattern| {
        let name = path.file_name().map(Path::new).unwrap_or(path);
        let what = if pattern.as_str().contains('/') { path } else { name };
        pattern.matches_path_with(what, options)
    })
}

/// Where a link leads, as it is written, if that is in the same directory.
fn inside(path: &Path, link: &Path) -> Option<String> {
    let target = fs::read_link(link).ok()?;
    let mut depth = path.components().count().checked_sub(1)?;
    for part in target.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::ParentDir => depth = depth.checked_sub(1)?,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    target.to_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::time::{Duration, SystemTime};

    fn settings(sources: &[&Path], exclude: &[&str]) -> Settings {
        let source = |path: &&Path| Source {
            path: (*path).to_owned(),
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            is_optional: false,
        };
        Settings {
            sources: sources.iter().map(source).collect(),
            exclude: exclude.iter().map(|text| Pattern::new(text).unwrap()).collect(),
            at_once: 1,
            part_bytes: 1,
            bandwidth: None,
        }
    }

    fn write(path: &Path, age: u64) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
        let time = SystemTime::now() - Duration::from_secs(age);
        File::open(path).unwrap().set_modified(time).unwrap();
    }

    fn names(found: &Found) -> Vec<&str> {
        found.files.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn files_come_newest_first_and_patterns_leave_out() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("app");
        for (name, age) in [("a", 30), ("b/c", 10), ("b/d.tmp", 5), ("cache/e", 1), ("b/cache2/f", 20), ("x/y/z", 40)] {
            write(&top.join(name), age);
        }
        let run = AtomicBool::new(false);
        let found = look(&settings(&[&top], &["*.tmp", "cache", "x/*/z"]), &run).unwrap();
        assert_eq!(names(&found), ["app/b/c", "app/b/cache2/f", "app/a"]);
        let file = dir.path().join("app/a");
        assert_eq!(names(&look(&settings(&[&file], &[]), &run).unwrap()), ["a"]);
        run.store(true, Ordering::Release);
        assert!(look(&settings(&[&top], &[]), &run).is_err());
    }

    #[test]
    fn links_are_noted_and_never_followed() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("app");
        write(&top.join("sub/step-1"), 1);
        write(&dir.path().join("secret"), 1);
        symlink("step-1", top.join("sub/latest")).unwrap();
        symlink("../sub", top.join("sub/loop")).unwrap();
        symlink("../../secret", top.join("sub/out")).unwrap();
        symlink(dir.path().join("secret"), top.join("absolute")).unwrap();
        let found = look(&settings(&[&top], &[]), &AtomicBool::new(false)).unwrap();
        assert_eq!(names(&found), ["app/sub/step-1"]);
        let mut links: Vec<&str> = found.links.iter().map(|link| link.name.as_str()).collect();
        links.sort_unstable();
        assert_eq!(links, ["app/sub/latest", "app/sub/loop"]);
        let mut skipped: Vec<&str> = found.skipped.iter().map(|(name, _)| name.as_str()).collect();
        skipped.sort_unstable();
        assert_eq!(skipped, ["app/absolute", "app/sub/out"]);
    }

    #[test]
    fn pipes_are_skipped_and_a_source_that_is_not_there_is_an_error_unless_it_may_be_missing() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let run = AtomicBool::new(false);
        let found = look(&settings(&[dir.path()], &[]), &run).unwrap();
        assert!(found.files.is_empty() && found.skipped.len() == 1);
        let gone = dir.path().join("gone");
        let mut settings = settings(&[&gone], &[]);
        assert_eq!(look(&settings, &run).unwrap_err().kind(), io::ErrorKind::NotFound);
        settings.sources[0].is_optional = true;
        assert_eq!(look(&settings, &run).unwrap().skipped, [("gone".to_owned(), "is not there".to_owned())]);
    }
}
