//! Reads one file in pieces, and takes its SHA-256 on the way.
//!
//! Inputs: a file below an open directory. Outputs: pieces, the hash, whether the file stayed as it was. Blocks: its methods
//! are for the runtime's threads for files. Must never leave the directory, nor wait for a pipe.

use crate::tree::{FileAt, Stamp};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};

/// Bytes between two looks at the file when only its hash is wanted.
const PIECE_BYTES: u64 = 1 << 20;

/// An open file.
pub(crate) struct Reader {
    file: File,
    hash: Sha256,
    /// As it was when it was opened.
    pub(crate) stamp: Stamp,
    at: u64,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
    pub(crate) stamp: Stamp,
    /// It is another now than when it was opened.
    pub(crate) is_changed: bool,
}

impl Reader {
    pub(crate) fn open(at: &FileAt) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let opened = match openat2(&*at.root, &at.path, flags, Mode::empty(), resolve) {
            // Kernels before 5.6: a directory on the way may have become a link; the file itself may not.
            Err(Errno::NOSYS) => openat(&*at.root, &at.path, flags, Mode::empty()),
            opened => opened,
        };
        let file = File::from(opened?);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "is no file any more"));
        }
        Ok(Self { file, hash: Sha256::new(), stamp: Stamp::of(&metadata), at: 0 })
    }

    /// The next bytes; none at the end. What was appended since it was opened is not read.
    pub(crate) fn next(&mut self, bytes: u64) -> io::Result<Vec<u8>> {
        let wanted = bytes.min(self.stamp.bytes.saturating_sub(self.at));
        let mut piece = Vec::with_capacity(usize::try_from(wanted).unwrap_or(0));
        (&mut self.file).take(wanted).read_to_end(&mut piece)?;
        self.hash.update(&piece);
        self.at += u64::try_from(piece.len()).unwrap_or(0);
        Ok(piece)
    }

    /// What it was.
    pub(crate) fn finish(self) -> io::Result<Content> {
        let now = Stamp::of(&self.file.metadata()?);
        let sha256 = self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Content { bytes: self.at, sha256, stamp: self.stamp, is_changed: now != self.stamp || self.at != now.bytes })
    }
}

/// Only the hash.
pub(crate) fn content(at: &FileAt) -> io::Result<Content> {
    let mut reader = Reader::open(at)?;
    while !reader.next(PIECE_BYTES)?.is_empty() {}
    reader.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    fn at(root: &Path, path: &str) -> FileAt {
        let stamp = Stamp { bytes: 0, modified_ns: 0, inode: 0 };
        let root = Arc::new(File::open(root).unwrap());
        FileAt { root, path: PathBuf::from(path), name: path.to_owned(), stamp, mode: 0 }
    }

    #[test]
    fn pieces_and_hash_are_those_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "abc").unwrap();
        let mut reader = Reader::open(&at(dir.path(), "a")).unwrap();
        assert_eq!((reader.next(2).unwrap(), reader.next(2).unwrap()), (b"ab".to_vec(), b"c".to_vec()));
        assert!(reader.next(2).unwrap().is_empty());
        let content = reader.finish().unwrap();
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((content.sha256.as_str(), content.bytes, content.is_changed), (known, 3, false));
        assert_eq!(super::content(&at(dir.path(), "a")).unwrap(), content);
    }

    #[test]
    fn a_file_that_grows_or_shrinks_while_it_is_read_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        for (before, after, read) in [("abc", "abcdef", 3), ("abc", "a", 1)] {
            std::fs::write(&path, before).unwrap();
            let mut reader = Reader::open(&at(dir.path(), "a")).unwrap();
            std::fs::write(&path, after).unwrap();
            assert_eq!(reader.next(100).unwrap().len(), read);
            assert!(reader.finish().unwrap().is_changed);
        }
    }

    #[test]
    fn what_has_become_a_link_a_pipe_or_a_way_out_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        std::fs::create_dir(&top).unwrap();
        std::fs::write(dir.path().join("secret"), "s").unwrap();
        symlink("../secret", top.join("link")).unwrap();
        symlink("..", top.join("up")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(top.join("pipe")).status().unwrap().success());
        for path in ["link", "up/secret", "../secret", "pipe"] {
            assert!(Reader::open(&at(&top, path)).is_err(), "{path}");
        }
    }
}
