//! Which module of the daemon may know which: data flows one way, so imports do too.
//! Input: one source of `daemon/src` or `core/src`. Output: violations. The table below is the truth; it must never hold a circle.

use crate::{Source, Violation};

/// Modules everyone may use. They may use only each other.
const LEAVES: &[&str] = &["event", "config", "settings", "sys", "metrics", "log", "log_ring"];

/// Modules that put the house together and may use all of it.
const ASSEMBLERS: &[&str] = &["lib", "main", "supervise", "bin"];

/// module -> what it may import besides the leaves. A notice flows source -> normalise -> queue -> dispatch -> host, and what came of
/// it flows on to history and the people who ask. A module further down the flow may know the ones before it, so that every
/// part can be read and tested without what comes after it.
const ALLOWED: &[(&str, &[&str])] = &[
    // Pure: bytes in, events out. It stands before `source`, because a source calls it.
    ("normalise", &[]),
    // Publishes what it has read and normalised.
    ("source", &["normalise", "queue"]),
    ("queue", &[]),
    // Runs what it is handed; it doesn't know who decides.
    ("host", &[]),
    // Takes from the queue, decides, and has the host do it.
    ("dispatch", &["queue", "host"]),
    // Its steps are handlers like any other.
    ("shutdown", &["dispatch", "host"]),
    // Writes down what dispatch reports and what plugins log.
    ("history", &["dispatch", "host"]),
    // Says what a report says, and brings it to people.
    ("reports", &["dispatch", "history"]),
    // Tells the applications of this machine what the recorder tells it.
    ("apps", &["history"]),
    // From a configuration to handlers with instances: shared by the daemon and the checks of the command line.
    ("assemble", &["dispatch", "host", "apps", "fleet", "reports"]),
    // Plays the host for a plugin that is not in the daemon yet.
    ("verify", &["host"]),
    // Tells the group of machines what the recorder tells it, and makes events of what the group says.
    ("fleet", &["history"]),
    // Shows and steers everything, so it sees everything but its own client and the start-up.
    ("control", &["normalise", "source", "queue", "host", "dispatch", "shutdown", "history", "apps", "fleet"]),
    // Speaks the wire types of `control`; uses the library directly only where no daemon need run (checking, verifying).
    ("cli", &["assemble", "control", "dispatch", "history", "host", "source", "normalise", "reports", "verify"]),
];

/// A module of the daemon imports only what comes before it in the flow, and the leaves.
pub fn import_direction(source: &Source) -> Vec<Violation> {
    let rest = source.path.strip_prefix("daemon/src/").or_else(|| source.path.strip_prefix("core/src/"));
    let (Some(rest), Some(rust)) = (rest, source.rust()) else {
        return Vec::new();
    };
    let module = rest.split('/').next().unwrap_or_default().trim_end_matches(".rs");
    if ASSEMBLERS.contains(&module) {
        return Vec::new();
    }
    let violation =
        |line, message: String, mend: &str| Violation::new(&source.path, line, "import direction", message, mend);
    let Some(allowed) = allowed_for(module) else {
        let mend = "give it its place in the flow: add it to the table in tests/tidy/src/imports.rs and to docs/ARCHITECTURE.md";
        return vec![violation(1, format!("module `{module}` has no place in the flow"), mend)];
    };
    let mut found = Vec::new();
    for mention in &rust.mentions {
        // A macro of the crate lives at its root whatever module wrote it down.
        let [root, target, rest @ ..] = mention.segments.as_slice() else { continue };
        if root != "crate" || target == module || (rest.is_empty() && mention.after == Some('!')) {
            continue;
        }
        if LEAVES.contains(&target.as_str()) || allowed.contains(&target.as_str()) {
            continue;
        }
        let (message, mend) = if is_module(target) {
            (
                format!("`{module}` imports `crate::{target}`, which comes after it in the flow"),
                "pass the value in, or define a trait on this side and let `supervise` connect the two",
            )
        } else {
            (
                format!("`{module}` imports `crate::{target}`, which names no module of the flow"),
                "import it from the module that owns it, or add that module to the table in tests/tidy/src/imports.rs",
            )
        };
        found.push(violation(mention.line, message, mend));
    }
    found
}

/// What `module` may import besides the leaves and itself; `None` for a module the table doesn't know.
fn allowed_for(module: &str) -> Option<&'static [&'static str]> {
    if LEAVES.contains(&module) {
        return Some(&[]);
    }
    ALLOWED.iter().find(|(name, _)| *name == module).map(|(_, allowed)| *allowed)
}

fn is_module(name: &str) -> bool {
    ASSEMBLERS.contains(&name) || allowed_for(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        import_direction(&Source::new(path, text)).iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn importing_against_the_flow_is_reported_wherever_the_path_stands() {
        let text = "use crate::{event::Event, dispatch::Plan};\nfn f() -> crate::host::Host {\n    log!(crate::source::all())\n}\n";
        assert_eq!(lines("core/src/queue.rs", text), [1, 2, 3]);
        assert_eq!(lines("core/src/queue/lanes.rs", text), [1, 2, 3]);
        assert_eq!(lines("core/src/sys/clock.rs", "use crate::queue::Queue;"), [1]);
        assert_eq!(lines("daemon/src/history/mod.rs", "use crate::source;"), [1]);
        assert_eq!(lines("daemon/src/control/http.rs", "use crate::supervise::Daemon;"), [1]);
    }

    #[test]
    fn importing_along_the_flow_passes() {
        assert!(
            lines("core/src/source/aws.rs", "use crate::{normalise, queue::Queue, event::*, source::Source};")
                .is_empty()
        );
        assert!(
            lines("core/src/queue.rs", "use super::*; use std::io; pub(crate) fn f() { crate::note!(1) }").is_empty()
        );
        assert!(lines("core/src/sys/clock.rs", "use crate::{config::Limits, metrics};").is_empty());
        assert!(lines("daemon/src/control/http.rs", "use crate::history::Query;").is_empty());
    }

    #[test]
    fn what_puts_the_house_together_may_import_all() {
        for path in ["daemon/src/supervise.rs", "daemon/src/lib.rs", "daemon/src/bin/snoozed.rs"] {
            assert!(lines(path, "use crate::{cli::Args, history::Query};").is_empty(), "{path}");
        }
    }

    #[test]
    fn a_name_lifted_to_the_root_does_not_get_round_the_table() {
        assert_eq!(lines("core/src/queue.rs", "use crate::Dispatcher;"), [1]);
        assert_eq!(lines("core/src/queue.rs", "use crate::*;"), [1]);
    }

    #[test]
    fn a_module_without_a_place_is_reported() {
        assert_eq!(lines("daemon/src/novel.rs", "use std::io;"), [1]);
    }

    #[test]
    fn the_table_names_only_known_modules_and_holds_no_circle() {
        fn reaches(from: &str, to: &str, depth: usize) -> bool {
            depth < ALLOWED.len()
                && allowed_for(from).unwrap().iter().any(|next| *next == to || reaches(next, to, depth + 1))
        }
        for (module, allowed) in ALLOWED {
            assert!(allowed.iter().all(|name| ALLOWED.iter().any(|(known, _)| known == name)), "{module}");
            assert!(!reaches(module, module, 0), "{module} can import itself through others");
        }
    }
}
