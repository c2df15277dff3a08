//! The conditions under which designs are compared.
//!
//! Inputs: none. Outputs: pauses, memory to thrash, arguments of the load generator. Must never favour a design: every
//! participant gets the same pause and the same load.

/// One kind of machine to be on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// Name, as on the command line and in the results.
    pub(crate) name: &'static str,
    /// One line for people.
    pub(crate) what: &'static str,
    /// Shortest pause between events, microseconds.
    pub(crate) gap_min_us: u64,
    /// Longest.
    pub(crate) gap_max_us: u64,
    /// Memory written before each event, KiB.
    pub(crate) thrash_kib: usize,
    /// Whether events are few: each is expensive.
    pub(crate) is_cold: bool,
    /// Load at normal priority; `{cpus}` stands for twice the number of cores, `{temp}` for a directory.
    pub(crate) load: &'static [&'static str],
}

/// Every scenario.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "idle",
        what: "no load, an event every 2 to 5 ms: threads sleep in between",
        gap_min_us: 2_000,
        gap_max_us: 5_000,
        thrash_kib: 0,
        is_cold: false,
        load: &[],
    },
    Scenario {
        name: "loaded",
        what: "two CPU hogs a core and one that writes memory, at normal priority",
        gap_min_us: 2_000,
        gap_max_us: 5_000,
        thrash_kib: 0,
        is_cold: false,
        load: &["--cpu", "{cpus}", "--vm", "1", "--vm-bytes", "64M"],
    },
    Scenario {
        name: "pressure",
        what: "memory is mapped and unmapped, files are written and read in several ways",
        gap_min_us: 2_000,
        gap_max_us: 5_000,
        thrash_kib: 0,
        is_cold: false,
        load: &[
            "--vm",
            "2",
            "--vm-bytes",
            "256M",
            "--hdd",
            "1",
            "--hdd-bytes",
            "64M",
            "--iomix",
            "1",
            "--iomix-bytes",
            "64M",
            "--temp-path",
            "{temp}",
        ],
    },
    Scenario {
        name: "cold",
        what: "loaded, and 64 MiB are written right before each event: no cache holds the path",
        gap_min_us: 250_000,
        gap_max_us: 350_000,
        thrash_kib: 64 * 1024,
        is_cold: true,
        load: &["--cpu", "{cpus}", "--vm", "1", "--vm-bytes", "64M"],
    },
];
