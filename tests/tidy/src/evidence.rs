//! That documents which claim "a test holds this" name tests that exist.
//! Input: the tree. Output: violations. It must never judge whether a test really holds the claim: that is for readers.

use crate::tree::Tree;
use crate::{Source, Violation};

/// The document in which every claim of the section below has to name a test.
const THREATS: &str = "docs/THREAT_MODEL.md";
/// Its section of claims.
const CLAIMS: &str = "## What is defended";

/// Every `path.rs::test` in a document is a test of that file, and every claim of the threat model has one.
pub fn named_tests(tree: &Tree) -> Vec<Violation> {
    let documents = tree.sources.iter().filter(|source| source.path.starts_with("docs/") && source.extension() == "md");
    documents.flat_map(|document| missing(document, tree).into_iter().chain(bare_claims(document))).collect()
}

fn missing(document: &Source, tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (number, line) in document.numbered_lines() {
        for (path, name) in tests_named_in(line) {
            let file = tree.sources.iter().find(|source| source.path == path);
            if file.is_some_and(|file| has_test(file, name)) {
                continue;
            }
            let message = match file {
                Some(_) => format!("`{path}` has no test `{name}`"),
                None => format!("there is no file `{path}`"),
            };
            found.push(Violation::new(
                &document.path,
                number,
                "named tests",
                message,
                "name the test as it is called now",
            ));
        }
    }
    found
}

/// Path and name of every `path.rs::name` between backquotes.
fn tests_named_in(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|span| span.split_once("::"))
        .filter(|(path, _)| path.ends_with(".rs"))
}

fn has_test(file: &Source, name: &str) -> bool {
    let declaration = format!("fn {name}(");
    let mut lines = file.numbered_lines();
    lines.any(|(number, line)| line.trim_start().starts_with(&declaration) && file.is_test_line(number))
}

/// The list items of the section of claims that name no test.
fn bare_claims(document: &Source) -> Vec<Violation> {
    if document.path != THREATS {
        return Vec::new();
    }
    let mut items: Vec<(usize, String)> = Vec::new();
    let mut is_claims = false;
    for (number, line) in document.numbered_lines() {
        if line.starts_with("## ") {
            is_claims = line == CLAIMS;
        } else if is_claims && line.starts_with("- ") {
            items.push((number, line.to_owned()));
        } else if let Some((_, item)) = items.last_mut().filter(|_| is_claims && line.starts_with("  ")) {
            item.push_str(line);
        }
    }
    let bare = items.iter().filter(|(_, item)| tests_named_in(item).next().is_none());
    let mut found: Vec<Violation> = bare
        .map(|(number, _)| {
            Violation::new(THREATS, *number, "named tests", "a claim that names no test", "name it, or move the claim")
        })
        .collect();
    if items.is_empty() {
        found.push(Violation::new(THREATS, 1, "named tests", format!("no list below '{CLAIMS}'"), "keep that heading"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(document: &str) -> Vec<usize> {
        let code = "//! T.\nfn not_a_test() {}\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn it_holds() {}\n}\n";
        let sources = vec![Source::new("daemon/src/a.rs", code), Source::new(THREATS, document)];
        named_tests(&Tree::of(sources)).iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn a_claim_with_a_test_that_exists_passes() {
        assert_eq!(
            found("# T\n\n## What is defended\n\n- That:\n  `daemon/src/a.rs::it_holds`.\n\n## Rest\n\n- bare\n"),
            []
        );
    }

    #[test]
    fn a_claim_without_a_test_or_with_one_that_is_gone_is_reported() {
        assert_eq!(found("## What is defended\n\n- That.\n- This: `daemon/src/a.rs::it_holds`\n"), [3]);
        assert_eq!(
            found("## What is defended\n- A: `daemon/src/a.rs::gone`\n- B: `daemon/src/b.rs::it_holds`\n"),
            [2, 3]
        );
        assert_eq!(found("## What is defended\n- A: `daemon/src/a.rs::not_a_test`\n"), [2]);
        assert_eq!(found("# No claims at all\n"), [1]);
    }
}
