//! Debian packages of what was built.
//! Inputs: the built programs and plugins, the tree. Outputs: packages in a directory of their own, gone when it is dropped. It
//! must never build a program.

use harness::{paths, program};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Splitting and stripping debug builds, on a slow disk.
const LIMIT: Duration = Duration::from_secs(900);
/// What has to be on this machine.
const TOOLS: [(&str, &str); 4] =
    [("dh", "debhelper"), ("dpkg-buildpackage", "dpkg-dev"), ("make", "make"), ("pkg-config", "pkg-config")];

/// The packages.
pub struct Debs(TempDir);

/// The top of the source tree.
pub fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap_or_default()
}

/// Makes the bill of materials and the licences beside the programs, which packages contain.
///
/// # Errors
/// The program that makes them is not built, or what it said.
pub fn inventory() -> Result<(), String> {
    let built = paths::bin_dir()?;
    let mut inventory = Command::new(paths::program(&built, "inventory")?);
    inventory.current_dir(tree()).arg("--offline").arg("--sbom").arg(built.join("sbom.cdx.json"));
    inventory.arg("--licences").arg(built.join("THIRD-PARTY.txt")).args(["cloudsnooze", "sqlite-flusher"]);
    program::run(&mut inventory, LIMIT)?.success("inventory").map(|_| ())
}

impl Debs {
    /// Makes all packages of what `make build` or `make test` has built, without debug symbols and hardly compressed.
    ///
    /// # Errors
    /// Which tool is missing, or what the tools said.
    pub fn make(kept_in: &Path) -> Result<Self, String> {
        if let Some((tool, package)) = TOOLS.iter().find(|(tool, _)| program::find(tool).is_none()) {
            return Err(format!("there is no {tool} (Debian package {package})"));
        }
        let built = paths::bin_dir()?;
        let failed = |error: std::io::Error| format!("{}: {error}", kept_in.display());
        fs::create_dir_all(kept_in).map_err(failed)?;
        let directory = tempfile::Builder::new().prefix("debs-").tempdir_in(kept_in).map_err(failed)?;
        inventory()?;
        let mut packages = Command::new(tree().join("dist/packages.sh"));
        packages.arg("deb").arg(&built).arg(directory.path());
        packages.env("PACKAGE_COMPRESSION", "gzip").env("NO_SYMBOLS", "1");
        // Those of the test runner's make are not for this one.
        for variable in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "CARGO_TARGET_DIR"] {
            packages.env_remove(variable);
        }
        program::run(&mut packages, LIMIT)?.success("dist/packages.sh")?;
        Ok(Self(directory))
    }

    /// Where they are.
    pub fn directory(&self) -> &Path {
        self.0.path()
    }

    /// The file of a package.
    ///
    /// # Errors
    /// There is no such package.
    pub fn file(&self, package: &str) -> Result<PathBuf, String> {
        let begin = format!("{package}_");
        let entries = fs::read_dir(self.directory()).map_err(|error| error.to_string())?;
        let mut files = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let found = files.find(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            name.starts_with(&begin) && name.ends_with(".deb")
        });
        found.ok_or_else(|| format!("no package {package} in {}", self.directory().display()))
    }

    /// The content of a package, unpacked into a directory beside it.
    ///
    /// # Errors
    /// What dpkg-deb said.
    pub fn unpacked(&self, package: &str) -> Result<PathBuf, String> {
        let to = self.directory().join(format!("{package}.d"));
        let mut unpack = Command::new("dpkg-deb");
        unpack.arg("-x").arg(self.file(package)?).arg(&to);
        program::run(&mut unpack, LIMIT)?.success("dpkg-deb -x")?;
        Ok(to)
    }

    /// The same package under a later version, as `NAME-next_VERSION.deb` beside it.
    ///
    /// # Errors
    /// What dpkg-deb said.
    pub fn next_version(&self, package: &str, version: &str) -> Result<PathBuf, String> {
        let raw = self.directory().join(format!("{package}.raw"));
        let to = self.directory().join(format!("{package}-next_{version}.deb"));
        let deb = |arguments: &[&std::ffi::OsStr]| {
            program::run(Command::new("dpkg-deb").args(arguments), LIMIT)?.success("dpkg-deb").map(|_| ())
        };
        deb(&["-R".as_ref(), self.file(package)?.as_os_str(), raw.as_os_str()])?;
        let control = raw.join("DEBIAN/control");
        let text = fs::read_to_string(&control).map_err(|error| error.to_string())?;
        let lines = text.lines().map(|line| match line.starts_with("Version: ") {
            true => format!("Version: {version}\n"),
            false => format!("{line}\n"),
        });
        fs::write(&control, lines.collect::<String>()).map_err(|error| error.to_string())?;
        deb(&["-Znone".as_ref(), "--root-owner-group".as_ref(), "-b".as_ref(), raw.as_os_str(), to.as_os_str()])?;
        fs::remove_dir_all(&raw).map_err(|error| error.to_string())?;
        Ok(to)
    }
}
