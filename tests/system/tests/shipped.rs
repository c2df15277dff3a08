//! What is shipped, as files: the C library it needs, the sandbox of the unit, and the rpm packages, for which there is no machine
//! to try them on: what their checker says of them, and they of themselves.

use harness::{paths, program, require};
use object::elf::{DT_NEEDED, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader as _};
use object::{Endianness, SectionIndex};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use system::tree;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const LIMIT: Duration = Duration::from_secs(600);
/// The oldest glibc that is promised: that of Debian 12's predecessors in use, Ubuntu 22.04, RHEL 9, Amazon Linux 2023.
const GLIBC_FLOOR: (u32, u32) = (2, 34);
/// What may be needed: glibc's own, and the unwinder of GCC, which comes with every glibc (Debian's libc6 depends on it).
const LIBRARIES: [&str; 4] = ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2"];
/// Exposure as `systemd-analyze security` counts it: tenths.
const EXPOSURE_MAX: &str = "20";

/// The plugins that the Makefile ships.
fn plugins() -> Vec<String> {
    let makefile = std::fs::read_to_string(tree().join("Makefile")).expect("the Makefile");
    let (_, list) = makefile.split_once("\nPLUGINS := ").expect("its list of plugins");
    let lines = list.lines().scan(true, |goes_on, line| {
        let this = goes_on.then_some(line);
        *goes_on = line.ends_with('\\');
        this
    });
    lines
        .flat_map(|line| line.trim_end_matches('\\').split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// Libraries that a file names, and the versions that it needs of them.
fn needs(path: &Path) -> (BTreeSet<String>, BTreeSet<String>) {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let data = bytes.as_slice();
    let header = FileHeader64::<Endianness>::parse(data).expect("ELF");
    let endian = header.endian().expect("a byte order");
    let sections = header.sections(endian, data).expect("sections");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (mut libraries, mut versions) = (BTreeSet::new(), BTreeSet::new());
    let (entries, strings) = sections.dynamic(endian, data).expect("readable").expect("linked dynamically");
    let strings = sections.strings(endian, data, strings).expect("names");
    for entry in entries.iter().filter(|entry| entry.d_tag(endian) == DT_NEEDED) {
        let at = u32::try_from(entry.d_val(endian)).expect("a place");
        libraries.insert(text(strings.get(at).expect("a name")));
    }
    let (mut needed, linked): (_, SectionIndex) =
        sections.gnu_verneed(endian, data).expect("readable").expect("it needs a C library");
    let strings = sections.strings(endian, data, linked).expect("names");
    while let Some((_, mut each)) = needed.next().expect("readable") {
        while let Some(version) = each.next().expect("readable") {
            versions.insert(text(version.name(endian, strings).expect("a name")));
        }
    }
    (libraries, versions)
}

#[test]
fn everything_that_is_shipped_runs_with_an_old_glibc_and_nothing_else() {
    let built = paths::bin_dir().expect("built");
    let mut files: Vec<PathBuf> =
        ["snoozed", "snooze", "snooze-plugin-host"].map(|name| paths::program(&built, name).expect("built")).into();
    files.extend(plugins().iter().map(|name| paths::plugin(&built, name).expect("built")));
    assert!(files.len() > 20, "{files:?}");
    for file in files {
        let (libraries, versions) = needs(&file);
        let others: Vec<&String> = libraries.iter().filter(|name| !LIBRARIES.contains(&name.as_str())).collect();
        assert!(others.is_empty(), "{}: {others:?}", file.display());
        let glibc: Vec<&str> = versions.iter().filter_map(|version| version.strip_prefix("GLIBC_")).collect();
        assert!(!glibc.is_empty(), "{}", file.display());
        for version in glibc {
            let mut numbers = version.split('.').filter_map(|part| part.parse::<u32>().ok());
            let number = (numbers.next().unwrap_or(u32::MAX), numbers.next().unwrap_or(0));
            assert!(number <= GLIBC_FLOOR, "{} needs GLIBC_{version}", file.display());
        }
    }
}

#[test]
fn the_service_is_exposed_no_more_than_is_promised_and_its_unit_has_no_mistake() {
    if program::find("systemd-analyze").is_none() {
        require::missing_means_skip("the unit's sandbox: there is no systemd-analyze (Debian package systemd)");
        return;
    }
    let unit = tree().join("daemon/dist/systemd/cloudsnooze.service");
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_MAX]).arg(&unit);
    let output = program::run(&mut analyze, LIMIT).expect("it runs");
    assert_eq!(output.code, Some(0), "{}\n{}", output.stdout, output.stderr);
}

#[test]
fn rpmlint_has_nothing_to_say_of_the_rpm_packages_but_what_is_known() {
    for (tool, package) in [("rpmlint", "rpmlint"), ("rpmbuild", "rpm")] {
        if program::find(tool).is_none() {
            require::missing_means_skip(&format!("the rpm packages: there is no {tool} (Debian package {package})"));
            return;
        }
    }
    let packages = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let mut make = Command::new(tree().join("dist/packages.sh"));
    make.arg("rpm").arg(paths::bin_dir().expect("built")).arg(packages.path()).env("NO_SYMBOLS", "1");
    make.env("PACKAGE_COMPRESSION", "gzip").env_remove("MAKEFLAGS").env_remove("CARGO_TARGET_DIR");
    system::inventory().expect("the list of contents");
    let made = program::run(&mut make, LIMIT).and_then(|output| output.success("dist/packages.sh rpm"));
    made.unwrap_or_else(|error| panic!("{error}"));
    let files = std::fs::read_dir(packages.path()).expect("packages").filter_map(|entry| Some(entry.ok()?.path()));
    let files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|kind| kind == "rpm")).collect();
    assert!(files.len() >= 15, "{files:?}");
    let mut rpmlint = Command::new("rpmlint");
    rpmlint.arg("--config").arg(tree().join("dist/rpm/rpmlint.toml")).args(&files);
    let output = program::run(&mut rpmlint, LIMIT).expect("it runs");
    assert!(output.code == Some(0) && output.stdout.contains(" 0 errors, 0 warnings"), "{}", output.stdout);
    // What holds the packages together is the same as on Debian.
    let ask = |package: &str, what: &str| {
        let name = format!("{package}-{VERSION}-1.x86_64.rpm");
        let mut rpm = Command::new("rpm");
        rpm.args(["-qp", what]).arg(packages.path().join(name));
        program::run(&mut rpm, LIMIT).and_then(|output| output.success("rpm")).unwrap_or_else(|error| panic!("{error}"))
    };
    let provides = ask("cloudsnooze", "--provides");
    for what in ["cloudsnooze-abi-1", "user(cloudsnooze)"] {
        assert!(provides.lines().any(|line| line.trim() == what), "{what}: {provides}");
    }
    assert!(ask("cloudsnooze-plugins-basic", "--requires").lines().any(|line| line.trim() == "cloudsnooze-abi-1"));
    assert!(ask("cloudsnooze", "--filetriggers").contains("/usr/lib64/cloudsnooze/plugins"));
    assert!(ask("cloudsnooze", "--scripts").contains("snooze upgrade-ready --wait"));
    what_is_in_the_rpm_packages_runs(packages.path());
}

/// Unpacked, without their scripts: there is neither systemd nor a user's database in the directory.
fn what_is_in_the_rpm_packages_runs(packages: &Path) {
    if !nix::unistd::geteuid().is_root() {
        require::missing_means_skip("the content of the rpm packages: only root may unpack them with rpm");
        return;
    }
    let root = packages.join("root");
    let file = |package: &str| packages.join(format!("{package}-{VERSION}-1.x86_64.rpm"));
    let mut unpack = Command::new("rpm");
    unpack.arg("--root").arg(&root).args(["-i", "--nodeps", "--noscripts", "--notriggers"]);
    unpack.args([file("cloudsnooze"), file("cloudsnooze-plugins-basic")]);
    std::fs::create_dir_all(&root).expect("a directory");
    let run = |command: &mut Command| {
        let done = program::run(command, LIMIT).and_then(|output| output.success("the rpm packages"));
        done.unwrap_or_else(|error| panic!("{error}"))
    };
    run(&mut unpack);
    let snooze = root.join("usr/bin/snooze");
    assert!(run(Command::new(&snooze).arg("--version")).contains(VERSION));
    let plugin = root.join("usr/lib64/cloudsnooze/plugins/exec.so");
    assert!(run(Command::new(&snooze).args(["plugin", "info"]).arg(&plugin)).contains("exec"));
}
