//! The designs that are measured: names, programs, sources.
//!
//! A design is added here and nowhere else: table, chart and promises go by its name. Must never hold a figure.

/// Where a participant's program comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// Built by cargo, beside this program.
    Cargo(&'static str),
    /// Built by the workshop, among the parts.
    Part(&'static str),
}

/// One design.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Design {
    /// Its name, here and in every output.
    pub(crate) name: &'static str,
    /// What to start.
    pub(crate) program: Program,
    /// Arguments behind the parts directory.
    pub(crate) args: &'static [&'static str],
    /// Where to read how it is made.
    pub(crate) source: &'static str,
    /// The design its figures are divided by: what is measured from the network on is compared with the least a client
    /// on the network can do.
    pub(crate) over: &'static str,
    /// A second and more an event: gets few of them.
    pub(crate) is_slow: bool,
}

/// A design in process, measured against the floor.
const fn design(name: &'static str, program: Program, source: &'static str) -> Design {
    Design { name, program, args: &[], source, over: "floor", is_slow: false }
}

const BARE: (&str, &str) = ("latency-e2e-bare", "tests/latency/src/bin/e2e-bare.rs");
const OURS: (&str, &str) = ("latency-e2e-ours", "tests/latency/src/bin/e2e-ours.rs");

/// A design from the network on; the service answers from another CPU (`far`), or from that of the client (`near`).
const fn end_to_end(
    name: &'static str,
    (program, source): (&'static str, &'static str),
    args: &'static [&'static str],
    over: &'static str,
) -> Design {
    Design { name, program: Program::Cargo(program), args, source, over, is_slow: false }
}

/// Every design.
pub(crate) const DESIGNS: &[Design] = &[
    design("floor", Program::Part("floor"), "tests/latency/floor/floor.c"),
    Design { args: &["in-round"], ..design("floor-in-round", Program::Part("floor"), "tests/latency/floor/floor.c") },
    design("floor-shm", Program::Part("floor-shm"), "tests/latency/floor/floor.c"),
    design("direct", Program::Cargo("latency-direct"), "tests/latency/src/bin/direct.rs"),
    design("ours", Program::Cargo("latency-ours"), "tests/latency/src/bin/ours.rs"),
    Design {
        args: &["isolated"],
        over: "floor-shm",
        ..design("ours-isolated", Program::Cargo("latency-ours"), "tests/latency/src/bin/ours.rs")
    },
    Design {
        args: &["stopwatch-inline"],
        ..design("ours-inline", Program::Cargo("latency-ours"), "tests/latency/src/bin/ours.rs")
    },
    Design {
        args: &["from-sleep"],
        ..design("ours-from-sleep", Program::Cargo("latency-ours"), "tests/latency/src/bin/ours.rs")
    },
    Design {
        args: &["stopwatch-inline", "from-sleep"],
        ..design("ours-inline-from-sleep", Program::Cargo("latency-ours"), "tests/latency/src/bin/ours.rs")
    },
    design("rival-tokio", Program::Cargo("latency-rival-tokio"), "tests/latency/rivals/tokio.rs"),
    design("rival-channel", Program::Cargo("latency-rival-channel"), "tests/latency/rivals/channel.rs"),
    design("rival-go", Program::Part("rival-go"), "tests/latency/rivals/go/main.go"),
    Design {
        is_slow: true,
        ..design("rival-shell", Program::Cargo("latency-rival-shell"), "tests/latency/rivals/shell/poll.sh")
    },
    Design {
        is_slow: true,
        args: &["--polled"],
        ..design("rival-shell-polled", Program::Cargo("latency-rival-shell"), "tests/latency/rivals/shell/poll.sh")
    },
    end_to_end("e2e-bare", BARE, &["far"], "e2e-bare"),
    end_to_end("e2e-ours", OURS, &["stopwatch", "far"], "e2e-bare"),
    end_to_end("e2e-ours-inline", OURS, &["stopwatch-inline", "far"], "e2e-bare"),
    end_to_end("e2e-bare-near", BARE, &["near"], "e2e-bare-near"),
    end_to_end("e2e-ours-near", OURS, &["stopwatch", "near"], "e2e-bare-near"),
    end_to_end("e2e-ours-inline-near", OURS, &["stopwatch-inline", "near"], "e2e-bare-near"),
];
