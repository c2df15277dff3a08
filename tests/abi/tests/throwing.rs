//! Whatever a C++ plugin throws, wherever it throws it, the host gets a code and a text and goes on.

use std::path::PathBuf;
use std::process::Command;

use abi_tests::{Compiler, Language, compilers, folder, must, source};
use tempfile::TempDir;

/// The tiny host and the throwing plugin, built.
struct Stage {
    folder: TempDir,
}

impl Stage {
    fn new(compiler: Compiler, std: &str) -> Stage {
        let stage = Stage { folder: folder() };
        let host = compilers(Language::C)[0];
        let mut build = host.command();
        build.arg("-std=c99").args(host.sanitizers()).arg(source("host.c")).arg("-o").arg(stage.path("host"));
        must(build.arg("-ldl"));
        let mut build = compiler.command();
        build.args([&format!("-std={std}"), "-O2", "-fPIC", "-shared", "-fvisibility=hidden"]);
        must(build.arg(source("throws.cpp")).arg("-o").arg(stage.path("throws.so")));
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the host prints, after the class's name, when the plugin throws `what` at `place`.
    fn run(&self, place: &str, what: &str, table: &str) -> String {
        let config = format!(r#"{{"at":"{place}","what":"{what}"}}"#);
        let output = must(Command::new(self.path("host")).arg(self.path("throws.so")).arg(table).arg(config));
        output.strip_prefix("class throws\n").unwrap().to_owned()
    }
}

const UNKNOWN: &str = "threw something that is no std::exception";
const POISONED: &str = "the instance threw earlier and takes no more calls";

fn on_every_compiler(claim: impl Fn(&Stage)) {
    for compiler in compilers(Language::Cpp) {
        for std in ["c++17", "c++20"] {
            claim(&Stage::new(compiler, std));
        }
    }
}

#[test]
fn on_event_that_throws_answers_panic_and_poisons_the_instance() {
    on_every_compiler(|stage| {
        for (what, text) in [("int", UNKNOWN), ("std", "thrown on purpose")] {
            let expected = format!(
                "create 0\nactivate 0\nerror -13 {text}\non_event -13\n\
                 error -8 {POISONED}\non_event -8\nend\n"
            );
            assert_eq!(stage.run("on_event", what, "full"), expected);
        }
    });
}

#[test]
fn an_error_is_an_ordinary_failure_and_poisons_nothing() {
    on_every_compiler(|stage| {
        let expected = "create 0\nactivate 0\nerror -5 busy on purpose\non_event -5\n\
                        error -5 busy on purpose\non_event -5\nend\n";
        assert_eq!(stage.run("on_event", "error", "full"), expected);
    });
}

#[test]
fn a_constructor_that_throws_makes_no_instance() {
    on_every_compiler(|stage| {
        for (what, code, text) in [("int", -13, UNKNOWN), ("error", -5, "busy on purpose")] {
            let expected = format!("error {code} {text}\ncreate {code}\nout untouched\n");
            assert_eq!(stage.run("constructor", what, "full"), expected);
        }
    });
}

#[test]
fn activate_and_verify_that_throw_answer_panic() {
    on_every_compiler(|stage| {
        let expected = format!("create 0\nerror -13 {UNKNOWN}\nactivate -13\nend\n");
        assert_eq!(stage.run("activate", "int", "full"), expected);
        let expected = format!(
            "create 0\nactivate 0\non_event 0\nerror -13 {UNKNOWN}\nverify -13\nerror -8 {POISONED}\non_event -8\nend\n"
        );
        assert_eq!(stage.run("verify", "int", "full"), expected);
    });
}

#[test]
fn functions_without_an_answer_that_throw_are_logged() {
    on_every_compiler(|stage| {
        let failed = |what: &str| format!("log 1 {what} failed with code -13: {UNKNOWN}\n");
        let poisoned = format!("error -8 {POISONED}\n");
        assert_eq!(
            stage.run("warm_up", "int", "full"),
            format!("create 0\nactivate 0\n{}{poisoned}on_event -8\n{poisoned}on_event -8\nend\n", failed("warm_up"))
        );
        let calls = "create 0\nactivate 0\non_event 0\nverify 0\n";
        assert_eq!(
            stage.run("on_cancel", "int", "full"),
            format!("{calls}{}{poisoned}on_event -8\nend\n", failed("on_cancel"))
        );
        assert_eq!(stage.run("deactivate", "int", "full"), format!("{calls}on_event 0\n{}end\n", failed("deactivate")));
        assert_eq!(
            stage.run("destructor", "int", "full"),
            format!("{calls}on_event 0\n{}end\n", failed("the destructor"))
        );
    });
}

#[test]
fn a_host_that_offers_nothing_still_gets_the_code() {
    on_every_compiler(|stage| {
        for table in ["null", "16"] {
            assert_eq!(stage.run("on_event", "int", table), "create 0\nactivate 0\non_event -13\non_event -8\nend\n");
            for place in ["warm_up", "on_cancel", "deactivate", "destructor"] {
                assert!(stage.run(place, "std", table).ends_with("end\n"), "{place}");
            }
        }
    });
}
