//! That every crate takes its lints, its licence and the versions of its dependencies from the workspace.
//! Input: one `Cargo.toml`. Output: violations. It must never judge a crate that is a workspace of its own (fuzz targets,
//! templates that are copied out of the repository).

use toml::de::{DeTable, DeValue};

use crate::{Source, Violation, is_fixture};

/// The tables that name dependencies, also below `target.<condition>`.
const DEPENDENCIES: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];

/// A member of the workspace repeats nothing that the workspace says.
pub fn member_manifest(source: &Source) -> Vec<Violation> {
    if !(source.path == "Cargo.toml" || source.path.ends_with("/Cargo.toml")) || is_fixture(&source.path) {
        return Vec::new();
    }
    let violation =
        |line, message: String, mend: &str| Violation::new(&source.path, line, "member manifest", message, mend);
    let document = match DeTable::parse(&source.text) {
        Ok(document) => document.into_inner(),
        Err(error) => return vec![violation(1, format!("is not TOML: {}", error.message()), "mend the syntax")],
    };
    let stands_alone = document.contains_key("workspace") && source.path != "Cargo.toml";
    let Some(package) = table(&document, "package").filter(|_| !stands_alone) else { return Vec::new() };
    let mut found = Vec::new();
    if !table(&document, "lints").is_some_and(from_workspace) {
        found.push(violation(1, "has lints of its own or none".to_owned(), "add `[lints]` with `workspace = true`"));
    }
    if !table(package, "license").is_some_and(from_workspace) {
        found.push(violation(1, "has a licence of its own or none".to_owned(), "write `license.workspace = true`"));
    }
    for (name, line) in own_versions(&document, &source.text) {
        found.push(violation(
            line,
            format!("dependency `{name}` has a version of its own"),
            "name it in the workspace's dependencies and write `workspace = true` here",
        ));
    }
    found
}

fn table<'a, 'i>(parent: &'a DeTable<'i>, key: &str) -> Option<&'a DeTable<'i>> {
    match parent.get(key)?.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

fn from_workspace(table: &DeTable<'_>) -> bool {
    matches!(table.get("workspace").map(|value| value.get_ref()), Some(DeValue::Boolean(true)))
}

/// Name and line of every dependency that isn't taken from the workspace.
fn own_versions(document: &DeTable<'_>, text: &str) -> Vec<(String, usize)> {
    let targets = table(document, "target").into_iter().flat_map(|targets| targets.values());
    let conditional = targets.filter_map(|value| match value.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    });
    let mut found = Vec::new();
    for parent in conditional.chain([document]) {
        for dependencies in DEPENDENCIES.iter().filter_map(|kind| table(parent, kind)) {
            for (name, value) in dependencies {
                if !matches!(value.get_ref(), DeValue::Table(table) if from_workspace(table)) {
                    let line = text[..name.span().start].matches('\n').count() + 1;
                    found.push((name.get_ref().to_string(), line));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[package]\nname = \"a\"\nlicense.workspace = true\n\n[lints]\nworkspace = true\n\n";

    fn found(path: &str, text: &str) -> Vec<Violation> {
        member_manifest(&Source::new(path, text))
    }

    #[test]
    fn a_crate_that_takes_all_from_the_workspace_passes() {
        let dependencies = "[dependencies]\nserde = { workspace = true, features = [\"rc\"] }\nlibc.workspace = true\n\
                            [target.'cfg(unix)'.dev-dependencies]\nnix = { workspace = true }\n";
        assert_eq!(found("abi/Cargo.toml", &format!("{GOOD}{dependencies}")), []);
    }

    #[test]
    fn dependencies_with_versions_of_their_own_are_reported_with_their_line() {
        let dependencies = "[dependencies]\nserde = \"1\"\nabi = { path = \"../abi\" }\n\
                            [target.'cfg(unix)'.build-dependencies]\nnix = { version = \"1\", workspace = false }\n";
        let mut lines: Vec<usize> =
            found("abi/Cargo.toml", &format!("{GOOD}{dependencies}")).iter().map(|violation| violation.line).collect();
        lines.sort_unstable();
        assert_eq!(lines, [9, 10, 12]);
    }

    #[test]
    fn lints_and_licence_come_from_the_workspace() {
        assert_eq!(found("abi/Cargo.toml", "[package]\nname = \"a\"\nlicense = \"MIT\"\n").len(), 2);
        assert_eq!(
            found("abi/Cargo.toml", &GOOD.replace("[lints]\nworkspace = true", "[lints.rust]\na = \"deny\"")).len(),
            1
        );
        assert_eq!(found("abi/Cargo.toml", "[package").len(), 1);
    }

    #[test]
    fn workspaces_and_fixtures_are_left_alone() {
        let alone = "[package]\nname = \"a\"\n[workspace]\n[dependencies]\nserde = \"1\"\n";
        assert_eq!(found("tests/fuzz/Cargo.toml", alone), []);
        assert_eq!(found("tests/fixtures/a/Cargo.toml", "[package]\nname = \"a\"\n"), []);
        assert_eq!(found("Cargo.toml", "[workspace]\nmembers = []\n[workspace.dependencies]\nserde = \"1\"\n"), []);
        assert_eq!(found("Cargo.toml", alone).len(), 3);
    }
}
