//! Builds what cargo does not: the handler, the plugins, the floor and the hook in C, the rival in Go.
//!
//! Inputs: the sources of this crate, `CC` and `go` as they are installed. Outputs: a directory of parts. Must never leave
//! a part of an earlier build in place: the directory is new for each run.

use std::io;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Sources of this crate, where it was built.
const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// The finished parts; gone with this value.
#[derive(Debug)]
pub struct Workshop {
    directory: TempDir,
    /// What could not be built, and why: name of the part, reason.
    pub missing: Vec<(&'static str, String)>,
}

impl Workshop {
    /// Builds everything.
    ///
    /// # Errors
    /// A part in C does not build: nothing can be measured without.
    pub fn build() -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("latency-parts-").tempdir()?;
        let workshop = Self { directory, missing: Vec::new() };
        let library = ["-shared", "-fPIC", "-fvisibility=hidden"];
        let inline = ["-DPLUGIN_NAME=\"stopwatch-inline\"", "-DCAPS=SNOOZE_CAP_REALTIME"];
        workshop.compile("handler/handler.c", "handler.so", &library)?;
        workshop.compile("plugin/stopwatch.c", "stopwatch.so", &library)?;
        workshop.compile("plugin/stopwatch.c", "stopwatch-inline.so", &[&library[..], &inline].concat())?;
        workshop.compile("floor/floor.c", "floor", &["-pthread", "-ldl"])?;
        workshop.compile("floor/floor.c", "floor-shm", &["-DPROCESSES", "-pthread", "-ldl"])?;
        workshop.compile("rivals/shell/hook.c", "hook", &[])?;
        std::fs::copy(Path::new(HERE).join("rivals/shell/poll.sh"), workshop.path().join("poll.sh"))?;
        Ok(workshop.with_go())
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    fn compile(&self, source: &str, part: &str, more: &[&str]) -> io::Result<()> {
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let here = Path::new(HERE);
        let mut command = Command::new(&compiler);
        command.args(["-O2", "-std=c99", "-Wall", "-Wextra", "-Werror"]).arg("-I").arg(here.join("../../include"));
        command.arg("-o").arg(self.path().join(part)).arg(here.join(source)).args(more);
        run(&mut command).map_err(|error| io::Error::other(format!("{source}: {error}")))
    }

    fn with_go(mut self) -> Self {
        let mut command = Command::new("go");
        command.current_dir(Path::new(HERE).join("rivals/go")).args(["build", "-o"]).arg(self.path().join("rival-go"));
        // Nothing is downloaded, and no cache outside of the parts is needed.
        command.arg(".").env("GOFLAGS", "-mod=mod").env("GOPROXY", "off").env("GOCACHE", self.path().join("go-cache"));
        if let Err(error) = run(&mut command) {
            self.missing.push(("rival-go", format!("go build: {error}")));
        }
        self
    }
}

fn run(command: &mut Command) -> io::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| io::Error::other(format!("cannot start {program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim())))
}
