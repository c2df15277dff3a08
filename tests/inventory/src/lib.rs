//! What is built into the programs and plugins, as cargo knows it.
//!
//! Responsibilities: from packages of the workspace to every crate that is linked into them, directly or not; `sbom` and
//! `licences` write that down. Inputs: `cargo metadata`, `Cargo.lock`. Outputs: texts that are the same on every machine and day.
//! Must never name what only builds or tests it: build scripts, procedural macros, and what these need.

pub mod licences;
pub mod sbom;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

/// One crate that is linked in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Crate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence as an SPDX expression; None: it does not say.
    pub licence: Option<String>,
    /// Where its sources are on this machine.
    pub directory: PathBuf,
    /// Where its authors keep it.
    pub repository: Option<String>,
    /// SHA-256 of its archive, hexadecimal; None for our own.
    pub sha256: Option<String>,
    /// Places in [`Inventory::crates`] of what it uses itself.
    pub uses: BTreeSet<usize>,
}

impl Crate {
    /// Its package URL (github.com/package-url/purl-spec, type cargo).
    pub fn purl(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }

    /// Whether somebody else wrote it.
    pub fn is_foreign(&self) -> bool {
        self.sha256.is_some()
    }
}

/// Everything that is linked into some packages.
#[derive(Debug)]
pub struct Inventory {
    /// The workspace's version.
    pub version: String,
    /// All crates, by name and version.
    pub crates: Vec<Crate>,
    /// Places in it of the packages that were asked for.
    pub roots: BTreeSet<usize>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    license_file: Option<PathBuf>,
    repository: Option<String>,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    /// None: an ordinary one; `dev`, `build`.
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

impl Inventory {
    /// What is linked into these packages of the workspace that the current directory is in, on this architecture. Where several
    /// packages ask for different features of a crate, what any of them brings counts. Runs cargo.
    ///
    /// # Errors
    /// Cargo fails (offline without the crates, say), or there is no such package.
    pub fn of(packages: &[String], offline: bool, config: Option<&Path>) -> Result<Self> {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        if let Some(config) = config {
            command.arg("--config").arg(config);
        }
        let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        command.args(["metadata", "--format-version=1", "--locked", "--filter-platform", &platform]);
        command.args(offline.then_some("--offline"));
        let output = command.output().context("cargo metadata")?;
        if !output.status.success() {
            bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
        let lock = metadata.workspace_root.join("Cargo.lock");
        let lock = std::fs::read_to_string(&lock).with_context(|| lock.display().to_string())?;
        Self::from(metadata, &toml::from_str(&lock).context("Cargo.lock")?, packages)
    }

    fn from(metadata: Metadata, lock: &Lock, packages: &[String]) -> Result<Self> {
        let by_id: HashMap<&str, &Package> = metadata.packages.iter().map(|p| (p.id.as_str(), p)).collect();
        let needs: HashMap<&str, Vec<&str>> =
            metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), linked(node, &by_id))).collect();
        let checksums: HashMap<(&str, &str), &str> = lock
            .package
            .iter()
            .filter_map(|p| Some(((p.name.as_str(), p.version.as_str()), p.checksum.as_deref()?)))
            .collect();
        let mut wanted = Vec::new();
        for name in packages {
            let found = metadata.packages.iter().find(|p| p.name == *name && by_us(p, &metadata.workspace_root));
            wanted.push(found.with_context(|| format!("the workspace has no package {name}"))?.id.as_str());
        }
        let mut reached: BTreeMap<(&str, &str), &Package> = BTreeMap::new();
        let mut open = wanted.clone();
        while let Some(id) = open.pop() {
            let Some(package) = by_id.get(id) else { bail!("cargo metadata: no package {id}") };
            if reached.insert((&package.name, &package.version), package).is_none() {
                open.extend(needs.get(id).into_iter().flatten());
            }
        }
        let places: HashMap<&str, usize> = reached.values().enumerate().map(|(at, p)| (p.id.as_str(), at)).collect();
        let crates = reached.values().map(|package| Crate {
            name: package.name.clone(),
            version: package.version.clone(),
            licence: licence(package),
            directory: package.manifest_path.parent().map(Path::to_owned).unwrap_or_default(),
            repository: package.repository.clone(),
            sha256: checksums.get(&(package.name.as_str(), package.version.as_str())).map(|text| (*text).to_owned()),
            uses: needs
                .get(package.id.as_str())
                .into_iter()
                .flatten()
                .filter_map(|id| places.get(id).copied())
                .collect(),
        });
        let crates: Vec<Crate> = crates.collect();
        let roots: BTreeSet<usize> = wanted.iter().filter_map(|id| places.get(id).copied()).collect();
        let version = roots.first().and_then(|at| crates.get(*at)).map(|root| root.version.clone());
        Ok(Self { version: version.unwrap_or_default(), crates, roots })
    }
}

fn by_us(package: &Package, workspace: &Path) -> bool {
    package.manifest_path.starts_with(workspace) && !package.id.starts_with("registry+")
}

/// What a crate links in: neither what builds or tests it, nor macros, which are gone when it is built.
fn linked<'m>(node: &'m Node, by_id: &HashMap<&str, &Package>) -> Vec<&'m str> {
    let is_macro = |id: &str| {
        let targets = by_id.get(id).map_or(&[][..], |package| &package.targets[..]);
        targets.iter().any(|target| target.kind.iter().any(|kind| kind == "proc-macro"))
    };
    let ordinary = node.deps.iter().filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none()));
    ordinary.map(|dependency| dependency.pkg.as_str()).filter(|id| !is_macro(id)).collect()
}

/// Its expression in today's form: crates of old separate choices by a slash (the cargo book, "The license field").
fn licence(package: &Package) -> Option<String> {
    let named = package.license.as_ref().map(|text| text.replace('/', " OR "));
    named.or_else(|| package.license_file.as_ref().map(|_| "LicenseRef-in-the-crate".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The workspace that this is a part of, without the network.
    fn ours() -> Inventory {
        Inventory::of(&["cloudsnooze".into(), "sqlite-flusher".into()], true, None).expect("cargo knows it")
    }

    fn has(inventory: &Inventory, name: &str) -> bool {
        inventory.crates.iter().any(|found| found.name == name)
    }

    #[test]
    fn what_is_linked_is_listed_and_what_only_builds_or_tests_is_not() {
        let inventory = ours();
        for linked in ["cloudsnooze", "sqlite-flusher", "libsqlite3-sys", "tokio", "ring"] {
            assert!(has(&inventory, linked), "{linked}");
        }
        for other in ["proptest", "serde_derive", "cc", "clap_derive", "tidy", "mysql"] {
            assert!(!has(&inventory, other), "{other}");
        }
        assert_eq!(inventory.roots.len(), 2);
        let foreign = inventory.crates.iter().filter(|found| found.is_foreign());
        assert!(foreign.clone().count() > 100);
        for found in foreign {
            assert!(found.licence.is_some(), "{found:?}");
        }
    }

    #[test]
    fn the_bill_of_materials_is_the_same_each_time_and_names_no_place() {
        let (text, again) = (sbom::text(&ours()).expect("written"), sbom::text(&ours()).expect("written"));
        assert_eq!(text, again);
        let bill: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((bill["bomFormat"].as_str(), bill["specVersion"].as_str()), (Some("CycloneDX"), Some("1.5")));
        let references: BTreeSet<&str> =
            bill["components"].as_array().expect("a list").iter().filter_map(|part| part["bom-ref"].as_str()).collect();
        for part in bill["dependencies"].as_array().expect("a list") {
            for used in part["dependsOn"].as_array().expect("a list") {
                assert!(references.contains(used.as_str().expect("a text")), "{used}");
            }
        }
        let here = ours().crates[0].directory.display().to_string();
        assert!(!text.contains(&here), "{here}");
    }

    #[test]
    fn every_crate_of_others_has_its_licence_in_words() {
        let inventory = ours();
        let text = licences::text(&inventory).expect("written");
        assert_eq!(text, licences::text(&inventory).expect("written"));
        for found in inventory.crates.iter().filter(|found| found.is_foreign()) {
            assert!(text.contains(&format!("{} {}", found.name, found.version)), "{found:?}");
        }
        assert!(text.contains("Permission is hereby granted, free of charge"));
    }

    #[test]
    fn a_font_within_our_own_crates_has_its_licence_in_words_where_it_is_linked() {
        let mut inventory = ours();
        let glyphs =
            Crate { name: "ab_glyph".into(), licence: Some("Apache-2.0".into()), ..inventory.crates[0].clone() };
        inventory.crates.retain(|found| found.name != "ab_glyph");
        assert!(!licences::text(&inventory).expect("written").contains("a trademark of Bitstream, Inc."));
        inventory.crates.push(glyphs);
        let text = licences::text(&inventory).expect("written");
        assert!(text.contains("a trademark of Bitstream, Inc.") && text.contains("DejaVu Sans 2.37"));
    }

    #[test]
    fn an_unknown_package_is_told() {
        let error = Inventory::of(&["no-such".into()], true, None).expect_err("refused");
        assert!(error.to_string().contains("no package no-such"), "{error}");
    }
}
