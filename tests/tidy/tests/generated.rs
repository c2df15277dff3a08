//! Generated files are committed and equal to fresh ones. Each entry of [`GENERATED`] is a command that prints the fresh text.

use std::path::{Path, PathBuf};
use std::process::Command;

/// (what it is, the command that prints it when run at the top of the repository, the committed file).
const GENERATED: &[(&str, &[&str], &str)] = &[];

/// The top of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What is wrong with one generated file, `None` when it equals what `command` prints.
fn drift(root: &Path, what: &str, command: &[&str], file: &str) -> Option<String> {
    let [program, arguments @ ..] = command else { return Some(format!("{file}: {what}: no command is given")) };
    let output = match Command::new(program).args(arguments).current_dir(root).output() {
        Ok(output) => output,
        Err(error) => return Some(format!("{file}: {what}: can't run `{program}`: {error}")),
    };
    let line = command.join(" ");
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Some(format!("{file}: {what}: `{line}` failed ({}): {said}", output.status));
    }
    let committed = match std::fs::read(root.join(file)) {
        Ok(committed) => committed,
        Err(error) => return Some(format!("{file}: {what}: can't read it: {error} (run `{line} > {file}`)")),
    };
    if committed == output.stdout {
        return None;
    }
    let (old, new) = (String::from_utf8_lossy(&committed), String::from_utf8_lossy(&output.stdout));
    let at = old.lines().zip(new.lines()).take_while(|(old, new)| old == new).count();
    let show = |text: &str| text.lines().nth(at).unwrap_or("<end of file>").to_owned();
    let (old, new) = (show(&old), show(&new));
    Some(format!("{file}:{}: {what} differs: has `{old}`, fresh `{new}` (run `{line} > {file}`)", at + 1))
}

#[test]
fn generated_files_equal_fresh_ones() {
    if GENERATED.is_empty() {
        println!("NOT RUN: generated_files_equal_fresh_ones: no generated file is listed");
    }
    let root = root();
    let drifted: Vec<String> =
        GENERATED.iter().filter_map(|(what, command, file)| drift(&root, what, command, file)).collect();
    assert!(drifted.is_empty(), "\n{}", drifted.join("\n"));
}

#[test]
fn a_file_that_drifted_is_told_by_its_first_differing_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "one\ntwo\n").unwrap();
    let check = |fresh: &str, file: &str| drift(folder.path(), "list", &["printf", fresh], file);
    assert_eq!(check("one\ntwo\n", "a.txt"), None);
    let told = check("one\n2\n", "a.txt").unwrap();
    assert!(told.starts_with("a.txt:2: list differs: has `two`, fresh `2`"), "{told}");
    // A missing last line is drift as well.
    assert!(check("one\n", "a.txt").unwrap().starts_with("a.txt:2:"));
    assert!(check("one\n", "gone.txt").unwrap().contains("can't read it"));
}

#[test]
fn a_command_that_fails_is_told_rather_than_taken_for_no_text() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "").unwrap();
    let check = |command: &[&str]| drift(folder.path(), "list", command, "a.txt").unwrap();
    assert!(check(&["false"]).contains("failed"));
    assert!(check(&["./no-such-program"]).contains("can't run"));
    assert!(check(&[]).contains("no command"));
}
