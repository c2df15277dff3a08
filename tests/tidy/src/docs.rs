//! What must be documented beyond what the compiler asks: modules, and the thread of every function pointer of the ABI.
//! Input: one source. Output: violations. It must never judge how well something is said.

use syn::visit::Visit;

use crate::{Source, Violation, is_fixture};

/// The threads a plugin's function may be called on, and a service may be called from, as the ABI's life cycle names them.
const THREADS: &[&str] = &["main", "dispatch", "worker", "run", "any", "rt"];

/// Every Rust file begins with its module doc.
pub fn module_doc(source: &Source) -> Vec<Violation> {
    if source.extension() != "rs" || is_fixture(&source.path) {
        return Vec::new();
    }
    let wanted = if is_product(&source.path) { 2 } else { 1 };
    let doc = source.text.lines().map_while(|line| line.strip_prefix("//!"));
    let lines = doc.filter(|line| !line.trim().is_empty()).count();
    if lines >= wanted {
        return Vec::new();
    }
    vec![Violation::new(
        &source.path,
        1,
        "module doc",
        format!("begins with {lines} line(s) of `//!`, {wanted} wanted"),
        "say its responsibilities, inputs -> outputs, and what it must never do",
    )]
}

/// True in the `src` of the daemon and its core, the ABI, the fleet and the plugins.
fn is_product(path: &str) -> bool {
    path.starts_with("daemon/src/")
        || path.starts_with("core/src/")
        || path.starts_with("abi/src/")
        || path.starts_with("fleet/src/")
        || (path.starts_with("plugins/") && path.split('/').nth(2) == Some("src"))
}

/// Every function-pointer member of the ABI says first on which threads it is called.
pub fn thread_tags(source: &Source) -> Vec<Violation> {
    if !source.path.starts_with("abi/src/") {
        return Vec::new();
    }
    let Some(file) = source.rust().and_then(|rust| syn::parse2::<syn::File>(rust.tokens.clone()).ok()) else {
        return Vec::new();
    };
    let mut members = Members { path: &source.path, aliases: Vec::new(), found: Vec::new() };
    // Twice: a type may be named before its alias is written.
    members.visit_file(&file);
    members.found.clear();
    members.visit_file(&file);
    members.found
}

struct Members<'a> {
    path: &'a str,
    /// Names given to function-pointer types in this file.
    aliases: Vec<String>,
    found: Vec<Violation>,
}

impl Members<'_> {
    /// True for `fn(...)`, an alias of it, and `Option` of either.
    fn is_function_pointer(&self, kind: &syn::Type) -> bool {
        match kind {
            syn::Type::FnPtr(_) => true,
            syn::Type::Path(path) => path.path.segments.last().is_some_and(|last| match &last.arguments {
                syn::PathArguments::AngleBracketed(inner) if last.ident == "Option" => inner.args.iter().any(
                    |argument| matches!(argument, syn::GenericArgument::Type(kind) if self.is_function_pointer(kind)),
                ),
                _ => self.aliases.iter().any(|alias| last.ident == alias),
            }),
            _ => false,
        }
    }
}

impl<'ast> Visit<'ast> for Members<'_> {
    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        if self.is_function_pointer(&item.ty) {
            self.aliases.push(item.ident.to_string());
        }
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if !self.is_function_pointer(&field.ty) || first_doc_line(&field.attrs).is_some_and(|line| has_tag(&line)) {
            return;
        }
        let Some(name) = &field.ident else { return };
        self.found.push(Violation::new(
            self.path,
            name.span().start().line,
            "thread tags",
            format!("function pointer `{name}` doesn't say on which threads it is called"),
            "begin its doc with `[main]`, `[dispatch]`, `[worker]`, `[any]`, `[rt]` or a combination such as `[any, rt]`",
        ));
    }
}

fn first_doc_line(attributes: &[syn::Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => {
                Some(text.value().lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned())
            }
            _ => None,
        },
        _ => None,
    })
}

/// `[any, rt]`, `[main & active]`: threads parted by `,` or `|`, each with states after `&`.
fn has_tag(line: &str) -> bool {
    let Some((tag, _)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) else { return false };
    tag.split([',', '|']).all(|part| {
        let mut words = part.split('&').map(str::trim);
        words.next().is_some_and(|thread| THREADS.contains(&thread))
            && words
                .all(|state| !state.is_empty() && state.chars().all(|c| c.is_ascii_lowercase() || "!-_ ".contains(c)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(fields: &str) -> usize {
        let text = format!("//! Doc.\npub struct A {{\n{fields}\n}}\ntype Call = unsafe extern \"C\" fn(u8);\n");
        thread_tags(&Source::new("abi/src/host.rs", text)).len()
    }

    #[test]
    fn product_modules_need_two_lines_of_doc_and_others_one() {
        let lines = |path: &str, text: &str| module_doc(&Source::new(path, text)).len();
        for path in
            ["core/src/queue.rs", "abi/src/lib.rs", "plugins/sdk/src/lib.rs", "plugins/slack-notifier/src/a/b.rs"]
        {
            assert_eq!(lines(path, "//! One.\nfn f() {}\n"), 1, "{path}");
            assert_eq!(lines(path, "//! One.\n//!\nfn f() {}\n"), 1, "{path}");
            assert_eq!(lines(path, "//! One.\n//! Two.\nfn f() {}\n"), 0, "{path}");
        }
        assert_eq!(lines("tests/e2e/tests/a.rs", "use std::io;\n//! Late.\n"), 1);
        assert_eq!(lines("tests/e2e/tests/a.rs", "//! One.\n"), 0);
    }

    #[test]
    fn a_function_pointer_without_a_thread_is_reported() {
        assert_eq!(tags("/// Writes a record.\npub log: Option<unsafe extern \"C\" fn(u8)>,"), 1);
        assert_eq!(tags("pub log: unsafe extern \"C\" fn(u8),"), 1);
        assert_eq!(tags("/// [thread] What.\npub log: Option<Call>,"), 1);
        assert_eq!(tags("/// What. [main]\npub log: Call,"), 1);
        assert_eq!(tags("#[cfg(unix)] /// [main\npub log: Call,"), 1);
    }

    #[test]
    fn tagged_function_pointers_and_plain_members_pass() {
        assert_eq!(tags("/// [any, rt] Writes a record.\npub log: Option<unsafe extern \"C\" fn(u8)>,"), 0);
        assert_eq!(tags("/// [main & active] Stops.\npub stop: Call,"), 0);
        assert_eq!(tags("/// [dispatch | worker]\n/// Handles.\npub on_event: Option<Call>,"), 0);
        assert_eq!(tags("/// How many.\npub count: Option<u32>,"), 0);
        let elsewhere = Source::new("core/src/host/call.rs", "struct A { f: fn(u8) }");
        assert!(thread_tags(&elsewhere).is_empty());
    }
}
