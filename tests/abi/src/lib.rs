//! What the tests of the C side share: which compilers this machine has, and how one is run.
//! Inputs: the programs on PATH. Outputs: [`Compiler`]s and what they printed. It must never pass over a missing
//! program in silence, nor write outside the folder it is given.

pub mod dwarf;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A language of the headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// C99 and later.
    C,
    /// C++11 and later; plugin.hpp from C++17.
    Cpp,
}

/// A compiler that this machine has.
#[derive(Debug, Clone, Copy)]
pub struct Compiler {
    /// The program.
    pub program: &'static str,
    /// What it compiles.
    pub language: Language,
}

const COMPILERS: [Compiler; 4] = [
    Compiler { program: "gcc", language: Language::C },
    Compiler { program: "clang", language: Language::C },
    Compiler { program: "g++", language: Language::Cpp },
    Compiler { program: "clang++", language: Language::Cpp },
];

/// Every warning that the headers promise to be clean of, as errors.
pub const STRICT: [&str; 7] = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wundef", "-Wshadow", "-Werror"];

/// What stops a program at its first wrong step in memory or in arithmetic.
pub const SANITIZERS: [&str; 3] = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

/// How a program ended and all it printed, standard output first.
#[derive(Debug)]
pub struct Finished {
    /// True for exit status 0.
    pub success: bool,
    /// Standard output.
    pub output: String,
    /// The command, standard output and standard error, for a failing test's message.
    pub all: String,
}

/// Runs `command` to its end.
///
/// # Panics
/// When the program cannot be started.
pub fn run(command: &mut Command) -> Finished {
    let shown = format!("{command:?}");
    let done = command.output().unwrap_or_else(|error| panic!("{shown}: {error}"));
    let output = String::from_utf8_lossy(&done.stdout).into_owned();
    let all = format!("{shown}\n{}\n{output}{}", done.status, String::from_utf8_lossy(&done.stderr));
    Finished { success: done.status.success(), output, all }
}

/// As [`run`], and gives the standard output.
///
/// # Panics
/// When the program fails; the message holds all it printed.
pub fn must(command: &mut Command) -> String {
    let done = run(command);
    assert!(done.success, "{}", done.all);
    done.output
}

/// True when `program --version` works.
pub fn have(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|done| done.status.success())
}

/// Says that something could not be tried, past the capturing of the test runner.
pub fn not_run(what: &str, why: &str) {
    // Nothing is left to be done when even standard error is closed.
    let _ = writeln!(std::io::stderr(), "NOT RUN: {what}: {why}");
}

/// The compilers of `language` that this machine has; those it lacks are named on standard error.
///
/// # Panics
/// When there is none at all: then nothing would be tested.
pub fn compilers(language: Language) -> Vec<Compiler> {
    let (present, absent): (Vec<_>, Vec<_>) =
        COMPILERS.into_iter().filter(|compiler| compiler.language == language).partition(|c| have(c.program));
    for compiler in absent {
        not_run(&format!("everything with {}", compiler.program), "it is not installed");
    }
    assert!(!present.is_empty(), "no compiler of {language:?} is installed");
    present
}

impl Compiler {
    /// A command with the headers of this repository on its include path.
    pub fn command(self) -> Command {
        let mut command = Command::new(self.program);
        command.arg("-I").arg(include());
        if self.language == Language::Cpp {
            command.args(["-x", "c++"]);
        }
        command
    }

    /// True when the compiler knows the standard `std` ("c99", "c++17").
    pub fn knows(self, std: &str) -> bool {
        let folder = folder();
        let empty = folder.path().join("empty");
        write(&empty, "int nothing;\n");
        let language = if self.language == Language::C { "c" } else { "c++" };
        let mut command = Command::new(self.program);
        command.args(["-x", language, &format!("-std={std}"), "-fsyntax-only"]).arg(empty);
        run(&mut command).success
    }

    /// The sanitizer flags, or none and a word on standard error when this compiler cannot build or run with them.
    pub fn sanitizers(self) -> &'static [&'static str] {
        let folder = folder();
        let (source, program) = (folder.path().join("probe"), folder.path().join("program"));
        write(&source, "int main(void) { return 0; }\n");
        let language = if self.language == Language::C { "c" } else { "c++" };
        let mut command = Command::new(self.program);
        command.args(["-x", language]).args(SANITIZERS).arg(source).arg("-o").arg(&program);
        if run(&mut command).success && run(&mut Command::new(program)).success {
            return &SANITIZERS;
        }
        not_run(&format!("sanitizers with {}", self.program), "a program built with them does not build or run");
        &[]
    }
}

/// The top folder of the repository, without links: cmake judges `..` by the name, not by the folder.
///
/// # Panics
/// When the folder this was built in is gone.
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize();
    here.unwrap_or_else(|error| panic!("{}: {error}", env!("CARGO_MANIFEST_DIR"))).join("../..")
}

/// The folder that holds `cloudsnooze/cloudsnooze.h`.
pub fn include() -> PathBuf {
    repository().join("include")
}

/// A C or C++ source of these tests.
pub fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("c").join(name)
}

/// A fresh folder that goes away with the value.
///
/// # Panics
/// When none can be made.
pub fn folder() -> TempDir {
    tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"))
}

/// Writes a file.
///
/// # Panics
/// When it cannot be written.
pub fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
