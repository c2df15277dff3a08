//! That documents lead somewhere: relative links point at files that exist, and the README's map knows every folder.
//! Input: the tree. Output: violations. It must never follow a link to another host.

use std::collections::BTreeSet;

use pulldown_cmark::{Event, Options, Parser, Tag};

use crate::tree::Tree;
use crate::{Source, Violation, is_fixture};

/// Every relative link in a Markdown file leads to a file or folder of the repository.
pub fn links(tree: &Tree) -> Vec<Violation> {
    let documents = tree.sources.iter().filter(|source| source.extension() == "md" && !is_fixture(&source.path));
    documents.flat_map(|source| broken_links(source, &tree.paths)).collect()
}

/// The relative links of one document that lead nowhere.
fn broken_links(source: &Source, paths: &BTreeSet<String>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (event, range) in Parser::new_ext(&source.text, Options::ENABLE_TABLES).into_offset_iter() {
        let Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) = event else { continue };
        let target = dest_url.split(['#', '?']).next().unwrap_or_default().replace("%20", " ");
        // Empty: a heading of the same document. With a scheme: another host, or mail.
        if target.is_empty() || has_scheme(&target) {
            continue;
        }
        if !resolve(&source.path, &target).is_some_and(|path| exists(&path, paths)) {
            let line = source.text[..range.start].matches('\n').count() + 1;
            found.push(Violation::new(
                &source.path,
                line,
                "links",
                format!("link to `{dest_url}` leads nowhere"),
                "mend the path; it is relative to the document's own folder",
            ));
        }
    }
    found
}

fn has_scheme(target: &str) -> bool {
    target.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

/// The path from the top of the repository that `target` means in the document at `document`; `None` when it leads out.
pub(crate) fn resolve(document: &str, target: &str) -> Option<String> {
    let folder = if target.starts_with('/') { "" } else { document.rsplit_once('/').map_or("", |(folder, _)| folder) };
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(target.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// True for a file, a folder that holds one, and the top itself.
fn exists(path: &str, paths: &BTreeSet<String>) -> bool {
    let below = format!("{path}/");
    path.is_empty()
        || paths.contains(path)
        || paths.range(below.clone()..).next().is_some_and(|next| next.starts_with(&below))
}

/// The README tells of every folder at the top, as `name/`.
pub fn readme_map(tree: &Tree) -> Vec<Violation> {
    let readme = tree.sources.iter().find(|source| source.path == "README.md");
    let text = readme.map_or("", |source| source.text.as_str());
    let missing = tree.top_folders().into_iter().filter(|folder| !names_folder(text, folder));
    let found = missing.map(|folder| {
        Violation::new(
            "README.md",
            1,
            "readme map",
            format!("the map doesn't know the folder `{folder}/`"),
            "add a line that says what is in it",
        )
    });
    found.collect()
}

fn names_folder(text: &str, folder: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || "/._-".contains(c);
    let name = format!("{folder}/");
    text.match_indices(&name).any(|(at, _)| !text[..at].chars().next_back().is_some_and(is_part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> Vec<usize> {
        let others =
            ["docs/guide.md", "docs/adr/0001.md", "docs/a b.svg", "LICENSE"].map(|other| Source::new(other, ""));
        let tree = Tree::of(others.into_iter().chain([Source::new(path, text)]).collect());
        links(&tree).iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn links_that_lead_nowhere_are_reported_with_their_line() {
        assert_eq!(broken("README.md", "# A\n\nSee [b](docs/gone.md) and [c](guide.md).\n"), [3, 3]);
        assert_eq!(broken("docs/x.md", "![a](images/a.png)\n\n| [t](gone.md) |\n|---|\n"), [1, 3]);
        assert_eq!(broken("docs/x.md", "[a](../../outside.md)\n"), [1]);
        assert_eq!(broken("docs/x.md", "[a][r]\n\n[r]: gone.md\n"), [1]);
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        let text = "[a](docs/guide.md#part) [b](docs/adr/) [c](./LICENSE) [d](#here) [e](https://example.org/x) [f](mailto:a@b.c)\n";
        assert!(broken("README.md", text).is_empty());
        assert!(
            broken("docs/x.md", "[a](../LICENSE) [b](adr/0001.md) [c](/docs/guide.md) ![d](a%20b.svg) [e](..)\n")
                .is_empty()
        );
    }

    #[test]
    fn code_is_not_a_link() {
        assert!(broken("README.md", "`[a](gone.md)`\n\n```\n[b](gone.md)\n```\n").is_empty());
    }

    #[test]
    fn a_folder_the_map_does_not_know_is_reported() {
        let tree = |readme: &str| {
            Tree::of(vec![Source::new("README.md", readme), Source::new("abi/a.rs", ""), Source::new(".ci/run", "")])
        };
        let missing =
            |readme: &str| readme_map(&tree(readme)).into_iter().map(|violation| violation.message).collect::<Vec<_>>();
        assert_eq!(missing("- `abi/` the layout\n").len(), 1);
        assert!(missing("- `abi/` the layout\n- `.ci/` checks\n").is_empty());
        assert_eq!(missing("- `cabi/` `x/abi/` `.ci/`\n").len(), 1);
        assert_eq!(readme_map(&Tree::of(vec![Source::new("abi/a.rs", "")])).len(), 1);
    }
}
