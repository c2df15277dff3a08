//! Where `unsafe` may stand, and that each use of it is justified beside it.
//! Input: one source. Output: violations. It must never take the type of a function pointer for unsafe code.

use proc_macro2::{Delimiter, TokenTree};

use crate::rust::{body_after, each_level, group_at, ident_at, is_punct, line_of};
use crate::{Source, Violation};

/// Files and folders (ending in `/`) that may hold unsafe code, each because it borders on C, the kernel or foreign memory.
const FENCED: &[&str] = &[
    "abi/",
    "core/src/sys/",
    "core/src/host/load.rs",
    "core/src/host/native.rs",
    "core/src/host/probe.rs",
    "core/src/host/services.rs",
    "core/src/host/delivery.rs",
    "core/src/host/source.rs",
    "core/src/host/source/",
    "daemon/src/verify/drive.rs",
    "daemon/src/verify/scene.rs",
    "daemon/src/verify/stage.rs",
    "daemon/src/verify/source.rs",
    "plugins/sdk/src/export.rs",
    "plugins/sdk/src/host.rs",
    "plugins/sdk/src/event.rs",
    "plugins/sdk/src/call.rs",
    "plugins/sdk/src/raw.rs",
    "plugins/sdk/src/source.rs",
    "plugins/sdk/src/testing.rs",
    "plugins/sdk/tests/",
    "tests/",
];

/// The one attribute that may stand anywhere: it puts a function among the code between a notice and its handler
/// (core/src/sys/prefetch.rs). It is "unsafe" because a section may mean something to a loader; this one means nothing.
const HOT: &str = r#"#[cfg_attr(target_os = "linux", allow(unsafe_code), unsafe(link_section = "snooze_hot"))]"#;

/// How far above the `unsafe` its justification may end, in lines.
const REACH: usize = 3;

/// One `unsafe` that is code rather than part of a type.
struct Unsafe {
    line: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A block or an `impl`: needs its own note.
    Claim,
    /// A function with a body: a `# Safety` section, which tells callers their duties, does as well.
    Function,
    /// An attribute, a foreign block, a trait, a function without a body: fenced, but nothing is claimed here.
    Declaration,
}

/// Unsafe code stands only in the files listed for it.
pub fn unsafe_fence(source: &Source) -> Vec<Violation> {
    let fenced = |place: &str| source.path == place || (place.ends_with('/') && source.path.starts_with(place));
    if FENCED.iter().any(|place| fenced(place)) {
        return Vec::new();
    }
    let is_hot = |found: &Unsafe| source.text.lines().nth(found.line - 1).is_some_and(|line| line.trim() == HOT);
    let found = unsafe_code(source).into_iter().filter(|found| !is_hot(found)).map(|found| {
        Violation::new(
            &source.path,
            found.line,
            "unsafe fence",
            "`unsafe` outside the fence",
            "move it behind a safe function of `sys`, `host` or the SDK; the list is in tests/tidy/src/fence.rs",
        )
    });
    found.collect()
}

/// Every unsafe block, `impl` and function says why it is sound.
pub fn safety_notes(source: &Source) -> Vec<Violation> {
    let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
    let unjustified = unsafe_code(source).into_iter().filter(|found| match found.kind {
        Kind::Claim => !has_note(&lines, found.line),
        Kind::Function => !has_note(&lines, found.line) && !has_safety_section(&lines, found.line),
        Kind::Declaration => false,
    });
    let found = unjustified.map(|found| {
        Violation::new(
            &source.path,
            found.line,
            "safety notes",
            "`unsafe` without its reason",
            "put `// SAFETY: ` and why it is sound just above (a `# Safety` doc section does for an unsafe fn)",
        )
    });
    found.collect()
}

fn unsafe_code(source: &Source) -> Vec<Unsafe> {
    let mut found = Vec::new();
    let Some(rust) = source.rust() else { return found };
    each_level(&rust.tokens, &mut |level: &[TokenTree]| {
        for index in 0..level.len() {
            if ident_at(level, index).as_deref() == Some("unsafe")
                && let Some(kind) = kind_of(level, index + 1)
            {
                found.push(Unsafe { line: line_of(&level[index]), kind });
            }
        }
    });
    found
}

/// What the `unsafe` before `next` begins; `None` for the type of a function pointer.
fn kind_of(level: &[TokenTree], mut next: usize) -> Option<Kind> {
    if group_at(level, next, Delimiter::Brace).is_some() || ident_at(level, next).as_deref() == Some("impl") {
        return Some(Kind::Claim);
    }
    let is_for_c = ident_at(level, next).as_deref() == Some("extern");
    if is_for_c {
        next += 1;
        next += usize::from(matches!(level.get(next), Some(TokenTree::Literal(_))));
    }
    if ident_at(level, next).as_deref() != Some("fn") {
        return Some(Kind::Declaration);
    }
    if group_at(level, next + 1, Delimiter::Parenthesis).is_some() || is_punct(level, next + 1, '<') {
        return None;
    }
    // A function that C calls gets its duties from the ABI's own text; the blocks inside it carry the notes.
    Some(if body_after(level, next).is_some() && !is_for_c { Kind::Function } else { Kind::Declaration })
}

fn is_comment(line: &str) -> bool {
    line.starts_with("//")
}

/// True when a `// SAFETY:` stands on the line or in a comment that ends at most three lines above it.
fn has_note(lines: &[&str], line: usize) -> bool {
    let index = line - 1;
    if lines[index].contains("// SAFETY:") {
        return true;
    }
    let Some(mut at) = (index.saturating_sub(REACH)..index).rev().find(|at| is_comment(lines[*at])) else {
        return false;
    };
    // A long reason begins further up.
    while at > 0 && !lines[at].starts_with("// SAFETY:") && is_comment(lines[at - 1]) {
        at -= 1;
    }
    lines[at].starts_with("// SAFETY:")
}

/// True when the doc comment above the function has a `# Safety` section.
fn has_safety_section(lines: &[&str], line: usize) -> bool {
    let above = lines[..line - 1].iter().rev();
    // Attributes that span lines are rare enough to be told by their last character.
    above
        .take_while(|text| is_comment(text) || text.starts_with('#') || text.ends_with(']'))
        .any(|text| text.trim_start_matches('/').trim() == "# Safety")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(text: &str) -> usize {
        safety_notes(&Source::new("core/src/sys/sched.rs", text)).len()
    }

    #[test]
    fn unsafe_code_outside_the_fence_is_reported() {
        let kinds = [
            "fn f() { unsafe { g() } }",
            "unsafe impl Send for A {}",
            "unsafe fn f() {}",
            "unsafe extern \"C\" { fn f(); }",
            "#[unsafe(no_mangle)] pub extern \"C\" fn f() {}",
            "m!(unsafe { g() });",
        ];
        for text in kinds {
            assert_eq!(unsafe_fence(&Source::new("core/src/queue.rs", text)).len(), 1, "{text}");
            for path in ["abi/src/lib.rs", "core/src/sys/sched.rs", "core/src/host/load.rs", "tests/abi/src/lib.rs"] {
                assert!(unsafe_fence(&Source::new(path, text)).is_empty(), "{path}");
            }
        }
        assert_eq!(unsafe_fence(&Source::new("core/src/host/state.rs", kinds[0])).len(), 1);
        let other = HOT.replace("snooze_hot", "init_array");
        for (attribute, reported) in [(HOT, 0), (other.as_str(), 1)] {
            let text = format!("{attribute}\nfn f() {{}}");
            assert_eq!(unsafe_fence(&Source::new("core/src/queue.rs", text)).len(), reported, "{attribute}");
        }
        assert_eq!(unsafe_fence(&Source::new("core/src/host/load.rs/x.rs", kinds[0])).len(), 1);
    }

    #[test]
    fn types_words_and_lints_that_say_unsafe_are_not_unsafe_code() {
        let text = "#![forbid(unsafe_code)]\n// unsafe { }\ntype F = Option<unsafe extern \"C\" fn(u8)>;\nconst A: &str = \"unsafe {\";\n";
        assert!(unsafe_fence(&Source::new("core/src/queue.rs", text)).is_empty());
    }

    #[test]
    fn unsafe_without_its_reason_is_reported() {
        assert_eq!(notes("fn f() {\n    unsafe { g() }\n}"), 1);
        assert_eq!(notes("unsafe impl Send for A {}"), 1);
        assert_eq!(notes("/// Does.\nunsafe fn f() {\n}"), 1);
        assert_eq!(notes("// SAFETY: too far.\n\n\n\nunsafe impl Send for A {}"), 1);
        assert_eq!(notes("// SAFETY: of another.\nfn f() {}\n// A note.\nunsafe impl Send for A {}"), 1);
    }

    #[test]
    fn unsafe_with_its_reason_passes() {
        assert_eq!(notes("fn f() {\n    // SAFETY: g is sound.\n    unsafe { g() }\n}"), 0);
        assert_eq!(notes("fn f() {\n    // SAFETY: g\n    let a =\n        b +\n        unsafe { g() };\n}"), 0);
        let long = "// SAFETY: a\n// b\n// c\n// d\n// e\nunsafe impl Send for A {}";
        assert_eq!(notes(long), 0);
        assert_eq!(
            notes("/// Does.\n///\n/// # Safety\n/// `a` lives.\n/// b\n/// c\n#[inline]\nunsafe fn f() {\n}"),
            0
        );
        assert_eq!(notes("trait T { unsafe fn f(); }\nunsafe extern \"C\" { fn g(); }"), 0);
    }
}
