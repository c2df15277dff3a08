//! Second opinions on the ABI, by programs that share nothing with this project but the headers: pahole on where every member
//! lies, abidiff on what changed since the dump that was committed for this minor version.
//!
//! A dump is made once, when a minor version is, from the library that [`dwarf::build`] builds with gcc:
//! `abidw --no-corpus-path --no-comp-dir-path --no-show-locs --no-elf-needed LIBRARY > tests/abi/dwarf/1.N.xml`.

use abi_tests::{Language, compilers, dwarf, folder, have, include, must, repository, run, write};
use cloudsnooze_abi::{SNOOZE_ABI_MAJOR, SNOOZE_ABI_MINOR};
use harness::require::{missing_means_skip, not_for_this_machine};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The golden surface of this minor version: lines such as `snooze_call 56:8` and `snooze_call.attempt @4 4:4 u32`.
fn golden() -> String {
    let path = repository().join(format!("abi/surface/{SNOOZE_ABI_MAJOR}.{SNOOZE_ABI_MINOR}.txt"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn is_missing(program: &str, package: &str) -> bool {
    !have(program)
        && missing_means_skip(&format!("a second opinion on the ABI: there is no {program} (package {package})"))
}

/// The lines of the golden surface without types: what a debugger can confirm.
fn golden_layout() -> Vec<String> {
    let layout = |line: &str| match line.split_once(" @") {
        Some((member, rest)) => {
            let (offset, rest) = rest.split_once(' ').unwrap();
            format!("{member} @{offset} {}", rest.split(':').next().unwrap())
        }
        None => line.split(':').next().unwrap().to_owned(),
    };
    golden().lines().filter(|line| !line.starts_with('#')).map(layout).collect()
}

/// The same lines from what pahole prints of the tables in `golden`'s order.
fn told_layout(printed: &str) -> Vec<String> {
    let structs = dwarf::structs(printed);
    let golden = golden();
    let names = golden
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains(" @"))
        .map(|line| line.split(' ').next().unwrap());
    let mut lines = Vec::new();
    for name in names {
        let (_, size, members) =
            structs.iter().find(|(known, ..)| known == name).unwrap_or_else(|| panic!("no {name} in {printed}"));
        lines.push(format!("{name} {size}"));
        lines.extend(members.iter().map(|(member, offset, size)| format!("{name}.{member} @{offset} {size}")));
    }
    lines
}

#[test]
fn every_member_lies_where_the_golden_surface_says_by_the_debugging_information_of_every_c_compiler() {
    if is_missing("pahole", "dwarves") {
        return;
    }
    let folder = folder();
    for compiler in compilers(Language::C) {
        let library = dwarf::build(compiler.program, &include(), folder.path());
        let printed = must(Command::new("pahole").arg(&library));
        assert_eq!(told_layout(&printed), golden_layout(), "{}", compiler.program);
    }
}

#[test]
fn a_header_with_another_layout_is_seen_by_the_witness() {
    if is_missing("pahole", "dwarves") {
        return;
    }
    let folder = folder();
    let broken = broken_headers(folder.path(), "event.h", "  uint32_t attempt;", "  uint16_t attempt;");
    let printed =
        must(Command::new("pahole").arg(dwarf::build(compilers(Language::C)[0].program, &broken, folder.path())));
    let (told, golden) = (told_layout(&printed), golden_layout());
    let differs: Vec<&String> = told.iter().filter(|line| !golden.contains(line)).collect();
    assert_eq!(differs, ["snooze_call.attempt @4 2"]);
}

/// A copy of the headers with one line of one of them changed, and the asserts that would stop the compiler left out.
fn broken_headers(folder: &Path, header: &str, from: &str, to: &str) -> PathBuf {
    let copy = folder.join(format!("broken-{}", folder.read_dir().unwrap().count()));
    std::fs::create_dir_all(copy.join("cloudsnooze")).unwrap();
    for entry in std::fs::read_dir(include().join("cloudsnooze")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut text = std::fs::read_to_string(&path).unwrap();
        if name == header {
            assert!(text.contains(from), "{header} has no line {from}");
            text = text.replacen(from, to, 1);
        }
        if name == "layout.h" {
            text = "#include \"cloudsnooze/plugin.h\"\n".into();
        }
        write(&copy.join("cloudsnooze").join(name), &text);
    }
    copy
}

/// What abidiff says of a library built against these headers, and whether it lets it pass.
fn abidiff(library: &Path) -> abi_tests::Finished {
    let dump = repository().join(format!("tests/abi/dwarf/{SNOOZE_ABI_MAJOR}.{SNOOZE_ABI_MINOR}.xml"));
    run(Command::new("abidiff").arg(dump).arg(library))
}

/// The committed dumps are of this machine type and of one compiler.
fn gate_is_missing() -> bool {
    if std::env::consts::ARCH != "x86_64" {
        not_for_this_machine("the ABI against its dump: the dumps are of x86_64");
        return true;
    }
    is_missing("abidiff", "abigail-tools") || is_missing("gcc", "gcc")
}

#[test]
fn the_headers_have_the_abi_that_was_committed_for_this_minor_version() {
    if gate_is_missing() {
        return;
    }
    let folder = folder();
    let done = abidiff(&dwarf::build("gcc", &include(), folder.path()));
    assert!(
        done.success,
        "the ABI of the headers is not the committed one; growth needs a new minor version: {}",
        done.all
    );
}

#[test]
fn headers_that_break_or_only_grow_within_a_minor_version_do_not_pass() {
    if gate_is_missing() {
        return;
    }
    let inserted = "  uint32_t oops;\n  uint32_t abi_minor;\n  uint32_t oops2;";
    let cases = [
        (
            "a parameter that no offset shows",
            "host.h",
            "  uint32_t (*log_enabled)(const struct snooze_host *host, uint32_t level);",
            "  uint32_t (*log_enabled)(const struct snooze_host *host, uint64_t level);",
        ),
        ("an inserted member", "host.h", "  uint32_t abi_minor;", inserted),
        ("a retyped member", "event.h", "  int64_t deadline_boot_ns;", "  uint64_t deadline_boot_ns;"),
        (
            "an appended member",
            "event.h",
            "  void *handler;\n} snooze_call;",
            "  void *handler;\n  void *more;\n} snooze_call;",
        ),
    ];
    let folder = folder();
    for (what, header, from, to) in cases {
        let broken = broken_headers(folder.path(), header, from, to);
        let done = abidiff(&dwarf::build("gcc", &broken, folder.path()));
        assert!(
            !done.success && done.output.contains("Variables changes summary: 0 Removed, 1 Changed"),
            "{what} passed: {}",
            done.all
        );
    }
}
