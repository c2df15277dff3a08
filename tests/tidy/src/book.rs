//! That the documents are one book: every page is in its index, every link to a heading finds it, and the roadmap says of
//! each line where it lives and which test holds it.
//! Input: the tree. Output: violations. It must never judge how well a page reads.

use std::collections::{BTreeMap, BTreeSet};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::tree::Tree;
use crate::{Source, Violation, is_fixture};

/// The index of the book.
const INDEX: &str = "docs/SUMMARY.md";
/// What was to be built, line by line.
const ROADMAP: &str = "docs/roadmap.md";
/// What a line of the roadmap says instead of a test.
const NOT_BUILT: &str = "**not built**";

/// Every document below `docs/` is a page of the index, once.
pub fn index(tree: &Tree) -> Vec<Violation> {
    let Some(index) = tree.sources.iter().find(|source| source.path == INDEX) else { return Vec::new() };
    let (mut listed, mut found) = (BTreeSet::new(), Vec::new());
    for (line, target) in links_of(&index.text).into_iter().filter(|(_, target)| !target.is_empty()) {
        if !listed.insert(format!("docs/{target}")) {
            found.push(Violation::new(INDEX, line, "index", format!("`{target}` a second time"), "leave one of them"));
        }
    }
    let pages = tree.paths.iter().filter(|path| path.starts_with("docs/") && path.ends_with(".md") && *path != INDEX);
    let lost = pages.filter(|path| !listed.contains(*path));
    found.extend(
        lost.map(|path| Violation::new(path, 1, "index", "no page of the book", format!("name it in {INDEX}"))),
    );
    found
}

/// Every link with a fragment finds a heading of that name.
pub fn anchors(tree: &Tree) -> Vec<Violation> {
    let documents = tree.sources.iter().filter(|source| source.extension() == "md" && !is_fixture(&source.path));
    let documents: BTreeMap<&str, &Source> = documents.map(|source| (source.path.as_str(), source)).collect();
    let mut headings: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut found = Vec::new();
    for (path, source) in &documents {
        for (line, link) in links_of(&source.text) {
            let Some((target, fragment)) = link.split_once('#') else { continue };
            if target.contains(':') {
                continue;
            }
            let target =
                if target.is_empty() { Some((*path).to_owned()) } else { crate::markdown::resolve(path, target) };
            // A page that is not there is another rule's.
            let Some(page) = target.and_then(|target| documents.get(target.as_str())) else { continue };
            let known = headings.entry(page.path.as_str()).or_insert_with(|| anchors_of(&page.text));
            if !known.contains(fragment) {
                let message = format!("`{link}` finds no heading");
                found.push(Violation::new(path, line, "anchors", message, "name the heading as it is called now"));
            }
        }
    }
    found
}

/// Every line of the roadmap names a file and a test, or says that it is not built.
pub fn roadmap(tree: &Tree) -> Vec<Violation> {
    let Some(roadmap) = tree.sources.iter().find(|source| source.path == ROADMAP) else { return Vec::new() };
    let rows = roadmap.numbered_lines().filter(|(_, line)| {
        line.starts_with("| ") && !line.starts_with("| line ") && line.chars().any(|c| !"|- ".contains(c))
    });
    let mut found = Vec::new();
    for (number, row) in rows {
        let is_proved = row.contains("](") && row.contains(".rs::");
        if !is_proved && !row.contains(NOT_BUILT) {
            let message = "a line without a link to where it lives and a test (`path.rs::name`)";
            found.push(Violation::new(ROADMAP, number, "roadmap", message, format!("name both, or say {NOT_BUILT}")));
        }
    }
    found
}

/// Line and target of every link.
fn links_of(text: &str) -> Vec<(usize, String)> {
    let events = Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter();
    let links = events.filter_map(|(event, range)| match event {
        Event::Start(Tag::Link { dest_url, .. }) => {
            Some((text[..range.start].matches('\n').count() + 1, dest_url.into_string()))
        }
        _ => None,
    });
    links.collect()
}

/// The fragments of a document's headings, as mdBook and the hosts of repositories make them.
fn anchors_of(text: &str) -> BTreeSet<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = BTreeSet::new();
    let mut heading: Option<String> = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match (event, &mut heading) {
            (Event::Start(Tag::Heading { .. }), _) => heading = Some(String::new()),
            (Event::Text(words) | Event::Code(words), Some(title)) => title.push_str(&words),
            (Event::End(TagEnd::Heading(_)), Some(title)) => {
                let name = anchor(title);
                let count = counts.entry(name.clone()).or_default();
                found.insert(if *count == 0 { name } else { format!("{name}-{count}") });
                *count += 1;
                heading = None;
            }
            _ => {}
        }
    }
    found
}

fn anchor(title: &str) -> String {
    let kept = title.trim().chars().filter(|c| c.is_alphanumeric() || "_- ".contains(*c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(rule: fn(&Tree) -> Vec<Violation>, files: &[(&str, &str)]) -> Vec<usize> {
        let tree = Tree::of(files.iter().map(|(path, text)| Source::new(*path, *text)).collect());
        rule(&tree).iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn a_page_that_the_index_does_not_name_is_reported() {
        let index_text = "# Book\n\n- [A](a.md)\n  - [B](x/b.md)\n";
        let files = |more: &'static str| vec![(INDEX, index_text), ("docs/a.md", ""), ("docs/x/b.md", ""), (more, "")];
        assert_eq!(lines(index, &files("README.md")), []);
        assert_eq!(lines(index, &files("docs/lost.md")), [1]);
    }

    #[test]
    fn a_page_that_the_index_names_twice_is_reported_with_its_line() {
        let text = "# Book\n\n- [Parts]()\n- [More parts]()\n- [A](a.md)\n- [A again](a.md)\n";
        assert_eq!(lines(index, &[(INDEX, text), ("docs/a.md", "")]), [6]);
    }

    #[test]
    fn a_link_to_a_heading_that_is_not_there_is_reported_with_its_line() {
        let page = "# The `a.b` of C++\n\n## C\n\n## C++\n";
        let linking = |links: &'static str| vec![("docs/a.md", page), ("docs/b.md", links)];
        assert_eq!(
            lines(anchors, &linking("[x](a.md#the-ab-of-c) [y](a.md#c) [z](a.md#c-1) [w](https://e.org/#x)\n")),
            []
        );
        assert_eq!(lines(anchors, &linking("\n[x](a.md#gone)\n\n[y](#here)\n\n# There\n")), [2, 4]);
    }

    #[test]
    fn a_line_of_the_roadmap_without_place_or_test_is_reported() {
        let head = "| line | where | test |\n|---|---|---|\n";
        let with = |row: &str| format!("{head}{row}\n");
        let of = |row: &str| lines(roadmap, &[(ROADMAP, &with(row))]);
        assert_eq!(of("| Polling | [aws](../a.rs) | `a.rs::it_polls` |"), []);
        assert_eq!(of("| Election | **not built** | |"), []);
        assert_eq!(of("| Polling | [aws](../a.rs) | |"), [3]);
        assert_eq!(of("| Polling | | `a.rs::it_polls` |"), [3]);
    }
}
