//! Names that say nothing, and names of machines that are not the reader's.
//! Input: one source, or the paths of the tree. Output: violations. It must never hold, whole, the words it looks for.

use crate::tree::Tree;
use crate::{Source, Violation};

/// Names under which everything and nothing belongs.
const VAGUE: &[&str] = &["utils", "common", "helpers"];

/// Where people's folders are: a path below it is a machine's only with the name of someone.
const HOME: &str = concat!("/ho", "me/");

/// Places that exist on a developer's machine only.
const MACHINE_PLACES: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), HOME, concat!("/tmp/bash", "_jobs")];

/// Where packages come from is each reader's own affair: mirrors, offline builds and distributions differ.
const REGISTRY_HOSTS: &[&str] = &[
    concat!("static.cra", "tes.io"),
    concat!("index.cra", "tes.io"),
    concat!("://cra", "tes.io"),
    concat!("py", "pi.org"),
    concat!("files.python", "hosted.org"),
    concat!("registry.np", "mjs.org"),
    concat!("deb.deb", "ian.org"),
    concat!("proxy.gol", "ang.org"),
];

/// No folder and no file is named after nothing in particular.
pub fn vague_names(tree: &Tree) -> Vec<Violation> {
    let is_vague = |part: &str| VAGUE.contains(&part.split('.').next().unwrap_or_default());
    let vague = tree.paths.iter().filter(|path| path.split('/').any(is_vague));
    let found = vague.map(|path| {
        Violation::new(path, 1, "vague names", "a name that says nothing", "name it after what it is responsible for")
    });
    found.collect()
}

/// No text names a path of a developer's machine.
pub fn machine_paths(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    for (number, line) in source.numbered_lines() {
        for place in MACHINE_PLACES.iter().filter(|place| names_place(line, place)) {
            found.push(Violation::new(
                &source.path,
                number,
                "machine paths",
                format!("`{place}` is a place on one developer's machine"),
                "use a path relative to the repository, a temporary folder, or a variable",
            ));
        }
    }
    found
}

/// True when the place itself is named, rather than a path that ends alike (`framework/`, `$HOME/...`) or a placeholder
/// (`<name>`, `$USER`) below it.
fn names_place(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let continues = |c: char| c.is_alphanumeric() || "._-})>*".contains(c);
        let starts_here = !line[..at].chars().next_back().is_some_and(continues);
        let names_someone = line[at + place.len()..].starts_with(|c: char| c.is_alphanumeric());
        starts_here && (names_someone || place != HOME)
    })
}

/// No text names the host of a package registry, except where cargo itself writes the source of a package down.
pub fn registry_hosts(source: &Source) -> Vec<Violation> {
    let is_lock = source.path.ends_with("Cargo.lock");
    let mut found = Vec::new();
    for (number, line) in source.numbered_lines().filter(|(_, line)| !(is_lock && line.starts_with("source = "))) {
        for host in REGISTRY_HOSTS.iter().filter(|host| line.contains(*host)) {
            found.push(Violation::new(
                &source.path,
                number,
                "registry hosts",
                format!("`{}` is the host of a package registry", host.trim_start_matches("://")),
                "name the package, not where it is fetched from",
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_files_named_after_nothing_are_reported() {
        let paths = ["daemon/src/utils.rs", "abi/common/a.h", "plugins/sdk/src/helpers/mod.rs", "abi/src/uncommon.rs"];
        let tree = Tree::of(paths.iter().map(|path| Source::new(*path, "")).collect());
        let found: Vec<String> = vague_names(&tree).into_iter().map(|violation| violation.file).collect();
        assert_eq!(found, ["abi/common/a.h", "daemon/src/utils.rs", "plugins/sdk/src/helpers/mod.rs"]);
    }

    fn places(line: &str) -> usize {
        machine_paths(&Source::new("docs/a.md", format!("first\n{line}\n"))).len()
    }

    #[test]
    fn paths_of_a_developers_machine_are_reported() {
        for place in MACHINE_PLACES {
            for before in ["see ", "'", "file://", "(", ""] {
                assert_eq!(places(&format!("{before}{place}ann")), 1, "{before}{place}");
            }
        }
    }

    #[test]
    fn other_paths_and_placeholders_pass() {
        let (work, root, home) = (MACHINE_PLACES[0], MACHINE_PLACES[1], HOME);
        for line in
            [format!("net{work}a"), format!("$HOME{work}a"), format!("%{{buildroot}}{root}a"), format!("a{home}b")]
        {
            assert_eq!(places(&line), 0, "{line}");
        }
        for line in [format!("{home}<name>/x"), format!("{home}$USER"), "/var/lib/cloudsnooze /tmp/x".to_owned()] {
            assert_eq!(places(&line), 0, "{line}");
        }
    }

    #[test]
    fn registry_hosts_are_reported_outside_the_lock_files_source_lines() {
        for host in REGISTRY_HOSTS {
            assert_eq!(registry_hosts(&Source::new("docs/a.md", format!("a\nb https{host}/x\n"))).len(), 1, "{host}");
        }
        let source = format!("source = \"sparse+https://{}/\"\n", REGISTRY_HOSTS[1]);
        assert!(registry_hosts(&Source::new("Cargo.lock", source.clone())).is_empty());
        assert_eq!(registry_hosts(&Source::new("deny.toml", source)).len(), 1);
        let index = concat!("allow-registry = [\"https://github.com/rust-lang/cra", "tes.io-index\"]");
        assert!(registry_hosts(&Source::new("deny.toml", index)).is_empty());
    }
}
