//! Looks at what QEMU has written, without QEMU.
//!
//! Inputs: files. Outputs: whether a saved state is whole, which snapshots a qcow2 image holds, hashes. Must never trust a
//! length that it reads in a file.

use crate::clock::Clock;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// What a saved state begins with, and the version of its form.
const BEGINNING: [u8; 8] = *b"QEVM\0\0\0\x03";
/// The end of a saved state, where the description of its parts begins; without one it is the first byte alone.
const END: u8 = 0;
const DESCRIPTION: u8 = 6;
/// The description is never longer.
const END_BYTES: u64 = 8 << 20;
/// What a qcow2 image begins with.
const QCOW2: [u8; 4] = *b"QFI\xfb";
/// More snapshots than any image has.
const SNAPSHOTS: u32 = 65_536;
const PIECE_BYTES: usize = 1 << 20;

/// Proves that a saved state is whole, and says by what.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn state_file(path: &Path) -> Result<&'static str, String> {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    let mut file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut beginning = [0; BEGINNING.len()];
    if length < BEGINNING.len() as u64 || file.read_exact(&mut beginning).is_err() || beginning != BEGINNING {
        return Err(format!("{} does not begin as a saved state of QEMU does", path.display()));
    }
    let tail = length.min(END_BYTES);
    file.seek(SeekFrom::Start(length - tail)).map_err(failed)?;
    let mut end = Vec::new();
    file.take(tail).read_to_end(&mut end).map_err(failed)?;
    end_of(&end).ok_or_else(|| format!("{} does not end as a saved state of QEMU does", path.display()))
}

/// How the end was recognised.
fn end_of(end: &[u8]) -> Option<&'static str> {
    match end.last()? {
        b'}' => {}
        &END => return Some("end mark"),
        _ => return None,
    }
    // The description's length stands before it: 0, 6, length, text to the very end.
    let is_here = |at: usize| {
        let mark = end.get(at..at + 6)?;
        let length = u32::from_be_bytes(mark.get(2..6)?.try_into().ok()?);
        let text = end.len().checked_sub(at + 6)?;
        let is_so = mark.first() == Some(&END) && mark.get(1) == Some(&DESCRIPTION);
        (is_so && usize::try_from(length) == Ok(text) && end.get(at + 6) == Some(&b'{')).then_some(())
    };
    let mut places = (0..end.len().saturating_sub(6)).rev();
    places.any(|at| is_here(at).is_some()).then_some("end mark and description")
}

/// A snapshot inside of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) name: String,
    /// Bytes of a machine's state; 0: of the disk only.
    pub(crate) state_bytes: u64,
}

/// The snapshots of a qcow2 image.
///
/// # Errors
/// It cannot be read, or is none.
pub(crate) fn snapshots(path: &Path) -> Result<Vec<Snapshot>, String> {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    let mut file = File::open(path).map_err(failed)?;
    let mut header = [0; 72];
    file.read_exact(&mut header).map_err(failed)?;
    if header.get(..4) != Some(&QCOW2) {
        return Err(format!("{} is no qcow2 image", path.display()));
    }
    let count = number(&header, 60, 4);
    let count = u32::try_from(count).ok().filter(|count| *count <= SNAPSHOTS);
    let count = count.ok_or_else(|| format!("{} holds too many snapshots", path.display()))?;
    file.seek(SeekFrom::Start(number(&header, 64, 8))).map_err(failed)?;
    let mut reader = io::BufReader::new(file);
    (0..count).map(|_| entry(&mut reader).map_err(failed)).collect()
}

/// One entry of the snapshot table: 40 bytes, the extra data, identifier and name, filled up to 8 bytes.
fn entry(reader: &mut impl Read) -> io::Result<Snapshot> {
    let mut head = [0; 40];
    reader.read_exact(&mut head)?;
    let length = |at: usize, bytes: usize| usize::try_from(number(&head, at, bytes)).unwrap_or(usize::MAX);
    let (id, name, extra) = (length(12, 2), length(14, 2), length(36, 4));
    if extra > 4096 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an entry of the snapshot table is too long"));
    }
    let mut rest = vec![0; extra + id + name + (40 + extra + id + name).next_multiple_of(8) - (40 + extra + id + name)];
    reader.read_exact(&mut rest)?;
    let small = number(&head, 32, 4);
    // Images of version 3 repeat the size where it may be larger.
    let state_bytes = if extra >= 8 { number(&rest, 0, 8) } else { small };
    let name = rest.get(extra + id..extra + id + name).unwrap_or_default();
    Ok(Snapshot { name: String::from_utf8_lossy(name).into_owned(), state_bytes })
}

/// A number of so many bytes, the first the greatest.
fn number(bytes: &[u8], at: usize, count: usize) -> u64 {
    bytes.iter().skip(at).take(count).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The hash of a file; None when there was no time for it.
///
/// # Errors
/// It cannot be read.
pub(crate) fn sha256(path: &Path, clock: &Clock) -> io::Result<Option<String>> {
    let (mut file, mut hash, mut piece) = (File::open(path)?, Sha256::new(), vec![0; PIECE_BYTES]);
    loop {
        if clock.go_on("a hash").is_err() {
            return Ok(None);
        }
        let count = file.read(&mut piece)?;
        if count == 0 {
            break;
        }
        hash.update(piece.get(..count).unwrap_or_default());
    }
    Ok(Some(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn judged(bytes: &[u8]) -> Result<&'static str, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        std::fs::write(&path, bytes).unwrap();
        state_file(&path)
            .map_err(|error| error.rsplit_once(" does not ").map_or(error.clone(), |(_, end)| end.to_owned()))
    }

    fn state(description: &str) -> Vec<u8> {
        let mut bytes = BEGINNING.to_vec();
        bytes.extend([7; 5000]);
        bytes.extend([END, DESCRIPTION]);
        bytes.extend(u32::try_from(description.len()).unwrap().to_be_bytes());
        bytes.extend(description.as_bytes());
        bytes
    }

    #[test]
    fn a_state_is_whole_only_from_its_first_byte_to_its_last() {
        let whole = state(r#"{"page_size": 4096, "devices": []}"#);
        assert_eq!(judged(&whole), Ok("end mark and description"));
        for cut in [1, 2, 40, 4000] {
            assert_eq!(
                judged(&whole[..whole.len() - cut]),
                Err("end as a saved state of QEMU does".to_owned()),
                "{cut}"
            );
        }
        let mut longer = whole.clone();
        longer.push(b'}');
        assert!(judged(&longer).is_err(), "something was appended");
        let mut other = whole;
        other[0] = b'X';
        assert_eq!(judged(&other), Err("begin as a saved state of QEMU does".to_owned()));
        assert_eq!(judged(b""), Err("begin as a saved state of QEMU does".to_owned()));
        let mut bare = BEGINNING.to_vec();
        bare.extend([7, END]);
        assert_eq!(judged(&bare), Ok("end mark"), "a machine type that leaves the description out");
    }

    #[test]
    fn the_snapshots_of_an_image_are_read_from_its_table() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.qcow2");
        let mut image = QCOW2.to_vec();
        image.resize(60, 0);
        image.extend(2_u32.to_be_bytes());
        image.extend(80_u64.to_be_bytes());
        image.resize(80, 0);
        let mut add = |name: &str, state: u32, extra: &[u8]| {
            let begun = image.len();
            image.extend([0; 12]);
            image.extend(1_u16.to_be_bytes());
            image.extend(u16::try_from(name.len()).unwrap().to_be_bytes());
            image.extend([0; 16]);
            image.extend(state.to_be_bytes());
            image.extend(u32::try_from(extra.len()).unwrap().to_be_bytes());
            image.extend(extra);
            image.extend(b"1");
            image.extend(name.as_bytes());
            let length = image.len() - begun;
            image.resize(begun + length.next_multiple_of(8), 0);
        };
        add("old", 77, &[]);
        add("snooze", 0, &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        std::fs::write(&path, &image).unwrap();
        let found = snapshots(&path).unwrap();
        let expected = [("old", 77), ("snooze", 1 << 32)];
        let found: Vec<_> = found.iter().map(|snapshot| (snapshot.name.as_str(), snapshot.state_bytes)).collect();
        assert_eq!(found, expected);
        std::fs::write(&path, &image[..image.len() - 8]).unwrap();
        assert!(snapshots(&path).is_err());
        std::fs::write(&path, [0; 100]).unwrap();
        assert!(snapshots(&path).unwrap_err().ends_with("is no qcow2 image"));
    }

    #[test]
    fn a_hash_is_taken_while_there_is_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "abc").unwrap();
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hash = |left: u64| sha256(&path, &Clock::apart(Duration::from_secs(left))).unwrap();
        assert_eq!((hash(30).as_deref(), hash(0)), (Some(known), None));
    }
}
