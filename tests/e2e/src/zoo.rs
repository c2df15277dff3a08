//! A private place for plugins, and the ways they get there.
//!
//! Responsibilities: compile C and C++ sources, copy what cargo built, write manifests, each into a directory that the
//! daemon trusts. Inputs: sources in `plugins/`, the built libraries. Outputs: plugin files. It must never write outside
//! its directory: a checkout may be read-only, or writable for a group, which the daemon refuses.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::{paths, program, require};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long one compiler may take on a busy machine.
const COMPILER_LIMIT: Duration = Duration::from_secs(120);

/// A directory with plugins; it goes away with the value.
#[derive(Debug)]
pub struct Zoo {
    directory: TempDir,
    bin: PathBuf,
}

impl Zoo {
    /// An empty place. `None`, told loudly, when the machine lacks one of the programs `needed` by the test `what`.
    ///
    /// # Panics
    /// When the programs of the project are not built, or no directory can be made.
    pub fn open(what: &str, needed: &[&str]) -> Option<Self> {
        if let Some(missing) = needed.iter().find(|name| program::find(name).is_none()) {
            require::missing_means_skip(&format!("{what}: there is no {missing}"));
            return None;
        }
        let bin = paths::bin_dir().unwrap_or_else(|error| panic!("{error}"));
        let directory = tempfile::Builder::new().prefix("snz-zoo-").tempdir();
        Some(Self { directory: directory.unwrap_or_else(|error| panic!("no temporary directory: {error}")), bin })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A path below the directory.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The directory of the built programs.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// Compiles a C source of `plugins/zoo` into the file `name`.
    ///
    /// # Panics
    /// When the compiler fails, with what it wrote.
    pub fn c(&self, source: &str, name: &str, flags: &[&str]) -> PathBuf {
        self.compile("cc", "-std=c11", source, name, flags)
    }

    /// Compiles a C++ source of `plugins/zoo` into the file `name`.
    ///
    /// # Panics
    /// As [`Self::c`].
    pub fn cpp(&self, source: &str, name: &str, flags: &[&str]) -> PathBuf {
        self.compile("c++", "-std=c++17", source, name, flags)
    }

    fn compile(&self, compiler: &str, standard: &str, source: &str, name: &str, flags: &[&str]) -> PathBuf {
        let library = self.join(name);
        let mut command = Command::new(compiler);
        command.args([
            standard,
            "-O1",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-fPIC",
            "-fvisibility=hidden",
            "-pthread",
            "-I",
        ]);
        command.arg(repository().join("include")).arg(sources().join("zoo").join(source)).arg("-o").arg(&library);
        // Without a word about it, the linker makes what plugins are.
        let is_program = flags.contains(&"-DPROGRAM");
        command.args((!is_program).then_some("-shared")).args(flags);
        must(&mut command);
        plain(&library);
        library
    }

    /// Builds an example of `c-examples` with its own Makefile.
    ///
    /// # Panics
    /// When make fails, with what it wrote.
    pub fn example(&self, name: &str) -> PathBuf {
        let include = repository().join("include");
        let mut command = Command::new("make");
        command.arg("-C").arg(repository().join("c-examples").join(name));
        command.arg(assignment("OUT", self.path())).arg(assignment("INCLUDE", &include));
        must(&mut command);
        let library = self.join(&format!("{name}.so"));
        plain(&library);
        library
    }

    /// Copies the library of the crate `name`, which cargo built beside the programs.
    ///
    /// # Panics
    /// When it is not built.
    pub fn rust(&self, name: &str) -> PathBuf {
        let built = paths::plugin(&self.bin, name).unwrap_or_else(|error| panic!("{error}"));
        self.copy(&built, &format!("{name}.so"))
    }

    /// Copies a file here under another name.
    ///
    /// # Panics
    /// When that fails.
    pub fn copy(&self, from: &Path, name: &str) -> PathBuf {
        let file = self.join(name);
        fs::copy(from, &file).unwrap_or_else(|error| panic!("{} to {}: {error}", from.display(), file.display()));
        plain(&file);
        file
    }

    /// A copy of a file here with its bytes changed.
    ///
    /// # Panics
    /// When it cannot be read or written.
    pub fn patched(&self, from: &Path, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
        let mut bytes = fs::read(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        change(&mut bytes);
        self.write(name, &bytes)
    }

    /// A file of these bytes.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let file = self.join(name);
        fs::write(&file, bytes).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        plain(&file);
        file
    }

    /// An external plugin: a copy of a Python script of `plugins/`, and its manifest with these abilities.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn python(&self, script: &str, name: &str, environment: Value, abilities: &[&str]) -> PathBuf {
        let script = self.copy(&sources().join(script), &format!("{name}.py"));
        let python = program::find("python3").unwrap_or_else(|| PathBuf::from("python3"));
        let mut manifest = json!({"name": name, "version": "1.0.0", "command": [python, script], "env": environment});
        for ability in abilities {
            manifest[ability] = json!(true);
        }
        self.write(&format!("{name}.plugin.json"), manifest.to_string().as_bytes())
    }
}

/// The sources of the tests' plugins.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins")
}

/// The top folder of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn assignment(variable: &str, value: &Path) -> impl AsRef<OsStr> {
    format!("{variable}={}", value.display())
}

fn must(command: &mut Command) {
    let shown = format!("{command:?}");
    let done = program::run(command, COMPILER_LIMIT).and_then(|output| output.success(&shown));
    done.unwrap_or_else(|error| panic!("{error}"));
}

/// What an installation gives a plugin, whatever this user's umask says.
fn plain(file: &Path) {
    let changed = fs::set_permissions(file, Permissions::from_mode(0o755));
    changed.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}
