//! Calls and marks that must not be in the code, each with the reason and what to use in its place.
//! Input: one source. Output: violations. It must never look into comments or literals for calls; marks are looked for everywhere.

use proc_macro2::{Delimiter, TokenTree};

use crate::rust::{Mention, each_level, group_at, ident_at, is_punct, line_of};
use crate::{Source, Violation, is_fixture};

/// How a banned thing is recognised.
enum Pattern {
    /// `.name(` or `Type::name`.
    Method(&'static str),
    /// A path, or the end of one; in `use` too.
    Path(&'static [&'static str]),
    /// `name!`.
    Macro(&'static str),
}

impl Pattern {
    fn matches(&self, mention: &Mention) -> bool {
        match self {
            Pattern::Method(name) => {
                mention.ends_with(&[name])
                    && (mention.segments.len() > 1 || (mention.before == Some('.') && mention.after == Some('(')))
            }
            Pattern::Path(path) => mention.ends_with(path),
            Pattern::Macro(name) => mention.ends_with(&[name]) && mention.after == Some('!'),
        }
    }

    fn name(&self) -> String {
        match self {
            Pattern::Method(name) => format!(".{name}()"),
            Pattern::Path(path) => path.join("::"),
            Pattern::Macro(name) => format!("{name}!"),
        }
    }
}

/// Some calls, where they are banned, why, and what to do.
struct Ban {
    calls: &'static [Pattern],
    /// True in the files where the ban holds.
    place: fn(&Source) -> bool,
    /// True when it holds in the values of constants too, which are worked out while building.
    in_constants: bool,
    why: &'static str,
    mend: &'static str,
}

/// Bans for code that ships.
const PRODUCT: &[Ban] = &[
    Ban {
        calls: &[Pattern::Method("unwrap"), Pattern::Method("expect"), Pattern::Macro("panic")],
        // The SDK's test host asserts: it is a test.
        place: |source| is_shipped(source) && source.path != "plugins/sdk/src/testing.rs",
        in_constants: false,
        why: "a panic loses the notice that this program exists for",
        mend: "return an error, or choose a value and say why it is right",
    },
    Ban {
        calls: &[Pattern::Macro("todo"), Pattern::Macro("unimplemented"), Pattern::Macro("dbg")],
        place: |_| true,
        in_constants: true,
        why: "unfinished work must not ship",
        mend: "finish it or leave it out",
    },
    Ban {
        calls: &[Pattern::Path(&["process", "exit"])],
        place: |source| !is_program(source),
        in_constants: true,
        why: "it skips every destructor, and with them the journal",
        mend: "return the outcome and let main turn it into an exit code",
    },
    Ban {
        calls: &[
            Pattern::Macro("println"),
            Pattern::Macro("eprintln"),
            Pattern::Macro("print"),
            Pattern::Macro("eprint"),
        ],
        place: |source| !is_program(source),
        in_constants: true,
        why: "a daemon's words belong in its log, and a write to a full pipe blocks",
        mend: "log it",
    },
    Ban {
        calls: &[
            Pattern::Path(&["SystemTime", "now"]),
            Pattern::Path(&["Instant", "now"]),
            Pattern::Path(&["Timestamp", "now"]),
            Pattern::Path(&["Zoned", "now"]),
        ],
        place: |source| (is_daemon(source) && source.path != "core/src/sys/clock.rs") || is_fleet(source),
        in_constants: true,
        why: "deadlines run on CLOCK_BOOTTIME, and tests need to own the time",
        mend: "take the clock of sys/clock.rs as a parameter",
    },
    Ban {
        calls: &[
            Pattern::Path(&["Client", "new"]),
            Pattern::Path(&["Client", "builder"]),
            Pattern::Path(&["ClientBuilder"]),
            Pattern::Path(&["Client", "default"]),
            Pattern::Path(&["ClientBuilder", "new"]),
            Pattern::Path(&["ClientBuilder", "default"]),
            Pattern::Path(&["reqwest", "get"]),
        ],
        place: |source| is_daemon(source) && uses_reqwest(source) && !HTTP_CLIENTS.contains(&source.path.as_str()),
        in_constants: true,
        why: "time limits, proxies and redirects of the one client are part of its safety",
        mend: "use the client of source/imds.rs or cli/client.rs",
    },
    Ban {
        calls: &[Pattern::Path(&["env", "set_var"]), Pattern::Path(&["env", "remove_var"])],
        place: |_| true,
        in_constants: true,
        why: "the environment is shared by all threads and plugins, and changing it is a data race",
        mend: "pass the value, or set it on the child process",
    },
];

/// The two places where an HTTP client may be made.
const HTTP_CLIENTS: &[&str] = &["core/src/source/imds.rs", "daemon/src/cli/client.rs"];

/// Bans for tests.
const TESTS: &[Ban] = &[Ban {
    calls: &[Pattern::Path(&["thread", "sleep"]), Pattern::Path(&["time", "sleep"])],
    place: |source| !SLEEPERS.iter().any(|(place, _)| source.path.starts_with(place)),
    in_constants: true,
    why: "a test that sleeps is slow when it passes and wrong when the machine is slow",
    mend: "wait for the condition with a bound; justified places are listed in tests/tidy/src/bans.rs",
}];

/// Places where a test may sleep, and why.
const SLEEPERS: &[(&str, &str)] = &[
    ("tests/harness/src/wait.rs", "the one polling loop that all tests wait with"),
    ("tests/fake-metadata/src/", "a slow service is what it plays"),
    ("tests/data-safety/src/", "a machine ends at a time, and writers that never pause would have all of this one"),
    ("tests/fleet/", "work and notices take time, and what must not happen after a fault needs time to happen"),
    ("tests/soak/", "when things go wrong is drawn, not waited for"),
    ("tests/promises/", "memory is measured at rest, and rest is a time"),
    ("tests/latency/", "the pause between notices is part of what is measured"),
];

fn is_daemon(source: &Source) -> bool {
    source.path.starts_with("daemon/src/") || source.path.starts_with("core/src/")
}

fn is_plugin(source: &Source) -> bool {
    source.path.starts_with("plugins/") && source.path.contains("/src/")
}

/// The daemon and what is linked into it, or loaded.
fn is_shipped(source: &Source) -> bool {
    is_daemon(source) || is_fleet(source) || is_plugin(source)
}

fn is_fleet(source: &Source) -> bool {
    source.path.starts_with("fleet/src/")
}

/// Programs and the CLI speak to a person and own the process; a build script speaks to cargo.
fn is_program(source: &Source) -> bool {
    let path = &source.path;
    path.contains("/src/bin/")
        || path.starts_with("daemon/src/cli/")
        || path == "daemon/src/cli.rs"
        || path.ends_with("/src/main.rs")
        || path.ends_with("/build.rs")
        || path.contains("/examples/")
}

fn uses_reqwest(source: &Source) -> bool {
    source.rust().is_some_and(|rust| rust.mentions.iter().any(|m| m.segments.iter().any(|name| name == "reqwest")))
}

/// Calls that the project does without.
pub fn banned_calls(source: &Source) -> Vec<Violation> {
    let Some(rust) = source.rust() else { return Vec::new() };
    let bans = |bans: &'static [Ban]| -> Vec<&'static Ban> { bans.iter().filter(|ban| (ban.place)(source)).collect() };
    let (product, tests) = (bans(PRODUCT), bans(TESTS));
    let mut found = Vec::new();
    for mention in &rust.mentions {
        let bans = if source.is_test_line(mention.line) { &tests } else { &product };
        for ban in bans {
            if !ban.in_constants && rust.is_constant_line(mention.line) {
                continue;
            }
            if let Some(call) = ban.calls.iter().find(|call| call.matches(mention)) {
                found.push(Violation::new(
                    &source.path,
                    mention.line,
                    "banned calls",
                    format!("`{}`: {}", call.name(), ban.why),
                    ban.mend,
                ));
            }
        }
    }
    found
}

/// Marks of unfinished work, in any text but captured ones.
pub fn banned_marks(source: &Source) -> Vec<Violation> {
    // Put together here, so that this file doesn't hold them.
    let marks = [concat!("FIX", "ME"), concat!("XX", "X")];
    if is_fixture(&source.path) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (number, line) in source.numbered_lines() {
        for mark in marks.iter().filter(|mark| has_word(line, mark)) {
            found.push(Violation::new(
                &source.path,
                number,
                "banned marks",
                format!("`{mark}`: a mark is not a plan"),
                "do it now, or open an issue and say what holds today",
            ));
        }
    }
    found
}

fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

/// A test that never runs protects nothing.
pub fn ignored_tests(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    let Some(rust) = source.rust() else { return found };
    each_level(&rust.tokens, &mut |level: &[TokenTree]| {
        for index in 0..level.len() {
            if is_punct(level, index, '#')
                && let Some(attribute) = group_at(level, index + 1, Delimiter::Bracket)
                && ignores(&attribute.stream().into_iter().collect::<Vec<_>>())
            {
                found.push(Violation::new(
                    &source.path,
                    line_of(&level[index]),
                    "ignored tests",
                    "a test that is switched off",
                    "run it, or let it print `NOT RUN: <what> <why>` where the machine lacks something",
                ));
            }
        }
    });
    found
}

/// True for `ignore`, `ignore = "..."`, and `cfg_attr(condition, ignore)`.
fn ignores(attribute: &[TokenTree]) -> bool {
    match ident_at(attribute, 0).as_deref() {
        Some("ignore") => true,
        Some("cfg_attr") => group_at(attribute, 1, Delimiter::Parenthesis).is_some_and(|inner| {
            inner.stream().into_iter().any(|token| matches!(token, TokenTree::Ident(name) if name == "ignore"))
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(path: &str, body: &str) -> usize {
        banned_calls(&Source::new(path, format!("fn f() {{ {body}; }}"))).len()
    }

    #[test]
    fn calls_that_may_panic_are_banned_in_the_daemon_and_the_plugins() {
        for path in ["core/src/queue.rs", "fleet/src/plan.rs", "plugins/slack-notifier/src/lib.rs"] {
            for body in ["a.unwrap()", "a.expect(\"b\")", "a.map(Option::unwrap)", "panic!()", "log!(a.unwrap())"] {
                assert_eq!(calls(path, body), 1, "{path}: {body}");
            }
            assert_eq!(calls(path, "a.unwrap_or(1); unwrap(); let panic = 1; a.expect"), 0, "{path}");
        }
        assert_eq!(calls("tests/harness/src/lib.rs", "a.unwrap()"), 0);
        let inline = Source::new("core/src/queue.rs", "#[cfg(test)]\nmod tests { fn f() { a.unwrap(); } }");
        assert!(banned_calls(&inline).is_empty());
        let text = "const A: NonZeroU8 = NonZeroU8::new(1).unwrap();\nfn f() {\n    a.unwrap();\n}\n";
        let constant = banned_calls(&Source::new("core/src/queue.rs", text));
        assert_eq!(constant.iter().map(|violation| violation.line).collect::<Vec<_>>(), [3]);
        let lint = Source::new("core/src/queue.rs", "#[expect(dead_code)]\nfn f() {}");
        assert!(banned_calls(&lint).is_empty());
    }

    #[test]
    fn unfinished_work_is_banned_in_all_product_code() {
        for body in ["todo!()", "unimplemented!()", "dbg!(a)"] {
            assert_eq!(calls("abi/src/lib.rs", body), 1, "{body}");
            assert_eq!(calls("tests/e2e/src/lib.rs", body), 0, "{body}");
        }
    }

    #[test]
    fn only_programs_print_and_exit() {
        for body in ["std::process::exit(1)", "println!(\"a\")", "eprintln!()", "use std::process::{exit, Command}"] {
            assert_eq!(calls("daemon/src/supervise.rs", body), 1, "{body}");
            assert_eq!(calls("abi/src/lib.rs", body), 1, "{body}");
            for path in ["daemon/src/bin/snoozed.rs", "daemon/src/cli/status.rs", "daemon/build.rs"] {
                assert_eq!(calls(path, body), 0, "{path}: {body}");
            }
        }
    }

    #[test]
    fn only_the_clock_reads_the_time() {
        for body in ["std::time::Instant::now()", "SystemTime::now()", "jiff::Timestamp::now()"] {
            assert_eq!(calls("core/src/dispatch/budget.rs", body), 1, "{body}");
            assert_eq!(calls("fleet/src/turn.rs", body), 1, "{body}");
            assert_eq!(calls("core/src/sys/clock.rs", body), 0, "{body}");
            assert_eq!(calls("plugins/sdk/src/call.rs", body), 0, "{body}");
        }
        assert_eq!(calls("core/src/dispatch/budget.rs", "clock.now()"), 0);
    }

    #[test]
    fn only_two_places_make_an_http_client() {
        for body in
            ["reqwest::Client::new()", "use reqwest::{Client, ClientBuilder}", "use reqwest::Client; Client::builder()"]
        {
            assert_eq!(calls("core/src/source/gcp.rs", body), 1, "{body}");
            assert_eq!(calls("core/src/source/imds.rs", body), 0, "{body}");
            assert_eq!(calls("daemon/src/cli/client.rs", body), 0, "{body}");
        }
        assert_eq!(calls("daemon/src/fleet/nats.rs", "nats::Client::new()"), 0);
        assert_eq!(calls("core/src/source/gcp.rs", "fn get(c: &reqwest::Client) {}"), 0);
    }

    #[test]
    fn product_code_leaves_the_environment_alone() {
        assert_eq!(calls("daemon/src/bin/snoozed.rs", "std::env::set_var(a, b)"), 1);
        assert_eq!(calls("plugins/sdk/src/host.rs", "use std::env::{self, remove_var}"), 1);
        assert_eq!(calls("daemon/src/bin/snoozed.rs", "std::env::var(a)"), 0);
        assert_eq!(calls("tests/e2e/src/lib.rs", "std::env::set_var(a, b)"), 0);
    }

    #[test]
    fn tests_do_not_sleep_but_in_the_listed_places() {
        for body in ["std::thread::sleep(a)", "use tokio::time::sleep"] {
            assert_eq!(calls("tests/e2e/tests/notice.rs", body), 1, "{body}");
            assert_eq!(calls("daemon/tests/notice.rs", body), 1, "{body}");
            assert_eq!(calls("tests/harness/src/wait.rs", body), 0, "{body}");
            assert_eq!(calls("tests/fake-metadata/src/faults.rs", body), 0, "{body}");
            assert_eq!(calls("core/src/source/cadence.rs", body), 0, "{body}");
        }
        let inline = Source::new("core/src/queue.rs", "#[cfg(test)]\nmod tests { fn f() { std::thread::sleep(a); } }");
        assert_eq!(banned_calls(&inline).len(), 1);
    }

    #[test]
    fn marks_of_unfinished_work_are_banned_in_any_text() {
        let marked = |path: &str, mark: &str| banned_marks(&Source::new(path, format!("a\n// {mark}: later\n")));
        assert_eq!(marked("docs/guide.md", concat!("FIX", "ME"))[0].line, 2);
        assert_eq!(marked("Makefile", concat!("XX", "X")).len(), 1);
        assert!(marked("a.sh", concat!("mktemp /tmp/a.XX", "XXXX")).is_empty());
        assert!(marked("tests/fixtures/aws/a.json", concat!("FIX", "ME")).is_empty());
    }

    #[test]
    fn switched_off_tests_are_reported() {
        let found = |attribute: &str| {
            ignored_tests(&Source::new("tests/a.rs", format!("#[test]\n{attribute}\nfn f() {{}}\n"))).len()
        };
        assert_eq!(found("#[ignore]"), 1);
        assert_eq!(found("#[ignore = \"slow\"]"), 1);
        assert_eq!(found("#[cfg_attr(not(unix), ignore)]"), 1);
        assert_eq!(found("#[arg(ignore)]"), 0);
        assert_eq!(found("// #[ignore]"), 0);
    }
}
