//! The licences of what others wrote and we ship, with their texts.
//! Inputs: an inventory, the files in the crates' directories. Outputs: a text. Must never shorten or merge texts that differ: each
//! names its own holders of rights.

use crate::{Crate, Inventory};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What files with terms are called, in capitals.
const NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];
const LINE: &str = "--------------------------------------------------------------------------------";
/// Code of others that crates bring along.
const INSIDE: &str = "\
The crate libsqlite3-sys contains SQLite, which its authors have put into the public domain. The crate ring contains code of BoringSSL
and fiat-crypto; the texts of its licences are below.";

/// Files of others within our own crates, with a crate that is only linked in where they are: what they are, and their terms.
const OURS: [(&str, &str, &str); 1] = [(
    "ab_glyph",
    "DejaVu Sans 2.37, a part of it, the font of pictures (insight/fonts)",
    include_str!("../../../insight/fonts/LICENSE"),
)];

/// Terms of licences whose crates carry no text, by their SPDX names; the holders are those that the crate names.
const STANDARD: [(&str, &str); 2] = [("MIT", include_str!("mit.txt")), ("Zlib", include_str!("zlib.txt"))];

/// The text.
///
/// # Errors
/// A crate's directory cannot be read.
pub fn text(inventory: &Inventory) -> Result<String> {
    let mut lists = String::new();
    // By their texts, so that each stands here once.
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for found in inventory.crates.iter().filter(|found| found.is_foreign()) {
        let title = format!("{} {}", found.name, found.version);
        let own = terms(found)?;
        let licence = found.licence.as_deref().unwrap_or("not said");
        let note = if own.is_empty() { "; no text in the crate" } else { "" };
        let place = found.repository.as_deref().map(|place| format!("  {place}")).unwrap_or_default();
        writeln!(lists, "{title}: {licence}{note}{place}")?;
        let standard = STANDARD.iter().filter(|(name, _)| own.is_empty() && found.licence.as_deref() == Some(*name));
        let standard: Vec<String> = standard.map(|(_, text)| (*text).to_owned()).collect();
        for text in own.into_iter().chain(standard) {
            texts.entry(text).or_default().push(title.clone());
        }
    }
    for (with, title, text) in OURS {
        if inventory.crates.iter().any(|found| found.name == with) {
            writeln!(lists, "{title}: Bitstream-Vera  https://dejavu-fonts.github.io")?;
            texts.entry(text.to_owned()).or_default().push(title.to_owned());
        }
    }
    let mut out = format!(
        "Crates that are linked into CloudSnooze {}, each with its licence as its authors state it. Where they leave a choice that\n\
         contains Apache-2.0, it is taken, and its text is that of CloudSnooze itself. The texts that the crates carry follow.\n\n\
         {INSIDE}\n\n{lists}",
        inventory.version
    );
    let mut texts: Vec<(Vec<String>, String)> = texts.into_iter().map(|(text, titles)| (titles, text)).collect();
    texts.sort();
    for (titles, text) in texts {
        write!(out, "\n{LINE}\n{}\n{LINE}\n\n{}\n", titles.join(", "), text.trim_end())?;
    }
    Ok(out)
}

/// The files with terms of a crate, in the order of their names.
fn terms(found: &Crate) -> Result<Vec<String>> {
    let directory = || found.directory.display().to_string();
    let mut files = Vec::new();
    for entry in found.directory.read_dir().with_context(directory)? {
        let path = entry.with_context(directory)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().to_uppercase()).unwrap_or_default();
        if path.is_file() && NAMES.iter().any(|known| name.starts_with(known)) {
            files.push(path);
        }
    }
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        // Line ends and blanks at the ends of lines are no part of the terms.
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        Ok(lines.join("\n"))
    };
    files.iter().map(read).collect()
}
