//! Every header, alone and together, in every dialect it promises, by every compiler there is, without one warning.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use abi_tests::{Compiler, Language, STRICT, compilers, folder, include, not_run, run, source, write};

const C_STANDARDS: [&str; 4] = ["c99", "c11", "c17", "c2x"];
const CPP_STANDARDS: [&str; 4] = ["c++11", "c++14", "c++17", "c++20"];
/// plugin.hpp asks for these.
const CPP_LAYER_STANDARDS: [&str; 2] = ["c++17", "c++20"];

/// The names of the headers with this ending, in order.
fn headers(ending: &str) -> BTreeSet<String> {
    std::fs::read_dir(include().join("cloudsnooze"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(ending))
        .collect()
}

/// Compiles the sources as strictly as it goes and panics with what the compiler said.
fn must_be_clean(compiler: Compiler, std: &str, sources: &[PathBuf]) {
    if !compiler.knows(std) {
        not_run(&format!("headers as {std} with {}", compiler.program), "this version does not know the standard");
        return;
    }
    let done = run(compiler.command().args([&format!("-std={std}"), "-fsyntax-only"]).args(STRICT).args(sources));
    assert!(done.success, "{}", done.all);
}

/// One source for each header alone and one for all of them, each included twice.
fn sources(headers: &BTreeSet<String>, folder: &Path) -> Vec<PathBuf> {
    let twice = |name: &String| format!("#include \"cloudsnooze/{name}\"\n#include \"cloudsnooze/{name}\"\n");
    let mut sources = Vec::new();
    for header in headers {
        let path = folder.join(format!("{}.c", header.replace('.', "_")));
        write(&path, &twice(header));
        sources.push(path);
    }
    // Backwards, so that no header lives by what the one before it included.
    for (name, text) in [
        ("forwards.c", headers.iter().map(twice).collect::<String>()),
        ("backwards.c", headers.iter().rev().map(twice).collect::<String>()),
    ] {
        write(&folder.join(name), &text);
        sources.push(folder.join(name));
    }
    sources
}

#[test]
fn every_header_is_clean_c_from_c99_on() {
    let folder = folder();
    let mut sources = sources(&headers(".h"), folder.path());
    assert!(sources.len() >= 10, "the headers were not found: {sources:?}");
    sources.push(source("inline_functions.c"));
    for compiler in compilers(Language::C) {
        for std in C_STANDARDS {
            must_be_clean(compiler, std, &sources);
        }
    }
}

#[test]
fn every_header_is_clean_cpp_from_cpp11_on() {
    let folder = folder();
    let mut sources = sources(&headers(".h"), folder.path());
    sources.push(source("inline_functions.c"));
    for compiler in compilers(Language::Cpp) {
        for std in CPP_STANDARDS {
            must_be_clean(compiler, std, &sources);
        }
    }
}

#[test]
fn the_cpp_layer_is_clean_cpp17_and_cpp20() {
    let folder = folder();
    let all: BTreeSet<String> = headers(".h").union(&headers(".hpp")).cloned().collect();
    let mut sources = sources(&all, folder.path());
    sources.extend([source("cpp_layer.cpp"), source("throws.cpp")]);
    for compiler in compilers(Language::Cpp) {
        for std in CPP_LAYER_STANDARDS {
            must_be_clean(compiler, std, &sources);
        }
    }
}

#[test]
fn the_umbrella_gives_every_c_header_but_json() {
    let text = std::fs::read_to_string(include().join("cloudsnooze/cloudsnooze.h")).unwrap();
    for header in headers(".h").iter().filter(|name| !["cloudsnooze.h", "json.h"].contains(&name.as_str())) {
        assert!(text.contains(&format!("#include \"cloudsnooze/{header}\"")), "cloudsnooze.h leaves out {header}");
    }
}

#[test]
fn a_changed_layout_does_not_compile() {
    let changed = folder();
    let target = changed.path().join("cloudsnooze");
    std::fs::create_dir(&target).unwrap();
    for header in headers(".h") {
        let text = std::fs::read_to_string(include().join("cloudsnooze").join(&header)).unwrap();
        write(&target.join(header), &text.replace("  uint32_t severity;", "  uint64_t severity;"));
    }
    let source = changed.path().join("plugin.c");
    write(&source, "#include \"cloudsnooze/cloudsnooze.h\"\n");
    for compiler in compilers(Language::C).into_iter().chain(compilers(Language::Cpp)) {
        let mut command = std::process::Command::new(compiler.program);
        let done = run(command.arg("-I").arg(changed.path()).arg("-fsyntax-only").arg(&source));
        assert!(!done.success, "the other layout was taken: {}", done.all);
        assert!(done.all.contains("snooze_layout_snooze_event"), "the complaint does not name it: {}", done.all);
    }
}

#[test]
fn a_wrong_format_argument_is_refused() {
    let folder = folder();
    let source = folder.path().join("format.c");
    write(
        &source,
        "#include \"cloudsnooze/cloudsnooze.h\"\nvoid f(const snooze_host *host);\n\
         void f(const snooze_host *host)\n{\n  snooze_logf(host, SNOOZE_LOG_INFO, \"%s\", 5);\n\
         snooze_failf(host, SNOOZE_E_IO, \"%d\", \"five\");\n}\n",
    );
    for compiler in compilers(Language::C).into_iter().chain(compilers(Language::Cpp)) {
        let done = run(compiler.command().args(["-fsyntax-only", "-Werror=format"]).arg(&source));
        assert!(!done.success, "{}", done.all);
        for line in ["format.c:5", "format.c:6"] {
            assert!(done.all.contains(line), "{line} was taken: {}", done.all);
        }
    }
}
