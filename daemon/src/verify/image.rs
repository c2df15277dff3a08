//! The static tests: what the file says, before any of its code can run.
//!
//! Inputs: the bytes of a library. Outputs: findings. Must never map or run anything: `host::peek` judges what the
//! daemon would refuse, the rest is advice from the same bytes.

use super::{Body, Finding, Group, Test};
use crate::host::peek::{self, Head};
use crate::host::refusal::Refusal;
use crate::host::trust;
use object::LittleEndian;
use object::elf;
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _, Sym as _};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A file and what its bytes say.
pub struct Image {
    /// Who may write it: what the daemon says before it opens it.
    access: Result<(), Refusal>,
    /// Its entry record, or the first refusal.
    peeked: Result<Head, Refusal>,
    details: Option<Details>,
    /// SHA-256 of the bytes.
    pub sha256: String,
}

/// What is read beyond what the daemon needs.
#[derive(Default)]
struct Details {
    imports: BTreeSet<String>,
    exports: BTreeSet<String>,
    needed: Vec<String>,
    run_paths: Vec<String>,
    versions: BTreeSet<String>,
    has_relro: bool,
    binds_now: bool,
    build_id: Option<String>,
    /// Whether Rust's compiler made part of it: its standard library imports `exit` whether or not it is called.
    is_rust: bool,
}

impl Image {
    /// Reads a file. What cannot be read is a finding, not an error.
    pub fn read(path: &Path) -> Self {
        let trusted = trust::open(path, None);
        let bytes = match &trusted {
            Ok(file) => file.bytes.clone(),
            Err(_) => std::fs::read(path).unwrap_or_default(),
        };
        Self {
            peeked: peek::peek(&bytes),
            details: details(&bytes).ok(),
            sha256: trust::hex_digest(&bytes),
            access: trusted.map(|_| ()),
        }
    }

    /// Why the daemon would refuse the file without running it; None when it would not.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.access.as_ref().err().or(self.peeked.as_ref().err())
    }

    /// The finding of a test that owns some of the refusals: `order` is how far the peek must have come for it.
    fn peek_finding(&self, owned: &[&str], order: usize, good: impl FnOnce(&Head) -> String) -> Finding {
        const STAGES: [&[&str]; 4] = [&ELF_CODES, &["EXEC_STACK"], &["TEXT_RELOCATIONS"], &ENTRY_CODES];
        match &self.peeked {
            Ok(head) => Finding::Good(good(head)),
            Err(refusal) if owned.contains(&refusal.code()) => Finding::Bad(refusal.to_string()),
            Err(refusal) => {
                let reached = STAGES.iter().position(|codes| codes.contains(&refusal.code())).unwrap_or(0);
                if reached > order {
                    Finding::Good("nothing is wrong with it".into())
                } else {
                    Finding::Skipped(format!("not reached: {}", refusal.code()))
                }
            }
        }
    }

    fn with(&self, judge: impl FnOnce(&Details) -> Finding) -> Finding {
        self.details.as_ref().map_or_else(|| Finding::Skipped("the file is not readable as ELF".into()), judge)
    }
}

const ELF_CODES: [&str; 5] = ["IO", "NOT_ELF", "TRUNCATED", "WRONG_MACHINE", "NOT_SHARED"];
const ENTRY_CODES: [&str; 7] =
    ["NO_ENTRY", "BAD_MAGIC", "MAJOR", "NEEDS_MINOR", "POINTER_BITS", "ENTRY_SIZE", "DIGEST"];

fn details(bytes: &[u8]) -> object::Result<Details> {
    let file = ElfFile64::<LittleEndian>::parse(bytes)?;
    let mut found = Details { build_id: file.build_id()?.map(hex), ..Details::default() };
    for symbol in file.dynamic_symbols() {
        let name = symbol.name().unwrap_or_default().to_owned();
        if name.is_empty() {
            continue;
        }
        if symbol.elf_symbol().st_shndx(LittleEndian) == elf::SHN_UNDEF {
            found.imports.insert(name);
        } else if symbol.is_global() {
            found.exports.insert(name);
        }
    }
    let comment = file.section_by_name(".comment").and_then(|section| section.data().ok()).unwrap_or_default();
    found.is_rust = comment.windows(5).any(|word| word == b"rustc");
    let header = file.elf_header();
    found.has_relro =
        header.program_headers(LittleEndian, bytes)?.iter().any(|s| s.p_type(LittleEndian) == elf::PT_GNU_RELRO);
    let sections = header.sections(LittleEndian, bytes)?;
    let table = sections.dynamic_table(LittleEndian, bytes)?;
    for entry in table.iter() {
        let text = || table.string(entry).map(|text| String::from_utf8_lossy(text).into_owned());
        match entry.tag {
            elf::DT_NEEDED => found.needed.push(text()?),
            elf::DT_RUNPATH | elf::DT_RPATH => found.run_paths.push(text()?),
            elf::DT_BIND_NOW => found.binds_now = true,
            elf::DT_FLAGS => found.binds_now |= entry.val & elf::DF_BIND_NOW.0 != 0,
            elf::DT_FLAGS_1 => found.binds_now |= entry.val & elf::DF_1_NOW.0 != 0,
            _ => {}
        }
    }
    if let Some((mut needs, link)) = sections.gnu_verneed(LittleEndian, bytes)? {
        let strings = sections.strings(LittleEndian, bytes, link)?;
        while let Some((_, mut versions)) = needs.next()? {
            while let Some(version) = versions.next()? {
                found.versions.insert(String::from_utf8_lossy(version.name(LittleEndian, strings)?).into_owned());
            }
        }
    }
    Ok(found)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The static tests.
pub const TESTS: &[Test] = &[
    Test {
        name: "static-file",
        expected: "only root and the daemon's user can change the file and every directory above it",
        advice: "install it as root with mode 0755, or build where nobody else may write (chmod go-w)",
        body: Body::Static(file),
        ..STATIC
    },
    Test {
        name: "static-elf",
        expected: "a shared library (ELF, 64 bits) for this machine",
        advice: "link with -shared -fPIC, with a compiler for this machine",
        body: Body::Static(|image| image.peek_finding(&ELF_CODES, 0, |_| "a shared library for this machine".into())),
        ..STATIC
    },
    Test {
        name: "static-stack",
        expected: "a stack that is not executable",
        advice: "link with -Wl,-z,noexecstack; assembler sources need a .note.GNU-stack section",
        body: Body::Static(|image| image.peek_finding(&["EXEC_STACK"], 1, |_| "the stack is not executable".into())),
        ..STATIC
    },
    Test {
        name: "static-text",
        expected: "code that needs no changes when it is loaded",
        advice: "compile everything with -fPIC",
        body: Body::Static(|image| image.peek_finding(&["TEXT_RELOCATIONS"], 2, |_| "no text relocations".into())),
        ..STATIC
    },
    Test {
        name: "static-entry",
        expected: "the entry record snooze_plugin_entry_v1, of an ABI that this host speaks",
        advice: "end one source file with SNOOZE_EXPORT(...), and build against the headers of this version or an older one",
        body: Body::Static(entry),
        ..STATIC
    },
    Test {
        name: "static-hardening",
        expected: "every symbol bound when it is loaded, and the table of addresses read-only afterwards",
        advice: "link with -Wl,-z,relro,-z,now; what is bound late is bound on a real-time thread",
        body: Body::Static(hardening),
        ..STATIC
    },
    Test {
        name: "static-exports",
        expected: "no exported symbol besides those that begin with snooze_",
        advice: "compile with -fvisibility=hidden, or link with a version script",
        body: Body::Static(exports),
        ..STATIC
    },
    Test {
        name: "static-imports",
        expected: "no function that changes or ends the whole process",
        advice: "the process belongs to the daemon and to other plugins: answer with an error in place of exit, use \
                 thread-safe or per-thread functions (uselocale, openat), and run commands with posix_spawn",
        body: Body::Static(imports),
        ..STATIC
    },
    Test {
        name: "static-libraries",
        expected: "every library it needs is in the system's directories",
        advice: "link it statically, or have the package depend on the package that installs it",
        body: Body::Static(libraries),
        ..STATIC
    },
    Test {
        name: "static-runpath",
        expected: "no search path of its own for libraries",
        advice: "link without -rpath: whoever can write there runs code in the daemon, and $ORIGIN does not work there",
        body: Body::Static(run_path),
        ..STATIC
    },
    Test {
        name: "static-glibc",
        expected: "no version of glibc newer than this machine's",
        advice: "build on the oldest distribution that you support",
        body: Body::Static(glibc),
        ..STATIC
    },
    Test {
        name: "static-build-id",
        expected: "a build-id, by which a crash report names the build",
        advice: "link with -Wl,--build-id (the default of most distributions' compilers)",
        body: Body::Static(build_id),
        ..STATIC
    },
];

const STATIC: Test = Test {
    name: "",
    group: Group::Static,
    expected: "",
    advice: "",
    limit_seconds: 10,
    needs: "",
    body: Body::Static(|_| Finding::Skipped(String::new())),
};

fn file(image: &Image) -> Finding {
    match &image.access {
        Ok(()) => Finding::Good("nobody else can change it".into()),
        Err(refusal) => Finding::Bad(refusal.to_string()),
    }
}

fn entry(image: &Image) -> Finding {
    image.peek_finding(&ENTRY_CODES, 3, |head| {
        let (major, built, required) = (head.major, head.minor_built, head.minor_required);
        format!("built against ABI {major}.{built}, can live with {major}.{required}; digest {:#018x}", head.digest)
    })
}

fn hardening(image: &Image) -> Finding {
    image.with(|details| match (details.has_relro, details.binds_now) {
        (true, true) => Finding::Good("RELRO, bound when loaded".into()),
        (false, _) => Finding::Doubtful("no RELRO segment: its table of addresses stays writable".into()),
        (_, false) => Finding::Doubtful("it asks for late binding".into()),
    })
}

/// Symbols that linkers put into libraries by themselves.
const LINKERS: [&str; 8] =
    ["_init", "_fini", "_edata", "_end", "__bss_start", "_start", "rust_eh_personality", "__dso_handle"];

fn exports(image: &Image) -> Finding {
    image.with(|details| {
        let is_alien = |name: &&String| !name.starts_with("snooze_") && !LINKERS.contains(&name.as_str());
        let aliens: Vec<&String> = details.exports.iter().filter(is_alien).collect();
        if aliens.is_empty() {
            return Finding::Good(listed(&details.exports.iter().collect::<Vec<_>>()));
        }
        let count = aliens.len();
        Finding::Doubtful(format!("{count} more: {}", listed(&aliens)))
    })
}

/// Imports that end or change the process, whatever the circumstances.
const FORBIDDEN: [&str; 33] = [
    "_exit",
    "_Exit",
    "quick_exit",
    "setlocale",
    "chdir",
    "fchdir",
    "chroot",
    "umask",
    "setenv",
    "unsetenv",
    "putenv",
    "clearenv",
    "signal",
    "sigaction",
    "sigset",
    "sigignore",
    "siginterrupt",
    "bsd_signal",
    "sysv_signal",
    "__sysv_signal",
    "daemon",
    "setuid",
    "setgid",
    "setreuid",
    "setresuid",
    "seteuid",
    "setrlimit",
    "setrlimit64",
    "prlimit",
    "prlimit64",
    "sched_setscheduler",
    "munlockall",
    "dlclose",
];

/// Imports that are dangerous in a real-time process with threads, and have better replacements.
const DANGEROUS: [&str; 23] = [
    "exit",
    "fork",
    "vfork",
    "clone",
    "execve",
    "execv",
    "execvp",
    "execvpe",
    "execl",
    "execlp",
    "execle",
    "system",
    "popen",
    "dlopen",
    "dlmopen",
    "sigprocmask",
    "setpriority",
    "nice",
    "mlockall",
    "gethostbyname",
    "strtok",
    "longjmp",
    "siglongjmp",
];

fn imports(image: &Image) -> Finding {
    image.with(|details| {
        let is_meant = |name: &str| !(name == "exit" && details.is_rust);
        let among = |list: &[&str]| {
            details.imports.iter().filter(|i| list.contains(&i.as_str()) && is_meant(i)).collect::<Vec<_>>()
        };
        let (forbidden, dangerous) = (among(&FORBIDDEN), among(&DANGEROUS));
        match (forbidden.is_empty(), dangerous.is_empty()) {
            (false, _) => Finding::Bad(format!("it imports {}", listed(&forbidden))),
            (true, false) => Finding::Doubtful(format!("it imports {}", listed(&dangerous))),
            (true, true) => Finding::Good(format!("{} imports, none of that kind", details.imports.len())),
        }
    })
}

fn listed(names: &[&String]) -> String {
    let shown: Vec<&str> = names.iter().take(12).map(|name| name.as_str()).collect();
    let more = if names.len() > shown.len() { ", ..." } else { "" };
    format!("{}{more}", shown.join(", "))
}

fn libraries(image: &Image) -> Finding {
    image.with(|details| {
        let places = library_directories();
        let is_missing = |name: &&String| !places.iter().any(|place| place.join(name.as_str()).exists());
        let missing: Vec<&String> = details.needed.iter().filter(is_missing).collect();
        let needed: Vec<&String> = details.needed.iter().collect();
        if missing.is_empty() {
            let none = needed.is_empty();
            return Finding::Good(if none { "it needs none".into() } else { format!("it needs {}", listed(&needed)) });
        }
        Finding::Bad(format!("not found in the system's directories: {}", listed(&missing)))
    })
}

/// Where the dynamic linker looks: the built-in directories, and those of /etc/ld.so.conf (ldconfig(8)).
fn library_directories() -> Vec<PathBuf> {
    let arch = if cfg!(target_arch = "aarch64") { "aarch64-linux-gnu" } else { "x86_64-linux-gnu" };
    let mut places: Vec<PathBuf> =
        ["/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"].map(PathBuf::from).into();
    places.extend([format!("/lib/{arch}").into(), format!("/usr/lib/{arch}").into()]);
    let parts = std::fs::read_dir("/etc/ld.so.conf.d").into_iter().flatten().flatten().map(|entry| entry.path());
    for file in parts.chain([PathBuf::from("/etc/ld.so.conf")]) {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        places.extend(text.lines().map(str::trim).filter(|line| line.starts_with('/')).map(PathBuf::from));
    }
    places
}

fn run_path(image: &Image) -> Finding {
    image.with(|details| {
        let is_foreign = |path: &&String| {
            let system = ["/usr/lib", "/lib", "/usr/lib64", "/lib64"];
            path.split(':').any(|part| !system.iter().any(|place| Path::new(part).starts_with(place)))
        };
        let foreign: Vec<&String> = details.run_paths.iter().filter(is_foreign).collect();
        match (details.run_paths.is_empty(), foreign.is_empty()) {
            (true, _) => Finding::Good("none".into()),
            (false, true) => Finding::Doubtful(format!(
                "{} (the system's own)",
                listed(&details.run_paths.iter().collect::<Vec<_>>())
            )),
            (false, false) => Finding::Bad(format!("it looks in {}", listed(&foreign))),
        }
    })
}

fn glibc(image: &Image) -> Finding {
    image.with(|details| {
        let number = |text: &str| -> Vec<u32> { text.split('.').filter_map(|part| part.parse().ok()).collect() };
        let wanted =
            details.versions.iter().filter_map(|name| name.strip_prefix("GLIBC_")).filter(|v| v.starts_with('2'));
        let Some(highest) = wanted.max_by_key(|version| number(version)) else {
            return Finding::Good("it names no version".into());
        };
        let here = crate::sys::surroundings::glibc_version();
        if number(highest) > number(&here) {
            Finding::Bad(format!("it needs glibc {highest}, this machine has {here}"))
        } else {
            Finding::Good(format!("glibc {highest} or newer (here: {here})"))
        }
    })
}

fn build_id(image: &Image) -> Finding {
    image.with(|details| match &details.build_id {
        Some(id) => Finding::Good(id.clone()),
        None => Finding::Doubtful("it has none".into()),
    })
}
