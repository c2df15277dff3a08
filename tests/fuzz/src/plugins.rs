//! What plugins can bring: libraries, manifests, and lines of a conversation.
//!
//! Promises: nothing of a library is believed that is not in its bytes; lines are the same however a pipe cuts them; what is
//! kept or shown of them is bounded.

use crate::MARK;
use cloudsnooze::host::delivery::RESULT_BYTES_MAX;
use cloudsnooze::host::external::{Manifest, lines, wire};
use cloudsnooze::host::quarantine::LastWords;
use cloudsnooze::host::{Refusal, peek::peek};
use cloudsnooze_abi as abi;
use serde_json::Value;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Longest line in the target: short, so that the engine reaches it.
const LINE_BYTES_MAX: usize = 256;
/// Longest text of an error that a plugin gives, characters.
const ERROR_CHARS_MAX: usize = 2_000;

/// What a plugin's process writes: the first byte says in what pieces it comes.
pub fn external(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else { return };
    let whole = cut(bytes, bytes.len().max(1));
    assert_eq!(whole, cut(bytes, usize::from(*piece).max(1)), "lines depend on how the pipe cuts them");
    for (is_whole, line) in whole {
        assert!(line.len() <= LINE_BYTES_MAX && (is_whole || line.len() == LINE_BYTES_MAX));
        understand(&line);
    }
    // And as one line: the limit above is far below the true one.
    understand(bytes);
}

fn cut(bytes: &[u8], piece: usize) -> Vec<(bool, Vec<u8>)> {
    let (mut lines, mut found) = (lines::Lines::new(LINE_BYTES_MAX), Vec::new());
    for chunk in bytes.chunks(piece) {
        let Ok(()) = lines.push::<Infallible>(chunk, |line| {
            found.push(match line {
                lines::Line::Whole(text) => (true, text.to_vec()),
                lines::Line::Cut(text) => (false, text.to_vec()),
            });
            Ok(())
        });
    }
    let rest = lines.take_rest();
    if !rest.is_empty() {
        found.push((true, rest));
    }
    found
}

fn understand(line: &[u8]) {
    let shown = wire::shown(line);
    assert!(shown.chars().count() <= 200 && !shown.contains(char::is_control), "{shown:?}");
    let reply = match wire::parse(line) {
        Ok(wire::Incoming::Reply(_, reply)) => reply,
        Ok(wire::Incoming::Progress(_, permille, _)) => {
            assert!(permille <= 1000);
            return;
        }
        Ok(_) => return,
        Err(text) => {
            assert!(text.chars().count() < 300 && !text.contains('\n'), "{text:?}");
            return;
        }
    };
    for answer in [Some(wire::handled(reply.clone())), wire::verified(reply.clone())].into_iter().flatten() {
        assert!(answer.error.is_none_or(|error| error.chars().count() <= ERROR_CHARS_MAX));
        let bytes = answer.result.map_or(0, |result| serde_json::to_vec(&result).map_or(0, |text| text.len()));
        assert!(bytes <= RESULT_BYTES_MAX, "a result of {bytes} bytes is kept");
    }
    if let Ok(initialized) = wire::initialized(reply) {
        assert!(initialized.subscriptions.len() <= 64);
    }
}

/// A manifest, in a directory that has the script it may name. Programs are looked for, none is run.
pub fn manifest(data: &[u8]) {
    static DIRECTORY: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = DIRECTORY.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("app.py"), "pass").expect("written");
        let path = directory.path().canonicalize().expect("there").join("app.plugin.json");
        (directory, path)
    });
    match Manifest::parse(path, data) {
        Ok(manifest) => {
            assert!(manifest.program().is_absolute() && manifest.name == "app");
            assert!(!manifest.command.is_empty() && !manifest.command.iter().any(|word| word.contains('\0')));
            assert!(manifest.startup_timeout_seconds > 0.0 && manifest.startup_timeout_seconds <= 600.0);
            assert!(!is_private(data) || !format!("{manifest:?}").contains(MARK), "shown: {manifest:?}");
        }
        Err(refused) => {
            let text = refused.to_string();
            assert!(!is_private(data) || !text.contains(MARK), "shown: {text}");
            let is_placed = !matches!(refused, Refusal::Manifest(_)) || text.contains(&path.display().to_string());
            assert!(is_placed, "no file: {text}");
        }
    }
}

/// Whether the mark stands in values of the environment and nowhere else.
fn is_private(manifest: &[u8]) -> bool {
    let count = |text: &[u8]| text.windows(MARK.len()).filter(|window| *window == MARK.as_bytes()).count();
    let document: Option<Value> = serde_json::from_slice(manifest).ok();
    let Some(Value::Object(env)) = document.as_ref().and_then(|document| document.get("env")) else { return false };
    let private: usize = env.values().map(|value| count(value.to_string().as_bytes())).sum();
    private > 0 && private == count(manifest)
}

/// The file of a library.
pub fn elf(data: &[u8]) {
    let Ok(head) = peek(data) else { return };
    assert_eq!(head.major, abi::SNOOZE_ABI_MAJOR);
    assert!((0..=abi::SNOOZE_ABI_MINOR).contains(&head.minor_required));
    let magic = abi::SNOOZE_ENTRY_MAGIC.to_le_bytes();
    let mut records = data.windows(64).filter(|window| window.starts_with(&magic));
    let says = |record: &[u8], at: usize| u16::from_le_bytes([record[at], record[at + 1]]);
    assert!(
        records.any(|record| (says(record, 8), says(record, 10), says(record, 12))
            == (head.major, head.minor_built, head.minor_required)),
        "no record in the file says {head:?}"
    );
}

/// What a process that was ended by a plugin left behind; the plugin could have written it too.
pub fn last_words(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Some(words) = LastWords::parse(text) else {
        assert!(!text.lines().any(|line| line == "end"), "not believed: {text:?}");
        return;
    };
    assert!(words.plugin().is_none_or(|name| !name.is_empty() && !name.contains('/')), "{words:?}");
    assert!(!words.sentence().contains('\n') && !words.sentence().is_empty());
}
