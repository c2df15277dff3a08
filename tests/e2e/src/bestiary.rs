//! The zoo of bad plugins (`tests/abi/zoo`): what each has wrong with it shows where.
//!
//! Responsibilities: the table of defects, and building them. Inputs: sources. Outputs: libraries in a [`Zoo`]. It must
//! never list a plugin without a test of `snooze plugin verify` that is meant for it.

use std::path::PathBuf;

use crate::zoo::{Zoo, repository};

/// A plugin with one defect.
#[derive(Clone, Copy, Debug)]
pub struct Animal {
    /// Its name, and that of its source without the ending.
    pub name: &'static str,
    /// The test that is meant for it, which must not pass.
    pub caught_by: &'static str,
    /// How that test ends: any of these.
    pub outcomes: &'static [&'static str],
    /// Further tests that may not pass because of the same defect.
    pub also: &'static [&'static str],
    /// What it has besides its source: further flags for compiler and linker.
    pub flags: &'static [&'static str],
    /// The function in which the defect strikes, for those with a choice.
    pub when: &'static str,
}

const FAILED: &[&str] = &["failed"];
const CRASHED: &[&str] = &["crashed"];
const TIMED_OUT: &[&str] = &["timed-out"];
const KINDS: &[&str] = &["delivery-kinds"];
const IMPORTS: &[&str] = &["static-imports"];

const fn animal(name: &'static str, caught_by: &'static str, outcomes: &'static [&'static str]) -> Animal {
    Animal { name, caught_by, outcomes, also: &[], flags: &[], when: "on_event" }
}

const fn also(animal: Animal, also: &'static [&'static str]) -> Animal {
    Animal { also, ..animal }
}

const fn when(animal: Animal, when: &'static str) -> Animal {
    Animal { when, ..animal }
}

/// Every one of them.
pub const ANIMALS: &[Animal] = &[
    Animal { flags: &["-Wl,-z,execstack"], ..animal("executable-stack", "static-stack", FAILED) },
    Animal { flags: &["-Wl,-z,lazy,-z,norelro"], ..animal("late-binding", "static-hardening", &["warning"]) },
    animal("exports-all", "static-exports", &["warning"]),
    Animal { flags: &["-Wl,-rpath,/tmp/somewhere"], ..animal("search-path", "static-runpath", FAILED) },
    Animal { flags: &["-Wl,--build-id=none"], ..animal("no-build-id", "static-build-id", &["warning"]) },
    animal("umask", "static-imports", FAILED),
    animal("wrong-name", "load-class", FAILED),
    animal("unresolved", "load-class", FAILED),
    also(animal("bad-schema", "load-schema", FAILED), &["life-create"]),
    animal("slow-load", "load-time", FAILED),
    animal("single-copy", "load-twice", CRASHED),
    animal("fast-math", "load-surroundings", FAILED),
    animal("constructor-thread", "load-surroundings", FAILED),
    animal("slow-create", "life-create", FAILED),
    animal("writes-out", "life-refuses", FAILED),
    animal("trusts-config", "life-refuses", CRASHED),
    also(animal("destroys-active", "life-unused", CRASHED), &["life-refuses"]),
    when(animal("segfault", "life-activate", CRASHED), "activate"),
    animal("active-once", "life-again", FAILED),
    when(animal("leaks-descriptors", "life-again", FAILED), "activate"),
    when(animal("leak", "life-anew", FAILED), "create"),
    when(also(animal("umask", "life-surroundings", FAILED), IMPORTS), "activate"),
    animal("any-extension", "life-extension", FAILED),
    animal("segfault", "delivery-kinds", CRASHED),
    animal("abort", "delivery-kinds", CRASHED),
    also(animal("exit", "delivery-kinds", CRASHED), IMPORTS),
    animal("stack-overflow", "delivery-kinds", CRASHED),
    animal("throws", "delivery-kinds", CRASHED),
    animal("infinite-loop", "delivery-kinds", TIMED_OUT),
    animal("deadlock", "delivery-kinds", TIMED_OUT),
    animal("strange-status", "delivery-kinds", FAILED),
    animal("unclaimed-async", "delivery-kinds", FAILED),
    animal("silent-error", "delivery-errors", FAILED),
    animal("trusts-fields", "delivery-bare", CRASHED),
    animal("fixed-buffer", "delivery-largest", CRASHED),
    animal("once-only", "delivery-twice", CRASHED),
    animal("shared-state", "delivery-two", CRASHED),
    animal("trusts-tail", "delivery-future", CRASHED),
    animal("divides-by-time", "delivery-late", CRASHED),
    animal("keeps-event", "delivery-after-return", CRASHED),
    animal("huge-result", "delivery-results", FAILED),
    animal("invalid-utf8", "delivery-results", FAILED),
    also(animal("never-completes", "delivery-async", TIMED_OUT), KINDS),
    animal("completes-twice", "delivery-async", FAILED),
    animal("not-reentrant", "delivery-together", CRASHED),
    animal("thread-left", "delivery-threads", FAILED),
    animal("leak", "delivery-memory", FAILED),
    animal("leaks-descriptors", "delivery-descriptors", FAILED),
    animal("closes-descriptors", "delivery-descriptors", &["failed", "crashed"]),
    also(animal("forks", "delivery-processes", FAILED), IMPORTS),
    animal("writes-output", "delivery-output", FAILED),
    also(animal("signal-handler", "delivery-surroundings", FAILED), IMPORTS),
    animal("signal-mask", "delivery-surroundings", FAILED),
    also(animal("changes-directory", "delivery-surroundings", FAILED), IMPORTS),
    also(animal("setlocale", "delivery-surroundings", FAILED), IMPORTS),
    also(animal("umask", "delivery-surroundings", FAILED), IMPORTS),
    also(animal("environment", "delivery-surroundings", FAILED), IMPORTS),
    also(animal("limit", "delivery-surroundings", FAILED), IMPORTS),
    also(animal("ignores-cancel", "cancel-during", TIMED_OUT), KINDS),
    when(animal("segfault", "cancel-after", CRASHED), "on_cancel"),
    animal("waits-for-change", "cancel-before", TIMED_OUT),
    animal("picky-cancel", "cancel-reasons", TIMED_OUT),
    animal("realtime-burns", "realtime-time", FAILED),
    animal("realtime-sleeps", "realtime-waits", FAILED),
    animal("realtime-allocates", "realtime-allocations", FAILED),
    animal("realtime-calls", "realtime-system-calls", FAILED),
    animal("counts-events", "robust-order", CRASHED),
    animal("trusts-services", "robust-host-errors", CRASHED),
    animal("source-false", "source-offer", FAILED),
    animal("source-deaf", "source-run", TIMED_OUT),
    animal("source-leaks", "source-again", FAILED),
    animal("source-forgets", "source-stopped", TIMED_OUT),
    animal("source-trusts", "source-over", CRASHED),
    also(animal("eats-signals", "robust-sigterm", FAILED), &["static-imports", "life-surroundings"]),
];

/// The plugin without a defect that the others are made of.
pub const HEALTHY: Animal = animal("healthy", "", &[]);

/// The folder of the sources.
pub fn sources() -> PathBuf {
    repository().join("tests/abi/zoo")
}

impl Animal {
    /// Its source: one of its own, or the healthy plugin, which only its flags spoil.
    pub fn source(&self) -> PathBuf {
        let own = ["c", "cpp"].map(|ending| sources().join(format!("{}.{ending}", self.name)));
        own.into_iter().find(|file| file.is_file()).unwrap_or_else(|| sources().join("healthy.c"))
    }

    /// Builds it into `NAME.so`.
    ///
    /// # Panics
    /// When the compiler fails.
    pub fn build(&self, zoo: &Zoo) -> PathBuf {
        let name = format!("-DNAME=\"{}\"", self.name);
        let flags = [&[name.as_str(), "-Wl,-z,now,-z,relro"], self.flags].concat();
        let (source, library) = (self.source(), format!("{}.so", self.name));
        let source_text = source.to_string_lossy();
        match source.extension().is_some_and(|ending| ending == "cpp") {
            true => zoo.cpp(&source_text, &library, &flags),
            false => zoo.c(&source_text, &library, &flags),
        }
    }
}
