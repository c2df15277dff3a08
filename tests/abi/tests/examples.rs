//! The examples build with make and with cmake from the headers alone, export one symbol with the right first bytes,
//! and do what they say with a host of any size.

use std::path::{Path, PathBuf};
use std::process::Command;

use abi_tests::{Compiler, Language, compilers, folder, have, include, must, not_run, repository, run, source};
use cloudsnooze_abi as abi;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use tempfile::TempDir;

const EXAMPLES: [(&str, Language); 4] =
    [("minimal", Language::C), ("cpp", Language::Cpp), ("template", Language::C), ("source", Language::C)];
const ENTRY: &str = "snooze_plugin_entry_v1";

fn example(name: &str) -> PathBuf {
    repository().join("c-examples").join(name)
}

/// Builds the example with its Makefile in a copy of its folder, so that nothing but the headers can be found.
fn make(name: &str, compiler: Compiler, to: &Path) -> PathBuf {
    let copy = to.join(format!("{name}-{}", compiler.program));
    must(Command::new("cp").arg("-r").arg(example(name)).arg(&copy));
    let variable = if compiler.language == Language::C { "CC" } else { "CXX" };
    must(
        Command::new("make")
            .arg("-C")
            .arg(&copy)
            .arg(format!("{variable}={}", compiler.program))
            .arg(format!("INCLUDE={}", include().canonicalize().unwrap().display()))
            .arg("CPPFLAGS=-Werror"),
    );
    copy.join(format!("{name}.so"))
}

fn symbols(library: &Path) -> Vec<String> {
    let output = must(Command::new("nm").args(["-D", "--defined-only", "--format=just-symbols"]).arg(library));
    output.lines().map(str::to_owned).collect()
}

/// The first 64 bytes of the entry record as they stand in the file, read without loading it.
fn entry_head(library: &Path) -> [u8; 64] {
    let bytes = std::fs::read(library).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let symbol = file.dynamic_symbols().find(|symbol| symbol.name() == Ok(ENTRY)).expect("the entry symbol");
    assert_eq!(symbol.size(), 112, "size of the entry record");
    let section = file.section_by_index(symbol.section_index().unwrap()).unwrap();
    // Read-only, or made so by the loader before any code runs.
    let name = section.name().unwrap();
    assert!(name.starts_with(".data.rel.ro") || name.starts_with(".rodata"), "the entry stands in {name}");
    section.data_range(symbol.address(), 64).unwrap().unwrap().try_into().unwrap()
}

fn check_library(library: &Path) {
    assert_eq!(symbols(library), [ENTRY], "exports of {}", library.display());
    let head = entry_head(library);
    let u64_at = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap());
    let u16_at = |at: usize| u16::from_le_bytes(head[at..at + 2].try_into().unwrap());
    assert_eq!(&head[..8], b"SNOOZEv1");
    assert_eq!(u64_at(0), abi::SNOOZE_ENTRY_MAGIC);
    assert_eq!((u16_at(8), u16_at(10)), (abi::SNOOZE_ABI_MAJOR, abi::SNOOZE_ABI_MINOR));
    assert_eq!((u16_at(12), u16_at(14)), (0, 64), "minor required, pointer bits");
    assert_eq!(u32::from_le_bytes(head[16..20].try_into().unwrap()), 112, "size of the entry record");
    assert_eq!(u64_at(24), abi::SNOOZE_ABI_DIGEST);
    assert_eq!(head[20..24], [0; 4], "flags");
    assert_eq!(head[32..], [0; 32], "reserved");
}

#[test]
fn examples_build_with_make_and_export_only_the_entry() {
    let folder = folder();
    for (name, language) in EXAMPLES {
        for compiler in compilers(language) {
            check_library(&make(name, compiler, folder.path()));
        }
    }
}

#[test]
fn make_install_and_clean_touch_what_they_say() {
    let folder = folder();
    for (name, language) in EXAMPLES {
        let library = make(name, compilers(language)[0], folder.path());
        let root = folder.path().join("root");
        let target = |goal: &str| {
            let mut command = Command::new("make");
            command.arg("-C").arg(library.parent().unwrap()).arg(goal);
            command.arg(format!("INCLUDE={}", include().canonicalize().unwrap().display()));
            command.arg(format!("DESTDIR={}", root.display()));
            must(&mut command);
        };
        target("install");
        assert!(root.join(format!("usr/local/lib/cloudsnooze/plugins/{name}.so")).is_file(), "{name}");
        target("clean");
        assert!(!library.exists(), "{name}");
    }
}

#[test]
fn examples_build_with_cmake_and_export_only_the_entry() {
    if !have("cmake") {
        not_run("examples_build_with_cmake_and_export_only_the_entry", "cmake is not installed");
        return;
    }
    let folder = folder();
    for (name, language) in EXAMPLES {
        for compiler in compilers(language) {
            let build = folder.path().join(format!("{name}-{}", compiler.program));
            let variable = if language == Language::C { "C" } else { "CXX" };
            let mut configure = Command::new("cmake");
            configure.arg("-S").arg(example(name)).arg("-B").arg(&build);
            configure.arg(format!("-DCMAKE_{variable}_COMPILER={}", compiler.program));
            configure.arg(format!("-DCMAKE_{variable}_FLAGS=-Werror"));
            must(&mut configure);
            must(Command::new("cmake").arg("--build").arg(&build));
            check_library(&build.join(format!("{name}.so")));
        }
    }
}

#[test]
fn the_entry_survives_section_garbage_collection_and_link_time_optimisation() {
    let folder = folder();
    for (name, language) in [("minimal.c", Language::C), ("cpp.cpp", Language::Cpp)] {
        let path = example(name.split('.').next().unwrap()).join(name);
        for compiler in compilers(language) {
            for flags in [&["-Wl,--gc-sections"][..], &["-Wl,--gc-sections", "-flto"]] {
                let library = folder.path().join("collected.so");
                let std = if language == Language::C { "-std=c99" } else { "-std=c++17" };
                let mut build = compiler.command();
                build.args([std, "-O2", "-fPIC", "-shared", "-fvisibility=hidden"]);
                build.args(["-ffunction-sections", "-fdata-sections"]).args(flags).arg(&path).arg("-o").arg(&library);
                let done = run(&mut build);
                if !done.success && flags.contains(&"-flto") {
                    not_run(&format!("-flto with {}", compiler.program), "its linker has no plugin for it");
                    continue;
                }
                assert!(done.success, "{}", done.all);
                assert!(symbols(&library).iter().any(|symbol| symbol == ENTRY), "{} {flags:?}", compiler.program);
            }
        }
    }
}

/// The tiny host of `c/host.c` with one library, and the file that the examples write to.
struct Stage {
    folder: TempDir,
    host: PathBuf,
}

impl Stage {
    fn new() -> Stage {
        let folder = folder();
        let host = folder.path().join("host");
        let compiler = compilers(Language::C)[0];
        let mut build = compiler.command();
        build.args(["-std=c99", "-Wall", "-Wextra", "-Werror"]).args(compiler.sanitizers());
        must(build.arg(source("host.c")).arg("-o").arg(&host).arg("-ldl"));
        Stage { folder, host }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("events.jsonl")
    }

    /// What the host prints with this library, table and configuration.
    fn run(&self, library: &Path, table: &str, config: &str) -> String {
        must(Command::new(&self.host).arg(library).arg(table).arg(config))
    }

    /// A configuration with the file's path, one letter of it as an escape.
    fn config(&self) -> String {
        format!(
            r#"{{"other":{{"file":"/no"}},"file":"{}","socket":"/no","acknowledgements":"/no"}}"#,
            self.file().display().to_string().replace("/events", "\\/\\u0065vents")
        )
    }
}

const HANDLED: &str = "\
create 0
activate 0
log 3 event 1 of severity 3, 29950 ms left
result 1 {\"lines\":1}
on_event 0
verify 0
log 3 event 1 of severity 3, 29950 ms left
error -6 cancelled before the line was written
on_event -6
end
";

fn line(plugin: &str) -> String {
    format!(
        "{{\"plugin\":\"{plugin}\",{}}}\n",
        concat!(
            r#""type":"cloud.spot.interrupt","id":"01980000-0000-7000-8000-000000000001","#,
            r#""source":"aws.ec2.metadata-service","severity":"urgent","provider":"aws","action":"terminate","#,
            r#""deadline":null,"instanceID":"i-0123456789abcdef0","#,
            r#""instanceType":"m5 \"large\" \\ / \b\f\n\r\t\u0001\u001f"#,
            "\u{7f} \u{e9}",
            r#"","zone":null,"region":"","noticeKind":null"#
        )
    )
}

#[test]
fn minimal_and_cpp_write_the_same_line_and_verify_it() {
    let stage = Stage::new();
    for (name, language) in [("minimal", Language::C), ("cpp", Language::Cpp)] {
        for compiler in compilers(language) {
            let library = make(name, compiler, stage.folder.path());
            for table in ["full", "large"] {
                let _ = std::fs::remove_file(stage.file());
                assert_eq!(stage.run(&library, table, &stage.config()), format!("class {name}\n{HANDLED}"));
                assert_eq!(std::fs::read_to_string(stage.file()).unwrap(), line(name), "{name} {table}");
            }
            // What stands in the file stays there.
            stage.run(&library, "full", &stage.config());
            assert_eq!(std::fs::read_to_string(stage.file()).unwrap(), line(name).repeat(2));
        }
    }
}

#[test]
fn examples_live_with_every_smaller_host_and_with_one_that_offers_nothing() {
    let stage = Stage::new();
    let full = size_of::<abi::snooze_host>();
    // 16 bytes hold the size, the minor and the context; each further function takes 8.
    let sizes = (16..full).step_by(8).map(|size| size.to_string()).chain(["null".to_owned()]);
    let tables: Vec<String> = sizes.collect();
    for (name, language) in EXAMPLES {
        let library = make(name, compilers(language)[0], stage.folder.path());
        for table in &tables {
            let _ = std::fs::remove_file(stage.file());
            let output = stage.run(&library, table, &stage.config());
            assert!(output.starts_with(&format!("class {name}\ncreate 0\n")), "{table}: {output}");
            assert!(output.contains("\nactivate 0\n") && output.ends_with("end\n"), "{table}: {output}");
            let writes = !["template", "source"].contains(&name);
            assert_eq!(stage.file().exists(), writes, "{name} {table}");
        }
    }
}

#[test]
fn a_configuration_without_a_usable_file_is_refused_with_words() {
    let stage = Stage::new();
    for (name, language) in [("minimal", Language::C), ("cpp", Language::Cpp)] {
        let library = make(name, compilers(language)[0], stage.folder.path());
        for config in ["", "{}", "[]", "{", r#"{"file":7}"#, r#"{"file":""}"#, r#"{"file":"/a\u0000b"}"#] {
            let output = stage.run(&library, "full", config);
            assert!(output.contains("\nerror -9 the configuration"), "{name} {config}: {output}");
            assert!(output.ends_with("\ncreate -9\nout untouched\n"), "{name} {config}: {output}");
        }
    }
}

#[test]
fn a_file_that_cannot_be_written_fails_with_its_name() {
    let stage = Stage::new();
    for (name, language) in [("minimal", Language::C), ("cpp", Language::Cpp)] {
        let library = make(name, compilers(language)[0], stage.folder.path());
        let output = stage.run(&library, "full", r#"{"file":"/nonexistent/folder/events"}"#);
        assert!(output.contains("/nonexistent/folder/events: No such file or directory\n"), "{name}: {output}");
        assert!(output.contains("\non_event -10\n"), "{name}: {output}");
        // A device that is always full takes the open and refuses the write.
        let output = stage.run(&library, "full", r#"{"file":"/dev/full"}"#);
        assert!(output.contains("/dev/full: No space left on device\n"), "{name}: {output}");
        assert!(output.contains("\non_event -10\n"), "{name}: {output}");
    }
}

#[test]
fn verify_denies_what_is_no_longer_in_the_file() {
    let stage = Stage::new();
    for (name, language) in [("minimal", Language::C), ("cpp", Language::Cpp)] {
        let library = make(name, compilers(language)[0], stage.folder.path());
        let mut host = Command::new(&stage.host);
        let output = must(host.arg(&library).arg("full").arg(stage.config()).arg(stage.file()));
        assert!(output.contains("\non_event 0\nerror "), "{name}: {output}");
        assert!(output.contains("\nverify -"), "{name}: {output}");
    }
}

#[test]
fn template_loads_as_it_is_and_declines() {
    let stage = Stage::new();
    let library = make("template", compilers(Language::C)[0], stage.folder.path());
    let output = stage.run(&library, "full", "{}");
    assert!(output.starts_with("class template\ncreate 0\nactivate 0\n"), "{output}");
    assert_eq!(output.matches("on_event 2\n").count(), 2, "{output}");
    assert!(output.ends_with("end\n"), "{output}");
}

#[test]
fn template_renamed_as_its_readme_says_builds_under_the_new_name() {
    let stage = Stage::new();
    let readme = std::fs::read_to_string(example("template").join("README.md")).unwrap();
    // The first block of commands of the document, without the build, whose headers are elsewhere here.
    let first_step = readme.split("\n1. ").nth(1).unwrap().split("\n2. ").next().unwrap();
    let commands: Vec<&str> = first_step.lines().filter_map(|line| line.strip_prefix("       ")).collect();
    assert!(commands.len() >= 4, "{commands:?}");
    must(Command::new("cp").arg("-r").arg(example("template")).arg(stage.folder.path()));
    let script = format!("set -e\n{}\nmake INCLUDE=\"$0\"", commands.join("\n"));
    let include = include().canonicalize().unwrap();
    must(Command::new("sh").arg("-c").arg(script).arg(include).current_dir(stage.folder.path()));
    let output = stage.run(&stage.folder.path().join("my-flusher/my-flusher.so"), "full", "{}");
    assert!(output.starts_with("class my-flusher\ncreate 0\n"), "{output}");
}
