//! Why a plugin was not taken: one stable code and one sentence each, both numbers named.
//! Inputs: what was found. Outputs: text for people, a code for programs. Must never hold a secret.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A plugin that was refused, before any of its code ran unless the code says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each variant's sentence is its documentation")]
pub enum Refusal {
    #[error("no plugin '{name}' in {searched}{}", .hint.as_ref().map_or_else(String::new, |h| format!("; did you mean '{h}'?")))]
    NotFound { name: String, searched: String, hint: Option<String> },
    #[error("{path}: {problem}; a plugin runs inside the daemon, so nobody else may be able to change it")]
    Permissions { path: PathBuf, problem: String },
    #[error("cannot read the file: {0}")]
    Io(String),
    #[error("not an ELF file (it begins with {0})")]
    NotElf(String),
    #[error("the file is truncated: {0}")]
    Truncated(String),
    #[error("built for {found}, this machine is {expected}")]
    WrongMachine { found: String, expected: String },
    #[error("not a shared library ({0})")]
    NotShared(String),
    #[error(
        "asks for an executable stack, which would make the whole process's stack executable (build with -Wl,-z,noexecstack)"
    )]
    ExecStack,
    #[error("has text relocations, which need writable code (build with -fPIC)")]
    TextRelocations,
    #[error(
        "the symbol snooze_plugin_entry_v1 is missing: not a CloudSnooze plugin, or it is not exported (SNOOZE_EXPORT)"
    )]
    NoEntry,
    #[error("the entry record begins with {found:#018x}, expected {expected:#018x}")]
    BadMagic { found: u64, expected: u64 },
    #[error("built for plugin ABI major {plugin}, this host speaks major {host}")]
    Major { plugin: u16, host: u16 },
    #[error("needs plugin ABI {major}.{plugin} or newer, this host offers {major}.{host}")]
    NeedsMinor { major: u16, plugin: u16, host: u16 },
    #[error("the entry record says {0}-bit pointers, expected 64")]
    PointerBits(u16),
    #[error("the entry record is {found} bytes, expected at least {expected}")]
    EntrySize { found: u32, expected: usize },
    #[error(
        "built against a changed header: its layout digest is {plugin:#018x}, that of ABI {major}.{minor} is {host:#018x}"
    )]
    Digest { plugin: u64, host: u64, major: u16, minor: u16 },
    #[error("the layout differs: {0}")]
    Surface(String),
    #[error("sha256 is {found}, the configuration pins {expected}")]
    Pin { expected: String, found: String },
    #[error("the dynamic linker refused it: {0}")]
    Unresolved(String),
    #[error(
        "the library holds {}, not '{expected}': the name inside must agree with the file name", quoted(.found)
    )]
    Name { expected: String, found: Vec<String> },
    #[error("the class record of '{name}' lacks {missing}")]
    Incomplete { name: String, missing: String },
    #[error("its configuration schema is not usable: {0}")]
    BadSchema(String),
    #[error("{}", .0.join("; "))]
    Config(Vec<String>),
    #[error("create failed: {0}")]
    Create(String),
    #[error("activate failed: {0}")]
    Activate(String),
    #[error("the manifest is not usable: {0}")]
    Manifest(String),
    #[error("the process did not start: {0}")]
    Process(String),
    #[error("{0}")]
    Isolation(String),
    #[error("user '{name}' {problem}")]
    User { name: String, problem: String },
    #[error("does not handle {event_type}: it subscribes to {subscribed}")]
    NotSubscribed { event_type: String, subscribed: String },
    #[error("is no source of notices: {0}")]
    Source(String),
}

impl Refusal {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "NOT_FOUND",
            Self::Permissions { .. } => "PERMISSIONS",
            Self::Io(_) => "IO",
            Self::NotElf(_) => "NOT_ELF",
            Self::Truncated(_) => "TRUNCATED",
            Self::WrongMachine { .. } => "WRONG_MACHINE",
            Self::NotShared(_) => "NOT_SHARED",
            Self::ExecStack => "EXEC_STACK",
            Self::TextRelocations => "TEXT_RELOCATIONS",
            Self::NoEntry => "NO_ENTRY",
            Self::BadMagic { .. } => "BAD_MAGIC",
            Self::Major { .. } => "MAJOR",
            Self::NeedsMinor { .. } => "NEEDS_MINOR",
            Self::PointerBits(_) => "POINTER_BITS",
            Self::EntrySize { .. } => "ENTRY_SIZE",
            Self::Digest { .. } => "DIGEST",
            Self::Surface(_) => "SURFACE",
            Self::Pin { .. } => "PIN",
            Self::Unresolved(_) => "UNRESOLVED",
            Self::Name { .. } => "NAME",
            Self::Incomplete { .. } => "INCOMPLETE",
            Self::BadSchema(_) => "BAD_SCHEMA",
            Self::Config(_) => "CONFIG",
            Self::Create(_) => "CREATE",
            Self::Activate(_) => "ACTIVATE",
            Self::Manifest(_) => "MANIFEST",
            Self::Process(_) => "PROCESS",
            Self::Isolation(_) => "ISOLATION",
            Self::User { .. } => "USER",
            Self::NotSubscribed { .. } => "NOT_SUBSCRIBED",
            Self::Source(_) => "SOURCE",
        }
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|n| format!("'{n}'")).collect::<Vec<_>>().join(", ")
}
